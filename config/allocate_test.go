package config_test

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// lab is a Draft of one router with a gateway, one tenant network, and nothing else.
func lab() *config.Draft {
	d := config.Empty().Edit()
	d.Put(
		&config.Network{Meta: meta("out"), External: true},
		&config.Subnet{Meta: meta("out1"), Network: id("out"), CIDR: netip.MustParsePrefix("192.0.2.0/24"),
			Gateway: addr(192, 0, 2, 1)},
		&config.Network{Meta: meta("in")},
		&config.Subnet{Meta: meta("in1"), Network: id("in"), CIDR: netip.MustParsePrefix("10.0.0.0/24"),
			Gateway: addr(10, 0, 0, 1)},
		&config.Router{Meta: meta("r"), Gateway: &config.Gateway{Network: id("out"), SNAT: true}},
		&config.Port{Meta: meta("r-in"), Network: id("in"), DeviceOwner: config.OwnerInterface,
			DeviceID: string(id("r")),
			FixedIPs: []config.FixedIP{{Subnet: id("in1")}}},
	)
	return d
}

func floating(name string, address, fixed netip.Addr) *config.FloatingIP {
	return &config.FloatingIP{Meta: meta(name), Network: id("out"), Address: address, FixedIP: fixed}
}

var none netip.Addr

func TestChosenStaysChosen(t *testing.T) {
	d := lab()
	d.Put(floating("a", none, addr(10, 0, 0, 5)), floating("b", none, none), floating("c", addr(192, 0, 2, 3), none))
	s := mustCheck(t, d)
	// .1 is the subnet's gateway, .2 went to the router, .3 was asked for by name.
	a, b := s.FloatingIP(id("a")), s.FloatingIP(id("b"))
	if a.Address != addr(192, 0, 2, 4) || a.Router != id("r") || b.Address != addr(192, 0, 2, 5) || b.Router != "" {
		t.Fatalf("a is %+v, b %+v", a, b)
	}
	p, g := s.Port(id("r-in")), s.GatewayPort(id("r"))
	if p.FixedIPs[0].Address != addr(10, 0, 0, 1) || g.FixedIPs[0].Address != addr(192, 0, 2, 2) {
		t.Errorf("the router has %v and %v", p.FixedIPs, g.FixedIPs)
	}
	// Files with these names have had these MACs from the first version on.
	for network, m := range map[string]config.MAC{"in": p.MAC, "out": g.MAC} {
		sum := sha256.Sum256([]byte("r\x00" + network + "\x000"))
		if want := (config.MAC{0xfa, 0x16, 0x3e, sum[0], sum[1], sum[2]}); m != want {
			t.Errorf("the router's MAC on %s is %v, want %v", network, m, want)
		}
	}

	e := s.Edit()
	e.Delete(config.Ref{Kind: config.KindFloatingIP, ID: id("c")})
	e.Put(floating("a", none, addr(10, 0, 0, 6)), floating("b", none, none))
	q := *p
	q.MAC, q.FixedIPs = config.MAC{}, []config.FixedIP{{}}
	e.Put(&q)
	next := mustCheck(t, e)
	if got := next.FloatingIP(id("a")); got.Address != a.Address || got.Router != id("r") {
		t.Errorf("a has moved: %+v", got)
	}
	for _, c := range config.Diff(s, next) {
		if c.Ref.ID == id("b") || c.Ref.ID == id("r-in") {
			t.Errorf("%v has changed: %+v", c.Ref, c.After)
		}
	}
}

// An address that was chosen for an object makes way for another object that names it, when the first is put again.
func TestChosenMakesWay(t *testing.T) {
	d := lab()
	d.Put(floating("a", none, none))
	s := mustCheck(t, d)
	was := s.FloatingIP(id("a")).Address
	e := s.Edit()
	e.Put(floating("b", was, none))
	if _, faults := e.Check(); len(faults.Errors()) != 1 || faults[0].Code != config.Taken ||
		faults[0].Ref.ID != id("b") {
		t.Errorf("an address that a has: %v", faults)
	}
	e.Put(floating("a", none, none))
	next := mustCheck(t, e)
	if a, b := next.FloatingIP(id("a")).Address, next.FloatingIP(id("b")).Address; b != was || a == was ||
		!a.IsValid() {
		t.Errorf("a has %v, b %v", a, b)
	}
}

func TestClaimedIsPassedOver(t *testing.T) {
	d := lab()
	d.Claimed = func(network config.ID, a netip.Addr) bool { return network == id("out") && a.As4()[3] < 9 }
	d.Put(floating("a", none, none), floating("b", addr(192, 0, 2, 7), none))
	s := mustCheck(t, d)
	if a := s.FloatingIP(id("a")).Address; a != addr(192, 0, 2, 10) {
		t.Errorf("a has %v", a) // .9 went to the router
	}
	if b := s.FloatingIP(id("b")).Address; b != addr(192, 0, 2, 7) {
		t.Errorf("b has %v", b)
	}
}

// An address that is leased to a host is not given to an object by name, unless the object is the host's port.
func TestLeasedAddresses(t *testing.T) {
	host := config.MAC{2, 0, 0, 0, 0, 9}
	leased := addr(10, 0, 0, 77)
	port := func(name string, m config.MAC, a netip.Addr) *config.Port {
		return &config.Port{Meta: meta(name), Network: id("in"), MAC: m, FixedIPs: []config.FixedIP{{Address: a}}}
	}
	holder := func(network config.ID, a netip.Addr) (config.MAC, bool) {
		return host, network == id("in") && a == leased
	}
	d := lab()
	d.Holder = holder
	d.Put(port("a", config.MAC{2, 0, 0, 0, 0, 1}, leased))
	_, faults := d.Check()
	if len(faults.Errors()) != 1 || faults[0].Code != config.Taken || faults[0].Field != "fixed_ips[0]" ||
		!strings.Contains(faults[0].Message, "10.0.0.77 is leased to the host with MAC address 02:00:00:00:00:09") {
		t.Errorf("faults: %v", faults)
	}
	d = lab()
	d.Holder = holder
	d.Put(port("a", host, leased), port("b", config.MAC{2, 0, 0, 0, 0, 1}, addr(10, 0, 0, 78)))
	s := mustCheck(t, d)
	// What an object has had before is its own, whatever is said of it.
	d = s.Edit()
	d.Holder = func(config.ID, netip.Addr) (config.MAC, bool) { return config.MAC{2, 0, 0, 0, 0, 8}, true }
	p := *s.Port(id("b"))
	p.Description = "changed"
	d.Put(&p)
	mustCheck(t, d)
}

// A router has one MAC address on a network, whatever the network knows already is passed over.
func TestMACsOfRouters(t *testing.T) {
	s := mustCheck(t, lab())
	m := s.Port(id("r-in")).MAC
	d := lab()
	d.Put(&config.Port{Meta: meta("vm"), Network: id("in"), MAC: m, FixedIPs: []config.FixedIP{{}}},
		&config.Subnet{Meta: meta("in2"), Network: id("in"), CIDR: netip.MustParsePrefix("10.0.1.0/24"),
			Gateway: addr(10, 0, 1, 1)},
		&config.Port{Meta: meta("r-in2"), Network: id("in"), DeviceOwner: config.OwnerInterface,
			DeviceID: string(id("r")),
			FixedIPs: []config.FixedIP{{Subnet: id("in2")}}})
	s = mustCheck(t, d)
	p, q := s.Port(id("r-in")), s.Port(id("r-in2"))
	if p.MAC == m || p.MAC != q.MAC {
		t.Errorf("MACs %v and %v, and a host has %v", p.MAC, q.MAC, m)
	}
	if s.Port(id("vm")).FixedIPs[0].Address != addr(10, 0, 0, 2) {
		t.Errorf("the host has %v", s.Port(id("vm")).FixedIPs)
	}
}

func TestGatewayPortComesAndGoes(t *testing.T) {
	s := mustCheck(t, lab())
	d := s.Edit()
	r := *s.Router(id("r"))
	r.Gateway = nil
	d.Put(&r)
	s = mustCheck(t, d)
	if p := s.GatewayPort(id("r")); p != nil || s.Owner(id("out"), addr(192, 0, 2, 2)) != nil {
		t.Errorf("the gateway has gone, its port has not: %+v", p)
	}
	d = s.Edit()
	r.Gateway = &config.Gateway{Network: id("out")}
	d.Put(&r)
	if s = mustCheck(t, d); s.GatewayPort(id("r")) == nil {
		t.Error("the gateway has no port")
	}
}

// A gateway whose port is deleted gets another one. That port chooses its address at the router's turn, whenever the
// former one was deleted.
func TestGatewayPortIsMadeAgain(t *testing.T) {
	s := mustCheck(t, lab())
	was := s.GatewayPort(id("r")).Ref()
	for _, test := range []struct {
		name          string
		order         []string
		router, other netip.Addr
	}{
		{"router first", []string{"router", "other", "delete"}, addr(192, 0, 2, 2), addr(192, 0, 2, 3)},
		{"router last", []string{"delete", "other", "router"}, addr(192, 0, 2, 3), addr(192, 0, 2, 2)},
		{"router between", []string{"delete", "router", "other"}, addr(192, 0, 2, 2), addr(192, 0, 2, 3)},
	} {
		d := s.Edit()
		for _, what := range test.order {
			switch what {
			case "router":
				r := *s.Router(id("r"))
				r.Description = "another"
				d.Put(&r)
			case "other":
				d.Put(floating("a", none, none))
			case "delete":
				d.Delete(was)
			}
		}
		next := mustCheck(t, d)
		p := next.GatewayPort(id("r"))
		if got := next.FloatingIP(id("a")).Address; p.FixedIPs[0].Address != test.router || got != test.other {
			t.Errorf("%s: the router has %v, the floating IP %v", test.name, p.FixedIPs, got)
		}
	}
}

func TestInUse(t *testing.T) {
	d := lab()
	d.Put(floating("a", none, addr(10, 0, 0, 5)),
		&config.Pool{Meta: meta("p"), Protocol: config.TCP},
		&config.LoadBalancer{Meta: meta("lb"), Network: id("in"), Address: addr(10, 0, 0, 9)},
		&config.Listener{Meta: meta("web"), LoadBalancer: id("lb"), Protocol: config.TCP, Port: 80, Pool: id("p")})
	s := mustCheck(t, d)
	ref := func(k config.Kind, name string) config.Ref { return config.Ref{Kind: k, ID: id(name)} }
	for _, test := range []struct {
		what config.Ref
		by   string
	}{
		{ref(config.KindNetwork, "in"), `router "r": interface "in"`},
		{ref(config.KindNetwork, "out"), "floating IP 192.0.2.3"},
		{ref(config.KindSubnet, "in1"), `router "r": interface "in"`},
		{ref(config.KindRouter, "r"), `router "r"`},
		{ref(config.KindPool, "p"), `VIP "web"`},
		{ref(config.KindPort, "r-in"), `router "r" does not reach 10.0.0.5`},
		{s.GatewayPort(id("r")).Ref(), `router "r"`},
	} {
		e := s.Edit()
		e.Delete(test.what)
		next, faults := e.Check()
		named := func(f config.Fault) bool { return f.Code == config.InUse && strings.Contains(f.Message, test.by) }
		if next != nil || !slices.ContainsFunc(faults, named) {
			t.Errorf("%v was deleted, which %s uses: %v", test.what.Kind, test.by, faults)
		}
	}
	e := s.Edit()
	for o := range s.All() {
		e.Delete(o.Ref())
	}
	if next := mustCheck(t, e); len(config.Diff(next, config.Empty())) != 0 {
		t.Error("something is left")
	}
}

// A load balancer without a router is legal, and gets the first one that comes.
func TestLoadBalancerWaitsForARouter(t *testing.T) {
	d := lab()
	d.Delete(config.Ref{Kind: config.KindPort, ID: id("r-in")})
	d.Put(&config.LoadBalancer{Meta: meta("lb"), Network: id("in")})
	s, faults := d.Check()
	if s == nil || len(faults.Warnings()) == 0 || s.LoadBalancer(id("lb")).Router != "" {
		t.Fatalf("%v", faults)
	}
	e := s.Edit()
	e.Put(&config.Port{Meta: meta("r-in"), Network: id("in"), DeviceOwner: config.OwnerInterface,
		DeviceID: string(id("r")),
		FixedIPs: []config.FixedIP{{Subnet: id("in1")}}})
	s = mustCheck(t, e)
	if b := s.LoadBalancer(id("lb")); b.Router != id("r") || b.Address != addr(10, 0, 0, 2) {
		t.Errorf("%+v", b)
	}
}

// One State may be edited by several goroutines at once. It is the race detector that sees whether it may.
func TestOneStateManyEdits(t *testing.T) {
	s := mustCheck(t, lab())
	var done sync.WaitGroup
	for i := range 8 {
		done.Go(func() {
			t := s
			for k := range 20 {
				d := t.Edit()
				d.Put(floating(string(rune('a'+k)), none, addr(10, 0, 0, 10+i)))
				d.Put(&config.Port{Meta: meta("p" + string(rune('a'+k))), Network: id("in"),
					FixedIPs: []config.FixedIP{{}}})
				if next, _ := d.Check(); next != nil {
					t = next
				}
			}
		})
	}
	done.Wait()
	if s.Count(config.KindFloatingIP) != 0 || s.Count(config.KindPort) != 2 {
		t.Error("the edits show in the State that was edited")
	}
}

// A program may make a subnet with DHCP before there is a gateway.
func TestDHCPNeedsNoGateway(t *testing.T) {
	d := config.Empty().Edit()
	d.Put(&config.Network{Meta: meta("a")},
		&config.Subnet{Meta: meta("a1"), Network: id("a"), CIDR: netip.MustParsePrefix("10.0.0.0/24"), DHCP: true})
	if p := mustCheck(t, d).DHCPPort(id("a")); p == nil || p.FixedIPs[0].Address != addr(10, 0, 0, 1) {
		t.Errorf("the server has %+v", p)
	}
}

// A load balancer that is put as it is may lose its router like one that is not put: no State refers to what has gone.
func TestUnchangedBalancerLosesItsRouter(t *testing.T) {
	d := lab()
	d.Put(&config.LoadBalancer{Meta: meta("b"), Network: id("in"), Address: addr(10, 0, 0, 9)})
	s := mustCheck(t, d)
	e := s.Edit()
	same := *s.LoadBalancer(id("b"))
	if same.Router != id("r") {
		t.Fatalf("router %q", same.Router)
	}
	e.Put(&same)
	e.Delete(config.Ref{Kind: config.KindPort, ID: id("r-in")}, config.Ref{Kind: config.KindRouter, ID: id("r")})
	if next := mustCheck(t, e); next.LoadBalancer(id("b")).Router != "" {
		t.Errorf("it has a router that there is not: %+v", next.LoadBalancer(id("b")))
	}
}
