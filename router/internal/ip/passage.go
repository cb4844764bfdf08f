package ip

import (
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// A passage is one frame on its way through one router: the frame as it came in, the findings of
// the stages, and the changes to make. begin resets the fields that a stage might
// read before they are set. The other fields are the former packet's until the stage that their
// comment names has set them.
type passage struct {
	r     *Router
	in    *Interface
	frame *tap.Frame
	p     packet.Packet // of stageParse
	again bool          // it was parked before, and has been counted
	isARP bool          // of stageIngress

	failed neighbor.Key // the neighbor that it has waited for in vain; set by retry.Resume

	conn *conntrack.Conn // the connection it belongs to; nil: a new one
	dir  conntrack.Direction
	err  *errorPath // set for an ICMP error about a connection

	options   packet.IPOptions // of stageParse, if the packet has some
	fragments *fragmentEntry   // of stageParse: the packet that it is a fragment of

	segment packet.Segment // of stageConntrack: a TCP segment in a known connection
	fit     conntrack.Fit  // of stageConntrack: whether the segment belongs there

	fresh fresh // of stageConntrack, for a packet of no known connection

	out      *Interface
	nextHop  packet.Addr        // of stageRoute
	hop      neighbor.Ref       // of stageRoute: the next hop's place in the neighbor table; 0: not known yet
	neighbor *neighbor.Neighbor // the next hop
	oversize bool               // to be fragmented
	rewrites bool               // rewrite changes something
	rewrite  packet.Rewrite
}

// fresh is what the stages find out about a packet that belongs to no known connection.
type fresh struct {
	to       packet.Tuple // the packet as it will leave
	binding  nat.Binding  // the mapping that it goes through, if one
	external bool         // its destination is an external address of the router: the sender shows its own
	admitted bool         // may come in from outside
	ruled    bool         // a floating IP, forwarded port or VIP decided the destination
	succeeds bool         // it may take the place of a connection with the same tuple, see connectionOf
	vip      *VIP
	member   lb.Member // of vip
}

// An errorPath is the translation of an ICMP error about a translated connection: its own
// addresses, and the quoted packet as that packet's sender knows it.
type errorPath struct {
	src, dst packet.Addr
	quoted   packet.Tuple
}

// Scratch is memory that the routers of one worker use for one packet after the other. The zero value is ready.
type Scratch struct {
	passage  passage
	errPath  errorPath
	newConn  conntrack.NewConn
	ahead    [conntrack.WarmMost]packet.Tuple // of the frames of a batch
	segments []tap.Frame                      // of a super-frame that is larger than the MTU
	pieces   []tap.Frame                      // of a packet, or of a segment, that is larger than the MTU
}

// begin resets what a stage may read before it is set.
func (x *passage) begin(in *Interface, f *tap.Frame, again bool) {
	x.r, x.in, x.frame, x.again = in.Router, in, f, again
	x.conn, x.err = nil, nil
	x.out, x.neighbor = nil, nil
	x.isARP, x.oversize, x.rewrites = false, false, false
}

// leaves reports whether a packet from inside goes outside, or comes back from
// there by an external address.
func (x *passage) leaves() bool { return !x.in.External && (x.out.External || x.fresh.external) }

// owner is the internal host whose host share a new connection counts towards: its
// sender, or for a connection from outside its receiver. Connections from outside to a VIP count
// towards no host's, because the members have them together.
func (x *passage) owner() conntrack.Owner {
	switch {
	case !x.in.External:
		return conntrack.OwnerSource
	case x.fresh.vip == nil:
		return conntrack.OwnerDest
	}
	return conntrack.OwnerNone
}

// forwards refuses packets that may go no further than the router. ICMP errors from the dummy address
// pass: they tell a sender the MTU of its path as others do (RFC 9229, 3).
func (x *passage) forwards() verdict.Verdict {
	p := &x.p
	if !Forwardable(p.Src) && (p.Src != dummyAddr || !p.IsICMPError()) {
		return verdict.Drop(verdict.DropMartianSource)
	}
	if !Forwardable(x.fresh.to.Dst) {
		return verdict.Drop(verdict.DropMartianDest)
	}
	return verdict.Next
}

// opening is the TCP flags among which only SYN is set when a connection begins.
const opening = packet.SYN | packet.ACK | packet.RST | packet.FIN

// A retry is a packet that was parked, and goes through the stages anew.
type retry struct {
	in     *Interface
	failed neighbor.Key // the neighbor that has not answered; zero: none
}

// Resume implements loop.Resumer: the packet goes through the stages anew.
func (q *retry) Resume(t *loop.Turn, f *tap.Frame) {
	if q.in.Gone {
		t.CountParked(verdict.Drop(verdict.DropDetached).At(verdict.StageIngress))
		return
	}
	x := &q.in.Router.Scratch.passage
	x.failed = q.failed
	seen, watched := q.in.Network.LookAt(t, f)
	v := forward(t, q.in, f, true)
	t.CountParked(v)
	if watched {
		q.in.Network.Judged(t, seen, v, true)
	}
	x.failed = neighbor.Key{}
}
