package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// describe says how messages call an object.
func (c *checker) describe(o Object) string {
	if c.Name != nil {
		if text := c.Name(o.Ref()); text != "" {
			return text
		}
	}
	switch o := o.(type) {
	case *Settings:
		return "nat"
	case *Quota:
		return "quota"
	case *SecurityGroupRule:
		return c.inside(o.Group, KindSecurityGroup, "rule "+o.text())
	case *Subnet:
		return c.describeSubnet(o)
	case *Port:
		return c.describePort(o)
	case *FloatingIP:
		if o.Address.IsValid() {
			return "floating IP " + o.Address.String()
		}
	case *PortForwarding:
		return c.inside(o.FloatingIP, KindFloatingIP, fmt.Sprintf("port forwarding %s %d", o.Protocol, o.ExternalPort))
	case *Monitor:
		return c.inside(o.Pool, KindPool, "monitor")
	case *Member:
		name := quoted(o.Name)
		if o.Name == "" {
			name = netip.AddrPortFrom(o.Address, o.Port).String()
		}
		return c.inside(o.Pool, KindPool, "member "+name)
	case *LoadBalancer:
		for l := range c.ListenersOf(o.ID) {
			return c.describe(l)
		}
		if o.Name == "" && o.Address.IsValid() {
			return "load balancer " + o.Address.String()
		}
	case *Listener:
		if b := c.LoadBalancer(o.LoadBalancer); o.Name == "" && b != nil {
			return fmt.Sprintf("VIP %v %s %d", b.Address, o.Protocol, o.Port)
		}
		return "VIP " + c.label(o)
	}
	return o.Ref().Kind.String() + " " + c.label(o)
}

// label is an object's name, or else its place.
func (c *checker) label(o Object) string {
	if name := o.About().Name; name != "" {
		return quoted(name)
	}
	return fmt.Sprintf("#%d", o.About().Position)
}

// inside describes a part of an object.
func (c *checker) inside(parent ID, k Kind, part string) string {
	if o, ok := c.Get(Ref{k, parent}); ok {
		return c.describe(o) + ": " + part
	}
	return part
}

// describeSubnet: a subnet has no name that people know, but its network has one.
func (c *checker) describeSubnet(s *Subnet) string {
	n := c.Network(s.Network)
	if n == nil {
		return "subnet " + c.label(s)
	}
	text := "subnet " + c.label(n)
	if c.count(subnetOf, n.ID) < 2 {
		return text
	}
	if c.numbers[s.ID] == 0 {
		i := 0
		for id := range c.ids(subnetOf, n.ID) {
			i++
			keep(&c.numbers, id, i)
		}
	}
	return fmt.Sprintf("%s #%d", text, c.numbers[s.ID])
}

func (c *checker) describePort(p *Port) string {
	r := c.Router(ID(p.DeviceID))
	switch {
	case p.DeviceOwner == OwnerGateway && r != nil:
		return c.describe(r) + ": gateway"
	case p.DeviceOwner == OwnerInterface && r != nil:
		network := c.networkName(p.Network)
		if c.rank[p.ID] > 0 && c.Network(p.Network) == nil {
			network = fmt.Sprintf("%q", p.Network) // the edit of the port says so, whatever network it was once
		}
		return c.describe(r) + ": interface " + network
	case p.isDHCPServer():
		return "DHCP server of network " + c.networkName(p.Network)
	case p.isInstance():
		return "instance " + c.label(p)
	}
	return "port " + c.label(p)
}

// isInstance says whether the port stands for an instance: an instance without a declared port has a port with its ID.
func (p *Port) isInstance() bool { return p.DeviceOwner == OwnerCompute && p.DeviceID == string(p.ID) }

// nameOf is the name of an object as messages write it, or its ID. The object may have been deleted.
func (c *checker) nameOf(id ID, k Kind) string {
	o, ok := c.Get(Ref{k, id})
	if !ok {
		o, ok = c.base.Get(Ref{k, id})
	}
	if ok && o.About().Name != "" {
		return fmt.Sprintf("%q", clip(o.About().Name, maxName))
	}
	return fmt.Sprintf("%q", id)
}

// networkName is nameOf for the networks that most messages name.
func (c *checker) networkName(id ID) string { return c.nameOf(id, KindNetwork) }

// owner names in a message the object that has a value, and the place where the object was declared.
func (c *checker) owner(o Object) string {
	who := o
	if p, ok := o.(*Port); ok && p.isRouters() {
		if r := c.Router(ID(p.DeviceID)); r != nil {
			who = r
		}
	}
	if b, ok := o.(*LoadBalancer); ok {
		for l := range c.ListenersOf(b.ID) {
			who = l
			break
		}
	}
	return c.describe(who) + place(who.About().Source)
}

// place writes an object's line behind its name.
func place(s Source) string {
	if s.Line == 0 {
		return ""
	}
	return fmt.Sprintf(" (line %d)", s.Line)
}

// A where is what a fault is about: an object or a part of it. Its text is made when there is a fault.
type where struct {
	o      Object
	part   string // which messages name
	source Source

	instead Object // messages name this object in place of o
}

// at is an object as a whole.
func at(o Object) where { return where{o: o, source: o.About().Source} }

// in is a part of an object.
func (w where) in(part string, s Source) where {
	if w.part != "" {
		part = w.part + ": " + part
	}
	w.part = part
	if s != (Source{}) {
		w.source = s
	}
	return w
}

// maxFaults bounds the faults, and the warnings, that are reported. A reader needs no more, and each
// takes memory.
const maxFaults = 1000

// full says whether the report is full: faults that are found from now on are only counted.
func (c *checker) full() bool { return c.found >= maxFaults }

func (c *checker) fault(w where, field string, code Code, format string, args ...any) {
	keep(&c.faulty, w.o.About().ID, true)
	if c.Reported != nil && c.Reported(w.o.Ref(), field) {
		c.reported = true
	} else if c.full() {
		c.found++
	} else if c.note(w, field, code, false, format, args) {
		c.found++
	}
}

func (c *checker) warn(w where, field string, code Code, format string, args ...any) {
	if c.Reported != nil && c.Reported(w.o.Ref(), field) {
		return
	}
	if c.warned >= maxFaults {
		c.warned++
	} else if c.note(w, field, code, true, format, args) {
		c.warned++
	}
}

// note adds a fault, unless it is known.
func (c *checker) note(w where, field string, code Code, warning bool, format string, args []any) bool {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = clip(text, maxText)
		}
	}
	text := fmt.Sprintf(format, args...)
	named := w.o
	if w.instead != nil {
		named = w.instead
	}
	subject := c.describe(named)
	switch _, isSettings := w.o.(*Settings); {
	case isSettings:
		subject = w.part
	case w.part != "":
		subject += ": " + w.part
	}
	if subject != "" {
		text = subject + ": " + text
	}
	f := Fault{Ref: w.o.Ref(), Field: field, Code: code, Message: text, Source: w.source, Warning: warning}
	k := key{f.Ref, field, text}
	if c.known[k] {
		return false
	}
	keep(&c.known, k, true)
	c.faults = append(c.faults, f)
	return true
}

// A key is what makes a fault the same as another one.
type key struct {
	ref            Ref
	field, message string
}

// indexed is the field of one of several values.
func indexed(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// baseKey is the last part of a field, without an index.
func baseKey(field string) string {
	field = field[strings.LastIndex(field, ".")+1:]
	field, _, _ = strings.Cut(field, "[")
	return field
}
