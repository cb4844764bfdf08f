package dhcp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/taprouter/taprouter/internal/dhcp"
)

// A keeper keeps leases by client, and refuses to when told.
type keeper struct {
	kept   map[string]dhcp.Lease
	calls  int
	refuse func(dhcp.Change) bool
	called func([]dhcp.Change)
}

var errFull = errors.New("the disk is full")

// Keep implements dhcp.Keeper.
func (k *keeper) Keep(_ context.Context, changes []dhcp.Change) []error {
	k.calls++
	if k.called != nil {
		k.called(changes)
	}
	errs := make([]error, len(changes))
	for i, c := range changes {
		switch {
		case k.refuse != nil && k.refuse(c):
			errs[i] = errFull
		case c.Gone && k.kept[c.Client].Address == c.Address:
			delete(k.kept, c.Client)
		case !c.Gone:
			k.kept[c.Client] = c.Lease
		}
	}
	return errs
}

// keeping is a world with a keeper.
func keeping(t testing.TB) (*world, *keeper) {
	w, k := newWorld(t), &keeper{kept: map[string]dhcp.Lease{}}
	w.leases = dhcp.New(dhcp.Options{Keeper: k, Say: func(_, text string) { w.said = append(w.said, text) }})
	return w, k
}

// A client has what the server has given it, until its time is over or it gives it back. Whatever clients do, and
// whatever the store refuses: no two have one address, none has a port's, and the store has what the server has.
func TestRandomClients(t *testing.T) {
	var total [dhcp.NumReasons]uint64
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		w, k := keeping(t)
		w.c.Subnets[0].LeaseTime = 2 * time.Minute
		failing := false
		k.refuse = func(dhcp.Change) bool { return failing && r.IntN(2) == 0 }
		has := map[netip.Addr]dhcp.Lease{} // what clients believe
		for step := range 1500 {
			w.now = w.now.Add(time.Duration(r.IntN(4000)) * time.Millisecond)
			failing = step/100%4 == 3
			if r.IntN(50) == 0 {
				n := r.IntN(6)
				if w.ports[mac(n)] != nil {
					delete(w.ports, mac(n))
				} else {
					w.ports[mac(n)] = &dhcp.Port{Addresses: []netip.Addr{addr(fmt.Sprintf("10.0.0.%d", 100+n%10))}}
				}
				clear(w.taken)
				for m, p := range w.ports {
					free := w.leases.Hold()
					if l, held := w.leases.Holder(w.now, "net", p.Addresses[0]); held && l.MAC != m {
						delete(w.ports, m)
					} else {
						w.taken[p.Addresses[0]] = true
					}
					free()
				}
			}
			var rqs []dhcp.Request
			var sent []*dhcpv4.DHCPv4
			for range 1 + r.IntN(6) {
				p := randomMessage(r, has)
				sent, rqs = append(sent, p), append(rqs, request(p))
			}
			for i, a := range w.leases.Server("net").Serve(w.now, &w.c, rqs) {
				believe(t, w, has, sent[i], a)
			}
			check(t, w, k, has)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
		st := w.leases.Server("net").Stats(nil)
		for r, n := range st.Counts {
			total[r] += n
		}
	}
	for _, r := range []dhcp.Reason{dhcp.Offered, dhcp.Acknowledged, dhcp.Refused, dhcp.Released, dhcp.Declined,
		dhcp.NotKept,
		dhcp.NoLease, dhcp.PoolEmpty} {
		if total[r] < 100 {
			t.Errorf("%d messages were %v", total[r], r)
		}
	}
}

// randomMessage is a message that a client might send.
func randomMessage(r *rand.Rand, has map[netip.Addr]dhcp.Lease) *dhcpv4.DHCPv4 {
	n := r.IntN(24)
	var mods []dhcpv4.Modifier
	if r.IntN(4) == 0 {
		mods = append(mods, clientID(fmt.Sprint("\x00", r.IntN(5))))
	}
	a := fmt.Sprintf("10.0.0.%d", 99+r.IntN(12))
	if r.IntN(2) == 0 { // what it has, if it has something
		for b, l := range has {
			if l.MAC == mac(n) {
				a = b.String()
				mods = nil
				if l.ClientID != nil {
					mods = []dhcpv4.Modifier{clientID(string(l.ClientID))}
				}
			}
		}
	}
	switch r.IntN(10) {
	case 0, 1:
		return message(n, discover, mods...)
	case 2, 3, 4:
		return message(n, asking, append(mods, asks(a), to("10.0.0.1"))...)
	case 5:
		return message(n, asking, append(mods, asks(a))...)
	case 6, 7:
		return message(n, asking, append(mods, at(a))...)
	case 8:
		return message(n, release, append(mods, at(a))...)
	}
	return message(n, decline, append(mods, asks(a), to("10.0.0.1"))...)
}

// believe notes what a client knows after an answer.
func believe(t *testing.T, w *world, has map[netip.Addr]dhcp.Lease, p *dhcpv4.DHCPv4, a dhcp.Answer) {
	t.Helper()
	var m dhcp.MAC
	copy(m[:], p.ClientHWAddr)
	switch a.Reason {
	case dhcp.Acknowledged:
		if l, ok := has[a.Address]; ok && l.MAC != m && w.now.Before(l.Ends) {
			t.Errorf("%v is given to %x, and %x has it until %v; it is %v", a.Address, m, l.MAC, l.Ends, w.now)
		}
		port := w.ports[m]
		if port == nil && w.taken[a.Address] || port != nil && !slices.Contains(port.Addresses, a.Address) {
			t.Errorf("%v is given to %x", a.Address, m)
		}
		id := p.Options.Get(dhcpv4.OptionClientIdentifier)
		for b, l := range has { // a client has one address
			if l.MAC == m && bytes.Equal(l.ClientID, id) {
				delete(has, b)
			}
		}
		if port == nil {
			answer, _ := dhcpv4.FromBytes(a.Payload)
			has[a.Address] = dhcp.Lease{MAC: m, ClientID: id, Ends: w.now.Add(answer.IPAddressLeaseTime(0))}
		}
	case dhcp.Released, dhcp.Declined:
		b := p.RequestedIPAddress()
		if a.Reason == dhcp.Released {
			b = p.ClientIPAddr
		}
		released, _ := netip.AddrFromSlice(b.To4())
		if has[released].MAC == m {
			delete(has, released)
		}
	}
	if a.Payload != nil && (a.Reason == dhcp.NotKept) {
		t.Errorf("what is not kept is answered")
	}
}

// check compares the server with its store.
func check(t *testing.T, w *world, k *keeper, has map[netip.Addr]dhcp.Lease) {
	t.Helper()
	list := w.leases.List(w.now)
	seen := map[netip.Addr]bool{}
	for _, l := range list {
		if seen[l.Address] {
			t.Errorf("%v has two leases", l.Address)
		}
		seen[l.Address] = true
		if kept := k.kept[l.Client]; kept.Address != l.Address || !kept.Ends.Equal(l.Ends) {
			t.Errorf("the server has %+v, the store %+v", l, kept)
		}
	}
	for _, l := range k.kept {
		if w.now.Before(l.Ends) && !seen[l.Address] && !l.Declined {
			t.Errorf("the store has %+v, and the server does not", l)
		}
	}
	for a, l := range has {
		if w.now.Before(l.Ends) && !seen[a] && w.ports[l.MAC] == nil {
			t.Errorf("%x has %v until %v, and the server does not know it", l.MAC, a, l.Ends)
		}
	}
}

// A batch is kept by one call, before any of its answers is there.
func TestBatch(t *testing.T) {
	w, k := keeping(t)
	w.c.Subnets[0].CIDR, w.c.Subnets[0].Pools[0].Last = prefix("10.0.0.0/16"), addr("10.0.9.0")
	var rqs []dhcp.Request
	for n := range 500 {
		p := message(n, asking, asks(fmt.Sprintf("10.0.%d.%d", 1+n/200, n%200)))
		rqs = append(rqs, request(p))
	}
	for i, a := range w.leases.Server("net").Serve(w.now, &w.c, rqs) {
		if a.Reason != dhcp.Acknowledged {
			t.Fatalf("%d: %v", i, a.Reason)
		}
	}
	if k.calls != 1 || len(k.kept) != 500 {
		t.Errorf("%d leases by %d calls", len(k.kept), k.calls)
	}
}

// What holds the leases waits for those that are being written down: they may fail. Lists do not wait.
func TestWhileKeeping(t *testing.T) {
	w, k := keeping(t)
	a := w.get(1)
	k.refuse = func(dhcp.Change) bool { return true }
	had := make(chan bool, 1)
	k.called = func([]dhcp.Change) {
		if got := len(w.leases.List(w.now)); got != 0 {
			t.Errorf("%d leases are listed", got)
		}
		go func() {
			release := w.leases.Hold()
			_, held := w.leases.Holder(w.now, "net", addr(a))
			release()
			had <- held
		}()
		select {
		case held := <-had:
			t.Error("nothing was waited for")
			had <- held
		case <-time.After(20 * time.Millisecond): // only what does not wait needs it
		}
	}
	w.say(message(1, release, at(a)), dhcp.NotKept)
	if !<-had {
		t.Error("an address that is still leased was free")
	}
}

// A lease that cannot be written down is not given, and a release of one neither. The operator is told once.
func TestNotKept(t *testing.T) {
	w, k := keeping(t)
	a := w.get(1)
	k.refuse = func(dhcp.Change) bool { return true }
	w.say(message(2, asking, asks("10.0.0.109")), dhcp.NotKept)
	w.say(message(3, asking, asks("10.0.0.108")), dhcp.NotKept)
	w.say(message(1, release, at(a)), dhcp.NotKept)
	if _, _, err := w.leases.Release(w.now, "net", addr(a)); err == nil {
		t.Error("a release that is not kept is none")
	}
	if err := w.leases.Forget(w.now, "net"); err == nil {
		t.Error("leases that stay are not gone")
	}
	if list := w.leases.List(w.now); len(list) != 1 || list[0].MAC != mac(1) {
		t.Errorf("there are %v", list)
	}
	if len(w.said) != 1 {
		t.Errorf("said %q", w.said)
	}
	k.refuse = nil
	w.say(message(2, asking, asks("10.0.0.109")), dhcp.Acknowledged)
}

// Leases that were kept are there after a restart, and what has ended meanwhile goes from the store.
func TestLoad(t *testing.T) {
	w, k := keeping(t)
	a := w.get(1, clientID("\x00one"))
	w.get(2)
	w.now = w.now.Add(30 * time.Minute)
	w.say(message(1, asking, at(a), clientID("\x00one")), dhcp.Acknowledged)
	var kept []dhcp.Lease
	for _, l := range k.kept {
		kept = append(kept, l)
	}
	w.leases = dhcp.New(dhcp.Options{Keeper: k})
	w.now = w.now.Add(45 * time.Minute)
	w.leases.Load(kept)
	if list := w.leases.List(w.now); len(list) != 1 || list[0].Address.String() != a {
		t.Errorf("after the restart there are %v", list)
	}
	w.say(message(3, asking, asks(a)), dhcp.Refused)
	if len(k.kept) != 1 {
		t.Errorf("the store has %v", k.kept)
	}
	if got := w.get(1, clientID("\x00one")); got != a {
		t.Errorf("the client got %v, had %v", got, a)
	}
}

// declined is a world with a keeper, whose client 1 has found an address in use.
func declined(t *testing.T) (w *world, k *keeper, a string) {
	w, k = keeping(t)
	a = w.get(1)
	w.say(message(1, decline, asks(a), to("10.0.0.1")), dhcp.Declined)
	return w, k, a
}

// reload has a world's server begin anew with what was kept.
func (w *world) reload(k *keeper) {
	w.leases = dhcp.New(dhcp.Options{Keeper: k})
	w.leases.Load(slices.Collect(maps.Values(k.kept)))
}

// An address in quarantine stays there when the server is started anew, and is no lease. At its end the store forgets
// it.
func TestDeclineIsKept(t *testing.T) {
	w, k, a := declined(t)
	w.say(message(1, asking, asks("10.0.0.105")), dhcp.Acknowledged)
	w.now = w.now.Add(time.Minute)
	w.say(message(1, decline, asks("10.0.0.105"), to("10.0.0.1")), dhcp.Declined)
	w.reload(k)
	if list := w.leases.List(w.now); len(list) != 0 {
		t.Errorf("there are leases: %v", list)
	}
	w.now = w.now.Add(9*time.Minute - 1)
	w.say(message(2, asking, asks(a)), dhcp.Refused)
	w.say(message(2, asking, asks("10.0.0.105")), dhcp.Refused)
	w.now = w.now.Add(1)
	w.say(message(2, asking, asks(a)), dhcp.Acknowledged)
	w.say(message(3, asking, asks("10.0.0.105")), dhcp.Refused)
	if len(k.kept) != 2 || k.kept[dhcp.Key(mac(2), nil)].Address != addr(a) {
		t.Errorf("the store has %v", k.kept)
	}
	w.now = w.now.Add(time.Minute)
	w.leases.Tick(w.now)
	if len(k.kept) != 1 {
		t.Errorf("the store has %v", k.kept)
	}
}

// An address of which the store does not learn that it is in quarantine is there all the same, as long as the server
// runs.
func TestDeclineIsNotKept(t *testing.T) {
	w, k := keeping(t)
	a := w.get(1)
	k.refuse = func(c dhcp.Change) bool { return !c.Gone }
	w.say(message(1, decline, asks(a), to("10.0.0.1")), dhcp.Declined)
	k.refuse = nil
	w.say(message(2, asking, asks(a)), dhcp.Refused)
	if len(k.kept) != 0 {
		t.Errorf("the store has %v", k.kept)
	}
	b := w.get(1)
	k.refuse = func(dhcp.Change) bool { return true }
	w.say(message(1, decline, asks(b), to("10.0.0.1")), dhcp.NotKept)
	k.refuse = nil
	if l, ok := w.leases.Holder(w.now, "net", addr(b)); !ok || l.MAC != mac(1) {
		t.Errorf("the client's lease is %v %v", l, ok)
	}
}

// A client that takes an address and declines it at once has declined nothing, if the store does not take the lease.
func TestDeclineWithItsRequest(t *testing.T) {
	w, k := keeping(t)
	k.refuse = func(dhcp.Change) bool { return true }
	answers := w.leases.Server("net").Serve(w.now, &w.c, []dhcp.Request{request(message(1, asking, asks("10.0.0.100"))),
		request(message(1, decline, asks("10.0.0.100"), to("10.0.0.1")))})
	if answers[0].Reason != dhcp.NotKept || answers[1].Reason != dhcp.NoLease {
		t.Errorf("answered with %v and %v", answers[0].Reason, answers[1].Reason)
	}
	k.refuse = nil
	w.say(message(2, asking, asks("10.0.0.100")), dhcp.Acknowledged)
}

// An address that is in quarantine for the second time stays there, though the store was not told of the first end.
func TestDeclinedAgain(t *testing.T) {
	w, k, a := declined(t)
	k.refuse = func(c dhcp.Change) bool { return c.Gone && c.Declined }
	w.now = w.now.Add(10 * time.Minute)
	w.say(message(2, asking, asks(a)), dhcp.Acknowledged)
	w.say(message(2, decline, asks(a), to("10.0.0.1")), dhcp.Declined)
	k.refuse = nil
	w.leases.Tick(w.now)
	w.reload(k)
	w.say(message(3, asking, asks(a)), dhcp.Refused)
}

// The store keeps as many addresses in quarantine as the server has, and none of a network that is gone.
func TestDeclineOfMany(t *testing.T) {
	w, k := keeping(t)
	w.c.Subnets[0].CIDR, w.c.Subnets[0].Pools[0].Last = prefix("10.0.0.0/16"), addr("10.0.20.0")
	for n := range 1100 {
		w.now = w.now.Add(100 * time.Millisecond)
		a := w.get(n)
		w.say(message(n, decline, asks(a), to("10.0.0.1")), dhcp.Declined)
	}
	w.get(2000)
	st := w.leases.Server("net").Stats(nil)
	if st.Quarantined != 1024 || len(k.kept) != 1025 {
		t.Errorf("%d in quarantine, the store has %d entries", st.Quarantined, len(k.kept))
	}
	if err := w.leases.Forget(w.now, "net"); err != nil || len(k.kept) != 0 {
		t.Errorf("%v: the store has %d entries of a network that is gone", err, len(k.kept))
	}
}

// A change is told when it is kept, and a lease's end, too. An address in quarantine is told as no client's.
func TestChanged(t *testing.T) {
	w, k := keeping(t)
	var told []string
	w.leases = dhcp.New(dhcp.Options{Keeper: k, Changed: func(changes []dhcp.Change) {
		for _, c := range changes {
			if !c.Gone && k.kept[c.Client].Address != c.Address {
				t.Errorf("%v is told before it is kept", c)
			}
			told = append(told, fmt.Sprint(c.Address, c.Gone))
		}
	}})
	a := w.get(1)
	w.now = w.now.Add(2 * time.Hour)
	w.leases.Tick(w.now)
	if want := []string{a + " false", a + " true"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	b := w.get(1)
	told = nil
	w.say(message(1, decline, asks(b), to("10.0.0.1")), dhcp.Declined)
	w.now = w.now.Add(time.Hour)
	w.leases.Tick(w.now)
	if want := []string{b + " true"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
