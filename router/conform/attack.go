package conform

import (
	"fmt"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// floodLen is how many frames an attack has, in bursts: as many as the queues of a real
// interface take, so that none is lost but by the router's choice.
const (
	floodLen = 1000
	burst    = 50
	few      = 256 // connections, of a table that a flood would fill several times
)

// attackChecks: a host that takes more than its share must not harm others.
// Each attack is played against a table that it cannot fill, and against one that is small.
func attackChecks() []Check {
	var all []Check
	add := func(item, name, source string, p Profile, play func(*Case)) {
		all = append(all, Check{Item: item, Name: name, Level: Good, Source: source, Profile: p, play: play})
	}
	for _, a := range floods {
		play := func(c *Case) { underFlood(c, a.frame) }
		add(a.item, a.name, a.source, Profile{Short: true}, play)
		add(a.item, a.name+"/small table", a.source, Profile{Short: true, MaxConnections: few}, play)
		if a.ports {
			add(a.item, a.name+"/few ports", a.source, Profile{Short: true, PortRange: "2000-2127"}, play)
		}
	}
	add("K5", "one host, then another", "RFC 6888, REQ-4", Profile{Short: true, MaxConnections: few}, tableFull)
	add("K5", "what is refused", "RFC 6888, REQ-11", Profile{MaxConnections: few}, refusedAreTold)
	add("K6", "scan of absent hosts", "RFC 1812, 3.3.2", Profile{}, scanOfAbsent)
	add("K6", "ARP in made-up names", "RFC 826", Profile{}, arpFlood)
	add("K7", "claims from another network", "RFC 826", Profile{}, foreignClaims)
	add("K7", "claims for who is not known", "RFC 5227, 3", Profile{}, claimsForUnknown)
	add("K7", "a victim speaks", "RFC 826", Profile{}, victimSpeaks)
	add("K8", "errors about open connections", "RFC 5927, 4.1; RFC 5508, REQ-4", Profile{}, errorStorm)
	add("K8", "what calls for errors", "RFC 1812, 4.3.2.8", Profile{}, callsForErrors)
	add("K9", "pings to the router", "RFC 1812, 4.3.3.6", Profile{}, pingFlood)
	add("K10", "identifiers of packets", "RFC 7739, 5.3; RFC 6864, 5.3.1", Profile{}, packetIdentifiers)
	add("R5", "rate in all", "RFC 1812, 4.3.2.8", plainRouter, errorRateInAll)
	return all
}

// floods make connections, or try to. The frames come from the attacker's network and are
// numbered; ports: they use up external ports.
var floods = []struct {
	item, name, source string
	ports              bool
	frame              func(c *Case, i int)
}{
	{"K1", "SYN from one host", "RFC 4987, 3", true, func(c *Case, i int) {
		c.Put("blue", "tcp 172.16.101.4:%d > %s:80 S seq 7", 1024+i, farHost(i))
	}},
	{"K1", "SYN to one server", "RFC 4987, 3", true, func(c *Case, i int) {
		c.Put("blue", "tcp 172.16.101.4:%d > 198.51.100.9:80 S seq 7", 1024+i)
	}},
	{"K1", "SYN and RST", "RFC 4987, 3", true, func(c *Case, i int) {
		c.Put("blue", "tcp 172.16.101.4:%d > %s:80 %s seq 7", 1024+i/2, farHost(i/2), []string{"S", "R"}[i%2])
	}},
	{"K1", "SYN in made-up names", "RFC 4987, 3", true, func(c *Case, i int) {
		c.Put("blue", "tcp 192.168.10.%d:%d > %s:80 S seq 7", 1+i%250, 1024+i, farHost(i))
	}},
	{"K2", "SYN to a floating ip", "RFC 4987, 3", false, func(c *Case, i int) {
		c.Put("ext", "tcp %s:%d > 10.10.10.3:23 S seq 7", farHost(i), 1024+i)
	}},
	{"K2", "SYN to a vip", "RFC 4987, 3", false, func(c *Case, i int) {
		c.Put("ext", "tcp %s:%d > 10.10.10.7:80 S seq 7", farHost(i), 1024+i)
	}},
	{"K2", "SYN to a forwarded port", "RFC 4987, 3", false, func(c *Case, i int) {
		c.Put("ext", "tcp %s:%d > 10.10.10.8:2222 S seq 7", farHost(i), 1024+i)
	}},
	{"K2", "SYN to what SNAT uses", "RFC 5382, REQ-4", false, func(c *Case, i int) {
		c.Put("ext", "tcp %s:80 > 10.10.10.2:%d S seq 7", farHost(i), 1024+i)
	}},
	{"K3", "UDP from one host", "RFC 6888, REQ-4", true, func(c *Case, i int) {
		c.Put("blue", "udp 172.16.101.4:%d > %s:53", 1024+i, farHost(i))
	}},
	{"K3", "pings from one host", "RFC 6888, REQ-4", false, func(c *Case, i int) {
		c.Put("blue", "icmp 172.16.101.4 > %s request id %d seq 1", farHost(i), i)
	}},
	{"K4", "UDP to a floating ip", "RFC 6888, REQ-4", false, func(c *Case, i int) {
		c.Put("ext", "udp %s:%d > 10.10.10.3:53", farHost(i), 1024+i)
	}},
	{"K4", "UDP to a vip", "RFC 6888, REQ-4", false, func(c *Case, i int) {
		c.Put("ext", "udp %s:%d > 10.10.10.7:53", farHost(i), 1024+i)
	}},
	{"K4", "UDP to what SNAT uses", "RFC 4787, REQ-8", false, func(c *Case, i int) {
		c.Put("ext", "udp %s:53 > 10.10.10.2:%d", farHost(i), 1024+i)
	}},
}

// farHost is the i-th host of the wide world.
func farHost(i int) string { return fmt.Sprintf("198.51.%d.%d", 100+i/250%8, 1+i%250) }

// tenants have nothing to do with an attack: on the attacker's network and on others, on
// either side, through every kind of translation.
var tenants = []way{
	{"the attacker's neighbor", "blue", "ext", "172.16.101.2", "203.0.113.9", 80, 53, []string{"203.0.113.9"}, 80, 53,
		"10.10.10.2", true, true},
	{"behind snat", "green", "ext", "172.16.100.20", "203.0.113.9", 80, 53, []string{"203.0.113.9"}, 80, 53,
		"10.10.10.2", true, true},
	{"into a floating ip", "ext", "blue", "203.0.113.10", "10.10.10.15", 80, 53, []string{"172.16.101.5"}, 80, 53,
		"203.0.113.10", false, true},
	{"into the vip", "small", "green", "172.16.102.6", "172.16.100.11", 80, 53,
		[]string{"172.16.100.9", "172.16.100.10"}, 80, 53, "172.16.102.6", false, false},
	{"plain", "small", "green", "172.16.102.6", "172.16.100.20", 8080, 53, []string{"172.16.100.20"}, 8080, 53,
		"172.16.102.6", false, true},
}

// bystanders are the tenants, each with a connection that was open before.
type bystanders struct {
	c    *Case
	open []*path
	seq  uint32 // that each has sent, and received
	port int    // of the next connection
}

func (c *Case) bystanders() *bystanders {
	b := &bystanders{c: c, port: 30000}
	for i := range tenants {
		b.open = append(b.open, c.connect(&tenants[i], 4000))
	}
	return b
}

// goOn: open connections lose nothing, and a new connection opens at the first SYN.
func (b *bystanders) goOn() {
	c := b.c
	for i, p := range b.open {
		c.skipOthers = true
		p.there("P. seq %d ack %d len 10", 101+b.seq, 501+b.seq)
		p.back("P. seq %d ack %d len 10", 501+b.seq, 111+b.seq)
		fresh := c.connect(&tenants[i], b.port)
		fresh.back("R. seq 501 ack 101")
		c.skipOthers = false
	}
	b.seq += 10
	b.port++
}

// during sends the frames of an attack, with the tenants at work in the middle of bursts. It fails if a
// tenant notices the attack. After each burst, seeTo judges or drops the frames that have come out.
func (b *bystanders) during(frame func(i int), seeTo func()) {
	for i := range floodLen {
		frame(i)
		switch i % burst {
		case burst / 2:
			if i/burst%4 == 0 {
				b.goOn()
			}
		case burst - 1:
			seeTo()
		}
	}
	b.goOn()
	b.c.Drop()
}

// underFlood has the attacker himself be served again, too, when it is over.
func underFlood(c *Case, frame func(c *Case, i int)) {
	b := c.bystanders()
	b.during(func(i int) { frame(c, i) }, c.Drop)
	c.Wait(max(c.Timeouts.UDP, c.Timeouts.ICMP, c.Timeouts.TCPTransitory) + time.Second)
	c.Drop()
	for i := range 50 { // as many as a small table has room for, and one host's share
		p := c.first(wayOf("snat"), "udp", 50000+i, "len 20")
		p.back("len 20")
	}
	b.goOn()
	c.Quiet()
}

// tableFull: host after host opens connections that are answered. Such connections do not make room, as half-open ones
// of a flood do. The connections of each host leave room for the next host.
func tableFull(c *Case) {
	b := c.bystanders()
	for host, addr := range []string{"172.16.101.4", "192.168.10.7", "172.16.100.9"} {
		n := 0
		for ; n < 2*few && c.answered(addr, n); n++ {
			if n%40 == 0 {
				b.goOn()
				c.Drop()
			}
		}
		if n < 4 || n == 2*few {
			c.Fail("host %d gets %d of %d connections", host+1, n, few)
		}
		b.goOn()
		c.Drop()
	}
	c.Wait(c.Timeouts.UDP + time.Second)
	for i := range few / 4 {
		if !c.answered("172.16.101.4", i) {
			c.Fail("when all of them are over, %d connections fit", i)
		}
	}
	b.goOn()
	c.Quiet()
}

// refusedAreTold: a host that has its share of a table is told why it gets no more.
func refusedAreTold(c *Case) {
	n := 0
	for ; n < few && c.answered("172.16.101.4", n); n++ {
	}
	c.Put("blue", "udp 172.16.101.4:4900 > 10.10.10.4:53")
	c.Want("blue", "icmp 172.16.101.1 > 172.16.101.4 type 3 code 13 about [udp 172.16.101.4:4900 > 10.10.10.4:53]")
	c.Quiet()
}

// scanOfAbsent: packets for absent hosts wait, packets for other hosts do not.
func scanOfAbsent(c *Case) {
	b := c.bystanders()
	b.during(func(i int) { c.Put("green", "udp 172.16.100.9:4000 > 172.16.101.%d:5000 len 900", 20+i%230) }, c.Drop)
	c.skipOthers = true // and a host that has not been talked to is found at once
	c.Put("green", "udp 172.16.100.9:4000 > 172.16.101.3:5000 len 9")
	c.Want("blue", "udp 172.16.100.9:4000 > 172.16.101.3:5000 len 9")
	b.goOn()
}

// arpFlood: a thousand names, from many MAC addresses, and questions to answer.
func arpFlood(c *Case) {
	b := c.bystanders()
	b.during(func(i int) {
		from := mac{2, 0, 7, 0, byte(i >> 8), byte(i)}
		switch i % 3 {
		case 0:
			c.Put("blue", "arp who-has 172.16.101.1 tell 172.16.101.%d from %v", 20+i%230, from)
		case 1:
			c.Put("blue", "arp reply 172.16.101.%d is-at %v for 172.16.101.1", 20+i%230, from)
		case 2:
			c.Put("blue", "arp who-has 172.16.101.1 tell 198.51.100.%d from %v", 1+i%250, from)
		}
	}, func() { c.judge(sound) })
	if at := c.reach("172.16.101.3"); at != c.hosts.macOf("blue", parseAddr("172.16.101.3")) {
		c.Fail("a host that has not been talked to is at %v", at)
	}
	b.goOn()
}

// claim has an attacker claim the address of a host, in every way that ARP has.
func (c *Case) claim(network, addr string) {
	for _, line := range []string{
		"arp who-has %[1]s tell %[1]s from %[2]v", "arp reply %[1]s is-at %[2]v for %[1]s",
		"arp reply %[1]s is-at %[2]v for " + askers[network][1],
		"arp who-has " + askers[network][1] + " tell %[1]s from %[2]v",
	} {
		eth := c.frame(network, fmt.Sprintf(line, addr, otherMAC))
		copy(eth[6:], otherMAC[:])
		c.PutRaw(network, eth)
	}
}

// foreignClaims: a host on one network cannot claim addresses of another network, or the router's.
func foreignClaims(c *Case) {
	b := c.bystanders()
	for range 20 {
		for _, network := range []string{"green", "small", "ext"} {
			for _, addr := range slices.Concat(population[network], ownAddresses[network], ownAddresses["blue"]) {
				c.claim("blue", addr)
			}
			c.Drop()
		}
		b.goOn()
	}
	for network, dst := range map[string]string{"green": "172.16.100.10", "small": "172.16.103.1",
		"ext": "10.10.10.5"} {
		c.Put("blue", "udp 172.16.101.3:4000 > %s:5000", dst)
		p := c.Get(network)
		if p == nil {
			c.Fail("nothing for %s came out to %s", dst, network)
		}
		c.toward(p, dst)
	}
	if again := c.ask("blue"); again != c.macs["blue"] {
		c.Fail("the router is at %v now", again)
	}
}

// claimsForUnknown: a claim for a host that the router has not asked for cannot be believed.
func claimsForUnknown(c *Case) {
	for range 50 {
		for _, line := range []string{"arp who-has %[1]s tell %[1]s from %[2]v",
			"arp reply %[1]s is-at %[2]v for %[1]s",
			"arp reply %[1]s is-at %[2]v for 172.16.101.1"} {
			for _, host := range []string{"172.16.101.3", "172.16.101.4", "172.16.101.5"} {
				c.Put("blue", line, host, otherMAC)
			}
		}
		c.Drop()
	}
	for _, host := range []string{"172.16.101.3", "172.16.101.4", "172.16.101.5"} {
		c.unknownStays(host)
	}
}

// victimSpeaks: in ARP the last message counts. So a host that has lost its address to another gets
// its packets again as soon as it sends ARP itself.
func victimSpeaks(c *Case) {
	const host = "172.16.101.4"
	c.reach(host)
	for range 3 {
		c.Wait(1200 * time.Millisecond) // Linux lets a neighbor change its MAC address once a second at most
		c.claim("blue", host)
		c.Wait(1200 * time.Millisecond)
		c.Put("blue", "arp who-has 172.16.101.1 tell %s", host)
		if got, want := c.reach(host), c.hosts.macOf("blue", parseAddr(host)); got != want {
			c.Fail("%s has spoken at %v, packets go to %v", host, want, got)
		}
	}
}

// errorStorm: an attacker may know that two hosts talk. It must not be able to stop them, nor fill
// a host's link with errors about packets that the host has never sent.
func errorStorm(c *Case) {
	b := c.bystanders()
	p := b.open[0]
	b.during(func(i int) {
		c.Put("ext", "icmp %s > 10.10.10.2 %s about [tcp %s > %s . seq %d ack 501 len 20 cut 40]",
			farHost(i), icmpErrors()[i%20], p.shown, p.real, 77000000+i*1000)
	}, func() {
		if got := c.passedOn("blue", packet.ProtoICMP); got > 0 {
			c.Fail("%d errors about segments that were never sent reach the host", got)
		}
	})
}

// passedOn counts the packets of a protocol that have come out to a network by now, and
// forgets all that has come out anywhere.
func (c *Case) passedOn(network string, proto uint8) (n int) {
	for _, from := range networks {
		c.ask(from)
	}
	for p := c.get(network, false); p != nil; p = c.get(network, false) {
		if p.Proto == proto {
			n++
		}
	}
	c.Drop()
	return n
}

// callsForErrors: packets that one has to hear about, in a thousand names. Tenants go on,
// and a moment later hear what they have to.
func callsForErrors(c *Case) {
	b := c.bystanders()
	b.during(func(i int) { c.Put("blue", "udp 192.168.10.%d:%d > 198.51.100.7:5000 ttl 1", 1+i%250, 1024+i) }, c.Drop)
	c.Wait(1200 * time.Millisecond)
	c.Put("green", "udp 172.16.100.9:4000 > 198.51.100.7:5000 ttl 1")
	c.Want("green", "icmp 172.16.100.1 > 172.16.100.9 type 11")
}

// pingFlood: pings come as fast as they can. The router does not answer all of them, since the answers go to the
// address that the pings name as their sender. Pings of other hosts are answered during the flood.
func pingFlood(c *Case) {
	b := c.bystanders()
	pings := make([][]byte, 4*floodLen)
	for i := range pings {
		pings[i] = c.frame("blue", fmt.Sprintf("icmp 172.16.101.4 > 172.16.101.1 request id 5 seq %d", i))
	}
	began := time.Now()
	answers := 0
	for i, eth := range pings {
		c.PutRaw("blue", eth)
		if i%(5*burst) == 5*burst-1 { // fast, but no more than a queue takes
			answers += c.echoesOf("blue", "172.16.101.4")
		}
	}
	took := time.Since(began)
	c.Put("green", "icmp 172.16.100.9 > 172.16.100.1 request id 6 seq 1")
	c.Want("green", "icmp 172.16.100.1 > 172.16.100.9 reply id 6 seq 1")
	b.goOn()
	c.Drop()
	switch {
	case answers == 0:
		c.Fail("no ping is answered")
	case answers > len(pings)*9/10 && took > 250*time.Millisecond:
		c.Skip("%d pings in %v are too few to be too many", len(pings), took.Round(time.Millisecond))
	case answers > len(pings)*9/10: // of the others, an interface under load may have lost some
		c.Fail("of %d pings in %v, %d are answered", len(pings), took.Round(time.Millisecond), answers)
	}
}

// echoesOf counts the echo replies to a host that have come out by now.
func (c *Case) echoesOf(network, host string) (n int) {
	c.ask(network)
	for p := c.get(network, false); p != nil; p = c.get(network, false) {
		if p.Type == packet.ICMPEchoReply && p.Dst == parseAddr(host) {
			n++
		}
	}
	return n
}

// packetIdentifiers: a receiver cannot guess from the identifiers of its packets which identifiers other receivers
// get. If it could, it could send them false fragments. A router that passes on the sender's identifiers has
// none of its own to guess.
func packetIdentifiers(c *Case) {
	var through, own []uint16
	for i := range 51 {
		to := fmt.Sprintf("203.0.113.%d", 1+i)
		c.Put("blue", "udp 172.16.101.4:4000 > %s:53 id 4711 len 20", to)
		if id := c.Want("ext", "udp 10.10.10.2:* > %s:53", to).IPID; id != 4711 {
			through = append(through, id)
		}
		c.Put("ext", "icmp %s > 10.10.10.2 request id 5 seq 1 ipid 4711", to)
		if id := c.Want("ext", "icmp 10.10.10.2 > %s reply id 5 seq 1", to).IPID; id != 0 && id != 4711 {
			own = append(own, id)
		}
	}
	if len(through) > 25 {
		c.scattered("identifier", through)
	}
	if len(own) > 25 {
		c.scattered("identifier", own)
	}
}

// errorRateInAll: a thousand senders do not get a thousand errors.
func errorRateInAll(c *Case) {
	began := time.Now()
	for i := range floodLen {
		c.Put("blue", "udp 192.168.%d.%d:4000 > 198.51.100.7:5000 ttl 1", []int{10, 20, 22, 23}[i/250%4], 1+i%250)
	}
	c.ask("blue")
	took, n := time.Since(began), 0
	for ; c.get("blue", n == 0) != nil; n++ {
	}
	switch {
	case n == 0:
		c.Fail("no errors at all")
	case n > floodLen/2 && took > 500*time.Millisecond:
		c.Skip("%d packets in %v are too few to be too many", floodLen, took.Round(time.Millisecond))
	case n > floodLen/2:
		c.Fail("%d errors about %d packets of a thousand senders", n, floodLen)
	}
}
