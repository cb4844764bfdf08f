package lab

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A seen packet is one that crossed a network.
type seen struct {
	network string // or the device
	vlan    int    // on a device: of its tag, 0 if it has none
	packet.Tuple
	flags, typ, code uint8
	seq              uint32 // of an ICMP echo, or of a SYN
}

// maxSeen bounds the packets that are kept of a step for each network. A reader needs
// no more.
const maxSeen = 10000

// A question is what an ARP request asks on a network: for one address, by another.
type question struct {
	network        string
	sender, target packet.Addr
}

// An asked question is one that was asked, maybe several times.
type asked struct {
	question
	n        int
	answered bool
}

// maxQuestions bounds the ARP requests that are kept of a step.
const maxQuestions = 1000

// isAnnouncement reports whether the request only announces its sender (RFC 5227).
func (a *asked) isAnnouncement() bool { return a.sender == a.target }

// String is the question in the manner of tcpdump, with what became of it.
func (a *asked) String() string {
	text := fmt.Sprintf("who-has %v tell %v", a.target.Netip(), a.sender.Netip())
	if a.isAnnouncement() {
		text = fmt.Sprintf("announcement of %v", a.sender.Netip())
	}
	if a.n > 1 {
		text += fmt.Sprintf(", %d times", a.n)
	}
	switch {
	case a.isAnnouncement():
	case a.answered:
		text += ", answered"
	default:
		text += ", no answer"
	}
	return text
}

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

// opens reports whether a TCP segment asks for a connection.
func (s *seen) opens() bool { return s.flags&(packet.SYN|packet.ACK) == packet.SYN }

// A beginning is how a TCP connection of an earlier step began: by a SYN with this sequence number, if
// that was seen.
type beginning struct {
	syn bool
	seq uint32
}

// A recorder keeps the IPv4 packets and the ARP that cross the networks of a lab.
// The last segments of a TCP connection may come when the command that opened it
// has long printed its result: they belong to that command's step, and a later
// one does not see them. Nor does it see a SYN that is sent again: a timeout of a command may end when
// the host's next attempt is already under way.
type recorder struct {
	mu      sync.Mutex
	packets []seen
	kept    map[string]int           // packets of each network
	arp     []asked                  // in the order in which they were asked first
	earlier map[connection]beginning // of an earlier step
	parser  packet.Parser
}

func newRecorder() *recorder {
	return &recorder{earlier: map[connection]beginning{}, kept: map[string]int{}}
}

// observe notes one frame on a network, on the path of the packets.
func (r *recorder) observe(network string, f tap.Frame) { r.observeTagged(network, f, 0) }

// observeTagged notes one frame on a device, which had the tag of a VLAN there.
func (r *recorder) observeTagged(network string, f tap.Frame, vlan int) {
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, ok := packet.DecodeARP(eth); ok {
		r.observeARP(network, m)
	}
	if r.kept[network] >= maxSeen || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 {
		return
	}
	var p packet.Packet
	if r.parser.Parse(&p, eth, f.Header()) != packet.FaultNone {
		return
	}
	s := seen{network: network, vlan: vlan, Tuple: p.Tuple, flags: p.Flags, typ: p.Type, code: p.Code}
	switch {
	case p.IsQuery():
		s.seq = uint32(binary.BigEndian.Uint16(eth[p.L4+6:]))
	case s.Proto == packet.ProtoTCP:
		if s.opens() { // so it has a whole header, and is no later fragment
			s.seq = binary.BigEndian.Uint32(eth[p.L4+4:])
		}
		c := s.connection()
		if began, ok := r.earlier[c]; ok {
			if !s.opens() || began == (beginning{true, s.seq}) {
				return
			}
			delete(r.earlier, c) // the same ports again, in a new connection
		}
	}
	r.packets = append(r.packets, s)
	r.kept[network]++
}

// observeARP notes a question or an answer.
func (r *recorder) observeARP(network string, m packet.ARP) {
	q := question{network, m.Sender, m.Target}
	if !m.Request {
		q.sender, q.target = m.Target, m.Sender
	}
	i := slices.IndexFunc(r.arp, func(a asked) bool { return a.question == q })
	switch {
	case i >= 0 && m.Request:
		r.arp[i].n++
	case i >= 0:
		r.arp[i].answered = true
	case m.Request && len(r.arp) < maxQuestions:
		r.arp = append(r.arp, asked{question: q, n: 1})
	}
}

// unanswered lists the ARP requests of all networks that have had no answer.
func (r *recorder) unanswered() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for i := range r.arp {
		if a := &r.arp[i]; !a.answered && !a.isAnnouncement() {
			lines = append(lines, fmt.Sprintf("on %s: ARP %v", a.network, a))
		}
	}
	return lines
}

// reset forgets what was seen before a step.
func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.packets {
		s := &r.packets[i]
		if s.Proto != packet.ProtoTCP {
			continue
		}
		began := r.earlier[s.connection()]
		if s.opens() {
			began = beginning{true, s.seq}
		}
		r.earlier[s.connection()] = began
	}
	r.packets, r.arp = nil, nil
	clear(r.kept)
}

// find returns the first packet that matches, and how many do.
func (r *recorder) find(p *file.PacketPattern) (first seen, n int) {
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

// on returns up to max different packets that were seen on a network, and as many ARP
// messages, for an explanation. It is never empty.
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
	ip := len(lines)
	for i := range r.arp {
		if a := &r.arp[i]; a.network == network && len(lines) < ip+max {
			lines = append(lines, "ARP "+a.String())
		}
	}
	if len(lines) == 0 {
		lines = []string{"nothing at all"}
	}
	return lines
}

// placeOf is the network or the device that a pattern is about.
func placeOf(p *file.PacketPattern) string { return cmp.Or(p.Device, p.Network) }

// matches reports whether a packet fits a pattern, whose empty fields fit all.
func (s *seen) matches(p *file.PacketPattern) bool {
	switch {
	case placeOf(p) != "" && placeOf(p) != s.network,
		p.VLAN != s.vlan, // on a network there are none
		p.Src.IsValid() && p.Src != s.Src.Netip(),
		p.Dst.IsValid() && p.Dst != s.Dst.Netip(),
		p.SrcPort != 0 && (p.SrcPort != s.SrcPort || s.Proto == packet.ProtoICMP),
		p.DstPort != 0 && (p.DstPort != s.DstPort || s.Proto == packet.ProtoICMP):
		return false
	}
	return p.Protocol == "" || strings.EqualFold(string(p.Protocol), packet.ProtoName(s.Proto))
}

// String is the packet in the manner of tcpdump.
func (s seen) String() string {
	src, dst, tag := s.Src.Netip(), s.Dst.Netip(), ""
	if s.vlan != 0 {
		tag = fmt.Sprintf("vlan %d, ", s.vlan)
	}
	switch s.Proto {
	case packet.ProtoTCP:
		return fmt.Sprintf("%sIP %v.%d > %v.%d: tcp, flags [%s]", tag, src, s.SrcPort, dst, s.DstPort,
			flagNames(s.flags))
	case packet.ProtoUDP:
		return fmt.Sprintf("%sIP %v.%d > %v.%d: udp", tag, src, s.SrcPort, dst, s.DstPort)
	case packet.ProtoICMP:
		return fmt.Sprintf("%sIP %v > %v: ICMP %s", tag, src, dst, s.icmpName())
	}
	return fmt.Sprintf("%sIP %v > %v: %s", tag, src, dst, packet.ProtoName(s.Proto))
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
		names := []string{"net unreachable", "host unreachable", "protocol unreachable", "port unreachable",
			"unreachable - need to frag"}
		if int(s.code) < len(names) {
			return names[s.code]
		}
		return fmt.Sprintf("unreachable, code %d", s.code)
	}
	return fmt.Sprintf("type %d code %d", s.typ, s.code)
}

// patternString writes a pattern for people.
func patternString(p *file.PacketPattern) string {
	parts := []string{}
	switch {
	case p.VLAN != 0:
		parts = append(parts, fmt.Sprintf("with vlan %d", p.VLAN))
	case p.Device != "":
		parts = append(parts, "without a tag")
	}
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
