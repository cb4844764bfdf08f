package conform

import (
	"net/netip"
	"time"
)

// A Target makes routers to be tested.
type Target interface {
	// Name heads the target's column.
	Name() string
	// Start starts a router of the suite's topology. What the target cannot be
	// configured to do is refused with NotPossible.
	Start(Profile) (Wire, error)
}

// NotPossible is the error of a Target that cannot be configured as a check wants:
// the check is then skipped, for this reason.
func NotPossible(reason string) error { return errSkipped(reason) }

// A Wire is the far end of every network of a running router.
type Wire interface {
	// Put sends an Ethernet frame to the router, on one of the suite's networks.
	Put(network string, eth []byte) error
	// Get returns the next Ethernet frame that the router has sent to a network, and
	// that no host has answered, or nil. It waits a while for one that is to be expected,
	// and but shortly else.
	Get(network string, expected bool) ([]byte, error)
	// Answer has the hosts' answers to the router's own frames (ARP requests) go back at
	// once: answer returns nil for a frame that is to be got.
	Answer(answer func(network string, eth []byte) []byte)
	// Wait lets time pass. A target that lives in real time refuses long waits with
	// NotPossible.
	Wait(d time.Duration) error
	// Timeouts are the router's, as the profile has set them.
	Timeouts() Timeouts
	// Close ends the router.
	Close() error
}

// A Changer is a Wire whose router can be changed while it runs. When a method returns,
// new connections obey. Checks that need one are skipped without.
type Changer interface {
	// Associate gives a floating IP to an internal host, and takes it from the host that had it.
	// Disassociate takes it away.
	Associate(floating, fixed netip.Addr) error
	Disassociate(floating netip.Addr) error
	// SetMember has a pool's member get new connections, or none.
	SetMember(pool, member string, up bool) error
}

// Timeouts are how long a router keeps idle connections and mappings. Checks count in them, since
// targets in real time have short ones where a profile allows it.
type Timeouts struct {
	UDP, ICMP, TCPEstablished, TCPTransitory time.Duration
}

// A Profile is how a router is configured, where that is not as the topology says. The
// zero value is the default.
type Profile struct {
	// Mapping and Filtering are the behaviors of RFC 4787, in the topology file's words.
	Mapping, Filtering string
	// NoSNAT routes both ways instead of sharing the gateway's address.
	NoSNAT bool
	// SNATAddresses are what internal hosts show outside, instead of the gateway's address.
	SNATAddresses []string
	// NoDefault leaves the router without a default route.
	NoDefault bool
	// Narrow is a network with an MTU of 1000, besides small. The others' is 1500.
	Narrow string
	// MSSClamp lowers the TCP MSS to what the way allows.
	MSSClamp bool
	// MaxConnections, HostShare and PortRange bound the table and the ports.
	MaxConnections int
	HostShare      float64
	PortRange      string
	// Short allows a target in real time to shorten its timeouts: to a few seconds.
	Short bool
	// Restarts is how often the router has been started before. Random choices differ from
	// start to start, in simulated time as well.
	Restarts int
	// More is further lines of the topology file, for taprouter only.
	More string
}

// The defaults of taprouter's timeouts, which are the RFCs' least or more, and what
// stands for them in real time.
var (
	defaultTimeouts = Timeouts{UDP: 5 * time.Minute, ICMP: time.Minute,
		TCPEstablished: 2*time.Hour + 4*time.Minute, TCPTransitory: 4 * time.Minute}
	shortTimeouts = Timeouts{UDP: 2 * time.Second, ICMP: 2 * time.Second,
		TCPEstablished: 4 * time.Second, TCPTransitory: 2 * time.Second}
)

// longestWait is what a target in real time may be asked to wait.
const longestWait = 8 * time.Second

// waitReal is Wait for a target in real time.
func waitReal(d time.Duration) error {
	if d > longestWait {
		return NotPossible("takes " + d.String() + " of real time")
	}
	time.Sleep(d)
	return nil
}
