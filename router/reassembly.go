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
// spoil their packet: nobody honest sends those (RFC 5722).

// A gathering is a packet for the router that is not complete yet.
type gathering struct {
	pieces []piece // by offset
	total  int     // payload length, known with the last piece; 0 before
	bytes  int
	header []byte // virtio-net, Ethernet and IP header of the first piece
	spoilt bool
	until  time.Duration
}

type piece struct {
	off  int
	data []byte
}

const (
	maxGatherings  = 64
	reassemblyTime = 30 * time.Second // RFC 1122, 3.3.2 asks for 60 to 120, RFC 791 for 15
	maxIPLen       = 65535
)

// reassemble takes a fragment that is for the router, and has the whole packet
// forwarded when the last one is there.
func (w *worker) reassemble(x *passage) verdict {
	r := x.r
	k := keyOf(x)
	g := r.gatherings[k]
	if g == nil || w.now >= g.until {
		if len(r.gatherings) >= maxGatherings && !r.forgetGatherings(w.now) {
			return drop(DropFragmentFull)
		}
		g = &gathering{until: w.now + reassemblyTime}
		r.gatherings[k] = g
		w.wakeAt(g.until)
	}
	g.add(x)
	if g.spoilt {
		return drop(DropFragmentLocal)
	}
	if g.header != nil && g.total > 0 && g.bytes == g.total {
		delete(r.gatherings, k)
		w.queue = append(w.queue, queued{x.in, g.whole(), false})
		w.stats.Received++ // the whole packet is judged like one that came in
	}
	return consumed
}

// forgetGatherings drops what has not been completed in time, and reports
// whether that made room.
func (r *vrouter) forgetGatherings(now time.Duration) bool {
	for k, g := range r.gatherings {
		if now >= g.until {
			delete(r.gatherings, k)
		}
	}
	return len(r.gatherings) < maxGatherings
}

// add puts a fragment in its place.
func (g *gathering) add(x *passage) {
	p := &x.p
	off, data := int(p.FragOff), p.Eth[p.L4:p.End]
	i, found := slices.BinarySearchFunc(g.pieces, off, func(q piece, off int) int { return q.off - off })
	end := off + len(data)
	switch {
	case found && len(g.pieces[i].data) == len(data):
		return // the same again
	case found, len(data) == 0,
		i > 0 && g.pieces[i-1].off+len(g.pieces[i-1].data) > off,
		i < len(g.pieces) && g.pieces[i].off < end,
		g.total > 0 && (end > g.total || !p.More),
		end > maxIPLen-packet.IPv4Len:
		g.spoilt = true
	}
	if g.spoilt {
		g.pieces, g.bytes = nil, 0
		return
	}
	if off == 0 {
		g.header = append([]byte(nil), x.frame.Buf[x.frame.Head:x.frame.Head+tap.HeaderLen+packet.EthernetLen+packet.IPv4Len]...)
	}
	if !p.More {
		g.total = end
		g.spoilt = i < len(g.pieces) // something lies behind the end
	}
	g.pieces = slices.Insert(g.pieces, i, piece{off, append([]byte(nil), data...)})
	g.bytes += len(data)
}

// whole is the packet, without IP options, as a frame with its virtio-net header.
func (g *gathering) whole() []byte {
	b := append([]byte(nil), g.header...)
	for _, q := range g.pieces {
		b = append(b, q.data...)
	}
	ip := b[tap.HeaderLen+packet.EthernetLen:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[6:], 0)
	packet.SetIPv4Checksum(ip)
	return b
}
