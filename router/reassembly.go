package router

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// Fragments for the router itself, mostly large pings, are put together again
// (RFC 791, 3.2), within bounds that a flood cannot widen. Pieces that overlap
// spoil their packet, because honest hosts do not send such pieces (RFC 5722).

// A reassembly is a packet for the router that is not complete yet.
type reassembly struct {
	key    fragmentKey
	in     *iface
	pieces []piece // by offset
	total  int     // payload length, known with the last piece; 0 before
	bytes  int
	first  []byte // the first fragment as it came, with its virtio-net header
	spoilt bool
	until  time.Duration
}

type piece struct {
	off  int
	data []byte
}

const (
	maxReassemblies     = 64 // of a router
	maxReassembliesEach = 8  // of one source
	// maxPieces is enough for the largest packet through the smallest usual MTU, 576.
	maxPieces      = 128
	reassemblyTime = 30 * time.Second // RFC 1122, 3.3.2 asks for 60 to 120, RFC 791 for 15
	maxIPLen       = 65535
)

// reassemble takes a fragment that is for the router, and has the whole packet
// forwarded when the last one is there.
func reassemble(t *turn, x *passage) verdict {
	g := x.r.reassemblies.find(t, keyOf(x), x.in)
	if g.spoilt {
		return drop(DropFragmentLocal)
	}
	switch g.add(x) {
	case pieceKnown:
		return Consumed
	case pieceSpoils:
		g.spoilt = true
		g.drop(t, DropFragmentLocal)
		return drop(DropFragmentLocal)
	}
	if g.first == nil || g.total == 0 || g.bytes < g.total {
		return Parked
	}
	if g.headerLen()+g.total > maxIPLen { // with the options, which the last piece did not have
		g.spoilt = true
		g.drop(t, DropFragmentLocal)
		return drop(DropFragmentLocal)
	}
	held := len(g.pieces) - 1 // this one has not been counted yet
	t.stats.Parked -= int64(held)
	t.stats.Consumed += uint64(held)
	x.r.reassemblies.remove(slices.Index(x.r.reassemblies, g))
	t.requeue(x.in, g.whole())
	t.stats.Received++ // the whole packet is judged like one that came in
	return Consumed
}

// reassemblies are those of a router, the oldest first.
type reassemblies []*reassembly

// find returns the reassembly that a fragment belongs to, or begins it. The oldest of the same
// source, or else of all, makes room.
func (all *reassemblies) find(t *turn, k fragmentKey, in *iface) *reassembly {
	oldest, own := 0, 0
	for i := len(*all) - 1; i >= 0; i-- {
		g := (*all)[i]
		if g.key == k {
			return g
		}
		if g.key.fragmentSource == k.fragmentSource {
			if own++; own == maxReassembliesEach {
				oldest = i
			}
		}
	}
	if own >= maxReassembliesEach || len(*all) >= maxReassemblies {
		(*all)[oldest].drop(t, DropFragmentFull)
		all.remove(oldest)
	}
	g := &reassembly{key: k, in: in, until: t.now + reassemblyTime}
	*all = append(*all, g)
	t.wakeAt(g.until)
	return g
}

func (all *reassemblies) remove(i int) { *all = slices.Delete(*all, i, i+1) }

// detach drops what has come by an interface that is gone.
func (all *reassemblies) detach(t *turn, in *iface) {
	*all = slices.DeleteFunc(*all, func(g *reassembly) bool {
		if g.in == in {
			g.drop(t, DropDetached)
		}
		return g.in == in
	})
}

// drop drops the pieces of a packet that will not be completed.
func (g *reassembly) drop(t *turn, reason DropReason) {
	t.stats.Parked -= int64(len(g.pieces))
	t.stats.drop(reason, StageLocal, uint64(len(g.pieces)))
	g.pieces, g.bytes = nil, 0
}

// tick gives up what has not been completed in time, and says so to its
// sender if the first fragment is there to be quoted (RFC 792; RFC 1122, 3.3.2).
func (all *reassemblies) tick(t *turn) {
	for len(*all) > 0 {
		g := (*all)[0]
		if t.now < g.until {
			t.wakeAt(g.until)
			return
		}
		all.remove(0)
		g.drop(t, DropFragmentWait)
		if g.first == nil || g.spoilt {
			continue
		}
		f, x := tap.Frame{Buf: g.first, Tail: len(g.first)}, &g.in.router.scratch.passage
		x.begin(g.in, &f, true)
		if t.parser.Parse(&x.p, f.Ethernet(), f.Header()) == packet.FaultNone {
			sendError(t, x, packet.ICMPTimeExceeded, 1, 0, DropFragmentWait) // the drops are counted
		}
	}
}

// What a fragment does to a reassembly.
const (
	pieceAdded  = iota
	pieceKnown  // it is there already
	pieceSpoils // it cannot belong to what is there
)

// add puts a fragment in its place.
func (g *reassembly) add(x *passage) int {
	p := &x.p
	off, data := int(p.FragOff), p.Eth[p.L4:p.End]
	i, found := slices.BinarySearchFunc(g.pieces, off, func(q piece, off int) int { return q.off - off })
	end := off + len(data)
	switch {
	case found && len(g.pieces[i].data) == len(data):
		return pieceKnown
	case found, len(data) == 0, len(g.pieces) >= maxPieces,
		i > 0 && g.pieces[i-1].off+len(g.pieces[i-1].data) > off,
		i < len(g.pieces) && g.pieces[i].off < end,
		g.total > 0 && (end > g.total || !p.More),
		!p.More && i < len(g.pieces), // something lies behind the end
		end > maxIPLen-packet.IPv4Len:
		return pieceSpoils
	}
	if off == 0 {
		g.first = append([]byte(nil), x.frame.Buf[x.frame.Head:x.frame.Tail]...)
	}
	if !p.More {
		g.total = end
	}
	g.pieces = slices.Insert(g.pieces, i, piece{off, append([]byte(nil), data...)})
	g.bytes += len(data)
	return pieceAdded
}

// headerLen is the length of the IP header of the first fragment, which has all options (RFC 791, 3.1).
func (g *reassembly) headerLen() int { return int(g.first[tap.HeaderLen+packet.EthernetLen]&15) * 4 }

// whole is the packet as a frame with its virtio-net header.
func (g *reassembly) whole() []byte {
	b := append([]byte(nil), g.first[:tap.HeaderLen+packet.EthernetLen+g.headerLen()]...)
	for _, q := range g.pieces {
		b = append(b, q.data...)
	}
	ip := b[tap.HeaderLen+packet.EthernetLen:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[6:], 0)
	packet.SetIPv4Checksum(ip)
	return b
}
