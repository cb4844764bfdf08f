package client

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
)

var routers = &kind{path: "/v2.0/routers", singular: "router", plural: "routers", title: "Router", tagged: true,
	list: columns(`ID=id Name=name Status=status State=admin_state_up!state Project=project_id Distributed=distributed
		HA=ha`),
	long: columns(`ID=id Name=name Status=status State=admin_state_up!state Project=project_id Distributed=distributed
		HA=ha Routes=routes!routes External_gateway_info=external_gateway_info!json
		Availability_zones=availability_zones!list Tags=tags!list`),
	show: columns(`admin_state_up!state availability_zone_hints!list availability_zones!list created_at description
		distributed enable_ndp_proxy external_gateway_info!json flavor_id ha id name project_id revision_number
		routes!routes status tags!list tenant_id updated_at`)}

// routerColumns are those of router show, which lists the interfaces, too.
var routerColumns = slices.Insert(slices.Clone(routers.show), 11, column{"interfaces_info", "interfaces_info", asJSON})

type routerCommands struct {
	Connection
	Add    routerAdd    `cmd:"" help:"Give a router an interface or a route."`
	Create routerCreate `cmd:"" help:"Make a router."`
	Delete routerDelete `cmd:"" help:"Delete routers."`
	List   routerList   `cmd:"" help:"List routers."`
	Remove routerRemove `cmd:"" help:"Take an interface or a route from a router."`
	Set    routerSet    `cmd:"" help:"Change a router."`
	Show   routerShow   `cmd:"" help:"Show a router."`
	Unset  routerUnset  `cmd:"" help:"Take something from a router."`
}

// gatewayOptions are those of create and set about the gateway.
type gatewayOptions struct {
	ExternalGateway string   `help:"The external network that it has a gateway on (name or id)."`
	FixedIP         []string `name:"fixed-ip" sep:"none" placeholder:"subnet=<subnet>,ip-address=<ip>" help:"Subnet or address of the gateway, or both; repeat it for more."`
	EnableSNAT      bool     `name:"enable-snat" xor:"snat" help:"Translate the sources of what goes out."`
	DisableSNAT     bool     `name:"disable-snat" xor:"snat" help:"Send out what comes with its own source."`
}

// gateway sets the gateway.
func (s *Session) gateway(c *gatewayOptions, body map[string]any, missing string) error {
	snat := c.EnableSNAT || c.DisableSNAT
	if c.ExternalGateway == "" && !snat && c.FixedIP == nil {
		return nil
	}
	info := map[string]any{}
	if c.ExternalGateway == "" {
		return errors.New(missing)
	}
	o, err := s.find(networks, c.ExternalGateway)
	if err != nil {
		return err
	}
	info["network_id"] = o.text("id")
	if snat {
		info["enable_snat"] = c.EnableSNAT
	}
	fixed, err := s.fixedIPs(c.FixedIP, fixedIPKeys)
	if fixed != nil {
		info["external_fixed_ips"] = fixed
	}
	body["external_gateway_info"] = info
	return err
}

type routerCreate struct {
	Name                 string   `arg:"" api:"name" help:"Name of the router."`
	Enable               bool     `xor:"state" help:"Route, as without this."`
	Disable              bool     `xor:"state" help:"Route nothing yet."`
	Distributed          bool     `xor:"kind" api:"distributed=true" help:"Spread it over hosts; there is one only."`
	Centralized          bool     `xor:"kind" api:"distributed=false" help:"Have it on one host, as without this."`
	HA                   bool     `name:"ha" xor:"ha" api:"ha=true" help:"Have it twice; it is there once only."`
	NoHA                 bool     `name:"no-ha" xor:"ha" api:"ha=false" help:"Have it once, as without this."`
	Description          *string  `api:"description" help:"A text for people."`
	Project              *string  `api:"project_id" help:"Id of the project that owns it."`
	AvailabilityZoneHint []string `sep:"none" api:"availability_zone_hints" help:"Zone to make it in; repeat it for more."`
	extraProperty
	gatewayOptions
	tagsCreate
	showOptions
}

// Run makes a router.
func (c *routerCreate) Run(s *Session) error {
	return s.create(routers, c, &c.showOptions, func(body map[string]any) error {
		body["admin_state_up"] = !c.Disable
		return s.gateway(&c.gatewayOptions, body,
			"You must specify '--external-gateway' in order to specify SNAT or fixed-ip values")
	})
}

type routerDelete struct {
	Router []string `arg:"" help:"Names or ids of routers."`
}

// Run deletes routers.
func (c *routerDelete) Run(s *Session) error { return s.remove(routers, c.Router, nil) }

type routerList struct {
	Name    *string `api:"name" help:"Only those of this name."`
	Enable  bool    `xor:"state" api:"admin_state_up=true" help:"Only those that are enabled."`
	Disable bool    `xor:"state" api:"admin_state_up=false" help:"Only those that are disabled."`
	Long    bool    `help:"Show more columns."`
	Project *string `api:"project_id" help:"Only those of this project (id)."`
	tagsList
	listOptions
}

// Run lists routers.
func (c *routerList) Run(s *Session) error { return s.listAll(routers, c, &c.listOptions, c.Long, nil) }

type routerSet struct {
	Router      string   `arg:"" help:"Name or id of the router."`
	Name        *string  `api:"name" help:"A new name."`
	Description *string  `api:"description" help:"A text for people."`
	Enable      bool     `xor:"state" api:"admin_state_up=true" help:"Route."`
	Disable     bool     `xor:"state" api:"admin_state_up=false" help:"Route nothing."`
	Distributed bool     `xor:"kind" api:"distributed=true" help:"Spread it over hosts; there is one only."`
	Centralized bool     `xor:"kind" api:"distributed=false" help:"Have it on one host."`
	HA          bool     `name:"ha" xor:"ha" api:"ha=true" help:"Have it twice; it is there once only."`
	NoHA        bool     `name:"no-ha" xor:"ha" api:"ha=false" help:"Have it once."`
	Route       []string `sep:"none" placeholder:"destination=<cidr>,gateway=<ip>" help:"A further route; repeat it for more."`
	NoRoute     bool     `help:"Drop all routes; those of --route take their place."`
	extraProperty
	gatewayOptions
	tagsSet
}

// Run changes a router.
func (c *routerSet) Run(s *Session) error {
	return s.change(routers, c.Router, c, func(o *object, body map[string]any) error {
		routes, err := parsedAll(c.Route, routeKeys, "destination", "gateway")
		if err != nil {
			return err
		}
		if c.NoRoute && routes == nil {
			body["routes"] = []any{}
		} else if routes != nil {
			if !c.NoRoute {
				routes = append(routes, o.list("routes")...)
			}
			body["routes"] = routes
		}
		return s.gateway(&c.gatewayOptions, body,
			"You must specify '--external-gateway' in order to update the SNAT or fixed-ip values")
	})
}

type routerShow struct {
	Router string `arg:"" help:"Name or id of the router."`
	showOptions
}

// Run shows a router and its interfaces.
func (c *routerShow) Run(s *Session) error {
	o, err := s.find(routers, c.Router)
	if err != nil {
		return s.failed(err)
	}
	all, err := s.list(ports.path, ports.plural, url.Values{"device_id": {o.text("id")}})
	if err != nil {
		return s.failed(err)
	}
	interfaces := []any{}
	for _, p := range all {
		if p.text("device_owner") == "network:router_gateway" {
			continue
		}
		for _, f := range p.list("fixed_ips") {
			address, _ := f.(*object)
			i := newObject()
			i.set("port_id", p.get("id"))
			i.set("ip_address", address.get("ip_address"))
			i.set("subnet_id", address.get("subnet_id"))
			interfaces = append(interfaces, i)
		}
	}
	o.set("interfaces_info", interfaces)
	return s.print(o, routerColumns, &c.showOptions)
}

type routerUnset struct {
	Router          string   `arg:"" help:"Name or id of the router."`
	Route           []string `sep:"none" placeholder:"destination=<cidr>,gateway=<ip>" help:"Drop this route; repeat it for more."`
	ExternalGateway bool     `api:"external_gateway_info={}" help:"Drop the gateway."`
	extraUnset
	tagsUnset
}

// Run takes something from a router.
func (c *routerUnset) Run(s *Session) error {
	return s.change(routers, c.Router, c, func(o *object, body map[string]any) error {
		routes, err := parsedAll(c.Route, routeKeys, "destination", "gateway")
		if err != nil {
			return err
		}
		return without("Router", o, body, []removal{{"routes", "route", routes, nil}})
	})
}

type (
	routerAdd struct {
		Port   routerPort   `cmd:"" help:"Make a port an interface of a router."`
		Route  routerRoute  `cmd:"" help:"Give a router routes."`
		Subnet routerSubnet `cmd:"" help:"Give a router an interface on a subnet."`
	}
	routerRemove struct {
		Port   routerPortRemove   `cmd:"" help:"Take an interface from a router, by its port."`
		Route  routerRouteRemove  `cmd:"" help:"Take routes from a router."`
		Subnet routerSubnetRemove `cmd:"" help:"Take the interface on a subnet from a router."`
	}
	routerPort struct {
		Router string `arg:"" help:"Name or id of the router."`
		Port   string `arg:"" api:"port_id,port" help:"Name or id of the port."`
	}
	routerPortRemove routerPort
	routerSubnet     struct {
		Router string `arg:"" help:"Name or id of the router."`
		Subnet string `arg:"" api:"subnet_id,subnet" help:"Name or id of the subnet."`
	}
	routerSubnetRemove routerSubnet
	routerRoute        struct {
		Router string   `arg:"" help:"Name or id of the router."`
		Route  []string `sep:"none" placeholder:"destination=<cidr>,gateway=<ip>" help:"A route; repeat it for more."`
		showOptions
	}
	routerRouteRemove routerRoute
)

// Run makes a port an interface.
func (c *routerPort) Run(s *Session) error { return s.attach(c, c.Router, "add_router_interface") }

// Run takes an interface away.
func (c *routerPortRemove) Run(s *Session) error {
	return s.attach(c, c.Router, "remove_router_interface")
}

// Run makes an interface.
func (c *routerSubnet) Run(s *Session) error { return s.attach(c, c.Router, "add_router_interface") }

// Run takes an interface away.
func (c *routerSubnetRemove) Run(s *Session) error {
	return s.attach(c, c.Router, "remove_router_interface")
}

func (s *Session) attach(command any, router, action string) error {
	body, err := s.body(command)
	if err != nil {
		return s.failed(err)
	}
	o, err := s.find(routers, router)
	if err != nil {
		return s.failed(err)
	}
	_, err = s.router.call(s.ctx, http.MethodPut, routers.path+"/"+o.text("id")+"/"+action, body)
	return s.failed(err)
}

// Run adds routes.
func (c *routerRoute) Run(s *Session) error { return s.failed(c.run(s, "add_extraroutes")) }

// Run removes routes.
func (c *routerRouteRemove) Run(s *Session) error {
	return s.failed((*routerRoute)(c).run(s, "remove_extraroutes"))
}

func (c *routerRoute) run(s *Session, action string) error {
	routes, err := parsedAll(c.Route, routeKeys, "destination", "gateway")
	if err != nil {
		return err
	}
	o, err := s.find(routers, c.Router)
	if err != nil {
		return err
	}
	v, err := s.router.call(s.ctx, http.MethodPut, routers.path+"/"+o.text("id")+"/"+action,
		map[string]any{"router": map[string]any{"routes": append([]any{}, routes...)}})
	if err != nil {
		return err
	}
	if o, err = wrapped(v, "router"); err != nil {
		return err
	}
	return printOne(s.out, &sheet{routers.show, [][]cell{row(o, routers.show)}}, &c.showOptions)
}
