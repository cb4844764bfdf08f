package conform

import (
	"fmt"
	"slices"
	"time"
)

// updateChecks are the items of RFC 7857, RFC 6888 and RFC 6056, and what must stay as it is
// whatever happens.
func updateChecks() []Check {
	short := Profile{Short: true}
	fewPorts := Profile{PortRange: "2000-2063", HostShare: 1}
	toMapped := Profile{Filtering: "endpoint-independent"}
	small := Profile{MaxConnections: 200}
	unlent := Profile{MaxConnections: 200, More: "[router.nat]\nlend = false"}
	all := []Check{
		{Item: "C3", Name: "udp", Level: Should, Source: "RFC 7857, 7", Profile: short,
			play: func(c *Case) { refusedDoesNotRefresh(c, "udp", c.Timeouts.UDP) }},
		{Item: "C3", Name: "tcp", Level: Should, Source: "RFC 7857, 7", Profile: short,
			play: func(c *Case) { refusedDoesNotRefresh(c, "tcp", c.Timeouts.TCPEstablished) }},
		{Item: "C4", Name: "outbound error", Level: Should, Source: "RFC 7857, 8", Profile: short,
			play: errorDoesNotRefresh},
		{Item: "C4", Name: "outbound RST", Level: Should, Source: "RFC 7857, 8", Profile: short,
			play: resetDoesNotRefresh},
		{Item: "C5", Name: "identifiers", Level: Should, Source: "RFC 7857, 10; RFC 6056, 3.1",
			play: func(c *Case) { c.scattered("identifier", c.collidingEchoes()) }},
		{Item: "C7", Name: "lives with its queries", Level: May, Source: "RFC 7857, 12", Profile: short,
			play: queryMappingLives},
		{Item: "C7", Name: "ends with the last", Level: May, Source: "RFC 7857, 12", Profile: short,
			play: queryMappingEnds},
		{Item: "C10", Name: "connections", Level: Must, Source: "RFC 6888, REQ-4", Profile: unlent,
			play: shareOfConnections},
		{Item: "C10", Name: "what is lent", Level: Good, Source: "RFC 6888, REQ-4", Profile: small, play: lentOut},
		{Item: "C10", Name: "ports", Level: Must, Source: "RFC 6888, REQ-4", Profile: Profile{PortRange: "2000-2063"},
			play: shareOfPorts},
		{Item: "C10", Name: "ports towards a server", Level: Good, Source: "RFC 6888, REQ-4",
			Profile: Profile{PortRange: "2000-2063"}, play: shareOfServer},
		{Item: "C11", Name: "no translation for some", Level: Must, Source: "RFC 6888, REQ-6",
			Profile: Profile{More: "[router.nat]\nno_snat = [\"10.10.10.4/32\"]"}, play: someAsTheyAre},
		{Item: "C13", Name: "the former peer", Level: Should, Source: "RFC 6888, REQ-8 c)", Profile: short,
			play: formerPeer},
		{Item: "C13", Name: "its own again", Level: May, Source: "RFC 6888, REQ-8 a)",
			Profile: Profile{Filtering: toMapped.Filtering, Short: true}, play: ownPortAgain},
		{Item: "C13", Name: "rests", Level: Should, Source: "RFC 6888, REQ-8",
			Profile: Profile{Filtering: toMapped.Filtering, Short: true},
			play:    func(c *Case) { portRests(c, 0, true) }},
		{Item: "C13", Name: "for two minutes", Level: Should, Source: "RFC 6888, REQ-8", Profile: toMapped,
			play: func(c *Case) { portRests(c, 119*time.Second, true) }},
		{Item: "C13", Name: "ends", Level: Good, Source: "RFC 6888, REQ-8", Profile: toMapped,
			play: func(c *Case) { portRests(c, 121*time.Second, false) }},
		{Item: "C15", Name: "refused, and told", Level: Should, Source: "RFC 6888, REQ-11; RFC 5508, REQ-8",
			Profile: fewPorts, play: exhaustionIsTold},
		{Item: "C15", Name: "told in measure", Level: Should, Source: "RFC 6888, REQ-11", Profile: fewPorts,
			play: exhaustionIsToldInMeasure},
		{Item: "C15", Name: "others are served", Level: Should, Source: "RFC 6888, REQ-11", Profile: fewPorts,
			play: exhaustionIsNobodyElses},
	}
	for _, by := range carriers {
		check := func(item, name string, l Level, source string, p Profile, play func(*Case, carrier)) {
			all = append(all, Check{Item: item, Name: by.name + "/" + name, Level: l, Source: source, Profile: p,
				play: func(c *Case) { play(c, by) }})
		}
		check("U11", "collision", Must, "RFC 4787, REQ-11", Profile{}, afterCollision)
		check("U11", "full table", Must, "RFC 4787, REQ-11", Profile{MaxConnections: 100}, afterPressure)
		check("U11", "restart", Must, "RFC 4787, REQ-11", Profile{}, afterRestart)
		check("C1", "not while ports are free", Must, "RFC 4787, REQ-3; RFC 5382, REQ-7", fewPorts, noOverlapWhileFree)
		check("C1", "towards others", May, "RFC 7857, 3", fewPorts, overlapTowardsOthers)
		check("C2", "mappings", Should, "RFC 7857, 5", Profile{}, mappingOfOneProtocol)
		check("C2", "filtering", Should, "RFC 7857, 6", toMapped, filteringOfOneProtocol)
		check("C5", "ports", Should, "RFC 7857, 10; RFC 6056, 3.1", Profile{},
			func(c *Case, by carrier) { c.scattered("port", c.colliding(by)) })
		check("C5", "another start", Should, "RFC 7857, 10; RFC 6056, 3.1", Profile{}, otherPortsEachStart)
		check("C16", "ports hard to guess", Should, "RFC 6888, REQ-15", Profile{}, portsOfSeveral)
	}
	return all
}

// behavior tells, in the RFC's words, how an endpoint that is still unused is mapped, and which external hosts
// are let in to it.
func (c *Case) behavior(by carrier, from string) string {
	first := c.external(by, from, "10.10.10.4:53")
	port, addr := c.external(by, from, "10.10.10.4:54"), c.external(by, from, "10.10.10.5:53")
	mapping, filtering := 2, 2
	switch {
	case port == first && addr == first:
		mapping = 0
	case port == first:
		mapping = 1
	}
	to := networkOf(from)
	if c.letsIn(by, "10.10.10.4:99", first, to) {
		filtering = 1
	}
	if c.letsIn(by, "198.51.100.7:53", first, to) {
		filtering = 0
	}
	return fmt.Sprintf("mapping is %s, filtering %s", behaviors[mapping], behaviors[filtering])
}

// letsIn reports whether a stranger's packet to an external port gets in.
func (c *Case) letsIn(by carrier, peer string, port uint16, to string) bool {
	c.Drop()
	c.Put("ext", by.in, peer, fmt.Sprintf("10.10.10.2:%d", port))
	c.ask("ext")
	c.ask(to)
	in := c.get(to, false) != nil
	c.Drop()
	return in
}

// same fails unless endpoints behave alike.
func (c *Case) same(by carrier, when, before, from string) {
	if now := c.behavior(by, from); now != before {
		c.Fail("%s, and %s %s", before, when, now)
	}
}

func afterCollision(c *Case, by carrier) {
	before := c.behavior(by, "172.16.101.2:4000")
	c.same(by, "where the port is another's", before, "172.16.101.4:4000")
	c.same(by, "of a third", before, "172.16.100.20:4000")
}

// afterPressure: a table that has been full is as it was.
func afterPressure(c *Case, by carrier) {
	before := c.behavior(by, "172.16.101.2:4000")
	for i := range 400 {
		c.Put("blue", by.out, fmt.Sprintf("172.16.101.4:%d", 10000+i), "203.0.113.9:99")
	}
	c.Drop()
	c.same(by, "when the table is full", before, "172.16.101.2:4001")
}

func afterRestart(c *Case, by carrier) {
	before := c.behavior(by, "172.16.101.2:4000")
	c.restart()
	c.same(by, "after a restart", before, "172.16.101.2:4000")
}

// noOverlapWhileFree: as many endpoints as there are ports, each towards another destination.
func noOverlapWhileFree(c *Case, by carrier) {
	seen := map[uint16]string{}
	for i := range 64 {
		from := fmt.Sprintf("172.16.101.%d:%d", 2+i%2*2, 2000+i/2)
		got := c.external(by, from, fmt.Sprintf("198.51.100.%d:53", 1+i))
		if seen[got] != "" {
			c.Fail("with %d ports free, %s and %s both leave by %d", 64-i, seen[got], from, got)
		}
		seen[got] = from
	}
}

// overlapTowardsOthers: with every port in use, connections to other servers still work, and their
// answers reach the right host.
func overlapTowardsOthers(c *Case, by carrier) {
	for i := range 64 {
		c.external(by, fmt.Sprintf("172.16.101.4:%d", 2000+i), "10.10.10.4:53")
	}
	for i := range 20 {
		peer := fmt.Sprintf("198.51.100.%d:53", 1+i)
		port := c.external(by, fmt.Sprintf("172.16.101.2:%d", 4000+i), peer)
		c.Put("ext", answerOf(by, "%s > 10.10.10.2:%d"), peer, port)
		c.Want("blue", answerOf(by, "%s > 172.16.101.2:%d"), peer, 4000+i)
	}
	c.Quiet()
}

// other is the other of two protocols.
func (by carrier) other() carrier {
	if by.name == "udp" {
		return carriers[1]
	}
	return carriers[0]
}

// mappingOfOneProtocol: one number is two ports.
func mappingOfOneProtocol(c *Case, by carrier) {
	other := by.other()
	port := c.external(by, "172.16.101.4:4000", "10.10.10.4:53")
	c.Put("ext", other.in, "10.10.10.4:53", fmt.Sprintf("10.10.10.2:%d", port))
	c.None("blue")
	c.Drop()
	from := fmt.Sprintf("172.16.101.2:%d", port)
	also := c.external(other, from, "10.10.10.4:53")
	c.Put("ext", answerOf(other, "%s > 10.10.10.2:%d"), "10.10.10.4:53", also)
	c.Want("blue", answerOf(other, "%s > %s"), "10.10.10.4:53", from)
	c.Put("ext", answerOf(by, "%s > 10.10.10.2:%d"), "10.10.10.4:53", port)
	c.Want("blue", answerOf(by, "%s > 172.16.101.4:4000"), "10.10.10.4:53")
	c.Quiet()
}

// filteringOfOneProtocol: a mapping that lets every host in lets in packets of its own protocol only.
func filteringOfOneProtocol(c *Case, by carrier) {
	port := c.external(by, "172.16.101.4:4000", "10.10.10.4:53")
	if c.letsIn(by.other(), "198.51.100.7:53", port, "blue") || c.letsIn(by.other(), "10.10.10.4:53", port, "blue") {
		c.Fail("a mapping of %s lets %s in", by.name, by.other().name)
	}
	if !c.letsIn(by, "198.51.100.7:53", port, "blue") {
		c.Fail("the mapping lets nobody in")
	}
}

// refusedDoesNotRefresh: packets that the filter refuses do not keep a mapping alive.
func refusedDoesNotRefresh(c *Case, proto string, lives time.Duration) {
	p, _, in := c.open(wayOf("snat"), proto, 4000)
	for range 2 {
		c.Wait(lives * 6 / 10)
		c.Put("ext", "%s 198.51.100.7:53 > %s %s", proto, p.shown, in)
		c.None("blue")
	}
	p.reply(in)
	c.None("blue")
}

// errorDoesNotRefresh: the host has closed its port, and answers what still comes with errors.
func errorDoesNotRefresh(c *Case) {
	p, _, _ := c.open(wayOf("snat"), "udp", 4000)
	back := p.back("len 20")
	for range 2 {
		c.Wait(c.Timeouts.UDP * 6 / 10)
		c.Put("blue", "icmp 172.16.101.4 > 10.10.10.4 type 3 code 3 %s", back.Quote(28))
		c.Drop()
	}
	p.reply("len 20")
	c.None("blue")
}

// resetDoesNotRefresh: the same for TCP. The host answers a segment without data, because data might revive
// the connection.
func resetDoesNotRefresh(c *Case) {
	p := c.connect(wayOf("snat"), 4000)
	p.there("R seq 101")
	for range 2 {
		c.Wait(c.Timeouts.TCPTransitory * 6 / 10)
		p.reply(". seq 501 ack 101")
		p.send("R seq 101")
		c.Drop()
	}
	p.reply(". seq 501 ack 101")
	c.None("blue")
}

// colliding is the external ports of endpoints that cannot have their own, since another
// host has them.
func (c *Case) colliding(by carrier) (all []uint16) {
	for i := range 50 {
		c.external(by, fmt.Sprintf("172.16.101.2:%d", 5000+2*i), "10.10.10.4:53")
		all = append(all, c.external(by, fmt.Sprintf("172.16.101.4:%d", 5000+2*i), "10.10.10.4:53"))
	}
	return all
}

// collidingEchoes is the same of ICMP queries' identifiers.
func (c *Case) collidingEchoes() (all []uint16) {
	for i := range 50 {
		for _, host := range []string{"172.16.101.2", "172.16.101.4"} {
			c.Put("blue", "icmp %s > 10.10.10.4 request id %d seq 1", host, 5000+2*i)
			got := c.Want("ext", "icmp 10.10.10.2 > 10.10.10.4 request id * seq 1").EchoID
			if host == "172.16.101.4" {
				all = append(all, got)
			}
		}
	}
	return all
}

// scattered fails if fifty numbers of which each should be like drawn from a hat look as if
// one led to the next. Each of the bounds is more than six standard deviations off.
func (c *Case) scattered(what string, all []uint16) {
	steps, up := map[uint16]int{}, 0
	for i := 1; i < len(all); i++ {
		steps[all[i]-all[i-1]]++
		if all[i] > all[i-1] {
			up++
		}
	}
	n := len(all) - 1
	switch wide := slices.Max(all) - slices.Min(all); {
	case len(steps) < n*3/4:
		c.Fail("from one %s to the next there are %d different steps among %d: %d", what, len(steps), n, all)
	case up < n/5 || up > n*4/5:
		c.Fail("of %d %ss, %d are larger than the one before: %d", n, what, up, all)
	case wide < 8192:
		c.Fail("%ss are no more than %d apart: %d", what, wide, all)
	}
}

// otherPortsEachStart: the ports after one start do not tell the ports after the next.
func otherPortsEachStart(c *Case, by carrier) {
	before := c.colliding(by)
	c.restart()
	after, again := c.colliding(by), 0
	for i := range after {
		if before[i] == after[i] {
			again++
		}
	}
	if again > 5 {
		c.Fail("after a restart, %d of %d ports are the same", again, len(after))
	}
}

// portsOfSeveral: what one host has been given does not tell what the next one will be.
func portsOfSeveral(c *Case, by carrier) {
	var all []uint16
	for i := range 51 {
		for _, host := range []string{"172.16.101.2", "172.16.101.4", "172.16.100.20"} {
			if got := c.external(by, fmt.Sprintf("%s:%d", host, 6000+i), "10.10.10.4:53"); host != "172.16.101.2" {
				all = append(all, got)
			}
		}
	}
	c.scattered("port", all)
}

// queryMappingLives: each query has its own time, and the mapping that of the last.
func queryMappingLives(c *Case) {
	g := c.ping(wayOf("snat"), 77, "seq 1")
	c.Wait(c.Timeouts.ICMP * 6 / 10)
	c.Put("blue", "icmp 172.16.101.4 > 10.10.10.5 request id 77 seq 1")
	id := c.Want("ext", "icmp 10.10.10.2 > 10.10.10.5 request id * seq 1").EchoID
	c.Wait(c.Timeouts.ICMP * 6 / 10)
	c.Put("ext", "%s seq 1", g.back)
	c.None("blue")
	c.Put("ext", "icmp 10.10.10.5 > 10.10.10.2 reply id %d seq 1", id)
	c.Want("blue", "icmp 10.10.10.5 > 172.16.101.4 reply id 77 seq 1")
	c.Put("blue", "icmp 172.16.101.4 > 198.51.100.7 request id 77 seq 1")
	c.Want("ext", "icmp 10.10.10.2 > 198.51.100.7 request id %d seq 1", id)
}

// queryMappingEnds: then its identifier is the next one's.
func queryMappingEnds(c *Case) {
	own := func(host string) uint16 {
		c.Put(networkOf(host), "icmp %s > 10.10.10.4 request id 77 seq 1", host)
		return c.Want("ext", "icmp 10.10.10.2 > 10.10.10.4 request id * seq 1").EchoID
	}
	first := own("172.16.101.4")
	if own("172.16.101.2") == first {
		c.Fail("two hosts' queries both leave as %d", first)
	}
	c.Wait(c.Timeouts.ICMP * 3 / 2)
	if got := own("172.16.100.20"); got != first {
		c.Fail("nobody uses %d any more, and the next query leaves as %d", first, got)
	}
}

// shareOfConnections: answered ones, which nothing ends, until the host has no more.
func shareOfConnections(c *Case) {
	n := 0
	for ; n < 400 && c.answered("172.16.101.4", n); n++ {
	}
	if n < 20 || n > 180 {
		c.Fail("one host may have %d of 200 connections", n)
	}
	for i := range 20 {
		if !c.answered("172.16.101.2", i) {
			c.Fail("one host has %d connections, and another gets no more than %d of 200", n, i)
		}
	}
}

// lentOut: one host has all connections that there are, as nobody else needs any. Then others do, one after the other.
func lentOut(c *Case) {
	n := 0
	for ; n < 400 && c.answered("172.16.101.4", n); n++ {
	}
	if n != 200 {
		c.Fail("one host may have %d of 200 connections, and nobody else has any", n)
	}
	for i := range 80 {
		if host := []string{"172.16.101.2", "172.16.100.20"}[i/50]; !c.answered(host, i) {
			c.Fail("one host has all connections, and %s gets no more than %d", host, i)
		}
	}
	from, peer := "172.16.101.4:10199", "203.0.113.200:53" // the last one that the first host has begun
	c.Put("ext", "udp %s > 10.10.10.2:10199", peer)
	c.Want("blue", "udp %s > %s", peer, from)
}

// answered opens a UDP connection from a host's n-th port, and reports whether it could.
func (c *Case) answered(host string, n int) bool {
	from, peer := fmt.Sprintf("%s:%d", host, 10000+n), fmt.Sprintf("203.0.113.%d:53", 1+n%200)
	inside := networkOf(from)
	c.Put(inside, "udp %s > %s", from, peer)
	c.ask(inside)
	c.ask("ext")
	out := c.get("ext", false)
	if out == nil {
		c.Drop()
		return false
	}
	c.Put("ext", "udp %s > 10.10.10.2:%d", peer, out.SrcPort)
	c.Want(inside, "udp %s > %s", peer, from)
	return true
}

// shareOfPorts: one host asks for all ports of an address, and another still has one of its own.
func shareOfPorts(c *Case) {
	for _, by := range carriers {
		for i := range 300 {
			c.Put("blue", by.out, fmt.Sprintf("172.16.101.4:%d", 10000+i), "203.0.113.9:53")
		}
		c.Drop()
		for i := range 8 {
			from := fmt.Sprintf("172.16.101.2:%d", 4000+i)
			own := c.external(by, from, "203.0.113.7:53")
			if other := c.external(by, from, "203.0.113.8:53"); other != own {
				c.Fail("one host has used all ports, and %s leaves by %d and by %d, %s", from, own, other, by.name)
			}
			c.Put("ext", answerOf(by, "203.0.113.8:53 > 10.10.10.2:%d"), own)
			c.Want("blue", answerOf(by, "203.0.113.8:53 > %s"), from)
		}
	}
}

// shareOfServer: one host asks for all ports towards a server, and another is still served there.
func shareOfServer(c *Case) {
	for _, by := range carriers {
		for i := range 300 {
			c.Put("blue", by.out, fmt.Sprintf("172.16.101.4:%d", 10000+i), "203.0.113.9:53")
		}
		c.Drop()
		for i := range 6 {
			from := fmt.Sprintf("%s:%d", []string{"172.16.101.2", "172.16.100.20"}[i%2], 4000+i)
			port := c.external(by, from, "203.0.113.9:53")
			c.Put("ext", answerOf(by, "203.0.113.9:53 > 10.10.10.2:%d"), port)
			c.Want(networkOf(from), answerOf(by, "203.0.113.9:53 > %s"), from)
		}
	}
	c.Quiet()
}

// someAsTheyAre: one destination sees internal addresses, all others do not.
func someAsTheyAre(c *Case) {
	for i, kind := range packetKinds {
		c.Put("blue", kind.line, "172.16.101.4", "10.10.10.4")
		c.Want("ext", kind.line, "172.16.101.4", "10.10.10.4")
		if i > 2 {
			continue // it is not translated otherwise
		}
		c.Put("blue", kind.line, "172.16.101.4", "10.10.10.5")
		if p := c.Get("ext"); p == nil || p.Src != parseAddr("10.10.10.2") || p.Dst != parseAddr("10.10.10.5") {
			c.Fail("to another: %+v", p)
		}
	}
	c.Put("ext", "udp 10.10.10.4:5000 > 172.16.101.4:4000 len 20")
	c.Want("blue", "udp 10.10.10.4:5000 > 172.16.101.4:4000 len 20")
	c.Put("ext", "udp 10.10.10.4:5001 > 172.16.101.4:4001 len 20") // the internal host has not asked for it
	c.None("blue")
}

// formerPeer: a peer of the host that had a port is not let in to the next host with that port.
func formerPeer(c *Case) {
	for _, x := range []struct {
		by    carrier
		lives time.Duration
	}{{carriers[0], c.Timeouts.UDP}, {carriers[1], c.Timeouts.TCPTransitory}} {
		port := c.external(x.by, "172.16.101.4:4000", "10.10.10.4:53")
		c.Wait(x.lives * 3 / 2)
		next := c.external(x.by, fmt.Sprintf("172.16.101.2:%d", port), "10.10.10.5:53")
		c.Put("ext", x.by.in, "10.10.10.4:53", fmt.Sprintf("10.10.10.2:%d", port))
		c.None("blue")
		c.Drop() // he may be told
		c.Put("ext", answerOf(x.by, "10.10.10.5:53 > 10.10.10.2:%d"), next)
		c.Want("blue", answerOf(x.by, "10.10.10.5:53 > 172.16.101.2:%d"), port)
	}
}

func ownPortAgain(c *Case) {
	port := c.external(carriers[0], "172.16.101.4:4000", "10.10.10.4:53")
	c.Wait(c.Timeouts.UDP * 3 / 2)
	if again := c.external(carriers[0], "172.16.101.4:4000", "10.10.10.4:53"); again != port {
		c.Fail("it had port %d, and has %d now", port, again)
	}
}

// portRests: some time after the mapping has ended, does the next host get its port?
func portRests(c *Case, d time.Duration, rests bool) {
	port := c.external(carriers[0], "172.16.101.4:4000", "10.10.10.4:53")
	c.Wait(c.Timeouts.UDP + 500*time.Millisecond)
	c.Wait(d)
	next := c.external(carriers[0], fmt.Sprintf("172.16.101.2:%d", port), "10.10.10.5:53")
	if (next != port) != rests {
		c.Fail("%v after its end, port %d is given out again: %t", d, port, next == port)
	}
}

// exhaust uses up the ports towards a server.
func (c *Case) exhaust() {
	for i := range 64 {
		c.Put("blue", "udp 172.16.101.4:%d > 10.10.10.4:53", 2000+i)
		c.Want("ext", "udp 10.10.10.2:* > 10.10.10.4:53")
	}
}

func exhaustionIsTold(c *Case) {
	c.exhaust()
	for i, line := range []string{"udp 172.16.101.4:4900 > 10.10.10.4:53", "udp 172.16.101.2:4900 > 10.10.10.4:53"} {
		c.Put("blue", "%s", line)
		c.Want("blue", "icmp 172.16.101.1 > 172.16.101.%d type 3 code 13 about [%s]", 4-2*i, line)
	}
	c.Quiet()
}

func exhaustionIsToldInMeasure(c *Case) {
	c.exhaust()
	const flood = 400
	for i := range flood {
		c.Put("blue", "udp 172.16.101.4:%d > 10.10.10.4:53", 10000+i)
	}
	n := 0
	for c.ask("blue"); c.get("blue", n == 0) != nil; n++ {
	}
	if n == 0 || n > flood/2 {
		c.Fail("%d errors about %d packets", n, flood)
	}
	c.None("ext")
}

// exhaustionIsNobodyElses: what needs no port towards that server, or has one, goes on.
func exhaustionIsNobodyElses(c *Case) {
	open := c.connect(wayOf("snat"), 4000)
	c.exhaust()
	for i := range 100 {
		c.Put("blue", "udp 172.16.101.4:%d > 10.10.10.4:53", 10000+i)
	}
	c.Drop()
	open.there("P. seq 101 ack 501 len 20")
	open.back("P. seq 501 ack 121 len 20")
	c.Put("blue", "udp 172.16.101.4:2000 > 10.10.10.4:53 len 9")
	c.Want("ext", "udp 10.10.10.2:* > 10.10.10.4:53 len 9")
	for _, name := range []string{"plain", "out of a floating ip", "into a floating ip", "vip",
		"vip through a floating ip"} {
		p := c.first(wayOf(name), "udp", 4100, "len 20")
		p.back("len 20")
	}
	c.connect(wayOf("snat"), 4200)
	c.external(carriers[0], "172.16.101.2:4300", "10.10.10.5:53")
	c.Quiet()
}
