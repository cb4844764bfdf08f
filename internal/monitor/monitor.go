package monitor

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/router/host"
)

// undecidedDelay is the longest time between two checks of a member that nothing
// is known about yet: a good one shall not wait for Rise x Delay.
const undecidedDelay = time.Second

// beat is what the times of checks are multiples of, all monitors' alike: so many begin at
// once that who forwards them wakes up a few times for all of them, and not for each
// packet. With delays that are not much longer they go as they come.
const beat = 20 * time.Millisecond

// A Spec says how members are checked. Zero values stand for Octavia's defaults,
// or config's where it has none: every 5 s, a timeout of that, three checks
// either way, GET /, 200.
type Spec struct {
	Type          string        // TCP, HTTP, HTTPS, PING, UDP-CONNECT
	Delay         time.Duration // between the beginnings of two checks of a member
	Timeout       time.Duration // of a whole check, at most Delay
	Rise, Fall    int           // good checks in a row until a member is up, bad ones until it is down
	Method, Path  string        // HTTP and HTTPS
	ExpectedCodes string        // see ParseCodes; those that it refuses match nothing
	InitiallyUp   bool          // what counts of a new member until its checks have decided
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

// Options are what a Monitor works with.
type Options struct {
	// Host sends the checks. It remains the caller's, and has to outlive the
	// Monitor.
	Host *host.Host
	Spec Spec
	// Changed is called when a member's state changes, with the result that
	// changed it; the initial state is no change. Calls for one member come one
	// after the other, and its next check waits for them. A call that has begun
	// may still be under way when Remove returns. It must not call Close.
	Changed func(id uint32, up bool, last Result)
	// Workers do the checks. Monitors may share them; nil stands for some of its own.
	Workers *Workers
	// Rand spreads the checks out; nil stands for a random seed.
	Rand *rand.Rand
	// Logger gets a line for each change; nil discards them.
	Logger *slog.Logger
}

// A Monitor checks members until it is closed. Its methods may be called from any
// goroutine.
type Monitor struct {
	opt     Options
	spec    Spec
	log     *slog.Logger
	checker *checker
	ctx     context.Context
	cancel  context.CancelFunc
	checks  sync.WaitGroup // timers that are set, and checks under way

	own *Workers // if nobody has lent any

	mu      sync.Mutex
	closed  bool
	members map[uint32]*member
}

// A member is a target with what is known of it. The timers of the runtime are
// all the schedule there is: each begins the member's next check, on a goroutine
// that has nothing else to do, so those that wait for the dead keep no other from
// its time.
type member struct {
	target
	timer   *time.Timer
	due     time.Time // of the check that is next or under way
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
	m := &Monitor{opt: opt, spec: opt.Spec.withDefaults(), log: opt.Logger, members: map[uint32]*member{}}
	if opt.Workers == nil {
		m.own = NewWorkers()
		m.opt.Workers = m.own
	}
	m.checker = newChecker(opt.Host, m.spec)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// Add begins to check a member, which replaces one with the same ID.
func (m *Monitor) Add(t Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.remove(t.ID)
	e := &member{target: m.checker.target(t), health: lb.NewHealth(m.spec.Rise, m.spec.Fall, m.spec.InitiallyUp)}
	m.members[t.ID] = e
	e.due = m.onBeat(time.Now().Add(m.random(m.interval(e))))
	m.arm(e)
}

// Remove ends the checks of a member; what one under way finds is forgotten.
func (m *Monitor) Remove(id uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(id)
}

func (m *Monitor) remove(id uint32) {
	if e := m.members[id]; e != nil {
		delete(m.members, id)
		m.disarm(e)
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

// Close abandons the checks under way and returns when no goroutine is left.
func (m *Monitor) Close() {
	m.mu.Lock()
	m.closed = true
	for id := range m.members {
		m.remove(id)
	}
	m.mu.Unlock()
	m.cancel()
	m.checks.Wait()
	if m.own != nil {
		m.own.Close()
	}
}

// arm sets the timer for a member's next check.
func (m *Monitor) arm(e *member) {
	m.checks.Add(1)
	if e.timer != nil {
		e.timer.Reset(time.Until(e.due))
		return
	}
	e.timer = time.AfterFunc(time.Until(e.due), func() { m.opt.Workers.do(job{m, e}) })
}

// disarm ends a member. A timer that has gone off finds it removed.
func (m *Monitor) disarm(e *member) {
	e.removed = true
	if e.timer.Stop() {
		m.checks.Done()
	}
}

// run does one check of a member and sets the timer for the next.
func (m *Monitor) run(e *member) {
	m.mu.Lock()
	gone := e.removed
	m.mu.Unlock()
	if gone {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, m.spec.Timeout)
	r := m.checker.run(ctx, &e.target)
	cancel()
	m.mu.Lock()
	changed, up := m.record(e, r)
	m.mu.Unlock()
	if changed {
		m.tell(e, up, r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !e.removed {
		m.arm(e)
	}
}

// record takes a result, and finds when the next check is due.
func (m *Monitor) record(e *member, r Result) (changed, up bool) {
	if e.removed {
		return false, false
	}
	e.last, e.known = r, true
	decided := e.health.Decided()
	changed = e.health.Check(r.OK)
	if e.health.Decided() && !decided {
		e.due = m.onBeat(e.due.Add(m.random(m.spec.Delay)))
	} else {
		e.due = e.due.Add(m.interval(e))
	}
	// A check that is late begins at once, and leaves the times of those after
	// it as they are. Of several that have been missed only the last is made up
	// for.
	if late := time.Since(e.due); late > 0 {
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
	m.log.Info("member is "+state, "member", e.Addr, "id", e.ID, "sent", r.Sent, "received", r.Received, "reason", r.Why)
	if m.opt.Changed != nil {
		m.opt.Changed(e.ID, up, r)
	}
}

// interval is the time between two checks of a member.
func (m *Monitor) interval(e *member) time.Duration {
	if e.health.Decided() {
		return m.spec.Delay
	}
	return min(m.spec.Delay, undecidedDelay)
}

// onBeat is the beat before a time.
func (m *Monitor) onBeat(t time.Time) time.Time {
	if m.spec.Delay < 10*beat {
		return t
	}
	return t.Truncate(beat)
}

// random returns a random part of d.
func (m *Monitor) random(d time.Duration) time.Duration {
	return time.Duration(m.opt.Rand.Int64N(int64(d)))
}
