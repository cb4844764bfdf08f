package router

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
)

// A countingWaiter counts the waits of a worker, and how often it is woken.
type countingWaiter struct {
	loop.Waiter
	waits, wakes atomic.Int64
}

func (c *countingWaiter) Wake() {
	c.wakes.Add(1)
	c.Waiter.Wake()
}

func (c *countingWaiter) Wait(d time.Duration) {
	c.waits.Add(1)
	c.Waiter.Wait(d)
}

// A worker that is told to stop does not go to sleep once more. Nothing would wake it before the
// next look at its tables.
func TestStopIsTheLastTurn(t *testing.T) {
	for _, devices := range []bool{false, true} { // by a channel, by epoll
		w, err := loop.NewWorker(slog.New(slog.DiscardHandler), devices)
		if err != nil {
			t.Fatal(err)
		}
		c := &countingWaiter{Waiter: w.Waiter}
		w.Waiter = c
		go w.Run()
		if err := w.Call(func() {}); err != nil { // what it has just done has it wake up again soon
			t.Fatal(err)
		}
		before := int64(-1)
		w.Post(func() { w.Stop(); before = c.waits.Load() })
		<-w.Done
		if n := c.waits.Load() - before; n != 0 {
			t.Errorf("devices %t: %d waits after the end", devices, n)
		}
		w.Waiter.Close()
	}
}

// A large table is listed in steps, and packets pass between them.
func TestListsHoldNoWorker(t *testing.T) {
	topo := tutorial()
	for port := range uint16(100) {
		v := topo.VIPs[0]
		v.Name, v.Port = fmt.Sprint("vip ", port), 1000+port
		topo.VIPs = append(topo.VIPs, v)
	}
	e := newEngine(Options{Logger: slog.New(slog.DiscardHandler), Seed: 1})
	if _, err := e.Apply(t.Context(), stateOf(t, topo)); err != nil {
		t.Fatal(err)
	}
	w := e.workers[0]
	w.Direct = false
	c := &countingWaiter{Waiter: w.Waiter}
	w.Waiter = c
	go w.Run()
	defer e.Close()
	const n, step = 20_000, 256
	if err := w.Call(func() {
		for k := range packet.Addr(n) {
			tuple := packet.Tuple{Src: k, Dst: 1, SrcPort: 2, DstPort: 3, Proto: packet.ProtoUDP}
			w.routers[0].Conns.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse()}, w.Now)
		}
	}); err != nil {
		t.Fatal(err)
	}
	before := c.wakes.Load()
	all := e.Connections()
	if calls := c.wakes.Load() - before; len(all) != n || calls < n/step {
		t.Errorf("%d connections in %d calls of the worker, want %d in at least %d", len(all), calls, n, n/step)
	}
	seen := map[packet.Addr]bool{}
	for _, c := range all {
		seen[c.Original.Src] = true
	}
	if len(seen) != n {
		t.Errorf("%d different ones", len(seen))
	}
	before = c.wakes.Load()
	balancers := e.LoadBalancers()
	if calls := c.wakes.Load() - before; len(balancers) != 1 || len(balancers[0].Listeners) != 101 ||
		calls < 101*8/step {
		t.Errorf("%d load balancers in %d calls, want one of 101 listeners in several", len(balancers), calls)
	}
	e.Close()
	if all := e.Connections(); all != nil {
		t.Errorf("%d connections after Close", len(all))
	}
}
