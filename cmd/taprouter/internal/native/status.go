package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// A status is how the router is doing.
type status struct {
	Version     string         `json:"version"`
	Started     string         `json:"started"`
	Uptime      float64        `json:"uptime" doc:"Seconds since the start."`
	Revision    uint64         `json:"revision" doc:"Of what is served: events continue from it, and apply can require it."`
	Objects     map[string]int `json:"objects" doc:"How many objects of each kind there are."`
	Connections int            `json:"connections" doc:"Of all routers."`
	Missing     []string       `json:"missing_devices" doc:"Devices that are not open; each is opened when it comes."`
	MembersDown []downMember   `json:"members_down"`
	PoolsFull   []fullPool     `json:"pools_full" doc:"Subnets whose allocation pools have no free address."`
	Unserved    []fault        `json:"unserved" doc:"What is kept, and not obeyed yet."`
	Workers     []worker       `json:"workers"`
}

type downMember struct {
	Router string `json:"router"`
	VIP    string `json:"vip"`
	Pool   string `json:"pool"`
	ID     string `json:"id"`
	Member string `json:"member" doc:"Its name, or else its address and port."`
	Status string `json:"operating_status"`
	Why    string `json:"why,omitempty" doc:"What the last check has found."`
}

type fullPool struct {
	Network   string `json:"network"`
	NetworkID string `json:"network_id"`
	Subnet    string `json:"subnet" doc:"Its prefix."`
	SubnetID  string `json:"subnet_id"`
	Size      uint64 `json:"size" doc:"Addresses of the pools."`
}

type worker struct {
	Worker      int     `json:"worker"`
	Busy        float64 `json:"busy_seconds" doc:"Processor time of its thread; 0 where it has none of its own."`
	Turns       uint64  `json:"turns" doc:"Rounds of its loop."`
	Networks    int     `json:"networks" doc:"That it reads."`
	Routers     int     `json:"routers" doc:"That it runs."`
	LongestRead float64 `json:"longest_read" doc:"Seconds of processor time of the longest step for this API."`
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// objectsOf counts objects by kind, in the words of URLs.
func objectsOf(s *config.State) map[string]int {
	all := map[string]int{}
	for k := range config.NumKinds {
		if k != config.KindSettings {
			all[strings.ReplaceAll(strings.ToLower(k.String()), " ", "_")+"s"] = s.Count(k)
		}
	}
	return all
}

func (a *API) status(w http.ResponseWriter, r *http.Request) error {
	ctx, s := r.Context(), a.opt.Engine.State()
	out := status{Version: a.opt.Version, Started: stamp(a.opt.Started), Uptime: time.Since(a.opt.Started).Seconds(),
		Revision: a.opt.Topology.Revision(), Objects: objectsOf(s),
		Missing:     append([]string{}, a.opt.Engine.Missing()...),
		MembersDown: []downMember{}, PoolsFull: []fullPool{}, Unserved: stateFaults(router.Unsupported(s)),
		Workers: []worker{}}
	for _, p := range a.inspect.FullPools() {
		out.PoolsFull = append(out.PoolsFull, fullPool{p.Name, string(p.Network), p.CIDR.String(), string(p.Subnet),
			p.Size})
	}
	stats, err := a.inspect.Stats(ctx)
	if err != nil {
		return err
	}
	for i := range stats.Routers {
		out.Connections += stats.Routers[i].Connections
	}
	balancers, err := a.inspect.LoadBalancers(ctx)
	if err != nil {
		return err
	}
	for i := range balancers {
		out.MembersDown = append(out.MembersDown, downIn(&balancers[i])...)
	}
	workers, err := a.inspect.Workers(ctx)
	if err != nil {
		return err
	}
	for _, k := range workers {
		out.Workers = append(out.Workers, worker{k.Worker, k.Busy.Seconds(), k.Turns, k.Networks, k.Routers,
			k.Longest.Seconds()})
	}
	w.Header().Set("ETag", tagOf(out.Revision))
	return a.answer(w, r, http.StatusOK, out)
}

// downIn are the members of a load balancer whose checks fail.
func downIn(b *router.LoadBalancer) (all []downMember) {
	for i := range b.Listeners {
		l := &b.Listeners[i]
		for k := range l.Pool.Members {
			m := &l.Pool.Members[k]
			if m.OperatingStatus != router.Error {
				continue
			}
			d := downMember{Router: b.Router, VIP: l.Name, Pool: l.Pool.Name, ID: string(m.ID), Member: m.Name,
				Status: string(m.OperatingStatus)}
			if d.Member == "" {
				d.Member = m.Address.String()
			}
			if m.Check != nil {
				d.Why = m.Check.Why
			}
			all = append(all, d)
		}
	}
	return all
}

// unsentReasons are the reasons that have occurred, in order.
func unsentReasons(s *router.Stats) []router.UnsentReason { return slices.Sorted(maps.Keys(s.Unsent)) }

// healthTime is how long a worker, and a change that is being made, may take until the router counts as ill.
const healthTime = 2 * time.Second

// Healthy returns nil if every worker of an engine answers within two seconds, and no change keeps others waiting
// for so long. A service manager's watchdog is fed while it does.
func Healthy(ctx context.Context, e *router.Engine, c *control.Control) error {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	if err := e.Inspect().Alive(ctx); err != nil {
		return err
	}
	if err := c.Idle(ctx); err != nil {
		return fmt.Errorf("a change has been going on for more than %v: %w", healthTime, err)
	}
	return nil
}

// A condition is the answer of healthz and readyz.
type condition struct {
	Status string `json:"status" doc:"Always ok: the answer is an error otherwise."`
}

func (a *API) healthz(w http.ResponseWriter, r *http.Request) error {
	if err := Healthy(r.Context(), a.opt.Engine, a.opt.Control); err != nil {
		return problemf(http.StatusServiceUnavailable, "%v", err)
	}
	return a.answer(w, r, http.StatusOK, condition{"ok"})
}

func (a *API) readyz(w http.ResponseWriter, r *http.Request) error {
	if a.opt.Ready != nil {
		if err := a.opt.Ready(); err != nil {
			return problemf(http.StatusServiceUnavailable, "%v", err)
		}
	}
	return a.healthz(w, r)
}

// A logLevel is how much the log says.
type logLevel struct {
	Level string `json:"level" doc:"debug, info, warn or error"`
}

// levels are what the level of the log can be. Package slog reads others as well, such as error+100, which would end
// the log.
var levels = []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}

func (a *API) showLevel(w http.ResponseWriter, r *http.Request) error {
	if a.opt.Level == nil {
		return problemf(http.StatusNotImplemented, "The level of the log cannot be changed while the router runs.")
	}
	return a.answer(w, r, http.StatusOK, logLevel{strings.ToLower(a.opt.Level.Level().String())})
}

func (a *API) setLevel(w http.ResponseWriter, r *http.Request) error {
	if a.opt.Level == nil {
		return a.showLevel(w, r)
	}
	var in logLevel
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return badRequest(`The body is not {"level": "debug"}: %v.`, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badRequest("There is something behind the level.")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(in.Level)); err != nil || !strings.EqualFold(level.String(), in.Level) ||
		!slices.Contains(levels, level) {
		return badRequest("The level %q is none of debug, info, warn and error.", in.Level)
	}
	a.opt.Level.Set(level)
	a.opt.Note(r.Context(), "level", level)
	return a.showLevel(w, r)
}

// upgrade begins to replace the program.
func (a *API) upgrade(w http.ResponseWriter, r *http.Request) error {
	if a.opt.Upgrade == nil {
		return problemf(http.StatusNotImplemented, "This router cannot replace itself: restart it.")
	}
	if err := a.opt.Upgrade(r.Context()); err != nil {
		return err
	}
	return a.answer(w, r, http.StatusAccepted, condition{"ok"})
}

func (a *API) metrics(w http.ResponseWriter, r *http.Request) error {
	if a.opt.Metrics == nil {
		return problemf(http.StatusNotImplemented, "This router has no metrics.")
	}
	a.opt.Metrics.ServeHTTP(w, r)
	return nil
}

// profileMost bounds the time of a profile, in seconds.
const profileMost = 60

// debug serves net/http/pprof.
func (a *API) debug(w http.ResponseWriter, r *http.Request) error {
	if text := r.URL.Query().Get("seconds"); text != "" {
		if n, err := strconv.ParseUint(text, 10, 16); err != nil || n == 0 || n > profileMost {
			return badRequest("seconds=%s: a profile takes from 1 to %d seconds.", text, profileMost)
		}
	}
	var h http.HandlerFunc
	switch strings.TrimPrefix(r.URL.Path, Base+"/debug/pprof/") {
	case "cmdline":
		h = pprof.Cmdline
	case "profile":
		h = pprof.Profile
	case "symbol":
		h = pprof.Symbol
	case "trace":
		h = pprof.Trace
	default:
		h = pprof.Index
	}
	http.StripPrefix(Base, h).ServeHTTP(w, r)
	return nil
}

func (a *API) document(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.openapi)
	}
	return nil
}
