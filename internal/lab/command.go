package lab

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// A command is the do line of a step, understood.
type command struct {
	name string // one of commandNames, wait, or one of ownCommands

	addr  netip.Addr     // ping, traceroute, arping; floating ip create --floating-ip-address
	to    netip.AddrPort // connect, send, nc
	url   string         // curl, browse
	text  string         // send, nc
	pause time.Duration  // wait

	service file.Service // start, stop

	network  string     // floating ip create
	floating netip.Addr // floating ip set, unset, delete, show
	fixed    netip.Addr // floating ip create and set --fixed-ip-address
	port     string     // floating ip create and set --port; port set, unset

	router routerCommand // router

	pair     config.AddressPair // port set and unset --allowed-address
	security string             // port set --enable-port-security, --disable-port-security

	dig digCommand
	ip  ipCommand
	nc  ncCommand

	verb         string // what one of ownCommands does, such as set; of two words: member set, add subnet
	pool, member string // member set
	weight       int    // member set --weight
	weighs       bool   // it is given
	admin        string // member set --enable, --disable

	count    int           // ping, arping -c; 0: until the deadline
	from     netip.Addr    // ping -I, arping -s; the zero value: the host's own
	probe    bool          // arping -D
	size     int           // ping -s, payload bytes
	ttl      int           // ping -t
	df       bool          // ping -M do
	interval time.Duration // ping -i; 0: the lab's own
	deadline time.Duration // ping, arping -w
	quiet    bool          // ping -q
	timeout  time.Duration // ping -W, curl -m; connect, send, traceroute, dhcp, nc -w
	maxHops  int           // traceroute -m
	mode     string        // traceroute -I, -T, -U
	udp      bool          // connect, nc -u
	numeric  bool          // traceroute -n

	headers  bool   // curl -i and -I
	head     bool   // curl -I
	strict   bool   // curl -f
	discard  bool   // curl -o /dev/null
	writeOut string // curl -w
}

// tool is the command whose options and arguments it takes.
func (c *command) tool() string {
	if c.name == "browse" {
		return "curl"
	}
	return c.name
}

// An ownCommand is one that the router has, not an instance.
type ownCommand struct {
	name  string
	usual string // what people call it
	parse func(c *command, line string) error
}

// ownCommands are in the order in which messages list them.
var ownCommands = []ownCommand{
	{balancer, balancer, (*command).parseBalancer},
	{floatingIP, "floating ip", (*command).parseFloating},
	{routers, routers, (*command).parseRouter},
	{ports, ports, (*command).parsePort},
	{show, "show nat, drops", (*command).parseShow},
}

// commandNames are the commands that an instance has.
var commandNames = []string{"ping", "curl", "browse", "connect", "send", "traceroute", "start", "stop", "dhcp", "dig",
	"arping", "ip", "nc"}

// parseCommand understands a do line. on says whether an instance runs it.
func parseCommand(line string, on bool) (*command, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil, fmt.Errorf("do is empty: name a command, such as %q", "ping 10.10.10.4")
	}
	c := &command{name: words[0], count: 3, size: 56, ttl: 64, maxHops: 30, mode: "-U"}
	if c.name == "wait" {
		return c, c.parseWait(words[1:])
	}
	if isOwn, err := c.parseOwn(line, on); isOwn {
		return c, err
	}
	if c.name == "echo" {
		rest, err := c.echoPipe(line)
		if err != nil {
			return nil, err
		}
		words = strings.Fields(rest)
		c.name = words[0]
	}
	if !slices.Contains(commandNames, c.name) {
		if on {
			return nil, fmt.Errorf("unknown command %q: an instance has wait, %s", c.name,
				strings.Join(commandNames, ", "))
		}
		return nil, fmt.Errorf("the router's own command %q is not supported yet: without on, a step has wait, %s",
			c.name, strings.Join(ownNames(), ", "))
	}
	if !on {
		return nil, fmt.Errorf("%s needs an instance to run it: add on = \"NAME\"", c.name)
	}
	if c.name == "start" || c.name == "stop" {
		return c, c.parseService(words[1:])
	}
	if c.name == "ip" {
		return c, c.parseIP(words[1:])
	}
	if c.tool() == "curl" { // people quote its URLs and formats
		var err error
		if words, err = split(line); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	c.count = 0
	args, err := c.options(words[1:])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	if c.count == 0 && c.deadline == 0 {
		c.count = 3 // as people stop the real one
	}
	if err := c.arguments(args); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return c, nil
}

// clients are the programs that an own command may be typed with.
var clients = []string{"openstack", "taprouter"}

// parseOwn understands a command that the router has, which may be written with the client that people type it with. It
// says whether the line is one.
func (c *command) parseOwn(line string, on bool) (bool, error) {
	client := ""
	if slices.Contains(clients, c.name) {
		client = c.name
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), client))
		if c.name = ""; line != "" {
			c.name = strings.Fields(line)[0]
		}
	}
	i := slices.IndexFunc(ownCommands, func(o ownCommand) bool { return o.name == c.name })
	switch {
	case i < 0 && client == "":
		return false, nil
	case on && client != "":
		return true, fmt.Errorf("%s is the router's own: leave on out", client)
	case i < 0:
		return true, fmt.Errorf("%q is not understood: with %s there are %s",
			strings.TrimSpace(client+" "+line), client, strings.Join(ownNames(), ", "))
	case on:
		return true, fmt.Errorf("%s is a command of the router's own: leave on out", c.name)
	}
	if err := ownCommands[i].parse(c, line); err != nil {
		return true, err
	}
	switch {
	case client != "" && c.repeats():
		return true, fmt.Errorf("%s %s is a lesson's own: write it without %s", c.name, c.verb, client)
	case client == "openstack" && c.name == show:
		return true, fmt.Errorf("the openstack client has no %s %s: write it with taprouter, or alone", c.name, c.verb)
	}
	return true, nil
}

// ownNames lists what people call the router's own commands.
func ownNames() []string {
	var list []string
	for _, o := range ownCommands {
		list = append(list, o.usual)
	}
	return list
}

// check compares a command with the topology it is for: the names in it must be there.
func (c *command) check(topo *file.Topology, s *file.Step) error {
	switch {
	case c.name == "start" || c.name == "stop":
		return c.checkService(topo, s)
	case c.verb == "member set":
		return c.checkMember(topo)
	case c.name == floatingIP:
		return c.checkFloating(topo)
	case c.name == routers:
		return c.checkRouter(topo)
	case c.name == ports:
		return c.checkPort(topo)
	}
	return nil
}

func (c *command) parseWait(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("wait takes a duration, such as %q", "wait 2s")
	}
	d, err := time.ParseDuration(args[0])
	if err != nil || d <= 0 {
		return fmt.Errorf("wait: %q is not a duration: write 500ms or 2s", args[0])
	}
	c.pause = d
	return nil
}

// arguments takes the arguments that are no options.
func (c *command) arguments(args []string) error {
	switch c.name {
	case "dhcp":
		return c.parseDHCP(args)
	case "dig":
		return c.parseDig(args)
	case "nc":
		return c.parseNC(args)
	}
	want := map[string]string{"arping": "an address", "ping": "an address", "traceroute": "an address", "curl": "a URL",
		"connect": "ADDRESS:PORT", "send": "ADDRESS:PORT TEXT"}[c.tool()]
	if len(args) == 0 || len(args) > 1 && c.name != "send" || len(args) < 2 && c.name == "send" {
		return fmt.Errorf("takes %s", want)
	}
	var err error
	switch c.tool() {
	case "ping", "traceroute", "arping":
		if c.addr, err = netip.ParseAddr(args[0]); err != nil || !c.addr.Is4() {
			return fmt.Errorf("%q is not an IPv4 address: hosts of a lab have no names", args[0])
		}
	case "curl":
		return c.setURL(args[0])
	case "connect", "send":
		if c.to, err = netip.ParseAddrPort(args[0]); err != nil || !c.to.Addr().Is4() {
			return fmt.Errorf("%q is not an IPv4 address and port", args[0])
		}
		c.text = strings.Join(args[1:], " ")
	}
	return nil
}

// setURL accepts what curl does without a proxy or names: http://ADDRESS[:PORT]/PATH.
func (c *command) setURL(text string) error {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("%q is not a URL", text)
	}
	if u.Scheme != "http" {
		return fmt.Errorf("%q: only http is there", text)
	}
	if a, err := netip.ParseAddr(u.Hostname()); err != nil || !a.Is4() {
		return fmt.Errorf("%q: the host must be an IPv4 address: hosts of a lab have no names", text)
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	if c.to, err = netip.ParseAddrPort(u.Hostname() + ":" + port); err != nil {
		return fmt.Errorf("%q: no such port", text)
	}
	c.url = u.String()
	return nil
}
