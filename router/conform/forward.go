package conform

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// plainRouter is a router that translates nothing but floating IPs.
var plainRouter = Profile{NoSNAT: true}

// A route's two ends, for checks that hold in both directions.
type crossing struct {
	from, to string // networks
	src, dst string // %d tells senders apart: targets count the errors that each of them gets
	router   string // the router's address on from
}

var crossings = []crossing{
	{"blue", "ext", "192.168.10.%d", "198.51.100.7", "172.16.101.1"},
	{"ext", "blue", "198.51.100.%d", "172.16.101.4", "10.10.10.2"},
}

// packetKinds are packets of every sort, between two addresses that are still to be written.
var packetKinds = []struct{ name, line string }{
	{"udp", "udp %s:4000 > %s:5000 id 9 tos 40 len 20"},
	{"tcp", "tcp %s:4000 > %s:5000 S seq 7 ack 0 win 4096 id 9 tos 40 len 0 mss 1460"},
	{"icmp", "icmp %s > %s request id 5 seq 6 ipid 9 tos 40 len 30"},
	{"gre", "ip %s > %s proto 47 id 9 tos 40 len 20"},
}

// line is a packet of a kind that crosses, from the sender of a number.
func (x *crossing) line(kind string, sender int) string {
	return fmt.Sprintf(kind, fmt.Sprintf(x.src, sender), x.dst)
}

// routerChecks are the items of RFC 1812 and its companions.
func routerChecks() []Check {
	all := []Check{
		{Item: "R1", Name: "one less", Level: Must, Source: "RFC 1812, 5.3.1", Profile: plainRouter, play: oneLess},
		{Item: "R1", Name: "time exceeded", Level: Must, Source: "RFC 1812, 5.3.1 and 4.3.2.4", Profile: plainRouter,
			play: timeExceeded},
		{Item: "R1", Name: "not when it has arrived", Level: Must, Source: "RFC 1812, 4.2.2.9; RFC 1122, 3.2.1.7",
			play: ttlOfArrivals},
		{Item: "R2", Name: "wrong header checksum", Level: Must, Source: "RFC 1812, 5.2.2", Profile: plainRouter,
			play: wrongHeaderChecksum},
		{Item: "R2", Name: "impossible header", Level: Must, Source: "RFC 1812, 5.2.2", Profile: plainRouter,
			play: impossibleHeader},
		{Item: "R2", Name: "new checksum", Level: Must, Source: "RFC 1812, 4.2.2.5; RFC 1624", Profile: plainRouter,
			play: newHeaderChecksum},
		{Item: "R2", Name: "checksum of zero", Level: Must, Source: "RFC 768; RFC 3022, 4.1",
			play: transportChecksumOfZero},
		{Item: "R2", Name: "wrong stays wrong", Level: Good, Source: "RFC 1624", play: wrongStaysWrong},
		{Item: "R3", Name: "no route", Level: Must, Source: "RFC 1812, 4.3.3.1 and 5.2.7.1",
			Profile: Profile{NoDefault: true}, play: noRoute},
		{Item: "R3", Name: "host unreachable", Level: Must, Source: "RFC 1812, 3.3.2 and 5.2.7.1", Profile: plainRouter,
			play: hostUnreachable},
		{Item: "R3", Name: "nothing listens", Level: Should, Source: "RFC 1122, 3.2.2.1 and 4.1.3.1",
			play: nothingListens},
		{Item: "R3", Name: "reset", Level: Must, Source: "RFC 9293, 3.10.7.1", play: resetFromRouter},
		{Item: "R3", Name: "policy", Level: Good, Source: "RFC 1812, 5.2.7.1", play: policyRefuses},
		{Item: "R4", Name: "about errors and later fragments", Level: Must, Source: "RFC 1812, 4.3.2.7",
			Profile: plainRouter, play: noErrorAboutErrors},
		{Item: "R4", Name: "about broadcasts", Level: Must, Source: "RFC 1812, 4.3.2.7", Profile: plainRouter,
			play: noErrorAboutBroadcasts},
		{Item: "R4", Name: "to nobody", Level: Must, Source: "RFC 1812, 4.3.2.7", Profile: plainRouter,
			play: noErrorToNobody},
		{Item: "R5", Name: "quote", Level: Should, Source: "RFC 1812, 4.3.2.3", Profile: plainRouter, play: quotes},
		{Item: "R5", Name: "precedence", Level: Should, Source: "RFC 1812, 4.3.2.5", Profile: plainRouter,
			play: precedence},
		{Item: "R5", Name: "rate", Level: Should, Source: "RFC 1812, 4.3.2.8", Profile: plainRouter, play: errorRate},
		{Item: "R6", Name: "link-layer broadcast", Level: Must, Source: "RFC 1812, 5.3.4", Profile: plainRouter,
			play: linkBroadcast},
		{Item: "R6", Name: "link-layer broadcast to the router", Level: Should, Source: "RFC 1122, 3.3.6",
			play: linkBroadcastToRouter},
		{Item: "R7", Name: "directed broadcast", Level: Must, Source: "RFC 2644, 2", Profile: plainRouter,
			play: directedBroadcast},
		{Item: "R7", Name: "of a remote network", Level: Must, Source: "RFC 1812, 5.3.5.2", Profile: plainRouter,
			play: remoteBroadcast},
		{Item: "R8", Name: "limited broadcast", Level: Must, Source: "RFC 1812, 5.3.5.1", Profile: plainRouter,
			play: limitedBroadcast},
		{Item: "R10", Name: "addresses of another network", Level: Should, Source: "RFC 1812, 5.3.8; RFC 3704, 2.2",
			Profile: plainRouter, play: addressesOfAnother},
		{Item: "R11", Name: "source routes", Level: Should, Source: "RFC 7126, 4.3 and 4.4", Profile: plainRouter,
			play: sourceRoutes},
		{Item: "R11", Name: "unknown options", Level: Must, Source: "RFC 1812, 4.2.2.1 and 5.3.13.1",
			Profile: plainRouter, play: unknownOptions},
		{Item: "R12", Name: "longest prefix", Level: Must, Source: "RFC 1812, 5.2.4.3", play: longestPrefix},
		{Item: "R12", Name: "prefix of 31 bits", Level: Should, Source: "RFC 3021, 2.2.2", play: prefixOf31},
		{Item: "R13", Name: "no redirects", Level: Good, Source: "RFC 1812, 5.2.7.2", Profile: plainRouter,
			play: noRedirects},
		{Item: "R13", Name: "redirects are not believed", Level: Must, Source: "RFC 1812, 5.2.7.2",
			play: redirectsNotBelieved},
	}
	return append(all, martianChecks()...)
}

// change has fn alter the IP packet of a frame that a line describes, and sets its header
// checksum right again.
func (c *Case) change(network, line string, fn func(ip []byte)) []byte {
	eth := c.frame(network, line)
	ip := eth[packet.EthernetLen:]
	fn(ip)
	if n := int(ip[0]&15) * 4; n >= packet.IPv4Len && n <= len(ip) {
		packet.SetIPv4Checksum(ip)
	}
	return eth
}

func oneLess(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for _, kind := range packetKinds {
			for _, ttl := range []int{2, 3, 64, 128, 129, 255} {
				line := x.line(kind.line, 9)
				c.Put(x.from, "%s ttl %d", line, ttl)
				c.Want(x.to, "%s ttl %d", line, ttl-1)
			}
		}
	}
	c.Quiet()
}

// timeExceeded: a TTL of zero should not have come at all, and goes no further either.
func timeExceeded(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for k, kind := range packetKinds {
			for ttl := range 2 {
				line := fmt.Sprintf("%s ttl %d", x.line(kind.line, 10+k), ttl)
				c.Put(x.from, "%s", line)
				c.Want(x.from, "icmp %s > "+x.src+" type 11 code 0 about [%s]", x.router, 10+k, line)
				c.None(x.to)
			}
		}
	}
}

func ttlOfArrivals(c *Case) {
	for _, x := range []struct{ network, from, to string }{
		{"blue", "172.16.101.4", "172.16.101.1"}, {"blue", "172.16.101.4", "172.16.100.1"},
		{"green", "172.16.100.9", "172.16.100.11"}, {"small", "172.16.102.6", "172.16.102.1"},
		{"ext", "10.10.10.4", "10.10.10.2"},
	} {
		for ttl := range 2 {
			c.Put(x.network, "icmp %s > %s request id 5 seq %d ttl %d", x.from, x.to, ttl, ttl)
			c.Want(x.network, "icmp %s > %s reply id 5 seq %d", x.to, x.from, ttl)
		}
	}
}

// wrongHeaderChecksum has every single bit of it wrong once.
func wrongHeaderChecksum(c *Case) {
	line := crossings[1].line(packetKinds[0].line, 7)
	for bit := range 16 {
		eth := c.frame("ext", line)
		eth[packet.EthernetLen+10+bit/8] ^= 1 << (bit % 8)
		c.PutRaw("ext", eth)
	}
	c.Quiet()
	c.Put("ext", "%s", line)
	c.Want("blue", "%s", line)
}

// impossibleHeader has right checksums, as far as there is something to sum.
func impossibleHeader(c *Case) {
	line := crossings[1].line(packetKinds[0].line, 7)
	length := func(n int) func([]byte) {
		return func(ip []byte) { binary.BigEndian.PutUint16(ip[2:], uint16(n)) }
	}
	first := func(b byte) func([]byte) { return func(ip []byte) { ip[0] = b } }
	broken := []func([]byte){length(0), length(19), length(49), length(1500), length(65535),
		first(0x05), first(0x15), first(0x35), first(0x55), first(0x65), first(0xf5),
		first(0x40), first(0x41), first(0x44), first(0x4f)}
	for _, fn := range broken {
		c.PutRaw("ext", c.change("ext", line, fn))
	}
	c.Quiet()
	c.Put("ext", "%s", line)
	c.Want("blue", "%s", line)
}

// newHeaderChecksum brings packets whose checksum carries when the TTL changes, and
// becomes what ones-complement arithmetic gets wrong easily.
func newHeaderChecksum(c *Case) {
	line := strings.Replace(crossings[1].line(packetKinds[0].line, 7), "id 9", "id %d", 1)
	eth := c.frame("ext", fmt.Sprintf(line, 0))
	sum := binary.BigEndian.Uint16(eth[packet.EthernetLen+10:])
	for _, want := range []uint16{0, 1, 0xfe, 0xff, 0x100, 0x101, 0x7fff, 0x8000, 0xfe00, 0xfeff, 0xff00, 0xfffe} {
		id := uint32(sum) + uint32(^want) // the identification with which the checksum is want
		id = id&0xffff + id>>16
		c.Put("ext", line, id)
		c.Want("blue", line, id)
	}
}

// transportChecksumOfZero: UDP without a checksum stays so, and one that comes out
// as zero is sent as all ones.
func transportChecksumOfZero(c *Case) {
	c.Put("blue", "udp 172.16.101.3:4000 > 198.51.100.7:53 len 4 sum 0")
	c.Want("ext", "udp 10.10.10.3:* > 198.51.100.7:53 len 4 sum 0")
	port := c.external(carriers[0], "172.16.101.4:4000", "198.51.100.7:53")
	line := fmt.Sprintf("udp 10.10.10.2:%d > 198.51.100.7:53 data ", port)
	eth := c.frame("ext", line+"0000")
	data := binary.BigEndian.Uint16(eth[packet.EthernetLen+packet.IPv4Len+6:])
	c.Put("blue", "udp 172.16.101.4:4000 > 198.51.100.7:53 data %04x", data)
	got := c.Want("ext", "%s%04x", line, data)
	if sum := binary.BigEndian.Uint16(got.Eth[packet.EthernetLen+packet.IPv4Len+6:]); sum != 0xffff {
		c.Fail("the checksum is %#04x", sum)
	}
}

// wrongStaysWrong: what was damaged before the router must not look right behind it.
func wrongStaysWrong(c *Case) {
	for _, line := range []string{"udp %s > 198.51.100.7:53 len 9", "tcp %s > 198.51.100.7:53 S len 9"} {
		eth := c.frame("blue", fmt.Sprintf(line, "172.16.101.4:4000"))
		eth[len(eth)-1]++
		c.PutRaw("blue", eth)
		if p := c.Get("ext"); p != nil {
			if valid(p.Eth) == nil {
				c.Fail("a damaged packet has a right checksum now: %s", p.Line)
			}
		}
	}
}

func noRoute(c *Case) {
	line := "udp 172.16.101.4:4000 > 198.51.100.7:5000 ttl 64 id 9 tos 0 len 20"
	c.Put("blue", "%s", line)
	c.Want("blue", "icmp 172.16.101.1 > 172.16.101.4 type 3 code 0 about [%s]", line)
	c.Put("blue", "udp 172.16.101.4:4000 > 10.10.10.4:5000")
	c.Want("ext", "udp 10.10.10.2:* > 10.10.10.4:5000")
	c.Quiet()
}

// hostUnreachable: every sender that waits for a host gets an error if the host does not answer, and reaches the host
// soon after it answers. The error may quote the packet with its TTL before or behind the router.
func hostUnreachable(c *Case) {
	const line = "udp %s:4000 > 172.16.101.4:5000 id 9 tos 0 len 20"
	senders := []string{"10.10.10.4", "10.10.10.5", "198.51.100.7"}
	c.Silence("blue", "172.16.101.4")
	for _, s := range senders {
		c.Put("ext", line, s)
	}
	c.Wait(4 * time.Second)
	if n, _ := requests(c.arps("blue"), "172.16.101.4"); n < 2 {
		c.Fail("the host was asked for %d times in four seconds", n)
	}
	missing := map[string]bool{}
	for _, s := range senders {
		missing[s] = true
	}
	for range senders {
		p := c.Get("ext")
		if p == nil {
			c.Fail("not everybody is told: %v", missing)
		}
		if !missing[p.Dst.String()] {
			c.Fail("unexpected: %s", p.Line)
		}
		delete(missing, p.Dst.String())
		c.keep("ext", [][]byte{p.Eth})
		c.Want("ext", "icmp 10.10.10.2 > %s type 3 code 1 about ["+line+"]", p.Dst, p.Dst)
	}
	c.None("blue", "ext")
	c.Speak("blue", "172.16.101.4")
	c.Wait(time.Second)
	c.Drop()
	c.Put("ext", line, senders[0])
	c.Want("blue", "udp 10.10.10.4:4000 > 172.16.101.4:5000 ttl 63 len 20")
}

func nothingListens(c *Case) {
	for _, x := range []struct{ network, from, to string }{
		{"blue", "172.16.101.4", "172.16.101.1"}, {"green", "172.16.100.9", "172.16.100.1"},
		{"small", "172.16.102.6", "172.16.102.1"}, {"small", "172.16.103.1", "172.16.103.0"},
	} {
		for _, y := range []struct {
			line string
			code int
		}{{"udp %s:4000 > %s:9 ttl 64 id 9 tos 0 len 20", 3}, {"ip %s > %s proto 253 ttl 64 id 9 tos 0 len 20", 2}} {
			line := fmt.Sprintf(y.line, x.from, x.to)
			c.Put(x.network, "%s", line)
			c.Want(x.network, "icmp %s > %s type 3 code %d about [%s]", x.to, x.from, y.code, line)
		}
	}
	c.Quiet()
}

func resetFromRouter(c *Case) {
	const to = "tcp 172.16.101.4:4000 > 172.16.101.1:9 "
	for _, x := range []struct {
		segment  string
		flags    uint8
		seq, ack uint32
	}{
		{"S seq 100", packet.RST | packet.ACK, 0, 101}, {"S seq 4294967295", packet.RST | packet.ACK, 0, 0},
		{"S seq 100 len 9", packet.RST | packet.ACK, 0, 110}, {"F seq 100", packet.RST | packet.ACK, 0, 101},
		{"none seq 100 len 5", packet.RST | packet.ACK, 0, 105},
		{". seq 100 ack 500", packet.RST, 500, 0}, {"F. seq 100 ack 501 len 7", packet.RST, 501, 0},
	} {
		c.Put("blue", "%s", to+x.segment)
		p := c.Get("blue")
		if p == nil {
			c.Fail("no answer to %s", x.segment)
		}
		if err := valid(p.Eth); err != nil || p.SrcPort != 9 || p.DstPort != 4000 || p.Flags != x.flags ||
			p.Seq != x.seq || p.Ack != x.ack {
			c.Fail("%s is answered by %s (%v)", x.segment, p.Line, err)
		}
	}
	for _, flags := range []string{"R", "R.", "SR"} { // never about a reset
		c.Put("blue", "%s", to+flags+" seq 100 ack 500")
	}
	c.Quiet()
}

// policyRefuses: from outside nothing is plainRouter to inside addresses. The sender may be told.
func policyRefuses(c *Case) {
	for i, kind := range packetKinds {
		line := crossings[1].line(kind.line, 10+i)
		c.Put("ext", "%s ttl 64", line)
		c.None("blue", "green", "small")
		for p := c.get("ext", false); p != nil; p = c.get("ext", false) {
			c.keep("ext", [][]byte{p.Eth})
			c.Want("ext", "icmp 10.10.10.2 > %s type 3 code 13 about [%s ttl 64]", p.Dst, line)
		}
	}
}

// noErrorAboutErrors sends what would be answered, were it not an error or a later
// fragment itself.
func noErrorAboutErrors(c *Case) {
	for i, typ := range []string{"3 code 1", "3 code 4 mtu 1000", "4", "5 code 1", "11", "12"} {
		for _, dst := range []string{"198.51.100.7 ttl 1", "172.16.101.1 ttl 64", "172.16.102.6 df ttl 64"} {
			addr, _, _ := strings.Cut(dst, " ")
			c.Put("blue", "icmp 192.168.10.%d > %s type %s about [udp %s:53 > 192.168.10.%d:4000 len 1100]", 10+i, dst,
				typ, addr, 10+i)
		}
	}
	c.None("blue")
	c.Drop()
	// The first fragment of the packet is good.
	c.Put("blue", "udp 192.168.10.20:4000 > 198.51.100.7:5000 id 77 off 0 more len 16 of 1040")
	c.Put("blue", "udp 192.168.10.20 > 198.51.100.7 id 77 off 24 more len 16 ttl 1")
	c.Put("blue", "udp 192.168.10.20 > 198.51.100.7 id 77 off 40 len 1008 ttl 1")
	c.Put("blue", "udp 192.168.10.20 > 172.16.101.1 id 78 off 24 len 16")
	c.None("blue")
	c.liveError()
}

// liveError makes sure that the router does send errors.
func (c *Case) liveError() {
	c.Drop()
	const line = "udp 192.168.10.99:4000 > 198.51.100.7:5000 ttl 1 id 9 tos 0 len 20"
	c.Put("blue", line)
	c.Want("blue", "icmp 172.16.101.1 > 192.168.10.99 type 11 about ["+line+"]")
}

func noErrorAboutBroadcasts(c *Case) {
	for _, dst := range []string{"198.51.100.7:9 ttl 1", "172.16.101.1:9", "172.16.102.6:9 len 1100 df"} {
		for _, to := range []mac{packet.Broadcast, {1, 0, 0x5e, 0, 0, 5}} {
			eth := c.frame("blue", "udp 192.168.10.9:4000 > "+dst)
			copy(eth, to[:])
			c.PutRaw("blue", eth)
		}
	}
	for _, dst := range []string{"255.255.255.255", "172.16.101.255", "224.0.0.1", "224.0.0.5", "239.1.1.1"} {
		for _, rest := range []string{":9 ttl 64", ":9 ttl 1"} {
			eth := c.frame("blue", "udp 192.168.10.9:4000 > "+dst+rest)
			c.PutRaw("blue", eth)
			copy(eth, packet.Broadcast[:])
			c.PutRaw("blue", eth)
		}
	}
	c.Quiet()
	c.liveError()
}

func noErrorToNobody(c *Case) {
	for _, src := range []string{"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"172.16.101.255"} {
		for _, dst := range []string{"198.51.100.7:9 ttl 1", "172.16.101.1:9", "172.16.102.6:9 len 1100 df"} {
			c.Put("blue", "udp %s:4000 > %s", src, dst)
		}
	}
	c.Quiet()
	c.liveError()
}

// quotes: an error quotes as much of a packet as 576 bytes can hold, and a shorter packet as a whole.
func quotes(c *Case) {
	for i, n := range []int{0, 1, 8, 519, 520, 521, 1400} {
		line := fmt.Sprintf("udp 192.168.10.%d:4000 > 198.51.100.7:5000 ttl 1 id 9 tos 0 len %d", 10+i, n)
		c.Put("blue", "%s", line)
		if 28+n > 548 {
			line += " cut 548"
		}
		c.Want("blue", "icmp 172.16.101.1 > 192.168.10.%d type 11 about [%s]", 10+i, line)
	}
}

// precedence: errors are network control, and an answer is of the kind of the question.
func precedence(c *Case) {
	for i, tos := range []uint8{0, 0x20, 0xa0} {
		c.Put("blue", "udp 192.168.10.%d:4000 > 198.51.100.7:5000 ttl 1 tos %d", 10+i, tos)
		p := c.Want("blue", "icmp 172.16.101.1 > 192.168.10.%d type 11", 10+i)
		if got := p.Eth[packet.EthernetLen+1]; got>>5 != 6 && got>>5 != 7 {
			c.Fail("an error's type of service is %#02x", got)
		}
		c.Put("blue", "icmp 172.16.101.4 > 172.16.101.1 request id 5 seq 1 tos %d", tos)
		c.Want("blue", "icmp 172.16.101.1 > 172.16.101.4 reply id 5 seq 1 tos %d", tos)
	}
}

// errorRate: a flood is not answered one by one, and is not at others' expense.
func errorRate(c *Case) {
	const flood = 400
	for range flood {
		c.Put("blue", "udp 192.168.10.9:4000 > 198.51.100.7:5000 ttl 1")
	}
	c.ask("blue")
	n := 0
	for c.get("blue", n == 0) != nil {
		n++
	}
	if n == 0 || n > flood/2 {
		c.Fail("%d errors about %d packets", n, flood)
	}
	heard := 0
	for sender := range 4 {
		c.Put("blue", "udp 192.168.10.%d:4000 > 198.51.100.7:5000 ttl 1", 20+sender)
		if c.ask("blue"); c.get("blue", false) != nil {
			heard++
		}
	}
	if heard < 3 { // two senders may share a counter
		c.Fail("after a flood from one sender, %d of 4 others hear of their packets", heard)
	}
	c.Wait(1200 * time.Millisecond)
	c.Put("blue", "udp 192.168.10.9:4000 > 198.51.100.7:5000 ttl 1")
	c.Want("blue", "icmp 172.16.101.1 > 192.168.10.9 type 11")
}

// sourceRoutes are loose and strict, to be followed and all used up, alone and behind others.
func sourceRoutes(c *Case) {
	for _, opts := range []string{
		"8307040a09090900", "8907040a09090900", "8307080a09090900", "8907080a09090900",
		"018307040a090909", "5e0401028307040a09090900",
	} {
		for _, dst := range []string{"172.16.101.4", "10.10.10.2", "10.10.10.3"} {
			c.Put("ext", "udp 198.51.100.7:4000 > %s:5000 ipopts %s len 20", dst, opts)
		}
	}
	c.None("blue", "green", "small")
	for p := c.get("ext", false); p != nil; p = c.get("ext", false) {
		if p.Type != packet.ICMPUnreachable || p.Code != 5 { // source route failed
			c.Fail("on ext: %s", p.Line)
		}
	}
	c.Put("ext", "udp 198.51.100.7:4000 > 172.16.101.4:5000 len 20")
	c.Want("blue", "udp 198.51.100.7:4000 > 172.16.101.4:5000 len 20")
}

// unknownOptions pass as they are, and so do options that are none of a router's business.
func unknownOptions(c *Case) {
	for _, opts := range []string{"5e040102", "9e040102", "01010101", "00000000", "94040000",
		"5e0801020304050600000000",
		"5e025e02", "1e020000", "88041234"} {
		for i := range crossings {
			x := &crossings[i]
			line := x.line("udp %s:4000 > %s:5000 len 20", 9) + " ipopts " + opts
			c.Put(x.from, "%s", line)
			c.Want(x.to, "%s", line)
		}
	}
}

// longestPrefix: each address goes to the most exact of four routes.
func longestPrefix(c *Case) {
	for _, x := range []struct{ dst, network, hop string }{
		{"192.168.20.7", "blue", "172.16.101.254"}, {"192.168.23.255", "blue", "172.16.101.254"},
		{"192.168.21.6", "green", "172.16.100.20"}, {"192.168.21.8", "green", "172.16.100.20"},
		{"192.168.21.255", "green", "172.16.100.20"},
		{"192.168.21.7", "small", "172.16.102.6"}, {"192.168.24.1", "ext", "10.10.10.1"},
		{"192.168.19.255", "ext", "10.10.10.1"},
		{"172.16.102.6", "small", "172.16.102.6"}, {"10.10.10.4", "ext", "10.10.10.4"},
	} {
		from, src := "blue", "172.16.101.4"
		if x.network == "blue" {
			from, src = "green", "172.16.100.9"
		}
		c.Put(from, "udp %s:4000 > %s:5000", src, x.dst)
		p := c.Get(x.network)
		if p == nil {
			c.Fail("nothing for %s came out to %s", x.dst, x.network)
		}
		if p.Dst.String() != x.dst {
			c.Fail("on %s: %s", x.network, p.Line)
		}
		c.toward(p, x.hop)
	}
	c.Quiet()
}

// toward fails unless a packet is in a frame for a host, or router, of its network.
func (c *Case) toward(p *Packet, hop string) {
	if want := c.hosts.macOf(p.Network, parseAddr(hop)); mac(p.Eth[:6]) != want {
		c.Fail("on %s: to %v, not to %v (%s): %s", p.Network, mac(p.Eth[:6]), want, hop, p.Line)
	}
}

// prefixOf31: both addresses of a link of two are hosts', and neither is its broadcast.
func prefixOf31(c *Case) {
	c.Put("small", "icmp 172.16.103.1 > 172.16.103.0 request id 5 seq 1")
	c.Want("small", "icmp 172.16.103.0 > 172.16.103.1 reply id 5 seq 1")
	c.Put("blue", "udp 172.16.101.4:4000 > 172.16.103.1:5000")
	c.toward(c.Want("small", "udp 172.16.101.4:4000 > 172.16.103.1:5000"), "172.16.103.1")
	c.Put("small", "udp 172.16.103.1:5000 > 172.16.101.4:4000")
	c.Want("blue", "udp 172.16.103.1:5000 > 172.16.101.4:4000")
	c.Put("small", "udp 172.16.103.1:5000 > 198.51.100.7:4000")
	c.Want("ext", "udp 10.10.10.2:* > 198.51.100.7:4000")
	c.Quiet()
}

// noRedirects: packets go back to the network they came from, and their sender gets no redirect.
func noRedirects(c *Case) {
	for _, dst := range []string{"192.168.10.5", "172.16.101.2"} {
		c.Put("blue", "udp 172.16.101.4:4000 > %s:5000", dst)
		c.Want("blue", "udp 172.16.101.4:4000 > %s:5000", dst)
	}
	c.Quiet()
}

// redirectsNotBelieved has the upstream, and then another host, send redirects.
func redirectsNotBelieved(c *Case) {
	port := c.external(carriers[0], "172.16.101.4:4000", "198.51.100.7:53")
	about := fmt.Sprintf("about [udp 10.10.10.2:%d > 198.51.100.7:53]", port)
	for _, from := range []string{"10.10.10.1", "10.10.10.5"} {
		eth := c.frame("ext", fmt.Sprintf("icmp %s > 10.10.10.2 type 5 code 1 %s", from, about))
		icmp := eth[packet.EthernetLen+packet.IPv4Len:]
		copy(icmp[4:], []byte{10, 10, 10, 5}) // the better way
		packet.SetTransportChecksum(eth[packet.EthernetLen:])
		c.PutRaw("ext", eth)
	}
	c.Quiet()
	c.Put("blue", "udp 172.16.101.4:4000 > 198.51.100.7:53")
	c.toward(c.Want("ext", "udp 10.10.10.2:%d > 198.51.100.7:53", port), "10.10.10.1")
}
