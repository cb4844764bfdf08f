package lab

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router/control"
)

// The router's own commands on routers, in the openstack client's words, and two in taprouter's:
//
//	router set --external-gateway NETWORK [--fixed-ip ip-address=A] [--enable-snat | --disable-snat] ROUTER
//	router unset --external-gateway ROUTER
//	router add subnet ROUTER SUBNET
//	router remove subnet ROUTER SUBNET
//	router add route --route destination=CIDR,gateway=A ROUTER
//	router remove route --route destination=CIDR,gateway=A ROUTER
//	router show ROUTER
//	show nat
//	show drops
//
// SUBNET is a CIDR, as a subnet of a file has no name, or an id.

const (
	routers = "router"
	show    = "show"
)

const routeOption = "--route"

// routerUsage says how each verb is called.
var routerUsage = map[string]string{
	"set": "router set --external-gateway NETWORK [--fixed-ip ip-address=A] [--enable-snat | --disable-snat] " +
		"ROUTER",
	"unset":         "router unset --external-gateway ROUTER",
	"add subnet":    "router add subnet ROUTER SUBNET",
	"remove subnet": "router remove subnet ROUTER SUBNET",
	"add route":     "router add route --route destination=CIDR,gateway=A ROUTER",
	"remove route":  "router remove route --route destination=CIDR,gateway=A ROUTER",
	"show":          "router show ROUTER",
}

// routerVerbs are the verbs in the order in which messages list them.
var routerVerbs = []string{"set", "unset", "add subnet", "remove subnet", "add route", "remove route", "show"}

// A routerCommand is what a command on a router says besides its verb.
type routerCommand struct {
	router  string
	network string // set --external-gateway
	clears  bool   // unset --external-gateway
	address netip.Addr
	snat    string // set --enable-snat, --disable-snat
	subnet  string
	to      netip.Prefix // add route, remove route
	via     netip.Addr
}

// parseRouter understands a line that begins with router.
func (c *command) parseRouter(line string) error {
	words, err := split(line)
	if err != nil {
		return err
	}
	words = words[1:]
	for _, verb := range routerVerbs {
		if parts := strings.Fields(verb); len(words) >= len(parts) && slices.Equal(words[:len(parts)], parts) {
			c.verb, words = verb, words[len(parts):]
			break
		}
	}
	if c.verb == "" {
		return fmt.Errorf("%q is not understood: there are router %s", line, strings.Join(routerVerbs, ", "))
	}
	names, err := c.routerOptions(words)
	if err == nil {
		err = c.routerNames(names)
	}
	if err != nil {
		return fmt.Errorf("router %s: %w; usage: %s", c.verb, err, routerUsage[c.verb])
	}
	return nil
}

// routerOptions takes options before and after the names, and returns these.
func (c *command) routerOptions(words []string) (names []string, err error) {
	known := map[string][]string{
		"set":          {"--external-gateway", "--fixed-ip", "--enable-snat", "--disable-snat"},
		"unset":        {"--external-gateway"},
		"add route":    {routeOption},
		"remove route": {routeOption},
	}[c.verb]
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		option, value, joined := strings.Cut(w, "=")
		flag := option == "--enable-snat" || option == "--disable-snat" || c.verb == "unset"
		switch {
		case !strings.HasPrefix(w, "-"):
			names = append(names, w)
			continue
		case !slices.Contains(known, option):
			return nil, fmt.Errorf("unknown option %s", w)
		case flag && joined:
			return nil, fmt.Errorf("option %s takes no value", option)
		case !flag && !joined && len(words) == 0:
			return nil, fmt.Errorf("option %s needs a value", option)
		case !flag && !joined:
			value, words = words[0], words[1:]
		}
		if err := c.routerOption(option, value); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// routerOption takes one option.
func (c *command) routerOption(option, value string) error {
	switch option {
	case "--enable-snat", "--disable-snat":
		if c.router.snat != "" && c.router.snat != option {
			return errors.New("it is --enable-snat or --disable-snat, not both")
		}
		c.router.snat = option
	case "--external-gateway":
		c.router.network, c.router.clears = value, c.verb == "unset"
	case "--fixed-ip":
		pairs, err := pairsOf(value, "ip-address")
		if err != nil {
			return fmt.Errorf("option --fixed-ip: %w", err)
		}
		c.router.address, err = anAddress(pairs["ip-address"])
		return err
	case routeOption:
		pairs, err := pairsOf(value, "destination", "gateway")
		if err != nil {
			return fmt.Errorf("option %s: %w", routeOption, err)
		}
		if c.router.to, err = netip.ParsePrefix(pairs["destination"]); err != nil {
			return fmt.Errorf("option %s: %q is not a CIDR", routeOption, pairs["destination"])
		}
		c.router.via, err = anAddress(pairs["gateway"])
		return err
	}
	return nil
}

// pairsOf takes a text such as destination=D,gateway=G apart. It has all of the keys, and no other.
func pairsOf(text string, keys ...string) (map[string]string, error) {
	pairs := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if _, again := pairs[key]; !ok || again || !slices.Contains(keys, key) {
			return nil, fmt.Errorf("%q is not of the form %s=VALUE", text, strings.Join(keys, "=VALUE,"))
		}
		pairs[key] = value
	}
	if len(pairs) < len(keys) {
		return nil, fmt.Errorf("%q is not of the form %s=VALUE", text, strings.Join(keys, "=VALUE,"))
	}
	return pairs, nil
}

// routerNames takes the arguments that are no options.
func (c *command) routerNames(names []string) error {
	r := &c.router
	subnet := strings.HasSuffix(c.verb, " subnet")
	switch {
	case subnet && len(names) != 2:
		return errors.New("it takes a router and a subnet; names with blanks are quoted")
	case !subnet && len(names) != 1:
		return errors.New("it takes a router; names with blanks are quoted")
	case c.verb == "set" && r.network == "" && (r.snat != "" || r.address.IsValid()):
		return errors.New("you must specify --external-gateway in order to specify SNAT or fixed-ip values")
	case c.verb == "set" && r.network == "":
		return errors.New("there is nothing to set: add --external-gateway NETWORK")
	case c.verb == "unset" && !r.clears:
		return errors.New("there is nothing to unset: add --external-gateway")
	case strings.HasSuffix(c.verb, " route") && !r.to.IsValid():
		return errors.New("there is no route: add --route destination=CIDR,gateway=A")
	}
	r.router = names[0]
	if subnet {
		r.subnet = names[1]
	}
	return nil
}

// checkRouter says whether the topology has what a command on a router names.
func (c *command) checkRouter(topo *file.Topology) error {
	r := &c.router
	var names []string
	for i := range topo.Routers {
		names = append(names, topo.Routers[i].Name)
	}
	if !slices.Contains(names, r.router) {
		return fmt.Errorf("router: no such router %q: there are %s", r.router, listed(quoted(names)))
	}
	if r.network != "" {
		if err := checkExternal(topo, r.network); err != nil {
			return fmt.Errorf("router: %w", err)
		}
	}
	if r.subnet == "" {
		return nil
	}
	var subnets []string
	for i := range topo.Networks {
		for _, s := range topo.Networks[i].Subnets {
			if r.subnet == s.CIDR.String() || r.subnet == string(s.ID) {
				return nil
			}
			subnets = append(subnets, s.CIDR.String())
		}
	}
	return fmt.Errorf("router: no such subnet %q: there are %s", r.subnet, listed(subnets))
}

// checkExternal says whether the topology has an external network of a name.
func checkExternal(topo *file.Topology, name string) error {
	var external []string
	for i := range topo.Networks {
		n := &topo.Networks[i]
		switch {
		case n.Name == name && n.External:
			return nil
		case n.Name == name:
			return fmt.Errorf("network %q is not external", name)
		case n.External:
			external = append(external, n.Name)
		}
	}
	return fmt.Errorf("no such network %q: there are %s", name, listed(quoted(external)))
}

func quoted(names []string) []string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = strconv.Quote(n)
	}
	return list
}

// route carries a command on a router out. As the openstack client, it says nothing when a change is made.
func (l *lab) route(c *command, out io.Writer) bool {
	err := l.doRoute(c, out)
	if err != nil {
		fmt.Fprintln(out, err)
	}
	return err == nil
}

func (l *lab) doRoute(c *command, out io.Writer) error {
	r := &c.router
	switch c.verb {
	case "set":
		g := control.Gateway{Network: r.network, Address: r.address}
		if r.snat != "" {
			on := r.snat == "--enable-snat"
			g.SNAT = &on
		}
		return l.control.SetGateway(r.router, g)
	case "unset":
		return l.control.ClearGateway(r.router)
	case "add subnet":
		return l.control.AddInterface(r.router, r.subnet)
	case "remove subnet":
		return l.control.RemoveInterface(r.router, r.subnet)
	case "add route":
		return l.control.AddRoute(r.router, r.to, r.via)
	case "remove route":
		return l.control.RemoveRoute(r.router, r.to, r.via)
	}
	showRouter(l.control.State(), r.router, out)
	return nil
}

// showRouter prints a router as the client does, with the names and CIDRs of a lesson in place of the client's IDs.
func showRouter(s *config.State, name string, out io.Writer) {
	for r := range s.Routers() {
		if r.Name != name {
			continue
		}
		var interfaces, routes []string
		for p := range s.InterfacesOf(r.ID) {
			for _, f := range p.FixedIPs {
				interfaces = append(interfaces, fixedText(s, f))
			}
		}
		for _, x := range r.Routes {
			routes = append(routes, fmt.Sprintf("destination='%v', gateway='%v'", x.Destination, x.NextHop))
		}
		printTable(out, []string{"Field", "Value"}, [][]string{
			{"external_gateway_info", gatewayText(s, r)},
			{"id", string(r.ID)},
			{"interfaces_info", "[" + strings.Join(interfaces, ", ") + "]"},
			{"name", r.Name},
			{"routes", strings.Join(routes, "; ")},
		})
	}
}

func gatewayText(s *config.State, r *config.Router) string {
	if r.Gateway == nil {
		return "null"
	}
	var addresses []string
	if p := s.GatewayPort(r.ID); p != nil {
		for _, f := range p.FixedIPs {
			addresses = append(addresses, fixedText(s, f))
		}
	}
	return fmt.Sprintf(`{"enable_snat": %t, "external_fixed_ips": [%s], "network": %q}`,
		r.Gateway.SNAT, strings.Join(addresses, ", "), s.Network(r.Gateway.Network).Name)
}

func fixedText(s *config.State, f config.FixedIP) string {
	return fmt.Sprintf(`{"ip_address": "%v", "subnet": "%v"}`, f.Address, s.Subnet(f.Subnet).CIDR)
}

// showNAT prints the rules of the routers' NAT.
func (l *lab) showNAT(out io.Writer) {
	s := l.control.State()
	for r := range s.Routers() {
		for _, n := range control.NATRules(s, r) {
			fmt.Fprintln(out, n)
		}
	}
}
