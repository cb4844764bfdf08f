package conform

import (
	"fmt"
	"slices"
)

// poolChecks are about several addresses that internal hosts share.
func poolChecks() []Check {
	next := Profile{SNATAddresses: []string{"10.10.10.20", "10.10.10.21"}}
	apart := Profile{SNATAddresses: []string{"10.10.10.22", "10.10.10.27", "10.10.10.40"}}
	return []Check{
		{Item: "U2", Name: "one address for all sessions of a host", Level: Should, Source: "RFC 4787, REQ-2",
			Profile: next, play: paired},
		{Item: "C8", Name: "paired, whatever the protocol", Level: Must, Source: "RFC 6888, REQ-1, REQ-2",
			Profile: next, play: pairedProtocols},
		{Item: "C9", Name: "addresses that are not contiguous", Level: Should, Source: "RFC 6888, REQ-3",
			Profile: apart, play: notContiguous},
	}
}

// shown has an internal host send a packet, and returns what comes out of it, whose source
// must be one of the profile's addresses.
func (c *Case) shown(may []string, format string, args ...any) *Packet {
	line := fmt.Sprintf(format, args...)
	c.Put("blue", "%s", line)
	p := c.Get("ext")
	if p == nil {
		c.Fail("nothing came out to ext for %s", line)
	}
	if !slices.Contains(may, p.Src.String()) {
		c.Fail("%s leaves as %s; wanted one of %v as the source", line, p.Line, may)
	}
	return p
}

func paired(c *Case) {
	may := poolChecks()[0].Profile.SNATAddresses
	for _, host := range []string{"172.16.101.2", "172.16.101.4"} {
		first := c.shown(may, "udp %s:4000 > 10.10.10.4:53", host)
		for i := range 40 {
			p := c.shown(may, "udp %s:%d > %s:%d", host, 4001+i, []string{"10.10.10.4", "10.10.10.5"}[i%2], 53+i/4)
			if p.Src != first.Src {
				c.Fail("%s shows %v to one and %v to another: %s", host, first.Src, p.Src, p.Line)
			}
		}
		c.Put("ext", "udp 10.10.10.4:53 > %v:%d", first.Src, first.SrcPort)
		c.Want("blue", "udp 10.10.10.4:53 > %s:4000", host)
	}
	c.Quiet()
}

func pairedProtocols(c *Case) {
	may := poolChecks()[0].Profile.SNATAddresses
	for _, host := range []string{"172.16.101.2", "172.16.101.4"} {
		first := c.shown(may, "udp %s:4000 > 10.10.10.4:53", host)
		for _, rest := range []string{"tcp %s:4000 > 10.10.10.4:80 S", "icmp %s > 10.10.10.4 request id 77 seq 1"} {
			if p := c.shown(may, rest, host); p.Src != first.Src {
				c.Fail("%s shows %v and %v: %s", host, first.Src, p.Src, p.Line)
			}
		}
	}
}

func notContiguous(c *Case) {
	may := poolChecks()[2].Profile.SNATAddresses
	seen := map[string]bool{}
	for i := range 30 {
		seen[c.shown(may, "udp 172.16.101.%d:4000 > 10.10.10.4:53", 30+i).Src.String()] = true
	}
	if len(seen) != len(may) {
		c.Fail("of the addresses %v thirty hosts show only %v", may, seen)
	}
}
