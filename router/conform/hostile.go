package conform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
)

// hostileChecks are about frames that no host should send. After each flood of them the
// router has to serve as before, and nothing invalid may have come out.
func hostileChecks() []Check {
	check := func(item, name, source string, play func(*Case)) Check {
		return Check{Item: item, Name: name, Level: Good, Source: source, play: play}
	}
	const headers = "RFC 1812, 5.2.2"
	sweep := func(name string, from, to int, seeds ...[]seed) Check {
		return check("H1", name, headers, func(c *Case) { sweepBytes(c, from, to, slices.Concat(seeds...)) })
	}
	return []Check{
		sweep("ethernet", 0, packet.EthernetLen, arpSeeds[:2], udpSeeds, tcpSeeds[:2], icmpSeeds),
		sweep("arp", packet.EthernetLen, packet.ARPLen, arpSeeds),
		sweep("ipv4", packet.EthernetLen, transportAt, udpSeeds, tcpSeeds, icmpSeeds),
		sweep("ipv4 options", transportAt, transportAt+12, optionSeeds),
		sweep("udp", transportAt, transportAt+packet.UDPLen, udpSeeds),
		sweep("tcp", transportAt, transportAt+packet.TCPLen+20, tcpSeeds),
		sweep("icmp", transportAt, transportAt+packet.ICMPLen, icmpSeeds),
		sweep("icmp errors", transportAt, transportAt+packet.ICMPLen+packet.IPv4Len+packet.UDPLen, errorSeeds),
		check("H1", "several at once", headers, severalAtOnce),
		check("H1", "cut short", headers, cutShort),
		check("H1", "short packets", headers, shortPackets),
		check("H1", "other destinations", "IEEE 802.3, 4.2.4.1.1", otherDestinations),
		check("H1", "other protocols", "RFC 894", otherEtherTypes),
		check("H2", "land", "RFC 1812, 5.3.7", land),
		check("H3", "spoofed gateway", "RFC 826", spoofedGateway),
		check("H4", "runts", "IEEE 802.3, 3.1.1", runts),
		check("H5", "giants", "RFC 791, 3.2", giants),
	}
}

const transportAt = packet.EthernetLen + packet.IPv4Len

// A seed is a good frame, to be spoilt.
type seed struct{ network, line string }

// The seeds. MAPPING and CONNECTION are the external ports of what opening opens.
var (
	arpSeeds = []seed{
		{"blue", "arp who-has 172.16.101.1 tell 172.16.101.4"}, {"ext", "arp who-has 10.10.10.3 tell 10.10.10.4"},
		{"ext", "arp who-has 10.10.10.4 tell 10.10.10.4"},
		{"blue", "arp reply 172.16.101.4 is-at any for 172.16.101.1"},
	}
	udpSeeds = []seed{
		{"blue", "udp 172.16.101.4:4000 > 198.51.100.7:53 len 20"},
		{"ext", "udp 198.51.100.7:53 > 10.10.10.2:MAPPING len 20"},
		{"ext", "udp 198.51.100.7:53 > 10.10.10.3:53 len 21"}, {"ext", "udp 198.51.100.7:4000 > 10.10.10.7:53 len 20"},
		{"small", "udp 172.16.102.6:4000 > 172.16.101.4:53 len 20"},
	}
	tcpSeeds = []seed{
		{"blue", "tcp 172.16.101.4:5000 > 198.51.100.7:80 S seq 100 opts " +
			"020405b40402080a00000001000000000103030700000000"},
		{"blue", "tcp 172.16.101.4:4000 > 198.51.100.7:80 P. seq 101 ack 501 len 20 opts 0101080a0000000100000002"},
		{"ext", "tcp 198.51.100.7:80 > 10.10.10.2:CONNECTION P. seq 501 ack 101 len 20 opts 0101080a0000000100000002"},
		{"ext", "tcp 198.51.100.7:5000 > 10.10.10.3:80 S seq 100 mss 1460 len 20"},
		{"ext", "tcp 198.51.100.7:5000 > 10.10.10.7:80 S seq 100 mss 1460 len 20"},
	}
	icmpSeeds = []seed{
		{"blue", "icmp 172.16.101.4 > 198.51.100.7 request id 5 seq 1 len 20"},
		{"ext", "icmp 198.51.100.7 > 10.10.10.2 request id 5 seq 1 len 20"},
		{"ext", "icmp 198.51.100.7 > 10.10.10.3 request id 5 seq 1 len 20"},
		{"ext", "icmp 198.51.100.7 > 10.10.10.2 reply id 5 seq 1 len 20"},
	}
	errorSeeds = []seed{
		{"ext", "icmp 192.0.2.1 > 10.10.10.2 type 11 about [udp 10.10.10.2:MAPPING > 198.51.100.7:53 len 20 cut 28]"},
		{"ext", "icmp 192.0.2.1 > 10.10.10.2 type 3 code 4 mtu 1400 about [udp 10.10.10.2:MAPPING > 198.51.100.7:53 " +
			"len 20]"},
		{"ext", "icmp 192.0.2.1 > 10.10.10.2 type 3 code 1 about [tcp 10.10.10.2:CONNECTION > 198.51.100.7:80 . seq " +
			"101 len 20]"},
		{"blue", "icmp 172.16.101.3 > 198.51.100.7 type 3 code 3 about [udp 198.51.100.7:53 > 172.16.101.3:53 len 20]"},
	}
	optionSeeds = []seed{
		{"blue", "udp 172.16.101.4:4000 > 198.51.100.7:53 len 20 ipopts 940400000707040000000000"},
		{"ext", "udp 198.51.100.7:53 > 10.10.10.3:53 len 20 ipopts 44080500000000005e040102"},
	}
)

// An opening is what there was before the flood, and must be there after it.
type opening struct {
	c                   *Case
	mapping, connection uint16 // external ports of 172.16.101.4:4000, to be played with
	spared              uint16 // and of 172.16.101.2:4100
}

func (c *Case) opening() *opening {
	o := &opening{c: c, mapping: c.external(carriers[0], "172.16.101.4:4000", "198.51.100.7:53")}
	o.connection = o.connect("172.16.101.4:4000", "198.51.100.7:80")
	o.spared = o.connect("172.16.101.2:4100", "203.0.113.9:80")
	return o
}

// connect opens a TCP connection from blue, and returns its external port.
func (o *opening) connect(from, to string) uint16 {
	port := o.c.external(carriers[1], from, to+" S seq 100")
	o.c.Put("ext", "tcp %s > 10.10.10.2:%d S. seq 500 ack 101", to, port)
	o.c.Want("blue", "tcp %s > %s S. seq 500 ack 101", to, from)
	o.c.Put("blue", "tcp %s > %s . seq 101 ack 501", from, to)
	o.c.Want("ext", "tcp 10.10.10.2:%d > %s . seq 101 ack 501", port, to)
	return port
}

// frame is a seed's frame.
func (o *opening) frame(s seed) []byte {
	line := strings.NewReplacer("MAPPING", fmt.Sprint(o.mapping), "CONNECTION",
		fmt.Sprint(o.connection)).Replace(s.line)
	return o.c.frame(s.network, line)
}

// goesOn fails unless the router serves all hosts as before. First the hosts announce themselves
// again, because some of the flood was good ARP.
func (o *opening) goesOn() {
	c := o.c
	for _, network := range networks {
		for _, a := range population[network] {
			c.Put(network, "arp who-has %s tell %s", a, a)
		}
	}
	c.judge(sound)
	c.Put("blue", "tcp 172.16.101.2:4100 > 203.0.113.9:80 P. seq 101 ack 501 len 9")
	c.Want("ext", "tcp 10.10.10.2:%d > 203.0.113.9:80 P. seq 101 ack 501 len 9", o.spared)
	c.Put("ext", "tcp 203.0.113.9:80 > 10.10.10.2:%d P. seq 501 ack 110 len 9", o.spared)
	c.Want("blue", "tcp 203.0.113.9:80 > 172.16.101.2:4100 P. seq 501 ack 110 len 9")
	c.external(carriers[0], "172.16.101.2:4200", "203.0.113.9:53")
	c.Put("ext", "udp 203.0.113.9:53 > 10.10.10.3:53 len 9")
	c.Want("blue", "udp 203.0.113.9:53 > 172.16.101.3:53 len 9")
	c.Put("ext", "tcp 203.0.113.9:4300 > 10.10.10.7:80 S")
	if p := c.Get("green"); p == nil || p.Flags != packet.SYN || p.DstPort != 80 {
		c.Fail("the VIP serves no more: %+v", p)
	}
	c.Put("ext", "icmp 203.0.113.9 > 10.10.10.2 request id 5 seq 1")
	c.Want("ext", "icmp 10.10.10.2 > 203.0.113.9 reply id 5 seq 1")
	c.Quiet()
}

// judge takes all that has come out so far.
func (c *Case) judge(sound func(c *Case, network string, eth []byte) error) {
	for _, network := range networks {
		c.ask(network) // what was put anywhere is through
	}
	for _, network := range networks {
		for eth := c.next(network, false); eth != nil; eth = c.next(network, false) {
			if err := sound(c, network, eth); err != nil {
				c.Fail("on %s: %v: %s", network, err, nettest.Describe(eth))
			}
		}
	}
}

// sound returns the fault of a frame from the router, nil if it has none.
func sound(c *Case, network string, eth []byte) error {
	if err := valid(eth); err != nil {
		return err
	}
	switch to, from := mac(eth[:6]), mac(eth[6:12]); {
	case from != c.macs[network]:
		return fmt.Errorf("from %v, which is not the router's", from)
	case to == from, to.IsZero():
		return fmt.Errorf("to %v", to)
	case len(eth) > packet.EthernetLen+c.profile.mtu(network):
		return fmt.Errorf("%d bytes", len(eth))
	}
	if m, ok := packet.DecodeARP(eth); ok {
		sender := m.Sender.Netip().String()
		if m.SenderMAC != c.macs[network] || !slices.Contains(ownAddresses[network], sender) {
			return fmt.Errorf("it says that %s is at %v", sender, m.SenderMAC)
		}
		return nil
	}
	if mac(eth[:6]).IsGroup() {
		return fmt.Errorf("a packet to %v", mac(eth[:6]))
	}
	if eth[packet.EthernetLen+8] == 0 {
		return errors.New("a TTL of zero")
	}
	return nil
}

// valid is nettest's verification, but for two things: what lies between the end of a UDP
// datagram and that of its packet is allowed (RFC 9868), and not covered by the checksum;
// and the transport header that an ICMP error quotes is the receiver's business (RFC
// 5508, REQ-3 c).
func valid(eth []byte) error {
	err := nettest.Verify(eth)
	if err == nil || len(eth) < transportAt+packet.UDPLen || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 {
		return err
	}
	ip := slices.Clone(eth[packet.EthernetLen:])
	header, n := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if ip[0]>>4 != 4 || header < packet.IPv4Len || n > len(ip) || n < header+packet.UDPLen ||
		packet.Sum(ip[:header]) != 0xffff {
		return err
	}
	l4 := ip[header:n]
	switch ip[9] {
	case packet.ProtoUDP:
		udp := int(binary.BigEndian.Uint16(l4[4:]))
		if udp < packet.UDPLen || udp >= len(l4) {
			return err
		}
		n = header + udp
	case packet.ProtoICMP:
		quote := l4[packet.ICMPLen:]
		if packet.Sum(l4) != 0xffff || len(quote) < packet.IPv4Len || quote[0]>>4 != 4 {
			return err
		}
		if h := int(quote[0]&15) * 4; h < packet.IPv4Len || h > len(quote) || packet.Sum(quote[:h]) != 0xffff {
			return err
		}
		return nil
	default:
		return err
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(n))
	packet.SetIPv4Checksum(ip)
	return nettest.Verify(append(slices.Clone(eth[:packet.EthernetLen]), ip[:n]...))
}

// values are what a byte is replaced by: each bit turned, its neighbors, and the ends.
func values(b byte) []byte {
	all := []byte{0, 0xff, b + 1, b - 1}
	for bit := range 8 {
		all = append(all, b^1<<bit)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(v byte) bool { return v == b })
}

// sweepBytes sends seeds with every single byte of a header replaced, and checksums that
// are right all the same, unless it is the checksum's byte.
func sweepBytes(c *Case, from, to int, seeds []seed) {
	o := c.opening()
	for _, s := range seeds {
		good := o.frame(s)
		sum := sumOf(good)
		for at := from; at < min(to, len(good)); at++ {
			if at == sum && sum > from {
				c.judge(sound)
			}
			for _, v := range values(good[at]) {
				eth := slices.Clone(good)
				eth[at] = v
				mend(eth, at)
				c.PutRaw(s.network, eth)
			}
			if at == sum+1 {
				c.judge(stillWrong(good))
			}
		}
		c.judge(sound)
	}
	o.goesOn()
}

// sumOf is the place of a frame's transport checksum, -1 if it has none.
func sumOf(eth []byte) int {
	if binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 {
		return -1
	}
	l4 := packet.EthernetLen + int(eth[packet.EthernetLen]&15)*4
	return l4 + map[byte]int{packet.ProtoUDP: 6, packet.ProtoTCP: 16, packet.ProtoICMP: 2}[eth[packet.EthernetLen+9]]
}

// stillWrong judges what comes of a packet whose transport checksum is wrong.
func stillWrong(good []byte) func(*Case, string, []byte) error {
	return func(c *Case, network string, eth []byte) error {
		p := parse(network, eth)
		if _, isARP := packet.DecodeARP(eth); isARP || p.Proto != good[23] || p.Proto == packet.ProtoICMP &&
			p.Type == packet.ICMPUnreachable {
			return sound(c, network, eth) // it is about the packet
		}
		if valid(eth) == nil {
			return errors.New("the checksum was wrong before")
		}
		return nil
	}
}

// mend computes the checksums of a frame anew, as far as its headers let it, but not one
// that has been changed on purpose.
func mend(eth []byte, changed int) {
	if len(eth) < transportAt || binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 {
		return
	}
	ip := eth[packet.EthernetLen:]
	header, n := int(ip[0]&15)*4, min(len(ip), int(binary.BigEndian.Uint16(ip[2:])))
	if header < packet.IPv4Len || header > n {
		header = packet.IPv4Len // no router gets as far as the checksum
	}
	mendTransport(ip[:max(n, header)], header, changed-packet.EthernetLen-header)
	if at := changed - packet.EthernetLen; at != 10 && at != 11 {
		sum := ip[:header]
		sum[10], sum[11] = 0, 0
		binary.BigEndian.PutUint16(sum[10:], ^packet.Sum(sum))
	}
}

// mendTransport mends the bytes behind the IP header. The place changed counts from the end of that header.
func mendTransport(ip []byte, header, changed int) {
	if ip[0]>>4 != 4 || int(ip[0]&15)*4 != header {
		return
	}
	l4 := ip[header:]
	sumAt, least := 0, 0
	switch ip[9] {
	case packet.ProtoUDP:
		sumAt, least = 6, packet.UDPLen
		if len(l4) >= least {
			if n := int(binary.BigEndian.Uint16(l4[4:])); n >= packet.UDPLen && n <= len(l4) {
				ip = ip[:header+n]
			}
		}
	case packet.ProtoTCP:
		sumAt, least = 16, packet.TCPLen
	case packet.ProtoICMP:
		sumAt, least = 2, packet.ICMPLen
		if quoted := l4[min(len(l4), packet.ICMPLen):]; len(quoted) >= packet.IPv4Len && quoted[0]&15 == 5 &&
			changed != packet.ICMPLen+10 && changed != packet.ICMPLen+11 {
			packet.SetIPv4Checksum(quoted)
		}
	}
	if least > 0 && len(l4) >= least && changed != sumAt && changed != sumAt+1 {
		packet.SetTransportChecksum(ip)
	}
}

// severalAtOnce changes up to six bytes of a frame, wherever they are, always the same ones.
func severalAtOnce(c *Case) {
	o := c.opening()
	rng := rand.New(rand.NewPCG(1, 2))
	seeds := slices.Concat(arpSeeds, udpSeeds, tcpSeeds, icmpSeeds, errorSeeds, optionSeeds)
	for i := range 3000 {
		s := seeds[rng.IntN(len(seeds))]
		eth := o.frame(s)
		for range 1 + rng.IntN(6) {
			eth[12+rng.IntN(len(eth)-12)] = byte(rng.Uint32())
		}
		if rng.IntN(4) == 0 {
			eth = eth[:packet.EthernetLen+rng.IntN(len(eth)-packet.EthernetLen)]
		}
		mend(eth, 0)
		c.PutRaw(s.network, eth)
		if i%100 == 0 {
			c.judge(sound)
		}
	}
	c.judge(sound)
	o.goesOn()
}

// cutShort sends the beginnings of frames: nothing comes of any, since each says how
// long it should be.
func cutShort(c *Case) {
	o := c.opening()
	for _, s := range slices.Concat(arpSeeds, udpSeeds, tcpSeeds, icmpSeeds, errorSeeds, optionSeeds) {
		eth := o.frame(s)
		for n := packet.EthernetLen; n < len(eth); n++ {
			c.PutRaw(s.network, eth[:n])
		}
	}
	for _, network := range networks {
		for _, m := range c.arps(network) {
			if m.Sender != m.Target {
				c.Fail("a part of a frame is answered on %s: %+v", network, m)
			}
		}
	}
	c.Quiet()
	o.goesOn()
}

// shortPackets end early as well, but say so: in the middle of a header, or behind it.
func shortPackets(c *Case) {
	o := c.opening()
	for _, s := range slices.Concat(udpSeeds, tcpSeeds, icmpSeeds, errorSeeds, optionSeeds) {
		eth := o.frame(s)
		for n := transportAt; n < len(eth); n++ {
			short := slices.Clone(eth[:n])
			binary.BigEndian.PutUint16(short[packet.EthernetLen+2:], uint16(n-packet.EthernetLen))
			mend(short, 0)
			c.PutRaw(s.network, short)
		}
		c.judge(sound)
	}
	o.goesOn()
}

// otherDestinations are hosts' MAC addresses that differ from the router's by one bit or in all.
func otherDestinations(c *Case) {
	o := c.opening()
	for _, s := range slices.Concat(udpSeeds, tcpSeeds, icmpSeeds) {
		eth := o.frame(s)
		for at := range 6 {
			for _, v := range values(eth[at]) {
				other := slices.Clone(eth)
				if other[at] = v; !mac(other[:6]).IsGroup() {
					c.PutRaw(s.network, other)
				}
			}
		}
		clear(eth[:6])
		c.PutRaw(s.network, eth)
	}
	c.Quiet()
	o.goesOn()
}

// otherEtherTypes carry a good packet, behind something or at once.
func otherEtherTypes(c *Case) {
	o := c.opening()
	for _, s := range []seed{udpSeeds[0], udpSeeds[2], tcpSeeds[3]} {
		for _, typ := range []uint16{0, 46, 1500, 1501, 0x0801, 0x0805, 0x22f3, 0x6558, 0x8035, 0x8137, 0x86dd, 0x8847,
			0x8848,
			0x8863, 0x8864, 0x8870, 0x888e, 0x88a8, 0x88cc, 0x88e5, 0x88f7, 0x8906, 0x893f, 0x9000, 0x9100, 0xffff} {
			eth := o.frame(s)
			binary.BigEndian.PutUint16(eth[12:], typ)
			c.PutRaw(s.network, eth)
		}
	}
	c.Quiet()
	o.goesOn()
}

// land sends packets from an address of the router to the same address. A host that answers such
// packets goes on talking to itself.
func land(c *Case) {
	o := c.opening()
	for _, all := range ownAddresses {
		for _, a := range all {
			for _, network := range networks {
				for _, line := range []string{"tcp %[1]s:80 > %[1]s:80 S", "udp %[1]s:53 > %[1]s:53 len 9",
					"udp %[1]s:7 > %[1]s:7 len 9",
					"icmp %[1]s > %[1]s request id 5 seq 1", "tcp %[1]s:2222 > %[1]s:2222 S",
					"udp %[1]s:5353 > %[1]s:5353"} {
					c.Put(network, line, a)
				}
			}
		}
	}
	c.Quiet()
	o.goesOn()
}

// spoofedGateway has hosts of one network claim addresses of another network's hosts, and of the router.
func spoofedGateway(c *Case) {
	c.opening() // the neighbors are known
	for _, line := range []string{
		"arp who-has 10.10.10.1 tell 10.10.10.1 from %v", "arp reply 10.10.10.1 is-at %v for 172.16.101.1",
		"arp who-has 172.16.101.1 tell 10.10.10.1 from %v",
		"arp who-has 172.16.101.1 tell 172.16.101.1 from %v", "arp reply 172.16.101.1 is-at %v for 172.16.101.4",
		"arp reply 10.10.10.2 is-at %v for 172.16.101.1", "arp who-has 172.16.100.9 tell 172.16.100.9 from %v",
	} {
		c.Put("blue", line, otherMAC)
	}
	c.Put("blue", "udp 172.16.101.4:6000 > 198.51.100.7:53")
	p := c.Want("ext", "udp 10.10.10.2:* > 198.51.100.7:53")
	c.toward(p, "10.10.10.1")
	c.Put("blue", "udp 172.16.101.4:6000 > 172.16.100.9:53")
	c.toward(c.Want("green", "udp 172.16.101.4:6000 > 172.16.100.9:53"), "172.16.100.9")
	c.Put("ext", "udp 198.51.100.7:53 > 10.10.10.2:%d", p.SrcPort)
	c.Want("blue", "udp 198.51.100.7:53 > 172.16.101.4:6000")
	if again := c.ask("blue"); again != c.macs["blue"] {
		c.Fail("the router is at %v now", again)
	}
}

// runts are shorter than an Ethernet header.
func runts(c *Case) {
	o := c.opening()
	for _, s := range []seed{arpSeeds[0], udpSeeds[0], udpSeeds[2]} {
		eth := o.frame(s)
		for n := range packet.EthernetLen {
			c.PutRaw(s.network, eth[:n])
		}
	}
	c.Quiet()
	o.goesOn()
}

// giants are larger than the network allows. What comes of them fits.
func giants(c *Case) {
	o := c.opening()
	for i, n := range []int{1473, 2000, 8900, 9000, 65000, 65507} {
		for _, line := range []string{"udp 172.16.101.4:%d > 198.51.100.7:53 len %d",
			"udp 172.16.101.4:%d > 198.51.100.7:53 len %d df", "udp 172.16.101.4:%d > 172.16.102.6:53 len %d"} {
			c.Put("blue", line, 7000+i, n)
		}
		c.Put("ext", "icmp 10.10.10.4 > 10.10.10.2 request id 5 seq %d len %d", i, n)
		c.judge(sound)
	}
	o.goesOn()
}

func parseAddr(s string) netip.Addr { return netip.MustParseAddr(s) }
