package router

import (
	"encoding/binary"
	"testing"
	"time"
)

// The time that is recorded: of the day where there is a clock, whatever day and zone that tells, else the time
// since the start, marked (RFC 791, 3.1).
func TestTimestamp(t *testing.T) {
	zone := time.FixedZone("far east", 9*3600)
	for _, c := range []struct {
		name  string
		clock time.Time
		want  uint32
	}{
		{"midnight", time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC), 0},
		{"the last millisecond", time.Date(2026, 3, 4, 23, 59, 59, 999_999_999, time.UTC), 86_399_999},
		{"another zone's morning", time.Date(2026, 3, 4, 9, 0, 1, 0, zone), 1000},
		{"long ago", time.Date(1969, 12, 31, 23, 0, 0, 0, time.UTC), 82_800_000},
	} {
		l := newLesson(t)
		l.w.Day = func() time.Time { return c.clock }
		if got := l.stamped(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	l := newLesson(t)
	l.w.Day = nil
	l.advance(90 * time.Second)
	if got, want := l.stamped(), uint32(1<<31|90_000); got != want {
		t.Errorf("without a clock: %#x, want %#x", got, want)
	}
}

// stamped is what the router records in a ping.
func (l *lesson) stamped() uint32 {
	l.t.Helper()
	eth := l.build(l.vm3, "172.16.101.1", 1, nil, pingLayer())
	eth = append(append(append([]byte(nil), eth[:34]...), 68, 8, 5, 0, 0, 0, 0, 0), eth[34:]...)
	eth[14] = 0x47
	binary.BigEndian.PutUint16(eth[16:], uint16(len(eth)-14))
	setChecksum(eth)
	l.put(l.vm3.net, eth)
	return binary.BigEndian.Uint32(l.one(l.vm3.net).eth[38:])
}
