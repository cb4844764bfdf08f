package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
)

// HTTPClient returns a client whose connections start at this host. It opens a
// new connection for every request, so that a load balancer sees each one, and
// it keeps none: nothing is left behind once a response's body is closed. It
// uses no proxy and sets no timeout; give requests a context.
func (h *Host) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:       h.DialContext,
		DisableKeepAlives: true,
	}}
}

// ListenAndServe answers HTTP requests at an address such as ":80" until the host
// closes, or StopServing. Unlike [http.ListenAndServe] it returns as soon as the
// listener exists; the rest happens in the background.
func (h *Host) ListenAndServe(address string, handler http.Handler) error {
	l, err := h.Listen("tcp", address)
	if err != nil {
		return err
	}
	// handlers counts connections that are being served: the server itself does
	// not wait for them.
	var handlers sync.WaitGroup
	srv := &http.Server{
		Handler:  handler,
		ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew: // called before the connection's goroutine starts
				handlers.Add(1)
			case http.StateClosed, http.StateHijacked:
				handlers.Done()
			}
		},
	}
	return h.serve(portOf(l.Addr()), srv, func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			h.log.Warn("HTTP server has stopped", "address", address, "err", err)
		}
		handlers.Wait()
	})
}

// A service is what the host closes to end what it serves at a port.
type service struct {
	io.Closer
	port uint16
}

func portOf(a net.Addr) uint16 {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return uint16(tcp.Port)
	}
	return 0
}

// serve runs a service until the host closes, or StopServing, which close c for it.
func (h *Host) serve(port uint16, c io.Closer, run func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		_ = c.Close() // no caller has it yet; the caller gets the error that the host is closed
		return net.ErrClosed
	}
	h.servers = append(h.servers, service{c, port})
	h.services.Go(run)
	return nil
}

// StopServing ends what ListenAndServe, ServeName or ServeEcho serve at a port, as
// if the program that did so had ended: its open connections are closed, and new
// ones are refused, until the port is served again. An error wraps fs.ErrNotExist
// if nothing is served there, and net.ErrClosed after Close.
func (h *Host) StopServing(port uint16) error {
	if err := h.checkBubble(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return net.ErrClosed
	}
	var errs []error
	found := false
	h.servers = slices.DeleteFunc(h.servers, func(s service) bool {
		if s.port != port {
			return false
		}
		found = true
		errs = append(errs, s.Close())
		return true
	})
	if !found {
		return fmt.Errorf("host: nothing is served at port %d: %w", port, fs.ErrNotExist)
	}
	return errors.Join(errs...)
}

// NameHandler answers every request with two lines: the host's name, and the
// client's address as the host sees it, such as "client 10.10.10.4:40001".
func (h *Host) NameHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		// It fails when the client has gone, which is the client's affair.
		_, _ = fmt.Fprintf(w, "%s\nclient %s\n", h.Name(), r.RemoteAddr)
	})
}

// ServeName serves NameHandler's page by HTTP at a port until the host closes, or
// StopServing.
func (h *Host) ServeName(port uint16) error {
	return h.ListenAndServe(fmt.Sprintf(":%d", port), h.NameHandler())
}

// ServeEcho sends everything back that arrives at a port, by TCP and by UDP,
// until the host closes, or StopServing.
func (h *Host) ServeEcho(port uint16) error {
	address := fmt.Sprintf(":%d", port)
	l, err := h.Listen("tcp", address)
	if err != nil {
		return err
	}
	p, err := h.ListenPacket("udp", address)
	if err != nil {
		_ = l.Close() // the reason is in err
		return err
	}
	if err := h.serve(port, l, func() { h.echoTCP(l) }); err != nil {
		_ = p.Close() // the reason is in err
		return err
	}
	return h.serve(port, p, func() { echoUDP(p) })
}

// echoTCP serves connections until the listener closes, and waits for them. It ends
// them itself, unless the host closes, which resets them.
func (h *Host) echoTCP(l net.Listener) {
	ctx, end := context.WithCancel(context.Background())
	defer end()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if h.open(func() error { return nil }) == nil {
				end()
			}
			return
		}
		conns.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })() // twice does no harm
			// A connection that ends badly is the peer's to complain about.
			_, _ = io.Copy(c, c)
		})
	}
}

// echoUDP answers datagrams until the socket closes.
func echoUDP(p net.PacketConn) {
	b := make([]byte, 64<<10)
	for {
		n, from, err := p.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			// A datagram that cannot be sent is lost, as any datagram may be.
			_, _ = p.WriteTo(b[:n], from)
		}
	}
}
