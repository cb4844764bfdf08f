package config

import "github.com/tidwall/btree"

// A tree is an ordered set that shares its nodes with the sets that were forked from it.
//
// A BTreeG copies on write. Its own method of copying writes to the original, which may be a State's
// and in use elsewhere; fork therefore copies the tree's head first. The nodes keep the
// original's mark, so neither of the two heads ever writes to them.
type tree[T any] struct{ *btree.BTreeG[T] }

// degree bounds a node to 31 items: a change copies one node of each level, and wider nodes cost
// more for a change than they save in levels.
const degree = 16

func newTree[T any](less func(a, b T) bool) tree[T] {
	return tree[T]{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: degree})}
}

func (t tree[T]) fork() tree[T] {
	head := *t.BTreeG
	return tree[T]{head.IsoCopy()}
}
