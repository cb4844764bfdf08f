package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	dto "github.com/prometheus/client_model/go"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/metrics"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

// cloud is a router with a VIP behind a floating IP.
var cloud = nettest.CloudOn("tap:tenant0", "tap:ext0") + nettest.FloatingIP("10.10.10.3", "172.16.100.9") +
	nettest.Balanced("web", "TCP", 80, "", nettest.Member{Name: "one", Address: "172.16.100.9", Port: 7})

// serve starts a router of a topology, with devices in memory that stay unused, and its metrics.
func serve(t testing.TB, text string) (*router.Engine, *metrics.Metrics) {
	t.Helper()
	f, err := file.Read(t.Name(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	e, err := router.Start(f.State(), router.Options{Open: func(d config.Device) (tap.Device, error) {
		near, _ := tap.Pipe(d.String(), d.String()+"/far", tap.PipeOptions{})
		return near, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	revision := func() uint64 { return e.State().Version() }
	return e, metrics.New(e.Inspect(), metrics.Options{Version: "v1", Revision: revision})
}

// scrape is what Prometheus reads.
func scrape(t testing.TB, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func parse(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	all, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Drops of port security are counted by network and reason: by port there would be too many.
func TestPortSecurityDrops(t *testing.T) {
	e, m := serve(t, "[[network]]\nname = \"safe\"\nport_security = true\n")
	dev, err := e.Attach("safe", 0)
	if err != nil {
		t.Fatal(err)
	}
	for k := range byte(3) { // of no port
		f := tap.Frame{Buf: make([]byte, tap.HeaderLen+60), Tail: tap.HeaderLen + 60}
		copy(f.Buf[tap.HeaderLen+6:], []byte{2, 0, 0, 0, 0, k})
		if _, err := dev.Write([]tap.Frame{f}); err != nil {
			t.Fatal(err)
		}
	}
	for e.Stats().Received < 3 { // the frames are on their way
	}
	want := `taprouter_port_security_drops_total{network="safe",reason="spoofed-mac"} 3`
	if text := scrape(t, m); !strings.Contains(text, want) {
		t.Errorf("no %s in\n%s", want, text)
	}
}

// Frames with the tag of no network are counted by tag: the first 64 tags of a device, and the others together.
func TestUnknownTags(t *testing.T) {
	e, m := serve(t, "[[network]]\nname = \"plain\"\n")
	dev, err := e.Attach("plain", 0)
	if err != nil {
		t.Fatal(err)
	}
	const tags = 66
	for k := range uint16(tags) {
		f := tap.Frame{Buf: make([]byte, tap.HeaderLen+64), Tail: tap.HeaderLen + 64}
		copy(f.Buf[tap.HeaderLen+6:], []byte{2, 0, 0, 0, 0, 1, 0x81, 0, byte((100 + k) >> 8), byte(100 + k), 8, 0})
		if _, err := dev.Write([]tap.Frame{f}); err != nil {
			t.Fatal(err)
		}
	}
	for e.Stats().Received < tags { // the frames are on their way
	}
	text := scrape(t, m)
	for _, want := range []string{`vlan="100"} 1`, `vlan="163"} 1`, `vlan="other"} 2`} {
		if !strings.Contains(text, "taprouter_device_unknown_tag_packets_total{device=") ||
			!strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `vlan="164"`) {
		t.Errorf("more than 64 tags have a count of their own:\n%s", text)
	}
}

func TestScrape(t *testing.T) {
	e, m := serve(t, cloud)
	m.Applied(metrics.Applied, 3*time.Millisecond)
	m.Applied(metrics.Refused, time.Millisecond)
	m.Stored(2 * time.Millisecond)
	dev, err := e.Attach("tenant", 0)
	if err != nil {
		t.Fatal(err)
	}
	runt := tap.Frame{Buf: make([]byte, tap.HeaderLen+10), Tail: tap.HeaderLen + 10}
	if _, err := dev.Write([]tap.Frame{runt}); err != nil {
		t.Fatal(err)
	}
	for e.Stats().Received == 0 { // the frame is on its way
	}
	text := scrape(t, m)
	for _, want := range []string{
		`taprouter_device_receive_packets_total{device="pipe:tenant#1",network="tenant"} 1`,
		`taprouter_device_receive_bytes_total{device="pipe:tenant#1",network="tenant"} 10`,
		`taprouter_device_up{device="tap:tenant0",network="tenant"} 1`,
		`taprouter_drops_total{reason="` + router.DropRunt.String() + `"} 1`,
		`taprouter_drops_total{reason="` + router.DropNoRoute.String() + `"} 0`,
		`taprouter_connections{router="router",state="established"} 0`,
		`taprouter_nat_ports_in_use{address="10.10.10.2",protocol="udp",router="router"} 0`,
		`taprouter_lb_member_up{member="172.16.100.9:7",pool="web",router="router",vip="web"} 1`,
		`taprouter_lb_connections_total{router="router",vip="web"} 0`,
		`taprouter_apply_total{result="applied"} 1`,
		`taprouter_apply_total{result="failed"} 0`,
		`taprouter_apply_duration_seconds_count 2`,
		`taprouter_store_commit_seconds_count 1`,
		fmt.Sprintf(`taprouter_config_generation %d`, e.State().Version()),
		`taprouter_build_info{goversion="`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	busy := parse(t, text)["taprouter_worker_busy_seconds_total"]
	if busy == nil || busy.Metric[0].Counter.GetValue() <= 0 {
		t.Errorf("the worker is not busy: %v", busy)
	}
}

// fixed is a Source with what a test says.
type fixed struct {
	router.Stats
	balancers []router.LoadBalancer
	ports     map[string][]router.SNATAddress
	err       error
	block     <-chan struct{}
}

func (f *fixed) wait() error {
	if f.block != nil {
		<-f.block
	}
	return f.err
}

func (f *fixed) statsOf() router.Stats { return f.Stats }

// source makes a Source of it: a field and a method may not have one name.
type source struct{ *fixed }

func (s source) Stats(context.Context) (router.Stats, error) { return s.statsOf(), s.wait() }
func (s source) LoadBalancers(context.Context) ([]router.LoadBalancer, error) {
	return s.balancers, nil
}
func (s source) PortsInUse(context.Context) (map[string][]router.SNATAddress, error) {
	return s.ports, nil
}
func (s source) LeaseStats() []router.LeaseStats {
	return []router.LeaseStats{{Name: "blue", Leases: 3, Messages: map[string]uint64{"offered": 5},
		Pools: []router.LeasePoolStats{{CIDR: netip.MustParsePrefix("10.0.0.0/24"), Size: 100, Used: 7}}}}
}
func (s source) Workers(context.Context) ([]router.WorkerStats, error) { return nil, nil }

// Objects with the same names are added up, as Prometheus refuses a scrape that has one twice. A name need not be
// text.
func TestNamesakes(t *testing.T) {
	m := metrics.New(source{&fixed{Stats: router.Stats{
		Routers: []router.RouterStats{{Router: "r", Neighbors: 2, Connections: 9, HalfOpen: 2, Closed: 3, Recalled: 7},
			{Router: "r", Neighbors: 3, Connections: 1},
			{Router: "\xff", Neighbors: 4}},
		Devices: []router.DeviceStats{{Device: "d", Present: true}, {Device: "d"}, {Device: "e"},
			{Device: "e", Present: true}},
	}}}, metrics.Options{})
	text := scrape(t, m)
	for _, want := range []string{
		`taprouter_connections{router="r",state="half_open"} 2`, `taprouter_connections{router="r",state="closed"} 3`,
		`taprouter_connections{router="r",state="established"} 5`, `taprouter_neighbors{router="r"} 5`,
		"taprouter_neighbors{router=\"\uFFFD\"} 4",
		`taprouter_connections_ended_total{reason="recalled",router="r"} 7`,
		`taprouter_device_up{device="d",network=""} 0`, `taprouter_device_up{device="e",network=""} 0`,
		`taprouter_dhcp_messages_total{network="blue",result="offered"} 5`, `taprouter_dhcp_leases{network="blue"} 3`,
		`taprouter_dhcp_pool_addresses{network="blue",subnet="10.0.0.0/24"} 100`,
		`taprouter_dhcp_pool_used_addresses{network="blue",subnet="10.0.0.0/24"} 7`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// Of members those are up that take connections. One that was removed is no member any more.
func TestMembers(t *testing.T) {
	var l router.Listener
	l.ID, l.Statistics.BytesIn, l.Statistics.BytesOut = "v", 1, 2 // it has no name
	for i, status := range []router.OperatingStatus{router.Online, router.NoMonitor, router.Draining, router.Degraded,
		router.Error, router.Offline} {
		m := router.MemberStatus{OperatingStatus: status}
		m.Address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), uint16(i+1))
		l.Pool.Members = append(l.Pool.Members, m)
		m.Removed, m.Address = true, netip.AddrPortFrom(m.Address.Addr(), uint16(i+101))
		l.Pool.Members = append(l.Pool.Members, m)
	}
	text := scrape(t, metrics.New(source{&fixed{balancers: []router.LoadBalancer{
		{Router: "r", Listeners: []router.Listener{l}}}}}, metrics.Options{}))
	for i, up := range []int{1, 1, 1, 1, 0, 0} {
		want := fmt.Sprintf(`taprouter_lb_member_up{member="10.0.0.1:%d",pool="",router="r",vip="v"} %d`, i+1, up)
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "taprouter_lb_member_up{"); n != 6 {
		t.Errorf("%d members are shown, want 6", n)
	}
	for direction, n := range map[string]int{"in": 1, "out": 2} {
		want := fmt.Sprintf(`taprouter_lb_bytes_total{direction=%q,router="r",vip="v"} %d`, direction, n)
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// Of thousands of shared addresses only those in use are shown.
func TestSharedAddressesAreBounded(t *testing.T) {
	all := make([]router.SNATAddress, 5000)
	for i := range all {
		all[i].Address = netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
	}
	all[4999].UDP = 7
	m := metrics.New(source{&fixed{ports: map[string][]router.SNATAddress{"r": all}}}, metrics.Options{})
	got := parse(t, scrape(t, m))["taprouter_nat_ports_in_use"]
	if n := len(got.Metric); n > 3*20 || !strings.Contains(got.String(), "7") {
		t.Errorf("%d metrics: %v", n, got)
	}
}

// A router that has ended is an error of the scrape, not a router without packets.
func TestScrapeAfterTheEnd(t *testing.T) {
	e, m := serve(t, cloud)
	e.Close()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "ended") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	m = metrics.New(source{&fixed{err: errors.New("no statistics")}}, metrics.Options{})
	w = httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "no statistics") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The fifth scrape at the same time is refused: a scrape that hangs may not gather others behind it.
func TestScrapesAtOnce(t *testing.T) {
	block := make(chan struct{})
	h := metrics.New(source{&fixed{block: block}}, metrics.Options{}).Handler()
	answers := make(chan *httptest.ResponseRecorder)
	for range 8 {
		go func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			answers <- w
		}()
	}
	for range 4 { // the others wait; one that has waited too long is told of the time
		if a := <-answers; a.Code != http.StatusServiceUnavailable || !strings.Contains(a.Body.String(), "Limit") {
			t.Errorf("got %d %s", a.Code, a.Body)
		}
	}
	close(block)
	for range 4 {
		if a := <-answers; a.Code != http.StatusOK {
			t.Errorf("got %d", a.Code)
		}
	}
}

// Prometheus's own tool finds nothing to say about names and types.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian's package prometheus)")
	}
	_, m := serve(t, cloud)
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, m))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// large is a router with n floating IPs and n VIPs.
func large(n int) string {
	var b strings.Builder
	b.WriteString(strings.NewReplacer("172.16.100.0/24", "172.16.0.0/16", "10.10.10.0/24", "10.10.0.0/16").Replace(
		nettest.CloudOn("tap:tenant0", "tap:ext0")))
	b.WriteString("\n[[pool]]\nname = \"p\"\nprotocol = \"TCP\"\n" +
		"  [[pool.member]]\n  address = \"172.16.9.1\"\n  port = 80\n" +
		"  [[pool.member]]\n  address = \"172.16.9.2\"\n  port = 80\n")
	for i := range n {
		b.WriteString(nettest.FloatingIP(fmt.Sprintf("10.10.%d.%d", 20+i/200, 1+i%200),
			fmt.Sprintf("172.16.%d.%d", 20+i/200, 1+i%200)))
		fmt.Fprintf(&b, "\n[[vip]]\nname = \"v%d\"\nnetwork = \"tenant\"\naddress = \"172.16.%d.%d\"\n"+
			"protocol = \"TCP\"\nport = 80\npool = \"p\"\n", i, 100+i/200, 1+i%200)
	}
	return b.String()
}

// A scrape has steps that are many enough for each of them to be short, and grows no faster than what it shows.
func TestScrapeIsDoneInSteps(t *testing.T) {
	steps := func(n int) uint64 {
		e, m := serve(t, large(n))
		before, err := e.Inspect().Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(scrape(t, m), "taprouter_lb_connections_total{"); got != n {
			t.Fatalf("%d VIPs are shown, want %d", got, n)
		}
		after, err := e.Inspect().Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var all uint64
		for i := range after {
			all += after[i].Steps - before[i].Steps
		}
		return all
	}
	few, many := steps(10), steps(1000)
	if many < 1000/32 || many > few+1000/16 {
		t.Errorf("%d steps for 1000 VIPs, %d for 10", many, few)
	}
}

// BenchmarkScrape is a scrape of 1000 floating IPs and 1000 VIPs.
func BenchmarkScrape(b *testing.B) {
	e, m := serve(b, large(1000))
	for b.Loop() {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		_, _ = io.Copy(io.Discard, w.Body)
	}
	stats, err := e.Inspect().Workers(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	longest := time.Duration(0)
	for _, w := range stats {
		longest = max(longest, w.Longest)
	}
	b.ReportMetric(float64(longest.Microseconds()), "us-longest-step")
	if testing.Verbose() {
		fmt.Fprintln(os.Stderr, stats)
	}
}
