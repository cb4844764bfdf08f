package router

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// traceTopology has a VIP behind a floating IP, shared SNAT, and a network with a small MTU.
const traceTopology = `
[[network]]
name = "vlan100"
  [[network.subnet]]
  cidr = "172.16.100.0/24"

[[network]]
name = "vlan101"
mtu = 576
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[[network]]
name = "ext"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"

[[router]]
name = "r"
interfaces = ["vlan100", "vlan101"]
gateway = { network = "ext", address = "10.10.10.2" }
  [[router.routes]]
  destination = "192.168.20.0/24"
  nexthop = "172.16.101.254"

[nat]
no_snat = ["10.10.10.64/28"]

[[floating_ip]]
network = "ext"
address = "10.10.10.8"
  [[floating_ip.port_forwarding]]
  protocol = "TCP"
  external_port = 2222
  fixed_ip = "172.16.101.3"
  port = 22

[[pool]]
name = "web"
protocol = "TCP"
  [[pool.member]]
  name = "WEB1"
  address = "172.16.100.9"
  port = 80

[[vip]]
name = "web-vip"
network = "vlan100"
address = "172.16.100.11"
protocol = "TCP"
port = 80
pool = "web"

[[floating_ip]]
network = "ext"
address = "10.10.10.7"
fixed_ip = "172.16.100.11"
---
host vlan100 172.16.100.9
host vlan101 172.16.101.3
host ext 10.10.10.4
host ext 10.10.10.1
host ext 10.10.10.70
host vlan101 172.16.101.254
`

// traced are scenarios whose traces are golden files, testdata/trace/NAME.golden. Of a scenario's lines only
// those after "trace" are traced.
var traced = map[string]string{
	"vip": `
trace
> ext tcp 10.10.10.4:4000 > 10.10.10.7:80 S seq 1 len 0
< vlan100 tcp 10.10.10.4:4000 > 172.16.100.9:80 S seq 1 len 0 ttl 63
> vlan100 tcp 172.16.100.9:80 > 10.10.10.4:4000 S. seq 5 ack 2 len 0
< ext tcp 10.10.10.7:80 > 10.10.10.4:4000 S. seq 5 ack 2 len 0 ttl 63
> ext tcp 10.10.10.4:4000 > 10.10.10.7:80 . seq 2 ack 6 len 0
< vlan100 tcp 10.10.10.4:4000 > 172.16.100.9:80 . seq 2 ack 6 len 0 ttl 63
`,
	"snat": `
> ext arp who-has 10.10.10.2 tell 10.10.10.4
trace
> vlan101 udp 172.16.101.3:4000 > 10.10.10.4:53 len 1
< ext udp 10.10.10.2:4000 > 10.10.10.4:53 len 1 ttl 63
> ext icmp 10.10.10.4 > 10.10.10.2 type 3 code 3 about [udp 10.10.10.2:4000 > 10.10.10.4:53 len 1 ttl 63]
< vlan101 icmp 10.10.10.4 > 172.16.101.3 type 3 code 3 ttl 63 about [udp 172.16.101.3:4000 > 10.10.10.4:53 len 1 ttl 63]
> ext udp 10.10.10.4:53 > 10.10.10.2:4000 len 1
< vlan101 udp 10.10.10.4:53 > 172.16.101.3:4000 len 1 ttl 63
`,
	"origins": `
> ext arp who-has 10.10.10.2 tell 10.10.10.4
trace
> ext tcp 10.10.10.4:4000 > 10.10.10.8:2222 S seq 1 len 0
< vlan101 tcp 10.10.10.4:4000 > 172.16.101.3:22 S seq 1 len 0 ttl 63
> vlan101 udp 172.16.101.3:4000 > 10.10.10.70:53 len 1
< ext udp 172.16.101.3:4000 > 10.10.10.70:53 len 1 ttl 63
> vlan100 udp 172.16.100.9:4000 > 192.168.20.7:53 len 1
< vlan101 udp 172.16.100.9:4000 > 192.168.20.7:53 len 1 ttl 63
> vlan101 udp 172.16.101.3:4000 > 198.51.100.7:53 len 1
< ext udp 10.10.10.2:4000 > 198.51.100.7:53 len 1 ttl 63
`,
	"error": `
trace
> vlan101 udp 172.16.101.3:4000 > 172.16.100.9:53 len 1 ttl 1
< vlan101 icmp 172.16.101.1 > 172.16.101.3 type 11 tos 192 about [udp 172.16.101.3:4000 > 172.16.100.9:53 len 1 ttl 1]
> vlan100 udp 172.16.100.9:4000 > 172.16.101.3:53 len 1000 df
< vlan100 icmp 172.16.100.1 > 172.16.100.9 type 3 code 4 mtu 576 tos 192 about [udp 172.16.100.9:4000 > 172.16.101.3:53 df len 1000 cut 548]
drops ttl=1 too-big=1
`,
	"dropped": `
trace
> ext udp 10.10.10.4:4000 > 172.16.101.3:53 len 1
> vlan101 udp 172.16.100.9:4000 > 10.10.10.4:53 len 1
> vlan101 tcp 172.16.101.3:4000 > 10.10.10.2:22 S seq 1 len 0
< vlan101 tcp 10.10.10.2:22 > 172.16.101.3:4000 R. seq 0 ack 2 win 0 len 0
> ext raw 0x86dd 60
drops policy=1 martian-source=1 refused=1 ethertype=1
`,
	"waits": `
trace
> vlan101 udp 172.16.101.3:4000 > 172.16.100.77:53 len 1
tick 4s
< vlan101 icmp 172.16.101.1 > 172.16.101.3 type 3 code 1 tos 192 about [udp 172.16.101.3:4000 > 172.16.100.77:53 len 1]
drops neighbor-failed=1
`,
	"fragment": `
trace
> vlan100 udp 172.16.100.9 > 172.16.101.3 id 7 off 16 len 8
> vlan100 udp 172.16.100.9:4000 > 172.16.101.3:53 id 7 more len 8 of 16
< vlan101 udp 172.16.100.9:4000 > 172.16.101.3:53 id 7 more len 8 of 16 ttl 63
< vlan101 udp 172.16.100.9 > 172.16.101.3 id 7 off 16 len 8 ttl 63
> vlan100 udp 172.16.100.9:4000 > 172.16.101.3:53 len 1000 id 8
< vlan101 udp 172.16.100.9:4000 > 172.16.101.3:53 id 8 more len 544 of 1000 ttl 63
< vlan101 udp 172.16.100.9 > 172.16.101.3 id 8 off 552 len 456 ttl 63
`,
	"arp": `
trace
> ext arp who-has 10.10.10.7 tell 10.10.10.4
> ext arp who-has 10.10.10.9 tell 10.10.10.4
> ext arp who-has 10.10.10.7 tell 10.10.10.2
drops arp-sender=1
`,
	"switch": `
trace
> vlan100 via 172.16.100.9 arp reply 172.16.100.9 is-at 01:00:00:00:00:01 for 172.16.100.1
drops source-mac=1
`,
}

func TestGoldenTrace(t *testing.T) {
	for name, lines := range traced {
		t.Run(name, func(t *testing.T) {
			c, err := runScenario(t, name, traceTopology+lines)
			if err != nil {
				t.Fatalf("%v\n%s", err, c.trace.String())
			}
			path, got := filepath.Join("testdata", "trace", name+".golden"), c.trace.String()
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s: %s\nIf this is meant to be: make golden, and explain it in the commit.",
					path, firstLine(got, string(want)))
			}
		})
	}
}

// firstLine says where two texts differ.
func firstLine(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
