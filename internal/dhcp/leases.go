package dhcp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Leases are the leases of all networks, each with its Server.
type Leases struct {
	opt Options

	gate sync.RWMutex // whoever changes leases holds it for reading

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
		s = newServer(network, l)
		l.servers[network] = s
	}
	return s
}

// Networks lists the networks that have, or had, a Server.
func (l *Leases) Networks() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.servers))
}

// known returns the server of a network, nil if there is none yet.
func (l *Leases) known(network string) *Server {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.servers[network]
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

// Load takes over leases that were kept. It comes before the first message. Leases that have ended are told to the
// Keeper as gone with the next change.
func (l *Leases) Load(leases []Lease) {
	byEnds := func(a, b Lease) int { return a.Ends.Compare(b.Ends) } // the order of quarantined addresses
	for _, lease := range slices.SortedFunc(slices.Values(leases), byEnds) {
		if !lease.Address.Is4() {
			continue
		}
		e := &entry{Lease: lease, state: leased}
		if lease.Declined {
			e.state = quarantined
		}
		s := l.Server(lease.Network)
		s.mu.Lock()
		s.table.put(e)
		s.mu.Unlock()
	}
}

// List lists the leases that have not ended, by network and address.
func (l *Leases) List(now time.Time) []Lease {
	var list []Lease
	for _, s := range l.all() {
		from := len(list)
		s.mu.Lock()
		for _, e := range s.table.leases {
			if now.Before(e.Ends) {
				list = append(list, e.Lease)
			}
		}
		s.mu.Unlock()
		slices.SortFunc(list[from:], func(a, b Lease) int { return a.Address.Compare(b.Address) })
	}
	return list
}

// Holder finds the lease of an address. It reports false if there is none, or it has ended.
func (l *Leases) Holder(now time.Time, network string, a netip.Addr) (Lease, bool) {
	s := l.known(network)
	if s == nil {
		return Lease{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.table.byAddr[a]; e != nil && e.state == leased && now.Before(e.Ends) {
		return e.Lease, true
	}
	return Lease{}, false
}

// Release ends the lease of an address, and returns it. Its client learns of it when it renews the lease. It reports
// false if there is no such lease.
func (l *Leases) Release(now time.Time, network string, a netip.Addr) (Lease, bool, error) {
	s := l.known(network)
	if s == nil {
		return Lease{}, false, nil
	}
	return s.Release(now, a)
}

// A Claim is an address that an object of a State is about to have.
type Claim struct {
	Network string
	Address netip.Addr
	MAC     MAC // of a port; a lease of this MAC address is not in its way
}

// Hold keeps leases as they are until release is called. It waits for changes of leases that are
// being written down, because they may fail.
func (l *Leases) Hold() (release func()) {
	l.gate.Lock()
	return l.gate.Unlock
}

// ClaimAll keeps addresses from clients while a State with them comes into force, until done is called. An address with
// a lease of another MAC address is left out.
func (l *Leases) ClaimAll(now time.Time, claims []Claim) (done func()) {
	var taken []Claim
	for _, c := range claims {
		if l.Server(c.Network).claim(now, c) == nil {
			taken = append(taken, c)
		}
	}
	return func() {
		for _, c := range taken {
			l.Server(c.Network).unclaim(c.Address)
		}
	}
}

// claim keeps one address from clients, or returns its lease.
func (s *Server) claim(now time.Time, c Claim) *Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.table.byAddr[c.Address]; e != nil && e.state == leased && now.Before(e.Ends) && e.MAC != c.MAC {
		l := e.Lease
		return &l
	}
	s.table.claimed[c.Address]++
	return nil
}

func (s *Server) unclaim(a netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lower(s.table.claimed, a)
	s.table.version++
}

// Forget ends all leases of a network that is gone.
func (l *Leases) Forget(now time.Time, network string) error {
	s := l.known(network)
	if s == nil {
		return nil
	}
	failed := 0
	s.change(now, func() {
		t := s.table
		for t.kept() > 0 && failed == 0 {
			before := t.kept()
			for range min(before, maxBatch) {
				if len(t.leases) > 0 {
					s.drop(t.leases[0], nil)
				} else {
					s.drop(t.quarantine.Front().Value.(*entry), nil)
				}
			}
			s.flush()
			if t.kept() > before-min(before, maxBatch) {
				failed = t.kept()
			}
		}
	})
	if failed > 0 {
		return fmt.Errorf("dhcp: network %s is gone, and the store keeps %d leases of it", network, failed)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.servers, network)
	return nil
}

// Tick takes away what has ended on all networks. It is called from time to time, such as once a minute.
func (l *Leases) Tick(now time.Time) {
	for _, s := range l.all() {
		s.Tick(now)
	}
}

// Stats says how many messages have met which fate, and what the addresses of a network are.
type Stats struct {
	Counts                      [NumReasons]uint64
	Leases, Offers, Quarantined int
	Pools                       []PoolStats // of the Config's subnets, in their order
}

// PoolStats are the pools of one subnet.
type PoolStats struct {
	CIDR netip.Prefix
	Size uint64 // addresses of the pools
	Used uint64 // of them with a lease, an offer, in quarantine, or an object's
}

// Stats returns the statistics. The Config may be nil: then there are no pools.
func (s *Server) Stats(c *Config) Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Counts: s.counts, Leases: len(s.table.leases), Offers: s.table.offers.Len(),
		Quarantined: s.table.quarantine.Len()}
	if c == nil {
		return st
	}
	st.Pools = PoolsOf(c)
	for i := range c.Subnets {
		sub, p := &c.Subnets[i], &st.Pools[i]
		for a := range s.table.byAddr {
			if sub.inPool(a) && !(c.Taken != nil && c.Taken(a)) {
				p.Used++
			}
		}
		p.Used = min(p.Used, p.Size)
	}
	return st
}

// PoolsOf are the pools of a network's subnets without its leases.
func PoolsOf(c *Config) (all []PoolStats) {
	for i := range c.Subnets {
		sub := &c.Subnets[i]
		p := PoolStats{CIDR: sub.CIDR}
		for _, r := range sub.Pools {
			p.Size += r.size()
			if c.TakenIn != nil && r.size() > 0 {
				p.Used += uint64(c.TakenIn(r.First, r.Last))
			}
		}
		p.Used = min(p.Used, p.Size)
		all = append(all, p)
	}
	return all
}
