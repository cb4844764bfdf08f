package router

import (
	"fmt"
	"log/slog"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/tap"
)

// OpenDevice returns a function that opens the devices of a topology file on
// this machine, for Options.Open. It needs Linux and, mostly, root. A tap.Guard
// closes the interfaces of raw devices to the host's own network stack, unless their
// network says host = "open".
func OpenDevice(log *slog.Logger) func(config.Device) (tap.Device, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	guard := tap.NewGuard(log)
	return func(d config.Device) (tap.Device, error) {
		switch d.Kind {
		case config.DeviceTAP:
			return tap.OpenTAP(d.Name, d.Netns, tap.Options{Logger: log})
		case config.DeviceRaw:
			opt := tap.Options{Logger: log, Guard: guard}
			if d.HostOpen {
				opt.Guard = nil
			}
			return tap.OpenRaw(d.Name, opt)
		}
		return nil, fmt.Errorf("router: open %s: %s devices are not supported yet", d, d.Kind)
	}
}

// A DeviceError says that a device of a State cannot be opened, so that the State is not served.
type DeviceError struct {
	Network string // by name
	Device  config.Device
	Err     error // of Options.Open
}

// Error names the network, and says why. Open's error names the device.
func (e *DeviceError) Error() string { return fmt.Sprintf("network %q: %v", e.Network, e.Err) }

// Unwrap returns Open's error.
func (e *DeviceError) Unwrap() error { return e.Err }
