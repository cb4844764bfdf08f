//go:build linux

package e2e_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// speedFloor is the part of the kernel's throughput that the router must reach
// where speed is asserted at all (TAPROUTER_E2E_SPEED=1). Without that variable the test asserts no
// speed, because a shared or busy machine would decide.
const speedFloor = 0.4

// TestSpeed compares TCP through SNAT with the kernel's own NAT between veths, in
// one run, alternating, with the same congestion control.
func TestSpeed(t *testing.T) {
	need(t, "iperf3", "nft", "sysctl")
	if testing.Short() {
		t.Skip("it measures for half a minute")
	}
	p := newPair(t)
	kernel := newKernelPair(t)
	for _, cc := range []string{"cubic", "bbr"} {
		if out := p.internal.run("sysctl", "-n", "net.ipv4.tcp_available_congestion_control"); !strings.Contains(out,
			cc) {
			t.Logf("%s is not available here", cc)
			continue
		}
		var ours, theirs, ratios []float64
		for range 3 {
			a, b := iperf(t, p, cc), iperf(t, kernel, cc)
			ours, theirs, ratios = append(ours, a), append(theirs, b), append(ratios, a/b)
		}
		slices.Sort(ratios)
		t.Logf("TCP through SNAT, one stream, %s: taprouter %.1f, kernel %.1f Gbit/s; ratios %.2f, median %.2f", cc,
			ours, theirs, ratios, ratios[1])
		if os.Getenv("TAPROUTER_E2E_SPEED") == "1" && ratios[1] < speedFloor {
			t.Errorf("%s: median ratio %.2f, want at least %.2f", cc, ratios[1], speedFloor)
		}
		if slices.Min(ours) < 0.1 {
			t.Errorf("%s: hardly anything arrives: %.2f Gbit/s", cc, ours)
		}
	}
}

// newKernelPair is the network of a pair with the kernel in the middle:
//
//	internal 172.16.100.9 ── veth ── forwarding, nftables masquerade ── veth ── external 10.10.10.4
func newKernelPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{world: newWorld(t)}
	p.router, p.internal, p.external = p.space("kernel"), p.space("internal"), p.space("external")
	p.veth(p.internal, "eth0", p.router, "in")
	p.veth(p.external, "eth0", p.router, "out")
	p.internal.address("eth0", internalAddress+"/24", "172.16.100.1")
	p.external.address("eth0", externalAddress+"/24", "")
	p.router.address("in", "172.16.100.1/24", "")
	p.router.address("out", "10.10.10.2/24", "")
	p.router.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	if out, err := p.router.try("nft", "add table ip nat; "+
		"add chain ip nat post { type nat hook postrouting priority 100; }; "+
		"add rule ip nat post oifname out masquerade"); err != nil {
		missing(t, "nftables NAT in this kernel: "+out)
	}
	return p
}

// iperf measures one TCP stream from the internal to the external host for two
// seconds, in Gbit/s as received.
func iperf(t *testing.T, p *pair, cc string) float64 {
	t.Helper()
	return iperfTo(t, p, externalAddress, cc)
}

// iperfTo is iperf for another address of the external host.
func iperfTo(t *testing.T, p *pair, address, cc string) float64 {
	t.Helper()
	server := p.external.start("iperf3", "-s", "-1", "--forceflush")
	server.wait(t, "Server listening")
	out := p.internal.run("iperf3", "-c", address, "-t", "2", "-O", "0.5", "-C", cc, "-J")
	server.stop()
	var r struct {
		End struct {
			Sum struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return r.End.Sum.Rate / 1e9
}
