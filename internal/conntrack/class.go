package conntrack

import (
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// A Class is what connections with the same timeouts have in common. The zero value stands for the
// class of the connection's protocol.
type Class uint8

const (
	byProtocol Class = iota
	classUDP
	classICMP
	classTCP
	classOther
	firstOwn
)

// A Lifetime is how long the connections of a class may be idle.
type Lifetime struct {
	Idle             time.Duration // in general; of TCP, once it is established
	Opening, Closing time.Duration // of TCP, half open and over; 0: the table's
	Reset            bool          // an established TCP connection that is idle for too long is Cut: see Ending
}

// lifetime is a Lifetime in milliseconds.
type lifetime struct {
	idle, opening, closing uint32
	reset                  bool

	opensByTable, closesByTable bool // opening and closing are the table's
}

func classOf(proto uint8) Class {
	switch proto {
	case packet.ProtoTCP:
		return classTCP
	case packet.ProtoUDP:
		return classUDP
	case packet.ProtoICMP:
		return classICMP
	}
	return classOther
}

// protocolClasses are the classes of the protocols.
func protocolClasses(cfg Config) []lifetime {
	return []lifetime{
		classUDP:   {idle: timeoutMillis(cfg.UDP)},
		classICMP:  {idle: timeoutMillis(cfg.ICMP)},
		classOther: {idle: timeoutMillis(cfg.Other)},
		classTCP: {
			idle: timeoutMillis(cfg.TCPEstablished), opening: timeoutMillis(cfg.TCPOpening),
			closing: timeoutMillis(cfg.TCPClosing),
		},
	}
}

// Class returns the class of connections with this lifetime, for NewConn. Equal lifetimes share a
// class. There is room for about 250 different lifetimes; beyond these it is the class whose Idle
// comes nearest. A caller that does not need the class any more calls ReleaseClass, once for each call.
func (t *Table) Class(l Lifetime) Class {
	want := lifetime{
		idle: timeoutMillis(l.Idle), opening: timeoutMillis(l.Opening), closing: timeoutMillis(l.Closing),
		reset: l.Reset,
	}
	if want.opening == 0 {
		want.opening, want.opensByTable = t.classes[classTCP].opening, true
	}
	if want.closing == 0 {
		want.closing, want.closesByTable = t.classes[classTCP].closing, true
	}
	best, ok := t.takeClass(want)
	if !ok {
		best = t.nearestClass(want.idle)
	}
	t.uses[best].holders++
	return best
}

// nearestClass is the class whose idle comes nearest, among the classes that Class has returned.
func (t *Table) nearestClass(idle uint32) Class {
	near := func(k lifetime) uint32 { return max(k.idle, idle) - min(k.idle, idle) }
	best := firstOwn
	for i := firstOwn; int(i) < len(t.classes) && i != 0; i++ { // 0: it has wrapped
		if near(t.classes[i]) < near(t.classes[best]) {
			best = i
		}
	}
	return best
}

// shortest is the shortest of all times that a connection of these classes may be idle.
func shortest(classes []lifetime) uint32 {
	least := classes[classTCP].idle
	for class, k := range classes[classUDP:] {
		least = min(least, k.idle)
		if class += int(classUDP); class == int(classTCP) || class >= int(firstOwn) {
			least = min(least, k.opening, k.closing)
		}
	}
	return least
}

// timeout is how long the connection may be idle in its present state.
func (t *Table) timeout(c *Conn) uint32 {
	k := &t.classes[c.class]
	if c.proto == packet.ProtoTCP && c.state.transitory() {
		if c.Ended() {
			return k.closing
		}
		return k.opening
	}
	return k.idle
}

// expire ends a connection whose deadline has passed.
func (t *Table) expire(i uint32) {
	t.stats.Expired++
	c := t.conn(i)
	t.remove(i, Ending{TimedOut, t.classes[c.class].reset && c.proto == packet.ProtoTCP && !c.state.transitory()})
}
