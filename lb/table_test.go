package lb

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestMeasureTable(t *testing.T) {
	for _, n := range []int{2, 3, 10, 30, 100, 128, 300, 1000} {
		off := 0.0
		mn := time.Hour
		for base := range 20 {
			p := &Pool{}
			for i := range n {
				p.members = append(p.members, member{Member: Member{Addr: uint32(0x0a000000 + base*65536 + i + 2), Port: 80, Weight: 1}})
			}
			var tb table
			t0 := time.Now()
			tb.make(p)
			mn = min(mn, time.Since(t0))
			cnt := make([]int, n)
			for _, s := range tb.slots {
				cnt[s]++
			}
			for _, c := range cnt {
				off = max(off, math.Abs(float64(c*n)/float64(len(tb.slots))-1))
			}
		}
		fmt.Printf("n %d share off %.2f%% make %v\n", n, 100*off, mn)
	}
}
