package host

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// backlog is how many connections may wait to be accepted; Linux's default.
const backlog = 4096

// dialTCP connects, or gives up when the context ends.
func (h *Host) dialTCP(ctx context.Context, from, to netip.AddrPort) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var s *socket
	err := h.open(func() (err error) {
		s, err = h.newSocket("tcp", tcp.ProtocolNumber)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.connect(ctx, from, to); err != nil {
		_ = s.Close() // no caller has the socket yet; the reason is in err
		return nil, err
	}
	return &tcpConn{s}, nil
}

// connect starts the handshake and waits for its end.
func (s *socket) connect(ctx context.Context, from, to netip.AddrPort) error {
	entry, woken := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	var started tcpip.Error
	err := s.host.open(func() error {
		if err := s.bindTCP(from, to.Addr()); err != nil {
			return err
		}
		started = s.ep.Connect(fullAddress(to))
		return nil
	})
	if err != nil {
		return err
	}
	return s.connected(ctx, started, woken)
}

// bindTCP binds a socket that is going to connect. Ephemeral ports are taken one
// after the other, not at random as the stack would: a port that is used again
// while the peer still has its last connection in TIME-WAIT has to wait for
// a minute, unless the sequence numbers have grown in between (RFC 6191), which
// they have not where time stands still.
//
// The address is always one of the host's own: a port that is bound to any address the
// stack frees under the one that the connection has got since, which is not at
// all, until a host that has dialed often enough has no port left.
func (s *socket) bindTCP(from netip.AddrPort, to netip.Addr) error {
	if from.Addr().IsUnspecified() {
		from = netip.AddrPortFrom(s.host.sourceFor(to), from.Port())
	}
	if from.Port() != 0 {
		return s.bind(from)
	}
	const tries, span = 64, lastEphemeral - firstEphemeral + 1
	for range tries {
		port := firstEphemeral + s.host.ports.Add(1)%span
		err := s.ep.Bind(fullAddress(netip.AddrPortFrom(from.Addr(), uint16(port))))
		if _, taken := err.(*tcpip.ErrPortInUse); !taken {
			return callError("bind", errno(err))
		}
	}
	return nil // crowded: the stack finds a port that is free towards the destination
}

// connected waits for the end of the handshake.
func (s *socket) connected(ctx context.Context, started tcpip.Error, woken <-chan struct{}) error {
	if _, ok := started.(*tcpip.ErrConnectStarted); !ok {
		return callError("connect", errno(started))
	}
	s.host.kick()
	select {
	case <-woken:
		return callError("connect", s.translate(s.ep.LastError()))
	case <-ctx.Done():
		return ctx.Err()
	case <-s.host.done:
		return net.ErrClosed
	}
}

// bind gives the socket a local address, unless any will do.
func (s *socket) bind(at netip.AddrPort) error {
	if at.Port() == 0 && at.Addr().IsUnspecified() {
		return nil
	}
	// Connections of an earlier socket that are still saying goodbye must not
	// keep a new one from its port, as package net has it on Unix.
	s.ep.SocketOptions().SetReuseAddress(true)
	return callError("bind", errno(s.ep.Bind(fullAddress(at))))
}

// listenTCP starts a listener.
func (h *Host) listenTCP(at netip.AddrPort) (net.Listener, error) {
	var s *socket
	err := h.open(func() (err error) {
		if s, err = h.newSocket("tcp", tcp.ProtocolNumber); err != nil {
			return err
		}
		s.ep.SocketOptions().SetReuseAddress(true)
		if err := callError("bind", errno(s.ep.Bind(fullAddress(at)))); err != nil {
			s.ep.Close()
			return err
		}
		if err := callError("listen", errno(s.ep.Listen(backlog))); err != nil {
			s.ep.Close()
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &listener{s}, nil
}

// A listener is a net.Listener.
type listener struct{ *socket }

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	var ep tcpip.Endpoint
	var queue *waiter.Queue
	err := l.await(waiter.ReadableEvents, nil, func() (err tcpip.Error) {
		ep, queue, err = l.ep.Accept(nil)
		return err
	})
	if err != nil {
		return nil, l.opError("accept", err)
	}
	return &tcpConn{l.host.wrap("tcp", ep, queue)}, nil
}

// Addr returns the listener's address.
func (l *listener) Addr() net.Addr { return netAddr("tcp", l.local()) }

// A tcpConn is a net.Conn with the methods of *net.TCPConn that make sense here.
type tcpConn struct{ *socket }

// LocalAddr returns the host's end, a *net.TCPAddr.
func (c *tcpConn) LocalAddr() net.Addr { return netAddr("tcp", c.local()) }

// RemoteAddr returns the other end, a *net.TCPAddr.
func (c *tcpConn) RemoteAddr() net.Addr { return netAddr("tcp", c.remote()) }

// Read implements net.Conn.
func (c *tcpConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, eof := 0, false
	w := tcpip.SliceWriter(b)
	err := c.await(waiter.ReadableEvents, c.read.wait(), func() tcpip.Error {
		res, err := c.ep.Read(&w, tcpip.ReadOptions{})
		n = res.Count
		if _, eof = err.(*tcpip.ErrClosedForReceive); eof {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, c.opError("read", err)
	}
	if eof {
		// The end that the host's own Close makes is none of the peer's.
		if err := c.ended(nil); err != nil {
			return 0, c.opError("read", err)
		}
		return 0, io.EOF
	}
	c.ep.ModerateRecvBuf(n)
	return n, nil
}

// Write implements net.Conn: it returns when TCP has taken everything.
func (c *tcpConn) Write(b []byte) (int, error) {
	r := bytes.NewReader(b)
	for r.Len() > 0 {
		err := c.await(waiter.WritableEvents, c.write.wait(), func() tcpip.Error {
			_, err := c.ep.Write(r, tcpip.WriteOptions{})
			return err
		})
		if err != nil {
			return len(b) - r.Len(), c.opError("write", err)
		}
	}
	return len(b), nil
}

// CloseRead ends the reading side.
func (c *tcpConn) CloseRead() error { return c.shutdown(tcpip.ShutdownRead) }

// CloseWrite ends the writing side: the peer reads the data that is left, then io.EOF.
func (c *tcpConn) CloseWrite() error { return c.shutdown(tcpip.ShutdownWrite) }

func (c *tcpConn) shutdown(how tcpip.ShutdownFlags) error {
	err := c.ended(nil)
	if err == nil {
		err = c.translate(c.ep.Shutdown(how))
		c.host.kick()
	}
	if err != nil {
		return c.opError("close", callError("shutdown", err))
	}
	return nil
}

// SetLinger sets what Close does with unsent data, as for *net.TCPConn: with 0
// it is thrown away and the peer gets RST, with a negative number Close leaves
// the rest to the background, which is the default.
func (c *tcpConn) SetLinger(seconds int) error {
	c.ep.SocketOptions().SetLinger(tcpip.LingerOption{
		Enabled: seconds >= 0,
		Timeout: time.Duration(max(seconds, 0)) * time.Second,
	})
	return nil
}

// SetNoDelay turns Nagle's algorithm off, which is the default, or on.
func (c *tcpConn) SetNoDelay(off bool) error {
	c.ep.SocketOptions().SetDelayOption(!off)
	return nil
}

// SetKeepAlive turns keepalive probes on or off, which is the default.
func (c *tcpConn) SetKeepAlive(on bool) error {
	c.ep.SocketOptions().SetKeepAlive(on)
	return nil
}

// SetKeepAlivePeriod sets the idle time before the first probe and between
// probes.
func (c *tcpConn) SetKeepAlivePeriod(d time.Duration) error {
	idle, interval := tcpip.KeepaliveIdleOption(d), tcpip.KeepaliveIntervalOption(d)
	for _, opt := range []tcpip.SettableSocketOption{&idle, &interval} {
		if err := c.ep.SetSockOpt(opt); err != nil {
			return c.opError("set", errno(err))
		}
	}
	return nil
}

var (
	_ net.Conn     = (*tcpConn)(nil)
	_ net.Listener = (*listener)(nil)
)
