package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
)

// The signals that end a command. Until it listens to them, as while it reads its file, they
// have their default action: the process ends at once.
var endSignals = []os.Signal{syscall.SIGTERM, os.Interrupt}

// interruptible returns a context that ends with the first signal to end, so that what a
// command has made is taken back. A terminal that goes away is such a signal. A second signal
// ends the process at once.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	signals := endSignals
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals[:len(signals):len(signals)], syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// startGrace is how long a start that is told to end may go on, to take back the devices
// that it has made.
const startGrace = 2 * time.Second

// A service is how `run` hears signals: it ends with status 0 by SIGTERM and SIGINT, reloads its file by SIGHUP, and
// goes on without its log or its terminal.
type service struct {
	end     context.CancelFunc
	opening atomic.Bool // there may be devices to take back
	started atomic.Bool
	signals chan os.Signal
	reloads chan os.Signal // holds one of the SIGHUPs that have come and are not obeyed yet
	done    chan struct{}
}

// newService begins to listen. The context ends with the first signal to end.
func newService(ctx context.Context) (context.Context, *service) {
	s := &service{signals: make(chan os.Signal, 8), reloads: make(chan os.Signal, 1), done: make(chan struct{})}
	ctx, s.end = context.WithCancel(ctx)
	// The reader of the log may end (a pipe to head). Then writing to the log fails, and the
	// process goes on.
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(s.signals, endSignals...)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(s.reloads, syscall.SIGHUP)
	}
	go s.listen()
	return ctx, s
}

func (s *service) listen() {
	for {
		select {
		case <-s.done:
			return
		case <-s.signals:
			s.hear()
		}
	}
}

// hear hears a signal to end.
func (s *service) hear() {
	if !s.opening.Load() {
		os.Exit(exitOK) // reading or checking the file: nothing is there yet
	}
	signal.Reset(endSignals...) // the next one ends the process, whatever it does
	s.end()
	if !s.started.Load() {
		time.AfterFunc(startGrace, func() {
			if !s.started.Load() {
				os.Exit(exitOK)
			}
		})
	}
}

// stop ends the listening.
func (s *service) stop() {
	signal.Stop(s.signals)
	signal.Stop(s.reloads)
	signal.Reset(syscall.SIGPIPE)
	close(s.done)
	s.end()
}

// crashBySignal has a crash end the process by SIGABRT, with the stacks of all goroutines in the log. Otherwise the
// runtime ends it with the status exitUsage, and a service manager does not start it again: for such a status a restart
// is of no use. The same holds for the SIGABRT by which systemd's watchdog ends a process.
func crashBySignal() { debug.SetTraceback("crash") }
