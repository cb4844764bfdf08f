package conform

// specialChecks are about the registry of RFC 6890.
func specialChecks() []Check {
	var all []Check
	for _, x := range []struct {
		name, source string
		addresses    []string
	}{
		{"link-local", "RFC 3927, 2.7", []string{"169.254.0.0", "169.254.169.254", "169.254.255.255"}},
		{"protocol assignments", "RFC 6890, 2.2.2", []string{"192.0.0.11", "192.0.0.170", "192.0.0.255"}},
	} {
		for _, snat := range []bool{true, false} {
			suffix := ""
			if snat {
				suffix = ", SNAT"
			}
			all = append(all,
				Check{Item: "R19", Name: "from " + x.name + suffix, Level: Must, Source: x.source,
					Profile: Profile{NoSNAT: !snat},
					play:    func(c *Case) { martianSources(c, x.addresses) }},
				Check{Item: "R19", Name: "to " + x.name + suffix, Level: Must, Source: x.source,
					Profile: Profile{NoSNAT: !snat},
					play:    func(c *Case) { martianDests(c, x.addresses) }})
		}
	}
	return append(all,
		Check{Item: "R19", Name: "errors from link-local", Level: Must, Source: "RFC 3927, 2.7",
			play: errorsFromLinkLocal},
		Check{Item: "R19", Name: "errors from nobody's address", Level: Good, Source: "RFC 7600; RFC 9229, 3",
			play: errorsFromDummy},
		Check{Item: "R19", Name: "others pass", Level: Good, Source: "RFC 6890, 2.2.2; RFC 5737", Profile: plainRouter,
			play: specialPass})
}

func errorsFromLinkLocal(c *Case) {
	w := wayOf("snat")
	p, words, _ := c.open(w, "udp", 4000)
	out := p.there("%s", words)
	c.Put("ext", "icmp 169.254.1.1 > %s type 11 %s", addrOf(p.shown), out.Quote(576))
	c.Put("ext", "icmp 169.254.1.1 > 10.10.10.3 type 11 about [udp 10.10.10.3:1 > 198.51.100.7:2 len 20 ttl 1]")
	c.Quiet()
	p.back("%s", words)
}

// errorsFromDummy: routers without an IPv4 address report, too, and paths with a small MTU need it.
func errorsFromDummy(c *Case) {
	w := wayOf("snat")
	p, words, _ := c.open(w, "udp", 4000)
	out := p.there("%s df", words)
	c.Put("ext", "icmp 192.0.0.8 > %s type 3 code 4 mtu 1400 %s", addrOf(p.shown), out.Quote(576))
	c.Want("blue", "icmp 192.0.0.8 > %s type 3 code 4 mtu 1400 about [udp %s > %s df %s]",
		w.client, p.client, p.dest, words)
	c.Put("ext", "udp 192.0.0.8:4000 > 10.10.10.3:53")
	c.Quiet()
}

// specialPass: addresses with a special purpose that are forwarded all the same.
func specialPass(c *Case) {
	for _, a := range []string{"100.64.0.1", "192.0.0.1", "192.0.0.9", "192.0.0.10", "192.31.196.1", "192.52.193.1",
		"192.88.99.1", "192.175.48.1", "198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "169.253.255.255",
		"169.255.0.0", "192.0.1.0"} {
		c.Put("blue", "udp 172.16.101.4:4000 > %s:53 len 20", a)
		c.Want("ext", "udp 172.16.101.4:4000 > %s:53 len 20", a)
		c.Put("ext", "udp %s:53 > 172.16.101.4:4000 len 20", a)
		c.Want("blue", "udp %s:53 > 172.16.101.4:4000 len 20", a)
	}
}
