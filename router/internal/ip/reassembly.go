package ip

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// Fragments for the router itself, mostly large pings, are put together again
// (RFC 791, 3.2), within bounds that a flood cannot widen. Pieces that overlap
// spoil their packet, because honest hosts do not send such pieces (RFC 5722).

// A reassembly is a packet for the router that is not complete yet.
type reassembly struct {
	Key    fragmentKey
	in     *Interface
	pieces []piece // by offset
	total  int     // payload length in bytes, known with the last piece; 0 before
	Bytes  int     // of payload that have come
	first  []byte  // the first fragment as it came, with its virtio-net header
	spoilt bool    // the packet cannot be completed; its later pieces are dropped
	until  time.Duration
}

// A piece is the payload of one fragment, with its offset in bytes.
type piece struct {
	off  int
	data []byte
}

// The limits of a router's reassembly.
const (
	MaxReassemblies     = 64 // packets of a router
	MaxReassembliesEach = 8  // packets of one source
	// MaxPieces is enough for the largest packet through the smallest usual MTU, 576.
	MaxPieces = 128
	// ReassemblyTime is how long a packet may take. RFC 1122, 3.3.2 asks for 60 to 120 s, RFC 791 for 15.
	ReassemblyTime = 30 * time.Second
	// MaxIPLen is the largest length of an IPv4 packet, in bytes (RFC 791, 3.1).
	MaxIPLen = 65535
)

// reassemble takes a fragment that is for the router, and has the whole packet
// forwarded when the last one is there.
func reassemble(t *loop.Turn, x *passage) verdict.Verdict {
	g := x.r.Reassemblies.find(t, keyOf(x), x.in)
	if g.spoilt {
		return verdict.Drop(verdict.DropFragmentLocal)
	}
	switch g.add(x) {
	case pieceKnown:
		return verdict.Consumed
	case pieceSpoils:
		g.spoilt = true
		g.drop(t, verdict.DropFragmentLocal)
		return verdict.Drop(verdict.DropFragmentLocal)
	}
	if g.first == nil || g.total == 0 || g.Bytes < g.total {
		return verdict.Parked
	}
	if g.headerLen()+g.total > MaxIPLen { // with the options, which the last piece did not have
		g.spoilt = true
		g.drop(t, verdict.DropFragmentLocal)
		return verdict.Drop(verdict.DropFragmentLocal)
	}
	held := len(g.pieces) - 1 // this one has not been counted yet
	t.Stats.Parked -= int64(held)
	t.Stats.Consumed += uint64(held)
	x.r.Reassemblies.remove(slices.Index(x.r.Reassemblies, g))
	t.Requeue(x.in, g.whole())
	t.Stats.Received++ // the whole packet is judged like one that came in
	return verdict.Consumed
}

// reassemblies are the incomplete packets of a router, the oldest first.
type reassemblies []*reassembly

// find returns the reassembly that a fragment belongs to, or begins it. The oldest of the same
// source, or else of all, makes room.
func (all *reassemblies) find(t *loop.Turn, k fragmentKey, in *Interface) *reassembly {
	oldest, own := 0, 0
	for i := len(*all) - 1; i >= 0; i-- {
		g := (*all)[i]
		if g.Key == k {
			return g
		}
		if g.Key.FragmentSource == k.FragmentSource {
			if own++; own == MaxReassembliesEach {
				oldest = i
			}
		}
	}
	if own >= MaxReassembliesEach || len(*all) >= MaxReassemblies {
		(*all)[oldest].drop(t, verdict.DropFragmentFull)
		all.remove(oldest)
	}
	g := &reassembly{Key: k, in: in, until: t.Now + ReassemblyTime}
	*all = append(*all, g)
	t.WakeAt(g.until)
	return g
}

func (all *reassemblies) remove(i int) { *all = slices.Delete(*all, i, i+1) }

// detach drops the packets whose pieces have come by an interface that is gone.
func (all *reassemblies) detach(t *loop.Turn, in *Interface) {
	*all = slices.DeleteFunc(*all, func(g *reassembly) bool {
		if g.in == in {
			g.drop(t, verdict.DropDetached)
		}
		return g.in == in
	})
}

// drop drops the pieces of a packet that will not be completed.
func (g *reassembly) drop(t *loop.Turn, reason verdict.DropReason) {
	t.Stats.Parked -= int64(len(g.pieces))
	t.Stats.Drop(reason, verdict.StageLocal, uint64(len(g.pieces)))
	g.pieces, g.Bytes = nil, 0
}

// Tick gives up the packets that have not been completed in time. The sender is told
// if the first fragment is there to be quoted (RFC 792; RFC 1122, 3.3.2).
func (all *reassemblies) Tick(t *loop.Turn) {
	for len(*all) > 0 {
		g := (*all)[0]
		if t.Now < g.until {
			t.WakeAt(g.until)
			return
		}
		all.remove(0)
		g.drop(t, verdict.DropFragmentWait)
		if g.first == nil || g.spoilt {
			continue
		}
		f, x := tap.Frame{Buf: g.first, Tail: len(g.first)}, &g.in.Router.Scratch.passage
		x.begin(g.in, &f, true)
		if t.Parser.Parse(&x.p, f.Ethernet(), f.Header()) == packet.FaultNone {
			sendError(t, x, packet.ICMPTimeExceeded, 1, 0, verdict.DropFragmentWait) // the drops are counted
		}
	}
}

// The results of reassembly.add.
const (
	pieceAdded  = iota
	pieceKnown  // the fragment is there already
	pieceSpoils // the fragment cannot belong to the same packet as the others
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
	case found, len(data) == 0, len(g.pieces) >= MaxPieces,
		i > 0 && g.pieces[i-1].off+len(g.pieces[i-1].data) > off,
		i < len(g.pieces) && g.pieces[i].off < end,
		g.total > 0 && (end > g.total || !p.More),
		!p.More && i < len(g.pieces), // something lies behind the end
		end > MaxIPLen-packet.IPv4Len:
		return pieceSpoils
	}
	if off == 0 {
		g.first = append([]byte(nil), x.frame.Buf[x.frame.Head:x.frame.Tail]...)
	}
	if !p.More {
		g.total = end
	}
	g.pieces = slices.Insert(g.pieces, i, piece{off, append([]byte(nil), data...)})
	g.Bytes += len(data)
	return pieceAdded
}

// headerLen is the length of the IP header of the first fragment, which has all options (RFC 791, 3.1).
func (g *reassembly) headerLen() int { return int(g.first[tap.HeaderLen+packet.EthernetLen]&15) * 4 }

// whole is the completed packet as a frame with its virtio-net header.
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
