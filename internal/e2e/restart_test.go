//go:build linux

package e2e_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/internal/nettest"
)

// A restarted is a pair whose router is a service of a unitManager, with a VIP behind a floating IP.
type restarted struct {
	*pair
	manager *unitManager
	file    string
	program string // of this router; an upgrade puts another one there
	socket  string
	flags   []string // more of them
}

const vipBehind = "10.10.10.7" // the floating IP

// restartTopology has checks off, so that a member is up from the start.
var restartTopology = pairTopology + nettest.Balanced("web", "TCP", 80, "",
	nettest.Member{Name: "only", Address: internalAddress, Port: 8000}) + nettest.FloatingIP(vipBehind, "172.16.100.11")

func newRestarted(t *testing.T) *restarted {
	t.Helper()
	return newRestartedWith(t, restartTopology)
}

func newRestartedWith(t *testing.T, topology string, flags ...string) *restarted {
	t.Helper()
	need(t, "sh", "env")
	w := newWorld(t)
	r := &restarted{pair: &pair{world: w}, file: w.file("restarted.toml", topology), flags: flags}
	r.router, r.internal, r.external = w.space("router"), w.space("internal"), w.space("external")
	dir := filepath.Dir(r.file)
	r.program, r.socket = filepath.Join(dir, "taprouter"), filepath.Join(dir, "s")
	r.manager = w.unitManager(10)
	r.install(program)
	r.start()
	r.connect(r.internal, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	r.connect(r.external, movedTAP, "tap-ext", externalAddress+"/24", "")
	return r
}

// install puts a program where the router's is, as a package manager does: another file takes its name.
func (r *restarted) install(from string) {
	r.t.Helper()
	text, err := os.ReadFile(from)
	r.check(err)
	r.check(os.WriteFile(r.program+".new", text, 0o755))
	r.check(os.Rename(r.program+".new", r.program))
}

// start starts the service, and returns when it is ready and the manager has its descriptors.
func (r *restarted) start() {
	r.t.Helper()
	r.process = r.manager.start(r.router, append([]string{r.program, "run", r.file, "--socket", r.socket},
		r.flags...)...)
	r.ready()
	p := r.process
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Logf("the log of a router:\n%s", p.out.String())
		}
	})
}

func (r *restarted) ready() {
	r.t.Helper()
	r.manager.hears(r.t, "READY=1")
	r.manager.hears(r.t, "FDNAME=taprouter-table-") // the last one by name
}

// end ends the service by a signal.
func (r *restarted) end(sig unix.Signal) {
	r.t.Helper()
	r.check(r.process.cmd.Process.Signal(sig))
	select {
	case <-r.process.ended:
	case <-time.After(10 * time.Second):
		r.t.Fatalf("it does not end; its log:\n%s", r.process.out.String())
	}
}

// upgrade has the router go on in another program.
func (r *restarted) upgrade(to string) {
	r.t.Helper()
	r.install(to)
	out, err := r.router.try("env", "TAPROUTER_ENDPOINT=unix:"+r.socket, program, "upgrade")
	if err != nil {
		r.t.Fatalf("upgrade: %v\n%s\n%s", err, out, r.process.out.String())
	}
	r.ready()
}

// otherLayout builds the program with another layout of its tables.
var otherLayout = sync.OnceValues(func() (string, error) {
	path := program + "-other"
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags",
		"-X github.com/taprouter/taprouter/router/internal/ip.layoutSalt=other", "-o", path,
		"github.com/taprouter/taprouter/cmd/taprouter")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, err
})

// A flow is a transfer that goes on while something happens.
type flow struct {
	name     string
	from, to net.Conn
	arrived  atomic.Int64  // bytes
	more     chan struct{} // has a value when some have arrived since the last look; closed after the last one
	stop     chan struct{}
	sent     chan result
	got      chan result

	longest time.Duration // without a byte
	took    time.Duration
}

// A result is what one end of a flow says when it is over.
type result struct {
	sum [32]byte
	err error
}

// begin begins to send and to receive.
func begin(name string, from, to net.Conn) *flow {
	f := &flow{name: name, from: from, to: to, more: make(chan struct{}, 1), stop: make(chan struct{}),
		sent: make(chan result, 1), got: make(chan result, 1)}
	go func() { f.sent <- f.send() }()
	go func() { f.got <- f.receive() }()
	return f
}

func (f *flow) send() result {
	block, h := make([]byte, 1_000_003), sha256.New() // a period that no segment size divides
	_, _ = rand.NewChaCha8([32]byte{7}).Read(block)   // never fails
	for {
		select {
		case <-f.stop:
			return result{[32]byte(h.Sum(nil)), f.from.(*net.TCPConn).CloseWrite()}
		default:
		}
		if _, err := f.from.Write(block); err != nil {
			return result{err: err}
		}
		h.Write(block)
	}
}

func (f *flow) receive() result {
	defer close(f.more)
	began := time.Now()
	h, b, last := sha256.New(), make([]byte, 256<<10), began
	for {
		_ = f.to.SetReadDeadline(time.Now().Add(stallTime))
		k, err := f.to.Read(b)
		now := time.Now()
		f.longest, last, f.took = max(f.longest, now.Sub(last)), now, now.Sub(began)
		h.Write(b[:k])
		f.arrived.Add(int64(k))
		select {
		case f.more <- struct{}{}:
		default: // await has not seen the last news yet
		}
		if errors.Is(err, io.EOF) {
			return result{sum: [32]byte(h.Sum(nil))}
		} else if err != nil {
			return result{err: err}
		}
	}
}

// await waits until so many more bytes have arrived.
func (f *flow) await(t *testing.T, more int64) {
	t.Helper()
	late := time.After(2 * stallTime)
	for want, going := f.arrived.Load()+more, true; f.arrived.Load() < want; {
		if !going {
			t.Fatalf("%s: it ended after %d bytes, want %d", f.name, f.arrived.Load(), want)
		}
		select {
		case _, going = <-f.more:
		case <-late:
			t.Fatalf("%s: %d bytes have arrived, want %d", f.name, f.arrived.Load(), want)
		}
	}
}

// end ends the transfer. Every byte counts: the hashes of both ends are compared.
func (f *flow) end(t *testing.T) {
	t.Helper()
	close(f.stop)
	got := <-f.got
	if got.err != nil {
		t.Errorf("%s: after %d bytes: %v", f.name, f.arrived.Load(), got.err)
		return
	}
	if sent := <-f.sent; sent != got {
		t.Errorf("%s: what arrived is not what was sent, %v", f.name, sent.err)
	}
	n := f.arrived.Load()
	t.Logf("%s: %d MB intact, %.0f MB/s with the restart; longest pause %v", f.name, n>>20,
		float64(n)/1e6/f.took.Seconds(), f.longest.Round(time.Millisecond))
}

// A connection through SNAT, one through a VIP behind a floating IP, and an idle one whose first data comes from
// outside go on over every way of a restart, and no byte is lost.
func TestRestartKeepsConnections(t *testing.T) {
	for _, way := range []struct {
		name    string
		restart func(r *restarted)
	}{
		{"SIGTERM and start", func(r *restarted) { r.end(unix.SIGTERM); r.start() }},
		{"kill -9 and start", func(r *restarted) { r.end(unix.SIGKILL); r.start() }},
		{"upgrade", func(r *restarted) { r.upgrade(program) }},
		{"upgrade to another layout", func(r *restarted) {
			other, err := otherLayout()
			r.check(err)
			r.upgrade(other)
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			if strings.Contains(way.name, "another") {
				_, _ = otherLayout() // not while packets flow
			}
			r := newRestarted(t)
			snat, atSNAT := r.join(r.internal, r.external, externalAddress+":0", externalAddress+":")
			vip, atVIP := r.join(r.external, r.internal, ":8000", vipBehind+":80")
			idle, atIdle := r.join(r.internal, r.external, externalAddress+":0", externalAddress+":")
			flows := []*flow{begin("SNAT", snat, atSNAT), begin("VIP", vip, atVIP)}
			for _, f := range flows {
				f.await(t, 32<<20)
			}
			way.restart(r)
			for _, f := range flows {
				f.await(t, 32<<20)
				f.end(t)
			}
			r.says(atIdle, idle, "from outside")
			r.says(idle, atIdle, "from inside")
			r.says(atVIP, vip, "back through the VIP")
			if out := r.process.out.String(); strings.Contains(out, "device open") &&
				strings.Contains(way.name, "start") {
				t.Errorf("a TAP is opened anew:\n%s", out)
			}
			for line := range strings.Lines(r.process.out.String()) {
				if strings.Contains(line, "connections go on") || strings.Contains(line, "was replaced") {
					t.Log(strings.TrimSpace(line))
				}
			}
			// systemctl stop: the manager closes what it keeps, and with it the TAPs go.
			r.end(unix.SIGTERM)
			if out := r.process.out.String(); strings.Contains(out, "tcp-window:") {
				t.Errorf("real TCP was taken for somebody else's:\n%s", out)
			}
			r.internal.link("tap100")
			r.manager.forget(func(string) bool { return true })
			if _, err := r.internal.LinkByName("tap100"); err == nil {
				t.Error("after a stop there is a TAP")
			}
		})
	}
}

// The router still knows a neighbor that has fallen silent, over every way of a restart but one: a crash without a
// state directory.
func TestRestartKnowsNeighbors(t *testing.T) {
	other, err := otherLayout()
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct {
		name    string
		dir     bool
		restart func(r *restarted)
		known   bool
	}{
		{"SIGTERM and start", true, func(r *restarted) { r.end(unix.SIGTERM); r.start() }, true},
		{"upgrade", false, func(r *restarted) { r.upgrade(program) }, true},
		{"upgrade to another layout", false, func(r *restarted) { r.upgrade(other) }, true},
		{"kill -9 and start", false, func(r *restarted) { r.end(unix.SIGKILL); r.start() }, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			var flags []string
			if way.dir {
				flags = []string{"--state-dir", t.TempDir()}
			}
			r := newRestartedWith(t, restartTopology, flags...)
			const silent = "10.10.10.30"
			r.external.run("ip", "addr", "add", silent+"/24", "dev", "tap-ext")
			mac := r.external.link("tap-ext").Attrs().HardwareAddr.String()
			r.internal.pings(t, silent)
			r.external.run("ip", "addr", "del", silent+"/24", "dev", "tap-ext") // the address is silent from now on
			shown := func() string {
				return r.router.run("env", "TAPROUTER_ENDPOINT=unix:"+r.socket, program, "show", "neighbors")
			}
			line := silent + " dev ext_net lladdr " + mac + " "
			if out := shown(); !strings.Contains(out, line) {
				t.Fatalf("%q is missing before the restart:\n%s", line, out)
			}
			way.restart(r)
			if out := shown(); strings.Contains(out, line) != way.known {
				t.Errorf("known afterwards: %t\n%s", !way.known, out)
			}
		})
	}
}

// fill has the router make connections that stay idle: one for each of the hosts, sockets and ports. hosts is how many
// addresses the external host gets.
func (r *restarted) fill(hosts, sockets, ports int) {
	r.t.Helper()
	for i := range hosts {
		address := fmt.Sprintf("10.10.10.%d", 20+i)
		r.external.run("ip", "addr", "add", address+"/24", "dev", "tap-ext")
		r.internal.pings(r.t, address)
	}
	var from []int
	r.check(r.internal.within(func() error {
		for range sockets {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			from = append(from, fd)
		}
		return nil
	}))
	defer func() {
		for _, fd := range from {
			unix.Close(fd)
		}
	}()
	// What a full queue has dropped comes with the next round.
	for want, round := hosts*sockets*ports, 0; ; round++ {
		for _, fd := range from {
			for host := range hosts {
				to := &unix.SockaddrInet4{Addr: [4]byte{10, 10, 10, byte(20 + host)}}
				for port := 1; port <= ports; port++ {
					to.Port = port
					_ = unix.Sendto(fd, []byte("x"), 0, to) // such as ECONNREFUSED of an earlier one
				}
			}
		}
		if got := r.connections(); got >= want {
			r.t.Logf("%d connections after %d rounds", got, round+1)
			return
		} else if round == 20 {
			r.t.Fatalf("the router has %d connections, want %d", got, want)
		}
	}
}

// connections is how many connections the router says that it has.
func (r *restarted) connections() (n int) {
	r.t.Helper()
	out := r.router.run("env", "TAPROUTER_ENDPOINT=unix:"+r.socket, program, "status")
	_, text, _ := strings.Cut(out, "connections: ")
	if _, err := fmt.Sscan(text, &n); err != nil {
		r.t.Fatalf("%v:\n%s", err, out)
	}
	return n
}

// paused has a connection transfer while the router is restarted, and tells the pause.
func (r *restarted) paused(name string, restart func()) {
	r.t.Helper()
	client, server := r.join(r.internal, r.external, externalAddress+":0", externalAddress+":")
	f := begin(name, client, server)
	f.await(r.t, 32<<20)
	restart()
	f.await(r.t, 32<<20)
	f.end(r.t)
	for line := range strings.Lines(r.process.out.String()) {
		if strings.Contains(line, "connections go on") || strings.Contains(line, "was replaced") {
			r.t.Log(strings.TrimSpace(line))
		}
	}
}

// The pause with 100 000 connections that are idle.
func TestRestartWithManyConnections(t *testing.T) {
	r := newRestarted(t)
	r.fill(2, 1, 50_000)
	r.paused("SIGTERM and start", func() { r.end(unix.SIGTERM); r.start() })
}

// The pauses with a million connections, as the unit runs the router: with a state directory. They are for reading:
// TAPROUTER_PAUSES=1.
func TestPauses(t *testing.T) {
	if os.Getenv("TAPROUTER_PAUSES") == "" {
		t.Skip("TAPROUTER_PAUSES=1 measures the pauses of restarts with a million connections")
	}
	other, err := otherLayout()
	if err != nil {
		t.Fatal(err)
	}
	const hosts, sockets, ports = 4, 5, 50_000
	r := newRestartedWith(t, restartTopology+"\n[nat]\nmax_connections = 2500000\nhost_share = 1.0\n"+
		"[nat.timeouts]\nudp = \"1h\"\n", "--state-dir", t.TempDir())
	r.fill(hosts, sockets, ports)
	for _, way := range []struct {
		name    string
		restart func()
	}{
		{"SIGTERM and start", func() { r.end(unix.SIGTERM); r.start() }},
		{"kill -9 and start", func() { r.end(unix.SIGKILL); r.start() }},
		{"upgrade", func() { r.upgrade(program) }},
		{"upgrade to another layout", func() { r.upgrade(other) }},
	} {
		r.paused(way.name, way.restart)
		if n := r.connections(); n < hosts*sockets*ports {
			t.Errorf("after %s: %d connections", way.name, n)
		}
	}
}
