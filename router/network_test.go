package router

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// withoutUpstream takes the next hop outside away.
func withoutUpstream(topo *file.Topology) {
	s := &topo.Networks[2].Subnets[0]
	s.Gateway, s.NoGateway = netip.Addr{}, true
	topo.Routers[0].Gateway.NextHop = netip.Addr{}
}

// twoRouters is two routers with the same tenant addresses on one external network.
func twoRouters() *file.Topology {
	n := tutorial().NAT
	topo := &file.Topology{NAT: n, Networks: []file.Network{
		{Name: "red", MTU: 1500, Subnets: []file.Subnet{{CIDR: prefix("192.168.1.0/24")}}},
		{Name: "blue", MTU: 1500, Subnets: []file.Subnet{{CIDR: prefix("192.168.1.0/24")}}},
		{Name: "ext_net", MTU: 1500, External: true, Subnets: []file.Subnet{{CIDR: prefix("10.10.10.0/24")}}},
	}}
	for i, name := range []string{"red", "blue"} {
		gw := []string{"10.10.10.2", "10.10.10.5"}[i]
		topo.Routers = append(topo.Routers, file.Router{Name: name, NAT: &n,
			Interfaces: []file.RouterInterface{{Network: name, Addresses: []netip.Prefix{prefix("192.168.1.1/24")}}},
			Gateway: &file.RouterGateway{Network: "ext_net", Address: addr(gw), Prefix: netip.PrefixFrom(addr(gw), 24),
				NextHop: addr("10.10.10.1"), SNAT: true},
		})
	}
	topo.FloatingIPs = []file.FloatingIP{{Network: "ext_net", Address: addr("10.10.10.6"), FixedIP: addr("192.168.1.9"),
		Router: "blue"}}
	return topo
}

func TestRoutersWithTheSameAddressesMeetOutside(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) { meetOutside(t, workers) })
	}
}

func meetOutside(t *testing.T, workers int) {
	topo := twoRouters()
	topo.Engine.Workers = workers
	s := newSim(t, topo)
	if len(s.all) != workers {
		t.Fatalf("%d workers", len(s.all))
	}
	red, blue := s.host("red", "192.168.1.9"), s.host("blue", "192.168.1.9")
	learn := func(h *simHost) {
		b := make([]byte, packet.ARPLen)
		packet.PutARP(b, h.mac, packet.Broadcast, packet.ARP{Request: true, SenderMAC: h.mac,
			Sender: packet.AddrFrom(h.addr), Target: packet.AddrFrom(addr("192.168.1.1"))})
		s.put(h.net, b)
		s.takeARP(h.net)
	}
	learn(red)
	learn(blue)
	s.udp(red, 4000, "10.10.10.6", 53, "over the external network")
	s.want(s.one("blue"), "udp 10.10.10.2:4000 > 192.168.1.9:53")
	s.udp(blue, 53, "10.10.10.2", 4000, "and back")
	s.want(s.one("red"), "udp 10.10.10.6:53 > 192.168.1.9:4000")
}

// addPort gives a network one more device.
func (s *sim) addPort(network, name string) *simDevice {
	d := &simDevice{}
	s.devs[name] = d
	s.nets[network].PlugIn(&loop.Link{Memory: true, Name: name}, d)
	return d
}

func TestSwitchLearnsAndFloods(t *testing.T) {
	l := newLesson(t)
	second, third := l.addPort("vlan100", "second"), l.addPort("vlan100", "third")
	first := l.devs["vlan100"]
	frame := func(dst, src packet.MAC) []byte {
		b := make([]byte, 60)
		copy(b, dst[:])
		copy(b[6:], src[:])
		b[12], b[13] = 0x86, 0xdd
		return b
	}
	count := func() [3]int {
		n := [3]int{len(first.out), len(second.out), len(third.out)}
		first.out, second.out, third.out = nil, nil, nil
		return n
	}
	a, b := packet.MAC{2, 0, 0, 0, 0, 1}, packet.MAC{2, 0, 0, 0, 0, 2}
	count()
	l.put("vlan100", frame(b, a))
	if got := count(); got != [3]int{0, 1, 1} {
		t.Errorf("unknown destination: frames out %v", got)
	}
	l.put("second", frame(a, b))
	if got := count(); got != [3]int{1, 0, 0} {
		t.Errorf("learned destination: frames out %v", got)
	}
	l.put("vlan100", frame(b, a))
	if got := count(); got != [3]int{0, 1, 0} {
		t.Errorf("learned destination: frames out %v", got)
	}
	l.put("vlan100", frame(packet.Broadcast, a))
	if got := count(); got != [3]int{0, 1, 1} {
		t.Errorf("broadcast: frames out %v", got)
	}
	l.put("vlan100", frame(a, packet.MAC{2, 0, 0, 0, 0, 9}))
	if got := count(); got != [3]int{} {
		t.Errorf("back to its port: frames out %v", got)
	}
	l.dropped(DropSamePort, 1)
	l.advance(wire.MACAge)
	l.put("third", frame(b, packet.MAC{2, 0, 0, 0, 0, 9}))
	if got := count(); got != [3]int{1, 1, 0} {
		t.Errorf("forgotten destination: frames out %v", got)
	}
}

// What bridges and link partners say to each other ends at the next bridge
// (IEEE 802.1Q, 8.6.3): a pause frame must not stop another port.
func TestReservedAddressesAreNotForwarded(t *testing.T) {
	l := newLesson(t)
	second := l.addPort("vlan100", "second")
	for last := range 17 {
		frame := make([]byte, 60)
		copy(frame, []byte{1, 0x80, 0xc2, 0, 0, byte(last), 2, 0, 0, 0, 0, 1, 0x88, 0x08})
		l.put("vlan100", frame)
		if got := len(second.out); got != last/16 {
			t.Errorf("01:80:c2:00:00:%02x: %d frames on the other port", last, got)
		}
	}
	l.dropped(DropReserved, 16)
}

// Bytes behind the packet do not cross the router: they belong to no packet, and a small packet
// with them could be larger than the MTU.
func TestTrailersEndAtTheRouter(t *testing.T) {
	l := newLesson(t)
	for _, tail := range []int{1, 18, 9000} {
		l.put("vlan101", append(l.build(l.vm4, "10.10.10.4", 17, nil, udpLayer(), payload(30)), make([]byte, tail)...))
		if got := len(l.one("ext_net").eth); got != 14+20+8+30 {
			t.Errorf("%d bytes behind the packet: a frame of %d", tail, got)
		}
	}
}

func TestRouterAnswersTheRightPort(t *testing.T) {
	l := newLesson(t)
	l.addPort("vlan101", "second")
	h := *l.vm4
	h.net = "vlan101"
	frame := l.build(&h, "172.16.101.1", 1, nil, pingLayer(), payload(8))
	l.devs["vlan101"].out = nil
	l.put("second", frame)
	if n := len(l.take("second")); n != 1 {
		t.Errorf("%d answers on the port it came from", n)
	}
	l.none("vlan101")
}

func TestMalformedFramesAreCountedByReason(t *testing.T) {
	for _, c := range []struct {
		reason DropReason
		change func(b []byte) []byte
	}{
		{DropRunt, func(b []byte) []byte { return b[:10] }},
		{DropSourceMAC, func(b []byte) []byte { b[6] |= 1; return b }},
		{DropNotOurs, func(b []byte) []byte { b[5]++; return b }},
		{DropEtherType, func(b []byte) []byte { b[12] = 0x86; b[13] = 0xdd; return b }},
		// IEEE 802.3 with SNAP (RFC 1042)
		{DropEtherType, func(b []byte) []byte { return insert(b, 12, 0, 50, 0xaa, 0xaa, 3, 0, 0, 0) }},
		{DropVLANTag, func(b []byte) []byte { b[12] = 0x81; return b }},
		{DropRunt, func(b []byte) []byte { return insert(b, 12, 0x81, 0)[:17] }},
		{DropEtherType, func(b []byte) []byte { b[12], b[13] = 0x88, 0x64; return b }}, // PPPoE is no tag
		{DropVLANTag, func(b []byte) []byte { return insert(b, 12, 0x81, 0, 0, 1) }},
		{DropVLANTag, func(b []byte) []byte { return insert(b, 12, 0x88, 0xa8, 0, 0) }},
		{DropDoubleTag, func(b []byte) []byte { return insert(b, 12, 0x81, 0, 0, 1, 0x81, 0, 0, 2) }},
		{DropDoubleTag, func(b []byte) []byte { return insert(b, 12, 0x81, 0, 0, 0, 0x81, 0, 0, 0) }},
		{DropDoubleTag, func(b []byte) []byte { return insert(b, 12, 0x88, 0xa8, 0, 1, 0x81, 0, 0, 2) }},
		{DropLinkBroadcast, func(b []byte) []byte { copy(b, packet.Broadcast[:]); return b }},
		{DropShort, func(b []byte) []byte { return b[:30] }},
		{DropIPVersion, func(b []byte) []byte { b[14] = 0x65; return b }},
		{DropIPHeader, func(b []byte) []byte { b[14] = 0x44; return b }},
		{DropIPHeader, func(b []byte) []byte { return fixIP(b, func(ip []byte) { ip[2] = 9 }) }},
		{DropIPChecksum, func(b []byte) []byte { b[24]++; return b }},
		{DropTransport, func(b []byte) []byte { return fixIP(b, func(ip []byte) { ip[3] = 24 }) }},
		{DropMartianDest, func(b []byte) []byte { return fixIP(b, func(ip []byte) { ip[16] = 127 }) }},
		{DropBroadcast, func(b []byte) []byte { return fixIP(b, func(ip []byte) { ip[16] = 224 }) }},
		{DropBroadcast, func(b []byte) []byte {
			return fixIP(b,
				func(ip []byte) { copy(ip[16:], []byte{172, 16, 100, 255}) })
		}},
		{DropNoRoute, func(b []byte) []byte { return b }},
	} {
		t.Run(c.reason.String(), func(t *testing.T) {
			topo := tutorial()
			withoutUpstream(topo)
			s := newSim(t, topo)
			h := s.host("vlan101", "172.16.101.4")
			frame := s.build(h, "8.8.8.8", 17, nil, udpLayer(), payload(20))
			s.put("vlan101", c.change(frame))
			s.dropped(c.reason, 1)
		})
	}
}

func insert(b []byte, at int, more ...byte) []byte {
	return slices.Insert(slices.Clone(b), at, more...)
}

// A frame with a priority and no VLAN is as good as one without a tag, and goes on
// without it; so does one whose checksum is left to be done.
func TestPriorityTag(t *testing.T) {
	l := newLesson(t)
	tag := []byte{0x81, 0, 0xe0, 0}
	frame := l.build(l.vm4, "8.8.8.8", 17, nil, udpLayer(), payload(20))
	l.put("vlan101", insert(frame, 12, tag...))
	plain := l.take("ext_net")
	if len(plain) != 1 || binary.BigEndian.Uint16(plain[0].eth[12:]) != packet.EtherTypeIPv4 {
		t.Fatalf("%x", plain)
	}
	l.put("vlan101", frame)
	if again := l.take("ext_net"); len(again) != 1 ||
		!bytes.Equal(again[0].eth[packet.EthernetLen+packet.IPv4Len:],
			plain[0].eth[packet.EthernetLen+packet.IPv4Len:]) {
		t.Errorf("with the tag\n%x, without\n%x", plain, again)
	}

	half := slices.Clone(frame)
	const start, field = packet.EthernetLen + packet.IPv4Len, 6
	sum := packet.Sum(half[packet.EthernetLen+12:start]) + 17 + uint16(len(half)-start) // no carry from these
	binary.BigEndian.PutUint16(half[start+field:], sum)
	f := tap.Frame{Buf: make([]byte, tap.SlotLen)}
	f.Head = tap.Headroom
	f.Tail = f.Head + tap.HeaderLen + copy(f.Buf[f.Head+tap.HeaderLen:], insert(half, 12, tag...))
	(&virtio.Header{Flags: virtio.NeedsChecksum, HdrLen: start + wire.TagLen + 8, CsumStart: start + wire.TagLen,
		CsumOffset: field}).Put(f.Header())
	if got := f.PopTag(); got != 0xe000 {
		t.Errorf("tag %#x", got)
	}
	var h virtio.Header
	h.Parse(f.Header())
	if h.CsumStart != start || h.CsumOffset != field || h.HdrLen != start+8 || !bytes.Equal(f.Ethernet(), half) {
		t.Errorf("%+v\n got %x\nwant %x", h, f.Ethernet(), half)
	}
}

// fixIP changes an IP header and makes its checksum right again.
func fixIP(b []byte, change func(ip []byte)) []byte {
	change(b[14:])
	b[14] = 0x45
	packet.SetIPv4Checksum(b[14:])
	return b
}

// A function that waits behind the one that ends the worker does not run: its effects would not be undone.
func TestMailBehindTheEnd(t *testing.T) {
	w := newLesson(t).w
	ran := false
	w.Post(w.Stop)
	w.Post(func() { ran = true })
	w.RunTurn()
	if ran || !w.Stopping {
		t.Errorf("ran %t, stopping %t", ran, w.Stopping)
	}
}

func TestDeviceThatLosesFrames(t *testing.T) {
	l := newLesson(t)
	d := l.devs["ext_net"]
	d.err = tap.ErrDown
	l.udp(l.vm3, 1, "10.10.10.4", 2, "x")
	var ext *loop.Link
	for _, p := range l.w.Links {
		if p.Owner.Networks()[0] == "ext_net" {
			ext = p
		}
	}
	if !ext.IsDown || ext.Stats.Lost == 0 || ext.Stats.TxBytes != 0 {
		t.Errorf("down %v, lost %d, sent %d bytes", ext.IsDown, ext.Stats.Lost, ext.Stats.TxBytes)
	}
	d.err = nil
	l.advance(5 * time.Second)
	l.udp(l.vm3, 1, "10.10.10.4", 2, "x")
	if ext.IsDown {
		t.Error("still down after a frame was taken")
	}
}

// A device may turn out to be gone by what is written to it while it is read.
func TestDeviceThatIsGoneWhileItIsRead(t *testing.T) {
	l := newLesson(t)
	d := l.devs["vlan101"]
	ping := l.build(l.vm4, "172.16.101.1", 1, nil, pingLayer(), payload(8))
	for range 3 * loop.BatchFrames {
		b := append(make([]byte, tap.HeaderLen), ping...)
		d.in = append(d.in, tap.Frame{Buf: b, Tail: len(b)})
	}
	d.err = tap.ErrGone
	l.run()
	for _, p := range l.w.Links {
		if p.Owner.Networks()[0] == "vlan101" {
			t.Error("the port is still there")
		}
	}
}

// Behind a device that was away there may be other hosts with the same addresses:
// they are asked for anew when it is back.
func TestNeighborsAfterADeviceIsBack(t *testing.T) {
	l := newLesson(t)
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "x")
	l.one("ext_net")
	l.client.mac[5]++
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "x")
	if packet.MAC(l.one("ext_net").eth[:6]) == l.client.mac {
		t.Fatal("it knows already; the test misses its point")
	}
	l.nets["ext_net"].Announce()
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "x")
	if got := packet.MAC(l.one("ext_net").eth[:6]); got != l.client.mac {
		t.Errorf("sent to %s, the host is %s now", got, l.client.mac)
	}
}

// An oddDevice cannot be read a few times before it can.
type oddDevice struct {
	*simDevice
	errors int
}

func (d *oddDevice) Read(frames []tap.Frame) (int, error) {
	if d.errors > 0 {
		d.errors--
		return 0, errors.New("an odd error")
	}
	return d.simDevice.Read(frames)
}

// epoll does not tell of frames behind an error: the worker looks for them, after a while if
// there are many errors. But a device that does nothing else than fail must not keep
// the worker busy.
func TestReadErrors(t *testing.T) {
	for _, n := range []int{1, loop.ReadBudget - 1, loop.ReadBudget, 1000} {
		l := newLesson(t)
		for _, p := range l.w.Links {
			if p.Owner.Networks()[0] == "vlan101" {
				p.Dev = &oddDevice{l.devs["vlan101"], n}
			}
		}
		d := l.devs["vlan101"]
		b := append(make([]byte, tap.HeaderLen), l.build(l.vm4, "172.16.101.1", 1, nil, pingLayer(), payload(8))...)
		d.in = append(d.in, tap.Frame{Buf: b, Tail: len(b)})
		for _, p := range l.w.Links {
			p.Pending.Store(true)
		}
		if more := l.w.RunTurn(); n >= loop.ReadBudget && (len(d.in) == 0 || more) {
			t.Errorf("%d errors: read at once, or more to do (%t)", n, more)
		} else if n < loop.ReadBudget && len(d.in) > 0 {
			t.Errorf("%d errors: the frame behind them is not read", n)
		}
		turns := 0
		for end := l.now + 5*time.Second; l.now < end; l.now += time.Millisecond {
			for l.w.Timed && l.w.Timer <= l.now || len(l.w.Ready) > 0 {
				l.w.RunTurn()
				turns++
			}
		}
		if len(d.in) > 0 || turns > 2*n/loop.ReadBudget+60 {
			t.Errorf("%d errors: %d frames left after %d turns", n, len(d.in), turns)
		}
	}
}

// A super-frame that a device cannot take, and the router cannot cut, has one
// verdict; copies of one are lost at the devices they were for.
func TestSuperFrameThatNobodyCanCut(t *testing.T) {
	l := newLesson(t)
	l.addPort("vlan100", "second")
	l.addPort("vlan100", "third")
	frame := func(dst packet.MAC) []byte {
		b := make([]byte, tap.HeaderLen+4000)
		b[0], b[1] = 1, 4 // TCP over IPv6
		eth := b[tap.HeaderLen:]
		copy(eth, dst[:])
		copy(eth[6:], []byte{2, 0, 0, 0, 0, 9, 0x86, 0xdd})
		return b
	}
	l.put("second", append([]byte{2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x86, 0xdd}, make([]byte, 50)...))
	before := l.stats()
	l.putFrame("vlan100", frame(packet.MAC{2, 0, 0, 0, 0, 8})) // known, at the second
	l.putFrame("vlan100", frame(packet.MAC{2, 0, 0, 0, 0, 7})) // unknown: to both
	st := l.stats()
	lost := uint64(0)
	for i := range st.Devices {
		lost += st.Devices[i].Lost
	}
	if n := st.Drops[DropOffload] - before.Drops[DropOffload]; n != 1 || lost != 2 {
		t.Errorf("%d drops, %d lost", n, lost)
	}
}
