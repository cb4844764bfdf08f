package loop

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/taprouter/taprouter/tap"
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
