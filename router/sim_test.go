package router

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// A sim is a topology in simulated time: frames in, frames out, a clock that
// only Advance moves. Hosts answer ARP and nothing else.
type sim struct {
	*Simulation
	t     testing.TB
	w     *shard   // the only one, mostly
	all   []*shard // all of them
	nets  map[string]*wire.Network
	names []string // of the networks, in the order of the topology
	hosts map[hostKey]*simHost
}

// A hostKey tells hosts apart: tenants may use the same addresses.
type hostKey struct {
	net  string
	addr netip.Addr
}

// A simHost is an address on a network.
type simHost struct {
	net  string
	addr netip.Addr
	mac  packet.MAC
	mute bool // does not answer ARP
}

// newSim starts a topology, with a plain device on every network.
func newSim(t testing.TB, topo *file.Topology) *sim { return newSimOn(t, topo, nil) }

// newSimOn is newSim with the devices of the topology, if open is not nil.
func newSimOn(t testing.TB, topo *file.Topology, open func(config.Device) (tap.Device, error)) *sim {
	t.Helper()
	simulation, err := simulate(stateOf(t, topo), 1, true, open)
	if err != nil {
		t.Fatal(err)
	}
	s := &sim{Simulation: simulation, t: t, all: simulation.workers, w: simulation.workers[0],
		nets: simulation.view.Load().networks, hosts: map[hostKey]*simHost{}}
	for i := range topo.Networks {
		s.names = append(s.names, topo.Networks[i].Name)
	}
	t.Cleanup(s.checkBooks)
	t.Cleanup(s.checkDirectories)
	return s
}

// checkBooks: every frame received has exactly one verdict.
func (s *sim) checkBooks() {
	st := s.stats()
	if sum := st.Forwarded + st.Consumed + st.Dropped() + st.Parked; sum != st.Received {
		s.t.Errorf("received %d frames, but %d forwarded + %d consumed + %d dropped + %d parked", st.Received,
			st.Forwarded, st.Consumed, st.Dropped(), st.Parked)
	}
	byReason := map[DropReason]uint64{}
	for _, d := range st.DropsAt {
		byReason[d.Reason] += d.Frames
		if !slices.Contains(d.Reason.Stages(), d.Stage) {
			s.t.Errorf("%d frames dropped at %v: %v, of which its reason says nothing", d.Frames, d.Stage, d.Reason)
		}
	}
	if !maps.Equal(byReason, st.Drops) {
		s.t.Errorf("drops by reason are %v, by stage %v", st.Drops, st.DropsAt)
	}
}

// stats adds up what the workers have counted.
func (s *sim) stats() Stats {
	t := tally{Stats: Stats{Drops: map[DropReason]uint64{}}}
	for _, w := range s.all {
		t.add(w)
	}
	return t.stats()
}

func (s *sim) host(network, addr string) *simHost {
	h := &simHost{net: network, addr: netip.MustParseAddr(addr)}
	b := h.addr.As4()
	h.mac = packet.MAC{2, 0, b[0], b[1], b[2], b[3]}
	s.hosts[hostKey{network, h.addr}] = h
	return h
}

// routerMAC is the router's address on a network.
func (s *sim) routerMAC(network string) packet.MAC { return interfaces(s.nets[network])[0].MAC }

// macTo is the router's address on a network to which packets for dst go: that of the router that has dst there, else
// of the first.
func (s *sim) macTo(network, dst string) packet.MAC {
	for _, st := range s.nets[network].Directory.Owners[packet.AddrFrom(netip.MustParseAddr(dst))] {
		return st.MAC
	}
	return s.routerMAC(network)
}

// put hands a frame to the router and runs it until nothing moves.
func (s *sim) put(network string, eth []byte) {
	s.putFrame(network, append(make([]byte, tap.HeaderLen), eth...))
}

func (s *sim) putFrame(network string, b []byte) {
	d := s.devs[network]
	d.in = append(d.in, tap.Frame{Buf: b, Tail: len(b)})
	s.run()
}

// run lets the router work, and the hosts answer ARP, until nothing moves.
func (s *sim) run() {
	s.t.Helper()
	for range 100 {
		if err := s.Run(); err != nil {
			s.t.Fatal(err)
		}
		if !s.answer() {
			return
		}
	}
	s.t.Fatal("it does not come to rest")
}

// answer lets the hosts answer the ARP requests among the frames out.
func (s *sim) answer() bool {
	any := false
	for _, name := range s.names {
		d := s.devs[name]
		var rest []tap.Frame
		for _, f := range d.out {
			m, ok := packet.DecodeARP(f.Ethernet())
			if !ok {
				rest = append(rest, f)
				continue
			}
			h := s.hosts[hostKey{name, m.Target.Netip()}]
			if !m.Request || m.Sender == m.Target || h == nil || h.mute {
				rest = append(rest, f)
				continue
			}
			b := make([]byte, tap.HeaderLen+packet.ARPLen)
			packet.PutARP(b[tap.HeaderLen:], h.mac, m.SenderMAC, packet.ARP{
				SenderMAC: h.mac, Sender: m.Target, TargetMAC: m.SenderMAC, Target: m.Sender})
			d.in = append(d.in, tap.Frame{Buf: b, Tail: len(b)})
			any = true
		}
		d.out = rest
	}
	return any
}

// advance moves the clock in steps that no timer falls between.
func (s *sim) advance(d time.Duration) {
	s.t.Helper()
	for end := s.now + d; s.now < end; {
		if _, err := s.Step(end); err != nil {
			s.t.Fatal(err)
		}
		s.run()
	}
}

// take returns the IPv4 frames that the router has sent to a network.
func (s *sim) take(network string) []sent {
	var out []sent
	for _, f := range s.devs[network].out {
		if binary.BigEndian.Uint16(f.Ethernet()[12:]) == packet.EtherTypeIPv4 {
			out = append(out, s.describe(f))
		}
	}
	s.devs[network].out = nil
	return out
}

// takeARP returns the ARP frames.
func (s *sim) takeARP(network string) []packet.ARP {
	var out []packet.ARP
	for _, f := range s.devs[network].out {
		if m, ok := packet.DecodeARP(f.Ethernet()); ok {
			out = append(out, m)
		}
	}
	s.devs[network].out = nil
	return out
}

// one is take for exactly one frame.
func (s *sim) one(network string) sent {
	s.t.Helper()
	got := s.take(network)
	if len(got) != 1 {
		s.t.Fatalf("want one frame on %s, got %d: %v; drops %v", network, len(got), got, s.stats().Drops)
	}
	return got[0]
}

// none fails if the router has sent anything to a network.
func (s *sim) none(network string) {
	s.t.Helper()
	if got := s.take(network); len(got) != 0 {
		s.t.Fatalf("want nothing on %s, got %v", network, got)
	}
}

// dropped fails unless a reason has been counted n times since the last call.
func (s *sim) dropped(r DropReason, n uint64) {
	s.t.Helper()
	if got := s.w.Stats.Dropped[r]; got != n {
		s.t.Fatalf("drops %v: got %d, want %d; all: %v", r, got, n, s.stats().Drops)
	}
}

// A sent frame is what a test looks at. Its checksums have been found right.
type sent struct {
	eth  []byte
	vnet []byte
	ip   *layers.IPv4
	tcp  *layers.TCP
	udp  *layers.UDP
	icmp *layers.ICMPv4
}

// String is the frame in one line, the form that tests compare.
func (f sent) String() string {
	src, dst := f.ip.SrcIP.String(), f.ip.DstIP.String()
	switch {
	case f.tcp != nil:
		flags := ""
		for _, x := range []struct {
			on   bool
			name string
		}{{f.tcp.SYN, "S"}, {f.tcp.FIN, "F"}, {f.tcp.RST, "R"}, {f.tcp.PSH, "P"}, {f.tcp.ACK, "."}} {
			if x.on {
				flags += x.name
			}
		}
		return fmt.Sprintf("tcp %s:%d > %s:%d %s", src, f.tcp.SrcPort, dst, f.tcp.DstPort, flags)
	case f.udp != nil:
		return fmt.Sprintf("udp %s:%d > %s:%d", src, f.udp.SrcPort, dst, f.udp.DstPort)
	case f.icmp != nil:
		t, c := f.icmp.TypeCode.Type(), f.icmp.TypeCode.Code()
		if t == 0 || t == 8 {
			return fmt.Sprintf("icmp %s > %s type %d id %d seq %d", src, dst, t, f.icmp.Id, f.icmp.Seq)
		}
		return fmt.Sprintf("icmp %s > %s type %d code %d about %s", src, dst, t, c, quoteString(f.icmp.Payload))
	}
	return fmt.Sprintf("proto %d %s > %s off %d", f.ip.Protocol, src, dst, f.ip.FragOffset*8)
}

// quoteString is the packet that an ICMP error quotes.
func quoteString(b []byte) string {
	if len(b) < 28 {
		return "nothing"
	}
	h := int(b[0]&15) * 4
	src, dst := net.IP(b[12:16]), net.IP(b[16:20])
	if b[9] == packet.ProtoICMP {
		return fmt.Sprintf("icmp %s > %s id %d", src, dst, binary.BigEndian.Uint16(b[h+4:]))
	}
	return fmt.Sprintf("%s %s:%d > %s:%d", packet.ProtoName(b[9]), src, binary.BigEndian.Uint16(b[h:]), dst,
		binary.BigEndian.Uint16(b[h+2:]))
}

func (s *sim) describe(f tap.Frame) sent {
	s.t.Helper()
	eth := f.Ethernet()
	p := gopacket.NewPacket(eth, layers.LayerTypeEthernet, gopacket.Default)
	out := sent{eth: eth, vnet: f.Header()}
	out.ip, _ = p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	out.tcp, _ = p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	out.udp, _ = p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	out.icmp, _ = p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if out.ip == nil {
		s.t.Fatalf("not IPv4: %x", eth)
	}
	ip := eth[packet.EthernetLen:]
	h := int(ip[0]&15) * 4
	if packet.Sum(ip[:h]) != 0xffff {
		s.t.Errorf("wrong IP checksum: %v", out)
	}
	if f.Header()[0] == 0 && out.ip.FragOffset == 0 && out.ip.Flags&layers.IPv4MoreFragments == 0 {
		s.checkTransport(ip[:out.ip.Length], out)
	}
	return out
}

// checkTransport recomputes a transport checksum.
func (s *sim) checkTransport(ip []byte, f sent) {
	h := int(ip[0]&15) * 4
	again := append([]byte(nil), ip...)
	if ip[9] == packet.ProtoUDP && ip[h+6] == 0 && ip[h+7] == 0 {
		return
	}
	packet.SetTransportChecksum(again)
	if string(again) != string(ip) {
		s.t.Errorf("wrong transport checksum: %v\n got %x\nwant %x", f, ip, again)
	}
}

// An ipOpt changes the IP header of a built packet.
type ipOpt func(*layers.IPv4)

func ttl(n uint8) ipOpt  { return func(ip *layers.IPv4) { ip.TTL = n } }
func df(ip *layers.IPv4) { ip.Flags |= layers.IPv4DontFragment }

// build makes a frame from h to its gateway.
func (s *sim) build(h *simHost, dst string, proto layers.IPProtocol, opts []ipOpt,
	l4 ...gopacket.SerializableLayer) []byte {
	s.t.Helper()
	mac := s.macTo(h.net, dst)
	eth := &layers.Ethernet{SrcMAC: h.mac[:], DstMAC: mac[:], EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Id: 7, Protocol: proto, SrcIP: h.addr.AsSlice(),
		DstIP: netip.MustParseAddr(dst).AsSlice()}
	for _, o := range opts {
		o(ip)
	}
	for _, l := range l4 {
		if n, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := n.SetNetworkLayerForChecksum(ip); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	buf := gopacket.NewSerializeBuffer()
	all := append([]gopacket.SerializableLayer{eth, ip}, l4...)
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		all...); err != nil {
		s.t.Fatal(err)
	}
	return buf.Bytes()
}

func (s *sim) udp(h *simHost, sport int, dst string, dport int, payload string, opts ...ipOpt) {
	s.t.Helper()
	s.put(h.net, s.build(h, dst, layers.IPProtocolUDP, opts,
		&layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}, gopacket.Payload(payload)))
}

func (s *sim) tcp(h *simHost, sport int, dst string, dport int, flags string, opts ...ipOpt) {
	s.t.Helper()
	l := &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: 1000, Ack: 1000,
		Window: 65535}
	l.SYN, l.ACK, l.FIN = strings.Contains(flags, "S"), strings.Contains(flags, "."), strings.Contains(flags, "F")
	l.RST, l.PSH = strings.Contains(flags, "R"), strings.Contains(flags, "P")
	s.put(h.net, s.build(h, dst, layers.IPProtocolTCP, opts, l))
}

func (s *sim) ping(h *simHost, dst string, id, seq int, opts ...ipOpt) {
	s.t.Helper()
	s.put(h.net, s.build(h, dst, layers.IPProtocolICMPv4, opts,
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: uint16(id), Seq: uint16(seq)},
		gopacket.Payload("0123456789")))
}

func (s *sim) pong(h *simHost, dst string, id, seq int) {
	s.t.Helper()
	s.put(h.net, s.build(h, dst, layers.IPProtocolICMPv4, nil,
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(0, 0), Id: uint16(id), Seq: uint16(seq)},
		gopacket.Payload("0123456789")))
}

// icmpError sends an ICMP error from h about a packet that the router sent out.
func (s *sim) icmpError(h *simHost, dst string, typ, code uint8, about sent) {
	s.t.Helper()
	quote := about.eth[packet.EthernetLen:]
	s.put(h.net, s.build(h, dst, layers.IPProtocolICMPv4, nil,
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, code)},
		gopacket.Payload(quote[:min(len(quote), 548)])))
}

// want fails unless a frame reads as expected.
func (s *sim) want(got sent, want string) {
	s.t.Helper()
	if got.String() != want {
		s.t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// payload serializes to n bytes that differ from each other.
func (n payload) SerializeTo(b gopacket.SerializeBuffer, _ gopacket.SerializeOptions) error {
	bytes, err := b.PrependBytes(int(n))
	for i := range bytes {
		bytes[i] = byte(i * 7)
	}
	return err
}

// LayerType makes payload a layer.
func (payload) LayerType() gopacket.LayerType { return gopacket.LayerTypePayload }

func udpLayer() *layers.UDP { return &layers.UDP{SrcPort: 4000, DstPort: 53} }

func pingLayer() *layers.ICMPv4 {
	return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 1, Seq: 1}
}

func tcpLayer() *layers.TCP {
	return &layers.TCP{SrcPort: 4000, DstPort: 80, SYN: true, Window: 65535}
}

// stateOf is the State of a topology made by hand.
func stateOf(t testing.TB, topo *file.Topology) *config.State {
	t.Helper()
	if err := topo.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := topo.State()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ownAddresses are the addresses that the router answers for at the interface, in ascending order.
func ownAddresses(i *ip.Interface) []packet.Addr {
	var all []packet.Addr
	for addr, o := range i.Router.Owned.All() {
		if o.At == i {
			all = append(all, addr)
		}
	}
	return all
}

// interfaces are those of the routers on a network.
func interfaces(n *wire.Network) []*ip.Interface {
	var all []*ip.Interface
	for _, s := range n.Routers {
		all = append(all, s.Owner.(*ip.Interface))
	}
	return all
}
