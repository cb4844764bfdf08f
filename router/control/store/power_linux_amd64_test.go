package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/taprouter/taprouter/router/control/store"
)

// This file cuts the power. A process of its own writes to a store, and this one traces its system calls, so what is
// recorded is what bbolt really writes and syncs, and not what a wrapper believes. (bbolt takes no other file than an
// *os.File.) Then the disk is played: after each call of the record it may have lost or torn what was not synced yet.

// workload opens a store, changes it, and opens it again. It calls acknowledged after each change, and after each batch
// of several.
func workload(t *testing.T, open func() store.Batcher, acknowledged func(rev int64)) {
	t.Helper()
	for round := range 2 {
		s := open()
		for i := range 10 {
			ops := []store.Op{
				{Key: fmt.Sprintf("/key/%02d", i*7%16), Value: []byte(strings.Repeat(fmt.Sprint(round, i, " "), 40))},
				{Key: fmt.Sprintf("/key/%02d", (i*7+3)%16), Delete: true},
				{Key: "/count", Value: []byte(fmt.Sprint(round, i))},
			}
			if i%4 == 3 { // the file gets longer, and has pages that are free
				ops = append(ops, store.Op{Key: fmt.Sprint("/big/", i%3), Value: make([]byte, 20000+1000*i)})
			}
			steps := []store.Step{{Ops: ops}}
			if i%3 == 2 {
				for k := range 3 {
					steps = append(steps, store.Step{Ops: []store.Op{
						{Key: "/count", Value: []byte(fmt.Sprint(round, i, k))},
						{Key: fmt.Sprintf("/batch/%d/%d", i, k), Value: []byte(strings.Repeat("b", 3000*k))},
					}})
				}
			}
			revs, ok, err := s.Batch(t.Context(), steps)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			acknowledged(revs[len(revs)-1])
		}
		closeStore(t, s)
	}
}

const maxBatch = 4 // of workload

const powerFolder = "TAPROUTER_POWER_FOLDER" // of the traced process, whose descriptor 3 hears what is acknowledged

// TestPowerWorkload is the traced process.
func TestPowerWorkload(t *testing.T) {
	folder := os.Getenv(powerFolder)
	if folder == "" {
		t.Skip("it is run by TestPowerCut")
	}
	acks := os.NewFile(3, "acknowledged")
	workload(t, func() store.Batcher { return openBolt(t, folder).(store.Batcher) }, func(rev int64) {
		if _, err := fmt.Fprintf(acks, "%d", rev); err != nil {
			t.Fatal(err)
		}
	})
}

// A call is a system call that changes the folder, or an acknowledgement.
type call struct {
	what string // write, truncate, sync; create, rename, remove, sync folder; ack
	file int    // number of the file
	at   int64  // write: position; truncate: length; ack: revision
	data []byte
	name string // create, remove: of the file; rename: the new one
	from string // rename: the former one
}

// A recorder makes calls of the system calls of a process.
type recorder struct {
	*testing.T
	folder string
	memory *os.File
	calls  []call
	open   map[uint64]int // file by descriptor; the folder is -1
	names  map[string]int // file by name
	files  int
}

const folderFile = -1

func (r *recorder) bytes(at, n uint64) []byte {
	r.Helper()
	b := make([]byte, n)
	if _, err := r.memory.ReadAt(b, int64(at)); err != nil {
		r.Fatalf("memory of the traced process: %v", err)
	}
	return b
}

// path reads a path. It is the name in the folder, "." for the folder, and empty if it is elsewhere.
func (r *recorder) path(at uint64) string {
	r.Helper()
	var text []byte
	for n := uint64(0); ; n++ {
		b := r.bytes(at+n, 1)
		if b[0] == 0 {
			break
		}
		text = append(text, b[0])
	}
	rel, err := filepath.Rel(r.folder, string(text))
	if err != nil || strings.HasPrefix(rel, "..") {
		return ""
	}
	return rel
}

// done records a system call that has succeeded.
func (r *recorder) done(regs *syscall.PtraceRegs) {
	r.Helper()
	a, b, c, d := regs.Rdi, regs.Rsi, regs.Rdx, regs.R10
	file, isOpen := r.open[a]
	switch regs.Orig_rax {
	case syscall.SYS_OPENAT:
		r.opened(regs.Rax, r.path(b), c)
	case syscall.SYS_CLOSE:
		delete(r.open, a)
	case syscall.SYS_WRITE:
		if a == 3 {
			rev := int64(0)
			_, _ = fmt.Sscan(string(r.bytes(b, c)), &rev)
			r.calls = append(r.calls, call{what: "ack", at: rev})
		} else if isOpen {
			r.Fatalf("a write that is not recorded")
		}
	case syscall.SYS_PWRITE64:
		if isOpen {
			r.calls = append(r.calls, call{what: "write", file: file, at: int64(d), data: r.bytes(b, regs.Rax)})
		}
	case syscall.SYS_FTRUNCATE:
		if isOpen {
			r.calls = append(r.calls, call{what: "truncate", file: file, at: int64(b)})
		}
	case syscall.SYS_FSYNC, syscall.SYS_FDATASYNC:
		if isOpen && file == folderFile {
			r.calls = append(r.calls, call{what: "sync folder"})
		} else if isOpen {
			r.calls = append(r.calls, call{what: "sync", file: file})
		}
	case syscall.SYS_RENAME:
		r.renamed(r.path(a), r.path(b))
	case syscall.SYS_RENAMEAT:
		r.renamed(r.path(b), r.path(d))
	case syscall.SYS_UNLINKAT:
		if name := r.path(b); name != "" {
			r.calls = append(r.calls, call{what: "remove", name: name})
			delete(r.names, name)
		}
	case syscall.SYS_MMAP:
		const shared = syscall.MAP_SHARED
		if _, mapped := r.open[regs.R8]; mapped && c&syscall.PROT_WRITE != 0 && d&shared != 0 {
			r.Fatalf("a file is mapped for writing, which is not recorded")
		}
	case syscall.SYS_PWRITEV, syscall.SYS_WRITEV, syscall.SYS_FALLOCATE:
		if isOpen {
			r.Fatalf("system call %d on a file is not recorded", regs.Orig_rax)
		}
	}
}

func (r *recorder) opened(fd uint64, name string, flags uint64) {
	if name == "" {
		return
	}
	if name == "." {
		r.open[fd] = folderFile
		return
	}
	file, there := r.names[name]
	if !there && flags&syscall.O_CREAT != 0 {
		r.files++
		file = r.files
		r.names[name] = file
		r.calls = append(r.calls, call{what: "create", file: file, name: name})
	}
	r.open[fd] = file
}

func (r *recorder) renamed(from, to string) {
	if from == "" {
		return
	}
	r.calls = append(r.calls, call{what: "rename", from: from, name: to})
	r.names[to] = r.names[from]
	delete(r.names, from)
}

// record runs the traced process and returns what it has done to the folder.
func record(t *testing.T, folder string) []call {
	t.Helper()
	runtime.LockOSThread() // only the thread that has started a process may trace it
	defer runtime.UnlockOSThread()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	out, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestPowerWorkload$", "-test.count=1")
	cmd.Env = append(os.Environ(), powerFolder+"="+folder)
	cmd.ExtraFiles = []*os.File{null}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skipf("no process may be traced here: %v", err)
		}
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	defer cmd.Process.Release() //nolint:errcheck // it has ended
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	r := &recorder{T: t, folder: folder, memory: memory, open: map[uint64]int{}, names: map[string]int{}}
	status := trace(t, pid, r.done)
	if !status.Exited() || status.ExitStatus() != 0 {
		t.Fatalf("the traced process: %v\n%s", status, read(t, out.Name()))
	}
	return r.calls
}

// trace lets a process run that waits to be traced. It calls a function after each system call that has succeeded, and
// returns how the process has ended.
func trace(t *testing.T, pid int, done func(*syscall.PtraceRegs)) syscall.WaitStatus {
	t.Helper()
	const (
		allThreads   = 0x40000000 // __WALL
		killAtOurEnd = 0x100000   // PTRACE_O_EXITKILL
		callStop     = syscall.SIGTRAP | 0x80
	)
	noSys := -int64(syscall.ENOSYS) // what the register of the result has when a call begins
	began := false
	for {
		var status syscall.WaitStatus
		of := -1
		if !began {
			of = pid
		}
		tid, err := syscall.Wait4(of, &status, allThreads, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			t.Fatalf("wait: %v", err)
		}
		if !status.Stopped() {
			if tid == pid {
				return status
			}
			continue // a thread has ended
		}
		signal := 0
		switch sig := status.StopSignal(); {
		case !began:
			began = true
			if err := syscall.PtraceSetOptions(pid, syscall.PTRACE_O_TRACESYSGOOD|syscall.PTRACE_O_TRACECLONE|
				killAtOurEnd); err != nil {
				t.Fatalf("trace: %v", err)
			}
		case sig == callStop:
			var regs syscall.PtraceRegs
			if syscall.PtraceGetRegs(tid, &regs) == nil && int64(regs.Rax) != noSys && int64(regs.Rax) >= 0 {
				done(&regs)
			}
		case sig == syscall.SIGTRAP || sig == syscall.SIGSTOP: // a thread begins
		default:
			signal = int(sig)
		}
		if err := syscall.PtraceSyscall(tid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatalf("trace: %v", err)
		}
	}
}

// A disk is what has reached the disk for certain, and what may have.
type disk struct {
	files map[int][]byte
	names map[string]int
	// In order: not synced yet.
	data    []call // of all files
	entries []call // of the folder
}

// do plays a call.
func (d *disk) do(c call) {
	switch c.what {
	case "write", "truncate":
		d.data = append(d.data, c)
	case "create", "rename", "remove":
		d.entries = append(d.entries, c)
	case "sync":
		var rest []call
		for _, w := range d.data {
			if w.file == c.file {
				d.write(w)
			} else {
				rest = append(rest, w)
			}
		}
		d.data = rest
	case "sync folder":
		for _, e := range d.entries {
			d.enter(e)
		}
		d.entries = nil
	}
}

func (d *disk) write(c call) {
	b := d.files[c.file]
	end := c.at + int64(len(c.data))
	if c.what == "truncate" {
		end = c.at
		b = b[:min(int64(len(b)), end)]
	}
	if grown := end - int64(len(b)); grown > 0 {
		b = append(slices.Clone(b), make([]byte, grown)...)
	} else {
		b = slices.Clone(b)
	}
	copy(b[c.at:], c.data)
	d.files[c.file] = b
}

func (d *disk) enter(c call) {
	switch c.what {
	case "create":
		d.names[c.name] = c.file
	case "rename":
		d.names[c.name] = d.names[c.from]
		delete(d.names, c.from)
	case "remove":
		delete(d.names, c.name)
	}
}

func (d *disk) clone() *disk {
	return &disk{files: maps.Clone(d.files), names: maps.Clone(d.names)}
}

const sector = 512 // what a disk writes as one

// cuts gives the disks that a power cut may leave.
func (d *disk) cuts(rng *rand.Rand, yield func(what string, after *disk)) {
	after := d.clone()
	yield("nothing", after)

	if len(d.data)+len(d.entries) == 0 {
		return
	}
	after = d.clone()
	d.all(after, d.data, len(d.entries))
	yield("everything", after)

	if n := len(d.data); n > 0 && d.data[n-1].what == "write" {
		last := d.data[n-1]
		for _, whole := range []int{sector, len(last.data) / 2, len(last.data) - sector} {
			torn := last
			torn.data = last.data[:whole]
			after = d.clone()
			d.all(after, append(slices.Clone(d.data[:n-1]), torn), len(d.entries))
			yield(fmt.Sprintf("all but the end of the last page, from byte %d on", whole), after)
		}
	}
	for range 2 {
		var some []call
		for _, w := range d.data {
			switch rng.IntN(4) {
			case 0:
			case 1: // sectors here and there
				for at := 0; at < len(w.data); at += sector {
					if rng.IntN(2) == 0 {
						some = append(some, call{what: w.what, file: w.file, at: w.at + int64(at),
							data: w.data[at:min(at+sector, len(w.data))]})
					}
				}
			default:
				some = append(some, w)
			}
		}
		after = d.clone()
		d.all(after, some, rng.IntN(len(d.entries)+1))
		yield("some", after)
	}
}

// all makes writes and the first entries of a disk.
func (d *disk) all(after *disk, writes []call, entries int) {
	for _, w := range writes {
		after.write(w)
	}
	for _, e := range d.entries[:entries] {
		after.enter(e)
	}
}

// fast is a folder in memory if there is one, where a sync takes no time.
func fast(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "taprouter")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// After a power cut at any moment the store opens, and has everything that was acknowledged. The change that was being
// written is there as a whole, or not at all. So is a batch of changes.
func TestPowerCut(t *testing.T) {
	calls := record(t, fast(t))
	want := map[int64][]string{0: nil}
	memory := store.Memory()
	var open store.Batcher
	workload(t, func() store.Batcher {
		open = keepOpen{memory.(store.Batcher)}
		return open
	}, func(rev int64) { want[rev] = list(t, open) })

	rng, folder := rand.New(rand.NewPCG(1, 2)), fast(t)
	d := &disk{files: map[int][]byte{}, names: map[string]int{}}
	acked, cuts, ahead, syncs := int64(0), 0, 0, 0
	for i, c := range calls {
		d.do(c)
		switch c.what {
		case "ack":
			acked = c.at
		case "sync", "sync folder":
			syncs++
		}
		if testing.Short() && i%7 != 0 {
			continue
		}
		d.cuts(rng, func(what string, after *disk) {
			cuts++
			where := fmt.Sprintf("call %d of %d, %s, of what was not synced is there %s", i, len(calls), c.what, what)
			if checkCut(t, where, folder, after, acked, want) > acked {
				ahead++
			}
		})
	}
	if acked != slices.Max(slices.Collect(maps.Keys(want))) || syncs < 2*len(want) || ahead == 0 {
		t.Errorf("%d revisions acknowledged, %d syncs, %d times one was there ahead", acked, syncs, ahead)
	}
	t.Logf("%d calls with %d syncs, %d cuts, %d of them with the next revision complete", len(calls), syncs, cuts,
		ahead)
}

// keepOpen is a store that outlives Close.
type keepOpen struct{ store.Batcher }

func (keepOpen) Close() error { return nil }

// checkCut opens the store that a power cut has left. It returns the revision.
func checkCut(t *testing.T, where, folder string, d *disk, acked int64, want map[int64][]string) int64 {
	t.Helper()
	folder, err := os.MkdirTemp(folder, "cut")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	for name, file := range d.names {
		write(t, filepath.Join(folder, name), d.files[file])
	}
	if b, ok := d.names["state.db.good"]; ok {
		if _, err := store.Inspect(d.files[b]); err != nil {
			t.Errorf("%s: the good copy: %v", where, err)
		}
	}
	s, err := store.Bolt(filepath.Join(folder, "state.db"), store.BoltOptions{})
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	defer closeStore(t, s)
	_, rev, err := s.Range(t.Context(), "")
	next := acked + 1
	for len(want[next]) == 0 && next <= acked+maxBatch {
		next++
	}
	if err != nil || rev != acked && rev != next {
		t.Fatalf("%s: revision %d, acknowledged is %d, next %d, %v", where, rev, acked, next, err)
	}
	if got := list(t, s); !slices.Equal(got, want[rev]) {
		t.Fatalf("%s: at revision %d\n got %.300q\nwant %.300q", where, rev, got, want[rev])
	}
	return rev
}
