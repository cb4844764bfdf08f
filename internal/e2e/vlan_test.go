//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// trunkTopology is two VLANs and the outside without a tag on one device.
const trunkTopology = `
[[physical_network]]
name    = "default"
devices = ["DEVICE"]
[[network]]
name             = "vlan100"
physical_network = "default"
vlan             = 100
  [[network.subnet]]
  cidr = "172.16.100.0/24"
[[network]]
name             = "vlan101"
physical_network = "default"
vlan             = 101
  [[network.subnet]]
  cidr = "172.16.101.0/24"
[[network]]
name             = "ext_net"
physical_network = "default"
external         = true
  [[network.subnet]]
  cidr    = "10.10.10.0/24"
  gateway = "10.10.10.1"
[[router]]
name       = "r"
interfaces = ["vlan100", "vlan101"]
gateway    = { network = "ext_net", address = "10.10.10.2" }
[[floating_ip]]
network  = "ext_net"
address  = "10.10.10.3"
fixed_ip = "172.16.101.9"
`

// A trunkPair is a router with one device, and the hosts behind it: two in VLANs, and the end of the trunk itself,
// which is outside.
type trunkPair struct {
	*office
	h100, h101 *space
	tagger     *tagger
	device     string // of the router
	makes      string // what makes the tags at the far end
	process    *process
}

// newTrunk serves a topology whose device is DEVICE.
func newTrunk(t *testing.T, kind, topology string) *trunkPair {
	t.Helper()
	need(t, "ping", "tcpdump")
	o := &office{world: newWorld(t)}
	p := &trunkPair{office: o}
	o.router, o.outside = o.space("router"), o.space("outside")
	p.h100, p.h101 = o.space("h100"), o.space("h101")
	o.socket = o.socketPath()
	p.tagger = &tagger{at: o.outside, trunk: "up", port: "p"}
	p.device = "raw:trunk"
	if kind == "tap" {
		p.device = "tap:up@" + o.outside.name
	} else {
		o.veth(o.router, "trunk", o.outside, "up")
	}
	p.process = o.router.serve(o.file("trunk.toml", strings.ReplaceAll(topology, "DEVICE", p.device)), "--socket",
		o.socket)
	p.connect(t)
	return p
}

// connect gives the end of the trunk its address, and the hosts behind it their cables.
func (p *trunkPair) connect(t *testing.T) {
	t.Helper()
	p.outside.address("up", "10.10.10.1/24", "")
	p.makes = p.tagger.connect(t, map[uint16]*space{100: p.h100, 101: p.h101})
	p.h100.address("eth0", "172.16.100.9/24", "172.16.100.1")
	p.h101.address("eth0", "172.16.101.9/24", "172.16.101.1")
}

// disconnect takes the cables away, as far as they did not go with the trunk.
func (p *trunkPair) disconnect() {
	for _, host := range []*space{p.h100, p.h101} {
		if l, err := host.LinkByName("eth0"); err == nil {
			p.check(host.LinkDel(l))
		}
	}
}

// Two VLANs and a network without a tag share one device, raw or a TAP: they are routed, go out by SNAT and are reached
// by a floating IP. Captures at both ends of the trunk show each network's frames with its tag, the hosts see none. The
// tag of no network is counted, and TCP with super-frames passes both ways.
func TestTrunk(t *testing.T) {
	for _, kind := range []string{"raw", "tap"} {
		t.Run(kind, func(t *testing.T) {
			p := newTrunk(t, kind, trunkTopology)
			t.Logf("tags are made by %s", p.makes)
			ends := map[*space]string{p.outside: "up"}
			if kind == "raw" {
				ends[p.router] = "trunk"
			}
			for _, c := range []struct {
				name, to string
				from     *space
				want     []string // lines at the ends of the trunk, in their order: tag, source and destination
				at       *space
				sees     string
			}{
				{"between VLANs", "172.16.101.9", p.h100, []string{"vlan 100 172.16.100.9 > 172.16.101.9",
					"vlan 101 172.16.100.9 > 172.16.101.9", "vlan 101 172.16.101.9 > 172.16.100.9",
					"vlan 100 172.16.101.9 > 172.16.100.9"}, p.h101, "172.16.100.9 > 172.16.101.9"},
				{"SNAT", "10.10.10.1", p.h100, []string{"vlan 100 172.16.100.9 > 10.10.10.1", "10.10.10.2 > 10.10.10.1",
					"10.10.10.1 > 10.10.10.2", "vlan 100 10.10.10.1 > 172.16.100.9"},
					p.h100, "172.16.100.9 > 10.10.10.1"},
				{"a floating IP", "10.10.10.3", p.outside, []string{"10.10.10.1 > 10.10.10.3",
					"vlan 101 10.10.10.1 > 172.16.101.9", "vlan 101 172.16.101.9 > 10.10.10.1",
					"10.10.10.3 > 10.10.10.1"},
					p.h101, "10.10.10.1 > 172.16.101.9"},
			} {
				p.step(c.name, func(t *testing.T) {
					c.from.pings(t, c.to) // neighbors are known from here on
					once := func() { c.from.run("ping", "-n", "-c", "1", "-W", "2", c.to) }
					for end, name := range ends {
						var lines []string
						text := end.taggedCapture(t, name, once)
						for line := range strings.Lines(text) {
							lines = append(lines, echoLine(line)...)
						}
						if !slices.Equal(lines, c.want) {
							t.Errorf("at %s:\n%q, want\n%q\n%s", name, lines, c.want, text)
						}
					}
					at := "eth0"
					if c.at == p.outside {
						at = "up"
					}
					text := c.at.taggedCapture(t, at, once)
					if !strings.Contains(text, c.sees) || strings.Contains(text, "vlan ") {
						t.Errorf("the host sees\n%s", text)
					}
				})
			}
			p.step("no network's tag", func(t *testing.T) {
				send := (&pair{world: p.world}).packetSocket(p.outside, "up")
				frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x81, 0, 0, 200, 8, 6},
					make([]byte, 46)...)
				for range 3 {
					p.check(send(frame))
				}
				p.does(t, "show drops => vlan 200 at "+p.device)
				frame = append(frame[:14:14], append([]byte{0, 100, 0x81, 0, 0, 101, 8, 6}, make([]byte, 46)...)...)
				p.check(send(frame))
				p.does(t, "show drops => double-tag")
			})
			p.step("bulk", func(t *testing.T) {
				for _, c := range []struct {
					from, to     *space
					listen, dial string
				}{{p.h100, p.h101, "172.16.101.9:0", "172.16.101.9:"},
					{p.h100, p.outside, "10.10.10.1:0", "10.10.10.1:"},
					{p.outside, p.h101, "172.16.101.9:0", "10.10.10.3:"}} {
					client, server := p.join(c.from, c.to, c.listen, c.dial)
					transfer(t, client, server, 16<<20)
					client.Close()
					server.Close()
				}
			})
		})
	}
}

// A device of three networks that is lost and comes back serves all of them again, each with its tag: a cable that is
// deleted and made anew, and a TAP.
func TestTrunkComesBack(t *testing.T) {
	for _, kind := range []string{"raw", "tap"} {
		t.Run(kind, func(t *testing.T) {
			p := newTrunk(t, kind, trunkTopology)
			for round := range 2 {
				for _, to := range []string{"172.16.101.9", "10.10.10.1"} {
					p.h100.settles(t, to)
				}
				p.outside.settles(t, "10.10.10.3")
				if round == 1 {
					break
				}
				p.check(p.outside.LinkDel(p.outside.link("up")))
				p.process.wait(t, "device is gone")
				p.disconnect()
				if kind == "raw" {
					p.veth(p.router, "trunk", p.outside, "up")
				}
				p.process.wait(t, "device is back")
				p.connect(t)
			}
			text := p.outside.taggedCapture(t, "up", func() {
				p.h100.run("ping", "-n", "-c", "1", "-W", "2", "172.16.101.9")
				p.h100.run("ping", "-n", "-c", "1", "-W", "2", "10.10.10.1")
			})
			var lines []string
			for line := range strings.Lines(text) {
				lines = append(lines, echoLine(line)...)
			}
			want := []string{"vlan 100 172.16.100.9 > 172.16.101.9", "vlan 101 172.16.100.9 > 172.16.101.9",
				"vlan 101 172.16.101.9 > 172.16.100.9", "vlan 100 172.16.101.9 > 172.16.100.9",
				"vlan 100 172.16.100.9 > 10.10.10.1", "10.10.10.2 > 10.10.10.1", "10.10.10.1 > 10.10.10.2",
				"vlan 100 10.10.10.1 > 172.16.100.9"}
			if !slices.Equal(lines, want) {
				t.Errorf("at the end of the trunk:\n%q, want\n%q\n%s", lines, want, text)
			}
		})
	}
}

// settles waits until a ping is answered.
func (s *space) settles(t *testing.T, to string) {
	t.Helper()
	if !eventually(func() error {
		_, err := s.try("ping", "-n", "-c", "1", "-W", "1", to)
		return err
	}) {
		t.Fatalf("%s does not reach %s", s.name, to)
	}
}

// taggedCapture shows the echoes at an interface, those with tags included, while fn runs.
func (s *space) taggedCapture(t *testing.T, name string, fn func()) string {
	t.Helper()
	p := s.start("tcpdump", "-n", "-e", "-l", "-Z", "root", "--immediate-mode", "-i", name, "icmp or (vlan and icmp)")
	p.wait(t, "listening on")
	fn()
	time.Sleep(300 * time.Millisecond) // until tcpdump has read and printed the last frames
	return p.stop()
}

// echoLine is the tag, source and destination of an echo in a line of tcpdump's, nothing of another line.
func echoLine(line string) []string {
	if !strings.Contains(line, "ICMP echo") {
		return nil
	}
	tag := ""
	if _, rest, found := strings.Cut(line, "vlan "); found {
		vlan, _, _ := strings.Cut(rest, ",")
		tag = "vlan " + vlan + " "
	}
	fields := strings.Fields(line[:strings.Index(line, ": ICMP")])
	return []string{tag + strings.Join(fields[len(fields)-3:], " ")}
}

// The same commands as the tutorial's make a network whose frames have a tag: on a physical network of the command
// line, while another network of the device is in use.
func TestTrunkByCommands(t *testing.T) {
	p := newTrunkWith(t, "[[network]]\nname = \"ext_net\"\nphysical_network = \"default\"\nexternal = true\n"+
		"[[network.subnet]]\ncidr = \"10.10.10.0/24\"\ngateway = \"10.10.10.1\"\n",
		"--physical-network", "default:trunk")
	p.does(t, `
		network create --provider-network-type vlan --provider-physical-network default --provider-segment 100 vlan100
		network set --disable-port-security vlan100
		subnet create --network vlan100 --subnet-range 172.16.100.0/24 subnet100
		network create --provider-network-type vlan --provider-physical-network default --provider-segment 101 vlan101
		network set --disable-port-security vlan101
		subnet create --network vlan101 --subnet-range 172.16.101.0/24 subnet101
		router create router_100_101
		router add subnet router_100_101 subnet100
		router set --external-gateway ext_net router_100_101`)
	p.h100.pings(t, "10.10.10.1")
	p.h100.pings(t, "172.16.100.1")
	p.does(t, "router add subnet router_100_101 subnet101")
	lost := p.h100.bystander(t, "10.10.10.1")
	text := p.router.taggedCapture(t, "trunk", func() { p.h100.pings(t, "172.16.101.9") })
	if !strings.Contains(text, "vlan 100") || !strings.Contains(text, "vlan 101") {
		t.Errorf("at the device\n%s", text)
	}
	if _, err := p.tries("network create --provider-network-type vlan --provider-physical-network default " +
		"--provider-segment 100 again"); err == nil {
		t.Error("VLAN 100 is there twice")
	}
	p.does(t, `
		router remove subnet router_100_101 subnet101
		network delete vlan101
		network list -f value -c Name => vlan100`)
	lost()
	p.does(t, "show devices => ext_net, vlan100")
}

// newTrunkWith is newTrunk on a raw device, with a topology that names no device and further flags.
func newTrunkWith(t *testing.T, topology string, flags ...string) *trunkPair {
	t.Helper()
	need(t, "ping", "tcpdump")
	return newTrunkIn(newWorld(t), topology, flags...)
}

// newTrunkIn is newTrunkWith in a world that is there.
func newTrunkIn(w *world, topology string, flags ...string) *trunkPair {
	t := w.t
	t.Helper()
	o := &office{world: w}
	p := &trunkPair{office: o, device: "raw:trunk"}
	o.router, o.outside = o.space("router"), o.space("outside")
	p.h100, p.h101 = o.space("h100"), o.space("h101")
	o.socket = o.socketPath()
	p.tagger = &tagger{at: o.outside, trunk: "up", port: "p"}
	o.veth(o.router, "trunk", o.outside, "up")
	p.process = o.router.serve(o.file("trunk.toml", topology), append([]string{"--socket", o.socket}, flags...)...)
	p.connect(t)
	return p
}

// Bulk TCP with tags is as fast as without, over the same kind of cables: one for each network. On a trunk, one device
// has both ways of a stream, which is another matter; the log has that ratio, too. Without TAPROUTER_E2E_SPEED=1 no
// speed is asserted, as a busy machine would decide.
func TestTrunkSpeed(t *testing.T) {
	need(t, "iperf3")
	trunk := newTrunk(t, "raw", trunkTopology)
	withLeft, withRight := cables(t, 100)
	left, right := cables(t, 0)
	var tags, trunks []float64
	for i := range 7 {
		with, without := stream(t, withLeft, withRight, "172.16.101.9"), stream(t, left, right, "172.16.101.9")
		on := stream(t, trunk.h100, trunk.h101, "172.16.101.9")
		tags, trunks = append(tags, with/without), append(trunks, on/without)
		t.Logf("%d: %.2f Gbit/s with tags (%s), %.2f without: %.3f; on a trunk %.2f", i, with, trunk.makes, without,
			with/without, on)
	}
	slices.Sort(tags)
	slices.Sort(trunks)
	t.Logf("with tags to without: median %.3f of %.3f; a trunk to two devices without tags: median %.3f of %.3f",
		tags[3], tags, trunks[3], trunks)
	if os.Getenv("TAPROUTER_E2E_SPEED") == "1" && tags[3] < 0.95 {
		t.Errorf("the median is %.3f, want at least 0.95", tags[3])
	}
}

// cables makes a router with two networks, each with a raw device and a host. The frames on the devices have a tag, if
// it is not 0.
func cables(t *testing.T, tag uint16) (left, right *space) {
	t.Helper()
	w := newWorld(t)
	router, at := w.space("router"), w.space("switch")
	hosts := []*space{w.space("left"), w.space("right")}
	text, vlan := "", ""
	if tag > 0 {
		vlan = fmt.Sprintf("vlan = %d\n", tag)
	}
	for i, h := range hosts {
		w.veth(router, fmt.Sprint("dev", i), at, fmt.Sprint("up", i))
		g := &tagger{at: at, trunk: fmt.Sprint("up", i), port: fmt.Sprint("p", i, "v")}
		g.connect(t, map[uint16]*space{tag: h})
		text += fmt.Sprintf("[[network]]\nname = \"n%[1]d\"\ndevices = [\"raw:dev%[1]d\"]\n%[2]s[[network.subnet]]\n"+
			"cidr = \"172.16.10%[1]d.0/24\"\n", i, vlan)
	}
	router.serve(w.file("cables.toml", text+"[[router]]\nname = \"r\"\ninterfaces = [\"n0\", \"n1\"]\n"))
	for i, h := range hosts {
		h.address("eth0", fmt.Sprintf("172.16.10%d.9/24", i), fmt.Sprintf("172.16.10%d.1", i))
	}
	return hosts[0], hosts[1]
}

// stream measures one TCP stream for two seconds, in Gbit/s as received.
func stream(t *testing.T, from, to *space, address string) float64 {
	t.Helper()
	server := to.start("iperf3", "-s", "-1", "--forceflush")
	server.wait(t, "Server listening")
	out := from.run("iperf3", "-c", address, "-t", "2", "-O", "0.5", "-J")
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
