package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

var securityGroups = &kind{path: "/v2.0/security-groups", singular: "security_group", plural: "security_groups",
	title: "SecurityGroup", noun: "group", tagged: true, framed: true,
	list: columns("ID=id Name=name Description=description Project=project_id Tags=tags"),
	show: columns(`created_at description id name project_id revision_number rules=security_group_rules!rules stateful
		tags updated_at`)}

var securityRules = &kind{path: "/v2.0/security-group-rules", singular: "security_group_rule",
	plural: "security_group_rules", title: "SecurityGroupRule", noun: "rule", named: "id", framed: true,
	list: columns(`ID=id IP_Protocol=protocol Ethertype=ethertype IP_Range=ip_range Port_Range=port_range
		Direction=direction Remote_Security_Group=remote_group_id Remote_Address_Group=remote_address_group_id`),
	show: columns(`created_at description direction ether_type=ethertype id name port_range_max port_range_min project_id
		protocol remote_address_group_id remote_group_id remote_ip_prefix=ip_range revision_number security_group_id
		tags updated_at`)}

type (
	securityCommands struct {
		Connection
		Group groupCommands `cmd:"" help:"Security groups."`
	}
	groupCommands struct {
		Create groupCreate  `cmd:"" help:"Make a security group."`
		Delete groupDelete  `cmd:"" help:"Delete security groups."`
		List   groupList    `cmd:"" help:"List security groups."`
		Set    groupSet     `cmd:"" help:"Change a security group."`
		Show   groupShow    `cmd:"" help:"Show a security group and its rules."`
		Unset  groupUnset   `cmd:"" help:"Take something from a security group."`
		Rule   ruleCommands `cmd:"" help:"Rules of security groups."`
	}
	ruleCommands struct {
		Create ruleCreate `cmd:"" help:"Make a rule."`
		Delete ruleDelete `cmd:"" help:"Delete rules."`
		List   ruleList   `cmd:"" help:"List rules."`
		Show   ruleShow   `cmd:"" help:"Show a rule."`
	}
)

type groupCreate struct {
	Name        string  `arg:"" api:"name" help:"Name of the security group."`
	Description *string `api:"description" help:"A text for people; the name without it."`
	Project     *string `api:"project_id" help:"Id of the project that owns it."`
	Stateful    bool    `xor:"stateful" api:"stateful=true" help:"Let in the answers to what goes out, as without this."`
	Stateless   bool    `xor:"stateful" api:"stateful=false" help:"Let in only what a rule allows."`
	extraProperty
	tagsCreate
	showOptions
}

// Run makes a security group.
func (c *groupCreate) Run(s *Session) error {
	return s.create(securityGroups, c, &c.showOptions, func(body map[string]any) error {
		if c.Description == nil {
			body["description"] = c.Name
		}
		return nil
	})
}

type groupDelete struct {
	Group []string `arg:"" help:"Names or ids of security groups."`
}

// Run deletes security groups.
func (c *groupDelete) Run(s *Session) error { return s.remove(securityGroups, c.Group, nil) }

type groupList struct {
	Project *string `api:"project_id" help:"Only those of this project (id)."`
	tagsList
	listOptions
}

// Run lists security groups.
func (c *groupList) Run(s *Session) error {
	return s.listAll(securityGroups, c, &c.listOptions, false, nil)
}

type groupSet struct {
	Group       string  `arg:"" help:"Name or id of the security group."`
	Name        *string `api:"name" help:"A new name."`
	Description *string `api:"description" help:"A text for people."`
	Stateful    bool    `xor:"stateful" api:"stateful=true" help:"Let in the answers to what goes out."`
	Stateless   bool    `xor:"stateful" api:"stateful=false" help:"Let in only what a rule allows."`
	extraProperty
	tagsSet
}

// Run changes a security group.
func (c *groupSet) Run(s *Session) error { return s.change(securityGroups, c.Group, c, nil) }

type groupShow struct {
	Group string `arg:"" help:"Name or id of the security group."`
	showOptions
}

// Run shows a security group.
func (c *groupShow) Run(s *Session) error { return s.show(securityGroups, c.Group, &c.showOptions) }

type groupUnset struct {
	Group string `arg:"" help:"Name or id of the security group."`
	extraUnset
	tagsUnset
}

// Run takes tags from a security group.
func (c *groupUnset) Run(s *Session) error { return s.change(securityGroups, c.Group, c, nil) }

type ruleCreate struct {
	Group              string  `arg:"" api:"security_group_id,group" help:"Name or id of the security group."`
	RemoteIP           *string `name:"remote-ip" xor:"remote" api:"remote_ip_prefix" placeholder:"<cidr>" help:"Who may send, or be sent to; everybody without it."`
	RemoteGroup        *string `xor:"remote" api:"remote_group_id,group" help:"The ports of this security group may (name or id)."`
	RemoteAddressGroup *string `xor:"remote" api:"remote_address_group_id,addressgroup" help:"The addresses of this address group may (name or id)."`
	DstPort            string  `placeholder:"<port>[:<port>]" help:"To this port, or from one to another."`
	Protocol           string  `help:"The IP protocol: tcp, udp, icmp, a number or any; any without it."`
	Description        *string `api:"description" help:"A text for people."`
	ICMPType           *int    `name:"icmp-type" help:"The ICMP type."`
	ICMPCode           *int    `name:"icmp-code" help:"The ICMP code."`
	Ingress            bool    `xor:"direction" help:"What goes to the port, as without this."`
	Egress             bool    `xor:"direction" help:"What comes from the port."`
	Ethertype          string  `help:"IPv4 or IPv6; by the protocol without it."`
	Project            *string `api:"project_id" help:"Id of the project that owns it."`
	extraProperty
	showOptions
}

// Run makes a rule.
func (c *ruleCreate) Run(s *Session) error {
	s.framed = true
	body, err := s.body(c)
	if err != nil {
		return s.failed(err)
	}
	if err := c.add(body); err != nil {
		return &said{err.Error(), err} // no answer of the router's
	}
	if err := extend(c, body); err != nil {
		return s.failed(err)
	}
	o, err := s.post(securityRules, body)
	if err != nil {
		return s.failed(err)
	}
	return s.print(ruleShown(o), securityRules.show, &c.showOptions)
}

// add sets what depends on more than one option.
func (c *ruleCreate) add(body map[string]any) error {
	protocol := strings.ToLower(c.Protocol)
	icmp := protocol == "icmp" || protocol == "icmpv6" || protocol == "ipv6-icmp" || protocol == "1" || protocol == "58"
	body["protocol"] = nil
	if protocol != "" && protocol != "any" {
		body["protocol"] = protocol
	}
	body["direction"] = "ingress"
	if c.Egress {
		body["direction"] = "egress"
	}
	ether := "IPv4"
	switch {
	case strings.EqualFold(c.Ethertype, "ipv6"), c.Ethertype == "" && strings.HasPrefix(protocol, "ipv6-"),
		c.Ethertype == "" && (protocol == "icmpv6" || protocol == "58"):
		ether = "IPv6"
	case c.Ethertype != "" && !strings.EqualFold(c.Ethertype, "ipv4"):
		return fmt.Errorf("--ethertype %s: want IPv4 or IPv6", c.Ethertype)
	}
	body["ethertype"] = ether
	switch {
	case c.DstPort != "" && (c.ICMPType != nil || c.ICMPCode != nil):
		return inItsWords("Argument --dst-port not allowed with arguments --icmp-type and --icmp-code")
	case c.ICMPType == nil && c.ICMPCode != nil:
		return inItsWords("Argument --icmp-type required with argument --icmp-code")
	case !icmp && (c.ICMPType != nil || c.ICMPCode != nil):
		return inItsWords("ICMP IP protocol required with arguments --icmp-type and --icmp-code")
	}
	if c.DstPort != "" && !icmp {
		from, to, ok := strings.Cut(c.DstPort, ":")
		if !ok {
			to = from
		}
		for key, text := range map[string]string{"port_range_min": from, "port_range_max": to} {
			n, err := strconv.Atoi(text)
			if err != nil {
				return fmt.Errorf("--dst-port %s: want a port, or two with a colon between them", c.DstPort)
			}
			body[key] = n
		}
	}
	if c.ICMPType != nil {
		body["port_range_min"] = *c.ICMPType
	}
	if c.ICMPCode != nil {
		body["port_range_max"] = *c.ICMPCode
	}
	if c.RemoteIP == nil && c.RemoteGroup == nil && c.RemoteAddressGroup == nil {
		body["remote_ip_prefix"] = map[string]string{"IPv4": "0.0.0.0/0", "IPv6": "::/0"}[ether]
	}
	return nil
}

// ruleShown gives a rule the texts that the client of OpenStack makes of its attributes.
func ruleShown(o *object) *object {
	o.set("ip_range", o.get("remote_ip_prefix"))
	return o
}

// ruleListed is ruleShown for lists.
func ruleListed(o *object) *object {
	prefix := o.text("remote_ip_prefix")
	if prefix == "" {
		prefix = map[string]string{"IPv4": "0.0.0.0/0", "IPv6": "::/0"}[o.text("ethertype")]
	}
	o.set("ip_range", prefix)
	o.set("port_range", portRange(o))
	return o
}

// portRange is the ports of a rule, or the ICMP type and code, as text. OpenStack's client leaves out an ICMP type or
// code of 0.
func portRange(o *object) string {
	from, hasFrom := o.get("port_range_min").(json.Number)
	to, hasTo := o.get("port_range_max").(json.Number)
	switch p := o.text("protocol"); {
	case p == "icmp" || p == "icmpv6" || p == "ipv6-icmp" || p == "1" || p == "58":
		text := ""
		if hasFrom && from != "0" {
			text = "type=" + from.String()
		}
		if hasTo && to != "0" {
			text += ":code=" + to.String()
		}
		return text
	case hasFrom && hasTo:
		return from.String() + ":" + to.String()
	}
	return ""
}

type ruleDelete struct {
	Rule []string `arg:"" help:"Ids of rules."`
}

// Run deletes rules.
func (c *ruleDelete) Run(s *Session) error { return s.remove(securityRules, c.Rule, nil) }

type ruleList struct {
	Group     string  `arg:"" optional:"" help:"Only those of this security group (name or id)."`
	Protocol  *string `api:"protocol" help:"Only those of this protocol."`
	Ethertype *string `api:"ethertype" help:"Only those of IPv4 or IPv6."`
	Ingress   bool    `xor:"direction" api:"direction=\"ingress\"" help:"Only those for what goes to ports."`
	Egress    bool    `xor:"direction" api:"direction=\"egress\"" help:"Only those for what comes from ports."`
	Long      bool    `help:"Nothing more; for old scripts."`
	listOptions
}

// Run lists rules.
func (c *ruleList) Run(s *Session) error {
	s.framed = true
	filter, err := s.filter(c)
	if err != nil {
		return s.failed(err)
	}
	columns := securityRules.list
	if c.Group == "" {
		columns = append(columns[:len(columns):len(columns)], column{"Security Group", "security_group_id", asValue})
	} else {
		o, err := s.find(securityGroups, c.Group)
		if err != nil {
			return s.failed(err)
		}
		filter.Set("security_group_id", o.text("id"))
	}
	all, err := s.list(securityRules.path, securityRules.plural, filter)
	if err != nil {
		return s.failed(err)
	}
	for _, o := range all {
		ruleListed(o)
	}
	return s.failed(printList(s.out, sheetOf(all, columns), &c.listOptions))
}

type ruleShow struct {
	Rule string `arg:"" help:"Id of the rule."`
	showOptions
}

// Run shows a rule.
func (c *ruleShow) Run(s *Session) error {
	s.framed = true
	o, err := s.find(securityRules, c.Rule)
	if err != nil {
		return s.failed(err)
	}
	return s.print(ruleShown(o), securityRules.show, &c.showOptions)
}

// rulesText is the rules of a group, one a line, without what the reader knows or what is empty.
func rulesText(v any) any {
	return lines(v, func(e any) string {
		o, ok := e.(*object)
		if !ok {
			return pythonText(e)
		}
		short := newObject()
		for _, k := range o.keys {
			switch v := o.values[k]; {
			case v == nil || v == "" || v == false || k == "security_group_id" || k == "tenant_id" || k == "project_id":
			case isEmpty(v):
			default:
				short.set(k, v)
			}
		}
		return strings.Join(dictParts(short, ""), ", ")
	})
}

// isEmpty reports whether Python takes a value for false: an empty list or object, or 0.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case []any:
		return len(v) == 0
	case *object:
		return len(v.keys) == 0
	case json.Number:
		return v == "0"
	}
	return false
}

var addressGroups = &kind{path: "/v2.0/address-groups", singular: "address_group", plural: "address_groups",
	title: "AddressGroup", noun: "address group",
	list: columns("ID=id Name=name Description=description Project=project_id Addresses=addresses"),
	show: columns("addresses description id name project_id")}

type (
	addressCommands struct {
		Connection
		Group addressGroupCommands `cmd:"" help:"Address groups."`
	}
	addressGroupCommands struct {
		Create addressCreate `cmd:"" help:"Make an address group."`
		Delete addressDelete `cmd:"" help:"Delete address groups."`
		List   addressList   `cmd:"" help:"List address groups."`
		Set    addressSet    `cmd:"" help:"Change an address group, or add addresses."`
		Show   addressShow   `cmd:"" help:"Show an address group."`
		Unset  addressUnset  `cmd:"" help:"Take addresses from an address group."`
	}
)

type addressCreate struct {
	Name        string   `arg:"" api:"name" help:"Name of the address group."`
	Description *string  `api:"description" help:"A text for people."`
	Address     []string `sep:"none" placeholder:"<cidr>" help:"Addresses of it; repeat it for more."`
	Project     *string  `api:"project_id" help:"Id of the project that owns it."`
	extraProperty
	showOptions
}

// Run makes an address group.
func (c *addressCreate) Run(s *Session) error {
	return s.create(addressGroups, c, &c.showOptions, func(body map[string]any) error {
		body["addresses"] = prefixes(c.Address)
		return nil
	})
}

// prefixes gives single addresses their length.
func prefixes(addresses []string) []string {
	all := []string{}
	for _, a := range addresses {
		switch {
		case strings.Contains(a, "/"):
		case strings.Contains(a, ":"):
			a += "/128"
		default:
			a += "/32"
		}
		all = append(all, a)
	}
	return all
}

type addressDelete struct {
	AddressGroup []string `arg:"" help:"Names or ids of address groups."`
}

// Run deletes address groups.
func (c *addressDelete) Run(s *Session) error { return s.remove(addressGroups, c.AddressGroup, nil) }

type addressList struct {
	Name    *string `api:"name" help:"Only those of this name."`
	Project *string `api:"project_id" help:"Only those of this project (id)."`
	listOptions
}

// Run lists address groups.
func (c *addressList) Run(s *Session) error {
	return s.listAll(addressGroups, c, &c.listOptions, false, nil)
}

type addressSet struct {
	AddressGroup string   `arg:"" help:"Name or id of the address group."`
	Name         *string  `api:"name" help:"A new name."`
	Description  *string  `api:"description" help:"A text for people."`
	Address      []string `sep:"none" placeholder:"<cidr>" help:"Further addresses; repeat it for more."`
	extraProperty
}

// Run changes an address group.
func (c *addressSet) Run(s *Session) error {
	o, err := s.find(addressGroups, c.AddressGroup)
	if err == nil {
		err = s.changeFound(addressGroups, o, c, nil)
	}
	if err == nil && len(c.Address) > 0 {
		err = s.addresses(o, "add_addresses", c.Address)
	}
	return s.failed(err)
}

func (s *Session) addresses(group *object, action string, addresses []string) error {
	_, err := s.router.call(s.ctx, http.MethodPut, addressGroups.path+"/"+url.PathEscape(group.text("id"))+"/"+action,
		map[string]any{"addresses": prefixes(addresses)})
	return err
}

type addressShow struct {
	AddressGroup string `arg:"" help:"Name or id of the address group."`
	showOptions
}

// Run shows an address group.
func (c *addressShow) Run(s *Session) error {
	return s.show(addressGroups, c.AddressGroup, &c.showOptions)
}

type addressUnset struct {
	AddressGroup string   `arg:"" help:"Name or id of the address group."`
	Address      []string `sep:"none" placeholder:"<cidr>" help:"Take these addresses away; repeat it for more."`
}

// Run takes addresses from an address group.
func (c *addressUnset) Run(s *Session) error {
	o, err := s.find(addressGroups, c.AddressGroup)
	if err == nil && len(c.Address) > 0 {
		err = s.addresses(o, "remove_addresses", c.Address)
	}
	return s.failed(err)
}
