package router_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// served has a network whose router has the gateway's address, and one without a router.
const served = `
[[network]]
name = "blue"
[[network.subnet]]
cidr = "10.1.0.0/24"
dhcp = true
allocation_pools = ["10.1.0.100-10.1.0.110"]
dns_nameservers = ["9.9.9.9"]
[[network]]
name = "lone"
[[network.subnet]]
cidr = "10.2.0.0/24"
dhcp = true
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/24"
[[router]]
name = "r1"
interfaces = ["blue"]
gateway = { network = "ext", address = "203.0.113.2" }
[[port]]
name = "web-1"
network = "blue"
mac = "02:00:00:00:00:11"
fixed_ip = "10.1.0.11"
`

func servedState(t testing.TB, text string) *config.State {
	t.Helper()
	f, err := file.Read("served.toml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f.State()
}

func simulateServed(t testing.TB, text string) *router.Simulation {
	t.Helper()
	s, err := router.Simulate(servedState(t, text), 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	everyone = packet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	webMAC   = packet.MAC{2, 0, 0, 0, 0, 0x11}
)

// A datagram is a UDP packet in an Ethernet frame.
type datagram struct {
	from, to packet.MAC
	src, dst netip.AddrPort
	payload  []byte
}

// frame is the datagram behind a virtio-net header. partial: its checksum is left to the card.
func (d datagram) frame(partial bool) []byte {
	b := make([]byte, tap.HeaderLen+packet.EthernetLen+packet.IPv4Len+packet.UDPLen+len(d.payload))
	eth := b[tap.HeaderLen:]
	copy(eth, d.to[:])
	copy(eth[6:], d.from[:])
	binary.BigEndian.PutUint16(eth[12:], packet.EtherTypeIPv4)
	ip := eth[packet.EthernetLen:]
	ip[0], ip[8], ip[9] = 0x45, 64, packet.ProtoUDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	packet.AddrFrom(d.src.Addr()).Put(ip[12:])
	packet.AddrFrom(d.dst.Addr()).Put(ip[16:])
	udp := ip[packet.IPv4Len:]
	binary.BigEndian.PutUint16(udp, d.src.Port())
	binary.BigEndian.PutUint16(udp[2:], d.dst.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[packet.UDPLen:], d.payload)
	packet.SetIPv4Checksum(ip)
	packet.SetTransportChecksum(ip)
	if partial {
		pseudo := append(append([]byte{}, ip[12:20]...), 0, packet.ProtoUDP, udp[4], udp[5])
		binary.BigEndian.PutUint16(udp[6:], packet.Sum(pseudo))
		h := virtio.Header{Flags: virtio.NeedsChecksum, CsumStart: packet.EthernetLen + packet.IPv4Len, CsumOffset: 6}
		h.Put(b)
	}
	return b
}

// datagramOf reads a UDP packet, and checks its checksums.
func datagramOf(t testing.TB, f tap.Frame) datagram {
	t.Helper()
	var p packet.Packet
	if fault := p.Parse(f.Ethernet(), f.Header()); fault != packet.FaultNone || p.Proto != packet.ProtoUDP {
		t.Fatalf("no UDP packet: %s", packet.Summary(f.Ethernet()))
	}
	udp := p.Eth[p.L4:p.End]
	was := binary.BigEndian.Uint16(udp[6:])
	packet.SetTransportChecksum(p.Eth[packet.EthernetLen:p.End])
	if is := binary.BigEndian.Uint16(udp[6:]); is != was {
		t.Errorf("checksum %#x, want %#x", was, is)
	}
	return datagram{p.SourceMAC(), packet.MAC(p.Eth[:6]), netip.AddrPortFrom(p.Src.Netip(), p.SrcPort),
		netip.AddrPortFrom(p.Dst.Netip(), p.DstPort), udp[packet.UDPLen:]}
}

func hardware(m packet.MAC) net.HardwareAddr { return m[:] }

// discover is a broadcast DISCOVER of a client.
func discover(t testing.TB, mac packet.MAC, mods ...dhcpv4.Modifier) datagram {
	t.Helper()
	m, err := dhcpv4.NewDiscovery(hardware(mac), append(mods, dhcpv4.WithRequestedOptions(dhcpv4.OptionHostName))...)
	if err != nil {
		t.Fatal(err)
	}
	return broadcasts(mac, m)
}

func broadcasts(mac packet.MAC, m *dhcpv4.DHCPv4) datagram {
	return datagram{mac, everyone, netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"),
		m.ToBytes()}
}

// answers are the DHCP messages that a network has got.
func answers(t testing.TB, s *router.Simulation, network string) (all []datagram, messages []*dhcpv4.DHCPv4) {
	t.Helper()
	for _, f := range s.Take(network) {
		if binary.BigEndian.Uint16(f.Ethernet()[12:]) != packet.EtherTypeIPv4 {
			continue
		}
		d := datagramOf(t, f)
		m, err := dhcpv4.FromBytes(d.payload)
		if err != nil {
			t.Fatal(err)
		}
		all, messages = append(all, d), append(messages, m)
	}
	return all, messages
}

func put(t testing.TB, s *router.Simulation, network string, frame []byte) {
	t.Helper()
	if err := s.Put(network, frame); err != nil {
		t.Fatal(err)
	}
}

// lease gets a client its lease by DISCOVER and REQUEST, and returns the acknowledgement.
func lease(t testing.TB, s *router.Simulation, network string, mac packet.MAC) (datagram, *dhcpv4.DHCPv4) {
	t.Helper()
	s.Take(network)
	put(t, s, network, discover(t, mac).frame(false))
	_, offers := answers(t, s, network)
	if len(offers) != 1 || offers[0].MessageType() != dhcpv4.MessageTypeOffer {
		t.Fatalf("offers: %v", offers)
	}
	rq, err := dhcpv4.NewRequestFromOffer(offers[0], dhcpv4.WithRequestedOptions(dhcpv4.OptionHostName))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, network, broadcasts(mac, rq).frame(false))
	all, acks := answers(t, s, network)
	if len(acks) != 1 || acks[0].MessageType() != dhcpv4.MessageTypeAck {
		t.Fatalf("acknowledgements: %v", acks)
	}
	return all[0], acks[0]
}

func gatewayMAC(t testing.TB, s *config.State, network string) packet.MAC {
	t.Helper()
	for p := range s.Ports() {
		if n := s.Network(p.Network); n.Name == network && p.DeviceOwner == config.OwnerInterface {
			return packet.MAC(p.MAC)
		}
	}
	t.Fatalf("network %s has no router", network)
	return packet.MAC{}
}

func serverPort(s *config.State, network string) *config.Port {
	for n := range s.Networks() {
		if n.Name == network {
			return s.DHCPPort(n.ID)
		}
	}
	return nil
}

func TestDHCPFromTheGatewaysAddress(t *testing.T) {
	s := simulateServed(t, served)
	if err := s.Run(); err != nil { // announcements
		t.Fatal(err)
	}
	before := s.Stats()
	d, ack := lease(t, s, "blue", webMAC)
	if got := ack.YourIPAddr.String(); got != "10.1.0.11" {
		t.Errorf("the port's address is 10.1.0.11, and it got %v", got)
	}
	if got := ack.ServerIdentifier().String(); got != "10.1.0.1" {
		t.Errorf("server %v, want the gateway", got)
	}
	if got := ack.HostName(); got != "web-1" {
		t.Errorf("host name %q", got)
	}
	if d.from != gatewayMAC(t, s.State(), "blue") || d.src != netip.MustParseAddrPort("10.1.0.1:67") {
		t.Errorf("the answer is from %v %v", d.from, d.src)
	}
	if d.to != webMAC || d.dst != netip.MustParseAddrPort("10.1.0.11:68") {
		t.Errorf("the answer is to %v %v", d.to, d.dst)
	}
	if serverPort(s.State(), "blue") != nil {
		t.Error("a server at the gateway's address needs no port")
	}
	after := s.Stats()
	if after.Consumed-before.Consumed != 2 || after.Made-before.Made != 2 {
		t.Errorf("consumed %d, made %d", after.Consumed-before.Consumed, after.Made-before.Made)
	}
}

func TestDHCPToAnybodyOnANetworkOfAFile(t *testing.T) {
	s := simulateServed(t, served)
	_, ack := lease(t, s, "blue", packet.MAC{2, 0, 0, 0, 0, 0x77})
	a, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if a.Less(netip.MustParseAddr("10.1.0.100")) || netip.MustParseAddr("10.1.0.110").Less(a) {
		t.Errorf("%v is not of the pool", a)
	}
}

// Under port security a host without a port may use the address that it has leased, until the lease is released.
func TestDHCPBindsLeases(t *testing.T) {
	s := simulateServed(t, strings.Replace(served, `name = "blue"`, "name = \"blue\"\nport_security = true", 1))
	mac := packet.MAC{2, 0, 0, 0, 0, 0x77}
	gateway := netip.MustParseAddrPort("10.1.0.1:9")
	router1 := gatewayMAC(t, s.State(), "blue")
	spoofed := func(when string, from netip.Addr, want string) {
		t.Helper()
		var before, after [2]uint64
		count := func(n *[2]uint64) {
			d := s.Stats().Drops
			n[0], n[1] = d[router.DropSpoofedMAC], d[router.DropSpoofedIP]
		}
		count(&before)
		put(t, s, "blue", datagram{mac, router1, netip.AddrPortFrom(from, 1), gateway, nil}.frame(false))
		count(&after)
		got := "passes"
		switch {
		case after[0] > before[0]:
			got = router.DropSpoofedMAC.String()
		case after[1] > before[1]:
			got = router.DropSpoofedIP.String()
		}
		if got != want {
			t.Errorf("%s, from %v: %s, want %s", when, from, got, want)
		}
	}
	other := netip.MustParseAddr("10.1.0.50")
	spoofed("before", other, "spoofed-mac")
	_, ack := lease(t, s, "blue", mac)
	leased, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	spoofed("with a lease", leased, "passes")
	spoofed("with a lease", other, "spoofed-ip")
	rel, err := dhcpv4.New(dhcpv4.WithMessageType(dhcpv4.MessageTypeRelease), dhcpv4.WithHwAddr(hardware(mac)),
		dhcpv4.WithClientIP(ack.YourIPAddr), dhcpv4.WithServerIP(ack.ServerIPAddr),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(ack.ServerIdentifier())))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "blue", datagram{mac, router1, netip.AddrPortFrom(leased, 68), netip.MustParseAddrPort("10.1.0.1:67"),
		rel.ToBytes()}.frame(false))
	spoofed("released", leased, "spoofed-mac")
}

func TestDHCPWithAnUnfinishedChecksum(t *testing.T) {
	s := simulateServed(t, served)
	put(t, s, "blue", discover(t, webMAC).frame(true))
	if _, offers := answers(t, s, "blue"); len(offers) != 1 {
		t.Fatal("no offer")
	}
	b := discover(t, webMAC).frame(true)
	clear(b[:tap.HeaderLen]) // the mark was lost on the way
	put(t, s, "blue", b)
	if _, offers := answers(t, s, "blue"); len(offers) != 1 {
		t.Error("no offer where only the mark was lost")
	}
	b = discover(t, webMAC).frame(false)
	b[len(b)-1] ^= 0x55
	put(t, s, "blue", b)
	if _, offers := answers(t, s, "blue"); len(offers) != 0 {
		t.Error("a broken message was answered")
	}
}

func TestDHCPOfANetworkWithoutARouter(t *testing.T) {
	s := simulateServed(t, served)
	p := serverPort(s.State(), "lone")
	if p == nil {
		t.Fatal("the network has no port for its DHCP server")
	}
	server := p.FixedIPs[0].Address
	client := packet.MAC{2, 0, 0, 0, 0, 9}
	d, ack := lease(t, s, "lone", client)
	if d.from != packet.MAC(p.MAC) || d.src.Addr() != server {
		t.Errorf("the answer is from %v %v, want %v %v", d.from, d.src, p.MAC, server)
	}
	own, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if own == server {
		t.Fatal("the client got the server's address")
	}

	arp := make([]byte, tap.HeaderLen+packet.ARPLen)
	packet.PutARP(arp[tap.HeaderLen:], client, everyone, packet.ARP{
		Request: true, SenderMAC: client, Sender: packet.AddrFrom(own), Target: packet.AddrFrom(server),
	})
	put(t, s, "lone", arp)
	got := s.Take("lone")
	if len(got) != 1 {
		t.Fatalf("%d answers to ARP", len(got))
	}
	if m, ok := packet.DecodeARP(got[0].Ethernet()); !ok || m.Request || m.SenderMAC != packet.MAC(p.MAC) {
		t.Errorf("answer %s", packet.Summary(got[0].Ethernet()))
	}

	ping := datagram{client, packet.MAC(p.MAC), netip.AddrPortFrom(own, 0), netip.AddrPortFrom(server, 0),
		[]byte("payload")}.frame(false)
	ip := ping[tap.HeaderLen+packet.EthernetLen:]
	ip[9] = packet.ProtoICMP
	copy(ip[packet.IPv4Len:], []byte{packet.ICMPEcho, 0, 0, 0, 0, 7, 0, 1})
	packet.SetIPv4Checksum(ip)
	packet.SetTransportChecksum(ip)
	put(t, s, "lone", ping)
	if got = s.Take("lone"); len(got) != 1 {
		t.Fatalf("%d answers to a ping", len(got))
	}
	var reply packet.Packet
	if fault := reply.Parse(got[0].Ethernet(), nil); fault != packet.FaultNone || reply.Type != packet.ICMPEchoReply ||
		reply.Src.Netip() != server || reply.Dst.Netip() != own {
		t.Errorf("answer %s, fault %v", packet.Summary(got[0].Ethernet()), fault)
	}

	renew := renewal(t, client, own)
	put(t, s, "lone", datagram{client, packet.MAC(p.MAC), netip.AddrPortFrom(own, 68), netip.AddrPortFrom(server, 67),
		renew.ToBytes()}.frame(false))
	if d, acks := answers(t, s, "lone"); len(acks) != 1 || acks[0].MessageType() != dhcpv4.MessageTypeAck ||
		d[0].dst != netip.AddrPortFrom(own, 68) {
		t.Errorf("a renewal was answered by %v", acks)
	}
}

func renewal(t testing.TB, mac packet.MAC, own netip.Addr) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := dhcpv4.New(dhcpv4.WithHwAddr(hardware(mac)), dhcpv4.WithClientIP(own.AsSlice()),
		dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A client that renews its lease sends to the router, whose stages have to give the packet to the service.
func TestDHCPThroughTheRoutersOwnAddress(t *testing.T) {
	s := simulateServed(t, served)
	gateway, own := gatewayMAC(t, s.State(), "blue"), netip.MustParseAddr("10.1.0.11")
	lease(t, s, "blue", webMAC)
	renew := datagram{webMAC, gateway, netip.AddrPortFrom(own, 68), netip.MustParseAddrPort("10.1.0.1:67"),
		renewal(t, webMAC, own).ToBytes()}
	var trace bytes.Buffer
	s.Trace(&trace)
	put(t, s, "blue", renew.frame(false))
	if d, acks := answers(t, s, "blue"); len(acks) != 1 || acks[0].MessageType() != dhcpv4.MessageTypeAck ||
		d[0].from != gateway || d[0].to != webMAC {
		t.Errorf("a renewal was answered by %v", acks)
	}
	if !strings.Contains(trace.String(), "to the local services of blue") {
		t.Errorf("the trace does not show it:\n%s", &trace)
	}
	s.Trace(nil)

	// From outside, and at an address that the router has on another network, nothing is served.
	put(t, s, "ext", datagram{packet.MAC{2, 0, 0, 0, 0, 5}, externalMAC(s.State()),
		netip.MustParseAddrPort("203.0.113.9:68"), netip.MustParseAddrPort("203.0.113.2:67"),
		renew.payload}.frame(false))
	renew.dst = netip.MustParseAddrPort("203.0.113.2:67")
	put(t, s, "blue", renew.frame(false))
	for _, network := range []string{"blue", "ext"} {
		for _, f := range s.Take(network) {
			if p := (packet.Packet{}); p.Parse(f.Ethernet(), nil) == packet.FaultNone && p.Proto == packet.ProtoUDP {
				t.Errorf("network %s got %s", network, packet.Summary(f.Ethernet()))
			}
		}
	}
	if got := s.Stats().Drops[router.DropRefused]; got != 2 {
		t.Errorf("%d packets refused, want 2", got)
	}
}

func externalMAC(s *config.State) packet.MAC {
	for p := range s.Ports() {
		if p.DeviceOwner == config.OwnerGateway {
			return packet.MAC(p.MAC)
		}
	}
	return packet.MAC{}
}

// Changes of the State reach the services at once.
func TestDHCPFollowsTheState(t *testing.T) {
	s := simulateServed(t, served)
	offers := func(network string) int {
		t.Helper()
		s.Take(network)
		put(t, s, network, discover(t, webMAC).frame(false))
		d, _ := answers(t, s, network)
		return len(d)
	}
	apply := func(text string) {
		t.Helper()
		if _, err := s.Apply(t.Context(), servedState(t, text)); err != nil {
			t.Fatal(err)
		}
	}
	if n := offers("blue"); n != 1 {
		t.Fatalf("%d offers", n)
	}
	off := strings.Replace(served, "dhcp = true\nallocation", "allocation", 1)
	apply(off)
	if n := offers("blue"); n != 0 {
		t.Errorf("%d offers without DHCP", n)
	}
	apply(served)
	if n := offers("blue"); n != 1 {
		t.Errorf("%d offers with DHCP again", n)
	}
	alone := strings.Replace(served, `interfaces = ["blue"]`, "", 1)
	apply(alone)
	p := serverPort(s.State(), "blue")
	if p == nil {
		t.Fatal("a network whose router is gone has no port for its server")
	}
	put(t, s, "blue", discover(t, webMAC).frame(false))
	d, m := answers(t, s, "blue")
	if len(m) != 1 || d[0].src.Addr() != p.FixedIPs[0].Address || d[0].from != packet.MAC(p.MAC) {
		t.Errorf("answers %v", d)
	}
	apply("[[network]]\nname = \"lone\"\n")
	if n := offers("lone"); n != 0 {
		t.Errorf("%d offers of a subnet that is gone", n)
	}
	apply(served)
	if n := offers("blue"); n != 1 {
		t.Errorf("%d offers of a network that is back", n)
	}
}

// Nobody but the client hears its answer, though it asks for a broadcast.
func TestDHCPAnswersAtThePortThatAsked(t *testing.T) {
	e, err := router.Start(servedState(t, served), router.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var ends [3]tap.Device
	var told [3]chan struct{}
	for i := range ends {
		if ends[i], err = e.Attach("blue", 0); err != nil {
			t.Fatal(err)
		}
		told[i] = make(chan struct{}, 1)
		ends[i].Notify(func() {
			select {
			case told[i] <- struct{}{}:
			default:
			}
		})
	}
	send := func(i int, b []byte) {
		t.Helper()
		if _, err := ends[i].Write([]tap.Frame{{Buf: b, Tail: len(b)}}); err != nil {
			t.Fatal(err)
		}
	}
	b := discover(t, webMAC, dhcpv4.WithBroadcast(true)).frame(false)
	send(1, b)
	if _, m := receive(t, ends[1], told[1]); m.MessageType() != dhcpv4.MessageTypeOffer {
		t.Fatalf("got %v", m)
	}
	// A frame from port 1 to the others comes after whatever they have got before.
	marker := discover(t, packet.MAC{2, 0, 0, 0, 0, 1})
	marker.dst = netip.MustParseAddrPort("255.255.255.255:9")
	send(1, marker.frame(false))
	for _, i := range []int{0, 2} {
		for {
			d, m := receive(t, ends[i], told[i])
			if d.dst.Port() == 9 {
				break
			}
			if m.OpCode == dhcpv4.OpcodeBootReply {
				t.Errorf("port %d has got the answer of another one", i)
			}
		}
	}
}

// receive waits for a UDP packet.
func receive(t testing.TB, dev tap.Device, told chan struct{}) (datagram, *dhcpv4.DHCPv4) {
	t.Helper()
	frames := []tap.Frame{{Buf: make([]byte, tap.SlotLen)}}
	for {
		n, err := dev.Read(frames)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			select {
			case <-told:
			case <-time.After(time.Minute):
				t.Fatal("nothing came")
			}
			continue
		}
		eth := frames[0].Ethernet()
		if binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 {
			continue
		}
		d := datagramOf(t, frames[0])
		m, err := dhcpv4.FromBytes(d.payload)
		if err != nil {
			t.Fatal(err)
		}
		return d, m
	}
}

// A flood takes no more memory than the queue, and its frames are counted.
func TestDHCPFloodIsBounded(t *testing.T) {
	s := simulateServed(t, served)
	for i := range 3000 {
		put(t, s, "blue", discover(t, webMAC).frame(false))
		if i == 0 {
			s.Take("blue")
		}
	}
	st := s.Stats()
	if got := st.Drops[router.DropServiceRate]; got < 2900 {
		t.Errorf("%d messages of one client dropped by the limit, stats %+v", got, st.Drops)
	}
	if _, ack := lease(t, s, "blue", packet.MAC{2, 0, 0, 0, 0, 0x78}); ack == nil {
		t.Error("another client is not served")
	}
}

// Many networks with services change one at a time.
func BenchmarkApplyPortWithDHCP(b *testing.B) {
	var text strings.Builder
	text.WriteString(served)
	for i := range 5000 {
		fmt.Fprintf(&text, "[[port]]\nname = \"p%d\"\nnetwork = \"lone\"\n"+
			"mac = \"02:00:00:01:%02x:%02x\"\n", i, i>>8, i&255)
	}
	s := simulateServed(b, strings.Replace(text.String(), "10.2.0.0/24", "10.2.0.0/16", 1))
	var p *config.Port
	for p = range s.State().Ports() {
		if p.Name == "p9" {
			break
		}
	}
	i := 0
	for b.Loop() {
		d := s.State().Edit()
		c := *p
		i++
		c.Description = fmt.Sprint(i)
		d.Put(&c)
		to, faults := d.Check()
		if to == nil {
			b.Fatal(faults)
		}
		if _, err := s.Apply(b.Context(), to); err != nil {
			b.Fatal(err)
		}
	}
}
