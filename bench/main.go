// The benchmarks compare taprouter with the kernel's own forwarding and NAT,
// and with other userspace routers, on this machine, in one run, alternating.
// README.md says how to read what comes out.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/bench/load"
)

// A bench is one run of the program.
type bench struct {
	runs      int
	time      time.Duration
	only      *regexp.Regexp
	who       *regexp.Regexp
	out, base string
	defaultCC string

	self, dir, taprouter string
	worlds               int
	contestants          []contestant
	results              results
	interrupted          chan os.Signal
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "load" {
		os.Exit(load.Main(os.Args[2:]))
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	b := &bench{interrupted: make(chan os.Signal, 1)}
	var only, who string
	flag.IntVar(&b.runs, "runs", 5, "how often each contestant is measured in each row")
	flag.DurationVar(&b.time, "time", 2*time.Second, "how long each measurement takes")
	flag.StringVar(&only, "only", ".", "measure rows that match this regular expression only")
	flag.StringVar(&who, "who", ".", "measure contestants that match this regular expression only (the kernel always)")
	flag.StringVar(&b.out, "out", "", "directory for the table and the plots")
	flag.StringVar(&b.base, "base", "", "another build of taprouter to measure beside this one")
	flag.Parse()
	var err error
	if b.only, err = regexp.Compile("(?i)" + only); err != nil {
		return err
	}
	if b.who, err = regexp.Compile("(?i)" + who); err != nil {
		return err
	}
	if err := b.prepare(); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	signal.Notify(b.interrupted, os.Interrupt, syscall.SIGTERM)
	spawnProcesses()
	if err := b.compare(); err != nil {
		return err
	}
	if err := b.alone(); err != nil {
		return err
	}
	return b.report()
}

// prepare looks whether everything is there, and builds the programs.
func (b *bench) prepare() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces and devices need root: try sudo make bench (make bench-micro needs none)")
	}
	for _, tool := range []string{"ip", "ping", "iperf3", "nft", "sysctl", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is missing: make test-deps installs it", tool)
		}
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "taprouter-bench"); err != nil {
		return err
	}
	cc, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		return err
	}
	b.defaultCC = strings.TrimSpace(string(cc))
	fmt.Fprintln(os.Stderr, "building taprouter and its peers")
	if err := b.build(); err != nil {
		return err
	}
	b.contestants = []contestant{kernel{}, taprouterOn{}, taprouterOn{raw: true}}
	if b.base != "" {
		b.contestants = append(b.contestants, taprouterOn{base: b.base}, taprouterOn{base: b.base, raw: true})
	}
	if ovsInstalled() {
		b.contestants = append(b.contestants, ovs{})
	}
	if haproxyInstalled() {
		b.contestants = append(b.contestants, haproxy{})
	}
	for _, p := range []peer{{"gvisor", "gVisor netstack"}, {"plain", "water + gopacket"}} {
		if _, err := os.Stat(filepath.Join(b.dir, p.program)); err == nil {
			b.contestants = append(b.contestants, p)
		}
	}
	return nil
}

// compare runs every measurement for every contestant, in turn, again and again.
func (b *bench) compare() error {
	b.results = results{}
	var list []measurement
	for _, m := range b.measurements() {
		if b.only.MatchString(m.String()) {
			list = append(list, m)
		}
	}
	p := &progress{total: len(list) * b.runs * len(b.contestants), start: time.Now()}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].mode == list[0].mode {
			n++
		}
		if err := b.compareMode(list[:n], p); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// compareMode takes the measurements of one mode. Each contestant has a world of its own all the
// time; the worlds that are not measured are idle.
func (b *bench) compareMode(list []measurement, p *progress) error {
	worlds := map[contestant]*world{}
	defer func() {
		for _, w := range worlds {
			w.close()
		}
	}()
	for _, m := range list {
		for range b.runs {
			for _, c := range b.contestants {
				select {
				case <-b.interrupted:
					return errors.New("interrupted")
				default:
				}
				if _, isKernel := c.(kernel); !isKernel && !b.who.MatchString(c.name()) || m.skip != nil && m.skip(c) ||
					m.skip == nil && !routes(c) {
					p.total--
					continue
				}
				if err := b.measure(m, c, worlds, p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// measure takes one value. What a contestant cannot do is said, and left out.
func (b *bench) measure(m measurement, c contestant, worlds map[contestant]*world, p *progress) error {
	w := worlds[c]
	if w == nil || m.fresh {
		var err error
		if w, err = b.newWorld(c, m.mode); err != nil {
			if !isOther(c) {
				return err
			}
			p.done(c, m, nil, err)
			return nil
		}
		if m.fresh {
			defer w.close()
		} else {
			worlds[c] = w
		}
	}
	values, err := m.run(w)
	p.done(c, m, values, err)
	if err != nil {
		if !isOther(c) {
			return fmt.Errorf("%s: %s: %w", c.name(), m, err)
		}
		return nil
	}
	for i, v := range values {
		b.results.add(m.rows[i], c.name(), v)
	}
	return nil
}

// routes reports whether a contestant is a router, and not only a balancer.
func routes(c contestant) bool {
	_, only := c.(haproxy)
	return !only
}

// isOther reports whether a contestant may fail without the run being in vain.
func isOther(c contestant) bool {
	switch c.(type) {
	case peer, ovs, haproxy:
		return true
	}
	return false
}

// progress tells how far the run is.
type progress struct {
	n, total int
	start    time.Time
}

func (p *progress) done(c contestant, m measurement, values []float64, err error) {
	p.n++
	left := time.Duration(float64(time.Since(p.start)) / float64(p.n) * float64(p.total-p.n)).Round(time.Second)
	said := fmt.Sprint(err)
	if err == nil {
		var parts []string
		for i, v := range values {
			parts = append(parts, m.rows[i].format(v)+" "+m.rows[i].unit)
		}
		said = strings.Join(parts, ", ")
	}
	fmt.Fprintf(os.Stderr, "[%d/%d, %v left] %s, %s: %s: %s\n", p.n, p.total, left, m.rows[0].group, m.rows[0].title,
		c.name(), said)
}
