package lab

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A seen packet is one that crossed a network.
type seen struct {
	network string
	packet.Tuple
	flags, typ, code uint8
	seq              uint16 // of an ICMP echo
}

// maxSeen bounds what is kept of a step; more than that, nobody reads.
const maxSeen = 10000

// A connection is one TCP connection as one network sees it, from either end.
type connection struct {
	network string
	packet.Tuple
}

// connection returns the connection that a TCP segment is of. Both directions
// have the same.
func (s *seen) connection() connection {
	t := s.Tuple
	if t.Src > t.Dst || t.Src == t.Dst && t.SrcPort > t.DstPort {
		t = t.Reverse()
	}
	return connection{s.network, t}
}

// A recorder keeps the IPv4 packets that cross the networks somebody asks about.
// The last segments of a TCP connection may come when the command that opened it
// has long printed its result: they belong to that command's step, and a later
// one does not see them.
type recorder struct {
	mu      sync.Mutex
	packets []seen
	earlier map[connection]bool // that began in an earlier step
	decoder *packet.Decoder
}

func newRecorder() *recorder {
	return &recorder{earlier: map[connection]bool{}, decoder: packet.NewDecoder()}
}

// observe notes one frame, on the path of the packets.
func (r *recorder) observe(network string, f tap.Frame) {
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.packets) >= maxSeen {
		return
	}
	var p packet.Packet
	fault := p.Parse(eth, f.Header())
	if fault == packet.FaultOdd {
		fault = r.decoder.Decode(&p, eth, f.Header())
	}
	if fault != packet.FaultNone {
		return
	}
	s := seen{network: network, Tuple: p.Tuple, flags: p.Flags, typ: p.Type, code: p.Code}
	if p.IsQuery() {
		s.seq = binary.BigEndian.Uint16(eth[p.L4+6:])
	}
	if s.Proto == packet.ProtoTCP && r.earlier[s.connection()] {
		if s.flags&(packet.SYN|packet.ACK) != packet.SYN {
			return
		}
		delete(r.earlier, s.connection()) // the same ports again, in a new connection
	}
	r.packets = append(r.packets, s)
}

// reset forgets what was seen before a step.
func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.packets {
		if s := &r.packets[i]; s.Proto == packet.ProtoTCP {
			r.earlier[s.connection()] = true
		}
	}
	r.packets = nil
}

// find returns the first packet that matches, and how many do.
func (r *recorder) find(p *config.PacketPattern) (first seen, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.packets {
		if s.matches(p) {
			if n == 0 {
				first = s
			}
			n++
		}
	}
	return first, n
}

// on returns up to max different packets that were seen on a network, for an
// explanation.
func (r *recorder) on(network string, max int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	known := map[string]bool{}
	for _, s := range r.packets {
		if line := s.String(); s.network == network && !known[line] {
			known[line] = true
			if lines = append(lines, line); len(lines) == max {
				break
			}
		}
	}
	return lines
}

// matches reports whether a packet fits a pattern, whose empty fields fit all.
func (s *seen) matches(p *config.PacketPattern) bool {
	switch {
	case p.Network != "" && p.Network != s.network,
		p.Src.IsValid() && p.Src != packet.ToAddr(s.Src),
		p.Dst.IsValid() && p.Dst != packet.ToAddr(s.Dst),
		p.SrcPort != 0 && (p.SrcPort != s.SrcPort || s.Proto == packet.ProtoICMP),
		p.DstPort != 0 && (p.DstPort != s.DstPort || s.Proto == packet.ProtoICMP):
		return false
	}
	return p.Protocol == "" || strings.EqualFold(string(p.Protocol), packet.ProtoName(s.Proto))
}

// String is the packet in the manner of tcpdump.
func (s seen) String() string {
	src, dst := packet.ToAddr(s.Src), packet.ToAddr(s.Dst)
	switch s.Proto {
	case packet.ProtoTCP:
		return fmt.Sprintf("IP %v.%d > %v.%d: tcp, flags [%s]", src, s.SrcPort, dst, s.DstPort, flagNames(s.flags))
	case packet.ProtoUDP:
		return fmt.Sprintf("IP %v.%d > %v.%d: udp", src, s.SrcPort, dst, s.DstPort)
	case packet.ProtoICMP:
		return fmt.Sprintf("IP %v > %v: ICMP %s", src, dst, s.icmpName())
	}
	return fmt.Sprintf("IP %v > %v: %s", src, dst, packet.ProtoName(s.Proto))
}

func flagNames(flags uint8) string {
	var b strings.Builder
	for i, name := range "FSRP.U" {
		if flags&(1<<i) != 0 {
			b.WriteRune(name)
		}
	}
	return b.String()
}

// icmpName says what an ICMP message is.
func (s *seen) icmpName() string {
	switch s.typ {
	case packet.ICMPEcho:
		return fmt.Sprintf("echo request, seq %d", s.seq)
	case packet.ICMPEchoReply:
		return fmt.Sprintf("echo reply, seq %d", s.seq)
	case packet.ICMPTimeExceeded:
		return "time exceeded in-transit"
	case packet.ICMPUnreachable:
		names := []string{"net unreachable", "host unreachable", "protocol unreachable", "port unreachable", "unreachable - need to frag"}
		if int(s.code) < len(names) {
			return names[s.code]
		}
		return fmt.Sprintf("unreachable, code %d", s.code)
	}
	return fmt.Sprintf("type %d code %d", s.typ, s.code)
}

// patternString is a pattern as people read it: what was looked for.
func patternString(p *config.PacketPattern) string {
	parts := []string{}
	if p.Protocol != "" {
		parts = append(parts, strings.ToLower(string(p.Protocol)))
	}
	end := func(word string, valid bool, addr fmt.Stringer, port uint16) {
		switch {
		case valid && port != 0:
			parts = append(parts, fmt.Sprintf("%s %v port %d", word, addr, port))
		case valid:
			parts = append(parts, fmt.Sprintf("%s %v", word, addr))
		case port != 0:
			parts = append(parts, fmt.Sprintf("%s port %d", word, port))
		}
	}
	end("from", p.Src.IsValid(), p.Src, p.SrcPort)
	end("to", p.Dst.IsValid(), p.Dst, p.DstPort)
	if len(parts) == 0 {
		return "any packet"
	}
	return strings.Join(parts, " ")
}
