package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/ownership"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/tap"
)

// A logBuffer is a log that is read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns what was logged since the last time, without the times.
func (l *logBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	var lines strings.Builder
	for line := range strings.Lines(l.b.String()) {
		if len(line) > 24 && line[4] == '-' {
			line = line[24:]
		}
		lines.WriteString(line)
	}
	return lines.String()
}

// A reloading is a reloader of a file that a test changes.
type reloading struct {
	*reloader
	t       *testing.T
	engine  *router.Engine
	control *control.Control
	log     *logBuffer
	text    string
}

// serveBy has another engine serve the State.
func (r *reloading) serveBy(e control.Engine) {
	r.own = owned(r.t, r.own.File(), func(opt control.Options) *control.Control {
		r.control = control.NewFor(e, opt)
		return r.control
	})
}

// newReloading starts an engine with a file.
func newReloading(t *testing.T, text, format string, open func(config.Device) (tap.Device, error)) *reloading {
	t.Helper()
	r := &reloading{t: t, log: &logBuffer{}, text: text}
	path := write(t, text)
	f, err := file.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	r.engine, err = router.Start(f.State(), router.Options{Open: open})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.engine.Close() })
	r.reloader = &reloader{path: path, own: owned(t, f, func(opt control.Options) *control.Control {
		r.control = control.New(r.engine, opt)
		return r.control
	}),
		log: newLogger(r.log, slog.LevelInfo, format)}
	return r
}

// owned is the ownership of a file whose State is served, without a store.
func owned(t *testing.T, f *file.File, serve func(control.Options) *control.Control) *ownership.Ownership {
	t.Helper()
	own, err := ownership.Start(t.Context(), f, ownership.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Serve(t.Context(), serve(control.Options{Store: own.Store})); err != nil {
		t.Fatal(err)
	}
	return own
}

// edit replaces texts of the file, each of which is there once.
func (r *reloading) edit(pairs ...string) {
	r.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(r.text, pairs[i]) != 1 {
			r.t.Fatalf("%q is not once in the file", pairs[i])
		}
		r.text = strings.Replace(r.text, pairs[i], pairs[i+1], 1)
	}
	if err := os.WriteFile(r.path, []byte(r.text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// logs reloads the file, and returns the log, with FILE in place of its name.
func (r *reloading) logs(ctx context.Context, want bool) string {
	r.t.Helper()
	ok := r.reload(ctx)
	log := strings.ReplaceAll(r.log.take(), r.path, "FILE")
	if ok != want {
		r.t.Errorf("reload returns %t:\n%s", ok, log)
	}
	return log
}

const firstFloatingIP = "[[floating_ip]]\nnetwork = \"ext_net\"\nfixed_ip = \"172.16.101.3\"\n"

// Differences are logged object by object, and made. Choices stay.
func TestReload(t *testing.T) {
	r := newReloading(t, planned, "text", nil)
	r.edit(firstFloatingIP, "", "[[router]]",
		"[engine]\nworkers = 2\n[nat.timeouts]\nudp = \"1s\"\n[[network]]\nname = \"vlan102\"\n[[router]]")
	log := r.logs(t.Context(), true)
	want := []string{
		"warning: FILE:16: nat: timeouts.udp 1s is less than",
		"changed settings: nat.timeouts.udp 5m -> 1s; engine.workers 0 -> 2, at the next start (FILE:13); " +
			"connections have the new timeouts from their next packet on",
		`added network "vlan102" (FILE:17)`,
		"removed floating IP 10.10.10.3; connections through 10.10.10.3 end, TCP with a RST to both sides",
		"warning: a restart chooses anew what the file leaves open; state it to keep it: " +
			"floating IP 10.10.10.3: address 10.10.10.4 -> 10.10.10.3 (FILE:25)",
		"reloaded file=FILE took=",
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for i, line := range lines {
		if i >= len(want) || !strings.HasPrefix(line, want[i]) {
			t.Errorf("unexpected: %s", line)
		}
	}
	if len(lines) != len(want) || !strings.HasSuffix(lines[len(lines)-1],
		"added=1 changed=1 removed=1 at_next_start=engine.workers") {
		t.Errorf("%d lines, want %d:\n%s", len(lines), len(want), log)
	}
	served := r.engine.State()
	if served.Count(config.KindFloatingIP) != 1 || served.Count(config.KindNetwork) != 3 {
		t.Error("the engine does not serve the file")
	}
	for f := range served.FloatingIPs() {
		if f.Address.String() != "10.10.10.4" {
			t.Errorf("the floating IP has moved to %v", f.Address)
		}
	}

	again := r.logs(t.Context(), true)
	if !strings.Contains(again, "reloaded: nothing differs file=FILE") || strings.Contains(again, "added") ||
		!strings.Contains(again, "a restart chooses anew") {
		t.Errorf("nothing differs:\n%s", again)
	}
	r.edit("workers = 2", "workers = 2\n\n")
	if log := r.logs(t.Context(), true); !strings.Contains(log, "nothing differs") {
		t.Errorf("lines that move:\n%s", log)
	}
}

// Objects that programs have made stay.
func TestReloadKeepsWhatIsNotTheFiles(t *testing.T) {
	r := newReloading(t, planned, "text", nil)
	outside, inside := "10.10.10.77", "172.16.101.77"
	if err := r.control.AssociateFloatingIP(netip.MustParseAddr(outside), netip.MustParseAddr(inside)); err != nil {
		t.Fatal(err)
	}
	r.edit(firstFloatingIP, "")
	if log := r.logs(t.Context(), true); !strings.Contains(log, "added=0 changed=0 removed=1") {
		t.Errorf("it is not one object that goes:\n%s", log)
	}
	if list := r.control.FloatingIPs(); len(list) != 2 || list[1].Address != netip.MustParseAddr(outside) {
		t.Errorf("%+v", list)
	}
	r.edit("cidr = \"10.10.10.0/24\"", "cidr = \"10.10.11.0/24\"") // which it needs
	log := r.logs(t.Context(), false)
	if !strings.Contains(log, "error: FILE: floating IP "+outside) || !strings.Contains(log, "goes on as before") {
		t.Errorf("a file that contradicts it:\n%s", log)
	}
}

// Programs read attributes.
func TestReloadAsJSON(t *testing.T) {
	r := newReloading(t, planned, "json", nil)
	r.edit(firstFloatingIP, "", "[[router]]", "[nat.timeouts]\nudp = \"1s\"\n[[router]]")
	log := r.logs(t.Context(), true)
	for _, want := range []string{
		`"level":"WARN","msg":"nat: timeouts.udp 1s is less than`, `"file":"FILE","line":14}`,
		`"msg":"changed","object":"settings","id":"` + string(config.SettingsID) +
			`","changes":"nat.timeouts.udp 5m -> 1s","source":"FILE:13","effects":["connections have`,
		`"msg":"removed","object":"floating IP 10.10.10.3","id":"`,
		`"level":"WARN","msg":"a restart chooses anew what the file leaves open; state it to keep it","object":`,
		`"msg":"reloaded","file":"FILE","took":"`, `"added":0,"changed":1,"removed":1}`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not in the log:\n%s", want, log)
		}
	}
	r.edit("[[router]]", "[[ruoter]]")
	log = r.logs(t.Context(), false)
	for _, want := range []string{`"level":"ERROR"`, `"file":"FILE","line":15}`,
		`"msg":"not reloaded: the router goes on as before; mend the file and send SIGHUP again"`} {
		if !strings.Contains(log, want) {
			t.Errorf("%s is not in the log:\n%s", want, log)
		}
	}
}

// A file that cannot be served changes nothing. The log names the fault, its line, and the way out.
func TestReloadRefused(t *testing.T) {
	device := func(spec string) []string {
		return []string{"name = \"vlan101\"", fmt.Sprintf("name = \"vlan101\"\ndevices = [\"tap:fine\", %q]", spec)}
	}
	for name, c := range map[string]struct {
		edit []string
		want []string
	}{
		"faults of the file itself": {
			[]string{"[[router]]", "[[ruoter]]", "cidr = \"172.16.101.0/24\"", "cidr = \"172.16.101.0\""},
			[]string{"error: FILE:5: ", "error: FILE:13: ", `did you mean "router"`, "file=FILE faults=",
				"mend the file"},
		},
		"faults of the objects": {
			[]string{"172.16.101.4", "172.16.101.3", "interfaces = [\"vlan101\"]", "interfaces = [\"vlan1\"]"},
			[]string{"error: FILE:15: ", "mend the file and send SIGHUP again"},
		},
		"unsupported": {
			[]string{"cidr = \"172.16.101.0/24\"",
				"cidr = \"172.16.101.0/24\"\n[[network.subnet]]\ncidr = \"2001:db8::/64\""},
			[]string{"error: FILE:7: ", "IPv6 is not supported yet", "faults=1", "goes on as before"},
		},
		"a device": {device("tap:taken"), []string{
			`error: reload: network "vlan101": tap:taken: device or resource busy`,
			"error: not reloaded: the router goes on as before file=FILE"}},
		"a right": {device("tap:tap1@there"), []string{
			`error: reload: network "vlan101": open tap:tap1@there: ` +
				"entering a network namespace needs CAP_SYS_ADMIN, which the process has given up after its start: " +
				"restart it with --allow-netns"}},
		"no file": {nil, []string{"error: reload: ", "no such file", "goes on as before"}},
	} {
		t.Run(name, func(t *testing.T) {
			var opened openDevices
			rights := newRights(&file.Topology{}, false)
			if err := rights.giveUp(slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			r := newReloading(t, planned, "text", rights.opener(func(d config.Device) (tap.Device, error) {
				if d.Name == "taken" {
					return nil, fmt.Errorf("%v: %w", d, errBusy)
				}
				return opened.open(d.Name), nil
			}))
			before := r.engine.State()
			if r.edit(c.edit...); c.edit == nil {
				_ = os.Remove(r.path)
			}
			log := r.logs(t.Context(), false)
			for _, want := range c.want {
				if !strings.Contains(log, want) {
					t.Errorf("%q is not in the log:\n%s", want, log)
				}
			}
			if r.engine.State() != before || strings.Contains(log, "added") || opened.count() != 0 {
				t.Errorf("something has changed, or %d devices are left open\n%s", opened.count(), log)
			}
			r.text = planned
			r.edit("[[router]]", "[[network]]\nname = \"vlan102\"\n[[router]]")
			if log := r.logs(t.Context(), true); !strings.Contains(log, "added=1") {
				t.Errorf("the next reload:\n%s", log)
			}
		})
	}
}

// A TAP that moves into a namespace can be opened only when the former one is closed. It is refused before that if the
// process has no right to open it.
func TestReloadWithoutRight(t *testing.T) {
	const device = "name = \"vlan101\"\ndevices = [\"tap:tap1\"]"
	rights := newRights(&file.Topology{}, false)
	var opened openDevices
	r := newReloading(t, strings.Replace(planned, "name = \"vlan101\"", device, 1), "text",
		rights.opener(func(d config.Device) (tap.Device, error) {
			return opened.open(d.Name), nil
		}))
	if err := rights.giveUp(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	r.mayOpen = rights.mayOpen
	before := r.engine.State()
	r.edit("tap:tap1", "tap:tap1@there")
	log := r.logs(t.Context(), false)
	want := "error: FILE:4: open tap:tap1@there: entering a network namespace needs CAP_SYS_ADMIN"
	if !strings.Contains(log, want) || !strings.Contains(log, "restart it with --allow-netns") {
		t.Errorf("%q is not in the log:\n%s", want, log)
	}
	if r.engine.State() != before || opened.count() != 1 {
		t.Errorf("something has changed: %d devices are open", opened.count())
	}
}

var errBusy = errors.New("device or resource busy")

// openDevices are the devices that are open. Several may be closed at the same time.
type openDevices struct {
	sync.Mutex
	all map[tap.Device]bool
}

// open makes a device that is open until it is closed.
func (o *openDevices) open(name string) tap.Device {
	near, _ := tap.Pipe(name, name+"/far", tap.PipeOptions{})
	o.Lock()
	defer o.Unlock()
	dev := &closing{near, o}
	if o.all == nil {
		o.all = map[tap.Device]bool{}
	}
	o.all[dev] = true
	return dev
}

// count returns how many are open.
func (o *openDevices) count() int {
	o.Lock()
	defer o.Unlock()
	return len(o.all)
}

// A closing is one of its set's devices until it is closed.
type closing struct {
	tap.Device
	of *openDevices
}

// Close implements tap.Device.
func (c *closing) Close() error {
	c.of.Lock()
	delete(c.of.all, c)
	c.of.Unlock()
	return c.Device.Close()
}

// A file that cannot be read twice, such as a pipe, is not reloaded.
func TestNothingToReload(t *testing.T) {
	r := newReloading(t, planned, "text", nil)
	for path, want := range map[string]string{stdin: "came from standard input", t.TempDir(): "is no regular file"} {
		r.path = path
		if log := r.logs(t.Context(), false); !strings.Contains(log, want) ||
			!strings.Contains(log, "restart to serve") {
			t.Errorf("%s:\n%s", path, log)
		}
	}
}

// A router that ends does not reload, and says no word of errors.
func TestReloadAtTheEnd(t *testing.T) {
	r := newReloading(t, planned, "text", nil)
	r.edit(firstFloatingIP, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	before := r.engine.State()
	if log := r.logs(ctx, false); log != "not reloaded: the router ends file=FILE\n" || r.engine.State() != before {
		t.Errorf("a context that has ended:\n%s", log)
	}
	_ = r.engine.Close()
	if log := r.logs(t.Context(), false); log != "not reloaded: the router ends file=FILE\n" {
		t.Errorf("an engine that has ended:\n%s", log)
	}
}

// A counting engine says how many connections a change concerns, and may hold it up.
type counting struct {
	state  *config.State
	counts []router.Count
	hold   func(ctx context.Context) error
}

func (e *counting) State() *config.State { return e.state }

func (e *counting) Prepare(ctx context.Context, to *config.State) (control.Prepared, error) {
	if e.hold != nil {
		if err := e.hold(ctx); err != nil {
			return nil, err
		}
	}
	return &counted{e, to}, nil
}

type counted struct {
	e  *counting
	to *config.State
}

func (c *counted) Counts() []router.Count { return c.e.counts }
func (c *counted) Commit()                { c.e.state = c.to }
func (c *counted) Discard()               {}

// Connections are counted at the object that they end by, also one that has not changed itself.
func TestReloadCounts(t *testing.T) {
	r := newReloading(t, planned, "text", nil)
	e := &counting{state: r.engine.State()}
	var floating config.Ref
	for f := range e.state.FloatingIPs() {
		floating = f.Ref() // the last one
	}
	routed := config.Ref{Kind: config.KindRouter, ID: config.NameID(config.KindRouter, "r1")}
	e.counts = []router.Count{{Ref: routed, Ended: 2, Kept: 1}, {Ref: floating, Ended: 3, Repinned: 4}}
	r.serveBy(e)
	r.edit("172.16.101.4", "172.16.101.5")
	log := r.logs(t.Context(), true)
	for _, want := range []string{" ended=3 repinned=4\n", "\nconcerned router \"r1\" ended=2 kept=1\n",
		" ended=5 kept=1 repinned=4\n"} {
		if strings.Count(log, want) != 1 {
			t.Errorf("%q is not in the log once:\n%s", want, log)
		}
	}
}

// Reloads run one after the other. Requests that come during a reload are served by one further reload. The service
// manager is told of each. A router that is told to end during a reload takes the reload back.
func TestServeReloads(t *testing.T) {
	m := listenAsManager(t)
	r := newReloading(t, planned, "text", nil)
	ctx, cancel := context.WithCancel(t.Context())
	held, goOn := make(chan struct{}), make(chan struct{})
	n := 0
	e := &counting{state: r.engine.State(), hold: func(ctx context.Context) error {
		n++
		held <- struct{}{}
		select {
		case <-goOn:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	r.serveBy(e)
	requests, changed, ended := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	ask := func() {
		select {
		case requests <- os.Interrupt:
		default: // as package signal does
		}
	}
	ask()
	go func() {
		r.serve(ctx, requests, changed, func() string { return "STATUS=routing" }, "STATUS=routing")
		close(ended)
	}()
	<-held
	m.hears(t, "RELOADING=1\nSTATUS=reloading")
	for range 5 {
		ask()
	}
	changed <- struct{}{} // it is alive meanwhile, and has nothing new to tell
	goOn <- struct{}{}
	m.hears(t, "READY=1\nSTATUS=routing")
	<-held
	m.hears(t, "RELOADING=1")
	goOn <- struct{}{}
	m.hears(t, "READY=1\nSTATUS=routing")

	_ = os.Rename(r.path, r.path+".away")
	ask()
	m.hears(t, "RELOADING=1")
	m.hears(t, "READY=1\nSTATUS=routing; the file was not reloaded, the log says why")
	_ = os.Rename(r.path+".away", r.path)
	ask()
	<-held
	m.hears(t, "RELOADING=1")
	goOn <- struct{}{}
	m.hears(t, "READY=1\nSTATUS=routing")
	ask()
	<-held
	m.hears(t, "RELOADING=1")
	cancel()
	m.hears(t, "STOPPING=1")
	<-ended
	if log := r.log.take(); n != 4 || !strings.Contains(log, "not reloaded: the router ends") {
		t.Errorf("%d reloads:\n%s", n, log)
	}
}

// A router that ends waits until a reload is taken back, but not for ever.
func TestEndWaitsForReload(t *testing.T) {
	path := write(t, planned)
	f, err := file.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for late, ends := range map[time.Duration]time.Duration{reloadGrace / 2: reloadGrace / 2, time.Hour: reloadGrace} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			e := &counting{state: f.State(), hold: func(context.Context) error {
				cancel()
				time.Sleep(late)
				return nil
			}}
			var log logBuffer
			r := &reloader{path: path, own: owned(t, f, func(opt control.Options) *control.Control {
				return control.NewFor(e, opt)
			}),
				log: newLogger(&log, slog.LevelInfo, "text")}
			requests := make(chan os.Signal, 1)
			requests <- os.Interrupt
			began := time.Now()
			r.serve(ctx, requests, nil, func() string { return "" }, "")
			if took := time.Since(began); took != ends {
				t.Errorf("a reload that ends after %v: the router ends after %v, want %v", late, took, ends)
			}
			if text := log.take(); strings.Contains(text, "a reload does not end") != (ends != late) ||
				strings.Contains(text, "the router ends file") != (ends == late) {
				t.Errorf("a reload that ends after %v:\n%s", late, text)
			}
			time.Sleep(late) // until nothing of it is left
		})
	}
}

// A manager is a service manager that a test stands for.
type manager struct{ *net.UnixConn }

func listenAsManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Skip("no such sockets here: ", err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{c}
}

// hears wants the next message to be a text. One about a reload begins with it, and has a time.
func (m *manager) hears(t *testing.T, want string) {
	t.Helper()
	b := make([]byte, 4096)
	n, err := m.Read(b)
	got := string(b[:n])
	is := got == want
	if strings.HasPrefix(got, "RELOADING") {
		is = strings.HasPrefix(got, want) &&
			(runtime.GOOS != "linux" || strings.Contains(got, "\nMONOTONIC_USEC="))
	}
	if err != nil || !is {
		t.Fatalf("told %q (%v), want %q", got, err, want)
	}
}

// hearsNothing wants no further message to have come.
func (m *manager) hearsNothing(t *testing.T) {
	t.Helper()
	if _, err := daemon.SdNotify(false, "the end"); err != nil {
		t.Fatal(err)
	}
	m.hears(t, "the end")
}
