package wire

import (
	"time"

	"github.com/taprouter/taprouter/router/internal/loop"
)

// A frame to a broadcast, multicast or unknown address costs a copy for every other device of its network, and such a
// frame can go round in a loop of bridges outside. So each device may send a number of them a second, and further ones
// are dropped before they are copied. Frames of stations are not counted: what has a router send a broadcast is bounded
// there.

// A stormMeter counts the frames of one port that the switch gives to many. The zero value has counted none.
type stormMeter struct {
	due    time.Duration // when the frames so far would have come, at the pace of the limit; by Turn.Now
	said   bool          // that there is a storm has been logged
	saidAt time.Duration
}

const (
	// stormBurst is how far a device may be ahead of the pace of its limit: as many frames as in a second may come at
	// once.
	stormBurst = time.Second
	// stormQuiet is the least time between two log lines about the storms of one device.
	stormQuiet = time.Minute
)

// A stormLimit is how many frames a network floods.
type stormLimit struct {
	stormGap time.Duration // between the frames of one device that are flooded, at most; 0: no limit (LimitStorms)
}

// LimitStorms sets how many frames a second the network floods for each device; 0: any number.
func (n *stormLimit) LimitStorms(perSecond int) {
	n.stormGap = 0
	if perSecond > 0 {
		n.stormGap = max(1, stormBurst/time.Duration(perSecond))
	}
}

// StormGap is the time between the frames of a device that is at the limit; 0: there is no limit.
func (n *stormLimit) StormGap() time.Duration { return n.stormGap }

// storms counts a frame of the port that is to be flooded, and reports whether it is one too many.
func (p *Port) storms(t *loop.Turn) bool {
	gap, m := p.network.stormGap, &p.storm
	if gap == 0 {
		return false
	}
	m.due = max(m.due, t.Now)
	if m.due-t.Now > stormBurst-gap {
		if !m.said || t.Now-m.saidAt >= stormQuiet {
			m.said, m.saidAt = true, t.Now
			t.Log.Warn("a device sends too many broadcasts or frames to unknown addresses; further ones are dropped",
				"device", p.Link.Name, "network", p.network.Name(), "storm_limit", int(stormBurst/gap))
		}
		return true
	}
	m.due += gap
	return false
}
