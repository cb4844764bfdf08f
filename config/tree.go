package config

import "github.com/tidwall/btree"

// A tree is an ordered set that shares its nodes with the sets that were forked from it.
//
// A BTreeG copies on write. Its own method of copying writes to the original, which may belong to a State that other
// goroutines read. A fork therefore copies the tree's head before its first write, and not earlier, because most edits
// write to few trees. The nodes keep the original's mark, so the fork never writes to them. The original of a fork must
// not be written to any more.
type tree[T any] struct {
	*btree.BTreeG[T]
	own bool // the head is not shared
}

// degree bounds a node to 15 items: a change copies one node of each level, and wider nodes cost
// more for a change than they save in levels.
const degree = 8

func newTree[T any](less func(a, b T) bool) tree[T] {
	return tree[T]{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: degree}), true}
}

func (t tree[T]) fork() tree[T] { return tree[T]{t.BTreeG, false} }

func (t *tree[T]) writable() {
	if !t.own {
		head := *t.BTreeG
		t.BTreeG, t.own = head.IsoCopy(), true
	}
}

// Set adds an item, or replaces the one that is equal to it.
func (t *tree[T]) Set(item T) {
	t.writable()
	t.BTreeG.Set(item)
}

// Delete takes an item away.
func (t *tree[T]) Delete(item T) {
	t.writable()
	t.BTreeG.Delete(item)
}
