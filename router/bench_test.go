package router

import (
	"encoding/binary"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// A nullDevice takes every frame and keeps none.
type nullDevice struct {
	simDevice
	taken int
}

func (d *nullDevice) Write(frames []tap.Frame) (int, error) {
	d.taken += len(frames)
	return len(frames), nil
}

// established is a lesson with one UDP connection and a frame of it, as it
// arrives: from a host behind SNAT.
func established(t testing.TB) (w *worker, in *port, frame []byte, out *nullDevice) {
	t.Helper()
	l := newLesson(t)
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "x")
	l.udp(l.client, 53, "10.10.10.2", 4000, "x")
	l.udp(l.vm4, 4000, "8.8.8.8", 53, "x") // so that the next hop is known
	out = &nullDevice{}
	for _, p := range l.w.ports {
		if p.network.name == "ext_net" {
			p.dev = out
		}
		if p.network.name == "vlan101" {
			in = p
		}
	}
	frame = append(make([]byte, tap.HeaderLen), l.build(l.vm4, "10.10.10.4", 17, nil, udpLayer(), payload(18))...)
	return l.w, in, frame, out
}

// BenchmarkForward is one small packet of an established connection through
// everything but a device: switch, stages, translation, output batch.
func BenchmarkForward(b *testing.B) {
	w, in, frame, out := established(b)
	f := &w.frames[0]
	f.Head = tap.Headroom
	f.Tail = f.Head + len(frame)
	b.ReportAllocs()
	for b.Loop() {
		copy(f.Buf[f.Head:], frame)
		w.receive(in, f)
		w.flush()
	}
	if out.taken == 0 {
		b.Fatal("nothing was forwarded")
	}
}

// A packet of an established connection allocates nothing.
func TestForwardDoesNotAllocate(t *testing.T) {
	w, in, frame, out := established(t)
	f := &w.frames[0]
	f.Head = tap.Headroom
	f.Tail = f.Head + len(frame)
	n := testing.AllocsPerRun(1000, func() {
		copy(f.Buf[f.Head:], frame)
		w.receive(in, f)
		w.flush()
	})
	if n != 0 || out.taken < 1000 {
		t.Errorf("%v allocations a packet, %d packets", n, out.taken)
	}
}

// BenchmarkNewConnection is the first packet of a UDP connection through SNAT, of
// many hosts to many destinations, as a table of a million fills up.
func BenchmarkNewConnection(b *testing.B) {
	w, in, frame, _ := established(b)
	f := &w.frames[0]
	f.Head = tap.Headroom
	f.Tail = f.Head + len(frame)
	ip := frame[tap.HeaderLen+packet.EthernetLen:]
	base := binary.BigEndian.Uint32(ip[12:]) &^ 255
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		if i%(1<<20) == 0 {
			b.StopTimer()
			w, in, _, _ = established(b)
			f = &w.frames[0]
			f.Head = tap.Headroom
			f.Tail = f.Head + len(frame)
			b.StartTimer()
		}
		src, port, dst := i%200, i/200%4000, i/200/4000
		binary.BigEndian.PutUint32(ip[12:], base+20+src)
		binary.BigEndian.PutUint16(ip[20:], uint16(1024+port))
		binary.BigEndian.PutUint32(ip[16:], 0x08080800+dst)
		binary.BigEndian.PutUint16(ip[26:], 0) // no checksum
		packet.SetIPv4Checksum(ip)
		i++
		copy(f.Buf[f.Head:], frame)
		w.receive(in, f)
		w.flush()
	}
}
