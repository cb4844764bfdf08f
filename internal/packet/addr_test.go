package packet_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

func TestAddr(t *testing.T) {
	const a packet.Addr = 0x0a0102ff
	text, wire := netip.MustParseAddr("10.1.2.255"), []byte{10, 1, 2, 255}
	if got := packet.AddrFrom(text); got != a {
		t.Errorf("AddrFrom: %x", got)
	}
	if got := a.Netip(); got != text {
		t.Errorf("Netip: %v", got)
	}
	if got := packet.ReadAddr(append(wire, 9)); got != a {
		t.Errorf("ReadAddr: %x", got)
	}
	b := []byte{0, 0, 0, 0, 9}
	if a.Put(b); !bytes.Equal(b, append(wire, 9)) {
		t.Errorf("Put: %v", b)
	}
	if got := a.Number(); got != 0x0a0102ff {
		t.Errorf("Number: %x", got)
	}
	if none := packet.Addr(0).Netip(); none != netip.IPv4Unspecified() {
		t.Errorf("0 is %v", none)
	}
}
