package dhcp_test

import (
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/taprouter/taprouter/internal/dhcp"
)

// Whatever comes to the server, its answer is a message within the size that the client takes, for the client that has
// asked, and it does not panic.
func FuzzServe(f *testing.F) {
	for _, p := range []*dhcpv4.DHCPv4{
		message(1, discover), message(1, asking, asks("10.0.0.100"), to("10.0.0.1"), clientID("\x00one")),
		message(1, asking, at("10.0.0.100")), message(2, inform, at("10.0.0.50")), message(1, decline,
			asks("10.0.0.100")),
		message(1, release, at("10.0.0.100")),
		message(1, discover, dhcpv4.WithRelay(net.IP{10, 0, 0, 9}), dhcpv4.WithOption(dhcpv4.OptRelayAgentInfo(
			dhcpv4.OptGeneric(dhcpv4.LinkSelectionSubOption, []byte{10, 0, 0, 0})))),
		message(1, discover, dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500)),
			dhcpv4.WithGeneric(dhcpv4.OptionOptionOverload, []byte{3})),
	} {
		f.Add(p.ToBytes(), true)
	}
	f.Fuzz(func(t *testing.T, payload []byte, unknown bool) {
		w := newWorld(t)
		w.c.Unknown = unknown
		w.c.Subnets[0].Search = []string{"example.org"}
		w.port(2, "10.0.0.50").Options = []dhcp.Option{{Code: 67, Value: []byte("boot")}}
		rq := request(message(1, discover))
		rq.Payload = payload
		for range 2 {
			a, p := w.serve(rq)
			if p == nil {
				if a.Reason < dhcp.Released {
					t.Errorf("%v, and no answer", a.Reason)
				}
				return
			}
			asked, err := dhcpv4.FromBytes(payload)
			if err != nil {
				asked, err = dhcpv4.FromBytes(append(append([]byte{}, payload...), 255))
			}
			if err != nil {
				t.Fatalf("an answer to what cannot be read: %v", err)
			}
			most := 548
			if n, err := asked.MaxMessageSize(); err == nil {
				most = max(most, min(int(n), 1450)-28)
			}
			// Option 82 comes back whole, whatever it takes.
			own := len(asked.Options.Get(dhcpv4.OptionRelayAgentInformation)) +
				len(asked.Options.Get(dhcpv4.OptionClientIdentifier))
			if len(a.Payload) > most+2*own && own < 200 || len(a.Payload) < 300 {
				t.Errorf("%d bytes for a client that takes %d", len(a.Payload), most)
			}
			if p.TransactionID != asked.TransactionID || p.OpCode != dhcpv4.OpcodeBootReply || !a.To.IsValid() ||
				a.To.Addr().IsUnspecified() || !a.From.IsValid() {
				t.Errorf("answered %+v: %v", a, p.Summary())
			}
			w.now = w.now.Add(time.Second)
		}
	})
}

func BenchmarkServe(b *testing.B) {
	w := newWorld(b)
	w.port(1, "10.0.0.50")
	for name, p := range map[string]*dhcpv4.DHCPv4{
		"port": message(1, asking, at("10.0.0.50")), "renewal": message(2, asking, at("10.0.0.100")),
		"discover": message(3, discover), "other": message(4, asking, asks("10.0.0.3"), to("10.0.0.66")),
	} {
		b.Run(name, func(b *testing.B) {
			rqs := []dhcp.Request{request(p)}
			s := w.leases.Server("net")
			b.ReportAllocs()
			for b.Loop() {
				w.now = w.now.Add(time.Second)
				s.Serve(w.now, &w.c, rqs)
			}
		})
	}
}

// Of a large pool that is nearly full, and of one that is full.
func BenchmarkDiscoverInFullPool(b *testing.B) {
	for name, full := range map[string]int{"one free": 65535, "none free": 65536} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			w.c.Subnets[0].CIDR = prefix("10.0.0.0/8")
			w.c.Subnets[0].Pools = []dhcp.Range{{First: addr("10.1.0.0"), Last: addr("10.1.255.255")}}
			w.c.Limit = 1 << 20
			var kept []dhcp.Lease
			for n := range full {
				m := mac(100 + n)
				kept = append(kept, dhcp.Lease{Network: "net", Client: dhcp.Key(m, nil), MAC: m, Ends: start.AddDate(9,
					0, 0),
					Address: addr("10.1.0.0")})
				k := &kept[len(kept)-1]
				a := k.Address.As4()
				a[2], a[3] = byte(n>>8), byte(n)
				k.Address = addr(net.IP(a[:]).String())
			}
			w.leases.Load(kept)
			s := w.leases.Server("net")
			n := 0
			for b.Loop() {
				n++
				w.now = w.now.Add(time.Second)
				s.Serve(w.now, &w.c, []dhcp.Request{request(message(n%50, discover))})
			}
		})
	}
}
