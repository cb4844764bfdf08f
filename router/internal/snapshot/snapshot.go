// Package snapshot writes connections and neighbors to a stream and reads them again, as Records: whatever the layout
// in memory, and on whatever machine.
//
//	stream  magic, blocks; the last block says how many records there are
//	block   length of the payload, its CRC32C, payload (little-endian)
//
// A block of connections is complete in itself: it has the id of the router, the strings that its records name, and the
// times at which it was written. A reader that finds a damaged block, or the end too early, knows so, and has all
// records before. Ids are strings of up to 65535 bytes.
package snapshot

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/nat"
)

const (
	magic   = "taprouter connections 1\n" // the number is the version of the format
	maxLen  = 1 << 22                     // bytes of a payload
	kindEnd = 0
	kindOf  = 1 // connections
	kindMAC = 2 // neighbors

	// MaxRecords is how many records a Block has at most.
	MaxRecords = 4096
)

// A Block is some connections or neighbors of one router.
type Block struct {
	Router  string
	Written Moment
	// Flowing says that packets were forwarded meanwhile, and after. Records are then behind: see
	// conntrack.Record.Loosen.
	Flowing bool
	Records []nat.Record
	// Neighbors are those of the router, with an Age in whole milliseconds. A block has either them or Records.
	Neighbors []neighbor.Record
}

// A Moment is a time by two clocks.
type Moment struct {
	Boot      [16]byte      // the run of the machine; zero: not known
	SinceBoot time.Duration // how long the machine had been up
	Wall      time.Time
}

// Since is the time from a moment to m. It goes by the wall clock if the machine has been started anew in between, and
// is never negative.
func (m Moment) Since(from Moment) time.Duration {
	if m.Boot == from.Boot && m.Boot != [16]byte{} {
		return max(0, m.SinceBoot-from.SinceBoot)
	}
	return max(0, m.Wall.Round(0).Sub(from.Wall.Round(0)))
}

// ErrFormat says that a stream is no snapshot, or one of another version.
var ErrFormat = errors.New("not a snapshot of connections that this version can read")

// ErrDamaged says that a part of a snapshot is not what has been written.
var ErrDamaged = errors.New("the snapshot of connections is damaged")

// A Writer writes a snapshot.
type Writer struct {
	w       *bufio.Writer
	payload []byte
	records []byte
	count   uint64
	strings map[string]uint16
	list    []string
}

// NewWriter begins a snapshot.
func NewWriter(w io.Writer) (*Writer, error) {
	b := bufio.NewWriterSize(w, 1<<18)
	_, err := b.WriteString(magic)
	return &Writer{w: b, strings: map[string]uint16{}}, err
}

// Write adds a block of at most MaxRecords connections. All of them come before the first WriteNeighbors, so that a
// version that knows no neighbors has all connections.
func (w *Writer) Write(b *Block) error {
	w.begin()
	for i := range b.Records {
		w.records = w.appendRecord(w.records, &b.Records[i])
	}
	w.count += uint64(len(b.Records))
	return w.write(kindOf, b, len(b.Records))
}

// WriteNeighbors adds a block of at most MaxRecords neighbors.
func (w *Writer) WriteNeighbors(b *Block) error {
	w.begin()
	for i := range b.Neighbors {
		w.records = w.appendNeighbor(w.records, &b.Neighbors[i])
	}
	return w.write(kindMAC, b, len(b.Neighbors))
}

// begin forgets the records of the block before, and its strings.
func (w *Writer) begin() {
	clear(w.strings)
	w.list = append(w.list[:0], "")
	w.strings[""] = 0
	w.records = w.records[:0]
}

// write writes a block with the n records that have been appended.
func (w *Writer) write(kind byte, b *Block, n int) error {
	p := append(w.payload[:0], kind)
	p = appendString(p, b.Router)
	p = append(p, b.Written.Boot[:]...)
	p = binary.LittleEndian.AppendUint64(p, uint64(b.Written.SinceBoot))
	p = binary.LittleEndian.AppendUint64(p, uint64(b.Written.Wall.UnixNano()))
	p = appendBool(p, b.Flowing)
	p = binary.LittleEndian.AppendUint16(p, uint16(len(w.list)))
	for _, s := range w.list {
		p = appendString(p, s)
	}
	p = binary.LittleEndian.AppendUint16(p, uint16(n))
	p = append(p, w.records...)
	w.payload = p
	return w.block(p)
}

// Close ends the snapshot. It does not close what is written to.
func (w *Writer) Close() error {
	err := w.block(binary.LittleEndian.AppendUint64([]byte{kindEnd}, w.count))
	return errors.Join(err, w.w.Flush())
}

func (w *Writer) block(payload []byte) error {
	if len(payload) > maxLen {
		return fmt.Errorf("snapshot: a block of %d bytes", len(payload))
	}
	var head [8]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(payload, castagnoli()))
	if _, err := w.w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.w.Write(payload)
	return err
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// name is the number of a string in the present block.
func (w *Writer) name(s string) uint16 {
	n, ok := w.strings[s]
	if !ok {
		n = uint16(len(w.list)) // a record has four at most
		w.strings[s] = n
		w.list = append(w.list, s)
	}
	return n
}

// A Reader reads a snapshot.
type Reader struct {
	// Wants says whether the connections of a router are wanted. Others are counted, and their blocks have no Records.
	// nil: all are wanted.
	Wants func(router string) bool

	r       *bufio.Reader
	payload []byte
	block   Block
	count   uint64
}

// NewReader begins to read. It returns ErrFormat, wrapped, for a stream that is no snapshot.
func NewReader(r io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(r, 1<<18)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(b, head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !bytes.Equal(head, []byte(magic)) {
		return nil, ErrFormat
	}
	return &Reader{r: b}, nil
}

// Next returns the next block, which is valid until the next call. After the last one it returns io.EOF. Otherwise
// the error wraps ErrDamaged or is one of the stream's: then there is no more.
func (r *Reader) Next() (*Block, error) {
	var head [8]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, fmt.Errorf("%w: it ends after %d connections: %w", ErrDamaged, r.count, noEOF(err))
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > maxLen {
		return nil, fmt.Errorf("%w after %d connections: a block of %d bytes", ErrDamaged, r.count, n)
	}
	if cap(r.payload) < int(n) {
		r.payload = make([]byte, n)
	}
	p := r.payload[:n]
	if _, err := io.ReadFull(r.r, p); err != nil {
		return nil, fmt.Errorf("%w: it ends after %d connections: %w", ErrDamaged, r.count, noEOF(err))
	}
	if crc32.Checksum(p, castagnoli()) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("%w after %d connections: wrong checksum", ErrDamaged, r.count)
	}
	d := decoder{b: p[1:], wants: r.Wants}
	switch p[0] {
	case kindEnd:
		if d.uint64() != r.count || d.failed || len(d.b) > 0 {
			return nil, fmt.Errorf("%w: %d connections are not all", ErrDamaged, r.count)
		}
		return nil, io.EOF
	case kindOf, kindMAC:
		d.block(&r.block, p[0])
	default:
		d.failed = true
	}
	if d.failed || len(d.b) > 0 {
		return nil, fmt.Errorf("%w after %d connections: a block that cannot be read", ErrDamaged, r.count)
	}
	r.count += uint64(d.records)
	return &r.block, nil
}

// noEOF is an error as part of one that says that the stream ends too early: io.EOF means that all is well.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
