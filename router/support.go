package router

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// Unsupported lists what a State asks for that the engine cannot do yet, in plain words, in the order of the lines of
// its file. Start and Prepare refuse such a State: nothing in a file is silently ignored.
//
// What security groups ask for is a warning: the engine keeps the rules, logs the warning, and does not obey them.
// Clients of an API set some of them without having been asked.
func Unsupported(s *config.State) config.Faults {
	u := &unsupported{state: s}
	for _, k := range []config.Kind{ // the kinds that look knows
		config.KindPhysicalNetwork, config.KindNetwork, config.KindSubnet, config.KindSecurityGroup,
		config.KindMember,
	} {
		for o := range s.Of(k) {
			u.look(o)
		}
	}
	return u.sorted()
}

// unsupportedBy is Unsupported for what is added or changed.
func unsupportedBy(s *config.State, changes []config.Change) config.Faults {
	u := &unsupported{state: s}
	for _, ch := range changes {
		if ch.After != nil {
			u.look(ch.After)
		}
	}
	return u.sorted()
}

func (u *unsupported) look(o config.Object) {
	switch o := o.(type) {
	case *config.Network:
		u.devices(o, o.Devices)
	case *config.PhysicalNetwork:
		u.devices(o, o.Devices)
	case *config.Subnet:
		u.add(o.CIDR.Addr().Is6(), o, "cidr", "subnet %v: IPv6", o.CIDR)
	case *config.SecurityGroup:
		u.group(o)
	case *config.SecurityGroupRule:
		if g := u.state.SecurityGroup(o.Group); g != nil {
			u.group(g)
		}
	case *config.Member:
		if !o.Address.Is6() {
			return
		}
		if p := u.state.Pool(o.Pool); p != nil && !u.has(p.Ref()) {
			u.add(true, p, "", "pool %q: IPv6", p.Name)
		}
	}
}

// group notes that a security group is not obeyed, once for the group and its rules.
func (u *unsupported) group(g *config.SecurityGroup) {
	if !u.has(g.Ref()) {
		u.addKept(true, g, "rule", "security group %q: filtering by its rules", g.Name)
	}
}

func (u *unsupported) has(r config.Ref) bool { return u.noted[r] }

func (u *unsupported) sorted() config.Faults {
	slices.SortStableFunc(u.faults, func(a, b config.Fault) int { return cmp.Compare(a.Source.Line, b.Source.Line) })
	return u.faults
}

// unsupported gathers faults.
type unsupported struct {
	state  *config.State
	faults config.Faults
	noted  map[config.Ref]bool // objects with a fault
}

// add notes, if asked is set, that something is not supported: format and args say what it is.
func (u *unsupported) add(asked bool, o config.Object, field, format string, args ...any) {
	if asked {
		if u.noted == nil {
			u.noted = map[config.Ref]bool{}
		}
		u.noted[o.Ref()] = true
		u.faults = append(u.faults, config.Fault{
			Ref: o.Ref(), Field: field, Code: config.Unsupported, Source: o.About().Source,
			Message: fmt.Sprintf(format, args...) + " is not supported yet",
		})
	}
}

// addKept is add for what is kept and not obeyed.
func (u *unsupported) addKept(asked bool, o config.Object, field, format string, args ...any) {
	n := len(u.faults)
	u.add(asked, o, field, format, args...)
	for i := n; i < len(u.faults); i++ {
		u.faults[i].Warning = true
	}
}

func (u *unsupported) devices(of config.Object, devices []config.Device) {
	for i, d := range devices {
		u.add(d.Kind == config.DeviceUnix, of, fmt.Sprintf("devices[%d]", i), "device %s: unix", d)
	}
}
