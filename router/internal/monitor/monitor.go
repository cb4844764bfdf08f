package monitor

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/taprouter/taprouter/lb"
)

// unsureDelay is the longest time between two checks of a member as long as the checks have not
// decided about it: a good member should not wait for Rise x Delay.
const unsureDelay = time.Second

// beat is what the times of checks are multiples of, for all monitors alike. So many checks begin at
// once that the router which forwards them wakes up a few times for all of them, and not for each
// packet. Where the delay is not much longer than a beat, checks begin at any time.
const beat = 20 * time.Millisecond

// A Spec says how members are checked. Zero values stand for Octavia's defaults,
// or config's where it has none: every 5 s, a timeout of that, three checks
// either way, GET /, 200.
type Spec struct {
	Type          string        // TCP, HTTP, HTTPS, TLS-HELLO, PING, UDP-CONNECT
	Delay         time.Duration // between the beginnings of two checks of a member
	Timeout       time.Duration // of a whole check, at most Delay
	Rise, Fall    int           // good checks in a row until a member is up, bad ones until it is down
	Method, Path  string        // HTTP and HTTPS
	ExpectedCodes string        // see ParseCodes; codes that it refuses match nothing
	Version       string        // of HTTP: 1.0; else it is 1.1
	Domain        string        // the host that requests and handshakes name; empty: the member's address
}

func (s Spec) withDefaults() Spec {
	or(&s.Delay, 5*time.Second)
	or(&s.Timeout, s.Delay)
	s.Timeout = min(s.Timeout, s.Delay)
	or(&s.Rise, 3)
	or(&s.Fall, 3)
	if s.Method == "" {
		s.Method = "GET"
	}
	if s.Path == "" {
		s.Path = "/"
	}
	if s.ExpectedCodes == "" {
		s.ExpectedCodes = "200"
	}
	return s
}

func or[T int | time.Duration](v *T, fallback T) {
	if *v <= 0 {
		*v = fallback
	}
}

// A Target is a member to check. A PING does without the port.
type Target struct {
	ID   uint32
	Addr netip.AddrPort
	Up   bool // its state until its checks have decided
}

// A Result is what one check found, in words for people.
type Result struct {
	At       time.Time     // when it began
	Took     time.Duration // until the answer came, or none
	OK       bool
	Sent     string // "SYN", "GET / HTTP/1.1", "echo request", "datagram"
	Received string // "SYN ACK", "HTTP/1.1 503 Service Unavailable", "RST", "nothing", "ICMP host unreachable"
	Why      string // "200 as expected", "503 is none of 200", "no answer within 5s"
}

// A Schedule is the clock that monitors go by. Workers are the real one.
type Schedule interface {
	// Now is the time.
	Now() time.Time
	// At has fn called once, at a time, or soon if that is past; At does not call it itself.
	// The function that At returns prevents the call, and reports whether it has: if not, the
	// call has begun.
	At(t time.Time, fn func()) (stop func() bool)
}

// A Prober makes the checks of members. FromHost returns the real one.
type Prober interface {
	// Prepare makes ready for checks by a Spec, whose zero values have been replaced. It returns
	// a function that makes ready for the checks of one target.
	Prepare(Spec) func(Target) Check
}

// A Check checks a target once. It calls done with the result, once, before it returns or later, and
// at the latest when the Spec's timeout is over or ctx ends. It may block where the Schedule's calls
// may. Result.At may be left out, and so may Took.
type Check func(ctx context.Context, done func(Result))

// Options are what a Monitor works with.
type Options struct {
	Spec     Spec
	Prober   Prober
	Schedule Schedule
	// Changed is called when a member's state changes, with the result that
	// changed it; the initial state is no change. Calls for one member come one
	// after the other, and its next check waits for them. A call that has begun
	// may still be under way when Remove, Update or Close returns. No method of
	// the Monitor waits for it, so it may call them, or wait for a lock of their caller.
	Changed func(id uint32, up bool, last Result)
	// Rand spreads the checks out; nil stands for a random seed.
	Rand *rand.Rand
	// Logger gets a line for each change; nil discards them.
	Logger *slog.Logger
}

// A Monitor checks members until it is closed. It says when a member is checked, and what the results
// mean. Its methods may be called from any goroutine.
type Monitor struct {
	opt    Options
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	closed  bool
	rules   *rules
	members map[uint32]*member
}

// rules are a Spec and what has been prepared for it.
type rules struct {
	Spec
	prepare func(Target) Check
}

// A member is a target with its state and its next check.
type member struct {
	Target
	check   Check
	stop    func() bool // prevents the next check; nil: one is under way
	due     time.Time   // of the check that is next or under way
	removed bool
	health  lb.Health
	last    Result
	known   bool // there is a last result
}

// New makes a monitor without members.
func New(opt Options) *Monitor {
	if opt.Rand == nil {
		opt.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{opt: opt, log: opt.Logger, members: map[uint32]*member{}}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.setSpec(opt.Spec)
	return m
}

// setSpec reports whether the Spec is another one than before.
func (m *Monitor) setSpec(s Spec) bool {
	s = s.withDefaults()
	if m.rules != nil && m.rules.Spec == s {
		return false
	}
	m.rules = &rules{s, m.opt.Prober.Prepare(s)}
	return true
}

// Add begins to check a member, which replaces one with the same ID.
func (m *Monitor) Add(t Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.add(t)
	}
}

func (m *Monitor) add(t Target) {
	m.remove(t.ID)
	e := &member{Target: t, check: m.rules.prepare(t), health: lb.NewHealth(m.rules.Rise, m.rules.Fall, t.Up)}
	m.members[t.ID] = e
	m.arm(e, m.soon(e))
}

// Remove ends the checks of a member. The result of a check under way is ignored.
func (m *Monitor) Remove(id uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(id)
}

func (m *Monitor) remove(id uint32) {
	if e := m.members[id]; e != nil {
		delete(m.members, id)
		e.removed = true
		if e.stop != nil {
			e.stop()
		}
	}
}

// Update has the monitor check these members from now on, by this Spec. A member that stays is known by
// its ID. It keeps its state, and Up is not called for it. If the Spec is another one, the result of a check
// under way is ignored, and checks begin anew, as often as the checks of a new member; the state stays
// until they have decided. A member whose address is another one is a new member.
func (m *Monitor) Update(s Spec, targets []Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	listed := map[uint32]bool{}
	for _, t := range targets {
		listed[t.ID] = true
	}
	for id := range m.members {
		if !listed[id] {
			m.remove(id)
		}
	}
	anew := m.setSpec(s)
	for _, t := range targets {
		switch e := m.members[t.ID]; {
		case e == nil || e.Addr != t.Addr:
			m.add(t)
		case anew:
			e.check = m.rules.prepare(e.Target)
			e.health.Restart(m.rules.Rise, m.rules.Fall)
			if e.stop != nil && e.stop() {
				m.arm(e, m.soon(e))
			}
		}
	}
}

// Up returns a member's state, and whether its checks have decided about it: until then it is
// the initial one. Of no member it is false.
func (m *Monitor) Up(id uint32) (up, decided bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.members[id]; e != nil {
		return e.health.Up(), e.health.Decided()
	}
	return false, false
}

// Last returns the result of a member's last check, or false if none has ended.
func (m *Monitor) Last(id uint32) (Result, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.members[id]; e != nil {
		return e.last, e.known
	}
	return Result{}, false
}

// Close ends all checks. It does not wait for checks under way, and ignores their results.
func (m *Monitor) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for id := range m.members {
		m.remove(id)
	}
	m.cancel()
}

// arm has a member checked at a time.
func (m *Monitor) arm(e *member, due time.Time) {
	e.due = due
	e.stop = m.opt.Schedule.At(due, func() { m.begin(e) })
}

// begin begins a check of a member.
func (m *Monitor) begin(e *member) {
	m.mu.Lock()
	e.stop = nil
	by, check, removed := m.rules, e.check, e.removed
	m.mu.Unlock()
	if removed {
		return
	}
	at := m.opt.Schedule.Now()
	check(m.ctx, func(r Result) {
		r.At = at
		if r.Took == 0 {
			r.Took = m.opt.Schedule.Now().Sub(at)
		}
		m.end(e, by, r)
	})
}

// end takes the result of a check that was made by these rules, and has the next one made.
func (m *Monitor) end(e *member, by *rules, r Result) {
	m.mu.Lock()
	changed, up := false, false
	if by == m.rules && !e.removed {
		changed, up = m.record(e, r)
	}
	m.mu.Unlock()
	if changed {
		m.tell(e, up, r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case e.removed:
	case by != m.rules:
		m.arm(e, m.soon(e))
	default:
		m.arm(e, e.due)
	}
}

// record takes a result, and finds when the next check is due.
func (m *Monitor) record(e *member, r Result) (changed, up bool) {
	e.last, e.known = r, true
	sure := e.health.Sure()
	changed = e.health.Check(r.OK)
	if e.health.Sure() && !sure {
		e.due = m.onBeat(e.due.Add(m.random(m.rules.Delay)))
	} else {
		e.due = e.due.Add(m.interval(e))
	}
	// A check that is late begins at once, and leaves the times of later checks
	// as they are. Of several that have been missed only the last is made up
	// for.
	if late := m.opt.Schedule.Now().Sub(e.due); late > 0 {
		e.due = e.due.Add(late.Truncate(m.interval(e)))
	}
	return changed, e.health.Up()
}

// tell says that a member's state has changed.
func (m *Monitor) tell(e *member, up bool, r Result) {
	state := "down"
	if up {
		state = "up"
	}
	m.log.Info("member is "+state, "member", e.Addr, "id", e.ID, "sent", r.Sent, "received", r.Received, "reason",
		r.Why)
	if m.opt.Changed != nil {
		m.opt.Changed(e.ID, up, r)
	}
}

// interval is the time between two checks of a member.
func (m *Monitor) interval(e *member) time.Duration {
	if e.health.Sure() {
		return m.rules.Delay
	}
	return min(m.rules.Delay, unsureDelay)
}

// soon is when the checks of a member begin: after a random part of the time between two.
func (m *Monitor) soon(e *member) time.Time {
	return m.onBeat(m.opt.Schedule.Now().Add(m.random(m.interval(e))))
}

// onBeat is the beat before a time.
func (m *Monitor) onBeat(t time.Time) time.Time {
	if m.rules.Delay < 10*beat {
		return t
	}
	return t.Truncate(beat)
}

// random returns a random part of d.
func (m *Monitor) random(d time.Duration) time.Duration {
	return time.Duration(m.opt.Rand.Int64N(int64(d)))
}
