package neutron

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/config"
)

// portForwardings are below their floating IP, whose id is in the path: mountForwardings adds what depends on it.
var portForwardings = resource[*config.PortForwarding]{
	singular: "port_forwarding", plural: "port_forwardings", title: "Port Forwarding",
	attributes: forwardingAttributes,
	copied:     copied[config.PortForwarding],
	create: func(e *edit, p *config.PortForwarding, body map[string]any) error {
		return putForwarding(e, nil, p, body)
	},
	update: putForwarding,
	remove: func(e *edit, p *config.PortForwarding) error {
		e.Delete(p.Ref())
		return nil
	},
}

func forwardingAttributes(string) []attribute[*config.PortForwarding] {
	type forwarding = *config.PortForwarding
	port := func(name, key string, at func(p forwarding) *uint16) attribute[forwarding] {
		return attribute[forwarding]{name: name, format: number, may: always, field: key,
			get: func(_ reader, p forwarding) any { return int(*at(p)) },
			set: func(_ *edit, p forwarding, v any) (err error) {
				*at(p), err = portNumber(name, v)
				return err
			}}
	}
	// span is a range of one port, which clients may send instead of the number: see checkSpans.
	span := func(name, key string, at func(p forwarding) *uint16) attribute[forwarding] {
		return attribute[forwarding]{name: name, format: text, may: always, field: key,
			get: func(_ reader, p forwarding) any {
				n := strconv.Itoa(int(*at(p)))
				return n + ":" + n
			},
			set: func(_ *edit, p forwarding, v any) error {
				first, last, whole := strings.Cut(v.(string), ":")
				n, err := strconv.ParseUint(first, 10, 16)
				if err != nil || n == 0 || whole && last != first {
					return invalid(name, "'%v' is not the range of one port from 1 to 65535.", v)
				}
				*at(p) = uint16(n)
				return nil
			}}
	}
	external, internal := func(p forwarding) *uint16 { return &p.ExternalPort },
		func(p forwarding) *uint16 { return &p.Port }
	return []attribute[forwarding]{
		shown("id", identifier, func(_ reader, p forwarding) any { return string(p.ID) }),
		field("description", text, always, "description", func(p forwarding) *string { return &p.Description }),
		{name: "protocol", format: text, may: always | required, field: "protocol",
			get: func(_ reader, p forwarding) any { return strings.ToLower(string(p.Protocol)) },
			set: func(_ *edit, p forwarding, v any) error {
				p.Protocol = config.Protocol(strings.ToUpper(v.(string)))
				if p.Protocol != config.TCP && p.Protocol != config.UDP {
					return invalid("protocol", "'%v' is not in ['tcp', 'udp'].", v)
				}
				return nil
			}},
		port("external_port", "external_port", external),
		port("internal_port", "port", internal),
		span("external_port_range", "external_port", external),
		span("internal_port_range", "port", internal),
		{name: "internal_ip_address", format: address, may: always | required, field: "fixed_ip",
			get: func(_ reader, p forwarding) any { return addressText(p.FixedIP) },
			set: func(_ *edit, p forwarding, v any) error {
				p.FixedIP = v.(netip.Addr)
				return nil
			}},
		// Where the address is, is checked when all is known: see putForwarding.
		{name: "internal_port_id", format: identifier, may: always | required, get: forwardedPort,
			set: noSet[forwarding]},
	}
}

// forwardedPort is the id of the port that has the address behind a port forwarding.
func forwardedPort(r reader, p *config.PortForwarding) any {
	f := r.FloatingIP(p.FloatingIP)
	if f == nil {
		return nil
	}
	to := portOf(r, &config.FloatingIP{Network: f.Network, Router: f.Router, FixedIP: p.FixedIP})
	if to == nil {
		return nil
	}
	return string(to.ID)
}

// mountForwardings serves the port forwardings of each floating IP.
func (a *API) mountForwardings() {
	list := portForwardings.attributes(a.opt.Project)
	type served = *mounted[*config.PortForwarding]
	serve := func(fn func(m served, r *request) (reply, error)) func(r *request) (reply, error) {
		return func(r *request) (reply, error) {
			id := config.ID(r.PathValue("floatingip"))
			if a.control.State().FloatingIP(id) == nil {
				return reply{}, notFound("Floating IP", id)
			}
			m := &mounted[*config.PortForwarding]{resource: portForwardings, api: a, list: list}
			m.all = func(s *config.State) iter.Seq[*config.PortForwarding] { return s.ForwardingsOf(id) }
			m.get = func(in reader, of config.ID) (*config.PortForwarding, bool) {
				p := in.PortForwarding(of)
				return p, p != nil && p.FloatingIP == id
			}
			m.belongs = func(p *config.PortForwarding) bool { return p.FloatingIP == id }
			m.fresh = func(meta config.Meta) *config.PortForwarding {
				return &config.PortForwarding{Meta: meta, FloatingIP: id}
			}
			return fn(m, r)
		}
	}
	at := "/v2.0/floatingips/{floatingip}/port_forwardings"
	a.handle(at, methods{http.MethodGet: serve(served.index), http.MethodPost: serve(served.post)})
	a.handle(at+"/{id}", methods{http.MethodGet: serve(served.show), http.MethodPut: serve(served.put),
		http.MethodDelete: serve(served.delete)})
}

// checkSpans checks that the two ports are there, and that a number and a range of a body are the same. The range has
// been written last.
func checkSpans(p *config.PortForwarding, body map[string]any) error {
	for name, port := range map[string]uint16{"external_port": p.ExternalPort, "internal_port": p.Port} {
		if port == 0 {
			return malformed("Failed to parse request. Required attribute '%s' not specified", name)
		}
		if body[name] == nil {
			continue
		}
		if n, err := number.read(body[name]); err != nil || n != int(port) {
			return invalid(name, "it is not the port of %s_range.", name)
		}
	}
	return nil
}

// putForwarding checks that the port has the address, and that a router leads to it.
func putForwarding(e *edit, was, p *config.PortForwarding, body map[string]any) error {
	if err := checkSpans(p, body); err != nil {
		return err
	}
	f := e.FloatingIP(p.FloatingIP)
	if f == nil {
		return notFound("Floating IP", p.FloatingIP)
	}
	if f.FixedIP.IsValid() {
		return conflict("FipPortForwardingConflict", "Floating IP %s is associated with fixed IP %v, so it can have "+
			"no port forwardings.", f.ID, f.FixedIP)
	}
	for other := range e.ForwardingsOf(f.ID) {
		if other.ID != p.ID && other.Protocol == p.Protocol && other.ExternalPort == p.ExternalPort {
			return conflict("PortForwardingConflict", "Floating IP %s has a port forwarding of %s port %d already: %s.",
				f.ID, p.Protocol, p.ExternalPort, other.ID)
		}
	}
	if was != nil && body["internal_port_id"] == nil && body["internal_ip_address"] == nil {
		e.Put(p)
		return nil
	}
	id := body["internal_port_id"]
	if id == nil {
		id = forwardedPort(e, was)
	}
	to, err := portFor(e, f, id)
	if err != nil {
		return err
	}
	fixed, err := fixedIPFor(to, p.FixedIP.String())
	if err != nil {
		return err
	}
	leading := leadingTo(e, to.Network, fixed.Subnet, f.Network)
	switch {
	case len(leading) == 0:
		return unreachable(f, to, fixed.Subnet)
	case f.Router == "" || e.only(f, p):
		g := copied(f)
		g.Router = chooseRouter(e, leading, f, fixed.Subnet)
		e.Put(g)
	case !slices.ContainsFunc(leading, func(r *config.Router) bool { return r.ID == f.Router }):
		return badRequest("Bad port forwarding request: the other port forwardings of floating IP %s lead through "+
			"router %s, which does not reach %v.", f.ID, f.Router, p.FixedIP)
	}
	e.Put(p)
	return nil
}

// only says whether a floating IP has no other port forwarding.
func (e *edit) only(f *config.FloatingIP, p *config.PortForwarding) bool {
	for other := range e.ForwardingsOf(f.ID) {
		if other.ID != p.ID {
			return false
		}
	}
	return true
}
