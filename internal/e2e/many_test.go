//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// manyNetworks is a topology of so many networks with a TAP and a router each. All routers go out by one network.
func manyNetworks(n int) string {
	var b strings.Builder
	b.WriteString("[[network]]\nname = \"ext\"\nexternal = true\ndevices = [\"tap:tap-ext\"]\n" +
		"  [[network.subnet]]\n  cidr = \"10.10.0.0/16\"\n")
	for i := range n {
		fmt.Fprintf(&b, "\n[[network]]\nname = \"n%d\"\ndevices = [\"tap:t%d\"]\n  [[network.subnet]]\n"+
			"  cidr = \"172.16.%d.0/24\"\n\n[[router]]\nname = \"r%d\"\ninterfaces = [\"n%d\"]\n"+
			"gateway = { network = \"ext\", address = \"10.10.%d.%d\" }\n", i, i, i%250, i, i, 1+i/250, 1+i%250)
	}
	return b.String()
}

// silent is a space whose interfaces do not speak by themselves: the kernel would send IPv6 on each of them.
func (w *world) silent(name string) *space {
	s := w.space(name)
	s.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
	return s
}

// Start and stop take four times the processor time for four times as many networks, and not sixteen times.
func TestManyNetworksGrow(t *testing.T) {
	need(t, "sh")
	w := newWorld(t)
	s := w.silent("router")
	effort := func(n int) time.Duration {
		p := s.serve(w.file("many.toml", manyNetworks(n)))
		p.stop()
		state := p.cmd.ProcessState
		return state.UserTime() + state.SystemTime()
	}
	const few, times = 150, 4
	base := effort(1)
	var last string
	for range 3 { // others use the machine, too
		a, b := effort(few)-base, effort(few*times)-base
		last = fmt.Sprintf("%v of processor time for %d networks, %v for %d", a, few, b, few*times)
		if b < 2*times*a {
			t.Log(last)
			return
		}
	}
	t.Errorf("%s", last)
}

// spent is the processor time of all threads of the process.
func (p *process) spent(t *testing.T) (total time.Duration) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("the process has %d threads: %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		ns, _, _ := strings.Cut(string(b), " ")
		n, err := strconv.ParseInt(ns, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		total += time.Duration(n)
	}
	return total
}

// A router without traffic does nothing, however many devices it has. What a start leaves to be done later may take a
// while.
func TestManyNetworksIdle(t *testing.T) {
	need(t, "sh")
	w := newWorld(t)
	s := w.silent("router")
	p := s.serve(w.file("many.toml", manyNetworks(500)))
	const window, ticks = 3 * time.Second, 20 * time.Millisecond // two ticks of a clock of 100 Hz
	var all []time.Duration
	for range 6 {
		before := p.spent(t)
		<-time.After(window)
		all = append(all, p.spent(t)-before)
		if all[len(all)-1] <= ticks {
			t.Logf("processor time in %v each: %v", window, all)
			return
		}
	}
	t.Errorf("an idle router uses processor time in %v: %v", window, all)
}
