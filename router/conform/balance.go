package conform

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// balanceChecks are about VIPs, as far as that is NAT and frames. No RFC is about load
// balancers; OpenStack's (Octavia) is what they are measured by.
func balanceChecks() []Check {
	const (
		octavia = "Octavia, load balancers"
		robin   = "Octavia, ROUND_ROBIN"
		down    = "Octavia, admin_state_up of a member"
	)
	all := []Check{
		{Item: "B1", Name: "whoever asks", Source: robin, play: turnsOfAll},
		{Item: "B1", Name: "whenever", Source: robin, play: turnsInTime},
		{Item: "B1", Name: "each pool has its own", Source: robin, play: turnsOfPools},
		{Item: "B1", Name: "what opens nothing takes no turn", Source: robin, play: noTurns},
		{Item: "B3", Name: "new connections", Source: down, play: downForNew},
		{Item: "B3", Name: "TCP goes on", Source: down, play: downGoesOn},
		{Item: "B3", Name: "datagrams go to another", Source: down, play: downMovesDatagrams},
		{Item: "B3", Name: "SYN goes to another", Source: down, play: downMovesSYN},
		{Item: "B3", Name: "a port used again goes to another", Source: down + "; RFC 9293, 3.5.1",
			play: staleBeginsAnew},
		{Item: "B4", Name: "SYN again", Source: "RFC 9293, 3.8.1; " + octavia, play: synStays},
		{Item: "B4", Name: "SYN again while the member is looked for", Source: "RFC 9293, 3.8.1; " + octavia,
			play: synStaysWaiting},
		{Item: "B5", Name: "TCP until it is closed", Source: octavia, play: tcpStays},
		{Item: "B5", Name: "UDP until it is idle", Source: octavia, Profile: Profile{Short: true}, play: udpStays},
		{Item: "B11", Name: "refused", Source: octavia + "; RFC 9293, 3.10.7.1", play: noMember},
		{Item: "B11", Name: "and back", Source: octavia, play: membersBack},
		{Item: "B14", Name: "TCP", Source: octavia, play: func(c *Case) { ownVIP(c, "tcp") }},
		{Item: "B14", Name: "UDP", Source: octavia, play: func(c *Case) { ownVIP(c, "udp") }},
		{Item: "B15", Name: "fragmentation needed", Source: "RFC 1191, 3; RFC 5508, REQ-4", play: tooBigForClient},
		{Item: "B15", Name: "fragments", Source: "RFC 4787, REQ-14",
			play: func(c *Case) { fragmentsToVIP(c, []int{0, 1, 2}) }},
		{Item: "B15", Name: "fragments in disorder", Source: "RFC 4787, REQ-14 a)",
			play: func(c *Case) { fragmentsToVIP(c, []int{2, 0, 1}) }},
		{Item: "B15", Name: "members' own connections", Source: octavia, play: membersOwn},
		{Item: "B16", Name: "two listeners", Source: octavia, play: twoListeners},
		{Item: "B16", Name: "ARP and ping", Source: octavia, play: vipIsThere},
		{Item: "B16", Name: "other ports", Source: octavia + "; RFC 9293, 3.10.7.1", play: vipRefuses},
	}
	for _, proto := range []string{"TCP", "UDP"} {
		carrier := carriers[0].name
		if proto == "TCP" {
			carrier = carriers[1].name
		}
		all = append(all,
			Check{Item: "B1", Name: proto, Source: robin, play: func(c *Case) { turns(c, carrier) }},
			Check{Item: "B13", Name: proto, Source: octavia, play: func(c *Case) { clientShown(c, carrier) }},
			Check{Item: "B13", Name: proto + " in the members' network", Source: octavia,
				play: func(c *Case) { clientBeside(c, carrier) }})
	}
	for i := range all {
		all[i].Level = Good
	}
	return all
}

const web2 = "172.16.100.10"

// toVIP is a way from a client to the VIP, by its own address or its floating IP.
func toVIP(network, client, address, shown string) *way {
	return &way{from: network, to: "green", client: client, dest: address, port: 80, udpPort: 53,
		servers: []string{web1, web2}, real: 80, realUDP: 53,
		shown: shown, shared: shown != client}
}

// clients come to the VIP by every way.
var clients = []*way{
	toVIP("blue", vm4, vip, vm4), toVIP("ext", x1, floatVIP, x1), toVIP("green", inner, vip, "172.16.100.1"),
	toVIP("small", vm6, vip, vm6), toVIP("blue", vm4, floatVIP, shared), toVIP("blue", vm3, vip, vm3),
	toVIP("blue", "192.168.10.5", vip, "192.168.10.5"), toVIP("ext", "198.51.100.7", floatVIP, "198.51.100.7"),
}

// begin sends the first packet of a connection to the VIP, and returns which member has it.
func (c *Case) begin(w *way, proto string, port int) (member string, p *path) {
	words := "len 20"
	if proto == "tcp" {
		words = "S seq 100 win 60000"
	}
	p = c.first(w, proto, port, words)
	return addrOf(p.real), p
}

// A turnsOf checks that two members take turns.
type turnsOf struct{ last string }

// next fails if a member has its turn twice.
func (t *turnsOf) next(c *Case, member string) {
	if member == t.last {
		c.Fail("%s has two turns running", member)
	}
	t.last = member
}

func turns(c *Case, proto string) {
	var t turnsOf
	for port := 4000; port < 4021; port++ {
		member, _ := c.begin(clients[0], proto, port)
		t.next(c, member)
	}
}

func turnsOfAll(c *Case) {
	var t turnsOf
	for port := 4000; port < 4003; port++ {
		for _, w := range clients {
			member, p := c.begin(w, "tcp", port)
			t.next(c, member)
			if port == 4001 { // whether it is answered, or refused, is nothing to the next one
				p.back("S. seq 500 ack 101")
			} else {
				p.back("R. seq 0 ack 101")
			}
		}
	}
}

func turnsInTime(c *Case) {
	var t turnsOf
	port := 4000
	for _, pause := range []int{0, 100, 0, 0, 700, 1000, 10, 2000, 0} {
		c.Wait(time.Duration(pause) * time.Millisecond)
		member, _ := c.begin(clients[0], "tcp", port)
		t.next(c, member)
		port++
	}
}

func turnsOfPools(c *Case) {
	var web, dns turnsOf
	for i, proto := range []string{"tcp", "udp", "udp", "tcp", "tcp", "tcp", "udp", "tcp", "udp", "udp", "udp"} {
		member, _ := c.begin(clients[0], proto, 4000+i)
		if proto == "tcp" {
			web.next(c, member)
		} else {
			dns.next(c, member)
		}
	}
}

// noTurns: packets that belong to no connection, and begin none.
func noTurns(c *Case) {
	var t turnsOf
	for i, line := range []string{
		"tcp %s:5000 > 172.16.100.11:80 . seq 100 ack 500", "tcp %s:5001 > 172.16.100.11:80 R seq 100",
		"tcp %s:5002 > 172.16.100.11:80 S. seq 100 ack 500", "tcp %s:5003 > 172.16.100.11:80 F. seq 100 ack 500",
		"tcp %s:5004 > 172.16.100.11:81 S seq 100", "udp %s:5005 > 172.16.100.11:80",
		"icmp %s > 172.16.100.11 request id 7 seq 1",
		"tcp %s:5006 > 172.16.100.11:80 S seq 100 ttl 1",
		"tcp %s:5007 > 172.16.100.11:80 S seq 100 sum 0x1234 ipsum 0x1234",
	} {
		member, _ := c.begin(clients[0], "tcp", 4000+i)
		t.next(c, member)
		c.Put("blue", line, vm4)
		c.Drop()
	}
}

func downForNew(c *Case) {
	c.SetMember("web", "web1", false)
	for port := 4000; port < 4004; port++ {
		for _, w := range clients {
			if member, _ := c.begin(w, "tcp", port); member != web2 {
				c.Fail("%s gets a connection while it is down", member)
			}
		}
	}
	c.SetMember("web", "web1", true)
	var t turnsOf
	for port := 5000; port < 5006; port++ {
		member, _ := c.begin(clients[0], "tcp", port)
		t.next(c, member)
	}
}

// bothHave opens connections until each member has one.
func (c *Case) bothHave(w *way, port int) []*path {
	all := []*path{c.connect(w, port), c.connect(w, port+1)}
	if addrOf(all[0].real) == addrOf(all[1].real) {
		c.Fail("%s has both connections", all[0].real)
	}
	return all
}

func downGoesOn(c *Case) {
	all := append(c.bothHave(clients[0], 4000), c.bothHave(clients[1], 5000)...)
	c.SetMember("web", "web1", false)
	for _, p := range all {
		p.there("P. seq 101 ack 501 len 10")
		p.back("P. seq 501 ack 111 len 10")
	}
	c.SetMember("web", "web2", false)
	for _, p := range all {
		p.there("P. seq 111 ack 511 len 10")
		p.back("P. seq 511 ack 121 len 10")
	}
	c.Quiet()
}

// downMovesDatagrams: a client whose server has gone has nothing to lose by another.
func downMovesDatagrams(c *Case) {
	for _, w := range clients[:2] {
		a, first := c.begin(w, "udp", 4000)
		b, second := c.begin(w, "udp", 4001)
		if a == b {
			c.Fail("%s has both", a)
		}
		down, moved, stays := "dns1", first, second
		if b == web1 {
			moved, stays = second, first
		}
		c.SetMember("dns", down, false)
		moved.send("len 30")
		c.Want("green", "udp %s > %s:53 len 30", moved.shown, web2)
		stays.there("len 30")
		c.SetMember("dns", down, true)
	}
	c.Quiet()
}

func downMovesSYN(c *Case) {
	for _, w := range clients[:2] {
		member, p := c.begin(w, "tcp", 4000)
		if member != web1 {
			member, p = c.begin(w, "tcp", 4001)
		}
		if member != web1 {
			c.Fail("%s has both", member)
		}
		c.SetMember("web", "web1", false)
		p.send("S seq 100 win 60000")
		c.Want("green", "tcp %s > %s:80 S seq 100 win 60000", p.shown, web2)
		c.SetMember("web", "web1", true)
	}
	c.Quiet()
}

// synStays: a SYN that is repeated is the same connection and stays with its member, also when
// other clients come in between.
func synStays(c *Case) {
	for i, w := range clients {
		_, p := c.begin(w, "tcp", 4000)
		for again := range 3 {
			c.begin(clients[(i+1)%len(clients)], "tcp", 5000+10*i+again)
			if i == 0 {
				c.Wait(time.Second)
			}
			p.there("S seq 100 win 60000")
		}
		p.back("S. seq 500 ack 101")
	}
	c.Quiet()
}

// synStaysWaiting: the router knows one member's MAC address, and must ask for the other's. That one gets the
// SYN, at least once: copies that have waited together may go on together, or as one.
func synStaysWaiting(c *Case) {
	c.Silence("green", web2)
	if member, _ := c.begin(clients[0], "tcp", 3999); member != web1 {
		c.Fail("nobody has said where %s is", member)
	}
	for range 3 {
		c.Put("blue", "tcp %s:4000 > %s:80 S seq 100", vm4, vip)
	}
	c.None("green")
	c.Put("green", "arp reply %s is-at any for 172.16.100.1", web2)
	c.Want("green", "tcp %s:4000 > %s:80 S seq 100", vm4, web2)
	copies := 0
	for p := c.get("green", false); p != nil; p = c.get("green", false) {
		if copies++; copies > 2 || p.Dst.String() != web2 {
			c.Fail("after the SYN: %s", p.Line)
		}
	}
	c.Quiet()
}

// peek is the next packet, which is still to be got.
func (c *Case) peek(network string) *Packet {
	p := c.Get(network)
	if p == nil {
		c.Fail("nothing came out to %s", network)
	}
	c.keep(network, [][]byte{p.Eth})
	return p
}

func tcpStays(c *Case) {
	for i, w := range clients[:3] {
		p := c.connect(w, 4000)
		for k := range 4 { // its member would not have this turn
			c.begin(w, "tcp", 5000+10*i+k)
			p.there("P. seq %d ack %d len 10", 101+10*k, 501+10*k)
			p.back("P. seq %d ack %d len 10", 501+10*k, 111+10*k)
		}
		before := addrOf(p.real)
		p.there("F. seq 141 ack 541")
		p.back("F. seq 541 ack 142")
		p.there(". seq 142 ack 542")
		var t turnsOf
		t.last, _ = c.begin(w, "tcp", 6000+10*i)
		if t.last != before {
			c.begin(w, "tcp", 6001+10*i) // now it is the other one's turn
		}
		again := c.first(w, "tcp", 4000, "S seq 900000 win 60000")
		if addrOf(again.real) == before {
			c.Fail("a new connection from a port used before is again %s's, out of turn", before)
		}
	}
	c.Quiet()
}

func udpStays(c *Case) {
	w := clients[0]
	before, p := c.begin(w, "udp", 4000)
	for k := range 4 {
		c.begin(w, "udp", 5000+k)
		c.Wait(c.Timeouts.UDP * 6 / 10)
		p.there("len %d", 21+k)
		p.back("len %d", 31+k)
	}
	c.Wait(c.Timeouts.UDP * 3 / 2)
	if last, _ := c.begin(w, "udp", 6000); last != before {
		c.begin(w, "udp", 6001)
	}
	if again, _ := c.begin(w, "udp", 4000); again == before {
		c.Fail("what was idle is again %s's, out of turn", before)
	}
}

func noMember(c *Case) {
	for _, m := range [][2]string{{"web", "web1"}, {"web", "web2"}, {"dns", "dns1"}, {"dns", "dns2"}} {
		c.SetMember(m[0], m[1], false)
	}
	for _, w := range clients {
		c.refuses(w.from, w.client, w.dest, []int{80}, []int{53})
	}
	c.Put("blue", "icmp %s > %s request id 5 seq 1", vm4, vip)
	c.Want("blue", "icmp %s > %s reply id 5 seq 1", vip, vm4)
	c.Quiet()
}

// membersBack: a client that was refused may try again, from the same port.
func membersBack(c *Case) {
	for _, m := range []string{"web1", "web2"} {
		c.SetMember("web", m, false)
	}
	for _, w := range clients[:3] {
		c.refuses(w.from, w.client, w.dest, []int{80}, nil)
	}
	c.SetMember("web", "web2", true)
	for _, w := range clients[:3] {
		if p := c.talk(w, 4000); addrOf(p.real) != web2 {
			c.Fail("%s has it", p.real)
		}
	}
	c.Quiet()
}

// clientShown: a member sees the client's own address and port.
func clientShown(c *Case, proto string) {
	for i, w := range clients {
		if w.shared {
			continue
		}
		for port := 4000; port < 4002; port++ {
			p, out, in := c.open(w, proto, port+10*i)
			p.there("%s", out)
			p.back("%s", in)
		}
	}
	c.Quiet()
}

// clientBeside: the client is on the member's network. If the member answered it directly, past the router, the client
// would get an answer from another address than the VIP that it has asked.
func clientBeside(c *Case, proto string) {
	for port := 4000; port < 4004; port++ {
		p, out, in := c.open(clients[2], proto, port)
		p.there("%s", out)
		p.back("%s", in)
	}
	c.Quiet()
}

// ownVIP: a member asks by the VIP, also when it is its own turn.
func ownVIP(c *Case, proto string) {
	own := 0
	for _, member := range []string{web1, web2} {
		w := toVIP("green", member, vip, "172.16.100.1")
		for port := 4000; port < 4004; port++ {
			p, out, in := c.open(w, proto, port)
			p.there("%s", out)
			p.back("%s", in)
			if addrOf(p.real) == member {
				own++
			}
		}
	}
	if own != 4 {
		c.Fail("of 8 connections %d have come back to who has asked", own)
	}
	c.Quiet()
}

// tooBigForClient: a member whose answer does not fit the way to a client hears so, about the
// packet that it has sent.
func tooBigForClient(c *Case) {
	for i, w := range []*way{toVIP("small", vm6, floatVIP, shared), toVIP("small", vm6, vip, vm6)} {
		p := c.connect(w, 4000+i)
		words := "P. seq 501 ack 101 len 1200 df"
		p.reply(words)
		e, from := c.peek("green"), "172.16.100.1"
		if e.Src.String() == shared { // which is the router's as well
			from = shared
		}
		c.Want("green", "icmp %s > %s type 3 code 4 mtu 1000 %s", from, addrOf(p.real),
			about(e, "tcp", p.real, p.shown, words))
		p.back("P. seq 501 ack 101 len 900 df")
	}
	c.Quiet()
}

// about is a packet of words as an error quotes it that has come: as much of it as it likes.
func about(e *Packet, proto, from, to, words string) string {
	n := len(e.Eth) - packet.EthernetLen - packet.IPv4Len - packet.ICMPLen
	return fmt.Sprintf("about [%s %s > %s %s cut %d]", proto, from, to, words, n)
}

// fragmentsToVIP sends three fragments of a datagram, in an order.
func fragmentsToVIP(c *Case, order []int) {
	for id := 9; id < 11; id++ {
		head := []string{"%s:4000 > %s:53 off 0 more len 1000 of 2200", "%s > %s off 1008 more len 1000",
			"%s > %s off 2008 len 200"}
		for _, i := range order {
			c.Put("ext", "udp "+head[i]+" id %d", x1, floatVIP, id)
		}
		member := c.peek("green").Dst.String()
		var seen []int
		for range order {
			p := c.peek("green")
			off := int(binary.BigEndian.Uint16(p.Eth[packet.EthernetLen+6:])&0x1fff) * 8
			i := slices.Index([]int{0, 1008, 2008}, off)
			if i < 0 || slices.Contains(seen, i) {
				c.Fail("another fragment, or one again: %s", p.Line)
			}
			seen = append(seen, i)
			c.Want("green", "udp "+head[i], x1, member)
		}
		c.Put("green", "udp %s:53 > %s:4000 len 30", member, x1)
		c.Want("ext", "udp %s:53 > %s:4000 len 30", floatVIP, x1)
	}
	c.Quiet()
}

// membersOwn: a VIP's floating IP is the way in only.
func membersOwn(c *Case) {
	c.talk(clients[1], 4000)
	for _, member := range []string{web1, web2} {
		w := out1(member, shared)
		w.from = "green"
		c.uses(w, 5000)
		p, _, in := c.open(w, "tcp", 80)
		p.back("%s", in)
	}
	c.Quiet()
}

func twoListeners(c *Case) {
	for _, w := range clients[:3] {
		for _, proto := range []string{"tcp", "udp"} {
			p, out, in := c.open(w, proto, 4000)
			p.there("%s", out)
			p.back("%s", in)
		}
	}
	c.Quiet()
}

func vipIsThere(c *Case) {
	c.Put("green", "arp who-has %s tell %s", vip, inner)
	if got := c.answers("green", vip); len(got) == 0 || got[0].SenderMAC != c.macs["green"] {
		c.Fail("ARP for the VIP is answered by %v", got)
	}
	if !c.answersFor(floatVIP) {
		c.Fail("nobody answers ARP for its floating IP")
	}
	for i, w := range clients {
		c.Put(w.from, "icmp %s > %s request id %d seq 1 len 56", w.client, w.dest, i)
		c.Want(w.from, "icmp %s > %s reply id %d seq 1 len 56", w.dest, w.client, i)
	}
	c.Quiet()
}

// vipRefuses: a VIP refuses ports without a listener, such as a listener's port by the other protocol.
func vipRefuses(c *Case) {
	for _, w := range []*way{clients[0], clients[1], clients[2], clients[3]} {
		c.refuses(w.from, w.client, w.dest, []int{22, 53, 81}, []int{52, 80})
	}
	c.Quiet()
}
