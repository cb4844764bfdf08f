package configtest_test

import (
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/configtest"
)

// Grows compares the slowest run with few objects to the fastest with many, and ends as soon as the answer is no.
func TestGrows(t *testing.T) {
	for name, c := range map[string]struct {
		few, many []time.Duration // run by run
		grows     bool
	}{
		"at once":            {[]time.Duration{10}, []time.Duration{99}, false},
		"just as much":       {[]time.Duration{10, 10, 10, 10, 10}, []time.Duration{100, 100, 100, 100, 100}, true},
		"a fast run of many": {[]time.Duration{10, 10}, []time.Duration{200, 99}, false},
		"few of this run":    {[]time.Duration{10, 13}, []time.Duration{120, 300}, false},
		"few of an earlier":  {[]time.Duration{13, 10}, []time.Duration{140, 125}, false},
		"a slow run of few":  {[]time.Duration{15, 10, 20}, []time.Duration{300, 300, 190}, false},
		"in the last run":    {[]time.Duration{1, 1, 1, 1, 1}, []time.Duration{90, 90, 90, 90, 9}, false},
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			_, _, grows := configtest.Grows(10, func() time.Duration { return c.few[runs] },
				func() time.Duration { runs++; return c.many[runs-1] })
			if grows != c.grows || runs != len(c.few) {
				t.Errorf("grows: %v after %d runs; want %v after %d", grows, runs, c.grows, len(c.few))
			}
		})
	}
}

// Effort counts the work of a function. Time that the function waits does not count.
func TestEffort(t *testing.T) {
	const nap = 50 * time.Millisecond
	if took := configtest.Effort(func() { time.Sleep(nap) }); took >= nap {
		t.Errorf("a sleep of %v counts %v", nap, took)
	}
	began := time.Now()
	took := configtest.Effort(func() {
		for time.Since(began) < nap {
		}
	})
	if took < time.Millisecond {
		t.Errorf("work of %v counts %v", nap, took)
	}
}
