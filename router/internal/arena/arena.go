// Package arena keeps the records of a router's tables in memory that outlives the process, as long as a descriptor of
// it is open somewhere: in systemd's store, or in the program that is executed in place of this one.
//
// An Arena is one file in memory:
//
//	header       layout, router, boot, and the clock that times in records are by
//	interfaces   what their numbers mean: 16 bytes each
//	backends     what their numbers mean: 32 bytes each
//	extents      32 chunks of each slab, the two parts of the records apart
//
// Most of the file is a hole. Chunks that are given back become holes again. The process may be killed at any instant:
// a number has its meaning before a record names it, and records say themselves whether they are whole.
//
// One goroutine at a time may use an Arena. Files are made on Linux only; elsewhere tables lie on the heap.
package arena

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
)

const (
	magic   = "taprouter tables"
	version = 1 // of the header and of where things are

	maxRouter  = 255     // bytes of a router's id
	interfaces = 1 << 16 // that have a name
	backends   = 1 << 18 // that have a name

	namesAt    = 4 << 10
	backendsAt = namesAt + interfaces*nameLen
	extentsAt  = 16 << 20

	chunks = 32      // in an extent
	align  = 2 << 20 // of the parts of an extent: the size of a huge page

	nameLen = 16
)

// A Name stands for an object: a part of the hash of its id.
type Name [nameLen]byte

// NameOf is the Name of an object.
func NameOf(id string) Name {
	h := sha256.Sum256([]byte(id))
	return Name(h[:])
}

// A Header says what is in an Arena.
type Header struct {
	Layout  [32]byte      // a hash of how records lie in memory
	Router  string        // the id of the router, 255 bytes at most
	Boot    [16]byte      // of the machine
	Started time.Duration // what the machine's monotonic clock said when the clock of the tables was at zero
	Whole   bool          // nothing that the tables took over from a former process is missing
}

// Where the fields of the header are in the file.
const (
	versionAt = len(magic)
	wholeAt   = versionAt + 4
	startedAt = wholeAt + 4
	layoutAt  = startedAt + 8
	bootAt    = layoutAt + 32
	lengthAt  = bootAt + 16
	routerAt  = lengthAt + 1
	headerLen = routerAt + maxRouter
)

// put writes the header, but for Whole, which is written last.
func (h *Header) put(b []byte) {
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[versionAt:], version)
	binary.LittleEndian.PutUint64(b[startedAt:], uint64(h.Started))
	copy(b[layoutAt:], h.Layout[:])
	copy(b[bootAt:], h.Boot[:])
	b[lengthAt] = byte(len(h.Router))
	copy(b[routerAt:], h.Router)
	b[wholeAt] = 0
	if h.Whole {
		b[wholeAt] = 1
	}
}

func (h *Header) read(b []byte) error {
	if !bytes.HasPrefix(b, []byte(magic)) {
		return errors.New("it does not hold tables of a router")
	}
	if v := binary.LittleEndian.Uint32(b[versionAt:]); v != version {
		return fmt.Errorf("it is of version %d, not %d", v, version)
	}
	h.Whole = b[wholeAt] == 1
	h.Started = time.Duration(binary.LittleEndian.Uint64(b[startedAt:]))
	copy(h.Layout[:], b[layoutAt:])
	copy(h.Boot[:], b[bootAt:])
	h.Router = string(b[routerAt : routerAt+int(b[lengthAt])])
	return nil
}

// A shape is where the chunks of the slabs are.
type shape []conntrack.Sizes

func padded(n int) int64 { return int64(n+align-1) / align * align }

// extentLen is how long an extent is.
func (s shape) extentLen() (n int64) {
	for _, z := range s {
		n += padded(chunks*z.Records) + padded(chunks*z.Column)
	}
	return n
}

// at is where the two parts of chunk k of a slab are in the file.
func (s shape) at(slab, k int) (records, column int64) {
	records = extentsAt + int64(k/chunks)*s.extentLen()
	for _, z := range s[:slab] {
		records += padded(chunks*z.Records) + padded(chunks*z.Column)
	}
	z, i := s[slab], int64(k%chunks)
	return records + i*int64(z.Records), records + padded(chunks*z.Records) + i*int64(z.Column)
}

// A Former is what a process before this one has left in an Arena. It is read, and not changed.
type Former struct {
	Header
	file  *os.File
	size  int64
	shape shape
	pages [extentsAt / pageLen][]byte // of the names, as far as they have been looked at
}

const pageLen = 4 << 10

// Read looks into the file of an Arena, whose slabs have chunks of these sizes if the Layout is the same. The file is
// the caller's.
func Read(file *os.File, slabs ...conntrack.Sizes) (*Former, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	f := &Former{file: file, size: info.Size(), shape: slabs}
	b := make([]byte, headerLen)
	if _, err := file.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	if err := f.Header.read(b); err != nil {
		return nil, err
	}
	return f, nil
}

// Interface is the name that an interface had, zero if it had none.
func (f *Former) Interface(number uint16) Name {
	return Name(f.names(namesAt+int(number)*nameLen, nameLen))
}

// Backend is the names that a backend's VIP and member had, zero if it had none.
func (f *Former) Backend(number conntrack.Backend) (vip, member Name) {
	if number >= backends {
		return vip, member
	}
	b := f.names(backendsAt+int(number)*2*nameLen, 2*nameLen)
	return Name(b), Name(b[nameLen:])
}

// names are n bytes of the names, which lie in one page. What cannot be read is zero.
func (f *Former) names(at, n int) []byte {
	page := f.pages[at/pageLen]
	if page == nil {
		page = make([]byte, pageLen)
		if _, err := f.file.ReadAt(page, int64(at/pageLen*pageLen)); err != nil {
			clear(page)
		}
		f.pages[at/pageLen] = page
	}
	return page[at%pageLen:][:n]
}

// Chunks is how many chunks of each slab there may be.
func (f *Former) Chunks() int {
	n := f.shape.extentLen()
	return int((f.size-extentsAt+n-1)/n) * chunks
}

// Records is about how many records of a slab there are at most: holes are not counted.
func (f *Former) Records(slab int) (n int) {
	z := f.shape[slab]
	for k := range f.Chunks() {
		if at, _ := f.shape.at(slab, k); !isHole(f.file, at, int64(z.Records)) {
			n += z.Count
		}
	}
	return n
}

// ReadChunk reads the two parts of chunk k of a slab. It reports false if the chunk is a hole.
func (f *Former) ReadChunk(slab, k int, records, column []byte) (bool, error) {
	at, columnAt := f.shape.at(slab, k)
	if isHole(f.file, at, int64(len(records))) {
		return false, nil
	}
	if _, err := f.file.ReadAt(records, at); err != nil {
		return false, fmt.Errorf("read chunk %d: %w", k, err)
	}
	if len(column) > 0 {
		if _, err := f.file.ReadAt(column, columnAt); err != nil {
			return false, fmt.Errorf("read chunk %d: %w", k, err)
		}
	}
	return true, nil
}
