// Package router runs virtual routers: networks that switch, routers between
// them that resolve, route, translate and balance, and the devices that join
// them to the world.
//
// An Engine serves one topology. Start opens its devices, or none when it is
// embedded in a test; Attach gives an in-memory port on a network, which
// router/host turns into a host with plain net.Conns. Everything that happens to
// a packet is in forward.go, stage by stage. AssociateFloatingIP, SetMember and
// their like change a running engine, and settle the connections that are concerned.
// ARCHITECTURE.md has the whole picture.
//
// Methods of Engine may be called from any goroutine. Nothing is global:
// engines are independent of each other, and Close leaves nothing behind.
package router

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/monitor"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// Options are the settings of an Engine that are not in its topology.
type Options struct {
	// Logger receives what happens, once each: nil discards it.
	Logger *slog.Logger
	// Open opens the devices of the topology, as OpenDevice's result does. nil
	// opens none: networks are reached through Attach. A device with a method MTU() int
	// limits what its network carries; one with SetMTU(int) error is told the network's MTU.
	Open func(config.Device) (tap.Device, error)
	// RequireDevices has Start fail when a device does not exist yet (Open returns
	// tap.ErrMissing). Without it, Start goes on without the device, which is opened
	// when it comes. All other errors of Open end Start in any case.
	RequireDevices bool
	// OnMissing, unless nil, is called with the names of all missing devices each time that
	// these change, also at the start; see Engine.Missing. Calls come one at a time, from a
	// goroutine of the engine. OnMissing owns the slice. It must not call Close, which waits
	// for the last call.
	OnMissing func(devices []string)
	// Seed makes everything that is chosen at random the same each time; 0
	// takes a random seed. Ports of a seeded engine can be guessed.
	Seed uint64
	// Clock tells the time of the day, for packets that ask for it by the Internet timestamp
	// option (RFC 791). time.Now is one. Several goroutines call it, on the path of such packets
	// only, so it must not block. nil: the option records the time since the start, with the
	// mark that it is not the time of the day.
	Clock func() time.Time
}

// An Engine is a topology being served.
type Engine struct {
	workers      []*shard
	networks     map[string]*network
	control      control
	reopen       *reopener
	unwatchLinks func()
	close        sync.Once
	bubble       bool // it was started in a testing/synctest bubble

	checkHosts   []*host.Host // where the checks of members come from, a router's each
	checkWorkers *monitor.Workers
	checkKey     [2]uint64 // what the times of checks come from
}

// Start serves a State: file.Open and Topology.State make one of a topology file, config.Empty().Edit one by hand. It
// returns when every existing device is open and up. A device that does not exist yet is opened when it comes; Missing
// names it until then. If the State asks for something that the engine cannot do, the error is a config.Faults.
func Start(s *config.State, opt Options) (*Engine, error) {
	if faults := Unsupported(s); len(faults) > 0 {
		return nil, faults
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	devices := opt.Open != nil && anyDevice(s)
	e, p, err := newEngine(s, opt.Logger, newRand(opt.Seed), s.Settings().Engine.Workers, devices, true)
	if err != nil {
		return nil, err
	}
	if opt.Open != nil {
		e.reopen = newReopener(opt.Logger, opt.OnMissing)
		for _, w := range e.workers {
			w.reopener = e.reopen
		}
		e.watchLinks(s, opt.Logger)
		if err := e.openDevices(s, &opt); err != nil {
			e.discard()
			return nil, err
		}
	}
	for _, w := range e.workers {
		w.day = opt.Clock
		go w.run()
	}
	for _, n := range slices.Concat(p.networks, p.internal) {
		n.announce()
	}
	if err := e.startChecks(); err != nil {
		_ = e.Close() // the first error is the one to tell
		return nil, err
	}
	return e, nil
}

// newEngine builds a State's networks and routers and gives them to at most so
// many workers, 0: as many as the machine has use for. The workers do not run yet.
func newEngine(s *config.State, log *slog.Logger, rng *rand.Rand, workers int, devices, checks bool) (*Engine,
	*plan, error) {
	p, err := build(s, rng, checks)
	if err != nil {
		return nil, nil, err
	}
	e := &Engine{networks: map[string]*network{}, bubble: host.InBubble()}
	for range p.workersFor(workers) {
		w, err := newWorker(log, devices)
		if err != nil {
			e.discard()
			return nil, nil, err
		}
		w.busyPoll = s.Settings().Engine.BusyPoll
		e.workers = append(e.workers, &shard{worker: w})
	}
	p.assign(e.workers)
	for _, n := range p.networks {
		e.networks[n.name] = n
	}
	e.control.plan = p
	e.checkKey = [2]uint64{rng.Uint64(), rng.Uint64()}
	return e, p, nil
}

// discard takes back what has been made before the workers run.
func (e *Engine) discard() {
	e.stopOpening()
	for _, w := range e.workers {
		w.stop()
		w.wait.close()
	}
}

// split returns a generator of its own for somebody else, who may be on another
// worker.
func split(rng *rand.Rand) *rand.Rand {
	var key [32]byte
	for i := 0; i < len(key); i += 8 {
		binary.LittleEndian.PutUint64(key[i:], rng.Uint64())
	}
	return rand.New(rand.NewChaCha8(key))
}

// newRand returns the generator that all others come from: of the operating system's
// randomness, or of a seed. Who sees ports and identifiers must not be able to tell
// the next ones (RFC 6056, 3.3), so the generators are cryptographic ones.
func newRand(seed uint64) *rand.Rand {
	var key [32]byte
	if seed == 0 {
		_, _ = crand.Read(key[:]) // never fails
	} else {
		binary.LittleEndian.PutUint64(key[:], seed)
	}
	return rand.New(rand.NewChaCha8(key))
}

func anyDevice(s *config.State) bool {
	for n := range s.Networks() {
		if len(s.DevicesOf(n.ID)) > 0 {
			return true
		}
	}
	return false
}

// Missing returns the names of the topology's devices that are not open at this moment,
// in alphabetical order. Such a device does not exist yet, or has been lost. The caller owns
// the slice. It may be called from any goroutine. After Close it returns nothing.
func (e *Engine) Missing() []string {
	if e.reopen == nil {
		return nil
	}
	return e.reopen.missing()
}

// openDevices opens every device of the topology, and reports all that fail. What does
// not exist yet is opened later, unless it is required.
func (e *Engine) openDevices(s *config.State, opt *Options) error {
	var errs []error
	var late []func()
	for n := range s.Networks() {
		for _, spec := range s.DevicesOf(n.ID) {
			spec.HostOpen = n.Host == config.HostOpen
			on, l := e.networks[n.Name], linkOf(spec, opt.Open)
			dev, err := opt.Open(spec)
			if errors.Is(err, tap.ErrMissing) && !opt.RequireDevices {
				on.addPort(l)
				late = append(late, func() { l.await(&on.home.turn, err) })
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("network %q: %w", n.Name, err))
				if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) ||
					errors.Is(err, syscall.EMFILE) {
					return errors.Join(errs...) // a missing right or tun module, or too many files: once is enough
				}
				continue
			}
			setMTU(dev, n.MTU, opt.Logger)
			if err := checkMTU(dev, n.MTU); err != nil {
				_ = dev.Close() // the first error is the one to tell
				errs = append(errs, fmt.Errorf("network %q: %w", n.Name, err))
				continue
			}
			on.plugIn(l, dev)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	for _, await := range late {
		await()
	}
	return nil
}

// Attach adds a port to a network and returns its far end, an in-memory device:
// what is written there arrives on the network, what the network sends there
// can be read. accepts says which offloaded frames the caller can take; without
// any it gets plain frames with finished checksums. Closing the device takes
// the port away.
func (e *Engine) Attach(network string, accepts tap.Features) (tap.Device, error) {
	n := e.networks[network]
	if n == nil {
		return nil, fmt.Errorf("router: attach to network %q: no such network", network)
	}
	if host.InBubble() != e.bubble {
		return nil, fmt.Errorf("router: attach to network %q: "+
			"the engine was started on the other side of a synctest bubble: "+
			"start it, and attach, in the function that synctest.Test calls", network)
	}
	var far tap.Device
	err := n.home.call(func() {
		var near tap.Device
		n.attached++
		name := fmt.Sprintf("%s#%d", network, n.attached)
		near, far = tap.Pipe("pipe:"+name, "pipe:"+name+"/far", tap.PipeOptions{A: allFeatures, B: accepts})
		n.plugIn(&link{memory: true, name: near.Name()}, near)
	})
	if err != nil {
		return nil, fmt.Errorf("router: attach to network %q: %w", network, err)
	}
	return far, nil
}

// allFeatures is what the router itself takes.
const allFeatures = tap.FeatureChecksum | tap.FeatureTSO4 | tap.FeatureTSO6 | tap.FeatureUSO

// Stats returns a copy of the counters; zero after Close. Each worker gives its
// own, one after the other.
func (e *Engine) Stats() Stats {
	t := tally{Stats: Stats{Drops: map[DropReason]uint64{}}}
	for _, w := range e.workers {
		if w.call(func() { t.add(w) }) != nil {
			return Stats{} // after Close there is nothing to count
		}
	}
	return t.stats()
}

// walkStep is how many connections a worker looks at for Connections before it goes on with its packets.
const walkStep = 1 << 10

// Connections returns a copy of every router's connection table; nothing after Close. The workers
// go on with their packets meanwhile, so the copy of a large table is not of one moment. A
// connection that is there all the time is listed once, one that comes or goes at most once.
func (e *Engine) Connections() []Connection {
	var all []Connection
	step := make([]Connection, 0, walkStep)
	for _, w := range e.workers {
		for _, r := range w.routers {
			for at, more := conntrack.Cursor(0), true; more; more = at != 0 {
				step = step[:0]
				if w.call(func() {
					at = r.conns.Walk(at, walkStep, w.now, func(c *conntrack.Conn) bool {
						step = append(step, Connection{r.name, r.conns.Show(c, w.now), nat.Mapped(c.Marks())})
						return true
					})
				}) != nil {
					return nil
				}
				all = append(all, step...)
			}
		}
	}
	return all
}

// Close ends the engine: devices that it made disappear, and no goroutine of it
// is left when Close returns. Further calls do nothing.
func (e *Engine) Close() error {
	e.close.Do(func() {
		e.stopChecks() // while there is a router to hear what they have to say
		e.stopOpening()
		for _, w := range e.workers {
			w.post(w.stop)
		}
		for _, w := range e.workers {
			<-w.done
			w.wait.close()
		}
	})
	return nil
}
