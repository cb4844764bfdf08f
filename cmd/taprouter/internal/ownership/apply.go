package ownership

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router/control"
	"github.com/taprouter/taprouter/router/control/store"
)

// ApplyOptions say how a file is applied.
type ApplyOptions struct {
	Cascade  bool  // delete also what programs have made and what depends on objects that the file no longer has
	DryRun   bool  // say what would change, and change nothing
	Revision int64 // if it is not 0, the error is ErrRevision if the revision is another one

	// Tell gets the Result when nothing can fail any more, before the change is made. It may be nil.
	Tell func(Result)
}

// A Result says what Apply does.
type Result struct {
	control.Report
	Notices  []file.Notice   // values and objects of programs that are the file's now, or go
	Returned []config.Object // objects that were set aside, and have a place now

	// Untried has the devices that the change would open, as a dry run opens none: that could make interfaces, or take
	// them from others. Whether they can be opened is known when the file is applied.
	Untried []config.Device
}

// An apply is an Apply under way.
type apply struct {
	result Result
	aside  []Aside // what stays aside
}

// fileOp is the key of the change that keeps the file, in the context of an Apply: Store finds it there.
type fileOp struct{}

// errPlanned ends the edit of a dry run.
var errPlanned = errors.New("planned")

// Apply puts a file in the place of the one that was applied last: all of it, or nothing. An error is config.Faults or
// a *control.Refusal, which file.File.Faults finds the lines of, ErrRevision, or one of the Control's.
func (o *Ownership) Apply(ctx context.Context, f *file.File, opt ApplyOptions) (Result, error) {
	op, err := pack(f)
	if err != nil {
		return Result{}, err
	}
	a := &apply{}
	ctx = context.WithValue(ctx, fileOp{}, op)
	var unkept error
	edit := func(d *config.Draft) error {
		if opt.Revision != 0 && opt.Revision != o.revision.Load() {
			return ErrRevision
		}
		return o.edit(d, f, opt, a)
	}
	report, err := o.control.EditTold(ctx, edit, func(r control.Report) {
		if len(r.Changes) == 0 && o.objects != nil {
			// The Control does not store what is no change, but what the file states may differ.
			unkept = o.objects.Save(ctx, r.To, op)
			o.revision.Store(o.objects.Revision())
		}
		o.file.Store(f)
		if len(a.result.Returned) > 0 {
			o.setAside(a.aside)
		}
		if a.result.Report = r; opt.Tell != nil {
			opt.Tell(a.result)
		}
	})
	if errors.Is(err, errPlanned) {
		return a.result, nil
	}
	if err != nil {
		return Result{}, err
	}
	a.result.Report = report
	if unkept != nil {
		return a.result, fmt.Errorf("nothing changes, but that the file says so cannot be kept: %w", unkept)
	}
	return a.result, nil
}

// edit puts the file and what has been set aside into a Draft.
func (o *Ownership) edit(d *config.Draft, f *file.File, opt ApplyOptions, a *apply) error {
	over := file.Over{Previous: o.file.Load(), Cascade: opt.Cascade}
	notices, err := f.Edit(d, over)
	if err != nil {
		return err
	}
	a.result.Notices = notices
	if aside := o.Aside(); len(aside) > 0 {
		a.aside = o.revive(d, f, over, aside, &a.result)
	}
	if !opt.DryRun {
		return nil
	}
	from := d.Base() // Check makes the new State the base
	to, faults := d.Check()
	if to == nil {
		return &control.Refusal{Faults: faults.Errors()}
	}
	a.result.Report = control.Report{From: from, To: to, Changes: config.Diff(from, to), Warnings: faults.Warnings()}
	a.result.Untried = untried(from, to)
	return errPlanned
}

// untried lists the devices that the networks of one State do not have, and those of another one do.
func untried(from, to *config.State) []config.Device {
	open := map[config.Device]bool{}
	for n := range from.Networks() {
		for _, d := range from.DevicesOf(n.ID) {
			open[d] = true
		}
	}
	var list []config.Device
	for n := range to.Networks() {
		for _, d := range to.DevicesOf(n.ID) {
			if !open[d] {
				open[d] = true
				list = append(list, d)
			}
		}
	}
	return list
}

// revive puts the objects that were set aside and have a place beside the file into the Draft. It returns the others.
func (o *Ownership) revive(d *config.Draft, f *file.File, over file.Over, aside []Aside, r *Result) []Aside {
	trial := d.Base().Edit()
	if _, err := f.Edit(trial, over); err != nil {
		return aside
	}
	s, _ := trial.Check()
	if s == nil {
		return aside
	}
	var objects []config.Object
	for _, x := range aside {
		if !f.Declares(x.Object.Ref()) {
			objects = append(objects, x.Object)
		}
	}
	s, rest := settle(s, units(objects))
	for _, x := range objects {
		if _, ok := s.Get(x.Ref()); ok {
			d.Put(x)
			r.Returned = append(r.Returned, x)
		}
	}
	return rest
}

// fileKey is the key of the file that was applied last.
var fileKey = store.MetaKey("file")

// pack makes the change that keeps a file: its name, a line end and its text, compressed.
func pack(f *file.File) (store.Op, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, f.Name()+"\n"+f.Text()); err != nil {
		return store.Op{}, err
	}
	if err := z.Close(); err != nil {
		return store.Op{}, err
	}
	return store.Op{Key: fileKey, Value: b.Bytes()}, nil
}

// maxKept bounds a file that is read from the store: package file takes 16 MB.
const maxKept = 17 << 20

// unpack reads what pack has made.
func unpack(value []byte) (*file.File, error) {
	z, err := gzip.NewReader(bytes.NewReader(value))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(z, maxKept))
	if err != nil {
		return nil, err
	}
	name, text2, _ := strings.Cut(string(text), "\n")
	return file.ReadKept(name, strings.NewReader(text2))
}
