package identity

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/serve"
	"github.com/taprouter/taprouter/config"
)

// Options are the settings of an API. State and Project are required.
type Options struct {
	State   func() *config.State // the served one
	Project string               // the id of the project that owns everything
	Now     func() time.Time     // time.Now

	// Password says whether a password is right. With nil all are.
	Password func(text string) bool

	// Salt is what tokens depend on. When it changes, as when the router's own token does, the former ones end. It may
	// be nil.
	Salt func() []byte
}

// An API is the handler of the stub's paths. Any number of goroutines may use it.
type API struct {
	opt Options
	key [32]byte // of signatures
	mux *http.ServeMux
}

// The names of what there is one of.
const (
	ProjectName = "admin"
	userID      = "00000000000000000000000000000002"
	roleID      = "00000000000000000000000000000003"
	roleName    = "admin"
	domainID    = "default"
	domainName  = "Default"
	region      = "RegionOne"
)

// roots are the paths below which the stub is. The load-balancing API itself is below one of them as well, at
// Balancing.
var roots = []string{"/identity", "/compute", "/load-balancer"}

// Balancing is the path before the load-balancing API's own, in the catalog.
const Balancing = "/load-balancer"

// New returns the API.
func New(opt Options) *API {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Password == nil {
		opt.Password = func(string) bool { return true }
	}
	if opt.Salt == nil {
		opt.Salt = func() []byte { return nil }
	}
	a := &API{opt: opt, mux: http.NewServeMux()}
	_, _ = rand.Read(a.key[:]) // it never returns an error
	a.handle("/identity", methods{http.MethodGet: a.keystoneVersions})
	a.handle("/identity/v3", methods{http.MethodGet: a.keystoneVersion})
	a.handle("/identity/v3/auth/tokens", methods{http.MethodPost: a.login, http.MethodGet: a.showToken})
	a.handle("/identity/v3/auth/projects", methods{http.MethodGet: a.projects})
	a.handle("/identity/v3/users/{user}/projects", methods{http.MethodGet: a.projects})
	a.handle("/identity/v3/projects", methods{http.MethodGet: a.projects})
	a.handle("/identity/v3/projects/{id}", methods{http.MethodGet: a.project})
	a.handle("/identity/v3/domains/{id}", methods{http.MethodGet: a.domain})
	a.handle(Balancing, methods{http.MethodGet: a.octaviaVersions})
	a.handle("/compute/v2.1", methods{http.MethodGet: a.novaVersion})
	a.handle("/compute/v2.1/servers", methods{http.MethodGet: a.servers})
	a.handle("/compute/v2.1/servers/detail", methods{http.MethodGet: a.serversInDetail})
	a.handle("/compute/v2.1/limits", methods{http.MethodGet: a.limits})
	a.handle("/", nil)
	return a
}

// Paths are the patterns of http.ServeMux that lead to the API.
func Paths() []string {
	var list []string
	for _, root := range roots {
		list = append(list, root, root+"/")
	}
	return list
}

// Routes are the paths that clients ask before they have a token.
func Routes() []serve.Route {
	list := []serve.Route{{Pattern: "POST /identity/v3/auth/tokens", Open: true}}
	for _, path := range []string{"/identity", "/identity/v3", Balancing, "/compute", "/compute/v2.1"} {
		list = append(list, serve.Route{Pattern: "GET " + path, Open: true},
			serve.Route{Pattern: "GET " + path + "/{$}", Open: true})
	}
	return list
}

type methods map[string]http.HandlerFunc

// handle serves a pattern of http.ServeMux, without a method. With nil there is nothing at the pattern.
func (a *API) handle(pattern string, by methods) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		switch fn := by[method]; {
		case fn != nil:
			fn(w, r)
		case by == nil, strings.HasPrefix(pattern, "/compute/"): // Nova has a few lists here, and nothing else
			serve.Fail(w, r, http.StatusNotFound, "The resource could not be found.")
		default:
			serve.Fail(w, r, http.StatusMethodNotAllowed,
				fmt.Sprintf("The method %s is not allowed for this resource.", r.Method))
		}
	})
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "X-Auth-Token")
	if p := strings.TrimRight(r.URL.Path, "/"); p != r.URL.Path && p != "" {
		u := *r.URL
		u.Path, u.RawPath = p, ""
		c := *r
		c.URL = &u
		r = &c
	}
	a.mux.ServeHTTP(w, r)
}

// base is the base URL as the client sees it, without a slash at its end.
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// answer answers a request that went well.
func answer(w http.ResponseWriter, r *http.Request, body any) {
	serve.Answer(w, r, http.StatusOK, body)
}

type object = map[string]any

func self(href string) []any { return []any{object{"rel": "self", "href": href}} }

func (a *API) keystoneEntry(r *http.Request) object {
	return object{"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       self(base(r) + "/identity/v3/"),
		"media-types": []any{object{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}}}
}

// keystoneVersions answers with a choice of one, as Keystone does: a list within an object.
func (a *API) keystoneVersions(w http.ResponseWriter, r *http.Request) {
	serve.Answer(w, r, http.StatusMultipleChoices, object{"versions": object{"values": []any{a.keystoneEntry(r)}}})
}

func (a *API) keystoneVersion(w http.ResponseWriter, r *http.Request) {
	answer(w, r, object{"version": a.keystoneEntry(r)})
}

// octaviaMinor is the version of the load-balancing API up to which its attributes are known here.
const octaviaMinor = 27

// octaviaVersions lists all versions. Clients leave out of a request what came with a version that is not listed.
func (a *API) octaviaVersions(w http.ResponseWriter, r *http.Request) {
	list := []any{}
	for minor := range octaviaMinor + 1 {
		status := "SUPPORTED"
		if minor == octaviaMinor {
			status = "CURRENT"
		}
		list = append(list, object{"id": fmt.Sprintf("v2.%d", minor), "status": status,
			"updated": "2023-10-01T00:00:00Z", "links": self(base(r) + Balancing + "/v2.0")})
	}
	answer(w, r, object{"versions": list})
}

func (a *API) novaVersion(w http.ResponseWriter, r *http.Request) {
	answer(w, r, object{"version": object{"id": "v2.1", "status": "CURRENT", "version": "2.1", "min_version": "2.1",
		"updated": "2013-07-23T11:33:21Z", "links": self(base(r) + "/compute/v2.1/"),
		"media-types": []any{object{"base": "application/json",
			"type": "application/vnd.openstack.compute+json;version=2.1"}}}})
}

// catalog is where the services are. Their URLs have no version, as clients look for that themselves.
func (a *API) catalog(r *http.Request) []any {
	list := []any{}
	for _, s := range []struct{ kind, name, url string }{
		{"network", "neutron", base(r)},
		{"load-balancer", "octavia", base(r) + Balancing},
		{"identity", "keystone", base(r) + "/identity/v3"},
		{"compute", "nova", base(r) + "/compute/v2.1"},
	} {
		endpoints := []any{}
		for _, face := range []string{"public", "internal", "admin"} {
			endpoints = append(endpoints, object{"id": s.name + "-" + face, "interface": face, "region": region,
				"region_id": region, "url": s.url})
		}
		list = append(list, object{"id": s.name, "type": s.kind, "name": s.name, "endpoints": endpoints})
	}
	return list
}

func domain() object { return object{"id": domainID, "name": domainName} }

func (a *API) domain(w http.ResponseWriter, r *http.Request) {
	if id := r.PathValue("id"); id != domainID {
		serve.Fail(w, r, http.StatusNotFound, fmt.Sprintf("Could not find domain: %s.", id))
		return
	}
	answer(w, r, object{"domain": object{"id": domainID, "name": domainName, "enabled": true, "description": "",
		"links": object{"self": base(r) + "/identity/v3/domains/" + domainID}}})
}

func (a *API) projectObject(r *http.Request) object {
	return object{"id": a.opt.Project, "name": ProjectName, "domain_id": domainID, "parent_id": domainID,
		"enabled": true, "is_domain": false, "description": "Everything of this router.", "tags": []any{},
		"links": object{"self": base(r) + "/identity/v3/projects/" + a.opt.Project}}
}

func (a *API) project(w http.ResponseWriter, r *http.Request) {
	if id := r.PathValue("id"); id != a.opt.Project {
		serve.Fail(w, r, http.StatusNotFound, fmt.Sprintf("Could not find project: %s.", id))
		return
	}
	answer(w, r, object{"project": a.projectObject(r)})
}

// projects lists the one project, unless a filter says that another one is meant.
func (a *API) projects(w http.ResponseWriter, r *http.Request) {
	list := []any{a.projectObject(r)}
	if id := r.PathValue("user"); id != "" && id != userID {
		serve.Fail(w, r, http.StatusNotFound, fmt.Sprintf("Could not find user: %s.", id))
		return
	}
	q := r.URL.Query()
	for key, is := range map[string]string{"name": ProjectName, "id": a.opt.Project, "domain_id": domainID} {
		if q.Has(key) && q.Get(key) != is {
			list = []any{}
		}
	}
	if v := strings.ToLower(q.Get("enabled")); v == "false" || v == "0" {
		list = []any{}
	}
	if q.Get("marker") == a.opt.Project { // some clients ask for pages until one is empty
		list = []any{}
	}
	answer(w, r, object{"projects": list,
		"links": object{"self": base(r) + r.URL.Path, "next": nil, "previous": nil}})
}
