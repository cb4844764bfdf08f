//go:build linux

package e2e_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

// The soak's network, on a router in this process:
//
//	inner 172.16.100.9 ── tap100 ──┐
//	other 172.16.101.4 ── tap101 ──┴ router ── tap-ext ── outer 10.10.10.4
//
// inner has the floating IP 10.10.10.3, and is the member of the VIP 172.16.100.11,
// whose floating IP is 10.10.10.7. other goes out by SNAT. Timeouts are short, so that
// the end of everything can be waited for.
func soakTopology(inner, other, outer *space) string {
	text := nettest.CloudOn("tap:tap100@"+inner.name, "tap:tap-ext@"+outer.name)
	text = strings.Replace(text, `["tenant"]`, `["tenant", "second"]`, 1) // the router's interfaces
	return text + nettest.FloatingIP("10.10.10.3", "172.16.100.9") + nettest.FloatingIP("10.10.10.7", "172.16.100.11") +
		nettest.Balanced("vip", "TCP", 5000, "", nettest.Member{Name: "inner", Address: "172.16.100.9", Port: 5001}) + `
[[network]]
name = "second"
devices = ["tap:tap101@` + other.name + `"]
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[nat.timeouts]
udp = "2s"
icmp = "2s"
tcp_established = "2m"
tcp_transitory = "3s"
fragment = "2s"
`
}

// soakFaults are what a bad link does, to each frame in each direction.
var soakFaults = tap.FaultOptions{Drop: 0.005, Duplicate: 0.005, Reorder: 0.01, Corrupt: 0.002, Seed: 1}

// soakStall is how long one transfer may take. A corrupted ARP reply alone may cost
// half a minute, until the router asks again.
const soakStall = 2 * time.Minute

// A soak is one run of mixed traffic.
type soak struct {
	*world
	t                   *testing.T
	inner, other, outer *space
	gateways            map[*space]netlink.Neigh

	faults  bool
	end     time.Time
	engine  *router.Engine
	servers sync.WaitGroup // what serves, until it is closed
	clients sync.WaitGroup // what runs until the end
	close   []io.Closer
	moved   atomic.Int64 // bytes verified
	short   atomic.Int64 // short connections
}

// TestSoak has traffic of every kind go through every kind of translation, for
// TAPROUTER_SOAK (10s): the first half over good links, where nothing may be lost, the
// second over such that lose, repeat, reorder and corrupt frames, where all data must
// arrive right all the same. After each half nothing must be left: no
// connection, no memory, no goroutine, no file descriptor.
func TestSoak(t *testing.T) {
	need(t, "ping")
	d := 10 * time.Second
	if v := os.Getenv("TAPROUTER_SOAK"); v != "" {
		var err error
		if d, err = time.ParseDuration(v); err != nil {
			t.Fatalf("TAPROUTER_SOAK: %v", err)
		}
	}
	w := newWorld(t)
	s := &soak{world: w, inner: w.space("inner"), other: w.space("other"), outer: w.space("outer"),
		gateways: map[*space]netlink.Neigh{}}
	for _, faults := range []bool{false, true} {
		w.step(map[bool]string{false: "good links", true: "bad links"}[faults], func(t *testing.T) {
			s.t, s.faults = t, faults
			s.run(d / 2)
		})
	}
}

// run is one half.
func (s *soak) run(d time.Duration) {
	s.start() // a first time, so that files which stay open are open before the count
	s.stop()
	before := resources()
	s.start()
	empty := s.engine.Stats()
	s.end = time.Now().Add(d)
	s.traffic(d)
	s.clients.Wait()
	for _, c := range s.close {
		c.Close()
	}
	s.servers.Wait()
	s.close = nil
	s.settled(empty)
	s.stop()
	s.released(before)
}

// start starts the router and gives the hosts their addresses.
func (s *soak) start() {
	text := soakTopology(s.inner, s.other, s.outer)
	f, err := file.Read("soak.toml", strings.NewReader(text))
	s.check(err)
	open := router.OpenDevice(nil)
	s.engine, err = router.Start(f.State(), router.Options{Logger: slog.New(slog.DiscardHandler),
		Open: func(d file.Device) (tap.Device, error) {
			dev, err := open(d)
			if err == nil && s.faults {
				dev = tap.Fault(dev, soakFaults)
			}
			return dev, err
		}})
	s.check(err)
	for _, h := range []struct {
		*space
		device, cidr, gateway, neighbor string
	}{
		{s.inner, "tap100", "172.16.100.9/24", "172.16.100.1", "172.16.100.1"},
		{s.other, "tap101", "172.16.101.4/24", "172.16.101.1", "172.16.101.1"},
		{s.outer, "tap-ext", "10.10.10.4/24", "", "10.10.10.2"},
	} {
		h.address(h.device, h.cidr, h.gateway)
		s.know(h.space, h.device, h.neighbor)
	}
}

// know has a host know the router's MAC address for good: a corrupted ARP message would
// lead it astray, which is no fault of the router's. The first time it is found out.
func (s *soak) know(h *space, device, address string) {
	s.t.Helper()
	n, ok := s.gateways[h]
	if !ok {
		n = netlink.Neigh{State: netlink.NUD_PERMANENT, IP: net.ParseIP(address),
			HardwareAddr: h.neighbor(s.t, device, address)}
		s.gateways[h] = n
	}
	n.LinkIndex = h.link(device).Attrs().Index
	all := []string{address}
	if h == s.outer {
		all = append(all, "10.10.10.3", "10.10.10.7")
	}
	for _, a := range all {
		n.IP = net.ParseIP(a)
		s.check(h.NeighSet(&n))
	}
}

func (s *soak) stop() { s.check(s.engine.Close()) }

// traffic starts everything that runs until the end.
func (s *soak) traffic(d time.Duration) {
	for _, h := range []*space{s.inner, s.outer} {
		s.serveContent(h, ":5001")
		s.echo(h, ":7")
	}
	size := int64(32 << 20)
	if s.faults {
		size = 1 << 20
	}
	for _, way := range []struct {
		name string
		from *space
		to   string
	}{
		{"SNAT", s.other, "10.10.10.4:5001"},
		{"out of a floating IP", s.inner, "10.10.10.4:5001"},
		{"into a floating IP", s.outer, "10.10.10.3:5001"},
		{"VIP", s.other, "172.16.100.11:5000"},
		{"VIP through its floating IP", s.outer, "10.10.10.7:5000"},
		{"a member to its own VIP", s.inner, "172.16.100.11:5000"},
		{"SNAT into a floating IP", s.other, "10.10.10.3:5001"},
	} {
		s.clients.Go(func() { s.transfers(way.name, way.from, way.to, size, 0) })
		s.clients.Go(func() { s.transfers(way.name+", short", way.from, way.to, 100, 5*time.Millisecond) })
	}
	s.clients.Go(func() { s.datagrams("SNAT", s.other, "10.10.10.4:7") })
	s.clients.Go(func() { s.datagrams("out of a floating IP", s.inner, "10.10.10.4:7") })
	s.clients.Go(func() { s.datagrams("into a floating IP", s.outer, "10.10.10.3:7") })
	for _, p := range []struct {
		from *space
		to   string
		size int
	}{{s.other, "10.10.10.4", 56}, {s.outer, "10.10.10.3", 56}, {s.outer, "10.10.10.7", 56},
		{s.other, "172.16.101.1", 3000}, {s.inner, "10.10.10.4", 3000}} {
		s.ping(p.from, p.to, p.size, d)
	}
}

// buffered bounds a socket's buffers: the data under way fits the queues of the TAPs,
// so that the kernel has no reason to drop any of it.
func buffered(size int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		e := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE,
				size)
		})
		return errors.Join(e, err)
	}
}

const (
	tcpBuffer = 64 << 10
	udpBuffer = 8 << 20 // for sockets whose process may have to wait for its turn on a busy machine
)

// connect opens a connection from a host.
func (s *soak) connect(from *space, network, to string, buffer int) (c net.Conn, err error) {
	err = from.within(func() (err error) {
		d := net.Dialer{Timeout: soakStall, Control: buffered(buffer)}
		c, err = d.Dial(network, to)
		return err
	})
	return c, err
}

// transfers makes connection after connection, each with n bytes of known content both
// ways at once.
func (s *soak) transfers(name string, from *space, to string, n int64, pause time.Duration) {
	for seed := uint64(0); time.Now().Before(s.end); seed += 2 {
		c, err := s.connect(from, "tcp4", to, tcpBuffer)
		if err == nil {
			if pause > 0 && seed%16 == 14 { // some are aborted
				_ = c.(*net.TCPConn).SetLinger(0)
			} else {
				err = request(c, seed, n)
			}
			c.Close()
		}
		if err != nil {
			s.t.Errorf("%s, connection %d: %v", name, seed/2, err)
			return
		}
		s.moved.Add(2 * n)
		if pause > 0 {
			s.short.Add(1)
			time.Sleep(pause)
		}
	}
}

// request asks for an exchange of content and does it.
func request(c net.Conn, seed uint64, n int64) error {
	_ = c.SetDeadline(time.Now().Add(soakStall))
	head := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, seed), uint64(n))
	if _, err := c.Write(head); err != nil {
		return err
	}
	return exchange(c.(*net.TCPConn), seed, seed+1, n)
}

// serveContent answers requests.
func (s *soak) serveContent(h *space, address string) {
	var l net.Listener
	s.check(h.within(func() (err error) {
		lc := net.ListenConfig{Control: buffered(tcpBuffer)}
		l, err = lc.Listen(s.t.Context(), "tcp4", address)
		return err
	}))
	s.close = append(s.close, l)
	s.servers.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // aborted before it was accepted
			}
			s.servers.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(soakStall))
				var head [16]byte
				if _, err := io.ReadFull(c, head[:]); err != nil {
					return // aborted
				}
				seed, n := binary.BigEndian.Uint64(head[:]), binary.BigEndian.Uint64(head[8:])
				if err := exchange(c.(*net.TCPConn), seed+1, seed, int64(n)); err != nil {
					s.t.Errorf("serving %v: %v", c.RemoteAddr(), err)
				}
			})
		}
	})
}

// exchange sends the content of one seed and receives that of the other, n bytes each,
// at the same time. Each side ends its direction, and must see the end of the other's.
func exchange(c *net.TCPConn, out, in uint64, n int64) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(struct{ io.Writer }{c}, content(out), n)
		sent <- errors.Join(err, c.CloseWrite())
	}()
	err := receive(c, content(in), n)
	if err != nil {
		_ = c.SetDeadline(time.Now()) // there is no sense in sending the rest
	}
	return errors.Join(err, <-sent)
}

// content is the bytes of a seed.
func content(seed uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	return rand.NewChaCha8(key)
}

// receive reads n bytes, which must be as expected, and the end.
func receive(c io.Reader, want io.Reader, n int64) error {
	got, expected := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); at < n; {
		k := min(n-at, int64(len(got)))
		if m, err := io.ReadFull(c, got[:k]); err != nil {
			return fmt.Errorf("received %d of %d bytes: %w", at+int64(m), n, err)
		}
		_, _ = io.ReadFull(want, expected[:k]) // never fails
		if !bytes.Equal(got[:k], expected[:k]) {
			return fmt.Errorf("the content has changed between bytes %d and %d", at, at+k)
		}
		at += k
	}
	if m, err := c.Read(got[:1]); m != 0 || err != io.EOF {
		return fmt.Errorf("behind the end: %d bytes, %v", m, err)
	}
	return nil
}

// echo answers datagrams.
func (s *soak) echo(h *space, address string) {
	var c net.PacketConn
	s.check(h.within(func() (err error) {
		lc := net.ListenConfig{Control: buffered(udpBuffer)}
		c, err = lc.ListenPacket(s.t.Context(), "udp4", address)
		return err
	}))
	s.close = append(s.close, c)
	s.servers.Go(func() {
		b := make([]byte, 65536)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteTo(b[:n], from) // the sender misses a datagram that is lost
			}
		}
	})
}

// soakSizes are datagrams in one frame and in several.
var soakSizes = []int{8, 64, 512, 1472, 1473, 4000, 9000}

// datagrams sends numbered datagrams to an echo, one every five milliseconds. Over good
// links each comes back once.
func (s *soak) datagrams(name string, from *space, to string) {
	c, err := s.connect(from, "udp4", to, udpBuffer)
	if err != nil {
		s.t.Errorf("%s: %v", name, err)
		return
	}
	var seen []int // how often, by number; the receiver's until it has ended
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 65536)
		for {
			n, err := c.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				s.t.Errorf("datagrams, %s: %v", name, err) // an ICMP error
				continue
			}
			number := binary.BigEndian.Uint64(b)
			if n < 8 || !bytes.Equal(b[:n], datagram(number)) {
				s.t.Errorf("datagrams, %s: %d bytes have come back as nobody sent them", name, n)
				continue
			}
			for uint64(len(seen)) <= number {
				seen = append(seen, 0)
			}
			seen[number]++
		}
	}()
	sent := 0
	for tick := time.NewTicker(5 * time.Millisecond); time.Now().Before(s.end); sent++ {
		<-tick.C
		if _, err := c.Write(datagram(uint64(sent))); err != nil {
			s.t.Errorf("datagrams, %s: %v", name, err)
			break
		}
	}
	time.Sleep(2 * time.Second) // for packets that are on their way
	c.Close()
	<-done
	lost, more := sent-len(seen), 0
	for _, n := range seen {
		if n == 0 {
			lost++
		}
		more += max(0, n-1)
	}
	s.t.Logf("datagrams, %s: %d sent, %d lost, %d came twice", name, sent, lost, more)
	if lost > 0 && !s.faults || more > 0 && !s.faults || lost == sent {
		s.t.Errorf("datagrams, %s: %d of %d lost, %d came twice", name, lost, sent, more)
	}
}

// datagram is the one of a number.
func datagram(number uint64) []byte {
	b := make([]byte, soakSizes[number%uint64(len(soakSizes))])
	binary.BigEndian.PutUint64(b, number)
	for i := 8; i < len(b); i++ {
		b[i] = byte(number + uint64(i))
	}
	return b
}

var pinged = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)

// ping pings all the time.
func (s *soak) ping(from *space, to string, size int, d time.Duration) {
	count := max(1, int(d/(100*time.Millisecond)))
	p := from.start("ping", "-n", "-q", "-i", "0.1", "-W", "2", "-c", strconv.Itoa(count), "-s", strconv.Itoa(size), to)
	s.clients.Go(func() {
		select {
		case <-p.ended:
		case <-time.After(2*d + soakStall):
			s.t.Errorf("ping %s does not end", to)
			p.cancel()
			<-p.ended
		}
		m := pinged.FindStringSubmatch(p.out.String())
		if m == nil || m[2] != m[1] && !s.faults || m[2] == "0" {
			s.t.Errorf("ping %s with %d bytes:\n%s", to, size, p.out.String())
		}
	})
}

// mustNot are the drops that good links give no reason for.
var mustNot = []router.DropReason{
	router.DropTCPWindow, router.DropNeighborFull, router.DropNoPort, router.DropTableFull, router.DropHostShare,
	router.DropFragmentFull, router.DropLoop, router.DropHandover, router.DropIPChecksum, router.DropTransport,
}

// settled waits until the router has forgotten everything.
func (s *soak) settled(empty router.Stats) {
	var st router.Stats
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		st = s.engine.Stats()
		if st.Routers[0].Connections == 0 && st.Parked == 0 {
			break
		}
		if time.Now().After(deadline) {
			s.t.Errorf("%d connections and %d waiting frames are left", st.Routers[0].Connections, st.Parked)
			for _, c := range s.engine.Connections() {
				s.t.Log(c)
			}
			break
		}
	}
	r := st.Routers[0]
	s.t.Logf("%d MB moved, %d short connections; %d frames, %d connections, drops %v", s.moved.Swap(0)>>20,
		s.short.Swap(0), st.Received, r.Created, st.Drops)
	if sum := st.Forwarded + st.Consumed + st.Dropped() + st.Parked; sum != st.Received {
		s.t.Errorf("received %d frames, but there are %d verdicts", st.Received, sum)
	}
	// A chunk of everything may stay for next time.
	if was := empty.Routers[0].TableBytes; r.TableBytes > was+1<<19 {
		s.t.Errorf("the tables take %d bytes, at first it was %d", r.TableBytes, was)
	}
	for _, reason := range mustNot {
		if n := st.Drops[reason]; n > 0 && !s.faults {
			s.t.Errorf("%d frames were dropped as %v", n, reason)
		}
	}
	for _, d := range st.Devices {
		if d.Lost > 0 && !s.faults {
			s.t.Errorf("%s did not take %d frames", d.Device, d.Lost)
		}
	}
}

// A use is what a process holds.
type use struct{ goroutines, files int }

func resources() use {
	files, _ := os.ReadDir("/proc/self/fd") // there on every Linux
	return use{runtime.NumGoroutine(), len(files)}
}

// released waits until no more is held than before.
func (s *soak) released(before use) {
	var now use
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if now = resources(); now.goroutines <= before.goroutines && now.files <= before.files {
			return
		}
	}
	s.t.Errorf("before: %+v, left: %+v", before, now)
	var stacks bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1) // a buffer takes everything
	s.t.Logf("%s", &stacks)
}
