package config

import (
	"net/netip"
	"slices"
)

// Bounds of security groups.
const (
	maxRules     = 100_000 // of all groups
	maxGroups    = 1000    // of one port
	maxAddresses = 100_000 // of one address group
)

var (
	directions = []string{Ingress, Egress}
	etherTypes = []string{IPv4, IPv6}
)

// checkAddressGroup checks the prefixes of an address group.
func (c *checker) checkAddressGroup(g *AddressGroup) {
	w := at(g)
	if len(g.Addresses) > maxAddresses {
		c.fault(w, "addresses", Invalid, "an address group has at most %d addresses, this one has %d", maxAddresses,
			len(g.Addresses))
		return
	}
	seen := map[netip.Prefix]bool{}
	for i, p := range g.Addresses {
		field := indexed("addresses", i)
		if c.checkPrefix(w, field, field, p) && seen[p.Masked()] {
			c.fault(w, field, Invalid, "%v is there already", p)
		}
		seen[p.Masked()] = true
	}
}

// checkRule checks a rule, and that its group has no other one that says the same.
func (c *checker) checkRule(r *SecurityGroupRule) {
	w := at(r)
	if _, ok := refer[*SecurityGroup](c, w, "security_group", KindSecurityGroup, r.Group); !ok {
		return
	}
	oneOf(c, w, "direction", r.Direction, directions)
	oneOf(c, w, "ethertype", r.EtherType, etherTypes)
	if r.RemoteGroup != "" {
		refer[*SecurityGroup](c, w, "remote_group", KindSecurityGroup, r.RemoteGroup)
	}
	if r.RemoteAddressGroup != "" {
		refer[*AddressGroup](c, w, "remote_address_group", KindAddressGroup, r.RemoteAddressGroup)
	}
	if r.RemotePrefix != (netip.Prefix{}) && (!r.RemotePrefix.IsValid() || r.RemotePrefix.Addr().Is4In6()) {
		c.fault(w, "remote_ip_prefix", Invalid, "remote_ip_prefix %v is no prefix of IPv4 or IPv6", r.RemotePrefix)
		return
	}
	if p, text := r.Problem(); p != RuleFine {
		c.fault(w, p.field(), Invalid, "%s", text)
		return
	}
	if first := c.first(ruleClaim(r)); first != r.ID {
		c.fault(w, "rule", Taken, "the group has this rule already: %s", c.owner(c.find(first)))
	}
}

// field is the attribute that a problem is with.
func (p RuleProblem) field() string {
	switch p {
	case RuleProtocolUnknown, RuleFamily, RuleNoProtocol, RulePortless:
		return "protocol"
	case RulePrefixFamily, RuleRemotes:
		return "remote_ip_prefix"
	}
	return "ports"
}

// ruleClaim is what no two rules of a group may have.
func ruleClaim(r *SecurityGroupRule) claim {
	return claim{what: claimRule, scope: string(r.Group) + " " + r.key()}
}

// checkQuota checks the one Quota.
func (c *checker) checkQuota(q *Quota) {
	w := at(q)
	if q.ID != QuotaID {
		c.fault(w, "id", Invalid, "there is one quota, with the id %s", QuotaID)
	}
	seen := map[string]bool{}
	for i, l := range q.Limits {
		field := indexed("limits", i)
		switch {
		case l.Resource == "" || seen[l.Resource]:
			c.fault(w, field, Invalid, "the limit of %q is there already, or names no resource", l.Resource)
		case l.Most < -1:
			c.fault(w, field, Invalid, "the limit %d of %s is less than -1, which stands for none", l.Most, l.Resource)
		}
		seen[l.Resource] = true
	}
}

// checkGroups checks the security groups of a port or of a load balancer.
func (c *checker) checkGroups(w where, groups []ID) {
	const field = "security_groups"
	if len(groups) > maxGroups {
		c.fault(w, field, Invalid, "there are more than %d security groups", maxGroups)
		return
	}
	seen := map[ID]bool{}
	var first *SecurityGroup
	for i, id := range groups {
		g, ok := refer[*SecurityGroup](c, w, indexed(field, i), KindSecurityGroup, id)
		switch {
		case !ok:
		case seen[id]:
			c.fault(w, indexed(field, i), Invalid, "security group %s is there already",
				c.nameOf(id, KindSecurityGroup))
		case first == nil:
			first = g
		case first.Stateful != g.Stateful:
			c.fault(w, field, Taken, "security groups %s and %s cannot be together: one is stateful, one is not",
				c.nameOf(first.ID, KindSecurityGroup), c.nameOf(id, KindSecurityGroup))
			return
		}
		seen[id] = true
	}
}

// checkPortGroups checks a port's security groups against its port security.
func (c *checker) checkPortGroups(w where, p *Port) {
	c.checkGroups(w, p.SecurityGroups)
	if len(p.SecurityGroups) > 0 && p.PortSecurity != nil && !*p.PortSecurity {
		c.fault(w, "port_security", Invalid, "port_security cannot be off for a port with security groups")
	}
}

// checkBalancerPort checks the port that a user has made for a load balancer's address.
func (c *checker) checkBalancerPort(w where, b *LoadBalancer) {
	c.checkGroups(w, b.SecurityGroups)
	if b.Port == "" {
		return
	}
	p, ok := refer[*Port](c, w, "port", KindPort, b.Port)
	switch {
	case !ok:
	case p.isRouters():
		c.fault(w, "port", Invalid, "port %s is one of a router", c.nameOf(p.ID, KindPort))
	case p.Network != b.Network || p.subnetOf(b.Address) == "":
		c.fault(w, "port", Invalid, "port %s does not have the address %v", c.nameOf(p.ID, KindPort), b.Address)
	default:
		for id := range c.ids(balancerAtPort, p.ID) {
			if id != b.ID && c.precedes(id, b.ID) {
				c.fault(w, "port", Taken, "port %s is already that of %s", c.nameOf(p.ID, KindPort),
					c.owner(c.find(id)))
				return
			}
		}
	}
}

// followGroup: ports may not mix groups that are stateful with groups that are not.
func (c *checker) followGroup(id ID, was, is *SecurityGroup) {
	if was == nil || is == nil || was.Stateful != is.Stateful {
		c.markAll(portInGroup, id)
		c.markAll(balancerInGroup, id)
	}
}

// followRule: of two rules that say the same, the later has the fault.
func (c *checker) followRule(rules ...*SecurityGroupRule) {
	for _, r := range rules {
		if r != nil {
			c.markClaimants(ruleClaim(r))
		}
	}
}

// uniqueIDs gives the IDs of a list, each once.
func uniqueIDs(list []ID, f func(ID)) {
	for i, id := range list {
		if !slices.Contains(list[:i], id) {
			f(id)
		}
	}
}
