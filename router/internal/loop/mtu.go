package loop

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/taprouter/taprouter/tap"
)

// A network's MTU is the topology's. A TAP that is made for it gets that. An interface that
// is there has one of its own, which must be as large at the start, and may change at
// any time: then the network's routers go by the smaller one, and tell senders so
// (RFC 1191), instead of losing larger packets.

// LeastMTU is the smallest packet that every network carries (RFC 791, 3.2). An interface
// that takes less is no use.
const LeastMTU = 68

// MTUOf is the largest packet that a device takes, 0 if it does not say.
func MTUOf(dev tap.Device) int {
	if d, ok := dev.(interface{ MTU() int }); ok {
		return d.MTU()
	}
	return 0
}

// SetMTU gives a device the MTU of its network, if it is one that has it from the router.
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
