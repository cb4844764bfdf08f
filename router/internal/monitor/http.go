package monitor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// maxHead bounds a response's status line and headers, informational
	// responses before it included. maxBody bounds the part of the body that is read.
	maxHead = 16 << 10
	maxBody = 16 << 10
)

// offers are the TLS configurations that a check offers, one handshake after the other: together, all
// that crypto/tls can do. A check verifies nothing, so even weak algorithms will do. The first offer
// has no hybrid key exchange: its ClientHello fits one segment and costs less, and some servers misread
// a larger one. The second offer has every key exchange. It names no application protocol, since a
// server may refuse the name.
func offers(domain string) []*tls.Config {
	var suites []uint16
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		suites = append(suites, s.ID)
	}
	first := &tls.Config{
		InsecureSkipVerify: true,
		ServerName:         domain,
		MinVersion:         tls.VersionTLS10,
		CipherSuites:       suites,
		CurvePreferences:   []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		NextProtos:         []string{"http/1.1"},
		Renegotiation:      tls.RenegotiateFreelyAsClient, // some servers want a certificate for some paths, or none
	}
	second := first.Clone()
	second.CurvePreferences, second.NextProtos = nil, nil // the hybrid key exchanges as well
	return []*tls.Config{first, second}
}

// newRequest makes the request of all checks of a target.
func (c *checker) newRequest(to netip.AddrPort) *http.Request {
	scheme, port := "http", uint16(80)
	if c.spec.Type == "HTTPS" {
		scheme, port = "https", 443
	}
	name := to.String()
	if to.Port() == port {
		name = to.Addr().String()
	}
	if c.spec.Domain != "" {
		name = c.spec.Domain
	}
	// Opaque is written as it is: the user's path is not escaped again.
	u := &url.URL{Scheme: scheme, Host: to.String(), Opaque: c.spec.Path}
	if strings.HasPrefix(c.spec.Path, "//") { // which Opaque would take for a host
		u.Opaque = ""
		u.Path, u.RawQuery, _ = strings.Cut(c.spec.Path, "?")
	}
	return &http.Request{
		Method: c.spec.Method, URL: u, Host: name, Close: true,
		Header: http.Header{"User-Agent": {"taprouter-monitor"}},
	}
}

// A reader is what a response is read with. They are pooled, as a check needs one
// for a moment only.
type reader struct {
	limit io.LimitedReader
	buf   *bufio.Reader
}

var readers = sync.Pool{New: func() any { return &reader{buf: bufio.NewReader(nil)} }}

func newReader(c net.Conn) *reader {
	r := readers.Get().(*reader)
	r.limit = io.LimitedReader{R: c, N: maxHead}
	r.buf.Reset(&r.limit)
	return r
}

func (r *reader) free() {
	r.limit.R = nil
	r.buf.Reset(nil)
	readers.Put(r)
}

// http makes one request on a connection of its own.
func (c *checker) http(ctx context.Context, t *target) Result { return c.attempts(ctx, t, c.exchange) }

// hello makes one handshake on a connection of its own, and no request.
func (c *checker) hello(ctx context.Context, t *target) Result {
	return c.attempts(ctx, t, func(_ context.Context, _ *target, began time.Time, _ net.Conn) Result {
		return Result{OK: true, Took: time.Since(began), Sent: sentHello, Received: "TLS handshake", Why: "completed"}
	})
}

const sentHello = "TLS handshake" // what a check says that it has sent

// attempts connects to a member for what comes then. A member that refuses an offer gets the next one, if there is one.
func (c *checker) attempts(ctx context.Context, t *target,
	then func(context.Context, *target, time.Time, net.Conn) Result) Result {
	var r Result
	began := time.Now()
	for i, offer := range c.offers {
		got, err := c.request(ctx, t, began, offer, then)
		if i == 0 || err == nil {
			r = got
		}
		if !refuses(err) {
			break
		}
	}
	return r
}

// refuses reports whether a member has ended a handshake of its own accord.
func refuses(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// request is one attempt. Its error is an error of the connection or the handshake. The request and
// the response are net/http's types, but the client is not net/http's: connections of that client have goroutines that
// outlive the request, and would outlive Close.
func (c *checker) request(ctx context.Context, t *target, began time.Time, offer *tls.Config,
	then func(context.Context, *target, time.Time, net.Conn) Result) (Result, error) {
	conn, err := c.dial(ctx, t)
	if err != nil {
		return c.failed("SYN", err), err
	}
	defer guard(ctx, conn)()
	if offer != nil {
		secure := tls.Client(conn, offer)
		if err := secure.Handshake(); err != nil {
			return c.broken(ctx, sentHello, err), err
		}
		conn = secure
	}
	return then(ctx, t, began, conn), nil
}

// exchange sends the request and judges the response.
func (c *checker) exchange(ctx context.Context, t *target, began time.Time, conn net.Conn) Result {
	version := " HTTP/1.1"
	var request bytes.Buffer // one segment, not a line in each
	if err := t.request.Write(&request); err != nil {
		return Result{Sent: "nothing", Received: "nothing", Why: clip(err.Error())}
	}
	text := request.Bytes()
	if c.spec.Version == "1.0" {
		version = " HTTP/1.0" // which net/http does not write
		text = bytes.Replace(text, []byte(" HTTP/1.1\r\n"), []byte(version+"\r\n"), 1)
	}
	sent := c.spec.Method + " " + c.spec.Path + version
	// A member may answer, and close, before it has read everything.
	_, writeErr := conn.Write(text)
	r := newReader(conn)
	defer r.free()
	res, err := r.response(t.request)
	if err != nil {
		if writeErr != nil && errors.Is(err, io.ErrUnexpectedEOF) {
			err = writeErr
		}
		return c.broken(ctx, sent, err)
	}
	took := time.Since(began)
	r.drain(res, c.spec.Method)
	return c.judge(Result{Took: took, Sent: sent}, res)
}

// guard closes a connection when the context ends. The function it returns does
// so as well, and waits for it.
func guard(ctx context.Context, conn net.Conn) (done func()) {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close() // twice does no harm
		close(closed)
	})
	return func() {
		if !stop() {
			<-closed
		}
		_ = conn.Close() // twice does no harm
	}
}

var errTooLong = errors.New("too long")

// response reads the final response, up to its body.
func (r *reader) response(to *http.Request) (*http.Response, error) {
	for {
		res, err := http.ReadResponse(r.buf, to)
		if err != nil && r.limit.N <= 0 {
			return nil, errTooLong
		}
		// Others may come first (RFC 9110, section 15.2); after 101 it is not
		// HTTP any more.
		if err != nil || res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, err
		}
	}
}

// drain reads the body of a response, so that the member is not reset while it
// still sends; but for a long one, or one without an end. How it ends is of no
// interest.
func (r *reader) drain(res *http.Response, method string) {
	if res.ContentLength > maxBody || method == http.MethodConnect || res.StatusCode == http.StatusSwitchingProtocols {
		return
	}
	r.limit.N = maxBody
	_, _ = io.Copy(io.Discard, res.Body)
}

// judge says whether a response is what was expected.
func (c *checker) judge(r Result, res *http.Response) Result {
	status := strconv.Itoa(res.StatusCode)
	r.Received = clip(res.Proto + " " + res.Status)
	if r.OK = c.codes.Contain(res.StatusCode); r.OK {
		r.Why = status + " as expected"
	} else {
		r.Why = status + " is none of " + c.codes.String()
	}
	return r
}

// broken returns the result of a check that ended after the connection was made.
func (c *checker) broken(ctx context.Context, sent string, err error) Result {
	r := Result{Sent: sent, Received: "nothing"}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.Why = c.tooLate()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		r.Received, r.Why = "FIN", "closed without a complete answer"
	case errors.Is(err, errTooLong):
		r.Received, r.Why = "headers", fmt.Sprintf("more than %d KB of headers", maxHead>>10)
	case isNetError(err):
		return c.failed(sent, err)
	default: // an error that net/http or crypto/tls makes of the member's bytes
		r.Received, r.Why = "garbage", clip(err.Error())+wayOut(err)
	}
	return r
}

// settings are what crypto/tls and crypto/x509 let only a program allow, by a //go:debug line in its main
// package or by the environment, by the words of their errors. cmd/taprouter allows all of them.
var settings = map[string]string{
	"x509: negative serial number": "x509negativeserial=1",
	"RSA key larger than":          "tlsmaxrsasize=16384",
	"-bit keys are insecure":       "rsa1024min=0",
}

// wayOut names the setting that would have helped.
func wayOut(err error) string {
	for words, setting := range settings {
		if strings.Contains(err.Error(), words) {
			return " (GODEBUG=" + setting + " takes it)"
		}
	}
	return ""
}

func isNetError(err error) bool {
	var op *net.OpError
	// A "remote error" or "local error" is a TLS alert.
	return errors.As(err, &op) && op.Op != "remote error" && op.Op != "local error"
}
