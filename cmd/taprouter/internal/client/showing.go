package client

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

type showCommands struct {
	Connection
	Conntrack   conntrackCommand `cmd:"" help:"Connections, as conntrack -L prints them, with its filters."`
	NAT         showNAT          `cmd:"" name:"nat" help:"Rules for addresses, router by router."`
	Neighbors   showNeighbors    `cmd:"" help:"Neighbors by ARP, as ip neigh prints them."`
	Routes      showRoutes       `cmd:"" help:"Routes, as ip route prints them, and where each comes from."`
	FloatingIPs showFloatingIPs  `cmd:"" name:"floating-ips" help:"Floating IPs and what they lead to."`
	VIPs        showVIPs         `cmd:"" name:"vips" help:"VIPs with their members and counts."`
	Drops       showDrops        `cmd:"" help:"What was not forwarded, and why."`
	Stats       showStats        `cmd:"" help:"Counts of everything."`
	Devices     showDevices      `cmd:"" help:"Devices with their counters."`
}

// routerOption limits a list to one router.
type routerOption struct {
	Router string `placeholder:"<router>" help:"Of this router only (name or id)."`
}

func (o routerOption) query() url.Values {
	if o.Router == "" {
		return nil
	}
	return url.Values{"router": {o.Router}}
}

// showList prints one list of the own API, for programs as it is.
func (s *Session) showList(path, name, output string, query url.Values, text func(list []*object) string) error {
	o, _, err := s.read(http.MethodGet, path, query)
	if err != nil {
		return s.failed(err)
	}
	if output == "json" {
		return s.write(jsonText(append([]any{}, o.list(name)...), 2) + "\n")
	}
	var list []*object
	for _, v := range o.list(name) {
		if e, ok := v.(*object); ok {
			list = append(list, e)
		}
	}
	return s.write(text(list))
}

// tableOf is a table of objects as text.
func tableOf(list []*object, columns []column) string {
	var b strings.Builder
	if len(list) == 0 {
		return ""
	}
	if err := printTable(&b, sheetOf(list, columns), &tableOptions{}, true); err != nil {
		return err.Error() + "\n"
	}
	return b.String()
}

type showNeighbors struct {
	routerOption
	outputOption
}

// Run prints neighbors.
func (c *showNeighbors) Run(s *Session) error {
	return s.showList("/neighbors", "neighbors", c.Output, c.query(), func(list []*object) string {
		var b strings.Builder
		for _, o := range list {
			fmt.Fprintf(&b, "%s dev %s", o.text("dst"), o.text("dev"))
			if mac := o.text("lladdr"); mac != "" {
				fmt.Fprintf(&b, " lladdr %s", mac)
			}
			fmt.Fprintf(&b, " %s\n", strings.Join(texts(o.list("state")), " "))
		}
		return b.String()
	})
}

type showRoutes struct {
	routerOption
	outputOption
}

// Run prints routes, the routers one after the other.
func (c *showRoutes) Run(s *Session) error {
	return s.showList("/routes", "routes", c.Output, c.query(), func(list []*object) string {
		var b strings.Builder
		last := ""
		for _, o := range list {
			if id := o.text("router_id"); id != last {
				fmt.Fprintf(&b, "router %s:\n", o.text("router"))
				last = id
			}
			fmt.Fprintf(&b, "%s", o.text("dst"))
			for _, k := range [][2]string{{"gateway", "via"}, {"dev", "dev"}, {"protocol", "proto"}, {"scope", "scope"},
				{"prefsrc", "src"}} {
				if v := o.text(k[0]); v != "" {
					fmt.Fprintf(&b, " %s %s", k[1], v)
				}
			}
			for _, f := range texts(o.list("flags")) {
				b.WriteString(" " + f)
			}
			origin, _ := o.get("origin").(*object)
			fmt.Fprintf(&b, "%s\n", originText(origin))
		}
		return b.String()
	})
}

// originText says where a rule came from.
func originText(o *object) string {
	text := o.text("kind")
	if name := o.text("name"); name != "" {
		text += " " + name
	}
	if at := o.text("at"); at != "" {
		text += " at " + at
	}
	if text == "" {
		return ""
	}
	return "  # " + text
}

type showNAT struct {
	routerOption
	outputOption
}

// Run prints the rules for addresses.
func (c *showNAT) Run(s *Session) error {
	return s.showList("/nat", "routers", c.Output, c.query(), natText)
}

// natText prints the rules as the router words them. Below them is what they do not say: ports in use, floating IPs
// that wait for a gateway, and VIPs.
func natText(list []*object) string {
	var b strings.Builder
	for _, o := range list {
		for _, rule := range texts(o.list("rules")) {
			fmt.Fprintln(&b, rule)
		}
		snat, _ := o.get("snat").(*object)
		for _, v := range snat.list("addresses") {
			a, _ := v.(*object)
			used, _ := a.get("ports_in_use").(*object)
			fmt.Fprintf(&b, "  ports in use of %s: tcp %s, udp %s, icmp %s\n", a.text("address"),
				number(used.get("tcp")), number(used.get("udp")), number(used.get("icmp")))
		}
		for _, v := range o.list("floating_ips") {
			f, _ := v.(*object)
			if f.get("in_force") == false {
				fmt.Fprintf(&b, "  not in force, as %s has no gateway: %s -> %s\n", o.text("router"),
					f.text("address"), f.text("fixed_ip"))
			}
		}
		for _, v := range o.list("port_forwardings") {
			f, _ := v.(*object)
			if f.get("in_force") == false {
				fmt.Fprintf(&b, "  not in force, as %s has no gateway: %s %s port %s -> %s port %s\n",
					o.text("router"), f.text("address"), f.text("protocol"), number(f.get("external_port")),
					f.text("fixed_ip"), number(f.get("port")))
			}
		}
		for _, v := range o.list("vips") {
			f, _ := v.(*object)
			p, _ := f.get("pool").(*object)
			fmt.Fprintf(&b, "%s VIP %s %s port %s -> pool %s of %d members\n", o.text("router"), f.text("address"),
				f.text("protocol"), number(f.get("port")), p.text("name"), len(p.list("members")))
		}
	}
	return b.String()
}

var shownFloatingIPs = columns(`Address=address Network=network Fixed_IP=fixed_ip Router=router Status=status
	Port_Forwardings=port_forwardings!dicts`)

type showFloatingIPs struct{ outputOption }

// Run prints floating IPs.
func (c *showFloatingIPs) Run(s *Session) error {
	return s.showList("/floating-ips", "floating_ips", c.Output, nil, func(list []*object) string {
		for _, o := range list {
			forwardings := []any{}
			for _, v := range o.list("port_forwardings") {
				f, _ := v.(*object)
				short := newObject()
				short.set(f.text("protocol")+" "+number(f.get("external_port")).String(),
					f.text("fixed_ip")+":"+number(f.get("port")).String())
				forwardings = append(forwardings, short)
			}
			o.set("port_forwardings", forwardings)
			for _, k := range []string{"fixed_ip", "router"} {
				o.set(k, o.text(k))
			}
		}
		return tableOf(list, shownFloatingIPs)
	})
}

type showVIPs struct{ outputOption }

// Run prints VIPs and their members.
func (c *showVIPs) Run(s *Session) error {
	return s.showList("/vips", "vips", c.Output, nil, func(list []*object) string {
		var rows []*object
		for _, v := range list {
			stats, _ := v.get("statistics").(*object)
			p, _ := v.get("pool").(*object)
			rows = append(rows, vipRow(v.text("name"), v.text("address")+":"+number(v.get("port")).String(), "",
				v.text("operating_status"), stats))
			for _, m := range p.list("members") {
				member, _ := m.(*object)
				stats, _ := member.get("statistics").(*object)
				rows = append(rows, vipRow("  "+member.text("name"),
					member.text("address")+":"+number(member.get("port")).String(),
					number(member.get("weight")).String(),
					member.text("operating_status"), stats))
			}
		}
		return tableOf(rows, columns(`Name=name Address=address Weight=weight Status=status Active=active Total=total
			Bytes_In=in Bytes_Out=out`))
	})
}

func vipRow(name, address, weight, status string, stats *object) *object {
	o := newObject()
	for k, v := range map[string]any{"name": name, "address": address, "weight": weight, "status": status,
		"active": number(stats.get("active_connections")), "total": number(stats.get("total_connections")),
		"in": number(stats.get("bytes_in")), "out": number(stats.get("bytes_out"))} {
		o.set(k, v)
	}
	return o
}

type showDevices struct{ outputOption }

// Run prints devices.
func (c *showDevices) Run(s *Session) error {
	return s.showList("/devices", "devices", c.Output, nil, func(list []*object) string {
		nameShared(list)
		return tableOf(list, columns(`Device=device Network=network Present=present Rx_Packets=rx_packets
			Rx_Bytes=rx_bytes Tx_Packets=tx_packets Tx_Bytes=tx_bytes Tx_Dropped=tx_dropped`))
	})
}

// nameShared names the networks of devices that several share, where others have the name of their network.
func nameShared(devices []*object) {
	for _, o := range devices {
		if o.text("network") != "" {
			continue
		}
		var names []string
		for _, v := range o.list("networks") {
			if name, ok := v.(string); ok {
				names = append(names, name)
			}
		}
		o.set("network", strings.Join(names, ", "))
	}
}

type showDrops struct{ outputOption }

// Run prints what was not forwarded.
func (c *showDrops) Run(s *Session) error {
	o, _, err := s.read(http.MethodGet, "/drops", nil)
	if err != nil {
		return s.failed(err)
	}
	if c.Output == "json" {
		return s.write(jsonText(o, 2) + "\n")
	}
	return s.write(dropsText(o))
}

func dropsText(o *object) string {
	var rows []*object
	for _, kind := range []struct{ key, stage, reason string }{{"drops", "", ""}, {"unsent", "own", ""},
		{"lost", "device", ""}, {"tags", "tag", ""}} {
		for _, v := range o.list(kind.key) {
			d, _ := v.(*object)
			r := newObject()
			r.set("stage", d.text("stage"))
			if kind.stage != "" {
				r.set("stage", kind.stage)
			}
			r.set("reason", d.text("reason"))
			switch device := d.text("device"); {
			case kind.key == "tags" && d.get("vlan") == nil:
				r.set("reason", "further tags at "+device)
			case kind.key == "tags":
				r.set("reason", "vlan "+string(number(d.get("vlan")))+" at "+device)
			case device != "" && d.text("network") == "":
				r.set("reason", "not taken by "+device)
			case device != "":
				r.set("reason", "not taken by "+device+" of "+d.text("network"))
			}
			r.set("packets", number(d.get("packets")))
			if number(d.get("packets")) != "0" {
				rows = append(rows, r)
			}
		}
	}
	recalled := recalledText(o.list("recalled"))
	if rows == nil {
		return "nothing was dropped\n" + recalled
	}
	return tableOf(rows, columns("Stage=stage Reason=reason Packets=packets")) + portDropsText(o.list("ports")) +
		recalled
}

// recalledText says how many borrowed connections have ended for other hosts, and how all would have room.
func recalledText(all []any) string {
	var b strings.Builder
	for _, v := range all {
		r, _ := v.(*object)
		fmt.Fprintf(&b, "%s of router %s ended for other hosts: beyond the host's share\n    room for all: %s\n",
			count(number(r.get("connections")).String(), "connection"), r.text("router"), r.text("remedy"))
	}
	return b.String()
}

// portDropsText says what port security has dropped, of which port, and what would let it pass: two lines for each.
func portDropsText(all []any) string {
	var b strings.Builder
	for _, v := range all {
		d, _ := v.(*object)
		fmt.Fprintf(&b, "%s of network %s", d.text("reason"), d.text("network"))
		if device := d.text("device"); device != "" {
			fmt.Fprintf(&b, ", device %s, %s: %s\n", device, count(number(d.get("packets")).String(), "packet"),
				d.text("why"))
		} else {
			fmt.Fprintf(&b, ", earlier: %s\n", count(number(d.get("packets")).String(), "packet"))
		}
		if remedy := d.text("remedy"); remedy != "" {
			fmt.Fprintf(&b, "    would pass with %s\n", remedy)
		}
	}
	return b.String()
}

// count is a number of things in words.
func count(n, thing string) string {
	if n == "1" {
		return n + " " + thing
	}
	return n + " " + thing + "s"
}

type showStats struct{ outputOption }

// Run prints the status, the devices and the drops.
func (c *showStats) Run(s *Session) error {
	all := newObject()
	for _, name := range []string{"status", "devices", "drops"} {
		o, _, err := s.read(http.MethodGet, "/"+name, nil)
		if err != nil {
			return s.failed(err)
		}
		all.set(name, o)
	}
	if c.Output == "json" {
		return s.write(jsonText(all, 2) + "\n")
	}
	status, _ := all.get("status").(*object)
	drops, _ := all.get("drops").(*object)
	devices, _ := all.get("devices").(*object)
	var list []*object
	for _, v := range devices.list("devices") {
		if o, ok := v.(*object); ok {
			list = append(list, o)
		}
	}
	nameShared(list)
	return s.write(statusText(status) + tableOf(list, columns(`Device=device Network=network Rx_Packets=rx_packets
		Tx_Packets=tx_packets Tx_Dropped=tx_dropped`)) + dropsText(drops))
}
