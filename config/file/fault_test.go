package file_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/taprouter/taprouter/config/file"
)

func faultCases() []faultCase {
	return slices.Concat(syntaxCases, shapeCases, networkCases, subnetCases, routerCases, natCases,
		portCases, floatingCases, poolCases, vipCases, instanceCases, clientCases, stepCases, unforwardedCases,
		idCases, serviceCases)
}

// wanted collects what a text says of itself.
func wanted(text string) []string {
	var want []string
	for i, line := range strings.Split(text, "\n") {
		for _, message := range strings.Split(line, "#!")[1:] {
			want = append(want, file.Fault{File: "f", Line: i + 1, Message: strings.TrimSpace(message)}.String())
		}
	}
	return want
}

// An address that no router forwards from or to (RFC 6890) cannot be a service's address or a destination.
// Link-local subnets are left to next hops, and to networks without a router.
var unforwardedCases = []faultCase{
	{"subnets", `
[[network]]
name = "a"
[[network.subnet]]
cidr = "192.0.0.0/24" #! subnet "a": cidr 192.0.0.0/24 is in 192.0.0.0/24, which is for protocols: no router forwards from or to it (RFC 6890)
[[network]]
name = "b"
[[network.subnet]]
cidr = "192.0.0.8/29" #! subnet "b": cidr 192.0.0.8/29 is in 192.0.0.0/24, which is for protocols: no router forwards from or to it (RFC 6890)
[[network]]
name = "c"
[[network.subnet]]
cidr = "192.0.0.0/29"
[[network]]
name = "d"
[[network.subnet]]
cidr = "169.254.0.0/16"`},
	{"members", blue + `
[[pool]]
name = "p"
protocol = "TCP"
[[pool.member]]
address = "169.254.1.9" #! pool "p": member "169.254.1.9:80": address 169.254.1.9 is link-local: no router forwards from or to it (RFC 3927, 2.7)
port = 80
[[pool.member]]
address = "192.0.0.8" #! pool "p": member "192.0.0.8:80": address 192.0.0.8 is in 192.0.0.0/24, which is for protocols: no router forwards from or to it (RFC 6890)
port = 80
[[pool.member]]
address = "192.0.0.9"
port = 80
[[pool.member]]
address = "192.0.2.9"
port = 80
[[pool]]
name = "six"
protocol = "TCP"
[[pool.member]]
address = "fe80::9" #! pool "six": member "[fe80::9]:80": address fe80::9 is link-local: no router forwards from or to it (RFC 4291, 2.5.6)
port = 80`},
	{"external", blue + `
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "169.254.7.0/24"
[[router]]
name = "r"
interfaces = ["blue"]
gateway = { network = "ext", address = "169.254.7.2" } #! router "r": gateway: address 169.254.7.2 is link-local, so what shows it has no answer from beyond the link (RFC 3927, 2.7); set snat_addresses of another subnet, or snat = false
[[floating_ip]]
network = "ext"
address = "169.254.7.3" #! floating IP 169.254.7.3: address 169.254.7.3 is link-local: no router forwards from or to it (RFC 3927, 2.7)
fixed_ip = "10.1.0.3"
[[floating_ip]] #! floating IP #2: address 169.254.7.4 is link-local: no router forwards from or to it (RFC 3927, 2.7)
network = "ext"
fixed_ip = "10.1.0.4"`},
	{"shared addresses", blue + `
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/24"
[[network.subnet]]
cidr = "169.254.7.0/24"
[[router]]
name = "r"
interfaces = ["blue"]
gateway = { network = "ext", address = "203.0.113.2", snat_addresses = ["203.0.113.4", "169.254.7.9"] } #! router "r": gateway: snat_addresses 169.254.7.9 is link-local: no router forwards from or to it (RFC 3927, 2.7)`},
	{"inside", ext + `
[[network]]
name = "near"
[[network.subnet]]
cidr = "169.254.9.0/24"
[[router]]
name = "r"
interfaces = ["near"]
gateway = { network = "ext", address = "203.0.113.2" }
[[floating_ip]]
network = "ext"
address = "203.0.113.3"
fixed_ip = "169.254.9.3" #! floating IP 203.0.113.3: fixed_ip 169.254.9.3 is link-local: no router forwards from or to it (RFC 3927, 2.7)
[[floating_ip]]
network = "ext"
address = "203.0.113.4"
[[floating_ip.port_forwarding]]
protocol = "TCP"
external_port = 80
fixed_ip = "169.254.9.4" #! floating IP 203.0.113.4: fixed_ip 169.254.9.4 is link-local: no router forwards from or to it (RFC 3927, 2.7)
port = 80
[[pool]]
name = "p"
protocol = "TCP"
[[vip]]
name = "v"
network = "near"
address = "169.254.9.80" #! VIP "v": address 169.254.9.80 is link-local: no router forwards from or to it (RFC 3927, 2.7)
protocol = "TCP"
port = 80
pool = "p"`},
	{"routes", routed + `
routes = [
  { destination = "169.254.169.254/32", nexthop = "10.1.0.9" }, #! router "r1": route 169.254.169.254/32: destination 169.254.169.254/32 is link-local: no router forwards from or to it (RFC 3927, 2.7)
  { destination = "127.0.0.0/8", nexthop = "10.1.0.9" }, #! router "r1": route 127.0.0.0/8: destination 127.0.0.0/8 is in 127.0.0.0/8, where no host can be
  { destination = "224.0.0.0/24", nexthop = "10.1.0.9" }, #! router "r1": route 224.0.0.0/24: destination 224.0.0.0/24 is in 224.0.0.0/4, where no host can be
  { destination = "0.0.0.0/8", nexthop = "10.1.0.9" }, #! router "r1": route 0.0.0.0/8: destination 0.0.0.0/8 is in 0.0.0.0/8, where no host can be
  { destination = "240.0.0.0/4", nexthop = "10.1.0.9" }, #! router "r1": route 240.0.0.0/4: destination 240.0.0.0/4 is in 240.0.0.0/4, where no host can be
  { destination = "192.0.0.170/31", nexthop = "10.1.0.9" }, #! router "r1": route 192.0.0.170/31: destination 192.0.0.170/31 is in 192.0.0.0/24, which is for protocols: no router forwards from or to it (RFC 6890)
  { destination = "0.0.0.0/1", nexthop = "10.1.0.9" },
  { destination = "198.51.100.0/24", nexthop = "10.1.0.9" },
  { destination = "169.0.0.0/8", nexthop = "10.1.0.9" },
]`},
}

func TestFaults(t *testing.T) {
	for _, tt := range faultCases() {
		t.Run(tt.name, func(t *testing.T) {
			topology, err := file.Parse("f", strings.NewReader(tt.text))
			if topology != nil {
				t.Error("a topology came with the faults")
			}
			if err == nil {
				t.Fatal("no fault found")
			}
			got := strings.Split(err.Error(), "\n")
			want := wanted(tt.text)
			for _, m := range got {
				if !slices.Contains(want, m) {
					t.Errorf("unexpected: %s", m)
				}
			}
			for _, m := range want {
				if !slices.Contains(got, m) {
					t.Errorf("missing:    %s", m)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d faults, want %d", len(got), len(want))
			}
		})
	}
}

// TestFaultsTogether holds the order and the form of a whole message.
func TestFaultsTogether(t *testing.T) {
	text := `[[vip]]
name = "v"
network = "blue"
address = "10.1.0.7"
protocol = "TCP"
port = 80
pool = "web"

[[network]]
name = "blue"
mtu = "big"
[[network.subnet]]
cidr = "10.1.0.0/24"
gateway = "10.0.0.1"
`
	want := `lab.toml:7: VIP "v": unknown pool "web"; no [[pool]] has that name
lab.toml:11: network "blue": mtu must be an integer, not "big"
lab.toml:14: subnet "blue": gateway 10.0.0.1 outside 10.1.0.0/24`
	_, err := file.Parse("lab.toml", strings.NewReader(text))
	// The VIP has no router either, but its line comes first.
	want = `lab.toml:3: VIP "v": there is no router to serve 10.1.0.7 on network "blue"` + "\n" + want
	if err == nil || err.Error() != want {
		t.Fatalf("got\n%v\nwant\n%s", err, want)
	}
	var faults file.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error is %T, not Faults", err)
	}
	last := file.Fault{
		File: "lab.toml", Line: 14, Path: "network[0].subnet[0].gateway",
		Message: `subnet "blue": gateway 10.0.0.1 outside 10.1.0.0/24`,
	}
	if faults[3] != last {
		t.Errorf("last fault is %+v, want %+v", faults[3], last)
	}
}

func TestFaultString(t *testing.T) {
	tests := []struct {
		fault file.Fault
		want  string
	}{
		{file.Fault{File: "a.toml", Line: 3, Message: "m"}, "a.toml:3: m"},
		{file.Fault{File: "a.toml", Message: "m"}, "a.toml: m"},
		{file.Fault{Line: 3, Message: "m"}, "line 3: m"},
		{file.Fault{Message: "m", Path: "p"}, "m"},
	}
	for _, tt := range tests {
		if got := tt.fault.String(); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.fault, got, tt.want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.toml")
	if _, err := file.Load(missing); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := file.Load(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
	_, err := file.Parse("x.toml", iotest.ErrReader(io.ErrUnexpectedEOF))
	if !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "config: read x.toml: unexpected EOF" {
		t.Errorf("broken reader: %v", err)
	}
}
