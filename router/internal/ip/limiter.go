package ip

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Limiter bounds the packets that a router sends to hosts that may not have asked for them (RFC 1812,
// 4.3.2.8): so many a second in all, and fewer to any one address.
type Limiter struct {
	limits
	Secret uint64 // an odd number that hosts must not know; see Bucket
	all    bucket
	to     *[256]bucket // by Bucket of the address; some addresses have the same one. nil: all are full
}

// A bucket is a token bucket, full at first. Its spent tokens come back with time.
type bucket struct {
	spent float64
	last  time.Duration // when spent was last brought up to date
}

func (b *bucket) ready(now time.Duration, rate, burst float64) bool {
	b.spent = max(0, b.spent-(now-b.last).Seconds()*rate)
	b.last = now
	return b.spent+1 <= burst
}

// limits are how many packets a Limiter allows: in a second and at once, in all and, in the fields with Each, to one
// address.
type limits struct{ rate, burst, RateEach, BurstEach float64 }

var (
	// ErrorLimits are the limits of ICMP errors and RSTs: enough for three traceroutes at once.
	ErrorLimits = limits{rate: 1000, burst: 200, RateEach: 20, BurstEach: 30}
	// EchoLimits are the limits of echo replies. Replies are as many and as long as the requests. But
	// they go to the host that a request names as its source, and take the router's time.
	EchoLimits = limits{rate: 40_000, burst: 4000, RateEach: 10_000, BurstEach: 1000}
)

// allow takes a token if both buckets have one.
func (l *Limiter) allow(to packet.Addr, now time.Duration) bool {
	if l.to == nil {
		l.to = new([256]bucket)
	}
	each := &l.to[l.Bucket(to)]
	if !each.ready(now, l.RateEach, l.BurstEach) || !l.all.ready(now, l.rate, l.burst) {
		return false
	}
	each.spent++
	l.all.spent++
	return true
}

// Bucket is the number of the bucket of an address. A host that does not know Secret cannot tell which addresses have
// the same one.
func (l *Limiter) Bucket(to packet.Addr) uint8 { return uint8((to.Number() + 1) * l.Secret >> 56) }
