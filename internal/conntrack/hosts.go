package conntrack

import "github.com/taprouter/taprouter/internal/packet"

// hosts is what every host holds, found by its address. A host that holds nothing is not there.
type hosts struct {
	list   Slab[host, struct{}, *host]
	byAddr Index

	last     uint32 // the host found last, 0: none. One connection asks for the same host several times
	lastAddr packet.Addr
}

type host struct {
	addr     packet.Addr
	conns    int32 // connections that count towards its share
	counters [HostCounters]int32
	halfHost
}

// Link implements Linked.
func (h *host) Link() *uint32 { return &h.prev }

// HostCounters is how many counters each host has for the table's user.
const HostCounters = 5

// holdsNothing reports whether a host may be forgotten.
func (h *host) holdsNothing() bool {
	return h.conns == 0 && h.half.len == 0 && h.counters == [HostCounters]int32{}
}

// HostCounter returns a counter of the host with this address.
func (t *Table) HostCounter(addr packet.Addr, counter int) int {
	if i, _ := t.hosts.find(addr); i != 0 {
		return int(t.hosts.list.At(i).counters[counter])
	}
	return 0
}

// CountHost adds n, which is 1 or -1, to a counter that the table's user keeps for the host with
// this address. The table does not look at it. A counter must be back at 0 in the end, or the host
// is remembered for ever.
func (t *Table) CountHost(addr packet.Addr, counter int, n int32) {
	if n > 0 {
		if i := t.hosts.get(addr); i != 0 {
			t.hosts.list.At(i).counters[counter] += n
		}
		return
	}
	if i, _ := t.hosts.find(addr); i != 0 {
		t.hosts.list.At(i).counters[counter] += n
		t.hosts.forgetIdle(i)
	}
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

// count has a connection count towards the share of its owner.
func (t *Table) count(c *Conn) {
	c.flags |= connCounted
	if i := t.hosts.get(c.ownerAddr()); i != 0 {
		t.hosts.list.At(i).conns++
	}
}

// uncount takes back what count has counted.
func (t *Table) uncount(c *Conn) {
	if c.flags&connCounted == 0 {
		return
	}
	if i, _ := t.hosts.find(c.ownerAddr()); i != 0 {
		t.hosts.list.At(i).conns--
		t.hosts.forgetIdle(i)
	}
}

func (c *Conn) ownerAddr() packet.Addr {
	if c.flags&connOwnerDest != 0 {
		return c.ends[Reply].src
	}
	return c.ends[Original].src
}

// usesShare reports whether a host has as many connections as it may. Connections that would make
// room for others are as good as free: a flood takes no share from other hosts.
func (t *Table) usesShare(host packet.Addr) bool {
	all := t.cfg.MaxConnections
	free := max(0, all-t.live+t.half.len+int(t.closing.len)) // the table may have become smaller
	return t.share.Exceeds(t.hosts.connections(host), all, free)
}
