package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/router/host"
)

// The ip command of an instance:
//
//	ip addr [show]            ip addr add ADDRESS/LENGTH dev eth0    ip addr del ADDRESS/LENGTH dev eth0
//	ip route [show]           ip route add DESTINATION via ADDRESS   ip route del DESTINATION
//	ip neigh [show]           ip neigh flush dev eth0
//	ip link [show]            ip link set dev eth0 address MAC
//
// DESTINATION is default, a CIDR or an address.

// An ipCommand is what ip is to do.
type ipCommand struct {
	object string       // addr, route, neigh or link
	what   string       // show, add, del, flush or set
	prefix netip.Prefix // add and del: the address with its length, or the destination
	via    netip.Addr   // route add: the next hop; the zero value: none
	mac    [6]byte      // link set
}

// ipObjects are the objects by the words for them.
var ipObjects = map[string]string{
	"a": "addr", "addr": "addr", "address": "addr", "r": "route", "route": "route", "ro": "route",
	"n": "neigh", "neigh": "neigh", "neighbor": "neigh", "neighbour": "neigh", "l": "link", "link": "link",
}

// ipUsage says how each object is shown and changed.
var ipUsage = map[string]string{
	"addr":  "ip addr [show | add ADDRESS/LENGTH dev eth0 | del ADDRESS/LENGTH dev eth0]",
	"route": "ip route [show | add DESTINATION via ADDRESS | del DESTINATION]",
	"neigh": "ip neigh [show | flush dev eth0]",
	"link":  "ip link [show | set dev eth0 address MAC]",
}

// parseIP understands what follows ip.
func (c *command) parseIP(words []string) error {
	for len(words) > 0 && (words[0] == "-4" || words[0] == "-br" || words[0] == "-brief") {
		words = words[1:]
	}
	if len(words) == 0 || ipObjects[words[0]] == "" {
		return errors.New("ip takes an object: addr, route, neigh or link")
	}
	i := &c.ip
	i.object = ipObjects[words[0]]
	words = words[1:]
	i.what = "show"
	if len(words) > 0 && words[0] != "dev" {
		i.what, words = words[0], words[1:]
	}
	switch i.what {
	case "show", "s", "list", "ls":
		i.what = "show"
	case "delete":
		i.what = "del"
	}
	err := i.rest(words)
	if err != nil {
		return fmt.Errorf("ip %s: %w; usage: %s", i.object, err, ipUsage[i.object])
	}
	return nil
}

// rest takes the words behind the verb.
func (i *ipCommand) rest(words []string) error {
	target, values, err := pairsOfWords(words)
	if err != nil {
		return err
	}
	if dev, ok := values["dev"]; ok && dev != eth0 {
		return fmt.Errorf("an instance has the interface %s alone, not %q", eth0, dev)
	}
	_, hasDevice := values["dev"]
	delete(values, "dev")
	via, hasNextHop := values["via"]
	mac := values["address"]
	switch i.object + " " + i.what {
	case "addr show", "route show", "neigh show", "link show":
	case "addr add", "addr del":
		if i.prefix, err = netip.ParsePrefix(target); err != nil || !i.prefix.Addr().Is4() {
			return fmt.Errorf("%q is not an IPv4 address with a length, such as 172.16.101.9/24", target)
		}
		if !hasDevice {
			return errors.New("the \"dev\" argument is required")
		}
		target = ""
	case "route add", "route del":
		if i.prefix, err = destinationOf(target); err != nil {
			return err
		}
		if hasNextHop {
			if i.via, err = anAddress(via); err != nil {
				return err
			}
		}
		delete(values, "via")
		target = ""
	case "neigh flush":
		if !hasDevice && target != "all" {
			return errors.New("flush requires arguments")
		}
		target = ""
	case "link set":
		hw, err := net.ParseMAC(mac)
		if err != nil || len(hw) != 6 {
			return fmt.Errorf("%q is not a MAC address such as fa:16:3e:aa:bb:03", mac)
		}
		i.mac = [6]byte(hw)
		delete(values, "address")
		if target == eth0 {
			target, hasDevice = "", true
		}
		if !hasDevice {
			return errors.New("not enough information: \"dev\" argument is required")
		}
	default:
		return fmt.Errorf("%q is not understood", i.what)
	}
	if target != "" {
		return fmt.Errorf("%q is not understood", target)
	}
	for word := range values {
		return fmt.Errorf("%q is not understood", word)
	}
	return nil
}

// pairsOfWords takes a target apart from words with a value, such as dev eth0.
func pairsOfWords(words []string) (target string, values map[string]string, err error) {
	values = map[string]string{}
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		switch {
		case !slices.Contains([]string{"dev", "via", "address"}, w) && target == "":
			target = w
		case !slices.Contains([]string{"dev", "via", "address"}, w):
			return "", nil, fmt.Errorf("%q is not understood", w)
		case len(words) == 0:
			return "", nil, fmt.Errorf("%q needs a value", w)
		default:
			values[w], words = words[0], words[1:]
		}
	}
	return target, values, nil
}

// destinationOf reads the destination of a route.
func destinationOf(text string) (netip.Prefix, error) {
	if text == "default" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), nil
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Is4() {
		return netip.PrefixFrom(a, 32), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() {
		return p, fmt.Errorf("%q is not a destination: write default, a CIDR or an address of IPv4", text)
	}
	return p, nil
}

// changeOrShow carries ip out. As the real one, it says nothing when a change is made.
func (c *command) changeOrShow(h *host.Host, out io.Writer) bool {
	i, at := &c.ip, h.Interface()
	var err error
	missing := "RTNETLINK answers: No such process"
	switch i.object + " " + i.what {
	case "addr show":
		showAddresses(h, out)
	case "link show":
		showLink(h, out)
	case "route show":
		showRoutes(at, out)
	case "neigh show":
		err = showNeighbors(at, out)
	case "addr add":
		err = at.AddAddress(i.prefix)
	case "addr del":
		missing = "RTNETLINK answers: Cannot assign requested address"
		err = at.RemoveAddress(i.prefix.Addr())
	case "route add":
		next := i.via
		if !next.IsValid() {
			next = netip.IPv4Unspecified()
		}
		err = at.AddRoute(host.Route{Destination: i.prefix, NextHop: next})
	case "route del":
		err = at.RemoveRoute(i.prefix)
	case "neigh flush":
		err = at.ForgetNeighbors()
	default:
		err = at.SetMAC(i.mac)
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, fs.ErrExist):
		fmt.Fprintln(out, "RTNETLINK answers: File exists")
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintln(out, missing)
	case errors.Is(err, fs.ErrInvalid) && i.object == "route":
		fmt.Fprintln(out, "Error: Nexthop has invalid gateway.")
	case errors.Is(err, fs.ErrInvalid):
		fmt.Fprintln(out, "RTNETLINK answers: Cannot assign requested address")
	default:
		fmt.Fprintf(out, "ip: %v\n", err)
	}
	return false
}

func showLink(h *host.Host, out io.Writer) {
	fmt.Fprintf(out, "2: %s: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu %d state UP\n", eth0, h.Interface().MTU())
	fmt.Fprintf(out, "    link/ether %v brd ff:ff:ff:ff:ff:ff\n", h.MAC())
}

func showAddresses(h *host.Host, out io.Writer) {
	showLink(h, out)
	lease, _ := h.Interface().Lease()
	for _, a := range h.Interface().Addresses() {
		dynamic := ""
		if a == lease.Address {
			dynamic = "dynamic "
		}
		fmt.Fprintf(out, "    inet %v scope global %s%s\n", a, dynamic, eth0)
	}
}

func showRoutes(at host.Interface, out io.Writer) {
	for _, r := range at.Routes() {
		to := strings.TrimSuffix(r.Destination.String(), "/32")
		if r.Destination.Bits() == 0 {
			to = "default"
		}
		if r.NextHop.IsUnspecified() {
			fmt.Fprintf(out, "%s dev %s scope link\n", to, eth0)
		} else {
			fmt.Fprintf(out, "%s via %v dev %s\n", to, r.NextHop, eth0)
		}
	}
	for _, a := range at.Addresses() {
		fmt.Fprintf(out, "%v dev %s proto kernel scope link src %v\n", a.Masked(), eth0, a.Addr())
	}
}

func showNeighbors(at host.Interface, out io.Writer) error {
	all, err := at.Neighbors()
	for _, n := range all {
		if n.MAC == nil {
			fmt.Fprintf(out, "%v dev %s %s\n", n.Address, eth0, n.State)
		} else {
			fmt.Fprintf(out, "%v dev %s lladdr %v %s\n", n.Address, eth0, n.MAC, n.State)
		}
	}
	return err
}
