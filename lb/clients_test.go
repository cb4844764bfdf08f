package lb

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// Clients that have timed out go as new ones come, faster than they come.
func TestTimedOutClientsDoNotPileUp(t *testing.T) {
	p := NewPool(Config{Persistence: time.Minute}, []Member{{ID: 1, Weight: 1, AdminStateUp: true, Healthy: true}})
	use := func(from, n int, now time.Duration) {
		for i := range n {
			c := Client{Addr: packet.Addr(from + i)}
			p.Commit(c, 1, now)
			p.End(c, 1, now)
		}
	}
	use(0, 1000, 0)
	use(1000, 400, time.Minute)
	if n := len(p.clients.at); n != 600 {
		t.Errorf("%d clients are remembered, want 200 old and 400 new ones", n)
	}
	use(2000, 200, time.Minute)
	if n := len(p.clients.at); n != 600 || len(p.clients.list) != 1000 {
		t.Errorf("%d clients in room for %d, want the 600 new ones in the first 1000", n, len(p.clients.list))
	}
}
