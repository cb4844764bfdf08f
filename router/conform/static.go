package conform

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// staticChecks are about floating IPs and forwarded ports, and about what becomes of
// connections when floating IPs and forwarded ports come, move and go. No RFC is about floating IPs. The
// documentation of OpenStack Networking (Neutron) says how they behave.
func staticChecks() []Check {
	const (
		neutron = "Neutron, floating IPs"
		forward = "Neutron, port forwarding"
	)
	var all []Check
	for i := range oneToOne {
		o := &oneToOne[i]
		all = append(all, Check{Item: "F1", Name: "both ways/" + o.name, Level: Good,
			Source: "RFC 3022, 2.1; RFC 2663, 4.1.1",
			play:   func(c *Case) { bothWays(c, o) }})
	}
	for _, x := range cuts {
		w, name := wayOf(x.way), x.way
		if x.floating == float5 {
			name += ", the sender's"
		}
		all = append(all,
			Check{Item: "F3", Name: "RST to both sides/" + name, Level: Good, Source: neutron + "; RFC 5961, 3.2",
				play: func(c *Case) { resetsBoth(c, w, x.floating) }},
			Check{Item: "F3", Name: "nothing goes on/" + name, Level: Good, Source: neutron,
				play: func(c *Case) { nothingGoesOn(c, w, x.floating) }})
	}
	return append(all,
		Check{Item: "F1", Name: "never the shared address", Level: Good, Source: neutron, play: neverShared},
		Check{Item: "F1", Name: "ports are kept", Level: Good, Source: "RFC 2663, 4.1.1", play: portsKept},
		Check{Item: "F1", Name: "two hosts, one peer", Level: Good, Source: "RFC 2663, 4.1.1", play: twoHostsOnePeer},
		Check{Item: "F2", Name: "new connections show it", Level: Good, Source: neutron, play: associated},
		Check{Item: "F2", Name: "what SNAT has begun goes on", Level: Good, Source: "RFC 5382, REQ-10; RFC 4787, REQ-1",
			play: begunGoesOn},
		Check{Item: "F2", Name: "until it is idle", Level: Good, Source: neutron, Profile: Profile{Short: true},
			play: begunEnds},
		Check{Item: "F2", Name: "hairpins go on", Level: Good, Source: "RFC 5382, REQ-8", play: hairpinsGoOn},
		Check{Item: "F2", Name: "another one", Level: Good, Source: neutron, play: anotherOne},
		Check{Item: "F2", Name: "forwarded connections go on", Level: Good, Source: forward, play: forwardedGoOn},
		Check{Item: "A5", Name: "associated", Level: Must, Source: "RFC 5227, 2.3",
			play: func(c *Case) { announced(c, false) }},
		Check{Item: "A5", Name: "moved", Level: Good, Source: "RFC 5227, 2.3",
			play: func(c *Case) { announced(c, true) }},
		Check{Item: "F3", Name: "RST while opening", Level: Good, Source: neutron + "; RFC 9293, 3.10.7.3",
			play: resetsOpening},
		Check{Item: "F3", Name: "RST while closing", Level: Good, Source: neutron + "; RFC 5961, 3.2",
			play: resetsClosing},
		Check{Item: "F3", Name: "RST to all", Level: Good, Source: neutron, play: resetsAll},
		Check{Item: "F3", Name: "RST again", Level: Good, Source: "RFC 9293, 3.10.7.1", play: resetAgain},
		Check{Item: "F3", Name: "datagrams follow", Level: Good, Source: neutron, play: datagramsFollow},
		Check{Item: "F3", Name: "pings and other protocols follow", Level: Good, Source: neutron, play: othersFollow},
		Check{Item: "F3", Name: "the former host", Level: Good, Source: neutron, play: formerHost},
		Check{Item: "F3", Name: "the new host", Level: Good, Source: neutron, play: newHost},
		Check{Item: "F3", Name: "nobody's address", Level: Good, Source: neutron, play: nobodys},
		Check{Item: "F3", Name: "others do not notice", Level: Good, Source: neutron, play: othersDoNotNotice},
		Check{Item: "F4", Name: "TCP and UDP on one port", Level: Good, Source: forward, play: onePortTwice},
		Check{Item: "F4", Name: "other ports", Level: Good, Source: forward + "; RFC 9293, 3.10.7.1", play: otherPorts},
		Check{Item: "F4", Name: "the host's own connections", Level: Good, Source: forward, play: ownConnections},
		Check{Item: "F4", Name: "from inside", Level: Good, Source: forward + "; RFC 4787, REQ-9",
			play: forwardedFromInside},
		Check{Item: "F5", Name: "TCP", Level: Must, Source: "RFC 5382, REQ-8; RFC 4787, REQ-9 a)",
			play: func(c *Case) { hairpins(c, "tcp") }},
		Check{Item: "F5", Name: "UDP", Level: Must, Source: "RFC 4787, REQ-9 a)",
			play: func(c *Case) { hairpins(c, "udp") }},
		Check{Item: "F5", Name: "echo", Level: Must, Source: "RFC 5508, REQ-7", play: hairpinEchoes},
		Check{Item: "F5", Name: "other protocols", Level: Good, Source: "RFC 4787, REQ-9 a)", play: hairpinOthers},
		Check{Item: "F6", Name: "ARP is answered", Level: Good, Source: neutron, play: answeredWhileOff},
		Check{Item: "F6", Name: "host unreachable", Level: Must, Source: "RFC 1812, 3.3.2 and 5.2.7.1",
			play: unreachableWhileOff},
		Check{Item: "F6", Name: "host unreachable, from inside", Level: Must, Source: "RFC 1812, 3.3.2 and 5.2.7.1",
			play: unreachableFromInside},
		Check{Item: "F7", Name: "floating IPs", Level: Good, Source: "Neutron, enable_snat", Profile: plainRouter,
			play: floatingWithoutSNAT},
		Check{Item: "F7", Name: "own addresses", Level: Good, Source: "Neutron, enable_snat", Profile: plainRouter,
			play: ownAddressesWithoutSNAT},
		Check{Item: "F7", Name: "moved", Level: Good, Source: "Neutron, enable_snat", Profile: plainRouter,
			play: movedWithoutSNAT},
	)
}

// A oneToOneKind is a packet of a protocol and its answer, as lines between two addresses.
type oneToOneKind struct {
	name        string
	out, answer func(src, dst string) string
}

// oneToOne is what can be translated by address alone, and what has ports besides.
var oneToOne = []oneToOneKind{
	{"tcp", line("tcp %s:4000 > %s:80 S seq 100 win 4096 mss 1460 id 9 tos 40"),
		line("tcp %s:80 > %s:4000 S. seq 500 ack 101 id 9 tos 40")},
	{"udp", line("udp %s:4000 > %s:53 id 9 tos 40 len 20"), line("udp %s:53 > %s:4000 id 9 tos 40 len 30")},
	{"udp without checksum", line("udp %s:4000 > %s:53 id 9 len 20 sum 0"),
		line("udp %s:53 > %s:4000 id 9 len 30 sum 0")},
	{"echo", line("icmp %s > %s request id 5 seq 6 ipid 9 tos 40 len 30"),
		line("icmp %s > %s reply id 5 seq 6 ipid 9 tos 40 len 30")},
	{"timestamp", line("icmp %s > %s type 13 ipid 9 len 12"), line("icmp %s > %s type 14 ipid 9 len 12")},
	{"GRE", line("ip %s > %s proto 47 id 9 tos 40 data 0000080045000014"),
		line("ip %s > %s proto 47 id 9 data 00000800450000140102")},
	{"ESP", line("ip %s > %s proto 50 id 9 tos 40 df len 40"), line("ip %s > %s proto 50 id 9 len 44")},
	{"AH", line("ip %s > %s proto 51 id 9 df len 40"), line("ip %s > %s proto 51 id 9 len 44")},
	{"IP in IP", line("ip %s > %s proto 4 id 9 data 450000140007000040fd66d90a0000010a000002"),
		line("ip %s > %s proto 4 id 9 data 450000140007000040fd66d90a0000020a000001")},
	{"SCTP", sctp(4000, 5000, 0, "01000014112233440000ffff000100011122aabb"),
		sctp(5000, 4000, 0x11223344, "02000020556677880000ffff000100013344ccdd0007000c0102030405060708")},
	{"protocol 253", line("ip %s > %s proto 253 id 9 tos 40 len 20"), line("ip %s > %s proto 253 id 9 len 30")},
	{"protocol 142", line("ip %s > %s proto 142 id 9 len 1"), line("ip %s > %s proto 142 id 9 len 0")},
	{"DCCP", summed(packet.ProtoDCCP, 4000, 5000, 0x0500, "01000000000000070000002a", 0),
		summed(packet.ProtoDCCP, 5000, 4000, 0x0700, "030000000000000900000000000000070000002a", 0)},
	{"UDP-Lite", summed(packet.ProtoUDPLite, 4000, 5000, 8, "010203", 8),
		summed(packet.ProtoUDPLite, 5000, 4000, 0, "0405060708", 0)},
}

// usual is oneToOne without DCCP and UDP-Lite, the last two. Connection tracking that does not know their checksums
// spoils them, so checks about something else leave them out.
var usual = oneToOne[:len(oneToOne)-2]

func line(format string) func(src, dst string) string {
	return func(src, dst string) string { return fmt.Sprintf(format, src, dst) }
}

// sctp is a packet of one chunk. Its CRC is about no address (RFC 9260, 6.8).
func sctp(srcPort, dstPort uint16, tag uint32, chunk string) func(src, dst string) string {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, srcPort), dstPort)
	b = append(binary.BigEndian.AppendUint32(b, tag), 0, 0, 0, 0)
	b = append(b, unhex(chunk)...)
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	return func(src, dst string) string { return fmt.Sprintf("ip %s > %s proto 132 id 9 data %x", src, dst, b) }
}

// summed is a packet of a protocol that has UDP's header, but for the field between ports and
// checksum, and a checksum about the addresses and so many of its bytes; 0: all.
func summed(proto uint8, srcPort, dstPort, field uint16, rest string, covers int) func(src, dst string) string {
	return func(src, dst string) string {
		b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, srcPort), dstPort)
		b = append(binary.BigEndian.AppendUint16(b, field), 0, 0)
		b = append(b, unhex(rest)...)
		from, to := parseAddr(src).As4(), parseAddr(dst).As4()
		sum := slices.Concat(from[:], to[:], []byte{0, proto, 0, byte(len(b))}, b)
		if covers != 0 {
			sum = sum[:12+covers]
		}
		binary.BigEndian.PutUint16(b[6:], onesComplement(sum))
		return fmt.Sprintf("ip %s > %s proto %d id 9 data %x", src, dst, proto, b)
	}
}

// onesComplement is the Internet's checksum (RFC 1071), written down once more: the router's
// own must not be its own judge.
func onesComplement(b []byte) uint16 {
	sum := uint32(0)
	for i, x := range b {
		sum += uint32(x) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// passes has a packet of a kind, or its answer, cross the router, with other addresses behind it.
func (c *Case) passes(from, to string, words func(src, dst string) string, src, dst, newSrc, newDst string) {
	c.Put(from, "%s ttl 9", words(src, dst))
	c.Want(to, "%s ttl 8", words(newSrc, newDst))
}

// Hosts, and the addresses that they show outside.
const (
	vm2, vm3, vm4, vm5 = "172.16.101.2", "172.16.101.3", "172.16.101.4", "172.16.101.5"
	vm6, web1, inner   = "172.16.102.6", "172.16.100.9", "172.16.100.20"
	x1, x2             = "10.10.10.4", "10.10.10.5"
	shared             = "10.10.10.2"
	float3, float5     = "10.10.10.3", "10.10.10.15"
	floatVIP, vip      = "10.10.10.7", "172.16.100.11"
	unused, forwarded  = "10.10.10.9", "10.10.10.8"
)

func bothWays(c *Case, o *oneToOneKind) {
	c.passes("blue", "ext", o.out, vm3, x1, float3, x1)
	c.passes("ext", "blue", o.answer, x1, float3, x1, vm3)
	c.passes("ext", "blue", o.out, x2, float3, x2, vm3)
	c.passes("blue", "ext", o.answer, vm3, x2, float3, x2)
	c.Quiet()
}

// neverShared: whatever a host with a floating IP sends, others use the shared address.
func neverShared(c *Case) {
	for port := 4000; port < 4004; port++ {
		c.external(carriers[0], fmt.Sprintf("%s:%d", vm4, port), x1+":53")
		c.external(carriers[1], fmt.Sprintf("%s:%d", vm4, port), x1+":80")
	}
	for i := range usual {
		for _, to := range []string{x1, x2, "198.51.100.7", "203.0.113.9"} {
			c.Put("blue", "%s", usual[i].out(vm3, to))
			c.Want("ext", "%s", usual[i].out(float3, to))
		}
	}
	// An answer begins no connection of the host's own, and an error begins none at all.
	c.Put("ext", "udp %s:5000 > %s:9 ttl 64 len 20", x1, float3)
	got := c.Want("blue", "udp %s:5000 > %s:9 ttl 63 len 20", x1, vm3)
	c.Put("blue", "icmp %s > %s type 3 code 3 %s", vm3, x1, got.Quote(576))
	c.Want("ext", "icmp %s > %s type 3 code 3 about [udp %s:5000 > %s:9 ttl 63 len 20]", float3, x1, x1, float3)
	c.Put("ext", "tcp %s:5000 > %s:9 S seq 100", x1, float3)
	c.Want("blue", "tcp %s:5000 > %s:9 S seq 100", x1, vm3)
	c.Put("blue", "tcp %s:9 > %s:5000 R. seq 0 ack 101", vm3, x1)
	c.Want("ext", "tcp %s:9 > %s:5000 R. seq 0 ack 101", float3, x1)
	c.Quiet()
}

// portsKept: two hosts' floating IPs and the shared address each have all ports.
func portsKept(c *Case) {
	for _, port := range []int{1, 22, 1023, 4000, 65535} {
		for _, k := range []string{"udp %s:%d > 10.10.10.4:53", "tcp %s:%d > 10.10.10.4:80 S seq 100"} {
			c.Put("blue", k, vm4, port)
			c.Want("ext", strings.Replace(k, "%d", "*", 1), shared)
			c.Put("blue", k, vm3, port)
			c.Want("ext", k, float3, port)
			c.Put("blue", k, vm5, port)
			c.Want("ext", k, float5, port)
		}
		for _, k := range []string{"udp 10.10.10.5:4000 > %s:%d", "tcp 10.10.10.5:4000 > %s:%d S seq 100"} {
			c.Put("ext", k, float3, port)
			c.Want("blue", k, vm3, port)
			c.Put("ext", k, float5, port)
			c.Want("blue", k, vm5, port)
		}
	}
	c.Quiet()
}

// twoHostsOnePeer: what has no ports, or the same ones, is told apart by the address.
func twoHostsOnePeer(c *Case) {
	for i := range usual {
		o := &usual[i]
		c.passes("blue", "ext", o.out, vm3, x1, float3, x1)
		c.passes("blue", "ext", o.out, vm5, x1, float5, x1)
		c.passes("ext", "blue", o.answer, x1, float5, x1, vm5)
		c.passes("ext", "blue", o.answer, x1, float3, x1, vm3)
	}
	c.Quiet()
}

// answersFor reports whether the router answers ARP for an external address.
func (c *Case) answersFor(address string) bool {
	c.arps("ext") // announcements are no answers
	c.Put("ext", "arp who-has %s tell %s", address, x1)
	return len(c.answers("ext", address)) > 0
}

// to1 makes a way between an external host and an internal one by the latter's address.
func to1(floating, fixed string) *way {
	return &way{from: "ext", to: "blue", client: x2, dest: floating, port: 80, udpPort: 53, servers: []string{fixed},
		real: 80, realUDP: 53, shown: x2}
}

// out1 makes a way from an internal host to an external one, which sees the former as shown.
func out1(fixed, shown string) *way {
	return &way{from: "blue", to: "ext", client: fixed, dest: x2, port: 80, udpPort: 53, servers: []string{x2},
		real: 80, realUDP: 53,
		shown: shown, shared: shown == shared}
}

// uses fails unless new connections of every protocol go a way, and their answers back.
func (c *Case) uses(w *way, port int) {
	for _, proto := range []string{"tcp", "udp"} {
		p, out, in := c.open(w, proto, port)
		p.there("%s", out)
		p.back("%s", in)
	}
	c.ping(w, port, "seq 1").reply("seq 1")
}

func associated(c *Case) {
	if c.answersFor(unused) {
		c.Fail("somebody answers for a floating IP that nobody has")
	}
	c.uses(out1(vm4, shared), 4000)
	c.Associate(unused, vm4)
	if !c.answersFor(unused) {
		c.Fail("nobody answers for it")
	}
	c.uses(out1(vm4, unused), 4001)
	c.uses(to1(unused, vm4), 4002)
	gre := &oneToOne[5]
	c.passes("blue", "ext", gre.out, vm4, x1, unused, x1)
	c.passes("ext", "blue", gre.answer, x1, unused, x1, vm4)
	c.uses(out1(vm2, shared), 4000)
	c.Quiet()
}

// begunGoesOn: nothing breaks because a host gets more than it had.
func begunGoesOn(c *Case) {
	tcp := c.connect(wayOf("snat"), 4000)
	udp, out, in := c.open(wayOf("snat"), "udp", 4000)
	echo := c.ping(wayOf("snat"), 77, "seq 1")
	echo.reply("seq 1")
	c.Associate(unused, vm4)
	c.Put("blue", "udp %s:4000 > %s:53 len 9", vm4, x2) // the same endpoint's, but new
	c.Want("ext", "udp %s:4000 > %s:53 len 9", unused, x2)
	for seq := 2; seq < 4; seq++ {
		tcp.there("P. seq %d ack %d len 10", 81+10*seq, 461+20*seq)
		tcp.back("P. seq %d ack %d len 20", 461+20*seq, 91+10*seq)
		udp.there("%s", out)
		udp.back("%s", in)
		echo.request(fmt.Sprintf("seq %d", seq))
		echo.reply(fmt.Sprintf("seq %d", seq))
	}
	tcp.there("F. seq 121 ack 541")
	tcp.back("F. seq 541 ack 122")
	tcp.there(". seq 122 ack 542")
	c.Quiet()
}

// begunEnds: what comes after a rest is new.
func begunEnds(c *Case) {
	_, out, _ := c.open(wayOf("snat"), "udp", 4000)
	c.Associate(unused, vm4)
	c.Wait(c.Timeouts.UDP * 3 / 2)
	c.Put("blue", "udp %s:4000 > %s:53 %s", vm4, x1, out)
	c.Want("ext", "udp %s:4000 > %s:53 %s", unused, x1, out)
	c.Put("ext", "udp %s:53 > %s:4000 %s", x1, shared, out)
	c.None("blue")
}

func hairpinsGoOn(c *Case) {
	old := c.talk(wayOf("hairpin"), 4000)
	c.Associate(unused, vm4)
	old.there("P. seq 121 ack 531 len 9")
	old.back("P. seq 531 ack 130 len 9")
	w := *wayOf("hairpin")
	w.shown, w.shared = unused, false
	c.talk(&w, 4001)
	c.uses(&way{from: "blue", to: "blue", client: vm3, dest: unused, port: 80, udpPort: 53, servers: []string{vm4},
		real: 80, realUDP: 53, shown: float3}, 4002)
	c.Quiet()
}

// anotherOne: a host's floating IP is exchanged for another.
func anotherOne(c *Case) {
	c.Disassociate(float3)
	c.Associate(unused, vm3)
	c.uses(out1(vm3, unused), 4000)
	c.uses(to1(unused, vm3), 4001)
	if c.answersFor(float3) || !c.answersFor(unused) {
		c.Fail("the router answers ARP for the wrong one")
	}
	c.Put("ext", "udp %s:4000 > %s:53", x1, float3)
	c.None("blue")
}

func forwardedGoOn(c *Case) {
	old := c.connect(wayOf("forwarded port"), 4000)
	c.Associate(unused, vm4)
	old.there("P. seq 101 ack 501 len 10")
	old.back("P. seq 501 ack 111 len 10")
	c.connect(wayOf("forwarded port"), 4001).back("P. seq 501 ack 101 len 10")
	udp, _, in := c.open(wayOf("forwarded port"), "udp", 4001)
	udp.back("%s", in)
	c.Quiet()
}

// announced: neighbors that have asked for the address before know another MAC address for it.
// A floating IP that is gone is not announced.
func announced(c *Case, moves bool) {
	c.Wait(5 * time.Second) // the announcements of the start are over
	c.Drop()
	address := unused
	if moves {
		address = float3
	}
	c.Associate(address, vm4)
	c.Wait(2500 * time.Millisecond)
	got := c.announcements("ext", address)
	for _, m := range got {
		if m.to != packet.Broadcast || m.SenderMAC != c.macs["ext"] {
			c.Fail("it is announced by %v", m)
		}
	}
	if len(got) == 0 {
		c.Fail("%s is not announced", address)
	}
	c.Disassociate(address)
	c.Drop()
	c.Wait(2500 * time.Millisecond)
	if got := c.announcements("ext", address); len(got) != 0 {
		c.Fail("%s is announced although it is nobody's: %v", address, got)
	}
}

func onePortTwice(c *Case) {
	w := &way{from: "ext", to: "blue", client: x1, dest: forwarded, port: 8000, servers: []string{vm4}, real: 80,
		shown: x1}
	c.talk(w, 4000)
	w = &way{from: "ext", to: "blue", client: x1, dest: forwarded, udpPort: 8000, servers: []string{vm2}, realUDP: 53,
		shown: x1}
	p, out, in := c.open(w, "udp", 4000)
	p.there("%s", out)
	p.back("%s", in)
	c.Quiet()
}

// refuses fails unless an address of the router's refuses a connection, to a client.
func (c *Case) refuses(network, client, address string, tcp, udp []int) {
	for _, port := range tcp {
		c.Put(network, "tcp %s:4000 > %s:%d S seq 100", client, address, port)
		c.wantResets(reset{network, fmt.Sprintf("%s:%d", address, port), client + ":4000", 0, 101})
	}
	for _, port := range udp {
		line := fmt.Sprintf("udp %s:4000 > %s:%d ttl 64 id 9 tos 0 len 20", client, address, port)
		c.Put(network, "%s", line)
		c.Want(network, "icmp %s > %s type 3 code 3 about [%s]", address, client, line)
	}
}

// otherPorts: an address with forwarded ports refuses all other ports. Among the other ports are the same numbers
// of the other protocol, and the internal ports.
func otherPorts(c *Case) {
	c.refuses("ext", x1, forwarded, []int{22, 80, 2221, 2223, 5353}, []int{53, 2222, 5352})
	c.Quiet()
}

// ownConnections: a forwarded port is the way in only.
func ownConnections(c *Case) {
	in := c.talk(wayOf("forwarded port"), 4000)
	for _, proto := range []string{"tcp", "udp"} {
		for port, w := range map[int]*way{22: out1(vm4, shared), 53: out1(vm4, shared), 80: out1(vm4, shared)} {
			p, out, answer := c.open(w, proto, port)
			p.there("%s", out)
			p.back("%s", answer)
		}
	}
	in.back("P. seq 531 ack 121 len 10")
	c.Quiet()
}
