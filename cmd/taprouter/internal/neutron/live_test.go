package neutron_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

// A floating IP answers pings as soon as the request that associates it is answered, and no longer than until the
// request that disassociates it is.
func TestFloatingIPAnswersAtOnce(t *testing.T) {
	sim, err := router.Simulate(config.Empty(), 1)
	if err != nil {
		t.Fatal(err)
	}
	c := cloudOn(t, sim.Engine, neutron.Options{})
	c.build()
	c.make("fip", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"{ext}",
		"floating_ip_address":"10.10.10.9"}}`)
	mac := func(port string) (m packet.MAC) {
		o := c.do(200, "GET", "/v2.0/ports/{"+port+"}", "")
		p, err := config.ParseMAC(o["mac_address"].(string))
		if err != nil {
			t.Fatal(err)
		}
		return packet.MAC(p)
	}
	vm := packet.MAC{2, 0, 0, 0, 0x65, 3}
	client := packet.MAC{2, 0, 0, 0, 0, 4}
	put := func(network, line string, from, to packet.MAC) {
		t.Helper()
		eth, err := nettest.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		nettest.SetMACs(eth, from, to)
		if err := sim.Put(network, append(make([]byte, tap.HeaderLen), eth...)); err != nil {
			t.Fatal(err)
		}
	}
	said := func(network string) string {
		var lines []string
		for _, f := range sim.Take(network) {
			lines = append(lines, nettest.Describe(f.Ethernet()))
		}
		return strings.Join(lines, "\n")
	}
	broadcast := packet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	put("vlan101", "arp who-has 172.16.101.1 tell 172.16.101.3 from 02:00:00:00:65:03", vm, broadcast)
	put("ext_net", "arp who-has 10.10.10.2 tell 10.10.10.4 from 02:00:00:00:00:04", client, broadcast)
	said("vlan101")
	said("ext_net")

	for _, x := range []struct {
		body string
		up   bool
	}{{``, false}, {`"port_id":"{port}"`, true}, {`"port_id":null`, false}, {`"port_id":"{port}"`, true}} {
		if x.body != "" {
			c.do(200, "PUT", "/v2.0/floatingips/{fip}", `{"floatingip":{`+x.body+`}}`)
		}
		said("vlan101")
		said("ext_net") // an announcement
		put("ext_net", "arp who-has 10.10.10.9 tell 10.10.10.4 from 02:00:00:00:00:04", client, broadcast)
		if got := said("ext_net"); strings.Contains(got, "arp reply 10.10.10.9") != x.up {
			t.Errorf("%s: ARP: %q", x.body, got)
		}
		c.ids["gateway"] = string(c.control.State().GatewayPort(config.ID(c.ids["router"])).ID)
		put("ext_net", "icmp 10.10.10.4 > 10.10.10.9 request id 7 seq 1", client, mac("gateway"))
		got := said("vlan101")
		if want := "10.10.10.4 > 172.16.101.3"; strings.Contains(got, want) != x.up {
			t.Errorf("%s: towards the port: %q", x.body, got)
		}
		if !x.up {
			continue
		}
		put("vlan101", "icmp 172.16.101.3 > 10.10.10.4 reply id 7 seq 1", vm, mac("iface"))
		if got := said("ext_net"); !strings.Contains(got, "10.10.10.9 > 10.10.10.4") {
			t.Errorf("%s: back: %q", x.body, got)
		}
	}
}

// Requests of many clients at once are made one after the other: no address is given out twice, and every answer fits
// the State after it.
func TestManyClients(t *testing.T) {
	c := newCloud(t)
	c.build()
	const clients, each = 8, 10
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	for i := range clients {
		all.Go(func() {
			own := &cloud{t: t, server: c.server, control: c.control, ids: map[string]string{}}
			for _, name := range []string{"net", "ext", "router", "sub"} {
				own.ids[name] = c.ids[name]
			}
			for k := range each {
				p := own.make("p", "/v2.0/ports", fmt.Sprintf(`{"port":{"network_id":"{net}","name":"p%d-%d"}}`, i, k))
				f := own.make("f", "/v2.0/floatingips",
					`{"floatingip":{"floating_network_id":"{ext}","port_id":"{p}"}}`)
				fixed := p["fixed_ips"].([]any)[0].(map[string]any)["ip_address"]
				if f["fixed_ip_address"] != fixed || f["port_id"] != p["id"] {
					t.Errorf("%v of %v", f, p)
				}
				mu.Lock()
				for _, v := range []any{fixed, f["floating_ip_address"], p["mac_address"], p["id"], f["id"]} {
					if seen[v.(string)] {
						t.Errorf("%v was given out twice", v)
					}
					seen[v.(string)] = true
				}
				mu.Unlock()
				own.do(200, "GET", "/v2.0/ports?limit=3&sort_key=name", "")
				own.do(200, "PUT", "/v2.0/ports/{p}/tags", `{"tags":["t"]}`)
				if k%2 == 0 {
					mu.Lock() // from now on others may get them
					delete(seen, fixed.(string))
					delete(seen, f["floating_ip_address"].(string))
					mu.Unlock()
					own.do(http.StatusNoContent, "DELETE", "/v2.0/ports/{p}", "")
					if o := own.do(200, "GET", "/v2.0/floatingips/{f}", ""); o["port_id"] != nil {
						t.Errorf("%v", o)
					}
					own.do(http.StatusNoContent, "DELETE", "/v2.0/floatingips/{f}", "")
				}
			}
		})
	}
	all.Wait()
	consistent(t, c.control.State())
	if n := c.control.State().Count(config.KindFloatingIP); n != clients*each/2 {
		t.Errorf("%d floating IPs", n)
	}
}
