package loop

import "github.com/taprouter/taprouter/internal/packet"

// News is what a worker tells the engine of, beside its log: something has happened that the State does not say.
type News struct {
	What    What
	Network string // its name
	Device  string // of a device

	// Of a Conflict: the router that has the address, and the other host that uses it.
	Router string
	Addr   packet.Addr
	MAC    packet.MAC
}

// What has happened.
type What uint8

// The kinds of news.
const (
	DeviceDown What = iota // a device carries no frames
	DeviceUp               // it carries frames again
	DeviceLost             // a device is gone, or was not there at the start; it is opened again when that can be done
	DeviceBack             // such a device is open
	Conflict               // another host uses an address of a router
)

// tell tells of a device, unless it is in memory: such a device comes and goes with the program that has the far end.
func (l *Link) tell(t *Turn, what What) {
	if t.Tell != nil && !l.Memory {
		t.Tell(News{What: what, Network: l.Network, Device: l.Name})
	}
}
