package ip

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// A stageTracer looks at a frame between the stages of a router. It changes nothing, so a traced frame goes the
// same way as any other, to the byte.
type stageTracer struct {
	emit  func(*Trace)
	trace *Trace // of the frame that is on its way; nil: there is none
	count uint64 // of traces so far

	// The frames that are parked, by a hash of their bytes, router and network. If they are too many, the oldest
	// are forgotten; their traces then begin anew.
	seed    maphash.Seed
	waiting map[uint64]waitingTrace
	oldest  []uint64
}

// maxWaitingTraces is more than the neighbor table of a router lets wait of ordinary packets.
const maxWaitingTraces = 4096

// A waitingTrace is the trace of a parked frame.
type waitingTrace struct {
	number uint64
	since  time.Duration
}

// A Trace is the way of one frame through one router.
type Trace struct {
	number        uint64 // a frame that goes on after it was parked keeps its number
	at            time.Duration
	router        string // empty: no router got the frame
	network       string // that the frame came from
	resumed       bool
	waited        time.Duration // before it was resumed
	before, after string        // the packet in words; after is empty if it was not rewritten
	steps         []step        // of the stages that decided something
	verdict       verdict.Verdict
	why           string // more about a drop, in words; may be empty
	key           uint64
}

// A step is what one stage has decided.
type step struct {
	stage    verdict.Stage
	decision string   // in words; empty: the step has frames or a verdict only
	origins  []Origin // of the rules that decided
	made     []string // frames that the router has made in the stage
}

// NewStageTracer returns a loop.Tracer that calls emit with the trace of each frame when the frame has its verdict.
// emit is called by the worker of the frame. One tracer may serve the workers of a Simulation, because they run on one
// goroutine.
func NewStageTracer(emit func(*Trace)) *stageTracer {
	return &stageTracer{emit: emit, seed: maphash.MakeSeed(), waiting: map[uint64]waitingTrace{}}
}

// forwardTraced does the work of forward for a traced frame: the same stages in the same order, with a look at the
// passage after each. The table is a local variable because a package variable would depend on itself: stages send
// frames, which the switch gives to routers.
func forwardTraced(t *loop.Turn, x *passage) verdict.Verdict {
	stages := [...]struct {
		stage   verdict.Stage
		run     func(*loop.Turn, *passage) verdict.Verdict
		decided func(*passage, *step) // fills in the step; nil: the stage decides by its verdict alone
	}{
		{verdict.StageIngress, stageIngress, nil},
		{verdict.StageARP, stageARP, nil},
		{verdict.StageParse, stageParse, nil},
		{verdict.StageFragment, stageFragment, decidedFragment},
		{verdict.StageConntrack, stageConntrack, decidedConntrack},
		{verdict.StageDNAT, stageDNAT, decidedDNAT},
		{verdict.StageLocal, stageLocal, nil},
		{verdict.StageRoute, stageRoute, decidedRoute},
		{verdict.StageTTL, stageTTL, nil},
		{verdict.StageMTU, stageMTU, decidedMTU},
		{verdict.StageSNAT, stageSNAT, decidedSNAT},
		{verdict.StageNeighbor, stageNeighbor, decidedNeighbor},
		{verdict.StageCommit, stageCommit, nil},
		{verdict.StageRewrite, stageRewrite, decidedRewrite},
		{verdict.StageEgress, stageEgress, decidedEgress},
	}
	tracer := t.Tracer.(*stageTracer)
	tr := tracer.begin(t, x)
	v := verdict.Next
	for i := range stages {
		s := &stages[i]
		created := x.r.Conns.Stats().Created
		tr.steps = append(tr.steps, step{stage: s.stage})
		v = s.run(t, x).At(s.stage)
		st := &tr.steps[len(tr.steps)-1]
		switch {
		case v == verdict.Next && s.decided != nil:
			s.decided(x, st)
		case v == verdict.Next && s.stage == verdict.StageCommit && x.r.Conns.Stats().Created > created:
			st.decision = "a new connection, answered by " + x.fresh.to.Reverse().String()
		case v == verdict.Forwarded:
			s.decided(x, st)
		case v == verdict.Consumed && s.stage == verdict.StageLocal && x.p.Proto != packet.ProtoICMP:
			st.decision = "to the local services of " + x.in.Network.Name()
		case v == verdict.Parked && s.stage == verdict.StageNeighbor:
			st.decision = "waits for " + x.nextHop.Netip().String()
		case v == verdict.Parked:
			st.decision = "waits for other fragments"
		}
		if v != verdict.Next {
			break
		}
		if s.stage == verdict.StageRewrite {
			tr.after = packet.Summary(x.p.Eth)
		}
	}
	tracer.end(t, v)
	return v
}

func decidedFragment(x *passage, s *step) {
	if x.p.Fragmented() {
		s.decision = "has the ports of its packet: " + x.p.Tuple.String()
	}
}

func decidedConntrack(x *passage, s *step) {
	switch c := x.conn; {
	case x.err != nil:
		s.decision = "an error about a known connection: " + x.err.quoted.String()
	case c == nil && x.p.IsICMPError():
		s.decision = "an error about no known connection"
	case c == nil:
		s.decision = "new"
	default:
		s.decision = fmt.Sprintf("known, %v: leaves as %v", c.State(), c.Translated(x.dir))
	}
}

// decidedDNAT names what has changed the destination, in the order in which stageDNAT asks.
func decidedDNAT(x *passage, s *step) {
	if x.conn != nil || x.err != nil {
		return
	}
	p, to, r := &x.p, &x.fresh.to, x.r
	if fixed, ok := r.Static.Fixed(p.Dst); ok {
		s.origins = append(s.origins, r.ofFloating(p.Dst))
		s.decision = fmt.Sprintf("%v is %v", p.Dst.Netip(), fixed.Netip())
	} else if e, ok := r.Static.Forwarded(p.Dst, p.Proto, p.DstPort); ok {
		s.origins = append(s.origins, r.ofForward(p.Dst, p.Proto, p.DstPort))
		s.decision = fmt.Sprintf("port %d is %v:%d", p.DstPort, e.Addr.Netip(), e.Port)
	} else if x.fresh.admitted && !x.fresh.ruled {
		s.decision = fmt.Sprintf("a mapping leads to %v:%d", to.Dst.Netip(), to.DstPort)
	}
	if v := x.fresh.vip; v != nil {
		if s.decision != "" {
			s.decision += "; "
		}
		s.origins = append(s.origins, v.origin)
		if m := v.Share.Of.Member(x.fresh.member.ID); m != nil {
			s.origins = append(s.origins, m.Origin)
		}
		s.decision += fmt.Sprintf("the VIP gives it to %v:%d", to.Dst.Netip(), to.DstPort)
	}
}

func decidedRoute(x *passage, s *step) {
	s.decision = "to " + x.out.Network.Name()
	dst := x.fresh.to.Dst
	if x.conn != nil {
		dst = x.conn.Translated(x.dir).Dst
	}
	switch {
	case x.hop != 0: // the connection knows it
		s.decision += ", as before"
		return
	case x.nextHop == dst:
		s.decision += ", on link"
	default:
		s.decision += ", next hop " + x.nextHop.Netip().String()
	}
	s.origins = append(s.origins, x.r.ofRoute(dst.Netip()))
}

func decidedMTU(x *passage, s *step) {
	if x.oversize {
		s.decision = fmt.Sprintf("to be cut to %d bytes", x.out.MTU)
	}
}

func decidedSNAT(x *passage, s *step) {
	if x.conn != nil || x.err != nil {
		return
	}
	to, g := &x.fresh.to, x.r.Gateway
	if to.Src == x.p.Src && to.SrcPort == x.p.SrcPort {
		if x.leaves() && !x.fresh.external && g.SNAT && g.showsItself(to.Dst) {
			s.decision = "shows itself"
			s.origins = append(s.origins, g.noSNAT)
		}
		return
	}
	s.decision = fmt.Sprintf("shows %v", to.Src.Netip())
	if to.SrcPort != x.p.SrcPort {
		s.decision += fmt.Sprintf(" and port %d", to.SrcPort)
	}
	switch floating, ok := x.r.Static.Floating(x.p.Src); {
	case ok && floating == to.Src:
		s.origins = append(s.origins, x.r.ofFloating(to.Src))
	case x.fresh.binding.Used():
		s.origins = append(s.origins, g.origin)
	}
}

func decidedNeighbor(x *passage, s *step) {
	s.decision = fmt.Sprintf("%v is at %v", x.neighbor.Addr.Netip(), x.neighbor.MAC)
}

func decidedRewrite(x *passage, s *step) {
	if x.rewrites || x.err != nil {
		s.decision = "addresses and ports"
	}
}

func decidedEgress(x *passage, s *step) {
	s.decision = "to " + x.out.Network.Name()
	if x.oversize {
		s.decision += ", in pieces"
	}
}

// begin begins the trace of the passage's frame, or goes on with it if it has been parked.
func (tr *stageTracer) begin(t *loop.Turn, x *passage) *Trace {
	now := &Trace{at: t.Now, router: x.r.Name, network: x.in.Network.Name(), before: packet.Summary(x.frame.Ethernet())}
	var h maphash.Hash
	h.SetSeed(tr.seed)
	_, _ = h.WriteString(x.r.Name + "\x00" + x.in.Network.Name() + "\x00") // a write to a hash never fails
	_, _ = h.Write(x.frame.Ethernet())
	now.key = h.Sum64()
	if was, ok := tr.waiting[now.key]; ok && x.again {
		now.number, now.resumed, now.waited = was.number, true, t.Now-was.since
	} else {
		tr.count++
		now.number = tr.count
	}
	tr.trace = now
	return now
}

// end ends the trace.
func (tr *stageTracer) end(t *loop.Turn, v verdict.Verdict) {
	now := tr.trace
	tr.trace = nil
	now.verdict = v
	_, known := tr.waiting[now.key]
	switch {
	case v == verdict.Parked && !known:
		if len(tr.oldest) >= maxWaitingTraces {
			delete(tr.waiting, tr.oldest[0])
			tr.oldest = tr.oldest[1:]
		}
		tr.waiting[now.key] = waitingTrace{now.number, t.Now}
		tr.oldest = append(tr.oldest, now.key)
	case v != verdict.Parked && known:
		delete(tr.waiting, now.key)
		tr.oldest = slices.DeleteFunc(tr.oldest, func(key uint64) bool { return key == now.key })
	}
	tr.emit(now)
}

// Made implements loop.Tracer: it notes a frame that a router has made on the way of the traced one.
func (tr *stageTracer) Made(network string, f *tap.Frame) {
	if tr.trace == nil {
		return // no received frame is the cause, such as of an announcement
	}
	s := &tr.trace.steps[len(tr.trace.steps)-1]
	s.made = append(s.made, network+": "+packet.Summary(f.Ethernet()))
}

// Traced implements loop.Tracer: it returns how many frames have been traced, a frame that goes on counted once.
func (tr *stageTracer) Traced() uint64 { return tr.count }

// Switched implements loop.Tracer: it traces a frame that no router of the worker has got.
func (tr *stageTracer) Switched(t *loop.Turn, network string, f *tap.Frame, v verdict.Verdict, why string) {
	tr.count++
	tr.emit(&Trace{
		number: tr.count, at: t.Now, network: network, before: packet.Summary(f.Ethernet()), verdict: v, why: why,
	})
}

// String returns the trace as lines of text, the last one with the verdict.
func (tr *Trace) String() string {
	var b strings.Builder
	to := ""
	if tr.router != "" {
		to = " to " + tr.router
	}
	fmt.Fprintf(&b, "#%d %v from %s%s: %s\n", tr.number, tr.at, tr.network, to, tr.before)
	if tr.resumed {
		fmt.Fprintf(&b, "  goes on after %v\n", tr.waited)
	}
	for i := range tr.steps {
		s := &tr.steps[i]
		if s.decision != "" {
			fmt.Fprintf(&b, "  %-9s %s", s.stage, s.decision)
			for k, o := range s.origins {
				fmt.Fprintf(&b, "%s%v", []string{"   by ", ", "}[min(k, 1)], o)
			}
			b.WriteByte('\n')
		}
		for _, m := range s.made {
			fmt.Fprintf(&b, "  %-9s made on %s\n", s.stage, m)
		}
	}
	if tr.after != "" {
		fmt.Fprintf(&b, "  - %s\n  + %s\n", tr.before, tr.after)
	}
	fmt.Fprintf(&b, "  %v", tr.verdict)
	if tr.why != "" {
		fmt.Fprintf(&b, ": %s", tr.why)
	}
	b.WriteByte('\n')
	return b.String()
}
