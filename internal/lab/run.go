package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/router/host"
)

// run carries a command out on a host, writes what the real tool would print to
// out, and reports whether it succeeded as that tool's exit status would. The
// time it may take is ctx's.
func (c *command) run(ctx context.Context, h *host.Host, out io.Writer) bool {
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
	case "start", "stop":
		return c.startOrStop(h, out)
	}
	return c.sleep(ctx)
}

// sleep is the command wait.
func (c *command) sleep(ctx context.Context) bool {
	select {
	case <-time.After(c.pause):
		return true
	case <-ctx.Done():
		return false
	}
}

const (
	pingInterval = 100 * time.Millisecond // between echoes; the real one takes a second
	pingWait     = time.Second            // after the last echo
)

// An echo is what became of one echo request.
type echo struct {
	seq   int
	reply host.Reply
	err   error
}

// ping sends count echoes at an interval and prints answers as they come. Like
// the real one it fails if nobody answers.
func (c *command) ping(ctx context.Context, h *host.Host, out io.Writer) bool {
	wait := pingWait
	if c.timeout > 0 {
		wait = c.timeout
	}
	fmt.Fprintf(out, "PING %v (%v) %d(%d) bytes of data.\n", c.addr, c.addr, c.size, c.size+28)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.count-1)*pingInterval+wait)
	defer cancel()
	echoes := make(chan echo)
	start := time.Now()
	for i := range c.count {
		go func() {
			e := echo{seq: i + 1}
			select {
			case <-time.After(time.Duration(i) * pingInterval):
				size := c.size
				if size == 0 {
					size = -1
				}
				e.reply, e.err = h.PingWith(ctx, c.addr, host.PingOptions{Bytes: size, Seq: e.seq, TTL: c.ttl, DontFragment: c.df})
			case <-ctx.Done():
				e.err = ctx.Err()
			}
			echoes <- e
		}()
	}
	return c.pingResults(echoes, start, out)
}

// pingResults prints the lines of the echoes and the statistics.
func (c *command) pingResults(echoes <-chan echo, start time.Time, out io.Writer) bool {
	var times []float64
	failed := 0
	for range c.count {
		e := <-echoes
		var icmp *host.ICMPError
		switch {
		case e.err == nil:
			ms := milliseconds(e.reply.RTT)
			times = append(times, ms)
			fmt.Fprintf(out, "%d bytes from %v: icmp_seq=%d ttl=%d time=%.2f ms\n", e.reply.Bytes, e.reply.From, e.reply.Seq, e.reply.TTL, ms)
		case errors.As(e.err, &icmp):
			failed++
			fmt.Fprintf(out, "From %v icmp_seq=%d %s\n", icmp.From, e.seq, icmp.Reason())
		case errors.Is(e.err, syscall.EMSGSIZE):
			failed++
			fmt.Fprintln(out, "ping: local error: message too long")
		}
	}
	fmt.Fprintf(out, "\n--- %v ping statistics ---\n%d packets transmitted, %d received", c.addr, c.count, len(times))
	if failed > 0 {
		fmt.Fprintf(out, ", +%d errors", failed)
	}
	fmt.Fprintf(out, ", %d%% packet loss, time %dms\n", 100*(c.count-len(times))/c.count, time.Since(start).Milliseconds())
	printSpread(times, out)
	return len(times) > 0
}

// printSpread is ping's last line.
func printSpread(times []float64, out io.Writer) {
	if len(times) == 0 {
		return
	}
	lo, hi, sum, squares := math.Inf(1), 0.0, 0.0, 0.0
	for _, t := range times {
		lo, hi = min(lo, t), max(hi, t)
		sum, squares = sum+t, squares+t*t
	}
	avg := sum / float64(len(times))
	mdev := math.Sqrt(max(0, squares/float64(len(times))-avg*avg))
	fmt.Fprintf(out, "rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", lo, avg, hi, mdev)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// within limits ctx by the command's own time limit, if it has one.
func (c *command) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.timeout > 0 {
		return context.WithTimeout(ctx, c.timeout)
	}
	return context.WithCancel(ctx)
}

// curl prints the body of a page. As curl, it does not mind the status code.
func (c *command) curl(ctx context.Context, client *http.Client, out io.Writer) bool {
	ctx, cancel := c.within(ctx)
	defer cancel()
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		fmt.Fprintf(out, "curl: (3) %v\n", err)
		return false
	}
	req.Header.Set("User-Agent", "curl (taprouter lab)")
	res, err := client.Do(req)
	if err != nil {
		c.curlFailed(err, time.Since(start), out)
		return false
	}
	defer res.Body.Close()
	if c.headers {
		fmt.Fprintf(out, "%s %s\n", res.Proto, res.Status)
		_ = res.Header.Write(out) // to memory
		fmt.Fprintln(out)
	}
	if _, err := io.Copy(out, res.Body); err != nil {
		fmt.Fprintf(out, "curl: (56) Recv failure: %v\n", reason(err))
		return false
	}
	return true
}

// curlFailed prints what curl prints when it gets no page.
func (c *command) curlFailed(err error, took time.Duration, out io.Writer) {
	var op *net.OpError
	switch {
	case isTimeout(err):
		fmt.Fprintf(out, "curl: (28) Connection timed out after %d milliseconds\n", took.Milliseconds())
	case errors.As(err, &op) && op.Op == "dial":
		fmt.Fprintf(out, "curl: (7) Failed to connect to %v port %d after %d ms: %s\n", c.to.Addr(), c.to.Port(), took.Milliseconds(), reason(err))
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
func (c *command) traceroute(ctx context.Context, h *host.Host, out io.Writer) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	mode := map[string]host.TracerouteMode{"-U": host.TracerouteUDP, "-I": host.TracerouteICMP, "-T": host.TracerouteTCP}[c.mode]
	fmt.Fprintf(out, "traceroute to %v (%v), %d hops max\n", c.addr, c.addr, c.maxHops)
	hops, err := h.Traceroute(ctx, c.addr, host.TracerouteOptions{Mode: mode, MaxHops: c.maxHops, Wait: c.timeout})
	for _, hop := range hops {
		switch {
		case !hop.From.IsValid():
			fmt.Fprintf(out, "%2d  *\n", hop.TTL)
		case c.numeric:
			fmt.Fprintf(out, "%2d  %v  %.3f ms\n", hop.TTL, hop.From, milliseconds(hop.RTT))
		default:
			fmt.Fprintf(out, "%2d  %v (%v)  %.3f ms\n", hop.TTL, hop.From, hop.From, milliseconds(hop.RTT))
		}
	}
	if err != nil {
		fmt.Fprintf(out, "traceroute: %v\n", err)
		return false
	}
	return len(hops) > 0 && hops[len(hops)-1].From == c.addr
}

// connect opens a TCP connection and closes it again.
func (c *command) connect(ctx context.Context, h *host.Host, out io.Writer) bool {
	ctx, cancel := c.within(ctx)
	defer cancel()
	network := "tcp"
	if c.udp {
		network = "udp"
	}
	conn, err := h.DialContext(ctx, network, c.to.String())
	if err != nil {
		fmt.Fprintf(out, "connect to %v: %s\n", c.to, reason(err))
		return false
	}
	fmt.Fprintf(out, "connected to %v from %v\n", c.to, conn.LocalAddr())
	_ = conn.Close() // it has served its purpose
	return true
}

// sendWait is how long send waits for an answer.
const sendWait = time.Second

// send sends one UDP datagram and prints the answer. It fails if there is none:
// UDP itself does not say whether anything has arrived.
func (c *command) send(ctx context.Context, h *host.Host, out io.Writer) bool {
	conn, err := h.DialContext(ctx, "udp", c.to.String())
	if err != nil {
		fmt.Fprintf(out, "send to %v: %s\n", c.to, reason(err))
		return false
	}
	defer conn.Close()
	wait := sendWait
	if c.timeout > 0 {
		wait = c.timeout
	}
	deadline := time.Now().Add(wait)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		fmt.Fprintf(out, "send to %v: %v\n", c.to, err)
		return false
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
		return false
	}
	fmt.Fprintf(out, "answer from %v: %s\n", conn.RemoteAddr(), bytes.ToValidUTF8(answer[:n], []byte("?")))
	return true
}
