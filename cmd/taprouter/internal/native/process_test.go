package native_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/native"
	"github.com/taprouter/taprouter/config"
)

func TestLogLevel(t *testing.T) {
	w := newWorld(t, nil)
	if a := w.do("PUT", "/log-level", `{"level":"DEBUG"}`); a.body != `{"level":"debug"}`+"\n" ||
		w.opt.Level.Level() != slog.LevelDebug {
		t.Errorf("%q, %v", a, w.opt.Level)
	}
	if a := w.do("GET", "/log-level", ""); a.body != `{"level":"debug"}`+"\n" {
		t.Errorf("%q", a)
	}
}

// What the process does not have is said to be so.
func TestWithout(t *testing.T) {
	w := newWorld(t, func(o *native.Options) {
		o.Events, o.Metrics, o.Level, o.Upgrade, o.Local = nil, nil, nil, nil, nil
		o.Ready = func() error { return errors.New("devices are being opened") }
	})
	for path, want := range map[string]int{
		"GET /events": 501, "GET /metrics": 501, "GET /log-level": 501, "PUT /log-level": 501, "POST /upgrade": 501,
		"GET /debug/pprof/": 403, "GET /readyz": 503, "GET /healthz": 200,
	} {
		method, path, _ := strings.Cut(path, " ")
		if a := w.do(method, path, `{"level":"info"}`); a.status != want {
			t.Errorf("%s %s: %q, want %d", method, path, a, want)
		}
	}
}

func TestUpgrade(t *testing.T) {
	begun := 0
	w := newWorld(t, func(o *native.Options) {
		o.Upgrade = func(context.Context) error {
			if begun++; begun > 1 {
				return errors.New("the program is not there any more")
			}
			return nil
		}
	})
	if a := w.do("POST", "/upgrade", ""); a.status != 202 {
		t.Errorf("%q", a)
	}
	if a := w.do("POST", "/upgrade", ""); a.status != 500 || !strings.Contains(a.body, "not there") {
		t.Errorf("%q", a)
	}
}

// A change that does not end makes the router ill, and so does its end.
func TestHealth(t *testing.T) {
	w := newWorld(t, nil)
	if a := w.do("GET", "/healthz", ""); a.status != 200 {
		t.Errorf("%q", a)
	}
	release, held := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.opt.Control.Edit(context.Background(), func(*config.Draft) error {
			close(held)
			<-release
			return errors.New("nothing")
		})
	}()
	<-held
	if a := w.do("GET", "/healthz", ""); a.status != 503 || !strings.Contains(a.body, "change") {
		t.Errorf("%q", a)
	}
	close(release)
	<-done
	w.engine.Close()
	if a := w.do("GET", "/healthz", ""); a.status != 503 {
		t.Errorf("%q", a)
	}
	if a := w.do("GET", "/connections", ""); a.status != 503 && a.status != 200 {
		t.Errorf("%q", a)
	}
}
