package host

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// batchLen is how many frames are read at once. A read is bounded by bytes as
// well (tap.BatchBytes), so more would only pay for the shortest frames.
const batchLen = 16

// A batch holds the frames of one read. All hosts share the batches: a host holds one only
// while it receives.
type batch struct {
	frames [batchLen]tap.Frame
}

var batches = sync.Pool{New: func() any {
	b := new(batch)
	for i := range b.frames {
		b.frames[i].Buf = make([]byte, tap.SlotLen)
	}
	return b
}}

// start begins to receive, and announces the host.
func (l *link) start(s *stack.Stack) {
	l.stack = s
	l.dev.Notify(func() {
		select {
		case l.notify <- struct{}{}:
		default: // the reader has not seen the last one yet
		}
	})
	l.announce()
	go l.run()
}

// stop ends the reader and waits for it.
func (l *link) stop() {
	close(l.quit)
	<-l.done
}

// downInterval is the time between two looks at a device that is down.
const downInterval = 100 * time.Millisecond

// run reads until the link stops or the device ends.
func (l *link) run() {
	defer close(l.done)
	for {
		err := l.drain()
		var again <-chan time.Time
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, tap.ErrGone):
			l.log.Info("the host's network is gone", "err", err)
			return
		case err != nil:
			// There may be no notification when the device can be read again.
			l.down.Do(func() { l.log.Warn("the device cannot be read, trying on, logged once", "err", err) })
			again = time.After(downInterval)
		}
		select {
		case <-l.notify:
		case <-again:
		case <-l.quit:
			return
		}
	}
}

// drain reads until nothing waits, as the device's notification is
// edge-triggered.
func (l *link) drain() error {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for {
		n, err := l.dev.Read(b.frames[:])
		for i := range n {
			l.receive(&b.frames[i])
		}
		if n > 0 {
			l.delivered()
		}
		if n == 0 || err != nil {
			return err
		}
		select {
		case <-l.quit:
			return os.ErrClosed
		default:
		}
	}
}

// receive hands one frame to the stack, if it is for this host.
func (l *link) receive(f *tap.Frame) {
	frame := f.Ethernet()
	if len(frame) < ethernetLen {
		return
	}
	kind, ok := l.accepts(frame)
	if !ok {
		return
	}
	if l.takesDHCP(frame) {
		return
	}
	proto := header.Ethernet(frame).Type()
	var h virtio.Header
	h.Parse(f.Header())
	valid := h.Flags&(virtio.NeedsChecksum|virtio.DataValid) != 0
	switch {
	case proto == header.ARPProtocolNumber:
		l.learn(frame[ethernetLen:])
	case proto == header.IPv4ProtocolNumber && h.GSOType&^virtio.GSOECN == virtio.GSOUDP:
		splitUDP(frame[ethernetLen:], int(h.GSOSize), func(datagram []byte) {
			l.deliver(proto, kind, datagram, true)
		})
		return
	}
	l.deliver(proto, kind, frame[ethernetLen:], valid)
}

// accepts says whether a frame is for this host, and how it is addressed.
// Networks may flood, so frames for others are ordinary.
func (l *link) accepts(frame []byte) (tcpip.PacketType, bool) {
	eth := header.Ethernet(frame)
	dst := eth.DestinationAddress()
	switch {
	case dst == l.LinkAddress():
		return tcpip.PacketHost, true
	case eth.SourceAddress() == l.LinkAddress():
		return 0, false // our own frame, come back over a loop
	case dst == header.EthernetBroadcastAddress:
		return tcpip.PacketBroadcast, true
	case header.IsMulticastEthernetAddress(dst):
		return tcpip.PacketMulticast, true
	}
	return 0, false
}

// deliver hands an IP or ARP packet to the stack, which gets its own copy.
func (l *link) deliver(proto tcpip.NetworkProtocolNumber, kind tcpip.PacketType, b []byte, valid bool) {
	l.mu.RLock()
	sink := l.sink
	l.mu.RUnlock()
	if sink == nil {
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	defer pkt.DecRef()
	pkt.PktType = kind
	l.validated.Store(valid)
	sink.DeliverNetworkPacket(proto, pkt)
}

// learn looks at an ARP packet for what the stack does not do with it: RFC 826
// has every ARP packet replace the MAC of a neighbor that is known already,
// whomever it asks for. Floating IPs and gateways move between MAC addresses
// by such announcements. The old pair is forgotten here; the next packet asks.
func (l *link) learn(b []byte) {
	arp := header.ARP(b)
	if !arp.IsValid() {
		return
	}
	ip := tcpip.AddrFrom4Slice(arp.ProtocolAddressSender())
	mac := arp.HardwareAddressSender()
	l.tellARP(arp)
	if own := toAddr(ip); l.place.Load().has(own) && !bytes.Equal(mac, []byte(l.LinkAddress())) {
		l.conflict.Do(func() {
			l.log.Warn("another machine uses the host's address, logged once", "address", own, "mac",
				net.HardwareAddr(mac).String())
		})
		return
	}
	known, err := l.stack.Neighbors(nicID, header.IPv4ProtocolNumber)
	if err != nil {
		return
	}
	for _, n := range known {
		if n.Addr == ip && len(n.LinkAddr) > 0 && string(n.LinkAddr) != string(mac) {
			// It fails only if the entry has just expired, which is as good.
			_ = l.stack.RemoveNeighbor(nicID, header.IPv4ProtocolNumber, ip)
		}
	}
}

// splitUDP cuts a UDP super-frame into its datagrams of size bytes of payload
// each, the last one shorter: each arrives on its own, as a receiver expects.
// The packets are handed out one by one and are overwritten afterwards.
func splitUDP(ip []byte, size int, each func([]byte)) {
	h := header.IPv4(ip)
	if size <= 0 || len(ip) < header.IPv4MinimumSize || !h.IsValid(len(ip)) ||
		h.TransportProtocol() != header.UDPProtocolNumber {
		return
	}
	ip = ip[:h.TotalLength()] // without the frame's padding
	headers := int(h.HeaderLength()) + header.UDPMinimumSize
	if len(ip) < headers {
		return
	}
	payload, id := ip[headers:], h.ID()
	piece := make([]byte, headers+min(size, len(payload)))
	for i := uint16(0); ; i++ {
		n := min(size, len(payload))
		copy(piece, ip[:headers])
		copy(piece[headers:], payload[:n])
		payload = payload[n:]
		finishUDP(piece[:headers+n], id+i)
		each(piece[:headers+n])
		if len(payload) == 0 {
			return
		}
	}
}

// finishUDP sets lengths, identification and checksums of one datagram.
func finishUDP(packet []byte, id uint16) {
	ip := header.IPv4(packet)
	ip.SetTotalLength(uint16(len(packet)))
	ip.SetID(id)
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	udp := header.UDP(packet[ip.HeaderLength():])
	udp.SetLength(uint16(len(udp)))
	udp.SetChecksum(0)
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(),
		uint16(len(udp)))
	sum = ^checksum.Checksum(udp, sum)
	if sum == 0 {
		sum = 0xffff // zero would say that there is none (RFC 768)
	}
	udp.SetChecksum(sum)
}
