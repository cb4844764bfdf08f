package host

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/raw"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/taprouter/taprouter/tap"
)

const (
	// DefaultMTU is the MTU of a host whose Config names none, in bytes.
	DefaultMTU = 1500
	// minMTU is the smallest MTU of IPv4 (RFC 791, section 3.2).
	minMTU = 68
	// maxMTU is the largest that a network may have.
	maxMTU = 9216

	// Accepts says which frames a host understands when they arrive. Tell it to the
	// far end of its device. It says nothing about the frames that the host sends.
	Accepts = tap.FeatureChecksum | tap.FeatureTSO4 | tap.FeatureUSO

	// nicID is the number of a host's interface on the network.
	nicID = 1

	bufferMin     = 4 << 10
	bufferDefault = 1 << 20
	bufferMax     = 8 << 20

	// Linux's range of ephemeral ports, so that a host's connections look
	// like connections of the machine that it stands for.
	firstEphemeral, lastEphemeral = 32768, 60999
)

// Config describes a host. Only Address is required, or else MAC.
type Config struct {
	// Name is used in logs, in errors and on served pages; the address if empty, or else MAC.
	Name string
	// MAC is the host's MAC address. The zero value stands for a locally
	// administered one that is derived from the address.
	MAC [6]byte
	// Address is the host's IPv4 address with its subnet's prefix length. The zero value means that the host has none
	// yet: Host.DHCP gives it one.
	Address netip.Prefix
	// Gateway is the next hop for everything outside the subnet. The zero
	// value means that there is no default route.
	Gateway netip.Addr
	// MTU is the largest IP packet the host sends, in bytes; 0 means 1500.
	MTU int
	// Logger gets the host's few messages; nil discards them. It also gets, as debug
	// lines, the messages of the TCP/IP stacks of all hosts in the process.
	Logger *slog.Logger
	// Offload lets the host send TCP super-frames of up to 64 KB with
	// unfinished checksums, when the device takes them. Such frames are always
	// understood when they arrive; see Accepts.
	Offload bool
}

// A Host is a host in the process. Its methods may be called from any goroutine
// at any time; after Close they fail with [net.ErrClosed].
type Host struct {
	cfg    Config
	log    *slog.Logger
	given  *slog.Logger // Config.Logger as the caller had it, nil for none
	stack  *stack.Stack
	link   *link
	step   *stepper               // nil outside a synctest bubble
	place  *atomic.Pointer[place] // where the host is; the link has it, too
	inside tcpip.Route            // to the host itself
	lease  leasing
	moving sync.Mutex // orders the changes of place
	asking sync.Mutex // orders the calls of Interface.ARP

	// mu orders the making of endpoints before Close, which ends all that exist.
	mu      sync.RWMutex
	closed  bool
	servers []service

	answers answers

	ports atomic.Uint32 // counts ephemeral ports, see bindTCP

	done     chan struct{} // closed when Close begins
	services sync.WaitGroup
	closing  sync.Once
	closeErr error
}

// New starts a host on a device. The device is the host's from then on, and
// Close closes it; when New fails it remains the caller's.
//
// The device must be in memory, such as an end of a [tap.Pipe]: one with a
// descriptor is refused, as its kernel end is a host of its own already.
func New(dev tap.Device, cfg Config) (*Host, error) {
	given := cfg.Logger
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("host: start %q: %w", cfg.Name, err)
	}
	if dev.FD() >= 0 {
		return nil, fmt.Errorf("host: start %q: device %s is one of the operating system; "+
			"attach an in-process host to a device in memory, such as an end of tap.Pipe", cfg.Name, dev.Name())
	}
	log := cfg.Logger.With("host", cfg.Name, "device", dev.Name())
	messages.open(given)
	h := &Host{cfg: cfg, log: log, given: given, done: make(chan struct{}), place: new(atomic.Pointer[place])}
	h.place.Store(&place{address: cfg.Address, gateway: cfg.Gateway})
	h.link = newLink(dev, cfg, h.place, log)
	h.ports.Store(rand.Uint32N(lastEphemeral))
	h.stack = newStack()
	if err := h.configure(); err != nil {
		h.stack.Destroy()
		messages.close(given)
		return nil, fmt.Errorf("host: start %q: %w", cfg.Name, err)
	}
	if InBubble() {
		h.step = newStepper(h.stack)
		h.link.delivered = h.step.kick
	}
	h.link.start(h.stack)
	return h, nil
}

// withDefaults completes and checks a configuration.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Name != "":
	case c.Address == (netip.Prefix{}):
		c.Name = net.HardwareAddr(c.MAC[:]).String()
	default:
		c.Name = c.Address.Addr().String()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if err := c.checkAddress(); err != nil {
		return c, err
	}
	if c.MTU < minMTU || c.MTU > maxMTU {
		return c, fmt.Errorf("MTU %d is not in %d-%d", c.MTU, minMTU, maxMTU)
	}
	if c.MAC == ([6]byte{}) {
		ip := c.Address.Addr().As4()
		// 02 says locally administered and unicast (IEEE 802, clause 8.4). The
		// second byte keeps hosts apart from other programs that derive MAC addresses from IP addresses.
		c.MAC = [6]byte{0x02, 'h', ip[0], ip[1], ip[2], ip[3]}
	}
	if c.MAC[0]&1 != 0 {
		return c, fmt.Errorf("MAC %s is a multicast address; clear the lowest bit of its first byte",
			net.HardwareAddr(c.MAC[:]))
	}
	return c, nil
}

// checkAddress checks the address and the gateway.
func (c Config) checkAddress() error {
	if c.Address == (netip.Prefix{}) && c.MAC != [6]byte{} && !c.Gateway.IsValid() {
		return nil // it comes by DHCP
	}
	ip, subnet := c.Address.Addr(), c.Address.Masked()
	if !c.Address.IsValid() || !ip.Is4() {
		return fmt.Errorf("address %s is not an IPv4 address with a prefix length, such as 10.10.10.4/24", c.Address)
	}
	if ip.IsMulticast() || ip.IsLoopback() || ip.IsUnspecified() {
		return fmt.Errorf("address %s cannot belong to a host", c.Address)
	}
	// A /31 has neither a network nor a broadcast address (RFC 3021).
	if c.Address.Bits() < 31 && (ip == subnet.Addr() || ip == broadcast(subnet)) {
		return fmt.Errorf("address %s is the subnet's network or broadcast address, not a host's", c.Address)
	}
	if !c.Gateway.IsValid() {
		return nil
	}
	if !c.Gateway.Is4() || !subnet.Contains(c.Gateway) || c.Gateway == ip {
		return fmt.Errorf("gateway %s is not another address in %s", c.Gateway, subnet)
	}
	return nil
}

// limitedBroadcast is every host on the network (RFC 919, section 7).
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// broadcast returns a subnet's directed broadcast address.
func broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a)
}

// newStack makes a stack without interfaces.
func newStack() *stack.Stack {
	return stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocolCUBIC, udp.NewProtocol, icmp.NewProtocol4},
		// Packets to the host's own address stay inside, as on any system.
		HandleLocal: true,
		// Ping and traceroute read ICMP errors, which only raw endpoints see.
		RawFactory: raw.EndpointFactory{},
	})
}

// configure sets the stack's options and gives it the interfaces, the addresses
// and the routes.
func (h *Host) configure() error {
	sack := tcpip.TCPSACKEnabled(true)
	for _, opt := range []tcpip.SettableTransportProtocolOption{
		&sack,
		&tcpip.TCPSendBufferSizeRangeOption{Min: bufferMin, Default: bufferDefault, Max: bufferMax},
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: bufferMin, Default: bufferDefault, Max: bufferMax},
	} {
		if err := h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, opt); err != nil {
			return fmt.Errorf("TCP option %T: %w", opt, errno(err))
		}
	}
	if err := h.stack.SetPortRange(firstEphemeral, lastEphemeral); err != nil {
		return fmt.Errorf("port range: %w", errno(err))
	}
	if err := h.stack.CreateNIC(nicID, h.link); err != nil {
		return fmt.Errorf("interface: %w", errno(err))
	}
	inside, err := h.addLoopback()
	if err != nil {
		return err
	}
	h.inside = inside
	return h.move(nil, h.place.Load())
}

// Name returns the host's name.
func (h *Host) Name() string { return h.cfg.Name }

// Address returns the host's address, the first of several, 0.0.0.0 if it has none yet.
func (h *Host) Address() netip.Addr { return h.place.Load().addr() }

// MAC returns the host's MAC address. The caller owns the slice.
func (h *Host) MAC() net.HardwareAddr { return net.HardwareAddr(h.link.LinkAddress()) }

// Done returns a channel that Close closes.
func (h *Host) Done() <-chan struct{} { return h.done }

// nextHop returns the neighbor that packets to an address are sent to, or false
// if there is no route.
func (h *Host) nextHop(to netip.Addr) (netip.Addr, bool) {
	if h.isSelf(to) {
		return to, true
	}
	return h.place.Load().nextHop(to)
}

// open runs fn, which makes an endpoint, unless the host is closed. Whatever
// exists when Close begins is ended by it, and nothing is made afterwards.
func (h *Host) open(fn func() error) error {
	if err := h.checkBubble(); err != nil {
		return err
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return net.ErrClosed
	}
	return fn()
}

// kick lets the stack work in a synctest bubble; see stepper.
func (h *Host) kick() {
	if h.step != nil {
		h.step.kick()
	}
}

// Close ends the host: its listeners and services stop, open TCP connections
// are reset, calls that wait return with an error, the device is closed. It
// returns when all goroutines of the host are gone, also the goroutines of HTTP
// handlers: a handler has to return when its request's context ends. A second
// call waits for the first and returns the same.
func (h *Host) Close() error {
	if err := h.checkBubble(); err != nil {
		return fmt.Errorf("host: close %q: %w", h.Name(), err)
	}
	h.closing.Do(func() { h.closeErr = h.shutdown() })
	return h.closeErr
}

func (h *Host) shutdown() error {
	h.mu.Lock()
	h.closed = true
	servers := h.servers
	h.mu.Unlock()
	// Services end first, so that none takes what follows for trouble.
	var errs []error
	for _, s := range servers {
		if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	close(h.done)
	if h.step != nil {
		h.step.stop() // from here on the stack runs freely
	}
	h.stack.Close() // resets every connection, so peers learn of it at once
	h.link.stop()
	h.answers.close()
	h.stack.Wait()
	if err := h.link.dev.Close(); err != nil {
		errs = append(errs, fmt.Errorf("host: close %q: %w", h.cfg.Name, err))
	}
	h.services.Wait()
	messages.close(h.given)
	return errors.Join(errs...)
}

// fromAddr converts an IPv4 address for the stack.
func fromAddr(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

// toAddr converts an IPv4 address of the stack, the empty one to 0.0.0.0.
func toAddr(a tcpip.Address) netip.Addr {
	if a.Len() != 4 {
		return netip.IPv4Unspecified()
	}
	return netip.AddrFrom4(a.As4())
}
