// Package routertest gives a test a topology and hosts in a few lines, without
// root and without devices:
//
//	lab := routertest.Load(t, "testdata/topology.toml")
//	client := lab.Host("ext_net", "10.10.10.4")
//	res, err := client.HTTPClient().Get("http://10.10.10.7/")
//
// Everything ends with the test: hosts and router are closed by its cleanup. Labs
// share nothing, so tests that have one each may run in parallel.
package routertest

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/router/host"
)

// A Lab is a running topology with its hosts. Its methods end the test when
// something fails, so call them from the test's own goroutine.
type Lab struct {
	// Engine is the running topology.
	Engine *router.Engine
	// Control changes it while it runs: floating IPs, members of pools, or anything else by an edit.
	Control *control.Control

	t      testing.TB
	topo   *file.Topology
	hosts  []attached
	bubble bool // it was started in a bubble of testing/synctest
}

// An attached host is one that the lab has made, and may have been closed since.
type attached struct {
	network string
	*host.Host
}

func (a *attached) isOpen() bool {
	select {
	case <-a.Done():
		return false
	default:
		return true
	}
}

// Load starts the topology in a file.
func Load(t testing.TB, path string) *Lab {
	t.Helper()
	topo, err := file.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return Start(t, topo)
}

// Parse starts a topology given as the text of a file.
func Parse(t testing.TB, text string) *Lab {
	t.Helper()
	topo, err := file.Parse(t.Name(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return Start(t, topo)
}

// Start starts a topology, which it validates first if it is made by hand.
// Its devices are not opened; hosts are attached by Host and Instance. In a test of
// testing/synctest, start it in the bubble, with the bubble's own t.
func Start(t testing.TB, topo *file.Topology) *Lab {
	t.Helper()
	if err := topo.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := topo.State()
	if err != nil {
		t.Fatal(err)
	}
	e, err := router.Start(s, router.Options{Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Lab{Engine: e, Control: control.New(e, control.Options{}), t: t, topo: topo, bubble: host.InBubble()}
}

// Host attaches a host to a network. Its address must be in one of the
// network's subnets. Its gateway is the subnet's; on an external network it is a
// router's address there, so that the host reaches the networks behind the router.
//
// An address that is taken on that network ends the test. It is taken by another host or
// instance that is attached already, by a router, a floating IP or a VIP. At the address of
// a port or an instance, the host has the MAC address of that port or instance.
func (l *Lab) Host(network, address string) *host.Host {
	l.t.Helper()
	a, err := netip.ParseAddr(address)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := range l.topo.Networks {
		n := &l.topo.Networks[i]
		for _, s := range n.Subnets {
			if n.Name != network || !s.CIDR.Contains(a) {
				continue
			}
			if owner := l.owner(network, a); owner != "" {
				l.t.Fatalf("routertest: %v on network %q is the address of %s", a, network, owner)
			}
			return l.attach(network, host.Config{
				Name: address, Address: netip.PrefixFrom(a, s.CIDR.Bits()), Gateway: l.gateway(n, &s),
				MAC: l.macFor(network, a),
			})
		}
	}
	l.t.Fatalf("routertest: no network %q with a subnet that holds %s", network, address)
	return nil
}

// owner says what has an address of a network in the topology, empty for nothing.
func (l *Lab) owner(network string, a netip.Addr) string {
	for i := range l.topo.Routers {
		r := &l.topo.Routers[i]
		for _, iface := range r.Interfaces {
			isAddress := func(p netip.Prefix) bool { return p.Addr() == a }
			if iface.Network == network && slices.ContainsFunc(iface.Addresses, isAddress) {
				return fmt.Sprintf("router %q", r.Name)
			}
		}
		isShared := func(s file.AddressRange) bool { return s.Contains(a) }
		if g := r.Gateway; g != nil && g.Network == network &&
			(g.Address == a || slices.ContainsFunc(g.SNATAddresses, isShared)) {
			return fmt.Sprintf("router %q", r.Name)
		}
	}
	for i := range l.topo.FloatingIPs {
		if f := &l.topo.FloatingIPs[i]; f.Network == network && f.Address == a {
			return "a floating IP"
		}
	}
	for i := range l.topo.VIPs {
		if v := &l.topo.VIPs[i]; v.Network == network && v.Address == a {
			return fmt.Sprintf("VIP %q", v.Name)
		}
	}
	return ""
}

// macFor is the MAC address that the topology binds to an address, zero for any.
func (l *Lab) macFor(network string, a netip.Addr) [6]byte {
	for i := range l.topo.Instances {
		if in := &l.topo.Instances[i]; in.Network == network && in.Address == a {
			return in.MAC
		}
	}
	for i := range l.topo.Ports {
		if p := &l.topo.Ports[i]; p.Network == network && p.FixedIP == a {
			return p.MAC
		}
	}
	return [6]byte{}
}

// gateway is where a host on a subnet sends everything else.
func (l *Lab) gateway(n *file.Network, s *file.Subnet) netip.Addr {
	if !n.External {
		return s.Gateway
	}
	for i := range l.topo.Routers {
		if g := l.topo.Routers[i].Gateway; g != nil && g.Network == n.Name && s.CIDR.Contains(g.Address) {
			return g.Address
		}
	}
	return netip.Addr{}
}

// Instance attaches one of the topology's instances, by its name, with what it
// serves. With dhcp it has its lease when Instance returns. An instance that is
// attached already, and not closed, ends the test.
func (l *Lab) Instance(name string) *host.Host {
	l.t.Helper()
	for i := range l.topo.Instances {
		c := &l.topo.Instances[i]
		if c.Name != name {
			continue
		}
		of := host.Config{Name: c.Name, MAC: c.MAC, Address: c.Prefix, Gateway: c.Gateway}
		if c.DHCP {
			of.Address, of.Gateway = netip.Prefix{}, netip.Addr{}
		}
		h := l.attach(c.Network, of)
		if c.DHCP {
			ctx, cancel := context.WithTimeout(l.t.Context(), leaseWait)
			_, err := h.DHCP(ctx)
			cancel()
			if err != nil {
				l.t.Fatal(err)
			}
		}
		for _, s := range c.Serve {
			serve := h.ServeName
			if s.Kind == "echo" {
				serve = h.ServeEcho
			}
			if err := serve(s.Port); err != nil {
				l.t.Fatal(err)
			}
		}
		return h
	}
	l.t.Fatalf("routertest: no instance %q", name)
	return nil
}

// leaseWait is how long an instance waits for its lease.
const leaseWait = 10 * time.Second

// attach makes a host that ends with the test.
func (l *Lab) attach(network string, c host.Config) *host.Host {
	l.t.Helper()
	if host.InBubble() != l.bubble {
		l.t.Fatal("routertest: the lab was started on the other side of a synctest bubble: " +
			"start it, and attach hosts, in the function that synctest.Test calls")
	}
	if other := l.twin(network, func(h *host.Host) bool { return h.Address() == c.Address.Addr() }); other != nil {
		l.t.Fatalf("routertest: %v on network %q is the address of host %q, which is attached already; Close ends it",
			c.Address.Addr(), network, other.Name())
	}
	for i := range l.topo.Networks {
		if l.topo.Networks[i].Name == network {
			c.MTU = l.topo.Networks[i].MTU
		}
	}
	dev, err := l.Engine.Attach(network, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	h, err := host.New(dev, c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := h.Close(); err != nil {
			l.t.Error(err)
		}
	})
	if other := l.twin(network, func(o *host.Host) bool { return bytes.Equal(o.MAC(), h.MAC()) }); other != nil {
		l.t.Fatalf("routertest: MAC address %v on network %q is that of host %q already", h.MAC(), network,
			other.Name())
	}
	l.hosts = append(l.hosts, attached{network, h})
	return h
}

// twin finds an open host on a network that has something already, nil for none.
func (l *Lab) twin(network string, same func(*host.Host) bool) *host.Host {
	for i := range l.hosts {
		if a := &l.hosts[i]; a.network == network && a.isOpen() && same(a.Host) {
			return a.Host
		}
	}
	return nil
}
