package conform

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// TAPs is taprouter on TAP devices, in a network namespace made for it, in real time.
// It needs root.
func TAPs() Target { return taps{} }

type taps struct{}

// Name implements Target.
func (taps) Name() string { return "on TAPs" }

// Start implements Target.
func (taps) Start(p Profile) (_ Wire, err error) {
	timeouts := defaultTimeouts
	if p.Short {
		timeouts = shortTimeouts
	}
	w := &onTAPs{timeouts: timeouts}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.space, err = newSpace("conform"); err != nil {
		return nil, err
	}
	// The far side of a TAP is an interface of the namespace, which has nothing to say itself.
	if err := w.space.set([2]string{"net/ipv6/conf/default/disable_ipv6", "1"}); err != nil {
		return nil, err
	}
	state, err := stateOf(&p, timeouts, func(network string) string { return "tap:" + network + "@" + w.space.name })
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	forks.Lock()
	w.engine, err = router.Start(state, router.Options{
		Logger:         log,
		Open:           router.OpenDevice(log),
		RequireDevices: true,
		Clock:          time.Now,
	})
	forks.Unlock()
	if err != nil {
		return nil, err
	}
	w.ends, err = openEnds(w.space)
	return w, err
}

// onTAPs is a router on TAPs.
type onTAPs struct {
	*ends
	space    *space
	engine   *router.Engine
	timeouts Timeouts
}

// Timeouts implements Wire.
func (w *onTAPs) Timeouts() Timeouts { return w.timeouts }

func (w *onTAPs) control() *control.Control { return control.New(w.engine, control.Options{}) }

// Associate implements Changer.
func (w *onTAPs) Associate(floating, fixed netip.Addr) error {
	return w.control().AssociateFloatingIP(floating, fixed)
}

// Disassociate implements Changer.
func (w *onTAPs) Disassociate(floating netip.Addr) error {
	return w.control().DisassociateFloatingIP(floating)
}

// SetMember implements Changer.
func (w *onTAPs) SetMember(pool, member string, up bool) error {
	return w.control().SetMember(pool, member, up)
}

// Close implements Wire.
func (w *onTAPs) Close() error {
	var errs []error
	if w.ends != nil {
		errs = append(errs, w.ends.Close())
	}
	if w.engine != nil {
		errs = append(errs, w.engine.Close())
	}
	if w.space != nil {
		errs = append(errs, w.space.close())
	}
	return errors.Join(errs...)
}
