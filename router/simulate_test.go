package router_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

// simulated starts the lesson's topology.
func simulated(t *testing.T) *router.Simulation {
	t.Helper()
	text, err := os.Open("../examples/126-vip-behind-floating-ip.toml")
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	f, err := file.Read(text.Name(), text)
	if err != nil {
		t.Fatal(err)
	}
	s, err := router.Simulate(f.State(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// talk has a packet and the answers to the router's ARP requests go in, and an idle
// day go by; it returns every frame that came out.
func talk(t *testing.T, s *router.Simulation) [][]byte {
	t.Helper()
	var out [][]byte
	put := func(network, line string) {
		eth, err := nettest.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		nettest.SetMACs(eth, packet.MAC{2, 0, 0, 0, 0, 3}, packet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		if err := s.Put(network, append(make([]byte, tap.HeaderLen), eth...)); err != nil {
			t.Fatal(err)
		}
		for _, n := range []string{"vlan101", "ext_net"} {
			for _, f := range s.Take(n) {
				out = append(out, f.Ethernet())
			}
		}
	}
	put("vlan101", "arp who-has 172.16.101.1 tell 172.16.101.3 from 02:00:00:00:00:03")
	for end := s.Now() + 24*time.Hour; ; {
		more, err := s.Step(end)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	put("vlan101", "arp who-has 172.16.101.1 tell 172.16.101.3 from 02:00:00:00:00:03")
	return out
}

func TestSimulation(t *testing.T) {
	s := simulated(t)
	started := time.Now()
	first := talk(t, s)
	if s.Now() != 24*time.Hour {
		t.Errorf("the clock says %v", s.Now())
	}
	if real := time.Since(started); real > time.Hour {
		t.Errorf("a simulated day took %v", real)
	}
	if len(first) < 2 {
		t.Fatalf("came out: %d frames; %+v", len(first), s.Stats())
	}
	if got := s.Stats(); got.Received != 2 || got.Consumed != 2 {
		t.Errorf("counted: %+v", got)
	}
	second := talk(t, simulated(t))
	if len(first) != len(second) {
		t.Fatalf("the same again: %d frames, not %d", len(second), len(first))
	}
	for i := range first {
		if !bytes.Equal(first[i], second[i]) {
			t.Errorf("frame %d differs: %x, %x", i, first[i], second[i])
		}
	}
	if err := s.Put("nowhere", nil); err == nil {
		t.Error("a network that is not there takes frames")
	}
	if s.Take("nowhere") != nil {
		t.Error("a network that is not there has frames")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := s.Stats(); got.Received != 0 {
		t.Error("it counts after Close")
	}
}
