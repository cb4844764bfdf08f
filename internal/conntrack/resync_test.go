package conntrack_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// pass has a segment judged and dealt with as the router does, and returns the judgment.
func (o *opened) pass(d conntrack.Direction, s packet.Segment) conntrack.Fit {
	fit := o.table.Fit(o.c, d, &s)
	switch {
	case fit == conntrack.Fits:
		o.table.TouchTCP(o.c, d, &s, o.now)
	case fit == conntrack.Suspicious && s.Flags&packet.SYN != 0:
		o.table.NoteSYN(o.c, d, &s)
	}
	return fit
}

// inState opens a connection from 1000 and 5000 and leads it to a state.
func inState(t *testing.T, want conntrack.State) *opened {
	t.Helper()
	o := open(t, tcpSeg(syn, 1000, 0, 0))
	if want != conntrack.SynSent {
		o.send(conntrack.Reply, tcpSeg(syn|ack, 5000, 1001, 0), conntrack.Fits)
	}
	if want != conntrack.SynSent && want != conntrack.SynReceived {
		o.send(conntrack.Original, tcpSeg(ack, 1001, 5001, 0), conntrack.Fits)
		o.send(conntrack.Reply, tcpSeg(ack, 5001, 1001, 0), conntrack.Fits)
	}
	switch want {
	case conntrack.FinOriginal:
		o.send(conntrack.Original, tcpSeg(ack|packet.FIN, 1001, 5001, 0), conntrack.Fits)
	case conntrack.FinReply:
		o.send(conntrack.Reply, tcpSeg(ack|packet.FIN, 5001, 1001, 0), conntrack.Fits)
	}
	o.state(want)
	return o
}

// synAt is a SYN without a window scale. The SYNs that the connection has begun with have one.
func synAt(flags uint8, seq, acknowledges uint32) packet.Segment {
	s := tcpSeg(flags, seq, acknowledges, 0)
	s.Scaled = false
	return s
}

var openStates = []conntrack.State{conntrack.SynReceived, conntrack.Established, conntrack.FinOriginal,
	conntrack.FinReply}

// Both ends have forgotten the connection, and one of them opens another one by the same ports
// (RFC 9293, 3.5.1). From the answer on, the new numbers and windows count.
func TestBeginsAnewWithTheAnswer(t *testing.T) {
	const a, b = 3_000_000_000, 1_500_000_000
	for _, state := range append(openStates, conntrack.SynSent) {
		for _, d := range []conntrack.Direction{conntrack.Original, conntrack.Reply} {
			o := inState(t, state)
			if state != conntrack.SynSent {
				if fit := o.pass(d, synAt(syn, a, 0)); fit != conntrack.Suspicious {
					t.Fatalf("state %v, direction %d: a SYN is judged %d", state, d, fit)
				}
				o.state(state)
			} else {
				o.pass(d, synAt(syn, a, 0))
			}
			if d == conntrack.Reply && state == conntrack.SynSent {
				continue // both open, and each answers the other
			}
			o.send(1-d, synAt(syn|ack, b, a+1), conntrack.Fits)
			if d == conntrack.Original {
				o.state(conntrack.SynReceived)
			}
			o.send(d, tcpSeg(ack, a+1, b+1, 0), conntrack.Fits)
			o.state(conntrack.Established)
			o.send(d, tcpSeg(ack, a+1, b+1, 100), conntrack.Fits)
			o.send(1-d, tcpSeg(ack, b+1, a+101, 100), conntrack.Fits)
			o.send(d, tcpSeg(ack, a+101, b+101+60_000, 0), conntrack.Foreign) // windows without a scale
			o.send(1-d, tcpSeg(ack, b+101+100_000, a+101, 10), conntrack.Foreign)
			old := [2]uint32{1001, 5001}
			o.send(d, tcpSeg(ack, old[d], old[1-d], 100), conntrack.Foreign) // of the former connection
			o.send(1-d, tcpSeg(rst, old[1-d], 0, 0), conntrack.Foreign)
		}
	}
}

// A SYN with data (RFC 7413) may be acknowledged with the data, or without.
func TestBeginsAnewWithData(t *testing.T) {
	for _, got := range []uint32{0, 1200} {
		o := handshake(t)
		if fit := o.pass(conntrack.Original, tcpSeg(syn, 3_000_000_000, 0, 1200)); fit != conntrack.Suspicious {
			t.Fatal(fit)
		}
		o.send(conntrack.Reply, tcpSeg(syn|ack, 77, 3_000_000_002+got, 0), conntrack.Suspicious)
		o.send(conntrack.Reply, tcpSeg(syn|ack, 77, 3_000_000_001+got, 0), conntrack.Fits)
		o.send(conntrack.Original, tcpSeg(ack, 3_000_000_001+got, 78, 1200), conntrack.Fits)
		o.state(conntrack.Established)
	}
}

// A SYN with data (RFC 7413) that is not answered in time is sent again without the data. The answer may be to
// the first copy or to the second. It may be an acceptance or a refusal.
func TestSYNWithDataIsRepeatedWithout(t *testing.T) {
	for _, first := range []uint32{1400, 0} {
		for _, acks := range []uint32{0, 1400} {
			o := open(t, tcpSeg(syn, 1000, 0, first))
			o.send(conntrack.Original, tcpSeg(syn, 1000, 0, 1400-first), conntrack.Fits)
			o.send(conntrack.Reply, tcpSeg(syn|ack, 5000, 1001+acks, 0), conntrack.Fits)
			o.state(conntrack.SynReceived)
			o.send(conntrack.Original, tcpSeg(ack, 1001+acks, 5001, 0), conntrack.Fits)
			o.state(conntrack.Established)
			o.send(conntrack.Reply, tcpSeg(ack, 5001, 1001+acks, 100), conntrack.Fits)

			o = open(t, tcpSeg(syn, 1000, 0, first))
			o.send(conntrack.Original, tcpSeg(syn, 1000, 0, 1400-first), conntrack.Fits)
			refusal := tcpSeg(rst|ack, 0, 1001+acks, 0)
			if !o.table.Refuses(o.c, conntrack.Reply, &refusal) {
				t.Errorf("SYN with %d bytes, then with %d: the refusal of %d is none", first, 1400-first, acks)
			}
			o.send(conntrack.Reply, refusal, conntrack.Fits)
			o.state(conntrack.Closed)
		}
	}
}

// The server has closed its port. The refusal reaches the sender of the SYN, and the connection
// is over. An ICMP error about the SYN reaches the sender too, but ends nothing.
func TestRefusalOfALaterSYN(t *testing.T) {
	for _, state := range openStates {
		o := inState(t, state)
		o.pass(conntrack.Original, tcpSeg(syn, 3_000_000_000, 0, 0))
		if !o.table.MaySend(o.c, conntrack.Original, 3_000_000_000) {
			t.Errorf("%v: an ICMP error about the SYN does not arrive", state)
		}
		for _, seq := range []uint32{2_999_999_999, 3_000_000_001, 77} {
			if o.table.MaySend(o.c, conntrack.Original, seq) && int32(seq-1001) > 0 {
				t.Errorf("%v: an ICMP error about %d arrives", state, seq)
			}
		}
		wrong := tcpSeg(rst|ack, 1<<31, 3_000_000_000, 0)
		if fit := o.table.Fit(o.c, conntrack.Reply, &wrong); fit == conntrack.Fits {
			t.Errorf("%v: a refusal of another SYN is believed", state)
		}
		refusal := tcpSeg(rst|ack, 0, 3_000_000_001, 0)
		if !o.table.Refuses(o.c, conntrack.Reply, &refusal) {
			t.Errorf("%v: not known as a refusal", state)
		}
		o.send(conntrack.Reply, refusal, conntrack.Fits)
		o.state(conntrack.Closed)
	}
}

// The server has not forgotten: it says where it is, the client resets that, and begins
// once more (RFC 9293, 3.5.1).
func TestLaterSYNIntoALivingConnection(t *testing.T) {
	o := handshake(t)
	o.pass(conntrack.Original, tcpSeg(syn, 3_000_000_000, 0, 0))
	o.send(conntrack.Reply, tcpSeg(ack, 5001, 1001, 0), conntrack.Fits)
	o.send(conntrack.Original, tcpSeg(rst, 1001, 0, 0), conntrack.Fits)
	o.state(conntrack.Reset)
	o.send(conntrack.Original, tcpSeg(syn, 3_000_000_000, 0, 0), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(syn|ack, 77, 3_000_000_001, 0), conntrack.Fits)
	o.send(conntrack.Original, tcpSeg(ack, 3_000_000_001, 78, 0), conntrack.Fits)
	o.state(conntrack.Established)
}

// Two SYNs before there is an answer: it may be to either of them. A SYN in the name of a host
// that has just opened a connection does not lead the connection astray.
func TestAnswerToEitherSYN(t *testing.T) {
	const first, second = 1000, 3_000_000_000
	for _, counts := range []uint32{first, second} {
		o := open(t, tcpSeg(syn, first, 0, 0))
		o.send(conntrack.Original, synAt(syn, second, 0), conntrack.Fits)
		o.send(conntrack.Original, synAt(syn, second, 0), conntrack.Fits)
		o.send(conntrack.Reply, tcpSeg(syn|ack, 5000, counts+1, 0), conntrack.Fits)
		o.send(conntrack.Original, tcpSeg(ack, counts+1, 5001, 0), conntrack.Fits)
		o.state(conntrack.Established)
		large := tcpSeg(ack, counts+1, 5001, 0)
		large.Window = 40_000 // scaled only where both SYNs say so
		o.send(conntrack.Original, large, conntrack.Fits)
		want := conntrack.Foreign
		if counts == first {
			want = conntrack.Fits
		}
		o.send(conntrack.Reply, tcpSeg(ack, 5001+200_000, counts+1, 0), want)
	}
	// Later, when the other side has answered.
	o := inState(t, conntrack.SynReceived)
	if fit := o.pass(conntrack.Original, tcpSeg(syn, second, 0, 0)); fit != conntrack.Suspicious {
		t.Error("it takes the place of the SYN that has been answered: ", fit)
	}
	o.send(conntrack.Original, tcpSeg(ack, 1001, 5001, 0), conntrack.Fits)
	o.state(conntrack.Established)
}

// A stranger knows the addresses and ports. It sends SYNs of either side, and answers with guessed
// numbers. The connection goes on, in every state, whether or not a host has really come back.
func TestStrangersBeginNothingAnew(t *testing.T) {
	for _, state := range append(openStates, conntrack.SynSent) {
		for _, back := range []bool{false, true} {
			o := inState(t, state)
			if back {
				o.pass(conntrack.Original, tcpSeg(syn, 2_000_000_000, 0, 0))
			}
			r := rand.New(rand.NewPCG(3, uint64(state)))
			for range 20_000 {
				for _, flags := range []uint8{syn, syn | ack, rst | ack, ack} {
					if flags&rst != 0 && state == conntrack.FinReply {
						continue // whose sequence number may be any of the last window's
					}
					o.pass(conntrack.Reply, tcpSeg(flags, r.Uint32(), r.Uint32(), 0))
				}
				if state != conntrack.SynSent { // a host whose SYN has not been answered has nothing to lose
					o.pass(conntrack.Original, tcpSeg(syn, r.Uint32(), 0, 0))
				}
			}
			switch state {
			case conntrack.SynSent:
				o.send(conntrack.Reply, tcpSeg(syn|ack, 5000, 1001, 0), conntrack.Fits)
				fallthrough
			case conntrack.SynReceived:
				o.send(conntrack.Original, tcpSeg(ack, 1001, 5001, 0), conntrack.Fits)
				o.state(conntrack.Established)
			default:
				o.state(state)
			}
			o.send(conntrack.Reply, tcpSeg(ack, 5001, 1001, 0), conntrack.Fits)
			o.send(conntrack.Reply, tcpSeg(ack, 5001, 1001, 10), conntrack.Fits)
		}
	}
}

// However many connections have a SYN that waits for its answer, the SYNs take little memory. The SYNs that came
// first are forgotten.
func TestLaterSYNsAreBounded(t *testing.T) {
	const n = 40_000
	o := &opened{t: t, table: newTable(conntrack.Config{HostShare: 1})}
	tuple := func(i int) packet.Tuple {
		tu := tcpTuple(uint16(i%20_000) + 1)
		tu.Dst += packet.Addr(i / 20_000)
		return tu
	}
	at := func(i int) {
		tu := tuple(i)
		o.c, _ = o.table.Lookup(&tu, 0)
	}
	for i := range n {
		c, refusal := o.table.Commit(&conntrack.NewConn{Original: tuple(i), Reply: tuple(i).Reverse(),
			Segment: tcpSeg(syn, 1000, 0, 0)}, 0)
		if refusal != conntrack.None {
			t.Fatal(i, refusal)
		}
		o.c = c
		o.pass(conntrack.Reply, tcpSeg(syn|ack, 5000, 1001, 0))
		o.pass(conntrack.Original, tcpSeg(ack, 1001, 5001, 0))
	}
	before := o.table.Bytes()
	for i := range n {
		at(i)
		o.pass(conntrack.Original, tcpSeg(syn, 7_000_000, 0, 0))
	}
	if more := o.table.Bytes() - before; more > 2<<20 {
		t.Errorf("%d bytes for the SYNs", more)
	}
	answer := tcpSeg(syn|ack, 9_000_000, 7_000_001, 0)
	for i, want := range map[int]conntrack.Fit{0: conntrack.Suspicious, n - 16385: conntrack.Suspicious,
		n - 16384: conntrack.Fits, n - 1: conntrack.Fits} {
		at(i)
		if fit := o.table.Fit(o.c, conntrack.Reply, &answer); fit != want {
			t.Errorf("the answer to SYN %d of %d is judged %d, want %d", i, n, fit, want)
		}
	}
	for i := range n {
		at(i)
		o.table.Remove(o.c)
	}
	if empty := o.table.Bytes(); empty > before {
		t.Errorf("%d bytes are left", empty)
	}
}

// Where the router has just started, it takes connections up in the middle, whatever the first
// segment is that it sees: data, an acknowledgement, a keep-alive, something sent again. What
// two hosts send that obey each other's windows goes on from there, both ways.
func TestPickUpAtEverySegment(t *testing.T) {
	for seed := range uint64(100) {
		x := newExchange(t, rand.New(rand.NewPCG(seed, 4)))
		for range 400 {
			x.step()
		}
		x.finish()
		for k := range x.trace {
			pickUp(t, seed, k, x.trace[k:])
		}
	}
}

// finish has both sides of an exchange acknowledge what there is, and send their FIN.
func (x *exchange) finish() {
	for _, i := range []int{0, 1} {
		h, other := &x.host[i], &x.host[1-i]
		x.judge(i, packet.Segment{Flags: ack, Seq: h.una, Len: h.next - h.una, Ack: h.got, Window: 1000})
		other.got = h.next
		x.judge(1-i, packet.Segment{Flags: ack, Seq: other.next, Ack: other.got, Window: 1000})
		h.una = h.next
	}
	for _, i := range []int{1, 0} {
		h, other := &x.host[i], &x.host[1-i]
		x.judge(i, packet.Segment{Flags: ack | packet.FIN, Seq: h.next, Len: 1, Ack: h.got, Window: 1000})
		h.next++
		other.got = h.next
		x.judge(1-i, packet.Segment{Flags: ack, Seq: other.next, Ack: other.got, Window: 1000})
	}
}

// pickUp has a table see the rest of a trace.
func pickUp(t *testing.T, seed uint64, k int, rest []traced) {
	t.Helper()
	first := rest[0]
	if first.s.Flags&syn != 0 {
		return // that is no middle
	}
	table := newTable(conntrack.Config{})
	c, refusal := table.Commit(&conntrack.NewConn{Original: tcpTuple(1), Reply: tcpTuple(1).Reverse(),
		Segment: first.s}, 0)
	if refusal != conntrack.None {
		t.Fatal(refusal)
	}
	for n, x := range rest[1:] {
		d := conntrack.Original
		if x.i != first.i {
			d = conntrack.Reply
		}
		if fit := table.Fit(c, d, &x.s); fit != conntrack.Fits {
			for _, x := range rest[:n+2] {
				t.Logf("side %d: %+v", x.i, x.s)
			}
			t.Fatalf("seed %d, seen from segment %d on, %d segments later: %d", seed, k, n+1, fit)
		}
		table.TouchTCP(c, d, &x.s, time.Duration(n)*time.Millisecond)
	}
}

// A stranger does not lead a connection astray that has been taken up in the middle. Even where
// he has guessed the window, what he acknowledges does not lead away from where the host is.
func TestStrangersRaiseNoEnd(t *testing.T) {
	o := open(t, tcpSeg(ack, 999, 2000, 0)) // a keep-alive
	o.send(conntrack.Reply, tcpSeg(ack, 2000, 1000, 0), conntrack.Fits)
	for k := range uint32(100) {
		for _, seq := range []uint32{1990, 2001, 2010} {
			s := tcpSeg(ack, seq, 1000+k<<22, 0)
			if o.table.Fit(o.c, conntrack.Reply, &s) == conntrack.Fits {
				o.table.TouchTCP(o.c, conntrack.Reply, &s, 0)
			}
		}
	}
	o.send(conntrack.Original, tcpSeg(ack, 1000, 2000, 50), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(ack, 2000, 1050, 50), conntrack.Fits)
}
