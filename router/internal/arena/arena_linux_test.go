package arena_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/router/internal/arena"
)

// sizes are of two slabs; the second has one part only.
var sizes = []conntrack.Sizes{{Count: 1024, Records: 64 << 10, Column: 20 << 10}, {Count: 1024, Records: 48 << 10}}

func newArena(t *testing.T) *arena.Arena {
	t.Helper()
	a, err := arena.New(arena.Header{Router: "r1"}, sizes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(); a.Unmap() })
	return a
}

func read(t *testing.T, a *arena.Arena) *arena.Former {
	t.Helper()
	f, err := arena.Read(a.File(), sizes...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestHeader(t *testing.T) {
	a := newArena(t)
	if f := read(t, a); f.Whole || f.Router != "r1" {
		t.Errorf("at first: %+v", f.Header)
	}
	h := arena.Header{Layout: [32]byte{1, 31: 2}, Router: "r1", Boot: [16]byte{3, 15: 4}, Started: -5}
	a.Begin(h)
	h.Whole = true
	f := read(t, a)
	if f.Header != h {
		t.Errorf("%+v, want %+v", f.Header, h)
	}
	a.NameInterface(65535, arena.NameOf("i"))
	a.NameBackend(7, arena.NameOf("vip"), arena.NameOf("member"))
	a.NameBackend(1<<30, arena.NameOf("vip"), arena.NameOf("member")) // there is no room for it
	f = read(t, a)
	if f.Interface(65535) != arena.NameOf("i") || f.Interface(0) != (arena.Name{}) {
		t.Error("the names of interfaces are others")
	}
	if vip, member := f.Backend(7); vip != arena.NameOf("vip") || member != arena.NameOf("member") {
		t.Error("the names of a backend are others")
	}
	if vip, member := f.Backend(1 << 30); vip != (arena.Name{}) || member != (arena.Name{}) {
		t.Error("a backend without a name has one")
	}
	if a.Clear(); read(t, a).Whole {
		t.Error("it is whole after Clear")
	}
}

// Chunks are where they belong, zero at first, and holes when they are given back.
func TestChunks(t *testing.T) {
	a := newArena(t)
	a.Begin(arena.Header{Router: "r1"})
	taken := []int{0, 1, 31, 32, 100}
	for slab := range sizes {
		m := a.Slab(slab)
		for _, k := range taken {
			records, column := m.Take(k)
			if len(records) != sizes[slab].Records || len(column) != sizes[slab].Column {
				t.Fatalf("chunk %d has %d and %d bytes", k, len(records), len(column))
			}
			if !zero(records) || !zero(column) {
				t.Fatalf("chunk %d is not zero", k)
			}
			fill(records, byte(slab*100+k+1))
			fill(column, byte(slab*100+k+2))
		}
	}
	a.Slab(0).Give(31)
	a.Slab(0).Give(1000) // it lies on the heap
	if records, column := a.Slab(0).Take(31); !zero(records) || !zero(column) {
		t.Error("chunk 31 is not zero after it was given back")
	}
	a.Slab(0).Give(31)
	f := read(t, a)
	for slab, z := range sizes {
		records, column := make([]byte, z.Records), make([]byte, z.Column)
		n := 0
		for k := range f.Chunks() {
			ok, err := f.ReadChunk(slab, k, records, column)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				continue
			}
			n++
			if !bytes.Equal(records, bytes.Repeat([]byte{byte(slab*100 + k + 1)}, z.Records)) ||
				!bytes.Equal(column, bytes.Repeat([]byte{byte(slab*100 + k + 2)}, z.Column)) {
				t.Errorf("slab %d: chunk %d is another one", slab, k)
			}
		}
		if want := len(taken) - 1 + slab; n != want || f.Records(slab) != want*1024 {
			t.Errorf("slab %d has %d chunks and %d records, want %d chunks", slab, n, f.Records(slab), want)
		}
	}
}

// Nobody else can take the memory away.
func TestFileCannotShrink(t *testing.T) {
	if err := unix.Ftruncate(int(newArena(t).File().Fd()), 0); err == nil {
		t.Error("the file can be made shorter while it is mapped")
	}
}

func TestReadRefuses(t *testing.T) {
	a := newArena(t)
	for at, b := range map[int64]byte{0: 'x', 16: 99} {
		var was [1]byte
		if _, err := a.File().ReadAt(was[:], at); err != nil {
			t.Fatal(err)
		}
		_, _ = a.File().WriteAt([]byte{b}, at)
		if f, err := arena.Read(a.File(), sizes...); err == nil {
			t.Errorf("with a change at %d: %+v", at, f.Header)
		}
		_, _ = a.File().WriteAt(was[:], at)
	}
}

func zero(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}
