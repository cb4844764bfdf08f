//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The state directory is for its owner alone. A second daemon on it ends at once with a clear error.
func TestStateDirectory(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "a", "state"), write(t, quietTopology)
	first := startProgram(t, "run", "--socket", "none", "--state-dir", dir, path)
	first.reads(t, "ready")
	for name, mode := range map[string]os.FileMode{".": 0o700, stateName: 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	began := time.Now()
	second := startProgram(t, "run", "--socket", "none", "--state-dir", dir, path)
	second.reads(t, "in use by another process")
	if status := second.ends(t); status != exitError || time.Since(began) > 10*time.Second {
		t.Errorf("a second daemon: status %d after %v", status, time.Since(began))
	}
	first.signal(t, syscall.SIGTERM)
	if status := first.ends(t); status != 0 {
		t.Errorf("the first daemon: status %d", status)
	}
}

// A broken state is refused with the way out, kept aside, and replaced by the copy that is accepted.
func TestBrokenState(t *testing.T) {
	dir, path := t.TempDir(), write(t, quietTopology)
	p := startProgram(t, "run", "--socket", "none", "--state-dir", dir, path)
	p.reads(t, "ready")
	p.signal(t, syscall.SIGTERM)
	p.ends(t)
	file := filepath.Join(dir, stateName)
	if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = startProgram(t, "run", "--socket", "none", "--state-dir", dir, path)
	p.reads(t, "--accept-state FILE")
	if status := p.ends(t); status != exitError {
		t.Errorf("a broken state: status %d", status)
	}
	kept, err := os.ReadFile(file + ".broken-1")
	if err != nil || string(kept) != "nonsense" {
		t.Errorf("kept %q, %v", kept, err)
	}
	p = startProgram(t, "run", "--socket", "none", "--state-dir", dir, "--accept-state", file+".good", path)
	p.reads(t, "ready")
	p.signal(t, syscall.SIGTERM)
	if status := p.ends(t); status != 0 {
		t.Errorf("accepted: status %d", status)
	}
}

// Without a state directory the log says that nothing is kept.
func TestNothingIsKept(t *testing.T) {
	p := startProgram(t, "run", "--socket", "none", write(t, quietTopology))
	p.reads(t, "not kept over a restart; --state-dir")
	p.reads(t, "ready")
	p.signal(t, syscall.SIGTERM)
	p.ends(t)
	p = startProgram(t, "run", "--socket", "none", "--accept-state", "x", write(t, quietTopology))
	if line := p.reads(t, "--accept-state"); !strings.Contains(line, "--state-dir") {
		t.Error(line)
	}
	if status := p.ends(t); status == 0 {
		t.Error("accepted without a directory")
	}
}
