package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router/control"
)

// A problem is an error as clients see it (RFC 9457).
type problem struct {
	Type     string  `json:"type" doc:"Always about:blank: the status says what kind of problem it is."`
	Title    string  `json:"title" doc:"The status in words."`
	Status   int     `json:"status"`
	Detail   string  `json:"detail" doc:"What is wrong, and the way out."`
	Instance string  `json:"instance,omitempty" doc:"The id of the request, as in the log."`
	Faults   []fault `json:"faults,omitempty" doc:"Everything that is wrong with a topology, in the order of its lines."`
}

// Error implements error.
func (p *problem) Error() string { return p.Detail }

// A fault is one thing that is wrong, or unwise.
type fault struct {
	File    string `json:"file,omitempty" doc:"Name of the topology file."`
	Line    int    `json:"line,omitempty" doc:"Line of the file, from 1."`
	Kind    string `json:"kind,omitempty" doc:"Kind of the object."`
	ID      string `json:"id,omitempty" doc:"The object."`
	Field   string `json:"field,omitempty" doc:"The attribute, as in the topology file."`
	Message string `json:"message"`
}

func problemf(status int, format string, args ...any) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *problem {
	return problemf(http.StatusNotFound, format, args...)
}

func badRequest(format string, args ...any) *problem {
	return problemf(http.StatusBadRequest, format, args...)
}

// problemOf makes a problem of any error.
func problemOf(err error) *problem {
	var p *problem
	var inFile file.Faults
	var inState config.Faults
	var refused *control.Refusal
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		c := *p
		return &c
	case errors.As(err, &inFile):
		p = problemf(http.StatusUnprocessableEntity, "%s", counted(len(inFile)))
		p.Faults = fileFaults(inFile)
	case errors.As(err, &refused):
		status := http.StatusUnprocessableEntity
		if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrPermission) {
			status = http.StatusConflict
		}
		p = problemf(status, "%s", counted(len(refused.Faults)))
		p.Faults = stateFaults(refused.Faults)
	case errors.As(err, &inState):
		p = problemf(http.StatusUnprocessableEntity, "%s", counted(len(inState)))
		p.Faults = stateFaults(inState)
	case errors.Is(err, ErrRevision):
		p = problemf(http.StatusPreconditionFailed, "%s", err)
	case errors.As(err, &tooLong):
		p = problemf(http.StatusRequestEntityTooLarge, "The body is longer than %d bytes.", tooLong.Limit)
	case errors.Is(err, os.ErrClosed):
		p = problemf(http.StatusServiceUnavailable, "The router is going down.")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p = problemf(http.StatusServiceUnavailable, "The router has not answered in time: %v.", err)
	case errors.Is(err, control.ErrNotKept): // the disk is full, for example
		p = problemf(http.StatusServiceUnavailable, "%v", err)
	default:
		p = problemf(http.StatusInternalServerError, "%v", err)
	}
	return p
}

func counted(n int) string {
	if n == 1 {
		return "There is a fault in the topology. Nothing has been changed."
	}
	return fmt.Sprintf("There are %d faults in the topology. Nothing has been changed.", n)
}

func fileFaults(all file.Faults) []fault {
	list := make([]fault, 0, len(all))
	for _, f := range all {
		list = append(list, fault{File: f.File, Line: f.Line, Field: f.Path, Message: f.Message})
	}
	return list
}

func stateFaults(all config.Faults) []fault {
	list := make([]fault, 0, len(all))
	for _, f := range all {
		list = append(list, fault{f.Source.File, f.Source.Line, kindOf(f.Ref), string(f.Ref.ID), f.Field, f.Message})
	}
	return list
}

// kindOf is the kind of an object, empty if there is no object.
func kindOf(r config.Ref) string {
	if r.ID == "" {
		return ""
	}
	return r.Kind.String()
}

// fail answers a request with an error.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	p.Instance = a.opt.RequestID(r.Context())
	a.opt.Note(r.Context(), "err", p.Detail)
	if p.Status >= http.StatusInternalServerError && p.Status != http.StatusNotImplemented {
		a.opt.Logger.Log(r.Context(), slog.LevelError, "request failed", "request", p.Instance, "method", r.Method,
			"path", r.URL.Path, "err", err)
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	text, err := json.Marshal(p)
	if err != nil { // texts and numbers can be written
		text = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(text, '\n'))
	}
}

// ignoreUnsupported is for writers of tests, which cannot flush.
func ignoreUnsupported(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}
