package arp_test

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/arp"
)

// A failed neighbor is asked for again from its time on, also when Tick is late.
func TestFailedIsAskedForAgainInTime(t *testing.T) {
	table := arp.NewTable()
	table.Resolve(key(1), 0)
	tick(t, table, 0, 3*time.Second)
	if _, n, ask := table.Resolve(key(1), 4*time.Second-1); ask || n.State != arp.Failed {
		t.Errorf("asked for too early, state %v", n.State)
	}
	_, n, ask := table.Resolve(key(1), 4*time.Second)
	if !ask || n.State != arp.Incomplete {
		t.Errorf("asked %t, state %v", ask, n.State)
	}
	want(t, tick(t, table, 4*time.Second, 8*time.Second), "5s ask", "6s ask", "7s failed 0")
}

// One use makes one probe; who is not used any more is left in peace.
func TestProbedOncePerUse(t *testing.T) {
	table := arp.NewTable()
	table.Learn(key(1), mac, true, 0)
	_, n, _ := table.Resolve(key(1), 0)
	n.Used = true
	want(t, tick(t, table, 0, 30*time.Second), "30s probe "+mac.String())
	table.Learn(key(1), mac, false, 30*time.Second)
	want(t, tick(t, table, 30*time.Second, time.Hour))
	if table.Len() != 0 {
		t.Error("not forgotten")
	}
}

// The time until a neighbor is forgotten counts from its last message.
func TestMessageKeepsNeighbor(t *testing.T) {
	table := arp.NewTable()
	table.Learn(key(1), mac, true, 0)
	tick(t, table, 0, 200*time.Second)
	table.Learn(key(1), mac, false, 200*time.Second)
	tick(t, table, 200*time.Second, 500*time.Second-1)
	if table.Len() != 1 {
		t.Error("forgotten five minutes after its first message")
	}
	if tick(t, table, 500*time.Second, 500*time.Second); table.Len() != 0 {
		t.Error("not forgotten five minutes after its last message")
	}
}

// The bytes that wait are counted exactly, and given back.
func TestParkedBytesAreExact(t *testing.T) {
	table := arp.NewTable()
	_, first, _ := table.Resolve(key(1), 0)
	left := arp.MaxParkedBytes - 1600
	table.Park(first, make([]byte, 1600), 1)
	for i := 2; left > 0; i++ {
		_, n, _ := table.Resolve(key(i), 0)
		size := min(left, 64<<10)
		if left -= size; !table.Park(n, make([]byte, size), 1) {
			t.Fatalf("no room for %d bytes, %d are left", size, left+size)
		}
	}
	_, n, _ := table.Resolve(key(10000), 0)
	if table.Park(n, []byte{1}, 1) {
		t.Error("one byte more than there is room for")
	}
	table.Learn(key(1), mac, false, 0)
	if !table.Park(n, make([]byte, 1600), 1) || table.Park(n, []byte{1}, 1) {
		t.Error("what was handed over is not given back, or more than that")
	}
	tick(t, table, 0, 3*time.Second) // nobody else answers
	for i := range 16 {
		if !table.Park(n, make([]byte, arp.MaxParkedBytes/16), 1) {
			t.Errorf("only %d sixteenths are free when nothing waits", i)
		}
	}
}

// In a table full of resolved neighbors, those in use stay, and the others go,
// longest confirmed first.
func TestFullTableOfResolvedNeighbors(t *testing.T) {
	table := arp.NewTable()
	used := map[arp.Ref]bool{}
	for i := range arp.MaxNeighbors {
		table.Learn(key(i), mac, true, time.Duration(i))
		ref, n, _ := table.Resolve(key(i), time.Duration(i))
		if n.Used = i%2 == 0; n.Used {
			used[ref] = true
		}
	}
	for i := range 200 {
		table.Learn(key(arp.MaxNeighbors+i), mac, true, time.Duration(arp.MaxNeighbors+i))
	}
	if table.Len() != arp.MaxNeighbors {
		t.Errorf("%d neighbors", table.Len())
	}
	for ref := range used {
		if table.Get(ref) == nil {
			t.Error("a neighbor in use has made room")
		}
	}
}
