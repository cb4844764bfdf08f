package router

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// These tests say, change by change, what becomes of connections: the table in ARCHITECTURE.md.

// change has the lesson's router serve what an edit says.
func (l *lesson) change(edit func(d *config.Draft)) {
	l.t.Helper()
	l.do(l.edit(func(d *config.Draft) error {
		edit(d)
		return nil
	}))
	l.run()
}

// named is the one object of a kind with a name.
func named[T config.Object](d *config.Draft, k config.Kind, name string) T {
	for o := range d.Of(k) {
		if o.About().Name == name {
			return o.(T)
		}
	}
	panic(fmt.Sprintf("no %v %q", k, name))
}

func theRouter(d *config.Draft) config.Router {
	return *named[*config.Router](d, config.KindRouter, "router_100_101")
}

// deleteFloatingIPs takes all floating IPs away.
func deleteFloatingIPs(d *config.Draft) {
	for f := range d.FloatingIPs() {
		d.Delete(f.Ref())
	}
}

// interfaceOn is the port of the router on a network.
func interfaceOn(d *config.Draft, network string) *config.Port {
	n := named[*config.Network](d, config.KindNetwork, network)
	for p := range d.InterfacesOn(n.ID) {
		return p
	}
	panic("no interface on " + network)
}

func TestInterfaceGone(t *testing.T) {
	l := newLesson(t)
	away := l.tcpFlow(l.vm4, 4000, "10.10.10.1", 80, l.upstream)
	l.exchange(l.vm4, 4000, "10.10.10.1", 53, l.upstream, "10.10.10.2")
	inside := l.tcpFlow(l.web1, 4001, "172.16.101.4", 22, l.vm4)
	stays := l.tcpFlow(l.web1, 4000, "10.10.10.1", 80, l.upstream)
	l.wantResets(nil)
	l.change(func(d *config.Draft) {
		deleteFloatingIPs(d)
		d.Delete(interfaceOn(d, "vlan101").Ref())
	})
	// The hosts that can still be reached are told.
	l.wantResets(map[string][]string{
		"ext_net": resets(away)["ext_net"], "vlan100": resets(inside)["vlan100"],
	})
	stays.lives()
	l.advance(time.Minute)
	if r := l.w.routers[0]; r.Interfaces[2] != ip.NoInterface || len(r.Departed) != 0 {
		t.Error("the number of the interface is not free again")
	}
	// The same network again, with the number of before.
	l.change(func(d *config.Draft) {
		n := named[*config.Network](d, config.KindNetwork, "vlan101")
		d.Put(&config.Port{
			Meta: config.Meta{ID: newID()}, Network: n.ID, AdminStateUp: true, DeviceOwner: config.OwnerInterface,
			DeviceID: string(theRouter(d).ID), FixedIPs: []config.FixedIP{{Address: addr("172.16.101.1")}},
		})
	})
	if r := l.w.routers[0]; len(r.Interfaces) != 4 || r.Interfaces[2].On != wire.ID(l.nets["vlan101"].ID) {
		t.Errorf("%d numbers of interfaces, want 4", len(r.Interfaces))
	}
	l.tcpFlow(l.vm4, 4002, "10.10.10.1", 80, l.upstream)
	stays.lives()
}

func TestGatewayGone(t *testing.T) {
	l := newLesson(t)
	away, in := l.tcpFlow(l.vm4, 4000, "10.10.10.1", 80, l.upstream), l.tcpFlow(l.client, 4000, "10.10.10.3", 22, l.vm3)
	inside := l.tcpFlow(l.web1, 4001, "172.16.101.4", 22, l.vm4)
	l.wantResets(nil)
	l.change(func(d *config.Draft) {
		deleteFloatingIPs(d)
		r := theRouter(d)
		r.Gateway = nil
		d.Put(&r)
	})
	l.wantResets(map[string][]string{"vlan101": append(resets(away)["vlan101"], resets(in)["vlan101"]...)})
	inside.lives()
	if len(l.nets["ext_net"].Routers) != 0 || len(l.nets["ext_net"].Directory.Owners) != 0 {
		t.Error("the router is still on the external network")
	}
}

// Without SNAT, what goes on shows what it has shown, and what is new its own address.
func TestSNATSwitchedOff(t *testing.T) {
	l := newLesson(t)
	f := l.tcpFlow(l.vm4, 4000, "10.10.10.1", 80, l.upstream)
	l.change(func(d *config.Draft) {
		r := theRouter(d)
		g := *r.Gateway
		g.SNAT = false
		r.Gateway = &g
		d.Put(&r)
	})
	l.wantResets(nil)
	f.lives()
	if g := l.tcpFlow(l.vm4, 4001, "10.10.10.1", 80, l.upstream); g.from != "172.16.101.4" {
		t.Errorf("a new connection shows %s", g.from)
	}
}

func TestForwardedPortGone(t *testing.T) {
	l := newLesson(t)
	l.change(func(d *config.Draft) {
		for f := range d.FloatingIPsAt(addr("10.10.10.8")) {
			d.Put(&config.PortForwarding{
				Meta: config.Meta{ID: newID()}, FloatingIP: f.ID, Protocol: config.TCP, ExternalPort: 2223,
				FixedIP: addr("172.16.101.3"), Port: 22,
			})
		}
	})
	gone, stays := l.tcpFlow(l.client, 4000, "10.10.10.8", 2222, l.vm4),
		l.tcpFlow(l.client, 4000, "10.10.10.8", 2223, l.vm3)
	l.change(func(d *config.Draft) {
		for p := range d.PortForwardings() {
			if p.ExternalPort == 2222 {
				d.Delete(p.Ref())
			}
		}
	})
	l.wantResets(resets(gone))
	stays.lives()
}

func TestVIPGone(t *testing.T) {
	l := newLesson(t)
	l.change(func(d *config.Draft) { // another one, of the same pool
		v := *named[*config.Listener](d, config.KindListener, "web-vip")
		v.Meta = config.Meta{ID: newID(), Name: "other"}
		v.Port = 81
		d.Put(&v)
	})
	gone := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
	stays := l.tcpFlow(l.client, 4000, "10.10.10.7", 81, l.web2)
	l.change(func(d *config.Draft) { d.Delete(named[*config.Listener](d, config.KindListener, "web-vip").Ref()) })
	l.wantResets(resets(gone))
	stays.lives()
	l.change(func(d *config.Draft) { d.Delete(named[*config.Listener](d, config.KindListener, "other").Ref()) })
	l.wantResets(resets(stays))
	if r := l.w.routers[0]; len(r.ByListener) != 0 || len(r.Shares) != 0 || len(r.Unused) != len(r.Backends)-1 {
		t.Errorf("%d VIPs, %d pools, %d of %d backends are left", len(r.ByListener), len(r.Shares),
			len(r.Backends)-1-len(r.Unused), len(r.Backends)-1)
	}
}

// A VIP gets another pool: what it has goes on or ends as if all its members had been removed.
func TestVIPGetsAnotherPool(t *testing.T) {
	for _, removed := range []string{"drain", "reset"} {
		topo := tutorial()
		topo.Pools[0].OnMemberRemoved = removed
		topo.Pools = append(topo.Pools, file.Pool{
			Name: "new", Protocol: file.TCP, Algorithm: "LEAST_CONNECTIONS", OnMemberDown: "keep",
			OnMemberRemoved: "drain",
			Members: []file.Member{{Name: "VM4", Address: addr("172.16.101.4"), Port: 80, Weight: 1,
				AdminStateUp: true}},
		})
		l := newLessonOf(t, topo)
		f := l.tcpFlow(l.client, 4000, "10.10.10.7", 80, l.web1)
		l.change(func(d *config.Draft) {
			v := *named[*config.Listener](d, config.KindListener, "web-vip")
			v.Pool = named[*config.Pool](d, config.KindPool, "new").ID
			d.Put(&v)
		})
		if removed == "drain" {
			l.wantResets(nil)
			f.lives()
		} else {
			l.wantResets(resets(f))
		}
		l.tcpFlow(l.client, 4001, "10.10.10.7", 80, l.vm4).lives()
		if r := l.w.routers[0]; len(r.Shares) != 1 {
			t.Errorf("%s: %d pools at the router, want one", removed, len(r.Shares))
		}
	}
}

// A route sends what has gone outside to a network inside: its translation does not fit any more.
func TestRouteLeadsInside(t *testing.T) {
	l := newLesson(t)
	away, stays := l.tcpFlow(l.vm4, 4000, "10.10.10.1", 80, l.upstream),
		l.tcpFlow(l.vm4, 4001, "172.16.100.9", 80, l.web1)
	upstream := l.host("ext_net", "10.10.10.20")
	other := l.tcpFlow(l.vm4, 4002, "10.10.10.20", 80, upstream)
	l.change(func(d *config.Draft) {
		r := theRouter(d)
		r.Routes = append(slices.Clone(r.Routes), config.Route{
			Destination: netip.MustParsePrefix("10.10.10.1/32"), NextHop: addr("172.16.100.9"),
		})
		d.Put(&r)
	})
	l.wantResets(map[string][]string{"vlan101": resets(away)["vlan101"]}) // the other end is not where the route leads
	stays.lives()
	other.lives()
}

// A router goes: both ends of all its connections are told, and another router does not notice.
func TestRouterGone(t *testing.T) {
	for _, workers := range []int{1, 2} {
		topo := twoRouters()
		topo.Engine.Workers = workers
		s := newSim(t, topo)
		l := &lesson{sim: s}
		red, blue, outside := s.host("red", "192.168.1.9"), s.host("blue", "192.168.1.9"),
			s.host("ext_net", "10.10.10.4")
		gone, stays := l.tcpFlow(red, 4000, "10.10.10.4", 80, outside), l.tcpFlow(blue, 4000, "10.10.10.4", 80, outside)
		l.change(func(d *config.Draft) {
			r := named[*config.Router](d, config.KindRouter, "red")
			for f := range d.FloatingIPsOf(r.ID) {
				d.Delete(f.Ref())
			}
			for p := range d.InterfacesOf(r.ID) {
				d.Delete(p.Ref())
			}
			d.Delete(r.Ref())
		})
		l.wantResets(resets(gone))
		stays.lives()
		if len(l.routers) != 1 || len(l.nets["red"].Stations()) != 0 || len(l.nets["red"].Directory.Owners) != 0 {
			t.Errorf("%d workers: something of the router is left", workers)
		}
		n := 0
		for _, w := range l.workers {
			n += len(w.routers) + len(w.Tables)
		}
		if n != 2 {
			t.Errorf("%d workers: %d routers and tables of workers, want one each", workers, n)
		}
		stays.lives()
	}
}

// A shorter timeout ends what has been idle for that long.
func TestTimeoutsChange(t *testing.T) {
	l := newLesson(t)
	l.exchange(l.vm4, 4000, "10.10.10.1", 53, l.upstream, "10.10.10.2")
	l.advance(30 * time.Second)
	n := l.connections()
	l.change(func(d *config.Draft) {
		r := theRouter(d)
		r.NAT.Timeouts.UDP = 20 * time.Second
		d.Put(&r)
	})
	l.advance(time.Second)
	if got := l.connections(); got != n-1 {
		t.Errorf("%d connections, want %d", got, n-1)
	}
}

// The MTU of a network changes: the router's errors have the new one.
func TestMTUChanges(t *testing.T) {
	l := newLesson(t)
	l.change(func(d *config.Draft) {
		n := *named[*config.Network](d, config.KindNetwork, "ext_net")
		n.MTU = 1400
		d.Put(&n)
	})
	l.udp(l.vm4, 4000, "10.10.10.1", 53, string(make([]byte, 1450)), df)
	l.want(l.one("vlan101"), "icmp 172.16.101.1 > 172.16.101.4 type 3 code 4 about udp 172.16.101.4:4000 > "+
		"10.10.10.1:53")
	if i := l.nets["ext_net"].Routers[0].Owner.(*ip.Interface); i.MTU != 1400 {
		t.Errorf("the interface has %d", i.MTU)
	}
}

// A network that is down carries nothing, and is as before when it is up again.
func TestNetworkDown(t *testing.T) {
	l := newLesson(t)
	f := l.tcpFlow(l.vm4, 4000, "172.16.100.9", 80, l.web1)
	set := func(up bool) {
		l.change(func(d *config.Draft) {
			n := *named[*config.Network](d, config.KindNetwork, "vlan101")
			n.AdminStateUp = up
			d.Put(&n)
		})
	}
	before, ping := dump(l.Engine), l.build(l.vm4, "172.16.101.1", 1, nil, pingLayer())
	set(false)
	l.wantResets(map[string][]string{"vlan100": resets(f)["vlan100"]})
	l.put("vlan101", ping)
	l.none("vlan101")
	l.dropped(DropDetached, 1)
	set(true)
	if where := firstDifference(dump(l.Engine), before); where != "" {
		t.Error(where)
	}
	l.tcpFlow(l.vm4, 4001, "172.16.100.9", 80, l.web1)
}

// Objects that come while packets flow are used at once: a network with its device, a router with SNAT, a floating IP,
// a VIP.
func TestEverythingComes(t *testing.T) {
	l := newLesson(t)
	f := l.tcpFlow(l.vm4, 4000, "10.10.10.1", 80, l.upstream)
	l.change(func(d *config.Draft) {
		ext := named[*config.Network](d, config.KindNetwork, "ext_net")
		n := &config.Network{Meta: config.Meta{ID: newID(), Name: "green"}, AdminStateUp: true}
		s := &config.Subnet{
			Meta: config.Meta{ID: newID()}, Network: n.ID, CIDR: prefix("172.16.100.0/24"),
			Gateway: addr("172.16.100.1"),
		}
		r := &config.Router{
			Meta: config.Meta{ID: newID(), Name: "green"}, AdminStateUp: true,
			Gateway: &config.Gateway{Network: ext.ID, SNAT: true},
		}
		d.Put(n, s, r, &config.Port{
			Meta: config.Meta{ID: newID()}, Network: n.ID, AdminStateUp: true, DeviceOwner: config.OwnerInterface,
			DeviceID: string(r.ID), FixedIPs: []config.FixedIP{{Address: addr("172.16.100.1")}},
		}, &config.Port{
			Meta: config.Meta{ID: newID()}, Network: ext.ID, AdminStateUp: true, DeviceOwner: config.OwnerGateway,
			DeviceID: string(r.ID), FixedIPs: []config.FixedIP{{Address: addr("10.10.10.78")}},
		}, &config.FloatingIP{
			Meta: config.Meta{ID: newID()}, Network: ext.ID, Address: addr("10.10.10.77"),
			FixedIP: addr("172.16.100.9"),
			Router:  r.ID,
		})
	})
	l.nets = l.view.Load().networks
	l.names = append(l.names, "green")
	green := l.host("green", "172.16.100.9")
	other := l.host("green", "172.16.100.10")
	if got := l.announced("ext_net"); !slices.Contains(got, "10.10.10.77") {
		t.Errorf("announced: %v", got)
	}
	if g := l.tcpFlow(other, 4000, "10.10.10.1", 80, l.upstream); g.from == "10.10.10.2" || g.from == "172.16.100.10" {
		t.Errorf("it shows %s", g.from)
	}
	l.tcpFlow(l.client, 4000, "10.10.10.77", 22, green)
	f.lives()
}
