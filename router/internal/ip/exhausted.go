package ip

import (
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
)

// exhausted refuses a connection for want of room. Its sender is told (RFC 5508, REQ-8). A line in the log
// tells the administrator, once a minute for each reason (RFC 6888, REQ-11).
func exhausted(t *loop.Turn, x *passage, reason verdict.DropReason) verdict.Verdict {
	logRefusal(t, x, reason)
	return sendError(t, x, packet.ICMPUnreachable, 13, 0, reason)
}

// overShare ends a connection that has been established beyond its host's share. That happens if several begin at the
// same time: while it is half-open, a connection may be borrowed.
func overShare(t *loop.Turn, x *passage, c *conntrack.Conn) verdict.Verdict {
	logRefusal(t, x, verdict.DropHostShare)
	x.r.resetBoth(t, c)
	x.r.Conns.Remove(c)
	return verdict.Drop(verdict.DropHostShare)
}

// logRefusal logs that a connection is refused for want of room, once a minute for each reason.
func logRefusal(t *loop.Turn, x *passage, reason verdict.DropReason) {
	r := x.r
	if at, ok := r.exhausted[reason]; !ok || t.Now-at >= time.Minute {
		r.exhausted[reason] = t.Now
		t.Log.Warn("new connections are refused", "router", r.Name, "reason", reason.String(),
			"connections", r.Conns.Len(), "sender", x.p.Src.Netip())
	}
}

// logRecalled logs that connections end for other hosts, once a minute.
func (o connObserver) logRecalled(c *conntrack.Conn) {
	t := &o.Worker.Turn
	if o.recalled != 0 && t.Now-o.recalled < time.Minute {
		return
	}
	o.Router.recalled = max(t.Now, 1)
	host := c.Tuple(conntrack.Original).Src
	t.Log.Warn("connections beyond a host's share end, as another host needs their places", "router", o.Name,
		"connections", o.Conns.Len(), "host", host.Netip(), "remedy", RecallRemedy)
}

// RecallRemedy says what keeps connections from ending for other hosts, in words.
const RecallRemedy = "more snat_addresses or a wider port_range where ports run short, a larger nat.max_connections " +
	"where the table is full; nat.lend = false refuses such connections from the beginning"
