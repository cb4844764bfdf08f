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

// planServices finds the local services that come, change and go. A network where nothing is served has no station, so
// that its switch does not ask for one.
func planServices(p *Prepared) {
	for of := range p.touched.services {
		id := wire.ID(of)
		c := &serviceChange{network: p.networkOf(id), was: p.e.services[id]}
		if o := p.to.Network(of); o != nil {
			c.config = serviceOf(p.to, o, p.e.State)
		}
		if c.config != nil {
			mac := serviceMAC(p.to, of)
			if c.is = c.was; c.was == nil || c.was.MAC != mac {
				c.is = service.NewStation(c.network, mac, p.e.runner, p.e.leases.Server(string(of)),
					p.e.random.of("services", id))
			}
		}
		if c.was == nil && c.is == nil {
			continue
		}
		p.services = append(p.services, c)
		if c.is != c.was {
			n := p.networkChange(c.network)
			if c.was != nil {
				n.left(&c.was.Station)
			}
			if c.is != nil {
				n.come(&c.is.Station)
			}
		}
	}
}

// serviceMAC is the MAC address of a network's local services: that of the port of its DHCP server, if there is one.
func serviceMAC(s *config.State, network config.ID) packet.MAC {
	if p := s.DHCPPort(network); p != nil {
		return packet.MAC(p.MAC)
	}
	return internalMAC("services", wire.ID(network))
}

// changeServices has local services do what the State says. It comes before the switches know new ones.
func changeServices(p *Prepared) {
	come := map[string]bool{} // networks that had no services
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
		c.network.Local.Store(&c.is.Station)
		w := c.is.Worker
		_ = w.Call(func() { w.Tables = append(w.Tables[:len(w.Tables):len(w.Tables)], loop.Ticker(c.is)) })
		if c.was == nil {
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
		if c.was != nil && c.was != c.is {
			c.was.End()
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
