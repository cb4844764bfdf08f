// Package router runs virtual routers: networks that switch, routers between
// them that resolve, route, translate and balance, and the devices that join
// them to the world.
//
// An Engine serves one config.State. Start opens its devices, or none when it is
// embedded in a test; Attach gives an in-memory port on a network, which
// router/host turns into a host with plain net.Conns. Everything that happens to
// a packet is in internal/ip/forward.go, stage by stage. Apply has a running engine serve another
// State, and settles the connections that are concerned; router/control has methods for
// frequent changes. ARCHITECTURE.md has the whole picture.
//
// Methods of Engine may be called from any goroutine. Nothing is global:
// engines are independent of each other, and Close leaves nothing behind.
package router

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/dhcp"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/router/internal/monitor"
	"github.com/taprouter/taprouter/router/internal/service"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// Options are the settings of an Engine that are not in its topology.
type Options struct {
	// Logger receives what happens, once each: nil discards it.
	Logger *slog.Logger
	// Open opens the devices of the topology, as OpenDevice's result does. nil
	// opens none: networks are reached through Attach. A device with a method MTU() int
	// limits what its network carries; one with SetMTU(int) error is told the network's MTU, and one with SetGRO(bool)
	// whether its networks want segments joined, each time that this changes.
	Open func(config.Device) (tap.Device, error)
	// InMemory says that Open returns devices in memory, whatever they are called. The engine then needs nothing of the
	// operating system, and hears of none of its interfaces.
	InMemory bool
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
	// KeepTables has the connection tables lie in memory that outlives the process as long as another one has a
	// descriptor of it: see Engine.Descriptors. It takes one descriptor for each router. Linux only: elsewhere, or
	// where there is no such memory, the log says so, and the engine goes on without.
	KeepTables bool
	// Inherit is what Descriptors of an engine before this one has returned, in this process or in another one. The
	// files are Start's. Connections go on as if nothing had happened, if the former engine does not touch them any
	// more, and Layout is the same. They are judged by the rules of the State, as a change would judge them. A TAP is
	// used as it is, so that its kernel's end stays up.
	Inherit []Descriptor
	// Restore is what SaveConnections or SaveNeighbors of an engine before this one has written. Its connections are
	// used for routers whose tables are not in Inherit, its neighbors for all routers. Start reads it to its end. If it
	// cannot be read, or not to its end, the log says so, and the engine serves without the rest.
	Restore io.Reader
	// OnUnreadable, unless nil, is called by Start if Restore cannot be read to its end.
	OnUnreadable func(error)
	// Project is the ID of the project that owns all objects, for the metadata of instances. It may be empty.
	Project string
	// LeaseKeeper writes the dynamic leases of DHCP down. nil: they end with the engine.
	LeaseKeeper LeaseKeeper
	// Leases are what LeaseKeeper has from before.
	Leases []Lease
}

// An Engine is a State being served.
type Engine struct {
	opt      Options
	log      *slog.Logger
	random   *randomness
	sim      *Simulation  // nil: it is a real one
	bubble   bool         // it was started in a testing/synctest bubble
	waits    bool         // its workers can wait for devices of the operating system
	former   *inheritance // what the process before this one has left
	reopen   *loop.Reopener
	state    atomic.Pointer[config.State]
	view     atomic.Pointer[view]
	close    sync.Once
	closed   atomic.Bool
	applying chan struct{} // holds a value from Prepare to Commit or Discard
	events   events

	// mu guards the fields below: the objects that the State has been made into. Only Commit changes them, except that
	// Prepare numbers members.
	mu        sync.Mutex
	running   bool
	workers   []*shard
	networks  map[wire.ID]*wire.Network
	devices   map[*wire.Network]map[config.Device]*wire.Port
	links     map[config.Device]deviceUse // of the same devices
	routers   map[wire.ID]*ip.Router
	pools     map[config.ID]*ip.Pool
	numbers   map[wire.ID]memberNumber
	members   uint32 // how many members have had a number so far
	receivers loop.ReceiverNumbers
	rings     map[ringKey]*loop.Handover
	boxes     map[boxKey]*loop.Outbox

	checkers     map[*ip.Router]*checker
	monitors     map[*ip.PoolShare]*monitor.Monitor
	checkWorkers *monitor.Workers // nil: nothing has been checked yet
	linkWatch    linkWatch
	services     map[wire.ID]*service.Station // by the ids of their networks
	served       sync.Map                     // the networks of services, by id: any goroutine looks there

	runner    *service.Runner
	leases    *dhcp.Leases
	upstreams *upstreams
}

// A view is the workers, networks and routers for methods that any goroutine may call. It never changes: a change of
// the State makes another one.
type view struct {
	workers  []*shard
	networks map[string]*wire.Network // by name, and by id
	routers  []*ip.Router             // in the order of the State
}

// Start serves a State: file.Open and Topology.State make one of a topology file, config.Empty().Edit one by hand. It
// returns when every existing device is open and up. A device that does not exist yet is opened when it comes; Missing
// names it until then. If the State asks for something that the engine cannot do, the error is a config.Faults.
func Start(s *config.State, opt Options) (*Engine, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	e := newEngine(opt)
	e.waits = opt.Open != nil && !opt.InMemory && (anyDevice(s) || !e.bubble)
	if opt.Open != nil {
		e.reopen = loop.NewReopener(opt.Logger, opt.OnMissing)
	}
	p, err := e.Prepare(context.Background(), s)
	if err != nil {
		stopOpening(e)
		e.former.close()
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	p.commit()
	if err := restoreConnections(e); err != nil {
		e.log.Warn("not all saved connections go on", "err", err)
	}
	e.running = true
	for _, w := range e.workers {
		w.Direct = false
		go w.Run()
	}
	p.monitor() // results need the workers
	<-e.applying
	return e, nil
}

// newEngine makes an engine that serves nothing.
func newEngine(opt Options) *Engine {
	e := &Engine{
		opt: opt, log: opt.Logger, random: newRandomness(opt.Seed), bubble: host.InBubble(),
		former:   inherit(opt.Inherit),
		applying: make(chan struct{}, 1), networks: map[wire.ID]*wire.Network{}, routers: map[wire.ID]*ip.Router{},
		devices: map[*wire.Network]map[config.Device]*wire.Port{}, links: map[config.Device]deviceUse{},
		checkers: map[*ip.Router]*checker{},
		monitors: map[*ip.PoolShare]*monitor.Monitor{},
		pools:    map[config.ID]*ip.Pool{}, numbers: map[wire.ID]memberNumber{}, rings: map[ringKey]*loop.Handover{},
		boxes: map[boxKey]*loop.Outbox{}, services: map[wire.ID]*service.Station{},
	}
	e.leases = newLeases(e)
	e.upstreams = newUpstreams(e)
	e.runner = service.NewRunner(time.Now, false)
	e.state.Store(config.Empty())
	e.show()
	return e
}

// equip sets the fields of a worker that does not run yet: clock, reopener, events.
func (e *Engine) equip(w *loop.Worker) {
	w.Direct, w.Day, w.Reopener, w.Tell = true, e.opt.Clock, e.reopen, e.events.hear
	if e.sim != nil {
		e.sim.equip(w)
	}
}

// show makes the view of the State that is served.
func (e *Engine) show() {
	s := e.State()
	v := &view{workers: e.workers, networks: make(map[string]*wire.Network, 2*len(e.networks))}
	for n := range s.Networks() {
		v.networks[string(n.ID)] = e.networks[wire.ID(n.ID)]
		if v.networks[n.Name] == nil {
			v.networks[n.Name] = e.networks[wire.ID(n.ID)]
		}
	}
	for r := range s.Routers() {
		v.routers = append(v.routers, e.routers[wire.ID(r.ID)])
	}
	e.view.Store(v)
}

// network finds a network by its name or id, nil if there is none.
func (e *Engine) network(name string) *wire.Network { return e.view.Load().networks[name] }

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
	return e.reopen.Missing()
}

// Attach adds a port to a network, which is called by its name or id, and returns its far end, an in-memory device:
// what is written there arrives on the network, what the network sends there
// can be read. accepts says which offloaded frames the caller can take; without
// any it gets plain frames with finished checksums. Closing the device takes
// the port away.
func (e *Engine) Attach(network string, accepts tap.Features) (tap.Device, error) {
	n := e.network(network)
	if n == nil {
		return nil, fmt.Errorf("router: attach to network %q: no such network", network)
	}
	if host.InBubble() != e.bubble {
		return nil, fmt.Errorf("router: attach to network %q: "+
			"the engine was started on the other side of a synctest bubble: "+
			"start it, and attach, in the function that synctest.Test calls", network)
	}
	var far tap.Device
	err := n.Home.Call(func() {
		if n.Gone {
			return
		}
		var near tap.Device
		n.Attached++
		name := fmt.Sprintf("%s#%d", network, n.Attached)
		near, far = tap.Pipe("pipe:"+name, "pipe:"+name+"/far", tap.PipeOptions{A: allFeatures, B: accepts})
		n.PlugIn(&loop.Link{Memory: true, Name: near.Name()}, near)
	})
	if err != nil {
		return nil, fmt.Errorf("router: attach to network %q: %w", network, err)
	}
	if far == nil {
		return nil, fmt.Errorf("router: attach to network %q: it has just been taken away", network)
	}
	return far, nil
}

// allFeatures are the offloaded frames that the router itself takes: all kinds.
const allFeatures = tap.FeatureChecksum | tap.FeatureTSO4 | tap.FeatureTSO6 | tap.FeatureUSO

// Stats returns a copy of the counters; zero after Close. Each worker gives its
// own, one after the other.
func (e *Engine) Stats() Stats {
	t := tally{Stats: Stats{Drops: map[DropReason]uint64{}}}
	for _, w := range e.view.Load().workers {
		if w.Call(func() { t.add(w) }) != nil {
			return Stats{} // after Close there is nothing to count
		}
	}
	return t.stats()
}

// Connections returns a copy of every router's connection table; nothing after Close. The workers
// go on with their packets meanwhile, so the copy of a large table is not of one moment. A
// connection that is there all the time is listed once, one that comes or goes at most once.
func (e *Engine) Connections() []Connection {
	var all []Connection
	err := e.Inspect().Connections(context.Background(), ConnectionFilter{}, func(v *ConnectionView) bool {
		all = append(all, v.Connection)
		return true
	})
	if err != nil { // the only one is that the engine has ended
		return nil
	}
	return all
}

// Close ends the engine: devices that it made disappear, and no goroutine of it
// is left when Close returns. Further calls do nothing.
func (e *Engine) Close() error {
	e.close.Do(func() {
		stopChecks(e)    // while there are workers: the last results call them
		e.runner.Close() // likewise
		e.upstreams.close()
		stopOpening(e)
		workers := e.view.Load().workers
		for _, w := range workers {
			w.Post(w.Stop)
		}
		for _, w := range workers {
			<-w.Done
			w.Waiter.Close()
		}
		for _, r := range e.view.Load().routers {
			if r.Arena != nil {
				_ = r.Arena.Close() // what is in it stays for the next process, if that has a descriptor
			}
		}
		e.events.end()
	})
	return nil
}
