package host_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/router/host"
)

// textAddr is a net.Addr that is nothing but its text.
type textAddr string

func (textAddr) Network() string  { return "udp" }
func (a textAddr) String() string { return string(a) }

func listenUDP(t testing.TB, h *host.Host, address string) net.PacketConn {
	t.Helper()
	p, err := h.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUDPAddresses(t *testing.T) {
	a, b := pair(t, false)
	at := listenUDP(t, a, ":1000")
	bt := listenUDP(t, b, addrB+":2000")
	buf := make([]byte, 100)
	for _, tt := range []struct {
		name string
		to   net.Addr
	}{
		{"UDPAddr", &net.UDPAddr{IP: net.IP{10, 10, 10, 5}, Port: 2000}},
		{"UDPAddr of sixteen bytes", &net.UDPAddr{IP: net.ParseIP(addrB), Port: 2000}},
		{"text", textAddr(addrB + ":2000")},
		{"the socket's own", bt.LocalAddr()},
		{"broadcast", textAddr("10.10.10.255:2000")},
		{"limited broadcast", textAddr("255.255.255.255:2000")},
	} {
		if strings.Contains(tt.name, "broadcast") {
			bt.Close()
			bt = listenUDP(t, b, ":2000") // Linux, too, delivers these to unbound sockets only
		}
		if n, err := at.WriteTo([]byte(tt.name), tt.to); n != len(tt.name) || err != nil {
			t.Errorf("%s: %d, %v", tt.name, n, err)
			continue
		}
		n, from, err := bt.ReadFrom(buf)
		if err != nil || string(buf[:n]) != tt.name || from.String() != addrA+":1000" {
			t.Errorf("%s: got %q from %v, %v", tt.name, buf[:n], from, err)
		}
	}
	for _, to := range []net.Addr{nil, textAddr("web1:80"), textAddr("[2001:db8::1]:80"), textAddr("")} {
		if _, err := at.WriteTo([]byte("x"), to); err == nil {
			t.Errorf("wrote to %v", to)
		}
	}
	if _, err := at.WriteTo([]byte("x"), textAddr("192.0.2.1:80")); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("no route: %v", err)
	}
}

func TestUDPSizes(t *testing.T) {
	for _, offload := range []bool{false, true} {
		a, b := pair(t, offload)
		bt := listenUDP(t, b, ":2000")
		c, err := a.Dial("udp", address(b, 2000))
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1<<16)
		for _, n := range []int{0, 1, 1472, 1473, 9000, 65507} {
			data := random(n)
			if got, err := c.Write(data); got != n || err != nil {
				t.Fatalf("writing %d: %d, %v", n, got, err)
			}
			got, _, err := bt.ReadFrom(buf)
			if err != nil || string(buf[:got]) != string(data) {
				t.Errorf("%d bytes arrived as %d, %v", n, got, err)
			}
		}
		if _, err := c.Write(make([]byte, 65508)); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("too large a datagram: %v", err)
		}
		c.Close()
	}
}

// Bytes that do not fit a buffer are lost, and the next read begins with the next datagram.
func TestUDPShortBuffer(t *testing.T) {
	a, b := pair(t, false)
	bt := listenUDP(t, b, ":2000")
	c, err := a.Dial("udp", address(b, 2000))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The stack may overtake a packet that waits for ARP's answer with the next.
	if _, err := a.Ping(within(t), b.Address()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"first", "second", "third"} {
		if _, err := c.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 10)
	for _, tt := range []struct {
		room int
		want string
	}{{3, "fir"}, {0, ""}, {10, "third"}} {
		n, _, err := bt.ReadFrom(buf[:tt.room])
		if err != nil || string(buf[:n]) != tt.want {
			t.Errorf("got %q, %v, want %q", buf[:n], err, tt.want)
		}
	}
}

func TestUDPRefused(t *testing.T) {
	a, b := pair(t, false)
	c, err := a.Dial("udp", address(b, 9))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(make([]byte, 1))
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.HasPrefix(err.Error(), "read udp 10.10.10.4:") {
		t.Errorf("reading: %v", err)
	}
}

// The port unreachable message itself, as the network sees it.
func TestPortUnreachable(t *testing.T) {
	got := make(chan gopacket.Packet, 10)
	s := newSegment(t, host.Config{}, func(_ *segment, p gopacket.Packet) { got <- p })
	s.sendIP(peerIP, 64, layers.IPProtocolUDP, &layers.UDP{SrcPort: 5, DstPort: 9}, gopacket.Payload("hello"))
	p := <-got
	icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if !ok || icmp.TypeCode.String() != "DestinationUnreachable(Port)" {
		t.Fatalf("got %v", p)
	}
	if len(icmp.Payload) < 28 || netip.AddrFrom4([4]byte(icmp.Payload[12:16])) != peerIP || icmp.Payload[23] != 9 {
		t.Errorf("quote %x", icmp.Payload)
	}
}

func TestUDPDeadlineAndClose(t *testing.T) {
	a, _ := pair(t, false)
	p := listenUDP(t, a, ":0")
	p.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, _, err := p.ReadFrom(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	p.SetReadDeadline(time.Time{})
	reading := make(chan error)
	go func() {
		_, _, err := p.ReadFrom(make([]byte, 1))
		reading <- err
	}()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-reading; !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading: %v", err)
	}
	if _, err := p.WriteTo([]byte("x"), textAddr(addrB+":1")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing: %v", err)
	}
}
