package router

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// trunkTopology is two VLANs and the outside without a tag on one device, and further devices of vlan100: one where it
// has a tag as well, and one where it has none.
const trunkTopology = `
[[physical_network]]
name    = "default"
devices = ["raw:trunk"]
[[network]]
name    = "vlan100"
vlan    = 100
physical_network = "default"
  [[network.subnet]]
  cidr = "172.16.100.0/24"
[[network]]
name    = "vlan101"
vlan    = 101
devices = ["raw:trunk"]
  [[network.subnet]]
  cidr = "172.16.101.0/24"
[[network]]
name     = "ext_net"
external = true
devices  = ["raw:trunk"]
  [[network.subnet]]
  cidr = "10.10.10.0/24"
  gateway = "10.10.10.1"
[[router]]
name       = "r"
interfaces = ["vlan100", "vlan101"]
gateway    = { network = "ext_net", address = "10.10.10.2" }
[[floating_ip]]
network  = "ext_net"
address  = "10.10.10.3"
fixed_ip = "172.16.101.3"
`

// A yard is a simulation whose devices are the file's, all of them trunks.
type yard struct {
	*sim
	t       *testing.T
	devices map[string]*trunkDevice
	opened  map[string]int
}

func newYard(t *testing.T, text string) *yard {
	t.Helper()
	y := &yard{t: t, devices: map[string]*trunkDevice{}, opened: map[string]int{}}
	y.sim = newSimOn(t, topology(t, text), func(d config.Device) (tap.Device, error) {
		y.opened[d.String()]++
		y.devices[d.String()] = newTrunkDevice(t, d.String())
		return y.devices[d.String()], nil
	})
	y.attach()
	return y
}

func topology(t *testing.T, text string) *file.Topology {
	t.Helper()
	topo, err := file.Parse("test.toml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func (y *yard) attach() {
	for _, d := range y.devices {
		d.attach(y.sim)
	}
}

// apply has the engine serve another file.
func (y *yard) apply(text string) error {
	y.t.Helper()
	topo := topology(y.t, text)
	_, err := y.Apply(y.t.Context(), stateOf(y.t, topo))
	if err == nil {
		y.names = nil
		for i := range topo.Networks {
			y.names = append(y.names, topo.Networks[i].Name)
		}
		y.nets = y.view.Load().networks
		y.all, y.w = y.workers, y.workers[0]
		y.attach()
	}
	return err
}

// putOn puts a frame onto a device as it is.
func (y *yard) putOn(device string, eth []byte) {
	b := append(make([]byte, tap.HeaderLen), eth...)
	d := y.devices[device]
	d.in = append(d.in, tap.Frame{Buf: b, Tail: len(b)})
	y.run()
}

// udp has a host send a datagram, and returns what has come out at a network.
func (y *yard) udp(h *simHost, dst, at string) string {
	y.t.Helper()
	y.put(h.net, y.build(h, dst, layers.IPProtocolUDP, nil, udpLayer(), payload(10)))
	return fmt.Sprint(y.take(at))
}

func withTag(eth []byte, tags ...uint16) []byte {
	for _, tci := range slices.Backward(tags) {
		eth = insert(eth, 12, 0x81, 0, byte(tci>>8), byte(tci))
	}
	return eth
}

// Two VLANs and a network without a tag share a device: routed, with SNAT, by a floating IP, each frame with the tag of
// its network. The device is opened once.
func TestNetworksShareADevice(t *testing.T) {
	y := newYard(t, trunkTopology)
	h100, h101 := y.host("vlan100", "172.16.100.9"), y.host("vlan101", "172.16.101.3")
	out, up := y.host("ext_net", "10.10.10.4"), y.host("ext_net", "10.10.10.1")
	_ = up
	for _, c := range []struct {
		from          *simHost
		dst, at, want string
	}{
		{h100, "172.16.101.3", "vlan101", "[udp 172.16.100.9:4000 > 172.16.101.3:53]"},
		{h100, "10.10.10.4", "ext_net", "[udp 10.10.10.2:4000 > 10.10.10.4:53]"},
		{h101, "172.16.100.9", "vlan100", "[udp 172.16.101.3:4000 > 172.16.100.9:53]"},
		{h101, "10.10.10.4", "ext_net", "[udp 10.10.10.3:4000 > 10.10.10.4:53]"},
		{out, "10.10.10.3", "vlan101", "[udp 10.10.10.4:4000 > 172.16.101.3:53]"},
	} {
		if got := y.udp(c.from, c.dst, c.at); got != c.want {
			t.Errorf("%s to %s: at %s %s, want %s", c.from.net, c.dst, c.at, got, c.want)
		}
	}
	d := y.devices["raw:trunk"]
	if y.opened["raw:trunk"] != 1 || d.tags[100] == 0 || d.tags[101] == 0 || d.tags[0] == 0 || len(d.tags) != 3 {
		t.Errorf("opened %v, tags out %v", y.opened, d.tags)
	}
	var rows []DeviceStats
	for _, s := range y.stats().Devices {
		if s.Device == "raw:trunk" {
			rows = append(rows, s)
		}
	}
	if len(rows) != 1 || rows[0].Network != "" ||
		!slices.Equal(rows[0].Networks, []string{"ext_net", "vlan100", "vlan101"}) ||
		rows[0].TxFrames != uint64(d.tags[100]+d.tags[101]+d.tags[0]) || rows[0].RxFrames == 0 {
		t.Errorf("statistics %+v; tags out %v", rows, d.tags)
	}
}

// A frame without a tag, with a priority only, with the tag of no network, with two tags.
func TestTagsOfATrunk(t *testing.T) {
	y := newYard(t, trunkTopology)
	h100, out := y.host("vlan100", "172.16.100.9"), y.host("ext_net", "10.10.10.4")
	y.host("vlan101", "172.16.101.3")
	inner := y.build(h100, "172.16.101.3", layers.IPProtocolUDP, nil, udpLayer(), payload(10))
	plain := y.build(out, "10.10.10.3", layers.IPProtocolUDP, nil, udpLayer(), payload(10))
	provider := withTag(inner, 100)
	provider[12], provider[13] = 0x88, 0xa8
	for _, c := range []struct {
		name   string
		frame  []byte
		reason DropReason // NumDropReasons: it reaches vlan101
		vlan   int        // that is counted
	}{
		{"its tag", withTag(inner, 100), numReasons, 0},
		{"its tag with a priority", withTag(inner, 100|5<<13), numReasons, 0},
		{"none", plain, numReasons, 0},
		{"a priority only", withTag(plain, 7<<13), numReasons, 0},
		{"another network's", withTag(inner, 101), DropNotOurs, 0},
		{"none, for the router's address in a VLAN", inner, DropNotOurs, 0},
		{"no network's", withTag(inner, 102), DropVLANTag, 102},
		{"reserved", withTag(inner, 4095), DropVLANTag, 4095},
		{"a provider's", provider, DropVLANTag, 100},
		{"two", withTag(inner, 100, 101), DropDoubleTag, 0},
		{"two behind no network's", withTag(inner, 102, 100), DropDoubleTag, 0},
		{"two, one with a priority only", withTag(inner, 0, 100), DropDoubleTag, 0},
		{"two, one with a priority only inside", withTag(inner, 100, 0), DropDoubleTag, 0},
		{"half a tag", withTag(inner, 100)[:16], DropRunt, 0},
		{"nothing", inner[:13], DropRunt, 0},
	} {
		before, tags := y.stats(), tagCounts(y)
		y.putOn("raw:trunk", c.frame)
		got, after := y.take("vlan101"), y.stats()
		if c.reason == numReasons {
			if len(got) != 1 {
				t.Errorf("%s: %d frames at vlan101; drops %v", c.name, len(got), after.Drops)
			}
			continue
		}
		if len(got) != 0 || after.Drops[c.reason] != before.Drops[c.reason]+1 || after.Dropped() != before.Dropped()+1 {
			t.Errorf("%s: drops %v before, %v after, %d frames out", c.name, before.Drops, after.Drops, len(got))
		}
		if c.vlan != 0 {
			tags[c.vlan]++
		}
		if is := tagCounts(y); fmt.Sprint(is) != fmt.Sprint(tags) {
			t.Errorf("%s: tags counted %v, want %v", c.name, is, tags)
		}
	}
}

const numReasons = DropReason(255)

func tagCounts(y *yard) map[int]uint64 {
	all := map[int]uint64{}
	for _, d := range y.stats().Devices {
		for _, c := range d.UnknownTags {
			all[c.VLAN] += c.Frames
		}
	}
	return all
}

// Where every network of a device has a tag, a frame without one is for nobody.
func TestUntaggedOnATrunkOfTags(t *testing.T) {
	y := newYard(t, strings.Replace(trunkTopology, "external = true\n", "external = true\nvlan = 102\n", 1))
	h := y.host("ext_net", "10.10.10.4")
	frame := y.build(h, "10.10.10.3", layers.IPProtocolUDP, nil, udpLayer(), payload(10))
	for i, f := range [][]byte{frame, withTag(frame, 0), withTag(frame, 3<<13)} {
		y.putOn("raw:trunk", f)
		y.dropped(DropUntagged, uint64(i+1))
	}
	if got := tagCounts(y); len(got) != 0 {
		t.Errorf("counted %v", got)
	}
}

// Whoever is behind a device chooses tags: their counts are bounded.
func TestCountsOfTagsAreBounded(t *testing.T) {
	y := newYard(t, trunkTopology)
	h := y.host("vlan100", "172.16.100.9")
	frame := y.build(h, "172.16.101.3", layers.IPProtocolUDP, nil, udpLayer(), payload(10))
	for vlan := uint16(200); vlan < 400; vlan++ {
		y.putOn("raw:trunk", withTag(frame, vlan))
	}
	y.putOn("raw:trunk", withTag(frame, 200))
	var d DeviceStats
	for _, d = range y.stats().Devices {
		if d.Device == "raw:trunk" {
			break
		}
	}
	if len(d.UnknownTags) != 64 || d.UnknownTags[0] != (TagCount{200, 2}) || d.UnknownOther != 136 {
		t.Errorf("%d tags, the first %+v, %d others", len(d.UnknownTags), d.UnknownTags[0], d.UnknownOther)
	}
	y.dropped(DropVLANTag, 201)
}

// switchedTopology is vlan100 with three devices: two of the file, where it has a tag, and
// one that a test attaches. The network access has two devices, and no tag.
var switchedTopology = strings.Replace(strings.Replace(trunkTopology, `devices = ["raw:trunk"]
[[network]]`, `devices = ["raw:trunk", "raw:second"]
[[network]]`, 1), `[[router]]`, `[[network]]
name    = "access"
devices = ["raw:plain", "raw:more"]
  [[network.subnet]]
  cidr = "172.16.102.0/24"
[[router]]`, 1)

// Between ports of one network, a frame keeps the priority of its tag; at a port without a tag it loses it. A routed
// packet has priority 0.
func TestPriorityOfATag(t *testing.T) {
	y := newYard(t, switchedTopology)
	a, b := packet.MAC{2, 0, 0, 0, 0, 1}, packet.MAC{2, 0, 0, 0, 0, 2}
	first, second := y.devices["raw:trunk"], y.devices["raw:second"]
	const tci = 100 | 5<<13 | 1<<12 // with drop eligible
	at := func(d *trunkDevice) string {
		all := []string{}
		for vlan, n := range d.tags {
			all = append(all, fmt.Sprintf("%#x: %d", vlan, n))
		}
		slices.Sort(all)
		clear(d.tags)
		return strings.Join(all, ", ")
	}
	at(first)
	at(second)
	hello := append(append(append([]byte{}, packet.Broadcast[:]...), a[:]...), 0x88, 0xb5, 1, 2, 3, 4)
	y.putOn("raw:trunk", withTag(hello, tci)) // flooded
	if got := at(second); got != "0xb064: 1" {
		t.Errorf("flooded: %s", got)
	}
	answer := append(append(append([]byte{}, a[:]...), b[:]...), 0x88, 0xb5, 1, 2, 3, 4)
	y.putOn("raw:second", withTag(answer, 100|2<<13)) // to a port that is known
	if got := at(first); got != "0x4064: 1" {
		t.Errorf("switched: %s", got)
	}
	y.putOn("raw:second", withTag(answer, 100)) // the next one has no priority, and does not inherit one
	if got := at(first); got != "0x64: 1" {
		t.Errorf("without a priority: %s", got)
	}
	h := y.host("vlan100", "172.16.100.9")
	y.host("vlan101", "172.16.101.3")
	routed := y.build(h, "172.16.101.3", layers.IPProtocolUDP, nil, udpLayer(), payload(10))
	y.putOn("raw:trunk", withTag(routed, tci))
	if got := y.take("vlan101"); len(got) != 1 {
		t.Fatalf("%d frames routed", len(got))
	}
	if got := at(first); !strings.Contains(got, "0x65: ") || strings.Contains(got, "065: ") {
		t.Errorf("routed: %s", got)
	}
	// From a network without a tag to one of its other ports, a priority goes with the tag.
	plain := y.devices["raw:plain"]
	at(plain)
	y.putOn("raw:more", withTag(hello, 6<<13))
	if got := at(plain); got != "0: 1" && got != "0x0: 1" {
		t.Errorf("at a port without a tag: %s", got)
	}
}

// A frame with a priority goes from a port without a tag to one with a tag, and keeps it. The next frame has none.
func TestPriorityFromAPortWithoutATag(t *testing.T) {
	y := newYard(t, switchedTopology)
	far, err := y.Attach("vlan100", 0)
	if err != nil {
		t.Fatal(err)
	}
	y.run()
	d := y.devices["raw:trunk"]
	clear(d.tags)
	a := packet.MAC{2, 0, 0, 0, 0, 1}
	hello := append(append(append([]byte{}, packet.Broadcast[:]...), a[:]...), 0x88, 0xb5, 1, 2, 3, 4)
	var batch []tap.Frame
	for _, f := range [][]byte{withTag(hello, 6<<13), hello} {
		b := append(make([]byte, tap.HeaderLen), f...)
		batch = append(batch, tap.Frame{Buf: b, Tail: len(b)})
	}
	if _, err := far.Write(batch); err != nil {
		t.Fatal(err)
	}
	y.run()
	if d.tags[100|6<<13] != 1 || d.tags[100] != 1 || len(d.tags) != 2 {
		t.Errorf("tags out: %v", d.tags)
	}
	// And a frame from a port with a tag comes out there without it.
	y.putOn("raw:trunk", withTag(hello, 100|5<<13))
	slots := []tap.Frame{{Buf: make([]byte, tap.SlotLen)}}
	for {
		n, err := far.Read(slots)
		if err != nil || n == 0 {
			t.Fatal("nothing has come", err)
		}
		if eth := slots[0].Ethernet(); eth[12] == 0x88 && bytes.Equal(eth, hello) {
			break
		}
	}
}

// superFrame is a TCP frame of n bytes of payload, whose checksum is not finished, to be cut into pieces of 1000 bytes.
func superFrame(y *yard, from *simHost, dst string, n int) (tap.Frame, []byte) {
	l4 := &layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 1, ACK: true, Window: 1000}
	eth := y.build(from, dst, layers.IPProtocolTCP, nil, l4, payload(n))
	ip := eth[packet.EthernetLen:]
	sum := packet.Sum(ip[12:20])
	for _, x := range []uint16{6, uint16(20 + n)} {
		if sum += x; sum < x {
			sum++
		}
	}
	binary.BigEndian.PutUint16(ip[36:], sum)
	b := make([]byte, tap.HeaderLen+len(eth))
	copy(b[tap.HeaderLen:], eth)
	(&virtio.Header{Flags: virtio.NeedsChecksum, GSOType: virtio.GSOTCPv4, HdrLen: 54, GSOSize: 1000, CsumStart: 34,
		CsumOffset: 16}).Put(b)
	return tap.Frame{Buf: b, Tail: len(b)}, eth
}

// A super-frame with a tag goes in and out whole where the device takes it, its offsets moved by the tag; elsewhere it
// is cut, and each segment has the tag and a right checksum.
func TestSuperFramesHaveTags(t *testing.T) {
	for _, features := range []tap.Features{allFeatures, 0} {
		y := newYard(t, trunkTopology)
		d := y.devices["raw:trunk"]
		d.features = features
		y.all[0].Links[0].Takes = features
		h, to := y.host("vlan100", "172.16.100.9"), y.host("vlan101", "172.16.101.3")
		y.put("vlan101", y.build(to, "172.16.100.9", layers.IPProtocolTCP, nil,
			&layers.TCP{SrcPort: 80, DstPort: 4000, SYN: true, Window: 1000}))
		y.take("vlan100")
		f, _ := superFrame(y, h, "172.16.101.3", 2500)
		y.devices["raw:trunk"].queues[100].in = append(d.queues[100].in, f)
		y.run()
		got := d.queues[101].out
		if features == 0 {
			if sent := y.take("vlan101"); len(sent) != 3 { // take checks the sums
				t.Errorf("%d segments", len(sent))
			}
			continue
		}
		var header virtio.Header
		if len(got) != 1 {
			t.Fatalf("%d frames", len(got))
		}
		if header.Parse(got[0].Header()); header.CsumStart != 34 || header.HdrLen != 54 || header.GSOSize != 1000 {
			t.Errorf("behind the tag: %+v", header)
		}
	}
}

// Observers of a network see its frames without tags, whatever the device; nobody else's.
func TestObserversSeeNoTags(t *testing.T) {
	y := newYard(t, trunkTopology)
	h := y.host("vlan100", "172.16.100.9")
	y.host("vlan101", "172.16.101.3")
	seen := map[string]int{}
	for _, name := range []string{"vlan100", "vlan101", "ext_net"} {
		stop, err := y.Observe(name, func(o Observation) {
			if eth := o.Frame.Ethernet(); eth[12] != 8 {
				t.Errorf("%s: % x", name, eth)
			}
			seen[name]++
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
	}
	y.udp(h, "172.16.101.3", "vlan101")
	if seen["vlan100"] == 0 || seen["vlan101"] < 3 || seen["ext_net"] != 0 { // an ARP request, its answer, the packet
		t.Errorf("seen %v", seen)
	}
}

// A trace shows a switched frame as it came, though its buffer has got a tag meanwhile.
func TestTraceOfASwitchedFrame(t *testing.T) {
	y := newYard(t, switchedTopology)
	a, b := packet.MAC{2, 0, 0, 0, 0, 1}, packet.MAC{2, 0, 0, 0, 0, 2}
	frame := func(dst, src packet.MAC) []byte {
		return append(append(append([]byte{}, dst[:]...), src[:]...), 0x88, 0xb5, 1, 2, 3, 4)
	}
	y.putOn("raw:trunk", withTag(frame(packet.Broadcast, a), 100))
	var text bytes.Buffer
	y.Trace(&text)
	y.putOn("raw:second", withTag(frame(a, b), 100))
	if !strings.Contains(text.String(), "88b5") {
		t.Errorf("traced as %s", text.String())
	}
}

// reaches reports whether a packet of a host comes out at a network.
func (y *yard) reaches(from *simHost, dst, at string) bool {
	y.t.Helper()
	return len(y.sendTo(from, dst, at)) == 1
}

func (y *yard) sendTo(h *simHost, dst, at string) []sent {
	y.take(at)
	y.put(h.net, y.build(h, dst, layers.IPProtocolUDP, nil, udpLayer(), payload(10)))
	return y.take(at)
}

// A device that has no room for a tag beside its largest packets: its networks with tags use a smaller MTU from the
// first refusal on, and say so to senders; the network without a tag does not.
func TestADeviceWithoutRoomForATag(t *testing.T) {
	y := newYard(t, trunkTopology)
	d := y.devices["raw:trunk"]
	d.mtu, d.narrow = 1500, true
	link := y.all[0].Links[0]
	link.Resize(&y.w.Turn, 1500)
	h, out := y.host("vlan100", "172.16.100.9"), y.host("ext_net", "10.10.10.4")
	y.host("vlan101", "172.16.101.3")
	big := func(from *simHost, dst string) {
		y.put(from.net, y.build(from, dst, layers.IPProtocolUDP, []ipOpt{df}, udpLayer(), payload(1472)))
	}
	y.reaches(h, "172.16.101.3", "vlan101")
	// A host that sends more than any MTU allows is nobody's fault but its own.
	y.put("vlan100", y.build(h, "172.16.101.3", layers.IPProtocolUDP, nil, udpLayer(), payload(1480)))
	y.take("vlan101")
	big(h, "172.16.101.3")
	y.none("vlan101")
	if !link.Narrow || y.nets["vlan101"].LinkMTU != 1496 || y.nets["ext_net"].LinkMTU != 1500 {
		t.Fatalf("narrow %t, MTUs %d and %d", link.Narrow, y.nets["vlan101"].LinkMTU, y.nets["ext_net"].LinkMTU)
	}
	big(h, "172.16.101.3")
	if got := fmt.Sprint(y.take("vlan100")); !strings.Contains(got, "type 3 code 4") {
		t.Errorf("the sender is told %s", got)
	}
	y.reaches(h, "10.10.10.4", "ext_net")
	big(h, "10.10.10.4")
	if got := y.take("ext_net"); len(got) != 1 {
		t.Errorf("%d large packets without a tag", len(got))
	}
	_ = out
	link.Resize(&y.w.Turn, 1504)
	if d.mtu = 1504; y.nets["vlan101"].LinkMTU != 1500 {
		t.Errorf("MTU %d of a larger interface", y.nets["vlan101"].LinkMTU)
	}
	big(h, "172.16.101.3")
	if got := y.take("vlan101"); len(got) != 1 {
		t.Errorf("%d large packets with a larger MTU", len(got))
	}
}

// A device whose last network has left, before another one comes, is not read: what comes meanwhile waits in it.
func TestALinkWithoutANetworkWaits(t *testing.T) {
	y := newYard(t, strings.NewReplacer("vlan    = 100\n", "", "vlan    = 101\ndevices = [\"raw:trunk\"]\n", "",
		"devices  = [\"raw:trunk\"]\n", "").Replace(trunkTopology))
	h := y.host("vlan100", "172.16.100.9")
	n := y.nets["vlan100"]
	port := n.Ports[0]
	ping := y.build(h, "172.16.100.1", layers.IPProtocolICMPv4, nil, pingLayer(), payload(8))
	if !port.Leave() {
		t.Fatal("the port was not the only one")
	}
	d := y.devices["raw:trunk"]
	d.in = append(d.in, tap.Frame{Buf: append(make([]byte, tap.HeaderLen), ping...), Tail: tap.HeaderLen + len(ping)})
	y.run()
	if st := y.stats(); len(d.in) != 1 || st.Dropped() != 0 {
		t.Errorf("%d frames wait; drops %v", len(d.in), st.Drops)
	}
	n.AddPort(&y.w.Turn, port.Link, 0)
	y.run()
	if got := y.take("vlan100"); len(got) != 1 {
		t.Errorf("%d answers", len(got))
	}
}
