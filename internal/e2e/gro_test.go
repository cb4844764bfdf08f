//go:build linux

package e2e_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/internal/nettest"
)

// A host that cuts its segments itself, as one with an emulated network card does, gets them joined on their way: the
// receiver's interface sees few packets for the many that were sent, and every byte. With gro = "off" it sees as many.
func TestJoinedSegments(t *testing.T) {
	need(t, "ethtool")
	for _, wires := range []struct {
		name string
		how  wiring
	}{{"tap", movedTAP}, {"raw", rawVeth}} {
		for _, off := range []bool{false, true} {
			name, topology := wires.name+" auto", pairTopology
			if off {
				name = wires.name + " off"
				topology = strings.ReplaceAll(topology, "[[network]]\n", "[[network]]\ngro = \"off\"\n")
			}
			t.Run(name, func(t *testing.T) {
				p := newWiredPair(t, wires.how, wires.how, topology)
				p.internal.run("ethtool", "-K", "tap100", "tso", "off", "gso", "off")
				count := func(s *space, name, what string) int {
					n, err := strconv.Atoi(strings.TrimSpace(s.run("cat", "/sys/class/net/"+name+"/statistics/"+what)))
					if err != nil {
						t.Fatal(err)
					}
					return n
				}
				sent, seen := count(p.internal, "tap100", "tx_packets"), count(p.external, "tap-ext", "rx_packets")
				client, server := p.join(p.internal, p.external, externalAddress+":0", externalAddress+":")
				f := begin("the segments", client, server)
				f.await(t, 64<<20)
				f.end(t)
				sent = count(p.internal, "tap100", "tx_packets") - sent
				seen = count(p.external, "tap-ext", "rx_packets") - seen
				t.Logf("%d packets were sent, the receiver saw %d", sent, seen)
				switch {
				case sent < 40_000:
					t.Errorf("only %d packets were sent: the sender does not cut its segments", sent)
				case !off && seen > sent/2:
					t.Errorf("%d packets were sent, the receiver saw %d: they were not joined", sent, seen)
				case off && seen < sent*9/10:
					t.Errorf("%d packets were sent, the receiver saw %d: they were joined", sent, seen)
				}
			})
		}
	}
}

// A tunnel of two hosts goes through raw devices at full speed, although the kernel hands over super-frames of the
// connection inside, and no device takes such a frame back.
func TestTunnelThroughRaw(t *testing.T) {
	t.Parallel()
	need(t, "ethtool")
	p := newWiredPair(t, rawVeth, rawVeth, pairTopology+nettest.FloatingIP(floatingIP, internalAddress))
	tunnel := func(s *space, to, address string) {
		s.run("ip", "link", "add", "vx", "type", "vxlan", "id", "5", "remote", to, "dstport", "4789")
		s.run("ip", "link", "set", "vx", "mtu", "1400")
		s.address("vx", address+"/24", "")
	}
	tunnel(p.internal, externalAddress, "192.0.2.1")
	tunnel(p.external, floatingIP, "192.0.2.2")
	client, server := p.join(p.internal, p.external, "192.0.2.2:0", "192.0.2.2:")
	f := begin("through the tunnel", client, server)
	f.await(t, 64<<20)
	f.end(t)
	if out := p.process.stop(); strings.Contains(out, "offload:") {
		t.Errorf("super-frames are dropped:\n%s", out)
	}
}
