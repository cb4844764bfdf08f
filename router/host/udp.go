package host

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// dialUDP makes a connected UDP socket.
func (h *Host) dialUDP(ctx context.Context, from, to netip.AddrPort) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return h.openUDP(func(s *socket) error {
		if err := s.bind(from); err != nil {
			return err
		}
		return callError("connect", errno(s.ep.Connect(fullAddress(to))))
	})
}

// listenUDP makes a UDP socket that receives from every address.
func (h *Host) listenUDP(at netip.AddrPort) (net.PacketConn, error) {
	return h.openUDP(func(s *socket) error {
		return callError("bind", errno(s.ep.Bind(fullAddress(at))))
	})
}

// openUDP makes a UDP socket and has it bound or connected.
func (h *Host) openUDP(setup func(*socket) error) (*udpConn, error) {
	var s *socket
	err := h.open(func() (err error) {
		if s, err = h.newSocket("udp", udp.ProtocolNumber); err != nil {
			return err
		}
		s.ep.SocketOptions().SetBroadcast(true) // as package net has it
		err = s.allowFragments()
		if err == nil {
			err = setup(s)
		}
		if err != nil {
			s.ep.Close()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &udpConn{s}, nil
}

// allowFragments leaves the DF bit unset. The stack would set it on everything
// that is not TCP, even on fragments, and would learn nothing from the errors
// that follow.
func (s *socket) allowFragments() error {
	return s.setInt(tcpip.MTUDiscoverOption, int(tcpip.PMTUDiscoveryDont))
}

// A udpConn is a net.Conn and a net.PacketConn.
type udpConn struct{ *socket }

// LocalAddr returns the host's end, a *net.UDPAddr.
func (c *udpConn) LocalAddr() net.Addr { return netAddr("udp", c.local()) }

// RemoteAddr returns the other end, a *net.UDPAddr; nil if it is not connected.
func (c *udpConn) RemoteAddr() net.Addr { return netAddr("udp", c.remote()) }

// Read reads one datagram; bytes that do not fit are lost. On a connected socket it
// returns syscall.ECONNREFUSED when a datagram was answered with port
// unreachable.
func (c *udpConn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFrom(b)
	return n, err
}

// ReadFrom reads one datagram, as Read, and returns its sender's address.
func (c *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	var res tcpip.ReadResult
	room := b
	if len(room) == 0 {
		room = make([]byte, 1) // the stack keeps a datagram for which there is no room
	}
	w := tcpip.SliceWriter(room)
	err := c.await(waiter.ReadableEvents, c.read.wait(), func() (err tcpip.Error) {
		res, err = c.ep.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: true})
		return err
	})
	if err != nil {
		return 0, nil, c.opError("read", err)
	}
	return min(res.Count, len(b)), netAddr("udp", toAddrPort(res.RemoteAddr)), nil
}

// Write sends one datagram to the connected address.
func (c *udpConn) Write(b []byte) (int, error) {
	return c.send(b, nil)
}

// WriteTo sends one datagram to an address: a *net.UDPAddr or another net.Addr
// whose text is an IPv4 address and a port.
func (c *udpConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, err := udpAddress(addr)
	if err != nil {
		return 0, opError("write", "udp", c.LocalAddr(), addr, err)
	}
	full := fullAddress(to)
	return c.send(b, &full)
}

func (c *udpConn) send(b []byte, to *tcpip.FullAddress) (int, error) {
	if len(b) > 0xffff-20-8 {
		// The stack says so only after the datagram is cut into pieces.
		return 0, c.opError("write", syscall.EMSGSIZE)
	}
	err := c.await(waiter.WritableEvents, c.write.wait(), func() tcpip.Error {
		_, err := c.ep.Write(bytes.NewReader(b), tcpip.WriteOptions{To: to})
		return err
	})
	if err != nil {
		return 0, c.opError("write", err)
	}
	return len(b), nil
}

// udpAddress returns the IPv4 address and port of a net.Addr. An address in
// sixteen bytes is the same address.
func udpAddress(addr net.Addr) (netip.AddrPort, error) {
	if addr == nil {
		return netip.AddrPort{}, &net.AddrError{Err: "missing address"}
	}
	a, err := netip.ParseAddrPort(addr.String())
	if err != nil || !a.Addr().Unmap().Is4() {
		return netip.AddrPort{}, &net.AddrError{Err: "not an IPv4 address and port", Addr: addr.String()}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), nil
}

var (
	_ net.Conn       = (*udpConn)(nil)
	_ net.PacketConn = (*udpConn)(nil)
)
