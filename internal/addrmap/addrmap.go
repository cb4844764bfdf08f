// Package addrmap is a map by IPv4 address that never changes: a change makes another map, which shares its
// unchanged parts with the former one. So a change costs about a microsecond, whether there are ten addresses or ten
// thousand, and any number of goroutines may read any map. Finding an address takes a few nanoseconds.
//
// A table of prefixes answers the same questions, but it also asks whether a shorter prefix matches. Packets ask
// for addresses that are mostly not there, several times for each new connection.
package addrmap

import (
	"cmp"
	"iter"
	"slices"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Map holds a value for each of its addresses. The zero value is empty.
//
// It is a tree of eight branches a node, by three bits of the address at each level, the last ones first: they
// differ most between the addresses of one network. A branch ends at the first node where only one address is left.
// So no branch is longer than eleven nodes.
type Map[V any] struct {
	root *node[V]
	len  int
}

type node[V any] [8]branch[V]

// branch is a node or an entry, or neither.
type branch[V any] struct {
	node  *node[V]
	entry *entry[V]
}

type entry[V any] struct {
	addr  packet.Addr
	value V
}

// Len is the number of addresses.
func (m Map[V]) Len() int { return m.len }

// Find returns the value of an address, nil if the address is not there. The value must not be changed.
func (m Map[V]) Find(addr packet.Addr) *V {
	rest := addr
	for n := m.root; n != nil; rest >>= 3 {
		b := &n[rest&7]
		if e := b.entry; e != nil && e.addr == addr {
			return &e.value
		}
		n = b.node
	}
	return nil
}

// With returns the map with a value for an address, in the place of the one that it had.
func (m Map[V]) With(addr packet.Addr, value V) Map[V] {
	more := 1
	if m.Find(addr) != nil {
		more = 0
	}
	return Map[V]{m.root.with(&entry[V]{addr, value}, 0), m.len + more}
}

// with returns a node with an entry. The address's bits below shift have led to the node.
func (n *node[V]) with(e *entry[V], shift int) *node[V] {
	c := new(node[V])
	if n != nil {
		*c = *n
	}
	b := &c[e.addr>>shift&7]
	switch other := b.entry; {
	case b.node != nil:
		b.node = b.node.with(e, shift+3)
	case other != nil && other.addr != e.addr:
		*b = branch[V]{node: b.node.with(other, shift+3).with(e, shift+3)}
	default:
		b.entry = e
	}
	return c
}

// Without returns the map without an address.
func (m Map[V]) Without(addr packet.Addr) Map[V] {
	switch {
	case m.Find(addr) == nil:
		return m
	case m.len == 1:
		return Map[V]{}
	}
	return Map[V]{m.root.without(addr, 0), m.len - 1}
}

// without returns a node without an address that it has.
func (n *node[V]) without(addr packet.Addr, shift int) *node[V] {
	c := new(node[V])
	*c = *n
	b := &c[addr>>shift&7]
	if b.node == nil {
		b.entry = nil
		return c
	}
	b.node = b.node.without(addr, shift+3)
	if only := b.node.only(); only != nil {
		*b = branch[V]{entry: only}
	}
	return c
}

// only is the entry of a node that has nothing else, or nil.
func (n *node[V]) only() (e *entry[V]) {
	for _, b := range n {
		if b.node != nil || b.entry != nil && e != nil {
			return nil
		}
		if b.entry != nil {
			e = b.entry
		}
	}
	return e
}

// All ranges over the addresses, in ascending order, and their values.
func (m Map[V]) All() iter.Seq2[packet.Addr, V] {
	return func(yield func(packet.Addr, V) bool) {
		all := m.root.gather(make([]*entry[V], 0, m.len))
		slices.SortFunc(all, func(a, b *entry[V]) int { return cmp.Compare(a.addr, b.addr) })
		for _, e := range all {
			if !yield(e.addr, e.value) {
				return
			}
		}
	}
}

// gather adds the entries of a node to a list.
func (n *node[V]) gather(all []*entry[V]) []*entry[V] {
	if n == nil {
		return all
	}
	for _, b := range n {
		if b.entry != nil {
			all = append(all, b.entry)
		}
		all = b.node.gather(all)
	}
	return all
}
