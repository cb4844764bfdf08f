package router

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
)

// registry is IANA's IPv4 Special-Purpose Address Registry (RFC 6890, RFC 8190 and what has been added since), in
// its own order: the first and the last address of each block, and its column "Forwardable".
var registry = []struct {
	first, last string
	forwardable bool
	why         string
}{
	{"0.0.0.0", "0.255.255.255", false, "this network, RFC 791"},
	{"10.0.0.0", "10.255.255.255", true, "RFC 1918"},
	{"100.64.0.0", "100.127.255.255", true, "RFC 6598"},
	{"127.0.0.0", "127.255.255.255", false, "loopback, RFC 1122"},
	{"169.254.0.0", "169.254.255.255", false, "link-local, RFC 3927"},
	{"172.16.0.0", "172.31.255.255", true, "RFC 1918"},
	{"192.0.0.0", "192.0.0.7", true, "IPv4 service continuity, RFC 7335"},
	{"192.0.0.8", "192.0.0.8", false, "dummy address, RFC 7600"},
	{"192.0.0.9", "192.0.0.9", true, "PCP anycast, RFC 7723"},
	{"192.0.0.10", "192.0.0.10", true, "TURN anycast, RFC 8155"},
	{"192.0.0.11", "192.0.0.169", false, "protocol assignments, RFC 6890"},
	{"192.0.0.170", "192.0.0.171", false, "NAT64 discovery, RFC 8880"},
	{"192.0.0.172", "192.0.0.255", false, "protocol assignments, RFC 6890"},
	{"192.31.196.0", "192.31.196.255", true, "AS112, RFC 7535"},
	{"192.52.193.0", "192.52.193.255", true, "AMT, RFC 7450"},
	{"192.88.99.0", "192.88.99.255", true, "6to4 relays, deprecated: RFC 7526"},
	{"192.168.0.0", "192.168.255.255", true, "RFC 1918"},
	{"192.175.48.0", "192.175.48.255", true, "AS112, RFC 7534"},
	{"198.18.0.0", "198.19.255.255", true, "benchmarking, RFC 2544"},
	{"240.0.0.0", "255.255.255.254", false, "reserved, RFC 1112"},

	// "False" in the registry. Labs use them like ordinary addresses.
	{"192.0.2.0", "192.0.2.255", true, "documentation, RFC 5737"},
	{"198.51.100.0", "198.51.100.255", true, "documentation, RFC 5737"},
	{"203.0.113.0", "203.0.113.255", true, "documentation, RFC 5737"},

	// Ordinary addresses next to the blocks.
	{"1.0.0.0", "9.255.255.255", true, "unicast"},
	{"126.0.0.0", "126.255.255.255", true, "unicast"},
	{"128.0.0.0", "169.253.255.255", true, "unicast"},
	{"169.255.0.0", "169.255.255.255", true, "unicast"},
	{"191.255.255.0", "191.255.255.255", true, "unicast"},
	{"192.0.1.0", "192.0.1.255", true, "unicast"},
	{"223.0.0.0", "223.255.255.255", true, "unicast"},
}

// The first and the last address of each block, as a source and as a destination, through plain routing
// and SNAT: only forwardable ones come out.
func TestSpecialPurposeAddresses(t *testing.T) {
	for _, snat := range []bool{true, false} {
		topo := tutorial()
		topo.Routers[0].Gateway.SNAT = snat
		topo.Routers[0].Routes = append(topo.Routers[0].Routes,
			file.Route{Destination: prefix("0.0.0.0/1"), NextHop: addr("10.10.10.1")},
			file.Route{Destination: prefix("128.0.0.0/1"), NextHop: addr("10.10.10.1")})
		for _, b := range registry {
			for _, a := range []string{b.first, b.last} {
				special := netip.MustParseAddr(a)
				t.Run(fmt.Sprintf("%t/%s/%s", snat, b.why, a), func(t *testing.T) {
					if got := ip.Forwardable(packet.AddrFrom(special)); got != b.forwardable {
						t.Fatalf("forwardable: %t, want %t", got, b.forwardable)
					}
					to := newLessonOf(t, topo)
					if special != netip.MustParseAddr("10.0.0.0") {
						to.udp(to.vm4, 4000, a, 53, "to it")
					}
					from := newLessonOf(t, topo)
					sender := *from.client
					sender.addr = special
					from.udp(&sender, 4000, "10.10.10.3", 53, "from it")
					reply := from.take("vlan101")
					if got := len(to.take("ext_net")); special != netip.MustParseAddr("10.0.0.0") &&
						(got == 1) != b.forwardable {
						t.Errorf("to it: %d packets, drops %v", got, to.stats().Drops)
					}
					if (len(reply) == 1) != b.forwardable {
						t.Errorf("from it: %d packets, drops %v", len(reply), from.stats().Drops)
					}
				})
			}
		}
	}
}

// The network of the checks must be forwarded to and from, whichever prefix it gets.
func TestCheckNetsAreForwarded(t *testing.T) {
	for _, p := range checkNets {
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			if !ip.Forwardable(packet.AddrFrom(a)) {
				t.Errorf("%v of %v is not forwarded", a, p)
			}
		}
	}
}

// The methods of a running engine refuse the same addresses.
func TestChangesToUnforwardable(t *testing.T) {
	topo := tutorial()
	topo.Networks = append(topo.Networks, file.Network{Name: "near", MTU: 1500,
		Subnets: []file.Subnet{{CIDR: prefix("169.254.1.0/24"), Gateway: addr("169.254.1.1")}}})
	r := &topo.Routers[0]
	r.Interfaces = append(r.Interfaces, file.RouterInterface{Network: "near",
		Addresses: []netip.Prefix{prefix("169.254.1.1/24")}})
	l := newLessonOf(t, topo)
	if err := l.AssociateFloatingIP(addr("10.10.10.9"), addr("169.254.1.9")); !errors.Is(err, fs.ErrInvalid) ||
		!strings.Contains(err.Error(), "169.254.1.9") {
		t.Errorf("a link-local address has a floating IP: %v", err)
	}
	member := file.Member{Address: addr("169.254.1.9"), Port: 80, Weight: 1, AdminStateUp: true}
	if err := l.AddMember("web servers", member); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a link-local member: %v", err)
	}
}

// What the router sends by a link-local interface to a host further away shows another address
// of the router.
func TestShownAddress(t *testing.T) {
	topo := tutorial()
	topo.Networks = append(topo.Networks, file.Network{Name: "near", MTU: 1500,
		Subnets: []file.Subnet{{CIDR: prefix("169.254.1.0/24")}}})
	r := &topo.Routers[0]
	r.Interfaces = append([]file.RouterInterface{{Network: "near",
		Addresses: []netip.Prefix{prefix("169.254.1.1/24")}}},
		r.Interfaces...)
	l := newLessonOf(t, topo)
	for _, c := range []struct{ network, hop, addr, want string }{
		{"near", "169.254.1.9", "192.168.9.9", "172.16.100.1"},
		{"near", "169.254.1.9", "169.254.1.9", "169.254.1.1"},
		{"vlan101", "172.16.101.9", "192.168.9.9", "172.16.101.1"},
		{"ext_net", "10.10.10.1", "8.8.8.8", "10.10.10.2"},
	} {
		i := interfaces(l.nets[c.network])[0]
		if got := i.Shows(packet.AddrFrom(addr(c.hop)),
			packet.AddrFrom(addr(c.addr))).Netip(); got != addr(c.want) {
			t.Errorf("on %s, to %s by %s: %v, want %s", c.network, c.addr, c.hop, got, c.want)
		}
	}
}
