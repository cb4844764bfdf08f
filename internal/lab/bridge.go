package lab

import (
	"context"
	"fmt"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// A bridge is what a Control changes: a router's engine with the State that it serves. The engine changes floating IPs
// and members by methods, each of which may refuse. So the bridge makes a change while it prepares it.
type bridge struct {
	engine *router.Engine
	state  *config.State
}

// newControl returns the Control of an engine that serves a State.
func newControl(e *router.Engine, s *config.State) *control.Control {
	return control.New(&bridge{e, s}, control.Options{})
}

// State implements control.Engine.
func (b *bridge) State() *config.State { return b.state }

// Prepare implements control.Engine.
func (b *bridge) Prepare(_ context.Context, to *config.State) (control.Prepared, error) {
	changes := config.Diff(b.state, to)
	for _, c := range changes { // before others take their addresses
		if was, ok := c.Before.(*config.FloatingIP); ok && was.FixedIP.IsValid() && !isAssociated(c.After) {
			if err := b.engine.DisassociateFloatingIPAt(b.state.Router(was.Router).Name, was.Address); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range changes {
		if err := b.change(to, c); err != nil {
			return nil, err
		}
	}
	return bridged{b, to}, nil
}

func isAssociated(o config.Object) bool {
	f, ok := o.(*config.FloatingIP)
	return ok && f.FixedIP.IsValid()
}

func (b *bridge) change(to *config.State, c config.Change) error {
	switch o := c.After.(type) {
	case nil:
		if _, ok := c.Before.(*config.FloatingIP); ok {
			return nil
		}
	case *config.FloatingIP:
		if !o.FixedIP.IsValid() {
			return nil
		}
		return b.engine.AssociateFloatingIPAt(to.Router(o.Router).Name, o.Address, o.FixedIP)
	case *config.Member:
		was, ok := c.Before.(*config.Member)
		if !ok {
			break
		}
		pool := to.Pool(o.Pool).Name
		if o.Weight != was.Weight {
			if err := b.engine.SetMemberWeight(pool, o.Name, o.Weight); err != nil {
				return err
			}
		}
		if o.AdminStateUp != was.AdminStateUp {
			return b.engine.SetMember(pool, o.Name, o.AdminStateUp)
		}
		return nil
	}
	return fmt.Errorf("lab: a %v cannot be %v while a lesson is played", c.Ref.Kind, c.Op)
}

// A bridged change was made already.
type bridged struct {
	b  *bridge
	to *config.State
}

// Commit implements control.Prepared.
func (p bridged) Commit() { p.b.state = p.to }

// Discard implements control.Prepared.
func (p bridged) Discard() { p.b.state = p.to }
