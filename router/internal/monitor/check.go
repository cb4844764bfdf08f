package monitor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/router/host"
)

// udpSilence is how long a datagram remains unanswered before that counts as good, unless the timeout is
// shorter. The router says host unreachable after three ARP requests, one a second. A check that ends
// before takes a member that is gone for one that has nothing to say.
const udpSilence = 4 * time.Second

// FromHost returns the Prober whose checks an in-process host sends. The host remains the caller's, and has
// to outlive the checks. A check blocks until it is over.
func FromHost(h *host.Host) Prober { return prober{h} }

type prober struct{ host *host.Host }

// Prepare returns the function that makes ready for the checks of a target.
func (p prober) Prepare(spec Spec) func(Target) Check {
	c := newChecker(p.host, spec)
	return func(t Target) Check {
		e := c.target(t)
		return func(ctx context.Context, done func(Result)) { done(c.run(ctx, &e)) }
	}
}

// A checker makes the checks of one Spec. It may be used from any goroutine.
type checker struct {
	host   *host.Host
	spec   Spec
	codes  Codes
	offers []*tls.Config // of types with HTTP or TLS: one for each attempt, nil for one without TLS
	check  func(context.Context, *target) Result
}

// A target is a Target with what all its checks share.
type target struct {
	Target
	address string        // for Dial
	request *http.Request // of HTTP and HTTPS; it is never changed
}

func newChecker(h *host.Host, spec Spec) *checker {
	c := &checker{host: h, spec: spec}
	switch spec.Type {
	case "TCP":
		c.check = c.tcp
	case "HTTP":
		c.check, c.offers = c.http, []*tls.Config{nil}
	case "HTTPS":
		c.check, c.offers = c.http, offers(spec.Domain)
	case "TLS-HELLO":
		c.check, c.offers = c.hello, offers(spec.Domain)
	case "PING":
		c.check = c.ping
	case "UDP-CONNECT":
		c.check = c.udp
	default:
		c.check = func(context.Context, *target) Result {
			return Result{Sent: "nothing", Received: "nothing",
				Why: fmt.Sprintf("there are no checks of type %q", spec.Type)}
		}
	}
	// After an error the codes match nothing, and each result shows them.
	c.codes, _ = ParseCodes(spec.ExpectedCodes)
	return c
}

func (c *checker) target(t Target) target {
	e := target{Target: t, address: t.Addr.String()}
	if c.spec.Type == "HTTP" || c.spec.Type == "HTTPS" {
		e.request = c.newRequest(t.Addr)
	}
	return e
}

// run checks a target, until the timeout is over or the context ends.
func (c *checker) run(ctx context.Context, t *target) Result {
	ctx, cancel := context.WithTimeout(ctx, c.spec.Timeout)
	defer cancel()
	return c.check(ctx, t)
}

func (c *checker) tcp(ctx context.Context, t *target) Result {
	conn, err := c.dial(ctx, t)
	if err != nil {
		return c.failed("SYN", err)
	}
	_ = conn.Close() // it fails only when the host closes, which ends us, too
	return Result{OK: true, Sent: "SYN", Received: "SYN ACK", Why: "connected"}
}

// dial connects to a target. Close resets the connection, so that neither side
// keeps it in TIME-WAIT.
func (c *checker) dial(ctx context.Context, t *target) (net.Conn, error) {
	conn, err := c.host.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	if l, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
		err = l.SetLinger(0)
	}
	if err != nil {
		_ = conn.Close() // the reason is in err
		return nil, err
	}
	return conn, nil
}

func (c *checker) ping(ctx context.Context, t *target) Result {
	const sent = "echo request"
	if _, err := c.host.Ping(ctx, t.Addr.Addr()); err != nil {
		return c.failed(sent, err)
	}
	return Result{OK: true, Sent: sent, Received: "echo reply", Why: "answered"}
}

func (c *checker) udp(ctx context.Context, t *target) Result {
	const sent = "datagram"
	patience := min(c.spec.Timeout, udpSilence)
	silence, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := c.host.ProbeUDP(silence, t.Addr, []byte("X"))
	switch {
	case err == nil:
		return Result{OK: true, Sent: sent, Received: "datagram", Why: "answered"}
	case errors.Is(err, context.DeadlineExceeded):
		return Result{OK: true, Sent: sent, Received: "nothing",
			Why: fmt.Sprintf("nobody refused it within %v", patience)}
	}
	return c.failed(sent, err)
}

// failed returns the result of a check that an error ended.
func (c *checker) failed(sent string, err error) Result {
	r := Result{Sent: sent, Received: "nothing"}
	unreachable := (*host.ICMPError)(nil)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		r.Why = c.tooLate()
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		r.Why = "the check was abandoned"
	case errors.As(err, &unreachable) && unreachable.From == c.host.Address():
		r.Why = "no answer to ARP"
	case errors.As(err, &unreachable):
		r.Received = "ICMP " + strings.ToLower(strings.TrimPrefix(unreachable.Reason(), "Destination "))
		r.Why = fmt.Sprintf("refused by %s", unreachable.From)
	case errors.Is(err, syscall.ECONNREFUSED):
		r.Received, r.Why = "RST", "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED):
		r.Received, r.Why = "RST", "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH):
		r.Received, r.Why = "ICMP host unreachable", "no such neighbor, or no way to it"
	case errors.Is(err, syscall.ENETUNREACH):
		r.Received, r.Why = "ICMP net unreachable", "no route"
	default:
		r.Why = clip(err.Error())
	}
	return r
}

func (c *checker) tooLate() string { return fmt.Sprintf("no answer within %v", c.spec.Timeout) }

// clip shortens a text that the member may have made.
func clip(s string) string {
	const most = 100
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
