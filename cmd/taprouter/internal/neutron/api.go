package neutron

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// DefaultProject is the id of the one project that owns everything.
const DefaultProject = "00000000000000000000000000000001"

// Options are the settings of an API. All may be left out.
type Options struct {
	Project string           // the id of the project that owns everything; DefaultProject
	Logger  *slog.Logger     // nil: no log
	NewID   func() config.ID // of new objects and of requests; random ones
	Now     func() time.Time // time.Now
	Host    string           // of the agents that are listed; the name of this machine

	// Stated says where a topology file states an attribute of an object, by the attribute's key in the file. The
	// result is false if no file does. With nil, all attributes of an object with a file as its Source are the file's,
	// apart from its description and tags.
	Stated func(r config.Ref, field string) (config.Source, bool)

	// Entries lists the entries of a list that a topology file states, by the list's key in the file. Stated is not
	// asked of such lists: routes, host_routes, dns_nameservers, allowed_address_pairs, fixed_ips, allowed_cidrs,
	// security_groups, extra_dhcp_opts, tags.
	// With nil, a list that Stated says a file states is the file's with all that it has.
	Entries func(r config.Ref, field string) []Entry

	// TAPs says that networks made by the API get a TAP of their own, which TAP names, unless they name a physical
	// network. The engine has to open devices, and have the right to.
	TAPs bool

	// Balancers says how load balancers are doing. With nil, their statuses follow the State alone, and their
	// statistics are zero.
	Balancers Balancers

	// RequestID gives the id that a server has given to a request, by the request's context. With nil, and where it
	// gives none, the API makes one, with NewID.
	RequestID func(ctx context.Context) string

	// Note adds keys and values to what a server logs of a request. With nil the API logs requests itself.
	Note func(ctx context.Context, keysAndValues ...any)

	// Aside lists the objects that are stored and not in the State. With nil there are none.
	Aside func() []Aside

	// Forget takes an object that is set aside out of the store. With nil such objects cannot be deleted.
	Forget func(ctx context.Context, r config.Ref) error
}

// Balancers is what a router.Inspector says of the load balancers that it serves.
type Balancers interface {
	// LoadBalancer is about one of them. It reports false if it is not served.
	LoadBalancer(id config.ID) (router.LoadBalancer, bool)
}

// An API is the handler of all requests below the base URL. Any number of goroutines may use it.
type API struct {
	control *control.Control
	opt     Options
	mux     *http.ServeMux
	started time.Time

	collections [][2]string // the singular and plural names of the resources
	balancing   balancing
}

// New returns the API of a Control.
func New(c *control.Control, opt Options) *API {
	if opt.Project == "" {
		opt.Project = DefaultProject
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.NewID == nil {
		opt.NewID = func() config.ID { return config.NewID(uuid.New()) }
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Host == "" {
		opt.Host, _ = os.Hostname() // without one there is none to show
	}
	a := &API{control: c, opt: opt, mux: http.NewServeMux(), started: opt.Now()}
	a.handle("/{$}", methods{http.MethodGet: a.versions})
	a.handle("/v2.0", methods{http.MethodGet: a.resources})
	a.handle("/", nil)
	mount(a, networks)
	mount(a, subnets)
	mount(a, ports)
	mount(a, routers)
	mount(a, floatingIPs)
	mount(a, securityGroups)
	mount(a, groupRules)
	a.mountAddressActions(mount(a, addressGroups))
	a.mountForwardings()
	a.mountRouterActions()
	a.mountExtensions()
	a.mountInventory()
	a.mountQuotas()
	a.mountBalancing()
	return a
}

// A request is a request on its way through the API.
type request struct {
	*http.Request
	id  string // as in the answer's X-Openstack-Request-Id
	api *API

	unserved []string        // attributes of the body that are kept, and that nothing follows from
	about    []config.Object // what the request shows, has made, changed or taken away, for the log
	changes  []config.Change // of the State
}

// A reply is what a request is answered with. A body that is nil is none.
type reply struct {
	status   int
	body     any
	unserved []string        // see request
	about    []config.Object // see request
}

type methods map[string]func(*request) (reply, error)

// handle serves a pattern of http.ServeMux, without a method. With nil there is nothing at the pattern.
func (a *API) handle(pattern string, by methods) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		id := r.Context().Value(requestKey{}).(string)
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		serve, ok := by[method]
		var answer reply
		var err error
		switch {
		case ok:
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			q := &request{Request: r, id: id, api: a}
			answer, err = serve(q)
			answer.unserved, answer.about = q.unserved, q.about
		case by == nil:
			err = noSuchPath()
		default:
			w.Header().Set("Allow", by.allowed())
			err = failure(http.StatusMethodNotAllowed, "HTTPMethodNotAllowed",
				"The method %s is not allowed for this resource.", r.Method)
		}
		a.answer(w, r, id, answer, err)
	})
}

// allowed lists the methods for the header Allow.
func (m methods) allowed() string {
	var list []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if m[method] != nil {
			list = append(list, method)
		}
	}
	return strings.Join(list, ", ")
}

// requestKey is the key of a request's id in its context.
type requestKey struct{}

// maxBody bounds the body of a request, in bytes.
const maxBody = 1 << 20

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := ""
	if a.opt.RequestID != nil {
		id = a.opt.RequestID(r.Context())
	}
	if id == "" {
		id = "req-" + string(a.opt.NewID())
	}
	w.Header().Set("X-Openstack-Request-Id", id)
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, id))
	if p := cleanPath(r.URL.Path); p != r.URL.Path {
		u := *r.URL
		u.Path, u.RawPath = p, ""
		r.URL = &u
	}
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			a.answer(w, r, id, reply{}, fmt.Errorf("neutron: panic: %v", v))
		}
	}()
	a.mux.ServeHTTP(w, r)
}

// cleanPath takes out what users write too much in a base URL: double slashes, and one at the end. A ServeMux would
// redirect the client, and not every client follows.
func cleanPath(p string) string { return path.Clean("/" + p) }

// answer writes an answer, and has it logged.
func (a *API) answer(w http.ResponseWriter, r *http.Request, id string, answer reply, err error) {
	log := a.opt.Logger.With("request", id, "method", r.Method, "path", r.URL.Path)
	if err != nil {
		f := failureOf(err)
		answer = reply{status: f.status, body: f.body()}
		if isBalancing(r.URL.Path) {
			answer.body = f.fault()
		}
	}
	if a.opt.Note != nil {
		a.note(r, answer, err)
	} else {
		logAnswer(log, r, answer, err)
	}
	if answer.body == nil {
		w.WriteHeader(answer.status)
		return
	}
	text, err := encode(answer.body)
	if err != nil {
		log.Error("answer not written", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	w.WriteHeader(answer.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // a client that has gone needs no answer
	}
}

// note tells the server what its log says of an answer: the error, or the objects that the request was about.
func (a *API) note(r *http.Request, answer reply, err error) {
	if err != nil {
		a.opt.Note(r.Context(), "err", err)
		return
	}
	if line := answer.logged(); len(line) > 0 {
		a.opt.Note(r.Context(), line...)
	}
}

// logAnswer logs an answer: at Info where something may have changed.
func logAnswer(log *slog.Logger, r *http.Request, answer reply, err error) {
	switch {
	case err != nil && answer.status >= http.StatusInternalServerError:
		log.Error("request refused", "status", answer.status, "err", err)
	case err != nil:
		log.Info("request refused", "status", answer.status, "err", err)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		log.With("status", answer.status).Info("request served", answer.logged()...)
	default:
		log.Debug("request served", "status", answer.status)
	}
}

// maxLogged is how many objects the log names of a request that is about many.
const maxLogged = 20

// logged are the keys and values that the log has of an answer: the attributes that are only kept, and the objects with
// their revisions. The revision of an object that is gone is its last one.
func (r *reply) logged() []any {
	var line []any
	if len(r.unserved) > 0 {
		line = append(line, "unserved", r.unserved)
	}
	switch len(r.about) {
	case 0:
	case 1:
		m := r.about[0].About()
		line = append(line, "id", string(m.ID), "revision", m.Revision)
	default:
		var list []string
		for _, o := range r.about[:min(len(r.about), maxLogged)] {
			list = append(list, fmt.Sprintf("%s@%d", o.About().ID, o.About().Revision))
		}
		line = append(line, "objects", len(r.about), "ids", list)
	}
	return line
}

// encode writes JSON as people read it, with < and > as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// base is the base URL as the client sees it, without a slash at its end.
func (r *request) base() string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	below, _ := r.Context().Value(belowKey{}).(string)
	return scheme + "://" + r.Host + below
}

// belowKey is the key of the path below which a request has found the API, in its context.
type belowKey struct{}

// Below is the API below a path, such as /load-balancer: the path comes before those of all requests, and of all links
// in answers.
func (a *API) Below(path string) http.Handler {
	return http.StripPrefix(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), belowKey{}, path)))
	}))
}

func (a *API) versions(r *request) (reply, error) {
	links := []link{{Rel: "self", Href: r.base() + "/v2.0/"}}
	return reply{status: http.StatusOK, body: map[string]any{"versions": []any{
		map[string]any{"id": "v2.0", "status": "CURRENT", "links": links},
	}}}, nil
}

// A link is where to find something.
type link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

func (a *API) resources(r *request) (reply, error) {
	list := []any{}
	for _, c := range a.collections {
		list = append(list, map[string]any{"name": c[0], "collection": c[1],
			"links": []link{{Rel: "self", Href: r.base() + "/v2.0/" + c[1]}}})
	}
	return reply{status: http.StatusOK, body: map[string]any{"resources": list}}, nil
}

// A reader is a State or a Draft.
type reader interface {
	PhysicalNetwork(config.ID) *config.PhysicalNetwork
	Network(config.ID) *config.Network
	Subnet(config.ID) *config.Subnet
	Router(config.ID) *config.Router
	Port(config.ID) *config.Port
	FloatingIP(config.ID) *config.FloatingIP
	LoadBalancer(config.ID) *config.LoadBalancer
	Listener(config.ID) *config.Listener
	Pool(config.ID) *config.Pool
	Member(config.ID) *config.Member
	Monitor(config.ID) *config.Monitor
	ListenersOf(config.ID) iter.Seq[*config.Listener]
	ListenersUsing(config.ID) iter.Seq[*config.Listener]
	PoolsOf(config.ID) iter.Seq[*config.Pool]
	MembersOf(config.ID) iter.Seq[*config.Member]
	MonitorOf(config.ID) *config.Monitor
	SubnetsOf(config.ID) iter.Seq[*config.Subnet]
	SubnetAt(config.ID, netip.Addr) *config.Subnet
	InterfacesOf(config.ID) iter.Seq[*config.Port]
	InterfacesIn(config.ID) iter.Seq[*config.Port]
	GatewayPort(config.ID) *config.Port
	FloatingIPsOf(config.ID) iter.Seq[*config.FloatingIP]
	PortForwarding(config.ID) *config.PortForwarding
	FloatingIPTo(config.ID, netip.Addr) *config.FloatingIP
	ForwardingsOf(config.ID) iter.Seq[*config.PortForwarding]
	LoadBalancerAt(config.ID) *config.LoadBalancer
	SecurityGroup(config.ID) *config.SecurityGroup
	SecurityGroupRule(config.ID) *config.SecurityGroupRule
	RulesOf(config.ID) iter.Seq[*config.SecurityGroupRule]
	AddressGroup(config.ID) *config.AddressGroup
	Owner(config.ID, netip.Addr) config.Object
}

// An edit is the Draft of a request.
type edit struct {
	*config.Draft
	request *request
	free    map[string]int // new objects that count for no quota, by resource
}

// change makes the change of a request, and returns the State after it.
func (r *request) change(fn func(e *edit) error) (*config.State, error) {
	r.unserved, r.changes = nil, nil
	report, err := r.api.control.Edit(r.Context(), func(d *config.Draft) error {
		e := &edit{Draft: d, request: r}
		if err := fn(e); err != nil {
			return err
		}
		return e.overQuota()
	})
	if err == nil {
		r.changes = report.Changes
	}
	return report.To, err
}

// tells notes objects that the request is about, for the log.
func (r *request) tells(objects ...config.Object) { r.about = append(r.about, objects...) }

// tellsChanged notes the objects of a kind that the request has made, changed or taken away.
func (r *request) tellsChanged(k config.Kind) {
	for _, c := range r.changes {
		switch {
		case c.Ref.Kind != k:
		case c.After != nil:
			r.tells(c.After)
		default:
			r.tells(c.Before)
		}
	}
}

// keeps notes an attribute that is kept, and that nothing follows from, for the log.
func (r *request) keeps(name string) {
	if !slices.Contains(r.unserved, name) {
		r.unserved = append(r.unserved, name)
	}
}

// newID is the ID of a new object.
func (e *edit) newID() config.ID { return e.request.api.opt.NewID() }

// meta is the Meta of a new object.
func (e *edit) meta() config.Meta {
	return config.Meta{ID: e.newID(), Source: config.Source{Request: e.request.id}}
}

// own says whether a request may change an attribute of an object, or, for an empty field, take the object away. It
// may not if a file states it.
func (e *edit) own(o config.Object, field string) error {
	at, ok := e.stated(o, field)
	if !ok {
		return nil
	}
	return declared(o, field, at)
}

func (e *edit) stated(o config.Object, field string) (config.Source, bool) {
	if s := e.request.api.opt.Stated; s != nil {
		return s(o.Ref(), field)
	}
	at := o.About().Source
	return at, at.File != "" && field != "description" && field != "tags"
}

// declared refuses to change an attribute of an object, or, for an empty field, to take the object away.
func declared(o config.Object, field string, at config.Source) error {
	what := fmt.Sprintf("%v %s", o.Ref().Kind, o.About().ID)
	if m, ok := o.(*config.Member); ok {
		what += fmt.Sprintf(" (%v)", netip.AddrPortFrom(m.Address, m.Port))
	}
	if field != "" {
		what = field + " of " + what
	}
	return failure(http.StatusConflict, "DeclaredInFile", "%s is declared in %s:%d; change the file and reload", what,
		at.File, at.Line)
}
