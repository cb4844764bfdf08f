package clients_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/listeners"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/loadbalancers"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/monitors"
	"github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/pools"
	lbquotas "github.com/gophercloud/gophercloud/v2/openstack/loadbalancer/v2/quotas"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/agents"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/portforwarding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/networkipavailabilities"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/addressgroups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/gophercloud/gophercloud/v2/pagination"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// connect starts an API on an engine without devices, and returns gophercloud's clients of it.
func connect(t *testing.T) (network, balancer *gophercloud.ServiceClient, c *control.Control) {
	t.Helper()
	e := start(t)
	network, balancer, c = connectTo(t, e)
	return network, balancer, c
}

// start starts an engine without devices.
func start(t *testing.T) *router.Engine {
	t.Helper()
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// connectTo starts an API on an engine.
func connectTo(t *testing.T, e *router.Engine) (network, balancer *gophercloud.ServiceClient, c *control.Control) {
	t.Helper()
	c = control.New(e, control.Options{})
	server := httptest.NewServer(neutron.New(c, neutron.Options{Balancers: e.Inspect()}))
	t.Cleanup(server.Close)
	provider := &gophercloud.ProviderClient{EndpointLocator: func(gophercloud.EndpointOpts) (string, error) {
		return server.URL + "/", nil
	}}
	network, err := openstack.NewNetworkV2(provider, gophercloud.EndpointOpts{})
	if err != nil {
		t.Fatal(err)
	}
	balancer, err = openstack.NewLoadBalancerV2(provider, gophercloud.EndpointOpts{})
	if err != nil {
		t.Fatal(err)
	}
	return network, balancer, c
}

// must is the value of a call that may not fail.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// count reads all pages of a list.
func count(t *testing.T, p pagination.Pager) int {
	t.Helper()
	n := 0
	ok(t, p.EachPage(t.Context(), func(_ context.Context, page pagination.Page) (bool, error) {
		empty, err := page.IsEmpty()
		if !empty {
			n++
		}
		return true, err
	}))
	return n
}

// The whole journey: networks, a router, a floating IP, security groups and a load balancer come and go.
func TestGophercloud(t *testing.T) {
	ctx := t.Context()
	net, lb, c := connect(t)
	up := true
	ext := must[*networks.Network](t)(networks.Create(ctx, net,
		createExternal{networks.CreateOpts{Name: "ext"}}).Extract())
	extSub := must[*subnets.Subnet](t)(subnets.Create(ctx, net, subnets.CreateOpts{NetworkID: ext.ID, IPVersion: 4,
		CIDR: "10.10.10.0/24"}).Extract())
	n := must[*networks.Network](t)(networks.Create(ctx, net, networks.CreateOpts{Name: "blue",
		AdminStateUp: &up}).Extract())
	sub := must[*subnets.Subnet](t)(subnets.Create(ctx, net, subnets.CreateOpts{NetworkID: n.ID, IPVersion: 4,
		CIDR: "172.16.101.0/24", DNSNameservers: []string{"10.0.0.53"}}).Extract())
	if sub.GatewayIP != "172.16.101.1" || len(sub.AllocationPools) != 1 {
		t.Errorf("%+v", sub)
	}
	r := must[*routers.Router](t)(routers.Create(ctx, net, routers.CreateOpts{Name: "r",
		GatewayInfo: &routers.GatewayInfo{NetworkID: ext.ID, ExternalFixedIPs: []routers.ExternalFixedIP{
			{SubnetID: extSub.ID}}}}).Extract())
	must[*routers.InterfaceInfo](t)(routers.AddInterface(ctx, net, r.ID,
		routers.AddInterfaceOpts{SubnetID: sub.ID}).Extract())
	must[[]string](t)(attributestags.ReplaceAll(ctx, net, "networks", n.ID, attributestags.ReplaceAllOpts{
		Tags: []string{"a"}}).Extract())

	lan := must[*addressgroups.AddressGroup](t)(addressgroups.Create(ctx, net, addressgroups.CreateOpts{Name: "lan",
		Addresses: []string{"10.0.0.0/8"}}).Extract())
	must[*addressgroups.AddressGroup](t)(addressgroups.AddAddresses(ctx, net, lan.ID, addressgroups.UpdateAddressesOpts{
		Addresses: []string{"192.168.0.0/16"}}).Extract())
	web := must[*groups.SecGroup](t)(groups.Create(ctx, net,
		groups.CreateOpts{Name: "web", Description: "web"}).Extract())
	if len(web.Rules) != 2 || !web.Stateful {
		t.Errorf("%+v", web)
	}
	must[*rules.SecGroupRule](t)(rules.Create(ctx, net,
		rules.CreateOpts{SecGroupID: web.ID, Direction: rules.DirIngress,
			EtherType: rules.EtherType4, Protocol: rules.ProtocolTCP, PortRangeMin: 80, PortRangeMax: 80,
			RemoteIPPrefix: "0.0.0.0/0"}).Extract())
	if k := count(t, groups.List(net, groups.ListOpts{Limit: 1})); k != 2 {
		t.Errorf("%d groups", k)
	}
	p := must[*ports.Port](t)(ports.Create(ctx, net, ports.CreateOpts{NetworkID: n.ID, Name: "vm",
		FixedIPs: []ports.IP{{SubnetID: sub.ID, IPAddress: "172.16.101.3"}}, SecurityGroups: &[]string{web.ID},
		AllowedAddressPairs: []ports.AddressPair{{IPAddress: "172.16.101.9"}}}).Extract())
	if p.AllowedAddressPairs[0].MACAddress != p.MACAddress || p.SecurityGroups[0] != web.ID {
		t.Errorf("%+v", p)
	}
	if err := groups.Delete(ctx, net, web.ID).ExtractErr(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("a group in use: %v", err)
	}

	f := must[*floatingips.FloatingIP](t)(floatingips.Create(ctx, net, floatingips.CreateOpts{FloatingNetworkID: ext.ID,
		PortID: p.ID}).Extract())
	if f.Status != "ACTIVE" || f.FixedIP != "172.16.101.3" || f.RouterID != r.ID {
		t.Errorf("%+v", f)
	}
	f = must[*floatingips.FloatingIP](t)(floatingips.Update(ctx, net, f.ID, floatingips.UpdateOpts{
		PortID: new(string)}).Extract())
	if f.PortID != "" || f.Status != "DOWN" {
		t.Errorf("%+v", f)
	}
	fwd := must[*portforwarding.PortForwarding](t)(portforwarding.Create(ctx, net, f.ID, portforwarding.CreateOpts{
		InternalPortID: p.ID, InternalIPAddress: "172.16.101.3", InternalPort: 22, ExternalPort: 2222,
		Protocol: "tcp"}).Extract())
	ok(t, portforwarding.Delete(ctx, net, f.ID, fwd.ID).ExtractErr())

	must[*quotas.Quota](t)(quotas.Update(ctx, net, neutron.DefaultProject, quotas.UpdateOpts{
		Network: gophercloud.IntToPointer(2)}).Extract())
	if err := networks.Create(ctx, net, networks.CreateOpts{Name: "x"}).Err; !gophercloud.ResponseCodeIs(err,
		http.StatusConflict) {
		t.Errorf("over the quota: %v", err)
	}
	detail := must[*quotas.QuotaDetailSet](t)(quotas.GetDetail(ctx, net, neutron.DefaultProject).Extract())
	if detail.Network.Limit != 2 || detail.Network.Used != 2 {
		t.Errorf("%+v", detail)
	}
	ok(t, quotas.Delete(ctx, net, neutron.DefaultProject).ExtractErr())
	if k := count(t, agents.List(net, agents.ListOpts{})); k != 1 {
		t.Errorf("%d pages of agents", k)
	}
	if a := must[*networkipavailabilities.NetworkIPAvailability](t)(networkipavailabilities.Get(ctx, net,
		n.ID).Extract()); a.UsedIPs != "3" || a.TotalIPs != "253" {
		t.Errorf("%+v", a)
	}

	b := balance(t, lb, sub.ID)
	f = must[*floatingips.FloatingIP](t)(floatingips.Update(ctx, net, f.ID, floatingips.UpdateOpts{
		PortID: &b.VipPortID}).Extract())
	if f.FixedIP != b.VipAddress {
		t.Errorf("%+v", f)
	}
	ok(t, loadbalancers.Delete(ctx, lb, b.ID, loadbalancers.DeleteOpts{Cascade: true}).ExtractErr())
	ok(t, floatingips.Delete(ctx, net, f.ID).ExtractErr())
	ok(t, ports.Delete(ctx, net, p.ID).ExtractErr())
	ok(t, groups.Delete(ctx, net, web.ID).ExtractErr())
	ok(t, addressgroups.Delete(ctx, net, lan.ID).ExtractErr())
	must[*routers.InterfaceInfo](t)(routers.RemoveInterface(ctx, net, r.ID, routers.RemoveInterfaceOpts{
		SubnetID: sub.ID}).Extract())
	ok(t, routers.Delete(ctx, net, r.ID).ExtractErr())
	ok(t, networks.Delete(ctx, net, n.ID).ExtractErr())
	ok(t, networks.Delete(ctx, net, ext.ID).ExtractErr())
	for o := range c.State().All() {
		t.Errorf("%v %s is left", o.Ref().Kind, o.About().Name)
	}
}

// balance makes a load balancer with everything that it may have.
func balance(t *testing.T, lb *gophercloud.ServiceClient, subnet string) *loadbalancers.LoadBalancer {
	t.Helper()
	ctx := t.Context()
	b := must[*loadbalancers.LoadBalancer](t)(loadbalancers.Create(ctx, lb, loadbalancers.CreateOpts{Name: "lb",
		VipSubnetID: subnet}).Extract())
	l := must[*listeners.Listener](t)(listeners.Create(ctx, lb, listeners.CreateOpts{LoadbalancerID: b.ID,
		Protocol: listeners.ProtocolHTTP, ProtocolPort: 80}).Extract())
	p := must[*pools.Pool](t)(pools.Create(ctx, lb, pools.CreateOpts{ListenerID: l.ID, Protocol: pools.ProtocolHTTP,
		LBMethod: pools.LBMethodRoundRobin}).Extract())
	if l.Protocol != "HTTP" || len(l.Loadbalancers) != 1 || len(p.Loadbalancers) != 1 {
		t.Errorf("%+v %+v", l, p)
	}
	m := must[*pools.Member](t)(pools.CreateMember(ctx, lb, p.ID, pools.CreateMemberOpts{Address: "172.16.101.3",
		ProtocolPort: 80}).Extract())
	must[*pools.Member](t)(pools.UpdateMember(ctx, lb, p.ID, m.ID, pools.UpdateMemberOpts{
		Weight: gophercloud.IntToPointer(5)}).Extract())
	ok(t, pools.BatchUpdateMembers(ctx, lb, p.ID, []pools.BatchUpdateMemberOpts{{Address: "172.16.101.3",
		ProtocolPort: 80}, {Address: "172.16.101.44", ProtocolPort: 80}}).ExtractErr())
	must[*monitors.Monitor](t)(monitors.Create(ctx, lb, monitors.CreateOpts{PoolID: p.ID, Type: monitors.TypeTCP,
		Delay: 5, Timeout: 5, MaxRetries: 3}).Extract())
	if k := count(t, pools.ListMembers(lb, p.ID, pools.ListMembersOpts{Limit: 1})); k != 2 {
		t.Errorf("%d members", k)
	}
	must[*loadbalancers.StatusTree](t)(loadbalancers.GetStatuses(ctx, lb, b.ID).Extract())
	must[*loadbalancers.Stats](t)(loadbalancers.GetStats(ctx, lb, b.ID).Extract())
	q := must[*lbquotas.Quota](t)(lbquotas.Update(ctx, lb, neutron.DefaultProject, lbquotas.UpdateOpts{
		Loadbalancer: gophercloud.IntToPointer(1)}).Extract())
	if q.Loadbalancer != 1 || q.Pool != -1 {
		t.Errorf("%+v", q)
	}
	err := loadbalancers.Create(ctx, lb, loadbalancers.CreateOpts{VipSubnetID: subnet}).Err
	if !gophercloud.ResponseCodeIs(err, http.StatusForbidden) {
		t.Errorf("over the quota: %v", err)
	}
	ok(t, lbquotas.Delete(ctx, lb, neutron.DefaultProject).ExtractErr())
	return must[*loadbalancers.LoadBalancer](t)(loadbalancers.Get(ctx, lb, b.ID).Extract())
}

// createExternal is a body with the attribute of another extension.
type createExternal struct{ networks.CreateOpts }

// ToNetworkCreateMap implements networks.CreateOptsBuilder.
func (o createExternal) ToNetworkCreateMap() (map[string]any, error) {
	body, err := o.CreateOpts.ToNetworkCreateMap()
	if err == nil {
		body["network"].(map[string]any)["router:external"] = true
	}
	return body, err
}
