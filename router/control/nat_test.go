package control_test

import (
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/control"
)

func natRules(s *config.State) string {
	var lines []string
	for r := range s.Routers() {
		for _, n := range control.NATRules(s, r) {
			lines = append(lines, n.String())
			if _, ok := s.Get(n.From); !ok {
				lines = append(lines, "of an object that is not there")
			}
		}
	}
	return strings.Join(lines, "\n")
}

func TestNATRules(t *testing.T) {
	s := parse(t, tutorial+strings.ReplaceAll(second, "172.16.101.", "172.16.102."))
	want := `router_100_101 inbound DNAT to 10.10.10.3 -> 172.16.101.3
router_100_101 outbound SNAT from 172.16.101.3 -> 10.10.10.3
router_100_101 inbound DNAT to 10.10.10.7 -> 172.16.100.11
router_100_101 outbound SNAT from 172.16.100.11 -> 10.10.10.7
router_100_101 inbound DNAT to 10.10.10.8 TCP port 2222 -> 172.16.101.4 port 22
router_100_101 outbound SNAT from any other -> 10.10.10.2
second outbound SNAT from any other -> 10.10.10.20`
	if got := natRules(s); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestNATRulesOfTheGateway(t *testing.T) {
	const nets = inside + "[[router]]\nname = \"s\"\ninterfaces = [\"twin\"]\n"
	const out = "gateway = { network = \"ext_net\", address = \"10.10.10.2\""
	for name, k := range map[string]struct{ text, want string }{
		"none": {nets, ""},
		"off":  {nets + out + ", snat = false }\n", "s outbound none to any other"},
		"pool": {nets + out + ", snat_addresses = [\"10.10.10.30-10.10.10.31\", \"10.10.10.40\"] }\n",
			"s outbound SNAT from any other -> 10.10.10.30-10.10.10.31, 10.10.10.40"},
		"some": {nets + out + " }\n[router.nat]\nno_snat = [\"192.0.2.0/24\"]\n",
			"s outbound none to 192.0.2.0/24\ns outbound SNAT from any other -> 10.10.10.2"},
	} {
		if got := natRules(parse(t, k.text)); got != k.want {
			t.Errorf("%s: got:\n%s\nwant:\n%s", name, got, k.want)
		}
	}
	c, e := start(t, nets+out+" }\n")
	_, err := c.Edit(t.Context(), func(d *config.Draft) error {
		for r := range d.Routers() {
			down := *r
			down.AdminStateUp = false
			d.Put(&down)
		}
		return nil
	})
	do(t, err)
	if got := natRules(e.state); got != "" {
		t.Errorf("a router that is down has %s", got)
	}
}
