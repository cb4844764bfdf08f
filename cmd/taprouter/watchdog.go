package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

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
