//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// crowdTopology is a network with room for many clients without ports.
const crowdTopology = `
[[network]]
name = "lan"
devices = ["raw:cable"]
[[network.subnet]]
cidr = "10.1.0.0/16"
dhcp = true
[[router]]
name = "router"
interfaces = ["lan"]
`

// A leaser is a router that gives out leases and keeps them, and its clients:
//
//	hosts ── cable ── lan 10.1.0.0/16 ── router .1
type leaser struct {
	*world
	router, hosts     *space
	clients           *crowd
	file, socket, dir string
	process           *process
}

func newLeaser(t *testing.T) *leaser {
	t.Helper()
	need(t)
	l := &leaser{world: newWorld(t)}
	l.router, l.hosts = l.space("router"), l.space("hosts")
	l.veth(l.router, "cable", l.hosts, "eth0")
	l.clients = l.hosts.crowd("eth0")
	l.file, l.socket = l.world.file("leases.toml", crowdTopology), l.socketPath()
	l.dir = filepath.Join(filepath.Dir(l.file), "state")
	l.start()
	return l
}

// start starts the router, which may have been killed.
func (l *leaser) start() {
	l.t.Helper()
	l.process = l.router.start(program, "run", l.file, "--socket", l.socket, "--state-dir", l.dir)
	l.process.wait(l.t, " ready ")
}

// leases is what `taprouter lease list` says: addresses by MAC address. No address and no client is there twice.
func leases(t *testing.T, socket string) map[string]netip.Addr {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, program, "lease", "list", "-o", "json")
	c.Env = append(os.Environ(), "TAPROUTER_ENDPOINT=unix:"+socket)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Address netip.Addr
		MAC     string
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%v: %.200s", err, out)
	}
	have, owners := map[string]netip.Addr{}, map[netip.Addr]string{}
	for _, one := range all {
		if other, twice := owners[one.Address]; twice {
			t.Errorf("%v is leased to %s and to %s", one.Address, other, one.MAC)
		}
		if other, twice := have[one.MAC]; twice {
			t.Errorf("%s has %v and %v", one.MAC, other, one.Address)
		}
		have[one.MAC], owners[one.Address] = one.Address, one.MAC
	}
	return have
}

// Killed at any instant while many clients ask for addresses, the router has every lease afterwards that it has
// acknowledged. Each client gets its own address again, no address is given twice, and one that a client has found in
// use is given to no client.
func TestLeasesSurviveKills(t *testing.T) {
	l := newLeaser(t)
	const rounds, clients, patience = 12, 8, 300 * time.Millisecond
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	var (
		mu       sync.Mutex
		next     int
		has      = map[int]netip.Addr{}        // by the client's number
		declined = map[netip.Addr]bool{}       // addresses that clients have found in use
		owners   = map[netip.Addr]int{}        // who was told an address last
		killed   atomic.Bool                   // the clients of this round end
		give     = func(n int, a netip.Addr) { // notes what a client was told; mu is held
			if other, taken := owners[a]; taken && other != n {
				t.Errorf("%v is given to client %d, client %d has it", a, n, other)
			}
			if declined[a] {
				t.Errorf("%v is given to client %d, and is in use elsewhere", a, n)
			}
			has[n], owners[a] = a, n
		}
	)
	work := func() {
		for !killed.Load() {
			mu.Lock()
			n := next
			next++
			mu.Unlock()
			a := l.clients.lease(crowdMAC(n), patience)
			if !a.IsValid() {
				continue
			}
			mu.Lock()
			give(n, a)
			mu.Unlock()
			if n%16 != 0 {
				continue
			}
			// The answer to a message behind the DECLINE shows that the server has it.
			_ = l.clients.send(crowdSays(crowdMAC(n), dhcpv4.MessageTypeDecline, wants(a),
				dhcpv4.WithOption(dhcpv4.OptServerIdentifier([]byte{10, 1, 0, 1}))))
			mu.Lock()
			delete(has, n) // it may have the lease still, or not
			delete(owners, a)
			mu.Unlock()
			if p := l.clients.again(crowdMAC(n), a, patience); p != nil {
				if p.MessageType() != dhcpv4.MessageTypeNak {
					t.Errorf("%v is given to client %d, which has declined it", a, n)
				}
				mu.Lock()
				declined[a] = true
				mu.Unlock()
			}
		}
	}
	look := func(round int) {
		list := leases(t, l.socket)
		for n, a := range has {
			if got := list[crowdMAC(n).String()]; got != a {
				t.Errorf("client %d has %v, the list says %v", n, a, got)
			}
		}
		owner := map[netip.Addr]string{}
		for mac, a := range list {
			owner[a] = mac
		}
		for a := range declined {
			if mac, there := owner[a]; there {
				t.Errorf("%v, which is in use elsewhere, is leased to %s", a, mac)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d; the log:\n%s", seed, round, l.process.stop())
		}
	}
	began := time.Now()
	for round := range rounds {
		killed.Store(false)
		var all sync.WaitGroup
		for range clients {
			all.Go(work)
		}
		<-time.After(time.Duration(20_000+random.IntN(230_000)) * time.Microsecond)
		l.process.kill(t)
		killed.Store(true)
		all.Wait()
		l.start()
		look(round)
	}
	// Those that are started anew ask for the address that they had; those that know of none are offered it.
	const most = 150
	asked := 0
	for n, a := range has {
		if asked++; asked > most {
			break
		}
		if p := l.clients.again(crowdMAC(n), a, 5*time.Second); acknowledged(p) != a {
			t.Errorf("client %d had %v, is answered %v", n, a, p)
		}
		if got := l.clients.lease(crowdMAC(n), 5*time.Second); got != a {
			t.Errorf("client %d had %v, is given %v", n, a, got)
		}
	}
	other := next
	for a := range declined {
		other++ // of a client there may be some messages a second
		if p := l.clients.again(crowdMAC(other), a, 5*time.Second); p == nil ||
			p.MessageType() != dhcpv4.MessageTypeNak {
			t.Errorf("%v is in use elsewhere, and a client is answered %v", a, p)
		}
	}
	t.Logf("%d kills in %v: %d leases acknowledged, %d addresses in quarantine", rounds,
		time.Since(began).Round(time.Millisecond), len(has), len(declined))
	if len(has) < 10*rounds || len(declined) < rounds/2 {
		t.Error("that tests little")
	}
}

// Ten thousand hosts get their leases, which are written down first, in less than 20 seconds, as many hosts ask at the
// same time. The log shows the rate of a single host after the other beside that of the disk's syncs.
func TestManyLeases(t *testing.T) {
	l := newLeaser(t)
	const hosts, together, first = 10_000, 64, 1 << 20
	alone, began := 0, time.Now()
	for ; time.Since(began) < 2*time.Second; alone++ {
		if !l.clients.lease(crowdMAC(first+alone), 5*time.Second).IsValid() {
			t.Fatalf("client %d gets no lease; the log:\n%s", alone, l.process.out.String())
		}
	}
	rate := float64(alone) / time.Since(began).Seconds()
	disk := syncs(t, filepath.Dir(l.dir))
	var next, retries atomic.Int64
	var all sync.WaitGroup
	began = time.Now()
	for range together {
		all.Go(func() {
			for n := next.Add(1); n <= hosts; n = next.Add(1) {
				for !l.clients.lease(crowdMAC(int(n)), time.Second).IsValid() {
					if retries.Add(1) > hosts {
						return
					}
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	t.Logf("%d leases in %.1f s, %d at a time (%.0f a second, %d retries); one at a time %.0f a second, each of which "+
		"waits for the disk twice; the disk syncs %.0f times a second", hosts, took.Seconds(), together,
		hosts/took.Seconds(), retries.Load(), rate, disk)
	if n := len(leases(t, l.socket)); n != hosts+alone {
		t.Errorf("%d leases are listed, want %d", n, hosts+alone)
	}
	limit := time.Minute // on a machine that others use
	if os.Getenv("TAPROUTER_E2E_SPEED") == "1" {
		limit = 20 * time.Second
	}
	if took > limit {
		t.Errorf("they took %v, want %v", took, limit)
	}
}

// floodTopology has two tenants, each with a router:
//
//	attacker ── raw:red ─── red ─── router
//	beside ──── tap:tap-r ──┘
//	a ───────── tap:tap-a ─ blue ── other router
//	b ───────── tap:tap-b ─ b ──────┘
const floodTopology = `
[[network]]
name = "red"
devices = ["raw:red", "tap:tap-r"]
[[network.subnet]]
cidr = "10.1.0.0/16"
dhcp = true
[[network]]
name = "blue"
devices = ["tap:tap-a"]
[[network.subnet]]
cidr = "192.0.2.0/24"
allocation_pools = ["192.0.2.100-192.0.2.200"]
dhcp = true
[[network]]
name = "b"
devices = ["tap:tap-b"]
[[network.subnet]]
cidr = "198.51.100.0/24"
[[router]]
name = "red"
interfaces = ["red"]
[[router]]
name = "blue"
interfaces = ["blue", "b"]
`

// A tenant that floods its network with requests for addresses takes nothing from another tenant: neither addresses nor
// much of its round trips. A flood by one MAC address keeps no host at another device of its network from its address.
func TestDHCPFlood(t *testing.T) {
	need(t, "ping")
	r := &rated{world: newWorld(t)}
	r.router, r.a, r.b, r.socket = r.space("router"), r.space("a"), r.space("b"), r.socketPath()
	attacker, beside := r.space("attacker"), r.space("beside")
	r.veth(r.router, "red", attacker, "eth0")
	process := r.router.serve(r.file("flood.toml", floodTopology), "--socket", r.socket, "--state-dir",
		filepath.Join(filepath.Dir(r.file("x", "")), "state"))
	beside.adopt(r.router, "tap-r")
	r.a.adopt(r.router, "tap-a")
	r.a.address("tap-a", "192.0.2.9/24", "192.0.2.1")
	r.b.adopt(r.router, "tap-b")
	r.b.address("tap-b", "198.51.100.9/24", "198.51.100.1")
	r.a.pings(t, "198.51.100.9")
	r.b.echo("198.51.100.9:7")
	c := r.a.dial("udp4", "198.51.100.9:7")
	red, neighbors, blue := attacker.crowd("eth0"), beside.crowd("tap-r"), r.a.crowd("tap-a")
	quiet := r.during(t, c, func() { <-time.After(time.Second) })

	// flood sends DISCOVERs of some MAC addresses for a while, and fn runs meanwhile.
	const lasts = 2 * time.Second
	flood := func(macs int, fn func()) (sent, offers int) {
		frames := make([][]byte, min(macs, 4096))
		for i := range frames {
			frames[i] = crowdFrame(crowdSays(crowdMAC(1<<24+i), dhcpv4.MessageTypeDiscover))
		}
		before, began := red.offered(), time.Now()
		send := (&pair{world: r.world}).packetSocket(attacker, "eth0")
		ended := make(chan int)
		go func() {
			n := 0
			for time.Since(began) < lasts && n < 2_000_000 { // bounded, whatever happens
				_ = send(frames[n%len(frames)])
				n++
			}
			ended <- n
		}()
		fn()
		sent = <-ended
		<-time.After(100 * time.Millisecond) // answers that are on their way
		return sent, red.offered() - before
	}
	many := 0
	var took []time.Duration
	sent, offers := flood(4096, func() {
		took = r.during(t, c, func() {
			for began := time.Now(); time.Since(began) < lasts; many++ {
				if !blue.lease(crowdMAC(many), time.Second).IsValid() {
					t.Errorf("host %d of the other tenant gets no lease", many)
				}
				<-time.After(50 * time.Millisecond)
			}
		})
	})
	t.Logf("%d DISCOVERs of 4096 MAC addresses in %v, %d offers; round trips of the other tenant: p50 %v, p99 %v, "+
		"slowest %v; without the flood %v, %v, %v; %d leases of the other tenant", sent, lasts, offers,
		quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1), quantile(quiet, 0.5), quantile(quiet, 0.99),
		quantile(quiet, 1), many)
	const perDevice, burst = 2000, 4000 // of messages that are answered, see internal/dhcp/limit.go
	if most := burst + perDevice*int(lasts/time.Second) + perDevice/4; offers > most {
		t.Errorf("%d offers, at most %d are within the limits", offers, most)
	}
	if sent < 2*burst {
		t.Errorf("%d frames are no flood", sent)
	}
	if p := quantile(took, 0.99); p > 250*time.Millisecond {
		t.Errorf("of the other tenant's round trips, one in a hundred takes %v", p)
	}

	honest := 0
	_, offers = flood(1, func() {
		for began := time.Now(); time.Since(began) < lasts; honest++ {
			if !neighbors.lease(crowdMAC(honest), time.Second).IsValid() {
				t.Errorf("host %d of the network of one that floods gets no lease", honest)
			}
			<-time.After(50 * time.Millisecond)
		}
	})
	t.Logf("one MAC address that floods is sent %d offers; %d other hosts of its network got a lease", offers, honest)
	if most := 20 + 10*int(lasts/time.Second+1); offers > most {
		t.Errorf("%d offers to one MAC address, at most %d are within the limits", offers, most)
	}
	if out := process.out.String(); strings.Contains(out, "panic") {
		t.Errorf("the router says\n%s", out)
	}
	api := newAPIClient(r.socket)
	defer api.close()
	if _, text, err := api.do("GET", "/taprouter/v1/metrics", ""); err != nil ||
		!strings.Contains(string(text), "service-rate") {
		t.Errorf("%v: no drop is counted as service-rate", err)
	}
}
