package router

import (
	"bytes"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// Options of a port have Neutron's names or numbers, and the forms that the RFCs say.
func TestDHCPOptionsOfAPort(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		code        uint8
		want        []byte // nil: the option is not sent
		none        bool   // there is no such option
	}{
		{name: "bootfile-name", value: "pxelinux.0", code: 67, want: []byte("pxelinux.0")},
		{name: "server-ip-address", value: "10.0.0.9", code: 255, want: []byte{10, 0, 0, 9}},
		{name: "mtu", value: "1400", code: 26, want: []byte{5, 120}},
		{name: "26", value: "1400", code: 26, want: []byte{5, 120}},
		{name: "150", value: "10.0.0.9,10.0.0.8", code: 150, want: []byte{10, 0, 0, 9, 10, 0, 0, 8}},
		{name: "time-offset", value: "-3600", code: 2, want: []byte{0xff, 0xff, 0xf1, 0xf0}},
		{name: "router", value: "", code: 3},
		{name: "mtu", value: "70000", none: true},
		{name: "dns-server", value: "10.0.0.x", none: true},
		{name: "no-such-option", value: "1", none: true},
		{name: "0", value: "1", none: true},
	} {
		all := optionsOf(&config.PortExtra{DHCPOptions: []config.DHCPOption{{Name: tt.name, Value: tt.value, IPVersion: 4}}})
		switch {
		case tt.none && len(all) != 0:
			t.Errorf("%s=%s: %v", tt.name, tt.value, all)
		case tt.none:
		case len(all) != 1 || all[0].Code != tt.code || !bytes.Equal(all[0].Value, tt.want) ||
			(all[0].Value == nil) != (tt.want == nil):
			t.Errorf("%s=%s: %v, want %d %v", tt.name, tt.value, all, tt.code, tt.want)
		}
	}
}
