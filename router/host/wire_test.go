package host_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// A vnet is a virtio-net header in words.
type vnet struct {
	flags, gso            byte
	headers, size         uint16
	csumStart, csumOffset uint16
}

func readVnet(b []byte) vnet {
	w := binary.LittleEndian.Uint16
	return vnet{b[0], b[1], w(b[2:]), w(b[4:]), w(b[6:]), w(b[8:])}
}

func (v vnet) put(b []byte) {
	w := binary.LittleEndian.PutUint16
	b[0], b[1] = v.flags, v.gso
	w(b[2:], v.headers)
	w(b[4:], v.size)
	w(b[6:], v.csumStart)
	w(b[8:], v.csumOffset)
}

// write sends a frame with its virtio-net header.
func write(t testing.TB, dev tap.Device, v vnet, frame []byte) {
	t.Helper()
	f := tap.Frame{Buf: make([]byte, tap.HeaderLen+len(frame)), Tail: tap.HeaderLen + len(frame)}
	v.put(f.Header())
	copy(f.Ethernet(), frame)
	if _, err := dev.Write([]tap.Frame{f}); err != nil {
		t.Errorf("writing to %s: %v", dev.Name(), err)
	}
}

// receive calls fn with every frame that arrives at a device, on one goroutine
// that ends before the test does. The frame is fn's to keep.
func receive(t testing.TB, dev tap.Device, fn func(v vnet, frame []byte)) {
	t.Helper()
	woken := make(chan struct{}, 1)
	dev.Notify(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		frames := []tap.Frame{{Buf: make([]byte, tap.SlotLen)}}
		for range woken {
			for {
				n, err := dev.Read(frames)
				if err != nil {
					return
				}
				if n == 0 {
					break
				}
				fn(readVnet(frames[0].Header()), append([]byte(nil), frames[0].Ethernet()...))
			}
		}
	}()
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}

// A capture holds the frames that went over a watched cable.
type capture struct {
	mu     sync.Mutex
	vnets  []vnet
	frames [][]byte
}

func (c *capture) add(v vnet, frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vnets = append(c.vnets, v)
	c.frames = append(c.frames, frame)
}

// each calls fn with every frame so far, decoded.
func (c *capture) each(fn func(v vnet, frame []byte, p gopacket.Packet)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, f := range c.frames {
		fn(c.vnets[i], f, gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default))
	}
}

// watchedPair starts two hosts whose frames pass through the test's hands.
func watchedPair(t testing.TB, offload bool) (a, b *host.Host, seen *capture) {
	t.Helper()
	opt := tap.PipeOptions{Frames: 16384, Bytes: 64 << 20}
	if offload {
		opt.A, opt.B = host.Accepts, host.Accepts
	}
	devA, middleA := tap.Pipe("a", "middle a", opt)
	devB, middleB := tap.Pipe("b", "middle b", opt)
	seen = new(capture)
	forward := func(to tap.Device) func(vnet, []byte) {
		return func(v vnet, frame []byte) {
			seen.add(v, frame)
			f := tap.Frame{Buf: make([]byte, tap.HeaderLen+len(frame)), Tail: tap.HeaderLen + len(frame)}
			v.put(f.Header())
			copy(f.Ethernet(), frame)
			_, _ = to.Write([]tap.Frame{f}) // a host that has closed takes no more
		}
	}
	receive(t, middleA, forward(middleB))
	receive(t, middleB, forward(middleA))
	a = start(t, devA, host.Config{Name: "a", Address: netip.MustParsePrefix(addrA + "/24"), Offload: offload})
	b = start(t, devB, host.Config{Name: "b", Address: netip.MustParsePrefix(addrB + "/24"), Offload: offload})
	return a, b, seen
}

// sum is the Internet checksum's sum of 16-bit words, folded and not
// complemented, written anew so that nothing is checked with itself.
func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			s += uint32(b[i])<<8 | uint32(b[i+1])
		}
		if len(b)%2 == 1 {
			s += uint32(b[len(b)-1]) << 8
		}
		for s > 0xffff {
			s = s&0xffff + s>>16
		}
	}
	return uint16(s)
}

// pseudo is the pseudo-header of an IPv4 packet (RFC 9293, 3.1).
func pseudo(ip *layers.IPv4) []byte {
	b := append(append([]byte{}, ip.SrcIP.To4()...), ip.DstIP.To4()...)
	n := ip.Length - uint16(ip.IHL)*4
	return append(b, 0, byte(ip.Protocol), byte(n>>8), byte(n))
}

// fragment says whether a packet is part of a larger one.
func fragment(ip *layers.IPv4) bool {
	return ip.FragOffset != 0 || ip.Flags&layers.IPv4MoreFragments != 0
}

// talk makes the hosts use every protocol.
func talk(t *testing.T, a, b *host.Host) {
	t.Helper()
	if err := b.ServeEcho(7); err != nil {
		t.Fatal(err)
	}
	if _, err := a.PingWith(within(t), b.Address(), host.PingOptions{Bytes: 3000}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Ping(within(t), b.Address()); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "udp"} {
		c, err := a.DialContext(within(t), network, addrB+":7")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 1000, 5000, 60000} {
			echo(t, c, random(n))
		}
		c.Close()
	}
	if c, err := a.Dial("tcp", addrB+":9"); err == nil {
		c.Close()
		t.Error("connected to a port where nobody listens")
	}
}

func TestWireFormat(t *testing.T) {
	for _, offload := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "offload"}[offload], func(t *testing.T) {
			a, b, seen := watchedPair(t, offload)
			talk(t, a, b)
			kinds := map[string]int{}
			seen.each(func(v vnet, frame []byte, p gopacket.Packet) {
				kinds[checkFrame(t, v, frame, p)]++
			})
			want := []string{"ARP", "ICMPv4", "UDP", "fragment", "TCP"}
			if offload {
				want = append(want, "TCP partial", "TCP super-frame")
			}
			for _, k := range want {
				if kinds[k] == 0 {
					t.Errorf("no %s was seen among %v", k, kinds)
				}
				delete(kinds, k)
			}
			if len(kinds) > 0 {
				t.Errorf("unexpected frames: %v", kinds)
			}
		})
	}
}

// checkFrame checks one frame's lengths and checksums, and says what it is.
func checkFrame(t *testing.T, v vnet, frame []byte, p gopacket.Packet) string {
	t.Helper()
	if p.ErrorLayer() != nil {
		t.Errorf("undecodable frame: %v", p)
	}
	if p.Layer(layers.LayerTypeARP) != nil {
		if v != (vnet{}) {
			t.Errorf("ARP with metadata %+v", v)
		}
		return "ARP"
	}
	ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ok {
		t.Fatalf("neither ARP nor IPv4: %v", p)
	}
	if sum(ip.Contents) != 0xffff {
		t.Errorf("IP header checksum is wrong: %v", p)
	}
	if int(ip.Length) != len(frame)-14 || (len(frame)-14 > 1500 && v.gso == 0) {
		t.Errorf("IP length %d in a frame of %d bytes, metadata %+v", ip.Length, len(frame), v)
	}
	if fragment(ip) {
		if v != (vnet{}) || ip.Flags&layers.IPv4DontFragment != 0 {
			t.Errorf("fragment with metadata %+v, flags %s", v, ip.Flags)
		}
		return "fragment"
	}
	if tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && v.flags != 0 {
		return checkPartial(t, v, ip, tcp)
	}
	if v != (vnet{}) {
		t.Errorf("metadata %+v on %v", v, p)
	}
	head := pseudo(ip)
	if ip.Protocol == layers.IPProtocolICMPv4 {
		head = nil
	}
	if sum(head, ip.Payload) != 0xffff {
		t.Errorf("%s checksum is wrong: %v", ip.Protocol, p)
	}
	return ip.Protocol.String()
}

// checkPartial checks a TCP segment with an unfinished checksum.
func checkPartial(t *testing.T, v vnet, ip *layers.IPv4, tcp *layers.TCP) string {
	t.Helper()
	if v.flags != 1 || v.csumStart != 14+uint16(ip.IHL)*4 || v.csumOffset != 16 {
		t.Errorf("metadata %+v", v)
	}
	if tcp.Checksum != sum(pseudo(ip)) {
		t.Errorf("the checksum field holds %#04x, the pseudo-header's sum is %#04x", tcp.Checksum, sum(pseudo(ip)))
	}
	if v.gso == 0 {
		if v.size != 0 || v.headers != 0 || ip.Length > 1500 {
			t.Errorf("metadata %+v with %d bytes", v, ip.Length)
		}
		return "TCP partial"
	}
	headers := 14 + uint16(ip.IHL)*4 + uint16(tcp.DataOffset)*4
	// The stack leaves room for SACK options in every segment.
	if size := v.size + headers - 14; v.gso != 1 || v.headers != headers || size > 1500 || size < 1460 ||
		len(tcp.Payload) <= int(v.size) {
		t.Errorf("metadata %+v with headers of %d bytes and %d of payload", v, headers, len(tcp.Payload))
	}
	return "TCP super-frame"
}

// build makes a frame with right lengths and checksums.
func build(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		parts...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// arpPacket makes an ARP packet; the sender's MAC is also the frame's.
func arpPacket(t testing.TB, op uint16, mac net.HardwareAddr, ip netip.Addr, toMAC net.HardwareAddr,
	toIP netip.Addr) []byte {
	t.Helper()
	target := toMAC
	if op == layers.ARPRequest {
		target = make(net.HardwareAddr, 6)
	}
	return build(t,
		&layers.Ethernet{SrcMAC: mac, DstMAC: toMAC, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation:       op,
			SourceHwAddress: mac, SourceProtAddress: ip.AsSlice(), DstHwAddress: target, DstProtAddress: toIP.AsSlice(),
		})
}

var (
	everyone = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	peerMAC  = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	peerIP   = netip.MustParseAddr("10.10.10.1")
)

// A segment is a host whose only neighbor is the test itself: it answers ARP for
// every address as peerMAC, and hands IPv4 packets to a function.
type segment struct {
	t   testing.TB
	dev tap.Device
	h   *host.Host
}

func newSegment(t testing.TB, cfg host.Config, fn func(s *segment, p gopacket.Packet)) *segment {
	t.Helper()
	dev, far := tap.Pipe("host", "test", tap.PipeOptions{Frames: 8192, Bytes: 64 << 20})
	cfg.Address, cfg.Gateway = netip.MustParsePrefix(addrA+"/24"), peerIP
	s := &segment{t: t, dev: far}
	receive(t, far, func(_ vnet, frame []byte) {
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
			s.answer(arp)
		} else if fn != nil {
			fn(s, p)
		}
	})
	s.h = start(t, dev, cfg)
	return s
}

// answer answers an ARP request, but for the host's announcement of itself.
func (s *segment) answer(arp *layers.ARP) {
	ip := netip.AddrFrom4([4]byte(arp.DstProtAddress))
	if arp.Operation == layers.ARPRequest && ip != mustAddr(addrA) {
		s.send(arpPacket(s.t, layers.ARPReply, peerMAC, ip, arp.SourceHwAddress, mustAddr(addrA)))
	}
}

// send sends a frame to the host.
func (s *segment) send(frame []byte) {
	f := tap.Frame{Buf: make([]byte, tap.HeaderLen+len(frame)), Tail: tap.HeaderLen + len(frame)}
	copy(f.Ethernet(), frame)
	_, _ = s.dev.Write([]tap.Frame{f}) // a host that has closed takes no more
}

// sendIP sends an IPv4 packet to the host.
func (s *segment) sendIP(from netip.Addr, ttl uint8, proto layers.IPProtocol, parts ...gopacket.SerializableLayer) {
	s.t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: ttl, Protocol: proto, SrcIP: from.AsSlice(), DstIP: mustAddr(addrA).AsSlice()}
	for _, p := range parts {
		switch l := p.(type) {
		case *layers.TCP:
			_ = l.SetNetworkLayerForChecksum(ip)
		case *layers.UDP:
			_ = l.SetNetworkLayerForChecksum(ip)
		}
	}
	all := append([]gopacket.SerializableLayer{&layers.Ethernet{SrcMAC: peerMAC, DstMAC: s.h.MAC(),
		EthernetType: layers.EthernetTypeIPv4}, ip}, parts...)
	s.send(build(s.t, all...))
}

// refuse answers a packet with an ICMP error, which quotes its IP header and
// eight bytes more, the least that RFC 792 asks for.
func (s *segment) refuse(p gopacket.Packet, from netip.Addr, typ, code uint8, mtu uint16) {
	s.t.Helper()
	ip := p.NetworkLayer().(*layers.IPv4)
	quote := append(append([]byte{}, ip.Contents...), ip.Payload[:8]...)
	s.sendIP(from, 60, layers.IPProtocolICMPv4,
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, code), Seq: mtu}, gopacket.Payload(quote))
}
