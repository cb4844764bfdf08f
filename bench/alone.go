package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Measurements of taprouter alone, or in a way of their own: packets among
// many connections, memory, start, idleness.

const (
	amongMany = "Packets among many connections, SNAT"
	inMemory  = "In memory, without devices"
	atRest    = "Start and rest"
	checks    = "Checks of members"
)

// alone measures what -only lets through.
func (b *bench) alone() error {
	for _, part := range []struct {
		group   string
		measure func() error
	}{{amongMany, b.among}, {inMemory, b.inMemory}, {atRest, b.atRest}, {checks, b.checks}} {
		if !b.only.MatchString(part.group) || len(b.ours()) == 0 {
			continue
		}
		if err := b.stopped(); err != nil {
			return err
		}
		if err := part.measure(); err == errInterrupted {
			return err
		} else if err != nil {
			err = fmt.Errorf("%s: %w", part.group, err)
			fmt.Fprintln(os.Stderr, err)
			b.failures = append(b.failures, err)
		}
	}
	return nil
}

// ours are taprouter on TAPs and on raw devices, as far as they are to be measured.
func (b *bench) ours() []taprouterOn {
	return slices.DeleteFunc([]taprouterOn{{}, {raw: true}}, func(c taprouterOn) bool {
		return !b.who.MatchString(c.name())
	})
}

func (b *bench) note(k row, who string, round int, v float64) {
	b.results.add(k, who, round, v)
	fmt.Fprintf(os.Stderr, "%s: %s: %s: %s %s\n", k.Group, k.Title, who, k.format(v), k.Unit)
}

// grouping writes a number with spaces between the thousands.
func grouping(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// among measures what a packet costs when it belongs to one of many established
// connections: one world for each number, all standing, measured in turn. The
// kernel's table ends at 262 144 connections by default.
func (b *bench) among() error {
	type stand struct {
		c contestant
		n int
		w *world
	}
	stands := []*stand{{kernel{}, 1000, nil}, {kernel{}, 100_000, nil}}
	for _, c := range b.ours() {
		stands = append(stands, &stand{c, 1000, nil}, &stand{c, 100_000, nil}, &stand{c, 1_000_000, nil})
	}
	defer func() {
		for _, s := range stands {
			if s.w != nil {
				s.w.close()
			}
		}
	}()
	for _, s := range stands {
		var err error
		if s.w, err = b.newWorld(s.c, snat); err != nil {
			return err
		}
		if err := b.fill(s.w, s.c, s.n); err != nil {
			return err
		}
	}
	for round := range b.runs {
		first := map[string]float64{}
		for _, s := range stands {
			if err := b.stopped(); err != nil {
				return err
			}
			v, err := b.flood(s.w, b.time, manyFlows(s.n, "-for", (b.time+300*time.Millisecond).String())...)
			if err != nil {
				return err
			}
			k := row{Group: amongMany, Title: grouping(s.n) + " connections", Unit: "ns", Lower: true}
			b.note(k, s.c.name(), round, 1e9/v)
			if s.n == 1000 {
				first[s.c.name()] = v
			} else {
				k.Title, k.Unit, k.Digits, k.Ratio = grouping(s.n)+" over 1 000", "", 2, true
				b.note(k, s.c.name(), round, first[s.c.name()]/v)
			}
		}
	}
	return nil
}

// manyFlows are the flags for packets of n connections of 64 hosts.
func manyFlows(n int, more ...string) []string {
	return append([]string{"-src", "172.30.0.1", "-sources", "64", "-dst", behindOutside, "-flows", strconv.Itoa(n)},
		more...)
}

// fill establishes n connections, slowly enough for every packet to come through; more slowly if that was too fast for
// the machine.
func (b *bench) fill(w *world, c contestant, n int) error {
	var before float64
	ours := len(w.processes) > 0
	if ours {
		var err error
		if before, err = w.processes[0].rss(); err != nil {
			return err
		}
	}
	if err := w.sink(true); err != nil {
		return err
	}
	got := 0
	for _, rate := range []int{50_000, 20_000} {
		fmt.Fprintf(os.Stderr, "%s: %s: establishing %s connections\n", amongMany, c.name(), grouping(n))
		var err error
		if got, err = b.establish(w, n, rate); err != nil {
			return err
		}
		if got >= n*97/100 {
			break
		}
	}
	if got < n*97/100 {
		return fmt.Errorf("%s: only %d of %d connections are established", c.name(), got, n)
	}
	if ours && n >= 1_000_000 {
		after, err := w.processes[0].rss()
		if err != nil {
			return err
		}
		b.note(row{Group: amongMany, Title: "memory of one, " + grouping(n) + " (resident)", Unit: "B", Lower: true},
			c.name(), 0, (after-before)/float64(n))
	}
	return nil
}

// establish sends a packet of each of n connections, so many a second, and returns how many were answered.
func (b *bench) establish(w *world, n, rate int) (int, error) {
	answer, err := w.start(w.external, b.self, "load", "established", "-dev", "out")
	if err != nil {
		return 0, err
	}
	defer answer.stop()
	if err := answer.wait("ready"); err != nil {
		return 0, err
	}
	if _, err := w.load(w.internal, append([]string{"frames", "-dev", "in", "-mac", w.routerMAC},
		manyFlows(n, "-total", strconv.Itoa(n), "-rate", strconv.Itoa(rate), "-for", "1m")...)...); err != nil {
		return 0, err
	}
	select {
	case <-answer.done:
	case <-time.After(20 * time.Second):
		return 0, errors.New("the answers do not end")
	}
	got, err := strconv.Atoi(strings.TrimSpace(answer.out.String()))
	if err != nil {
		return 0, fmt.Errorf("%w\n%s", err, answer.trace.String())
	}
	return got, nil
}

// inMemory runs the pipeline's own benchmark, with up to ten million connections.
func (b *bench) inMemory() error {
	fmt.Fprintf(os.Stderr, "%s: up to ten million connections, which takes a while and 2 GB\n", inMemory)
	for round := range b.few() {
		if err := b.stopped(); err != nil {
			return err
		}
		cmd := exec.Command("go", "test", "-run", "^$", "-bench", "ForwardAmong", "-benchtime", "3000000x", "./router")
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "TAPROUTER_BENCH_MOST=10000000")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			if name, rest, ok := strings.Cut(line, "-"); ok && strings.HasPrefix(name, "BenchmarkForwardAmong/") {
				if err := b.noteAmong(strings.TrimPrefix(name, "BenchmarkForwardAmong/"), round,
					strings.Fields(rest)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// noteAmong takes the values of one line of the benchmark's output.
func (b *bench) noteAmong(connections string, round int, fields []string) error {
	n, err := strconv.Atoi(connections)
	if err != nil {
		return err
	}
	who := taprouterOn{}.name()
	for i := 2; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return err
		}
		switch k := (row{Group: inMemory, Title: grouping(n) + " connections", Lower: true}); fields[i+1] {
		case "ns/op":
			k.Unit = "ns"
			b.note(k, who, round, v)
		case "B/conn":
			k.Title, k.Unit = "memory of one of "+grouping(n), "B"
			if n > 1000 {
				b.note(k, who, round, v)
			}
		case "ms-pause":
			k.Title, k.Unit, k.Digits = "longest pause of the garbage collector, "+grouping(n), "ms", 2
			b.note(k, who, round, v)
		case "ms-stall":
			k.Title, k.Unit, k.Digits = "longest time without a packet, "+grouping(n), "ms", 2
			b.note(k, who, round, v)
		}
	}
	return nil
}

// atRest measures how long a large topology takes to start, and what the router
// uses when nothing happens.
func (b *bench) atRest() error {
	for round := range b.runs {
		if err := b.stopped(); err != nil {
			return err
		}
		w, err := b.newWorld(bare{}, snat)
		if err != nil {
			return err
		}
		d, err := b.startLarge(w)
		w.close()
		if err != nil {
			return err
		}
		b.note(row{Group: atRest, Title: "start with 1 000 floating IPs and 1 000 VIPs", Unit: "ms", Lower: true},
			taprouterOn{}.name(), round, d.Seconds()*1e3)
		if err := b.idle(round); err != nil {
			return err
		}
	}
	return nil
}

// bare is a world with hosts' devices, but without a router between them.
type bare struct{}

func (bare) name() string { return "nobody" }

func (bare) start(w *world, _ mode) error { return w.veths() }

// startLarge measures the time from the program's start to its word.
func (b *bench) startLarge(w *world) (time.Duration, error) {
	var s strings.Builder
	s.WriteString(`
[[network]]
name = "tenant"
devices = ["tap:large-in"]
  [[network.subnet]]
  cidr = "172.16.0.0/16"
[[network]]
name = "ext_net"
external = true
devices = ["tap:large-out"]
  [[network.subnet]]
  cidr = "10.10.0.0/16"
  gateway = "10.10.255.254"
[[router]]
name = "router"
interfaces = ["tenant"]
gateway = { network = "ext_net", address = "10.10.0.2" }
`)
	for i := range 1000 {
		fmt.Fprintf(&s, "[[floating_ip]]\nnetwork = \"ext_net\"\naddress = \"10.10.%d.%d\"\n"+
			"fixed_ip = \"172.16.%d.%d\"\n", 1+i/250, 1+i%250, 1+i/250, 1+i%250)
		fmt.Fprintf(&s, "[[pool]]\nname = \"p%d\"\nprotocol = \"TCP\"\n", i)
		for k := range 10 {
			fmt.Fprintf(&s, "  [[pool.member]]\n  name = \"m%d\"\n  address = \"172.16.%d.%d\"\n  port = 80\n", k,
				100+k, 1+i%250)
		}
		fmt.Fprintf(&s, "[[vip]]\nname = \"v%d\"\nnetwork = \"tenant\"\naddress = \"172.16.%d.%d\"\n"+
			"protocol = \"TCP\"\nport = 80\npool = \"p%d\"\n", i, 200+i/250, 1+i%250, i)
	}
	file := filepath.Join(b.dir, "large.toml")
	if err := os.WriteFile(file, []byte(s.String()), 0o644); err != nil {
		return 0, err
	}
	start := time.Now()
	err := w.serve("ready", b.taprouter, "run", file)
	return time.Since(start), err
}

// idle measures the router's processor time after some traffic, on TAPs and on raw devices at once: there is nothing in
// which they could disturb each other.
func (b *bench) idle(round int) error {
	var worlds []*world
	defer func() {
		for _, w := range worlds {
			w.close()
		}
	}()
	for _, c := range b.ours() {
		w, err := b.newWorld(c, snat)
		if err != nil {
			return err
		}
		worlds = append(worlds, w)
		if _, err := b.latency(snat).run(w); err != nil {
			return err
		}
	}
	time.Sleep(time.Second)
	var before []time.Duration
	for _, w := range worlds {
		used, err := w.processes[0].cpu()
		if err != nil {
			return err
		}
		before = append(before, used)
	}
	time.Sleep(5 * time.Second)
	for i, c := range b.ours() {
		after, err := worlds[i].processes[0].cpu()
		if err != nil {
			return err
		}
		b.note(row{Group: atRest, Title: "processor time in 5 idle seconds, after traffic", Unit: "ms", Lower: true},
			c.name(), round, (after-before[i]).Seconds()*1e3)
	}
	return nil
}
