//go:build linux

package e2e_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// A TAP that the router makes has its network's MTU, wherever it is; one that was there
// before keeps its own.
func TestTAPHasTheNetworksMTU(t *testing.T) {
	t.Parallel()
	need(t, "ping")
	w := newWorld(t)
	p := &pair{world: w, router: w.space("router"), internal: w.space("internal"), external: w.space("external")}
	old := w.space("old")
	old.run("ip", "tuntap", "add", "tap-old", "mode", "tap")
	topology := strings.Replace(pairTopology, `devices = ["tap:tap100"]`,
		`devices = ["tap:tap100@`+p.internal.name+`"]`+"\nmtu = 9000", 1)
	topology = strings.Replace(topology, `devices = ["tap:tap-ext"]`,
		`devices = ["tap:tap-ext", "tap:tap-old@`+old.name+`"]`+"\nmtu = 8000", 1)
	p.process = p.router.serve(p.file("jumbo.toml", topology))
	for _, c := range []struct {
		at   *space
		name string
		want int
	}{{p.internal, "tap100", 9000}, {p.router, "tap-ext", 8000}, {old, "tap-old", 1500}} {
		if got := c.at.link(c.name).Attrs().MTU; got != c.want {
			t.Errorf("%s has an MTU of %d, want %d", c.name, got, c.want)
		}
	}
	p.logged(t, 1, "keeps its MTU of 1500")
	p.connect(p.internal, placedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	p.connect(p.external, movedTAP, "tap-ext", externalAddress+"/24", "")
	p.internal.pings(t, externalAddress, "-M", "do", "-s", "7972")
	out, _ := p.internal.try("ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", "7973", externalAddress)
	if !strings.Contains(out, "mtu = 8000") && !strings.Contains(out, "mtu=8000") {
		t.Errorf("a larger packet is not refused:\n%s", out)
	}

	// Made again, it has it again.
	p.internal.remove()
	p.process.wait(t, "device is gone, trying")
	p.internal = p.space("internal")
	p.process.wait(t, "device is back")
	if got := p.internal.link("tap100").Attrs().MTU; got != 9000 {
		t.Errorf("made again, tap100 has an MTU of %d, want 9000", got)
	}
}

// The MTU of a raw device's interface is lowered and raised while the router runs. Larger packets
// are refused with the new MTU, or arrive in fragments. The same goes for the answers.
//
//	internal ── tap100 ── router ── raw:cable ── third
func TestRawInterfaceChangesItsMTU(t *testing.T) {
	t.Parallel()
	need(t, "ping")
	p := newTroubled(t, movedTAP)
	p.settles(t, p.third, internalAddress)
	p.started()
	set := func(mtu int) {
		t.Helper()
		p.check(netlinkSetMTU(p.router, "cable", mtu))
		p.check(netlinkSetMTU(p.third, "eth0", mtu))
	}
	size := func(n int) []string { return []string{"-s", strconv.Itoa(n - 28)} } // of the packet
	for i, mtu := range []int{1400, 576, 300, 1500} {
		set(mtu)
		p.process.waitTimes(t, fmt.Sprintf(" mtu=%d", mtu), 1)
		p.internal.run("ip", "route", "flush", "cache")
		p.internal.pings(t, thirdAddress, append(size(mtu), "-M", "do")...)
		p.internal.pings(t, thirdAddress, append(size(1480), "-M", "dont")...) // in fragments
		if mtu == 1500 {
			break
		}
		out, _ := p.internal.try(append([]string{"ping", "-n", "-c", "1", "-W", "2", "-M", "do", thirdAddress},
			size(mtu+1)...)...)
		if want := fmt.Sprintf("mtu = %d)", mtu); !strings.Contains(out, want) {
			t.Errorf("change %d: a packet of %d bytes is not refused with %q:\n%s", i, mtu+1, want, out)
		}
	}
	client, server := p.join(p.internal, p.third, ":0", thirdAddress+":")
	set(1000) // in the middle of a connection, and unknown to its client
	transfer(t, client, server, 4<<20)
}

func netlinkSetMTU(s *space, name string, mtu int) error {
	l, err := s.LinkByName(name)
	if err != nil {
		return err
	}
	return s.LinkSetMTU(l, mtu)
}
