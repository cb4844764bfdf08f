package nat

import (
	"slices"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A remotePorts is the ports of one external address that are free towards one remote endpoint. It is kept
// where so many ports are taken that trying at random hardly ever finds a free one. Each search for a port
// builds a part of it. Every connection that comes or goes keeps it up to date. It is forgotten when half of
// the ports that it knows are free again.
type remotePorts struct {
	portSet
	lo, hi int
	built  int // ports from lo up to here are known
	taken  int // how many of the known ports are taken
	next   int // the known port to look at again first: its connection may have expired
}

// remoteKey is what the connections of a remotePorts have in common: replies from the remote endpoint to the
// external address.
type remoteKey struct {
	remote, ext packet.Addr
	remotePort  uint16
	proto       uint8
	wellKnown   bool // ports below 1024
}

const (
	// buildStep is how many ports one search looks at to build a remotePorts.
	buildStep = 512
	// recheckStep is how many known ports one search without result looks at again.
	recheckStep = 64
	// maxRemotes bounds the memory, of 8 KB each.
	maxRemotes = 256
)

// remoteKeyOf is the key of a reply.
func remoteKeyOf(reply *packet.Tuple) remoteKey {
	wellKnown := reply.DstPort < 1024 && reply.Proto != packet.ProtoICMP
	return remoteKey{reply.Src, reply.Dst, reply.SrcPort, reply.Proto, wellKnown}
}

// searchRemote finds a free port for tuple sent from src where random tries have failed.
func (t *Table) searchRemote(src packet.Addr, tuple, original packet.Tuple, lo, hi int) (uint16, conntrack.Refusal) {
	reply := packet.Tuple{Src: tuple.Dst, SrcPort: tuple.DstPort, Dst: src, DstPort: uint16(lo), Proto: tuple.Proto}
	key := remoteKeyOf(&reply)
	p := t.remotes[key]
	if p == nil {
		if len(t.remotes) >= maxRemotes {
			t.forgetRemote(t.remoteOrder[0]) // the connections know the same, so it can be built again
		}
		p = &remotePorts{portSet: newPortSet(), lo: lo, hi: hi, built: lo, next: lo}
		t.remotes[key] = p
		t.remoteOrder = append(t.remoteOrder, key)
	}
	for end := min(p.built+buildStep, hi+1); p.built < end; p.built++ {
		reply.DstPort = uint16(p.built)
		if !t.conns.Available(&reply) {
			p.take(uint16(p.built))
			p.taken++
		}
	}
	port, ok := p.choose(tuple.SrcPort, lo, p.built-1, t.rng)
	if ok && !t.replyFree(tuple, original, src, port) {
		port, ok = p.another(port, lo, p.built-1, t.rng) // one port may be that of the original tuple itself
		ok = ok && t.replyFree(tuple, original, src, port)
	}
	if !ok {
		return t.recheck(p, src, tuple, original)
	}
	return port, conntrack.None
}

// recheck looks for a port whose connection has expired since it was noted, and which the sweep has not
// reached.
func (t *Table) recheck(p *remotePorts, src packet.Addr, tuple, original packet.Tuple) (uint16, conntrack.Refusal) {
	for range recheckStep {
		if p.next >= p.built {
			p.next = p.lo
		}
		port := uint16(p.next)
		p.next++
		if t.replyFree(tuple, original, src, port) {
			return port, conntrack.None
		}
	}
	return 0, NoPort
}

// forgetRemote forgets a remotePorts.
func (t *Table) forgetRemote(key remoteKey) {
	delete(t.remotes, key)
	t.remoteOrder = slices.DeleteFunc(t.remoteOrder, func(k remoteKey) bool { return k == key })
}

// noteTaken and noteFree tell a remotePorts, if there is one, that a tuple is in use, or no longer.
func (t *Table) noteTaken(tuple *packet.Tuple) {
	p := t.remotes[remoteKeyOf(tuple)]
	if port := int(tuple.DstPort); p != nil && port >= p.lo && port < p.built && p.free(tuple.DstPort) {
		p.take(tuple.DstPort)
		p.taken++
	}
}

func (t *Table) noteFree(tuple *packet.Tuple) {
	key := remoteKeyOf(tuple)
	p := t.remotes[key]
	if port := int(tuple.DstPort); p == nil || port < p.lo || port >= p.built || p.free(tuple.DstPort) {
		return
	}
	p.put(tuple.DstPort)
	if p.taken--; 2*p.taken < p.built-p.lo {
		t.forgetRemote(key)
	}
}
