package router

import (
	"net/netip"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// Frames of a port that is out of use are dropped, with port security and without it. Others notice nothing.
func TestPortOutOfUse(t *testing.T) {
	for _, secured := range []bool{true, false} {
		l, second := guarded(t, func(topo *file.Topology) { topo.Networks[1].PortSecurity = secured })
		three, four := l.udpFrom(l.vm3.mac, "172.16.101.3", 1, 2), l.udpFrom(l.vm4.mac, "172.16.101.4", 1, 2)
		stranger := denialCase{name: "no port", frame: l.udpFrom(packet.MAC{2, 9}, "172.16.101.9", 1, 2), passes: true}
		if secured {
			stranger.passes, stranger.reason = false, DropSpoofedMAC
		}
		set := func(up bool) {
			l.change(func(d *config.Draft) {
				p := port(d, "three")
				p.AdminStateUp = up
				d.Put(p)
			})
		}
		l.play("vlan101", second, []denialCase{{name: "in use", frame: three, passes: true}, stranger})
		set(false)
		const why = `port "three" is out of use | admin_state_up = true of port "three"`
		arp := packet.ARP{Request: true, SenderMAC: l.vm3.mac, Sender: ip4("172.16.101.3"), Target: ip4("172.16.101.9")}
		l.play("vlan101", second, []denialCase{
			{name: "out of use", frame: three, reason: DropPortDown, why: why},
			{name: "with another address", frame: l.udpFrom(l.vm3.mac, "172.16.101.4", 1, 2), reason: DropPortDown},
			{name: "by ARP", frame: arpOf(l.vm3.mac, arp), reason: DropPortDown},
			{name: "by IPv6", frame: ip6Of(l.vm3.mac, "fe80::3", 59), reason: DropPortDown},
			{name: "asking for an address", frame: l.udpFrom(l.vm3.mac, "0.0.0.0", 68, 67), reason: DropPortDown},
			{name: "the other port", frame: four, passes: true},
			{name: "the other port once more", frame: four, passes: true},
			stranger,
		})
		set(true)
		l.play("vlan101", second, []denialCase{{name: "in use again", frame: three, passes: true}})
	}
}

// A port that has no MAC address is found by its device, if it is tied to one. Without port security, others may be
// behind the device of a port that has one.
func TestPortOutOfUseAtItsDevice(t *testing.T) {
	l, _ := guarded(t, func(topo *file.Topology) { topo.Networks[1].PortSecurity = false })
	third := l.addPort("vlan101", "third")
	n := l.nets["vlan101"]
	own, other := packet.MAC{2, 0, 0, 0, 1, 1}, packet.MAC{2, 0, 0, 0, 1, 2}
	from := func(mac packet.MAC) []byte { return l.udpFrom(mac, "172.16.101.101", 1, 2) }
	down := &wire.BoundPort{ID: "1", Name: "p1", MAC: own, Device: "second", Down: true,
		Fixed: []netip.Addr{addr("172.16.101.101")}, Pairs: []wire.AllowedPair{{IP: prefix("172.16.101.102/32"),
			MAC: packet.MAC{2, 0, 0, 0, 1, 3}}}}
	n.Obey(n.Rules.With(&wire.PortParams{Anew: true, Are: []*wire.BoundPort{down}}))
	l.play("second", third, []denialCase{
		{name: "its MAC address", frame: from(own), reason: DropPortDown},
		{name: "another one", frame: from(other), passes: true},
		{name: "one of a pair", frame: from(packet.MAC{2, 0, 0, 0, 1, 3}), passes: true},
	})
	any := *down
	any.MAC, any.Pairs = packet.MAC{}, nil
	rules := n.Rules.With(&wire.PortParams{Were: []*wire.BoundPort{down}, Are: []*wire.BoundPort{&any}})
	n.Obey(rules)
	l.play("second", third, []denialCase{{name: "any MAC address", frame: from(other), reason: DropPortDown,
		why: "second is the device of ports that are out of use | " +
			"admin_state_up = true of a port that is tied to second"}})
	l.play("vlan101", third, []denialCase{{name: "another device", frame: from(other), passes: true}})
	n.Obey(rules.With(&wire.PortParams{Were: []*wire.BoundPort{&any}}))
	l.play("second", third, []denialCase{{name: "the port has gone", frame: from(other), passes: true}})
	if got := n.Rules.String(); got != (&wire.PortRules{}).String() {
		t.Errorf("left: %s", got)
	}
}
