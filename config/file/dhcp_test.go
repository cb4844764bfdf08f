package file_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

const lone = `
[[network]]
name = "lone"
[[network.subnet]]
cidr = "10.2.0.0/24"
dhcp = true
`

func fileOf(t *testing.T, text string) *file.File {
	t.Helper()
	f, err := file.Read("f.toml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func serverOf(t *testing.T, s *config.State) string {
	t.Helper()
	for n := range s.Networks() {
		if p := s.DHCPPort(n.ID); p != nil {
			return p.FixedIPs[0].Address.String()
		}
	}
	return ""
}

// The address of a DHCP server is nobody's choice, so a file that needs it for something else gets it, and a file
// without it does not take the server away.
func TestDHCPServerMovesForAFile(t *testing.T) {
	f := fileOf(t, lone)
	if got := serverOf(t, f.State()); got != "10.2.0.2" {
		t.Fatalf("the server has %s", got)
	}
	s := f.State()
	for _, step := range []struct{ text, want string }{
		{lone + "[[port]]\nname = \"p\"\nnetwork = \"lone\"\nfixed_ip = \"10.2.0.2\"\n", "10.2.0.3"},
		{lone, "10.2.0.3"},
		{"[[network]]\nname = \"lone\"\n", ""},
		{"[[network]]\nname = \"other\"\n", ""},
	} {
		next := fileOf(t, step.text)
		d := s.Edit()
		if _, err := next.Edit(d, file.Over{Previous: f}); err != nil {
			t.Fatal(err)
		}
		to, faults := d.Check()
		if to == nil {
			t.Fatal(faults)
		}
		if got := serverOf(t, to); got != step.want {
			t.Errorf("%s\nthe server has %q, want %q", step.text, got, step.want)
		}
		s, f = to, next
	}
}

// A State that is written as a file and read again has the same server.
func TestExportKeepsTheDHCPServer(t *testing.T) {
	d := fileOf(t, lone).State().Edit()
	for n := range d.Networks() {
		p := *d.DHCPPort(n.ID)
		p.FixedIPs = []config.FixedIP{{Address: p.FixedIPs[0].Address.Next().Next()}}
		d.Put(&p)
	}
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults)
	}
	var b bytes.Buffer
	if err := file.Export(&b, s); err != nil {
		t.Fatal(err)
	}
	again := fileOf(t, b.String()).State()
	for n := range s.Networks() {
		was, is := s.DHCPPort(n.ID), again.DHCPPort(n.ID)
		if is == nil || is.FixedIPs[0].Address != was.FixedIPs[0].Address || is.MAC != was.MAC {
			t.Errorf("the server was %+v, and is %+v in\n%s", was, is, &b)
		}
	}
}
