package conform

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
)

// A Report is the results of checks on targets.
type Report struct {
	Targets []string
	Rows    []Row
}

// A Row is one check's results, in the order of the targets.
type Row struct {
	Check   *Check
	Results []Result
}

// atOnce is how many checks of a target are played at the same time. Each has a router of its
// own, and most of a real one's time is waiting: for timeouts, and for the kernel to make
// and remove devices.
const atOnce = 4

// RunAll plays every check on every target.
func RunAll(ctx context.Context, targets []Target, checks []Check) (*Report, error) {
	r := &Report{Rows: make([]Row, len(checks))}
	for i := range checks {
		r.Rows[i] = Row{Check: &checks[i], Results: make([]Result, len(targets))}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var players sync.WaitGroup
	for i, t := range targets {
		r.Targets = append(r.Targets, t.Name())
		var taken atomic.Int32
		for range atOnce {
			players.Go(func() {
				for row := int(taken.Add(1)) - 1; row < len(checks); row = int(taken.Add(1)) - 1 {
					var err error
					if r.Rows[row].Results[i], err = Run(ctx, t, &checks[row]); err != nil {
						cancel(fmt.Errorf("%s: %w", checks[row].ID(), err)) // the first one counts
						return
					}
				}
			})
		}
	}
	players.Wait()
	return r, context.Cause(ctx)
}

// Count is how many checks of a target, by its place, have ended so.
func (r *Report) Count(target int, o Outcome) (n int) {
	for _, row := range r.Rows {
		if row.Results[target].Outcome == o {
			n++
		}
	}
	return n
}

// WriteText writes a table for people, and below it why something has failed or was
// skipped.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "CHECK\tLEVEL\tSOURCE\t%s\n", strings.Join(r.Targets, "\t"))
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s", row.Check.ID(), row.Check.Level, row.Check.Source)
		for _, x := range row.Results {
			fmt.Fprintf(t, "\t%s", x.Outcome)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return r.writeReasons(w)
}

// writeReasons writes the reasons, checks with the same one together, and the sums.
func (r *Report) writeReasons(w io.Writer) error {
	for i, target := range r.Targets {
		for _, o := range []Outcome{Failed, Skipped} {
			var reasons []string
			ids := map[string][]string{}
			for _, row := range r.Rows {
				if x := row.Results[i]; x.Outcome == o {
					if ids[x.Reason] == nil {
						reasons = append(reasons, x.Reason)
					}
					ids[x.Reason] = append(ids[x.Reason], row.Check.ID())
				}
			}
			if len(reasons) > 0 {
				fmt.Fprintf(w, "\n%s, %s:\n", target, o)
			}
			for _, reason := range reasons {
				fmt.Fprintf(w, "  %s\n    %s\n", strings.Join(ids[reason], ", "),
					strings.ReplaceAll(reason, "\n", "\n    "))
			}
		}
	}
	fmt.Fprintln(w)
	for i, target := range r.Targets {
		fmt.Fprintf(w, "%s: %d ok, %d failed, %d skipped\n", target, r.Count(i, Passed), r.Count(i, Failed),
			r.Count(i, Skipped))
	}
	return nil
}

// WriteMarkdown writes a table for a document.
func (r *Report) WriteMarkdown(w io.Writer) error {
	fmt.Fprintf(w, "| check | level | source | %s |\n|---|---|---|%s\n", strings.Join(r.Targets, " | "),
		strings.Repeat("---|", len(r.Targets)))
	for _, row := range r.Rows {
		fmt.Fprintf(w, "| %s | %s | %s |", row.Check.ID(), row.Check.Level, row.Check.Source)
		for _, x := range row.Results {
			fmt.Fprintf(w, " %s |", x.Outcome)
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// WriteJSON writes one object for each check.
func (r *Report) WriteJSON(w io.Writer) error {
	type result struct {
		Target  string  `json:"target"`
		Outcome Outcome `json:"outcome"`
		Reason  string  `json:"reason,omitempty"`
	}
	type row struct {
		Check   string   `json:"check"`
		Level   Level    `json:"level"`
		Source  string   `json:"source"`
		Results []result `json:"results"`
	}
	all := []row{}
	for _, x := range r.Rows {
		out := row{Check: x.Check.ID(), Level: x.Check.Level, Source: x.Check.Source}
		for i, y := range x.Results {
			out.Results = append(out.Results, result{r.Targets[i], y.Outcome, y.Reason})
		}
		all = append(all, out)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(all)
}
