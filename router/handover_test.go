package router

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/tap"
)

// Both routers answer and send on a shared network, and get its broadcasts, whichever of
// their workers reads it.
func TestSharedNetworkOfTwoWorkers(t *testing.T) {
	topo := twoRouters()
	topo.Engine.Workers = 2
	s := newSim(t, topo)
	ext := s.nets["ext_net"]
	if ext.Home != s.nets["red"].Home && ext.Home != s.nets["blue"].Home || s.nets["red"].Home == s.nets["blue"].Home {
		t.Fatal("the networks are not shared out as they should")
	}
	client := s.host("ext_net", "10.10.10.4")
	s.host("ext_net", "10.10.10.1")
	ask := func(target string) {
		b := make([]byte, packet.ARPLen)
		packet.PutARP(b, client.mac, packet.Broadcast, packet.ARP{Request: true, SenderMAC: client.mac,
			Sender: packet.AddrFrom(client.addr), Target: packet.AddrFrom(addr(target))})
		s.put("ext_net", b)
	}
	s.takeARP("ext_net")
	for target, i := range map[string]int{"10.10.10.2": 0, "10.10.10.5": 1, "10.10.10.6": 1} {
		ask(target)
		got := s.takeARP("ext_net")
		if len(got) != 1 || got[0].SenderMAC != interfaces(ext)[i].MAC ||
			got[0].Sender != packet.AddrFrom(addr(target)) {
			t.Errorf("%s is at %v", target, got)
		}
	}
	for i, name := range []string{"red", "blue"} {
		host := s.host(name, "192.168.1.7")
		external := []string{"10.10.10.2", "10.10.10.5"}[i]
		s.udp(host, 4000, "10.10.10.4", 53, "out")
		s.want(s.one("ext_net"), "udp "+external+":4000 > 10.10.10.4:53")
		back := s.build(client, external, 17, nil, &layers.UDP{SrcPort: 53, DstPort: 4000}, payload(4))
		copy(back, interfaces(ext)[i].MAC[:])
		s.put("ext_net", back)
		s.want(s.one(name), "udp 10.10.10.4:53 > 192.168.1.7:4000")
	}
}

// A second device makes the shared network a switch, and only its own worker
// knows where a host is.
func TestSharedNetworkIsASwitch(t *testing.T) {
	topo := twoRouters()
	topo.Engine.Workers = 2
	s := newSim(t, topo)
	ext := s.nets["ext_net"]
	far := "red"
	if ext.Home == s.nets["red"].Home {
		far = "blue"
	}
	second := s.addPort("ext_net", "second")
	s.host("ext_net", "10.10.10.4")
	host := s.host(far, "192.168.1.7")
	s.udp(host, 4000, "10.10.10.4", 53, "who is that?")
	s.one("ext_net")
	second.out = nil
	s.udp(host, 4000, "10.10.10.4", 53, "it has answered at the first port")
	s.one("ext_net")
	if n := len(second.out); n != 0 {
		t.Errorf("%d frames at the other port", n)
	}
}

// What does not fit the ring is dropped and counted; the rest goes on.
func TestHandoverIsFull(t *testing.T) {
	topo := twoRouters()
	topo.Engine.Workers = 2
	s := newSim(t, topo)
	ext := s.nets["ext_net"]
	far := 0
	if interfaces(ext)[0].Router.Worker == ext.Home {
		far = 1
	}
	frame := make([]byte, 60)
	mac := interfaces(ext)[far].MAC
	copy(frame, mac[:])
	copy(frame[6:], []byte{2, 0, 0, 0, 0, 9, 8, 0})
	d := s.devs["ext_net"]
	const n = loop.HandoverMost/192 + 100
	for range n {
		b := append(make([]byte, tap.HeaderLen), frame...)
		d.in = append(d.in, tap.Frame{Buf: b, Tail: len(b)})
	}
	for len(d.in) > 0 { // the other worker does not get to run
		for _, p := range ext.Home.Links {
			p.Pending.Store(true)
		}
		ext.Home.RunTurn()
	}
	for other := s.all[0]; ; {
		if other.Worker == ext.Home {
			other = s.all[1]
		}
		if !other.RunTurn() {
			break
		}
	}
	s.run()
	st := s.stats()
	if st.Received < n || st.Drops[DropHandover] < 50 || st.Drops[DropHandover] > n/2 {
		t.Errorf("%d received, drops %v", st.Received, st.Drops)
	}
}

// Routers that share a network inside have one worker; networks without routers
// are shared out, too.
func TestAssign(t *testing.T) {
	const topology = `
[[network]]
name = "a"
  [[network.subnet]]
  cidr = "192.0.2.0/24"
[[network]]
name = "b"
  [[network.subnet]]
  cidr = "198.51.100.0/24"
[[network]]
name = "c"
  [[network.subnet]]
  cidr = "203.0.113.0/24"
[[network]]
name = "alone"
[[router]]
name = "one"
interfaces = ["a", { network = "b", address = "198.51.100.1" }]
[[router]]
name = "two"
interfaces = [{ network = "b", address = "198.51.100.2" }]
[[router]]
name = "three"
interfaces = ["c"]
`
	topo, err := file.Parse("test.toml", strings.NewReader(topology))
	if err != nil {
		t.Fatal(err)
	}
	for workers, want := range map[int]int{1: 1, 2: 2, 3: 3, 9: 3} {
		topo.Engine.Workers = workers
		s := newSim(t, topo)
		if len(s.all) != want {
			t.Errorf("%d workers asked for, got %d", workers, len(s.all))
		}
		for _, w := range s.all {
			if len(w.networks) == 0 {
				t.Errorf("with %d workers, one has nothing to do", workers)
			}
		}
		if s.nets["a"].Home != s.nets["b"].Home ||
			interfaces(s.nets["a"])[0].Router.Worker != interfaces(s.nets["b"])[1].Router.Worker {
			t.Errorf("with %d workers, routers that share a network are apart", workers)
		}
	}
	topo.Engine.Workers = 0
	if p := (&Prepared{e: newEngine(Options{}), to: stateOf(t, topo)}); p.workersAsked() < 1 {
		t.Error("by default, there is no worker")
	}
}

// A network that is flooded does not keep others waiting: each has its share of
// every turn.
func TestFloodedNetworkLeavesOthersTheirTurn(t *testing.T) {
	l := newLesson(t)
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "established")
	l.one("ext_net")
	frame := append(make([]byte, tap.HeaderLen), l.build(l.web1, "10.10.10.4", 17, nil, udpLayer(), payload(18))...)
	flood := func(n int) {
		for range n {
			l.devs["vlan100"].in = append(l.devs["vlan100"].in, tap.Frame{Buf: bytes.Clone(frame), Tail: len(frame)})
		}
	}
	flood(100)
	l.run()
	l.take("ext_net")
	flood(20000)
	for range 10 {
		one := append(make([]byte, tap.HeaderLen), l.build(l.vm4, "10.10.10.4", 17, nil, udpLayer(), payload(18))...)
		l.devs["vlan101"].in = append(l.devs["vlan101"].in, tap.Frame{Buf: one, Tail: len(one)})
		for _, p := range l.w.Links {
			p.Pending.Store(true)
		}
		l.w.RunTurn()
		if len(l.devs["vlan101"].in) > 0 {
			t.Fatal("the other network's frame is not read")
		}
		if n := len(l.devs["ext_net"].out); n > loop.ReadBudget*loop.BatchFrames+8 {
			t.Fatalf("%d frames of the flood in one turn", n)
		}
		l.devs["ext_net"].out = nil
	}
	if len(l.devs["vlan100"].in) == 0 {
		t.Error("the flood is over; the test misses its point")
	}
}
