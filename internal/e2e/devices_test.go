//go:build linux

package e2e_test

import (
	"os"
	"strings"
	"testing"
	"time"
)

// Every wiring with every other: ping, TCP both ways, datagrams.
func TestWirings(t *testing.T) {
	need(t, "ping")
	wirings := []wiring{movedTAP, placedTAP, rawVeth}
	for _, internal := range wirings {
		for _, external := range wirings {
			t.Run(string(internal)+" to "+string(external), func(t *testing.T) {
				p := newWiredPair(t, internal, external, pairTopology)
				p.internal.pings(t, externalAddress)
				p.transferOut(t, "10.10.10.2", 32<<20)
				p.external.echo(":7")
				datagrams(t, p.internal.dial("udp4", externalAddress+":7"), fewSizes)
				if internal == placedTAP {
					if _, err := p.router.LinkByName("tap100"); err == nil {
						t.Error("the TAP is in the router's namespace")
					}
				}
			})
		}
	}
}

// A network of several devices is a switch:
//
//	a 172.16.100.9 ── tap100 ──┐
//	b 172.16.100.20 ── raw:b ──┤ tenant ── router ── tap-ext ── external 10.10.10.4
//	c 172.16.100.30 ── tap-c ──┘
func TestSwitch(t *testing.T) {
	need(t, "ping", "traceroute", "tcpdump")
	w := newWorld(t)
	p := &pair{world: w, router: w.space("router"), internal: w.space("a"), external: w.space("external")}
	b, c := p.space("b"), p.space("c")
	p.veth(p.router, "b", b, "eth0")
	topology := strings.Replace(pairTopology, `"tap:tap100"`, `"tap:tap100", "raw:b", "tap:tap-c@`+c.name+`"`, 1)
	p.process = p.router.serve(p.file("switch.toml", topology))
	p.connect(p.internal, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	p.connect(p.external, movedTAP, "tap-ext", externalAddress+"/24", "")
	b.address("eth0", "172.16.100.20/24", "172.16.100.1")
	c.address("tap-c", "172.16.100.30/24", "172.16.100.1")
	hosts := []struct {
		*space
		device, address string
	}{{p.internal, "tap100", internalAddress}, {b, "eth0", "172.16.100.20"}, {c, "tap-c", "172.16.100.30"}}
	for i, from := range hosts {
		to, third := hosts[(i+1)%len(hosts)], hosts[(i+2)%len(hosts)]
		p.step(from.address+" to "+to.address, func(t *testing.T) {
			if hops := from.hops("-U", to.address); hops != to.address {
				t.Errorf("the way is %q: the router is in it", hops)
			}
			seen := third.captureOn(t, third.device, "tcp", func() {
				client, server := p.join(from.space, to.space, ":0", to.address+":")
				transfer(t, client, server, 16<<20)
			})
			if strings.Contains(seen, "IP ") {
				t.Errorf("the third host sees what is between the others:\n%.1000s", seen)
			}
			from.pings(t, externalAddress)
		})
	}
}

// troubleTopology adds a network on a raw device to a pair:
//
//	internal 172.16.100.9 ── tap100 ──┐
//	third 192.0.2.9 ────── raw:cable ─┴ router ── tap-ext ── external 10.10.10.4
var troubleTopology = strings.Replace(pairTopology, `["tenant"]`, `["tenant", "third"]`, 1) + `
[[network]]
name = "third"
devices = ["raw:cable"]
  [[network.subnet]]
  cidr = "192.0.2.0/24"
`

const thirdAddress = "192.0.2.9"

type troubled struct {
	*pair
	third *space
}

func newTroubled(t *testing.T, internal wiring) *troubled {
	t.Helper()
	w := newWorld(t)
	p := &pair{world: w, router: w.space("router"), internal: w.space("internal"), external: w.space("external")}
	third := w.space("third")
	w.veth(p.router, "cable", third, "eth0")
	third.address("eth0", thirdAddress+"/24", "192.0.2.1")
	p.process = p.router.serve(w.file("three.toml", p.prepare(p.internal, internal, "tap100", troubleTopology)))
	p.connect(p.internal, internal, "tap100", internalAddress+"/24", "172.16.100.1")
	p.connect(p.external, movedTAP, "tap-ext", externalAddress+"/24", "")
	return &troubled{p, third}
}

// settles waits until ping works; the router tries lost devices every second.
func (p *pair) settles(t *testing.T, from *space, to string) {
	t.Helper()
	for range 10 {
		if _, err := from.try("ping", "-n", "-c", "1", "-W", "1", to); err == nil {
			return
		}
	}
	t.Fatalf("%s does not come back; the router's log:\n%s", to, p.process.out.String())
}

// dead wants pings to go unanswered.
func (s *space) dead(t *testing.T, to string) {
	t.Helper()
	if out, err := s.try("ping", "-n", "-c", "2", "-i", "0.2", "-W", "0.3", to); err == nil {
		t.Errorf("%s still answers:\n%s", to, out)
	}
}

// bystander pings all the time, until the test asks what it has lost.
func (s *space) bystander(t *testing.T, to string) (check func()) {
	t.Helper()
	p := s.start("ping", "-n", "-i", "0.1", "-W", "1", "-w", "60", to)
	p.wait(t, "icmp_seq=2")
	return func() {
		t.Helper()
		_ = p.cmd.Process.Signal(os.Interrupt) // it prints its summary; an error shows as none
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
		}
		out := strings.TrimSpace(p.out.String())
		if !strings.Contains(out, ", 0% packet loss") {
			t.Errorf("another network suffers:\n%s", out)
		}
		if lines := strings.Split(out, "\n"); len(lines) > 1 {
			t.Logf("another network meanwhile: %s", lines[len(lines)-2])
		}
	}
}

// started passes over what has been logged so far: a device that the test gives
// away at once may be down for a moment when the router first writes to it.
func (p *pair) started() { p.logStart = len(p.process.out.String()) }

// logged wants a text to have been logged so many times since then.
func (p *pair) logged(t *testing.T, times int, text string) {
	t.Helper()
	log := p.process.out.String()[p.logStart:]
	if n := strings.Count(log, text); n != times {
		t.Errorf("%q was logged %d times, want %d:\n%s", text, n, times, log)
	}
}

// A TAP that goes down, moves, or disappears is logged once; the other networks
// lose nothing, and it works again when it is back.
func TestTAPTrouble(t *testing.T) {
	t.Parallel()
	need(t, "ping")
	p := newTroubled(t, movedTAP)
	p.settles(t, p.internal, thirdAddress)
	p.started()
	check := p.third.bystander(t, externalAddress)

	tap := p.internal.link("tap100")
	p.check(p.internal.LinkSetDown(tap))
	for range 2 {
		p.third.dead(t, internalAddress)
	}
	p.logged(t, 1, "device is down")
	p.check(p.internal.LinkSetUp(tap))
	p.internal.run("ip", "route", "replace", "default", "via", "172.16.100.1") // went with the interface
	p.settles(t, p.internal, thirdAddress)

	other := p.space("other")
	other.adopt(p.internal, "tap100")
	other.address("tap100", internalAddress+"/24", "172.16.100.1")
	p.settles(t, other, thirdAddress)

	// Gone with its namespace: the router makes it anew in its own.
	other.remove()
	p.process.wait(t, "device is back")
	p.logged(t, 1, "device is gone, trying")
	p.connect(p.internal, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	p.settles(t, p.internal, thirdAddress)

	p.check(p.internal.LinkDel(p.internal.link("tap100")))
	p.process.waitTimes(t, "device is back", 2)
	p.logged(t, 2, "device is gone, trying")
	p.connect(p.internal, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	p.settles(t, p.internal, thirdAddress)
	check()
}

// A TAP with a namespace of its own is made again when the namespace is.
func TestPlacedTAPTrouble(t *testing.T) {
	t.Parallel()
	need(t, "ping")
	p := newTroubled(t, placedTAP)
	p.settles(t, p.internal, thirdAddress)
	check := p.third.bystander(t, externalAddress)
	p.internal.remove()
	p.process.wait(t, "device is gone, trying")
	p.third.dead(t, internalAddress)
	p.internal = p.space("internal") // the same name
	p.process.wait(t, "device is back")
	p.connect(p.internal, placedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	p.settles(t, p.internal, thirdAddress)
	p.logged(t, 1, "device is gone, trying")
	check()
}

// The interface of a raw device goes down, moves away and back, and is deleted
// and made again.
func TestRawTrouble(t *testing.T) {
	t.Parallel()
	need(t, "ping")
	p := newTroubled(t, movedTAP)
	p.settles(t, p.third, internalAddress)
	p.started()
	check := p.internal.bystander(t, externalAddress)

	p.check(p.router.LinkSetDown(p.router.link("cable")))
	for range 2 {
		p.internal.dead(t, thirdAddress)
	}
	p.logged(t, 1, "device is down")
	p.check(p.router.LinkSetUp(p.router.link("cable")))
	p.settles(t, p.third, internalAddress)

	other := p.space("other")
	p.check(p.router.LinkSetNsFd(p.router.link("cable"), int(other.handle)))
	p.process.wait(t, "device is gone, trying")
	p.internal.dead(t, thirdAddress)
	p.router.adopt(other, "cable")
	p.settles(t, p.third, internalAddress)
	p.logged(t, 1, "device is gone, trying")

	p.check(p.router.LinkDel(p.router.link("cable")))
	p.process.waitTimes(t, "device is gone, trying", 2)
	p.veth(p.router, "cable", p.third, "eth0")
	p.third.address("eth0", thirdAddress+"/24", "192.0.2.1")
	p.settles(t, p.third, internalAddress)
	check()
}
