package metrics

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

// A family is one metric with its labels.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, labels ...string) family {
	return family{prometheus.NewDesc("taprouter_"+name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) family {
	return family{prometheus.NewDesc("taprouter_"+name, help, labels, nil), prometheus.GaugeValue}
}

// The families. Prometheus's rules for names hold: base units, _total for what only grows.
var (
	rxPackets = counter("device_receive_packets_total", "Frames from a device.", "network", "device")
	rxBytes   = counter("device_receive_bytes_total", "Bytes of frames from a device.", "network", "device")
	txPackets = counter("device_transmit_packets_total", "Frames to a device.", "network", "device")
	txBytes   = counter("device_transmit_bytes_total", "Bytes of frames to a device.", "network", "device")
	txLost    = counter("device_lost_packets_total", "Frames that a device did not take.", "network", "device")
	deviceUp  = gauge("device_up", "Whether a device is open.", "network", "device")

	unknownTags = counter("device_unknown_tag_packets_total",
		"Frames with the VLAN tag of no network on a device: the first 64 tags, and other.", "device", "vlan")

	received  = counter("received_packets_total", "Frames that the router has received.")
	forwarded = counter("forwarded_packets_total", "Frames that were sent on.")
	consumed  = counter("consumed_packets_total", "Frames that were answered, learned from, or for nobody else.")
	made      = counter("made_packets_total", "Frames that the router has made.")
	parked    = gauge("parked_packets", "Frames that wait for a neighbor or for other fragments.")
	dropped   = counter("drops_total", "Frames that were dropped, by reason.", "reason")
	unsent    = counter("unsent_total", "Frames of its own that the router did not send, by reason.", "reason")
	portDrops = counter("port_security_drops_total", "Frames that port security has dropped, by network and reason.",
		"network", "reason")
	conflicts = counter("address_conflicts_total", "ARP messages that claim an address of a router.")

	connections = gauge("connections", "Connections in the table of a router.", "router", "state")
	created     = counter("connections_created_total", "Connections so far.", "router")
	ended       = counter("connections_ended_total", "Connections that a router has ended, by reason.", "router",
		"reason")
	neighbors = gauge("neighbors", "Entries of a router's neighbor table.", "router")

	portsInUse = gauge("nat_ports_in_use", "Ports of a shared address that have a mapping.", "router", "address",
		"protocol")
	overloaded = counter("nat_overloaded_total", "Connections that share an external port with others.", "router")

	memberUp = gauge("lb_member_up", "Whether a member takes connections, by its checks and its operator.",
		"router", "vip", "pool", "member")
	lbTotal   = counter("lb_connections_total", "Connections of a VIP so far.", "router", "vip")
	lbActive  = gauge("lb_connections", "Connections of a VIP that are not over.", "router", "vip")
	lbRefused = counter("lb_refused_total", "Connections that a VIP has refused, or had no member for.", "router",
		"vip")
	lbBytes = counter("lb_bytes_total", "Bytes of a VIP's packets.", "router", "vip", "direction")

	busy    = counter("worker_busy_seconds_total", "Processor time of a worker.", "worker")
	turns   = counter("worker_turns_total", "Rounds of a worker's loop.", "worker")
	longest = gauge("worker_longest_read_seconds", "Processor time of the longest step in which statistics were read.",
		"worker")

	dhcpMessages = counter("dhcp_messages_total", "DHCP messages of hosts, by what has become of them.", "network",
		"result")
	dhcpLeases = gauge("dhcp_leases", "Dynamic leases of DHCP.", "network")
	dhcpSize   = gauge("dhcp_pool_addresses", "Addresses of the allocation pools of a subnet with DHCP.", "network",
		"subnet")
	dhcpUsed = gauge("dhcp_pool_used_addresses", "Of these, the ones that objects or hosts have.", "network", "subnet")
)

// families are all of the above.
var families = []family{
	rxPackets, rxBytes, txPackets, txBytes, txLost, deviceUp, unknownTags, received, forwarded, consumed, made, parked,
	dropped,
	unsent, portDrops, conflicts, connections, created, ended, neighbors, portsInUse, overloaded, memberUp, lbTotal,
	lbActive, lbRefused,
	lbBytes, busy, turns, longest, dhcpMessages, dhcpLeases, dhcpSize, dhcpUsed,
}

// A collector reads a Source at each scrape.
type collector struct {
	from Source
	size atomic.Int64 // how many samples the last scrape had: the next one has as much room from its beginning
}

func newCollector(from Source) prometheus.Collector { return &collector{from: from} }

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, f := range families {
		to <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	s := make(samples, c.size.Load())
	if err := s.read(ctx, c.from); err != nil {
		to <- prometheus.NewInvalidMetric(received.desc, err)
		return
	}
	c.size.Store(int64(len(s)))
	for k, v := range s {
		labels := k.labels[:k.n]
		to <- prometheus.MustNewConstMetric(k.desc, k.kind, v, labels...)
	}
}

// samples are the values of one scrape. Two things that cannot be told apart by their labels, because they have the
// same names, are one: their values are added up.
type samples map[sampleKey]float64

type sampleKey struct {
	family
	labels [4]string
	n      int
}

func (s samples) add(f family, value float64, labels ...string) {
	k := sampleKey{family: f, n: len(labels)}
	for i, l := range labels {
		k.labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	s[k] += value
}

// least is add for a value that is the lowest one of things that cannot be told apart.
func (s samples) least(f family, value float64, labels ...string) {
	k := sampleKey{family: f, n: len(labels)}
	for i, l := range labels {
		k.labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	if was, ok := s[k]; !ok || value < was {
		s[k] = value
	}
}

// read reads a source once.
func (s samples) read(ctx context.Context, from Source) error {
	stats, err := from.Stats(ctx)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	balancers, err := from.LoadBalancers(ctx)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	ports, err := from.PortsInUse(ctx)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	workers, err := from.Workers(ctx)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	s.frames(&stats)
	s.devices(stats.Devices)
	s.routers(stats.Routers)
	s.ports(ports)
	s.balancers(balancers)
	s.leases(from.LeaseStats())
	for _, w := range workers {
		label := strconv.Itoa(w.Worker)
		s.add(busy, w.Busy.Seconds(), label)
		s.add(turns, float64(w.Turns), label)
		s.add(longest, w.Longest.Seconds(), label)
	}
	return nil
}

func (s samples) frames(st *router.Stats) {
	s.add(received, float64(st.Received))
	s.add(forwarded, float64(st.Forwarded))
	s.add(consumed, float64(st.Consumed))
	s.add(made, float64(st.Made))
	s.add(parked, float64(st.Parked))
	s.add(conflicts, float64(st.Conflicts))
	for _, r := range router.DropReasons() { // also those that have not occurred: a rate needs the 0
		s.add(dropped, float64(st.Drops[r]), r.String())
	}
	for r, n := range st.Unsent {
		s.add(unsent, float64(n), r.String())
	}
	for i := range st.PortDrops { // by port there would be too many
		d := &st.PortDrops[i]
		s.add(portDrops, float64(d.Frames), d.Network, d.Reason.String())
	}
}

func (s samples) devices(all []router.DeviceStats) {
	for i := range all {
		d := &all[i]
		s.add(rxPackets, float64(d.RxFrames), d.Network, d.Device)
		s.add(rxBytes, float64(d.RxBytes), d.Network, d.Device)
		s.add(txPackets, float64(d.TxFrames), d.Network, d.Device)
		s.add(txBytes, float64(d.TxBytes), d.Network, d.Device)
		s.add(txLost, float64(d.Lost), d.Network, d.Device)
		s.least(deviceUp, number(d.Present), d.Network, d.Device)
		for _, c := range d.UnknownTags {
			s.add(unknownTags, float64(c.Frames), d.Device, strconv.Itoa(c.VLAN))
		}
		if d.UnknownOther > 0 {
			s.add(unknownTags, float64(d.UnknownOther), d.Device, "other")
		}
	}
}

func (s samples) routers(all []router.RouterStats) {
	for i := range all {
		r := &all[i]
		s.add(connections, float64(r.HalfOpen), r.Router, "half_open")
		s.add(connections, float64(r.Connections-r.HalfOpen-r.Closed), r.Router, "established")
		s.add(connections, float64(r.Closed), r.Router, "closed")
		s.add(created, float64(r.Created), r.Router)
		s.add(ended, float64(r.Expired), r.Router, "expired")
		s.add(ended, float64(r.Evicted), r.Router, "evicted")
		s.add(ended, float64(r.Recalled), r.Router, "recalled")
		s.add(ended, float64(r.Settled), r.Router, "changed")
		s.add(neighbors, float64(r.Neighbors), r.Router)
		s.add(overloaded, float64(r.Overloaded), r.Router)
	}
}

// alwaysShown is how many shared addresses of a router are shown though none of their ports is in use. A router may
// have thousands.
const alwaysShown = 16

func (s samples) ports(by map[string][]router.SNATAddress) {
	for name, all := range by {
		for i, a := range all {
			if i >= alwaysShown && a.TCP+a.UDP+a.ICMP == 0 {
				continue
			}
			address := a.Address.String()
			s.add(portsInUse, float64(a.TCP), name, address, "tcp")
			s.add(portsInUse, float64(a.UDP), name, address, "udp")
			s.add(portsInUse, float64(a.ICMP), name, address, "icmp")
		}
	}
}

func (s samples) balancers(all []router.LoadBalancer) {
	for i := range all {
		for k := range all[i].Listeners {
			s.listener(all[i].Router, &all[i].Listeners[k])
		}
	}
}

func (s samples) listener(name string, l *router.Listener) {
	vip := called(l.Name, l.ID)
	s.add(lbTotal, float64(l.Statistics.Total), name, vip)
	s.add(lbActive, float64(l.Statistics.Active), name, vip)
	s.add(lbRefused, float64(l.Refused), name, vip)
	s.add(lbBytes, float64(l.Statistics.BytesIn), name, vip, "in")
	s.add(lbBytes, float64(l.Statistics.BytesOut), name, vip, "out")
	for k := range l.Pool.Members {
		if m := &l.Pool.Members[k]; !m.Removed {
			up := m.OperatingStatus != router.Error && m.OperatingStatus != router.Offline
			s.least(memberUp, number(up), name, vip, l.Pool.Name, m.Address.String())
		}
	}
}

func (s samples) leases(all []router.LeaseStats) {
	for i := range all {
		l := &all[i]
		name := called(l.Name, l.Network)
		s.add(dhcpLeases, float64(l.Leases), name)
		for result, n := range l.Messages {
			s.add(dhcpMessages, float64(n), name, result)
		}
		for _, p := range l.Pools {
			s.add(dhcpSize, float64(p.Size), name, p.CIDR.String())
			s.add(dhcpUsed, float64(p.Used), name, p.CIDR.String())
		}
	}
}

// called is what an object is called: its id if it has no name.
func called(name string, id config.ID) string {
	if name == "" {
		return string(id)
	}
	return name
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
