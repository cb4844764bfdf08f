package router_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// twoTenants are two routers with the same addresses inside, which have no DHCP, and a network without a router.
const twoTenants = `
[[network]]
name = "red"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[network]]
name = "blue"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[network]]
name = "lone"
[[network.subnet]]
cidr = "10.3.0.0/24"
dhcp = true
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/24"
[[router]]
name = "r1"
interfaces = ["red"]
gateway = { network = "ext", address = "203.0.113.2" }
[[router]]
name = "r2"
interfaces = ["blue"]
gateway = { network = "ext", address = "203.0.113.3" }
[[port]]
name = "vm-red"
network = "red"
fixed_ip = "10.1.0.11"
[[port]]
name = "vm-blue"
network = "blue"
fixed_ip = "10.1.0.12"
`

func startTenants(t *testing.T, text string, opt router.Options) *router.Engine {
	t.Helper()
	opt.Seed = 1
	e, err := router.Start(servedState(t, twoTenants+text), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// join puts a host on a network.
func join(t *testing.T, e *router.Engine, network, address, gateway string) *host.Host {
	t.Helper()
	dev, err := e.Attach(network, host.Accepts)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(dev, host.Config{Address: netip.MustParsePrefix(address), Gateway: netip.MustParseAddr(gateway)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// A nameServer answers for names in test., and notes the askers and their questions.
type nameServer struct {
	mu    sync.Mutex
	asked []string // who/protocol/name
}

func (s *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	from, _, _ := net.SplitHostPort(w.RemoteAddr().String())
	s.mu.Lock()
	s.asked = append(s.asked, from+"/"+w.RemoteAddr().Network()+"/"+q.Question[0].Name)
	s.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	switch q.Question[0].Name {
	case "one.test.":
		m.Answer = append(m.Answer, record("one.test. 300 IN A 192.0.2.80"))
	case "large.test.":
		if w.RemoteAddr().Network() == "udp" {
			m.Truncated = true
			break
		}
		for i := range 100 {
			m.Answer = append(m.Answer, record(fmt.Sprintf("large.test. 300 IN A 192.0.2.%d", i)))
		}
	default:
		m.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(m)
}

func record(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(err)
	}
	return rr
}

// took returns what has been asked since the last call.
func (s *nameServer) took() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.asked, " ")
	s.asked = nil
	return all
}

// serveNames has a host answer DNS over UDP and TCP.
func serveNames(t *testing.T, h *host.Host) *nameServer {
	t.Helper()
	s := &nameServer{}
	udp, err := h.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := h.Listen("tcp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{PacketConn: udp, Handler: s}, {Listener: tcp, Handler: s}} {
		go func() { _ = server.ActivateAndServe() }()
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return s
}

// lookUp has a host ask a name server for addresses of a name.
func lookUp(t *testing.T, h *host.Host, network, server, name string) *dns.Msg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := h.DialContext(ctx, network, server+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.SetEdns0(1232, false)
	c := &dns.Conn{Conn: conn, UDPSize: 4096}
	if err := c.WriteMsg(m); err != nil {
		t.Fatal(err)
	}
	got, err := c.ReadMsg()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return got
}

const forwardNames = "[dns]\nforward = [\"203.0.113.53\"]\n"

// Names that no port has are asked outside, with the address that the asker's router shows there. What one tenant's
// router has been told, another one does not know.
func TestNamesElsewhereThroughTheAskersRouter(t *testing.T) {
	e := startTenants(t, forwardNames, router.Options{})
	server := serveNames(t, join(t, e, "ext", "203.0.113.53/24", "203.0.113.1"))
	red, blue := join(t, e, "red", "10.1.0.11/24", "10.1.0.1"), join(t, e, "blue", "10.1.0.12/24", "10.1.0.1")
	lone := join(t, e, "lone", "10.3.0.50/24", "10.3.0.1")
	loneServer := serverPort(e.State(), "lone").FixedIPs[0].Address.String()
	for _, c := range []struct {
		what            string
		from            *host.Host
		network, server string
		name            string
		rcode, answers  int
		asked           string
	}{
		{"a name outside", red, "udp", "10.1.0.1", "one.test.", dns.RcodeSuccess, 1, "203.0.113.2/udp/one.test."},
		{"once more", red, "udp", "10.1.0.1", "One.Test.", dns.RcodeSuccess, 1, ""},
		{"over TCP", red, "tcp", "10.1.0.1", "one.test.", dns.RcodeSuccess, 1, ""},
		{"the other tenant", blue, "udp", "10.1.0.1", "one.test.", dns.RcodeSuccess, 1, "203.0.113.3/udp/one.test."},
		{"a long answer", red, "tcp", "10.1.0.1", "large.test.", dns.RcodeSuccess, 100,
			"203.0.113.2/udp/large.test. 203.0.113.2/tcp/large.test."},
		{"nobody's name", blue, "udp", "10.1.0.1", "none.test.", dns.RcodeNameError, 0, "203.0.113.3/udp/none.test."},
		{"its own name", red, "udp", "10.1.0.1", "vm-red.openstacklocal.", dns.RcodeSuccess, 1, ""},
		{"a name of the other tenant", red, "udp", "10.1.0.1", "vm-blue.openstacklocal.", dns.RcodeNameError, 0, ""},
		{"a short name of the other tenant", red, "udp", "10.1.0.1", "vm-blue.", dns.RcodeNameError, 0, ""},
		{"without a router", lone, "udp", loneServer, "one.test.", dns.RcodeRefused, 0, ""},
	} {
		got := lookUp(t, c.from, c.network, c.server, c.name)
		if got.Rcode != c.rcode || len(got.Answer) != c.answers {
			t.Errorf("%s: %v", c.what, got)
		}
		if asked := server.took(); asked != c.asked {
			t.Errorf("%s: asked %q, want %q", c.what, asked, c.asked)
		}
	}
	if t.Failed() {
		return
	}

	// Without [dns] such names are refused at once. A connection through the router goes on meanwhile.
	l, err := join(t, e, "ext", "203.0.113.7/24", "203.0.113.1").Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	go echo(l)
	conn, err := red.DialContext(t.Context(), "tcp", "203.0.113.7:7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	says(t, conn, "before")
	for _, step := range []struct {
		text  string
		rcode int
	}{{"", dns.RcodeRefused}, {forwardNames, dns.RcodeSuccess}} {
		if _, err := e.Apply(t.Context(), servedState(t, twoTenants+step.text)); err != nil {
			t.Fatal(err)
		}
		if got := lookUp(t, red, "udp", "10.1.0.1", "one.test."); got.Rcode != step.rcode {
			t.Errorf("with %q: %v", step.text, got)
		}
		says(t, conn, "after")
	}
	if asked := server.took(); asked != "203.0.113.2/udp/one.test." {
		t.Errorf("what was remembered is not forgotten: asked %q", asked)
	}
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(c, c) }()
	}
}

// says sends a word over a connection to an echo server.
func says(t *testing.T, c net.Conn, word string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	got := make([]byte, len(word))
	_, err := io.WriteString(c, word)
	if err == nil {
		_, err = io.ReadFull(c, got)
	}
	if err != nil || string(got) != word {
		t.Errorf("the connection: %q, %v", got, err)
	}
}

// The machine's own sockets need no router.
func TestNamesElsewhereByTheMachine(t *testing.T) {
	s := &nameServer{}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: s}
	go func() { _ = server.ActivateAndServe() }()
	defer server.Shutdown()
	e := startTenants(t, fmt.Sprintf("[dns]\nforward = [%q]\nvia = \"host\"\n", conn.LocalAddr()), router.Options{})
	lone := join(t, e, "lone", "10.3.0.50/24", "10.3.0.1")
	at := serverPort(e.State(), "lone").FixedIPs[0].Address.String()
	if got := lookUp(t, lone, "udp", at, "one.test."); len(got.Answer) != 1 {
		t.Errorf("%v", got)
	}
	if asked := s.took(); asked != "127.0.0.1/udp/one.test." {
		t.Errorf("asked %q", asked)
	}
}

// A Simulation asks nobody: its clock stands still while somebody waits.
func TestNamesElsewhereInASimulation(t *testing.T) {
	s := simulateServed(t, twoTenants+forwardNames)
	b, err := new(dns.Msg).SetQuestion("one.test.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "red", datagram{webMAC, gatewayMAC(t, s.State(), "red"), netip.MustParseAddrPort("10.1.0.11:4000"),
		netip.MustParseAddrPort("10.1.0.1:53"), b}.frame(false))
	if got := answered(t, s, "red"); got == nil || got.Rcode != dns.RcodeRefused {
		t.Errorf("%v", got)
	}
}

// answered is the DNS message that a network has got, nil if there is none.
func answered(t *testing.T, s *router.Simulation, network string) *dns.Msg {
	t.Helper()
	for _, f := range s.Take(network) {
		if d, ok := udpOf(t, f); ok {
			m := new(dns.Msg)
			if err := m.Unpack(d.payload); err != nil {
				t.Fatal(err)
			}
			return m
		}
	}
	return nil
}

// udpOf is the UDP packet in a frame, if it has one.
func udpOf(t *testing.T, f tap.Frame) (datagram, bool) {
	t.Helper()
	if eth := f.Ethernet(); len(eth) < 34 || eth[12] != 8 || eth[13] != 0 || eth[23] != 17 {
		return datagram{}, false
	}
	return datagramOf(t, f), true
}

// readMetadata has a host read from the metadata's address.
func readMetadata(t *testing.T, h *host.Host, path string, header http.Header) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tr := &http.Transport{DialContext: h.DialContext}
	defer tr.CloseIdleConnections()
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://169.254.169.254"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		rq.Header[k] = v
	}
	a, err := tr.RoundTrip(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

// A novaServer notes the requests that it gets.
type novaServer struct {
	mu   sync.Mutex
	last *http.Request
}

func (s *novaServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.last = r
	s.mu.Unlock()
	_, _ = io.WriteString(w, "from nova")
}

func (s *novaServer) seen() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func portNamed(t *testing.T, s *config.State, name string) *config.Port {
	t.Helper()
	for p := range s.Ports() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("there is no port %s", name)
	return nil
}

// Requests go on to a metadata service outside, with the headers that Neutron's agent adds, whatever the instance says.
func TestMetadataElsewhereThroughTheAskersRouter(t *testing.T) {
	e := startTenants(t, "[metadata]\nforward = \"http://203.0.113.80:8775\"\nsecret = \"s3cret\"\n",
		router.Options{Project: "6a1c"})
	l, err := join(t, e, "ext", "203.0.113.80/24", "203.0.113.1").Listen("tcp", ":8775")
	if err != nil {
		t.Fatal(err)
	}
	nova := &novaServer{}
	server := &http.Server{Handler: nova}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	defer server.Close()
	hosts := map[string]*host.Host{}
	for _, c := range []struct{ network, address, port, from string }{
		{"red", "10.1.0.11", "vm-red", "203.0.113.2"}, {"blue", "10.1.0.12", "vm-blue", "203.0.113.3"},
	} {
		hosts[c.network] = join(t, e, c.network, c.address+"/24", "10.1.0.1")
		code, text := readMetadata(t, hosts[c.network], "/openstack/latest/meta_data.json?x=1",
			http.Header{"X-Instance-Id": {"forged"}, "X-Project-Id": {"forged"}, "X-Forwarded-For": {"10.9.9.9"}})
		if code != 200 || text != "from nova" {
			t.Fatalf("%s: %d %q", c.port, code, text)
		}
		r, id := nova.seen(), string(portNamed(t, e.State(), c.port).ID)
		sum := hmac.New(sha256.New, []byte("s3cret"))
		sum.Write([]byte(id))
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		for what, v := range map[string][2]string{
			"from": {from, c.from}, "URI": {r.RequestURI, "/openstack/latest/meta_data.json?x=1"},
			"instance": {r.Header.Get("X-Instance-ID"), id}, "tenant": {r.Header.Get("X-Tenant-ID"), "6a1c"},
			"project":   {r.Header.Get("X-Project-ID"), "6a1c"},
			"address":   {strings.Join(r.Header["X-Forwarded-For"], " "), c.address},
			"signature": {r.Header.Get("X-Instance-ID-Signature"), hex.EncodeToString(sum.Sum(nil))},
		} {
			if v[0] != v[1] {
				t.Errorf("%s: %s is %q, want %q", c.port, what, v[0], v[1])
			}
		}
	}
	stranger := join(t, e, "red", "10.1.0.77/24", "10.1.0.1")
	if code, _ := readMetadata(t, stranger, "/latest/meta-data/", nil); code != 404 {
		t.Errorf("a host that is no port: %d", code)
	}
	if _, err := e.Apply(t.Context(), servedState(t, twoTenants)); err != nil {
		t.Fatal(err)
	}
	code, text := readMetadata(t, hosts["red"], "/latest/meta-data/hostname", nil)
	if code != 200 || text != "vm-red.openstacklocal" {
		t.Errorf("without [metadata]: %d %q", code, text)
	}
}

// By the machine's own sockets, the service may have a name.
func TestMetadataElsewhereByTheMachine(t *testing.T) {
	nova := &novaServer{}
	server := httptest.NewServer(nova)
	defer server.Close()
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	e := startTenants(t, fmt.Sprintf("[metadata]\nforward = %q\nvia = \"host\"\n", url), router.Options{})
	code, text := readMetadata(t, join(t, e, "red", "10.1.0.11/24", "10.1.0.1"), "/latest/", nil)
	if code != 200 || text != "from nova" {
		t.Fatalf("%d %q", code, text)
	}
	if _, signed := nova.seen().Header["X-Instance-Id-Signature"]; signed {
		t.Error("signed without a secret")
	}
}

// Without DHCP, an instance reads by way of its router what its port has. Another tenant's port with the same address
// has other data.
func TestMetadataOfPortsWithoutDHCP(t *testing.T) {
	data := base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n\xff"))
	key := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB1bnUyLuaF0yF0LpFzZ5rX5o1K6n9qE2lW0K8bX0Z3a me@example"
	e := startTenants(t, fmt.Sprintf(`
[[port]]
name = "first"
network = "red"
fixed_ip = "10.1.0.20"
hostname = "web"
ssh_keys = [%q]
user_data = %q
[[port]]
name = "second"
network = "blue"
fixed_ip = "10.1.0.20"
`, key, data), router.Options{})
	red, blue := join(t, e, "red", "10.1.0.20/24", "10.1.0.1"), join(t, e, "blue", "10.1.0.20/24", "10.1.0.1")
	for _, c := range []struct {
		from *host.Host
		path string
		code int
		text string
	}{
		{red, "/latest/user-data", 200, "#!/bin/sh\n\xff"},
		{red, "/openstack/latest/user_data", 200, "#!/bin/sh\n\xff"},
		{red, "/latest/meta-data/public-keys/0/openssh-key", 200, key},
		{red, "/latest/meta-data/hostname", 200, "web.openstacklocal"},
		{blue, "/latest/user-data", 404, ""},
		{blue, "/latest/meta-data/public-keys/0/openssh-key", 404, ""},
		{blue, "/latest/meta-data/hostname", 200, "second.openstacklocal"},
	} {
		if code, text := readMetadata(t, c.from, c.path, nil); code != c.code || c.code == 200 && text != c.text {
			t.Errorf("%s: %d %q, want %d %q", c.path, code, text, c.code, c.text)
		}
	}
	if got := lookUp(t, red, "udp", "10.1.0.1", "web.openstacklocal."); len(got.Answer) != 1 {
		t.Errorf("the hostname: %v", got)
	}
	if got := lookUp(t, blue, "udp", "10.1.0.1", "web.openstacklocal."); got.Rcode != dns.RcodeNameError {
		t.Errorf("the hostname of another tenant: %v", got)
	}
}
