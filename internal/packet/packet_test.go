package packet_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap/virtio"
)

// build makes a frame from layers, with lengths and checksums.
func build(t testing.TB, ip *layers.IPv4, l4 ...gopacket.SerializableLayer) []byte {
	t.Helper()
	ip.Version = 4
	if ip.TTL == 0 {
		ip.TTL = 64
	}
	if ip.SrcIP == nil {
		ip.SrcIP, ip.DstIP = []byte{192, 0, 2, 1}, []byte{198, 51, 100, 2}
	}
	for _, l := range l4 {
		if n, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := n.SetNetworkLayerForChecksum(ip); err != nil {
				t.Fatal(err)
			}
		}
	}
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2},
		EthernetType: layers.EthernetTypeIPv4}
	buf := gopacket.NewSerializeBuffer()
	opt := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opt, append([]gopacket.SerializableLayer{eth, ip}, l4...)...); err != nil {
		t.Fatal(err)
	}
	return append([]byte(nil), buf.Bytes()...)
}

func payload(n int) gopacket.Payload {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*13 + i>>8)
	}
	return b
}

func udp(t testing.TB, n int) []byte {
	return build(t, &layers.IPv4{Protocol: layers.IPProtocolUDP}, &layers.UDP{SrcPort: 1000, DstPort: 53}, payload(n))
}

func tcp(t testing.TB, n int) []byte {
	return build(t, &layers.IPv4{Protocol: layers.IPProtocolTCP, Flags: layers.IPv4DontFragment},
		&layers.TCP{SrcPort: 1000, DstPort: 80, Seq: 7, Ack: 8, ACK: true, PSH: true, FIN: true, CWR: true,
			Window: 1000}, payload(n))
}

func echo(t testing.TB, typ uint8, n int) []byte {
	return build(t, &layers.IPv4{Protocol: layers.IPProtocolICMPv4},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, 0), Id: 77, Seq: 3}, payload(n))
}

// icmpError is an error that quotes the first bytes of a packet.
func icmpError(t testing.TB, about []byte) []byte {
	return build(t, &layers.IPv4{Protocol: layers.IPProtocolICMPv4},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 1)}, gopacket.Payload(about))
}

// right reports whether all checksums of a frame that is no fragment are right.
func right(eth []byte) bool {
	ip := eth[14 : 14+int(binary.BigEndian.Uint16(eth[16:]))]
	if packet.Sum(ip[:int(ip[0]&15)*4]) != 0xffff {
		return false
	}
	n := int(ip[0]&15) * 4
	if ip[9] == packet.ProtoUDP && ip[n+6] == 0 && ip[n+7] == 0 {
		return true
	}
	again := bytes.Clone(ip)
	packet.SetTransportChecksum(again)
	return bytes.Equal(again, ip)
}

// optioned is a packet with an IP option.
func optioned(t testing.TB) []byte {
	return build(t, &layers.IPv4{Protocol: layers.IPProtocolUDP,
		Options: []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}},
		&layers.UDP{SrcPort: 1, DstPort: 2}, payload(9))
}

// seeds is a frame of every kind.
func seeds(t testing.TB) [][]byte {
	all := [][]byte{udp(t, 0), udp(t, 19), tcp(t, 0), tcp(t, 100), echo(t, 8, 5), echo(t, 0, 6), optioned(t),
		icmpError(t, udp(t, 30)[14:]), icmpError(t, tcp(t, 30)[14:14+28]), icmpError(t, echo(t, 8, 30)[14:]),
		build(t, &layers.IPv4{Protocol: 47}, payload(20))}
	var p packet.Packet
	p.Parse(udp(t, 300), nil)
	p.Fragment(100, func(n int) []byte {
		all = append(all, make([]byte, n))
		return all[len(all)-1]
	})
	return all
}

// change does everything to a packet that the router may do.
func change(p *packet.Packet) {
	to := packet.Tuple{Src: 0x01020304, Dst: 0xfffefdfc, SrcPort: 9, DstPort: 65535, Proto: p.Proto}
	p.ClampMSS(100)
	if p.TTL > 0 {
		p.DecrementTTL()
	}
	if p.IsICMPError() && p.Quote.Off != 0 {
		p.TranslateError(1, 2, to)
		return
	}
	r := packet.NewRewrite(p.Tuple, to)
	p.Translate(&r)
	if next := func(n int) []byte { return make([]byte, n) }; p.GSOSize != 0 {
		p.Segment(next)
	} else {
		p.CompleteChecksum()
		p.Fragment(68, next)
	}
}

// A translation keeps right checksums right, and the reverse restores the packet.
func TestTranslate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		for _, eth := range [][]byte{udp(t, rng.IntN(50)), tcp(t, rng.IntN(50)), echo(t, 8, rng.IntN(50)),
			echo(t, 0, rng.IntN(50))} {
			before := bytes.Clone(eth)
			var p packet.Packet
			if f := p.Parse(eth, nil); f != packet.FaultNone {
				t.Fatal(f)
			}
			to := packet.Tuple{Src: packet.Addr(rng.Uint32()), Dst: packet.Addr(rng.Uint32()),
				SrcPort: uint16(rng.Uint32()), DstPort: uint16(rng.Uint32()), Proto: p.Proto}
			if p.Proto == packet.ProtoICMP && p.Type == 8 {
				to.DstPort = 0
			} else if p.Proto == packet.ProtoICMP {
				to.SrcPort = 0
			}
			r := packet.NewRewrite(p.Tuple, to)
			p.Translate(&r)
			var q packet.Packet
			if f := q.Parse(eth, nil); f != packet.FaultNone || q.Tuple != to || !right(eth) {
				t.Fatalf("fault %d, tuple %v, want %v; checksums right: %v", f, q.Tuple, to, right(eth))
			}
			back := packet.NewRewrite(to, p.Tuple)
			q.Translate(&back)
			if !bytes.Equal(eth, before) {
				t.Fatalf("not restored:\n%x\n%x", eth, before)
			}
			q.DecrementTTL()
			if eth[22] != 63 || !right(eth) {
				t.Fatalf("TTL %d, checksums right: %v", eth[22], right(eth))
			}
		}
	}
}

// A UDP checksum of zero means that there is none, and stays so.
func TestTranslateUDPWithoutChecksum(t *testing.T) {
	eth := udp(t, 10)
	eth[40], eth[41] = 0, 0
	var p packet.Packet
	p.Parse(eth, nil)
	r := packet.NewRewrite(p.Tuple, packet.Tuple{Src: 1, Dst: 2, SrcPort: 3, DstPort: 4, Proto: p.Proto})
	p.Translate(&r)
	if eth[40] != 0 || eth[41] != 0 || packet.Sum(eth[14:34]) != 0xffff {
		t.Errorf("checksum %x", eth[40:42])
	}
}

// unfinished makes the frame's TCP or UDP checksum one that is still to be finished,
// and returns its virtio-net header.
func unfinished(eth []byte, gso uint8, size int) []byte {
	h := make([]byte, virtio.HeaderLen)
	h[0], h[1] = virtio.NeedsChecksum, gso
	field := map[byte]int{packet.ProtoTCP: 16, packet.ProtoUDP: 6}[eth[23]]
	binary.LittleEndian.PutUint16(h[4:], uint16(size))
	binary.LittleEndian.PutUint16(h[6:], 34)
	binary.LittleEndian.PutUint16(h[8:], uint16(field))
	n := len(eth) - 34
	pseudo := append(bytes.Clone(eth[26:34]), 0, eth[23], byte(n>>8), byte(n))
	binary.BigEndian.PutUint16(eth[34+field:], packet.Sum(pseudo))
	return h
}

// What is translated unfinished and finished then, is right.
func TestTranslateUnfinished(t *testing.T) {
	for _, eth := range [][]byte{udp(t, 33), tcp(t, 100)} {
		h := unfinished(eth, 0, 0)
		var p packet.Packet
		if f := p.Parse(eth, h); f != packet.FaultNone || !p.Partial {
			t.Fatalf("fault %d, partial %v", f, p.Partial)
		}
		r := packet.NewRewrite(p.Tuple, packet.Tuple{Src: 99, Dst: 0xc0a80101, SrcPort: 3, DstPort: 4, Proto: p.Proto})
		p.Translate(&r)
		p.CompleteChecksum()
		if !right(eth) || h[0] != 0 {
			t.Errorf("protocol %d: checksum wrong, or still asked for: header %x", p.Proto, h)
		}
	}
}

// Ethernet padding is behind the packet and not in its checksum. A super-frame
// has no checksum of its own, only its segments have. So the request stays.
func TestCompleteChecksum(t *testing.T) {
	eth := tcp(t, 1)[:55] // without padding
	h := unfinished(eth, 0, 0)
	padded := append(bytes.Clone(eth), 1, 2, 3)
	var p packet.Packet
	if f := p.Parse(padded, h); f != packet.FaultNone || !p.Partial {
		t.Fatalf("fault %d, partial %t", f, p.Partial)
	}
	if p.CompleteChecksum(); !right(padded[:55]) || h[0] != 0 || p.Partial {
		t.Errorf("header %x, partial %t: % x", h, p.Partial, padded[34:])
	}

	super := tcp(t, 5000)
	h = unfinished(super, virtio.GSOTCPv4, 1460)
	before, asked := bytes.Clone(super), bytes.Clone(h)
	if f := p.Parse(super, h); f != packet.FaultNone {
		t.Fatal(f)
	}
	if p.CompleteChecksum(); !bytes.Equal(super, before) || !bytes.Equal(h, asked) || !p.Partial {
		t.Errorf("a super-frame has changed: header %x, partial %t", h, p.Partial)
	}
}

func TestOffloadThatContradictsTheFrame(t *testing.T) {
	for name, change := range map[string]func(h []byte){
		"start before the transport header": func(h []byte) { h[6] = 20 },
		"another field":                     func(h []byte) { h[8] = 4 },
		"field behind the end":              func(h []byte) { h[6], h[7] = 0xff, 0xff },
		"segments of nothing":               func(h []byte) { h[1] = virtio.GSOTCPv4; h[4], h[5] = 0, 0 },
		"segments of another protocol":      func(h []byte) { h[1] = virtio.GSOUDP; h[4] = 10 },
		"segments with a finished checksum": func(h []byte) { h[0], h[1], h[4] = 0, virtio.GSOTCPv4, 10 },
		"unknown segments":                  func(h []byte) { h[1] = 3; h[4] = 10 },
		"segments of next to nothing":       func(h []byte) { h[1] = virtio.GSOTCPv4; h[4] = 7 },
	} {
		eth := tcp(t, 100)
		h := unfinished(eth, 0, 0)
		change(h)
		var p packet.Packet
		if f := p.Parse(eth, h); f != packet.FaultOffload {
			t.Errorf("%s: fault %d", name, f)
		}
	}
}

func TestSegmentsOfUDPAreCounted(t *testing.T) {
	for n, want := range map[int]packet.Fault{128 * 10: packet.FaultNone, 128*10 + 1: packet.FaultOffload} {
		eth := udp(t, n)
		var p packet.Packet
		if f := p.Parse(eth, unfinished(eth, virtio.GSOUDP, 10)); f != want {
			t.Errorf("%d bytes in segments of 10: fault %d, want %d", n, f, want)
		}
	}
}

func TestSegment(t *testing.T) {
	for _, c := range []struct {
		kind    uint8
		n, size int
	}{{virtio.GSOTCPv4, 5000, 1460}, {virtio.GSOTCPv4, 1460, 1460}, {virtio.GSOUDP, 5000, 1200},
		{virtio.GSOUDP, 1, 1200}} {
		eth := tcp(t, c.n)
		if c.kind == virtio.GSOUDP {
			eth = udp(t, c.n)
		}
		h := unfinished(eth, c.kind, c.size)
		var p packet.Packet
		if f := p.Parse(eth, h); f != packet.FaultNone {
			t.Fatal(f)
		}
		if want := min(p.HeaderLen()+c.size, p.End-14); p.IPLen() != want {
			t.Errorf("IPLen %d, want %d", p.IPLen(), want)
		}
		var parts [][]byte
		p.Segment(func(n int) []byte {
			parts = append(parts, make([]byte, n))
			return parts[len(parts)-1]
		})
		checkSegments(t, &p, parts, c.size)
	}
}

func checkSegments(t *testing.T, p *packet.Packet, parts [][]byte, size int) {
	t.Helper()
	var data []byte
	for i, s := range parts {
		var q packet.Packet
		if f := q.Parse(s, nil); f != packet.FaultNone || !right(s) || q.ID != p.ID+uint16(i) || q.Tuple != p.Tuple ||
			q.DF != p.DF {
			t.Errorf("segment %d: fault %d, right %v, id %d", i, f, right(s), q.ID)
		}
		last := i == len(parts)-1
		if p.Proto == packet.ProtoTCP {
			if seq := binary.BigEndian.Uint32(s[38:]); seq != 7+uint32(i*size) {
				t.Errorf("segment %d: seq %d", i, seq)
			}
			if got := q.Flags & (packet.FIN | packet.PSH); (got != 0) != last {
				t.Errorf("segment %d: flags %x", i, q.Flags)
			}
			if (q.Flags&packet.CWR != 0) != (i == 0) {
				t.Errorf("segment %d: CWR", i)
			}
		}
		data = append(data, s[14+q.HeaderLen():]...)
	}
	if !bytes.Equal(data, p.Eth[14+p.HeaderLen():p.End]) {
		t.Errorf("%d bytes in %d segments are not those of the whole", len(data), len(parts))
	}
}

func TestFragment(t *testing.T) {
	options := []layers.IPv4Option{{OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}},
		{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	for _, c := range []struct {
		n, mtu  int
		options []layers.IPv4Option
	}{{3000, 1500, nil}, {3000, 68, nil}, {65000, 577, nil}, {1000, 1500, nil}, {3000, 1000, options}} {
		eth := build(t, &layers.IPv4{Protocol: layers.IPProtocolUDP, Id: 9, Options: c.options},
			&layers.UDP{SrcPort: 1, DstPort: 2}, payload(c.n))
		data := gather(t, eth, c.mtu)
		ihl := 4 * int(eth[14]&15)
		if !bytes.Equal(data, eth[14+ihl:]) {
			t.Errorf("%d bytes by %d: the pieces are not the whole", c.n, c.mtu)
		}
	}
}

// gather cuts a packet, then its pieces once more, and puts them together.
func gather(t *testing.T, eth []byte, mtu int) []byte {
	t.Helper()
	d := new(packet.Decoder)
	pieces := cut(t, d, eth, mtu)
	if mtu > 300 {
		var smaller [][]byte
		for _, p := range pieces {
			smaller = append(smaller, cut(t, d, p, mtu/2)...)
		}
		pieces = smaller
	}
	var data []byte
	for i, b := range pieces {
		var p packet.Packet
		if f := d.Decode(&p, b, nil); f != packet.FaultNone {
			t.Fatalf("piece %d: fault %d", i, f)
		}
		last := i == len(pieces)-1
		if int(p.FragOff) != len(data) || p.More == last || p.ID != 9 || p.End-14 > mtu {
			t.Errorf("piece %d of %d: offset %d, more %v, id %d, length %d", i, len(pieces), p.FragOff, p.More, p.ID,
				p.End-14)
		}
		if p.FragOff > 0 && p.Options && b[14+20] != 148 {
			t.Errorf("piece %d has option %d, which is for the first only", i, b[14+20])
		}
		data = append(data, b[p.L4:p.End]...)
	}
	return data
}

func cut(t *testing.T, d *packet.Decoder, eth []byte, mtu int) [][]byte {
	t.Helper()
	var p packet.Packet
	if f := d.Decode(&p, eth, nil); f != packet.FaultNone {
		t.Fatal(f)
	}
	var pieces [][]byte
	p.Fragment(mtu, func(n int) []byte {
		pieces = append(pieces, make([]byte, n))
		return pieces[len(pieces)-1]
	})
	return pieces
}

func TestClampMSS(t *testing.T) {
	for nops := range 4 {
		for _, c := range []struct {
			mss, clamp, want uint16
		}{{1460, 1360, 1360}, {1460, 1460, 1460}, {500, 1360, 500}} {
			var opts []layers.TCPOption
			for range nops {
				opts = append(opts, layers.TCPOption{OptionType: 1})
			}
			opts = append(opts, layers.TCPOption{OptionType: 2, OptionLength: 4,
				OptionData: []byte{byte(c.mss >> 8), byte(c.mss)}})
			eth := build(t, &layers.IPv4{Protocol: layers.IPProtocolTCP},
				&layers.TCP{SrcPort: 1, DstPort: 2, SYN: true, Options: opts})
			var p packet.Packet
			p.Parse(eth, nil)
			changed := p.ClampMSS(c.clamp)
			if got := binary.BigEndian.Uint16(eth[54+nops+2:]); got != c.want || changed != (c.want != c.mss) ||
				!right(eth) {
				t.Errorf("%d before the option, %+v: got %d, changed %v, right %v", nops, c, got, changed, right(eth))
			}
		}
	}
}

// Errors are translated so that their receiver recognizes the packet that it has sent,
// even if only eight bytes of its payload are quoted.
func TestTranslateError(t *testing.T) {
	d := new(packet.Decoder)
	for _, original := range [][]byte{udp(t, 40), tcp(t, 40), echo(t, 8, 40)} {
		for _, n := range []int{28, len(original) - 14} {
			// The quote is the packet as it was sent on, translated.
			sent := bytes.Clone(original)
			var p packet.Packet
			p.Parse(sent, nil)
			from, to := p.Tuple, packet.Tuple{Src: 0x0a0a0a02, Dst: p.Dst, SrcPort: 5555, DstPort: p.DstPort,
				Proto: p.Proto}
			r := packet.NewRewrite(from, to)
			p.Translate(&r)
			eth := icmpError(t, sent[14:14+n])
			var e packet.Packet
			if f := d.Decode(&e, eth, nil); f != packet.FaultNone || e.Quote.Tuple != to || !e.Quote.HasPort {
				t.Fatalf("fault %d, quote %+v", f, e.Quote)
			}
			e.TranslateError(7, from.Src, from)
			if !right(eth) || binary.BigEndian.Uint32(eth[26:]) != 7 ||
				packet.Addr(binary.BigEndian.Uint32(eth[30:])) != from.Src {
				t.Error("the error itself is wrong")
			}
			if got := eth[14+20+8:][:n]; !bytes.Equal(got, original[14:14+n]) {
				t.Errorf("protocol %d, %d bytes quoted:\n got %x\nwant %x", p.Proto, n, got, original[14:14+n])
			}
		}
	}
}

func TestQuotesThatAreOfNoUse(t *testing.T) {
	d := new(packet.Decoder)
	good := udp(t, 20)[14:]
	for name, quote := range map[string][]byte{
		"nothing":        nil,
		"half a header":  good[:10],
		"version 6":      append([]byte{0x65}, good[1:]...),
		"wrong checksum": append([]byte{good[0], 99}, good[2:]...),
	} {
		var p packet.Packet
		if f := d.Decode(&p, icmpError(t, quote), nil); f != packet.FaultQuote {
			t.Errorf("%s: fault %d", name, f)
		}
	}
}

func TestARP(t *testing.T) {
	want := packet.ARP{Request: true, SenderMAC: packet.MAC{1, 2, 3, 4, 5, 6}, TargetMAC: packet.MAC{6, 5},
		Sender: 0x0a000001, Target: 0x0a000002}
	b := packet.PutARP(make([]byte, packet.ARPLen), want.SenderMAC, packet.Broadcast, want)
	if got, ok := packet.DecodeARP(b); !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	// type, hardware, protocol, lengths, operation
	for at, v := range map[int]byte{13: 0, 15: 2, 16: 9, 18: 8, 19: 255, 21: 3} {
		bad := bytes.Clone(b)
		bad[at] = v
		if _, ok := packet.DecodeARP(bad); ok {
			t.Errorf("byte %d = %d is accepted", at, v)
		}
	}
	if _, ok := packet.DecodeARP(b[:41]); ok {
		t.Error("a short one is accepted")
	}
}

func TestNames(t *testing.T) {
	tuple := packet.Tuple{Src: 0x0a000001, Dst: 0x0a000002, SrcPort: 1, DstPort: 2, Proto: 6}
	if got := tuple.String() + ", " + tuple.Reverse().String(); got != "tcp 10.0.0.1:1 > 10.0.0.2:2, "+
		"tcp 10.0.0.2:2 > 10.0.0.1:1" {
		t.Error(got)
	}
	if got := packet.ProtoName(17) + packet.ProtoName(1) + packet.ProtoName(47) +
		packet.ProtoName(132); got != "udpicmpproto-47proto-132" {
		t.Error(got)
	}
	if got := (packet.MAC{0xfa, 0x16, 0x3e, 0, 1, 0xff}).String(); got != "fa:16:3e:00:01:ff" {
		t.Error(got)
	}
}

func TestNothingAllocates(t *testing.T) {
	eth := udp(t, 18)
	var p packet.Packet
	to := packet.Tuple{Src: 1, Dst: 2, SrcPort: 3, DstPort: 4, Proto: packet.ProtoUDP}
	if n := testing.AllocsPerRun(100, func() {
		p.Parse(eth, nil)
		r := packet.NewRewrite(p.Tuple, to)
		p.Translate(&r)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParse(b *testing.B) {
	eth := tcp(b, 1400)
	var p packet.Packet
	b.ReportAllocs()
	for b.Loop() {
		p.Parse(eth, nil)
	}
}

func BenchmarkDecode(b *testing.B) {
	eth := tcp(b, 1400)
	var p packet.Packet
	d := new(packet.Decoder)
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(&p, eth, nil)
	}
}

func BenchmarkTranslate(b *testing.B) {
	eth := tcp(b, 1400)
	var p packet.Packet
	p.Parse(eth, nil)
	r := packet.NewRewrite(p.Tuple, packet.Tuple{Src: 1, Dst: 2, SrcPort: 3, DstPort: 4, Proto: p.Proto})
	b.ReportAllocs()
	for b.Loop() {
		p.Translate(&r)
	}
}

// With a new identification the header's checksum is right, also where the old one is at an end of its range.
func TestSetID(t *testing.T) {
	for _, frag := range []uint16{0, 0x2000, 0x4000} {
		ip := make([]byte, 28)
		ip[0], ip[3], ip[8], ip[9] = 0x45, 28, 64, packet.ProtoUDP
		binary.BigEndian.PutUint16(ip[6:], frag)
		for old := 0; old < 0x10000; old += 0x33 {
			for _, id := range []uint16{0, 1, 0x7fff, 0x8000, 0xffff, uint16(old)} {
				binary.BigEndian.PutUint16(ip[4:], uint16(old))
				packet.SetIPv4Checksum(ip)
				p := packet.Packet{Eth: append(make([]byte, 14), ip...), ID: uint16(old)}
				p.SetID(id)
				if got := p.Eth[14:]; packet.Sum(got[:20]) != 0xffff || binary.BigEndian.Uint16(got[4:]) != id ||
					p.ID != id {
					t.Fatalf("from %d to %d: %x", old, id, got)
				}
			}
		}
	}
}

// A packet is atomic if it is no fragment and must not become one (RFC 6864, 4).
func TestAtomic(t *testing.T) {
	for _, c := range []struct {
		p    packet.Packet
		want bool
	}{
		{packet.Packet{DF: true}, true},
		{packet.Packet{}, false},
		{packet.Packet{DF: true, More: true}, false},
		{packet.Packet{DF: true, FragOff: 8}, false},
	} {
		if c.p.Atomic() != c.want {
			t.Errorf("%+v: %v", c.p, !c.want)
		}
	}
}
