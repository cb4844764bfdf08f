package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A world is one contestant with its two hosts, each in a network namespace:
//
//	internal 172.16.100.9, .10 ── in ── contestant ── out ── external 10.10.10.4
//
// The device in either host's namespace has the name that is drawn. Behind the
// internal host lies 172.30.0.0/16, behind the external one 10.99.0.0/16.
type world struct {
	internal, external, router string // namespaces
	flooder                    string // of the second tenant, in a world that has one
	between                    string // has the switch between hosts and contestant, in a world that has one
	bench                      *bench
	routerMAC                  string // what the internal host sees
	flooderMAC                 string // what the second tenant sees
	sunk                       bool
	processes                  []*process // the contestant's
}

const (
	internalHost  = "172.16.100.9"
	secondHost    = "172.16.100.10"
	internalGW    = "172.16.100.1"
	externalHost  = "10.10.10.4"
	routerAddress = "10.10.10.2"
	floatingIP    = "10.10.10.3"
	vipAddress    = "10.10.10.7"
	behindInside  = "172.30.0.0"
	behindOutside = "10.99.0.0"
)

// sh runs a command in the bench's own namespace.
func sh(args ...string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// in is sh in a namespace.
func in(ns string, args ...string) error {
	return sh(append([]string{"ip", "netns", "exec", ns}, args...)...)
}

// newWorld makes the namespaces and has the contestant join them.
func (b *bench) newWorld(c contestant, m mode) (*world, error) {
	b.worlds++
	prefix := fmt.Sprintf("trb%d-%d", os.Getpid(), b.worlds)
	w := &world{bench: b, internal: prefix + "-i", external: prefix + "-e", router: prefix + "-r"}
	if m == shared {
		w.flooder = prefix + "-f"
	}
	if m.switched() {
		w.between = prefix + "-s"
	}
	for _, ns := range w.namespaces() {
		if err := sh("ip", "netns", "add", ns); err != nil {
			w.close()
			return nil, err
		}
		if err := sh("ip", "-n", ns, "link", "set", "lo", "up"); err != nil {
			w.close()
			return nil, err
		}
	}
	if err := c.start(w, m); err != nil {
		w.close()
		return nil, fmt.Errorf("%s: %w", c.name(), err)
	}
	if err := w.address(); err != nil {
		w.close()
		return nil, fmt.Errorf("%s: %w", c.name(), err)
	}
	switch c.(type) {
	case bare, checking:
		return w, nil
	}
	if m == mtu {
		if err := w.offloadsOff(); err != nil {
			w.close()
			return nil, err
		}
	}
	reach := func() error { return w.reach(m) }
	if m == web {
		reach = w.serveWeb
	}
	err := reach()
	if err == nil && m == shared {
		err = w.secondTenant()
	}
	if err != nil {
		w.close()
		return nil, fmt.Errorf("%s: %w", c.name(), err)
	}
	return w, nil
}

// namespaces are the world's namespaces, the contestant's first.
func (w *world) namespaces() []string {
	all := []string{w.router, w.internal, w.external}
	if w.flooder != "" {
		all = append(all, w.flooder)
	}
	if w.between != "" {
		all = append(all, w.between)
	}
	return all
}

// address gives the hosts their addresses and routes.
func (w *world) address() error {
	for _, step := range [][]string{
		{"-n", w.internal, "addr", "add", internalHost + "/24", "dev", "in"},
		{"-n", w.internal, "addr", "add", secondHost + "/24", "dev", "in"},
		{"-n", w.internal, "link", "set", "in", "up"},
		{"-n", w.internal, "route", "add", "default", "via", internalGW},
		{"-n", w.internal, "route", "add", "local", behindInside + "/16", "dev", "lo"},
		{"-n", w.external, "addr", "add", externalHost + "/24", "dev", "out"},
		{"-n", w.external, "link", "set", "out", "up"},
		{"-n", w.external, "route", "add", "172.16.0.0/12", "via", routerAddress},
		{"-n", w.external, "route", "add", "local", behindOutside + "/16", "dev", "lo"},
	} {
		if err := sh(append([]string{"ip"}, step...)...); err != nil {
			return err
		}
	}
	for _, ns := range []string{w.internal, w.external} {
		if err := in(ns, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535",
			"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"); err != nil {
			return err
		}
	}
	return nil
}

// offloadsOff has the internal host send frames of the size of the MTU, as a network card does.
func (w *world) offloadsOff() error {
	return in(w.internal, "ethtool", "-K", "in", "tso", "off", "gso", "off", "gro", "off")
}

// reach waits until packets come through, and learns the router's MAC address.
func (w *world) reach(m mode) error {
	p, to, err := w.echo(m)
	if err != nil {
		return err
	}
	defer p.stop()
	from := w.client(m)
	if _, err := w.load(from, "ping", "-to", to+":7001", "-for", "100ms"); err != nil {
		if _, err := w.load(from, "ping", "-to", to+":7001", "-for", "2s"); err != nil {
			return fmt.Errorf("the hosts do not reach each other: %w", err)
		}
	}
	if m.outbound() {
		w.routerMAC, err = neighborMAC(w.internal, internalGW)
		return err
	}
	return nil
}

func indexOf(s []string, x string) int {
	for i := range s {
		if s[i] == x {
			return i
		}
	}
	return -1
}

// echo starts the datagram server and returns the address that leads to it.
func (w *world) echo(m mode) (*process, string, error) {
	p, err := w.start(w.server(m), w.bench.self, "load", "echo", "-at", "0.0.0.0:7001")
	if err != nil {
		return nil, "", err
	}
	return p, m.target(), p.wait("ready")
}

// sink has the external host drop the IPv4 packets that arrive, before its stack sees them. It still answers ARP.
func (w *world) sink(on bool) error {
	if on == w.sunk {
		return nil
	}
	w.sunk = on
	if !on {
		return in(w.external, "nft", "delete", "table", "netdev", "sink")
	}
	return in(w.external, "nft", "add table netdev sink; "+
		"add chain netdev sink drops { type filter hook ingress device out priority 0; }; "+
		"add rule netdev sink drops meta protocol ip drop")
}

// load runs one of the traffic tools in a namespace and returns its numbers.
func (w *world) load(ns string, args ...string) ([]float64, error) {
	p, err := w.start(ns, append([]string{w.bench.self, "load"}, args...)...)
	if err != nil {
		return nil, err
	}
	return p.numbers()
}

// close ends the contestant and the namespaces.
func (w *world) close() {
	for _, p := range w.processes {
		p.stop()
	}
	for _, ns := range w.namespaces() {
		_ = exec.Command("ip", "netns", "del", ns).Run() // it may not have been made
	}
}

// A process is a program in a namespace.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error

	mu    sync.Mutex
	out   bytes.Buffer // standard output
	trace bytes.Buffer // both
	more  chan struct{}
}

// spawner starts all processes: they are to end with the thread that started
// them (PR_SET_PDEATHSIG), and that thread lives as long as the bench.
var spawner = make(chan func())

func spawnProcesses() {
	go func() {
		runtime.LockOSThread()
		for start := range spawner {
			start()
		}
	}()
}

// start runs a program in a namespace.
func (w *world) start(ns string, args ...string) (*process, error) {
	p := &process{done: make(chan struct{}), more: make(chan struct{})}
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = stdout{p}, stderr{p}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 2 * time.Second
	started := make(chan error)
	spawner <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

type stdout struct{ *process }
type stderr struct{ *process }

func (o stdout) Write(b []byte) (int, error) { return o.write(b, true) }
func (o stderr) Write(b []byte) (int, error) { return o.write(b, false) }

func (p *process) write(b []byte, out bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if out {
		p.out.Write(b)
	}
	p.trace.Write(b)
	close(p.more)
	p.more = make(chan struct{})
	return len(b), nil
}

// wait waits until the process has printed a text.
func (p *process) wait(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		p.mu.Lock()
		found, more, said := strings.Contains(p.trace.String(), text), p.more, p.trace.String()
		p.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-more:
		case <-p.done:
			return fmt.Errorf("%s ended (%v) before it said %q:\n%s", filepath.Base(p.cmd.Args[4]), p.err, text, said)
		case <-ctx.Done():
			return fmt.Errorf("%s did not say %q:\n%s", filepath.Base(p.cmd.Args[4]), text, said)
		}
	}
}

// numbers waits for the end and returns what the last line holds.
func (p *process) numbers() ([]float64, error) {
	select {
	case <-p.done:
	case <-time.After(60 * time.Second):
		p.stop()
		return nil, fmt.Errorf("%v hangs", p.cmd.Args[4:])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", p.cmd.Args[4:], p.err, p.trace.String())
	}
	lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
	var all []float64
	for _, f := range strings.Fields(lines[len(lines)-1]) {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if len(all) < 2 {
		return nil, errors.New("no numbers: " + p.trace.String())
	}
	return all, nil
}

// stop ends the process by SIGTERM, and by SIGKILL if that does not do.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// cpu is the processor time of the process so far.
func (p *process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var ticks int
	for _, k := range []int{11, 12} { // utime, stime
		n, err := strconv.Atoi(f[k])
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil
}

// rss is the memory that the process occupies, in bytes.
func (p *process) rss() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, err := strconv.Atoi(f[1])
			return float64(kb) * 1024, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// machineBusy is the processor time that the machine has used so far, in seconds.
func machineBusy() (float64, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var busy float64
	for i, s := range strings.Fields(line)[1:] {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, err
		}
		if i != 3 && i != 4 && i < 7 { // not idle, nor waiting for a disk; steal is not ours
			busy += v
		}
	}
	return busy / 100, nil
}
