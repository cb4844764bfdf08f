package service

import (
	"encoding/binary"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// How many echo requests a station answers, in a second and at once.
const echoRate, echoBurst = 10_000, 1000

// A bucket is a token bucket, full at first.
type bucket struct {
	spent float32
	last  time.Duration
}

func (b *bucket) ready(now time.Duration, rate, burst float32) bool {
	b.spent = max(0, b.spent-float32((now-b.last).Seconds())*rate)
	b.last = now
	return b.spent+1 <= burst
}

// take takes a token, if there is one.
func (b *bucket) take(now time.Duration, rate, burst float32) bool {
	ok := b.ready(now, rate, burst)
	if ok {
		b.spent++
	}
	return ok
}

// limits are how many requests a station takes, in a second and at once: in all, and of one MAC address. The services
// have limits of their own. These bound what a flood costs before it gets there. MAC addresses share them; a host
// cannot choose an address that has the bucket of another host.
type limits struct {
	seed                                   uint64
	allRate, allBurst, eachRate, eachBurst float32

	all  bucket
	each *[1024]bucket // nil: all are full
}

// allow takes a token for a request of a host, if there is one.
func (l *limits) allow(mac packet.MAC, now time.Duration) bool {
	if l.each == nil {
		l.each = new([1024]bucket)
	}
	var b [8]byte
	copy(b[:], mac[:])
	k := (binary.LittleEndian.Uint64(b[:]) ^ l.seed) * 0x9e3779b97f4a7c15
	k = (k ^ k>>32) * (l.seed | 1)
	each := &l.each[k>>54]
	if !each.ready(now, l.eachRate, l.eachBurst) || !l.all.ready(now, l.allRate, l.allBurst) {
		return false
	}
	each.spent++
	l.all.spent++
	return true
}
