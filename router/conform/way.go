package conform

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A way is one kind of translation that a connection may go through, or none.
type way struct {
	name     string
	from, to string // networks
	client   string // address
	dest     string // where the client sends to: an address,
	port     uint16 // and the port; UDP has udpPort
	udpPort  uint16
	servers  []string // the hosts that may answer: addresses,
	real     uint16   // and the port
	realUDP  uint16
	shown    string // the client's address, as the server sees it
	shared   bool   // its port may be another one
	echoes   bool   // pings go this way, too
}

// destPort is the port that the client talks to.
func (w *way) destPort(proto string) uint16 {
	if proto == "udp" {
		return w.udpPort
	}
	return w.port
}

// ways are all kinds of translation.
var ways = []way{
	{"plain", "blue", "green", "172.16.101.4", "172.16.100.20", 80, 53, []string{"172.16.100.20"}, 80, 53,
		"172.16.101.4", false, true},
	{"snat", "blue", "ext", "172.16.101.4", "10.10.10.4", 80, 53, []string{"10.10.10.4"}, 80, 53, "10.10.10.2", true,
		true},
	{"out of a floating ip", "blue", "ext", "172.16.101.3", "10.10.10.4", 80, 53, []string{"10.10.10.4"}, 80, 53,
		"10.10.10.3", false, true},
	{"into a floating ip", "ext", "blue", "10.10.10.4", "10.10.10.3", 80, 53, []string{"172.16.101.3"}, 80, 53,
		"10.10.10.4", false, true},
	{"forwarded port", "ext", "blue", "10.10.10.4", "10.10.10.8", 2222, 5353, []string{"172.16.101.4"}, 22, 53,
		"10.10.10.4", false, false},
	{"vip", "blue", "green", "172.16.101.4", "172.16.100.11", 80, 53, []string{"172.16.100.9", "172.16.100.10"}, 80, 53,
		"172.16.101.4", false, false},
	{"vip through a floating ip", "ext", "green", "10.10.10.4", "10.10.10.7", 80, 53,
		[]string{"172.16.100.9", "172.16.100.10"}, 80, 53, "10.10.10.4", false, false},
	{"hairpin", "blue", "blue", "172.16.101.4", "10.10.10.3", 80, 53, []string{"172.16.101.3"}, 80, 53, "10.10.10.2",
		true, true},
	{"hairpin between floating ips", "blue", "blue", "172.16.101.5", "10.10.10.3", 80, 53, []string{"172.16.101.3"}, 80,
		53, "10.10.10.15", false, true},
}

// A path is a connection's: its endpoints as the client knows them, near, and as the
// server does, far.
type path struct {
	c            *Case
	w            *way
	proto        string
	client, dest string // near
	shown, real  string // far
}

// newPath is the path of a connection that is yet to begin, from a port.
func (c *Case) newPath(w *way, proto string, port int) *path {
	return &path{c: c, w: w, proto: proto, client: fmt.Sprintf("%s:%d", w.client, port),
		dest:  fmt.Sprintf("%s:%d", w.dest, w.destPort(proto)),
		shown: fmt.Sprintf("%s:%d", w.shown, port)}
}

// first sends the first packet of a connection from a port, and finds out which way it goes.
func (c *Case) first(w *way, proto string, port int, words string) *path {
	p := c.newPath(w, proto, port)
	p.send(words)
	p.begun(c.Get(w.to), words)
	return p
}

// begun learns a path's far end from the first packet that has come out, nil: none has.
func (p *path) begun(got *Packet, words string) {
	c, w, real := p.c, p.w, p.w.real
	if p.proto == "udp" {
		real = w.realUDP
	}
	for c.skipOthers && got != nil && (got.Src.String() != w.shown || got.DstPort != real ||
		!slices.Contains(w.servers, got.Dst.String())) {
		got = c.Get(w.to)
	}
	if got == nil {
		c.Fail("nothing came out to %s; wanted %s %s > %s, translated", w.to, p.proto, p.client, p.dest)
	}
	if !slices.Contains(w.servers, got.Dst.String()) {
		c.Fail("%s came out; wanted one to %s", got.Line, strings.Join(w.servers, " or "))
	}
	p.real = fmt.Sprintf("%s:%d", got.Dst, real)
	if w.shared {
		p.shown = fmt.Sprintf("%s:%d", w.shown, got.SrcPort)
	}
	c.keep(w.to, [][]byte{got.Eth})
	c.Want(w.to, "%s %s > %s %s", p.proto, p.shown, p.real, passed(words))
}

// there has the client send, and wants it at the server; back is the other way.
func (p *path) there(format string, args ...any) *Packet {
	words := fmt.Sprintf(format, args...)
	p.send(words)
	return p.c.Want(p.w.to, "%s %s > %s %s", p.proto, p.shown, p.real, passed(words))
}

func (p *path) back(format string, args ...any) *Packet {
	words := fmt.Sprintf(format, args...)
	p.reply(words)
	return p.c.Want(p.w.from, "%s %s > %s %s", p.proto, p.dest, p.client, passed(words))
}

// send has the client send, and reply the server.
func (p *path) send(words string) {
	p.c.Put(p.w.from, "%s %s > %s %s", p.proto, p.client, p.dest, words)
}
func (p *path) reply(words string) { p.c.Put(p.w.to, "%s %s > %s %s", p.proto, p.real, p.shown, words) }

// passed is what a router makes of a packet's words: a time to live is one less.
func passed(words string) string {
	before, after, ok := strings.Cut(words, "ttl ")
	if !ok {
		return words
	}
	ttl, rest, _ := strings.Cut(after, " ")
	n, err := strconv.Atoi(ttl)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%sttl %d %s", before, n-1, rest)
}

// connect opens a TCP connection: the client's next byte is 101, the server's 501.
func (c *Case) connect(w *way, port int) *path {
	p := c.first(w, "tcp", port, "S seq 100 win 60000 mss 1460")
	p.back("S. seq 500 ack 101 win 60000 mss 1460")
	p.there(". seq 101 ack 501 win 60000")
	return p
}

// wayOf returns a way by its name.
func wayOf(name string) *way {
	return &ways[slices.IndexFunc(ways, func(w way) bool { return w.name == name })]
}

// eachWay makes a check of every way.
func eachWay(check Check, play func(*Case, *way)) []Check {
	var all []Check
	for i := range ways {
		k := check
		k.Name = check.Name + "/" + ways[i].name
		k.play = func(c *Case) { play(c, &ways[i]) }
		all = append(all, k)
	}
	return all
}
