package router

import "testing"

// The switch of a network without DHCP has no local service to ask, though its hosts reach some by their router.
func TestServicesWithoutDHCPCostTheSwitchNothing(t *testing.T) {
	l := newLessonOf(t, tutorial())
	for _, name := range []string{"vlan100", "vlan101"} {
		if n := l.nets[name]; len(n.Services) > 0 || n.Local.Load() == nil {
			t.Errorf("network %s: %d services at the switch, %v behind the router", name, len(n.Services),
				n.Local.Load())
		}
	}
	if n := l.nets["ext_net"]; n.Local.Load() != nil {
		t.Error("the external network has local services")
	}
}
