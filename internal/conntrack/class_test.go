package conntrack_test

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// An established TCP connection that has been idle for too long ends. If its class says so, both sides get a RST.
// No RST is sent for a half-open connection, or for one of the protocols' own classes.
func TestIdleIsReset(t *testing.T) {
	for _, reset := range []bool{true, false} {
		for _, by := range []string{"lookup", "tick", "commit"} {
			k := newCutTable()
			own := k.Class(conntrack.Lifetime{Idle: 10 * time.Second, Reset: reset})
			of := func(port uint16, class conntrack.Class) conntrack.NewConn {
				n := through(external, packet.ProtoTCP, port)
				n.Class = class
				return n
			}
			live, usual, half := of(100, own), of(200, 0), of(300, own)
			k.established(t, live)
			k.established(t, usual)
			k.commit(t, half)
			if !there(k.Table, live.Original, 10*time.Second-time.Millisecond) || len(k.resets) != 0 {
				t.Fatalf("%s: it has ended too early: %v", by, k.resets)
			}
			at := 10 * time.Second
			switch by {
			case "lookup":
				if there(k.Table, live.Original, at) {
					t.Errorf("%s: it is there at its deadline", by)
				}
			case "tick":
				k.Tick(at)
			case "commit":
				if _, r := k.Commit(&live, at); r != conntrack.None {
					t.Errorf("%s: its port is not free: %v", by, r)
				}
			}
			if want := map[bool]int{true: 2, false: 0}[reset]; len(k.resets) != want {
				t.Errorf("%s, reset %t: %v", by, reset, k.resets)
			}
			if !there(k.Table, usual.Original, at) || !there(k.Table, half.Original, at) {
				t.Errorf("%s: another one has ended, too", by)
			}
			clear(k.resets)
			k.Tick(3 * time.Hour)
			if len(k.resets) != 0 {
				t.Errorf("%s: resets for those of other classes and states: %v", by, k.resets)
			}
		}
	}
}

// Classes are shared by equal lifetimes, and do not run out: the nearest serves.
func TestClassesDoNotRunOut(t *testing.T) {
	k := newCutTable()
	seen := map[conntrack.Class]time.Duration{}
	for i := range 1000 {
		d := time.Duration(i+1) * time.Second
		c := k.Class(conntrack.Lifetime{Idle: d})
		if c == 0 || c != k.Class(conntrack.Lifetime{Idle: d}) {
			t.Fatalf("class %d of %v, then another", c, d)
		}
		if first, ok := seen[c]; ok && (i < 200 || first < 200*time.Second) {
			t.Fatalf("%v and %v have the same class", first, d)
		} else if !ok {
			seen[c] = d
		}
	}
	n := through(external, packet.ProtoUDP, 100)
	n.Class = k.Class(conntrack.Lifetime{Idle: 7 * time.Second})
	k.commit(t, n)
	if !there(k.Table, n.Original, 7*time.Second-1) || there(k.Table, n.Original, 7*time.Second) {
		t.Error("not the lifetime of its class")
	}
}

// A timeout that is shorter than what the clock tells is not none.
func TestShortestLifetime(t *testing.T) {
	k := newCutTable()
	n := through(external, packet.ProtoUDP, 100)
	n.Class = k.Class(conntrack.Lifetime{Idle: 500 * time.Microsecond})
	k.commit(t, n)
	if !there(k.Table, n.Original, 0) || there(k.Table, n.Original, time.Millisecond) {
		t.Error("not a millisecond")
	}
}

// Each of the times of a class may be the shortest one of all.
func TestEachTimeMayBeTheShortest(t *testing.T) {
	const shortest = 2 * time.Second
	syn := func(k *cutTable, n conntrack.NewConn) { k.commit(t, n) }
	open := func(k *cutTable, n conntrack.NewConn) { k.established(t, n) }
	over := func(k *cutTable, n conntrack.NewConn) {
		c := k.commit(t, n)
		k.send(c, conntrack.Reply, tcpSeg(packet.RST|packet.ACK, 0, 1001, 0))
	}
	for _, c := range []struct {
		name     string
		lifetime conntrack.Lifetime
		proto    uint8
		begin    func(*cutTable, conntrack.NewConn)
	}{
		{"idle UDP", conntrack.Lifetime{Idle: shortest}, packet.ProtoUDP, syn},
		{"idle", conntrack.Lifetime{Idle: shortest}, packet.ProtoTCP, open},
		{"opening", conntrack.Lifetime{Idle: time.Hour, Opening: shortest}, packet.ProtoTCP, syn},
		{"closing", conntrack.Lifetime{Idle: time.Hour, Closing: shortest}, packet.ProtoTCP, over},
	} {
		k := newCutTable()
		n := through(external, c.proto, 100)
		n.Class = k.Class(c.lifetime)
		c.begin(k, n)
		if !there(k.Table, n.Original, shortest-time.Millisecond) || there(k.Table, n.Original, shortest) {
			t.Errorf("%s: not %v", c.name, shortest)
		}
	}
	for proto, cfg := range map[uint8]conntrack.Config{
		packet.ProtoUDP: {UDP: shortest}, packet.ProtoICMP: {ICMP: shortest}, packet.ProtoDCCP: {Other: shortest},
		packet.ProtoTCP: {TCPOpening: shortest},
	} {
		k := &cutTable{Table: newTable(cfg)}
		n := through(external, proto, 100)
		k.commit(t, n)
		if !there(k.Table, n.Original, shortest-time.Millisecond) || there(k.Table, n.Original, shortest) {
			t.Errorf("%v: not %v", packet.ProtoName(proto), shortest)
		}
	}
}
