package conntrack

import (
	"math"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

// overruledConns notes which connections changes have ended, by number.
type overruledConns map[uint32]bool

func (o overruledConns) Began(*Conn)             {}
func (o overruledConns) Moved(*Conn, Rank, Rank) {}
func (o overruledConns) Ended(c *Conn, e Ending) {
	if e.Reason == Overruled {
		o[c.self] = true
	}
}

// someChange is a change that names some of the disorder's connections, or none.
func (d *disorder) someChange() Change {
	ch := Change{KeepTCP: d.r.IntN(2) == 0}
	for range d.r.IntN(3) {
		ch.Backends = append(ch.Backends, Backend(d.r.IntN(5)))
	}
	for range d.r.IntN(2) {
		a := d.tuple()
		ch.Addrs = append(ch.Addrs, []packet.Addr{a.Src, a.Dst, disorderExt, 0x0a000101}[d.r.IntN(4)])
	}
	if in := uint16(d.r.IntN(3)); d.r.IntN(3) == 0 {
		ch.Concerns = func(c *Conn) bool { return c.In[Original] == in }
	}
	return ch
}

// What Judge says of each connection before a change is what becomes of it, also while other changes are
// pending. What it says to be concerned and to go on ends by the same change when that keeps nothing.
func TestJudge(t *testing.T) {
	var ended, kept, unconcerned, pending int
	for seed := range uint64(24) {
		d := newDisorder(t, seed)
		over := overruledConns{}
		d.table.Observe(over)
		for range 200 {
			for range 30 {
				d.step()
			}
			if d.table.changes.until != 0 {
				pending++
			}
			ch := d.someChange()
			judge := ch.Judge()
			verdicts := map[uint32][2]bool{}
			d.table.Walk(0, math.MaxInt, d.now, func(c *Conn) bool {
				concerned, goesOn := judge(c)
				verdicts[c.self] = [2]bool{concerned, goesOn}
				return true
			})
			clear(over)
			d.table.Apply(ch)
			for !d.table.Settle(d.now) {
			}
			for i, v := range verdicts {
				if want := v[0] && !v[1]; over[i] != want {
					t.Fatalf("seed %d: ended %t, judged %v, change %+v", seed, over[i], v, ch)
				}
			}
			ch.KeepTCP = false
			d.table.Apply(ch)
			for !d.table.Settle(d.now) {
			}
			for i, v := range verdicts {
				switch {
				case over[i] != v[0]:
					t.Fatalf("seed %d: ended %t without keeping, judged %v, change %+v", seed, over[i], v, ch)
				case v[1]:
					kept++
				case v[0]:
					ended++
				default:
					unconcerned++
				}
			}
		}
	}
	if min(ended, kept, unconcerned, pending) < 100 {
		t.Errorf("%d end, %d are kept, %d are not concerned, %d times others are pending: too few to tell",
			ended, kept, unconcerned, pending)
	}
}

// A Judge does not change with the lists that it was made from.
func TestJudgeHoldsACopy(t *testing.T) {
	ch := Change{Addrs: []packet.Addr{1}, Backends: []Backend{7}}
	judge := ch.Judge()
	ch.Addrs[0], ch.Backends[0], ch.KeepTCP = 2, 8, true
	for _, c := range []Conn{{ends: [2]ends{{src: 1}}}, {Backend: 7}} {
		if concerned, goesOn := judge(&c); !concerned || goesOn {
			t.Errorf("%+v: concerned %t, goes on %t", c, concerned, goesOn)
		}
	}
	if concerned, _ := judge(&Conn{ends: [2]ends{{src: 2}}, Backend: 8}); concerned {
		t.Error("by the later lists")
	}
}
