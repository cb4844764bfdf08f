package file_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/configtest"
	"github.com/taprouter/taprouter/config/file"
)

// exported reads a State's export.
func exported(t *testing.T, s *config.State) (*file.File, string) {
	t.Helper()
	var b bytes.Buffer
	if err := file.Export(&b, s); err != nil {
		t.Fatal(err)
	}
	f, err := file.Read("export.toml", bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("%v\n%s", err, numberLines(b.String()))
	}
	return f, b.String()
}

func numberLines(text string) string {
	var b strings.Builder
	n := 0
	for line := range strings.Lines(text) {
		n++
		fmt.Fprintf(&b, "%4d %s", n, line)
	}
	return b.String()
}

// facts writes all that objects say, an object a line, but for what notExported has. Whether a list that is empty is
// nil does not count.
func facts(s *config.State) []string {
	var lines []string
	for o := range s.All() {
		var b strings.Builder
		eachLeaf(o, func(path string, v reflect.Value) {
			if notExported[path] == "" && notExported[anyKind(path)] == "" {
				fmt.Fprintf(&b, " %s=%#v", path, v.Interface())
			}
		})
		lines = append(lines, b.String())
	}
	return lines
}

// sameFacts holds two States against each other.
func sameFacts(t *testing.T, got, want *config.State, text string) {
	t.Helper()
	all := map[string]int{}
	for _, line := range facts(want) {
		all[line]++
	}
	for _, line := range facts(got) {
		all[line]--
	}
	for line, n := range all {
		if n != 0 {
			t.Errorf("%+d %s", -n, line)
		}
	}
	if t.Failed() {
		t.Fatalf("of\n%s", numberLines(text))
	}
}

// ordered fails unless children are in the same order.
func ordered(t *testing.T, got, want *config.State) {
	t.Helper()
	list := func(s *config.State) (ids []config.ID) {
		for n := range s.Networks() {
			ids = append(ids, n.ID)
			for u := range s.SubnetsOf(n.ID) {
				ids = append(ids, u.ID)
			}
		}
		for p := range s.Pools() {
			ids = append(ids, p.ID)
			for m := range s.MembersOf(p.ID) {
				ids = append(ids, m.ID)
			}
		}
		for g := range s.SecurityGroups() {
			for r := range s.RulesOf(g.ID) {
				ids = append(ids, r.ID)
			}
		}
		for b := range s.LoadBalancers() {
			for l := range s.ListenersOf(b.ID) {
				ids = append(ids, l.ID)
			}
		}
		return ids
	}
	if a, b := list(got), list(want); !reflect.DeepEqual(a, b) {
		t.Errorf("in the order\n%v, want\n%v", a, b)
	}
}

// hasHalfRange says whether a router has a half of a range of ports, which no file and no API can give it.
func hasHalfRange(s *config.State) bool {
	for r := range s.Routers() {
		if (r.NAT.PortMin == 0) != (r.NAT.PortMax == 0) {
			return true
		}
	}
	return false
}

// What is exported gives the same State again, and applied to it is no change, for any history of edits.
func TestExportGivesTheState(t *testing.T) {
	n := 150
	if testing.Short() {
		n = 30
	}
	seen := leaves{}
	for seed := range uint64(n) {
		g := configtest.New(seed)
		g.Devices = true
		g.Allow = func(s *config.State) bool { return !hasHalfRange(s) }
		s := g.State()
		if !g.Allow(s) {
			continue
		}
		s = decorate(rand.New(rand.NewPCG(seed, 1)), s)
		f, text := exported(t, s)
		sameFacts(t, f.State(), s, text)
		ordered(t, f.State(), s)
		seen.add(s)
		d := s.Edit()
		if _, err := f.Edit(d, file.Over{}); err != nil {
			t.Fatal(err)
		}
		next, faults := d.Check()
		if next == nil {
			t.Fatalf("seed %d: %v\n%s", seed, faults, numberLines(text))
		}
		for _, c := range config.Diff(s, next) {
			t.Errorf("seed %d: %v %v:\n%+v\n%+v", seed, c.Op, c.Ref, c.Before, c.After)
		}
		if t.Failed() {
			t.Fatal(numberLines(text))
		}
	}
	seen.complete(t)
}
