package dhcp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A Server answers the messages of one network.
type Server struct {
	network string
	opt     *Options
	gate    *sync.RWMutex // of the Leases; it comes before serving

	// serving is held while leases change, with the wait for the Keeper. It comes before mu, which is never held for
	// long.
	serving sync.Mutex

	mu      sync.Mutex
	table   *table
	macs    *limiter[MAC]
	devices *limiter[string]
	counts  [NumReasons]uint64
	full    search
	said    map[string]bool // what was said and is not over
	words   []string        // to say when mu is free
	pending []pending
	ended   []Lease // that the Keeper still has
}

// A pending is a change that is not yet kept.
type pending struct {
	Change
	before *Lease // of the client, which the new one replaces; nil: it had none, or this one
	undo   func()
	answer *Answer // that depends on it; nil: none
}

func newServer(network string, l *Leases) *Server {
	return &Server{network: network, opt: &l.opt, gate: &l.gate, table: newTable(), said: map[string]bool{},
		macs: newLimiter[MAC](macRate, macBurst), devices: newLimiter[string](deviceRate, deviceBurst)}
}

// maxBatch is how many changes wait for one call of the Keeper at most.
const maxBatch = 512

// Serve answers messages: as many Answers as Requests, in their order. All leases that the answers give or end are
// kept by one call of the Keeper, if it can be done, and Serve waits for it. So a caller that hands over what has come
// meanwhile, and not one message at a time, waits for the disk less often.
func (s *Server) Serve(now time.Time, c *Config, rqs []Request) []Answer {
	answers := make([]Answer, len(rqs))
	s.change(now, func() {
		for i := range rqs {
			s.serve(now, c, &rqs[i], &answers[i])
			if len(s.pending) >= maxBatch {
				s.flush()
			}
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range answers {
		s.counts[answers[i].Reason]++
	}
	return answers
}

// Tick takes away what has ended. It is called from time to time, such as once a minute.
func (s *Server) Tick(now time.Time) { s.change(now, func() {}) }

// Release ends the lease of an address, and returns it. The client does not know it until it renews the lease.
func (s *Server) Release(now time.Time, a netip.Addr) (l Lease, found bool, err error) {
	answer := Answer{}
	s.change(now, func() {
		e := s.table.byAddr[a]
		if found = e != nil && e.state == leased; found {
			l = e.Lease
			s.drop(e, &answer)
		}
	})
	if answer.Reason == NotKept {
		err = fmt.Errorf("dhcp: release %v of network %s: the store has not taken it", a, s.network)
	}
	return l, found, err
}

// change runs a function that changes leases, and has the changes kept.
func (s *Server) change(now time.Time, fn func()) {
	s.gate.RLock()
	defer s.gate.RUnlock()
	s.serving.Lock()
	defer s.serving.Unlock()
	s.mu.Lock()
	s.ended = append(s.ended, s.table.expire(now)...)
	fn()
	s.flush()
	words := s.words
	s.words = nil
	s.mu.Unlock()
	if s.opt.Say != nil {
		for _, w := range words {
			s.opt.Say(s.network, w)
		}
	}
}

// flush has the pending changes kept. Where the Keeper does not, the table is as before, and there is no answer. It
// lets go of mu meanwhile.
func (s *Server) flush() {
	if len(s.pending) == 0 && len(s.ended) == 0 {
		return
	}
	todo, ended := s.pending, slices.DeleteFunc(s.ended, func(l Lease) bool {
		e := s.table.byAddr[l.Address] // the client may have it again
		return e != nil && e.state != offered && e.Client == l.Client
	})
	s.pending, s.ended = nil, nil
	s.mu.Unlock()
	changes := make([]Change, 0, len(ended)+len(todo))
	for _, l := range ended {
		changes = append(changes, Change{l, true})
	}
	for _, p := range todo {
		changes = append(changes, p.Change)
	}
	errs := make([]error, len(changes))
	if s.opt.Keeper != nil {
		errs = s.opt.Keeper.Keep(context.Background(), changes)
	}
	s.tell(todo, ended, errs)
	s.mu.Lock()
	s.settle(todo, ended, errs)
}

// tell has the changes that were kept told. A lease that has ended has ended, whatever the store says.
func (s *Server) tell(todo []pending, ended []Lease, errs []error) {
	if s.opt.Changed == nil {
		return
	}
	var kept []Change
	for _, l := range ended {
		if !l.Declined {
			kept = append(kept, Change{l, true})
		}
	}
	for i, p := range todo {
		if errs[len(ended)+i] != nil || p.Declined {
			continue
		}
		if p.before != nil {
			kept = append(kept, Change{*p.before, true})
		}
		kept = append(kept, p.Change)
	}
	if len(kept) > 0 {
		s.opt.Changed(kept)
	}
}

// settle takes back what was not kept.
func (s *Server) settle(todo []pending, ended []Lease, errs []error) {
	for i, l := range ended {
		if errs[i] != nil && len(s.ended) < maxPast {
			s.ended = append(s.ended, l) // for the next time
		}
	}
	failed := false
	for i := len(todo) - 1; i >= 0; i-- {
		err := errs[len(ended)+i]
		if err == nil {
			continue
		}
		failed = true
		todo[i].undo()
		if a := todo[i].answer; a != nil {
			*a = Answer{Reason: NotKept, Client: a.Client}
		}
		s.sayOnce("store", "leases cannot be written down, so none are given: %v", err)
	}
	if !failed && len(todo) > 0 {
		s.over("store")
	}
}

// collides says whether something that is not yet kept is about an address or a client. The Keeper may keep one change
// and not another one, so changes that wait for it together are independent.
func (s *Server) collides(key string, a netip.Addr) bool {
	for i := range s.pending {
		p := &s.pending[i]
		if p.Address == a || p.Client == key || p.before != nil && p.before.Address == a {
			return true
		}
	}
	return false
}

// drop ends a lease.
func (s *Server) drop(e *entry, answer *Answer) {
	if s.collides(e.Client, e.Address) {
		s.flush()
	}
	if s.table.byAddr[e.Address] != e {
		return // it was taken back
	}
	s.table.remove(e)
	s.pending = append(s.pending, pending{Change: Change{e.Lease, true}, answer: answer,
		undo: func() { s.table.put(copyOf(e)) }})
}

// copyOf is an entry that the table can take again.
func copyOf(e *entry) *entry {
	return &entry{Lease: e.Lease, state: e.state}
}

// sayOnce says something about a thing, unless it was said and is not over.
func (s *Server) sayOnce(thing, format string, args ...any) {
	if s.said[thing] || len(s.said) >= maxPast {
		return
	}
	s.said[thing] = true
	s.words = append(s.words, fmt.Sprintf(format, args...))
}

// over notes that it may be said again.
func (s *Server) over(thing string) { delete(s.said, thing) }
