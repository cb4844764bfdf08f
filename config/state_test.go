package config_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
)

func id(name string) config.ID { return config.NameID(config.KindNetwork, "test", name) }

func meta(name string) config.Meta { return config.Meta{ID: id(name), Name: name} }

func mustCheck(t *testing.T, d *config.Draft) *config.State {
	t.Helper()
	s, faults := d.Check()
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEditsLeaveTheStateAlone(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := config.Empty().Edit()
	d.Now = now
	d.Put(&config.Network{Meta: meta("a"), AdminStateUp: true},
		&config.Subnet{Meta: meta("a1"), Network: id("a"), CIDR: netip.MustParsePrefix("10.0.0.0/24")},
		&config.Network{Meta: meta("b"), AdminStateUp: true})
	s := mustCheck(t, d)

	e := s.Edit()
	e.Now = now.Add(time.Hour)
	changed := *s.Network(id("b"))
	changed.MTU = 9000
	e.Put(&changed)
	e.Delete(config.Ref{Kind: config.KindNetwork, ID: id("a")})
	next := mustCheck(t, e)

	if s.Network(id("b")).MTU != config.DefaultMTU || s.Count(config.KindSubnet) != 1 || s.Network(id("a")) == nil {
		t.Error("the edits show in the State that was edited")
	}
	n := next.Network(id("b"))
	if n.MTU != 9000 || n.Revision != 2 || !n.Created.Equal(now) || !n.Updated.Equal(now.Add(time.Hour)) {
		t.Errorf("network b is %+v", n)
	}
	if next.Network(id("a")) != nil || next.Subnet(id("a1")) != nil || next.Count(config.KindSubnet) != 0 {
		t.Error("network a is still there, or its subnet")
	}
	if s.Version() != 1 || next.Version() != 2 {
		t.Errorf("versions %d, %d", s.Version(), next.Version())
	}
	var ops []string
	for _, c := range config.Diff(s, next) {
		ops = append(ops, c.Op.String()+" "+c.Ref.Kind.String())
	}
	if want := []string{"changed network", "removed subnet", "removed network"}; !slices.Equal(ops, want) {
		t.Errorf("Diff: %v, want %v", ops, want)
	}
	var back []string
	for _, c := range config.Diff(next, s) {
		back = append(back, c.Op.String()+" "+c.Ref.Kind.String())
	}
	if want := []string{"added network", "changed network", "added subnet"}; !slices.Equal(back, want) {
		t.Errorf("Diff back: %v, want %v", back, want)
	}
}

// An object that is put again as it was is no change. Another Source is taken over all the same.
func TestPutTheSame(t *testing.T) {
	put := func(line int) *config.Network {
		m := meta("a")
		m.Source = config.Source{File: "lab.toml", Line: line}
		return &config.Network{Meta: m, Devices: []config.Device{{Kind: config.DeviceTAP, Name: "t"}}}
	}
	d := config.Empty().Edit()
	d.Put(put(3))
	s := mustCheck(t, d)
	e := s.Edit()
	e.Put(put(5))
	next := mustCheck(t, e)
	if c := config.Diff(s, next); len(c) != 0 {
		t.Errorf("changes %v", c)
	}
	if n := next.Network(id("a")); n.Revision != 1 || n.Source.Line != 5 {
		t.Errorf("network is %+v", n)
	}
}

// Check does not repeat a fault that the caller has reported. There is no State all the same.
func TestReported(t *testing.T) {
	d := config.Empty().Edit()
	d.Put(&config.Network{Meta: meta("a"), MTU: 5, VLAN: -1})
	_, faults := d.Check()
	if len(faults) != 2 {
		t.Fatalf("%d faults: %v", len(faults), faults)
	}
	d.Reported = func(r config.Ref, field string) bool { return r.ID == id("a") && field == "mtu" }
	if s, faults := d.Check(); s != nil || len(faults) != 1 || faults[0].Field != "vlan" {
		t.Errorf("a State: %t; %v", s != nil, faults)
	}
	d.Reported = func(config.Ref, string) bool { return true }
	if s, faults := d.Check(); s != nil || len(faults) != 0 {
		t.Errorf("a State: %t; %v", s != nil, faults)
	}
}

// The list of faults has a bound, and its last one says how many there are beyond.
func TestMoreFaults(t *testing.T) {
	d := config.Empty().Edit()
	for i := range 1100 {
		d.Put(&config.Network{Meta: meta(fmt.Sprint("n", i)), MTU: 5})
	}
	_, faults := d.Check()
	last := faults[len(faults)-1]
	if len(faults) != 1001 || last.More != 100 || last.Message != "and 100 more faults" {
		t.Errorf("%d faults, the last: %+v", len(faults), last)
	}
}
