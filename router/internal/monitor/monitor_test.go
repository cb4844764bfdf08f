package monitor_test

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/router/internal/monitor"
)

var member = netip.MustParseAddrPort("192.0.2.1:80")

// times starts a world whose SYNs are written down.
func times(w *world) func() []time.Time {
	var all []time.Time
	w.seen = func(netip.Addr) { all = append(all, time.Now()) }
	return func() []time.Time { return all }
}

// near says whether two durations are the same but for the nanoseconds that the
// steps of a host in a bubble take.
func near(a, b time.Duration) bool { return (a - b).Abs() < time.Microsecond }

// A good member is up after three checks, a second apart; then they come every
// Delay, and never drift.
func TestRhythm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, w := newWorld(t)
		syns := times(w)
		began := time.Now()
		m, changes := watch(t, h, monitor.Spec{Type: "TCP", Delay: 7 * time.Second, Timeout: 3 * time.Second})
		m.Add(monitor.Target{ID: 9, Addr: member})
		if up, decided := m.Up(9); up || decided {
			t.Errorf("a new member is %v, %v", up, decided)
		}
		if _, ok := m.Last(9); ok {
			t.Error("a result before the first check")
		}
		<-time.After(time.Hour)
		m.Close()
		at := syns()
		if first := at[0].Sub(began); first < 0 || first > time.Second {
			t.Errorf("first check after %v", first)
		}
		for i := range 2 {
			if d := at[i+1].Sub(at[i]); !near(d, time.Second) {
				t.Errorf("check %d came %v after the last", i+1, d)
			}
		}
		if d := at[3].Sub(at[2]); d < 0 || d > 7*time.Second+time.Microsecond {
			t.Errorf("the first check after the decision came %v after it", d)
		}
		for i, s := range at[4:] {
			if d := s.Sub(at[3]); !near(d, time.Duration(i+1)*7*time.Second) {
				t.Fatalf("check %d after %v", i, d)
			}
		}
		if n := len(at); n < 510 || n > 520 {
			t.Errorf("%d checks in an hour", n)
		}
		if c := <-changes; c.id != 9 || !c.up || !near(c.at.Sub(at[2]), 0) || len(changes) > 0 {
			t.Errorf("%+v, %d more", c, len(changes))
		}
		if r := w.resets.Load(); r != w.syns.Load() {
			t.Errorf("%d connections, %d were reset", w.syns.Load(), r)
		}
	})
}

// A member that dies at any moment is down in time; one that comes back is up
// after Rise checks; and checks that last as long as the delay do not overlap.
func TestDeathAndReturn(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			h, w := newWorld(t)
			rng := rand.New(rand.NewPCG(seed, 1))
			spec := monitor.Spec{Type: "TCP", Delay: 5 * time.Second, Timeout: 5 * time.Second, Rise: 2, Fall: 3}
			if seed%3 == 0 {
				spec.Timeout = 700 * time.Millisecond
			}
			m, changes := watch(t, h, spec)
			m.Add(monitor.Target{ID: 1, Addr: member, Up: seed%2 == 0})
			<-time.After(20*time.Second + time.Duration(rng.Int64N(int64(10*time.Second))))
			if seed%2 != 0 {
				if c := <-changes; !c.up {
					t.Errorf("%+v", c)
				}
			}
			w.mode.Store(isSilent)
			died := time.Now()
			c := <-changes
			if took := c.at.Sub(died); c.up || c.last.OK || took > 3*spec.Delay+spec.Timeout+time.Microsecond ||
				took < 2*spec.Delay {
				t.Errorf("timeout %v: down after %v: %+v", spec.Timeout, took, c)
			}
			if up, decided := m.Up(1); up || !decided {
				t.Error("still up")
			}
			<-time.After(time.Minute + time.Duration(rng.Int64N(int64(10*time.Second))))
			w.mode.Store(accepts)
			back := time.Now()
			c = <-changes
			if took := c.at.Sub(back); !c.up || took > 2*spec.Delay+time.Microsecond {
				t.Errorf("timeout %v: up after %v: %+v", spec.Timeout, took, c)
			}
			if len(changes) > 0 {
				t.Errorf("another change: %+v", <-changes)
			}
		})
	}
}

// A member that never answers is down at once, or after its first
// checks if new members count as up.
func TestNeverAlive(t *testing.T) {
	for _, up := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h, w := newWorld(t)
			w.mode.Store(refuses)
			m, changes := watch(t, h, monitor.Spec{Type: "TCP"})
			began := time.Now()
			m.Add(monitor.Target{ID: 1, Addr: member, Up: up})
			if got, _ := m.Up(1); got != up {
				t.Errorf("a new member is %v", got)
			}
			<-time.After(time.Minute)
			if got, _ := m.Up(1); got {
				t.Error("up")
			}
			if !up {
				if len(changes) > 0 {
					t.Errorf("the initial state is no change: %+v", <-changes)
				}
				return
			}
			if c := <-changes; c.up || c.at.Sub(began) > 3*time.Second+time.Microsecond || len(changes) > 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// Thousands of members, all dead: each is checked at its time.
func TestManyDead(t *testing.T) {
	n := uint32(3000)
	if testing.Short() || raceDetector { // whose runtime sometimes crashes of thousands of timers in a bubble
		n = 500
	}
	synctest.Test(t, func(t *testing.T) {
		h, w := newWorld(t)
		w.mode.Store(isSilent)
		m := start(h, monitor.Spec{Type: "PING", Fall: 1}, nil)
		defer m.Close()
		began := time.Now()
		for id := range n {
			m.Add(monitor.Target{ID: id, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, byte(id >> 8),
				byte(id)}), 80), Up: true})
		}
		<-time.After(6*time.Second + time.Millisecond)
		var tenths [10]int
		for id := range n {
			r, ok := m.Last(id)
			if since := r.At.Sub(began); !ok || since < 0 || since > time.Second || !near(r.Took, 5*time.Second) {
				t.Fatalf("member %d: checked after %v, %+v", id, since, r)
			}
			tenths[min(int(r.At.Sub(began)*10/time.Second), 9)]++
		}
		for i, got := range tenths {
			if got < int(n)/25 || got > int(n)/6 { // of 500, five standard deviations from 50
				t.Errorf("%d of %d first checks in tenth %d of the second", got, n, i)
			}
		}
	})
}

// Close and Remove abandon checks under way: the bubble fails if a goroutine is
// left.
func TestCloseUnderWay(t *testing.T) {
	for _, typ := range []string{"TCP", "HTTP", "HTTPS", "PING", "UDP-CONNECT"} {
		synctest.Test(t, func(t *testing.T) {
			a, b := pair(t)
			serve(t, b, holds(""))
			p, err := b.ListenPacket("udp", ":80")
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			m, changes := watch(t, a, monitor.Spec{Type: typ, Rise: 1, Fall: 1})
			for id := range uint32(60) {
				addr := addrB
				if id%2 == 0 {
					addr = addrB.Next()
				}
				m.Add(monitor.Target{ID: id, Addr: netip.AddrPortFrom(addr, 80), Up: true})
			}
			<-time.After(990 * time.Millisecond)
			for id := range uint32(20) {
				m.Remove(id)
				if _, decided := m.Up(id); decided {
					t.Errorf("member %d is still known", id)
				}
			}
			m.Remove(77)
			<-time.After(time.Millisecond)
			began := time.Now()
			m.Close()
			if took := time.Since(began); took > time.Microsecond {
				t.Errorf("%s: closing took %v", typ, took)
			}
			if len(changes) > 0 {
				t.Errorf("%s: %+v", typ, <-changes)
			}
			m.Close()
			m.Add(monitor.Target{ID: 1, Addr: member})
			if _, decided := m.Up(1); decided {
				t.Error("a closed monitor takes members")
			}
		})
	}
}

// A member that is added again begins anew.
func TestAddAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newWorld(t)
		m, changes := watch(t, h, monitor.Spec{Type: "TCP", Rise: 1})
		m.Add(monitor.Target{ID: 1, Addr: member})
		if c := <-changes; !c.up {
			t.Errorf("%+v", c)
		}
		m.Add(monitor.Target{ID: 1, Addr: member})
		if up, decided := m.Up(1); up || decided {
			t.Error("what replaces a member has its state")
		}
		if _, ok := m.Last(1); ok {
			t.Error("what replaces a member has its result")
		}
		if c := <-changes; !c.up {
			t.Errorf("%+v", c)
		}
	})
}

// The call for a change may use the monitor, and holds up no other member.
func TestChangedUsesMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := newWorld(t)
		var m real
		second := make(chan bool, 1)
		m = start(h, monitor.Spec{Type: "TCP", Rise: 1}, func(id uint32, up bool, last monitor.Result) {
			if id == 2 {
				second <- up
				return
			}
			if got, decided := m.Up(id); !got || !decided || !up || !last.OK {
				t.Errorf("the call says %v, the monitor %v", up, got)
			}
			m.Add(monitor.Target{ID: 2, Addr: member})
			<-second
			m.Remove(1)
		})
		defer m.Close()
		m.Add(monitor.Target{ID: 1, Addr: member})
		<-time.After(10 * time.Second)
		if _, decided := m.Up(1); decided {
			t.Error("the call has not ended")
		}
	})
}

// A host that has gone is no member's fault, but nothing hangs.
func TestHostGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t)
		serve(t, b, func(net.Conn) {})
		m, changes := watch(t, a, monitor.Spec{Type: "TCP", Rise: 1, Fall: 1})
		m.Add(monitor.Target{ID: 1, Addr: netip.AddrPortFrom(addrB, 80)})
		<-changes
		a.Close()
		if c := <-changes; c.up || c.last.Why != "the check was abandoned" {
			t.Errorf("%+v", c)
		}
	})
}
