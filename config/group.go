package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A SecurityGroup is a set of rules about what the ports that are in the group may send and receive. Rules only allow.
type SecurityGroup struct {
	Meta
	Stateful bool // replies to what is allowed are allowed, too
}

// A SecurityGroupRule allows some of the traffic of the ports in a group.
type SecurityGroupRule struct {
	Meta
	Group     ID
	Direction string // Ingress or Egress, as the port sees it
	EtherType string // IPv4 or IPv6
	Protocol  string // a name, or a number from 0 to 255; empty: any

	// The lowest and highest destination port. For ICMP the type and the code. Nil: any.
	PortMin, PortMax *uint16

	// Who is on the other side, at most one of these: addresses, the ports of a group, the addresses of a group.
	// Without any of them it is anybody.
	RemotePrefix       netip.Prefix // may have host bits set, which mean nothing
	RemoteGroup        ID
	RemoteAddressGroup ID
}

// The directions of rules, and their ether types.
const (
	Ingress = "ingress"
	Egress  = "egress"
	IPv4    = "IPv4"
	IPv6    = "IPv6"
)

// An AddressGroup is a set of prefixes that rules name together.
type AddressGroup struct {
	Meta
	Addresses []netip.Prefix
}

// A Quota says how many objects of each kind the API may make. There is one such object. What a file declares counts,
// but the quota never refuses it.
type Quota struct {
	Meta
	Limits []Limit
}

// A Limit is how many objects of a resource there may be.
type Limit struct {
	Resource string // as the API calls it, such as floatingip; it may be one that is not served
	Most     int    // -1: any number
}

// QuotaID is the ID of the one Quota.
var QuotaID = NameID(KindQuota)

// Limit is how many objects of a resource there may be, -1: any number.
func (q *Quota) Limit(resource string) int {
	if q != nil {
		for _, l := range q.Limits {
			if l.Resource == resource {
				return l.Most
			}
		}
	}
	return -1
}

// SortLimits puts limits in the order of a State's: that of their resources' names.
func SortLimits(limits []Limit) {
	slices.SortStableFunc(limits, func(a, b Limit) int { return cmp.Compare(a.Resource, b.Resource) })
}

// Ref refers to the object.
func (o *SecurityGroup) Ref() Ref { return Ref{KindSecurityGroup, o.ID} }

// Ref refers to the object.
func (o *SecurityGroupRule) Ref() Ref { return Ref{KindSecurityGroupRule, o.ID} }

// Ref refers to the object.
func (o *AddressGroup) Ref() Ref { return Ref{KindAddressGroup, o.ID} }

// Ref refers to the object.
func (o *Quota) Ref() Ref { return Ref{KindQuota, o.ID} }

// ruleProtocols are the names of protocols that rules may have, with their numbers (IANA, Protocol Numbers).
var ruleProtocols = map[string]int{
	"ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4,
	"ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
	"ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}

// Numbers of protocols that rules treat in a way of their own.
const (
	numberICMP  = 1
	numberICMP6 = 58
)

// onlyIPv6 are the protocols that are no upper layer of IPv4.
var onlyIPv6 = []string{"icmpv6", "ipv6-encap", "ipv6-frag", "ipv6-icmp", "ipv6-nonxt", "ipv6-opts", "ipv6-route"}

// ProtocolNumber is the number of a rule's protocol; -1: any. It reports false if there is no such protocol.
func (o *SecurityGroupRule) ProtocolNumber() (int, bool) {
	if o.Protocol == "" {
		return -1, true
	}
	if n, ok := ruleProtocols[o.Protocol]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(o.Protocol, 10, 8)
	return int(n), err == nil && strconv.FormatUint(n, 10) == o.Protocol
}

// fillRule writes what a rule says as Neutron does: ICMP of IPv6 has a name of its own, and all ports are no ports.
func (o *SecurityGroupRule) fillRule() {
	word(&o.Direction, Ingress, Egress)
	word(&o.EtherType, IPv4, IPv6)
	fallback(&o.EtherType, IPv4)
	o.Protocol = strings.ToLower(o.Protocol)
	if o.EtherType == IPv6 {
		switch o.Protocol {
		case "icmp", "icmpv6":
			o.Protocol = "ipv6-icmp"
		case strconv.Itoa(numberICMP):
			o.Protocol = strconv.Itoa(numberICMP6)
		}
	}
	n, _ := o.ProtocolNumber()
	if hasPorts(n) && o.PortMin != nil && o.PortMax != nil && *o.PortMin == 1 && *o.PortMax == maxPort {
		o.PortMin, o.PortMax = nil, nil
	}
}

// hasPorts says whether a protocol has ports: DCCP, SCTP, TCP, UDP, UDP-Lite.
func hasPorts(protocol int) bool {
	switch protocol {
	case 6, 17, 33, 132, 136:
		return true
	}
	return false
}

// isICMP says whether a protocol has types and codes in place of ports.
func isICMP(protocol int) bool { return protocol == numberICMP || protocol == numberICMP6 }

// A RuleProblem says what is wrong with a rule, for callers that branch on it.
type RuleProblem uint8

// The problems.
const (
	RuleFine            RuleProblem = iota
	RuleProtocolUnknown             // there is no such protocol
	RuleFamily                      // the protocol is not of the rule's ether type
	RulePrefixFamily                // the remote prefix is not of the rule's ether type
	RuleRemotes                     // there is more than one remote
	RuleNoProtocol                  // ports without a protocol
	RulePortless                    // ports with a protocol that has none
	RulePortValue                   // port 0
	RulePortRange                   // one of the ports only, or the highest below the lowest
	RuleICMPType                    // a code without a type
	RuleICMPValue                   // a type or code above 255
)

// Problem looks at a rule apart from the objects that it refers to. The text names the attribute and the value.
func (o *SecurityGroupRule) Problem() (RuleProblem, string) {
	n, ok := o.ProtocolNumber()
	remotes := 0
	for _, there := range []bool{o.RemotePrefix.IsValid(), o.RemoteGroup != "", o.RemoteAddressGroup != ""} {
		if there {
			remotes++
		}
	}
	switch {
	case !ok:
		return RuleProtocolUnknown, fmt.Sprintf("protocol %q is neither the name of one nor a number from 0 to 255",
			o.Protocol)
	case o.EtherType == IPv4 && isOneOf(o.Protocol, onlyIPv6):
		return RuleFamily, fmt.Sprintf("protocol %s is not one of %s", o.Protocol, o.EtherType)
	case remotes > 1:
		return RuleRemotes, "remote_ip_prefix, remote_group and remote_address_group exclude each other"
	case o.RemotePrefix.IsValid() && o.RemotePrefix.Addr().Is4() != (o.EtherType == IPv4):
		return RulePrefixFamily, fmt.Sprintf("remote_ip_prefix %v is not one of %s", o.RemotePrefix, o.EtherType)
	}
	return o.portProblem(n)
}

func isOneOf(s string, list []string) bool {
	for _, x := range list {
		if s == x {
			return true
		}
	}
	return false
}

func (o *SecurityGroupRule) portProblem(protocol int) (RuleProblem, string) {
	low, high := o.PortMin, o.PortMax
	switch {
	case low == nil && high == nil:
	case protocol < 0:
		return RuleNoProtocol, "ports need a protocol"
	case isICMP(protocol) && low == nil:
		return RuleICMPType, "a code needs a type"
	case isICMP(protocol):
		for _, v := range []*uint16{low, high} {
			if v != nil && *v > 255 {
				return RuleICMPValue, fmt.Sprintf("type or code %d is not from 0 to 255", *v)
			}
		}
	case !hasPorts(protocol):
		return RulePortless, fmt.Sprintf("protocol %s has no ports", o.Protocol)
	case low == nil || high == nil || *low > *high:
		return RulePortRange, "port_range_min and port_range_max must both be there, the lowest port first"
	case *low == 0:
		return RulePortValue, "port 0 cannot be used"
	}
	return RuleFine, ""
}

// key is what rules of one group may not have in common.
func (o *SecurityGroupRule) key() string {
	n, _ := o.ProtocolNumber()
	remote := string(o.RemoteGroup) + " " + string(o.RemoteAddressGroup)
	if p := o.RemotePrefix; p.IsValid() && p.Bits() > 0 { // or else it is anybody
		remote = p.Masked().String()
	}
	return fmt.Sprint(o.Direction, " ", o.EtherType, " ", n, " ", portText(o.PortMin), portText(o.PortMax), " ", remote)
}

// portText writes a port that may be any.
func portText(p *uint16) string {
	if p == nil {
		return "-"
	}
	return ":" + strconv.Itoa(int(*p))
}

// text is a rule in short, such as: ingress IPv4 tcp 80-81.
func (o *SecurityGroupRule) text() string {
	text := o.Direction + " " + o.EtherType
	if o.Protocol != "" {
		text += " " + o.Protocol
	}
	switch low, high := o.PortMin, o.PortMax; {
	case low == nil:
	case high == nil || *low == *high:
		text += fmt.Sprintf(" %d", *low)
	default:
		text += fmt.Sprintf(" %d-%d", *low, *high)
	}
	return text
}

// ruleValues lists the attributes of a rule.
func (c *content) ruleValues(o *SecurityGroupRule) []value {
	port := func(key string, p *uint16) value {
		if p == nil {
			return value{key: key}
		}
		return one(key, strconv.Itoa(int(*p)))
	}
	prefix := value{key: "remote_ip_prefix"}
	if o.RemotePrefix.IsValid() {
		prefix = one(prefix.key, o.RemotePrefix.String())
	}
	return []value{
		c.refer("security_group", KindSecurityGroup, o.Group).with(isOwner),
		one("direction", o.Direction),
		one("ethertype", o.EtherType),
		one("protocol", o.Protocol),
		port("port_range_min", o.PortMin),
		port("port_range_max", o.PortMax),
		prefix,
		c.refer("remote_group", KindSecurityGroup, o.RemoteGroup),
		c.refer("remote_address_group", KindAddressGroup, o.RemoteAddressGroup),
	}
}
