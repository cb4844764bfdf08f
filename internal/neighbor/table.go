// Package neighbor is a router's neighbor table (RFC 826, with the timing of RFC
// 1122, 2.3.2, and the states of RFC 4861): which neighbors are known, which are
// being asked for, and which packets wait for the answer.
//
// A neighbor goes from Incomplete to Reachable when it answers. A neighbor in use
// is asked again, by unicast, before it gets stale. An unused one is forgotten.
// A neighbor that does not answer is Failed. The next packet for it asks again, if the
// last request is a second old, so a flood to an absent host costs one request a second.
// Until it answers, it stays a suspect for a while: a caller with a choice should take
// another neighbor.
//
// The package has no goroutine, clock, lock or I/O: now (since any fixed start)
// is an argument. Callers serialize.
package neighbor

import (
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

const (
	// RetryInterval is the time between two requests for the same neighbor
	// (RFC 1122, 2.3.2.1: at most one a second).
	RetryInterval = time.Second
	// Tries is how many requests are sent before the neighbor has failed.
	Tries = 3
	// SuspectFor is how long a failed neighbor is kept if no packet asks for it.
	SuspectFor = time.Minute
	// ProbeAfter is the age at which a neighbor in use is asked again.
	ProbeAfter = 30 * time.Second
	// ForgetAfter is how long an unused neighbor is kept.
	ForgetAfter = 5 * time.Minute
	// RecheckWithin is how soon a neighbor of a former table is asked again, if it is in use.
	RecheckWithin = 5 * time.Second

	// MaxNeighbors bounds the table; a new neighbor replaces one of the interface
	// that has the most of them: one that is not resolved, or else the one
	// confirmed longest ago.
	MaxNeighbors = 8192
	// MaxParked bounds the packets that wait for one neighbor (RFC 1122, 2.3.2.2 asks
	// for at least one). MaxParkedEach bounds their bytes. The first MinParked may be of
	// any size. That is room for what a host sends at once: after a start, connections in
	// full swing wait for their neighbors. Linux has room for some 90 full frames.
	// MaxParkedBytes bounds all packets that wait. An interface may have as many bytes
	// waiting as are free beside them. So an interface whose packets wait for many
	// absent hosts leaves room for others. More than MinParked for one neighbor may take
	// half of that room. The packets for other neighbors have the rest.
	MaxParked      = 256
	MinParked      = 16
	MaxParkedEach  = 512 << 10
	MaxParkedBytes = 4 << 20
	// AskRate is how many neighbors a second the packets of one interface may have
	// asked for, after a burst of AskBurst. A host that scans a large network through
	// the router makes it broadcast no more than that.
	AskRate  = 1000
	AskBurst = 1000
)

// A State says how far the table knows a neighbor.
type State uint8

// The states.
const (
	Incomplete State = iota // asked for, never answered
	Reachable
	Probing // reachable, and being asked again
	Failed
)

var states = [...]string{"INCOMPLETE", "REACHABLE", "PROBE", "FAILED"}

// String names the state as iproute2 does.
func (s State) String() string { return states[s] }

// A Ref names a neighbor of one table for as long as the neighbor is there; the
// zero Ref names none. It may be kept: once the neighbor is gone, Get says so.
type Ref uint32

// A Key is an interface of the router and an address there.
type Key struct {
	Iface uint16
	Addr  packet.Addr
}

// A Neighbor is one entry. MAC is valid in the states Reachable and Probing.
type Neighbor struct {
	Key
	MAC   packet.MAC
	State State
	// Used is set by the caller when it sends to the neighbor; the table clears it.
	Used bool

	gen       uint16
	tries     uint8
	live      bool
	suspect   bool          // it has failed, and not answered since
	confirmed time.Duration // last answer, or when it failed
	asked     time.Duration // last request
	next      time.Duration // next step of the state machine
	parked    []Parked
	bytes     int // of the frames that are parked
}

// Usable reports whether frames can be sent to the neighbor: it is Reachable or Probing, which lie side by side.
func (n *Neighbor) Usable() bool { return n.State-Reachable <= Probing-Reachable }

// A Parked packet waits for its neighbor. The table owns Frame.
type Parked struct {
	Frame []byte // as it came in, with its virtio-net header
	Iface uint16 // where it came in
}

// A Table is a set of neighbors.
type Table struct {
	byKey  map[Key]uint16
	slots  []*Neighbor
	free   []uint16
	bytes  int
	crowd  []int           // neighbors of each interface
	waits  []int           // bytes parked from each interface
	asked  []time.Duration // when the requests of each interface so far are paid for
	look   uint64          // where victim looks next
	due    time.Duration   // no neighbor has anything to do before this
	active bool            // due is valid
	lost   uint64          // parked packets of neighbors that made room
	change func(n *Neighbor, gone bool)
}

// NewTable returns an empty table.
func NewTable() *Table {
	// Slot 0 is never used, so that the zero Ref names no neighbor.
	return &Table{byKey: map[Key]uint16{}, slots: []*Neighbor{{}}}
}

// OnChange has fn called each time a neighbor is made or forgotten (gone is true then). fn is also called each
// time a neighbor becomes Reachable, changes its MAC address, or is no longer Reachable. The table calls fn within its
// own methods, so fn must not call the table. fn must not keep the neighbor. There is one such function;
// set it while the table is empty.
func (t *Table) OnChange(fn func(n *Neighbor, gone bool)) { t.change = fn }

func (t *Table) changed(n *Neighbor, gone bool) {
	if t.change != nil {
		t.change(n, gone)
	}
}

// Lost is the number of parked packets that were dropped, because their neighbor
// had to make room for another.
func (t *Table) Lost() uint64 { return t.lost }

// Len is the number of neighbors.
func (t *Table) Len() int { return len(t.byKey) }

// Get returns the neighbor that ref names, or nil.
func (t *Table) Get(ref Ref) *Neighbor {
	i := uint16(ref)
	if int(i) >= len(t.slots) {
		return nil
	}
	n := t.slots[i]
	if !n.live || n.gen != uint16(ref>>16) {
		return nil
	}
	return n
}

func (t *Table) ref(i uint16) Ref { return Ref(t.slots[i].gen)<<16 | Ref(i) }

// Find returns the neighbor k if there is one, or nil.
func (t *Table) Find(k Key) *Neighbor {
	if i, ok := t.byKey[k]; ok {
		return t.slots[i]
	}
	return nil
}

// Resolve returns the neighbor k, which it makes if need be, for a packet that came
// in at the interface from; 0 is the router itself. ask says that a broadcast
// request is to be sent now. n is nil if packets from there ask for too many.
func (t *Table) Resolve(k Key, from uint16, now time.Duration) (ref Ref, n *Neighbor, ask bool) {
	if i, ok := t.byKey[k]; ok {
		n = t.slots[i]
		if n.State == Failed && now-n.asked >= RetryInterval && t.mayAsk(from, now) {
			t.ask(n, now)
			return t.ref(i), n, true
		}
		return t.ref(i), n, false
	}
	if !t.mayAsk(from, now) {
		return 0, nil, false
	}
	i := t.add(k, now)
	n = t.slots[i]
	t.ask(n, now)
	return t.ref(i), n, true
}

// Suspect reports whether the neighbor k has failed, and not answered since. ask
// says that it is time to ask again, by a broadcast request.
func (t *Table) Suspect(k Key, now time.Duration) (suspect, ask bool) {
	i, ok := t.byKey[k]
	if !ok || !t.slots[i].suspect {
		return false, false
	}
	_, _, ask = t.Resolve(k, 0, now)
	return true, ask
}

// mayAsk reports whether packets from an interface may have one more neighbor asked
// for. If so, it counts this one towards their rate.
func (t *Table) mayAsk(from uint16, now time.Duration) bool {
	if from == 0 {
		return true
	}
	const each = time.Second / AskRate
	paid := at(&t.asked, from)
	if *paid-now > (AskBurst-1)*each {
		return false
	}
	*paid = max(*paid, now) + each
	return true
}

// at is the value of an interface in a slice that grows as needed.
func at[T any](s *[]T, iface uint16) *T {
	if more := int(iface) + 1 - len(*s); more > 0 {
		*s = append(*s, make([]T, more)...)
	}
	return &(*s)[iface]
}

// ask starts the requests for a neighbor.
func (t *Table) ask(n *Neighbor, now time.Duration) {
	n.State, n.tries, n.asked = Incomplete, 1, now
	t.schedule(n, now+RetryInterval)
}

func (t *Table) schedule(n *Neighbor, at time.Duration) {
	n.next = at
	if !t.active || at < t.due {
		t.due, t.active = at, true
	}
}

// add makes room for a neighbor and returns its slot.
func (t *Table) add(k Key, now time.Duration) uint16 {
	if len(t.byKey) >= MaxNeighbors {
		t.remove(t.victim())
	}
	var i uint16
	if f := len(t.free); f > 0 {
		i, t.free = t.free[f-1], t.free[:f-1]
	} else {
		i = uint16(len(t.slots))
		t.slots = append(t.slots, new(Neighbor))
	}
	n := t.slots[i]
	*n = Neighbor{Key: k, gen: n.gen, live: true, confirmed: now}
	*at(&t.crowd, k.Iface)++
	t.byKey[k] = i
	t.changed(n, false)
	return i
}

// victim picks the neighbor that is missed least. It looks at a bounded number
// of slots, all over the table: the neighbors of one interface may lie together.
func (t *Table) victim() uint16 {
	const look = 64
	best, bestScore := uint16(0), time.Duration(0)
	most := slices.Max(t.crowd)
	for range look {
		t.look = t.look*6364136223846793005 + 1442695040888963407 // Knuth's
		i := uint16(1 + t.look>>33%uint64(len(t.slots)-1))
		n := t.slots[i]
		if !n.live {
			continue
		}
		score := n.confirmed
		if t.crowd[n.Iface] == most {
			score -= 1 << 62 // the interface with the most makes room
		}
		if !n.Usable() {
			score -= 1 << 61 // unresolved ones go first
		}
		if n.Used {
			score += 1 << 60
		}
		if best == 0 || score < bestScore {
			best, bestScore = i, score
		}
	}
	return best
}

// remove forgets a neighbor. The packets that are parked there are lost.
func (t *Table) remove(i uint16) {
	n := t.slots[i]
	t.changed(n, true)
	t.lost += uint64(len(t.unpark(n)))
	delete(t.byKey, n.Key)
	t.crowd[n.Iface]--
	n.live = false
	n.gen++
	t.free = append(t.free, i)
}

// Park keeps a copy of a frame that came in at iface until the neighbor has
// answered or failed. It reports false when there is no room.
func (t *Table) Park(n *Neighbor, frame []byte, iface uint16) bool {
	waits := at(&t.waits, iface)
	room := MaxParkedBytes
	if len(n.parked) >= MinParked {
		if room /= 2; len(n.parked) >= MaxParked || n.bytes+len(frame) > MaxParkedEach {
			return false
		}
	}
	if t.bytes+*waits+2*len(frame) > room {
		return false
	}
	n.parked = append(n.parked, Parked{append([]byte(nil), frame...), iface})
	n.bytes += len(frame)
	t.bytes += len(frame)
	*waits += len(frame)
	return true
}

// Waiting yields the packets that wait for the neighbor, the oldest first. The table owns their bytes,
// which are valid until its next call.
func (n *Neighbor) Waiting(yield func(Parked) bool) {
	for _, p := range n.parked {
		if !yield(p) {
			return
		}
	}
}

// Forget removes the neighbors of an interface. Neighbors that are being asked for
// at this moment stay.
func (t *Table) Forget(iface uint16) {
	for i, n := range t.slots {
		if n.live && n.Iface == iface && n.State != Incomplete {
			t.remove(uint16(i))
		}
	}
}

// unpark hands the parked packets of a neighbor over.
func (t *Table) unpark(n *Neighbor) []Parked {
	p := n.parked
	n.parked, n.bytes = nil, 0
	for i := range p {
		t.bytes -= len(p[i].Frame)
		t.waits[p[i].Iface] -= len(p[i].Frame)
	}
	return p
}

// Learn records that the neighbor k has the address mac, as an ARP message says.
// Only a message that was meant for us (to) makes a new entry. Any other message may
// only change an entry that is there: no host can fill the table with neighbors that
// the router has no use for. It returns the packets that were waiting, and the former
// address if that was another one.
func (t *Table) Learn(k Key, mac packet.MAC, to bool, now time.Duration) (parked []Parked, former packet.MAC) {
	i, ok := t.byKey[k]
	if !ok {
		if !to {
			return nil, former
		}
		i = t.add(k, now)
	}
	n := t.slots[i]
	if n.Usable() && n.MAC != mac {
		former = n.MAC
	}
	news := n.State != Reachable || n.MAC != mac
	n.MAC, n.State, n.tries, n.confirmed, n.suspect = mac, Reachable, 0, now, false
	if news {
		t.changed(n, false)
	}
	t.schedule(n, now+ProbeAfter)
	return t.unpark(n), former
}

// A Record is a neighbor that can be sent to, for the table of another process.
type Record struct {
	Network string // the id of the network that the interface is on
	Addr    packet.Addr
	MAC     packet.MAC
	Age     time.Duration // since its last answer
}

// Restore makes a neighbor that a former table had: it answered from mac so long ago (age). If it is used, it is asked
// by unicast within RecheckWithin, as it may have gone meanwhile. Restore reports false if it makes none, because the
// entry is too old or has no host's address, the neighbor is there already, or the table is full.
func (t *Table) Restore(k Key, mac packet.MAC, age, now time.Duration) bool {
	_, known := t.byKey[k]
	if known || age < 0 || age >= ForgetAfter || mac.IsZero() || mac[0]&1 != 0 || len(t.byKey) >= MaxNeighbors {
		return false
	}
	i := t.add(k, now)
	n := t.slots[i]
	n.MAC, n.State, n.confirmed = mac, Reachable, now-age
	t.changed(n, false)
	// Thousands of neighbors are not asked at one time.
	const parts = 64
	t.schedule(n, now+RetryInterval+time.Duration(i%parts)*(RecheckWithin-RetryInterval)/parts)
	return true
}

// An Action is something that Tick wants done.
type Action struct {
	Key
	Ask    bool       // send a request
	To     packet.MAC // where the request goes; zero: it is a broadcast
	Failed []Parked   // the neighbor has not answered: the packets that waited for it
}

// Tick does what is due, calling do for each action, and returns when it wants
// to be called again, 0 if there is nothing to wait for. do must not call the
// table.
func (t *Table) Tick(now time.Duration, do func(Action)) time.Duration {
	if !t.active {
		return 0
	}
	if now < t.due {
		return t.due
	}
	t.active = false
	for i := 1; i < len(t.slots); i++ {
		n := t.slots[i]
		if !n.live {
			continue
		}
		if now >= n.next {
			t.step(uint16(i), n, now, do)
		}
		if n.live {
			t.schedule(n, n.next)
		}
	}
	if !t.active {
		return 0
	}
	return t.due
}

// step moves one neighbor on whose time has come.
func (t *Table) step(i uint16, n *Neighbor, now time.Duration, do func(Action)) {
	switch n.State {
	case Incomplete:
		if n.tries < Tries {
			n.again(now)
			do(Action{Key: n.Key, Ask: true})
			return
		}
		n.State, n.suspect, n.confirmed, n.next = Failed, true, now, now+SuspectFor
		do(Action{Key: n.Key, Failed: t.unpark(n)})
	case Failed:
		t.remove(i)
	case Reachable:
		t.age(i, n, now, do)
	case Probing:
		if n.tries < Tries {
			n.again(now)
			do(Action{Key: n.Key, Ask: true, To: n.MAC})
			return
		}
		t.remove(i) // asked for anew by the next packet
	}
}

// again notes one more request.
func (n *Neighbor) again(now time.Duration) {
	n.tries++
	n.asked, n.next = now, now+RetryInterval
}

// age probes a neighbor that has been used since it was confirmed, and forgets
// one that has not been for long.
func (t *Table) age(i uint16, n *Neighbor, now time.Duration, do func(Action)) {
	if n.Used {
		n.Used = false
		n.State, n.tries = Probing, 0
		n.again(now)
		t.changed(n, false)
		do(Action{Key: n.Key, Ask: true, To: n.MAC})
		return
	}
	if now-n.confirmed >= ForgetAfter {
		t.remove(i)
		return
	}
	n.next = now + ProbeAfter
}

// Walk calls yield for neighbors, in no meaningful order. It looks at no more than most places of the table, from a
// place on, and returns where the next call goes on, or 0 at the end. The first place is 0. The table may change
// between the calls: a neighbor that is there all the time is shown once, one that comes or goes at most once.
func (t *Table) Walk(from, most int, yield func(*Neighbor)) (next int) {
	end := min(len(t.slots), from+most)
	for _, n := range t.slots[min(from, end):end] {
		if n.live {
			yield(n)
		}
	}
	if end == len(t.slots) {
		return 0
	}
	return end
}

// Confirmed is how long ago the neighbor has last answered. Of one that has never answered it is how long the table has
// had it, and of a failed one how long ago it failed.
func (n *Neighbor) Confirmed(now time.Duration) time.Duration { return now - n.confirmed }

// Parked is how many packets wait for the neighbor.
func (n *Neighbor) Parked() int { return len(n.parked) }

// Each calls yield for every neighbor, in no meaningful order.
func (t *Table) Each(yield func(*Neighbor)) {
	for _, n := range t.slots[1:] {
		if n.live {
			yield(n)
		}
	}
}
