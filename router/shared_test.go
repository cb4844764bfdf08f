package router

import (
	"testing"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
)

// sharing is the tutorial's network with several addresses for SNAT, that of the gateway
// not among them.
func sharing() *file.Topology {
	topo := tutorial()
	topo.Routers[0].Gateway.SNATAddresses = []file.AddressRange{
		{First: addr("10.10.10.30"), Last: addr("10.10.10.31")},
		{First: addr("10.10.10.40"), Last: addr("10.10.10.40")},
	}
	return topo
}

// RFC 4787, REQ-2: whatever a host opens shows one and the same address, hosts that are
// neighbors show different ones, and answers find the way back.
func TestSharedAddressesPair(t *testing.T) {
	l := newLessonOf(t, sharing())
	shown := map[string]bool{}
	for _, from := range []*simHost{l.vm4, l.host("vlan101", "172.16.101.5"), l.host("vlan101", "172.16.101.6")} {
		l.udp(from, 4000, "10.10.10.4", 53, "first")
		own := l.one("ext_net").ip.SrcIP.String()
		if own == "10.10.10.2" || shown[own] {
			t.Errorf("%v shows %s; before it: %v", from.addr, own, shown)
		}
		shown[own] = true
		l.udp(l.client, 53, own, 4000, "answer")
		l.want(l.one("vlan101"), "udp 10.10.10.4:53 > "+from.addr.String()+":4000")
		for i, dst := range []string{"10.10.10.1", "8.8.8.8"} {
			l.tcp(from, 5000+i, dst, 80, "S")
			if got := l.one("ext_net").ip.SrcIP.String(); got != own {
				t.Errorf("%v shows %s to %s, %s to another", from.addr, got, dst, own)
			}
		}
	}
	l.udp(l.vm3, 4000, "10.10.10.4", 53, "floating IP first")
	l.want(l.one("ext_net"), "udp 10.10.10.3:4000 > 10.10.10.4:53")
}

// A shared address is the router's own in every respect: ARP, pings, silence to TCP, martians,
// hairpins, and errors about what was sent from it.
func TestSharedAddressesAreTheRouters(t *testing.T) {
	l := newLessonOf(t, sharing())
	for _, own := range []string{"10.10.10.30", "10.10.10.31", "10.10.10.40"} {
		if r := l.w.routers[0]; !r.Gateway.Interface.Owns(packet.AddrFrom(addr(own))) ||
			!r.IsLocal(packet.AddrFrom(addr(own))) {
			t.Errorf("%s is not owned", own)
		}
		l.tcp(l.client, 4000, own, 80, "S")
		l.none("ext_net")
	}
	l.dropped(DropNoMapping, 3)
	stranger := *l.client
	stranger.addr = addr("10.10.10.31")
	l.udp(&stranger, 4000, "10.10.10.3", 53, "from an address of the router's")
	l.none("vlan101")
	l.dropped(DropMartianSource, 1)
	if err := l.AssociateFloatingIP(addr("10.10.10.40"), addr("172.16.101.4")); err == nil {
		t.Error("a shared address becomes a floating IP")
	}

	vm5 := l.host("vlan101", "172.16.101.5")
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "out")
	shown4 := l.one("ext_net").ip.SrcIP.String()
	l.udp(vm5, 5000, "10.10.10.4", 53, "out")
	shown5 := l.one("ext_net").ip.SrcIP.String()
	l.udp(l.vm4, 4000, shown5, 5000, "hairpin")
	l.want(l.one("vlan101"), "udp "+shown4+":4000 > 172.16.101.5:5000")
	l.udp(vm5, 5000, shown4, 4000, "and back")
	l.want(l.one("vlan101"), "udp "+shown5+":5000 > 172.16.101.4:4000")
	if shown4 == shown5 {
		t.Errorf("both show %s", shown4)
	}
}

// Where one address has no port left, its hosts overload; those of another do not notice.
func TestSharedAddressesHaveTheirOwnPorts(t *testing.T) {
	topo := sharing()
	topo.Routers[0].NAT.PortMin, topo.Routers[0].NAT.PortMax, topo.Routers[0].NAT.HostShare = 2000, 2003, 1
	l := newLessonOf(t, topo)
	for i := range 5 {
		l.udp(l.vm4, 4000+i, "10.10.10.4", 53+i, "many")
		l.one("ext_net")
	}
	over := l.w.routers[0].NAT.Stats().Overloaded
	if over != 1 {
		t.Errorf("%d overloaded, want the fifth", over)
	}
	l.udp(l.host("vlan101", "172.16.101.5"), 2001, "10.10.10.4", 53, "other")
	if got := l.one("ext_net"); got.udp.SrcPort != 2001 {
		t.Errorf("the other address's port is %d, want 2001 as it is free", got.udp.SrcPort)
	}
	if l.w.routers[0].NAT.Stats().Overloaded != over {
		t.Error("the other address is overloaded as well")
	}
}
