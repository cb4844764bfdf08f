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
	failures             []error // of taprouter and its yardstick
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
	var add, again bool
	flag.IntVar(&b.runs, "runs", 8, "how often each contestant is measured in each row")
	flag.DurationVar(&b.time, "time", time.Second, "how long each measurement takes")
	flag.StringVar(&only, "only", ".", "measure rows that match this regular expression only")
	flag.StringVar(&who, "who", ".", "measure contestants that match this regular expression only (the kernel always)")
	flag.StringVar(&b.out, "out", "", "directory for the values, the table and the plots")
	flag.BoolVar(&add, "add", false, "keep the rows that -out has, except those that are measured now")
	flag.BoolVar(&again, "report", false, "measure nothing: make table and plots again from the values in -out")
	flag.StringVar(&b.base, "base", "", "another build of taprouter to measure beside this one")
	flag.Parse()
	var err error
	if b.only, err = regexp.Compile("(?i)" + only); err != nil {
		return err
	}
	if b.who, err = regexp.Compile("(?i)" + who); err != nil {
		return err
	}
	var older results
	if add || again {
		if b.out == "" {
			return errors.New("-add and -report need -out DIR, the directory that has the values")
		}
		if older, err = readResults(b.out); err != nil {
			return err
		}
	}
	if again {
		if len(older.Rows) == 0 {
			return fmt.Errorf("%s has no values: measure some first", filepath.Join(b.out, resultsFile))
		}
		b.results = older
		return b.report()
	}
	if err := b.prepare(); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	signal.Notify(b.interrupted, os.Interrupt, syscall.SIGTERM)
	spawnProcesses()
	b.results.Pieces = []piece{b.here()}
	for _, c := range b.contestants {
		b.results.Contestants = append(b.results.Contestants, c.name())
	}
	ended := b.compare()
	if ended == nil {
		ended = b.alone()
	}
	return b.finish(older, ended)
}

// finish reports what was measured, also if the user has ended the run.
func (b *bench) finish(older results, ended error) error {
	if len(b.results.Rows) == 0 {
		return errors.Join(append(b.failures, ended, errors.New("nothing was measured"))...)
	}
	b.results.merge(older)
	var rows []row
	for _, m := range b.measurements() {
		rows = append(rows, m.rows...)
	}
	for _, group := range []string{amongMany, inMemory, atRest, checks} {
		rows = append(rows, row{Group: group})
	}
	b.results.sort(rows)
	return errors.Join(append(b.failures, ended, b.report())...)
}

// prepare looks whether everything is there, and builds the programs.
func (b *bench) prepare() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces and devices need root: try sudo make bench (make bench-micro needs none)")
	}
	for _, tool := range []string{"ip", "ping", "iperf3", "nft", "sysctl", "ethtool", "go"} {
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
	b.contestants = []contestant{kernel{}, kernel{groOff: true}, taprouterOn{}, taprouterOn{groOff: true},
		taprouterOn{raw: true}, taprouterOn{raw: true, groOff: true}}
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
