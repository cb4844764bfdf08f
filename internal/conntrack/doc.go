// Package conntrack is a connection table: what a router, or one network, remembers about the
// traffic that passes.
//
// A connection is kept under two tuples: that of the packets of the side that opened it
// (Original), and that of the packets of the other side (Reply). Both are as the packets arrive.
// Packets of one direction leave as the reverse of the other direction's tuple. So a connection
// holds its whole translation, whatever rules the translation was made of. Where the two tuples
// are each other's reverse, nothing is translated.
//
// The table follows TCP states, sequence numbers and windows. It ends idle connections, and the ones
// that a change of the rules concerns. It makes room where it is full, and bounds the share of one host.
// Observers hear of every connection that begins, moves or ends. The table knows nothing of the
// rules that translations come from: package nat adds mappings and external ports.
//
// The package has no goroutine, clock, lock or I/O. The time (since any fixed start) and
// randomness are arguments. Callers serialize.
package conntrack

import "time"

// Timeouts of idle connections. A Config may change them.
const (
	UDPTimeout            = 5 * time.Minute             // RFC 4787 REQ-5c
	ICMPTimeout           = 60 * time.Second            // RFC 5508 REQ-2
	TCPEstablishedTimeout = 2*time.Hour + 4*time.Minute // RFC 5382 REQ-5
	TCPTransitoryTimeout  = 4 * time.Minute             // RFC 5382 REQ-5
	OtherTimeout          = 10 * time.Minute            // GRE, ESP ...: as Linux conntrack
	DefaultMaxConnections = 1 << 20
	DefaultHostShare      = 0.5
)

// A Config holds a table's settings. The zero value of every field means its default.
type Config struct {
	MaxConnections int     // connections at most
	HostShare      float64 // the most of the table that one host may hold, between 0 and 1; see Share
	Lend           bool    // a host may hold more while no other host needs it: see Table.Commit

	UDP, ICMP, TCPEstablished, Other time.Duration
	TCPOpening, TCPClosing           time.Duration // 0: TCPTransitory
	TCPTransitory                    time.Duration

	// Memory is where the connections lie; nil: the heap. It is the table's own from NewTable on. Configure does not
	// change it.
	Memory Memory
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	if c.MaxConnections <= 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	orElse := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orElse(&c.UDP, UDPTimeout)
	orElse(&c.ICMP, ICMPTimeout)
	orElse(&c.TCPEstablished, TCPEstablishedTimeout)
	orElse(&c.TCPTransitory, TCPTransitoryTimeout)
	orElse(&c.TCPOpening, c.TCPTransitory)
	orElse(&c.TCPClosing, c.TCPTransitory)
	orElse(&c.Other, OtherTimeout)
	return c
}

// A Share is the part of something that one host may hold. Of n, one more is too many for a host
// that holds some already, if
//
//	held+1 > share*n   or   held+1 > share/(1-share) * free
//
// So one greedy host ends at its share, and the next one at the same share of what the first one
// has left. There is always some left for another host. One is allowed in any case.
type Share struct{ share, odds float64 }

// NewShare returns a share. A number that is not between 0 and 1 stands for DefaultHostShare.
func NewShare(share float64) Share {
	if share <= 0 || share > 1 {
		share = DefaultHostShare
	}
	return Share{share, share / (1 - share)}
}

// Exceeds reports whether a host that holds so many of n may not have one more, where so many of
// the n are free.
func (s Share) Exceeds(held, n, free int) bool {
	more := float64(held + 1)
	return held > 0 && (more > s.share*float64(n) || more > s.odds*float64(free))
}

// Part reports whether so many of n are no more than the share of n, whatever is free.
func (s Share) Part(held, n int) bool { return float64(held) <= s.share*float64(n) }

// More is how many more a host may have that holds so many of n, where so many of the n are free. Each one that it
// gets is one that is not free any more.
func (s Share) More(held, n, free int) int {
	if s.Exceeds(held, n, free) {
		return 0
	}
	// The k-th one is not too many if held+k <= share*n and held+k <= odds*(free-k+1), with odds = share/(1-share).
	k := int(min(s.share*float64(n)-float64(held), s.share*float64(free+1)-(1-s.share)*float64(held)))
	for k > 1 && s.Exceeds(held+k-1, n, free-k+1) { // rounded up
		k--
	}
	return max(k, 1)
}

// A Refusal says why a connection cannot be made. It is a text for people, and callers compare
// it with the constants here and in package nat.
type Refusal string

// The refusals.
const (
	None          Refusal = ""                // the connection is made
	TableFull     Refusal = "table full"      // of connections that may not be evicted
	HostShareUsed Refusal = "host share used" // the host holds its share
	TupleTaken    Refusal = "tuple taken"     // another connection answers to the same tuple
)

// The refusals of Import alone.
const (
	Expired     Refusal = "expired"      // its time is over
	Malformed   Refusal = "malformed"    // no table can have such a connection
	UnknownName Refusal = "unknown name" // of an interface, a backend or a class
)

// String returns the refusal in words.
func (r Refusal) String() string {
	if r == None {
		return "none"
	}
	return string(r)
}
