package neighbor_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
)

var mac = packet.MAC{2, 0, 0, 0, 0, 1}

func key(n int) neighbor.Key { return neighbor.Key{Iface: 1, Addr: packet.Addr(n)} }

// tick runs everything that is due until now, as a worker does: only at the
// times the table asks for. It returns what happened, with the times.
func tick(t *testing.T, table *neighbor.Table, from, to time.Duration) []string {
	t.Helper()
	var log []string
	for now := from; ; {
		next := table.Tick(now, func(a neighbor.Action) {
			switch {
			case a.Ask && a.To.IsZero():
				log = append(log, fmt.Sprintf("%v ask", now))
			case a.Ask:
				log = append(log, fmt.Sprintf("%v probe %v", now, a.To))
			default:
				log = append(log, fmt.Sprintf("%v failed %d", now, len(a.Failed)))
			}
		})
		if next == 0 || next > to {
			return log
		}
		if next <= now {
			t.Fatalf("at %v it wants to be called at %v", now, next)
		}
		now = next
	}
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestFind(t *testing.T) {
	table := neighbor.NewTable()
	if table.Find(key(1)) != nil || table.Len() != 0 {
		t.Error("a neighbor nobody has asked for is found, or made")
	}
	_, n, _ := table.Resolve(key(1), 0, 0)
	if table.Find(key(1)) != n {
		t.Error("a neighbor is not found")
	}
}

// A neighbor that has failed is a suspect until it answers, even while it is
// asked again.
func TestSuspect(t *testing.T) {
	table := neighbor.NewTable()
	suspect := func(at time.Duration, want, wantAsk bool) {
		t.Helper()
		if got, ask := table.Suspect(key(1), at); got != want || ask != wantAsk {
			t.Errorf("at %v: suspect %t, ask %t", at, got, ask)
		}
	}
	suspect(0, false, false) // it has never been asked for
	table.Resolve(key(1), 0, 0)
	suspect(0, false, false)
	want(t, tick(t, table, 0, 3*time.Second), "1s ask", "2s ask", "3s failed 0")
	suspect(3*time.Second, true, true)
	suspect(3*time.Second, true, false)
	suspect(4*time.Second, true, false) // Tick asks
	table.Learn(key(1), packet.MAC{2}, false, 5*time.Second)
	suspect(5*time.Second, false, false)
}

func TestNobodyAnswers(t *testing.T) {
	table := neighbor.NewTable()
	_, n, ask := table.Resolve(key(1), 0, 0)
	if !ask || n.Usable() || n.State != neighbor.Incomplete {
		t.Fatalf("ask %v, state %v", ask, n.State)
	}
	if _, _, again := table.Resolve(key(1), 0, time.Second/2); again {
		t.Error("asked twice within a second")
	}
	for i := range 3 {
		if !table.Park(n, []byte{byte(i)}, 7) {
			t.Error("no room")
		}
	}
	want(t, tick(t, table, 0, 3500*time.Millisecond), "1s ask", "2s ask", "3s failed 3")
	if n.State != neighbor.Failed {
		t.Errorf("state %v", n.State)
	}
	if _, n, ask := table.Resolve(key(1), 0, 3500*time.Millisecond); !ask || n.State != neighbor.Incomplete ||
		!table.Park(n, []byte{9}, 7) {
		t.Errorf("asked again %t, state %v", ask, n.State)
	}
	if _, _, ask := table.Resolve(key(1), 0, 3500*time.Millisecond); ask {
		t.Error("asked twice at once")
	}
	want(t, tick(t, table, 3500*time.Millisecond, 7*time.Second), "4.5s ask", "5.5s ask", "6.5s failed 1")
	tick(t, table, 7*time.Second, 66*time.Second)
	if table.Len() != 1 {
		t.Errorf("%d neighbors: the suspect is forgotten", table.Len())
	}
	tick(t, table, 66*time.Second, 67*time.Second)
	if table.Len() != 0 {
		t.Errorf("%d neighbors after the failure", table.Len())
	}
}

func TestAnswerHandsOverWhatWaited(t *testing.T) {
	table := neighbor.NewTable()
	ref, n, _ := table.Resolve(key(1), 0, 0)
	frame := []byte{1}
	table.Park(n, frame, 7)
	frame[0] = 9 // the caller's buffer is its own again
	table.Park(n, []byte{2}, 8)
	parked, former := table.Learn(key(1), mac, false, time.Second/2)
	if len(parked) != 2 || parked[0].Frame[0] != 1 || parked[0].Iface != 7 || parked[1].Frame[0] != 2 ||
		parked[1].Iface != 8 {
		t.Errorf("handed over %v", parked)
	}
	if !former.IsZero() {
		t.Errorf("former address %v", former)
	}
	if again, _ := table.Learn(key(1), mac, false, time.Second); len(again) != 0 {
		t.Error("handed over twice")
	}
	if got := table.Get(ref); got != n || !got.Usable() || got.MAC != mac {
		t.Errorf("neighbor %+v", got)
	}
	if _, former := table.Learn(key(1), packet.MAC{2, 2}, false, time.Second); former != mac {
		t.Errorf("former address %v", former)
	}
}

func TestUsedNeighborIsProbed(t *testing.T) {
	table := neighbor.NewTable()
	table.Learn(key(1), mac, true, 0)
	_, n, _ := table.Resolve(key(1), 0, 0)
	n.Used = true
	want(t, tick(t, table, 0, 30500*time.Millisecond), "30s probe "+mac.String())
	if !n.Usable() || n.State != neighbor.Probing {
		t.Errorf("state %v while it is probed", n.State)
	}
	table.Learn(key(1), mac, false, 30500*time.Millisecond)
	if n.State != neighbor.Reachable {
		t.Errorf("state %v after the answer", n.State)
	}
	n.Used = true
	want(t, tick(t, table, 30500*time.Millisecond, 65*time.Second), "1m0.5s probe "+mac.String(),
		"1m1.5s probe "+mac.String(), "1m2.5s probe "+mac.String())
	if table.Len() != 0 {
		t.Error("a neighbor that does not answer is still there")
	}
}

func TestUnusedNeighborIsForgotten(t *testing.T) {
	table := neighbor.NewTable()
	table.Learn(key(1), mac, true, 0)
	want(t, tick(t, table, 0, 299*time.Second))
	if table.Len() != 1 {
		t.Error("forgotten too early")
	}
	want(t, tick(t, table, 299*time.Second, 301*time.Second))
	if table.Len() != 0 {
		t.Error("not forgotten")
	}
	if at := table.Tick(302*time.Second, nil); at != 0 {
		t.Errorf("an empty table wants to be called at %v", at)
	}
}

func TestOnlyWhatIsMeantForUsMakesAnEntry(t *testing.T) {
	table := neighbor.NewTable()
	if table.Learn(key(1), mac, false, 0); table.Len() != 0 {
		t.Error("an unsolicited message made an entry")
	}
	if table.Learn(key(1), mac, true, 0); table.Len() != 1 {
		t.Error("a request to us made none")
	}
	if table.Learn(key(1), packet.MAC{2, 2}, false, 0); table.Len() != 1 {
		t.Error("an update made a second entry")
	}
	if _, n, _ := table.Resolve(key(1), 0, 0); n.MAC != (packet.MAC{2, 2}) {
		t.Errorf("not updated: %v", n.MAC)
	}
}

// One neighbor has room for what a host sends at once: for many packets, or for few large ones.
func TestRoomOfOneNeighbor(t *testing.T) {
	for size, want := range map[int]int{
		60: neighbor.MaxParked, 1500: neighbor.MaxParked, 4096: neighbor.MaxParkedEach / 4096,
		32 << 10: neighbor.MinParked, 64 << 10: neighbor.MinParked,
	} {
		table := neighbor.NewTable()
		_, n, _ := table.Resolve(key(1), 0, 0)
		fill := func(iface uint16) (parked int) {
			for table.Park(n, make([]byte, size), iface) {
				parked++
			}
			return parked
		}
		if got := fill(2); got != want {
			t.Errorf("%d packets of %d bytes parked, want %d", got, size, want)
		}
		table.Drop(2)
		if got := fill(3); got != want {
			t.Errorf("%d packets of %d bytes parked when the first ones are gone, want %d", got, size, want)
		}
		table.Learn(key(1), mac, false, 0)
		if got := fill(3); got != want {
			t.Errorf("%d packets of %d bytes parked after an answer, want %d", got, size, want)
		}
	}
}

// Bursts for absent hosts leave room for packets to other neighbors.
func TestBurstsLeaveRoom(t *testing.T) {
	table := neighbor.NewTable()
	park := func(k, n int) (parked int) {
		_, to, _ := table.Resolve(key(k), 0, 0)
		for range n {
			if table.Park(to, make([]byte, 1500), 1) {
				parked++
			}
		}
		return parked
	}
	if n := park(1, 1000); n != 256 {
		t.Errorf("%d packets for the first", n)
	}
	for k := 2; k < 10; k++ {
		park(k, 1000)
	}
	for k := 10; k < 40; k++ {
		if n := park(k, 1000); n != neighbor.MinParked {
			t.Fatalf("%d packets for neighbor %d, want %d", n, k, neighbor.MinParked)
		}
	}
}

func TestParkingIsBounded(t *testing.T) {
	table := neighbor.NewTable()
	_, n, _ := table.Resolve(key(1), 0, 0)
	parked := 0
	for range neighbor.MaxParked + 5 {
		if table.Park(n, make([]byte, 100), 1) {
			parked++
		}
	}
	if parked != neighbor.MaxParked {
		t.Errorf("%d packets parked, want %d", parked, neighbor.MaxParked)
	}
	bytes := parked * 100
	for i := 2; ; i++ {
		_, n, _ := table.Resolve(key(i), 0, 0)
		if !table.Park(n, make([]byte, 60000), 1) {
			break
		}
		if bytes += 60000; bytes > neighbor.MaxParkedBytes {
			t.Fatalf("%d bytes parked", bytes)
		}
	}
	table.Learn(key(1), mac, false, 0) // gives 25600 bytes back
	_, n, _ = table.Resolve(key(2), 0, 0)
	if !table.Park(n, make([]byte, 1500), 1) {
		t.Error("no room after some was given back")
	}
}

func TestStaleRef(t *testing.T) {
	table := neighbor.NewTable()
	if table.Get(0) != nil {
		t.Error("the zero Ref names somebody")
	}
	table.Learn(key(1), mac, true, 0)
	ref, _, _ := table.Resolve(key(1), 0, 0)
	tick(t, table, 0, 301*time.Second)
	if table.Get(ref) != nil {
		t.Error("a Ref outlives its neighbor")
	}
	again, _, _ := table.Resolve(key(2), 0, 302*time.Second)
	if table.Get(ref) != nil || table.Get(again) == nil || again == ref {
		t.Error("a Ref names the next one in its place")
	}
}

func TestFullTable(t *testing.T) {
	table := neighbor.NewTable()
	used := neighbor.Key{Iface: 2, Addr: 1}
	table.Learn(used, mac, true, 0)
	ref, n, _ := table.Resolve(used, 0, 0)
	n.Used = true
	for i := range 3 * neighbor.MaxNeighbors {
		_, n, _ := table.Resolve(key(i), 0, time.Duration(i)*time.Microsecond)
		table.Park(n, []byte{1}, 1)
		if table.Len() > neighbor.MaxNeighbors {
			t.Fatalf("%d neighbors", table.Len())
		}
	}
	if table.Get(ref) == nil {
		t.Error("a flood has displaced a neighbor that is in use")
	}
	if want := uint64(2*neighbor.MaxNeighbors + 1); table.Lost() != want {
		t.Errorf("%d parked packets lost, want %d", table.Lost(), want)
	}
	n2 := 0
	table.Each(func(*neighbor.Neighbor) { n2++ })
	if n2 != table.Len() {
		t.Errorf("Each shows %d of %d", n2, table.Len())
	}
}

// However often packets come for an absent neighbor, and however late Tick is, it is asked
// for once a second at most, and never rests for longer than that.
func TestRequestRate(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		table := neighbor.NewTable()
		now, due, last := time.Duration(0), time.Duration(0), -time.Hour
		asked := func() {
			if now-last < neighbor.RetryInterval {
				t.Fatalf("seed %d: asked at %v and at %v", seed, last, now)
			}
			last, due = now, now+neighbor.RetryInterval
		}
		for range 3000 {
			now += time.Duration(rng.IntN(int(40 * time.Millisecond)))
			if due != 0 && now >= due+time.Duration(rng.IntN(int(100*time.Millisecond))) {
				at := table.Tick(now, func(a neighbor.Action) {
					if a.Ask {
						asked()
					}
				})
				due = at
			}
			if rng.IntN(2) == 0 {
				if _, _, ask := table.Resolve(key(1), 0, now); ask {
					asked()
				}
			} else if _, ask := table.Suspect(key(1), now); ask {
				asked()
			}
			if last >= 0 && now-last > neighbor.RetryInterval+time.Second/2 {
				t.Fatalf("seed %d: at %v nobody has asked since %v", seed, now, last)
			}
		}
	}
}

// Random operations: a parked packet comes back exactly once or is counted as
// lost, and the table always says when it has something to do.
func TestRandomOperations(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		table := neighbor.NewTable()
		now, due := time.Duration(0), time.Duration(0)
		parked, back := 0, 0
		told := map[neighbor.Key]packet.MAC{} // what OnChange has said
		table.OnChange(func(n *neighbor.Neighbor, gone bool) {
			if _, there := told[n.Key]; gone && !there {
				t.Fatalf("seed %d: %v goes, but has never come", seed, n.Key)
			}
			if delete(told, n.Key); !gone {
				told[n.Key] = reachableAt(n)
			}
		})
		do := func(a neighbor.Action) { back += len(a.Failed) }
		for range 5000 {
			now += time.Duration(rng.IntN(int(300 * time.Millisecond)))
			if due != 0 && now >= due {
				due = table.Tick(now, do)
				if due != 0 && due <= now {
					t.Fatalf("seed %d: due at %v, now %v", seed, due, now)
				}
			}
			k := key(rng.IntN(20))
			switch rng.IntN(4) {
			case 0:
				p, _ := table.Learn(k, packet.MAC{2, byte(rng.IntN(2))}, rng.IntN(2) == 0, now)
				back += len(p)
			default:
				_, n, _ := table.Resolve(k, 0, now)
				n.Used = rng.IntN(2) == 0
				if !n.Usable() && n.State != neighbor.Failed && table.Park(n, []byte{1}, 1) {
					parked++
				}
			}
			due = table.Tick(now, do)
			table.Each(func(n *neighbor.Neighbor) {
				if mac, there := told[n.Key]; !there || mac != reachableAt(n) || len(told) != table.Len() {
					t.Fatalf("seed %d: %v is %v at %v, nobody was told; %d of %d known", seed, n.Key, n.State, n.MAC,
						len(told),
						table.Len())
				}
			})
		}
		for due != 0 {
			due = table.Tick(due, do)
		}
		if len(told) != 0 {
			t.Errorf("seed %d: nobody was told of %d that have gone", seed, len(told))
		}
		if table.Len() != 0 || parked != back+int(table.Lost()) {
			t.Errorf("seed %d: %d neighbors left; parked %d, back %d, lost %d", seed, table.Len(), parked, back,
				table.Lost())
		}
	}
}

// reachableAt is the address of a neighbor that is certain; zero: none is.
func reachableAt(n *neighbor.Neighbor) (mac packet.MAC) {
	if n.State == neighbor.Reachable {
		mac = n.MAC
	}
	return mac
}

// Forget leaves other interfaces alone, and neighbors that are being asked for.
func TestForget(t *testing.T) {
	table := neighbor.NewTable()
	other := neighbor.Key{Iface: 2, Addr: 1}
	for _, k := range []neighbor.Key{key(1), key(2), other} {
		table.Learn(k, mac, true, 0)
	}
	_, n, _ := table.Resolve(key(3), 0, 0)
	table.Park(n, []byte{1}, 1)
	ref, _, _ := table.Resolve(key(1), 0, 0)
	table.Forget(1)
	if table.Len() != 2 || table.Get(ref) != nil || table.Lost() != 0 {
		t.Errorf("%d neighbors left, %d packets lost", table.Len(), table.Lost())
	}
	if _, n, ask := table.Resolve(other, 0, 0); ask || !n.Usable() {
		t.Error("the other interface's neighbor is gone")
	}
	if _, n, ask := table.Resolve(key(3), 0, 0); ask || n.State != neighbor.Incomplete {
		t.Error("the one that was asked for is gone")
	}
	if _, _, ask := table.Resolve(key(2), 0, 0); !ask {
		t.Error("the one that was forgotten is not asked for anew")
	}
}

// A neighbor of a former table can be sent to at once. In use, it is asked within seconds, by unicast: it may be gone.
// Thousands are not asked at one time. One that was too old then is not taken over. One that is known stays as it is.
func TestRestore(t *testing.T) {
	table := neighbor.NewTable()
	other := packet.MAC{2, 9}
	table.Learn(key(1), mac, true, 0)
	for _, c := range []struct {
		name string
		k    int
		mac  packet.MAC
		age  time.Duration
		want bool
	}{
		{"known", 1, other, 0, false},
		{"fresh", 2, other, 0, true},
		{"old", 3, other, neighbor.ForgetAfter - 1, true},
		{"too old", 4, other, neighbor.ForgetAfter, false},
		{"of another clock", 5, other, -1, false},
		{"a group's address", 6, packet.MAC{3}, 0, false},
		{"no address", 7, packet.MAC{}, 0, false},
	} {
		if got := table.Restore(key(c.k), c.mac, c.age, 0); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	if table.Len() != 3 {
		t.Errorf("%d neighbors, want 3", table.Len())
	}
	if _, n, _ := table.Resolve(key(1), 0, 0); n.MAC != mac {
		t.Errorf("a known neighbor has %v now", n.MAC)
	}
	_, n, ask := table.Resolve(key(2), 0, 0)
	if ask || !n.Usable() || n.MAC != other {
		t.Errorf("asked %t, %v at %v", ask, n.State, n.MAC)
	}
	n.Used = true
	asked := time.Duration(0)
	for now := time.Duration(0); now < neighbor.RecheckWithin && asked == 0; now += 10 * time.Millisecond {
		table.Tick(now, func(a neighbor.Action) {
			if asked = now; a.Key != key(2) || a.To != other {
				t.Errorf("at %v: %+v", now, a)
			}
		})
	}
	if asked < neighbor.RetryInterval {
		t.Errorf("asked at %v", asked)
	}
	table.Tick(neighbor.ProbeAfter+neighbor.RecheckWithin, func(neighbor.Action) {})
	if table.Find(key(3)) != nil {
		t.Error("a neighbor that nobody uses is kept longer than others")
	}

	table = neighbor.NewTable()
	for i := range neighbor.MaxNeighbors + 1 {
		if got := table.Restore(key(i), other, 0, 0); got != (i < neighbor.MaxNeighbors) {
			t.Fatalf("neighbor %d: %t", i, got)
		}
	}
	table.Each(func(n *neighbor.Neighbor) { n.Used = true })
	most, all := 0, 0
	for now := time.Duration(0); now <= neighbor.RecheckWithin; now += 10 * time.Millisecond {
		n := 0
		table.Tick(now, func(a neighbor.Action) {
			if n++; a.To.IsZero() {
				t.Fatal("a broadcast")
			}
		})
		table.Each(func(n *neighbor.Neighbor) { // each answers
			if n.State == neighbor.Probing {
				table.Learn(n.Key, other, false, now)
			}
		})
		most, all = max(most, n), all+n
	}
	if all != neighbor.MaxNeighbors || most > neighbor.MaxNeighbors/32 {
		t.Errorf("%d are asked, up to %d at one time", all, most)
	}
}
