package lab

import (
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

// walled is a router without a gateway, and with one interface of two. Its host has its next hop there.
const walled = `
[[network]]
name = "out"
external = true
  [[network.subnet]]
  cidr = "203.0.113.0/24"
  gateway = "203.0.113.9"

[[network]]
name = "in"
  [[network.subnet]]
  cidr = "10.0.0.0/24"

[[network]]
name = "in 2"
  [[network.subnet]]
  cidr = "10.0.2.0/24"

[[router]]
name = "r1"
interfaces = ["in"]

[[instance]]
name = "inside"
network = "in"
address = "10.0.0.7"

[[instance]]
name = "second"
network = "in 2"
address = "10.0.2.7"
gateway = "10.0.2.1"

[[instance]]
name = "outside"
network = "out"
address = "203.0.113.9"
gateway = "203.0.113.2"
`

// The commands do what they say.
func TestRouterCommands(t *testing.T) {
	t.Parallel()
	out, err := play(t, walled+`
[[step]]
on = "inside"
do = "ping -c 1 -W 1 203.0.113.9"
fails = true
expect = "Destination Net Unreachable"
[[step]]
do = "show nat"
[[step]]
do = "openstack router set --external-gateway out r1"
[[step]]
do = "router show r1"
expect = `+"'''"+`| external_gateway_info | {"enable_snat": true, "external_fixed_ips": [{"ip_address": `+
		`"203.0.113.1", "subnet": "203.0.113.0/24"}], "network": "out"} |`+"'''"+`
[[step]]
do = "taprouter show nat"
expect = "r1 outbound SNAT from any other -> 203.0.113.1"
[[step]]
on = "inside"
do = "ping -c 1 203.0.113.9"
sees = [{ network = "out", src = "203.0.113.1", dst = "203.0.113.9", protocol = "ICMP" }]
[[step]]
do = "router set --external-gateway out --fixed-ip ip-address=203.0.113.2 --disable-snat r1"
[[step]]
on = "inside"
do = "ping -c 1 203.0.113.9"
sees = [{ network = "out", src = "10.0.0.7", dst = "203.0.113.9", protocol = "ICMP" }]
[[step]]
on = "second"
do = "ping -c 1 -W 1 10.0.0.7"
fails = true
[[step]]
do = "router add subnet r1 10.0.2.0/24"
[[step]]
on = "second"
do = "ping -c 1 10.0.0.7"
[[step]]
do = "router add route --route destination=10.99.0.0/16,gateway=10.0.2.7 r1"
[[step]]
do = "router show r1"
expect = "| routes                | destination='10.99.0.0/16', gateway='10.0.2.7' "
[[step]]
on = "inside"
do = "ping -c 1 -W 1 10.99.0.1"
fails = true
sees = [{ network = "in 2", src = "10.0.0.7", dst = "10.99.0.1", protocol = "ICMP" }]
[[step]]
do = "router remove subnet r1 10.0.2.0/24"
fails = true
expect = "required by one or more routes"
[[step]]
do = "router remove route --route destination=10.99.0.0/16,gateway=10.0.2.7 r1"
[[step]]
do = "router remove subnet r1 10.0.2.0/24"
[[step]]
do = "router remove subnet r1 10.0.2.0/24"
fails = true
expect = "router r1 has no interface on subnet 10.0.2.0/24"
[[step]]
on = "second"
do = "ping -c 1 -W 1 10.0.0.7"
fails = true
[[step]]
do = "router set --external-gateway out --enable-snat r1"
[[step]]
do = "floating ip create --floating-ip-address 203.0.113.7 --port inside out"
[[step]]
do = "floating ip show 203.0.113.7"
expect = "| status              | ACTIVE "
[[step]]
do = "floating ip show 203.0.113.8"
fails = true
expect = "there is no such floating IP"
[[step]]
do = "show nat"
expect = `+"'''"+`
r1 inbound DNAT to 203.0.113.7 -> 10.0.0.7
r1 outbound SNAT from 10.0.0.7 -> 203.0.113.7
r1 outbound SNAT from any other -> 203.0.113.2`+"'''"+`
[[step]]
do = "router unset --external-gateway r1"
fails = true
expect = "a gateway to external network out is required by one or more floating IPs"
[[step]]
do = "floating ip delete 203.0.113.7"
[[step]]
do = "router unset --external-gateway r1"
[[step]]
do = "router show r1"
expect = "| external_gateway_info | null "
[[step]]
on = "inside"
do = "ping -c 1 -W 1 203.0.113.9"
fails = true
expect = "Destination Net Unreachable"
`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// A name in a command must be in the file.
func TestRouterNames(t *testing.T) {
	for do, want := range map[string]string{
		"router show r1":                           "",
		"router show r2":                           `no such router "r2": there are "r1"`,
		"router set --external-gateway out r1":     "",
		"router set --external-gateway in r1":      `router: network "in" is not external`,
		"router set --external-gateway nowhere r1": `router: no such network "nowhere": there are "out"`,
		"router add subnet r1 10.0.2.0/24":         "",
		"router add subnet r1 10.0.3.0/24":         `no such subnet "10.0.3.0/24": there are 203.0.113.0/24, 10`,
		"router remove subnet r1 in":               `no such subnet "in"`,
		"show nat":                                 "",
	} {
		topo, err := file.Parse("x.toml", strings.NewReader(walled+"[[step]]\ndo = \""+do+"\"\n"))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if faults := Check(topo); len(faults) > 0 {
			got = faults.Error()
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q", do, got)
		}
	}
}
