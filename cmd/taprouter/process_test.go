//go:build unix

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary the program, for tests of a whole process.
const asProgram = "TAPROUTER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	// The tests may have been started with SIGHUP ignored, as by nohup, which their processes would
	// inherit. A signal that is handled has its default action there.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(m.Run())
}

// A program is the program as a process, with its log.
type program struct {
	*exec.Cmd
	log  *bufio.Reader
	pipe io.Closer
}

func startProgram(t *testing.T, args ...string) *program {
	t.Helper()
	return startCommand(t, append([]string{os.Args[0]}, args...)...)
}

// startCommand starts the program by another one.
func startCommand(t *testing.T, args ...string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // so that no test waits for ever
	t.Cleanup(cancel)
	p := &program{Cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	p.Env = append(os.Environ(), asProgram+"=1")
	log, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.log, p.pipe = bufio.NewReader(log), log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// reads waits for a line of the log.
func (p *program) reads(t *testing.T, want string) string {
	t.Helper()
	for {
		line, err := p.log.ReadString('\n')
		if strings.Contains(line, want) {
			return line
		}
		if err != nil {
			t.Fatalf("%q is not in the log: %v", want, err)
		}
	}
}

// ends waits for the end, and gives the status as a shell would: 128 and the signal's number
// if it was one.
func (p *program) ends(t *testing.T) int {
	t.Helper()
	timeout := time.AfterFunc(20*time.Second, func() { _ = p.Process.Kill() })
	defer timeout.Stop()
	_ = p.Wait() // the status tells
	status := p.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func (p *program) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

const quietTopology = "[[network]]\nname = \"x\"\n[[network.subnet]]\ncidr = \"192.0.2.0/24\"\n"

// A signal ends a command at once that still reads its file.
func TestSignalWhileReading(t *testing.T) {
	for _, c := range []struct {
		verb   string
		signal syscall.Signal
		status int
	}{
		{"run", syscall.SIGTERM, 0},
		{"run", syscall.SIGINT, 0},
		{"check", syscall.SIGTERM, 143},
		{"check", syscall.SIGINT, 130},
		{"lab", syscall.SIGTERM, 143},
		{"lab", syscall.SIGINT, 130},
	} {
		t.Run(c.verb+" "+c.signal.String(), func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(file, 0o600); err != nil {
				t.Fatal(err)
			}
			p := startProgram(t, c.verb, file)
			w, err := os.OpenFile(file, os.O_WRONLY, 0) // returns when it reads
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.WriteString(quietTopology); err != nil {
				t.Fatal(err)
			}
			p.signal(t, c.signal)
			if status := p.ends(t); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
		})
	}
}

// Neither SIGHUP nor a log without a reader ends the router.
func TestRunOutlivesItsTerminal(t *testing.T) {
	p := startProgram(t, "run", "--socket", "none", write(t, quietTopology))
	p.reads(t, " ready ")
	p.signal(t, syscall.SIGHUP)
	p.reads(t, "reloaded: nothing differs")
	for _, sig := range []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} {
		p.signal(t, sig)
	}
	p.signal(t, syscall.SIGHUP)
	p.reads(t, "reloaded: nothing differs")
	_ = p.pipe.Close()
	p.signal(t, syscall.SIGHUP) // its line goes to a closed pipe
	p.signal(t, syscall.SIGTERM)
	if status := p.ends(t); status != 0 {
		t.Errorf("status %d", status)
	}
}

// A SIGHUP reloads the file, also one that comes before the router is ready.
func TestReloadBySignal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, "run", "--socket", "none", path)
	w, err := os.OpenFile(path, os.O_WRONLY, 0) // returns when it reads
	if err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	if _, err := w.WriteString(quietTopology); err != nil {
		t.Fatal(err)
	}
	// The reload finds another file there.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	more := strings.ReplaceAll(quietTopology, "\"x\"", "\"y\"")
	more = quietTopology + strings.ReplaceAll(more, "192.0.2", "192.0.3")
	if err := os.WriteFile(path, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	p.reads(t, " ready ")
	p.reads(t, `added network "y"`)
	p.reads(t, "reloaded file="+path)
	p.signal(t, syscall.SIGTERM)
	if status := p.ends(t); status != 0 {
		t.Errorf("status %d", status)
	}
}

// Where SIGHUP is ignored, as by nohup, it changes nothing.
func TestHangupIgnored(t *testing.T) {
	path := write(t, quietTopology)
	p := startCommand(t, "sh", "-c", `trap "" HUP; exec "$0" run "$1"`, os.Args[0], path)
	p.reads(t, " ready ")
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid)); err == nil {
		var caught uint64
		_, mask, _ := strings.Cut(string(status), "SigCgt:\t")
		if _, err := fmt.Sscanf(mask, "%x", &caught); err != nil || caught&(1<<(syscall.SIGHUP-1)) != 0 {
			t.Errorf("it listens to SIGHUP: %x, %v", caught, err)
		}
	}
	p.signal(t, syscall.SIGHUP)
	p.signal(t, syscall.SIGTERM)
	if line := p.reads(t, "\n"); !strings.Contains(line, " stopping ") {
		t.Errorf("it says: %s", line)
	}
	if status := p.ends(t); status != 0 {
		t.Errorf("status %d", status)
	}
}
