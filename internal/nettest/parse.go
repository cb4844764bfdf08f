package nettest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/internal/packet"
)

// Parse builds the Ethernet frame that a line describes. Its MAC addresses are
// zero, for the caller to fill in (SetMACs).
func Parse(line string) ([]byte, error) {
	b, err := parse(line)
	if err != nil {
		return nil, fmt.Errorf("nettest: %q: %w", line, err)
	}
	return b, nil
}

// SetMACs writes the addresses into a frame, and returns it.
func SetMACs(eth []byte, src, dst packet.MAC) []byte {
	copy(eth[0:6], dst[:])
	copy(eth[6:12], src[:])
	return eth
}

func parse(line string) ([]byte, error) {
	w := &words{list: splitLine(line)}
	switch kind := w.peek(); kind {
	case "arp":
		return w.arp()
	case "raw":
		w.next()
		typ, body := w.number(16), w.hex()
		return ethernet(uint16(typ), body), w.end()
	default:
		p := w.packet()
		if err := w.end(); err != nil {
			return nil, err
		}
		return ethernet(packet.EtherTypeIPv4, p.bytes()), nil
	}
}

// splitLine makes words, brackets being words of their own.
func splitLine(line string) []string {
	return strings.Fields(strings.NewReplacer("[", " [ ", "]", " ] ").Replace(line))
}

func ethernet(typ uint16, payload []byte) []byte {
	b := make([]byte, packet.EthernetLen, packet.EthernetLen+len(payload))
	binary.BigEndian.PutUint16(b[12:], typ)
	return append(b, payload...)
}

// words are a line; the first thing that is wrong with it is kept.
type words struct {
	list []string
	err  error
}

func (w *words) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
	w.list = nil
}

func (w *words) peek() string {
	if len(w.list) == 0 {
		return ""
	}
	return w.list[0]
}

func (w *words) next() string {
	if len(w.list) == 0 {
		w.fail("ends too early")
		return ""
	}
	s := w.list[0]
	w.list = w.list[1:]
	return s
}

func (w *words) expect(word string) {
	if s := w.next(); s != word {
		w.fail("want %q, got %q", word, s)
	}
}

func (w *words) end() error {
	if len(w.list) > 0 {
		w.fail("what is %q?", w.list[0])
	}
	return w.err
}

func (w *words) number(bits int) uint64 {
	n, err := strconv.ParseUint(w.next(), 0, bits)
	if err != nil {
		w.fail("%v", err)
	}
	return n
}

func (w *words) addr() netip.Addr {
	a, err := netip.ParseAddr(w.next())
	if err == nil && !a.Is4() {
		err = errors.New("not an IPv4 address")
	}
	if err != nil {
		w.fail("%v", err)
		return netip.IPv4Unspecified()
	}
	return a
}

func (w *words) hex() []byte {
	b, err := hex.DecodeString(w.next())
	if err != nil {
		w.fail("%v", err)
	}
	return b
}

func (w *words) mac() (m packet.MAC) {
	if w.peek() == "any" {
		w.next()
		return m
	}
	b, err := net.ParseMAC(w.next())
	if err != nil || len(b) != 6 {
		w.fail("not a MAC address")
		return m
	}
	return packet.MAC(b)
}

// arp reads a request or a reply.
func (w *words) arp() ([]byte, error) {
	w.expect("arp")
	var m packet.ARP
	switch kind := w.next(); kind {
	case "who-has":
		m.Request = true
		m.Target = packet.AddrFrom(w.addr())
		w.expect("tell")
		m.Sender = packet.AddrFrom(w.addr())
	case "reply":
		m.Sender = packet.AddrFrom(w.addr())
		w.expect("is-at")
		m.SenderMAC = w.mac()
		w.expect("for")
		m.Target = packet.AddrFrom(w.addr())
	default:
		w.fail("arp is who-has or reply, not %q", kind)
	}
	for len(w.list) > 0 {
		switch word := w.next(); word {
		case "from":
			m.SenderMAC = w.mac()
		case "to":
			m.TargetMAC = w.mac()
		default:
			w.fail("what is %q?", word)
		}
	}
	b := packet.PutARP(make([]byte, packet.ARPLen), packet.MAC{}, packet.MAC{}, m)
	return b, w.err
}

// packet reads an IP packet, up to the end or a closing bracket.
func (w *words) packet() *ipPacket {
	p := newPacket(0)
	kind := w.next()
	switch kind {
	case "udp":
		p.proto = packet.ProtoUDP
	case "tcp":
		p.proto = packet.ProtoTCP
	case "icmp":
		p.proto = packet.ProtoICMP
	case "ip":
	default:
		w.fail("a frame is udp, tcp, icmp, ip, arp or raw, not %q", kind)
	}
	var ports [2]bool
	p.src, p.srcPort, ports[0] = w.endpoint()
	w.expect(">")
	p.dst, p.dstPort, ports[1] = w.endpoint()
	if ports[0] {
		p.given |= hasPorts
	}
	for w.err == nil && len(w.list) > 0 && w.peek() != "]" {
		w.option(p, w.next())
	}
	if err := p.check(ports); w.err == nil && err != nil {
		w.fail("%v", err)
	}
	return p
}

// endpoint reads an address, with or without a port.
func (w *words) endpoint() (netip.Addr, uint16, bool) {
	s := w.next()
	if strings.Contains(s, ":") {
		ap, err := netip.ParseAddrPort(s)
		if err == nil && ap.Addr().Is4() {
			return ap.Addr(), ap.Port(), true
		}
		w.fail("%q is not an IPv4 endpoint", s)
		return netip.IPv4Unspecified(), 0, false
	}
	w.list = append([]string{s}, w.list...)
	return w.addr(), 0, false
}

// check refuses lines that describe no packet.
func (p *ipPacket) check(ports [2]bool) error {
	header := packet.IPv4Len + len(p.ipOptions) + p.transportLen()
	needs := p.off == 0 && (p.proto == packet.ProtoUDP || p.proto == packet.ProtoTCP)
	switch {
	case ports[0] != needs || ports[1] != needs:
		return errors.New("ports belong to udp and tcp, but not to their later fragments")
	case p.off%8 != 0 || p.off > 65528:
		return errors.New("off is a multiple of 8")
	case p.has(hasOf) && p.length > p.of:
		return errors.New("len is larger than of")
	case header+p.length > 65535 || header+p.of > 65535:
		return errors.New("too long")
	case len(p.options)%4 != 0 || len(p.options) > 40 || len(p.ipOptions)%4 != 0 || len(p.ipOptions) > 40:
		return errors.New("options are 0 to 40 bytes, in fours")
	}
	return nil
}

var flagLetters = []struct {
	letter rune
	bit    uint8
}{{'S', packet.SYN}, {'F', packet.FIN}, {'R', packet.RST}, {'P', packet.PSH}, {'U', packet.URG},
	{'E', packet.ECE}, {'W', packet.CWR}, {'.', packet.ACK}}

// tcpFlags reads flags as tcpdump writes them: "S", "S.", "P.", "none".
func tcpFlags(s string) (flags uint8, ok bool) {
	if s == "none" {
		return 0, true
	}
	for _, c := range s {
		known := false
		for _, f := range flagLetters {
			if f.letter == c {
				flags, known = flags|f.bit, true
			}
		}
		if !known {
			return 0, false
		}
	}
	return flags, s != ""
}

// option reads one property.
func (w *words) option(p *ipPacket, word string) {
	switch word {
	case "ttl":
		p.ttl, p.given = uint8(w.number(8)), p.given|hasTTL
	case "tos":
		p.tos, p.given = uint8(w.number(8)), p.given|hasTOS
	case "id":
		w.ident(p)
	case "df":
		p.df = true
	case "more":
		p.more = true
	case "off":
		p.off, p.given = int(w.number(16)), p.given|hasOff
	case "proto":
		p.proto = uint8(w.number(8))
	case "ipopts":
		p.ipOptions, p.given = w.hex(), p.given|hasIPOptions
	case "len":
		p.length, p.given = int(w.number(16)), p.given|hasLen
	case "of":
		p.of, p.given = int(w.number(16)), p.given|hasOf
	case "data":
		p.data, p.given = w.hex(), p.given|hasData|hasLen
		p.length = len(p.data)
	case "cut":
		p.cut, p.given = int(w.number(16)), p.given|hasCut
	case "pad":
		p.pad, p.given = int(w.number(16)), p.given|hasPad
	case "sum":
		p.sum, p.given = uint16(w.number(16)), p.given|hasSum
	case "ipsum":
		p.ipSum, p.given = uint16(w.number(16)), p.given|hasIPSum
	default:
		w.transportOption(p, word)
	}
}

// ident: an echo has an identifier of its own, and the IP header's is ipid.
func (w *words) ident(p *ipPacket) {
	n := uint16(w.number(16))
	if p.proto == packet.ProtoICMP {
		p.echoID, p.given = n, p.given|hasEchoID
		return
	}
	p.id, p.given = n, p.given|hasID
}

// transportOption reads a property of TCP or ICMP.
func (w *words) transportOption(p *ipPacket, word string) {
	switch p.proto {
	case packet.ProtoTCP:
		w.tcpOption(p, word)
	case packet.ProtoICMP:
		w.icmpOption(p, word)
	default:
		w.fail("what is %q?", word)
	}
}

func (w *words) tcpOption(p *ipPacket, word string) {
	flags, isFlags := tcpFlags(word)
	switch {
	case isFlags:
		p.flags, p.given = flags, p.given|hasFlags
	case word == "seq":
		p.seq, p.given = uint32(w.number(32)), p.given|hasSeq
	case word == "ack":
		p.ack, p.given = uint32(w.number(32)), p.given|hasAck
	case word == "win":
		p.window, p.given = uint16(w.number(16)), p.given|hasWin
	case word == "mss":
		mss := w.number(16)
		p.options, p.given = []byte{2, 4, byte(mss >> 8), byte(mss)}, p.given|hasOptions
	case word == "opts":
		p.options, p.given = w.hex(), p.given|hasOptions
	default:
		w.fail("what is %q?", word)
	}
}

func (w *words) icmpOption(p *ipPacket, word string) {
	switch word {
	case "request":
		p.typ = packet.ICMPEcho
	case "reply":
		p.typ = packet.ICMPEchoReply
	case "type":
		p.typ = uint8(w.number(8))
	case "code":
		p.code = uint8(w.number(8))
	case "seq":
		p.echoSeq, p.given = uint16(w.number(16)), p.given|hasEchoSeq
	case "ipid":
		p.id, p.given = uint16(w.number(16)), p.given|hasID
	case "mtu":
		p.mtu, p.given = uint16(w.number(16)), p.given|hasMTU
	case "pointer":
		p.pointer, p.given = uint8(w.number(8)), p.given|hasPointer
	case "about":
		w.expect("[")
		p.quote = w.packet()
		w.expect("]")
	default:
		w.fail("what is %q?", word)
	}
}
