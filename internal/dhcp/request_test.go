package dhcp_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/taprouter/taprouter/internal/dhcp"
)

const (
	discover = dhcpv4.MessageTypeDiscover
	asking   = dhcpv4.MessageTypeRequest
	decline  = dhcpv4.MessageTypeDecline
	release  = dhcpv4.MessageTypeRelease
	inform   = dhcpv4.MessageTypeInform
)

// What becomes of a DHCPREQUEST, by the client's state and what the server knows. Client 1 has the lease of 10.0.0.100,
// client 2 is a port with 10.0.0.50, and 10.0.0.109 is an object's.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		name   string
		client int
		mods   []dhcpv4.Modifier
		want   dhcp.Reason
	}{
		{"selecting an address that is free", 3, []dhcpv4.Modifier{asks("10.0.0.101"), to("10.0.0.1")},
			dhcp.Acknowledged},
		{"selecting by an older address of the server", 3, []dhcpv4.Modifier{asks("10.0.0.101"), to("10.0.0.2")},
			dhcp.Acknowledged},
		{"selecting another server", 3, []dhcpv4.Modifier{asks("10.0.0.101"), to("10.0.0.66")}, dhcp.OtherServer},
		{"selecting another client's", 3, []dhcpv4.Modifier{asks("10.0.0.100"), to("10.0.0.1")}, dhcp.Refused},
		{"rebooting with its own", 1, []dhcpv4.Modifier{asks("10.0.0.100")}, dhcp.Acknowledged},
		{"rebooting with a free one of the pool", 3, []dhcpv4.Modifier{asks("10.0.0.102")}, dhcp.Acknowledged},
		{"rebooting with another client's", 3, []dhcpv4.Modifier{asks("10.0.0.100")}, dhcp.Refused},
		{"rebooting with an object's", 3, []dhcpv4.Modifier{asks("10.0.0.109")}, dhcp.Refused},
		{"rebooting with the gateway's", 3, []dhcpv4.Modifier{asks("10.0.0.1")}, dhcp.Refused},
		{"rebooting outside of the pool", 3, []dhcpv4.Modifier{asks("10.0.0.7")}, dhcp.Refused},
		{"rebooting from another network", 3, []dhcpv4.Modifier{asks("192.168.0.7")}, dhcp.Refused},
		{"renewing its own", 1, []dhcpv4.Modifier{at("10.0.0.100")}, dhcp.Acknowledged},
		{"renewing what the server has forgotten", 3, []dhcpv4.Modifier{at("10.0.0.103")}, dhcp.Acknowledged},
		{"renewing another client's", 3, []dhcpv4.Modifier{at("10.0.0.100")}, dhcp.Refused},
		{"renewing from another network", 3, []dhcpv4.Modifier{at("192.168.0.7")}, dhcp.Refused},
		{"asking for nothing", 3, nil, dhcp.Malformed},
		{"a port selecting its address", 2, []dhcpv4.Modifier{asks("10.0.0.50"), to("10.0.0.1")}, dhcp.Acknowledged},
		{"a port rebooting with its address", 2, []dhcpv4.Modifier{asks("10.0.0.50")}, dhcp.Acknowledged},
		{"a port renewing its address", 2, []dhcpv4.Modifier{at("10.0.0.50")}, dhcp.Acknowledged},
		{"a port rebooting with another address", 2, []dhcpv4.Modifier{asks("10.0.0.104")}, dhcp.Refused},
		{"a port renewing another address", 2, []dhcpv4.Modifier{at("10.0.0.104")}, dhcp.Refused},
		{"a port with a client identifier", 2, []dhcpv4.Modifier{asks("10.0.0.50"), clientID("\x00two")},
			dhcp.Acknowledged},
		{"another client renewing a port's address", 3, []dhcpv4.Modifier{at("10.0.0.50")}, dhcp.Refused},
		{"a relay", 3, []dhcpv4.Modifier{asks("10.0.0.102"), dhcpv4.WithRelay(net.IP{10, 0, 0, 9})}, dhcp.Acknowledged},
		{"a relay elsewhere", 3, []dhcpv4.Modifier{asks("10.0.0.102"), dhcpv4.WithRelay(net.IP{10, 9, 0, 9})},
			dhcp.NoSubnet},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.say(message(1, asking, asks("10.0.0.100")), dhcp.Acknowledged)
			w.port(2, "10.0.0.50")
			w.taken[addr("10.0.0.109")] = true
			w.now = w.now.Add(time.Minute)
			p := message(c.client, asking, c.mods...)
			answer := w.say(p, c.want)
			wantKind := map[dhcp.Reason]dhcpv4.MessageType{dhcp.Acknowledged: dhcpv4.MessageTypeAck,
				dhcp.Refused: dhcpv4.MessageTypeNak}[c.want]
			if wantKind == 0 {
				if answer != nil {
					t.Fatalf("answered with %v", answer)
				}
				return
			}
			if answer.MessageType() != wantKind || answer.TransactionID != p.TransactionID {
				t.Errorf("answered with %v", answer)
			}
			id := answer.ServerIdentifier()
			if want := p.ServerIdentifier(); want != nil && !id.Equal(want) || id == nil {
				t.Errorf("server identifier %v, was asked with %v", id, want)
			}
			if wantKind == dhcpv4.MessageTypeNak {
				if !answer.YourIPAddr.IsUnspecified() || answer.IPAddressLeaseTime(0) != 0 || answer.Message() == "" {
					t.Errorf("a refusal with an address, a time or without a word: %v", answer.Summary())
				}
			} else if got := answer.YourIPAddr; !got.Equal(p.RequestedIPAddress()) && !got.Equal(p.ClientIPAddr) {
				t.Errorf("was given %v", got)
			}
		})
	}
}

// Where only ports get addresses, a client that is none is not answered, not even with a refusal: another server may
// be there for it.
func TestOnlyPorts(t *testing.T) {
	w := newWorld(t)
	w.c.Unknown = false
	w.port(2, "10.0.0.50")
	w.port(3)
	w.port(4, "10.7.0.4")
	for _, p := range []*dhcpv4.DHCPv4{
		message(1, discover), message(1, asking, asks("10.0.0.100")), message(1, asking, asks("192.168.0.1")),
		message(1, inform, at("10.0.0.7")), message(1, release, at("10.0.0.50")), message(1, decline,
			asks("10.0.0.50")),
	} {
		w.say(p, dhcp.NoPort)
	}
	if got := w.get(2); got != "10.0.0.50" {
		t.Errorf("the port got %v", got)
	}
	w.say(message(3, discover), dhcp.NoAddress)
	w.say(message(3, asking, asks("10.0.0.100")), dhcp.NoAddress)
	w.say(message(4, discover), dhcp.NoAddress)
	w.say(message(4, asking, asks("10.7.0.4")), dhcp.Refused)
}

// A port's client gets its address by its MAC address, whatever client identifier it sends, and no dynamic lease.
func TestPort(t *testing.T) {
	w := newWorld(t)
	p := w.port(1, "10.9.0.1", "10.0.0.50", "10.0.0.51")
	p.Hostname, p.Domain = "web1", "tenant.example"
	for _, id := range []string{"\x00a", "\x00b"} {
		if got := w.get(1, clientID(id)); got != "10.0.0.50" {
			t.Errorf("got %v", got)
		}
	}
	offer := w.say(message(1, discover, asks("10.0.0.51")), dhcp.Offered)
	if got := offer.YourIPAddr.String(); got != "10.0.0.51" {
		t.Errorf("asked for another one of its addresses, got %v", got)
	}
	ack := w.say(message(1, asking, asks("10.0.0.50"), dhcpv4.WithRequestedOptions(dhcpv4.OptionHostName,
		dhcpv4.OptionDomainName)), dhcp.Acknowledged)
	if ack.HostName() != "web1" || ack.DomainName() != "tenant.example" {
		t.Errorf("is called %q of %q", ack.HostName(), ack.DomainName())
	}
	if list := w.leases.List(w.now); len(list) != 0 {
		t.Errorf("a port has leases: %v", list)
	}
	w.say(message(1, release, at("10.0.0.50")), dhcp.Released)
	w.say(message(1, release, at("10.0.0.100")), dhcp.NoLease)
}

// A client that becomes a port loses its dynamic lease.
func TestBecomesPort(t *testing.T) {
	w := newWorld(t)
	a := w.get(1)
	w.port(1, "10.0.0.50")
	w.say(message(1, asking, at(a)), dhcp.Refused)
	if got := w.get(1); got != "10.0.0.50" {
		t.Errorf("got %v", got)
	}
	if list := w.leases.List(w.now); len(list) != 0 {
		t.Errorf("still has %v", list)
	}
}

// A client is its client identifier (RFC 2131, 4.2). Two with one identifier are copies of a disk, and two clients.
func TestClientIdentifiers(t *testing.T) {
	w := newWorld(t)
	a := w.get(1, clientID("\x00same"))
	if b := w.get(1, clientID("\x00other")); b == a {
		t.Errorf("two identifiers have one address, %v", a)
	}
	if b := w.get(1); b == a {
		t.Error("the MAC address and an identifier have one address")
	}
	b := w.get(2, clientID("\x00same"))
	if b == a {
		t.Errorf("two hosts have one address, %v", a)
	}
	if got := w.get(2, clientID("\x00same")); got != b {
		t.Errorf("the copy got %v, had %v", got, b)
	}
	if got := w.get(1, clientID("\x00same")); got != a {
		t.Errorf("the first got %v, had %v", got, a)
	}
	w.say(message(2, release, at(a), clientID("\x00same")), dhcp.NoLease)
	w.say(message(1, release, at(a), clientID("\x00same")), dhcp.Released)
	answer := w.say(message(1, discover, clientID("\x00same")), dhcp.Offered)
	if got := answer.Options.Get(dhcpv4.OptionClientIdentifier); string(got) != "\x00same" { // RFC 6842
		t.Errorf("the answer has the identifier %q", got)
	}
}

// One MAC address has only so many addresses, whatever it says it is.
func TestOneMACManyClients(t *testing.T) {
	w := newWorld(t)
	w.c.Subnets[0].Pools[0].Last = addr("10.0.0.200")
	for i := range 8 {
		w.get(1, clientID(fmt.Sprint("\x00", i)))
		w.now = w.now.Add(time.Second)
	}
	w.say(message(1, discover, clientID("\x00more")), dhcp.Full)
	w.say(message(1, asking, clientID("\x00more"), asks("10.0.0.200")), dhcp.Full)
	w.get(2)
}

// An address that a client has found in use is nobody's for a while.
func TestDecline(t *testing.T) {
	w := newWorld(t)
	a := w.get(1)
	w.say(message(2, decline, asks(a), to("10.0.0.1")), dhcp.NoLease)
	w.say(message(1, decline, asks(a), to("10.0.0.66")), dhcp.OtherServer)
	w.say(message(1, decline, asks(a), to("10.0.0.1")), dhcp.Declined)
	if !slices.ContainsFunc(w.said, func(s string) bool { return strings.Contains(s, a) }) {
		t.Errorf("nothing was said of %v: %q", a, w.said)
	}
	w.say(message(2, asking, asks(a)), dhcp.Refused)
	if got := w.get(1); got == a {
		t.Error("the client was given the same address again")
	}
	w.now = w.now.Add(10*time.Minute - 1)
	w.say(message(2, asking, asks(a)), dhcp.Refused)
	w.now = w.now.Add(1)
	w.say(message(2, asking, asks(a)), dhcp.Acknowledged)
}

// Only the client itself gives an address back.
func TestReleaseOfAnother(t *testing.T) {
	w := newWorld(t)
	a := w.get(1)
	rq := request(message(1, release, at(a)))
	rq.SourceMAC = mac(2) // on the link
	if got, _ := w.serve(rq); got.Reason != dhcp.NoLease {
		t.Errorf("by a neighbor: %v", got.Reason)
	}
	rq.Src = addr("10.99.0.9") // by a router
	if got, _ := w.serve(rq); got.Reason != dhcp.Released {
		t.Errorf("by a router: %v", got.Reason)
	}
}

// Whoever only asks, by any number of MAC addresses, keeps no address from a client that takes it.
func TestFloodOfDiscover(t *testing.T) {
	w := newWorld(t)
	for n := range 951 {
		w.say(message(1000+n, discover), dhcp.Offered)
		w.now = w.now.Add(time.Millisecond)
		if n%100 == 50 {
			w.get(n / 100)
		}
	}
	if got := len(w.leases.List(w.now)); got != 10 {
		t.Errorf("%d of ten clients have a lease", got)
	}
	w.say(message(5000, discover), dhcp.PoolEmpty)
	w.say(message(5001, discover), dhcp.PoolEmpty)
	if len(w.said) != 1 || !strings.Contains(w.said[0], "no address is left") {
		t.Errorf("an empty pool says %q", w.said)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.get(1)
	for n := range 9 {
		w.get(10 + n)
	}
	w.say(message(5002, discover), dhcp.PoolEmpty)
	if len(w.said) != 2 {
		t.Errorf("the second time it says %q", w.said)
	}
}

// An offer keeps its address for the client for some seconds, and no longer.
func TestOffer(t *testing.T) {
	w := newWorld(t)
	w.c.Subnets[0].Pools[0].Last = addr("10.0.0.101")
	a := w.say(message(1, discover), dhcp.Offered).YourIPAddr.String()
	w.say(message(2, asking, asks(a)), dhcp.Refused)
	if b := w.say(message(2, discover, asks(a)), dhcp.Offered).YourIPAddr.String(); b == a {
		t.Errorf("two clients were offered %v", a)
	}
	w.say(message(2, asking, asks("10.0.0.7"), to("10.0.0.66")), dhcp.OtherServer) // takes another server's
	w.now = w.now.Add(10 * time.Second)
	w.say(message(2, asking, asks(a)), dhcp.Acknowledged)
}

// The same client gets the same address in a new world, and other clients are spread.
func TestChoiceIsTheSame(t *testing.T) {
	var first []string
	for round := range 2 {
		w := newWorld(t)
		w.c.Subnets[0].Pools = []dhcp.Range{{First: addr("10.0.0.10"), Last: addr("10.0.0.99")},
			{First: addr("10.0.0.120"), Last: addr("10.0.0.250")}}
		for n := range 5 {
			m := n
			if round == 1 {
				m = 4 - n
			}
			first = append(first, w.get(m))
		}
	}
	slices.Reverse(first[5:])
	if !slices.Equal(first[:5], first[5:]) {
		t.Errorf("%v, and in another order %v", first[:5], first[5:])
	}
}

// The network's limit, and a device's.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	w.c.Limit, w.c.DeviceLimit = 3, 2
	w.get(1)
	w.get(2)
	w.say(message(3, discover), dhcp.Full)
	w.say(message(2, asking, at(w.get(2))), dhcp.Acknowledged)
	from := func(device string, p *dhcpv4.DHCPv4) dhcp.Reason {
		rq := request(p)
		rq.Device = device
		a, _ := w.serve(rq)
		return a.Reason
	}
	if got := from("tap1", message(3, asking, asks("10.0.0.105"))); got != dhcp.Acknowledged {
		t.Errorf("at another device: %v", got)
	}
	if got := from("tap1", message(4, asking, asks("10.0.0.106"))); got != dhcp.Full {
		t.Errorf("beyond the network's limit: %v", got)
	}
	if len(w.said) != 2 {
		t.Errorf("said %q", w.said)
	}
}

// A client that asks too often is not answered, and others are.
func TestRates(t *testing.T) {
	w := newWorld(t)
	counts := map[dhcp.Reason]int{}
	for range 100 {
		p := message(1, discover)
		a, _ := w.serve(request(p))
		counts[a.Reason]++
		w.now = w.now.Add(10 * time.Millisecond)
	}
	if counts[dhcp.Offered] != 29 || counts[dhcp.TooMany] != 71 {
		t.Errorf("of one client: %v", counts)
	}
	w.get(2)
	for n := range 20_000 {
		rq := request(message(10_000+n, discover))
		rq.Device = "flood"
		a, _ := w.serve(rq)
		counts[a.Reason]++
	}
	if counts[dhcp.TooMany] < 15_000 {
		t.Errorf("of one device: %v", counts)
	}
	w.get(3)
}

// A State that is to have an address, and a lease of it, exclude each other.
func TestClaims(t *testing.T) {
	w := newWorld(t)
	a := addr(w.get(1))
	free := addr("10.0.0.109")
	if a == free {
		free = addr("10.0.0.108")
	}
	done := w.leases.ClaimAll(w.now, []dhcp.Claim{{Network: "net", Address: free, MAC: mac(2)}, {Network: "net",
		Address: a}})
	w.say(message(3, asking, asks(free.String())), dhcp.Refused)
	w.say(message(1, asking, at(a.String())), dhcp.Acknowledged) // it has been its before
	done()
	w.say(message(3, asking, asks(free.String())), dhcp.Acknowledged)
}

// By hand a lease ends, too, and all leases of a network that is gone.
func TestReleaseByHand(t *testing.T) {
	w := newWorld(t)
	a := addr(w.get(1))
	w.get(2)
	if l, found, err := w.leases.Release(w.now, "net", a); !found || err != nil || l.MAC != mac(1) {
		t.Errorf("released %v: %v, %v", l, found, err)
	}
	for network, a := range map[string]netip.Addr{"net": a, "other": a} {
		if _, found, err := w.leases.Release(w.now, network, a); found || err != nil {
			t.Errorf("released again on %s: %v, %v", network, found, err)
		}
	}
	if err := w.leases.Forget(w.now, "net"); err != nil || len(w.leases.List(w.now)) != 0 {
		t.Errorf("a network that is gone has leases %v: %v", w.leases.List(w.now), err)
	}
}

// Messages of many fates are counted by them.
func TestStats(t *testing.T) {
	w := newWorld(t)
	w.c.TakenIn = func(first, last netip.Addr) int { return 1 }
	w.taken[addr("10.0.0.109")] = true
	a := w.get(1)
	w.get(2)
	w.say(message(3, discover), dhcp.Offered)
	w.say(message(2, decline, asks(w.get(2))), dhcp.Declined)
	w.say(message(4, asking, asks(a)), dhcp.Refused)
	st := w.leases.Server("net").Stats(&w.c)
	want := dhcp.Stats{Leases: 1, Offers: 1, Quarantined: 1,
		Pools: []dhcp.PoolStats{{CIDR: prefix("10.0.0.0/24"), Size: 10, Used: 4}}}
	want.Counts[dhcp.Offered], want.Counts[dhcp.Acknowledged] = 4, 3
	want.Counts[dhcp.Declined], want.Counts[dhcp.Refused] = 1, 1
	if st.Counts != want.Counts || st.Leases != want.Leases || st.Offers != want.Offers ||
		st.Quarantined != want.Quarantined || !slices.Equal(st.Pools, want.Pools) {
		t.Errorf("%+v, want %+v", st, want)
	}
}
