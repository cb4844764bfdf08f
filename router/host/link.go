package host

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

const (
	ethernetLen = header.EthernetMinimumSize
	// gsoMaxSize is the largest IP packet, and so the largest super-frame.
	gsoMaxSize = 65535
)

// A link joins a stack to a device: it is the stack's link endpoint. Frames go
// out on the goroutine that sends them, because a device never blocks. Frames come in
// on a goroutine of its own (receive.go); the device's queue lies between the
// two, so that two hosts on one cable never wait for each other's locks.
type link struct {
	dev   tap.Device
	cfg   Config
	place *atomic.Pointer[place]
	// dhcp gets the messages to a DHCP client, which no stack without an address takes; nil: nobody waits for any.
	dhcp atomic.Pointer[chan []byte]
	// arp gets the answers to a call of Interface.ARP; nil: nobody waits for any.
	arp atomic.Pointer[chan arpAnswer]
	log *slog.Logger
	mac atomic.Pointer[tcpip.LinkAddress]
	gso bool

	stack *stack.Stack
	mu    sync.RWMutex
	sink  stack.NetworkDispatcher

	// validated says that the sender of the frame that is handed over vouches
	// for its checksums. The stack asks for the link's capabilities once for
	// every frame it is given, and only the reader's goroutine gives it any.
	validated atomic.Bool

	notify    chan struct{}
	quit      chan struct{}
	done      chan struct{}
	delivered func() // called after frames were handed over

	trouble, down, conflict sync.Once // messages that are logged once
}

func newLink(dev tap.Device, cfg Config, at *atomic.Pointer[place], log *slog.Logger) *link {
	const needed = tap.FeatureChecksum | tap.FeatureTSO4
	l := &link{
		dev: dev, cfg: cfg, place: at, log: log,
		gso:       cfg.Offload && dev.Features()&needed == needed,
		notify:    make(chan struct{}, 1),
		quit:      make(chan struct{}),
		done:      make(chan struct{}),
		delivered: func() {},
	}
	l.SetLinkAddress(tcpip.LinkAddress(cfg.MAC[:]))
	return l
}

// A slot holds one outgoing frame. Slots are shared by all hosts, as a thousand
// quiet ones need none.
type slot struct {
	buf   [tap.SlotLen]byte
	frame [1]tap.Frame
}

var slots = sync.Pool{New: func() any { return new(slot) }}

// frameStart is where a slot's Ethernet frame begins.
const frameStart = tap.Headroom + tap.HeaderLen

// set says how long the slot's frame is, and returns its virtio-net header.
func (s *slot) set(n int) (vnet []byte) {
	s.frame[0] = tap.Frame{Buf: s.buf[:], Head: tap.Headroom, Tail: frameStart + n}
	return s.frame[0].Header()
}

// WritePackets implements stack.LinkWriter. A frame that the device does not
// take is lost without an error, as on any Ethernet.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	s := slots.Get().(*slot)
	for _, pkt := range pkts.AsSlice() {
		s.fill(pkt)
		l.send(s)
	}
	slots.Put(s)
	return pkts.Len(), nil
}

// send writes a slot's frame.
func (l *link) send(s *slot) {
	_, err := l.dev.Write(s.frame[:])
	if err == nil || errors.Is(err, tap.ErrFull) || errors.Is(err, os.ErrClosed) {
		return // a full queue is ordinary; a closed device is our own doing
	}
	l.trouble.Do(func() { l.log.Warn("frames are lost, logged once", "err", err) })
}

// fill copies a packet with its Ethernet header into the slot and writes the
// virtio-net header that describes it.
func (s *slot) fill(pkt *stack.PacketBuffer) {
	frame, n := s.buf[frameStart:], 0
	views, skip := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		b := v.AsSlice()
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		n += copy(frame[n:], b[skip:])
		skip = 0
	}
	describe(s.set(n), frame[:n], pkt.GSOOptions)
}

// describe writes a frame's virtio-net header. With offload, TCP leaves the
// pseudo-header's sum in the checksum field, as Linux does, and says so here.
func describe(vnet, frame []byte, gso stack.GSO) {
	clear(vnet)
	if gso.Type != stack.GSOTCPv4 || !gso.NeedsCsum {
		return
	}
	start := ethernetLen + int(gso.L3HdrLen)
	headers := start + int(header.TCP(frame[start:]).DataOffset())
	h := virtio.Header{Flags: virtio.NeedsChecksum, CsumStart: uint16(start), CsumOffset: gso.CsumOffset}
	if len(frame)-headers > int(gso.MSS) { // there is something to split
		h.GSOType, h.HdrLen, h.GSOSize = virtio.GSOTCPv4, uint16(headers), gso.MSS
	}
	h.Put(vnet)
}

// announce tells the network where the host is, with an ARP announcement (RFC
// 5227, section 2.3): a request for its own address. Switches learn its port,
// and a host that knows an older MAC for the address replaces it.
func (l *link) announce() {
	if !l.place.Load().address.IsValid() {
		return
	}
	own := l.place.Load().addr()
	l.askARP(own, own)
}

// askARP sends an ARP request for an address.
func (l *link) askARP(sender, target netip.Addr) {
	from, to := sender.As4(), target.As4()
	mac := l.LinkAddress()
	s := slots.Get().(*slot)
	defer slots.Put(s)
	frame := s.buf[frameStart : frameStart+ethernetLen+header.ARPSize]
	clear(frame)
	clear(s.set(len(frame)))
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: mac, DstAddr: header.EthernetBroadcastAddress, Type: header.ARPProtocolNumber,
	})
	arp := header.ARP(frame[ethernetLen:])
	arp.SetIPv4OverEthernet()
	arp.SetOp(header.ARPRequest)
	copy(arp.HardwareAddressSender(), mac)
	copy(arp.ProtocolAddressSender(), from[:])
	copy(arp.ProtocolAddressTarget(), to[:])
	l.send(s)
}

// SupportedGSO implements stack.GSOEndpoint.
func (l *link) SupportedGSO() stack.SupportedGSO {
	if l.gso {
		return stack.HostGSOSupported
	}
	return stack.GSONotSupported
}

// GSOMaxSize implements stack.GSOEndpoint.
func (l *link) GSOMaxSize() uint32 { return gsoMaxSize }

// Capabilities implements stack.NetworkLinkEndpoint. Checksum offload for
// sending is not among them: TCP's comes with GSO, and UDP's must be complete
// before a datagram is cut into fragments.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	if l.validated.Load() {
		return stack.CapabilityResolutionRequired | stack.CapabilityRXChecksumOffload
	}
	return stack.CapabilityResolutionRequired
}

// AddHeader implements stack.NetworkLinkEndpoint.
func (l *link) AddHeader(pkt *stack.PacketBuffer) {
	header.Ethernet(pkt.LinkHeader().Push(ethernetLen)).Encode(&header.EthernetFields{
		SrcAddr: l.LinkAddress(),
		DstAddr: pkt.EgressRoute.RemoteLinkAddress,
		Type:    pkt.NetworkProtocolNumber,
	})
}

// ParseHeader implements stack.NetworkLinkEndpoint.
func (l *link) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(ethernetLen)
	return ok
}

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(sink stack.NetworkDispatcher) {
	l.mu.Lock()
	l.sink = sink
	l.mu.Unlock()
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.sink != nil
}

// MTU implements stack.NetworkLinkEndpoint.
func (l *link) MTU() uint32 { return uint32(l.cfg.MTU) }

// SetMTU implements stack.NetworkLinkEndpoint. A host's MTU does not change.
func (l *link) SetMTU(uint32) {}

// MaxHeaderLength implements stack.NetworkLinkEndpoint.
func (l *link) MaxHeaderLength() uint16 { return ethernetLen }

// LinkAddress implements stack.NetworkLinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return *l.mac.Load() }

// SetLinkAddress implements stack.NetworkLinkEndpoint.
func (l *link) SetLinkAddress(mac tcpip.LinkAddress) { l.mac.Store(&mac) }

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// Wait implements stack.NetworkLinkEndpoint. The stack calls it under its lock,
// for which the reader may be waiting; Host.Close stops the reader before.
func (l *link) Wait() {}

// Close implements stack.NetworkLinkEndpoint; see Wait.
func (l *link) Close() {}

// SetOnCloseAction implements stack.NetworkLinkEndpoint; nothing uses it here.
func (l *link) SetOnCloseAction(func()) {}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)
