//go:build linux

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A host that is connected when the router starts hears which addresses the router owns, three
// times (RFC 5227, section 2.3). A host that is connected later hears it then.
func TestAnnouncements(t *testing.T) {
	t.Parallel()
	need(t, "tcpdump")
	p := &pair{world: newWorld(t)}
	p.router, p.internal, p.external = p.space("router"), p.space("internal"), p.space("external")
	topology := p.prepare(p.internal, movedTAP, "tap100", pairTopology+services)
	topology = p.prepare(p.external, rawVeth, "tap-ext", topology)
	listen := func(s *space, name string) *process {
		dump := s.start("tcpdump", "-n", "-l", "-Z", "root", "-e", "--immediate-mode", "-i", name, "arp")
		dump.wait(t, "listening on")
		return dump
	}
	outside := listen(p.external, "tap-ext")
	start := time.Now()
	p.process = p.router.serve(p.file("pair.toml", topology))
	p.internal.adopt(p.router, "tap100")
	inside := listen(p.internal, "tap100")
	for _, c := range []struct {
		dump    *process
		address string
		times   int
	}{
		{outside, "10.10.10.2", 1}, {outside, "10.10.10.3", 1}, {outside, "10.10.10.7", 1},
		{outside, "10.10.10.2", 3}, {outside, "10.10.10.3", 3}, {outside, "10.10.10.7", 3},
		{inside, "172.16.100.1", 1}, {inside, "172.16.100.11", 1},
	} {
		c.dump.waitTimes(t, fmt.Sprintf("who-has %[1]s tell %[1]s,", c.address), c.times)
		t.Logf("%s announced %d times after %v", c.address, c.times, time.Since(start).Round(10*time.Millisecond))
	}
	for _, line := range strings.Split(strings.TrimSpace(outside.stop()), "\n") {
		if strings.Contains(line, "ARP") && !strings.Contains(line, "> ff:ff:ff:ff:ff:ff") ||
			strings.Contains(line, "172.16.") {
			t.Errorf("the outside hears %q", line)
		}
	}
}

// A neighbor that changes its MAC and says so is followed at once, one that
// says nothing as soon as it asks for the router.
func TestNeighborChanges(t *testing.T) {
	t.Parallel()
	need(t, "ping", "arping")
	p := newPair(t, services)
	p.external.pings(t, "10.10.10.3")
	p.internal.run("ip", "link", "set", "tap100", "address", "02:00:00:00:00:01")
	p.internal.run("arping", "-c", "1", "-U", "-I", "tap100", internalAddress)
	p.external.pings(t, "10.10.10.3")

	p.internal.run("ip", "link", "set", "tap100", "address", "02:00:00:00:00:02")
	p.internal.run("ip", "neigh", "flush", "dev", "tap100")
	if out, err := p.external.try("ping", "-n", "-c", "1", "-W", "1", "10.10.10.3"); err == nil {
		t.Errorf("the router cannot know the new MAC yet:\n%s", out)
	}
	p.internal.pings(t, "172.16.100.1")
	p.external.pings(t, "10.10.10.3")
}

// A host that takes one of the router's addresses is reported; the router keeps it.
func TestAddressConflict(t *testing.T) {
	t.Parallel()
	need(t, "ping", "arping")
	p := newPair(t, services)
	p.external.run("ip", "address", "add", "10.10.10.3/32", "dev", "tap-ext")
	p.external.run("arping", "-c", "2", "-U", "-I", "tap-ext", "10.10.10.3")
	p.process.wait(t, "address conflict")
	p.logged(t, 1, "address conflict")
	if log := p.process.out.String(); !strings.Contains(log, "address=10.10.10.3") {
		t.Errorf("the log does not say which address:\n%s", log)
	}
	p.external.run("ip", "address", "del", "10.10.10.3/32", "dev", "tap-ext")
	p.external.pings(t, "10.10.10.3")
}
