package router

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

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
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "leads back to the VIP") {
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
