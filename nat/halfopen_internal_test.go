package nat

import (
	"math"
	"testing"
)

// Numbers that differ by one are on one rung or on neighboring ones, in order, exactly up
// to 63 and within 3.2 % of each other beyond.
func TestRungs(t *testing.T) {
	for n := uint32(1); n < 1<<20; n++ {
		a, b := rungOf(n-1), rungOf(n)
		if b != a && b != a+1 || n < 64 && b != int(n) {
			t.Fatalf("%d is on rung %d, %d on rung %d", n-1, a, n, b)
		}
		if rungOf(n+n/31+1) == b {
			t.Fatalf("%d and %d are on rung %d", n, n+n/31+1, b)
		}
	}
	if top := rungOf(math.MaxInt32); top != rungCount-1 {
		t.Errorf("the last rung is %d of %d", top, rungCount)
	}
}
