package dhcp

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
)

// subnetOf finds the subnet with an address among some.
func subnetOf(subnets []*Subnet, a netip.Addr) *Subnet {
	for _, s := range subnets {
		if s.CIDR.Contains(a) {
			return s
		}
	}
	return nil
}

// inPool says whether an address is one that the subnet gives to clients without a port.
func (s *Subnet) inPool(a netip.Addr) bool {
	for _, r := range s.Pools {
		if r.size() > 0 && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 {
			return s.mayHave(a)
		}
	}
	return false
}

// mayHave says whether a client may have an address of the subnet: whether it is a host's, and nobody's by its place.
func (s *Subnet) mayHave(a netip.Addr) bool {
	if !isHost(a) || !s.CIDR.Contains(a) || a == s.Gateway || a == s.Server {
		return false
	}
	if s.CIDR.Bits() > 30 {
		return true
	}
	b := a.As4()
	host := uint32(1)<<(32-s.CIDR.Bits()) - 1
	n := binary.BigEndian.Uint32(b[:]) & host
	return n != 0 && n != host
}

// size is how many addresses the range has.
func (r Range) size() uint64 {
	if !r.First.Is4() || !r.Last.Is4() || r.Last.Less(r.First) {
		return 0
	}
	return uint64(number(r.Last)) - uint64(number(r.First)) + 1
}

// number is an address as a number.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// addrOf is the reverse of number.
func addrOf(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// A search is the last one that has found no free address. As long as nothing has changed, another one would not,
// either.
type search struct {
	config  *Config
	version uint64
	subnets string
}

// choose finds an address for a client without one, zero if none is free: the address that it had or asks for, or else
// the first free one from where its name leads. So a client gets the same address again, whoever else has asked
// meanwhile. Addresses that other clients had come last.
func (s *Server) choose(c *Config, subnets []*Subnet, key string, asked netip.Addr) netip.Addr {
	for _, a := range []netip.Addr{s.table.had(key), asked} {
		if sub := subnetOf(subnets, a); sub != nil && sub.inPool(a) && s.isFree(c, a) {
			return a
		}
	}
	full := search{c, s.table.version, ""}
	for _, sub := range subnets {
		full.subnets += sub.CIDR.String()
	}
	if s.full != full {
		h := fnv.New64a()
		_, _ = h.Write([]byte(key))
		for _, sub := range subnets {
			if a := s.scan(c, sub, h.Sum64()); a.IsValid() {
				return a
			}
		}
		s.full = full
	}
	// Whoever only asks must not keep the others out: the oldest offer goes.
	e := s.table.oldestOffer(func(a netip.Addr) bool {
		sub := subnetOf(subnets, a)
		return sub != nil && sub.inPool(a) && !s.isTaken(c, a)
	})
	if e == nil {
		return netip.Addr{}
	}
	return e.Address
}

// scan looks for a free address of a subnet's pools, once round from a place on.
func (s *Server) scan(c *Config, sub *Subnet, from uint64) netip.Addr {
	var size uint64
	for _, r := range sub.Pools {
		size += r.size()
	}
	if size == 0 {
		return netip.Addr{}
	}
	from %= size
	var second netip.Addr
	for _, part := range append(cut(sub.Pools, from, size), cut(sub.Pools, 0, from)...) {
		for n := uint64(part[0]); n <= uint64(part[1]); n++ {
			if word := s.table.used[uint32(n)>>6]; word == ^uint64(0) {
				n |= 63 // all of these are taken
				continue
			} else if word>>(n&63)&1 != 0 {
				continue
			}
			a := addrOf(uint32(n))
			if !sub.mayHave(a) || s.isTaken(c, a) {
				continue
			}
			if s.table.pastAddr[a] == nil {
				return a
			}
			if !second.IsValid() {
				second = a
			}
		}
	}
	return second
}

// cut lists the parts of ranges that lie one behind the other, from one place up to another one: the first and the last
// address of each, as numbers.
func cut(ranges []Range, from, to uint64) (parts [][2]uint32) {
	for _, r := range ranges {
		n := r.size()
		if n > 0 && from < n && to > 0 {
			first := number(r.First)
			parts = append(parts, [2]uint32{first + uint32(from), first + uint32(min(to, n)-1)})
		}
		from, to = from-min(from, n), to-min(to, n)
	}
	return parts
}

// isFree says whether nobody has an address.
func (s *Server) isFree(c *Config, a netip.Addr) bool {
	return s.table.byAddr[a] == nil && !s.isTaken(c, a)
}

// isTaken says whether somebody outside of the table has an address.
func (s *Server) isTaken(c *Config, a netip.Addr) bool {
	if s.table.claimed[a] > 0 || c.Taken != nil && c.Taken(a) {
		return true
	}
	for _, server := range c.Servers {
		if a == server {
			return true
		}
	}
	return false
}
