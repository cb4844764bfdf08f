package neutron_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// largeState has so many ports, floating IPs that lead to the first of them, and load balancers with a pool of four
// members each.
func largeState(b testing.TB, ports, floating, balancers int) *config.State {
	b.Helper()
	id := func(name string) config.ID { return config.NameID(config.KindNetwork, "bench", name) }
	meta := func(name string) config.Meta { return config.Meta{ID: id(name), Name: name} }
	at := func(first byte, n int) netip.Addr {
		return netip.AddrFrom4([4]byte{first, byte(n >> 16), byte(n >> 8), byte(n)})
	}
	d := config.Empty().Edit()
	d.Put(&config.Network{Meta: meta("out"), External: true, AdminStateUp: true},
		&config.Network{Meta: meta("in"), AdminStateUp: true},
		&config.Subnet{Meta: meta("out1"), Network: id("out"), CIDR: netip.MustParsePrefix("20.0.0.0/12"),
			Gateway: netip.MustParseAddr("20.15.255.1")},
		&config.Subnet{Meta: meta("in1"), Network: id("in"), CIDR: netip.MustParsePrefix("10.0.0.0/12"),
			Gateway: netip.MustParseAddr("10.15.255.1")},
		&config.Router{Meta: meta("r"), AdminStateUp: true, Gateway: &config.Gateway{Network: id("out"), SNAT: true}},
		&config.Port{Meta: meta("r-in"), Network: id("in"), AdminStateUp: true, DeviceOwner: config.OwnerInterface,
			DeviceID: string(id("r")), FixedIPs: []config.FixedIP{{Subnet: id("in1")}}})
	for i := range ports {
		d.Put(&config.Port{Meta: meta(fmt.Sprint("p", i)), Network: id("in"), AdminStateUp: true,
			MAC:      config.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)},
			FixedIPs: []config.FixedIP{{Address: at(10, 256+i)}}})
	}
	for i := range floating {
		d.Put(&config.FloatingIP{Meta: meta(fmt.Sprint("f", i)), Network: id("out"), Address: at(20, 256+i),
			FixedIP: at(10, 256+i), Router: id("r")})
	}
	for i := range balancers {
		n := fmt.Sprint(i)
		d.Put(&config.Pool{Meta: meta("pool" + n), AdminStateUp: true, Protocol: config.TCP,
			LoadBalancer: id("lb" + n)})
		for k := range 4 {
			d.Put(&config.Member{Meta: meta(fmt.Sprint("m", i, "-", k)), Pool: id("pool" + n), AdminStateUp: true,
				Address: at(10, 256+(4*i+k)%ports), Port: 80, Weight: 1})
		}
		d.Put(&config.LoadBalancer{Meta: meta("lb" + n), Network: id("in"), AdminStateUp: true,
			Address: at(10, 1<<19+i), Router: id("r")},
			&config.Listener{Meta: meta("l" + n), LoadBalancer: id("lb" + n), AdminStateUp: true, Protocol: config.TCP,
				Port: 80, Pool: id("pool" + n)})
	}
	s, faults := d.Check()
	if s == nil {
		b.Fatal(faults.Err())
	}
	return s
}

// BenchmarkChange is one request of each kind that is made often, against an engine in memory and without a store. The
// numbers are those of ports, floating IPs and load balancers: with ten times as many, a change takes little longer.
func BenchmarkChange(b *testing.B) {
	for _, n := range [][3]int{{1200, 100, 100}, {12000, 1000, 1000}} {
		s := largeState(b, n[0], n[1], n[2])
		e, err := router.Start(s, router.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer e.Close()
		h := neutron.New(control.New(e, control.Options{}), neutron.Options{Balancers: e.Inspect()})
		id := func(name string) string { return string(config.NameID(config.KindNetwork, "bench", name)) }
		ask := func(b *testing.B, status int, method, path, body string) string {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, "/v2.0/"+path, strings.NewReader(body)))
			if w.Code != status {
				b.Fatalf("%s %s %s: %d %s", method, path, body, w.Code, w.Body)
			}
			return w.Body.String()
		}
		made := func(text string) string {
			_, after, _ := strings.Cut(text, `"id":"`)
			return after[:36]
		}
		for _, bench := range []struct {
			name string
			do   func(b *testing.B, i int)
		}{
			{"associate", func(b *testing.B, i int) {
				ask(b, http.StatusOK, "PUT", "floatingips/"+id("f7"), fmt.Sprintf(`{"floatingip":{"port_id":"%s"}}`,
					id(fmt.Sprint("p", n[1]+i%2))))
			}},
			{"member", func(b *testing.B, i int) {
				at := "lbaas/pools/" + id("pool7") + "/members"
				m := made(ask(b, http.StatusCreated, "POST", at,
					`{"member":{"address":"10.0.200.1","protocol_port":80}}`))
				ask(b, http.StatusNoContent, "DELETE", at+"/"+m, "")
			}},
			{"port", func(b *testing.B, i int) {
				p := made(ask(b, http.StatusCreated, "POST", "ports",
					`{"port":{"network_id":"`+id("in")+`","security_groups":[]}}`))
				ask(b, http.StatusNoContent, "DELETE", "ports/"+p, "")
			}},
			{"port of a group", func(b *testing.B, i int) {
				p := made(ask(b, http.StatusCreated, "POST", "ports", `{"port":{"network_id":"`+id("in")+`",
					"port_security_enabled":true}}`))
				ask(b, http.StatusNoContent, "DELETE", "ports/"+p, "")
			}},
			{"load balancer", func(b *testing.B, i int) {
				v := made(ask(b, http.StatusCreated, "POST", "lbaas/loadbalancers",
					`{"loadbalancer":{"vip_subnet_id":"`+id("in1")+`"}}`))
				ask(b, http.StatusNoContent, "DELETE", "lbaas/loadbalancers/"+v, "")
			}},
			{"rule", func(b *testing.B, i int) {
				g := made(ask(b, http.StatusCreated, "POST", "security-groups", `{"security_group":{"name":"g"}}`))
				ask(b, http.StatusNoContent, "DELETE", "security-groups/"+g, "")
			}},
		} {
			b.Run(fmt.Sprintf("%s/objects=%d", bench.name, objects(s)), func(b *testing.B) {
				i := 0
				for b.Loop() {
					i++
					bench.do(b, i)
				}
			})
		}
	}
}

func objects(s *config.State) int {
	n := 0
	for range s.All() {
		n++
	}
	return n
}
