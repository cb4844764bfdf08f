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
	"github.com/taprouter/taprouter/tap/virtio"
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

// A profile is a topology and who is there.
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

	unfinished bool // what goes in is right, but for the checksum that a device is to finish
	tainted    bool // what comes out may be as wrong as what went in
	puzzled    bool // fragments for the router went in: nobody has verified the whole
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
// and to some that are nobody's.
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

// What a packet is like, beside its transport: the bits of how.
const (
	dontFragment = 0x01
	anyTTL       = 0x0e // one of eight
	answerIt     = 0x10 // an exchange is answered,
	reportIt     = 0x20 // an ICMP error about it comes back
	withOptions  = 0x40
	withTOS      = 0x80
)

// someOptions are the options that packets take turns with: a router alert, which goes with
// every fragment, and one or two that do not and that a router may record itself in.
var someOptions = [][]byte{
	{148, 4, 0, 0, 68, 4, 5, 0},                                        // timestamps, no room
	{148, 4, 0, 0, 7, 11, 8, 9, 9, 9, 9, 0, 0, 0, 0, 0},                // record route, the second of two
	{148, 4, 0, 0, 68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0},               // timestamp with address
	{148, 4, 0, 0, 1, 7, 7, 8, 9, 9, 9, 9, 68, 8, 5, 0x90, 0, 0, 0, 0}, // record route, full; timestamp
	{148, 4, 0, 0, 68, 12, 5, 3, 10, 10, 10, 2, 0, 0, 0, 0},            // timestamp of one router
}

// packet is a packet of a host to an address.
func (q *sequence) packet(from place, dst packet.Addr, proto uint8, how byte, l4 []byte) []byte {
	q.id++
	b := make([]byte, tap.HeaderLen+packet.EthernetLen+packet.IPv4Len)
	if how&withOptions != 0 {
		b = append(b, someOptions[int(q.id)%len(someOptions)]...)
	}
	header := len(b) - tap.HeaderLen - packet.EthernetLen
	b = append(b, l4...)
	eth := b[tap.HeaderLen:]
	binary.BigEndian.PutUint16(eth[12:], packet.EtherTypeIPv4)
	ip := eth[packet.EthernetLen:]
	ip[0], ip[1] = 0x40|byte(header/4), how&withTOS
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], q.id)
	if how&dontFragment != 0 {
		ip[6] = 0x40
	}
	ip[8], ip[9] = []byte{64, 64, 64, 1, 2, 255, 64, 0}[how>>1&7], proto
	src := from.addr.As4()
	copy(ip[12:], src[:])
	dst.Put(ip[16:])
	packet.SetIPv4Checksum(ip)
	packet.SetTransportChecksum(ip)
	q.address(from, eth, dst)
	return b
}

// address fills in the MAC addresses of a frame from a host to the router on its
// network that owns dst, else to the first.
func (q *sequence) address(from place, eth []byte, dst packet.Addr) {
	ifaces := interfaces(q.nets[from.net])
	to := ifaces[0].MAC
	for _, i := range ifaces {
		if i.Owns(dst) {
			to = i.MAC
		}
	}
	nettest.SetMACs(eth, q.macOf(from), to)
}

// macOf is the address of a host; one that only sends does so by another's.
func (q *sequence) macOf(p place) packet.MAC {
	if h := q.hosts[hostKey{p.net, p.addr}]; h != nil {
		return h.mac
	}
	b := p.addr.As4()
	return packet.MAC{2, 1, b[0], b[1], b[2], b[3]}
}

// Few ports, so that connections meet: also those that the scenarios serve.
var somePorts = []uint16{4000, 4001, 80, 53, 22, 2222, 8080, 1000}

var someFlags = []uint8{packet.SYN, packet.SYN, packet.ACK, packet.SYN | packet.ACK, packet.FIN | packet.ACK,
	packet.RST, packet.RST | packet.ACK, packet.ACK | packet.PSH}

// transport is the header and payload of a packet, its checksum left out.
func (q *sequence) transport(kind int) (proto uint8, l4 []byte) {
	ports := q.byte()
	src, dst := somePorts[ports&7], somePorts[ports>>3&7]
	size := []int{0, 1, 8, 33, 500, 1000, 1472, 2999}[q.byte()&7]
	flags := q.byte()
	switch kind {
	case opTCP:
		proto, l4 = packet.ProtoTCP, make([]byte, 24+size)
		l4[12], l4[13] = 6<<4, someFlags[flags&7]
		binary.BigEndian.PutUint32(l4[4:], []uint32{1000, 1001, 5001, 1 << 31}[flags>>3&3])
		binary.BigEndian.PutUint32(l4[8:], []uint32{0, 5001, 1001, 1 << 30}[flags>>5&3])
		binary.BigEndian.PutUint16(l4[14:], 65535)
		copy(l4[20:], []byte{2, 4, 5, 180})
	case opUDP:
		proto, l4 = packet.ProtoUDP, make([]byte, packet.UDPLen+size)
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	case opEcho:
		proto, l4 = packet.ProtoICMP, make([]byte, packet.ICMPLen+size)
		l4[0] = packet.ICMPEcho
		binary.BigEndian.PutUint16(l4[4:], src)
		fill(l4[packet.ICMPLen:])
		return proto, l4
	default:
		l4 = make([]byte, 8+size)
		fill(l4)
		return []uint8{47, 50, 132, 2, 0, 255, 4, 41}[ports&7], l4
	}
	binary.BigEndian.PutUint16(l4, src)
	binary.BigEndian.PutUint16(l4[2:], dst)
	fill(l4[len(l4)-size:])
	return proto, l4
}

func fill(b []byte) {
	for i := range b {
		b[i] = byte(i * 7)
	}
}

// target chooses a destination.
func (q *sequence) target() packet.Addr { return q.dests[q.pick(len(q.dests))] }

// exchange puts in a right packet of a host, holds what comes out against it, and may
// have it answered.
func (q *sequence) exchange(kind int) {
	from, dst, how := q.place(), q.target(), q.byte()
	proto, l4 := q.transport(kind)
	b := q.packet(from, dst, proto, byte(how), l4)
	q.translated(from, b, how)
}

// pieces puts in a packet in fragments, in the order that a byte says, maybe without
// its first one, or with one of them twice.
func (q *sequence) pieces() {
	kind, from, dst := []int{opUDP, opTCP, opEcho, opOther}[q.byte()&3], q.place(), q.target()
	proto, l4 := q.transport(kind)
	order := q.byte()
	whole := q.packet(from, dst, proto, 0, l4)
	var p packet.Packet
	if p.Parse(whole[tap.HeaderLen:], nil) != packet.FaultNone {
		return
	}
	var all [][]byte
	mtu := max(68, (len(l4)/3+7)&^7+packet.IPv4Len)
	p.Fragment(mtu, func(n int) []byte {
		b := make([]byte, tap.HeaderLen+n)
		all = append(all, b)
		return b[tap.HeaderLen:]
	})
	waiting, dropped := q.parked(), q.w.Stats.Dropped
	var out []crossing
	for i := range all {
		k := (i + order&3) % len(all)
		if order&8 != 0 {
			k = len(all) - 1 - i
		}
		if order&16 != 0 && k == 0 {
			continue
		}
		out = append(out, q.put(from.net, all[k])...)
		if order&32 != 0 {
			out = append(out, q.put(from.net, all[k])...)
		}
	}
	// What is for the router itself has nothing to wait for.
	local := kind == opEcho && q.routerOf(from.net, whole[tap.HeaderLen:]).IsLocal(dst)
	if order&(16|32) == 0 && q.allUp() && (q.parked() == waiting || local) && q.w.Stats.Dropped == dropped {
		q.checkPieces(&p, out)
	}
}

// report puts in an ICMP error about a packet that has come out, or gone in.
func (q *sequence) report() {
	from, what := q.place(), q.byte()
	list := q.seen
	if what&1 != 0 {
		list = q.sent
	}
	if len(list) == 0 {
		return
	}
	quoted := list[q.pick(len(list))].frame
	ip := quoted.Ethernet()
	if len(ip) < packet.EthernetLen+packet.IPv4Len || binary.BigEndian.Uint16(ip[12:]) != packet.EtherTypeIPv4 {
		return
	}
	ip = ip[packet.EthernetLen:]
	ip = ip[:min(len(ip), []int{28, 48, 548, 20}[what>>1&3])]
	l4 := append(make([]byte, packet.ICMPLen), ip...)
	l4[0], l4[1] = []byte{3, 11, 12, 4, 5, 3, 3, 3}[what>>3&7], []byte{3, 0, 1, 4}[what>>6]
	q.put(from.net, q.packet(from, packet.ReadAddr(ip[12:]), packet.ProtoICMP, 0, l4))
}

// reply puts in an answer to a packet that has come out.
func (q *sequence) reply() {
	if len(q.seen) == 0 {
		return
	}
	c := q.seen[q.pick(len(q.seen))]
	if b := answerTo(c.frame.Ethernet(), q.byte()); b != nil {
		q.put(c.net, b)
	}
}

// answerTo is what a host would answer to a packet, nil if nobody does. how is more
// about TCP.
func answerTo(eth []byte, how int) []byte {
	var p packet.Packet
	if new(packet.Decoder).Decode(&p, eth, nil) != packet.FaultNone || p.Fragmented() || p.Options ||
		p.Proto == packet.ProtoICMP && p.Type != packet.ICMPEcho {
		return nil
	}
	b := append(make([]byte, tap.HeaderLen), eth[:p.End]...)
	r := b[tap.HeaderLen:]
	copy(r[0:], eth[6:12])
	copy(r[6:], eth[0:6])
	ip := r[packet.EthernetLen:]
	copy(ip[12:], eth[30:34])
	copy(ip[16:], eth[26:30])
	ip[6], ip[7], ip[8] = 0, 0, 64
	l4 := r[p.L4:]
	switch p.Proto {
	case packet.ProtoTCP, packet.ProtoUDP:
		copy(l4[0:], eth[p.L4+2:p.L4+4])
		copy(l4[2:], eth[p.L4:p.L4+2])
	case packet.ProtoICMP:
		l4[0] = packet.ICMPEchoReply
	}
	if p.Proto == packet.ProtoTCP {
		answerTCP(&p, l4, how)
	}
	packet.SetIPv4Checksum(ip)
	if p.Proto != packet.ProtoUDP || l4[6] != 0 || l4[7] != 0 {
		packet.SetTransportChecksum(ip)
	}
	return b
}

// answerTCP makes the segment p's answer: a SYN is accepted, all else acknowledged.
func answerTCP(p *packet.Packet, l4 []byte, how int) {
	var s packet.Segment
	p.ReadSegment(&s)
	seq := s.Ack
	if s.Flags&packet.ACK == 0 {
		seq = 5000
	}
	binary.BigEndian.PutUint32(l4[4:], seq)
	binary.BigEndian.PutUint32(l4[8:], s.Seq+s.Len)
	l4[13] = packet.ACK | []uint8{0, packet.PSH, packet.FIN, packet.RST}[how&3]
	if s.Flags&(packet.SYN|packet.ACK) == packet.SYN {
		l4[13] = packet.SYN | packet.ACK
	}
}

// again puts in a recent frame once more, with some bytes changed, or cut.
func (q *sequence) again() {
	if len(q.sent) == 0 {
		return
	}
	c := q.sent[q.pick(len(q.sent))]
	b := bytes.Clone(c.frame.Buf)
	how := q.byte()
	for range how & 3 {
		at := tap.HeaderLen + q.uint16()
		if value := q.byte(); at < len(b) {
			b[at] = byte(value)
		}
	}
	if how&4 != 0 {
		b = b[:min(len(b), tap.HeaderLen+q.uint16())]
	}
	if how&8 != 0 {
		fix(b[tap.HeaderLen:])
	}
	q.put(c.net, b)
}

// burst puts in many packets that differ in one thing.
func (q *sequence) burst() {
	what, from, dst, n := q.pick(numBursts), q.place(), q.target(), q.byte()
	for i := range n {
		if q.frames >= maxFrames {
			return
		}
		q.one(what, from, dst, i)
	}
}

// The bursts.
const (
	burstPorts     = iota // from many ports
	burstSYN              // a SYN flood, from everybody in the host's network
	burstLater            // later fragments of many packets
	burstFirst            // first fragments of many packets
	burstPieces           // later fragments of one packet
	burstHosts            // to many hosts that may not be there
	burstServices         // to many ports
	burstNeighbors        // ARP requests for dst, from everybody in the host's network
	numBursts
)

// one is the i-th packet of a burst.
func (q *sequence) one(what int, from place, dst packet.Addr, i int) {
	l4 := make([]byte, 24)
	if what == burstLater || what == burstPieces {
		l4 = make([]byte, 1400)
	}
	proto := uint8(packet.ProtoUDP)
	binary.BigEndian.PutUint16(l4, 4000+uint16(i))
	binary.BigEndian.PutUint16(l4[2:], 53)
	binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	if what == burstSYN || what == burstNeighbors {
		from.addr = (packet.AddrFrom(from.addr)&^0xff | packet.Addr(i)).Netip()
	}
	switch what {
	case burstSYN:
		proto, l4[12], l4[13] = packet.ProtoTCP, 5<<4, packet.SYN
	case burstLater, burstFirst, burstPieces:
		q.put(from.net, q.fragment(what, from, dst, i, l4))
		return
	case burstHosts:
		dst = dst&^0xff | packet.Addr(i)
	case burstServices:
		binary.BigEndian.PutUint16(l4[2:], uint16(i))
	case burstNeighbors:
		b := make([]byte, tap.HeaderLen+packet.ARPLen)
		m := packet.ARP{Request: true, SenderMAC: q.macOf(from), Sender: packet.AddrFrom(from.addr), Target: dst}
		packet.PutARP(b[tap.HeaderLen:], m.SenderMAC, packet.Broadcast, m)
		q.put(from.net, b)
		return
	}
	q.put(from.net, q.packet(from, dst, proto, 0, l4))
}

// fragment is the i-th of a burst of fragments.
func (q *sequence) fragment(what int, from place, dst packet.Addr, i int, l4 []byte) []byte {
	if what == burstPieces && i > 0 {
		q.id--
	}
	binary.BigEndian.PutUint16(l4[4:], 1<<12) // of the whole
	b := q.packet(from, dst, packet.ProtoUDP, 0, l4)
	ip := b[tap.HeaderLen+packet.EthernetLen:]
	ip[6], ip[7] = 0x20, byte(what-burstLater+1)*3
	switch what {
	case burstFirst:
		ip[7] = 0
	case burstPieces:
		ip[7] = byte(1+i%63) * 3
	}
	packet.SetIPv4Checksum(ip)
	return b
}

// arpMessage puts in an ARP message: of a host about itself, or about another.
func (q *sequence) arpMessage() {
	from, about, target, how := q.place(), q.place(), q.target(), q.byte()
	if how&1 == 0 {
		about = from
	}
	m := packet.ARP{Request: how&2 == 0, SenderMAC: q.macOf(from), Sender: packet.AddrFrom(about.addr), Target: target}
	if how&4 != 0 {
		m.Target = m.Sender
	}
	to := packet.Broadcast
	if how&8 != 0 {
		to = q.routerMAC(from.net)
	}
	b := make([]byte, tap.HeaderLen+packet.ARPLen)
	packet.PutARP(b[tap.HeaderLen:], q.macOf(from), to, m)
	q.put(from.net, b)
}

// super puts in a super-frame, or a packet with an unfinished checksum, as the kernel
// hands them over.
func (q *sequence) super() {
	kind, from, dst := []int{opTCP, opUDP}[q.byte()&1], q.place(), q.target()
	proto, l4 := q.transport(kind)
	how := q.byte()
	if how&1 != 0 {
		l4 = append(l4, make([]byte, 1+how<<4)...)
	}
	if proto == packet.ProtoUDP {
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	}
	b := q.packet(from, dst, proto, byte(how)&withOptions, l4)
	header := map[uint8]int{packet.ProtoTCP: 24, packet.ProtoUDP: packet.UDPLen}[proto]
	gso := byte(virtio.GSONone)
	if how&2 != 0 && len(l4) > header {
		gso = map[uint8]byte{packet.ProtoTCP: virtio.GSOTCPv4, packet.ProtoUDP: virtio.GSOUDP}[proto]
	}
	unfinish(b, gso, 700)
	q.unfinished = true
	waiting, dropped := q.parked(), q.w.Stats.Dropped
	if out := q.put(from.net, b); len(out) > 0 && q.parked() == waiting && q.w.Stats.Dropped == dropped {
		q.checkSegments(b, out)
	}
	q.unfinished = false
}

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
