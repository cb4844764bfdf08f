//go:build linux

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/router"
)

// A desk stands for a service manager and an engine: it notes what it is told, and has the files of descriptors.
type desk struct {
	t     *testing.T
	told  []string
	files map[string]*os.File
	err   error // of the engine
	deaf  bool
}

func (d *desk) tell(message string, _ *os.File) error {
	if d.deaf {
		return errors.New("nobody hears")
	}
	lines := strings.Split(message, "\n")
	d.told = append(d.told, strings.TrimSuffix(lines[0], "=1")+" "+strings.TrimPrefix(lines[len(lines)-1], "FDNAME="))
	return nil
}

func (d *desk) descriptors() ([]router.Descriptor, error) {
	f := &former{stored: map[string]storedFile{}}
	for name, file := range d.files {
		f.stored[name] = storedFile{name, file}
	}
	f.list()
	return f.descriptors, d.err
}

// opens gives a descriptor a new file.
func (d *desk) opens(name string) *os.File {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.t.TempDir(), "x"))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = f.Close() })
	d.files[name] = f
	return f
}

func (d *desk) wants(what string, want ...string) {
	d.t.Helper()
	if !slices.Equal(d.told, want) {
		d.t.Errorf("%s: the manager is told %q, want %q", what, d.told, want)
	}
	d.told = nil
}

const (
	aTable  = "taprouter-table-1"
	aDevice = "taprouter-device-1"
)

// named is a file as the service manager hands it over.
func named(t *testing.T, f *os.File, name string) *os.File {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), name)
}

// What was stored and is the same file stays. A new file is stored before the one of before is taken away. What is gone
// is taken away, unless that is not sure.
func TestKeeper(t *testing.T) {
	d := &desk{t: t, files: map[string]*os.File{}}
	device := d.opens(aDevice)
	table := d.opens(aTable)
	f := fromStore([]*os.File{named(t, table, aTable+".7"), named(t, device, aDevice+".9"),
		named(t, table, aTable+".4"),
		named(t, table, "socket")}, slog.New(slog.DiscardHandler))
	if len(f.descriptors) != 2 || f.descriptors[1].Name != aTable || f.stored[aTable].name != aTable+".7" {
		t.Fatalf("%+v", f)
	}
	d.opens(aTable) // as each engine does
	k := newKeeper(f, d.tell, "", slog.New(slog.DiscardHandler))
	k.serve(d.descriptors, f.stale)
	defer k.stop()
	d.wants("the start", "FDSTOREREMOVE "+aTable+".4", "FDSTORE "+aTable+".10", "FDSTOREREMOVE "+aTable+".7")
	k.look()
	d.wants("nothing new")
	d.opens(aDevice)
	k.look()
	d.wants("a device that is opened anew", "FDSTORE "+aDevice+".11", "FDSTOREREMOVE "+aDevice+".9")
	delete(d.files, aDevice)
	d.err = errors.New("too many open files")
	k.look()
	d.wants("a list that is not whole")
	d.err = nil
	k.look()
	d.wants("a device that is gone", "FDSTOREREMOVE "+aDevice+".11")
	if k.has(aTable) != aTable+".10" || k.has(aDevice) != "" {
		t.Errorf("stored: %q and %q", k.has(aTable), k.has(aDevice))
	}
}

// Without room, and without a manager that hears, the log says so once.
func TestKeeperWithoutRoom(t *testing.T) {
	for what, c := range map[string]struct {
		room  string
		deaf  bool
		files int
		name  int // its length
		told  int
		want  string
	}{
		"full": {room: "1", files: 3, name: 50, told: 1, want: "FileDescriptorStoreMax="},
		// 200 bytes and the number behind a dot, and what separates names
		"long names": {files: 700, name: 200, told: 600, want: "has no room"},
		"deaf":       {deaf: true, files: 3, name: 50, want: "nobody hears"},
	} {
		t.Run(what, func(t *testing.T) {
			log := &logBuffer{}
			d := &desk{t: t, files: map[string]*os.File{}, deaf: c.deaf}
			file := d.opens(aTable)
			delete(d.files, aTable)
			for i := range c.files {
				d.files[fmt.Sprintf("taprouter-table-%0*d", c.name-len("taprouter-table-"), i)] = file
			}
			k := newKeeper(&former{stored: map[string]storedFile{}}, d.tell, c.room,
				slog.New(slog.NewTextHandler(log, nil)))
			k.serve(d.descriptors, nil)
			k.look()
			k.stop()
			if n := len(d.told); n != c.told && (what != "long names" || n < 590 || n > c.told) {
				t.Errorf("told %d times, want %d", n, c.told)
			}
			said := log.take()
			if n := strings.Count(said, c.want); n != 1 {
				t.Errorf("%q is %d times in the log:\n%s", c.want, n, said)
			}
		})
	}
}
