package conform

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
)

// arpChecks are the items of RFC 826 and 5227, and of Ethernet beside IP.
func arpChecks() []Check {
	return []Check{
		{Item: "A1", Name: "answers", Level: Must, Source: "RFC 826", play: answersARP},
		{Item: "A1", Name: "answers for nobody else", Level: Must, Source: "RFC 826; RFC 1027",
			play: answersForNobodyElse},
		{Item: "A1", Name: "probes", Level: Must, Source: "RFC 5227, 2.1.1", play: answersProbes},
		{Item: "A1", Name: "strangers", Level: Good, Source: "RFC 826", play: arpFromStrangers},
		{Item: "A1", Name: "impossible senders", Level: Good, Source: "RFC 1812, 5.3.7", play: arpFromNobody},
		{Item: "A1", Name: "known senders are followed", Level: Must, Source: "RFC 826", play: knownSendersFollowed},
		{Item: "A1", Name: "unasked replies", Level: Good, Source: "RFC 826", play: unaskedReplies},
		{Item: "A1", Name: "malformed", Level: Must, Source: "RFC 826", play: malformedARP},
		{Item: "A1", Name: "group addresses", Level: Must, Source: "RFC 1812, 3.3.2", play: groupInARP},
		{Item: "A2", Name: "packets wait", Level: Should, Source: "RFC 1122, 2.3.2.2", play: packetsWait},
		{Item: "A2", Name: "few packets wait", Level: Good, Source: "RFC 1122, 2.3.2.2", play: fewPacketsWait},
		{Item: "A2", Name: "one request a second", Level: Must, Source: "RFC 1122, 2.3.2.1", play: requestRate},
		{Item: "A2", Name: "asked again", Level: Good, Source: "RFC 1122, 2.3.2.1", play: askedAgain},
		{Item: "A3", Name: "unicast probe", Level: Should, Source: "RFC 1122, 2.3.2.1", play: unicastProbe},
		{Item: "A4", Name: "announces", Level: Must, Source: "RFC 5227, 2.3", play: announces},
		{Item: "A4", Name: "stays", Level: Good, Source: "RFC 5227, 2.4", play: claimedByAnother},
		{Item: "A4", Name: "defends", Level: Must, Source: "RFC 5227, 2.4", play: defends},
		{Item: "A6", Name: "gratuitous ARP moves a host", Level: Must, Source: "RFC 826; RFC 5227, 3",
			play: gratuitousMoves},
		{Item: "A6", Name: "gratuitous ARP makes no host", Level: Good, Source: "RFC 5227, 3",
			play: gratuitousMakesNone},
		{Item: "L2-1", Name: "padding", Level: Must, Source: "RFC 1812, 5.2.2; RFC 894", play: paddingEnds},
		{Item: "L2-2", Name: "priority tag", Level: Good, Source: "IEEE 802.1Q, 6.9", play: priorityTag},
		{Item: "L2-2", Name: "tags", Level: Good, Source: "IEEE 802.1Q, 6.9", play: taggedFrames},
		{Item: "L2-3", Name: "bridges' own frames", Level: Must, Source: "IEEE 802.1Q, 8.6.3", play: reservedFrames},
	}
}

// An arpFrame is an ARP message and the frame it came in.
type arpFrame struct {
	packet.ARP
	to mac // the frame's destination
}

// String is the message as a line, and where it goes.
func (m arpFrame) String() string {
	eth := packet.PutARP(make([]byte, packet.ARPLen), m.SenderMAC, m.to, m.ARP)
	return fmt.Sprintf("%s, sent to %v", nettest.Describe(eth), m.to)
}

// arps takes every ARP message that has come out to a network by now. Packets among them
// are left to be got.
func (c *Case) arps(network string) (all []arpFrame) {
	c.ask(network)
	var packets [][]byte
	for eth := c.next(network, false); eth != nil; eth = c.next(network, false) {
		if m, ok := packet.DecodeARP(eth); ok {
			all = append(all, arpFrame{m, mac(eth[:6])})
		} else {
			packets = append(packets, eth)
		}
	}
	c.keep(network, packets)
	return all
}

// answers returns the replies in which the router says that an address is its own.
func (c *Case) answers(network, address string) (all []arpFrame) {
	for _, m := range c.arps(network) {
		if m.Sender == packet.AddrFrom(parseAddr(address)) && !m.Request {
			all = append(all, m)
		}
	}
	return all
}

// announcements returns the messages in which it says so unasked.
func (c *Case) announcements(network, address string) (all []arpFrame) {
	for _, m := range c.arps(network) {
		if m.Sender == packet.AddrFrom(parseAddr(address)) && m.Sender == m.Target {
			all = append(all, m)
		}
	}
	return all
}

// requests counts the requests for an address, and returns the last.
func requests(all []arpFrame, address string) (n int, last arpFrame) {
	for _, m := range all {
		if m.Request && m.Target == packet.AddrFrom(parseAddr(address)) && m.Sender != m.Target {
			n, last = n+1, m
		}
	}
	return n, last
}

// ownAddresses are the router's, by network.
var ownAddresses = map[string][]string{
	"blue": {"172.16.101.1"}, "green": {"172.16.100.1", "172.16.100.11"}, "small": {"172.16.102.1", "172.16.103.0"},
	"ext": {"10.10.10.2", "10.10.10.3", "10.10.10.7", "10.10.10.8", "10.10.10.15"},
}

func answersARP(c *Case) {
	for _, network := range networks {
		for _, a := range ownAddresses[network] {
			c.Drop() // announcements
			who := askers[network][0]
			if a == "172.16.103.0" {
				who = "172.16.103.1"
			}
			c.Put(network, "arp who-has %s tell %s", a, who)
			got := c.answers(network, a)
			if len(got) != 1 || got[0].Request || got[0].SenderMAC != c.macs[network] ||
				got[0].Target != packet.AddrFrom(parseAddr(who)) ||
				got[0].TargetMAC != c.hosts.macOf(network, parseAddr(who)) || got[0].to != got[0].TargetMAC {
				c.Fail("%s on %s: answered with %v", a, network, got)
			}
		}
	}
}

// answersForNobodyElse: on a network the router does not answer for other hosts, for addresses of other
// networks, for addresses that it translates on another network or not at all, or for addresses that no host has.
func answersForNobodyElse(c *Case) {
	for _, x := range []struct {
		network string
		all     []string
	}{
		{"blue", []string{"172.16.101.2", "172.16.101.3", "172.16.101.9", "172.16.101.0", "172.16.101.255",
			"172.16.100.1", "10.10.10.2",
			"10.10.10.3", "198.51.100.7", "0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "192.168.10.5"}},
		{"green", []string{"172.16.100.9", "172.16.100.20", "172.16.101.1", "10.10.10.7"}},
		{"ext", []string{"10.10.10.9", "10.10.10.1", "10.10.10.4", "172.16.101.1", "172.16.100.11", "172.16.101.3",
			"198.51.100.7"}},
	} {
		for _, a := range x.all {
			c.Drop()
			c.Put(x.network, "arp who-has %s tell %s", a, askers[x.network][0])
			if got := c.answers(x.network, a); len(got) != 0 {
				c.Fail("on %s, the router answers for %s: %v", x.network, a, got)
			}
		}
	}
}

// answersProbes: a host that probes for an address before it takes it has no address yet (RFC 5227).
func answersProbes(c *Case) {
	for _, network := range networks {
		for _, a := range ownAddresses[network] {
			c.Drop()
			c.Put(network, "arp who-has %s tell 0.0.0.0 from 02:00:00:00:00:77", a)
			got := c.answers(network, a)
			if len(got) != 1 || got[0].Request || got[0].SenderMAC != c.macs[network] ||
				got[0].to != (mac{2, 0, 0, 0, 0, 0x77}) {
				c.Fail("a probe for %s on %s: answered with %v", a, network, got)
			}
		}
	}
}

// arpFromStrangers: a host that is on this network and has an address of another one asks with the
// address that its packet comes from. It is answered, and this draws no other traffic to it.
func arpFromStrangers(c *Case) {
	for _, network := range networks {
		for _, sender := range []string{"192.0.2.7", "198.51.100.7", "172.16.100.9", "172.16.101.4", "10.10.10.4"} {
			if network == "ext" && sender == "10.10.10.4" || network == "blue" && sender == "172.16.101.4" ||
				network == "green" && sender == "172.16.100.9" {
				continue // it is at home here
			}
			for _, a := range ownAddresses[network] {
				c.Drop()
				c.Put(network, "arp who-has %s tell %s from %v", a, sender, otherMAC)
				got := c.answers(network, a)
				if len(got) != 1 || got[0].Request || got[0].SenderMAC != c.macs[network] || got[0].to != otherMAC {
					c.Fail("%s asks for %s on %s: answered with %v", sender, a, network, got)
				}
			}
		}
	}
	c.Drop()
	c.Put("blue", "udp 172.16.101.4:4000 > 172.16.100.9:5000")
	c.toward(c.Want("green", "udp 172.16.101.4:4000 > 172.16.100.9:5000"), "172.16.100.9")
	c.unknownStays("172.16.101.4")
}

// arpFromNobody: no host anywhere has such an address.
func arpFromNobody(c *Case) {
	for _, sender := range []string{"127.0.0.1", "224.0.0.5", "255.255.255.255", "0.0.0.1"} {
		c.Drop()
		c.Put("blue", "arp who-has 172.16.101.1 tell %s from %v", sender, otherMAC)
		if got := c.answers("blue", "172.16.101.1"); len(got) != 0 {
			c.Fail("answered to %s: %v", sender, got)
		}
	}
}

// reach sends a packet to a host on blue, and returns the MAC address it goes to; zero: none yet.
func (c *Case) reach(host string) (m mac) {
	c.Put("green", "udp 172.16.100.9:4000 > %s:5000", host)
	c.ask("green")
	c.ask("blue")
	for p := c.get("blue", true); p != nil; p = c.get("blue", false) {
		m = mac(p.Eth[:6])
	}
	return m
}

var otherMAC = mac{2, 0, 0, 0, 0, 0x77}

// knownSendersFollowed: a host that asks for the router, with another MAC address than before.
func knownSendersFollowed(c *Case) {
	if c.reach("172.16.101.4") != c.hosts.macOf("blue", parseAddr("172.16.101.4")) {
		c.Fail("the host is not reached at all")
	}
	c.Wait(1200 * time.Millisecond) // Linux lets a neighbor change its MAC address once a second at most
	c.Put("blue", "arp who-has 172.16.101.1 tell 172.16.101.4 from %v", otherMAC)
	if got := c.reach("172.16.101.4"); got != otherMAC {
		c.Fail("the host has moved to %v, packets go to %v", otherMAC, got)
	}
}

// unknownStays fails if a host that the router has never asked for is reached at the MAC address
// that an attacker has claimed for it.
func (c *Case) unknownStays(host string) {
	if got, want := c.reach(host), c.hosts.macOf("blue", parseAddr(host)); got != want {
		c.Fail("nobody has asked for %s, packets go to %v, not to %v", host, got, want)
	}
}

func unaskedReplies(c *Case) {
	c.Put("blue", "arp reply 172.16.101.4 is-at %v for 172.16.101.1", otherMAC)
	c.unknownStays("172.16.101.4")
}

// malformedARP would change the sender's MAC address, and be answered, were it not for one
// field or its length.
func malformedARP(c *Case) {
	const host = "172.16.101.4"
	c.reach(host)
	c.Wait(1200 * time.Millisecond)
	put := func(at int, value ...byte) func([]byte) []byte {
		return func(eth []byte) []byte {
			copy(eth[packet.EthernetLen+at:], value)
			return eth
		}
	}
	for _, x := range []struct {
		what string
		fn   func([]byte) []byte
	}{
		{"hardware type 0", put(0, 0, 0)}, {"hardware type 15", put(0, 0, 15)}, {"protocol 0x86dd", put(2, 0x86, 0xdd)},
		{"protocol 0x0801", put(2, 8, 1)}, {"hardware length 0", put(4, 0)}, {"hardware length 5", put(4, 5)},
		{"hardware length 8", put(4, 8)}, {"hardware length 255", put(4, 255)}, {"protocol length 0", put(5, 0)},
		{"protocol length 3", put(5, 3)}, {"protocol length 16", put(5, 16)}, {"operation 0", put(6, 0, 0)},
		{"operation 3", put(6, 0, 3)}, {"operation 257", put(6, 1, 1)},
		{"28 bytes of frame", func(eth []byte) []byte { return eth[:28] }},
		{"41 bytes of frame", func(eth []byte) []byte { return eth[:41] }},
	} {
		c.Drop()
		eth := c.frame("blue", fmt.Sprintf("arp who-has 172.16.101.1 tell %s from %v", host, otherMAC))
		c.PutRaw("blue", x.fn(eth))
		if got := c.answers("blue", "172.16.101.1"); len(got) != 0 {
			c.Fail("%s is answered: %v", x.what, got)
		}
		if got := c.reach(host); got == otherMAC {
			c.Fail("%s is believed", x.what)
		}
	}
}

// groupInARP: no host is at a broadcast or multicast address.
func groupInARP(c *Case) {
	c.Silence("blue", "172.16.101.4")
	c.Put("green", "udp 172.16.100.9:4000 > 172.16.101.4:5000")
	for _, m := range []mac{packet.Broadcast, {1, 0, 0x5e, 1, 2, 3}, {3, 0, 0, 0, 0, 1}} {
		eth := c.frame("blue", fmt.Sprintf("arp reply 172.16.101.4 is-at %v for 172.16.101.1", m))
		own := c.hosts.macOf("blue", parseAddr("172.16.101.4"))
		copy(eth[6:], own[:]) // only the message says so
		c.PutRaw("blue", eth)
		c.None("blue")
	}
	c.Put("blue", "arp reply 172.16.101.4 is-at any for 172.16.101.1")
	c.Want("blue", "udp 172.16.100.9:4000 > 172.16.101.4:5000")
}

// packetsWait: what has come for a host is there when the host answers.
func packetsWait(c *Case) {
	c.Silence("blue", "172.16.101.4")
	c.Put("green", "udp 172.16.100.9:4000 > 172.16.101.4:5000 len 9")
	c.None("blue")
	c.Put("blue", "arp reply 172.16.101.4 is-at any for 172.16.101.1")
	c.Want("blue", "udp 172.16.100.9:4000 > 172.16.101.4:5000 len 9 ttl 63")
	c.Quiet()
}

// fewPacketsWait: a flood to a host that is not there is not kept.
func fewPacketsWait(c *Case) {
	c.Silence("blue", "172.16.101.4")
	const flood = 2000
	for range flood {
		c.Put("green", "udp 172.16.100.9:4000 > 172.16.101.4:5000 len 1000")
	}
	c.None("blue")
	c.Put("blue", "arp reply 172.16.101.4 is-at any for 172.16.101.1")
	n := 0
	for c.ask("blue"); c.get("blue", n == 0) != nil; n++ {
	}
	if n == 0 || n > flood/4 {
		c.Fail("of %d packets, %d have waited", flood, n)
	}
	c.unknownStays("172.16.101.2") // and others are reached
}

// requestRate has many packets wait for a host.
func requestRate(c *Case) {
	c.Silence("blue", "172.16.101.4")
	n := 0
	var last arpFrame
	count := func() {
		for range 20 {
			c.Put("green", "udp 172.16.100.9:4000 > 172.16.101.4:5000")
		}
		k, m := requests(c.arps("blue"), "172.16.101.4")
		if n += k; k > 0 {
			last = m
		}
	}
	for range 5 {
		count()
		c.Wait(500 * time.Millisecond)
	}
	count()
	if n < 2 || n > 4 {
		c.Fail("%d requests in two and a half seconds", n)
	}
	if last.to != packet.Broadcast || last.Sender != packet.AddrFrom(parseAddr("172.16.101.1")) ||
		last.SenderMAC != c.macs["blue"] {
		c.Fail("a request to %v from %v at %v", last.to, last.Sender.Netip(), last.SenderMAC)
	}
}

// askedAgain: a host that has not answered three requests is back. The first packet after that has it
// asked for, and reaches it.
func askedAgain(c *Case) {
	c.Silence("blue", "172.16.101.4")
	c.Put("green", "udp 172.16.100.9:4000 > 172.16.101.4:5000")
	c.Wait(3300 * time.Millisecond)
	c.Drop()
	c.Speak("blue", "172.16.101.4")
	c.Put("green", "udp 172.16.100.9:4001 > 172.16.101.4:5000")
	c.Want("blue", "udp 172.16.100.9:4001 > 172.16.101.4:5000")
}

// unicastProbe: a host that packets go to is asked whether it is still there, and only
// the host.
func unicastProbe(c *Case) {
	const host = "172.16.101.4"
	c.reach(host)
	c.Silence("blue", host)
	for range 6 {
		c.Wait(10 * time.Second)
		c.Put("green", "udp 172.16.100.9:4000 > %s:5000", host)
		if n, last := requests(c.arps("blue"), host); n > 0 {
			if want := c.hosts.macOf("blue", parseAddr(host)); last.to != want {
				c.Fail("a known host is asked for at %v", last.to)
			}
			return
		}
	}
	c.Fail("nobody has asked for the host in a minute")
}

// announces: at least what an observer hears that came a moment late.
func announces(c *Case) {
	c.Wait(2500 * time.Millisecond)
	for _, network := range networks {
		heard := map[packet.Addr]bool{}
		for _, m := range c.arps(network) {
			if m.Sender != m.Target {
				continue
			}
			if heard[m.Sender] = true; m.to != packet.Broadcast || m.SenderMAC != c.macs[network] {
				c.Fail("%v is announced to %v, at %v", m.Sender.Netip(), m.to, m.SenderMAC)
			}
		}
		for _, a := range ownAddresses[network] {
			if !heard[packet.AddrFrom(parseAddr(a))] {
				c.Fail("%s is not announced on %s", a, network)
			}
		}
	}
}

// rival has another host say that it has one of the router's addresses, in every way.
func (c *Case) rival(network, address string) {
	c.Put(network, "arp who-has %s tell %s from %v", address, address, otherMAC)
	c.Put(network, "arp reply %s is-at %v for %s", address, otherMAC, askers[network][0])
	c.Put(network, "arp reply %s is-at %v for %s", address, otherMAC, address)
	c.Put(network, "arp who-has %s tell %s from %v", askers[network][0], address, otherMAC)
}

// claimedByAnother: the router goes on with its address, and is not misled by others' claims to it.
func claimedByAnother(c *Case) {
	for _, network := range networks {
		for _, a := range ownAddresses[network] {
			c.rival(network, a)
		}
	}
	c.Drop()
	for _, network := range networks {
		at := askers[network]
		c.Put(network, "arp who-has %s tell %s", at[1], at[0])
		if got := c.answers(network, at[1]); len(got) == 0 || got[0].SenderMAC != c.macs[network] {
			c.Fail("the router has given %s up: %v", at[1], got)
		}
	}
	c.Put("blue", "icmp 172.16.101.4 > 172.16.101.1 request id 5 seq 1")
	c.Want("blue", "icmp 172.16.101.1 > 172.16.101.4 reply id 5 seq 1")
	c.Put("ext", "udp 10.10.10.4:4000 > 10.10.10.3:5000")
	c.Want("blue", "udp 10.10.10.4:4000 > 172.16.101.3:5000")
}

// defends: if a host announces an address of the router, the router announces it again at once.
func defends(c *Case) {
	for _, network := range networks {
		all := ownAddresses[network]
		c.Drop()
		c.rival(network, all[0])
		got := c.announcements(network, all[0])
		for _, m := range got {
			if m.SenderMAC != c.macs[network] {
				c.Fail("%s is claimed for %v", all[0], m.SenderMAC)
			}
		}
		// an announcement of the start may come between
		if len(got) < 1 || len(got) > 2 || got[0].to != packet.Broadcast {
			c.Fail("four claims to %s: the router says %v", all[0], got)
		}
	}
}

func gratuitousMoves(c *Case) {
	for _, line := range []string{"arp who-has 172.16.101.4 tell 172.16.101.4 from %v",
		"arp reply 172.16.101.5 is-at %[1]v for 172.16.101.5 to %[1]v"} {
		host := "172.16.101.4"
		if line[4] == 'r' {
			host = "172.16.101.5"
		}
		c.reach(host)
		line = fmt.Sprintf(line, otherMAC)
		eth := c.frame("blue", line)
		copy(eth, packet.Broadcast[:])
		c.PutRaw("blue", eth)
		if got := c.reach(host); got != otherMAC {
			c.Fail("%s: packets go to %v", line, got)
		}
	}
}

func gratuitousMakesNone(c *Case) {
	c.Put("blue", "arp who-has 172.16.101.4 tell 172.16.101.4 from %v", otherMAC)
	c.unknownStays("172.16.101.4")
	c.Put("blue", "arp reply 172.16.101.5 is-at %v for 172.16.101.5", otherMAC)
	c.unknownStays("172.16.101.5")
}

// paddingEnds: bytes behind the packet in its frame belong to no packet. They must not go out,
// since they may be bytes of the sender's memory (CVE-2003-0001).
func paddingEnds(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		for _, trailer := range []int{1, 17, 18, 200, 1300} {
			for k, line := range []string{"udp %s:4000 > %s:5000 len 1", "icmp %s > %s request id 5 seq 1 len 2",
				"tcp %s:4001 > %s:5001 S len 0"} {
				src, dst := "172.16.101.3", "198.51.100.7"
				if x.from == "ext" {
					src, dst = dst, "10.10.10.3"
				}
				eth := c.frame(x.from, fmt.Sprintf(line, src, dst))
				n := len(eth)
				for range trailer {
					eth = append(eth, 0xaa)
				}
				c.PutRaw(x.from, eth)
				p := c.Get(x.to)
				if p == nil || valid(p.Eth) != nil {
					c.Fail("packet %d with %d bytes behind it does not come out right", k, trailer)
				}
				for _, b := range p.Eth[n:] {
					if b != 0 {
						c.Fail("%d bytes of what was behind the packet come out", len(p.Eth)-n)
					}
				}
			}
		}
	}
}

// taggedFrames: the router is on no such network, whatever is behind one tag or two.
func taggedFrames(c *Case) {
	for i := range crossings {
		x := &crossings[i]
		good := c.frame(x.from, x.line(packetKinds[0].line, 9))
		if x.from == "ext" {
			good = c.frame("ext", "udp 198.51.100.7:4000 > 10.10.10.3:5000")
		}
		for _, tags := range [][]uint16{
			{0x8100, 100}, {0x8100, 0xe064}, {0x8100, 4095}, {0x88a8, 100}, {0x9100, 100},
			{0x8100, 100, 0x8100, 200}, {0x88a8, 100, 0x8100, 200}, {0x8100, 1, 0x8100, 1, 0x8100, 1},
		} {
			eth := append([]byte(nil), good[:12]...)
			for _, w := range tags {
				eth = binary.BigEndian.AppendUint16(eth, w)
			}
			c.PutRaw(x.from, append(eth, good[12:]...))
			c.PutRaw(x.from, eth)
		}
	}
	c.Quiet()
}

// priorityTag: a tag without a VLAN is a priority, and the frame of the network that it
// would be of without.
func priorityTag(c *Case) {
	for _, priority := range []uint16{0, 1, 7} {
		frame := c.frame("blue", fmt.Sprintf("udp 172.16.101.4:4000 > 172.16.102.6:%d len 20", 5000+priority))
		eth := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(slices.Clone(frame[:12]),
			packet.EtherTypeVLAN), priority<<13)
		c.PutRaw("blue", append(eth, frame[12:]...))
		c.Want("small", "udp 172.16.101.4:4000 > 172.16.102.6:%d len 20", 5000+priority)
	}
}

// raw is the frame of a line that may be no packet at all, to the router.
func (c *Case) raw(network, line string) []byte {
	eth, err := nettest.Parse(line)
	c.broken(err)
	return nettest.SetMACs(eth, c.hosts.macOf(network, parseAddr(askers[network][0])), c.macs[network])
}

// reservedFrames are for the next bridge only: to their addresses nothing is forwarded, not
// even what looks like a packet.
func reservedFrames(c *Case) {
	for last := range byte(16) {
		to := mac{1, 0x80, 0xc2, 0, 0, last}
		for _, body := range []string{
			"raw 0x8808 0001ffff", "raw 0x88cc 0207040200000000010403023132060200780000", "raw 0x8809 0101",
			"raw 0x0026 4242030000000000", "udp 172.16.101.4:4000 > 198.51.100.7:5000",
		} {
			for _, network := range networks {
				eth := c.raw(network, body)
				copy(eth, to[:])
				c.PutRaw(network, eth)
			}
		}
	}
	c.Quiet()
	c.Put("blue", "udp 172.16.101.4:4000 > 198.51.100.7:5000")
	c.Want("ext", "udp 10.10.10.2:* > 198.51.100.7:5000")
}
