package router

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A network is one Ethernet segment: a learning switch between its ports, with
// the routers that have an interface there as further ports. It belongs to the
// worker that reads its devices.
type network struct {
	name     string
	number   int // in the engine
	mtu      int // the topology's
	linkMTU  int // what its devices take of that: its routers go by it
	external bool
	hidden   bool // the engine's own
	home     *worker
	ports    []*port
	attached int // ports that have been attached while the engine runs: no two have one name
	ifaces   []*iface
	table    macTable
	reserved map[uint32]string // addresses of an external network that can be no floating IP, and whose they are
	lookedAt time.Duration     // when the full table was last searched for old addresses

	// The workers of other routers on this network may use the fields below.
	directory directory
	watchers  atomic.Pointer[[]*watcher]
	outlet    atomic.Pointer[outlet]
}

// A port joins a device to a network. dev is nil while the device is away.
type port struct {
	network *network
	spec    file.Device
	memory  bool // in memory: gone for good when its far end closes
	awaited bool // the device did not exist at the start and has not come yet
	dev     tap.Device
	takes   tap.Features
	mtu     int // the largest packet that the device takes, as far as it says

	inMemory bool // the device has no descriptor to wait for

	// Of another worker's shadow of the port: what it is the shadow of, nil until
	// something is sent, and how the last write went.
	shadow   bool
	shadowOf *outlet
	wrote    writeClass

	out   []tap.Frame // waits for the end of the batch
	ready bool        // is on the worker's list of ports to read
	trouble
	pace
	stats DeviceStats
}

// A watcher sees every frame that crosses a network, one at a time.
type watcher struct {
	mu sync.Mutex // two workers may send to the network
	fn func(tap.Frame)
}

// observe shows a frame to those who watch.
func (n *network) observe(f *tap.Frame) {
	all := n.watchers.Load()
	if all == nil {
		return
	}
	for _, watch := range *all {
		watch.mu.Lock()
		watch.fn(*f)
		watch.mu.Unlock()
	}
}

// warmBatch is how many frames make it worth while to look ahead.
const warmBatch = 4

// warm looks ahead at the frames of a batch that are for one router with a large
// table, and has their connections fetched into the cache at the same time.
func (n *network) warm(t *turn, frames []tap.Frame) {
	var r *vrouter
	var tuples []packet.Tuple
	for i := range frames {
		eth := frames[i].Ethernet()
		if len(eth) < packet.EthernetLen {
			continue
		}
		if r == nil {
			if r = n.routerAt(eth[:6]); r == nil || !t.of(r.worker) || r.nat.Len() < nat.WarmFrom {
				return
			}
			tuples = r.scratch.ahead[:0]
		}
		if t, ok := packet.Peek(eth); ok {
			tuples = append(tuples, t)
		}
	}
	if r != nil {
		r.nat.Warm(tuples)
	}
}

// routerAt returns the router that has a MAC address on the network, or nil.
func (n *network) routerAt(mac []byte) *vrouter {
	for _, i := range n.ifaces {
		if i.mac == packet.MAC(mac) {
			return i.router
		}
	}
	return nil
}

// receive takes one frame from a port: it is for a router, for another port, or
// for everybody. The frame's buffer is the worker's until the batch is flushed.
func (from *port) receive(t *turn, f *tap.Frame) {
	t.stats.Received++
	n := from.network
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen {
		t.count(drop(DropRunt))
		return
	}
	n.observe(f)
	if eth[12] == packet.EtherTypeVLAN>>8 {
		untag(f)
		eth = f.Ethernet()
	}
	if eth[6]&1 != 0 {
		t.count(drop(DropSourceMAC))
		return
	}
	if len(n.ports) > 1 {
		n.learn(packet.MAC(eth[6:12]), from, t.now)
	}
	t.count(n.switchFrame(t, from, nil, f))
}

// tagLen is the length of an IEEE 802.1Q tag.
const tagLen = 4

// untag takes away a tag that names no VLAN, only a priority (IEEE 802.1Q, 6.9):
// the frame is of the network that an untagged one would be of. A frame with another
// tag inside stays as it is.
func untag(f *tap.Frame) {
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen+tagLen || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeVLAN ||
		binary.BigEndian.Uint16(eth[14:])&0xfff != 0 || tagged(eth[tagLen:]) {
		return
	}
	var h virtio.Header
	if h.Parse(f.Header()); h.Flags&virtio.NeedsChecksum != 0 {
		h.CsumStart -= tagLen
	}
	if h.HdrLen >= packet.EthernetLen+tagLen {
		h.HdrLen -= tagLen
	}
	h.Put(f.Header())
	copy(f.Buf[f.Head+tagLen:], f.Buf[f.Head:f.Head+tap.HeaderLen+12])
	f.Head += tagLen
}

// tagged reports whether an Ethernet header has a tag instead of a type.
func tagged(eth []byte) bool {
	t := binary.BigEndian.Uint16(eth[12:])
	return t == packet.EtherTypeVLAN || t == packet.EtherTypeQinQ
}

// switchFrame sends a frame where its destination address says: from a port, or
// from the interface of a router (self), which does not get it back.
func (n *network) switchFrame(t *turn, from *port, self *iface, f *tap.Frame) verdict {
	dst := f.Ethernet()[:6]
	if dst[0]&1 != 0 {
		if reserved := [5]byte{1, 0x80, 0xc2}; [5]byte(dst) == reserved && dst[5] < 16 {
			return drop(DropReserved)
		}
		return n.flood(t, from, self, f)
	}
	for _, i := range n.ifaces {
		if i != self && i.mac == packet.MAC(dst) {
			if self != nil {
				i.toRouter(t, f)
				return forwarded
			}
			if t.of(i.router.worker) {
				return forward(t, i, f, false)
			}
			return i.handInward(t, recordForward, f)
		}
	}
	if len(n.ports) == 1 {
		if from != nil {
			return drop(DropNotOurs)
		}
		n.ports[0].sendOrLose(t, f, nil)
		return forwarded
	}
	if seen := n.table.lookup(dst); seen != nil && t.now-seen.at < macAge {
		if seen.port == from {
			return drop(DropSamePort)
		}
		if from == nil {
			seen.port.sendOrLose(t, f, nil)
		} else if !seen.port.send(t, f, nil) {
			return drop(DropOffload)
		}
		return forwarded
	}
	n.toOthers(t, from, f)
	return forwarded
}

// flood gives a broadcast or multicast to every other port, and to the routers that it concerns.
func (n *network) flood(t *turn, from *port, self *iface, f *tap.Frame) verdict {
	others := n.toOthers(t, from, f)
	v := n.toRouters(t, self, f)
	if others && v >= dropped {
		return forwarded // the switch did its part
	}
	return v
}

// toOthers copies a frame to every port but the one it came from, and reports
// whether there was one. The last gets the frame itself.
func (n *network) toOthers(t *turn, from *port, f *tap.Frame) bool {
	sent := false
	for _, p := range n.ports {
		switch {
		case p == from:
			continue
		case p.dev == nil:
			p.stats.Lost++
			continue
		}
		c := t.copy(f)
		if sent {
			t.stats.Made++
		}
		p.sendOrLose(t, &c, nil)
		sent = true
	}
	return sent
}

// transmit puts a frame that a router made or rewrote onto a network. p is its
// parsed form, if there is one.
func (n *network) transmit(t *turn, self *iface, f *tap.Frame, p *packet.Packet) {
	n.observe(f)
	switch {
	case !t.of(n.home):
		n.transmitAbroad(t, self, f, p)
	case len(n.ports) == 1 && len(n.ifaces) == 1:
		n.ports[0].sendOrLose(t, f, p)
	default:
		n.switchFrame(t, nil, self, f)
	}
}

// sendMade transmits a frame that the router made.
func (out *iface) sendMade(t *turn, f tap.Frame) {
	t.stats.Made++
	out.network.transmit(t, out, &f, nil)
}

// sendOrLose is send for a frame that has its verdict.
func (to *port) sendOrLose(t *turn, f *tap.Frame, p *packet.Packet) {
	if !to.send(t, f, p) {
		to.stats.Lost++
	}
}

// send queues a frame for a device, in the form that the device takes. It reports
// false if there is none: a super-frame of a protocol that only the device could
// cut.
func (to *port) send(t *turn, f *tap.Frame, p *packet.Packet) bool {
	if to.dev == nil {
		to.stats.Lost++
		return true
	}
	h := f.Header()
	if h[0]&virtio.NeedsChecksum == 0 && h[1] == virtio.GSONone || to.carries(h) {
		to.enqueue(t, *f)
		return true
	}
	return to.sendPlain(t, f, p)
}

// carries reports whether the port's device takes a frame with this header as it is.
func (to *port) carries(h []byte) bool {
	need := tap.FeatureChecksum
	switch h[1] &^ virtio.GSOECN {
	case virtio.GSONone:
	case virtio.GSOTCPv4:
		need |= tap.FeatureTSO4
	case virtio.GSOUDP:
		need |= tap.FeatureUSO
	default:
		need |= tap.FeatureTSO6
	}
	return to.takes&need == need
}

// sendPlain does in software what the device does not: segments, checksums.
func (to *port) sendPlain(t *turn, f *tap.Frame, p *packet.Packet) bool {
	eth := f.Ethernet()
	if p == nil {
		p = &t.switched
		if binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 || t.parser.Parse(p, eth, f.Header()) != packet.FaultNone {
			return to.completeAny(t, f)
		}
	}
	if p.GSOSize == 0 {
		c := *f
		if p.VNet == nil || !p.Partial {
			return to.completeAny(t, f)
		}
		p.CompleteChecksum()
		to.enqueue(t, c)
		return true
	}
	t.segments = t.segments[:0]
	p.Segment(func(n int) []byte {
		s := t.alloc(n)
		t.segments = append(t.segments, s)
		return s.Ethernet()
	})
	for _, s := range t.segments {
		t.stats.Made++
		to.enqueue(t, s)
	}
	return true
}

// completeAny finishes the checksum of a frame of any protocol, as its
// virtio-net header describes it; a super-frame that is not IPv4 cannot be cut.
func (to *port) completeAny(t *turn, f *tap.Frame) bool {
	var h virtio.Header
	if h.Parse(f.Header()); h.GSOType != virtio.GSONone || !h.Complete(f.Ethernet()) {
		return false
	}
	clear(f.Header())
	to.enqueue(t, *f)
	return true
}

// enqueue adds a frame to a port's batch.
func (to *port) enqueue(t *turn, f tap.Frame) {
	if len(to.out) == 0 {
		t.dirty = append(t.dirty, to)
	}
	to.out = append(to.out, f)
}

// toRouter hands a copy of a frame to another router on the same network.
func (to *iface) toRouter(t *turn, f *tap.Frame) {
	t.stats.Received++
	if !t.of(to.router.worker) {
		if v := to.handInward(t, recordForward, f); v != handedOver {
			t.count(v)
		}
		return
	}
	if len(t.queue) >= maxQueue {
		t.stats.Dropped[DropLoop]++
		return
	}
	t.requeue(to, append([]byte(nil), f.Buf[f.Head:f.Tail]...))
}
