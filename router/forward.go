package router

import (
	"encoding/binary"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/tap"
)

// This file is the way of a packet through a router: the stages below, in the
// order of the file. Each looks at the packet and fills in the passage; nothing is
// rewritten before the stage of that name, so that a packet that is dropped or
// quoted on the way is still the sender's. A stage that has nothing to decide,
// because the connection is known, costs next to nothing: what it does for other packets is in a function of
// its own, so that the compiler puts the rest of the stage in line in forward.

// forward takes one frame that the switch has found to be for a router, or for
// everybody, and sees it through. A drop has the stage it came from.
func forward(t *turn, in *iface, f *tap.Frame, again bool) verdict {
	x := &in.router.scratch.passage
	x.begin(in, f, again)
	if t.tracer != nil {
		return forwardTraced(t, x)
	}
	if v := stageIngress(t, x); v != next {
		return v.at(StageIngress)
	}
	if v := stageARP(t, x); v != next {
		return v.at(StageARP)
	}
	if v := stageParse(t, x); v != next {
		return v.at(StageParse)
	}
	if v := stageFragment(t, x); v != next {
		return v.at(StageFragment)
	}
	if v := stageConntrack(t, x); v != next {
		return v.at(StageConntrack)
	}
	if v := stageDNAT(t, x); v != next {
		return v.at(StageDNAT)
	}
	if v := stageLocal(t, x); v != next {
		return v.at(StageLocal)
	}
	if v := stageRoute(t, x); v != next {
		return v.at(StageRoute)
	}
	if v := stageTTL(t, x); v != next {
		return v.at(StageTTL)
	}
	if v := stageMTU(t, x); v != next {
		return v.at(StageMTU)
	}
	if v := stageSNAT(t, x); v != next {
		return v.at(StageSNAT)
	}
	if v := stageNeighbor(t, x); v != next {
		return v.at(StageNeighbor)
	}
	if v := stageCommit(t, x); v != next {
		return v.at(StageCommit)
	}
	if v := stageRewrite(t, x); v != next {
		return v.at(StageRewrite)
	}
	return stageEgress(t, x).at(StageEgress)
}

// interfaces are those of the routers on a network.
func interfaces(n *network) []*iface {
	var all []*iface
	for _, s := range n.routers {
		all = append(all, s.owner.(*iface))
	}
	return all
}

// deliver takes a frame that the switch has found to be for the router at the interface, or for everybody.
// The frame of another station waits for the next turn, as a router may be in the middle of its own.
func (i *iface) deliver(t *turn, f *tap.Frame, how kind) verdict {
	if how == made || !t.of(i.router.worker) {
		return i.station.deliver(t, f, how)
	}
	return forward(t, i, f, false)
}

// lookAhead looks at the frames of a batch, if the router's table is large, and has their connections fetched
// into the cache at the same time.
func (i *iface) lookAhead(_ *turn, frames []tap.Frame) {
	r := i.router
	if r.conns.Len() < conntrack.WarmFrom {
		return
	}
	tuples := r.scratch.ahead[:0]
	for k := range frames {
		if tuple, ok := packet.Peek(frames[k].Ethernet()); ok {
			tuples = append(tuples, tuple)
		}
	}
	r.conns.Warm(tuples)
}

func (i *iface) setMTU(mtu int) { i.mtu = mtu }

// resume takes a frame that was put aside for the router at the interface.
func (i *iface) resume(t *turn, f *tap.Frame) {
	if i.gone {
		t.count(drop(DropDetached).at(StageIngress))
		return
	}
	t.count(forward(t, i, f, false))
}

func (q *retry) resume(t *turn, f *tap.Frame) {
	if q.in.gone {
		t.countParked(drop(DropDetached).at(StageIngress))
		return
	}
	x := &q.in.router.scratch.passage
	x.failed = q.failed
	seen, watched := q.in.network.lookAt(t, f)
	v := forward(t, q.in, f, true)
	t.countParked(v)
	if watched {
		q.in.network.judged(t, seen, v, true)
	}
	x.failed = neighbor.Key{}
}

// stageIngress: what kind of frame is it?
func stageIngress(t *turn, x *passage) verdict {
	eth := (*[packet.EthernetLen]byte)(x.frame.Ethernet()) // the switch has found that it is there
	if binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeIPv4 && eth[0]&1 == 0 {
		return next
	}
	x.isARP = binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeARP
	return judgeType(x.frame.Ethernet())
}

// stageARP: an ARP message ends here.
func stageARP(t *turn, x *passage) verdict {
	if !x.isARP {
		return next
	}
	return hearARP(t, x)
}

// hearARP learns the sender, and answers for every address that the router has on that network.
// A sender whose address is in none of the network's subnets is answered, too: a host asks with the address
// that its packet comes from, which may be one of its loopback interface or of another network of the
// host. Nothing is learned from such a sender.
func hearARP(t *turn, x *passage) verdict {
	eth := x.frame.Ethernet()
	m, ok := packet.DecodeARP(eth)
	if v := judgeARP(&m, ok); v != next {
		return v
	}
	in := x.in
	switch {
	case m.SenderMAC == in.mac:
		return drop(DropARP) // our own, come back
	case in.owns(m.Sender) && m.Sender != 0:
		in.conflict(t, m.Sender, m.SenderMAC)
		return drop(DropARPSender)
	case in.isBroadcast(m.Sender):
		return drop(DropARPSender)
	}
	ours := in.owns(m.Target)
	switch {
	case in.onLink(m.Sender):
		x.r.learn(t, neighbor.Key{Iface: in.id, Addr: m.Sender}, m.SenderMAC, ours && m.Request)
	case !m.Request && eth[0]&1 == 0:
		return drop(DropARPSender) // no router has asked for this reply
	}
	if ours && m.Request {
		in.answerARP(t, m)
	}
	return Consumed
}

var parseDrops = [...]DropReason{
	packet.FaultShort: DropShort, packet.FaultVersion: DropIPVersion, packet.FaultHeader: DropIPHeader,
	packet.FaultChecksum: DropIPChecksum, packet.FaultTransport: DropTransport,
	packet.FaultQuote: DropICMPQuote, packet.FaultICMPSum: DropICMPChecksum, packet.FaultOffload: DropOffload,
}

// stageParse: validate the headers once.
func stageParse(t *turn, x *passage) verdict {
	fault := x.p.Parse(x.frame.Ethernet(), x.frame.Header())
	if fault == packet.FaultNone && !t.parser.DecodeAll {
		return next
	}
	return parseUnusual(t, x, fault)
}

// parseUnusual goes on with a packet in which Packet.Parse has found a fault, or that it has left to a decoder.
func parseUnusual(t *turn, x *passage, fault packet.Fault) verdict {
	fault = t.parser.GoOn(&x.p, x.frame.Ethernet(), x.frame.Header(), fault)
	if fault != packet.FaultNone {
		return drop(parseDrops[fault])
	}
	if x.p.Options {
		return readOptions(t, x)
	}
	return next
}

// stageFragment: a fragment borrows the ports of its first one, or waits for it.
func stageFragment(t *turn, x *passage) verdict {
	if !x.p.Fragmented() {
		return next
	}
	return joinFragments(t, x)
}

// stageConntrack: a known connection carries its translation, egress and next hop;
// an ICMP error is found by the packet it quotes. A TCP segment that is not where its
// connection is ends here. Only packets of no known connection are asked where they
// come from.
func stageConntrack(t *turn, x *passage) verdict {
	p := &x.p
	if p.IsICMPError() {
		return conntrackError(t, x)
	}
	c, d := x.r.conns.Lookup(&p.Tuple, t.now)
	if c == nil {
		return beginNew(t, x, false)
	}
	if c.In[d] != x.in.id {
		if v := wrongInterface(t, x, c.In[d]); v != next {
			return v
		}
	}
	if p.Proto == packet.ProtoTCP && d == conntrack.Original && (p.Flags&packet.SYN != 0 || x.r.conns.HasSuccessors()) {
		var succeeds bool
		if c, succeeds = connectionOf(t, x, c); c == nil {
			return beginNew(t, x, succeeds)
		}
	}
	if p.Proto == packet.ProtoTCP && p.FragOff == 0 {
		p.ReadSegment(&x.segment)
		x.fit = x.r.conns.Fit(c, d, &x.segment)
		if p.More {
			x.fragments.foreign = x.fit == conntrack.Foreign
		}
		if x.fit == conntrack.Foreign {
			return drop(DropTCPWindow)
		}
		if c.Backend != 0 && p.Flags&packet.RST != 0 && x.r.conns.Refuses(c, d, &x.segment) && retryElsewhere(t, x, c) {
			return drop(DropMemberRefused)
		}
	}
	x.conn, x.dir = c, d
	if c.NATed() {
		x.rewrite, x.rewrites = c.Rewrite(d), true
	}
	if x.r.conns.Current(c) {
		x.out = x.r.ifaces[c.Out[d]]
		x.hop = neighbor.Ref(c.Hop[d])
	}
	return next
}

// wrongInterface judges a packet of a known connection that arrives on another
// interface than its earlier ones did. Inside, routes may be asymmetric; but
// nothing gets into a connection between inside and inside from outside, nor the
// other way round.
func wrongInterface(t *turn, x *passage, usual uint16) verdict {
	if x.r.ifaces[usual].external != x.in.external {
		return drop(DropMartianSource)
	}
	return x.in.martian(x.p.Src)
}

// beginNew prepares a packet that belongs to no connection. succeeds is for x.fresh.
func beginNew(t *turn, x *passage, succeeds bool) verdict {
	t.strangers++
	x.fresh = fresh{to: x.p.Tuple, succeeds: succeeds}
	if v := x.in.martian(x.p.Src); v != next {
		return v
	}
	if p := &x.p; p.Proto == packet.ProtoTCP && p.Flags&packet.SYN == 0 && x.r.cut.has(&p.Tuple) {
		sendReset(t, x)
		return drop(DropCut)
	}
	return martianDest(x.p.Dst)
}

// stageDNAT: a new connection to a floating IP, a forwarded port, a mapping or a VIP
// goes somewhere else.
func stageDNAT(t *turn, x *passage) verdict {
	if x.conn != nil || x.err != nil {
		return next
	}
	return dnatNew(t, x)
}

// dnatNew finds where a new connection goes, if not where its first packet says.
func dnatNew(t *turn, x *passage) verdict {
	r, to := x.r, &x.fresh.to
	if fixed, ok := r.static.Fixed(to.Dst); ok {
		to.Dst = fixed
		x.fresh.external, x.fresh.admitted, x.fresh.ruled = true, true, true
	} else if e, ok := r.static.Forwarded(to.Dst, to.Proto, to.DstPort); ok {
		to.Dst, to.DstPort = e.Addr, e.Port
		x.fresh.external, x.fresh.admitted, x.fresh.ruled = true, true, true
	} else if r.gateway != nil && r.gateway.shares(to.Dst) {
		if v := dnatMapping(t, x); v != next {
			return v
		}
	}
	return dnatVIP(t, x)
}

// dnatMapping lets a packet to a SNAT address through to the internal
// endpoint of a mapping. From inside, the sender shows its own external address
// (RFC 4787 REQ-9).
func dnatMapping(t *turn, x *passage) verdict {
	r, to := x.r, &x.fresh.to
	if to.Proto == packet.ProtoICMP && x.p.Type != packet.ICMPEchoReply {
		return next // only a reply names the identifier of a mapping; the router itself is meant
	}
	addr, port, refusal := r.nat.Inbound(&x.fresh.binding, *to, x.in.external)
	switch {
	case refusal == conntrack.None:
		to.Dst, to.DstPort = addr, port
		x.fresh.external, x.fresh.admitted = true, true
	case refusal == nat.Filtered:
		return drop(DropFiltered)
	case !x.in.external:
		return next // the router itself is meant
	case r.gateway.snat && (to.Proto == packet.ProtoTCP || to.Proto == packet.ProtoICMP):
		return drop(DropNoMapping) // silent, RFC 5382 REQ-4; so is a reply that comes too late
	}
	return next
}

// dnatVIP asks lb for a member. From outside, a VIP of a tenant network is
// reached through a floating IP only.
func dnatVIP(t *turn, x *passage) verdict {
	to := &x.fresh.to
	found := x.r.vips.Find(to.Dst, to.Proto, to.DstPort)
	if found == nil || x.in.external && x.r.closed() && !x.fresh.admitted && !x.in.owns(to.Dst) {
		return next
	}
	v := x.r.listeners[found.ID]
	if refused := admits(t, x, v); refused != next {
		return refused
	}
	m, ok := x.r.pick(t, v, lb.Client{Addr: x.p.Src, Port: x.p.SrcPort})
	if !ok {
		v.count(&x.p)
		return refuse(t, x, DropNoMember)
	}
	to.Dst, to.DstPort = m.Addr, m.Port
	x.fresh.vip, x.fresh.member = v, m
	x.fresh.admitted, x.fresh.ruled = true, true
	return next
}

// stageLocal: what is for the router itself. It answers pings to every address it
// owns, and refuses the rest. Of other ICMP it has no use, and counts it (RFC 1812, 4.2.1 and 4.3.2.1).
func stageLocal(t *turn, x *passage) verdict {
	if x.conn != nil || x.err != nil {
		return next
	}
	return localNew(t, x)
}

// localNew takes the first packet of a connection if it is for the router itself.
func localNew(t *turn, x *passage) verdict {
	if x.fresh.vip != nil || !x.r.isLocal(x.fresh.to.Dst) {
		return next
	}
	p := &x.p
	if x.in.external && x.r.closed() && !x.fresh.external && !x.in.owns(p.Dst) {
		return drop(DropPolicy) // an internal address, from outside
	}
	switch {
	case p.Fragmented():
		return reassemble(t, x)
	case p.Proto != packet.ProtoICMP:
		return refuse(t, x, DropRefused)
	case p.Type == packet.ICMPEcho && p.Code == 0:
		return answerEcho(t, x)
	case p.IsICMPError():
		return drop(DropICMPUnknown) // the router asks by connections of its own only
	}
	return drop(DropICMPType)
}

// stageRoute: the longest prefix that matches gives egress and next hop. What comes
// from outside stays outside, unless a rule has let it in.
func stageRoute(t *turn, x *passage) verdict {
	if x.out != nil {
		return next // a known connection
	}
	return findRoute(t, x)
}

// findRoute looks the destination up.
func findRoute(t *turn, x *passage) verdict {
	dst := x.fresh.to.Dst
	if x.conn != nil {
		dst = x.conn.Translated(x.dir).Dst
	}
	if x.conn == nil {
		if v := x.forwards(); v != next {
			return v
		}
	}
	if x.conn == nil && x.in.external && x.r.closed() && !x.fresh.admitted {
		return drop(DropPolicy)
	}
	rt, ok := x.r.routes.Lookup(dst.Netip())
	if !ok {
		return sendError(t, x, packet.ICMPUnreachable, 0, 0, DropNoRoute)
	}
	if rt.out.checks && x.conn == nil && x.err == nil && !x.in.checks {
		return sendError(t, x, packet.ICMPUnreachable, 0, 0, DropNoRoute) // only the router's own packets go there
	}
	x.out, x.nextHop, x.hop = rt.out, rt.via, 0
	if x.nextHop == 0 {
		x.nextHop = dst
		if rt.out.isBroadcast(dst) {
			return drop(DropBroadcast)
		}
	}
	return next
}

// stageTTL: a packet whose time is over is reported to its sender.
func stageTTL(t *turn, x *passage) verdict {
	if x.p.TTL > 1 {
		return next
	}
	return expire(t, x)
}

// expire tells the sender of a packet that its time is over. It is apart so that stageTTL is inlined.
//
//go:noinline
func expire(t *turn, x *passage) verdict {
	return sendError(t, x, packet.ICMPTimeExceeded, 0, 0, DropTTL)
}

// stageMTU: a packet that is too large for the egress is cut later, or reported to its sender.
func stageMTU(t *turn, x *passage) verdict {
	if x.p.End-packet.EthernetLen <= x.out.mtu {
		return next
	}
	return tooLarge(t, x)
}

// tooLarge decides about a packet that is larger than the MTU, unless it is a super-frame whose segments are not.
func tooLarge(t *turn, x *passage) verdict {
	p := &x.p
	if p.IPLen() <= x.out.mtu {
		return next
	}
	if p.DF {
		return sendError(t, x, packet.ICMPUnreachable, 4, x.out.mtu, DropTooBig)
	}
	x.oversize = true
	return next
}

// stageSNAT: whom a new connection shows as its source. One-to-one before shared,
// and only where it leaves for the outside, goes through an external address of
// ours, or would be answered past us.
func stageSNAT(t *turn, x *passage) verdict {
	if x.conn != nil || x.err != nil {
		return next
	}
	return snatNew(t, x)
}

// snatNew finds the source that a new connection shows.
func snatNew(t *turn, x *passage) verdict {
	if x.p.IsICMPError() {
		return translateUnknown(t, x)
	}
	to := &x.fresh.to
	switch {
	case x.in.checks: // what the router asks its members, it asks by its own address there
		to.Src = x.out.shows(x.nextHop, to.Dst)
	case x.leaves():
		return snatExternal(t, x)
	case x.fresh.ruled && (x.out.bypasses(to.Src, to.Dst) || x.in == x.out && x.out.external):
		to.Src = x.out.shows(to.Dst, to.Dst)
	}
	return uniquePort(t, x)
}

// uniquePort keeps the source port, unless the answers could not be told from
// another connection's: whoever talks to a VIP may talk to its member directly,
// from the same port.
func uniquePort(t *turn, x *passage) verdict {
	port, refusal := x.r.nat.UniquePort(x.fresh.to.Src, x.fresh.to, x.p.Tuple)
	if refusal == conntrack.None && port != x.fresh.to.SrcPort && !translatable(&x.p) {
		refusal = conntrack.TupleTaken // there is no such field to write it to
	}
	x.fresh.to.SrcPort = port
	return refusedBy(t, x, refusal)
}

// snatExternal gives an internal sender its external address, unless there is to be
// no translation towards that destination (RFC 6888, REQ-6): its floating IP,
// else a mapping on the router's.
func snatExternal(t *turn, x *passage) verdict {
	r, to := x.r, &x.fresh.to
	if !x.fresh.external && r.gateway.showsItself(to.Dst) {
		return uniquePort(t, x)
	}
	if floating, ok := r.static.Floating(to.Src); ok {
		to.Src = floating
		return uniquePort(t, x)
	}
	if !r.gateway.snat {
		if x.fresh.ruled && x.out.bypasses(to.Src, to.Dst) {
			to.Src = x.out.shows(to.Dst, to.Dst)
		}
		return uniquePort(t, x)
	}
	if !translatable(&x.p) {
		return sendError(t, x, packet.ICMPUnreachable, 13, 0, DropNotTranslatable)
	}
	shown := r.gateway.sharedBy(to.Src)
	port, refusal := r.nat.Bind(&x.fresh.binding, shown, *to, x.p.Tuple)
	to.Src, to.SrcPort = shown, port
	return refusedBy(t, x, refusal)
}

// translatable reports whether shared SNAT can tell the replies of a packet apart.
func translatable(p *packet.Packet) bool {
	switch p.Proto {
	case packet.ProtoTCP, packet.ProtoUDP:
		return true
	}
	return p.Proto == packet.ProtoICMP && p.Type == packet.ICMPEcho
}

// refusedBy turns nat's word into a verdict.
func refusedBy(t *turn, x *passage, r conntrack.Refusal) verdict {
	switch r {
	case conntrack.None:
		return next
	case nat.NoPort, conntrack.TupleTaken:
		return exhausted(t, x, DropNoPort)
	case conntrack.HostShareUsed:
		return exhausted(t, x, DropHostShare)
	}
	return exhausted(t, x, DropTableFull)
}

// exhausted refuses a connection for want of room. Its sender is told (RFC 5508, REQ-8). A line in the log
// tells the administrator, once a minute for each reason (RFC 6888, REQ-11).
func exhausted(t *turn, x *passage, reason DropReason) verdict {
	r := x.r
	if at, ok := r.exhausted[reason]; !ok || t.now-at >= time.Minute {
		r.exhausted[reason] = t.now
		t.log.Warn("new connections are refused", "router", r.name, "reason", reason.String(),
			"connections", r.conns.Len(), "sender", x.p.Src.Netip())
	}
	return sendError(t, x, packet.ICMPUnreachable, 13, 0, reason)
}

// stageNeighbor: which MAC address has the next hop? If that is not known yet, the packet waits as it
// came, and starts anew when there is an answer, or none in time. Then it does not wait for
// the same neighbor again, whatever others have it asked for.
func stageNeighbor(t *turn, x *passage) verdict {
	table := x.r.arp
	if x.hop != 0 {
		if n := table.Get(x.hop); n != nil && n.Usable() {
			n.Used = true
			x.neighbor = n
			return next
		} else if n != nil {
			x.nextHop = n.Addr
		} else if v := reroute(t, x); v != next {
			return v
		}
	}
	k := neighbor.Key{Iface: x.out.id, Addr: x.nextHop}
	if x.failed == k {
		if n := table.Find(k); n == nil || !n.Usable() {
			return sendError(t, x, packet.ICMPUnreachable, 1, 0, DropNeighborFailed)
		}
	}
	ref, n, ask := table.Resolve(k, x.in.id, t.now)
	if n == nil {
		return drop(DropNeighborRate)
	}
	if ask {
		x.out.askARP(t, x.nextHop, packet.MAC{})
	}
	x.hop = ref
	if n.Usable() {
		n.Used = true
		x.neighbor = n
		return next
	}
	if n.State == neighbor.Failed {
		return sendError(t, x, packet.ICMPUnreachable, 1, 0, DropNeighborFailed)
	}
	if x.repeats(n) {
		return drop(DropDuplicate)
	}
	if !table.Park(n, x.frame.Buf[x.frame.Head:x.frame.Tail], x.in.id) {
		return drop(DropNeighborFull)
	}
	return Parked
}

// reroute finds the next hop of a known connection whose neighbor is forgotten.
func reroute(t *turn, x *passage) verdict {
	x.out = nil
	return stageRoute(t, x).at(StageRoute)
}

// stageCommit: now that the packet is really sent, the connection exists. The table
// may be full: what needs no translation is forwarded all the same.
func stageCommit(t *turn, x *passage) verdict {
	p := &x.p
	if x.err != nil {
		return next
	}
	if c := x.conn; c != nil {
		var move conntrack.Move
		switch {
		case p.Proto != packet.ProtoTCP || p.FragOff != 0:
			move = x.r.conns.Touch(c, x.dir, 0, false, t.now)
		case x.fit == conntrack.Fits:
			move = x.r.conns.TouchTCP(c, x.dir, &x.segment, t.now)
		case p.Flags&packet.SYN != 0:
			x.r.conns.NoteSYN(c, x.dir, &x.segment)
		}
		if c.Backend != 0 {
			if x.r.overLimit(c, move) {
				return exceeds(t, x, c)
			}
			x.r.account(c, x.dir, p)
		}
		x.r.conns.Leave(c, x.dir, x.out.id, uint32(x.hop))
		return next
	}
	if p.IsICMPError() {
		return next // about nothing that is known: it begins nothing
	}
	changed := x.fresh.to != p.Tuple
	if p.Proto == packet.ProtoTCP && p.Flags&opening != packet.SYN && (x.fresh.vip != nil || x.fresh.binding.Used()) {
		// Its member or port is unknown. An internal host is told, since it would wait for an
		// answer until it gives up. RFC 5382 REQ-4 is about packets from outside.
		if !x.in.external {
			sendReset(t, x)
		}
		return drop(DropNotSYN)
	}
	n := &x.r.scratch.newConn
	*n = conntrack.NewConn{
		Original: p.Tuple, Reply: x.fresh.to.Reverse(),
		In: [2]uint16{x.in.id, x.out.id}, Out: [2]uint16{x.out.id, 0}, Hop: [2]uint32{uint32(x.hop), 0},
		Owner: x.owner(), Succeeds: x.fresh.succeeds,
	}
	if p.Proto == packet.ProtoTCP {
		p.ReadSegment(&n.Segment)
	}
	switch {
	case x.fresh.vip != nil:
		n.Backend, n.Class = x.fresh.vip.numbers[x.fresh.member.ID], x.fresh.vip.class
	case x.in.checks:
		n.Owner, n.Class = conntrack.OwnerNone, x.r.checkClass
	}
	c, refusal := x.r.nat.Commit(n, &x.fresh.binding, t.now)
	if c == nil {
		if !changed {
			return next
		}
		return refusedBy(t, x, refusal)
	}
	// The way back is found by the first reply: interface 0 is none.
	if x.fresh.vip != nil {
		x.r.account(c, conntrack.Original, p)
	}
	if changed {
		x.rewrite, x.rewrites = c.Rewrite(conntrack.Original), true
	}
	return next
}

// stageRewrite: the one place where addresses, ports, checksums and recorded options change.
func stageRewrite(t *turn, x *passage) verdict {
	p := &x.p
	p.DecrementTTL()
	switch {
	case x.err != nil:
		if !p.Atomic() {
			renumber(t, x, x.err.src, x.err.dst)
		}
		p.TranslateError(x.err.src, x.err.dst, x.err.quoted)
	case x.rewrites:
		if !p.Atomic() {
			renumber(t, x, x.rewrite.Src, x.rewrite.Dst)
		}
		p.Translate(&x.rewrite)
	}
	if p.Options {
		record(t, x, x.out, x.neighbor.Addr)
	}
	if p.Proto == packet.ProtoTCP && x.r.clamp && p.Flags&packet.SYN != 0 {
		p.ClampMSS(uint16(min(x.out.mtu, x.in.mtu) - packet.IPv4Len - packet.TCPLen))
	}
	return next
}

// stageEgress: the Ethernet header, and onto the network.
func stageEgress(t *turn, x *passage) verdict {
	eth := (*[packet.EthernetLen]byte)(x.p.Eth)
	*(*packet.MAC)(eth[0:6]) = x.neighbor.MAC
	*(*packet.MAC)(eth[6:12]) = x.out.mac
	// Bytes behind the packet do not belong to it.
	x.frame.Tail = min(x.frame.Tail, x.frame.Head+tap.HeaderLen+x.p.End)
	if x.oversize {
		sendFragments(t, x)
		return Forwarded
	}
	x.out.network.transmit(t, &x.out.station, x.frame, &x.p, false)
	return Forwarded
}

// tick does what is due in every table of the router.
func (r *vrouter) tick(t *turn) {
	r.tickNeighbors(t)
	r.fragments.tick(t)
	r.reassemblies.tick(t)
	r.tickAnnouncements(t)
	r.settle(t)
	r.cut.tick(t)
	for _, at := range [...]time.Duration{r.conns.Tick(t.now), r.nat.Tick(t.now)} {
		if at != 0 {
			t.wakeAt(at)
		}
	}
}
