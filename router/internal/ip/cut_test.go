package ip

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

func TestCutTuplesAreBounded(t *testing.T) {
	var c cutTuples
	tuple := func(i int) packet.Tuple { return packet.Tuple{Src: packet.Addr(i), Proto: packet.ProtoTCP} }
	again := tuple(-1)
	for i := range 2 * maxCut {
		if i == 0 || i == 5 {
			c.add(again, time.Duration(i))
		}
		c.add(tuple(i), time.Duration(i))
		if len(c.Order) > maxCut || len(c.Until) > maxCut {
			t.Fatalf("%d tuples", len(c.Order))
		}
		first, last := tuple(i-maxCut), tuple(i)
		if c.has(&first) && first != again || !c.has(&last) {
			t.Fatalf("at %d the wrong one is forgotten", i)
		}
		if got := c.has(&again); got != (i < maxCut+4) {
			t.Fatalf("at %d what was cut off again is there: %t", i, got)
		}
	}
}
