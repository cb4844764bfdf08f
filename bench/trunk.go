package main

import (
	"fmt"
	"strings"
)

// The networks' tags on a trunk.
const (
	tenantVLAN   = 100
	externalVLAN = 200
)

// behindSwitch joins the hosts to a switch, which has a namespace of its own, by a cable each, and returns the
// contestant's devices. With raw devices there is a cable from each of them to the switch; a TAP's kernel end is in the
// switch. A trunk is one device for both networks.
//
//	internal ── in ── p-in ──┐        ┌── uplink ── contestant                  (tagged: VLANs 100 and 200)
//	external ── out ─ p-out ─┘ switch └── uplink-in, uplink-out ── contestant   (untagged)
func (w *world) behindSwitch(m mode, raw bool) (in, out string, err error) {
	for host, ns := range map[string]string{"in": w.internal, "out": w.external} {
		if err := w.cable(ns, host, w.between, "p-"+host); err != nil {
			return "", "", err
		}
	}
	var devices []string
	for _, up := range w.uplinks(m) {
		if !raw {
			devices = append(devices, "tap:"+up+"@"+w.between)
			continue
		}
		if err := w.cable(w.router, "r-"+up, w.between, up); err != nil {
			return "", "", err
		}
		devices = append(devices, "raw:r-"+up)
	}
	return devices[0], devices[len(devices)-1], nil
}

// uplinks are the ends of the contestant's devices in the switch.
func (w *world) uplinks(m mode) []string {
	if m == tagged {
		return []string{"uplink"}
	}
	return []string{"uplink-in", "uplink-out"}
}

// cable makes a veth between two namespaces. Both ends are up.
func (w *world) cable(ns, name, otherNS, other string) error {
	if err := sh("ip", "link", "add", name, "netns", ns, "type", "veth", "peer", "name", other, "netns",
		otherNS); err != nil {
		return err
	}
	if err := sh("ip", "-n", ns, "link", "set", "dev", name, "up"); err != nil {
		return err
	}
	return sh("ip", "-n", otherNS, "link", "set", "dev", other, "up")
}

// startSwitch has the frames pass between the cables and the contestant's devices, which exist by now: with a tag on a
// trunk, and as they are on devices of one network.
func (w *world) startSwitch(m mode) error {
	ups := w.uplinks(m)
	hosts := map[string][]string{ups[0]: {fmt.Sprint("p-in=", tenantVLAN), fmt.Sprint("p-out=", externalVLAN)}}
	if m == untagged {
		hosts = map[string][]string{ups[0]: {"p-in=0"}, ups[1]: {"p-out=0"}}
	}
	for _, up := range ups {
		if err := sh("ip", "-n", w.between, "link", "set", "dev", up, "up"); err != nil {
			return err
		}
		if err := in(w.between, w.bench.self, "load", "switch", "-dev", up, "-hosts",
			strings.Join(hosts[up], ",")); err != nil {
			return err
		}
	}
	return nil
}
