package packet_test

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/internal/packet"
)

func TestReadSegment(t *testing.T) {
	scale := layers.TCPOption{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{9}}
	nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop}
	mss := layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}}
	for name, c := range map[string]struct {
		tcp     layers.TCP
		payload string
		more    bool
		want    packet.Segment
	}{
		"data": {layers.TCP{Seq: 1, Ack: 2, ACK: true, Window: 77}, "hello", false,
			packet.Segment{Seq: 1, Ack: 2, Len: 5, Window: 77, Flags: packet.ACK}},
		"FIN": {layers.TCP{Seq: 1, FIN: true}, "hello", false,
			packet.Segment{Seq: 1, Len: 6, Flags: packet.FIN}},
		"SYN": {layers.TCP{Seq: 1<<32 - 1, SYN: true, Options: []layers.TCPOption{mss}}, "", false,
			packet.Segment{Seq: 1<<32 - 1, Len: 1, Flags: packet.SYN}},
		"SYN and scale": {layers.TCP{SYN: true, Options: []layers.TCPOption{mss, nop, scale}}, "", false,
			packet.Segment{Len: 1, Flags: packet.SYN, Scale: 9, Scaled: true}},
		"SYN with data": {layers.TCP{SYN: true, Options: []layers.TCPOption{nop, scale}}, "abc", false,
			packet.Segment{Len: 4, Flags: packet.SYN, Scale: 9, Scaled: true}},
		"scale later": {layers.TCP{ACK: true, Options: []layers.TCPOption{nop, scale}}, "", false,
			packet.Segment{Flags: packet.ACK}},
		"fragment": {layers.TCP{ACK: true}, "123456789012", true,
			packet.Segment{Len: 12, Flags: packet.ACK, Cut: true}},
	} {
		t.Run(name, func(t *testing.T) {
			ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: []byte{10, 0, 0, 1},
				DstIP: []byte{10, 0, 0, 2}}
			if c.more {
				ip.Flags = layers.IPv4MoreFragments
			}
			if err := c.tcp.SetNetworkLayerForChecksum(ip); err != nil {
				t.Fatal(err)
			}
			b := gopacket.NewSerializeBuffer()
			eth := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6),
				EthernetType: layers.EthernetTypeIPv4}
			if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
				eth, ip, &c.tcp, gopacket.Payload(c.payload)); err != nil {
				t.Fatal(err)
			}
			var p packet.Packet
			if fault := new(packet.Parser).Parse(&p, b.Bytes(), nil); fault != packet.FaultNone {
				t.Fatal(fault)
			}
			got := packet.Segment{Seq: 9, Ack: 9, Len: 9, Window: 9, Flags: 9, Scale: 9, Scaled: true, Cut: true}
			if p.ReadSegment(&got); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if want := len(c.payload) > 0; got.Data() != want {
				t.Errorf("data: %t", got.Data())
			}
		})
	}
}
