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

// facts writes all that objects say, an object a line, children in the order of their owner's. Apart are what the file
// does not keep: sources, times, revisions, the numbers of positions, and whether a list that is empty is nil.
func facts(s *config.State) []string {
	var lines []string
	for o := range s.All() {
		c := reflect.New(reflect.TypeOf(o).Elem())
		c.Elem().Set(reflect.ValueOf(o).Elem())
		x := c.Interface().(config.Object)
		m := x.About()
		*m = config.Meta{ID: m.ID, Name: m.Name, Description: m.Description, Tags: m.Tags}
		lines = append(lines, fmt.Sprint(o.Ref().Kind, plain(c.Elem())))
	}
	return lines
}

// plain writes a value without the Sources in it.
func plain(v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[config.Source]():
		return ""
	case v.Kind() == reflect.Pointer && v.IsNil():
		return "nil"
	case v.Kind() == reflect.Pointer:
		return "&" + plain(v.Elem())
	case v.Kind() == reflect.Slice:
		var all []string
		for i := range v.Len() {
			all = append(all, plain(v.Index(i)))
		}
		return "[" + strings.Join(all, " ") + "]"
	case v.Kind() == reflect.Struct && v.NumField() > 0 && v.Type().Field(0).IsExported():
		var all []string
		for i := range v.NumField() {
			all = append(all, plain(v.Field(i)))
		}
		return "{" + strings.Join(all, " ") + "}"
	}
	return fmt.Sprintf("%#v", v.Interface())
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

// decorate gives some objects what only an API gives them.
func decorate(rng *rand.Rand, s *config.State) *config.State {
	d := s.Edit()
	d.Put(s.Settings())
	texts := []string{"", "a", "two words", " blank ", "a\nline \"quoted\" \\ \x7f é", "\u202eturned", "a"}
	for o := range s.All() {
		if rng.IntN(3) > 0 || o.Ref().Kind == config.KindSettings {
			continue
		}
		c := reflect.New(reflect.TypeOf(o).Elem())
		c.Elem().Set(reflect.ValueOf(o).Elem())
		x := c.Interface().(config.Object)
		m := x.About()
		m.Name, m.Description = texts[rng.IntN(len(texts))], texts[rng.IntN(len(texts))]
		m.Tags = texts[1 : 1+rng.IntN(3)]
		switch x := x.(type) {
		case *config.Port:
			x.AdminStateUp, x.PortSecurity = rng.IntN(2) == 0, []*bool{nil, new(true), new(false)}[rng.IntN(3)]
			if x.DeviceOwner == "" && rng.IntN(2) == 0 {
				x.DeviceID, x.DeviceOwner = "some machine", config.OwnerCompute
			}
		case *config.Pool:
			x.AdminStateUp = rng.IntN(2) == 0
			for b := range s.LoadBalancers() {
				used := false
				for l := range s.ListenersUsing(x.ID) {
					used = used || l.LoadBalancer != b.ID
				}
				if !used && rng.IntN(2) == 0 {
					x.LoadBalancer = b.ID
				}
			}
		case *config.Monitor:
			x.AdminStateUp = rng.IntN(2) == 0
		case *config.Listener:
			x.AdminStateUp = rng.IntN(2) == 0
		case *config.Member:
			for u := range s.Subnets() {
				x.Subnet = u.ID
			}
		}
		d.Put(x)
	}
	next, faults := d.Check()
	if next == nil {
		_ = faults
		return nil
	}
	return next
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
	decorated := 0
	for seed := range uint64(n) {
		g := configtest.New(seed)
		g.Devices = true
		g.Allow = func(s *config.State) bool { return !hasHalfRange(s) }
		s := g.State()
		if !g.Allow(s) {
			continue
		}
		if x := decorate(rand.New(rand.NewPCG(seed, 1)), s); x != nil {
			s = x
			decorated++
		} else {
			d := s.Edit()
			d.Put(s.Settings())
			s, _ = d.Check()
		}
		f, text := exported(t, s)
		sameFacts(t, f.State(), s, text)
		ordered(t, f.State(), s)
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
	if decorated < n/2 {
		t.Errorf("only %d of %d States have what an API gives", decorated, n)
	}
}
