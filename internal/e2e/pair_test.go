//go:build linux

package e2e_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/nettest"
)

// Two hosts, each behind one device of the router:
//
//	internal 172.16.100.9 ── tap100 ── taprouter ── tap-ext ── external 10.10.10.4
//
// The internal network goes out by SNAT to 10.10.10.2.
type pair struct {
	*world
	router, internal, external *space
	process                    *process
	logStart                   int // logged ignores the log before this place
}

var pairTopology = nettest.CloudOn("tap:tap100", "tap:tap-ext")

const (
	internalAddress = "172.16.100.9"
	externalAddress = "10.10.10.4"
)

// A wiring is how a host is joined to the router.
type wiring string

const (
	movedTAP  wiring = "tap"       // made by the router, moved to the host afterwards
	placedTAP wiring = "tap@netns" // made by the router in the host's namespace
	rawVeth   wiring = "raw"       // a veth, one end with the router
)

// newPair is a pair with TAPs, and more topology behind pairTopology.
func newPair(t *testing.T, more ...string) *pair {
	t.Helper()
	return newWiredPair(t, movedTAP, movedTAP, pairTopology+strings.Join(more, "\n"))
}

// newWiredPair is a pair on any devices: the topology's are replaced.
func newWiredPair(t *testing.T, internal, external wiring, topology string) *pair {
	t.Helper()
	p := &pair{world: newWorld(t)}
	p.router, p.internal, p.external = p.space("router"), p.space("internal"), p.space("external")
	topology = p.prepare(p.internal, internal, "tap100", topology)
	topology = p.prepare(p.external, external, "tap-ext", topology)
	p.process = p.router.serve(p.file("pair.toml", topology))
	p.connect(p.internal, internal, "tap100", internalAddress+"/24", "172.16.100.1")
	p.connect(p.external, external, "tap-ext", externalAddress+"/24", "")
	return p
}

// prepare makes what must be there before the router starts. The host's
// interface has the TAP's name in every wiring.
func (p *pair) prepare(host *space, how wiring, name, topology string) string {
	p.t.Helper()
	device := "tap:" + name
	switch how {
	case placedTAP:
		return strings.Replace(topology, device, device+"@"+host.name, 1)
	case rawVeth:
		p.veth(p.router, "cable-"+name, host, name)
		return strings.Replace(topology, device, "raw:cable-"+name, 1)
	}
	return topology
}

// connect gives the host its interface and address.
func (p *pair) connect(host *space, how wiring, name, cidr, gateway string) {
	p.t.Helper()
	if how == movedTAP {
		host.adopt(p.router, name)
	}
	host.address(name, cidr, gateway)
}

// join opens a TCP connection between two hosts, and returns both ends.
func (w *world) join(from, to *space, listen, dial string) (client, server net.Conn) {
	w.t.Helper()
	l := to.listen(listen)
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if strings.HasSuffix(dial, ":") {
		dial += port
	}
	client = from.dial("tcp4", dial)
	select {
	case server = <-accepted:
	case <-time.After(10 * time.Second):
		w.t.Fatalf("no connection arrives at %s", l.Addr())
	}
	w.t.Cleanup(func() { server.Close() })
	return client, server
}

// says sends a text, and wants it to arrive.
func (w *world) says(from, to net.Conn, text string) {
	w.t.Helper()
	_, err := io.WriteString(from, text)
	w.check(err)
	got := make([]byte, len(text))
	_ = to.SetReadDeadline(time.Now().Add(stallTime))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		w.t.Errorf("%q: %q arrives, %v", text, got, err)
	}
}

// pump writes n bytes that repeat with a period no segment size divides, and
// returns their hash.
func pump(w io.Writer, n int64, seed byte) (sum [32]byte, err error) {
	block := make([]byte, 1_000_003)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(block) // never fails
	h := sha256.New()
	for left := n; left > 0; {
		b := block[:min(left, int64(len(block)))]
		if _, err := w.Write(b); err != nil {
			return sum, err
		}
		h.Write(b)
		left -= int64(len(b))
	}
	return [32]byte(h.Sum(nil)), nil
}

// stallTime is how long a transfer may take over a piece.
const stallTime = 15 * time.Second

// sink receives n bytes, without a stall, and returns their hash.
func sink(c net.Conn, n int64) (sum [32]byte, err error) {
	h := sha256.New()
	for got := int64(0); got < n; {
		_ = c.SetReadDeadline(time.Now().Add(stallTime))
		k, err := io.CopyN(h, c, min(n-got, 8<<20))
		if got += k; err != nil {
			return sum, fmt.Errorf("received %d of %d bytes: %w", got, n, err)
		}
	}
	return [32]byte(h.Sum(nil)), nil
}

// transfer sends n bytes each way over one connection, one way after the other,
// and fails unless they arrive as they were.
func transfer(t *testing.T, client, server net.Conn, n int64) {
	t.Helper()
	for _, way := range []struct {
		name     string
		from, to net.Conn
		seed     byte
	}{
		{"client to server", client, server, 1},
		{"server to client", server, client, 2},
	} {
		type result struct {
			sum [32]byte
			err error
		}
		sent := make(chan result, 1)
		go func() {
			sum, err := pump(way.from, n, way.seed)
			sent <- result{sum, err}
		}()
		start := time.Now()
		sum, err := sink(way.to, n)
		if err != nil {
			t.Fatalf("%s: %v", way.name, err) // the end of the test ends the sender
		}
		took := time.Since(start)
		if r := <-sent; r.err != nil || r.sum != sum {
			t.Fatalf("%s: the data has changed on the way, or was not sent: %v", way.name, r.err)
		}
		t.Logf("%s: %d MB intact, sha256 %x..., %.1f Gbit/s", way.name, n>>20, sum[:6], float64(n)*8/took.Seconds()/1e9)
	}
}

// datagrams sends datagrams of many sizes over a connection to an echo, each of
// which must come back as it was.
func datagrams(t *testing.T, c net.Conn, sizes []int) {
	t.Helper()
	data := make([]byte, 65507)
	_, _ = rand.NewChaCha8([32]byte{3}).Read(data) // never fails
	back := make([]byte, 65536)
	for _, n := range sizes {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write(data[:n]); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		got, err := c.Read(back)
		if err != nil || string(back[:got]) != string(data[:n]) {
			t.Fatalf("%d bytes: %d came back, %v", n, got, err)
		}
	}
}

// fewSizes is a datagram of each kind: empty, small, just one frame, just two
// fragments, many fragments, the largest.
var fewSizes = []int{0, 1, 18, 512, 1472, 1473, 9000, 65507}

// allSizes goes through every length of the last fragment, and then to the end.
func allSizes() []int {
	sizes := []int{0, 1, 2, 17, 18, 1471, 1472, 1473, 1480, 2951, 2952, 2953}
	for n := 64; n < 65507; n += 499 {
		sizes = append(sizes, n)
	}
	return append(sizes, 65506, 65507)
}

// pings sends three echoes, all of which must come back.
func (s *space) pings(t *testing.T, to string, more ...string) string {
	t.Helper()
	out, err := s.try(append([]string{"ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", to}, more...)...)
	if err != nil || !strings.Contains(out, " 3 received") {
		t.Errorf("ping %s: %v\n%s", to, err, out)
	}
	return out
}
