package router_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/routertest"
)

// cloud is a tenant's two echo servers behind a VIP with a floating IP; the first has one of its own.
// What a member has going on by TCP ends with it.
var cloud = nettest.Cloud + nettest.FloatingIP("10.10.10.3", "172.16.100.9") +
	nettest.FloatingIP("10.10.10.7", "172.16.100.11") +
	nettest.Balanced("tcp", "TCP", 70, "on_member_down = \"reset\"\non_member_removed = \"reset\"", echoServers...) +
	nettest.Balanced("udp", "UDP", 70, "", echoServers...)

var echoServers = []nettest.Member{
	{Name: "one", Address: "172.16.100.9", Port: 7}, {Name: "two", Address: "172.16.100.10", Port: 7},
}

// A liveCloud is the cloud with its hosts, which are real TCP/IP stacks. The names of
// hosts say which host answers.
type liveCloud struct {
	*routertest.Lab
	t                *testing.T
	one, two, client *host.Host
}

func startCloud(t *testing.T) *liveCloud {
	t.Helper()
	lab := routertest.Parse(t, cloud)
	return &liveCloud{lab, t, lab.Host("tenant", "172.16.100.9"), lab.Host("tenant", "172.16.100.10"),
		lab.Host("ext_net", "10.10.10.4")}
}

// connect opens a TCP connection and returns both ends, through which something has
// gone both ways.
func (c *liveCloud) connect(from *host.Host, to string, server *host.Host, port string) (a, b net.Conn) {
	c.t.Helper()
	l, err := server.Listen("tcp", ":"+port)
	if err != nil {
		c.t.Fatal(err)
	}
	defer l.Close()
	if a, err = from.Dial("tcp", to); err != nil {
		c.t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		c.t.Fatal(err)
	}
	for _, e := range [2]net.Conn{a, b} {
		if err := e.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { e.Close() })
	}
	buf := make([]byte, 5)
	for _, e := range [][2]net.Conn{{a, b}, {b, a}} {
		if _, err := e[0].Write([]byte("hello")); err != nil {
			c.t.Fatal(err)
		}
		if _, err := io.ReadFull(e[1], buf); err != nil {
			c.t.Fatal(err)
		}
	}
	return a, b
}

// wantReset fails unless every connection ends with a reset.
func (c *liveCloud) wantReset(what string, ends ...net.Conn) {
	c.t.Helper()
	for i, e := range ends {
		if _, err := io.Copy(io.Discard, e); !errors.Is(err, syscall.ECONNRESET) {
			c.t.Errorf("%s: end %d: %v", what, i, err)
		}
	}
}

// Real hosts believe the RSTs of a change, at either end and of every kind of
// connection, while connections that it is not about go on.
func TestRealHostsAreReset(t *testing.T) {
	t.Parallel()
	c := startCloud(t)
	stay1, stay2 := c.connect(c.two, "10.10.10.4:9", c.client, "9") // by shared SNAT
	in1, in2 := c.connect(c.client, "10.10.10.3:9", c.one, "9")
	out1, out2 := c.connect(c.one, "10.10.10.4:9", c.client, "9")
	hair1, hair2 := c.connect(c.two, "10.10.10.3:9", c.one, "9")
	if err := c.Control.AssociateFloatingIP(netip.MustParseAddr("10.10.10.3"),
		netip.MustParseAddr("172.16.100.10")); err != nil {
		t.Fatal(err)
	}
	c.wantReset("moved", in1, in2, out1, out2, hair1, hair2)
	if _, err := stay1.Write([]byte("still")); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(stay2, buf); err != nil || string(buf) != "still" {
		t.Errorf("%q, %v", buf, err)
	}
	in1, in2 = c.connect(c.client, "10.10.10.3:9", c.two, "9")
	if err := c.Control.DisassociateFloatingIP(netip.MustParseAddr("10.10.10.3")); err != nil {
		t.Fatal(err)
	}
	c.wantReset("disassociated", in1, in2)
	vip1, vip2 := c.connect(c.client, "10.10.10.7:70", c.one, "7")
	own1, own2 := c.connect(c.client, "10.10.10.7:70", c.two, "7")
	if err := c.Control.SetMember("tcp", "one", false); err != nil {
		t.Fatal(err)
	}
	c.wantReset("down", vip1, vip2)
	if err := c.Control.RemoveMember("tcp", "two"); err != nil {
		t.Fatal(err)
	}
	c.wantReset("removed", own1, own2)
	if _, err := c.client.Dial("tcp", "10.10.10.7:70"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a VIP without members: %v", err)
	}
}

// Also in the middle of a transfer, when much is on its way in both directions.
func TestTransfersAreReset(t *testing.T) {
	t.Parallel()
	c := startCloud(t)
	for range 5 {
		a, b := c.connect(c.client, "10.10.10.3:9", c.one, "9")
		var wg sync.WaitGroup
		var moved atomic.Int64
		going := make(chan struct{})
		var ended [2][2]error // of either end, how writing and reading ended
		for i, end := range []net.Conn{a, b} {
			wg.Go(func() {
				buf := make([]byte, 64<<10)
				for ended[i][0] == nil {
					_, ended[i][0] = end.Write(buf)
				}
			})
			wg.Go(func() {
				buf := make([]byte, 64<<10)
				for ended[i][1] == nil {
					var n int
					n, ended[i][1] = end.Read(buf)
					if total := moved.Add(int64(n)); total >= 4<<20 && total-int64(n) < 4<<20 {
						close(going)
					}
				}
			})
		}
		<-going
		if err := c.Control.DisassociateFloatingIP(netip.MustParseAddr("10.10.10.3")); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		for _, err := range ended { // a socket tells its error once
			if !errors.Is(err[0], syscall.ECONNRESET) && !errors.Is(err[1], syscall.ECONNRESET) {
				t.Errorf("an end is not reset: write %v, read %v", err[0], err[1])
			}
		}
		if err := c.Control.AssociateFloatingIP(netip.MustParseAddr("10.10.10.3"),
			netip.MustParseAddr("172.16.100.9")); err != nil {
			t.Fatal(err)
		}
	}
}

// A UDP client's next datagram, from the same socket, goes by the new rule.
func TestDatagramsFollow(t *testing.T) {
	t.Parallel()
	c := startCloud(t)
	for _, h := range []*host.Host{c.one, c.two} {
		p, err := h.ListenPacket("udp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		go func() {
			buf := make([]byte, 100)
			for {
				_, from, err := p.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = p.WriteTo([]byte(h.Address().String()), from)
			}
		}()
	}
	dial := func(to string) net.Conn {
		u, err := c.client.Dial("udp", to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { u.Close() })
		return u
	}
	ask := func(u net.Conn, want string) {
		t.Helper()
		buf := make([]byte, 100)
		_ = u.SetDeadline(time.Now().Add(time.Minute))
		_, err := u.Write([]byte("who?"))
		var n int
		if err == nil {
			n, err = u.Read(buf)
		}
		if err != nil || string(buf[:n]) != want {
			t.Errorf("%q answers, %v; want %s", buf[:n], err, want)
		}
	}
	floating, vip := dial("10.10.10.3:7"), dial("10.10.10.7:70")
	ask(floating, "172.16.100.9")
	ask(vip, "172.16.100.9")
	if err := errors.Join(c.Control.AssociateFloatingIP(netip.MustParseAddr("10.10.10.3"),
		netip.MustParseAddr("172.16.100.10")),
		c.Control.SetMember("udp", "one", false)); err != nil {
		t.Fatal(err)
	}
	ask(floating, "172.16.100.10")
	ask(vip, "172.16.100.10")
	if err := errors.Join(c.Control.SetMember("udp", "one", true), c.Control.RemoveMember("udp", "two")); err != nil {
		t.Fatal(err)
	}
	ask(vip, "172.16.100.9")
}

// Changes of every kind, from many goroutines, under traffic: nothing is lost but the
// connections that are to end, and in the end all is as it was said last.
func TestChangesUnderTraffic(t *testing.T) {
	t.Parallel()
	c := startCloud(t)
	e := c.Engine
	for _, h := range []*host.Host{c.one, c.two} {
		if err := h.ServeEcho(7); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.client.ServeEcho(7); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	echo := func(from *host.Host, network, to string) error {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		u, err := from.DialContext(short, network, to)
		if err != nil {
			return err
		}
		defer u.Close()
		_ = u.SetDeadline(time.Now().Add(2 * time.Second))
		if _, err := u.Write([]byte("hello")); err != nil {
			return err
		}
		_, err = io.ReadFull(u, make([]byte, 5))
		return err
	}
	var traffic, changes sync.WaitGroup
	stop := make(chan struct{})
	var done, cut atomic.Int64
	for _, k := range []struct {
		from *host.Host
		to   string
	}{{c.client, "10.10.10.3:7"}, {c.client, "10.10.10.7:70"}, {c.one, "172.16.100.11:70"}, {c.two, "10.10.10.4:7"},
		{c.one, "10.10.10.4:7"}} {
		for _, network := range []string{"tcp", "udp"} {
			traffic.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := echo(k.from, network, k.to); err == nil {
						done.Add(1)
					} else {
						cut.Add(1)
					}
				}
			})
		}
	}
	for k := range 4 {
		changes.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(k), 1))
			fixed := []netip.Addr{netip.MustParseAddr("172.16.100.9"), netip.MustParseAddr("172.16.100.10")}
			name := fmt.Sprint("extra", k)
			extra := config.Member{Meta: config.Meta{Name: name}, Address: netip.MustParseAddr("172.16.100.10"),
				Port:   100 + uint16(k),
				Weight: 1}
			for range 100 {
				var err error
				switch rng.IntN(5) {
				case 0:
					err = c.Control.AssociateFloatingIP(netip.MustParseAddr("10.10.10.3"), fixed[rng.IntN(2)])
				case 1:
					if err = c.Control.DisassociateFloatingIP(netip.MustParseAddr("10.10.10.3")); errors.Is(err,
						os.ErrNotExist) {
						err = nil // another one has done it
					}
				case 2:
					err = c.Control.SetMember([]string{"tcp", "udp"}[rng.IntN(2)], "one", rng.IntN(2) == 0)
				case 3:
					err = errors.Join(c.Control.AddMember("tcp", extra),
						c.Control.SetMember("tcp", name, rng.IntN(2) == 0),
						c.Control.RemoveMember("tcp", name))
				default:
					e.Stats()
					e.Connections()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	changes.Wait()
	if err := errors.Join(c.Control.AssociateFloatingIP(netip.MustParseAddr("10.10.10.3"),
		netip.MustParseAddr("172.16.100.9")),
		c.Control.SetMember("tcp", "one", true), c.Control.SetMember("udp", "one", true)); err != nil {
		t.Fatal(err)
	}
	close(stop)
	traffic.Wait()
	if done.Load() == 0 {
		t.Error("no traffic has gone through")
	}
	for _, network := range []string{"tcp", "udp"} {
		for _, to := range []string{"10.10.10.3:7", "10.10.10.7:70", "10.10.10.7:70"} {
			if err := echo(c.client, network, to); err != nil {
				t.Errorf("%s to %s, when all is over: %v", network, to, err)
			}
		}
	}
	s := e.Stats()
	if s.Received != s.Forwarded+s.Consumed+s.Dropped()+s.Parked {
		t.Errorf("the books do not balance: %+v", s)
	}
	for _, k := range e.Connections() {
		if line := k.String(); strings.Contains(line, "10.10.10.3:") && !strings.Contains(line, "172.16.100.9:") {
			t.Errorf("left over: %s", line)
		}
	}
	t.Logf("%d exchanges, %d cut short; drops %v", done.Load(), cut.Load(), s.Drops)
}
