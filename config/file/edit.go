package file

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// edit puts the objects into a Draft: see File.Edit. The State is the one that the objects make alone, nil if that is
// unknown.
func (ds *declarations) edit(d *config.Draft, alone *config.State, r *report, over Over) ([]Notice, error) {
	e := &editing{declarations: ds, d: d, over: over, alone: alone}
	if p := over.Previous; p != nil {
		e.previous, e.usual = p.declared, p.state
	}
	e.tell(d)
	e.vanish()
	e.moveServers()
	if r != nil {
		e.checkNames()
	}
	if len(e.faults) > 0 {
		return nil, e.faults
	}
	for i := range ds.list {
		e.put(&ds.list[i])
	}
	return e.notices, nil
}

// An editing is an edit under way.
type editing struct {
	*declarations
	d            *config.Draft
	over         Over
	previous     *declarations // nil: none
	alone, usual *config.State // of this file alone, and of the previous one; may be nil

	gone    map[config.Ref]bool // objects that are to go
	notices []Notice
	faults  config.Faults
}

// before is the previous file's declaration of an object, nil if there is none.
func (e *editing) before(r config.Ref) *declaration {
	if e.previous == nil {
		return nil
	}
	return e.previous.by[r]
}

// isFileOwned says whether a file has declared an object before this one.
func (e *editing) isFileOwned(o config.Object) bool {
	return isFiles(o.About().Source) || e.before(o.Ref()) != nil
}

// isFiles says whether an object comes from a file, and not from a request.
func isFiles(s config.Source) bool { return s.File != "" || s.Line > 0 }

// A need is what stands in the way of an object that is to go.
type need struct {
	o     config.Object        // that needs it
	what  config.Object        // that is to go
	field string               // of o, which can be cleared; empty: o goes, too
	clear func() config.Object // o without the field
}

// vanish takes away what a file had declared and this one does not. What programs have made on it is a fault, or goes
// with it.
func (e *editing) vanish() {
	e.gone = map[config.Ref]bool{}
	var list []config.Object
	for o := range e.d.All() {
		if q, ok := o.(*config.Quota); ok && e.by[o.Ref()] == nil && e.isFileOwned(o) && e.leaveQuota(q) {
			continue
		}
		if e.by[o.Ref()] == nil && e.isFileOwned(o) {
			e.gone[o.Ref()] = true
			list = append(list, o)
		}
	}
	for i := 0; i < len(list); i++ { // it grows
		for _, n := range e.needs(list[i]) {
			switch r := n.o.Ref(); {
			case e.gone[r]:
			case e.by[r] != nil && (n.clear == nil || e.isReplaced(n)):
				// The file has it, so the check says what is wrong with it.
			case !e.over.Cascade:
				e.refuse(n)
			case n.clear == nil:
				e.gone[r] = true
				list = append(list, n.o)
				e.note(n.o, "", "%s is deleted with %s", e.call(n.o), e.call(n.what))
			default:
				e.d.Put(n.clear())
				e.note(n.o, n.field, "%s: %s is cleared, because %s goes", e.call(n.o), n.field, e.call(n.what))
			}
		}
	}
	if len(e.faults) > 0 {
		return
	}
	for r := range e.gone {
		e.d.Delete(r)
	}
}

// moveServers has the DHCP servers of networks choose other addresses where the file gives theirs to something else.
func (e *editing) moveServers() {
	type at struct {
		network config.ID
		address netip.Addr
	}
	named := map[at]bool{}
	for i := range e.list {
		switch o := e.list[i].object.(type) {
		case *config.Port:
			for _, f := range o.FixedIPs {
				named[at{o.Network, f.Address}] = true
			}
		case *config.FloatingIP:
			named[at{o.Network, o.Address}] = true
		case *config.LoadBalancer:
			named[at{o.Network, o.Address}] = true
		}
	}
	for n := range e.d.Networks() {
		p := e.d.DHCPPort(n.ID)
		if p == nil || e.by[p.Ref()] != nil {
			continue
		}
		if slices.ContainsFunc(p.FixedIPs, func(f config.FixedIP) bool { return named[at{n.ID, f.Address}] }) {
			e.d.Delete(p.Ref())
		}
	}
}

// isReplaced says whether the file puts another value in the place of the one that leads to what is to go: this file or
// the previous one states it.
func (e *editing) isReplaced(n need) bool {
	is, was := e.by[n.o.Ref()], e.before(n.o.Ref())
	if n.field != groupsField {
		return is.states(n.field) || was.states(n.field)
	}
	return was != nil && slices.Contains(groupsOf(was.object), n.what.About().ID)
}

// leaveQuota takes the limits of the previous file out of the quota, which the file no longer has. It reports whether
// limits are left: they are the programs'.
func (e *editing) leaveQuota(q *config.Quota) bool {
	before := e.before(q.Ref())
	if before == nil {
		return false
	}
	c := *q
	c.Source = config.Source{}
	c.Limits = slices.DeleteFunc(slices.Clone(q.Limits), func(l config.Limit) bool { return before.states(l.Resource) })
	if len(c.Limits) > 0 {
		e.d.Put(&c)
	}
	return len(c.Limits) > 0
}

// refuse reports a need.
func (e *editing) refuse(n need) {
	for _, f := range e.faults {
		if f.Ref == n.o.Ref() && f.Field == n.field {
			return
		}
	}
	what := "delete it first"
	if n.field != "" {
		what = "clear its " + n.field + " first"
	}
	e.faults = append(e.faults, config.Fault{
		Ref: n.o.Ref(), Field: n.field, Code: config.InUse, Source: n.what.About().Source,
		Message: fmt.Sprintf("%s, which the API has made, needs %s, which is no longer in the file; %s, or apply the "+
			"file with --cascade", e.call(n.o), e.call(n.what), what),
	})
}

func (e *editing) note(o config.Object, field, format string, args ...any) {
	e.notices = append(e.notices, Notice{o.Ref(), field, fmt.Sprintf(format, args...)})
}

// call is how people call an object of the Draft.
func (e *editing) call(o config.Object) string {
	if _, ok := e.d.Base().Get(o.Ref()); ok {
		return e.d.Base().Call(o)
	}
	if t := e.by[o.Ref()]; t != nil {
		return t.at.subject
	}
	return fmt.Sprintf("%v %q", o.Ref().Kind, o.About().Name)
}

// needs lists what depends on an object.
func (e *editing) needs(o config.Object) []need {
	d, id := e.d, o.About().ID
	var list []need
	add := func(p config.Object) { list = append(list, need{o: p, what: o}) }
	switch o := o.(type) {
	case *config.PhysicalNetwork:
		for n := range d.NetworksOf(id) {
			list = append(list, need{n, o, "physical_network", func() config.Object {
				c := *n
				c.PhysicalNetwork = ""
				return &c
			}})
		}
	case *config.Network:
		for p := range d.SubnetsOf(id) {
			add(p)
		}
		for p := range d.PortsOf(id) {
			if p.DeviceOwner != config.OwnerGateway && p.DeviceOwner != config.OwnerDHCP {
				add(p)
			}
		}
		for p := range d.FloatingIPsOn(id) {
			add(p)
		}
		for p := range d.LoadBalancersOn(id) {
			add(p)
		}
		for r := range d.GatewaysOn(id) {
			list = append(list, e.gatewayNeed(r, o))
		}
	case *config.Subnet:
		for p := range d.PortsOf(o.Network) {
			for _, f := range p.FixedIPs {
				if f.Subnet == id && p.DeviceOwner != config.OwnerGateway && p.DeviceOwner != config.OwnerDHCP {
					add(p)
					break
				}
			}
		}
	case *config.Router:
		for p := range d.InterfacesOf(id) {
			add(p)
		}
		if p := d.GatewayPort(id); p != nil {
			add(p)
		}
		for p := range d.FloatingIPsOf(id) {
			add(p)
		}
	case *config.Port:
		e.floatingNeeds(o, add)
		if b := d.LoadBalancerAt(id); b != nil {
			list = append(list, need{b, o, "port", func() config.Object {
				c := *b
				c.Port = ""
				return &c
			}})
		}
	case *config.AddressGroup:
		for r := range d.RulesFromAddresses(id) {
			add(r)
		}
	case *config.SecurityGroup:
		list = append(list, e.groupNeeds(o)...)
	case *config.FloatingIP:
		for p := range d.ForwardingsOf(id) {
			add(p)
		}
	case *config.Pool:
		for p := range d.MembersOf(id) {
			add(p)
		}
		if p := d.MonitorOf(id); p != nil {
			add(p)
		}
		for l := range d.ListenersUsing(id) {
			list = append(list, need{l, o, "pool", func() config.Object {
				c := *l
				c.Pool = ""
				return &c
			}})
		}
	case *config.LoadBalancer:
		for p := range d.ListenersOf(id) {
			add(p)
		}
		for p := range d.PoolsOf(id) {
			add(p)
		}
	}
	return list
}

// gatewayNeed is a router's gateway on a network.
func (e *editing) gatewayNeed(r *config.Router, network config.Object) need {
	return need{r, network, "gateway", func() config.Object {
		c := *r
		c.Gateway = nil
		if p := e.d.GatewayPort(r.ID); p != nil {
			e.d.Delete(p.Ref())
		}
		return &c
	}}
}

// groupsField is the field of ports and load balancers that has their security groups.
const groupsField = "security_groups"

// groupsOf are the security groups of an object.
func groupsOf(o config.Object) []config.ID {
	switch o := o.(type) {
	case *config.Port:
		return o.SecurityGroups
	case *config.LoadBalancer:
		return o.SecurityGroups
	}
	return nil
}

// groupNeeds lists what depends on a security group: its rules, rules of others that are about its ports, and the ports
// and load balancers in it.
func (e *editing) groupNeeds(g *config.SecurityGroup) []need {
	var list []need
	for r := range e.d.RulesOf(g.ID) {
		list = append(list, need{o: r, what: g})
	}
	for r := range e.d.RulesFrom(g.ID) {
		if r.Group != g.ID {
			list = append(list, need{o: r, what: g})
		}
	}
	without := func(groups []config.ID) []config.ID {
		return slices.DeleteFunc(slices.Clone(groups), func(id config.ID) bool { return id == g.ID })
	}
	// What is cleared is looked up then: an object may be in several groups that go.
	for p := range e.d.PortsInGroup(g.ID) {
		list = append(list, need{p, g, groupsField, func() config.Object {
			c := *e.d.Port(p.ID)
			c.SecurityGroups = without(c.SecurityGroups)
			return &c
		}})
	}
	for b := range e.d.LoadBalancersInGroup(g.ID) {
		list = append(list, need{b, g, groupsField, func() config.Object {
			c := *e.d.LoadBalancer(b.ID)
			c.SecurityGroups = without(c.SecurityGroups)
			return &c
		}})
	}
	return list
}

// floatingNeeds gives the floating IPs of an instance's port, and the forwarded ports to its addresses.
func (e *editing) floatingNeeds(p *config.Port, add func(config.Object)) {
	if p.DeviceOwner == config.OwnerInterface || p.DeviceOwner == config.OwnerGateway {
		return
	}
	for i := range e.d.InterfacesOn(p.Network) {
		for _, f := range p.FixedIPs {
			if o := e.d.FloatingIPTo(config.ID(i.DeviceID), f.Address); o != nil {
				add(o)
			}
			for w := range e.d.ForwardingsTo(config.ID(i.DeviceID), f.Address) {
				add(w)
			}
		}
	}
}

// checkNames refuses objects that are known by their names alone, and whose names are those of programs' objects.
func (e *editing) checkNames() {
	names := map[config.Kind]map[string]config.Object{}
	for i := range e.list {
		t := &e.list[i]
		r, name := t.object.Ref(), t.object.About().Name
		if _, ok := e.d.Get(r); ok || t.states("id") || !t.states("name") {
			continue
		}
		if names[r.Kind] == nil {
			names[r.Kind] = map[string]config.Object{}
			for o := range e.d.Of(r.Kind) {
				if e.by[o.Ref()] == nil {
					names[r.Kind][o.About().Name] = o
				}
			}
		}
		if o := names[r.Kind][name]; o != nil && r.Kind != config.KindMember && r.Kind != config.KindMonitor &&
			r.Kind != config.KindSecurityGroupRule {
			e.faults = append(e.faults, config.Fault{
				Ref: r, Field: "name", Code: config.Taken, Source: t.object.About().Source,
				Message: fmt.Sprintf("%s: name %q is that of %s %s, which the API has made; give the table another "+
					"name, or an id: that one's makes it the file's", t.at.subject, name, e.call(o), o.About().ID),
			})
		}
	}
}

// put puts one object into the Draft.
func (e *editing) put(t *declaration) {
	r := t.object.Ref()
	was, ok := e.d.Get(r)
	if !ok {
		e.d.Put(e.adopt(t))
		return
	}
	m := &merge{t: t, before: e.before(r), was: was, call: func() string { return e.call(was) }}
	if e.alone != nil {
		m.filled, _ = e.alone.Get(r)
	}
	if e.usual != nil {
		m.usual, _ = e.usual.Get(r)
	}
	if !e.isFileOwned(was) && r.Kind != config.KindSettings {
		e.note(was, "", "%s, which the API has made, is the file's from now on", e.call(was))
	}
	e.d.Put(m.do())
	e.notices = append(e.notices, m.notices...)
}

// adopt is an object that is new in the Draft. The port of a router's gateway takes the place of the one of a gateway
// that a program has set, with its address if the file does not say another one.
func (e *editing) adopt(t *declaration) config.Object {
	p, ok := t.object.(*config.Port)
	if !ok || p.DeviceOwner != config.OwnerGateway {
		return t.object
	}
	old := e.d.GatewayPort(config.ID(p.DeviceID))
	if old == nil || old.ID == p.ID {
		return p
	}
	c := *p
	switch {
	case old.Network != p.Network:
	case !t.states("fixed_ips"):
		c.FixedIPs = old.FixedIPs
		e.note(old, "", "%s, which the API has set, is the file's from now on", e.call(old))
	case len(old.FixedIPs) > 0 && old.FixedIPs[0].Address != p.FixedIPs[0].Address:
		e.note(old, "address", "%s: address %v was set by the API; the file says %v now, and the other value is "+
			"dropped", e.call(old), old.FixedIPs[0].Address, p.FixedIPs[0].Address)
	}
	if c.MAC.IsZero() && old.Network == p.Network {
		c.MAC = old.MAC
	}
	e.d.Delete(old.Ref())
	return &c
}

// entryTexts writes the entries of a list as config.Line does.
func entryTexts(o config.Object, field string) []string {
	switch o := o.(type) {
	case *config.Router:
		if field == "routes" {
			return texts(o.Routes, routeText)
		}
	case *config.Subnet:
		switch field {
		case "host_routes":
			return texts(o.HostRoutes, routeText)
		case "dns_nameservers":
			return texts(o.DNSNameservers, netip.Addr.String)
		}
	case *config.Port:
		switch field {
		case "fixed_ips":
			return texts(o.FixedIPs, func(f config.FixedIP) string { return f.Address.String() })
		case "allowed_address_pairs":
			return texts(o.AllowedAddressPairs, pairText)
		case "extra_dhcp_opts":
			if o.Extra != nil {
				return texts(o.Extra.DHCPOptions, optionText)
			}
		}
	case *config.AddressGroup:
		if field == "addresses" {
			return texts(o.Addresses, netip.Prefix.String)
		}
	case *config.Listener:
		if field == "allowed_cidrs" {
			return texts(o.AllowedCIDRs, netip.Prefix.String)
		}
	}
	switch field {
	case groupsField:
		return texts(groupsOf(o), func(id config.ID) string { return string(id) })
	case "tags":
		return o.About().Tags
	}
	return nil
}

func texts[T any](all []T, text func(T) string) []string {
	list := make([]string, len(all))
	for i, v := range all {
		list[i] = text(v)
	}
	return list
}

func routeText(r config.Route) string { return fmt.Sprintf("%v via %v", r.Destination, r.NextHop) }

func optionText(o DHCPOption) string {
	return fmt.Sprintf("%s=%s (IPv%d)", o.Name, o.Value, o.IPVersion)
}

func pairText(p AddressPair) string {
	if p.MAC.IsZero() {
		return p.IP.String()
	}
	return fmt.Sprintf("%v %v", p.IP, p.MAC)
}
