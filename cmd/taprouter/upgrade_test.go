//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// installed copies the program of the test to a place of its own, where others can take its place.
func installed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "taprouter")
	install(t, path, string(text))
	return path
}

// install has another file take a program's name.
func install(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

const routedTopology = quietTopology + "[[router]]\nname = \"r\"\ninterfaces = [\"x\"]\n"

// A router goes on in the program that is there by now: the same process, with its socket, its TCP address, and what a
// program has made. It hears signals as before, also if it is replaced again.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	socket, program := socketIn(t), installed(t)
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	p := startCommand(t, program, "run", "--socket", socket, "--listen", "127.0.0.1:0", "--state-dir", t.TempDir(),
		write(t, routedTopology))
	at := listening.FindStringSubmatch(p.reads(t, "API at=127.0.0.1:"))[1]
	p.reads(t, " ready ")
	if a := curl(t, "--unix-socket", socket, "-d", `{"network":{"name":"made"}}`, "http://x/v2.0/networks"); !strings.
		HasSuffix(a, " 201") {
		t.Fatal(a)
	}
	for range 2 {
		install(t, program, string(text))
		a := curl(t, "--unix-socket", socket, "-X", "POST", "http://x/taprouter/v1/upgrade")
		if !strings.HasSuffix(a, " 202") {
			t.Fatal(a)
		}
		if again := listening.FindStringSubmatch(p.reads(t, "API at=127.0.0.1:"))[1]; again != at {
			t.Errorf("it listens at %s, before at %s", again, at)
		}
		p.reads(t, "the program was replaced")
		for _, args := range [][]string{{"--unix-socket", socket, "http://x/v2.0/networks"},
			{"http://" + at + "/v2.0/networks"}} {
			if a := curl(t, args...); !strings.Contains(a, `"made"`) || !strings.HasSuffix(a, " 200") {
				t.Errorf("%q: %s", args, a)
			}
		}
		p.signal(t, syscall.SIGHUP)
		p.reads(t, "reloaded: nothing differs")
	}
	p.signal(t, syscall.SIGTERM)
	if status := p.ends(t); status != 0 {
		t.Errorf("status %d", status)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is left")
	}
}

// A program that cannot go on is not executed, and the router goes on as before.
func TestUpgradeIsRefused(t *testing.T) {
	t.Parallel()
	socket, program, file := socketIn(t), installed(t), write(t, routedTopology)
	good, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	p := startCommand(t, program, "run", "--socket", socket, file)
	p.reads(t, " ready ")
	refused := func(want string) {
		t.Helper()
		a := curl(t, "--unix-socket", socket, "-X", "POST", "http://x/taprouter/v1/upgrade")
		if !strings.HasSuffix(a, " 500") || !strings.Contains(a, want) ||
			!strings.Contains(a, "the router goes on as before") {
			t.Errorf("%s, want %q", a, want)
		}
	}
	install(t, program, "#!/bin/sh\necho no such command >&2; exit 2\n")
	refused("no such command")
	install(t, program, "#!/bin/sh\necho 999 layout\n")
	refused("cannot take over")
	install(t, program, "#!/bin/sh\nhead -c 100000 /dev/zero\n")
	refused("cannot take over")
	install(t, program, "no program")
	refused("exec format error")
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	refused("no such file")
	install(t, program, string(good))
	if err := os.WriteFile(file, []byte("[[network]]\nnome = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := curl(t, "--unix-socket", socket, "-X", "POST", "http://x/taprouter/v1/upgrade")
	if !strings.Contains(a, "nome") || strings.HasSuffix(a, " 202") {
		t.Errorf("a file with a fault: %s", a)
	}
	if err := os.WriteFile(file, []byte(routedTopology), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := curl(t, "--unix-socket", socket, "-d", `{"network":{"name":"made"}}`, "http://x/v2.0/networks"); !strings.
		HasSuffix(a, " 201") {
		t.Fatal(a)
	}
	refused("--state-dir")
	p.signal(t, syscall.SIGHUP)
	p.reads(t, "reloaded")
	p.signal(t, syscall.SIGTERM)
	if status := p.ends(t); status != 0 {
		t.Errorf("status %d", status)
	}
}

// Connections are saved at the end, and read at the start. A file that is broken is kept aside.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	dir, path := t.TempDir(), write(t, routedTopology)
	file := filepath.Join(dir, snapshotName)
	run := func() *program {
		t.Helper()
		p := startProgram(t, "run", "--socket", "none", "--state-dir", dir, path)
		return p
	}
	end := func(p *program) {
		t.Helper()
		p.reads(t, " ready ")
		p.signal(t, syscall.SIGTERM)
		if status := p.ends(t); status != 0 {
			t.Errorf("status %d", status)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Fatalf("%v, %v", info, err)
		}
	}
	end(run())
	end(run())
	if _, err := os.Stat(file + snapshotBad); err == nil {
		t.Error("a whole file is kept aside")
	}
	for _, text := range []string{"nonsense that is longer than any header of a file could be, or nearly", ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p := run()
		p.reads(t, "kept aside")
		end(p)
		if kept, err := os.ReadFile(file + snapshotBad); err != nil || string(kept) != text {
			t.Errorf("kept %q, %v", kept, err)
		}
	}
	// A full disk, or another reason not to write: the one of before stays.
	if err := os.Mkdir(file+snapshotAside, 0o700); err != nil {
		t.Fatal(err)
	}
	p := run()
	p.reads(t, " ready ")
	p.signal(t, syscall.SIGTERM)
	p.reads(t, "connections are not saved")
	p.ends(t)
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
