package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/router/control/store"
	"github.com/taprouter/taprouter/router/control/store/storetest"
)

// openBolt opens the store of a folder.
func openBolt(t *testing.T, folder string) store.Store {
	t.Helper()
	s, err := store.Bolt(filepath.Join(folder, "state.db"), store.BoltOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBolt(t *testing.T) {
	storetest.Suite{Open: openBolt, Keeps: true}.Run(t)
}

func put(t *testing.T, s store.Store, key, value string) int64 {
	t.Helper()
	rev, ok, err := s.Txn(t.Context(), nil, []store.Op{{Key: key, Value: []byte(value)}})
	if err != nil || !ok {
		t.Fatalf("put %q: %t, %v", key, ok, err)
	}
	return rev
}

// list is the content of a store: key=value@revision.
func list(t *testing.T, s store.Store) []string {
	t.Helper()
	kvs, _, err := s.Range(context.WithoutCancel(t.Context()), "")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, kv := range kvs {
		all = append(all, fmt.Sprintf("%s=%s@%d", kv.Key, kv.Value, kv.ModRev))
	}
	return all
}

func closeStore(t *testing.T, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// wants fails unless an error wraps another one and says all of some words.
func wants(t *testing.T, err, target error, words ...string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error %v, want %v", err, target)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	folder := t.TempDir()
	s := openBolt(t, folder)
	put(t, s, "a", "1")
	path := filepath.Join(folder, "state.db")
	begin := time.Now()
	_, err := store.Bolt(path, store.BoltOptions{})
	wants(t, err, store.ErrInUse, path, "choose another file")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("the error took %v", took)
	}
	put(t, s, "a", "2")
	closeStore(t, s)
	closeStore(t, openBolt(t, folder))
}

// Of many that begin at once, one has the file, and what it has stored stays.
func TestOneOfManyBegins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	type result struct {
		s   store.Store
		err error
	}
	results := make(chan result)
	for range 8 {
		go func() {
			s, err := store.Bolt(path, store.BoltOptions{Timeout: 50 * time.Millisecond})
			results <- result{s, err}
		}()
	}
	var one store.Store
	for range 8 {
		switch r := <-results; {
		case r.err != nil:
			wants(t, r.err, store.ErrInUse)
		case one != nil:
			t.Error("two have the file")
		default:
			one = r.s
		}
	}
	if one == nil {
		t.Fatal("none has the file")
	}
	put(t, one, "a", "1")
	closeStore(t, one)
	if got := list(t, openBolt(t, filepath.Dir(path))); !slices.Equal(got, []string{"a=1@1"}) {
		t.Errorf("content %v", got)
	}
}

// filled makes a store with some content and closes it. It returns the path, and what list says.
func filled(t *testing.T, folder string) (string, []string) {
	t.Helper()
	s := openBolt(t, folder)
	for i := range 200 {
		put(t, s, fmt.Sprintf("/key/%03d", i), strings.Repeat(fmt.Sprint("value ", i), 20))
	}
	all := list(t, s)
	closeStore(t, s)
	return filepath.Join(folder, "state.db"), all
}

func TestBrokenFileIsSetAside(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func([]byte) []byte
		says   string
	}{
		"a value": {func(b []byte) []byte {
			i := bytes.LastIndex(b, []byte("value 7value 7")) // an older one may be on a page that is free
			for ; i >= 0; i = bytes.LastIndex(b[:i], []byte("value 7value 7")) {
				b[i] = 'V'
			}
			return b
		}, `key "/key/007": the value has checksum`},
		"cut":       {func(b []byte) []byte { return b[:len(b)/3] }, "pages, and should have"},
		"empty":     {func([]byte) []byte { return nil }, "no whole meta page"},
		"another":   {func([]byte) []byte { return bytes.Repeat([]byte("text\n"), 9999) }, "no whole meta page"},
		"zeros":     {func(b []byte) []byte { clear(b[2*4096:]); return b }, "is not the one that belongs there"},
		"beginning": {func(b []byte) []byte { clear(b[:2*os.Getpagesize()]); return b }, "no whole meta page"},
	} {
		t.Run(name, func(t *testing.T) {
			path, all := filled(t, t.TempDir())
			broken := c.breaks(read(t, path))
			write(t, path, slices.Clone(broken))
			good := read(t, path+".good")

			_, err := store.Bolt(path, store.BoltOptions{})
			wants(t, err, store.ErrBroken, path, c.says, path+".broken-1", path+".good", "200 keys at revision 200",
				"--accept-state")
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the broken file still has its name: %v", err)
			}
			_, err = store.Bolt(path, store.BoltOptions{}) // nor does it begin with nothing
			wants(t, err, store.ErrBroken, "missing", path+".good")
			_, err = store.Bolt(path, store.BoltOptions{Accept: path + ".broken-1"})
			wants(t, err, store.ErrBroken, "the accepted file", c.says)

			s, err := store.Bolt(path, store.BoltOptions{Accept: path + ".good"})
			if err != nil {
				t.Fatal(err)
			}
			if got := list(t, s); !slices.Equal(got, all) {
				t.Errorf("content %v, want %v", got, all)
			}
			if !bytes.Equal(read(t, path+".broken-1"), broken) || !bytes.Equal(read(t, path+".good"), good) {
				t.Error("the broken file or its copy was written to")
			}
			put(t, s, "a", "1")
			closeStore(t, s)

			// A good file goes before one that is accepted, and a second broken file has a name of its own.
			s, err = store.Bolt(path, store.BoltOptions{Accept: path + ".broken-1"})
			if err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)
			write(t, path, slices.Clone(broken))
			_, err = store.Bolt(path, store.BoltOptions{})
			wants(t, err, store.ErrBroken, path+".broken-2")
			if !bytes.Equal(read(t, path+".broken-1"), broken) {
				t.Error("the first broken file was overwritten")
			}
		})
	}
}

func TestFolderIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "state.db")
	_, err := store.Bolt(path, store.BoltOptions{})
	wants(t, err, fs.ErrNotExist, path)
}

// A crash leaves a part of a file that was being made. That is no store, and does not keep a store from being made.
func TestHalfMadeFile(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "state.db.new"), []byte("half"))
	s := openBolt(t, folder)
	put(t, s, "a", "1")
	closeStore(t, s)
	closeStore(t, openBolt(t, folder))
}

// goodRev is the revision of the good copy.
func goodRev(t *testing.T, folder string) int64 {
	t.Helper()
	rev, err := store.Inspect(read(t, filepath.Join(folder, "state.db.good")))
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// The good copy is written when the store is opened, an hour after a change, and when the store is closed.
func TestGoodCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		s := openBolt(t, folder)
		if rev := goodRev(t, folder); rev != 0 {
			t.Errorf("revision %d at first", rev)
		}
		put(t, s, "a", "1")
		time.Sleep(59 * time.Minute)
		put(t, s, "a", "2")
		if rev := goodRev(t, folder); rev != 0 {
			t.Errorf("revision %d within the hour", rev)
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if rev := goodRev(t, folder); rev != 2 {
			t.Errorf("revision %d after an hour, want 2", rev)
		}
		put(t, s, "a", "3")
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if rev := goodRev(t, folder); rev != 3 {
			t.Errorf("revision %d after another hour, want 3", rev)
		}
		put(t, s, "a", "4")
		closeStore(t, s)
		if rev := goodRev(t, folder); rev != 4 {
			t.Errorf("revision %d after Close, want 4", rev)
		}
		write(t, filepath.Join(folder, "state.db.good"), []byte("broken"))
		closeStore(t, openBolt(t, folder))
		if rev := goodRev(t, folder); rev != 4 {
			t.Errorf("revision %d after it was opened, want 4", rev)
		}
	})
}

// Each write of a change fails in turn, as on a full disk: the change is refused, and nothing else is lost, neither in
// memory nor on the disk nor after a crash.
func TestFullDisk(t *testing.T) {
	refused, doubtful := 0, 0
	for fails := 0; ; fails++ {
		folder := t.TempDir()
		path := filepath.Join(folder, "state.db")
		s := openBolt(t, folder)
		for i := range 50 {
			put(t, s, fmt.Sprint("key", i), strings.Repeat("x", 300))
		}
		before := list(t, s)
		n := 0
		var real func([]byte, int64) (int, error)
		real = store.OnWrite(s, func(b []byte, at int64) (int, error) {
			if n++; n <= fails {
				return real(b, at)
			}
			written, _ := real(b[:len(b)/2], at) // as much as there was room for
			return written, syscall.ENOSPC
		})
		big := []store.Op{{Key: "big", Value: make([]byte, 100<<10)}, {Key: "key7", Delete: true}}
		_, ok, err := s.Txn(t.Context(), nil, big)
		if err == nil {
			break // there were no more writes to fail
		}
		refused++
		wants(t, err, syscall.ENOSPC, path)
		if got := list(t, s); ok || !slices.Equal(got, before) {
			t.Fatalf("write %d failed: %v, want %v", fails, got, before)
		}
		if store.Doubtful(s) {
			doubtful++
		}
		crashed := filepath.Join(t.TempDir(), "state.db")
		write(t, crashed, read(t, path))
		c := openBolt(t, filepath.Dir(crashed))
		got := list(t, c)
		if !slices.Contains(got, before[0]) || len(got) < len(before)-1 {
			t.Fatalf("write %d failed: after a crash %v", fails, got)
		}
		closeStore(t, c)
		store.OnWrite(s, real) // there is room again
		rev := put(t, s, "after", "1")
		if rev != 51 {
			t.Errorf("revision %d, want 51", rev)
		}
		want := list(t, s)
		closeStore(t, s)
		s = openBolt(t, folder)
		if got := list(t, s); !slices.Equal(got, want) {
			t.Fatalf("write %d failed: opened again %v, want %v", fails, got, want)
		}
		closeStore(t, s)
	}
	if refused < 3 {
		t.Errorf("%d writes have failed", refused)
	}
	t.Logf("%d writes failed, %d changes were in doubt", refused, doubtful)
}

// The same on a real file system of half a megabyte, in a process with a file system of its own.
func TestFullFileSystem(t *testing.T) {
	const inside = "TAPROUTER_FULL_FOLDER"
	if folder := os.Getenv(inside); folder != "" {
		fillFileSystem(t, folder)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullFileSystem$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.TempDir())
	cmd.SysProcAttr = ownFileSystem()
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || bytes.Contains(out, []byte("--- SKIP")) {
		t.Skipf("no file system of its own is to be had here: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func fillFileSystem(t *testing.T, folder string) {
	if err := mountSmall(folder); err != nil {
		t.Skip(err)
	}
	s := openBolt(t, folder)
	refused, made := 0, 0
	for i := range 400 {
		op := store.Op{Key: fmt.Sprint("key", i%100), Value: bytes.Repeat([]byte{byte(i)}, 5000)}
		if refused > 0 && refused%10 == 0 {
			op = store.Op{Key: fmt.Sprint("key", refused%100), Delete: true}
		}
		before := list(t, s)
		_, _, err := s.Txn(t.Context(), nil, []store.Op{op})
		if err == nil {
			made++
			continue
		}
		refused++
		wants(t, err, syscall.ENOSPC, folder)
		if !slices.Equal(list(t, s), before) {
			t.Fatal("a refused change was made")
		}
	}
	want := list(t, s)
	t.Logf("%d changes were made, %d refused, %d keys", made, refused, len(want))
	if refused == 0 || made < 20 {
		t.Error("the test tests little")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got := list(t, openBolt(t, folder)); !slices.Equal(got, want) {
		t.Error("the store has lost something")
	}
}

// A change that has failed after bbolt's last write is not there, though bbolt has it: the file is written anew.
func TestChangeInDoubt(t *testing.T) {
	folder := t.TempDir()
	s := openBolt(t, folder)
	put(t, s, "a", "1")
	var real func([]byte, int64) (int, error)
	real = store.OnWrite(s, func(b []byte, at int64) (int, error) {
		n, err := real(b, at)
		if at < 2*int64(len(b)) { // a meta page: all is written, but the disk reports an error
			return n, syscall.EIO
		}
		return n, err
	})
	_, _, err := s.Txn(t.Context(), nil, []store.Op{{Key: "a", Value: []byte("2")}, {Key: "b"}})
	wants(t, err, syscall.EIO)
	if !store.Doubtful(s) {
		t.Error("the change is not in doubt")
	}
	put(t, s, "c", "1")
	want := []string{"a=1@1", "c=1@2"}
	if got := list(t, s); !slices.Equal(got, want) {
		t.Errorf("content %v, want %v", got, want)
	}
	_, err = store.Bolt(filepath.Join(folder, "state.db"), store.BoltOptions{Timeout: 50 * time.Millisecond})
	wants(t, err, store.ErrInUse) // the new file is locked as well
	closeStore(t, s)
	if got := list(t, openBolt(t, folder)); !slices.Equal(got, want) {
		t.Errorf("opened again %v, want %v", got, want)
	}
}

// whole is a file of a store, with pages of every kind.
func whole(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	s, err := store.Bolt(path, store.BoltOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		ops := []store.Op{{Key: fmt.Sprint("big", i%2), Value: make([]byte, 9000)}}
		for j := range 30 {
			ops = append(ops, store.Op{Key: fmt.Sprintf("key/%d/%02d", i, j), Value: bytes.Repeat([]byte("v"), 70)})
		}
		if _, _, err := s.Txn(context.Background(), nil, ops); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// checkInspect: what inspect lets pass can be given to bbolt. No file makes either of them panic.
func checkInspect(t *testing.T, data []byte) (passed bool) {
	t.Helper()
	if _, err := store.Inspect(data); err != nil {
		return false
	}
	path := filepath.Join(t.TempDir(), "state.db")
	write(t, path, data)
	if err := store.OpenDB(path); err != nil && !errors.Is(err, os.ErrInvalid) {
		t.Fatal(err)
	}
	return true
}

// The headers of all pages and their entries, each changed in some ways.
func TestInspect(t *testing.T) {
	data := whole(t)
	refused, passed := 0, 0
	for page := 0; page < len(data); page += 4096 {
		for at := page; at < page+16+3*16; at++ {
			for _, xor := range []byte{1, 0x40} {
				data[at] ^= xor
				if _, err := store.Inspect(data); err != nil {
					refused++
				} else if passed++; passed%128 == 0 {
					checkInspect(t, data)
				}
				data[at] ^= xor
			}
		}
	}
	for cut := 0; cut < len(data); cut += 1000 {
		checkInspect(t, data[:cut])
	}
	if refused < 1000 || passed < 100 {
		t.Errorf("%d refused, %d passed: the test tests little", refused, passed)
	}
	t.Logf("%d refused, %d passed, as in pages that are free", refused, passed)
}

func FuzzInspect(f *testing.F) {
	data := whole(f)
	f.Add(uint32(4096*2+10), byte(1), uint32(100), byte(0xff))
	f.Add(uint32(4096*3), byte(0x80), uint32(4096*2+2), byte(7))
	f.Add(uint32(0), byte(1), uint32(4096), byte(1))
	f.Fuzz(func(t *testing.T, at uint32, xor byte, other uint32, set byte) {
		broken := bytes.Clone(data)
		broken[at%uint32(len(data))] ^= xor
		broken[other%uint32(len(data))] = set
		checkInspect(t, broken)
	})
}
