package client

import (
	"fmt"
	"slices"
)

var subnets = &kind{path: "/v2.0/subnets", singular: "subnet", plural: "subnets", title: "Subnet", tagged: true,
	list: columns("ID=id Name=name Network=network_id Subnet=cidr"),
	long: columns(`ID=id Name=name Network=network_id Subnet=cidr Project=project_id DHCP=enable_dhcp
		Name_Servers=dns_nameservers!list Allocation_Pools=allocation_pools!pools Host_Routes=host_routes!routes
		IP_Version=ip_version Gateway=gateway_ip Service_Types=service_types!list Tags=tags!list`),
	show: columns(`allocation_pools!pools cidr created_at description dns_nameservers!list dns_publish_fixed_ip
		enable_dhcp gateway_ip host_routes!routes id ip_version ipv6_address_mode ipv6_ra_mode name network_id
		project_id revision_number segment_id service_types!list subnetpool_id tags!list updated_at`)}

type subnetCommands struct {
	Connection
	Create subnetCreate `cmd:"" help:"Make a subnet."`
	Delete subnetDelete `cmd:"" help:"Delete subnets."`
	List   subnetList   `cmd:"" help:"List subnets."`
	Set    subnetSet    `cmd:"" help:"Change a subnet."`
	Show   subnetShow   `cmd:"" help:"Show a subnet."`
	Unset  subnetUnset  `cmd:"" help:"Take something from a subnet."`
}

// subnetOptions are those of create and set.
type subnetOptions struct {
	DHCP           bool     `name:"dhcp" xor:"dhcp" api:"enable_dhcp=true" help:"Give out addresses by DHCP."`
	NoDHCP         bool     `name:"no-dhcp" xor:"dhcp" api:"enable_dhcp=false" help:"Give out no addresses by DHCP."`
	Description    *string  `api:"description" help:"A text for people."`
	AllocationPool []string `sep:"none" placeholder:"start=<ip>,end=<ip>" help:"Addresses to choose from; repeat it for more."`
	DNSNameserver  []string `name:"dns-nameserver" sep:"none" help:"A name server; repeat it for more."`
	HostRoute      []string `sep:"none" placeholder:"destination=<cidr>,gateway=<ip>" help:"A route for its hosts; repeat it for more."`
	ServiceType    []string `sep:"none" help:"What it is for; repeat it for more."`
}

type subnetCreate struct {
	Name            string  `arg:"" api:"name" help:"Name of the subnet."`
	Network         string  `required:"" api:"network_id,network" help:"Its network (name or id)."`
	SubnetRange     string  `required:"" api:"cidr" placeholder:"<cidr>" help:"Its addresses, such as 10.0.0.0/24."`
	Gateway         string  `default:"auto" help:"The hosts' router: an address, auto for the first one, or none."`
	IPVersion       int     `name:"ip-version" default:"4" enum:"4,6" api:"ip_version" help:"4 or 6."`
	IPv6RaMode      *string `name:"ipv6-ra-mode" api:"ipv6_ra_mode" help:"dhcpv6-stateful, dhcpv6-stateless or slaac."`
	IPv6AddressMode *string `name:"ipv6-address-mode" api:"ipv6_address_mode" help:"dhcpv6-stateful, dhcpv6-stateless or slaac."`
	Project         *string `api:"project_id" help:"Id of the project that owns it."`
	extraProperty
	subnetOptions
	tagsCreate
	showOptions
}

// Run makes a subnet.
func (c *subnetCreate) Run(s *Session) error {
	return s.create(subnets, c, &c.showOptions, func(body map[string]any) error {
		switch c.Gateway {
		case "auto":
		case "none":
			body["gateway_ip"] = nil
		default:
			body["gateway_ip"] = c.Gateway
		}
		return c.lists(func(string) (bool, []any) { return false, nil }, body)
	})
}

var (
	poolKeys  = map[string]string{"start": "start", "end": "end"}
	routeKeys = map[string]string{"destination": "destination", "gateway": "nexthop"}
)

// lists sets the attributes that are lists: what the options say before what there was, unless that is dropped.
func (c *subnetOptions) lists(old func(key string) (drop bool, had []any), body map[string]any) error {
	pools, err := parsedAll(c.AllocationPool, poolKeys, "start", "end")
	if err != nil {
		return err
	}
	routes, err := parsedAll(c.HostRoute, routeKeys, "destination", "gateway")
	if err != nil {
		return err
	}
	for _, l := range []struct {
		key string
		new []any
	}{{"allocation_pools", pools}, {"dns_nameservers", anys(c.DNSNameserver)}, {"host_routes", routes},
		{"service_types", anys(c.ServiceType)}} {
		drop, had := old(l.key)
		list := l.new
		if !drop {
			for _, o := range had {
				if !slices.ContainsFunc(list, func(n any) bool { return sameJSON(n, o) }) {
					list = append(list, o)
				}
			}
		}
		if drop && list == nil {
			list = []any{}
		}
		if len(l.new) > 0 || drop {
			body[l.key] = list
		}
	}
	return nil
}

// parsedAll reads options of pairs.
func parsedAll(options []string, keys map[string]string, required ...string) ([]any, error) {
	var all []any
	for _, text := range options {
		p, err := pairs(text, keys, required...)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func anys(list []string) (all []any) {
	for _, s := range list {
		all = append(all, s)
	}
	return all
}

type subnetDelete struct {
	Subnet []string `arg:"" help:"Names or ids of subnets."`
}

// Run deletes subnets.
func (c *subnetDelete) Run(s *Session) error { return s.remove(subnets, c.Subnet, nil) }

type subnetList struct {
	Long        bool    `help:"Show more columns."`
	IPVersion   *int    `name:"ip-version" api:"ip_version" help:"Only those of this version: 4 or 6."`
	DHCP        bool    `name:"dhcp" xor:"dhcp" api:"enable_dhcp=true" help:"Only those with DHCP."`
	NoDHCP      bool    `name:"no-dhcp" xor:"dhcp" api:"enable_dhcp=false" help:"Only those without DHCP."`
	ServiceType *string `api:"service_types" help:"Only those for this."`
	Project     *string `api:"project_id" help:"Only those of this project (id)."`
	Network     *string `api:"network_id,network" help:"Only those of this network (name or id)."`
	Gateway     *string `api:"gateway_ip" help:"Only those with this gateway."`
	Name        *string `api:"name" help:"Only those of this name."`
	SubnetRange *string `api:"cidr" placeholder:"<cidr>" help:"Only those of these addresses."`
	tagsList
	listOptions
}

// Run lists subnets.
func (c *subnetList) Run(s *Session) error { return s.listAll(subnets, c, &c.listOptions, c.Long, nil) }

type subnetSet struct {
	Subnet           string  `arg:"" help:"Name or id of the subnet."`
	Name             *string `api:"name" help:"A new name."`
	Gateway          *string `help:"The hosts' router: an address, or none."`
	NoAllocationPool bool    `help:"Drop the addresses to choose from; those of --allocation-pool take their place."`
	NoDNSNameservers bool    `name:"no-dns-nameservers" help:"Drop all name servers; those of --dns-nameserver take their place."`
	NoHostRoute      bool    `help:"Drop all routes for hosts; those of --host-route take their place."`
	extraProperty
	subnetOptions
	tagsSet
}

// Run changes a subnet.
func (c *subnetSet) Run(s *Session) error {
	return s.change(subnets, c.Subnet, c, func(o *object, body map[string]any) error {
		if c.Gateway != nil {
			body["gateway_ip"] = *c.Gateway
			if *c.Gateway == "none" {
				body["gateway_ip"] = nil
			}
		}
		drop := map[string]bool{"allocation_pools": c.NoAllocationPool, "dns_nameservers": c.NoDNSNameservers,
			"host_routes": c.NoHostRoute}
		return c.lists(func(key string) (bool, []any) { return drop[key], o.list(key) }, body)
	})
}

type subnetShow struct {
	Subnet string `arg:"" help:"Name or id of the subnet."`
	showOptions
}

// Run shows a subnet.
func (c *subnetShow) Run(s *Session) error { return s.show(subnets, c.Subnet, &c.showOptions) }

type subnetUnset struct {
	Subnet         string   `arg:"" help:"Name or id of the subnet."`
	AllocationPool []string `sep:"none" placeholder:"start=<ip>,end=<ip>" help:"Drop these addresses; repeat it for more."`
	Gateway        bool     `api:"gateway_ip=null" help:"Drop the hosts' router."`
	DNSNameserver  []string `name:"dns-nameserver" sep:"none" help:"Drop this name server; repeat it for more."`
	HostRoute      []string `sep:"none" placeholder:"destination=<cidr>,gateway=<ip>" help:"Drop this route; repeat it for more."`
	ServiceType    []string `sep:"none" help:"Drop this use; repeat it for more."`
	extraUnset
	tagsUnset
}

// Run takes something from a subnet.
func (c *subnetUnset) Run(s *Session) error {
	return s.change(subnets, c.Subnet, c, func(o *object, body map[string]any) error {
		pools, err := parsedAll(c.AllocationPool, poolKeys, "start", "end")
		if err != nil {
			return err
		}
		routes, err := parsedAll(c.HostRoute, routeKeys, "destination", "gateway")
		if err != nil {
			return err
		}
		return without("Subnet", o, body, []removal{{"allocation_pools", "allocation-pool", pools, nil},
			{"dns_nameservers", "dns-nameserver", anys(c.DNSNameserver), nil},
			{"host_routes", "host-route", routes, nil},
			{"service_types", "service-type", anys(c.ServiceType), nil}})
	})
}

// A removal is entries to take from an attribute that is a list, and the option that names them.
type removal struct {
	key, option string
	entries     []any
	names       []string // of the entries in messages; nil: themselves
}

// without sets lists without some of their entries, which must be there.
func without(what string, o *object, body map[string]any, removals []removal) error {
	for _, r := range removals {
		if len(r.entries) == 0 {
			continue
		}
		list := slices.Clone(o.list(r.key))
		for n, e := range r.entries {
			i := slices.IndexFunc(list, func(had any) bool { return sameJSON(had, e) })
			if i < 0 {
				name := pythonText(ordered(e))
				if r.names != nil {
					name = r.names[n]
				}
				return fmt.Errorf("%s does not contain %s %s", what, r.option, name)
			}
			list = slices.Delete(list, i, i+1)
		}
		if list == nil {
			list = []any{}
		}
		body[r.key] = list
	}
	return nil
}

// ordered is pairs in the order in which OpenStack's client prints them.
func ordered(e any) any {
	m, ok := e.(map[string]string)
	if !ok {
		return e
	}
	o := newObject()
	for _, k := range []string{"subnet_id", "ip_address", "mac_address", "start", "end", "destination", "nexthop"} {
		if v, ok := m[k]; ok {
			o.set(k, v)
		}
	}
	return o
}
