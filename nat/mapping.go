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
	form              Behavior    // the mapping behavior that it was made by; or kept
	refs              uint32      // connections that use it; it ends with the last (RFC 7857, 12). 0: not whole
	permitted         packet.Addr // the first remote address, which needs no permit apart; valid if conns is not 0
	conns             uint32      // connections with that remote address
}

// Link implements conntrack.Linked.
func (m *mapping) Link() *uint32 { return &m.conns }

// mapKey is what a mapping is found by.
type mapKey struct {
	ext, addr, remote packet.Addr
	port, remotePort  uint16
	proto             uint8
	form              Behavior
}

func (m *mapping) key() mapKey {
	return mapKey{m.ext, m.addr, m.remote, m.port, m.remotePort, m.proto, m.form}
}

// A permit says that a mapping has connections with a remote address, which address-dependent filtering
// lets in. The mapping itself holds that of its first remote address; permits are about the others.
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

// lets reports whether a mapping has connections with a remote address.
func (m *mappings) lets(i uint32, remote packet.Addr) bool {
	if k := m.list.At(i); k.conns > 0 && k.permitted == remote {
		return true
	}
	p, _ := m.permit(i, remote)
	return p != 0
}

// allow counts a connection of a mapping with a remote address.
func (m *mappings) allow(mapping uint32, remote packet.Addr) {
	k := m.list.At(mapping)
	if k.conns > 0 && k.permitted == remote || k.refs == 1 { // the first has no other before it
		k.permitted = remote
		k.conns++
		return
	}
	i, tag := m.permit(mapping, remote)
	switch {
	case i != 0:
		m.permits.At(i).conns++
	case k.conns == 0:
		k.permitted, k.conns = remote, 1
	default:
		i = m.permits.Take()
		*m.permits.At(i) = permit{mapping, remote, 1}
		if !m.byPermit.Insert(tag, i) {
			m.permits.Free(i)
		}
	}
}

// disallow takes back what allow has counted.
func (m *mappings) disallow(mapping uint32, remote packet.Addr) {
	if k := m.list.At(mapping); k.conns > 0 && k.permitted == remote {
		k.conns--
		return
	}
	i, tag := m.permit(mapping, remote)
	if i == 0 {
		return
	}
	if p := m.permits.At(i); p.conns > 1 {
		p.conns--
		return
	}
	m.byPermit.Remove(tag, i)
	m.permits.Free(i)
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
	switch {
	case proto == packet.ProtoICMP:
		return 0, 65535
	case port < 1024:
		return 1, 1023
	}
	return max(1024, int(t.cfg.PortMin)), int(t.cfg.PortMax)
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
	lo, hi := t.portRange(tuple.Proto, tuple.SrcPort)
	space, group := t.ports(ext, pi), groupOf(tuple.Proto, tuple.SrcPort)
	t.freeCooled(space, group.wellKnown(), t.conns.Millis())
	if over, free := t.usesPorts(space, tuple); over {
		b.overShare = free > 0
	} else {
		port, own := tuple.SrcPort, int(tuple.SrcPort)
		found := own >= lo && own <= hi && space.keptFor(port, group.wellKnown(), tuple.Src)
		if !found {
			port, found = space.choose(tuple.SrcPort, lo, hi, t.rng)
		}
		for !found && t.freeOldest(space, group.wellKnown()) { // better than one that is in use
			port, found = space.choose(tuple.SrcPort, lo, hi, t.rng)
		}
		for n := 0; found; n++ {
			if t.replyFree(tuple, original, ext, port) {
				b.new, b.ext = true, port
				return port, conntrack.None
			}
			// Another connection overloads that port towards this endpoint.
			if n == mappingTries {
				break
			}
			port, found = space.another(port, lo, hi, t.rng)
		}
	}
	return t.overload(b, ext, tuple, original)
}

// usesPorts reports whether the sender of tuple has as many ports of an external address as it may, and
// how many are free.
func (t *Table) usesPorts(space *portSpace, tuple packet.Tuple) (over bool, free int) {
	group := groupOf(tuple.Proto, tuple.SrcPort)
	lo, hi := t.portRange(tuple.Proto, tuple.SrcPort)
	free = hi - lo + 1 - space.taken[group.wellKnown()]
	return t.share.Exceeds(t.conns.HostCounter(tuple.Src, int(group)), hi-lo+1, free), free
}

// mappingTries is how many more free ports a new mapping tries where another connection overloads the
// first one towards the same endpoint. These tries cost the host less than overloading a port does.
const mappingTries = 4

// overload finds a port that other hosts may use as well, but not towards the same remote endpoint (RFC
// 7857, 3). A host with more than its share of the ports gets none where half of the ports towards the
// endpoint are taken. Otherwise it could keep all other hosts from that endpoint.
func (t *Table) overload(b *Binding, ext packet.Addr, tuple, original packet.Tuple) (uint16, conntrack.Refusal) {
	pi, _ := protoIndex(tuple.Proto)
	if over, free := t.usesPorts(t.ports(ext, pi), tuple); over && free > 0 && t.halfTaken(ext, tuple, original) {
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
		if !t.mappings.lets(i, tuple.Src) {
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
func (t *Table) pin(b *Binding) {
	for _, i := range [2]uint32{b.src, b.dst} {
		if i != 0 {
			t.mappings.list.At(i).refs++
		}
	}
}

func (t *Table) unpin(b *Binding) {
	for _, i := range [2]uint32{b.src, b.dst} {
		if i == 0 {
			continue
		}
		m := t.mappings.list.At(i)
		if m.refs--; m.refs == 0 {
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
			t.use(i, remoteOf(c, side))
		}
	}
}

// remoteOf is the remote address of a connection's mapping, as the internal host sees it. The source's
// mapping (side 0) talks to where the first packet was sent, the destination's (side 1) to where replies
// are sent.
func remoteOf(c *conntrack.Conn, side int) packet.Addr {
	return c.Tuple(conntrack.Direction(side)).Dst
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
	space.take(ext)
	if t.counts(k.proto, ext) {
		space.taken[group.wellKnown()]++
	}
	space.set(ext, i)
	t.conns.CountHost(k.addr, int(group), 1)
	return i
}

// unmap takes a connection from its mappings. They are the mappings of the external endpoints that its
// replies and its first packet were sent to.
func (t *Table) unmap(c *conntrack.Conn, m conntrack.Marks) {
	if m&sourceMapped != 0 {
		reply := c.Tuple(conntrack.Reply)
		t.unuse(t.behind(reply.Dst, reply.DstPort, reply.Proto), remoteOf(c, 0))
	}
	if m&destMapped != 0 {
		original := c.Tuple(conntrack.Original)
		t.unuse(t.behind(original.Dst, original.DstPort, original.Proto), remoteOf(c, 1))
	}
}

// unuse takes a connection with a remote address from mapping i. The mapping ends with its last one.
func (t *Table) unuse(i uint32, remote packet.Addr) {
	if i == 0 {
		return
	}
	ms := &t.mappings
	ms.disallow(i, remote)
	m := ms.list.At(i)
	if m.refs--; m.refs == 0 {
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
	if t.counts(m.proto, m.extPort) {
		space.taken[group.wellKnown()]--
	}
	space.unset(m.extPort)
	t.conns.CountHost(m.addr, int(group), -1)
	if t.coolsDown(pi) {
		space.keepBack(i, m, t.conns.Millis())
		return
	}
	space.put(m.extPort)
	ms.list.Free(i)
}

// A portGroup is the ports that a host has a share of: the ports of one protocol from 1024 up, or its well-known
// ports. Mappings keep the two apart, too. A portGroup is the number of a host's counter in the connection table.
type portGroup int

const portGroups = 5

const _ = uint(conntrack.HostCounters - portGroups) // there are enough counters

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
