package control_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// A fake is an engine that keeps a State, and counts what it is asked to do.
type fake struct {
	state                          *config.State
	closed                         bool
	fails                          error // what Prepare fails with
	refuses                        func(*config.State) bool
	counts                         []router.Count
	counted                        int
	prepared, committed, discarded int
}

type preparation struct {
	e  *fake
	to *config.State
}

func (e *fake) State() *config.State { return e.state }

func (e *fake) Prepare(_ context.Context, to *config.State) (control.Prepared, error) {
	if e.closed {
		return nil, fmt.Errorf("fake: %w", os.ErrClosed)
	}
	if e.fails != nil {
		return nil, e.fails
	}
	if e.refuses != nil && e.refuses(to) {
		return nil, errNo
	}
	if e.prepared != e.committed+e.discarded {
		panic("two changes at a time")
	}
	e.prepared++
	return &preparation{e, to}, nil
}

func (p *preparation) Counts() []router.Count {
	p.e.counted++
	return p.e.counts
}

func (p *preparation) Commit()  { p.e.state, p.e.committed = p.to, p.e.committed+1 }
func (p *preparation) Discard() { p.e.discarded++ }

// tutorial is a tenant's hosts, web and name servers behind one VIP address, floating IPs, and a second tenant with
// the same addresses.
const tutorial = `
[[network]]
name = "vlan100"
  [[network.subnet]]
  cidr = "172.16.100.0/24"

[[network]]
name = "vlan101"
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[[network]]
name = "ext_net"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"
  allocation_pools = ["10.10.10.2-10.10.10.21"]

[[router]]
name = "router_100_101"
interfaces = ["vlan100", "vlan101"]
gateway = { network = "ext_net", address = "10.10.10.2" }

[[port]]
name = "gw"
network = "ext_net"
fixed_ip = "10.10.10.30"

[[port]]
name = "cirros-vm3"
network = "vlan101"
fixed_ip = "172.16.101.3"

[[floating_ip]]
network = "ext_net"
address = "10.10.10.3"
fixed_ip = "172.16.101.3"

[[floating_ip]]
network = "ext_net"
address = "10.10.10.7"
fixed_ip = "172.16.100.11"

[[floating_ip]]
network = "ext_net"
address = "10.10.10.8"
  [[floating_ip.port_forwarding]]
  protocol = "TCP"
  external_port = 2222
  fixed_ip = "172.16.101.4"
  port = 22

[[floating_ip]]
network = "ext_net"
address = "10.10.10.9"

[[pool]]
name = "web servers"
protocol = "TCP"
  [[pool.member]]
  name = "WEB1"
  address = "172.16.100.9"
  port = 80
  [[pool.member]]
  name = "WEB2"
  address = "172.16.100.10"
  port = 80
  [[pool.member]]
  name = "outside"
  address = "10.10.10.12"
  port = 80

[[pool]]
name = "name servers"
protocol = "UDP"
  [[pool.member]]
  address = "172.16.100.9"
  port = 53

[[vip]]
name = "web-vip"
network = "vlan100"
address = "172.16.100.11"
protocol = "TCP"
port = 80
pool = "web servers"

[[vip]]
name = "dns-vip"
network = "vlan100"
address = "172.16.100.11"
protocol = "UDP"
port = 53
pool = "name servers"
`

// second is another tenant, with its own router on the same external network, and the same addresses inside.
const second = `
[[network]]
name = "other"
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[[router]]
name = "second"
interfaces = ["other"]
gateway = { network = "ext_net", address = "10.10.10.20" }
`

func parse(t testing.TB, text string) *config.State {
	t.Helper()
	f, err := file.Read("lab.toml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f.State()
}

// start returns the Control of a fake engine.
func start(t testing.TB, text string) (*control.Control, *fake) {
	e := &fake{state: parse(t, text)}
	ids := 0
	return control.NewFor(e, control.Options{
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
		NewID: func() config.ID {
			ids++
			return config.NewID([16]byte{byte(ids >> 8), byte(ids)})
		},
	}), e
}

func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// floating is a floating IP's fixed address and its router's name.
func floating(t *testing.T, c *control.Control, a string) string {
	t.Helper()
	text := "none"
	for _, f := range c.FloatingIPs() {
		if f.Address != addr(a) {
			continue
		}
		if text != "none" {
			t.Errorf("%s is there twice", a)
		}
		text = "free"
		if f.FixedIP.IsValid() {
			text = fmt.Sprintf("%v by %s", f.FixedIP, f.Router)
		} else if f.Router != "" && f.Forwarded == 0 {
			t.Errorf("%s is not associated, but at %s", a, f.Router)
		}
	}
	return text
}
