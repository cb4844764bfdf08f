package ip

import (
	"net/netip"

	"github.com/taprouter/taprouter/internal/addrmap"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// An Origin is where a rule came from: the object, and the line or request that stated it. Only readers, such as
// traces, look at it.
type Origin struct {
	Kind string // in the words of config.Kind, or of the topology file
	Name string
	ID   wire.ID
	At   string // such as lab.toml:12, or a request; empty if unknown
}

// String writes the origin as people read it: router r (lab.toml:12).
func (o Origin) String() string {
	s := o.Kind
	if o.Name != "" {
		s += " " + o.Name
	}
	if o.At != "" {
		s += " (" + o.At + ")"
	}
	return s
}

// Origins are those of the rules that have no place for one themselves, as what packets read of such rules is packed.
type Origins struct {
	Floating addrmap.Map[FloatingOrigin] // by floating address, also of an address that leads nowhere
}

// A FloatingOrigin is where a floating address came from, and each of its forwarded ports.
type FloatingOrigin struct {
	Origin
	Forwards []Origin // in the order of nat.Floating.Forwards
}

// with notes where a floating address came from, or that it is gone.
func (o Origins) with(p *FloatingParams) Origins {
	if p.Gone {
		o.Floating = o.Floating.Without(p.Addr)
	} else {
		o.Floating = o.Floating.With(p.Addr, FloatingOrigin{p.Origin, p.Forwards})
	}
	return o
}

// ofFloating is the origin of a floating address. It is zero for another address.
func (r *Rules) ofFloating(addr packet.Addr) Origin {
	if f := r.Origins.Floating.Find(addr); f != nil {
		return f.Origin
	}
	return Origin{}
}

// ofForward is the origin of a forwarded port of a floating address. It is zero if there is no such port.
func (r *Rules) ofForward(addr packet.Addr, proto uint8, port uint16) Origin {
	f := r.Origins.Floating.Find(addr)
	if f == nil {
		return Origin{}
	}
	for k, forward := range r.Static.Get(addr).Forwards {
		if forward.Proto == proto && forward.Port == port && k < len(f.Forwards) {
			return f.Forwards[k]
		}
	}
	return Origin{}
}

// ofRoute is the origin of the route that leads to a destination: a static route, the gateway, or the interface whose
// subnet the destination is in.
func (r *Rules) ofRoute(dst netip.Addr) Origin {
	rt, ok := r.Routes.Lookup(dst)
	switch {
	case !ok:
		return Origin{}
	case rt.origin != nil:
		return *rt.origin
	}
	return rt.Out.origin
}
