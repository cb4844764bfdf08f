package conform

import (
	"fmt"
	"strings"
	"time"
)

// behaviors are RFC 4787's, of mapping and of filtering.
var behaviors = []string{"endpoint-independent", "address-dependent", "address-and-port-dependent"}

// A carrier is a protocol that mappings are made for, and how two endpoints speak it.
type carrier struct {
	name string
	out  string // a first packet, from %s (endpoint) to %s
	in   string // from outside: an answer, or an attempt

	mapping, filtering [2]string // the items about it: their names, and where they come from
}

var carriers = []carrier{
	{"udp", "udp %s > %s", "udp %s > %s", [2]string{"U1", "RFC 4787, REQ-1"}, [2]string{"U8", "RFC 4787, REQ-8"}},
	{"tcp", "tcp %s > %s S", "tcp %s > %s S", [2]string{"T1", "RFC 5382, REQ-1"}, [2]string{"T3", "RFC 5382, REQ-3"}},
}

// behaviorChecks are about how mappings are made, and which external hosts they let in.
func behaviorChecks(by carrier) []Check {
	all := []Check{{Item: by.mapping[0], Name: "default", Level: Must, Source: by.mapping[1],
		play: func(c *Case) { mappingBehavior(c, by, "endpoint-independent") }}}
	for _, mapping := range behaviors {
		all = append(all, Check{
			Item: by.mapping[0], Name: mapping, Level: Must, Source: by.mapping[1],
			Profile: Profile{Mapping: mapping, PortRange: "1024-65535"},
			play:    func(c *Case) { mappingBehavior(c, by, mapping) },
		})
		for _, filtering := range behaviors {
			all = append(all, Check{
				Item: by.filtering[0], Name: mapping + "/" + filtering, Level: Should, Source: by.filtering[1],
				Profile: Profile{Mapping: mapping, Filtering: filtering},
				play:    func(c *Case) { filteringBehavior(c, by, filtering) },
			})
		}
	}
	return all
}

// udpChecks are the items of RFC 4787.
func udpChecks() []Check {
	return append(behaviorChecks(carriers[0]),
		Check{Item: "U3", Name: "no sharing", Level: Must, Source: "RFC 4787, REQ-3", play: noSharing},
		Check{Item: "U3a", Name: "port groups", Level: Should, Source: "RFC 4787, REQ-3 a)", play: portGroups},
		Check{Item: "U4", Name: "parity", Level: Should, Source: "RFC 4787, REQ-4", play: parity},
		Check{Item: "U5", Name: "119 s", Level: Must, Source: "RFC 4787, REQ-5",
			play: func(c *Case) { mappingLives(c, 119*time.Second) }},
		Check{Item: "U5", Name: "default 5 min", Level: Should, Source: "RFC 4787, REQ-5 c)",
			play: func(c *Case) { mappingLives(c, 299*time.Second) }},
		Check{Item: "U5", Name: "ends", Level: Good, Source: "RFC 4787, REQ-5", Profile: Profile{Short: true},
			play: mappingEnds},
		Check{Item: "U6", Name: "outbound refreshes", Level: Must, Source: "RFC 4787, REQ-6",
			Profile: Profile{Short: true}, play: outboundRefreshes},
		Check{Item: "U6", Name: "inbound refreshes", Level: May, Source: "RFC 4787, REQ-6 a)",
			Profile: Profile{Short: true}, play: inboundRefreshes},
		Check{Item: "U9", Name: "hairpin shows the external endpoint", Level: Must, Source: "RFC 4787, REQ-9 a)",
			play: hairpinUDP},
		Check{Item: "T8", Name: "hairpin", Level: Must, Source: "RFC 5382, REQ-8", play: hairpinTCP},
		Check{Item: "U10", Name: "no ALG", Level: Must, Source: "RFC 4787, REQ-10; RFC 5382, REQ-6", play: noALG},
	)
}

// external sends a first packet and returns the external port that it left with.
func (c *Case) external(by carrier, from, to string) uint16 {
	c.Put(networkOf(from), by.out, from, to)
	return c.Want("ext", by.out, "10.10.10.2:*", to).SrcPort
}

// networkOf is the network of an inside host.
func networkOf(host string) string {
	if strings.HasPrefix(host, "172.16.100.") {
		return "green"
	}
	return "blue"
}

func mappingBehavior(c *Case, by carrier, mapping string) {
	first := c.external(by, "172.16.101.4:4000", "10.10.10.4:53")
	port := c.external(by, "172.16.101.4:4000", "10.10.10.4:54")
	addr := c.external(by, "172.16.101.4:4000", "10.10.10.5:53")
	if mapping == "endpoint-independent" {
		if port != first || addr != first {
			c.Fail("172.16.101.4:4000 leaves by ports %d, %d and %d for three destinations", first, port, addr)
		}
	}
	if mapping == "address-dependent" && port != first {
		c.Fail("172.16.101.4:4000 leaves by ports %d and %d for two ports of one host", first, port)
	}
	// Whatever the mapping, each destination's answer finds its way.
	for _, x := range []struct {
		peer string
		port uint16
	}{{"10.10.10.4:53", first}, {"10.10.10.4:54", port}, {"10.10.10.5:53", addr}} {
		c.Put("ext", answerOf(by, "%s > 10.10.10.2:%d"), x.peer, x.port)
		c.Want("blue", answerOf(by, "%s > 172.16.101.4:4000"), x.peer)
	}
	c.Quiet()
}

// answerOf is an answer to a first packet.
func answerOf(by carrier, endpoints string) string {
	if by.name == "tcp" {
		return "tcp " + endpoints + " S. ack 1"
	}
	return by.name + " " + endpoints
}

func filteringBehavior(c *Case, by carrier, filtering string) {
	port := c.external(by, "172.16.101.4:4000", "10.10.10.4:53")
	c.Put("ext", by.in, "10.10.10.4:53", fmt.Sprintf("10.10.10.2:%d", port))
	c.Want("blue", by.in, "10.10.10.4:53", "172.16.101.4:4000")
	// Filtering does not depend on how mappings are made (RFC 4787, 5).
	otherPort, otherAddr := filtering != "address-and-port-dependent", filtering == "endpoint-independent"
	for _, x := range []struct {
		peer string
		may  bool
	}{{"10.10.10.4:99", otherPort}, {"10.10.10.5:53", otherAddr}} {
		c.Put("ext", by.in, x.peer, fmt.Sprintf("10.10.10.2:%d", port))
		if x.may {
			c.Want("blue", by.in, x.peer, "172.16.101.4:4000")
		}
		c.None("blue")
		if by.name == "tcp" {
			c.None("ext") // RFC 5382, REQ-4: not a word
		}
		c.Drop()
	}
}

func noSharing(c *Case) {
	seen := map[uint16]string{}
	for _, host := range []string{"172.16.101.2", "172.16.101.4"} {
		for port := 4000; port < 4200; port++ {
			from := fmt.Sprintf("%s:%d", host, port)
			got := c.external(carriers[0], from, "10.10.10.4:53")
			if other, taken := seen[got]; taken {
				c.Fail("%s and %s both leave by port %d", other, from, got)
			}
			seen[got] = from
		}
	}
}

func portGroups(c *Case) {
	for _, port := range []int{1023, 512, 111, 1024, 40000} {
		for _, host := range []string{"172.16.101.2", "172.16.101.4"} { // the second one cannot have the same
			got := c.external(carriers[0], fmt.Sprintf("%s:%d", host, port), "10.10.10.4:53")
			if (got < 1024) != (port < 1024) {
				c.Fail("port %d of %s leaves as %d", port, host, got)
			}
		}
	}
}

func parity(c *Case) {
	for port := 5000; port < 5020; port++ {
		for _, host := range []string{"172.16.101.2", "172.16.101.4"} {
			if got := c.external(carriers[0], fmt.Sprintf("%s:%d", host, port), "10.10.10.4:53"); int(got)%2 != port%2 {
				c.Fail("port %d of %s leaves as %d", port, host, got)
			}
		}
	}
}

func mappingLives(c *Case, idle time.Duration) {
	port := c.external(carriers[0], "172.16.101.4:4000", "10.10.10.4:53")
	c.Wait(idle)
	c.Put("ext", "udp 10.10.10.4:53 > 10.10.10.2:%d", port)
	c.Want("blue", "udp 10.10.10.4:53 > 172.16.101.4:4000")
}

func mappingEnds(c *Case) {
	port := c.external(carriers[0], "172.16.101.4:4000", "10.10.10.4:53")
	c.Wait(c.Timeouts.UDP * 3 / 2)
	c.Put("ext", "udp 10.10.10.4:53 > 10.10.10.2:%d", port)
	c.None("blue")
}

func outboundRefreshes(c *Case) {
	port := c.external(carriers[0], "172.16.101.4:4000", "10.10.10.4:53")
	for range 4 {
		c.Wait(c.Timeouts.UDP * 6 / 10)
		if again := c.external(carriers[0], "172.16.101.4:4000", "10.10.10.4:53"); again != port {
			c.Fail("from port %d to %d although there was traffic", port, again)
		}
	}
	c.Put("ext", "udp 10.10.10.4:53 > 10.10.10.2:%d", port)
	c.Want("blue", "udp 10.10.10.4:53 > 172.16.101.4:4000")
}

func inboundRefreshes(c *Case) {
	port := c.external(carriers[0], "172.16.101.4:4000", "10.10.10.4:53")
	for range 4 {
		c.Put("ext", "udp 10.10.10.4:53 > 10.10.10.2:%d", port)
		c.Want("blue", "udp 10.10.10.4:53 > 172.16.101.4:4000")
		c.Wait(c.Timeouts.UDP * 6 / 10)
	}
	c.Put("ext", "udp 10.10.10.4:53 > 10.10.10.2:%d", port)
	c.Want("blue", "udp 10.10.10.4:53 > 172.16.101.4:4000")
}

// hairpinUDP has two hosts behind the shared address talk over their mappings.
func hairpinUDP(c *Case) {
	a := c.external(carriers[0], "172.16.101.4:4000", "10.10.10.4:53")
	b := c.external(carriers[0], "172.16.101.2:5000", "10.10.10.4:53")
	c.Put("blue", "udp 172.16.101.4:4000 > 10.10.10.2:%d", b)
	c.Want("blue", "udp 10.10.10.2:%d > 172.16.101.2:5000", a)
	c.Put("blue", "udp 172.16.101.2:5000 > 10.10.10.2:%d", a)
	c.Want("blue", "udp 10.10.10.2:%d > 172.16.101.4:4000", b)
	c.Quiet()
}

func hairpinTCP(c *Case) {
	b := c.external(carriers[1], "172.16.101.2:5000", "10.10.10.4:80")
	c.Put("blue", "tcp 172.16.101.4:4000 > 10.10.10.2:%d S seq 100", b)
	a := c.Want("blue", "tcp 10.10.10.2:* > 172.16.101.2:5000 S seq 100").SrcPort
	c.Put("blue", "tcp 172.16.101.2:5000 > 10.10.10.2:%d S. seq 500 ack 101", a)
	c.Want("blue", "tcp 10.10.10.2:%d > 172.16.101.4:4000 S. seq 500 ack 101", b)
	c.Quiet()
}

// noALG sends what an application layer gateway would want to rewrite.
func noALG(c *Case) {
	ftp := fmt.Sprintf("%x", "PORT 172,16,101,4,15,160\r\n")
	c.Put("blue", "tcp 172.16.101.4:4000 > 10.10.10.4:21 S seq 100")
	port := c.Want("ext", "tcp 10.10.10.2:* > 10.10.10.4:21 S").SrcPort
	c.Put("ext", "tcp 10.10.10.4:21 > 10.10.10.2:%d S. seq 500 ack 101", port)
	c.Want("blue", "tcp 10.10.10.4:21 > 172.16.101.4:4000 S.")
	c.Put("blue", "tcp 172.16.101.4:4000 > 10.10.10.4:21 P. seq 101 ack 501 data %s", ftp)
	c.Want("ext", "tcp 10.10.10.2:%d > 10.10.10.4:21 P. seq 101 ack 501 data %s", port, ftp)
	sip := fmt.Sprintf("%x", "INVITE sip:x@10.10.10.4 SIP/2.0\r\nVia: SIP/2.0/UDP 172.16.101.4:5060\r\n\r\n")
	c.Put("blue", "udp 172.16.101.4:5060 > 10.10.10.4:5060 data %s", sip)
	c.Want("ext", "udp 10.10.10.2:* > 10.10.10.4:5060 data %s", sip)
}
