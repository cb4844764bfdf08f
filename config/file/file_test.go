package file_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

func read(t *testing.T, text string) *file.File {
	t.Helper()
	f, err := file.Read("lab.toml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// apply edits a State by a file, which must go well.
func apply(t *testing.T, s *config.State, f *file.File) *config.State {
	t.Helper()
	d := s.Edit()
	if _, err := f.Edit(d, file.Over{}); err != nil {
		t.Fatal(err)
	}
	next, found := d.Check()
	if faults, _ := f.Faults(found); len(faults) > 0 {
		t.Fatal(faults)
	}
	return next
}

// sameWhenEdited holds a file against its own State.
func sameWhenEdited(t *testing.T, f *file.File) {
	t.Helper()
	if changes := config.Diff(f.State(), apply(t, f.State(), f)); len(changes) > 0 {
		t.Fatalf("changed by the same file: %+v", changes)
	}
}

// changes are the differences between two States as texts.
func changes(from, to *config.State) []string {
	var list []string
	for _, c := range config.Diff(from, to) {
		o := c.After
		if o == nil {
			o = c.Before
		}
		name := o.About().Name
		switch o := o.(type) {
		case *config.FloatingIP:
			name = o.Address.String()
		case *config.Port:
			name += o.FixedIPs[0].Address.String()
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%v %v %s", c.Op, c.Ref.Kind, name)))
	}
	return list
}

// A choice for one table stays when other tables come and go. An object that a program has made stays.
func TestEdit(t *testing.T) {
	const fip = "[[floating_ip]]\nnetwork = \"ext\"\nfixed_ip = \"%s\"\n"
	s := apply(t, config.Empty(), read(t, routed+fmt.Sprintf(fip, "10.1.0.5")))
	step := func(name, text string, want ...string) {
		t.Helper()
		next := apply(t, s, read(t, text))
		if got := changes(s, next); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		s = next
	}
	step("a floating IP above", "# a line more\n"+routed+fmt.Sprintf(fip, "10.1.0.4")+fmt.Sprintf(fip, "10.1.0.5"),
		"added floating IP 203.0.113.4")

	d := s.Edit()
	mine := config.NewID([16]byte{1})
	d.Put(&config.Network{
		Meta: config.Meta{ID: mine, Name: "mine", Source: config.Source{Request: "r1"}}, AdminStateUp: true,
	})
	blue := *s.Network(config.NameID(config.KindNetwork, "blue"))
	blue.Description, blue.Tags = "for guests", []string{"a"}
	d.Put(&blue)
	var found config.Faults
	if s, found = d.Check(); found.Err() != nil {
		t.Fatal(found)
	}
	step("the first one goes", routed+fmt.Sprintf(fip, "10.1.0.4"), "removed floating IP 203.0.113.3")
	step("a changed MTU", strings.Replace(routed, "devices", "mtu = 1400\ndevices", 1)+fmt.Sprintf(fip, "10.1.0.4"),
		"changed network blue")
	if n := s.Network(blue.ID); n.Description != "for guests" || len(n.Tags) != 1 || n.MTU != 1400 ||
		n.Source.Line != 2 {
		t.Errorf("network blue is %+v", n)
	}
	if s.Network(mine) == nil {
		t.Error("the file takes away what it has not declared")
	}
	step("nothing but a network", ext,
		"removed floating IP 203.0.113.4", "removed port 203.0.113.2", "removed port 10.2.0.1", "removed port 10.1.0.1",
		"removed router r1", "removed subnet", "removed subnet", "removed network green", "removed network blue")
}

// A fault that comes from an object of the State has a line of the file, and names both objects.
func TestEditFaults(t *testing.T) {
	s := read(t, blue).State()
	d := s.Edit()
	d.Put(&config.Port{
		Meta:         config.Meta{ID: config.NewID([16]byte{1}), Name: "theirs", Source: config.Source{Request: "r1"}},
		AdminStateUp: true,
		Network:      config.NameID(config.KindNetwork, "blue"), FixedIPs: []config.FixedIP{{Address: ip("10.1.0.5")}},
	})
	s, found := d.Check()
	if found.Err() != nil {
		t.Fatal(found)
	}
	f := read(t, blue+"[[port]]\nname = \"ours\"\nnetwork = \"blue\"\nfixed_ip = \"10.1.0.5\"\n")
	d = s.Edit()
	if _, err := f.Edit(d, file.Over{}); err != nil {
		t.Fatal(err)
	}
	next, found := d.Check()
	faults, warnings := f.Faults(found)
	want := `lab.toml:10: port "ours": 10.1.0.5 is already the address of port "theirs"`
	if next != nil || faults.Error() != want || len(warnings) > 0 {
		t.Errorf("got  %v, %v\nwant %s", faults, warnings, want)
	}
	if again, _ := f.Faults(found); again.Error() != want {
		t.Errorf("the second time %v", again)
	}
}

// Where the file states what.
func TestSource(t *testing.T) {
	f := read(t, routed+`
[[floating_ip]]
network = "ext"
port_forwarding = [
  { protocol = "TCP", external_port = 22, fixed_ip = "10.1.0.3", port = 22 },
]
[nat.timeouts]
udp = "6m"
`)
	s := f.State()
	router := s.Router(config.NameID(config.KindRouter, "r1"))
	first := func(ports func(func(*config.Port) bool)) *config.Port {
		for p := range ports {
			return p
		}
		return nil
	}
	var forward *config.PortForwarding
	for p := range s.PortForwardings() {
		forward = p
	}
	for _, c := range []struct {
		o     config.Object
		field string
		line  int // 0: not stated
	}{
		{s.Network(config.NameID(config.KindNetwork, "blue")), "", 2},
		{s.Network(config.NameID(config.KindNetwork, "blue")), "devices", 4},
		{s.Network(config.NameID(config.KindNetwork, "blue")), "mtu", 0},
		{router, "gateway.network", 22},
		{router, "gateway.snat", 0},
		{router, "routes", 0},
		{s.GatewayPort(router.ID), "fixed_ips[0]", 22},
		{first(s.InterfacesOf(router.ID)), "fixed_ips", 21}, // by its place
		{first(s.InterfacesOf(router.ID)), "", 21},
		{forward, "external_port", 27},
		{s.Settings(), "nat.timeouts.udp", 30},
		{s.Settings(), "engine.workers", 29}, // which no API sets
	} {
		got, ok := f.Source(c.o.Ref(), c.field)
		if ok != (c.line > 0) || ok && got != (config.Source{File: "lab.toml", Line: c.line}) {
			t.Errorf("%v %q: %+v, %v, want line %d", c.o.Ref().Kind, c.field, got, ok, c.line)
		}
	}
	if got, ok := f.Source(config.Ref{Kind: config.KindNetwork, ID: "x"}, ""); ok {
		t.Errorf("an unknown object is at %+v", got)
	}
}

// A lesson's instances have the addresses of the State that it is played on.
func TestLesson(t *testing.T) {
	const host = "[[instance]]\nname = \"%s\"\nnetwork = \"blue\"\n"
	f := read(t, blue+fmt.Sprintf(host, "a")+`serve = ["http:80"]
[[port]]
name = "b"
network = "blue"
fixed_ip = "10.1.0.9"
mac = "fa:16:3e:aa:bb:03"
`+fmt.Sprintf(host, "b")+"gateway = \"10.1.0.2\"\n[[step]]\ndo = \"wait 1s\"\n")
	l := f.Lesson(f.State())
	a, b := l.Instances[0], l.Instances[1]
	if a.Prefix != prefix("10.1.0.2/24") || a.Gateway != ip("10.1.0.1") || len(a.Serve) != 1 {
		t.Errorf("a is %+v", a)
	}
	if b.Prefix != prefix("10.1.0.9/24") || b.Gateway != ip("10.1.0.2") || b.MAC.String() != "fa:16:3e:aa:bb:03" {
		t.Errorf("b is %+v", b)
	}
	if len(l.Steps) != 1 || l.LineOf("step[0].do") != 21 ||
		l.Networks["blue"] != config.NameID(config.KindNetwork, "blue") {
		t.Errorf("lesson %+v", l)
	}

	// On a State in which another one came first, the instance has another address.
	before := blue + fmt.Sprintf(host, "before")
	s := apply(t, read(t, before).State(), read(t, before+fmt.Sprintf(host, "a")))
	if a := f.Lesson(apply(t, s, f)).Instances[0]; a.Address != ip("10.1.0.3") {
		t.Errorf("a is %+v", a)
	}
}

var update = flag.Bool("update", false, "write the golden files")

// TestGolden holds the IDs and the choices for the examples: they may not change by accident.
func TestGolden(t *testing.T) {
	for _, name := range examples(t) {
		f, err := file.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for o := range f.State().All() {
			fmt.Fprintf(&b, "%s %v%s\n", o.About().ID, o.Ref().Kind, goldenText(o))
		}
		golden := filepath.Join("testdata", "state", strings.TrimSuffix(filepath.Base(name), ".toml")+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s is\n%s\nnot as in %s:\n%s", name, b.String(), golden, want)
		}
	}
}

// goldenText has the names that tell an object from others, and the choices made for it.
func goldenText(o config.Object) string {
	text := ""
	if name := o.About().Name; name != "" {
		text = fmt.Sprintf(" %q", name)
	}
	switch o := o.(type) {
	case *config.Subnet:
		text += fmt.Sprintf(" %v gateway %v", o.CIDR, o.Gateway)
	case *config.Port:
		for _, f := range o.FixedIPs {
			text += " " + f.Address.String()
		}
		text += fmt.Sprintf(" %v %s %s", o.MAC, o.DeviceOwner, o.DeviceID)
	case *config.FloatingIP:
		text += fmt.Sprintf(" %v to %v by %s", o.Address, o.FixedIP, o.Router)
	case *config.PortForwarding:
		text += fmt.Sprintf(" %s %d", o.Protocol, o.ExternalPort)
	case *config.SecurityGroupRule:
		text += fmt.Sprintf(" %s %s %s of %s", o.Direction, o.EtherType, o.Protocol, o.Group)
	case *config.LoadBalancer:
		text += fmt.Sprintf(" %v by %s", o.Address, o.Router)
	}
	return text
}

// An instance with DHCP has a MAC address of its own that is the same each time, and its port has the same one.
func TestClientsOfDHCPHaveMACAddresses(t *testing.T) {
	const text = "[[network]]\nname = \"blue\"\nsubnet = [{ cidr = \"10.1.0.0/24\", dhcp = true }]\n" +
		"[[instance]]\nname = \"a\"\nnetwork = \"blue\"\ndhcp = true\n" +
		"[[instance]]\nname = \"b\"\nnetwork = \"blue\"\ndhcp = true\n" +
		"[[instance]]\nname = \"c\"\nnetwork = \"blue\"\n"
	var macs []string
	for range 2 {
		topo, err := file.Parse("lab.toml", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		s := state(t, topo)
		for _, in := range topo.Instances {
			if p := s.Port(in.ID); p == nil || p.MAC != in.MAC || p.FixedIPs[0].Address != in.Address {
				t.Errorf("%s has %v, its port is %+v", in.Name, in.MAC, p)
			}
			macs = append(macs, in.MAC.String())
		}
	}
	if macs[0] == macs[1] || macs[0] == "" || macs[1] == "" || macs[2] != "" || !slices.Equal(macs[:3], macs[3:]) {
		t.Errorf("they have %q", macs)
	}
}
