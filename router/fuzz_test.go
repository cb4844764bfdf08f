package router

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// FuzzForward puts arbitrary frames, and well-formed ones with arbitrary fields, into
// routers with every kind of rule. It must not panic, every frame must get
// exactly one verdict, and what comes out must be well-formed.
func FuzzForward(f *testing.F) {
	l := newLesson(f)
	for _, h := range []*simHost{l.vm3, l.client} {
		f.Add(uint8(0), l.build(h, "10.10.10.7", 6, nil, tcpLayer()))
		f.Add(uint8(1), l.build(h, "172.16.100.11", 17, nil, udpLayer(), payload(100)))
		f.Add(uint8(2), l.build(h, "10.10.10.2", 1, nil, pingLayer(), payload(100)))
		for _, piece := range fragmentsOf(l.sim, h, "10.10.10.3", 3000, 1000) {
			f.Add(uint8(2), piece)
		}
	}
	for _, opts := range someOptions {
		eth := l.build(l.vm3, "10.10.10.4", 17, nil, udpLayer(), payload(100))
		eth = append(append(append([]byte(nil), eth[:34]...), opts...), eth[34:]...)
		eth[14] += byte(len(opts) / 4)
		binary.BigEndian.PutUint16(eth[16:], uint16(len(eth)-14))
		setChecksum(eth)
		f.Add(uint8(1), eth)
		for at := 34; at < 34+len(opts); at++ { // each octet wrong
			bad := append([]byte(nil), eth...)
			bad[at] ^= 1
			f.Add(uint8(128+1), bad)
		}
	}
	f.Fuzz(func(t *testing.T, choice uint8, b []byte) {
		topo := tutorial()
		topo.Routers[0].Gateway.SNAT = choice&32 == 0
		for i := range topo.Pools[0].Members {
			topo.Pools[0].Members[i].AdminStateUp = choice&16 == 0
		}
		l := newLessonOf(t, topo)
		if len(b) > 4000 {
			return
		}
		network := []string{"vlan100", "vlan101", "ext_net"}[choice%3]
		frame := append(make([]byte, tap.HeaderLen), b...)
		if choice&64 != 0 && len(b) > tap.HeaderLen {
			frame = append([]byte(nil), b...) // the metadata is arbitrary too
		}
		if eth := frame[tap.HeaderLen:]; choice&128 != 0 && len(eth) >= 34 {
			mac := l.routerMAC(network)
			copy(eth, mac[:])
			binary.BigEndian.PutUint16(eth[12:], packet.EtherTypeIPv4)
			setChecksum(eth)
		}
		l.putFrame(network, frame)
		l.putFrame(network, frame)
		if eth := frame[tap.HeaderLen:]; choice&8 != 0 && len(eth) >= 34 { // as if it were in pieces
			eth[21]++
			setChecksum(eth)
			l.putFrame(network, frame)
		}
		l.advance(5 * time.Second)
		for name, d := range l.devs {
			for _, out := range d.out {
				checkOut(t, l.sim, name, out)
			}
		}
	})
}

// setChecksum makes a header's checksum right, if there is a header.
func setChecksum(eth []byte) {
	if n := int(eth[14]&15) * 4; n >= 20 && 14+n <= len(eth) {
		packet.SetIPv4Checksum(eth[14:])
	}
}

// checkOut: a frame that the router has sent is well-formed. What the switch
// carries, and the payload of fragments, is the sender's.
func checkOut(t testing.TB, s *sim, network string, f tap.Frame) {
	eth := f.Ethernet()
	if packet.MAC(eth[6:12]) != s.routerMAC(network) || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 {
		return
	}
	ip := eth[14:]
	n := int(ip[0]&15) * 4
	if total := int(binary.BigEndian.Uint16(ip[2:])); total > len(ip) || n > total || packet.Sum(ip[:n]) != 0xffff {
		t.Errorf("%s: impossible header %x", network, ip)
	}
	if ip[8] == 0 {
		t.Errorf("%s: TTL 0: %x", network, ip)
	}
}
