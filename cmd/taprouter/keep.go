package main

import (
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// In this file the service manager keeps descriptors for the next process: connection tables and TAPs. `run` ends by
// SIGTERM in the same way whether the manager restarts it or not. If it does, the next process gets the descriptors. If
// not, the manager closes them, and then the TAPs are gone (FileDescriptorStorePreserve= in systemd.service(5)).

const (
	descriptorPrefix = "taprouter-" // of the names of router.Descriptor

	// namesMost bounds the names of stored descriptors together, in bytes. The manager hands them to the next process
	// in one environment variable, which the kernel limits to 128 KiB. A longer one would keep that process from
	// starting.
	namesMost = 120 << 10

	keepPause = 50 * time.Millisecond // between two looks at what there is
)

// A former is what the process before this one has left.
type former struct {
	descriptors []router.Descriptor
	stored      map[string]storedFile // what the service manager has of it, by descriptor
	stale       []string              // what it has in vain
	doors       map[string]*os.File   // listeners of the API, by the names that serve has for them
	// records are neighbors, and connections if the tables have another layout. nil: there are none
	records *os.File
	// by the monotonic clock, when that process forwarded its last packet; 0: not known
	halted time.Duration
}

// A storedFile is a descriptor that the service manager has.
type storedFile struct {
	name string   // in the manager's store
	file *os.File // the same file
}

// storeName is the name of a descriptor in the manager's store. A new file of a descriptor gets a higher number, and is
// stored before the one of before is taken away. So a process that is killed in between leaves both.
func storeName(descriptor string, number int) string { return descriptor + "." + strconv.Itoa(number) }

// cutNumber is the reverse of storeName.
func cutNumber(name string) (descriptor string, number int, ok bool) {
	descriptor, n, ok := strings.Cut(name, ".")
	number, err := strconv.Atoi(n)
	return descriptor, number, ok && err == nil && strings.HasPrefix(name, descriptorPrefix)
}

// fromStore sorts what the service manager has handed over. Other descriptors than ours are closed.
func fromStore(files []*os.File, log *slog.Logger) *former {
	f := &former{stored: map[string]storedFile{}}
	newest := map[string]int{}
	for _, file := range files {
		name := file.Name()
		descriptor, number, ok := cutNumber(name)
		switch before, known := f.stored[descriptor]; {
		case !ok:
			log.Debug("a descriptor of the service manager is of no use", "name", name)
			_ = file.Close()
		case known && number < newest[descriptor]:
			f.stale = append(f.stale, name)
			_ = file.Close()
		default:
			if known && before.name != name {
				f.stale = append(f.stale, before.name)
			}
			if known {
				_ = before.file.Close()
			}
			newest[descriptor], f.stored[descriptor] = number, storedFile{name, file}
		}
	}
	f.list()
	return f
}

// list makes the descriptors for the engine, which closes them, of what is stored.
func (f *former) list() {
	for _, descriptor := range slices.Sorted(maps.Keys(f.stored)) {
		s := f.stored[descriptor]
		if file, err := duplicate(s.file); err == nil {
			f.descriptors = append(f.descriptors, router.Descriptor{Name: descriptor, File: file})
		}
	}
}

// forget closes what the service manager was thought to have.
func (f *former) forget() {
	for _, s := range f.stored {
		_ = s.file.Close()
	}
	f.stored = nil
}

// A keeper has the service manager keep the descriptors of an engine. Its methods may be called by any goroutine.
type keeper struct {
	log    *slog.Logger
	tell   func(message string, file *os.File) error // nil: there is no manager
	most   int                                       // descriptors that the manager keeps
	engine func() ([]router.Descriptor, error)

	wake, quit, done chan struct{}
	once             sync.Once

	mu     sync.Mutex
	stored map[string]storedFile // by descriptor
	number int                   // the highest one of a name in the store
	names  int                   // bytes of all names in the store
	full   bool                  // the log has said that there is no room
	failed bool                  // the log has said that the manager cannot be told
}

// newKeeper makes a keeper. room is FDSTORE of the environment, which newer managers set; it is empty otherwise.
func newKeeper(f *former, tell func(string, *os.File) error, room string, log *slog.Logger) *keeper {
	k := &keeper{log: log, tell: tell, most: 1 << 20, wake: make(chan struct{}, 1), quit: make(chan struct{}),
		done: make(chan struct{}), stored: f.stored}
	if n, err := strconv.Atoi(room); err == nil {
		k.most = n
	}
	if tell == nil {
		f.forget()
		k.stored = nil
	}
	for _, s := range k.stored {
		_, number, _ := cutNumber(s.name)
		k.number = max(k.number, number)
		k.names += len(s.name) + 1
	}
	return k
}

// serve has the descriptors of an engine kept from now on, until stop. stale are names of the manager's store that are
// of no use.
func (k *keeper) serve(descriptors func() ([]router.Descriptor, error), stale []string) {
	k.engine = descriptors
	if k.tell == nil {
		close(k.done)
		return
	}
	for _, name := range stale {
		k.remove(name)
	}
	k.look()
	go func() {
		defer close(k.done)
		for {
			select {
			case <-k.quit:
				return
			case <-k.wake:
				k.look()
			}
			select {
			case <-k.quit:
			case <-time.After(keepPause):
			}
		}
	}()
}

// stop ends what serve began. What the manager has stays there.
func (k *keeper) stop() {
	k.once.Do(func() {
		close(k.quit)
		if <-k.done; k.tell != nil {
			select {
			case <-k.wake:
				k.look()
			default:
			}
		}
	})
}

// changed has the keeper look again if a change may have brought or ended descriptors.
func (k *keeper) changed(r control.Report) {
	if slices.ContainsFunc(r.Changes, func(c config.Change) bool {
		return c.Ref.Kind == config.KindRouter || c.Ref.Kind == config.KindNetwork
	}) {
		k.again()
	}
}

// happened does so for an event of the engine.
func (k *keeper) happened(e router.Event) {
	if e.Kind == router.DeviceBack || e.Kind == router.DeviceLost {
		k.again()
	}
}

func (k *keeper) again() {
	select {
	case k.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// look gives the manager what is new, and takes away what is gone.
func (k *keeper) look() {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := k.engine()
	if err != nil {
		k.log.Warn("not all descriptors can be given to the service manager", "err", err)
	}
	gone := maps.Clone(k.stored)
	for _, d := range all {
		before, known := gone[d.Name]
		delete(gone, d.Name)
		if known && sameFile(before.file, d.File) {
			_ = d.File.Close()
			continue
		}
		k.give(d, before)
	}
	if err != nil {
		return // what is missing may be there all the same
	}
	for descriptor, s := range gone {
		k.forget(descriptor, s)
	}
}

// give stores a descriptor in place of the one of before, which may be none.
func (k *keeper) give(d router.Descriptor, before storedFile) {
	name := storeName(d.Name, k.number+1)
	fits := func() bool { return len(k.stored) < k.most && k.names+len(name)+1 <= namesMost }
	if !fits() && before.file != nil {
		k.forget(d.Name, before)
		before = storedFile{}
	}
	if !fits() {
		if _ = d.File.Close(); !k.full {
			k.full = true
			k.log.Warn("the service manager has no room for all descriptors: some networks and connections do not "+
				"go on after a restart; FileDescriptorStoreMax= of the unit makes room, up to about 2000",
				"stored", len(k.stored))
		}
		return
	}
	if err := k.tell("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, d.File); err != nil {
		_ = d.File.Close()
		k.complain(err)
		return
	}
	k.number++
	k.names += len(name) + 1
	if before.file != nil {
		k.forget(d.Name, before)
	}
	k.stored[d.Name] = storedFile{name, d.File}
}

// forget takes a descriptor away.
func (k *keeper) forget(descriptor string, s storedFile) {
	k.remove(s.name)
	_ = s.file.Close()
	k.names -= len(s.name) + 1
	delete(k.stored, descriptor)
}

func (k *keeper) remove(name string) {
	if err := k.tell("FDSTOREREMOVE=1\nFDNAME="+name, nil); err != nil {
		k.complain(err)
	}
}

func (k *keeper) complain(err error) {
	if !k.failed {
		k.failed = true
		k.log.Warn("the service manager cannot be given descriptors: connections do not go on after a restart",
			"err", err)
	}
}

// has is the name that a descriptor has in the manager's store, empty if it is not there.
func (k *keeper) has(descriptor string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.stored[descriptor].name
}

// leftBefore finds what the process before this one has left. Without it the router begins anew.
func leftBefore(log *slog.Logger) *former {
	f, err := newFormer(log)
	if err != nil {
		log.Error("connections do not go on", "err", err)
		return &former{stored: map[string]storedFile{}}
	}
	return f
}

// restore sets what connections are read from that are not in tables. What the program before has just written comes
// before a snapshot.
func (f *former) restore(opt *router.Options, saved *snapshots) {
	opt.Inherit = f.descriptors
	switch {
	case f.records != nil:
		opt.Restore = f.records
	case saved != nil && saved.file != nil:
		opt.Restore, opt.OnUnreadable = saved.file, saved.setAside
	}
}

// went tells the log that this program goes on where another one has stopped, if it does.
func (f *former) went(log *slog.Logger) {
	if f.records != nil {
		_ = f.records.Close() // it has been read
	}
	if f.halted != 0 {
		log.Info("the program was replaced", "pause", (monotonic() - f.halted).Round(time.Microsecond).String())
	}
}
