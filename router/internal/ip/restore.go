package ip

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/arena"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// In this file a router takes over the connections of a former process: from its arena, or from Records. It has the
// rules of now, and no connections yet.

// A Restored says what has become of a former process's connections at a router.
type Restored struct {
	Restored, Expired, Refused int
}

// ReadArena looks into the arena of a former process.
func ReadArena(file *os.File) (*arena.Former, error) { return arena.Read(file, slabs()...) }

// RestoreArena takes over the connections of an arena with the same Layout. uptime is what the machine's monotonic
// clock says. It is called by the router's worker. If it fails in the middle, what it has taken over stays.
func (r *Router) RestoreArena(t *loop.Turn, f *arena.Former, uptime time.Duration) (Restored, error) {
	n := f.Chunks()
	mappings := new(nat.MappingChunk)
	records, column := mappings.Bytes()
	for k := range n {
		ok, err := f.ReadChunk(mappingSlab, k, records, column)
		if err != nil {
			return Restored{}, err
		}
		if ok {
			r.NAT.RestoreMappings(mappings)
		}
	}
	former := &formerNumbers{router: r, former: f, backends: map[[2]arena.Name]conntrack.Backend{}}
	former.find()
	restoration := &conntrack.Restoration{Numbers: former, Former: uptime - f.Started}
	chunk := new(conntrack.ConnChunk)
	records, column = chunk.Bytes()
	r.Conns.Reserve(f.Records(connSlab))
	for k := range n {
		ok, err := f.ReadChunk(connSlab, k, records, column)
		if err != nil {
			return Restored{restoration.Restored, restoration.Expired, restoration.Refused}, err
		}
		if ok {
			r.NAT.Restore(chunk, restoration, t.Now)
		}
	}
	r.NAT.EndRestore(restoration, t.Now)
	r.JudgeRestored(t)
	return Restored{restoration.Restored, restoration.Expired, restoration.Refused}, nil
}

// formerNumbers implements conntrack.Renumbering by the names in an arena.
type formerNumbers struct {
	router     *Router
	former     *arena.Former
	interfaces map[arena.Name]uint16
	backends   map[[2]arena.Name]conntrack.Backend
	vips       map[arena.Name]*VIP
}

// find names everything that the router has.
func (n *formerNumbers) find() {
	r := n.router
	n.interfaces, n.vips = map[arena.Name]uint16{}, map[arena.Name]*VIP{}
	for _, f := range r.Attached {
		if !f.Of.Checks {
			n.interfaces[arena.NameOf(string(f.Of.On))] = f.Of.ID
		}
	}
	for of, v := range r.ByListener {
		vip := arena.NameOf(string(of))
		n.vips[vip] = v
		for _, k := range v.Numbers {
			_, member := r.Backends[k].ids()
			n.backends[[2]arena.Name{vip, arena.NameOf(string(member))}] = k
		}
	}
}

// Interface implements conntrack.Renumbering.
func (n *formerNumbers) Interface(former uint16) (uint16, bool) {
	i, ok := n.interfaces[n.former.Interface(former)]
	return i, ok
}

// Backend implements conntrack.Renumbering.
func (n *formerNumbers) Backend(c *conntrack.Conn) (conntrack.Backend, conntrack.Class, bool) {
	vip, member := n.former.Backend(c.Backend)
	at := c.Tuple(conntrack.Reply)
	lasts := c.Protocol() == packet.ProtoTCP && c.State() != conntrack.SynSent
	return n.router.backendOf(&at, lasts, n.vips[vip], n.backends[[2]arena.Name{vip, member}])
}

// backendOf is the backend of a restored connection to a VIP, and the class of its connections; k is the backend with
// the former ids, at is where replies come from. lasts: it is TCP, and more than a SYN. A member with another endpoint
// is another member. If the member is gone, or down by hand, what the pool says of its connections holds: see
// Change.Endings. A TCP connection to a member that is gone then goes on as its own.
func (r *Router) backendOf(at *packet.Tuple, lasts bool, v *VIP, k conntrack.Backend) (conntrack.Backend,
	conntrack.Class, bool) {
	if v == nil {
		return 0, 0, false
	}
	if k != 0 {
		m := v.Share.Of.Member(r.Backends[k].Member)
		if m != nil && m.Addr == at.Src && m.Port == at.SrcPort {
			return k, v.Class, m.AdminStateUp || lasts && v.Share.Of.KeepDown
		}
	}
	return 0, 0, lasts && v.Share.Of.DrainRemoved
}

// RestoreRecords takes over connections of a snapshot that was written such a time ago, and counts what becomes of
// them. flowing: packets have passed since. JudgeRestored follows. It is called by the router's worker.
func (r *Router) RestoreRecords(t *loop.Turn, all []nat.Record, ago time.Duration, flowing bool, n *Restored) {
	ids := numbersOf(r)
	for i := range all {
		if all[i].Remaining -= ago; flowing {
			all[i].Loosen()
		}
		ids.of = &all[i]
		switch _, refusal := r.NAT.Import(&all[i], ids, t.Now); refusal {
		case conntrack.None:
			n.Restored++
		case conntrack.Expired:
			n.Expired++
		default:
			n.Refused++
		}
	}
}

// RestoreNeighbors takes over neighbors that a former process had such a time ago. It returns how many of them the
// router has now. It is called by the router's worker.
func RestoreNeighbors(r *Router, t *loop.Turn, all []neighbor.Record, ago time.Duration) (restored int) {
	for _, n := range all {
		i := r.ifaceOn(wire.ID(n.Network))
		if i == nil || i.Checks || r.owner(n.Addr) != nil {
			continue
		}
		if r.Neighbors.Restore(neighbor.Key{Iface: i.ID, Addr: n.Addr}, n.MAC, n.Age+ago, t.Now) {
			restored++
		}
	}
	return restored
}

// JudgeRestored has the restored connections judged by the present rules, as a change would judge them.
func (r *Router) JudgeRestored(t *loop.Turn) {
	rules, interfaces := r.Rules, map[uint16]bool{}
	for _, f := range rules.Attached {
		interfaces[f.Of.ID] = f.External
	}
	r.Conns.Apply(conntrack.Change{Concerns: func(c *conntrack.Conn) bool { return rules.overrules(c, interfaces) }})
	r.settle(t)
}

// overrules reports whether a connection cannot be by these rules: what endings says of a change, without the rules
// from before. external says which interfaces are on the gateway's network.
//
//	translated source       to its floating IP, or to an address of the router
//	translated destination  from a floating IP, a forwarded port, a mapping's address or a VIP that leads there
//	other destination       no floating IP
//	way                     to the side of the gateway that the answers come from
func (r *Rules) overrules(c *conntrack.Conn, external map[uint16]bool) bool {
	o, reply := c.Tuple(conntrack.Original), c.Tuple(conntrack.Reply)
	if shown := reply.Dst; shown != o.Src && !r.showsFor(o.Src, shown) {
		return true
	}
	if o.Dst == reply.Src && o.DstPort == reply.SrcPort {
		if r.Static.Owns(o.Dst) {
			return true
		}
	} else if !r.leadsTo(c, &o, &reply) {
		return true
	}
	for d := range conntrack.Direction(2) {
		was, ok := external[c.In[1-d]]
		if !ok {
			continue
		}
		rt, ok := r.Routes.Lookup(c.Translated(d).Dst.Netip())
		if ok && rt.Out.externalBy(r) != was {
			return true
		}
	}
	return false
}

// showsFor reports whether a sender may show an address in place of its own.
func (r *Rules) showsFor(src, shown packet.Addr) bool {
	if fixed, ok := r.Static.Fixed(shown); ok {
		return fixed == src
	}
	return r.IsLocal(shown) || r.Gateway != nil && r.Gateway.shares(shown)
}

// leadsTo reports whether a connection to its Original destination may be translated to where its replies come from.
func (r *Rules) leadsTo(c *conntrack.Conn, o, reply *packet.Tuple) bool {
	dst, port := o.Dst, o.DstPort
	if fixed, ok := r.Static.Fixed(dst); ok {
		dst = fixed
	} else if e, ok := r.Static.Forwarded(dst, o.Proto, port); ok {
		dst, port = e.Addr, e.Port
	} else if nat.Mapped(c.Marks()) && r.Gateway != nil && r.Gateway.shares(dst) {
		return true
	}
	if dst == reply.Src && port == reply.SrcPort {
		return true
	}
	v := r.VIPs.Find(dst, o.Proto, port)
	return v != nil
}

// Names implements conntrack.Names by the ids of a router's objects, for Records.
type Names struct{ *Router }

// InterfaceID implements conntrack.Names: it is the network's.
func (n Names) InterfaceID(number uint16) string { return string(n.Interfaces[number].On) }

// BackendID implements conntrack.Names.
func (n Names) BackendID(k conntrack.Backend) string {
	vip, member := n.Backends[k].ids()
	return backendID(vip, member)
}

// backendID names a backend. No id has a zero byte.
func backendID(vip, member wire.ID) string { return fmt.Sprintf("%s\x00%s", vip, member) }

// ClassID implements conntrack.Names: the lifetime is that of the VIP.
func (n Names) ClassID(c *conntrack.Conn) string {
	if c.Backend == 0 {
		return ""
	}
	return string(n.Backends[c.Backend].VIP.ObjectID)
}

// Lasts reports whether a connection is to be in a snapshot: connections of checks end with the process.
func (n Names) Lasts(c *conntrack.Conn) bool {
	return !n.Interfaces[c.In[conntrack.Original]].checks() && !n.Interfaces[c.In[conntrack.Reply]].checks()
}

func (i *Interface) checks() bool { return i != nil && i.Checks }

// recordNumbers implements nat.Numbers by the ids of a router's objects, for the Record that is imported.
type recordNumbers struct {
	router   *Router
	of       *nat.Record
	backends map[string]conntrack.Backend
}

func numbersOf(r *Router) *recordNumbers {
	n := &recordNumbers{router: r, backends: map[string]conntrack.Backend{}}
	for of, v := range r.ByListener {
		for _, k := range v.Numbers {
			_, member := r.Backends[k].ids()
			n.backends[backendID(of, member)] = k
		}
	}
	return n
}

// Interface implements conntrack.Numbers.
func (n *recordNumbers) Interface(id string) (uint16, bool) {
	i := n.router.ifaceOn(wire.ID(id))
	if i == nil || i.Checks {
		return 0, false
	}
	return i.ID, true
}

// Backend implements conntrack.Numbers.
func (n *recordNumbers) Backend(id string) (conntrack.Backend, bool) {
	vip, _, _ := strings.Cut(id, "\x00")
	r := n.of
	lasts := r.Original.Proto == packet.ProtoTCP && r.State != conntrack.SynSent
	k, _, ok := n.router.backendOf(&r.Reply, lasts, n.router.ByListener[wire.ID(vip)], n.backends[id])
	return k, ok
}

// Class implements conntrack.Numbers.
func (n *recordNumbers) Class(id string) (conntrack.Class, bool) {
	v := n.router.ByListener[wire.ID(id)]
	if v == nil {
		return 0, id == ""
	}
	return v.Class, true
}

// Owns implements nat.Numbers.
func (n *recordNumbers) Owns(addr packet.Addr) bool {
	r := n.router
	return r.owner(addr) != nil || r.Gateway != nil && r.Gateway.shares(addr)
}
