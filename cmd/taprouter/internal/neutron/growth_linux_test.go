//go:build !race

package neutron_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/configtest"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

// crowd is the handler of largeState with so many floating IPs, load balancers, and interfaces of other routers on one
// network. Of each sort, the last one is in a subnet of its own.
func crowd(t *testing.T, n int) http.Handler {
	t.Helper()
	id := func(name string) config.ID { return config.NameID(config.KindNetwork, "bench", name) }
	meta := func(name string) config.Meta { return config.Meta{ID: id(name), Name: name} }
	subnet := func(name, network, cidr string) *config.Subnet {
		p := netip.MustParsePrefix(cidr)
		return &config.Subnet{Meta: meta(name), Network: id(network), CIDR: p, Gateway: config.FirstHost(p)}
	}
	at := netip.MustParseAddr
	d := largeState(t, n, n, n).Edit()
	d.Put(subnet("out2", "out", "21.0.0.0/24"),
		&config.FloatingIP{Meta: meta("last"), Network: id("out"), Address: at("21.0.0.9")},
		subnet("in2", "in", "11.0.0.0/24"),
		&config.LoadBalancer{Meta: meta("lb-last"), Network: id("in"), AdminStateUp: true, Address: at("11.0.0.9")},
		&config.Network{Meta: meta("side"), AdminStateUp: true}, subnet("side1", "side", "12.0.0.0/24"),
		&config.Port{Meta: meta("r-side"), Network: id("side"), AdminStateUp: true, DeviceOwner: config.OwnerInterface,
			DeviceID: string(id("r")), FixedIPs: []config.FixedIP{{Subnet: id("side1")}}},
		&config.FloatingIP{Meta: meta("side-last"), Network: id("out"), Address: at("21.0.0.10"),
			FixedIP: at("12.0.0.9"), Router: id("r")},
		&config.Network{Meta: meta("shared"), AdminStateUp: true})
	for i := range n {
		s, r := fmt.Sprint("shared", i), fmt.Sprint("r", i)
		d.Put(subnet(s, "shared", fmt.Sprintf("30.%d.%d.0/24", i>>8, i&255)),
			&config.Router{Meta: meta(r), AdminStateUp: true},
			&config.Port{Meta: meta("i" + r), Network: id("shared"), AdminStateUp: true,
				DeviceOwner: config.OwnerInterface, DeviceID: string(id(r)),
				FixedIPs: []config.FixedIP{{Subnet: id(s)}}})
	}
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults.Err())
	}
	e, err := router.Start(s, router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return neutron.New(control.New(e, control.Options{}), neutron.Options{})
}

// What a request looks for is found among a few objects and among sixteen times as many in nearly the same time.
// The requests are refused, so no change is made whose effort counts as well.
func TestGrowth(t *testing.T) {
	const n, times, repeats = 100, 3, 20
	few, many := crowd(t, n), crowd(t, 16*n)
	id := func(name string) string { return string(config.NameID(config.KindNetwork, "bench", name)) }
	for _, x := range []struct {
		name, method, path string
		body               func(n int) string
		status             int
		words              string
	}{
		{"a subnet with a floating IP goes", "DELETE", "subnets/" + id("out2"), nil, 409, "SubnetInUse"},
		{"a subnet with a load balancer goes", "DELETE", "subnets/" + id("in2"), nil, 409, "SubnetInUse"},
		{"an interface that a floating IP needs goes", "PUT", "routers/" + id("r") + "/remove_router_interface",
			func(int) string { return `{"subnet_id":"` + id("side1") + `"}` }, 409, "RouterInterfaceInUseByFloatingIP"},
		{"a gateway changes", "PUT", "subnets/%", func(int) string { return `{"subnet":{"gateway_ip":null}}` }, 409,
			"GatewayIpInUse"},
		{"a second interface in a subnet", "PUT", "routers/%/add_router_interface", func(n int) string {
			return `{"subnet_id":"` + id(fmt.Sprint("shared", n-1)) + `"}`
		}, 400, "already has a port on subnet"},
	} {
		t.Run(x.name, func(t *testing.T) {
			effort := func(h http.Handler, n int) func() time.Duration {
				last := id(fmt.Sprint("shared", n-1))
				if strings.HasPrefix(x.path, "routers/") {
					last = id(fmt.Sprint("r", n-1))
				}
				path, body := "/v2.0/"+strings.Replace(x.path, "%", last, 1), ""
				if x.body != nil {
					body = x.body(n)
				}
				return func() time.Duration {
					return configtest.Effort(func() {
						for range repeats {
							w := httptest.NewRecorder()
							h.ServeHTTP(w, httptest.NewRequest(x.method, path, strings.NewReader(body)))
							if w.Code != x.status || !strings.Contains(w.Body.String(), x.words) {
								t.Fatalf("%d %s", w.Code, w.Body)
							}
						}
					})
				}
			}
			small, large, grows := configtest.Grows(times, effort(few, n), effort(many, 16*n))
			if grows {
				t.Errorf("among %d objects of a sort it takes %v, among %d %v", n, small, 16*n, large)
			}
		})
	}
}
