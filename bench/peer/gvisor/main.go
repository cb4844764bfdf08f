// Gvisor is gVisor's netstack as a router: two NICs on TAPs with forwarding on, and
// its own iptables and connection tracking for the translation. The benchmarks
// compare taprouter with it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
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

var (
	inAddr   = tcpip.AddrFrom4([4]byte{172, 16, 100, 1})
	outAddr  = tcpip.AddrFrom4([4]byte{10, 10, 10, 2})
	floating = tcpip.AddrFrom4([4]byte{10, 10, 10, 3})
	fixed    = tcpip.AddrFrom4([4]byte{172, 16, 100, 9})
	second   = tcpip.AddrFrom4([4]byte{172, 16, 100, 10})
	vip      = tcpip.AddrFrom4([4]byte{10, 10, 10, 7})
	vipPorts = []uint16{5201, 7000, 7001, 7002, 7003}
	external = tcpip.AddrFrom4([4]byte{10, 10, 10, 4})
	exactly  = tcpip.AddrFrom4([4]byte{255, 255, 255, 255})
)

const (
	inNIC tcpip.NICID = 1 + iota
	outNIC
)

func main() {
	in := flag.String("in", "in", "TAP device towards the internal network")
	out := flag.String("out", "out", "TAP device towards the external network")
	mode := flag.String("mode", "route", "route, snat, fip or vip")
	flag.Parse()
	if err := run(*in, *out, *mode); err != nil {
		log.Fatal(err)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	<-end
}

func run(in, out, mode string) error {
	s := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		// Nothing here listens, but without its protocol a packet's ports are not parsed.
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := addNIC(s, inNIC, in, inAddr); err != nil {
		return err
	}
	// ARP is answered for a NIC's own addresses only. Translation comes before local
	// delivery, so the floating IP and the VIP may well be among them.
	if err := addNIC(s, outNIC, out, outAddr, floating, vip); err != nil {
		return err
	}
	if err := s.SetForwardingDefaultAndAllNICs(ipv4.ProtocolNumber, true); err != nil {
		return fmt.Errorf("gvisor: forwarding: %v", err)
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: subnet(24, 172, 16, 100, 0), NIC: inNIC},
		{Destination: subnet(24, 10, 10, 10, 0), NIC: outNIC},
		{Destination: subnet(16, 172, 30, 0, 0), Gateway: fixed, NIC: inNIC},
		{Destination: subnet(16, 10, 99, 0, 0), Gateway: external, NIC: outNIC},
	})
	switch mode {
	case "route": // without rules, netstack tracks nothing
	case "snat":
		setNAT(s, nil, []stack.Rule{{Filter: leaving(out), Target: snat(outAddr, true)}})
	case "fip":
		mine := leaving(out)
		mine.Src, mine.SrcMask = fixed, exactly
		setNAT(s, []stack.Rule{{Filter: to(floating), Target: dnat(fixed)}},
			[]stack.Rule{{Filter: mine, Target: snat(floating, false)}})
	case "vip":
		setNAT(s, []stack.Rule{
			{Filter: to(vip), Matchers: []stack.Matcher{service(vipPorts), new(everyOther)}, Target: dnat(fixed)},
			{Filter: to(vip), Matchers: []stack.Matcher{service(vipPorts)}, Target: dnat(second)},
		}, nil)
	default:
		return errors.New("gvisor: no mode " + mode)
	}
	fmt.Println("ready")
	return nil
}

func subnet(bits int, a, b, c, d byte) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4([4]byte{a, b, c, d}), PrefixLen: bits}.Subnet()
}

// addNIC opens a TAP device and gives it to the stack.
func addNIC(s *stack.Stack, id tcpip.NICID, name string, addrs ...tcpip.Address) error {
	fd, err := openTAP(name)
	if err != nil {
		return fmt.Errorf("gvisor: open %s: %w", name, err)
	}
	link, err := fdbased.New(&fdbased.Options{
		FDs:            []int{fd},
		MTU:            1500,
		EthernetHeader: true,
		Address:        tcpip.LinkAddress([]byte{2, 0, 0, 0, 101, byte(id)}),
		// The other dispatchers want a socket, and so do GSO and its virtio header.
		PacketDispatchMode: fdbased.Readv,
		// One processor works in the goroutine that reads. More of them would only
		// pass packets on, through a queue without a limit.
		ProcessorsPerChannel: 1,
		// The kernel has computed the checksums just before. The receiver of a packet
		// verifies them; the router translates by their difference.
		RXChecksumOffload: true,
		ClosedFunc:        func(err tcpip.Error) { log.Fatalf("gvisor: %s: %v", name, err) },
	})
	if err != nil {
		return fmt.Errorf("gvisor: open %s: %w", name, err)
	}
	if err := s.CreateNICWithOptions(id, link, stack.NICOptions{Name: name}); err != nil {
		return fmt.Errorf("gvisor: add %s: %v", name, err)
	}
	for _, a := range addrs {
		a := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: a, PrefixLen: 24}}
		if err := s.AddProtocolAddress(id, a, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("gvisor: address of %s: %v", name, err)
		}
	}
	return nil
}

func openTAP(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
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

// to is the filter for a destination, leaving the one for a NIC.
func to(a tcpip.Address) stack.IPHeaderFilter {
	f := stack.EmptyFilter4()
	f.Dst, f.DstMask = a, exactly
	return f
}

func leaving(nic string) stack.IPHeaderFilter {
	f := stack.EmptyFilter4()
	f.OutputInterface = nic
	return f
}

func dnat(a tcpip.Address) stack.Target {
	return &stack.DNATTarget{NetworkProtocol: header.IPv4ProtocolNumber, Addr: a, ChangeAddress: true}
}

func snat(a tcpip.Address, ports bool) stack.Target {
	return &stack.SNATTarget{NetworkProtocol: header.IPv4ProtocolNumber, Addr: a, ChangeAddress: true,
		ChangePort: ports}
}

// service matches packets to one of its ports.
type service []uint16

// Match implements stack.Matcher.
func (s service) Match(_ stack.Hook, pkt *stack.PacketBuffer, _, _ string) (matches, hotdrop bool) {
	h := pkt.TransportHeader().Slice()
	switch {
	case pkt.TransportProtocolNumber == header.TCPProtocolNumber && len(h) >= header.TCPMinimumSize:
		return slices.Contains(s, header.TCP(h).DestinationPort()), false
	case pkt.TransportProtocolNumber == header.UDPProtocolNumber && len(h) >= header.UDPMinimumSize:
		return slices.Contains(s, header.UDP(h).DestinationPort()), false
	}
	return false, false
}

// everyOther matches every second time that it is asked. Netstack asks the rules
// for the first packet of a connection only, so that makes round robin of two.
type everyOther struct{ n atomic.Uint32 }

// Match implements stack.Matcher.
func (e *everyOther) Match(stack.Hook, *stack.PacketBuffer, string, string) (matches, hotdrop bool) {
	return e.n.Add(1)%2 == 1, false
}

// setNAT installs a NAT table with these rules for prerouting and postrouting.
// Packets that no rule matches are accepted.
func setNAT(s *stack.Stack, pre, post []stack.Rule) {
	accept := stack.Rule{Filter: stack.EmptyFilter4(),
		Target: &stack.AcceptTarget{NetworkProtocol: header.IPv4ProtocolNumber}}
	t := stack.EmptyNATTable()
	t.Underflows[stack.Forward] = stack.HookUnset
	for _, chain := range []struct {
		hook  stack.Hook
		rules []stack.Rule
	}{{stack.Prerouting, pre}, {stack.Input, nil}, {stack.Output, nil}, {stack.Postrouting, post}} {
		t.BuiltinChains[chain.hook] = len(t.Rules)
		t.Rules = append(t.Rules, chain.rules...)
		t.Underflows[chain.hook] = len(t.Rules)
		t.Rules = append(t.Rules, accept)
	}
	s.IPTables().ReplaceTable(stack.NATID, t, false)
}
