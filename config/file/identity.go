package file

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// These words keep IDs of one kind apart that are made of different tables. A port can be called like a router, and
// then the router's gateway still has another ID.
const (
	idByName     = "name"
	idByEndpoint = "endpoint"
	idByAddress  = "address"
	idByFixedIP  = "fixed_ip"
	idByNumber   = "number"
	idInterface  = "interface"
	idGateway    = "gateway"
	idInstance   = "instance"
)

// An identified is a table of the topology that stands for an object.
type identified struct {
	id    *config.ID
	kind  config.Kind
	at    func() scope
	parts func() []string // what the ID is made of; called when the IDs of earlier tables are set
}

// identify gives IDs to the tables that have none. It comes before defaults and choices are filled in, because an ID is
// made of the keys that the file has. A table with the key id has that ID instead.
func (c *checker) identify() {
	taken := map[config.ID]identified{}
	given := map[config.ID]bool{}
	c.given = given
	c.eachTable(func(t identified) {
		switch first, ok := taken[*t.id]; {
		case *t.id == "":
		case ok:
			id := *t.id
			if t.at().line < first.at().line {
				t, first = first, t
			}
			t.at().fault("id", "id %s is taken by %v", id, first.at().owner())
			*t.id, taken[id] = "", first
		default:
			if _, err := parseID(string(*t.id)); err != nil {
				t.at().fault("id", "id: %v", err)
			}
			taken[*t.id], given[*t.id] = t, true
		}
	})
	made := map[config.ID]int{}
	c.eachTable(func(t identified) {
		if *t.id != "" {
			return
		}
		parts := t.parts()
		id := config.NameID(t.kind, parts...)
		if given[id] {
			t.at().fault("", "its id would be %s, which is taken by %v; give it an id of its own", id,
				taken[id].at().owner())
		}
		// Two tables that say the same are a fault, which the check of what they say explains.
		if made[id]++; made[id] > 1 {
			id = config.NameID(t.kind, append(parts, strconv.Itoa(made[id]))...)
		}
		*t.id = id
	})
}

// eachTable calls f with every table that has an ID of its own before it is checked: parents before children.
func (c *checker) eachTable(f func(identified)) {
	named := func(id *config.ID, kind config.Kind, at func() scope, name string) {
		f(identified{id, kind, at, func() []string { return []string{name} }})
	}
	for i := range c.PhysicalNetworks {
		p := &c.PhysicalNetworks[i]
		at := c.tableAt("physical_network", "physical network", p.Name, i, len(c.PhysicalNetworks), p.Line)
		named(&p.ID, config.KindPhysicalNetwork, at, p.Name)
	}
	for i := range c.Networks {
		n := &c.Networks[i]
		at := c.tableAt("network", "network", n.Name, i, len(c.Networks), n.Line)
		named(&n.ID, config.KindNetwork, at, n.Name)
		for j := range n.Subnets {
			sub := &n.Subnets[j]
			f(identified{&sub.ID, config.KindSubnet,
				func() scope { return at().item("subnet", "subnet", "", j, len(n.Subnets), sub.Line) },
				func() []string { return []string{string(n.ID), prefixText(sub.CIDR)} }})
		}
	}
	for i := range c.AddressGroups {
		g := &c.AddressGroups[i]
		at := c.tableAt("address_group", "address group", g.Name, i, len(c.AddressGroups), g.Line)
		named(&g.ID, config.KindAddressGroup, at, g.Name)
	}
	for i := range c.SecurityGroups {
		g := &c.SecurityGroups[i]
		at := c.tableAt("security_group", "security group", g.Name, i, len(c.SecurityGroups), g.Line)
		named(&g.ID, config.KindSecurityGroup, at, g.Name)
		for j := range g.Rules {
			if r := &g.Rules[j]; r.ID != "" {
				named(&r.ID, config.KindSecurityGroupRule,
					func() scope { return at().item("rule", "rule", "", j, len(g.Rules), r.Line) }, "")
			}
		}
	}
	ports := c.gatewayPorts()
	for i := range c.Routers {
		r := &c.Routers[i]
		at := c.tableAt("router", "router", r.Name, i, len(c.Routers), r.Line)
		named(&r.ID, config.KindRouter, at, r.Name)
		for j := range r.Interfaces {
			if iface := &r.Interfaces[j]; iface.ID != "" {
				named(&iface.ID, config.KindPort, func() scope {
					return at().item("interfaces", "interface", iface.Network, j, len(r.Interfaces), iface.Line)
				}, "")
			}
		}
		if gw := r.Gateway; gw != nil && !ports[r.ID] {
			f(identified{&gw.ID, config.KindPort,
				func() scope { return at().child("gateway", gw.Line) },
				func() []string { return []string{idGateway, string(r.ID)} }})
		}
	}
	for i := range c.Ports {
		p := &c.Ports[i]
		named(&p.ID, config.KindPort, c.tableAt("port", "port", p.Name, i, len(c.Ports), p.Line), p.Name)
	}
	c.eachFloatingIP(f)
	for i := range c.Pools {
		p := &c.Pools[i]
		at := c.tableAt("pool", "pool", p.Name, i, len(c.Pools), p.Line)
		named(&p.ID, config.KindPool, at, p.Name)
		if m := p.Monitor; m != nil {
			f(identified{&m.ID, config.KindMonitor,
				func() scope { return at().child("monitor", m.Line) },
				func() []string { return []string{string(p.ID)} }})
		}
		for j := range p.Members {
			m := &p.Members[j]
			f(identified{&m.ID, config.KindMember,
				func() scope { return at().item("member", "member", m.Name, j, len(p.Members), m.Line) },
				func() []string { return m.idParts(p.ID) }})
		}
	}
	for i := range c.LoadBalancers {
		b := &c.LoadBalancers[i]
		at := c.tableAt("loadbalancer", "load balancer", b.Name, i, len(c.LoadBalancers), b.Line)
		named(&b.ID, config.KindLoadBalancer, at, b.Name)
	}
	for i := range c.VIPs {
		named(&c.VIPs[i].ID, config.KindListener, func() scope { return c.vipScope(i) }, c.VIPs[i].Name)
	}
	for i := range c.Instances {
		h := &c.Instances[i]
		f(identified{&h.ID, config.KindPort,
			func() scope { return c.instanceScope(i) },
			func() []string { return []string{idInstance, h.Name} }})
	}
}

// gatewayPorts are the routers whose gateway's port is a table of its own.
func (t *Topology) gatewayPorts() map[config.ID]bool {
	routers := map[config.ID]bool{}
	for i := range t.Ports {
		if p := &t.Ports[i]; p.DeviceOwner == config.OwnerGateway {
			routers[config.ID(p.DeviceID)] = true
		}
	}
	return routers
}

// tableAt is the scope of one of the topology's own tables, when it is asked for.
func (c *checker) tableAt(key, kind, name string, i, n, line int) func() scope {
	return func() scope { return c.root.item(key, kind, name, i, n, line) }
}

func (c *checker) eachFloatingIP(f func(identified)) {
	networks, routers := map[string]config.ID{}, map[string]config.ID{}
	ids := func() {
		for i := range c.Networks {
			setFirst(networks, c.Networks[i].Name, c.Networks[i].ID)
			setFirst(networks, string(c.Networks[i].ID), c.Networks[i].ID)
		}
		for i := range c.Routers {
			setFirst(routers, c.Routers[i].Name, c.Routers[i].ID)
			setFirst(routers, string(c.Routers[i].ID), c.Routers[i].ID)
		}
		delete(networks, "")
		delete(routers, "")
	}
	numbers := map[string]int{}
	for i := range c.FloatingIPs {
		p := &c.FloatingIPs[i]
		at := c.tableAt("floating_ip", "floating IP", addrText(p.Address), i, len(c.FloatingIPs), p.Line)
		f(identified{&p.ID, config.KindFloatingIP, at, func() []string {
			if len(networks) == 0 {
				ids()
			}
			network := string(networks[p.Network])
			switch {
			case p.Address.IsValid():
				return []string{idByAddress, network, p.Address.String()}
			case p.FixedIP.IsValid():
				return []string{idByFixedIP, network, string(routers[p.Router]), p.FixedIP.String()}
			}
			numbers[network]++
			return []string{idByNumber, network, strconv.Itoa(numbers[network])}
		}})
		for j := range p.PortForwarding {
			w := &p.PortForwarding[j]
			f(identified{&w.ID, config.KindPortForwarding,
				func() scope {
					return at().item("port_forwarding", "port forwarding", "", j, len(p.PortForwarding), w.Line)
				},
				func() []string {
					return []string{string(p.ID), strings.ToUpper(string(w.Protocol)),
						strconv.Itoa(int(w.ExternalPort))}
				}})
		}
	}
}

// idParts is what a member's ID is made of. A name that the check has made of the endpoint is none.
func (m *Member) idParts(pool config.ID) []string {
	if m.Name != "" && m.Name != m.endpoint() {
		return []string{idByName, string(pool), m.Name}
	}
	return []string{idByEndpoint, string(pool), m.endpoint()}
}

// endpoint is the name of a member without one.
func (m *Member) endpoint() string { return netip.AddrPortFrom(m.Address, m.Port).String() }

// parseID reads a UUID.
func parseID(text string) (config.ID, error) {
	const length = 36 // of the one form that the file has
	id, err := config.ParseID(text)
	if err != nil || len(text) != length {
		return "", fmt.Errorf("%q is not a UUID such as %s", clip(text, maxName), config.SettingsID)
	}
	return id, nil
}
