package router_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/routertest"
	"github.com/taprouter/taprouter/tap"
)

// tenants is n tenants with the same addresses, each with a router and a
// floating IP on one external network.
func tenants(n, workers int) string {
	var s strings.Builder
	s.WriteString("[[network]]\nname = \"ext_net\"\nexternal = true\n  [[network.subnet]]\n" +
		"  cidr = \"10.10.10.0/24\"\n")
	for i := range n {
		fmt.Fprintf(&s, `
[[network]]
name = "net%[1]d"
  [[network.subnet]]
  cidr = "192.168.1.0/24"
[[router]]
name = "router%[1]d"
interfaces = ["net%[1]d"]
gateway = { network = "ext_net", address = "10.10.10.%[2]d" }
[[floating_ip]]
network = "ext_net"
address = "10.10.10.%[3]d"
fixed_ip = "192.168.1.9"
router = "router%[1]d"
`, i, 10+i, 100+i)
	}
	fmt.Fprintf(&s, "\n[engine]\nworkers = %d\n", workers)
	return s.String()
}

// Tenants whose routers are on different workers talk to each other over the
// external network, all at once, and to a host there; every byte arrives.
func TestWorkersCarryTrafficBetweenThem(t *testing.T) {
	const n, size = 4, 2 << 20
	lab := routertest.Parse(t, tenants(n, 3))
	var watched atomic.Int64
	stop, err := lab.Engine.Observe("ext_net", func(router.Observation) { watched.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// All are there before the first one dials.
	var hosts []*host.Host
	var listeners []net.Listener
	for i := range n {
		h := lab.Host(fmt.Sprint("net", i), "192.168.1.9")
		l, err := h.Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		hosts, listeners = append(hosts, h), append(listeners, l)
	}
	for i, h := range hosts {
		wg.Go(func() { // each serves the one before it
			c, err := listeners[i].Accept()
			if err == nil {
				_, err = io.Copy(c, io.LimitReader(rand.NewChaCha8([32]byte{byte(i)}), size))
				c.Close()
			}
			if err != nil {
				t.Errorf("server %d: %v", i, err)
			}
		})
		wg.Go(func() {
			k := (i + 1) % n
			c, err := h.DialContext(ctx, "tcp", fmt.Sprintf("10.10.10.%d:80", 100+k))
			if err != nil {
				t.Errorf("tenant %d to tenant %d: %v", i, k, err)
				listeners[k].Close() // no other client will come
				return
			}
			defer c.Close()
			if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host != fmt.Sprintf("10.10.10.%d", 100+k) {
				t.Errorf("connected to %s", host)
			}
			got, want := sha256.New(), sha256.New()
			length, err := io.Copy(got, c)
			_, _ = io.CopyN(want, rand.NewChaCha8([32]byte{byte(k)}), size)
			if err != nil || length != size || string(got.Sum(nil)) != string(want.Sum(nil)) {
				t.Errorf("tenant %d from tenant %d: %d bytes, %v, or others", i, k, length, err)
			}
		})
	}
	wg.Wait()
	stop()
	if watched.Load() == 0 {
		t.Error("nothing was seen on the external network")
	}
	outside := lab.Host("ext_net", "10.10.10.4")
	for i := range n {
		if _, err := outside.Ping(ctx, netip.AddrFrom4([4]byte{10, 10, 10, byte(100 + i)})); err != nil {
			t.Errorf("floating IP of tenant %d: %v", i, err)
		}
	}
	if s := lab.Engine.Stats(); len(s.Routers) != n || s.Drops[router.DropHandover] != 0 || s.Forwarded == 0 {
		t.Errorf("%+v", s)
	}
}

// Ninety tenants of three workers start at the same time, and nothing is dropped.
func TestWorkersStartWithoutDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := router.Start(parse(t, tenants(90, 3)), router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // in the bubble's time
		if s := e.Stats(); len(s.Drops) != 0 || s.Received != 0 || s.Made != 3*90*3 {
			t.Errorf("drops %v, %d received, %d made", s.Drops, s.Received, s.Made)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A floating IP moves between two routers of different workers, again and again; a host behind a third one,
// of a third worker, always reaches it where it is.
func TestThirdWorkerFollowsAMove(t *testing.T) {
	lab := routertest.Parse(t, tenants(3, 3))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	moving, fixed := netip.MustParseAddr("10.10.10.50"), netip.MustParseAddr("192.168.1.8")
	lab.Host("net0", fixed.String())
	lab.Host("net1", fixed.String())
	client := lab.Host("net2", fixed.String())
	for round := range 20 {
		if err := lab.Control.AssociateFloatingIPAt(fmt.Sprint("router", round%2), moving, fixed); err != nil {
			t.Fatal(err)
		}
		for reached := false; !reached; { // it may ask before the third router has heard of the move
			try, end := context.WithTimeout(ctx, time.Second)
			_, err := client.Ping(try, moving)
			end()
			if reached = err == nil; ctx.Err() != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
	}
	s := lab.Engine.Stats()
	for reason, n := range s.Drops {
		if reason != router.DropPolicy && reason != router.DropNeighborFailed && reason != router.DropICMPUnknown {
			t.Errorf("%d drops of reason %v", n, reason)
		}
	}
}

// A far end that writes and closes while the worker is busy is noticed: the frame
// arrives, and the port goes.
func TestFarEndWritesAndCloses(t *testing.T) {
	lab := routertest.Parse(t, twoNetworks)
	held, hold := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool // announcements cross the network as well
	stop, err := lab.Engine.Observe("right", func(router.Observation) {
		if armed.CompareAndSwap(true, false) {
			close(held)
			<-hold
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	far, err := lab.Engine.Attach("left", 0)
	if err != nil {
		t.Fatal(err)
	}
	busy, err := lab.Engine.Attach("right", 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, tap.HeaderLen+60)
	armed.Store(true)
	if _, err := busy.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); err != nil {
		t.Fatal(err)
	}
	<-held
	if _, err := far.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); err != nil {
		t.Fatal(err)
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	close(hold)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s := lab.Engine.Stats()
		if len(s.Devices) == 1 && s.Received == 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v", s)
		}
	}
	stop()
	stop() // does nothing
}

// A frame that one worker sends to another's device counts for that device, not for the
// one that comes after it.
func TestSharedDeviceIsReplaced(t *testing.T) {
	lab := routertest.Parse(t, tenants(2, 2))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	h := []*host.Host{lab.Host("net0", "192.168.1.9"), lab.Host("net1", "192.168.1.9")}
	for range 2 {
		outside := lab.Host("ext_net", "10.10.10.4")
		for range 3 {
			for i := range h {
				if _, err := h[i].Ping(ctx, outside.Address()); err != nil {
					t.Fatal(err)
				}
			}
		}
		s := lab.Engine.Stats()
		for _, d := range s.Devices {
			// Six pings and their answers, six floating IPs' and gateways' ARP.
			if d.Network == "ext_net" && (d.TxFrames < 6 || d.TxFrames > 40 || d.TxBytes < 6*60) {
				t.Errorf("%+v", d)
			}
		}
		if err := outside.Close(); err != nil {
			t.Fatal(err)
		}
		for len(lab.Engine.Stats().Devices) > 2 {
			time.Sleep(time.Millisecond)
		}
	}
}
