package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

// errInterrupted ends a run at the user's wish. What is measured by then is reported.
var errInterrupted = errors.New("interrupted")

// stopped reports whether the user has ended the run.
func (b *bench) stopped() error {
	select {
	case <-b.interrupted:
		return errInterrupted
	default:
		return nil
	}
}

// often is how often a contestant is measured: others than taprouter and its yardstick are not what the run is about.
func (b *bench) often(m measurement, c contestant) int {
	runs := b.runs
	if m.runs != 0 {
		runs = m.runs
	}
	if isOther(c) {
		return min(runs, b.few())
	}
	return runs
}

// few is how often others than taprouter are measured, and rows that take long.
func (b *bench) few() int { return min(b.runs, 3) }

// contest is who takes part in a measurement.
func (b *bench) contest(m measurement) []contestant {
	takes := m.takes
	if takes == nil {
		takes = routes
	}
	return slices.DeleteFunc(slices.Clone(b.contestants), func(c contestant) bool {
		return !takes(c) || c != contestant(kernel{}) && !b.who.MatchString(c.name())
	})
}

// compare runs every measurement for every contestant, in turn, again and again.
func (b *bench) compare() error {
	list := slices.DeleteFunc(b.measurements(), func(m measurement) bool { return !b.only.MatchString(m.String()) })
	p := &progress{start: time.Now()}
	for _, m := range list {
		for _, c := range b.contest(m) {
			p.total += b.often(m, c)
		}
	}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].mode.together(list[0].mode) {
			n++
		}
		if err := b.compareTogether(list[:n], p); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// A stand is the world that a contestant has in a mode.
type stand struct {
	c contestant
	m mode
}

// compareTogether takes measurements that share their worlds. Each contestant has a world of its own all the time; the
// worlds that are not measured are idle. A round has each measurement once, so that all rounds of a row are spread over
// time, and within a measurement each contestant once, in another order each time.
func (b *bench) compareTogether(list []measurement, p *progress) error {
	worlds := map[stand]*world{}
	defer func() {
		for _, w := range worlds {
			w.close()
		}
	}()
	for round := 0; ; round++ {
		more := false
		for _, m := range list {
			who := slices.DeleteFunc(b.contest(m), func(c contestant) bool { return round >= b.often(m, c) })
			rand.Shuffle(len(who), func(i, k int) { who[i], who[k] = who[k], who[i] })
			for _, c := range who {
				more = true
				if err := b.stopped(); err != nil {
					return err
				}
				b.measure(m, c, round, worlds, p)
			}
		}
		if !more {
			return nil
		}
	}
}

// givenUp is after how many failures a contestant is not measured again in a row.
const givenUp = 2

// measure takes one value. A failure is said and noted, and the run goes on: the other values are good.
func (b *bench) measure(m measurement, c contestant, round int, worlds map[stand]*world, p *progress) {
	fail := func(err error) {
		p.done(c, m, nil, err)
		if len(b.interrupted) > 0 { // the interrupt ended the tools, too
			return
		}
		for _, k := range m.rows {
			b.results.fail(k, c.name())
		}
		if !isOther(c) {
			b.failures = append(b.failures, fmt.Errorf("%s: %s: %w", c.name(), m, err))
		}
	}
	if k := b.results.find(m.rows[0].Group, m.rows[0].Title); k != nil && k.Failed[c.name()] >= givenUp {
		p.done(c, m, nil, errors.New("given up"))
		return
	}
	at := stand{c, m.mode}
	w := worlds[at]
	if w == nil || m.fresh {
		var err error
		if w, err = b.newWorld(c, m.mode); err != nil {
			fail(err)
			return
		}
		if m.fresh {
			defer w.close()
		} else {
			worlds[at] = w
		}
	}
	values, err := m.run(w)
	if err != nil {
		fail(err)
		if !m.fresh { // the contestant may have died
			w.close()
			delete(worlds, at)
		}
		return
	}
	p.done(c, m, values, nil)
	for i, v := range values {
		b.results.add(m.rows[i], c.name(), round, v)
	}
}

// progress tells how far the run is.
type progress struct {
	n, total int
	start    time.Time
}

func (p *progress) done(c contestant, m measurement, values []float64, err error) {
	p.n++
	left := time.Duration(float64(time.Since(p.start)) / float64(p.n) * float64(p.total-p.n)).Round(time.Second)
	said := fmt.Sprint(err)
	if err == nil {
		var parts []string
		for i, v := range values {
			parts = append(parts, m.rows[i].format(v)+" "+m.rows[i].Unit)
		}
		said = strings.Join(parts, ", ")
	}
	fmt.Fprintf(os.Stderr, "[%d/%d, %v left] %s, %s: %s: %s\n", p.n, p.total, left, m.rows[0].Group, m.rows[0].Title,
		c.name(), said)
}
