package neutron

import (
	"maps"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/taprouter/taprouter/config"
)

// The agents are parts of this program, as Neutron lists them: what serves routers, and what serves DHCP.
func (a *API) routerAgent() map[string]any { return a.agent("agent", "L3 agent", "l3_agent") }
func (a *API) dhcpAgent() map[string]any   { return a.agent("dhcp-agent", "DHCP agent", "dhcp_agent") }

func (a *API) agents() []map[string]any { return []map[string]any{a.routerAgent(), a.dhcpAgent()} }

func (a *API) agent(name, typ, topic string) map[string]any {
	stamp := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }
	return map[string]any{
		"id": string(config.NameID(config.KindSettings, name)), "agent_type": typ, "binary": "taprouter",
		"host": a.opt.Host, "availability_zone": zone, "admin_state_up": true, "alive": true, "topic": topic,
		"configurations": map[string]any{}, "resources_synced": true, "description": nil,
		"created_at": stamp(a.started), "started_at": stamp(a.started), "heartbeat_timestamp": stamp(a.opt.Now()),
	}
}

// mountInventory serves what clients list of the cloud itself.
func (a *API) mountInventory() {
	a.handle("/v2.0/agents", methods{http.MethodGet: func(r *request) (reply, error) {
		l := inventory{name: "agents", title: "Agent", id: "id", items: a.agents(), keys: []string{"id", "agent_type",
			"binary", "host", "availability_zone", "admin_state_up", "alive", "topic"}}
		return l.answer(r)
	}})
	a.handle("/v2.0/agents/{id}", methods{http.MethodGet: func(r *request) (reply, error) {
		for _, x := range a.agents() {
			if x["id"] == r.PathValue("id") {
				return reply{status: http.StatusOK, body: map[string]any{"agent": x}}, nil
			}
		}
		return reply{}, notFound("Agent", config.ID(r.PathValue("id")))
	}})
	a.handle("/v2.0/routers/{id}/l3-agents", methods{http.MethodGet: func(r *request) (reply, error) {
		if id := config.ID(r.PathValue("id")); a.control.State().Router(id) == nil {
			return reply{}, notFound("Router", id)
		}
		return reply{status: http.StatusOK, body: map[string]any{"agents": []any{a.routerAgent()}}}, nil
	}})
	a.handle("/v2.0/networks/{id}/dhcp-agents", methods{http.MethodGet: func(r *request) (reply, error) {
		s, id := a.control.State(), config.ID(r.PathValue("id"))
		if s.Network(id) == nil {
			return reply{}, notFound("Network", id)
		}
		list := []any{}
		for sub := range s.SubnetsOf(id) {
			if sub.ServesDHCP() {
				list = append(list, a.dhcpAgent())
				break
			}
		}
		return reply{status: http.StatusOK, body: map[string]any{"agents": list}}, nil
	}})
	a.handle("/v2.0/availability_zones", methods{http.MethodGet: func(r *request) (reply, error) {
		var list []map[string]any
		for _, resource := range []string{"network", "router"} {
			list = append(list, map[string]any{"name": zone, "resource": resource, "state": "available"})
		}
		l := inventory{name: "availability_zones", title: "AvailabilityZone", id: "name", items: list,
			keys: []string{"name", "resource", "state"}}
		return l.answer(r)
	}})
	a.handle("/v2.0/network-ip-availabilities", methods{http.MethodGet: a.availabilities})
	a.handle("/v2.0/network-ip-availabilities/{id}", methods{http.MethodGet: func(r *request) (reply, error) {
		s := a.control.State()
		n := s.Network(config.ID(r.PathValue("id")))
		if n == nil {
			return reply{}, notFound("Network", config.ID(r.PathValue("id")))
		}
		return reply{status: http.StatusOK, body: map[string]any{"network_ip_availability": a.availability(s, n,
			"")}}, nil
	}})
}

// An inventory is a list of things that are no objects of a State.
type inventory struct {
	name, title string // of the list, and of one of it
	id          string // the key that a marker names
	keys        []string
	items       []map[string]any
	linked      bool // it has its links also where there are none
}

// answer answers with the part of the list that a query asks for. It may filter and sort by the list's keys.
func (l *inventory) answer(r *request, ignored ...string) (reply, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return reply{}, malformed("Malformed query: %v", err)
	}
	p, err := readPaging(query)
	if err != nil {
		return reply{}, err
	}
	for _, key := range sortedKeys(query) {
		if !slices.Contains(l.keys, key) && !slices.Contains(pageKeys, key) && !slices.Contains(ignored, key) {
			return reply{}, malformed("'%s' is invalid attribute for filtering", key)
		}
	}
	if err := l.sort(query["sort_key"], query["sort_dir"]); err != nil {
		return reply{}, err
	}
	marker := -1
	for i, x := range l.items {
		if p.marker != "" && queryText(x[l.id]) == p.marker {
			marker = i // the last one of that name: no page begins twice
		}
	}
	if p.marker != "" && marker < 0 {
		return reply{}, notFound(l.title, config.ID(p.marker))
	}
	var list []map[string]any // what fits the query, and the marker
	at := -1
	for i, x := range l.items {
		if i == marker {
			at = len(list)
		}
		if i == marker || fitsQuery(x, query, l.keys) {
			list = append(list, x)
		}
	}
	page, more := window(p, list, at)
	out := []any{}
	for _, x := range page {
		out = append(out, only(x, fieldsOf(query)))
	}
	body := map[string]any{l.name: out}
	switch {
	case more:
		body[l.name+"_links"] = []link{p.link(r, queryText(page[0][l.id]), queryText(page[len(page)-1][l.id]))}
	case l.linked:
		body[l.name+"_links"] = []link{}
	}
	return reply{status: http.StatusOK, body: body}, nil
}

// pageKeys are the keys of a query that are no filters.
var pageKeys = []string{"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"}

func (l *inventory) sort(keys, dirs []string) error {
	down, err := directions(keys, dirs)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if !slices.Contains(l.keys, key) {
			return malformed("'%s' is invalid attribute for sort keys", key)
		}
	}
	slices.SortStableFunc(l.items, func(a, b map[string]any) int {
		for i, key := range keys {
			n := compare(a[key], b[key])
			if down[i] {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	})
	return nil
}

func fitsQuery(x map[string]any, query url.Values, keys []string) bool {
	for _, key := range keys {
		if wanted := query[key]; len(wanted) > 0 && !slices.ContainsFunc(wanted, func(v string) bool {
			if _, isFlag := x[key].(bool); isFlag {
				v = flag.filter(v)
			}
			return v == queryText(x[key])
		}) {
			return false
		}
	}
	return true
}

// only is an object with some of its fields. No fields: all.
func only(x map[string]any, fields []string) map[string]any {
	if len(fields) == 0 {
		return x
	}
	x = maps.Clone(x)
	maps.DeleteFunc(x, func(key string, _ any) bool { return !slices.Contains(fields, key) })
	return x
}

// availabilities answers how many addresses each network has, and how many are taken.
func (a *API) availabilities(r *request) (reply, error) {
	s := a.control.State()
	version := r.URL.Query().Get("ip_version")
	if version != "" && version != "4" && version != "6" {
		return reply{}, invalid("ip_version", "'%s' is not in [4, 6].", version)
	}
	var list []map[string]any
	for n := range s.Networks() {
		list = append(list, a.availability(s, n, version))
	}
	l := inventory{name: "network_ip_availabilities", title: "Network", id: "network_id", items: list,
		keys: []string{"network_id", "network_name", "project_id", "tenant_id"}}
	return l.answer(r, "ip_version")
}

func (a *API) availability(s *config.State, n *config.Network, version string) map[string]any {
	subnets := []any{}
	total, used := new(big.Int), 0
	for sub := range s.SubnetsOf(n.ID) {
		v := versionOf(sub.CIDR.Addr())
		if version != "" && version != queryText(v) {
			continue
		}
		all, taken := poolSize(sub), takenIn(s, sub)
		total.Add(total, all)
		used += taken
		subnets = append(subnets, map[string]any{"subnet_id": string(sub.ID), "subnet_name": sub.Name,
			"cidr": sub.CIDR.String(), "ip_version": v, "total_ips": all, "used_ips": taken})
	}
	return map[string]any{"network_id": string(n.ID), "network_name": n.Name, "project_id": a.opt.Project,
		"tenant_id": a.opt.Project, "total_ips": total, "used_ips": used, "subnet_ip_availability": subnets}
}

// poolSize is how many addresses a subnet has to give out.
func poolSize(s *config.Subnet) *big.Int {
	n := new(big.Int)
	number := func(a netip.Addr) *big.Int { return new(big.Int).SetBytes(a.AsSlice()) }
	for _, p := range s.AllocationPools {
		size := new(big.Int).Sub(number(p.Last), number(p.First))
		n.Add(n, size.Add(size, big.NewInt(1)))
	}
	return n
}

// takenIn is how many addresses of a subnet objects have.
func takenIn(s *config.State, sub *config.Subnet) int {
	n := 0
	for p := range s.PortsIn(sub.ID) {
		for _, f := range p.FixedIPs {
			if f.Subnet == sub.ID {
				n++
			}
		}
	}
	for f := range s.FloatingIPsOn(sub.Network) {
		if sub.CIDR.Contains(f.Address) {
			n++
		}
	}
	for b := range s.LoadBalancersOn(sub.Network) {
		if b.Port == "" && sub.CIDR.Contains(b.Address) {
			n++
		}
	}
	return n
}
