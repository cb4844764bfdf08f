package clients_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/listeners"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/pools"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
)

// attach attaches a host to a network that the API has made.
func attach(t *testing.T, e *router.Engine, network, address, gateway, mac string) *host.Host {
	t.Helper()
	dev, err := e.Attach(network, host.Accepts)
	if err != nil {
		t.Fatal(err)
	}
	cfg := host.Config{Name: address, Address: netip.PrefixFrom(netip.MustParseAddr(address), 24)}
	if gateway != "" {
		cfg.Gateway = netip.MustParseAddr(gateway)
	}
	if mac != "" {
		m, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		cfg.MAC = [6]byte(m)
	}
	h, err := host.New(dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// answers says whether an echo comes back. Without an answer it takes a while.
func answers(t *testing.T, from *host.Host, to string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := from.Ping(ctx, netip.MustParseAddr(to))
	return err == nil
}

// page is the name that a web server answers, or an error.
func page(t *testing.T, from *host.Host, at string, within time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := from.HTTPClient().Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	name, _, _ := strings.Cut(string(b), "\n")
	return name, err
}

// Packets obey each request of gophercloud from its answer on: pings and connections to a floating IP, a load balancer
// behind one, and the router's gateway.
func TestPacketsObeyGophercloud(t *testing.T) {
	ctx := t.Context()
	e := start(t)
	network, lb, _ := connectTo(t, e)
	ext := must[*networks.Network](t)(networks.Create(ctx, network,
		createExternal{networks.CreateOpts{Name: "ext"}}).Extract())
	must[*subnets.Subnet](t)(subnets.Create(ctx, network, subnets.CreateOpts{NetworkID: ext.ID, IPVersion: 4,
		CIDR: "10.10.10.0/24"}).Extract())
	blue := must[*networks.Network](t)(networks.Create(ctx, network, networks.CreateOpts{Name: "blue"}).Extract())
	sub := must[*subnets.Subnet](t)(subnets.Create(ctx, network, subnets.CreateOpts{NetworkID: blue.ID, IPVersion: 4,
		CIDR: "172.16.101.0/24"}).Extract())
	r := must[*routers.Router](t)(routers.Create(ctx, network, routers.CreateOpts{Name: "r"}).Extract())
	must[*routers.InterfaceInfo](t)(routers.AddInterface(ctx, network, r.ID,
		routers.AddInterfaceOpts{SubnetID: sub.ID}).Extract())

	var vms []*host.Host
	var ids []string
	for _, address := range []string{"172.16.101.3", "172.16.101.4"} {
		p := must[*ports.Port](t)(ports.Create(ctx, network, ports.CreateOpts{NetworkID: blue.ID,
			FixedIPs: []ports.IP{{SubnetID: sub.ID, IPAddress: address}}}).Extract())
		vm := attach(t, e, blue.ID, address, "172.16.101.1", p.MACAddress)
		ok(t, vm.ServeName(80))
		vms, ids = append(vms, vm), append(ids, p.ID)
	}
	client := attach(t, e, ext.ID, "10.10.10.200", "", "")

	// The gateway is set, and cleared.
	gateway := func(info *routers.GatewayInfo) {
		t.Helper()
		must[*routers.Router](t)(routers.Update(ctx, network, r.ID, routers.UpdateOpts{GatewayInfo: info}).Extract())
	}
	for _, up := range []bool{false, true, false, true} {
		if up {
			gateway(&routers.GatewayInfo{NetworkID: ext.ID})
		} else {
			gateway(&routers.GatewayInfo{})
		}
		if got := answers(t, vms[0], "10.10.10.200"); got != up {
			t.Errorf("the gateway is set: %v, and a ping from inside is answered: %v", up, got)
		}
	}

	// A floating IP is associated, and no longer.
	f := must[*floatingips.FloatingIP](t)(floatingips.Create(ctx, network, floatingips.CreateOpts{
		FloatingNetworkID: ext.ID}).Extract())
	associate := func(port string) {
		t.Helper()
		f = must[*floatingips.FloatingIP](t)(floatingips.Update(ctx, network, f.ID, floatingips.UpdateOpts{
			PortID: &port}).Extract())
	}
	for i, up := range []bool{false, true, false, true} {
		if up {
			associate(ids[0])
		} else {
			associate("")
		}
		// A host that has asked in vain waits before it asks again, so each time there is another one.
		other := attach(t, e, ext.ID, fmt.Sprint("10.10.10.", 201+i), "", "")
		if got := answers(t, other, f.FloatingIP); got != up {
			t.Errorf("the floating IP is associated: %v, and a ping is answered: %v", up, got)
		}
	}
	inside, outside := talk(t, vms[0], client, f.FloatingIP)
	associate("")
	if _, err := outside.Write([]byte("late")); err == nil { // it may find out later
		ok(t, inside.SetReadDeadline(time.Now().Add(time.Second)))
		if n, err := inside.Read(make([]byte, 8)); n > 0 {
			t.Errorf("a connection goes on: %d bytes, %v", n, err)
		}
	}

	// A load balancer behind the floating IP.
	b := must[*loadbalancers.LoadBalancer](t)(loadbalancers.Create(ctx, lb, loadbalancers.CreateOpts{
		VipSubnetID: sub.ID}).Extract())
	l := must[*listeners.Listener](t)(listeners.Create(ctx, lb, listeners.CreateOpts{LoadbalancerID: b.ID,
		Protocol: listeners.ProtocolTCP, ProtocolPort: 80}).Extract())
	p := must[*pools.Pool](t)(pools.Create(ctx, lb, pools.CreateOpts{ListenerID: l.ID, Protocol: pools.ProtocolTCP,
		LBMethod: pools.LBMethodRoundRobin}).Extract())
	associate(b.VipPortID)
	if text, err := page(t, client, f.FloatingIP, time.Second); err == nil {
		t.Errorf("a pool without members answers %q", text)
	}
	var members []string
	for _, address := range []string{"172.16.101.3", "172.16.101.4"} {
		m := must[*pools.Member](t)(pools.CreateMember(ctx, lb, p.ID, pools.CreateMemberOpts{Address: address,
			ProtocolPort: 80}).Extract())
		members = append(members, m.ID)
	}
	pages := func() map[string]bool {
		t.Helper()
		seen := map[string]bool{}
		for range 4 {
			seen[must[string](t)(page(t, client, f.FloatingIP, 10*time.Second))] = true
		}
		return seen
	}
	if seen := pages(); len(seen) != 2 {
		t.Errorf("two members: %v", seen)
	}
	ok(t, pools.DeleteMember(ctx, lb, p.ID, members[0]).ExtractErr())
	if seen := pages(); len(seen) != 1 {
		t.Errorf("one member: %v", seen)
	}
	ok(t, loadbalancers.Delete(ctx, lb, b.ID, loadbalancers.DeleteOpts{Cascade: true}).ExtractErr())
	if text, err := page(t, client, f.FloatingIP, time.Second); err == nil {
		t.Errorf("a VIP that is gone answers %q", text)
	}
}

// talk opens a connection to a floating IP, and sends something.
func talk(t *testing.T, server, client *host.Host, to string) (inside, outside net.Conn) {
	t.Helper()
	l := must[net.Listener](t)(server.Listen("tcp", ":9"))
	defer l.Close()
	outside = must[net.Conn](t)(client.Dial("tcp", to+":9"))
	inside = must[net.Conn](t)(l.Accept())
	t.Cleanup(func() { outside.Close(); inside.Close() })
	must[int](t)(outside.Write([]byte("early")))
	b := make([]byte, 5)
	ok(t, inside.SetReadDeadline(time.Now().Add(10*time.Second)))
	if must[int](t)(io.ReadFull(inside, b)); string(b) != "early" {
		t.Fatalf("%q", b)
	}
	return inside, outside
}
