package native

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// The bounds of events.
const (
	eventsMost   = 1024    // that are kept for clients which come back
	eventBytes   = 8 << 20 // that they take
	changesMost  = 256     // changes that one event lists
	readersMost  = 64      // clients that read at the same time
	heartbeat    = 15 * time.Second
	eventTime    = 10 * time.Second // for a client to take an event
	resyncKind   = "resync"
	resyncAdvice = "Events are missing here: read the status, and what you need, again."
)

// A position is a place among the events: the revision that is served, and how many events there have been since.
type position struct{ revision, n uint64 }

// String is the id of the event at the position. That of the event by which a revision came is the revision.
func (p position) String() string {
	if p.n == 0 {
		return strconv.FormatUint(p.revision, 10)
	}
	return fmt.Sprintf("%d.%d", p.revision, p.n)
}

func (p position) before(o position) bool {
	return p.revision < o.revision || p.revision == o.revision && p.n < o.n
}

// parsePosition is the reverse of String.
func parsePosition(text string) (p position, ok bool) {
	revision, n, parts := strings.Cut(text, ".")
	var err error
	if p.revision, err = strconv.ParseUint(revision, 10, 64); err != nil {
		return p, false
	}
	if parts {
		if p.n, err = strconv.ParseUint(n, 10, 64); err != nil || p.n == 0 {
			return p, false
		}
	}
	return p, true
}

// An event is something that has happened. Which members there are depends on the kind.
type event struct {
	Kind     string `json:"kind" doc:"As router.EventKind; resync: events are missing here."`
	At       string `json:"at"`
	Revision uint64 `json:"revision" doc:"Of what was served then."`

	Changes []change `json:"changes,omitempty" doc:"Of applied."`
	More    int      `json:"more,omitempty" doc:"Changes that are not listed."`

	Network string `json:"network,omitempty"`
	Device  string `json:"device,omitempty"`
	Router  string `json:"router,omitempty"`
	Pool    string `json:"pool,omitempty"`
	Member  string `json:"member,omitempty"`
	ID      string `json:"id,omitempty" doc:"Of the member."`
	Address string `json:"address,omitempty"`
	MAC     string `json:"mac,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Lost    int    `json:"lost,omitempty" doc:"How many events were lost."`
}

// A kept event is one as it is sent.
type keptEvent struct {
	position
	text []byte
}

// Events keeps the last events of a router for any number of goroutines. What tells it of events never waits for a
// client: a client that is too slow misses some, and is told so.
type Events struct {
	mu      sync.Mutex
	kept    []keptEvent
	first   uint64 // number of kept[0]: events are numbered from 0 on
	bytes   int
	base    position // after the last event that is not kept any more
	last    position // of the newest event
	news    chan struct{}
	readers int
}

// NewEvents returns Events that begin at the revision which is served.
func NewEvents(revision uint64) *Events {
	p := position{revision: revision}
	return &Events{base: p, last: p, news: make(chan struct{})}
}

// Changed tells of a change that has been made: it is for control.Options.Event. The revision is that of the change.
func (e *Events) Changed(revision uint64, r control.Report) {
	some := r.Changes[:min(len(r.Changes), changesMost)]
	ev := event{Kind: string(router.Applied), At: stamp(time.Now()), More: len(r.Changes) - len(some)}
	lines := config.Describe(r.From, r.To, some)
	for i := range lines {
		ev.Changes = append(ev.Changes, changeOf(&lines[i]))
	}
	e.add(&ev, &revision)
}

// Happened tells of what happens in an engine: it is for router.Engine.Events. Changes of the State are left out, as
// Changed tells of them.
func (e *Events) Happened(what router.Event) {
	if what.Kind == router.Applied {
		return
	}
	e.add(&event{
		Kind: string(what.Kind), At: stamp(what.At), Network: what.Network, Device: what.Device, Router: what.Router,
		Pool: what.Pool, Member: what.Member, ID: string(what.Ref.ID), Address: what.Address, MAC: what.MAC,
		Reason: what.Reason, Lost: what.Lost,
	}, nil)
}

// add keeps an event. revision is the one that the event has brought, nil if none has come.
func (e *Events) add(ev *event, revision *uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := position{e.last.revision, e.last.n + 1}
	if revision != nil && *revision > e.last.revision {
		at = position{revision: *revision}
	}
	ev.Revision = at.revision
	text := sent(at.String(), ev)
	e.kept, e.last = append(e.kept, keptEvent{at, text}), at
	for e.bytes += len(text); len(e.kept) > eventsMost || e.bytes > eventBytes && len(e.kept) > 1; {
		e.base, e.bytes = e.kept[0].position, e.bytes-len(e.kept[0].text)
		e.kept, e.first = e.kept[1:], e.first+1
	}
	close(e.news)
	e.news = make(chan struct{})
}

// sent is an event as clients get it (HTML, 9.2).
func sent(id string, ev *event) []byte {
	var b bytes.Buffer
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	data, err := json.Marshal(ev)
	if err != nil { // texts and numbers can be written
		data = []byte("{}")
	}
	fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", ev.Kind, data)
	return b.Bytes()
}

// resync is the mark that events are missing.
func (e *Events) resync() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return sent(e.last.String(), &event{Kind: resyncKind, At: stamp(time.Now()), Revision: e.last.revision,
		Reason: resyncAdvice})
}

// join lets a reader in that has seen everything up to a position, nil for one that wants only what comes. next is the
// number of the first event for it. missed says that events after the position are gone, or that it is none of this
// process. ok is false if there are too many readers.
func (e *Events) join(seen *position) (next uint64, missed, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.readers >= readersMost {
		return 0, false, false
	}
	e.readers++
	next = e.first + uint64(len(e.kept))
	if seen == nil {
		return next, false, true
	}
	if seen.before(e.base) || e.last.before(*seen) {
		return next, true, true
	}
	for len(e.kept) > 0 && next > e.first && seen.before(e.kept[next-1-e.first].position) {
		next--
	}
	return next, false, true
}

func (e *Events) leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.readers--
}

// after returns some of the events from a number on, and a channel that is closed when there are more. missed says that
// some of them are not kept any more.
func (e *Events) after(next uint64) (some []keptEvent, news <-chan struct{}, missed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if next < e.first {
		return nil, nil, true
	}
	some = e.kept[next-e.first:]
	return some[:min(len(some), 16):min(len(some), 16)], e.news, false
}

// listEvents sends events as they happen (server-sent events).
func (a *API) listEvents(w http.ResponseWriter, r *http.Request) error {
	if a.opt.Events == nil {
		return problemf(http.StatusNotImplemented, "This router keeps no events.")
	}
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("last_event_id")
	}
	var seen *position
	if text != "" {
		p, ok := parsePosition(text)
		if !ok {
			return badRequest("Last-Event-ID is the id of an event, such as 17 or 17.3, or a revision: not %q.", text)
		}
		seen = &p
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", eventStream)
		w.WriteHeader(http.StatusOK)
		return nil
	}
	next, missed, ok := a.opt.Events.join(seen)
	if !ok {
		return problemf(http.StatusServiceUnavailable, "%d clients read events already.", readersMost)
	}
	defer a.opt.Events.leave()
	w.Header().Set("Content-Type", eventStream)
	w.WriteHeader(http.StatusOK)
	a.opt.Events.sendTo(w, r, next, missed)
	return nil
}

const eventStream = "text/event-stream"

// sendTo sends events to a client until it has gone, or is too slow.
func (e *Events) sendTo(w http.ResponseWriter, r *http.Request, next uint64, missed bool) {
	control := http.NewResponseController(w)
	send := func(text []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(eventTime)) // a test's writer has no deadlines
		if _, err := w.Write(text); err != nil {
			return false
		}
		return ignoreUnsupported(control.Flush()) == nil
	}
	if !send([]byte(": events of taprouter\n\n")) || missed && !send(e.resync()) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		some, news, missed := e.after(next)
		if missed {
			send(e.resync()) // the client comes back, and begins anew
			return
		}
		for _, ev := range some {
			if !send(ev.text) {
				return
			}
			next++
		}
		if len(some) > 0 {
			continue
		}
		select {
		case <-news:
		case <-beat.C:
			if !send([]byte(": still here\n\n")) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
