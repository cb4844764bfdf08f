package host

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A socket is an endpoint of the stack with what net.Conn asks of it: calls that
// wait, deadlines, and an end. Its methods may be called from any goroutine.
type socket struct {
	host    *Host
	ep      tcpip.Endpoint
	queue   *waiter.Queue
	network string

	read, write deadline
	closing     sync.Once
	closed      chan struct{}
}

// newSocket makes an endpoint; the caller holds Host.open.
func (h *Host) newSocket(network string, proto tcpip.TransportProtocolNumber) (*socket, error) {
	var queue waiter.Queue
	ep, err := h.stack.NewEndpoint(proto, ipv4.ProtocolNumber, &queue)
	if err != nil {
		return nil, callError("socket", errno(err))
	}
	return h.wrap(network, ep, &queue), nil
}

// wrap makes a socket of an endpoint.
func (h *Host) wrap(network string, ep tcpip.Endpoint, queue *waiter.Queue) *socket {
	return &socket{
		host: h, ep: ep, queue: queue, network: network,
		read: newDeadline(), write: newDeadline(), closed: make(chan struct{}),
	}
}

// await calls try until it would not block any more, and returns its error; in
// between it sleeps until one of the events happens. It gives up with
// os.ErrDeadlineExceeded when expired closes, and with net.ErrClosed when the
// socket or the host does.
func (s *socket) await(events waiter.EventMask, expired <-chan struct{}, try func() tcpip.Error) error {
	if err := s.host.checkBubble(); err != nil {
		return err
	}
	defer s.host.kick()
	if err := s.ended(expired); err != nil {
		return err
	}
	err := try()
	if !wouldBlock(err) {
		return s.translate(err)
	}
	entry, woken := waiter.NewChannelEntry(events | waiter.EventErr | waiter.EventHUp)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	for {
		// It may have become ready before the registration.
		if err := try(); !wouldBlock(err) {
			return s.translate(err)
		}
		s.host.kick()
		select {
		case <-woken:
		case <-expired:
			return os.ErrDeadlineExceeded
		case <-s.closed:
			return net.ErrClosed
		case <-s.host.done:
			return net.ErrClosed
		}
	}
}

// ended says why a call must not even start.
func (s *socket) ended(expired <-chan struct{}) error {
	select {
	case <-s.closed:
		return net.ErrClosed
	case <-s.host.done:
		return net.ErrClosed
	case <-expired:
		return os.ErrDeadlineExceeded
	default:
		return nil
	}
}

// translate returns the error of a call. If the socket was closed meanwhile it is net.ErrClosed, whatever error
// the stack gives.
func (s *socket) translate(err tcpip.Error) error {
	if err == nil {
		return nil
	}
	if ended := s.ended(nil); ended != nil {
		return ended
	}
	return errno(err)
}

func wouldBlock(err tcpip.Error) bool {
	_, ok := err.(*tcpip.ErrWouldBlock)
	return ok
}

// Close ends the socket; calls that wait return. A TCP connection sends what
// is left and says goodbye in the background.
func (s *socket) Close() error {
	if err := s.host.checkBubble(); err != nil {
		return s.opError("close", err)
	}
	err := net.ErrClosed
	s.closing.Do(func() {
		close(s.closed)
		s.ep.Close()
		s.host.kick()
		err = nil
	})
	if err != nil {
		return s.opError("close", err)
	}
	return nil
}

// local and remote return the endpoint's addresses; the zero value if it has
// none.
func (s *socket) local() netip.AddrPort {
	a, err := s.ep.GetLocalAddress()
	if err != nil {
		return netip.AddrPort{}
	}
	return toAddrPort(a)
}

func (s *socket) remote() netip.AddrPort {
	a, err := s.ep.GetRemoteAddress()
	if err != nil {
		return netip.AddrPort{}
	}
	return toAddrPort(a)
}

func (s *socket) opError(op string, err error) error {
	return opError(op, s.network, netAddr(s.network, s.local()), netAddr(s.network, s.remote()), callError(op, err))
}

// SetDeadline implements net.Conn.
func (s *socket) SetDeadline(t time.Time) error {
	return s.setDeadlines(t, &s.read, &s.write)
}

// SetReadDeadline implements net.Conn.
func (s *socket) SetReadDeadline(t time.Time) error { return s.setDeadlines(t, &s.read) }

// SetWriteDeadline implements net.Conn.
func (s *socket) SetWriteDeadline(t time.Time) error { return s.setDeadlines(t, &s.write) }

func (s *socket) setDeadlines(t time.Time, which ...*deadline) error {
	if err := s.host.checkBubble(); err != nil {
		return s.opError("set", err)
	}
	for _, d := range which {
		d.set(t)
	}
	return nil
}

// setInt sets an integer option of the endpoint.
func (s *socket) setInt(opt tcpip.SockOptInt, v int) error {
	return errno(s.ep.SetSockOptInt(opt, v))
}

// A deadline closes a channel when its time comes.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	expired chan struct{}
}

func newDeadline() deadline { return deadline{expired: make(chan struct{})} }

// set changes the time; the zero time means never. Calls that wait already get
// to know of an earlier one, and of a later one unless it has expired.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fired := d.timer != nil && !d.timer.Stop()
	d.timer = nil
	if fired {
		<-d.expired // its function runs without the lock, and closes it at once
	}
	select {
	case <-d.expired:
		d.expired = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	expired := d.expired
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(expired) })
	} else {
		close(expired)
	}
}

// wait returns the channel that closes.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}

// parseAddress reads the address of a call. The address part may be empty,
// which is the host's own or any, as the call has it.
func parseAddress(network, address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a := netip.IPv4Unspecified()
	if host != "" {
		if a, err = netip.ParseAddr(host); err != nil || !a.Is4() {
			return netip.AddrPort{}, &net.AddrError{Err: "not an IPv4 address; an in-process host has no DNS",
				Addr: address}
		}
	}
	n, err := net.LookupPort(network, port)
	if err != nil {
		return netip.AddrPort{}, &net.AddrError{Err: "not a port", Addr: address}
	}
	return netip.AddrPortFrom(a, uint16(n)), nil
}

// transport returns "tcp" or "udp" for a network's name.
func transport(network string) (string, error) {
	switch network {
	case "tcp", "tcp4":
		return "tcp", nil
	case "udp", "udp4":
		return "udp", nil
	}
	return "", net.UnknownNetworkError(network)
}

// netAddr makes the net.Addr of an address; nil if there is none.
func netAddr(network string, a netip.AddrPort) net.Addr {
	switch {
	case !a.IsValid():
		return nil
	case network == "udp":
		return net.UDPAddrFromAddrPort(a)
	}
	return net.TCPAddrFromAddrPort(a)
}

// toAddrPort converts an address of the stack.
func toAddrPort(a tcpip.FullAddress) netip.AddrPort {
	return netip.AddrPortFrom(toAddr(a.Addr), a.Port)
}

// fullAddress converts an address for the stack, to which an empty address means
// any.
func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	full := tcpip.FullAddress{Port: a.Port()}
	if !a.Addr().IsUnspecified() {
		full.Addr = fromAddr(a.Addr())
	}
	return full
}

// Dial connects to an address, as [net.Dial] does: "tcp" or "udp", and an IPv4
// address with a port. TCP connections have the methods of [*net.TCPConn] that
// make sense here (CloseRead, CloseWrite, SetLinger, SetNoDelay, SetKeepAlive,
// SetKeepAlivePeriod). UDP connections also have the methods of [net.PacketConn].
//
// A connection attempt ends with an error after three seconds if the next hop does not answer
// ARP, and otherwise when TCP gives up, after some two minutes.
func (h *Host) Dial(network, address string) (net.Conn, error) {
	return h.DialContext(context.Background(), network, address)
}

// DialContext is Dial that gives up when its context ends; it can be an
// [http.Transport]'s DialContext. The context has no effect on an established
// connection.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return h.DialFrom(ctx, network, ":0", address)
}

// DialFrom is DialContext with a local address: ":40001" chooses the source
// port.
func (h *Host) DialFrom(ctx context.Context, network, local, address string) (net.Conn, error) {
	transport, err := transport(network)
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	from, err := parseAddress(transport, local)
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	to, err := parseAddress(transport, address)
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	if to.Addr().IsUnspecified() {
		// No address means this host, as for package net.
		to = netip.AddrPortFrom(h.Address(), to.Port())
	}
	var conn net.Conn
	if transport == "udp" {
		conn, err = h.dialUDP(ctx, from, to)
	} else {
		conn, err = h.dialTCP(ctx, from, to)
	}
	if err != nil {
		return nil, opError("dial", network, nil, netAddr(transport, to), err)
	}
	return conn, nil
}

// Listen accepts TCP connections, as [net.Listen] does: the network is "tcp",
// the address ":80", or "10.10.10.4:80" with the host's own address; port 0
// chooses one. The listener ends with the host at the latest.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	if t, err := transport(network); err != nil || t != "tcp" {
		return nil, opError("listen", network, nil, nil, net.UnknownNetworkError(network))
	}
	at, err := parseAddress("tcp", address)
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	l, err := h.listenTCP(at)
	if err != nil {
		return nil, opError("listen", network, nil, netAddr("tcp", at), err)
	}
	return l, nil
}

// ListenPacket receives UDP datagrams, as [net.ListenPacket] does: the network is
// "udp"; see Listen for the address.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	if t, err := transport(network); err != nil || t != "udp" {
		return nil, opError("listen", network, nil, nil, net.UnknownNetworkError(network))
	}
	at, err := parseAddress("udp", address)
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	c, err := h.listenUDP(at)
	if err != nil {
		return nil, opError("listen", network, nil, netAddr("udp", at), err)
	}
	return c, nil
}
