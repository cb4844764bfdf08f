package main

import (
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/tap"
)

// The rights that devices need after the start as well, when they are reopened and
// when their interfaces change.
const (
	rightNetAdmin = "CAP_NET_ADMIN" // to make TAPs, to close interfaces to the host
	rightNetRaw   = "CAP_NET_RAW"   // for raw devices
	rightSysAdmin = "CAP_SYS_ADMIN" // to enter network namespaces
)

// dropRights gives up every right of the process but these. It is about the process as a
// whole, so main sets it; the process of a test keeps what it has.
var dropRights = func(keep []string) error { return nil }

// rights is what the process may do, before and after it has given up the rest.
type rights struct {
	keep []string
	done atomic.Bool
}

// newRights works out what a topology's devices need. CAP_SYS_ADMIN is nearly all that
// root may do, so it stays only where a device needs it.
func newRights(topo *file.Topology, allowNetns bool) *rights {
	r := &rights{keep: []string{rightNetAdmin, rightNetRaw}}
	placed := func(d file.Device) bool { return d.Netns != "" }
	if allowNetns || slices.ContainsFunc(topo.Networks,
		func(n file.Network) bool { return slices.ContainsFunc(n.Devices, placed) }) {
		r.keep = append(r.keep, rightSysAdmin)
	}
	return r
}

// giveUp gives up the rest.
func (r *rights) giveUp(log *slog.Logger) error {
	if err := dropRights(r.keep); err != nil {
		return fmt.Errorf("giving up the rights that are not needed any more: %w", err)
	}
	r.done.Store(true)
	log.Debug("rights given up", "kept", strings.Join(r.keep, " "))
	return nil
}

// mayOpen refuses a device that needs a right which the process has given up.
func (r *rights) mayOpen(d file.Device) error {
	if d.Netns != "" && r.done.Load() && !slices.Contains(r.keep, rightSysAdmin) {
		return fmt.Errorf("open %v: entering a network namespace needs %s, "+
			"which the process has given up after its start: "+
			"restart it with --allow-netns, or with such a device in the topology: %w", d, rightSysAdmin,
			fs.ErrPermission)
	}
	return nil
}

// opener wraps open: it refuses what mayOpen does.
func (r *rights) opener(open func(file.Device) (tap.Device, error)) func(file.Device) (tap.Device, error) {
	return func(d file.Device) (tap.Device, error) {
		if err := r.mayOpen(d); err != nil {
			return nil, err
		}
		return open(d)
	}
}
