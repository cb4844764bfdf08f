package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/router/host"
)

// A result is how a command has ended.
type result struct {
	ok  bool   // as the real tool's exit status would say
	cut string // the step's time was over before the end: how far it had come
}

// done is the result of a command that has come to its end.
func done(ok bool) result { return result{ok: ok} }

// cutOr is the result of a command that has failed: because the step's time, ctx's,
// was over, or by itself.
func cutOr(ctx context.Context, how string) result {
	if ctx.Err() != nil {
		return result{cut: how}
	}
	return done(false)
}

// run carries a command out on a host, and writes what the real tool would print to
// out as it comes. The time it may take is ctx's.
func (c *command) run(ctx context.Context, h *host.Host, out io.Writer) result {
	switch c.name {
	case "ping":
		return c.ping(ctx, h, out)
	case "curl":
		return c.curl(ctx, h.HTTPClient(), out)
	case "traceroute":
		return c.traceroute(ctx, h, out)
	case "connect":
		return c.connect(ctx, h, out)
	case "send":
		return c.send(ctx, h, out)
	case "dhcp":
		return c.dhcp(ctx, h, out)
	case "dig":
		return c.askDNS(ctx, h, out)
	case "arping":
		return c.arping(ctx, h, out)
	case "ip":
		return done(c.changeOrShow(h, out))
	case "nc":
		return c.netcat(ctx, h, out)
	case "start", "stop":
		return done(c.startOrStop(h, out))
	}
	return c.sleep(ctx)
}

// sleep is the command wait.
func (c *command) sleep(ctx context.Context) result {
	select {
	case <-time.After(c.pause):
		return done(true)
	case <-ctx.Done():
		return result{cut: fmt.Sprintf("it waits for %v", c.pause)}
	}
}

// within limits ctx by the command's own time limit, if it has one.
func (c *command) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.timeout > 0 {
		return context.WithTimeout(ctx, c.timeout)
	}
	return context.WithCancel(ctx)
}

// curl prints the body of a page. As curl, it does not mind the status code.
func (c *command) curl(step context.Context, client *http.Client, out io.Writer) result {
	ctx, cancel := c.within(step)
	defer cancel()
	start := time.Now()
	method := http.MethodGet
	if c.head {
		method = http.MethodHead
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url, nil)
	if err != nil {
		fmt.Fprintf(out, "curl: (3) %v\n", err)
		return done(false)
	}
	req.Header.Set("User-Agent", "curl (taprouter lab)")
	res, err := client.Do(req)
	if err != nil {
		c.curlFailed(err, time.Since(start), out)
		io.WriteString(out, (&page{took: time.Since(start)}).write(c.writeOut))
		return cutOr(step, "no answer yet")
	}
	defer res.Body.Close()
	if c.strict && res.StatusCode >= http.StatusBadRequest {
		fmt.Fprintf(out, "curl: (22) The requested URL returned error: %d\n", res.StatusCode)
		io.WriteString(out, (&page{status: res.StatusCode, took: time.Since(start)}).write(c.writeOut))
		return done(false)
	}
	body := out
	if c.discard {
		body = io.Discard
	}
	if c.headers {
		fmt.Fprintf(body, "%s %s\n", res.Proto, res.Status)
		_ = res.Header.Write(body) // output that cannot be printed is lost
		fmt.Fprintln(body)
	}
	n, err := io.Copy(body, res.Body)
	if err != nil {
		fmt.Fprintf(out, "curl: (56) Recv failure: %v\n", reason(err))
	}
	io.WriteString(out, (&page{res.StatusCode, n, time.Since(start)}).write(c.writeOut))
	if err != nil {
		return cutOr(step, fmt.Sprintf("%d bytes of the page so far", n))
	}
	return done(true)
}

// curlFailed prints what curl prints when it gets no page.
func (c *command) curlFailed(err error, took time.Duration, out io.Writer) {
	var op *net.OpError
	switch {
	case isTimeout(err):
		fmt.Fprintf(out, "curl: (28) Connection timed out after %d milliseconds\n", took.Milliseconds())
	case errors.As(err, &op) && op.Op == "dial":
		fmt.Fprintf(out, "curl: (7) Failed to connect to %v port %d after %d ms: %s\n", c.to.Addr(), c.to.Port(),
			took.Milliseconds(), reason(err))
	default:
		fmt.Fprintf(out, "curl: (56) Recv failure: %s\n", reason(err))
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

// reason is the core of a network error, in the words of the tools.
func reason(err error) string {
	for _, known := range []struct {
		err  error
		text string
	}{
		{syscall.ECONNREFUSED, "Connection refused"},
		{syscall.ECONNRESET, "Connection reset by peer"},
		{syscall.EHOSTUNREACH, "No route to host"},
		{syscall.ENETUNREACH, "Network is unreachable"},
		{syscall.ETIMEDOUT, "Connection timed out"},
	} {
		if errors.Is(err, known.err) {
			return known.text
		}
	}
	if isTimeout(err) {
		return "Connection timed out"
	}
	return err.Error()
}

// traceroute prints the hops on the way, and fails if it does not get there.
func (c *command) traceroute(ctx context.Context, h *host.Host, out io.Writer) result {
	mode := map[string]host.TracerouteMode{"-U": host.TracerouteUDP, "-I": host.TracerouteICMP,
		"-T": host.TracerouteTCP}[c.mode]
	fmt.Fprintf(out, "traceroute to %v (%v), %d hops max\n", c.addr, c.addr, c.maxHops)
	hops, err := h.Traceroute(ctx, c.addr, host.TracerouteOptions{Mode: mode, MaxHops: c.maxHops, Wait: c.timeout,
		Progress: func(hop host.Hop) {
			switch {
			case !hop.From.IsValid():
				fmt.Fprintf(out, "%2d  *\n", hop.TTL)
			case c.numeric:
				fmt.Fprintf(out, "%2d  %v  %.3f ms\n", hop.TTL, hop.From, milliseconds(hop.RTT))
			default:
				fmt.Fprintf(out, "%2d  %v (%v)  %.3f ms\n", hop.TTL, hop.From, hop.From, milliseconds(hop.RTT))
			}
		}})
	if err != nil && ctx.Err() != nil {
		return result{cut: fmt.Sprintf("%d hops so far", len(hops))}
	}
	if err != nil {
		fmt.Fprintf(out, "traceroute: %v\n", err)
		return done(false)
	}
	return done(len(hops) > 0 && hops[len(hops)-1].From == c.addr)
}

// connect opens a TCP connection and closes it again.
func (c *command) connect(step context.Context, h *host.Host, out io.Writer) result {
	ctx, cancel := c.within(step)
	defer cancel()
	network := "tcp"
	if c.udp {
		network = "udp"
	}
	conn, err := h.DialContext(ctx, network, c.to.String())
	if err != nil {
		fmt.Fprintf(out, "connect to %v: %s\n", c.to, reason(err))
		return cutOr(step, "no answer yet")
	}
	fmt.Fprintf(out, "connected to %v from %v\n", c.to, conn.LocalAddr())
	_ = conn.Close() // it has served its purpose
	return done(true)
}

// sendWait is how long send waits for an answer.
const sendWait = time.Second

// send sends one UDP datagram and prints the answer. It fails if there is none:
// UDP itself does not say whether anything has arrived.
func (c *command) send(ctx context.Context, h *host.Host, out io.Writer) result {
	conn, err := h.DialContext(ctx, "udp", c.to.String())
	if err != nil {
		fmt.Fprintf(out, "send to %v: %s\n", c.to, reason(err))
		return done(false)
	}
	defer conn.Close()
	wait := sendWait
	if c.timeout > 0 {
		wait = c.timeout
	}
	deadline := time.Now().Add(wait)
	isCut := false
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline, isCut = d, true
	}
	if err := conn.SetDeadline(deadline); err != nil {
		fmt.Fprintf(out, "send to %v: %v\n", c.to, err)
		return done(false)
	}
	_, err = conn.Write([]byte(c.text))
	answer := make([]byte, 65535)
	n := 0
	if err == nil {
		n, err = conn.Read(answer)
	}
	if err != nil {
		text := reason(err)
		if isTimeout(err) {
			text = "no answer"
		}
		fmt.Fprintf(out, "send to %v: %s\n", c.to, text)
		if isCut && isTimeout(err) {
			return result{cut: "no answer yet"}
		}
		return done(false)
	}
	fmt.Fprintf(out, "answer from %v: %s\n", conn.RemoteAddr(), bytes.ToValidUTF8(answer[:n], []byte("?")))
	return done(true)
}
