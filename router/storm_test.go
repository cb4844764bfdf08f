package router

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// bare is an Ethernet frame without a payload that any stage would read.
func bare(dst, src packet.MAC) []byte {
	b := make([]byte, 60)
	copy(b, dst[:])
	copy(b[6:], src[:])
	b[12], b[13] = 0x88, 0xb5 // for experiments (IEEE 802)
	return b
}

// stormy is a lesson with two devices on vlan100, which may flood some frames a second.
func stormy(t *testing.T, limit *int) (l *lesson, second *simDevice) {
	topo := tutorial()
	topo.Networks[0].StormLimit = limit
	l = newLessonOf(t, topo)
	return l, l.addPort("vlan100", "second")
}

// putMany hands over frames at one time.
func (s *sim) putMany(device string, frames ...[]byte) {
	for _, eth := range frames {
		b := append(make([]byte, tap.HeaderLen), eth...)
		s.devs[device].in = append(s.devs[device].in, tap.Frame{Buf: b, Tail: len(b)})
	}
	s.run()
}

// A device may flood as many frames a second as its network says, whether they are broadcasts, multicasts or for an
// address that the switch does not know. The rest is dropped before it is copied. Another device has a limit of its
// own.
func TestStormLimit(t *testing.T) {
	l, second := stormy(t, new(50))
	host, unknown := packet.MAC{2, 0, 0, 0, 0, 1}, packet.MAC{2, 0, 0, 0, 0, 7}
	kinds := [][]byte{bare(packet.Broadcast, host), bare(packet.MAC{1, 0, 0x5e, 0, 0, 9}, host), bare(unknown, host)}
	for _, kind := range kinds {
		second.out = nil
		before := l.stats()
		l.putMany("vlan100", slices.Repeat([][]byte{kind}, 60)...)
		after := l.stats()
		if len(second.out) != 50 || after.Drops[DropStorm]-before.Drops[DropStorm] != 10 || after.Made != before.Made {
			t.Errorf("to %v: %d of 60 frames on the other port, %d dropped", packet.MAC(kind[:6]), len(second.out),
				after.Drops[DropStorm]-before.Drops[DropStorm])
		}
		other := len(l.devs["vlan100"].out)
		l.putMany("second", bare(packet.Broadcast, packet.MAC{2, 0, 0, 0, 0, 2}))
		if len(l.devs["vlan100"].out) != other+1 {
			t.Error("the other device has to suffer for it")
		}
		l.advance(100 * time.Millisecond)
		second.out = nil
		l.putMany("vlan100", slices.Repeat([][]byte{kind}, 60)...)
		if len(second.out) != 5 {
			t.Errorf("%d frames a tenth of a second later, want 5", len(second.out))
		}
		l.advance(2 * time.Second)
	}
	second.out = nil
	l.putMany("vlan100", slices.Repeat([][]byte{bare(packet.MAC{2, 0, 0, 0, 0, 2}, host)}, 200)...)
	if len(second.out) != 200 {
		t.Errorf("%d of 200 frames to a known address", len(second.out))
	}
}

// Ten thousand a second is the default, 0 is no limit, and a change of the limit holds at once.
func TestStormLimitOfTheConfiguration(t *testing.T) {
	for limit, want := range map[int]int{-1: 10_000, 0: 12_000, 11_000: 11_000} {
		var given *int
		if limit >= 0 {
			given = &limit
		}
		l, second := stormy(t, given)
		l.putMany("vlan100", slices.Repeat([][]byte{bare(packet.Broadcast, packet.MAC{2, 0, 0, 0, 0, 1})}, 12_000)...)
		if len(second.out) != want {
			t.Errorf("storm_limit %d: %d frames", limit, len(second.out))
		}
	}
	l, second := stormy(t, new(0))
	l.change(func(d *config.Draft) {
		n := *named[*config.Network](d, config.KindNetwork, "vlan100")
		n.StormLimit = new(3)
		d.Put(&n)
	})
	second.out = nil
	l.putMany("vlan100", slices.Repeat([][]byte{bare(packet.Broadcast, packet.MAC{2, 0, 0, 0, 0, 1})}, 10)...)
	if len(second.out) != 3 {
		t.Errorf("after the change %d frames, want 3", len(second.out))
	}
}

// A frame that is flooded is forwarded once, and its further copies are made.
func TestFloodedFrameIsCounted(t *testing.T) {
	l, second := stormy(t, nil)
	third, fourth := l.addPort("vlan100", "third"), l.addPort("vlan100", "fourth")
	second.out, third.out, fourth.out = nil, nil, nil
	before := l.stats()
	l.putMany("vlan100", bare(packet.MAC{2, 0, 0, 0, 0, 7}, packet.MAC{2, 0, 0, 0, 0, 1}))
	after := l.stats()
	if len(second.out) != 1 || len(third.out) != 1 || len(fourth.out) != 1 {
		t.Errorf("%d, %d and %d copies", len(second.out), len(third.out), len(fourth.out))
	}
	if forwarded, made := after.Forwarded-before.Forwarded, after.Made-before.Made; forwarded != 1 || made != 2 {
		t.Errorf("%d forwarded, %d made, want 1 and 2", forwarded, made)
	}
}

// A router's own broadcasts are not a device's.
func TestStormLimitIsForDevices(t *testing.T) {
	topo := tutorial()
	topo.Networks[2].StormLimit = new(1)
	l := newLessonOf(t, topo)
	l.devs["ext_net"].out = nil
	for k := range byte(20) { // each asks for another neighbor
		l.udp(l.vm4, 4000, "10.10.10."+string('1'+rune(k%9))+string('0'+rune(k/9)), 53, "x")
	}
	if n := len(l.takeARP("ext_net")); n < 10 {
		t.Errorf("%d ARP requests", n)
	}
	if n := l.stats().Drops[DropStorm]; n != 0 {
		t.Errorf("%d frames are a storm", n)
	}
}

// A host that moves to another device is followed by its first frame from there, and a frame that is flooded teaches
// where its sender is at the device where it came in, nowhere else.
func TestSwitchFollows(t *testing.T) {
	l := newLesson(t)
	second, third := l.addPort("vlan100", "second"), l.addPort("vlan100", "third")
	first := l.devs["vlan100"]
	a, b := packet.MAC{2, 0, 0, 0, 0, 1}, packet.MAC{2, 0, 0, 0, 0, 2}
	out := func() [3]int {
		n := [3]int{len(first.out), len(second.out), len(third.out)}
		first.out, second.out, third.out = nil, nil, nil
		return n
	}
	l.put("vlan100", bare(packet.Broadcast, a)) // goes out by the second and the third
	out()
	l.put("second", bare(a, b))
	if got := out(); got != [3]int{1, 0, 0} {
		t.Errorf("its place is where the broadcast came in: frames out %v", got)
	}
	l.put("third", bare(packet.Broadcast, a))
	out()
	l.put("second", bare(a, b))
	if got := out(); got != [3]int{0, 0, 1} {
		t.Errorf("after its first frame from another device: frames out %v", got)
	}
}

// What hosts say about multicast groups, IGMP and MLD, reaches every port: there is no snooping.
func TestGroupMessagesAreFlooded(t *testing.T) {
	l := newLesson(t)
	second, third := l.addPort("vlan100", "second"), l.addPort("vlan100", "third")
	igmp := l.build(l.web1, "224.0.0.22", 2, nil, payload(16))
	copy(igmp, []byte{1, 0, 0x5e, 0, 0, 22})
	mld := bare(packet.MAC{0x33, 0x33, 0, 0, 0, 0x16}, packet.MAC{2, 0, 0, 0, 0, 1})
	mld[12], mld[13] = 0x86, 0xdd
	for name, frame := range map[string][]byte{"IGMP": igmp, "MLD": mld} {
		second.out, third.out = nil, nil
		l.put("vlan100", frame)
		if len(second.out) != 1 || len(third.out) != 1 {
			t.Errorf("%s: %d and %d frames on the other ports", name, len(second.out), len(third.out))
		}
	}
}

// A limit is a number that a device may reach.
func TestStormLimitIsAKeyOfTheFile(t *testing.T) {
	topo := &file.Topology{Networks: []file.Network{{Name: "n", MTU: 1500, StormLimit: new(-1)}}}
	if _, err := topo.State(); err == nil || !strings.Contains(err.Error(), "storm_limit") {
		t.Errorf("a negative limit: %v", err)
	}
}
