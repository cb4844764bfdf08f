//go:build linux

package e2e_test

import (
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/taprouter/taprouter/internal/nettest"
)

// A gigabyte each way through SNAT arrives as it was, in frames of up to 64 KB;
// less of it without any offload, where every frame is one segment.
func TestTransferThroughSNAT(t *testing.T) {
	need(t, "ethtool")
	size := int64(1 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	p := newPair(t)
	p.step("offloads on", func(t *testing.T) {
		before := p.received()
		p.transferOut(t, "10.10.10.2", size)
		after := p.received()
		mean := (after.RxBytes - before.RxBytes) / (after.RxPackets - before.RxPackets)
		t.Logf("the outside received frames of %d bytes on average", mean)
		if mean < 4*1500 {
			t.Error("super-frames are segmented on the way")
		}
	})
	p.step("offloads off", func(t *testing.T) {
		p.internal.run("ethtool", "-K", "tap100", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
		p.external.run("ethtool", "-K", "tap-ext", "tx", "off", "tso", "off", "gso", "off", "gro", "off")
		p.transferOut(t, "10.10.10.2", min(size, 128<<20))
	})
	p.step("offloads on one side", func(t *testing.T) {
		p.internal.run("ethtool", "-K", "tap100", "tx", "on", "tso", "on", "gso", "on", "gro", "on")
		p.transferOut(t, "10.10.10.2", min(size, 64<<20))
	})
}

// received is the counters of the external host's interface.
func (p *pair) received() *netlink.LinkStatistics {
	p.t.Helper()
	return p.external.link("tap-ext").Attrs().Statistics
}

// transferOut transfers over a connection from the internal host to the external
// one, which must see it come from an address.
func (p *pair) transferOut(t *testing.T, from string, n int64) {
	t.Helper()
	client, server := p.join(p.internal, p.external, externalAddress+":0", externalAddress+":")
	defer client.Close()
	defer server.Close()
	if got := server.RemoteAddr().(*net.TCPAddr).IP.String(); got != from {
		t.Errorf("the internal host appears as %s, want %s", got, from)
	}
	transfer(t, client, server, n)
}

// Datagrams of every kind of size, fragments included, come back from an echo
// outside as they were.
func TestDatagramsThroughSNAT(t *testing.T) {
	need(t)
	p := newPair(t)
	p.external.echo(externalAddress + ":7")
	sizes := allSizes()
	datagrams(t, p.internal.dial("udp4", externalAddress+":7"), sizes)
	t.Logf("%d datagrams of 0 to 65507 bytes came back intact", len(sizes))
}

// services are the pair's floating IP, and a VIP with another; the internal host is its only member.
var services = nettest.FloatingIP("10.10.10.3", internalAddress) +
	nettest.Balanced("tcp", "TCP", 5000, "", onlyMember) + nettest.Balanced("udp", "UDP", 5000, "", onlyMember) +
	nettest.FloatingIP("10.10.10.7", "172.16.100.11")

var onlyMember = nettest.Member{Name: "only", Address: internalAddress, Port: 5001}

// Data through a floating IP and a VIP, both ways, as TCP and as datagrams.
func TestTransferThroughServices(t *testing.T) {
	need(t)
	p := newPair(t, services)
	p.internal.echo(":5001")
	p.internal.echo(":7")
	p.external.echo(externalAddress + ":7")
	for _, c := range []struct {
		name         string
		from, to     *space
		listen, dial string
		echo         string
		source       string // as the server sees it
	}{
		{"into a floating IP", p.external, p.internal, ":0", "10.10.10.3:", "10.10.10.3:7", externalAddress},
		{"out of a floating IP", p.internal, p.external, ":0", externalAddress + ":", externalAddress + ":7",
			"10.10.10.3"},
		{"VIP through its floating IP", p.external, p.internal, ":5001", "10.10.10.7:5000", "10.10.10.7:5000",
			externalAddress},
		{"a host to its own floating IP", p.internal, p.internal, ":0", "10.10.10.3:", "10.10.10.3:7", "10.10.10.3"},
		{"a member to its own VIP", p.internal, p.internal, ":5001", "172.16.100.11:5000", "172.16.100.11:5000",
			"172.16.100.1"},
	} {
		p.step(c.name, func(t *testing.T) {
			client, server := p.join(c.from, c.to, c.listen, c.dial)
			if got := server.RemoteAddr().(*net.TCPAddr).IP.String(); got != c.source {
				t.Errorf("the server sees %s, want %s", got, c.source)
			}
			transfer(t, client, server, 64<<20)
			datagrams(t, c.from.dial("udp4", c.echo), fewSizes)
		})
	}
}

// An external network with an MTU of 1400: the internal sender is told, and
// fragments where it may.
func TestSmallerMTUOutside(t *testing.T) {
	need(t, "ping")
	p := newWiredPair(t, movedTAP, movedTAP, strings.Replace(pairTopology, "external = true",
		"external = true\nmtu = 1400", 1))
	p.check(p.external.LinkSetMTU(p.external.link("tap-ext"), 1400))
	out, err := p.internal.try("ping", "-n", "-c", "1", "-M", "do", "-s", "1472", "-W", "2", externalAddress)
	if err == nil || !strings.Contains(out, "From 172.16.100.1") || !strings.Contains(out, "mtu = 1400") {
		t.Errorf("ping with DF: %v\n%s", err, out)
	}
	p.internal.pings(t, externalAddress, "-M", "dont", "-s", "3000")
	// The kernel remembers the MTU it was told; TCP is to find out by itself.
	p.internal.run("ip", "route", "flush", "cache")
	p.transferOut(t, "10.10.10.2", 16<<20)
}

// A tenant network with an MTU of 1400: the external sender is told, through
// SNAT and through a floating IP, with its own packet quoted, or it would not
// believe it.
func TestSmallerMTUInside(t *testing.T) {
	need(t, "ping")
	small := strings.Replace(pairTopology, `name = "tenant"`, "name = \"tenant\"\nmtu = 1400", 1)
	for name, more := range map[string]string{"SNAT": "", "floating IP": services} {
		t.Run(name, func(t *testing.T) {
			p := newWiredPair(t, movedTAP, movedTAP, small+more)
			source := "10.10.10.2"
			if more != "" {
				source = "10.10.10.3"
				out, err := p.external.try("ping", "-n", "-c", "1", "-M", "do", "-s", "1472", "-W", "2", source)
				if err == nil || !strings.Contains(out, "mtu = 1400") {
					t.Errorf("ping with DF: %v\n%s", err, out)
				}
				p.external.pings(t, source, "-M", "dont", "-s", "3000")
				p.external.run("ip", "route", "flush", "cache")
			}
			p.transferOut(t, source, 16<<20)
		})
	}
}
