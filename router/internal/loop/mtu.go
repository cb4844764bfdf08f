package loop

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A network has the MTU that the topology says. A TAP that is made for the network gets this
// MTU. An interface that exists already has an MTU of its own. It must be as large at the start,
// and may change at any time. If it becomes smaller, the network's routers go by it, and tell
// senders so (RFC 1191), instead of losing larger packets.

// LeastMTU is the size of a packet, in bytes, that every network must carry whole (RFC 791, 3.2). A
// smaller MTU of an interface is taken for this one.
const LeastMTU = 68

// MTUOf is the largest packet that a device takes, in bytes, 0 if the device does not say.
func MTUOf(dev tap.Device) int {
	if d, ok := dev.(interface{ MTU() int }); ok {
		return d.MTU()
	}
	return 0
}

// SetMTU gives a device the MTU of its network, if the device has a method for that. A failure is logged.
func SetMTU(dev tap.Device, mtu int, log *slog.Logger) {
	if d, ok := dev.(interface{ SetMTU(int) error }); ok {
		if err := d.SetMTU(mtu); err != nil {
			log.Warn("the device has not got its network's MTU", "device", dev.Name(), "err", err)
		}
	}
}

// SetGRO tells a device whether its networks want segments joined, if the kernel can do that for the device.
func SetGRO(dev tap.Device, on bool) {
	if d, ok := dev.(interface{ SetGRO(bool) }); ok {
		d.SetGRO(on)
	}
}

// CheckMTU refuses a device that does not take the network's largest packets. At the start
// that is a mistake, and the user can correct it.
func CheckMTU(dev tap.Device, mtu int) error {
	if got := MTUOf(dev); got != 0 && got < mtu {
		return fmt.Errorf("%s has an MTU of %d, the network one of %d: "+
			"set mtu = %d for the network, or enlarge the interface's with `ip link set %s mtu %d`",
			dev.Name(), got, mtu, got, strings.TrimPrefix(dev.Name(), "raw:"), mtu)
	}
	return nil
}

// A frame with an IEEE 802.1Q tag is TagLen bytes longer than the same frame without it, and carries a packet of the
// same size. Kernels allow for that: a TAP takes it, and a raw device does on every interface whose driver does. An
// interface that does not (its driver is "VLAN challenged", or a tunnel has no room) refuses the largest frames. The
// first refusal is noticed here, and the networks that have a tag there go by a smaller MTU from then on.

// tagTooLong reports whether frames that a device has refused as too long are so by their tags alone. A frame that is
// longer says nothing: a host has sent it that does not obey the MTU.
func tagTooLong(frames []tap.Frame, mtu int) bool {
	found := false
	for i := range frames {
		f := &frames[i]
		eth := f.Ethernet()
		if mtu == 0 || len(eth) < packet.EthernetLen+tap.TagLen || f.Header()[1] != virtio.GSONone {
			continue
		}
		tagged := binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeVLAN
		switch over := len(eth) - packet.EthernetLen - mtu; {
		case over > tap.TagLen, over > 0 && !tagged:
			return false
		case over > 0:
			found = true
		}
	}
	return found
}

// narrowTags notes that the device has no room for a tag beside its largest packets.
func (l *Link) narrowTags(t *Turn) {
	if l.Narrow {
		return
	}
	l.Narrow = true
	t.Log.Warn("the device does not take its largest packets with a VLAN tag, so its networks with tags use less",
		"device", l.Name, "network", l.networks(), "mtu", l.MTU-tap.TagLen)
	l.Owner.LinkChanged(t)
}
