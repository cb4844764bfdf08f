package config_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/configtest"
)

// scratch is a Draft of the empty State that has the content of another Draft. What the other's State had comes first.
func scratch(d *config.Draft) *config.Draft {
	e := config.Empty().Edit()
	for o := range d.All() {
		if !d.IsEdited(o.About().ID) && !hasLostGateway(d, o) {
			e.Put(o)
		}
	}
	e.Put(d.Edited()...)
	return e
}

// hasLostGateway says whether an object is the port of a gateway that has gone, or gone to another network: Check takes
// such a port away or changes it.
func hasLostGateway(d *config.Draft, o config.Object) bool {
	p, ok := o.(*config.Port)
	if !ok || p.DeviceOwner != config.OwnerGateway {
		return false
	}
	r := d.Router(config.ID(p.DeviceID))
	return r != nil && (r.Gateway == nil || r.Gateway.Network != p.Network)
}

func texts(fs config.Faults) []string {
	var list []string
	for _, f := range fs.Errors() {
		list = append(list, fmt.Sprintf("%v %s %s: %s", f.Ref.Kind, f.Ref.ID, f.Field, f.Message))
	}
	slices.Sort(list)
	return list
}

func isDeletedInUse(f config.Fault) bool {
	return f.Code == config.InUse && strings.Contains(f.Message, "cannot be deleted")
}

// seeds are the seeds of a test of random edits, from first up to, but not including, last. TAPROUTER_SEEDS gives
// others, such as 1801 or 0-5000.
func seeds(t *testing.T) (first, last uint64) {
	t.Helper()
	v := os.Getenv("TAPROUTER_SEEDS")
	if v == "" && testing.Short() {
		return 0, 10
	}
	if v == "" {
		return 0, 60
	}
	from, to, isRange := strings.Cut(v, "-")
	first, err := strconv.ParseUint(from, 10, 64)
	if err == nil && isRange {
		last, err = strconv.ParseUint(to, 10, 64)
	}
	if err != nil {
		t.Fatalf("TAPROUTER_SEEDS: %v; write one seed, such as 7, or a range, such as 0-5000", err)
	}
	if !isRange {
		last = first + 1
	}
	return first, last
}

// A Check that looks at edits finds the same as a Check that looks at everything. A State that was made by
// edits is the same as the State that its content gives.
func TestEditsAndScratchAgree(t *testing.T) {
	first, last := seeds(t)
	rounds, valid, invalid := int(last-first), 0, 0
	for seed := first; seed < last; seed++ {
		g := configtest.New(seed)
		g.Devices = true
		s := g.State()
		for step := range 60 {
			d := s.Edit()
			g.LeftOpen = false
			for range 1 + step%4 {
				g.Edit(d)
			}
			_, want := scratch(d).Check()
			comparable := !g.LeftOpen && !d.LosesRouter()
			next, faults := d.Check()
			where := fmt.Sprintf("seed %d, step %d", seed, step)
			if next == nil {
				invalid++
				switch {
				case !comparable || slices.ContainsFunc(faults, isDeletedInUse):
				case !slices.Equal(texts(faults), texts(want)):
					t.Fatalf("%s: by edits\n%s\nfrom scratch\n%s", where, strings.Join(texts(faults), "\n"),
						strings.Join(texts(want), "\n"))
				}
				continue
			}
			valid++
			if want.Err() != nil && comparable {
				t.Fatalf("%s: valid by edits, but not from scratch: %v", where, want)
			}
			again, err := configtest.Scratch(next).Check()
			if again == nil {
				t.Fatalf("%s: the new State is not valid: %v", where, err)
			}
			if diff := config.Diff(next, again); len(diff) > 0 {
				t.Fatalf("%s: from scratch, %v is another: %+v, %+v", where, diff[0].Ref, diff[0].Before, diff[0].After)
			}
			if a, b := next.Indexes(), again.Indexes(); !slices.Equal(a, b) {
				for i := range min(len(a), len(b)) {
					if a[i] != b[i] {
						t.Fatalf("%s: by edits %s, from scratch %s", where, a[i], b[i])
					}
				}
				t.Fatalf("%s: %d entries by edits, %d from scratch", where, len(a), len(b))
			}
			checkDiff(t, where, s, next)
			for n := range next.Networks() {
				on := next.RoutersOn(n.ID)
				for r := range next.Routers() {
					if got := next.IsOn(r.ID, n.ID); got != slices.Contains(on, r) {
						t.Fatalf("%s: router %s is on network %s: %t", where, r.Name, n.Name, got)
					}
				}
			}
			s = next
		}
	}
	if valid < 10*rounds || invalid < 10*rounds {
		t.Errorf("%d valid and %d invalid edits: the test tests little", valid, invalid)
	}
}

// checkDiff compares what Diff finds by the history with what it finds by looking at all objects.
func checkDiff(t *testing.T, where string, from, to *config.State) {
	t.Helper()
	short, long := config.Diff(from, to), config.Diff(from.Forget(), to.Forget())
	if !slices.Equal(short, long) {
		t.Fatalf("%s: Diff gives %v by history, %v by looking", where, short, long)
	}
	seen := map[config.ID]bool{}
	for o := range from.All() {
		if after, ok := to.Get(o.Ref()); !ok || !config.Same(o, after) {
			seen[o.About().ID] = true
		}
	}
	for o := range to.All() {
		if _, ok := from.Get(o.Ref()); !ok {
			seen[o.About().ID] = true
		}
	}
	for _, c := range short {
		if !seen[c.Ref.ID] {
			t.Fatalf("%s: %v has not changed: %+v", where, c.Ref, c)
		}
		delete(seen, c.Ref.ID)
	}
	if len(seen) > 0 {
		t.Fatalf("%s: Diff leaves out %v", where, seen)
	}
	versions := map[config.ID]bool{}
	config.Versions(from, to, func(before, after config.Object) {
		o := after
		if o == nil {
			o = before
		}
		versions[o.About().ID] = true
		was, _ := from.Get(o.Ref())
		is, _ := to.Get(o.Ref())
		if was == is || after != nil && is != after || before != nil && after == nil && was != before {
			t.Fatalf("%s: %v has versions %p and %p, not %p and %p", where, o.Ref(), was, is, before, after)
		}
	})
	for _, c := range short {
		if !versions[c.Ref.ID] {
			t.Fatalf("%s: Versions leaves out %v", where, c.Ref)
		}
	}
}

// When a router comes or goes, the check looks at the router's own objects only, however many routers there are.
func TestTenantMarksItsOwn(t *testing.T) {
	var added, removed [2]int
	for i, n := range []int{10, 80} {
		d := tenants(t, n).Edit()
		putTenant(d, n)
		added[i] = d.Marked()
		d = mustOK(t, d).Edit()
		deleteTenant(d, n)
		removed[i] = d.Marked()
	}
	if added[0] != added[1] || removed[0] != removed[1] {
		t.Errorf("with 10 and 80 routers, %v objects are checked when one is added, %v when it is removed",
			added, removed)
	}
}

// Where others have the same addresses, a load balancer that gets an address of its own router's is found all the same.
func TestTenantsWithOneAddress(t *testing.T) {
	const n = 6
	balancerAt := func(i, host int) func(*config.Draft) {
		return func(d *config.Draft) {
			b := *d.LoadBalancer(id(fmt.Sprint("tb", i)))
			b.Address = addr(10, 0, 0, host)
			d.Put(&b)
		}
	}
	type edit struct {
		name string
		kind config.Kind // of the only fault
		edit func(*config.Draft)
	}
	d := tenants(t, n).Edit()
	var edits []edit
	for i := range n {
		of := func(what string) config.Meta { return meta(fmt.Sprint(what, i)) }
		// A second load balancer, whose member has an address that is free.
		d.Put(&config.Pool{Meta: of("tp-2-"), Protocol: config.TCP},
			&config.Member{Meta: of("tm-2-"), Pool: of("tp-2-").ID, Address: addr(10, 0, 0, 70), Port: 80},
			&config.LoadBalancer{Meta: of("tb-2-"), Network: of("tn").ID, Address: addr(10, 0, 0, 81)},
			&config.Listener{Meta: of("tl-2-"), LoadBalancer: of("tb-2-").ID, Protocol: config.TCP, Port: 80,
				Pool: of("tp-2-").ID})
		edits = append(edits,
			edit{"a next hop", config.KindRouter, balancerAt(i, 7)},
			edit{"a member of another pool", config.KindMember, balancerAt(i, 70)},
			edit{"its own member", config.KindListener, func(d *config.Draft) {
				d.Put(&config.Member{Meta: of("new"), Pool: of("tp").ID, Address: addr(10, 0, 0, 80), Port: 80})
			}})
	}
	s := mustOK(t, d)
	for i, e := range edits {
		d := s.Edit()
		e.edit(d)
		_, want := scratch(d).Check()
		_, faults := d.Check()
		if got := faults.Errors(); len(got) != 1 || got[0].Ref.Kind != e.kind {
			t.Errorf("router %d, %s: %v", i/3, e.name, faults)
		}
		if !slices.Equal(texts(faults), texts(want)) {
			t.Errorf("router %d, %s: %v, from scratch %v", i/3, e.name, faults, want)
		}
	}
}
