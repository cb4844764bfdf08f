package ip

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
)

// IP options: a router records its address, and the time, where a packet asks for it (RFC
// 791, 3.1; RFC 1812, 5.3.13). It does so when the packet leaves, so the packet that it quotes in an
// error is still as its sender sent it. No translation changes addresses that other routers have recorded before.

// readOptions looks at the options of a packet. A source route ends here, and so does an
// option that cannot be read: the sender is told which octet is wrong (RFC 1812, 4.3.3.5), unless
// the packet would have been dropped for its addresses.
func readOptions(t *loop.Turn, x *passage) verdict.Verdict {
	x.p.ReadOptions(&x.options)
	switch {
	case x.options.SourceRoute:
		return verdict.Drop(verdict.DropSourceRoute)
	case x.options.Malformed == 0:
		return verdict.Next
	}
	if v := x.in.martian(x.p.Src); v != verdict.Next {
		return v
	}
	if v := martianDest(x.p.Dst); v != verdict.Next {
		return v
	}
	return report(t, x, packet.ICMPParamProblem, 0, uint32(x.options.Malformed)<<24, verdict.DropIPOptions)
}

// record enters the router into the options of a packet that leaves by an interface, towards an
// address on its network.
func record(t *loop.Turn, x *passage, out *Interface, towards packet.Addr) {
	x.p.Record(&x.options, out.addrFor(towards), timestamp(t), x.r.IsLocal(x.p.Asked(&x.options)))
}

// notStandard marks a timestamp that does not count from midnight (RFC 791, 3.1).
const notStandard = 1 << 31

// timestamp is the time as the Internet timestamp option has it: in milliseconds since
// midnight UT. Without a clock of the day it is the time since the start, with a mark (notStandard).
func timestamp(t *loop.Turn) uint32 {
	if t.Day == nil {
		return uint32(t.Now/time.Millisecond) | notStandard
	}
	const day = 24 * time.Hour
	// Seconds of Unix time have no leap seconds, and its days begin at midnight UT.
	now := t.Day().UnixMilli() % day.Milliseconds()
	if now < 0 {
		now += day.Milliseconds() // a clock before 1970
	}
	return uint32(now)
}
