package router

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/tap"
)

// FuzzSequence plays what the fuzzer's bytes say on a router: frames of hosts, right
// and wrong ones, their answers, time that passes, devices that fail. oracle_test.go
// has what must hold after each of them. The first four bytes choose the router:
// a scenario's topology, NAT behaviors, limits, and the bits of variant.
//
// Its seeds are the scenarios of testdata, frame by frame (sequenceSeeds).
func FuzzSequence(f *testing.F) {
	profiles := loadProfiles(f)
	for _, seed := range sequenceSeeds(f, profiles) {
		f.Add(seed)
		if p := profiles[int(seed[0])%len(profiles)]; len(p.topo.Pools) > 0 {
			for _, how := range []byte{0x10, 0x60, 0xb0, 0xc0} { // see tuned
				other := bytes.Clone(seed)
				other[2] |= how
				f.Add(other)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxSequence {
			return
		}
		first := playSequence(t, profiles, data, 0)
		if len(data) > 3 && variant(data[3])&decodedToo == 0 {
			return
		}
		// The same again, by the other parser and with a tracer and observers: not a byte may differ.
		again := playSequence(t, profiles, data, decoded|watched)
		if where := differ(first, again); where != "" && !t.Failed() {
			what := "decoded by gopacket and watched"
			for _, c := range []struct {
				how  manner
				what string
			}{{watched, "watched"}, {decoded, "decoded by gopacket"}, {0, "once more"}} {
				if differ(first, playSequence(t, profiles, data, c.how)) != "" {
					what = c.what
				}
			}
			t.Errorf("the same frames with the same seed, %s: %s", what, where)
		}
	})
}

const (
	maxSequence = 1 << 14 // bytes
	maxFrames   = 2000    // put in by one sequence, so that none takes long
)

// variant is the fourth byte's bits.
type variant uint8

const (
	decodedToo variant = 1 << iota // played again, see FuzzSequence
	switched                       // the first network has a second device
	routedOnly                     // no SNAT
	clamped                        // MSS clamping
	smallOutside
	offloaded // the last network's device takes super-frames
	shortTime // UDP mappings last five seconds
)

// A profile is a topology with its hosts.
type profile struct {
	name   string
	topo   *file.Topology
	events string // of the scenario
	places []place
}

// A place is a host that frames come from.
type place struct {
	net  string
	addr netip.Addr
	real bool // it answers ARP; others only send
}

// profiled are the scenarios whose topologies are played on. The corpus names them
// by their place: a new one goes to the end.
var profiled = []string{
	"vip-through-floating-ip", "snat", "floating-ip", "fragments", "port-forwarding", "hairpin", "static-routes",
	"overlapping-routers", "traceroute", "vip-round-robin", "icmp-errors", "martians", "tcp-windows", "arp", "expiry",
	"resync", "keepalive-pickup",
}

// A sequence is a run of the fuzzer's bytes.
type sequence struct {
	*sim
	*profile
	topology *file.Topology
	in       []byte
	extra    *simDevice // the second device of the first network, if there is one

	dests  []packet.Addr
	id     uint16 // of the packets that it makes
	frames int
	sent   []crossing // the latest frames in
	seen   []crossing // the latest packets out that the router forwarded or made
	record []crossing // everything that came out
	empty  int        // bytes of the tables at the start
	conns  map[*ip.Router]known

	bad map[string]bool // members whose checks fail

	unfinished bool // the frame that goes in is right, except for the checksum that a device is to finish
	tainted    bool // frames that come out may be as wrong as those that went in
	puzzled    bool // fragments for the router went in: the whole packet has not been verified
}

// A crossing is a frame on a network.
type crossing struct {
	net   string
	at    time.Duration
	frame tap.Frame
}

// manner is how a sequence is played, as bits; 0 is as a router runs.
type manner uint8

const (
	decoded manner = 1 << iota // gopacket decodes every packet
	watched                    // with a tracer and an observer of each network
)

// playSequence plays data on a new router and returns what has come out.
func playSequence(t testing.TB, profiles []*profile, data []byte, how manner) []crossing {
	q := &sequence{in: data, bad: map[string]bool{}}
	head := [4]byte(q.bytes(4))
	q.profile = profiles[int(head[0])%len(profiles)]
	v := variant(head[3])
	q.topology = q.tuned(head[1], head[2], v)
	q.sim = newSim(t, q.topology)
	q.observe()
	q.w.Parser.DecodeAll = how&decoded != 0
	if how&watched != 0 {
		q.Trace(io.Discard)
		for _, name := range q.names {
			if _, err := q.Observe(name, func(o Observation) { _ = o.Comment() }); err != nil {
				t.Fatal(err)
			}
		}
	}
	q.Checks(func(_, _, member string, _ time.Duration) CheckResult { return CheckResult{OK: !q.bad[member]} })
	if v&switched != 0 {
		n := q.nets[q.names[0]]
		q.extra = &simDevice{}
		n.PlugIn(&loop.Link{Memory: true, Name: "second"}, q.extra)
	}
	if v&offloaded != 0 {
		n := q.nets[q.names[len(q.names)-1]]
		q.devs[n.Name()].features = allFeatures
		n.Ports[0].Link.Takes = allFeatures
	}
	for _, p := range q.places {
		if p.real {
			q.host(p.net, p.addr.String())
		}
	}
	q.dests = q.addresses()
	for _, name := range q.names {
		q.nets[name].Announce()
	}
	q.empty = q.tableBytes()
	q.run()
	q.settle(nil)
	for len(q.in) > 0 && q.frames < maxFrames {
		before := q.created()
		if q.step(); q.created() != before {
			q.checkTables()
		}
	}
	q.finish()
	return q.record
}

// tuned is the profile's topology with other settings.
func (p *profile) tuned(behaviors, limits byte, v variant) *file.Topology {
	words := []string{"endpoint-independent", "address-dependent", "address-and-port-dependent"}
	topo := *p.topo
	topo.Routers = append([]file.Router(nil), topo.Routers...)
	topo.Networks = append([]file.Network(nil), topo.Networks...)
	for i := range topo.Routers {
		r := &topo.Routers[i]
		n := *r.NAT
		if behaviors > 0 { // 0: as the scenario has it
			n.Mapping, n.Filtering = words[int(behaviors)%3], words[int(behaviors)/3%3]
		}
		if limits&1 != 0 {
			n.MaxConnections = []int{8, 24}[limits>>2&1]
		}
		if limits&2 != 0 {
			n.PortMin, n.PortMax, n.HostShare = 2000, 2003, []float64{0.5, 1}[limits>>3&1]
		}
		n.Lend = new(behaviors/9%2 == 0)
		n.MSSClamp = v&clamped != 0
		if v&shortTime != 0 {
			n.Timeouts.UDP = 5 * time.Second
		}
		r.NAT = &n
		if r.Gateway != nil && v&routedOnly != 0 {
			g := *r.Gateway
			g.SNAT = false
			r.Gateway = &g
		}
	}
	topo.Pools, topo.VIPs = append([]file.Pool(nil), topo.Pools...), append([]file.VIP(nil), topo.VIPs...)
	for i := range topo.Pools {
		balanceBy(&topo.Pools[i], limits>>4)
	}
	for i := range topo.VIPs {
		if limits>>7 != 0 {
			topo.VIPs[i].ConnectionLimit, topo.VIPs[i].IdleTimeout = 2, 20*time.Second
		}
	}
	for i := range topo.Networks {
		if n := &topo.Networks[i]; n.External && v&smallOutside != 0 {
			n.MTU = 576
		}
	}
	return &topo
}

// balanceBy has a pool choose otherwise than by plain turns: two bits are the algorithm, the
// next is persistence with checks, which are good until changeMember says otherwise.
func balanceBy(p *file.Pool, bits byte) {
	p.Algorithm = []string{p.Algorithm, "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"}[bits&3]
	if bits&4 == 0 {
		return
	}
	p.SessionPersistence = &file.SessionPersistence{Type: "SOURCE_IP", Timeout: 30 * time.Second}
	p.Monitor = &file.Monitor{Type: "TCP", InitialState: "up"}
	p.Members = append([]file.Member(nil), p.Members...)
	for i := range p.Members {
		p.Members[i].Weight = 1 + i
	}
}

// changeMember has a member go up or down by hand, drain, come back, or fail its checks from now on.
func (q *sequence) changeMember() {
	if len(q.topology.Pools) == 0 {
		return
	}
	p := q.topology.Pools[q.pick(len(q.topology.Pools))]
	if len(p.Members) == 0 {
		return
	}
	m := p.Members[q.pick(len(p.Members))].Name
	var err error
	if what := q.byte(); what&0x80 != 0 && p.Monitor != nil {
		q.bad[m] = !q.bad[m]
	} else if what&1 == 0 {
		err = q.SetMember(p.Name, m, what&2 != 0)
	} else {
		err = q.SetMemberWeight(p.Name, m, int(what>>1)%4)
	}
	if err != nil {
		q.t.Errorf("member %s of pool %s: %v", m, p.Name, err)
	}
	q.run()
	q.settle(nil)
}

// reconfigure has the engine serve another State, and then the former one again. Networks and routers of the topology
// stay, as others follow them; everything else may go. Connections may end, but all else is as it was.
func (q *sequence) reconfigure() {
	from := q.State()
	g := supported(uint64(q.uint16()))
	g.Allow = func(s *config.State) bool {
		for n := range from.Networks() {
			if s.Network(n.ID) == nil {
				return false
			}
		}
		for r := range from.Routers() {
			if s.Router(r.ID) == nil || s.NATOf(r.ID).Mapping != from.NATOf(r.ID).Mapping {
				return false // mappings of different kinds are not comparable
			}
		}
		return len(Unsupported(s)) == 0
	}
	before, steps := dump(q.Engine), 1+q.pick(6)
	for _, to := range []*config.State{g.Next(from, steps), from} {
		if _, err := q.Apply(q.t.Context(), to); err != nil {
			q.t.Fatal(err)
		}
		q.names = q.names[:0:0]
		for n := range to.Networks() {
			q.names = append(q.names, n.Name)
		}
		q.observeNew()
		q.checkTables()
	}
	if where := firstDifference(dump(q.Engine), before); where != "" {
		q.t.Fatalf("another State and back: %s", where)
	}
	q.run()
	q.settle(nil)
}

// addresses is where packets may go: to every host, to everything the routers own,
// and to some that no host has.
func (q *sequence) addresses() []packet.Addr {
	all := []packet.Addr{0x08080808, 0x09090909, 0xffffffff, 0xe0000001, 0x7f000001, 0xc0a80a07}
	for _, p := range q.places {
		all = append(all, packet.AddrFrom(p.addr))
	}
	for _, name := range q.names {
		for _, i := range interfaces(q.nets[name]) {
			all = append(all, ownAddresses(i)...)
			all = append(all, i.Prefixes[0].Addr|^i.Prefixes[0].Mask)
		}
	}
	return all
}

// The fuzzer's bytes; where they end, zeros follow.

func (q *sequence) bytes(n int) []byte {
	b := make([]byte, n)
	q.in = q.in[copy(b, q.in):]
	return b
}

func (q *sequence) byte() int { return int(q.bytes(1)[0]) }

func (q *sequence) pick(n int) int { return q.byte() % n }

func (q *sequence) uint16() int { return int(binary.BigEndian.Uint16(q.bytes(2))) }

// The operations, by number: the corpus knows them by these.
const (
	opRaw = iota
	opUDP
	opTCP
	opEcho
	opOther
	opFragments
	opError
	opReply
	opAgain
	opAdvance
	opDevice
	opMute
	opBurst
	opARP
	opSuper
	numOps
)

// step plays one operation.
func (q *sequence) step() {
	switch op := q.pick(numOps); op {
	case opRaw:
		q.raw()
	case opUDP, opTCP, opEcho, opOther:
		q.exchange(op)
	case opFragments:
		q.pieces()
	case opError:
		q.report()
	case opReply:
		q.reply()
	case opAgain:
		q.again()
	case opAdvance:
		q.pass(time.Duration(q.byte()<<16|q.uint16()) * time.Millisecond)
	case opDevice:
		d := q.devs[q.names[q.pick(len(q.names))]]
		switch how := q.pick(6); how {
		case 0, 1, 2:
			d.err = []error{nil, tap.ErrDown, tap.ErrFull}[how]
		case 5:
			q.reconfigure()
		default:
			q.changeMember()
		}
	case opMute:
		p := q.place()
		if h := q.hosts[hostKey{p.net, p.addr}]; h != nil {
			h.mute = !h.mute
		}
	case opBurst:
		q.burst()
	case opARP:
		q.arpMessage()
	case opSuper:
		q.super()
	}
}

// pass lets time go by.
func (q *sequence) pass(d time.Duration) {
	q.advance(d)
	q.settle(nil)
}

// put puts a frame in and returns the packets that the router has sent for it.
func (q *sequence) put(network string, b []byte) []crossing {
	q.frames++
	q.sent = latest(q.sent, crossing{network, q.now, tap.Frame{Buf: b, Tail: len(b)}})
	q.judge(b)
	if network == second {
		q.extra.in = append(q.extra.in, tap.Frame{Buf: bytes.Clone(b), Tail: len(b)})
		q.run()
	} else {
		q.putFrame(network, bytes.Clone(b))
	}
	return q.settle(b)
}

// second stands for the first network's second device.
const second = "+"

func latest(list []crossing, c crossing) []crossing {
	if list = append(list, c); len(list) > 8 {
		list = list[1:]
	}
	return list
}

// raw puts in bytes as they are, or with the checksums made right, or with the
// router's address.
func (q *sequence) raw() {
	networks := append([]string(nil), q.names...)
	if q.extra != nil {
		networks = append(networks, second)
	}
	network, flags := networks[q.pick(len(networks))], q.byte()
	b := q.bytes(min(q.uint16()%4096, len(q.in)))
	if flags&rawOffload == 0 {
		b = append(make([]byte, tap.HeaderLen), b...)
	} else if len(b) < tap.HeaderLen {
		return
	}
	eth := b[tap.HeaderLen:]
	if flags&rawToRouter != 0 && len(eth) >= packet.EthernetLen && network != second {
		mac := q.routerMAC(network)
		copy(eth, mac[:])
	}
	if flags&rawFix != 0 {
		fix(eth)
	}
	q.put(network, b)
}

// The flags of opRaw.
const (
	rawFix      = 1 << iota // checksums are made right
	rawToRouter             // it goes to the router's MAC address
	rawOffload              // the bytes begin with a virtio-net header
)

// fix makes the checksums right that can be.
func fix(eth []byte) {
	if len(eth) < packet.EthernetLen+packet.IPv4Len || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 {
		return
	}
	setChecksum(eth)
	var p packet.Packet
	if f := new(packet.Decoder).Decode(&p, eth, nil); (f == packet.FaultNone || f == packet.FaultICMPSum) &&
		!p.Fragmented() {
		packet.SetTransportChecksum(eth[packet.EthernetLen:p.End])
	}
}

func (q *sequence) place() place { return q.places[q.pick(len(q.places))] }

// differ says where two records do.
func differ(a, b []crossing) string {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x.net != y.net || x.at != y.at || !bytes.Equal(x.frame.Buf, y.frame.Buf) {
			return fmt.Sprintf("frame %d\nwas %v %s: %s\n    %x\nnow %v %s: %s\n    %x", i,
				x.at, x.net, nettest.Describe(x.frame.Ethernet()), x.frame.Buf,
				y.at, y.net, nettest.Describe(y.frame.Ethernet()), y.frame.Buf)
		}
	}
	if len(a) != len(b) {
		return fmt.Sprintf("%d frames, %d before", len(b), len(a))
	}
	return ""
}
