package config_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
)

func lineAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func span(first, last string) config.AddressRange {
	return config.AddressRange{First: lineAddr(first), Last: lineAddr(last)}
}

// of is the Meta of a test's object: its ID is made of its kind and name, and it comes from a line of a file.
func of(k config.Kind, name string, line int) config.Meta {
	return config.Meta{ID: config.NameID(k, name), Name: name, Source: config.Source{File: "lab.toml", Line: line}}
}

// nameless is of without a name.
func nameless(k config.Kind, key string, line int) config.Meta {
	m := of(k, key, line)
	m.Name = ""
	return m
}

func kid(k config.Kind, name string) config.ID { return config.NameID(k, name) }

// cloud is one object of every kind, as a file may declare them.
func cloud() []config.Object {
	ext, net, other := kid(config.KindNetwork, "ext_net"), kid(config.KindNetwork, "vlan100"),
		kid(config.KindNetwork, "vlan101")
	router, pool := kid(config.KindRouter, "r1"), kid(config.KindPool, "web")
	on := true
	low, high := uint16(80), uint16(443)
	web, lan := kid(config.KindSecurityGroup, "web"), kid(config.KindAddressGroup, "lan")
	nat := config.DefaultSettings().NAT
	return []config.Object{
		&config.Settings{Meta: config.Meta{ID: config.SettingsID}, NAT: nat, Engine: config.Engine{Workers: 1}},
		&config.PhysicalNetwork{Meta: of(config.KindPhysicalNetwork, "lab", 1),
			Devices: []config.Device{{Kind: config.DeviceTAP, Name: "tap7"}}},
		&config.Network{Meta: of(config.KindNetwork, "ext_net", 2), AdminStateUp: true, External: true},
		&config.Network{Meta: of(config.KindNetwork, "vlan100", 3), AdminStateUp: true,
			Devices: []config.Device{{Kind: config.DeviceUnix, Path: "/run/vm"}, {Kind: config.DeviceRaw,
				Name: "eth1"}}},
		&config.Network{Meta: of(config.KindNetwork, "vlan101", 4), AdminStateUp: true, VLAN: 101,
			PhysicalNetwork: kid(config.KindPhysicalNetwork, "lab")},
		&config.Subnet{Meta: nameless(config.KindSubnet, "ext", 5), Network: ext, CIDR: prefix("10.10.10.0/24"),
			Gateway: lineAddr("10.10.10.1"), AllocationPools: []config.AddressRange{span("10.10.10.2", "10.10.10.21")}},
		&config.Subnet{Meta: nameless(config.KindSubnet, "100", 6), Network: net, CIDR: prefix("172.16.100.0/24"),
			Gateway: lineAddr("172.16.100.1"), DHCP: true, DNSNameservers: []netip.Addr{lineAddr("172.16.100.53"),
				lineAddr("172.16.100.54")},
			HostRoutes: []config.Route{{Destination: prefix("192.168.20.0/24"), NextHop: lineAddr("172.16.100.254")}}},
		&config.Subnet{Meta: nameless(config.KindSubnet, "101", 7), Network: other, CIDR: prefix("172.16.101.0/24"),
			Gateway: lineAddr("172.16.101.1")},
		&config.Router{Meta: of(config.KindRouter, "r1", 8), AdminStateUp: true,
			Gateway: &config.Gateway{Network: ext, SNAT: true,
				SNATAddresses: []config.AddressRange{span("10.10.10.30", "10.10.10.31")}},
			Routes: []config.Route{{Destination: prefix("192.168.10.0/24"), NextHop: lineAddr("172.16.100.254")}},
			NAT: config.NAT{Filtering: "endpoint-independent", PortMin: 2000, PortMax: 60000, MSSClamp: &on,
				NoSNAT: []netip.Prefix{prefix("10.20.0.0/16")}}},
		&config.Port{Meta: nameless(config.KindPort, "i100", 8), Network: net, AdminStateUp: true,
			DeviceOwner: config.OwnerInterface,
			DeviceID:    string(router), FixedIPs: []config.FixedIP{{Subnet: kid(config.KindSubnet, "100"),
				Address: lineAddr("172.16.100.1")}}},
		&config.Port{Meta: nameless(config.KindPort, "i101", 8), Network: other, AdminStateUp: true,
			DeviceOwner: config.OwnerInterface,
			DeviceID:    string(router), FixedIPs: []config.FixedIP{{Subnet: kid(config.KindSubnet, "101"),
				Address: lineAddr("172.16.101.1")}}},
		&config.Port{Meta: nameless(config.KindPort, "gw", 8), Network: ext, AdminStateUp: true,
			DeviceOwner: config.OwnerGateway,
			DeviceID:    string(router), FixedIPs: []config.FixedIP{{Subnet: kid(config.KindSubnet, "ext"),
				Address: lineAddr("10.10.10.2")}}},
		&config.Port{Meta: of(config.KindPort, "vm3", 9), Network: other, AdminStateUp: true,
			MAC: config.MAC{0xfa, 0x16, 0x3e, 0xaa, 0xbb, 3},
			FixedIPs: []config.FixedIP{{Subnet: kid(config.KindSubnet, "101"),
				Address: lineAddr("172.16.101.3")}},
			AllowedAddressPairs: []config.AddressPair{{IP: prefix("172.16.101.128/25"), MAC: config.MAC{0xfa,
				0x16, 0x3e, 0xaa, 0xbb, 3}}},
			Extra: &config.PortExtra{HostID: "host", DHCPOptions: []config.DHCPOption{{Name: "mtu", Value: "1400",
				IPVersion: 4}}}},
		&config.FloatingIP{Meta: nameless(config.KindFloatingIP, "3", 10), Network: ext,
			Address: lineAddr("10.10.10.3"),
			FixedIP: lineAddr("172.16.101.3"), Router: router},
		&config.FloatingIP{Meta: nameless(config.KindFloatingIP, "5", 11), Network: ext,
			Address: lineAddr("10.10.10.5"), Router: router},
		&config.PortForwarding{Meta: nameless(config.KindPortForwarding, "ssh", 12),
			FloatingIP: kid(config.KindFloatingIP, "5"),
			Protocol:   config.TCP, ExternalPort: 2222, FixedIP: lineAddr("172.16.101.4"), Port: 22},
		&config.Pool{Meta: of(config.KindPool, "web", 13), AdminStateUp: true, Protocol: config.TCP,
			SessionPersistence: &config.SessionPersistence{}},
		&config.Monitor{Meta: nameless(config.KindMonitor, "web", 14), Pool: pool, AdminStateUp: true, Type: "HTTP"},
		&config.Member{Meta: of(config.KindMember, "WEB1", 15), Pool: pool, Address: lineAddr("172.16.100.9"),
			Port: 80, Weight: 1, AdminStateUp: true},
		&config.Member{Meta: nameless(config.KindMember, "WEB2", 16), Pool: pool,
			Address: lineAddr("172.16.100.10"), Port: 80, Weight: 1,
			AdminStateUp: true},
		&config.LoadBalancer{Meta: nameless(config.KindLoadBalancer, "11", 17), Network: net,
			Address: lineAddr("172.16.100.11"),
			Router:  router, AdminStateUp: true},
		&config.Listener{Meta: of(config.KindListener, "web-vip", 17),
			LoadBalancer: kid(config.KindLoadBalancer, "11"), Protocol: config.TCP,
			Port: 80, Pool: pool, ConnectionLimit: 100, IdleTimeout: time.Minute,
			AllowedCIDRs: []netip.Prefix{prefix("172.16.0.0/16")},
			AdminStateUp: true},
		&config.AddressGroup{Meta: of(config.KindAddressGroup, "lan", 18),
			Addresses: []netip.Prefix{prefix("172.16.0.0/16"), prefix("fd00::/8")}},
		&config.SecurityGroup{Meta: of(config.KindSecurityGroup, "web", 19), Stateful: true},
		&config.SecurityGroupRule{Meta: nameless(config.KindSecurityGroupRule, "web", 20), Group: web,
			Direction: config.Ingress, Protocol: "tcp", PortMin: &low, PortMax: &high, RemoteAddressGroup: lan},
		&config.Port{Meta: of(config.KindPort, "web1", 21), Network: net,
			MAC:          config.MAC{0xfa, 0x16, 0x3e, 0xaa, 0xbb, 9},
			AdminStateUp: true, SecurityGroups: []config.ID{web}},
		&config.Quota{Meta: config.Meta{ID: config.QuotaID},
			Limits: []config.Limit{{Resource: "port", Most: 50}}},
	}
}

func cloudState(t *testing.T) *config.State {
	t.Helper()
	d := config.Empty().Edit()
	d.Put(cloud()...)
	return mustCheck(t, d)
}

// change edits a copy of an object and puts it.
func change[T any, P interface {
	*T
	config.Object
}](d *config.Draft, name string, edit func(P)) {
	var zero T
	id := kid(P(&zero).Ref().Kind, name)
	if name == "" {
		id = config.SettingsID
	}
	o, ok := d.Get(config.Ref{Kind: P(&zero).Ref().Kind, ID: id})
	if !ok {
		panic("no such object: " + name)
	}
	c := *o.(P)
	edit(&c)
	d.Put(P(&c))
}

func drop(d *config.Draft, k config.Kind, name string) {
	d.Delete(config.Ref{Kind: k, ID: kid(k, name)})
}

// plan is the lines of a difference, each with its effects below.
func plan(from, to *config.State) []string {
	var out []string
	for _, l := range config.Describe(from, to, config.Diff(from, to)) {
		out = append(out, l.String())
		for _, e := range l.Effects {
			out = append(out, fmt.Sprintf("%v: %s", e.Fate, e.Text))
		}
	}
	return out
}

func TestDescribe(t *testing.T) {
	base := cloudState(t)
	for name, c := range map[string]struct {
		edit func(d *config.Draft)
		want []string
	}{
		"nothing": {func(d *config.Draft) { d.Put(cloud()...) }, nil},
		"settings": {func(d *config.Draft) {
			change(d, "", func(s *config.Settings) {
				s.NAT.Mapping, s.NAT.Timeouts.UDP, s.NAT.Timeouts.TCPEstablished = "address-dependent",
					10*time.Minute, 3*time.Hour
				s.NAT.NoSNAT = []netip.Prefix{prefix("10.0.0.0/8")}
				s.Engine.Workers, s.Engine.BusyPoll = 4, time.Second
			})
		}, []string{
			`~ settings: nat.mapping endpoint-independent -> address-dependent; nat.no_snat +10.0.0.0/8; ` +
				`nat.timeouts.udp 5m -> 10m; nat.timeouts.tcp_established 2h4m -> 3h; ` +
				`engine.workers 1 -> 4, at the next start; engine.busy_poll none -> 1s`,
			`kept: connections go on as they are; new ones obey`,
			`kept: connections have the new timeouts from their next packet on`,
		}},
		"settings that are gone are the default ones": {func(d *config.Draft) {
			d.Delete(config.Ref{Kind: config.KindSettings, ID: config.SettingsID})
		}, []string{
			`~ settings: engine.workers 1 -> 0, at the next start`,
		}},
		"physical network": {func(d *config.Draft) {
			change(d, "lab",
				func(p *config.PhysicalNetwork) {
					p.Devices = []config.Device{{Kind: config.DeviceRaw,
						Name: "eth7"}}
				})
			d.Put(&config.PhysicalNetwork{Meta: of(config.KindPhysicalNetwork, "lab2", 40)})
		}, []string{
			`~ physical network "lab": devices +raw:eth7, -tap:tap7 (lab.toml:1)`,
			`kept: connections go on; what is behind a device that is gone is out of reach`,
			`+ physical network "lab2" (lab.toml:40)`,
		}},
		"network": {func(d *config.Draft) {
			change(d, "vlan100", func(n *config.Network) {
				n.MTU, n.Devices, n.Description = 9000, n.Devices[1:], "the \"first\"\n"
			})
			d.Put(&config.Network{Meta: of(config.KindNetwork, "vlan102", 12)})
			change(d, "vlan101", func(n *config.Network) { n.PhysicalNetwork, n.VLAN = "", 0 })
		}, []string{
			`~ network "vlan100": description none -> "the \"first\"\n"; mtu 1500 -> 9000; ` +
				`devices -unix:/run/vm (lab.toml:3)`,
			`kept: connections go on; their packets obey the new MTU`,
			`kept: connections go on; what is behind a device that is gone is out of reach`,
			`~ network "vlan101": vlan 101 -> none; physical_network "lab" -> none (lab.toml:4)`,
			`kept: connections go on; only frames with the new VLAN tag get in`,
			`kept: connections go on; what is behind a device that is gone is out of reach`,
			`+ network "vlan102" (lab.toml:12)`,
		}},
		"a network with an id keeps it": {func(d *config.Draft) {
			change(d, "vlan100", func(n *config.Network) { n.Name = "blue" })
		}, []string{
			`~ network "blue": name "vlan100" -> "blue" (lab.toml:3)`,
		}},
		"subnet": {func(d *config.Draft) {
			change(d, "100", func(s *config.Subnet) {
				s.DNSNameservers = []netip.Addr{s.DNSNameservers[1], s.DNSNameservers[0]}
				s.HostRoutes = []config.Route{{Destination: prefix("192.168.20.0/24"),
					NextHop: lineAddr("172.16.100.253")}}
				s.LeaseTime = 90 * time.Minute
			})
			change(d, "ext", func(s *config.Subnet) { s.Gateway = netip.Addr{} })
			d.Put(&config.Subnet{Meta: nameless(config.KindSubnet, "100b", 21), Network: kid(config.KindNetwork,
				"vlan100"),
				CIDR: prefix("172.16.102.0/24")})
		}, []string{
			`~ subnet 10.10.10.0/24 of network "ext_net": gateway 10.10.10.1 -> none (lab.toml:5)`,
			`kept: connections take the new next hop with their next packet`,
			`~ subnet 172.16.100.0/24 of network "vlan100": lease_time 24h -> 1h30m; ` +
				`dns_nameservers 172.16.100.53, 172.16.100.54 -> 172.16.100.54, 172.16.100.53; ` +
				`host_routes +192.168.20.0/24 via 172.16.100.253, -192.168.20.0/24 via 172.16.100.254 (lab.toml:6)`,
			`+ subnet 172.16.102.0/24 of network "vlan100" (lab.toml:21)`,
		}},
		"router": {func(d *config.Draft) {
			change(d, "r1", func(r *config.Router) {
				r.Gateway = &config.Gateway{Network: r.Gateway.Network, SNAT: true,
					SNATAddresses: []config.AddressRange{span("10.10.10.30", "10.10.10.32")}}
				r.Routes = append(r.Routes, config.Route{Destination: prefix("192.168.11.0/24"),
					NextHop: lineAddr("172.16.100.254")})
				r.RPFilter = "loose"
				r.NAT.Filtering, r.NAT.NoSNAT, r.NAT.MSSClamp, r.NAT.HostShare = "", []netip.Prefix{}, nil, 0.25
				r.NAT.Lend = new(false)
			})
			d.Put(&config.Router{Meta: of(config.KindRouter, "r2", 22), AdminStateUp: true})
		}, []string{
			`~ router "r1": ` +
				`gateway.snat_addresses +10.10.10.30-10.10.10.32, -10.10.10.30-10.10.10.31; ` +
				`routes +192.168.11.0/24 via 172.16.100.254; rp_filter off -> loose; ` +
				`nat.filtering endpoint-independent -> as in [nat]; nat.host_share as in [nat] -> 0.25; ` +
				`nat.lend as in [nat] -> false; ` +
				`nat.no_snat -10.20.0.0/16; nat.mss_clamp true -> as in [nat] (lab.toml:8)`,
			`kept: connections take the new way with their next packet`,
			`ended: connections end whose translation does not fit the new way, TCP with a RST to both sides`,
			`kept: connections go on; their packets obey the new rp_filter`,
			`kept: connections of router "r1" go on as they are; new ones obey`,
			`+ router "r2" (lab.toml:22)`,
		}},
		"a router loses its gateway": {func(d *config.Draft) {
			for _, n := range []string{"3", "5"} {
				drop(d, config.KindFloatingIP, n)
			}
			change(d, "r1", func(r *config.Router) { r.Gateway = nil })
			drop(d, config.KindPort, "gw")
		}, []string{
			`~ router "r1": gateway.network "ext_net" -> none; ` +
				`gateway.snat_addresses -10.10.10.30-10.10.10.31 (lab.toml:8)`,
			`ended: connections with network "ext_net" end, TCP with a RST to both sides`,
			`- port forwarding TCP 2222 of floating IP 10.10.10.5`,
			`ended: TCP connections through 10.10.10.5:2222 end, with a RST to both sides`,
			`- floating IP 10.10.10.5`,
			`- floating IP 10.10.10.3`,
			`ended: connections through 10.10.10.3 end, TCP with a RST to both sides`,
			`- gateway of router "r1"`,
		}},
		"a gateway's address": {func(d *config.Draft) {
			change(d, "gw", func(p *config.Port) { p.FixedIPs = []config.FixedIP{{Address: lineAddr("10.10.10.20")}} })
		}, []string{
			`~ gateway of router "r1": address 10.10.10.2 -> 10.10.10.20 (lab.toml:8)`,
			`ended: connections end that show 10.10.10.2, TCP with a RST to both sides`,
		}},
		"an interface": {func(d *config.Draft) {
			drop(d, config.KindPort, "i101")
			drop(d, config.KindFloatingIP, "3")
			drop(d, config.KindFloatingIP, "5")
			d.Put(&config.Network{Meta: of(config.KindNetwork, "vlan102", 12)},
				&config.Subnet{Meta: nameless(config.KindSubnet, "102", 13),
					Network: kid(config.KindNetwork, "vlan102"), CIDR: prefix("172.16.102.0/24"),
					Gateway: lineAddr("172.16.102.1")},
				&config.Port{Meta: nameless(config.KindPort, "i102", 14), Network: kid(config.KindNetwork, "vlan102"),
					DeviceOwner: config.OwnerInterface, DeviceID: string(kid(config.KindRouter, "r1")),
					MAC: config.MAC{2, 0, 0, 0, 0, 1},
					FixedIPs: []config.FixedIP{{Subnet: kid(config.KindSubnet, "102"),
						Address: lineAddr("172.16.102.1")}}})
		}, []string{
			`+ network "vlan102" (lab.toml:12)`,
			`+ subnet 172.16.102.0/24 of network "vlan102" (lab.toml:13)`,
			`+ interface 172.16.102.1 of router "r1" on network "vlan102": mac 02:00:00:00:00:01 (lab.toml:14)`,
			`- port forwarding TCP 2222 of floating IP 10.10.10.5`,
			`ended: TCP connections through 10.10.10.5:2222 end, with a RST to both sides`,
			`- floating IP 10.10.10.5`,
			`- floating IP 10.10.10.3`,
			`ended: connections through 10.10.10.3 end, TCP with a RST to both sides`,
			`- interface 172.16.101.1 of router "r1" on network "vlan101"`,
			`ended: connections over interface 172.16.101.1 of router "r1" on network "vlan101" end, ` +
				"TCP with a RST to both sides",
		}},
		"port": {func(d *config.Draft) {
			change(d, "vm3", func(p *config.Port) {
				off := false
				p.MAC, p.PortSecurity, p.AllowedAddressPairs = config.MAC{}, &off, nil
			})
			d.Put(&config.Port{Meta: of(config.KindPort, "vm4", 23), Network: kid(config.KindNetwork, "vlan101"),
				FixedIPs: []config.FixedIP{{Subnet: kid(config.KindSubnet, "101"), Address: lineAddr("172.16.101.4")}}},
				&config.Port{Meta: nameless(config.KindPort, "vm5", 24), Network: kid(config.KindNetwork, "vlan101"),
					FixedIPs: []config.FixedIP{{Subnet: kid(config.KindSubnet, "101"),
						Address: lineAddr("172.16.101.5")}}})
		}, []string{
			`~ port "vm3": mac fa:16:3e:aa:bb:03 -> none; port_security as its network -> false; ` +
				`allowed_address_pairs -172.16.101.128/25 fa:16:3e:aa:bb:03 (lab.toml:9)`,
			`+ port "vm4": fixed_ips 172.16.101.4 (lab.toml:23)`,
			`+ port 172.16.101.5 on network "vlan101" (lab.toml:24)`,
		}},
		"floating IP": {func(d *config.Draft) {
			change(d, "3", func(f *config.FloatingIP) { f.FixedIP = lineAddr("172.16.100.11") })
			d.Put(&config.FloatingIP{Meta: nameless(config.KindFloatingIP, "8", 25),
				Network: kid(config.KindNetwork, "ext_net"),
				Address: lineAddr("10.10.10.8")},
				&config.FloatingIP{Meta: nameless(config.KindFloatingIP, "9", 26),
					Network: kid(config.KindNetwork, "ext_net"),
					Address: lineAddr("10.10.10.9"), FixedIP: lineAddr("172.16.101.9"),
					Router: kid(config.KindRouter, "r1")})
			drop(d, config.KindFloatingIP, "5")
		}, []string{
			`~ floating IP 10.10.10.3: fixed_ip 172.16.101.3 -> 172.16.100.11 (lab.toml:10)`,
			`ended: connections through 10.10.10.3 end, TCP with a RST to both sides`,
			`+ floating IP 10.10.10.8 (lab.toml:25)`,
			`+ floating IP 10.10.10.9: fixed_ip 172.16.101.9; router "r1" (lab.toml:26)`,
			`kept: connections of 172.16.101.9 go on with the shared address; new ones show 10.10.10.9`,
			`- port forwarding TCP 2222 of floating IP 10.10.10.5`,
			`ended: TCP connections through 10.10.10.5:2222 end, with a RST to both sides`,
			`- floating IP 10.10.10.5`,
		}},
		"port forwarding": {func(d *config.Draft) {
			change(d, "ssh", func(p *config.PortForwarding) { p.Port = 23 })
			d.Put(&config.PortForwarding{Meta: nameless(config.KindPortForwarding, "dns", 27),
				FloatingIP: kid(config.KindFloatingIP, "5"),
				Protocol:   config.UDP, ExternalPort: 53, FixedIP: lineAddr("172.16.101.4"), Port: 53})
		}, []string{
			`~ port forwarding TCP 2222 of floating IP 10.10.10.5: port 22 -> 23 (lab.toml:12)`,
			`ended: TCP connections through 10.10.10.5:2222 end, with a RST to both sides`,
			`+ port forwarding UDP 53 of floating IP 10.10.10.5 (lab.toml:27)`,
		}},
		"pool": {func(d *config.Draft) {
			change(d, "web", func(p *config.Pool) {
				p.Algorithm, p.SessionPersistence, p.OnMemberDown = "SOURCE_IP", nil, "reset"
				p.Source.Line = 30
			})
			drop(d, config.KindMonitor, "web")
		}, []string{
			`~ pool "web": algorithm ROUND_ROBIN -> SOURCE_IP; session_persistence.type SOURCE_IP -> none; ` +
				`on_member_down keep -> reset (lab.toml:30)`,
			`kept: connections stay with their members; new ones obey`,
			`- monitor of pool "web"`,
		}},
		"members": {func(d *config.Draft) {
			change(d, "WEB1", func(m *config.Member) { m.Weight, m.Backup = 0, true })
			drop(d, config.KindMember, "WEB2")
			d.Put(&config.Member{Meta: of(config.KindMember, "WEB3", 28), Pool: kid(config.KindPool, "web"),
				Address: lineAddr("172.16.100.12"),
				Port:    80, Weight: 1, AdminStateUp: true})
			change(d, "web", func(m *config.Monitor) {
				m.Delay, m.URLPath, m.ExpectedCodes = 7*time.Second,
					"/up?", "200-204"
			})
		}, []string{
			`~ monitor of pool "web": delay 5s -> 7s; url_path "/" -> "/up?"; ` +
				`expected_codes "200" -> "200-204" (lab.toml:14)`,
			`~ member "WEB1" of pool "web": weight 1 -> 0; backup false -> true (lab.toml:15)`,
			`kept: connections of member "WEB1" of pool "web" go on until they end; it gets no new ones`,
			`+ member "WEB3" of pool "web" (lab.toml:28)`,
			`- member 172.16.100.10:80 of pool "web"`,
			`kept: TCP connections of member 172.16.100.10:80 of pool "web" go on until they end`,
			`re-pinned: TCP connections without an answer yet try another member with their next SYN`,
		}},
		"a member is down": {func(d *config.Draft) {
			change(d, "WEB1", func(m *config.Member) { m.AdminStateUp = false })
			change(d, "WEB2", func(m *config.Member) { m.Port = 81 })
		}, []string{
			`~ member "WEB1" of pool "web": admin_state_up true -> false (lab.toml:15)`,
			`kept: TCP connections of member "WEB1" of pool "web" go on until they end`,
			`re-pinned: TCP connections without an answer yet try another member with their next SYN`,
			`~ member 172.16.100.10:81 of pool "web": port 80 -> 81 (lab.toml:16)`,
			`kept: TCP connections of member 172.16.100.10:80 of pool "web" go on until they end`,
			`re-pinned: TCP connections without an answer yet try another member with their next SYN`,
		}},
		"load balancer": {func(d *config.Draft) {
			change(d, "11", func(b *config.LoadBalancer) { b.Address = lineAddr("172.16.100.12") })
			change(d, "web-vip", func(l *config.Listener) {
				l.IdleTimeout, l.AllowedCIDRs,
					l.ConnectionLimit = 0, nil, 0
			})
		}, []string{
			`~ load balancer 172.16.100.12 on network "vlan100": address 172.16.100.11 -> 172.16.100.12 (lab.toml:17)`,
			`ended: connections through load balancer 172.16.100.11 on network "vlan100" end, ` +
				"TCP with a RST to both sides",
			`~ VIP "web-vip": connection_limit 100 -> none; idle_timeout 1m -> none; ` +
				`allowed_cidrs -172.16.0.0/16 (lab.toml:17)`,
			`kept: connections go on with the idle_timeout that they have begun with; new ones obey`,
			`kept: connections go on; new ones obey`,
		}},
		"a VIP goes": {func(d *config.Draft) {
			drop(d, config.KindLoadBalancer, "11")
			drop(d, config.KindPool, "web")
		}, []string{
			`- VIP "web-vip"`,
			`ended: TCP connections through VIP "web-vip" end, with a RST to both sides`,
			`- load balancer 172.16.100.11 on network "vlan100"`,
			`- member 172.16.100.10:80 of pool "web"`,
			`- member "WEB1" of pool "web"`,
			`- monitor of pool "web"`,
			`- pool "web"`,
		}},
		"a pool for another": {func(d *config.Draft) {
			d.Put(&config.Pool{Meta: of(config.KindPool, "web2", 30), Protocol: config.TCP, AdminStateUp: true})
			change(d, "web-vip", func(l *config.Listener) { l.Pool = kid(config.KindPool, "web2") })
		}, []string{
			`+ pool "web2" (lab.toml:30)`,
			`~ VIP "web-vip": pool "web" -> "web2" (lab.toml:17)`,
			`kept: TCP connections of pool "web" go on until they end`,
			`re-pinned: TCP connections without an answer yet try another member with their next SYN`,
		}},
		"a renamed member is a new object": {func(d *config.Draft) {
			o, _ := d.Get(config.Ref{Kind: config.KindMember, ID: kid(config.KindMember, "WEB1")})
			m := *o.(*config.Member)
			m.Meta = of(config.KindMember, "WEB9", 15)
			drop(d, config.KindMember, "WEB1")
			d.Put(&m)
		}, []string{
			`+ member "WEB9" of pool "web": renamed from member "WEB1" of pool "web": a new object; ` +
				`with id = "c4788b52-8fdc-5991-8477-d99a41243197" it stays the former one (lab.toml:15)`,
			`- member "WEB1" of pool "web"`,
			`kept: TCP connections of member "WEB1" of pool "web" go on until they end`,
			`re-pinned: TCP connections without an answer yet try another member with their next SYN`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := base.Edit()
			c.edit(d)
			if got := plan(base, mustCheck(t, d)); !slices.Equal(got, c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// A renamed object is a new one. It is said to be renamed if one object only is gone that it can have been, with
// all that is part of it.
func TestRenamed(t *testing.T) {
	network := func(name string, cidrs ...string) []config.Object {
		list := []config.Object{&config.Network{Meta: of(config.KindNetwork, name, 1), MTU: 1400}}
		for _, c := range cidrs {
			list = append(list, &config.Subnet{Meta: nameless(config.KindSubnet, name+c, 2),
				Network: kid(config.KindNetwork, name),
				CIDR:    prefix(c)})
		}
		return list
	}
	for name, c := range map[string]struct {
		from, to []config.Object
		want     string
	}{
		"renamed":         {network("a", "192.0.2.0/24"), network("b", "192.0.2.0/24"), `network "a"`},
		"another subnet":  {network("a", "192.0.2.0/24"), network("b", "192.0.2.0/25"), ""},
		"no subnet":       {network("a", "192.0.2.0/24"), network("b"), ""},
		"two come":        {network("a"), append(network("b"), network("c")...), ""},
		"two go":          {append(network("a"), network("c")...), network("b"), ""},
		"of another kind": {network("a"), []config.Object{&config.Router{Meta: of(config.KindRouter, "b", 1)}}, ""},
	} {
		d, e := config.Empty().Edit(), config.Empty().Edit()
		d.Put(c.from...)
		e.Put(c.to...)
		from, to := mustCheck(t, d), mustCheck(t, e)
		got := ""
		for _, l := range config.Describe(from, to, config.Diff(from, to)) {
			if l.Former != nil {
				got += l.Former.Name
				if l.Op != config.Added || l.Kind != config.KindNetwork ||
					l.Former.ID != kid(config.KindNetwork, "a") {
					t.Errorf("%s: %+v", name, l)
				}
			}
		}
		if got != c.want {
			t.Errorf("%s: renamed from %q, want %q", name, got, c.want)
		}
	}
}

// A line is data, too: for a log and for programs.
func TestLineAsData(t *testing.T) {
	base := cloudState(t)
	d := base.Edit()
	change(d, "3", func(f *config.FloatingIP) { f.FixedIP = lineAddr("172.16.101.4") })
	change(d, "100", func(s *config.Subnet) { s.DNSNameservers = s.DNSNameservers[:1] })
	next := mustCheck(t, d)
	lines := config.Describe(base, next, config.Diff(base, next))
	text, err := json.Marshal(lines[1])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"op":"changed","kind":"floating IP","id":"` + string(kid(config.KindFloatingIP, "3")) +
		`","name":"floating IP 10.10.10.3",` +
		`"attributes":[{"name":"fixed_ip","before":"172.16.101.3","after":"172.16.101.4"}],` +
		`"effects":[{"fate":"ended","text":"connections through 10.10.10.3 end, TCP with a RST to both sides"},` +
		`{"fate":"kept","text":"connections of 172.16.101.4 go on with the shared address; ` +
		`new ones show 10.10.10.3"}],` +
		`"source":{"File":"lab.toml","Line":10,"Request":""}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if a := lines[0].Attributes[0]; len(a.Removed) != 1 || a.Removed[0] != "172.16.100.54" || a.Added != nil ||
		a.Before != "" {
		t.Errorf("%+v", a)
	}
	if got := next.Call(next.FloatingIP(kid(config.KindFloatingIP, "3"))); got != lines[1].Name {
		t.Errorf("it is called %s, and %s in the line", got, lines[1].Name)
	}
	wantKeys := []any{"object", "floating IP 10.10.10.3", "id", string(kid(config.KindFloatingIP, "3")),
		"changes", "fixed_ip 172.16.101.3 -> 172.16.101.4", "source", "lab.toml:10"}
	if got := lines[1].KeyValues(); !slices.Equal(got, wantKeys) {
		t.Errorf("got  %q\nwant %q", got, wantKeys)
	}
}

// Two objects of one name are told apart by their IDs.
func TestSameNames(t *testing.T) {
	base := cloudState(t)
	d := base.Edit()
	d.Put(&config.Network{Meta: config.Meta{ID: kid(config.KindNetwork, "twin"), Name: "ext_net"}, External: true})
	drop(d, config.KindPort, "gw")
	change(d, "r1", func(r *config.Router) {
		r.Gateway = &config.Gateway{Network: kid(config.KindNetwork, "twin"), SNAT: true}
	})
	want := fmt.Sprintf(`gateway.network "ext_net" [%s] -> "ext_net" [%s]`, kid(config.KindNetwork, "ext_net"),
		kid(config.KindNetwork, "twin"))
	after, _ := d.Get(config.Ref{Kind: config.KindRouter, ID: kid(config.KindRouter, "r1")})
	before := base.Router(kid(config.KindRouter, "r1"))
	change := config.Change{Op: config.Changed, Ref: before.Ref(), Before: before, After: after}
	d2 := base.Edit()
	d2.Put(&config.Network{Meta: config.Meta{ID: kid(config.KindNetwork, "twin"), Name: "ext_net"}, External: true})
	if got := config.Describe(base, mustCheck(t, d2),
		[]config.Change{change})[0].String(); !strings.Contains(got, want) {
		t.Errorf("%s\nhas not %s", got, want)
	}
}
