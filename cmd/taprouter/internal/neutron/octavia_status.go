package neutron

import (
	"net/http"

	"github.com/taprouter/taprouter/config"
)

// statusTree answers GET of a load balancer's status: it and all below it.
func (a *API) statusTree(r *request) (reply, error) {
	s := a.control.State()
	b, err := a.balancing.balancers.look(r, s)
	if err != nil {
		return reply{}, err
	}
	v := a.view(s)
	listeners := []any{}
	for l := range s.ListenersOf(b.ID) {
		t := leaf(l, listenerStatus(v, l))
		pools := []any{}
		if p := s.Pool(l.Pool); p != nil {
			pools = append(pools, poolTree(v, p))
		}
		t["pools"] = pools
		listeners = append(listeners, t)
	}
	pools := []any{}
	for _, p := range poolsUnder(s, b) {
		pools = append(pools, poolTree(v, p))
	}
	t := leaf(b, balancerStatus(v, b))
	t["listeners"], t["pools"] = listeners, pools
	return reply{status: http.StatusOK, body: map[string]any{"statuses": map[string]any{"loadbalancer": t}}}, nil
}

// leaf is what a tree of statuses has of every object.
func leaf(o config.Object, operating any) map[string]any {
	m := o.About()
	return map[string]any{"id": string(m.ID), "name": m.Name, "provisioning_status": "ACTIVE",
		"operating_status": operating}
}

func poolTree(r reader, p *config.Pool) map[string]any {
	t := leaf(p, poolStatus(r, p))
	if m := r.MonitorOf(p.ID); m != nil {
		monitor := leaf(m, monitorStatus(r, m))
		monitor["type"] = m.Type
		t["health_monitor"] = monitor
	}
	members := []any{}
	for m := range r.MembersOf(p.ID) {
		member := leaf(m, memberStatus(r, m))
		member["address"], member["protocol_port"] = addressText(m.Address), int(m.Port)
		members = append(members, member)
	}
	t["members"] = members
	return t
}

// statistics counts what listeners have done.
func (a *API) statistics(s *config.State, listeners ...*config.Listener) reply {
	v := a.view(s)
	for _, l := range listeners {
		v.ask(s.LoadBalancer(l.LoadBalancer))
	}
	var active int
	var in, out, total, refused uint64
	for _, l := range listeners {
		if live := v.listeners[l.ID]; live != nil {
			active += live.Statistics.Active
			in += live.Statistics.BytesIn
			out += live.Statistics.BytesOut
			total += live.Statistics.Total
			refused += live.Refused
		}
	}
	return reply{status: http.StatusOK, body: map[string]any{"stats": map[string]any{
		"active_connections": active, "bytes_in": in,
		"bytes_out": out, "total_connections": total, "request_errors": refused}}}
}

func (a *API) balancerStatistics(r *request) (reply, error) {
	s := a.control.State()
	b, err := a.balancing.balancers.look(r, s)
	if err != nil {
		return reply{}, err
	}
	var list []*config.Listener
	for l := range s.ListenersOf(b.ID) {
		list = append(list, l)
	}
	return a.statistics(s, list...), nil
}

func (a *API) listenerStatistics(r *request) (reply, error) {
	s := a.control.State()
	l, err := a.balancing.listeners.look(r, s)
	if err != nil {
		return reply{}, err
	}
	return a.statistics(s, l), nil
}

// failover has nothing to do: there is no second server that could take over.
func (a *API) failover(r *request) (reply, error) {
	_, err := a.balancing.balancers.look(r, a.control.State())
	return reply{status: http.StatusAccepted}, err
}
