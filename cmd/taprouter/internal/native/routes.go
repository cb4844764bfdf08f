package native

import (
	"net/http"
	"strconv"
)

// A route is one method of one path.
type route struct {
	method, path string
	id           string // of the operation, in the OpenAPI document
	summary      string
	params       []param
	headers      []param // of the request
	body         content
	longest      int64 // bytes of the body; 0: smallBody
	status       int   // of a good answer
	answer       content
	local        bool // by the unix socket only
	stream       bool // the answer may take any time
	open         bool // needs no token
	serve        func(*API, http.ResponseWriter, *http.Request) error
}

// A param is a parameter of a query, or a header.
type param struct{ name, kind, doc string }

// content is what a body is. With a list, the body is an object whose one member is a list of like.
type content struct {
	media string
	like  any    // a value of the type that the body is of; nil: a text
	list  string // the name of the list
	lines bool   // the list may be had as lines of JSON, too
}

func object(like any) content { return content{media: "application/json", like: like} }

func list(name string, like any) content {
	return content{media: "application/json", like: like, list: name}
}

var (
	topologyFile = content{media: "application/toml"}
	cascade      = param{"cascade", "boolean", "Delete what the API hangs on objects that vanish, instead of refusing."}
	fileName     = param{"name", "string", "The file's name, for messages."}
	ifMatch      = param{"If-Match", "string", "The revision that must be served, in quotation marks."}
	lastEvent    = param{"Last-Event-ID", "string", "Id of the last event that was read, or a revision."}
)

// routes is everything that the API serves.
var routes = []route{
	{method: "GET", path: "/status", id: "status", summary: "How the router is doing.", status: 200,
		answer: object(status{}), serve: (*API).status},
	{method: "POST", path: "/plan", id: "plan", summary: "What a topology file would change.", status: 200,
		params: []param{cascade, fileName}, headers: []param{ifMatch}, body: topologyFile, longest: maxTopology,
		answer: object(applied{}), serve: (*API).plan},
	{method: "POST", path: "/apply", id: "apply", summary: "Put a topology file in the place of the one before.",
		status: 200, params: []param{cascade, fileName}, headers: []param{ifMatch}, body: topologyFile,
		longest: maxTopology, answer: object(applied{}), serve: (*API).apply},
	{method: "GET", path: "/export", id: "export", summary: "Everything that is served, as a topology file.",
		status: 200, answer: topologyFile, serve: (*API).export},
	{method: "GET", path: "/connections", id: "listConnections", summary: "Connections of the routers.", status: 200,
		params: append(append([]param{}, filterParams...), param{"limit", "integer", "The most that are listed."}),
		answer: content{media: "application/json", like: connection{}, list: "connections", lines: true}, stream: true,
		serve: (*API).listConnections},
	{method: "DELETE", path: "/connections", id: "endConnections", summary: "End connections.", status: 200,
		params: append(append([]param{}, filterParams...),
			param{"all", "boolean", "End all connections: without it a filter is required."}),
		answer: object(endedCount{}), serve: (*API).endConnections},
	{method: "GET", path: "/neighbors", id: "listNeighbors", summary: "Neighbors that routers know by ARP.",
		status: 200, params: routerParam, answer: list("neighbors", neighborEntry{}), serve: (*API).listNeighbors},
	{method: "GET", path: "/routes", id: "listRoutes", summary: "Routes, and where each comes from.", status: 200,
		params: routerParam, answer: list("routes", routeEntry{}), serve: (*API).listRoutes},
	{method: "GET", path: "/nat", id: "listNAT", summary: "Rules for addresses, router by router.", status: 200,
		params: routerParam, answer: list("routers", natRules{}), serve: (*API).listNAT},
	{method: "GET", path: "/floating-ips", id: "listFloatingIPs", summary: "Floating IPs, used or not.", status: 200,
		answer: list("floating_ips", floatingIP{}), serve: (*API).listFloatingIPs},
	{method: "GET", path: "/vips", id: "listVIPs", summary: "VIPs with their members and counts.", status: 200,
		answer: list("vips", vip{}), serve: (*API).listVIPs},
	{method: "GET", path: "/drops", id: "listDrops", summary: "What was not forwarded, and why.", status: 200,
		answer: object(dropCounts{}), serve: (*API).listDrops},
	{method: "GET", path: "/devices", id: "listDevices", summary: "Devices with their counters.", status: 200,
		answer: list("devices", device{}), serve: (*API).listDevices},
	{method: "GET", path: "/leases", id: "listLeases", summary: "Dynamic leases of DHCP.", status: 200,
		params: []param{networkParam}, answer: list("leases", leaseEntry{}), serve: (*API).listLeases},
	{method: "DELETE", path: "/leases", id: "releaseLease", summary: "End the lease of an address.", status: 200,
		params: []param{networkParam, {"address", "string", "The address."}}, answer: object(leaseEntry{}),
		serve: (*API).releaseLease},
	{method: "GET", path: "/events", id: "events", summary: "What happens, as it happens (server-sent events).",
		status: 200, params: []param{{"last_event_id", "string", "As the header Last-Event-ID."}},
		headers: []param{lastEvent}, answer: content{media: eventStream}, stream: true, serve: (*API).listEvents},
	{method: "GET", path: "/log-level", id: "showLogLevel", summary: "How much the log says.", status: 200,
		answer: object(logLevel{}), serve: (*API).showLevel},
	{method: "PUT", path: "/log-level", id: "setLogLevel", summary: "Have the log say more or less.", status: 200,
		body: object(logLevel{}), answer: object(logLevel{}), serve: (*API).setLevel},
	{method: "POST", path: "/upgrade", id: "upgrade", summary: "Go on in the program that is installed now.",
		status: 202, answer: object(condition{}), serve: (*API).upgrade},
	{method: "GET", path: "/healthz", id: "healthz", summary: "Whether every worker answers.", status: 200,
		answer: object(condition{}), open: true, serve: (*API).healthz},
	{method: "GET", path: "/readyz", id: "readyz", summary: "Whether the router has started, and is healthy.",
		status: 200, answer: object(condition{}), open: true, serve: (*API).readyz},
	{method: "GET", path: "/metrics", id: "metrics", summary: "Metrics for Prometheus.", status: 200,
		answer: content{media: "text/plain"}, serve: (*API).metrics},
	{method: "GET", path: "/openapi.json", id: "document", summary: "This document.", status: 200,
		answer: object(map[string]any{}), serve: (*API).document},
	{method: "GET", path: "/debug/pprof/", id: "debug", summary: "Profiles of the program, as net/http/pprof has them.",
		status: 200, answer: content{media: "text/html"}, local: true, stream: true, serve: (*API).debug},
}

// A Route says how requests are treated that are not as most are, in the words of package serve.
type Route struct {
	Pattern string // of http.ServeMux
	Open    bool   // needs no token
	Local   bool   // by the unix socket only
	Stream  bool   // body and answer may take any time
	Body    int64  // the longest body in bytes; 0: the usual one
}

// Routes lists the requests that are not as most are.
func Routes() []Route {
	var all []Route
	for i := range routes {
		rt := &routes[i]
		if rt.open || rt.local || rt.stream || rt.longest > 0 {
			all = append(all, Route{rt.method + " " + Base + rt.path, rt.open, rt.local, rt.stream, rt.longest})
		}
	}
	return all
}

// checkQuery refuses a parameter that the route does not know: a filter with a slip of the pen would mean everything.
func (rt *route) checkQuery(r *http.Request) error {
	if rt.local {
		return nil // package pprof has parameters of its own
	}
	for name, values := range r.URL.Query() {
		known := false
		for _, p := range rt.params {
			known = known || p.name == name
		}
		switch {
		case !known:
			return badRequest("%s has no parameter %q.", r.URL.Path, name)
		case len(values) > 1:
			return badRequest("The parameter %q may be there once.", name)
		}
	}
	return nil
}

// flag reads a parameter that is true or false.
func flag(r *http.Request, name string) (bool, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	yes, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest("%s=%s: it is true or false.", name, text)
	}
	return yes, nil
}
