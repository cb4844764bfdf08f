package neutron

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
)

var pools = resource[*config.Pool]{
	singular: "pool", plural: "pools", title: "Pool", linked: true,
	attributes: poolAttributes,
	all:        func(s *config.State) iter.Seq[*config.Pool] { return s.Pools() },
	get: func(r reader, id config.ID) (*config.Pool, bool) {
		p := r.Pool(id)
		return p, p != nil
	},
	fresh:  func(m config.Meta) *config.Pool { return &config.Pool{Meta: m, AdminStateUp: true} },
	copied: copied[config.Pool],
	create: createPool,
	update: func(e *edit, _, p *config.Pool, _ map[string]any) error {
		e.Put(p)
		return nil
	},
	remove: removePool,
	filters: map[string]func(r reader, values []string) (func(p *config.Pool) bool, error){
		"loadbalancer_id": func(r reader, values []string) (func(p *config.Pool) bool, error) {
			return func(p *config.Pool) bool {
				return slices.ContainsFunc(balancersOf(r, p), func(b *config.LoadBalancer) bool {
					return slices.Contains(values, string(b.ID))
				})
			}, nil
		},
		"listener_id": func(r reader, values []string) (func(p *config.Pool) bool, error) {
			return func(p *config.Pool) bool {
				for l := range r.ListenersUsing(p.ID) {
					if slices.Contains(values, string(l.ID)) {
						return true
					}
				}
				return false
			}, nil
		},
	},
}

// balancersOf lists the load balancers that a pool is part of, or whose listeners use it. The pool of a file may serve
// several.
func balancersOf(r reader, p *config.Pool) []*config.LoadBalancer {
	var list []*config.LoadBalancer
	add := func(id config.ID) {
		if b := r.LoadBalancer(id); b != nil && !slices.ContainsFunc(list,
			func(x *config.LoadBalancer) bool { return x.ID == id }) {
			list = append(list, b)
		}
	}
	add(p.LoadBalancer)
	for l := range r.ListenersUsing(p.ID) {
		add(l.LoadBalancer)
	}
	return list
}

var (
	algorithms  = []string{"ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"}
	persistence = recordOf(part{"type", text}, part{"persistence_timeout", number}, part{"cookie_name", text},
		part{"persistence_granularity", text})
)

const (
	bySource         = "SOURCE_IP"
	usualPersistence = 10 * time.Minute // the default of the State
	singleClients    = "255.255.255.255"
)

func poolAttributes(project string) []attribute[*config.Pool] {
	type pool = *config.Pool
	list := append(balanced[pool](project, func(p pool) *bool { return &p.AdminStateUp },
		func(r reader, p pool) any { return poolStatus(r, p) }),
		attribute[pool]{name: "loadbalancer_id", format: identifier, may: onCreate | hidden,
			set: func(_ *edit, p pool, v any) error { return parent("loadbalancer_id", &p.LoadBalancer, v) }},
		attribute[pool]{name: "listener_id", format: identifier, may: onCreate | hidden, set: noSet[pool]},
		shown("loadbalancers", anything, func(r reader, p pool) any { return idList(balancersOf(r, p)...) }),
		shown("listeners", anything, func(r reader, p pool) any {
			return idList(slices.Collect(r.ListenersUsing(p.ID))...)
		}),
		attribute[pool]{name: "protocol", format: text, may: onCreate | required,
			get: func(_ reader, p pool) any { return shownProtocol(p.Protocol, p.Application) },
			set: func(_ *edit, p pool, v any) (err error) {
				p.Protocol, p.Application, err = balancedProtocol(v)
				return err
			}},
		attribute[pool]{name: "lb_algorithm", format: text.or(nil), may: always | required, field: "algorithm",
			get: func(_ reader, p pool) any { return p.Algorithm },
			set: func(_ *edit, p pool, v any) error {
				if !slices.Contains(algorithms, v.(string)) {
					return invalid("lb_algorithm", "'%v' is not in ['%s'].", v, strings.Join(algorithms, "', '"))
				}
				p.Algorithm = v.(string)
				return nil
			}},
		attribute[pool]{name: "session_persistence", format: persistence, may: always | mayBeNull,
			field: "session_persistence", get: persistenceOf, set: setPersistence},
		attribute[pool]{name: "members", format: anything, may: onCreate, set: noSet[pool],
			get: func(r reader, p pool) any { return idList(slices.Collect(r.MembersOf(p.ID))...) }},
		attribute[pool]{name: "healthmonitor", format: anything, may: onCreate | hidden, set: noSet[pool]},
		shown("healthmonitor_id", identifier, func(r reader, p pool) any {
			if m := r.MonitorOf(p.ID); m != nil {
				return string(m.ID)
			}
			return nil
		}),
		constant[pool]("tls_enabled", flag, false),
	)
	return append(list, secrets[pool]("tls_container_ref", "ca_tls_container_ref", "crl_container_ref")...)
}

func persistenceOf(_ reader, p *config.Pool) any {
	s := p.SessionPersistence
	if s == nil {
		return nil
	}
	var timeout any
	if s.Timeout != usualPersistence {
		timeout = int(s.Timeout / time.Second)
	}
	return map[string]any{"type": s.Type, "cookie_name": nil, "persistence_timeout": timeout,
		"persistence_granularity": nil}
}

func setPersistence(_ *edit, p *config.Pool, v any) error {
	p.SessionPersistence = nil
	r, ok := v.(record)
	if !ok {
		return nil
	}
	const name = "session_persistence"
	if r["type"] != bySource {
		return invalid(name, "the type must be '%s'.", bySource)
	}
	if r["cookie_name"] != nil {
		return invalid(name, "there is no cookie_name for type %s.", bySource)
	}
	if one := r["persistence_granularity"]; one != nil && one != singleClients {
		return invalid(name, "the persistence_granularity must be %s.", singleClients)
	}
	s := &config.SessionPersistence{Type: bySource, Timeout: usualPersistence}
	if n, ok := r["persistence_timeout"].(int); ok {
		if n < 1 {
			return invalid(name, "the persistence_timeout %d is less than 1.", n)
		}
		s.Timeout = time.Duration(n) * time.Second
	}
	p.SessionPersistence = s
	return nil
}

// createPool makes a pool and, if the body is populated, its members and its health monitor.
func createPool(e *edit, p *config.Pool, body map[string]any) error {
	var l *config.Listener
	if body["listener_id"] != nil {
		v, err := identifier.read(body["listener_id"])
		if err != nil {
			return invalid("listener_id", "%v.", err)
		}
		if l = e.Listener(v.(config.ID)); l == nil {
			return notFound("Listener", v.(config.ID))
		}
		if err := parent("listener_id", &p.LoadBalancer, l.LoadBalancer); err != nil {
			return err
		}
		if l.Pool != "" {
			return conflict("Conflict", "Listener %s already has a default pool.", l.ID)
		}
		if err := e.own(l, "pool"); err != nil {
			return err
		}
	}
	switch {
	case p.LoadBalancer == "":
		return malformed("Must provide at least one of loadbalancer_id or listener_id.")
	case e.LoadBalancer(p.LoadBalancer) == nil:
		return notFound("Load Balancer", p.LoadBalancer)
	}
	e.Put(p)
	if l != nil {
		l = copied(l)
		l.Pool = p.ID
		e.Put(l)
	}
	of := &e.request.api.balancing
	err := eachOf("members", body["members"], func(x any) error {
		_, err := makeOf(e, of.members, x, func(m *config.Member) { m.Pool = p.ID })
		return err
	})
	if err != nil || body["healthmonitor"] == nil {
		return err
	}
	_, err = makeOf(e, of.monitors, body["healthmonitor"], func(m *config.Monitor) { m.Pool = p.ID })
	return err
}

// removePool takes a pool away from its listeners, too.
func removePool(e *edit, p *config.Pool) error {
	for _, l := range slices.Collect(e.ListenersUsing(p.ID)) {
		if err := e.own(l, "pool"); err != nil {
			return err
		}
		l = copied(l)
		l.Pool = ""
		e.Put(l)
	}
	e.Delete(p.Ref())
	return nil
}
