package wire

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
)

// A Denial is what port security has dropped at one device, of one port of the State, for one reason, and the last
// such frame.
type Denial struct {
	Device string     // the link's name; empty with Frames alone: those of former entries, which had to make room
	Port   *BoundPort // nil: the frames are of no port
	Reason verdict.DropReason
	Frames uint64

	MAC  packet.MAC    // that the last frame has claimed
	Addr netip.Addr    // likewise; invalid if it is about the MAC address alone
	Last time.Duration // when it came, by Turn.Now

	network *Network
	why     why
}

// why says what rule a frame has broken. The words are in Text and Remedy.
type why uint8

const (
	noPort        why = iota // no port has the MAC address
	ownMAC                   // it is that of a router or of a local service
	otherDevice              // its port is tied to another device
	foreignAddr              // the address is not the port's
	ownAddr                  // the address is the engine's
	foreignMAC               // ARP for a MAC address that is not the port's
	dhcpAnswer               // a message of a DHCP server
	routerMessage            // a router advertisement or a redirect
	portDown                 // the port is out of use
)

// A denialKey tells denials apart.
type denialKey struct {
	device string
	port   ID
	reason verdict.DropReason
	why    why
}

// denials is what has been dropped on a network. The zero value is empty.
type denials struct {
	all      map[denialKey]*Denial
	rest     [verdict.NumDropReasons]uint64 // frames of entries that had to make room, or for which there was none
	searched time.Duration                  // when an old entry was last searched for, to make room
}

const (
	// maxDenials bounds the entries of a network.
	maxDenials = 1024
	// denialSearch is the least time between two searches for an entry that can make room.
	denialSearch = time.Second
)

// deny notes that a frame is dropped, and returns the verdict. mac and addr are what the frame claims.
func (p *Port) deny(
	t *loop.Turn, reason verdict.DropReason, s *speaker, because why, mac packet.MAC, addr netip.Addr,
) verdict.Verdict {
	n := p.network
	key := denialKey{device: p.Link.Name, reason: reason, why: because}
	if s.port != nil {
		key.port = s.port.ID
	}
	d := n.denials.all[key]
	if d == nil {
		if d = n.denials.room(t.Now); d == nil {
			n.denials.rest[reason]++
			n.denied = &Denial{
				Device: key.device, Port: s.port, Reason: reason, MAC: mac, Addr: addr, network: n, why: because,
			}
			return verdict.Drop(reason)
		}
		n.denials.all[key] = d
		*d = Denial{Device: key.device, Reason: reason, network: n, why: because}
	}
	d.Port, d.MAC, d.Addr, d.Last = s.port, mac, addr, t.Now
	d.Frames++
	n.denied = d
	return verdict.Drop(reason)
}

// room is a new entry, nil if there is no room for it. Of a full table the entry that has not grown for the longest
// time makes room.
func (d *denials) room(now time.Duration) *Denial {
	if d.all == nil {
		d.all = map[denialKey]*Denial{}
	}
	if len(d.all) < maxDenials {
		return new(Denial)
	}
	if now-d.searched < denialSearch {
		return nil
	}
	d.searched = now
	var oldest denialKey
	var at *Denial
	for k, e := range d.all {
		if at == nil || cmp.Or(cmp.Compare(e.Last, at.Last), k.compare(oldest)) < 0 {
			oldest, at = k, e
		}
	}
	d.rest[at.Reason] += at.Frames
	delete(d.all, oldest)
	return new(Denial)
}

func (k denialKey) compare(o denialKey) int {
	return cmp.Or(cmp.Compare(k.device, o.device), cmp.Compare(k.port, o.port), cmp.Compare(k.reason, o.reason),
		cmp.Compare(k.why, o.why))
}

// Denials returns a copy of what port security has dropped on the network, in an order that does not depend on chance.
// The sum of its frames, for each reason, never becomes smaller. It is called by the worker of the network.
func (n *Network) Denials() []Denial {
	keys := make([]denialKey, 0, len(n.denials.all))
	for k := range n.denials.all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, denialKey.compare)
	var all []Denial
	for _, k := range keys {
		all = append(all, *n.denials.all[k])
	}
	for r, frames := range n.denials.rest {
		if frames > 0 {
			all = append(all, Denial{Reason: verdict.DropReason(r), Frames: frames, network: n})
		}
	}
	return all
}

// AnyDenied reports whether Denials returns any. It is called by the worker of the network.
func (n *security) AnyDenied() bool { return len(n.denials.all) > 0 }

// whyDropped says why a frame was dropped that has just been judged, in words; empty if port security has not
// dropped it.
func (n *security) whyDropped(v verdict.Verdict) string {
	if reason, stage, ok := v.Dropped(); !ok || stage != verdict.StageSwitch || !ofGuard[reason] || n.denied == nil {
		return ""
	}
	text := n.denied.Text()
	if remedy := n.denied.Remedy(); remedy != "" {
		text += "; it would pass with " + remedy
	}
	return text
}

// ofGuard are the reasons that deny gives.
var ofGuard = [verdict.NumDropReasons]bool{
	verdict.DropSpoofedMAC: true, verdict.DropSpoofedIP: true, verdict.DropSpoofedARP: true,
	verdict.DropDHCPServer: true, verdict.DropRouterAdvert: true, verdict.DropPortDown: true,
}

// Label is what messages call the port.
func (p *BoundPort) Label() string {
	if p.Name == "" {
		return fmt.Sprintf("port %s", p.ID)
	}
	return fmt.Sprintf("port %q", p.Name)
}

// Text says what the last frame has done, in words. It is empty for an entry of frames that had to make room.
func (d *Denial) Text() string {
	if d.Device == "" {
		return ""
	}
	who := d.MAC.String()
	if d.Port != nil {
		who = d.Port.Label()
	}
	does := "sends from"
	if d.Reason == verdict.DropSpoofedARP {
		does = "claims by ARP"
	}
	switch d.why {
	case portDown:
		if d.Port == nil {
			return fmt.Sprintf("%s is the device of ports that are out of use", d.Device)
		}
		return fmt.Sprintf("%s is out of use", who)
	case noPort:
		return fmt.Sprintf("no port of network %q has the MAC address %v", d.network.Name(), d.MAC)
	case ownMAC:
		return fmt.Sprintf("the MAC address %v is the router's own", d.MAC)
	case otherDevice:
		return fmt.Sprintf("%s is tied to %s, and its MAC address %v comes from %s",
			who, d.Port.Device, d.MAC, d.Device)
	case ownAddr:
		return fmt.Sprintf("%s %s %v, an address of the router", who, does, d.Addr)
	case foreignMAC:
		return fmt.Sprintf("%s claims by ARP that %v is at %v", who, d.Addr, d.MAC)
	case dhcpAnswer:
		return fmt.Sprintf("%s answers as a DHCP server, from %v", who, d.Addr)
	case routerMessage:
		return fmt.Sprintf("%s speaks as a router, from %v", who, d.Addr)
	}
	if d.Addr.IsUnspecified() {
		return fmt.Sprintf("%s %s %v, which is for DHCP clients and ARP probes", who, does, d.Addr)
	}
	return fmt.Sprintf("%s %s %v", who, does, d.Addr)
}

// Remedy says with which key of the configuration the last frame would pass, in words; empty if there is none.
func (d *Denial) Remedy() string {
	off := fmt.Sprintf("port_security = false of network %q", d.network.Name())
	if d.Port != nil {
		off = "port_security = false of " + d.Port.Label()
	}
	switch {
	case d.Device == "", d.why == ownMAC, d.why == ownAddr && d.Port == nil:
		return ""
	case d.why == portDown && d.Port == nil:
		return "admin_state_up = true of a port that is tied to " + d.Device
	case d.why == portDown:
		return "admin_state_up = true of " + d.Port.Label()
	case d.why == noPort:
		return fmt.Sprintf("a port that has mac = %q, or %s", d.MAC, off)
	case d.why == otherDevice:
		return fmt.Sprintf("device = %q of %s", d.Device, d.Port.Label())
	case d.why == dhcpAnswer, d.why == routerMessage, d.why == ownAddr, d.Addr.IsUnspecified():
		return off
	case d.Port == nil:
		return fmt.Sprintf("a port that has mac = %q and fixed_ip = %q", d.MAC, d.Addr)
	}
	pair := fmt.Sprintf("ip = %q", d.Addr)
	if d.MAC != d.Port.MAC && !d.Port.MAC.IsZero() {
		pair += fmt.Sprintf(", mac = %q", d.MAC)
	}
	return fmt.Sprintf("allowed_address_pairs = [{ %s }] of %s", pair, d.Port.Label())
}
