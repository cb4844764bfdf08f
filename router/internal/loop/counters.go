package loop

import "github.com/taprouter/taprouter/router/internal/verdict"

// counters is what a worker counts: frames, by what became of them. Stats of package router says what each is.
// Parked may be negative at one worker, where a frame that another worker has parked goes on.
type counters struct {
	Received, Forwarded, Consumed, Made uint64
	Conflicts                           uint64
	Parked                              int64
	Dropped                             [verdict.NumDropReasons]uint64
	DroppedAt                           [verdict.NumStages][verdict.NumDropReasons]uint64 // the same drops, by stage
	Unsent                              [verdict.NumUnsentReasons]uint64
}

// Drop counts n drops for a reason at a stage.
func (c *counters) Drop(reason verdict.DropReason, stage verdict.Stage, n uint64) {
	c.Dropped[reason] += n
	c.DroppedAt[stage][reason] += n
}
