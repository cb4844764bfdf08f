package nat_test

import (
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// One greedy host ends at its share, the next at the same share of what the first has
// left: however many come, there is something left for another.
func TestShareLeavesRoom(t *testing.T) {
	for _, c := range []struct {
		share float64
		want  []int // of 1000, host by host
	}{
		{0.5, []int{500, 250, 125, 63, 31}},
		{0.1, []int{100, 90, 81, 73, 65}},
		{0.0005, []int{1, 1, 1, 1, 1}},
		{0.9, []int{900, 90, 9, 1, 0}}, // down to the last
	} {
		conns := nat.Config{MaxConnections: 1000, HostShare: c.share}
		ports := nat.Config{PortMin: 2000, PortMax: 2999, HostShare: c.share}
		for name, table := range map[string]*nat.Table{"connections": newTable(conns), "ports": newTable(ports)} {
			for host, want := range c.want {
				got := 0
				for ; got <= 1000; got++ {
					f := udp(inside+uint32(host), uint16(2000+got), remote+uint32(host), 53)
					if name == "ports" {
						if c, _, r := tryBind(table, f, 0); r != nat.None || !c.Mapped() {
							break
						}
						continue
					}
					k, r := table.Commit(&nat.NewConn{Original: f, Reply: f.Reverse(), Owner: nat.OwnerSource}, 0)
					if r != nat.None {
						if r != nat.HostShareUsed && want > 0 {
							t.Errorf("share %v, host %d: %v", c.share, host, r)
						}
						break
					}
					table.Touch(k, nat.Reply, 0, false, 0)
				}
				if got != want {
					t.Errorf("share %v: host %d has %d %s, want %d", c.share, host, got, name, want)
				}
			}
		}
	}
}

// What makes room for others takes nobody's share: neither half-open nor closed
// connections do.
func TestFloodTakesNoShare(t *testing.T) {
	for name, flags := range map[string]uint8{"half open": packet.SYN, "closed": packet.RST} {
		table := newTable(nat.Config{MaxConnections: 100})
		for k := range uint32(300) {
			tuple := tcpTuple(uint16(k))
			tuple.Src = remote + k
			table.Commit(&nat.NewConn{Original: tuple, Reply: tuple.Reverse(), Segment: packet.Segment{Flags: flags}}, 0)
		}
		for k := range uint16(50) {
			f := udp(inside, 1000+k, remote, 53)
			c, r := table.Commit(&nat.NewConn{Original: f, Reply: f.Reverse(), Owner: nat.OwnerSource}, 0)
			if r != nat.None {
				t.Fatalf("%s: connection %d: %v", name, k, r)
			}
			table.Touch(c, nat.Reply, 0, false, 0)
		}
	}
}

// Ports that are overloaded because of a share are counted apart from those for want of
// any.
func TestOverShareIsCounted(t *testing.T) {
	table := newTable(nat.Config{PortMin: 2000, PortMax: 2009, HostShare: 0.5})
	for k := range uint16(6) {
		bind(t, table, udp(inside, 2000+k, remote, 53))
	}
	if s := table.Stats(); s.Overloaded != 1 || s.OverShare != 1 {
		t.Errorf("one beyond the share: %+v", s)
	}
	for host := uint32(1); host < 10; host++ {
		bind(t, table, udp(inside+host, 2000, remote+host, 53))
	}
	if s := table.Stats(); s.Overloaded != 5 || s.OverShare != 1 {
		t.Errorf("with no port left: %+v", s)
	}
}
