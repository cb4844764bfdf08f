package routertest_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/routertest"
	"github.com/taprouter/taprouter/tap"
)

const lesson = "../../examples/126-vip-behind-floating-ip.toml"

func get(t testing.TB, h *host.Host, url string) string {
	t.Helper()
	res, err := h.HTTPClient().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRoundRobinOverRealHTTP(t *testing.T) {
	t.Parallel()
	lab := routertest.Load(t, lesson)
	lab.Instance("WEB1")
	lab.Instance("WEB2")
	client, vm3 := lab.Host("ext_net", "10.10.10.4"), lab.Instance("cirros-vm3")
	for i := range 20 {
		want := fmt.Sprintf("WEB%d\nclient 10.10.10.4:", 1+i%2)
		if got := get(t, client, "http://10.10.10.7/"); !strings.HasPrefix(got, want) {
			t.Fatalf("request %d: %q, want %q", i, got, want)
		}
	}
	if got := get(t, vm3, "http://172.16.100.11/"); !strings.HasPrefix(got, "WEB1\nclient 172.16.101.3:") {
		t.Errorf("from inside: %q", got)
	}
	if got := get(t, vm3, "http://10.10.10.7/"); !strings.HasPrefix(got, "WEB2\nclient 10.10.10.3:") {
		t.Errorf("through the floating IP from inside: %q", got)
	}
}

// Ten megabytes each way through SNAT, whole and as super-frames.
func TestTransferThroughSNAT(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{false, true} {
		lab := routertest.Load(t, lesson)
		server, client := offloaded(t, lab, "ext_net", "10.10.10.4/24", "10.10.10.2", offload),
			offloaded(t, lab, "vlan100", "172.16.100.20/24", "172.16.100.1", offload)
		l, err := server.Listen("tcp", ":9")
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, 10<<20)
		rng := rand.NewChaCha8([32]byte{1})
		rng.Read(data)
		type result struct {
			sum  [32]byte
			peer string
		}
		got := make(chan result, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			b := make([]byte, len(data))
			_, _ = io.ReadFull(c, b)
			_, _ = c.Write(b)
			got <- result{sha256.Sum256(b), c.RemoteAddr().String()}
		}()
		c, err := client.Dial("tcp", "10.10.10.4:9")
		if err != nil {
			t.Fatal(err)
		}
		go c.Write(data)
		back := make([]byte, len(data))
		if _, err := io.ReadFull(c, back); err != nil {
			t.Fatal(err)
		}
		c.Close()
		r := <-got
		if want := sha256.Sum256(data); r.sum != want || sha256.Sum256(back) != want {
			t.Errorf("offload %v: the data has changed on the way", offload)
		}
		if !strings.HasPrefix(r.peer, "10.10.10.2:") {
			t.Errorf("the server saw %s", r.peer)
		}
	}
}

func offloaded(t *testing.T, lab *routertest.Lab, network, address, gateway string, offload bool) *host.Host {
	t.Helper()
	accepts := tap.FeatureChecksum | tap.FeatureTSO4
	if !offload {
		accepts = 0
	}
	dev, err := lab.Engine.Attach(network, accepts)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(dev, host.Config{Address: netip.MustParsePrefix(address), Gateway: netip.MustParseAddr(gateway),
		Offload: offload})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestOutsideGetsNowhereInside(t *testing.T) {
	t.Parallel()
	lab := routertest.Load(t, lesson)
	lab.Instance("WEB1")
	client := lab.Host("ext_net", "10.10.10.4")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if c, err := client.DialContext(ctx, "tcp", "172.16.100.9:80"); err == nil {
		c.Close()
		t.Error("connected to an internal address from outside")
	}
	if _, err := client.Ping(ctx, netip.MustParseAddr("172.16.100.9")); err == nil {
		t.Error("an internal address answered from outside")
	}
	if n := lab.Engine.Stats().Drops; len(n) == 0 {
		t.Error("no drop is counted")
	}
}

// An instance with DHCP has asked for its address when it is there.
func TestInstanceWithDHCP(t *testing.T) {
	t.Parallel()
	lab := routertest.Parse(t, `
[[network]]
name = "in"
subnet = [{ cidr = "10.1.0.0/24", dhcp = true }]
[[router]]
name = "r"
interfaces = ["in"]
[[instance]]
name = "vm"
network = "in"
address = "10.1.0.9"
dhcp = true
`)
	l, ok := lab.Instance("vm").Interface().Lease()
	if !ok || l.Address != netip.MustParsePrefix("10.1.0.9/24") || l.Gateway != netip.MustParseAddr("10.1.0.1") {
		t.Errorf("the lease is %+v", l)
	}
}
