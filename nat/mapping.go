package nat

import (
	"unsafe"

	"github.com/taprouter/taprouter/internal/packet"
)

// An external is one address that mappings use, with its ports for TCP, UDP and
// ICMP query identifiers.
type external struct {
	ports [3]*portSpace
}

// A portSpace is the ports of one address and protocol: those that are free, and
// the mappings of the others.
type portSpace struct {
	portSet
	taken  [2]int                                // how many have a mapping; 1: of the well-known ones
	mapped [1 << 16 / chunkLen]*[chunkLen]uint32 // by port: mapping + 1; nil: none
	used   [1 << 16 / chunkLen]uint16            // how many of them there are
	spare  *[chunkLen]uint32                     // kept when the last has gone, for the next
	rests  [2]rests                              // like taken
}

// bytes is the memory that the ports of an address take.
func (e *external) bytes() int {
	n := int(unsafe.Sizeof(*e))
	for _, s := range e.ports {
		if s == nil {
			continue
		}
		n += int(unsafe.Sizeof(*s)) + s.rests[0].bytes() + s.rests[1].bytes()
		for _, c := range s.mapped {
			if c != nil {
				n += int(unsafe.Sizeof(*c))
			}
		}
		if s.spare != nil {
			n += int(unsafe.Sizeof(*s.spare))
		}
	}
	return n
}

// mapping returns the mapping of a port.
func (s *portSpace) mapping(port uint16) (uint32, bool) {
	if c := s.mapped[port/chunkLen]; c != nil && c[port%chunkLen] != 0 {
		return c[port%chunkLen] - 1, true
	}
	return 0, false
}

// set notes the mapping of a port that has none.
func (s *portSpace) set(port uint16, mapping uint32) {
	k := port / chunkLen
	if s.mapped[k] == nil {
		if s.mapped[k], s.spare = s.spare, nil; s.mapped[k] == nil {
			s.mapped[k] = new([chunkLen]uint32)
		}
	}
	s.mapped[k][port%chunkLen] = mapping + 1
	s.used[k]++
}

// unset forgets it.
func (s *portSpace) unset(port uint16) {
	k := port / chunkLen
	s.mapped[k][port%chunkLen] = 0
	if s.used[k]--; s.used[k] == 0 {
		s.mapped[k], s.spare = nil, s.mapped[k]
	}
}

// A mapping binds an internal to an external endpoint, for one remote address
// or endpoint only where the mapping behavior says so. Half a cache line, because
// many have one connection only.
type mapping struct {
	ext, addr, remote uint32 // remote and its port are 0 if they do not matter
	port, remotePort  uint16
	extPort           uint16
	proto             uint8
	refs              uint32 // connections that use it; it ends with the last (RFC 7857, 12)
	permitted         uint32 // a permit of its own, for the first remote address, if
	conns             uint32 // this is not 0
}

// mapKey is what a mapping is found by.
type mapKey struct {
	ext, addr, remote uint32
	port, remotePort  uint16
	proto             uint8
}

func (m *mapping) key() mapKey {
	return mapKey{m.ext, m.addr, m.remote, m.port, m.remotePort, m.proto}
}

// A permit says that a mapping has connections with a remote address, which
// address-dependent filtering lets in. A mapping has one itself; these are the
// others'.
type permit struct{ mapping, remote, conns uint32 }

// mappings are the mappings of a table, those with another port outside than inside
// found by their internal endpoint, and their permits. An index that has no room for
// an entry, which chance does not bring about, makes one that is not found: then
// another mapping is made, or a sender filtered.
type mappings struct {
	list       pool[mapping]
	byInternal index
	others     pool[permit]
	byPermit   index
}

// bytes is the memory that the mappings and permits take.
func (m *mappings) bytes() int {
	return m.list.bytes() + m.byInternal.bytes() + m.others.bytes() + m.byPermit.bytes()
}

func (k *mapKey) tag(x *index) uint32 {
	return x.hash(uint64(k.addr)<<32|uint64(k.remote),
		uint64(k.port)<<48|uint64(k.remotePort)<<32|uint64(k.proto)<<24|uint64(k.ext^k.ext>>8)&0xffffff)
}

// findMapping returns the mapping of an internal endpoint. Most have the same port outside,
// and are found there; the index is of the others.
func (t *Table) findMapping(k *mapKey) (uint32, bool) {
	m := &t.mappings
	if i, ok := t.behind(k.ext, k.port, k.proto); ok && m.list.at(i).key() == *k {
		return i, true
	}
	return m.byInternal.lookup(k.tag(&m.byInternal), func(i uint32) bool { return m.list.at(i).key() == *k })
}

// permit returns the number of the permit of a mapping for a remote address, if it
// is not the mapping's own.
func (m *mappings) permit(mapping, remote uint32) (i, tag uint32, ok bool) {
	tag = m.byPermit.hash(uint64(mapping), uint64(remote))
	i, ok = m.byPermit.lookup(tag, func(i uint32) bool {
		p := m.others.at(i)
		return p.mapping == mapping && p.remote == remote
	})
	return i, tag, ok
}

// permits reports whether a mapping has connections with a remote address.
func (m *mappings) permits(i, remote uint32) bool {
	if k := m.list.at(i); k.conns > 0 && k.permitted == remote {
		return true
	}
	_, _, ok := m.permit(i, remote)
	return ok
}

// allow counts a connection of a mapping with a remote address.
func (m *mappings) allow(mapping, remote uint32) {
	k := m.list.at(mapping)
	if k.conns > 0 && k.permitted == remote || k.refs == 1 { // the first has none before it
		k.permitted = remote
		k.conns++
		return
	}
	i, tag, ok := m.permit(mapping, remote)
	switch {
	case ok:
		m.others.at(i).conns++
	case k.conns == 0:
		k.permitted, k.conns = remote, 1
	default:
		i = m.others.add(permit{mapping, remote, 1})
		if !m.byPermit.insert(tag, i) {
			m.others.remove(i)
		}
	}
}

// disallow takes back what allow has counted.
func (m *mappings) disallow(mapping, remote uint32) {
	if k := m.list.at(mapping); k.conns > 0 && k.permitted == remote {
		k.conns--
		return
	}
	i, tag, ok := m.permit(mapping, remote)
	if !ok {
		return
	}
	if p := m.others.at(i); p.conns > 1 {
		p.conns--
		return
	}
	m.byPermit.remove(tag, i)
	m.others.remove(i)
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
	ext uint16 // its external port

	overload  bool
	overShare bool // though there are free ports
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

func (t *Table) ports(addr uint32, proto int) *portSpace {
	e := t.externals[addr]
	if e == nil {
		e = new(external)
		t.externals[addr] = e
	}
	if e.ports[proto] == nil {
		e.ports[proto] = &portSpace{portSet: newPortSet()}
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
	if i, found := t.findMapping(&b.key); found {
		port := t.mappings.list.at(i).extPort
		if t.replyFree(flow, original, ext, port) {
			b.src = i + 1
			return port, None
		}
		return t.overload(b, ext, flow, original)
	}
	lo, hi := t.portRange(flow.Proto, flow.SrcPort)
	space, group := t.ports(ext, pi), groupOf(flow.Proto, flow.SrcPort)
	if t.restsAfterUse(pi) {
		space.wake(group.wellKnown(), t.now)
	}
	if over, free := t.usesPorts(space, flow); over {
		b.overShare = free > 0
	} else {
		port, found := flow.SrcPort, space.again(flow.SrcPort, group.wellKnown(), flow.Src)
		if !found {
			port, found = space.choose(flow.SrcPort, lo, hi, t.rng)
		}
		for !found && space.wakeOldest(group.wellKnown()) { // better than one that is in use
			port, found = space.choose(flow.SrcPort, lo, hi, t.rng)
		}
		for n := 0; found; n++ {
			if t.replyFree(flow, original, ext, port) {
				b.new, b.ext = true, port
				return port, None
			}
			// Somebody overloads that port towards this endpoint.
			if n == mappingTries {
				break
			}
			port, found = space.another(port, lo, hi, t.rng)
		}
	}
	return t.overload(b, ext, flow, original)
}

// usesPorts reports whether flow's sender has as many ports of an external address as it
// may, and how many are free.
func (t *Table) usesPorts(space *portSpace, flow packet.Tuple) (over bool, free int) {
	group := groupOf(flow.Proto, flow.SrcPort)
	lo, hi := t.portRange(flow.Proto, flow.SrcPort)
	free = hi - lo + 1 - space.taken[group.wellKnown()]
	return t.overShare(int(t.hosts.use(flow.Src).ports[group]), hi-lo+1, free), free
}

// mappingTries bounds the search for a port of one's own among those that others
// overload: a host without one is worse off than the search is dear.
const mappingTries = 4

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
	return i == noConn || t.expired(t.conn(i), t.now) || t.overruled(t.conn(i)) // then Commit ends it
}

// overload finds a port that others may use as well, but not towards the same
// remote endpoint (RFC 7857, 3). A host with more than its share of the ports gets none
// where the endpoint is crowded, or it could shut all others out from there.
func (t *Table) overload(b *Binding, ext uint32, flow, original packet.Tuple) (uint16, Refusal) {
	pi, _ := protoIndex(flow.Proto)
	if over, free := t.usesPorts(t.ports(ext, pi), flow); over && free > 0 && t.crowded(ext, flow, original) {
		return 0, HostShareUsed
	}
	port, r := t.searchPort(ext, flow, original)
	if r == None {
		b.overload = true
	}
	return port, r
}

// crowdSample is how many ports crowded looks at. A host that tries a million times ends
// with 73 of 100 ports, after ten million with 78; with half the sample with 79 and 85.
const crowdSample = 32

// crowded reports whether half of the ports towards flow's destination are taken, of a
// few at random: the host may have chosen which it takes.
func (t *Table) crowded(ext uint32, flow, original packet.Tuple) bool {
	lo, hi := t.portRange(flow.Proto, flow.SrcPort)
	n, taken := min(hi-lo+1, crowdSample), 0
	for k := range n {
		port := lo + k
		if hi-lo >= crowdSample {
			port = lo + t.rng.IntN(hi-lo+1)
		}
		if !t.replyFree(flow, original, ext, uint16(port)) {
			if taken++; 2*taken >= n {
				return true
			}
		}
	}
	return false
}

// uniqueTries bounds the search at random. With half of the ports towards one
// remote endpoint in use, eight tries find one in 255 of 256 cases; the others know
// better then.
const uniqueTries = 8

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
	return t.crowdPort(src, flow, original, lo, hi)
}

// Inbound finds the internal endpoint behind an external one for the first packet
// of a connection, if the filtering behavior lets its source in (RFC 4787, 5).
// That is about packets from outside; filter is false for one from inside, so
// that two hosts behind the same address can reach each other (REQ-9).
func (t *Table) Inbound(b *Binding, flow packet.Tuple, filter bool) (addr uint32, port uint16, r Refusal) {
	i, found := t.behind(flow.Dst, flow.DstPort, flow.Proto)
	if !found {
		return 0, 0, NoMapping
	}
	switch {
	case !filter:
	case t.cfg.Filtering == AddressAndPortDependent:
		return 0, 0, Filtered // what the endpoint may send belongs to a connection
	case t.cfg.Filtering == AddressDependent:
		if !t.mappings.permits(i, flow.Src) {
			return 0, 0, Filtered
		}
	}
	b.ok, b.dst = true, i+1
	m := t.mappings.list.at(i)
	return m.addr, m.port, None
}

// behind finds the mapping of an external endpoint.
func (t *Table) behind(addr uint32, port uint16, proto uint8) (uint32, bool) {
	pi, ok := protoIndex(proto)
	e := t.externals[addr]
	if !ok || e == nil || e.ports[pi] == nil {
		return 0, false
	}
	return e.ports[pi].mapping(port)
}

// pin keeps the mappings of a binding while other connections end, one of which may
// be the last user. unpin leaves them to hold, or gives up those that nothing uses
// if nothing has come of the connection.
func (t *Table) pin(b *Binding) {
	for _, i := range [2]uint32{b.src, b.dst} {
		if i != 0 {
			t.mappings.list.at(i-1).refs++
		}
	}
}

func (t *Table) unpin(b *Binding, done bool) {
	for _, i := range [2]uint32{b.src, b.dst} {
		if i == 0 {
			continue
		}
		m := t.mappings.list.at(i - 1)
		if m.refs--; m.refs == 0 && !done {
			t.endMapping(i - 1)
		}
	}
}

// hold makes a connection use its mappings.
func (t *Table) hold(c *Conn, b *Binding) {
	if b.overload {
		t.stats.Overloaded++
	}
	if b.overShare {
		t.stats.OverShare++
	}
	if b.new {
		b.src = t.newMapping(b) + 1
	}
	for side, i := range [2]uint32{b.src, b.dst} {
		if i != 0 {
			c.flags |= [2]connFlags{connSourceMapped, connDestMapped}[side]
			t.mappings.list.at(i-1).refs++
			t.mappings.allow(i-1, c.remote(side))
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
	m := &t.mappings
	k := &b.key
	i := m.list.add(mapping{ext: k.ext, addr: k.addr, remote: k.remote, port: k.port, remotePort: k.remotePort, extPort: b.ext, proto: k.proto})
	if b.ext != k.port {
		m.byInternal.insert(k.tag(&m.byInternal), i)
	}
	pi, _ := protoIndex(k.proto)
	space := t.ports(k.ext, pi)
	group := groupOf(k.proto, b.ext)
	delete(space.rests[group.wellKnown()].by, b.ext)
	space.take(b.ext)
	space.taken[group.wellKnown()]++
	space.set(b.ext, i)
	t.hosts.more(k.addr, func(u *hostUse) { u.ports[group]++ })
	return i
}

// unmap lets go of a connection's mappings: those of the external endpoints that its
// replies and its first packet were sent to.
func (t *Table) unmap(c *Conn) {
	if c.flags&connSourceMapped != 0 {
		if i, ok := t.behind(c.dst[Reply], c.dstPort[Reply], c.proto); ok {
			t.releaseMapping(i, c.remote(0))
		}
	}
	if c.flags&connDestMapped != 0 {
		if i, ok := t.behind(c.dst[Original], c.dstPort[Original], c.proto); ok {
			t.releaseMapping(i, c.remote(1))
		}
	}
}

func (t *Table) releaseMapping(i, remote uint32) {
	ms := &t.mappings
	ms.disallow(i, remote)
	m := ms.list.at(i)
	if m.refs--; m.refs == 0 {
		t.endMapping(i)
	}
}

// endMapping forgets a mapping that nothing uses.
func (t *Table) endMapping(i uint32) {
	ms := &t.mappings
	m := ms.list.at(i)
	if key := m.key(); m.extPort != m.port {
		ms.byInternal.remove(key.tag(&ms.byInternal), i)
	}
	pi, _ := protoIndex(m.proto)
	space := t.ports(m.ext, pi)
	group := groupOf(m.proto, m.extPort)
	if t.restsAfterUse(pi) {
		space.rest(m.extPort, group.wellKnown(), m.addr, t.now)
	} else {
		space.put(m.extPort)
	}
	space.taken[group.wellKnown()]--
	space.unset(m.extPort)
	t.hosts.less(m.addr, func(u *hostUse) { u.ports[group]-- })
	ms.list.remove(i)
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
	t.hosts.more(c.ownerAddr(), func(u *hostUse) { u.conns++ })
}

func (t *Table) disown(c *Conn) {
	if c.flags&connOwned == 0 {
		return
	}
	t.hosts.less(c.ownerAddr(), func(u *hostUse) { u.conns-- })
}

func (c *Conn) ownerAddr() uint32 {
	if c.flags&connOwnerDest != 0 {
		return c.src[Reply]
	}
	return c.src[Original]
}
