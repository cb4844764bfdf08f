package config

import (
	"encoding/binary"
	"iter"
	"slices"
	"strings"
)

// A content is a set of objects with the indexes that find them. All its parts are
// trees that forks share. Its objects may be invalid: Draft.Check finds that out.
//
// State and Draft embed a content: its reading methods are theirs. The caller may not change an object that they
// return.
type content struct {
	objects   tree[entry]
	relations tree[relation]
	counts    tree[count]
	claims    [numClaims]tree[claim]
	byID      map[ID]Object // the objects once more; nil in most contents: see quicken
	sums
}

// The sums are what the limits of a State are about.
type sums struct {
	links    int // of all routers, with the subnets of their external networks
	backends int // members of all listeners
	labelled int // devices that networks have from physical networks
}

// An entry is an object by its ID. The ID's first bytes are there as a number: most comparisons need no more, and need
// not go where the text is.
type entry struct {
	first uint64
	id    ID
	o     Object
}

func newEntry(id ID, o Object) entry { return entry{id.first(), id, o} }

// first are the ID's first bytes. Their order is that of the IDs, as far as they differ.
func (id ID) first() uint64 {
	if len(id) >= 8 {
		return binary.BigEndian.Uint64([]byte(id[:8]))
	}
	var n uint64
	for i := range len(id) {
		n |= uint64(id[i]) << (56 - 8*i)
	}
	return n
}

func (e entry) less(f entry) bool {
	if e.first != f.first {
		return e.first < f.first
	}
	return e.id < f.id
}

// A relation says that an object belongs to another one, the owner, in some way. The relations of one
// owner are in the order of the objects' positions. The owner's first bytes are there as a number, as in an entry.
type relation struct {
	how      how
	first    uint64
	owner    ID
	position int64
	id       ID
}

func newRelation(h how, owner ID) relation {
	return relation{how: h, first: owner.first(), owner: owner}
}

// A how is a way to belong to an owner.
type how uint8

const (
	ofKind how = 0 // plus the kind, without an owner
)

const (
	subnetOf          how = iota + how(NumKinds)
	portOn                // a network
	portIn                // a subnet, with one of its fixed IPs
	interfaceOf           // a router
	interfaceOn           // a network
	interfaceIn           // a subnet
	gatewayPortOf         // a router
	gatewayOn             // a router, on the network of its gateway
	floatingOn            // a network
	floatingOf            // a router
	forwardingOf          // a floating IP
	memberOf              // a pool
	monitorOf             // a pool
	balancerOn            // a network
	balancerOf            // a router
	unservedOn            // a network: a load balancer without a router
	listenerOf            // a load balancer
	listenerUsing         // a pool
	poolOf                // a load balancer
	networkOf             // a physical network
	portOfDevice          // also if DeviceID names no object
	ruleOf                // a security group
	ruleFrom              // a security group, as the remote
	ruleFromAddresses     // an address group
	portInGroup           // a security group
	balancerInGroup       // a security group
	balancerAtPort        // a port
	portAtDevice          // a network and a device, one after the other: a port without a MAC address of its own
)

// A count is how many relations of a kind an owner has.
type count struct {
	how   how
	owner ID
	n     int
}

func emptyContent() content {
	c := content{
		objects: newTree(entry.less),
		relations: newTree(func(a, b relation) bool {
			if a.how != b.how {
				return a.how < b.how
			}
			if a.first != b.first {
				return a.first < b.first
			}
			if c := strings.Compare(string(a.owner), string(b.owner)); c != 0 {
				return c < 0
			}
			if a.position != b.position {
				return a.position < b.position
			}
			return a.id < b.id
		}),
		counts: newTree(func(a, b count) bool {
			if a.how != b.how {
				return a.how < b.how
			}
			return a.owner < b.owner
		}),
	}
	for i := range c.claims {
		c.claims[i] = newTree(claim.less)
	}
	return c
}

func (c *content) fork() content {
	f := content{objects: c.objects.fork(), relations: c.relations.fork(), counts: c.counts.fork(), sums: c.sums}
	for i := range c.claims {
		f.claims[i] = c.claims[i].fork()
	}
	return f
}

// put adds an object, or replaces the one with its ID.
func (c *content) put(o Object) {
	old := c.find(o.About().ID)
	if old == o {
		return
	}
	ports, forwards := c.linkedBy(old, o), c.forwardedBy(old, o)
	if ports != nil {
		c.linkPorts(ports, false)
	}
	c.innerForwardings(forwards, false)
	if old != nil && sameRelations(old, o) {
		c.replaceClaims(old, o)
	} else {
		if old != nil {
			c.claimAll(old, false)
			c.relate(old, false)
		}
		c.relate(o, true)
		c.claimAll(o, true)
	}
	c.objects.Set(newEntry(o.About().ID, o))
	c.sumLabel(old, o)
	if ports != nil {
		c.linkPorts(ports, true)
	}
	c.innerForwardings(forwards, true)
}

// remove takes an object away. Nothing happens if there is none.
func (c *content) remove(id ID) {
	old := c.find(id)
	if old == nil {
		return
	}
	ports, forwards := c.linkedBy(old, nil), c.forwardedBy(old, nil)
	if ports != nil {
		c.linkPorts(ports, false)
	}
	c.innerForwardings(forwards, false)
	c.claimAll(old, false)
	c.relate(old, false)
	c.objects.Delete(newEntry(id, nil))
	c.sumLabel(old, nil)
	if ports != nil {
		c.linkPorts(ports, true)
	}
	c.innerForwardings(forwards, true)
}

// sumLabel corrects the sum of labelled devices for a physical network that changes under its networks.
func (c *content) sumLabel(old, o Object) {
	was, _ := old.(*PhysicalNetwork)
	is, _ := o.(*PhysicalNetwork)
	if was == nil && is == nil {
		return
	}
	n, id := 0, ID("")
	if was != nil {
		n, id = n-len(was.Devices), was.ID
	}
	if is != nil {
		n, id = n+len(is.Devices), is.ID
	}
	c.labelled += n * c.count(networkOf, id)
}

// linkedBy gives the router ports whose links change with another object: a subnet with its prefix, a router with the
// network of its gateway. It is nil if none do.
func (c *content) linkedBy(old, o Object) iter.Seq[*Port] {
	if old == nil {
		old, o = o, nil
	}
	switch old := old.(type) {
	case *Subnet:
		if o, _ := o.(*Subnet); o == nil || o.CIDR != old.CIDR {
			return each[*Port](c, interfaceIn, old.ID)
		}
	case *Router:
		if o, _ := o.(*Router); o == nil || o.gatewayNetwork() != old.gatewayNetwork() {
			return c.InterfacesOf(old.ID)
		}
	}
	return nil
}

// forwardedBy is the floating IP whose port forwardings get another router with it, empty if none do.
func (c *content) forwardedBy(old, o Object) ID {
	was, _ := old.(*FloatingIP)
	is, _ := o.(*FloatingIP)
	switch {
	case was == nil && is == nil:
		return ""
	case was == nil:
		return is.ID
	case is == nil || is.Router != was.Router:
		return was.ID
	}
	return ""
}

// gatewayNetwork is the network of a router's gateway, empty if it has none.
func (o *Router) gatewayNetwork() ID {
	if o.Gateway == nil {
		return ""
	}
	return o.Gateway.Network
}

// relate adds or removes an object's relations.
func (c *content) relate(o Object, add bool) {
	m := o.About()
	var buffer [maxRelations]relation
	for _, r := range appendRelations(buffer[:0], o) {
		r.position, r.id = m.Position, m.ID
		if add {
			c.relations.Set(r)
		} else {
			c.relations.Delete(r)
		}
		n := count{how: r.how, owner: r.owner}
		was, _ := c.counts.Get(n)
		c.sum(o, r, add)
		switch n.n = was.n - 1; {
		case add:
			n.n = was.n + 1
			c.counts.Set(n)
		case n.n == 0:
			c.counts.Delete(n)
		default:
			c.counts.Set(n)
		}
	}
}

// sum adds a relation to the sums, or takes it away. A gateway, for example, counts once per subnet of its network.
func (c *content) sum(o Object, r relation, add bool) {
	sign := 1
	if !add {
		sign = -1
	}
	switch r.how {
	case interfaceOf:
		c.links += sign * len(o.(*Port).FixedIPs)
	case gatewayOn:
		c.links += sign * c.count(subnetOf, r.owner)
	case subnetOf:
		c.links += sign * c.count(gatewayOn, r.owner)
	case memberOf:
		c.backends += sign * c.count(listenerUsing, r.owner)
	case listenerUsing:
		c.backends += sign * c.count(memberOf, r.owner)
	case networkOf:
		if p := c.PhysicalNetwork(r.owner); p != nil {
			c.labelled += sign * len(p.Devices)
		}
	}
}

// sameRelations says whether two versions of an object have the same relations.
func sameRelations(a, b Object) bool {
	var x, y [maxRelations]relation
	switch a := a.(type) {
	case *Port:
		if len(a.FixedIPs) != len(b.(*Port).FixedIPs) {
			return false
		}
	}
	return a.About().Position == b.About().Position &&
		slices.Equal(appendRelations(x[:0], a), appendRelations(y[:0], b))
}

// maxRelations is how many relations most objects have at most.
const maxRelations = 8

// appendRelations appends an object's relations, without its own ID and position.
func appendRelations(list []relation, o Object) []relation {
	add := func(h how, owner ID) {
		if owner != "" {
			list = append(list, newRelation(h, owner))
		}
	}
	list = append(list, relation{how: ofKind + how(o.Ref().Kind)})
	switch o := o.(type) {
	case *Network:
		add(networkOf, o.PhysicalNetwork)
	case *Subnet:
		add(subnetOf, o.Network)
	case *Router:
		if o.Gateway != nil {
			add(gatewayOn, o.Gateway.Network)
		}
	case *Port:
		add(portOn, o.Network)
		for i, f := range o.FixedIPs {
			if !firstIn(o.FixedIPs, i) {
				continue
			}
			add(portIn, f.Subnet)
			if o.DeviceOwner == OwnerInterface {
				add(interfaceIn, f.Subnet)
			}
		}
		add(portOfDevice, ID(o.DeviceID))
		if o.Device != "" && o.MAC.IsZero() {
			add(portAtDevice, o.Network+ID(o.Device))
		}
		uniqueIDs(o.SecurityGroups, func(id ID) { add(portInGroup, id) })
		switch o.DeviceOwner {
		case OwnerInterface:
			add(interfaceOf, ID(o.DeviceID))
			add(interfaceOn, o.Network)
		case OwnerGateway:
			add(gatewayPortOf, ID(o.DeviceID))
		}
	case *SecurityGroupRule:
		add(ruleOf, o.Group)
		add(ruleFrom, o.RemoteGroup)
		add(ruleFromAddresses, o.RemoteAddressGroup)
	case *FloatingIP:
		add(floatingOn, o.Network)
		add(floatingOf, o.Router)
	case *PortForwarding:
		add(forwardingOf, o.FloatingIP)
	case *Pool:
		add(poolOf, o.LoadBalancer)
	case *Monitor:
		add(monitorOf, o.Pool)
	case *Member:
		add(memberOf, o.Pool)
	case *LoadBalancer:
		add(balancerOn, o.Network)
		add(balancerAtPort, o.Port)
		uniqueIDs(o.SecurityGroups, func(id ID) { add(balancerInGroup, id) })
		add(balancerOf, o.Router)
		if o.Router == "" {
			add(unservedOn, o.Network)
		}
	case *Listener:
		add(listenerOf, o.LoadBalancer)
		add(listenerUsing, o.Pool)
	}
	return list
}

// firstIn says whether no earlier fixed IP is in the subnet of the i-th.
func firstIn(all []FixedIP, i int) bool {
	for _, f := range all[:i] {
		if f.Subnet == all[i].Subnet {
			return false
		}
	}
	return true
}

// ids gives the IDs of what belongs to an owner, in order.
func (c *content) ids(h how, owner ID) iter.Seq[ID] {
	return func(yield func(ID) bool) {
		c.relations.Ascend(newRelation(h, owner), func(r relation) bool {
			return r.how == h && r.owner == owner && yield(r.id)
		})
	}
}

// count says how many objects belong to an owner.
func (c *content) count(h how, owner ID) int {
	n, _ := c.counts.Get(count{how: h, owner: owner})
	return n.n
}

// lastPosition is the highest position of a kind, 0 if there is no object of it.
func (c *content) lastPosition(k Kind) int64 {
	var last int64
	c.relations.Descend(relation{how: ofKind + how(k) + 1}, func(r relation) bool {
		if r.how == ofKind+how(k) {
			last = r.position
		}
		return false
	})
	return last
}

// find finds an object by its ID.
func (c *content) find(id ID) Object {
	if id == "" {
		return nil
	}
	if c.byID != nil {
		return c.byID[id]
	}
	e, _ := c.objects.Get(newEntry(id, nil))
	return e.o
}

// quicken gives a content that is not edited any more a second way to find its objects, which takes a tenth of the
// time. A State of which most is new gets it: whoever serves such a State looks at all of it, at each object several
// times. The content's forks have the tree alone.
func (c *content) quicken() {
	c.byID = make(map[ID]Object, c.objects.Len())
	c.objects.Scan(func(e entry) bool {
		c.byID[e.id] = e.o
		return true
	})
}

// lookup finds an object of a type.
func lookup[T Object](c *content, id ID) T {
	o, _ := c.find(id).(T)
	return o
}

// each gives the objects of a type that belong to an owner.
func each[T Object](c *content, h how, owner ID) iter.Seq[T] {
	return func(yield func(T) bool) {
		for id := range c.ids(h, owner) {
			if o, ok := c.find(id).(T); ok && !yield(o) {
				return
			}
		}
	}
}
