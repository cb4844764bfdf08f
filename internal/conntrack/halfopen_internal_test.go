package conntrack

import (
	"math"
	"testing"
)

// Numbers that differ by one are in one bucket or in neighboring ones, in order, exactly up
// to 63 and within 3.2 % of each other beyond.
func TestBuckets(t *testing.T) {
	for n := uint32(1); n < 1<<20; n++ {
		a, b := bucketOf(n-1), bucketOf(n)
		if b != a && b != a+1 || n < 64 && b != int(n) {
			t.Fatalf("%d is in bucket %d, %d in bucket %d", n-1, a, n, b)
		}
		if bucketOf(n+n/31+1) == b {
			t.Fatalf("%d and %d are in bucket %d", n, n+n/31+1, b)
		}
	}
	if top := bucketOf(math.MaxInt32); top != bucketCount-1 {
		t.Errorf("the last bucket is %d of %d", top, bucketCount)
	}
}
