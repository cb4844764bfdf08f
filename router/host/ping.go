package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
)

const (
	// DefaultPingBytes is the payload of an echo whose options name none; ping's.
	DefaultPingBytes = 56
	// DefaultPingTimeout is how long an echo waits whose context has no
	// deadline; ping's.
	DefaultPingTimeout = 10 * time.Second

	defaultTTL   = 64
	maxPingBytes = 65535 - header.IPv4MinimumSize - header.ICMPv4MinimumSize
)

// PingOptions are the settings of an echo; the zero value is ping's default.
type PingOptions struct {
	// Bytes is the length of the payload: 0 means 56, a negative number none.
	Bytes int
	// TTL is the time to live, 0 means 64.
	TTL int
	// Seq is the sequence number.
	Seq int
	// ID is the identifier; a run of echoes shares one. 0 chooses one that no
	// other echo of the host has just now. An ID that one has is refused with
	// syscall.EADDRINUSE.
	ID uint16
	// From is the address that it comes from, one of the host's; the zero value chooses it.
	From netip.Addr
	// DontFragment sets the DF bit. A packet that is larger than the host's MTU
	// is then refused with syscall.EMSGSIZE.
	DontFragment bool
}

// A Reply is the answer to an echo.
type Reply struct {
	From  netip.Addr
	Bytes int           // of the ICMP message: payload and eight bytes of header
	ID    uint16        // the identifier, as the host sent it
	Seq   int           // the sequence number
	TTL   int           // as it arrived
	RTT   time.Duration // from sending to receiving
}

// String reads like a line of ping: "64 bytes from 10.10.10.2: icmp_seq=1 ttl=64
// time=0.213 ms".
func (r Reply) String() string {
	return fmt.Sprintf("%d bytes from %s: icmp_seq=%d ttl=%d time=%.3f ms", r.Bytes, r.From, r.Seq, r.TTL,
		milliseconds(r.RTT))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Ping sends one echo request and waits for its answer, until the context ends
// or, if that has no deadline, for DefaultPingTimeout. An ICMP error that
// answers it is returned as an [*ICMPError]; so is host unreachable, from the
// host itself, when the next hop does not answer ARP for three seconds.
func (h *Host) Ping(ctx context.Context, to netip.Addr) (Reply, error) {
	return h.PingWith(ctx, to, PingOptions{Seq: 1})
}

// PingWith is Ping with options.
func (h *Host) PingWith(ctx context.Context, to netip.Addr, opt PingOptions) (Reply, error) {
	reply, err := h.ping(ctx, to, opt)
	if err != nil {
		if e := (*ICMPError)(nil); errors.As(err, &e) {
			return Reply{}, err // it says where it comes from
		}
		return Reply{}, fmt.Errorf("host: %s: ping %s: %w", h.Name(), to, err)
	}
	return reply, nil
}

func (h *Host) ping(ctx context.Context, to netip.Addr, opt PingOptions) (Reply, error) {
	opt = opt.withDefaults()
	if err := h.checkPing(to, opt); err != nil {
		return Reply{}, err
	}
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, DefaultPingTimeout)
		defer cancel()
		ctx = limited
	}
	var echo *echoSocket
	answered := make(chan answer, 1)
	say := func(a answer) {
		select {
		case answered <- a:
		default: // the first one counts
		}
	}
	sent := time.Now()
	err := h.open(func() (err error) {
		if echo, err = h.newEcho(opt); err != nil {
			return err
		}
		err = h.await(echo.query(), func(p packet) {
			if a, ok := p.answers(to, echo.id, opt, sent); ok {
				say(a)
			}
		})
		if err != nil {
			echo.close()
		}
		return err
	})
	if err != nil {
		return Reply{}, err
	}
	defer echo.close() // after it is forgotten, as the identifier is free then
	defer h.forget(echo.query())
	if err := echo.send(to, opt.Seq, pattern(opt.Bytes)); err != nil {
		return Reply{}, err
	}
	h.askNeighbor(to, func(err error) {
		if err != nil {
			say(answer{err: err})
		}
	})
	select {
	case a := <-answered:
		if a.err != nil {
			return Reply{}, h.orClosed(a.err)
		}
		return a.reply, nil
	case <-ctx.Done():
		return Reply{}, h.orClosed(context.Cause(ctx))
	case <-h.done:
		return Reply{}, net.ErrClosed
	}
}

func (o PingOptions) withDefaults() PingOptions {
	if o.Bytes == 0 {
		o.Bytes = DefaultPingBytes
	}
	o.Bytes = max(o.Bytes, 0)
	if o.TTL == 0 {
		o.TTL = defaultTTL
	}
	return o
}

// checkPing refuses what cannot be sent.
func (h *Host) checkPing(to netip.Addr, opt PingOptions) error {
	size := opt.Bytes + header.IPv4MinimumSize + header.ICMPv4MinimumSize
	switch {
	case !to.Is4():
		return fmt.Errorf("%q is not an IPv4 address", to)
	case opt.From.IsValid() && !opt.From.Is4():
		return fmt.Errorf("%q is not an IPv4 address", opt.From)
	case opt.TTL < 1 || opt.TTL > 255:
		return fmt.Errorf("TTL %d is not in 1-255", opt.TTL)
	case opt.Seq < 0 || opt.Seq > 0xffff:
		return fmt.Errorf("sequence number %d is not in 0-65535", opt.Seq)
	case opt.Bytes > maxPingBytes:
		return fmt.Errorf("%d bytes of payload, at most %d fit: %w", opt.Bytes, maxPingBytes, syscall.EMSGSIZE)
	case opt.DontFragment && size > h.cfg.MTU:
		return fmt.Errorf("a packet of %d bytes does not fit the MTU %d, and may not be fragmented: %w", size,
			h.cfg.MTU, syscall.EMSGSIZE)
	}
	if _, ok := h.nextHop(to); !ok {
		return callError("connect", syscall.ENETUNREACH)
	}
	return nil
}

// pattern returns n bytes of payload that show where one was lost.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// An answer is what an echo came to.
type answer struct {
	reply Reply
	err   error
}

// answers returns what a packet says about an echo, or false for nothing.
func (p packet) answers(to netip.Addr, id uint16, opt PingOptions, sent time.Time) (answer, bool) {
	if q, e, ok := p.quoted(); ok {
		return answer{err: e}, q.dst == to && isEcho(q, header.ICMPv4Echo, id, opt.Seq)
	}
	if !isEcho(p, header.ICMPv4EchoReply, id, opt.Seq) {
		return answer{}, false
	}
	rtt := time.Since(sent)
	if !bytes.Equal(p.body[header.ICMPv4MinimumSize:], pattern(opt.Bytes)) {
		return answer{err: fmt.Errorf("the reply from %s does not hold the data that was sent", p.src)}, true
	}
	return answer{reply: Reply{From: p.src, Bytes: len(p.body), ID: id, Seq: opt.Seq, TTL: p.ttl, RTT: rtt}}, true
}

// isEcho says whether a packet is an echo request or reply of ours.
func isEcho(p packet, kind header.ICMPv4Type, id uint16, seq int) bool {
	h := header.ICMPv4(p.body)
	return p.proto == protoICMP && len(h) >= header.ICMPv4MinimumSize &&
		h.Type() == kind && h.Code() == 0 && h.Ident() == id && int(h.Sequence()) == seq
}

// An echoSocket sends echo requests with one identifier, which is its own as
// long as it is open.
type echoSocket struct {
	*socket
	id uint16
}

// query names what answers the socket's echoes.
func (s *echoSocket) query() query { return query{protoICMP, s.id} }

// newEcho makes an echo socket; the caller holds Host.open.
func (h *Host) newEcho(opt PingOptions) (*echoSocket, error) {
	s, err := h.newSocket("ip4:icmp", icmp.ProtocolNumber4)
	if err != nil {
		return nil, err
	}
	if err := s.setupEcho(opt); err != nil {
		s.ep.Close()
		return nil, err
	}
	// The stack keeps identifiers where other protocols have ports.
	return &echoSocket{s, s.local().Port()}, nil
}

func (s *socket) setupEcho(opt PingOptions) error {
	df := tcpip.PMTUDiscoveryDont
	if opt.DontFragment {
		df = tcpip.PMTUDiscoveryDo
	}
	if err := s.setInt(tcpip.MTUDiscoverOption, int(df)); err != nil {
		return err
	}
	if err := s.setInt(tcpip.IPv4TTLOption, opt.TTL); err != nil {
		return err
	}
	s.ep.SocketOptions().SetBroadcast(true)
	at := tcpip.FullAddress{Port: opt.ID}
	if opt.From.IsValid() {
		at.Addr = fromAddr(opt.From)
	}
	return callError("bind", errno(s.ep.Bind(at)))
}

// send sends one echo request; the stack writes identifier and checksum.
func (s *echoSocket) send(to netip.Addr, seq int, payload []byte) error {
	b := make([]byte, header.ICMPv4MinimumSize+len(payload))
	b[0] = byte(header.ICMPv4Echo)
	binary.BigEndian.PutUint16(b[6:], uint16(seq))
	copy(b[header.ICMPv4MinimumSize:], payload)
	_, err := s.ep.Write(bytes.NewReader(b), tcpip.WriteOptions{To: &tcpip.FullAddress{Addr: fromAddr(to)}})
	s.host.kick()
	return callError("sendto", errno(err))
}

func (s *echoSocket) close() {
	_ = s.Close() // it fails only when closed already
}
