package router

import (
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A routerPlan is the change of a router, with what the engine does around it.
type routerPlan struct {
	*ip.Change
	p      *Prepared
	checks *checksChange // nil: the checks stay what they are
	was    *checker      // nil: there are none
}

// NetworkOf implements surroundings.
func (c *routerPlan) NetworkOf(of wire.ID) *wire.Network {
	switch {
	case of != checksNetwork:
		return c.p.networkOf(of)
	case c.checks != nil:
		return c.checks.network
	}
	return c.was.network
}

// PoolOf implements surroundings.
func (c *routerPlan) PoolOf(of wire.ID) *ip.Pool { return c.p.pool(config.ID(of)) }

// changeRouter works out the change of a router that is there afterwards.
func (p *Prepared) changeRouter(o *config.Router, t *routerTouch) (*routerPlan, error) {
	params := p.touched.params(o, t)
	r := p.e.routers[params.ID]
	c := &routerPlan{p: p, was: p.e.checkers[r]}
	if params.Place != nil {
		if err := c.planChecks(params, o.Name); err != nil {
			return nil, err
		}
	}
	isNew := r == nil
	if isNew {
		r = ip.NewRouter(params.ID, params.Settings, p.e.random.of("router", params.ID))
	}
	c.Change = r.Plan(params, isNew, c)
	return c, nil
}
