package conform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/internal/packet"
)

// A leg is one direction of an open connection.
type leg struct {
	c          *Case
	in, out    string // networks
	src        string // the sender's address
	sent, seen string // a packet as it goes in, and as it is to come out
}

// legs opens a connection, of UDP, TCP or echoes, and returns the client's leg and the
// server's.
func (c *Case) legs(w *way, proto string, port int) [2]leg {
	if proto == "icmp" {
		g := c.ping(w, port, "seq 1")
		g.reply("seq 1")
		return [2]leg{{c, w.from, w.to, w.client, g.near + " seq 2", g.far + " seq 2"},
			{c, w.to, w.from, w.servers[0], g.back + " seq 2", g.seen + " seq 2"}}
	}
	p, _, _ := c.open(w, proto, port)
	line := func(from, to, words string) string {
		if proto == "udp" {
			words = ""
		}
		return fmt.Sprintf("%s %s > %s %s", proto, from, to, words)
	}
	const there, back = "P. seq 101 ack 501", "P. seq 501 ack 101"
	return [2]leg{{c, w.from, w.to, w.client, line(p.client, p.dest, there), line(p.shown, p.real, there)},
		{c, w.to, w.from, addrOf(p.real), line(p.real, p.shown, back), line(p.dest, p.client, back)}}
}

// protocols are the protocols of a way.
func (w *way) protocols() []string {
	if w.echoes {
		return []string{"udp", "tcp", "icmp"}
	}
	return []string{"udp", "tcp"}
}

// ident is an IP identification in a line's words.
func ident(proto string, id int) string {
	if proto == "icmp" {
		return fmt.Sprintf("ipid %d", id)
	}
	return fmt.Sprintf("id %d", id)
}

// headerOf is the length of a protocol's header, and of IP's.
func headerOf(proto string) int {
	if proto == "tcp" {
		return packet.IPv4Len + packet.TCPLen
	}
	return packet.IPv4Len + packet.UDPLen
}

// piece is a fragment of a frame's packet: these bytes of its payload.
func piece(eth []byte, from, to int, more bool) []byte {
	b := slices.Concat(eth[:transportAt], eth[transportAt+from:transportAt+to])
	ip := b[packet.EthernetLen:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	return place(b, from, more)
}

// place gives a fragment another offset.
func place(eth []byte, off int, more bool) []byte {
	ip := eth[packet.EthernetLen:transportAt]
	fragment := uint16(off / 8)
	if more {
		fragment |= 0x2000
	}
	binary.BigEndian.PutUint16(ip[6:], fragment)
	packet.SetIPv4Checksum(ip)
	return eth
}

// pieces are all fragments of a frame's packet, which is cut at these places.
func pieces(eth []byte, at ...int) [][]byte {
	var all [][]byte
	from, n := 0, len(eth)-transportAt
	for _, to := range append(at, n) {
		all = append(all, piece(eth, from, to, to < n))
		from = to
	}
	return all
}

// orders are the orders in which three pieces may come.
var orders = [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

// putPieces sends a line's packet in three pieces, in an order.
func (c *Case) putPieces(network string, order []int, format string, args ...any) {
	all := pieces(c.frame(network, fmt.Sprintf(format, args...)), 200, 400)
	for _, i := range order {
		c.PutRaw(network, all[i])
	}
}

// whole takes what comes out to a network up to the end of a packet, which it puts together
// and returns with its pieces. Nil: it has not come, or not all of it.
func (c *Case) whole(network string) (*Packet, []*Packet) {
	var all []*Packet
	for {
		p := c.Get(network)
		if p == nil {
			return nil, all
		}
		all = append(all, p)
		if p := c.join(all); p != nil {
			return p, all
		}
	}
}

// came is all that has come out to a network so far.
func (c *Case) came(network string) (all []*Packet) {
	for _, n := range networks {
		c.ask(n) // what was sent before is through
	}
	for p := c.get(network, false); p != nil; p = c.get(network, false) {
		if err := sound(c, network, p.Eth); err != nil {
			c.Fail("on %s: %v: %s", network, err, p.Line)
		}
		all = append(all, p)
	}
	return all
}

// join puts the fragments of one packet together (RFC 791, 3.2), and fails if they are not of
// one. Nil: some are missing.
func (c *Case) join(all []*Packet) *Packet {
	var eth []byte
	sorted := slices.SortedStableFunc(slices.Values(all), func(a, b *Packet) int { return a.Off - b.Off })
	for i, p := range sorted {
		if err := sound(c, p.Network, p.Eth); err != nil {
			c.Fail("on %s: %v: %s", p.Network, err, p.Line)
		}
		ip := p.Eth[packet.EthernetLen:]
		body := ip[int(ip[0]&15)*4 : binary.BigEndian.Uint16(ip[2:])]
		if i == 0 {
			eth = slices.Clone(p.Eth[:len(p.Eth)-len(body)])
		}
		at := len(eth) - packet.EthernetLen - int(eth[packet.EthernetLen]&15)*4
		if p.Off > at {
			return nil
		}
		first := sorted[0]
		var err error
		switch {
		case p.IPID != first.IPID || p.Src != first.Src || p.Dst != first.Dst || p.Proto != first.Proto ||
			p.TTL != first.TTL:
			err = errors.New("pieces of several packets")
		case p.Off < at:
			err = errors.New("pieces that overlap")
		case p.More && len(body)%8 != 0:
			err = fmt.Errorf("a piece of %d bytes that is not the last", len(body))
		case !p.More && i < len(sorted)-1:
			err = errors.New("pieces behind the end")
		}
		if err != nil {
			c.Fail("on %s: %v: %s", p.Network, err, lines(all))
		}
		eth = append(eth, body...)
	}
	if sorted[len(sorted)-1].More {
		return nil
	}
	ip := eth[packet.EthernetLen:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[6], ip[7] = ip[6]&0x40, 0
	packet.SetIPv4Checksum(ip[:int(ip[0]&15)*4])
	return parse(all[0].Network, eth)
}

// lines are packets in nettest's words.
func lines(all []*Packet) string {
	var b []string
	for _, p := range all {
		b = append(b, p.Line)
	}
	return strings.Join(b, "; ")
}

// WantWhole is Want for a packet that may come in pieces, which it returns.
func (c *Case) WantWhole(network, format string, args ...any) []*Packet {
	line := fmt.Sprintf(format, args...)
	p, all := c.whole(network)
	if p == nil {
		c.Fail("on %s: of %s only this came out: [%s]", network, line, lines(all))
	}
	c.keep(network, [][]byte{p.Eth})
	c.Want(network, "%s", line)
	return all
}

// mixed wants so many packets, all in pieces, and their pieces to be told apart by their identifications.
func (c *Case) mixed(network string, want int) {
	var ids []uint16
	all := map[uint16][]*Packet{}
	for _, p := range c.came(network) {
		if all[p.IPID] == nil {
			ids = append(ids, p.IPID)
		}
		all[p.IPID] = append(all[p.IPID], p)
	}
	for _, id := range ids {
		p := c.join(all[id])
		if p == nil {
			c.Fail("on %s: not whole: %s", network, lines(all[id]))
		}
		if err := valid(p.Eth); err != nil {
			c.Fail("on %s: put together: %v: %s", network, err, p.Line)
		}
	}
	if len(ids) != want {
		c.Fail("on %s: %d packets by their identifications, not %d", network, len(ids), want)
	}
}
