package wire

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
)

// This file is port security: a frame that comes in at a port is checked before the switch learns from it. The sender
// is the port of the State that has the frame's source MAC address. What the frame says of its sender must be that
// port's: the addresses in the IP header and in ARP. Frames of stations are the engine's own, and are not checked.
//
// A pair of MAC and IPv4 address that has been found right is remembered at the port (verified). So a packet of a
// host that goes on sending needs no look-up in the rules.

// verified remembers pairs of MAC and IPv4 address that the rules allow at a port, for one version of the rules. A pair
// has one slot; another pair may take it. The zero value is empty.
type verified struct {
	version uint64 // Network.rulesVersion
	slots   [verifiedSlots]verifiedPair
}

// A verifiedPair is as it stands in frames, so that a frame is compared by two words.
type verifiedPair struct {
	macType uint64 // the bytes of the MAC address and of the Ethernet type of IPv4; 0: the slot is empty
	addr    uint32 // the bytes of the source address
}

// verifiedSlots is how many pairs a port remembers: a kilobyte. There are many ports, and most have one host.
const verifiedSlots = 64

// plainHeaders is the beginning of a frame, up to the UDP ports behind an IPv4 header without options.
type plainHeaders [udp4At + 4]byte

// pairOf is a frame's pair.
func pairOf(h *plainHeaders) verifiedPair {
	return verifiedPair{binary.LittleEndian.Uint64(h[6:]), binary.LittleEndian.Uint32(h[ip4At+12:])}
}

// slot is the slot of a frame's pair. The hosts of a subnet differ in the last byte of their addresses.
func (v *verified) slot(h *plainHeaders) *verifiedPair { return &v.slots[h[ip4At+15]%verifiedSlots] }

// has reports whether a frame is of a pair that has been found right, by rules of a version. A message to the port of
// DHCP clients has to be looked at all the same. The compiler puts the function into its caller, if it stays as short
// as it is.
func (v *verified) has(version uint64, eth []byte) bool {
	if len(eth) < len(plainHeaders{}) || v.version != version {
		return false
	}
	h := (*plainHeaders)(eth)
	return *v.slot(h) == pairOf(h) && h[ip4At] == 0x45 && binary.BigEndian.Uint16(h[udp4At+2:]) != dhcpClient
}

// noneVerified is that of a port where nothing has been verified yet. It is never changed.
var noneVerified = &verified{version: math.MaxUint64}

// Ports of DHCP (RFC 2131, 4.1; RFC 8415, 7.2).
const (
	dhcpServer  = 67
	dhcpClient  = 68
	dhcp6Client = 546
)

// Offsets in an Ethernet frame with an IPv4 header without options.
const (
	ip4At  = packet.EthernetLen
	udp4At = ip4At + packet.IPv4Len
)

// A security is the port security of a network.
type security struct {
	Rules        *PortRules               // what the hosts behind the ports may send; see Obey
	guarded      bool                     // frames have to be checked
	rulesVersion uint64                   // another one whenever a pair that was right may be wrong
	leases       map[uint64][]packet.Addr // by macKey; see Bind
	leased       int                      // entries of leases
	denials      denials
	denied       *Denial // the last one
}

// Obey has the network obey rules from now on. It is called by the worker of the network.
func (n *security) Obey(r *PortRules) {
	n.Rules, n.guarded = r, r.active()
	n.rulesVersion++
}

// check judges what a frame of a port says of its sender, if that is not known to be right. It answers Next for a frame
// that may go on.
func (p *Port) check(t *loop.Turn, eth []byte) verdict.Verdict {
	s := p.network.speakerOf(p, packet.MAC(eth[6:12]))
	switch {
	case s.standing == outOfUse:
		return p.deny(t, verdict.DropPortDown, &s, portDown, s.mac, netip.Addr{})
	case !p.network.Rules.secures():
		if isIPv4(eth) && len(eth) >= len(plainHeaders{}) {
			p.verify((*plainHeaders)(eth))
		}
		return verdict.Next
	}
	switch s.standing {
	case free:
		return verdict.Next
	case unknown:
		if p.network.Rules.unknownDHCP && asksDHCP(eth) {
			return verdict.Next
		}
		return p.deny(t, verdict.DropSpoofedMAC, &s, noPort, s.mac, netip.Addr{})
	case ours:
		return p.deny(t, verdict.DropSpoofedMAC, &s, ownMAC, s.mac, netip.Addr{})
	case elsewhere:
		return p.deny(t, verdict.DropSpoofedMAC, &s, otherDevice, s.mac, netip.Addr{})
	}
	switch typ := binary.BigEndian.Uint16(eth[12:]); {
	case typ == packet.EtherTypeIPv4:
		return p.check4(t, &s, eth)
	case typ == packet.EtherTypeARP:
		return p.checkARP(t, &s, eth)
	case typ == etherTypeIPv6:
		return p.check6(t, &s, eth)
	case typ < leastEtherType && isSNAP(eth):
		return verdict.Drop(verdict.DropEtherType) // receivers may look for addresses behind the header
	}
	return verdict.Next
}

const (
	etherTypeIPv6  = 0x86dd
	leastEtherType = 0x600 // below, it is the length of an IEEE 802.3 frame
)

// isSNAP reports whether a frame of IEEE 802.3 has an Ethernet type behind a SNAP header (RFC 1042).
func isSNAP(eth []byte) bool {
	return len(eth) >= packet.EthernetLen+8 && eth[14] == 0xaa && eth[15] == 0xaa && eth[17] == 0 && eth[18] == 0
}

// A speaker is who a frame is from, as far as its MAC address tells.
type speaker struct {
	mac      packet.MAC
	standing standing
	bound    []*binding // of ports with the MAC address. Those of other devices do not apply
	device   string
	port     *BoundPort    // the first port that the frame may be of; of a frame from elsewhere: whose it is
	anyMAC   bool          // ports without a MAC address have to be asked
	leased   []packet.Addr // addresses that the network has leased to the MAC address
}

// standing says what is to be done with a speaker's frames.
type standing uint8

const (
	bound     standing = iota // its addresses are checked
	free                      // nothing is checked
	unknown                   // no port has the MAC address
	elsewhere                 // it is of a port that is tied to another device
	outOfUse                  // it is of a port that is out of use
	ours                      // it is of a station
)

// speakerOf finds out who has a MAC address at a port.
func (n *Network) speakerOf(p *Port, mac packet.MAC) speaker {
	r := n.Rules
	s := speaker{mac: mac, device: p.Link.Name}
	if n.StationAt(mac[:]) != nil {
		s.standing = ours
		return s
	}
	key := macKey(mac[:])
	if found := r.byMAC.Find(key); found != nil {
		s.bound = *found
	}
	var other *BoundPort
	for _, b := range s.bound {
		switch {
		case b.port.Down:
			if b.mac == b.port.MAC && b.applies(s.device) {
				s.port, s.standing = b.port, outOfUse
				return s
			}
		case !b.applies(s.device):
			if b.port.Secured && other == nil {
				other = b.port
			}
		case !b.port.Secured:
			s.standing = free
			return s
		case s.port == nil:
			s.port = b.port
		}
	}
	s.leased = n.leases[key]
	tied := r.tied(p.deviceKey, s.device)
	switch {
	case s.port != nil:
	case other != nil:
		s.port, s.standing = other, elsewhere
	case tied.open > 0:
		s.standing = free
	case tied.shut > 0 && tied.secured == 0:
		s.standing = outOfUse
	case r.loose+tied.anyMAC > 0:
		s.anyMAC = true
	case len(s.leased) > 0:
	case r.strict || tied.secured > 0:
		s.standing = unknown
	default:
		s.standing = free
	}
	return s
}

// mayUse4 reports whether an IPv4 address is the speaker's. An address of the engine itself is nobody else's, whatever
// prefix a port is allowed.
func (n *security) mayUse4(s *speaker, a packet.Addr) bool {
	r := n.Rules
	if r.own.Find(a) != nil {
		return false
	}
	for _, b := range s.bound {
		if b.speaks(s.device) && b.has4(a) {
			return true
		}
	}
	for _, l := range s.leased {
		if l == a {
			return true
		}
	}
	if !s.anyMAC {
		return false
	}
	if found := r.anyMAC.Find(a); found != nil {
		for _, b := range *found {
			if b.speaks(s.device) {
				return true
			}
		}
	}
	for _, b := range r.anyNets {
		if b.speaks(s.device) && b.has4(a) {
			return true
		}
	}
	return false
}

// check4 judges an IPv4 packet.
func (p *Port) check4(t *loop.Turn, s *speaker, eth []byte) verdict.Verdict {
	if len(eth) < udp4At {
		return verdict.Drop(verdict.DropShort)
	}
	src := packet.ReadAddr(eth[ip4At+12:])
	from, to, isUDP := udp4(eth)
	if isUDP && to == dhcpClient { // only servers and relays speak to clients, from whatever port
		return p.deny(t, verdict.DropDHCPServer, s, dhcpAnswer, s.mac, src.Netip())
	}
	switch {
	case src == 0 && isUDP && from == dhcpClient && to == dhcpServer:
		return verdict.Next // a client that has no address yet (RFC 2131, 4.1)
	case src == 0, !p.network.mayUse4(s, src):
		return p.deny(t, verdict.DropSpoofedIP, s, p.network.about(src), s.mac, src.Netip())
	}
	if len(eth) >= len(plainHeaders{}) {
		p.verify((*plainHeaders)(eth))
	}
	return verdict.Next
}

// udp4 reads the ports of a UDP packet. ok is false for other packets, and for fragments after the first. A first
// fragment has the ports: it is at least eight bytes long.
func udp4(eth []byte) (from, to uint16, ok bool) {
	at := ip4At + max(packet.IPv4Len, int(eth[ip4At]&15)*4)
	if eth[ip4At+9] != packet.ProtoUDP || len(eth) < at+4 || binary.BigEndian.Uint16(eth[ip4At+6:])&0x1fff != 0 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(eth[at:]), binary.BigEndian.Uint16(eth[at+2:]), true
}

// asksDHCP reports whether a frame is a message of a DHCP client that has no address yet.
func asksDHCP(eth []byte) bool {
	if len(eth) < udp4At || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 ||
		packet.ReadAddr(eth[ip4At+12:]) != 0 {
		return false
	}
	from, to, ok := udp4(eth)
	return ok && from == dhcpClient && to == dhcpServer
}

// verify remembers that the pair of an IPv4 packet is right.
func (p *Port) verify(h *plainHeaders) {
	if p.verified == noneVerified {
		p.verified = new(verified)
	}
	if v := p.verified; v.version != p.network.rulesVersion {
		*v = verified{version: p.network.rulesVersion}
	}
	*p.verified.slot(h) = pairOf(h)
}

// checkARP judges an ARP message. Who sends a message for another MAC address must be the same port: a machine of a
// VRRP group speaks for the group's address.
func (p *Port) checkARP(t *loop.Turn, s *speaker, eth []byte) verdict.Verdict {
	request, mac, sender, ok := arpSender(eth)
	if !ok {
		return verdict.Drop(verdict.DropARP)
	}
	says := *s
	if mac != s.mac {
		if says = p.network.speakerOf(p, mac); says.standing != bound || !samePort(s, &says) {
			return p.deny(t, verdict.DropSpoofedARP, s, foreignMAC, mac, sender.Netip())
		}
	}
	switch {
	case sender == 0 && request: // a probe (RFC 5227, 2.1.1)
		return verdict.Next
	case sender == 0, !p.network.mayUse4(&says, sender):
		return p.deny(t, verdict.DropSpoofedARP, s, p.network.about(sender), mac, sender.Netip())
	}
	return verdict.Next
}

// arpSender reads who sends an ARP message, at fixed places. It reports false for what packet.DecodeARP does not
// take, either.
func arpSender(eth []byte) (request bool, mac packet.MAC, sender packet.Addr, ok bool) {
	if len(eth) < packet.ARPLen || [6]byte(eth[14:]) != [6]byte{0, 1, 8, 0, 6, 4} || eth[20] != 0 ||
		eth[21] != 1 && eth[21] != 2 {
		return false, packet.MAC{}, 0, false
	}
	return eth[21] == 1, packet.MAC(eth[22:]), packet.ReadAddr(eth[28:]), true
}

// about says what is wrong with an address that a speaker may not use.
func (n *security) about(a packet.Addr) why {
	if n.Rules.own.Find(a) != nil {
		return ownAddr
	}
	return foreignAddr
}

// samePort reports whether two MAC addresses are of one port, and leaves only such ports in b.
func samePort(a, b *speaker) bool {
	same := b.bound[:0:0]
	for _, x := range b.bound {
		for _, y := range a.bound {
			if x.port.ID == y.port.ID && x.speaks(b.device) && y.speaks(a.device) {
				same = append(same, x)
			}
		}
	}
	b.bound = same
	return len(same) > 0
}

// Bind notes that the network has leased an address to a host whose MAC address no port need have: from now on its
// frames may have it. It reports false if the network has as many leases as it may have. Bind and Unbind are called by
// the worker of the network.
func (n *security) Bind(mac packet.MAC, addr packet.Addr) bool {
	key := macKey(mac[:])
	for _, a := range n.leases[key] {
		if a == addr {
			return true
		}
	}
	if n.leased >= maxBound {
		return false
	}
	if n.leases == nil {
		n.leases = map[uint64][]packet.Addr{}
	}
	n.leases[key] = append(n.leases[key], addr)
	n.leased++
	return true
}

// Unbind is the reverse of Bind. An address that is not bound is no error.
func (n *security) Unbind(mac packet.MAC, addr packet.Addr) {
	key := macKey(mac[:])
	all := n.leases[key]
	rest := loop.Without(all, addr)
	if len(rest) == len(all) {
		return
	}
	n.leased--
	if n.leases[key] = rest; len(rest) == 0 {
		delete(n.leases, key)
	}
	n.rulesVersion++ // what ports have verified may be this pair
}

// maxBound bounds the leases of a network that Bind takes.
const maxBound = 1 << 16
