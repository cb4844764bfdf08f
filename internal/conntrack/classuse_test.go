package conntrack_test

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// Classes come and go without end: as long as few are in use at a time, each has its own lifetime. One that
// is released keeps its number as long as a connection has it.
func TestReleaseClass(t *testing.T) {
	table := newTable(conntrack.Config{})
	commit := func(port int, class conntrack.Class) packet.Tuple {
		n := conntrack.NewConn{Original: udp(inside, uint16(port), remote, 2), Class: class}
		n.Reply = n.Original.Reverse()
		if _, r := table.Commit(&n, 0); r != conntrack.None {
			t.Fatal(r)
		}
		return n.Original
	}
	old := table.Class(conntrack.Lifetime{Idle: 12 * time.Hour})
	kept := commit(1, old)
	table.ReleaseClass(old)
	for k := range 3000 {
		idle := time.Duration(1+k) * time.Second
		class := table.Class(conntrack.Lifetime{Idle: idle})
		if class == old {
			t.Fatal("a class that a connection has is given out")
		}
		if k%10 == 0 {
			tuple := commit(2, class)
			table.ReleaseClass(class)
			if !there(table, tuple, idle-time.Millisecond) || there(table, tuple, idle) {
				t.Fatalf("class %d has not the lifetime %v", class, idle)
			}
			continue
		}
		table.ReleaseClass(class)
	}
	if !there(table, kept, 12*time.Hour-time.Millisecond) || there(table, kept, 12*time.Hour) {
		t.Error("a connection has not kept its lifetime")
	}
	if class := table.Class(conntrack.Lifetime{Idle: 1}); class != old {
		t.Errorf("class %d is free, %d is given out", old, class)
	}
}

// Several may hold a class. It is there until the last one has released it; more than that does nothing.
func TestClassIsHeldByMany(t *testing.T) {
	table := newTable(conntrack.Config{})
	l := conntrack.Lifetime{Idle: 7 * time.Second}
	class := table.Class(l)
	if table.Class(l) != class {
		t.Fatal("equal lifetimes have two classes")
	}
	table.ReleaseClass(class)
	if other := table.Class(conntrack.Lifetime{Idle: time.Second}); other == class {
		t.Fatal("a class that is held is given out")
	}
	table.ReleaseClass(class)
	table.ReleaseClass(class)
	table.ReleaseClass(0)
	table.ReleaseClass(255)
	if got := table.Class(conntrack.Lifetime{Idle: 2 * time.Second}); got != class {
		t.Errorf("class %d is free, %d is given out", class, got)
	}
}

// classNames knows one class.
type classNames struct {
	noNames
	class conntrack.Class
}

func (classNames) ClassID(*conntrack.Conn) string         { return "vip" }
func (n classNames) Class(string) (conntrack.Class, bool) { return n.class, true }

// A record is refused if its class has been released: the number may soon be that of another class.
func TestImportOfReleasedClass(t *testing.T) {
	table := newTable(conntrack.Config{})
	class := table.Class(conntrack.Lifetime{Idle: time.Hour})
	n := conntrack.NewConn{Original: udp(1, 1, 2, 2), Reply: udp(2, 2, 1, 1), Class: class}
	c, _ := table.Commit(&n, 0)
	r := table.Export(c, classNames{}, 0)
	to := newTable(conntrack.Config{})
	class = to.Class(conntrack.Lifetime{Idle: time.Hour})
	to.ReleaseClass(class)
	if _, refusal := to.Import(&r, classNames{class: class}, 0); refusal != conntrack.UnknownName {
		t.Errorf("released: %v", refusal)
	}
	class = to.Class(conntrack.Lifetime{Idle: time.Hour})
	if _, refusal := to.Import(&r, classNames{class: class}, 0); refusal != conntrack.None {
		t.Errorf("held: %v", refusal)
	}
}
