package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/ownership"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// A reloader has the router serve a file: its own as that is now, or another one. Callers of serve and reload
// serialize.
type reloader struct {
	path    string                 // of the file
	more    []file.PhysicalNetwork // of the command line
	own     *ownership.Ownership
	mayOpen func(config.Device) error // nil: any device
	also    func() error              // reloads what is beside the file; nil: nothing is
	log     *slog.Logger
}

// serve reloads the file each time that it is asked to, one after the other, and tells the service manager what goes
// on, until the context ends. Requests that come during a reload are one request. changed has a value when status may
// give another text than before, which was told.
func (r *reloader) serve(ctx context.Context, requests <-chan os.Signal, changed <-chan struct{}, status func() string,
	told string) {
	asked, done := requests, make(chan bool, 1)
	asBefore := "" // of the status
	tell := func(news string) {
		if text := status() + asBefore; news != "" || text != told {
			told = text
			notify(r.log, news+text)
		}
	}
	for {
		select {
		case <-ctx.Done():
			if context.Cause(ctx) == errUpgrade {
				notify(r.log, "STATUS=upgrading")
			} else {
				notify(r.log, "STOPPING=1")
			}
			if asked == nil {
				r.await(done)
			}
			return
		case <-changed:
			tell("")
		case <-asked:
			asked = nil // one at a time
			notify(r.log, reloadingNow())
			go func() {
				r.reloadBeside()
				done <- r.reload(ctx)
			}()
		case ok := <-done:
			if asBefore = ""; !ok {
				asBefore = "; the file was not reloaded, the log says why"
			}
			asked = requests
			tell("READY=1\n")
		}
	}
}

// reloadBeside reloads what is beside the file.
func (r *reloader) reloadBeside() {
	if r.also == nil {
		return
	}
	if err := r.also(); err != nil {
		r.log.Error("the token and the certificate of the API stay as they were", "err", err)
	}
}

// reloadGrace is how long a router that ends waits for a reload to be done or taken back.
const reloadGrace = 2 * time.Second

// await waits for a reload, whose context has ended.
func (r *reloader) await(done <-chan bool) {
	select {
	case <-done:
	case <-time.After(reloadGrace):
		r.log.Warn("a reload does not end; the router ends without it", "file", r.path)
	}
}

// reload reads the file again, logs what differs, and has the router serve it. Either all of that is done, or the
// router goes on as before, and the log says why. It reports whether the router serves the file.
func (r *reloader) reload(ctx context.Context) bool {
	f, err := r.read()
	if err == nil {
		_, err = r.apply(ctx, f, ownership.ApplyOptions{})
	}
	if err != nil {
		r.refuse(ctx, err)
		return false
	}
	return true
}

// apply has the router serve a file, and logs what differs. The faults of an error have lines.
func (r *reloader) apply(ctx context.Context, f *file.File, opt ownership.ApplyOptions) (ownership.Result, error) {
	began := time.Now()
	var lines []config.Line
	opt.Tell = func(result ownership.Result) {
		lines = result.Lines()
		for _, n := range result.Notices {
			r.log.Warn(n.Message)
		}
		r.tell(f, &result.Report, lines)
	}
	result, err := r.own.Apply(ctx, f, opt)
	if err != nil {
		return result, placed(f, err)
	}
	r.sum(f, &result.Report, lines, time.Since(began))
	return result, nil
}

// read reads the file, and logs its warnings.
func (r *reloader) read() (*file.File, error) {
	if r.path == stdin {
		return nil, fmt.Errorf("there is nothing to reload, because the topology came from standard input: " +
			"restart to serve another one")
	}
	if info, err := os.Stat(r.path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file, so it cannot be read a second time: "+
			"restart to serve another one", r.path)
	}
	f, err := file.OpenWith(r.path, r.more)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: after its start the router has no rights but its user's: let that user read the file",
			err)
	}
	if err != nil {
		return nil, err
	}
	for _, w := range f.Warnings() {
		r.logFault(slog.LevelWarn, w)
	}
	if faults := r.forbidden(f); len(faults) > 0 {
		return nil, faults
	}
	return f, nil
}

// forbidden finds the devices that the process has no right to open any more. The engine would find out about most of
// them when it prepares the change. But one that takes the name of a device that goes is opened only afterwards.
func (r *reloader) forbidden(f *file.File) file.Faults {
	var found config.Faults
	for n := range f.State().Networks() {
		for _, d := range f.State().DevicesOf(n.ID) {
			if r.mayOpen == nil {
				continue
			}
			if err := r.mayOpen(d); err != nil {
				found = append(found, config.Fault{Ref: n.Ref(), Field: "devices", Message: err.Error()})
			}
		}
	}
	faults, _ := f.Faults(found)
	return faults
}

// placed finds the lines of what the Control or the engine has found to be wrong.
func placed(f *file.File, err error) error {
	found, wrong := errors.AsType[config.Faults](err)
	if refusal, ok := errors.AsType[*control.Refusal](err); ok {
		found, wrong = refusal.Faults, true
	}
	if !wrong {
		return err
	}
	faults, _ := f.Faults(found)
	return faults
}

// refuse logs why the router goes on as before.
func (r *reloader) refuse(ctx context.Context, err error) {
	const asBefore = "not reloaded: the router goes on as before"
	faults, wrong := errors.AsType[file.Faults](err)
	switch {
	case ctx.Err() != nil, errors.Is(err, os.ErrClosed):
		r.log.Info("not reloaded: the router ends", "file", r.path)
	case wrong:
		for _, f := range faults {
			r.logFault(slog.LevelError, f)
		}
		r.log.Error(asBefore+"; mend the file and send SIGHUP again", "file", r.path, "faults", len(faults))
	default:
		for line := range strings.Lines(withWayOut(err).Error()) {
			r.log.Error("reload: " + strings.TrimRight(line, "\n"))
		}
		r.log.Error(asBefore, "file", r.path)
	}
}

// logFault logs a fault or warning of the file with its line.
func (r *reloader) logFault(level slog.Level, f file.Fault) {
	if r.human() {
		r.log.Log(context.Background(), level, f.String()) // FILE:LINE first, as at the start
	} else {
		r.log.Log(context.Background(), level, f.Message, "file", f.File, "line", f.Line)
	}
}

func (r *reloader) human() bool {
	_, human := r.log.Handler().(*humanHandler)
	return human
}

// tell logs the coming changes, object by object, and the choices that a restart would make differently.
func (r *reloader) tell(f *file.File, report *control.Report, lines []config.Line) {
	known := f.Warnings()
	_, warnings := f.Faults(report.Warnings)
	for _, w := range warnings {
		if !slices.Contains(known, w) {
			r.logFault(slog.LevelWarn, w)
		}
	}
	counts := map[config.Ref]*router.Count{}
	for i := range report.Counts {
		counts[report.Counts[i].Ref] = &report.Counts[i]
	}
	for _, l := range lines {
		ref := config.Ref{Kind: l.Kind, ID: l.ID}
		r.logLine(slog.LevelInfo, l.Op.String(), &l, counts[ref])
		delete(counts, ref)
	}
	for i := range report.Counts { // objects that have not changed themselves, but whose connections end
		if c := &report.Counts[i]; counts[c.Ref] != nil {
			l := config.Line{Kind: c.Ref.Kind, ID: c.Ref.ID, Name: nameIn(report, c.Ref)}
			r.logLine(slog.LevelInfo, "concerned", &l, c)
		}
	}
	for _, l := range restartLines(report.To, f.State()) {
		if r.own.Keeps() || !f.Declares(config.Ref{Kind: l.Kind, ID: l.ID}) {
			continue // a restart has it from the store, or what it loses is not the file's
		}
		r.logLine(slog.LevelWarn, "a restart chooses anew what the file leaves open; state it to keep it:", &l, nil)
	}
}

// nameIn is how people call an object that there is, or was.
func nameIn(report *control.Report, ref config.Ref) string {
	for _, s := range []*config.State{report.To, report.From} {
		if o, ok := s.Get(ref); ok {
			return s.Call(o)
		}
	}
	return string(ref.ID)
}

// logLine logs what has become of an object: people get one sentence, programs get attributes. The connections that it
// concerns are counted if there are any.
func (r *reloader) logLine(level slog.Level, what string, l *config.Line, n *router.Count) {
	var effects []string
	for _, e := range l.Effects {
		effects = append(effects, e.Text)
	}
	var values []any
	if r.human() {
		what += " " + l.Name
		if changes := l.Changes(); changes != "" {
			what += ": " + changes
		}
		if at := l.Source.String(); at != "" {
			what += " (" + at + ")"
		}
		what = strings.Join(append([]string{what}, effects...), "; ")
	} else {
		what = strings.TrimSuffix(what, ":")
		if values = l.KeyValues(); len(effects) > 0 {
			values = append(values, "effects", effects)
		}
	}
	if n != nil {
		values = append(values, countValues(*n)...)
	}
	r.log.Log(context.Background(), level, what, values...)
}

// countValues are the log attributes of a count of connections. Numbers that are 0 are left out.
func countValues(n router.Count) []any {
	var values []any
	for _, v := range []struct {
		key string
		n   int
	}{{"ended", n.Ended}, {"kept", n.Kept}, {"repinned", n.Repinned}} {
		if v.n > 0 {
			values = append(values, v.key, v.n)
		}
	}
	return values
}

// sum logs what a reload has done.
func (r *reloader) sum(f *file.File, report *control.Report, lines []config.Line, took time.Duration) {
	values := []any{"file", f.Name(), "took", took.Round(time.Microsecond).String()}
	var ops [3]int
	var later []string
	for _, l := range lines {
		ops[l.Op]++
		for _, a := range l.Attributes {
			if a.AtNextStart {
				later = append(later, a.Name)
			}
		}
	}
	if ops == [3]int{} {
		r.log.Info("reloaded: nothing differs", values...)
		return
	}
	for op, n := range ops {
		values = append(values, config.Op(op).String(), n)
	}
	var all router.Count
	for _, n := range report.Counts {
		all.Ended, all.Kept, all.Repinned = all.Ended+n.Ended, all.Kept+n.Kept, all.Repinned+n.Repinned
	}
	values = append(values, countValues(all)...)
	if len(later) > 0 {
		values = append(values, "at_next_start", strings.Join(later, " "))
	}
	r.log.Info("reloaded", values...)
}
