package serve

import (
	"net"
	"net/netip"
	"sync"
)

// A bounded listener has so many connections at once. Others wait in the kernel's queue. One other host has only a part
// of them, so that it cannot keep the rest out: beyond that its connections are closed as soon as they come.
type bounded struct {
	net.Listener
	conns   chan struct{}
	done    chan struct{}
	once    sync.Once
	ofHosts hostConns
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.conns <- struct{}{}:
	case <-b.done:
		return nil, net.ErrClosed
	}
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			<-b.conns
			return nil, err
		}
		host, other := hostOf(c.RemoteAddr())
		if other && !b.ofHosts.add(host) {
			_ = c.Close() // it has not said anything yet
			continue
		}
		return &conn{Conn: c, release: sync.OnceFunc(func() {
			if other {
				b.ofHosts.remove(host)
			}
			<-b.conns
		})}, nil
	}
}

// Close implements net.Listener.
func (b *bounded) Close() error {
	err := net.ErrClosed
	b.once.Do(func() {
		close(b.done)
		err = b.Listener.Close()
	})
	return err
}

// hostConns counts the connections of other hosts. Its methods may be called by any number of goroutines.
type hostConns struct {
	most  int // of one host
	mu    sync.Mutex
	count map[netip.Prefix]int
}

// add counts a connection, if the host may have another one.
func (h *hostConns) add(host netip.Prefix) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count[host] >= h.most {
		return false
	}
	h.count[host]++
	return true
}

func (h *hostConns) remove(host netip.Prefix) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count[host]--; h.count[host] == 0 {
		delete(h.count, host)
	}
}

// hostOf is the other host at an address: an IPv4 address, or a /64 of IPv6, of which a host has all addresses. The
// result is false for this host, whose programs all have the same address, and for an address that is not one of TCP.
func hostOf(addr net.Addr) (netip.Prefix, bool) {
	at, ok := addr.(*net.TCPAddr)
	if !ok || at.IP.IsLoopback() {
		return netip.Prefix{}, false
	}
	ip := at.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	host, err := ip.Prefix(bits)
	return host, err == nil
}

// A conn is a connection of a bounded listener.
type conn struct {
	net.Conn
	release func()
}

// NetConn is the connection itself.
func (c *conn) NetConn() net.Conn { return c.Conn }

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}
