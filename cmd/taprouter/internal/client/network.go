package client

import "net/url"

var networks = &kind{path: "/v2.0/networks", singular: "network", plural: "networks", title: "Network", tagged: true,
	framed: true,
	list:   columns("ID=id Name=name Subnets=subnets!list"),
	long: columns(`ID=id Name=name Status=status Project=project_id State=admin_state_up!state Shared=shared
		Subnets=subnets!list Network_Type=provider:network_type Router_Type=router:external!external
		Availability_Zones=availability_zones!list Tags=tags!list`),
	show: columns(`admin_state_up!state availability_zone_hints!list availability_zones!list created_at description
		dns_domain id ipv4_address_scope ipv6_address_scope is_default is_vlan_transparent=vlan_transparent mtu name
		port_security_enabled project_id provider:network_type provider:physical_network provider:segmentation_id
		qos_policy_id revision_number router:external!external segments shared status subnets!list tags!list
		updated_at`)}

type networkCommands struct {
	Connection
	Create networkCreate `cmd:"" help:"Make a network."`
	Delete networkDelete `cmd:"" help:"Delete networks."`
	List   networkList   `cmd:"" help:"List networks."`
	Set    networkSet    `cmd:"" help:"Change a network."`
	Show   networkShow   `cmd:"" help:"Show a network."`
	Unset  networkUnset  `cmd:"" help:"Take something from a network."`
	Agent  agentCommands `cmd:"" help:"The agents that OpenStack's client asks for."`
}

// networkOptions are those of create and set.
type networkOptions struct {
	Share                   bool    `xor:"share" api:"shared=true" help:"Let all projects use it."`
	NoShare                 bool    `xor:"share" api:"shared=false" help:"Let its project use it only."`
	EnablePortSecurity      bool    `xor:"security" api:"port_security_enabled=true" help:"Check the frames of new ports."`
	DisablePortSecurity     bool    `xor:"security" api:"port_security_enabled=false" help:"Check no frames of new ports."`
	External                bool    `xor:"external" api:"router:external=true" help:"It is outside: routers have gateways on it."`
	Internal                bool    `xor:"external" api:"router:external=false" help:"It is inside, as without this."`
	Default                 bool    `xor:"default" api:"is_default=true" help:"It is the default external network."`
	NoDefault               bool    `xor:"default" api:"is_default=false" help:"It is not the default external network."`
	Description             *string `api:"description" help:"A text for people."`
	MTU                     *string `name:"mtu" api:"mtu" help:"The largest packet, in bytes."`
	ProviderNetworkType     *string `api:"provider:network_type" help:"What carries it: flat, vlan or local."`
	ProviderPhysicalNetwork *string `api:"provider:physical_network" help:"The physical network that carries it."`
	ProviderSegment         *string `api:"provider:segmentation_id" help:"Its VLAN id."`
	DNSDomain               *string `name:"dns-domain" api:"dns_domain" help:"The domain of its names."`
}

type networkCreate struct {
	Name                 string   `arg:"" api:"name" help:"Name of the network."`
	Enable               bool     `xor:"state" help:"Carry frames, as without this."`
	Disable              bool     `xor:"state" help:"Carry no frames yet."`
	Project              *string  `api:"project_id" help:"Id of the project that owns it."`
	AvailabilityZoneHint []string `sep:"none" api:"availability_zone_hints" help:"Zone to make it in; repeat it for more."`
	extraProperty
	networkOptions
	tagsCreate
	showOptions
}

// Run makes a network.
func (c *networkCreate) Run(s *Session) error {
	return s.create(networks, c, &c.showOptions, up(c.Disable))
}

// up sets the administrative state of a new object.
func up(disable bool) func(map[string]any) error {
	return func(body map[string]any) error {
		body["admin_state_up"] = !disable
		return nil
	}
}

type networkDelete struct {
	Network []string `arg:"" help:"Names or ids of networks."`
}

// Run deletes networks.
func (c *networkDelete) Run(s *Session) error { return s.remove(networks, c.Network, nil) }

type networkList struct {
	External                bool    `xor:"external" api:"router:external=true" help:"Only external ones."`
	Internal                bool    `xor:"external" api:"router:external=false" help:"Only internal ones."`
	Long                    bool    `help:"Show more columns."`
	Name                    *string `api:"name" help:"Only those of this name."`
	Enable                  bool    `xor:"state" api:"admin_state_up=true" help:"Only those that are enabled."`
	Disable                 bool    `xor:"state" api:"admin_state_up=false" help:"Only those that are disabled."`
	Project                 *string `api:"project_id" help:"Only those of this project (id)."`
	Share                   bool    `xor:"share" api:"shared=true" help:"Only those that all projects share."`
	NoShare                 bool    `xor:"share" api:"shared=false" help:"Only those that are not shared."`
	Status                  *string `api:"status" help:"Only those of this status: ACTIVE, BUILD, DOWN or ERROR."`
	ProviderNetworkType     *string `api:"provider:network_type" help:"Only those that this carries: flat, vlan, local."`
	ProviderPhysicalNetwork *string `api:"provider:physical_network" help:"Only those on this physical network."`
	ProviderSegment         *string `api:"provider:segmentation_id" help:"Only those of this VLAN id."`
	tagsList
	listOptions
}

// Run lists networks.
func (c *networkList) Run(s *Session) error {
	return s.listAll(networks, c, &c.listOptions, c.Long, nil)
}

type networkSet struct {
	Network string  `arg:"" help:"Name or id of the network."`
	Name    *string `api:"name" help:"A new name."`
	Enable  bool    `xor:"state" api:"admin_state_up=true" help:"Carry frames."`
	Disable bool    `xor:"state" api:"admin_state_up=false" help:"Carry no frames."`
	extraProperty
	networkOptions
	tagsSet
}

// Run changes a network.
func (c *networkSet) Run(s *Session) error { return s.change(networks, c.Network, c, nil) }

type networkShow struct {
	Network string `arg:"" help:"Name or id of the network."`
	showOptions
}

// Run shows a network.
func (c *networkShow) Run(s *Session) error { return s.show(networks, c.Network, &c.showOptions) }

type networkUnset struct {
	Network string `arg:"" help:"Name or id of the network."`
	extraUnset
	tagsUnset
}

// Run takes tags from a network.
func (c *networkUnset) Run(s *Session) error { return s.change(networks, c.Network, c, nil) }

var agents = &kind{path: "/v2.0/agents", singular: "agent", plural: "agents", title: "Agent", noun: "network agent",
	list: columns(`ID=id Agent_Type=agent_type Host=host Availability_Zone=availability_zone Alive=alive!alive
		State=admin_state_up!state Binary=binary`),
	show: columns(`admin_state_up!state agent_type alive!alive availability_zone binary
		configuration=configurations!dict
		created_at description ha_state host id last_heartbeat_at=heartbeat_timestamp resources_synced started_at
		topic`)}

type agentCommands struct {
	List agentList `cmd:"" help:"List agents."`
	Show agentShow `cmd:"" help:"Show an agent."`
}

type agentList struct {
	AgentType string  `help:"Only those of this type: l3, dhcp, loadbalancer, metadata, open-vswitch and others."`
	Host      *string `api:"host" help:"Only those on this host."`
	Network   string  `xor:"of" help:"Only those that serve this network (name or id)."`
	Router    string  `xor:"of" help:"Only those that serve this router (name or id)."`
	Long      bool    `help:"Show more columns; there are none."`
	listOptions
}

// agentTypes are what agents call their types.
var agentTypes = map[string]string{"bgp": "BGP dynamic routing agent", "dhcp": "DHCP agent",
	"open-vswitch": "Open vSwitch agent", "linux-bridge": "Linux bridge agent", "ofa": "OFA driver agent",
	"l3": "L3 agent", "loadbalancer": "Loadbalancer agent", "metering": "Metering agent",
	"metadata": "Metadata agent", "macvtap": "Macvtap agent", "nic": "NIC Switch agent"}

// Run lists agents.
func (c *agentList) Run(s *Session) error {
	k := *agents
	for _, of := range []struct {
		kind *kind
		name string
		last string
	}{{networks, c.Network, "/dhcp-agents"}, {routers, c.Router, "/l3-agents"}} {
		if of.name == "" {
			continue
		}
		o, err := s.find(of.kind, of.name)
		if err != nil {
			return s.failed(err)
		}
		k.path = of.kind.path + "/" + o.text("id") + of.last
	}
	return s.listAll(&k, c, &c.listOptions, false, func(filter url.Values) error {
		if c.AgentType != "" {
			name, ok := agentTypes[c.AgentType]
			if !ok {
				name = c.AgentType
			}
			filter.Set("agent_type", name)
		}
		return nil
	})
}

type agentShow struct {
	Agent string `arg:"" name:"network-agent" help:"Id of the agent."`
	showOptions
}

// Run shows an agent.
func (c *agentShow) Run(s *Session) error {
	o, err := s.get(agents, url.PathEscape(c.Agent))
	if err != nil {
		return s.failed(err)
	}
	return s.print(o, agents.show, &c.showOptions)
}
