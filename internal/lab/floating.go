package lab

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router/control"
)

// The router's own commands on floating IPs, in the openstack client's words:
//
//	floating ip create [--floating-ip-address A] [--port PORT | --fixed-ip-address A] NETWORK
//	floating ip set --port PORT | --fixed-ip-address A FLOATING-IP
//	floating ip unset [--port] FLOATING-IP
//	floating ip delete FLOATING-IP
//	floating ip list
//	floating ip show FLOATING-IP
//
// PORT is the name of a [[port]] or an [[instance]], FLOATING-IP an address.

const floatingIP = "floating"

// floatingUsage says how each verb is called.
var floatingUsage = map[string]string{
	"create": "floating ip create [--floating-ip-address A] [--port PORT | --fixed-ip-address A] NETWORK",
	"set":    "floating ip set --port PORT | --fixed-ip-address A FLOATING-IP",
	"unset":  "floating ip unset [--port] FLOATING-IP",
	"delete": "floating ip delete FLOATING-IP",
	"list":   "floating ip list",
	"show":   "floating ip show FLOATING-IP",
}

// floatingVerbs are the verbs in the order in which messages list them.
var floatingVerbs = []string{"create", "set", "unset", "delete", "list", "show"}

// parseFloating understands a line that begins with floating.
func (c *command) parseFloating(line string) error {
	words, err := split(line)
	if err != nil {
		return err
	}
	if len(words) < 3 || words[1] != "ip" || floatingUsage[words[2]] == "" {
		return fmt.Errorf("%q is not understood: there are floating ip %s", line, strings.Join(floatingVerbs, ", "))
	}
	c.verb = words[2]
	names, err := c.floatingOptions(words[3:])
	if err == nil {
		err = c.floatingNames(names)
	}
	if err != nil {
		return fmt.Errorf("floating ip %s: %w; usage: %s", c.verb, err, floatingUsage[c.verb])
	}
	return nil
}

// floatingOptions takes options before and after the names, and returns these.
func (c *command) floatingOptions(words []string) (names []string, err error) {
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		option, value, joined := strings.Cut(w, "=")
		if w == "--port" && c.verb == "unset" {
			continue // a floating IP has only a port to unset
		}
		known := map[string][]string{"create": {"--floating-ip-address", "--fixed-ip-address", "--port"},
			"set": {"--fixed-ip-address", "--port"}}[c.verb]
		switch {
		case !strings.HasPrefix(w, "-"):
			names = append(names, w)
			continue
		case !slices.Contains(known, option):
			return nil, fmt.Errorf("unknown option %s", w)
		case !joined && len(words) == 0:
			return nil, fmt.Errorf("option %s needs a value", option)
		case !joined:
			value, words = words[0], words[1:]
		}
		switch option {
		case "--port":
			c.port = value
		case "--fixed-ip-address":
			c.fixed, err = anAddress(value)
		default:
			c.addr, err = anAddress(value)
		}
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// floatingNames takes the arguments that are no options.
func (c *command) floatingNames(names []string) error {
	target := c.port != "" || c.fixed.IsValid()
	switch {
	case c.port != "" && c.fixed.IsValid():
		return errors.New("it is --port or --fixed-ip-address, not both")
	case c.verb == "set" && !target:
		return errors.New("there is nothing to set: add --port or --fixed-ip-address")
	case c.verb == "list":
		if len(names) > 0 {
			return errors.New("it takes no argument")
		}
		return nil
	case c.verb == "create":
		if len(names) != 1 {
			return errors.New("it takes a network; names with blanks are quoted")
		}
		c.network = names[0]
		return nil
	case len(names) != 1:
		return errors.New("it takes the address of a floating IP")
	}
	var err error
	c.floating, err = anAddress(names[0])
	return err
}

func anAddress(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%q is not an IPv4 address", text)
	}
	return a, nil
}

// checkFloating says whether the topology has the network and the port.
func (c *command) checkFloating(topo *file.Topology) error {
	if c.network != "" {
		if err := checkExternal(topo, c.network); err != nil {
			return fmt.Errorf("floating ip: %w", err)
		}
	}
	if c.port == "" {
		return nil
	}
	names := portNames(topo)
	if slices.Contains(names, c.port) {
		return nil
	}
	return fmt.Errorf("floating ip: no such port %q: there are %s", c.port, listed(quoted(names)))
}

// float carries a floating ip command out.
func (l *lab) float(c *command, out io.Writer) bool {
	err := l.doFloat(c, out)
	if err != nil {
		fmt.Fprintln(out, err)
	}
	return err == nil
}

func (l *lab) doFloat(c *command, out io.Writer) error {
	fixed := c.fixed
	if c.port != "" {
		var err error
		if fixed, err = l.addressOf(c.port); err != nil {
			return err
		}
	}
	switch c.verb {
	case "create":
		return l.createFloating(c, fixed, out)
	case "set":
		return l.control.SetFloatingIP(c.floating, fixed)
	case "unset":
		return l.control.UnsetFloatingIP(c.floating)
	case "delete":
		return l.control.DeleteFloatingIP(c.floating)
	case "show":
		return l.showFloating(out, func(f control.FloatingIP) bool { return f.Address == c.floating })
	}
	l.listFloating(out)
	return nil
}

// addressOf is the first address of the port with a name.
func (l *lab) addressOf(port string) (netip.Addr, error) {
	for p := range l.control.State().Ports() {
		if p.Name == port && len(p.FixedIPs) > 0 {
			return p.FixedIPs[0].Address, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no port %q", port)
}

// createFloating prints what was created, in a table of fields and values.
func (l *lab) createFloating(c *command, fixed netip.Addr, out io.Writer) error {
	a, err := l.control.CreateFloatingIP(c.network, c.addr)
	if err != nil {
		return err
	}
	if fixed.IsValid() {
		if err := l.control.SetFloatingIP(a, fixed); err != nil {
			return errors.Join(err, l.control.DeleteFloatingIP(a)) // all or nothing
		}
	}
	return l.showFloating(out, func(f control.FloatingIP) bool { return f.Address == a && f.Network == c.network })
}

// showFloating prints the floating IPs that are meant, each in a table of fields and values.
func (l *lab) showFloating(out io.Writer, meant func(control.FloatingIP) bool) error {
	none := true
	for _, f := range l.control.FloatingIPs() {
		if !meant(f) {
			continue
		}
		none = false
		status := "DOWN"
		if f.FixedIP.IsValid() {
			status = "ACTIVE"
		}
		printTable(out, []string{"Field", "Value"}, [][]string{
			{"fixed_ip_address", orNone(f.FixedIP)},
			{"floating_ip_address", f.Address.String()},
			{"floating_network", f.Network},
			{"id", string(f.ID)},
			{"port", l.portName(f)},
			{"router", orNoName(f.Router)},
			{"status", status},
		})
	}
	if none {
		return errors.New("there is no such floating IP")
	}
	return nil
}

// listFloating prints the floating IPs. Where the client has IDs, it has the names that a lesson has.
func (l *lab) listFloating(out io.Writer) {
	var rows [][]string
	for _, f := range l.control.FloatingIPs() {
		rows = append(rows, []string{f.Address.String(), orNone(f.FixedIP), l.portName(f), f.Network})
	}
	printTable(out, []string{"Floating IP Address", "Fixed IP Address", "Port", "Floating Network"}, rows)
}

func (l *lab) portName(f control.FloatingIP) string {
	if p := l.control.State().Port(f.Port); p != nil {
		return orNoName(p.Name)
	}
	return orNoName("")
}

func orNone(a netip.Addr) string {
	if !a.IsValid() {
		return "None"
	}
	return a.String()
}

func orNoName(name string) string {
	if name == "" {
		return "None"
	}
	return name
}

// printTable prints a table as the openstack client does.
func printTable(out io.Writer, head []string, rows [][]string) {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	rule := "+"
	for _, w := range widths {
		rule += strings.Repeat("-", w+2) + "+"
	}
	line := func(row []string) string {
		text := "|"
		for i, cell := range row {
			text += " " + cell + strings.Repeat(" ", widths[i]-len([]rune(cell))) + " |"
		}
		return text
	}
	fmt.Fprintf(out, "%s\n%s\n%s\n", rule, line(head), rule)
	for _, row := range rows {
		fmt.Fprintln(out, line(row))
	}
	if len(rows) > 0 {
		fmt.Fprintln(out, rule)
	}
}
