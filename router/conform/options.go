package conform

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// optionChecks are about IP options that a router takes part in.
func optionChecks() []Check {
	const (
		route = "RFC 1812, 5.3.13.5 and 4.2.2.2; RFC 791, 3.1"
		stamp = "RFC 1812, 5.3.13.6; RFC 791, 3.1"
	)
	all := eachWay(Check{Item: "R16", Name: "recorded", Level: Must, Source: route}, recordedBothWays)
	return append(all,
		Check{Item: "R16", Name: "full", Level: Must, Source: "RFC 791, 3.1", Profile: plainRouter, play: recordIsFull},
		Check{Item: "R16", Name: "first fragment", Level: Must, Source: "RFC 791, 3.1", Profile: plainRouter,
			play: recordInPieces},
		Check{Item: "R16", Name: "quoted", Level: Must, Source: "RFC 5508, REQ-3 b); RFC 1812, 4.3.2.3",
			play: recordQuoted},
		Check{Item: "R16", Name: "echo", Level: Should, Source: "RFC 1812, 4.3.3.6", play: recordOfEcho},
		Check{Item: "R17", Name: "time", Level: Must, Source: stamp, Profile: plainRouter,
			play: func(c *Case) { stamps(c, 0) }},
		Check{Item: "R17", Name: "address and time", Level: Must, Source: stamp, Profile: plainRouter,
			play: func(c *Case) { stamps(c, 1) }},
		Check{Item: "R17", Name: "routers that are asked", Level: Must, Source: stamp, Profile: plainRouter,
			play: stampsAsked},
		Check{Item: "R17", Name: "overflow", Level: Must, Source: "RFC 791, 3.1", Profile: plainRouter,
			play: stampsOverflow},
		Check{Item: "R17", Name: "echo", Level: Should, Source: "RFC 1812, 4.3.3.6", play: stampOfEcho},
		Check{Item: "R18", Name: "parameter problem", Level: Must, Source: "RFC 1812, 4.3.3.5; RFC 791, 3.1",
			Profile: plainRouter, play: malformedOptions},
		Check{Item: "R18", Name: "not about errors and fragments", Level: Must, Source: "RFC 1812, 4.3.2.7",
			Profile: plainRouter, play: malformedQuietly},
	)
}

// routerOn is the router's address on a network.
func routerOn(network string) uint32 { return word(askers[network][1]) }

// word is an address as a word of an option.
func word(address string) uint32 {
	b := parseAddr(address).As4()
	return binary.BigEndian.Uint32(b[:])
}

// An option's bytes: a record route, and a timestamp of some flags, with entries of words.
func recordOption(pointer int, words ...uint32) string {
	return option([]byte{7, 0, byte(pointer)}, 1, words)
}

func stampOption(pointer int, flags byte, words ...uint32) string {
	return option([]byte{68, 0, byte(pointer), flags}, 0, words)
}

// option fills in the length, and puts NOPs in front.
func option(head []byte, nops int, words []uint32) string {
	for _, w := range words {
		head = binary.BigEndian.AppendUint32(head, w)
	}
	head[1] = byte(len(head))
	for range nops {
		head = append([]byte{1}, head...)
	}
	return fmt.Sprintf("ipopts %x", head)
}

func recordedBothWays(c *Case, w *way) {
	p, out, in := c.open(w, "udp", 4000)
	p.send(out + " " + recordOption(4, 0, 0))
	c.Want(w.to, "udp %s > %s %s %s", p.shown, p.real, out, recordOption(8, routerOn(w.to), 0))
	p.reply(in + " " + recordOption(8, 7, 0))
	c.Want(w.from, "udp %s > %s %s %s", p.dest, p.client, in, recordOption(12, 7, routerOn(w.from)))
	c.Quiet()
}

func recordIsFull(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for _, words := range [][]uint32{{1, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9}} {
			line := x.line("udp %s:4000 > %s:5000 len 20", 9) + " " + recordOption(4+4*len(words), words...)
			c.Put(x.from, "%s", line)
			c.Want(x.to, "%s", line)
		}
	}
	c.Quiet()
}

func recordInPieces(c *Case) {
	c.Put("blue", "udp 172.16.101.4:4000 > 172.16.102.6:53 id 9 len 1200 %s", recordOption(4, 0))
	all := c.came("small")
	if p := c.join(all); p == nil || len(all) != 2 {
		c.Fail("in pieces: %s", lines(all))
	}
	for _, p := range all {
		got, want := fmt.Sprintf("ipopts %x", p.options()), recordOption(8, routerOn("small"))
		if p.Off > 0 && p.find(7) != nil || p.Off == 0 && got != want {
			c.Fail("at %d: %s, want %s in the first one", p.Off, got, want)
		}
	}
}

// find returns an option of a packet, whatever NOPs there are; nil: it is not there.
func (p *Packet) find(kind byte) []byte {
	opts := p.options()
	for len(opts) > 1 && opts[0] != 0 {
		n := 1
		if opts[0] != 1 {
			n = max(1, min(int(opts[1]), len(opts)))
		}
		if opts[0] == kind {
			return opts[:n]
		}
		opts = opts[n:]
	}
	return nil
}

// options are a packet's.
func (p *Packet) options() []byte {
	ip := p.Eth[packet.EthernetLen:]
	return ip[packet.IPv4Len : int(ip[0]&15)*4]
}

// recordQuoted: an error shows the packet as the path has made it, and the client's addresses.
func recordQuoted(c *Case) {
	for _, name := range []string{"snat", "out of a floating ip", "vip", "hairpin"} {
		w := wayOf(name)
		p, words, _ := c.open(w, "udp", 4000)
		p.send(words + " " + recordOption(4, 0, 0))
		done := words + " " + recordOption(8, routerOn(w.to), 0)
		out := c.Want(w.to, "udp %s > %s %s", p.shown, p.real, done)
		c.Put(w.to, "icmp %s > %s type 3 code 3 %s", addrOf(p.real), addrOf(p.shown), out.Quote(576))
		c.Want(w.from, "icmp %s > %s type 3 code 3 about [udp %s > %s %s]", w.dest, w.client, p.client, p.dest, done)
	}
}

// recordOfEcho: whether the router writes itself down once or twice, as the end of one way
// and as the beginning of the other, is not said.
func recordOfEcho(c *Case) {
	for _, to := range []string{"172.16.101.1", "172.16.100.1", "10.10.10.2"} {
		c.Put("blue", "icmp 172.16.101.4 > %s request id 5 seq 1 len 20 %s", to, recordOption(8, 7, 0, 0, 0))
		p := c.Want("blue", "icmp %s > 172.16.101.4 reply id 5 seq 1 len 20", to)
		opt := p.find(7)
		if len(opt) != 19 || opt[2] != 12 && opt[2] != 16 || binary.BigEndian.Uint32(opt[3:]) != 7 {
			c.Fail("the reply's options are %x", p.options())
		}
		if got := packet.ReadAddr(opt[7:]).Netip().String(); got != "172.16.101.1" && got != to {
			c.Fail("%s is recorded", got)
		}
	}
}

// day is the target's time of the day.
func (c *Case) day() time.Time {
	if w, ok := c.wire.(interface{ Day() time.Time }); ok {
		return w.Day()
	}
	return time.Now()
}

// wantTime fails unless a timestamp is that of now, or marked as no time of the day.
func (c *Case) wantTime(stamp uint32) {
	const day, near = 24 * time.Hour, time.Minute // of a busy machine
	if stamp>>31 != 0 {
		return
	}
	now := time.Duration(c.day().UnixMilli()%day.Milliseconds()) * time.Millisecond
	if ago := (now - time.Duration(stamp)*time.Millisecond + day) % day; ago > near && ago < day-near {
		c.Fail("the timestamp is %v after midnight UT, and it is %v", time.Duration(stamp)*time.Millisecond, now)
	}
}

// stamps: at the first place and at the last one.
func stamps(c *Case, flags byte) {
	size := 1 + int(flags)
	for i := range crossings {
		x := &crossings[i]
		for used := range 3 {
			words := make([]uint32, 3*size)
			for k := range used * size {
				words[k] = uint32(100 + k)
			}
			line := x.line("udp %s:4000 > %s:5000 len 20", 9)
			c.Put(x.from, "%s %s", line, stampOption(5+4*used*size, flags, words...))
			p := c.Want(x.to, "%s", line)
			at := 4 + 4*(used+1)*size
			if flags == 1 {
				words[used*size] = routerOn(x.to)
			}
			if len(p.options()) != 4+4*len(words) {
				c.Fail("the options are %x", p.options())
			}
			stamp := binary.BigEndian.Uint32(p.options()[at-4:])
			c.wantTime(stamp)
			words[(used+1)*size-1] = stamp
			if got, want := fmt.Sprintf("ipopts %x", p.options()), stampOption(at+1, flags, words...); got != want {
				c.Fail("on %s: %s, want %s", x.to, got, want)
			}
		}
	}
	c.Quiet()
}

func stampsAsked(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		line := x.line("udp %s:4000 > %s:5000 len 20", 9)
		for _, asked := range []string{"172.16.101.1", "172.16.100.1", "10.10.10.2"} {
			words := []uint32{word(asked), 0, 8, 0}
			c.Put(x.from, "%s %s", line, stampOption(5, 3, words...))
			p := c.Want(x.to, "%s", line)
			words[1] = binary.BigEndian.Uint32(p.options()[8:])
			if got, want := fmt.Sprintf("ipopts %x", p.options()), stampOption(13, 3, words...); got != want {
				c.Fail("%s is asked, on %s: %s, want %s", asked, x.to, got, want)
			}
			c.wantTime(words[1])
		}
		// Another router is, or all have answered.
		for _, same := range []string{stampOption(5, 3, 7, 0), stampOption(13, 3, routerOn("blue"), 9)} {
			c.Put(x.from, "%s %s", line, same)
			c.Want(x.to, "%s %s", line, same)
		}
	}
	c.Quiet()
}

func stampsOverflow(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		line := x.line("udp %s:4000 > %s:5000 len 20", 9)
		for count := range byte(15) {
			for flags := range byte(2) {
				c.Put(x.from, "%s %s", line, stampOption(13, count<<4|flags, 1, 2))
				c.Want(x.to, "%s %s", line, stampOption(13, (count+1)<<4|flags, 1, 2))
			}
		}
		full := line + " " + stampOption(13, 0xf0, 1, 2)
		c.Put(x.from, "%s", full)
		c.Want(x.from, "icmp %s > "+x.src+" type 12 code 0 pointer 23 about [%s]", x.router, 9, full)
	}
	c.Quiet()
}

func stampOfEcho(c *Case) {
	c.Put("blue", "icmp 172.16.101.4 > 172.16.101.1 request id 5 seq 1 len 20 %s", stampOption(5, 1, 0, 0, 0, 0))
	p := c.Want("blue", "icmp 172.16.101.1 > 172.16.101.4 reply id 5 seq 1 len 20")
	opt := p.find(68)
	if len(opt) != 20 || opt[2] != 13 && opt[2] != 21 || binary.BigEndian.Uint32(opt[4:]) != routerOn("blue") {
		c.Fail("the reply's options are %x", p.options())
	}
	c.wantTime(binary.BigEndian.Uint32(opt[8:]))
}

// malformed are options, and the octet of the header that is wrong.
var malformed = []struct {
	opts    string
	pointer int
}{
	{"5e000000", 20}, {"5e010000", 20}, {"5e050000", 20}, {"0101015e", 23}, {"015e0800", 21},
	{"07070300000000 00", 22}, {"07070500000000 00", 22}, {"070200 00", 21},
	{"4408040000000000", 22}, {"4408060000000000", 22}, {"4408050100000000", 22}, {"44030500", 21},
}

func malformedOptions(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for k, m := range malformed {
			line := x.line("udp %s:4000 > %s:5000 len 20", 20+k) + " " + hexOption(m.opts)
			c.Put(x.from, "%s", line)
			c.Want(x.from, "icmp %s > "+x.src+" type 12 code 0 pointer %d about [%s]", x.router, 20+k, m.pointer, line)
		}
	}
	c.Quiet()
}

func hexOption(s string) string { return "ipopts " + strings.ReplaceAll(s, " ", "") }

func malformedQuietly(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for _, m := range malformed {
			opts := hexOption(m.opts)
			c.Put(x.from, "%s off 80 len 24 %s", x.line("udp %s > %s", 9), opts)
			c.Put(x.from, "%s type 3 code 3 %s about [udp %s:1 > %s:2 len 20]",
				x.line("icmp %s > %s", 9), opts, x.dst, fmt.Sprintf(x.src, 9))
			c.Put(x.from, "udp "+x.src+":4000 > 255.255.255.255:5000 %s", 9, opts)
		}
	}
	c.Quiet()
}
