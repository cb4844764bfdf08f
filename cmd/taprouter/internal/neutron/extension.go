package neutron

import (
	"net/http"
	"strings"
)

// An extension is a part of Neutron that clients ask for before they use it.
type extension struct{ alias, name, description string }

// extensions are the ones that this package serves.
var extensions = []extension{
	{"address-group", "Address group", "Sets of addresses that rules of security groups name."},
	{"agent", "agent", "What serves routers and DHCP."},
	{"allowed-address-pairs", "Allowed Address Pairs", "Addresses that a port may use besides its own."},
	{"availability_zone", "Availability Zone", "The availability zones, of which there is one."},
	{"binding", "Port Binding", "Attributes of a port's binding."},
	{"dns-integration", "DNS Integration", "Names of ports, for DNS; those of floating IPs are kept."},
	{"ext-gw-mode", "Neutron L3 Configurable external gateway mode", "Gateways with and without SNAT."},
	{"external-net", "Neutron external network", "Networks that are outside."},
	{"extra_dhcp_opt", "Neutron Extra DHCP options", "Options of DHCP for a port."},
	{"extraroute", "Neutron Extra Route", "Static routes of routers."},
	{"extraroute-atomic", "Atomically add/remove extra routes", "Adding and removing some routes of a router."},
	{"fip-port-details", "Floating IP Port Details Extension", "A floating IP shows its port."},
	{"floating-ip-port-forwarding", "Floating IP Port Forwarding", "Single ports of a floating IP lead to ports."},
	{"ip-substring-filtering", "IP address substring filtering", "Filtering ports by a part of an address."},
	{"net-mtu", "Network MTU", "The MTU of a network."},
	{"network-ip-availability", "Network IP Availability", "How many addresses of networks are taken."},
	{"network_availability_zone", "Network Availability Zone", "The availability zones of networks."},
	{"pagination", "Pagination support", "Lists in pages."},
	{"port-security", "Port Security", "Networks and ports whose frames are checked, or not."},
	{"project-id", "project_id field enabled", "project_id beside tenant_id."},
	{"provider", "Provider Network", "What carries a network."},
	{"quota_details", "Quota details management support", "How much of the quotas is used."},
	{"quotas", "Quota management support", "How many objects there may be."},
	{"router", "Neutron L3 Router", "Routers and floating IPs."},
	{"router_availability_zone", "Router Availability Zone", "The availability zones of routers."},
	{"security-group", "security-group", "Security groups, which are kept and not enforced yet."},
	{"security-groups-normalized-cidr", "Normalized CIDR field for security group rules",
		"The prefix of a rule without host bits."},
	{"security-groups-remote-address-group", "Remote address group id field for security group rules",
		"Rules whose remote is an address group."},
	{"security-groups-shared-filtering", "Security group filtering on the shared field",
		"Filtering security groups by whether they are shared."},
	{"sorting", "Sorting support", "Lists in an order."},
	{"standard-attr-description", "standard-attr-description", "A description of each object."},
	{"standard-attr-revisions", "Resource revision numbers", "A number that each change makes higher."},
	{"standard-attr-tag", "Tag support for resources with standard attribute", "Tags of each object."},
	{"standard-attr-timestamp", "Resource timestamps", "When an object was made and changed."},
	{"stateful-security-group", "Stateful security group", "Security groups with and without state."},
	{"subnet-service-types", "Subnet service types", "Owners of ports that a subnet is for, which are kept."},
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
		return reply{status: http.StatusOK, body: map[string]any{"extensions": list}}, nil
	}})
	a.handle("/v2.0/extensions/{alias}", methods{http.MethodGet: func(r *request) (reply, error) {
		for _, x := range extensions {
			if x.alias == r.PathValue("alias") {
				return reply{status: http.StatusOK, body: map[string]any{"extension": x.body()}}, nil
			}
		}
		return reply{}, failure(http.StatusNotFound, "ExtensionNotFound", "Extension with alias %s does not exist",
			r.PathValue("alias"))
	}})
	for _, name := range none {
		a.handle("/v2.0/"+name, methods{http.MethodGet: func(*request) (reply, error) {
			return reply{status: http.StatusOK, body: map[string]any{strings.ReplaceAll(name, "-", "_"): []any{}}}, nil
		}, http.MethodPost: func(*request) (reply, error) { return reply{}, noSuchPath() }})
	}
}
