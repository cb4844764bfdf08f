package client

import (
	"maps"
	"net/url"
	"slices"
)

var ports = &kind{path: "/v2.0/ports", singular: "port", plural: "ports", title: "Port", tagged: true,
	list: columns("ID=id Name=name MAC_Address=mac_address Fixed_IP_Addresses=fixed_ips!dicts Status=status"),
	long: columns(`ID=id Name=name MAC_Address=mac_address Fixed_IP_Addresses=fixed_ips!dicts Status=status
		Security_Groups=security_group_ids!list Device_Owner=device_owner Tags=tags!list`),
	show: columns(`admin_state_up!state allowed_address_pairs!dicts binding_host_id=binding:host_id
		binding_profile=binding:profile!dict binding_vif_details=binding:vif_details!dict
		binding_vif_type=binding:vif_type binding_vnic_type=binding:vnic_type created_at data_plane_status description
		device_id device_owner device_profile dns_assignment!dicts dns_domain dns_name extra_dhcp_opts!dicts
		fixed_ips!dicts id ip_allocation mac_address name network_id numa_affinity_policy port_security_enabled
		project_id propagate_uplink_status qos_network_policy_id qos_policy_id resource_request revision_number
		security_group_ids=security_groups!list status tags!list trunk_details updated_at`)}

type portCommands struct {
	Connection
	Create portCreate `cmd:"" help:"Make a port."`
	Delete portDelete `cmd:"" help:"Delete ports."`
	List   portList   `cmd:"" help:"List ports."`
	Set    portSet    `cmd:"" help:"Change a port."`
	Show   portShow   `cmd:"" help:"Show a port."`
	Unset  portUnset  `cmd:"" help:"Take something from a port."`
}

// portOptions are those of create and set.
type portOptions struct {
	Description         *string  `api:"description" help:"A text for people."`
	Device              *string  `api:"device_id" help:"Id of the device that has it."`
	MACAddress          *string  `name:"mac-address" api:"mac_address" help:"Its MAC address."`
	DeviceOwner         *string  `api:"device_owner" help:"What kind of device has it, such as compute:nova."`
	VnicType            *string  `api:"binding:vnic_type" help:"How it is attached: normal."`
	Host                *string  `api:"binding:host_id" help:"The host of the device."`
	DNSName             *string  `name:"dns-name" api:"dns_name" help:"Its name in DNS."`
	DNSDomain           *string  `name:"dns-domain" api:"dns_domain" help:"The domain of its name."`
	BindingProfile      []string `sep:"none" placeholder:"<key>=<value>|<json>" help:"What the host of the device is told; repeat it for more."`
	ExtraDHCPOption     []string `name:"extra-dhcp-option" sep:"none" placeholder:"name=<name>[,value=<value>,ip-version=4|6]" help:"An option of DHCP for it, without a value none; repeat it for more."`
	EnablePortSecurity  bool     `xor:"security" api:"port_security_enabled=true" help:"Check its frames."`
	DisablePortSecurity bool     `xor:"security" api:"port_security_enabled=false" help:"Check no frames of it."`
	AllowedAddress      []string `sep:"none" placeholder:"ip-address=<ip>[,mac-address=<mac>]" help:"An address that it may use besides; repeat it for more."`
	SecurityGroup       []string `sep:"none" help:"A security group (name or id); repeat it for more."`
	NoSecurityGroup     bool     `help:"No security group."`
}

var (
	fixedIPKeys = map[string]string{"subnet": "subnet_id", "ip-address": "ip_address"}
	filterKeys  = map[string]string{"subnet": "subnet_id", "ip-address": "ip_address",
		"ip-substring": "ip_address_substr"}
	allowedKeys = map[string]string{"ip-address": "ip_address", "mac-address": "mac_address"}
)

// fixedIPs reads options such as subnet=a,ip-address=b.
func (s *Session) fixedIPs(options []string, keys map[string]string) ([]any, error) {
	var all []any
	for _, text := range options {
		p, err := pairs(text, keys)
		if err != nil {
			return nil, err
		}
		if name := p["subnet_id"]; name != "" {
			o, err := s.find(subnets, name)
			if err != nil {
				return nil, err
			}
			p["subnet_id"] = o.text("id")
		}
		all = append(all, p)
	}
	return all, nil
}

func (c *portOptions) allowed() ([]any, error) {
	var all []any
	for _, text := range c.AllowedAddress {
		p, err := pairs(text, allowedKeys)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// dhcp sets options of DHCP. The router keeps those that are not named.
func (c *portOptions) dhcp(body map[string]any) error {
	options, err := parsedAll(c.ExtraDHCPOption, dhcpOptionKeys, "name")
	if options != nil {
		body["extra_dhcp_opts"] = options
	}
	return err
}

// profile sets what the host of the device is told: what the options say, over what it was.
func (c *portOptions) profile(had *object, body map[string]any) error {
	if len(c.BindingProfile) == 0 {
		return nil
	}
	fresh, err := profileOf(c.BindingProfile)
	if err != nil {
		return err
	}
	profile := map[string]any{}
	if had != nil {
		maps.Copy(profile, had.values)
	}
	maps.Copy(profile, fresh)
	body["binding:profile"] = profile
	return nil
}

type portCreate struct {
	Name      string   `arg:"" api:"name" help:"Name of the port."`
	Network   string   `required:"" api:"network_id,network" help:"Its network (name or id)."`
	FixedIP   []string `name:"fixed-ip" xor:"fixed" sep:"none" placeholder:"subnet=<subnet>,ip-address=<ip>" help:"Subnet or address of it, or both; repeat it for more."`
	NoFixedIP bool     `name:"no-fixed-ip" xor:"fixed" help:"No address."`
	Enable    bool     `xor:"state" help:"Carry frames, as without this."`
	Disable   bool     `xor:"state" help:"Carry no frames yet."`
	Project   *string  `api:"project_id" help:"Id of the project that owns it."`
	extraProperty
	portOptions
	tagsCreate
	showOptions
}

// Run makes a port.
func (c *portCreate) Run(s *Session) error {
	return s.create(ports, c, &c.showOptions, func(body map[string]any) error {
		body["admin_state_up"] = !c.Disable
		fixed, err := s.fixedIPs(c.FixedIP, fixedIPKeys)
		switch {
		case err != nil:
			return err
		case c.NoFixedIP:
			body["fixed_ips"] = []any{}
		case fixed != nil:
			body["fixed_ips"] = fixed
		}
		allowed, err := c.allowed()
		if allowed != nil {
			body["allowed_address_pairs"] = allowed
		}
		if err == nil {
			err = c.profile(nil, body)
		}
		if err == nil {
			err = c.dhcp(body)
		}
		if err != nil {
			return err
		}
		return s.groups(&c.portOptions, nil, body)
	})
}

// groups sets security groups: those of the options, besides those that there were.
func (s *Session) groups(c *portOptions, had []string, body map[string]any) error {
	if len(c.SecurityGroup) == 0 && !c.NoSecurityGroup {
		return nil
	}
	ids, err := s.resolve(securityGroups, append([]string{}, c.SecurityGroup...))
	if err != nil {
		return err
	}
	list := ids.([]string)
	if !c.NoSecurityGroup {
		for _, id := range had {
			if !slices.Contains(list, id) {
				list = append(list, id)
			}
		}
	}
	body["security_groups"] = list
	return nil
}

type portDelete struct {
	Port []string `arg:"" help:"Names or ids of ports."`
}

// Run deletes ports.
func (c *portDelete) Run(s *Session) error { return s.remove(ports, c.Port, nil) }

type portList struct {
	DeviceOwner   *string  `api:"device_owner" help:"Only those of this kind of device."`
	Host          *string  `api:"binding:host_id" help:"Only those on this host."`
	Network       *string  `api:"network_id,network" help:"Only those on this network (name or id)."`
	Router        *string  `xor:"device" api:"device_id,router" help:"Only those of this router (name or id)."`
	DeviceID      *string  `name:"device-id" xor:"device" api:"device_id" help:"Only those of this device."`
	MACAddress    *string  `name:"mac-address" api:"mac_address" help:"Only the one of this MAC address."`
	Long          bool     `help:"Show more columns."`
	Project       *string  `api:"project_id" help:"Only those of this project (id)."`
	Name          *string  `api:"name" help:"Only those of this name."`
	SecurityGroup []string `sep:"none" api:"security_groups,group" help:"Only those of this security group (name or id); repeat it for more."`
	FixedIP       []string `name:"fixed-ip" sep:"none" placeholder:"subnet=<subnet>,ip-address=<ip>,ip-substring=<text>" help:"Only those with such an address; repeat it for more."`
	tagsList
	listOptions
}

// Run lists ports.
func (c *portList) Run(s *Session) error {
	return s.listAll(ports, c, &c.listOptions, c.Long, func(filter url.Values) error {
		fixed, err := s.fixedIPs(c.FixedIP, filterKeys)
		for _, f := range fixed {
			for k, v := range f.(map[string]string) {
				filter.Add("fixed_ips", k+"="+v)
			}
		}
		return err
	})
}

type portSet struct {
	Port             string   `arg:"" help:"Name or id of the port."`
	Name             *string  `api:"name" help:"A new name."`
	FixedIP          []string `name:"fixed-ip" sep:"none" placeholder:"subnet=<subnet>,ip-address=<ip>" help:"A further subnet or address, or both; repeat it for more."`
	NoFixedIP        bool     `name:"no-fixed-ip" help:"Drop all addresses; those of --fixed-ip take their place."`
	NoBindingProfile bool     `help:"Forget what the host of the device is told; that of --binding-profile takes its place."`
	NoAllowedAddress bool     `help:"Drop all addresses that it may use besides; those of --allowed-address take their place."`
	Enable           bool     `xor:"state" api:"admin_state_up=true" help:"Carry frames."`
	Disable          bool     `xor:"state" api:"admin_state_up=false" help:"Carry no frames."`
	extraProperty
	portOptions
	tagsSet
}

// Run changes a port.
func (c *portSet) Run(s *Session) error {
	return s.change(ports, c.Port, c, func(o *object, body map[string]any) error {
		fixed, err := s.fixedIPs(c.FixedIP, fixedIPKeys)
		if err != nil {
			return err
		}
		allowed, err := c.allowed()
		if err != nil {
			return err
		}
		had, _ := o.get("binding:profile").(*object)
		if c.NoBindingProfile {
			had, body["binding:profile"] = nil, map[string]any{}
		}
		if err := c.profile(had, body); err != nil {
			return err
		}
		if err := c.dhcp(body); err != nil {
			return err
		}
		merge(body, "fixed_ips", o.list("fixed_ips"), fixed, c.NoFixedIP)
		merge(body, "allowed_address_pairs", o.list("allowed_address_pairs"), allowed, c.NoAllowedAddress)
		return s.groups(&c.portOptions, texts(o.list("security_groups")), body)
	})
}

// merge sets a list to what it had, unless that is dropped, and what is new.
func merge(body map[string]any, key string, had, fresh []any, drop bool) {
	if len(fresh) == 0 && !drop {
		return
	}
	list := []any{}
	if !drop {
		list = append(list, had...)
	}
	body[key] = append(list, fresh...)
}

type portShow struct {
	Port string `arg:"" help:"Name or id of the port."`
	showOptions
}

// Run shows a port.
func (c *portShow) Run(s *Session) error { return s.show(ports, c.Port, &c.showOptions) }

type portUnset struct {
	Port           string   `arg:"" help:"Name or id of the port."`
	FixedIP        []string `name:"fixed-ip" sep:"none" placeholder:"subnet=<subnet>,ip-address=<ip>" help:"Drop this address; repeat it for more."`
	AllowedAddress []string `sep:"none" placeholder:"ip-address=<ip>[,mac-address=<mac>]" help:"Drop this address that it may use besides; repeat it for more."`
	SecurityGroup  []string `sep:"none" help:"Drop this security group (name or id); repeat it for more."`
	BindingProfile []string `sep:"none" placeholder:"<key>" help:"Forget this of what the host of the device is told; repeat it for more."`
	Host           bool     `api:"binding:host_id=\"\"" help:"Forget the host of the device."`
	extraUnset
	tagsUnset
}

// Run takes something from a port.
func (c *portUnset) Run(s *Session) error {
	return s.change(ports, c.Port, c, func(o *object, body map[string]any) error {
		fixed, err := s.fixedIPs(c.FixedIP, fixedIPKeys)
		if err != nil {
			return err
		}
		allowed, err := (&portOptions{AllowedAddress: c.AllowedAddress}).allowed()
		if err != nil {
			return err
		}
		if err := forget(o, c.BindingProfile, body); err != nil {
			return err
		}
		var groups []any
		for _, name := range c.SecurityGroup {
			g, err := s.find(securityGroups, name)
			if err != nil {
				return err
			}
			groups = append(groups, g.text("id"))
		}
		return without("Port", o, body, []removal{{"fixed_ips", "fixed-ip", fixed, nil},
			{"security_groups", "security group", groups, c.SecurityGroup},
			{"allowed_address_pairs", "allowed-address-pair",
				allowed, nil}})
	})
}

// forget takes keys from what the host of a port's device is told. They must be there.
func forget(o *object, keys []string, body map[string]any) error {
	if len(keys) == 0 {
		return nil
	}
	profile := map[string]any{}
	if had, ok := o.get("binding:profile").(*object); ok {
		maps.Copy(profile, had.values)
	}
	for _, k := range keys {
		if _, ok := profile[k]; !ok {
			return inItsWords("Port does not contain binding-profile %s", k)
		}
		delete(profile, k)
	}
	body["binding:profile"] = profile
	return nil
}
