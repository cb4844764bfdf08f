package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/identity"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/metrics"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/native"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/ownership"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/serve"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// apiFlags say where the control API is, and who may use it.
type apiFlags struct {
	Socket      string   `help:"Unix socket of the control API, for the user of the router; none is for no socket. Default: /run/taprouter/api.sock, if it can be had." placeholder:"PATH"`
	Listen      []string `help:"Also serve the control API over TCP, here. Beyond loopback a token and TLS are required." placeholder:"ADDR:PORT"`
	TokenFile   string   `help:"File with the token that clients over TCP must have. SIGHUP reads it again." placeholder:"FILE"`
	TLSCert     string   `name:"tls-cert" help:"Certificate for TCP, in PEM. SIGHUP reads it again." placeholder:"FILE"`
	TLSKey      string   `name:"tls-key" help:"Key of the certificate, in PEM." placeholder:"FILE"`
	AllowedHost []string `help:"A further name that clients may call this host by, if there is no token." placeholder:"NAME"`
	LoginStub   bool     `help:"Answer logins as Keystone does, for clients that insist: Terraform, Horizon."`
}

// open opens the doors of the API. What it opens is served later, when the engine runs.
// former are listeners of the process before.
func (f *apiFlags) open(former map[string]*os.File, log *slog.Logger) (*serve.Server, error) {
	return serve.Open(serve.Options{Former: former, Socket: f.Socket, Listen: f.Listen, AllowedHosts: f.AllowedHost,
		TokenFile: f.TokenFile, CertFile: f.TLSCert, KeyFile: f.TLSKey, Logger: log})
}

// A process is a router that runs, as the APIs show and change it.
type process struct {
	engine  *router.Engine
	own     *ownership.Ownership
	control *control.Control
	reload  *reloader
	keeper  *keeper
	upgrade *upgrade
	events  *native.Events
	metrics *metrics.Metrics
	level   *slog.LevelVar
	log     *slog.Logger
	started time.Time
	stop    func() // ends what engine tells events
}

// newProcess makes the one Control of an engine, with what hears of its changes.
func newProcess(e *router.Engine, own *ownership.Ownership, k *keeper, level *slog.LevelVar,
	log *slog.Logger) *process {
	p := &process{engine: e, own: own, keeper: k, level: level, log: log, started: time.Now(),
		events: native.NewEvents(uint64(own.Revision()))}
	p.metrics = metrics.New(e.Inspect(), metrics.Options{Version: version,
		Revision: func() uint64 { return uint64(own.Revision()) }})
	p.control = control.New(e, control.Options{Store: p.store, Ended: p.ended, Claimed: func(n config.ID,
		a netip.Addr) bool {
		_, leased := e.LeaseHolder(n, a)
		return leased
	}, Holder: e.LeaseHolder, Hold: e.HoldLeases, Claim: func(r control.Report) func() {
		return e.ClaimAddresses(r.From, r.To, r.Changes)
	}, Event: func(r control.Report) {
		p.events.Changed(uint64(r.Revision), r)
		k.changed(r)
	}})
	p.stop = e.Events(func(what router.Event) {
		p.events.Happened(what)
		k.happened(what)
	})
	return p
}

// store writes changes down, and measures how long that takes where they go to a disk.
func (p *process) store(ctx context.Context, changes []*control.Report) error {
	began := time.Now()
	err := p.own.Store(ctx, changes)
	if p.own.Keeps() {
		p.metrics.Stored(time.Since(began))
	}
	return err
}

// ended counts how changes end.
func (p *process) ended(changed bool, took time.Duration, err error) {
	result := metrics.Failed
	_, wrong := errors.AsType[*control.Refusal](err)
	switch {
	case changed:
		result = metrics.Applied
	case err == nil:
		result = metrics.Unchanged
	case wrong:
		result = metrics.Refused
	}
	p.metrics.Applied(result, took)
}

// alive returns an error if the router hangs.
func (p *process) alive(ctx context.Context) error { return native.Healthy(ctx, p.engine, p.control) }

// entries lists the entries of a list that the file states, for the API.
func (p *process) entries(r config.Ref, field string) []neutron.Entry {
	var list []neutron.Entry
	for _, x := range p.own.Entries(r, field) {
		list = append(list, neutron.Entry(x))
	}
	return list
}

// aside lists what is stored and not served, for the API.
func (p *process) aside() []neutron.Aside {
	var list []neutron.Aside
	for _, a := range p.own.Aside() {
		list = append(list, neutron.Aside{Object: a.Object, Reason: a.Reason})
	}
	return list
}

// forget deletes an object that was set aside.
func (p *process) forget(ctx context.Context, r config.Ref) error {
	switch found, err := p.own.Forget(ctx, r); {
	case err != nil:
		return err
	case !found:
		return os.ErrNotExist
	}
	return nil
}

// serve begins to answer. The process has given up its rights by now, so what a later reload reads is tried once.
func (f *apiFlags) serve(s *serve.Server, p *process) {
	if err := s.Reload(); err != nil {
		p.log.Warn("the token and the certificate of the API cannot be read again", "err", err)
	}
	api := neutron.New(p.control, neutron.Options{Logger: p.log, Stated: p.own.Stated, Entries: p.entries,
		TAPs: true, Balancers: p.engine.Inspect(), Aside: p.aside, Forget: p.forget, RequestID: serve.RequestID,
		Note: serve.Note})
	own := native.New(native.Options{Engine: p.engine, Control: p.control, Topology: topology{p.reload},
		Events: p.events, Metrics: p.metrics.Handler(), Logger: p.log,
		Version: strings.TrimPrefix(versionLine(), "taprouter "), Started: p.started, Level: p.level,
		Upgrade: p.upgrade.Begin, Local: serve.Local, RequestID: serve.RequestID, Note: serve.Note})
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle(native.Base+"/", own)
	service := serve.Service{Handler: mux, Routes: []serve.Route{{Pattern: "GET /{$}", Open: true}}}
	for _, r := range native.Routes() {
		service.Routes = append(service.Routes, serve.Route(r))
	}
	if f.LoginStub {
		stub := identity.New(identity.Options{State: p.control.State, Project: neutron.DefaultProject,
			Password: s.Secret, Salt: s.Salt})
		for _, path := range identity.Paths() {
			mux.Handle(path, stub)
		}
		balancing := api.Below(identity.Balancing)
		mux.Handle(identity.Balancing+"/v2.0/lbaas", balancing)
		mux.Handle(identity.Balancing+"/v2.0/lbaas/", balancing)
		service.Routes = append(service.Routes, identity.Routes()...)
		service.User = stub.User
	}
	s.Serve(service)
}
