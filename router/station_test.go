package router

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// A frame for one of several routers reaches this one only. What a router sends to its own MAC address goes
// out, and does not come back to it. A router that has left gets nothing any more, one that has come does.
func TestFramesForStations(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			s := newSim(t, manyRouters(t, 3, 1, workers))
			n := s.nets["ext_net"]
			h := s.host("ext_net", "10.255.0.9")
			ping := func(k int) []sent {
				t.Helper()
				i := interfaces(n)[k]
				frame := s.build(h, fmt.Sprintf("10.%d.0.1", k), 1, nil, pingLayer(), payload(8))
				copy(frame, i.MAC[:])
				s.put("ext_net", frame)
				return s.take("ext_net")
			}
			all := interfaces(n)
			for k, i := range all {
				if got := ping(k); len(got) != 1 || packet.MAC(got[0].eth[6:12]) != i.MAC {
					t.Fatalf("router %d: answers %v", k, got)
				}
			}

			// To itself.
			before := s.stats()
			i := all[0]
			frame := i.Router.Worker.Alloc(60)
			copy(frame.Ethernet(), i.MAC[:])
			copy(frame.Ethernet()[6:], i.MAC[:])
			n.Transmit(&i.Router.Worker.Turn, &i.Station, &frame, nil, false)
			s.run()
			if got := s.Take("ext_net"); len(got) != 1 {
				t.Errorf("to itself: %d frames out, want 1", len(got))
			}
			if after := s.stats(); workers == 1 && after.Received != before.Received {
				t.Errorf("to itself: %+v before, %+v after", before, after)
			}

			// The last router leaves.
			last := &all[2].Station
			n.Routers = n.Routers[:2]
			n.Publish(wire.NewStationTable(n.MACs.Seed, n.Stations()))
			frame2 := s.build(h, "10.2.0.1", 1, nil, pingLayer(), payload(8))
			copy(frame2, last.MAC[:])
			s.put("ext_net", frame2)
			s.none("ext_net")
			s.dropped(DropNotOurs, 1)
			if got := ping(1); len(got) != 1 {
				t.Errorf("the others: answers %v", got)
			}
			n.Routers = append(n.Routers, last)
			n.Publish(wire.NewStationTable(n.MACs.Seed, n.Stations()))
			if got := ping(2); len(got) != 1 {
				t.Errorf("back again: answers %v", got)
			}
		})
	}
}

// A local service is an endpoint like others: it gets what is for its MAC address, and every broadcast but its
// own. What it sends goes through the switch to hosts behind ports, and to routers.
func TestLocalService(t *testing.T) {
	l := newLesson(t)
	n, d := l.nets["vlan100"], &simDevice{}
	h := &simHost{net: "vlan100", addr: addr("172.16.100.77"), mac: packet.MAC{2, 0, 0, 0, 7, 7}}
	s := wire.NewService(n, h.mac)
	n.Services = append(n.Services, &s.Station)
	s.Worker = n.Home
	n.Publish(wire.NewStationTable(n.MACs.Seed, n.Stations()))
	s.PlugIn("service", d)
	at := func(dst packet.MAC) int {
		t.Helper()
		l.run()
		got := 0
		for _, f := range d.out {
			if packet.MAC(f.Ethernet()[:6]) == dst {
				got++
			}
		}
		d.out = nil
		return got
	}
	say := func(frame []byte) {
		b := append(make([]byte, tap.HeaderLen), frame...)
		d.in = append(d.in, tap.Frame{Buf: b, Tail: len(b)})
		s.Link.Pending.Store(true)
	}
	toHost := func(dst packet.MAC) []byte {
		frame := l.build(h, "172.16.100.9", 17, nil, udpLayer(), payload(8))
		copy(frame, dst[:])
		return frame
	}

	l.put("vlan100", append(append(append([]byte{}, h.mac[:]...), l.web1.mac[:]...), make([]byte, 48)...))
	if got := at(h.mac); got != 1 {
		t.Errorf("%d frames for its MAC address, want 1", got)
	}
	l.put("vlan100", append(append(append([]byte{}, packet.Broadcast[:]...), l.web1.mac[:]...), make([]byte, 48)...))
	if got := at(packet.Broadcast); got != 1 {
		t.Errorf("%d broadcasts, want 1", got)
	}
	l.take("vlan100")

	say(toHost(l.web1.mac))
	l.run()
	if got := l.take("vlan100"); len(got) != 1 || packet.MAC(got[0].eth[:6]) != l.web1.mac {
		t.Errorf("to a host: %v", got)
	}
	say(toHost(packet.Broadcast))
	if got := at(packet.Broadcast); got != 0 {
		t.Errorf("%d of its own broadcasts", got)
	}
	if got := l.take("vlan100"); len(got) != 1 {
		t.Errorf("its broadcast went out %d times", len(got))
	}

	who := make([]byte, packet.ARPLen)
	packet.PutARP(who, h.mac, packet.Broadcast, packet.ARP{Request: true, SenderMAC: h.mac,
		Sender: packet.AddrFrom(h.addr), Target: packet.AddrFrom(addr("172.16.100.1"))})
	say(who)
	if got := at(h.mac); got != 1 {
		t.Fatalf("%d answers to its ARP request, want 1", got)
	}
	say(l.build(h, "172.16.100.1", 1, nil, pingLayer(), payload(8)))
	if got := at(h.mac); got != 1 {
		t.Errorf("%d answers to its ping, want 1", got)
	}
	l.none("vlan100")
}

// BenchmarkAmongRouters is a packet to a floating IP of the last of many routers on one network, and the
// answer. What it costs does not grow with the routers.
func BenchmarkAmongRouters(b *testing.B) {
	for _, routers := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(routers), func(b *testing.B) {
			s := newSim(b, manyRouters(b, routers, 1, 1))
			k := routers - 1
			floating, inside := fmt.Sprintf("10.%d.%d.2", k%250, k/250), fmt.Sprint("net", k)
			client, server := s.host("ext_net", "10.255.0.9"), s.host(inside, "192.168.1.2")
			out := interfaces(s.nets["ext_net"])[k].MAC
			there := s.build(client, floating, 17, nil, udpLayer(), payload(18))
			copy(there, out[:])
			s.put("ext_net", there)
			s.one(inside)
			back := s.build(server, "10.255.0.9", 17, nil, udpLayer(), payload(18))
			s.put(inside, back)
			if got := s.take("ext_net"); len(got) == 0 {
				b.Fatalf("no answer; drops %v", s.stats().Drops)
			}
			type end struct {
				in    *wire.Port
				frame []byte
			}
			var ends [2]end
			for i, network := range []string{"ext_net", inside} {
				ends[i] = end{s.nets[network].Ports[0],
					append(make([]byte, tap.HeaderLen), [][]byte{there, back}[i]...)}
				ends[i].in.Link.Dev = &nullDevice{}
			}
			w := s.w
			f := &w.Frames[0]
			b.ReportAllocs()
			for b.Loop() {
				for i := range ends {
					f.Head = tap.Headroom
					f.Tail = f.Head + copy(f.Buf[f.Head:], ends[i].frame)
					ends[i].in.Take(&w.Turn, f)
				}
				w.Flush()
			}
			if sent := ends[0].in.Link.Dev.(*nullDevice).taken; sent < b.N {
				b.Fatalf("%d answers", sent)
			}
		})
	}
}
