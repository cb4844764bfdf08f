package lb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
)

// A script is read word by word: what happens, or after ">" the member that the client's
// next connection would go to. Clients are A to Z, members digits.
//
//	A>0     client A would go to 0
//	A=0     A's connection to 0 is committed; A:0 ends, A~0 is resumed
//	-0 +0   down, up; 0w3 weight; x0 removed
//	@90     the time is 90 s from now on
func script(t *testing.T, name string, pool *lb.Pool, s string) {
	t.Helper()
	now := time.Duration(0)
	for i, w := range strings.Fields(s) {
		c, last := lb.Client{Addr: packet.Addr(w[0]), Port: uint16(i)}, w[len(w)-1]
		id := uint32(10 + last - '0')
		switch {
		case w[0] == '@':
			n := 0
			_, _ = fmt.Sscan(w[1:], &n)
			now = time.Duration(n) * time.Second
		case w[0] == '+', w[0] == '-':
			pool.SetHealthy(id, w[0] == '+')
		case w[0] == 'x':
			pool.Remove(id)
		case w[1] == 'w':
			pool.SetWeight(uint32(10+w[0]-'0'), int(last-'0'))
		case w[1] == '>':
			if m, ok := pool.Pick(c, now, nil); !ok || m.ID != id {
				t.Errorf("%s: word %d of %q: goes to %d (%t)", name, i, s, m.ID-10, ok)
			}
		case w[1] == '=':
			pool.Commit(c, id, now)
		case w[1] == ':':
			pool.End(c, id, now)
		case w[1] == '~':
			pool.Resume(c, id, now)
		}
	}
}

// The timeout is 60 s, of three members; round robin would go on to the next.
func TestPersistence(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"the same member", "A>0 A=0 A>0 A=0 A>0 B>1"},
		{"others take turns as if it were not there", "A=0 B=1 A=0 A=0 C>2 C=2 A=0 D>0 B=1 D>0"},
		{"since the end of the last connection", "A=0 @10 A:0 @69 A>0 @70 A>1"},
		{"since the last of several", "A=0 @10 A=0 @20 A:0 @1000 A>0 A:0 @1059 A>0 @1060 A>1"},
		{"since the last commit, whatever ended before", "A=0 A:0 @50 A=0 @55 A:0 @114 A>0 @115 A>1"},
		{"not while one is open", "A=0 @100000 A>0"},
		{"asking is no use of it", "A=0 A:0 @59 A>0 @60 A>1"},
		{"a resumed one is open", "A=0 A:0 @50 A~0 @500 A>0 A:0 @559 A>0 @560 A>1"},
		{"one resumed too late brings nothing back", "A=0 A:0 @60 A~0 A>1 A:0 A>1"},
		{"but counts", "A=0 A:0 @60 A~0 A=1 A:0 @500 A>1 A:1 @559 A>1 @560 A>2"},
		{"more ends than connections", "A=0 A:0 A:0 A:0 A=0 @500 A>0"},
		{"a timed out one takes its turn", "A=0 A:0 @60 A>1 A=1 B>2"},
		{"down", "A=0 -0 A>1 B>1"},
		{"down and up before it comes back", "A=0 -0 +0 A>1"},
		{"down and up with another in between", "A=0 A:0 -0 +0 B=1 A>2 A=2 A>2"},
		{"drained", "A=0 0w0 A>1 0w1 A>1"},
		{"another weight is no matter", "A=0 0w3 A>0"},
		{"removed", "A=0 x0 A>1"},
		{"another member is removed", "B=0 A=1 x0 A>1"},
		{"another one is down", "A=0 -1 +1 A>0"},
		{"to another member from now on", "A=0 A=1 A>1"},
		{"open with the old one", "A=0 A=1 A:1 @500 A>1 A:0 @559 A>1 @560 A>2"},
		{"open with one that is down", "A=0 -0 A=1 A:1 @500 A>1 A:0 @559 A>1 @560 A>2"},
		{"open with one that is gone", "A=0 x0 A=1 A:1 @500 A>1 A:0 @559 A>1 @560 A>2"},
		{"a connection to one that is down pins nobody", "-0 A=0 +0 A>0 B=1 A>2"},
		{"by address, not by port", "A=0 B=1 A>0 B>1 A>0"},
	} {
		pool := lb.NewPool(lb.Config{Persistence: time.Minute}, members(true, true, true))
		script(t, c.name, pool, c.script)
	}
}

// Without persistence no client keeps its member.
func TestNoPersistence(t *testing.T) {
	script(t, "none", lb.NewPool(lb.Config{}, members(true, true)), "A=0 A>1 A=1 A>0")
}

// Two clients are remembered.
func TestPersistenceIsBounded(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"the one unused longest goes", "A=0 A:0 B=1 B:1 C=2 A>0 B>1 C>2 D=0 B>1"},
		{"use counts, not age", "A=0 A:0 B=1 B:1 A=0 A:0 C=2 A>0 B>0"},
		{"one with connections stays", "A=0 B=1 B:1 C=2 A>0 B>0 C>2"},
		{"all have connections", "A=0 B=1 C=2 A>0 B=0 C>2 B>0 A>1"},
		{"and use counts", "A=0 B=1 A=0 C=2 A>0 B>0"},
		{"a timed out one makes room", "A=0 A:0 @60 B=1 B:1 C=2 B>1 C>2"},
		{"so does a dropped one", "B=1 B:1 A=0 A:0 -0 +0 C=2 B>1 C>2"},
		{"a forgotten one's end is nobody's", "A=0 B=1 C=2 A:0 B:1 C:2 @59 C>2 @60 C>0"},
	} {
		pool := lb.NewPool(lb.Config{Persistence: time.Minute, Persistent: 2}, members(true, true, true))
		script(t, c.name, pool, c.script)
	}
}

// While its member cannot be reached, the client is offered all others, and the member
// stays its own until it has got a connection to another.
func TestPinnedIsPassedOver(t *testing.T) {
	for _, alg := range []lb.Algorithm{lb.RoundRobin, lb.LeastConnections, lb.SourceIP, lb.SourceIPPort} {
		for own := range 4 {
			pool, c := lb.NewPool(lb.Config{Algorithm: alg, Persistence: time.Minute}, hosts(4, 9)), client(77)
			for i := range own { // turns
				pool.Commit(client(i), uint32(i), 0)
			}
			pool.Commit(c, uint32(own), 0)
			seen := map[uint32]bool{}
			for k := range 4 {
				m, ok := pool.Choice(c, k, 0)
				if !ok || seen[m.ID] || (m.ID == uint32(own)) != (k == 0) {
					t.Errorf("algorithm %d, own %d: choice %d is %d, %t", alg, own, k, m.ID, ok)
				}
				seen[m.ID] = true
			}
			if m, ok := pool.Choice(c, 4, 0); ok {
				t.Errorf("algorithm %d: a fifth of four: %v", alg, m)
			}
			if m, _ := pool.Pick(c, 0, nil); m.ID != uint32(own) {
				t.Errorf("algorithm %d: the client was unpinned", alg)
			}
			m, _ := pool.Choice(c, 2, 0)
			pool.Commit(c, m.ID, 0)
			if got, _ := pool.Pick(c, 0, nil); got.ID != m.ID {
				t.Errorf("algorithm %d: the client is not pinned to its new member", alg)
			}
		}
	}
}

// Backups serve while no other member may, and their clients come back after that.
func TestBackups(t *testing.T) {
	for _, alg := range []lb.Algorithm{lb.RoundRobin, lb.LeastConnections, lb.SourceIP, lb.SourceIPPort} {
		list := hosts(4, 1)
		list[1].Backup, list[3].Backup = true, true
		pool := lb.NewPool(lb.Config{Algorithm: alg, Persistence: time.Minute}, list)
		serving := func(want string) {
			t.Helper()
			got := [4]bool{}
			for i := range 200 {
				m, ok := pool.Pick(client(i), 0, nil)
				if ok {
					pool.Commit(client(i), m.ID, 0)
					got[m.ID] = true
				}
				if _, ok := pool.Choice(client(i), len(want), 0); ok {
					t.Errorf("algorithm %d: more than %s", alg, want)
				}
			}
			s := ""
			for id, ok := range got {
				if ok {
					s += fmt.Sprint(id)
				}
			}
			if s != want {
				t.Errorf("algorithm %d: %s serve, want %s", alg, s, want)
			}
		}
		serving("02")
		pool.SetHealthy(0, false)
		serving("2")
		pool.SetWeight(2, 0)
		serving("13")
		pool.SetHealthy(3, false)
		serving("1")
		pool.SetHealthy(1, false)
		serving("")
		pool.SetHealthy(1, true)
		serving("1")
		pool.SetHealthy(0, true)
		serving("0")
		pool.SetWeight(2, 1)
		pool.Remove(0)
		serving("2")
	}
}
