package router

import (
	"testing"

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
