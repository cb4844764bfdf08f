package router

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

// What a router has an address for cannot be a member there, and the words say what to name
// instead; nor can a member's address become a floating IP of that router.
func TestMembersAreNoAddressesOfTheRouter(t *testing.T) {
	topo := tutorial()
	topo.FloatingIPs = append(topo.FloatingIPs, file.FloatingIP{
		Network: "ext_net", Address: addr("10.10.10.9"), Router: topo.Routers[0].Name,
		PortForwarding: []file.PortForward{{Protocol: file.TCP, ExternalPort: 80, FixedIP: addr("172.16.101.3"),
			Port: 80}},
	})
	l := newLessonOf(t, topo)
	for a, want := range map[string]string{
		"10.10.10.3":    "10.10.10.3 is a floating IP; name the host behind it, 172.16.101.3",
		"10.10.10.7":    `10.10.10.7 is the floating IP of VIP "web-vip"; name the members of its pool "web servers"`,
		"10.10.10.9":    "10.10.10.9 is a floating IP with forwarded ports; name the host behind the port",
		"10.10.10.2":    "10.10.10.2 is its own address; name the host that has the service",
		"172.16.101.1":  "172.16.101.1 is its own address; name the host that has the service",
		"172.16.100.11": `172.16.100.11 is the address of VIP "web-vip"; name the members of its pool "web servers"`,
	} {
		err := l.AddMember("web servers", file.Member{Address: addr(a), Port: 81, Weight: 1, AdminStateUp: true})
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", a, err, want)
		}
	}
	far := file.Member{Name: "far", Address: addr("10.10.10.20"), Port: 80, Weight: 1, AdminStateUp: true}
	l.do(l.AddMember("web servers", far))
	err := l.AssociateFloatingIP(far.Address, l.vm4.addr)
	if want := `10.10.10.20 is member "far" of pool "web servers"`; !errors.Is(err, fs.ErrExist) ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("a member's address becomes a floating IP: %v\nwant %s", err, want)
	}
	l.do(l.RemoveMember("web servers", "far"))
	l.do(l.AssociateFloatingIP(far.Address, l.vm4.addr))
	if err := l.AddMember("web servers", far); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a floating IP becomes a member: %v", err)
	}
	l.do(l.DisassociateFloatingIP(far.Address))
	l.do(l.AddMember("web servers", far))
}

// newShared is the scenario of members of other routers, as a simulation.
func newShared(t *testing.T) *sim {
	t.Helper()
	const file = "testdata/members-of-other-routers.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	topo, _, _, err := readScenario(file, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return newSim(t, topo)
}

// A VIP may have one of another router as a member, but not one that leads back to it: by a member
// or by a floating IP that comes while the engine runs.
func TestNoLoopsOfVIPs(t *testing.T) {
	s := newShared(t)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "would come back to it") {
			t.Errorf("%s: %v", what, err)
		}
	}
	m := file.Member{Name: "m", Address: addr("10.0.0.11"), Port: 80, Weight: 1, AdminStateUp: true}
	refused("the first VIP, as a member of those behind it", s.AddMember("near", m))
	m.Port = 81
	do(s.AddMember("near", m)) // where no VIP is
	do(s.RemoveMember("near", "m"))
	do(s.AssociateFloatingIPAt("front", addr("10.10.10.20"), addr("10.0.0.11"))) // no member has it
	m.Address, m.Port = addr("10.10.10.20"), 80
	refused("its floating IP", s.AddMember("near", m))
	do(s.DisassociateFloatingIP(addr("10.10.10.20")))
	do(s.AddMember("near", m))
	refused("a floating IP that is a member", s.AssociateFloatingIPAt("front", addr("10.10.10.20"), addr("10.0.0.11")))
	do(s.AssociateFloatingIPAt("front", addr("10.10.10.20"), addr("10.0.0.5")))
	for _, name := range []string{"10.10.10.7:80", "10.0.0.12:80", "10.10.10.8:81"} {
		do(s.RemoveMember("far", name))
	}
	do(s.DisassociateFloatingIP(addr("10.10.10.20")))
	do(s.AssociateFloatingIPAt("front", addr("10.10.10.20"), addr("10.0.0.11"))) // it leads back no more
	m.Address = addr("10.10.10.7")
	refused("and so it would again", s.AddMember("far", m))
	s.run()
}
