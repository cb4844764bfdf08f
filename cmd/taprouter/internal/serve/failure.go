package serve

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// below says whether a path is another one, or lies below it.
func below(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '/')
}

// faultNames are Nova's names of errors, by status.
var faultNames = map[int]string{
	http.StatusBadRequest: "badRequest", http.StatusForbidden: "forbidden", http.StatusNotFound: "itemNotFound",
	http.StatusMethodNotAllowed: "badMethod", http.StatusRequestEntityTooLarge: "overLimit",
	http.StatusTooManyRequests: "overLimit", http.StatusServiceUnavailable: "serviceUnavailable",
}

// failureBody is an error in the form of the API that a path belongs to.
func failureBody(path string, status int, message string) any {
	code := "Client"
	if status >= http.StatusInternalServerError {
		code = "Server"
	}
	title := http.StatusText(status)
	switch {
	case below(path, "/v2.0/lbaas"), below(path, "/load-balancer"):
		return map[string]any{"faultcode": code, "faultstring": message, "debuginfo": nil}
	case below(path, "/compute") && status != http.StatusUnauthorized:
		name := faultNames[status]
		if name == "" {
			name = "computeFault"
		}
		return map[string]any{name: map[string]any{"code": status, "message": message}}
	case below(path, "/identity"), below(path, "/compute"), below(path, "/taprouter"):
		return map[string]any{"error": map[string]any{"code": status, "message": message, "title": title}}
	}
	return map[string]any{"NeutronError": map[string]any{
		"type": "HTTP" + strings.ReplaceAll(title, " ", ""), "message": message, "detail": ""}}
}

// Fail answers a request with an error, in the form of the API that the request's path belongs to.
func Fail(w http.ResponseWriter, r *http.Request, status int, message string) {
	Note(r.Context(), "err", message)
	Answer(w, r, status, failureBody(r.URL.Path, status, message))
}

// Answer answers a request with a value as JSON. With nil the answer has no body.
func Answer(w http.ResponseWriter, r *http.Request, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	text, err := json.Marshal(body)
	if err != nil { // the bodies of this program can be written
		Note(r.Context(), "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	text = append(text, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // a client that has gone needs no answer
	}
}
