package nat

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"github.com/taprouter/taprouter/internal/packet"
)

// Static holds the address mappings that people configure: floating IPs (one external to one internal
// address, both ways) and ports forwarded from a floating IP. It is a value that never changes, so any number of
// goroutines may read it. With makes another one that shares what did not change. A nil
// *Static is empty.
type Static struct {
	floating *bart.Table[Floating] // by floating address
	fixed    *bart.Table[uint32]   // the floating address of a fixed one
}

// Floating is what a floating address stands for: the fixed address behind it, or some ports. The zero value
// stands for nothing.
type Floating struct {
	Fixed    uint32    // 0: none
	Forwards []Forward // of an address without Fixed; never changed once given to With
}

// A Forward maps one port of a floating address to an internal endpoint.
type Forward struct {
	Proto uint8
	Port  uint16
	To    Endpoint
}

// An Endpoint is an address and a port.
type Endpoint struct {
	Addr uint32
	Port uint16
}

func (f Floating) empty() bool { return f.Fixed == 0 && len(f.Forwards) == 0 }

// only is the prefix of one address.
func only(addr uint32) netip.Prefix { return netip.PrefixFrom(packet.ToAddr(addr), 32) }

// With returns a Static in which a floating address stands for f and for nothing else; a zero f takes the address out.
// It costs a few microseconds, however many addresses there are. If several floating addresses have the same
// fixed one in between, the last one wins.
func (s *Static) With(addr uint32, f Floating) *Static {
	if s == nil {
		s = &Static{new(bart.Table[Floating]), new(bart.Table[uint32])}
	}
	next := *s
	if former, ok := next.floating.Get(only(addr)); ok && former.Fixed != 0 {
		if shown, _ := next.Floating(former.Fixed); shown == addr {
			next.fixed = next.fixed.DeletePersist(only(former.Fixed))
		}
	}
	if f.empty() {
		next.floating = next.floating.DeletePersist(only(addr))
		return &next
	}
	slices.SortFunc(f.Forwards, func(a, b Forward) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
	})
	next.floating = next.floating.InsertPersist(only(addr), f)
	if f.Fixed != 0 {
		next.fixed = next.fixed.InsertPersist(only(f.Fixed), addr)
	}
	return &next
}

// Get returns what a floating address stands for, zero if it is not in use.
func (s *Static) Get(addr uint32) Floating {
	f, _ := s.get(addr)
	return f
}

// Owns reports whether addr is a floating address that is in use.
func (s *Static) Owns(addr uint32) bool {
	_, ok := s.get(addr)
	return ok
}

// Fixed returns the address behind an associated floating address.
func (s *Static) Fixed(floating uint32) (uint32, bool) {
	f, ok := s.get(floating)
	return f.Fixed, ok && f.Fixed != 0
}

// Floating returns the floating address of a fixed one.
func (s *Static) Floating(fixed uint32) (uint32, bool) {
	if s == nil {
		return 0, false
	}
	return s.fixed.Lookup(packet.ToAddr(fixed))
}

// Forwarded returns the endpoint that a port of a floating address leads to.
func (s *Static) Forwarded(floating uint32, proto uint8, port uint16) (Endpoint, bool) {
	f, ok := s.get(floating)
	if !ok || len(f.Forwards) == 0 {
		return Endpoint{}, false
	}
	k, found := slices.BinarySearchFunc(f.Forwards, Forward{Proto: proto, Port: port}, func(a, b Forward) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
	})
	if !found {
		return Endpoint{}, false
	}
	return f.Forwards[k].To, true
}

// Each calls fn for every floating address, in ascending order.
func (s *Static) Each(fn func(addr uint32, f Floating)) {
	if s == nil {
		return
	}
	for p, f := range s.floating.AllSorted4() {
		fn(packet.FromAddr(p.Addr()), f)
	}
}

func (s *Static) get(addr uint32) (Floating, bool) {
	if s == nil {
		return Floating{}, false
	}
	return s.floating.Lookup(packet.ToAddr(addr))
}
