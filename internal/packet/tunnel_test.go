package packet_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A tunnelKind is one way to have a connection in a tunnel.
type tunnelKind struct {
	name   string
	outer6 bool
	inner6 bool
	proto  byte
	head   []byte // between the IP headers
	sum    int    // where in head the checksum is, if it has one
	udp    bool   // the connection is UDP
	tags   int
}

var (
	vxlanHead  = append([]byte{0x12, 0xb5, 0x12, 0xb5, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 5, 0}, make([]byte, 14)...)
	tunnelMACs = []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
)

var tunnelKinds = []tunnelKind{
	{name: "IP in IP", proto: 4},
	{name: "6in4", proto: 41, inner6: true},
	{name: "4in6", proto: 4, outer6: true},
	{name: "6in6", proto: 41, outer6: true, inner6: true},
	{name: "GRE", proto: 47, head: []byte{0, 0, 8, 0}},
	{name: "GRE with a key", proto: 47, head: []byte{0x20, 0, 8, 0, 1, 2, 3, 4}},
	{name: "GRE with a checksum", proto: 47, head: []byte{0x80, 0, 8, 0, 0, 0, 0, 0}, sum: 4},
	{name: "VXLAN", proto: 17, head: vxlanHead},
	{name: "VXLAN with a checksum", proto: 17, head: vxlanHead, sum: 6},
	{name: "VXLAN with a checksum, over IPv6", outer6: true, inner6: true, proto: 17, head: vxlanHead, sum: 6},
	{name: "UDP in IP in IP", proto: 4, udp: true},
	{name: "UDP over IPv6 in VXLAN", proto: 17, head: vxlanHead, inner6: true, udp: true},
	{name: "with a tag", proto: 4, tags: 1},
}

func ipHeader(v6 bool, proto byte, id uint16, body []byte) []byte {
	if v6 {
		h := make([]byte, 40, 40+len(body))
		h[0], h[6], h[7] = 0x60, proto, 64
		binary.BigEndian.PutUint16(h[4:], uint16(len(body)))
		h[8], h[23], h[24], h[39] = 0xfd, 1, 0xfd, 2
		return append(h, body...)
	}
	h := make([]byte, 20, 20+len(body))
	h[0], h[8], h[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(body)))
	binary.BigEndian.PutUint16(h[4:], id)
	copy(h[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	packet.SetIPv4Checksum(h)
	return append(h, body...)
}

// pseudo is the sum of the pseudo header of what follows an IP header that ipHeader makes.
func pseudo(v6 bool, proto byte, n int) uint32 {
	if v6 {
		return 2*0xfd00 + 1 + 2 + uint32(proto) + uint32(n)
	}
	return 2*(0xc000+0x0200) + 1 + 2 + uint32(proto) + uint32(n)
}

func foldAll(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// frame makes a frame with segment number i of a payload that begins at an offset. whole: its inner checksum is left
// open.
func (k *tunnelKind) frame(i, at int, payload []byte, flags byte, whole bool) (eth []byte, h virtio.Header) {
	l4, proto, field := make([]byte, 20), byte(packet.ProtoTCP), 16
	binary.BigEndian.PutUint32(l4[4:], 0xfffffe00+uint32(at))
	l4[12], l4[13] = 5<<4, flags
	h.GSOType = virtio.GSOTCPv4
	if k.inner6 {
		h.GSOType = virtio.GSOTCPv6
	}
	if k.udp {
		l4, proto, field, h.GSOType = l4[:8], packet.ProtoUDP, 6, virtio.GSOUDP
		binary.BigEndian.PutUint16(l4[4:], uint16(8+len(payload)))
	}
	l4 = append(l4, payload...)
	sum := foldAll(pseudo(k.inner6, proto, len(l4)))
	binary.BigEndian.PutUint16(l4[field:], sum)
	if !whole {
		binary.BigEndian.PutUint16(l4[field:], ^packet.Sum(l4))
	}
	inner := ipHeader(k.inner6, proto, uint16(0xfffe+i), l4)
	b := append(bytes.Clone(k.head), inner...)
	if k.proto == packet.ProtoUDP {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		binary.BigEndian.PutUint16(b[28:], 0x0800)
	}
	switch {
	case k.sum == 0:
	case whole:
		b[k.sum] = 0xaa // whatever it is
	case k.proto == packet.ProtoUDP:
		s := uint32(packet.Sum(b)) + pseudo(k.outer6, k.proto, len(b))
		binary.BigEndian.PutUint16(b[k.sum:], ^foldAll(s))
	default:
		binary.BigEndian.PutUint16(b[k.sum:], ^packet.Sum(b))
	}
	eth = append(eth, tunnelMACs...)
	for range k.tags {
		eth = append(eth, 0x81, 0, 0, 7)
	}
	if k.outer6 {
		eth = append(eth, 0x86, 0xdd)
	} else {
		eth = append(eth, 8, 0)
	}
	eth = append(eth, ipHeader(k.outer6, k.proto, uint16(0xffff+i), b)...)
	h.Flags, h.CsumStart, h.CsumOffset = virtio.NeedsChecksum, uint16(len(eth)-len(l4)), uint16(field)
	return eth, h
}

// What a super-frame of a tunnel is cut into is what its sender would have sent without one.
func TestCutTunnelled(t *testing.T) {
	const size, segments = 1000, 5
	payload := make([]byte, segments*size-300)
	for i := range payload {
		payload[i] = byte(i * i >> 3)
	}
	for _, k := range tunnelKinds {
		t.Run(k.name, func(t *testing.T) {
			const flags = packet.CWR | packet.ACK | packet.PSH | packet.FIN
			eth, h := k.frame(0, 0, payload, flags, true)
			h.GSOSize = size
			if !packet.IsTunnelled(eth, &h) {
				t.Fatal("it is not found")
			}
			var got [][]byte
			if !packet.CutTunnelled(append(bytes.Clone(eth), "padding"...), h, func(n int) []byte {
				got = append(got, make([]byte, n))
				return got[len(got)-1]
			}) || len(got) != segments {
				t.Fatalf("%d frames", len(got))
			}
			for i, b := range got {
				f := byte(flags)
				if i > 0 {
					f &^= packet.CWR
				}
				if i < segments-1 {
					f &^= packet.PSH | packet.FIN
				}
				at := i * size
				want, _ := k.frame(i, at, payload[at:min(at+size, len(payload))], f, false)
				if !bytes.Equal(b, want) {
					t.Errorf("segment %d is\n% x\nwant\n% x", i, b[:min(len(b), 120)], want[:min(len(want), 120)])
				}
			}
		})
	}
}

// Other super-frames are left alone, and so are tunnels that cannot be cut.
func TestCutTunnelledLeaves(t *testing.T) {
	ipip := tunnelKinds[0]
	whole := func(change func(eth []byte, h *virtio.Header)) func() ([]byte, virtio.Header) {
		return func() ([]byte, virtio.Header) {
			eth, h := ipip.frame(0, 0, make([]byte, 3000), 0, true)
			h.GSOSize = 1000
			change(eth, &h)
			return eth, h
		}
	}
	none := func(int) []byte { panic("nothing is to be cut") }
	for name, build := range map[string]func() ([]byte, virtio.Header){
		"another protocol":  whole(func(eth []byte, h *virtio.Header) { eth[23] = 50 }),
		"a fragment":        whole(func(eth []byte, h *virtio.Header) { eth[20] = 0x20 }),
		"inner options":     whole(func(eth []byte, h *virtio.Header) { eth[34] = 0x46 }),
		"another inner":     whole(func(eth []byte, h *virtio.Header) { eth[34+9] = 17 }),
		"no size":           whole(func(eth []byte, h *virtio.Header) { h.GSOSize = 0 }),
		"tiny":              whole(func(eth []byte, h *virtio.Header) { h.GSOSize = 7 }),
		"another field":     whole(func(eth []byte, h *virtio.Header) { h.CsumOffset = 6 }),
		"outside":           whole(func(eth []byte, h *virtio.Header) { h.CsumStart = 3070 }),
		"a long TCP header": whole(func(eth []byte, h *virtio.Header) { eth[54+12] = 4 << 4 }),
		"longer than it is": whole(func(eth []byte, h *virtio.Header) { eth[16] = 0xff }),
		"further in":        whole(func(eth []byte, h *virtio.Header) { h.CsumStart += 20 }),
		"numbered GRE": func() ([]byte, virtio.Header) {
			k := tunnelKind{proto: 47, head: []byte{0x10, 0, 8, 0, 0, 0, 0, 1}}
			eth, h := k.frame(0, 0, make([]byte, 3000), 0, true)
			h.GSOSize = 1000
			return eth, h
		},
	} {
		eth, h := build()
		if packet.CutTunnelled(eth, h, none) {
			t.Errorf("%s: it is cut", name)
		}
	}
	plain, h := ipip.frame(0, 0, make([]byte, 3000), 0, true)
	plain = append(plain[:14:14], plain[34:]...)
	h.CsumStart, h.GSOSize = h.CsumStart-20, 1000
	if packet.IsTunnelled(plain, &h) || packet.CutTunnelled(plain, h, none) {
		t.Error("a super-frame without a tunnel is taken for one")
	}
}

// Whatever a header says, what is cut has the payload of the frame once, and nothing is read or written elsewhere.
func FuzzCutTunnelled(f *testing.F) {
	for _, k := range tunnelKinds {
		eth, h := k.frame(0, 0, make([]byte, 300), packet.ACK, true)
		h.GSOSize = 100
		b := make([]byte, virtio.HeaderLen)
		h.Put(b)
		f.Add(append(b, eth...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < virtio.HeaderLen || len(b) > 1<<16 {
			return
		}
		var h virtio.Header
		h.Parse(b)
		eth := b[virtio.HeaderLen:]
		before := fmt.Sprintf("%x", eth)
		size, n := 0, 0
		cut := packet.CutTunnelled(eth, h, func(k int) []byte {
			size += k
			n++
			return make([]byte, k)
		})
		switch {
		case fmt.Sprintf("%x", eth) != before:
			t.Error("the frame has changed")
		case cut != (n > 0):
			t.Errorf("it is cut: %v, into %d frames", cut, n)
		case n > len(eth)/8:
			t.Errorf("%d bytes become %d frames", len(eth), n)
		}
	})
}
