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
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxHead bounds a response's status line and headers, informational
	// responses before it included; maxBody what is read of its body.
	maxHead = 16 << 10
	maxBody = 16 << 10
)

// tlsConfig takes whatever certificate a member has. Without the hybrid key
// exchanges a ClientHello fits one segment, and costs a fraction.
func tlsConfig() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS12,
		CurvePreferences:   []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
		NextProtos:         []string{"http/1.1"},
	}
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
	// Opaque is written as it is: the path is the user's, whatever it escapes.
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

// http makes one request on a connection of its own. The client is not net/http's:
// its connections have goroutines that outlive the request, and would outlive
// Close; its request and response are.
func (c *checker) http(ctx context.Context, t *target) Result {
	began := time.Now()
	conn, err := c.dial(ctx, t)
	if err != nil {
		return c.failed("SYN", err)
	}
	defer guard(ctx, conn)()
	if c.tls != nil {
		secure := tls.Client(conn, c.tls)
		if err := secure.Handshake(); err != nil {
			return c.broken(ctx, "TLS handshake", err)
		}
		conn = secure
	}
	sent := c.spec.Method + " " + c.spec.Path + " HTTP/1.1"
	var request bytes.Buffer // one segment, not a line in each
	if err := t.request.Write(&request); err != nil {
		return Result{Sent: "nothing", Received: "nothing", Why: clip(err.Error())}
	}
	// A member may answer, and close, before it has read everything.
	_, writeErr := conn.Write(request.Bytes())
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
	default: // what net/http or crypto/tls makes of the member's bytes
		r.Received, r.Why = "garbage", clip(err.Error())
	}
	return r
}

func isNetError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op != "remote error" && op.Op != "local error" // those are TLS alerts
}
