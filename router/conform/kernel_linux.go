package conform

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
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
	if p.More != "" || p.HostShare != 0 && p.HostShare != 1 { // a host may have all, as with 1
		return nil, NotPossible("a setting of taprouter's")
	}
	if p.MaxConnections != 0 {
		return nil, NotPossible("nf_conntrack_max is the whole machine's, not a namespace's")
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
	for _, step := range []func() error{func() error { return w.cables(&p) }, func() error { return w.addresses(&p) },
		func() error { return w.rules(&p) }, func() error { return w.settings(&p) }} {
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
	profile     Profile
	translated  translated
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

// kernelAddresses are the router's own addresses, and the addresses that it translates. It has the latter so that it
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
		if n == "ext" {
			for _, a := range p.SNATAddresses {
				all = append(slices.Clip(all), a+"/32")
			}
		}
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

// kernelNAT is the topology's translation in nftables' words.
const kernelNAT = `
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat
		FLOATING
		ip daddr 10.10.10.8 tcp dport 2222 dnat to 172.16.101.4:22
		ip daddr 10.10.10.8 udp dport 5353 dnat to 172.16.101.4:53
		ip daddr 10.10.10.8 tcp dport 8000 dnat to 172.16.101.4:80
		ip daddr 10.10.10.8 udp dport 8000 dnat to 172.16.101.2:53
		BALANCED
	}
	chain postrouting {
		type nat hook postrouting priority srcnat
		OUT
		ct status dnat ct original ip daddr 10.10.10.0/24 iifname != "ext" snat to 10.10.10.2
		ct status dnat ip saddr 172.16.100.0/24 ip daddr 172.16.100.0/24 snat to 172.16.100.1
		SNAT
	}
}
`

// kernelFilter: ports that SNAT does not know are not answered, as a careful
// administrator has it (RFC 5382, REQ-4).
const kernelFilter = `
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

const kernelVIP = "172.16.100.11"

// translated is what of the rules may change while the router runs.
type translated struct {
	floating [][2]string // floating and fixed addresses
	down     map[string]bool
}

func newTranslated() translated {
	floating := [][2]string{{"10.10.10.3", "172.16.101.3"}, {"10.10.10.15", "172.16.101.5"}, {"10.10.10.7", kernelVIP}}
	return translated{floating, map[string]bool{}}
}

// associate gives a floating IP to a host. With "" as the host it only takes it away.
func (t *translated) associate(floating, fixed string) {
	t.floating = slices.DeleteFunc(t.floating, func(f [2]string) bool { return f[0] == floating })
	if fixed != "" {
		t.floating = append(t.floating, [2]string{floating, fixed})
	}
}

// rules are the rules of the NAT table.
func (t *translated) rules(p *Profile) string {
	var in, out, shared, balanced []string
	vips := []string{kernelVIP}
	for _, f := range t.floating {
		if f[1] == kernelVIP {
			vips = append(vips, f[0])
			continue
		}
		in = append(in, fmt.Sprintf("ip daddr %s dnat to %s", f[0], f[1]))
		out = append(out, fmt.Sprintf(`ip saddr %s oifname "ext" snat to %s`, f[1], f[0]))
		shared = append(shared, fmt.Sprintf("ct original ip daddr 10.10.10.0/24 ip saddr %s snat to %s", f[1], f[0]))
	}
	for _, pool := range []struct {
		port    string
		members [][2]string
	}{
		{"tcp dport 80", [][2]string{{"web1", "172.16.100.9"}, {"web2", "172.16.100.10"}}},
		{"udp dport 53", [][2]string{{"dns1", "172.16.100.9"}, {"dns2", "172.16.100.10"}}},
	} {
		var up []string
		for _, m := range pool.members {
			if !t.down[m[0]] {
				up = append(up, fmt.Sprintf("%d : %s", len(up), m[1]))
			}
		}
		if len(up) > 0 { // without a member the router itself refuses
			balanced = append(balanced, fmt.Sprintf("ip daddr { %s } %s dnat to numgen inc mod %d map { %s }",
				strings.Join(vips, ", "), pool.port, len(up), strings.Join(up, ", ")))
		}
	}
	snat := `ip saddr 172.16.0.0/16 oifname "ext" snat to 10.10.10.2`
	if p.PortRange != "" {
		snat = `meta l4proto { tcp, udp } ` + snat + ":" + p.PortRange + "\n\t\t" + snat
	}
	if n := len(p.SNATAddresses); n > 0 {
		var shares []string
		for i, a := range p.SNATAddresses {
			shares = append(shares, fmt.Sprintf("%d : %s", i, a))
		}
		snat = fmt.Sprintf(`ip saddr 172.16.0.0/16 oifname "ext" snat to jhash ip saddr mod %d map { %s }`,
			n, strings.Join(shares, ", "))
	}
	if p.NoSNAT {
		snat = ""
	}
	lines := func(all ...string) string { return strings.Join(all, "\n\t\t") }
	return strings.NewReplacer("FLOATING", lines(in...), "BALANCED", lines(balanced...), "OUT",
		lines(append(out, shared...)...),
		"SNAT", snat).Replace(kernelNAT)
}

func (w *inKernel) rules(p *Profile) error {
	w.profile, w.translated = *p, newTranslated()
	closed := `iifname "ext" drop`
	if p.NoSNAT {
		closed = ""
	}
	text := w.translated.rules(p) + strings.Replace(kernelFilter, "CLOSED", closed, 1)
	if p.MSSClamp {
		text += "table ip mangle { chain forward { type filter hook forward priority mangle; " +
			"tcp flags syn tcp option maxseg size set rt mtu; }; }\n"
	}
	return w.nft(text)
}

// nft has nftables do what a text says, all of it or nothing.
func (w *inKernel) nft(text string) error {
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

// changed replaces the rules of translation. Connections that exist keep their translation, which
// connection tracking stores.
func (w *inKernel) changed() error {
	return w.nft("flush chain ip nat prerouting\nflush chain ip nat postrouting\n" + w.translated.rules(&w.profile))
}

// Associate implements Changer.
func (w *inKernel) Associate(floating, fixed netip.Addr) error {
	w.translated.associate(floating.String(), fixed.String())
	link, addr, err := w.external(floating)
	if err == nil {
		err = w.router.link.AddrReplace(link, addr)
	}
	return errors.Join(err, w.changed())
}

// Disassociate implements Changer.
func (w *inKernel) Disassociate(floating netip.Addr) error {
	w.translated.associate(floating.String(), "")
	link, addr, err := w.external(floating)
	if err == nil {
		err = w.router.link.AddrDel(link, addr)
	}
	return errors.Join(err, w.changed())
}

// external is an address of the router on the external network, as netlink has it.
func (w *inKernel) external(a netip.Addr) (netlink.Link, *netlink.Addr, error) {
	link, err := w.router.link.LinkByName("ext")
	if err != nil {
		return nil, nil, err
	}
	addr, err := netlink.ParseAddr(a.String() + "/32")
	return link, addr, err
}

// SetMember implements Changer.
func (w *inKernel) SetMember(_, member string, up bool) error {
	w.translated.down[member] = !up
	return w.changed()
}

func (w *inKernel) settings(p *Profile) error {
	all := [][2]string{{"net/ipv4/ip_forward", "1"}, {"net/ipv4/conf/all/rp_filter", "1"},
		{"net/ipv4/conf/all/arp_ignore", "1"},
		{"net/ipv4/conf/all/send_redirects", "0"}}
	for _, n := range networks {
		all = append(all, [2]string{"net/ipv4/conf/" + n + "/send_redirects", "0"})
	}
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	if p.Short {
		for key, d := range map[string]time.Duration{
			"udp_timeout": shortTimeouts.UDP, "udp_timeout_stream": shortTimeouts.UDP,
			"icmp_timeout":            shortTimeouts.ICMP,
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
