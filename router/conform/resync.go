package conform

// resyncChecks are about TCP connections that one side, both sides or the router have forgotten.
func resyncChecks() []Check {
	const forgotten = "RFC 9293, 3.5.1; RFC 6146, 3.5.2.2"
	all := eachWay(Check{Item: "T15", Name: "both ends begin anew", Level: Must, Source: forgotten}, bothForgot)
	all = append(all, eachWay(Check{Item: "T15", Name: "the other end refuses", Level: Must, Source: "RFC 9293, 3.5.2"},
		refusedAnew)...)
	all = append(all, eachWay(Check{Item: "T15", Name: "a SYN proves nothing", Level: Good, Source: "RFC 5961, 4"},
		synProvesNothing)...)
	return append(all,
		Check{Item: "T15", Name: "half closed", Level: Must, Source: forgotten, play: halfClosedAnew},
		Check{Item: "T16", Name: "by a keepalive", Level: Good, Source: "RFC 1122, 4.2.3.6", play: pickedUpByKeepalive},
		Check{Item: "T16", Name: "by a retransmission", Level: Good, Source: "RFC 9293, 3.8.1",
			play: pickedUpByOldData},
		Check{Item: "T17", Name: "through SNAT", Level: Good, Source: "RFC 9293, 3.10.7.1", play: forgottenMapping},
		Check{Item: "T17", Name: "to a VIP", Level: Good, Source: "RFC 9293, 3.10.7.1", play: forgottenMember},
		Check{Item: "T17", Name: "silent outside", Level: Must, Source: "RFC 5382, REQ-4", play: forgottenOutside},
	)
}

// bothForgot: a client comes back by its port after both ends have lost power.
func bothForgot(c *Case, w *way) {
	p := c.connect(w, 4000)
	p.there("P. seq 101 ack 501 len 20")
	p.there("S seq 3000000000 win 60000 mss 1460")
	p.back("S. seq 1500000000 ack 3000000001 win 60000 mss 1460")
	p.there(". seq 3000000001 ack 1500000001 win 60000")
	p.there("P. seq 3000000001 ack 1500000001 win 60000 len 100")
	p.back("P. seq 1500000001 ack 3000000101 win 60000 len 100")
	c.Quiet()
}

// halfClosedAnew: the side that has finished before is the one that begins anew.
func halfClosedAnew(c *Case) {
	for i, name := range []string{"plain", "snat", "into a floating ip"} {
		p := c.connect(wayOf(name), 4000+i)
		p.there("F. seq 101 ack 501")
		p.back(". seq 501 ack 102")
		p.there("S seq 3000000000 win 60000")
		p.back("S. seq 1500000000 ack 3000000001 win 60000")
		p.there("P. seq 3000000001 ack 1500000001 len 100")
		p.back("P. seq 1500000001 ack 3000000101 len 100")
	}
	c.Quiet()
}

// refusedAnew: the server has closed its port, and the client hears it. Its next SYN begins a
// connection.
func refusedAnew(c *Case, w *way) {
	p := c.connect(w, 4000)
	p.there("S seq 3000000000 win 60000")
	p.back("R. seq 0 ack 3000000001")
	p = c.first(w, "tcp", 4000, "S seq 3100000000 win 60000")
	p.back("S. seq 1500000000 ack 3100000001 win 60000")
	p.there("P. seq 3100000001 ack 1500000001 len 100")
	c.Quiet()
}

// synProvesNothing: the SYN was a stranger's, in the client's name. The server asks back, and the
// connection goes on.
func synProvesNothing(c *Case, w *way) {
	p := c.connect(w, 4000)
	p.there("P. seq 101 ack 501 len 20")
	p.send("S seq 3000000000 win 60000")
	p.reply("S. seq 1500000000 ack 77 win 60000")
	c.Drop()
	p.there("P. seq 121 ack 501 len 20")
	p.back("P. seq 501 ack 141 len 30")
	c.Quiet()
}

// pickedUpByKeepalive: all that the router has ever seen of the connection is keepalives, one
// before the next sequence number, and their answers.
func pickedUpByKeepalive(c *Case) {
	for i, name := range []string{"plain", "out of a floating ip", "into a floating ip"} {
		p := c.first(wayOf(name), "tcp", 4000+i, ". seq 100 ack 501")
		for range 2 {
			p.back(". seq 501 ack 101")
			p.there(". seq 100 ack 501")
		}
		p.back("P. seq 501 ack 101 len 100")
		p.there("P. seq 101 ack 601 len 50")
		p.back(". seq 601 ack 151")
	}
	c.Quiet()
}

// pickedUpByOldData: the first segment has been acknowledged before, with all that came after it.
func pickedUpByOldData(c *Case) {
	for i, name := range []string{"plain", "out of a floating ip", "into a floating ip"} {
		p := c.first(wayOf(name), "tcp", 4000+i, "P. seq 101 ack 501 len 100")
		p.back(". seq 501 ack 20201")
		p.there("P. seq 20201 ack 501 len 100")
		p.back("P. seq 501 ack 20301 len 100")
	}
	c.Quiet()
}

// forgottenMapping: the router has lost the mapping, and its internal host need not find out by
// waiting. A RST is not answered.
func forgottenMapping(c *Case) {
	c.Put("blue", "tcp 172.16.101.4:4000 > 10.10.10.4:80 P. seq 101 ack 501 len 20")
	c.wantResets(reset{network: "blue", from: "10.10.10.4:80", to: "172.16.101.4:4000", seq: 501})
	c.Put("blue", "tcp 172.16.101.4:4000 > 10.10.10.4:80 R seq 101")
	c.Quiet()
}

func forgottenMember(c *Case) {
	c.Put("blue", "tcp 172.16.101.4:4000 > 172.16.100.11:80 F. seq 101 ack 501")
	c.wantResets(reset{network: "blue", from: "172.16.100.11:80", to: "172.16.101.4:4000", seq: 501})
	c.Quiet()
}

func forgottenOutside(c *Case) {
	c.Put("ext", "tcp 10.10.10.4:80 > 10.10.10.2:4000 P. seq 501 ack 101 len 20")
	c.Put("ext", "tcp 10.10.10.4:4000 > 10.10.10.7:80 P. seq 101 ack 501 len 20")
	c.Quiet()
}

// staleBeginsAnew: the client comes back by the port of a connection that its member, which may
// have no new ones, serves still. It gets another member, and keeps it; a late segment of the old
// connection goes where it belongs until then.
func staleBeginsAnew(c *Case) {
	for _, w := range clients[:2] {
		member, p := c.begin(w, "tcp", 4000)
		if member != web1 {
			member, p = c.begin(w, "tcp", 4001)
		}
		if member != web1 {
			c.Fail("%s has both", member)
		}
		p.back("S. seq 500 ack 101 win 60000")
		p.there(". seq 101 ack 501 win 60000")
		c.SetMember("web", "web1", false)
		anew := *p
		anew.real = web2 + ":80"
		for range 2 {
			anew.there("S seq 3000000000 win 60000")
		}
		anew.back("S. seq 1500000000 ack 3000000001 win 60000")
		p.there("P. seq 101 ack 501 len 20")
		p.back("P. seq 501 ack 121 len 30")
		anew.there(". seq 3000000001 ack 1500000001 win 60000")
		anew.there("P. seq 3000000001 ack 1500000001 len 100")
		anew.back("P. seq 1500000001 ack 3000000101 len 100")
		c.SetMember("web", "web1", true)
	}
	c.Quiet()
}
