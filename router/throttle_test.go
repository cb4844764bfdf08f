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

// A flood is a network with a device that floods, further devices, and a busy one of another tenant.
type flood struct {
	*lesson
	t *testing.T
}

func newFlood(t *testing.T, others int) *flood {
	topo := tutorial()
	topo.Networks[0].StormLimit = new(0) // the limit is another protection
	f := &flood{newLessonOf(t, topo), t}
	for i := range others {
		f.addPort("vlan100", fmt.Sprintf("further%d", i))
	}
	f.putMany("further0", bare(packet.Broadcast, floodKnown)) // the switch knows it from now on
	f.udp(f.vm4, 4000, "10.10.10.4", 53, "known")
	f.advance(time.Second)
	return f
}

var floodKnown = packet.MAC{2, 0, 0, 0, 0, 2}

// frames puts frames of so many bytes into the queue of the device, one for each address.
func (f *flood) frames(size int, dst ...packet.MAC) {
	for _, mac := range dst {
		b := make([]byte, tap.HeaderLen+size)
		copy(b[tap.HeaderLen:], bare(mac, packet.MAC{2, 0, 0, 0, 0, 1}))
		f.devs["vlan100"].in = append(f.devs["vlan100"].in, tap.Frame{Buf: b, Tail: len(b)})
	}
}

// turn runs a turn in which another tenant is busy, and returns how many frames of the device it has read.
func (f *flood) turn(busy bool) int {
	if busy {
		frame := append(make([]byte, tap.HeaderLen), f.build(f.vm4, "10.10.10.4", 17, nil, udpLayer(), payload(18))...)
		for range loop.BusyFrames {
			f.devs["vlan101"].in = append(f.devs["vlan101"].in, tap.Frame{Buf: bytes.Clone(frame), Tail: len(frame)})
		}
	}
	for _, p := range f.w.Links {
		p.Pending.Store(true)
	}
	before := len(f.devs["vlan100"].in)
	f.w.RunTurn()
	return before - len(f.devs["vlan100"].in)
}

// A frame that is flooded costs a copy for every other device, so a device that floods has fewer frames in a turn: as
// many as are no more work than a turn of other frames. With processors to spare it does not pause.
func TestStormTurns(t *testing.T) {
	const turn = loop.ReadBudget * loop.BatchFrames
	storm := []packet.MAC{packet.Broadcast}
	among := slices.Insert(slices.Repeat([]packet.MAC{floodKnown}, loop.BatchFrames-1), 7, packet.Broadcast)
	for _, c := range []struct {
		name   string
		others int // further devices of the network
		dst    []packet.MAC
		size   int
		first  int // frames in the first turn
		later  int // frames in each later one
	}{
		{"broadcasts to one", 1, storm, 60, turn, turn},
		{"broadcasts to two", 2, storm, 60, turn / 2, turn / 2},
		{"broadcasts to three", 3, storm, 60, turn / 4, turn / 4},
		{"multicasts to three", 3, []packet.MAC{{1, 0, 0x5e, 0, 0, 9}}, 60, turn / 4, turn / 4},
		{"unknown unicasts among four", 3, []packet.MAC{{2, 0, 0, 0, 0, 7}}, 60, turn / 4, turn / 4},
		{"broadcasts to forty", 40, storm, 60, turn / 4, 1},
		{"large broadcasts to three", 3, storm, 9000, turn / 4, turn / 6},
		{"unicasts among four", 3, []packet.MAC{floodKnown}, 60, turn, turn},
		{"a broadcast in a batch, to three", 3, among, 60, turn, turn},
		{"a broadcast in a batch, to a hundred", 100, among, 60, turn / 4, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFlood(t, c.others)
			for range 1000 / len(c.dst) {
				f.frames(c.size, c.dst...)
			}
			if n := f.turn(true); n != c.first {
				t.Errorf("%d frames in the first turn, want %d", n, c.first)
			}
			for range 5 {
				if n := f.turn(true); c.later > 0 && n != c.later || n == 0 {
					t.Errorf("%d frames in a later turn, want %d", n, c.later)
				}
			}
		})
	}
}

// Where the worker lacks a processor, a device that floods pauses until its copies are paid for, at the pace of other
// floods, while another tenant is busy. It may be some copies ahead, so the broadcasts of honest hosts cost no pause.
func TestStormPauses(t *testing.T) {
	const size = 1000 // not the small frames of another flood
	for _, c := range []struct {
		name    string
		starved bool
		others  int
		frames  int
		busy    bool
		read    int           // frames until it pauses; 0: it does not
		pause   time.Duration // 0: as that of other floods
	}{
		{"a storm to forty", true, 40, 1000, true, 16 + (loop.CopiesAhead-16*39)/39 + 1, 0},
		{"with processors to spare", false, 40, 1000, true, 0, 0},
		{"nobody busy", true, 40, 1000, false, 0, 0},
		{"an honest host's broadcasts", true, 40, 100, true, 0, 0},
		{"one broadcast to a thousand", true, 1000, 1, true, 0, 0},
		{"a storm to a thousand", true, 1000, 100, true, 16 + 1, loop.LongestPause},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFlood(t, c.others)
			if c.starved {
				f.w.Waiter = starvedWaiter{f.w.Waiter}
			}
			f.frames(size, slices.Repeat([]packet.MAC{packet.Broadcast}, c.frames)...)
			read := 0
			for {
				n := f.turn(c.busy)
				if read += n; n == 0 {
					break
				}
			}
			if read == c.frames {
				read = 0
			}
			if read != c.read {
				t.Fatalf("it pauses after %d frames, want %d", read, c.read)
			}
			if read == 0 {
				return
			}
			pause := max(c.pause, loop.StarvedPause)
			f.now += pause - time.Millisecond
			if f.turn(true)+f.turn(true) > 0 {
				t.Error("read again before its time")
			}
			f.now += time.Millisecond
			if f.turn(true)+f.turn(true) == 0 {
				t.Error("not read again when the pause is over")
			}
		})
	}
}

// Copies that a link has caused while no other link was busy do not count for long.
func TestStormIsForgiven(t *testing.T) {
	f := newFlood(t, 40)
	f.w.Waiter = starvedWaiter{f.w.Waiter}
	f.frames(1000, slices.Repeat([]packet.MAC{packet.Broadcast}, 5000)...)
	for f.turn(false) > 0 {
	}
	f.now += loop.LongestPause + 100*time.Millisecond
	f.frames(1000, slices.Repeat([]packet.MAC{packet.Broadcast}, 10)...)
	for range 12 {
		f.turn(true)
	}
	if n := len(f.devs["vlan100"].in); n > 0 {
		t.Errorf("it pauses, with %d frames of 10 left", n)
	}
}

// Packets that others have put aside are not a link's own, whoever is read when they go on.
func TestPutAsideCountsForNoLink(t *testing.T) {
	l := newLesson(t)
	late := l.host("vlan100", "172.16.100.50")
	late.mute = true
	for i := range 250 {
		l.udp(l.vm3, 4000+i, "172.16.100.50", 53, "waits")
	}
	l.udp(l.web1, 4000, "10.10.10.4", 53, "known")
	put := func(net string, from *simHost, n int) {
		frame := append(make([]byte, tap.HeaderLen), l.build(from, "10.10.10.4", 17, nil, udpLayer(), payload(18))...)
		for range n {
			l.devs[net].in = append(l.devs[net].in, tap.Frame{Buf: bytes.Clone(frame), Tail: len(frame)})
		}
	}
	turn := func() {
		for _, p := range l.w.Links {
			p.Pending.Store(true)
		}
		l.w.RunTurn()
	}
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "known")
	l.advance(2900 * time.Millisecond)
	l.now += 200 * time.Millisecond // the neighbor has failed, and all that waits for it goes on
	put("vlan101", l.vm4, loop.BusyFrames)
	put("vlan100", l.web1, 1000)
	for range 4 {
		before := len(l.devs["vlan100"].in)
		if turn(); len(l.devs["vlan100"].in) == before {
			t.Fatal("a link pauses for packets that are another one's")
		}
	}
	if n := l.w.Stats.Dropped[DropNeighborFailed]; n != 250 {
		t.Errorf("%d packets have failed; the test misses its point", n)
	}
}
