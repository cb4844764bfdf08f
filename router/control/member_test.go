package control_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// members lists a pool's members: name, endpoint, weight, and whether they are up.
func members(s *config.State, pool string) []string {
	var list []string
	for p := range s.Pools() {
		if p.Name != pool {
			continue
		}
		for m := range s.MembersOf(p.ID) {
			list = append(list, fmt.Sprintf("%s %v:%d %d %t", m.Name, m.Address, m.Port, m.Weight, m.AdminStateUp))
		}
	}
	return list
}

func TestMembers(t *testing.T) {
	c, e := start(t, tutorial)
	for range 2 { // the second time changes nothing
		do(t, c.SetMember("web servers", "WEB1", false))
		do(t, c.SetMemberWeight("web servers", "WEB2", 0))
	}
	do(t, c.AddMember("web servers", config.Member{Address: addr("172.16.100.12"), Port: 80, Weight: 1,
		AdminStateUp: true}))
	do(t, c.AddMember("web servers", config.Member{Meta: config.Meta{Name: "WEB4"},
		Address: addr("172.16.100.12"), Port: 81}))
	do(t, c.SetMember("web servers", "172.16.100.12:80", false)) // by the name that it has by default
	want := []string{"WEB1 172.16.100.9:80 1 false", "WEB2 172.16.100.10:80 0 true", "outside 10.10.10.12:80 1 true",
		"172.16.100.12:80 172.16.100.12:80 1 false", "WEB4 172.16.100.12:81 0 false"}
	if got := members(e.state, "web servers"); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	do(t, c.RemoveMember("web servers", "WEB1"))
	do(t, c.AddMember("web servers", config.Member{Meta: config.Meta{Name: "WEB1"},
		Address: addr("172.16.100.9"), Port: 80}))
	got := members(e.state, "web servers")
	if last := got[len(got)-1]; len(got) != 5 || last != "WEB1 172.16.100.9:80 0 false" {
		t.Errorf("one that comes again is the last: %q", got)
	}
	do(t, c.SetMember("name servers", "172.16.100.9:53", false))
	do(t, c.SetMember(string(config.NameID(config.KindPool, "web servers")), "WEB1", true)) // by the pool's ID
}

// A member without a name, as an API may make one, is called by its endpoint or its ID.
func TestNamelessMember(t *testing.T) {
	c, e := start(t, tutorial)
	id := config.NewID([16]byte{0xee})
	_, err := c.Edit(t.Context(), func(d *config.Draft) error {
		d.Put(&config.Member{Meta: config.Meta{ID: id}, Pool: config.NameID(config.KindPool, "web servers"),
			Address: addr("172.16.100.12"), Port: 80})
		return nil
	})
	do(t, err)
	do(t, c.SetMemberWeight("web servers", "172.16.100.12:80", 7))
	do(t, c.SetMember("web servers", string(id), true))
	if m := e.state.Member(id); m.Weight != 7 || !m.AdminStateUp || m.Name != "" {
		t.Errorf("%+v", m)
	}
}

func TestMemberErrors(t *testing.T) {
	c, e := start(t, tutorial)
	before := e.state
	with := func(change func(*config.Member)) config.Member {
		m := config.Member{Meta: config.Meta{Name: "WEB3"}, Address: addr("172.16.100.12"), Port: 80, Weight: 1,
			AdminStateUp: true}
		change(&m)
		return m
	}
	at := func(pool, a string) error {
		return c.AddMember(pool, with(func(m *config.Member) { m.Address = addr(a) }))
	}
	called := func(name string) error {
		return c.AddMember("web servers", with(func(m *config.Member) { m.Name = name }))
	}
	for name, k := range map[string]struct{ got, want error }{
		"set, no pool":      {c.SetMember("nobody", "WEB1", true), fs.ErrNotExist},
		"set, no member":    {c.SetMember("web servers", "WEB3", true), fs.ErrNotExist},
		"remove, no member": {c.RemoveMember("web servers", "WEB3"), fs.ErrNotExist},
		"weigh, no member":  {c.SetMemberWeight("web servers", "WEB3", 1), fs.ErrNotExist},
		"add, no pool":      {at("nobody", "172.16.100.12"), fs.ErrNotExist},
		"same name":         {called("WEB1"), fs.ErrExist},
		"blank before":      {called(" WEB3"), fs.ErrInvalid},
		"unprintable":       {called("WEB\n3"), fs.ErrInvalid},
		"same id": {c.AddMember("web servers",
			with(func(m *config.Member) { m.ID = before.Pool(config.NameID(config.KindPool, "web servers")).ID })),
			fs.ErrExist},
		"same endpoint":   {at("web servers", "172.16.100.9"), fs.ErrExist},
		"no port":         {c.AddMember("web servers", with(func(m *config.Member) { m.Port = 0 })), fs.ErrInvalid},
		"no address":      {at("web servers", ""), fs.ErrInvalid},
		"multicast":       {at("web servers", "224.0.0.1"), fs.ErrInvalid},
		"this network":    {at("web servers", "0.0.0.1"), fs.ErrInvalid},
		"reserved":        {at("web servers", "240.0.0.1"), fs.ErrInvalid},
		"the VIP":         {at("web servers", "172.16.100.11"), fs.ErrInvalid},
		"the other VIP":   {at("name servers", "172.16.100.11"), fs.ErrInvalid},
		"a floating IP":   {at("web servers", "10.10.10.3"), fs.ErrInvalid},
		"that of the VIP": {at("web servers", "10.10.10.7"), fs.ErrInvalid},
		"an interface":    {at("web servers", "172.16.101.1"), fs.ErrInvalid},
		"the gateway":     {at("web servers", "10.10.10.2"), fs.ErrInvalid},
		"a broadcast":     {at("web servers", "172.16.101.255"), fs.ErrInvalid},
		"weight": {c.AddMember("web servers", with(func(m *config.Member) { m.Weight = 257 })),
			fs.ErrInvalid},
		"another weight": {c.SetMemberWeight("web servers", "WEB1", -1), fs.ErrInvalid},
	} {
		for _, sentinel := range []error{fs.ErrInvalid, fs.ErrNotExist, fs.ErrExist} {
			if errors.Is(k.got, sentinel) != (sentinel == k.want) {
				t.Errorf("%s: %v", name, k.got)
				break
			}
		}
		if k.got != nil && !strings.HasPrefix(k.got.Error(), "control: ") {
			t.Errorf("%s: %v", name, k.got)
		}
	}
	if e.state != before || e.prepared != 0 {
		t.Error("something has changed")
	}
}
