package neighbor_test

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
)

// A failed neighbor is asked for again by the first packet whose time has come, also when Tick
// is late.
func TestFailedIsAskedForAgainInTime(t *testing.T) {
	table := neighbor.NewTable()
	table.Resolve(key(1), 0, 0)
	tick(t, table, 0, 2*time.Second)
	table.Tick(3400*time.Millisecond, func(neighbor.Action) {})
	_, n, ask := table.Resolve(key(1), 0, 3400*time.Millisecond)
	if !ask || n.State != neighbor.Incomplete {
		t.Errorf("asked %t, state %v", ask, n.State)
	}
	want(t, tick(t, table, 3400*time.Millisecond, 8*time.Second), "4.4s ask", "5.4s ask", "6.4s failed 0")
}

// One use makes one probe. A neighbor that is not used any more gets no other one.
func TestProbedOncePerUse(t *testing.T) {
	table := neighbor.NewTable()
	table.Learn(key(1), mac, true, 0)
	_, n, _ := table.Resolve(key(1), 0, 0)
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
	table := neighbor.NewTable()
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

// The bytes that wait are counted exactly, and given back. One interface may
// have as much waiting as is free beside it: the first one a half, the second one a quarter, and so on.
func TestParkedBytesAreExact(t *testing.T) {
	table := neighbor.NewTable()
	_, first, _ := table.Resolve(key(1), 0, 0)
	table.Park(first, make([]byte, 1600), 1)
	next := 1
	fill := func(left int, iface uint16) {
		t.Helper()
		for left > 0 {
			next++
			_, n, _ := table.Resolve(key(next), 0, 0)
			size := min(left, 64<<10)
			if left -= size; !table.Park(n, make([]byte, size), iface) {
				t.Fatalf("no room for %d bytes from interface %d, %d are left", size, iface, left+size)
			}
		}
		_, n, _ := table.Resolve(key(10000), 0, 0)
		if table.Park(n, []byte{1}, iface) {
			t.Fatalf("one byte more than there is room for from interface %d", iface)
		}
	}
	fill(neighbor.MaxParkedBytes/2-1600, 1)
	fill(neighbor.MaxParkedBytes/4, 2)
	fill(neighbor.MaxParkedBytes/8, 3)
	table.Learn(key(1), mac, false, 0)
	_, n, _ := table.Resolve(key(10000), 0, 0)
	if !table.Park(n, make([]byte, 1600/2), 3) || table.Park(n, []byte{1}, 3) {
		t.Error("what was handed over is not given back, or more than that")
	}
	tick(t, table, 0, 3*time.Second) // no other neighbor answers
	for i := range 8 {
		if !table.Park(n, make([]byte, neighbor.MaxParkedBytes/16), 1) {
			t.Errorf("only %d sixteenths are free when nothing waits", i)
		}
	}
}

// The packets of one interface have no more than AskRate neighbors a second asked for, after AskBurst. Other
// interfaces, and the router itself, are not held to that. A neighbor that is asked for already costs nothing.
func TestAskRate(t *testing.T) {
	table := neighbor.NewTable()
	ask := func(from uint16, first, n int, now time.Duration) (asked int) {
		for i := range n {
			_, n, ask := table.Resolve(key(first+i), from, now)
			if ask {
				asked++
			} else if n != nil {
				t.Fatal("a neighbor that nobody has asked for")
			}
		}
		return asked
	}
	if got := ask(1, 0, 5000, 0); got != neighbor.AskBurst {
		t.Errorf("%d asked for at once, want %d", got, neighbor.AskBurst)
	}
	for i := range 5 {
		if _, n, ask := table.Resolve(key(i), 1, 0); n == nil || ask {
			t.Error("one that is asked for already is not found")
		}
	}
	if got := ask(2, 10000, 10, 0); got != 10 {
		t.Errorf("%d of another interface asked for, want 10", got)
	}
	if got := ask(0, 20000, 2000, 0); got != 2000 {
		t.Errorf("%d of the router itself asked for, want 2000", got)
	}
	if got := ask(1, 30000, 5000, time.Second/2); got != neighbor.AskRate/2 {
		t.Errorf("%d asked for in half a second, want %d", got, neighbor.AskRate/2)
	}
	// A failed one is not asked for again either.
	tick(t, table, time.Second/2, 5*time.Second-1)
	ask(1, 40000, neighbor.AskBurst, 5*time.Second)
	if _, n, ask := table.Resolve(key(0), 1, 5*time.Second); n == nil || ask || n.State != neighbor.Failed {
		t.Error("a failed one is asked for beyond the rate")
	}
}

// However many neighbors appear on one network, used ones or not, another
// network's stay.
func TestCrowdMakesRoomItself(t *testing.T) {
	table := neighbor.NewTable()
	for i := range 3 * neighbor.MaxNeighbors { // long gone: does not count
		table.Learn(neighbor.Key{Iface: 3, Addr: packet.Addr(i)}, mac, true, 0)
	}
	table.Forget(3)
	var others []neighbor.Ref
	for i := range 1000 {
		k := neighbor.Key{Iface: 2, Addr: packet.Addr(i)}
		table.Learn(k, mac, true, 0)
		ref, _, _ := table.Resolve(k, 0, 0)
		others = append(others, ref)
	}
	for i := range 5 * neighbor.MaxNeighbors {
		now := time.Duration(1+i) * time.Microsecond
		table.Learn(key(i), mac, true, now)
		_, n, _ := table.Resolve(key(i), 0, now)
		n.Used = true
	}
	for _, ref := range others {
		if table.Get(ref) == nil {
			t.Fatal("a flood of one network has displaced a neighbor of another")
		}
	}
}

// In a table full of resolved neighbors, the neighbors in use stay, and the others go,
// longest confirmed first.
func TestFullTableOfResolvedNeighbors(t *testing.T) {
	table := neighbor.NewTable()
	used := map[neighbor.Ref]bool{}
	for i := range neighbor.MaxNeighbors {
		table.Learn(key(i), mac, true, time.Duration(i))
		ref, n, _ := table.Resolve(key(i), 0, time.Duration(i))
		if n.Used = i%2 == 0; n.Used {
			used[ref] = true
		}
	}
	for i := range 200 {
		table.Learn(key(neighbor.MaxNeighbors+i), mac, true, time.Duration(neighbor.MaxNeighbors+i))
	}
	if table.Len() != neighbor.MaxNeighbors {
		t.Errorf("%d neighbors", table.Len())
	}
	for ref := range used {
		if table.Get(ref) == nil {
			t.Error("a neighbor in use has made room")
		}
	}
}
