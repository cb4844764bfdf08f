package router

import (
	"net/netip"
	"slices"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// Stats is a copy of an engine's counters. Every frame received is exactly one
// of forwarded, consumed, dropped, or still parked; frames that the engine makes
// itself (answers, floods, fragments, segments) are counted apart. Unsent counts the frames of its
// own that it did not send, by reason.
type Stats struct {
	Received  uint64 // from devices, and from one router to another
	Forwarded uint64 // sent on, or switched
	Consumed  uint64 // answered, learned from, or for no other receiver
	Parked    uint64 // waiting for a neighbor or other fragments at this moment
	Made      uint64 // frames that the engine has made
	Conflicts uint64 // ARP messages that claim an address of a router

	Drops     map[DropReason]uint64   // reasons that have occurred
	DropsAt   []DropCount             // the same drops, by stage and reason
	Unsent    map[UnsentReason]uint64 // reasons that have occurred; these frames are in no other count
	PortDrops []PortDrop              // what port security has dropped, bounded for each network
	Devices   []DeviceStats           // also of devices in memory: of attached ports, and of the hosts of checks
	Routers   []RouterStats
}

// Dropped is the sum of all drops.
func (s *Stats) Dropped() uint64 {
	var n uint64
	for _, c := range s.Drops {
		n += c
	}
	return n
}

// A DropCount is how many frames were dropped at one stage for one reason. Stats.DropsAt has
// the counts that are not 0, in the order of stages and reasons.
type DropCount struct {
	Stage  Stage
	Reason DropReason
	Frames uint64
}

// A PortDrop is what port security has dropped at one device, of one port of the State, for one reason. If a network
// has too many of these, the frames of the one that has not grown for the longest time are counted in an entry without
// a device. So the sum for a network and a reason does not become smaller while the engine runs.
type PortDrop struct {
	Network   string
	NetworkID config.ID
	Device    string    // where the frames came in; empty: of several devices, and nothing more is known
	Port      string    // the port's name; it may be empty
	PortID    config.ID // empty: the frames are of no port
	Reason    DropReason
	Frames    uint64
	// Of the last of these frames:
	MAC     string     // the MAC address that it has claimed
	Address netip.Addr // the IP address that it has claimed; not valid if it is about the MAC address alone
	Last    time.Time  // when it came
	Why     string     // what it has done, in words
	Remedy  string     // the key of the configuration that would let it pass; empty: none does
}

// DeviceStats counts the frames that went through one device, and their bytes, from the Ethernet
// header on. A super-frame counts once. If the device took only a part of a batch, the bytes of the
// batch are not in TxBytes.
type DeviceStats struct {
	Device            string
	Network           string   // the network that has the device; empty if several have it
	Networks          []string // all networks that have it, sorted
	RxFrames, RxBytes uint64
	TxFrames, TxBytes uint64
	Lost              uint64 // frames that the device did not take
	Present           bool   // open at this moment
	// UnknownTags are the frames that came with the VLAN tag of no network on the device, by tag. They are dropped
	// (DropVLANTag). The first 64 tags have a count each, sorted; UnknownOther counts the frames with further ones.
	UnknownTags  []TagCount
	UnknownOther uint64
}

// A TagCount is how many frames there were with one VLAN tag.
type TagCount struct {
	VLAN   int
	Frames uint64
}

// RouterStats describes one router's tables.
type RouterStats struct {
	Router      string
	ID          config.ID
	Connections int    // in the table now
	HalfOpen    int    // connections among these that the other side has not answered, or not accepted yet
	Closed      int    // connections among these that are over, and are remembered for a while
	Created     uint64 // connections so far
	Expired     uint64 // connections that ended by their timeout
	Evicted     uint64 // connections that ended to make room for others
	// Recalled counts connections that ended because their host held them beyond its host share, and another host
	// needed their places: see RecallRemedy.
	Recalled   uint64
	Settled    uint64 // connections that ended because of a change of the State
	Overloaded uint64 // connections that share an external port with others (port overloading, RFC 4787, 4.2.1)
	OverShare  uint64 // connections among these that share it because their host has its host share of the ports
	Neighbors  int    // in the neighbor table now
	TableBytes int    // memory of the tables of connections and mappings
}

// RecallRemedy says what keeps connections from ending for other hosts (RouterStats.Recalled), in words.
const RecallRemedy = ip.RecallRemedy

// A tally adds up what the workers of an engine have counted.
type tally struct {
	Stats
	parked  int64
	at      [verdict.NumStages][verdict.NumDropReasons]uint64
	devices map[*loop.Link]int // index in Stats.Devices
	away    []awayStats
}

// awayStats is how much one worker has sent to the device of another worker.
type awayStats struct {
	link *loop.Link
	loop.LinkStats
}

// add adds one worker's counters, on that worker.
func (t *tally) add(w *shard) {
	t.addFrames(w)
	for _, n := range w.networks {
		t.addNetwork(w, n)
	}
	for _, r := range w.routers {
		t.addRouter(r, r.Conns.Bytes()+r.NAT.Bytes())
	}
	t.addLinks(w.Links)
	t.addOutboxes(w.Outboxes)
}

// addFrames adds what a worker has counted of frames.
func (t *tally) addFrames(w *shard) {
	c := &w.Stats
	t.Received += c.Received
	t.Forwarded += c.Forwarded
	t.Consumed += c.Consumed
	t.Made += c.Made
	t.Conflicts += c.Conflicts
	t.parked += c.Parked
	for r, n := range c.Dropped {
		if n > 0 {
			t.Drops[DropReason(r)] += n
		}
	}
	for stage := range c.DroppedAt {
		for reason, n := range c.DroppedAt[stage] {
			t.at[stage][reason] += n
		}
	}
	if t.Unsent == nil {
		t.Unsent = map[UnsentReason]uint64{}
	}
	for r, n := range c.Unsent {
		if n > 0 {
			t.Unsent[UnsentReason(r)] += n
		}
	}
}

// addNetwork adds what port security has dropped on a network, on its worker.
func (t *tally) addNetwork(w *shard, n *wire.Network) {
	for _, d := range n.Denials() {
		p := PortDrop{
			Network: n.Name(), NetworkID: config.ID(n.ID), Device: d.Device, Reason: d.Reason, Frames: d.Frames,
		}
		if d.Device != "" {
			p.MAC, p.Address, p.Last = d.MAC.String(), d.Addr, w.Epoch.Add(d.Last)
			p.Why, p.Remedy = d.Text(), d.Remedy()
		}
		if d.Port != nil {
			p.Port, p.PortID = d.Port.Name, config.ID(d.Port.ID)
		}
		t.PortDrops = append(t.PortDrops, p)
	}
}

// addRouter adds a router, on its worker. bytes is the memory of its tables.
func (t *tally) addRouter(r *ip.Router, bytes int) {
	if lost := r.Neighbors.Lost(); lost > 0 { // packets that waited for a neighbor that had to make room
		t.parked -= int64(lost)
		t.Drops[DropNeighborFull] += lost
		t.at[StageNeighbor][DropNeighborFull] += lost
	}
	n, mapped := r.Conns.Stats(), r.NAT.Stats()
	t.Routers = append(t.Routers, RouterStats{
		Router: r.Name, ID: config.ID(r.ID), Connections: r.Conns.Len(),
		HalfOpen: r.Ranks[conntrack.HalfOpen], Closed: r.Ranks[conntrack.Over],
		Created: n.Created, Expired: n.Expired,
		Evicted: n.Evicted, Recalled: n.Recalled, Settled: n.Settled,
		Overloaded: mapped.Overloaded, OverShare: mapped.OverShare,
		Neighbors: r.Neighbors.Len(), TableBytes: bytes,
	})
}

// addLinks adds devices, on their worker.
func (t *tally) addLinks(links []*loop.Link) {
	if t.devices == nil {
		t.devices = map[*loop.Link]int{}
	}
	for _, l := range links {
		t.devices[l] = len(t.Devices)
		d := DeviceStats{
			Device: l.Name, Networks: l.Owner.Networks(), Present: l.Dev != nil, Lost: l.Stats.Lost,
			RxFrames: l.Stats.RxFrames, RxBytes: l.Stats.RxBytes, TxFrames: l.Stats.TxFrames, TxBytes: l.Stats.TxBytes,
			UnknownOther: l.Tags.Other,
		}
		if slices.Sort(d.Networks); len(d.Networks) == 1 {
			d.Network = d.Networks[0]
		}
		for vlan, n := range l.Tags.All {
			d.UnknownTags = append(d.UnknownTags, TagCount{int(vlan), n})
		}
		slices.SortFunc(d.UnknownTags, func(a, b TagCount) int { return a.VLAN - b.VLAN })
		t.Devices = append(t.Devices, d)
	}
}

// addOutboxes adds what a worker has sent to the devices of others, on that worker.
func (t *tally) addOutboxes(boxes []*loop.Outbox) {
	for _, b := range boxes {
		if b.Seen != nil {
			t.away = append(t.away, awayStats{b.Link, b.Stats})
		}
	}
}

// stats is the sum.
func (t *tally) stats() Stats {
	t.Parked = uint64(max(0, t.parked))
	for stage := range t.at {
		for reason, n := range t.at[stage] {
			if n > 0 {
				t.DropsAt = append(t.DropsAt, DropCount{Stage(stage), DropReason(reason), n})
			}
		}
	}
	for _, s := range t.away {
		if i, ok := t.devices[s.link]; ok {
			d := &t.Devices[i]
			d.TxFrames += s.TxFrames
			d.TxBytes += s.TxBytes
			d.Lost += s.Lost
		}
	}
	return t.Stats
}

// A Connection is a copy of one entry of a router's connection table.
type Connection struct {
	Router string
	conntrack.Connection
	Mapped bool // it goes through a mapping
}

// String writes the connection as one line: protocol, state, and both tuples as
// they arrive at the router.
func (c Connection) String() string {
	return packet.ProtoName(c.Original.Proto) + " " + c.State.String() + " " +
		c.Remaining.Truncate(time.Second).String() + " " + c.Original.String() + " | " + c.Reply.String()
}
