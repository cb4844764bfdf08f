package conform

import (
	"fmt"
	"time"
)

// Checks of staticChecks: internal hosts at external addresses, hosts that are off, floating IPs without SNAT.

// senders are internal hosts. A host that is reached by an external address sees them with the address shown.
var senders = []struct{ network, host, shown string }{
	{"blue", vm3, float3}, {"blue", vm5, float5}, {"blue", vm4, shared}, {"blue", vm2, shared},
	{"green", inner, shared}, {"green", web1, shared}, {"small", vm6, shared},
}

// inward is a way from the i-th sender to an external address, behind which others are.
func inward(i int, to, dest string, servers ...string) *way {
	s := &senders[i]
	return &way{from: s.network, to: to, client: s.host, dest: dest, port: 80, udpPort: 53, servers: servers, real: 80,
		realUDP: 53,
		shown:   s.shown, shared: s.shown == shared}
}

func forwardedFromInside(c *Case) {
	for i := range senders {
		w := inward(i, "blue", forwarded, vm4)
		w.port, w.udpPort, w.real = 2222, 5353, 22
		for _, proto := range []string{"tcp", "udp"} {
			p, out, in := c.open(w, proto, 4000)
			p.there("%s", out)
			p.back("%s", in)
		}
	}
	c.Quiet()
}

// hairpins: every kind of host reaches every floating IP, its own among them.
func hairpins(c *Case, proto string) {
	for i := range senders {
		for _, w := range []*way{inward(i, "blue", float3, vm3), inward(i, "blue", float5, vm5),
			inward(i, "green", floatVIP, web1, "172.16.100.10")} {
			for port := 4000; port < 4002; port++ {
				p, out, in := c.open(w, proto, port)
				p.there("%s", out)
				p.back("%s", in)
			}
		}
	}
	c.Quiet()
}

func hairpinEchoes(c *Case) {
	for i := range senders {
		for _, w := range []*way{inward(i, "blue", float3, vm3), inward(i, "blue", float5, vm5)} {
			g := c.ping(w, 77, "seq 1 len 56")
			g.reply("seq 1 len 56")
			g.request("seq 2 len 56")
			g.reply("seq 2 len 56")
		}
	}
	c.Quiet()
}

// hairpinOthers is about protocols without ports, which shared SNAT could not tell apart.
func hairpinOthers(c *Case) {
	for i := range usual {
		o := &usual[i]
		c.passes("blue", "blue", o.out, vm5, float3, float5, vm3)
		c.passes("blue", "blue", o.answer, vm3, float5, float3, vm5)
	}
	c.Quiet()
}

// answeredWhileOff: the address is the router's to answer for, whether the host is there or not.
func answeredWhileOff(c *Case) {
	c.Silence("blue", vm3)
	c.Put("ext", "udp %s:4000 > %s:53", x1, float3)
	for range 3 {
		if !c.answersFor(float3) {
			c.Fail("nobody answers for the floating IP")
		}
		c.Wait(1500 * time.Millisecond)
	}
}

// offKinds are first packets of connections to a floating IP.
var offKinds = []string{
	"udp %s:4000 > 10.10.10.3:53 id 9 tos 0 len 20", "tcp %s:4000 > 10.10.10.3:80 S seq 100 id 9 tos 0 len 0",
	"icmp %s > 10.10.10.3 request id 77 seq 1 ipid 9 tos 0 len 20",
}

func unreachableWhileOff(c *Case) {
	c.Silence("blue", vm3)
	for i, k := range offKinds {
		c.Put("ext", k, fmt.Sprintf("198.51.100.%d", 10+i))
	}
	c.Wait(4 * time.Second)
	if n, _ := requests(c.arps("blue"), vm3); n < 2 || n > 4 {
		c.Fail("the host was asked for %d times in four seconds", n)
	}
	told := map[string]bool{}
	for range offKinds {
		p := c.Get("ext")
		if p == nil {
			c.Fail("not everybody is told, but %v", told)
		}
		to := p.Dst.String()
		for i, k := range offKinds {
			if sender := fmt.Sprintf("198.51.100.%d", 10+i); to == sender && !told[to] {
				c.keep("ext", [][]byte{p.Eth})
				c.Want("ext", "icmp %s > %s type 3 code 1 about ["+k+"]", ownOr(p, shared), to, to)
				told[to] = true
			}
		}
		if !told[to] {
			c.Fail("unexpected: %s", p.Line)
		}
	}
	c.uses(to1(float5, vm5), 4000)
	c.Speak("blue", vm3)
	c.Wait(time.Second)
	c.Drop()
	c.uses(to1(float3, vm3), 5000)
}

// unreachableFromInside: they, too, are told about what they have sent.
func unreachableFromInside(c *Case) {
	c.Silence("blue", vm3)
	k := offKinds[0]
	c.Put("blue", k, vm5)
	c.Put("green", k, inner)
	c.Wait(4 * time.Second)
	c.arps("blue")
	for network, to := range map[string]string{"blue": vm5, "green": inner} {
		c.Want(network, "icmp %s > %s type 3 code 1 about ["+k+"]", ownOr(c.peek(network), askers[network][1]), to, to)
	}
}

// ownOr is the address that an error about a floating IP's host may be from: the router's, or the address that
// the sender knows.
func ownOr(p *Packet, router string) string {
	if p.Src.String() == float3 {
		return float3
	}
	return router
}

func floatingWithoutSNAT(c *Case) {
	for i := range usual {
		bothWays(c, &usual[i])
	}
	c.talk(wayOf("forwarded port"), 4000)
	c.talk(wayOf("vip through a floating ip"), 4000)
	c.talk(wayOf("hairpin between floating ips"), 4000)
	c.Quiet()
}

// ownAddressesWithoutSNAT: a host without a floating IP is routed both ways. A host with one is
// reached by both of its addresses, and answers from the address that was used.
func ownAddressesWithoutSNAT(c *Case) {
	c.uses(out1(vm4, vm4), 4000)
	c.uses(to1(vm4, vm4), 4001)
	for i := range usual {
		o := &usual[i]
		c.passes("blue", "ext", o.out, vm4, x1, vm4, x1)
		c.passes("ext", "blue", o.answer, x1, vm4, x1, vm4)
	}
	c.uses(to1(vm3, vm3), 4002)
	c.uses(to1(float3, vm3), 4003)
	c.uses(out1(vm3, float3), 4004)
	c.Quiet()
}

func movedWithoutSNAT(c *Case) {
	p := c.talk(to1(float3, vm3), 4000)
	udp, words, _ := c.open(to1(float3, vm3), "udp", 4000)
	own := c.talk(out1(vm4, vm4), 4001)
	c.Associate(float3, vm4)
	c.wantResets(p.resets()...)
	own.there("P. seq 121 ack 531 len 9")
	udp.send(words)
	c.Want("blue", "udp %s > %s:53 %s", udp.client, vm4, words)
	c.uses(out1(vm3, vm3), 4002)
	c.uses(out1(vm4, float3), 4003)
	c.Disassociate(float3)
	c.Drop()
	c.uses(out1(vm4, vm4), 4004)
	if c.answersFor(float3) {
		c.Fail("the router answers ARP for it")
	}
}
