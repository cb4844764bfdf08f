package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ovs is Open vSwitch's userspace datapath with its own connection tracking, between
// TAPs. It has no words for a router, so flows stand for one, and the hosts know
// its MAC address beforehand. It chooses a VIP's member by hash, not in turn.
type ovs struct{}

func (ovs) name() string { return "Open vSwitch, userspace" }

const (
	ovsSchema = "/usr/share/openvswitch/vswitch.ovsschema"
	ovsMAC    = "02:00:00:00:03:01"
)

// ovsInstalled reports whether it can take part.
func ovsInstalled() bool {
	for _, tool := range []string{"ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl"} {
		if _, err := exec.LookPath(tool); err != nil {
			return false
		}
	}
	_, err := os.Stat(ovsSchema)
	return err == nil
}

func (o ovs) start(w *world, m mode) error {
	if err := o.daemons(w); err != nil {
		return err
	}
	if err := w.handTAPs(); err != nil {
		return err
	}
	for _, n := range []struct{ ns, dev, address string }{
		{w.internal, "in", internalGW}, {w.external, "out", routerAddress}, {w.external, "out", floatingIP},
		{w.external, "out", vipAddress},
	} {
		if err := sh("ip", "-n", n.ns, "neigh", "replace", n.address, "lladdr", ovsMAC, "dev", n.dev, "nud",
			"permanent"); err != nil {
			return err
		}
	}
	return o.flows(w, m)
}

// dir is where a world's Open vSwitch has its files.
func (ovs) dir(w *world) string { return filepath.Join(w.bench.dir, w.router) }

// run runs one of its tools in the router's namespace, on its own sockets.
func (o ovs) run(w *world, args ...string) error {
	return in(w.router, append([]string{"env", "OVS_RUNDIR=" + o.dir(w)}, args...)...)
}

// daemons starts the database and the switch, and gives it the two ports.
func (o ovs) daemons(w *world) error {
	dir := o.dir(w)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	db, socket := filepath.Join(dir, "conf.db"), filepath.Join(dir, "db.sock")
	if err := sh("ovsdb-tool", "create", db, ovsSchema); err != nil {
		return err
	}
	environment := []string{"env", "OVS_RUNDIR=" + dir, "OVS_LOGDIR=" + dir, "OVS_DBDIR=" + dir}
	server, err := w.start(w.router, append(environment, "ovsdb-server", db, "--remote=punix:"+socket,
		"--unixctl="+filepath.Join(dir, "server.ctl"), "-vconsole:info")...)
	if err != nil {
		return err
	}
	w.processes = append(w.processes, server)
	if err := o.run(w, "ovs-vsctl", "--db=unix:"+socket, "--no-wait", "--retry", "init"); err != nil {
		return err
	}
	vswitch, err := w.start(w.router, append(environment, "ovs-vswitchd", "unix:"+socket,
		"--unixctl="+filepath.Join(dir, "switch.ctl"), "-vconsole:info")...)
	if err != nil {
		return err
	}
	// The switch goes first when the world ends.
	w.processes = append([]*process{vswitch}, w.processes...)
	return o.run(w, "ovs-vsctl", "--db=unix:"+socket, "--timeout=10",
		"add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure",
		"--", "add-port", "br0", "in", "--", "set", "interface", "in", "type=tap", "ofport_request=1",
		"--", "add-port", "br0", "out", "--", "set", "interface", "out", "type=tap", "ofport_request=2")
}

// flows makes the switch a router: table 0 finds the connection, table 1 makes new
// ones, table 2 sends.
func (o ovs) flows(w *world, m mode) error {
	inMAC, err := macOf(w.internal, "in")
	if err != nil {
		return err
	}
	outMAC, err := macOf(w.external, "out")
	if err != nil {
		return err
	}
	send := func(port, mac string) string {
		return fmt.Sprintf("dec_ttl,mod_dl_src:%s,mod_dl_dst:%s,output:%s", ovsMAC, mac, port)
	}
	flows := []string{
		"table=2,in_port=1,ip,actions=" + send("2", outMAC),
		"table=2,in_port=2,ip,actions=" + send("1", inMAC),
	}
	create := func(match, nat string) string {
		return "table=1,priority=100,ct_state=+new+trk,ip," + match + ",actions=ct(commit,zone=1,nat(" + nat +
			"),table=2)"
	}
	switch m {
	case route:
		flows = append(flows, "table=0,ip,actions=resubmit(,2)")
	case snat, unchanged:
		flows = append(flows, create("in_port=1", "src="+routerAddress))
	case floating:
		flows = append(flows, create("in_port=1,nw_src="+internalHost, "src="+floatingIP),
			create("in_port=2,nw_dst="+floatingIP, "dst="+internalHost))
	case vip:
		bucket := func(member string) string {
			return ",bucket=actions=ct(commit,zone=1,nat(dst=" + member + "),table=2)"
		}
		if err := o.run(w, "ovs-ofctl", "-O", "OpenFlow15", "add-group", "br0",
			"group_id=1,type=select,selection_method=dp_hash"+bucket(internalHost)+bucket(secondHost)); err != nil {
			return err
		}
		flows = append(
			flows, "table=1,priority=100,ct_state=+new+trk,ip,in_port=2,nw_dst="+vipAddress+",actions=group:1")
	}
	if m != route {
		flows = append(flows, "table=0,ip,actions=ct(zone=1,nat,table=1)",
			"table=1,priority=90,ct_state=+est+trk,ip,actions=resubmit(,2)",
			"table=1,priority=90,ct_state=+rel+trk,ip,actions=resubmit(,2)",
			// A connection that has no answer yet is still new, but translated already.
			"table=1,priority=110,ct_state=+trk+snat,ip,actions=resubmit(,2)",
			"table=1,priority=110,ct_state=+trk+dnat,ip,actions=resubmit(,2)")
	}
	for _, f := range flows {
		if err := o.run(w, "ovs-ofctl", "-O", "OpenFlow15", "add-flow", "br0", f); err != nil {
			return err
		}
	}
	return nil
}

// macOf is the address of a device.
func macOf(ns, dev string) (string, error) {
	out, err := exec.Command("ip", "-n", ns, "-o", "link", "show", dev).Output()
	if err != nil {
		return "", err
	}
	f := strings.Fields(string(out))
	if i := indexOf(f, "link/ether"); i >= 0 && i+1 < len(f) {
		return f[i+1], nil
	}
	return "", fmt.Errorf("no MAC address of %s: %q", dev, out)
}
