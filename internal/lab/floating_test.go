package lab

import (
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

const outside = `
[[network]]
name = "out"
external = true
  [[network.subnet]]
  cidr = "203.0.113.0/24"

[[network]]
name = "in"
  [[network.subnet]]
  cidr = "10.0.0.0/24"

[[router]]
name = "to the outside"
interfaces = ["in"]
gateway = { network = "out", address = "203.0.113.2" }

[[port]]
name = "inside"
network = "in"
fixed_ip = "10.0.0.7"

[[instance]]
name = "inside"
network = "in"

[[instance]]
name = "outside"
network = "out"
address = "203.0.113.9"
`

// The commands do what they say, and say what they have done.
func TestFloatingIPCommands(t *testing.T) {
	t.Parallel()
	out, err := play(t, outside+`
[[step]]
do = "floating ip create --floating-ip-address 203.0.113.7 out"
expect = "| fixed_ip_address    | None "
[[step]]
do = "floating ip create out"
expect = "| floating_ip_address | 203.0.113.3 "
[[step]]
do = "floating ip set --port inside 203.0.113.7"
[[step]]
on = "outside"
do = "ping -c 1 203.0.113.7"
[[step]]
do = "floating ip list"
expect = "| 203.0.113.7         | 10.0.0.7         | inside | out "
[[step]]
do = "floating ip create --port inside --floating-ip-address 203.0.113.8 out"
fails = true
expect = "10.0.0.7 already has floating IP 203.0.113.7"
[[step]]
do = "floating ip set --fixed-ip-address 10.0.0.8 203.0.113.8"
fails = true
expect = "there is no such floating IP"
[[step]]
do = "floating ip set --fixed-ip-address 10.0.0.8 203.0.113.3"
[[step]]
do = "floating ip unset 203.0.113.7"
[[step]]
do = "floating ip unset 203.0.113.7"
[[step]]
do = "floating ip create --floating-ip-address 203.0.113.3 out"
fails = true
expect = "already the address of floating IP 203.0.113.3"
[[step]]
do = "floating ip delete 203.0.113.3"
[[step]]
do = "floating ip list"
`)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list := out[strings.LastIndex(out, "floating ip list"):]
	if strings.Count(list, "203.0.113.") != 1 || !strings.Contains(list, "| 203.0.113.7         | None ") {
		t.Errorf("in the end:\n%s", list)
	}
}

// A name in a command must be in the file.
func TestFloatingIPNames(t *testing.T) {
	const ports = `there are "a", "b", "inside", "outside"`
	for do, want := range map[string]string{
		"floating ip create out":                                  "",
		"floating ip create --port outside out":                   "",
		"floating ip create in":                                   `network "in" is not external`,
		"floating ip create nowhere":                              `no such network "nowhere": there are "out"`,
		"floating ip set --port nobody 203.0.113.7":               `no such port "nobody": ` + ports,
		"floating ip set --fixed-ip-address 10.0.0.9 203.0.113.7": "",
	} {
		topo, err := file.Parse("x.toml", strings.NewReader(network+outside+"[[step]]\ndo = \""+do+"\"\n"))
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
