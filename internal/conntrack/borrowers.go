package conntrack

import "math/bits"

// Borrowers are records that have borrowed something, such as hosts. They are sorted by how much they have, about: into
// a bucket for each power of two. So it takes no search to find one that has at least half as much as any other.
// The zero value has none.
type Borrowers struct {
	buckets [33]uint32 // by bits of the amount: the number of the record whose turn it is, 0: none
	highest int        // all buckets above this are empty
}

// A Borrower is a record's place among the Borrowers. It does not matter while the record has borrowed nothing.
// While it has, they are its neighbors in a ring.
type Borrower struct{ Prev, Next uint32 }

// Move is called when record k, which had one amount, has another one. 0 stands for one that has borrowed nothing. at
// returns the place of a record.
func (b *Borrowers) Move(k uint32, before, after int32, at func(k uint32) *Borrower) {
	from, to := bits.Len32(uint32(before)), bits.Len32(uint32(after))
	if from == to {
		return
	}
	if from > 0 {
		b.leave(&b.buckets[from], k, at)
	}
	if to > 0 {
		b.enter(&b.buckets[to], k, at)
	}
	b.highest = max(b.highest, to)
	for b.highest > 0 && b.buckets[b.highest] == 0 {
		b.highest--
	}
}

// enter puts record k last in a bucket.
func (b *Borrowers) enter(bucket *uint32, k uint32, at func(k uint32) *Borrower) {
	p := at(k)
	if *bucket == 0 {
		*bucket, p.Prev, p.Next = k, k, k
		return
	}
	first := at(*bucket)
	p.Prev, p.Next = first.Prev, *bucket
	at(first.Prev).Next = k
	first.Prev = k
}

// leave takes record k out of its bucket.
func (b *Borrowers) leave(bucket *uint32, k uint32, at func(k uint32) *Borrower) {
	p := at(k)
	switch {
	case p.Next == k:
		*bucket = 0
	case *bucket == k:
		*bucket = p.Next
	}
	at(p.Prev).Next, at(p.Next).Prev = p.Next, p.Prev
	*p = Borrower{}
}

// First returns a record that has at least half as much as any other, 0 if none has borrowed anything.
func (b *Borrowers) First() uint32 { return b.buckets[b.highest] }

// Turn makes First return another of the records that have about as much, if there is one.
func (b *Borrowers) Turn(at func(k uint32) *Borrower) {
	if first := &b.buckets[b.highest]; *first != 0 {
		*first = at(*first).Next
	}
}
