package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// checking is taprouter with many VIPs whose members are checked all the time, and no other
// traffic.
type checking struct{ on taprouterOn }

const (
	checkedVIPs    = 1000
	checkedMembers = 10 // of each
	checkDelay     = 5 * time.Second
)

func (c checking) name() string { return c.on.name() }

func (c checking) start(w *world, _ mode) error {
	inside, outside := "tap:in@"+w.internal, "tap:out@"+w.external
	if c.on.raw {
		if err := w.veths(); err != nil {
			return err
		}
		inside, outside = "raw:r-in", "raw:r-out"
	}
	var s strings.Builder
	fmt.Fprintf(&s, `
[[network]]
name = "tenant"
devices = [%q]
  [[network.subnet]]
  cidr = "172.16.100.0/24"
[[network]]
name = "ext_net"
external = true
devices = [%q]
  [[network.subnet]]
  cidr = "10.10.10.0/24"
  gateway = "10.10.10.4"
[[router]]
name = "router"
interfaces = ["tenant"]
gateway = { network = "ext_net", address = "10.10.10.2" }
routes = [ { destination = "172.30.0.0/16", nexthop = "172.16.100.9" } ]
`, inside, outside)
	for i := range checkedVIPs {
		fmt.Fprintf(&s, "[[pool]]\nname = \"p%d\"\nprotocol = \"TCP\"\nmonitor = { type = \"TCP\", delay = \"%v\" }\n",
			i, checkDelay)
		for k := range checkedMembers {
			n := checkedMembers*i + k
			fmt.Fprintf(&s, "  [[pool.member]]\n  address = \"172.30.%d.%d\"\n  port = 80\n", n/250, 1+n%250)
		}
		fmt.Fprintf(&s, "[[vip]]\nname = \"v%d\"\nnetwork = \"tenant\"\naddress = \"172.16.100.11\"\n"+
			"protocol = \"TCP\"\nport = %d\npool = \"p%d\"\n", i, 1000+i, i)
	}
	file := filepath.Join(w.bench.dir, w.router+".toml")
	if err := os.WriteFile(file, []byte(s.String()), 0o600); err != nil {
		return err
	}
	return w.serve("ready", w.bench.taprouter, "run", file)
}

// checks measures the processor time of the checks of ten thousand members, which all answer.
func (b *bench) checks() error {
	const all = checkedVIPs * checkedMembers
	title := fmt.Sprintf("TCP checks of %s members every %v, part of a processor", grouping(all), checkDelay)
	for round := range b.few() {
		for _, c := range b.ours() {
			if err := b.stopped(); err != nil {
				return err
			}
			used, err := b.checksOnce(checking{c}, all)
			if err != nil {
				return err
			}
			b.note(row{Group: checks, Title: title, Unit: "%", Lower: true, Digits: 1}, c.name(), round, 100*used)
		}
	}
	return nil
}

func (b *bench) checksOnce(c checking, all int) (float64, error) {
	w, err := b.newWorld(c, snat)
	if err != nil {
		return 0, err
	}
	defer w.close()
	server, err := w.start(w.internal, b.self, "load", "crc-server", "-at", "0.0.0.0:80")
	if err != nil {
		return 0, err
	}
	defer server.stop()
	router := w.processes[0]
	says := func(what string) int {
		router.mu.Lock()
		defer router.mu.Unlock()
		return strings.Count(router.trace.String(), what)
	}
	for began := time.Now(); says("member is up") < all; time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			return 0, fmt.Errorf("of %d members %d are up", all, says("member is up"))
		}
	}
	time.Sleep(2 * checkDelay) // in which the checks spread out
	const during = 2 * checkDelay
	before, err := router.cpu()
	if err != nil {
		return 0, err
	}
	time.Sleep(during)
	after, err := router.cpu()
	if n := says("member is down"); n > 0 {
		return 0, fmt.Errorf("%d members are down", n)
	}
	return (after - before).Seconds() / during.Seconds(), err
}
