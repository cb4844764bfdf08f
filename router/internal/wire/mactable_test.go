package wire

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A flood of addresses must not make each frame search the full table.
func TestMACFlood(t *testing.T) {
	var n Network
	p := &Port{}
	mac := func(i int) packet.MAC { return packet.MAC{2, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)} }
	now := time.Hour
	for i := range maxMACs + 100 {
		n.learn(mac(i), p, now)
	}
	if n.MACs.used != maxMACs || n.lookedAt != now {
		t.Errorf("%d addresses, searched at %v", n.MACs.used, n.lookedAt)
	}
	now += macSearch - 1
	n.learn(mac(1<<20), p, now)
	if n.lookedAt != time.Hour {
		t.Error("searched again at once")
	}
	now += MACAge
	n.learn(mac(1<<20), p, now)
	if n.MACs.used != 1 {
		t.Errorf("%d addresses are left of those that are too old", n.MACs.used)
	}
}
