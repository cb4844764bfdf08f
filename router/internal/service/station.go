package service

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/internal/dhcp"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/verdict"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// Metadata is where instances read their metadata, on every network.
var Metadata = packet.AddrFrom(netip.AddrFrom4([4]byte{169, 254, 169, 254}))

// A Config says what the services of one network do. It is never changed, only replaced.
type Config struct {
	// Addrs are the addresses that the station has itself: it answers ARP and echo requests for them. Metadata is
	// among them if it is served.
	Addrs []packet.Addr
	// Routers are the addresses of routers on the network, with the MAC addresses from which they send. Answers from
	// such an address come from there, so that no host sees an address at two places.
	Routers  map[packet.Addr]packet.MAC
	DHCP     *dhcp.Config
	Names    Names        // answers DNS; nil: it is not served
	Metadata http.Handler // gets the address of the instance as the remote one; nil: it is not served
	MTU      int          // of the network, in bytes
}

// Names answers DNS queries. Any number of goroutines may use it.
type Names interface {
	// Answer returns the answer to a message over UDP, nil if there is none. It may wait for other servers, as long as
	// ctx lasts.
	Answer(ctx context.Context, message []byte, from netip.Addr) []byte
	// ServeConn answers the messages of a TCP connection, and closes it.
	ServeConn(ctx context.Context, conn net.Conn, from netip.Addr)
}

// A Station is the local services of a network: an endpoint with a MAC address of its own. Its worker is the network's.
type Station struct {
	wire.Station
	// Hidden says that the switch does not know the station: it is at the addresses of routers alone, and answers with
	// the MAC address of one of them. It is set before the station is used.
	Hidden bool

	runner *Runner
	server *dhcp.Server
	config atomic.Pointer[Config]
	leases atomic.Bool   // there may be leases that end
	echoes bucket        // of echo replies
	tickAt time.Duration // when leases that have ended are taken away next

	// The workers of routers, and the goroutines of the runner, may use the fields below.
	mu      sync.Mutex
	gone    bool
	queue   []request // that wait for the runner
	waits   bool      // the runner knows of it
	swept   bool      // leases that have ended are to be taken away
	limits  limits    // of messages
	packets limits    // of TCP
	answers []answer  // that wait for the worker
	asking  int       // DNS queries under way
	stack   *tcpStack // nil: nobody has used TCP lately
}

// A request is a packet for a service, with a copy of its bytes.
type request struct {
	at       *wire.Port // where it came in; nil: not known, or from a station
	asker    packet.MAC
	device   string // the name of at
	src, dst netip.AddrPort
	bytes    []byte // of DHCP and DNS over UDP the message, of TCP the IP packet
	tcp      bool
}

// An answer goes back to where its request came from.
type answer struct {
	at       *wire.Port
	asker    packet.MAC
	to       packet.MAC
	src, dst netip.AddrPort // of UDP
	bytes    []byte         // likewise
}

// Limits of what waits.
const (
	maxQueue   = 512
	maxAnswers = 1024
	maxBatch   = 128 // requests that are taken at once
	maxAsking  = 64  // DNS queries of a network that wait for other servers
)

// NewStation makes the local services of a network. rng gives the secret of its tables.
func NewStation(n *wire.Network, mac packet.MAC, r *Runner, leases *dhcp.Server, rng *rand.Rand) *Station {
	s := &Station{Station: wire.Station{Network: n, MAC: mac}, runner: r, server: leases}
	s.Owner = s
	s.limits = limits{seed: rng.Uint64(), allRate: 4000, allBurst: 2000, eachRate: 20, eachBurst: 40}
	s.packets = limits{seed: rng.Uint64(), allRate: 20_000, allBurst: 4000, eachRate: 2000, eachBurst: 500}
	s.leases.Store(true) // some may have been kept
	return s
}

// Serve has the station obey a Config from now on. Any goroutine may call it.
func (s *Station) Serve(c *Config) { s.config.Store(c) }

// End ends the station. What waits is forgotten. Any goroutine may call it.
func (s *Station) End() {
	s.mu.Lock()
	stack := s.stack
	s.gone, s.queue, s.answers, s.stack = true, nil, nil, nil
	s.mu.Unlock()
	if stack != nil {
		stack.close()
	}
}

// Deliver implements wire.Endpoint: it takes a frame for the station's own MAC address.
func (s *Station) Deliver(t *loop.Turn, f *tap.Frame, _ wire.Kind) verdict.Verdict {
	eth := f.Ethernet()
	at := s.Network.PortOf(packet.MAC(eth[6:12]))
	c := s.config.Load()
	if v := wire.JudgeType(eth); v != verdict.Next {
		return v.At(verdict.StageIngress)
	}
	if isARP(eth) {
		if v := s.hearARP(t, c, eth, at); v != verdict.Next {
			return v.At(verdict.StageARP)
		}
		return verdict.Consumed
	}
	var p packet.Packet
	if p.Parse(eth, f.Header()) != packet.FaultNone || !slices.Contains(c.Addrs, p.Dst) {
		return verdict.Drop(verdict.DropRefused).At(verdict.StageLocal)
	}
	if p.Proto == packet.ProtoICMP {
		return s.answerEcho(t, &p, at).At(verdict.StageLocal)
	}
	if v := s.take(t, c, &p, at); v != verdict.Next {
		return v.At(verdict.StageLocal)
	}
	return verdict.Drop(verdict.DropRefused).At(verdict.StageLocal)
}

// Hear implements wire.Hearer: ARP requests for the station's addresses, and requests of hosts that have no address
// yet.
func (s *Station) Hear(t *loop.Turn, f *tap.Frame, from *wire.Port) verdict.Verdict {
	eth, c := f.Ethernet(), s.config.Load()
	switch {
	case isARP(eth):
		if len(c.Addrs) > 0 && s.hearARP(t, c, eth, from) == verdict.Consumed {
			return verdict.Consumed
		}
		return verdict.Next
	case !isDHCP(eth):
		return verdict.Next
	}
	var p packet.Packet
	if p.Parse(eth, f.Header()) != packet.FaultNone {
		return verdict.Next
	}
	return s.take(t, c, &p, from)
}

// Take implements wire.Local: a packet of a host to a router's address on the network, or to Metadata.
func (s *Station) Take(t *loop.Turn, _ *tap.Frame, p *packet.Packet) verdict.Verdict {
	c := s.config.Load()
	if _, ok := c.Routers[p.Dst]; !ok && p.Dst != Metadata {
		return verdict.Next
	}
	return s.take(t, c, p, nil)
}

// serves says whether a packet is for a service.
func (c *Config) serves(p *packet.Packet) bool {
	switch {
	case p.Fragmented():
		return false
	case p.Dst == Metadata:
		return c.Metadata != nil && p.Proto == packet.ProtoTCP && p.DstPort == metadataPort
	case p.Proto == packet.ProtoUDP:
		return c.DHCP != nil && p.DstPort == serverPort || c.Names != nil && p.DstPort == namesPort
	}
	return c.Names != nil && p.Proto == packet.ProtoTCP && p.DstPort == namesPort
}

// take gives a packet to the service that it is for. The result is verdict.Next if there is none. It may be called by a
// worker other than the network's.
func (s *Station) take(t *loop.Turn, c *Config, p *packet.Packet, at *wire.Port) verdict.Verdict {
	if !c.serves(p) {
		return verdict.Next
	}
	rq := request{at: at, asker: p.SourceMAC(), src: netip.AddrPortFrom(p.Src.Netip(), p.SrcPort),
		dst: netip.AddrPortFrom(p.Dst.Netip(), p.DstPort), tcp: p.Proto == packet.ProtoTCP}
	if rq.tcp {
		rq.bytes = p.Eth[packet.EthernetLen:p.End]
	} else {
		var ok bool
		if rq.bytes, ok = datagram(p); !ok {
			return verdict.Drop(verdict.DropTransport).At(verdict.StageParse)
		}
	}
	if !s.allows(&rq) {
		return verdict.Drop(verdict.DropServiceRate)
	}
	if rq.bytes = slices.Clone(rq.bytes); rq.tcp && p.Partial {
		packet.SetTransportChecksum(rq.bytes)
	}
	if t.IsOf(s.Worker) {
		if !s.push(rq) {
			return verdict.Drop(verdict.DropServiceRate)
		}
		return verdict.Consumed
	}
	s.Worker.Post(func() { s.push(rq) }) // only there it is known which port the host is behind
	return verdict.Consumed
}

// allows says whether a request is let in.
func (s *Station) allows(rq *request) bool {
	now := s.Worker.Clock() // workers have clocks of their own, and any may call
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.limits
	if rq.tcp {
		l = &s.packets
	}
	return !s.gone && len(s.queue) < maxQueue && l.allow(rq.asker, now)
}

// push has a request answered. It reports false if too many wait. It is called by the worker of the network.
func (s *Station) push(rq request) bool {
	if rq.at == nil {
		rq.at = s.Network.PortOf(rq.asker)
	}
	if rq.at != nil {
		rq.device = rq.at.Link.Name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || len(s.queue) >= maxQueue {
		return false
	}
	s.queue = append(s.queue, rq)
	s.wake()
	return true
}

// wake lets the runner know that there is something to do. mu is held.
func (s *Station) wake() {
	if !s.waits {
		s.waits = true
		s.runner.add(s)
	}
}

// run does some of what waits. The runner calls it, once at a time.
func (s *Station) run(now time.Time) {
	s.mu.Lock()
	batch := s.queue[:min(len(s.queue), maxBatch)]
	s.queue = s.queue[len(batch):]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	sweeps := s.swept
	s.swept = false
	s.mu.Unlock()
	if sweeps {
		s.server.Tick(now)
		st := s.server.Stats(nil)
		s.leases.Store(st.Leases+st.Offers+st.Quarantined > 0)
	}
	s.handle(now, s.config.Load(), batch)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits = false; (len(s.queue) > 0 || s.swept) && !s.gone {
		s.wake()
	}
}

// handle gives requests to their services.
func (s *Station) handle(now time.Time, c *Config, batch []request) {
	var messages []request
	for i := range batch {
		switch rq := &batch[i]; {
		case rq.tcp:
			s.input(c, rq)
		case rq.dst.Port() == namesPort:
			s.ask(c, rq)
		default:
			messages = append(messages, *rq)
		}
	}
	if c.DHCP == nil || len(messages) == 0 {
		return
	}
	s.leases.Store(true)
	rqs := make([]dhcp.Request, len(messages))
	for i, m := range messages {
		rqs[i] = dhcp.Request{Payload: m.bytes, SourceMAC: m.asker, Src: m.src.Addr(), Dst: m.dst.Addr(),
			Device: m.device}
	}
	var out []answer
	for i, a := range s.server.Serve(now, c.DHCP, rqs) {
		if a.Payload != nil && a.To.Addr().Is4() && a.From.Is4() {
			out = append(out, answer{messages[i].at, messages[i].asker, a.ToMAC, netip.AddrPortFrom(a.From, serverPort),
				a.To, a.Payload})
		}
	}
	s.answer(out)
}

// ask answers a DNS query. It may have to wait for other servers.
func (s *Station) ask(c *Config, rq *request) {
	if c.Names == nil {
		return
	}
	if s.runner.direct {
		s.askNow(c, rq)
		return
	}
	s.mu.Lock()
	full := s.gone || s.asking >= maxAsking
	if !full {
		s.asking++
	}
	s.mu.Unlock()
	if full {
		return // the asker tries again
	}
	s.runner.start(func() {
		s.askNow(c, rq)
		s.mu.Lock()
		s.asking--
		s.mu.Unlock()
	})
}

func (s *Station) askNow(c *Config, rq *request) {
	ctx, cancel := context.WithTimeout(s.runner.ctx, askTime)
	defer cancel()
	if b := c.Names.Answer(ctx, rq.bytes, rq.src.Addr()); b != nil {
		s.answer([]answer{{rq.at, rq.asker, rq.asker, rq.dst, rq.src, b}})
	}
}

// askTime is how long a DNS query may wait for other servers.
const askTime = 10 * time.Second

// answer has the worker send answers. A worker that does not keep up loses them: clients ask again.
func (s *Station) answer(out []answer) {
	if len(out) == 0 {
		return
	}
	s.mu.Lock()
	before := len(s.answers)
	if !s.gone {
		s.answers = append(s.answers, out[:min(maxAnswers-before, len(out))]...)
	}
	posts := before == 0 && len(s.answers) > 0
	s.mu.Unlock()
	if posts {
		s.Worker.Post(s.send)
	}
}

// send sends the answers that wait. It is called by the worker.
func (s *Station) send() {
	s.mu.Lock()
	out := s.answers
	s.answers = nil
	s.mu.Unlock()
	t, c := &s.Worker.Turn, s.config.Load()
	for i := range out {
		a := &out[i]
		from, ok := c.Routers[packet.AddrFrom(a.src.Addr())]
		if !ok {
			from = s.MAC
		}
		to, at := a.to, a.at
		if at == nil {
			if at = s.Network.PortOf(a.asker); at == nil && to.IsGroup() {
				to = a.asker // the answer is nobody else's affair
			}
		}
		f := t.Alloc(a.size())
		a.put(f.Ethernet(), from, to)
		s.AnswerAt(t, &f, at)
	}
}

// Tick implements loop.Ticker: it has leases that have ended taken away from time to time, as long as there are some.
func (s *Station) Tick(t *loop.Turn) {
	if !s.leases.Load() {
		return
	}
	if t.Now >= s.tickAt {
		s.tickAt = t.Now + sweepInterval
		s.mu.Lock()
		if s.swept = !s.gone; s.swept {
			s.wake()
		}
		s.mu.Unlock()
	}
	t.WakeAt(s.tickAt)
}

// sweepInterval is how often leases that have ended are taken away, where no message does so.
const sweepInterval = time.Minute

// Resume implements loop.Resumer. Nothing is put aside for a station: it takes a frame of any sender at once.
func (s *Station) Resume(t *loop.Turn, f *tap.Frame) { t.Count(s.Deliver(t, f, wire.Received)) }

// NetworkUp implements wire.StationOwner. There is nothing to announce: the addresses are always at the same MAC.
func (s *Station) NetworkUp(*loop.Turn) {}

// SetMTU implements wire.StationOwner. What a client is told is the State's MTU.
func (s *Station) SetMTU(int) {}
