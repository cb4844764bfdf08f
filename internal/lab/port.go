package lab

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// The router's own commands on ports, in the openstack client's words:
//
//	port set [--allowed-address ip-address=A[,mac-address=M]] [--enable-port-security | --disable-port-security] PORT
//	port unset --allowed-address ip-address=A[,mac-address=M] PORT
//	port list
//
// PORT is the name of a [[port]] or an [[instance]].

const ports = "port"

// portUsage says how each verb is called.
var portUsage = map[string]string{
	"set": "port set [--allowed-address ip-address=A[,mac-address=M]] [--enable-port-security | " +
		"--disable-port-security] PORT",
	"unset": "port unset --allowed-address ip-address=A[,mac-address=M] PORT",
	"list":  "port list",
}

// portVerbs are the verbs in the order in which messages list them.
var portVerbs = []string{"set", "unset", "list"}

const (
	allowedAddress  = "--allowed-address"
	enableSecurity  = "--enable-port-security"
	disableSecurity = "--disable-port-security"
)

// parsePort understands a line that begins with port.
func (c *command) parsePort(line string) error {
	words, err := split(line)
	if err != nil {
		return err
	}
	if len(words) < 2 || portUsage[words[1]] == "" {
		return fmt.Errorf("%q is not understood: there are port %s", line, strings.Join(portVerbs, ", "))
	}
	c.verb = words[1]
	if err := c.portWords(words[2:]); err != nil {
		return fmt.Errorf("port %s: %w; usage: %s", c.verb, err, portUsage[c.verb])
	}
	return nil
}

// portWords takes options before and after the name.
func (c *command) portWords(words []string) error {
	known := map[string][]string{"set": {allowedAddress, enableSecurity, disableSecurity}, "unset": {allowedAddress}}
	var names []string
	for len(words) > 0 {
		option, value, joined := strings.Cut(words[0], "=")
		w := words[0]
		words = words[1:]
		switch {
		case !strings.HasPrefix(w, "-"):
			names = append(names, w)
		case !slices.Contains(known[c.verb], option):
			return fmt.Errorf("unknown option %s", w)
		case option != allowedAddress && joined:
			return fmt.Errorf("option %s takes no value", option)
		case option != allowedAddress && c.security != "" && c.security != option:
			return fmt.Errorf("it is %s or %s, not both", enableSecurity, disableSecurity)
		case option != allowedAddress:
			c.security = option
		case !joined && len(words) == 0:
			return fmt.Errorf("option %s needs a value", option)
		default:
			if !joined {
				value, words = words[0], words[1:]
			}
			var err error
			if c.pair, err = pairOf(value); err != nil {
				return fmt.Errorf("option %s: %w", option, err)
			}
		}
	}
	switch {
	case c.verb == "list" && len(names) == 0:
		return nil
	case c.verb == "list":
		return errors.New("it takes no argument")
	case len(names) != 1:
		return errors.New("it takes a port; names with blanks are quoted")
	case !c.pair.IP.IsValid() && c.security == "":
		return fmt.Errorf("there is nothing to %s: add %s", c.verb, allowedAddress)
	}
	c.port = names[0]
	return nil
}

// pairOf reads an address pair such as ip-address=A,mac-address=M.
func pairOf(text string) (config.AddressPair, error) {
	var pair config.AddressPair
	keys := []string{"ip-address", "mac-address"}
	if !strings.Contains(text, "mac-address") {
		keys = keys[:1]
	}
	values, err := pairsOf(text, keys...)
	if err != nil {
		return pair, err
	}
	if pair.IP, err = destinationOf(values["ip-address"]); err != nil {
		return pair, fmt.Errorf("%q is not an IPv4 address", values["ip-address"])
	}
	if m := values["mac-address"]; m != "" {
		pair.MAC, err = config.ParseMAC(m)
	}
	return pair, err
}

// checkPort says whether the topology has the port.
func (c *command) checkPort(topo *file.Topology) error {
	names := portNames(topo)
	if c.port == "" || slices.Contains(names, c.port) {
		return nil
	}
	return fmt.Errorf("port: no such port %q: there are %s", c.port, listed(quoted(names)))
}

// portNames are the names of the topology's ports and instances, sorted.
func portNames(topo *file.Topology) []string {
	var names []string
	for i := range topo.Ports {
		names = append(names, topo.Ports[i].Name)
	}
	for i := range topo.Instances {
		names = append(names, topo.Instances[i].Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// changePort carries a command on a port out. As the openstack client, it says nothing when a change is made.
func (l *lab) changePort(c *command, out io.Writer) bool {
	var errs []error
	switch c.verb {
	case "list":
		l.listPorts(out)
	case "unset":
		errs = append(errs, l.control.DisallowAddress(c.port, c.pair))
	default:
		if c.pair.IP.IsValid() {
			errs = append(errs, l.control.AllowAddress(c.port, c.pair))
		}
		if c.security != "" {
			errs = append(errs, l.control.SetPortSecurity(c.port, c.security == enableSecurity))
		}
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(out, err)
		return false
	}
	return true
}

// listPorts prints the ports. Where the client has an ID and a status, it has the network and what has the port.
func (l *lab) listPorts(out io.Writer) {
	s := l.control.State()
	var rows [][]string
	for n := range s.Networks() {
		for p := range s.PortsOf(n.ID) {
			var addresses []string
			for _, f := range p.FixedIPs {
				addresses = append(addresses, f.Address.String())
			}
			rows = append(rows, []string{p.Name, p.MAC.String(), strings.Join(addresses, ", "), n.Name, p.DeviceOwner})
		}
	}
	printTable(out, []string{"Name", "MAC Address", "Fixed IP Addresses", "Network", "Device Owner"}, rows)
}

// parseShow understands a line that begins with show.
func (c *command) parseShow(line string) error {
	words := strings.Fields(line)
	if len(words) != 2 || words[1] != "nat" && words[1] != "drops" {
		return fmt.Errorf("%q is not understood: there are show nat, show drops", line)
	}
	c.verb = words[1]
	return nil
}

// show prints what taprouter show prints.
func (l *lab) show(c *command, out io.Writer) {
	if c.verb == "nat" {
		l.showNAT(out)
		return
	}
	l.showDrops(out)
}

// showDrops prints what was dropped since the lesson began, and what port security has dropped of which port.
func (l *lab) showDrops(out io.Writer) {
	s := l.stats()
	var rows [][]string
	for _, d := range s.DropsAt {
		rows = append(rows, []string{d.Stage.String(), d.Reason.String(), fmt.Sprint(d.Frames)})
	}
	if rows == nil {
		fmt.Fprintln(out, "nothing was dropped")
		return
	}
	printTable(out, []string{"Stage", "Reason", "Packets"}, rows)
	for i := range s.PortDrops {
		d := &s.PortDrops[i]
		packets := "packets"
		if d.Frames == 1 {
			packets = "packet"
		}
		fmt.Fprintf(out, "%v of network %s, device %s, %d %s: %s\n", d.Reason, d.Network, d.Device, d.Frames, packets,
			d.Why)
		if d.Remedy != "" {
			fmt.Fprintf(out, "    would pass with %s\n", d.Remedy)
		}
	}
}
