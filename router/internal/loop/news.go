package loop

import "github.com/taprouter/taprouter/internal/packet"

// News is what a worker tells the engine of, beside its log: something has happened that the State does not say.
type News struct {
	Kind    NewsKind
	Network string // the network's name
	Device  string // the device's name; empty in a Conflict

	// Of a Conflict only.
	Router string      // the router that has the address
	Addr   packet.Addr // the address
	MAC    packet.MAC  // the MAC address of the other host that uses it
}

// A NewsKind says what has happened.
type NewsKind uint8

// The kinds of news.
const (
	DeviceDown NewsKind = iota // a device carries no frames
	DeviceUp                   // it carries frames again
	DeviceLost                 // a device is gone, or was not there at the start; it is opened when it comes
	DeviceBack                 // such a device is open
	Conflict                   // another host uses an address of a router
)
