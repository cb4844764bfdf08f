package conntrack

import (
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

// A connection matches a tuple in one direction only, and if every field is the same. No packet shows it: a tuple
// that differs hardly ever has the same tag.
func TestMatchesEveryField(t *testing.T) {
	original := packet.Tuple{Src: 0x0a000001, Dst: 0x0a000002, SrcPort: 0x1234, DstPort: 80, Proto: 17}
	reply := packet.Tuple{Src: 0x0a000002, Dst: 0xc0000203, SrcPort: 80, DstPort: 0x4321, Proto: 17}
	var c Conn
	c.setTuple(Original, original)
	c.setTuple(Reply, reply)
	for d, tuple := range [2]packet.Tuple{original, reply} {
		d := Direction(d)
		if !c.matches(d, &tuple) || c.matches(1-d, &tuple) {
			t.Errorf("direction %d: of the two directions %v and %v match %v", d, c.matches(d, &tuple),
				c.matches(1-d, &tuple), tuple)
		}
		for bit := range 32 {
			for field, change := range []func(*packet.Tuple){
				func(t *packet.Tuple) { t.Src ^= 1 << bit },
				func(t *packet.Tuple) { t.Dst ^= 1 << bit },
				func(t *packet.Tuple) { t.SrcPort ^= 1 << (bit % 16) },
				func(t *packet.Tuple) { t.DstPort ^= 1 << (bit % 16) },
				func(t *packet.Tuple) { t.Proto ^= 1 << (bit % 8) },
			} {
				other := tuple
				if change(&other); c.matches(d, &other) {
					t.Errorf("direction %d: another bit %d of field %d matches", d, bit, field)
				}
			}
			both := tuple // differences in two fields do not cancel
			both.Src, both.Dst = both.Src^1<<bit, both.Dst^1<<bit
			both.SrcPort, both.DstPort = both.SrcPort^1<<(bit%16), both.DstPort^1<<(bit%16)
			if c.matches(d, &both) {
				t.Errorf("direction %d: another bit %d of every field matches", d, bit)
			}
		}
	}
}
