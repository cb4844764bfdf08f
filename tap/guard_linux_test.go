package tap

import (
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The guard finds what the host would lose if an interface were closed. The kinds of interfaces that
// the machine's kernel may lack are here; internal/e2e has the others for real.
func TestNeeded(t *testing.T) {
	const index = 2
	link := func(index, parent, master, netns int) netlink.LinkAttrs {
		return netlink.LinkAttrs{Name: "other", Index: index, ParentIndex: parent, MasterIndex: master, NetNsID: netns}
	}
	address := func(text string, index int, scope netlink.Scope) netlink.Addr {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			t.Fatal(err)
		}
		a.LinkIndex, a.Scope = index, int(scope)
		return *a
	}
	for _, c := range []struct {
		name  string
		self  netlink.LinkAttrs
		other netlink.Link
		view  survey
		want  string
	}{
		{name: "nothing"},
		{name: "a VLAN", other: &netlink.Vlan{LinkAttrs: link(3, index, 0, -1)}, want: "other lies above it"},
		{name: "an ipvlan", other: &netlink.IPVlan{LinkAttrs: link(3, index, 0, -1)}, want: "other lies above it"},
		{name: "a macvtap", other: &netlink.Macvtap{Macvlan: netlink.Macvlan{LinkAttrs: link(3, index, 0, -1)}},
			want: "other lies above it"},
		{name: "a VLAN of another interface", other: &netlink.Vlan{LinkAttrs: link(3, 4, 0, -1)}},
		{name: "a VLAN of an interface of that index elsewhere", other: &netlink.Vlan{LinkAttrs: link(3, index, 0, 0)}},
		{name: "its other end", other: &netlink.Veth{LinkAttrs: link(3, index, 0, -1)}},
		{name: "a bond", self: link(index, 0, 3, -1), other: &netlink.Bond{LinkAttrs: link(3, 0, 0, -1)},
			want: "it is a port of other"},
		{name: "a VRF", self: link(index, 0, 3, -1), other: &netlink.Vrf{LinkAttrs: link(3, 0, 0, -1)},
			want: "it is a port of other"},
		{name: "an address", view: survey{addresses: []netlink.Addr{address("10.0.0.1/8", index,
			netlink.SCOPE_UNIVERSE)}},
			want: "it carries the host's address 10.0.0.1/8"},
		{name: "a site's address", view: survey{addresses: []netlink.Addr{address("fec0::1/64", index,
			netlink.SCOPE_SITE)}},
			want: "it carries the host's address fec0::1/64"},
		{name: "a link-local address",
			view: survey{addresses: []netlink.Addr{address("fe80::1/64", index, netlink.SCOPE_LINK)}}},
		{name: "another's address",
			view: survey{addresses: []netlink.Addr{address("10.0.0.1/8", 3, netlink.SCOPE_UNIVERSE)}}},
		{name: "a default route", view: survey{routes: []netlink.Route{{LinkIndex: index}}},
			want: "it carries a default route of the host"},
		{name: "a part of one",
			view: survey{routes: []netlink.Route{{MultiPath: []*netlink.NexthopInfo{{LinkIndex: 3},
				{LinkIndex: index}}}}},
			want: "it carries a default route of the host"},
		{name: "another's default route", view: survey{routes: []netlink.Route{{LinkIndex: 3}}}},
	} {
		c.self.Index = index
		c.view.links = map[int]netlink.Link{index: &netlink.Device{LinkAttrs: c.self}}
		if c.other != nil {
			c.view.links[3] = c.other
		}
		if got := c.view.needed(index); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMark(t *testing.T) {
	for _, c := range []struct{ alias, marked string }{
		{"", "[taprouter: addr_gen_mode was 0]"},
		{"an uplink", "an uplink [taprouter: addr_gen_mode was 0]"},
		{"with [brackets]", "with [brackets] [taprouter: addr_gen_mode was 0]"},
	} {
		marked := modeMark.with(c.alias, 0)
		if marked != c.marked {
			t.Errorf("%q is marked as %q, want %q", c.alias, marked, c.marked)
		}
		if again := modeMark.with(marked, 3); again != strings.Replace(c.marked, "was 0", "was 3", 1) {
			t.Errorf("marked again: %q", again)
		}
		if rest, was, found := modeMark.cut(marked); rest != c.alias || was != 0 || !found {
			t.Errorf("%q: %q, %d, %v", marked, rest, was, found)
		}
	}
	start := modeMark.start()
	for _, alias := range []string{"", "an uplink", start, start + "x]", start + "1", groMark.with("", 1)} {
		if rest, _, found := modeMark.cut(alias); found || rest != alias {
			t.Errorf("%q is no mark", alias)
		}
	}
	if rest, was, found := modeMark.cut("a [taprouter: addr_gen_mode was 2] b"); rest != "a b" || was != 2 || !found {
		t.Errorf("what came behind the mark: %q, %d, %v", rest, was, found)
	}
	for _, alias := range []string{"", "an uplink"} { // two marks, in whatever order they come and go
		for _, order := range [][2]mark{{modeMark, groMark}, {groMark, modeMark}} {
			both := order[1].with(order[0].with(alias, 2), 3)
			for i, first := range order {
				rest, _, _ := first.cut(both)
				if rest, was, found := order[1-i].cut(rest); rest != alias || was != 3-i || !found {
					t.Errorf("%q, without %s and then without %s: %q, %d, %v", both, first, order[1-i], rest, was,
						found)
				}
			}
		}
	}
}

func TestMadeByKernel(t *testing.T) {
	mac := net.HardwareAddr{0x02, 0, 0, 0x11, 0x22, 0x33}
	for _, c := range []struct {
		address string
		flags   int
		mode    int
		want    bool
	}{
		{"fe80::11:2233", 0, generatesEUI64, false},
		{"fe80::ff:fe11:2233", 0, generatesEUI64, true},
		{"fe80::ff:fe11:2233", 0, generatesStable, false},
		{"fe80::1234", unix.IFA_F_STABLE_PRIVACY, generatesStable, true},
		{"fe80::1234", unix.IFA_F_STABLE_PRIVACY, generatesRandom, true},
		{"fe80::1234", unix.IFA_F_STABLE_PRIVACY, generatesEUI64, false},
		{"fe80::ff:fe11:2233", 0, generatesNone, false},
		{"2001:db8::ff:fe11:2233", 0, generatesEUI64, false},
	} {
		a := &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(c.address), Mask: net.CIDRMask(64, 128)}, Flags: c.flags}
		if got := madeByKernel(a, mac, c.mode); got != c.want {
			t.Errorf("%s by mode %d: %v, want %v", c.address, c.mode, got, c.want)
		}
	}
}

func TestExplainIngress(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.EPERM:           "CAP_NET_ADMIN",
		unix.EOPNOTSUPP:      "CONFIG_NF_TABLES_NETDEV",
		unix.EINVAL:          "Linux 5.12", // what kernels before say of the owner flag
		unix.EPROTONOSUPPORT: "nftables",
		unix.EBUSY:           "busy",
	} {
		if got := explainIngress(errno).Error(); !strings.Contains(got, want) {
			t.Errorf("%v: %q does not say %q", errno, got, want)
		}
	}
}
