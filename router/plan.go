package router

import (
	"github.com/taprouter/taprouter/config"
)

// A routerPlan is the change of a router, with what the engine does around it.
type routerPlan struct {
	*routerChange
	p      *Prepared
	checks *checksChange // nil: the checks stay what they are
	was    *checker      // nil: there are none
}

// networkOf implements surroundings.
func (c *routerPlan) networkOf(of id) *network {
	switch {
	case of != checksNetwork:
		return c.p.networkOf(of)
	case c.checks != nil:
		return c.checks.network
	}
	return c.was.network
}

// poolOf implements surroundings.
func (c *routerPlan) poolOf(of id) *pool { return c.p.pool(config.ID(of)) }

// changeRouter works out the change of a router that is there afterwards.
func (p *Prepared) changeRouter(o *config.Router, t *routerTouch) (*routerPlan, error) {
	params := p.touched.params(o, t)
	r := p.e.routers[params.id]
	c := &routerPlan{p: p, was: p.e.checkers[r]}
	if params.place != nil {
		if err := c.planChecks(params, o.Name); err != nil {
			return nil, err
		}
	}
	isNew := r == nil
	if isNew {
		r = newRouter(params.id, params.settings, p.e.random.of("router", params.id))
	}
	c.routerChange = r.plan(params, isNew, c)
	return c, nil
}
