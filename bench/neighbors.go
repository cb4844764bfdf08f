package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const (
	flooder      = "172.16.200.9"
	flooderGW    = "172.16.200.1"
	floodTargets = "10.99.0.0"
)

// A flood is one kind of traffic by which a tenant disturbs another.
type flood struct {
	title string
	args  []string
}

// floods are the second tenant's traffic: 60-byte packets, as fast as its processor
// makes them.
var floods = []flood{
	{"of 64 connections", []string{"-flows", "64"}},
	{"of a new connection each", []string{"-sources", "16", "-flows", "50000000"}},
}

// neighbor measures how much of its rate one tenant keeps while another tenant floods.
// The rates with and without the flood are taken in turn, in one world.
func (b *bench) neighbor(f flood) measurement {
	title := "one tenant's connect-request-close during another's flood " + f.title
	const group = "A flood from another tenant"
	busy := title + ", of what it is beside a process that only keeps a processor busy"
	return measurement{mode: shared, fresh: true, takes: isYardstickOrOurs, rows: []row{
		{Group: group, Title: title, Unit: "k/s", Digits: 1},
		{Group: group, Title: title + ", of what it is without", Unit: "%", Digits: 0},
		{Group: group, Title: busy, Unit: "%", Digits: 0},
		{Group: group, Title: "the flood " + f.title + ", as it comes through", Unit: "k/s", Digits: 0},
	}, run: func(w *world) ([]float64, error) {
		if err := w.sinkFlood(); err != nil {
			return nil, err
		}
		server, err := w.start(w.external, b.self, "load", "crc-server", "-at", "0.0.0.0:7000", "-ports", "4")
		if err != nil {
			return nil, err
		}
		defer server.stop()
		if err := server.wait("ready"); err != nil {
			return nil, err
		}
		rate := func() (float64, error) {
			v, err := w.load(w.internal, "crc-client", "-to", externalHost+":7000", "-ports", "4", "-flows", "64",
				"-for", b.time.String())
			if err != nil {
				return 0, err
			}
			return v[0] / v[1] / 1e3, nil
		}
		alone, err := rate()
		if err != nil {
			return nil, err
		}
		// Any sender takes a processor from the others, also if its packets are dropped.
		lasts := (b.time + time.Second).String()
		spinning, err := w.start(w.flooder, b.self, "load", "spin", "-for", lasts)
		if err != nil {
			return nil, err
		}
		defer spinning.stop()
		beside, err := rate()
		if err != nil {
			return nil, err
		}
		spinning.stop()
		args := append([]string{b.self, "load", "frames", "-dev", "flood", "-mac", w.flooderMAC,
			"-src", flooder, "-dst", floodTargets, "-for", lasts}, f.args...)
		flooding, err := w.start(w.flooder, args...)
		if err != nil {
			return nil, err
		}
		defer flooding.stop()
		time.Sleep(300 * time.Millisecond) // until it has its full rate
		before, err := w.floodThrough()
		if err != nil {
			return nil, err
		}
		began := time.Now()
		during, err := rate()
		if err != nil {
			return nil, err
		}
		took := time.Since(began).Seconds()
		through, err := w.floodThrough()
		if err != nil {
			return nil, err
		}
		return []float64{during, 100 * during / alone, 100 * during / beside, (through - before) / took / 1e3}, nil
	}}
}

// sinkFlood has the external host drop the flood before its stack sees it.
func (w *world) sinkFlood() error {
	return in(w.external, "nft", "add table netdev sink; "+
		"add chain netdev sink drops { type filter hook ingress device out priority 0; }; "+
		"add rule netdev sink drops ip daddr "+floodTargets+"/16 counter drop")
}

// floodThrough is how many packets of the flood have come through.
func (w *world) floodThrough() (float64, error) {
	out, err := exec.Command("ip", "netns", "exec", w.external, "nft", "list", "table", "netdev", "sink").Output()
	if err != nil {
		return 0, fmt.Errorf("count the flood: %w", err)
	}
	f := strings.Fields(string(out))
	if i := indexOf(f, "packets"); i >= 0 && i+1 < len(f) {
		return strconv.ParseFloat(f[i+1], 64)
	}
	return 0, fmt.Errorf("no counter of the flood: %q", out)
}

// secondTenant gives the flooding host its address, and learns the router's.
func (w *world) secondTenant() error {
	for _, step := range [][]string{
		{"addr", "add", flooder + "/24", "dev", "flood"}, {"link", "set", "flood", "up"},
		{"route", "add", "default", "via", flooderGW},
	} {
		if err := sh(append([]string{"ip", "-n", w.flooder}, step...)...); err != nil {
			return err
		}
	}
	if err := in(w.flooder, "ping", "-c", "1", "-W", "2", flooderGW); err != nil {
		return err
	}
	var err error
	w.flooderMAC, err = neighborMAC(w.flooder, flooderGW)
	return err
}

// neighborMAC is what a namespace knows of an address.
func neighborMAC(ns, address string) (string, error) {
	out, err := exec.Command("ip", "-n", ns, "neigh", "show", address).Output()
	if err != nil {
		return "", err
	}
	f := strings.Fields(string(out))
	if i := indexOf(f, "lladdr"); i >= 0 && i+1 < len(f) {
		return f[i+1], nil
	}
	return "", fmt.Errorf("no MAC address of %s: %q", address, out)
}
