package native

import (
	"net/http"
	"net/netip"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

var routerParam = []param{{"router", "string", "Name or id of a router; all of them without it."}}

// A neighborEntry has iproute2's keys, where it has one.
type neighborEntry struct {
	Address   string   `json:"dst"`
	Network   string   `json:"dev" doc:"The network's name."`
	MAC       string   `json:"lladdr,omitempty"`
	State     []string `json:"state" doc:"As iproute2 calls it."`
	Confirmed float64  `json:"confirmed" doc:"Seconds since the last answer; of a FAILED one since it failed."`
	Waiting   int      `json:"waiting" doc:"Packets that wait for the answer."`
	Router    string   `json:"router"`
	RouterID  string   `json:"router_id"`
	NetworkID string   `json:"network_id"`
}

func (a *API) listNeighbors(w http.ResponseWriter, r *http.Request) error {
	return a.stream(w, r, "neighbors", false, func(put func(any) error) error {
		var failed error
		err := a.inspect.Neighbors(r.Context(), r.URL.Query().Get("router"), func(n router.NeighborEntry) bool {
			e := neighborEntry{Address: n.Address.String(), Network: n.Network, State: []string{n.State},
				Confirmed: n.Age.Seconds(), Waiting: n.Waiting, Router: n.Router, RouterID: string(n.RouterID),
				NetworkID: string(n.NetworkID)}
			if !n.MAC.IsZero() {
				e.MAC = n.MAC.String()
			}
			failed = put(e)
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		return err
	})
}

// A routeEntry has iproute2's keys, where it has one.
type routeEntry struct {
	Destination string      `json:"dst" doc:"A prefix, or default."`
	Gateway     string      `json:"gateway,omitempty" doc:"The next hop; none: on link."`
	Network     string      `json:"dev,omitempty" doc:"The network's name."`
	Protocol    string      `json:"protocol" doc:"kernel for a subnet of an interface, static for all others."`
	Scope       string      `json:"scope,omitempty" doc:"link: there is no next hop."`
	Source      string      `json:"prefsrc,omitempty" doc:"The router's own address there."`
	Flags       []string    `json:"flags" doc:"dead: no network of the router has the next hop."`
	Kind        string      `json:"kind" doc:"connected, static or default"`
	Router      string      `json:"router"`
	RouterID    string      `json:"router_id"`
	NetworkID   string      `json:"network_id,omitempty"`
	Origin      originEntry `json:"origin"`
}

// An originEntry says where a rule came from.
type originEntry struct {
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	ID   string `json:"id,omitempty"`
	At   string `json:"at,omitempty" doc:"A line of a file, or a request."`
}

func originOf(p router.Provenance) originEntry {
	return originEntry{p.Kind, p.Name, string(p.ID), p.At}
}

// text is an address as text, empty if there is none.
func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (a *API) listRoutes(w http.ResponseWriter, r *http.Request) error {
	all, err := a.inspect.Routes(r.Context(), r.URL.Query().Get("router"))
	if err != nil {
		return err
	}
	return a.stream(w, r, "routes", false, func(put func(any) error) error {
		for i := range all {
			if err := put(routeEntryOf(&all[i])); err != nil {
				return err
			}
		}
		return nil
	})
}

func routeEntryOf(e *router.RouteEntry) routeEntry {
	out := routeEntry{Destination: e.To.String(), Gateway: text(e.Via), Network: e.Network, Protocol: "static",
		Source: text(e.From), Flags: []string{}, Kind: string(e.Kind), Router: e.Router, RouterID: string(e.RouterID),
		NetworkID: string(e.NetworkID), Origin: originOf(e.Origin)}
	if e.To.Bits() == 0 {
		out.Destination = "default"
	}
	if e.Kind == router.Connected {
		out.Protocol = "kernel"
	}
	if !e.Via.IsValid() {
		out.Scope = "link"
	}
	if e.Ignored {
		out.Flags = append(out.Flags, "dead")
	}
	return out
}

// natRules are one router's rules for addresses.
type natRules struct {
	Router      string         `json:"router"`
	RouterID    string         `json:"router_id"`
	Rules       []string       `json:"rules" doc:"As people think of them, one a line; VIPs are none of them."`
	SNAT        *snatRule      `json:"snat" doc:"null: internal hosts share no address."`
	FloatingIPs []floatingRule `json:"floating_ips"`
	Forwardings []forwardRule  `json:"port_forwardings"`
	VIPs        []vip          `json:"vips"`
}

type snatRule struct {
	Network      string        `json:"network"`
	NetworkID    string        `json:"network_id"`
	Addresses    []snatAddress `json:"addresses" doc:"Each internal host has one of them, always the same."`
	Untranslated []string      `json:"untranslated" doc:"Destinations that see internal addresses."`
	Origin       originEntry   `json:"origin"`
}

type snatAddress struct {
	Address string     `json:"address"`
	InUse   portsInUse `json:"ports_in_use"`
}

type portsInUse struct {
	TCP  int `json:"tcp"`
	UDP  int `json:"udp"`
	ICMP int `json:"icmp" doc:"Query identifiers."`
}

type floatingRule struct {
	ID      string      `json:"id"`
	Address string      `json:"address"`
	FixedIP string      `json:"fixed_ip"`
	InForce bool        `json:"in_force" doc:"The router has a gateway."`
	Origin  originEntry `json:"origin"`
}

type forwardRule struct {
	ID           string      `json:"id"`
	Address      string      `json:"address"`
	Protocol     string      `json:"protocol"`
	ExternalPort uint16      `json:"external_port"`
	FixedIP      string      `json:"fixed_ip"`
	Port         uint16      `json:"port"`
	InForce      bool        `json:"in_force"`
	Origin       originEntry `json:"origin"`
}

func (a *API) listNAT(w http.ResponseWriter, r *http.Request) error {
	all, err := a.inspect.NAT(r.Context(), r.URL.Query().Get("router"))
	if err != nil {
		return err
	}
	balancers, err := a.inspect.LoadBalancers(r.Context())
	if err != nil {
		return err
	}
	state := a.opt.Engine.State()
	byRouter := map[config.ID][]vip{} // routers may have the same name
	for i := range balancers {
		id := balancers[i].RouterID
		byRouter[id] = append(byRouter[id], vipsOf(&balancers[i])...)
	}
	return a.stream(w, r, "routers", false, func(put func(any) error) error {
		for i := range all {
			n := natRulesOf(&all[i])
			if o := state.Router(all[i].RouterID); o != nil {
				for _, rule := range control.NATRules(state, o) {
					n.Rules = append(n.Rules, rule.String())
				}
			}
			if n.VIPs = byRouter[all[i].RouterID]; n.VIPs == nil {
				n.VIPs = []vip{}
			}
			if err := put(n); err != nil {
				return err
			}
		}
		return nil
	})
}

func natRulesOf(r *router.NATRules) natRules {
	n := natRules{Router: r.Router, RouterID: string(r.RouterID), Rules: []string{}, FloatingIPs: []floatingRule{},
		Forwardings: []forwardRule{}}
	if s := r.SNAT; s != nil {
		n.SNAT = &snatRule{Network: s.Network, NetworkID: string(s.NetworkID), Addresses: []snatAddress{},
			Untranslated: []string{}, Origin: originOf(s.Origin)}
		for _, a := range s.Addresses {
			n.SNAT.Addresses = append(n.SNAT.Addresses,
				snatAddress{a.Address.String(), portsInUse{a.TCP, a.UDP, a.ICMP}})
		}
		for _, p := range s.Plain {
			n.SNAT.Untranslated = append(n.SNAT.Untranslated, p.String())
		}
	}
	for i := range r.FloatingIPs {
		f := &r.FloatingIPs[i]
		if f.Fixed.IsValid() {
			n.FloatingIPs = append(n.FloatingIPs,
				floatingRule{string(f.ID), f.Address.String(), f.Fixed.String(), f.InForce, originOf(f.Origin)})
		}
		for _, p := range f.Forwards {
			n.Forwardings = append(n.Forwardings, forwardRule{string(p.ID), f.Address.String(), p.Protocol, p.Port,
				p.To.Addr().String(), p.To.Port(), f.InForce, originOf(p.Origin)})
		}
	}
	return n
}

// A floatingIP is a floating IP of the State, used or not.
type floatingIP struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Address     string            `json:"address"`
	Network     string            `json:"network"`
	NetworkID   string            `json:"network_id"`
	FixedIP     string            `json:"fixed_ip,omitempty"`
	Router      string            `json:"router,omitempty"`
	RouterID    string            `json:"router_id,omitempty"`
	Status      string            `json:"status" doc:"ACTIVE or DOWN, as Neutron says it."`
	Forwardings []forwardingEntry `json:"port_forwardings"`
}

type forwardingEntry struct {
	ID           string `json:"id"`
	Protocol     string `json:"protocol"`
	ExternalPort uint16 `json:"external_port"`
	FixedIP      string `json:"fixed_ip"`
	Port         uint16 `json:"port"`
}

func (a *API) listFloatingIPs(w http.ResponseWriter, r *http.Request) error {
	s := a.opt.Engine.State()
	return a.stream(w, r, "floating_ips", false, func(put func(any) error) error {
		for f := range s.FloatingIPs() {
			if err := put(floatingIPOf(s, f)); err != nil {
				return err
			}
		}
		return nil
	})
}

func floatingIPOf(s *config.State, f *config.FloatingIP) floatingIP {
	out := floatingIP{ID: string(f.ID), Name: f.Name, Address: f.Address.String(), NetworkID: string(f.Network),
		FixedIP: text(f.FixedIP), RouterID: string(f.Router), Status: "DOWN", Forwardings: []forwardingEntry{}}
	if n := s.Network(f.Network); n != nil {
		out.Network = n.Name
	}
	for p := range s.ForwardingsOf(f.ID) {
		out.Forwardings = append(out.Forwardings,
			forwardingEntry{string(p.ID), string(p.Protocol), p.ExternalPort, p.FixedIP.String(), p.Port})
	}
	if o := s.Router(f.Router); o != nil {
		out.Router = o.Name
		if o.AdminStateUp && o.Gateway != nil && (f.FixedIP.IsValid() || len(out.Forwardings) > 0) {
			out.Status = "ACTIVE"
		}
	}
	return out
}

// A vip is one listener of a load balancer, as its router serves it.
type vip struct {
	ID         string     `json:"id" doc:"The listener's."`
	Name       string     `json:"name"`
	Router     string     `json:"router"`
	Address    string     `json:"address"`
	Protocol   string     `json:"protocol"`
	Port       uint16     `json:"port"`
	Status     string     `json:"operating_status"`
	Statistics statistics `json:"statistics"`
	Refused    uint64     `json:"refused" doc:"Connections without a member, beyond the limit, or not allowed."`
	Pool       pool       `json:"pool"`
}

type statistics struct {
	Active     int    `json:"active_connections"`
	Total      uint64 `json:"total_connections"`
	PacketsIn  uint64 `json:"packets_in"`
	PacketsOut uint64 `json:"packets_out"`
	BytesIn    uint64 `json:"bytes_in"`
	BytesOut   uint64 `json:"bytes_out"`
}

type pool struct {
	Name       string     `json:"name"`
	Algorithm  string     `json:"algorithm"`
	Status     string     `json:"operating_status"`
	Statistics statistics `json:"statistics"`
	Members    []member   `json:"members"`
}

type member struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Address    string     `json:"address"`
	Port       uint16     `json:"port"`
	Weight     int        `json:"weight"`
	Backup     bool       `json:"backup"`
	AdminUp    bool       `json:"admin_state_up"`
	Removed    bool       `json:"removed" doc:"It was a member, and still has connections."`
	Status     string     `json:"operating_status"`
	Statistics statistics `json:"statistics"`
	Check      *check     `json:"check" doc:"The last one; null: there was none."`
}

type check struct {
	At       string  `json:"at"`
	Took     float64 `json:"took" doc:"Seconds until the result."`
	OK       bool    `json:"ok"`
	Sent     string  `json:"sent"`
	Received string  `json:"received"`
	Why      string  `json:"why"`
}

func (a *API) listVIPs(w http.ResponseWriter, r *http.Request) error {
	all, err := a.inspect.LoadBalancers(r.Context())
	if err != nil {
		return err
	}
	return a.stream(w, r, "vips", false, func(put func(any) error) error {
		for i := range all {
			for _, v := range vipsOf(&all[i]) {
				if err := put(v); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func statisticsOf(s *router.Statistics) statistics {
	return statistics{s.Active, s.Total, s.PacketsIn, s.PacketsOut, s.BytesIn, s.BytesOut}
}

func vipsOf(b *router.LoadBalancer) []vip {
	all := make([]vip, 0, len(b.Listeners))
	for i := range b.Listeners {
		l := &b.Listeners[i]
		v := vip{ID: string(l.ID), Name: l.Name, Router: b.Router, Address: b.Address.String(), Protocol: l.Protocol,
			Port: l.Port, Status: string(l.OperatingStatus), Statistics: statisticsOf(&l.Statistics),
			Refused: l.Refused,
			Pool: pool{l.Pool.Name, l.Pool.Algorithm, string(l.Pool.OperatingStatus), statisticsOf(&l.Pool.Statistics),
				[]member{}}}
		for k := range l.Pool.Members {
			v.Pool.Members = append(v.Pool.Members, memberOf(&l.Pool.Members[k]))
		}
		all = append(all, v)
	}
	return all
}

func memberOf(m *router.MemberStatus) member {
	out := member{ID: string(m.ID), Name: m.Name, Address: m.Address.Addr().String(), Port: m.Address.Port(),
		Weight: m.Weight, Backup: m.Backup, AdminUp: m.AdminStateUp, Removed: m.Removed,
		Status: string(m.OperatingStatus), Statistics: statisticsOf(&m.Statistics)}
	if c := m.Check; c != nil {
		out.Check = &check{stamp(c.At), c.Took.Seconds(), c.OK, c.Sent, c.Received, c.Why}
	}
	return out
}

// dropCounts are what was not forwarded.
type dropCounts struct {
	Drops  []dropCount   `json:"drops" doc:"Frames that were dropped."`
	Unsent []unsentCount `json:"unsent" doc:"Frames of its own that the router has not sent."`
	Lost   []lostCount   `json:"lost" doc:"Frames that a device did not take."`
	Tags   []tagCount    `json:"tags" doc:"Frames among the drops with the VLAN tag of no network on the device."`
	Ports  []portDrops   `json:"ports" doc:"What port security has dropped. These frames are in drops, too."`

	Recalled []recalledCount `json:"recalled" doc:"Borrowed connections that have ended for other hosts."`
}

// A recalledCount is how many connections of a router have ended because their hosts held them beyond their shares,
// and other hosts needed their places.
type recalledCount struct {
	Router      string `json:"router"`
	RouterID    string `json:"router_id"`
	Connections uint64 `json:"connections"`
	Remedy      string `json:"remedy" doc:"How there would be room for all."`
}

type tagCount struct {
	Device  string `json:"device"`
	VLAN    *int   `json:"vlan" doc:"null: further tags than those that have a count of their own."`
	Packets uint64 `json:"packets"`
}

type dropCount struct {
	Stage   string `json:"stage" doc:"Where on the way through the router, as ARCHITECTURE.md says."`
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
}

type unsentCount struct {
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
}

type lostCount struct {
	Network string `json:"network" doc:"Empty if several networks share the device."`
	Device  string `json:"device"`
	Packets uint64 `json:"packets"`
}

// portDrops are frames that port security has dropped at one device, of one port, for one reason.
type portDrops struct {
	Network   string `json:"network"`
	NetworkID string `json:"network_id"`
	Device    string `json:"device" doc:"Empty: frames of entries that had to make room for others."`
	Port      string `json:"port" doc:"The port's name."`
	PortID    string `json:"port_id" doc:"Empty: the frames are of no port."`
	Reason    string `json:"reason"`
	Packets   uint64 `json:"packets"`
	Last      string `json:"last,omitempty" doc:"When the last of them came. What follows is about that one."`
	MAC       string `json:"mac_address,omitempty" doc:"That it has claimed."`
	Address   string `json:"ip_address,omitempty" doc:"That it has claimed; left out if it is about the MAC address alone."`
	Why       string `json:"why" doc:"What it has done."`
	Remedy    string `json:"remedy" doc:"What would let it pass; empty: nothing does."`
}

func portDropsOf(d *router.PortDrop) portDrops {
	out := portDrops{Network: d.Network, NetworkID: string(d.NetworkID), Device: d.Device, Port: d.Port,
		PortID: string(d.PortID), Reason: d.Reason.String(), Packets: d.Frames, MAC: d.MAC, Address: text(d.Address),
		Why: d.Why, Remedy: d.Remedy}
	if !d.Last.IsZero() {
		out.Last = stamp(d.Last)
	}
	return out
}

func (a *API) listDrops(w http.ResponseWriter, r *http.Request) error {
	s, err := a.inspect.Stats(r.Context())
	if err != nil {
		return err
	}
	out := dropCounts{[]dropCount{}, []unsentCount{}, []lostCount{}, []tagCount{}, []portDrops{}, []recalledCount{}}
	for _, d := range s.DropsAt {
		out.Drops = append(out.Drops, dropCount{d.Stage.String(), d.Reason.String(), d.Frames})
	}
	for _, reason := range unsentReasons(&s) {
		out.Unsent = append(out.Unsent, unsentCount{reason.String(), s.Unsent[reason]})
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		if d.Lost > 0 {
			out.Lost = append(out.Lost, lostCount{d.Network, d.Device, d.Lost})
		}
		for k := range d.UnknownTags {
			out.Tags = append(out.Tags, tagCount{d.Device, &d.UnknownTags[k].VLAN, d.UnknownTags[k].Frames})
		}
		if d.UnknownOther > 0 {
			out.Tags = append(out.Tags, tagCount{d.Device, nil, d.UnknownOther})
		}
	}
	for i := range s.PortDrops {
		out.Ports = append(out.Ports, portDropsOf(&s.PortDrops[i]))
	}
	for i := range s.Routers {
		if t := &s.Routers[i]; t.Recalled > 0 {
			out.Recalled = append(out.Recalled, recalledCount{t.Router, string(t.ID), t.Recalled, router.RecallRemedy})
		}
	}
	return a.answer(w, r, http.StatusOK, out)
}

// A device is one attachment of a network, or of several networks, with its counters since the start.
type device struct {
	Device     string   `json:"device"`
	Network    string   `json:"network" doc:"Empty if several networks share the device, by VLAN tags."`
	Present    bool     `json:"present" doc:"It is open at this moment."`
	RxPackets  uint64   `json:"rx_packets"`
	RxBytes    uint64   `json:"rx_bytes"`
	TxPackets  uint64   `json:"tx_packets"`
	TxBytes    uint64   `json:"tx_bytes"`
	TxDropped  uint64   `json:"tx_dropped" doc:"Frames that the device did not take."`
	Configured bool     `json:"configured" doc:"The configuration names it; others are in memory."`
	Networks   []string `json:"networks" doc:"All networks that have the device."`
}

func (a *API) listDevices(w http.ResponseWriter, r *http.Request) error {
	s, err := a.inspect.Stats(r.Context())
	if err != nil {
		return err
	}
	state := a.opt.Engine.State()
	stated := map[string]bool{}
	for n := range state.Networks() {
		for _, d := range state.DevicesOf(n.ID) {
			stated[d.String()] = true
		}
	}
	return a.stream(w, r, "devices", false, func(put func(any) error) error {
		for i := range s.Devices {
			d := &s.Devices[i]
			if err := put(device{d.Device, d.Network, d.Present, d.RxFrames, d.RxBytes, d.TxFrames, d.TxBytes, d.Lost,
				stated[d.Device], d.Networks}); err != nil {
				return err
			}
		}
		return nil
	})
}
