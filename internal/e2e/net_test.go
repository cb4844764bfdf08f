//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// program is the binary under test, built by TestMain.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if os.Geteuid() != 0 {
		return m.Run() // every test will say that it needs root
	}
	dir, err := os.MkdirTemp("", "taprouter-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // some tests run it as another user
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go runSpawner()
	program = filepath.Join(dir, "taprouter")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program,
		"github.com/taprouter/taprouter/cmd/taprouter")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, out)
		return 1
	}
	shareNamespaces()
	return m.Run()
}

// shareNamespaces has the ip command prepare the directory of namespace names,
// which netns does not: only on a shared mount does a name that is removed here
// disappear from the processes of "ip netns exec" as well. Otherwise each of these
// processes keeps every namespace that it has seen at its start.
func shareNamespaces() {
	name := fmt.Sprintf("tre%d-first", os.Getpid())
	if exec.Command("ip", "netns", "add", name).Run() == nil {
		_ = exec.Command("ip", "netns", "del", name).Run() // no process is in it
	}
}

// missing skips a test that cannot run here, and fails it under CI=true.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("missing: %s", what)
	}
	t.Skipf("missing: %s", what)
}

// need wants root, TAPs and tools.
func need(t *testing.T, tools ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root, for namespaces and devices")
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		missing(t, fmt.Sprintf("/dev/net/tun (modprobe tun): %v", err))
	} else {
		f.Close()
	}
	if err := mayUnshare(); err != nil {
		missing(t, fmt.Sprintf("the right to make network namespaces (CAP_SYS_ADMIN): %v", err))
	}
	for _, tool := range append(tools, "ip") {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool+" (make test-deps installs it)")
		}
	}
}

// The main thread stays with the main goroutine. A goroutine that enters a
// namespace takes its thread along to its end; but the main thread never ends, and
// would hold on to the namespace after its name is removed.
func init() { runtime.LockOSThread() }

// mayUnshare tries to make a network namespace, which ends at once: a container's
// root often may not.
func mayUnshare() error {
	tried := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		tried <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	return <-tried
}

// A world is a test's namespaces, which end with it. Helpers that have no test
// of their own to fail use t: the test, or the step of it that is running.
type world struct {
	t      *testing.T
	prefix string
}

// A space is one network namespace.
type space struct {
	w      *world
	name   string // as ip-netns knows it
	handle netns.NsHandle
	*netlink.Handle
}

var worlds atomic.Int32

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, prefix: fmt.Sprintf("tre%d-%d", os.Getpid(), worlds.Add(1))}
}

// step runs a part of the test under a name. What it starts ends with it.
func (w *world) step(name string, fn func(t *testing.T)) {
	w.t.Helper()
	whole := w.t
	whole.Run(name, func(t *testing.T) {
		w.t = t
		defer func() { w.t = whole }()
		fn(t)
	})
}

// space makes a namespace, with its loopback up.
func (w *world) space(name string) *space {
	w.t.Helper()
	s := &space{w: w, name: w.prefix + "-" + name, handle: netns.None()}
	made := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread stays in the new namespace
		var err error
		s.handle, err = netns.NewNamed(s.name)
		made <- err
	}()
	w.check(<-made)
	w.t.Cleanup(s.remove)
	var err error
	s.Handle, err = netlink.NewHandleAt(s.handle)
	w.check(err)
	lo, err := s.LinkByName("lo")
	w.check(err)
	w.check(s.LinkSetUp(lo))
	return s
}

// remove ends the namespace, unless a test has done so before.
func (s *space) remove() {
	if !s.handle.IsOpen() {
		return
	}
	if s.Handle != nil {
		s.Handle.Close()
	}
	_ = s.handle.Close() // the name is what keeps it, from here on
	if err := netns.DeleteNamed(s.name); err != nil {
		s.w.t.Errorf("namespace %s: %v", s.name, err)
	}
}

// check fails the test on an error.
func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// link returns an interface of the namespace.
func (s *space) link(name string) netlink.Link {
	s.w.t.Helper()
	l, err := s.LinkByName(name)
	if err != nil {
		s.w.t.Fatalf("%s: %s: %v", s.name, name, err)
	}
	return l
}

// veth joins two namespaces by a cable. Deleting either end later deletes both.
func (w *world) veth(a *space, nameA string, b *space, nameB string) {
	w.t.Helper()
	v := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: nameA, Namespace: netlink.NsFd(int(a.handle))},
		PeerName: nameB, PeerNamespace: netlink.NsFd(int(b.handle))}
	w.check(netlink.LinkAdd(v))
	w.check(a.LinkSetUp(a.link(nameA)))
	w.check(b.LinkSetUp(b.link(nameB)))
}

// address gives an interface an address, and the namespace a default route.
func (s *space) address(link, cidr, gateway string) {
	s.w.t.Helper()
	a, err := netlink.ParseAddr(cidr)
	s.w.check(err)
	l := s.link(link)
	s.w.check(s.AddrAdd(l, a))
	s.w.check(s.LinkSetUp(l))
	if gateway != "" {
		s.w.check(s.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.ParseIP(gateway)}))
	}
}

// adopt moves an interface here from another namespace, and sets it up.
func (s *space) adopt(from *space, name string) netlink.Link {
	s.w.t.Helper()
	s.w.check(from.LinkSetNsFd(from.link(name), int(s.handle)))
	l := s.link(name)
	s.w.check(s.LinkSetUp(l))
	return l
}

// bridge makes a bridge.
func (s *space) bridge(name string) netlink.Link {
	s.w.t.Helper()
	s.w.check(s.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	l := s.link(name)
	s.w.check(s.LinkSetUp(l))
	return l
}

// command is a tool in the namespace, ended with the context.
func (s *space) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", s.name}, args...)...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = 2 * time.Second
	return c
}

// try runs a tool and returns what it prints.
func (s *space) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	out, err := s.command(ctx, args...).CombinedOutput()
	return string(out), err
}

// run is try for a tool that must succeed.
func (s *space) run(args ...string) string {
	s.w.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.w.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// start runs a tool in the background until the test ends, or stop is called;
// what it prints until then is returned.
func (s *space) start(args ...string) (p *process) {
	s.w.t.Helper()
	return s.startWith(nil, args...)
}

// startWith is start for a tool that gets files as its descriptors 3, 4 and so on.
func (s *space) startWith(files []*os.File, args ...string) (p *process) {
	s.w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p = &process{cmd: s.command(ctx, args...), cancel: cancel, ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = &p.out, &p.out, files
	s.w.check(spawn(p.cmd))
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	s.w.t.Cleanup(func() { p.stop() })
	return p
}

// spawner is a thread that starts every process in the background. The processes have to
// end with the tests, in whatever way the tests end. For that the kernel watches the thread
// that started a process (PR_SET_PDEATHSIG), so this thread lives as long as the tests.
var spawner = make(chan func())

func runSpawner() {
	runtime.LockOSThread()
	for start := range spawner {
		start()
	}
}

// spawn starts a process that ends when the tests do.
func spawn(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	spawner <- func() { started <- cmd.Start() }
	return <-started
}

// A process is a tool in the background.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	out    output
	ended  chan struct{}
	err    error

	hostile bool // a router that gets segments which no real host sends
}

// stop ends the process by SIGTERM and returns what it has printed.
func (p *process) stop() string {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		p.cancel()
		<-p.ended
	}
	return p.out.String()
}

// wait waits until the process has printed a text.
func (p *process) wait(t *testing.T, text string) {
	t.Helper()
	p.waitTimes(t, text, 1)
}

// waitTimes waits until the process has printed a text a number of times.
func (p *process) waitTimes(t *testing.T, text string, times int) {
	t.Helper()
	if !p.out.wait(text, times, 30*time.Second) {
		t.Fatalf("%v did not print %q %d times:\n%s", p.cmd.Args, text, times, p.out.String())
	}
}

// An output is a buffer whose content a test can wait for.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.b.Write(p)
}

// String returns what has been written.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// wait waits until a text has been written so many times, for a while.
func (o *output) wait(text string, times int, d time.Duration) bool {
	timeout := time.After(d)
	for {
		o.mu.Lock()
		if strings.Count(o.b.String(), text) >= times {
			o.mu.Unlock()
			return true
		}
		if o.more == nil {
			o.more = make(chan struct{})
		}
		more := o.more
		o.mu.Unlock()
		select {
		case <-more:
		case <-timeout:
			return false
		}
	}
}

// within runs fn on a thread in the namespace: sockets it opens are there.
func (s *space) within(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		if err := netns.Set(s.handle); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// listen listens in the namespace.
func (s *space) listen(address string) net.Listener {
	s.w.t.Helper()
	var l net.Listener
	s.w.check(s.within(func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	}))
	s.w.t.Cleanup(func() { l.Close() })
	return l
}

// dial connects from the namespace.
func (s *space) dial(network, address string) net.Conn {
	s.w.t.Helper()
	var c net.Conn
	s.w.check(s.within(func() (err error) {
		c, err = net.DialTimeout(network, address, 10*time.Second)
		return err
	}))
	s.w.t.Cleanup(func() { c.Close() })
	return c
}

// echo answers datagrams with themselves.
func (s *space) echo(address string) {
	s.w.t.Helper()
	var c net.PacketConn
	s.w.check(s.within(func() (err error) {
		c, err = net.ListenPacket("udp4", address)
		return err
	}))
	s.w.t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil { // else an ICMP error about an earlier answer
				_, _ = c.WriteTo(b[:n], from)
			}
		}
	}()
}

// serve starts the router in a namespace and waits until it is ready. Its API has no socket, unless a flag says where:
// the default one would be the same in all namespaces.
func (s *space) serve(file string, flags ...string) *process {
	s.w.t.Helper()
	if !slices.Contains(flags, "--socket") {
		flags = append(flags, "--socket", "none")
	}
	p := s.start(append([]string{program, "run", file}, flags...)...)
	if !p.out.wait(" ready ", 1, 10*time.Second) {
		s.w.t.Fatalf("the router is not ready:\n%s", p.stop())
	}
	t := s.w.t // by the time of the cleanup, another test may be running in this world
	t.Cleanup(func() {
		out := p.stop()
		if strings.Contains(out, "tcp-window:") && !p.hostile {
			t.Error("real TCP was taken for somebody else's")
		}
		if t.Failed() {
			t.Logf("the router's log:\n%s", out)
		}
	})
	return p
}

// exitCode is a tool's exit status.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// file writes a file of the test that every user may read.
func (w *world) file(name, text string) string {
	w.t.Helper()
	dir := w.t.TempDir()
	path := filepath.Join(dir, name)
	w.check(os.WriteFile(path, []byte(text), 0o644))
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		w.check(os.Chmod(d, 0o755))
	}
	return path
}
