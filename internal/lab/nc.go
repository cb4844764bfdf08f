package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/router/host"
)

// The nc command of an instance:
//
//	nc -l [-u] [-k] PORT                  listens, in the background until the lesson ends
//	nc -z [-u] [-w SECONDS] ADDRESS PORT  tells whether a port is open
//	echo TEXT | nc [-u] [-w SECONDS] ADDRESS PORT
//
// What a listener says stands in the output of the step during which it says it, after its instance's name.

// An ncCommand is what nc is to do.
type ncCommand struct {
	listens bool // -l
	goesOn  bool // -k: after the first connection
	looks   bool // -z
	given   bool // there is a text to send
	port    uint16
}

// ncWait is how long nc waits for what comes back, where -w does not say.
const ncWait = time.Second

// echoPipe takes the text out of a line such as "echo hello | nc ADDRESS PORT", and returns the rest.
func (c *command) echoPipe(line string) (string, error) {
	text, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "echo"), "|")
	if !ok {
		return "", fmt.Errorf("echo is for nc: write %q", "echo hello | nc ADDRESS PORT")
	}
	words, err := split(text)
	if err != nil {
		return "", err
	}
	newline := "\n"
	if len(words) > 0 && words[0] == "-n" {
		words, newline = words[1:], ""
	}
	c.text, c.nc.given = strings.Join(words, " ")+newline, true
	if rest = strings.TrimSpace(rest); !strings.HasPrefix(rest, "nc ") {
		return "", fmt.Errorf("echo is for nc, not for %q", rest)
	}
	return rest, nil
}

// parseNC takes the arguments that are no options.
func (c *command) parseNC(args []string) error {
	n := &c.nc
	if n.listens && len(args) > 0 && args[len(args)-1] == "&" {
		args = args[:len(args)-1]
	}
	want := 2
	if n.listens {
		want = 1
	}
	switch {
	case n.listens && (n.looks || n.given):
		return errors.New("it listens with -l, or looks with -z, or sends what echo says")
	case !n.listens && !n.looks && !n.given:
		return errors.New("there is nothing to send: write \"echo TEXT | nc ADDRESS PORT\", or -z, or -l PORT")
	case len(args) != want && n.listens:
		return errors.New("-l takes a port")
	case len(args) != want:
		return errors.New("takes an address and a port")
	}
	port, err := strconv.ParseUint(args[want-1], 10, 16)
	if err != nil || port == 0 {
		return fmt.Errorf("%q is not a port", args[want-1])
	}
	n.port = uint16(port)
	if !n.listens {
		a, err := anAddress(args[0])
		if err != nil {
			return fmt.Errorf("%w: hosts of a lab have no names", err)
		}
		c.to = netip.AddrPortFrom(a, n.port)
	}
	return nil
}

func (c *command) transport() string {
	if c.udp {
		return "udp"
	}
	return "tcp"
}

// netcat looks at a port, or sends a text and prints what comes back.
func (c *command) netcat(step context.Context, h *host.Host, out io.Writer) result {
	if c.nc.looks && c.udp {
		return c.lookUDP(step, h, out)
	}
	ctx, cancel := c.within(step)
	defer cancel()
	conn, err := h.DialContext(ctx, c.transport(), c.to.String())
	if err != nil {
		c.ncFailed(err, out)
		return cutOr(step, "no answer yet")
	}
	defer conn.Close()
	if c.nc.looks {
		c.ncSucceeded(out)
		return done(true)
	}
	return c.exchange(step, conn, out)
}

func (c *command) ncFailed(err error, out io.Writer) {
	fmt.Fprintf(out, "nc: connect to %v port %d (%s) failed: %s\n", c.to.Addr(), c.to.Port(), c.transport(),
		reason(err))
}

func (c *command) ncSucceeded(out io.Writer) {
	fmt.Fprintf(out, "Connection to %v %d port [%s/*] succeeded!\n", c.to.Addr(), c.to.Port(), c.transport())
}

// lookUDP takes a port for open that nobody says is closed. As the real one, it sends something.
func (c *command) lookUDP(step context.Context, h *host.Host, out io.Writer) result {
	wait := ncWait
	if c.timeout > 0 {
		wait = c.timeout
	}
	ctx, cancel := context.WithTimeout(step, wait)
	defer cancel()
	err := h.ProbeUDP(ctx, c.to, []byte("X"))
	var icmp *host.ICMPError
	switch {
	case errors.As(err, &icmp):
		fmt.Fprintf(out, "nc: connect to %v port %d (udp) failed: %s\n", c.to.Addr(), c.to.Port(), icmp.Reason())
	case err != nil && step.Err() != nil:
		return result{cut: "no answer yet"}
	case err == nil, isTimeout(err):
		c.ncSucceeded(out)
		return done(true)
	default:
		c.ncFailed(err, out)
	}
	return done(false)
}

// exchange sends the text, and prints what comes back until the other end closes, or is silent for a while.
func (c *command) exchange(step context.Context, conn net.Conn, out io.Writer) result {
	wait := ncWait
	if c.timeout > 0 {
		wait = c.timeout
	}
	if _, err := io.WriteString(conn, c.text); err != nil {
		fmt.Fprintf(out, "nc: write: %s\n", reason(err))
		return done(false)
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // if the other end has gone, reading says so
	}
	answer := make([]byte, 65535)
	for {
		deadline := time.Now().Add(wait)
		isCut := false
		if d, ok := step.Deadline(); ok && d.Before(deadline) {
			deadline, isCut = d, true
		}
		_ = conn.SetReadDeadline(deadline) // it fails on a closed connection, and then Read does
		n, err := conn.Read(answer)
		_, _ = out.Write(bytes.ToValidUTF8(answer[:n], []byte("?"))) // output that cannot be printed is lost
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), isTimeout(err) && !isCut:
			return done(true)
		case isTimeout(err):
			return result{cut: "the other end has not closed yet"}
		default:
			fmt.Fprintf(out, "nc: read: %s\n", reason(err))
			return done(false)
		}
	}
}

// asides are what listeners say, which is printed with the step during which they do.
type asides struct {
	mu        sync.Mutex
	said      bytes.Buffer
	listeners sync.WaitGroup
	any       bool // there has been a listener
}

// say adds a line of an instance.
func (a *asides) say(instance, line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(&a.said, "[%s] %s\n", instance, line)
}

// asideWait is how long a step waits for what a listener is expected to say.
const asideWait = time.Second

// tell prints what listeners have said. If the output does not hold what the step expects, it waits for a while.
func (a *asides) tell(out *told, want string) {
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		a.mu.Lock()
		_, _ = a.said.WriteTo(out) // told does not fail
		expects := a.any
		a.mu.Unlock()
		if !expects || want == "" || strings.Contains(out.text.String(), want) || time.Since(began) > asideWait {
			return
		}
	}
}

// wait returns when all listeners have ended, which they do with their hosts.
func (a *asides) wait() { a.listeners.Wait() }

// listen starts a listener of an instance.
func (l *lab) listen(c *command, on string, out io.Writer) bool {
	h, at := l.hosts[on], fmt.Sprintf(":%d", c.nc.port)
	var err error
	var serve func()
	if c.udp {
		var conn net.PacketConn
		conn, err = h.ListenPacket("udp", at)
		serve = func() { l.hear(on, conn) }
	} else {
		var listener net.Listener
		listener, err = h.Listen("tcp", at)
		serve = func() { l.accept(on, listener, c.nc.goesOn) }
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		fmt.Fprintln(out, "nc: Address already in use")
		return false
	}
	if err != nil {
		fmt.Fprintf(out, "nc: %v\n", err)
		return false
	}
	l.asides.any = true
	l.asides.listeners.Go(serve)
	fmt.Fprintf(out, "Listening on 0.0.0.0 %d\n", c.nc.port)
	return true
}

// accept takes connections one after the other, the first alone unless it goes on.
func (l *lab) accept(on string, listener net.Listener, goesOn bool) {
	defer listener.Close()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if !goesOn {
			_ = listener.Close() // the next one is refused
		}
		l.received(on, conn.RemoteAddr())
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			l.asides.say(on, lines.Text())
		}
		_ = conn.Close() // everything has been read
		if !goesOn {
			return
		}
	}
}

// hear takes datagrams, and tells of each sender once.
func (l *lab) hear(on string, conn net.PacketConn) {
	defer conn.Close()
	buf, known := make([]byte, 65535), map[string]bool{}
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if !known[from.String()] {
			known[from.String()] = true
			l.received(on, from)
		}
		l.asides.say(on, strings.TrimSuffix(string(bytes.ToValidUTF8(buf[:n], []byte("?"))), "\n"))
	}
}

func (l *lab) received(on string, from net.Addr) {
	address, port, _ := net.SplitHostPort(from.String())
	l.asides.say(on, fmt.Sprintf("Connection received on %s %s", address, port))
}
