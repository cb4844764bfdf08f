package packet

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Summary describes an Ethernet frame in one line for people, much as tcpdump does:
// "10.0.0.1:4000 > 10.0.0.2:80 tcp S, ttl 64, length 60". Length is that of the IP packet, in bytes. Summary
// takes any bytes, also a frame that has been cut off. It allocates, so it is not for the path of
// the packets.
func Summary(eth []byte) string {
	if len(eth) < EthernetLen {
		return fmt.Sprintf("a runt of %d bytes", len(eth))
	}
	typ, body := binary.BigEndian.Uint16(eth[12:]), eth[EthernetLen:]
	switch {
	case typ == EtherTypeIPv4 && len(body) >= IPv4Len:
		return summarizeIP(body)
	case typ == EtherTypeARP:
		if m, ok := DecodeARP(eth); ok {
			return summarizeARP(&m)
		}
	case (typ == EtherTypeVLAN || typ == EtherTypeQinQ) && len(body) >= 4:
		tag := binary.BigEndian.Uint16(body)
		return fmt.Sprintf("vlan %d, ethertype 0x%04x", tag&0xfff, binary.BigEndian.Uint16(body[2:]))
	}
	return fmt.Sprintf("ethertype 0x%04x, %d bytes", typ, len(body))
}

func summarizeARP(m *ARP) string {
	switch {
	case !m.Request:
		return fmt.Sprintf("arp %v is at %v", m.Sender.Netip(), m.SenderMAC)
	case m.Sender == m.Target:
		return fmt.Sprintf("arp announcement: %v is at %v", m.Sender.Netip(), m.SenderMAC)
	}
	return fmt.Sprintf("arp who has %v? tell %v", m.Target.Netip(), m.Sender.Netip())
}

// summarizeIP describes an IPv4 packet of at least IPv4Len bytes.
func summarizeIP(ip []byte) string {
	fragment := binary.BigEndian.Uint16(ip[6:])
	more, off := fragment>>13&1 == 1, int(fragment&0x1fff)*8
	src := ReadAddr(ip[12:]).Netip()
	dst := ReadAddr(ip[16:]).Netip()
	var l4 []byte
	if header := int(ip[0]&15) * 4; off == 0 && header >= IPv4Len && header <= len(ip) {
		l4 = ip[header:]
	}
	s := summarizeTransport(src, dst, ip[9], l4)
	if more || off > 0 {
		s += fmt.Sprintf(", fragment at %d of id %d", off, binary.BigEndian.Uint16(ip[4:]))
		if !more {
			s += ", the last"
		}
	}
	return s + fmt.Sprintf(", ttl %d, length %d", ip[8], binary.BigEndian.Uint16(ip[2:]))
}

// summarizeTransport describes addresses and transport header, of which there may be less than it has.
func summarizeTransport(src, dst netip.Addr, proto uint8, l4 []byte) string {
	switch {
	case proto == ProtoTCP && len(l4) >= 14, proto == ProtoUDP && len(l4) >= 4:
		s := fmt.Sprintf("%v > %v %s", netip.AddrPortFrom(src, binary.BigEndian.Uint16(l4)),
			netip.AddrPortFrom(dst, binary.BigEndian.Uint16(l4[2:])), ProtoName(proto))
		if proto == ProtoTCP {
			s += " " + flagLetters(l4[13])
		}
		return s
	case proto == ProtoICMP && len(l4) >= ICMPLen:
		return fmt.Sprintf("%v > %v icmp %s", src, dst, summarizeICMP(l4))
	}
	return fmt.Sprintf("%v > %v %s", src, dst, ProtoName(proto))
}

// flagLetters writes TCP flags as tcpdump does.
func flagLetters(flags uint8) string {
	var s strings.Builder
	for _, f := range []struct {
		bit    uint8
		letter byte
	}{{SYN, 'S'}, {FIN, 'F'}, {RST, 'R'}, {PSH, 'P'}, {URG, 'U'}, {ECE, 'E'}, {CWR, 'W'}, {ACK, '.'}} {
		if flags&f.bit != 0 {
			s.WriteByte(f.letter)
		}
	}
	if s.Len() == 0 {
		return "none"
	}
	return s.String()
}

// summarizeICMP describes an ICMP message of at least ICMPLen bytes, and the packet that an error quotes.
func summarizeICMP(icmp []byte) string {
	switch icmp[0] {
	case ICMPEcho, ICMPEchoReply:
		name := "echo request"
		if icmp[0] == ICMPEchoReply {
			name = "echo reply"
		}
		return fmt.Sprintf("%s id %d seq %d", name, binary.BigEndian.Uint16(icmp[4:]),
			binary.BigEndian.Uint16(icmp[6:]))
	}
	name := map[uint8]string{ICMPUnreachable: "unreachable", ICMPSourceQuench: "source quench",
		ICMPRedirect:     "redirect",
		ICMPTimeExceeded: "time exceeded", ICMPParamProblem: "parameter problem"}[icmp[0]]
	if name == "" {
		return fmt.Sprintf("type %d code %d", icmp[0], icmp[1])
	}
	name += fmt.Sprintf(" code %d", icmp[1])
	if quoted := icmp[ICMPLen:]; len(quoted) >= IPv4Len {
		name += " about [" + summarizeIP(quoted) + "]"
	}
	return name
}
