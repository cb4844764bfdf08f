package conform

import (
	"net/netip"
	"sync"

	"github.com/taprouter/taprouter/internal/packet"
)

type mac = packet.MAC

// A host is an address on a network that answers ARP, and nothing else by itself.
type host struct {
	network string
	addr    netip.Addr
}

// hosts are the hosts of the suite's topology. Targets ask them from goroutines of
// their own.
type hosts struct {
	mu   sync.Mutex
	mute map[host]bool
	all  map[host]mac
}

// population has the hosts of each network.
var population = map[string][]string{
	"blue":  {"172.16.101.2", "172.16.101.3", "172.16.101.4", "172.16.101.5", "172.16.101.254"},
	"green": {"172.16.100.9", "172.16.100.10", "172.16.100.20"},
	"small": {"172.16.102.6", "172.16.103.1"},
	"ext":   {"10.10.10.1", "10.10.10.4", "10.10.10.5"},
}

func newHosts() *hosts {
	h := &hosts{mute: map[host]bool{}, all: map[host]mac{}}
	for network, addrs := range population {
		for _, a := range addrs {
			h.add(network, netip.MustParseAddr(a))
		}
	}
	return h
}

// add puts a host on a network.
func (h *hosts) add(network string, addr netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := addr.As4()
	h.all[host{network, addr}] = mac{2, 0, b[0], b[1], b[2], b[3]}
}

// silence has a host answer ARP no more, or again.
func (h *hosts) silence(network string, addr netip.Addr, mute bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mute[host{network, addr}] = mute
}

// macOf is the MAC address behind which a network has a source: its own, or that of
// the way to it.
func (h *hosts) macOf(network string, src netip.Addr) mac {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m, ok := h.all[host{network, src}]; ok {
		return m
	}
	switch network {
	case "ext":
		return h.all[host{network, netip.MustParseAddr("10.10.10.1")}]
	case "blue":
		return h.all[host{network, netip.MustParseAddr("172.16.101.254")}]
	}
	return mac{2, 0, 0, 0, 0, 0xee} // a host that is on none of the networks
}

// answer is a host's answer to an ARP request, nil if the frame is none for a host.
func (h *hosts) answer(network string, eth []byte) []byte {
	m, ok := packet.DecodeARP(eth)
	if !ok || !m.Request || m.Sender == m.Target {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	who := host{network, m.Target.Netip()}
	own, ok := h.all[who]
	if !ok || h.mute[who] {
		return nil
	}
	reply := make([]byte, packet.ARPLen)
	packet.PutARP(reply, own, m.SenderMAC, packet.ARP{SenderMAC: own, Sender: m.Target, TargetMAC: m.SenderMAC,
		Target: m.Sender})
	return reply
}
