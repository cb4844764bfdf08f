package conform

import (
	"fmt"
	"time"
)

// tcpChecks are the items of RFC 5382, and of what protects a connection from others (RFC 5961).
func tcpChecks() []Check {
	short := Profile{Short: true}
	all := behaviorChecks(carriers[1])
	all = append(all, eachWay(Check{Item: "T2", Name: "open, half close, close", Level: Must,
		Source: "RFC 5382, REQ-2"}, wholeConnection)...)
	all = append(all, eachWay(Check{Item: "T14", Name: "options and urgent data", Level: Good, Source: "RFC 9293, 3.2"},
		untouchedSegments)...)
	all = append(all, eachWay(Check{Item: "T12", Name: "off-path segments", Level: Good, Source: "RFC 5961, 3 and 5"},
		offPath)...)
	all = append(all, resyncChecks()...)
	return append(all,
		Check{Item: "T2", Name: "simultaneous open", Level: Must, Source: "RFC 5382, REQ-2", play: simultaneousOpen},
		Check{Item: "T2", Name: "SYN again", Level: Must, Source: "RFC 5382, REQ-2", play: synAgain},
		Check{Item: "T2", Name: "late segments", Level: Must, Source: "RFC 9293, 3.6.1", play: lateSegments},
		Check{Item: "T2", Name: "port used again", Level: Must, Source: "RFC 9293, 3.6.1; RFC 6191", play: portAgain},
		Check{Item: "T2", Name: "keepalive", Level: Must, Source: "RFC 1122, 4.2.3.6", play: keepalive},
		Check{Item: "T4", Name: "silence", Level: Must, Source: "RFC 5382, REQ-4",
			play: func(c *Case) { unsolicited(c, 0) }},
		Check{Item: "T4", Name: "for six seconds", Level: Must, Source: "RFC 5382, REQ-4",
			play: func(c *Case) { unsolicited(c, 6*time.Second) }},
		Check{Item: "T5", Name: "established 2 h 4 min", Level: Must, Source: "RFC 5382, REQ-5",
			play: func(c *Case) { idleFor(c, 2*time.Hour+4*time.Minute-time.Second, true, true) }},
		Check{Item: "T5", Name: "half open 4 min", Level: Must, Source: "RFC 5382, REQ-5",
			play: func(c *Case) { idleFor(c, 4*time.Minute-time.Second, false, true) }},
		Check{Item: "T5", Name: "established ends", Level: Good, Source: "RFC 5382, REQ-5", Profile: short,
			play: func(c *Case) { idleFor(c, c.Timeouts.TCPEstablished*3/2, true, false) }},
		Check{Item: "T5", Name: "half open ends", Level: Good, Source: "RFC 5382, REQ-5", Profile: short,
			play: func(c *Case) { idleFor(c, c.Timeouts.TCPTransitory*3/2, false, false) }},
		Check{Item: "T5", Name: "half closed is established", Level: Good, Source: "RFC 6146, 3.5.2.2", Profile: short,
			play: halfClosedLives},
		Check{Item: "T7", Name: "no sharing", Level: Must, Source: "RFC 5382, REQ-7", play: noSharingTCP},
		Check{Item: "T11", Name: "RST is translated", Level: Should, Source: "RFC 7857, 2.2", play: resetPasses},
		Check{Item: "T11", Name: "revived by data", Level: Should, Source: "RFC 7857, 2.2", Profile: short,
			play: revived},
		Check{Item: "T13", Name: "lowered both ways", Level: Good, Source: "RFC 4459, 3.2",
			Profile: Profile{MSSClamp: true}, play: clamped},
		Check{Item: "T13", Name: "off", Level: Good, Source: "RFC 9293, 3.7.1", play: unclamped},
	)
}

// wholeConnection plays one from the SYN to the last ACK, half closed for a while.
func wholeConnection(c *Case, w *way) {
	p := c.connect(w, 4000)
	p.there("P. seq 101 ack 501 len 20")
	p.back("P. seq 501 ack 121 len 30")
	p.there("F. seq 121 ack 531")
	p.back(". seq 531 ack 122")
	for i := range 3 { // the server is not finished
		p.back("P. seq %d ack 122 len 100", 531+100*i)
		p.there(". seq 122 ack %d", 631+100*i)
	}
	p.back("F. seq 831 ack 122")
	p.there(". seq 122 ack 832")
	p.back("F. seq 831 ack 122") // the ACK was lost
	p.there(". seq 122 ack 832")
	c.Quiet()
}

// untouchedSegments: window scale, SACK, timestamps, Fast Open, MPTCP and the urgent
// pointer are the endpoints' business.
func untouchedSegments(c *Case, w *way) {
	const syn = "S seq 100 win 60000 opts 020405b40402080a000000010000000001030307220401021e0c00810000000000000000"
	p := c.first(w, "tcp", 4000, syn)
	p.back("S. seq 500 ack 101 win 60000 opts 020405b40402080a000000020000000101030307")
	p.there(". seq 101 ack 501 opts 0101080a0000000300000002")
	p.there("P. seq 101 ack 501 len 20")
	p.back("P. seq 501 ack 101 len 10 opts 0101050a0000006f00000079")
	p.there("PU. seq 121 ack 511 len 10 opts 0101080a0000000300000002")
	c.Quiet()
}

// offPath: an attacker that knows addresses and ports, but has not seen the connection's packets, can neither send
// into it nor end it.
func offPath(c *Case, w *way) {
	p := c.connect(w, 4000)
	p.there("P. seq 101 ack 501 len 20")
	for _, words := range []string{"R seq 77000000", "R. seq 77000000 ack 121", "P. seq 77000000 ack 121 len 9",
		"P. seq 501 ack 88000000 len 9", "F. seq 77000000 ack 121"} {
		p.reply(words)
	}
	for _, words := range []string{"R seq 99000000", "F. seq 99000000 ack 501", "P. seq 121 ack 77000000 len 9"} {
		p.send(words)
	}
	c.Drop() // a challenge for the sender may come
	p.back("P. seq 501 ack 121 len 30")
	p.there(". seq 121 ack 531")
	p.reply("R seq 88000000")
	p.reply("P. seq 88000000 ack 121 len 9")
	c.Quiet() // above all no RST: with one, a forged segment would end the connection after all
}

func simultaneousOpen(c *Case) {
	for _, name := range []string{"snat", "out of a floating ip"} {
		p := c.first(wayOf(name), "tcp", 4000, "S seq 100 win 60000")
		p.back("S seq 500 win 60000")
		p.there("S. seq 100 ack 501 win 60000")
		p.back("S. seq 500 ack 101 win 60000")
		p.there("P. seq 101 ack 501 len 9")
		p.back("P. seq 501 ack 110 len 9")
	}
	c.Quiet()
}

func synAgain(c *Case) {
	p := c.first(wayOf("snat"), "tcp", 4000, "S seq 100")
	p.there("S seq 100")
	p.there("S seq 100")
	p.back("S. seq 500 ack 101")
	p.back("S. seq 500 ack 101")
	p.there(". seq 101 ack 501")
	p.back("S. seq 500 ack 101") // the ACK was lost
	p.there(". seq 101 ack 501")
	c.Quiet()
}

func lateSegments(c *Case) {
	p := c.connect(wayOf("snat"), 4000)
	p.there("P. seq 101 ack 501 len 20")
	p.there("F. seq 121 ack 501")
	p.back("F. seq 501 ack 122")
	p.there(". seq 122 ack 502")
	p.there("P. seq 101 ack 501 len 20") // come late
	p.back(". seq 502 ack 122")
	c.Quiet()
}

func portAgain(c *Case) {
	for _, w := range []string{"snat", "into a floating ip", "vip"} {
		p := c.connect(wayOf(w), 4000)
		p.there("F. seq 101 ack 501")
		p.back("F. seq 501 ack 102")
		p.there(". seq 102 ack 502")
		for _, seq := range []uint32{70000, 3000000000} {
			p := c.first(wayOf(w), "tcp", 4000, fmt.Sprintf("S seq %d", seq))
			p.back("S. seq 900 ack %d", seq+1)
			p.there("P. seq %d ack 901 len 9", seq+1)
			p.there("F. seq %d ack 901", seq+10)
			p.back("F. seq 901 ack %d", seq+11)
			p.there(". seq %d ack 902", seq+11)
		}
	}
	c.Quiet()
}

// keepalive: a byte that has been acknowledged long ago, or none, is how TCP asks whether
// the other side is there.
func keepalive(c *Case) {
	p := c.connect(wayOf("snat"), 4000)
	p.there("P. seq 101 ack 501 len 20")
	p.back(". seq 501 ack 121")
	p.there(". seq 120 ack 501")
	p.back(". seq 501 ack 121")
	p.there(". seq 120 ack 501 len 1")
	p.back(". seq 500 ack 121")
	p.there(". seq 121 ack 501")
	c.Quiet()
}

// unsolicited: a SYN from outside that no internal host has asked for may be the other half of a
// simultaneous open. An answer would spoil that.
func unsolicited(c *Case, wait time.Duration) {
	port := c.external(carriers[1], "172.16.101.4:4000", "10.10.10.4:80 S seq 100")
	c.Put("ext", "tcp 10.10.10.5:90 > 10.10.10.2:%d S seq 500", port)
	c.Put("ext", "tcp 10.10.10.5:90 > 10.10.10.2:%d S seq 500", port+100)
	c.Quiet()
	if wait > 0 {
		c.Wait(wait)
		c.Quiet()
	}
}

// idleFor: is the connection still there?
func idleFor(c *Case, d time.Duration, open, lives bool) {
	w := wayOf("snat")
	p := c.first(w, "tcp", 4000, "S seq 100")
	words := "S. seq 500 ack 101"
	if open {
		p.back("%s", words)
		p.there(". seq 101 ack 501")
		words = "P. seq 501 ack 101 len 9"
	}
	c.Wait(d)
	if lives {
		p.back("%s", words)
		return
	}
	p.reply(words)
	c.None("blue")
}

// halfClosedLives: a FIN from one side leaves the other free to be silent as long as in
// any connection.
func halfClosedLives(c *Case) {
	for i, end := range []func(*path){
		func(p *path) { p.there("F. seq 101 ack 501"); p.back(". seq 501 ack 102") },
		func(p *path) { p.back("F. seq 501 ack 101"); p.there(". seq 101 ack 502") },
	} {
		p := c.connect(wayOf("snat"), 4000+i)
		end(p)
		c.Wait((c.Timeouts.TCPTransitory + c.Timeouts.TCPEstablished) / 2)
		if i == 0 {
			p.back("P. seq 501 ack 102 len 9")
		} else {
			p.back(". seq 502 ack 101")
		}
	}
}

func noSharingTCP(c *Case) {
	seen := map[uint16]string{}
	for _, host := range []string{"172.16.101.2", "172.16.101.4"} {
		for port := 4000; port < 4100; port++ {
			from := fmt.Sprintf("%s:%d", host, port)
			got := c.external(carriers[1], from, "10.10.10.4:80")
			if other, taken := seen[got]; taken {
				c.Fail("%s and %s both leave by port %d", other, from, got)
			}
			seen[got] = from
		}
	}
}

func resetPasses(c *Case) {
	for i, w := range []string{"snat", "into a floating ip", "vip through a floating ip"} {
		p := c.connect(wayOf(w), 4000+i)
		p.back("R. seq 501 ack 101")
		p = c.connect(wayOf(w), 5000+i)
		p.there("R seq 101")
	}
	c.Quiet()
}

// revived: a RST may be a forgery. If the two sides go on talking, their connection lives on, with the timeout of an
// established one.
func revived(c *Case) {
	p := c.connect(wayOf("snat"), 4000)
	p.back("R. seq 501 ack 101")
	p.there("P. seq 101 ack 501 len 9")
	p.back("P. seq 501 ack 110 len 9")
	c.Wait((c.Timeouts.TCPTransitory + c.Timeouts.TCPEstablished) / 2)
	p.back("P. seq 510 ack 110 len 9")
}

// clamped: from blue to small at most 960 bytes of payload fit, and each side is told.
func clamped(c *Case) {
	for i, x := range []struct{ syn, want string }{
		{"mss 1460", "mss 960"}, {"mss 961", "mss 960"}, {"mss 960", "mss 960"}, {"mss 500", "mss 500"},
		{"opts 01010101", "opts 01010101"},
	} {
		c.Put("blue", "tcp 172.16.101.4:%d > 172.16.102.6:80 S seq 100 %s", 4000+i, x.syn)
		c.Want("small", "tcp 172.16.101.4:%d > 172.16.102.6:80 S seq 100 %s", 4000+i, x.want)
		c.Put("small", "tcp 172.16.102.6:80 > 172.16.101.4:%d S. seq 500 ack 101 %s", 4000+i, x.syn)
		c.Want("blue", "tcp 172.16.102.6:80 > 172.16.101.4:%d S. seq 500 ack 101 %s", 4000+i, x.want)
		c.Put("blue", "tcp 172.16.101.4:%d > 172.16.102.6:80 . seq 101 ack 501", 4000+i)
		c.Want("small", "tcp 172.16.101.4:%d > 172.16.102.6:80 . seq 101 ack 501", 4000+i)
	}
	p := c.first(wayOf("snat"), "tcp", 4900, "S seq 100 mss 1460") // nothing is smaller there
	p.back("S. seq 500 ack 101 mss 1460")
	c.Quiet()
}

func unclamped(c *Case) {
	c.Put("blue", "tcp 172.16.101.4:4000 > 172.16.102.6:80 S seq 100 mss 1460")
	c.Want("small", "tcp 172.16.101.4:4000 > 172.16.102.6:80 S seq 100 mss 1460")
}
