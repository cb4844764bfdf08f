package conntrack_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// opened is a TCP connection.
type opened struct {
	t     *testing.T
	table *conntrack.Table
	c     *conntrack.Conn
	now   time.Duration
}

func tcpSeg(flags uint8, seq, ack, n uint32) packet.Segment {
	s := packet.Segment{Seq: seq, Ack: ack, Len: n, Flags: flags, Window: 1000}
	if flags&packet.SYN != 0 {
		s.Len++
		s.Scale, s.Scaled = 7, true
	}
	if flags&packet.FIN != 0 {
		s.Len++
	}
	return s
}

func open(t *testing.T, syn packet.Segment) *opened {
	t.Helper()
	o := &opened{t: t, table: newTable(conntrack.Config{})}
	c, r := o.table.Commit(&conntrack.NewConn{Original: tcpTuple(1), Reply: tcpTuple(1).Reverse(), Segment: syn}, 0)
	if r != conntrack.None {
		t.Fatal(r)
	}
	o.c = c
	return o
}

// handshake opens from 1000 and 5000: the next numbers are 1001 and 5001.
func handshake(t *testing.T) *opened {
	o := open(t, tcpSeg(packet.SYN, 1000, 0, 0))
	o.send(conntrack.Reply, tcpSeg(packet.SYN|packet.ACK, 5000, 1001, 0), conntrack.Fits)
	o.send(conntrack.Original, tcpSeg(packet.ACK, 1001, 5001, 0), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(packet.ACK, 5001, 1001, 0), conntrack.Fits) // windows are scaled from now on
	o.state(conntrack.Established)
	return o
}

// send has a segment judged, and noted if it fits.
func (o *opened) send(d conntrack.Direction, s packet.Segment, want conntrack.Fit) {
	o.t.Helper()
	if got := o.table.Fit(o.c, d, &s); got != want {
		o.t.Errorf("%+v in direction %d: %d, want %d", s, d, got, want)
	}
	if want == conntrack.Fits {
		o.table.TouchTCP(o.c, d, &s, o.now)
	}
}

func (o *opened) state(want conntrack.State) {
	o.t.Helper()
	if got := o.c.State(); got != want {
		o.t.Errorf("%v, want %v", got, want)
	}
}

const (
	ack = packet.ACK
	rst = packet.RST
	syn = packet.SYN
)

// The windows are 1000 << 7 = 128000, taken as 2^17 = 131072.
func TestFit(t *testing.T) {
	const window = 1 << 17
	for name, c := range map[string]struct {
		d    conntrack.Direction
		s    packet.Segment
		want conntrack.Fit
	}{
		"next":                  {conntrack.Original, tcpSeg(ack, 1001, 5001, 100), conntrack.Fits},
		"keepalive":             {conntrack.Original, tcpSeg(ack, 1000, 5001, 0), conntrack.Fits},
		"keepalive with a byte": {conntrack.Original, tcpSeg(ack, 1000, 5001, 1), conntrack.Fits},
		"a window ahead":        {conntrack.Original, tcpSeg(ack, 1001+window-100, 5001, 100), conntrack.Fits},
		"beyond the window": {conntrack.Original, tcpSeg(ack, 1001+window-99, 5001, 100),
			conntrack.Foreign},
		"an old one again": {conntrack.Original, tcpSeg(ack, ^uint32(0)-2*window+2000, 5001, 100),
			conntrack.Fits},
		"older than two windows": {conntrack.Original, tcpSeg(ack, ^uint32(0)-2*window, 5001, 100),
			conntrack.Foreign},
		"anywhere":                   {conntrack.Reply, tcpSeg(ack, 3_000_000_000, 1001, 100), conntrack.Foreign},
		"acknowledges what was sent": {conntrack.Reply, tcpSeg(ack, 5001, 1001, 0), conntrack.Fits},
		"acknowledges the future":    {conntrack.Reply, tcpSeg(ack, 5001, 1002, 0), conntrack.Foreign},
		"acknowledges again":         {conntrack.Reply, tcpSeg(ack, 5001, 1000, 0), conntrack.Fits},
		"acknowledges the distant past": {conntrack.Reply, tcpSeg(ack, 5001, ^uint32(0)-2*window, 0),
			conntrack.Foreign},
		"no ACK":                 {conntrack.Reply, tcpSeg(0, 5001, 77, 5), conntrack.Fits},
		"SYN when open":          {conntrack.Reply, tcpSeg(syn, 77, 0, 0), conntrack.Suspicious},
		"SYN+ACK again":          {conntrack.Reply, tcpSeg(syn|ack, 5000, 1001, 0), conntrack.Suspicious},
		"RST":                    {conntrack.Reply, tcpSeg(rst, 5001, 0, 0), conntrack.Fits},
		"RST with a strange ACK": {conntrack.Reply, tcpSeg(rst|ack, 5001, 0, 0), conntrack.Fits},
		"RST a little behind":    {conntrack.Reply, tcpSeg(rst, 5000, 0, 0), conntrack.Suspicious},
		"RST in the window":      {conntrack.Reply, tcpSeg(rst, 5003, 0, 0), conntrack.Suspicious},
		"RST anywhere":           {conntrack.Reply, tcpSeg(rst, 3_999_999_999, 0, 0), conntrack.Foreign},
	} {
		t.Run(name, func(t *testing.T) {
			o := handshake(t)
			if got := o.table.Fit(o.c, c.d, &c.s); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

// Unless both sides have a window scale, a window is the number in its segment.
func TestFitWithoutScale(t *testing.T) {
	for _, offered := range []conntrack.Direction{conntrack.Original, conntrack.Reply} {
		first, second := tcpSeg(syn, 1000, 0, 0), tcpSeg(syn|ack, 5000, 1001, 0)
		first.Scaled, second.Scaled = offered == conntrack.Original, offered == conntrack.Reply
		o := open(t, first)
		o.send(conntrack.Reply, second, conntrack.Fits)
		large := tcpSeg(ack, 1001, 5001, 0)
		large.Window = 40_000
		o.send(conntrack.Original, large, conntrack.Fits)
		o.send(conntrack.Reply, tcpSeg(ack, 5001+65_000, 1001, 0), conntrack.Fits)
		o.send(conntrack.Reply, tcpSeg(ack, 5001+200_000, 1001, 0), conntrack.Foreign)
	}
}

// A sender who does not see a connection cannot end it by guessing: neither at once, nor by making the router
// forget it.
func TestForeignSegmentsChangeNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	o := handshake(t)
	refused := 0
	for range 1000 {
		for _, flags := range []uint8{rst, rst | ack, ack, ack | packet.FIN, syn, syn | ack} {
			s := tcpSeg(flags, r.Uint32(), r.Uint32(), 10)
			switch o.table.Fit(o.c, conntrack.Reply, &s) {
			case conntrack.Foreign:
				refused++
			case conntrack.Fits:
				o.table.TouchTCP(o.c, conntrack.Reply, &s, 0)
			}
		}
	}
	o.state(conntrack.Established)
	if refused < 3990 { // SYNs are the receiver's to judge
		t.Errorf("%d segments out of nowhere refused", refused)
	}
	o.send(conntrack.Original, tcpSeg(ack, 1001, 5001, 100), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(ack, 5001, 1101, 0), conntrack.Fits)
}

func TestResetAtTheRightPlace(t *testing.T) {
	o := handshake(t)
	o.send(conntrack.Reply, tcpSeg(rst, 5001, 0, 0), conntrack.Fits)
	o.state(conntrack.Reset)
	// Data leads back, at the right place (RFC 7857, 2.2).
	o.send(conntrack.Original, tcpSeg(ack, 900_000_000, 5001, 9), conntrack.Foreign)
	o.send(conntrack.Original, tcpSeg(ack, 1001, 5001, 9), conntrack.Fits)
	o.state(conntrack.Established)
	// Behind a FIN, before all has been acknowledged.
	o.send(conntrack.Original, tcpSeg(ack|packet.FIN, 1010, 5001, 0), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(rst, 5000, 0, 0), conntrack.Suspicious)
	o.send(conntrack.Original, tcpSeg(rst, 1012, 0, 0), conntrack.Suspicious)
	o.state(conntrack.FinOriginal)
	o.send(conntrack.Original, tcpSeg(rst, 1003, 0, 0), conntrack.Fits)
	o.state(conntrack.Reset)
	o = handshake(t)
	o.send(conntrack.Reply, tcpSeg(ack|packet.FIN, 5001, 1001, 0), conntrack.Fits)
	o.send(conntrack.Original, tcpSeg(rst, 1000, 0, 0), conntrack.Suspicious)
	o.send(conntrack.Reply, tcpSeg(rst, 5001, 0, 0), conntrack.Fits)
	o.state(conntrack.Reset)
	// A refused SYN.
	o = open(t, tcpSeg(syn, 1000, 0, 0))
	o.send(conntrack.Reply, tcpSeg(rst|ack, 0, 1001, 0), conntrack.Fits)
	o.state(conntrack.Closed)
}

// The same ports again, from other numbers.
func TestFitOfReopened(t *testing.T) {
	o := open(t, tcpSeg(syn, 1000, 0, 0))
	o.send(conntrack.Original, tcpSeg(syn, 3_000_000_000, 0, 0), conntrack.Fits) // gave up, and tries again
	o.send(conntrack.Reply, tcpSeg(syn|ack, 5000, 3_000_000_001, 0), conntrack.Fits)
	o.send(conntrack.Original, tcpSeg(ack, 3_000_000_001, 5001, 0), conntrack.Fits)
	o.state(conntrack.Established)
	o.send(conntrack.Original, tcpSeg(rst, 3_000_000_001, 0, 0), conntrack.Fits)
	// The other side opens now.
	o.send(conntrack.Reply, tcpSeg(syn, 2_000_000_000, 0, 0), conntrack.Fits)
	o.send(conntrack.Original, tcpSeg(syn|ack, 77, 2_000_000_001, 0), conntrack.Fits)
	o.state(conntrack.Established)
	o.send(conntrack.Reply, tcpSeg(ack, 2_000_000_001, 78, 50), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(ack, 5001, 78, 50), conntrack.Foreign)
}

// While a connection opens, segments of a host that remembers another connection are forwarded, but not believed.
func TestFitWhileOpening(t *testing.T) {
	o := open(t, tcpSeg(syn, 1000, 0, 0))
	o.send(conntrack.Reply, tcpSeg(ack, 3_000_000_000, 4_000_000_000, 0), conntrack.Suspicious)
	o.send(conntrack.Original, tcpSeg(rst, 4_000_000_000, 0, 0), conntrack.Fits)
	o.state(conntrack.Closed)
	o = open(t, tcpSeg(syn, 1000, 0, 0))
	o.send(conntrack.Reply, tcpSeg(syn|ack, 5000, 1001, 0), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(ack, 3_000_000_000, 1001, 900), conntrack.Suspicious)
	o.send(conntrack.Reply, tcpSeg(rst, 3_000_000_000, 0, 0), conntrack.Suspicious)
	o.state(conntrack.SynReceived)
	o.send(conntrack.Original, tcpSeg(ack, 1001, 5001, 0), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(ack, 5001, 1001, 10), conntrack.Fits)
	// Opened again by the other side, and refused.
	o.send(conntrack.Reply, tcpSeg(rst, 5011, 0, 0), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(syn, 77, 0, 0), conntrack.Fits)
	o.state(conntrack.SynReceived)
	o.send(conntrack.Original, tcpSeg(ack, 1001, 5001, 0), conntrack.Suspicious)
	o.send(conntrack.Original, tcpSeg(rst|ack, 0, 78, 0), conntrack.Fits)
	o.state(conntrack.Reset)
}

// The segments of a connection that was not seen from the beginning are believed: of one direction only, or of both
// with an unknown window scale.
func TestFitInTheMiddle(t *testing.T) {
	o := open(t, tcpSeg(ack, 1_000_000, 2_000_000, 10))
	for k := range uint32(20) {
		o.send(conntrack.Original, tcpSeg(ack, 1_000_000+k*100_000_000, 2_000_000, 10), conntrack.Fits)
	}
	o = open(t, tcpSeg(ack, 1_000_000, 2_000_000, 10))
	o.send(conntrack.Reply, tcpSeg(ack, 2_000_000, 1_000_010, 500_000), conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(ack, 9_000_000, 1_000_010, 500), conntrack.Fits)
}

// Fragments do not say how much the whole takes.
func TestFitOfFragments(t *testing.T) {
	o := handshake(t)
	first := tcpSeg(ack, 1001, 5001, 8)
	first.Cut = true
	o.send(conntrack.Original, first, conntrack.Fits)
	o.send(conntrack.Reply, tcpSeg(ack, 5001, 9001, 0), conntrack.Fits)
}

// Fragments say where the whole begins. So a sender who does not know the connection gets nothing through in
// fragments, and what it sends after them is not believed either.
func TestFitOfForeignFragments(t *testing.T) {
	for _, s := range []packet.Segment{tcpSeg(ack, 3_000_000_000, 1001, 8), tcpSeg(ack, 5001, 3_000_000_000, 8),
		tcpSeg(rst, 3_999_999_999, 0, 0)} {
		o := handshake(t)
		s.Cut = true
		o.send(conntrack.Reply, s, conntrack.Foreign)
		o.send(conntrack.Reply, tcpSeg(rst, 3_999_999_999, 0, 0), conntrack.Foreign)
	}
}

// What is over is refreshed by nothing but a new beginning (RFC 7857, 8).
func TestOverIsNotRefreshed(t *testing.T) {
	for name, end := range map[string]func(o *opened){
		"closed": func(o *opened) {
			o.send(conntrack.Original, tcpSeg(ack|packet.FIN, 1001, 5001, 0), conntrack.Fits)
			o.send(conntrack.Reply, tcpSeg(ack|packet.FIN, 5001, 1002, 0), conntrack.Fits)
			o.state(conntrack.Closed)
		},
		"reset": func(o *opened) { o.send(conntrack.Original, tcpSeg(rst, 1001, 0, 0), conntrack.Fits) },
	} {
		t.Run(name, func(t *testing.T) {
			o := handshake(t)
			end(o)
			for o.now = time.Minute; o.now < 4*time.Minute; o.now += time.Minute {
				for _, flags := range []uint8{ack, rst} {
					s := tcpSeg(flags, 1002, 5002, 0)
					o.table.TouchTCP(o.c, conntrack.Original, &s, o.now)
				}
			}
			tuple := tcpTuple(1)
			if c, _ := o.table.Lookup(&tuple, 4*time.Minute); c != nil {
				t.Error("kept alive by what belongs to nothing")
			}
		})
	}
}

// Two sides that obey each other's windows, over a network that loses, reorders and
// repeats on both sides of the router: nothing that they send is refused.
func TestFitLetsEverythingRightThrough(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		x := newExchange(t, r)
		for range 1500 {
			x.step()
		}
		if x.sent[0]+x.sent[1] < 20 {
			t.Errorf("seed %d: only %v bytes went through", seed, x.sent)
		}
	}
}

// An exchange is two hosts, with the segments on their way before and behind the router.
type exchange struct {
	t      *testing.T
	r      *rand.Rand
	table  *conntrack.Table
	c      *conntrack.Conn
	host   [2]host
	before [2][]packet.Segment // from host i to the router
	behind [2][]packet.Segment // from the router to host i
	sent   [2]int
	trace  []traced // what the router has seen
}

// traced is a segment of side i.
type traced struct {
	i int
	s packet.Segment
}

type host struct {
	una, next, got uint32 // sent and not acknowledged, to send, received in order
	window         uint32 // that the other offers
	scale          uint8
}

func newExchange(t *testing.T, r *rand.Rand) *exchange {
	x := &exchange{t: t, r: r, table: newTable(conntrack.Config{})}
	scaled := r.IntN(4) > 0
	for i := range x.host {
		h := &x.host[i]
		h.una = r.Uint32()
		if r.IntN(2) == 0 {
			h.una = -uint32(r.IntN(100_000)) // about to wrap
		}
		h.next = h.una + 1
		if scaled {
			h.scale = uint8(r.IntN(15))
		}
	}
	x.host[1].got = x.host[0].next
	x.host[0].got = x.host[1].next
	s := x.make(0, syn, x.host[0].una, 0)
	s.Scale, s.Scaled, s.Ack = x.host[0].scale, scaled, 0
	x.c, _ = x.table.Commit(&conntrack.NewConn{Original: tcpTuple(1), Reply: tcpTuple(1).Reverse(), Segment: s}, 0)
	answer := x.make(1, syn|ack, x.host[1].una, 0)
	answer.Scale, answer.Scaled = x.host[1].scale, scaled
	x.judge(1, answer)
	for i := range x.host {
		x.host[i].una++
		x.host[i].window = 1000
	}
	return x
}

func (x *exchange) make(i int, flags uint8, seq, n uint32) packet.Segment {
	s := packet.Segment{Flags: flags, Seq: seq, Len: n, Ack: x.host[i].got, Window: uint16(x.r.IntN(65536))}
	if flags&(syn|packet.FIN) != 0 {
		s.Len++
	}
	if x.r.IntN(20) == 0 {
		s.Window = 0
	}
	return s
}

func (x *exchange) judge(i int, s packet.Segment) {
	if s.Len > 1 && x.r.IntN(200) == 0 {
		s.Cut, s.Len = true, x.r.Uint32N(s.Len) // what a first fragment says of it
	}
	if fit := x.table.Fit(x.c, conntrack.Direction(i), &s); fit != conntrack.Fits {
		x.t.Fatalf("%+v of side %d: %d; %+v", s, i, fit, x.host)
	}
	x.table.TouchTCP(x.c, conntrack.Direction(i), &s, 0)
	x.trace = append(x.trace, traced{i, s})
}

func (x *exchange) step() {
	i := x.r.IntN(2)
	h := &x.host[i]
	switch x.r.IntN(6) {
	case 0: // new data, as far as the window goes
		flight := h.next - h.una
		if h.window > flight {
			n := min(h.window-flight, uint32(1+x.r.IntN(60_000)))
			x.put(i, x.make(i, ack, h.next, n))
			h.next += n
		} else if h.window == 0 && flight == 0 {
			x.put(i, x.make(i, ack, h.next, 1)) // is the window still closed?
			h.next++
		}
	case 1: // again from where the other side stands
		if n := h.next - h.una; n > 0 {
			x.put(i, x.make(i, ack, h.una, min(n, 60_000)))
		}
	case 2:
		x.put(i, x.make(i, ack, h.next, 0))
	case 3:
		if h.next == h.una {
			x.put(i, x.make(i, ack, h.next-1, 0)) // keepalive
		}
	case 4: // through the router
		if s, ok := x.take(&x.before[i]); ok {
			x.judge(i, s)
			if x.r.IntN(10) > 0 {
				x.behind[1-i] = append(x.behind[1-i], s)
			}
		}
	default:
		if s, ok := x.take(&x.behind[i]); ok {
			x.receive(i, s)
		}
	}
}

func (x *exchange) put(i int, s packet.Segment) {
	for range []int{1, 1, 1, 1, 0, 2}[x.r.IntN(6)] {
		if len(x.before[i]) < 4 {
			x.before[i] = append(x.before[i], s)
		}
	}
}

func (x *exchange) take(q *[]packet.Segment) (packet.Segment, bool) {
	if len(*q) == 0 {
		return packet.Segment{}, false
	}
	k := x.r.IntN(min(len(*q), 3))
	s := (*q)[k]
	*q = append((*q)[:k:k], (*q)[k+1:]...)
	return s, true
}

func (x *exchange) receive(i int, s packet.Segment) {
	h, other := &x.host[i], &x.host[1-i]
	if int32(s.Ack-h.una) >= 0 && int32(h.next-s.Ack) >= 0 {
		h.una = s.Ack
		h.window = uint32(s.Window) << other.scale
		h.window = min(h.window, 1<<30)
	}
	if int32(s.Seq-h.got) <= 0 && int32(s.Seq+s.Len-h.got) > 0 {
		x.sent[i] += int(s.Seq + s.Len - h.got)
		h.got = s.Seq + s.Len
	}
}

// RFC 5927, 4.1: an ICMP error is believed if the segment that it quotes may be under way. It is also believed where
// the table cannot know.
func TestMaySend(t *testing.T) {
	const window = 1 << 17 // of 1000 << 7, as follow rounds it
	type ask struct {
		d    conntrack.Direction
		seq  uint32
		want bool
	}
	try := func(when string, o *opened, all ...ask) {
		t.Helper()
		for _, a := range all {
			if got := o.table.MaySend(o.c, a.d, a.seq); got != a.want {
				t.Errorf("%s: direction %d, sequence number %d: %t", when, a.d, int32(a.seq), got)
			}
		}
	}
	o := open(t, tcpSeg(packet.SYN, 1000, 0, 0))
	try("half open", o, ask{conntrack.Original, 1000, true}, ask{conntrack.Original, 1002, false},
		ask{conntrack.Original, 77, true},
		ask{conntrack.Original, 1<<31 + 77, false}, ask{conntrack.Reply, 1, true}, ask{conntrack.Reply, 1 << 31, true})
	o = handshake(t)
	o.send(conntrack.Original, tcpSeg(packet.ACK, 1001, 5001, 500), conntrack.Fits)
	try("open", o, ask{conntrack.Original, 1001, true}, ask{conntrack.Original, 1501, true},
		ask{conntrack.Original, 1502, false},
		ask{conntrack.Original, 1<<32 + 1501 - 2*window, true}, ask{conntrack.Original, 1<<32 + 1500 - 2*window, false},
		ask{conntrack.Reply, 5001, true}, ask{conntrack.Reply, 5002, false})
}

// How old what an ICMP error quotes may be, the window of the other side says, not that of the sender.
func TestMaySendByTheOtherWindow(t *testing.T) {
	o := handshake(t)
	wide := tcpSeg(ack, 5001, 1001, 0)
	wide.Window = 60_000 // scaled by 7
	o.send(conntrack.Reply, wide, conntrack.Fits)
	o.send(conntrack.Original, tcpSeg(ack, 1001, 5001, 5_000_000), conntrack.Fits)
	if !o.table.MaySend(o.c, conntrack.Original, 1_000_000) {
		t.Error("an ICMP error about what is under way does not arrive")
	}
	o.send(conntrack.Reply, tcpSeg(ack, 5001, 5_001_001, 100_000), conntrack.Fits)
	if o.table.MaySend(o.c, conntrack.Reply, 1<<32+5001-1_000_000) {
		t.Error("an ICMP error about what was never sent arrives")
	}
}
