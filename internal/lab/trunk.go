package lab

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

// Instances may be behind a device of the topology, as hosts beyond a cable are. The lab then has all devices of the
// topology in memory, each with a switch at its far end. Such a switch knows VLANs: an instance there gets and sends
// frames without a tag, and on the device they have the tag of its network.

// An uplink is the far end of a device, with the instances that are behind it.
type uplink struct {
	name string
	far  tap.Device
	see  func(f tap.Frame, vlan int) // looks at each frame on the device, which is without its tag then

	mu    sync.Mutex
	jacks []*jack
	known map[station]*jack // where addresses have been seen; nil: at the other end of the device
}

// A jack is a port of an uplink's switch, in one VLAN: 0 is that without a tag.
type jack struct {
	vlan int
	dev  tap.Device
}

// A station is a MAC address of a VLAN.
type station struct {
	vlan int
	mac  packet.MAC
}

// uplinks are the devices of a lab, by their names. The zero value has none.
type uplinks struct {
	mu      sync.Mutex
	all     map[string]*uplink
	running sync.WaitGroup
}

// open makes a device of the topology, with its far end. It is router.Options.Open.
func (u *uplinks) open(d config.Device, see func(device string, f tap.Frame, vlan int)) (tap.Device, error) {
	name := d.String()
	near, far := tap.Pipe(name, name+"/far", tap.PipeOptions{})
	l := &uplink{name: name, far: far, known: map[station]*jack{},
		see: func(f tap.Frame, vlan int) { see(name, f, vlan) }}
	u.mu.Lock()
	if u.all == nil {
		u.all = map[string]*uplink{}
	}
	u.all[name] = l
	u.mu.Unlock()
	u.pump(far, l.fromDevice)
	return near, nil
}

// plug puts an instance behind a device, and returns the instance's end.
func (u *uplinks) plug(device string, vlan int) (tap.Device, error) {
	u.mu.Lock()
	l := u.all[device]
	u.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("device %s is not open", device)
	}
	l.mu.Lock()
	name := fmt.Sprintf("%s/%d", device, len(l.jacks)+1)
	near, far := tap.Pipe(name, name+"/far", tap.PipeOptions{})
	j := &jack{vlan, near}
	l.jacks = append(l.jacks, j)
	l.mu.Unlock()
	u.pump(near, func(f tap.Frame) { l.fromJack(j, f) })
	return far, nil
}

// pump has each be called with what comes from a device, until that ends.
func (u *uplinks) pump(dev tap.Device, each func(tap.Frame)) {
	woken := make(chan struct{}, 1)
	dev.Notify(func() {
		select {
		case woken <- struct{}{}:
		default: // the reader has not seen the last one yet
		}
	})
	u.running.Go(func() {
		frames := make([]tap.Frame, 4)
		for i := range frames {
			frames[i].Buf = make([]byte, tap.SlotLen)
		}
		for {
			n, err := dev.Read(frames)
			for _, f := range frames[:n] {
				each(f)
			}
			switch {
			case n > 0:
			case err != nil:
				return
			default:
				<-woken
			}
		}
	})
}

// wait returns when the goroutines of all devices have ended, which they do with the devices.
func (u *uplinks) wait() { u.running.Wait() }

// fromDevice takes a frame that the router has sent.
func (l *uplink) fromDevice(f tap.Frame) {
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen {
		return
	}
	vlan := 0
	if binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeVLAN && len(eth) >= packet.EthernetLen+tap.TagLen {
		vlan = int(f.PopTag() & 0xfff)
	}
	l.see(f, vlan)
	l.forward(nil, vlan, f)
}

// fromJack takes a frame that an instance has sent.
func (l *uplink) fromJack(j *jack, f tap.Frame) {
	if len(f.Ethernet()) >= packet.EthernetLen {
		l.forward(j, j.vlan, f)
	}
}

// forward sends a frame to where its receiver is, or to everyone in its VLAN. from is nil for a frame of the device.
func (l *uplink) forward(from *jack, vlan int, f tap.Frame) {
	eth := f.Ethernet()
	dst, src := packet.MAC(eth[:6]), packet.MAC(eth[6:12])
	l.mu.Lock()
	l.known[station{vlan, src}] = from
	to, isKnown := l.known[station{vlan, dst}]
	var jacks []*jack
	for _, j := range l.jacks {
		if j.vlan == vlan && j != from && (!isKnown || j == to) {
			jacks = append(jacks, j)
		}
	}
	l.mu.Unlock()
	for _, j := range jacks {
		_, _ = j.dev.Write([]tap.Frame{f}) // a full queue loses it, as any switch does
	}
	if from == nil || isKnown && to != nil {
		return
	}
	l.see(f, vlan)
	if vlan != 0 {
		f.PushTag(packet.EtherTypeVLAN, uint16(vlan))
	}
	_, _ = l.far.Write([]tap.Frame{f})
}

// anyBehind reports whether instances of a topology are behind devices.
func anyBehind(topo *file.Topology) bool {
	return slices.ContainsFunc(topo.Instances, func(in file.Instance) bool { return deviceOf(topo, &in) != "" })
}

// deviceOf is the device that an instance is behind, "" if it has a port of its own.
func deviceOf(topo *file.Topology, in *file.Instance) string {
	if in.Device != "" {
		return in.Device
	}
	for i := range topo.Ports {
		if p := &topo.Ports[i]; p.Name == in.Name && p.Network == in.Network {
			return p.Device
		}
	}
	return ""
}

// checkDevices finds the faults of devices that instances are behind, and that steps look at.
func checkDevices(topo *file.Topology) file.Faults {
	var faults file.Faults
	fault := func(line int, format string, args ...any) {
		faults = append(faults, file.Fault{File: topo.File, Line: line, Message: fmt.Sprintf(format, args...)})
	}
	devices := map[string][]string{} // by network
	var all []string
	for i := range topo.Networks {
		n := &topo.Networks[i]
		for _, d := range n.Devices {
			devices[n.Name] = append(devices[n.Name], d.String())
			all = append(all, d.String())
		}
	}
	for i := range topo.Instances {
		in := &topo.Instances[i]
		if in.Device != "" && !slices.Contains(devices[in.Network], in.Device) {
			fault(cmpLine(topo, fmt.Sprintf("instance[%d].device", i), in.Line),
				"instance %q: device %s is none of network %q: there are %s", in.Name, in.Device, in.Network,
				listed(devices[in.Network]))
		}
	}
	behind := anyBehind(topo)
	slices.Sort(all)
	for i := range topo.Steps {
		s := &topo.Steps[i]
		for _, p := range slices.Concat(s.Sees, s.Never) {
			switch {
			case p.Device == "":
			case !slices.Contains(all, p.Device):
				fault(p.Line, "step %q: no network has the device %s: there are %s", s.Title, p.Device,
					listed(slices.Compact(all)))
			case !behind:
				fault(p.Line, "step %q: a lab opens devices if an instance is behind one: write device = %q in an "+
					"[[instance]]", s.Title, p.Device)
			}
		}
	}
	return faults
}

// cmpLine is the line of a path in the file, or another one if that is unknown.
func cmpLine(topo *file.Topology, path string, other int) int {
	if line := topo.LineOf(path); line > 0 {
		return line
	}
	return other
}
