package conform

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// fragmentChecks are about fragments, and packets that are too large. A router may put a packet
// together before it sends it on, and cut it anew, as Linux does. So, where that is allowed, the
// checks put the fragments together that come out, and judge the packet.
func fragmentChecks() []Check {
	var all []Check
	for back := range 2 {
		all = append(all, eachNarrow("DF", back, Must, "RFC 4787, REQ-13; RFC 1191, 4", tooBig)...)
		all = append(all, eachNarrow("no DF", back, Must, "RFC 4787, REQ-13 a); RFC 1812, 4.2.2.7", cutHere)...)
		all = append(all, eachNarrow("path MTU discovery by TCP", back, Must, "RFC 4787, REQ-13; RFC 1191, 4 and 6.4",
			pathMTU)...)
	}
	all = append(all, Check{Item: "U13", Name: "in order", Level: Should,
		Source:  "RFC 4787, REQ-13 a); RFC 1812, 4.2.2.7",
		Profile: Profile{Narrow: "ext"}, play: inOrder})
	all = append(all, eachWay(Check{Item: "U14", Name: "every order", Level: Must, Source: "RFC 4787, REQ-14"},
		everyOrder)...)
	all = append(all, eachWay(Check{Item: "U14", Name: "connections begin with any piece", Level: Must,
		Source: "RFC 4787, REQ-14"}, beginInPieces)...)
	all = append(all, eachWay(Check{Item: "T12", Name: "off-path segments in pieces", Level: Good,
		Source: "RFC 5961, 5"}, offPathPieces)...)
	for i := range ways {
		if w := &ways[i]; w.shared {
			all = append(all,
				Check{Item: "C6", Name: "two hosts/" + w.name, Level: Should, Source: "RFC 7857, 11; RFC 6864, 5.3.1",
					play: func(c *Case) { twoHosts(c, w) }})
		}
	}
	return append(all,
		Check{Item: "U14", Name: "without the first one", Level: Must, Source: "RFC 4787, REQ-14", play: withoutFirst},
		Check{Item: "U14", Name: "forgotten", Level: Good, Source: "RFC 4787, REQ-14 a)", play: forgotten},
		Check{Item: "U14", Name: "flood without first ones, whole packets", Level: Must, Source: "RFC 4787, REQ-14 a)",
			play: func(c *Case) { fragmentFlood(c, true) }},
		Check{Item: "U14", Name: "flood without first ones, pieces in order", Level: Must,
			Source: "RFC 4787, REQ-14 a)",
			play:   func(c *Case) { fragmentFlood(c, false) }},
		Check{Item: "U14", Name: "flood of one source, pieces in any order", Level: Good, Source: "RFC 4787, REQ-14 a)",
			play: oneSourceFlood},
		Check{Item: "U14", Name: "tiny first one", Level: Should, Source: "RFC 1858, 3.2", play: tinyFirst},
		Check{Item: "U14", Name: "offset of eight", Level: Should, Source: "RFC 1858, 3.2.2 and 4; RFC 3128",
			play: offsetOfEight},
		Check{Item: "U14", Name: "two first ones", Level: Good, Source: "RFC 1858, 4", play: twoFirsts},
		Check{Item: "U14", Name: "overlaps harm nobody else", Level: Good, Source: "RFC 1858, 4", play: overlapping},
		Check{Item: "U14", Name: "the same one twice", Level: Good, Source: "RFC 791, 3.2", play: sameTwice},
		Check{Item: "R14", Name: "pings in pieces", Level: Must, Source: "RFC 1812, 4.2.2.8; RFC 1122, 3.2.2.6",
			play: pingsInPieces},
		Check{Item: "R14", Name: "the largest ping", Level: Good, Source: "RFC 1122, 3.3.2", play: largestPing},
		Check{Item: "R14", Name: "larger than a packet can be", Level: Good, Source: "RFC 791, 3.1",
			play: beyondTheEnd},
		Check{Item: "R14", Name: "overlaps", Level: Good, Source: "RFC 5722, 4 (of IPv6)", play: overlapsForRouter},
		Check{Item: "R14", Name: "flood of beginnings", Level: Good, Source: "RFC 1122, 3.3.2", play: beginnings},
		Check{Item: "R14", Name: "time exceeded", Level: Must, Source: "RFC 1122, 3.3.2; RFC 792",
			play: reassemblyTime},
		Check{Item: "R14", Name: "no word without the first one", Level: Must, Source: "RFC 1812, 4.3.2.7; RFC 792",
			play: reassemblyTimeWithoutFirst},
		Check{Item: "R15", Name: "too big", Level: Must, Source: "RFC 1812, 4.2.2.7; RFC 1191, 4", Profile: plainRouter,
			play: tooBigPlain},
		Check{Item: "R15", Name: "fragments", Level: Must, Source: "RFC 1812, 4.2.2.7; RFC 791, 3.2",
			Profile: plainRouter, play: cutPlain},
		Check{Item: "R15", Name: "no more than needed", Level: Should, Source: "RFC 1812, 4.2.2.7",
			Profile: plainRouter, play: fewest},
		Check{Item: "R15", Name: "fragments of fragments", Level: Must, Source: "RFC 791, 3.2", Profile: plainRouter,
			play: cutAgain},
		Check{Item: "R15", Name: "options", Level: Must, Source: "RFC 791, 3.1 and 3.2", Profile: plainRouter,
			play: copiedOptions},
		Check{Item: "R15", Name: "identification", Level: Good, Source: "RFC 791, 3.2", play: identification},
		Check{Item: "C6", Name: "cut here", Level: Should, Source: "RFC 7857, 11; RFC 6864, 5.3.1",
			Profile: Profile{Narrow: "ext"}, play: twoHostsCut},
		Check{Item: "C6", Name: "two members", Level: Should, Source: "RFC 7857, 11; RFC 6864, 5.3.1",
			play: twoMembers},
	)
}

// eachNarrow makes a check about packets that are too large of every way that has
// networks of its own: from the client, or back from the server.
func eachNarrow(name string, back int, level Level, source string, play func(*Case, *way, int)) []Check {
	var all []Check
	for i := range ways {
		w := &ways[i]
		if w.from == w.to {
			continue // what fits in on one side fits out on the other
		}
		narrow, from := w.to, "client"
		if back == 1 {
			narrow, from = w.from, "server"
		}
		all = append(all, Check{Item: "U13", Name: name + "/" + w.name + "/" + from, Level: level, Source: source,
			Profile: Profile{Narrow: narrow}, play: func(c *Case) { play(c, w, back) }})
	}
	return all
}

// wantTooBig wants the sender of a packet to be told that it is too large for a network: by an
// address that the router has on his, or by the VIP that the packet is for.
func (c *Case) wantTooBig(network, to, line string) {
	p := c.Get(network)
	if p == nil {
		c.Fail("nothing came out to %s; wanted fragmentation needed about %s", network, line)
	}
	if src := p.Src.String(); !slices.Contains(ownAddresses[network], src) &&
		(src != vip || !strings.Contains(line, "> "+vip)) {
		c.Fail("%s is not from the router", p.Line)
	}
	c.keep(network, [][]byte{p.Eth})
	c.Want(network, "icmp %s > %s type 3 code 4 mtu %d about [%s]", p.Src, to, narrow, line)
}

// tooBig: one byte more than fits, and much more.
func tooBig(c *Case, w *way, back int) {
	for _, proto := range w.protocols() {
		l := c.legs(w, proto, 4000)[back]
		fits := narrow - headerOf(proto)
		for _, n := range []int{fits + 1, 1500 - headerOf(proto)} {
			line := fmt.Sprintf("%s df len %d", l.sent, n)
			c.Put(l.in, "%s", line)
			c.wantTooBig(l.in, l.src, line)
			c.Quiet()
		}
		c.Put(l.in, "%s df len %d", l.sent, fits)
		c.Want(l.out, "%s df len %d", l.seen, fits)
	}
	c.Quiet()
}

// cutHere: the same without DF goes on in pieces.
func cutHere(c *Case, w *way, back int) {
	for _, proto := range w.protocols() {
		l := c.legs(w, proto, 4000)[back]
		fits := narrow - headerOf(proto)
		for _, n := range []int{fits, fits + 1, fits + 8, 1500 - headerOf(proto)} {
			c.Put(l.in, "%s len %d", l.sent, n)
			c.WantWhole(l.out, "%s len %d", l.seen, n)
		}
	}
	c.Quiet()
}

func inOrder(c *Case) {
	for _, name := range []string{"snat", "out of a floating ip"} {
		for _, proto := range []string{"udp", "tcp", "icmp"} {
			l := c.legs(wayOf(name), proto, 4000)[0]
			c.Put(l.in, "%s len 1400", l.sent)
			all := c.WantWhole(l.out, "%s len 1400", l.seen)
			if !slices.IsSortedFunc(all, func(a, b *Packet) int { return a.Off - b.Off }) {
				c.Fail("out of order: %s", lines(all))
			}
		}
	}
}

// pathMTU: a sender that gets the error for a segment that is too large sends its bytes again in smaller segments. The
// dropped segment has changed nothing in the state of the connection.
func pathMTU(c *Case, w *way, back int) {
	l := c.legs(w, "tcp", 4000)
	to, fro := l[back], l[1-back]
	seq, ack := []int{101, 501}[back], []int{501, 101}[back]
	segment := func(l leg, words string) (sent, seen string) {
		endpoints := func(line string) string { return line[:strings.Index(line, " P. ")] }
		return endpoints(l.sent) + " " + words, endpoints(l.seen) + " " + words
	}
	for range 2 {
		sent, _ := segment(to, fmt.Sprintf("P. seq %d ack %d df len 1400", seq, ack))
		c.Put(to.in, "%s", sent)
		c.wantTooBig(to.in, to.src, sent)
	}
	for range 2 {
		sent, seen := segment(to, fmt.Sprintf("P. seq %d ack %d df len 700", seq, ack))
		c.Put(to.in, "%s", sent)
		c.Want(to.out, "%s", seen)
		seq += 700
		sent, seen = segment(fro, fmt.Sprintf(". seq %d ack %d df", ack, seq))
		c.Put(fro.in, "%s", sent)
		c.Want(fro.out, "%s", seen)
	}
	c.Quiet()
}

// everyOrder sends packets in three pieces, in all six orders.
func everyOrder(c *Case, w *way) {
	id := 100
	for _, proto := range w.protocols() {
		for _, l := range c.legs(w, proto, 4000) {
			for _, order := range orders {
				id++
				c.putPieces(l.in, order, "%s %s len 600", l.sent, ident(proto, id))
				c.WantWhole(l.out, "%s len 600", l.seen)
			}
		}
	}
	c.Quiet()
}

// beginInPieces: no packet of the connection has come before, and the router has not asked for the next
// hop's address yet.
func beginInPieces(c *Case, w *way) {
	for i, order := range orders {
		p := c.newPath(w, "udp", 4000+i)
		c.putPieces(w.from, order, "udp %s > %s id %d len 600", p.client, p.dest, 100+i)
		got, _ := c.whole(w.to)
		p.begun(got, "len 600")
		p.back("len 20")
	}
	c.Quiet()
}

// offPathPieces: a segment from a sender that does not know the sequence numbers is refused in pieces, too.
func offPathPieces(c *Case, w *way) {
	p := c.connect(w, 4000)
	for i, order := range orders {
		c.putPieces(w.to, order, "tcp %s > %s P. seq %d ack 77000000 len 600 id %d", p.real, p.shown, 77000000*(i+1),
			100+i)
	}
	for _, got := range c.came(w.from) {
		if got.Dst.String() == w.client {
			c.Fail("on %s: %s", w.from, got.Line)
		}
	}
	c.Drop() // a challenge for the sender may come
	p.there("P. seq 101 ack 501 len 20")
	p.back("P. seq 501 ack 121 len 30")
}

// withoutFirst: without the first fragment there are no ports, so the others are not sent on.
func withoutFirst(c *Case) {
	for _, name := range []string{"plain", "snat", "into a floating ip", "forwarded port", "vip", "hairpin"} {
		for i, l := range c.legs(wayOf(name), "udp", 4000) {
			c.putPieces(l.in, []int{1, 2}, "%s id %d len 600", l.sent, 100+i)
			c.putPieces(l.in, []int{2, 1}, "%s id %d len 600", l.sent, 200+i)
		}
		c.Quiet()
	}
}

// forgotten: a first one that comes after minutes comes alone.
func forgotten(c *Case) {
	l := c.legs(wayOf("snat"), "udp", 4000)[0]
	c.putPieces(l.in, []int{1, 2}, "%s id 100 len 600", l.sent)
	c.Wait(2 * time.Minute)
	c.putPieces(l.in, []int{0}, "%s id 100 len 600", l.sent)
	for _, p := range c.came(l.out) {
		if p.Off != 0 {
			c.Fail("kept for two minutes: %s", p.Line)
		}
	}
}

// fragmentFlood: fragments whose first ones never come, of one host and in the names of many,
// inside and outside, cost others no whole packet, or none whose pieces come in order.
func fragmentFlood(c *Case, whole bool) {
	legs := c.legs(wayOf("snat"), "udp", 4000)
	junk := func(network, src, dst string, id int) {
		c.PutRaw(network, piece(c.frame(network, fmt.Sprintf("udp %s:4000 > %s:53 id %d len 600", src, dst, id)), 200,
			208, true))
	}
	for i := range 3000 {
		junk("blue", "172.16.101.2", "10.10.10.5", i)
		junk("blue", fmt.Sprintf("192.168.10.%d", 1+i%250), "10.10.10.5", i)
		junk("ext", fmt.Sprintf("198.51.100.%d", 1+i%250), "10.10.10.2", i)
		if i%100 != 0 {
			continue
		}
		for _, l := range legs {
			if whole {
				c.Put(l.in, "%s len 600", l.sent)
				c.Want(l.out, "%s len 600", l.seen)
			} else {
				c.putPieces(l.in, orders[0], "%s id %d len 600", l.sent, 10000+i)
				c.WantWhole(l.out, "%s len 600", l.seen)
			}
		}
	}
	c.Quiet()
}

// oneSourceFlood: what one host has sent does not cost another one's packet its pieces that
// wait for the first.
func oneSourceFlood(c *Case) {
	l := c.legs(wayOf("snat"), "udp", 4000)[0]
	c.putPieces(l.in, []int{2, 1}, "%s id 100 len 600", l.sent)
	for i := range 2500 {
		c.PutRaw("blue", piece(c.frame("blue", fmt.Sprintf("udp 172.16.101.2:4000 > 10.10.10.5:53 id %d len 600", i)),
			200, 208, true))
	}
	c.putPieces(l.in, []int{0}, "%s id 100 len 600", l.sent)
	c.WantWhole(l.out, "%s len 600", l.seen)
	c.Quiet()
}

// flagsAt looks for fragments that bring a TCP header's flags other than with its ports.
func (c *Case) flagsAt(networks ...string) {
	for _, network := range networks {
		for _, p := range c.came(network) {
			n := len(p.Eth) - transportAt
			if p.Proto == packet.ProtoTCP && (p.Off == 8 || p.Off == 0 && n < 16) {
				c.Fail("on %s: %s", network, p.Line)
			}
		}
	}
}

// tinyFirst has the flags in the second fragment, where no filter looks for them.
func tinyFirst(c *Case) {
	for i, to := range []string{"10.10.10.3:80", "10.10.10.8:2222", "10.10.10.7:80"} {
		eth := c.frame("ext", fmt.Sprintf("tcp 10.10.10.4:4000 > %s S seq 100 id %d len 40", to, 100+i))
		for _, order := range [][]int{{0, 1}, {1, 0}} {
			for _, p := range order {
				c.PutRaw("ext", pieces(eth, 8)[p])
			}
			c.flagsAt("blue", "green")
		}
	}
}

// offsetOfEight has a second fragment replace the flags of the first.
func offsetOfEight(c *Case) {
	for i, to := range []string{"10.10.10.3:80", "10.10.10.8:2222", "10.10.10.7:80"} {
		first := c.frame("ext", fmt.Sprintf("tcp 10.10.10.4:4000 > %s . seq 100 ack 1 id %d len 40", to, 100+i))
		second := c.frame("ext", fmt.Sprintf("tcp 10.10.10.4:4000 > %s S seq 100 id %d len 40", to, 100+i))
		for _, order := range [][]int{{0, 1}, {1, 0}} {
			for _, p := range order {
				c.PutRaw("ext", [][]byte{piece(first, 0, 24, true), piece(second, 8, 60, false)}[p])
			}
			c.flagsAt("blue", "green")
		}
	}
}

// twoFirsts has two first fragments: one may come in, the other goes to a port that is closed.
func twoFirsts(c *Case) {
	for i, x := range [][3]string{{"10.10.10.8:5353", "10.10.10.8:9", "blue"},
		{"10.10.10.7:53", "10.10.10.7:9", "green"}} {
		good := pieces(c.frame("ext", fmt.Sprintf("udp 10.10.10.4:4000 > %s id %d len 600", x[0], 100+i)), 200, 400)
		bad := pieces(c.frame("ext", fmt.Sprintf("udp 10.10.10.4:4000 > %s id %d len 600", x[1], 100+i)), 200, 400)
		for _, p := range [][]byte{good[2], bad[0], good[0], bad[0], good[1], bad[0], bad[1], bad[2]} {
			c.PutRaw("ext", p)
		}
		for _, p := range c.came(x[2]) {
			if p.Off == 0 && p.DstPort != 53 {
				c.Fail("let in: %s", p.Line)
			}
		}
		c.None("blue", "green", "small")
		c.Drop()
	}
}

// overlapping sends pieces that contradict each other. Whatever becomes of them, they go where
// their packet goes, and the next packet is whole.
func overlapping(c *Case) {
	for _, name := range []string{"snat", "into a floating ip", "vip"} {
		for i, l := range c.legs(wayOf(name), "udp", 4000) {
			eth := c.frame(l.in, fmt.Sprintf("%s id %d len 600", l.sent, 100+i))
			like := parse(l.out, c.frame(l.out, l.seen))
			for _, p := range [][]byte{piece(eth, 0, 208, true), piece(eth, 200, 400, true), piece(eth, 192, 416, true),
				piece(eth, 400, 608, false), piece(eth, 384, 600, false)} {
				c.PutRaw(l.in, p)
			}
			for _, p := range c.came(l.out) {
				if p.Src != like.Src || p.Dst != like.Dst || p.Off == 0 &&
					(p.SrcPort != like.SrcPort || p.DstPort != like.DstPort) {
					c.Fail("on %s: %s; it is a part of %s", l.out, p.Line, l.seen)
				}
			}
			c.putPieces(l.in, orders[5], "%s id %d len 600", l.sent, 200+i)
			c.WantWhole(l.out, "%s len 600", l.seen)
		}
	}
	c.Quiet()
}

// sameTwice: a link may deliver a frame twice.
func sameTwice(c *Case) {
	for _, name := range []string{"snat", "into a floating ip", "vip"} {
		for i, l := range c.legs(wayOf(name), "udp", 4000) {
			c.putPieces(l.in, []int{1, 1, 0, 0, 1, 2}, "%s id %d len 600", l.sent, 100+i)
			var once []*Packet
			for _, p := range c.came(l.out) {
				if !slices.ContainsFunc(once, func(q *Packet) bool { return slices.Equal(q.Eth, p.Eth) }) {
					once = append(once, p)
				}
			}
			if len(once) == 0 || c.join(once) == nil {
				c.Fail("on %s: this came of all pieces: [%s]", l.out, lines(once))
			}
			c.keep(l.out, [][]byte{c.join(once).Eth})
			c.Want(l.out, "%s len 600", l.seen)
		}
	}
}

// pingRouter is a host's request to the router on its network, and the reply.
func pingRouter(network string, seq int) (request, reply string) {
	a := askers[network]
	return fmt.Sprintf("icmp %s > %s request id 5 seq %d ipid %d", a[0], a[1], seq, 100+seq),
		fmt.Sprintf("icmp %s > %s reply id 5 seq %d", a[1], a[0], seq)
}

// pingInPieces has a host ask the router in pieces, and get its answer.
func (c *Case) pingInPieces(network string, seq int, order []int) {
	request, reply := pingRouter(network, seq)
	c.putPieces(network, order, "%s len 1200", request)
	c.WantWhole(network, "%s len 1200", reply)
}

func pingsInPieces(c *Case) {
	for _, network := range networks {
		for seq, order := range orders {
			c.pingInPieces(network, seq, order)
		}
	}
	c.Quiet()
}

// largestPing is as large as a packet can be.
func largestPing(c *Case) {
	const n = 65535 - packet.IPv4Len - packet.ICMPLen
	var at []int
	for i := 1480; i < n; i += 1480 {
		at = append(at, i)
	}
	request, reply := pingRouter("blue", 1)
	for _, p := range pieces(c.frame("blue", fmt.Sprintf("%s len %d", request, n)), at...) {
		c.PutRaw("blue", p)
	}
	c.WantWhole("blue", "%s len %d", reply, n)
}

// beyondTheEnd: the last piece reaches beyond 65535 bytes.
func beyondTheEnd(c *Case) {
	request, _ := pingRouter("blue", 1)
	eth := c.frame("blue", request+" len 1400")
	for at := 0; at < 65528; at += 1400 {
		c.PutRaw("blue", place(piece(eth, 0, min(1400, 65528-at), true), at, true))
	}
	c.PutRaw("blue", place(piece(eth, 0, 1400, false), 65528, false))
	c.Quiet()
	c.pingInPieces("blue", 2, orders[0])
}

// overlapsForRouter: no honest host sends overlapping fragments. (Linux takes a fragment that lies
// within another for a repetition.)
func overlapsForRouter(c *Case) {
	for seq, cut := range [][4]int{{0, 208, 200, 400}, {0, 200, 192, 400}, {0, 200, 0, 400}} {
		request, _ := pingRouter("blue", seq)
		eth := c.frame("blue", request+" len 600")
		c.PutRaw("blue", piece(eth, cut[0], cut[1], true))
		c.PutRaw("blue", piece(eth, cut[2], cut[3], true))
		c.PutRaw("blue", piece(eth, 400, 608, false))
	}
	// These are right if one puts them one behind the other.
	request, _ := pingRouter("blue", 5)
	eth := c.frame("blue", request+" len 608")
	for i, p := range pieces(eth, 208, 408) {
		c.PutRaw("blue", place(p, 200*i, i < 2))
	}
	c.Quiet()
	c.pingInPieces("blue", 9, orders[0])
}

// beginnings: first pieces of many packets leave room for another host's packet. If they are all of one host, they
// also leave room for a packet that has begun before them.
func beginnings(c *Case) {
	begin := func(host string, id int) {
		c.putPieces("blue", orders[0][:1+id%2], "icmp %s > 172.16.101.1 request id 5 seq 1 ipid %d len 600", host, id)
	}
	request, reply := pingRouter("blue", 8)
	c.putPieces("blue", []int{0, 2}, "%s len 1200", request)
	for id := range 200 {
		begin("172.16.101.4", id)
	}
	c.putPieces("blue", []int{1}, "%s len 1200", request)
	c.WantWhole("blue", "%s len 1200", reply)
	for id := range 1000 {
		begin(fmt.Sprintf("192.168.10.%d", 1+id%250), id)
	}
	c.pingInPieces("blue", 9, orders[5])
}

// reassemblyTime: if a part of a packet is lost, its sender gets one error.
func reassemblyTime(c *Case) {
	request, _ := pingRouter("blue", 1)
	c.putPieces("blue", []int{0, 2}, "%s len 600", request)
	c.Quiet()
	c.Wait(2*time.Minute + time.Second) // RFC 1122: 60 to 120 seconds
	c.Want("blue", "icmp 172.16.101.1 > %s type 11 code 1 about [%s more len 192]", askers["blue"][0], request)
	c.Quiet()
}

func reassemblyTimeWithoutFirst(c *Case) {
	request, _ := pingRouter("blue", 1)
	c.putPieces("blue", []int{1, 2}, "%s len 600", request)
	c.Wait(2*time.Minute + time.Second)
	c.Quiet()
}

// sorts are packets of every sort, to a network with a smaller MTU.
var sorts = []struct {
	line   string // from %s
	ident  string // what the language calls the IP identification
	header int    // IP and transport
}{
	{"udp %s:4000 > 172.16.102.6:5000 tos 40", "id", 28},
	{"tcp %s:4000 > 172.16.102.6:5000 S seq 7 tos 40", "id", 40},
	{"icmp %s > 172.16.102.6 request id 5 seq 6 tos 40", "ipid", 28},
	{"ip %s > 172.16.102.6 proto 47 tos 40", "id", 20},
}

// toSmall plays with each sort, from either side. Of its packets none has the same line.
func toSmall(play func(network, src string, header int, next func() string)) {
	id := 900
	for _, x := range [][2]string{{"blue", "172.16.101.4"}, {"ext", "198.51.100.7"}} {
		for _, s := range sorts {
			play(x[0], x[1], s.header, func() string {
				id++
				return fmt.Sprintf(s.line+" %s %d", x[1], s.ident, id)
			})
		}
	}
}

func tooBigPlain(c *Case) {
	toSmall(func(network, src string, header int, next func() string) {
		for _, n := range []int{narrow - header + 1, 1500 - header} {
			line := fmt.Sprintf("%s df len %d", next(), n)
			c.Put(network, "%s", line)
			c.wantTooBig(network, src, line)
		}
		line := fmt.Sprintf("%s df len %d", next(), narrow-header)
		c.Put(network, "%s", line)
		c.Want("small", "%s", line)
	})
	c.Quiet()
}

// cutPlain: all but length, offset and flag is the sender's, in every piece.
func cutPlain(c *Case) {
	toSmall(func(network, _ string, header int, next func() string) {
		for _, n := range []int{narrow - header, narrow - header + 1, 1200, 1500 - header} {
			line := fmt.Sprintf("%s len %d", next(), n)
			c.Put(network, "%s ttl 64", line)
			for _, p := range c.WantWhole("small", "%s ttl 63", line) {
				if ip := p.Eth[packet.EthernetLen:]; ip[1] != 40 || ip[6]&0xc0 != 0 {
					c.Fail("of %s: %s", line, p.Line)
				}
			}
		}
	})
	c.Quiet()
}

func fewest(c *Case) {
	const each = (narrow - packet.IPv4Len) / 8 * 8
	for i, x := range []struct{ n, want int }{{narrow - packet.IPv4Len, 1}, {narrow - packet.IPv4Len + 1, 2},
		{each + 8, 2}, {1480, 2}} {
		c.Put("blue", "ip 172.16.101.4 > 172.16.102.6 proto 47 id %d len %d", 100+i, x.n)
		if all := c.WantWhole("small", "ip 172.16.101.4 > 172.16.102.6 proto 47 len %d", x.n); len(all) != x.want {
			c.Fail("%d bytes in %d pieces: %s", x.n, len(all), lines(all))
		}
	}
}

// cutAgain: pieces that are too large themselves, in every order. Each is cut again. Only the end of the last piece
// becomes a last piece.
func cutAgain(c *Case) {
	toSmall(func(network, _ string, header int, next func() string) {
		for _, at := range [][]int{{1400, 2800}, {1480, 1488}, {40, 1400}} {
			for _, order := range orders {
				line := fmt.Sprintf("%s len %d", next(), 2880+packet.IPv4Len-header)
				all := pieces(c.frame(network, line), at...)
				for _, i := range order {
					c.PutRaw(network, all[i])
				}
				c.WantWhole("small", "%s", line)
			}
		}
	})
	c.Quiet()
}

// copiedOptions: an option with the copy flag is in every piece, another option in the first
// one only. "No operation" and "end of list" do not count.
func copiedOptions(c *Case) {
	for i, x := range []struct{ all, copied string }{
		{"5e040102", ""}, {"9e040102", "9e040102"}, {"5e0401029e040304", "9e040304"}, {"9e0401025e040304", "9e040102"},
		{"94040000", "94040000"}, {"015e0301019e0501020301", "9e05010203"},
		{"0101019e0801020304050600", "9e08010203040506"},
	} {
		opts := x.all + strings.Repeat("00", (8-len(x.all)%8)%8/2)
		line := fmt.Sprintf("udp 172.16.101.4:4000 > 172.16.102.6:5000 id %d ipopts %s len 1400", 100+i, opts)
		c.Put("blue", "%s", line)
		for _, p := range c.WantWhole("small", "%s", line)[1:] {
			if got := strings.Join(options(p), ""); got != x.copied {
				c.Fail("of options %s, %s is in %s", opts, got, p.Line)
			}
		}
	}
}

// options are the IP options of a packet, without "no operation" and "end of list".
func options(p *Packet) (all []string) {
	ip := p.Eth[packet.EthernetLen:]
	for o := ip[packet.IPv4Len : int(ip[0]&15)*4]; len(o) > 0 && o[0] != 0; {
		n := 1
		if o[0] != 1 {
			if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
				return append(all, fmt.Sprintf("%x?", o))
			}
			n = int(o[1])
			all = append(all, fmt.Sprintf("%x", o[:n]))
		}
		o = o[n:]
	}
	return all
}

// identification: where an address is one host's, its identifications are good enough.
func identification(c *Case) {
	for _, name := range []string{"plain", "out of a floating ip", "into a floating ip"} {
		for _, proto := range []string{"udp", "tcp", "icmp"} {
			for _, l := range c.legs(wayOf(name), proto, 4000) {
				for _, id := range []int{1, 0x1234, 65535} {
					c.Put(l.in, "%s %s len 20", l.sent, ident(proto, id))
					c.Want(l.out, "%s %s len 20", l.seen, ident(proto, id))
					c.putPieces(l.in, orders[0], "%s %s len 600", l.sent, ident(proto, id-1))
					c.WantWhole(l.out, "%s %s len 600", l.seen, ident(proto, id-1))
				}
			}
		}
	}
}

// twoHosts chance to use the same identifications at the same time.
func twoHosts(c *Case, w *way) {
	c.first(w, "udp", 3999, "len 20") // the next hop is known
	for _, kind := range []string{"udp %s:4000 > %s:53 id %d len 600",
		"icmp %s > %s request id 5 seq 1 ipid %d len 600"} {
		for id := range 10 {
			a := pieces(c.frame(w.from, fmt.Sprintf(kind, w.client, w.dest, id)), 200, 400)
			b := pieces(c.frame(w.from, fmt.Sprintf(kind, "172.16.101.2", w.dest, id)), 200, 400)
			for _, i := range orders[id%len(orders)] {
				c.PutRaw(w.from, a[i])
				c.PutRaw(w.from, b[i])
			}
		}
		c.mixed(w.to, 20)
	}
}

// twoHostsCut: the pieces are the router's.
func twoHostsCut(c *Case) {
	c.first(wayOf("snat"), "udp", 3999, "len 20")
	for id := range 10 {
		for _, host := range []string{"172.16.101.2", "172.16.101.4"} {
			c.Put("blue", "udp %s:4000 > 10.10.10.4:53 id %d len 1400", host, id)
		}
	}
	c.mixed("ext", 20)
}

// twoMembers answer from one address, to clients of one host's.
func twoMembers(c *Case) {
	w := wayOf("vip")
	one, two := c.legs(w, "udp", 4000)[1], c.legs(w, "udp", 4001)[1]
	if one.src == two.src {
		c.Fail("both connections are %s's", one.src)
	}
	for id := range 10 {
		a := pieces(c.frame(w.to, fmt.Sprintf("%s id %d len 600", one.sent, id)), 200, 400)
		b := pieces(c.frame(w.to, fmt.Sprintf("%s id %d len 600", two.sent, id)), 200, 400)
		for _, i := range orders[id%len(orders)] {
			c.PutRaw(w.to, a[i])
			c.PutRaw(w.to, b[i])
		}
	}
	c.mixed(w.from, 20)
}
