package wire

import (
	"encoding/binary"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/tap"
)

// Several networks may share a device, if their frames there can be told apart: by the IEEE 802.1Q tag of a VLAN, and
// one network by having none. Inside, a network knows of no tags. A frame loses its tag when it comes in, and gets it
// when it goes out (loop.Outbox.Send), so that every other part of the path sees the same frames as without VLANs.
//
// Of the tag, priority and drop eligible bit go with a frame from one port of a network to another one. A packet that
// a router sends on is another frame, and has priority 0, as behind the kernel's VLAN devices: what a sender writes
// into a tag of one network says nothing about another.

// A Trunk owns a link whose frames have tags, and gives each frame to the port of its tag. A link that has one port
// only, without a tag, is owned by the port itself. A trunk is called by the worker of the link, which is that of all
// its networks.
type Trunk struct {
	link  *loop.Link
	ports []*Port
	byTag [numVLANs]*Port // 0: for frames without a tag
	to    []opened        // of the batch
}

// numVLANs is how many numbers a tag can name. 0 means that the tag has a priority only, and 4095 is reserved
// (IEEE 802.1Q, table 9-2).
const numVLANs = 1 << 12

// An opened frame has its port and is without its tag.
type opened struct {
	port     *Port // nil: it has its verdict
	priority uint16
}

// AddPort makes a link, which the network's worker reads, a port of the network, beside the ports that the link has in
// other networks. vlan is the tag that the network's frames have there, 0 for none. If another port of the link has
// the tag, frames with it are this port's from now on: the other one is about to leave.
func (n *Network) AddPort(t *loop.Turn, l *loop.Link, vlan uint16) *Port {
	p := &Port{network: n, Link: l, VLAN: vlan, deviceKey: deviceKey(l.Name), verified: noneVerified}
	if len(portsOf(l)) == 0 {
		l.Exempt, l.WantMTU, l.Joins = false, 0, true
	}
	was := l.WantMTU
	switch o := l.Owner.(type) {
	case *Trunk:
		o.add(p)
	case *Port:
		l.Owner = newTrunk(l, o, p)
	default:
		if l.Owner = p; vlan != 0 {
			l.Owner = newTrunk(l, p)
		}
	}
	p.want()
	n.setPorts(append(n.Ports[:len(n.Ports):len(n.Ports)], p))
	if l.Dev != nil {
		if l.WantMTU != was {
			resize(t, l)
		}
		n.fitMTU(t)
	}
	if l.Held {
		l.Release()
	}
	return p
}

func newTrunk(l *loop.Link, ports ...*Port) *Trunk {
	k := &Trunk{link: l}
	for _, p := range ports {
		k.add(p)
	}
	return k
}

// resize tells a device that has its MTU from the router which one its networks want.
func resize(t *loop.Turn, l *loop.Link) {
	if l.Dev == nil || l.Memory {
		return
	}
	loop.SetMTU(l.Dev, l.WantMTU, t.Log)
	l.Resize(t, loop.MTUOf(l.Dev))
}

// RemovePort takes a port away. Its link and the addresses seen at it stay.
func (n *Network) RemovePort(p *Port) { n.setPorts(loop.Without(n.Ports, p)) }

// Leave takes a port away, and leaves its link to the other ports there. It reports whether there are none: then the
// link is not read until it gets another one, or is withdrawn.
func (p *Port) Leave() (last bool) {
	p.network.forgetPort(p)
	p.network.RemovePort(p)
	k, shared := p.Link.Owner.(*Trunk)
	if !shared {
		k = newTrunk(p.Link)
		p.Link.Owner = k
	} else {
		k.remove(p)
	}
	if len(k.ports) == 1 && k.ports[0].VLAN == 0 {
		p.Link.Owner = k.ports[0]
	}
	describe(p.Link)
	p.Link.Held = len(k.ports) == 0
	return p.Link.Held
}

// Unplug takes a port away, with its link. It returns the port's device, which is the caller's, nil if the device is
// away or other ports have it, too.
func (p *Port) Unplug(t *loop.Turn) tap.Device {
	if !p.Leave() {
		return nil
	}
	return p.Link.Withdraw(t)
}

func (k *Trunk) add(p *Port) {
	k.ports = append(k.ports, p)
	k.byTag[p.VLAN] = p
}

func (k *Trunk) remove(p *Port) {
	k.ports = loop.Without(k.ports, p)
	if k.byTag[p.VLAN] == p {
		k.byTag[p.VLAN] = nil
	}
}

// portsOf are the ports that a link has.
func portsOf(l *loop.Link) []*Port {
	switch o := l.Owner.(type) {
	case *Port:
		return []*Port{o}
	case *Trunk:
		return o.ports
	}
	return nil
}

// describe notes at a link what its networks want of it together.
func describe(l *loop.Link) {
	ports := portsOf(l)
	if len(ports) == 0 {
		return // for a moment, or for good
	}
	l.Exempt, l.WantMTU, l.Joins = false, 0, true
	for _, p := range ports {
		p.want()
	}
}

// want notes at the port's link what the network wants of it.
func (p *Port) want() {
	p.Link.Exempt = p.Link.Exempt || p.network.External
	p.Link.WantMTU = max(p.Link.WantMTU, p.network.MTU)
	p.Link.Joins = p.Link.Joins && !p.network.AsRead
}

// Describe notes at the network's links what the network wants of them, which has changed: a device that has its MTU
// from the router gets the largest one of its networks.
func (n *Network) Describe(t *loop.Turn) {
	for _, p := range n.Ports {
		l := p.Link
		was := l.WantMTU
		describe(l)
		if l.WantMTU != was || len(portsOf(l)) == 1 {
			resize(t, l)
		}
	}
}

// Networks implements loop.LinkOwner.
func (p *Port) Networks() []string { return []string{p.network.Name()} }

// Networks implements loop.LinkOwner.
func (k *Trunk) Networks() []string {
	names := make([]string, 0, len(k.ports))
	for _, p := range k.ports {
		names = append(names, p.network.Name())
	}
	return names
}

// LinkChanged implements loop.LinkOwner.
func (k *Trunk) LinkChanged(t *loop.Turn) {
	for _, p := range k.ports {
		p.LinkChanged(t)
	}
}

// LinkUp implements loop.LinkOwner.
func (k *Trunk) LinkUp(t *loop.Turn) {
	for _, p := range k.ports {
		p.LinkUp(t)
	}
}

// LinkLost implements loop.LinkOwner.
func (k *Trunk) LinkLost(t *loop.Turn, forGood bool) {
	for _, p := range k.ports {
		p.LinkLost(t, forGood)
	}
}

// Receive implements loop.LinkOwner: it gives the frames of a batch to their ports, in their order. Neighboring frames
// of one port are a batch of that port.
func (k *Trunk) Receive(t *loop.Turn, frames []tap.Frame) {
	k.to = k.to[:0]
	for i := range frames {
		k.to = append(k.to, k.open(t, &frames[i]))
	}
	for i := 0; i < len(frames); {
		n, p := 1, k.to[i].port
		for i+n < len(frames) && k.to[i+n].port == p {
			n++
		}
		if p != nil && p.expect(t, frames[i:i+n]) {
			for j := i; j < i+n; j++ {
				t.Priority = k.to[j].priority
				p.Take(t, &frames[j])
			}
		}
		i += n
	}
	t.Priority = 0
}

// open finds the port of a frame, and takes the tag away. A frame with a second tag keeps both, so that the port
// refuses it, and the network's observers see it as it is.
func (k *Trunk) open(t *loop.Turn, f *tap.Frame) opened {
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen+TagLen || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeVLAN {
		if p := k.byTag[0]; p != nil {
			return opened{port: p}
		}
		return k.refuse(t, eth)
	}
	tci := binary.BigEndian.Uint16(eth[14:])
	p := k.byTag[tci&vlanMask]
	switch {
	case p == nil:
		return k.refuse(t, eth)
	case tci&vlanMask == 0, tagged(eth[TagLen:]):
		return opened{port: p} // for judgeTagged
	}
	return opened{p, f.PopTag() &^ vlanMask}
}

// refuse counts a frame that is for no network.
func (k *Trunk) refuse(t *loop.Turn, eth []byte) opened {
	v := verdict.Drop(verdict.DropRunt)
	switch {
	case len(eth) < packet.EthernetLen:
	case !tagged(eth), len(eth) >= packet.EthernetLen+TagLen && hasPriorityOnly(eth):
		v = verdict.Drop(verdict.DropUntagged)
	default:
		v = refuseTag(k.link, eth)
	}
	t.Stats.Received++
	t.Count(v)
	return opened{}
}

// TagLen is the length of an IEEE 802.1Q tag.
const TagLen = tap.TagLen

const (
	vlanMask = numVLANs - 1 // the VLAN in a tag; the other bits are priority and drop eligible
	// The first byte of a tag's type, 0x8100 or 0x88a8, has these bits and at most two others. Few types of frames do.
	tagMask  = 0xf6
	tagFirst = 0x80
)

// hasPriorityOnly reports whether a frame has one tag, which names no VLAN. eth has a whole tag.
func hasPriorityOnly(eth []byte) bool {
	return binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeVLAN &&
		binary.BigEndian.Uint16(eth[14:])&vlanMask == 0 && !tagged(eth[TagLen:])
}

// tagged reports whether an Ethernet header has a tag instead of a type.
func tagged(eth []byte) bool {
	t := binary.BigEndian.Uint16(eth[12:])
	return t == packet.EtherTypeVLAN || t == packet.EtherTypeQinQ
}

// tag is what the tag of a frame holds that goes out at the port, 0 for none. how says where the frame comes from.
func (p *Port) tag(t *loop.Turn, how Kind) uint16 {
	if p.VLAN == 0 || how == Made {
		return p.VLAN
	}
	return p.VLAN | t.Priority
}

// mtu is the largest packet that the port's device takes from its network, in bytes; 0: it does not say.
func (p *Port) mtu() int {
	if l := p.Link; p.VLAN != 0 && l.Narrow && l.MTU > 0 {
		return l.MTU - TagLen
	}
	return p.Link.MTU
}

// judgeTagged is judge for a frame with a tag that no trunk has taken away. If the tag names no VLAN, only a priority,
// the frame belongs to the same network as a frame without a tag (IEEE 802.1Q, 6.9). Every other one is refused: no
// network of ours carries tags of its hosts, as these would be another network behind the next switch.
func (p *Port) judgeTagged(t *loop.Turn, f *tap.Frame) verdict.Verdict {
	eth := f.Ethernet()
	if len(eth) < packet.EthernetLen+TagLen || !hasPriorityOnly(eth) {
		return refuseTag(p.Link, eth)
	}
	t.Priority = f.PopTag()
	v := p.judge(t, f)
	t.Priority = 0
	return v
}

// refuseTag says why a frame with a tag is refused, and counts the tag of one that no network has.
func refuseTag(l *loop.Link, eth []byte) verdict.Verdict {
	switch {
	case len(eth) < packet.EthernetLen+TagLen:
		return verdict.Drop(verdict.DropRunt)
	case tagged(eth[TagLen:]):
		return verdict.Drop(verdict.DropDoubleTag)
	}
	l.Tags.Count(binary.BigEndian.Uint16(eth[14:]) & vlanMask)
	return verdict.Drop(verdict.DropVLANTag)
}
