package packet_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap/virtio"
)

// FuzzParsers: the fast parser and the decoder say the same of every frame that both
// accept, and so does gopacket by itself, of every field that anybody reads:
// headers, TCP segments and their options, quoted packets, ARP. Nothing panics,
// whatever is done to the packet then. fix makes the IP checksum right; vnet is the
// frame's virtio-net header, if it is as long as one.
func FuzzParsers(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, false, []byte{})
	}
	options := []layers.TCPOption{{OptionType: 1}, {OptionType: 3, OptionLength: 3, OptionData: []byte{7}},
		{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}}
	f.Add(build(f, &layers.IPv4{Protocol: layers.IPProtocolTCP},
		&layers.TCP{SrcPort: 1, DstPort: 2, SYN: true, Options: options}), true, []byte{})
	f.Add(build(f, &layers.IPv4{Protocol: layers.IPProtocolUDP, TOS: 0xb8, Id: 0x1234, TTL: 7},
		&layers.UDP{SrcPort: 1, DstPort: 2}), true, []byte{})
	f.Add(icmpError(f, optioned(f)[14:]), true, []byte{})
	message := packet.PutARP(make([]byte, packet.ARPLen), packet.MAC{2}, packet.Broadcast,
		packet.ARP{Request: true, Sender: 1, Target: 2})
	f.Add(bytes.Clone(message), false, []byte{})
	message[18] = 5 // no Ethernet address
	f.Add(message, false, []byte{})
	for _, c := range []struct {
		eth  []byte
		gso  uint8
		size int
	}{{tcp(f, 200), virtio.GSOTCPv4, 100}, {udp(f, 200), virtio.GSOUDP, 100}, {tcp(f, 50), virtio.GSONone, 0}} {
		f.Add(c.eth, false, unfinished(c.eth, c.gso, c.size))
	}
	d := new(packet.Decoder)
	var either, decodes packet.Parser
	decodes.DecodeAll = true
	f.Fuzz(func(t *testing.T, eth []byte, fix bool, vnet []byte) {
		if len(eth) > 70000 {
			return
		}
		compareARP(t, eth)
		if len(eth) >= packet.EthernetLen {
			eth[12], eth[13] = 8, 0 // that much the caller has looked at
		}
		if n := 14 + 4*int(at(eth, 14)&15); fix && len(eth) >= n && n >= 34 {
			packet.SetIPv4Checksum(eth[14:])
		}
		if len(vnet) != virtio.HeaderLen {
			vnet = nil
		}
		var fast, slow packet.Packet
		a, b := fast.Parse(eth, vnet), d.Decode(&slow, eth, vnet)
		if a == packet.FaultNone && b == packet.FaultNone && !same(&fast, &slow) {
			t.Errorf("\nfast %+v\nslow %+v", fast, slow)
		}
		if a == packet.FaultNone && b != packet.FaultNone || a != packet.FaultNone && a != packet.NeedsDecoder &&
			b == packet.FaultNone {
			t.Errorf("fast says %d, slow %d", a, b)
		}
		compareParser(t, &either, eth, vnet, &fast, a, &slow, b)
		compareParser(t, &decodes, eth, vnet, &slow, packet.NeedsDecoder, &slow, b)
		guess, plain := packet.Peek(eth)
		if a == packet.FaultNone && (fast.Proto == packet.ProtoTCP || fast.Proto == packet.ProtoUDP) && !plain {
			t.Errorf("Peek sees nothing in %+v", fast)
		}
		if a == packet.FaultNone && plain && guess != fast.Tuple {
			t.Errorf("Peek says %v, Parse %v", guess, fast.Tuple)
		}
		if b == packet.FaultNone {
			compareWithGopacket(t, &slow)
			change(&slow)
		}
	})
}

// compareParser: a Parser says what the fast parser says, but where that leaves a frame
// to the decoder.
func compareParser(t *testing.T, r *packet.Parser, eth, vnet []byte,
	fast *packet.Packet, a packet.Fault, slow *packet.Packet, b packet.Fault) {
	t.Helper()
	want, fault := fast, a
	if a == packet.NeedsDecoder {
		want, fault = slow, b
	}
	var p packet.Packet
	if got := r.Parse(&p, eth, vnet); got != fault || got == packet.FaultNone && !same(&p, want) {
		t.Errorf("decode all %t: fault %d, want %d\n got %+v\nwant %+v", r.DecodeAll, got, fault, p, want)
	}
}

func at(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

// same compares what both parsers fill in.
func same(a, b *packet.Packet) bool {
	return a.L4 == b.L4 && a.End == b.End && a.ID == b.ID && a.FragOff == b.FragOff && a.More == b.More &&
		a.DF == b.DF && a.TTL == b.TTL && a.TOS == b.TOS && a.Flags == b.Flags && a.Type == b.Type &&
		a.Code == b.Code &&
		a.Tuple == b.Tuple && a.Options == b.Options && a.Quote.Off == b.Quote.Off && a.Partial == b.Partial &&
		a.GSOSize == b.GSOSize
}

// compareWithGopacket: what gopacket makes of the frame by itself is no different.
func compareWithGopacket(t *testing.T, p *packet.Packet) {
	t.Helper()
	g := gopacket.NewPacket(p.Eth[:p.End], layers.LayerTypeEthernet, gopacket.NoCopy)
	ip, _ := g.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if ip == nil {
		t.Fatalf("gopacket sees no IPv4 in %+v: %v", p, g.ErrorLayer())
	}
	compareIP(t, ip, p.L4-packet.EthernetLen, p.Tuple)
	if ip.Id != p.ID || ip.TOS != p.TOS || ip.TTL != p.TTL || ip.FragOffset*8 != p.FragOff ||
		ip.Flags&layers.IPv4DontFragment != 0 != p.DF || ip.Flags&layers.IPv4MoreFragments != 0 != p.More ||
		ip.IHL > 5 != p.Options {
		t.Errorf("%+v\ngopacket says %+v", p, ip)
	}
	if p.Fragmented() {
		return
	}
	switch l := transport(p.Proto, ip.Payload).(type) {
	case *layers.TCP:
		comparePorts(t, p.Tuple, uint16(l.SrcPort), uint16(l.DstPort))
		compareSegment(t, p, l)
	case *layers.UDP:
		comparePorts(t, p.Tuple, uint16(l.SrcPort), uint16(l.DstPort))
	case *layers.ICMPv4:
		compareICMP(t, p, l)
	}
}

// transport is what gopacket makes of a transport header, nil if it refuses it.
func transport(proto uint8, b []byte) gopacket.DecodingLayer {
	layer := map[uint8]gopacket.DecodingLayer{
		packet.ProtoTCP: &layers.TCP{}, packet.ProtoUDP: &layers.UDP{}, packet.ProtoICMP: &layers.ICMPv4{},
	}[proto]
	if layer == nil || layer.DecodeFromBytes(b, gopacket.NilDecodeFeedback) != nil {
		return nil
	}
	return layer
}

func compareIP(t *testing.T, ip *layers.IPv4, header int, tuple packet.Tuple) {
	t.Helper()
	if int(ip.IHL)*4 != header || uint8(ip.Protocol) != tuple.Proto ||
		packet.Addr(binary.BigEndian.Uint32(ip.SrcIP)) != tuple.Src ||
		packet.Addr(binary.BigEndian.Uint32(ip.DstIP)) != tuple.Dst {
		t.Errorf("%v, header of %d bytes; gopacket says %+v", tuple, header, ip)
	}
}

func comparePorts(t *testing.T, tuple packet.Tuple, src, dst uint16) {
	t.Helper()
	if src != tuple.SrcPort || dst != tuple.DstPort {
		t.Errorf("%v; gopacket says ports %d, %d", tuple, src, dst)
	}
}

// compareSegment compares what connections are followed by. gopacket accepts only
// segments whose options it can read.
func compareSegment(t *testing.T, p *packet.Packet, l *layers.TCP) {
	t.Helper()
	var got packet.Segment
	p.ReadSegment(&got)
	want := packet.Segment{Seq: l.Seq, Ack: l.Ack, Window: l.Window, Len: uint32(len(l.Payload)), Flags: p.Flags}
	if l.SYN {
		want.Len++
		for _, o := range l.Options {
			if o.OptionType == layers.TCPOptionKindWindowScale {
				if len(o.OptionData) == 1 {
					want.Scale, want.Scaled = o.OptionData[0], true
				}
				break
			}
		}
	}
	if l.FIN {
		want.Len++
	}
	flags := uint8(0)
	for i, on := range []bool{l.FIN, l.SYN, l.RST, l.PSH, l.ACK, l.URG, l.ECE, l.CWR} {
		if on {
			flags |= 1 << i
		}
	}
	if got != want || flags != p.Flags {
		t.Errorf("%+v\ngopacket says %+v, flags %x", got, want, flags)
	}
}

func compareICMP(t *testing.T, p *packet.Packet, l *layers.ICMPv4) {
	t.Helper()
	if l.TypeCode.Type() != p.Type || l.TypeCode.Code() != p.Code {
		t.Errorf("type %d, code %d; gopacket says %v", p.Type, p.Code, l.TypeCode)
	}
	switch {
	case p.Type == packet.ICMPEcho:
		comparePorts(t, p.Tuple, l.Id, 0)
	case p.Type == packet.ICMPEchoReply:
		comparePorts(t, p.Tuple, 0, l.Id)
	case p.IsICMPError():
		compareQuote(t, p, l.Payload)
	default:
		comparePorts(t, p.Tuple, 0, 0)
	}
}

// compareQuote compares the packet that an ICMP error quotes, as far as gopacket can
// read what has been cut.
func compareQuote(t *testing.T, p *packet.Packet, quote []byte) {
	t.Helper()
	g := gopacket.NewPacket(quote, layers.LayerTypeIPv4, gopacket.NoCopy)
	ip, _ := g.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if ip == nil {
		t.Fatalf("gopacket sees no IPv4 in the quote of %+v: %v", p, g.ErrorLayer())
	}
	q := &p.Quote
	compareIP(t, ip, q.L4-q.Off, q.Tuple)
	if q.FragOff != ip.FragOffset*8 {
		t.Errorf("the quote's offset is %d; gopacket says %d", q.FragOff, ip.FragOffset*8)
	}
	if q.FragOff != 0 || !q.HasPort {
		return
	}
	switch l := transport(q.Proto, ip.Payload).(type) {
	case *layers.TCP:
		comparePorts(t, q.Tuple, uint16(l.SrcPort), uint16(l.DstPort))
	case *layers.UDP:
		comparePorts(t, q.Tuple, uint16(l.SrcPort), uint16(l.DstPort))
	case *layers.ICMPv4:
		if l.TypeCode.Type() == packet.ICMPEcho {
			comparePorts(t, q.Tuple, l.Id, 0)
		} else {
			comparePorts(t, q.Tuple, 0, l.Id)
		}
	}
}

// compareARP: DecodeARP accepts what RFC 826 says of IPv4 over Ethernet and nothing
// else. It reads the fields as they are, and PutARP writes the same bytes again.
func compareARP(t *testing.T, frame []byte) {
	t.Helper()
	eth := bytes.Clone(frame)
	if len(eth) >= packet.EthernetLen {
		binary.BigEndian.PutUint16(eth[12:], packet.EtherTypeARP)
	}
	m, ok := packet.DecodeARP(eth)
	right := len(eth) >= packet.ARPLen && bytes.Equal(eth[14:21], []byte{0, 1, 8, 0, 6, 4, 0}) &&
		(eth[21] == 1 || eth[21] == 2)
	if ok != right {
		t.Errorf("DecodeARP accepts %t: %x", ok, eth)
	}
	if !ok {
		return
	}
	again := packet.PutARP(make([]byte, packet.ARPLen), packet.MAC(eth[6:12]), packet.MAC(eth[:6]), m)
	if !bytes.Equal(again, eth[:packet.ARPLen]) {
		t.Errorf("PutARP writes %x, DecodeARP has read %x", again, eth[:packet.ARPLen])
	}
	g, _ := gopacket.NewPacket(eth, layers.LayerTypeEthernet, gopacket.NoCopy).Layer(layers.LayerTypeARP).(*layers.ARP)
	if g == nil || packet.Addr(binary.BigEndian.Uint32(g.SourceProtAddress)) != m.Sender ||
		packet.Addr(binary.BigEndian.Uint32(g.DstProtAddress)) != m.Target ||
		packet.MAC(g.SourceHwAddress) != m.SenderMAC || packet.MAC(g.DstHwAddress) != m.TargetMAC ||
		g.Operation == layers.ARPRequest != m.Request {
		t.Errorf("%+v; gopacket says %+v", m, g)
	}
}
