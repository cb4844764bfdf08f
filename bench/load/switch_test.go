package load

import (
	"net"
	"testing"
)

func TestParseHosts(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skip("no loopback interface: ", err)
	}
	got, err := parseHosts("lo=100,lo=0")
	if err != nil || len(got) != 2 || got[0] != (host{lo.Index, 100}) || got[1] != (host{lo.Index, 0}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "lo", "lo=", "lo=4095", "lo=-1", "lo=x", "no such interface=1", "lo=1,"} {
		if got, err := parseHosts(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}
