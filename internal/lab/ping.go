package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"syscall"
	"time"

	"github.com/taprouter/taprouter/router/host"
)

const (
	pingInterval = 100 * time.Millisecond // between echoes; the real one takes a second

	// pingWait is how long an echo waits for its answer where others are answered,
	// pingPatience where none is: a host or a router gives a neighbor up after three
	// seconds, and the sender is to see that, in the five seconds that a step has.
	pingWait     = time.Second
	pingPatience = 4 * time.Second
)

// An echo is what became of one echo request.
type echo struct {
	seq   int
	reply host.Reply
	err   error
}

// A pinger is one run of ping.
type pinger struct {
	*command
	host *host.Host
	out  io.Writer

	began   time.Time
	ended   chan echo
	quit    chan struct{}
	running sync.WaitGroup

	sent   []request // by sequence number, from 1
	told   int       // so many of them have had their line
	times  []float64 // of the answered ones, in milliseconds
	failed int
}

// A request is one echo request that was sent.
type request struct {
	at     time.Time
	giveUp context.CancelFunc
	over   bool // answered, failed or given up
	echo   echo // if it was answered or has failed
}

// ping sends echoes at an interval and prints their answers in the order in which
// they were sent. Like the real one it fails if there is no answer.
func (c *command) ping(ctx context.Context, h *host.Host, out io.Writer) result {
	fmt.Fprintf(out, "PING %v (%v) %d(%d) bytes of data.\n", c.addr, c.addr, c.size, c.size+28)
	p := &pinger{command: c, host: h, out: out, began: time.Now(), ended: make(chan echo), quit: make(chan struct{})}
	atEnd := p.run(ctx)
	close(p.quit)
	for i := range p.sent {
		p.sent[i].giveUp()
	}
	p.running.Wait()
	p.flush(true)
	p.statistics()
	switch {
	case !atEnd && c.count > 0:
		return result{len(p.times) > 0,
			fmt.Sprintf("%d of %d echo requests sent, %d answered", len(p.sent), c.count, len(p.times))}
	case !atEnd:
		return result{len(p.times) > 0, fmt.Sprintf("%d echo requests sent, %d answered", len(p.sent), len(p.times))}
	case c.deadline > 0 && len(p.times) < c.count:
		return done(false) // as the real one, which is asked for both
	}
	return done(len(p.times) > 0)
}

// run sends and waits, and says whether it came to its own end: all that was sent is
// over, or ping's own deadline is there.
func (p *pinger) run(ctx context.Context) bool {
	interval := p.interval
	if interval == 0 {
		interval = pingInterval
	}
	var deadline <-chan time.Time
	if p.deadline > 0 {
		deadline = time.After(p.deadline)
	}
	next := time.NewTimer(0)
	defer next.Stop()
	for p.count == 0 || p.told < p.count {
		var send, tooLate <-chan time.Time
		if p.count == 0 || len(p.sent) < p.count {
			send = next.C
		}
		if p.told < len(p.sent) {
			tooLate = time.After(time.Until(p.sent[p.told].at.Add(p.patience())))
		}
		select {
		case <-send:
			next.Reset(interval)
			p.send(ctx)
		case e := <-p.ended:
			if r := &p.sent[e.seq-1]; !r.over {
				r.over, r.echo = true, e
				p.tally(e)
			}
		case <-tooLate:
			p.sent[p.told].over = true
			p.sent[p.told].giveUp()
		case <-deadline:
			return true
		case <-ctx.Done():
			return false
		}
		p.flush(false)
	}
	return true
}

// patience is how long an echo waits for its answer.
func (p *pinger) patience() time.Duration {
	switch {
	case p.timeout > 0:
		return p.timeout
	case len(p.times) > 0:
		return pingWait
	}
	return pingPatience
}

// send sends the next echo request.
func (p *pinger) send(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	p.sent = append(p.sent, request{at: time.Now(), giveUp: cancel})
	e := echo{seq: len(p.sent)}
	size := p.size
	if size == 0 {
		size = -1
	}
	p.running.Go(func() {
		e.reply, e.err = p.host.PingWith(ctx, p.addr, host.PingOptions{
			Bytes:        size,
			Seq:          e.seq & 0xffff,
			TTL:          p.ttl,
			From:         p.from,
			DontFragment: p.df,
		})
		select {
		case p.ended <- e:
		case <-p.quit:
		}
	})
}

// tally counts an echo that was answered or has failed.
func (p *pinger) tally(e echo) {
	var icmp *host.ICMPError
	switch {
	case e.err == nil:
		p.times = append(p.times, milliseconds(e.reply.RTT))
	case errors.As(e.err, &icmp), errors.Is(e.err, syscall.EMSGSIZE), errors.Is(e.err, syscall.ENETUNREACH),
		errors.Is(e.err, syscall.EADDRNOTAVAIL):
		p.failed++
	}
}

// flush prints the lines of the echoes that are over, up to the first that is not; in
// the end, the lines of all that are.
func (p *pinger) flush(all bool) {
	for ; p.told < len(p.sent) && (all || p.sent[p.told].over); p.told++ {
		e := &p.sent[p.told].echo
		var icmp *host.ICMPError
		switch {
		case e.seq == 0: // nothing came of it
		case e.err == nil && !p.quiet:
			fmt.Fprintf(p.out, "%d bytes from %v: icmp_seq=%d ttl=%d time=%.2f ms\n",
				e.reply.Bytes, e.reply.From, e.seq, e.reply.TTL, milliseconds(e.reply.RTT))
		case errors.As(e.err, &icmp):
			fmt.Fprintf(p.out, "From %v icmp_seq=%d %s\n", icmp.From, e.seq, icmp.Reason())
		case errors.Is(e.err, syscall.EMSGSIZE):
			fmt.Fprintln(p.out, "ping: local error: message too long")
		case errors.Is(e.err, syscall.ENETUNREACH):
			fmt.Fprintln(p.out, "ping: connect: Network is unreachable")
		case errors.Is(e.err, syscall.EADDRNOTAVAIL):
			fmt.Fprintln(p.out, "ping: bind: Cannot assign requested address")
		}
	}
}

// statistics prints ping's last lines.
func (p *pinger) statistics() {
	fmt.Fprintf(p.out, "\n--- %v ping statistics ---\n%d packets transmitted, %d received",
		p.addr, len(p.sent), len(p.times))
	if p.failed > 0 {
		fmt.Fprintf(p.out, ", +%d errors", p.failed)
	}
	lost := 0
	if len(p.sent) > 0 {
		lost = 100 * (len(p.sent) - len(p.times)) / len(p.sent)
	}
	fmt.Fprintf(p.out, ", %d%% packet loss, time %dms\n", lost, time.Since(p.began).Milliseconds())
	printSpread(p.times, p.out)
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
