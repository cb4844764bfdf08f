package router

import (
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/dhcp"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/service"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A serviceChange is what a change of the State means for the local services of one network.
type serviceChange struct {
	network *wire.Network
	was, is *service.Station // nil: none. The same station: only what it does changes
	config  *service.Config  // of is
}

// planServices finds the local services that come, change and go. The switch of a network without DHCP knows no station
// of services, and pays nothing for it: hosts get there by their router.
func planServices(p *Prepared) {
	for of := range p.touched.services {
		id := wire.ID(of)
		c := &serviceChange{network: p.networkOf(id), was: p.e.services[id]}
		if o := p.to.Network(of); o != nil {
			c.config = serviceOf(p.to, o, p.e.upstreams)
		}
		if c.config != nil {
			mac, hidden := serviceMAC(p.to, of), c.config.DHCP == nil
			if hidden {
				mac = packet.MAC(gatewayRouter(p.to, p.to.Network(of)).MAC)
			}
			if c.is = c.was; c.was == nil || c.was.MAC != mac || c.was.Hidden != hidden {
				c.is = service.NewStation(c.network, mac, p.e.runner, p.e.leases.Server(string(of)),
					p.e.random.of("services", id))
				c.is.Hidden = hidden
			}
		}
		if c.was == nil && c.is == nil {
			continue
		}
		p.services = append(p.services, c)
		if c.is == c.was {
			continue
		}
		if isShown(c.was) {
			p.networkChange(c.network).left(&c.was.Station)
		}
		if isShown(c.is) {
			p.networkChange(c.network).come(&c.is.Station)
		}
	}
}

// isShown says whether the switch knows local services, so that hosts reach them without a router.
func isShown(s *service.Station) bool { return s != nil && !s.Hidden }

// serviceMAC is the MAC address of a network's local services: that of the port of its DHCP server, if there is one.
func serviceMAC(s *config.State, network config.ID) packet.MAC {
	if p := s.DHCPPort(network); p != nil {
		return packet.MAC(p.MAC)
	}
	return internalMAC("services", wire.ID(network))
}

// changeServices has local services do what the State says. It comes before the switches know new ones.
func changeServices(p *Prepared) {
	come := map[string]bool{} // networks that had no DHCP
	for _, c := range p.services {
		if c.is != nil {
			c.is.Serve(c.config)
		}
		if c.is == c.was {
			continue
		}
		if c.is == nil {
			c.network.Local.Store(nil)
			p.e.served.Delete(c.network.ID)
			continue
		}
		if c.is.Hidden {
			c.is.Worker = c.network.Home
		}
		c.network.Local.Store(&c.is.Station)
		if c.is.Hidden {
			p.e.served.Delete(c.network.ID)
			continue
		}
		w := c.is.Worker
		_ = w.Call(func() { w.Tables = append(w.Tables[:len(w.Tables):len(w.Tables)], loop.Ticker(c.is)) })
		if !isShown(c.was) {
			p.e.served.Store(c.network.ID, c.network)
			come[string(c.network.ID)] = true
		}
	}
	if len(come) == 0 {
		return
	}
	var kept []dhcp.Change
	for _, l := range p.e.leases.List(p.e.runner.Now()) {
		if come[l.Network] {
			kept = append(kept, dhcp.Change{Lease: l})
		}
	}
	bindLeases(p.e, kept)
}

// bindLeases lets port security know which hosts have which addresses by DHCP. It is called before a host is told of
// its lease, from any goroutine: the worker of the network binds the address before it sends the answer.
func bindLeases(e *Engine, changes []dhcp.Change) {
	for _, c := range changes {
		at, ok := e.served.Load(wire.ID(c.Network))
		if !ok || !c.Address.Is4() {
			continue
		}
		n := at.(*wire.Network)
		n.Home.Post(func() {
			if c.Gone {
				n.Unbind(packet.MAC(c.MAC), packet.AddrFrom(c.Address))
			} else {
				n.Bind(packet.MAC(c.MAC), packet.AddrFrom(c.Address))
			}
		})
	}
}

// endServices ends the local services that go, when no switch knows them any more. The leases of a network that is gone
// go with it.
func endServices(p *Prepared) {
	for _, c := range p.services {
		if c.was == nil || c.was == c.is {
			continue
		}
		c.was.End()
		if isShown(c.was) {
			w := c.was.Worker
			_ = w.Call(func() { w.RemoveTable(c.was) }) // after Close there is nothing to end
		}
	}
	forgetLeases(p.e, p.to)
}

// rememberServices notes the local services that there are.
func rememberServices(p *Prepared) {
	for _, c := range p.services {
		if c.is == nil {
			delete(p.e.services, c.network.ID)
		} else {
			p.e.services[c.network.ID] = c.is
		}
	}
}
