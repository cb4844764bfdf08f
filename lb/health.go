package lb

// Health is the state of one member as its checks tell: it takes several in a row
// to change it, so that one lost packet ends nothing.
type Health struct {
	rise, fall int
	run        int  // checks in a row with the same result
	last       bool // the result of the last check
	up         bool
	decided    bool // checks have ever decided
	sure       bool // the checks as they are now have decided
}

// NewHealth returns the health of a member that is taken to be up, or not, until
// its checks decide. rise good checks in a row make it up, fall bad ones down;
// less than 1 counts as 1.
func NewHealth(rise, fall int, up bool) Health {
	return Health{rise: rise, fall: fall, up: up}
}

// Restart is for other checks than before, or other numbers of them. The member stays up or down, and
// decided or not, until rise good or fall bad checks in a row from now on have decided anew.
func (h *Health) Restart(rise, fall int) {
	h.rise, h.fall, h.run, h.sure = rise, fall, 0, false
}

// Check notes the result of a check. It reports whether the member has gone up or
// down by it.
func (h *Health) Check(ok bool) (changed bool) {
	if ok != h.last {
		h.last, h.run = ok, 0
	}
	need := h.fall
	if ok {
		need = h.rise
	}
	if h.run++; h.run < need {
		return false
	}
	changed = h.up != ok
	h.up, h.decided, h.sure = ok, true, true
	return changed
}

// Up reports whether the member is up.
func (h *Health) Up() bool { return h.up }

// Decided reports whether checks have ever decided: of a new member not until
// rise good ones or fall bad ones in a row.
func (h *Health) Decided() bool { return h.decided }

// Sure reports whether checks have decided since the beginning, or since the last Restart.
func (h *Health) Sure() bool { return h.sure }
