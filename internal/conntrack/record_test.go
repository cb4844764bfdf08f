package conntrack_test

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
)

// noNames is for connections that name nothing.
type noNames struct{}

func (noNames) InterfaceID(uint16) string                { return "" }
func (noNames) BackendID(conntrack.Backend) string       { return "" }
func (noNames) ClassID(*conntrack.Conn) string           { return "" }
func (noNames) Interface(string) (uint16, bool)          { return 0, false }
func (noNames) Backend(string) (conntrack.Backend, bool) { return 0, false }
func (noNames) Class(string) (conntrack.Class, bool)     { return 0, false }

// A successor comes after the connection whose place it is to take, there is one of each, and it is not
// established.
func TestImportOfSuccessors(t *testing.T) {
	p := &pairing{t: t, table: newTable(conntrack.Config{})}
	original, first := p.tuples(0, 0)
	_, second := p.tuples(0, 1)
	_, third := p.tuples(0, 2)
	for _, n := range []conntrack.NewConn{
		{Original: original, Reply: first, Segment: tcpSeg(syn, 1000, 0, 0)},
		{Original: original, Reply: second, Segment: tcpSeg(syn, 2000, 0, 0), Succeeds: true},
	} {
		if _, r := p.table.Commit(&n, 0); r != conntrack.None {
			t.Fatal(r)
		}
	}
	old, _ := p.table.Lookup(&original, 0)
	oldRecord := p.table.Export(old, noNames{}, 0)
	next := p.table.Export(p.table.Successor(old), noNames{}, 0)
	if oldRecord.Succeeds || !next.Succeeds {
		t.Fatalf("%+v\n%+v", oldRecord, next)
	}
	other := next
	other.Reply = third
	established := next
	established.State = conntrack.Established

	table := newTable(conntrack.Config{})
	for _, c := range []struct {
		name   string
		record conntrack.Record
		want   conntrack.Refusal
	}{
		{"established", established, conntrack.Malformed},
		{"the first", oldRecord, conntrack.None},
		{"the first again", oldRecord, conntrack.TupleTaken},
		{"its successor", next, conntrack.None},
		{"another successor", other, conntrack.TupleTaken},
	} {
		if _, r := table.Import(&c.record, noNames{}, time.Second); r != c.want {
			t.Errorf("%s: %v, want %v", c.name, r, c.want)
		}
	}
	c, d := table.Lookup(&original, time.Second)
	if c == nil || d != conntrack.Original || c.Tuple(conntrack.Reply) != first {
		t.Fatal("the first connection is not found")
	}
	successor := table.Successor(c)
	if successor == nil || successor.Tuple(conntrack.Reply) != second {
		t.Fatal("the successor is not found")
	}
	table.Touch(successor, conntrack.Reply, syn|ack, false, time.Second)
	table.Touch(successor, conntrack.Original, ack, false, time.Second)
	if c, _ := table.Lookup(&original, time.Second); table.Len() != 1 || c == nil ||
		c.Tuple(conntrack.Reply) != second {
		t.Errorf("%d connections, and the successor has not the tuple", table.Len())
	}
}

// A connection keeps the time that it has left, but no more than its lifetime is here.
func TestImportedTime(t *testing.T) {
	from := newTable(conntrack.Config{UDP: time.Hour})
	c := plain(t, from, udp(1, 1, 2, 2), 0)
	r := from.Export(c, noNames{}, 50*time.Minute)
	for _, k := range []struct {
		timeout time.Duration
		want    time.Duration
	}{{2 * time.Hour, 10 * time.Minute}, {5 * time.Minute, 5 * time.Minute}} {
		table := newTable(conntrack.Config{UDP: k.timeout})
		if _, refusal := table.Import(&r, noNames{}, time.Minute); refusal != conntrack.None {
			t.Fatal(refusal)
		}
		if !there(table, r.Original, time.Minute+k.want-time.Millisecond) ||
			there(table, r.Original, time.Minute+k.want) {
			t.Errorf("with a timeout of %v: not %v", k.timeout, k.want)
		}
	}
}
