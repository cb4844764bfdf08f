package conntrack

import (
	"math/bits"

	"github.com/taprouter/taprouter/internal/packet"
)

// A stream is what a table knows about the sequence numbers of one side of a TCP
// connection. It is small rather than exact: the window is a power of two, and
// where the other side's acknowledgements stand is taken to be within it.
type stream struct {
	end    [2]uint32 // one more than the highest sequence number sent, by direction; 0: unknown
	window [2]uint8  // 2 to the power of this is more than any window offered
	marks  [2]streamMarks
}

type streamMarks uint8

const (
	scaleMask    streamMarks = 0x0f
	noScale      streamMarks = 0x0f // in place of the scale: its SYN had no window scale option
	streamRaised streamMarks = 0x10 // end is what the other side has acknowledged
	streamOpened streamMarks = 0x20 // its SYN has been seen
	streamLoose  streamMarks = 0x40 // fragments: end is not known for sure
	streamSeen   streamMarks = 0x80
)

const (
	// leastWindow: every window counts as 2 to the power of this at least.
	leastWindow = 14
	// ackWindow is the window that acknowledgements are judged by at least: a side that
	// sends little may receive much.
	ackWindow = 66000
	// maxScale is the greatest window scale (RFC 7323, 2.3).
	maxScale = 14
)

// A Fit says how a TCP segment goes with what its connection is at.
type Fit uint8

// The fits.
const (
	// Fits: the segment is at a place where the connection is.
	Fits Fit = iota
	// Suspicious is a segment that a receiver may answer, but does not believe (RFC 5961). It is to be
	// forwarded, and changes nothing.
	Suspicious
	// Foreign is a segment that has nothing to do with the connection but its
	// addresses and ports.
	Foreign
)

// Fit judges a segment of a known connection by both sides' sequence numbers and
// windows. It changes nothing. Where one side has not been seen, or was picked up in
// the middle with an unknown window scale, it lets pass what it cannot judge.
// While a connection opens, what does not fit is Suspicious: it may be how two hosts find out
// that one of them remembers another connection (RFC 9293, 3.5.1).
//
// A SYN into a connection that is open is Suspicious, too. Where its receiver has forgotten the
// connection, the answer acknowledges exactly that SYN. Such an answer Fits.
func (t *Table) Fit(c *Conn, d Direction, s *packet.Segment) Fit {
	k := &t.conns.Column(c.self).stream
	if s.Flags&(packet.SYN|packet.RST) != 0 && t.answersLater(c, d, s) {
		return Fits
	}
	if s.Flags&packet.SYN != 0 {
		return k.fitSYN(c, d, s)
	}
	if k.stale(d) || k.stale(1-d) {
		if s.Flags&packet.RST != 0 {
			return Suspicious // it cannot be judged
		}
		return Fits
	}
	if k.marks[d]&streamSeen == 0 && k.marks[1-d]&streamOpened != 0 && !k.refusal(d, s) {
		return Suspicious // a SYN is answered by one, or refused
	}
	fit := k.fit(d, s, c.state.finished(d))
	if fit == Foreign && c.embryonic() {
		return Suspicious
	}
	return fit
}

// fitSYN is Fit for a SYN. It fits where a connection begins: at its place, or as the first
// of its side. Everywhere else the answer decides. Without that, a stranger that guesses addresses
// and ports could change the connection's sequence numbers.
func (k *stream) fitSYN(c *Conn, d Direction, s *packet.Segment) Fit {
	o := 1 - d
	switch {
	case c.Ended(), c.state == New:
		return Fits
	case !c.state.transitory():
		return Suspicious // the receiver asks the sender whether it means that
	case s.Flags&packet.ACK != 0:
		if got := int64(int32(k.end[o] - s.Ack)); k.marks[o]&streamOpened != 0 && (got < 0 || got > ackWindow) {
			return Suspicious
		}
		return Fits
	case k.differs(d, s) && k.marks[o]&streamSeen != 0:
		return Suspicious
	}
	return Fits
}

// differs reports whether a SYN is another one than the SYN that its side has begun with. A
// repeated SYN may come without the data that it had at first.
func (k *stream) differs(d Direction, s *packet.Segment) bool {
	if k.marks[d]&streamOpened == 0 {
		return false
	}
	ahead := int64(int32(s.Seq + s.Len - k.end[d]))
	return ahead > ackWindow || ahead < -ackWindow
}

// fit is Fit once it is known where both sides are; finished says that direction d
// has sent its FIN.
func (k *stream) fit(d Direction, s *packet.Segment, finished bool) Fit {
	o := 1 - d
	if k.marks[d]&k.marks[o]&streamSeen == 0 || (k.marks[d]|k.marks[o])&streamLoose != 0 {
		return Fits
	}
	window := k.offered(o)
	ahead := int64(int32(s.Seq + s.Len - k.end[d]))
	// What was sent a window ago may still be on its way (RFC 5961, 5.2).
	behind := 2 * window
	if s.Cut {
		behind += window // there is more to it, but no more than its sender may send
	}
	if ahead > window || ahead < -behind {
		return Foreign
	}
	if s.Flags&packet.RST != 0 {
		// A side that has finished, and forgotten, answers from where the other side acknowledges it to be.
		if ahead == 0 || ahead < 0 && finished {
			return Fits
		}
		return Suspicious
	}
	if s.Flags&packet.ACK != 0 {
		old := int64(int32(k.end[o] - s.Ack))
		if old > 2*max(ackWindow, k.offered(d)) {
			return Foreign
		}
		// Where the other side's SYN has not been seen, it may have sent more before than what
		// is known: what was seen first may have been a keep-alive, or have been sent again.
		if old < 0 && (k.marks[o]&streamOpened != 0 || -old > k.offered(d)) {
			return Foreign
		}
	}
	return Fits
}

// offered is more than any window that direction d has offered.
func (k *stream) offered(d Direction) int64 {
	if k.window[d] == 0 && k.marks[d]&streamOpened == 0 {
		return 1 << (16 + maxScale) // only closed windows have been seen
	}
	return 1 << max(leastWindow, k.window[d])
}

// MaySend reports whether a TCP segment that begins with sequence number seq may be under way in
// direction d, or just have been. An ICMP error about any other segment is a guess by a stranger that has
// not seen the connection (RFC 5927, 4.1). Where the sequence numbers are not known, it may.
func (t *Table) MaySend(c *Conn, d Direction, seq uint32) bool {
	k, o := &t.conns.Column(c.self).stream, 1-d
	if !k.knows(d) || k.stale(d) || (k.marks[d]|k.marks[o])&streamLoose != 0 || t.later.answeredBy(c.self, d, seq+1) {
		return true
	}
	ahead := int64(int32(seq - k.end[d]))
	return ahead <= 0 && ahead >= -2*k.offered(o)
}

// Refuses reports whether a TCP segment of direction d is the refusal of a SYN that has no other
// answer: the SYN that the connection has begun with, or one that it is to begin anew with.
func (t *Table) Refuses(c *Conn, d Direction, s *packet.Segment) bool {
	k := &t.conns.Column(c.self).stream
	return d == Reply && s.Flags&packet.RST != 0 && (c.unanswered() && k.refusal(d, s) || t.answersLater(c, d, s))
}

// refusal reports whether a segment is a RST that acknowledges all the other side has sent:
// one that a host which has only sent its SYN believes (RFC 9293, 3.10.7.3).
func (k *stream) refusal(d Direction, s *packet.Segment) bool {
	return s.Flags&(packet.RST|packet.ACK) == packet.RST|packet.ACK && s.Ack == k.end[1-d]
}

// follow notes a segment that is sent on.
func (t *Table) follow(c *Conn, d Direction, s *packet.Segment) {
	k, o := &t.conns.Column(c.self).stream, 1-d
	if s.Flags&packet.RST != 0 {
		return
	}
	if s.Cut {
		k.marks[d] |= streamLoose
	}
	if s.Flags&packet.ACK != 0 && k.behind(o, s) {
		k.end[o] = s.Ack // what this side has got, and the table has not seen
		if k.marks[o]&streamSeen != 0 {
			k.marks[o] |= streamRaised
		}
	}
	if s.Flags&packet.SYN != 0 {
		t.followSYN(c, d, s)
		return
	}
	end := s.Seq + s.Len
	if k.marks[d]&streamSeen == 0 || int32(end-k.end[d]) > 0 {
		k.end[d] = end
	}
	k.marks[d] |= streamSeen
	if s.Window != 0 {
		k.window[d] = max(k.window[d], uint8(bits.Len16(s.Window))+k.scale(d))
	}
}

// behind reports whether a segment acknowledges more of side o than that side's own segments have
// shown. Where the SYN of o has not been seen, that raises the end of o, but only once. Otherwise
// a stranger could raise the end out of reach, step by step.
func (k *stream) behind(o Direction, s *packet.Segment) bool {
	return k.marks[o]&streamSeen == 0 ||
		k.marks[o]&(streamOpened|streamRaised) == 0 && int32(s.Ack-k.end[o]) > 0
}

// followSYN is follow for a SYN.
func (t *Table) followSYN(c *Conn, d Direction, s *packet.Segment) {
	k, o := &t.conns.Column(c.self).stream, 1-d
	switch {
	case c.Ended(): // both begin anew
		k.marks[o], k.window[o], k.end[o] = 0, 0, 0
		t.later.forget(c.self)
	case k.marks[d]&streamOpened != 0 && s.Seq+s.Len != k.end[d]:
		// The answer may be to the SYN before this one. It may also be to the copy with data, where
		// this one is the copy without (RFC 7413, 4.1.3).
		t.later.note(c.self, d, laterSYN{next: k.end[d], scale: k.marks[d] & scaleMask})
	}
	k.end[d], k.window[d] = s.Seq+s.Len, uint8(bits.Len16(s.Window))
	k.marks[d] = k.marks[d]&streamLoose | streamSeen | streamOpened | scaleOf(s)
}

// scaleOf is the part of a stream's marks that a SYN's window scale is.
func scaleOf(s *packet.Segment) streamMarks { return scaleMarks(s.Scale, s.Scaled) }

// knows reports whether the end of a direction is known: its segments have been
// seen, or acknowledgements of them.
func (k *stream) knows(d Direction) bool { return k.marks[d&1]&streamSeen != 0 || k.end[d&1] != 0 }

// stale reports whether the end of a direction is from a snapshot, and more may have been sent since: its SYN has been
// seen, but no segment after the snapshot. See Record.Loosen.
func (k *stream) stale(d Direction) bool {
	return k.marks[d&1]&(streamSeen|streamOpened) == streamOpened
}

// scale is how far the windows of a direction are shifted.
func (k *stream) scale(d Direction) uint8 {
	both := k.marks[0] & k.marks[1]
	switch {
	case both&streamOpened == 0:
		return maxScale // unknown: the most there is
	case k.marks[0]&scaleMask == noScale, k.marks[1]&scaleMask == noScale:
		return 0
	}
	return uint8(k.marks[d] & scaleMask)
}
