package dhcp

import (
	"maps"
	"slices"
	"sync"
)

// Leases are the leases of all networks, each with its Server.
type Leases struct {
	opt Options

	mu      sync.Mutex
	servers map[string]*Server
}

// New returns Leases without any.
func New(opt Options) *Leases { return &Leases{opt: opt, servers: map[string]*Server{}} }

// Server returns the server of a network. It is made at the first call, and is the same until Forget.
func (l *Leases) Server(network string) *Server {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.servers[network]
	if s == nil {
		s = newServer(network, &l.opt)
		l.servers[network] = s
	}
	return s
}

// all lists the servers, in the order of their networks.
func (l *Leases) all() []*Server {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]*Server, 0, len(l.servers))
	for _, network := range slices.Sorted(maps.Keys(l.servers)) {
		list = append(list, l.servers[network])
	}
	return list
}
