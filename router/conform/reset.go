package conform

import (
	"fmt"
	"slices"

	"github.com/taprouter/taprouter/internal/packet"
)

// Checks of staticChecks: connections when floating IPs and forwarded ports come, move and go.

// cuts are the ways that end when a floating IP goes.
var cuts = []struct{ way, floating string }{
	{"out of a floating ip", float3}, {"into a floating ip", float3}, {"hairpin", float3},
	{"vip through a floating ip", floatVIP},
	{"hairpin between floating ips", float3}, {"hairpin between floating ips", float5},
}

// A reset is what one side of a connection is to get.
type reset struct {
	network, from, to string
	seq, ack          uint32
}

// wantResets takes one RST for each side: it has the sequence number that this side expects
// next, to the byte, or it would be but asked back (RFC 5961, 3.2).
func (c *Case) wantResets(sides ...reset) {
	for len(sides) > 0 {
		p := c.Get(sides[0].network)
		if p == nil {
			c.Fail("no RST for %s", sides[0].to)
		}
		i := slices.IndexFunc(sides, func(r reset) bool {
			return r.network == p.Network && r.from == fmt.Sprintf("%v:%d", p.Src, p.SrcPort) &&
				r.to == fmt.Sprintf("%v:%d", p.Dst, p.DstPort)
		})
		if i < 0 || valid(p.Eth) != nil || p.Proto != packet.ProtoTCP || p.Flags&^packet.ACK != packet.RST ||
			p.Seq != sides[i].seq || p.Flags&packet.ACK != 0 && p.Ack != sides[i].ack {
			c.Fail("wanted RSTs: %+v, got %s", sides, p.Line)
		}
		sides = slices.Delete(sides, i, i+1)
	}
}

// talk has a connection carry data both ways: the client's next byte is 121, the server's 531.
func (c *Case) talk(w *way, port int) *path {
	p := c.connect(w, port)
	p.there("P. seq 101 ack 501 len 20")
	p.back("P. seq 501 ack 121 len 30")
	p.there(". seq 121 ack 531")
	return p
}

// resets are the RSTs that both sides of such a connection get when it ends.
func (p *path) resets() []reset {
	return []reset{{p.w.from, p.dest, p.client, 531, 121}, {p.w.to, p.shown, p.real, 121, 531}}
}

func resetsBoth(c *Case, w *way, floating string) {
	p := c.talk(w, 4000)
	c.Disassociate(floating)
	c.wantResets(p.resets()...)
	c.Quiet()
}

// nothingGoesOn: nothing of a connection that is over gets to the other side.
func nothingGoesOn(c *Case, w *way, floating string) {
	p := c.talk(w, 4000)
	udp, out, in := c.open(w, "udp", 4000)
	c.Disassociate(floating)
	c.Drop()
	for _, words := range []string{". seq 121 ack 531", "P. seq 121 ack 531 len 9", "F. seq 121 ack 531"} {
		p.send(words)
	}
	if floating == w.dest { // else it goes on by the new rule
		udp.send(out)
	}
	c.notTo(w.to, addrOf(p.real))
	for _, words := range []string{". seq 531 ack 121", "P. seq 531 ack 121 len 9", "F. seq 531 ack 121"} {
		p.reply(words)
	}
	c.notFrom(w.from, addrOf(p.dest))
	if floating != w.dest {
		udp.reply(in)
		c.notFrom(w.from, addrOf(p.dest))
	}
}

// notTo fails if something but a RST or an ICMP error has come out to a host.
func (c *Case) notTo(network, host string) {
	c.not(network, func(p *Packet) bool { return p.Dst.String() == host })
}

// notFrom is the same of what comes from an address.
func (c *Case) notFrom(network, address string) {
	c.not(network, func(p *Packet) bool { return p.Src.String() == address })
}

func (c *Case) not(network string, bad func(*Packet) bool) {
	for _, n := range networks {
		c.ask(n)
	}
	for p := c.get(network, false); p != nil; p = c.get(network, false) {
		refusal := p.Proto == packet.ProtoTCP && p.Flags&packet.RST != 0 || p.Proto == packet.ProtoICMP &&
			p.Type == packet.ICMPUnreachable
		if bad(p) && !refusal {
			c.Fail("on %s: %s", network, p.Line)
		}
	}
}

// resetsOpening: the client that waits for an answer gets a RST, too, and so does the server that may have answered.
func resetsOpening(c *Case) {
	c.answersFor(float3) // which it is asked before the SYN comes
	c.first(wayOf("into a floating ip"), "tcp", 4000, "S seq 100")
	c.Disassociate(float3)
	c.Want("ext", "tcp %s:80 > %s:4000 R. ack 101", float3, x1)
	c.Want("blue", "tcp %s:4000 > %s:80 R seq 101", x1, vm3)
	c.Quiet()
}

// resetsClosing: segments that are not acknowledged yet, such as a FIN, have been sent on already.
func resetsClosing(c *Case) {
	p, q := c.talk(to1(float3, vm3), 4000), c.talk(out1(vm3, float3), 4001)
	p.there("P. seq 121 ack 531 len 9")
	p.there("F. seq 130 ack 531")
	p.back("P. seq 531 ack 121 len 50")
	q.back("P. seq 531 ack 121 len 1000")
	q.back("P. seq 1531 ack 121 len 1000")
	q.there("F. seq 121 ack 531")
	c.Disassociate(float3)
	c.wantResets(reset{"ext", p.dest, p.client, 581, 131}, reset{"blue", p.shown, p.real, 131, 581},
		reset{"ext", q.shown, q.real, 122, 2531}, reset{"blue", q.dest, q.client, 2531, 122})
	c.Quiet()
}

// resetsAll: however many connections one client has with one host.
func resetsAll(c *Case) {
	const n = 300
	want := map[string]bool{}
	for port := 4000; port < 4000+n; port++ {
		p := c.connect(to1(float3, vm3), port)
		want[p.client], want[p.shown+" inside"] = true, true
	}
	c.Disassociate(float3)
	for range n {
		for network, side := range map[string]string{"ext": "", "blue": " inside"} {
			p := c.Get(network)
			if p == nil {
				c.Fail("%d of %d RSTs are missing", len(want), 2*n)
			}
			if p.Flags&packet.RST == 0 {
				c.Fail("on %s: %s", network, p.Line)
			}
			if network == "ext" {
				delete(want, fmt.Sprintf("%v:%d", p.Dst, p.DstPort)+side)
			} else {
				delete(want, fmt.Sprintf("%v:%d", p.Src, p.SrcPort)+side)
			}
		}
	}
	if len(want) > 0 {
		c.Fail("%d of %d RSTs are missing", len(want), 2*n)
	}
	c.Quiet()
}

// resetAgain: a RST may be lost. A side that goes on sending gets another one.
func resetAgain(c *Case) {
	p := c.talk(wayOf("into a floating ip"), 4000)
	c.Disassociate(float3)
	c.Drop()
	p.send("P. seq 121 ack 531 len 9")
	c.wantResets(p.resets()[0])
	p.reply(". seq 531 ack 121")
	c.wantResets(p.resets()[1])
	p.send("R seq 121") // and that is the end of it
	c.Quiet()
}

func datagramsFollow(c *Case) {
	in, out := to1(float3, vm3), out1(vm3, float3)
	first, _, _ := c.open(in, "udp", 4000)
	c.open(out, "udp", 4001)
	c.Associate(float3, vm4)
	in = to1(float3, vm4)
	second := c.first(in, "udp", 4000, "len 30") // the same sockets
	second.back("len 30")
	c.open(out1(vm4, float3), "udp", 4001)
	c.open(out1(vm3, shared), "udp", 4001)
	second.there("len 40")
	c.Disassociate(float3)
	first.send("len 50")
	c.None("blue")
	c.open(out1(vm4, shared), "udp", 4001)
}

func othersFollow(c *Case) {
	gre := &oneToOne[5]
	c.ping(to1(float3, vm3), 77, "seq 1").reply("seq 1")
	c.ping(out1(vm3, float3), 78, "seq 1").reply("seq 1")
	c.passes("ext", "blue", gre.out, x1, float3, x1, vm3)
	c.passes("blue", "ext", gre.answer, vm3, x1, float3, x1)
	c.Associate(float3, vm4)
	c.ping(to1(float3, vm4), 77, "seq 2").reply("seq 2")
	c.ping(out1(vm3, shared), 78, "seq 2").reply("seq 2")
	c.passes("ext", "blue", gre.out, x1, float3, x1, vm4)
	c.passes("blue", "ext", gre.answer, vm4, x1, float3, x1)
	c.Quiet()
}

// formerHost: nothing for the address reaches it, and nothing that it sends shows it.
func formerHost(c *Case) {
	in, out := c.talk(to1(float3, vm3), 4000), c.talk(out1(vm3, float3), 4001)
	udp, words, answer := c.open(to1(float3, vm3), "udp", 4000)
	c.ping(to1(float3, vm3), 77, "seq 1")
	c.Associate(float3, vm4)
	c.Drop()
	in.send("P. seq 121 ack 531 len 9")
	out.reply("P. seq 531 ack 121 len 9")
	udp.send(words)
	c.Put("ext", "icmp %s > %s request id 77 seq 2", x2, float3)
	c.notTo("blue", vm3)
	in.reply("P. seq 531 ack 121 len 9")
	out.send("P. seq 121 ack 531 len 9")
	udp.reply(answer)
	c.Put("blue", "icmp %s > %s reply id 77 seq 1", vm3, x2)
	c.notFrom("ext", float3)
}

// newHost gets the ports that the former one had, and the same peers.
func newHost(c *Case) {
	c.talk(to1(float3, vm3), 4000)
	c.talk(out1(vm3, float3), 4001)
	own := c.talk(out1(vm4, shared), 4002)
	c.Associate(float3, vm4)
	c.Drop()
	c.uses(to1(float3, vm4), 4000)
	c.uses(out1(vm4, float3), 4001)
	own.there("P. seq 121 ack 531 len 9")
	own.back("P. seq 531 ack 130 len 9")
	if !c.answersFor(float3) {
		c.Fail("nobody answers for it")
	}
}

func nobodys(c *Case) {
	c.uses(to1(float3, vm3), 4000)
	c.Disassociate(float3)
	c.Drop()
	if c.answersFor(float3) {
		c.Fail("the router answers ARP for it")
	}
	for i, kind := range packetKinds {
		c.Put("ext", kind.line, fmt.Sprintf("198.51.100.%d", 10+i), float3)
	}
	c.None("blue", "green", "small")
	c.Drop()
	c.uses(out1(vm3, shared), 5000)
	c.Associate(float3, vm3)
	c.uses(to1(float3, vm3), 6000)
	c.uses(out1(vm3, float3), 6001)
	if !c.answersFor(float3) {
		c.Fail("nobody answers for it")
	}
}

func othersDoNotNotice(c *Case) {
	var all []*path
	for i, w := range []*way{wayOf("snat"), to1(float5, vm5), wayOf("forwarded port"),
		wayOf("vip through a floating ip"),
		{from: "blue", to: "green", client: vm3, dest: inner, port: 80, servers: []string{inner}, real: 80,
			shown: vm3}} {
		all = append(all, c.talk(w, 4000+i))
	}
	seq := 121
	for _, change := range []func(){
		func() { c.Disassociate(float3) }, func() { c.Associate(float3, vm2) }, func() { c.Associate(float3, vm3) },
		func() { c.Associate(unused, vm2) },
	} {
		change()
		for _, p := range all {
			p.there("P. seq %d ack %d len 10", seq, seq+410)
			p.back("P. seq %d ack %d len 10", seq+410, seq+10)
		}
		seq += 10
	}
	c.Quiet()
}
