package router

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// narrow gives a network's device another MTU, as if its interface had been told so.
func (s *sim) narrow(network string, mtu int) {
	n := s.nets[network]
	n.Ports[0].Link.Resize(&n.Home.Turn, mtu)
}

// The MTU of an interface is lowered while the router runs. Larger packets are refused with the new
// MTU or cut, super-frames too, and pass again when the MTU is raised.
func TestMTUFollowsTheInterface(t *testing.T) {
	topo := tutorial()
	topo.Routers[0].NAT.MSSClamp = true
	l := newLessonOf(t, topo)
	for _, name := range []string{"ext_net", "vlan101"} { // a super-frame crosses whole where it fits
		l.devs[name].features = allFeatures
		l.nets[name].Ports[0].Link.Takes = allFeatures
	}
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "known before")
	l.one("ext_net")
	super := func(size uint16, o ...ipOpt) {
		b := append(make([]byte, tap.HeaderLen), l.build(l.vm4, "8.8.8.8", layers.IPProtocolTCP, o,
			&layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 1, SYN: true, Window: 65535}, payload(5000))...)
		unfinish(b, virtio.GSOTCPv4, size)
		l.putFrame("vlan101", b)
	}
	for _, mtu := range []int{1300, 600, 100} {
		l.narrow("ext_net", mtu)
		refused := func(what string) {
			t.Helper()
			got := l.one("vlan101")
			if got.icmp == nil || got.icmp.TypeCode != layers.CreateICMPv4TypeCode(3, 4) {
				t.Fatalf("MTU %d, %s: %v", mtu, what, got)
			}
			if said := binary.BigEndian.Uint16(got.icmp.Contents[6:]); int(said) != mtu {
				t.Errorf("MTU %d, %s: the error says %d", mtu, what, said)
			}
			l.none("ext_net")
			l.advance(1e9) // of the rate limit's
		}
		l.udp(l.vm4, 4000, "10.10.10.4", 53, strings.Repeat("x", mtu-27), df)
		refused("one byte too many")
		super(uint16(mtu-39), df)
		refused("a super-frame")
		l.udp(l.vm4, 4000, "10.10.10.4", 53, strings.Repeat("x", mtu-28), df)
		if got := l.one("ext_net"); int(got.ip.Length) != mtu {
			t.Errorf("MTU %d: %d bytes", mtu, got.ip.Length)
		}
		super(uint16(mtu-40), df)
		if got := l.one("ext_net"); got.vnet[1] != virtio.GSOTCPv4 {
			t.Errorf("MTU %d: a super-frame that fits is cut", mtu)
		}
		l.udp(l.vm4, 4000, "10.10.10.4", 53, strings.Repeat("x", 1400))
		l.fit("ext_net", mtu, 1408)
		super(1460)
		l.fit("ext_net", mtu, 0) // segments, in fragments
		l.put("vlan101", l.build(l.vm4, "10.10.10.1", layers.IPProtocolTCP, []ipOpt{df},
			&layers.TCP{SrcPort: layers.TCPPort(mtu), DstPort: 80, SYN: true,
				Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4,
					OptionData: []byte{5, 180}}}}))
		if got := l.one("ext_net"); int(binary.BigEndian.Uint16(got.tcp.Options[0].OptionData)) != mtu-40 {
			t.Errorf("MTU %d: MSS % x", mtu, got.tcp.Options[0].OptionData)
		}
		// The router's own answers and errors on that network fit, too.
		l.put("ext_net", l.build(l.client, "10.10.10.2", layers.IPProtocolICMPv4, nil,
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 1, Seq: 1}, payload(1000)))
		l.fit("ext_net", mtu, 1008)
		l.udp(l.client, 4000, "10.10.10.2", 9, strings.Repeat("x", 1000)) // port unreachable
		l.fit("ext_net", mtu, 0)
		l.advance(1e9)
	}
	l.narrow("ext_net", 1500)
	l.udp(l.vm4, 4000, "10.10.10.4", 53, strings.Repeat("x", 1472), df)
	l.one("ext_net")
	l.narrow("ext_net", 9000) // the network has 1500
	l.udp(l.vm4, 4000, "10.10.10.4", 53, strings.Repeat("x", 1473), df)
	if got := l.one("vlan101"); binary.BigEndian.Uint16(got.icmp.Contents[6:]) != 1500 {
		t.Errorf("an interface that takes more than the network has: %v", got)
	}
	l.narrow("ext_net", 20) // no interface for IPv4
	l.udp(l.vm4, 4000, "10.10.10.4", 53, strings.Repeat("x", 300))
	l.fit("ext_net", loop.LeastMTU, 308)
}

// fit fails unless the router has sent something to a network, in packets of at most so many
// bytes; payload is what they hold together, if not 0.
func (s *sim) fit(network string, mtu, payload int) {
	s.t.Helper()
	got, sum := s.take(network), 0
	for _, g := range got {
		if int(g.ip.Length) > mtu {
			s.t.Errorf("a packet of %d bytes on %s, whose MTU is %d: %v", g.ip.Length, network, mtu, g)
		}
		sum += int(g.ip.Length) - 20
	}
	if len(got) == 0 || payload != 0 && sum != payload {
		s.t.Errorf("%d packets with %d bytes on %s, want %d", len(got), sum, network, payload)
	}
}

// Routers of several workers on one network all go by its MTU.
func TestMTUReachesEveryWorker(t *testing.T) {
	topo := twoRouters()
	topo.Engine.Workers = 2
	s := newSim(t, topo)
	s.host("ext_net", "10.10.10.4")
	s.host("ext_net", "10.10.10.1")
	s.narrow("ext_net", 1000)
	for _, name := range []string{"red", "blue"} {
		host := s.host(name, "192.168.1.7")
		s.udp(host, 4000, "10.10.10.4", 53, strings.Repeat("x", 973), df)
		if got := s.one(name); got.icmp == nil || binary.BigEndian.Uint16(got.icmp.Contents[6:]) != 1000 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Of several devices the smallest counts, as long as it is there.
func TestMTUOfSeveralDevices(t *testing.T) {
	l := newLesson(t)
	n := l.nets["ext_net"]
	near, far := tap.Pipe("near", "far", tap.PipeOptions{})
	n.PlugIn(&loop.Link{Memory: true, Name: "second", Ifname: "second"}, near)
	check := func(want int) {
		t.Helper()
		if l.w.routers[0].Gateway.Interface.MTU != want || n.LinkMTU != want {
			t.Errorf("the router goes by %d, the network by %d, want %d", l.w.routers[0].Gateway.Interface.MTU,
				n.LinkMTU,
				want)
		}
	}
	check(1500)
	l.narrow("ext_net", 1300)
	n.Ports[1].Link.Resize(&n.Home.Turn, 1200)
	check(1200)
	far.Close()
	l.run()
	check(1300)
	l.narrow("ext_net", 1500)
	check(1500)
}
