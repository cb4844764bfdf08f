package nat

import "github.com/taprouter/taprouter/internal/packet"

// An external is one address that mappings use, with its free ports for TCP,
// UDP and ICMP query identifiers.
type external struct {
	ports [3]*portSet
}

// A mapping binds an internal to an external endpoint, for one remote address
// or endpoint only where the mapping behavior says so.
type mapping struct {
	key  mapKey
	ext  extKey
	refs uint32 // connections that use it; it ends with the last (RFC 7857, 12)
}

type mapKey struct {
	ext, addr, remote uint32 // remote and its port are 0 if they do not matter
	port, remotePort  uint16
	proto             uint8
}

type extKey struct {
	addr  uint32
	port  uint16
	proto uint8
}

// A permit says that a mapping has a connection with a remote address, which
// address-dependent filtering lets in.
type permit struct{ mapping, remote uint32 }

type mappings struct {
	list       []mapping
	free       []uint32
	byInternal map[mapKey]uint32
	byExternal map[extKey]uint32
	permits    map[permit]uint32
}

func newMappings() mappings {
	return mappings{
		byInternal: map[mapKey]uint32{}, byExternal: map[extKey]uint32{}, permits: map[permit]uint32{},
	}
}

// hostUse is what counts towards a host's share.
type hostUse struct {
	conns int
	ports [3]int
}

// A Binding is how a new connection's source or destination goes through a
// mapping. It changes nothing until the connection is committed, and is only
// good until the table changes.
type Binding struct {
	ok  bool
	src uint32 // mapping of the source + 1, 0: none
	dst uint32 // mapping of the destination + 1, 0: none
	new bool   // the source's mapping is to be made
	key mapKey
	ext extKey

	overload bool
}

// Used reports whether the connection goes through a mapping or overloads a port.
func (b *Binding) Used() bool { return b.ok }

// protoIndex selects among the three port spaces; false for other protocols.
func protoIndex(proto uint8) (int, bool) {
	switch proto {
	case packet.ProtoTCP:
		return 0, true
	case packet.ProtoUDP:
		return 1, true
	case packet.ProtoICMP:
		return 2, true
	}
	return 0, false
}

// portRange is the range that the external port for an internal one comes from:
// well-known ports stay well-known (RFC 4787 REQ-3a); identifiers know no ranges.
func (t *Table) portRange(proto uint8, port uint16) (lo, hi int) {
	switch {
	case proto == packet.ProtoICMP:
		return 0, 65535
	case port < 1024:
		return 1, 1023
	}
	return max(1024, int(t.cfg.PortMin)), int(t.cfg.PortMax)
}

func (t *Table) portSet(addr uint32, proto int) *portSet {
	e := t.externals[addr]
	if e == nil {
		e = new(external)
		t.externals[addr] = e
	}
	if e.ports[proto] == nil {
		e.ports[proto] = newPortSet()
	}
	return e.ports[proto]
}

// remotePart is what a mapping remembers of the remote endpoint.
func (t *Table) remotePart(addr uint32, port uint16) (uint32, uint16) {
	switch t.cfg.Mapping {
	case AddressDependent:
		return addr, 0
	case AddressAndPortDependent:
		return addr, port
	}
	return 0, 0
}

// Bind finds the external port, on the external address ext, for a new
// connection whose packets have the tuple flow: the sender's source and the
// final destination. original is the tuple as it arrived, which is flow unless
// the destination is translated as well. It fills b and returns the port.
func (t *Table) Bind(b *Binding, ext uint32, flow, original packet.Tuple) (uint16, Refusal) {
	pi, ok := protoIndex(flow.Proto)
	if !ok {
		return 0, NoPort
	}
	b.ok = true
	b.key = mapKey{ext: ext, addr: flow.Src, port: flow.SrcPort, proto: flow.Proto}
	b.key.remote, b.key.remotePort = t.remotePart(flow.Dst, flow.DstPort)
	if i, found := t.mappings.byInternal[b.key]; found {
		port := t.mappings.list[i].ext.port
		if t.replyFree(flow, original, ext, port) {
			b.src = i + 1
			return port, None
		}
		return t.overload(b, ext, flow, original)
	}
	lo, hi := t.portRange(flow.Proto, flow.SrcPort)
	if t.hosts[flow.Src].ports[pi] < t.hostLimit(hi-lo+1) {
		port, found := t.portSet(ext, pi).choose(flow.SrcPort, lo, hi, t.rng)
		if found && t.replyFree(flow, original, ext, port) {
			b.new, b.ext = true, extKey{ext, port, flow.Proto}
			return port, None
		}
	}
	return t.overload(b, ext, flow, original)
}

// replyFree reports whether no connection answers to what flow's replies to the
// external endpoint would be. Nor may they look like the packets they answer, as
// those of a host that talks to itself by its own external endpoint would.
func (t *Table) replyFree(flow, original packet.Tuple, ext uint32, port uint16) bool {
	flow.Src, flow.SrcPort = ext, port
	reply := flow.Reverse()
	if reply == original {
		return false
	}
	i, _ := t.find(&reply)
	return i == noConn || t.expired(t.conn(i), t.now) // then Commit ends it
}

// overload finds a port that others may use as well, but not towards the same
// remote endpoint (RFC 7857, 3).
func (t *Table) overload(b *Binding, ext uint32, flow, original packet.Tuple) (uint16, Refusal) {
	port, r := t.searchPort(ext, flow, original)
	if r == None {
		b.overload = true
	}
	return port, r
}

// uniqueTries bounds the search for a port. With half of the ports towards
// one remote endpoint in use, it fails once in 10^19 times.
const uniqueTries = 64

// UniquePort finds a source port for one connection only, so that flow sent
// from the address src has a reply that no other connection answers to. It
// keeps the port where it can. original is as for Bind.
func (t *Table) UniquePort(src uint32, flow, original packet.Tuple) (uint16, Refusal) {
	if t.replyFree(flow, original, src, flow.SrcPort) {
		return flow.SrcPort, None
	}
	if _, ok := protoIndex(flow.Proto); !ok {
		return 0, TupleTaken
	}
	return t.searchPort(src, flow, original)
}

// searchPort is UniquePort within the range of ports, which the flow's own may
// lie outside of.
func (t *Table) searchPort(src uint32, flow, original packet.Tuple) (uint16, Refusal) {
	lo, hi := t.portRange(flow.Proto, flow.SrcPort)
	if own := int(flow.SrcPort); own >= lo && own <= hi && t.replyFree(flow, original, src, flow.SrcPort) {
		return flow.SrcPort, None
	}
	for range uniqueTries {
		port := uint16(lo + t.rng.IntN(hi-lo+1))
		if t.replyFree(flow, original, src, port) {
			return port, None
		}
	}
	return 0, NoPort
}

// Inbound finds the internal endpoint behind an external one for the first packet
// of a connection, if the filtering behavior lets its source in (RFC 4787, 5).
// That is about packets from outside; filter is false for one from inside, so
// that two hosts behind the same address can reach each other (REQ-9).
func (t *Table) Inbound(b *Binding, flow packet.Tuple, filter bool) (addr uint32, port uint16, r Refusal) {
	i, found := t.mappings.byExternal[extKey{flow.Dst, flow.DstPort, flow.Proto}]
	if !found {
		return 0, 0, NoMapping
	}
	switch {
	case !filter:
	case t.cfg.Filtering == AddressAndPortDependent:
		return 0, 0, Filtered // what the endpoint may send belongs to a connection
	case t.cfg.Filtering == AddressDependent && t.mappings.permits[permit{i, flow.Src}] == 0:
		return 0, 0, Filtered
	}
	b.ok, b.dst = true, i+1
	m := &t.mappings.list[i]
	return m.key.addr, m.key.port, None
}

// pin keeps the mappings of a binding while connections are evicted (1), or
// leaves them to hold again (-1).
func (t *Table) pin(b *Binding, n int32) {
	for _, i := range [2]uint32{b.src, b.dst} {
		if i != 0 {
			t.mappings.list[i-1].refs += uint32(n)
		}
	}
}

// hold makes a connection use its mappings.
func (t *Table) hold(c *Conn, b *Binding) {
	if b.overload {
		t.stats.Overloaded++
	}
	if b.new {
		b.src = t.newMapping(b) + 1
	}
	l := t.links(c.self)
	l.mapping = [2]uint32{b.src, b.dst}
	for side, i := range l.mapping {
		if i != 0 {
			c.flags |= connMapped
			t.mappings.list[i-1].refs++
			t.mappings.permits[permit{i - 1, c.remote(side)}]++
		}
	}
}

// remote is whom a connection's mapping talks to, as the internal host sees it:
// the source's mapping to where the first packet was sent, the destination's to
// where replies are.
func (c *Conn) remote(side int) uint32 {
	if side == 0 {
		return c.dst[Original]
	}
	return c.dst[Reply]
}

func (t *Table) newMapping(b *Binding) uint32 {
	ms := &t.mappings
	var i uint32
	if n := len(ms.free); n > 0 {
		i, ms.free = ms.free[n-1], ms.free[:n-1]
	} else {
		i = uint32(len(ms.list))
		ms.list = append(ms.list, mapping{})
	}
	ms.list[i] = mapping{key: b.key, ext: b.ext}
	ms.byInternal[b.key] = i
	ms.byExternal[b.ext] = i
	pi, _ := protoIndex(b.ext.proto)
	t.portSet(b.ext.addr, pi).take(b.ext.port)
	use := t.hosts[b.key.addr]
	use.ports[pi]++
	t.hosts[b.key.addr] = use
	return i
}

// unmap lets go of a connection's mappings.
func (t *Table) unmap(c *Conn) {
	if !c.Mapped() {
		return
	}
	for side, i := range t.links(c.self).mapping {
		if i != 0 {
			t.releaseMapping(i-1, c.remote(side))
		}
	}
}

func (t *Table) releaseMapping(i, remote uint32) {
	ms := &t.mappings
	p := permit{i, remote}
	if n := ms.permits[p]; n > 1 {
		ms.permits[p] = n - 1
	} else {
		delete(ms.permits, p)
	}
	m := &ms.list[i]
	if m.refs--; m.refs > 0 {
		return
	}
	delete(ms.byInternal, m.key)
	delete(ms.byExternal, m.ext)
	pi, _ := protoIndex(m.ext.proto)
	t.portSet(m.ext.addr, pi).put(m.ext.port)
	use := t.hosts[m.key.addr]
	use.ports[pi]--
	t.setHost(m.key.addr, use)
	ms.free = append(ms.free, i)
}

func (t *Table) setHost(addr uint32, use hostUse) {
	if use == (hostUse{}) {
		delete(t.hosts, addr)
		return
	}
	t.hosts[addr] = use
}

// owner is the host whose share a new connection counts towards.
func (n *NewConn) owner() (uint32, bool) {
	switch n.Owner {
	case OwnerSource:
		return n.Original.Src, true
	case OwnerDest:
		return n.Reply.Src, true
	}
	return 0, false
}

// own counts a connection towards its owner's share: at once if the owner has
// opened it, but one that others have opened to it only once it is established.
// Half-open ones would let a stranger use up the share of a host that has done
// nothing; they are bounded by the oldest making room.
func (t *Table) own(c *Conn, o Owner) {
	switch o {
	case OwnerSource:
		t.count(c)
	case OwnerDest:
		c.flags |= connOwnerDest
	}
}

func (t *Table) count(c *Conn) {
	c.flags |= connOwned
	host := c.ownerAddr()
	use := t.hosts[host]
	use.conns++
	t.hosts[host] = use
}

func (t *Table) disown(c *Conn) {
	if c.flags&connOwned == 0 {
		return
	}
	host := c.ownerAddr()
	use := t.hosts[host]
	use.conns--
	t.setHost(host, use)
}

func (c *Conn) ownerAddr() uint32 {
	if c.flags&connOwnerDest != 0 {
		return c.src[Reply]
	}
	return c.src[Original]
}
