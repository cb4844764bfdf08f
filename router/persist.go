package router

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/arena"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/snapshot"
	"github.com/taprouter/taprouter/tap"
)

// In this file connections and neighbors outlive the process. There are two ways, and a new process may go both: it
// gets the descriptors that the former one had open (Descriptors, Options.Inherit), with connection tables in them; or
// it reads what SaveConnections or SaveNeighbors has written (Options.Restore).

// A Descriptor is a file of a running engine that the next process can go on with: a connection table, or a device.
type Descriptor struct {
	// Name says what it is. It is the same in every process. It has letters, digits and dashes only, so that it can be
	// a name in systemd's store of descriptors.
	Name string
	File *os.File
}

// The names of descriptors begin so; a hash of what they are follows.
const (
	tableDescriptor  = "taprouter-table-"
	deviceDescriptor = "taprouter-device-"
)

func descriptorName(kind, of string) string {
	h := sha256.Sum256([]byte(of))
	return kind + hex.EncodeToString(h[:16])
}

// Layout says by which layout connection tables lie in memory, as a hash. A process with another Layout takes no
// table over from Descriptors: it needs what SaveConnections has written.
func Layout() string {
	h := ip.Layout()
	return hex.EncodeToString(h[:])
}

// inheritance is what an engine has got from the process before it.
type inheritance struct {
	mu    sync.Mutex
	files map[string]*os.File // by name
	warn  sync.Once           // that tables cannot be kept
}

// take returns the file with a name, nil if there is none. It is the caller's from now on.
func (h *inheritance) take(name string) *os.File {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.files[name]
	delete(h.files, name)
	return f
}

// close closes the descriptors that were not taken.
func (h *inheritance) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.files {
		_ = f.Close() // it was open for nothing
	}
	h.files = nil
}

func inherit(all []Descriptor) *inheritance {
	h := &inheritance{files: map[string]*os.File{}}
	for _, d := range all {
		if former := h.files[d.Name]; former != nil {
			_ = former.Close()
		}
		h.files[d.Name] = d.File
	}
	return h
}

// openDevice opens a device of the State, or goes on with the one of the former process.
func openDevice(e *Engine, d config.Device) (tap.Device, error) {
	if f := e.former.take(descriptorName(deviceDescriptor, d.String())); f != nil {
		dev, err := tap.AdoptTAP(f, d.Name, d.Netns, tap.Options{Logger: e.log})
		if err == nil {
			return dev, nil
		}
		e.log.Warn("a device of the former process cannot be used, and is opened anew", "device", d.String(),
			"err", err)
	}
	return e.opt.Open(d)
}

// newRouter makes a router, and the arena for its tables if they are to outlive the process.
func newRouter(e *Engine, params *ip.Params) *ip.Router {
	var a *arena.Arena
	if e.opt.KeepTables {
		var err error
		if a, err = ip.NewArena(params.ID); err != nil {
			a = nil
			e.former.warn.Do(func() {
				e.log.Warn("connections will not outlive the process, unless they are saved", "err", err)
			})
		}
	}
	r := ip.NewRouter(params.ID, params.Settings, e.random.of("router", params.ID), a)
	if a != nil {
		runtime.AddCleanup(r, (*arena.Arena).Unmap, a)
	}
	return r
}

// uptime is the clock by which connection tables of different processes agree.
func uptime(e *Engine) time.Duration {
	if e.bubble {
		return time.Duration(time.Now().UnixNano())
	}
	return arena.Monotonic()
}

// beginArena says that the tables of a router are in its arena. It is called by the router's worker.
func beginArena(e *Engine, r *ip.Router) { ip.BeginArena(r, uptime(e)-r.Worker.Clock()) }

// restoreConnections takes over the connections of the former process, before the workers run. Only what
// Options.Restore cannot be read for is an error, and it is no reason not to start.
func restoreConnections(e *Engine) error {
	defer e.former.close()
	byRecords := map[string]*ip.Router{}
	var largest []*formerTable
	for _, w := range e.workers {
		for _, r := range w.routers {
			if f := openTable(e, r); f != nil {
				largest = append(largest, f)
			} else {
				byRecords[string(r.ID)] = r
			}
		}
	}
	slices.SortFunc(largest, func(a, b *formerTable) int { return b.former.Chunks() - a.former.Chunks() })
	for _, f := range restoreTables(e, largest) {
		byRecords[string(f.router.ID)] = f.router
	}
	var err error
	if e.opt.Restore != nil {
		if err = restoreRecords(e, byRecords); err != nil && e.opt.OnUnreadable != nil {
			e.opt.OnUnreadable(err)
		}
	}
	for _, w := range e.workers {
		for _, r := range w.routers {
			_ = w.Call(func() { beginArena(e, r) }) // it does not run yet, so it cannot have ended
		}
	}
	return err
}

// A formerTable is the connection table of a router in the former process.
type formerTable struct {
	router *ip.Router
	former *arena.Former
	file   *os.File
}

// openTable finds the table of a router, nil if there is none that can be read.
func openTable(e *Engine, r *ip.Router) *formerTable {
	file := e.former.take(descriptorName(tableDescriptor, string(r.ID)))
	if file == nil {
		return nil
	}
	f, err := ip.ReadArena(file)
	why := ""
	switch {
	case err != nil:
		why = err.Error()
	case f.Router != string(r.ID):
		why = fmt.Sprintf("it is the table of router %q", f.Router)
	case !f.Whole:
		why = "it is not complete"
	case f.Layout != ip.Layout():
		why = "it is of a version with another layout"
	case f.Boot != arena.Boot():
		why = "it is of another run of the machine"
	default:
		return &formerTable{r, f, file}
	}
	_ = file.Close() // it was only read
	e.log.Warn("the connection table of the former process is not taken over", "router", r.Name, "why", why)
	return nil
}

// restoreTables takes over tables: those of different workers at the same time, the largest first. It returns those
// that it has nothing of.
func restoreTables(e *Engine, tables []*formerTable) (failed []*formerTable) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, w := range e.workers {
		all.Go(func() {
			for _, f := range tables {
				if f.router.Worker == w.Worker && !restoreTable(e, w, f) {
					mu.Lock()
					failed = append(failed, f)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return failed
}

func restoreTable(e *Engine, w *shard, f *formerTable) bool {
	defer f.file.Close()
	start := time.Now()
	var n ip.Restored
	var err error
	_ = w.Call(func() {
		w.Now = w.Clock()
		n, err = f.router.RestoreArena(&w.Turn, f.former, uptime(e))
	})
	if err != nil {
		e.log.Warn("the connection table of the former process cannot be read to its end", "router", f.router.Name,
			"err", err)
	}
	if n != (ip.Restored{}) || err != nil {
		e.log.Info("connections go on", "router", f.router.Name, "connections", n.Restored, "expired", n.Expired,
			"refused", n.Refused, "took", time.Since(start))
	}
	return err == nil || n.Restored > 0
}

// moment is the present time for a snapshot.
func moment(e *Engine) snapshot.Moment {
	m := snapshot.Moment{Wall: time.Now()}
	if !e.bubble {
		m.Boot, m.SinceBoot = arena.Boot(), arena.SinceBoot()
	}
	return m
}

// restoreRecords takes over the connections of Options.Restore, at these routers, and the neighbors of all routers.
func restoreRecords(e *Engine, routers map[string]*ip.Router) error {
	start := time.Now()
	now := moment(e)
	in, err := snapshot.NewReader(e.opt.Restore)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // even nothing has a header
	}
	if in != nil {
		in.Wants = func(router string) bool { return routers[router] != nil }
	}
	totals := map[*ip.Router]*ip.Restored{}
	for err == nil {
		var b *snapshot.Block
		if b, err = in.Next(); err != nil {
			break
		}
		if len(b.Neighbors) > 0 {
			restoreNeighbors(e, b, now)
			continue
		}
		r := routers[b.Router]
		if r == nil {
			continue // it is gone, or has its connections already
		}
		if totals[r] == nil {
			totals[r] = &ip.Restored{}
		}
		w := e.shardOf(r.Worker)
		_ = w.Call(func() {
			w.Now = w.Clock()
			r.RestoreRecords(&w.Turn, b.Records, now.Since(b.Written), b.Flowing, totals[r])
		})
	}
	for r, n := range totals {
		w := e.shardOf(r.Worker)
		_ = w.Call(func() { r.JudgeRestored(&w.Turn) })
		e.log.Info("saved connections go on", "router", r.Name, "connections", n.Restored, "expired", n.Expired,
			"refused", n.Refused, "took", time.Since(start))
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("router: restore connections: %w", err)
}

// restoreNeighbors takes over the neighbors of a block.
func restoreNeighbors(e *Engine, b *snapshot.Block, now snapshot.Moment) {
	for _, w := range e.workers {
		for _, r := range w.routers {
			if string(r.ID) != b.Router {
				continue
			}
			_ = w.Call(func() {
				w.Now = w.Clock()
				n := ip.RestoreNeighbors(r, &w.Turn, b.Neighbors, now.Since(b.Written))
				e.log.Debug("saved neighbors are known", "router", r.Name, "neighbors", n, "of", len(b.Neighbors))
			})
		}
	}
}

// Descriptors returns what the next process can go on with: the connection tables, if Options.KeepTables is set, and
// the TAP devices, in the order of their names. Another process that holds them keeps the tables, and the kernel's
// ends of the devices up, whatever becomes of this one. So a caller gives them to systemd's store, or to the program
// that it executes, and the next engine gets them by Options.Inherit. A change of the State may bring others, and end
// some; then the caller asks again.
//
// The files are duplicates, and the caller closes them. Any goroutine may call it. After Close it returns nothing. Raw
// devices are not among them: the next process opens these anew.
func (e *Engine) Descriptors() ([]Descriptor, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []Descriptor
	var errs []error
	add := func(name string, fd int) {
		f, err := tap.Duplicate(fd, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("router: duplicate the descriptor of %s: %w", name, err))
			return
		}
		all = append(all, Descriptor{name, f})
	}
	for _, w := range e.workers {
		_ = w.Call(func() {
			for _, r := range w.routers {
				if r.Arena != nil {
					add(descriptorName(tableDescriptor, string(r.ID)), int(r.Arena.File().Fd()))
				}
			}
		})
	}
	for d, use := range e.links {
		if d.Kind != config.DeviceTAP {
			continue
		}
		_ = use.link.Home().Call(func() {
			if use.link.Dev != nil && use.link.Dev.FD() >= 0 {
				add(descriptorName(deviceDescriptor, d.String()), use.link.Dev.FD())
			}
		})
	}
	slices.SortFunc(all, func(a, b Descriptor) int { return strings.Compare(a.Name, b.Name) })
	return all, errors.Join(errs...)
}

// Halt has the engine forward no packets from when it returns until resume is called. Frames wait in the queues of
// their devices, so nothing is lost in a short time. What is saved meanwhile is of one moment, and the next engine can
// go on from there without a gap: a caller halts an engine, saves its connections, and executes another program.
// resume may be called several times. Any goroutine may call either.
func (e *Engine) Halt() (resume func()) {
	workers := e.view.Load().workers
	halt := func(on bool) {
		for _, w := range workers {
			_ = w.Halt(on) // a worker that has ended forwards nothing
		}
	}
	halt(true)
	return func() { halt(false) }
}

// saveStep is how many places of a table a worker looks at before it goes on with its packets.
const saveStep = walkStep

// SaveConnections writes every router's connections and neighbors to w, for Options.Restore. The workers go on with
// their packets meanwhile, unless they are halted. So the snapshot is not of one moment: a connection that is there all
// the time is in it once, one that comes or goes at most once. Any goroutine may call it. After Close it writes none.
//
// The caller writes to a file aside, syncs and renames it, so that a crash leaves a whole one.
func (e *Engine) SaveConnections(w io.Writer) error {
	return save("connections", w, func(out *snapshot.Writer) error { return saveRecords(e, out) },
		func(out *snapshot.Writer) error { return saveNeighbors(e, out) })
}

// SaveNeighbors is Engine.SaveConnections without the connections, for an engine that gets these by Options.Inherit.
// The next engine sends to a neighbor at once, instead of asking for it again. A neighbor in use is then asked within a
// few seconds, by unicast, as it may have gone meanwhile.
func (i *Inspector) SaveNeighbors(w io.Writer) error {
	return save("neighbors", w, func(out *snapshot.Writer) error { return saveNeighbors(i.engine, out) })
}

// save writes a snapshot that has these parts.
func save(what string, w io.Writer, parts ...func(*snapshot.Writer) error) error {
	out, err := snapshot.NewWriter(w)
	for _, part := range parts {
		if err == nil {
			err = part(out)
		}
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		return fmt.Errorf("router: save %s: %w", what, err)
	}
	return nil
}

func saveRecords(e *Engine, out *snapshot.Writer) error {
	records := make([]nat.Record, 0, saveStep)
	for _, r := range e.view.Load().routers {
		names := ip.Names{Router: r}
		for at, more := conntrack.Cursor(0), true; more; more = at != 0 {
			b := snapshot.Block{Router: string(r.ID)}
			records = records[:0]
			if r.Worker.Call(func() {
				b.Flowing = !r.Worker.Halted()
				at = r.Conns.Walk(at, saveStep, r.Worker.Now, func(c *conntrack.Conn) bool {
					if names.Lasts(c) {
						records = append(records, r.NAT.Export(c, names, r.Worker.Now))
					}
					return true
				})
			}) != nil {
				break
			}
			if b.Written, b.Records = moment(e), records; len(records) == 0 {
				continue
			}
			if err := out.Write(&b); err != nil {
				return err
			}
		}
	}
	return nil
}

// saveNeighbors writes the neighbors that routers can send to.
func saveNeighbors(e *Engine, out *snapshot.Writer) (err error) {
	var b snapshot.Block
	flush := func() {
		if b.Written = moment(e); err == nil && len(b.Neighbors) > 0 {
			err = out.WriteNeighbors(&b)
		}
		b.Neighbors = b.Neighbors[:0]
	}
	looked := e.Inspect().Neighbors(context.Background(), "", func(n NeighborEntry) bool {
		if string(n.RouterID) != b.Router || len(b.Neighbors) == saveStep {
			flush()
			b.Router = string(n.RouterID)
		}
		if n.MAC != (config.MAC{}) {
			b.Neighbors = append(b.Neighbors, neighbor.Record{
				Network: string(n.NetworkID), Addr: packet.AddrFrom(n.Address), MAC: packet.MAC(n.MAC), Age: n.Age,
			})
		}
		return err == nil
	})
	if looked != nil && !errors.Is(looked, os.ErrClosed) {
		return looked
	}
	flush()
	return err
}
