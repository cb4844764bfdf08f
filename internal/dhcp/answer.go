package dhcp

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// everyone is the link's broadcast address.
var everyone = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// limited is the limited broadcast address.
var limited = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// hardware is a MAC address as people write it.
func hardware(m MAC) string { return net.HardwareAddr(m[:]).String() }

// offer makes the answer that offers an address.
func (x *exchange) offer(a netip.Addr, sub *Subnet) {
	d := sub.leaseTime()
	if !x.isStatic() {
		d = x.leaseTime(sub)
	}
	x.reply(&reply{kind: dhcpv4.MessageTypeOffer, address: a, values: x.c.values(x.asReached(sub), x.port), lease: d},
		sub)
}

// acknowledge makes the answer that gives an address for a time, or with neither, what the client asks for else.
func (x *exchange) acknowledge(a netip.Addr, sub *Subnet, d time.Duration) {
	x.reply(&reply{kind: dhcpv4.MessageTypeAck, address: a, values: x.c.values(x.asReached(sub), x.port), lease: d},
		sub)
}

// refuse makes the answer that a client may not use an address, and says why.
func (x *exchange) refuse(a netip.Addr, text string) Reason {
	x.reply(&reply{kind: dhcpv4.MessageTypeNak, text: text}, x.places[0])
	x.answer.Address = a
	return Refused
}

// reply makes an answer of a subnet.
func (x *exchange) reply(r *reply, sub *Subnet) {
	m, rq := &x.m, x.rq
	r.m, r.limit = m, room(m, x.c.MTU)
	switch {
	case m.override.IsValid():
		r.server = m.override
	case m.server.IsValid():
		r.server = m.server // one of the server's, and what the client knows it by
	default:
		r.server = x.reached(sub)
	}
	x.answer.From = sub.Server
	if rq.Dst != m.override && x.isServer(rq.Dst) {
		x.answer.From = rq.Dst
	}
	x.answer.Payload, x.answer.Address = r.encode(), r.address
	x.answer.To, x.answer.ToMAC = x.direct(r)
}

// reached is the server's address that the client is to know. On the link behind a relay there is no server, and a
// client renews past its relay. So there it is the address at which the server was reached.
func (x *exchange) reached(sub *Subnet) netip.Addr {
	switch at := x.rq.Dst; {
	case x.isServer(at) && !sub.CIDR.Contains(at):
		return at
	case !x.m.relayed() || x.isServer(at):
		return sub.Server
	}
	for i := range x.c.Subnets {
		if s := &x.c.Subnets[i]; s.CIDR.Contains(x.rq.Src) && s.Server.Is4() {
			return s.Server
		}
	}
	return sub.Server
}

// asReached is a subnet as a client behind a relay has to see it: without the server's address on its link, where the
// server is not.
func (x *exchange) asReached(sub *Subnet) *Subnet {
	at := x.reached(sub)
	if at == sub.Server {
		return sub
	}
	far := *sub
	far.Server, far.DNS, far.Routes = at, slices.Clone(sub.DNS), nil
	for i, a := range far.DNS {
		if a == sub.Server {
			far.DNS[i] = at
		}
	}
	for _, r := range sub.Routes {
		if r.NextHop != sub.Server {
			far.Routes = append(far.Routes, r)
		}
	}
	return &far
}

// direct finds out where an answer goes (RFC 2131, 4.1). A client without an address cannot be asked for its MAC
// address, and one beyond a router is reached by whoever has sent the frame.
func (x *exchange) direct(r *reply) (netip.AddrPort, MAC) {
	m := &x.m
	to := func(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, clientPort) }
	switch {
	case m.relayed():
		return netip.AddrPortFrom(m.relay, serverPort), x.rq.SourceMAC
	case r.kind == dhcpv4.MessageTypeNak && x.onLink():
		return to(limited), everyone
	case r.kind == dhcpv4.MessageTypeNak:
		return to(x.rq.Src), x.rq.SourceMAC
	case m.current.IsValid():
		return to(m.current), x.rq.SourceMAC
	case m.packet.IsBroadcast():
		return to(limited), everyone
	}
	return to(r.address), m.mac
}

// isServer says whether the client knows the server by an address.
func (x *exchange) isServer(a netip.Addr) bool {
	return a.IsValid() && (a == x.m.override || slices.Contains(x.c.Servers, a) ||
		slices.ContainsFunc(x.places, func(s *Subnet) bool { return s.Server == a }))
}
