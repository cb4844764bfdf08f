package dhcp

import (
	"container/heap"
	"container/list"
	"encoding/hex"
	"net"
	"net/netip"
	"time"
)

// How long addresses are kept from other clients, and how many.
const (
	// An offer waits for its request. A client that boots from the network gathers offers for some seconds.
	offerTime = 10 * time.Second

	// An address that a client has found in use is not given out for a while.
	quarantineTime = 10 * time.Minute

	maxOffers     = 4096 // the oldest goes
	maxQuarantine = 1024 // likewise. They are written down, too
	maxPast       = 16384
	maxPerMAC     = 8 // offers and leases of one MAC address, each with a client identifier of its own
)

// A state is what an address is to the table.
type state uint8

const (
	offered state = iota
	leased
	quarantined
)

// An entry is an address that is not free.
type entry struct {
	Lease
	state state
	place int           // in the heap, if it is leased
	queue *list.Element // of the offers or the quarantined ones, if it is not
}

// A table has what a network's addresses are. An address that has no entry is free, if nothing outside of the table has
// it. Callers serialize.
type table struct {
	byAddr map[netip.Addr]*entry
	used   map[uint32]uint64 // a bit for each address in byAddr, by what is before its last six bits
	byKey  map[string]*entry // offers and leases: a client has one
	leases byEnd
	// Both by their ends, because they all last equally long.
	offers, quarantine *list.List

	perMAC    map[MAC]int // offers and leases
	perDevice map[string]int

	past     map[string]*list.Element // the address that a client had
	pastAddr map[netip.Addr]*list.Element
	pasts    *list.List // of past

	claimed map[netip.Addr]int // addresses that a change of the State is about to take, and how often
	version uint64             // it is another one when an address may have become free
}

// A pastLease is an address that a client had.
type pastLease struct {
	key  string
	addr netip.Addr
}

func newTable() *table {
	return &table{
		byAddr: map[netip.Addr]*entry{}, used: map[uint32]uint64{}, byKey: map[string]*entry{}, offers: list.New(),
		quarantine: list.New(),
		perMAC:     map[MAC]int{}, perDevice: map[string]int{}, past: map[string]*list.Element{},
		pastAddr: map[netip.Addr]*list.Element{}, pasts: list.New(), claimed: map[netip.Addr]int{},
	}
}

// byEnd is a heap of leases: the one that ends first is the first.
type byEnd []*entry

func (h byEnd) Len() int           { return len(h) }
func (h byEnd) Less(i, j int) bool { return h[i].Ends.Before(h[j].Ends) }
func (h byEnd) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *byEnd) Push(x any) {
	e := x.(*entry)
	e.place = len(*h)
	*h = append(*h, e)
}
func (h *byEnd) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}

// Key is what a client is known by: its client identifier (RFC 2131, 4.2), or else its MAC address.
func Key(mac MAC, id []byte) string {
	if len(id) == 0 {
		return net.HardwareAddr(mac[:]).String()
	}
	return "id-" + hex.EncodeToString(id)
}

// declinedPrefix begins what an address in quarantine is known by to the Keeper. No client has such a key.
const declinedPrefix = "declined-"

// key finds what a client is known by at this moment. Copies of a disk image have the same client identifier. So one
// that a client with another MAC address uses is no client's name: the MAC address is added.
func (t *table) key(mac MAC, id []byte) string {
	k := Key(mac, id)
	if e := t.byKey[k]; e != nil && e.MAC != mac {
		return k + "@" + net.HardwareAddr(mac[:]).String()
	}
	return k
}

// put makes an entry, in the place of what the address and the client have had.
func (t *table) put(e *entry) {
	if old := t.byAddr[e.Address]; old != nil {
		t.remove(old)
	}
	if e.state != quarantined {
		if old := t.byKey[e.Client]; old != nil {
			t.remove(old)
		}
		t.byKey[e.Client] = e
		t.perMAC[e.MAC]++
		t.perDevice[e.Device]++
	}
	t.byAddr[e.Address] = e
	t.mark(e.Address, true)
	switch e.state {
	case offered:
		e.queue = t.offers.PushBack(e)
	case quarantined:
		e.queue = t.quarantine.PushBack(e)
	case leased:
		heap.Push(&t.leases, e)
		t.forget(e.Address)
	}
	if t.offers.Len() > maxOffers {
		t.remove(t.offers.Front().Value.(*entry))
	}
}

// extend gives a lease another end, and what else its client has said.
func (t *table) extend(e *entry, l Lease) {
	if e.Device != l.Device {
		lower(t.perDevice, e.Device)
		t.perDevice[l.Device]++
	}
	e.Lease = l
	heap.Fix(&t.leases, e.place)
}

// remove makes an address free. Whose lease it was is remembered.
func (t *table) remove(e *entry) {
	if t.byAddr[e.Address] != e {
		return
	}
	delete(t.byAddr, e.Address)
	t.mark(e.Address, false)
	t.version++
	switch e.state {
	case offered:
		t.offers.Remove(e.queue)
	case quarantined:
		t.quarantine.Remove(e.queue)
	case leased:
		heap.Remove(&t.leases, e.place)
		t.remember(e.Client, e.Address)
	}
	if e.state == quarantined {
		return
	}
	delete(t.byKey, e.Client)
	lower(t.perMAC, e.MAC)
	lower(t.perDevice, e.Device)
}

// mark sets or clears the bit of an address.
func (t *table) mark(a netip.Addr, used bool) {
	n := number(a)
	word, bit := t.used[n>>6], uint64(1)<<(n&63)
	if used {
		word |= bit
	} else {
		word &^= bit
	}
	if word == 0 {
		delete(t.used, n>>6)
	} else {
		t.used[n>>6] = word
	}
}

// lower takes one from a count.
func lower[K comparable](counts map[K]int, k K) {
	if counts[k]--; counts[k] <= 0 {
		delete(counts, k)
	}
}

// remember notes whose address one was.
func (t *table) remember(key string, a netip.Addr) {
	if old := t.past[key]; old != nil {
		t.forget(old.Value.(pastLease).addr)
	}
	t.forget(a)
	n := t.pasts.PushBack(pastLease{key, a})
	t.past[key], t.pastAddr[a] = n, n
	if t.pasts.Len() > maxPast {
		t.forget(t.pasts.Front().Value.(pastLease).addr)
	}
}

// forget is for an address that another client gets.
func (t *table) forget(a netip.Addr) {
	if n := t.pastAddr[a]; n != nil {
		p := t.pasts.Remove(n).(pastLease)
		delete(t.pastAddr, a)
		delete(t.past, p.key)
	}
}

// had is the address that a client had, zero if none is known.
func (t *table) had(key string) netip.Addr {
	if n := t.past[key]; n != nil {
		return n.Value.(pastLease).addr
	}
	return netip.Addr{}
}

// kept is how many entries the Keeper has.
func (t *table) kept() int { return len(t.leases) + t.quarantine.Len() }

// expire takes away what has ended, and returns what the Keeper has of it.
func (t *table) expire(now time.Time) (ended []Lease) {
	for _, q := range []*list.List{t.offers, t.quarantine} {
		for q.Len() > 0 && !now.Before(q.Front().Value.(*entry).Ends) {
			e := q.Front().Value.(*entry)
			if e.state == quarantined {
				ended = append(ended, e.Lease)
			}
			t.remove(e)
		}
	}
	for len(t.leases) > 0 && !now.Before(t.leases[0].Ends) {
		ended = append(ended, t.leases[0].Lease)
		t.remove(t.leases[0])
	}
	return ended
}

// oldestOffer finds the oldest offer of an address that serves a purpose.
func (t *table) oldestOffer(serves func(netip.Addr) bool) *entry {
	for n := t.offers.Front(); n != nil; n = n.Next() {
		if e := n.Value.(*entry); serves(e.Address) {
			return e
		}
	}
	return nil
}
