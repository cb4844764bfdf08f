package neutron

import (
	"net/http"
	"strings"
)

// An extension is a part of Neutron that clients ask for before they use it.
type extension struct{ alias, name, description string }

// extensions are the ones that this package serves.
var extensions = []extension{
	{"allowed-address-pairs", "Allowed Address Pairs", "Addresses that a port may use besides its own."},
	{"availability_zone", "Availability Zone", "The availability zones, of which there is one."},
	{"binding", "Port Binding", "Attributes of a port's binding."},
	{"ext-gw-mode", "Neutron L3 Configurable external gateway mode", "Gateways with and without SNAT."},
	{"external-net", "Neutron external network", "Networks that are outside."},
	{"extraroute", "Neutron Extra Route", "Static routes of routers."},
	{"extraroute-atomic", "Atomically add/remove extra routes", "Adding and removing some routes of a router."},
	{"fip-port-details", "Floating IP Port Details Extension", "A floating IP shows its port."},
	{"floating-ip-port-forwarding", "Floating IP Port Forwarding", "Single ports of a floating IP lead to ports."},
	{"ip-substring-filtering", "IP address substring filtering", "Filtering ports by a part of an address."},
	{"net-mtu", "Network MTU", "The MTU of a network."},
	{"network_availability_zone", "Network Availability Zone", "The availability zones of networks."},
	{"pagination", "Pagination support", "Lists in pages."},
	{"port-security", "Port Security", "Networks and ports whose frames are checked, or not."},
	{"project-id", "project_id field enabled", "project_id beside tenant_id."},
	{"provider", "Provider Network", "What carries a network."},
	{"router", "Neutron L3 Router", "Routers and floating IPs."},
	{"router_availability_zone", "Router Availability Zone", "The availability zones of routers."},
	{"sorting", "Sorting support", "Lists in an order."},
	{"standard-attr-description", "standard-attr-description", "A description of each object."},
	{"standard-attr-revisions", "Resource revision numbers", "A number that each change makes higher."},
	{"standard-attr-tag", "Tag support for resources with standard attribute", "Tags of each object."},
	{"standard-attr-timestamp", "Resource timestamps", "When an object was made and changed."},
}

func (x extension) body() any {
	return map[string]any{"alias": x.alias, "name": x.name, "description": x.description,
		"updated": "2026-01-01T00:00:00-00:00", "links": []any{}}
}

// none are the collections that clients list and that never have anything here.
var none = []string{"subnetpools", "address-scopes", "rbac-policies", "service-providers", "trunks"}

func (a *API) mountExtensions() {
	a.handle("/v2.0/extensions", methods{http.MethodGet: func(*request) (reply, error) {
		list := []any{}
		for _, x := range extensions {
			list = append(list, x.body())
		}
		return reply{http.StatusOK, map[string]any{"extensions": list}}, nil
	}})
	a.handle("/v2.0/extensions/{alias}", methods{http.MethodGet: func(r *request) (reply, error) {
		for _, x := range extensions {
			if x.alias == r.PathValue("alias") {
				return reply{http.StatusOK, map[string]any{"extension": x.body()}}, nil
			}
		}
		return reply{}, failure(http.StatusNotFound, "ExtensionNotFound", "Extension with alias %s does not exist",
			r.PathValue("alias"))
	}})
	a.handle("/v2.0/availability_zones", methods{http.MethodGet: func(*request) (reply, error) {
		list := []any{}
		for _, resource := range []string{"network", "router"} {
			list = append(list, map[string]any{"name": zone, "resource": resource, "state": "available"})
		}
		return reply{http.StatusOK, map[string]any{"availability_zones": list}}, nil
	}})
	for _, name := range none {
		a.handle("/v2.0/"+name, methods{http.MethodGet: func(*request) (reply, error) {
			return reply{http.StatusOK, map[string]any{strings.ReplaceAll(name, "-", "_"): []any{}}}, nil
		}})
	}
}
