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

// A load balancer shares out connections as soon as the request that makes it is answered, follows its members, and
// stops when it is deleted. Its statistics are the engine's.
func TestBalancerServesAtOnce(t *testing.T) {
	sim, err := router.Simulate(config.Empty(), 1)
	if err != nil {
		t.Fatal(err)
	}
	c := cloudOn(t, sim.Engine, neutron.Options{Balancers: sim.Inspect()})
	c.build()
	c.make("net2", "/v2.0/networks", `{"network":{"name":"vlan102"}}`)
	c.make("sub2", "/v2.0/subnets", `{"subnet":{"network_id":"{net2}","ip_version":4,"cidr":"172.16.102.0/24"}}`)
	c.do(200, "PUT", "/v2.0/routers/{router}/add_router_interface", `{"subnet_id":"{sub2}"}`)
	broadcast := packet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
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
	c.make("client", "/v2.0/ports", `{"port":{"network_id":"{net2}","mac_address":"02:00:00:00:00:04",
		"fixed_ips":[{"ip_address":"172.16.102.9"}]}}`) // the networks have port security
	c.make("vm4", "/v2.0/ports", `{"port":{"network_id":"{net}","mac_address":"02:00:00:00:65:04",
		"fixed_ips":[{"ip_address":"172.16.101.4"}]}}`)
	for _, x := range []struct{ address, mac string }{{"172.16.101.3", "02:00:00:00:65:03"},
		{"172.16.101.4", "02:00:00:00:65:04"}} {
		m, err := config.ParseMAC(x.mac)
		if err != nil {
			t.Fatal(err)
		}
		put("vlan101", "arp who-has 172.16.101.1 tell "+x.address+" from "+x.mac, packet.MAC(m), broadcast)
	}
	put("vlan102", "arp who-has 172.16.102.1 tell 172.16.102.9 from 02:00:00:00:00:04", client, broadcast)
	ours, err := config.ParseMAC(c.do(200, "GET", "/v2.0/ports?network_id={net2}&device_owner=network:router_interface",
		"")["ports"].([]any)[0].(map[string]any)["mac_address"].(string))
	if err != nil {
		t.Fatal(err)
	}
	from := 4000
	// dial begins a connection, and says which member gets it.
	dial := func(port int) string {
		t.Helper()
		sim.Take("vlan101")
		from++
		put("vlan102", fmt.Sprintf("tcp 172.16.102.9:%d > 172.16.101.50:%d S", from, port), client, packet.MAC(ours))
		for _, f := range sim.Take("vlan101") {
			if _, to, ok := strings.Cut(nettest.Describe(f.Ethernet()), " > 172.16.101."); ok {
				return strings.Fields(to)[0]
			}
		}
		return "none"
	}
	dials := func(port, times int, want string) {
		t.Helper()
		var got []string
		for range times {
			got = append(got, dial(port))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("port %d: %s, want %s", port, s, want)
		}
	}
	dials(80, 1, "none")
	c.make("lb", "/v2.0/lbaas/loadbalancers", `{"loadbalancer":{"vip_subnet_id":"{sub}","vip_address":"172.16.101.50",
		"listeners":[{"protocol":"HTTP","protocol_port":80,"default_pool":{"protocol":"HTTP",
		"lb_algorithm":"ROUND_ROBIN","members":[{"address":"172.16.101.3","protocol_port":8080},
		{"address":"172.16.101.4","protocol_port":8080}]}}]}}`)
	for name, path := range map[string]string{"pool": "pools", "li": "listeners"} {
		list := c.do(200, "GET", "/v2.0/lbaas/"+path, "")[path].([]any)
		c.ids[name] = list[0].(map[string]any)["id"].(string)
	}
	dials(80, 4, "3:8080 4:8080 3:8080 4:8080")
	o := c.do(200, "GET", "/v2.0/lbaas/listeners/{li}/stats", "")
	if o["active_connections"] != 4. || o["total_connections"] != 4. || o["bytes_in"] == 0. || o["bytes_out"] != 0. {
		t.Errorf("%v", o)
	}
	c.do(202, "PUT", "/v2.0/lbaas/pools/{pool}/members", `{"members":[{"address":"172.16.101.4","protocol_port":8080},
		{"address":"172.16.101.3","protocol_port":8081,"weight":0}]}`)
	dials(80, 3, "4:8080 4:8080 4:8080")
	c.make("li2", "/v2.0/lbaas/listeners", `{"listener":{"loadbalancer_id":"{lb}","protocol":"TCP",
		"protocol_port":81,"default_pool_id":"{pool}"}}`)
	dials(81, 1, "4:8080")
	c.do(200, "PUT", "/v2.0/lbaas/listeners/{li2}", `{"listener":{"admin_state_up":false}}`)
	dials(81, 1, "none")
	tree := c.do(200, "GET", "/v2.0/lbaas/loadbalancers/{lb}/status", "")["loadbalancer"].(map[string]any)
	members := tree["pools"].([]any)[0].(map[string]any)["members"].([]any)
	for i, want := range []string{"NO_MONITOR", "DRAINING"} {
		if got := members[i].(map[string]any)["operating_status"]; got != want {
			t.Errorf("member %d: %v, want %s", i, got, want)
		}
	}
	c.do(204, "DELETE", "/v2.0/lbaas/loadbalancers/{lb}?cascade=true", "")
	dials(80, 1, "none")
	put("vlan101", "arp who-has 172.16.101.50 tell 172.16.101.3 from 02:00:00:00:65:03",
		packet.MAC{2, 0, 0, 0, 0x65, 3}, broadcast)
	for _, f := range sim.Take("vlan101") {
		if got := nettest.Describe(f.Ethernet()); strings.Contains(got, "arp reply 172.16.101.50") {
			t.Errorf("deleted: %s", got)
		}
	}
}
