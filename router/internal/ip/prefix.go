package ip

import (
	"math/bits"
	"net/netip"

	"github.com/taprouter/taprouter/internal/packet"
)

// prefixOf is the prefix of a subnet as a pair of address and mask.
type prefixOf struct{ Addr, Mask packet.Addr }

func newPrefix(p netip.Prefix) prefixOf {
	var mask packet.Addr = 0xffffffff << (32 - p.Bits())
	if p.Bits() == 0 {
		mask = 0
	}
	return prefixOf{packet.AddrFrom(p.Addr()) & mask, mask}
}

func (p prefixOf) contains(a packet.Addr) bool { return a&p.Mask == p.Addr }

// prefix is the reverse of newPrefix.
func (p prefixOf) prefix() netip.Prefix {
	return netip.PrefixFrom(p.Addr.Netip(), bits.OnesCount64(p.Mask.Number()))
}
