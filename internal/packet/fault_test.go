package packet_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap/virtio"
)

// Both parsers refuse the same frames for the same reason.
func TestFaults(t *testing.T) {
	base := tcp(t, 20)
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   packet.Fault
	}{
		"fine":                  {func(f []byte) []byte { return f }, packet.FaultNone},
		"padded":                {func(f []byte) []byte { return append(f, 0, 0, 0) }, packet.FaultNone},
		"short":                 {func(f []byte) []byte { return f[:33] }, packet.FaultShort},
		"version 6":             {func(f []byte) []byte { f[14] = 0x65; return f }, packet.FaultVersion},
		"header length":         {func(f []byte) []byte { f[14] = 0x44; return f }, packet.FaultHeader},
		"checksum":              {func(f []byte) []byte { f[24] ^= 1; return f }, packet.FaultChecksum},
		"cut off":               {func(f []byte) []byte { return f[:len(f)-1] }, packet.FaultHeader},
		"total length 0":        {func(f []byte) []byte { return total(f, 0) }, packet.FaultHeader},
		"total length 19":       {func(f []byte) []byte { return total(f, 19) }, packet.FaultHeader},
		"no room for TCP":       {func(f []byte) []byte { return total(f, 39) }, packet.FaultTransport},
		"data offset too small": {func(f []byte) []byte { f[46] = 0x40; return f }, packet.FaultTransport},
		"data offset too large": {func(f []byte) []byte { f[46] = 0xf0; return f }, packet.FaultTransport},
		"no room for UDP": {func(f []byte) []byte { return total(proto(f, packet.ProtoUDP), 27) },
			packet.FaultTransport},
		"UDP length too small": {func(f []byte) []byte { f[38], f[39] = 0, 7; return proto(f, packet.ProtoUDP) },
			packet.FaultTransport},
		"UDP length too large": {func(f []byte) []byte { f[38], f[39] = 0, 41; return proto(f, packet.ProtoUDP) },
			packet.FaultTransport},
		"no room for ICMP": {func(f []byte) []byte { f[34] = 8; return total(proto(f, packet.ProtoICMP), 27) },
			packet.FaultTransport},
		"ICMP checksum": {func(f []byte) []byte { f[34] = 8; return proto(f, packet.ProtoICMP) },
			packet.FaultICMPSum},
	} {
		f := c.change(bytes.Clone(base))
		var p packet.Packet
		if got := p.Parse(f, nil); got != c.want {
			t.Errorf("%s: fault %d, want %d", name, got, c.want)
		}
		if got := new(packet.Decoder).Decode(&p, f, nil); got != c.want {
			t.Errorf("%s: the decoder's fault %d, want %d", name, got, c.want)
		}
	}
}

func total(f []byte, n uint16) []byte {
	binary.BigEndian.PutUint16(f[16:], n)
	packet.SetIPv4Checksum(f[14:])
	return f
}

func proto(f []byte, p byte) []byte {
	f[23] = p
	packet.SetIPv4Checksum(f[14:])
	return f
}

func TestFragmentFaults(t *testing.T) {
	fragment := func(offset uint16, more bool, l4 layers.IPProtocol, n int) []byte {
		ip := &layers.IPv4{Protocol: l4, FragOffset: offset}
		if more {
			ip.Flags = layers.IPv4MoreFragments
		}
		return build(t, ip, payload(n))
	}
	for name, c := range map[string]struct {
		frame []byte
		want  packet.Fault
	}{
		"first":                  {fragment(0, true, layers.IPProtocolTCP, 24), packet.FaultNone},
		"middle":                 {fragment(3, true, layers.IPProtocolTCP, 24), packet.FaultNone},
		"last of an odd length":  {fragment(3, false, layers.IPProtocolTCP, 5), packet.FaultNone},
		"tiny first (RFC 1858)":  {fragment(0, true, layers.IPProtocolTCP, 16), packet.FaultTransport},
		"over the TCP flags":     {fragment(1, false, layers.IPProtocolTCP, 24), packet.FaultTransport}, // RFC 3128
		"not so with UDP":        {fragment(1, false, layers.IPProtocolUDP, 24), packet.FaultNone},
		"not a multiple of 8":    {fragment(1, true, layers.IPProtocolUDP, 12), packet.FaultHeader},
		"beyond the largest one": {fragment(8191, false, layers.IPProtocolUDP, 24), packet.FaultHeader},
		"one byte too many":      {fragment(8190, false, layers.IPProtocolUDP, 16), packet.FaultHeader},
		"up to the largest one":  {fragment(8190, false, layers.IPProtocolUDP, 15), packet.FaultNone},
	} {
		var p packet.Packet
		if got := p.Parse(c.frame, nil); got != packet.NeedsDecoder {
			t.Errorf("%s: Parse says %d, want NeedsDecoder", name, got)
		}
		if got := new(packet.Decoder).Decode(&p, c.frame, nil); got != c.want {
			t.Errorf("%s: fault %d, want %d", name, got, c.want)
		}
	}
}

// gopacket's ARP decoder panics on lengths that reach past the frame.
func TestARPNeverPanics(t *testing.T) {
	f := packet.PutARP(make([]byte, packet.ARPLen), packet.MAC{}, packet.MAC{}, packet.ARP{Request: true})
	for hw := range 256 {
		for proto := range 256 {
			f[18], f[19] = byte(hw), byte(proto)
			if _, ok := packet.DecodeARP(f); ok != (hw == 6 && proto == 4) {
				t.Fatalf("lengths %d and %d: accepted %t", hw, proto, ok)
			}
		}
	}
}

// Every field of the fixed part of an ARP message counts, in both its bytes.
func TestARPOfOtherKinds(t *testing.T) {
	good := packet.PutARP(make([]byte, packet.ARPLen), packet.MAC{}, packet.MAC{}, packet.ARP{Request: true})
	for at := 14; at < 22; at++ {
		for bit := range 8 {
			f := bytes.Clone(good)
			f[at] ^= 1 << bit
			if _, ok := packet.DecodeARP(f); ok {
				t.Errorf("accepted with byte %d changed: % x", at-14, f[14:22])
			}
		}
	}
}

// Wherever a quote is cut off, its addresses and, from eight bytes on, its ports
// are the sender's again, and nothing behind it is touched.
func TestTranslateErrorCutAnywhere(t *testing.T) {
	d := new(packet.Decoder)
	for _, original := range [][]byte{udp(t, 20), tcp(t, 20), echo(t, 8, 20)} {
		var p packet.Packet
		sent := bytes.Clone(original)
		p.Parse(sent, nil)
		from, to := p.Tuple, p.Tuple
		to.Src, to.SrcPort = 0xc6336401, 61234
		r := packet.NewRewrite(from, to)
		p.Translate(&r)
		for n := packet.IPv4Len; n <= len(sent)-14; n++ {
			eth := append(icmpError(t, sent[14:14+n]), 0xee, 0xee) // padding
			var e packet.Packet
			if f := d.Decode(&e, eth, nil); f != packet.FaultNone || e.Quote.HasPort != (n >= 28) {
				t.Fatalf("protocol %d, %d bytes: fault %d, ports %t", p.Proto, n, f, e.Quote.HasPort)
			}
			e.TranslateError(7, from.Src, from)
			want := bytes.Clone(original[14 : 14+n])
			if n < 28 { // no ports, so they stay as they are
				copy(want[20:], sent[34:])
			} else if n == 37 && p.Proto == packet.ProtoTCP { // half a checksum cannot be adjusted
				want[36] = sent[50]
			}
			if got := eth[42 : 42+n]; !right(eth) || !bytes.Equal(got, want) ||
				!bytes.Equal(eth[42+n:], []byte{0xee, 0xee}) {
				t.Errorf("protocol %d, %d bytes, right %t:\n got %x\nwant %x", p.Proto, n, right(eth), got, want)
			}
		}
	}
}

// The MSS of an unfinished packet is lowered without touching its checksum, which is finished later.
func TestClampMSSUnfinished(t *testing.T) {
	mss := []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}}
	// without padding
	eth := build(t, &layers.IPv4{Protocol: layers.IPProtocolTCP},
		&layers.TCP{SrcPort: 1, DstPort: 2, SYN: true, Options: mss})[:58]
	h := unfinished(eth, 0, 0)
	var p packet.Packet
	p.Parse(eth, h)
	if !p.ClampMSS(1000) {
		t.Error("not lowered")
	}
	if p.CompleteChecksum(); !right(eth) || binary.BigEndian.Uint16(eth[56:]) != 1000 {
		t.Errorf("% x", eth)
	}
}

// Options that make no sense are left alone.
func TestClampMSSStrangeOptions(t *testing.T) {
	for name, opts := range map[string][]byte{
		"after the end":   {0, 2, 4, 5, 180, 0, 0, 0},
		"length 0":        {3, 0, 2, 4, 5, 180, 0, 0},
		"length too long": {3, 9, 2, 4, 5, 180, 0, 0},
		"length of 3":     {2, 3, 5, 1, 1, 1, 1, 1},
		"cut off":         {1, 1, 1, 1, 1, 1, 2, 4},
		"kind only":       {1, 1, 1, 1, 1, 1, 1, 2},
	} {
		eth := build(t, &layers.IPv4{Protocol: layers.IPProtocolTCP}, &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true},
			payload(8))
		eth[46] = 7 << 4
		copy(eth[54:], opts)
		packet.SetTransportChecksum(eth[14:])
		before := bytes.Clone(eth)
		var p packet.Packet
		if f := p.Parse(eth, nil); f != packet.FaultNone {
			t.Fatal(f)
		}
		if p.ClampMSS(100) || !bytes.Equal(eth, before) {
			t.Errorf("%s: changed", name)
		}
	}
}

// FuzzTranslate: right checksums stay right, whatever the frame and wherever it
// goes, and the reverse translation restores it to the bit.
func FuzzTranslate(f *testing.F) {
	for i, s := range seeds(f) {
		f.Add(s, uint32(i)<<24, uint32(0xffffffff), uint16(0), uint16(0xffff))
		f.Add(s, uint32(0xc6336401), uint32(i), uint16(40000), uint16(53))
	}
	d := new(packet.Decoder)
	f.Fuzz(func(t *testing.T, eth []byte, src, dst uint32, sp, dp uint16) {
		var p packet.Packet
		if len(eth) < 34 || len(eth) > 70000 {
			return
		}
		eth[12], eth[13] = 8, 0
		if n := 14 + 4*int(eth[14]&15); n >= 34 && n <= len(eth) {
			packet.SetIPv4Checksum(eth[14:])
		}
		if d.Decode(&p, eth, nil) != packet.FaultNone {
			return
		}
		whole := !p.Fragmented()
		if whole && !(p.Proto == packet.ProtoUDP && eth[p.L4+6] == 0 && eth[p.L4+7] == 0) {
			packet.SetTransportChecksum(eth[14:p.End])
		}
		to := packet.Tuple{Src: packet.Addr(src), Dst: packet.Addr(dst), SrcPort: sp, DstPort: dp, Proto: p.Proto}
		switch {
		case p.Proto != packet.ProtoTCP && p.Proto != packet.ProtoUDP && !p.IsQuery() || p.FragOff != 0:
			to.SrcPort, to.DstPort = 0, 0
		case p.Proto == packet.ProtoICMP && p.Type == packet.ICMPEcho:
			to.DstPort = 0
		case p.Proto == packet.ProtoICMP:
			to.SrcPort = 0
		}
		before := bytes.Clone(eth)
		there, back := packet.NewRewrite(p.Tuple, to), packet.NewRewrite(to, p.Tuple)
		p.Translate(&there)
		var q packet.Packet
		if fault := d.Decode(&q, eth, nil); fault != packet.FaultNone || q.Tuple != to {
			t.Fatalf("fault %d, %v, want %v", fault, q.Tuple, to)
		}
		lost := p.Proto == packet.ProtoUDP && whole && binary.BigEndian.Uint16(eth[p.L4+6:]) == 0 &&
			binary.BigEndian.Uint16(before[p.L4+6:]) != 0
		if whole && !right(eth) || lost {
			t.Fatalf("wrong checksum after the translation to %v: % x", to, eth)
		}
		q.Translate(&back)
		// The first fragment's checksum may have been any 16 bits, also the
		// zero that no sum is: that comes back as the other zero.
		if !bytes.Equal(eth, before) && (whole && p.Proto != packet.ProtoUDPLite && p.Proto != packet.ProtoDCCP) {
			t.Fatalf("not restored:\n got % x\nwant % x", eth, before)
		}
	})
}

// One port in 65536 makes the checksum zero: for UDP that means none and must
// be written as all ones, for TCP it must not (RFC 1624, 3).
func TestTranslateToEveryPort(t *testing.T) {
	for _, eth := range [][]byte{udp(t, 4), tcp(t, 4)} {
		var p packet.Packet
		p.Parse(eth, nil)
		zero := false
		for port := range 65536 {
			to := p.Tuple
			to.SrcPort = uint16(port)
			r := packet.NewRewrite(p.Tuple, to)
			p.Translate(&r)
			p.SrcPort = to.SrcPort
			sum := binary.BigEndian.Uint16(eth[map[uint8]int{packet.ProtoUDP: 40, packet.ProtoTCP: 50}[p.Proto]:])
			zero = zero || sum == 0 || sum == 0xffff
			if !right(eth) || p.Proto == packet.ProtoUDP && sum == 0 {
				t.Fatalf("protocol %d, port %d: checksum %#x", p.Proto, port, sum)
			}
		}
		if !zero {
			t.Errorf("protocol %d: no port made a zero; the test misses its point", p.Proto)
		}
	}
}

// A Packet is used again for every frame.
func TestPacketsAreUsedAgain(t *testing.T) {
	d := new(packet.Decoder)
	for i, before := range seeds(t) {
		for k, frame := range [][]byte{udp(t, 3), tcp(t, 3), echo(t, 8, 3)} {
			var used, fresh packet.Packet
			d.Decode(&used, before, nil)
			used.Parse(frame, nil)
			fresh.Parse(frame, nil)
			if !same(&used, &fresh) || used.Quote.Off != 0 || used.Partial || used.GSOSize != 0 || used.VNet != nil {
				t.Errorf("frame %d after %d: %+v, want %+v", k, i, used, fresh)
			}
		}
	}
	var p packet.Packet
	super := tcp(t, 5000)
	p.Parse(super, unfinished(super, virtio.GSOTCPv4, 1460))
	if p.Parse(udp(t, 1), nil); p.Partial || p.GSOSize != 0 {
		t.Errorf("after a super-frame: partial %t, segments of %d", p.Partial, p.GSOSize)
	}
}

func TestNothingAllocatesForErrorsAndFragments(t *testing.T) {
	d := new(packet.Decoder)
	frames := seeds(t)
	var p packet.Packet
	if n := testing.AllocsPerRun(100, func() {
		for _, f := range frames {
			d.Decode(&p, f, nil)
		}
	}); n > float64(len(frames)) { // gopacket makes a list of IP options, and an error where it knows no decoder
		t.Errorf("%v allocations for %d frames", n, len(frames))
	}
	big, buf := udp(t, 3000), make([]byte, 2000)
	d.Decode(&p, big, nil)
	if n := testing.AllocsPerRun(100, func() { p.Fragment(1500, func(n int) []byte { return buf[:n] }) }); n != 0 {
		t.Errorf("%v allocations to cut a packet", n)
	}
	super := tcp(t, 5000)
	h := unfinished(super, virtio.GSOTCPv4, 1460)
	p.Parse(super, h)
	if n := testing.AllocsPerRun(100, func() { p.Segment(func(n int) []byte { return buf[:n] }) }); n != 0 {
		t.Errorf("%v allocations to cut a super-frame", n)
	}
}
