package config

import (
	"fmt"
	"net/netip"
	"time"
)

// A Draft is a State with edits. It reads as a State does, edits included. Callers serialize; Drafts of the same
// State know nothing of each other.
type Draft struct {
	content
	base  *State
	edits map[ID]*edit
	order []ID // of the edits
	bad   []Fault

	// Claimed reports whether an address of a network is taken by something outside of the State, such as a
	// lease. Check chooses no such address. It may be nil.
	Claimed func(network ID, a netip.Addr) bool

	// Holder finds the host that an address of a network is leased to, by its MAC address. An object cannot be given
	// such an address, unless it is a port with this MAC address. It may be nil.
	Holder func(network ID, a netip.Addr) (MAC, bool)

	// Now is what Check writes to Created and Updated.
	Now time.Time

	// Name says how messages call an object, such as: pool "p": member #2. An empty text, and a nil
	// function: by its name, or else by its address.
	Name func(Ref) string

	// Reported says whether the caller has reported a fault of this field already. Check then does not report the
	// field again, but still gives no State. Reported may be nil.
	Reported func(r Ref, field string) bool

	// Unsure reports whether a part of an object is unknown, such as a value of a file that could not be read.
	// Check does not fault what depends on that part. It may be nil.
	Unsure func(Ref) bool
}

// An edit is what has been done to an object.
type edit struct {
	ref  Ref
	put  Object // as it was put, with defaults; nil: deleted
	open open   // the fields that were left open
	ips  []int  // the places of a port's fixed IPs that have no address

	subnets []ID // of a port's fixed IPs, as they were put
	same    bool // put, but equal to what the base State has, or deleted, and not in there
	seq     int
}

// An open is a set of attributes that an object has left open when it was put.
type open uint8

const (
	openAddress open = 1 << iota // at least one
	openRouter
	openMAC
)

// given is the i-th fixed IP of a port as it was put.
func (e *edit) given(i int) FixedIP { return FixedIP{Subnet: e.subnets[i]} }

// Put adds objects, or replaces the objects with the same IDs. Fields that an object leaves open, and fields whose zero
// value stands for a default, are filled in: from the State's object of that ID if there is one, else by Check. The
// Draft keeps slices and pointers of the objects, and never writes to them.
//
// An object that equals the State's object in all but its Source is no change.
func (d *Draft) Put(objects ...Object) {
	for _, o := range objects {
		d.putOne(o)
	}
}

func (d *Draft) putOne(given Object) {
	if s, ok := given.(*Settings); ok && s.ID == "" {
		given = copyOf(s)
		given.About().ID = SettingsID
	}
	if q, ok := given.(*Quota); ok && q.ID == "" {
		given = copyOf(q)
		given.About().ID = QuotaID
	}
	ref := given.Ref()
	if ref.ID == "" {
		d.bad = append(d.bad, Fault{Ref: ref, Field: "id", Message: fmt.Sprintf("a %v has no id", ref.Kind),
			Source: given.About().Source})
		return
	}
	if old := d.find(ref.ID); old != nil && old.Ref().Kind != ref.Kind {
		d.bad = append(d.bad, Fault{Ref: ref, Field: "id", Code: Taken, Source: given.About().Source,
			Message: fmt.Sprintf("id %s of a %v is that of a %v", ref.ID, ref.Kind, old.Ref().Kind)})
		return
	}
	o := clone(given)
	fillDefaults(o)
	before := d.base.find(ref.ID)
	left, ips := takeOver(o, before)
	m := o.About()
	same := false
	if before != nil {
		b := before.About()
		m.Revision, m.Created, m.Updated = b.Revision, b.Created, b.Updated
		fallback(&m.Position, b.Position)
		same = equal(before, o)
		if same && sameSources(before, o) {
			o = before
		}
	} else if old := d.find(ref.ID); old != nil {
		fallback(&m.Position, old.About().Position)
	}
	if m.Position == 0 {
		m.Position = d.lastPosition(ref.Kind) + 1
	}
	d.note(&edit{ref: ref, put: o, open: left, ips: ips, subnets: subnetsOf(given), same: same})
	d.put(o)
}

// note remembers an edit. An object that is edited again keeps its place in the order.
func (d *Draft) note(e *edit) {
	if old, ok := d.edits[e.ref.ID]; ok {
		e.seq = old.seq
	} else {
		d.order = append(d.order, e.ref.ID)
		e.seq = len(d.order)
	}
	d.edits[e.ref.ID] = e
}

// Delete takes objects away, and with each the objects that are part of it: the subnets of a network, the forwarded
// ports of a floating IP, the members and the monitor of a pool, the listeners of a load balancer, the rules of a
// security group, the gateway's port of a router.
// An object that others need is InUse when the Draft is checked. Nothing happens if there is no such object.
func (d *Draft) Delete(refs ...Ref) {
	for _, r := range refs {
		if o, ok := d.Get(r); ok {
			d.deleteOne(o)
		}
	}
}

func (d *Draft) deleteOne(o Object) {
	var parts []ID
	for _, h := range partsOf(o) {
		for id := range d.ids(h, o.About().ID) {
			parts = append(parts, id)
		}
	}
	for _, id := range parts {
		d.deleteOne(d.find(id))
	}
	id := o.About().ID
	d.note(&edit{ref: o.Ref(), same: d.base.find(id) == nil})
	d.remove(id)
}

// partsOf lists how the parts of an object belong to it.
func partsOf(o Object) []how {
	switch o.(type) {
	case *Network:
		return []how{subnetOf}
	case *Router:
		return []how{gatewayPortOf}
	case *FloatingIP:
		return []how{forwardingOf}
	case *Pool:
		return []how{memberOf, monitorOf}
	case *LoadBalancer:
		return []how{listenerOf}
	case *SecurityGroup:
		return []how{ruleOf}
	}
	return nil
}

// FreeAddress finds the lowest address of a subnet's allocation pools that no object has, and that Check could choose.
// It reports false if there is none.
func (d *Draft) FreeAddress(subnet ID) (netip.Addr, bool) {
	s := d.Subnet(subnet)
	if s == nil {
		return netip.Addr{}, false
	}
	c := &checker{Draft: d, content: d.content}
	return c.lowestFree(s)
}

// Base returns the State that the Draft is an edit of.
func (d *Draft) Base() *State { return d.base }

// clone copies an object, without what its slices and pointers lead to.
func clone(o Object) Object {
	switch o := o.(type) {
	case *Settings:
		return copyOf(o)
	case *PhysicalNetwork:
		return copyOf(o)
	case *Network:
		return copyOf(o)
	case *Subnet:
		return copyOf(o)
	case *Router:
		return copyOf(o)
	case *AddressGroup:
		return copyOf(o)
	case *SecurityGroup:
		return copyOf(o)
	case *SecurityGroupRule:
		return copyOf(o)
	case *Port:
		return copyOf(o)
	case *FloatingIP:
		return copyOf(o)
	case *PortForwarding:
		return copyOf(o)
	case *Pool:
		return copyOf(o)
	case *Monitor:
		return copyOf(o)
	case *Member:
		return copyOf(o)
	case *LoadBalancer:
		return copyOf(o)
	case *Listener:
		return copyOf(o)
	case *Quota:
		return copyOf(o)
	}
	panic(fmt.Sprintf("config: an object of type %T", o))
}

func copyOf[T any](p *T) *T {
	v := *p
	return &v
}

// takeOver fills in the fields that an object leaves open from its former version. It returns the open fields.
func takeOver(o, before Object) (left open, ips []int) {
	switch o := o.(type) {
	case *Port:
		was, _ := before.(*Port)
		return o.takeOver(was)
	case *FloatingIP:
		was, _ := before.(*FloatingIP)
		if was == nil || was.Network != o.Network {
			was = &FloatingIP{}
		}
		return takeAddress(&o.Address, &o.Router, was.Address, was.Router), nil
	case *LoadBalancer:
		was, _ := before.(*LoadBalancer)
		if was == nil || was.Network != o.Network {
			was = &LoadBalancer{}
		}
		return takeAddress(&o.Address, &o.Router, was.Address, was.Router), nil
	}
	return 0, nil
}

// takeAddress gives an object the former version's address and router where it leaves them open.
func takeAddress(address *netip.Addr, router *ID, was netip.Addr, wasRouter ID) (left open) {
	if !address.IsValid() {
		left |= openAddress
		*address = was
	}
	if *router == "" {
		left |= openRouter
		*router = wasRouter
	}
	return left
}

// takeOver is takeOver for a port. The addresses of the former version that the new one does not name go to
// the fixed IPs without one, in order, subnet by subnet.
func (p *Port) takeOver(was *Port) (left open, ips []int) {
	if p.DeviceOwner == OwnerGateway && len(p.FixedIPs) == 0 {
		p.FixedIPs = make([]FixedIP, 1)
	}
	if was != nil && (was.Network != p.Network || was.DeviceOwner != p.DeviceOwner || was.DeviceID != p.DeviceID) {
		was = nil
	}
	if p.isRouters() && p.MAC.IsZero() {
		left |= openMAC
		if was != nil {
			p.MAC = was.MAC
		}
	}
	fixed := make([]FixedIP, len(p.FixedIPs))
	copy(fixed, p.FixedIPs)
	p.FixedIPs = fixed
	named := map[netip.Addr]bool{}
	for _, f := range fixed {
		named[f.Address] = true
	}
	for i := range fixed {
		f := &fixed[i]
		if f.Address.IsValid() {
			if f.Subnet == "" && was != nil {
				f.Subnet = was.subnetOf(f.Address)
			}
			continue
		}
		left |= openAddress
		ips = append(ips, i)
		if was == nil {
			continue
		}
		for _, g := range was.FixedIPs {
			if !named[g.Address] && (f.Subnet == "" || f.Subnet == g.Subnet) {
				*f = g
				named[g.Address] = true
				break
			}
		}
	}
	return left, ips
}

// subnetOf is the subnet of a fixed IP, empty if the port does not have the address.
func (p *Port) subnetOf(a netip.Addr) ID {
	for _, f := range p.FixedIPs {
		if f.Address == a {
			return f.Subnet
		}
	}
	return ""
}

// subnetsOf lists the subnets of a port's fixed IPs.
func subnetsOf(o Object) []ID {
	p, ok := o.(*Port)
	if !ok {
		return nil
	}
	ids := make([]ID, max(1, len(p.FixedIPs)))
	for i, f := range p.FixedIPs {
		ids[i] = f.Subnet
	}
	return ids
}

// isRouters says whether the port is the interface or the gateway of a router.
func (p *Port) isRouters() bool {
	return p.DeviceOwner == OwnerInterface || p.DeviceOwner == OwnerGateway
}
