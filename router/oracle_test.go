package router

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// This file is what must hold in every sequence, whatever the frames: the properties
// that FuzzSequence holds the router to.

// judge finds out whether a frame that goes in is right, so that all that comes out
// must be. What waits in the router may be wrong until it has left.
func (q *sequence) judge(b []byte) {
	var f tap.Frame
	f.Buf, f.Tail = b, len(b)
	plain := bytes.Equal(f.Header(), make([]byte, tap.HeaderLen))
	if !q.unfinished && (!plain || nettest.Verify(f.Ethernet()) != nil) {
		q.tainted = true
	}
	if eth := f.Ethernet(); len(eth) >= packet.EthernetLen+packet.IPv4Len &&
		binary.BigEndian.Uint16(eth[20:])&0x3fff != 0 {
		q.puzzled = true
	}
}

// settle looks at everything that has come out since the last time, after in was put
// in, and returns the packets among it that the router has sent.
func (q *sequence) settle(in []byte) []crossing {
	q.checkCounts()
	q.checkBounds()
	var packets []crossing
	take := func(name string, d *simDevice) {
		for _, f := range d.out {
			c := crossing{name, q.now, f}
			q.record = append(q.record, c)
			if !q.checkFrame(c, in) {
				continue
			}
			if binary.BigEndian.Uint16(f.Ethernet()[12:]) == packet.EtherTypeIPv4 {
				packets = append(packets, c)
				q.seen = latest(q.seen, c)
			}
		}
		d.out = nil
	}
	for _, name := range q.names {
		take(name, q.devs[name])
	}
	if q.extra != nil {
		take(q.names[0], q.extra)
	}
	if q.parked() == 0 {
		q.tainted = false
	}
	return packets
}

// parked is how many frames wait in the router.
func (q *sequence) parked() int64 {
	n := q.w.Stats.Parked
	for _, r := range q.w.routers {
		n -= int64(r.Neighbors.Lost())
	}
	return n
}

// checkCounts: every frame received has exactly one verdict.
func (q *sequence) checkCounts() {
	s := &q.w.Stats
	sum := s.Forwarded + s.Consumed + uint64(s.Parked)
	for _, n := range s.Dropped {
		sum += n
	}
	if sum != s.Received || q.parked() < 0 {
		q.t.Fatalf("received %d, but forwarded %d, consumed %d, parked %d, dropped %v", s.Received, s.Forwarded,
			s.Consumed, s.Parked, s.Dropped)
	}
}

// tableBytes is the memory that all tables of connections take.
func (q *sequence) tableBytes() int {
	n := 0
	for _, r := range q.w.routers {
		n += r.Conns.Bytes() + r.NAT.Bytes()
	}
	return n
}

// tableSlack is what a table may keep for next time: a chunk of everything, and the
// ports of each protocol.
const tableSlack = 1 << 19

// checkBounds: no table is larger than it may be, nor anything left in a queue.
func (q *sequence) checkBounds() {
	if n := len(q.w.Queue); n != 0 {
		q.t.Fatalf("%d frames left in the queue", n)
	}
	for _, r := range q.w.routers {
		fs, held := &r.Fragments, 0
		for k, e := range fs.Entries {
			if len(e.Held) > ip.MaxHeldPieces {
				q.t.Fatalf("%d fragments held for %v", len(e.Held), k)
			}
			for _, b := range e.Held {
				held += len(b)
			}
		}
		gathered, own := 0, map[ip.FragmentSource]int{}
		for _, g := range r.Reassemblies {
			gathered = max(gathered, g.Bytes)
			if own[g.Key.FragmentSource]++; own[g.Key.FragmentSource] > ip.MaxReassembliesEach {
				q.t.Fatalf("%v has %d packets to put together", g.Key.FragmentSource, own[g.Key.FragmentSource])
			}
		}
		for _, x := range []struct {
			what    string
			n, most int
		}{
			{"fragmented packets", fs.Known.Len(), ip.MaxFragmented},
			{"packets without their first fragment", fs.Waiting.Len(), ip.MaxWaiting},
			{"packets in these lists", len(fs.Entries), fs.Known.Len() + fs.Waiting.Len()},
			{"bytes of fragments", fs.Held, ip.MaxHeldBytes},
			{"packets to put together", len(r.Reassemblies), ip.MaxReassemblies},
			{"bytes of one of them", gathered, ip.MaxIPLen},
			{"neighbors", r.Neighbors.Len(), neighbor.MaxNeighbors},
			{"connections", r.Conns.Len(), r.Tables.Conns.MaxConnections},
			{"bytes of tables", q.tableBytes(), q.empty + 1<<22},
		} {
			if x.n < 0 || x.n > x.most {
				q.t.Fatalf("%d %s, at most %d are allowed", x.n, x.what, x.most)
			}
		}
		for from, share := range fs.Waiting.Sources {
			if share.Len() > ip.MaxWaitingEach || share.Held > ip.MaxHeldEach || share.Len() == 0 {
				q.t.Fatalf("%v has %d packets without their first fragment, %d bytes", from, share.Len(), share.Held)
			}
		}
		if held != fs.Held {
			q.t.Fatalf("%d bytes of fragments are held, counted as %d", held, fs.Held)
		}
	}
}

// checkFrame: what the router sends is right in every length and checksum, as long as
// what went in was; what only crosses a switch is as it was. It reports whether the
// frame is the router's.
func (q *sequence) checkFrame(c crossing, in []byte) bool {
	checkOut(q.t, q.sim, c.net, c.frame)
	mac := packet.MAC(c.frame.Ethernet()[6:12])
	ours := false
	for _, i := range interfaces(q.nets[c.net]) {
		ours = ours || i.MAC == mac
	}
	if !ours {
		if plain := in != nil && in[0] == 0 && in[1] == 0; plain &&
			!bytes.Equal(c.frame.Ethernet(), in[tap.HeaderLen:]) {
			q.t.Fatalf("%s: not from the router, and not what was put in: %s", c.net,
				nettest.Describe(c.frame.Ethernet()))
		}
		return false
	}
	if q.tainted {
		return true
	}
	for _, eth := range finished(c.frame) {
		err := nettest.Verify(eth)
		if err != nil && !(q.puzzled && strings.Contains(err.Error(), "quoted")) {
			q.t.Fatalf("%s at %v: %v\n%s\n%x", c.net, c.at, err, nettest.Describe(eth), eth)
		}
	}
	return true
}

// finished is the frames that a device makes of one with a virtio-net header.
func finished(f tap.Frame) [][]byte {
	h, eth := f.Header(), f.Ethernet()
	if h[0]&virtio.NeedsChecksum == 0 {
		return [][]byte{eth}
	}
	b := append(bytes.Clone(h), eth...)
	var p packet.Packet
	if new(packet.Decoder).Decode(&p, b[tap.HeaderLen:], b[:tap.HeaderLen]) != packet.FaultNone {
		return [][]byte{nil} // which is not right
	}
	if p.GSOSize == 0 {
		p.CompleteChecksum()
		return [][]byte{p.Eth}
	}
	var all [][]byte
	p.Segment(func(n int) []byte {
		all = append(all, make([]byte, n))
		return all[len(all)-1]
	})
	return all
}

// translated puts in a right packet of a host. If it is forwarded, what comes out must
// be the same but for what its connection says, and an answer must come back as the
// answer to what was put in: forward and reverse are identity.
func (q *sequence) translated(from place, b []byte, how int) {
	before, forwarded := q.w.Stats.Dropped, q.w.Stats.Forwarded
	created := q.created()
	waiting := q.parked()
	out := q.put(from.net, b)
	if len(out) == 0 || q.w.Stats.Dropped != before || q.parked() != waiting || q.w.Stats.Forwarded == forwarded {
		return
	}
	went := q.whole(out)
	r := q.routerOf(from.net, b[tap.HeaderLen:])
	if r == nil || r != q.sender(went) {
		return // through more than one router
	}
	var p, got packet.Packet
	q.decode(&p, b[tap.HeaderLen:])
	q.decode(&got, went.frame.Ethernet())
	if got.Proto == packet.ProtoICMP && got.Type != p.Type {
		return // the router's own answer
	}
	c, d := r.Conns.Lookup(&p.Tuple, q.now)
	if c == nil {
		if !q.full(r) {
			q.t.Fatalf("forwarded without a connection: %v", p.Tuple)
		}
		return
	}
	if next := r.Conns.Successor(c); d == conntrack.Original && next != nil && got.Tuple == next.Translated(d) {
		c = next
	}
	if want := c.Translated(d); got.Tuple != want {
		q.t.Fatalf("%v left as %v, want %v", p.Tuple, got.Tuple, want)
	}
	q.checkSame(&p, &got, went)
	fresh := q.created() != created
	if how&(answerIt|reportIt) == 0 || !q.canAnswer(from, went, c, d) {
		return
	}
	if how&reportIt != 0 {
		q.reported(from, &p, went, fresh)
	}
	if how&answerIt != 0 {
		q.answered(from, p.Tuple, went, fresh)
	}
}

// whole is the packet that has come out, put together if the router has cut it.
func (q *sequence) whole(out []crossing) crossing {
	first := out[0]
	if len(out) == 1 {
		return first
	}
	header := packet.EthernetLen + int(first.frame.Ethernet()[packet.EthernetLen]&15)*4
	eth := bytes.Clone(first.frame.Ethernet()[:header])
	for i, c := range out {
		var p packet.Packet
		q.decode(&p, c.frame.Ethernet())
		if i > 0 && p.Options && !bytes.Equal(p.Eth[packet.EthernetLen+packet.IPv4Len:p.L4], someOptions[0][:4]) {
			q.t.Fatalf("a later fragment has other options than the copied ones: %s", nettest.Describe(p.Eth))
		}
		if at := len(eth) - header; int(p.FragOff) != at || p.More != (i < len(out)-1) || c.net != first.net {
			q.t.Fatalf("%d packets out for one; number %d has offset %d, want %d: %s", len(out), i, p.FragOff, at,
				nettest.Describe(p.Eth))
		}
		eth = append(eth, p.Eth[p.L4:p.End]...)
	}
	ip := eth[packet.EthernetLen:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	clear(ip[6:8])
	packet.SetIPv4Checksum(ip)
	b := append(make([]byte, tap.HeaderLen), eth...)
	return crossing{first.net, first.at, tap.Frame{Buf: b, Tail: len(b)}}
}

// checkPieces: what has come out for a packet in pieces, of which none was dropped and
// none waits, are all its bytes once; or the router's answer has them.
func (q *sequence) checkPieces(in *packet.Packet, out []crossing) {
	var pieces []packet.Packet
	for _, c := range out {
		var p packet.Packet
		q.decode(&p, c.frame.Ethernet())
		if p.Proto != in.Proto || p.IsICMPError() {
			return
		}
		pieces = append(pieces, p)
	}
	slices.SortFunc(pieces, func(a, b packet.Packet) int { return int(a.FragOff) - int(b.FragOff) })
	var got []byte
	for _, p := range pieces {
		got = append(got, p.Eth[p.L4:p.End]...)
	}
	want, header := in.Eth[in.L4:in.End], packet.TCPLen // longer than what may change,
	if in.Proto == packet.ProtoTCP && len(want) > 12 {
		header = int(want[12]>>4) * 4 // but that the MSS may, too
	}
	if len(got) != len(want) || len(want) > header && !bytes.Equal(got[header:], want[header:]) {
		q.t.Fatalf("%v: %d bytes in pieces went in, %d came out, or others", in.Tuple, len(want), len(got))
	}
}

// checkSegments: what has come out for a super-frame carries its bytes, in order.
func (q *sequence) checkSegments(b []byte, out []crossing) {
	var p packet.Packet
	if new(packet.Decoder).Decode(&p, bytes.Clone(b[tap.HeaderLen:]), nil) != packet.FaultNone {
		return
	}
	want := p.Eth[packet.EthernetLen+p.HeaderLen() : p.End]
	var seq uint32
	if p.Proto == packet.ProtoTCP {
		seq = binary.BigEndian.Uint32(p.Eth[p.L4+4:])
	}
	var got []byte
	for _, c := range out {
		for _, eth := range finished(c.frame) {
			var s packet.Packet
			q.decode(&s, eth)
			if s.Fragmented() || s.Proto != p.Proto {
				return // cut once more, or an error
			}
			if s.Proto == packet.ProtoTCP && binary.BigEndian.Uint32(s.Eth[s.L4+4:])-seq != uint32(len(got)) {
				q.t.Fatalf("a segment says where it is, wrongly: %s", nettest.Describe(eth))
			}
			got = append(got, s.Eth[packet.EthernetLen+s.HeaderLen():s.End]...)
		}
	}
	if !bytes.Equal(got, want) {
		q.t.Fatalf("%d bytes came out of a super-frame's %d, or others", len(got), len(want))
	}
}

// created is how many connections have ever been.
func (q *sequence) created() uint64 {
	n := uint64(0)
	for _, r := range q.w.routers {
		n += r.Conns.Stats().Created
	}
	return n
}

// full reports whether a router may forward without keeping a connection.
func (q *sequence) full(r *ip.Router) bool {
	for i := range q.topology.Routers {
		if q.topology.Routers[i].Name == r.Name {
			return r.Tables.Conns.MaxConnections <= 24
		}
	}
	return false
}

// decode reads a packet that has been found right.
func (q *sequence) decode(p *packet.Packet, eth []byte) {
	if f := new(packet.Decoder).Decode(p, eth, nil); f != packet.FaultNone {
		q.t.Fatalf("fault %d in %x", f, eth)
	}
}

// routerOf is the router that a frame is addressed to, sender the one it comes from.
func (q *sequence) routerOf(network string, eth []byte) *ip.Router {
	return routerAt(q.nets[network], eth[:6])
}

func (q *sequence) sender(c crossing) *ip.Router {
	return routerAt(q.nets[c.net], c.frame.Ethernet()[6:12])
}

// routerAt is the router that has a MAC address on a network, or nil.
func routerAt(n *wire.Network, mac []byte) *ip.Router {
	if s := n.StationAt(mac); s != nil {
		return s.Owner.(*ip.Interface).Router
	}
	return nil
}

// checkSame: two packets are the same but for what a router may change: TTL, one less,
// addresses, ports, checksums, the maximum segment size, the identification of a
// packet whose source is hidden, and what options record, which it must.
func (q *sequence) checkSame(in, out *packet.Packet, at crossing) {
	a, b := bytes.Clone(in.Eth[packet.EthernetLen:in.End]), bytes.Clone(out.Eth[packet.EthernetLen:out.End])
	if len(a) != len(b) || a[8] != b[8]+1 {
		q.t.Fatalf("%d bytes, TTL %d went in, %d bytes, TTL %d came out", len(a), a[8], len(b), b[8])
	}
	l4 := in.L4 - packet.EthernetLen
	for _, r := range q.w.routers {
		for _, i := range r.Interfaces[1:] {
			if i.Network == q.nets[at.net] && i.MAC == packet.MAC(out.Eth[6:12]) {
				recorded(a[packet.IPv4Len:l4], i.Addrs[0].Addr, uint32(q.now%(24*time.Hour)/time.Millisecond), r.Rules)
			}
		}
	}
	for _, ip := range [][]byte{a, b} {
		clear(ip[4:6])
		clear(ip[8:9])
		clear(ip[10:20])
		switch in.Proto {
		case packet.ProtoTCP:
			clear(ip[l4 : l4+4])
			clear(ip[l4+16 : l4+18])
			if in.Flags&packet.SYN != 0 {
				clear(ip[l4+22 : l4+24])
			}
		case packet.ProtoUDP:
			clear(ip[l4 : l4+4])
			clear(ip[l4+6 : l4+8])
		case packet.ProtoICMP:
			clear(ip[l4+2 : l4+6])
		}
	}
	a[9], b[9] = in.Proto, out.Proto
	if !bytes.Equal(a, b) {
		q.t.Fatalf("more has changed than may:\n in %s\nout %s", nettest.Describe(in.Eth), nettest.Describe(out.Eth))
	}
}

// recorded is a second, independent account of what a router must record (RFC 791, 3.1), given its
// address and the time. It knows the options of someOptions only.
func recorded(opts []byte, addr packet.Addr, now uint32, own *ip.Rules) {
	for len(opts) > 0 && opts[0] != 0 {
		if opts[0] == 1 {
			opts = opts[1:]
			continue
		}
		o := opts[:opts[1]]
		opts = opts[opts[1]:]
		if o[0] != 7 && o[0] != 68 {
			continue
		}
		free := o[min(len(o), int(o[2])-1):]
		switch {
		case o[0] == 7 && len(free) >= 4:
			addr.Put(free)
			o[2] += 4
		case o[0] == 68 && o[3]&15 == 0 && len(free) >= 4:
			binary.BigEndian.PutUint32(free, now)
			o[2] += 4
		case o[0] == 68 && o[3]&15 == 1 && len(free) >= 8:
			addr.Put(free)
			binary.BigEndian.PutUint32(free[4:], now)
			o[2] += 8
		case o[0] == 68 && o[3]&15 == 3 && len(free) >= 8 && own.IsLocal(packet.ReadAddr(free)):
			binary.BigEndian.PutUint32(free[4:], now)
			o[2] += 8
		case o[0] == 68 && len(free) == 0 && o[3]&15 < 2:
			o[3] += 16
		}
	}
}

// canAnswer reports whether an answer must get back: its sender and the router are
// within reach of each other, and the way out is the way back.
func (q *sequence) canAnswer(from place, went crossing, c *conntrack.Conn, d conntrack.Direction) bool {
	if h := q.hosts[hostKey{from.net, from.addr}]; h == nil || h.mute {
		return false
	}
	r := q.sender(went)
	return q.allUp() && r.Interfaces[c.In[1-d]].Network.Name() == went.net &&
		r.Interfaces[c.In[d]].Network.Name() == from.net
}

// crowded reports whether more than may wait for a neighbor have since, or one that waits there has
// come again.
func (q *sequence) crowded(before [verdict.NumDropReasons]uint64) bool {
	d := &q.w.Stats.Dropped
	return d[DropNeighborFull] != before[DropNeighborFull] || d[DropDuplicate] != before[DropDuplicate]
}

// allUp reports whether all devices take what the router sends.
func (q *sequence) allUp() bool {
	for _, d := range q.devs {
		if d.err != nil {
			return false
		}
	}
	return true
}

// reported puts in an ICMP error of the host that the packet p of another has reached,
// as went. The other must be shown the packet as it was sent (RFC 5508, REQ-4 and 5).
func (q *sequence) reported(from place, p *packet.Packet, went crossing, fresh bool) {
	eth := went.frame.Ethernet()
	quote := eth[packet.EthernetLen:]
	l4 := append([]byte{packet.ICMPUnreachable, 3, 0, 0, 0, 0, 0, 0}, quote[:min(len(quote), 548)]...)
	reporter := place{net: went.net, addr: packet.ReadAddr(eth[30:]).Netip()}
	b := q.packet(reporter, packet.ReadAddr(eth[26:]), packet.ProtoICMP, 0, l4)
	nettest.SetMACs(b[tap.HeaderLen:], packet.MAC(eth[0:6]), packet.MAC(eth[6:12]))
	dropped, waiting := q.w.Stats.Dropped, q.parked()
	out := q.put(went.net, b)
	if q.parked() != waiting || q.crowded(dropped) || !fresh && q.w.Stats.Dropped != dropped {
		return
	}
	if len(out) != 1 || out[0].net != from.net {
		q.t.Fatalf("%v left; an error about it does not come back, drops %v", p.Tuple, q.stats().Drops)
	}
	var got packet.Packet
	q.decode(&got, out[0].frame.Ethernet())
	if got.Src != p.Dst || got.Dst != p.Src || got.Quote.Tuple != p.Tuple && got.Quote.HasPort {
		q.t.Fatalf("an error about %v comes back to %v as one about %v", p.Tuple, got.Tuple, got.Quote.Tuple)
	}
}

// answered puts in the answer to a packet that went out for one of a host, and wants it
// back there. fresh says that the connection has just begun: else a segment may be one
// that its receiver would refuse.
func (q *sequence) answered(from place, tuple packet.Tuple, went crossing, fresh bool) {
	b := answerTo(went.frame.Ethernet(), 0)
	if b == nil {
		return
	}
	var sent packet.Packet
	q.decode(&sent, bytes.Clone(b[tap.HeaderLen:]))
	before, waiting := q.w.Stats.Dropped, q.parked()
	out := q.put(went.net, b)
	refused := q.w.Stats.Dropped[DropTCPWindow] != before[DropTCPWindow]
	if q.parked() != waiting || q.crowded(before) || refused && !fresh {
		return
	}
	if len(out) == 0 || out[0].net != from.net {
		q.t.Fatalf("%v left as %v; the answer does not come back, drops %v", tuple, sent.Tuple.Reverse(),
			q.stats().Drops)
	}
	var got packet.Packet
	q.decode(&got, out[0].frame.Ethernet())
	if got.Tuple != tuple.Reverse() {
		q.t.Fatalf("the answer to %v comes back as %v", tuple, got.Tuple)
	}
	if len(out) == 1 && !got.Fragmented() {
		q.checkSame(&sent, &got, out[0])
	}
}

// finish lets everything expire, after which nothing must be left of it.
func (q *sequence) finish() {
	for _, d := range q.devs {
		d.err = nil
	}
	q.pass(3 * time.Hour)
	q.checkTables()
	if n := q.parked(); n != 0 {
		q.t.Errorf("%d frames wait for ever", n)
	}
	for _, r := range q.w.routers {
		for what, n := range map[string]int{
			"connections": r.Conns.Len(), "neighbors": r.Neighbors.Len(),
			"fragmented packets": len(r.Fragments.Entries),
			"bytes of fragments": r.Fragments.Held, "packets to put together": len(r.Reassemblies),
			"sources of fragments": len(r.Fragments.Known.Sources) + len(r.Fragments.Waiting.Sources),
		} {
			if n != 0 {
				q.t.Errorf("%s: %d %s are left", r.Name, n, what)
			}
		}
	}
	for _, r := range q.w.routers {
		for _, v := range r.Listeners {
			if v == nil {
				continue // a free number
			}
			if v.Active != 0 || v.Lasting != 0 || len(v.Leaving) != 0 {
				q.t.Errorf("VIP %s: %d active, %d established connections are left, %d members leave", v.Name, v.Active,
					v.Lasting, len(v.Leaving))
			}
			for _, m := range v.Pool.Members() {
				if b := &r.Backends[v.Numbers[m.ID]]; b.Conns != 0 || b.Active != 0 || m.Active != 0 {
					q.t.Errorf("VIP %s, member %d: %d connections, %d active, %d by the pool's account", v.Name, m.ID,
						b.Conns, b.Active, m.Active)
				}
			}
		}
	}
	if n := q.tableBytes(); n > q.empty+tableSlack*len(q.w.routers) {
		q.t.Errorf("the tables take %d bytes, at first it was %d", n, q.empty)
	}
}
