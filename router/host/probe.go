package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/waiter"
)

// ProbeUDP sends one datagram, from a port of its own, and waits for what answers
// it: nil for a datagram from that address and port, or an [*ICMPError]. Unlike a
// connected socket it learns of every ICMP error, and, as Ping does, of a next
// hop that does not answer ARP. It ends with the context: silence is all that a
// service may have to say.
func (h *Host) ProbeUDP(ctx context.Context, to netip.AddrPort, payload []byte) error {
	err := h.probeUDP(ctx, to, payload)
	if e := (*ICMPError)(nil); err == nil || errors.As(err, &e) {
		return err // it says where it comes from
	}
	return fmt.Errorf("host: %s: probe %s: %w", h.Name(), to, err)
}

func (h *Host) probeUDP(ctx context.Context, to netip.AddrPort, payload []byte) error {
	if !to.Addr().Is4() {
		return fmt.Errorf("%q is not an IPv4 address", to.Addr())
	}
	// Unconnected, so that port unreachable comes the same way as the others.
	c, err := h.listenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	if err != nil {
		return err
	}
	defer c.Close()
	s := c.(*udpConn).socket
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default: // the first one counts
		}
	}
	q := query{protoUDP, s.local().Port()}
	err = h.open(func() error {
		return h.await(q, func(p packet) {
			if quoted, e, ok := p.quoted(); ok && quoted.dst == to.Addr() &&
				header.UDP(quoted.body).DestinationPort() == to.Port() {
				fail(e)
			}
		})
	})
	if err != nil {
		return err
	}
	defer h.forget(q)
	full := fullAddress(to)
	if _, err := s.ep.Write(bytes.NewReader(payload), tcpip.WriteOptions{To: &full}); err != nil {
		return callError("sendto", s.translate(err))
	}
	h.askNeighbor(to.Addr(), func(err error) {
		if err != nil {
			fail(err)
		}
	})
	return s.answered(ctx, to, failed)
}

// answered waits for a datagram from an address, or for an error.
func (s *socket) answered(ctx context.Context, from netip.AddrPort, failed <-chan error) error {
	entry, woken := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventErr | waiter.EventHUp)
	s.queue.EventRegister(&entry)
	defer s.queue.EventUnregister(&entry)
	for {
		res, err := s.ep.Read(io.Discard, tcpip.ReadOptions{NeedRemoteAddr: true})
		switch {
		case err == nil && toAddrPort(res.RemoteAddr) == from:
			return nil
		case err == nil:
			continue // a stranger's
		case !wouldBlock(err):
			return callError("recvfrom", s.translate(err))
		}
		s.host.kick()
		select {
		case <-woken:
		case err := <-failed:
			return s.host.orClosed(err)
		case <-ctx.Done():
			return s.host.orClosed(context.Cause(ctx))
		case <-s.host.done:
			return net.ErrClosed
		}
	}
}
