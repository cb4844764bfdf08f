package tap

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Guard keeps the host's own network stack off the interfaces of raw devices. A frame
// that arrives there goes to the device only, so no tenant reaches the services of the
// host. Without a Guard, the host answers ARP for any of its addresses, and IPv6 on the
// link-local address of the interface.
//
// An interface that the host itself needs stays open, with a warning. Such an interface
// carries a global address or a default route of the host, or another interface lies above
// it: a bridge or bond that it is a port of, a VLAN, a macvlan, an ipvlan. The Guard
// looks again when links, addresses or default routes change. Closing needs
// CAP_NET_ADMIN and Linux 5.12 with nftables' netdev family. Where closing fails, the
// log says so, and the interface stays open.
//
// The Guard undoes its changes when the device is closed. If the process ends before, the
// kernel removes the filter, and the next OpenRaw of the interface puts the settings of
// IPv6 back.
//
// One Guard serves any number of devices of one network namespace. Its methods may be
// called from any goroutine. It holds no file and no goroutine while no device is open.
type Guard struct {
	log *slog.Logger

	mu      sync.Mutex
	watched map[int]*watched // by index of the interface
	*guardState
}

// guardState is what a Guard holds while there are devices.
type guardState struct {
	handle  *netlink.Handle
	raw     map[int]*nl.SocketHandle // for what handle does not ask
	self    *os.File                 // the network namespace; nil where /proc does not show it
	events  *nl.NetlinkSocket
	filter  *ingressFilter // nil: the kernel cannot
	missing error          // why
	due     *time.Timer    // until the next look, nil: none is due
	dueAt   time.Time
	view    *survey        // the last one; nil: none yet
	took    time.Duration  // to make it
	busy    sync.WaitGroup // users of the sockets
	turn    sync.Mutex     // held before mu: a look must not judge by less than the one before knew
}

// A watched is an interface with raw devices.
type watched struct {
	device  string // its name in messages
	ifname  string
	devices int
	closed  bool
	why     string // it is open
	mode    genMode
	quiet   *quietened // the settings to put back; nil: none
}

const (
	// lookDelay gathers changes that come together.
	lookDelay = 50 * time.Millisecond
	// lookPause times the cost of a look is between two of them.
	lookPause = 10
	// viewAge is how old the last survey may be for an interface that comes. At a start many
	// interfaces come together, and another look follows anyway.
	viewAge = time.Second
	// lookElsewhere is how often an interface is looked at again that something in another
	// network namespace lies above: nothing tells when that ends.
	lookElsewhere = 10 * time.Second
)

// NewGuard returns a Guard. It logs which interfaces it closes and which ones it leaves open;
// a nil logger discards that. The Guard needs no Close.
func NewGuard(log *slog.Logger) *Guard {
	return &Guard{log: Options{Logger: log}.logger(), watched: map[int]*watched{}}
}

// add closes an interface to the host, unless the host needs it; release ends that.
// It reports what has become of it for now.
func (g *Guard) add(device string, link netlink.Link) (release func(), closed bool) {
	index := link.Attrs().Index
	g.mu.Lock()
	if err := g.start(); err != nil {
		g.mu.Unlock()
		g.log.Warn("the interface stays open to the host's own network stack", "device", device, "because", err)
		return func() {}, false
	}
	w := g.watched[index]
	if w == nil {
		w = &watched{device: device, ifname: link.Attrs().Name, mode: openGenMode(link.Attrs().Name)}
		g.watched[index] = w
	}
	w.devices++
	if s := g.guardState; s.view == nil || time.Since(s.view.at) > viewAge {
		g.mu.Unlock()
		g.look(s)
		g.mu.Lock()
	} else if w.devices == 1 {
		s.include(s.view, link)
		g.judge(s.view, index, w)
		g.lookIn(lookDelay)
	}
	defer g.mu.Unlock()
	return sync.OnceFunc(func() { g.release(index) }), w.closed
}

// release lets go of an interface when its last device is closed.
func (g *Guard) release(index int) {
	g.mu.Lock()
	w := g.watched[index]
	if w.devices--; w.devices > 0 {
		g.mu.Unlock()
		return
	}
	g.open(w)
	w.mode.close()
	delete(g.watched, index)
	s := g.guardState
	last := len(g.watched) == 0
	if last {
		g.guardState = nil
		s.events.Close()
	}
	g.mu.Unlock()
	if last {
		s.close()
	}
}

// start opens what the Guard needs, in the network namespace of the calling thread.
func (g *Guard) start() error {
	if g.guardState != nil {
		return nil
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	raw, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		handle.Close()
		return err
	}
	// With this, the kernel itself filters the answer by the request.
	if err := unix.SetsockoptInt(raw.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1); err != nil {
		g.log.Debug("netlink is not strict", "err", err)
	}
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR,
		unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		handle.Close()
		raw.Close()
		return err
	}
	g.guardState = &guardState{
		handle: handle, raw: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: raw}},
		events: events,
	}
	// Without self, an interface that was moved to another namespace is not found.
	g.self, _ = os.Open("/proc/thread-self/ns/net")
	g.filter, g.missing = newIngressFilter()
	g.busy.Add(1)
	go g.listen(g.guardState)
	return nil
}

// close closes everything when its last user is done.
func (s *guardState) close() {
	if s.due != nil {
		s.due.Stop()
	}
	s.busy.Wait()
	if s.filter != nil {
		s.filter.close()
	}
	s.raw[unix.NETLINK_ROUTE].Close()
	s.handle.Close()
	if s.self != nil {
		_ = s.self.Close()
	}
}

// listen has the interfaces looked at when something changes that may concern them.
func (g *Guard) listen(s *guardState) {
	defer s.busy.Done()
	for {
		messages, _, err := s.events.Receive()
		if errors.Is(err, os.ErrClosed) {
			return
		}
		g.mu.Lock()
		if g.guardState != s {
			g.mu.Unlock()
			return
		}
		// After an error, messages may have been lost.
		if err != nil || slices.ContainsFunc(messages, g.concerns) {
			g.lookIn(lookDelay)
		}
		g.mu.Unlock()
		if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			g.log.Error("changes of interfaces are not seen any more; the interfaces stay as they are", "err", err)
			return
		}
	}
}

// lookIn has everything looked at after a while, if that is not due earlier.
func (g *Guard) lookIn(d time.Duration) {
	at := time.Now().Add(max(d, lookPause*g.took))
	if g.due != nil && !at.Before(g.dueAt) {
		return
	}
	if g.due != nil {
		g.due.Stop()
	}
	s := g.guardState
	g.dueAt = at
	g.due = time.AfterFunc(time.Until(at), func() { g.look(s) })
}

// look looks at every interface again, as long as the state is in use. The kernel is
// asked without the lock: the list of routes may be long, and closing a device must not
// wait for it.
func (g *Guard) look(s *guardState) {
	s.turn.Lock()
	defer s.turn.Unlock()
	g.mu.Lock()
	if g.guardState != s {
		g.mu.Unlock()
		return
	}
	if g.due != nil {
		g.due.Stop()
		g.due = nil
	}
	indexes := slices.Collect(maps.Keys(g.watched))
	s.busy.Add(1)
	defer s.busy.Done()
	g.mu.Unlock()
	start := time.Now()
	view, err := s.survey(indexes)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.guardState != s {
		return
	}
	s.took = time.Since(start)
	if err != nil {
		g.lookIn(time.Second)
	} else {
		s.view = view
	}
	for _, index := range indexes {
		if w := g.watched[index]; w != nil && err != nil && !w.closed {
			g.stayOpen(w, fmt.Sprintf("the host's use of it is unknown: %v", err))
		} else if w != nil && err == nil {
			g.judge(view, index, w)
		}
	}
}

// judge opens or closes an interface as the host needs it.
func (g *Guard) judge(view *survey, index int, w *watched) {
	link := view.links[index]
	if link == nil {
		return // gone; its device will say so
	}
	why := view.needed(index)
	if why == "" {
		if why = view.foreign[index]; why != "" {
			g.lookIn(lookElsewhere)
		}
	}
	switch {
	case why != "":
		g.leave(link, w, why)
	case !w.closed:
		g.shut(link, w)
	}
}

// stayOpen opens an interface, if it is closed, and says once why.
func (g *Guard) stayOpen(w *watched, why string) {
	g.open(w)
	if w.why != why {
		w.why = why
		g.log.Warn("the interface stays open to the host's own network stack", "device", w.device, "because", why)
	}
}

// leave leaves an interface open, without what a killed process has left there.
func (g *Guard) leave(link netlink.Link, w *watched, why string) {
	g.stayOpen(w, why)
	if err := w.mode.heal(g.handle, link); err != nil {
		g.log.Warn("settings of IPv6 are not put back", "device", w.device, "err", err)
	}
}

// shut closes an interface.
func (g *Guard) shut(link netlink.Link, w *watched) {
	if g.filter == nil {
		g.leave(link, w, g.missing.Error())
		return
	}
	if err := g.filter.drop(w.ifname); err != nil {
		g.leave(link, w, explainIngress(err).Error())
		return
	}
	w.closed = true
	quiet, err := w.mode.quieten(g.handle, link)
	if err != nil {
		g.log.Warn("the host hears nothing on the interface, but still speaks IPv6 there", "device", w.device, "err",
			err)
	}
	w.quiet = quiet
	if w.why != "" {
		g.log.Info("the interface is closed to the host's own network stack now", "device", w.device)
	}
	w.why = ""
}

// open puts everything back that shut has changed.
func (g *Guard) open(w *watched) {
	if !w.closed {
		return
	}
	w.closed = false
	if w.quiet != nil {
		if err := w.quiet.restore(g.handle); err != nil {
			g.log.Warn("settings of IPv6 are not put back", "device", w.device, "err", err)
		}
		w.quiet = nil
	}
	g.filter.pass(w.ifname)
}
