package router

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// guarded is a lesson with port security on vlan101, where vm3 and vm4 have ports, and a second device there.
func guarded(t testing.TB, change ...func(*file.Topology)) (l *lesson, second *simDevice) {
	topo := tutorial()
	topo.Networks[1].PortSecurity = true
	topo.Ports = []file.Port{
		{Name: "three", Network: "vlan101", FixedIP: addr("172.16.101.3"), MAC: file.MAC{2, 0, 172, 16, 101, 3}},
		{Name: "four", Network: "vlan101", FixedIP: addr("172.16.101.4"), MAC: file.MAC{2, 0, 172, 16, 101, 4}},
	}
	for _, f := range change {
		f(topo)
	}
	l = newLessonOf(t, topo)
	return l, l.addPort("vlan101", "second")
}

// port is the State's port of a name, to be changed.
func port(d *config.Draft, name string) *config.Port {
	p := *named[*config.Port](d, config.KindPort, name)
	return &p
}

// arpOf is an ARP message in a frame to everybody.
func arpOf(src packet.MAC, m packet.ARP) []byte {
	return packet.PutARP(make([]byte, packet.ARPLen), src, packet.Broadcast, m)
}

func ip4(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// toAll sends a frame to a group address, so that every port gets it.
func toAll(eth []byte) []byte {
	eth = slices.Clone(eth)
	copy(eth, []byte{1, 0, 0x5e, 0, 0, 9})
	return eth
}

// udpFrom is a UDP packet to everybody.
func (l *lesson) udpFrom(mac packet.MAC, src string, sport, dport uint16, opts ...ipOpt) []byte {
	h := &simHost{net: "vlan101", addr: netip.MustParseAddr(src), mac: mac}
	return toAll(l.build(h, "224.0.0.9", layers.IPProtocolUDP, opts,
		&layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}, payload(20)))
}

// ip6Of is an IPv6 packet to everybody: its next header, and all that is behind its header.
func ip6Of(mac packet.MAC, src string, next uint8, rest ...byte) []byte {
	b := make([]byte, 54, 54+len(rest))
	copy(b, []byte{0x33, 0x33, 0, 0, 0, 1})
	copy(b[6:], mac[:])
	b[12], b[13], b[14], b[20], b[21] = 0x86, 0xdd, 0x60, next, 255
	binary.BigEndian.PutUint16(b[18:], uint16(len(rest)))
	a := netip.MustParseAddr(src).As16()
	copy(b[22:], a[:])
	copy(b[38:], []byte{0xff, 0x02, 15: 1})
	return append(b, rest...)
}

// A denialCase is a frame at a guarded network, and the reason why it goes no further; none: it reaches the other
// ports.
type denialCase struct {
	name   string
	frame  []byte
	reason DropReason
	passes bool
	why    string // the words about it, or some of them
}

func (l *lesson) play(device string, other *simDevice, cases []denialCase) {
	l.t.Helper()
	for _, c := range cases {
		other.out = nil
		before := l.stats()
		l.put(device, c.frame)
		after := l.stats()
		if c.passes {
			if len(other.out) == 0 {
				l.t.Errorf("%s: it does not reach the other port: %v", c.name, newDrops(before, after))
			}
			continue
		}
		if after.Drops[c.reason] != before.Drops[c.reason]+1 || len(other.out) != 0 {
			l.t.Errorf("%s: want a drop for %v and no frame on the other port, got %v and %d frames", c.name, c.reason,
				newDrops(before, after), len(other.out))
		}
		if c.why == "" {
			continue
		}
		var last PortDrop
		for _, d := range after.PortDrops {
			if d.Reason == c.reason && d.Frames > framesOf(before.PortDrops, d) {
				last = d
			}
		}
		if got := last.Why + " | " + last.Remedy; got != c.why {
			l.t.Errorf("%s: why is\n     %s\nwant %s", c.name, got, c.why)
		}
	}
}

func newDrops(before, after Stats) map[DropReason]uint64 {
	all := map[DropReason]uint64{}
	for r, n := range after.Drops {
		if n > before.Drops[r] {
			all[r] = n - before.Drops[r]
		}
	}
	return all
}

func framesOf(all []PortDrop, d PortDrop) uint64 {
	for _, o := range all {
		if o.Network == d.Network && o.Device == d.Device && o.PortID == d.PortID && o.Reason == d.Reason &&
			o.Why == d.Why {
			return o.Frames
		}
	}
	return 0
}

// What a host behind a device may say of itself is what its port says, with port security.
func TestPortSecurity(t *testing.T) {
	l, second := guarded(t)
	three, four, stranger := l.vm3.mac, l.vm4.mac, packet.MAC{2, 0, 0, 0, 0, 9}
	router := l.routerMAC("vlan101")
	arp := func(src, says packet.MAC, request bool, sender string) []byte {
		return arpOf(src, packet.ARP{
			Request: request, SenderMAC: says, Sender: ip4(sender), Target: ip4("172.16.101.9"),
		})
	}
	tagged := func(b []byte, tag ...byte) []byte { return slices.Insert(slices.Clone(b), 12, tag...) }
	fragmentOf := func(mf bool, offset uint16) ipOpt {
		return func(ip *layers.IPv4) {
			ip.FragOffset = offset
			if mf {
				ip.Flags = layers.IPv4MoreFragments
			}
		}
	}
	const off = `port_security = false of port "three"`
	l.play("vlan101", second, []denialCase{
		{name: "its own addresses", frame: l.udpFrom(three, "172.16.101.3", 1, 2), passes: true},
		{name: "again, as it is known", frame: l.udpFrom(three, "172.16.101.3", 1, 2), passes: true},
		{name: "another protocol", frame: bare(packet.Broadcast, three), passes: true},
		{name: "another's IP address", frame: l.udpFrom(three, "172.16.101.4", 1, 2), reason: DropSpoofedIP,
			why: `port "three" sends from 172.16.101.4 | ` +
				`allowed_address_pairs = [{ ip = "172.16.101.4" }] of port "three"`},
		{name: "no port's IP address", frame: l.udpFrom(three, "10.9.9.9", 1, 2), reason: DropSpoofedIP},
		{name: "the router's IP address", frame: l.udpFrom(three, "172.16.101.1", 1, 2), reason: DropSpoofedIP,
			why: `port "three" sends from 172.16.101.1, an address of the router | ` + off},
		{name: "no port's MAC address", frame: l.udpFrom(stranger, "172.16.101.3", 1, 2), reason: DropSpoofedMAC,
			why: `no port of network "vlan101" has the MAC address 02:00:00:00:00:09 | ` +
				`a port that has mac = "02:00:00:00:00:09", or port_security = false of network "vlan101"`},
		{name: "no port's MAC address, another protocol", frame: bare(packet.Broadcast, stranger),
			reason: DropSpoofedMAC},
		{name: "the router's MAC address", frame: l.udpFrom(router, "172.16.101.3", 1, 2), reason: DropSpoofedMAC,
			why: fmt.Sprintf(`the MAC address %v is the router's own | `, router)},
		{name: "another's pair, as if it had moved", frame: l.udpFrom(four, "172.16.101.4", 1, 2), passes: true},

		{name: "ARP request", frame: arp(three, three, true, "172.16.101.3"), passes: true},
		{name: "ARP reply", frame: arp(three, three, false, "172.16.101.3"), passes: true},
		{name: "ARP probe", frame: arp(three, three, true, "0.0.0.0"), passes: true},
		{name: "ARP reply from nobody", frame: arp(three, three, false, "0.0.0.0"), reason: DropSpoofedARP},
		{name: "ARP for another's address", frame: arp(three, three, false, "172.16.101.4"), reason: DropSpoofedARP,
			why: `port "three" claims by ARP 172.16.101.4 | ` +
				`allowed_address_pairs = [{ ip = "172.16.101.4" }] of port "three"`},
		{name: "ARP for the router's address", frame: arp(three, three, true, "172.16.101.1"), reason: DropSpoofedARP},
		{name: "ARP for another's MAC address", frame: arp(three, four, false, "172.16.101.4"), reason: DropSpoofedARP},
		{name: "ARP with the router's MAC address", frame: arp(three, router, false, "172.16.101.3"),
			reason: DropSpoofedARP},
		{name: "ARP that nobody can read", frame: arp(three, three, true, "172.16.101.3")[:30], reason: DropARP},

		{name: "DHCP client without an address", frame: l.udpFrom(three, "0.0.0.0", 68, 67), passes: true},
		{name: "no address, but no DHCP", frame: l.udpFrom(three, "0.0.0.0", 1, 2), reason: DropSpoofedIP,
			why: `port "three" sends from 0.0.0.0, which is for DHCP clients and ARP probes | ` + off},
		{name: "no address, a later fragment", frame: l.udpFrom(three, "0.0.0.0", 68, 67, fragmentOf(false, 3)),
			reason: DropSpoofedIP},
		{name: "DHCP client of no port", frame: l.udpFrom(stranger, "0.0.0.0", 68, 67), reason: DropSpoofedMAC},
		{name: "DHCP server", frame: l.udpFrom(three, "172.16.101.3", 67, 68), reason: DropDHCPServer,
			why: `port "three" answers as a DHCP server, from 172.16.101.3 | ` + off},
		{name: "DHCP server with another source port", frame: l.udpFrom(three, "172.16.101.3", 1067, 68),
			reason: DropDHCPServer},
		{name: "DHCP server in fragments", frame: l.udpFrom(three, "172.16.101.3", 67, 68, fragmentOf(true, 0)),
			reason: DropDHCPServer},
		{name: "DHCP server behind IP options", frame: l.udpFrom(three, "172.16.101.3", 67, 68, func(ip *layers.IPv4) {
			ip.Options = []layers.IPv4Option{{OptionType: 1, OptionLength: 1}}
		}), reason: DropDHCPServer},
		{name: "DHCP relay", frame: l.udpFrom(three, "172.16.101.3", 67, 67), passes: true},
		{name: "a later fragment", frame: l.udpFrom(three, "172.16.101.3", 67, 68, fragmentOf(false, 3)), passes: true},

		{name: "a VLAN tag", frame: tagged(l.udpFrom(three, "172.16.101.9", 1, 2), 0x81, 0, 0, 5), reason: DropVLANTag},
		{name: "two tags without a VLAN",
			frame: tagged(l.udpFrom(three, "172.16.101.9", 1, 2), 0x81, 0, 0, 0, 0x81, 0, 0, 0), reason: DropDoubleTag},
		{name: "a priority tag", frame: tagged(l.udpFrom(three, "172.16.101.9", 1, 2), 0x81, 0, 0xe0, 0),
			reason: DropSpoofedIP},
		{name: "SNAP", frame: tagged(l.udpFrom(three, "172.16.101.9", 1, 2), 0, 60, 0xaa, 0xaa, 3, 0, 0, 0),
			reason: DropEtherType},
		{name: "short IPv4", frame: l.udpFrom(three, "172.16.101.3", 1, 2)[:33], reason: DropShort},
	})
	if t.Failed() {
		return
	}
	// What was dropped has taught the switch nothing.
	l.put("second", bare(three, four))
	if n := len(l.devs["vlan101"].out); n == 0 {
		t.Error("the frame does not go where the port is")
	}
}

// IPv6 is switched. A port speaks with its own MAC address from link-local addresses and its own, and is no router.
func TestPortSecurityOfIPv6(t *testing.T) {
	l, second := guarded(t, func(topo *file.Topology) {
		topo.Ports[1].AllowedAddressPairs = []file.AddressPair{{IP: prefix("2001:db8:4::/64")}}
		topo.Ports = append(topo.Ports, file.Port{
			Name: "bare", Network: "vlan101", FixedIPs: []netip.Addr{}, MAC: file.MAC{2, 0, 0, 0, 0, 5}})
	})
	three, four, none := l.vm3.mac, l.vm4.mac, packet.MAC{2, 0, 0, 0, 0, 5}
	const local, global, icmp, udp = "fe80::3", "2001:db8:4::9", 58, 17
	fragment := func(next byte, offset uint16, more byte, rest ...byte) []byte {
		return append([]byte{next, 0, byte(offset >> 5), byte(offset<<3) | more, 0, 0, 0, 1}, rest...)
	}
	echo, advert, redirect := []byte{128, 0, 0, 0}, []byte{134, 0, 0, 0}, []byte{137, 0, 0, 0}
	answer, query := []byte{2, 35, 2, 34, 0, 8, 0, 0}, []byte{2, 34, 2, 35, 0, 8, 0, 0}
	options := func(next byte, rest ...byte) []byte { return append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, rest...) }
	l.play("vlan101", second, []denialCase{
		{name: "link-local", frame: ip6Of(three, local, icmp, echo...), passes: true},
		{name: "duplicate address detection", frame: ip6Of(three, "::", icmp, 135, 0, 0, 0), passes: true},
		{name: "MLD", frame: ip6Of(three, "::", 0, options(icmp, 143, 0, 0, 0)...), passes: true},
		{name: "from nowhere", frame: ip6Of(three, "::", udp, query...), reason: DropSpoofedIP},
		{name: "another address", frame: ip6Of(three, global, icmp, echo...), reason: DropSpoofedIP,
			why: `port "three" sends from 2001:db8:4::9 | ` +
				`allowed_address_pairs = [{ ip = "2001:db8:4::9" }] of port "three"`},
		{name: "a pair's address", frame: ip6Of(four, global, icmp, echo...), passes: true},
		{name: "a port without addresses", frame: ip6Of(none, global, icmp, echo...), passes: true},
		{name: "another MAC address", frame: ip6Of(packet.MAC{2, 9}, local, icmp, echo...), reason: DropSpoofedMAC},
		{name: "router advertisement", frame: ip6Of(three, local, icmp, advert...), reason: DropRouterAdvert,
			why: `port "three" speaks as a router, from fe80::3 | port_security = false of port "three"`},
		{name: "redirect", frame: ip6Of(three, local, icmp, redirect...), reason: DropRouterAdvert},
		{name: "router advertisement behind options",
			frame: ip6Of(three, local, 0, options(60, options(icmp, advert...)...)...), reason: DropRouterAdvert},
		{name: "router advertisement in fragments", frame: ip6Of(three, local, 44, fragment(icmp, 0, 1, advert...)...),
			reason: DropRouterAdvert},
		{name: "headers that do not end in the first fragment",
			frame: ip6Of(three, local, 44, fragment(60, 0, 1, options(icmp)...)...), reason: DropRouterAdvert},
		{name: "headers without end", frame: ip6Of(three, local, 60, slices.Repeat(options(60), 12)...),
			reason: DropRouterAdvert},
		{name: "a later fragment", frame: ip6Of(three, local, 44, fragment(icmp, 8, 0, advert...)...), passes: true},
		{name: "nothing behind the header", frame: ip6Of(three, local, 59), passes: true},
		{name: "router solicitation", frame: ip6Of(three, local, icmp, 133, 0, 0, 0), passes: true},
		{name: "DHCPv6 server", frame: ip6Of(three, local, udp, answer...), reason: DropDHCPServer},
		{name: "DHCPv6 client", frame: ip6Of(three, local, udp, query...), passes: true},
		{name: "short IPv6", frame: ip6Of(three, local, udp)[:50], reason: DropShort},
	})
}

// Pairs allow other addresses, by prefix, and other MAC addresses, as VRRP has them.
func TestAllowedAddressPairs(t *testing.T) {
	vrrp := packet.MAC{0, 0, 0x5e, 0, 1, 7}
	l, second := guarded(t, func(topo *file.Topology) {
		topo.Ports[0].AllowedAddressPairs = []file.AddressPair{
			{IP: prefix("172.16.101.64/26")}, {IP: prefix("172.16.101.80/28")}, {IP: prefix("172.16.101.200/32")},
			{IP: prefix("172.16.101.250/32"), MAC: file.MAC(vrrp)},
		}
	})
	three := l.vm3.mac
	claim := func(src, says packet.MAC, sender string) []byte {
		return arpOf(src, packet.ARP{SenderMAC: says, Sender: ip4(sender), Target: ip4("172.16.101.9")})
	}
	l.play("vlan101", second, []denialCase{
		{name: "the first of a prefix", frame: l.udpFrom(three, "172.16.101.64", 1, 2), passes: true},
		{name: "the last of a prefix", frame: l.udpFrom(three, "172.16.101.127", 1, 2), passes: true},
		{name: "before it", frame: l.udpFrom(three, "172.16.101.63", 1, 2), reason: DropSpoofedIP},
		{name: "behind it", frame: l.udpFrom(three, "172.16.101.128", 1, 2), reason: DropSpoofedIP},
		{name: "an address", frame: l.udpFrom(three, "172.16.101.200", 1, 2), passes: true},
		{name: "its own", frame: l.udpFrom(three, "172.16.101.3", 1, 2), passes: true},
		{name: "ARP of a prefix", frame: claim(three, three, "172.16.101.100"), passes: true},
		{name: "a group's MAC address", frame: l.udpFrom(vrrp, "172.16.101.250", 1, 2), passes: true},
		{name: "a group's MAC address, another IP address", frame: l.udpFrom(vrrp, "172.16.101.3", 1, 2),
			reason: DropSpoofedIP, why: `port "three" sends from 172.16.101.3 | allowed_address_pairs = ` +
				`[{ ip = "172.16.101.3", mac = "00:00:5e:00:01:07" }] of port "three"`},
		{name: "a group's IP address, its own MAC address", frame: l.udpFrom(three, "172.16.101.250", 1, 2),
			reason: DropSpoofedIP},
		{name: "ARP of a group", frame: claim(vrrp, vrrp, "172.16.101.250"), passes: true},
		{name: "ARP for a group", frame: claim(three, vrrp, "172.16.101.250"), passes: true},
		{name: "ARP for a group by another port", frame: claim(l.vm4.mac, vrrp, "172.16.101.250"),
			reason: DropSpoofedARP},
	})
}

// Without port security on the network, a port's own key has the port checked, and nothing else.
func TestPortSecurityOfOnePort(t *testing.T) {
	l, second := guarded(t, func(topo *file.Topology) {
		topo.Networks[1].PortSecurity, topo.Ports[0].PortSecurity = false, new(true)
	})
	l.play("vlan101", second, []denialCase{
		{name: "the checked port", frame: l.udpFrom(l.vm3.mac, "172.16.101.9", 1, 2), reason: DropSpoofedIP},
		{name: "another port", frame: l.udpFrom(l.vm4.mac, "172.16.101.9", 1, 2), passes: true},
		{name: "no port", frame: l.udpFrom(packet.MAC{2, 9}, "172.16.101.3", 1, 2), passes: true},
		{name: "the router's MAC address", frame: l.udpFrom(l.routerMAC("vlan101"), "172.16.101.3", 1, 2),
			reason: DropSpoofedMAC},
	})
	l, second = guarded(t, func(topo *file.Topology) { topo.Ports[0].PortSecurity = new(false) })
	l.play("vlan101", second, []denialCase{
		{name: "the port that is not checked", frame: l.udpFrom(l.vm3.mac, "172.16.101.9", 1, 2), passes: true},
		{name: "a checked port", frame: l.udpFrom(l.vm4.mac, "172.16.101.9", 1, 2), reason: DropSpoofedIP},
	})
}

// Hosts outside have no ports: on an external network, port security is about its ports alone.
func TestPortSecurityOutside(t *testing.T) {
	topo := tutorial()
	topo.Networks[2].PortSecurity = true
	topo.Ports = []file.Port{
		{Name: "out", Network: "ext_net", FixedIP: addr("10.10.10.40"), MAC: file.MAC{2, 0, 0, 0, 0, 4}},
		{Name: "none", Network: "ext_net", FixedIPs: []netip.Addr{}, MAC: file.MAC{2, 0, 0, 0, 0, 5}},
	}
	l := newLessonOf(t, topo)
	second := l.addPort("ext_net", "second")
	from := func(mac packet.MAC, src string) []byte {
		h := &simHost{net: "ext_net", addr: netip.MustParseAddr(src), mac: mac}
		return toAll(l.build(h, "224.0.0.9", layers.IPProtocolUDP, nil, udpLayer(), payload(20)))
	}
	l.play("ext_net", second, []denialCase{
		{name: "a host outside", frame: from(l.client.mac, "10.10.10.4"), passes: true},
		{name: "a port", frame: from(packet.MAC{2, 0, 0, 0, 0, 4}, "10.10.10.40"), passes: true},
		{name: "a port with another address", frame: from(packet.MAC{2, 0, 0, 0, 0, 4}, "10.10.10.41"),
			reason: DropSpoofedIP},
		{name: "a port without addresses", frame: from(packet.MAC{2, 0, 0, 0, 0, 5}, "10.10.10.41"), passes: true},
		{name: "a floating IP", frame: from(packet.MAC{2, 0, 0, 0, 0, 5}, "10.10.10.3"), reason: DropSpoofedIP},
		{name: "the router's address", frame: from(packet.MAC{2, 0, 0, 0, 0, 5}, "10.10.10.2"), reason: DropSpoofedIP},
	})
}

// A port without a MAC address lets any host have its addresses.
func TestPortWithoutMAC(t *testing.T) {
	l, second := guarded(t, func(topo *file.Topology) {
		topo.Ports[0].MAC = file.MAC{}
		topo.Ports[0].AllowedAddressPairs = []file.AddressPair{{IP: prefix("172.16.101.64/26")}}
	})
	any := packet.MAC{2, 9}
	l.play("vlan101", second, []denialCase{
		{name: "its address", frame: l.udpFrom(any, "172.16.101.3", 1, 2), passes: true},
		{name: "its pair", frame: l.udpFrom(any, "172.16.101.66", 1, 2), passes: true},
		{name: "another's address", frame: l.udpFrom(any, "172.16.101.4", 1, 2), reason: DropSpoofedIP},
		{name: "another port's MAC address", frame: l.udpFrom(l.vm4.mac, "172.16.101.3", 1, 2), reason: DropSpoofedIP},
		{name: "ARP for its address", frame: arpOf(any, packet.ARP{SenderMAC: any, Sender: ip4("172.16.101.3")}),
			passes: true},
	})
}

// A port that is tied to a device has its MAC address there, and nowhere else.
func TestPortsAreTiedToDevices(t *testing.T) {
	l, second := guarded(t)
	third := l.addPort("vlan101", "third")
	n := l.nets["vlan101"]
	mac := func(k byte) packet.MAC { return packet.MAC{2, 0, 0, 0, 1, k} }
	tied := func(k byte, device string, secured bool) *wire.BoundPort {
		return &wire.BoundPort{
			ID: wire.ID(fmt.Sprint(k)), Name: fmt.Sprint("p", k), MAC: mac(k), Device: device, Secured: secured,
			Fixed: []netip.Addr{addr(fmt.Sprintf("172.16.101.%d", 100+k))},
		}
	}
	from := func(k byte) []byte { return l.udpFrom(mac(k), fmt.Sprintf("172.16.101.%d", 100+k), 1, 2) }
	rules := n.Rules.With(&wire.PortParams{Anew: true, Strict: true, Are: []*wire.BoundPort{
		tied(1, "second", true), tied(2, "third", false), tied(3, "", true)}})
	n.Obey(rules)
	l.play("second", third, []denialCase{
		{name: "at its device", frame: from(1), passes: true},
		{name: "a port that is tied to no device", frame: from(3), passes: true},
		{name: "an open port of another device", frame: from(2), reason: DropSpoofedMAC},
	})
	l.play("third", second, []denialCase{
		{name: "at another device", frame: from(1), reason: DropSpoofedMAC,
			why: `port "p1" is tied to second, and its MAC address 02:00:00:00:01:01 comes from third | ` +
				`device = "third" of port "p1"`},
		{name: "an open port", frame: from(2), passes: true},
		{name: "no port, at the device of an open port", frame: from(9), passes: true},
	})
	// Where the network has no port security, a device that has a checked port has its ports only.
	n.Obey(rules.With(&wire.PortParams{}))
	l.play("second", third, []denialCase{
		{name: "no port, at the device of a checked port", frame: from(9), reason: DropSpoofedMAC},
		{name: "its port", frame: from(1), passes: true},
	})
	l.play("vlan101", third, []denialCase{{name: "no port, at another device", frame: from(9), passes: true}})
	// One port of a device after the other goes.
	n.Obey(rules.With(&wire.PortParams{Strict: true, Were: []*wire.BoundPort{tied(2, "third", false)}}))
	l.play("third", second, []denialCase{{name: "the open port has gone", frame: from(9), reason: DropSpoofedMAC}})
}

// A change of a port holds at once: also for what the switch has found right before.
func TestPortSecurityObeysChanges(t *testing.T) {
	l, second := guarded(t)
	spoof, own := l.udpFrom(l.vm3.mac, "172.16.101.50", 1, 2), l.udpFrom(l.vm3.mac, "172.16.101.3", 1, 2)
	refused := func(name string, frame []byte, r DropReason) {
		t.Helper()
		l.play("vlan101", second, []denialCase{{name: name, frame: frame, reason: r}})
	}
	passes := func(name string, frame []byte) {
		t.Helper()
		l.play("vlan101", second, []denialCase{{name: name, frame: frame, passes: true}})
	}
	refused("before", spoof, DropSpoofedIP)
	l.change(func(d *config.Draft) {
		p := port(d, "three")
		p.AllowedAddressPairs = []config.AddressPair{{IP: prefix("172.16.101.50/32")}}
		d.Put(p)
	})
	passes("with a pair", spoof)
	l.change(func(d *config.Draft) {
		p := port(d, "three")
		p.AllowedAddressPairs = nil
		d.Put(p)
	})
	refused("without the pair", spoof, DropSpoofedIP)
	passes("its own", own)
	l.change(func(d *config.Draft) { d.Delete(port(d, "three").Ref()) })
	refused("the port has gone", own, DropSpoofedMAC)
	l.change(func(d *config.Draft) {
		n := *named[*config.Network](d, config.KindNetwork, "vlan101")
		n.PortSecurity = false
		d.Put(&n)
	})
	passes("off", own)
	passes("off", spoof)
	l.change(func(d *config.Draft) {
		n := *named[*config.Network](d, config.KindNetwork, "vlan101")
		n.PortSecurity = true
		d.Put(&n)
	})
	refused("on again", own, DropSpoofedMAC)
}

// A dynamic lease lets a host that has no port use its address. Where the network leases addresses to such hosts, they
// may ask for them.
func TestLeasesAreBindings(t *testing.T) {
	l, second := guarded(t)
	n, mac := l.nets["vlan101"], packet.MAC{2, 0, 0, 0, 7, 7}
	from := func(a string) []byte { return l.udpFrom(mac, a, 1, 2) }
	asks := l.udpFrom(mac, "0.0.0.0", 68, 67)
	l.play("vlan101", second, []denialCase{
		{name: "before", frame: from("172.16.101.77"), reason: DropSpoofedMAC},
		{name: "no DHCP here", frame: asks, reason: DropSpoofedMAC},
	})
	for _, a := range []string{"172.16.101.77", "172.16.101.77", "172.16.101.78"} { // once more is no other lease
		if !n.Bind(mac, ip4(a)) {
			t.Fatalf("the lease of %s is not taken", a)
		}
	}
	l.play("vlan101", second, []denialCase{
		{name: "with a lease", frame: from("172.16.101.77"), passes: true},
		{name: "another address", frame: from("172.16.101.79"), reason: DropSpoofedIP},
		{name: "ARP", frame: arpOf(mac, packet.ARP{SenderMAC: mac, Sender: ip4("172.16.101.77")}), passes: true},
	})
	n.Unbind(mac, ip4("172.16.101.77"))
	n.Unbind(mac, ip4("172.16.101.77"))
	l.play("vlan101", second, []denialCase{
		{name: "the lease has ended", frame: from("172.16.101.77"), reason: DropSpoofedIP},
		{name: "the other one has not", frame: from("172.16.101.78"), passes: true},
	})
	n.Unbind(mac, ip4("172.16.101.78"))
	l.play("vlan101", second, []denialCase{{name: "the last", frame: from("172.16.101.78"), reason: DropSpoofedMAC}})
	taken := 0
	for k := range uint32(70_000) {
		if n.Bind(packet.MAC{2, 1, 0, byte(k >> 16), byte(k >> 8), byte(k)}, ip4("172.16.101.77")) {
			taken++
		}
	}
	if taken != 1<<16 {
		t.Errorf("%d leases, want %d", taken, 1<<16)
	}
	l, second = guarded(t, func(topo *file.Topology) { topo.Networks[1].Subnets[0].DHCP = true })
	l.play("vlan101", second, []denialCase{
		{name: "where leases are given", frame: asks, passes: true},
		{name: "only for that", frame: from("172.16.101.77"), reason: DropSpoofedMAC},
	})
}

// Only a file's network leases addresses to hosts without a port.
func TestLeasesToUnknownHosts(t *testing.T) {
	topo := tutorial()
	topo.Networks[1].Subnets[0].DHCP = true
	s := stateOf(t, topo)
	for n := range s.Networks() {
		if got := leasesToUnknown(s, n); got != (n.Name == "vlan101") {
			t.Errorf("%s: %t", n.Name, got)
		}
		c := *n
		c.Source = config.Source{Request: "req-1"}
		if leasesToUnknown(s, &c) {
			t.Errorf("%s of an API: it does", n.Name)
		}
	}
}

// Where no devices are opened, hosts come in some other way, and a tie to a device means nothing.
func TestTiesNeedDevices(t *testing.T) {
	p := &config.Port{Device: "tap:a", MAC: config.MAC{2, 1}}
	if b := boundPort(&config.Network{}, p, true); b.Device != "tap:a" {
		t.Errorf("with devices it is tied to %q", b.Device)
	}
	if b := boundPort(&config.Network{}, p, false); b.Device != "" {
		t.Errorf("without devices it is tied to %q", b.Device)
	}
}

// The list of what was dropped is bounded, and its sums do not become smaller.
func TestPortDropsAreBounded(t *testing.T) {
	l, _ := guarded(t, func(topo *file.Topology) {
		for k := range 1500 {
			topo.Ports = append(topo.Ports, file.Port{Name: fmt.Sprint("p", k), Network: "vlan101",
				FixedIPs: []netip.Addr{}, MAC: file.MAC{2, 7, 0, 0, byte(k >> 8), byte(k)}})
		}
	})
	sum := func() (frames uint64, n int) {
		all := l.stats().PortDrops
		for _, d := range all {
			frames += d.Frames
		}
		return frames, len(all)
	}
	for k := range 1500 {
		l.put("vlan101", l.udpFrom(packet.MAC{2, 7, 0, 0, byte(k >> 8), byte(k)}, "172.16.101.1", 1, 2))
		if frames, _ := sum(); k%100 == 0 && frames != uint64(k+1) {
			t.Fatalf("%d frames are counted of %d", frames, k+1)
		}
		l.advance(10_000_000)
	}
	if frames, n := sum(); frames != 1500 || n > 1025 {
		t.Errorf("%d frames in %d entries", frames, n)
	}
}

// Observers and traces say of which port a frame was, and what would let it pass.
func TestPortSecurityIsExplained(t *testing.T) {
	l, _ := guarded(t)
	var comments []string
	stop, err := l.Observe("vlan101", func(o Observation) { comments = append(comments, o.Comment()) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var trace strings.Builder
	l.Trace(&trace)
	l.put("vlan101", l.udpFrom(l.vm3.mac, "172.16.101.9", 1, 2))
	const want = `dropped at switch: spoofed-ip: port "three" sends from 172.16.101.9; it would pass with ` +
		`allowed_address_pairs = [{ ip = "172.16.101.9" }] of port "three"`
	if !slices.Equal(comments, []string{want}) || !strings.Contains(trace.String(), "  "+want+"\n") {
		t.Errorf("observed %q, traced\n%s", comments, &trace)
	}
	comments = nil
	l.put("vlan101", l.udpFrom(l.vm3.mac, "172.16.101.3", 1, 2)[:10])
	if !slices.Equal(comments, []string{"dropped at switch: runt"}) {
		t.Errorf("observed %q", comments)
	}
}
