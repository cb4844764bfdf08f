package router

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// A trunkDevice is a device that several networks of a simulation share. Each has a queue of its own, as if it had its
// own device; on the device its frames have the network's tag.
type trunkDevice struct {
	simDevice // of frames whose tag is no network's, and those that a test puts in as they are
	t         testing.TB
	name      string
	queues    map[uint16]*simDevice // by VLAN
	mtu       int                   // 0: it does not say
	narrow    bool                  // it has no room for a tag beside its largest packets
	priority  uint16                // of tags that go in; the upper bits of a tag
	tags      map[uint16]int        // how many frames have gone out with a tag
	closed    bool
}

func (d *trunkDevice) Name() string { return d.name }
func (d *trunkDevice) MTU() int     { return d.mtu }
func (d *trunkDevice) Close() error { d.closed = true; return nil }

func (d *trunkDevice) Read(frames []tap.Frame) (int, error) {
	vlans := []uint16{}
	for vlan := range d.queues {
		vlans = append(vlans, vlan)
	}
	slices.Sort(vlans)
	for _, vlan := range vlans {
		q := d.queues[vlan]
		for _, f := range q.in {
			g := tap.Frame{Buf: make([]byte, tap.TagLen+f.Tail-f.Head), Head: tap.TagLen}
			g.Tail = g.Head + copy(g.Buf[g.Head:], f.Buf[f.Head:f.Tail])
			if vlan != 0 && len(g.Ethernet()) >= 12 {
				g.PushTag(packet.EtherTypeVLAN, vlan|d.priority)
			}
			d.in = append(d.in, g)
		}
		q.in = nil
	}
	return d.simDevice.Read(frames)
}

func (d *trunkDevice) Write(frames []tap.Frame) (int, error) {
	n := 0
	var first error
	for _, f := range frames {
		eth := f.Ethernet()
		g := tap.Frame{Buf: slices.Clone(f.Buf[f.Head:f.Tail]), Tail: f.Tail - f.Head}
		tagged := binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeVLAN
		if room := d.mtu + packet.EthernetLen; d.mtu > 0 && f.Header()[1] == 0 && len(eth) > room &&
			!(tagged && !d.narrow && len(eth) <= room+tap.TagLen) {
			first = errTooLong
			continue
		}
		n++
		vlan := uint16(0)
		if tagged {
			vlan = g.PopTag()
		}
		d.tags[vlan]++
		if q := d.queues[vlan&0xfff]; q != nil {
			q.out = append(q.out, g)
		} else {
			d.t.Errorf("%s: a frame went out with tag %#x, which no network has: % x", d.name, vlan, eth)
		}
	}
	return n, first
}

// errTooLong is what the kernel says of a frame that is longer than the interface takes.
var errTooLong = fmt.Errorf("tap: write: %w", syscall.EMSGSIZE)

// onTrunk has the networks of a topology share one device: the last one without a tag.
func onTrunk(topo *file.Topology) {
	for i := range topo.Networks {
		n := &topo.Networks[i]
		n.Devices = []config.Device{{Kind: config.DeviceRaw, Name: "trunk"}}
		if n.VLAN = 0; i < len(topo.Networks)-1 {
			n.VLAN = 100 + i
		}
	}
}

// newTrunkSim is newSim with all networks on one device.
func newTrunkSim(t testing.TB, topo *file.Topology) *sim {
	t.Helper()
	onTrunk(topo)
	d := newTrunkDevice(t, "raw:trunk")
	s := newSimOn(t, topo, func(config.Device) (tap.Device, error) { return d, nil })
	d.attach(s)
	return s
}

func newTrunkDevice(t testing.TB, name string) *trunkDevice {
	return &trunkDevice{t: t, name: name, queues: map[uint16]*simDevice{}, tags: map[uint16]int{}}
}

// attach gives each network of the device its queue, by the tag that the State says.
func (d *trunkDevice) attach(s *sim) {
	clear(d.queues)
	for n := range s.State().Networks() {
		for _, of := range s.State().DevicesOf(n.ID) {
			if of.String() == d.name {
				d.queues[uint16(n.VLAN)] = s.byID[wire.ID(n.ID)]
			}
		}
	}
}

// Networks that share a device by tags do everything as with devices of their own: every scenario gives the same frames
// to the byte.
func TestScenariosOnATrunk(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			apart, err := runScenario(t, name, string(text))
			if err != nil {
				t.Fatal(err)
			}
			// A host's own tag is the second one on a trunk.
			again := strings.ReplaceAll(string(text), "drops vlan-tag=", "drops double-tag=")
			together, err := runScenarioIn(t, name, again, newTrunkSim)
			if err != nil {
				t.Fatal(err)
			}
			for network, want := range apart.frames {
				got := together.frames[network]
				if len(got) != len(want) && !strings.Contains(string(text), "0x8100") {
					t.Errorf("%s: %d frames, want %d", network, len(got), len(want))
					continue
				}
				for i := range min(len(got), len(want)) {
					if w := want[i].Frame; string(got[i].Frame) != string(w) &&
						!(len(w) > 13 && binary.BigEndian.Uint16(w[12:]) == packet.EtherTypeVLAN) {
						t.Errorf("%s: frame %d is\n% x, want\n% x", network, i, got[i].Frame, want[i].Frame)
					}
				}
			}
		})
	}
}
