package conform

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
)

// icmpChecks are the items of RFC 5508, and traceroute through every kind of translation.
func icmpChecks() []Check {
	short := Profile{Short: true}
	var all []Check
	for _, proto := range []string{"udp", "tcp"} {
		name := strings.ToUpper(proto)
		all = append(all, eachWay(Check{Item: "I4", Name: "about " + name, Level: Must,
			Source: "RFC 5508, REQ-4; RFC 5382, REQ-9"},
			func(c *Case, w *way) { errorsToClient(c, w, proto) })...)
		all = append(all, eachWay(Check{Item: "I5", Name: "about " + name, Level: Must, Source: "RFC 5508, REQ-5"},
			func(c *Case, w *way) { errorsToServer(c, w, proto) })...)
		all = append(all, eachWay(Check{Item: "I12", Name: "traceroute by " + name, Level: Must,
			Source: "RFC 5508, REQ-4; RFC 1812, 4.3.2.4"},
			func(c *Case, w *way) { traceroute(c, w, proto) })...)
	}
	for i := range ways {
		w := &ways[i]
		if !w.echoes {
			continue
		}
		echo, about := "I10", "I4"
		if w.from == w.to {
			echo, about = "I7", "I7"
		}
		all = append(all,
			Check{Item: echo, Name: "echo/" + w.name, Level: Must, Source: "RFC 5508, REQ-7 and 10 a)",
				play: func(c *Case) { echoes(c, w) }},
			Check{Item: about, Name: "about echo/" + w.name, Level: Must, Source: "RFC 5508, REQ-4 and 7 a)",
				play: func(c *Case) { errorsAboutEcho(c, w) }},
			Check{Item: "I12", Name: "traceroute by ICMP/" + w.name, Level: Must,
				Source: "RFC 5508, REQ-4; RFC 1812, 4.3.2.4",
				play:   func(c *Case) { tracerouteByEcho(c, w) }})
	}
	return append(all,
		Check{Item: "U12", Name: "errors leave the mapping", Level: Must, Source: "RFC 4787, REQ-12", Profile: short,
			play: func(c *Case) { errorsEndNothing(c, "udp", c.Timeouts.UDP) }},
		Check{Item: "T9", Name: "unreachable while opening", Level: Should, Source: "RFC 5382, REQ-9 and 10",
			play: unreachableWhileOpening},
		Check{Item: "T10", Name: "errors leave the connection", Level: Must, Source: "RFC 5382, REQ-10", Profile: short,
			play: func(c *Case) { errorsEndNothing(c, "tcp", c.Timeouts.TCPEstablished) }},
		Check{Item: "I1", Name: "whatever the destination", Level: Must, Source: "RFC 5508, REQ-1 a)",
			play: identifiers},
		Check{Item: "I1", Name: "no sharing", Level: Must, Source: "RFC 5508, REQ-1", play: identifiersOfTwo},
		Check{Item: "I2", Name: "60 s", Level: Must, Source: "RFC 5508, REQ-2",
			play: func(c *Case) { queryFor(c, 59*time.Second, true) }},
		Check{Item: "I2", Name: "ends", Level: Good, Source: "RFC 5508, REQ-2", Profile: short,
			play: func(c *Case) { queryFor(c, c.Timeouts.ICMP*3/2, false) }},
		Check{Item: "I3", Name: "bad checksum", Level: Should, Source: "RFC 5508, REQ-3", play: badChecksums},
		Check{Item: "I3", Name: "bad checksum of the quoted header", Level: Should, Source: "RFC 5508, REQ-3 a)",
			play: badQuotedHeader},
		Check{Item: "I3", Name: "quotes with options", Level: Should, Source: "RFC 5508, REQ-3 b)",
			play: quotedOptions},
		Check{Item: "I3", Name: "bad transport checksum", Level: Must, Source: "RFC 5508, REQ-3 c)",
			play: quotedChecksums},
		Check{Item: "I3", Name: "extensions", Level: Must, Source: "RFC 5508, REQ-3 d); RFC 4884", play: extensions},
		Check{Item: "I4", Name: "about nothing", Level: Must, Source: "RFC 5508, REQ-4 a)", play: errorsAboutNothing},
		Check{Item: "I6", Name: "errors leave the query", Level: Must, Source: "RFC 5508, REQ-6",
			play: errorsLeaveQuery},
		Check{Item: "I6", Name: "errors do not refresh it", Level: Must, Source: "RFC 5508, REQ-6", Profile: short,
			play: errorsDoNotRefresh},
		Check{Item: "I8", Name: "no port left", Level: Should, Source: "RFC 5508, REQ-8; RFC 6888, REQ-11",
			Profile: Profile{PortRange: "5000-5003", HostShare: 1}, play: noPortLeft},
		Check{Item: "I11", Name: "redirect and source quench do not cross", Level: Good,
			Source: "RFC 1812, 5.2.7.2; RFC 6633, 4", play: doNotCross},
		Check{Item: "I13", Name: "quotes of every length", Level: Must, Source: "RFC 5508, REQ-4; RFC 792",
			play: quotesOfEveryLength},
		Check{Item: "I13", Name: "UDP without checksum", Level: Must, Source: "RFC 5508, REQ-4; RFC 768",
			play: quoteWithoutChecksum},
	)
}

// icmpErrors are all kinds that a NAT lets through.
func icmpErrors() []string {
	var all []string
	for code := range 16 {
		all = append(all, fmt.Sprintf("type 3 code %d", code))
	}
	all[4] += " mtu 1400"
	return append(all, "type 11 code 0", "type 11 code 1", "type 12 code 0", "type 12 code 1")
}

// open begins a connection as far as it takes to send both ways. The client's next words
// and the server's are returned.
func (c *Case) open(w *way, proto string, port int) (_ *path, out, in string) {
	if proto == "tcp" {
		return c.connect(w, port), "P. seq 101 ack 501 len 100", "P. seq 501 ack 101 len 100"
	}
	p := c.first(w, "udp", port, "len 20")
	p.back("len 20")
	return p, "len 100", "len 100"
}

// addrOf is an endpoint without its port.
func addrOf(endpoint string) string { addr, _, _ := strings.Cut(endpoint, ":"); return addr }

// onPath are other routers, where a packet may find that it cannot go on.
var onPath = map[string]string{"blue": "172.16.101.254", "green": "172.16.100.20", "ext": "10.10.10.1"}

// wantError takes the next packet, which is to be an ICMP error, "type ...". An error that a router
// on the path has sent may come from that router's address, from the address that the client talks to, or
// from an external address of the router under test. The last is required where the sender's own address
// means nothing (RFC 5508, REQ-5).
func (c *Case) wantError(w *way, network, path, to, rest string) {
	got := c.Get(network)
	if got == nil {
		c.Fail("nothing came out to %s; wanted icmp %s > %s %s", network, path, to, rest)
	}
	c.keep(network, [][]byte{got.Eth})
	external := func(addr string) bool { return strings.HasPrefix(addr, "10.10.10.") }
	src, from := got.Src.String(), path
	switch {
	case external(path):
	case w.dest != w.servers[0] && (external(src) || src == w.dest):
		from = src
	case w.to == "ext" && external(src):
		from = src
	case network == "ext":
		c.Fail("%s shows an internal address outside", got.Line)
	}
	c.Want(network, "icmp %s > %s %s", from, to, rest)
}

// errorsToClient: the client gets every error about its packets, from the server or from a router on
// the way. The error quotes the packet as the client has sent it.
func errorsToClient(c *Case, w *way, proto string) {
	p, words, in := c.open(w, proto, 4000)
	out := p.there("%s", words)
	for _, e := range icmpErrors() {
		for _, n := range []int{28, 40, 576} {
			know := quoted(n, proto, p.client, p.dest, words)
			c.Put(w.to, "icmp %s > %s %s %s", addrOf(p.real), addrOf(p.shown), e, out.Quote(n))
			c.Want(w.from, "icmp %s > %s %s %s", addrOf(p.dest), addrOf(p.client), e, know)
			c.Put(w.to, "icmp %s > %s %s %s", onPath[w.to], addrOf(p.shown), e, out.Quote(n))
			c.wantError(w, w.from, onPath[w.to], addrOf(p.client), e+" "+know)
		}
	}
	p.there("%s", words)
	p.back("%s", in)
	c.Quiet()
}

// errorsToServer is the same the other way.
func errorsToServer(c *Case, w *way, proto string) {
	p, words, in := c.open(w, proto, 4000)
	back := p.back("%s", in)
	for _, e := range icmpErrors() {
		for _, n := range []int{28, 40, 576} {
			know := quoted(n, proto, p.real, p.shown, in)
			c.Put(w.from, "icmp %s > %s %s %s", addrOf(p.client), addrOf(p.dest), e, back.Quote(n))
			c.Want(w.to, "icmp %s > %s %s %s", addrOf(p.shown), addrOf(p.real), e, know)
			c.Put(w.from, "icmp %s > %s %s %s", onPath[w.from], addrOf(p.dest), e, back.Quote(n))
			c.wantError(w, w.to, onPath[w.from], addrOf(p.real), e+" "+know)
		}
	}
	p.there("%s", words)
	c.Quiet()
}

// quoted is a packet as an error is to quote it.
func quoted(n int, proto, from, to, words string) string {
	if n < 140 {
		words += fmt.Sprintf(" cut %d", n)
	}
	return fmt.Sprintf("about [%s %s > %s %s]", proto, from, to, words)
}

// traceroute: the client sees the router under test, the router behind it, and the destination, each by the
// address that the client may know.
func traceroute(c *Case, w *way, proto string) {
	words := "len 20 "
	if proto == "tcp" {
		words = "S seq 100 "
	}
	near := fmt.Sprintf("%s %s:4000 > %s:%d", proto, w.client, w.dest, w.destPort(proto))
	c.Put(w.from, "%s %sttl 1", near, words)
	c.Want(w.from, "icmp %s > %s type 11 code 0 about [%s %sttl 1]", askers[w.from][1], w.client, near, words)
	p := c.first(w, proto, 4000, words+"ttl 2")
	out := p.there("%sttl 2", words)
	c.Put(w.to, "icmp %s > %s type 11 code 0 %s", onPath[w.to], addrOf(p.shown), out.Quote(28))
	c.wantError(w, w.from, onPath[w.to], w.client, fmt.Sprintf("type 11 code 0 about [%s %sttl 1 cut 28]", near, words))
	out = p.there("%sttl 3", words)
	if proto == "udp" {
		c.Put(w.to, "icmp %s > %s type 3 code 3 %s", addrOf(p.real), addrOf(p.shown), out.Quote(576))
		c.Want(w.from, "icmp %s > %s type 3 code 3 about [%s %sttl 2]", w.dest, w.client, near, words)
	} else {
		p.back("R. seq 0 ack 101")
	}
	c.Quiet()
}

// A ping is an echo's way: its requests as the client knows them, near, and as the
// other side does, far.
type ping struct {
	c          *Case
	w          *way
	near, far  string // "icmp ... request id ..."
	back, seen string // the same of replies
}

// ping sends the first request.
func (c *Case) ping(w *way, id int, words string) *ping {
	g := &ping{c: c, w: w, near: fmt.Sprintf("icmp %s > %s request id %d", w.client, w.dest, id),
		seen: fmt.Sprintf("icmp %s > %s reply id %d", w.dest, w.client, id)}
	c.Put(w.from, "%s %s", g.near, words)
	got := c.Get(w.to)
	if got == nil {
		c.Fail("nothing came out to %s; wanted %s, translated", w.to, g.near)
	}
	if w.shared {
		id = int(got.EchoID)
	}
	g.far = fmt.Sprintf("icmp %s > %s request id %d", w.shown, w.servers[0], id)
	g.back = fmt.Sprintf("icmp %s > %s reply id %d", w.servers[0], w.shown, id)
	c.keep(w.to, [][]byte{got.Eth})
	c.Want(w.to, "%s %s", g.far, passed(words))
	return g
}

func (g *ping) request(words string) *Packet {
	g.c.Put(g.w.from, "%s %s", g.near, words)
	return g.c.Want(g.w.to, "%s %s", g.far, passed(words))
}

func (g *ping) reply(words string) {
	g.c.Put(g.w.to, "%s %s", g.back, words)
	g.c.Want(g.w.from, "%s %s", g.seen, passed(words))
}

func echoes(c *Case, w *way) {
	g := c.ping(w, 77, "seq 1 len 56")
	g.reply("seq 1 len 56")
	for seq := 2; seq < 5; seq++ {
		words := fmt.Sprintf("seq %d len %d", seq, 400*seq-800)
		g.request(words)
		g.reply(words)
	}
	c.Quiet()
}

func errorsAboutEcho(c *Case, w *way) {
	g := c.ping(w, 77, "seq 1 len 100")
	for _, e := range icmpErrors() {
		out := g.request("seq 2 len 100")
		for _, n := range []int{28, 40, 576} {
			know := strings.Replace(quoted(n, g.near, "", "", "seq 2 len 100"), "  > ", "", 1)
			c.Put(w.to, "icmp %s > %s %s %s", w.servers[0], w.shown, e, out.Quote(n))
			c.Want(w.from, "icmp %s > %s %s %s", w.dest, w.client, e, know)
			c.Put(w.to, "icmp %s > %s %s %s", onPath[w.to], w.shown, e, out.Quote(n))
			c.wantError(w, w.from, onPath[w.to], w.client, e+" "+know)
		}
	}
	g.reply("seq 2 len 100")
	c.Quiet()
}

func tracerouteByEcho(c *Case, w *way) {
	c.Put(w.from, "icmp %s > %s request id 77 seq 1 ttl 1", w.client, w.dest)
	c.Want(w.from, "icmp %s > %s type 11 code 0 about [icmp %s > %s request id 77 seq 1 ttl 1]", askers[w.from][1],
		w.client, w.client, w.dest)
	g := c.ping(w, 77, "seq 2 ttl 2")
	out := g.request("seq 3 ttl 2")
	c.Put(w.to, "icmp %s > %s type 11 code 0 %s", onPath[w.to], w.shown, out.Quote(28))
	c.wantError(w, w.from, onPath[w.to], w.client, "type 11 code 0 about ["+g.near+" seq 3 ttl 1 cut 28]")
	g.request("seq 4 ttl 3")
	g.reply("seq 4")
	c.Quiet()
}

// errorsEndNothing: after errors of all kinds a connection is there for as long as it would
// be without.
func errorsEndNothing(c *Case, proto string, idle time.Duration) {
	p, words, in := c.open(wayOf("snat"), proto, 4000)
	out := p.there("%s", words)
	for _, e := range icmpErrors() {
		for _, from := range []string{"10.10.10.4", "10.10.10.1"} {
			c.Put("ext", "icmp %s > 10.10.10.2 %s %s", from, e, out.Quote(28))
		}
	}
	c.Drop()
	c.Wait(idle * 3 / 4)
	p.back("%s", in)
}

func unreachableWhileOpening(c *Case) {
	w := wayOf("snat")
	p := c.first(w, "tcp", 4000, "S seq 100")
	out := p.there("S seq 100")
	for code := range 6 {
		c.Put("ext", "icmp 10.10.10.1 > 10.10.10.2 type 3 code %d %s", code, out.Quote(40))
		c.Want("blue", "icmp 10.10.10.1 > 172.16.101.4 type 3 code %d about [tcp %s > %s S seq 100]", code, p.client,
			p.dest)
	}
	p.back("S. seq 500 ack 101")
	c.Quiet()
}

func identifiers(c *Case) {
	var seen []uint16
	for _, to := range []string{"10.10.10.4", "10.10.10.5"} {
		c.Put("blue", "icmp 172.16.101.4 > %s request id 77 seq 1", to)
		seen = append(seen, c.Want("ext", "icmp 10.10.10.2 > %s request id * seq 1", to).EchoID)
	}
	if seen[0] != seen[1] {
		c.Fail("identifier 77 leaves as %d and as %d for two destinations", seen[0], seen[1])
	}
	for _, to := range []string{"10.10.10.4", "10.10.10.5"} {
		c.Put("ext", "icmp %s > 10.10.10.2 reply id %d seq 1", to, seen[0])
		c.Want("blue", "icmp %s > 172.16.101.4 reply id 77 seq 1", to)
	}
}

func identifiersOfTwo(c *Case) {
	seen := map[uint16]string{}
	for _, host := range []string{"172.16.101.2", "172.16.101.4"} {
		for id := range 50 {
			c.Put("blue", "icmp %s > 10.10.10.4 request id %d seq 1", host, id)
			got := c.Want("ext", "icmp 10.10.10.2 > 10.10.10.4 request id * seq 1").EchoID
			if seen[got] != "" {
				c.Fail("%s and %s, %d, both leave as %d", seen[got], host, id, got)
			}
			seen[got] = host
			c.Put("ext", "icmp 10.10.10.4 > 10.10.10.2 reply id %d seq 1", got)
			c.Want("blue", "icmp 10.10.10.4 > %s reply id %d seq 1", host, id)
		}
	}
}

func queryFor(c *Case, d time.Duration, lives bool) {
	g := c.ping(wayOf("snat"), 77, "seq 1")
	c.Wait(d)
	if lives {
		g.reply("seq 1")
		return
	}
	c.Put("ext", "%s seq 1", g.back)
	c.None("blue")
}

// badChecksums: what has been damaged on its way is worth nothing.
func badChecksums(c *Case) {
	p, words, _ := c.open(wayOf("snat"), "udp", 4000)
	out := p.there("%s", words)
	g := c.ping(wayOf("snat"), 77, "seq 1 len 8")
	c.Put("ext", "icmp 10.10.10.1 > 10.10.10.2 type 3 code 1 sum 0x1234 %s", out.Quote(28))
	c.Put("ext", "%s seq 1 len 8 sum 0x1234", g.back)
	c.Put("blue", "%s seq 1 len 8 sum 0x1234", g.near)
	c.Quiet()
	c.Put("ext", "icmp 10.10.10.1 > 10.10.10.2 type 3 code 1 %s", out.Quote(28))
	c.Want("blue", "icmp 10.10.10.1 > 172.16.101.4 type 3 code 1 %s", quoted(28, "udp", p.client, p.dest, words))
	g.reply("seq 1 len 8")
}

func badQuotedHeader(c *Case) {
	p, words, _ := c.open(wayOf("snat"), "udp", 4000)
	out := p.there("%s", words)
	c.Put("ext", "icmp 10.10.10.1 > 10.10.10.2 type 3 code 1 about [%s ipsum 0x1234 cut 28]", out.Line)
	c.Quiet()
}

func quotedOptions(c *Case) {
	p, _, _ := c.open(wayOf("snat"), "udp", 4000)
	const words = "len 20 ipopts 0101010101010101"
	out := p.there(words)
	for _, n := range []int{36, 48, 576} {
		c.Put("ext", "icmp 10.10.10.1 > 10.10.10.2 type 11 %s", out.Quote(n))
		c.Want("blue", "icmp 10.10.10.1 > 172.16.101.4 type 11 %s", quoted(n, "udp", p.client, p.dest, words))
	}
}

// wantQuoting takes the next error, and wants it to quote a packet of these endpoints; of
// the rest, not even checksums are looked at.
func (c *Case) wantQuoting(network, from, to string) *Packet {
	got := c.Get(network)
	if got == nil {
		c.Fail("nothing came out to %s; wanted an error about %s > %s", network, from, to)
	}
	ip := got.Eth[packet.EthernetLen+packet.IPv4Len+packet.ICMPLen:]
	port := func(at int) uint16 { return binary.BigEndian.Uint16(ip[packet.IPv4Len+at:]) }
	quotes := fmt.Sprintf("%v > %v", netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[12:])), port(0)),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip[16:])), port(2)))
	if want := from + " > " + to; quotes != want {
		c.Fail("%s quotes a packet of %s, want %s", got.Line, quotes, want)
	}
	return got
}

// quotedChecksums: the sender of an error may have changed the packet before it quotes it, or quotes
// only a part.
func quotedChecksums(c *Case) {
	for _, proto := range []string{"udp", "tcp"} {
		p, words, _ := c.open(wayOf("snat"), proto, 4000)
		out := p.there("%s", words)
		for _, n := range []string{"", " cut 40"} {
			c.Put("ext", "icmp 10.10.10.1 > 10.10.10.2 type 11 about [%s sum 0x1234%s]", out.Line, n)
			c.wantQuoting("blue", p.client, p.dest)
		}
	}
}

// extensions: what follows a quote of 128 bytes is about something else, and is left as
// it is.
func extensions(c *Case) {
	object := []byte{0x20, 0, 0, 0, 0, 8, 1, 1, 0x00, 0x01, 0x01, 0xff} // an MPLS label (RFC 4950)
	binary.BigEndian.PutUint16(object[2:], ^packet.Sum(object))
	for _, name := range []string{"snat", "out of a floating ip", "into a floating ip", "vip"} {
		w := wayOf(name)
		p, _, _ := c.open(w, "udp", 4000)
		out := p.there("len 200")
		eth := append(c.frame(w.to, fmt.Sprintf("icmp %s > %s type 11 about [%s cut 128]", onPath[w.to],
			addrOf(p.shown), out.Line)), object...)
		ip := eth[packet.EthernetLen:]
		binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
		ip[packet.IPv4Len+5] = 128 / 4
		packet.SetIPv4Checksum(ip)
		packet.SetTransportChecksum(ip)
		c.PutRaw(w.to, eth)
		got := c.wantQuoting(w.from, p.client, p.dest)
		ip = got.Eth[packet.EthernetLen:]
		if !bytes.HasSuffix(ip, object) || len(ip) != packet.IPv4Len+packet.ICMPLen+128+len(object) ||
			ip[packet.IPv4Len+5] != 128/4 {
			c.Fail("%s: the extension has not come through", got.Line)
		}
		if err := nettest.Verify(got.Eth); err != nil {
			c.Fail("%v", err)
		}
	}
}

func errorsAboutNothing(c *Case) {
	c.open(wayOf("snat"), "udp", 4000)
	for _, e := range icmpErrors() {
		for _, q := range []string{"udp 10.10.10.2:5999 > 10.10.10.4:53 len 9",
			"tcp 10.10.10.2:5999 > 10.10.10.4:80 . seq 5 ack 6",
			"icmp 10.10.10.2 > 10.10.10.4 request id 999 seq 1", "ip 10.10.10.2 > 10.10.10.4 proto 47 len 20"} {
			c.Put("ext", "icmp 10.10.10.1 > 10.10.10.2 %s about [%s]", e, q)
		}
	}
	c.Quiet()
}

func errorsLeaveQuery(c *Case) {
	g := c.ping(wayOf("snat"), 77, "seq 1")
	out := g.request("seq 2")
	for _, e := range icmpErrors() {
		c.Put("ext", "icmp 10.10.10.1 > 10.10.10.2 %s %s", e, out.Quote(28))
	}
	c.Drop()
	g.reply("seq 1")
	g.reply("seq 2")
}

func errorsDoNotRefresh(c *Case) {
	g := c.ping(wayOf("snat"), 77, "seq 1")
	out := g.request("seq 2")
	c.Wait(c.Timeouts.ICMP * 3 / 4)
	c.Put("ext", "icmp 10.10.10.1 > 10.10.10.2 type 11 %s", out.Quote(28))
	c.Want("blue", "icmp 10.10.10.1 > 172.16.101.4 type 11")
	c.Wait(c.Timeouts.ICMP * 3 / 4)
	c.Put("ext", "%s seq 2", g.back)
	c.None("blue")
}

// noPortLeft: four ports are four connections to one endpoint, and the fifth is told.
func noPortLeft(c *Case) {
	for i := range 4 {
		c.Put("blue", "udp 172.16.101.%d:%d > 10.10.10.4:53", 2+i%2*2, 4000+i)
		c.Want("ext", "udp 10.10.10.2:* > 10.10.10.4:53")
	}
	c.Put("blue", "udp 172.16.101.4:4900 > 10.10.10.4:53")
	c.Want("blue", "icmp 172.16.101.1 > 172.16.101.4 type 3 code 13 about [udp 172.16.101.4:4900 > 10.10.10.4:53]")
	c.Quiet()
}

func doNotCross(c *Case) {
	for _, name := range []string{"plain", "snat", "into a floating ip", "vip"} {
		w := wayOf(name)
		p, words, _ := c.open(w, "udp", 4000)
		out := p.there("%s", words)
		for _, e := range []string{"type 4 code 0", "type 5 code 0", "type 5 code 1", "type 5 code 3"} {
			c.Put(w.to, "icmp %s > %s %s %s", onPath[w.to], addrOf(p.shown), e, out.Quote(28))
		}
	}
	c.Quiet()
}

func quotesOfEveryLength(c *Case) {
	for _, name := range []string{"snat", "into a floating ip", "vip through a floating ip", "hairpin"} {
		for _, proto := range []string{"udp", "tcp"} {
			w := wayOf(name)
			p, words, _ := c.open(w, proto, 4000)
			out := p.there("%s", words)
			for n := 28; n < 60; n++ {
				if n == 37 && proto == "tcp" {
					continue // the quote ends in the middle of the checksum, which cannot be mended
				}
				c.Put(w.to, "icmp %s > %s type 3 code 1 %s", addrOf(p.real), addrOf(p.shown), out.Quote(n))
				c.Want(w.from, "icmp %s > %s type 3 code 1 %s", w.dest, w.client,
					quoted(n, proto, p.client, p.dest, words))
			}
		}
	}
}

func quoteWithoutChecksum(c *Case) {
	for _, name := range []string{"snat", "into a floating ip", "vip through a floating ip", "hairpin"} {
		w := wayOf(name)
		const words = "len 100 sum 0x0000"
		p := c.first(w, "udp", 4000, words)
		out := p.there(words)
		for _, n := range []int{28, 40, 576} {
			c.Put(w.to, "icmp %s > %s type 3 code 3 %s", addrOf(p.real), addrOf(p.shown), out.Quote(n))
			c.Want(w.from, "icmp %s > %s type 3 code 3 %s", w.dest, w.client, quoted(n, "udp", p.client, p.dest, words))
		}
	}
}
