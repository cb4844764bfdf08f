package router

import (
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// The settings of [nat] come from there, or from the router's own table. Each says the line.
func TestOriginsOfSettings(t *testing.T) {
	const text = `[[network]]
name = "n"
[nat]
no_snat = ["10.9.0.0/16"]
[nat.timeouts]
udp = "20s"
[[router]]
name = "common"
[[router]]
name = "own"
  [router.nat]
  no_snat = ["10.8.0.0/16"]
  [router.nat.timeouts]
  udp = "30s"
`
	f, err := file.Read("lab.toml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	s := f.State()
	want := map[string][2]string{
		"common": {"nat.timeouts (lab.toml:3)", "no_snat (lab.toml:3)"},
		"own":    {"nat.timeouts of router own (lab.toml:9)", "no_snat of router own (lab.toml:9)"},
	}
	for r := range s.Routers() {
		timeouts := settingsOf(s, r).Timeouts.String()
		noSNAT := natOrigin(s, r, r.NAT.NoSNAT != nil, "no_snat").String()
		if got := [2]string{timeouts, noSNAT}; got != want[r.Name] {
			t.Errorf("%s: %q, want %q", r.Name, got, want[r.Name])
		}
		delete(want, r.Name)
	}
	if len(want) > 0 {
		t.Errorf("not seen: %v", want)
	}
	if got := originOf("vip", &config.Listener{Meta: config.Meta{
		Name: "web", Source: config.Source{Request: "req-1"},
	}}).String(); got != "vip web (req-1)" {
		t.Errorf("an object of the API: %q", got)
	}
}
