package conform

import (
	"fmt"

	"github.com/taprouter/taprouter/internal/packet"
)

// fieldChecks are about header fields that a router must leave alone, and about its own messages.
func fieldChecks() []Check {
	return []Check{
		{Item: "R20", Name: "reserved flag", Level: Must, Source: "RFC 1812, 5.2.5 and 4.2.2.3", Profile: plainRouter,
			play: reservedFlag},
		{Item: "R20", Name: "type of service", Level: Must, Source: "RFC 1812, 5.3.3.3", Profile: plainRouter,
			play: typeOfService},
		{Item: "R21", Name: "time to live of errors and replies", Level: Must, Source: "RFC 1812, 4.3.2.2 and 4.2.2.9",
			Profile: plainRouter, play: ownTTL},
		{Item: "R23", Name: "broadcasts of zeros", Level: Should, Source: "RFC 1812, 4.2.3.1 and 5.3.5",
			Profile: plainRouter,
			play:    zeroBroadcasts},
		{Item: "R24", Name: "not answered", Level: Should, Source: "RFC 1812, 4.3.3.7 and 4.3.2.1; RFC 6918",
			play: notAnswered},
		{Item: "R30", Name: "whole data", Level: Must, Source: "RFC 1812, 4.3.3.6", Profile: plainRouter,
			play: echoedWhole},
		{Item: "R30", Name: "as large as the networks'", Level: Must, Source: "RFC 1812, 4.3.3.6", Profile: plainRouter,
			play: largestOfNetworks},
		{Item: "R31", Name: "every address of the router", Level: Must, Source: "RFC 1812, 5.2.3 and 4.3.3.6",
			Profile: plainRouter, play: localDelivery},
	}
}

// reservedFlag: a bit without a meaning passes, in a whole packet and when it is cut.
func reservedFlag(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for _, kind := range packetKinds {
			eth := c.change(x.from, x.line(kind.line, 9), func(ip []byte) { ip[6] |= 0x80 })
			c.PutRaw(x.from, eth)
			if p := c.Get(x.to); p == nil || p.Eth[packet.EthernetLen+6] != 0x80 {
				c.Fail("on %s, of a %s packet with the reserved flag: %+v", x.to, kind.name, p)
			}
		}
	}
	c.PutRaw("blue", c.change("blue", "udp 172.16.101.4:4000 > 172.16.102.6:53 id 9 len 1200",
		func(ip []byte) { ip[6] |= 0x80 }))
	all := c.came("small")
	for _, p := range all {
		if p.Eth[packet.EthernetLen+6]&0x80 == 0 {
			c.Fail("a fragment without it: %s", lines(all))
		}
	}
	if len(all) != 2 {
		c.Fail("in pieces: %s", lines(all))
	}
}

func typeOfService(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for tos := range 256 {
			line := x.line("udp %s:4000 > %s:5000 len 20", 9) + fmt.Sprintf(" tos %d", tos)
			c.Put(x.from, "%s", line)
			c.Want(x.to, "%s", line)
		}
	}
}

// ownTTL: what the router sends itself has a time to live of its own.
func ownTTL(c *Case) {
	var first uint8
	for i, ttl := range []int{1, 2, 9, 64, 255} {
		c.Put("blue", "icmp 172.16.101.4 > 172.16.101.1 request id 5 seq 1 ttl %d", ttl)
		reply := c.Want("blue", "icmp 172.16.101.1 > 172.16.101.4 reply id 5 seq 1")
		c.Put("blue", "udp 192.168.10.%d:4000 > 172.16.101.1:9 ttl %d", 10+i, ttl)
		report := c.Want("blue", "icmp 172.16.101.1 > 192.168.10.%d type 3 code 3", 10+i)
		if first == 0 {
			first = reply.TTL
		}
		if reply.TTL != first || report.TTL != first || first < 32 {
			c.Fail("a packet with a TTL of %d is answered with one of %d, reported with one of %d", ttl, reply.TTL,
				report.TTL)
		}
	}
}

// zeroBroadcasts: the first address of a subnet was a broadcast once, and is no host's.
func zeroBroadcasts(c *Case) {
	for _, kind := range packetKinds {
		for _, x := range [][3]string{
			{"ext", "198.51.100.7", "172.16.101.0"}, {"ext", "198.51.100.7", "10.10.10.0"},
			{"ext", "198.51.100.7", "0.0.0.0"},
			{"blue", "172.16.101.4", "172.16.100.0"}, {"blue", "172.16.101.4", "172.16.101.0"},
			{"blue", "172.16.101.4", "0.0.0.0"},
		} {
			c.Put(x[0], kind.line, x[1], x[2])
		}
	}
	c.Quiet()
}

// notAnswered: questions that routers had to answer once, and messages of unknown types.
func notAnswered(c *Case) {
	for _, typ := range []int{10, 13, 15, 17, 19, 30, 37, 42, 253} {
		for _, to := range []string{"172.16.101.1", "10.10.10.2"} {
			if typ == 13 {
				continue // a router may (RFC 1812, 4.3.3.8)
			}
			c.Put("blue", "icmp 172.16.101.4 > %s type %d len 20", to, typ)
		}
	}
	c.Quiet()
}

// echoedWhole: what was sent comes back, byte for byte, whatever its length.
func echoedWhole(c *Case) {
	for seq, n := range []int{0, 1, 2, 7, 8, 55, 56, 57, 547, 548, 971, 1471, 1472} {
		data := ""
		if n > 0 {
			all := make([]byte, n)
			for i := range all {
				all[i] = byte(i*i + seq)
			}
			data = fmt.Sprintf(" data %x", all)
		}
		request, reply := pingRouter("blue", seq)
		c.Put("blue", "%s%s", request, data)
		c.Want("blue", "%s%s", reply, data)
	}
}

// largestOfNetworks: a router answers what fits into the largest MTU of its networks, or into 576 bytes, on each
// of them.
func largestOfNetworks(c *Case) {
	for _, network := range networks {
		for seq, size := range []int{576, 1000, 1500} {
			n := size - packet.IPv4Len - packet.ICMPLen
			request, reply := pingRouter(network, seq)
			eth := c.frame(network, fmt.Sprintf("%s len %d", request, n))
			if size > c.profile.mtu(network) {
				for _, p := range pieces(eth, 800) {
					c.PutRaw(network, p)
				}
			} else {
				c.PutRaw(network, eth)
			}
			c.WantWhole(network, "%s len %d", reply, n)
		}
	}
}

// localDelivery: an address of the router is the router's, from whichever network the packet comes, and the answer
// comes from that address.
func localDelivery(c *Case) {
	for network, host := range map[string]string{
		"blue": "172.16.101.4", "green": "172.16.100.9", "small": "172.16.102.6", "ext": "10.10.10.4",
	} {
		for seq, own := range []string{"172.16.101.1", "172.16.100.1", "172.16.102.1", "172.16.103.0", "10.10.10.2"} {
			c.Put(network, "icmp %s > %s request id 5 seq %d len 20", host, own, seq)
			c.Want(network, "icmp %s > %s reply id 5 seq %d len 20", own, host, seq)
		}
	}
	c.Quiet()
}
