package lab

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/taprouter/taprouter/router/host"
)

// What an instance does as a guest that its administrator is logged in to: DHCP, and ARP by hand. The output is that
// of udhcpc and of arping.

// eth0 is what an instance's interface is called.
const eth0 = "eth0"

// bootWait is how long the instances with DHCP have for a lease before the first step.
const bootWait = 5 * time.Second

// boot has the instances with DHCP ask for their leases, and prints what they get.
func (l *lab) boot(ctx context.Context) error {
	waits, cancel := context.WithTimeout(ctx, bootWait)
	defer cancel()
	lines := make([]string, len(l.topo.Instances))
	var all sync.WaitGroup
	for i := range l.topo.Instances {
		c := &l.topo.Instances[i]
		if !c.DHCP {
			continue
		}
		all.Go(func() {
			lease, err := l.hosts[c.Name].DHCP(waits)
			lines[i] = c.Name + ": " + noLease
			if err == nil {
				lines[i] = c.Name + ": " + obtained(&lease)
			}
		})
	}
	all.Wait()
	l.printer.list(lines)
	return ctx.Err()
}

const noLease = "udhcpc: no lease, failing"

func obtained(l *host.Lease) string {
	return fmt.Sprintf("udhcpc: lease of %v obtained from %v, lease time %d", l.Address.Addr(), l.Server,
		int(l.Time.Seconds()))
}

// parseDHCP takes what dhcp is to do.
func (c *command) parseDHCP(args []string) error {
	switch {
	case len(args) == 0:
		c.verb = "ask"
	case len(args) == 1 && (args[0] == "renew" || args[0] == "release"):
		c.verb = args[0]
	default:
		return fmt.Errorf("takes renew or release, or nothing: then it asks for a lease")
	}
	return nil
}

// dhcp asks for a lease, renews it or gives it back.
func (c *command) dhcp(step context.Context, h *host.Host, out io.Writer) result {
	ctx, cancel := c.within(step)
	defer cancel()
	had, leased := h.Interface().Lease()
	switch {
	case !leased && c.verb != "ask":
		fmt.Fprintf(out, "udhcpc: there is no lease to %s\n", c.verb)
		return done(false)
	case c.verb == "release":
		if err := h.ReleaseDHCP(ctx); err != nil {
			fmt.Fprintf(out, "udhcpc: %v\n", err)
			return done(false)
		}
		fmt.Fprintf(out, "udhcpc: released %v\n", had.Address.Addr())
		return done(true)
	}
	l, err := h.DHCP(ctx)
	if err != nil {
		fmt.Fprintln(out, noLease)
		return cutOr(step, "no answer yet")
	}
	fmt.Fprintln(out, obtained(&l))
	c.printLease(&l, out)
	return done(true)
}

// printLease prints what the lease says beside the address, by the names that udhcpc's script has for it.
func (c *command) printLease(l *host.Lease, out io.Writer) {
	show := func(name, value string) {
		if value != "" && value != "invalid IP" {
			fmt.Fprintf(out, "%s=%s\n", name, value)
		}
	}
	show("ip", l.Address.String())
	show("router", l.Gateway.String())
	var routes, servers []string
	for _, r := range l.Routes {
		routes = append(routes, fmt.Sprintf("%v via %v", r.Destination, r.NextHop))
	}
	for _, a := range l.DNS {
		servers = append(servers, a.String())
	}
	show("staticroutes", strings.Join(routes, ", "))
	show("dns", strings.Join(servers, " "))
	show("hostname", l.Hostname)
	show("domain", l.Domain)
	if l.MTU > 0 {
		show("mtu", fmt.Sprint(l.MTU))
	}
}

// arpingWait is how long one request of arping waits for its answer, and arpingInterval the time between two that are
// answered.
const (
	arpingWait     = time.Second
	arpingInterval = 100 * time.Millisecond
)

// arping asks for an address by ARP. As the real one it fails without an answer, or, to find duplicates (-D), with one.
func (c *command) arping(step context.Context, h *host.Host, out io.Writer) result {
	ctx, cancel := context.WithCancel(step)
	if c.deadline > 0 {
		ctx, cancel = context.WithTimeout(step, c.deadline)
	}
	defer cancel()
	sender := c.from
	switch {
	case c.probe:
		sender = netip.IPv4Unspecified()
	case !sender.IsValid():
		sender = h.Address()
	}
	fmt.Fprintf(out, "ARPING %v from %v %s\n", c.addr, sender, eth0)
	sent, received := 0, 0
	for (c.count == 0 || sent < c.count) && ctx.Err() == nil {
		if sent > 0 {
			select {
			case <-time.After(arpingInterval):
			case <-ctx.Done():
			}
		}
		sent++
		one, giveUp := context.WithTimeout(ctx, arpingWait)
		r, err := h.Interface().ARP(one, c.addr, sender)
		giveUp()
		if err != nil {
			continue
		}
		received++
		fmt.Fprintf(out, "Unicast reply from %v [%s]  %.3fms\n", c.addr, strings.ToUpper(r.MAC.String()),
			milliseconds(r.RTT))
		if c.probe {
			break
		}
	}
	fmt.Fprintf(out, "Sent %d probes (%d broadcast(s))\nReceived %d response(s)\n", sent, sent, received)
	if step.Err() != nil {
		return result{received > 0 != c.probe, fmt.Sprintf("%d requests sent, %d answered", sent, received)}
	}
	return done(received > 0 != c.probe)
}
