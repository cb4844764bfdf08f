package router

import (
	"bytes"
	"encoding/binary"

	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// The bits of how: properties of a packet beside its transport.
const (
	dontFragment = 0x01
	anyTTL       = 0x0e // one of eight
	answerIt     = 0x10 // an exchange is answered
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
	// A ping of the router itself waits for no neighbor.
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

// answerTo is the answer of a host to a packet, nil if hosts do not answer it. how chooses among the
// answers of TCP.
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
	burstSYN              // a SYN flood, from all addresses in the host's network
	burstLater            // later fragments of many packets
	burstFirst            // first fragments of many packets
	burstPieces           // later fragments of one packet
	burstHosts            // to many hosts that may not be there
	burstServices         // to many ports
	burstNeighbors        // ARP requests for dst, from all addresses in the host's network
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
