package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/waiter"
)

// The types and codes of ICMP that are told apart here (RFC 792).
const (
	typeEchoReply    = 0
	typeUnreachable  = 3
	typeQuench       = 4
	typeTimeExceeded = 11
	typeParameter    = 12

	codeHost       = 1
	codePort       = 3
	codeFragNeeded = 4

	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// An ICMPError is an ICMP error message that answered a packet of this host, or
// the host's own finding that a neighbor does not answer ARP: then From is the
// host itself, as in Linux.
type ICMPError struct {
	From netip.Addr
	Type uint8
	Code uint8
	// MTU is the next hop's, in bytes, for "fragmentation needed" (RFC 1191),
	// else 0.
	MTU int
}

// Error reads like a line of ping: "From 10.10.10.2: Time to live exceeded".
func (e *ICMPError) Error() string {
	return fmt.Sprintf("From %s: %s", e.From, e.Reason())
}

var unreachableTexts = [...]string{
	"Destination Net Unreachable",
	"Destination Host Unreachable",
	"Destination Protocol Unreachable",
	"Destination Port Unreachable",
	"Frag needed and DF set",
	"Source Route Failed",
	"Destination Net Unknown",
	"Destination Host Unknown",
	"Source Host Isolated",
	"Destination Net Prohibited",
	"Destination Host Prohibited",
	"Destination Net Unreachable for Type of Service",
	"Destination Host Unreachable for Type of Service",
	"Packet filtered",
	"Precedence Violation",
	"Precedence Cutoff",
}

// Reason is the message in ping's words, such as "Destination Host Unreachable".
func (e *ICMPError) Reason() string {
	switch {
	case e.Type == typeUnreachable && e.Code == codeFragNeeded:
		return fmt.Sprintf("%s (mtu = %d)", unreachableTexts[e.Code], e.MTU)
	case e.Type == typeUnreachable && int(e.Code) < len(unreachableTexts):
		return unreachableTexts[e.Code]
	case e.Type == typeTimeExceeded && e.Code == 0:
		return "Time to live exceeded"
	case e.Type == typeTimeExceeded && e.Code == 1:
		return "Frag reassembly time exceeded"
	case e.Type == typeParameter:
		return "Parameter problem"
	case e.Type == typeQuench:
		return "Source Quench"
	}
	return fmt.Sprintf("ICMP type %d code %d", e.Type, e.Code)
}

// A packet is an IPv4 packet as a raw endpoint delivers it: complete, its
// addresses and lengths checked by the stack.
type packet struct {
	src, dst netip.Addr
	ttl      int
	proto    uint8
	body     []byte // the bytes behind the IP header
}

// parsePacket reads an IPv4 packet, or the part of one that an ICMP error
// quotes. The body is a part of b.
func parsePacket(b []byte) (packet, bool) {
	if len(b) < header.IPv4MinimumSize || b[0]>>4 != 4 {
		return packet{}, false
	}
	h := header.IPv4(b)
	n := int(h.HeaderLength())
	if n < header.IPv4MinimumSize || n > len(b) {
		return packet{}, false
	}
	return packet{
		src: toAddr(h.SourceAddress()), dst: toAddr(h.DestinationAddress()),
		ttl: int(h.TTL()), proto: h.Protocol(), body: b[n:],
	}, true
}

// quoted returns the packet that an ICMP error answers and the error itself. At
// least eight bytes follow the quoted IP header (RFC 792).
func (p packet) quoted() (packet, *ICMPError, bool) {
	if p.proto != protoICMP || len(p.body) < header.ICMPv4MinimumSize {
		return packet{}, nil, false
	}
	e := &ICMPError{From: p.src, Type: p.body[0], Code: p.body[1]}
	switch e.Type {
	case typeUnreachable, typeQuench, typeTimeExceeded, typeParameter:
	default: // a redirect is advice and no error; the rest are no errors either
		return packet{}, nil, false
	}
	if e.Type == typeUnreachable && e.Code == codeFragNeeded {
		e.MTU = int(binary.BigEndian.Uint16(p.body[6:]))
	}
	q, ok := parsePacket(p.body[header.ICMPv4MinimumSize:])
	return q, e, ok && len(q.body) >= 8
}

// A sniffer sees every packet of some protocols that arrives for the host; the stack's
// own endpoints get the packet, too. It is how ICMP errors are seen, which the stack
// passes on to TCP and UDP only.
type sniffer struct {
	host  *Host
	eps   []tcpip.Endpoint
	queue waiter.Queue // one for all endpoints
	entry waiter.Entry
	woken chan struct{}
	buf   bytes.Buffer
}

// sniffBuffer bounds the packets that wait for a sniffer, in bytes.
const sniffBuffer = 1 << 20

// sniff starts a sniffer; the caller holds Host.open.
func (h *Host) sniff(protos ...tcpip.TransportProtocolNumber) (*sniffer, error) {
	s := &sniffer{host: h}
	for _, proto := range protos {
		ep, err := h.stack.NewRawEndpoint(proto, ipv4.ProtocolNumber, &s.queue, true)
		if err != nil {
			s.close()
			return nil, callError("socket", errno(err))
		}
		ep.SocketOptions().SetReceiveBufferSize(sniffBuffer, false)
		s.eps = append(s.eps, ep)
	}
	s.entry, s.woken = waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp)
	s.queue.EventRegister(&s.entry)
	return s, nil
}

func (s *sniffer) close() {
	for _, ep := range s.eps {
		ep.Close()
	}
}

// next waits for a packet, which is valid until the call after. It ends with the
// context's cause.
func (s *sniffer) next(ctx context.Context) (packet, error) {
	for {
		if p, ok := s.poll(); ok {
			return p, nil
		}
		s.host.kick()
		select {
		case <-s.woken:
		case <-ctx.Done():
			return packet{}, s.host.orClosed(context.Cause(ctx))
		case <-s.host.done:
			return packet{}, net.ErrClosed
		}
	}
}

// poll returns a packet that waits already.
func (s *sniffer) poll() (packet, bool) {
	for _, ep := range s.eps {
		for {
			s.buf.Reset()
			if _, err := ep.Read(&s.buf, tcpip.ReadOptions{}); err != nil {
				break // none here
			}
			if p, ok := parsePacket(s.buf.Bytes()); ok {
				return p, true
			}
		}
	}
	return packet{}, false
}

// orClosed returns net.ErrClosed on a closed host, else the error. An error that a call gets
// because its host is being closed would tell the caller nothing.
func (h *Host) orClosed(err error) error {
	select {
	case <-h.done:
		return net.ErrClosed
	default:
		return err
	}
}

// askNeighbor has the next hop to an address answer ARP, unless it is known, and
// says what came of it: nil, or host unreachable from this host. The stack would
// drop the packets that wait for the answer, and of an echo it would not tell. The
// function is called once, on any goroutine, and must not block.
func (h *Host) askNeighbor(to netip.Addr, found func(error)) {
	hop, ok := h.nextHop(to)
	if !ok || h.isSelf(to) || to.IsMulticast() || to == limitedBroadcast ||
		to == broadcast(h.place.Load().address.Masked()) {
		found(nil) // no neighbor is asked for these
		return
	}
	unreachable := &ICMPError{From: h.Address(), Type: typeUnreachable, Code: codeHost}
	err := h.open(func() error {
		err := h.stack.GetLinkAddress(nicID, fromAddr(hop), fromAddr(h.Address()), ipv4.ProtocolNumber,
			func(r stack.LinkResolutionResult) {
				if r.Err != nil {
					found(unreachable)
				} else {
					found(nil)
				}
			})
		if wouldBlock(err) {
			return nil // it will be said later
		}
		return errno(err)
	})
	if err != nil {
		found(err)
	}
}
