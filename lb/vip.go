package lb

// VIP is where clients connect.
type VIP struct {
	ID    uint32 // the caller's number for it
	Name  string
	Addr  Addr
	Proto uint8 // the IP protocol number
	Port  uint16
	Pool  *Pool
}

// VIPs is a set of VIPs. It is a value that never changes: With and Without return another one, which
// shares its unchanged parts. So each call takes about a microsecond, whether there are ten VIPs or ten
// thousand, and any goroutine may read any set. The zero value is empty.
//
// It is a tree of 16 branches a node, by four bits of the endpoint's hash at each level. Of two endpoints
// the hashes differ, so a branch ends at the first node where only one VIP is left.
type VIPs struct{ root *node }

type node [16]branch

// branch is a node or a VIP, or neither.
type branch struct {
	node *node
	vip  *VIP
}

// hash is a different number for each endpoint, all bits of which look random.
func hash(addr Addr, proto uint8, port uint16) uint64 {
	return mix(addr.Number()<<24 | uint64(proto)<<16 | uint64(port))
}

func (v *VIP) hash() uint64 { return hash(v.Addr, v.Proto, v.Port) }

// Find returns the VIP at an endpoint, or nil.
func (s VIPs) Find(addr Addr, proto uint8, port uint16) *VIP {
	h := hash(addr, proto, port)
	for n := s.root; n != nil; h >>= 4 {
		b := &n[h&15]
		if v := b.vip; v != nil && v.Addr == addr && v.Proto == proto && v.Port == port {
			return v
		}
		n = b.node
	}
	return nil
}

// With returns the set with a VIP, which replaces the one at the same endpoint. The endpoint of the VIP
// must not change afterwards.
func (s VIPs) With(v *VIP) VIPs { return VIPs{s.root.with(v, 0)} }

// with returns a node with a VIP. The hash's bits below shift have led to the node.
func (n *node) with(v *VIP, shift int) *node {
	c := new(node)
	if n != nil {
		*c = *n
	}
	b := &c[v.hash()>>shift&15]
	switch other := b.vip; {
	case b.node != nil:
		b.node = b.node.with(v, shift+4)
	case other != nil && other.hash() != v.hash():
		*b = branch{node: b.node.with(other, shift+4).with(v, shift+4)}
	default:
		b.vip = v
	}
	return c
}

// Without returns the set without the VIP at an endpoint.
func (s VIPs) Without(addr Addr, proto uint8, port uint16) VIPs {
	v := s.Find(addr, proto, port)
	if v == nil {
		return s
	}
	c := s.root.without(v, 0)
	if *c == (node{}) {
		return VIPs{}
	}
	return VIPs{c}
}

// without returns a node without a VIP that it has.
func (n *node) without(v *VIP, shift int) *node {
	c := new(node)
	*c = *n
	b := &c[v.hash()>>shift&15]
	if b.node == nil {
		b.vip = nil
		return c
	}
	b.node = b.node.without(v, shift+4)
	if only := b.node.only(); only != nil {
		*b = branch{vip: only}
	}
	return c
}

// only is the VIP of a node that has nothing else, or nil.
func (n *node) only() (v *VIP) {
	for _, b := range n {
		if b.node != nil || b.vip != nil && v != nil {
			return nil
		}
		if b.vip != nil {
			v = b.vip
		}
	}
	return v
}
