package router

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/dns"
)

// A nameServer answers DNS for the hosts of one network. It implements service.Names.
type nameServer struct {
	network   config.ID
	upstreams *upstreams
}

// Answer implements service.Names.
func (s *nameServer) Answer(ctx context.Context, message []byte, from netip.Addr) []byte {
	server, v := s.now(from)
	return server.Serve(ctx, dns.Query{Message: message, From: from}, v)
}

// ServeConn implements service.Names.
func (s *nameServer) ServeConn(ctx context.Context, conn net.Conn, from netip.Addr) {
	server, v := s.now(from)
	server.ServeConn(ctx, conn, from, v)
}

// now is what answers a host at present: by names of ports, and by other servers if the State names any.
func (s *nameServer) now(from netip.Addr) (*dns.Server, dns.View) {
	state := s.upstreams.e.State()
	return &dns.Server{Forward: s.upstreams.forwarder(state, s.network, from)}, newNames(state, s.network)
}

// names are what the hosts of one network may see: the names of ports on that network and on those that a router of it
// joins. It implements dns.View. Names are looked up in the State.
type names struct {
	state    *config.State
	networks []*config.Network // the asker's first
}

func newNames(s *config.State, network config.ID) *names {
	v := &names{state: s}
	add := func(id config.ID) {
		n := s.Network(id)
		if n != nil && !n.External && !slices.Contains(v.networks, n) {
			v.networks = append(v.networks, n)
		}
	}
	add(network)
	for p := range s.InterfacesOn(network) {
		for i := range s.InterfacesOf(config.ID(p.DeviceID)) {
			add(i.Network)
		}
	}
	return v
}

// domainOf is the domain of the names of a network's ports.
func domainOf(n *config.Network) string {
	if x := n.Extra; x != nil && x.DNSDomain != "" {
		return strings.ToLower(strings.TrimSuffix(x.DNSDomain, "."))
	}
	return config.DefaultDNSDomain
}

// Addresses implements dns.View.
func (v *names) Addresses(name string) []netip.Addr {
	label, domain, whole := strings.Cut(name, ".")
	for _, n := range v.networks {
		if whole && domain != domainOf(n) {
			continue
		}
		if all := v.on(n, label); len(all) > 0 {
			return all
		}
	}
	return nil
}

// on are the addresses of the ports of a network that have a name.
func (v *names) on(n *config.Network, label string) []netip.Addr {
	var all []netip.Addr
	for p := range v.state.PortsNamed(n.ID, label) {
		for _, f := range p.FixedIPs {
			all = append(all, f.Address)
		}
	}
	if len(all) > 0 || !strings.HasPrefix(label, madeName) {
		return all
	}
	a, err := netip.ParseAddr(strings.ReplaceAll(strings.TrimPrefix(label, madeName), "-", "."))
	if err != nil {
		return nil
	}
	if p, ok := v.state.Owner(n.ID, a).(*config.Port); ok && hostnameOf(p) == label {
		return []netip.Addr{a}
	}
	return nil
}

// Domain implements dns.View.
func (v *names) Domain(name string) string {
	longest := ""
	for _, n := range v.networks {
		d := domainOf(n)
		if (name == d || strings.HasSuffix(name, "."+d)) && len(d) > len(longest) {
			longest = d
		}
	}
	return longest
}

// Name implements dns.View.
func (v *names) Name(a netip.Addr) string {
	for _, n := range v.networks {
		if p, ok := v.state.Owner(n.ID, a).(*config.Port); ok && !isServicePort(p) {
			return strings.ToLower(hostnameOf(p)) + "." + domainOf(n)
		}
	}
	return ""
}

// Inside implements dns.View.
func (v *names) Inside(a netip.Addr) bool {
	return slices.ContainsFunc(v.networks, func(n *config.Network) bool { return v.state.SubnetAt(n.ID, a) != nil })
}
