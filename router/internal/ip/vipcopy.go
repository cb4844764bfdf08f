package ip

// A VIPCopy is what only the worker of a VIP may look at.
type VIPCopy struct {
	Refused uint64
	Full    bool    // it has as many connections as it may
	Serves  bool    // a member takes connections
	Members []Usage // of the pool's, in their order
	Healthy []bool  // likewise, what their checks have found
	Leaving []RemovedMember
	All     Usage // of all present and former members
}

// A RemovedMember is a member that has been removed, with its connections that are left.
type RemovedMember struct {
	Member
	Usage
}

// Copy is made on the worker. lb has the pool's members in the order of the topology's.
func (v *VIP) Copy() VIPCopy {
	r := v.Share.Router
	c := VIPCopy{Refused: v.refused, Full: v.Limit > 0 && v.Lasting >= v.Limit, All: v.former}
	for _, m := range v.Pool.Members() {
		u := &r.Backends[v.Numbers[m.ID]].Usage
		c.Members = append(c.Members, *u)
		c.Healthy = append(c.Healthy, m.Healthy)
		c.Serves = c.Serves || v.Pool.Takes(m.ID)
		c.All.Add(u)
	}
	for _, k := range v.Leaving {
		b := &r.Backends[k]
		c.All.Add(&b.Usage)
		if b.Active > 0 {
			c.Leaving = append(c.Leaving, RemovedMember{*b.was, b.Usage})
		}
	}
	return c
}
