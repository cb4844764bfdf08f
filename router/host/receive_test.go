package host_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

func TestAnnouncement(t *testing.T) {
	dev, far := tap.Pipe("host", "test", tap.PipeOptions{})
	got := make(chan gopacket.Packet, 1)
	receive(t, far, func(v vnet, frame []byte) {
		if v != (vnet{}) {
			t.Errorf("metadata %+v", v)
		}
		got <- gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	})
	mac := [6]byte{2, 3, 4, 5, 6, 7}
	start(t, dev, host.Config{Address: netip.MustParsePrefix(addrA + "/24"), MAC: mac})
	p := <-got
	eth, arp := p.LinkLayer().(*layers.Ethernet), p.Layer(layers.LayerTypeARP).(*layers.ARP)
	ip := mustAddr(addrA).AsSlice()
	if !bytes.Equal(eth.SrcMAC, mac[:]) || !bytes.Equal(eth.DstMAC, everyone) || arp.Operation != layers.ARPRequest ||
		!bytes.Equal(arp.SourceHwAddress, mac[:]) || !bytes.Equal(arp.SourceProtAddress, ip) ||
		!bytes.Equal(arp.DstProtAddress, ip) || !bytes.Equal(arp.DstHwAddress, make([]byte, 6)) {
		t.Errorf("announced %v", p)
	}
}

func TestARPAnswers(t *testing.T) {
	s, got := arpSegment(t, nil)
	s.send(arpPacket(t, layers.ARPRequest, peerMAC, peerIP, everyone, mustAddr(addrB))) // not for us
	s.send(arpPacket(t, layers.ARPRequest, peerMAC, peerIP, everyone, mustAddr(addrA)))
	arp := <-got
	if arp.Operation != layers.ARPReply || !bytes.Equal(arp.SourceHwAddress, s.h.MAC()) ||
		!bytes.Equal(arp.DstHwAddress, peerMAC) || !bytes.Equal(arp.SourceProtAddress, mustAddr(addrA).AsSlice()) {
		t.Errorf("answer %+v", arp)
	}
}

// arpSegment is a host whose ARP packets, but for its announcement, come to the
// test.
func arpSegment(t *testing.T, log *slog.Logger) (*segment, chan *layers.ARP) {
	dev, far := tap.Pipe("host", "test", tap.PipeOptions{})
	s, got := &segment{t: t, dev: far}, make(chan *layers.ARP, 100)
	first := true
	receive(t, far, func(_ vnet, frame []byte) {
		p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok && !first {
			got <- arp
		}
		first = false
	})
	s.h = start(t, dev, host.Config{Address: netip.MustParsePrefix(addrA + "/24"), Logger: log})
	return s, got
}

// lines is a log for tests.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAddressConflictIsLogged(t *testing.T) {
	var log lines
	s, got := arpSegment(t, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		s.send(arpPacket(t, layers.ARPRequest, peerMAC, mustAddr(addrA), everyone, mustAddr(addrA)))
	}
	// The answer to this request says that the host has seen the frames before it.
	s.send(arpPacket(t, layers.ARPRequest, peerMAC, peerIP, everyone, mustAddr(addrA)))
	for arp := range got {
		if bytes.Equal(arp.DstProtAddress, peerIP.AsSlice()) {
			break
		}
	}
	if text := log.String(); strings.Count(text, "another machine uses the host's address") != 1 ||
		!strings.Contains(text, "mac=02:00:00:00:00:01") {
		t.Errorf("log: %s", text)
	}
}

// A neighbor that moves to another MAC says so in an announcement. Packets sent
// afterwards go there at once, on old connections too.
func TestNeighborMoves(t *testing.T) {
	old, moved := peerMAC, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	for _, op := range []uint16{layers.ARPRequest, layers.ARPReply} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			now := old
			dev, far := tap.Pipe("host", "test", tap.PipeOptions{})
			s, got := &segment{t: t, dev: far}, make(chan string, 100)
			receive(t, far, func(_ vnet, frame []byte) {
				p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
				arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
				switch {
				case !ok:
					got <- p.LinkLayer().(*layers.Ethernet).DstMAC.String()
				case netip.AddrFrom4([4]byte(arp.DstProtAddress)) == peerIP:
					mu.Lock()
					mac := now
					mu.Unlock()
					s.send(arpPacket(t, layers.ARPReply, mac, peerIP, arp.SourceHwAddress, mustAddr(addrA)))
				}
			})
			s.h = start(t, dev, host.Config{Address: netip.MustParsePrefix(addrA + "/24")})
			c, err := s.h.Dial("udp", "10.10.10.1:80")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, mac := range []net.HardwareAddr{old, moved} {
				if !bytes.Equal(mac, old) {
					mu.Lock()
					now = mac
					mu.Unlock()
					s.send(arpPacket(t, op, mac, peerIP, everyone, peerIP))
					synctest.Wait()
				}
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if to := <-got; to != mac.String() {
					t.Errorf("operation %d: sent to %s, want %s", op, to, mac)
				}
			}
		})
	}
}

// udpFrame is a datagram to the host's port 2000.
func udpFrame(t testing.TB, to net.HardwareAddr, payload []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Id: 100, Protocol: layers.IPProtocolUDP, SrcIP: peerIP.AsSlice(),
		DstIP: mustAddr(addrA).AsSlice()}
	udp := &layers.UDP{SrcPort: 1000, DstPort: 2000}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return build(t, &layers.Ethernet{SrcMAC: peerMAC, DstMAC: to, EthernetType: layers.EthernetTypeIPv4}, ip, udp,
		gopacket.Payload(payload))
}

func TestReceive(t *testing.T) {
	const csum = 14 + 20 + 6
	s := newSegment(t, host.Config{}, nil)
	p := listenUDP(t, s.h, ":2000")
	for _, tt := range []struct {
		name   string
		change func(frame []byte) (vnet, []byte)
		taken  bool
	}{
		{"plain", func(f []byte) (vnet, []byte) { return vnet{}, f }, true},
		{"wrong checksum", func(f []byte) (vnet, []byte) { f[csum]++; return vnet{}, f }, false},
		{"unfinished checksum", func(f []byte) (vnet, []byte) {
			f[csum]++
			return vnet{flags: 1, csumStart: 34, csumOffset: 6}, f
		}, true},
		{"checked by the sender", func(f []byte) (vnet, []byte) { f[csum]++; return vnet{flags: 2}, f }, true},
		{"plain again", func(f []byte) (vnet, []byte) { f[csum]++; return vnet{}, f }, false},
		{"no checksum", func(f []byte) (vnet, []byte) { f[csum], f[csum+1] = 0, 0; return vnet{}, f }, true},
		{"another's MAC", func(f []byte) (vnet, []byte) { f[5]++; return vnet{}, f }, false},
		{"broadcast MAC", func(f []byte) (vnet, []byte) { copy(f, everyone); return vnet{}, f }, true},
		{"multicast MAC", func(f []byte) (vnet, []byte) { f[0] |= 1; return vnet{}, f }, true},
		{"broadcast of its own", func(f []byte) (vnet, []byte) {
			copy(f[6:], f[:6])
			copy(f, everyone)
			return vnet{},
				f
		}, false},
		{"padded", func(f []byte) (vnet, []byte) { return vnet{}, append(f, make([]byte, 20)...) }, true},
		{"cut", func(f []byte) (vnet, []byte) { return vnet{}, f[:30] }, false},
		{"no Ethernet header", func(f []byte) (vnet, []byte) { return vnet{}, f[:13] }, false},
		{"empty", func(f []byte) (vnet, []byte) { return vnet{}, nil }, false},
		{"another protocol", func(f []byte) (vnet, []byte) { f[12] = 0x86; return vnet{}, f }, false},
		{"short ARP", func(f []byte) (vnet, []byte) { f[12], f[13] = 8, 6; return vnet{}, f[:20] }, false},
	} {
		v, frame := tt.change(udpFrame(t, s.h.MAC(), []byte(tt.name)))
		write(t, s.dev, v, frame)
		// The next datagram shows that this one has been dealt with.
		write(t, s.dev, vnet{}, udpFrame(t, s.h.MAC(), []byte("end")))
		buf := make([]byte, 100)
		var got []string
		for {
			n, _, err := p.ReadFrom(buf)
			if err != nil {
				t.Fatal(err)
			}
			if string(buf[:n]) == "end" {
				break
			}
			got = append(got, string(buf[:n]))
		}
		if tt.taken != (len(got) == 1 && got[0] == tt.name) || len(got) > 1 {
			t.Errorf("%s: got %q", tt.name, got)
		}
	}
}

func TestReceiveUDPSuperFrames(t *testing.T) {
	s := newSegment(t, host.Config{}, nil)
	p := listenUDP(t, s.h, ":2000")
	for _, tt := range []struct{ size, length int }{{1000, 5000}, {1000, 5001}, {1000, 999}, {1472, 60000}, {1, 3},
		{1000, 0}} {
		data := random(tt.length)
		frame := append(udpFrame(t, s.h.MAC(), data), 0, 0, 0) // with padding
		write(t, s.dev, vnet{flags: 1, gso: 5, headers: 42, size: uint16(tt.size), csumStart: 34, csumOffset: 6}, frame)
		buf := make([]byte, 65536)
		var got []byte
		for n := 0; len(got) < tt.length; got = append(got, buf[:n]...) {
			var err error
			if n, _, err = p.ReadFrom(buf); err != nil {
				t.Fatal(err)
			}
			if want := min(tt.size, tt.length-len(got)); n != want {
				t.Errorf("%+v: a datagram of %d bytes, want %d", tt, n, want)
			}
		}
		if tt.length == 0 {
			if n, _, err := p.ReadFrom(buf); n != 0 || err != nil {
				t.Errorf("%+v: %d, %v", tt, n, err)
			}
		}
		if !bytes.Equal(got, data) {
			t.Errorf("%+v: arrived changed", tt)
		}
	}
}

// A datagram that arrives in pieces is put together. The error of a closed port, which quotes it,
// shows that.
func TestSplitDatagramsAreWhole(t *testing.T) {
	got := make(chan *layers.ICMPv4, 10)
	s := newSegment(t, host.Config{}, func(_ *segment, p gopacket.Packet) {
		if icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
			got <- icmp
		}
	})
	frame := udpFrame(t, s.h.MAC(), random(700))
	write(t, s.dev, vnet{flags: 1, gso: 5, headers: 42, size: 300, csumStart: 34, csumOffset: 6}, frame)
	for i, length := range []uint16{300, 300, 100} {
		quote := (<-got).Payload
		p := gopacket.NewPacket(quote, layers.LayerTypeIPv4, gopacket.Default)
		ip, ok := p.NetworkLayer().(*layers.IPv4)
		if !ok {
			t.Fatalf("quote %x", quote)
		}
		udp := p.TransportLayer().(*layers.UDP)
		if sum(ip.Contents) != 0xffff || sum(pseudo(ip), ip.Payload) != 0xffff || udp.Length != length+8 ||
			ip.Id != 100+uint16(i) {
			t.Errorf("datagram %d is quoted as %v", i, p)
		}
	}
}

// A device that is down for a while, then closed by its far end.
type moody struct {
	tap.Device
	mu   sync.Mutex
	errs []error
}

func (m *moody) Read(frames []tap.Frame) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.errs) > 0 {
		err := m.errs[0]
		m.errs = m.errs[1:]
		return 0, err
	}
	return m.Device.Read(frames)
}

func TestDeviceTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		devA, devB := tap.Pipe("a", "b", tap.PipeOptions{})
		a := start(t, &moody{Device: devA, errs: []error{tap.ErrDown, tap.ErrDown, os.ErrPermission}}, host.Config{
			Name: "a", Address: netip.MustParsePrefix(addrA + "/24"), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		b := start(t, devB, host.Config{Address: netip.MustParsePrefix(addrB + "/24")})
		if _, err := a.Ping(t.Context(), b.Address()); err != nil {
			t.Errorf("after the device was down: %v", err)
		}
		c, err := a.Dial("udp", addrB+":9")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Errorf("writing into the void: %v", err)
			}
		}
		synctest.Wait()
		text := log.String()
		for _, want := range []string{"frames are lost, logged once", "the host's network is gone",
			"the device cannot be read"} {
			if strings.Count(text, want) != 1 || !strings.Contains(text, "host=a device=a") {
				t.Errorf("%q is not once in the log: %s", want, text)
			}
		}
	})
}

// brittle fails to close.
type brittle struct{ tap.Device }

func (b brittle) Close() error { return errors.Join(b.Device.Close(), os.ErrPermission) }

func TestCloseReportsDevice(t *testing.T) {
	dev, _ := tap.Pipe("a", "b", tap.PipeOptions{})
	h, err := host.New(brittle{dev}, host.Config{Name: "web1", Address: netip.MustParsePrefix(addrA + "/24")})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Close(); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), `host: close "web1"`) {
			t.Errorf("got %v", err)
		}
	}
}

// Frames of any kind end nothing: the host answers a ping afterwards.
func FuzzReceive(f *testing.F) {
	mac := net.HardwareAddr{2, 'h', 10, 10, 10, 4}
	plain := udpFrame(f, mac, []byte("hello"))
	f.Add(make([]byte, 10), plain)
	for _, v := range []vnet{{flags: 1, csumStart: 34, csumOffset: 6}, {flags: 1, gso: 5, size: 1}, {gso: 5},
		{flags: 1, gso: 1, size: 1000, headers: 54}} {
		b := make([]byte, 10)
		v.put(b)
		f.Add(b, plain)
	}
	f.Add(make([]byte, 10), arpPacket(f, layers.ARPRequest, peerMAC, peerIP, everyone, mustAddr(addrA)))
	f.Fuzz(func(t *testing.T, head, frame []byte) {
		if len(head) < tap.HeaderLen || len(frame) > 65535+14 {
			return
		}
		frame = bytes.Clone(frame)
		if len(frame) >= 6 {
			copy(frame, mac) // any other address is ignored
		}
		answered := make(chan struct{}, 1)
		s := newSegment(t, host.Config{}, func(_ *segment, p gopacket.Packet) {
			if i, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok && i.TypeCode == 0 && i.Id == 4711 {
				select {
				case answered <- struct{}{}:
				default:
				}
			}
		})
		write(t, s.dev, readVnet(head), frame)
		// should the frame have said otherwise
		s.send(arpPacket(t, layers.ARPRequest, peerMAC, peerIP, everyone, mustAddr(addrA)))
		s.sendIP(peerIP, 64, layers.IPProtocolICMPv4,
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 4711})
		select {
		case <-answered:
		case <-time.After(10 * time.Second):
			t.Error("the host does not answer any more")
		}
	})
}

// A large transfer in which the receiver has no idea of offloads: the device's
// features decide, not the wish.
func TestOffloadNeedsTheDevice(t *testing.T) {
	devA, far := tap.Pipe("a", "test", tap.PipeOptions{B: tap.FeatureChecksum})
	devB, near := tap.Pipe("b", "test", tap.PipeOptions{})
	for from, to := range map[tap.Device]tap.Device{far: near, near: far} {
		receive(t, from, func(v vnet, frame []byte) {
			if v != (vnet{}) || len(frame) > 1514 {
				t.Errorf("a frame of %d bytes with metadata %+v", len(frame), v)
			}
			f := tap.Frame{Buf: make([]byte, tap.HeaderLen+len(frame)), Tail: tap.HeaderLen + len(frame)}
			copy(f.Ethernet(), frame)
			_, _ = to.Write([]tap.Frame{f})
		})
	}
	a := start(t, devA, host.Config{Address: netip.MustParsePrefix(addrA + "/24"), Offload: true})
	b := start(t, devB, host.Config{Address: netip.MustParsePrefix(addrB + "/24"), Offload: true})
	client, server := connect(t, a, b)
	go func() {
		_, _ = client.Write(random(1 << 20))
		client.Close()
	}()
	if n, err := io.Copy(io.Discard, server); n != 1<<20 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
