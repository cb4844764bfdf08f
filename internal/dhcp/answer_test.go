package dhcp_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/taprouter/taprouter/internal/dhcp"
)

// Where an answer goes (RFC 2131, 4.1).
func TestWhereAnswersGo(t *testing.T) {
	everyone := dhcp.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	relay := dhcp.MAC{2, 0, 0, 0, 0, 9}
	for _, c := range []struct {
		name string
		p    *dhcpv4.DHCPv4
		from dhcp.MAC
		src  string
		to   string
		mac  dhcp.MAC
	}{
		{"to the offered address", message(1, discover), mac(1), "0.0.0.0", "10.0.0.100:68", mac(1)},
		{"broadcast flag", message(1, discover, dhcpv4.WithBroadcast(true)), mac(1), "0.0.0.0", "255.255.255.255:68",
			everyone},
		{"renewing", message(1, asking, at("10.0.0.100")), mac(1), "10.0.0.100", "10.0.0.100:68", mac(1)},
		{"renewing with the broadcast flag", message(1, asking, at("10.0.0.100"), dhcpv4.WithBroadcast(true)), mac(1),
			"10.0.0.100", "10.0.0.100:68", mac(1)},
		{"renewing by a router", message(1, asking, at("10.0.0.100")), relay, "10.7.0.1", "10.0.0.100:68", relay},
		{"refused", message(1, asking, asks("10.0.0.7")), mac(1), "0.0.0.0", "255.255.255.255:68", everyone},
		{"refused while renewing", message(1, asking, at("10.0.0.7")), mac(1), "10.0.0.7", "255.255.255.255:68",
			everyone},
		{"refused beyond a router", message(1, asking, at("10.7.0.1")), relay, "10.7.0.1", "10.7.0.1:68", relay},
		{"a relay", message(1, discover, dhcpv4.WithRelay(net.IP{10, 0, 0, 9})), relay, "10.0.0.9", "10.0.0.9:67",
			relay},
		{"a relay, refused", message(1, asking, asks("10.0.0.7"), dhcpv4.WithRelay(net.IP{10, 0, 0, 9})), relay,
			"10.0.0.9",
			"10.0.0.9:67", relay},
		{"informed", message(1, inform, at("10.0.0.7")), mac(1), "10.0.0.7", "10.0.0.7:68", mac(1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.c.Subnets[0].Pools[0].Last = addr("10.0.0.100")
			rq := request(c.p)
			rq.SourceMAC, rq.Src = c.from, addr(c.src)
			a, p := w.serve(rq)
			if p == nil {
				t.Fatalf("no answer: %v", a.Reason)
			}
			if a.To.String() != c.to || a.ToMAC != c.mac || a.From != addr("10.0.0.1") {
				t.Errorf("goes to %v (%x) from %v, want %v (%x)", a.To, a.ToMAC, a.From, c.to, c.mac)
			}
			if !p.GatewayIPAddr.Equal(c.p.GatewayIPAddr) || p.OpCode != dhcpv4.OpcodeBootReply {
				t.Errorf("giaddr %v, op %v", p.GatewayIPAddr, p.OpCode)
			}
			refusedByRelay := p.MessageType() == dhcpv4.MessageTypeNak && c.p.GatewayIPAddr.Equal(net.IP{10, 0, 0, 9})
			if want := c.p.IsBroadcast() || refusedByRelay; p.IsBroadcast() != want {
				t.Errorf("broadcast flag %v, want %v", p.IsBroadcast(), want)
			}
		})
	}
}

// An answer comes from the address that the client has asked at, and names the present one.
func TestOlderAddress(t *testing.T) {
	w := newWorld(t)
	rq := request(message(1, asking, at("10.0.0.100")))
	rq.Dst = addr("10.0.0.2")
	a, p := w.serve(rq)
	if a.From != addr("10.0.0.2") || !p.ServerIdentifier().Equal(net.IP{10, 0, 0, 1}) {
		t.Errorf("from %v by %v", a.From, p.ServerIdentifier())
	}
}

// The option of a relay comes back as it was, and at the end (RFC 3046). The relay may say which link, and what the
// server is to be called.
func TestRelayOption(t *testing.T) {
	w := newWorld(t)
	w.c.Subnets = append(w.c.Subnets, dhcp.Subnet{CIDR: prefix("10.1.0.0/24"), Server: addr("10.0.0.1"),
		Gateway: addr("10.1.0.1"), Pools: []dhcp.Range{{First: addr("10.1.0.100"), Last: addr("10.1.0.109")}}})
	info := dhcpv4.OptRelayAgentInfo(
		dhcpv4.OptGeneric(dhcpv4.AgentCircuitIDSubOption, []byte("eth7")),
		dhcpv4.OptGeneric(dhcpv4.LinkSelectionSubOption, []byte{10, 1, 0, 0}),
		dhcpv4.OptGeneric(dhcpv4.ServerIdentifierOverrideSubOption, []byte{10, 1, 0, 9}))
	relayed := []dhcpv4.Modifier{dhcpv4.WithRelay(net.IP{10, 0, 0, 9}), dhcpv4.WithOption(info)}
	offer := w.say(message(1, discover, relayed...), dhcp.Offered)
	if !prefix("10.1.0.0/24").Contains(addr(offer.YourIPAddr.String())) {
		t.Errorf("was offered %v", offer.YourIPAddr)
	}
	if got := offer.Options.Get(dhcpv4.OptionRelayAgentInformation); !bytes.Equal(got, info.Value.ToBytes()) {
		t.Errorf("the option came back as %x", got)
	}
	b, _ := w.serve(request(message(2, discover, relayed...)))
	raw := bytes.TrimRight(b.Payload, "\x00")
	if end := append(append([]byte{82, byte(len(info.Value.ToBytes()))}, info.Value.ToBytes()...),
		255); !bytes.HasSuffix(raw, end) {
		t.Errorf("option 82 is not the last: %x", raw[240:])
	}
	if !offer.ServerIdentifier().Equal(net.IP{10, 1, 0, 9}) {
		t.Errorf("the server is called %v", offer.ServerIdentifier())
	}
	w.say(message(1, asking, append(relayed, asks(offer.YourIPAddr.String()), to("10.1.0.9"))...), dhcp.Acknowledged)
}

// A client behind a relay renews its lease past the relay. So it knows the server by the address at which the relay has
// reached it, not by one on its own link, where there is no server.
func TestServerOfARelay(t *testing.T) {
	for _, c := range []struct{ name, src, dst, want string }{
		{"asked at an address", "10.0.0.9", "10.0.0.2", "10.0.0.2"},
		{"asked from elsewhere", "10.77.0.9", "10.0.0.1", "10.0.0.1"},
		{"asked by a broadcast", "10.0.0.9", "255.255.255.255", "10.0.0.1"},
		{"asked by a broadcast from no subnet", "10.77.0.9", "255.255.255.255", "10.1.0.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.c.Servers = append(w.c.Servers, addr("10.1.0.2"))
			w.c.Subnets = append(w.c.Subnets, dhcp.Subnet{CIDR: prefix("10.1.0.0/24"), Server: addr("10.1.0.2"),
				Gateway: addr("10.1.0.1"), Pools: []dhcp.Range{{First: addr("10.1.0.100"), Last: addr("10.1.0.109")}},
				DNS: []netip.Addr{addr("10.1.0.2"), addr("192.0.2.53")}, Routes: []dhcp.Route{
					{Destination: prefix("169.254.169.254/32"), NextHop: addr("10.1.0.2")},
					{Destination: prefix("10.9.0.0/16"), NextHop: addr("10.1.0.9")}}})
			rq := request(message(1, discover, dhcpv4.WithRelay(net.IP{10, 1, 0, 1})))
			rq.SourceMAC, rq.Src, rq.Dst = mac(99), addr(c.src), addr(c.dst)
			a, offer := w.serve(rq)
			if offer == nil {
				t.Fatalf("no answer: %v", a.Reason)
			}
			if got := offer.ServerIdentifier().String(); got != c.want {
				t.Errorf("the client knows the server by %v, want %v", got, c.want)
			}
			if leased := offer.YourIPAddr.String(); !prefix("10.1.0.0/24").Contains(addr(leased)) {
				t.Errorf("was offered %v", leased)
			}
			w.say(message(1, asking, asks(offer.YourIPAddr.String()), to(c.want),
				dhcpv4.WithRelay(net.IP{10, 1, 0, 1})), dhcp.Acknowledged)
			// It renews past its relay.
			rq = request(message(1, asking, at(offer.YourIPAddr.String())))
			rq.SourceMAC, rq.Dst = mac(99), addr(c.want)
			if _, ack := w.serve(rq); ack == nil || ack.ServerIdentifier().String() != c.want {
				t.Errorf("the renewal is answered with %v", ack)
			}
			routes := len(offer.ClasslessStaticRoute())
			if dns := offer.DNS()[0].String(); dns != c.want || (routes == 2) != (c.want != "10.1.0.2") {
				t.Errorf("DNS at %v, the routes %v", dns, offer.ClasslessStaticRoute())
			}
		})
	}
}

// codes lists the options of a payload in their order.
func codes(t *testing.T, payload []byte) (list []uint8) {
	t.Helper()
	b := payload[240:]
	for len(b) > 0 && b[0] != 255 {
		if b[0] != 0 {
			list = append(list, b[0])
			b = b[1+int(b[1]):]
		}
		b = b[1:]
	}
	return list
}

// A client gets what it asks for, in its order, and what every client needs before. Routes come before the router.
func TestOrderOfOptions(t *testing.T) {
	for _, c := range []struct {
		name  string
		asked []uint8
		want  []uint8
	}{
		{"asks for nothing", nil, []uint8{53, 54, 51, 58, 59, 1, 121, 3, 6, 15, 26, 28, 119}},
		{"its order", []uint8{15, 6, 26}, []uint8{53, 54, 51, 58, 59, 1, 15, 6, 26}},
		{"routes first", []uint8{1, 3, 6, 121}, []uint8{53, 54, 51, 58, 59, 1, 121, 3, 6}},
		{"no routes", []uint8{3, 1}, []uint8{53, 54, 51, 58, 59, 1, 3}},
		{"twice", []uint8{6, 6, 51, 53}, []uint8{53, 54, 51, 58, 59, 1, 6}},
		{"nobody has it", []uint8{200, 255, 0, 6}, []uint8{53, 54, 51, 58, 59, 1, 6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			s := &w.c.Subnets[0]
			s.Routes = []dhcp.Route{{Destination: prefix("10.8.0.0/16"), NextHop: addr("10.0.0.8")}}
			s.Search = []string{"example.org"}
			p := message(1, discover)
			if c.asked != nil {
				p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionParameterRequestList, c.asked))
			} else {
				p.DeleteOption(dhcpv4.OptionParameterRequestList)
			}
			a, _ := w.serve(request(p))
			if got := codes(t, a.Payload); !slices.Equal(got, c.want) {
				t.Errorf("options %v, want %v", got, c.want)
			}
		})
	}
}

// The values of a subnet's options.
func TestValues(t *testing.T) {
	w := newWorld(t)
	s := &w.c.Subnets[0]
	s.Routes = []dhcp.Route{{Destination: prefix("10.8.0.0/16"), NextHop: addr("10.0.0.8")},
		{Destination: prefix("169.254.169.254/32"), NextHop: addr("10.0.0.1")},
		{Destination: prefix("10.1.0.0/24"), NextHop: addr("0.0.0.0")}}
	s.DNS = []netip.Addr{addr("10.0.0.1"), addr("2001:db8::1"), addr("9.9.9.9")}
	s.Search = []string{"example.org", "eng.example.org", "org", "lab.test."}
	p := message(1, discover)
	p.DeleteOption(dhcpv4.OptionParameterRequestList)
	offer := w.say(p, dhcp.Offered)
	for code, want := range map[uint8]string{
		1: "ffffff00", 3: "0a000001", 6: "0a000001" + "09090909", 15: hex.EncodeToString([]byte("example.org")),
		26: "05aa", 28: "0a0000ff", 51: "00000e10", 54: "0a000001", 58: "00000708", 59: "00000c4e",
		119: "07" + hex.EncodeToString([]byte("example")) + "03" + hex.EncodeToString([]byte("org")) + "00" +
			"03" + hex.EncodeToString([]byte("eng")) + "c000" + "c008" +
			"03" + hex.EncodeToString([]byte("lab")) + "04" + hex.EncodeToString([]byte("test")) + "00",
		121: "10" + "0a08" + "0a000008" + "20" + "a9fea9fe" + "0a000001" + "18" + "0a0100" + "00000000" + "00" +
			"0a000001",
	} {
		if got := hex.EncodeToString(offer.Options[code]); got != want {
			t.Errorf("option %d is %s, want %s", code, got, want)
		}
	}
	labels, err := rfc1035label.FromBytes(offer.Options[119])
	if err != nil || !slices.Equal(labels.Labels, []string{"example.org", "eng.example.org", "org", "lab.test"}) {
		t.Errorf("the search list reads as %v, %v", labels, err)
	}
}

// A port's options go before those of its subnet; one without a value is not sent, and neither is what follows from it.
func TestPortOptions(t *testing.T) {
	w := newWorld(t)
	s := &w.c.Subnets[0]
	s.Routes = []dhcp.Route{{Destination: prefix("10.8.0.0/16"), NextHop: addr("10.0.0.8")}}
	port := w.port(1, "10.0.0.50")
	port.Options = []dhcp.Option{{Code: 26, Value: []byte{5, 0x78}}, {Code: 3}, {Code: 66, Value: []byte("10.0.0.77")},
		{Code: 67, Value: []byte("pxelinux.0")}, {Code: 42, Value: []byte{10, 0, 0, 5}}}
	p := message(1, discover)
	p.DeleteOption(dhcpv4.OptionParameterRequestList)
	offer := w.say(p, dhcp.Offered)
	if offer.Options.Has(dhcpv4.OptionRouter) {
		t.Error("the router is sent")
	}
	if got := hex.EncodeToString(offer.Options[121]); got != "100a080a000008" {
		t.Errorf("routes %s", got)
	}
	if got := hex.EncodeToString(offer.Options[26]); got != "0578" {
		t.Errorf("MTU %s", got)
	}
	if !offer.ServerIPAddr.Equal(net.IP{10, 0, 0, 77}) || offer.BootFileName != "pxelinux.0" ||
		offer.ServerHostName != "10.0.0.77" || offer.BootFileNameOption() != "pxelinux.0" {
		t.Errorf("boots from %v", offer.Summary())
	}
	port.Options = []dhcp.Option{{Code: dhcp.OptionNextServer, Value: []byte{10, 0, 0, 78}}, {Code: 3, Value: []byte{10,
		0, 0, 9}}}
	offer = w.say(p, dhcp.Offered)
	if !offer.ServerIPAddr.Equal(net.IP{10, 0, 0, 78}) {
		t.Errorf("boots from %v", offer.ServerIPAddr)
	}
	if got := hex.EncodeToString(offer.Options[121]); got != "100a080a000008"+"000a000009" {
		t.Errorf("routes by the port's router: %s", got)
	}
}

// A client that has its address by other means gets parameters, and neither an address nor a time.
func TestInform(t *testing.T) {
	w := newWorld(t)
	ack := w.say(message(1, inform, at("10.0.0.7"), dhcpv4.WithRequestedOptions(dhcpv4.OptionDomainNameServer)),
		dhcp.Informed)
	if !ack.YourIPAddr.IsUnspecified() || ack.Options.Has(dhcpv4.OptionIPAddressLeaseTime) ||
		ack.Options.Has(dhcpv4.OptionRenewTimeValue) || !ack.Options.Has(dhcpv4.OptionDomainNameServer) ||
		ack.MessageType() != dhcpv4.MessageTypeAck {
		t.Errorf("was informed of %v", ack.Summary())
	}
	w.say(message(1, inform, at("10.9.0.7")), dhcp.NoSubnet)
}

// A client may ask for a shorter time, but not for a longer one, nor for one that would keep the server busy.
func TestAskedTime(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		0: time.Hour, 10 * time.Minute: 10 * time.Minute, time.Second: time.Minute, 48 * time.Hour: time.Hour,
	} {
		w := newWorld(t)
		mods := []dhcpv4.Modifier{asks("10.0.0.100")}
		if asked > 0 {
			mods = append(mods, dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(asked)))
		}
		ack := w.say(message(1, asking, mods...), dhcp.Acknowledged)
		if got := ack.IPAddressLeaseTime(0); got != want {
			t.Errorf("asked for %v, got %v", asked, got)
		}
		if l, _ := w.leases.Holder(w.now, "net", addr("10.0.0.100")); !l.Ends.Equal(w.now.Add(want)) {
			t.Errorf("asked for %v: told %v, and the lease ends at %v", asked, want, l.Ends)
		}
	}
}

// An answer is as long as the client takes (option 57), and what finds no place in the options goes into the fields of
// names, or else is left out from the end.
func TestSize(t *testing.T) {
	long := func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }
	for _, c := range []struct {
		name    string
		takes   int
		mtu     int
		options []dhcp.Option
		size    int // at most
		has     []uint8
		not     []uint8
		overl   byte
	}{
		{"small", 0, 0, nil, 310, []uint8{1, 3, 6}, nil, 0},
		{"default", 0, 0, []dhcp.Option{{Code: 200, Value: long(230)}, {Code: 201, Value: long(110)}, {Code: 202,
			Value: long(60)}},
			548, []uint8{1, 200, 201, 202}, nil, 3},
		{"too much", 0, 0, []dhcp.Option{{Code: 200, Value: long(230)}, {Code: 201, Value: long(250)}, {Code: 202,
			Value: long(250)}},
			548, []uint8{1, 200}, []uint8{201, 202}, 0},
		{"takes more", 1400, 1450, []dhcp.Option{{Code: 200, Value: long(250)}, {Code: 201, Value: long(500)}},
			1372, []uint8{1, 200, 201}, nil, 0},
		{"takes more than the network", 9000, 1000, []dhcp.Option{{Code: 200, Value: long(700)}, {Code: 201,
			Value: long(100)}},
			972, []uint8{1, 201}, []uint8{200}, 0},
		{"takes less than it must", 100, 0, []dhcp.Option{{Code: 200, Value: long(200)}}, 548, []uint8{1, 200}, nil, 0},
		{"the field of the file is used", 0, 0, []dhcp.Option{{Code: 67, Value: []byte("boot")}, {Code: 200,
			Value: long(230)},
			{Code: 201, Value: long(100)}, {Code: 202, Value: long(50)}}, 548, []uint8{67, 200, 202}, []uint8{201}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.c.MTU = c.mtu
			w.port(1, "10.0.0.50").Options = c.options
			p := message(1, discover)
			p.DeleteOption(dhcpv4.OptionParameterRequestList)
			if c.takes > 0 {
				p.UpdateOption(dhcpv4.OptMaxMessageSize(uint16(c.takes)))
			}
			a, offer := w.serve(request(p))
			if len(a.Payload) > c.size || len(a.Payload) < 300 {
				t.Errorf("%d bytes, want at most %d", len(a.Payload), c.size)
			}
			var overload byte
			if v := offer.Options.Get(dhcpv4.OptionOptionOverload); len(v) == 1 {
				overload = v[0]
			}
			if overload != c.overl {
				t.Errorf("overload %d, want %d", overload, c.overl)
			}
			if overload&1 != 0 {
				if err := offer.Options.FromBytes(a.Payload[108:236]); err != nil {
					t.Error(err)
				}
			}
			if overload&2 != 0 {
				if err := offer.Options.FromBytes(a.Payload[44:108]); err != nil {
					t.Error(err)
				}
			}
			for _, code := range c.has {
				if offer.Options[code] == nil {
					t.Errorf("option %d is missing", code)
				}
				for _, o := range c.options {
					if o.Code == code && !bytes.Equal(offer.Options[code], o.Value) {
						t.Errorf("option %d is %q", code, offer.Options[code])
					}
				}
			}
			for _, code := range c.not {
				if offer.Options[code] != nil {
					t.Errorf("option %d is there", code)
				}
			}
		})
	}
}

// Messages that are none, or not for a server.
func TestNotServed(t *testing.T) {
	change := func(fn func(p *dhcpv4.DHCPv4)) []byte {
		p := message(1, discover)
		fn(p)
		return p.ToBytes()
	}
	good := message(1, discover).ToBytes()
	for _, c := range []struct {
		name    string
		payload []byte
		want    dhcp.Reason
	}{
		{"empty", nil, dhcp.Malformed},
		{"short", good[:239], dhcp.Malformed},
		{"no cookie", append(slices.Clone(good[:236]), make([]byte, 64)...), dhcp.Malformed},
		{"no end", bytes.TrimRight(good, "\x00\xff"), dhcp.Offered},
		{"cut option", append(slices.Clone(good[:240]), 53, 1), dhcp.Malformed},
		{"a server's", change(func(p *dhcpv4.DHCPv4) { p.OpCode = dhcpv4.OpcodeBootReply }), dhcp.NotRequest},
		{"an offer", change(func(p *dhcpv4.DHCPv4) {
			p.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeOffer))
		}), dhcp.NotRequest},
		{"BOOTP", change(func(p *dhcpv4.DHCPv4) { p.DeleteOption(dhcpv4.OptionDHCPMessageType) }), dhcp.Malformed},
		{"InfiniBand", change(func(p *dhcpv4.DHCPv4) { p.HWType = 32 }), dhcp.NotEthernet},
		{"no hardware address", change(func(p *dhcpv4.DHCPv4) { p.ClientHWAddr = nil }), dhcp.NotEthernet},
		{"zeros", change(func(p *dhcpv4.DHCPv4) { p.ClientHWAddr = make([]byte, 6) }), dhcp.NotEthernet},
		{"a group", change(func(p *dhcpv4.DHCPv4) { p.ClientHWAddr[0] = 1 }), dhcp.NotEthernet},
		{"half an address", change(func(p *dhcpv4.DHCPv4) {
			p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRequestedIPAddress, []byte{10, 0}))
		}), dhcp.Malformed},
		{"a relay that is a group", change(func(p *dhcpv4.DHCPv4) { p.GatewayIPAddr = net.IP{224, 0, 0, 1} }),
			dhcp.Malformed},
		{"a long identifier", change(func(p *dhcpv4.DHCPv4) {
			p.UpdateOption(dhcpv4.OptClientIdentifier(make([]byte, 256)))
		}), dhcp.Malformed},
		{"an identifier of one byte", change(func(p *dhcpv4.DHCPv4) {
			p.UpdateOption(dhcpv4.OptClientIdentifier([]byte{1}))
		}), dhcp.Offered},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			rq := request(message(1, discover))
			rq.Payload = c.payload
			if a, _ := w.serve(rq); a.Reason != c.want {
				t.Errorf("%v, want %v", a.Reason, c.want)
			}
		})
	}
}

// Options in the fields of names count (RFC 2131, 4.1).
func TestOverloadedRequest(t *testing.T) {
	w := newWorld(t)
	p := message(1, asking)
	p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionOptionOverload, []byte{1}))
	payload := p.ToBytes()
	copy(payload[108:], []byte{50, 4, 10, 0, 0, 105, 255})
	rq := request(p)
	rq.Payload = payload
	if a, _ := w.serve(rq); a.Address != addr("10.0.0.105") {
		t.Errorf("got %v: %v", a.Address, a.Reason)
	}
}

// What a client says its name is, is kept if it is a name.
func TestHostnames(t *testing.T) {
	fqdn := func(flags byte, name string) dhcpv4.Modifier {
		return dhcpv4.WithGeneric(dhcpv4.OptionFQDN, append([]byte{flags, 0, 0}, name...))
	}
	for i, c := range []struct {
		mod  dhcpv4.Modifier
		want string
	}{
		{dhcpv4.WithOption(dhcpv4.OptHostName("Web-1")), "web-1"},
		{dhcpv4.WithOption(dhcpv4.OptHostName("a_b")), ""},
		{dhcpv4.WithOption(dhcpv4.OptHostName("-a")), ""},
		{dhcpv4.WithOption(dhcpv4.OptHostName("a..b")), ""},
		{dhcpv4.WithOption(dhcpv4.OptHostName("\x1b[2J")), ""},
		{dhcpv4.WithOption(dhcpv4.OptHostName(strings.Repeat("a", 64))), ""},
		{fqdn(4, "\x04host\x07example\x00"), "host.example"},
		{fqdn(0, "host.example"), "host.example"},
		{fqdn(4, "\x40host"), ""},
	} {
		w := newWorld(t)
		w.say(message(i, asking, asks("10.0.0.100"), c.mod), dhcp.Acknowledged)
		if l, _ := w.leases.Holder(w.now, "net", addr("10.0.0.100")); l.Hostname != c.want {
			t.Errorf("%d: called %q, want %q", i, l.Hostname, c.want)
		}
	}
}

// On prefixes without a broadcast address all addresses are hosts'.
func TestSmallSubnets(t *testing.T) {
	for bits, want := range map[int]int{30: 2, 31: 2, 32: 1} {
		w := newWorld(t)
		p := netip.PrefixFrom(addr("10.0.0.0"), bits)
		last := netip.AddrFrom4([4]byte{10, 0, 0, byte(1<<(32-bits) - 1)})
		w.c.Servers = nil
		w.c.Subnets = []dhcp.Subnet{{CIDR: p, Server: addr("10.9.9.9"), Pools: []dhcp.Range{{First: p.Addr(),
			Last: last}}}}
		got := 0
		for n := range 5 {
			a, _ := w.serve(request(message(n, discover)))
			if a.Reason == dhcp.Offered {
				w.say(message(n, asking, asks(fmt.Sprint(a.Address))), dhcp.Acknowledged)
				got++
			}
		}
		if got != want {
			t.Errorf("/%d: %d leases, want %d", bits, got, want)
		}
	}
}
