package conntrack_test

import (
	"math"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
)

// hooks is an Observer of functions, any of which may be missing.
type hooks struct {
	began func(*conntrack.Conn)
	moved func(c *conntrack.Conn, from, to conntrack.Rank)
	ended func(*conntrack.Conn, conntrack.Ending)
}

func (h hooks) Began(c *conntrack.Conn) {
	if h.began != nil {
		h.began(c)
	}
}

func (h hooks) Moved(c *conntrack.Conn, from, to conntrack.Rank) {
	if h.moved != nil {
		h.moved(c, from, to)
	}
}

func (h hooks) Ended(c *conntrack.Conn, e conntrack.Ending) {
	if h.ended != nil {
		h.ended(c, e)
	}
}

// removeIf removes every connection that match says yes to, and returns how many.
func removeIf(table *conntrack.Table, match func(*conntrack.Conn) bool) int {
	n := 0
	table.Walk(0, math.MaxInt, 0, func(c *conntrack.Conn) bool {
		if match(c) {
			table.Remove(c)
			n++
		}
		return true
	})
	return n
}

// shown calls fn with a copy of each live connection.
func shown(table *conntrack.Table, now time.Duration, fn func(conntrack.Connection)) {
	table.Walk(0, math.MaxInt, now, func(c *conntrack.Conn) bool {
		fn(table.Show(c, now))
		return true
	})
}
