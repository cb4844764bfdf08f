package router

// Some addresses are never forwarded from or to (RFC 6890 and the registry that it keeps, where
// "Forwardable" is "False"). Packets for the router itself may come from and go to such addresses:
// the router may have neighbors, and serve addresses, to which no other router leads.

// dummyAddr is what a router without an IPv4 address sends ICMP errors from (RFC 7600, RFC
// 9229).
const dummyAddr = 192<<24 | 8

// forwardable reports whether a router forwards from or to a unicast address. The documentation
// prefixes (RFC 5737) are forwarded, because labs use them.
func forwardable(addr uint32) bool {
	switch {
	case addr>>24 == 0, addr>>24 == 127, addr>>28 == 15:
		return false // this network, loopback, reserved
	case addr>>16 == 169<<8|254:
		return false // link-local (RFC 3927, 2.7)
	case addr>>8 == 192<<16: // for protocols, except RFC 7335, RFC 7723 and RFC 8155
		last := addr & 0xff
		return last < 8 || last == 9 || last == 10
	}
	return true
}

// forwards refuses packets that may go no further than the router. ICMP errors from the dummy address
// pass: they tell a sender the MTU of its path as others do (RFC 9229, 3).
func (x *passage) forwards() verdict {
	p := &x.p
	if !forwardable(p.Src) && (p.Src != dummyAddr || !p.IsICMPError()) {
		return drop(DropMartianSource)
	}
	if !forwardable(x.fresh.to.Dst) {
		return drop(DropMartianDest)
	}
	return next
}

// shows is the address that the router sends from, by an interface, to addr. hop is addr's next hop, or
// addr itself. It is the interface's address; where that is link-local and would not get as far as
// addr, it is another address of the router.
func (i *iface) shows(hop, addr uint32) uint32 {
	own := i.addrFor(hop)
	if forwardable(own) || !forwardable(addr) {
		return own
	}
	r := i.router
	if i.external && forwardable(r.gateway.shared[0]) {
		return r.gateway.shared[0]
	}
	for _, other := range r.ifaces[1:] {
		for _, a := range other.addrs {
			if !other.checks && forwardable(a.addr) {
				return a.addr
			}
		}
	}
	return own
}
