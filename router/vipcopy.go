package router

// A vipCopy is what only the worker of a VIP may look at.
type vipCopy struct {
	refused uint64
	full    bool    // it has as many connections as it may
	serves  bool    // a member takes connections
	members []usage // of the pool's, in their order
	healthy []bool  // likewise, what their checks have found
	leaving []departed
	all     usage // of all present and former members
}

// A departed is a member that has been removed, with its connections that are left.
type departed struct {
	member
	usage
}

// copy is made on the worker. lb has the pool's members in the order of the topology's.
func (v *vip) copy() vipCopy {
	r := v.share.router
	c := vipCopy{refused: v.refused, full: v.limit > 0 && v.lasting >= v.limit, all: v.former}
	for _, m := range v.Pool.Members() {
		u := &r.backends[v.numbers[m.ID]].usage
		c.members = append(c.members, *u)
		c.healthy = append(c.healthy, m.Healthy)
		c.serves = c.serves || v.Pool.Takes(m.ID)
		c.all.add(u)
	}
	for _, k := range v.leaving {
		b := &r.backends[k]
		c.all.add(&b.usage)
		if b.active > 0 {
			c.leaving = append(c.leaving, departed{*b.was, b.usage})
		}
	}
	return c
}
