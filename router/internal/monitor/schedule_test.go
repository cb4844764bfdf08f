package monitor_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/router/internal/monitor"
)

// A script is a Schedule and a Prober of a test: a clock that pass moves, and results that the test gives.
type script struct {
	now   time.Time
	calls []*call
	bad   map[uint32]bool
	took  time.Duration // by each check
	lines []string      // what happens, by seconds since the start
}

type call struct {
	at time.Time
	fn func()
}

var scriptStart = time.Unix(1000, 0)

// scripted is a monitor that goes by a script. A check begins as soon as it may.
func scripted(spec monitor.Spec) (*script, *monitor.Monitor) {
	s := &script{now: scriptStart, bad: map[uint32]bool{}}
	return s, monitor.New(monitor.Options{
		Spec: spec, Prober: s, Schedule: s, Rand: rand.New(rand.NewPCG(1, 3)),
		Changed: func(id uint32, up bool, _ monitor.Result) { s.note("%d is up: %t", id, up) },
	})
}

func (s *script) note(format string, a ...any) { s.lines = append(s.lines, fmt.Sprintf(format, a...)) }

// said returns what has happened since the last call.
func (s *script) said() string {
	all := strings.Join(s.lines, "; ")
	s.lines = nil
	return all
}

func (s *script) Now() time.Time { return s.now }

func (s *script) At(t time.Time, fn func()) func() bool {
	c := &call{t, fn}
	s.calls = append(s.calls, c)
	return func() bool {
		i := slices.Index(s.calls, c)
		if i >= 0 {
			s.calls = slices.Delete(s.calls, i, i+1)
		}
		return i >= 0
	}
}

func (s *script) Prepare(spec monitor.Spec) func(monitor.Target) monitor.Check {
	return func(t monitor.Target) monitor.Check {
		return func(_ context.Context, done func(monitor.Result)) {
			s.note("%s %d", spec.Type, t.ID)
			r := monitor.Result{OK: !s.bad[t.ID]}
			if s.took == 0 {
				done(r)
				return
			}
			s.At(s.now.Add(s.took), func() { done(r) })
		}
	}
}

// pass lets time pass.
func (s *script) pass(d time.Duration) {
	for end := s.now.Add(d); ; {
		var next *call
		for _, c := range s.calls {
			if !c.at.After(end) && (next == nil || c.at.Before(next.at)) {
				next = c
			}
		}
		if next == nil {
			s.now = end
			return
		}
		s.calls = slices.DeleteFunc(s.calls, func(c *call) bool { return c == next })
		if next.at.After(s.now) {
			s.now = next.at
		}
		next.fn()
	}
}

func targets(ids ...uint32) (all []monitor.Target) {
	for _, id := range ids {
		all = append(all, monitor.Target{ID: id,
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(id)}), 80)})
	}
	return all
}

// Checks of another Spec leave a member's state as it is until they have decided. Until then they come as often as
// the checks of a new member.
func TestUpdateOfTheSpec(t *testing.T) {
	spec := monitor.Spec{Type: "TCP", Delay: time.Minute, Rise: 2, Fall: 2}
	s, m := scripted(spec)
	m.Update(spec, targets(1))
	s.pass(2 * time.Second)
	if got := s.said(); got != "TCP 1; TCP 1; 1 is up: true" {
		t.Errorf("at first: %s", got)
	}
	s.pass(10 * time.Minute)
	s.said()
	s.bad[1] = true
	spec.Type, spec.Fall = "PING", 3
	m.Update(spec, targets(1))
	if up, decided := m.Up(1); !up || !decided {
		t.Errorf("at once: up %t, decided %t", up, decided)
	}
	if len(s.calls) != 1 {
		t.Errorf("%d checks of one member are planned", len(s.calls))
	}
	s.pass(3 * time.Second)
	if got := s.said(); got != "PING 1; PING 1; PING 1; 1 is up: false" {
		t.Errorf("bad ones: %s", got)
	}
	s.pass(10 * time.Minute)
	if n := strings.Count(s.said(), "PING"); n < 10 || n > 11 {
		t.Errorf("%d checks in ten minutes, a minute apart", n)
	}

	// The member's state is not reported again. The new Spec says how many good checks it takes.
	spec.Rise, spec.Method = 4, "HEAD"
	m.Update(spec, targets(1))
	s.bad[1] = false
	s.pass(3 * time.Second)
	if got := s.said(); got != "PING 1; PING 1; PING 1" {
		t.Errorf("three of four: %s", got)
	}
	if up, decided := m.Up(1); up || !decided {
		t.Errorf("meanwhile: up %t, decided %t", up, decided)
	}
	if s.pass(time.Second); s.said() != "PING 1; 1 is up: true" {
		t.Error("four good ones do not make it up")
	}
}

// The result of a check that began before the change does not count for the new Spec. No member is
// checked twice at one time.
func TestUpdateWhileACheckIsUnderWay(t *testing.T) {
	spec := monitor.Spec{Type: "TCP", Delay: 10 * time.Second, Rise: 1, Fall: 1}
	s, m := scripted(spec)
	m.Add(targets(1)[0])
	s.took = 5 * time.Second
	s.bad[1] = true
	s.pass(time.Second)
	if got := s.said(); got != "TCP 1" {
		t.Fatalf("it is not under way: %s", got)
	}
	s.bad[1] = false
	spec.Type = "PING"
	m.Update(spec, targets(1, 2))
	s.pass(4 * time.Second)
	if got := s.said(); got != "PING 2" {
		t.Errorf("while it is under way: %s", got)
	}
	if _, known := m.Last(1); known {
		t.Error("there is a result")
	}
	s.pass(10 * time.Second)
	if got := s.said(); !strings.HasPrefix(got, "PING 1; 2 is up: true; PING 2; 1 is up: true") {
		t.Errorf("after it: %s", got)
	}
	m.Close()
	s.pass(time.Hour)
	if got := s.said(); got != "" {
		t.Errorf("after Close: %s", got)
	}
	m.Update(spec, targets(3))
	if s.pass(time.Hour); s.said() != "" || len(s.calls) > 0 {
		t.Error("a closed monitor takes members")
	}
}

// Members are known by their ID: members that stay do not notice that others come and go.
func TestUpdateOfMembers(t *testing.T) {
	spec := monitor.Spec{Type: "TCP", Delay: 10 * time.Second, Rise: 1, Fall: 1}
	s, m := scripted(spec)
	m.Update(spec, targets(1, 2))
	s.pass(time.Minute)
	s.said()
	other, same := scripted(spec)
	same.Update(spec, targets(1, 2))
	other.pass(time.Minute)
	other.said()
	for range 20 {
		m.Update(spec, targets(2, 1))
		s.pass(7 * time.Second)
		other.pass(7 * time.Second)
	}
	if got, want := s.said(), other.said(); got != want || got == "" {
		t.Errorf("updated again and again: %s\nleft alone: %s", got, want)
	}
	up := targets(3)
	up[0].Up = true
	s.bad[3] = true
	m.Update(spec, append(targets(2), up...))
	if _, decided := m.Up(1); decided {
		t.Error("the removed one is known")
	}
	if up, decided := m.Up(3); !up || decided {
		t.Errorf("the new one: up %t, decided %t", up, decided)
	}
	s.pass(10 * time.Second)
	got := s.said()
	if strings.Contains(got, "TCP 1") || !strings.Contains(got, "3 is up: false") || strings.Contains(got, "2 is") {
		t.Errorf("another one instead: %s", got)
	}
	moved := targets(2)
	moved[0].Addr = netip.MustParseAddrPort("10.9.9.9:80")
	m.Update(spec, moved)
	if _, decided := m.Up(2); decided {
		t.Error("a member at another address has the state of the former one")
	}
	s.pass(10 * time.Second)
	if got := s.said(); strings.Contains(got, "TCP 3") || !strings.Contains(got, "2 is up: true") {
		t.Errorf("at another address: %s", got)
	}
}

// Workers make no call after Close. Close waits for calls under way.
func TestWorkersClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor.NewWorkers()
		made := 0
		w.At(w.Now().Add(time.Second), func() {
			<-time.After(time.Second)
			made++
		})
		stop := w.At(w.Now().Add(90*time.Second), func() { t.Error("it was stopped") })
		<-time.After(1500 * time.Millisecond)
		if !stop() || stop() {
			t.Error("a call that has not begun is not stopped, or twice")
		}
		began := time.Now()
		w.Close()
		if d := time.Since(began); made != 1 || d != 500*time.Millisecond {
			t.Errorf("closed after %v, %d calls", d, made)
		}
		stop = w.At(w.Now(), func() { t.Error("a call after Close") })
		<-time.After(time.Minute)
		if !stop() {
			t.Error("a call after Close cannot be stopped")
		}
	})
}
