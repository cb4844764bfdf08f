package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
)

// This file reads a file of bbolt without trusting it. bbolt maps a file to memory and follows the pointers in it, so a
// broken one would end the process with a fault that cannot be caught, also in bbolt's own check. What inspect lets
// pass can be given to bbolt: all pages are in the file, each is used once, and all that they point to is in them.

// The layout of bbolt's files, version 2. Numbers are in the byte order of the machine.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader = 16 // id 8, flags 2, count 2, overflow 4
	metaSize   = 64 // after the header: magic 4, version 4, page size 4, flags 4, root 16, freelist 8, pages 8, txid 8,
	// checksum 8; the checksum covers the 56 bytes before it
	elementSize  = 16 // branch: position 4, key size 4, page 8; leaf: flags 4, position 4, key size 4, value size 4
	bucketHeader = 16 // root page 8, sequence 8

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01
)

var order = binary.NativeEndian

// A pager reads the pages of a file.
type pager struct {
	data []byte
	size uint64 // of a page
	high uint64 // pages from this one on are not in use
	used map[uint64]bool
}

// A boltMeta is what a meta page says.
type boltMeta struct{ size, root, freelist, high, txid uint64 }

// inspect reads the content of a file.
func inspect(data []byte) (*content, error) {
	m, err := findMeta(data)
	if err != nil {
		return nil, err
	}
	p := &pager{data: data, size: m.size, high: m.high, used: map[uint64]bool{}}
	if p.high > uint64(len(data))/p.size {
		return nil, fmt.Errorf("it has %d pages, and should have %d", uint64(len(data))/p.size, p.high)
	}
	var r reader
	err = p.walk(m.root, func(name, bucket []byte, isBucket bool) error {
		if !isBucket {
			return fmt.Errorf("key %q is in no bucket", name)
		}
		return p.bucket(bucket, func(key, value []byte, isBucket bool) error {
			if isBucket {
				return fmt.Errorf("%s: bucket %q does not belong here", name, key)
			}
			return r.record(name, key, value)
		})
	})
	if err == nil {
		err = p.freelist(m.freelist)
	}
	if err != nil {
		return nil, err
	}
	return r.done()
}

// findMeta finds the newer one of the two meta pages that are whole.
func findMeta(data []byte) (boltMeta, error) {
	newest, found := boltMeta{}, false
	take := func(at uint64) {
		m, ok := metaAt(data, at)
		if ok && (at == 0 || at == m.size) && (!found || m.txid > newest.txid) {
			newest, found = m, true
		}
	}
	take(0)
	if found {
		take(newest.size)
	} else {
		for size := uint64(1 << 10); size <= 1<<24; size *= 2 {
			take(size)
		}
	}
	if !found {
		return boltMeta{}, errors.New("it has no whole meta page, so it is no store, or begins with other bytes")
	}
	return newest, nil
}

// metaAt reads the meta page that begins somewhere.
func metaAt(data []byte, at uint64) (boltMeta, bool) {
	if at+pageHeader+metaSize > uint64(len(data)) {
		return boltMeta{}, false
	}
	b := data[at+pageHeader:][:metaSize]
	h := fnv.New64a()
	_, _ = h.Write(b[:metaSize-8])
	if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || order.Uint64(b[56:]) != h.Sum64() {
		return boltMeta{}, false
	}
	m := boltMeta{
		size: uint64(order.Uint32(b[8:])), root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]),
		high: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
	}
	return m, m.size >= 1<<10 && m.size <= 1<<24 && m.size&(m.size-1) == 0
}

// A page is a page with those that it continues in.
type page struct {
	flags uint16
	count int
	data  []byte // header included
}

func parsePage(data []byte) (page, error) {
	p := page{order.Uint16(data[8:]), int(order.Uint16(data[10:])), data}
	if (p.flags == branchPage || p.flags == leafPage) && pageHeader+p.count*elementSize > len(data) {
		return page{}, fmt.Errorf("it cannot have %d entries", p.count)
	}
	return p, nil
}

// page reads a page, which is then used.
func (p *pager) page(id uint64) (page, error) {
	if id < 2 || id >= p.high {
		return page{}, fmt.Errorf("page %d is none of the %d", id, p.high)
	}
	data := p.data[id*p.size:]
	more := uint64(order.Uint32(data[12:]))
	if order.Uint64(data) != id || more >= p.high-id {
		return page{}, fmt.Errorf("page %d is not the one that belongs there", id)
	}
	for i := id; i <= id+more; i++ {
		if p.used[i] {
			return page{}, fmt.Errorf("page %d is used twice", i)
		}
		p.used[i] = true
	}
	got, err := parsePage(data[:(more+1)*p.size])
	if err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	return got, nil
}

// A visit is called for each entry of a bucket.
type visit func(key, value []byte, isBucket bool) error

// walk goes through a tree of pages.
func (p *pager) walk(id uint64, f visit) error {
	g, err := p.page(id)
	if err != nil {
		return err
	}
	switch g.flags {
	case leafPage:
		err = g.leaf(f)
	case branchPage:
		err = p.branch(g, f)
	default:
		err = fmt.Errorf("flags %#x", g.flags)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// branch goes through the pages below a branch.
func (p *pager) branch(g page, f visit) error {
	if g.count == 0 {
		return errors.New("a branch without entries")
	}
	for i := range g.count {
		at := pageHeader + i*elementSize
		e := g.data[at:]
		if _, err := g.part(at, order.Uint32(e), uint64(order.Uint32(e[4:]))); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if err := p.walk(order.Uint64(e[8:]), f); err != nil {
			return err
		}
	}
	return nil
}

// leaf goes through the entries of a leaf.
func (g page) leaf(f visit) error {
	var last []byte
	for i := range g.count {
		at := pageHeader + i*elementSize
		e := g.data[at:]
		flags, pos, keySize, size := order.Uint32(e), order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		if keySize > math.MaxUint16 || flags > bucketFlag {
			return fmt.Errorf("entry %d has flags %#x and a key of %d bytes", i, flags, keySize)
		}
		both, err := g.part(at, pos, uint64(keySize)+uint64(size))
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		key, value := both[:keySize], both[keySize:]
		if i > 0 && bytes.Compare(last, key) >= 0 {
			return fmt.Errorf("key %q comes after %q", key, last)
		}
		last = key
		if err := f(key, value, flags == bucketFlag); err != nil {
			return err
		}
	}
	return nil
}

// part is what an element points to.
func (g page) part(at int, pos uint32, size uint64) ([]byte, error) {
	from := uint64(at) + uint64(pos)
	if from+size > uint64(len(g.data)) {
		return nil, errors.New("it points out of its page")
	}
	return g.data[from : from+size], nil
}

// bucket goes through a bucket: a tree of pages of its own, or a leaf in the value.
func (p *pager) bucket(b []byte, f visit) error {
	if len(b) < bucketHeader {
		return errors.New("a bucket without its header")
	}
	if root := order.Uint64(b); root != 0 {
		return p.walk(root, f)
	}
	if len(b) < bucketHeader+pageHeader {
		return errors.New("a bucket without its page")
	}
	g, err := parsePage(b[bucketHeader:])
	if err != nil {
		return err
	}
	if g.flags != leafPage {
		return fmt.Errorf("a bucket with flags %#x", g.flags)
	}
	return g.leaf(f)
}

// freelist looks at the list of pages that are not in use.
func (p *pager) freelist(id uint64) error {
	g, err := p.page(id)
	if err != nil {
		return fmt.Errorf("free pages: %w", err)
	}
	if g.flags != freelistPage {
		return fmt.Errorf("free pages: page %d has flags %#x", id, g.flags)
	}
	count, ids := uint64(g.count), g.data[pageHeader:]
	if count == math.MaxUint16 { // the number is too large for its place
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return fmt.Errorf("free pages: page %d cannot have %d of them", id, count)
	}
	for i := range count {
		free := order.Uint64(ids[8*i:])
		if free < 2 || free >= p.high || p.used[free] {
			return fmt.Errorf("free pages: page %d is in use, or none of the %d", free, p.high)
		}
		p.used[free] = true
	}
	if missing := p.high - 2 - uint64(len(p.used)); missing > 0 {
		return fmt.Errorf("free pages: %d pages are neither free nor used", missing)
	}
	return nil
}
