package snapshot

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// A neighbor has the name of its network, an endpoint without a port, its MAC address and the milliseconds of its age.
// A record has, in this order: protocol, state, owner, marks, flags, two tuples, remaining milliseconds, four names; of
// TCP two streams; and the remote endpoint of each mapping that is used. An address is its length and its bytes.

// The flags of a record, and those of a stream.
const (
	replied = 1 << iota
	counted
	succeeds
	sourceMapped
	destMapped
)

const (
	seen = 1 << iota
	opened
	loose
	raised
	scaled
	later
	laterScaled
)

func (w *Writer) appendRecord(b []byte, r *nat.Record) []byte {
	b = append(b, r.Original.Proto, byte(r.State), byte(r.Owner), byte(r.Marks),
		bit(r.Replied, replied)|bit(r.Counted, counted)|bit(r.Succeeds, succeeds)|bit(r.Source.Used, sourceMapped)|
			bit(r.Dest.Used, destMapped))
	for _, t := range [...]*packet.Tuple{&r.Original, &r.Reply} {
		b = appendEndpoint(b, t.Src, t.SrcPort)
		b = appendEndpoint(b, t.Dst, t.DstPort)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Remaining/time.Millisecond))
	for _, s := range [...]string{r.In[0], r.In[1], r.Backend, r.Class} {
		b = binary.LittleEndian.AppendUint16(b, w.name(s))
	}
	if r.Original.Proto == packet.ProtoTCP {
		for d := range r.Streams {
			b = appendStream(b, &r.Streams[d])
		}
	}
	for _, m := range [...]*nat.Mapping{&r.Source, &r.Dest} {
		if m.Used {
			b = appendEndpoint(b, m.Remote.Addr, m.Remote.Port)
		}
	}
	return b
}

func (w *Writer) appendNeighbor(b []byte, n *neighbor.Record) []byte {
	b = binary.LittleEndian.AppendUint16(b, w.name(n.Network))
	b = appendEndpoint(b, n.Addr, 0)
	b = append(b, n.MAC[:]...)
	return binary.LittleEndian.AppendUint64(b, uint64(n.Age/time.Millisecond))
}

func appendStream(b []byte, s *conntrack.Stream) []byte {
	l := &s.Later
	b = append(b, bit(s.Seen, seen)|bit(s.Opened, opened)|bit(s.Loose, loose)|bit(s.Raised, raised)|
		bit(s.Scaled, scaled)|bit(l.Set, later)|bit(l.Scaled, laterScaled), s.Window, s.Scale)
	b = binary.LittleEndian.AppendUint32(b, s.End)
	if l.Set {
		b = binary.LittleEndian.AppendUint32(b, l.Next)
		b = binary.LittleEndian.AppendUint16(b, l.Data)
		b = append(b, l.Scale)
	}
	return b
}

func bit(set bool, b byte) byte {
	if set {
		return b
	}
	return 0
}

func appendBool(b []byte, v bool) []byte { return append(b, bit(v, 1)) }

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(min(len(s), 1<<16-1)))
	return append(b, s[:min(len(s), 1<<16-1)]...)
}

func appendEndpoint(b []byte, a packet.Addr, port uint16) []byte {
	raw := a.Netip().As4()
	b = append(append(b, byte(len(raw))), raw[:]...)
	return binary.LittleEndian.AppendUint16(b, port)
}

// A decoder takes values from the front of b. When that is not possible, it has failed, and values are zero.
type decoder struct {
	b       []byte
	failed  bool
	wants   func(router string) bool // nil: all
	records int                      // of the block
}

// take returns the next n bytes, nil if there are not so many.
func (d *decoder) take(n int) []byte {
	if d.failed || len(d.b) < n {
		d.failed = true
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint8() uint8 {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) uint16() uint16 {
	if v := d.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if v := d.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if v := d.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (d *decoder) string() string { return string(d.take(int(d.uint16()))) }

func (d *decoder) endpoint() (packet.Addr, uint16) {
	if d.uint8() != 4 {
		d.failed = true // no version writes another length yet
		return 0, 0
	}
	raw := d.take(4)
	if raw == nil {
		return 0, 0
	}
	return packet.AddrFrom(netip.AddrFrom4([4]byte(raw))), d.uint16()
}

// block takes a Block after its kind.
func (d *decoder) block(b *Block, kind byte) {
	b.Router = d.string()
	copy(b.Written.Boot[:], d.take(len(b.Written.Boot)))
	b.Written.SinceBoot = time.Duration(d.uint64())
	b.Written.Wall = time.Unix(0, int64(d.uint64()))
	b.Flowing = d.uint8() != 0
	names := make([]string, d.uint16())
	for i := range names {
		names[i] = d.string()
	}
	n := int(d.uint16())
	if d.failed || n > MaxRecords {
		d.failed = true
		return
	}
	b.Records, b.Neighbors = b.Records[:0], b.Neighbors[:0]
	if kind == kindMAC {
		for range n {
			b.Neighbors = append(b.Neighbors, d.neighbor(names))
		}
		return
	}
	if d.records = n; d.wants != nil && !d.wants(b.Router) {
		d.b = nil
		return
	}
	for range n {
		b.Records = append(b.Records, nat.Record{})
		d.record(&b.Records[len(b.Records)-1], names)
		if d.failed {
			return
		}
	}
}

func (d *decoder) record(r *nat.Record, names []string) {
	proto := d.uint8()
	r.State, r.Owner, r.Marks = conntrack.State(d.uint8()), conntrack.Owner(d.uint8()), conntrack.Marks(d.uint8())
	flags := d.uint8()
	r.Replied, r.Counted, r.Succeeds = flags&replied != 0, flags&counted != 0, flags&succeeds != 0
	r.Source.Used, r.Dest.Used = flags&sourceMapped != 0, flags&destMapped != 0
	for _, t := range [...]*packet.Tuple{&r.Original, &r.Reply} {
		t.Proto = proto
		t.Src, t.SrcPort = d.endpoint()
		t.Dst, t.DstPort = d.endpoint()
	}
	remaining := d.uint64()
	if remaining > 1<<32 { // more than the clock of connections can count
		d.failed = true
	}
	r.Remaining = time.Duration(remaining) * time.Millisecond
	for _, s := range [...]*string{&r.In[0], &r.In[1], &r.Backend, &r.Class} {
		*s = d.name(names)
	}
	if proto == packet.ProtoTCP {
		for k := range r.Streams {
			d.stream(&r.Streams[k])
		}
	}
	for _, m := range [...]*nat.Mapping{&r.Source, &r.Dest} {
		if m.Used {
			m.Remote.Addr, m.Remote.Port = d.endpoint()
		}
	}
}

func (d *decoder) neighbor(names []string) (n neighbor.Record) {
	n.Network = d.name(names)
	n.Addr, _ = d.endpoint()
	copy(n.MAC[:], d.take(len(n.MAC)))
	age := d.uint64()
	if age > 1<<32 { // older than any neighbor gets
		d.failed = true
	}
	n.Age = time.Duration(age) * time.Millisecond
	return n
}

// name takes one of a block's strings.
func (d *decoder) name(names []string) string {
	k := int(d.uint16())
	if k >= len(names) {
		d.failed = true
		return ""
	}
	return names[k]
}

func (d *decoder) stream(s *conntrack.Stream) {
	flags := d.uint8()
	s.Seen, s.Opened, s.Loose, s.Raised = flags&seen != 0, flags&opened != 0, flags&loose != 0, flags&raised != 0
	s.Window, s.Scale, s.Scaled = d.uint8(), d.uint8(), flags&scaled != 0
	s.End = d.uint32()
	if flags&later != 0 {
		s.Later = conntrack.LaterSYN{Set: true, Next: d.uint32(), Data: d.uint16(), Scale: d.uint8(),
			Scaled: flags&laterScaled != 0}
	}
}
