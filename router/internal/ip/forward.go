package ip

import (
	"encoding/binary"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/lb"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// This file is the way of a packet through a router: the stages below, in the
// order of the file. Each looks at the packet and fills in the passage. Nothing is
// rewritten before the stage of that name: a packet that is dropped or
// quoted on the way is still as its sender sent it.
//
// A stage costs next to nothing if it has nothing to decide, because the connection is known. Its work for
// other packets is in a function of its own. So the stage itself is small, and the compiler inlines it in forward.

// forward takes one frame through the stages. The switch has found it to be for the router at an interface, or a
// broadcast. again is set for a frame that was parked. The verdict of a drop has the stage it came from.
func forward(t *loop.Turn, in *Interface, f *tap.Frame, again bool) verdict.Verdict {
	x := &in.Router.Scratch.passage
	x.begin(in, f, again)
	if t.Tracer != nil {
		return forwardTraced(t, x)
	}
	if v := stageIngress(t, x); v != verdict.Next {
		return v.At(verdict.StageIngress)
	}
	if v := stageARP(t, x); v != verdict.Next {
		return v.At(verdict.StageARP)
	}
	if v := stageParse(t, x); v != verdict.Next {
		return v.At(verdict.StageParse)
	}
	if v := stageFragment(t, x); v != verdict.Next {
		return v.At(verdict.StageFragment)
	}
	if v := stageConntrack(t, x); v != verdict.Next {
		return v.At(verdict.StageConntrack)
	}
	if v := stageDNAT(t, x); v != verdict.Next {
		return v.At(verdict.StageDNAT)
	}
	if v := stageLocal(t, x); v != verdict.Next {
		return v.At(verdict.StageLocal)
	}
	if v := stageRoute(t, x); v != verdict.Next {
		return v.At(verdict.StageRoute)
	}
	if v := stageTTL(t, x); v != verdict.Next {
		return v.At(verdict.StageTTL)
	}
	if v := stageMTU(t, x); v != verdict.Next {
		return v.At(verdict.StageMTU)
	}
	if v := stageSNAT(t, x); v != verdict.Next {
		return v.At(verdict.StageSNAT)
	}
	if v := stageNeighbor(t, x); v != verdict.Next {
		return v.At(verdict.StageNeighbor)
	}
	if v := stageCommit(t, x); v != verdict.Next {
		return v.At(verdict.StageCommit)
	}
	if v := stageRewrite(t, x); v != verdict.Next {
		return v.At(verdict.StageRewrite)
	}
	return stageEgress(t, x).At(verdict.StageEgress)
}

// stageIngress finds out what kind of frame it is. A kind that the router has no use for ends here.
func stageIngress(t *loop.Turn, x *passage) verdict.Verdict {
	eth := (*[packet.EthernetLen]byte)(x.frame.Ethernet()) // the switch has found that the frame is long enough
	if binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeIPv4 && eth[0]&1 == 0 {
		return verdict.Next
	}
	x.isARP = binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeARP
	return wire.JudgeType(x.frame.Ethernet())
}

// stageARP ends the way of an ARP message.
func stageARP(t *loop.Turn, x *passage) verdict.Verdict {
	if !x.isARP {
		return verdict.Next
	}
	return hearARP(t, x)
}

// hearARP learns the sender, and answers for every address that the router has on that network.
// A sender whose address is in none of the network's subnets is answered, too: a host may ask with the address
// that its packet comes from, such as an address of its loopback interface or of another network that it is on.
// Nothing is learned from such a sender.
func hearARP(t *loop.Turn, x *passage) verdict.Verdict {
	eth := x.frame.Ethernet()
	m, ok := packet.DecodeARP(eth)
	if v := wire.JudgeARP(&m, ok); v != verdict.Next {
		return v
	}
	in := x.in
	switch {
	case m.SenderMAC == in.MAC:
		return verdict.Drop(verdict.DropARP) // the router's own message, come back
	case in.Owns(m.Sender) && m.Sender != 0:
		in.conflict(t, m.Sender, m.SenderMAC)
		return verdict.Drop(verdict.DropARPSender)
	case in.isBroadcast(m.Sender):
		return verdict.Drop(verdict.DropARPSender)
	}
	ours := in.Owns(m.Target)
	switch {
	case in.onLink(m.Sender):
		x.r.learn(t, neighbor.Key{Iface: in.ID, Addr: m.Sender}, m.SenderMAC, ours && m.Request)
	case !m.Request && eth[0]&1 == 0:
		return verdict.Drop(verdict.DropARPSender) // no router has asked for this reply
	}
	if ours && m.Request {
		in.answerARP(t, m)
	}
	return verdict.Consumed
}

var parseDrops = [...]verdict.DropReason{
	packet.FaultShort:     verdict.DropShort,
	packet.FaultVersion:   verdict.DropIPVersion,
	packet.FaultHeader:    verdict.DropIPHeader,
	packet.FaultChecksum:  verdict.DropIPChecksum,
	packet.FaultTransport: verdict.DropTransport,
	packet.FaultQuote:     verdict.DropICMPQuote,
	packet.FaultICMPSum:   verdict.DropICMPChecksum,
	packet.FaultOffload:   verdict.DropOffload,
}

// stageParse validates the headers, once.
func stageParse(t *loop.Turn, x *passage) verdict.Verdict {
	fault := x.p.Parse(x.frame.Ethernet(), x.frame.Header())
	if fault == packet.FaultNone && !t.Parser.DecodeAll {
		return verdict.Next
	}
	return parseUnusual(t, x, fault)
}

// parseUnusual goes on with a packet in which Packet.Parse has found a fault, or that it has left to a decoder.
func parseUnusual(t *loop.Turn, x *passage, fault packet.Fault) verdict.Verdict {
	fault = t.Parser.GoOn(&x.p, x.frame.Ethernet(), x.frame.Header(), fault)
	if fault != packet.FaultNone {
		return verdict.Drop(parseDrops[fault])
	}
	if x.p.Options {
		return readOptions(t, x)
	}
	return verdict.Next
}

// stageFragment gives a fragment the ports of the packet's first fragment, or lets it wait for that one.
func stageFragment(t *loop.Turn, x *passage) verdict.Verdict {
	if !x.p.Fragmented() {
		return verdict.Next
	}
	return joinFragments(t, x)
}

// stageConntrack finds the connection of a packet. A known connection carries its translation, egress and next hop.
// The connection of an ICMP error is that of the packet it quotes. A TCP segment outside its connection's
// window ends here (RFC 5961). The source address is checked only if there is no known connection.
func stageConntrack(t *loop.Turn, x *passage) verdict.Verdict {
	p := &x.p
	if p.IsICMPError() {
		return conntrackError(t, x)
	}
	c, d := x.r.Conns.Lookup(&p.Tuple, t.Now)
	if c == nil {
		return beginNew(t, x, false)
	}
	if c.In[d] != x.in.ID {
		if v := wrongInterface(t, x, c.In[d]); v != verdict.Next {
			return v
		}
	}
	if p.Proto == packet.ProtoTCP && d == conntrack.Original && (p.Flags&packet.SYN != 0 || x.r.Conns.HasSuccessors()) {
		var succeeds bool
		if c, succeeds = connectionOf(t, x, c); c == nil {
			return beginNew(t, x, succeeds)
		}
	}
	if p.Proto == packet.ProtoTCP && p.FragOff == 0 {
		p.ReadSegment(&x.segment)
		x.fit = x.r.Conns.Fit(c, d, &x.segment)
		if p.More {
			x.fragments.foreign = x.fit == conntrack.Foreign
		}
		if x.fit == conntrack.Foreign {
			return verdict.Drop(verdict.DropTCPWindow)
		}
		if c.Backend != 0 && p.Flags&packet.RST != 0 && x.r.Conns.Refuses(c, d, &x.segment) && retryElsewhere(t, x, c) {
			return verdict.Drop(verdict.DropMemberRefused)
		}
	}
	x.conn, x.dir = c, d
	if c.NATed() {
		x.rewrite, x.rewrites = c.Rewrite(d), true
	}
	if x.r.Conns.Current(c) {
		x.out = x.r.Interfaces[c.Out[d]]
		x.hop = neighbor.Ref(c.Hop[d])
	}
	return verdict.Next
}

// wrongInterface judges a packet of a known connection that arrives on another
// interface than the earlier ones. Between internal networks routes may be asymmetric. But
// no packet from outside gets into a connection whose earlier packets came from inside, nor the
// other way round.
func wrongInterface(t *loop.Turn, x *passage, usual uint16) verdict.Verdict {
	if x.r.Interfaces[usual].External != x.in.External {
		return verdict.Drop(verdict.DropMartianSource)
	}
	return x.in.martian(x.p.Src)
}

// beginNew prepares a packet that belongs to no connection. succeeds is for x.fresh.
func beginNew(t *loop.Turn, x *passage, succeeds bool) verdict.Verdict {
	t.Strangers++
	x.fresh = fresh{to: x.p.Tuple, succeeds: succeeds}
	if v := x.in.martian(x.p.Src); v != verdict.Next {
		return v
	}
	if p := &x.p; p.Proto == packet.ProtoTCP && p.Flags&packet.SYN == 0 && x.r.Cut.has(&p.Tuple) {
		sendReset(t, x)
		return verdict.Drop(verdict.DropCut)
	}
	return martianDest(x.p.Dst)
}

// stageDNAT finds the destination of a new connection to a floating IP, a forwarded port, a mapping or a VIP.
func stageDNAT(t *loop.Turn, x *passage) verdict.Verdict {
	if x.conn != nil || x.err != nil {
		return verdict.Next
	}
	return dnatNew(t, x)
}

// dnatNew finds where a new connection goes, if that is not the destination of its first packet.
func dnatNew(t *loop.Turn, x *passage) verdict.Verdict {
	r, to := x.r, &x.fresh.to
	if fixed, ok := r.Static.Fixed(to.Dst); ok {
		to.Dst = fixed
		x.fresh.external, x.fresh.admitted, x.fresh.ruled = true, true, true
	} else if e, ok := r.Static.Forwarded(to.Dst, to.Proto, to.DstPort); ok {
		to.Dst, to.DstPort = e.Addr, e.Port
		x.fresh.external, x.fresh.admitted, x.fresh.ruled = true, true, true
	} else if r.Gateway != nil && r.Gateway.shares(to.Dst) {
		if v := dnatMapping(t, x); v != verdict.Next {
			return v
		}
	}
	return dnatVIP(t, x)
}

// dnatMapping lets a packet to a SNAT address through to the internal
// endpoint of a mapping. From inside, the sender shows its own external address
// (RFC 4787 REQ-9).
func dnatMapping(t *loop.Turn, x *passage) verdict.Verdict {
	r, to := x.r, &x.fresh.to
	if to.Proto == packet.ProtoICMP && x.p.Type != packet.ICMPEchoReply {
		return verdict.Next // only a reply names the identifier of a mapping; the router itself is meant
	}
	addr, port, refusal := r.NAT.Inbound(&x.fresh.binding, *to, x.in.External)
	switch {
	case refusal == conntrack.None:
		to.Dst, to.DstPort = addr, port
		x.fresh.external, x.fresh.admitted = true, true
	case refusal == nat.Filtered:
		return verdict.Drop(verdict.DropFiltered)
	case !x.in.External:
		return verdict.Next // the router itself is meant
	case r.Gateway.SNAT && (to.Proto == packet.ProtoTCP || to.Proto == packet.ProtoICMP):
		return verdict.Drop(verdict.DropNoMapping) // silent, RFC 5382 REQ-4; so is a reply that comes too late
	}
	return verdict.Next
}

// dnatVIP asks lb for a member. From outside, a VIP of a tenant network is
// reached through a floating IP only.
func dnatVIP(t *loop.Turn, x *passage) verdict.Verdict {
	to := &x.fresh.to
	found := x.r.VIPs.Find(to.Dst, to.Proto, to.DstPort)
	if found == nil || x.in.External && x.r.closed() && !x.fresh.admitted && !x.in.Owns(to.Dst) {
		return verdict.Next
	}
	v := x.r.Listeners[found.ID]
	if refused := admits(t, x, v); refused != verdict.Next {
		return refused
	}
	m, ok := x.r.pick(t, v, lb.Client{Addr: x.p.Src, Port: x.p.SrcPort})
	if !ok {
		v.count(&x.p)
		return refuse(t, x, verdict.DropNoMember)
	}
	to.Dst, to.DstPort = m.Addr, m.Port
	x.fresh.vip, x.fresh.member = v, m
	x.fresh.admitted, x.fresh.ruled = true, true
	return verdict.Next
}

// stageLocal takes packets for the router itself. The router answers pings to every address it
// owns, and refuses other packets. ICMP that is no ping is dropped and counted (RFC 1812, 4.2.1 and 4.3.2.1).
func stageLocal(t *loop.Turn, x *passage) verdict.Verdict {
	if x.conn != nil || x.err != nil {
		return verdict.Next
	}
	return localNew(t, x)
}

// localNew takes the first packet of a connection if it is for the router itself.
func localNew(t *loop.Turn, x *passage) verdict.Verdict {
	if x.fresh.vip != nil || !x.r.IsLocal(x.fresh.to.Dst) {
		if x.fresh.to.Dst == metadata {
			return serveLocal(t, x) // no router forwards to it
		}
		return verdict.Next
	}
	p := &x.p
	if v := serveLocal(t, x); v != verdict.Next {
		return v
	}
	if x.in.External && x.r.closed() && !x.fresh.external && !x.in.Owns(p.Dst) {
		return verdict.Drop(verdict.DropPolicy) // an internal address, from outside
	}
	switch {
	case p.Fragmented():
		return reassemble(t, x)
	case p.Proto != packet.ProtoICMP:
		return refuse(t, x, verdict.DropRefused)
	case p.Type == packet.ICMPEcho && p.Code == 0:
		return answerEcho(t, x)
	case p.IsICMPError():
		return verdict.Drop(verdict.DropICMPUnknown) // the router asks by connections of its own only
	}
	return verdict.Drop(verdict.DropICMPType)
}

// serveLocal gives a packet to the local services of the network that it comes from, if it is for the router's own
// address there. Packets from outside are for no service. Fragments of such packets are not put together.
func serveLocal(t *loop.Turn, x *passage) verdict.Verdict {
	local := x.in.Network.Local.Load()
	if local == nil || x.in.External || x.fresh.external || x.p.Fragmented() {
		return verdict.Next
	}
	return local.Owner.(wire.Local).Take(t, x.frame, &x.p)
}

// stageRoute finds egress and next hop by the longest prefix that matches. A packet from outside
// stays outside, unless a rule has let it in.
func stageRoute(t *loop.Turn, x *passage) verdict.Verdict {
	if x.out != nil {
		return verdict.Next // a known connection
	}
	return findRoute(t, x)
}

// findRoute looks the destination up.
func findRoute(t *loop.Turn, x *passage) verdict.Verdict {
	dst := x.fresh.to.Dst
	if x.conn != nil {
		dst = x.conn.Translated(x.dir).Dst
	}
	if x.conn == nil {
		if v := x.forwards(); v != verdict.Next {
			return v
		}
	}
	if x.conn == nil && x.in.External && x.r.closed() && !x.fresh.admitted {
		return verdict.Drop(verdict.DropPolicy)
	}
	rt, ok := x.r.Routes.Lookup(dst.Netip())
	if !ok {
		return sendError(t, x, packet.ICMPUnreachable, 0, 0, verdict.DropNoRoute)
	}
	if rt.Out.Checks && x.conn == nil && x.err == nil && !x.in.Checks {
		// Only the router's own packets go there.
		return sendError(t, x, packet.ICMPUnreachable, 0, 0, verdict.DropNoRoute)
	}
	x.out, x.nextHop, x.hop = rt.Out, rt.Via, 0
	if x.nextHop == 0 {
		x.nextHop = dst
		if rt.Out.isBroadcast(dst) {
			return verdict.Drop(verdict.DropBroadcast)
		}
	}
	return verdict.Next
}

// stageTTL reports a packet whose time to live is over to its sender.
func stageTTL(t *loop.Turn, x *passage) verdict.Verdict {
	if x.p.TTL > 1 {
		return verdict.Next
	}
	return expire(t, x)
}

// expire tells the sender of a packet that its time to live is over. It is apart so that stageTTL is inlined.
//
//go:noinline
func expire(t *loop.Turn, x *passage) verdict.Verdict {
	return sendError(t, x, packet.ICMPTimeExceeded, 0, 0, verdict.DropTTL)
}

// stageMTU has a packet that is too large for the egress cut later, or reports it to its sender.
func stageMTU(t *loop.Turn, x *passage) verdict.Verdict {
	if x.p.End-packet.EthernetLen <= x.out.MTU {
		return verdict.Next
	}
	return tooLarge(t, x)
}

// tooLarge decides about a packet that is larger than the MTU. A super-frame whose segments are not passes.
func tooLarge(t *loop.Turn, x *passage) verdict.Verdict {
	p := &x.p
	if p.IPLen() <= x.out.MTU {
		return verdict.Next
	}
	if p.DF {
		return sendError(t, x, packet.ICMPUnreachable, 4, x.out.MTU, verdict.DropTooBig)
	}
	x.oversize = true
	return verdict.Next
}

// stageSNAT finds the source that a new connection shows. One-to-one NAT comes before shared SNAT. The source
// changes only where the connection leaves for the outside, goes through an external address of
// the router, or would be answered past the router.
func stageSNAT(t *loop.Turn, x *passage) verdict.Verdict {
	if x.conn != nil || x.err != nil {
		return verdict.Next
	}
	return snatNew(t, x)
}

// snatNew finds the source that a new connection shows.
func snatNew(t *loop.Turn, x *passage) verdict.Verdict {
	if x.p.IsICMPError() {
		return translateUnknown(t, x)
	}
	to := &x.fresh.to
	switch {
	case x.in.Checks: // what the router itself asks comes from its address on the network there
		to.Src = x.out.Shows(x.nextHop, to.Dst)
	case x.leaves():
		return snatExternal(t, x)
	case x.fresh.ruled && (x.out.bypasses(to.Src, to.Dst) || x.in == x.out && x.out.External):
		to.Src = x.out.Shows(to.Dst, to.Dst)
	}
	return uniquePort(t, x)
}

// uniquePort keeps the source port, unless the answers could not be told from those of
// another connection: a client of a VIP may also talk to its member directly,
// from the same port.
func uniquePort(t *loop.Turn, x *passage) verdict.Verdict {
	port, refusal := x.r.NAT.UniquePort(x.fresh.to.Src, x.fresh.to, x.p.Tuple)
	if refusal == conntrack.None && port != x.fresh.to.SrcPort && !translatable(&x.p) {
		refusal = conntrack.TupleTaken // there is no such field to write it to
	}
	x.fresh.to.SrcPort = port
	return refusedBy(t, x, refusal)
}

// snatExternal gives an internal sender its external address: its floating IP, else
// a mapping on an address of the router. Towards some destinations there is to be no
// translation (RFC 6888, REQ-6).
func snatExternal(t *loop.Turn, x *passage) verdict.Verdict {
	r, to := x.r, &x.fresh.to
	if !x.fresh.external && r.Gateway.showsItself(to.Dst) {
		return uniquePort(t, x)
	}
	if floating, ok := r.Static.Floating(to.Src); ok {
		to.Src = floating
		return uniquePort(t, x)
	}
	if !r.Gateway.SNAT {
		if x.fresh.ruled && x.out.bypasses(to.Src, to.Dst) {
			to.Src = x.out.Shows(to.Dst, to.Dst)
		}
		return uniquePort(t, x)
	}
	if !translatable(&x.p) {
		return sendError(t, x, packet.ICMPUnreachable, 13, 0, verdict.DropNotTranslatable)
	}
	shown := r.Gateway.sharedBy(to.Src)
	port, refusal := r.NAT.Bind(&x.fresh.binding, shown, *to, x.p.Tuple)
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

// refusedBy turns a refusal of the connection table or of nat into a verdict.
func refusedBy(t *loop.Turn, x *passage, r conntrack.Refusal) verdict.Verdict {
	switch r {
	case conntrack.None:
		return verdict.Next
	case nat.NoPort, conntrack.TupleTaken:
		return exhausted(t, x, verdict.DropNoPort)
	case conntrack.HostShareUsed:
		return exhausted(t, x, verdict.DropHostShare)
	}
	return exhausted(t, x, verdict.DropTableFull)
}

// stageNeighbor finds the MAC address of the next hop. If the address is not known yet, the packet waits as it
// came. It starts anew when there is an answer, or when there is none in time. In the second case it does not
// wait for the same neighbor again, even if other packets have the router ask for it again.
func stageNeighbor(t *loop.Turn, x *passage) verdict.Verdict {
	table := x.r.Neighbors
	if x.hop != 0 {
		if n := table.Get(x.hop); n != nil && n.Usable() {
			n.Used = true
			x.neighbor = n
			return verdict.Next
		} else if n != nil {
			x.nextHop = n.Addr
		} else if v := reroute(t, x); v != verdict.Next {
			return v
		}
	}
	k := neighbor.Key{Iface: x.out.ID, Addr: x.nextHop}
	if x.failed == k {
		if n := table.Find(k); n == nil || !n.Usable() {
			return sendError(t, x, packet.ICMPUnreachable, 1, 0, verdict.DropNeighborFailed)
		}
	}
	ref, n, ask := table.Resolve(k, x.in.ID, t.Now)
	if n == nil {
		return verdict.Drop(verdict.DropNeighborRate)
	}
	if ask {
		x.out.askARP(t, x.nextHop, packet.MAC{})
	}
	x.hop = ref
	if n.Usable() {
		n.Used = true
		x.neighbor = n
		return verdict.Next
	}
	if n.State == neighbor.Failed {
		return sendError(t, x, packet.ICMPUnreachable, 1, 0, verdict.DropNeighborFailed)
	}
	if x.repeats(n) {
		return verdict.Drop(verdict.DropDuplicate)
	}
	if !table.Park(n, x.frame.Buf[x.frame.Head:x.frame.Tail], x.in.ID) {
		return verdict.Drop(verdict.DropNeighborFull)
	}
	return verdict.Parked
}

// reroute finds the next hop of a known connection whose neighbor is forgotten.
func reroute(t *loop.Turn, x *passage) verdict.Verdict {
	x.out = nil
	return stageRoute(t, x).At(verdict.StageRoute)
}

// stageCommit makes the connection, now that the packet is really sent. The table
// may be full: a packet that needs no translation is forwarded all the same.
func stageCommit(t *loop.Turn, x *passage) verdict.Verdict {
	p := &x.p
	if x.err != nil {
		return verdict.Next
	}
	if c := x.conn; c != nil {
		var move conntrack.Move
		switch {
		case p.Proto != packet.ProtoTCP || p.FragOff != 0:
			move = x.r.Conns.Touch(c, x.dir, 0, false, t.Now)
		case x.fit == conntrack.Fits:
			move = x.r.Conns.TouchTCP(c, x.dir, &x.segment, t.Now)
		case p.Flags&packet.SYN != 0:
			x.r.Conns.NoteSYN(c, x.dir, &x.segment)
		}
		if c.Backend != 0 {
			if x.r.overLimit(c, move) {
				return exceeds(t, x, c)
			}
			x.r.account(c, x.dir, p)
		}
		if move.To == conntrack.Lasting && x.r.NAT.OverShare(c) {
			return overShare(t, x, c)
		}
		x.r.Conns.Leave(c, x.dir, x.out.ID, uint32(x.hop))
		return verdict.Next
	}
	if p.IsICMPError() {
		return verdict.Next // it is about no known connection, and begins none
	}
	changed := x.fresh.to != p.Tuple
	if p.Proto == packet.ProtoTCP && p.Flags&opening != packet.SYN && (x.fresh.vip != nil || x.fresh.binding.Used()) {
		// Its member or port is unknown. An internal host is told, since it would wait for an
		// answer until it gives up. RFC 5382 REQ-4 is about packets from outside.
		if !x.in.External {
			sendReset(t, x)
		}
		return verdict.Drop(verdict.DropNotSYN)
	}
	n := &x.r.Scratch.newConn
	*n = conntrack.NewConn{
		Original: p.Tuple, Reply: x.fresh.to.Reverse(),
		In: [2]uint16{x.in.ID, x.out.ID}, Out: [2]uint16{x.out.ID, 0}, Hop: [2]uint32{uint32(x.hop), 0},
		Owner: x.owner(), Succeeds: x.fresh.succeeds,
	}
	if p.Proto == packet.ProtoTCP {
		p.ReadSegment(&n.Segment)
	}
	switch {
	case x.fresh.vip != nil:
		n.Backend, n.Class = x.fresh.vip.Numbers[x.fresh.member.ID], x.fresh.vip.Class
	case x.in.Checks:
		n.Owner, n.Class = conntrack.OwnerNone, ownClass(x.r, p.Proto)
	}
	c, refusal := x.r.NAT.Commit(n, &x.fresh.binding, t.Now)
	if c == nil {
		if !changed {
			return verdict.Next
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
	return verdict.Next
}

// stageRewrite is the one place where addresses, ports, checksums and recorded options change.
func stageRewrite(t *loop.Turn, x *passage) verdict.Verdict {
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
	if p.Proto == packet.ProtoTCP && x.r.Clamp && p.Flags&packet.SYN != 0 {
		p.ClampMSS(uint16(min(x.out.MTU, x.in.MTU) - packet.IPv4Len - packet.TCPLen))
	}
	return verdict.Next
}

// stageEgress writes the Ethernet header and sends the frame to its network.
func stageEgress(t *loop.Turn, x *passage) verdict.Verdict {
	eth := (*[packet.EthernetLen]byte)(x.p.Eth)
	*(*packet.MAC)(eth[0:6]) = x.neighbor.MAC
	*(*packet.MAC)(eth[6:12]) = x.out.MAC
	// Bytes behind the packet do not belong to it.
	x.frame.Tail = min(x.frame.Tail, x.frame.Head+tap.HeaderLen+x.p.End)
	if x.oversize {
		sendFragments(t, x)
		return verdict.Forwarded
	}
	x.out.Network.Transmit(t, &x.out.Station, x.frame, &x.p, false)
	return verdict.Forwarded
}
