package router

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// manyRouters is n routers with so many floating IPs each on one external network, and as many workers
// at most. Router K is at 10.K.0.1, its floating IPs from 10.K.0.2 on, its tenant network is netK; from 250 on
// at 10.K%250.K/250.1. The network's own gateway is 10.255.0.1.
func manyRouters(t testing.TB, n, floating, workers int) *file.Topology {
	t.Helper()
	var s strings.Builder
	fmt.Fprintf(&s, "[engine]\nworkers = %d\n", workers)
	s.WriteString("[[network]]\nname = \"ext_net\"\nexternal = true\n" +
		"  [[network.subnet]]\n  cidr = \"10.0.0.0/8\"\n  gateway = \"10.255.0.1\"\n")
	for i := range n {
		fmt.Fprintf(&s, "[[network]]\nname = \"net%[1]d\"\n  [[network.subnet]]\n  cidr = \"192.168.1.0/24\"\n"+
			"[[router]]\nname = \"router%[1]d\"\ninterfaces = [\"net%[1]d\"]\n"+
			"gateway = { network = \"ext_net\", address = \"10.%[2]d.%[3]d.1\" }\n", i, i%250, i/250)
		for k := range floating {
			fmt.Fprintf(&s, "[[floating_ip]]\nnetwork = \"ext_net\"\naddress = \"10.%[3]d.%[4]d.%[2]d\"\n"+
				"fixed_ip = \"192.168.1.%[2]d\"\nrouter = \"router%[1]d\"\n", i, k+2, i%250, i/250)
		}
	}
	topo, err := file.Parse("test.toml", strings.NewReader(s.String()))
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// checkDirectories: what a network knows of its routers is what these have, no more and no less.
func (s *sim) checkDirectories() {
	for name, n := range s.nets {
		type entry struct {
			addr  packet.Addr
			iface *wire.Station
			mac   packet.MAC
		}
		want, got := map[entry]bool{}, map[entry]bool{}
		for _, i := range interfaces(n) {
			for _, addr := range ownAddresses(i) {
				want[entry{addr, &i.Station, i.MAC}] = true
			}
			i.Router.Neighbors.Each(func(n *neighbor.Neighbor) {
				e := entry{addr: n.Addr, iface: &i.Station}
				if n.State == neighbor.Reachable {
					e.mac = n.MAC
				}
				if n.Iface == i.ID {
					want[e] = true
				}
			})
		}
		for addr, all := range n.Directory.Owners {
			for _, i := range all {
				got[entry{addr, i, i.MAC}] = true
			}
		}
		for addr, all := range n.Directory.Knowers {
			for _, k := range all {
				got[entry{addr, k.Station, k.MAC}] = true
			}
		}
		if len(got) != len(want) {
			s.t.Errorf("the directory of %s has %d entries, its routers have %d", name, len(got), len(want))
		}
		for e := range want {
			if !got[e] {
				s.t.Errorf("the directory of %s does not say that %v is known to %q", name, e.addr.Netip(),
					e.iface.Owner.(*ip.Interface).Router.Name)
			}
		}
	}
}

// broadcast puts an ARP message with the broadcast address in.
func (s *sim) broadcast(network string, m packet.ARP) {
	s.t.Helper()
	s.put(network, packet.PutARP(make([]byte, packet.ARPLen), m.SenderMAC, packet.Broadcast, m))
}

// request is a host's broadcast for an address.
func request(h *simHost, target string) packet.ARP {
	return packet.ARP{Request: true, SenderMAC: h.mac, Sender: packet.AddrFrom(h.addr),
		Target: packet.AddrFrom(addr(target))}
}

// Nothing is dropped when a hundred routers with a thousand floating IPs start on one network, and no
// router hears what another one announces.
func TestManyRoutersStartWithoutDrops(t *testing.T) {
	for _, workers := range []int{1, 3} {
		s := newSim(t, manyRouters(t, 100, 10, workers))
		if len(s.all) != workers {
			t.Fatalf("%d workers", len(s.all))
		}
		for _, name := range s.names {
			s.nets[name].Announce()
		}
		s.run()
		s.advance(10 * time.Second)
		st := s.stats()
		if len(st.Drops) != 0 || st.Received != 0 || st.Made != 3*(1000+100+100) {
			t.Errorf("%d workers: drops %v, %d frames received, %d made", workers, st.Drops, st.Received, st.Made)
		}
		// All at once they ask for their gateway, and each for another router.
		s.host("ext_net", "10.255.0.1")
		for i := range 100 {
			h := s.host(fmt.Sprint("net", i), "192.168.1.2")
			s.udp(h, 4000, "198.51.100.7", 53, "out")
			s.udp(h, 4000, fmt.Sprintf("10.%d.0.2", (i+1)%100), 53, "to the next one")
		}
		st = s.stats()
		// A packet each, two ARP replies each; the request and the packet at the next router, the request
		// of that, and the answers to these.
		if len(st.Drops) != 0 || st.Received > 100*10 {
			t.Errorf("%d workers: drops %v, %d frames received", workers, st.Drops, st.Received)
		}
	}
}

// A request goes to the router that has its target, and to no other router.
func TestRequestGoesToTheOwner(t *testing.T) {
	for _, workers := range []int{1, 3} {
		s := newSim(t, manyRouters(t, 10, 3, workers))
		n := s.nets["ext_net"]
		h := s.host("ext_net", "10.255.0.9")
		for i := range 10 {
			for _, target := range []string{"1", "2", "4"} {
				m := request(h, fmt.Sprintf("10.%d.0.%s", i, target))
				if got := n.Directory.Concerns(nil, &m); len(got) != 1 || got[0].Owner != interfaces(n)[i] {
					t.Errorf("%d routers are asked for %v", len(got), m.Target.Netip())
				}
				s.broadcast("ext_net", m)
				if got := s.takeARP("ext_net"); len(got) != 1 || got[0].SenderMAC != interfaces(n)[i].MAC ||
					got[0].Sender != m.Target {
					t.Errorf("%v is at %v", m.Target.Netip(), got)
				}
			}
		}
		for _, nobodys := range []string{"10.3.0.77", "10.255.0.1", "10.255.0.9", "192.168.1.1", "0.0.0.0"} {
			m := request(h, nobodys)
			if got := n.Directory.Concerns(nil, &m); len(got) != 0 {
				t.Errorf("%d routers are asked for %s", len(got), nobodys)
			}
			s.broadcast("ext_net", m)
			if got := s.takeARP("ext_net"); len(got) != 0 {
				t.Errorf("%s is at %v", nobodys, got)
			}
		}
		if st := s.stats(); len(st.Drops) != 0 || st.Received != 35 {
			t.Errorf("%+v", st)
		}
	}
}

// Several routers know a host. All of them learn its new MAC address: from a request for another host,
// from an announcement, or from a broadcast reply. A router that knows it already is not told again.
func TestRoutersFollowAHost(t *testing.T) {
	for _, workers := range []int{1, 3} {
		s := newSim(t, manyRouters(t, 5, 1, workers))
		n := s.nets["ext_net"]
		h := s.host("ext_net", "10.255.0.9")
		inside := []*simHost{s.host("net0", "192.168.1.2"), s.host("net2", "192.168.1.2"),
			s.host("net4", "192.168.1.2")}
		send := func() {
			t.Helper()
			for _, from := range inside {
				s.udp(from, 4000, "10.255.0.9", 53, "out")
				if got := s.one("ext_net"); packet.MAC(got.eth[:6]) != h.mac {
					t.Errorf("%s sends to %v, want %v", from.net, packet.MAC(got.eth[:6]), h.mac)
				}
			}
		}
		send()
		for i, say := range []func() packet.ARP{
			func() packet.ARP { return request(h, "10.255.0.77") },
			func() packet.ARP { return request(h, "10.255.0.9") },
			func() packet.ARP { return request(h, "10.1.0.1") }, // of one that does not know the host yet
			func() packet.ARP {
				a := packet.AddrFrom(h.addr)
				return packet.ARP{SenderMAC: h.mac, Sender: a, TargetMAC: h.mac, Target: a}
			},
		} {
			h.mac[5] = byte(0x70 + i)
			m := say()
			if got := n.Directory.Concerns(nil, &m); len(got) < 3 || len(got) > 4 ||
				len(slices.Compact(got)) != len(got) {
				t.Errorf("message %d concerns %d routers", i, len(got))
			}
			s.broadcast("ext_net", m)
			s.takeARP("ext_net")
			send()
			if m.Request && m.Target>>16&0xff == 1 {
				continue // its target is asked each time
			}
			if got := n.Directory.Concerns(nil, &m); len(got) != 0 {
				t.Errorf("message %d concerns %d routers, though they know it", i, len(got))
			}
		}
		s.advance(time.Hour)
		if got := len(n.Directory.Knowers); got != 0 {
			t.Errorf("%d hosts are known to somebody after an hour", got)
		}
		if st := s.stats(); len(st.Drops) != 0 {
			t.Errorf("drops %v", st.Drops)
		}
	}
}

// A router that waits for a neighbor gets every message from it.
func TestWaitingRouterHearsAnAnnouncement(t *testing.T) {
	for _, workers := range []int{1, 3} {
		s := newSim(t, manyRouters(t, 5, 1, workers))
		late := s.host("ext_net", "10.255.0.9")
		late.mute = true
		from := s.host("net3", "192.168.1.2")
		s.udp(from, 4000, "10.255.0.9", 53, "where is it?")
		s.advance(time.Second)
		s.none("ext_net")
		s.broadcast("ext_net", request(late, "10.255.0.9"))
		s.want(s.one("ext_net"), "udp 10.3.0.2:4000 > 10.255.0.9:53")
	}
}

// A third router's connection follows a floating IP that moves between two others, and back.
func TestThirdRouterFollowsAMove(t *testing.T) {
	for _, workers := range []int{1, 3} {
		s := newSim(t, manyRouters(t, 5, 2, workers))
		n := s.nets["ext_net"]
		at := map[string]*simHost{"router0": s.host("net0", "192.168.1.9"), "router1": s.host("net1", "192.168.1.9")}
		client := s.host("net2", "192.168.1.9")
		moving := addr("10.0.0.9")
		for _, where := range []string{"router0", "router1", "router0", "router1"} {
			if err := s.AssociateFloatingIPAt(where, moving, addr("192.168.1.9")); err != nil {
				t.Fatal(err)
			}
			s.run()
			m := request(client, "10.0.0.9")
			if got := n.Directory.Concerns(nil, &m); len(got) != 1 ||
				got[0].Owner.(*ip.Interface).Router.Name != where {
				t.Errorf("it is at %s, %d routers say so", where, len(got))
			}
			s.udp(client, 4000, "10.0.0.9", 53, "still there?")
			s.want(s.one(at[where].net), "udp 10.2.0.1:4000 > 192.168.1.9:53")
		}
		if err := s.DisassociateFloatingIP(moving); err != nil {
			t.Fatal(err)
		}
		s.takeARP("ext_net")
		s.broadcast("ext_net", request(s.host("ext_net", "10.255.0.9"), "10.0.0.9"))
		if got := s.takeARP("ext_net"); len(got) != 0 {
			t.Errorf("a floating IP that nobody has is at %v", got)
		}
		s.udp(client, 4000, "10.0.0.9", 53, "nobody")
		if got := s.stats().Drops; len(got) > 1 {
			t.Errorf("drops %v", got)
		}
	}
}

// A conflict is one of the router that has the address, whatever it is that another host says with it.
func TestConflictOnASharedNetwork(t *testing.T) {
	thief := &simHost{net: "ext_net", addr: addr("10.3.0.2"), mac: packet.MAC{2, 0, 0, 0, 0, 9}}
	a := packet.AddrFrom(thief.addr)
	for _, m := range []packet.ARP{
		request(thief, "10.3.0.2"), request(thief, "10.255.0.77"), request(thief, "10.3.0.1"),
		request(thief, "10.4.0.1"),
		{SenderMAC: thief.mac, Sender: a, TargetMAC: thief.mac, Target: a},
		{SenderMAC: thief.mac, Sender: a, Target: packet.AddrFrom(addr("10.255.0.77"))},
	} {
		for _, workers := range []int{1, 3} {
			s := newSim(t, manyRouters(t, 5, 1, workers))
			n := s.nets["ext_net"]
			s.broadcast("ext_net", m)
			defended := 0
			for _, got := range s.takeARP("ext_net") {
				if got.Sender == a && got.Target == a && got.SenderMAC == interfaces(n)[3].MAC {
					defended++
				}
			}
			if st := s.stats(); st.Conflicts != 1 || defended != 1 {
				t.Errorf("%+v: %d conflicts, defended %d times", m, st.Conflicts, defended)
			}
		}
	}
}

// Routers have no use for other broadcasts. Such a broadcast has one verdict, however many routers there
// are, and the other ports get it.
func TestOtherBroadcastsHaveOneVerdict(t *testing.T) {
	for _, workers := range []int{1, 3} {
		s := newSim(t, manyRouters(t, 20, 1, workers))
		h := s.host("ext_net", "10.255.0.9")
		dhcp := s.build(h, "255.255.255.255", 17, nil, &layers.UDP{SrcPort: 68, DstPort: 67}, payload(300))
		copy(dhcp, packet.Broadcast[:])
		six := slices.Clone(dhcp)
		copy(six, []byte{0x33, 0x33, 0, 0, 0, 1})
		six[12], six[13] = 0x86, 0xdd
		broken := packet.PutARP(make([]byte, packet.ARPLen), h.mac, packet.Broadcast, request(h, "10.3.0.1"))
		broken[packet.EthernetLen] = 9
		nobody := packet.ARP{Request: true, SenderMAC: h.mac, Sender: 127<<24 | 1,
			Target: packet.AddrFrom(addr("10.3.0.1"))}
		other := s.addPort("ext_net", "other")
		for _, with := range []bool{true, false} { // the other port
			for _, c := range []struct {
				reason DropReason
				frame  []byte
			}{
				{DropLinkBroadcast, dhcp}, {DropEtherType, six}, {DropARP, broken},
				{DropARPSender, packet.PutARP(make([]byte, packet.ARPLen), h.mac, packet.Broadcast, nobody)},
			} {
				before := s.stats()
				s.put("ext_net", c.frame)
				after := s.stats()
				if with {
					if got := after.Forwarded - before.Forwarded; got != 1 || len(other.out) != 1 ||
						len(after.Drops) != 0 {
						t.Errorf("%v: %d forwarded, %d at the other port", c.reason, got, len(other.out))
					}
					other.out = nil
				} else if after.Drops[c.reason]-before.Drops[c.reason] != 1 || after.Received-before.Received != 1 ||
					after.Dropped()-before.Dropped() != 1 {
					t.Errorf("%v: drops %v before, %v after", c.reason, before.Drops, after.Drops)
				}
			}
			if with {
				ext := s.nets["ext_net"]
				second := ext.Ports[1]
				ext.RemovePort(second)
				ext.Home.RemoveLink(second.Link)
			}
		}
	}
}
