package dhcp_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/taprouter/taprouter/internal/dhcp"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// mac is the MAC address of a number.
func mac(n int) dhcp.MAC { return dhcp.MAC{0x52, 0x54, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

// start is when the tests' time begins.
var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// A world is a network, its server, and a time.
type world struct {
	t      testing.TB
	now    time.Time
	c      dhcp.Config
	leases *dhcp.Leases
	said   []string
	ports  map[dhcp.MAC]*dhcp.Port
	taken  map[netip.Addr]bool
}

// newWorld is a network 10.0.0.0/24 whose pool has ten addresses, from 10.0.0.100 on.
func newWorld(t testing.TB) *world {
	w := &world{t: t, now: start, ports: map[dhcp.MAC]*dhcp.Port{}, taken: map[netip.Addr]bool{}}
	w.c = dhcp.Config{
		Subnets: []dhcp.Subnet{{
			CIDR: prefix("10.0.0.0/24"), Server: addr("10.0.0.1"), Gateway: addr("10.0.0.1"),
			Pools: []dhcp.Range{{First: addr("10.0.0.100"), Last: addr("10.0.0.109")}}, LeaseTime: time.Hour,
			DNS: []netip.Addr{addr("10.0.0.1")}, Domain: "example.org",
		}},
		Servers: []netip.Addr{addr("10.0.0.1"), addr("10.0.0.2")}, MTU: 1450, Unknown: true,
		Port:  func(m dhcp.MAC, _ string) *dhcp.Port { return w.ports[m] },
		Taken: func(a netip.Addr) bool { return w.taken[a] },
	}
	w.leases = dhcp.New(dhcp.Options{Say: func(_, text string) { w.said = append(w.said, text) }})
	return w
}

func (w *world) port(n int, addresses ...string) *dhcp.Port {
	p := &dhcp.Port{}
	for _, a := range addresses {
		p.Addresses = append(p.Addresses, addr(a))
		w.taken[addr(a)] = true
	}
	w.ports[mac(n)] = p
	return p
}

// message makes a message of a client.
func message(n int, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	m := mac(n)
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(m[:]), dhcpv4.WithMessageType(kind)}, mods...)...)
	if err != nil {
		panic(err)
	}
	return p
}

// request is a message as it comes from the client itself, which has no address yet or the one in ciaddr.
func request(p *dhcpv4.DHCPv4) dhcp.Request {
	rq := dhcp.Request{Payload: p.ToBytes(), Dst: addr("255.255.255.255"), Src: addr("0.0.0.0"), Device: "tap0"}
	copy(rq.SourceMAC[:], p.ClientHWAddr)
	if !p.ClientIPAddr.IsUnspecified() {
		rq.Src, _ = netip.AddrFromSlice(p.ClientIPAddr.To4())
	}
	return rq
}

// serve gives the server a message and reads its answer.
func (w *world) serve(rq dhcp.Request) (dhcp.Answer, *dhcpv4.DHCPv4) {
	w.t.Helper()
	answers := w.leases.Server("net").Serve(w.now, &w.c, []dhcp.Request{rq})
	if len(answers) != 1 {
		w.t.Fatalf("%d answers to one message", len(answers))
	}
	a := answers[0]
	if a.Payload == nil {
		return a, nil
	}
	p, err := dhcpv4.FromBytes(a.Payload)
	if err != nil {
		w.t.Fatalf("the answer cannot be read: %v", err)
	}
	return a, p
}

// say has a client send a message, and expects what becomes of it.
func (w *world) say(p *dhcpv4.DHCPv4, want dhcp.Reason) *dhcpv4.DHCPv4 {
	w.t.Helper()
	a, answer := w.serve(request(p))
	if a.Reason != want {
		w.t.Fatalf("%v of %v: %v, want %v", p.MessageType(), p.ClientHWAddr, a.Reason, want)
	}
	return answer
}

func asks(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(a)))
}

func at(a string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(a)) }

func to(a string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(a)))
}

func clientID(s string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptClientIdentifier([]byte(s)))
}

// get has a client get an address by DISCOVER and REQUEST.
func (w *world) get(n int, mods ...dhcpv4.Modifier) string {
	w.t.Helper()
	offer := w.say(message(n, dhcpv4.MessageTypeDiscover, mods...), dhcp.Offered)
	a := offer.YourIPAddr.String()
	ack := w.say(message(n, dhcpv4.MessageTypeRequest, append(mods, asks(a), to("10.0.0.1"))...), dhcp.Acknowledged)
	if ack.YourIPAddr.String() != a {
		w.t.Fatalf("%v was offered, %v given", a, ack.YourIPAddr)
	}
	return a
}

// A dynamic client gets an address of the pool, keeps it, and gets it again after it has given it back.
func TestLifeOfALease(t *testing.T) {
	w := newWorld(t)
	a := w.get(1)
	if !w.c.Subnets[0].CIDR.Contains(addr(a)) || addr(a).Less(addr("10.0.0.100")) {
		t.Fatalf("got %v, which is not of the pool", a)
	}
	l, ok := w.leases.Holder(w.now, "net", addr(a))
	if !ok || l.MAC != mac(1) || !l.Ends.Equal(w.now.Add(time.Hour)) {
		t.Errorf("the lease is %+v", l)
	}
	w.now = w.now.Add(30 * time.Minute)
	ack := w.say(message(1, dhcpv4.MessageTypeRequest, at(a)), dhcp.Acknowledged) // RENEWING
	if got := ack.IPAddressLeaseTime(0); got != time.Hour {
		t.Errorf("renewed for %v", got)
	}
	if got := ack.IPAddressRenewalTime(0); got != 30*time.Minute {
		t.Errorf("T1 is %v", got)
	}
	if got := ack.IPAddressRebindingTime(0); got != 3150*time.Second {
		t.Errorf("T2 is %v", got)
	}
	w.now = w.now.Add(59 * time.Minute)
	if _, ok := w.leases.Holder(w.now, "net", addr(a)); !ok {
		t.Error("the lease has ended before its time")
	}
	w.say(message(1, dhcpv4.MessageTypeRelease, at(a), to("10.0.0.1")), dhcp.Released)
	if list := w.leases.List(w.now); len(list) != 0 {
		t.Errorf("after the release there are %v", list)
	}
	for n := 2; n < 9; n++ {
		if got := w.get(n); got == a {
			t.Errorf("client %d got %v, which another one had, though others were free", n, a)
		}
	}
	if got := w.get(1); got != a {
		t.Errorf("the client got %v, had %v", got, a)
	}
}

// A lease ends at its end, and not before.
func TestExpiry(t *testing.T) {
	w := newWorld(t)
	a := w.get(1)
	w.now = w.now.Add(time.Hour - 1)
	w.say(message(2, dhcpv4.MessageTypeRequest, asks(a)), dhcp.Refused)
	w.now = w.now.Add(1)
	if list := w.leases.List(w.now); len(list) != 0 {
		t.Errorf("at its end the lease is listed: %v", list)
	}
	w.say(message(2, dhcpv4.MessageTypeRequest, asks(a)), dhcp.Acknowledged)
}
