package metadata

import (
	"fmt"
	"net"
	"net/netip"
)

// The parts of OpenStack's network_data.json.
type (
	link struct {
		ID   string `json:"id"`
		Port string `json:"vif_id"`
		Type string `json:"type"`
		MTU  int    `json:"mtu"`
		MAC  string `json:"ethernet_mac_address"`
	}
	network struct {
		ID       string    `json:"id"`
		Type     string    `json:"type"`
		Link     string    `json:"link"`
		Network  string    `json:"network_id"`
		Address  string    `json:"ip_address,omitempty"`
		Mask     string    `json:"netmask,omitempty"`
		Routes   []route   `json:"routes,omitempty"`
		Services []service `json:"services,omitempty"`
	}
	route struct {
		Network string `json:"network"`
		Mask    string `json:"netmask"`
		Gateway string `json:"gateway"`
	}
	service struct {
		Type    string `json:"type"`
		Address string `json:"address"`
	}
)

// networkData is OpenStack's network_data.json: how an instance sets up its network without DHCP, and where it is to
// use DHCP.
func networkData(in Instance) any {
	out := struct {
		Links    []link    `json:"links"`
		Networks []network `json:"networks"`
		Services []service `json:"services"`
	}{[]link{}, []network{}, []service{}}
	seen := map[netip.Addr]bool{}
	for _, n := range in.NICs {
		id := "tap" + n.ID[:min(11, len(n.ID))] // as Nova names the interface at the host
		out.Links = append(out.Links, link{id, n.ID, "tap", n.MTU, n.MAC})
		for _, a := range n.Addresses {
			net := network{ID: fmt.Sprintf("network%d", len(out.Networks)), Link: id, Network: a.Network}
			if net.Type = family(a.Prefix.Addr()); a.DHCP {
				net.Type += "_dhcp"
			} else {
				net.manual(a, n.Servers)
			}
			out.Networks = append(out.Networks, net)
		}
		for _, s := range n.Servers {
			if !seen[s] {
				seen[s] = true
				out.Services = append(out.Services, service{"dns", s.String()})
			}
		}
	}
	return out
}

// manual fills in what an instance needs that does not use DHCP.
func (n *network) manual(a Address, servers []netip.Addr) {
	addr := a.Prefix.Addr()
	n.Address, n.Mask = addr.String(), mask(a.Prefix)
	if a.Gateway.IsValid() {
		all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if addr.Is6() {
			all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		n.Routes = append(n.Routes, route{all.Addr().String(), mask(all), a.Gateway.String()})
	}
	for _, r := range a.Routes {
		n.Routes = append(n.Routes, route{r.Destination.Addr().String(), mask(r.Destination), r.Gateway.String()})
	}
	for _, s := range servers {
		n.Services = append(n.Services, service{"dns", s.String()})
	}
}

func family(a netip.Addr) string {
	if a.Is6() {
		return "ipv6"
	}
	return "ipv4"
}

// mask is the length of a prefix, written as an address.
func mask(p netip.Prefix) string {
	m := net.CIDRMask(p.Bits(), p.Addr().BitLen())
	a, _ := netip.AddrFromSlice(m)
	return a.String()
}
