package dns_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/taprouter/taprouter/internal/dns"
)

// lab is a View with two hosts in openstacklocal.
type lab struct{}

var hosts = map[string]netip.Addr{
	"web1.openstacklocal": netip.MustParseAddr("172.16.100.9"),
	"web2.openstacklocal": netip.MustParseAddr("172.16.100.10"),
	"web1":                netip.MustParseAddr("172.16.100.9"),
}

func (lab) Addresses(name string) []netip.Addr {
	if a, ok := hosts[name]; ok {
		return []netip.Addr{a}
	}
	return nil
}

func (lab) Domain(name string) string {
	if name == "openstacklocal" || strings.HasSuffix(name, ".openstacklocal") {
		return "openstacklocal"
	}
	return ""
}

func (lab) Name(addr netip.Addr) string {
	for name, a := range hosts {
		if a == addr && strings.Contains(name, ".") {
			return name
		}
	}
	return ""
}

func (lab) Inside(addr netip.Addr) bool {
	return netip.MustParsePrefix("172.16.100.0/24").Contains(addr)
}

var asker = netip.MustParseAddr("172.16.100.11")

// serve has a server answer a question that has an EDNS record.
func serve(t testing.TB, s *dns.Server, name, typ string) *mdns.Msg {
	t.Helper()
	m := new(mdns.Msg)
	m.SetQuestion(name, mdns.StringToType[typ])
	m.SetEdns0(4096, false)
	return serveMsg(t, s, m)
}

func serveMsg(t testing.TB, s *dns.Server, m *mdns.Msg) *mdns.Msg {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := new(mdns.Msg)
	if err := out.Unpack(s.Serve(t.Context(), dns.Query{Message: b, From: asker}, lab{})); err != nil {
		t.Fatal(err)
	}
	if out.Id != m.Id || !out.Response {
		t.Fatalf("the answer is %v", out)
	}
	return out
}

// show is what an answer says: its code, its records, and the owner of its SOA record.
func show(m *mdns.Msg) string {
	out := []string{mdns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		out = append(out, "aa")
	}
	for _, rr := range m.Answer {
		f := strings.Fields(rr.String())
		out = append(out, strings.Join(f[3:], " "))
	}
	for _, rr := range m.Ns {
		out = append(out, "soa "+rr.Header().Name)
	}
	return strings.Join(out, ", ")
}

// What a server without others to ask answers.
func TestLocal(t *testing.T) {
	for _, c := range []struct{ name, typ, want string }{
		{"web1.openstacklocal.", "A", "NOERROR, aa, A 172.16.100.9"},
		{"WEB1.OpenStackLocal.", "A", "NOERROR, aa, A 172.16.100.9"},
		{"web1.", "A", "NOERROR, aa, A 172.16.100.9"},
		{"web1.openstacklocal.", "AAAA", "NOERROR, aa, soa openstacklocal."},
		{"web1.openstacklocal.", "MX", "NOERROR, aa, soa openstacklocal."},
		{"web1.openstacklocal.", "ANY", `NOERROR, aa, HINFO "RFC8482" ""`},
		{"web3.openstacklocal.", "A", "NXDOMAIN, aa, soa openstacklocal."},
		{"openstacklocal.", "A", "NOERROR, aa, soa openstacklocal."},
		{"web3.", "A", "NXDOMAIN, soa ."},
		{"com.", "NS", "REFUSED"},
		{".", "NS", "REFUSED"},
		{"example.com.", "A", "REFUSED"},
		{"9.100.16.172.in-addr.arpa.", "PTR", "NOERROR, aa, PTR web1.openstacklocal."},
		{"9.100.16.172.in-addr.arpa.", "TXT", "NOERROR, aa, soa 100.16.172.in-addr.arpa."},
		{"77.100.16.172.in-addr.arpa.", "PTR", "NXDOMAIN, aa, soa 100.16.172.in-addr.arpa."},
		{"9.101.16.172.in-addr.arpa.", "PTR", "REFUSED"}, // another tenant's, as far as the asker knows
		{"1.0.0.127.in-addr.arpa.", "PTR", "NOERROR, aa, PTR localhost."},
		{"x.localhost.", "A", "NOERROR, aa, A 127.0.0.1"},
		{"localhost.", "AAAA", "NOERROR, aa, AAAA ::1"},
		{"a.invalid.", "A", "NXDOMAIN, soa ."},
		{"a.onion.", "A", "NXDOMAIN, soa ."},
		{"openstacklocal.", "AXFR", "REFUSED"},
	} {
		if got := show(serve(t, &dns.Server{}, c.name, c.typ)); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.typ, c.name, got, c.want)
		}
	}
}

// Messages that are no plain question.
func TestOdd(t *testing.T) {
	pack := func(change func(*mdns.Msg)) []byte {
		m := new(mdns.Msg)
		m.SetQuestion("web1.openstacklocal.", mdns.TypeA)
		m.Id = 7
		change(m)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain := pack(func(*mdns.Msg) {})
	for _, c := range []struct {
		what string
		in   []byte
		want string
	}{
		{"an answer", pack(func(m *mdns.Msg) { m.Response = true }), "none"},
		{"no header", plain[:11], "none"},
		{"cut off", plain[:20], "FORMERR"},
		{"two questions", pack(func(m *mdns.Msg) { m.Question = append(m.Question, m.Question[0]) }), "FORMERR"},
		{"no question", pack(func(m *mdns.Msg) { m.Question = nil }), "FORMERR"},
		{"update", pack(func(m *mdns.Msg) { m.Opcode = mdns.OpcodeUpdate }), "NOTIMP"},
		{"chaos", pack(func(m *mdns.Msg) { m.Question[0].Qclass = mdns.ClassCHAOS }), "REFUSED"},
		{"another EDNS", pack(func(m *mdns.Msg) { m.SetEdns0(512, false); m.IsEdns0().SetVersion(1) }), "BADVERS"},
	} {
		got := "none"
		if b := (&dns.Server{}).Serve(t.Context(), dns.Query{Message: c.in, From: asker}, lab{}); b != nil {
			m := new(mdns.Msg)
			if err := m.Unpack(b); err != nil || m.Id != 7 {
				t.Fatalf("%s: %v %v", c.what, m, err)
			}
			got = mdns.RcodeToString[m.Rcode]
		}
		if got != c.want && !(c.want == "BADVERS" && got == "BADSIG") { // both are number 16
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// A server has one port for messages over each of UDP and TCP; TCP carries several messages.
func TestServeConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		ended := make(chan struct{})
		go func() { (&dns.Server{}).ServeConn(t.Context(), far, asker, lab{}); close(ended) }()
		for id := range uint16(3) {
			m := new(mdns.Msg)
			m.SetQuestion("web1.", mdns.TypeA)
			m.Id = id
			b, _ := m.Pack()
			if _, err := near.Write(dns.AppendMessage(nil, b)); err != nil {
				t.Fatal(err)
			}
			b, err := dns.ReadMessage(near)
			if err != nil || m.Unpack(b) != nil || m.Id != id || len(m.Answer) != 1 {
				t.Fatalf("message %d: %v %v", id, m, err)
			}
		}
		start := time.Now()
		<-ended
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("a silent connection ends after %v", d)
		}
	})
}

// fake is a server of names elsewhere: it makes its messages from a question, nil: it is silent. Several
// questions may be answered at the same time.
type fake func(network, server string, m *mdns.Msg) []*mdns.Msg

func (f fake) dial(_ context.Context, network, address string) (net.Conn, error) {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		for {
			b := make([]byte, 65536)
			n := 0
			var err error
			if network == "tcp" {
				b, err = dns.ReadMessage(far)
				n = len(b)
			} else {
				n, err = far.Read(b)
			}
			m := new(mdns.Msg)
			if err != nil || m.Unpack(b[:n]) != nil {
				return
			}
			for _, a := range f(network, address, m) {
				out, err := a.Pack()
				if err != nil {
					panic(err)
				}
				if network == "tcp" {
					out = dns.AppendMessage(nil, out)
				}
				if _, err := far.Write(out); err != nil {
					return
				}
			}
		}
	}()
	return near, nil
}

// a makes an answer with one address.
func a(m *mdns.Msg, addr string, ttl uint32) *mdns.Msg {
	out := new(mdns.Msg)
	out.SetReply(m)
	out.Answer = []mdns.RR{&mdns.A{
		Hdr: mdns.RR_Header{Name: m.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: ttl},
		A:   net.ParseIP(addr),
	}}
	return out
}

var servers = []netip.AddrPort{netip.MustParseAddrPort("10.10.10.53:53"), netip.MustParseAddrPort("10.10.10.54:53")}

// forwarder is a server that asks fakes, with the clock of the bubble.
func forwarder(f fake) *dns.Server {
	start := time.Now()
	var id atomic.Uint32
	return &dns.Server{Forward: dns.NewForwarder(dns.Options{
		Servers: servers, Dial: f.dial, Now: func() time.Duration { return time.Since(start) },
		Rand: func() uint16 { return uint16(id.Add(1)) },
	})}
}

// Answers of other servers are remembered as long as their records last.
func TestForwardRemembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := forwarder(func(_, _ string, m *mdns.Msg) []*mdns.Msg {
			asked++
			if m.IsEdns0() == nil || m.IsEdns0().UDPSize() != 1232 || !m.RecursionDesired {
				t.Errorf("asked %v", m)
			}
			out := a(m, "203.0.113.9", 30)
			out.AuthenticatedData = true
			out.SetEdns0(1400, false)
			return []*mdns.Msg{out}
		})
		for _, c := range []struct {
			after time.Duration
			asked int
			ttl   uint32
		}{{0, 1, 30}, {10 * time.Second, 1, 20}, {19900 * time.Millisecond, 1, 1}, {100 * time.Millisecond, 2, 30}} {
			time.Sleep(c.after)
			m := serve(t, s, "Example.com.", "A")
			if asked != c.asked || show(m) != "NOERROR, A 203.0.113.9" || m.Answer[0].Header().Ttl != c.ttl ||
				m.AuthenticatedData || m.Question[0].Name != "Example.com." || len(m.Extra) != 1 {
				t.Errorf("after %v: asked %d times, %v", c.after, asked, m)
			}
		}
	})
}

// That there is no such name is remembered as the zone says.
func TestForwardNegative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := forwarder(func(_, _ string, m *mdns.Msg) []*mdns.Msg {
			asked++
			out := new(mdns.Msg)
			out.SetRcode(m, mdns.RcodeNameError)
			out.Ns = []mdns.RR{&mdns.SOA{
				Hdr: mdns.RR_Header{Name: "com.", Rrtype: mdns.TypeSOA, Class: mdns.ClassINET, Ttl: 900},
				Ns:  "a.com.", Mbox: "b.com.", Minttl: 60,
			}}
			return []*mdns.Msg{out}
		})
		for k, want := range []int{1, 1, 2} {
			if got := show(serve(t, s, "nobody.com.", "A")); got != "NXDOMAIN, soa com." || asked != want {
				t.Errorf("question %d: %s, asked %d times, want %d", k, got, asked, want)
			}
			time.Sleep(35 * time.Second)
		}
	})
}

// A silent server costs its patience once, then the next one is asked first; one that refuses is passed over.
func TestForwardOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // the goroutine of an earlier question may still be there
		var asked []string
		refuses := false
		s := forwarder(func(_, server string, m *mdns.Msg) []*mdns.Msg {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, server[len("10.10.10."):])
			switch {
			case server == servers[1].String():
				return []*mdns.Msg{a(m, "203.0.113.9", 0)}
			case refuses:
				out := new(mdns.Msg)
				return []*mdns.Msg{out.SetRcode(m, mdns.RcodeServerFailure)}
			}
			return nil
		})
		start := time.Now()
		ask := func(want string, took time.Duration) {
			t.Helper()
			mu.Lock()
			asked = nil
			mu.Unlock()
			at := time.Now()
			if got := show(serve(t, s, "example.com.", "A")); got != "NOERROR, A 203.0.113.9" {
				t.Error(got)
			}
			mu.Lock()
			defer mu.Unlock()
			if got := fmt.Sprint(asked); got != want || time.Since(at) != took {
				t.Errorf("at %v: asked %v in %v, want %v in %v", at.Sub(start), got, time.Since(at), want, took)
			}
		}
		ask("[53:53 54:53]", 2*time.Second)
		ask("[54:53]", 0)
		time.Sleep(11 * time.Second)
		mu.Lock()
		refuses = true
		mu.Unlock()
		ask("[53:53 54:53]", 0)
		ask("[53:53 54:53]", 0)
	})
}

// Forged answers are passed over.
func TestForwardForged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := forwarder(func(_, _ string, m *mdns.Msg) []*mdns.Msg {
			number, name, question := a(m, "192.0.2.1", 9), a(m, "192.0.2.2", 9), a(m, "192.0.2.3", 9)
			number.Id ^= 1
			name.Question[0].Name = "example.org."
			question.Response = false
			return []*mdns.Msg{number, name, question, a(m, "203.0.113.9", 9)}
		})
		if got := show(serve(t, s, "example.com.", "A")); got != "NOERROR, A 203.0.113.9" {
			t.Error(got)
		}
	})
}

// A long answer comes over TCP, and is cut off for an asker over UDP.
func TestForwardLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		s := forwarder(func(network, _ string, m *mdns.Msg) []*mdns.Msg {
			asked = append(asked, network)
			out := a(m, "203.0.113.9", 60)
			if network == "udp" {
				out.Answer, out.Truncated = nil, true
				return []*mdns.Msg{out}
			}
			for k := range 200 {
				rr := *out.Answer[0].(*mdns.A)
				rr.A = net.IPv4(203, 0, 113, byte(k))
				out.Answer = append(out.Answer, &rr)
			}
			return []*mdns.Msg{out}
		})
		m := new(mdns.Msg)
		m.SetQuestion("example.com.", mdns.TypeA)
		b, _ := m.Pack()
		for _, c := range []struct {
			tcp  bool
			most int
		}{{false, 512}, {true, 65535}} {
			out := s.Serve(t.Context(), dns.Query{Message: b, TCP: c.tcp, From: asker}, lab{})
			got := new(mdns.Msg)
			if err := got.Unpack(out); err != nil || len(out) > c.most || got.Truncated == c.tcp ||
				c.tcp && len(got.Answer) != 201 {
				t.Errorf("tcp %v: %d bytes, truncated %v, %d records, %v", c.tcp, len(out), got.Truncated,
					len(got.Answer), err)
			}
		}
		if fmt.Sprint(asked) != "[udp tcp]" {
			t.Errorf("asked over %v", asked)
		}
	})
}

// A server that does not know EDNS is asked without.
func TestForwardOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := forwarder(func(_, _ string, m *mdns.Msg) []*mdns.Msg {
			if m.IsEdns0() != nil {
				out := new(mdns.Msg)
				out.SetRcode(m, mdns.RcodeFormatError)
				out.Question = nil
				return []*mdns.Msg{out}
			}
			return []*mdns.Msg{a(m, "203.0.113.9", 9)}
		})
		if got := show(serve(t, s, "example.com.", "A")); got != "NOERROR, A 203.0.113.9" {
			t.Error(got)
		}
	})
}

// The same question of many askers is asked once, and one asker cannot have all questions that may be under way.
func TestForwardBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		s := forwarder(func(_, _ string, m *mdns.Msg) []*mdns.Msg {
			asked.Add(1)
			time.Sleep(time.Second)
			if strings.HasPrefix(m.Question[0].Name, "same.") {
				return []*mdns.Msg{a(m, "203.0.113.9", 9)}
			}
			return nil
		})
		answers := make(chan string, 1000)
		ask := func(name string, from netip.Addr) {
			m := new(mdns.Msg)
			m.SetQuestion(name, mdns.TypeA)
			b, _ := m.Pack()
			go func() {
				got := new(mdns.Msg)
				_ = got.Unpack(s.Serve(t.Context(), dns.Query{Message: b, From: from}, lab{}))
				answers <- mdns.RcodeToString[got.Rcode]
			}()
		}
		for range 50 {
			ask("same.com.", asker)
		}
		synctest.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		for k := range 30 {
			ask(fmt.Sprintf("name%d.com.", k), asker)
		}
		synctest.Wait()
		if asked.Load() != 1+14 {
			t.Errorf("%d questions of one asker are under way", asked.Load()+49)
		}
		ask("other.com.", netip.MustParseAddr("172.16.100.12"))
		synctest.Wait()
		if asked.Load() != 1+15 {
			t.Errorf("the question of another asker is not asked")
		}
		counts := map[string]int{}
		for range 81 {
			counts[<-answers]++
		}
		if counts["NOERROR"] != 50 || counts["SERVFAIL"] != 31 {
			t.Errorf("answers: %v", counts)
		}
	})
}

// The cache has a bounded size, whatever is asked.
func TestForwardCacheSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := forwarder(func(_, _ string, m *mdns.Msg) []*mdns.Msg {
			asked++
			return []*mdns.Msg{a(m, "203.0.113.9", 3600)}
		})
		const n = 4096
		for k := range n {
			serve(t, s, fmt.Sprintf("name%d.com.", k), "A")
		}
		serve(t, s, "name0.com.", "A") // used, so name1 goes first
		serve(t, s, "another.com.", "A")
		before := asked
		serve(t, s, "another.com.", "A")
		serve(t, s, "name0.com.", "A")
		if asked != before {
			t.Errorf("names that were used lately are asked again")
		}
		serve(t, s, "name1.com.", "A")
		if asked != before+1 {
			t.Errorf("the name that was used first is still known")
		}
	})
}

// The bytes of what is remembered are bounded as well.
func TestForwardCacheBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := forwarder(func(_, _ string, m *mdns.Msg) []*mdns.Msg {
			asked++
			out := a(m, "203.0.113.9", 3600)
			txt := &mdns.TXT{Hdr: mdns.RR_Header{Name: "x.", Rrtype: mdns.TypeTXT, Class: mdns.ClassINET, Ttl: 3600}}
			for range 200 {
				txt.Txt = append(txt.Txt, strings.Repeat("x", 250))
			}
			out.Extra = append(out.Extra, txt)
			return []*mdns.Msg{out}
		})
		for k := range 100 { // 5 MB
			serve(t, s, fmt.Sprintf("name%d.com.", k), "A")
		}
		serve(t, s, "name99.com.", "A")
		if asked != 100 {
			t.Errorf("the name that was used last is asked again")
		}
		serve(t, s, "name0.com.", "A")
		if asked != 101 {
			t.Errorf("5 MB are remembered")
		}
	})
}

// An answer has the length that its asker takes, and an EDNS record only if the asker has one.
func TestSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := forwarder(func(_, _ string, m *mdns.Msg) []*mdns.Msg {
			out := a(m, "203.0.113.9", 60)
			for range 200 {
				out.Answer = append(out.Answer, out.Answer[0])
			}
			out.SetEdns0(1400, false)
			return []*mdns.Msg{out}
		})
		for _, c := range []struct{ says, least, most, opts int }{
			{0, 400, 512, 0}, {100, 400, 512, 1}, {900, 600, 900, 1}, {4096, 1000, 1232, 1},
		} {
			m := new(mdns.Msg)
			m.SetQuestion("example.com.", mdns.TypeA)
			if c.says > 0 {
				m.SetEdns0(uint16(c.says), false)
			}
			b, _ := m.Pack()
			out := s.Serve(t.Context(), dns.Query{Message: b, From: asker}, lab{})
			got := new(mdns.Msg)
			if err := got.Unpack(out); err != nil || len(out) < c.least || len(out) > c.most || !got.Truncated ||
				len(got.Extra) != c.opts {
				t.Errorf("asked with %d: %d bytes, truncated %v, extra %v, %v", c.says, len(out), got.Truncated,
					got.Extra, err)
			}
		}
	})
}

// An answer that a server has cut off, and that TCP does not complete, is passed on and not remembered.
func TestForwardCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := forwarder(func(network, _ string, m *mdns.Msg) []*mdns.Msg {
			if network == "tcp" {
				return nil
			}
			asked++
			out := a(m, "203.0.113.9", 60)
			out.Truncated = true
			return []*mdns.Msg{out}
		})
		for range 2 {
			if m := serve(t, s, "example.com.", "A"); !m.Truncated {
				t.Errorf("the answer is %v", m)
			}
		}
		if asked != 2 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// Whatever comes, the answer has the number of its question, fits, and is an answer.
func FuzzServe(f *testing.F) {
	for _, name := range []string{"web1.openstacklocal.", "9.100.16.172.in-addr.arpa.", "com."} {
		m := new(mdns.Msg)
		m.SetQuestion(name, mdns.TypeA)
		m.SetEdns0(900, true)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
		f.Add(b[:len(b)-4], false)
	}
	f.Fuzz(func(t *testing.T, b []byte, tcp bool) {
		was := slices.Clone(b)
		out := (&dns.Server{}).Serve(t.Context(), dns.Query{Message: b, TCP: tcp, From: asker}, lab{})
		if !bytes.Equal(b, was) {
			t.Fatal("the query has been changed")
		}
		if out == nil {
			return
		}
		m := new(mdns.Msg)
		if err := m.Unpack(out); err != nil || !m.Response || m.Id != uint16(b[0])<<8|uint16(b[1]) {
			t.Fatalf("%v: %v", m, err)
		}
		if !tcp && len(out) > 1232 {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
