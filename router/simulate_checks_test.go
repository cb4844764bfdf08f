package router

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/tap"
)

// A checkbook gives the results of a simulation's checks, and writes them down.
type checkbook struct {
	bad   map[string]bool          // members whose checks fail
	took  map[string]time.Duration // what they take
	lines []string
	at    map[string][]time.Duration
}

func newCheckbook() *checkbook {
	return &checkbook{bad: map[string]bool{}, took: map[string]time.Duration{}, at: map[string][]time.Duration{}}
}

func (b *checkbook) check(router, pool, member string, at time.Duration) CheckResult {
	b.lines = append(b.lines, fmt.Sprintf("%s, %s, %s at %v", router, pool, member, at))
	b.at[member] = append(b.at[member], at)
	return CheckResult{OK: !b.bad[member], Took: b.took[member], Why: member}
}

// simChecked is the tutorial's network with checks, by a monitor of the test, from the start on.
func simChecked(t *testing.T, change func(*file.Pool)) (*lesson, *checkbook) {
	t.Helper()
	l := pooled(t, func(p *file.Pool, _ *file.VIP) {
		p.Monitor = &file.Monitor{
			Type: "TCP", Delay: 10 * time.Second, Timeout: 4 * time.Second, MaxRetries: 2, MaxRetriesDown: 3,
		}
		if change != nil {
			change(p)
		}
	})
	b := newCheckbook()
	l.Checks(b.check)
	return l, b
}

// states are the operating statuses of the members.
func (l *lesson) states() string {
	var all []string
	for _, m := range l.LoadBalancers()[0].Listeners[0].Pool.Members {
		all = append(all, string(m.OperatingStatus))
	}
	return strings.Join(all, " ")
}

// until lets time pass until the members are in these states, and returns the time then.
func (l *lesson) until(states string, within time.Duration) time.Duration {
	l.t.Helper()
	for end := l.now + within; l.states() != states; {
		if more, err := l.Step(end); err != nil || !more {
			l.t.Fatalf("%s, want %s: %v", l.states(), states, err)
		}
		l.run()
	}
	return l.now
}

// A member goes down after exactly max_retries_down bad results and comes back after max_retries good
// ones, at the times of these checks.
func TestSimulatedChecks(t *testing.T) {
	l, b := simChecked(t, nil)
	b.took["WEB1"] = 500 * time.Millisecond
	if got := l.states(); got != "OFFLINE OFFLINE" {
		t.Errorf("before the first check: %s", got)
	}
	if got := l.members(l.client, 4000, 1); got != "" {
		t.Errorf("a client gets %s before any check", got)
	}
	l.take("ext_net")
	if at := l.until("ONLINE ONLINE", 5*time.Second); at > 2500*time.Millisecond {
		t.Errorf("up at %v", at)
	}
	l.advance(time.Minute)
	if got := l.members(l.client, 5000, 4); got != "9090" && got != "0909" {
		t.Errorf("both are up: %s", got)
	}
	for name, at := range b.at {
		if at[0] > time.Second || at[1]-at[0] != time.Second || at[2]-at[1] > 10*time.Second {
			t.Errorf("%s is checked at first at %v", name, at[:3])
		}
		for i := 4; i < len(at); i++ { // the one before may have been late
			if at[i]-at[i-1] != 10*time.Second {
				t.Errorf("%s is checked at %v", name, at)
			}
		}
	}

	was := len(b.at["WEB1"])
	b.bad["WEB1"] = true
	down := l.until("ERROR ONLINE", time.Minute)
	at := b.at["WEB1"]
	if len(at) != was+3 || down != at[was+2]+500*time.Millisecond {
		t.Errorf("down at %v, checked at %v", down, at[was:])
	}
	if got := l.members(l.client, 6000, 4); got != "0000" {
		t.Errorf("one is down: %s", got)
	}
	last := l.LoadBalancers()[0].Listeners[0].Pool.Members[0].Check
	if last == nil || last.OK || last.Why != "WEB1" || last.Took != 500*time.Millisecond ||
		last.At != simStart.Add(at[was+2]) {
		t.Errorf("the last check: %+v", last)
	}
	b.bad["WEB1"] = false
	up := l.until("ONLINE ONLINE", time.Minute)
	if at := b.at["WEB1"]; len(at) != was+5 || up != at[was+4]+500*time.Millisecond {
		t.Errorf("up at %v, checked at %v", up, at[was:])
	}

	// One good result in between is enough to stay.
	was = len(b.at["WEB2"])
	b.bad["WEB2"] = true
	for len(b.at["WEB2"]) < was+2 {
		l.advance(time.Second)
	}
	b.bad["WEB2"] = false
	l.advance(10 * time.Second)
	b.bad["WEB2"] = true
	for len(b.at["WEB2"]) < was+5 {
		l.advance(time.Second)
	}
	if got := l.states(); got != "ONLINE ONLINE" {
		t.Errorf("two bad ones, a good one, two bad ones: %s", got)
	}

	// A check that takes longer than its timeout is bad.
	b.bad["WEB2"] = false
	l.advance(time.Minute)
	b.took["WEB2"] = time.Hour
	l.until("ONLINE ERROR", time.Minute)
	c := l.LoadBalancers()[0].Listeners[0].Pool.Members[1].Check
	if c.OK || c.Took != 4*time.Second || c.Why != "no answer within 4s" {
		t.Errorf("%+v", c)
	}
	b.took["WEB2"] = 4 * time.Second
	l.until("ONLINE ONLINE", time.Minute)
	l.Checks(nil)
	before := len(b.lines)
	l.advance(time.Hour)
	if got := l.states(); got != "ONLINE ONLINE" || len(b.lines) != before {
		t.Errorf("without a function: %s, %d calls of the former one", got, len(b.lines)-before)
	}
}

// What members a simulation begins with, and that a check may go on for longer than the next is due.
func TestSimulatedInitialState(t *testing.T) {
	l, b := simChecked(t, func(p *file.Pool) { p.Monitor.InitialState, p.Monitor.Timeout = "up", 10*time.Second })
	b.bad["WEB1"] = true
	b.took["WEB1"] = 10 * time.Second
	if got := l.states() + " " + l.members(l.client, 4000, 2); got != "ONLINE ONLINE 90" {
		t.Errorf("at once: %s", got)
	}
	down := l.until("ERROR ONLINE", time.Minute)
	if at := b.at["WEB1"]; len(at) != 4 || at[1]-at[0] != 10*time.Second || down != at[2]+10*time.Second {
		t.Errorf("down at %v, checked at %v", down, at)
	}
}

// What is going on when a member goes down is as the pool says, and so is what follows.
func TestSimulatedChecksSettleConnections(t *testing.T) {
	for _, how := range []string{"keep", "reset"} {
		l, b := simChecked(t, func(p *file.Pool) { p.OnMemberDown, p.Monitor.InitialState = how, "up" })
		f := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
		other := l.tcpFlow(l.client, 4001, "10.10.10.7", 80, l.web2)
		b.bad["WEB1"] = true
		l.until("ERROR ONLINE", time.Minute)
		if how == "reset" {
			l.wantResets(resets(f))
		} else {
			l.wantResets(nil)
			f.lives()
		}
		other.lives()
		// By hand as well, and up by hand only: the checks still say no.
		l.check(l.SetMember("web servers", "WEB1", false))
		if got := l.states(); got != "OFFLINE ONLINE" {
			t.Errorf("%s: down by hand: %s", how, got)
		}
		l.check(l.SetMember("web servers", "WEB1", true))
		if got := l.states() + " " + l.members(l.client, 5000, 2); got != "ERROR ONLINE 00" {
			t.Errorf("%s: up by hand: %s", how, got)
		}
		// Its checks are good again while it is down by hand.
		l.check(l.SetMember("web servers", "WEB1", false))
		b.bad["WEB1"] = false
		l.advance(time.Minute)
		if got := l.states() + " " + l.members(l.client, 6000, 2); got != "OFFLINE ONLINE 00" {
			t.Errorf("%s: good, but down by hand: %s", how, got)
		}
		l.check(l.SetMember("web servers", "WEB1", true))
		if got := l.states(); got != "ONLINE ONLINE" {
			t.Errorf("%s: up again: %s", how, got)
		}
	}
}

// Members come and go while their checks are planned or under way.
func TestSimulatedChecksOfMembersThatComeAndGo(t *testing.T) {
	l, b := simChecked(t, nil)
	l.until("ONLINE ONLINE", 5*time.Second)
	third := file.Member{Name: "WEB3", Address: addr("172.16.100.12"), Port: 80, Weight: 1, AdminStateUp: true}
	b.took["WEB3"] = 3 * time.Second
	l.check(l.AddMember("web servers", third))
	if got := l.states(); got != "ONLINE ONLINE OFFLINE" {
		t.Errorf("added: %s", got)
	}
	for len(b.at["WEB3"]) == 0 {
		l.advance(100 * time.Millisecond)
	}
	l.check(l.RemoveMember("web servers", "WEB3")) // while it is checked
	l.check(l.RemoveMember("web servers", "WEB1")) // and while the next check is planned
	was := len(b.at["WEB1"])
	l.advance(time.Minute)
	if len(b.at["WEB3"]) != 1 || len(b.at["WEB1"]) != was || l.states() != "ONLINE" {
		t.Errorf("%d and %d checks of removed members; %s", len(b.at["WEB3"]), len(b.at["WEB1"])-was, l.states())
	}
	l.check(l.AddMember("web servers", third)) // another one of the same name
	began := l.now
	if at := l.until("ONLINE ONLINE", time.Minute); at-began > 8*time.Second || at-began < 6*time.Second {
		t.Errorf("added again, up after %v", at-began)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before := len(b.lines)
	l.now += time.Hour
	l.schedule.run()
	if n := len(b.lines) - before; n > 0 {
		t.Errorf("%d checks after Close", n)
	}
}

// The same results at the same times: the same checks, and the same frames to the byte.
func TestSimulatedChecksAreExact(t *testing.T) {
	play := func(seed uint64, more bool) (*checkbook, string) {
		topo := tutorial()
		topo.Pools[0].Monitor = &file.Monitor{Type: "TCP", Delay: 7 * time.Second}
		if more { // another pool, which comes before
			p, v := topo.Pools[0], topo.VIPs[0]
			p.Name, v.Pool, v.Name, v.Port = "another", "another", "another", 81
			topo.Pools, topo.VIPs = append([]file.Pool{p}, topo.Pools...), append(topo.VIPs, v)
		}
		s, err := Simulate(stateOf(t, topo), seed)
		if err != nil {
			t.Fatal(err)
		}
		b := newCheckbook()
		b.took["WEB2"] = 123 * time.Millisecond
		s.Checks(b.check)
		l := &lesson{sim: &sim{Simulation: s, t: t, all: s.workers, w: s.workers[0], nets: s.view.Load().networks,
			names: []string{"vlan100", "vlan101", "ext_net"}, hosts: map[hostKey]*simHost{}}}
		l.client = l.host("ext_net", "10.10.10.4")
		l.web1, l.web2 = l.host("vlan100", "172.16.100.9"), l.host("vlan100", "172.16.100.10")
		var out strings.Builder
		for i := range 60 {
			b.bad["WEB1"] = i/20 == 1
			l.tcp(l.client, 4000+i, "10.10.10.7", 80, "S")
			l.advance(1700 * time.Millisecond)
			for _, n := range l.names {
				for _, f := range l.devs[n].out {
					fmt.Fprintf(&out, "%s %x\n", n, f.Ethernet())
				}
				l.devs[n].out = []tap.Frame(nil)
			}
		}
		return b, out.String()
	}
	one, first := play(1, false)
	again, second := play(1, false)
	if !slices.Equal(one.lines, again.lines) || first != second {
		t.Error("the same again, and something differs")
	}
	if len(one.lines) < 30 || len(first) < 1000 {
		t.Errorf("%d checks, %d bytes of frames", len(one.lines), len(first))
	}
	if other, _ := play(2, false); slices.Equal(one.lines, other.lines) {
		t.Error("another seed, and the same times of checks")
	}
	beside, _ := play(1, true)
	var own []string
	for _, l := range beside.lines {
		if strings.Contains(l, "web servers") {
			own = append(own, l)
		}
	}
	if !slices.Equal(one.lines, own) {
		t.Error("another pool changes the times of this one's checks")
	}
}

// Calls come in the order of their times, and those of one time in the order in which they were planned.
func TestSimSchedule(t *testing.T) {
	now, got := time.Duration(0), ""
	q := simSchedule{now: func() time.Duration { return now }}
	plan := func(at int, name string) func() bool {
		return q.At(simStart.Add(time.Duration(at)*time.Second), func() { got += name })
	}
	plan(2, "c")
	stopped := plan(1, "x")
	plan(1, "a")
	plan(2, "d")
	began := plan(1, "b")
	plan(3, "e")
	if !stopped() || stopped() {
		t.Error("a call is not stopped, or twice")
	}
	for at, ok := q.next(); ok; at, ok = q.next() {
		if now = at; !q.run() || q.run() {
			t.Errorf("at %v nothing is done, or twice", now)
		}
	}
	if got != "abcde" || now != 3*time.Second || began() {
		t.Errorf("%s until %v", got, now)
	}
}
