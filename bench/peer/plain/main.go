// Plain is the router that one writes in an afternoon with songgao/water and
// google/gopacket: a goroutine for each direction reads a packet, decodes it, looks
// into a map, changes the layers and serializes them. The benchmarks compare
// taprouter with it.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
)

var (
	internal = netip.MustParsePrefix("172.16.100.0/24")
	inAddr   = netip.MustParseAddr("172.16.100.1")
	outAddr  = netip.MustParseAddr("10.10.10.2")
	floating = netip.MustParseAddr("10.10.10.3")
	fixed    = netip.MustParseAddr("172.16.100.9")
	vip      = netip.MustParseAddr("10.10.10.7")
	members  = []netip.Addr{fixed, netip.MustParseAddr("172.16.100.10")}
	// The next hops to what lies behind the two hosts.
	routes = map[netip.Prefix]netip.Addr{
		netip.MustParsePrefix("10.99.0.0/16"):  netip.MustParseAddr("10.10.10.4"),
		netip.MustParsePrefix("172.30.0.0/16"): fixed,
	}
)

// A side is one of the two networks.
type side struct {
	dev   *water.Interface
	mac   net.HardwareAddr
	owned map[netip.Addr]bool

	mu        sync.Mutex
	neighbors map[netip.Addr]net.HardwareAddr
}

// A tuple is a packet's addresses and ports.
type tuple struct {
	proto            layers.IPProtocol
	src, dst         netip.Addr
	srcPort, dstPort uint16
}

func (t tuple) reverse() tuple {
	return tuple{t.proto, t.dst, t.src, t.dstPort, t.srcPort}
}

// A router has two sides and a map of connections: from the packet as it comes
// to the packet as it leaves.
type router struct {
	mode  string
	sides [2]*side // inside, outside

	mu       sync.Mutex
	conns    map[tuple]tuple
	lastPort uint16
	turn     int
}

// maxConns keeps the map from growing without end: then it starts anew.
const maxConns = 4_000_000

func main() {
	in := flag.String("in", "in", "inside device")
	out := flag.String("out", "out", "outside device")
	mode := flag.String("mode", "snat", "route, snat, fip or vip")
	flag.Parse()
	r := &router{mode: *mode, conns: map[tuple]tuple{}, lastPort: 1024}
	for i, name := range []string{*in, *out} {
		s, err := open(name)
		if err != nil {
			log.Fatal(err)
		}
		s.mac = net.HardwareAddr{2, 0, 0, 0, 1, byte(i)}
		r.sides[i] = s
	}
	r.sides[0].owned = map[netip.Addr]bool{inAddr: true}
	r.sides[1].owned = map[netip.Addr]bool{outAddr: true, floating: true, vip: true}
	for i := range r.sides {
		go r.forward(r.sides[i], r.sides[1-i], i == 0)
	}
	fmt.Println("ready")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	<-end
}

func open(name string) (*side, error) {
	dev, err := water.New(water.Config{DeviceType: water.TAP, PlatformSpecificParams: water.PlatformSpecificParams{Name: name}})
	if err != nil {
		return nil, err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	return &side{dev: dev, neighbors: map[netip.Addr]net.HardwareAddr{}}, netlink.LinkSetUp(link)
}

// forward reads one side for good.
func (r *router) forward(from, to *side, outward bool) {
	b := make([]byte, 2048)
	for {
		n, err := from.dev.Read(b)
		if err != nil {
			time.Sleep(10 * time.Millisecond) // it may be down for a moment, while it is moved
			continue
		}
		p := gopacket.NewPacket(b[:n], layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
			from.arp(arp)
			continue
		}
		eth, ok1 := p.LinkLayer().(*layers.Ethernet)
		ip, ok2 := p.NetworkLayer().(*layers.IPv4)
		if !ok1 || !ok2 || ip.TTL < 2 {
			continue
		}
		r.packet(to, eth, ip, p.TransportLayer(), outward)
	}
}

// packet translates one packet and sends it.
func (r *router) packet(to *side, eth *layers.Ethernet, ip *layers.IPv4, transport gopacket.TransportLayer, outward bool) {
	src, _ := netip.AddrFromSlice(ip.SrcIP)
	dst, _ := netip.AddrFromSlice(ip.DstIP)
	t := tuple{proto: ip.Protocol, src: src, dst: dst}
	parts := []gopacket.SerializableLayer{eth, ip}
	var payload []byte
	switch l := transport.(type) {
	case *layers.TCP:
		t.srcPort, t.dstPort = uint16(l.SrcPort), uint16(l.DstPort)
		u := r.translate(t, outward)
		ip.SrcIP, ip.DstIP = u.src.AsSlice(), u.dst.AsSlice()
		l.SrcPort, l.DstPort = layers.TCPPort(u.srcPort), layers.TCPPort(u.dstPort)
		_ = l.SetNetworkLayerForChecksum(ip)
		parts, payload, dst = append(parts, l), l.Payload, u.dst
	case *layers.UDP:
		t.srcPort, t.dstPort = uint16(l.SrcPort), uint16(l.DstPort)
		u := r.translate(t, outward)
		ip.SrcIP, ip.DstIP = u.src.AsSlice(), u.dst.AsSlice()
		l.SrcPort, l.DstPort = layers.UDPPort(u.srcPort), layers.UDPPort(u.dstPort)
		_ = l.SetNetworkLayerForChecksum(ip)
		parts, payload, dst = append(parts, l), l.Payload, u.dst
	default:
		payload = ip.Payload
	}
	ip.TTL--
	if !to.resolve(dst, eth) {
		return
	}
	buf := gopacket.NewSerializeBuffer()
	opt := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opt, append(parts, gopacket.Payload(payload))...); err != nil {
		return
	}
	_, _ = to.dev.Write(buf.Bytes())
}

// translate looks a packet up, and makes a connection for a new one.
func (r *router) translate(t tuple, outward bool) tuple {
	if r.mode == "route" {
		return t
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if u, ok := r.conns[t]; ok {
		return u
	}
	u := t
	switch {
	case r.mode == "snat" && outward:
		u.src, u.srcPort = outAddr, r.freePort(u)
	case r.mode == "fip" && outward && t.src == fixed:
		u.src = floating
	case r.mode == "fip" && t.dst == floating:
		u.dst = fixed
	case r.mode == "vip" && t.dst == vip:
		u.dst = members[r.turn%len(members)]
		r.turn++
	default:
		return t
	}
	if len(r.conns) >= maxConns {
		clear(r.conns)
	}
	r.conns[t], r.conns[u.reverse()] = u, t.reverse()
	return u
}

// freePort keeps the sender's port if it can, else takes the next free one.
func (r *router) freePort(u tuple) uint16 {
	u.src = outAddr
	for {
		if _, taken := r.conns[u.reverse()]; !taken {
			return u.srcPort
		}
		r.lastPort = max(1024, r.lastPort+1)
		u.srcPort = r.lastPort
	}
}

// arp learns who is there, and answers for the router.
func (s *side) arp(a *layers.ARP) {
	sender, _ := netip.AddrFromSlice(a.SourceProtAddress)
	target, _ := netip.AddrFromSlice(a.DstProtAddress)
	s.mu.Lock()
	s.neighbors[sender] = net.HardwareAddr(append([]byte(nil), a.SourceHwAddress...))
	s.mu.Unlock()
	if a.Operation == layers.ARPRequest && s.owned[target] {
		s.sendARP(layers.ARPReply, target, sender, a.SourceHwAddress)
	}
}

func (s *side) sendARP(op uint16, from, to netip.Addr, mac net.HardwareAddr) {
	dst, asked := mac, mac
	if op == layers.ARPRequest {
		dst, asked = layers.EthernetBroadcast, make(net.HardwareAddr, 6)
	}
	buf := gopacket.NewSerializeBuffer()
	_ = gopacket.SerializeLayers(buf, gopacket.SerializeOptions{},
		&layers.Ethernet{SrcMAC: s.mac, DstMAC: dst, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: op, SourceHwAddress: s.mac, SourceProtAddress: from.AsSlice(), DstHwAddress: asked, DstProtAddress: to.AsSlice()})
	_, _ = s.dev.Write(buf.Bytes())
}

// resolve writes the Ethernet addresses towards a destination. A packet to
// somebody unknown is lost; the sender will try again.
func (s *side) resolve(dst netip.Addr, eth *layers.Ethernet) bool {
	for prefix, via := range routes {
		if prefix.Contains(dst) {
			dst = via
		}
	}
	s.mu.Lock()
	mac, ok := s.neighbors[dst]
	s.mu.Unlock()
	if !ok {
		from := outAddr
		if internal.Contains(dst) {
			from = inAddr
		}
		s.sendARP(layers.ARPRequest, from, dst, nil)
		return false
	}
	eth.SrcMAC, eth.DstMAC = s.mac, mac
	return true
}
