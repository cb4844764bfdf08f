package dhcp

import "time"

// Rates at which messages are answered. A client asks some times in a minute; a device may have thousands behind it,
// which start together.
const (
	macRate, macBurst       = 10, 20
	deviceRate, deviceBurst = 2000, 4000
	maxBuckets              = 4096
)

// A bucket is what one sender may still send.
type bucket struct {
	tokens float64
	at     time.Time
}

// A limiter bounds how often each sender is answered: rate times a second, burst times at once. Senders beyond the
// size of its table share one bucket.
type limiter[K comparable] struct {
	rate, burst float64
	buckets     map[K]*bucket
	others      bucket
	swept       time.Time
}

func newLimiter[K comparable](rate, burst float64) *limiter[K] {
	return &limiter[K]{rate: rate, burst: burst, buckets: map[K]*bucket{}}
}

// allow says whether a sender is answered.
func (l *limiter[K]) allow(now time.Time, k K) bool {
	b := l.buckets[k]
	if b == nil && len(l.buckets) >= maxBuckets {
		l.sweep(now)
	}
	switch {
	case b != nil:
	case len(l.buckets) < maxBuckets:
		b = &bucket{l.burst, now}
		l.buckets[k] = b
	default:
		b = &l.others
	}
	l.fill(b, now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// fill gives a bucket what has come since it was used.
func (l *limiter[K]) fill(b *bucket, now time.Time) {
	if b.at.IsZero() {
		b.tokens = l.burst
	} else if d := now.Sub(b.at); d > 0 {
		b.tokens = min(l.burst, b.tokens+l.rate*d.Seconds())
	}
	b.at = now
}

// sweep forgets the buckets that are full again, at most once a second.
func (l *limiter[K]) sweep(now time.Time) {
	if !l.swept.IsZero() && now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for k, b := range l.buckets {
		if l.fill(b, now); b.tokens >= l.burst {
			delete(l.buckets, k)
		}
	}
}
