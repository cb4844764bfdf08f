package service

import (
	"math/rand/v2"
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

// A Config says what the services of one network do. It is never changed, only replaced.
type Config struct {
	// Addrs are the addresses that the station has itself: it answers ARP and echo requests for them.
	Addrs []packet.Addr
	// Routers are the addresses of routers on the network, with the MAC addresses from which they send. Answers from
	// such an address come from there, so that no host sees an address at two places.
	Routers map[packet.Addr]packet.MAC
	DHCP    *dhcp.Config
}

// A Station is the local services of a network: an endpoint with a MAC address of its own. Its worker is the network's.
type Station struct {
	wire.Station
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
	limits  limits
	answers []answer // that wait for the worker
}

// A request is a message for a service, with a copy of its bytes.
type request struct {
	at    *wire.Port // where it came in; nil: not known, or from a station
	asker packet.MAC
	dhcp.Request
}

// An answer goes back to where its request came from.
type answer struct {
	at    *wire.Port
	asker packet.MAC
	dhcp.Answer
}

// Limits of what waits. A request is at most as long as a frame.
const (
	maxQueue   = 512
	maxAnswers = 1024
	maxBatch   = 128 // messages that a handler gets at once
)

// NewStation makes the local services of a network. rng gives the secret of its tables.
func NewStation(n *wire.Network, mac packet.MAC, r *Runner, leases *dhcp.Server, rng *rand.Rand) *Station {
	s := &Station{Station: wire.Station{Network: n, MAC: mac}, runner: r, server: leases}
	s.Owner = s
	s.limits.seed = rng.Uint64()
	s.leases.Store(true) // some may have been kept
	return s
}

// Serve has the station obey a Config from now on. Any goroutine may call it.
func (s *Station) Serve(c *Config) { s.config.Store(c) }

// End ends the station. What waits is forgotten. Any goroutine may call it.
func (s *Station) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.queue, s.answers = true, nil, nil
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

// Hear implements wire.Hearer: ARP requests for the station's addresses, and requests of hosts that have no address yet.
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

// Take implements wire.Local: a packet of a host to a router's address on the network.
func (s *Station) Take(t *loop.Turn, _ *tap.Frame, p *packet.Packet) verdict.Verdict {
	c := s.config.Load()
	if _, ok := c.Routers[p.Dst]; !ok {
		return verdict.Next
	}
	return s.take(t, c, p, nil)
}

// take gives a packet to the service that it is for. The result is verdict.Next if there is none. It may be called by a
// worker other than the network's.
func (s *Station) take(t *loop.Turn, c *Config, p *packet.Packet, at *wire.Port) verdict.Verdict {
	if c.DHCP == nil || p.Proto != packet.ProtoUDP || p.DstPort != serverPort || p.Fragmented() {
		return verdict.Next
	}
	payload, ok := datagram(p)
	if !ok {
		return verdict.Drop(verdict.DropTransport).At(verdict.StageParse)
	}
	asker := p.SourceMAC()
	if !s.allows(asker) {
		return verdict.Drop(verdict.DropServiceRate)
	}
	rq := request{at: at, asker: asker, Request: dhcp.Request{
		Payload: slices.Clone(payload), SourceMAC: asker, Src: p.Src.Netip(), Dst: p.Dst.Netip(),
	}}
	if t.IsOf(s.Worker) {
		if !s.push(rq) {
			return verdict.Drop(verdict.DropServiceRate)
		}
		return verdict.Consumed
	}
	s.Worker.Post(func() { s.push(rq) }) // only there it is known which port the host is behind
	return verdict.Consumed
}

// allows says whether a request of a host is let in.
func (s *Station) allows(asker packet.MAC) bool {
	now := s.Worker.Clock() // workers have clocks of their own, and any may call
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.gone && len(s.queue) < maxQueue && s.limits.allow(asker, now)
}

// push has a request answered. It reports false if too many wait. It is called by the worker of the network.
func (s *Station) push(rq request) bool {
	if rq.at == nil {
		rq.at = s.Network.PortOf(rq.asker)
	}
	if rq.at != nil {
		rq.Device = rq.at.Link.Name
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
	if c := s.config.Load(); c.DHCP != nil && len(batch) > 0 {
		rqs := make([]dhcp.Request, len(batch))
		for i := range batch {
			rqs[i] = batch[i].Request
		}
		s.leases.Store(true)
		var out []answer
		for i, a := range s.server.Serve(now, c.DHCP, rqs) {
			if a.Payload != nil && a.To.Addr().Is4() && a.From.Is4() {
				out = append(out, answer{batch[i].at, batch[i].asker, a})
			}
		}
		s.answer(out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits = false; (len(s.queue) > 0 || s.swept) && !s.gone {
		s.wake()
	}
}

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
		from, ok := c.Routers[packet.AddrFrom(a.From)]
		if !ok {
			from = s.MAC
		}
		to, at := packet.MAC(a.ToMAC), a.at
		if at == nil {
			if at = s.Network.PortOf(a.asker); at == nil && to.IsGroup() {
				to = a.asker // the answer is nobody else's affair
			}
		}
		f := t.Alloc(packet.EthernetLen + packet.IPv4Len + packet.UDPLen + len(a.Payload))
		putDatagram(f.Ethernet(), from, to, netip.AddrPortFrom(a.From, serverPort), a.To, a.Payload)
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
