// Package addrmap is a map by address, IPv4 or Ethernet, that never changes: a change makes another map, which shares
// its unchanged parts with the former one. So a change costs about a microsecond, whether there are ten addresses or
// ten thousand, and any number of goroutines may read any map. Finding an address takes a few nanoseconds.
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

// A Map holds a value for each of its IPv4 addresses. The zero value is empty.
type Map[V any] = Tree[packet.Addr, V]

// A Key is an address as a number, or another number that stands for one thing, such as a hash.
type Key interface{ ~uint32 | ~uint64 }

// A Tree holds a value for each of its addresses. The zero value is empty.
//
// It has eight branches a node, by three bits of the address at each level, the last ones first: they
// differ most between the addresses of one network. A branch ends at the first node where only one address is left.
// So no branch is longer than eleven nodes, of 64-bit numbers 22.
type Tree[K Key, V any] struct {
	root *node[K, V]
	len  int
}

type node[K Key, V any] [8]branch[K, V]

// branch is a node or an entry, or neither.
type branch[K Key, V any] struct {
	node  *node[K, V]
	entry *entry[K, V]
}

type entry[K Key, V any] struct {
	addr  K
	value V
}

// Len is the number of addresses.
func (m Tree[K, V]) Len() int { return m.len }

// Find returns the value of an address, nil if the address is not there. The value must not be changed.
func (m Tree[K, V]) Find(addr K) *V {
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
func (m Tree[K, V]) With(addr K, value V) Tree[K, V] {
	more := 1
	if m.Find(addr) != nil {
		more = 0
	}
	return Tree[K, V]{m.root.with(&entry[K, V]{addr, value}, 0), m.len + more}
}

// with returns a node with an entry. The address's bits below shift have led to the node.
func (n *node[K, V]) with(e *entry[K, V], shift int) *node[K, V] {
	c := new(node[K, V])
	if n != nil {
		*c = *n
	}
	b := &c[e.addr>>shift&7]
	switch other := b.entry; {
	case b.node != nil:
		b.node = b.node.with(e, shift+3)
	case other != nil && other.addr != e.addr:
		*b = branch[K, V]{node: b.node.with(other, shift+3).with(e, shift+3)}
	default:
		b.entry = e
	}
	return c
}

// Without returns the map without an address.
func (m Tree[K, V]) Without(addr K) Tree[K, V] {
	switch {
	case m.Find(addr) == nil:
		return m
	case m.len == 1:
		return Tree[K, V]{}
	}
	return Tree[K, V]{m.root.without(addr, 0), m.len - 1}
}

// without returns a node without an address that it has.
func (n *node[K, V]) without(addr K, shift int) *node[K, V] {
	c := new(node[K, V])
	*c = *n
	b := &c[addr>>shift&7]
	if b.node == nil {
		b.entry = nil
		return c
	}
	b.node = b.node.without(addr, shift+3)
	if only := b.node.only(); only != nil {
		*b = branch[K, V]{entry: only}
	}
	return c
}

// only is the entry of a node that has nothing else, or nil.
func (n *node[K, V]) only() (e *entry[K, V]) {
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
func (m Tree[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		all := m.root.gather(make([]*entry[K, V], 0, m.len))
		slices.SortFunc(all, func(a, b *entry[K, V]) int { return cmp.Compare(a.addr, b.addr) })
		for _, e := range all {
			if !yield(e.addr, e.value) {
				return
			}
		}
	}
}

// gather adds the entries of a node to a list.
func (n *node[K, V]) gather(all []*entry[K, V]) []*entry[K, V] {
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
