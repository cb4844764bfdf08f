package packet_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/internal/packet"
)

// withOptions is a UDP packet with these bytes as its options, filled up to a multiple of four.
func withOptions(t testing.TB, opts []byte) []byte {
	t.Helper()
	eth := build(t, &layers.IPv4{Protocol: layers.IPProtocolUDP, TTL: 9}, &layers.UDP{SrcPort: 1, DstPort: 2},
		payload(9))
	opts = append(bytes.Clone(opts), make([]byte, (4-len(opts)%4)%4)...)
	at := packet.EthernetLen + packet.IPv4Len
	eth = append(append(bytes.Clone(eth[:at]), opts...), eth[at:]...)
	ip := eth[packet.EthernetLen:]
	ip[0] = 0x40 | byte(5+len(opts)/4)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	packet.SetIPv4Checksum(ip)
	return eth
}

// decodeOptions decodes it as the router does, and reads its options.
func decodeOptions(t testing.TB, eth []byte) (p packet.Packet, o packet.IPOptions) {
	t.Helper()
	if f := p.Parse(eth, nil); f != packet.NeedsDecoder {
		t.Fatalf("a plain packet? fault %d", f)
	}
	if f := new(packet.Decoder).Decode(&p, eth, nil); f != packet.FaultNone {
		t.Fatalf("fault %d", f)
	}
	p.ReadOptions(&o)
	return p, o
}

func unhexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a router records (RFC 791, 3.1; RFC 1812, 5.3.13): its address is 10.0.0.1, the time 01020304.
func TestRecord(t *testing.T) {
	for _, c := range []struct{ name, in, out string }{
		{"route, empty", "07 0b 04 00000000 00000000", "07 0b 08 0a000001 00000000"},
		{"route, the last", "07 0b 08 01020304 00000000", "07 0b 0c 01020304 0a000001"},
		{"route, full", "07 0b 0c 01020304 05060708", "07 0b 0c 01020304 05060708"},
		{"route, far beyond", "07 0b ff 01020304 05060708", "07 0b ff 01020304 05060708"},
		{"route without any room", "07 03 04", "07 03 04"},
		{"route at an odd place", "07 0c 05 00 00000000 00000000", "07 0c 09 00 0a000001 00000000"},
		{"the longest route", "07 27 24" + strings.Repeat("09090909", 8) + "00000000",
			"07 27 28" + strings.Repeat("09090909", 8) + "0a000001"},
		{"time", "44 0c 05 00 00000000 00000000", "44 0c 09 00 01020304 00000000"},
		{"time, the last", "44 0c 09 00 09090909 00000000", "44 0c 0d 00 09090909 01020304"},
		{"time, full", "44 0c 0d 00 09090909 09090909", "44 0c 0d 10 09090909 09090909"},
		{"time, full for the 15th", "44 08 09 e0 09090909", "44 08 09 f0 09090909"},
		{"time without any room", "44 04 05 00", "44 04 05 10"},
		{"time and overflow that has begun", "44 08 05 30 00000000", "44 08 09 30 01020304"},
		{"address and time", "44 0c 05 01 00000000 00000000", "44 0c 0d 01 0a000001 01020304"},
		{"address and time, full", "44 0c 0d 01 09090909 09090909", "44 0c 0d 11 09090909 09090909"},
		{"asked", "44 0c 05 03 0a000001 00000000", "44 0c 0d 03 0a000001 01020304"},
		{"another is asked", "44 0c 05 03 0a000002 00000000", "44 0c 05 03 0a000002 00000000"},
		{"asked next", "44 14 0d 03 09090909 09090909 0a000001 00000000",
			"44 14 15 03 09090909 09090909 0a000001 01020304"},
		{"all have answered", "44 0c 0d f3 0a000001 09090909", "44 0c 0d f3 0a000001 09090909"},
		{"flags of nobody's", "44 0c 05 02 00000000 00000000", "44 0c 05 02 00000000 00000000"},
		{"both", "01 07 07 04 00000000 44 08 05 00 00000000", "01 07 07 08 0a000001 44 08 09 00 01020304"},
		{"behind the end", "01 00 07 07 04 00000000", "01 00 07 07 04 00000000"},
		{"behind unknown ones", "5e 02 94 04 0000 07 07 04 00000000", "5e 02 94 04 0000 07 07 08 0a000001"},
		{"unknown alone", "5e 02 1e 03 ff", "5e 02 1e 03 ff"},
	} {
		want := withOptions(t, unhexed(t, c.out))
		p, o := decodeOptions(t, withOptions(t, unhexed(t, c.in)))
		if o.Malformed != 0 || o.SourceRoute {
			t.Errorf("%s: malformed at %d, source route %t", c.name, o.Malformed, o.SourceRoute)
			continue
		}
		p.Record(&o, 0x0a000001, 0x01020304, p.Asked(&o) == 0x0a000001)
		if !bytes.Equal(p.Eth, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, p.Eth[34:p.L4], want[34:p.L4])
		}
	}
}

// What no router can read, and which octet is to blame (RFC 791, 3.1; RFC 792).
func TestMalformedOptions(t *testing.T) {
	for _, c := range []struct {
		name, in string
		octet    uint8
	}{
		{"length 0", "5e 00 0000", 20},
		{"length 1", "5e 01 0000", 20},
		{"longer than the header", "5e 05 0000", 20},
		{"no length", "010101 5e", 23},
		{"behind a good one", "07 07 04 00000000 5e", 27},
		{"route without pointer", "01 07 02 00", 22},
		{"route, pointer too small", "07 07 03 00000000", 22},
		{"route, pointer 0", "07 07 00 00000000", 22},
		{"route, some room", "07 07 05 00000000", 22},
		{"route, the last byte", "07 07 07 00000000", 22},
		{"route twice", "07 07 04 00000000 07 07 04 00000000", 27},
		{"time without flags", "01 44 03 05", 22},
		{"time, pointer too small", "44 08 04 00 00000000", 22},
		{"time, some room", "44 08 06 00 00000000", 22},
		{"address and time, some room", "44 08 05 01 00000000", 22},
		{"asked, some room", "44 08 05 03 00000000", 22},
		{"time, the sixteenth without room", "44 08 09 f0 00000000", 23},
		{"time twice", "44 04 05 00 44 04 05 00", 24},
	} {
		_, o := decodeOptions(t, withOptions(t, unhexed(t, c.in)))
		if o.Malformed != c.octet {
			t.Errorf("%s: octet %d is to blame, want %d", c.name, o.Malformed, c.octet)
		}
	}
}

func TestSourceRouteAmongOptions(t *testing.T) {
	for in, want := range map[string]bool{
		"8307040a090909": true, "8907040a090909": true, "018307040a090909": true, "5e02 83070400000000": true,
		"8300": true, "07070400000000 8307040a090909": true,
		"0083070400000000": false, "94040000": false, "9404 8307": false,
	} {
		if _, o := decodeOptions(t, withOptions(t, unhexed(t, in))); o.SourceRoute != want {
			t.Errorf("%s: source route %t", in, o.SourceRoute)
		}
	}
}

// Any bytes at all: nothing outside the options changes but the checksum, which stays right.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{"070b040000000000000000", "440c05000000000000000000", "440c0503" + "0a00000100000000",
		"5e00", "44080905ffffffff"} {
		f.Add(unhexed(f, s), true)
	}
	f.Fuzz(func(t *testing.T, opts []byte, mine bool) {
		if len(opts) == 0 || len(opts) > 40 {
			return
		}
		p, o := decodeOptions(t, withOptions(t, opts))
		before := bytes.Clone(p.Eth)
		if o.Malformed != 0 {
			if o.Malformed < packet.IPv4Len || int(o.Malformed) >= p.L4-packet.EthernetLen {
				t.Fatalf("octet %d is to blame", o.Malformed)
			}
			return
		}
		p.Record(&o, 0x0a000001, 0x01020304, mine)
		if packet.Sum(p.Eth[packet.EthernetLen:p.L4]) != 0xffff {
			t.Fatalf("the checksum is wrong: %x", p.Eth)
		}
		clear(before[24:26])
		after := bytes.Clone(p.Eth)
		clear(after[24:26])
		copy(before[34:p.L4], after[34:p.L4])
		if !bytes.Equal(before, after) {
			t.Fatal("more than the options has changed")
		}
	})
}

// Fragments keep the flag that has no meaning (RFC 1812, 5.2.5), and only the first one has the
// options that record (RFC 791, 3.1).
func TestFragmentsOfOptions(t *testing.T) {
	eth := withOptions(t, unhexed(t, "94040000 070704 00000000 00"))
	eth = append(eth, make([]byte, 100)...)
	ip := eth[packet.EthernetLen:]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[6] = 0x80
	packet.SetIPv4Checksum(ip)
	p, _ := decodeOptions(t, eth)
	var all [][]byte
	p.Fragment(80, func(n int) []byte {
		all = append(all, make([]byte, n))
		return all[len(all)-1]
	})
	if len(all) < 3 {
		t.Fatalf("%d fragments", len(all))
	}
	for i, eth := range all {
		want := unhexed(t, "94040000")
		if i == 0 {
			want = unhexed(t, "94040000 070704 00000000 00")
		}
		p := decodeFragment(t, eth)
		if got := eth[34:p.L4]; !bytes.Equal(got, want) || eth[packet.EthernetLen+6]&0x80 == 0 {
			t.Errorf("fragment %d: options %x, want %x; flags %#x", i, got, want, eth[packet.EthernetLen+6]>>5)
		}
	}
}

func decodeFragment(t testing.TB, eth []byte) (p packet.Packet) {
	t.Helper()
	if f := new(packet.Decoder).Decode(&p, eth, nil); f != packet.FaultNone {
		t.Fatalf("fault %d: %x", f, eth)
	}
	return p
}

// A quoted packet may have options, too, of any length.
func TestQuotedOptions(t *testing.T) {
	for _, opts := range []string{"070b080a0000010000000000", "5e02", "440c0900000000010000000000", "5e00"} {
		quoted := withOptions(t, unhexed(t, opts))
		eth := icmpError(t, quoted[packet.EthernetLen:])
		var p packet.Packet
		if f := new(packet.Decoder).Decode(&p, eth, nil); f != packet.FaultNone || !p.Quote.HasPort ||
			p.Quote.SrcPort != 1 ||
			p.Quote.DstPort != 2 {
			t.Errorf("%s: fault %d, quote %+v", opts, f, p.Quote)
			continue
		}
		p.TranslateError(1, 2, packet.Tuple{Src: 0x0a090909, Dst: p.Quote.Dst, SrcPort: 7, DstPort: 2,
			Proto: packet.ProtoUDP})
		again := p.Eth[p.Quote.Off:p.End]
		if n := int(again[0]&15) * 4; packet.Sum(again[:n]) != 0xffff ||
			!bytes.Equal(again[20:n], quoted[34:34+n-20]) ||
			again[n+1] != 7 {
			t.Errorf("%s: quoted as %x", opts, again)
		}
	}
}
