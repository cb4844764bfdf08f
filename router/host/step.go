package host

import (
	"errors"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// A stepper runs a stack's TCP inside a testing/synctest bubble. TCP's
// goroutines sleep in a way that the bubble does not count as blocked, so time
// would stand still for ever. Paused, they wait on channels of the bubble, which
// do count. The stepper therefore keeps the stack paused, and lets it work for a
// moment whenever there may be something to do.
type stepper struct {
	stack *stack.Stack
	work  chan struct{}
	quit  chan struct{}
	done  chan struct{}
}

func newStepper(s *stack.Stack) *stepper {
	p := &stepper{stack: s, work: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	s.Pause()
	go p.run()
	return p
}

// kick asks for a moment of work. It never blocks.
func (p *stepper) kick() {
	select {
	case p.work <- struct{}{}:
	default: // asked for already
	}
}

// stop lets the stack run freely from now on.
func (p *stepper) stop() {
	close(p.quit)
	<-p.done
	p.stack.Resume()
}

func (p *stepper) run() {
	defer close(p.done)
	for {
		select {
		case <-p.quit:
			return
		case <-p.work:
		}
		p.once()
		// A nanosecond passes only when all other goroutines in the bubble wait. By then
		// every goroutine that held a connection has let it go, and the work that it left
		// to TCP's goroutines is in their queue.
		time.Sleep(time.Nanosecond)
		p.once()
	}
}

// once lets TCP work off its queues: a stack pauses only when they are empty.
func (p *stepper) once() {
	p.stack.Resume()
	p.stack.Pause()
}

// bubbleYears ends the years in which a clock is taken for the clock of a
// synctest bubble. A bubble's clock starts at midnight UTC 2000-01-01.
const bubbleYears = 2020

// InBubble reports whether the caller is in a testing/synctest bubble, as far as
// the clock tells: outside of tests there are no bubbles, however wrong the clock
// of the machine may be.
func InBubble() bool { return testing.Testing() && time.Now().Year() < bubbleYears }

// The errors of a host that is made inside and used outside of a bubble, or the reverse.
// Without them, the runtime would end the process, or the stack would panic at a clock
// that goes back.
var (
	errMadeOutside = errors.New("made outside of the bubble in which it is used: " +
		"make labs and hosts in the function that synctest.Test calls")
	errMadeInside = errors.New("made inside a bubble and used outside of it: " +
		"use labs and hosts in the function that synctest.Test calls")
)

// checkBubble says whether the caller is where the host was made.
func (h *Host) checkBubble() error {
	switch inside := InBubble(); {
	case inside && h.step == nil:
		return errMadeOutside
	case !inside && h.step != nil:
		return errMadeInside
	}
	return nil
}
