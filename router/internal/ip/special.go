package ip

import (
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/verdict"
)

// No router forwards packets from or to some addresses (RFC 6890 and its registry, where
// "Forwardable" is "False"). Packets for the router itself may come from and go to such addresses:
// the router may have neighbors, and serve addresses, to which no other router leads.

// dummyAddr is 192.0.0.8, from which a router without an IPv4 address sends ICMP errors (RFC 7600, RFC
// 9229).
const dummyAddr = 192<<24 | 8

// metadata is 169.254.169.254, where instances ask for their metadata, on every network.
const metadata = 169<<24 | 254<<16 | 169<<8 | 254

// Forwardable reports whether a router forwards from or to a unicast address. The documentation
// prefixes (RFC 5737) are forwarded, because labs use them.
func Forwardable(addr packet.Addr) bool {
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

// martianDest refuses destinations that no router forwards to (RFC 1812, 5.3.7).
func martianDest(dst packet.Addr) verdict.Verdict {
	switch {
	case dst>>28 == 14, dst == 0xffffffff:
		return verdict.Drop(verdict.DropBroadcast)
	case dst>>24 == 0, dst>>24 == 127, dst >= 0xf0000000:
		return verdict.Drop(verdict.DropMartianDest)
	}
	return verdict.Next
}
