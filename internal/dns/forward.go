package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// patience is how long one server may take to answer.
	patience = 2 * time.Second
	// asking is how many questions a Forwarder has under way at once, and askingEach those of one asker.
	asking     = 512
	askingEach = 64
	// resting is for how long a server that did not answer is asked after the others.
	resting = 10 * time.Second
)

// Options are what a Forwarder is made of.
type Options struct {
	Servers []netip.AddrPort // in the order in which they are asked
	// Dial opens a connection to a server; network is udp or tcp. The way is the maker's affair: through a router's
	// gateway, or by the host's own sockets. A UDP connection has a local port that others cannot foresee.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Now  func() time.Duration // a clock that never goes back
	Rand func() uint16        // an unforeseeable number for each question
}

// A Forwarder asks other servers, and remembers their answers. Several goroutines may use it. It starts none.
type Forwarder struct {
	opt   Options
	cache cache

	mu      sync.Mutex
	pending map[cacheKey]*pending
	waiting map[netip.Addr]int // questions of each asker that are under way
	all     int
	rests   map[netip.AddrPort]time.Duration // servers that have not answered, and until when they rest
}

// A pending question is under way for one or more askers.
type pending struct {
	done   chan struct{}
	answer *dns.Msg // nil: no server has answered. It is never changed after done is closed
}

// NewForwarder makes a Forwarder, which has at least one server.
func NewForwarder(opt Options) *Forwarder {
	return &Forwarder{
		opt: opt, pending: map[cacheKey]*pending{}, waiting: map[netip.Addr]int{},
		rests: map[netip.AddrPort]time.Duration{},
	}
}

// Ask answers a query with one question from memory, or asks the servers, one after the other. It returns nil if none
// of them has answered, or if too many questions are under way. from is the asker's address. The answer has the
// query's number, and is the caller's.
func (f *Forwarder) Ask(ctx context.Context, from netip.Addr, in *dns.Msg) *dns.Msg {
	k := keyOf(in)
	got := f.cache.get(k, f.opt.Now())
	if got == nil {
		got = f.together(ctx, from, k, in)
	}
	if got == nil {
		return nil
	}
	got.Id, got.Response, got.Authoritative, got.RecursionAvailable = in.Id, true, false, true
	got.RecursionDesired, got.CheckingDisabled = in.RecursionDesired, in.CheckingDisabled
	got.AuthenticatedData = false // the way to the server is not protected (RFC 4035, 4.9.3)
	got.Question = in.Question    // with the letters that the asker has chosen
	withoutOPT(got)
	return got
}

func keyOf(in *dns.Msg) cacheKey {
	q := in.Question[0]
	opt := in.IsEdns0()
	return cacheKey{
		strings.ToLower(q.Name), q.Qtype, q.Qclass, opt != nil && opt.Do(), in.CheckingDisabled,
	}
}

// together asks the servers, once for all askers that want to know the same at the same time.
func (f *Forwarder) together(ctx context.Context, from netip.Addr, k cacheKey, in *dns.Msg) *dns.Msg {
	f.mu.Lock()
	if f.all >= asking || f.waiting[from] >= askingEach {
		f.mu.Unlock()
		return nil
	}
	f.all++
	f.waiting[from]++
	p, joined := f.pending[k]
	if !joined {
		p = &pending{done: make(chan struct{})}
		f.pending[k] = p
	}
	f.mu.Unlock()
	defer f.leave(from)

	if joined {
		select {
		case <-p.done:
		case <-ctx.Done():
			return nil
		}
	} else {
		p.answer = f.askServers(ctx, k)
		if p.answer != nil {
			f.cache.put(k, p.answer, f.opt.Now())
		}
		f.mu.Lock()
		delete(f.pending, k)
		f.mu.Unlock()
		close(p.done)
	}
	if p.answer == nil {
		return nil
	}
	return p.answer.Copy()
}

func (f *Forwarder) leave(from netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.waiting[from]--; f.waiting[from] == 0 {
		delete(f.waiting, from)
	}
}

// askServers asks one server after the other until one has an answer. A server that says that it cannot or will not
// answer is no better than one that is silent, unless no other one answers.
func (f *Forwarder) askServers(ctx context.Context, k cacheKey) *dns.Msg {
	var poor *dns.Msg
	for _, s := range f.order() {
		got, err := f.ask(ctx, s, k)
		switch {
		case ctx.Err() != nil && err != nil:
			return poor
		case err != nil:
			f.rest(s)
			continue
		case got.Rcode == dns.RcodeServerFailure, got.Rcode == dns.RcodeRefused, got.Rcode == dns.RcodeNotImplemented:
			poor = got
			continue
		}
		f.wake(s)
		return got
	}
	return poor
}

// order is the order in which the servers are asked now: those that rest come last.
func (f *Forwarder) order() []netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.opt.Now()
	var ready, rest []netip.AddrPort
	for _, s := range f.opt.Servers {
		if until, rests := f.rests[s]; rests && now < until {
			rest = append(rest, s)
		} else {
			ready = append(ready, s)
		}
	}
	return append(ready, rest...)
}

func (f *Forwarder) rest(s netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rests[s] = f.opt.Now() + resting
}

func (f *Forwarder) wake(s netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rests, s)
}

// ask asks one server, over UDP, and over TCP if its answer is too long for UDP.
func (f *Forwarder) ask(ctx context.Context, s netip.AddrPort, k cacheKey) (*dns.Msg, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	out := &dns.Msg{MsgHdr: dns.MsgHdr{
		Id: f.opt.Rand(), RecursionDesired: true, CheckingDisabled: k.unchecked,
	}}
	out.Question = []dns.Question{{Name: k.name, Qtype: k.typ, Qclass: k.class}}
	out.SetEdns0(largest, k.secure)
	got, err := f.exchange(ctx, "udp", s, out)
	if err == nil && got.Rcode == dns.RcodeFormatError {
		out.Extra = nil // the server may not know EDNS (RFC 6891, 6.2.2)
		got, err = f.exchange(ctx, "udp", s, out)
	}
	if err == nil && got.Truncated {
		if whole, err := f.exchange(ctx, "tcp", s, out); err == nil {
			return whole, nil
		}
	}
	return got, err
}

// errOther says that a message is not the answer to a question.
var errOther = errors.New("not the answer")

// exchange sends a question and waits for its answer. Messages that are not the answer are passed over.
func (f *Forwarder) exchange(ctx context.Context, network string, s netip.AddrPort, out *dns.Msg) (*dns.Msg, error) {
	conn, err := f.opt.Dial(ctx, network, s.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	b, err := out.Pack()
	if err != nil {
		return nil, err
	}
	c := stream{conn, network == "tcp"}
	if err := c.write(b); err != nil {
		return nil, err
	}
	for {
		m, err := c.read()
		if err != nil {
			return nil, err
		}
		got := new(dns.Msg)
		if got.Unpack(m) != nil || !answers(got, out) {
			if network == "tcp" {
				return nil, errOther
			}
			continue // it may be a forger's; the true answer may still come
		}
		return got, nil
	}
}

// answers reports whether a message is the answer to a question.
func answers(got, out *dns.Msg) bool {
	if !got.Response || got.Id != out.Id || got.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(got.Question) == 0 {
		return got.Rcode == dns.RcodeFormatError // RFC 6891, 7: such a server may not repeat the question
	}
	a, b := got.Question[0], out.Question[0]
	return len(got.Question) == 1 && strings.EqualFold(a.Name, b.Name) && a.Qtype == b.Qtype && a.Qclass == b.Qclass
}

// withoutOPT takes the EDNS record of a server out of its answer: it is about the way to that server.
func withoutOPT(m *dns.Msg) {
	kept := m.Extra[:0]
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			kept = append(kept, rr)
		}
	}
	m.Extra = kept
}
