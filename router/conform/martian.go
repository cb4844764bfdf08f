package conform

import (
	"fmt"

	"github.com/taprouter/taprouter/internal/packet"
)

// Checks of broadcasts and of addresses that a router must not forward.

// linkBroadcast sends good packets in broadcast frames.
func linkBroadcast(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for _, kind := range packetKinds {
			for _, to := range []mac{packet.Broadcast, {1, 0, 0x5e, 0, 0, 1}, {3, 0, 0, 0, 0, 1}} {
				eth := c.frame(x.from, x.line(kind.line, 9))
				copy(eth, to[:])
				c.PutRaw(x.from, eth)
			}
		}
	}
	c.Quiet()
}

// linkBroadcastToRouter: a ping or SYN in a broadcast frame is not answered.
func linkBroadcastToRouter(c *Case) {
	for _, kind := range packetKinds {
		for _, network := range networks {
			eth := c.frame(network, fmt.Sprintf(kind.line, askers[network][0], askers[network][1]))
			for _, to := range []mac{packet.Broadcast, {1, 0, 0x5e, 0, 0, 1}} {
				copy(eth, to[:])
				c.PutRaw(network, eth)
			}
		}
	}
	c.Quiet()
}

func directedBroadcast(c *Case) {
	for _, kind := range packetKinds {
		for _, x := range [][3]string{
			{"ext", "198.51.100.7", "172.16.101.255"}, {"ext", "198.51.100.7", "172.16.100.255"},
			{"ext", "198.51.100.7", "10.10.10.255"},
			{"blue", "172.16.101.4", "172.16.100.255"}, {"blue", "172.16.101.4", "172.16.101.255"},
			{"blue", "172.16.101.4", "10.10.10.255"},
		} {
			c.Put(x[0], kind.line, x[1], x[2])
		}
	}
	for _, network := range networks { // nor does it look for a host of that name
		for _, m := range c.arps(network) {
			if m.Request && m.Target&0xff == 0xff {
				c.Fail("on %s, the router looks for %v", network, m.Target.Netip())
			}
		}
	}
	c.Quiet()
}

// remoteBroadcast: only the last router on the way knows which address is a broadcast. To others it is an
// address like any.
func remoteBroadcast(c *Case) {
	for i, kind := range packetKinds {
		for _, x := range []struct{ dst, network, hop string }{
			{"192.168.10.255", "blue", "172.16.101.254"}, {"192.168.10.0", "blue", "172.16.101.254"},
			{"192.168.23.255", "blue", "172.16.101.254"}, {"192.168.21.255", "green", "172.16.100.20"},
		} {
			line := fmt.Sprintf(kind.line, fmt.Sprintf("198.51.100.%d", 7+i), x.dst)
			c.Put("ext", "%s ttl 64", line)
			c.toward(c.Want(x.network, "%s ttl 63", line), x.hop)
		}
	}
	c.Quiet()
}

func limitedBroadcast(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for _, kind := range packetKinds {
			eth := c.frame(x.from, fmt.Sprintf(kind.line, fmt.Sprintf(x.src, 9), "255.255.255.255"))
			c.PutRaw(x.from, eth)
			copy(eth, packet.Broadcast[:])
			c.PutRaw(x.from, eth)
		}
	}
	c.Quiet()
}

// martianChecks are the addresses that cannot be, one class each. That they are counted is
// not to be seen from outside.
func martianChecks() []Check {
	var all []Check
	add := func(name string, play func(*Case)) {
		all = append(all, Check{Item: "R9", Name: name, Level: Should, Source: "RFC 1812, 5.3.7", Profile: plainRouter,
			play: play})
	}
	for _, x := range []struct {
		name    string
		sources []string
	}{
		{"from network 0", []string{"0.0.0.0", "0.0.0.1", "0.255.255.255"}},
		{"from loopback", []string{"127.0.0.1", "127.255.255.254"}},
		{"from multicast", []string{"224.0.0.1", "239.255.255.255"}},
		{"from class E", []string{"240.0.0.1", "255.255.255.254"}},
		{"from broadcast", []string{"255.255.255.255", "172.16.101.255", "10.10.10.255"}},
		{"from the router", []string{"172.16.101.1", "172.16.100.1", "10.10.10.2"}},
	} {
		add(x.name, func(c *Case) { martianSources(c, x.sources) })
	}
	for _, x := range []struct {
		name  string
		dests []string
	}{
		{"to network 0", []string{"0.0.0.0", "0.0.0.1", "0.255.255.255"}},
		{"to loopback", []string{"127.0.0.1", "127.255.255.254"}},
		{"to class E", []string{"240.0.0.1", "255.255.255.254"}},
	} {
		add(x.name, func(c *Case) { martianDests(c, x.dests) })
	}
	return all
}

// martianSources try every way that there is, from either side.
func martianSources(c *Case, sources []string) {
	for _, src := range sources {
		for _, kind := range packetKinds {
			for _, dst := range []string{"198.51.100.7", "172.16.100.9", "172.16.101.1", "10.10.10.3"} {
				c.Put("blue", kind.line, src, dst)
			}
			for _, dst := range []string{"172.16.101.4", "172.16.100.9", "10.10.10.2", "10.10.10.3"} {
				c.Put("ext", kind.line, src, dst)
			}
		}
	}
	c.Quiet()
}

func martianDests(c *Case, dests []string) {
	for _, dst := range dests {
		for _, kind := range packetKinds {
			c.Put("blue", kind.line, "172.16.101.4", dst)
			c.Put("ext", kind.line, "198.51.100.7", dst)
		}
	}
	c.None("ext", "green", "small")
	for p := c.get("blue", false); p != nil; p = c.get("blue", false) {
		if p.Proto != packet.ProtoICMP || p.Type != packet.ICMPUnreachable { // the sender may be told
			c.Fail("on blue: %s", p.Line)
		}
	}
}

// addressesOfAnother: the source address is on another network of the router.
func addressesOfAnother(c *Case) {
	for _, kind := range packetKinds {
		c.Put("blue", kind.line, "172.16.100.9", "198.51.100.7")
		c.Put("blue", kind.line, "172.16.102.6", "172.16.100.9")
		c.Put("blue", kind.line, "10.10.10.4", "172.16.100.9")
		c.Put("ext", kind.line, "172.16.101.4", "172.16.100.9")
		c.Put("ext", kind.line, "172.16.101.4", "10.10.10.3")
		c.Put("ext", kind.line, "172.16.101.4", "10.10.10.2")
	}
	c.Quiet()
	c.Put("green", packetKinds[0].line, "172.16.100.9", "172.16.102.6")
	c.Want("small", packetKinds[0].line, "172.16.100.9", "172.16.102.6")
}
