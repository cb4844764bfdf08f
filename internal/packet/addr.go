package packet

import (
	"encoding/binary"
	"net/netip"
)

// An Addr is an IPv4 address as a number in host byte order; 0 is 0.0.0.0. It is a type of its own, so that
// the addresses of a router can get another meaning in one place. That is why other packages do not convert
// between addresses and integers, but call the functions here.
type Addr uint32

// AddrFrom returns an IPv4 address as an Addr.
func AddrFrom(a netip.Addr) Addr {
	b := a.As4()
	return ReadAddr(b[:])
}

// ReadAddr reads an address from the first four bytes of b, in network byte order.
func ReadAddr(b []byte) Addr { return Addr(binary.BigEndian.Uint32(b)) }

// Put writes a to the first four bytes of b, in network byte order.
func (a Addr) Put(b []byte) { binary.BigEndian.PutUint32(b, uint32(a)) }

// Netip is the reverse of AddrFrom.
func (a Addr) Netip() netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

// Number returns a as a number for hashes. Different addresses have different numbers.
func (a Addr) Number() uint64 { return uint64(a) }
