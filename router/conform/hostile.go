package conform

import (
	"encoding/binary"
	"net/netip"

	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
)

// hostileChecks are about frames that nobody should send.
func hostileChecks() []Check {
	return nil
}

func parseAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// valid is nettest's verification, but for one thing: what lies between the end of a UDP
// datagram and that of its packet is allowed (RFC 9868), and not covered by the checksum.
func valid(eth []byte) error {
	err := nettest.Verify(eth)
	if err == nil || len(eth) < packet.EthernetLen+packet.IPv4Len+packet.UDPLen {
		return err
	}
	ip := append([]byte(nil), eth[packet.EthernetLen:]...)
	header, n := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 || ip[0]>>4 != 4 || ip[9] != packet.ProtoUDP ||
		header < packet.IPv4Len || len(ip) < header+packet.UDPLen || packet.Sum(ip[:header]) != 0xffff {
		return err
	}
	udp := int(binary.BigEndian.Uint16(ip[header+4:]))
	if header+udp >= n {
		return err
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(header+udp))
	packet.SetIPv4Checksum(ip)
	return nettest.Verify(append(append([]byte(nil), eth[:packet.EthernetLen]...), ip[:header+udp]...))
}
