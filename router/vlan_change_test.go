package router

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/internal/packet"
)

// A network's tag changes, networks on a device come and go and exchange their tags. The others on the device do not
// notice, and the device stays open: it is opened with the first and closed with the last.
func TestNetworksOfADeviceChange(t *testing.T) {
	y := newYard(t, trunkTopology)
	h100, h101, out := y.host("vlan100", "172.16.100.9"), y.host("vlan101", "172.16.101.3"),
		y.host("ext_net", "10.10.10.4")
	d := y.devices["raw:trunk"]
	all := func(when string) {
		t.Helper()
		for _, c := range []struct {
			from    *simHost
			dst, at string
		}{{h100, "172.16.101.3", "vlan101"}, {h101, "172.16.100.9", "vlan100"}, {h101, "10.10.10.4", "ext_net"},
			{out, "10.10.10.3", "vlan101"}} {
			if !y.reaches(c.from, c.dst, c.at) {
				t.Errorf("%s: nothing from %s at %s; drops %v", when, c.from.net, c.at, y.stats().Drops)
			}
		}
		if y.opened["raw:trunk"] != 1 || d.closed {
			t.Errorf("%s: opened %v, closed %t", when, y.opened, d.closed)
		}
	}
	must := func(text string) {
		t.Helper()
		if err := y.apply(text); err != nil {
			t.Fatal(err)
		}
		y.run()
	}
	all("at first")
	link := y.all[0].Links[0]

	must(strings.Replace(trunkTopology, "vlan    = 101\n", "vlan    = 200\n", 1))
	if d.queues[200] == nil || d.queues[101] != nil {
		t.Fatalf("queues %v", d.queues)
	}
	all("with another tag")
	y.putOn("raw:trunk", withTag(y.build(h101, "172.16.100.9", layers.IPProtocolUDP, nil, udpLayer()), 101))
	if got := tagCounts(y); got[101] != 1 {
		t.Errorf("frames with the former tag: %v", got)
	}

	// They exchange their tags, and what has been learned of hosts.
	must(strings.NewReplacer("vlan    = 100\n", "vlan    = 101\n", "vlan    = 101\n", "vlan    = 100\n").
		Replace(trunkTopology))
	all("with tags exchanged")
	clear(d.tags)
	y.reaches(h100, "172.16.101.3", "vlan101")
	if d.tags[100] == 0 || d.tags[101] != 0 {
		t.Errorf("vlan101 has tag 100 now; tags out %v", d.tags)
	}

	// One more comes, and goes.
	more := trunkTopology + "[[network]]\nname = \"more\"\nvlan = 300\ndevices = [\"raw:trunk\"]\n" +
		"[[network.subnet]]\ncidr = \"172.16.103.0/24\"\n[[router]]\nname = \"other\"\ninterfaces = [\"more\"]\n"
	must(more)
	all("with one more")
	if got := y.macTo("more", "172.16.103.1"); got == (packet.MAC{}) || d.queues[300] == nil {
		t.Error("no further network")
	}
	must(trunkTopology)
	all("without it again")

	// The network without a tag gets one, and the other way round.
	must(strings.Replace(trunkTopology, "external = true\n", "external = true\nvlan = 9\n", 1))
	all("with a tag for all")
	must(trunkTopology)
	all("without a tag again")
	if y.all[0].Links[0] != link {
		t.Error("the device has another link")
	}

	// One after the other leaves the device. It is closed with the last one.
	rest := trunkTopology
	for i, part := range []string{"physical_network = \"default\"\n", "vlan    = 101\ndevices = [\"raw:trunk\"]\n",
		"devices  = [\"raw:trunk\"]\n"} {
		rest = strings.Replace(rest, part, "", 1)
		must(rest)
		if d.closed != (i == 2) {
			t.Errorf("after %d networks have left: closed %t", i+1, d.closed)
		}
	}
	if len(y.all[0].Links) != 0 || y.opened["raw:trunk"] != 1 {
		t.Errorf("%d links are left, opened %v", len(y.all[0].Links), y.opened)
	}
	must(trunkTopology)
	if y.opened["raw:trunk"] != 2 {
		t.Errorf("opened %v", y.opened)
	}
}

// A device is handed over from one network to others, and back, and does not close. What comes meanwhile is not lost.
func TestADeviceIsHandedOver(t *testing.T) {
	one := strings.NewReplacer("physical_network = \"default\"\n", "devices = [\"raw:one\"]\n",
		"vlan    = 100\n", "", "vlan    = 101\ndevices = [\"raw:trunk\"]\n", "devices = [\"raw:two\"]\n").
		Replace(trunkTopology)
	other := strings.NewReplacer("raw:one", "raw:two", "raw:two", "raw:one").Replace(one)
	y := newYard(t, one)
	h100 := y.host("vlan100", "172.16.100.9")
	y.host("vlan101", "172.16.101.3")
	for i := range 4 {
		if !y.reaches(h100, "172.16.101.3", "vlan101") {
			t.Fatalf("step %d: nothing arrives; %v", i, y.stats().Drops)
		}
		if y.opened["raw:one"] != 1 || y.opened["raw:two"] != 1 ||
			y.devices["raw:one"].closed || y.devices["raw:two"].closed {
			t.Errorf("step %d: opened %v", i, y.opened)
		}
		next := other
		if i%2 == 1 {
			next = one
		}
		if err := y.apply(next); err != nil {
			t.Fatal(err)
		}
		y.run()
	}
	for _, w := range y.all {
		for _, l := range w.Links {
			if l.Held || len(l.Owner.Networks()) != 1 {
				t.Errorf("link %s is held: %t, of %v", l.Name, l.Held, l.Owner.Networks())
			}
		}
	}
}

// Networks of one device have one worker, whatever their routers' workers are. These send with the tag, straight to the
// device.
func TestTagsOfOtherWorkers(t *testing.T) {
	var text strings.Builder
	text.WriteString("[engine]\nworkers = 3\n[[network]]\nname = \"ext_net\"\nexternal = true\nvlan = 50\n" +
		"devices = [\"raw:trunk\"]\n[[network.subnet]]\ncidr = \"10.10.10.0/24\"\ngateway = \"10.10.10.1\"\n")
	for i := range 3 {
		fmt.Fprintf(&text, "[[network]]\nname = \"net%[1]d\"\nvlan = %[2]d\ndevices = [\"raw:trunk\"]\n"+
			"[[network.subnet]]\ncidr = \"192.168.1.0/24\"\n[[router]]\nname = \"router%[1]d\"\n"+
			"interfaces = [\"net%[1]d\"]\n"+
			"gateway = { network = \"ext_net\", address = \"10.10.10.1%[1]d\" }\n", i, 60+i)
	}
	y := newYard(t, text.String())
	if len(y.all) != 3 || y.opened["raw:trunk"] != 1 {
		t.Fatalf("%d workers, opened %v", len(y.all), y.opened)
	}
	home := y.nets["ext_net"].Home
	abroad := 0
	for i := range 3 {
		name := fmt.Sprint("net", i)
		if y.nets[name].Home != home {
			t.Errorf("%s has another worker than its device", name)
		}
		for _, s := range y.nets[name].Routers {
			if s.Worker != home {
				abroad++
			}
		}
	}
	if abroad != 2 {
		t.Errorf("%d routers have another worker", abroad)
	}
	y.host("ext_net", "10.10.10.4")
	d := y.devices["raw:trunk"]
	clear(d.tags)
	handed := y.stats()
	for i := range 3 {
		h := y.host(fmt.Sprint("net", i), "192.168.1.9")
		if got := y.sendTo(h, "10.10.10.4", "ext_net"); len(got) != 1 ||
			got[0].String() != fmt.Sprintf("udp 10.10.10.1%d:4000 > 10.10.10.4:53", i) {
			t.Errorf("from %s: %v", h.net, got)
		}
	}
	boxes := 0
	for _, w := range y.all {
		for _, b := range w.Outboxes {
			boxes += int(b.Stats.TxFrames)
		}
	}
	if boxes == 0 || y.stats().Drops[DropHandover] != handed.Drops[DropHandover] {
		t.Errorf("%d frames went straight to the device from other workers; drops %v", boxes, y.stats().Drops)
	}
	n := 0
	for _, s := range y.stats().Devices {
		if s.Device == "raw:trunk" {
			n += int(s.TxFrames)
		}
	}
	sum := 0
	for _, c := range d.tags {
		sum += c
	}
	if sum > n {
		t.Errorf("%d frames counted, %d sent", n, sum)
	}
}

// Networks of several workers cannot come together on one device while the engine runs: that is said, and nothing
// changes.
func TestNetworksOfTwoWorkersStayApart(t *testing.T) {
	text := "[engine]\nworkers = 2\n"
	for i := range 2 {
		text += fmt.Sprintf("[[network]]\nname = \"net%[1]d\"\nvlan = %[2]d\ndevices = [\"raw:dev%[1]d\"]\n"+
			"[[network.subnet]]\ncidr = \"192.168.%[1]d.0/24\"\n[[router]]\nname = \"router%[1]d\"\n"+
			"interfaces = [\"net%[1]d\"]\n", i, 60+i)
	}
	y := newYard(t, text)
	if y.nets["net0"].Home == y.nets["net1"].Home {
		t.Fatal("they have one worker")
	}
	err := y.apply(strings.Replace(text, "raw:dev1", "raw:dev0", 1))
	if err == nil || !strings.Contains(err.Error(), `network "net`) ||
		!strings.Contains(err.Error(), "workers = 1") {
		t.Errorf("error %v", err)
	}
	if y.devices["raw:dev1"].closed || y.opened["raw:dev0"] != 1 {
		t.Errorf("opened %v", y.opened)
	}
	// Devices that are exchanged are no trouble.
	if err := y.apply(strings.NewReplacer("raw:dev1", "raw:dev0", "raw:dev0", "raw:dev1").Replace(text)); err != nil {
		t.Error(err)
	}
	y.run()
	if y.devices["raw:dev1"].closed || y.devices["raw:dev0"].closed || y.opened["raw:dev0"] != 1 {
		t.Errorf("opened %v", y.opened)
	}
}

// Networks of one label have one worker before the label has a device, so that they can share the device that comes.
func TestALabelGetsADevice(t *testing.T) {
	text := "[engine]\nworkers = 3\n[[physical_network]]\nname = \"default\"\ndevices = []\n"
	for i := range 3 {
		text += fmt.Sprintf("[[network]]\nname = \"net%[1]d\"\nvlan = %[2]d\nphysical_network = \"default\"\n"+
			"[[network.subnet]]\ncidr = \"192.168.%[1]d.0/24\"\n[[router]]\nname = \"router%[1]d\"\n"+
			"interfaces = [\"net%[1]d\"]\n", i, 60+i)
	}
	y := newYard(t, text)
	if err := y.apply(strings.Replace(text, "devices = []", "devices = [\"raw:trunk\"]", 1)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		h := y.host(fmt.Sprint("net", i), fmt.Sprintf("192.168.%d.9", i))
		y.put(h.net, y.build(h, fmt.Sprintf("192.168.%d.1", i), layers.IPProtocolICMPv4, nil, pingLayer(), payload(8)))
		if got := y.take(h.net); len(got) != 1 {
			t.Errorf("%s: %d answers; drops %v", h.net, len(got), y.stats().Drops)
		}
	}
}
