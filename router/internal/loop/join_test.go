package loop

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A queue is a device that has frames to read, as a kernel's device has, and notes what is written.
type queue struct {
	tap.Device
	frames  [][]byte // nil: the one that is offloaded
	err     error    // of the read behind the last frame
	takes   tap.Features
	written [][]byte

	offloaded offloaded
}

// An offloaded frame has a header that says so.
type offloaded struct {
	eth []byte
	h   virtio.Header
}

func (q *queue) Name() string           { return "queue" }
func (q *queue) FD() int                { return 3 }
func (q *queue) Features() tap.Features { return q.takes }

func (q *queue) Read(frames []tap.Frame) (int, error) {
	for n := range frames {
		if len(q.frames) == 0 {
			return n, q.err
		}
		f := &frames[n]
		f.Head = tap.Headroom
		eth, h := q.frames[0], virtio.Header{}
		if eth == nil {
			eth, h = q.offloaded.eth, q.offloaded.h
		}
		h.Put(f.Buf[f.Head:])
		f.Tail = f.Head + tap.HeaderLen + copy(f.Buf[f.Head+tap.HeaderLen:], eth)
		q.frames = q.frames[1:]
	}
	return len(frames), nil
}

func (q *queue) Write(frames []tap.Frame) (int, error) {
	for i := range frames {
		q.written = append(q.written, slices.Clone(frames[i].Ethernet()))
	}
	return len(frames), nil
}

// segments are n TCP segments of a connection, one after the other.
func segments(n, size int) [][]byte {
	var list [][]byte
	for i := range n {
		eth := make([]byte, packet.EthernetLen+packet.IPv4Len+packet.TCPLen+size)
		copy(eth, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
		ip := eth[packet.EthernetLen:]
		copy(ip, []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, packet.ProtoTCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2})
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		binary.BigEndian.PutUint16(ip[4:], uint16(i))
		packet.SetIPv4Checksum(ip)
		tcp := ip[packet.IPv4Len:]
		copy(tcp, []byte{4, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0x50, packet.ACK, 1, 0})
		binary.BigEndian.PutUint32(tcp[4:], uint32(1+i*size))
		tcp[packet.TCPLen] = byte(i)
		packet.SetTransportChecksum(ip)
		list = append(list, eth)
	}
	return list
}

// A forwarder sends what a link receives out by another one.
type forwarder struct {
	out     *Outbox
	batches [][]int // lengths of the frames
}

func (*forwarder) Networks() []string   { return nil }
func (*forwarder) LinkChanged(*Turn)    {}
func (*forwarder) LinkUp(*Turn)         {}
func (*forwarder) LinkLost(*Turn, bool) {}
func (f *forwarder) Receive(t *Turn, frames []tap.Frame) {
	var lengths []int
	for i := range frames {
		lengths = append(lengths, len(frames[i].Ethernet()))
		f.out.SendOrLose(t, &frames[i], nil, 0)
	}
	f.batches = append(f.batches, lengths)
}

// joining is a worker with a link that reads a queue, and what is behind it.
func joining(t *testing.T, in, out *queue) (*Link, *forwarder, *Worker) {
	t.Helper()
	w, err := NewWorker(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Waiter.Close)
	fw := &forwarder{out: &Outbox{Dev: out, Takes: out.takes}}
	fw.out.Link = &Link{}
	l := &Link{Owner: fw, home: w, Joins: true}
	l.Dev = in
	return l, fw, w
}

const super = tap.FeatureChecksum | tap.FeatureTSO4

// Segments become super-frames, as long as a batch may be: the link reads on where slots have become free. The counters
// say what the device had.
func TestLinkJoinsSegments(t *testing.T) {
	in, out := &queue{frames: segments(100, 1000)}, &queue{takes: super}
	l, fw, w := joining(t, in, out)
	if !l.Read(&w.Turn) || len(in.frames) > 0 {
		t.Fatalf("%d frames were not read", len(in.frames))
	}
	if len(fw.batches) != 2 || fw.batches[0][0] < 60_000 || len(out.written) > 4 {
		t.Errorf("batches of %v bytes, %d frames were written", fw.batches, len(out.written))
	}
	if l.Stats.RxFrames != 100 || l.Stats.RxBytes != 100*1054 {
		t.Errorf("%d frames of %d bytes are counted", l.Stats.RxFrames, l.Stats.RxBytes)
	}
}

// A link of a network that says so, and a device in memory, leave segments as they are.
func TestLinkLeavesSegments(t *testing.T) {
	for name, change := range map[string]func(l *Link){
		"off": func(l *Link) { l.Joins = false }, "in memory": func(l *Link) { l.inMemory = true },
	} {
		in, out := &queue{frames: segments(40, 1000)}, &queue{takes: super}
		l, _, w := joining(t, in, out)
		change(l)
		l.Read(&w.Turn)
		if len(out.written) != 40 || l.Stats.RxFrames != 40 {
			t.Errorf("%s: %d frames were written", name, len(out.written))
		}
	}
}

// What cannot take super-frames gets segments. Their connection is not joined any more, so that nothing is put together
// only to be cut again.
func TestLinkJoinsNothingInVain(t *testing.T) {
	in, out := &queue{frames: segments(10, 1000)}, &queue{}
	want := segments(10, 1000)
	l, fw, w := joining(t, in, out)
	l.Read(&w.Turn)
	in.frames = segments(10, 1000)
	l.Read(&w.Turn)
	if len(fw.batches) != 2 || len(fw.batches[0]) != 1 || len(fw.batches[1]) != 10 {
		t.Errorf("batches of %v", fw.batches)
	}
	if !slices.EqualFunc(out.written, append(want, want...), slices.Equal) {
		t.Errorf("%d frames were written, not the %d that came in", len(out.written), 2*len(want))
	}
}

// An error of a later read of a batch is no reason to lose the frames of the earlier ones.
func TestLinkJoinsUpToAnError(t *testing.T) {
	in, out := &queue{frames: segments(20, 1000), err: errors.New("broken")}, &queue{takes: super}
	l, _, w := joining(t, in, out)
	b := l.fill(w)
	if b.read != 20 || b.kept != 1 || b.err != in.err || b.dry != true {
		t.Errorf("%+v", b)
	}
}

// A super-frame of a tunnelled connection becomes the frames it stands for, in its place in the order.
func TestLinkCutsTunnels(t *testing.T) {
	const size, n = 1000, 30
	inner := segments(1, size*n)[0][packet.EthernetLen:]
	b := segments(1, len(inner)-packet.TCPLen)[0]
	ip := b[packet.EthernetLen:]
	ip[9] = 4 // IP in IP
	packet.SetIPv4Checksum(ip)
	copy(ip[packet.IPv4Len:], inner)
	at := packet.EthernetLen + 2*packet.IPv4Len
	tunnelled := offloaded{b, virtio.Header{Flags: virtio.NeedsChecksum, GSOType: virtio.GSOTCPv4, GSOSize: size,
		CsumStart: uint16(at), CsumOffset: 16}}
	first, last := make([]byte, 60), make([]byte, 61)
	in, out := &queue{frames: [][]byte{first, nil, last}, offloaded: tunnelled}, &queue{takes: super}
	l, fw, w := joining(t, in, out)
	l.Read(&w.Turn)
	if len(out.written) != n+2 || len(out.written[0]) != 60 || len(out.written[n+1]) != 61 {
		t.Fatalf("batches of %v are written", fw.batches)
	}
	for i, b := range out.written[1 : n+1] {
		if len(b) != at+packet.TCPLen+size || binary.BigEndian.Uint32(b[at+4:]) != uint32(1+i*size) {
			t.Errorf("frame %d has %d bytes and the sequence number %d", i, len(b), binary.BigEndian.Uint32(b[at+4:]))
		}
	}
	if l.Stats.RxFrames != 3 {
		t.Errorf("%d frames are counted, of 3 that the device had", l.Stats.RxFrames)
	}
}
