package neutron

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

var routers = resource[*config.Router]{
	singular: "router", plural: "routers", title: "Router",
	attributes: routerAttributes,
	all:        func(s *config.State) iter.Seq[*config.Router] { return s.Routers() },
	get: func(r reader, id config.ID) (*config.Router, bool) {
		o := r.Router(id)
		return o, o != nil
	},
	fresh:  func(m config.Meta) *config.Router { return &config.Router{Meta: m, AdminStateUp: true} },
	copied: copied[config.Router],
	create: func(e *edit, r *config.Router, body map[string]any) error { return putRouter(e, nil, r, body) },
	update: putRouter,
	remove: removeRouter,
}

// gatewayFormat reads a gateway. An empty object is none, as null is.
var gatewayFormat = recordOf(part{"network_id", identifier}, part{"enable_snat", flag},
	part{"external_fixed_ips", listOf[record](recordOf(part{"subnet_id", identifier}, part{"ip_address", address}))},
	part{"qos_policy_id", identifier})

func routerAttributes(project string) []attribute[*config.Router] {
	type router = *config.Router
	list := append(common[router](project),
		named[router](),
		field("admin_state_up", flag, always, "admin_state_up", func(r router) *bool { return &r.AdminStateUp }),
		shown("status", text, func(reader, router) any { return "ACTIVE" }),
		constant[router]("distributed", flag, false),
		constant[router]("ha", flag, false),
		constant[router]("flavor_id", text, nil),
		constant[router]("enable_ndp_proxy", flag, nil),
		attribute[router]{name: "external_gateway_info", format: gatewayFormat, may: always | mayBeNull,
			field: "gateway", get: gatewayOf, set: setGateway},
		attribute[router]{name: "routes", format: routeList, may: onUpdate, field: "routes",
			entries: func(r router) []string { return routeTexts(r.Routes) },
			get:     func(_ reader, r router) any { return routesOf(r.Routes) },
			set: func(_ *edit, r router, v any) error {
				routes, err := readRoutes("routes", v.([]record))
				if err != nil {
					return err
				}
				replaceRoutes(r, routes)
				return nil
			}},
	)
	return append(list, zones(func(r router) []string { return extraOf(r.Extra).ZoneHints },
		func(r router, v []string) { changeExtra(&r.Extra, func(x *config.RouterExtra) { x.ZoneHints = v }) })...)
}

func gatewayOf(r reader, o *config.Router) any {
	g := o.Gateway
	if g == nil {
		return nil
	}
	fixed := any([]any{})
	if p := r.GatewayPort(o.ID); p != nil && p.Network == g.Network {
		fixed = fixedIPsOf(r, p)
	}
	return map[string]any{"network_id": string(g.Network), "enable_snat": g.SNAT, "external_fixed_ips": fixed}
}

// setGateway sets a gateway, or clears it. What is not said of it stays as it is.
func setGateway(e *edit, o *config.Router, v any) error {
	given, _ := v.(record)
	was := o.Gateway
	if len(given) == 0 {
		o.Gateway = nil
		return nil
	}
	g := config.Gateway{SNAT: true, Source: config.Source{Request: e.request.id}}
	if was != nil {
		g = *was
	}
	network, ok := given["network_id"].(config.ID)
	switch {
	case !ok && was == nil:
		return invalid("external_gateway_info", "'network_id' is missing.")
	case ok && was != nil && network != was.Network:
		g.SNATAddresses = nil // they are addresses of the other network
	}
	if ok {
		g.Network = network
	}
	if given["qos_policy_id"] != nil {
		return invalid("external_gateway_info", "there are no QoS policies.")
	}
	if snat, ok := given["enable_snat"].(bool); ok {
		g.SNAT = snat
	}
	o.Gateway = &g
	return nil
}

// replaceRoutes gives a router other routes. One that it has had keeps its source.
func replaceRoutes(r *config.Router, routes []config.Route) {
	for _, was := range r.Routes {
		if i := slices.IndexFunc(routes, func(x config.Route) bool { return sameRoute(x, was) }); i >= 0 {
			routes[i].Source = was.Source
		}
	}
	r.Routes = orNone(routes)
}

func sameRoute(a, b config.Route) bool {
	return a.Destination.Masked() == b.Destination.Masked() && a.NextHop == b.NextHop
}

func putRouter(e *edit, was, r *config.Router, body map[string]any) error {
	if was != nil && was.Gateway != nil && (r.Gateway == nil || r.Gateway.Network != was.Gateway.Network) {
		for range e.FloatingIPsOf(r.ID) {
			return conflict("RouterExternalGatewayInUseByFloatingIp",
				"Gateway cannot be updated for router %s, since a gateway to external network %s is required by one "+
					"or more floating IPs.", r.ID, was.Gateway.Network)
		}
	}
	if r.Gateway != nil {
		n := e.Network(r.Gateway.Network)
		if n == nil {
			return notFound("Network", r.Gateway.Network)
		}
		if !n.External {
			return badRequest("Bad router request: Network %s is not an external network.", n.ID)
		}
	}
	e.Put(r)
	if given, ok := body["external_gateway_info"].(map[string]any); ok && r.Gateway != nil {
		return putGatewayPort(e, r, given["external_fixed_ips"])
	}
	return nil
}

// putGatewayPort gives a router the addresses outside that a request names. Without them it has what it had, or what
// Check chooses.
func putGatewayPort(e *edit, r *config.Router, addresses any) error {
	if list, _ := addresses.([]any); len(list) == 0 {
		return nil
	}
	v, err := gatewayFormat.read(map[string]any{"external_fixed_ips": addresses})
	if err != nil {
		return invalid("external_gateway_info", "%v.", err)
	}
	p := e.GatewayPort(r.ID)
	if p == nil {
		p = &config.Port{Meta: config.Meta{ID: config.NameID(config.KindPort, "gateway", string(r.ID)),
			Source: config.Source{Request: e.request.id}}, AdminStateUp: true, DeviceID: string(r.ID),
			DeviceOwner: config.OwnerGateway}
	} else {
		p = copied(p)
	}
	if p.Network != r.Gateway.Network {
		p.MAC = config.MAC{}
	}
	p.Network = r.Gateway.Network
	was := addressesOf(p)
	if err := setFixedIPs(e, p, v.(record)["external_fixed_ips"]); err != nil {
		return err
	}
	if err := checkFixedIPs(e, p); err != nil {
		return err
	}
	if !slices.Equal(was, addressesOf(p)) {
		if err := e.own(p, "fixed_ips"); err != nil {
			return err
		}
	}
	e.Put(p)
	return nil
}

func addressesOf(p *config.Port) []netip.Addr {
	var list []netip.Addr
	for _, f := range p.FixedIPs {
		list = append(list, f.Address)
	}
	return list
}

func removeRouter(e *edit, r *config.Router) error {
	for range e.InterfacesOf(r.ID) {
		return conflict("RouterInUse", "Router %s still has ports", r.ID)
	}
	e.Delete(r.Ref())
	return nil
}

// mountRouterActions serves what can be done to a router besides GET, PUT and DELETE.
func (a *API) mountRouterActions() {
	m := newMounted(a, routers)
	put := func(action string, fn func(r *request) (reply, error)) {
		a.handle("/v2.0/routers/{id}/"+action, methods{http.MethodPut: fn})
	}
	put("add_router_interface", func(r *request) (reply, error) { return m.changeInterface(r, addInterface) })
	put("remove_router_interface", func(r *request) (reply, error) { return m.changeInterface(r, removeInterface) })
	put("add_extraroutes", func(r *request) (reply, error) { return m.changeRoutes(r, withRoutes) })
	put("remove_extraroutes", func(r *request) (reply, error) { return m.changeRoutes(r, withoutRoutes) })
}

// changeRoutes adds or removes some routes.
func (m *mounted[T]) changeRoutes(r *request, fn func(is, given []config.Route) []config.Route) (reply, error) {
	body, err := readOne(r, "router")
	if err != nil {
		return reply{}, err
	}
	v, err := routeList.read(body["routes"])
	if err != nil {
		return reply{}, invalid("routes", "%v.", err)
	}
	if err := onlyKey(body, "routes"); err != nil {
		return reply{}, err
	}
	given, err := readRoutes("routes", v.([]record))
	if err != nil {
		return reply{}, err
	}
	return m.edit(r, func(e *edit, o T) error {
		changed := copied(any(o).(*config.Router))
		replaceRoutes(changed, fn(changed.Routes, given))
		e.Put(changed)
		return m.keepEntries(e, o, func(name string) bool { return name == "routes" })
	}, func(s *config.State, o T) reply { return m.one(s, o, http.StatusOK) })
}

func withRoutes(is, given []config.Route) []config.Route {
	routes := slices.Clone(is)
	for _, x := range given {
		if !slices.ContainsFunc(routes, func(y config.Route) bool { return sameRoute(x, y) }) {
			routes = append(routes, x)
		}
	}
	return routes
}

func withoutRoutes(is, given []config.Route) []config.Route {
	return slices.DeleteFunc(slices.Clone(is), func(x config.Route) bool {
		return slices.ContainsFunc(given, func(y config.Route) bool { return sameRoute(x, y) })
	})
}

// A joint says what an interface is made of: a subnet or a port.
type joint struct{ subnet, port config.ID }

func readJoint(r *request) (j joint, err error) {
	body, err := readBody(r)
	if err != nil {
		return j, err
	}
	for name, at := range map[string]*config.ID{"subnet_id": &j.subnet, "port_id": &j.port} {
		if v := body[name]; v != nil {
			id, err := identifier.read(v)
			if err != nil {
				return j, invalid(name, "%v.", err)
			}
			*at = id.(config.ID)
		}
		delete(body, name)
	}
	if j.subnet == "" && j.port == "" {
		return j, badRequest("Bad router request: Either subnet_id or port_id must be specified.")
	}
	return j, unrecognized(sortedKeys(body))
}

// changeInterface adds or removes an interface. The answer is about the interface.
func (m *mounted[T]) changeInterface(r *request,
	fn func(e *edit, o *config.Router, j joint) (*config.Port, []config.FixedIP, error)) (reply, error) {
	j, err := readJoint(r)
	if err != nil {
		return reply{}, err
	}
	var port *config.Port
	var addresses []config.FixedIP
	answer, err := m.edit(r, func(e *edit, o T) (err error) {
		port, addresses, err = fn(e, any(o).(*config.Router), j)
		return err
	}, func(s *config.State, o T) reply {
		ids := []string{}
		for _, f := range addresses {
			ids = append(ids, string(f.Subnet))
		}
		return reply{status: http.StatusOK, body: map[string]any{
			"id": string(o.About().ID), "port_id": string(port.ID), "network_id": string(port.Network),
			"subnet_id": ids[0], "subnet_ids": ids, "project_id": m.api.opt.Project, "tenant_id": m.api.opt.Project,
			"tags": tagsOf(o),
		}}
	})
	if err == nil {
		r.tellsChanged(config.KindPort)
	}
	return answer, err
}

// addInterface joins a router to a subnet, by its gateway address, or by a port that is there.
func addInterface(e *edit, r *config.Router, j joint) (*config.Port, []config.FixedIP, error) {
	if j.subnet != "" && j.port != "" {
		return nil, nil, badRequest("Bad router request: Cannot specify both subnet-id and port-id.")
	}
	var p *config.Port
	if j.port != "" {
		was := e.Port(j.port)
		switch {
		case was == nil:
			return nil, nil, notFound("Port", j.port)
		case was.DeviceID != "":
			return nil, nil, conflict("PortInUse", "Unable to complete operation on port %s for network %s. Port "+
				"already has an attached device %s.", was.ID, was.Network, was.DeviceID)
		case len(was.FixedIPs) == 0:
			return nil, nil, badRequest("Bad router request: Router port must have at least one fixed IP.")
		}
		if err := e.own(was, ""); err != nil {
			return nil, nil, err
		}
		p = copied(was)
		if e.IsOn(r.ID, p.Network) {
			p.MAC = config.MAC{} // a router has one for each network
		}
	} else {
		s := e.Subnet(j.subnet)
		switch {
		case s == nil:
			return nil, nil, notFound("Subnet", j.subnet)
		case !s.Gateway.IsValid():
			return nil, nil, badRequest("Bad router request: Subnet for router interface must have a gateway IP.")
		}
		p = &config.Port{Meta: e.meta(), Network: s.Network, AdminStateUp: true,
			FixedIPs: []config.FixedIP{{Subnet: s.ID, Address: s.Gateway}}}
	}
	for _, f := range p.FixedIPs {
		if slices.Contains(routersIn(e, p.Network, f.Subnet), r) {
			return nil, nil, badRequest("Bad router request: Router already has a port on subnet %s.", f.Subnet)
		}
	}
	p.DeviceID, p.DeviceOwner = string(r.ID), config.OwnerInterface
	e.Put(p)
	return p, p.FixedIPs, nil
}

// removeInterface takes a router off a subnet. The port goes with its last address.
func removeInterface(e *edit, r *config.Router, j joint) (*config.Port, []config.FixedIP, error) {
	p, gone, err := findInterface(e, r, j)
	if err != nil {
		return nil, nil, err
	}
	if err := e.own(p, ""); err != nil {
		return nil, nil, err
	}
	for _, f := range gone {
		s := e.Subnet(f.Subnet)
		if s == nil {
			continue
		}
		if err := interfaceIsFree(e, r, s); err != nil {
			return nil, nil, err
		}
	}
	if len(gone) == len(p.FixedIPs) {
		e.Delete(p.Ref())
		return p, gone, nil
	}
	left := copied(p)
	left.FixedIPs = slices.DeleteFunc(slices.Clone(p.FixedIPs), func(f config.FixedIP) bool {
		return slices.Contains(gone, f)
	})
	e.Put(left)
	return p, gone, nil
}

// findInterface finds an interface of a router, and the addresses of it that are meant.
func findInterface(e *edit, r *config.Router, j joint) (*config.Port, []config.FixedIP, error) {
	if j.port != "" {
		for p := range e.InterfacesOf(r.ID) {
			if p.ID != j.port {
				continue
			}
			if j.subnet != "" && !slices.ContainsFunc(p.FixedIPs, func(f config.FixedIP) bool {
				return f.Subnet == j.subnet
			}) {
				return nil, nil, conflict("SubnetMismatchForPort",
					"Subnet on port %s does not match the requested subnet %s.",
					p.ID, j.subnet)
			}
			return p, p.FixedIPs, nil
		}
		return nil, nil, failure(http.StatusNotFound, "RouterInterfaceNotFound",
			"Router %s does not have an interface with id %s", r.ID, j.port)
	}
	for p := range e.InterfacesOf(r.ID) {
		for _, f := range p.FixedIPs {
			if f.Subnet == j.subnet {
				return p, []config.FixedIP{f}, nil
			}
		}
	}
	return nil, nil, failure(http.StatusNotFound, "RouterInterfaceNotFoundForSubnet",
		"Router %s has no interface on subnet %s", r.ID, j.subnet)
}

// interfaceIsFree refuses to take a router off a subnet that its floating IPs or routes need.
func interfaceIsFree(e *edit, r *config.Router, s *config.Subnet) error {
	for range e.EndingIn(r.ID, s.CIDR) {
		return conflict("RouterInterfaceInUseByFloatingIP",
			"Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more "+
				"floating IPs.", s.ID, r.ID)
	}
	for _, x := range r.Routes {
		if x.NextHop.IsValid() && s.CIDR.Contains(x.NextHop) {
			return conflict("RouterInterfaceInUseByRoute", "Router interface for subnet %s on router %s cannot be "+
				"deleted, as it is required by one or more routes.", s.ID, r.ID)
		}
	}
	return nil
}
