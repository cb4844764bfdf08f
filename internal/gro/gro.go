// Package gro joins neighboring segments of a connection to super-frames, as Linux's generic receive offload does. A
// super-frame goes the way of a packet once, where its segments would go one by one.
//
// What is cut out of a super-frame later is byte for byte what came in. So only those segments are joined that follow
// each other without a gap, whose headers differ in nothing but what a cut sets anew, and whose checksums are right.
// IPv4 identifiers have to count up, because a cut counts them up. Segments of one connection keep their order.
//
// The package has no clock and does no I/O.
package gro

import (
	"bytes"
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A Merger joins frames of a batch. It belongs to one link, and to the goroutine that reads the link.
type Merger struct {
	heads []head        // by place in the batch
	at    [slots]uint8  // by hash of the tuple: 1 + the place of the frame that came last; 0: none
	alone [aside]uint32 // by hash of the tuple: the round from which on frames are joined again
	round uint32        // counts batches
	seen  bool          // at has entries
	batch []tap.Frame   // the kept frames, from End on
}

// A head is a frame of the batch that others may be joined to.
type head struct {
	view
	open  bool // others may follow
	right bool // its checksums have been found right
	count int  // segments in it; 0: it is no packet that can be joined
}

// A view is where the parts of a TCP or UDP packet over IPv4 are in its frame. Offsets count from the first byte of the
// frame.
type view struct {
	eth          []byte // the frame as it came in
	offload      []byte // its virtio-net header
	l3, l4, data int    // the IPv4 header, the header behind it, the payload
	addrs        uint64 // the bytes of both addresses
	ports        uint32 // and of both ports
	proto        uint8
	flags        uint8 // of TCP
	joins        bool  // the packet may be joined to another one, or another one to it
}

const (
	slots = 64
	aside = 1024

	minSegment = 8     // payload of a segment but the last, in bytes: no receiver cuts smaller ones
	maxPacket  = 65535 // of IPv4, in bytes
	maxUDP     = 64    // datagrams in a super-frame (Linux's UDP_MAX_SEGMENTS, which became larger later)
	aloneFor   = 4096  // rounds for which a connection is left alone when its super-frame had to be cut
)

// New makes a Merger for batches of at most n frames, at most 255.
func New(n int) *Merger { return &Merger{heads: make([]head, n)} }

// Begin begins a batch.
func (m *Merger) Begin() {
	if m.seen {
		clear(m.at[:])
		m.seen = false
	}
	m.round++
	m.batch = nil
}

// Join takes the next n frames of the batch, frames[kept:kept+n]; the kept ones before stay. It returns how many are
// kept now. They are in the order in which they came. A frame that was joined to another one is not among them, and its
// buffer lies behind them: a caller may read more frames there. Nobody else changes the frames before End.
func (m *Merger) Join(frames []tap.Frame, kept, n int) int {
	for i := kept; n > 0; i, n = i+1, n-1 {
		if m.join(frames, i, kept) {
			continue
		}
		if i != kept {
			frames[i], frames[kept] = frames[kept], frames[i]
		}
		kept++
	}
	return kept
}

// join joins frames[i] to an earlier frame, or notes that it becomes frames[kept].
func (m *Merger) join(frames []tap.Frame, i, kept int) bool {
	h := &m.heads[kept]
	h.count = 0
	switch h.parse(&frames[i]) {
	case other:
		return false
	case odd: // it may belong to any connection, and nothing may overtake it
		clear(m.at[:])
		return false
	}
	hash := h.hash()
	slot := &m.at[hash%slots]
	if *slot != 0 {
		at := int(*slot - 1)
		if old := &m.heads[at]; old.open && old.addrs == h.addrs && old.ports == h.ports && old.proto == h.proto {
			if h.joins && old.takes(&h.view, &frames[at]) {
				old.add(&h.view, &frames[at])
				return true
			}
		}
	}
	*slot, m.seen = uint8(kept+1), true // the head before gets no more frames, so that none overtakes this one
	h.count, h.right = 1, false
	h.open = h.joins && h.flags&(packet.PSH|packet.FIN) == 0 && len(h.eth)-h.data >= minSegment &&
		int32(m.alone[hash>>16%aside]-m.round) <= 0
	return false
}

// End finishes the super-frames of the batch, of which these frames were kept.
func (m *Merger) End(kept []tap.Frame) {
	if !m.seen {
		return
	}
	m.batch = kept
	for i := range kept {
		if h := &m.heads[i]; h.count > 1 {
			h.finish(&kept[i])
		}
	}
}

// Cut says that a frame had to be cut in software, as its receiver takes no super-frames. If it is one that was joined,
// the frames of its connection are left alone for some time.
func (m *Merger) Cut(f *tap.Frame) {
	for i := range m.batch {
		if h := &m.heads[i]; f == &m.batch[i] && h.count > 1 {
			m.alone[h.hash()>>16%aside] = m.round + aloneFor
		}
	}
}

// What a frame is.
type kind int

const (
	other kind = iota // no packet of a protocol that is joined
	odd               // one of these protocols, but not plain
	plain
)

// parse looks at a frame.
func (v *view) parse(f *tap.Frame) kind {
	v.eth, v.offload, v.l3 = f.Ethernet(), f.Header(), packet.EthernetLen
	eth := v.eth
	if len(eth) > packet.EthernetLen+tap.TagLen && binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeVLAN {
		v.l3 += tap.TagLen
	}
	v.l4 = v.l3 + packet.IPv4Len
	if len(eth) < v.l4+packet.UDPLen || binary.BigEndian.Uint16(eth[v.l3-2:]) != packet.EtherTypeIPv4 {
		return other
	}
	ip := eth[v.l3:]
	if v.proto = ip[9]; v.proto != packet.ProtoTCP && v.proto != packet.ProtoUDP {
		return other
	}
	const fragment = 0x3fff
	if ip[0] != 0x45 || binary.BigEndian.Uint16(ip[6:])&fragment != 0 {
		return odd
	}
	l4 := eth[v.l4:]
	v.addrs, v.ports = binary.LittleEndian.Uint64(ip[12:]), binary.LittleEndian.Uint32(l4)
	v.joins = v.offload[1] == virtio.GSONone && int(binary.BigEndian.Uint16(ip[2:])) == len(ip)
	if v.proto == packet.ProtoUDP {
		v.data, v.flags = v.l4+packet.UDPLen, 0
		v.joins = v.joins && int(binary.BigEndian.Uint16(l4[4:])) == len(l4) && len(eth) > v.data
		return plain
	}
	if len(l4) < packet.TCPLen {
		return odd
	}
	v.data, v.flags = v.l4+int(l4[12]>>4)*4, l4[13]
	const unusual = packet.SYN | packet.RST | packet.URG | packet.CWR
	v.joins = v.joins && v.data >= v.l4+packet.TCPLen && len(eth) > v.data && v.flags&(packet.ACK|unusual) == packet.ACK
	return plain
}

func (v *view) hash() uint32 {
	return uint32((v.addrs ^ uint64(v.ports)*0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93 >> 32)
}

// takes reports whether a packet of the same connection continues a head, whose frame has everything up to here.
func (h *head) takes(v *view, f *tap.Frame) bool {
	data, size, sofar := len(v.eth)-v.data, len(h.eth)-h.data, f.Tail-f.Head-tap.HeaderLen
	a, b := h.eth, v.eth
	if h.l3 != v.l3 || h.data != v.data || data > size || sofar-h.l3+data > maxPacket || len(f.Buf)-f.Tail < data {
		return false
	}
	if !bytes.Equal(a[:h.l3], b[:h.l3]) || a[h.l3+1] != b[h.l3+1] || // type of service, with ECN
		binary.BigEndian.Uint32(a[h.l3+6:])>>8 != binary.BigEndian.Uint32(b[h.l3+6:])>>8 || // don't fragment, TTL
		binary.BigEndian.Uint16(a[h.l3+4:])+uint16(h.count) != binary.BigEndian.Uint16(b[h.l3+4:]) { // identifier
		return false
	}
	if h.proto == packet.ProtoUDP {
		if h.count >= maxUDP {
			return false
		}
	} else if !follows(a[h.l4:h.data], b[h.l4:h.data], sofar-h.data) {
		return false
	}
	h.right = h.right || h.sumsRight()
	return h.right && v.sumsRight()
}

// follows reports whether a TCP header continues another one, behind which there are n bytes.
func follows(a, b []byte, n int) bool {
	const atEnd = packet.PSH | packet.FIN // of the last segment
	return binary.BigEndian.Uint32(a[4:])+uint32(n) == binary.BigEndian.Uint32(b[4:]) &&
		bytes.Equal(a[8:13], b[8:13]) && // acknowledgement, length of the header
		a[13]|atEnd == b[13]|atEnd &&
		bytes.Equal(a[14:16], b[14:16]) && bytes.Equal(a[18:], b[18:]) // window; urgent pointer, options
}

// checksumAt is where the checksum is in the header behind the IPv4 header.
func (v *view) checksumAt() int {
	if v.proto == packet.ProtoUDP {
		return 6
	}
	return 16
}

// sumsRight reports whether the checksums are right, or will be when the device that has to finishes them. Ones'
// complement has two zeros, and not everybody writes the same one. A checksum of zero is therefore not taken for right;
// of UDP it may also mean that there is none.
func (v *view) sumsRight() bool {
	if checksum.Checksum(v.eth[v.l3:v.l4], 0) != 0xffff {
		return false
	}
	field := binary.BigEndian.Uint16(v.eth[v.l4+v.checksumAt():])
	n := len(v.eth) - v.l4
	if v.offload[0]&virtio.NeedsChecksum != 0 {
		var h virtio.Header
		h.Parse(v.offload)
		return int(h.CsumStart) == v.l4 && int(h.CsumOffset) == v.checksumAt() && field == v.pseudoSum(n)
	}
	switch {
	case field == 0, field == 0xffff:
		return false
	case v.offload[0]&virtio.DataValid != 0:
		return true
	}
	return checksum.Checksum(v.eth[v.l4:], v.pseudoSum(n)) == 0xffff
}

// pseudoSum is the sum of the pseudo-header of n bytes (RFC 9293, 3.1; RFC 768).
func (v *view) pseudoSum(n int) uint16 {
	sum := uint32(checksum.Checksum(v.eth[v.l3+12:v.l4], 0)) + uint32(v.proto) + uint32(n)
	sum = sum&0xffff + sum>>16
	return uint16(sum&0xffff + sum>>16)
}

// add puts the payload of a packet behind a head's.
func (h *head) add(v *view, f *tap.Frame) {
	data := v.eth[v.data:]
	f.Tail += copy(f.Buf[f.Tail:], data)
	h.count++
	if end := v.flags & (packet.PSH | packet.FIN); end != 0 || len(data) < len(h.eth)-h.data {
		if h.proto == packet.ProtoTCP {
			h.eth[h.l4+13] |= end
		}
		h.open = false
	}
}

// finish gives a head the headers of a super-frame.
func (h *head) finish(f *tap.Frame) {
	eth := f.Ethernet()
	ip, l4 := eth[h.l3:], eth[h.l4:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	packet.SetIPv4Checksum(ip)
	o := virtio.Header{
		Flags: virtio.NeedsChecksum, GSOType: virtio.GSOTCPv4, HdrLen: uint16(h.data),
		GSOSize: uint16(len(h.eth) - h.data), CsumStart: uint16(h.l4), CsumOffset: uint16(h.checksumAt()),
	}
	if h.proto == packet.ProtoUDP {
		o.GSOType = virtio.GSOUDP
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	}
	binary.BigEndian.PutUint16(l4[h.checksumAt():], h.pseudoSum(len(l4)))
	o.Put(f.Header())
}
