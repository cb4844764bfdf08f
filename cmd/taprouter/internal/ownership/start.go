package ownership

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// A merged is what a file and the objects of a store give.
type merged struct {
	state   *config.State
	notices []file.Notice
	aside   []Aside
}

// merge puts a file over the objects of a store. Nothing is in the way of the file: what is goes aside.
func merge(f, previous *file.File, loaded []config.Object, claimed func(config.ID, netip.Addr) bool) merged {
	isFiles := func(o config.Object) bool {
		return o.About().Source.File != "" || previous != nil && previous.Declares(o.Ref())
	}
	before, lost := settle(config.Empty(), units(loaded))
	over := file.Over{Previous: previous}
	d := before.Edit()
	d.Claimed = claimed
	notices, err := f.Edit(d, over)
	if err == nil {
		if s, _ := d.Check(); s != nil {
			var objects []config.Object
			for _, a := range programs(lost, f, isFiles) {
				objects = append(objects, a.Object)
			}
			// What was in their way may have been the former file's.
			s, aside := settle(s, units(objects))
			return merged{s, notices, aside}
		}
	}
	return beside(f, over, before, loaded, isFiles)
}

// programs leaves out what is a file's anyway.
func programs(list []Aside, f *file.File, isFiles func(config.Object) bool) []Aside {
	return slices.DeleteFunc(list, func(a Aside) bool { return isFiles(a.Object) || f.Declares(a.Object.Ref()) })
}

// beside makes a State of the file first, and then puts what programs have made beside it, as far as it has a place.
func beside(f *file.File, over file.Over, before *config.State, loaded []config.Object,
	isFiles func(config.Object) bool) merged {
	var others []config.Object
	d := before.Edit()
	for _, o := range loaded {
		if isFiles(o) || f.Declares(o.Ref()) {
			continue
		}
		others = append(others, o)
		if !isGatewayOf(before, o, isFiles) {
			d.Delete(o.Ref())
		}
	}
	var m merged
	over.Cascade = true
	notices, err := f.Edit(d, over)
	var wanted []config.Object
	for o := range d.All() {
		wanted = append(wanted, o)
	}
	s, _ := d.Check()
	switch {
	case err != nil:
		s, notices = f.State(), []file.Notice{{Message: fmt.Sprintf("what the API had set on objects of the file is "+
			"dropped: %v", err)}}
		m.state, m.aside = settle(s, units(others))
	case s == nil:
		// What the API has set on the file's objects may need its own objects, which come in between.
		s, _ = fit(f.State(), wanted)
		m.state, m.aside = settle(s, units(others))
		var dropped []file.Notice
		m.state, dropped = fit(m.state, wanted)
		notices = append(notices, dropped...)
	default:
		m.state, m.aside = settle(s, units(others))
	}
	m.notices = notices
	known := map[config.Ref]bool{}
	for _, a := range m.aside {
		known[a.Object.Ref()] = true
	}
	for _, o := range others {
		if p, ok := o.(*config.Port); ok && p.DeviceOwner == config.OwnerDHCP {
			continue // the server of a network, which is made anew where there is use for it
		}
		if _, ok := m.state.Get(o.Ref()); !ok && !known[o.Ref()] {
			m.aside = append(m.aside, Aside{o, "what it was a part of is no longer there"})
		}
	}
	return m
}

// isGatewayOf says whether an object is the port of the gateway that a program has given a router of the file. It is a
// part of that router.
func isGatewayOf(s *config.State, o config.Object, isFiles func(config.Object) bool) bool {
	p, ok := o.(*config.Port)
	if !ok || p.DeviceOwner != config.OwnerGateway {
		return false
	}
	r := s.Router(config.ID(p.DeviceID))
	return r != nil && isFiles(r)
}

// units groups objects that are only valid together, and puts them into an order in which each needs earlier ones only.
func units(objects []config.Object) [][]config.Object {
	gateways := map[string]config.Object{}
	for _, o := range objects {
		if p, ok := o.(*config.Port); ok && p.DeviceOwner == config.OwnerGateway {
			gateways[p.DeviceID] = o
		}
	}
	var list [][]config.Object
	var late [][]config.Object // pools of load balancers, and what is in them
	pools := map[config.ID]bool{}
	for _, o := range objects {
		unit := []config.Object{o}
		switch o := o.(type) {
		case *config.Router:
			if p := gateways[string(o.ID)]; p != nil {
				unit = append(unit, p)
				delete(gateways, string(o.ID))
			}
		case *config.Pool:
			pools[o.ID] = o.LoadBalancer != ""
		}
		if p, ok := o.(*config.Port); ok && p.DeviceOwner == config.OwnerGateway && gateways[p.DeviceID] == nil {
			continue // it is with its router
		}
		if isLate(o, pools) {
			late = append(late, unit)
		} else {
			list = append(list, unit)
		}
	}
	at := len(list)
	for i, u := range list {
		if u[0].Ref().Kind == config.KindListener {
			at = i
			break
		}
	}
	return slices.Insert(list, at, late...)
}

// isLate says whether an object needs a load balancer that comes after it in the order of kinds.
func isLate(o config.Object, pools map[config.ID]bool) bool {
	switch o := o.(type) {
	case *config.Pool:
		return pools[o.ID]
	case *config.Monitor:
		return pools[o.Pool]
	case *config.Member:
		return pools[o.Pool]
	}
	return false
}

// settle adds to a State what can be added, and returns the rest with the reasons.
func settle(s *config.State, list [][]config.Object) (*config.State, []Aside) {
	if len(list) == 0 {
		return s, nil
	}
	d := s.Edit()
	for _, unit := range list {
		d.Put(unit...)
	}
	next, faults := d.Check()
	if next != nil {
		return next, nil
	}
	if len(list) > 1 {
		s, first := settle(s, list[:len(list)/2])
		s, second := settle(s, list[len(list)/2:])
		return s, append(first, second...)
	}
	var aside []Aside
	for _, o := range list[0] {
		aside = append(aside, Aside{o, fmt.Sprint(faults.Errors())})
	}
	return s, aside
}
