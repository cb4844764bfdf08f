package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// DefaultSocket is where a router that runs listens.
const DefaultSocket = "/run/taprouter/api.sock"

// Connection says how to reach the router. It is a part of each command that does.
type Connection struct {
	Endpoint       string        `env:"TAPROUTER_ENDPOINT" default:"unix:/run/taprouter/api.sock" placeholder:"URL" group:"Connection:" help:"Where the router listens: unix:/path, http://host:port or https://host:port."`
	TokenFile      string        `type:"path" placeholder:"FILE" group:"Connection:" help:"A file with the token that the router asks for; else $$TAPROUTER_TOKEN."`
	Cacert         string        `type:"path" placeholder:"FILE" group:"Connection:" help:"A file (PEM) with the authority that signed the router's certificate."`
	RequestTimeout time.Duration `default:"30s" placeholder:"TIME" group:"Connection:" help:"How long the router may take for one answer."`
}

// maxAnswer bounds the body of an answer, in bytes.
const maxAnswer = 64 << 20

// A transport sends requests to a router. Only one goroutine may use it.
type transport struct {
	http    *http.Client
	base    string // the URL without a slash at its end
	place   string // as the user wrote it
	token   string
	timeout time.Duration
}

// open prepares a transport. Nothing is sent yet.
func (c *Connection) open() (*transport, error) {
	t := &transport{place: c.Endpoint, token: os.Getenv("TAPROUTER_TOKEN"), timeout: c.RequestTimeout}
	if t.timeout <= 0 {
		return nil, fmt.Errorf("--request-timeout %v: a time above 0 is needed", c.RequestTimeout)
	}
	if c.TokenFile != "" {
		text, err := readSmall(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		t.token = strings.TrimSpace(string(text))
	}
	tr := &http.Transport{MaxResponseHeaderBytes: 64 << 10, MaxIdleConnsPerHost: 1, ForceAttemptHTTP2: true}
	if path, ok := strings.CutPrefix(c.Endpoint, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
		t.base = "http://localhost"
	} else {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("endpoint %q: want unix:/path, http://host:port or https://host:port", c.Endpoint)
		}
		tr.Proxy = http.ProxyFromEnvironment
		t.base = strings.TrimSuffix(strings.TrimRight(c.Endpoint, "/"), "/v2.0")
	}
	if c.Cacert != "" {
		pem, err := readSmall(c.Cacert)
		if err != nil {
			return nil, fmt.Errorf("--cacert: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--cacert %s: no certificate (PEM) is in it", c.Cacert)
		}
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	t.http = &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the token goes to the router only
	}}
	return t, nil
}

// readSmall reads a file of at most 1 MiB.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%s: larger than %d bytes", path, most)
	}
	return text, err
}

// request prepares a request.
func (t *transport) request(ctx context.Context, method, path, kind string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, t.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "taprouter")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if t.token != "" {
		req.Header.Set("X-Auth-Token", t.token)
	}
	return req, nil
}

// unreachable says in words why there is no answer, and what to do.
func (t *transport) unreachable(ctx context.Context, err error) error {
	if err = t.why(ctx, err); errors.Is(err, context.Canceled) {
		return err
	}
	return &said{"taprouter: " + safe(err.Error()), err}
}

func (t *transport) why(ctx context.Context, err error) error {
	path, isUnix := strings.CutPrefix(t.place, "unix:")
	switch {
	case errors.Is(err, context.DeadlineExceeded) || os.IsTimeout(err):
		return fmt.Errorf("%s: no answer within %v; --request-timeout waits longer", t.place, t.timeout)
	case ctx.Err() != nil:
		return context.Canceled
	case isUnix && errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: there is no such socket: is `taprouter run` running? "+
			"$TAPROUTER_ENDPOINT or --endpoint names another one", path)
	case isUnix && errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: permission denied: the socket is for the user that runs the router; try sudo", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: connection refused: is `taprouter run` running there?", t.place)
	}
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return fmt.Errorf("%s: nobody known has signed the router's certificate: --cacert FILE names the authority, "+
			"or the certificate itself", t.place)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%s: %w", t.place, err)
}

// call sends a request with a JSON body, or without one for nil, and reads the answer. It returns an *answerError if
// the answer is one.
func (t *transport) call(ctx context.Context, method, path string, body any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	var r io.Reader
	kind := ""
	if body != nil {
		text, err := encode(body)
		if err != nil {
			return nil, err
		}
		r, kind = bytes.NewReader(text), "application/json"
	}
	req, err := t.request(ctx, method, path, kind, r)
	if err != nil {
		return nil, err
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return nil, t.unreachable(ctx, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, t.unreachable(ctx, err)
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("%s: the answer to %s %s is larger than %d bytes", t.place, method, path, maxAnswer)
	}
	if resp.StatusCode >= 300 {
		return nil, &answerError{status: resp.StatusCode, url: t.base + path, message: messageOf(text, resp),
			request: resp.Header.Get("X-Openstack-Request-Id"), balancing: strings.HasPrefix(path, "/v2.0/lbaas")}
	}
	if len(text) == 0 {
		return nil, nil
	}
	v, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: the answer to %s %s is not what a router says: %w", t.place, method, path, err)
	}
	return v, nil
}

// An answerError is an answer that is an error.
type answerError struct {
	status    int
	url       string
	message   string
	request   string
	balancing bool
}

// Error is as OpenStack's clients put it: that for load balancers does so in another way than the others.
func (e *answerError) Error() string {
	if e.balancing {
		if e.request == "" {
			return fmt.Sprintf("%s (HTTP %d)", e.message, e.status)
		}
		return fmt.Sprintf("%s (HTTP %d) (Request-ID: %s)", e.message, e.status, e.request)
	}
	return fmt.Sprintf("%s: %d: %s Error for url: %s, %s", e.class(), e.status, e.side(), e.url, e.message)
}

// short is the error as commands put it that OpenStack also has for its older network service.
func (e *answerError) short() string {
	return fmt.Sprintf("%s: %d, %s", e.class(), e.status, e.message)
}

func (e *answerError) class() string {
	switch e.status {
	case http.StatusBadRequest:
		return "BadRequestException"
	case http.StatusForbidden:
		return "ForbiddenException"
	case http.StatusNotFound:
		return "ResourceNotFound"
	case http.StatusConflict:
		return "ConflictException"
	case http.StatusPreconditionFailed:
		return "PreconditionFailedException"
	}
	return "HttpException"
}

func (e *answerError) side() string {
	if e.status >= http.StatusInternalServerError {
		return "Server"
	}
	return "Client"
}

// messageOf finds the text for people in the body of an error.
func messageOf(text []byte, resp *http.Response) string {
	m := messageIn(text, resp)
	if resp.StatusCode == http.StatusUnauthorized {
		m += " (--token-file FILE or $TAPROUTER_TOKEN gives the router's token.)"
	}
	return m
}

func messageIn(text []byte, resp *http.Response) string {
	v, err := decode(text)
	o, ok := v.(*object)
	if err == nil && ok {
		for _, k := range []string{"NeutronError", "error"} {
			if inner, ok := o.get(k).(*object); ok {
				o = inner
				break
			}
		}
		for _, k := range []string{"message", "faultstring", "detail", "error"} {
			if m := o.text(k); m != "" {
				return m
			}
		}
	}
	if resp.TLS == nil && resp.StatusCode == http.StatusBadRequest &&
		bytes.Contains(text, []byte("to an HTTPS server")) {
		return "The router speaks TLS here: write https:// in the endpoint."
	}
	const most = 300
	if m := strings.TrimSpace(string(text[:min(len(text), most)])); m != "" {
		return m
	}
	return resp.Status
}
