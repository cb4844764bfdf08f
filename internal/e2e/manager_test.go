//go:build linux

package e2e_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A unitManager stands for systemd towards one service, as far as sd_notify(3) and sd_listen_fds(3) say: it hears the
// service's messages, keeps the descriptors that the service stores, and hands them to the next start.
type unitManager struct {
	*world
	socket *net.UnixConn
	path   string        // of the socket
	max    int           // FileDescriptorStoreMax
	env    []string      // more of the service's environment, such as WATCHDOG_USEC=
	told   chan string   // every message, up to a bound that no test reaches
	closed chan struct{} // when nothing is heard any more

	mu    sync.Mutex
	store []stored // in the order of their coming
}

// A stored descriptor belongs to the manager.
type stored struct {
	name string
	file *os.File
}

func (w *world) unitManager(maximum int) *unitManager {
	w.t.Helper()
	m := &unitManager{world: w, path: filepath.Join(filepath.Dir(w.file("x", "")), "notify"), max: maximum,
		told: make(chan string, 1<<12), closed: make(chan struct{})}
	var err error
	m.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	w.check(err)
	w.check(os.Chmod(m.path, 0o666)) // services have users of their own
	go m.listen()
	w.t.Cleanup(func() {
		m.socket.Close()
		<-m.closed
		m.forget(func(string) bool { return true })
	})
	return m
}

// listen hears messages until the socket is closed.
func (m *unitManager) listen() {
	defer close(m.closed)
	text, rights := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(4*253)) // SCM_MAX_FD
	for {
		n, oobn, _, _, err := m.socket.ReadMsgUnix(text, rights)
		if err != nil {
			return
		}
		m.hear(string(text[:n]), received(rights[:oobn]))
	}
}

// received returns the descriptors that came with a message.
func received(rights []byte) (files []*os.File) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "stored"))
		}
	}
	return files
}

// hear does what a message asks for. Descriptors beyond the store's size are closed, as systemd does it; so are those
// that a message without FDSTORE=1 brings, such as that of BARRIER=1, whose sender waits for the closing.
func (m *unitManager) hear(text string, files []*os.File) {
	fields := map[string]string{"FDNAME": "stored"}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		fields[key] = value
	}
	if fields["FDSTOREREMOVE"] == "1" {
		m.forget(func(name string) bool { return name == fields["FDNAME"] })
	}
	m.mu.Lock()
	for _, f := range files {
		if fields["FDSTORE"] != "1" || len(m.store) >= m.max {
			f.Close()
			continue
		}
		m.store = append(m.store, stored{fields["FDNAME"], f})
	}
	m.mu.Unlock()
	m.told <- text
}

// forget closes stored descriptors.
func (m *unitManager) forget(which func(name string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var left []stored
	for _, s := range m.store {
		if which(s.name) {
			s.file.Close()
		} else {
			left = append(left, s)
		}
	}
	m.store = left
}

// names are those of the stored descriptors, in order.
func (m *unitManager) names() (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.store {
		names = append(names, s.name)
	}
	return names
}

// hears waits for a message with a text, and returns it. Messages before it are passed over.
func (m *unitManager) hears(t *testing.T, want string) string {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case text := <-m.told:
			if strings.Contains(text, want) {
				return text
			}
		case <-timeout:
			t.Fatalf("the service manager was not told %q", want)
		}
	}
}

// start starts the service in a namespace, with what is stored. The store keeps its own descriptors.
func (m *unitManager) start(s *space, args ...string) *process {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	var files []*os.File
	for _, st := range m.store {
		names, files = append(names, st.name), append(files, st.file)
	}
	env := append([]string{"NOTIFY_SOCKET=" + m.path}, m.env...)
	own := `WATCHDOG_PID=$$; export WATCHDOG_PID; `
	if len(files) > 0 {
		env = append(env, fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
		own += `LISTEN_PID=$$; export LISTEN_PID; `
	}
	return s.startWith(files, append(append(append([]string{"env"}, env...), "sh", "-c", own+`exec "$@"`, "sh"),
		args...)...)
}

// The manager keeps what a service stores over its restarts, up to the store's size, until the service takes it away.
func TestUnitManager(t *testing.T) {
	need(t, "sh", "env")
	w := newWorld(t)
	s, m := w.space("service"), w.unitManager(2)
	service, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	w.check(err)
	defer unix.Close(service)
	send := func(text, content string) {
		t.Helper()
		var rights []byte
		if content != "" {
			fd, err := unix.MemfdCreate("content", unix.MFD_CLOEXEC)
			w.check(err)
			defer unix.Close(fd)
			_, err = unix.Write(fd, []byte(content))
			w.check(err)
			rights = unix.UnixRights(fd)
		}
		w.check(unix.Sendmsg(service, []byte(text), rights, &unix.SockaddrUnix{Name: m.path}, 0))
		m.hears(t, text)
	}
	const tell = `echo "$LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID - $$)) $((WATCHDOG_PID - $$)):"; ` +
		`for n in 3 4; do [ ! -e /proc/self/fd/$n ] || cat /proc/self/fd/$n; done; echo over`
	started := func(want string) {
		t.Helper()
		p := m.start(s, "sh", "-c", tell)
		p.wait(t, "over")
		if got := strings.ReplaceAll(p.stop(), "\n", " "); got != want+" over " {
			t.Errorf("a start gets %q, want %q", got, want)
		}
	}
	send("FDSTORE=1\nFDNAME=table", "one ")
	send("FDSTORE=1", "two ")
	send("FDSTORE=1\nFDNAME=late", "three ") // beyond the store's size
	send("BARRIER=1", "four ")
	for range 2 {
		started("2 table:stored 0 0: one two")
	}
	send("FDSTOREREMOVE=1\nFDNAME=table", "")
	started("1 stored 0 0: two")
	if names := m.names(); len(names) != 1 {
		t.Errorf("%q are stored", names)
	}
}

// A router under a watchdog tells the manager more than once that it works, and still after a reload.
func TestWatchdogIsTold(t *testing.T) {
	t.Parallel()
	need(t, "sh", "env")
	w := newWorld(t)
	s, m := w.space("router"), w.unitManager(0)
	m.env = []string{"WATCHDOG_USEC=200000"}
	p := m.start(s, program, "run", "--socket", "none", w.file("pair.toml", pairTopology))
	m.hears(t, "READY=1")
	m.hears(t, "WATCHDOG=1")
	m.hears(t, "WATCHDOG=1")
	w.check(p.cmd.Process.Signal(unix.SIGHUP))
	m.hears(t, "RELOADING=1")
	m.hears(t, "READY=1")
	m.hears(t, "WATCHDOG=1")
	p.stop()
	m.hears(t, "STOPPING=1")
}

// Neither SIGHUP nor SIGPIPE ends the router, nor output without a reader, or that was closed from the beginning.
func TestOutlivesItsReaders(t *testing.T) {
	need(t, "sh", "env", "ping")
	for name, outputs := range map[string]string{
		"closed":        `exec "$@" >&- 2>&-`,
		"without input": `exec "$@" <&- >&- 2>&-`,
		"pipe":          `trap '' USR1; { exec 3>&1; exec "$@" 2>&3; } | true`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s, m := w.space("router"), w.unitManager(0)
			pid := filepath.Join(filepath.Dir(m.path), "pid")
			topology := w.file("pair.toml", pairTopology)
			p := m.start(s, "sh", "-c", outputs, "sh", "sh", "-c", `echo $$ > "$0"; exec "$@"`, pid, program,
				"--log-level", "debug", "run", "--socket", "none", topology)
			m.hears(t, "READY=1")
			text, err := os.ReadFile(pid)
			w.check(err)
			var router int
			_, err = fmt.Sscan(string(text), &router)
			w.check(err)
			for range 3 {
				w.check(unix.Kill(router, unix.SIGPIPE))
				w.check(unix.Kill(router, unix.SIGHUP))
				m.hears(t, "RELOADING=1")
				m.hears(t, "READY=1")
			}
			w.check(unix.Kill(router, unix.SIGTERM))
			m.hears(t, "STOPPING=1")
			<-p.ended
		})
	}
}
