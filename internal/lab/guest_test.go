package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

const guests = `
[[network]]
name = "left"
port_security = true
  [[network.subnet]]
  cidr = "192.0.2.0/24"
  dhcp = true

[[network]]
name = "silent"
  [[network.subnet]]
  cidr = "198.51.100.0/24"

[[router]]
name = "middle"
interfaces = ["left"]

[[instance]]
name = "a"
network = "left"
address = "192.0.2.10"
mac = "02:00:00:00:00:0a"
dhcp = true

[[instance]]
name = "b"
network = "left"
address = "192.0.2.11"
mac = "02:00:00:00:00:0b"
dhcp = true
serve = ["http:80", "echo:7"]
`

// tell plays a lesson and returns what was told.
func tell(t *testing.T, text string) (string, error) {
	t.Helper()
	topo, err := file.Parse("lesson.toml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = Run(context.Background(), topo, Options{Out: &out})
	return out.String(), err
}

// A line is a step on an instance, in short: its command, and what it must say. A command that fails has "!" before it.
func steps(lines ...string) string {
	var b strings.Builder
	for i := 0; i+2 < len(lines); i += 3 {
		on, do, expect := lines[i], lines[i+1], lines[i+2]
		fmt.Fprintf(&b, "[[step]]\ndo = %q\n", strings.TrimPrefix(do, "!"))
		if on != "" {
			fmt.Fprintf(&b, "on = %q\n", on)
		}
		if expect != "" {
			fmt.Fprintf(&b, "expect = %q\n", expect)
		}
		if strings.HasPrefix(do, "!") {
			b.WriteString("fails = true\n")
		}
	}
	return b.String()
}

// What instances with DHCP do as guests, and what the router's own commands do about it.
func TestGuests(t *testing.T) {
	t.Parallel()
	out, err := tell(t, guests+steps(
		"a", "ip addr", "    link/ether 02:00:00:00:00:0a brd ff:ff:ff:ff:ff:ff\n"+
			"    inet 192.0.2.10/24 scope global dynamic eth0\n",
		"a", "ip route show", "default via 192.0.2.1 dev eth0\n"+
			"192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.10\n",
		"a", "dhcp renew", "udhcpc: lease of 192.0.2.10 obtained from 192.0.2.1, lease time 86400\nip=192.0.2.10/24\n"+
			"router=192.0.2.1\ndns=192.0.2.1\nhostname=a\ndomain=openstacklocal\nmtu=1500\n",
		"a", "dhcp release", "udhcpc: released 192.0.2.10",
		"a", "!dhcp release", "udhcpc: there is no lease to release",
		"a", "!dhcp renew", "udhcpc: there is no lease to renew",
		"a", "!dig b.openstacklocal", "no servers could be reached: the instance has been told none",
		"a", "!ping -c1 192.0.2.11", "ping: connect: Network is unreachable",
		"a", "dhcp", "lease of 192.0.2.10",
		"a", "dig b.openstacklocal", "b.openstacklocal. 60 IN A 192.0.2.11\n;; SERVER: 192.0.2.1#53(192.0.2.1) (UDP)",
		"a", "dig +tcp B.openstacklocal A", "(TCP)",
		"a", "dig -x 192.0.2.11 @192.0.2.1", "11.2.0.192.in-addr.arpa. 60 IN PTR b.openstacklocal.",
		"a", "dig +short b.openstacklocal", "192.0.2.11",
		"a", "dig none.openstacklocal", "status: NXDOMAIN",
		"a", "!dig @192.0.2.11 b.openstacklocal", ";; communications error to 192.0.2.11#53: "+
			"connection refused\n;; no servers",
		"a", "arping -c 2 192.0.2.11", "ARPING 192.0.2.11 from 192.0.2.10 eth0\n"+
			"Unicast reply from 192.0.2.11 [02:00:00:00:00:0B]  ",
		"a", "!arping -D -c 2 -I eth0 192.0.2.11", "Sent 1 probes (1 broadcast(s))\nReceived 1 response(s)",
		"a", "arping -D -w 0.1 192.0.2.77", "Received 0 response(s)",
		"a", "!arping -w 0.1 192.0.2.77", "ARPING 192.0.2.77 from 192.0.2.10 eth0\n"+
			"Sent 1 probes (1 broadcast(s))\nReceived 0",
		"a", "ping -c 1 192.0.2.11", "1 received",
		"a", "ip neigh", "192.0.2.11 dev eth0 lladdr 02:00:00:00:00:0b REACHABLE\n",
		"a", "ip n flush dev eth0", "",
		"a", "ip route add 203.0.113.0/24 via 192.0.2.11", "",
		"a", "!ip route add 203.0.113.0/24 via 192.0.2.11", "RTNETLINK answers: File exists",
		"a", "!ip route add 203.0.114.0/24 via 10.0.0.1", "Error: Nexthop has invalid gateway.",
		"a", "ip r", "203.0.113.0/24 via 192.0.2.11 dev eth0\n",
		"a", "ip route del 203.0.113.0/24", "",
		"a", "!ip route del 203.0.113.0/24", "RTNETLINK answers: No such process",
		"a", "ip route del default", "",
		"a", "!ping -c 1 203.0.113.1", "Network is unreachable",
		"a", "ip route add default via 192.0.2.1", "",
		"a", "ip route add 203.0.113.7 dev eth0", "",
		"a", "ip route", "203.0.113.7 dev eth0 scope link\n",
		"a", "ip addr add 192.0.2.99/24 dev eth0", "",
		"a", "!ip addr add 192.0.2.99/24 dev eth0", "RTNETLINK answers: File exists",
		"a", "!ip addr del 192.0.2.98/24 dev eth0", "RTNETLINK answers: Cannot assign requested address",
		"a", "!ping -c 1 -W 0.2 -I 192.0.2.99 192.0.2.11", "0 received",
		"a", "!ping -c 1 -I 192.0.2.98 192.0.2.11", "ping: bind: Cannot assign requested address",
		"", "show drops", `| switch | spoofed-arp | 1       |`,
		"", "taprouter show drops", `1 packet: port "a" claims by ARP 192.0.2.99`,
		"", "port set --allowed-address ip-address=192.0.2.99 a", "",
		"a", "ping -c 1 -I 192.0.2.99 192.0.2.11", "1 received",
		"", "openstack port unset a --allowed-address=ip-address=192.0.2.99", "",
		"", "!port unset --allowed-address ip-address=192.0.2.99 a", "has no allowed address pair 192.0.2.99/32",
		"a", "!ping -c 1 -W 0.2 -I 192.0.2.99 192.0.2.11", "0 received",
		"", "port set --disable-port-security a", "",
		"a", "ping -c 1 -I 192.0.2.99 192.0.2.11", "1 received",
		"", "port set a --enable-port-security", "",
		"a", "ip link set eth0 address 02:00:00:00:00:99", "",
		"a", "ip link", "link/ether 02:00:00:00:00:99",
		"a", "!arping -w 0.2 192.0.2.11", "Received 0",
		"", "port set --allowed-address ip-address=192.0.2.10,mac-address=02:00:00:00:00:99 a", "",
		"a", "arping -c 1 192.0.2.11", "Received 1",
		"", "port list", "| a    | 02:00:00:00:00:0a | 192.0.2.10         | left    | compute:nova             |",
		"a", "curl -s http://169.254.169.254/latest/meta-data/local-ipv4", "",
	))
	if err != nil || !strings.Contains(out, "a: udhcpc: lease of 192.0.2.10 obtained from 192.0.2.1, lease time") {
		t.Errorf("error %v", err)
	}
	if short := regexp.MustCompile(`(?m)dig \+short .*\n +192\.0\.2\.11$`); !short.MatchString(out) {
		t.Error("dig +short says more than the address, or less")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// nc looks, sends and listens. What a listener says stands in the step during which it does.
func TestNC(t *testing.T) {
	t.Parallel()
	out, err := tell(t, guests+steps(
		"a", "nc -zv 192.0.2.11 80", "Connection to 192.0.2.11 80 port [tcp/*] succeeded!",
		"a", "!nc -z 192.0.2.11 81", "nc: connect to 192.0.2.11 port 81 (tcp) failed: Connection refused",
		"a", "nc -zu 192.0.2.11 7", "Connection to 192.0.2.11 7 port [udp/*] succeeded!",
		"a", "!nc -zu 192.0.2.11 8", "nc: connect to 192.0.2.11 port 8 (udp) failed: Destination Port Unreachable",
		"a", "echo 'how are' you | nc -w 0.5 192.0.2.11 7", "how are you\n",
		"a", "echo hello | nc -u -w 0.2 192.0.2.11 7", "hello\n",
		"b", "nc -l 5000", "Listening on 0.0.0.0 5000",
		"b", "!nc -l 80", "nc: Address already in use",
		"b", "nc -l -k -p 5001 &", "Listening on 0.0.0.0 5001",
		"b", "nc -lu 5002", "Listening on 0.0.0.0 5002",
		"a", "echo first | nc 192.0.2.11 5000", "[b] first\n",
		"a", "!echo second | nc 192.0.2.11 5000", "Connection refused",
		"a", "echo third | nc 192.0.2.11 5001", "[b] third\n",
		"a", "echo -n fourth | nc 192.0.2.11 5001", "[b] Connection received on 192.0.2.10 ",
		"a", "echo fifth | nc -u -w 0.1 192.0.2.11 5002", "[b] fifth\n",
	))
	if err != nil {
		t.Errorf("error %v\n%s", err, out)
	}
	if strings.Contains(out, "second\n    [b]") || strings.Contains(out, "[b] second") {
		t.Errorf("a listener without -k goes on:\n%s", out)
	}
}

// An instance without a lease is told of, and the lesson goes on.
func TestNoLease(t *testing.T) {
	t.Parallel()
	lonely := guests + "[[instance]]\nname = \"lonely\"\nnetwork = \"silent\"\ndhcp = true\n"
	began := time.Now()
	out, err := tell(t, lonely+steps("lonely", "!dhcp -w 0.1", "no lease", "lonely", "ip addr", "link/ether fa:16:3e:"))
	if err != nil || !strings.Contains(out, "lonely: udhcpc: no lease, failing\n") || time.Since(began) > bootWait*2 {
		t.Errorf("error %v after %v:\n%s", err, time.Since(began), out)
	}
	if strings.Contains(out, "inet") {
		t.Errorf("it has an address:\n%s", out)
	}
}

// A step that is cut short says how far it came.
func TestGuestsCutShort(t *testing.T) {
	t.Parallel()
	for do, want := range map[string]string{
		"dhcp":                            "cut short after 300ms: no answer yet",
		"arping 198.51.100.77":            "cut short after 300ms: 1 requests sent, 0 answered",
		"dig @198.51.100.77 x.":           "cut short after 300ms: no answer yet",
		"nc -z 198.51.100.77 1":           "cut short after 300ms: no answer yet",
		"nc -zu 198.51.100.77 1":          "cut short after 300ms: no answer yet",
		"echo x | nc -w 9 198.51.100.3 5": "cut short after 300ms: the other end has not closed yet",
	} {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			out, err := tell(t, guests+"[[instance]]\nname = \"c\"\nnetwork = \"silent\"\naddress = \"198.51.100.2\"\n"+
				"[[instance]]\nname = \"d\"\nnetwork = \"silent\"\naddress = \"198.51.100.3\"\nserve = [\"echo:6\"]\n"+
				"[[step]]\non = \"d\"\ndo = \"nc -lu 5\"\n"+
				"[[step]]\non = \"c\"\nwithin = \"300ms\"\ndo = \""+strings.Replace(do, "nc -w", "nc -u -w", 1)+"\"\n")
			if !errors.Is(err, ErrUnexpected) || !strings.Contains(out, want) {
				t.Errorf("error %v:\n%s", err, out)
			}
		})
	}
}

func TestParseGuestCommands(t *testing.T) {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	for line, want := range map[string]command{
		"dhcp":               {name: "dhcp", verb: "ask"},
		"dhcp -w 2 renew":    {name: "dhcp", verb: "renew", timeout: 2 * time.Second},
		"dig vm1.x":          {name: "dig", dig: digCommand{name: "vm1.x.", typ: dns.TypeA}},
		"dig mx. MX +short":  {name: "dig", dig: digCommand{name: "mx.", typ: dns.TypeMX, short: true}},
		"dig -x 10.0.0.1":    {name: "dig", dig: digCommand{name: "1.0.0.10.in-addr.arpa.", typ: dns.TypePTR}},
		"dig @10.0.0.1 a ns": {name: "dig", dig: digCommand{server: addr("10.0.0.1"), name: "a.", typ: dns.TypeNS}},
		"arping -D -s 10.0.0.2 10.0.0.1": {name: "arping", addr: addr("10.0.0.1"), from: addr("10.0.0.2"),
			probe: true, count: 3},
		"ip a":              {name: "ip", ip: ipCommand{object: "addr", what: "show"}},
		"ip -4 addr ls":     {name: "ip", ip: ipCommand{object: "addr", what: "show"}},
		"ip addr dev eth0":  {name: "ip", ip: ipCommand{object: "addr", what: "show"}},
		"ip neighbour show": {name: "ip", ip: ipCommand{object: "neigh", what: "show"}},
		"ip address delete 10.0.0.1/8 dev eth0": {name: "ip",
			ip: ipCommand{object: "addr", what: "del", prefix: prefix("10.0.0.1/8")}},
		"ip route add 10.0.0.9 via 10.0.0.1 dev eth0": {name: "ip", ip: ipCommand{object: "route", what: "add",
			prefix: prefix("10.0.0.9/32"), via: addr("10.0.0.1")}},
		"ip link set dev eth0 address 02:00:00:00:00:01": {name: "ip",
			ip: ipCommand{object: "link", what: "set", mac: [6]byte{2, 0, 0, 0, 0, 1}}},
		"nc -lku 53": {name: "nc", udp: true, nc: ncCommand{listens: true, goesOn: true, port: 53}},
		"echo -n 'a  b' c | nc -w1 10.0.0.1 9": {name: "nc", text: "a  b c", timeout: time.Second,
			to: netip.MustParseAddrPort("10.0.0.1:9"), nc: ncCommand{given: true, port: 9}},
		"ping -I 10.0.0.2 10.0.0.1": {name: "ping", addr: addr("10.0.0.1"), from: addr("10.0.0.2"), count: 3},
		"ping -I eth0 10.0.0.1":     {name: "ping", addr: addr("10.0.0.1"), count: 3},
		"port set --allowed-address ip-address=10.0.0.0/8,mac-address=02:00:00:00:00:01 'vm 1'": {
			name: "port", verb: "set", port: "vm 1",
			pair: config.AddressPair{IP: prefix("10.0.0.0/8"), MAC: config.MAC{2, 0, 0, 0, 0, 1}}},
		"port set --disable-port-security vm1": {name: "port", verb: "set", port: "vm1", security: disableSecurity},
		"openstack port list":                  {name: "port", verb: "list"},
		"show drops":                           {name: "show", verb: "drops"},
	} {
		got, err := parseCommand(line, want.name != "port" && want.name != "show")
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		want.size, want.ttl, want.maxHops, want.mode = got.size, got.ttl, got.maxHops, got.mode
		if want.count == 0 {
			want.count = got.count
		}
		if *got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", line, *got, want)
		}
	}
}

func TestParseGuestCommandFaults(t *testing.T) {
	for line, want := range map[string]string{
		"dhcp again":                            "takes renew or release",
		"dig":                                   "takes a name",
		"dig @vm1 x":                            `"vm1" is not an IPv4 address`,
		"dig -x vm1":                            `option -x: "vm1" is not an address`,
		"dig +trace x":                          "unknown option +trace: there are +short, +tcp",
		"dig x y":                               `"y" is neither a name nor a type`,
		"arping vm1":                            "not an IPv4 address",
		"arping -I eth1 10.0.0.1":               "the interface eth0 alone",
		"ip":                                    "takes an object: addr, route, neigh or link",
		"ip rule":                               "takes an object",
		"ip addr add 10.0.0.1/8":                `the "dev" argument is required`,
		"ip addr add 10.0.0.1 dev eth0":         "with a length",
		"ip addr add 10.0.0.1/8 dev eth1":       `not "eth1"`,
		"ip addr add 10.0.0.1/8 via 1.1.1.1":    `is required`,
		"ip addr show 10.0.0.1":                 `"10.0.0.1" is not understood`,
		"ip addr replace 10.0.0.1/8 dev eth0":   `"replace" is not understood; usage: ip addr [show`,
		"ip route add":                          "is not a destination",
		"ip route add default via":              `"via" needs a value`,
		"ip route add default via vm1":          "not an IPv4 address",
		"ip route del ::/0":                     "is not a destination",
		"ip neigh flush":                        "flush requires arguments",
		"ip link set dev eth0 address x":        "is not a MAC address",
		"ip link set address 02:00:00:00:00:01": "not enough information",
		"nc 10.0.0.1 80":                        "there is nothing to send",
		"nc -l":                                 "-l takes a port",
		"nc -lz 80":                             "it listens with -l, or looks with -z",
		"nc -z 10.0.0.1":                        "takes an address and a port",
		"nc -z vm1 80":                          "hosts of a lab have no names",
		"nc -z 10.0.0.1 0":                      `"0" is not a port`,
		"echo hello":                            "echo is for nc: write",
		"echo hello | cat":                      `not for "cat"`,
		"echo 'hello | nc 10.0.0.1 80":          "is not closed",
		"ping -I vm1 10.0.0.1":                  "not an IPv4 address",
	} {
		if _, err := parseCommand(line, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	for line, want := range map[string]string{
		"port":                            "is not understood: there are port set, unset, list",
		"port create x":                   "is not understood",
		"port list x":                     "it takes no argument",
		"port set vm1":                    "there is nothing to set",
		"port unset vm1":                  "there is nothing to unset",
		"port set --allowed-address":      "needs a value",
		"port set --allowed-address=x vm": "is not of the form ip-address=VALUE",
		"port set --allowed-address ip-address=x vm":                      `"x" is not an IPv4 address`,
		"port set --allowed-address ip-address=10.0.0.1,mac-address=y vm": "is not a MAC address",
		"port unset --disable-port-security vm":                           "unknown option --disable-port-security",
		"port set --disable-port-security=1 vm":                           "takes no value",
		"port set --disable-port-security --enable-port-security vm":      "not both",
		"port set --disable-port-security":                                "it takes a port",
		"openstack show drops":                                            "the openstack client has no show drops",
		"show routes":                                                     "there are show nat, show drops",
	} {
		if _, err := parseCommand(line, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	unknown := steps("", "port set --disable-port-security c", "")
	topo, err := file.Parse("lesson.toml", strings.NewReader(guests+unknown))
	if err != nil {
		t.Fatal(err)
	}
	if f := Check(topo); len(f) != 1 || !strings.Contains(f.Error(), `no such port "c": there are "a", "b"`) {
		t.Errorf("got %v", f)
	}
}
