package ip

// A VIPCopy is a copy of the counts of a VIP, at one moment. Only the VIP's worker may look at the VIP itself.
type VIPCopy struct {
	Refused uint64          // connections that the VIP refused, or had no member for
	Full    bool            // it has as many connections as it may
	Serves  bool            // a member takes connections
	Members []Usage         // of the pool's members, in their order
	Healthy []bool          // of the pool's members, in their order: what the checks have found
	Leaving []RemovedMember // with connections
	All     Usage           // the sum of all present and former members
}

// A RemovedMember is a member that has been removed, with its connections that are left.
type RemovedMember struct {
	Member
	Usage
}

// Copy copies the counts of a VIP. It is called by the router's worker. lb has the pool's members in the order of the
// State.
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
