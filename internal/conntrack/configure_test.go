package conntrack_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// Another timeout holds at once for the connections that are there, shorter or longer, to the millisecond.
func TestConfigureTimeouts(t *testing.T) {
	const (
		opening, established, closing = "oS", "oS rSA oA", "oS rSA oA oR"

		now = 10 * time.Second
	)
	for name, k := range map[string]struct {
		proto  uint8
		script string // of TCP
		cfg    func(d time.Duration) conntrack.Config
	}{
		"udp":     {packet.ProtoUDP, "", func(d time.Duration) conntrack.Config { return conntrack.Config{UDP: d} }},
		"icmp":    {packet.ProtoICMP, "", func(d time.Duration) conntrack.Config { return conntrack.Config{ICMP: d} }},
		"other":   {47, "", func(d time.Duration) conntrack.Config { return conntrack.Config{Other: d} }},
		"opening": {0, opening, func(d time.Duration) conntrack.Config { return conntrack.Config{TCPOpening: d} }},
		"established": {0, established,
			func(d time.Duration) conntrack.Config { return conntrack.Config{TCPEstablished: d} }},
		"closing": {0, closing, func(d time.Duration) conntrack.Config { return conntrack.Config{TCPClosing: d} }},
		"transitory": {0, closing, func(
			d time.Duration) conntrack.Config {
			return conntrack.Config{TCPTransitory: d}
		}},
	} {
		for _, want := range []time.Duration{15 * time.Second, 30 * time.Second} {
			for _, by := range []string{"lookup", "tick"} {
				t.Run(fmt.Sprint(name, " ", want, " ", by), func(t *testing.T) {
					table := newTable(k.cfg(20 * time.Second))
					tuple := tcpTuple(1)
					if k.script != "" {
						play(t, table, k.script)
					} else {
						tuple.Proto = k.proto
						plain(t, table, tuple, 0)
					}
					table.Tick(now)
					table.Configure(k.cfg(want))
					if by == "lookup" {
						if !there(table, tuple, want-time.Millisecond) || there(table, tuple, want) {
							t.Error("not to the millisecond")
						}
						return
					}
					wake := table.Tick(now)
					for ; wake != 0 && wake < want; wake = table.Tick(wake) {
						if table.Len() != 1 {
							t.Fatal("it has ended before its deadline")
						}
					}
					if table.Len() != 1 || wake != want {
						t.Fatalf("Tick wants to be called at %v", wake)
					}
					if table.Tick(wake); table.Len() != 0 {
						t.Error("it is there at its deadline")
					}
				})
			}
		}
	}
}

// What is over by a shorter timeout is swept at the next Tick, in steps, also while a walk is on its way.
func TestConfigureSweeps(t *testing.T) {
	for _, walking := range []bool{false, true} {
		table := newTable(conntrack.Config{UDP: time.Hour})
		const n = 40_000 // several steps
		plain(t, table, udp(n, 1, remote, 2), 0)
		now := 59 * time.Minute
		for k := range packet.Addr(n) {
			plain(t, table, udp(k, 1, remote, 2), now)
		}
		if walking { // the first connection is due, and the walk has passed many others
			now = time.Hour
			table.Tick(now)
		}
		table.Configure(conntrack.Config{UDP: 30 * time.Second})
		before := table.Len()
		now += time.Minute
		wake := table.Tick(now)
		if ended := before - table.Len(); ended == 0 || ended > 1<<14 {
			t.Errorf("walking %t: one Tick ends %d", walking, ended)
		}
		for calls := 0; wake != 0; calls++ {
			if calls > 100 {
				t.Fatalf("walking %t: %d are left", walking, table.Len())
			}
			now = wake
			wake = table.Tick(now)
		}
		if table.Len() != 0 {
			t.Errorf("walking %t: %d are left, and Tick waits for nothing", walking, table.Len())
		}
	}
}

// A class keeps the times that its Lifetime names, also times that are the same as the table's. The times that the
// Lifetime leaves to the table follow the table.
func TestConfigureAndClasses(t *testing.T) {
	table := newTable(conntrack.Config{TCPOpening: 20 * time.Second, TCPClosing: 30 * time.Second})
	lifetimes := []conntrack.Lifetime{
		{Idle: 50 * time.Second},
		{Idle: 50 * time.Second, Opening: 20 * time.Second, Closing: 30 * time.Second},
		{Idle: 50 * time.Second, Opening: 20 * time.Second},
		{Idle: 50 * time.Second, Closing: 30 * time.Second},
	}
	var classes []conntrack.Class
	for _, l := range lifetimes {
		classes = append(classes, table.Class(l))
	}
	cfg := conntrack.Config{TCPOpening: 5 * time.Second, TCPClosing: 7 * time.Second,
		TCPEstablished: 11 * time.Second}
	table.Configure(cfg)
	for k, l := range lifetimes {
		if again := table.Class(l); again != classes[k] {
			t.Errorf("%+v is of class %d, then %d", l, classes[k], again)
		}
		opening, closing := l.Opening, l.Closing
		if opening == 0 {
			opening = cfg.TCPOpening
		}
		if closing == 0 {
			closing = cfg.TCPClosing
		}
		for step, want := range []time.Duration{opening, l.Idle, closing} {
			n := conntrack.NewConn{Original: tcpTuple(uint16(k)), Class: classes[k], Segment: packet.Segment{
				Flags: packet.SYN}}
			n.Reply = n.Original.Reverse()
			c, r := table.Commit(&n, 0)
			if c == nil {
				t.Fatal(r)
			}
			if step > 0 {
				table.Touch(c, conntrack.Reply, packet.SYN|packet.ACK, false, 0)
				table.Touch(c, conntrack.Original, packet.ACK, false, 0)
			}
			if step > 1 {
				table.Touch(c, conntrack.Reply, packet.RST, false, 0)
			}
			if !there(table, n.Original, want-time.Millisecond) || there(table, n.Original, want) {
				t.Errorf("%+v: not %v in step %d", l, want, step)
			}
		}
	}
}

// A longer timeout brings no connection back that a change has ended, also if its deadline had passed before
// Settle came to it. Its sides are not told, as ever when a connection has expired. A connection that is only
// idle goes on.
func TestConfigureBringsNothingBack(t *testing.T) {
	for _, idle := range []time.Duration{5 * time.Second, 15 * time.Second} {
		k := newCutTable()
		k.Configure(conntrack.Config{TCPEstablished: 10 * time.Second})
		named, other := through(external, packet.ProtoTCP, 1), through(external+1, packet.ProtoTCP, 2)
		k.established(t, named)
		k.established(t, other)
		k.Apply(conntrack.Change{Addrs: []packet.Addr{external}})
		for !k.Settle(idle) {
		}
		k.Configure(conntrack.Config{TCPEstablished: time.Hour})
		if there(k.Table, named.Original, idle) || !there(k.Table, other.Original, idle) || k.Len() != 1 {
			t.Errorf("after %v: %d connections", idle, k.Len())
		}
		if cut := len(k.resets) > 0; cut != (idle < 10*time.Second) {
			t.Errorf("after %v: the sides of the ended connection are told: %t", idle, cut)
		}
	}
}

// lasting makes n connections that make no room for others, from first on.
func lasting(t *testing.T, table *conntrack.Table, first, n int) {
	t.Helper()
	for k := first; k < first+n; k++ {
		c := plain(t, table, udp(packet.Addr(k), 1, remote, 2), 0)
		table.Touch(c, conntrack.Reply, 0, false, 0)
	}
}

// over makes n TCP connections that are over.
func over(t *testing.T, table *conntrack.Table, n int) {
	t.Helper()
	for k := range n {
		c := plain(t, table, tcpTuple(uint16(k)), 0)
		table.Touch(c, conntrack.Reply, packet.SYN|packet.ACK, false, 0)
		table.Touch(c, conntrack.Reply, packet.RST, false, 0)
	}
}

// begin tries to make a half-open connection.
func begin(table *conntrack.Table, k int) conntrack.Refusal {
	tuple := udp(packet.Addr(k), 7, remote, 2)
	_, r := table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse()}, 0)
	return r
}

// A larger table has room at once.
func TestConfigureLarger(t *testing.T) {
	table := newTable(conntrack.Config{MaxConnections: 10})
	lasting(t, table, 0, 10)
	if r := begin(table, 100); r != conntrack.TableFull {
		t.Fatal(r)
	}
	table.Configure(conntrack.Config{MaxConnections: 30})
	for k := range 15 {
		if r := begin(table, 100+k); r != conntrack.None {
			t.Fatalf("half-open connection %d: %v", k, r)
		}
	}
	if table.Len() != 25 || table.Stats().Evicted != 0 {
		t.Errorf("%d connections, %d have made room", table.Len(), table.Stats().Evicted)
	}
	if begin(table, 200); table.Stats().Evicted != 1 {
		t.Error("half-open connections fill more than half of the larger table")
	}
}

// In a table that has become smaller, lasting connections stay. As long as they alone fill the table, a new
// connection is refused, and none is ended for it. Else connections that may make room do so, and it begins.
func TestConfigureSmaller(t *testing.T) {
	table := newTable(conntrack.Config{MaxConnections: 100})
	lasting(t, table, 0, 50)
	over(t, table, 10)
	for k := range 5 {
		begin(table, 100+k)
	}
	table.Configure(conntrack.Config{MaxConnections: 50})
	if r := begin(table, 200); r != conntrack.TableFull || table.Len() != 65 || table.Stats().Evicted != 0 {
		t.Errorf("%v with %d connections, %d have made room", r, table.Len(), table.Stats().Evicted)
	}
	first := udp(0, 1, remote, 2)
	c, _ := table.Lookup(&first, 0)
	table.Remove(c)
	if r := begin(table, 200); r != conntrack.None || table.Len() != 50 || table.Stats().Evicted != 15 {
		t.Errorf("%v with %d connections, %d have made room", r, table.Len(), table.Stats().Evicted)
	}
	if r := begin(table, 201); r != conntrack.None || table.Len() != 50 || there(table, udp(200, 7, remote, 2), 0) {
		t.Errorf("%v with %d connections in a full table", r, table.Len())
	}
	for k := 1; k < 50; k++ {
		if !there(table, udp(packet.Addr(k), 1, remote, 2), 0) {
			t.Errorf("connection %d is gone", k)
		}
	}
	record := newTable(conntrack.Config{}).Export(plain(t, newTable(conntrack.Config{}), udp(1, 8, 2, 2), 0),
		noNames{}, 0)
	if _, r := table.Import(&record, noNames{}, 0); r != conntrack.TableFull {
		t.Errorf("import into a full table: %v", r)
	}
}

// What has expired makes room in a smaller table before anything else is refused or ends.
func TestConfigureSmallerReclaims(t *testing.T) {
	table := newTable(conntrack.Config{MaxConnections: 100, UDP: time.Minute, Other: time.Hour})
	lasting(t, table, 0, 8)
	tuple := packet.Tuple{Src: 1, Dst: 2, Proto: 47}
	plain(t, table, tuple, 0)
	table.Configure(conntrack.Config{MaxConnections: 5, UDP: time.Minute, Other: time.Hour})
	n := conntrack.NewConn{Original: udp(200, 7, remote, 2), Reply: udp(200, 7, remote, 2).Reverse()}
	if _, r := table.Commit(&n, time.Minute); r != conntrack.None || table.Len() != 2 ||
		!there(table, tuple, time.Minute) {
		t.Errorf("%v with %d connections", r, table.Len())
	}
}

// However many are to make room, one new connection has a bounded number end. It is refused until there
// are few enough.
func TestConfigureSmallerInSteps(t *testing.T) {
	const (
		most  = 32
		limit = 100
	)
	for name, fill := range map[string]func(table *conntrack.Table){
		"over":      func(table *conntrack.Table) { over(t, table, 500) },
		"half-open": func(table *conntrack.Table) { manyHalfOpen(t, table, 500) },
	} {
		table := newTable(conntrack.Config{MaxConnections: 2000})
		fill(table)
		table.Configure(conntrack.Config{MaxConnections: limit})
		for k := 0; ; k++ {
			before := table.Len()
			r := begin(table, 10_000+k)
			if ended := before - table.Len(); ended > 2*most || r == conntrack.TableFull && ended != most {
				t.Fatalf("%s: %v, one new connection has %d end", name, r, ended)
			}
			if r == conntrack.None {
				break
			}
		}
		if table.Len() > limit || table.Len() < limit-2*most {
			t.Errorf("%s: %d connections when the first one begins", name, table.Len())
		}
	}
}

// manyHalfOpen makes n half-open connections.
func manyHalfOpen(t *testing.T, table *conntrack.Table, n int) {
	t.Helper()
	for k := range n {
		if r := begin(table, k); r != conntrack.None {
			t.Fatal(r)
		}
	}
}

// Half-open connections beyond their part of a smaller table make room step by step, while new ones begin.
func TestConfigureHalfOpenPart(t *testing.T) {
	table := newTable(conntrack.Config{MaxConnections: 1000})
	manyHalfOpen(t, table, 400)
	table.Configure(conntrack.Config{MaxConnections: 400}) // 200 may be half open
	for k, want := range []int{400 - 31, 400 - 2*31, 400 - 3*31, 400 - 4*31, 400 - 5*31, 400 - 6*31, 200, 200} {
		if r := begin(table, 1000+k); r != conntrack.None || table.Len() != want {
			t.Errorf("after %d: %v, %d half-open connections, want %d", k, r, table.Len(), want)
		}
	}
	// From here on one makes room for one, as ever, also where others have become half-open again.
	over(t, table, 3)
	for k := 0; table.Len() < 203; k++ {
		begin(table, 2000+k)
	}
	for k := range 3 {
		tuple := tcpTuple(uint16(k))
		c, d := table.Lookup(&tuple, 0)
		table.Touch(c, d, packet.SYN, false, 0)
	}
	if r := begin(table, 3000); r != conntrack.None || table.Len() != 203 {
		t.Errorf("%v, %d half-open connections, want 203", r, table.Len())
	}
}

// Another share is about new connections: a host that holds more keeps what it has.
func TestConfigureHostShare(t *testing.T) {
	table := newTable(conntrack.Config{MaxConnections: 100, HostShare: 0.5})
	own := func(host packet.Addr, port int) conntrack.Refusal {
		tuple := udp(host, uint16(port), remote, 2)
		c, r := table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse(),
			Owner: conntrack.OwnerSource}, 0)
		if c != nil {
			table.Touch(c, conntrack.Reply, 0, false, 0)
		}
		return r
	}
	n := 0
	for own(inside, n) == conntrack.None {
		n++
	}
	table.Configure(conntrack.Config{MaxConnections: 100, HostShare: 0.2})
	if r := own(inside, 1000); r != conntrack.HostShareUsed || table.Len() != n || n != 50 {
		t.Errorf("%v, and %d of %d are left", r, table.Len(), n)
	}
	for n = 0; own(inside+1, n) == conntrack.None; n++ {
	}
	if n != 10 { // of 50 that are free: 12.5 by the odds of 1 to 4, and 10 when ten of them are taken
		t.Errorf("another host gets %d", n)
	}
	table.Configure(conntrack.Config{MaxConnections: 100, HostShare: 1})
	for n = table.Len(); own(inside, n) == conntrack.None; n++ {
	}
	if n != 100 {
		t.Errorf("a host gets %d of 100 when it may have all", n)
	}
	// In a smaller table nothing is free: a host that may have all of it hears that the table is full.
	table.Configure(conntrack.Config{MaxConnections: 90, HostShare: 1})
	for _, host := range []packet.Addr{inside + 1, inside + 2} {
		if r := own(host, 2000); r != conntrack.TableFull {
			t.Errorf("host %x hears %v", host, r)
		}
	}
}

// What is not set is the default, as for NewTable.
func TestConfigureDefaults(t *testing.T) {
	table := newTable(conntrack.Config{MaxConnections: 1, UDP: time.Second})
	table.Configure(conntrack.Config{})
	lasting(t, table, 0, 2)
	if !there(table, udp(0, 1, remote, 2), conntrack.UDPTimeout-time.Millisecond) ||
		there(table, udp(0, 1, remote, 2), conntrack.UDPTimeout) {
		t.Error("not the default timeout")
	}
}
