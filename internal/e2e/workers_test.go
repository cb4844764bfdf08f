//go:build linux

package e2e_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// Two tenants with the same addresses, each router on a worker of its own, both on
// the external network, whose device one of them reads:
//
//	red 192.168.1.9 ── router red ──┬── external 10.10.10.4
//	blue 192.168.1.9 ── router blue ┘
const twoWorkers = `
[[network]]
name = "red"
devices = ["tap:tr-red@RED"]
  [[network.subnet]]
  cidr = "192.168.1.0/24"
[[network]]
name = "blue"
devices = ["tap:tr-blue@BLUE"]
  [[network.subnet]]
  cidr = "192.168.1.0/24"
[[network]]
name = "ext_net"
external = true
devices = ["tap:tr-ext@EXT"]
  [[network.subnet]]
  cidr = "10.10.10.0/24"
  gateway = "10.10.10.4"

[[router]]
name = "red"
interfaces = ["red"]
gateway = { network = "ext_net", address = "10.10.10.2" }
[[router]]
name = "blue"
interfaces = ["blue"]
gateway = { network = "ext_net", address = "10.10.10.3" }
[[floating_ip]]
network = "ext_net"
address = "10.10.10.12"
fixed_ip = "192.168.1.9"
router = "red"
[[floating_ip]]
network = "ext_net"
address = "10.10.10.13"
fixed_ip = "192.168.1.9"
router = "blue"

[engine]
workers = 2
`

func TestRoutersOnTwoWorkers(t *testing.T) {
	need(t)
	w := newWorld(t)
	router, red, blue, ext := w.space("router"), w.space("red"), w.space("blue"), w.space("ext")
	topology := strings.NewReplacer("RED", red.name, "BLUE", blue.name, "EXT", ext.name).Replace(twoWorkers)
	router.serve(w.file("topology.toml", topology))
	red.address("tr-red", "192.168.1.9/24", "192.168.1.1")
	blue.address("tr-blue", "192.168.1.9/24", "192.168.1.1")
	ext.address("tr-ext", "10.10.10.4/24", "")
	for _, c := range []struct {
		name     string
		from, to *space
		dial     string
		source   string
	}{
		{"red to outside", red, ext, "10.10.10.4:", "10.10.10.12"},
		{"blue to outside", blue, ext, "10.10.10.4:", "10.10.10.13"},
		{"outside to red", ext, red, "10.10.10.12:", "10.10.10.4"},
		{"outside to blue", ext, blue, "10.10.10.13:", "10.10.10.4"},
		{"red to blue", red, blue, "10.10.10.13:", "10.10.10.12"},
		{"blue to red", blue, red, "10.10.10.12:", "10.10.10.13"},
	} {
		w.step(c.name, func(t *testing.T) {
			client, server := w.join(c.from, c.to, ":0", c.dial)
			if got := server.RemoteAddr().(*net.TCPAddr).IP.String(); got != c.source {
				t.Errorf("the server sees %s, want %s", got, c.source)
			}
			transfer(t, client, server, 64<<20)
			c.from.pings(t, strings.TrimSuffix(c.dial, ":"))
		})
	}
	// The shared device goes and comes back: every worker that wrote to the old one writes to the new one.
	w.check(ext.LinkDel(ext.link("tr-ext")))
	w.step("the external device is made anew", func(t *testing.T) {
		var link netlink.Link
		if !eventually(func() (err error) { link, err = ext.LinkByName("tr-ext"); return err }) {
			t.Fatal("it does not come back")
		}
		ext.address(link.Attrs().Name, "10.10.10.4/24", "")
		for _, from := range []*space{red, blue} {
			if !eventually(func() error { _, err := from.try("ping", "-c1", "-W1", "10.10.10.4"); return err }) {
				t.Errorf("%s does not reach the outside again", from.name)
			}
		}
	})
}

// eventually tries for some seconds.
func eventually(try func() error) bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if try() == nil {
			return true
		}
	}
	return false
}
