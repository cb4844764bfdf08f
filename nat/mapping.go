package nat

import (
	"unsafe"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// An external is one address that mappings use, with its ports for TCP, UDP and
// ICMP query identifiers.
type external struct {
	ports [3]*portSpace
}

// A portSpace is the ports of one address and protocol: the set of free ports, and the mappings of the
// other ports.
type portSpace struct {
	portSet
	taken     [2]int                            // how many ports have a mapping; 0: of the range, 1: well-known
	mapped    [1 << 16 / rowLen]*[rowLen]uint32 // the mapping of each port, 0: none
	used      [1 << 16 / rowLen]uint16          // how many mappings each row has
	spare     *[rowLen]uint32                   // a row that has become empty, kept for the next
	cooldowns [2]cooldowns                      // 0: of the range, 1: of the well-known ports

	lent      [2]int                 // how many ports hosts hold beyond their shares; 0: of the range, 1: well-known
	borrowers [2]conntrack.Borrowers // the holders of these
}

// rowLen is how many ports' mappings are allocated together.
const rowLen = 1024

// bytes is the memory that the ports of an address take.
func (e *external) bytes() int {
	n := int(unsafe.Sizeof(*e))
	for _, s := range e.ports {
		if s == nil {
			continue
		}
		n += int(unsafe.Sizeof(*s)) + s.cooldowns[0].bytes() + s.cooldowns[1].bytes()
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

// InUse is how many ports of an external address have a mapping, or how many identifiers of ICMP queries.
type InUse struct{ TCP, UDP, ICMP int }

// InUse returns how many ports of an address are in use. The time that it takes does not depend on how many they are.
func (t *Table) InUse(addr packet.Addr) InUse {
	var n [3]int
	if e := t.externals[addr]; e != nil {
		for k, s := range e.ports {
			if s != nil {
				n[k] = s.taken[0] + s.taken[1]
			}
		}
	}
	return InUse{TCP: n[0], UDP: n[1], ICMP: n[icmpIndex]}
}

// mapping returns the mapping of a port, 0 if it has none.
func (s *portSpace) mapping(port uint16) uint32 {
	if row := s.mapped[port/rowLen]; row != nil {
		return row[port%rowLen]
	}
	return 0
}

// set notes the mapping of a port that has none.
func (s *portSpace) set(port uint16, mapping uint32) {
	k := port / rowLen
	if s.mapped[k] == nil {
		if s.mapped[k], s.spare = s.spare, nil; s.mapped[k] == nil {
			s.mapped[k] = new([rowLen]uint32)
		}
	}
	s.mapped[k][port%rowLen] = mapping
	s.used[k]++
}

// unset forgets it.
func (s *portSpace) unset(port uint16) {
	k := port / rowLen
	s.mapped[k][port%rowLen] = 0
	if s.used[k]--; s.used[k] == 0 {
		s.mapped[k], s.spare = nil, s.mapped[k]
	}
}

// A mapping binds an internal to an external endpoint. Where the mapping behavior says so, it is for one
// remote address or endpoint only. It takes half a cache line: many mappings have one connection only, so
// its size counts.
type mapping struct {
	ext, addr, remote packet.Addr // remote and its port are 0 if they do not matter
	port, remotePort  uint16
	extPort           uint16
	proto             uint8
	form              Behavior // the mapping behavior that it was made by, and whole; or kept

	// first is a connection that uses the mapping, which ends with the last one (RFC 7857, 12); 0: there is none. All
	// are in a ring. Those at its front have a remote address that needs no permit apart: see mappings.allow.
	first conntrack.Member

	// Prev and Next are the neighbors in the queue of its holder's mappings that may end for other hosts. A
	// mapping with established TCP is in none: then Next says so, and Prev is how many such connections it has.
	conntrack.Borrower
}

// whole marks the form of a mapping that a connection uses, or has used: what a reader of the table's memory finds
// after the process has been killed.
const whole Behavior = 0x80

// notQueued stands in Next for a mapping that has established TCP.
const notQueued = ^uint32(0)

// Link implements conntrack.Linked.
func (m *mapping) Link() *uint32 { return &m.Prev }

// mapKey is what a mapping is found by.
type mapKey struct {
	ext, addr, remote packet.Addr
	port, remotePort  uint16
	proto             uint8
	form              Behavior
}

func (m *mapping) key() mapKey {
	return mapKey{m.ext, m.addr, m.remote, m.port, m.remotePort, m.proto, m.form &^ whole}
}

// A permit says that a mapping has connections with a remote address, which address-dependent filtering
// lets in. The connections at the front of a mapping's ring need none; permits are about the others.
type permit struct {
	mapping uint32
	remote  packet.Addr
	conns   uint32
}

// Link implements conntrack.Linked.
func (p *permit) Link() *uint32 { return &p.mapping }

// mappings are the mappings of a table and their permits. The index by internal endpoint holds the
// mappings whose port outside differs from the port inside. An index may have no room for an entry,
// which does not happen in practice. Then that entry is not found: another mapping is made, or a
// sender is filtered.
type mappings struct {
	list       conntrack.Slab[mapping, struct{}, *mapping]
	byInternal conntrack.Index
	permits    conntrack.Slab[permit, struct{}, *permit]
	byPermit   conntrack.Index
}

// bytes is the memory that the mappings and permits take.
func (m *mappings) bytes() int {
	return m.list.Bytes() + m.byInternal.Bytes() + m.permits.Bytes() + m.byPermit.Bytes()
}

func (k *mapKey) tag(x *conntrack.Index) uint32 {
	return x.Hash(k.addr.Number()<<32|k.remote.Number(),
		uint64(k.port)<<48|uint64(k.remotePort)<<32|uint64(k.proto)<<24|(k.ext^k.ext>>8).Number()&0xffffff)
}

// findMapping returns the mapping of an internal endpoint, 0 if it has none. Most have the same port
// outside, and are found there; the index is of the others.
func (t *Table) findMapping(k *mapKey) uint32 {
	m := &t.mappings
	if i := t.behind(k.ext, k.port, k.proto); i != 0 && m.list.At(i).key() == *k {
		return i
	}
	i, _ := m.byInternal.Lookup(k.tag(&m.byInternal), func(i uint32) bool { return m.list.At(i).key() == *k })
	return i
}

// permit returns the number of a mapping's permit for a remote address, 0 if there is none apart from
// the mapping, and the tag that it belongs under.
func (m *mappings) permit(mapping uint32, remote packet.Addr) (i, tag uint32) {
	tag = m.byPermit.Hash(uint64(mapping), remote.Number())
	i, _ = m.byPermit.Lookup(tag, func(i uint32) bool {
		p := m.permits.At(i)
		return p.mapping == mapping && p.remote == remote
	})
	return i, tag
}

// remoteOf is the remote address of a connection's mapping, as the internal host sees it. The source's
// mapping (side 0) talks to where the first packet was sent, the destination's (side 1) to where replies
// are sent.
func remoteOf(c *conntrack.Conn, side int) packet.Addr {
	return c.Tuple(conntrack.Direction(side)).Dst
}

// second says in which of its rings a connection is for a side of it.
func second(c *conntrack.Conn, side int) bool { return side == 1 && c.Marks()&sourceMapped != 0 }

// frontRemote is the remote address of the first connection of a mapping that has one.
func (t *Table) frontRemote(m *mapping) packet.Addr {
	c := t.conns.RingConn(m.first)
	if m.first.Second() || c.Marks()&sourceMapped == 0 {
		return remoteOf(c, 1)
	}
	return remoteOf(c, 0)
}

// lets reports whether a mapping has connections with a remote address.
func (t *Table) lets(i uint32, remote packet.Addr) bool {
	if m := t.mappings.list.At(i); m.first != 0 && t.frontRemote(m) == remote {
		return true
	}
	p, _ := t.mappings.permit(i, remote)
	return p != 0
}

// allow adds a connection to the ring of mapping i. Those of one remote address lie together at the front, and have no
// permit. When they have ended, there may be no such front: then the first connection has a permit.
func (t *Table) allow(i uint32, c *conntrack.Conn, side int) {
	ms, m, remote := &t.mappings, t.mappings.list.At(i), remoteOf(c, side)
	if m.first == 0 {
		t.conns.JoinRing(&m.first, c, second(c, side))
		return
	}
	p, tag := ms.permit(i, remote)
	if p != 0 {
		ms.permits.At(p).conns++
		t.conns.JoinRing(&m.first, c, second(c, side))
		return
	}
	front := t.frontRemote(m)
	if front == remote {
		behind := t.conns.NextInRing(m.first)
		t.conns.JoinRing(&behind, c, second(c, side))
		return
	}
	t.conns.JoinRing(&m.first, c, second(c, side))
	if p, _ := ms.permit(i, front); p != 0 {
		m.first = conntrack.MemberOf(c, second(c, side)) // the new front
		return
	}
	p = ms.permits.Take()
	*ms.permits.At(p) = permit{i, remote, 1}
	if !ms.byPermit.Insert(tag, p) {
		ms.permits.Free(p)
	}
}

// disallow takes a connection out of the ring of mapping i.
func (t *Table) disallow(i uint32, c *conntrack.Conn, side int) {
	ms := &t.mappings
	t.conns.LeaveRing(&ms.list.At(i).first, c, second(c, side))
	p, tag := ms.permit(i, remoteOf(c, side))
	if p == 0 {
		return
	}
	if k := ms.permits.At(p); k.conns > 1 {
		k.conns--
		return
	}
	ms.byPermit.Remove(tag, p)
	ms.permits.Free(p)
}

// A Binding is how a new connection's source or destination goes through a mapping. It changes nothing
// until the connection is committed, and is valid only until a table changes. The zero value is none.
type Binding struct {
	ok  bool
	src uint32 // mapping of the source, 0: none, or it is to be made
	dst uint32 // mapping of the destination, 0: none
	new bool   // the source's mapping is to be made
	key mapKey
	ext uint16 // its external port

	recall    uint32 // mapping that has the external port, and is to end; 0: none
	overload  bool
	overShare bool // though there are free ports
}

// Used reports whether the connection goes through a mapping or overloads a port.
func (b *Binding) Used() bool { return b.ok }

// marks are the marks that the binding's connection gets.
func (b *Binding) marks() (m conntrack.Marks) {
	if b.src != 0 || b.new {
		m |= sourceMapped
	}
	if b.dst != 0 {
		m |= destMapped
	}
	return m
}

// icmpIndex is the index of ICMP, which is the last one.
const icmpIndex = 2

// protoIndex selects among the three port spaces; false for other protocols.
func protoIndex(proto uint8) (int, bool) {
	switch proto {
	case packet.ProtoTCP:
		return 0, true
	case packet.ProtoUDP:
		return 1, true
	case packet.ProtoICMP:
		return icmpIndex, true
	}
	return 0, false
}

// portRange is the range that the external port for an internal one comes from:
// well-known ports stay well-known (RFC 4787 REQ-3a); identifiers know no ranges.
func (t *Table) portRange(proto uint8, port uint16) (lo, hi int) {
	return t.rangeOf(groupOf(proto, port))
}

// rangeOf is the range of a group's ports.
func (t *Table) rangeOf(group portGroup) (lo, hi int) {
	switch {
	case group == icmpIndex:
		return 0, 65535
	case group.wellKnown() == 1:
		return 1, 1023
	}
	return int(t.cfg.PortMin), int(t.cfg.PortMax)
}

func (t *Table) ports(addr packet.Addr, proto int) *portSpace {
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
func (t *Table) remotePart(addr packet.Addr, port uint16) (packet.Addr, uint16) {
	switch t.cfg.Mapping {
	case AddressDependent:
		return addr, 0
	case AddressAndPortDependent:
		return addr, port
	}
	return 0, 0
}

// Bind finds the external port, on the external address ext, for a new connection. tuple has the
// sender's source and the final destination. original is the tuple as it arrived; the two differ if the
// destination is translated as well. Bind fills b and returns the port.
//
// A host with its share of the ports overloads ports. Where the settings say Lend, it first gets free ports, for
// UDP, ICMP, and TCP that is not established. A lent port counts as free for others: a host within its share that
// finds no free port gets one that another host has borrowed. It is the one that has been idle for the longest, of the
// borrower that has about the most. All connections of its mapping end. A mapping that has an established TCP
// connection does not end for others, and counts within the share: see OverShare.
func (t *Table) Bind(b *Binding, ext packet.Addr, tuple, original packet.Tuple) (uint16, conntrack.Refusal) {
	pi, ok := protoIndex(tuple.Proto)
	if !ok {
		return 0, NoPort
	}
	b.ok = true
	b.key = mapKey{ext: ext, addr: tuple.Src, port: tuple.SrcPort, proto: tuple.Proto, form: t.cfg.Mapping}
	b.key.remote, b.key.remotePort = t.remotePart(tuple.Dst, tuple.DstPort)
	if i := t.findMapping(&b.key); i != 0 {
		port := t.mappings.list.At(i).extPort
		if t.replyFree(tuple, original, ext, port) {
			b.src = i
			return port, conntrack.None
		}
		return t.overload(b, ext, tuple, original)
	}
	space, group := t.ports(ext, pi), groupOf(tuple.Proto, tuple.SrcPort)
	t.freeCooled(space, group.wellKnown(), t.conns.Millis())
	if over, _ := t.usesPorts(ext, space, tuple); !over || t.mayBorrow(ext, tuple) {
		if port, ok := t.mapTo(b, space, !over, ext, tuple, original); ok {
			b.new, b.ext = true, port
			return port, conntrack.None
		}
	}
	over, free := t.usesPorts(ext, space, tuple) // the search may have found out more
	b.overShare = over && free > 0
	return t.overload(b, ext, tuple, original)
}

// mapTo finds the port of a new mapping. If no other is free, one that is lent serves as well. needed says that the
// host is within its share: then one that is kept back comes before that.
func (t *Table) mapTo(b *Binding, space *portSpace, needed bool, ext packet.Addr, tuple,
	original packet.Tuple) (uint16, bool) {
	lo, hi := t.portRange(tuple.Proto, tuple.SrcPort)
	wellKnown := groupOf(tuple.Proto, tuple.SrcPort).wellKnown()
	port, own := tuple.SrcPort, int(tuple.SrcPort)
	found := own >= lo && own <= hi && space.keptFor(port, wellKnown, tuple.Src)
	if !found {
		port, found = space.choose(tuple.SrcPort, lo, hi, t.rng)
	}
	for needed && !found && t.freeOldest(space, wellKnown) { // better than one that is in use
		port, found = space.choose(tuple.SrcPort, lo, hi, t.rng)
	}
	if !found {
		return t.recall(b, space, ext, tuple, original)
	}
	for n := 0; found; n++ {
		if t.replyFree(tuple, original, ext, port) {
			return port, true
		}
		// Another connection overloads that port towards this endpoint.
		if n == mappingTries {
			break
		}
		port, found = space.another(port, lo, hi, t.rng)
	}
	return 0, false
}

// mappingTries is how many more free ports a new mapping tries where another connection overloads the
// first one towards the same endpoint. These tries cost the host less than overloading a port does.
const mappingTries = 4

// overload finds a port that other hosts may use as well, but not towards the same remote endpoint (RFC
// 7857, 3). A host with more than its share of the ports gets none where half of the ports towards the
// endpoint are taken. Otherwise it could keep all other hosts from that endpoint.
func (t *Table) overload(b *Binding, ext packet.Addr, tuple, original packet.Tuple) (uint16, conntrack.Refusal) {
	pi, _ := protoIndex(tuple.Proto)
	if over, free := t.usesPorts(ext, t.ports(ext, pi), tuple); over && free > 0 && t.halfTaken(ext, tuple, original) {
		return 0, conntrack.HostShareUsed
	}
	port, r := t.searchPort(ext, tuple, original)
	if r == conntrack.None {
		b.overload = true
	}
	return port, r
}

// sampleSize is how many ports halfTaken looks at. A host that tries a million times ends with 73 of 100
// ports, after ten million with 78; with half the sample with 79 and 85.
const sampleSize = 32

// halfTaken reports whether half of the ports towards tuple's destination are taken, in a sample at
// random: the host may have chosen which ports it takes.
func (t *Table) halfTaken(ext packet.Addr, tuple, original packet.Tuple) bool {
	lo, hi := t.portRange(tuple.Proto, tuple.SrcPort)
	n, taken := min(hi-lo+1, sampleSize), 0
	for k := range n {
		port := lo + k
		if hi-lo >= sampleSize {
			port = lo + t.rng.IntN(hi-lo+1)
		}
		if !t.replyFree(tuple, original, ext, uint16(port)) {
			if taken++; 2*taken >= n {
				return true
			}
		}
	}
	return false
}

// uniqueTries bounds the search at random. With half of the ports towards one remote endpoint in use,
// eight tries find one in 255 of 256 cases. Where they fail, the search goes on among the remotePorts.
const uniqueTries = 8

// UniquePort finds a source port for one connection only, so that tuple sent from the address src has a
// reply that no other connection answers to. It keeps the port where it can. original is as for Bind.
func (t *Table) UniquePort(src packet.Addr, tuple, original packet.Tuple) (uint16, conntrack.Refusal) {
	if t.replyFree(tuple, original, src, tuple.SrcPort) {
		return tuple.SrcPort, conntrack.None
	}
	if _, ok := protoIndex(tuple.Proto); !ok {
		return 0, conntrack.TupleTaken
	}
	return t.searchPort(src, tuple, original)
}

// searchPort is UniquePort within the range of ports. The port of tuple may lie outside of it.
func (t *Table) searchPort(src packet.Addr, tuple, original packet.Tuple) (uint16, conntrack.Refusal) {
	lo, hi := t.portRange(tuple.Proto, tuple.SrcPort)
	if own := int(tuple.SrcPort); own >= lo && own <= hi && t.replyFree(tuple, original, src, tuple.SrcPort) {
		return tuple.SrcPort, conntrack.None
	}
	for range uniqueTries {
		port := uint16(lo + t.rng.IntN(hi-lo+1))
		if t.replyFree(tuple, original, src, port) {
			return port, conntrack.None
		}
	}
	return t.searchRemote(src, tuple, original, lo, hi)
}

// Inbound finds the internal endpoint behind an external one for the first packet of a connection, if the
// filtering behavior lets its source in (RFC 4787, 5). Filtering is about packets from outside. filter is
// false for a packet from inside, so that two hosts behind the same address can reach each other (REQ-9).
func (t *Table) Inbound(b *Binding, tuple packet.Tuple, filter bool) (addr packet.Addr, port uint16,
	r conntrack.Refusal) {
	i := t.behind(tuple.Dst, tuple.DstPort, tuple.Proto)
	if i == 0 {
		return 0, 0, NoMapping
	}
	switch {
	case !filter:
	case t.cfg.Filtering == AddressAndPortDependent:
		return 0, 0, Filtered // the remote endpoint may send only in a connection
	case t.cfg.Filtering == AddressDependent:
		if !t.lets(i, tuple.Src) {
			return 0, 0, Filtered
		}
	}
	b.ok, b.dst = true, i
	m := t.mappings.list.At(i)
	return m.addr, m.port, conntrack.None
}

// behind finds the mapping of an external endpoint, 0 if it has none.
func (t *Table) behind(addr packet.Addr, port uint16, proto uint8) uint32 {
	pi, ok := protoIndex(proto)
	e := t.externals[addr]
	if !ok || e == nil || e.ports[pi] == nil {
		return 0
	}
	return e.ports[pi].mapping(port)
}

// pin keeps the mappings of a binding while connections end to make room, one of which may be the last
// that uses a mapping. unpin ends it, and with it a mapping that no connection uses.
func (t *Table) pin(b *Binding) { t.pinned = [2]uint32{b.src, b.dst} }

func (t *Table) unpin() {
	pinned := t.pinned
	t.pinned = [2]uint32{}
	for side, i := range pinned {
		if i != 0 && t.mappings.list.At(i).first == 0 && (side == 0 || i != pinned[0]) {
			t.endMapping(i)
		}
	}
}

// hold makes a connection use its mappings.
func (t *Table) hold(c *conntrack.Conn, b *Binding) {
	if b.overload {
		t.stats.Overloaded++
	}
	if b.overShare {
		t.stats.OverShare++
	}
	if b.new {
		b.src = t.newMapping(&b.key, b.ext)
	}
	for side, i := range [2]uint32{b.src, b.dst} {
		if i != 0 {
			t.use(i, c, side)
		}
	}
}

// newMapping makes a mapping with an external port.
func (t *Table) newMapping(k *mapKey, ext uint16) uint32 {
	m := &t.mappings
	i := m.list.Take()
	*m.list.At(i) = mapping{
		ext: k.ext, addr: k.addr, remote: k.remote, port: k.port, remotePort: k.remotePort, extPort: ext,
		proto: k.proto, form: k.form,
	}
	if ext != k.port {
		m.byInternal.Insert(k.tag(&m.byInternal), i)
	}
	pi, _ := protoIndex(k.proto)
	space := t.ports(k.ext, pi)
	group := groupOf(k.proto, ext)
	t.keepNoMore(space, group.wellKnown(), ext)
	t.gain(space, i, group)
	space.take(ext)
	if t.counts(k.proto, ext) {
		space.taken[group.wellKnown()]++
	}
	space.set(ext, i)
	return i
}

// unmap takes a connection from its mappings.
func (t *Table) unmap(c *conntrack.Conn) {
	for side := range 2 {
		if i := t.mappingOf(c, side); i != 0 {
			t.unuse(i, c, side)
		}
	}
}

// mappingOf is the mapping that a side of a connection goes through, 0 if there is none. It is that of the external
// endpoint that its replies, or its first packet, are sent to.
func (t *Table) mappingOf(c *conntrack.Conn, side int) uint32 {
	marks, d := sourceMapped, conntrack.Reply
	if side == 1 {
		marks, d = destMapped, conntrack.Original
	}
	if c.Marks()&marks == 0 {
		return 0
	}
	tuple := c.Tuple(d)
	return t.behind(tuple.Dst, tuple.DstPort, tuple.Proto)
}

// unuse takes a side of a connection from mapping i. The mapping ends with its last one.
func (t *Table) unuse(i uint32, c *conntrack.Conn, side int) {
	if firm(c) {
		t.firmDown(i)
	}
	t.disallow(i, c, side)
	if t.mappings.list.At(i).first == 0 && i != t.pinned[0] && i != t.pinned[1] {
		t.endMapping(i)
	}
}

// endMapping forgets a mapping that no connection uses.
func (t *Table) endMapping(i uint32) {
	ms := &t.mappings
	m := ms.list.At(i)
	if key := m.key(); m.extPort != m.port {
		ms.byInternal.Remove(key.tag(&ms.byInternal), i)
	}
	pi, _ := protoIndex(m.proto)
	space := t.ports(m.ext, pi)
	group := groupOf(m.proto, m.extPort)
	t.lose(space, i, group)
	if t.counts(m.proto, m.extPort) {
		space.taken[group.wellKnown()]--
	}
	space.unset(m.extPort)
	if t.coolsDown(pi) {
		space.keepBack(i, m, t.conns.Millis())
		return
	}
	space.put(m.extPort)
	ms.list.Free(i)
}

// A portGroup is the ports that a host has a share of: the ports of one protocol from 1024 up, or its well-known
// ports. Mappings keep the two apart, too.
type portGroup uint8

const portGroups = 5

// groupOf is the group of an external port. protoIndex knows the protocol.
func groupOf(proto uint8, port uint16) portGroup {
	pi, _ := protoIndex(proto)
	if port < 1024 && proto != packet.ProtoICMP {
		return portGroup(pi) + 3
	}
	return portGroup(pi)
}

// wellKnown is 1 for a group of well-known ports, else 0.
func (g portGroup) wellKnown() int {
	if g >= 3 {
		return 1
	}
	return 0
}
