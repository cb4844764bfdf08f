package router

import (
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A routerPlan is the change of a router, with what the engine does around it.
type routerPlan struct {
	*ip.Change
	params *ip.Params // of a router that is there afterwards
	p      *Prepared
	checks *checksChange // nil: the checks stay what they are
	was    *checker      // nil: there are none
}

// NetworkOf implements ip.Surroundings.
func (c *routerPlan) NetworkOf(of wire.ID) *wire.Network {
	switch {
	case of != checksNetwork:
		return c.p.networkOf(of)
	case c.checks != nil:
		return c.checks.network
	}
	return c.was.network
}

// PoolOf implements ip.Surroundings.
func (c *routerPlan) PoolOf(of wire.ID) *ip.Pool { return c.p.pool(config.ID(of)) }

// changeRouter begins the change of a router that is there afterwards: planParts and PlanRules work it out. Several
// goroutines may call it for different routers.
func (p *Prepared) changeRouter(o *config.Router, t *routerTouch) *routerPlan {
	params := p.touched.params(o, t)
	r := p.e.routers[params.ID]
	was := p.e.checkers[r]
	isNew := r == nil
	if isNew {
		r = newRouter(p.e, params)
	}
	return &routerPlan{Change: ip.NewChange(r, params, isNew), params: params, p: p, was: was}
}

// planParts finds out which parts of a router come and go, and which host its checks come from.
func (c *routerPlan) planParts(o *config.Router) error {
	if c.params.Place != nil {
		if err := c.planChecks(c.params, o.Name); err != nil {
			return err
		}
	}
	c.PlanParts(c)
	return nil
}
