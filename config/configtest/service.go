package configtest

import (
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/config"
)

func (g *Maker) editFloatingIP(d *config.Draft) {
	f := some(g, d.FloatingIPs(), 5)
	if f == nil {
		for n := range d.Networks() {
			if n.External {
				f = &config.FloatingIP{Meta: g.meta(""), Network: n.ID}
				if g.chance(2) {
					f.Address = g.address(d, n)
				}
				break
			}
		}
		if f == nil {
			return
		}
	}
	switch g.rng.IntN(5) {
	case 0:
		f.FixedIP = netip.Addr{}
	case 1:
		if r := pick(g, d.Routers()); r != nil {
			f.Router = r.ID
		}
	case 2:
		f.Address, f.Router = netip.Addr{}, ""
		g.LeftOpen = true
	default:
		if d.FloatingIP(f.ID) != nil {
			g.LeftOpen = true
		}
		f.FixedIP, f.Router = g.inner(d), ""
	}
	d.Put(f)
}

func (g *Maker) editForwarding(d *config.Draft) {
	p := some(g, d.PortForwardings(), 3)
	if p == nil {
		f := pick(g, d.FloatingIPs())
		if f == nil {
			return
		}
		p = &config.PortForwarding{Meta: g.meta(""), FloatingIP: f.ID}
	}
	p.Protocol, p.ExternalPort, p.Port = g.protocol(), 8000+uint16(g.rng.IntN(3)), 80+uint16(g.rng.IntN(2))
	p.FixedIP = g.inner(d)
	d.Put(p)
}

func (g *Maker) protocol() config.Protocol {
	if g.chance(4) {
		return config.UDP
	}
	return config.TCP
}

func (g *Maker) editPool(d *config.Draft) {
	p := some(g, d.Pools(), 3)
	if p == nil {
		p = &config.Pool{Meta: g.meta("p"), AdminStateUp: true}
	}
	p.Protocol = g.protocol()
	p.Algorithm = []string{"", "LEAST_CONNECTIONS", "SOURCE_IP"}[g.rng.IntN(3)]
	p.SessionPersistence = nil
	if g.chance(4) {
		p.SessionPersistence = &config.SessionPersistence{Timeout: time.Duration(g.rng.IntN(3)) * time.Minute}
	}
	d.Put(p)
}

func (g *Maker) editMonitor(d *config.Draft) {
	p := pick(g, d.Pools())
	if p == nil {
		return
	}
	m := d.MonitorOf(p.ID)
	if m == nil || g.chance(10) {
		m = &config.Monitor{Meta: g.meta(""), Pool: p.ID, AdminStateUp: true}
	} else {
		n := *m
		m = &n
	}
	m.Type = []string{"TCP", "PING", "UDP-CONNECT", "HTTP", "TLS-HELLO"}[g.rng.IntN(5)]
	if m.HTTPVersion, m.DomainName = "", ""; m.Type == "HTTP" && g.rng.IntN(2) == 0 {
		m.HTTPVersion, m.DomainName = "1.1", "www.example.com"
	}
	m.Delay = time.Duration(g.rng.IntN(10)) * time.Second
	d.Put(m)
}

func (g *Maker) editMember(d *config.Draft) {
	m := some(g, d.Members(), 8)
	if m == nil {
		p := pick(g, d.Pools())
		if p == nil {
			return
		}
		m = &config.Member{Meta: g.meta("m"), Pool: p.ID, Weight: 1, AdminStateUp: true}
	}
	switch g.rng.IntN(4) {
	case 0:
		m.Weight = g.rng.IntN(3)
	case 1:
		m.AdminStateUp = !m.AdminStateUp
	default:
		m.Address = g.inner(d)
	}
	if !m.Address.IsValid() {
		m.Address = netip.MustParseAddr("203.0.113.7")
	}
	m.Port = 80 + uint16(g.rng.IntN(2))
	m.MonitorPort = uint16(m.Weight) // 0 in some
	if m.MonitorAddress = (netip.Addr{}); m.Weight == 2 {
		m.MonitorAddress = m.Address.Next()
	}
	d.Put(m)
}

func (g *Maker) editBalancer(d *config.Draft) {
	b := some(g, d.LoadBalancers(), 4)
	if b == nil {
		n := pick(g, d.Networks())
		if n == nil {
			return
		}
		b = &config.LoadBalancer{Meta: g.meta("b"), Network: n.ID, AdminStateUp: true}
		if g.chance(2) {
			b.Address = g.address(d, n)
		}
		d.Put(b, &config.Listener{Meta: g.meta("v"), LoadBalancer: b.ID, Protocol: config.TCP, Port: 80,
			AdminStateUp: true})
		return
	}
	switch g.rng.IntN(4) {
	case 0:
		b.AdminStateUp = !b.AdminStateUp
	case 1:
		b.Address = g.address(d, d.Network(b.Network))
	case 2:
		if r := pick(g, d.Routers()); r != nil {
			b.Router = r.ID
		}
	case 3:
		b.Router = ""
		g.LeftOpen = true
	}
	d.Put(b)
}

func (g *Maker) editListener(d *config.Draft) {
	l := some(g, d.Listeners(), 5)
	if l == nil {
		b := pick(g, d.LoadBalancers())
		if b == nil {
			return
		}
		l = &config.Listener{Meta: g.meta("v"), LoadBalancer: b.ID, AdminStateUp: true}
	}
	l.Protocol, l.Port, l.Pool = g.protocol(), 80+uint16(g.rng.IntN(2)), ""
	if p := pick(g, d.Pools()); p != nil && !g.chance(4) {
		l.Pool, l.Protocol = p.ID, p.Protocol
	}
	l.AllowedCIDRs = nil
	if g.chance(6) {
		l.AllowedCIDRs = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	}
	d.Put(l)
}
