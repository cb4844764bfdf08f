package nettest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/taprouter/taprouter/internal/packet"
)

// Verify recomputes every length and checksum of an Ethernet frame, and of the
// packet that an ICMP error quotes as far as it is quoted. It returns the first fault.
func Verify(eth []byte) error {
	if len(eth) < packet.EthernetLen {
		return errors.New("nettest: shorter than an Ethernet header")
	}
	var err error
	switch typ := binary.BigEndian.Uint16(eth[12:]); typ {
	case packet.EtherTypeARP:
		if _, ok := packet.DecodeARP(eth); !ok {
			err = errors.New("no ARP message for IPv4")
		}
	case packet.EtherTypeIPv4:
		err = verifyIP(eth[packet.EthernetLen:], false)
	default:
		err = fmt.Errorf("ethertype 0x%04x", typ)
	}
	if err != nil {
		return fmt.Errorf("nettest: %w", err)
	}
	return nil
}

// verifyIP checks a packet; a quoted one may be cut.
func verifyIP(b []byte, quoted bool) error {
	if len(b) < packet.IPv4Len || b[0]>>4 != 4 {
		return errors.New("no IPv4 header")
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case header < packet.IPv4Len || total < header || len(b) < header:
		return fmt.Errorf("header of %d bytes in a packet of %d", header, total)
	case len(b) < total && !quoted:
		return fmt.Errorf("says %d bytes, but there are %d", total, len(b))
	case checksum(packet.ProtoICMP, netip.Addr{}, netip.Addr{}, b[:header]) != 0:
		return errors.New("wrong IP checksum")
	}
	cut := len(b) < total
	b = b[:min(len(b), total)]
	fragment := binary.BigEndian.Uint16(b[6:])
	if fragment&0x1fff != 0 {
		return nil
	}
	return verifyTransport(b, header, cut, fragment>>13&1 == 1)
}

// verifyTransport checks the lengths of a transport header, and its checksum if
// the whole packet is there.
func verifyTransport(b []byte, header int, cut, more bool) error {
	l4, proto := b[header:], b[9]
	least, ok := map[uint8]int{packet.ProtoTCP: packet.TCPLen, packet.ProtoUDP: packet.UDPLen,
		packet.ProtoICMP: packet.ICMPLen}[proto]
	switch {
	case !ok:
		return nil
	case len(l4) < least && cut:
		return nil
	case len(l4) < least:
		return fmt.Errorf("%s header of %d bytes", packet.ProtoName(proto), len(l4))
	}
	if err := verifyLengths(l4, proto, cut, more); err != nil {
		return err
	}
	noSum := proto == packet.ProtoUDP && l4[6] == 0 && l4[7] == 0
	if !cut && !more && !noSum {
		src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		if s := checksum(proto, src, dst, l4); s != 0 && s != 0xffff {
			return fmt.Errorf("wrong %s checksum", packet.ProtoName(proto))
		}
	}
	if p := (&ipPacket{proto: proto, typ: l4[0]}); p.isError() {
		if err := verifyIP(l4[packet.ICMPLen:], true); err != nil {
			return fmt.Errorf("quoted packet: %w", err)
		}
	}
	return nil
}

func verifyLengths(l4 []byte, proto uint8, cut, more bool) error {
	switch proto {
	case packet.ProtoTCP:
		if h := int(l4[12]>>4) * 4; h < packet.TCPLen || h > len(l4) && !cut {
			return fmt.Errorf("tcp header of %d bytes in %d", h, len(l4))
		}
	case packet.ProtoUDP:
		n := int(binary.BigEndian.Uint16(l4[4:]))
		if n < packet.UDPLen || n != len(l4) && !cut && !more || n <= len(l4) && more {
			return fmt.Errorf("udp says %d bytes, but there are %d", n, len(l4))
		}
	}
	return nil
}
