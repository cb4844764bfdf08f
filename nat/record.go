package nat

import (
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A Record is a connection with its mappings, as a file or another process holds it: see conntrack.Record.
// The endpoints of its mappings are in its tuples.
type Record struct {
	conntrack.Record
	Source Mapping // its source's: Original.Src and its port to Reply.Dst and its port
	Dest   Mapping // its destination's: Reply.Src and its port to Original.Dst and its port
}

// A Mapping is what a Record says about one of its mappings.
type Mapping struct {
	Used   bool
	Remote Endpoint // the mapping is for this remote address, or endpoint, alone; zero: it is for all
}

// The reasons why a Record cannot be imported, beside those of package conntrack.
const (
	// UnknownAddress: the Record shows an address that is not the router's.
	UnknownAddress conntrack.Refusal = "unknown address"
	// PortTaken: another internal endpoint has the external port, or it is kept back after use.
	PortTaken conntrack.Refusal = "port taken"
	// PortOutsideRange: by the settings of now, such a source does not get this port.
	PortOutsideRange conntrack.Refusal = "port outside range"
	// MappedElsewhere: the internal endpoint has another external port.
	MappedElsewhere conntrack.Refusal = "mapped to another port"
)

// Numbers turns ids into numbers, for Import.
type Numbers interface {
	conntrack.Numbers
	// Owns reports whether an address that a translation shows belongs to the router.
	Owns(addr packet.Addr) bool
}

// Export returns a Record of a connection that is there. Ports that are kept back after use are not in any.
func (t *Table) Export(c *conntrack.Conn, names conntrack.Names, now time.Duration) Record {
	r := Record{Record: t.conns.Export(c, names, now)}
	for d, marks := range [...]conntrack.Marks{sourceMapped, destMapped} {
		if c.Marks()&marks != 0 {
			ext := mappedEndpoint(&r.Record, d)
			m := t.mappings.list.At(t.behind(ext.Addr, ext.Port, c.Protocol()))
			*r.mapping(d) = Mapping{true, Endpoint{m.remote, m.remotePort}}
		}
	}
	return r
}

// mapping is the mapping of a side: 0 the source, 1 the destination.
func (r *Record) mapping(side int) *Mapping {
	if side == 0 {
		return &r.Source
	}
	return &r.Dest
}

// mappedEndpoint is the external endpoint of a side's mapping.
func mappedEndpoint(r *conntrack.Record, side int) Endpoint {
	t := &r.Reply
	if side == 1 {
		t = &r.Original
	}
	return Endpoint{t.Dst, t.DstPort}
}

// A planned is a mapping that an imported connection goes through.
type planned struct {
	used bool
	key  mapKey
	ext  uint16
}

// Import makes the connection of a Record, and its mappings where they are not there, with the same external
// ports. Or it says why not: for the reasons above, or a reason of conntrack.Table.Import. What that method says
// about room and shares holds for the shares of ports, too. Import does not read r.Marks, it sets them. A Record
// with mappings must come by this method, not by the connection table's.
func (t *Table) Import(r *Record, numbers Numbers, now time.Duration) (*conntrack.Conn, conntrack.Refusal) {
	shown := r.Reply.Reverse()
	if shown.Src != r.Original.Src && !numbers.Owns(shown.Src) ||
		shown.Dst != r.Original.Dst && !numbers.Owns(r.Original.Dst) {
		return nil, UnknownAddress
	}
	r.Marks = 0
	var plan [2]planned
	for side, marks := range [...]conntrack.Marks{sourceMapped, destMapped} {
		if !r.mapping(side).Used {
			continue
		}
		p, refusal := t.plan(r, side)
		if refusal != conntrack.None {
			return nil, refusal
		}
		plan[side] = p
		r.Marks |= marks
	}
	// Two mappings cannot have one external endpoint, nor one mapping two.
	if src, dst := &plan[0], &plan[1]; src.used && dst.used {
		if (src.key == dst.key) != (src.key.ext == dst.key.ext && src.ext == dst.ext) {
			return nil, conntrack.Malformed
		}
	}
	t.planned = plan
	c, refusal := t.conns.Import(&r.Record, numbers, now)
	t.planned = [2]planned{}
	return c, refusal
}

// plan says which mapping a side of a Record goes through, or why there cannot be one.
func (t *Table) plan(r *Record, side int) (planned, conntrack.Refusal) {
	proto := r.Original.Proto
	pi, ok := protoIndex(proto)
	if !ok {
		return planned{}, conntrack.Malformed
	}
	ext := mappedEndpoint(&r.Record, side)
	p := planned{used: true, ext: ext.Port, key: mapKey{ext: ext.Addr, proto: proto, form: t.cfg.Mapping}}
	if side == 0 {
		p.key.addr, p.key.port = r.Original.Src, r.Original.SrcPort
		p.key.remote, p.key.remotePort = t.remotePart(r.Reply.Src, r.Reply.SrcPort)
	} else {
		p.key.addr, p.key.port = r.Reply.Src, r.Reply.SrcPort
		p.key.remote, p.key.remotePort = t.remotePart(r.Dest.Remote.Addr, r.Dest.Remote.Port)
	}
	if i := t.behind(ext.Addr, ext.Port, proto); i != 0 {
		if t.mappings.list.At(i).key() != p.key {
			return p, PortTaken
		}
		return p, conntrack.None
	}
	if t.findMapping(&p.key) != 0 {
		return p, MappedElsewhere
	}
	if lo, hi := t.portRange(proto, p.key.port); int(ext.Port) < lo || int(ext.Port) > hi {
		return p, PortOutsideRange
	}
	space, group := t.ports(ext.Addr, pi), groupOf(proto, ext.Port)
	if !space.free(ext.Port) && !space.keptFor(ext.Port, group.wellKnown(), p.key.addr) {
		return p, PortTaken
	}
	return p, conntrack.None
}

// restore has an imported connection use its mappings.
func (t *Table) restore(c *conntrack.Conn) {
	for side := range t.planned {
		p := &t.planned[side]
		if !p.used {
			continue
		}
		i := t.behind(p.key.ext, p.ext, p.key.proto)
		if i == 0 { // it is new, or has ended while room was made for this connection
			i = t.newMapping(&p.key, p.ext)
		}
		t.use(i, c, side)
	}
}

// use has a connection use mapping i for a side of it.
func (t *Table) use(i uint32, c *conntrack.Conn, side int) {
	t.mappings.list.At(i).hold()
	t.allow(i, c, side)
	if firm(c) {
		t.firmUp(i)
	} else {
		t.usedNow(i)
	}
}

// hold marks a mapping as whole: what a reader of the table's memory finds after the process has been killed. The
// compiler must not put it in line, as it may otherwise reorder stores.
//
//go:noinline
func (m *mapping) hold() { m.form |= whole }
