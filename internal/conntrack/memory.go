package conntrack

import "unsafe"

// A Memory is where the chunks of one Slab lie, such as memory that outlives the process. The slab calls it when it
// grows or shrinks by a chunk, and for no packet of a connection that is there.
type Memory interface {
	// Take returns memory for the two parts of chunk k, which is not in use. It has at least the bytes that the
	// slab's Sizes says, all of them zero, and is aligned to 64 bytes. The slab owns it until Give. nil: there is
	// none, and this chunk lies on the heap.
	Take(k int) (records, column []byte)
	// Give takes the memory of chunk k back. If the chunk lies on the heap, it does nothing.
	Give(k int)
}

// Sizes says how many records a chunk has, and how many bytes its two parts have.
type Sizes struct{ Count, Records, Column int }

// Sizes returns the sizes of the slab's chunks.
func (*Slab[T, C, P]) Sizes() Sizes {
	return Sizes{chunkLen, int(unsafe.Sizeof([chunkLen]T{})), int(unsafe.Sizeof([chunkLen]C{}))}
}

// A Chunk is a copy of one chunk of a slab, such as that of a process that has ended. The zero value is a chunk
// without records.
type Chunk[T, C any] struct {
	Records [chunkLen]T
	Column  [chunkLen]C
}

// Bytes are the two parts, for a reader to fill. They belong to the chunk.
func (c *Chunk[T, C]) Bytes() (records, column []byte) {
	records = unsafe.Slice((*byte)(unsafe.Pointer(&c.Records)), unsafe.Sizeof(c.Records))
	column = unsafe.Slice((*byte)(unsafe.Pointer(&c.Column)), unsafe.Sizeof(c.Column))
	return records, column
}

// publish marks a connection as whole, as the last step of its beginning: whoever reads the table's memory after the
// process has been killed believes no other record. The process may be killed between any two instructions. So this is
// one store of one byte, and a call that the compiler does not put in line, as it may otherwise reorder stores.
//
//go:noinline
func (c *Conn) publish() { c.flags |= connLive }

// unpublish is the first step of a connection's end.
//
//go:noinline
func (c *Conn) unpublish() { c.flags &^= connLive }
