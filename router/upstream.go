package router

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/dns"
	"github.com/taprouter/taprouter/internal/metadata"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// Local services ask servers elsewhere what they do not know themselves: name servers, and a metadata service. The
// questions come from the host of the asker's router (see checks.go) and leave by its gateway, with the router's
// address; or from the sockets of the machine, if the State says so.

// Times of a request to a metadata service elsewhere. A station's own server waits a minute (http.Server.WriteTimeout).
const (
	dialTime     = 5 * time.Second
	answerTime   = 50 * time.Second // until the answer begins
	keepTime     = 30 * time.Second // of a connection without a request
	maxWebConns  = 64               // of one router, or of one network
	maxWebHeader = 64 << 10         // bytes
)

// namesTime is how long a question to a name server may take, before it is asked anew.
const namesTime = 4 * time.Second

// asks reports whether a router's own host asks servers for the local services of its networks.
func asks(s *config.State, r *config.Router) bool {
	set := s.Settings()
	return r != nil && r.AdminStateUp && r.Gateway != nil &&
		(len(set.DNS.Forward) > 0 && set.DNS.Via == config.ViaRouter ||
			set.Metadata.Forward != "" && set.Metadata.Via == config.ViaRouter)
}

// askLifetime is how long a TCP connection of a router's own host lives that is no check.
func askLifetime() conntrack.Lifetime {
	return conntrack.Lifetime{Idle: answerTime + dialTime, Opening: dialTime, Closing: time.Second}
}

// upstreams are the ways to servers elsewhere. Those of one router are apart from those of another one, with what they
// remember, as are those of a network without a router. Any goroutine may use them.
type upstreams struct {
	e     *Engine
	hosts sync.Map // of routers, by their ids: *host.Host

	mu    sync.Mutex
	names map[config.ID]*nameUpstream // by the ids of routers and networks
	webs  map[config.ID]*webUpstream
}

// A nameUpstream asks name servers.
type nameUpstream struct {
	of config.DNS
	*dns.Forwarder
}

// A webUpstream asks a metadata service.
type webUpstream struct {
	of  config.Metadata
	way *http.Transport
	to  *metadata.Forward
}

func newUpstreams(e *Engine) *upstreams {
	return &upstreams{e: e, names: map[config.ID]*nameUpstream{}, webs: map[config.ID]*webUpstream{}}
}

// setHost notes the own host of a router; nil: it has none.
func (u *upstreams) setHost(r *ip.Router, h *host.Host) {
	if h == nil {
		u.hosts.Delete(r.ID)
	} else {
		u.hosts.Store(r.ID, h)
	}
}

// forwarder asks the name servers for a host of a network. nil: no other server is asked.
func (u *upstreams) forwarder(s *config.State, network config.ID, from netip.Addr) *dns.Forwarder {
	of := s.Settings().DNS
	key, dial := u.way(s, network, from, of.Via)
	if len(of.Forward) == 0 || dial == nil || u.e.sim != nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.names[key]
	// One that is there may be of a question that began before a change, and that keep has not seen.
	if n == nil || n.of.Via != of.Via || !slices.Equal(n.of.Forward, of.Forward) {
		n = &nameUpstream{of, dns.NewForwarder(dns.Options{
			Servers: of.Forward, Dial: dial, Now: since(time.Now()), Rand: number16,
		})}
		u.names[key] = n
	}
	return n.Forwarder
}

// since is a clock that never goes back.
func since(start time.Time) func() time.Duration {
	return func() time.Duration { return time.Since(start) }
}

// number16 is a number that cannot be foreseen.
func number16() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint16(b[:])
}

// A dialer opens a connection to a server.
type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// way is how a host of a network reaches servers elsewhere, and whose way that is. The dialer is nil if there is none.
func (u *upstreams) way(s *config.State, network config.ID, from netip.Addr, via string) (config.ID, dialer) {
	if via == config.ViaHost {
		return network, new(net.Dialer).DialContext
	}
	r := outwards(s, network, from)
	if r == nil {
		return "", nil
	}
	return r.ID, func(ctx context.Context, network, address string) (net.Conn, error) {
		h, ok := u.hosts.Load(wire.ID(r.ID))
		if !ok {
			return nil, fmt.Errorf("router %q has no way out at present", r.Name)
		}
		return h.(*host.Host).DialContext(ctx, network, address)
	}
}

// outwards is the router by which a host of a network gets outside: the one that is the gateway of the host's subnet,
// or else the first one with a gateway of its own. nil: there is none.
func outwards(s *config.State, network config.ID, from netip.Addr) *config.Router {
	leads := func(p *config.Port) *config.Router {
		if r := s.Router(config.ID(p.DeviceID)); r != nil && r.AdminStateUp && r.Gateway != nil {
			return r
		}
		return nil
	}
	if sub := s.SubnetAt(network, from); sub != nil {
		if p := s.RouterAt(sub); p != nil {
			if r := leads(p); r != nil {
				return r
			}
		}
	}
	for p := range s.InterfacesOn(network) {
		if r := leads(p); r != nil {
			return r
		}
	}
	return nil
}

// metadata serves the metadata of the instances on a network: from the State, or as a metadata service elsewhere has
// them, whatever the State says when they ask.
func (u *upstreams) metadata(network config.ID) http.Handler {
	find := func(from netip.Addr) (metadata.Instance, bool) {
		in, ok := instanceAt(u.e.State(), network, from)
		in.Project = u.e.opt.Project
		return in, ok
	}
	here := metadata.Handler(find)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := u.e.State()
		if s.Settings().Metadata.Forward == "" {
			here.ServeHTTP(w, r)
			return
		}
		from, _ := netip.ParseAddrPort(r.RemoteAddr) // of none, no instance is found
		u.service(s, network, from.Addr().Unmap()).Handler(find).ServeHTTP(w, r)
	})
}

// service passes requests of a host of a network on.
func (u *upstreams) service(s *config.State, network config.ID, from netip.Addr) *metadata.Forward {
	of := s.Settings().Metadata
	key, dial := u.way(s, network, from, of.Via)
	if dial == nil {
		return u.forward(of, noWay{})
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	w := u.webs[key]
	if w == nil || w.of != of {
		w.close()
		w = &webUpstream{of: of, way: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, dialTime)
				defer cancel()
				return dial(ctx, network, address)
			},
			TLSHandshakeTimeout: dialTime, ResponseHeaderTimeout: answerTime, IdleConnTimeout: keepTime,
			MaxConnsPerHost: maxWebConns, MaxIdleConnsPerHost: 2, MaxResponseHeaderBytes: maxWebHeader,
			DisableCompression: true, // the instance decides
		}}
		w.to = u.forward(of, w.way)
		u.webs[key] = w
	}
	return w.to
}

func (u *upstreams) forward(of config.Metadata, way http.RoundTripper) *metadata.Forward {
	to, err := url.Parse(of.Forward)
	if err != nil { // which the State's check has refused
		to, way = new(url.URL), noWay{}
	}
	return &metadata.Forward{URL: to, Secret: of.Secret, Transport: way, Log: u.e.log}
}

// noWay is the way of a network that has none.
type noWay struct{}

var errNoWay = errors.New(`no router of the instance's network has a gateway; via = "host" needs none`)

// RoundTrip implements http.RoundTripper.
func (noWay) RoundTrip(*http.Request) (*http.Response, error) { return nil, errNoWay }

// close closes the connections that are not in use. w may be nil.
func (w *webUpstream) close() {
	if w != nil {
		w.way.CloseIdleConnections()
	}
}

// keep forgets the ways of routers and networks that a State does not have, and all of them that it does not ask for.
func (u *upstreams) keep(s *config.State) {
	u.mu.Lock()
	defer u.mu.Unlock()
	set := s.Settings()
	gone := func(of config.ID) bool { return s.Router(of) == nil && s.Network(of) == nil }
	for of := range u.names {
		if len(set.DNS.Forward) == 0 || gone(of) {
			delete(u.names, of)
		}
	}
	for of, w := range u.webs {
		if w.of != set.Metadata || gone(of) {
			w.close()
			delete(u.webs, of)
		}
	}
}

// close ends the connections to servers. It comes when nothing is asked any more.
func (u *upstreams) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, w := range u.webs {
		w.close()
	}
	clear(u.webs)
	clear(u.names)
}
