package gro_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/taprouter/taprouter/internal/gro"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A segment is what a test makes a frame of.
type segment struct {
	from, to     byte // last bytes of the addresses
	sport, dport uint16
	udp          bool
	id           uint16
	seq, ack     uint32
	flags        uint8
	window       uint16
	options      []byte
	tos, ttl     byte
	frag         uint16
	payload      []byte
	vlan         uint16 // 0: none
}

// frame is the segment with right checksums.
func (s *segment) frame() []byte {
	l4 := binary.BigEndian.AppendUint16(nil, s.sport)
	l4 = binary.BigEndian.AppendUint16(l4, s.dport)
	proto := byte(packet.ProtoTCP)
	if s.udp {
		proto = packet.ProtoUDP
		l4 = binary.BigEndian.AppendUint16(l4, uint16(packet.UDPLen+len(s.payload)))
		l4 = append(l4, 0, 0)
	} else {
		l4 = binary.BigEndian.AppendUint32(l4, s.seq)
		l4 = binary.BigEndian.AppendUint32(l4, s.ack)
		l4 = append(l4, byte(5+len(s.options)/4)<<4, s.flags)
		l4 = binary.BigEndian.AppendUint16(l4, s.window)
		l4 = append(append(l4, 0, 0, 0, 0), s.options...)
	}
	l4 = append(l4, s.payload...)
	ip := []byte{0x45, s.tos, 0, 0, 0, 0, 0, 0, s.ttl, proto, 0, 0, 10, 0, 0, s.from, 10, 0, 1, s.to}
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(l4)))
	binary.BigEndian.PutUint16(ip[4:], s.id)
	binary.BigEndian.PutUint16(ip[6:], s.frag)
	ip = append(ip, l4...)
	packet.SetIPv4Checksum(ip)
	packet.SetTransportChecksum(ip)
	eth := []byte{2, 0, 0, 0, 0, s.to, 2, 0, 0, 0, 0, s.from}
	if s.vlan != 0 {
		eth = binary.BigEndian.AppendUint16(eth, packet.EtherTypeVLAN)
		eth = binary.BigEndian.AppendUint16(eth, s.vlan)
	}
	return append(binary.BigEndian.AppendUint16(eth, packet.EtherTypeIPv4), ip...)
}

// put has a frame in a slot, as a device reads it.
func put(f *tap.Frame, header, eth []byte) {
	f.Head = tap.Headroom
	f.Tail = f.Head + tap.HeaderLen + copy(f.Buf[f.Head+tap.HeaderLen:], eth)
	clear(f.Header())
	copy(f.Header(), header)
}

// partial leaves the checksum of a frame open, as virtio-net does.
func partial(eth []byte) (header []byte) {
	l3 := 14
	if binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeVLAN {
		l3 += 4
	}
	h := virtio.Header{Flags: virtio.NeedsChecksum, CsumStart: uint16(l3 + 20), CsumOffset: 16}
	if eth[l3+9] == packet.ProtoUDP {
		h.CsumOffset = 6
	}
	sum := uint32(eth[l3+9]) + uint32(len(eth)-l3-20)
	for i := l3 + 12; i < l3+20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(eth[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(eth[h.ChecksumField():], uint16(sum))
	header = make([]byte, tap.HeaderLen)
	h.Put(header)
	return header
}

// wire is what a receiver sees of a frame: super-frames are cut, checksums finished.
func wire(t testing.TB, f *tap.Frame) [][]byte {
	t.Helper()
	eth, tag := bytes.Clone(f.Ethernet()), []byte(nil)
	header := bytes.Clone(f.Header())
	var h virtio.Header
	h.Parse(header)
	if h.GSOType == virtio.GSONone {
		h.Complete(eth)
		return [][]byte{eth}
	}
	if binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeVLAN {
		tag = bytes.Clone(eth[12:16])
		eth = slices.Delete(eth, 12, 16)
		h.CsumStart -= 4
		h.HdrLen -= 4
		h.Put(header)
	}
	var p packet.Packet
	if fault := p.Parse(eth, header); fault != packet.FaultNone {
		t.Fatalf("a super-frame that cannot be parsed: %v\n% x\n% x", fault, header, eth[:60])
	}
	if int(h.HdrLen) != packet.EthernetLen+p.HeaderLen() {
		t.Fatalf("headers of %d bytes, said to be %d", packet.EthernetLen+p.HeaderLen(), h.HdrLen)
	}
	var list [][]byte
	p.Segment(func(n int) []byte {
		list = append(list, make([]byte, n))
		return list[len(list)-1]
	})
	if tag != nil {
		for i := range list {
			list[i] = slices.Insert(list[i], 12, tag...)
		}
	}
	return list
}

// A batch is what a device has for one turn: frames with their virtio-net headers.
type batch struct{ headers, frames [][]byte }

func (b *batch) add(header, eth []byte) {
	b.headers, b.frames = append(b.headers, header), append(b.frames, eth)
}

const places = 16

// merged is the batch after a Merger: the kept frames. reads are how many frames each read brings at most.
func (b *batch) merged(m *gro.Merger, read int) []tap.Frame {
	frames := make([]tap.Frame, places)
	for i := range frames {
		frames[i].Buf = make([]byte, tap.SlotLen)
	}
	m.Begin()
	kept := 0
	for i := 0; i < len(b.frames) && kept < places; {
		n := min(read, places-kept, len(b.frames)-i)
		for k := range n {
			put(&frames[kept+k], b.headers[i+k], b.frames[i+k])
		}
		kept = m.Join(frames, kept, n)
		i += n
	}
	m.End(frames[:kept])
	return frames[:kept]
}

// A train of segments of one connection.
func train(n, size int) []segment {
	list := make([]segment, n)
	for i := range list {
		list[i] = segment{
			from: 1, to: 2, sport: 1000, dport: 80, id: uint16(65530 + i), seq: uint32(1<<32 - 3000 + i*size), ack: 7,
			flags: packet.ACK, window: 500, ttl: 64, frag: 0x4000, options: []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2},
			payload: bytes.Repeat([]byte{byte(i + 1)}, size),
		}
	}
	return list
}

// A train becomes one super-frame, and each deviation ends it at its place: what is kept are so many frames.
func TestWhatIsJoined(t *testing.T) {
	all := func(fn func(s *segment)) func([]segment) {
		return func(list []segment) {
			for i := range list {
				fn(&list[i])
			}
		}
	}
	udp := all(func(s *segment) { s.udp = true })
	for _, c := range []struct {
		name   string
		change func(list []segment)
		want   int // of 6 segments of 100 bytes; the change is at the third
	}{
		{"nothing", func([]segment) {}, 1},
		{"a gap", func(l []segment) { l[2].seq++ }, 3},
		{"sent again", func(l []segment) { l[2].seq = l[1].seq }, 3},
		{"the identifier", func(l []segment) { l[2].id++ }, 3},
		{"identifiers that stay", all(func(s *segment) { s.id = 5 }), 6},
		{"another acknowledgement", func(l []segment) { l[2].ack++ }, 3},
		{"another window", func(l []segment) { l[2].window++ }, 3},
		{"another timestamp", func(l []segment) { l[2].options[7]++ }, 3},
		{"no options", func(l []segment) { l[2].options = nil }, 3},
		{"another TTL", func(l []segment) { l[2].ttl-- }, 3},
		{"congestion experienced", func(l []segment) { l[2].tos = 3 }, 3},
		{"congestion experienced by all", all(func(s *segment) { s.tos = 3 }), 1},
		{"may be fragmented", func(l []segment) { l[2].frag = 0 }, 3},
		{"all may be fragmented", all(func(s *segment) { s.frag = 0 }), 1},
		{"PSH", func(l []segment) { l[2].flags |= packet.PSH }, 2},
		{"PSH of all", all(func(s *segment) { s.flags |= packet.PSH }), 6},
		{"FIN at the end", func(l []segment) { l[5].flags |= packet.FIN | packet.PSH }, 1},
		{"ECN echo", func(l []segment) { l[2].flags |= packet.ECE }, 3},
		{"ECN echo of all", all(func(s *segment) { s.flags |= packet.ECE }), 1},
		{"congestion window reduced", func(l []segment) { l[2].flags |= packet.CWR }, 3},
		{"RST", func(l []segment) { l[2].flags |= packet.RST }, 3},
		{"SYN", func(l []segment) { l[2].flags |= packet.SYN }, 3},
		{"urgent", func(l []segment) { l[2].flags |= packet.URG }, 3},
		{"no ACK", func(l []segment) { l[2].flags = 0 }, 3},
		{"shorter", func(l []segment) { l[2].payload = l[2].payload[:99] }, 2}, // it is the last of its super-frame
		{"shorter at the end", func(l []segment) { l[5].payload = l[5].payload[:1] }, 1},
		{"longer at the end", func(l []segment) { l[5].payload = append(l[5].payload, 0) }, 2},
		{"empty at the end", func(l []segment) { l[5].payload = nil }, 2},
		{"a fragment", func(l []segment) { l[2].frag |= 0x2000 }, 3},
		{"a fragment in between", func(l []segment) { // of any connection: nothing may overtake it
			l[2].frag |= 0x2000
			for i := range l[3:] {
				l[3+i].id--
				l[3+i].seq -= 100
			}
		}, 3},
		{"another connection in between", func(l []segment) { l[2].sport++ }, 3},
		{"two by two", func(l []segment) {
			for i := range l {
				l[i].sport += uint16(i % 2)
				l[i].id, l[i].seq = uint16(i/2), uint32(i/2*100)
			}
		}, 2},
		{"another VLAN", func(l []segment) { l[2].vlan = 5 }, 3},
		{"all on a VLAN", all(func(s *segment) { s.vlan = 0x6005 }), 1},
		{"UDP", udp, 1},
		{"UDP, shorter", func(l []segment) { udp(l); l[2].payload = l[2].payload[:99] }, 2},
		{"UDP, longer", func(l []segment) { udp(l); l[2].payload = append(l[2].payload, 0) }, 3},
		{"UDP, the identifier", func(l []segment) { udp(l); l[2].id++ }, 3},
		{"UDP, empty", func(l []segment) { udp(l); l[2].payload = nil }, 3},
		{"UDP, tiny", func(l []segment) {
			udp(l)
			for i := range l {
				l[i].payload = l[i].payload[:7]
			}
		}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := train(6, 100)
			c.change(list)
			var b batch
			for i := range list {
				b.add(nil, list[i].frame())
			}
			kept := b.merged(gro.New(places), places)
			if len(kept) != c.want {
				t.Errorf("%d frames are kept, want %d", len(kept), c.want)
			}
			compare(t, &b, kept)
		})
	}
}

// Checksums that are wrong, or in doubt, end a train, and come out as they came in.
func TestChecksums(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(eth []byte) (header []byte)
		want   int
	}{
		{"a wrong one", func(eth []byte) []byte { eth[60] ^= 1; return nil }, 3},
		{"a wrong one of IPv4", func(eth []byte) []byte { eth[24] ^= 1; return nil }, 3},
		{"open", partial, 1},
		{"open, of something else", func(eth []byte) []byte { h := partial(eth); h[6]++; return h }, 3},
		{"open, of another field", func(eth []byte) []byte { h := partial(eth); h[8] = 6; return h }, 3},
		{"open and wrong", func(eth []byte) []byte { h := partial(eth); eth[50] ^= 1; return h }, 3},
		{"vouched for", func(eth []byte) []byte { return []byte{virtio.DataValid} }, 1},
		{"vouched for, and zero", func(eth []byte) []byte {
			eth[50], eth[51] = 0, 0
			return []byte{virtio.DataValid}
		}, 3},
		{"vouched for, and the other zero", func(eth []byte) []byte {
			eth[50], eth[51] = 0xff, 0xff
			return []byte{virtio.DataValid}
		}, 3},
		{"a trailer", func(eth []byte) []byte { eth[17]--; packet.SetIPv4Checksum(eth[14:]); return nil }, 3},
		{"a super-frame already", func(eth []byte) []byte {
			h := partial(eth)
			h[1], h[2], h[4] = virtio.GSOTCPv4, 66, 50
			return h
		}, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := train(6, 100)
			var b batch
			for i := range list {
				eth := list[i].frame()
				var header []byte
				if i == 2 {
					header = c.change(eth)
				}
				b.add(header, eth)
			}
			if got := len(b.merged(gro.New(places), places)); got != c.want {
				t.Errorf("%d frames are kept, want %d", got, c.want)
			}
		})
	}
}

// compare checks that a receiver sees the frames of a batch as they came in, in the order of each connection.
func compare(t testing.TB, b *batch, kept []tap.Frame) {
	t.Helper()
	in, out := map[string][][]byte{}, map[string][][]byte{}
	slot := tap.Frame{Buf: make([]byte, tap.SlotLen)}
	for i := range b.frames {
		put(&slot, b.headers[i], b.frames[i])
		for _, eth := range wire(t, &slot) {
			in[connection(eth)] = append(in[connection(eth)], eth)
		}
	}
	for i := range kept {
		for _, eth := range wire(t, &kept[i]) {
			out[connection(eth)] = append(out[connection(eth)], eth)
		}
	}
	if len(in) != len(out) {
		t.Fatalf("%d connections came in, %d go out", len(in), len(out))
	}
	for c, want := range in {
		if got := out[c]; !slices.EqualFunc(got, want, bytes.Equal) {
			for i := range min(len(got), len(want)) {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("frame %d of %d of a connection\n goes out % x\n came in  % x", i, len(want), got[i],
						want[i])
				}
			}
			t.Fatalf("%d frames of a connection go out, %d came in", len(got), len(want))
		}
	}
}

// connection tells connections apart as well as a frame lets it.
func connection(eth []byte) string {
	l3 := 14
	if binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeVLAN {
		l3 = 18
	}
	if len(eth) < l3+24 || eth[l3]>>4 != 4 {
		return "other"
	}
	return fmt.Sprintf("%x %x %x", eth[l3+9], eth[l3+12:l3+20], eth[l3+20:l3+24])
}

// random is a batch of a few connections, most of it in trains, with every kind of deviation.
func random(rng *rand.Rand) *batch {
	b := &batch{}
	flows := make([]segment, 1+rng.IntN(4))
	for i := range flows {
		s := &flows[i]
		*s = train(1, 1)[0]
		s.sport += uint16(i)
		s.udp = rng.IntN(3) == 0
		s.frag = uint16(rng.IntN(2)) << 14
		s.vlan = uint16(rng.IntN(2)) * 100
		s.seq, s.id = rng.Uint32(), uint16(rng.Uint32())
		s.payload = make([]byte, 8+rng.IntN(1440))
	}
	k := 0
	for range 1 + rng.IntN(80) {
		if rng.IntN(3) == 0 {
			k = rng.IntN(len(flows))
		}
		s := flows[k]
		s.options = bytes.Clone(s.options)
		s.payload = bytes.Clone(s.payload)
		for i := range s.payload {
			s.payload[i] = byte(rng.Uint32())
		}
		switch rng.IntN(30) {
		case 0:
			s.payload = s.payload[:rng.IntN(len(s.payload))]
		case 1:
			s.payload = append(s.payload, 1)
		case 2:
			s.flags |= uint8(rng.Uint32())
		case 3:
			s.options = s.options[:4*rng.IntN(3)]
		case 4:
			s.seq += uint32(rng.IntN(3)) - 1
		case 5:
			s.id += uint16(rng.IntN(3)) - 1
		case 6:
			s.ack++
		case 7:
			s.window++
		case 8:
			s.tos++
		case 9:
			s.frag ^= 1 << (13 + rng.IntN(3))
		}
		eth, header := s.frame(), []byte(nil)
		switch rng.IntN(12) {
		case 0:
			header = partial(eth)
		case 1:
			header = []byte{virtio.DataValid}
		case 2:
			eth[rng.IntN(len(eth))] ^= 1 << rng.IntN(8)
		case 3:
			eth = append(eth, 0)
		}
		b.add(header, eth)
		flows[k].seq = s.seq + uint32(len(s.payload))
		flows[k].id = s.id + 1
	}
	return b
}

// Whatever comes in, a receiver sees the same.
func TestReceiversSeeTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := gro.New(places)
	frames, kept := 0, 0
	for range 3000 {
		b := random(rng)
		b.frames, b.headers = b.frames[:min(len(b.frames), places)], b.headers[:min(len(b.frames), places)]
		out := b.merged(m, 1+rng.IntN(places))
		compare(t, b, out)
		frames, kept = frames+len(b.frames), kept+len(out)
	}
	if t.Logf("%d frames became %d", frames, kept); kept*4 > frames*3 {
		t.Errorf("only %d of %d frames were joined", frames-kept, frames)
	}
}

// A caller that reads on into the buffers that have become free gets super-frames of up to 64 KB, which hold 16 bits of
// length, and no more than their buffers.
func TestLongTrain(t *testing.T) {
	for _, size := range []int{536, 1448, 9000} {
		list := train(65535/size+20, size)
		b := &batch{}
		for i := range list {
			b.add(nil, list[i].frame())
		}
		kept := b.merged(gro.New(places), 4)
		most := (65535 - 52) / size // segments
		if want := (len(list) + most - 1) / most; len(kept) != want {
			t.Errorf("segments of %d bytes: %d frames, want %d", size, len(kept), want)
		}
		compare(t, b, kept)
	}
	udp := train(100, 500)
	b := &batch{}
	for i := range udp {
		udp[i].udp = true
		b.add(nil, udp[i].frame())
	}
	kept := b.merged(gro.New(places), places)
	if len(kept) != 2 || len(wire(t, &kept[0])) != 64 {
		t.Errorf("%d frames", len(kept))
	}
	compare(t, b, kept)
}

// When a super-frame had to be cut in software, its connection is left alone for some time. Others are not.
func TestCut(t *testing.T) {
	m := gro.New(places)
	round := func() int {
		list := train(8, 100)
		b := &batch{}
		for i := range list {
			list[i].sport += uint16(i / 4)
			b.add(nil, list[i].frame())
		}
		kept := b.merged(m, places)
		compare(t, b, kept)
		if len(kept) == 2 {
			m.Cut(&tap.Frame{}) // of somebody else
			m.Cut(&kept[1])
		}
		return len(kept)
	}
	if first, second := round(), round(); first != 2 || second != 5 {
		t.Errorf("%d frames are kept, and %d when one was cut; want 2 and 5", first, second)
	}
	rounds := 0
	for ; round() == 5; rounds++ {
	}
	if rounds < 1000 || rounds > 5000 {
		t.Errorf("a connection is left alone for %d batches", rounds)
	}
}

func TestMergerAllocatesNothing(t *testing.T) {
	list, m := train(places, 1400), gro.New(places)
	eths := make([][]byte, places)
	frames := make([]tap.Frame, places)
	for i := range list {
		eths[i] = list[i].frame()
		frames[i].Buf = make([]byte, tap.SlotLen)
	}
	if n := testing.AllocsPerRun(100, func() {
		for i := range eths {
			put(&frames[i], nil, eths[i])
		}
		m.Begin()
		m.End(frames[:m.Join(frames, 0, places)])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMerger has what anybody sends among the segments of a train.
func FuzzMerger(f *testing.F) {
	good := train(2, 100)
	f.Add(good[1].frame(), []byte{}, uint64(1))
	f.Add(partialFrame(&good[1]), partial(good[1].frame()), uint64(2))
	f.Fuzz(func(t *testing.T, eth, header []byte, seed uint64) {
		if len(eth) < packet.EthernetLen || len(eth) > 2000 || len(header) > tap.HeaderLen ||
			len(header) > 1 && header[1] != 0 {
			return
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		list := train(6, 100)
		b := &batch{}
		for i := range list {
			b.add(nil, list[i].frame())
			if rng.IntN(2) == 0 {
				b.add(header, bytes.Clone(eth))
			}
		}
		compare(t, b, b.merged(gro.New(places), places))
	})
}

func partialFrame(s *segment) []byte {
	eth := s.frame()
	partial(eth)
	return eth
}

func BenchmarkMerger(b *testing.B) {
	for _, bench := range []struct {
		name string
		list []segment
	}{{"train of 1448 bytes", train(places, 1448)}, {"hosts of their own", train(places, 18)}} {
		b.Run(bench.name, func(b *testing.B) {
			m := gro.New(places)
			eths := make([][]byte, places)
			frames := make([]tap.Frame, places)
			for i := range bench.list {
				if len(bench.list[i].payload) < 100 {
					bench.list[i].from = byte(i)
				}
				eths[i] = bench.list[i].frame()
				frames[i].Buf = make([]byte, tap.SlotLen)
			}
			for b.Loop() {
				for i := range eths {
					put(&frames[i], nil, eths[i][:min(len(eths[i]), 66)]) // the rest is there
					frames[i].Tail = frames[i].Head + tap.HeaderLen + len(eths[i])
				}
				m.Begin()
				m.End(frames[:m.Join(frames, 0, places)])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/places, "ns/frame")
		})
	}
}
