package lb_test

import (
	"testing"

	"github.com/taprouter/taprouter/lb"
)

func TestVIPs(t *testing.T) {
	var s lb.VIPs
	if s.Find(1, 6, 80) != nil || s.Owns(1) {
		t.Error("an empty set has VIPs")
	}
	web, dns := &lb.VIP{Name: "web", Addr: 1, Proto: 6, Port: 80}, &lb.VIP{Name: "dns", Addr: 1, Proto: 17, Port: 53}
	s.Add(web)
	s.Add(dns)
	s.Add(&lb.VIP{Name: "again", Addr: 1, Proto: 17, Port: 53})
	if s.Find(1, 6, 80) != web || s.Find(1, 17, 53).Name != "again" {
		t.Error("a VIP is not found")
	}
	for _, k := range []struct {
		addr  uint32
		proto uint8
		port  uint16
	}{{2, 6, 80}, {1, 17, 80}, {1, 6, 53}} {
		if v := s.Find(k.addr, k.proto, k.port); v != nil {
			t.Errorf("%+v: %s", k, v.Name)
		}
	}
	if !s.Owns(1) || s.Owns(2) {
		t.Error("the address is not owned, or another is")
	}
}
