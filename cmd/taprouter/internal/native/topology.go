package native

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router/control"
)

// A Topology is the part of the State that a topology file owns. Any number of goroutines call the methods.
type Topology interface {
	// Revision is that of the State which is served. It grows with every change.
	Revision() uint64
	// Plan says what Apply would do.
	Plan(ctx context.Context, f *file.File, opt ApplyOptions) (Applied, error)
	// Apply has the file take the place of the one before. An error changes nothing. It wraps ErrRevision if another
	// revision than that of the options is served. It is a file.Faults, a config.Faults or a *control.Refusal if the
	// file is wrong, or if other objects are in its way.
	Apply(ctx context.Context, f *file.File, opt ApplyOptions) (Applied, error)
	// Export writes the whole State as a topology file, and returns its revision.
	Export(w io.Writer) (revision uint64, err error)
}

// ErrRevision says that another revision is served than the one that a client has seen.
var ErrRevision = errors.New("another revision is served")

// ApplyOptions say how a file is applied.
type ApplyOptions struct {
	Revision uint64 // that must be served; 0: any
	Cascade  bool   // objects of the API that hang on objects which vanish go with them, instead of being in the way
	Request  string // id of the request
}

// Applied says what an application does, or has done.
type Applied struct {
	Revision uint64        // that is served now
	Lines    []config.Line // what changes; none: nothing does
	Warnings file.Faults   // what is allowed but unwise
	Notes    []string      // what a person should know besides: values that the file takes over, for example
}

const (
	// maxTopology bounds a topology file, in bytes: as package file does.
	maxTopology = 16 << 20
	// maxName bounds the name of a topology file, in bytes.
	maxName = 255
)

// An applied is the answer of plan and apply.
type applied struct {
	Revision uint64   `json:"revision" doc:"The revision that is served now."`
	Changes  []change `json:"changes" doc:"Objects that are added, changed and removed."`
	Warnings []fault  `json:"warnings" doc:"What is allowed but unwise."`
	Notes    []string `json:"notes" doc:"What else a person should know."`
}

// A change is what becomes of one object.
type change struct {
	Op         string      `json:"op" doc:"added, changed or removed"`
	Kind       string      `json:"kind"`
	ID         string      `json:"id"`
	Name       string      `json:"name" doc:"As people call the object, with its kind."`
	Attributes []attribute `json:"attributes,omitempty" doc:"Of a new object those that may have been chosen for it."`
	FormerID   string      `json:"former_id,omitempty" doc:"The object that this one looks like renamed."`
	FormerName string      `json:"former_name,omitempty"`
	Effects    []effect    `json:"effects,omitempty" doc:"For connections."`
	File       string      `json:"file,omitempty"`
	Line       int         `json:"line,omitempty"`
	Request    string      `json:"request,omitempty" doc:"The request that has made the object as it is now."`
}

type attribute struct {
	Name        string   `json:"name"`
	Before      string   `json:"before,omitempty"`
	After       string   `json:"after,omitempty"`
	Added       []string `json:"added,omitempty"`
	Removed     []string `json:"removed,omitempty"`
	AtNextStart bool     `json:"at_next_start,omitempty" doc:"The process goes on with what it has."`
}

type effect struct {
	Fate string `json:"fate" doc:"kept, re-pinned or ended"`
	Text string `json:"text"`
}

func changeOf(l *config.Line) change {
	c := change{Op: l.Op.String(), Kind: l.Kind.String(), ID: string(l.ID), Name: l.Name,
		File: l.Source.File, Line: l.Source.Line, Request: l.Source.Request}
	for _, at := range l.Attributes {
		c.Attributes = append(c.Attributes, attribute(at))
	}
	for _, e := range l.Effects {
		c.Effects = append(c.Effects, effect{e.Fate.String(), e.Text})
	}
	if l.Former != nil {
		c.FormerID, c.FormerName = string(l.Former.ID), l.Former.Name
	}
	return c
}

// plan answers what a topology file would change.
func (a *API) plan(w http.ResponseWriter, r *http.Request) error {
	return a.applyBy(w, r, a.opt.Topology.Plan)
}

// apply has a topology file take the place of the one before.
func (a *API) apply(w http.ResponseWriter, r *http.Request) error {
	return a.applyBy(w, r, a.opt.Topology.Apply)
}

func (a *API) applyBy(w http.ResponseWriter, r *http.Request,
	do func(context.Context, *file.File, ApplyOptions) (Applied, error)) error {
	opt := ApplyOptions{Request: a.opt.RequestID(r.Context())}
	var err error
	if opt.Cascade, err = flag(r, "cascade"); err != nil {
		return err
	}
	if opt.Revision, err = matchOf(r.Header.Values("If-Match")); err != nil {
		return err
	}
	f, err := readTopology(r)
	if err != nil {
		return err
	}
	done, err := do(r.Context(), f, opt)
	if err != nil {
		return placed(f, err)
	}
	w.Header().Set("ETag", tagOf(done.Revision))
	out := applied{Revision: done.Revision, Changes: []change{}, Warnings: fileFaults(done.Warnings),
		Notes: append([]string{}, done.Notes...)}
	for i := range done.Lines {
		out.Changes = append(out.Changes, changeOf(&done.Lines[i]))
	}
	return a.answer(w, r, http.StatusOK, out)
}

// readTopology reads the topology file of a request.
func readTopology(r *http.Request) (*file.File, error) {
	name := r.URL.Query().Get("name")
	switch {
	case name == "":
		name = "topology"
	case len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable):
		return nil, badRequest("The name of the file has more than %d bytes, or characters that cannot be printed.",
			maxName)
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, badRequest("The body is empty: send a topology file. One with only a comment takes all away.")
	}
	return file.Read(name, bytes.NewReader(text))
}

func unprintable(c rune) bool { return !unicode.IsPrint(c) }

// placed finds the lines of what is wrong with a file.
func placed(f *file.File, err error) error {
	var wrong config.Faults
	var refused *control.Refusal
	switch {
	case errors.As(err, &refused):
		wrong = refused.Faults
	case !errors.As(err, &wrong):
		return err
	}
	p := problemOf(err)
	if faults, _ := f.Faults(wrong); len(faults) > 0 {
		p.Faults = fileFaults(faults)
	}
	return p
}

// matchOf reads the header If-Match. 0 is any revision.
func matchOf(values []string) (uint64, error) {
	switch {
	case len(values) == 0:
		return 0, nil
	case len(values) == 1 && strings.TrimSpace(values[0]) == "*":
		return 0, nil
	case len(values) == 1:
		if text, ok := strings.CutPrefix(strings.TrimSpace(values[0]), `"`); ok {
			if text, ok = strings.CutSuffix(text, `"`); ok {
				if n, err := strconv.ParseUint(text, 10, 64); err == nil && n > 0 {
					return n, nil
				}
			}
		}
	}
	return 0, badRequest("If-Match is one revision in quotation marks, as in an ETag: %q.", tagOf(17))
}

func tagOf(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }

// export answers with the whole State as a topology file.
func (a *API) export(w http.ResponseWriter, r *http.Request) error {
	var text bytes.Buffer // an error comes before the first byte, and the revision too
	revision, err := a.opt.Topology.Export(&text)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/toml")
	w.Header().Set("ETag", tagOf(revision))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		s := newStream(w)
		_, err := text.WriteTo(s.Writer)
		return s.end(err)
	}
	return nil
}
