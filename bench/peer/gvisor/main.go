// Gvisor is gVisor's netstack as a router: two NICs on TAPs, forwarding on, and
// its own iptables for the translation. The benchmarks compare taprouter with it.
package main

import (
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	inside  tcpip.NICID = 1
	outside tcpip.NICID = 2
)

var (
	inAddr   = tcpip.AddrFrom4([4]byte{172, 16, 100, 1})
	outAddr  = tcpip.AddrFrom4([4]byte{10, 10, 10, 2})
	floating = tcpip.AddrFrom4([4]byte{10, 10, 10, 3})
	fixed    = tcpip.AddrFrom4([4]byte{172, 16, 100, 9})
	second   = tcpip.AddrFrom4([4]byte{172, 16, 100, 10})
	vip      = tcpip.AddrFrom4([4]byte{10, 10, 10, 7})
	client   = tcpip.AddrFrom4([4]byte{10, 10, 10, 4})
	ones     = tcpip.AddrFrom4([4]byte{255, 255, 255, 255})
)

func main() {
	in := flag.String("in", "in", "inside device")
	out := flag.String("out", "out", "outside device")
	mode := flag.String("mode", "snat", "route, snat, fip or vip")
	flag.Parse()
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	nic(s, inside, *in, inAddr)
	nic(s, outside, *out, outAddr, floating, vip)
	if err := s.SetForwardingDefaultAndAllNICs(ipv4.ProtocolNumber, true); err != nil {
		log.Fatal(err)
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: subnet([4]byte{172, 16, 100, 0}, 24), NIC: inside},
		{Destination: subnet([4]byte{10, 10, 10, 0}, 24), NIC: outside},
		{Destination: subnet([4]byte{172, 30, 0, 0}, 16), Gateway: fixed, NIC: inside},
		{Destination: subnet([4]byte{10, 99, 0, 0}, 16), Gateway: client, NIC: outside},
	})
	if *mode != "route" {
		s.IPTables().ReplaceTable(stack.NATID, table(*mode, *out), false)
	}
	fmt.Println("ready")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	<-end
}

func subnet(addr [4]byte, bits int) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(addr), PrefixLen: bits}.Subnet()
}

// nic opens a TAP and makes it one of the stack's interfaces.
func nic(s *stack.Stack, id tcpip.NICID, name string, addrs ...tcpip.Address) {
	fd, err := open(name)
	if err != nil {
		log.Fatal(err)
	}
	link, err := fdbased.New(&fdbased.Options{
		FDs: []int{fd}, MTU: 1500, EthernetHeader: true, PacketDispatchMode: fdbased.Readv,
		Address: tcpip.LinkAddress([]byte{2, 0, 0, 0, 2, byte(id)}),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.CreateNICWithOptions(id, link, stack.NICOptions{Name: name}); err != nil {
		log.Fatal(err)
	}
	for _, a := range addrs {
		addr := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: a, PrefixLen: 24}}
		if err := s.AddProtocolAddress(id, addr, stack.AddressProperties{}); err != nil {
			log.Fatal(err)
		}
	}
}

func open(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return 0, err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	return fd, netlink.LinkSetUp(link)
}

// to is a filter for a destination.
func to(a tcpip.Address) stack.IPHeaderFilter { return stack.IPHeaderFilter{Dst: a, DstMask: ones} }

// every matches each nth new connection: netstack has no such matcher, and asks
// the rules for the first packet only.
type every struct {
	n, k  int64
	count *atomic.Int64
}

// Match implements stack.Matcher.
func (e every) Match(stack.Hook, *stack.PacketBuffer, string, string) (bool, bool) {
	return e.count.Add(1)%e.n == e.k, false
}

// table is the NAT table: prerouting rules first, then postrouting rules.
func table(mode, out string) stack.Table {
	accept := stack.Rule{Filter: stack.EmptyFilter4(), Target: &stack.AcceptTarget{NetworkProtocol: header.IPv4ProtocolNumber}}
	dnat := func(a tcpip.Address) stack.Target {
		return &stack.DNATTarget{NetworkProtocol: header.IPv4ProtocolNumber, Addr: a, ChangeAddress: true}
	}
	var pre, post []stack.Rule
	leaving := stack.IPHeaderFilter{OutputInterface: out, OutputInterfaceMask: mask(out)}
	switch mode {
	case "snat":
		post = []stack.Rule{{Filter: leaving, Target: &stack.SNATTarget{NetworkProtocol: header.IPv4ProtocolNumber, Addr: outAddr, ChangeAddress: true, ChangePort: true}}}
	case "fip":
		pre = []stack.Rule{{Filter: to(floating), Target: dnat(fixed)}}
		leaving.Src, leaving.SrcMask = fixed, ones
		post = []stack.Rule{{Filter: leaving, Target: &stack.SNATTarget{NetworkProtocol: header.IPv4ProtocolNumber, Addr: floating, ChangeAddress: true}}}
	case "vip":
		pre = []stack.Rule{
			{Filter: to(vip), Matchers: []stack.Matcher{every{2, 0, new(atomic.Int64)}}, Target: dnat(fixed)},
			{Filter: to(vip), Target: dnat(second)},
		}
	}
	t := stack.Table{Rules: append(pre, accept)}
	input := len(t.Rules)
	t.Rules = append(t.Rules, accept, accept)
	postAt := len(t.Rules)
	t.Rules = append(append(t.Rules, post...), accept, stack.Rule{Filter: stack.EmptyFilter4(), Target: &stack.ErrorTarget{NetworkProtocol: header.IPv4ProtocolNumber}})
	t.BuiltinChains = [stack.NumHooks]int{stack.Prerouting: 0, stack.Input: input, stack.Forward: stack.HookUnset, stack.Output: input + 1, stack.Postrouting: postAt}
	t.Underflows = [stack.NumHooks]int{stack.Prerouting: len(pre), stack.Input: input, stack.Forward: stack.HookUnset, stack.Output: input + 1, stack.Postrouting: postAt + len(post)}
	return t
}

// mask has the whole name compared, as iptables writes it.
func mask(name string) string {
	b := make([]byte, len(name))
	for i := range b {
		b[i] = math.MaxUint8
	}
	return string(b)
}
