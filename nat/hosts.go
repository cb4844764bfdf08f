package nat

import "github.com/taprouter/taprouter/internal/packet"

// hosts is what every internal host uses, found by its address. A host that uses
// nothing is not there.
type hosts struct {
	list   pool[host]
	byAddr index
	last   uint32 // found last, + 1: what a connection needs to know, it asks for several times
}

type host struct {
	addr uint32
	hostUse
	halfHost
}

// hostUse is what counts towards a host's share.
type hostUse struct {
	conns int32
	ports [portGroups]int32
}

// A portGroup is the ports that a host has a share of: those of one protocol, with
// well-known ones apart because mappings leave them apart.
type portGroup int

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

// find returns the number of a host; if it is not there, the tag that it belongs under.
func (h *hosts) find(addr uint32) (i, tag uint32, ok bool) {
	if h.last != 0 && h.list.at(h.last-1).addr == addr {
		return h.last - 1, 0, true
	}
	tag = h.byAddr.hash(uint64(addr), 0)
	if i, ok = h.byAddr.lookup(tag, func(i uint32) bool { return h.list.at(i).addr == addr }); ok {
		h.last = i + 1
	}
	return i, tag, ok
}

// use returns what a host uses.
func (h *hosts) use(addr uint32) hostUse {
	if i, _, ok := h.find(addr); ok {
		return h.list.at(i).hostUse
	}
	return hostUse{}
}

// get returns the number of a host, which it makes if need be. It fails when the
// index has no room for the host, which chance does not bring about.
func (h *hosts) get(addr uint32) (i uint32, ok bool) {
	i, tag, ok := h.find(addr)
	if !ok {
		i = h.list.add(host{addr: addr})
		if !h.byAddr.insert(tag, i) {
			h.list.remove(i)
			return 0, false
		}
		h.last = i + 1
	}
	return i, true
}

// settle forgets host i if it uses nothing.
func (h *hosts) settle(i uint32) {
	if r := h.list.at(i); r.hostUse == (hostUse{}) && r.half.len == 0 {
		h.byAddr.remove(h.byAddr.hash(uint64(r.addr), 0), i)
		h.list.remove(i)
		h.last = 0
	}
}

// more has add count something towards a host's share. A host that there is no room
// for is forgotten: then it has more than its share.
func (h *hosts) more(addr uint32, add func(*hostUse)) {
	if i, ok := h.get(addr); ok {
		add(&h.list.at(i).hostUse)
	}
}

// less takes back what more has counted.
func (h *hosts) less(addr uint32, sub func(*hostUse)) {
	if i, _, ok := h.find(addr); ok {
		sub(&h.list.at(i).hostUse)
		h.settle(i)
	}
}

// bytes is the memory that the hosts take.
func (h *hosts) bytes() int { return h.list.bytes() + h.byAddr.bytes() }
