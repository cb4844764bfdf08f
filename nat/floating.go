package nat

import "maps"

// Static holds the address mappings that people configure: floating IPs (one
// external to one internal address, both ways) and ports forwarded from a
// floating IP. The zero value is empty. It may be read by many goroutines, and is not
// changed while it is in use: who changes something changes a Clone and swaps.
type Static struct {
	fixed    map[uint32]uint32 // floating to fixed address
	floating map[uint32]uint32 // fixed to floating address
	forwards map[extKey]Endpoint
	owned    map[uint32]bool
}

// extKey is an external endpoint.
type extKey struct {
	addr  uint32
	port  uint16
	proto uint8
}

// An Endpoint is an address and a port.
type Endpoint struct {
	Addr uint32
	Port uint16
}

// Clone returns a copy that shares nothing.
func (s *Static) Clone() *Static {
	return &Static{maps.Clone(s.fixed), maps.Clone(s.floating), maps.Clone(s.forwards), maps.Clone(s.owned)}
}

// Associate maps the floating address to the fixed one, and the other way round. A
// floating address that has another one moves. The fixed one must have no other.
func (s *Static) Associate(floating, fixed uint32) {
	s.Disassociate(floating)
	if s.fixed == nil {
		s.fixed, s.floating = map[uint32]uint32{}, map[uint32]uint32{}
	}
	s.fixed[floating] = fixed
	s.floating[fixed] = floating
	s.own(floating)
}

// Disassociate takes a floating address from the fixed one it is associated with, if
// there is one.
func (s *Static) Disassociate(floating uint32) {
	if fixed, ok := s.fixed[floating]; ok {
		delete(s.fixed, floating)
		delete(s.floating, fixed)
		delete(s.owned, floating)
	}
}

// Forward maps one port of a floating address that is not associated.
func (s *Static) Forward(floating uint32, proto uint8, port uint16, to Endpoint) {
	if s.forwards == nil {
		s.forwards = map[extKey]Endpoint{}
	}
	s.forwards[extKey{floating, port, proto}] = to
	s.own(floating)
}

func (s *Static) own(floating uint32) {
	if s.owned == nil {
		s.owned = map[uint32]bool{}
	}
	s.owned[floating] = true
}

// Owns reports whether addr is a floating address that is in use.
func (s *Static) Owns(addr uint32) bool { return s.owned[addr] }

// Fixed returns the address behind an associated floating address.
func (s *Static) Fixed(floating uint32) (uint32, bool) {
	a, ok := s.fixed[floating]
	return a, ok
}

// Floating returns the floating address of a fixed one.
func (s *Static) Floating(fixed uint32) (uint32, bool) {
	a, ok := s.floating[fixed]
	return a, ok
}

// Forwarded returns the endpoint that a port of a floating address leads to.
func (s *Static) Forwarded(floating uint32, proto uint8, port uint16) (Endpoint, bool) {
	e, ok := s.forwards[extKey{floating, port, proto}]
	return e, ok
}
