package host_test

import (
	"context"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

const (
	addrA = "10.10.10.4"
	addrB = "10.10.10.5"
)

// start starts a host that ends with the test.
func start(t testing.TB, dev tap.Device, cfg host.Config) *host.Host {
	t.Helper()
	h, err := host.New(dev, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("closing %s: %v", h.Name(), err)
		}
	})
	return h
}

// pair starts two hosts on one cable.
func pair(t testing.TB, offload bool) (a, b *host.Host) {
	t.Helper()
	opt := tap.PipeOptions{}
	if offload {
		opt.A, opt.B = host.Accepts, host.Accepts
	}
	devA, devB := tap.Pipe("a", "b", opt)
	a = start(t, devA, host.Config{Name: "a", Address: netip.MustParsePrefix(addrA + "/24"), Offload: offload})
	b = start(t, devB, host.Config{Name: "b", Address: netip.MustParsePrefix(addrB + "/24"), Offload: offload})
	return a, b
}

// within returns a context that ends the test's call after ten seconds.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestNewRefuses(t *testing.T) {
	prefix := netip.MustParsePrefix
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name string
		cfg  host.Config
		want string
	}{
		{"no address", host.Config{}, "not an IPv4 address"},
		{"IPv6", host.Config{Address: prefix("2001:db8::1/64")}, "not an IPv4 address"},
		{"network address", host.Config{Address: prefix("10.0.0.0/24")}, "network or broadcast address"},
		{"broadcast address", host.Config{Address: prefix("10.0.0.63/26")}, "network or broadcast address"},
		{"multicast", host.Config{Address: prefix("224.0.0.5/24")}, "cannot belong to a host"},
		{"loopback", host.Config{Address: prefix("127.0.0.1/8")}, "cannot belong to a host"},
		{"gateway elsewhere", host.Config{Address: prefix("10.0.0.2/24"), Gateway: addr("10.0.1.1")},
			"gateway 10.0.1.1 is not another address in 10.0.0.0/24"},
		{"own gateway", host.Config{Address: prefix("10.0.0.2/24"), Gateway: addr("10.0.0.2")}, "not another address"},
		{"IPv6 gateway", host.Config{Address: prefix("10.0.0.2/24"), Gateway: addr("fe80::1")}, "not another address"},
		{"small MTU", host.Config{Address: prefix("10.0.0.2/24"), MTU: 67}, "MTU 67 is not in 68-9216"},
		{"large MTU", host.Config{Address: prefix("10.0.0.2/24"), MTU: 9217}, "MTU 9217"},
		{"multicast MAC", host.Config{Address: prefix("10.0.0.2/24"), MAC: [6]byte{1}}, "multicast address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dev, _ := tap.Pipe("a", "b", tap.PipeOptions{})
			h, err := host.New(dev, tt.cfg)
			if err == nil {
				h.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
			if _, err := dev.Write(nil); err != nil {
				t.Errorf("the device is no longer the caller's: %v", err)
			}
		})
	}
}

// descriptor is a device that the operating system has a part in.
type descriptor struct{ tap.Device }

func (descriptor) FD() int      { return 3 }
func (descriptor) Name() string { return "tap:tap100" }

func TestNewRefusesDescriptors(t *testing.T) {
	dev, _ := tap.Pipe("a", "b", tap.PipeOptions{})
	_, err := host.New(descriptor{dev}, host.Config{Address: netip.MustParsePrefix("10.0.0.2/24")})
	if err == nil || !strings.Contains(err.Error(), "tap:tap100") || !strings.Contains(err.Error(), "tap.Pipe") {
		t.Errorf("error %v does not name the device and the way out", err)
	}
}

func TestDefaults(t *testing.T) {
	dev, _ := tap.Pipe("a", "b", tap.PipeOptions{})
	h := start(t, dev, host.Config{Address: netip.MustParsePrefix("10.1.2.3/31")})
	if h.Name() != "10.1.2.3" || h.Address() != netip.MustParseAddr("10.1.2.3") {
		t.Errorf("name %q, address %s", h.Name(), h.Address())
	}
	if got := h.MAC().String(); got != "02:68:0a:01:02:03" {
		t.Errorf("MAC %s", got)
	}
	h.MAC()[0] = 0xff
	if h.MAC()[0] != 2 {
		t.Error("the MAC can be changed from outside")
	}
}

// leftovers returns the stacks of goroutines that run code of hosts, once none is
// left or time is up.
func leftovers(t *testing.T) string {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		buf := make([]byte, 4<<20)
		all := string(buf[:runtime.Stack(buf, true)])
		var left []string
		for _, g := range strings.Split(all, "\n\n") {
			if strings.Contains(g, "gvisor.dev/") || strings.Contains(g, "router/host.(") {
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return strings.Join(left, "\n\n")
		}
		runtime.Gosched()
	}
}
