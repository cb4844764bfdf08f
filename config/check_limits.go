package config

import (
	"strings"
)

const (
	// maxLabelled bounds what networks have from labels, each network counted: each opens its own port on
	// each device.
	maxLabelled = 1 << 18

	// maxBackends bounds the members of all listeners. The members of a pool count once for each of its listeners: each
	// such pair of listener and member has a number, and counts the connections that the listener has given the member.
	maxBackends = 1 << 20
)

// checkLimits checks sums over all objects. They are kept with the content. The fault is the last object's that was
// put.
func (c *checker) checkLimits() {
	c.checkLimit(c.backends, maxBackends, "pool",
		"the VIPs have more than %d members, with those of a pool counted for each of its VIPs",
		KindListener, KindMember)
	c.checkLimit(c.links, maxLinks, "network",
		"the routers are connected to more than %d subnets, each counted for each router",
		KindPort, KindRouter, KindSubnet)
	c.checkLimit(c.labelled, maxLabelled, "physical_network",
		"the networks have more than %d devices from physical networks",
		KindNetwork, KindPhysicalNetwork)
	c.checkLimit(c.Count(KindSecurityGroupRule), maxRules, "rule", "the security groups have more than %d rules",
		KindSecurityGroupRule)
}

func (c *checker) checkLimit(n, most int, field, format string, kinds ...Kind) {
	if n <= most {
		return
	}
	for _, k := range kinds {
		if ids := c.inTurn(k); len(ids) > 0 {
			c.fault(at(c.find(ids[len(ids)-1].id)), field, Invalid, format, most)
			return
		}
	}
}

// checkDeleted reports what was deleted and is still needed.
func (c *checker) checkDeleted() {
	for _, r := range c.order {
		id := r.ID
		o := c.base.find(id)
		if o == nil || c.find(id) != nil {
			continue
		}
		var users []string
		n := 0
		if p, ok := o.(*Port); ok && p.DeviceOwner == OwnerGateway {
			if r := c.Router(ID(p.DeviceID)); r != nil && r.Gateway != nil && c.GatewayPort(r.ID) == nil {
				users, n = append(users, c.owner(r)), 1
			}
		}
		for _, h := range usersOf(o) {
			for user := range c.ids(h, id) {
				u := c.find(user)
				// One that was put in this Draft has its own fault: it refers to nothing.
				if c.rank[user] != 0 {
					continue
				}
				if n++; n > maxListed {
					break
				}
				users = append(users, c.describe(u)+place(u.About().Source))
			}
		}
		if n > maxListed {
			users = append(users, "others")
		}
		if n > 0 {
			what := "use it"
			if n == 1 {
				what = "uses it"
			}
			c.fault(at(o), "", InUse, "it cannot be deleted: %s %s", strings.Join(users, ", "), what)
		}
	}
}

// usersOf lists how objects that need another one refer to it.
func usersOf(o Object) []how {
	switch o.(type) {
	case *PhysicalNetwork:
		return []how{networkOf}
	case *Network:
		return []how{portOn, gatewayOn, floatingOn, balancerOn}
	case *Subnet:
		return []how{portIn}
	case *Router:
		return []how{interfaceOf, floatingOf}
	case *Pool:
		return []how{listenerUsing}
	case *LoadBalancer:
		return []how{poolOf}
	case *Port:
		return []how{balancerAtPort}
	case *AddressGroup:
		return []how{ruleFromAddresses}
	case *SecurityGroup:
		return []how{ruleFrom, portInGroup, balancerInGroup}
	}
	return nil
}
