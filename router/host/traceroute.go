package host

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A TracerouteMode is the kind of packet that a traceroute sends.
type TracerouteMode int

// The modes of Traceroute.
const (
	// TracerouteUDP sends datagrams to ports that are usually unused, from 33434 on.
	TracerouteUDP TracerouteMode = iota
	// TracerouteICMP sends echo requests, as traceroute -I.
	TracerouteICMP
	// TracerouteTCP sends SYN to one port, as traceroute -T, and never opens a
	// connection: an answer gets a RST.
	TracerouteTCP
)

// TracerouteOptions are the settings of Traceroute; the zero value sends UDP, up
// to 30 hops, with two attempts of a second each.
type TracerouteOptions struct {
	Mode     TracerouteMode
	FirstTTL int           // where to begin, 0: 1
	MaxHops  int           // where to give up, 0: 30
	Tries    int           // probes sent per hop until one is answered, 0: 2
	Wait     time.Duration // for the answer to one probe, 0: 1s
	Port     int           // 0: 33434 for UDP, which counts up from it; 80 for TCP
	Progress func(Hop)     // called with each hop when it is known, on the caller's goroutine; may be nil
}

// A Hop is one line of a traceroute.
type Hop struct {
	TTL  int
	From netip.Addr    // the sender of the answer; the zero Addr if there was none
	RTT  time.Duration // from sending to receiving
}

// String reads like a line of traceroute: " 1  172.16.101.1  0.213 ms".
func (h Hop) String() string {
	if !h.From.IsValid() {
		return fmt.Sprintf("%2d  *", h.TTL)
	}
	return fmt.Sprintf("%2d  %s  %.3f ms", h.TTL, h.From, milliseconds(h.RTT))
}

// Traceroute finds the routers on the way to an address: it sends packets with
// growing TTL until the destination answers or MaxHops is reached, one at a
// time. An ICMP error that ends the way earlier is returned as an [*ICMPError]
// beside the hops, the last of which is its sender.
func (h *Host) Traceroute(ctx context.Context, to netip.Addr, opt TracerouteOptions) ([]Hop, error) {
	hops, err := h.traceroute(ctx, to, opt.withDefaults())
	if err != nil {
		if e := (*ICMPError)(nil); errors.As(err, &e) {
			return hops, err // it says where it comes from
		}
		return hops, fmt.Errorf("host: %s: traceroute %s: %w", h.Name(), to, err)
	}
	return hops, nil
}

func (o TracerouteOptions) withDefaults() TracerouteOptions {
	if o.FirstTTL == 0 {
		o.FirstTTL = 1
	}
	if o.MaxHops == 0 {
		o.MaxHops = 30
	}
	if o.Tries == 0 {
		o.Tries = 2
	}
	if o.Wait == 0 {
		o.Wait = time.Second
	}
	if o.Progress == nil {
		o.Progress = func(Hop) {}
	}
	if o.Port == 0 {
		o.Port = 33434
		if o.Mode == TracerouteTCP {
			o.Port = 80
		}
	}
	return o
}

// check refuses what cannot be sent. A UDP traceroute may count its ports up
// for every probe.
func (o TracerouteOptions) check() error {
	if o.FirstTTL < 1 || o.MaxHops < o.FirstTTL || o.MaxHops > 255 {
		return fmt.Errorf("hops %d to %d are not within 1-255", o.FirstTTL, o.MaxHops)
	}
	last := o.Port
	if o.Mode == TracerouteUDP {
		last += (o.MaxHops-o.FirstTTL+1)*o.Tries - 1
	}
	if o.Port < 1 || o.Tries < 1 || last > 0xffff {
		return fmt.Errorf("ports %d to %d are not within 1-65535", o.Port, last)
	}
	return nil
}

func (h *Host) traceroute(ctx context.Context, to netip.Addr, opt TracerouteOptions) ([]Hop, error) {
	if err := h.checkBubble(); err != nil {
		return nil, err
	}
	if err := h.checkPing(to, PingOptions{TTL: defaultTTL}); err != nil {
		return nil, err
	}
	if err := opt.check(); err != nil {
		return nil, err
	}
	if err := h.findNeighbor(ctx, to); err != nil {
		if e := (*ICMPError)(nil); errors.As(err, &e) {
			hop := Hop{TTL: opt.FirstTTL, From: e.From}
			opt.Progress(hop)
			return []Hop{hop}, err
		}
		return nil, err
	}
	t := &tracer{host: h, to: to, opt: opt}
	if err := h.open(t.open); err != nil {
		return nil, err
	}
	defer t.seen.close()
	defer t.probe.close()
	var hops []Hop
	for ttl := opt.FirstTTL; ttl <= opt.MaxHops; ttl++ {
		hop, last, err := t.hop(ctx, ttl)
		if hop.TTL != 0 {
			hops = append(hops, hop)
			opt.Progress(hop)
		}
		if err != nil || last {
			return hops, err
		}
	}
	return hops, nil
}

// findNeighbor waits until the next hop to an address has answered ARP, so that
// the first hop's time is the network's.
func (h *Host) findNeighbor(ctx context.Context, to netip.Addr) error {
	answered := make(chan error, 1)
	h.askNeighbor(to, func(err error) { answered <- err })
	select {
	case err := <-answered:
		if err != nil {
			err = h.orClosed(err)
		}
		return err
	case <-ctx.Done():
		return h.orClosed(context.Cause(ctx))
	case <-h.done:
		return net.ErrClosed
	}
}

// A tracer is one run of Traceroute.
type tracer struct {
	host  *Host
	to    netip.Addr
	opt   TracerouteOptions
	seen  *sniffer
	probe prober
}

// A prober sends the packets of one mode and knows them again.
type prober interface {
	// send sends the next packet.
	send(ttl int) error
	// owns says whether an ICMP error quotes the packet sent last.
	owns(quoted packet) bool
	// answers says whether a packet is the destination's own answer to it.
	answers(p packet) bool
	close()
}

// open makes the endpoints; the caller holds Host.open.
func (t *tracer) open() (err error) {
	protos := []tcpip.TransportProtocolNumber{icmp.ProtocolNumber4}
	if t.opt.Mode == TracerouteTCP {
		protos = append(protos, tcp.ProtocolNumber)
	}
	if t.seen, err = t.host.sniff(protos...); err != nil {
		return err
	}
	switch t.opt.Mode {
	case TracerouteUDP:
		t.probe, err = t.host.newUDPProbe(t.to, t.opt.Port)
	case TracerouteICMP:
		t.probe, err = t.host.newEchoProbe(t.to)
	case TracerouteTCP:
		t.probe, err = t.host.newTCPProbe(t.to, t.opt.Port)
	default:
		err = fmt.Errorf("traceroute mode %d does not exist", t.opt.Mode)
	}
	if err != nil {
		t.seen.close()
	}
	return err
}

// hop probes one hop, and says whether it is the last.
func (t *tracer) hop(ctx context.Context, ttl int) (Hop, bool, error) {
	for range t.opt.Tries {
		sent := time.Now()
		if err := t.probe.send(ttl); err != nil {
			return Hop{}, false, err
		}
		from, last, err := t.answer(ctx)
		switch e := (*ICMPError)(nil); {
		case errors.As(err, &e):
			return Hop{TTL: ttl, From: e.From, RTT: time.Since(sent)}, true, err
		case err != nil:
			return Hop{}, false, err
		case from.IsValid():
			return Hop{TTL: ttl, From: from, RTT: time.Since(sent)}, last, nil
		}
	}
	return Hop{TTL: ttl}, false, nil
}

// answer waits for an answer to the packet sent last. There may be none.
func (t *tracer) answer(ctx context.Context) (from netip.Addr, last bool, err error) {
	wait, cancel := context.WithTimeout(ctx, t.opt.Wait)
	defer cancel()
	for {
		p, err := t.seen.next(wait)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return netip.Addr{}, false, context.Cause(ctx)
		case wait.Err() != nil:
			return netip.Addr{}, false, nil
		default:
			return netip.Addr{}, false, err
		}
		if t.probe.answers(p) {
			return p.src, true, nil
		}
		q, e, ok := p.quoted()
		if !ok || q.dst != t.to || !t.probe.owns(q) {
			continue
		}
		switch {
		case e.Type == typeTimeExceeded:
			return e.From, false, nil
		case e.Type == typeUnreachable && (e.Code == codePort || e.From == t.to):
			return e.From, true, nil
		}
		return e.From, true, e
	}
}

// A udpProbe counts the destination port up, so that each answer tells which
// datagram it is for.
type udpProbe struct {
	*socket
	to   netip.Addr
	port uint16 // of the next datagram
}

func (h *Host) newUDPProbe(to netip.Addr, port int) (prober, error) {
	s, err := h.newSocket("udp", udp.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	if err = s.allowFragments(); err == nil {
		err = callError("bind", errno(s.ep.Bind(tcpip.FullAddress{})))
	}
	if err != nil {
		s.ep.Close()
		return nil, err
	}
	return &udpProbe{s, to, uint16(port)}, nil
}

func (p *udpProbe) send(ttl int) error {
	if err := p.setInt(tcpip.IPv4TTLOption, ttl); err != nil {
		return err
	}
	to := fullAddress(netip.AddrPortFrom(p.to, p.port))
	p.port++
	_, err := p.ep.Write(bytes.NewReader(pattern(32)), tcpip.WriteOptions{To: &to})
	p.host.kick()
	return callError("sendto", errno(err))
}

func (p *udpProbe) owns(q packet) bool {
	h := header.UDP(q.body)
	return q.proto == protoUDP && h.SourcePort() == p.local().Port() && h.DestinationPort() == p.port-1
}

func (p *udpProbe) answers(packet) bool { return false }

func (p *udpProbe) close() { _ = p.Close() }

// An echoProbe counts the sequence number up.
type echoProbe struct {
	*echoSocket
	to  netip.Addr
	seq int // of the echo sent last
}

func (h *Host) newEchoProbe(to netip.Addr) (prober, error) {
	echo, err := h.newEcho(PingOptions{}.withDefaults())
	if err != nil {
		return nil, err
	}
	return &echoProbe{echoSocket: echo, to: to}, nil
}

func (p *echoProbe) send(ttl int) error {
	if err := p.setInt(tcpip.IPv4TTLOption, ttl); err != nil {
		return err
	}
	p.seq++
	return p.echoSocket.send(p.to, p.seq, pattern(32))
}

func (p *echoProbe) owns(q packet) bool { return isEcho(q, header.ICMPv4Echo, p.id, p.seq) }

func (p *echoProbe) answers(a packet) bool { return isEcho(a, header.ICMPv4EchoReply, p.id, p.seq) }

// A tcpProbe sends each SYN from a port and with a sequence number of its own.
// The ports are held by endpoints that never connect. So the stack answers a SYN-ACK
// with a RST, and gives the ports to no other socket.
type tcpProbe struct {
	host  *Host
	to    netip.AddrPort
	raw   tcpip.Endpoint
	held  []tcpip.Endpoint
	local netip.AddrPort
	seq   uint32
}

func (h *Host) newTCPProbe(to netip.Addr, port int) (prober, error) {
	ep, err := h.stack.NewRawEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, new(waiter.Queue), true)
	if err != nil {
		return nil, callError("socket", errno(err))
	}
	return &tcpProbe{host: h, to: netip.AddrPortFrom(to, uint16(port)), raw: ep}, nil
}

func (p *tcpProbe) send(ttl int) error {
	if err := p.host.open(p.holdPort); err != nil {
		return err
	}
	p.seq = rand.Uint32()
	if err := p.raw.SetSockOptInt(tcpip.IPv4TTLOption, ttl); err != nil {
		return errno(err)
	}
	to := tcpip.FullAddress{Addr: fromAddr(p.to.Addr())}
	_, err := p.raw.Write(bytes.NewReader(p.syn()), tcpip.WriteOptions{To: &to})
	return callError("sendto", errno(err))
}

// holdPort takes a free port for the next SYN.
func (p *tcpProbe) holdPort() error {
	var queue waiter.Queue
	ep, err := p.host.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &queue)
	if err != nil {
		return callError("socket", errno(err))
	}
	p.held = append(p.held, ep)
	if err := ep.Bind(tcpip.FullAddress{}); err != nil {
		return callError("bind", errno(err))
	}
	at, err := ep.GetLocalAddress()
	if err != nil {
		return callError("getsockname", errno(err))
	}
	p.local = netip.AddrPortFrom(p.host.sourceFor(p.to.Addr()), at.Port)
	return nil
}

// syn returns the segment, with its checksum.
func (p *tcpProbe) syn() []byte {
	h := header.TCP(make([]byte, header.TCPMinimumSize))
	h.Encode(&header.TCPFields{
		SrcPort: p.local.Port(), DstPort: p.to.Port(), SeqNum: p.seq,
		DataOffset: header.TCPMinimumSize, Flags: header.TCPFlagSyn, WindowSize: 5840,
	})
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, fromAddr(p.local.Addr()), fromAddr(p.to.Addr()),
		uint16(len(h)))
	h.SetChecksum(^checksum.Checksum(h, sum))
	return h
}

func (p *tcpProbe) owns(q packet) bool {
	return q.proto == protoTCP && binary.BigEndian.Uint16(q.body) == p.local.Port() &&
		binary.BigEndian.Uint32(q.body[4:]) == p.seq
}

func (p *tcpProbe) answers(a packet) bool {
	h := header.TCP(a.body)
	return a.proto == protoTCP && len(h) >= header.TCPMinimumSize && a.src == p.to.Addr() &&
		h.SourcePort() == p.to.Port() && h.DestinationPort() == p.local.Port() && h.AckNumber() == p.seq+1
}

func (p *tcpProbe) close() {
	p.raw.Close()
	for _, ep := range p.held {
		ep.Close()
	}
}
