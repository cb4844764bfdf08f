package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// interval has the service manager ask for a sign of life.
func interval(t *testing.T, usec, pid string) {
	t.Helper()
	t.Setenv("WATCHDOG_USEC", usec)
	t.Setenv("WATCHDOG_PID", pid)
}

// The service manager is told only after the router has answered, at once and then twice in its interval.
func TestWatchdog(t *testing.T) {
	interval(t, "10000000", strconv.Itoa(os.Getpid()))
	m := listenAsManager(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var log bytes.Buffer
		began, asked := time.Now(), 0
		watchdog(ctx, newLogger(&log, slog.LevelInfo, "text"), func(ctx context.Context) error {
			if at, want := time.Since(began), time.Duration(asked)*5*time.Second; at != want {
				t.Errorf("question %d after %v, want %v", asked, at, want)
			}
			asked++
			switch asked {
			case 2: // a worker that hangs
				<-ctx.Done()
				return ctx.Err()
			case 4:
				stop()
			}
			return nil
		})
		if asked != 4 {
			t.Errorf("asked %d times, want 4", asked)
		}
		if n := strings.Count(log.String(), "watchdog: "); n != 1 {
			t.Errorf("the log has %d lines about a router that does not answer, want 1:\n%s", n, log.String())
		}
	})
	m.hears(t, "WATCHDOG=1") // for the first answer
	m.hears(t, "WATCHDOG=1") // for the third
	m.hearsNothing(t)
}

// An interval that is none, is not there, or is for another process, asks for nothing.
func TestNoWatchdog(t *testing.T) {
	for _, c := range []struct{ usec, pid, want string }{
		{"", "", ""},
		{"1000000", "1", ""},
		{"soon", "", "warning: no watchdog"},
		{"-1", "", "warning: no watchdog"},
	} {
		interval(t, c.usec, c.pid)
		var log bytes.Buffer
		watchdog(t.Context(), newLogger(&log, slog.LevelInfo, "text"), func(context.Context) error {
			t.Errorf("%v: asked", c)
			return os.ErrInvalid
		})
		if got := log.String(); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%v: the log has %q", c, got)
		}
	}
}
