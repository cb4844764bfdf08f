package main

import (
	"log/slog"
	"net/http"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/identity"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/serve"
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
func (f *apiFlags) open(log *slog.Logger) (*serve.Server, error) {
	return serve.Open(serve.Options{Socket: f.Socket, Listen: f.Listen, AllowedHosts: f.AllowedHost,
		TokenFile: f.TokenFile, CertFile: f.TLSCert, KeyFile: f.TLSKey, Logger: log})
}

// serve begins to answer. The process has given up its rights by now, so what a later reload reads is tried once.
func (f *apiFlags) serve(s *serve.Server, c *control.Control, engine *router.Engine, log *slog.Logger) {
	if err := s.Reload(); err != nil {
		log.Warn("the token and the certificate of the API cannot be read again", "err", err)
	}
	api := neutron.New(c, neutron.Options{Logger: log, Balancers: engine, RequestID: serve.RequestID, Note: serve.Note})
	mux := http.NewServeMux()
	mux.Handle("/", api)
	service := serve.Service{Handler: mux, Routes: []serve.Route{{Pattern: "GET /{$}", Open: true}}}
	if f.LoginStub {
		stub := identity.New(identity.Options{State: c.State, Project: neutron.DefaultProject, Password: s.Secret,
			Salt: s.Salt})
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
