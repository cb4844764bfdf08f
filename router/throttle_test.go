package router

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/tap"
)

// A link that spends its turns on beginning connections pauses while another link is
// busy, and is read again in time. It does not pause for known connections, nor if all other
// links are idle. The link of the network outside never pauses.
func TestLinkPauses(t *testing.T) {
	const known, strangers = false, true
	for _, c := range []struct {
		name   string
		net    string // that floods
		begin  bool   // each frame a connection
		other  int    // frames from another tenant
		pauses bool
	}{
		{"new connections, another busy", "vlan100", strangers, loop.BusyFrames, true},
		{"new connections, another idle", "vlan100", strangers, loop.BusyFrames - 1, false},
		{"new connections, no other", "vlan100", strangers, 0, false},
		{"one connection, another busy", "vlan100", known, loop.BusyFrames, false},
		{"from outside", "ext_net", strangers, loop.BusyFrames, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLesson(t)
			put := func(net string, from *simHost, dst string, n int, begin bool) {
				for i := range n {
					ports := udpLayer()
					if begin {
						ports = &layers.UDP{SrcPort: layers.UDPPort(1024 + i), DstPort: 9000}
					}
					frame := append(make([]byte, tap.HeaderLen), l.build(from, dst, 17, nil, ports, payload(18))...)
					l.devs[net].in = append(l.devs[net].in, tap.Frame{Buf: bytes.Clone(frame), Tail: len(frame)})
				}
			}
			pending := func() {
				for _, p := range l.w.Links {
					p.Pending.Store(true)
				}
			}
			turn := func() {
				pending()
				l.w.RunTurn()
			}
			// Known connections and neighbors, and a second of silence.
			put("vlan100", l.web1, "10.10.10.4", 1, false)
			put("vlan101", l.vm4, "10.10.10.4", 1, false)
			put("ext_net", l.client, "10.10.10.3", 1, false)
			l.run()
			l.advance(time.Second)

			put("vlan101", l.vm4, "10.10.10.4", c.other, false)
			const flood = 2000
			switch c.net {
			case "vlan100":
				put("vlan100", l.web1, "10.10.10.4", flood, c.begin)
			default:
				put("ext_net", l.client, "10.10.10.3", flood, c.begin)
			}
			in := func() int { return len(l.devs[c.net].in) }
			turn()
			turn() // the order of the links does not matter any more
			first := in()
			if first == 0 {
				t.Fatal("the flood is over; the test misses its point")
			}
			turn()
			if paused := in() == first; paused != c.pauses {
				t.Fatalf("pauses: %t, want %t", paused, c.pauses)
			}
			if !c.pauses {
				return
			}
			// Others are served meanwhile.
			put("vlan101", l.vm4, "10.10.10.4", 1, false)
			turn()
			if len(l.devs["vlan101"].in) > 0 {
				t.Error("the busy link is not read while the other one pauses")
			}
			l.now += loop.FloodPause
			turn()
			turn()
			if in() >= first {
				t.Error("not read again when the pause is over")
			}
			// When the others have fallen silent it is read to the end without a pause.
			l.now += 3 * loop.BusyFor
			for range flood/(loop.ReadBudget*loop.BatchFrames) + 2 {
				turn()
			}
			if in() > 0 {
				t.Errorf("%d frames left, with no other link busy", in())
			}
		})
	}
}

// starvedWaiter is that of a worker that lacks a processor.
type starvedWaiter struct{ loop.Waiter }

func (starvedWaiter) Starved(time.Duration) bool { return true }

// Small packets of known connections make a link pause when there are more of them than the worker
// gets done, the worker lacks a processor, and another tenant is busy. A link that has only fallen behind
// because of another one does not pause, nor does one with bulk, nor one on a machine that has processors to spare.
func TestFloodPauses(t *testing.T) {
	for _, c := range []struct {
		name    string
		starved bool
		size    int // of the payload
		behind  int // frames since the link was last dry
		other   int // frames since the other link was last dry
		busy    int // frames from the other link
		pauses  bool
	}{
		{"flood", true, 18, loop.FloodBacklog, 200, loop.BusyFrames, true},
		{"processors to spare", false, 18, loop.FloodBacklog, 200, loop.BusyFrames, false},
		{"bulk", true, 1400, loop.FloodBacklog, 200, loop.BusyFrames, false},
		{"a burst", true, 18, 0, 200, loop.BusyFrames, false},
		{"behind because of another", true, 18, loop.FloodBacklog, 20 * loop.FloodBacklog, loop.BusyFrames, false},
		{"two floods", true, 18, loop.FloodBacklog, 2 * loop.FloodBacklog, loop.BusyFrames, true},
		{"no other", true, 18, loop.FloodBacklog, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLesson(t)
			l.udp(l.web1, 4000, "10.10.10.4", 53, "known")
			l.udp(l.vm4, 4000, "10.10.10.4", 53, "known")
			l.advance(time.Second)
			if c.starved {
				l.w.Waiter = starvedWaiter{l.w.Waiter}
			}
			put := func(net string, from *simHost, n int) {
				frame := append(make([]byte, tap.HeaderLen),
					l.build(from, "10.10.10.4", 17, nil, udpLayer(), payload(c.size))...)
				for range n {
					l.devs[net].in = append(l.devs[net].in, tap.Frame{Buf: bytes.Clone(frame), Tail: len(frame)})
				}
			}
			put("vlan101", l.vm4, c.busy)
			put("vlan100", l.web1, 2000)
			for _, p := range l.w.Links {
				p.Pending.Store(true)
			}
			l.w.RunTurn()
			for _, p := range l.w.Links {
				switch p.Owner.Networks()[0] {
				case "vlan100":
					p.Backlog = c.behind
				case "vlan101":
					p.Backlog = c.other
				}
			}
			l.w.RunTurn()
			before := len(l.devs["vlan100"].in)
			l.w.RunTurn()
			if paused := len(l.devs["vlan100"].in) == before; paused != c.pauses {
				t.Errorf("pauses: %t, want %t", paused, c.pauses)
			}
			if !c.pauses {
				return
			}
			for _, d := range []time.Duration{loop.StarvedPause - time.Millisecond, time.Millisecond} {
				l.now += d
				l.w.RunTurn()
				l.w.RunTurn()
				if again := len(l.devs["vlan100"].in) < before; again != (d == time.Millisecond) {
					t.Errorf("read again: %t", again)
				}
			}
		})
	}
}

// A frame that is flooded costs a copy for every other device. So a device that floods has fewer frames in a turn. Then
// it pauses, the longer the more copies there were, while another tenant's device is busy. A broadcast among other
// frames makes no device pause. Neither does a flood to one other device: it costs no more than unicast.
func TestStormPauses(t *testing.T) {
	host, known := packet.MAC{2, 0, 0, 0, 0, 1}, packet.MAC{2, 0, 0, 0, 0, 2}
	const turn = loop.ReadBudget * loop.BatchFrames
	for _, c := range []struct {
		name   string
		others int // further devices of the network
		dst    []packet.MAC
		busy   int           // frames of another tenant
		frames int           // of the storm in a turn
		pause  time.Duration // after it
	}{
		{"storm to one", 1, []packet.MAC{packet.Broadcast}, loop.BusyFrames, turn, 0},
		{"storm to two", 2, []packet.MAC{packet.Broadcast}, loop.BusyFrames, turn / 2, loop.FloodPause},
		{"storm to three", 3, []packet.MAC{packet.Broadcast}, loop.BusyFrames, turn / 4, loop.FloodPause},
		{"multicast to three", 3, []packet.MAC{{1, 0, 0x5e, 0, 0, 9}}, loop.BusyFrames, turn / 4, loop.FloodPause},
		{"unknown among four", 3, []packet.MAC{{2, 0, 0, 0, 0, 7}}, loop.BusyFrames, turn / 4, loop.FloodPause},
		{"storm to forty", 40, []packet.MAC{packet.Broadcast}, loop.BusyFrames, turn / 4, 10 * loop.FloodPause},
		{"storm to a thousand", 1000, []packet.MAC{packet.Broadcast}, loop.BusyFrames, turn / 4, loop.LongestPause},
		{"storm to three, nobody busy", 3, []packet.MAC{packet.Broadcast}, loop.BusyFrames - 1, turn / 4, 0},
		{"unicast among four", 3, []packet.MAC{known}, loop.BusyFrames, turn, 0},
		{"one broadcast in a batch", 3, slices.Insert(slices.Repeat([]packet.MAC{known}, loop.BatchFrames-1), 7,
			packet.Broadcast), loop.BusyFrames, turn, 0},
		{"one broadcast in a batch, to a hundred", 100, slices.Insert(slices.Repeat([]packet.MAC{known},
			loop.BatchFrames-1), 7, packet.Broadcast), loop.BusyFrames, turn / 4, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			topo := tutorial()
			topo.Networks[0].StormLimit = new(0) // the limit is another protection
			l := newLessonOf(t, topo)
			l.addPort("vlan100", "first")
			for i := range c.others - 1 {
				l.addPort("vlan100", fmt.Sprintf("further%d", i))
			}
			l.putMany("first", bare(packet.Broadcast, known)) // the switch knows it from now on
			l.udp(l.vm4, 4000, "10.10.10.4", 53, "known")
			l.advance(time.Second)
			put := func(device string, frame []byte) {
				b := append(make([]byte, tap.HeaderLen), frame...)
				l.devs[device].in = append(l.devs[device].in, tap.Frame{Buf: b, Tail: len(b)})
			}
			for range c.busy {
				put("vlan101", l.build(l.vm4, "10.10.10.4", 17, nil, udpLayer(), payload(18)))
			}
			for i := range 10 * turn {
				put("vlan100", bare(c.dst[i%len(c.dst)], host))
			}
			in := func() int { return len(l.devs["vlan100"].in) }
			round := func() {
				for _, p := range l.w.Links {
					p.Pending.Store(true)
				}
				l.w.RunTurn()
			}
			round()
			if n := 10*turn - in(); n != c.frames {
				t.Errorf("%d frames in the first turn, want %d", n, c.frames)
			}
			round()
			before := in()
			round()
			if paused := in() == before; paused != (c.pause > 0) {
				t.Fatalf("pauses: %t", paused)
			}
			if c.pause == 0 {
				return
			}
			l.now += c.pause - time.Millisecond
			round()
			round()
			if in() < before {
				t.Error("read again before its time")
			}
			l.now += time.Millisecond
			round()
			round()
			if in() == before {
				t.Error("not read again when the pause is over")
			}
		})
	}
}
