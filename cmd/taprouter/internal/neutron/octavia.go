package neutron

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

// provider is the name of the one thing that serves load balancers.
const provider = "taprouter"

// lbaas is where the load-balancing API is, in Octavia's words.
const lbaas = "/v2.0/lbaas"

// isBalancing says whether a path is the load-balancing API's.
func isBalancing(path string) bool { return path == lbaas || strings.HasPrefix(path, lbaas+"/") }

// balancing has the resources of the load-balancing API, which create each other's objects.
type balancing struct {
	balancers *mounted[*config.LoadBalancer]
	listeners *mounted[*config.Listener]
	pools     *mounted[*config.Pool]
	members   *mounted[*config.Member]
	monitors  *mounted[*config.Monitor]
}

// mountBalancing serves the load-balancing API.
func (a *API) mountBalancing() {
	b := &a.balancing
	b.members = newMounted(a, members)
	b.monitors = mountBalanced(a, monitors)
	b.pools = mountBalanced(a, pools)
	b.listeners = mountBalanced(a, listeners)
	b.balancers = mountBalanced(a, balancers)
	a.mountMembers()
	a.handle(lbaas+"/loadbalancers/{id}/status", methods{http.MethodGet: a.statusTree})
	a.handle(lbaas+"/loadbalancers/{id}/stats", methods{http.MethodGet: a.balancerStatistics})
	a.handle(lbaas+"/loadbalancers/{id}/failover", methods{http.MethodPut: a.failover})
	a.handle(lbaas+"/listeners/{id}/stats", methods{http.MethodGet: a.listenerStatistics})
	a.handle(lbaas+"/providers", methods{http.MethodGet: func(r *request) (reply, error) {
		l := inventory{name: "providers", title: "Provider", id: "name", linked: true,
			keys: []string{"name", "description"}, items: []map[string]any{{"name": provider,
				"description": "The load balancers of this router."}}}
		return l.answer(r)
	}})
	a.empty(lbaas+"/providers/{provider}/flavor_capabilities", "flavor_capabilities")
	for _, name := range []string{"flavors", "flavorprofiles", "l7policies"} {
		a.empty(lbaas+"/"+name, name)
	}
	a.empty(lbaas+"/availabilityzones", "availability_zones") // the one list that is called otherwise than its path
}

// empty serves a collection that never has anything here.
func (a *API) empty(path, name string) {
	a.handle(path, methods{http.MethodGet: func(*request) (reply, error) {
		return reply{status: http.StatusOK, body: map[string]any{name: []any{}, name + "_links": []any{}}}, nil
	}})
}

func mountBalanced[T config.Object](a *API, r resource[T]) *mounted[T] {
	m := newMounted(a, r)
	at := lbaas + "/" + r.plural
	a.handle(at, methods{http.MethodGet: m.index, http.MethodPost: m.post})
	a.handle(at+"/{id}", methods{http.MethodGet: m.show, http.MethodPut: m.put, http.MethodDelete: m.delete})
	return m
}

// or is a format where null, in an update, stands for a default.
func (f format) or(value any) format {
	f.empty = value
	return f
}

// balanced are the attributes that all resources of the load-balancing API have.
func balanced[T config.Object](project string, up func(o T) *bool, operating func(r reader, o T) any) []attribute[T] {
	list := slices.DeleteFunc(common[T](project), func(a attribute[T]) bool {
		return a.name == "tags" || a.name == "revision_number" || a.name == "created_at" || a.name == "updated_at"
	})
	return append(list,
		named[T](),
		field("admin_state_up", flag.or(true), always, "admin_state_up", up),
		attribute[T]{name: "tags", format: listOf[string](text), may: always, field: "tags",
			entries: func(o T) []string { return o.About().Tags },
			get:     func(_ reader, o T) any { return tagsOf(o) },
			set: func(_ *edit, o T, v any) error {
				var tags []string
				for _, t := range v.([]string) {
					if !slices.Contains(tags, t) {
						tags = append(tags, t)
					}
				}
				o.About().Tags = tags
				if len(tags) > maxTags {
					return invalid("tags", "there are more than %d.", maxTags)
				}
				return nil
			}},
		shown("provisioning_status", text, func(reader, T) any { return "ACTIVE" }),
		shown("operating_status", text, operating),
		shown("created_at", text, func(_ reader, o T) any { return zonelessText(o.About().Created) }),
		shown("updated_at", text, func(_ reader, o T) any {
			m := o.About()
			if m.Revision <= 1 {
				return nil
			}
			return zonelessText(m.Updated)
		}))
}

// zonelessText writes a time as Octavia does: without Z.
func zonelessText(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05")
}

// idList is a list of objects as Octavia refers to them.
func idList[T config.Object](objects ...T) []any {
	list := []any{}
	for _, o := range objects {
		list = append(list, map[string]any{"id": string(o.About().ID)})
	}
	return list
}

// secrets are attributes of TLS, which is not served here.
func secrets[T config.Object](refs ...string) []attribute[T] {
	list := []attribute[T]{
		constant[T]("tls_versions", anything, []any{}),
		constant[T]("alpn_protocols", anything, []any{}),
		constant[T]("tls_ciphers", anything, nil),
	}
	for _, name := range refs {
		list = append(list, constant[T](name, anything, nil))
	}
	return list
}

// balancedProtocol reads the protocol of a listener or pool. HTTP and HTTPS are balanced as TCP.
func balancedProtocol(v any) (p config.Protocol, application string, err error) {
	switch p := strings.ToUpper(v.(string)); p {
	case "TCP", "UDP":
		return config.Protocol(p), "", nil
	case "HTTP", "HTTPS":
		return config.TCP, p, nil
	}
	return "", "", invalid("protocol", "'%v' is not in ['TCP', 'UDP', 'HTTP', 'HTTPS'].", v)
}

// shownProtocol is a protocol as it was asked for.
func shownProtocol(p config.Protocol, application string) string {
	if application != "" {
		return application
	}
	return string(p)
}

// portNumber reads an L4 port.
func portNumber(name string, v any) (uint16, error) {
	n := v.(int)
	if n < 1 || n > 65535 {
		return 0, invalid(name, "%d is not from 1 to 65535.", n)
	}
	return uint16(n), nil
}

// parent checks the object that a body names as the one above a new object, which the path or a populated body may
// have named before.
func parent(name string, at *config.ID, v any) error {
	if id := v.(config.ID); *at == "" || *at == id {
		*at = id
		return nil
	}
	return invalid(name, "the object is part of %s.", *at)
}

// makeOf makes an object of a body, and puts it below another one: place says where.
func makeOf[T config.Object](e *edit, m *mounted[T], body any, place func(o T)) (T, error) {
	o := m.fresh(e.meta())
	given, ok := body.(map[string]any)
	if !ok {
		return o, malformed("Invalid input for %s. Reason: %s is not a dictionary.", m.singular, show(body))
	}
	place(o)
	if err := fillCreate(e, m.list, o, given); err != nil {
		return o, err
	}
	return o, m.create(e, o, given)
}

// eachOf calls a function for each object of a list in a body. It may be absent or null.
func eachOf(name string, v any, fn func(x any) error) error {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return invalid(name, "%s is not a list.", show(v))
	}
	for _, x := range list {
		if err := fn(x); err != nil {
			return err
		}
	}
	return nil
}

// A seen is a State with what the engine says of its load balancers at the time of a request, and with the objects that
// are set aside.
type seen struct {
	*config.State
	api       *API
	asides    map[config.Ref]Aside // nil: not asked yet
	asked     map[config.ID]bool   // load balancers that the engine was asked of
	balancers map[config.ID]router.OperatingStatus
	listeners map[config.ID]*router.Listener
	pools     map[config.ID]router.OperatingStatus
	members   map[config.ID]router.OperatingStatus
}

// view is a State for the getters of attributes.
func (m *mounted[T]) view(s *config.State) reader { return m.api.view(s) }

func (a *API) view(s *config.State) *seen { return &seen{State: s, api: a} }

// ask asks the engine of some load balancers, of each once for a request, and only if an answer needs it.
func (s *seen) ask(balancers ...*config.LoadBalancer) {
	if s.asked == nil {
		s.asked = map[config.ID]bool{}
		s.balancers = map[config.ID]router.OperatingStatus{}
		s.listeners = map[config.ID]*router.Listener{}
		s.pools = map[config.ID]router.OperatingStatus{}
		s.members = map[config.ID]router.OperatingStatus{}
	}
	from := s.api.opt.Balancers
	for _, b := range balancers {
		if from == nil || b == nil || s.asked[b.ID] {
			continue
		}
		s.asked[b.ID] = true
		if live, ok := from.LoadBalancer(b.ID); ok {
			s.note(b, &live)
		}
	}
}

// note remembers how a load balancer is doing, and all below it.
func (s *seen) note(b *config.LoadBalancer, live *router.LoadBalancer) {
	s.balancers[b.ID] = live.OperatingStatus
	for i := range live.Listeners {
		of := &live.Listeners[i]
		s.listeners[of.ID] = of
		l := s.Listener(of.ID)
		if l == nil {
			continue
		}
		s.pools[l.Pool] = worse(s.pools[l.Pool], of.Pool.OperatingStatus)
		for _, m := range of.Pool.Members {
			if !m.Removed {
				s.members[m.ID] = worse(s.members[m.ID], m.OperatingStatus)
			}
		}
	}
}

// gravity orders the statuses that the listeners of one pool may see.
var gravity = []router.OperatingStatus{router.Online, router.NoMonitor, router.Draining, router.Offline,
	router.Degraded, router.Error}

func worse(a, b router.OperatingStatus) router.OperatingStatus {
	if slices.Index(gravity, a) > slices.Index(gravity, b) {
		return a
	}
	return b
}

// status is what the engine says of what is below some load balancers, or else a status that follows from the State.
func status(r reader, below []*config.LoadBalancer, of func(s *seen) (router.OperatingStatus, bool),
	or router.OperatingStatus) any {
	if s, ok := r.(*seen); ok {
		s.ask(below...)
		if live, ok := of(s); ok {
			return string(live)
		}
	}
	return string(or)
}

// reached says whether a router answers for a load balancer.
func reached(r reader, b *config.LoadBalancer) bool {
	if b == nil || !b.AdminStateUp {
		return false
	}
	by, on := r.Router(b.Router), r.Network(b.Network)
	return by != nil && by.AdminStateUp && on != nil && on.AdminStateUp
}

func balancerStatus(r reader, b *config.LoadBalancer) any {
	if !reached(r, b) {
		return string(router.Offline)
	}
	return status(r, []*config.LoadBalancer{b},
		func(s *seen) (router.OperatingStatus, bool) { st, ok := s.balancers[b.ID]; return st, ok }, router.Online)
}

func listenerStatus(r reader, l *config.Listener) any {
	b := r.LoadBalancer(l.LoadBalancer)
	if !l.AdminStateUp || !reached(r, b) {
		return string(router.Offline)
	}
	return status(r, []*config.LoadBalancer{b}, func(s *seen) (router.OperatingStatus, bool) {
		if live := s.listeners[l.ID]; live != nil {
			return live.OperatingStatus, true
		}
		return "", false
	}, router.Online)
}

// poolStatus: a pool that no load balancer serves is offline.
func poolStatus(r reader, p *config.Pool) any {
	below := balancersOf(r, p)
	if !p.AdminStateUp || !slices.ContainsFunc(below, func(b *config.LoadBalancer) bool { return reached(r, b) }) {
		return string(router.Offline)
	}
	return status(r, below,
		func(s *seen) (router.OperatingStatus, bool) { st, ok := s.pools[p.ID]; return st, ok }, router.Online)
}

func memberStatus(r reader, m *config.Member) any {
	or := router.Online
	switch monitor := r.MonitorOf(m.Pool); {
	case !m.AdminStateUp:
		or = router.Offline
	case m.Weight == 0:
		or = router.Draining
	case monitor == nil || !monitor.AdminStateUp:
		or = router.NoMonitor
	}
	var below []*config.LoadBalancer
	if p := r.Pool(m.Pool); p != nil {
		below = balancersOf(r, p)
	}
	return status(r, below, func(s *seen) (router.OperatingStatus, bool) {
		st, ok := s.members[m.ID]
		if !ok && s.api.opt.Balancers != nil && or == router.Online { // no listener uses the pool, so no check is made
			return router.Offline, true
		}
		return st, ok
	}, or)
}

func monitorStatus(_ reader, m *config.Monitor) any {
	if m.AdminStateUp {
		return string(router.Online)
	}
	return string(router.Offline)
}
