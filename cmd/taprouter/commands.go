package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/lab"
	"github.com/taprouter/taprouter/router"
)

type runCmd struct {
	File           string `arg:"" help:"Topology file (TOML); - is standard input."`
	RequireDevices bool   `help:"End with an error if a device does not exist yet, instead of opening it when it comes."`
	AllowNetns     bool   `help:"Keep the right to enter network namespaces (CAP_SYS_ADMIN) though no device names one."`

	PhysicalNetwork []labelledDevice `placeholder:"LABEL:DEVICE" help:"Devices of physical networks, as [[physical_network]] in the file: flat1:eth1,flat2:tap:tap2. A name alone is an interface that exists (raw:eth1)."`

	stateFlags
	apiFlags

	args []string // the whole command line
}

// Help tells what signals do.
func (*runCmd) Help() string {
	return "SIGHUP reloads the file: what has changed in it is logged and done, and nothing else is disturbed. " +
		"A file with faults is refused as a whole, and the router goes on as before. " +
		"`taprouter check --diff OLD NEW` shows beforehand what changes. SIGTERM and SIGINT end the router."
}

// Run serves a topology until the context ends.
func (c *runCmd) Run(ctx context.Context, std streams, log *slog.Logger, level *slog.LevelVar) error {
	crashBySignal()
	collectRarely()
	ctx, service := newService(ctx)
	defer service.stop()
	ctx, begin := context.WithCancelCause(ctx)
	defer begin(nil)
	program := programPath(os.Args[0])
	former := leftBefore(log)
	f, err := openWith(c.File, physicalNetworks(c.PhysicalNetwork), std)
	if err != nil {
		return err
	}
	kept, err := c.keep(ctx, f, log)
	if err != nil {
		return err
	}
	defer kept.close(log)
	topo, state := f.Topology(), kept.own.State()
	warn(topo.Warnings, log)
	if n := len(topo.Instances) + len(topo.Steps); n > 0 {
		log.Info("instances and steps are for `taprouter lab`, ignored here", "instances", len(topo.Instances), "steps",
			len(topo.Steps))
	}
	api, err := c.open(former.doors, log)
	if err != nil {
		return err
	}
	defer api.Close()
	rights := newRights(topo, c.AllowNetns)
	changed := make(chan struct{}, 1)
	service.opening.Store(true)
	if refused := router.Unsupported(state).Errors(); len(refused) > 0 {
		faults, _ := f.Faults(refused)
		return faults
	}
	saved := c.snapshots(log)
	defer saved.close()
	options := router.Options{
		Logger: log, Open: rights.opener(router.OpenDevice(log)), RequireDevices: c.RequireDevices, Clock: time.Now,
		KeepTables: true, LeaseKeeper: kept.keeper, Leases: kept.leases, Project: neutron.DefaultProject,
		OnMissing: func([]string) {
			select {
			case changed <- struct{}{}:
			default: // it will be looked at anyway
			}
		},
	}
	former.restore(&options, saved)
	engine, err := router.Start(state, options)
	if err != nil {
		return err
	}
	if err := rights.giveUp(log); err != nil {
		_ = engine.Close() // the first error is the one to tell
		return err
	}
	p := newProcess(engine, kept.own, newKeeper(former, toManager(), os.Getenv("FDSTORE"), log), level, log)
	defer p.stop()
	p.upgrade = &upgrade{program: program, args: c.args, begin: begin, may: p.mayGoOn, log: log}
	p.reload = &reloader{path: c.File, more: physicalNetworks(c.PhysicalNetwork), own: kept.own,
		mayOpen: rights.mayOpen, also: api.Reload, log: log}
	if err := kept.own.Serve(ctx, p.control); err != nil {
		_ = engine.Close()
		return err
	}
	service.started.Store(true)
	c.serve(api, p)
	if !kept.own.Keeps() {
		log.Info("what programs change at run time is not kept over a restart; --state-dir DIR keeps it")
	}
	missing := engine.Missing()
	ready := []any{"networks", len(topo.Networks), "routers", len(topo.Routers), "floating_ips", len(topo.FloatingIPs),
		"vips", len(topo.VIPs), "devices", len(engine.Stats().Devices)}
	if len(missing) > 0 {
		ready = append(ready, "missing", missing)
	}
	log.Info("ready", ready...)
	told := routingStatus(missing)
	former.went(log)
	notify(log, "READY=1\n"+told)
	p.keeper.serve(engine.Descriptors, former.stale)
	saved.serve(engine.SaveConnections, snapshotEvery)
	go watchdog(ctx, log, p.alive)
	p.reload.serve(ctx, service.reloads, changed, func() string { return routingStatus(engine.Missing()) }, told)
	upgrading := context.Cause(ctx) == errUpgrade
	doors := map[string]*os.File{}
	if upgrading {
		if doors, err = api.HandOver(); err != nil {
			log.Warn("the new program opens the API anew", "err", err)
		}
	}
	api.Close()
	p.keeper.stop()
	saved.stop()
	if upgrading {
		l := &leaving{upgrade: p.upgrade, engine: engine, keeper: p.keeper, doors: doors,
			close: func() { kept.close(log) }}
		return errors.Join(l.leave(), engine.Close())
	}
	saved.save(engine.SaveConnections)
	stats := engine.Stats()
	log.Info("stopping", "received", stats.Received, "forwarded", stats.Forwarded, "dropped", stats.Dropped(),
		"drops", drops(stats.Drops), "lost", lost(stats.Devices))
	return engine.Close()
}

// statusMost is how many devices a status line names.
const statusMost = 10

// routingStatus is what the service manager shows of a router that runs.
func routingStatus(missing []string) string {
	switch n := len(missing); {
	case n == 0:
		return "STATUS=routing"
	case n > statusMost:
		return fmt.Sprintf("STATUS=routing; missing: %s and %d more", strings.Join(missing[:statusMost], " "),
			n-statusMost)
	}
	return "STATUS=routing; missing: " + strings.Join(missing, " ")
}

// drops lists the reasons of drops, the most frequent first.
func drops(counts map[router.DropReason]uint64) string {
	reasons := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(reasons, func(a, b router.DropReason) int { return cmp.Compare(counts[b], counts[a]) })
	return names(reasons, func(r router.DropReason) string { return fmt.Sprintf("%v:%d", r, counts[r]) })
}

// lost is how many frames the devices have not taken.
func lost(devices []router.DeviceStats) (n uint64) {
	for _, d := range devices {
		n += d.Lost
	}
	return n
}

// names joins the names of things.
func names[T any](things []T, name func(T) string) string {
	var all []string
	for _, t := range things {
		all = append(all, name(t))
	}
	return strings.Join(all, " ")
}

// summarize prints what a topology describes, defaults included.
func summarize(w io.Writer, topo *file.Topology) {
	for i := range topo.Networks {
		n := &topo.Networks[i]
		kind := "network"
		if n.External {
			kind = "external network"
		}
		fmt.Fprintf(w, "%s %s: %s; devices %s\n", kind, n.Name,
			orNone(names(n.Subnets, func(s file.Subnet) string { return s.CIDR.String() })),
			orNone(names(n.Devices, file.Device.String)))
	}
	for i := range topo.Routers {
		summarizeRouter(w, &topo.Routers[i])
	}
	for i := range topo.FloatingIPs {
		f := &topo.FloatingIPs[i]
		switch {
		case f.FixedIP.IsValid():
			fmt.Fprintf(w, "floating IP %v <-> %v by %s\n", f.Address, f.FixedIP, f.Router)
		case len(f.PortForwarding) > 0:
			for _, p := range f.PortForwarding {
				fmt.Fprintf(w, "floating IP %v port %d/%s -> %v by %s\n", f.Address, p.ExternalPort,
					strings.ToLower(string(p.Protocol)), netip.AddrPortFrom(p.FixedIP, p.Port), f.Router)
			}
		default:
			fmt.Fprintf(w, "floating IP %v, not associated\n", f.Address)
		}
	}
	for i := range topo.VIPs {
		v := &topo.VIPs[i]
		fmt.Fprintf(w, "VIP %s %v/%s -> pool %q by %s\n", v.Name, netip.AddrPortFrom(v.Address, v.Port),
			strings.ToLower(string(v.Protocol)), v.Pool, v.Router)
	}
	if len(topo.Steps) > 0 {
		fmt.Fprintf(w, "lesson: %d instances, %d steps\n", len(topo.Instances), len(topo.Steps))
	}
}

func summarizeRouter(w io.Writer, r *file.Router) {
	fmt.Fprintf(w, "router %s:", r.Name)
	for _, i := range r.Interfaces {
		fmt.Fprintf(w, " %s %s;", i.Network, names(i.Addresses, netip.Prefix.String))
	}
	if g := r.Gateway; g != nil {
		snat := "no SNAT"
		if g.SNAT {
			snat = "SNAT"
			if len(g.SNATAddresses) > 0 {
				snat += " by " + names(g.SNATAddresses, file.AddressRange.String)
			}
		}
		fmt.Fprintf(w, " gateway %s %v, %s;", g.Network, g.Prefix, snat)
	}
	for _, route := range r.Routes {
		fmt.Fprintf(w, " %v via %v;", route.Destination, route.NextHop)
	}
	fmt.Fprintln(w)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

type labCmd struct {
	Files    []string `arg:"" name:"file" help:"Lessons (TOML) or directories: all *.toml there that have steps, by name."`
	FailFast bool     `help:"End at the first step that fails."`

	passedOver int // lessons in directories that the router cannot serve yet
}

// Run plays lessons, one after the other. All files are read, and found to be
// without faults, before the first one is played.
func (c *labCmd) Run(ctx context.Context, std streams, log *slog.Logger, cli *cli) error {
	lessons, err := c.load(log)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	if cli.LogLevel >= slog.LevelInfo {
		log = nil // the lesson is the output; --log-level debug shows the router's own words
	}
	opt := lab.Options{Out: std.out, Color: isTerminal(std.out), Logger: log, FailFast: c.FailFast}
	if len(lessons) == 1 {
		return lab.Run(ctx, lessons[0], opt)
	}
	played, rest := 0, ""
	if c.passedOver > 0 {
		rest = fmt.Sprintf("; %d not played", c.passedOver)
	}
	var failed []string
	for _, topo := range lessons {
		fmt.Fprintf(std.out, "== %s\n\n", topo.File)
		err := lab.Run(ctx, topo, opt)
		fmt.Fprintln(std.out)
		played++
		if err != nil && !errors.Is(err, lab.ErrUnexpected) {
			return err
		}
		if err != nil {
			failed = append(failed, topo.File)
		}
		if err != nil && c.FailFast {
			break
		}
	}
	if len(failed) == 0 {
		fmt.Fprintf(std.out, "%d lessons, all as expected%s\n", played, rest)
		return nil
	}
	fmt.Fprintf(std.out, "%d of %d lessons FAILED: %s%s\n", len(failed), played, strings.Join(failed, ", "), rest)
	return lab.ErrUnexpected
}

// load reads all lessons. It takes the files of a directory in the order of their names.
func (c *labCmd) load(log *slog.Logger) ([]*file.Topology, error) {
	var lessons []*file.Topology
	var faults file.Faults
	for _, path := range c.Files {
		files, inDirectory, err := lessonFiles(path)
		if err != nil {
			return nil, err
		}
		found := 0
		for _, name := range files {
			topo, err := c.loadOne(name, inDirectory, log)
			var more file.Faults
			switch {
			case errors.As(err, &more):
				faults = append(faults, more...)
			case err != nil:
				return nil, err
			case topo != nil:
				lessons = append(lessons, topo)
			}
			if topo != nil || err != nil {
				found++
			}
		}
		if found == 0 {
			return nil, fmt.Errorf("%s: no lesson is in it: a lesson is a file *.toml with [[step]]", path)
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return lessons, nil
}

// loadOne reads a lesson. In a directory a file may be something else: without steps,
// or with what only check understands so far. It is passed over then.
func (c *labCmd) loadOne(name string, inDirectory bool, log *slog.Logger) (*file.Topology, error) {
	topo, err := file.Load(name)
	if err != nil {
		return nil, err
	}
	if inDirectory && len(topo.Steps) == 0 {
		return nil, nil
	}
	state, err := topo.State()
	if err != nil {
		return nil, err
	}
	if refused := lab.Unsupported(state); inDirectory && len(refused) > 0 {
		log.Warn("not played", "file", name, "reason", topo.Faults(refused)[0].String())
		c.passedOver++
		return nil, nil
	}
	warn(topo.Warnings, log)
	if faults := lab.CheckLesson(topo); len(faults) > 0 {
		return nil, faults
	}
	return topo, nil
}

// lessonFiles lists the files that a path stands for.
func lessonFiles(path string) (files []string, inDirectory bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, err
	}
	if !info.IsDir() {
		return []string{path}, false, nil
	}
	entries, err := os.ReadDir(path) // sorted
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".toml" {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files, true, err
}

type versionCmd struct{}

// version is set when the binary is built from a tagged tree (see Makefile).
var version = ""

// Run prints the version, and what it was built with.
func (versionCmd) Run(std streams) error {
	fmt.Fprintln(std.out, versionLine())
	return nil
}

// versionFlag is --version: it does what the command does, whatever else is asked for.
type versionFlag bool

// BeforeReset is kong's hook for flags that come before everything.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	fmt.Fprintln(app.Stdout, versionLine())
	app.Exit(exitOK)
	return nil
}

func versionLine() string {
	v, revision := version, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" && info.Main.Version != "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return fmt.Sprintf("taprouter %s%s %s %s/%s", v, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
