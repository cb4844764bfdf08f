//go:build linux

package serve

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Only the owner may use the socket, also where the process makes files for all.
func TestSocketMode(t *testing.T) {
	former := syscall.Umask(0)
	defer syscall.Umask(former)
	path := filepath.Join(short(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + "2", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = closeToOthers(raw) // after bind it is too late
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return closeToOthers(c) }}
	early, err := config.Listen(t.Context(), "unix", path+"3") // so nobody can connect before openSocket's chmod
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	for name, want := range map[string]os.FileMode{path + "2": 0o777, path + "3": 0o600, path: 0o600} {
		if name == path {
			s, err := openSocket(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
		}
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %o", filepath.Base(name), info.Mode(), err, want)
		}
	}
}

// A socket that is served stays, and so does what is no socket. One that was left behind is replaced.
func TestSocketPlaces(t *testing.T) {
	dir := short(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	refused := func(path, want string) {
		t.Helper()
		s, err := openSocket(path, nil)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %q and the path in it", err, want)
		}
	}
	if err := os.WriteFile(at("file"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(at("file"), "no socket")
	if text, err := os.ReadFile(at("file")); err != nil || string(text) != "mine" {
		t.Errorf("the file is %q, %v", text, err)
	}
	if err := os.Mkdir(at("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	refused(at("folder"), "no socket")
	if err := os.Symlink(at("file"), at("link")); err != nil {
		t.Fatal(err)
	}
	refused(at("link"), "no socket")
	if err := os.Symlink(at("file"), at("x.lock")); err != nil {
		t.Fatal(err)
	}
	refused(at("x"), "too many levels of symbolic links")

	if err := os.Link(at("file"), at("y.lock")); err != nil {
		t.Fatal(err)
	}
	refused(at("y"), "with other names")
	if text, err := os.ReadFile(at("file")); err != nil || string(text) != "mine" {
		t.Errorf("the file under two names is %q, %v", text, err)
	}
	if err := syscall.Mkfifo(at("z.lock"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(at("z"), "it is no file")

	other, err := net.Listen("unix", at("other")) // of a process that makes no lock
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	refused(at("other"), "a running process serves it")

	first, err := openSocket(at("s"), nil)
	if err != nil {
		t.Fatal(err)
	}
	refused(at("s"), "(pid "+strconv.Itoa(os.Getpid())+")")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(at("s")); err == nil {
		t.Error("the socket is left")
	}

	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: at("stale"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	second, err := openSocket(at("stale"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if c, err := net.Dial("unix", at("stale")); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

// A message names the owner of a lock by its number only, whatever the file says.
func TestLockOwner(t *testing.T) {
	path := filepath.Join(short(t), "s")
	for text, want := range map[string]string{"123\n": "it (pid 123): ", "\x1b[2Jgone": "it: ", "-1": "it: ",
		"": "it: ", strings.Repeat("9", 1<<20): "it: ", "4294967296": "it: "} {
		if err := os.WriteFile(path+".lock", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		lock, err := os.Open(path + ".lock")
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			t.Fatal(err)
		}
		s, err := openSocket(path, nil)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a lock with %.20q: %v, want %q", text, err, want)
		}
		lock.Close()
	}
}

// Of many that want a stale socket at once, one gets it.
func TestSocketRace(t *testing.T) {
	path := filepath.Join(short(t), "s")
	for range 20 {
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		stale.Close()
		var all sync.WaitGroup
		got := make(chan net.Listener, 8)
		for range cap(got) {
			all.Go(func() {
				if l, err := openSocket(path, nil); err == nil {
					got <- l
				}
			})
		}
		all.Wait()
		if len(got) != 1 {
			t.Fatalf("%d have the socket", len(got))
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err != nil {
			t.Fatal(err)
		} else {
			c.Close()
		}
		(<-got).Close()
	}
}

// A Server hands its doors over: clients find them open throughout, nobody else gets the socket, and its name goes when
// the last process ends.
func TestHandOver(t *testing.T) {
	opt := Options{Listen: []string{"127.0.0.1:0"}, Socket: filepath.Join(short(t), "s")}
	first := open(t, opt)
	first.Serve(Service{Handler: http.HandlerFunc(echo)})
	files, err := first.HandOver()
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	first.Close()
	early, err := net.Dial("unix", opt.Socket) // waits for the next process
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if s, err := openSocket(opt.Socket, nil); err == nil {
		s.Close()
		t.Error("another process gets the socket meanwhile")
	}
	opt.Former = files
	second := open(t, opt)
	if second.tcp != first.tcp {
		t.Errorf("the address is %s, and was %s", second.tcp, first.tcp)
	}
	second.Serve(Service{Handler: http.HandlerFunc(echo)})
	if _, err := early.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufioReader(early), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	early.Close()
	if status, _, _ := second.raw("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); status != 200 {
		t.Errorf("by TCP: %d", status)
	}
	second.Close()
	if _, err := os.Lstat(opt.Socket); err == nil {
		t.Error("the socket is left")
	}
	third, err := openSocket(opt.Socket, nil)
	if err != nil {
		t.Fatalf("after the last process: %v", err)
	}
	third.Close()
}

// Without its default socket a Server goes on, and says why. One that was asked for must open.
func TestDefaultSocket(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may have the default socket; TestNoDefaultSocket of cmd/taprouter takes it first")
	}
	log := &record{}
	s, err := Open(Options{Logger: newTextLogger(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Serve(Service{Handler: http.HandlerFunc(echo)})
	if len(s.Addresses()) != 0 || !strings.Contains(log.String(), DefaultSocket) {
		t.Errorf("%v\n%s", s.Addresses(), log.String())
	}
	if s, err := Open(Options{Socket: DefaultSocket}); err == nil {
		s.Close()
		t.Error("a socket that was asked for does not open, and that is no error")
	}
}
