package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/native"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/ownership"
	"github.com/taprouter/taprouter/config/file"
)

// A topology is the file's part of the State, as the router's own API plans, applies and exports it.
type topology struct{ *reloader }

// Revision implements native.Topology.
func (t topology) Revision() uint64 { return uint64(t.own.Revision()) }

// Plan implements native.Topology.
func (t topology) Plan(ctx context.Context, f *file.File, opt native.ApplyOptions) (native.Applied, error) {
	return t.put(ctx, f, opt, true)
}

// Apply implements native.Topology. The log has what changes, as it has of a reload.
func (t topology) Apply(ctx context.Context, f *file.File, opt native.ApplyOptions) (native.Applied, error) {
	return t.put(ctx, f, opt, false)
}

// Export implements native.Topology.
func (t topology) Export(w io.Writer) (uint64, error) {
	revision := t.Revision() // what changes meanwhile has a higher one, and a client that names this one is refused
	return revision, t.own.Export(w)
}

func (t topology) put(ctx context.Context, f *file.File, opt native.ApplyOptions, dry bool) (native.Applied, error) {
	if faults := t.forbidden(f); len(faults) > 0 {
		return native.Applied{}, faults
	}
	options := ownership.ApplyOptions{Cascade: opt.Cascade, Revision: int64(opt.Revision)}
	var result ownership.Result
	var err error
	if options.DryRun = dry; dry {
		result, err = t.own.Apply(ctx, f, options)
	} else {
		result, err = t.apply(ctx, f, options)
	}
	if errors.Is(err, ownership.ErrRevision) {
		return native.Applied{}, fmt.Errorf("%w: it is %d", native.ErrRevision, t.Revision())
	} else if err != nil {
		return native.Applied{}, placed(f, err)
	}
	_, warnings := f.Faults(result.Warnings)
	done := native.Applied{Revision: t.Revision(), Lines: result.Lines(), Warnings: append(warnings, f.Warnings()...)}
	for _, n := range result.Notices {
		done.Notes = append(done.Notes, n.Message)
	}
	for _, o := range result.Returned {
		done.Notes = append(done.Notes, fmt.Sprintf("%s was set aside, and has a place again", result.To.Call(o)))
	}
	for _, d := range result.Untried {
		done.Notes = append(done.Notes, fmt.Sprintf("the plan has not tried to open %v", d))
	}
	return done, nil
}
