package conform

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestMemory plays every check: all of them hold for taprouter.
func TestMemory(t *testing.T) {
	for _, check := range Checks() {
		t.Run(check.ID(), func(t *testing.T) {
			r, err := Run(context.Background(), Memory(), &check)
			if err != nil {
				t.Fatal(err)
			}
			if r.Outcome == Failed {
				t.Errorf("%s (%s)\n%s", check.Level, check.Source, r.Reason)
			}
			if r.Outcome == Skipped {
				t.Errorf("skipped in memory: %s", r.Reason)
			}
		})
	}
}

// outOfOrder is a target that cannot be started.
type outOfOrder struct{}

var errOutOfOrder = errors.New("out of order")

func (outOfOrder) Name() string                { return "none" }
func (outOfOrder) Start(Profile) (Wire, error) { return nil, errOutOfOrder }

// Checks are played at the same time, and each result is in its row and column. A broken target
// ends the run by its own error.
func TestRunAll(t *testing.T) {
	checks := []Check{}
	for i := range 50 {
		fail := i%3 == 0
		checks = append(checks, Check{Item: "X", Name: string(rune('A' + i)), play: func(c *Case) {
			if fail {
				c.Fail("as it should")
			}
		}})
	}
	r, err := RunAll(context.Background(), []Target{Memory(), Memory()}, checks)
	if err != nil || len(r.Rows) != len(checks) || len(r.Targets) != 2 {
		t.Fatalf("%d rows, targets %v, %v", len(r.Rows), r.Targets, err)
	}
	for i, row := range r.Rows {
		want := Result{Outcome: Passed}
		if i%3 == 0 {
			want = Result{Failed, "as it should"}
		}
		if row.Check != &checks[i] || row.Results[0] != want || row.Results[1] != want {
			t.Errorf("row %d is %s: %v, want %v", i, row.Check.ID(), row.Results, want)
		}
	}
	_, err = RunAll(context.Background(), []Target{Memory(), outOfOrder{}}, checks)
	if !errors.Is(err, errOutOfOrder) || !strings.HasPrefix(err.Error(), "X/") {
		t.Errorf("a target that does not start: %v", err)
	}
}
