package conform

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// Kernel is Linux's routing with nftables NAT, in network namespaces made for it, as a
// careful administrator would set it up. It needs root and the nft tool.
func Kernel() Target { return kernel{} }

type kernel struct{}

// Name implements Target.
func (kernel) Name() string { return "Linux" }

// Start implements Target.
func (kernel) Start(p Profile) (_ Wire, err error) {
	if p.Mapping != "" || p.Filtering != "" {
		return nil, NotPossible("Linux has no choice of mapping and filtering behavior")
	}
	if p.More != "" || p.HostShare != 0 || p.MaxConnections != 0 {
		return nil, NotPossible("a setting of taprouter's")
	}
	w := &inKernel{timeouts: linuxTimeouts}
	if p.Short {
		w.timeouts = shortTimeouts
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.router, err = newSpace("kernel"); err != nil {
		return nil, err
	}
	if w.far, err = newSpace("far"); err != nil {
		return nil, err
	}
	for _, s := range []*space{w.router, w.far} {
		if err := s.set([2]string{"net/ipv6/conf/default/disable_ipv6", "1"}); err != nil {
			return nil, err
		}
	}
	for _, step := range []func() error{func() error { return w.cables(&p) }, func() error { return w.addresses(&p) }, func() error { return w.rules(&p) }, func() error { return w.settings(&p) }} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	w.ends, err = openEnds(w.far)
	return w, err
}

// linuxTimeouts are Linux's own.
var linuxTimeouts = Timeouts{UDP: 30 * time.Second, ICMP: 30 * time.Second,
	TCPEstablished: 5 * 24 * time.Hour, TCPTransitory: 2 * time.Minute}

// inKernel is a router in a namespace, and the namespace of its networks' far ends.
type inKernel struct {
	*ends
	router, far *space
	timeouts    Timeouts
}

// cables joins the router to the ends.
func (w *inKernel) cables(p *Profile) error {
	for _, n := range networks {
		mtu := p.mtu(n)
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: n, MTU: mtu, Namespace: netlink.NsFd(int(w.router.handle))},
			PeerName:  n, PeerNamespace: netlink.NsFd(int(w.far.handle)), PeerMTU: uint32(mtu),
		})
		if err != nil {
			return fmt.Errorf("veth %s: %w", n, err)
		}
		for _, s := range []*space{w.far, w.router} {
			link, err := s.link.LinkByName(n)
			if err != nil {
				return fmt.Errorf("veth %s: %w", n, err)
			}
			if err := s.link.LinkSetUp(link); err != nil {
				return fmt.Errorf("veth %s: %w", n, err)
			}
		}
	}
	return nil
}

// kernelAddresses are the router's: its own, and those it translates, so that it
// answers ARP for them.
var kernelAddresses = map[string][]string{
	"blue": {"172.16.101.1/24"}, "small": {"172.16.102.1/24", "172.16.103.0/31"},
	"green": {"172.16.100.1/24", "172.16.100.11/32"},
	"ext":   {"10.10.10.2/24", "10.10.10.3/32", "10.10.10.7/32", "10.10.10.8/32", "10.10.10.15/32"},
}

// addresses gives the router its addresses and routes.
func (w *inKernel) addresses(p *Profile) error {
	lo, err := w.router.link.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := w.router.link.LinkSetUp(lo); err != nil {
		return err
	}
	for n, all := range kernelAddresses {
		link, err := w.router.link.LinkByName(n)
		if err != nil {
			return err
		}
		for _, a := range all {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			if err := w.router.link.AddrAdd(link, addr); err != nil {
				return fmt.Errorf("address %s: %w", a, err)
			}
		}
	}
	for _, r := range kernelRoutes {
		if r[0] == "0.0.0.0/0" && p.NoDefault {
			continue
		}
		_, to, err := net.ParseCIDR(r[0])
		if err == nil {
			err = w.router.link.RouteAdd(&netlink.Route{Dst: to, Gw: net.ParseIP(r[1])})
		}
		if err != nil {
			return fmt.Errorf("route %s: %w", r[0], err)
		}
	}
	return nil
}

// kernelRoutes are the topology's.
var kernelRoutes = [][2]string{
	{"0.0.0.0/0", "10.10.10.1"}, {"192.168.10.0/24", "172.16.101.254"}, {"192.168.20.0/22", "172.16.101.254"},
	{"192.168.21.0/24", "172.16.100.20"}, {"192.168.21.7/32", "172.16.102.6"},
}

// kernelRules are the topology's in nftables' words. Ports that SNAT does not know are
// not answered, as a careful administrator has it (RFC 5382, REQ-4).
const kernelRules = `
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat
		ip daddr 10.10.10.3 dnat to 172.16.101.3
		ip daddr 10.10.10.15 dnat to 172.16.101.5
		ip daddr 10.10.10.8 tcp dport 2222 dnat to 172.16.101.4:22
		ip daddr 10.10.10.8 udp dport 5353 dnat to 172.16.101.4:53
		ip daddr { 10.10.10.7, 172.16.100.11 } tcp dport 80 dnat to numgen inc mod 2 map { 0 : 172.16.100.9, 1 : 172.16.100.10 }
		ip daddr { 10.10.10.7, 172.16.100.11 } udp dport 53 dnat to numgen inc mod 2 map { 0 : 172.16.100.9, 1 : 172.16.100.10 }
	}
	chain postrouting {
		type nat hook postrouting priority srcnat
		ip saddr 172.16.101.3 oifname "ext" snat to 10.10.10.3
		ip saddr 172.16.101.5 oifname "ext" snat to 10.10.10.15
		ct original ip daddr 10.10.10.0/24 ip saddr 172.16.101.3 snat to 10.10.10.3
		ct original ip daddr 10.10.10.0/24 ip saddr 172.16.101.5 snat to 10.10.10.15
		ct status dnat ct original ip daddr 10.10.10.0/24 iifname != "ext" snat to 10.10.10.2
		ct status dnat ip saddr 172.16.100.0/24 ip daddr 172.16.100.0/24 snat to 172.16.100.1
		SNAT
	}
}
table ip filter {
	chain forward {
		type filter hook forward priority filter; policy accept
		ct state invalid drop
		ct state established,related accept
		ct status dnat accept
		CLOSED
	}
	chain input {
		type filter hook input priority filter; policy accept
		ct state established,related accept
		iifname "ext" ip daddr 10.10.10.2 meta l4proto tcp drop
	}
}
`

func (w *inKernel) rules(p *Profile) error {
	snat, closed := `ip saddr 172.16.0.0/16 oifname "ext" snat to 10.10.10.2`, `iifname "ext" drop`
	if p.PortRange != "" {
		snat = `meta l4proto { tcp, udp } ` + snat + ":" + p.PortRange + "\n\t\t" + snat
	}
	if p.NoSNAT {
		snat, closed = "", ""
	}
	text := strings.NewReplacer("SNAT", snat, "CLOSED", closed).Replace(kernelRules)
	if p.MSSClamp {
		text += "table ip mangle { chain forward { type filter hook forward priority mangle; tcp flags syn tcp option maxseg size set rt mtu; }; }\n"
	}
	nft, err := exec.LookPath("nft")
	if err != nil {
		return fmt.Errorf("the kernel's NAT is set up by nft (Debian: nftables): %w", err)
	}
	return w.router.within(func() error {
		cmd := exec.Command(nft, "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		forks.Lock()
		err := cmd.Start()
		forks.Unlock()
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			return fmt.Errorf("nft: %w: %s", err, &out)
		}
		return nil
	})
}

func (w *inKernel) settings(p *Profile) error {
	all := [][2]string{{"net/ipv4/ip_forward", "1"}, {"net/ipv4/conf/all/rp_filter", "1"}, {"net/ipv4/conf/all/arp_ignore", "1"},
		{"net/ipv4/conf/all/send_redirects", "0"}}
	for _, n := range networks {
		all = append(all, [2]string{"net/ipv4/conf/" + n + "/send_redirects", "0"})
	}
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	if p.Short {
		for key, d := range map[string]time.Duration{
			"udp_timeout": shortTimeouts.UDP, "udp_timeout_stream": shortTimeouts.UDP, "icmp_timeout": shortTimeouts.ICMP,
			"tcp_timeout_established": shortTimeouts.TCPEstablished,
			"tcp_timeout_syn_sent":    shortTimeouts.TCPTransitory, "tcp_timeout_syn_recv": shortTimeouts.TCPTransitory,
			"tcp_timeout_fin_wait": shortTimeouts.TCPTransitory, "tcp_timeout_close_wait": shortTimeouts.TCPTransitory,
			"tcp_timeout_last_ack": shortTimeouts.TCPTransitory, "tcp_timeout_time_wait": shortTimeouts.TCPTransitory,
			"tcp_timeout_close": shortTimeouts.TCPTransitory,
		} {
			all = append(all, [2]string{"net/netfilter/nf_conntrack_" + key, seconds(d)})
		}
	}
	return w.router.set(all...)
}

// Timeouts implements Wire.
func (w *inKernel) Timeouts() Timeouts { return w.timeouts }

// Close implements Wire.
func (w *inKernel) Close() error {
	var errs []error
	if w.ends != nil {
		errs = append(errs, w.ends.Close())
	}
	for _, s := range []*space{w.router, w.far} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}
