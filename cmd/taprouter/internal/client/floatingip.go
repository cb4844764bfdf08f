package client

import (
	"net/http"
	"net/url"
)

var floatingIPs = &kind{path: "/v2.0/floatingips", singular: "floatingip", plural: "floatingips", title: "FloatingIP",
	noun: "floating_ip", named: "floating_ip_address", tagged: true, framed: true,
	list: columns(`ID=id Floating_IP_Address=floating_ip_address Fixed_IP_Address=fixed_ip_address Port=port_id
		Floating_Network=floating_network_id Project=project_id`),
	long: columns(`ID=id Floating_IP_Address=floating_ip_address Fixed_IP_Address=fixed_ip_address Port=port_id
		Floating_Network=floating_network_id Project=project_id Router=router_id Status=status
		Description=description Tags=tags DNS_Name=dns_name DNS_Domain=dns_domain`),
	show: columns(`created_at description dns_domain dns_name fixed_ip_address floating_ip_address floating_network_id
		id name=floating_ip_address port_details!dicttext port_id project_id qos_policy_id revision_number router_id status
		subnet_id tags updated_at`),
	made: columns(`created_at description dns_domain dns_name fixed_ip_address floating_ip_address floating_network_id
		id name=floating_ip_address port_details port_id project_id qos_policy_id revision_number router_id status
		subnet_id tags updated_at`)}

var forwardings = &kind{singular: "port_forwarding", plural: "port_forwardings", title: "PortForwarding",
	noun: "floating_ip_port_forwarding",
	list: columns(`ID=id Internal_Port_ID=internal_port_id Internal_IP_Address=internal_ip_address
		Internal_Port=internal_port External_Port=external_port Protocol=protocol Description=description`),
	show: columns(`description external_port id internal_ip_address internal_port internal_port_id name protocol`)}

type (
	floatingCommands struct {
		Connection
		IP floatingIPCommands `cmd:"" name:"ip" help:"Floating IPs."`
	}
	floatingIPCommands struct {
		Create floatingCreate         `cmd:"" help:"Allocate a floating IP."`
		Delete floatingDelete         `cmd:"" help:"Release floating IPs."`
		List   floatingList           `cmd:"" help:"List floating IPs."`
		Set    floatingSet            `cmd:"" help:"Associate or change a floating IP."`
		Show   floatingShow           `cmd:"" help:"Show a floating IP."`
		Unset  floatingUnset          `cmd:"" help:"Disassociate a floating IP, or take something from it."`
		Port   floatingIPPortCommands `cmd:"" help:"Single ports of a floating IP: floating ip port forwarding ..."`
	}
	floatingIPPortCommands struct {
		Forwarding forwardingCommands `cmd:"" help:"Port forwardings."`
	}
	forwardingCommands struct {
		Create forwardingCreate `cmd:"" help:"Forward a port."`
		Delete forwardingDelete `cmd:"" help:"Delete port forwardings."`
		List   forwardingList   `cmd:"" help:"List port forwardings."`
		Set    forwardingSet    `cmd:"" help:"Change a port forwarding."`
		Show   forwardingShow   `cmd:"" help:"Show a port forwarding."`
	}
)

type floatingCreate struct {
	Network           string  `arg:"" api:"floating_network_id,network" help:"The external network (name or id)."`
	Subnet            *string `api:"subnet_id,subnet" help:"The subnet to take the address from (name or id)."`
	Port              *string `api:"port_id,port" help:"The port to associate it with (name or id)."`
	FloatingIPAddress *string `name:"floating-ip-address" api:"floating_ip_address" placeholder:"<ip>" help:"This address."`
	FixedIPAddress    *string `name:"fixed-ip-address" api:"fixed_ip_address" placeholder:"<ip>" help:"Which of the port's addresses it is for."`
	Description       *string `api:"description" help:"A text for people."`
	Project           *string `api:"project_id" help:"Id of the project that owns it."`
	DNSDomain         *string `name:"dns-domain" api:"dns_domain" help:"The domain of its name."`
	DNSName           *string `name:"dns-name" api:"dns_name" help:"Its name in DNS."`
	extraProperty
	tagsCreate
	showOptions
}

// Run allocates a floating IP.
func (c *floatingCreate) Run(s *Session) error { return s.create(floatingIPs, c, &c.showOptions, nil) }

type floatingDelete struct {
	FloatingIP []string `arg:"" name:"floating-ip" help:"Addresses or ids of floating IPs."`
}

// Run releases floating IPs.
func (c *floatingDelete) Run(s *Session) error { return s.remove(floatingIPs, c.FloatingIP, nil) }

type floatingList struct {
	Network           *string `api:"floating_network_id,network" help:"Only those of this network (name or id)."`
	Port              *string `api:"port_id,port" help:"Only those of this port (name or id)."`
	FixedIPAddress    *string `name:"fixed-ip-address" api:"fixed_ip_address" placeholder:"<ip>" help:"Only those for this address of a port."`
	FloatingIPAddress *string `name:"floating-ip-address" api:"floating_ip_address" placeholder:"<ip>" help:"Only the one of this address."`
	Long              bool    `help:"Show more columns."`
	Status            *string `api:"status" help:"Only those of this status: ACTIVE or DOWN."`
	Project           *string `api:"project_id" help:"Only those of this project (id)."`
	Router            *string `api:"router_id,router" help:"Only those of this router (name or id)."`
	tagsList
	listOptions
}

// Run lists floating IPs.
func (c *floatingList) Run(s *Session) error {
	return s.listAll(floatingIPs, c, &c.listOptions, c.Long, nil)
}

type floatingSet struct {
	FloatingIP     string  `arg:"" name:"floating-ip" help:"Address or id of the floating IP."`
	Port           *string `api:"port_id,port" help:"Associate it with this port (name or id)."`
	FixedIPAddress *string `name:"fixed-ip-address" api:"fixed_ip_address" placeholder:"<ip>" help:"Which of the port's addresses it is for."`
	Description    *string `api:"description" help:"A text for people."`
	extraProperty
	tagsSet
}

// Run associates or changes a floating IP.
func (c *floatingSet) Run(s *Session) error { return s.change(floatingIPs, c.FloatingIP, c, nil) }

type floatingShow struct {
	FloatingIP string `arg:"" name:"floating-ip" help:"Address or id of the floating IP."`
	showOptions
}

// Run shows a floating IP.
func (c *floatingShow) Run(s *Session) error {
	return s.show(floatingIPs, c.FloatingIP, &c.showOptions)
}

type floatingUnset struct {
	FloatingIP string `arg:"" name:"floating-ip" help:"Address or id of the floating IP."`
	Port       bool   `api:"port_id=null" help:"Disassociate it."`
	extraProperty
	tagsUnset
}

// Run disassociates a floating IP, or takes tags from it.
func (c *floatingUnset) Run(s *Session) error { return s.change(floatingIPs, c.FloatingIP, c, nil) }

// forwardingsOf is the port forwardings of a floating IP.
func (s *Session) forwardingsOf(floatingIP string) (*kind, error) {
	o, err := s.find(floatingIPs, floatingIP)
	if err != nil {
		return nil, s.failed(err)
	}
	k := *forwardings
	k.path = floatingIPs.path + "/" + o.text("id") + "/port_forwardings"
	return &k, nil
}

// forwardingOptions are those of set; those of create are the same, and required.
type forwardingOptions struct {
	InternalIPAddress    *string `name:"internal-ip-address" api:"internal_ip_address" placeholder:"<ip>" help:"The address inside."`
	Port                 *string `api:"internal_port_id,port" help:"The port of that address (name or id)."`
	InternalProtocolPort *int    `api:"internal_port" help:"The TCP or UDP port inside."`
	ExternalProtocolPort *int    `api:"external_port" help:"The TCP or UDP port outside."`
	Protocol             *string `api:"protocol" help:"tcp or udp."`
	Description          *string `api:"description" help:"A text for people."`
}

type forwardingCreate struct {
	FloatingIP           string  `arg:"" name:"floating-ip" help:"Address or id of the floating IP."`
	InternalIPAddress    string  `name:"internal-ip-address" required:"" api:"internal_ip_address" placeholder:"<ip>" help:"The address inside."`
	Port                 string  `required:"" api:"internal_port_id,port" help:"The port of that address (name or id)."`
	InternalProtocolPort int     `required:"" api:"internal_port" help:"The TCP or UDP port inside."`
	ExternalProtocolPort int     `required:"" api:"external_port" help:"The TCP or UDP port outside."`
	Protocol             string  `required:"" api:"protocol" help:"tcp or udp."`
	Description          *string `api:"description" help:"A text for people."`
	extraProperty
	showOptions
}

// Run forwards a port.
func (c *forwardingCreate) Run(s *Session) error {
	k, err := s.forwardingsOf(c.FloatingIP)
	if err != nil {
		return err
	}
	return s.create(k, c, &c.showOptions, nil)
}

type forwardingDelete struct {
	FloatingIP     string   `arg:"" name:"floating-ip" help:"Address or id of the floating IP."`
	PortForwarding []string `arg:"" name:"port-forwarding-id" help:"Ids of port forwardings."`
}

// Run deletes port forwardings.
func (c *forwardingDelete) Run(s *Session) error {
	k, err := s.forwardingsOf(c.FloatingIP)
	if err != nil {
		return err
	}
	return s.remove(k, c.PortForwarding, func(id string) (*object, error) { return s.get(k, url.PathEscape(id)) })
}

type forwardingList struct {
	FloatingIP           string  `arg:"" name:"floating-ip" help:"Address or id of the floating IP."`
	Port                 *string `api:"internal_port_id,port" help:"Only those to this port (name or id)."`
	ExternalProtocolPort *string `api:"external_port" help:"Only those of this port outside."`
	Protocol             *string `api:"protocol" help:"Only those of tcp or udp."`
	listOptions
}

// Run lists port forwardings.
func (c *forwardingList) Run(s *Session) error {
	k, err := s.forwardingsOf(c.FloatingIP)
	if err != nil {
		return err
	}
	return s.listAll(k, c, &c.listOptions, false, nil)
}

type forwardingSet struct {
	FloatingIP     string `arg:"" name:"floating-ip" help:"Address or id of the floating IP."`
	PortForwarding string `arg:"" name:"port-forwarding-id" help:"Id of the port forwarding."`
	extraProperty
	forwardingOptions
}

// Run changes a port forwarding. Only what the options say is sent.
func (c *forwardingSet) Run(s *Session) error {
	k, err := s.forwardingsOf(c.FloatingIP)
	if err != nil {
		return err
	}
	body, err := s.body(c)
	if err == nil {
		err = extend(c, body)
	}
	if err != nil {
		return s.failed(err)
	}
	_, err = s.router.call(s.ctx, http.MethodPut, k.path+"/"+url.PathEscape(c.PortForwarding),
		map[string]any{k.singular: body})
	return s.failed(err)
}

type forwardingShow struct {
	FloatingIP     string `arg:"" name:"floating-ip" help:"Address or id of the floating IP."`
	PortForwarding string `arg:"" name:"port-forwarding-id" help:"Id of the port forwarding."`
	showOptions
}

// Run shows a port forwarding.
func (c *forwardingShow) Run(s *Session) error {
	k, err := s.forwardingsOf(c.FloatingIP)
	if err != nil {
		return err
	}
	o, err := s.get(k, url.PathEscape(c.PortForwarding))
	if err != nil {
		return s.failed(err)
	}
	return s.print(o, k.show, &c.showOptions)
}
