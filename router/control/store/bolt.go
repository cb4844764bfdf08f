package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// BoltOptions are the settings of Bolt. All may be left out.
type BoltOptions struct {
	// Accept is the file to begin with if the file of the store is broken or missing: the last good copy, or any
	// other one that Bolt has written. It is read and left alone.
	Accept string

	Timeout time.Duration // how long to wait for another process that has the file open; half a second
	Log     *slog.Logger  // nil: nothing is logged
}

// Errors that callers of Bolt tell apart.
var (
	ErrInUse  = errors.New("it is in use by another process")
	ErrBroken = errors.New("the file is broken")
)

// copyAfter is how long a change may be missing from the last good copy. A copy is written as a whole, so it should be
// rare. An hour is what somebody loses whose disk destroys the file: the file has every change.
const copyAfter = time.Hour

// Suffixes of the files beside the one of a store.
const (
	goodSuffix   = ".good"    // the last good copy
	newSuffix    = ".new"     // a file that is being written, and gets its name when it is complete
	brokenSuffix = ".broken-" // and a number: a file that was found to be broken
)

// Bolt opens the store in a file of bbolt, and makes the file if there is none. The folder must be there. One process
// has the file open at a time.
//
// When Txn returns, the change is on the disk. On a full disk it returns an error, and the store goes on without the
// change. The content is in memory as well; no method but Bolt reads the file.
//
// The file is checked as a whole when it is opened. A broken file is renamed, and never written to. The error, which
// wraps ErrBroken, names it, and BoltOptions.Accept says how to go on.
//
// Beside the file is its last good copy. The copy is written from memory, so it has no fault of the file. It is written
// when the file has been opened and checked, an hour after a change, and by Close.
func Bolt(path string, opt BoltOptions) (Store, error) {
	if opt.Timeout == 0 {
		opt.Timeout = time.Second / 2
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	b := &boltFile{path: path, opt: opt}
	c, err := b.open()
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", path, err)
	}
	b.latest, b.copied = c.copy(), -1
	if old, err := readGood(path + goodSuffix); err == nil && old.rev == c.rev {
		b.copied = c.rev
	} else {
		b.copyNow()
	}
	return newTable(c, b), nil
}

// A boltFile is a journal that is a file of bbolt.
type boltFile struct {
	path string
	opt  BoltOptions
	db   *bbolt.DB

	// doubtful says that a change has failed and may yet be in the file. bbolt must not go on from there: it may give
	// away pages that the file needs after a power cut. So the next change begins with a new file.
	doubtful bool

	copying sync.Mutex // held while the good copy is written, before mu
	mu      sync.Mutex // guards what follows
	latest  *content
	copied  int64       // revision of the good copy; -1: unknown
	timer   *time.Timer // of the next copy; nil: none is due
}

// open opens the file and reads it, or makes it.
func (b *boltFile) open() (*content, error) {
	for {
		f, err := openLocked(b.path, os.O_RDWR, b.opt.Timeout)
		if errors.Is(err, fs.ErrNotExist) {
			c, err := b.missing()
			if errors.Is(err, fs.ErrExist) {
				continue // another process has just made it
			}
			return c, err
		}
		if err != nil {
			return nil, err
		}
		c, err := b.read(f)
		if err == nil && b.opt.Accept != "" {
			b.opt.Log.Warn("the store's file is good, so no other one is accepted", "file", b.path,
				"other", b.opt.Accept)
		}
		return c, err
	}
}

// openLocked opens a file that no other process has open. The file is still the one of this name when it is locked.
func openLocked(path string, flag int, timeout time.Duration) (*os.File, error) {
	for deadline := time.Now().Add(timeout); ; time.Sleep(timeout / 16) {
		f, err := os.OpenFile(path, flag, 0o600)
		if err != nil {
			return nil, err
		}
		locked, err := tryLock(f)
		if locked && isAt(f, path) {
			return f, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if !time.Now().Before(deadline) {
			return nil, fmt.Errorf("%w: end that one, or choose another file for this one", ErrInUse)
		}
	}
}

// isAt says whether an open file has a name.
func isAt(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// read reads and checks a file. If it is broken, it is set aside.
func (b *boltFile) read(f *os.File) (*content, error) {
	data, err := io.ReadAll(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	c, err := inspect(data)
	if err == nil {
		var fault error
		if b.db, fault, err = openDB(f, b.opt.Timeout); fault != nil {
			return b.setAside(info, fault)
		}
		return c, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	if errors.Is(err, errNewer) {
		return nil, err
	}
	return b.setAside(info, err)
}

// setAside renames a broken file, unless its name is that of another one by now.
func (b *boltFile) setAside(file os.FileInfo, cause error) (*content, error) {
	if now, err := os.Lstat(b.path); err != nil || !os.SameFile(now, file) {
		return nil, fmt.Errorf("%w: %w; another process has replaced it", ErrBroken, cause)
	}
	to := ""
	for n := 1; ; n++ {
		to = fmt.Sprint(b.path, brokenSuffix, n)
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err := os.Rename(b.path, to); err != nil {
		return nil, fmt.Errorf("%w: %w; and it cannot be renamed: %w", ErrBroken, cause, err)
	}
	if err := syncFolder(filepath.Dir(b.path)); err != nil {
		return nil, fmt.Errorf("%w: %w; it is %s now: %w", ErrBroken, cause, to, err)
	}
	b.opt.Log.Error("the store's file is broken", "file", b.path, "renamed", to, "err", cause)
	return b.accept(fmt.Errorf("%w: %w; it is %s now", ErrBroken, cause, to))
}

// missing makes the file, unless there are others that say that it has been there.
func (b *boltFile) missing() (*content, error) {
	entries, err := os.ReadDir(filepath.Dir(b.path))
	if err != nil {
		return nil, err
	}
	base := filepath.Base(b.path)
	if !slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == base+goodSuffix || strings.HasPrefix(e.Name(), base+brokenSuffix)
	}) {
		c := &content{}
		return c, b.begin(c, false)
	}
	return b.accept(fmt.Errorf("%w: it is missing, but other files are there from when it was not", ErrBroken))
}

// accept begins with the accepted file. If there is none, the error says what to do.
func (b *boltFile) accept(cause error) (*content, error) {
	if b.opt.Accept == "" {
		return nil, fmt.Errorf("%w; %s; accept a file (--accept-state FILE), or move %s* away to begin with nothing",
			cause, describeGood(b.path+goodSuffix), b.path)
	}
	c, err := readGood(b.opt.Accept)
	if err != nil {
		return nil, fmt.Errorf("%w; the accepted file %s is no good: %w", cause, b.opt.Accept, err)
	}
	if err := b.begin(c, false); err != nil {
		return nil, err
	}
	b.opt.Log.Warn("the store begins with another file", "file", b.path, "accepted", b.opt.Accept, "revision", c.rev)
	return c, nil
}

// readGood reads a file that is not being written.
func readGood(path string) (*content, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return inspect(data)
}

// describeGood says what the last good copy is.
func describeGood(path string) string {
	c, err := readGood(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "there is no good copy"
	}
	if err != nil {
		return fmt.Sprintf("its copy %s is broken, too: %v", path, err)
	}
	when := ""
	if info, err := os.Stat(path); err == nil {
		when = info.ModTime().Format(" of 2006-01-02 15:04:05")
	}
	return fmt.Sprintf("its last good copy is %s%s, with %d keys at revision %d", path, when, c.keys.Len(), c.rev)
}

// begin makes the file with a content, under another name until it is complete. Unless it replaces the file, the file
// must not be there.
func (b *boltFile) begin(c *content, replace bool) error {
	db, err := build(b.path+newSuffix, c, b.opt.Timeout)
	if err != nil {
		return err
	}
	// The process that makes the file has locked the new one. So no other process can make it between the look and the
	// renaming.
	if _, err = os.Lstat(b.path); replace || errors.Is(err, fs.ErrNotExist) {
		err = os.Rename(b.path+newSuffix, b.path)
	} else {
		err = errors.Join(fs.ErrExist, os.Remove(b.path+newSuffix))
	}
	if err == nil {
		err = syncFolder(filepath.Dir(b.path))
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	if b.db != nil {
		_ = b.db.Close() // what it has is in the new one
	}
	b.db = db
	return nil
}

// build writes a content to a new database, and returns when it is on the disk.
func build(path string, c *content, timeout time.Duration) (*bbolt.DB, error) {
	f, err := openLocked(path, os.O_RDWR|os.O_CREATE, timeout)
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(0); err != nil { // what a crash has left
		return nil, errors.Join(err, f.Close())
	}
	db, fault, err := openDB(f, timeout)
	if err = errors.Join(fault, err); err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	if err := db.Update(func(tx *bbolt.Tx) error { return putContent(tx, c) }); err != nil {
		return nil, errors.Join(err, os.Remove(path), db.Close())
	}
	return db, nil
}

// openDB opens a database in a file that is locked, and has bbolt check it. A fault is one of the file, an error is
// not. With either the file is closed.
func openDB(f *os.File, timeout time.Duration) (db *bbolt.DB, fault, err error) {
	defer func() {
		if r := recover(); r != nil { // bbolt panics at pages that are not what they should be
			db, fault = nil, fmt.Errorf("%v", r)
			_ = f.Close()
		}
	}()
	db, err = bbolt.Open(f.Name(), 0o600, &bbolt.Options{
		Timeout: timeout, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	})
	if err != nil {
		return nil, nil, err
	}
	err = db.View(func(tx *bbolt.Tx) error {
		var faults []error
		for fault := range tx.Check() {
			if len(faults) < 3 {
				faults = append(faults, fault)
			}
		}
		fault = errors.Join(faults...)
		return nil
	})
	if err != nil || fault != nil {
		return nil, fault, errors.Join(err, db.Close())
	}
	return db, nil, nil
}

// write implements journal.
func (b *boltFile) write(before *content, changes []change) error {
	if b.doubtful {
		if err := b.begin(before, true); err != nil {
			return fmt.Errorf("write %s anew: %w", b.path, err)
		}
		b.doubtful = false
	}
	last := b.txid()
	if err := b.db.Update(func(tx *bbolt.Tx) error { return putChanges(tx, changes) }); err != nil {
		b.doubtful = last == 0 || b.txid() != last
		return fmt.Errorf("write %s: %w", b.path, err)
	}
	for _, c := range changes {
		before.apply(c)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latest = before
	if b.timer == nil {
		b.timer = time.AfterFunc(copyAfter, b.copyNow)
	}
	return nil
}

// txid is the number of bbolt's last transaction, 0 if it does not know.
func (b *boltFile) txid() int {
	id := 0
	_ = b.db.View(func(tx *bbolt.Tx) error {
		id = tx.ID()
		return nil
	})
	return id
}

// copyNow writes the good copy, if it lacks something. That it cannot be written is no reason to refuse changes.
func (b *boltFile) copyNow() {
	b.copying.Lock()
	defer b.copying.Unlock()
	b.mu.Lock()
	c := b.latest
	b.timer = nil
	b.mu.Unlock()
	if c.rev == b.copied {
		return
	}
	if err := writeCopy(b.path+goodSuffix, c, b.opt.Timeout); err != nil {
		b.opt.Log.Warn("the copy of the store cannot be written", "file", b.path+goodSuffix, "err", err)
		return
	}
	b.copied = c.rev
}

// writeCopy replaces a file by one with a content.
func writeCopy(path string, c *content, timeout time.Duration) error {
	db, err := build(path+newSuffix, c, timeout)
	if err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// close implements journal.
func (b *boltFile) close() error {
	b.mu.Lock()
	if b.timer != nil {
		b.timer.Stop()
	}
	b.mu.Unlock()
	b.copyNow()
	return b.db.Close()
}
