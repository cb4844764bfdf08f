package router

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/neighbor"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// tutorial is the network of examples/126-vip-behind-floating-ip.toml, with
// every default resolved.
func tutorial() *file.Topology {
	n := file.NAT{Mapping: "endpoint-independent", Filtering: "address-dependent", MaxConnections: 1 << 16,
		HostShare: 0.5,
		PortMin:   1024, PortMax: 65535, Timeouts: file.Timeouts{UDP: 5 * time.Minute, ICMP: time.Minute,
			TCPEstablished: 2*time.Hour + 4*time.Minute, TCPTransitory: 4 * time.Minute, TCPOpening: 4 * time.Minute,
			TCPClosing: 4 * time.Minute, Fragment: 30 * time.Second}}
	return &file.Topology{
		NAT: n,
		Networks: []file.Network{
			{Name: "vlan100", MTU: 1500, Subnets: []file.Subnet{{CIDR: prefix("172.16.100.0/24"),
				Gateway: addr("172.16.100.1")}}},
			{Name: "vlan101", MTU: 1500, Subnets: []file.Subnet{{CIDR: prefix("172.16.101.0/24"),
				Gateway: addr("172.16.101.1")}}},
			{Name: "ext_net", MTU: 1500, External: true,
				Subnets: []file.Subnet{{CIDR: prefix("10.10.10.0/24"), Gateway: addr("10.10.10.1")}}},
		},
		Routers: []file.Router{{
			Name: "router_100_101", NAT: &n,
			Interfaces: []file.RouterInterface{
				{Network: "vlan100", Addresses: []netip.Prefix{prefix("172.16.100.1/24")}},
				{Network: "vlan101", Addresses: []netip.Prefix{prefix("172.16.101.1/24")}},
			},
			Gateway: &file.RouterGateway{Network: "ext_net", Address: addr("10.10.10.2"),
				Prefix:  prefix("10.10.10.2/24"),
				NextHop: addr("10.10.10.1"), SNAT: true},
			Routes: []file.Route{{Destination: prefix("192.168.10.0/24"), NextHop: addr("172.16.100.254")}},
		}},
		FloatingIPs: []file.FloatingIP{
			{Network: "ext_net", Address: addr("10.10.10.3"), FixedIP: addr("172.16.101.3"), Router: "router_100_101"},
			{Network: "ext_net", Address: addr("10.10.10.7"), FixedIP: addr("172.16.100.11"), Router: "router_100_101"},
			{Network: "ext_net", Address: addr("10.10.10.8"), Router: "router_100_101",
				PortForwarding: []file.PortForward{
					{Protocol: file.TCP, ExternalPort: 2222, FixedIP: addr("172.16.101.4"), Port: 22}}},
		},
		Pools: []file.Pool{{Name: "web servers", Protocol: file.TCP, Algorithm: "ROUND_ROBIN", OnMemberDown: "keep",
			OnMemberRemoved: "drain",
			Members: []file.Member{
				{Name: "WEB1", Address: addr("172.16.100.9"), Port: 80, Weight: 1, AdminStateUp: true},
				{Name: "WEB2", Address: addr("172.16.100.10"), Port: 80, Weight: 1, AdminStateUp: true},
			}}},
		VIPs: []file.VIP{{Name: "web-vip", Network: "vlan100", Address: addr("172.16.100.11"), Protocol: file.TCP,
			Port: 80,
			Pool: "web servers", Router: "router_100_101"}},
	}
}

// A lesson is the tutorial's network with its hosts.
type lesson struct {
	*sim
	web1, web2, vm3, vm4, client, upstream *simHost
}

func newLesson(t testing.TB) *lesson { return newLessonOf(t, tutorial()) }

// newLessonOf is the tutorial's network with something changed.
func newLessonOf(t testing.TB, topo *file.Topology) *lesson {
	s := newSim(t, topo)
	return &lesson{
		sim: s, web1: s.host("vlan100", "172.16.100.9"), web2: s.host("vlan100", "172.16.100.10"),
		vm3: s.host("vlan101", "172.16.101.3"), vm4: s.host("vlan101", "172.16.101.4"),
		client: s.host("ext_net", "10.10.10.4"), upstream: s.host("ext_net", "10.10.10.1"),
	}
}

func TestEastWestKeepsAddresses(t *testing.T) {
	l := newLesson(t)
	l.udp(l.vm3, 4000, "172.16.100.9", 53, "hello")
	got := l.one("vlan100")
	l.want(got, "udp 172.16.101.3:4000 > 172.16.100.9:53")
	if got.ip.TTL != 63 {
		t.Errorf("TTL %d, want 63", got.ip.TTL)
	}
	l.udp(l.web1, 53, "172.16.101.3", 4000, "there")
	l.want(l.one("vlan101"), "udp 172.16.100.9:53 > 172.16.101.3:4000")
}

func TestSNATKeepsPortAndRefusesOutside(t *testing.T) {
	l := newLesson(t)
	l.udp(l.vm4, 4000, "8.8.8.8", 53, "hello")
	l.want(l.one("ext_net"), "udp 10.10.10.2:4000 > 8.8.8.8:53")
	l.udp(l.web1, 4000, "8.8.8.8", 53, "hello") // the port is taken
	got := l.one("ext_net")
	if got.udp.SrcPort == 4000 || got.udp.SrcPort%2 != 0 || got.udp.SrcPort < 1024 {
		t.Errorf("port %d, want another even one", got.udp.SrcPort)
	}
	l.udp(l.client, 53, "10.10.10.2", 4000, "stranger")
	l.none("vlan101")
	l.dropped(DropFiltered, 1)
	l.udp(l.client, 53, "172.16.101.4", 4000, "stranger")
	l.none("vlan101")
	l.dropped(DropPolicy, 1)
	l.tcp(l.client, 53, "10.10.10.2", 4001, "S")
	l.none("ext_net")
	l.dropped(DropNoMapping, 1)
}

func TestSNATAnswers(t *testing.T) {
	l := newLesson(t)
	far := l.host("ext_net", "8.8.8.8")
	far.mac = l.upstream.mac
	l.udp(l.vm4, 4000, "8.8.8.8", 53, "hello")
	l.one("ext_net")
	l.udp(far, 53, "10.10.10.2", 4000, "answer")
	l.want(l.one("vlan101"), "udp 8.8.8.8:53 > 172.16.101.4:4000")
	l.udp(far, 54, "10.10.10.2", 4000, "another port of the same address")
	l.want(l.one("vlan101"), "udp 8.8.8.8:54 > 172.16.101.4:4000")
	l.udp(l.vm4, 4000, "10.10.10.4", 99, "same mapping")
	l.want(l.one("ext_net"), "udp 10.10.10.2:4000 > 10.10.10.4:99")
	l.advance(5*time.Minute + time.Second)
	l.udp(far, 53, "10.10.10.2", 4000, "too late")
	l.none("vlan101")
}

// The destination of an echo request has no identifier: a mapping of identifier
// 0 must not take the pings that are for the router.
func TestEchoToTheSNATAddressIsForTheRouter(t *testing.T) {
	l := newLesson(t)
	l.ping(l.vm4, "10.10.10.4", 0, 1)
	l.want(l.one("ext_net"), "icmp 10.10.10.2 > 10.10.10.4 type 8 id 0 seq 1")
	l.ping(l.client, "10.10.10.2", 7, 1)
	l.want(l.one("ext_net"), "icmp 10.10.10.2 > 10.10.10.4 type 0 id 7 seq 1")
	l.none("vlan101")
	l.pong(l.client, "10.10.10.2", 0, 1)
	l.want(l.one("vlan101"), "icmp 10.10.10.4 > 172.16.101.4 type 0 id 0 seq 1")
}

func TestFloatingIPBothWays(t *testing.T) {
	l := newLesson(t)
	l.ping(l.client, "10.10.10.3", 77, 1)
	l.want(l.one("vlan101"), "icmp 10.10.10.4 > 172.16.101.3 type 8 id 77 seq 1")
	l.pong(l.vm3, "10.10.10.4", 77, 1)
	l.want(l.one("ext_net"), "icmp 10.10.10.3 > 10.10.10.4 type 0 id 77 seq 1")
	l.tcp(l.vm3, 5000, "10.10.10.4", 80, "S")
	l.want(l.one("ext_net"), "tcp 10.10.10.3:5000 > 10.10.10.4:80 S")
	l.tcp(l.client, 80, "10.10.10.3", 5000, "S.")
	l.want(l.one("vlan101"), "tcp 10.10.10.4:80 > 172.16.101.3:5000 S.")
}

func TestVIPRoundRobinThroughFloatingIP(t *testing.T) {
	l := newLesson(t)
	for i, member := range []string{"172.16.100.9", "172.16.100.10", "172.16.100.9", "172.16.100.10"} {
		l.tcp(l.client, 4000+i, "10.10.10.7", 80, "S")
		got := l.one("vlan100")
		l.want(got, "tcp 10.10.10.4:"+itoa(4000+i)+" > "+member+":80 S")
		l.tcp(l.client, 4000+i, "10.10.10.7", 80, "S") // again: the same member
		l.want(l.one("vlan100"), "tcp 10.10.10.4:"+itoa(4000+i)+" > "+member+":80 S")
	}
	l.tcp(l.web2, 80, "10.10.10.4", 4003, "S.")
	l.want(l.one("ext_net"), "tcp 10.10.10.7:80 > 10.10.10.4:4003 S.")
	l.tcp(l.client, 5000, "172.16.100.11", 80, "S") // by its internal address: no
	l.none("vlan100")
	l.dropped(DropPolicy, 1)
}

func TestVIPFromInside(t *testing.T) {
	l := newLesson(t)
	l.tcp(l.vm3, 4000, "172.16.100.11", 80, "S")
	l.want(l.one("vlan100"), "tcp 172.16.101.3:4000 > 172.16.100.9:80 S") // the client's address is kept
	l.tcp(l.web1, 80, "172.16.101.3", 4000, "S.")
	l.want(l.one("vlan101"), "tcp 172.16.100.11:80 > 172.16.101.3:4000 S.")
	l.tcp(l.web1, 4000, "172.16.100.11", 80, "S") // from the members' own subnet
	l.want(l.one("vlan100"), "tcp 172.16.100.1:4000 > 172.16.100.10:80 S")
	l.tcp(l.web2, 80, "172.16.100.1", 4000, "S.")
	l.want(l.one("vlan100"), "tcp 172.16.100.11:80 > 172.16.100.9:4000 S.")
	l.tcp(l.web1, 4001, "172.16.100.11", 80, "S") // a member, to itself
	l.want(l.one("vlan100"), "tcp 172.16.100.1:4001 > 172.16.100.9:80 S")
}

func TestHairpin(t *testing.T) {
	l := newLesson(t)
	l.tcp(l.vm3, 4000, "10.10.10.7", 80, "S") // a floating IP's sender shows its own
	l.want(l.one("vlan100"), "tcp 10.10.10.3:4000 > 172.16.100.9:80 S")
	l.tcp(l.web1, 80, "10.10.10.3", 4000, "S.")
	l.want(l.one("vlan101"), "tcp 10.10.10.7:80 > 172.16.101.3:4000 S.")
	l.tcp(l.vm4, 4000, "10.10.10.7", 80, "S") // no floating IP: the router's
	l.want(l.one("vlan100"), "tcp 10.10.10.2:4000 > 172.16.100.10:80 S")
	l.tcp(l.vm3, 4001, "10.10.10.3", 22, "S") // to itself
	l.want(l.one("vlan101"), "tcp 10.10.10.3:4001 > 172.16.101.3:22 S")
	l.tcp(l.vm3, 22, "10.10.10.3", 4001, "S.")
	l.want(l.one("vlan101"), "tcp 10.10.10.3:22 > 172.16.101.3:4001 S.")
}

func TestHairpinOverMappings(t *testing.T) {
	for _, filtering := range []string{"endpoint-independent", "address-dependent", "address-and-port-dependent"} {
		topo := tutorial()
		topo.Routers[0].NAT.Filtering = filtering // that is about the outside
		l := newLessonOf(t, topo)
		l.udp(l.vm4, 4000, "10.10.10.2", 5000, "hi") // no mapping there yet: the router itself refuses
		l.want(l.one("vlan101"), "icmp 10.10.10.2 > 172.16.101.4 type 3 code 3 about udp 172.16.101.4:4000 > "+
			"10.10.10.2:5000")
		l.udp(l.vm4, 4000, "10.10.10.4", 9, "open")
		l.one("ext_net")
		l.udp(l.web1, 5000, "10.10.10.2", 4000, "hi")
		l.want(l.one("vlan101"), "udp 10.10.10.2:5000 > 172.16.101.4:4000")
		l.udp(l.vm4, 4000, "10.10.10.2", 5000, "hi yourself")
		l.want(l.one("vlan100"), "udp 10.10.10.2:4000 > 172.16.100.9:5000")
	}
}

// A host may talk to itself by its own external address, from the same port: the
// answers must not look like what they answer.
func TestHairpinToOneself(t *testing.T) {
	l := newLesson(t)
	l.udp(l.vm3, 123, "10.10.10.3", 123, "floating IP")
	got := l.one("vlan101")
	if got.ip.SrcIP.String() != "10.10.10.3" || got.udp.SrcPort == 123 || got.udp.DstPort != 123 {
		t.Errorf("got %v", got)
	}
	l.udp(l.vm3, 123, "10.10.10.3", int(got.udp.SrcPort), "answer")
	l.want(l.one("vlan101"), "udp 10.10.10.3:123 > 172.16.101.3:123")

	l.udp(l.vm4, 4000, "10.10.10.4", 9, "open")
	l.one("ext_net")
	l.udp(l.vm4, 4000, "10.10.10.2", 4000, "mapping")
	got = l.one("vlan101")
	if got.ip.SrcIP.String() != "10.10.10.2" || got.udp.SrcPort == 4000 || got.udp.DstPort != 4000 {
		t.Errorf("got %v", got)
	}
	l.udp(l.vm4, 4000, "10.10.10.2", int(got.udp.SrcPort), "answer")
	l.want(l.one("vlan101"), "udp 10.10.10.2:4000 > 172.16.101.4:4000")
}

func TestPortForwarding(t *testing.T) {
	l := newLesson(t)
	l.tcp(l.client, 4000, "10.10.10.8", 2222, "S")
	l.want(l.one("vlan101"), "tcp 10.10.10.4:4000 > 172.16.101.4:22 S")
	l.tcp(l.vm4, 22, "10.10.10.4", 4000, "S.")
	l.want(l.one("ext_net"), "tcp 10.10.10.8:2222 > 10.10.10.4:4000 S.")
	l.tcp(l.client, 4000, "10.10.10.8", 23, "S")
	l.want(l.one("ext_net"), "tcp 10.10.10.8:23 > 10.10.10.4:4000 R.")
	l.ping(l.client, "10.10.10.8", 1, 1)
	l.want(l.one("ext_net"), "icmp 10.10.10.8 > 10.10.10.4 type 0 id 1 seq 1")
}

func TestClosedPortsAreUsedAgain(t *testing.T) {
	l := newLesson(t)
	shake := func(member *simHost, name string) {
		t.Helper()
		l.tcp(l.client, 4000, "10.10.10.7", 80, "S")
		l.want(l.one("vlan100"), "tcp 10.10.10.4:4000 > "+name+":80 S")
		l.tcp(member, 80, "10.10.10.4", 4000, "S.")
		l.tcp(l.client, 4000, "10.10.10.7", 80, ".")
		l.tcp(l.client, 4000, "10.10.10.7", 80, "F.")
		l.tcp(member, 80, "10.10.10.4", 4000, "F.")
		l.tcp(l.client, 4000, "10.10.10.7", 80, ".")
		l.take("vlan100")
		l.take("ext_net")
	}
	shake(l.web1, "172.16.100.9")
	shake(l.web2, "172.16.100.10") // the same port, a new connection: the next member's turn
}

func TestTCPOutOfNowhere(t *testing.T) {
	l := newLesson(t)
	l.tcp(l.vm4, 4000, "10.10.10.4", 80, ".") // its external port is not known
	l.none("ext_net")
	l.tcp(l.client, 4000, "10.10.10.7", 80, ".") // nor its member
	l.none("vlan100")
	l.dropped(DropNotSYN, 2)
	l.tcp(l.vm3, 4000, "10.10.10.4", 80, ".") // one to one: picked up in the middle
	l.want(l.one("ext_net"), "tcp 10.10.10.3:4000 > 10.10.10.4:80 .")
	l.tcp(l.vm3, 4000, "172.16.100.9", 80, ".")
	l.want(l.one("vlan100"), "tcp 172.16.101.3:4000 > 172.16.100.9:80 .")
}

func TestMSSClamp(t *testing.T) {
	topo := tutorial()
	topo.Networks[2].MTU = 1400
	topo.Routers[0].NAT.MSSClamp = true
	s := newSim(t, topo)
	vm4, client := s.host("vlan101", "172.16.101.4"), s.host("ext_net", "10.10.10.4")
	syn := func(h *simHost, dst string, sport, dport layers.TCPPort, ack bool) sent {
		s.put(h.net, s.build(h, dst, layers.IPProtocolTCP, nil,
			&layers.TCP{SrcPort: sport, DstPort: dport, SYN: true, ACK: ack,
				Options: []layers.TCPOption{{OptionType: 1},
					{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}}}}))
		return s.one(map[string]string{"vlan101": "ext_net", "ext_net": "vlan101"}[h.net])
	}
	for _, got := range []sent{syn(vm4, "10.10.10.4", 4000, 80, false), syn(client, "10.10.10.2", 80, 4000, true)} {
		if mss := binary.BigEndian.Uint16(got.tcp.Options[1].OptionData); mss != 1360 {
			t.Errorf("%v: MSS %d, want 1360", got, mss)
		}
	}
}

func TestSourceRoutesAreRefused(t *testing.T) {
	l := newLesson(t)
	for i, option := range []uint8{131, 137} {
		l.udp(l.vm3, 1, "172.16.100.9", 2, "x", func(ip *layers.IPv4) {
			ip.Options = []layers.IPv4Option{{OptionType: 1},
				{OptionType: option, OptionLength: 7, OptionData: []byte{4, 10, 10, 10, 4}}}
		})
		l.none("vlan100")
		l.dropped(DropSourceRoute, uint64(i+1))
	}
	l.udp(l.vm3, 1, "172.16.100.9", 2, "x", func(ip *layers.IPv4) {
		ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}} // router alert
	})
	l.want(l.one("vlan100"), "udp 172.16.101.3:1 > 172.16.100.9:2")
}

func TestClientOfTheMembersNetworkButAnotherSubnetKeepsItsAddress(t *testing.T) {
	topo := tutorial()
	topo.Routers[0].Interfaces[0].Addresses = append(topo.Routers[0].Interfaces[0].Addresses, prefix("172.16.200.1/24"))
	s := newSim(t, topo)
	s.host("vlan100", "172.16.100.9")
	h := s.host("vlan100", "172.16.200.5")
	s.tcp(h, 4000, "172.16.100.11", 80, "S")
	s.want(s.one("vlan100"), "tcp 172.16.200.5:4000 > 172.16.100.9:80 S")
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// One host scans a large network behind the router. It has so many addresses asked
// for, and no more; another network's hosts are asked for meanwhile, and reached.
func TestScanOfAbsentNeighbors(t *testing.T) {
	topo := tutorial()
	topo.Networks[2].Subnets[0].CIDR = prefix("10.10.0.0/16")
	topo.Routers[0].Gateway.Prefix = prefix("10.10.10.2/16")
	l := newLessonOf(t, topo)
	l.udp(l.web1, 4000, "10.10.10.4", 53, "known") // the scanner's mapping is no news either
	l.one("ext_net")
	l.takeARP("ext_net")
	const scanned, left = 3000, neighbor.AskBurst - 1 // the known one has been asked for
	for i := range scanned {
		l.put("vlan100", l.build(l.web1, fmt.Sprintf("10.10.%d.%d", 100+i/200, 1+i%200), 17, nil, udpLayer(),
			payload(18)))
	}
	if asked := len(l.takeARP("ext_net")); asked != left {
		t.Errorf("%d requests, want %d", asked, left)
	}
	l.dropped(DropNeighborRate, scanned-left)
	l.udp(l.vm4, 4001, "10.10.10.1", 53, "hello")
	l.want(l.one("ext_net"), "udp 10.10.10.2:4001 > 10.10.10.1:53")
	l.udp(l.web1, 4000, "10.10.10.4", 53, "still known")
	l.one("ext_net")
}
