// Plain is the router that one writes with songgao/water and google/gopacket: a
// goroutine per direction reads a frame, decodes its layers, looks into a map,
// changes the layers and serializes them. The benchmarks compare taprouter with it.
//
// It keeps to what the benchmarks send: ICMP and fragments are routed but not
// translated, and nothing is answered but ARP.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
)

type addr [4]byte

func (a addr) ip() net.IP { return a[:] }

var (
	inAddr   = addr{172, 16, 100, 1}
	outAddr  = addr{10, 10, 10, 2}
	floating = addr{10, 10, 10, 3}
	fixed    = addr{172, 16, 100, 9}
	vip      = addr{10, 10, 10, 7}
	vipPorts = []uint16{5201, 7000, 7001, 7002, 7003}
	members  = []addr{fixed, {172, 16, 100, 10}}
)

// routes are few enough to be tried in turn. Without a gateway, a network is on
// the link.
var routes = []struct {
	prefix  []byte // the whole bytes of the network
	via     addr
	outside bool
}{
	{[]byte{172, 16, 100}, addr{}, false},
	{[]byte{10, 10, 10}, addr{}, true},
	{[]byte{172, 30}, fixed, false},
	{[]byte{10, 99}, addr{10, 10, 10, 4}, true},
}

type router struct {
	mode    string
	in, out *port
	table   *table
}

func main() {
	in := flag.String("in", "in", "TAP device towards the internal network")
	out := flag.String("out", "out", "TAP device towards the external network")
	mode := flag.String("mode", "route", "route, snat, fip or vip")
	flag.Parse()
	if !slices.Contains([]string{"route", "snat", "fip", "vip"}, *mode) {
		log.Fatalf("plain: no mode %q", *mode)
	}
	r := &router{mode: *mode, table: newTable()}
	var err error
	if r.in, err = open(*in, net.HardwareAddr{2, 0, 0, 0, 100, 1}, inAddr); err != nil {
		log.Fatal(err)
	}
	if r.out, err = open(*out, net.HardwareAddr{2, 0, 0, 0, 100, 2}, outAddr, floating, vip); err != nil {
		log.Fatal(err)
	}
	for _, p := range []*port{r.in, r.out} {
		go func() { log.Fatal(r.run(p)) }()
	}
	fmt.Println("ready")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	<-end
}

// run forwards what arrives on one port.
func (r *router) run(p *port) error {
	frame := make([]byte, 2048)
	out := gopacket.NewSerializeBuffer()
	for {
		n, err := p.dev.Read(frame)
		if err != nil {
			return fmt.Errorf("plain: read %s: %w", p.dev.Name(), err)
		}
		// The frame is done with before the next one is read, so nothing is copied.
		pkt := gopacket.NewPacket(frame[:n], layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		eth, ok := pkt.LinkLayer().(*layers.Ethernet)
		if !ok {
			continue
		}
		switch eth.EthernetType {
		case layers.EthernetTypeARP:
			if arp, ok := pkt.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
				p.receiveARP(arp)
			}
		case layers.EthernetTypeIPv4:
			r.forward(p, pkt, eth, out)
		}
	}
}

// forward translates and sends one packet, built anew in out.
func (r *router) forward(from *port, pkt gopacket.Packet, eth *layers.Ethernet, out gopacket.SerializeBuffer) {
	ip, ok := pkt.NetworkLayer().(*layers.IPv4)
	if !ok || ip.TTL <= 1 || len(ip.SrcIP) != 4 || len(ip.DstIP) != 4 {
		return
	}
	ip.TTL--
	parts := append(make([]gopacket.SerializableLayer, 0, 4), eth, ip)
	if r.mode == "route" {
		parts = append(parts, gopacket.Payload(ip.Payload))
	} else {
		transport, keep := r.translate(from == r.in, ip, pkt)
		if !keep {
			return
		}
		if transport == nil {
			parts = append(parts, gopacket.Payload(ip.Payload))
		} else {
			parts = append(parts, transport, gopacket.Payload(transport.LayerPayload()))
		}
	}
	hop, to := r.lookup(addr(ip.DstIP))
	if to == nil {
		return
	}
	eth.SrcMAC = to.mac
	eth.DstMAC = to.neighbor(hop)
	known := eth.DstMAC != nil
	if !known {
		eth.DstMAC = make(net.HardwareAddr, 6) // filled in when the answer comes
	}
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(out, opts, parts...); err != nil {
		return
	}
	if !known {
		to.resolve(hop, out.Bytes())
		return
	}
	to.write(out.Bytes())
}

// lookup finds the next hop and the port that leads there.
func (r *router) lookup(dst addr) (addr, *port) {
	for _, rt := range routes {
		if string(dst[:len(rt.prefix)]) != string(rt.prefix) {
			continue
		}
		hop, to := dst, r.in
		if rt.via != (addr{}) {
			hop = rt.via
		}
		if rt.outside {
			to = r.out
		}
		return hop, to
	}
	return addr{}, nil
}

// transportLayer is what TCP and UDP layers have in common.
type transportLayer interface {
	gopacket.SerializableLayer
	LayerPayload() []byte
	SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
}

// translate changes addresses and ports in the layers and returns the one above
// IP, nil if that is to stay as it is. It reports false for a packet to drop.
func (r *router) translate(outward bool, ip *layers.IPv4, pkt gopacket.Packet) (transportLayer, bool) {
	t := tuple{src: addr(ip.SrcIP), dst: addr(ip.DstIP), proto: ip.Protocol}
	var tcp *layers.TCP
	var udp *layers.UDP
	switch l := pkt.TransportLayer().(type) {
	case *layers.TCP:
		tcp, t.srcPort, t.dstPort = l, uint16(l.SrcPort), uint16(l.DstPort)
	case *layers.UDP:
		udp, t.srcPort, t.dstPort = l, uint16(l.SrcPort), uint16(l.DstPort)
	default:
		return nil, true
	}
	u, ok := r.rewritten(t, tcp, outward)
	if !ok {
		return nil, false
	}
	if u == t {
		return nil, true
	}
	ip.SrcIP, ip.DstIP = u.src.ip(), u.dst.ip()
	if tcp != nil {
		tcp.SrcPort, tcp.DstPort = layers.TCPPort(u.srcPort), layers.TCPPort(u.dstPort)
		return tcp, tcp.SetNetworkLayerForChecksum(ip) == nil
	}
	udp.SrcPort, udp.DstPort = layers.UDPPort(u.srcPort), layers.UDPPort(u.dstPort)
	return udp, udp.SetNetworkLayerForChecksum(ip) == nil
}

// rewritten is the tuple that a packet leaves with. Only the modes that spread
// many addresses over one, or one over many, need a table.
func (r *router) rewritten(t tuple, tcp *layers.TCP, outward bool) (tuple, bool) {
	u := t
	switch {
	case r.mode == "fip" && outward && t.src == fixed:
		u.src = floating
		return u, true
	case r.mode == "fip" && !outward && t.dst == floating:
		u.dst = fixed
		return u, true
	case r.mode == "snat" && outward:
		return r.table.translate(t, tcp, masquerade)
	case r.mode == "snat" && t.dst == outAddr:
		return r.table.translate(t, tcp, nil)
	case r.mode == "vip" && !outward && t.dst == vip:
		return r.table.translate(t, tcp, balance)
	case r.mode == "vip" && outward && slices.Contains(members, t.src) && slices.Contains(vipPorts, t.srcPort):
		if u, ok := r.table.translate(t, tcp, nil); ok {
			return u, true
		}
	}
	return t, true
}

// A port is a TAP device and the neighbors behind it.
type port struct {
	dev *water.Interface
	mac net.HardwareAddr
	own []addr // the first one asks

	mu      sync.RWMutex
	known   map[addr]net.HardwareAddr
	waiting map[addr][][]byte // frames whose next hop is being asked for
}

const maxWaiting = 32 // frames per next hop

func open(name string, mac net.HardwareAddr, own ...addr) (*port, error) {
	dev, err := water.New(water.Config{DeviceType: water.TAP,
		PlatformSpecificParams: water.PlatformSpecificParams{Name: name}})
	if err != nil {
		return nil, fmt.Errorf("plain: open %s: %w", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("plain: find %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("plain: set up %s: %w", name, err)
	}
	return &port{dev: dev, mac: mac, own: own, known: map[addr]net.HardwareAddr{}, waiting: map[addr][][]byte{}}, nil
}

// write sends a frame. A device that is down refuses it, as it does for a moment
// while it is moved to another namespace; that is a loss and nothing worse.
func (p *port) write(frame []byte) {
	if _, err := p.dev.Write(frame); err != nil && !errors.Is(err, syscall.EIO) {
		log.Printf("plain: write %s: %v", p.dev.Name(), err)
	}
}

func (p *port) neighbor(a addr) net.HardwareAddr {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.known[a]
}

// resolve keeps a copy of the frame and asks for its next hop. Each frame asks
// anew, so an answer that got lost does no harm.
func (p *port) resolve(hop addr, frame []byte) {
	p.mu.Lock()
	if len(p.waiting[hop]) < maxWaiting {
		p.waiting[hop] = append(p.waiting[hop], slices.Clone(frame))
	}
	p.mu.Unlock()
	p.sendARP(layers.ARPRequest, p.own[0], hop, layers.EthernetBroadcast, make([]byte, 6))
}

// receiveARP learns neighbors, answers for the router's own addresses and
// sends packets that waited. An address stays known for good: in a benchmark no host changes its MAC address.
func (p *port) receiveARP(arp *layers.ARP) {
	if len(arp.SourceProtAddress) != 4 || len(arp.DstProtAddress) != 4 || len(arp.SourceHwAddress) != 6 {
		return
	}
	sender, mac := addr(arp.SourceProtAddress), slices.Clone(net.HardwareAddr(arp.SourceHwAddress))
	p.mu.Lock()
	p.known[sender] = mac
	frames := p.waiting[sender]
	delete(p.waiting, sender)
	p.mu.Unlock()
	for _, f := range frames {
		copy(f, mac)
		p.write(f)
	}
	if target := addr(arp.DstProtAddress); arp.Operation == layers.ARPRequest && slices.Contains(p.own, target) {
		p.sendARP(layers.ARPReply, target, sender, mac, mac)
	}
}

func (p *port) sendARP(op uint16, from, to addr, dst net.HardwareAddr, target []byte) {
	out := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{},
		&layers.Ethernet{SrcMAC: p.mac, DstMAC: dst, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: op, SourceHwAddress: p.mac, SourceProtAddress: from[:], DstHwAddress: target,
			DstProtAddress: to[:],
		})
	if err == nil {
		p.write(out.Bytes())
	}
}
