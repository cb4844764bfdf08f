package packet

import (
	"encoding/binary"
	"math/bits"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
)

// Sum is the folded ones-complement sum of b (RFC 1071), not complemented. Over
// data that includes a right checksum it is 0xffff.
func Sum(b []byte) uint16 { return checksum.Checksum(b, 0) }

// headerSum is Sum for the 20 bytes of a header without options.
func headerSum(ip *[IPv4Len]byte) uint16 {
	// The ones-complement sum is the same with words of any width, and in either byte order (RFC 1071, 2), as long
	// as carries come back in at the low end.
	s, carry := bits.Add64(binary.LittleEndian.Uint64(ip[:]), binary.LittleEndian.Uint64(ip[8:]), 0)
	s, carry = bits.Add64(s, uint64(binary.LittleEndian.Uint32(ip[16:])), carry)
	s += carry
	// Of a word and itself with its halves exchanged, the upper half of the sum is that of the halves, with the
	// carry.
	s += bits.RotateLeft64(s, 32)
	w := uint32(s >> 32)
	w += bits.RotateLeft32(w, 16)
	return bits.ReverseBytes16(uint16(w >> 16))
}

// fold brings the carries of a 32-bit sum back in.
func fold(s uint32) uint16 {
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// add is ones-complement addition. The carry of two numbers is one at most, and makes no other.
func add(a, b uint16) uint16 {
	s := uint32(a) + uint32(b)
	return uint16(s>>16 + s)
}

// deltaAddr is what a sum changes by when the address old becomes new
// (RFC 1624, equation 3). Deltas of several fields are joined by add, in any order.
func deltaAddr(old, new Addr) uint16 {
	return fold(uint32(^old>>16 + ^old&0xffff + new>>16 + new&0xffff))
}

// delta16 is deltaAddr for a 16-bit field.
func delta16(old, new uint16) uint16 { return add(^old, new) }

// update applies a delta to a finished checksum.
func update(sum, delta uint16) uint16 { return ^add(^sum, delta) }

// update2 is update for two deltas.
func update2(sum, a, b uint16) uint16 { return ^fold(uint32(^sum) + uint32(a) + uint32(b)) }

// ttlDelta is the delta of a TTL that goes down by one: the TTL is the high
// byte of its word.
const ttlDelta = ^uint16(0x0100)

// pseudoSum is the sum of the pseudo header (RFC 793, 768) for length bytes.
func pseudoSum(src, dst Addr, proto uint8, length int) uint16 {
	s := uint32(src>>16 + src&0xffff + dst>>16 + dst&0xffff)
	return fold(s + uint32(proto) + uint32(length))
}

// SetIPv4Checksum computes the checksum of the IP header at the start of ip.
func SetIPv4Checksum(ip []byte) {
	h := ip[:int(ip[0]&15)*4]
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^Sum(h))
}

// SetTransportChecksum computes the TCP, UDP or ICMP checksum of an IPv4 packet
// that is not a fragment and holds nothing after its payload.
func SetTransportChecksum(ip []byte) {
	n := int(ip[0]&15) * 4
	l4, proto := ip[n:], ip[9]
	var at int
	var sum uint16
	switch proto {
	case ProtoTCP:
		at = 16
	case ProtoUDP:
		at = 6
	case ProtoICMP:
		at = 2
	default:
		return
	}
	if proto != ProtoICMP {
		sum = pseudoSum(ReadAddr(ip[12:]), ReadAddr(ip[16:]), proto, len(l4))
	}
	l4[at], l4[at+1] = 0, 0
	sum = ^add(sum, Sum(l4))
	if proto == ProtoUDP && sum == 0 {
		sum = 0xffff // RFC 768: zero means that there is none
	}
	binary.BigEndian.PutUint16(l4[at:], sum)
}
