package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
)

// bounds are the bounds of a door.
type bounds struct {
	header time.Duration // for the header of a request
	body   time.Duration // for its body
	write  time.Duration // for a client to take the answer, or what a stream has for it
	idle   time.Duration // for the next request on a connection
	wait   time.Duration // for a request until there is room for it
	end    time.Duration // for the requests in flight when the Server ends

	conns   int // connections at once; further ones wait in the kernel's queue
	host    int // of them, by one other host; its further ones are closed
	flight  int // requests at once
	streams int // streams at once
	bodies  int // long bodies that are read at once
}

func usualBounds() *bounds {
	return &bounds{header: 10 * time.Second, body: 30 * time.Second, write: 60 * time.Second, idle: 60 * time.Second,
		wait: 2 * time.Second, end: 5 * time.Second, conns: 256, host: 64, flight: 100, streams: 16, bodies: 16}
}

const (
	headerMost = 64 << 10 // bytes of a header
	bodyMost   = 1 << 20  // bytes of a body, unless the Route says otherwise
	bodySmall  = 64 << 10 // bytes; what is longer is a long body
)

// Options are the settings of a Server.
type Options struct {
	Socket       string   // path of the unix socket; "none"; empty: DefaultSocket if it can be had
	Listen       []string // addresses with ports, for TCP
	AllowedHosts []string // names that clients may call this host by, beside localhost and loopback addresses
	TokenFile    string   // the token that TCP clients must have; empty: none
	CertFile     string   // PEM, with KeyFile: TLS on all TCP addresses
	KeyFile      string
	Logger       *slog.Logger // nil: no log

	// Former are files of HandOver of the process before, by their names. Open takes what it needs out of it, and
	// closes the rest.
	Former map[string]*os.File

	bounds *bounds // other than the usual ones, for tests
}

// A Route says how requests are treated that are not as most are. Its Pattern is one of http.ServeMux.
type Route struct {
	Pattern string
	Open    bool  // needs no token
	Local   bool  // only by the unix socket
	Stream  bool  // body and answer may take any time; a bounded number at once, beside the other requests
	Body    int64 // the longest body in bytes; 0: 1 MiB
}

// ServeHTTP makes a Route what a ServeMux finds. It is never called.
func (*Route) ServeHTTP(http.ResponseWriter, *http.Request) {}

// A Service is what a Server serves.
type Service struct {
	Handler http.Handler
	Routes  []Route

	// User names the user of a token that Handler has given out. The second result is false for tokens that it has not.
	// With nil it gives out none.
	User func(token string) (string, bool)
}

// A Server has the doors of the API. Its methods may be called by any number of goroutines, but for Serve, which is
// called once.
type Server struct {
	opt     Options
	bounds  *bounds
	log     *slog.Logger
	doors   []*door
	secrets atomic.Pointer[secrets]
	hosts   map[string]bool

	noSocket error // why the default socket is not there; nil: it is, or was not asked for

	service Service
	routes  *http.ServeMux
	ending  context.Context // ends streams
	end     context.CancelFunc
	serving sync.WaitGroup

	refusals *rate.Limiter
	unlogged atomic.Int64
}

// A door is one listener, with its bounds.
type door struct {
	net.Listener
	inner   net.Listener // without bounds and TLS
	key     string       // of HandOver
	name    string
	local   bool // the unix socket
	bounds  *bounds
	server  *http.Server
	flight  chan struct{}
	streams chan struct{}
	bodies  chan struct{}
	conns   chan struct{}
}

// Open opens all doors. Clients can connect from then on, and wait until Serve is called. A default socket that cannot
// be had is a line in the log then. Any other door that cannot be opened is an error, and then none is open.
func Open(opt Options) (*Server, error) {
	s := &Server{opt: opt, log: opt.Logger, hosts: map[string]bool{}, refusals: newRefusals()}
	if s.bounds = opt.bounds; s.bounds == nil {
		s.bounds = usualBounds()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ending, s.end = context.WithCancel(context.Background())
	for _, name := range opt.AllowedHosts {
		s.hosts[strings.ToLower(strings.TrimSuffix(name, "."))] = true
	}
	err := s.open()
	for _, f := range opt.Former {
		_ = f.Close() // it is not needed any more
	}
	if err != nil {
		for _, d := range s.doors {
			_ = d.Close() // the first error is the one to tell
		}
		return nil, err
	}
	return s, nil
}

func (s *Server) open() error {
	if (s.opt.CertFile == "") != (s.opt.KeyFile == "") {
		return errors.New("--tls-cert and --tls-key go together: give both, or none")
	}
	if s.opt.TokenFile != "" && len(s.opt.Listen) == 0 {
		return errors.New("--token-file is for clients over TCP, and there is no --listen: " +
			"the socket's permissions guard the socket")
	}
	read, err := readSecrets(s.opt)
	if err != nil {
		return err
	}
	s.secrets.Store(read)
	for _, address := range s.opt.Listen {
		l, err := s.listen(address)
		if err != nil {
			return err
		}
		s.add(l, tcpKey+address, false)
	}
	switch s.opt.Socket {
	case "none":
	case "":
		l, err := openSocket(DefaultSocket, s.opt.Former)
		if err != nil {
			s.noSocket = err
			break
		}
		s.add(l, DefaultSocket, true)
	default:
		l, err := openSocket(s.opt.Socket, s.opt.Former)
		if err != nil {
			return err
		}
		s.add(l, s.opt.Socket, true)
	}
	return nil
}

// listen opens a TCP address. One that other hosts reach is opened only with a token and TLS.
func (s *Server) listen(address string) (net.Listener, error) {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w: write ADDRESS:PORT, such as 127.0.0.1:9696", address, err)
	}
	if !at.IP.IsLoopback() && (s.opt.TokenFile == "" || s.opt.CertFile == "") {
		return nil, fmt.Errorf("--listen %s: other hosts reach this address: give --token-file, --tls-cert and "+
			"--tls-key, or listen on 127.0.0.1:%d", address, at.Port)
	}
	l, err := inherited(s.opt.Former, tcpKey+address)
	if l == nil && err == nil {
		l, err = net.ListenTCP("tcp", at)
	}
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", address, reasonOf(err))
	}
	return l, nil
}

func (s *Server) add(l net.Listener, key string, local bool) {
	d := &door{inner: l, key: key, name: l.Addr().String(), local: local, bounds: s.bounds,
		flight:  make(chan struct{}, s.bounds.flight),
		streams: make(chan struct{}, s.bounds.streams), bodies: make(chan struct{}, s.bounds.bodies),
		conns: make(chan struct{}, s.bounds.conns)}
	d.Listener = &bounded{Listener: l, conns: d.conns, done: make(chan struct{}),
		ofHosts: hostConns{most: s.bounds.host, count: map[netip.Prefix]int{}}}
	if !local && s.opt.CertFile != "" {
		d.Listener = tls.NewListener(d.Listener, tlsConfig(&s.secrets))
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	d.server = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(d, w, r) }),
		ReadHeaderTimeout: s.bounds.header,
		IdleTimeout:       s.bounds.idle,
		MaxHeaderBytes:    headerMost,
		Protocols:         protocols,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext:       withPeer,

		DisableGeneralOptionsHandler: true, // OPTIONS * comes through the gate, too
	}
	s.doors = append(s.doors, d)
}

// Addresses are where the doors are: host and port, or the path of the socket.
func (s *Server) Addresses() []string {
	var list []string
	for _, d := range s.doors {
		list = append(list, d.name)
	}
	return list
}

// Serve begins to answer, and returns.
func (s *Server) Serve(service Service) {
	s.service, s.routes = service, http.NewServeMux()
	for i := range service.Routes {
		s.routes.Handle(service.Routes[i].Pattern, &service.Routes[i])
	}
	if s.noSocket != nil {
		s.log.Warn("the API has no socket, the router goes on without; --socket PATH gives it another, "+
			"--socket none is for none", "err", s.noSocket)
	}
	for _, d := range s.doors {
		s.serving.Go(func() {
			if err := d.server.Serve(d.Listener); !errors.Is(err, http.ErrServerClosed) {
				s.log.Error("the API cannot be reached here any more", "at", d.name, "err", err)
			}
		})
		s.log.Info("API", "at", d.name)
	}
}

// Reload reads the token and the certificate again. If it fails, the former ones stay. The log names files that every
// user of the host can read.
func (s *Server) Reload() error {
	read, err := readSecrets(s.opt)
	if err != nil {
		return err
	}
	for _, path := range exposed(s.opt.TokenFile, s.opt.KeyFile) {
		s.log.Warn("every user of this host can read a secret: take the right away by chmod o-rwx", "file", path)
	}
	s.secrets.Store(read)
	return nil
}

// Close closes the doors, ends streams, and gives the other requests in flight a while to end. Then it cuts them off.
func (s *Server) Close() {
	s.end()
	ctx, cancel := context.WithTimeout(context.Background(), s.bounds.end)
	defer cancel()
	var all sync.WaitGroup
	for _, d := range s.doors {
		all.Go(func() {
			err := d.server.Shutdown(ctx)
			_ = d.Close() // one that was not served yet; else it is closed already
			if err != nil {
				s.log.Warn("requests are cut off", "at", d.name, "err", err)
				_ = d.server.Close() // what it could say is that a connection is closed already
			}
		})
	}
	all.Wait()
	s.serving.Wait()
}

// Secret says whether a text is the token, or any if there is no token.
func (s *Server) Secret(text string) bool {
	token := s.secrets.Load().token
	return token == nil || token.equals(text)
}

// Salt is another text for each token, and empty without one. It does not give the token away.
func (s *Server) Salt() []byte {
	token := s.secrets.Load().token
	if token == nil {
		return nil
	}
	return token.sum[:]
}

func newRequestID() string { return "req-" + uuid.NewString() }
