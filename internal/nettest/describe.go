package nettest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/taprouter/taprouter/internal/packet"
)

// Describe writes an Ethernet frame as a line, without its MAC addresses. It
// takes any bytes.
func Describe(eth []byte) string {
	if len(eth) < packet.EthernetLen {
		return fmt.Sprintf("runt of %d bytes", len(eth))
	}
	typ, body := binary.BigEndian.Uint16(eth[12:]), eth[packet.EthernetLen:]
	line := ""
	switch typ {
	case packet.EtherTypeARP:
		line = describeARP(eth)
	case packet.EtherTypeIPv4:
		if p := decode(body, false); p != nil {
			line = p.String()
		}
	}
	if again, err := parse(line); err != nil || !bytes.Equal(again[12:], eth[12:]) {
		return fmt.Sprintf("raw 0x%04x %s", typ, hex.EncodeToString(body))
	}
	return line
}

func describeARP(eth []byte) string {
	m, ok := packet.DecodeARP(eth)
	if !ok {
		return ""
	}
	sender, target := m.Sender.Netip(), m.Target.Netip()
	line := fmt.Sprintf("arp reply %s is-at %s for %s", sender, m.SenderMAC, target)
	if m.Request {
		line = fmt.Sprintf("arp who-has %s tell %s", target, sender)
		if !m.SenderMAC.IsZero() {
			line += " from " + m.SenderMAC.String()
		}
	}
	if !m.TargetMAC.IsZero() {
		line += " to " + m.TargetMAC.String()
	}
	return line
}

// decode reads an IPv4 packet, which may be cut, or have padding behind it. It
// returns nil for a packet that the language has no words for. A quote within a quoted
// packet is read as data.
func decode(b []byte, quoted bool) *ipPacket {
	if len(b) < packet.IPv4Len || b[0]>>4 != 4 {
		return nil
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < packet.IPv4Len || len(b) < header || total < header {
		return nil
	}
	fragment := binary.BigEndian.Uint16(b[6:])
	p := &ipPacket{
		tos: b[1], id: binary.BigEndian.Uint16(b[4:]), df: fragment>>14&1 == 1, more: fragment>>13&1 == 1,
		off: int(fragment&0x1fff) * 8, ttl: b[8], proto: b[9],
		src: netip.AddrFrom4([4]byte(b[12:])), dst: netip.AddrFrom4([4]byte(b[16:])),
		given: hasTTL | hasID,
	}
	p.set(hasTOS, p.tos != 0)
	p.set(hasOff, p.off != 0)
	p.ipOptions = b[packet.IPv4Len:header]
	p.set(hasIPOptions, len(p.ipOptions) > 0)
	whole := b
	if len(b) > total {
		p.pad = len(b) - total
		p.set(hasPad, true)
		whole = b[:total]
	} else if len(b) < total {
		p.cut = len(b)
		p.set(hasCut, true)
		whole = append(bytes.Clone(b), make([]byte, total-len(b))...)
	}
	if !quoted && p.proto == packet.ProtoICMP && len(whole) > header+packet.ICMPLen {
		p.quote = decode(whole[header+packet.ICMPLen:], true)
	}
	if !p.decodeTransport(whole[header:], min(len(b), total)-header) {
		return nil
	}
	p.keepSums(whole, header, min(len(b), total))
	return p
}

func (p *ipPacket) set(f field, on bool) {
	if on {
		p.given |= f
	}
}

// keepSums notes wrong checksums: a checksum is wrong if it differs when the packet is built
// again. Only n bytes of the packet are there; the rest of whole is zeros.
func (p *ipPacket) keepSums(whole []byte, header, n int) {
	full := *p
	full.given &^= hasCut | hasPad
	full.pad = 0
	again := full.bytes()
	at, ok := map[uint8]int{packet.ProtoUDP: 6, packet.ProtoTCP: 16, packet.ProtoICMP: 2}[p.proto]
	at += header
	if ok && p.off == 0 && at+2 <= min(n, len(again)) && !bytes.Equal(whole[at:at+2], again[at:at+2]) {
		p.sum = binary.BigEndian.Uint16(whole[at:])
		p.set(hasSum, true)
	}
	if !bytes.Equal(whole[10:12], again[10:12]) {
		p.ipSum = binary.BigEndian.Uint16(whole[10:])
		p.set(hasIPSum, true)
	}
}

// decodeTransport reads what follows the IP header, of which only n bytes are there.
func (p *ipPacket) decodeTransport(l4 []byte, n int) bool {
	if p.off == 0 {
		ok := true
		switch p.proto {
		case packet.ProtoTCP:
			ok = p.decodeTCP(l4, n)
		case packet.ProtoUDP:
			ok = p.decodeUDP(l4)
		case packet.ProtoICMP:
			ok = p.decodeICMP(l4)
		}
		if !ok {
			return false
		}
	}
	from := p.transportLen()
	p.length = len(l4) - from
	p.set(hasLen, true)
	if !p.isError() {
		p.quote = nil
	}
	if p.quote == nil {
		p.decodePayload(l4[from:], n-from)
	}
	return true
}

// decodePayload notes a payload that is not the pattern.
func (p *ipPacket) decodePayload(payload []byte, n int) {
	want := make([]byte, len(payload))
	pattern(want, p.off+p.transportLen())
	n = max(0, n)
	if !bytes.Equal(payload[:n], want[:n]) {
		p.data = payload
		p.set(hasData, true)
	}
}

func (p *ipPacket) decodeTCP(l4 []byte, n int) bool {
	if len(l4) < packet.TCPLen {
		return false
	}
	h := int(l4[12]>>4) * 4
	if n <= 12 {
		h = packet.TCPLen // cut before it says so
	}
	if h < packet.TCPLen || len(l4) < h {
		return false
	}
	p.srcPort, p.dstPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	p.seq, p.ack = binary.BigEndian.Uint32(l4[4:]), binary.BigEndian.Uint32(l4[8:])
	p.flags, p.window = l4[13], binary.BigEndian.Uint16(l4[14:])
	p.options = l4[packet.TCPLen:h]
	p.given |= hasPorts | hasFlags | hasSeq | hasAck | hasWin
	p.set(hasOptions, len(p.options) > 0)
	return true
}

func (p *ipPacket) decodeUDP(l4 []byte) bool {
	if len(l4) < packet.UDPLen {
		return false
	}
	p.srcPort, p.dstPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	p.given |= hasPorts
	n := int(binary.BigEndian.Uint16(l4[4:]))
	if n > len(l4) && p.more {
		p.of = n - packet.UDPLen
		p.set(hasOf, true)
	}
	return n == len(l4) || p.has(hasOf)
}

func (p *ipPacket) decodeICMP(l4 []byte) bool {
	if len(l4) < packet.ICMPLen {
		return false
	}
	p.typ, p.code = l4[0], l4[1]
	if p.echo() {
		p.echoID, p.echoSeq = binary.BigEndian.Uint16(l4[4:]), binary.BigEndian.Uint16(l4[6:])
		p.given |= hasEchoID | hasEchoSeq
		return true
	}
	p.mtu = binary.BigEndian.Uint16(l4[6:])
	p.set(hasMTU, p.mtu != 0)
	p.pointer = l4[4]
	p.set(hasPointer, p.pointer != 0)
	return true
}

// isError reports whether the packet is an ICMP message that quotes another.
func (p *ipPacket) isError() bool {
	switch p.typ {
	case packet.ICMPUnreachable, packet.ICMPSourceQuench, packet.ICMPRedirect, packet.ICMPTimeExceeded,
		packet.ICMPParamProblem:
		return p.proto == packet.ProtoICMP && p.off == 0
	}
	return false
}

// String writes the line that builds p.
func (p *ipPacket) String() string {
	var b strings.Builder
	p.writeTransport(&b)
	ident := "id"
	if p.proto == packet.ProtoICMP {
		ident = "ipid"
	}
	for _, x := range []struct {
		bit  field
		name string
		n    int
	}{{hasTTL, "ttl", int(p.ttl)}, {hasID, ident, int(p.id)}, {hasTOS, "tos", int(p.tos)}, {hasOff, "off", p.off}} {
		if p.has(x.bit) {
			fmt.Fprintf(&b, " %s %d", x.name, x.n)
		}
	}
	if p.df {
		b.WriteString(" df")
	}
	if p.more {
		b.WriteString(" more")
	}
	if p.has(hasIPOptions) {
		b.WriteString(" ipopts " + hex.EncodeToString(p.ipOptions))
	}
	p.writePayload(&b)
	return b.String()
}

func (p *ipPacket) writeTransport(b *strings.Builder) {
	src, dst := p.src.String(), p.dst.String()
	if p.has(hasPorts) {
		src, dst = fmt.Sprintf("%s:%d", src, p.srcPort), fmt.Sprintf("%s:%d", dst, p.dstPort)
	}
	switch p.proto {
	case packet.ProtoTCP:
		fmt.Fprintf(b, "tcp %s > %s", src, dst)
		p.writeTCP(b)
	case packet.ProtoUDP:
		fmt.Fprintf(b, "udp %s > %s", src, dst)
	case packet.ProtoICMP:
		fmt.Fprintf(b, "icmp %s > %s", src, dst)
		p.writeICMP(b)
	default:
		fmt.Fprintf(b, "ip %s > %s proto %d", src, dst, p.proto)
	}
}

func (p *ipPacket) writeTCP(b *strings.Builder) {
	if p.has(hasFlags) {
		b.WriteString(" " + flagString(p.flags))
	}
	for _, x := range []struct {
		bit  field
		name string
		n    uint32
	}{{hasSeq, "seq", p.seq}, {hasAck, "ack", p.ack}, {hasWin, "win", uint32(p.window)}} {
		if p.has(x.bit) {
			fmt.Fprintf(b, " %s %d", x.name, x.n)
		}
	}
	switch o := p.options; {
	case !p.has(hasOptions):
	case len(o) == 4 && o[0] == 2 && o[1] == 4:
		fmt.Fprintf(b, " mss %d", binary.BigEndian.Uint16(o[2:]))
	default:
		b.WriteString(" opts " + hex.EncodeToString(o))
	}
}

func flagString(flags uint8) string {
	s := ""
	for _, f := range flagLetters {
		if flags&f.bit != 0 {
			s += string(f.letter)
		}
	}
	if s == "" {
		return "none"
	}
	return s
}

func (p *ipPacket) writeICMP(b *strings.Builder) {
	if p.off != 0 {
		return
	}
	switch {
	case p.typ == packet.ICMPEcho:
		b.WriteString(" request")
	case p.typ == packet.ICMPEchoReply:
		b.WriteString(" reply")
	default:
		fmt.Fprintf(b, " type %d", p.typ)
	}
	if p.code != 0 {
		fmt.Fprintf(b, " code %d", p.code)
	}
	if p.has(hasEchoID) {
		fmt.Fprintf(b, " id %d", p.echoID)
	}
	if p.has(hasEchoSeq) {
		fmt.Fprintf(b, " seq %d", p.echoSeq)
	}
	if p.has(hasMTU) {
		fmt.Fprintf(b, " mtu %d", p.mtu)
	}
	if p.has(hasPointer) {
		fmt.Fprintf(b, " pointer %d", p.pointer)
	}
}

func (p *ipPacket) writePayload(b *strings.Builder) {
	switch {
	case p.quote != nil:
	case p.has(hasData):
		b.WriteString(" data " + hex.EncodeToString(p.data))
	case p.has(hasLen):
		fmt.Fprintf(b, " len %d", p.length)
	}
	if p.has(hasOf) {
		fmt.Fprintf(b, " of %d", p.of)
	}
	if p.has(hasCut) {
		fmt.Fprintf(b, " cut %d", p.cut)
	}
	if p.has(hasPad) {
		fmt.Fprintf(b, " pad %d", p.pad)
	}
	if p.has(hasSum) {
		fmt.Fprintf(b, " sum 0x%04x", p.sum)
	}
	if p.has(hasIPSum) {
		fmt.Fprintf(b, " ipsum 0x%04x", p.ipSum)
	}
	if p.quote != nil {
		fmt.Fprintf(b, " about [%s]", p.quote)
	}
}
