package lb

// VIP is where clients connect.
type VIP struct {
	ID    uint32 // the caller's number for it
	Name  string
	Addr  uint32 // IPv4, host byte order
	Proto uint8  // the IP protocol number
	Port  uint16
	Pool  *Pool
}

// VIPs is a router's set of VIPs. The zero value is empty.
type VIPs struct {
	byKey  map[key]*VIP
	byAddr map[uint32]int
}

type key struct {
	addr  uint32
	port  uint16
	proto uint8
}

// Add adds a VIP, replacing one with the same address, protocol and port.
func (s *VIPs) Add(v *VIP) {
	if s.byKey == nil {
		s.byKey, s.byAddr = map[key]*VIP{}, map[uint32]int{}
	}
	k := key{v.Addr, v.Port, v.Proto}
	if s.byKey[k] == nil {
		s.byAddr[v.Addr]++
	}
	s.byKey[k] = v
}

// Find returns the VIP at an endpoint, or nil.
func (s *VIPs) Find(addr uint32, proto uint8, port uint16) *VIP {
	return s.byKey[key{addr, port, proto}]
}

// Owns reports whether any VIP has the address.
func (s *VIPs) Owns(addr uint32) bool { return s.byAddr[addr] > 0 }
