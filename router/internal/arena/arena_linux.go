package arena

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"golang.org/x/sys/unix"
)

// An Arena is memory for the tables of one router.
type Arena struct {
	file    *os.File
	shape   shape
	head    []byte   // header and names
	extents [][]byte // nil: the extent cannot be had, and its chunks lie on the heap
	size    int64
}

// New makes an Arena for slabs whose chunks have these sizes. Its header is not Whole.
func New(h Header, slabs ...conntrack.Sizes) (*Arena, error) {
	if len(h.Router) > maxRouter {
		return nil, fmt.Errorf("arena: the id of a router has more than %d bytes", maxRouter)
	}
	fd, err := unix.MemfdCreate("taprouter tables", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("arena: memfd_create: %w", err)
	}
	a := &Arena{file: os.NewFile(uintptr(fd), "taprouter tables"), shape: slabs, size: extentsAt}
	if err = unix.Ftruncate(fd, a.size); err == nil {
		// Whoever else has the descriptor must not be able to take memory away that is in use.
		if _, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK); err == nil {
			a.head, err = a.mapAt(0, extentsAt)
		}
	}
	if err != nil {
		_ = a.file.Close()
		return nil, fmt.Errorf("arena: %w", err)
	}
	h.Whole = false
	h.put(a.head)
	return a, nil
}

func (a *Arena) mapAt(at, n int64) ([]byte, error) {
	return unix.Mmap(int(a.file.Fd()), at, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
}

// Begin writes the header anew, and says that it is whole.
func (a *Arena) Begin(h Header) {
	h.Whole = false
	h.put(a.head)
	a.finish()
}

// finish is a call of its own, so that the compiler does not write it before the rest.
//
//go:noinline
func (a *Arena) finish() { a.head[wholeAt] = 1 }

// File is the file of the Arena. It belongs to the Arena.
func (a *Arena) File() *os.File { return a.file }

// NameInterface says what the number of an interface means from now on. No record names it.
func (a *Arena) NameInterface(number uint16, name Name) {
	copy(a.head[namesAt+int(number)*nameLen:], name[:])
}

// NameBackend says what the number of a backend means from now on. No record names it.
func (a *Arena) NameBackend(number conntrack.Backend, vip, member Name) {
	if number < backends {
		b := a.head[backendsAt+int(number)*2*nameLen:]
		copy(b, vip[:])
		copy(b[nameLen:], member[:])
	}
}

// Slab is the memory of a slab, by its place among the arguments of New.
func (a *Arena) Slab(slab int) conntrack.Memory { return &slabMemory{a, slab} }

// Close closes the descriptor. The memory can be used until Unmap. What is in it stays for the holders of other
// descriptors.
func (a *Arena) Close() error { return a.file.Close() }

// Clear gives up what is in the Arena, for the holders of other descriptors, too. Nothing uses the tables any more.
func (a *Arena) Clear() {
	a.head[wholeAt] = 0
	for i, e := range a.extents {
		a.punch(extentsAt+int64(i)*a.shape.extentLen(), e)
	}
}

// Unmap gives the memory back. Nothing may use it any more.
func (a *Arena) Unmap() {
	_ = unix.Munmap(a.head) // they have been mapped by this package, so it cannot fail
	for _, e := range a.extents {
		if e != nil {
			_ = unix.Munmap(e)
		}
	}
	a.head, a.extents = nil, nil
}

// A slabMemory implements conntrack.Memory.
type slabMemory struct {
	*Arena
	slab int
}

// Take implements conntrack.Memory.
func (m *slabMemory) Take(k int) (records, column []byte) {
	e := m.extent(k / chunks)
	if e == nil {
		return nil, nil
	}
	at, columnAt := m.shape.at(m.slab, k)
	base := extentsAt + int64(k/chunks)*m.shape.extentLen()
	z := m.shape[m.slab]
	records = e[at-base:][:z.Records:z.Records]
	column = e[columnAt-base:][:z.Column:z.Column]
	// One call in place of a page fault for every page. It fails where the machine has no memory left, in place of
	// a signal later.
	if populate(records) != nil || populate(column) != nil {
		return nil, nil
	}
	return records, column
}

// Give implements conntrack.Memory: the chunk becomes a hole.
func (m *slabMemory) Give(k int) {
	if k/chunks >= len(m.extents) || m.extents[k/chunks] == nil {
		return
	}
	at, columnAt := m.shape.at(m.slab, k)
	z := m.shape[m.slab]
	base := extentsAt + int64(k/chunks)*m.shape.extentLen()
	m.punch(at, m.extents[k/chunks][at-base:][:z.Records])
	m.punch(columnAt, m.extents[k/chunks][columnAt-base:][:z.Column])
}

// punch makes a part of the file, with its memory, a hole. The memory reads as zero afterwards.
func (a *Arena) punch(at int64, memory []byte) {
	if len(memory) == 0 {
		return
	}
	err := unix.Fallocate(int(a.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, int64(len(memory)))
	if err != nil {
		clear(memory)
	}
}

// extent is the memory of an extent, nil if it cannot be had.
func (a *Arena) extent(i int) []byte {
	for len(a.extents) <= i {
		n := a.shape.extentLen()
		at := extentsAt + int64(len(a.extents))*n
		var e []byte
		if unix.Ftruncate(int(a.file.Fd()), at+n) == nil {
			a.size = at + n
			e, _ = a.mapAt(at, n) // without it the chunks lie on the heap
		}
		a.extents = append(a.extents, e)
	}
	return a.extents[i]
}

// populate has the kernel provide the pages of memory. It is aligned to pages.
func populate(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	err := unix.Madvise(b, unix.MADV_POPULATE_WRITE)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.14: the pages come one by one
		return nil
	}
	return err
}

// isHole reports whether a part of a file holds no data, as far as that is known.
func isHole(file *os.File, at, n int64) bool {
	data, err := unix.Seek(int(file.Fd()), at, unix.SEEK_DATA)
	return errors.Is(err, unix.ENXIO) || err == nil && data >= at+n
}

// Monotonic is what the machine's monotonic clock says, which all processes share.
func Monotonic() time.Duration { return clock(unix.CLOCK_MONOTONIC) }

// SinceBoot is how long the machine has been up, with the time that it has been asleep.
func SinceBoot() time.Duration { return clock(unix.CLOCK_BOOTTIME) }

func clock(id int32) time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(id, &t) // every kernel has these clocks
	return time.Duration(t.Nano())
}

// Boot names the present run of the machine; zero if that is not known.
func Boot() (boot [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return boot
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err == nil {
		copy(boot[:], raw)
	}
	return boot
}
