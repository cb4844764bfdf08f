//go:build linux

package e2e_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"
)

// A crowd is any number of DHCP clients at one interface, each with a MAC address of its own. They share a packet
// socket, and nothing with the router. Any number of goroutines may use it.
type crowd struct {
	fd    int
	ended atomic.Bool

	mu     sync.Mutex
	waits  map[crowdKey]chan *dhcpv4.DHCPv4
	offers int // that have come, asked for or not
}

// A crowdKey is what a client waits for: an offer, or another answer.
type crowdKey struct {
	id    dhcpv4.TransactionID
	offer bool
}

// crowd makes a crowd at an interface of the namespace.
func (s *space) crowd(name string) *crowd {
	w := s.w
	w.t.Helper()
	c := &crowd{fd: -1, waits: map[crowdKey]chan *dhcpv4.DHCPv4{}}
	w.check(s.within(func() (err error) {
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	w.check(unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
	w.check(unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
	kind := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_IP))
	w.check(unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: kind, Ifindex: s.link(name).Attrs().Index}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.listen()
	}()
	w.t.Cleanup(func() {
		c.ended.Store(true)
		<-done
		_ = unix.Close(c.fd)
	})
	return c
}

// Where things are in a frame with a DHCP message.
const crowdUDP, crowdMessage = 34, 42

// listen gives each answer to the client that waits for it.
func (c *crowd) listen() {
	b := make([]byte, 2048)
	for !c.ended.Load() {
		n, _, err := unix.Recvfrom(c.fd, b, 0)
		if err != nil || n < crowdMessage || b[23] != unix.IPPROTO_UDP || b[crowdUDP+2] != 0 || b[crowdUDP+3] != 68 {
			continue
		}
		p, err := dhcpv4.FromBytes(bytes.Clone(b[crowdMessage:n]))
		if err != nil {
			continue
		}
		k := crowdKey{p.TransactionID, p.MessageType() == dhcpv4.MessageTypeOffer}
		c.mu.Lock()
		if k.offer {
			c.offers++
		}
		waits := c.waits[k]
		delete(c.waits, k)
		c.mu.Unlock()
		if waits != nil {
			waits <- p // it has room for one
		}
	}
}

// offered is how many offers have come.
func (c *crowd) offered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offers
}

// crowdFrame is a message as a client without an address sends it.
func crowdFrame(p *dhcpv4.DHCPv4) []byte {
	message := p.ToBytes()
	f := make([]byte, crowdMessage, crowdMessage+len(message))
	copy(f, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(f[6:], p.ClientHWAddr)
	copy(f[12:], []byte{8, 0, 0x45, 0})
	binary.BigEndian.PutUint16(f[16:], uint16(28+len(message)))
	f[22], f[23] = 64, unix.IPPROTO_UDP
	copy(f[30:], []byte{0xff, 0xff, 0xff, 0xff})
	binary.BigEndian.PutUint16(f[24:], checksum(f[14:crowdUDP]))
	f[crowdUDP+1], f[crowdUDP+3] = 68, 67
	binary.BigEndian.PutUint16(f[crowdUDP+4:], uint16(8+len(message)))
	return append(f, message...)
}

// send sends a message.
func (c *crowd) send(p *dhcpv4.DHCPv4) error { return unix.Send(c.fd, crowdFrame(p), 0) }

// ask sends a message and returns its answer, nil if none comes in a while.
func (c *crowd) ask(p *dhcpv4.DHCPv4, patience time.Duration) *dhcpv4.DHCPv4 {
	k := crowdKey{p.TransactionID, p.MessageType() == dhcpv4.MessageTypeDiscover}
	answer := make(chan *dhcpv4.DHCPv4, 1)
	c.mu.Lock()
	c.waits[k] = answer
	c.mu.Unlock()
	var a *dhcpv4.DHCPv4
	if c.send(p) == nil {
		timeout := time.NewTimer(patience)
		defer timeout.Stop()
		select {
		case a = <-answer:
			return a
		case <-timeout.C:
		}
	}
	c.mu.Lock()
	delete(c.waits, k)
	c.mu.Unlock()
	return nil
}

// crowdMAC is the MAC address of a client's number.
func crowdMAC(n int) net.HardwareAddr {
	return net.HardwareAddr{2, 0xc0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// crowdSays makes a message of a client.
func crowdSays(mac net.HardwareAddr, kind dhcpv4.MessageType, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind)}, more...)...)
	if err != nil {
		panic(err) // there is no randomness
	}
	return p
}

// wants is the address that a message is about.
func wants(a netip.Addr) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(a.AsSlice()))
}

// lease gets a client an address as a host does: it asks for offers and takes the first. The result is the zero Addr if
// it has got none, as each message is sent once.
func (c *crowd) lease(mac net.HardwareAddr, patience time.Duration) netip.Addr {
	offer := c.ask(crowdSays(mac, dhcpv4.MessageTypeDiscover), patience)
	if offer == nil {
		return netip.Addr{}
	}
	request, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		return netip.Addr{}
	}
	return acknowledged(c.ask(request, patience))
}

// again has a client that has an address ask for it, as one does that is started.
func (c *crowd) again(mac net.HardwareAddr, a netip.Addr, patience time.Duration) *dhcpv4.DHCPv4 {
	return c.ask(crowdSays(mac, dhcpv4.MessageTypeRequest, wants(a)), patience)
}

// acknowledged is the address that an answer gives, zero if it is none that does.
func acknowledged(p *dhcpv4.DHCPv4) netip.Addr {
	if p == nil || p.MessageType() != dhcpv4.MessageTypeAck {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(p.YourIPAddr.To4())
	return a
}
