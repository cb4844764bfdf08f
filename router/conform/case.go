package conform

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
)

// A Case is a check being played. Its methods end the check when something is not as it
// should be.
type Case struct {
	target     Target
	profile    Profile
	wire       Wire
	hosts      *hosts
	macs       map[string]mac      // the router's, by network
	kept       map[string][][]byte // came out, and has been looked at in vain
	skipOthers bool                // pass over packets that are not the wanted ones: others send, too

	// Timeouts are the router's.
	Timeouts Timeouts
}

// A Packet is an IPv4 packet that came out of the router, with what checks ask for.
type Packet struct {
	Network          string
	Eth              []byte
	Line             string // nettest's words for it
	Src, Dst         netip.Addr
	Proto            uint8
	TTL              uint8
	IPID             uint16
	Off              int    // of a fragment, in bytes
	More             bool   // it is not the last one
	SrcPort, DstPort uint16 // of TCP and UDP
	EchoID           uint16 // of an ICMP query
	Seq, Ack         uint32 // of TCP
	Flags            uint8
	Type, Code       uint8 // of ICMP
}

// Fail ends the check.
func (c *Case) Fail(format string, args ...any) { panic(errFailed(fmt.Sprintf(format, args...))) }

// Skip ends the check without an outcome.
func (c *Case) Skip(format string, args ...any) { panic(errSkipped(fmt.Sprintf(format, args...))) }

// broken ends the check with the error of a target that is broken, or that cannot do
// what the check asks for.
func (c *Case) broken(err error) {
	if err != nil {
		panic(err)
	}
}

// learnMACs finds out the router's MAC address on every network, as a host would.
func (c *Case) learnMACs() {
	c.macs, c.kept = map[string]mac{}, map[string][][]byte{}
	c.wire.Answer(c.hosts.answer)
	for _, network := range networks {
		c.macs[network] = c.ask(network)
	}
}

// restart goes on with another router, configured as the one before.
func (c *Case) restart() {
	c.profile.Restarts++
	wire, err := c.target.Start(c.profile)
	c.broken(err)
	old := c.wire
	c.wire = wire
	c.broken(old.Close())
	c.learnMACs()
}

// askers are the hosts that look for the router, and where they look.
var askers = map[string][2]string{
	"blue": {"172.16.101.2", "172.16.101.1"}, "green": {"172.16.100.9", "172.16.100.1"},
	"small": {"172.16.102.6", "172.16.102.1"}, "ext": {"10.10.10.1", "10.10.10.2"},
}

// ask resolves the router's address on a network. The answer comes behind
// everything that the router has made of earlier frames from there.
func (c *Case) ask(network string) mac {
	from, to := netip.MustParseAddr(askers[network][0]), netip.MustParseAddr(askers[network][1])
	own := c.hosts.macOf(network, from)
	eth := make([]byte, packet.ARPLen)
	packet.PutARP(eth, own, packet.Broadcast,
		packet.ARP{Request: true, SenderMAC: own, Sender: packet.AddrFrom(from), Target: packet.AddrFrom(to)})
	c.broken(c.wire.Put(network, eth))
	var kept [][]byte
	for {
		eth := c.next(network, true)
		if eth == nil {
			panic(fmt.Errorf("the router does not answer ARP for %v on %s", to, network))
		}
		if m, ok := packet.DecodeARP(eth); ok && !m.Request && m.Sender == packet.AddrFrom(to) && m.TargetMAC == own {
			c.keep(network, kept)
			return m.SenderMAC
		}
		kept = append(kept, eth)
	}
}

// next is the next frame on a network.
func (c *Case) next(network string, expected bool) []byte {
	if kept := c.kept[network]; len(kept) > 0 {
		c.kept[network] = kept[1:]
		return kept[0]
	}
	eth, err := c.wire.Get(network, expected)
	c.broken(err)
	return eth
}

// Put sends the packet or ARP message of a line (see internal/nettest) to the router: from the
// host that has its source, else from where such a source would come from.
func (c *Case) Put(network, format string, args ...any) {
	c.broken(c.wire.Put(network, c.frame(network, fmt.Sprintf(format, args...))))
}

// frame builds a line's frame as Put sends it.
func (c *Case) frame(network, line string) []byte {
	eth, err := nettest.Parse(line)
	c.broken(err)
	if m, ok := packet.DecodeARP(eth); ok {
		own := c.hosts.macOf(network, m.Sender.Netip())
		if m.SenderMAC.IsZero() {
			m.SenderMAC = own
			packet.PutARP(eth, own, packet.Broadcast, m)
		}
		if !m.Request {
			return nettest.SetMACs(eth, m.SenderMAC, c.macs[network])
		}
		return nettest.SetMACs(eth, m.SenderMAC, packet.Broadcast)
	}
	src := netip.AddrFrom4([4]byte(eth[packet.EthernetLen+12:]))
	return nettest.SetMACs(eth, c.hosts.macOf(network, src), c.macs[network])
}

// PutRaw sends a frame as it is.
func (c *Case) PutRaw(network string, eth []byte) { c.broken(c.wire.Put(network, eth)) }

// Want takes the next IPv4 packet that comes out to a network, and fails unless it is as
// a line says and right in every length and checksum. "*" stands for a port or
// identifier that the line leaves open.
func (c *Case) Want(network, format string, args ...any) *Packet {
	line := fmt.Sprintf(format, args...)
	p := c.Get(network)
	for c.skipOthers && p != nil && nettest.Match(p.fill(line), p.Eth) != nil {
		p = c.Get(network)
	}
	if p == nil {
		c.Fail("nothing came out to %s; wanted %s", network, line)
	}
	if err := nettest.Match(p.fill(line), p.Eth); err != nil {
		c.Fail("on %s: %s", network, strings.TrimPrefix(err.Error(), "nettest: "))
	}
	return p
}

// Get returns the next IPv4 packet that comes out to a network, nil if there is none.
func (c *Case) Get(network string) *Packet { return c.get(network, true) }

func (c *Case) get(network string, expected bool) *Packet {
	for {
		eth := c.next(network, expected)
		if eth == nil {
			return nil
		}
		if binary.BigEndian.Uint16(eth[12:]) == packet.EtherTypeIPv4 {
			return parse(network, eth)
		}
	}
}

// None fails if an IPv4 packet has come out to a network, or comes out now.
func (c *Case) None(all ...string) {
	for _, network := range networks {
		c.ask(network) // what was sent before is through
	}
	for _, network := range all {
		if p := c.get(network, false); p != nil {
			c.Fail("on %s: wanted nothing, got %s", network, p.Line)
		}
	}
}

// Quiet is None for every network.
func (c *Case) Quiet() { c.None(networks...) }

// Drop forgets what has come out so far.
func (c *Case) Drop() {
	for _, network := range networks {
		c.ask(network)
	}
	for _, network := range networks {
		for c.next(network, false) != nil {
		}
	}
}

// Wait lets time pass.
func (c *Case) Wait(d time.Duration) { c.broken(c.wire.Wait(d)) }

// Silence has a host answer ARP no more.
func (c *Case) Silence(network, addr string) {
	c.hosts.silence(network, netip.MustParseAddr(addr), true)
}

// Speak has it answer again.
func (c *Case) Speak(network, addr string) {
	c.hosts.silence(network, netip.MustParseAddr(addr), false)
}

// changer is the target's control. Without one the check is skipped.
func (c *Case) changer() Changer {
	ch, ok := c.wire.(Changer)
	if !ok {
		c.Skip("the target cannot be changed while it runs")
	}
	return ch
}

// Associate gives a floating IP to an internal host, and takes it from the host that had it.
func (c *Case) Associate(floating, fixed string) {
	c.broken(c.changer().Associate(parseAddr(floating), parseAddr(fixed)))
}

// Disassociate takes it away.
func (c *Case) Disassociate(floating string) {
	c.broken(c.changer().Disassociate(parseAddr(floating)))
}

// SetMember has a pool's member get new connections, or none.
func (c *Case) SetMember(pool, member string, up bool) {
	c.broken(c.changer().SetMember(pool, member, up))
}

// keep puts frames before the frames of a network that the check has not taken yet.
func (c *Case) keep(network string, frames [][]byte) {
	c.kept[network] = append(frames, c.kept[network]...)
}

// parse reads what checks ask for.
func parse(network string, eth []byte) *Packet {
	p := &Packet{Network: network, Eth: eth, Line: nettest.Describe(eth)}
	ip := eth[packet.EthernetLen:]
	if len(ip) < packet.IPv4Len {
		return p
	}
	p.Src, p.Dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	p.Proto, p.TTL, p.IPID = ip[9], ip[8], binary.BigEndian.Uint16(ip[4:])
	fragment := binary.BigEndian.Uint16(ip[6:])
	p.Off, p.More = int(fragment&0x1fff)*8, fragment&0x2000 != 0
	l4 := ip[min(len(ip), int(ip[0]&15)*4):]
	if p.Off != 0 || len(l4) < 8 {
		return p
	}
	switch p.Proto {
	case packet.ProtoICMP:
		p.Type, p.Code, p.EchoID = l4[0], l4[1], binary.BigEndian.Uint16(l4[4:])
	case packet.ProtoTCP:
		if len(l4) >= packet.TCPLen {
			p.Seq, p.Ack, p.Flags = binary.BigEndian.Uint32(l4[4:]), binary.BigEndian.Uint32(l4[8:]), l4[13]
		}
		fallthrough
	case packet.ProtoUDP:
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	}
	return p
}

// fill writes the packet's own ports and identifier for the stars of a line.
func (p *Packet) fill(line string) string {
	head, rest, _ := strings.Cut(line, " > ")
	head = strings.Replace(head, ":*", fmt.Sprintf(":%d", p.SrcPort), 1)
	if i := strings.Index(rest, "about ["); i >= 0 { // its stars are no ports of this packet
		return head + " > " + rest
	}
	rest = strings.Replace(rest, ":*", fmt.Sprintf(":%d", p.DstPort), 1)
	rest = strings.Replace(rest, " id *", fmt.Sprintf(" id %d", p.EchoID), 1)
	if rest == "" {
		return head
	}
	return head + " > " + rest
}

// Quote is the packet as an ICMP error quotes it that quotes at most n bytes: a part of
// another line.
func (p *Packet) Quote(n int) string {
	if len(p.Eth)-packet.EthernetLen <= n {
		return "about [" + p.Line + "]"
	}
	return fmt.Sprintf("about [%s cut %d]", p.Line, n)
}
