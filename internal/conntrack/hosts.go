package conntrack

import "github.com/taprouter/taprouter/internal/packet"

// hosts is what every host holds, found by its address. A host that holds nothing is not there.
type hosts struct {
	list   Slab[host, struct{}, *host]
	byAddr Index

	last     uint32 // the host found last, 0: none. One connection asks for the same host several times
	lastAddr packet.Addr

	borrowers Borrowers // by how many connections they hold beyond their shares
	lent      int       // connections that hosts hold beyond their shares, without the ones that make room anyway
}

type host struct {
	addr  packet.Addr
	conns int32 // connections that count towards its share
	loans
	halfHost
}

// Link implements Linked.
func (h *host) Link() *uint32 { return &h.prev }

// holdsNothing reports whether a host may be forgotten.
func (h *host) holdsNothing() bool {
	return h.conns == 0 && h.half.len == 0
}

// connections is how many connections count towards the share of the host with this address.
func (h *hosts) connections(addr packet.Addr) int {
	if i, _ := h.find(addr); i != 0 {
		return int(h.list.At(i).conns)
	}
	return 0
}

// find returns the number of a host, 0 if it is not there, and then the tag that it belongs under.
func (h *hosts) find(addr packet.Addr) (i, tag uint32) {
	if h.lastAddr == addr && h.last != 0 {
		return h.last, 0
	}
	return h.search(addr)
}

// search is find for another host than the last one.
func (h *hosts) search(addr packet.Addr) (i, tag uint32) {
	tag = h.byAddr.Hash(addr.Number(), 0)
	s := h.byAddr.segment(tag)
	for k, e := s.seek(uint(tag), tag); e != 0; k, e = s.seek(k+1, tag) { // as Index.Lookup, for speed
		if i := uint32(e); h.list.At(i).addr == addr {
			h.last, h.lastAddr = i, addr
			return i, tag
		}
	}
	return 0, tag
}

// get returns the number of a host, which it makes if need be. It is 0 when the index has no room,
// which does not happen in practice. Then what the host holds is not counted.
func (h *hosts) get(addr packet.Addr) uint32 {
	i, tag := h.find(addr)
	if i != 0 {
		return i
	}
	i = h.list.Take()
	if !h.byAddr.Insert(tag, i) {
		h.list.Free(i)
		return 0
	}
	h.list.At(i).addr = addr
	h.last, h.lastAddr = i, addr
	return i
}

// forgetIdle forgets host i if it holds nothing.
func (h *hosts) forgetIdle(i uint32) {
	if r := h.list.At(i); r.holdsNothing() {
		h.byAddr.Remove(h.byAddr.Hash(r.addr.Number(), 0), i)
		h.list.Free(i)
		h.last = 0
	}
}

// bytes is the memory that the hosts take.
func (h *hosts) bytes() int { return h.list.Bytes() + h.byAddr.Bytes() }

// owner is the host whose share a new connection counts towards.
func (n *NewConn) owner() (packet.Addr, bool) {
	switch n.Owner {
	case OwnerSource:
		return n.Original.Src, true
	case OwnerDest:
		return n.Reply.Src, true
	}
	return 0, false
}

// own counts a connection towards the share of its owner. A connection that the owner has opened
// counts at once. A connection that others have opened to the owner counts once it is established.
// Half-open ones would let a stranger use up the share of a host that has done nothing. They are
// bounded, because the oldest makes room.
func (t *Table) own(c *Conn, o Owner) {
	switch o {
	case OwnerSource:
		t.count(c)
	case OwnerDest:
		c.flags |= connOwnerDest
	}
}

// count has a connection count towards the share of its owner. It is not listed yet by its rank of now.
func (t *Table) count(c *Conn) {
	c.flags |= connCounted
	i := t.hosts.get(c.ownerAddr())
	if i == 0 {
		return
	}
	h := t.hosts.list.At(i)
	was := h.debt()
	if h.own == h.conns && !t.share.Exceeds(int(h.own), t.cfg.MaxConnections, t.free()) {
		h.own++
	}
	h.conns++
	t.owes(i, h, was)
}

// uncount takes back what count has counted.
func (t *Table) uncount(c *Conn) {
	if c.flags&connCounted == 0 {
		return
	}
	if i, _ := t.hosts.find(c.ownerAddr()); i != 0 {
		h := t.hosts.list.At(i)
		was := h.debt()
		h.conns--
		h.own = min(h.own, h.conns)
		t.owes(i, h, was)
		t.hosts.forgetIdle(i)
	}
}

func (c *Conn) ownerAddr() packet.Addr {
	if c.flags&connOwnerDest != 0 {
		return c.ends[Reply].src
	}
	return c.ends[Original].src
}
