package nat

import (
	"cmp"
	"slices"

	"github.com/taprouter/taprouter/internal/addrmap"
	"github.com/taprouter/taprouter/internal/packet"
)

// Static holds the address mappings that people configure: floating IPs (one external to one internal
// address, both ways) and ports forwarded from a floating IP. It is a value that never changes, so any number of
// goroutines may read it. With makes another one that shares what did not change. A nil
// *Static is empty.
type Static struct {
	floating addrmap.Map[Floating]    // by floating address
	fixed    addrmap.Map[packet.Addr] // the floating address of a fixed one
}

// Floating is what a floating address stands for: the fixed address behind it, or some ports. The zero value
// stands for nothing.
type Floating struct {
	Fixed    packet.Addr // 0: none
	Forwards []Forward   // of an address without Fixed; never changed once given to With
}

// A Forward maps one port of a floating address to an internal endpoint.
type Forward struct {
	Proto uint8
	Port  uint16
	To    Endpoint
}

// An Endpoint is an address and a port.
type Endpoint struct {
	Addr packet.Addr
	Port uint16
}

func (f Floating) empty() bool { return f.Fixed == 0 && len(f.Forwards) == 0 }

// With returns a Static in which a floating address stands for f and for nothing else; a zero f takes the address out.
// It costs a few microseconds, however many addresses there are. If several floating addresses have the same
// fixed one in between, the last one wins.
func (s *Static) With(addr packet.Addr, f Floating) *Static {
	if s == nil {
		s = &Static{}
	}
	next := *s
	if former := next.floating.Find(addr); former != nil && former.Fixed != 0 {
		if shown, _ := next.Floating(former.Fixed); shown == addr {
			next.fixed = next.fixed.Without(former.Fixed)
		}
	}
	if f.empty() {
		next.floating = next.floating.Without(addr)
		return &next
	}
	slices.SortFunc(f.Forwards, func(a, b Forward) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Port, b.Port))
	})
	next.floating = next.floating.With(addr, f)
	if f.Fixed != 0 {
		next.fixed = next.fixed.With(f.Fixed, addr)
	}
	return &next
}

// Get returns what a floating address stands for, zero if it is not in use.
func (s *Static) Get(addr packet.Addr) (f Floating) {
	if p := s.get(addr); p != nil {
		f = *p
	}
	return f
}

// Owns reports whether addr is a floating address that is in use.
func (s *Static) Owns(addr packet.Addr) bool {
	return s.get(addr) != nil
}

// Fixed returns the address behind an associated floating address.
func (s *Static) Fixed(floating packet.Addr) (packet.Addr, bool) {
	f := s.get(floating)
	if f == nil || f.Fixed == 0 {
		return 0, false
	}
	return f.Fixed, true
}

// Floating returns the floating address of a fixed one.
func (s *Static) Floating(fixed packet.Addr) (packet.Addr, bool) {
	if s == nil {
		return 0, false
	}
	floating := s.fixed.Find(fixed)
	if floating == nil {
		return 0, false
	}
	return *floating, true
}

// Forwarded returns the endpoint that a port of a floating address leads to.
func (s *Static) Forwarded(floating packet.Addr, proto uint8, port uint16) (Endpoint, bool) {
	f := s.get(floating)
	if f == nil || len(f.Forwards) == 0 {
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
func (s *Static) Each(fn func(addr packet.Addr, f Floating)) {
	if s == nil {
		return
	}
	for addr, f := range s.floating.All() {
		fn(addr, f)
	}
}

func (s *Static) get(addr packet.Addr) *Floating {
	if s == nil {
		return nil
	}
	return s.floating.Find(addr)
}
