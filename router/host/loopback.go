package host

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// loopbackID is the number of a host's loopback interface.
const loopbackID = 2

// loopbackNet is the network inside every host (RFC 1122, 3.2.1.3).
var loopbackNet = netip.MustParsePrefix("127.0.0.0/8")

// loopbackAddr is the host's own address there, the source of what it sends to any
// of them.
var loopbackAddr = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// An inside is a loopback interface that the stack takes for an ordinary one while
// it is made. A stack that knows of a loopback interface also sends packets for the host's
// network address there, and TCP finds no way back. So the network address must stay with
// the interface of the network, where the stack loops such packets all the same.
type inside struct {
	stack.LinkEndpoint
	made atomic.Bool
}

// Capabilities implements stack.LinkEndpoint.
func (i *inside) Capabilities() stack.LinkEndpointCapabilities {
	c := i.LinkEndpoint.Capabilities()
	if !i.made.Load() {
		c &^= stack.CapabilityLoopback
	}
	return c
}

// addLoopback gives the stack its loopback interface, and returns the route there.
func (h *Host) addLoopback() (tcpip.Route, error) {
	link := &inside{LinkEndpoint: loopback.New()}
	if err := h.stack.CreateNIC(loopbackID, link); err != nil {
		return tcpip.Route{}, fmt.Errorf("loopback: %w", errno(err))
	}
	link.made.Store(true)
	own := tcpip.AddressWithPrefix{Address: fromAddr(loopbackAddr), PrefixLen: loopbackNet.Bits()}
	address := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: own}
	if err := h.stack.AddProtocolAddress(loopbackID, address, stack.AddressProperties{}); err != nil {
		return tcpip.Route{}, fmt.Errorf("loopback: %w", errno(err))
	}
	return tcpip.Route{Destination: own.Subnet(), NIC: loopbackID}, nil
}

// isSelf says whether packets to an address stay inside the host.
func (h *Host) isSelf(a netip.Addr) bool { return h.place.Load().has(a) || loopbackNet.Contains(a) }

// sourceFor returns the address that packets to an address come from.
func (h *Host) sourceFor(to netip.Addr) netip.Addr {
	if loopbackNet.Contains(to) {
		return loopbackAddr
	}
	return h.place.Load().sourceFor(to)
}
