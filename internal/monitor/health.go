package monitor

// A health says from checks whether a member is up.
type health struct {
	rise, fall  int
	good, bad   int // in a row
	up, decided bool
}

func newHealth(rise, fall int, up bool) health { return health{rise: rise, fall: fall, up: up} }

// Check takes the outcome of a check and says whether it has changed the state.
func (h *health) Check(ok bool) (changed bool) {
	if ok {
		h.good, h.bad = h.good+1, 0
	} else {
		h.good, h.bad = 0, h.bad+1
	}
	was := h.up
	switch {
	case h.good >= h.rise && ok:
		h.up, h.decided = true, true
	case h.bad >= h.fall && !ok:
		h.up, h.decided = false, true
	}
	return h.up != was
}

func (h *health) Up() bool { return h.up }

// Decided says whether the state is the checks' and no longer the initial one.
func (h *health) Decided() bool { return h.decided }
