package neutron

import (
	"iter"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/taprouter/taprouter/config"
)

var listeners = resource[*config.Listener]{
	singular: "listener", plural: "listeners", title: "Listener", linked: true,
	attributes: listenerAttributes,
	all:        func(s *config.State) iter.Seq[*config.Listener] { return s.Listeners() },
	get: func(r reader, id config.ID) (*config.Listener, bool) {
		l := r.Listener(id)
		return l, l != nil
	},
	fresh:  func(m config.Meta) *config.Listener { return &config.Listener{Meta: m, AdminStateUp: true} },
	copied: copied[config.Listener],
	create: createListener,
	update: func(e *edit, _, l *config.Listener, _ map[string]any) error { return putListener(e, l) },
	remove: func(e *edit, l *config.Listener) error {
		e.Delete(l.Ref())
		return nil
	},
	filters: map[string]func(r reader, values []string) (func(l *config.Listener) bool, error){
		"loadbalancer_id": func(_ reader, values []string) (func(l *config.Listener) bool, error) {
			return func(l *config.Listener) bool { return slices.Contains(values, string(l.LoadBalancer)) }, nil
		},
	},
}

// Octavia's defaults, which stand for none of our own.
const (
	unlimited   = -1
	usualIdling = 50000 // ms
)

func listenerAttributes(project string) []attribute[*config.Listener] {
	type listener = *config.Listener
	list := append(balanced[listener](project, func(l listener) *bool { return &l.AdminStateUp },
		func(r reader, l listener) any { return listenerStatus(r, l) }),
		attribute[listener]{name: "loadbalancer_id", format: identifier, may: onCreate | hidden,
			set: func(_ *edit, l listener, v any) error { return parent("loadbalancer_id", &l.LoadBalancer, v) }},
		shown("loadbalancers", anything, func(r reader, l listener) any {
			if b := r.LoadBalancer(l.LoadBalancer); b != nil {
				return idList(b)
			}
			return []any{}
		}),
		attribute[listener]{name: "protocol", format: text, may: onCreate | required,
			get: func(_ reader, l listener) any { return shownProtocol(l.Protocol, l.Application) },
			set: func(_ *edit, l listener, v any) (err error) {
				l.Protocol, l.Application, err = balancedProtocol(v)
				return err
			}},
		attribute[listener]{name: "protocol_port", format: number, may: onCreate | required,
			get: func(_ reader, l listener) any { return int(l.Port) },
			set: func(_ *edit, l listener, v any) (err error) {
				l.Port, err = portNumber("protocol_port", v)
				return err
			}},
		attribute[listener]{name: "default_pool_id", format: identifier, may: always | mayBeNull, field: "pool",
			get: func(_ reader, l listener) any { return orNull(l.Pool) },
			set: func(_ *edit, l listener, v any) error {
				l.Pool, _ = v.(config.ID)
				return nil
			}},
		attribute[listener]{name: "default_pool", format: anything, may: onCreate | hidden, set: noSet[listener]},
		attribute[listener]{name: "connection_limit", format: number.or(unlimited), may: always,
			field: "connection_limit",
			get: func(_ reader, l listener) any {
				if l.ConnectionLimit == 0 {
					return unlimited
				}
				return l.ConnectionLimit
			},
			set: func(_ *edit, l listener, v any) error {
				l.ConnectionLimit = v.(int)
				if v == unlimited {
					l.ConnectionLimit = 0
				} else if l.ConnectionLimit < 1 {
					return invalid("connection_limit", "%v is neither -1 nor more than 0.", v)
				}
				return nil
			}},
		attribute[listener]{name: "allowed_cidrs", format: listOf[netip.Prefix](prefix), may: always | mayBeNull,
			field:   "allowed_cidrs",
			entries: func(l listener) []string { return textsOf(l.AllowedCIDRs, netip.Prefix.String) },
			get: func(_ reader, l listener) any {
				if l.AllowedCIDRs == nil {
					return nil
				}
				list := []string{}
				for _, p := range l.AllowedCIDRs {
					list = append(list, p.String())
				}
				return list
			},
			set: func(_ *edit, l listener, v any) error {
				l.AllowedCIDRs = nil
				given, _ := v.([]netip.Prefix)
				for _, p := range given {
					l.AllowedCIDRs = append(l.AllowedCIDRs, p.Masked())
				}
				return nil
			}},
		constant[listener]("insert_headers", anything, map[string]any{}),
		constant[listener]("l7policies", anything, []any{}),
		constant[listener]("sni_container_refs", anything, []any{}),
		constant[listener]("client_authentication", text, "NONE"),
	)
	list = append(list, timeoutAttributes()...)
	return append(list, secrets[listener]("default_tls_container_ref", "client_ca_tls_container_ref",
		"client_crl_container_ref")...)
}

// timeoutAttributes: the default of a client's timeout stands for what the connection table has.
func timeoutAttributes() []attribute[*config.Listener] {
	type listener = *config.Listener
	idling := func(l listener) int {
		if l.IdleTimeout == 0 {
			return usualIdling
		}
		return int(l.IdleTimeout / time.Millisecond)
	}
	return []attribute[listener]{
		{name: "timeout_client_data", format: number.or(usualIdling), may: always, field: "idle_timeout",
			get: func(_ reader, l listener) any { return idling(l) },
			set: func(_ *edit, l listener, v any) error {
				if v.(int) < 1 {
					return invalid("timeout_client_data", "%v is less than 1.", v)
				}
				if v == idling(l) {
					return nil // a file may state what is the default
				}
				l.IdleTimeout = 0
				if v != usualIdling {
					l.IdleTimeout = time.Duration(v.(int)) * time.Millisecond
				}
				return nil
			}},
		proxyTimeout("timeout_member_connect", 5000, func(x *config.ListenerExtra) *int { return &x.MemberConnect }),
		proxyTimeout("timeout_member_data", usualIdling, func(x *config.ListenerExtra) *int { return &x.MemberData }),
		proxyTimeout("timeout_tcp_inspect", 0, func(x *config.ListenerExtra) *int { return &x.TCPInspect }),
	}
}

// proxyTimeout is a timeout that nothing follows from: a router hands packets on, and opens no connections.
func proxyTimeout(name string, usual int, at func(x *config.ListenerExtra) *int) attribute[*config.Listener] {
	is := func(l *config.Listener) int {
		x := extraOf(l.Extra)
		if n := *at(&x); n != 0 {
			return n - 1
		}
		return usual
	}
	return attribute[*config.Listener]{name: name, format: number.or(usual), may: always, field: keyOf(name),
		get: func(_ reader, l *config.Listener) any { return is(l) },
		set: func(e *edit, l *config.Listener, v any) error {
			n := v.(int)
			if n < 0 || n == math.MaxInt32 { // one more is kept
				return invalid(name, "%d is no timeout in milliseconds.", n)
			}
			if n == is(l) {
				return nil // a file may state what is the default
			}
			kept := 0
			if n != usual {
				kept = n + 1
				e.request.keeps(name)
			}
			changeExtra(&l.Extra, func(x *config.ListenerExtra) { *at(x) = kept })
			return nil
		}}
}

func createListener(e *edit, l *config.Listener, body map[string]any) error {
	switch {
	case l.LoadBalancer == "":
		return malformed("Invalid input for field/attribute loadbalancer_id. Mandatory field missing.")
	case e.LoadBalancer(l.LoadBalancer) == nil:
		return notFound("Load Balancer", l.LoadBalancer)
	case body["default_pool"] != nil && l.Pool != "":
		return malformed("Only one of default_pool and default_pool_id can be specified.")
	case body["default_pool"] != nil:
		p, err := makeOf(e, e.request.api.balancing.pools, body["default_pool"],
			func(p *config.Pool) { p.LoadBalancer = l.LoadBalancer })
		if err != nil {
			return err
		}
		l.Pool = p.ID
	}
	return putListener(e, l)
}

// putListener checks that a listener's pool is its load balancer's, or a file's that no other one uses.
func putListener(e *edit, l *config.Listener) error {
	if l.Pool != "" {
		p := e.Pool(l.Pool)
		if p == nil {
			return notFound("Pool", l.Pool)
		}
		for _, b := range balancersOf(e, p) {
			if b.ID == l.LoadBalancer {
				continue
			}
			if p.LoadBalancer == "" {
				return conflict("Conflict", "Pool %s is used by load balancer %s.", p.ID, b.ID)
			}
			return malformed("Pool %s is one of load balancer %s.", p.ID, b.ID)
		}
	}
	e.Put(l)
	return nil
}
