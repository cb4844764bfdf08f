package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
)

// A command is the do line of a step, understood.
type command struct {
	name string // ping, curl, browse, traceroute, connect, send, start, stop, wait, loadbalancer

	addr  netip.Addr     // ping, traceroute
	to    netip.AddrPort // connect, send
	url   string         // curl, browse
	text  string         // send
	pause time.Duration  // wait

	service config.Service // start, stop

	verb         string // loadbalancer: status, stats, member set
	pool, member string // member set
	weight       int    // member set --weight
	weighs       bool   // it is given
	admin        string // member set --enable, --disable

	count   int           // ping -c
	size    int           // ping -s, payload bytes
	ttl     int           // ping -t
	df      bool          // ping -M do
	timeout time.Duration // ping -W, curl -m, connect and send -w, traceroute -w
	maxHops int           // traceroute -m
	mode    string        // traceroute -I, -T, -U
	udp     bool          // connect -u
	numeric bool          // traceroute -n
	headers bool          // curl -i, browse -i
}

// commandNames are the commands that an instance has.
var commandNames = []string{"ping", "curl", "browse", "connect", "send", "traceroute", "start", "stop"}

// parseCommand understands a do line. on says whether an instance runs it.
func parseCommand(line string, on bool) (*command, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil, fmt.Errorf("do is empty: name a command, such as %q", "ping 10.10.10.4")
	}
	c := &command{name: words[0], count: 3, size: 56, ttl: 64, maxHops: 30, mode: "-U"}
	switch {
	case c.name == "wait":
		return c, c.parseWait(words[1:])
	case c.name == balancer && on:
		return nil, errors.New("loadbalancer is a command of the router's own: leave on out")
	case c.name == balancer:
		return c, c.parseBalancer(line)
	}
	if !slices.Contains(commandNames, c.name) {
		if on {
			return nil, fmt.Errorf("unknown command %q: an instance has wait, %s", c.name, strings.Join(commandNames, ", "))
		}
		return nil, fmt.Errorf("the router's own command %q is not supported yet: without on, a step has wait and loadbalancer", c.name)
	}
	if !on {
		return nil, fmt.Errorf("%s needs an instance to run it: add on = \"NAME\"", c.name)
	}
	if c.name == "start" || c.name == "stop" {
		return c, c.parseService(words[1:])
	}
	args, err := c.flags(words[1:])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	if err := c.arguments(args); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return c, nil
}

// check compares a command with the topology it is for: the names in it must be there.
func (c *command) check(topo *config.Topology, s *config.Step) error {
	switch {
	case c.name == "start" || c.name == "stop":
		return c.checkService(topo, s)
	case c.verb == "member set":
		return c.checkMember(topo)
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

// flags takes the options that people type, and returns the rest.
func (c *command) flags(words []string) (rest []string, err error) {
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		if !strings.HasPrefix(w, "-") || len(w) == 1 {
			rest = append(rest, w)
			if c.name == "send" && len(rest) == 2 {
				return append(rest, words...), nil // the text may hold anything
			}
			continue
		}
		if c.isSwitch(w) {
			continue
		}
		if !c.hasValue(w) {
			return nil, fmt.Errorf("unknown option %s", w)
		}
		if len(words) == 0 {
			return nil, fmt.Errorf("option %s needs a value", w)
		}
		if err := c.setValue(w, words[0]); err != nil {
			return nil, err
		}
		words = words[1:]
	}
	return rest, nil
}

// isSwitch takes an option without a value.
func (c *command) isSwitch(w string) bool {
	switch c.tool() + " " + w {
	case "ping -n", "ping -q", "curl -s", "curl -sS", "curl -S", "curl --silent":
	case "curl -i", "curl --include":
		c.headers = true
	case "traceroute -n":
		c.numeric = true
	case "traceroute -I", "traceroute -U", "traceroute -T":
		c.mode = w
	case "connect -u":
		c.udp = true
	default:
		return false
	}
	return true
}

// tool is the command whose options and arguments it takes.
func (c *command) tool() string {
	if c.name == "browse" {
		return "curl"
	}
	return c.name
}

func (c *command) hasValue(w string) bool {
	switch c.tool() + " " + w {
	case "ping -c", "ping -s", "ping -t", "ping -W", "ping -M", "curl -m", "curl --max-time", "curl --connect-timeout",
		"traceroute -m", "traceroute -w", "connect -w", "send -w":
		return true
	}
	return false
}

// setValue takes an option with its value.
func (c *command) setValue(w, value string) error {
	number := func(to *int, lo, hi int) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < lo || n > hi {
			return fmt.Errorf("option %s: %q is not a number from %d to %d", w, value, lo, hi)
		}
		*to = n
		return nil
	}
	switch w {
	case "-c":
		return number(&c.count, 1, 1000)
	case "-s":
		return number(&c.size, 0, 65507)
	case "-t":
		return number(&c.ttl, 1, 255)
	case "-M":
		if c.df = value == "do"; !c.df && value != "dont" && value != "want" {
			return fmt.Errorf("option -M: %q is none of do, dont, want", value)
		}
		return nil
	}
	if c.name == "traceroute" && w == "-m" {
		return number(&c.maxHops, 1, 255)
	}
	seconds, err := strconv.ParseFloat(value, 64)
	if err != nil || seconds <= 0 || seconds > 3600 {
		return fmt.Errorf("option %s: %q is not a number of seconds", w, value)
	}
	c.timeout = time.Duration(seconds * float64(time.Second))
	return nil
}

// arguments takes what is no option.
func (c *command) arguments(args []string) error {
	want := map[string]string{"ping": "an address", "traceroute": "an address", "curl": "a URL",
		"connect": "ADDRESS:PORT", "send": "ADDRESS:PORT TEXT"}[c.tool()]
	if len(args) == 0 || len(args) > 1 && c.name != "send" || len(args) < 2 && c.name == "send" {
		return fmt.Errorf("takes %s", want)
	}
	var err error
	switch c.tool() {
	case "ping", "traceroute":
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
