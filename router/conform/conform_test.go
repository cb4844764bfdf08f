package conform

import (
	"context"
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
