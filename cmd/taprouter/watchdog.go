package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// A health finds out whether a router still works: its workers answer, and changes come to their end.
type health struct {
	workers func()                      // returns when every worker has answered, at the latest at the engine's end
	changes func(context.Context) error // returns when no change is being made
	asked   chan struct{}               // closed when the workers have answered; nil: they are not asked now
}

func healthOf(e *router.Engine, c *control.Control) *health {
	return &health{workers: func() { _ = e.Stats() }, changes: c.Idle}
}

// alive returns an error if the router does not answer before the context ends. Callers serialize. There is never more
// than one question to the workers: while they do not answer one, the next call waits for its answer first.
func (h *health) alive(ctx context.Context) error {
	for late := h.asked != nil; ; late = false {
		if !late {
			answered := make(chan struct{})
			h.asked = answered
			go func() {
				h.workers()
				close(answered)
			}()
		}
		select {
		case <-h.asked:
			h.asked = nil
		case <-ctx.Done():
			return fmt.Errorf("a worker does not answer: %w", ctx.Err())
		}
		if !late {
			break
		}
	}
	if err := h.changes(ctx); err != nil {
		return fmt.Errorf("a change does not end: %w", err)
	}
	return nil
}

// watchdog tells the service manager twice in its interval that the router works (WatchdogSec= in systemd.service(5)),
// until the context ends. While the router does not work it says nothing. The manager then ends the process, and starts
// it again. Without an interval, or with one for another process, it returns at once.
func watchdog(ctx context.Context, log *slog.Logger, alive func(context.Context) error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("no watchdog: the service manager's interval cannot be read", "err", err)
	}
	if interval <= 0 || err != nil {
		return
	}
	half := interval / 2
	tick := time.NewTicker(max(half, 1))
	defer tick.Stop()
	for {
		ask, cancel := context.WithTimeout(ctx, half)
		err := alive(ask)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Error("watchdog: the service manager is not told that the router works", "err", err)
		default:
			notify(log, daemon.SdNotifyWatchdog)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
