package neutron

import (
	"net/http"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// A limited is a resource that a quota limits. The kind is anyKind for a resource that clients set a limit of, and that
// is not served.
type limited struct {
	name string
	kind config.Kind
	old  string // another name of the same; empty: none
}

// networkLimits are the resources of Neutron's quotas.
var networkLimits = []limited{
	{"network", config.KindNetwork, ""}, {"subnet", config.KindSubnet, ""}, {"port", config.KindPort, ""},
	{"router", config.KindRouter, ""}, {"floatingip", config.KindFloatingIP, ""},
	{"security_group", config.KindSecurityGroup, ""}, {"security_group_rule", config.KindSecurityGroupRule, ""},
	{"address_group", config.KindAddressGroup, ""},
	{"rbac_policy", anyKind, ""}, {"subnetpool", anyKind, ""}, {"trunk", anyKind, ""},
}

// balancingLimits are the resources of Octavia's quotas.
var balancingLimits = []limited{
	{"loadbalancer", config.KindLoadBalancer, "load_balancer"}, {"listener", config.KindListener, ""},
	{"pool", config.KindPool, ""}, {"healthmonitor", config.KindMonitor, "health_monitor"},
	{"member", config.KindMember, ""}, {"l7policy", anyKind, ""}, {"l7rule", anyKind, ""},
}

// octaviaNames are the words of Octavia's messages.
var octaviaNames = map[config.Kind]string{config.KindLoadBalancer: "LoadBalancer", config.KindListener: "Listener",
	config.KindPool: "Pool", config.KindMonitor: "HealthMonitor", config.KindMember: "Member"}

// overQuota refuses an edit that makes more objects than the quota allows. What there is already may be more.
func (e *edit) overQuota() error {
	q := e.Quota()
	if q == nil {
		return nil
	}
	over := func(l limited) bool {
		n := e.Count(l.kind) - e.free[l.name]
		most := q.Limit(l.name)
		return l.kind != anyKind && most >= 0 && n > most && n > e.Base().Count(l.kind)
	}
	for _, l := range networkLimits {
		if over(l) {
			return conflict("OverQuota", "Quota exceeded for resources: ['%s'].", l.name)
		}
	}
	for _, l := range balancingLimits {
		if over(l) {
			return failure(http.StatusForbidden, "QuotaException", "Quota has been met for resources: %s",
				octaviaNames[l.kind])
		}
	}
	return nil
}

// mountQuotas serves the quotas of both APIs. They are one object. Neutron's path has the limits of both: gophercloud
// asks for Octavia's quotas below the same path, which Octavia has, too. It cannot be told which of them a DELETE
// means, so that takes all limits away.
func (a *API) mountQuotas() {
	a.mountQuota("/v2.0/quotas", slices.Concat(networkLimits, balancingLimits), http.StatusOK)
	a.mountQuota(lbaas+"/quotas", balancingLimits, http.StatusAccepted)
	details := methods{http.MethodGet: a.ofProject(a.quotaDetails)}
	a.handle("/v2.0/quotas/{project}/details", details)
	a.handle("/v2.0/quotas/{project}/details.json", details)
}

// ofProject serves what is about the one project.
func (a *API) ofProject(fn func(r *request) (reply, error)) func(r *request) (reply, error) {
	return func(r *request) (reply, error) {
		if id := r.PathValue("project"); id != a.opt.Project {
			return reply{}, failure(http.StatusNotFound, "ProjectNotFound", "Project %s could not be found: the only "+
				"project is %s.", id, a.opt.Project)
		}
		return fn(r)
	}
}

func (a *API) mountQuota(at string, list []limited, updated int) {
	one := func(q *config.Quota, status int) reply {
		return reply{status: status, body: map[string]any{"quota": a.quotaBody(q, list)}}
	}
	a.handle(at, methods{http.MethodGet: func(r *request) (reply, error) {
		all := []any{}
		if q := a.control.State().Quota(); hasLimits(q, list) {
			all = append(all, a.quotaBody(q, list))
		}
		return reply{status: http.StatusOK, body: map[string]any{"quotas": all, "quotas_links": []any{}}}, nil
	}})
	a.handle(at+"/{project}/default", methods{http.MethodGet: a.ofProject(func(*request) (reply, error) {
		return one(nil, http.StatusOK), nil
	})})
	a.handle(at+"/{project}", methods{
		http.MethodGet: a.ofProject(func(*request) (reply, error) {
			return one(a.control.State().Quota(), http.StatusOK), nil
		}),
		http.MethodPut: a.ofProject(func(r *request) (reply, error) {
			body, err := readOne(r, "quota")
			if err != nil {
				return reply{}, err
			}
			given, err := readLimits(body, list)
			if err != nil {
				return reply{}, err
			}
			s, err := r.change(func(e *edit) error { return e.putLimits(list, given) })
			if err != nil {
				return reply{}, err
			}
			r.tellsChanged(config.KindQuota)
			return one(s.Quota(), updated), nil
		}),
		http.MethodDelete: a.ofProject(func(r *request) (reply, error) {
			_, err := r.change(func(e *edit) error {
				all := map[string]int{}
				for _, l := range list {
					all[l.name] = -1
				}
				return e.putLimits(list, all)
			})
			if err != nil {
				return reply{}, err
			}
			r.tellsChanged(config.KindQuota)
			return reply{status: http.StatusNoContent}, nil
		}),
	})
}

// hasLimits says whether a quota limits one of some resources.
func hasLimits(q *config.Quota, list []limited) bool {
	return slices.ContainsFunc(list, func(l limited) bool { return q.Limit(l.name) >= 0 })
}

func (a *API) quotaBody(q *config.Quota, list []limited) map[string]any {
	out := map[string]any{"project_id": a.opt.Project, "tenant_id": a.opt.Project}
	for _, l := range list {
		out[l.name] = q.Limit(l.name)
		if l.old != "" {
			out[l.old] = q.Limit(l.name)
		}
	}
	return out
}

// readLimits reads limits by the names of their resources. Null is the default.
func readLimits(body map[string]any, list []limited) (map[string]int, error) {
	given := map[string]int{}
	var unknown []string
	for _, name := range sortedKeys(body) {
		i := slices.IndexFunc(list, func(l limited) bool { return name == l.name || name == l.old })
		if i < 0 {
			if name != "project_id" && name != "tenant_id" {
				unknown = append(unknown, name)
			}
			continue
		}
		most := any(-1)
		if v := body[name]; v != nil {
			var err error
			if most, err = number.read(v); err != nil {
				return nil, invalid(name, "%v.", err)
			}
		}
		if most.(int) < -1 {
			return nil, invalid(name, "%v is less than -1, which stands for no limit.", most)
		}
		given[list[i].name] = most.(int)
	}
	return given, unrecognized(unknown)
}

// putLimits changes some limits of the quota. A quota without limits is none.
func (e *edit) putLimits(list []limited, given map[string]int) error {
	q := &config.Quota{Meta: config.Meta{ID: config.QuotaID, Source: config.Source{Request: e.request.id}}}
	if was := e.Quota(); was != nil {
		q = copied(was)
	}
	changes := func(resource string) bool {
		most, ok := given[resource]
		return ok && most != q.Limit(resource)
	}
	for _, l := range list {
		if changes(l.name) {
			if err := e.own(q, l.name); err != nil {
				return err
			}
		}
	}
	limits := slices.DeleteFunc(slices.Clone(q.Limits), func(l config.Limit) bool { return changes(l.Resource) })
	for _, l := range list {
		if most := given[l.name]; changes(l.name) && most >= 0 {
			limits = append(limits, config.Limit{Resource: l.name, Most: most})
		}
	}
	if q.Limits = orNone(limits); len(limits) == 0 {
		e.Delete(q.Ref())
	} else {
		e.Put(q)
	}
	return nil
}

// quotaDetails answers how much of each limit is used.
func (a *API) quotaDetails(*request) (reply, error) {
	s := a.control.State()
	out := map[string]any{}
	for _, l := range networkLimits {
		used := 0
		if l.kind != anyKind {
			used = s.Count(l.kind)
		}
		out[l.name] = map[string]any{"limit": s.Quota().Limit(l.name), "used": used, "reserved": 0}
	}
	return reply{status: http.StatusOK, body: map[string]any{"quota": out}}, nil
}
