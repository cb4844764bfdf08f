package host

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/log"
)

// A stackLog hands the stack's own messages to the loggers of the hosts that are
// open. gVisor has one log for the whole process, which writes to standard error,
// and its messages do not say which host they are about.
type stackLog struct {
	mu      sync.Mutex
	loggers map[*slog.Logger]int // how many open hosts have it
	taken   bool
}

var messages = &stackLog{loggers: map[*slog.Logger]int{}}

// open adds a host's logger, nil for none. The first call takes over gVisor's log,
// unless the program has given it a target of its own.
func (m *stackLog) open(l *slog.Logger) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.taken {
		m.taken = true
		if _, isDefault := log.Log().Emitter.(log.GoogleEmitter); isDefault {
			log.SetTarget(m)
		}
	}
	if l != nil {
		m.loggers[l]++
	}
}

// close takes a host's logger away.
func (m *stackLog) close(l *slog.Logger) {
	if l == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loggers[l]--; m.loggers[l] <= 0 {
		delete(m.loggers, l)
	}
}

// Emit implements log.Emitter.
func (m *stackLog) Emit(_ int, level log.Level, _ time.Time, format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := ""
	for l := range m.loggers {
		if !l.Enabled(context.Background(), slog.LevelDebug) {
			continue
		}
		if text == "" {
			text = fmt.Sprintf(format, args...)
		}
		l.Debug("the TCP/IP stack says", "level", level.String(), "text", text)
	}
}
