package nat

import (
	"slices"

	"github.com/taprouter/taprouter/internal/packet"
)

// A crowd is the ports of one external address that are free towards one remote
// endpoint, kept where so many are taken that trying ports at random hardly ever
// finds one. It is built a part at a time, by those who look for a port, kept up to
// date by every connection that comes and goes, and given up when half of the ports
// it knows are free again.
type crowd struct {
	portSet
	lo, hi int
	built  int // ports from lo up to here are known
	taken  int // among them
	next   int // the one to look at again first, for a connection that has expired
}

// crowdKey is what the connections of a crowd have in common: replies from the
// remote endpoint to the external address.
type crowdKey struct {
	remote, ext uint32
	remotePort  uint16
	proto       uint8
	low         bool // well-known ports
}

const (
	// crowdStep is how many ports one search looks at to build a crowd.
	crowdStep = 512
	// crowdAgain is how many known ports one search without result looks at again.
	crowdAgain = 64
	// maxCrowds bounds the memory, of 8 KB each.
	maxCrowds = 256
)

// crowdOf is the crowd that a reply belongs to.
func crowdOf(reply *packet.Tuple) crowdKey {
	low := reply.DstPort < 1024 && reply.Proto != packet.ProtoICMP
	return crowdKey{reply.Src, reply.Dst, reply.SrcPort, reply.Proto, low}
}

// crowdPort finds a free port for flow sent from src where random tries have
// failed.
func (t *Table) crowdPort(src uint32, flow, original packet.Tuple, lo, hi int) (uint16, Refusal) {
	reply := packet.Tuple{Src: flow.Dst, SrcPort: flow.DstPort, Dst: src, DstPort: uint16(lo), Proto: flow.Proto}
	key := crowdOf(&reply)
	c := t.crowds[key]
	if c == nil {
		if len(t.crowds) >= maxCrowds {
			t.disperse(t.crowdOrder[0]) // it only knows what find does, and can be built again
		}
		c = &crowd{portSet: newPortSet(), lo: lo, hi: hi, built: lo, next: lo}
		t.crowds[key] = c
		t.crowdOrder = append(t.crowdOrder, key)
	}
	for end := min(c.built+crowdStep, hi+1); c.built < end; c.built++ {
		reply.DstPort = uint16(c.built)
		if i, _ := t.find(&reply); i != noConn && !t.expired(t.conn(i), t.now) {
			c.take(uint16(c.built))
			c.taken++
		}
	}
	port, ok := c.choose(flow.SrcPort, lo, c.built-1, t.rng)
	if ok && !t.replyFree(flow, original, src, port) {
		port, ok = c.another(port, lo, c.built-1, t.rng) // one port may be that of the flow itself
		ok = ok && t.replyFree(flow, original, src, port)
	}
	if !ok {
		return t.crowdExpired(c, src, flow, original)
	}
	return port, None
}

// crowdExpired looks for a port whose connection has expired since the crowd got to know
// it, and which the sweep has not reached.
func (t *Table) crowdExpired(c *crowd, src uint32, flow, original packet.Tuple) (uint16, Refusal) {
	for range crowdAgain {
		if c.next >= c.built {
			c.next = c.lo
		}
		port := uint16(c.next)
		c.next++
		if t.replyFree(flow, original, src, port) {
			return port, None
		}
	}
	return 0, NoPort
}

// disperse gives a crowd up.
func (t *Table) disperse(key crowdKey) {
	delete(t.crowds, key)
	t.crowdOrder = slices.DeleteFunc(t.crowdOrder, func(k crowdKey) bool { return k == key })
}

// crowdIn and crowdOut tell a crowd, if there is one, that a tuple is in use, or no
// longer.
func (t *Table) crowdIn(tuple *packet.Tuple) {
	c := t.crowds[crowdOf(tuple)]
	if port := int(tuple.DstPort); c != nil && port >= c.lo && port < c.built && c.free(tuple.DstPort) {
		c.take(tuple.DstPort)
		c.taken++
	}
}

func (t *Table) crowdOut(tuple *packet.Tuple) {
	key := crowdOf(tuple)
	c := t.crowds[key]
	if port := int(tuple.DstPort); c == nil || port < c.lo || port >= c.built || c.free(tuple.DstPort) {
		return
	}
	c.put(tuple.DstPort)
	if c.taken--; 2*c.taken < c.built-c.lo {
		t.disperse(key)
	}
}
