package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// newLogger returns the program's logger. The level may be one that changes.
func newLogger(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(&humanHandler{w: w, level: level, mu: new(sync.Mutex), color: isTerminal(w)})
}

// A humanHandler writes log lines for people: date and time, level where it matters,
// message, then the keys.
type humanHandler struct {
	w     io.Writer
	level slog.Leveler
	color bool
	mu    *sync.Mutex
	attrs []byte // of WithAttrs, written already
	group string
}

// Enabled implements slog.Handler.
func (h *humanHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements slog.Handler.
func (h *humanHandler) Handle(_ context.Context, r slog.Record) error {
	var b bytes.Buffer
	if !r.Time.IsZero() {
		b.WriteString(r.Time.Format("2006-01-02 15:04:05.000 "))
	}
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString(h.paint("31", "error: "))
	case r.Level >= slog.LevelWarn:
		b.WriteString(h.paint("33", "warning: "))
	case r.Level < slog.LevelInfo:
		b.WriteString(h.paint("2", "debug: "))
	}
	writeMessage(&b, r.Message)
	b.Write(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.group, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(b.Bytes())
	return err
}

func (h *humanHandler) paint(code, text string) string {
	if !h.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// writeMessage writes a message, which may have names of objects in it: a name may not begin a line of its own.
func writeMessage(b *bytes.Buffer, text string) {
	for _, r := range text {
		if unprintable(r) {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
}

// writeAttr writes one key and value.
func writeAttr(b *bytes.Buffer, group string, a slog.Attr) {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return
	}
	if v.Kind() == slog.KindGroup {
		for _, inner := range v.Group() {
			writeAttr(b, group+a.Key+".", inner)
		}
		return
	}
	text := v.String()
	if text == "" || strings.ContainsAny(text, " \"=") || strings.ContainsFunc(text, unprintable) {
		text = strconv.Quote(text)
	}
	fmt.Fprintf(b, " %s%s=%s", group, a.Key, text)
}

// unprintable says whether a terminal might take a character for more than text. Values may be what clients have sent.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// WithAttrs implements slog.Handler.
func (h *humanHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	b := bytes.NewBuffer(bytes.Clone(h.attrs))
	for _, a := range attrs {
		writeAttr(b, h.group, a)
	}
	c := *h
	c.attrs = b.Bytes()
	return &c
}

// WithGroup implements slog.Handler.
func (h *humanHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}
