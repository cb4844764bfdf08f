package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// This file is a DHCP client (RFC 2131). Its messages go past the stack, which sends and takes nothing without an
// address.

// A Lease is what a host has been given by DHCP.
type Lease struct {
	Address  netip.Prefix  // with the length of its subnet
	Server   netip.Addr    // that has given it
	Gateway  netip.Addr    // the next hop of the default route; the zero value: there is none
	Routes   []Route       // others (RFC 3442), the longest prefixes first
	DNS      []netip.Addr  // name servers
	Hostname string        // the host's name; empty: it was told none
	Domain   string        // of the name; empty: it was told none
	Time     time.Duration // how long it is the host's
	MTU      int           // of the network, in bytes; 0: it was told none
}

// ErrRefused says that a DHCP server has refused the address that a host has asked for.
var ErrRefused = errors.New("the DHCP server refuses the address")

// leasing is the lease that a host has, and whose turn it is to ask for one.
type leasing struct {
	mu   sync.Mutex
	last atomic.Pointer[dhcpv4.DHCPv4] // the last acknowledgement; nil: the host has no lease
}

// current is the lease that the host has, the zero value if it has none.
func (l *leasing) current() Lease {
	if ack := l.last.Load(); ack != nil {
		return leaseOf(ack)
	}
	return Lease{}
}

// DHCP ports, RFC 2131, 4.1.
const (
	dhcpServer = 67
	dhcpClient = 68
)

// Times until a message is sent again (RFC 2131, 4.1): twice as long each time, without the random part.
const (
	firstRetry = 4 * time.Second
	lastRetry  = 64 * time.Second
)

// DHCP asks for an address, and gives it to the host, with the routes that come with it. They take the place of the
// host's gateway and routes, and of the address of its last lease. A host that has a lease renews
// it by a broadcast, as a client does whose server is silent, and asks anew if it is refused. DHCP sends again until it
// has an answer, or ctx ends. mods change each message before it is sent; they may be left out.
func (h *Host) DHCP(ctx context.Context, mods ...dhcpv4.Modifier) (Lease, error) {
	h.lease.mu.Lock()
	defer h.lease.mu.Unlock()
	ack, err := h.askForLease(ctx, mods)
	if err != nil {
		return Lease{}, fmt.Errorf("host: DHCP of %q: %w", h.Name(), err)
	}
	l := leaseOf(ack)
	was := h.lease.current()
	err = h.change(func(p place) (place, error) {
		return p.leased(was.Address.Addr(), l), nil
	})
	if err != nil {
		return Lease{}, fmt.Errorf("host: DHCP of %q: %w", h.Name(), err)
	}
	h.lease.last.Store(ack)
	h.link.announce()
	return l, nil
}

// ReleaseDHCP gives the host's lease back. The host has neither the address nor any route by a gateway then. Without a
// lease it does nothing.
func (h *Host) ReleaseDHCP(context.Context) error {
	h.lease.mu.Lock()
	defer h.lease.mu.Unlock()
	ack := h.lease.last.Load()
	if ack == nil {
		return nil
	}
	m, err := dhcpv4.NewReleaseFromACK(ack)
	if err != nil {
		return fmt.Errorf("host: DHCP of %q: %w", h.Name(), err)
	}
	l := leaseOf(ack)
	server := l.Server
	mac, err := h.linkAddressOf(server)
	if err != nil {
		return fmt.Errorf("host: DHCP of %q: %w", h.Name(), err)
	}
	h.sendDHCP(m, mac, l.Address.Addr(), server)
	h.lease.last.Store(nil)
	return h.change(func(p place) (place, error) {
		p = p.without(l.Address.Addr())
		p.gateway, p.routes = netip.Addr{}, nil
		return p, nil
	})
}

// linkAddressOf is the MAC address of the next hop to an address, if the host knows it; else everybody's.
func (h *Host) linkAddressOf(to netip.Addr) (tcpip.LinkAddress, error) {
	hop, ok := h.nextHop(to)
	if !ok {
		return "", fmt.Errorf("no route to the server %v", to)
	}
	known, err := h.stack.Neighbors(nicID, header.IPv4ProtocolNumber)
	if err != nil {
		return "", errno(err)
	}
	for _, n := range known {
		if n.Addr == fromAddr(hop) && len(n.LinkAddr) > 0 {
			return n.LinkAddr, nil
		}
	}
	return header.EthernetBroadcastAddress, nil
}

// asked are the options that a host asks for.
var asked = []dhcpv4.OptionCode{
	dhcpv4.OptionSubnetMask, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
	dhcpv4.OptionHostName, dhcpv4.OptionDomainName, dhcpv4.OptionInterfaceMTU,
}

// askForLease goes through the messages until there is an acknowledgement.
func (h *Host) askForLease(ctx context.Context, mods []dhcpv4.Modifier) (*dhcpv4.DHCPv4, error) {
	if err := h.checkBubble(); err != nil {
		return nil, err
	}
	in := make(chan []byte, 16)
	h.link.dhcp.Store(&in)
	defer h.link.dhcp.Store(nil)
	mac := h.MAC()
	mods = append([]dhcpv4.Modifier{dhcpv4.WithRequestedOptions(asked...)}, mods...)
	if last := h.lease.last.Load(); last != nil && bytes.Equal(last.ClientHWAddr, mac) {
		rq, err := dhcpv4.NewRenewFromAck(last, mods...)
		if err != nil {
			return nil, err
		}
		ack, err := h.exchange(ctx, in, rq, dhcpv4.MessageTypeAck)
		if !errors.Is(err, ErrRefused) {
			return ack, err
		}
	}
	for {
		m, err := dhcpv4.NewDiscovery(mac, mods...)
		if err != nil {
			return nil, err
		}
		offer, err := h.exchange(ctx, in, m, dhcpv4.MessageTypeOffer)
		if err != nil {
			return nil, err
		}
		rq, err := dhcpv4.NewRequestFromOffer(offer, mods...)
		if err != nil {
			return nil, err
		}
		ack, err := h.exchange(ctx, in, rq, dhcpv4.MessageTypeAck)
		if !errors.Is(err, ErrRefused) {
			return ack, err
		}
	}
}

// exchange sends a message until it has an answer of a type.
func (h *Host) exchange(
	ctx context.Context, in chan []byte, m *dhcpv4.DHCPv4, want dhcpv4.MessageType,
) (*dhcpv4.DHCPv4, error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		h.sendDHCP(m, header.EthernetBroadcastAddress, netAddrOf(m.ClientIPAddr), limitedBroadcast)
		again := time.NewTimer(wait)
		a, err := h.awaitDHCP(ctx, in, again.C, m, want)
		again.Stop()
		if a != nil || err != nil {
			return a, err
		}
	}
}

// awaitDHCP waits for the answer to a message. It is nil if the message is to be sent again.
func (h *Host) awaitDHCP(
	ctx context.Context, in chan []byte, again <-chan time.Time, m *dhcpv4.DHCPv4, want dhcpv4.MessageType,
) (*dhcpv4.DHCPv4, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no answer to %v: %w", m.MessageType(), ctx.Err())
		case <-h.done:
			return nil, net.ErrClosed
		case <-again:
			return nil, nil
		case b := <-in:
			a, err := dhcpv4.FromBytes(b)
			if err != nil || a.OpCode != dhcpv4.OpcodeBootReply || a.TransactionID != m.TransactionID {
				continue
			}
			switch a.MessageType() {
			case want:
				if leaseOf(a).Address.IsValid() {
					return a, nil
				}
			case dhcpv4.MessageTypeNak:
				return nil, ErrRefused
			}
		}
	}
}

// leaseOf reads what an acknowledgement gives.
func leaseOf(a *dhcpv4.DHCPv4) Lease {
	l := Lease{Server: netAddrOf(a.ServerIdentifier()), Hostname: a.HostName(), Domain: a.DomainName(),
		Time: a.IPAddressLeaseTime(0)}
	own := netAddrOf(a.YourIPAddr)
	ones, bits := a.SubnetMask().Size()
	if !own.IsValid() || own.IsUnspecified() || bits != 32 {
		return l
	}
	l.Address = netip.PrefixFrom(own, ones)
	for _, d := range a.DNS() {
		l.DNS = append(l.DNS, netAddrOf(d))
	}
	if b := a.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 {
		l.MTU = int(binary.BigEndian.Uint16(b))
	}
	if routers := a.Router(); len(routers) > 0 {
		l.Gateway = netAddrOf(routers[0])
	}
	routes := a.ClasslessStaticRoute()
	if len(routes) > 0 {
		l.Gateway = netip.Addr{} // option 121 goes before option 3 (RFC 3442)
	}
	for _, r := range routes {
		n, _ := r.Dest.Mask.Size()
		to, via := netip.PrefixFrom(netAddrOf(r.Dest.IP), n), netAddrOf(r.Router)
		switch {
		case !to.IsValid() || !via.IsValid():
		case n == 0:
			l.Gateway = via
		default:
			l.Routes = append(l.Routes, Route{to.Masked(), via})
		}
	}
	slices.SortStableFunc(l.Routes, func(a, b Route) int { return b.Destination.Bits() - a.Destination.Bits() })
	return l
}

func netAddrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip.To4())
	return a
}

// sendDHCP sends a message of the client.
func (h *Host) sendDHCP(m *dhcpv4.DHCPv4, mac tcpip.LinkAddress, from, to netip.Addr) {
	payload := m.ToBytes()
	const headers = ethernetLen + header.IPv4MinimumSize + header.UDPMinimumSize
	s := slots.Get().(*slot)
	defer slots.Put(s)
	frame := s.buf[frameStart : frameStart+headers+len(payload)]
	clear(frame)
	clear(s.set(len(frame)))
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: h.link.LinkAddress(), DstAddr: mac, Type: header.IPv4ProtocolNumber,
	})
	ip := header.IPv4(frame[ethernetLen:])
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(len(ip)), TTL: 64, Protocol: uint8(header.UDPProtocolNumber),
		SrcAddr: fromAddr(from), DstAddr: fromAddr(to),
	})
	udp := header.UDP(ip[header.IPv4MinimumSize:])
	udp.Encode(&header.UDPFields{SrcPort: dhcpClient, DstPort: dhcpServer, Length: uint16(len(udp))})
	copy(udp.Payload(), payload)
	finishUDP(frame[ethernetLen:], 0)
	h.link.send(s)
}

// takesDHCP gives a message for a DHCP client to the one that waits, and reports whether there is one.
func (l *link) takesDHCP(frame []byte) bool {
	in := l.dhcp.Load()
	if in == nil || header.Ethernet(frame).Type() != header.IPv4ProtocolNumber {
		return false
	}
	ip := header.IPv4(frame[ethernetLen:])
	if !ip.IsValid(len(ip)) || ip.TransportProtocol() != header.UDPProtocolNumber ||
		ip.FragmentOffset() != 0 || ip.More() {
		return false
	}
	udp := header.UDP(ip.Payload())
	if len(udp) < header.UDPMinimumSize || udp.DestinationPort() != dhcpClient {
		return false
	}
	select {
	case *in <- slices.Clone(udp.Payload()):
	default: // nobody answers so often
	}
	return true
}
