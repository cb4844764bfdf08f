package service

import (
	"encoding/binary"
	"slices"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// Ports of services.
const (
	serverPort   = 67 // DHCP: RFC 2131, 4.1
	namesPort    = 53 // DNS
	metadataPort = 80 // HTTP
)

func isARP(eth []byte) bool { return binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeARP }

// isDHCP reports whether a frame may be a message to a DHCP server, at a glance: most broadcasts are none.
func isDHCP(eth []byte) bool {
	const l4 = packet.EthernetLen + packet.IPv4Len
	return len(eth) >= l4+packet.UDPLen && binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeIPv4 &&
		eth[packet.EthernetLen+9] == packet.ProtoUDP && binary.BigEndian.Uint16(eth[l4+2:]) == serverPort
}

// hearARP answers a request for an address of the station. The result is verdict.Consumed if it was one.
func (s *Station) hearARP(t *loop.Turn, c *Config, eth []byte, at *wire.Port) verdict.Verdict {
	m, ok := packet.DecodeARP(eth)
	if v := wire.JudgeARP(&m, ok); v != verdict.Next {
		return v
	}
	if !m.Request || !slices.Contains(c.Addrs, m.Target) || m.Sender == m.Target {
		return verdict.Next
	}
	f := t.Alloc(packet.EthernetLen + packet.ARPLen)
	packet.PutARP(f.Ethernet(), s.MAC, m.SenderMAC, packet.ARP{
		SenderMAC: s.MAC, Sender: m.Target, TargetMAC: m.SenderMAC, Target: m.Sender,
	})
	s.AnswerAt(t, &f, at)
	return verdict.Consumed
}

// answerEcho answers a ping.
func (s *Station) answerEcho(t *loop.Turn, p *packet.Packet, at *wire.Port) verdict.Verdict {
	switch {
	case p.Type != packet.ICMPEcho || p.Code != 0:
		return verdict.Drop(verdict.DropICMPType)
	case !s.echoes.take(t.Now, echoRate, echoBurst):
		return verdict.Drop(verdict.DropEchoRate)
	}
	f := t.Alloc(p.End)
	eth := f.Ethernet()
	copy(eth, p.Eth[:p.End])
	copy(eth[0:6], p.Eth[6:12])
	copy(eth[6:12], s.MAC[:])
	ip := eth[packet.EthernetLen:]
	p.Dst.Put(ip[12:])
	p.Src.Put(ip[16:])
	ip[8] = answerTTL
	packet.SetIPv4Checksum(ip)
	icmp := ip[packet.IPv4Len:]
	icmp[0], icmp[2], icmp[3] = packet.ICMPEchoReply, 0, 0
	binary.BigEndian.PutUint16(icmp[2:], ^packet.Sum(icmp))
	s.AnswerAt(t, &f, at)
	return verdict.Consumed
}

// answerTTL is the time to live of answers. They stay on the network, but for those to relays.
const answerTTL = 64

// datagram is the payload of a UDP packet, if its checksum is right. A sender whose card finishes checksums leaves it
// open: then it covers the pseudo-header alone (virtio's NEEDS_CSUM). So it does where that mark was lost on the way,
// as it is behind some bridges.
func datagram(p *packet.Packet) (payload []byte, ok bool) {
	udp := p.Eth[p.L4:p.End]
	n := int(binary.BigEndian.Uint16(udp[4:]))
	if p.GSOSize != 0 || n < packet.UDPLen || n > len(udp) {
		return nil, false
	}
	udp = udp[:n]
	sum := binary.BigEndian.Uint16(udp[6:])
	if p.Partial || sum == 0 {
		return udp[packet.UDPLen:], true
	}
	open := pseudoSum(p.Src, p.Dst, n)
	whole := fold(uint32(open) + uint32(packet.Sum(udp)))
	return udp[packet.UDPLen:], whole == 0xffff || sum == open
}

// pseudoSum is the sum of UDP's pseudo-header (RFC 768).
func pseudoSum(src, dst packet.Addr, n int) uint16 {
	var b [12]byte
	src.Put(b[0:])
	dst.Put(b[4:])
	b[9] = packet.ProtoUDP
	binary.BigEndian.PutUint16(b[10:], uint16(n))
	return packet.Sum(b[:])
}

func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// size is the length of the answer's frame.
func (a *answer) size() int {
	if a.src.Port() == 0 {
		return packet.EthernetLen + len(a.bytes)
	}
	return packet.EthernetLen + packet.IPv4Len + packet.UDPLen + len(a.bytes)
}

// put writes the answer's frame, which is zero and as long as size says. An answer without ports is an IP packet of a
// stack, which is finished.
func (a *answer) put(eth []byte, from, to packet.MAC) {
	copy(eth[0:6], to[:])
	copy(eth[6:12], from[:])
	binary.BigEndian.PutUint16(eth[12:], packet.EtherTypeIPv4)
	ip := eth[packet.EthernetLen:]
	if a.src.Port() == 0 {
		copy(ip, a.bytes)
		return
	}
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[6] = 0x40 // never cut, so it needs no identification (RFC 6864)
	ip[8], ip[9] = answerTTL, packet.ProtoUDP
	packet.AddrFrom(a.src.Addr()).Put(ip[12:])
	packet.AddrFrom(a.dst.Addr()).Put(ip[16:])
	udp := ip[packet.IPv4Len:]
	binary.BigEndian.PutUint16(udp[0:], a.src.Port())
	binary.BigEndian.PutUint16(udp[2:], a.dst.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[packet.UDPLen:], a.bytes)
	packet.SetIPv4Checksum(ip)
	packet.SetTransportChecksum(ip)
}
