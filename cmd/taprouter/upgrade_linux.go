package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/router"
)

// handOverVariable is the variable of the environment that has the process id and the descriptor of a handOver.
const handOverVariable = "TAPROUTER_HANDOVER"

// handOverMost bounds a handOver, in bytes.
const handOverMost = 64 << 20

// newFormer finds what the process before has left: the program that was executed here before this one, or one whose
// descriptors the service manager has kept.
func newFormer(log *slog.Logger) (*former, error) {
	text, ok := os.LookupEnv(handOverVariable)
	_ = os.Unsetenv(handOverVariable) // cannot fail; it is of no use to another program
	pid, number, _ := strings.Cut(text, ":")
	if !ok || pid != strconv.Itoa(os.Getpid()) {
		return fromStore(activation.Files(true), log), nil
	}
	fd, err := strconv.Atoi(number)
	if err != nil {
		return nil, fmt.Errorf("%s=%s: %w", handOverVariable, text, err)
	}
	f, err := readHandOver(fd)
	if err != nil {
		return nil, fmt.Errorf("what the program before has handed over: %w", err)
	}
	return f, nil
}

func readHandOver(fd int) (*former, error) {
	file := adopt(fd, "handover")
	defer file.Close()
	var h handOver
	if err := json.NewDecoder(io.LimitReader(file, handOverMost)).Decode(&h); err != nil {
		return nil, err
	}
	f := &former{stored: map[string]storedFile{}, doors: map[string]*os.File{}, halted: time.Duration(h.Halted)}
	for _, d := range h.Descriptors {
		file := adopt(d.FD, d.Name)
		if d.Stored != "" {
			if same, err := duplicate(file); err == nil {
				f.stored[d.Name] = storedFile{d.Stored, same}
			}
		}
		f.descriptors = append(f.descriptors, router.Descriptor{Name: d.Name, File: file})
	}
	for _, d := range h.Doors {
		f.doors[d.Name] = adopt(d.FD, d.Name)
	}
	if h.Records != 0 {
		f.records = adopt(h.Records, "connections")
	}
	return f, nil
}

// adopt makes a file of an inherited descriptor, which goes no further.
func adopt(fd int, name string) *os.File {
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}

// A leaving is a process that another program goes on in.
type leaving struct {
	*upgrade
	engine *router.Engine
	keeper *keeper
	doors  map[string]*os.File // listeners; the leaving closes them
	close  func()              // closes the store
}

// leave executes the new program. It returns only if not even the present one can be executed again.
func (l *leaving) leave() error {
	var h handOver
	var files []*os.File // closed by the end of the process
	hand := func(f *os.File, name, stored string) handedOver {
		files = append(files, f)
		return handedOver{int(f.Fd()), name, stored}
	}
	all, err := l.engine.Descriptors()
	if err != nil {
		l.log.Warn("not all tables and devices can be handed over", "err", err)
	}
	for _, d := range all {
		h.Descriptors = append(h.Descriptors, hand(d.File, d.Name, l.keeper.has(d.Name)))
	}
	for name, f := range l.doors {
		h.Doors = append(h.Doors, hand(f, name, ""))
	}
	l.close()
	defer l.engine.Halt()() // as late as can be: packets wait from now on
	h.Halted = int64(monotonic())
	program, save := l.program, l.engine.Inspect().SaveNeighbors
	if l.layout != router.Layout() {
		save = l.engine.SaveConnections
	}
	if f, err := l.records(save); err == nil {
		h.Records = hand(f, "connections", "").FD
	} else if l.layout != router.Layout() {
		l.log.Error("connections cannot be written for the new program: the present one goes on", "err", err)
		program = self
	} else {
		l.log.Warn("neighbors cannot be written for the new program, and are asked for anew", "err", err)
	}
	err = l.execute(program, &h, files)
	if program != self {
		l.log.Error("the new program cannot be executed: the present one goes on", "program", program, "err", err)
		err = l.execute(self, &h, files)
	}
	return err
}

// self is the program that the process executes, also if its file has been removed.
const self = "/proc/self/exe"

// records writes what is saved of connections and neighbors to a file in memory.
func (l *leaving) records(save func(io.Writer) error) (*os.File, error) {
	f, err := memoryFile("taprouter connections")
	if err != nil {
		return nil, err
	}
	if err = save(f); err == nil {
		err = rewind(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func memoryFile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// execute replaces the program. It returns only if that fails.
func (l *leaving) execute(program string, h *handOver, files []*os.File) error {
	f, err := memoryFile("taprouter handover")
	if err != nil {
		return err
	}
	defer f.Close()
	if err = json.NewEncoder(f).Encode(h); err == nil {
		err = rewind(f)
	}
	if err == nil {
		err = passRights()
	}
	if err != nil {
		return err
	}
	for _, file := range append(files, f) {
		if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
			return err
		}
	}
	// Signals that come from now on wait until the new program hears them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block, before unix.Sigset_t
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		block.Val[(s-1)/wordBits] |= 1 << ((s - 1) % wordBits)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &before); err != nil {
		return err
	}
	env := append(os.Environ(), fmt.Sprintf("%s=%d:%d", handOverVariable, os.Getpid(), f.Fd()))
	err = syscall.Exec(program, append([]string{os.Args[0]}, l.args...), env)
	return errors.Join(&os.PathError{Op: "execute", Path: program, Err: err},
		unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil))
}

// wordBits are the bits of a word of a set of signals.
const wordBits = 32 << (^uint(0) >> 63)
