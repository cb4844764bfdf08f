package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A tcpStack is the TCP of one network's services: a stack of IP packets, without ARP. It is made when the first
// packet comes, and ends when there has been none for a while. It has every address that it is asked at, as the station
// only gives it packets for services.
type tcpStack struct {
	station *Station
	stack   *stack.Stack
	link    *channel.Endpoint
	ctx     context.Context // ends with the stack
	cancel  context.CancelFunc
	web     conns

	mu     sync.Mutex
	askers map[netip.Addr]asker // where hosts are
	conns  int
	used   time.Time
	idle   *time.Timer
	ended  bool
}

// An asker is where a host was when it last sent something.
type asker struct {
	at  *wire.Port
	mac packet.MAC
}

// Limits of TCP.
const (
	maxStacks   = 256  // networks of an engine that use TCP at the same time
	maxConns    = 128  // connections of one network
	maxOpening  = 64   // handshakes of one network
	maxAskers   = 1024 // hosts whose places a network's stack remembers
	stackIdle   = 2 * time.Minute
	bufferBytes = 64 << 10 // of a connection's either direction
)

// input gives a TCP packet to the stack.
func (s *Station) input(c *Config, rq *request) {
	k := s.tcp(c)
	if k == nil {
		return // the client sends again
	}
	k.mu.Lock()
	if _, known := k.askers[rq.src.Addr()]; known || len(k.askers) < maxAskers {
		k.askers[rq.src.Addr()] = asker{rq.at, rq.asker}
	}
	k.used = time.Now()
	k.mu.Unlock()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(rq.bytes)})
	k.link.InjectInbound(ipv4.ProtocolNumber, pkt)
	pkt.DecRef()
}

// tcp is the station's stack, which is made if there is none. It is nil if there are too many. The runner calls it for
// one batch of the station at a time.
func (s *Station) tcp(c *Config) *tcpStack {
	s.mu.Lock()
	k, gone := s.stack, s.gone
	s.mu.Unlock()
	if k != nil || gone || s.runner.direct || !s.runner.reserve() {
		return k
	}
	k = newStack(s, c.MTU)
	s.mu.Lock()
	gone = s.gone
	if !gone {
		s.stack = k
	}
	s.mu.Unlock()
	if gone {
		k.close()
		return nil
	}
	return k
}

func newStack(s *Station, mtu int) *tcpStack {
	k := &tcpStack{station: s, link: channel.New(maxAnswers, uint32(mtu), ""), askers: map[netip.Addr]asker{},
		used: time.Now()}
	k.ctx, k.cancel = context.WithCancel(s.runner.ctx)
	k.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC},
	})
	sack := tcpip.TCPSACKEnabled(true)
	for _, opt := range []tcpip.SettableTransportProtocolOption{
		&sack,
		&tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: bufferBytes, Max: bufferBytes},
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: bufferBytes, Max: bufferBytes},
	} {
		must(k.stack.SetTransportProtocolOption(tcp.ProtocolNumber, opt))
	}
	const nic = 1
	must(k.stack.CreateNIC(nic, k.link))
	must(k.stack.SetPromiscuousMode(nic, true))
	must(k.stack.SetSpoofing(nic, true))
	k.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	forwarder := tcp.NewForwarder(k.stack, 0, maxOpening, k.accept)
	k.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, forwarder.HandlePacket)
	k.link.AddNotify(k)
	k.web.come = make(chan net.Conn)
	k.web.done = k.ctx.Done()
	k.mu.Lock()
	k.idle = time.AfterFunc(stackIdle, k.rest)
	k.mu.Unlock()
	s.runner.start(k.serveMetadata)
	if !s.runner.start(func() { <-k.ctx.Done(); k.close() }) {
		k.close() // the runner has ended meanwhile
	}
	return k
}

// must is for settings of a stack that cannot fail.
func must(err tcpip.Error) {
	if err != nil {
		panic("service: " + err.String())
	}
}

// rest ends the stack if nothing has come for a while and no connection is open.
func (k *tcpStack) rest() {
	k.mu.Lock()
	quiet := time.Since(k.used)
	busy := k.conns > 0 || quiet < stackIdle
	if busy && !k.ended {
		k.idle.Reset(max(stackIdle-quiet, time.Second))
	}
	k.mu.Unlock()
	if !busy {
		k.close()
	}
}

// close ends the stack with its connections. Further calls do nothing.
func (k *tcpStack) close() {
	k.mu.Lock()
	ended := k.ended
	k.ended = true
	k.mu.Unlock()
	if ended {
		return
	}
	s := k.station
	s.mu.Lock()
	if s.stack == k {
		s.stack = nil
	}
	s.mu.Unlock()
	k.cancel()
	k.idle.Stop()
	k.stack.Destroy()
	s.runner.release()
}

// WriteNotify implements channel.Notification: the stack has packets to send.
func (k *tcpStack) WriteNotify() {
	var out []answer
	for pkt := k.link.Read(); pkt != nil; pkt = k.link.Read() {
		v := pkt.ToView()
		b := append([]byte(nil), v.AsSlice()...)
		v.Release()
		pkt.DecRef()
		if len(b) < header.IPv4MinimumSize {
			continue
		}
		ip := header.IPv4(b)
		src, dst := netip.AddrFrom4(ip.SourceAddress().As4()), netip.AddrFrom4(ip.DestinationAddress().As4())
		k.mu.Lock()
		to, known := k.askers[dst]
		k.mu.Unlock()
		if known {
			out = append(out, answer{to.at, to.mac, to.mac, netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0), b})
		}
	}
	k.station.answer(out)
}

// accept takes or refuses a new connection.
func (k *tcpStack) accept(r *tcp.ForwarderRequest) {
	id := r.ID()
	c := k.station.config.Load()
	k.mu.Lock()
	full := k.ended || k.conns >= maxConns
	if !full {
		k.conns++
	}
	k.mu.Unlock()
	web := id.LocalPort == metadataPort
	if full || web && c.Metadata == nil || !web && c.Names == nil {
		if !full {
			k.over()
		}
		r.Complete(true)
		return
	}
	var wq waiter.Queue
	ep, err := r.CreateEndpoint(&wq)
	if err != nil {
		k.over()
		r.Complete(true)
		return
	}
	r.Complete(false)
	conn := &counted{Conn: gonet.NewTCPConn(&wq, ep), over: k.over}
	if web {
		if !k.web.give(conn) {
			conn.Close()
		}
		return
	}
	from := netip.AddrFrom4(id.RemoteAddress.As4())
	if !k.station.runner.start(func() { c.Names.ServeConn(k.ctx, conn, from) }) {
		conn.Close()
	}
}

// over notes that a connection has ended.
func (k *tcpStack) over() {
	k.mu.Lock()
	k.conns--
	k.used = time.Now()
	k.mu.Unlock()
}

// serveMetadata serves HTTP until the stack ends.
func (k *tcpStack) serveMetadata() {
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h := k.station.config.Load().Metadata; h != nil {
				h.ServeHTTP(w, r)
			} else {
				http.NotFound(w, r)
			}
		}),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	_ = server.Serve(&k.web) // which says only that the stack has ended
	_ = server.Close()
}

// conns are connections as a listener has them.
type conns struct {
	come chan net.Conn
	done <-chan struct{}
}

func (l *conns) give(c net.Conn) bool {
	select {
	case l.come <- c:
		return true
	case <-l.done:
		return false
	}
}

// Accept implements net.Listener.
func (l *conns) Accept() (net.Conn, error) {
	select {
	case c := <-l.come:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The stack ends the listener.
func (l *conns) Close() error { return nil }

// Addr implements net.Listener.
func (l *conns) Addr() net.Addr { return &net.TCPAddr{Port: metadataPort} }

// A counted connection says when it is over.
type counted struct {
	net.Conn
	once sync.Once
	over func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	err := error(errors.ErrUnsupported)
	c.once.Do(func() {
		err = c.Conn.Close()
		c.over()
	})
	return err
}
