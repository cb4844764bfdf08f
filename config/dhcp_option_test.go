package config_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
)

func TestDHCPOptions(t *testing.T) {
	for _, c := range []struct {
		name, value string
		code        uint8
		want        string // in hexadecimal, or a part of the error
		wrong       bool
	}{
		{"mtu", "1400", 26, "0578", false},
		{"26", "1400", 26, "0578", false},
		{"time-offset", "-3600", 2, "fffff1f0", false},
		{"mtu", "67", 0, "not a number from 68 to 65535", true},
		{"ntp-server", "10.0.0.1, 10.0.0.2", 42, "0a0000010a000002", false},
		{"42", "10.0.0.1", 42, "0a000001", false},
		{"42", "time.example", 0, "not an IPv4 address", true},
		{"bootfile-name", "pxelinux.0", 67, hex.EncodeToString([]byte("pxelinux.0")), false},
		{"bootfile-name", "a\nb", 0, "plain text", true},
		{"tftp-server", "10.0.0.7", 66, hex.EncodeToString([]byte("10.0.0.7")), false},
		{"server-ip-address", "10.0.0.7", config.DHCPNextServer, "0a000007", false},
		{"server-ip-address", "10.0.0.7,10.0.0.8", 0, "one address", true},
		{"ip-forward-enable", "true", 19, "01", false},
		{"default-ttl", "0", 0, "from 1 to 255", true},
		{"classless-static-route", "10.8.0.0/13,10.0.0.8,0.0.0.0/0,10.0.0.1", 121, "0d0a08" + "0a000008" + "00" +
			"0a000001", false},
		{"classless-static-route", "10.8.0.0/13", 0, "next hop", true},
		{"classless-static-route", "", 121, "", false},
		{"router", "", 3, "", false},
		{"mtu", "", 0, "no value", true},
		{"domain-search", "example.org,lab", 119, "076578616d706c65036f726700036c616200", false},
		{"224", "10.0.0.1", 224, "0a000001", false},
		{"224", "300", 224, "012c", false},
		{"224", "de:ad:be:ef", 224, "deadbeef", false},
		{"224", "some text", 224, hex.EncodeToString([]byte("some text")), false},
		{"224", strings.Repeat("x", 1025), 0, "1025 bytes", true},
		{"boot-file", "x", 0, "no such DHCP option", true},
		{"bootfile-nam", "x", 0, `did you mean "bootfile-name"?`, true},
		{"51", "1", 0, "the server itself decides on option 51", true},
		{"255", "1", 0, "the server itself", true},
		{"300", "1", 0, "or it is no option", true},
	} {
		code, value, err := config.DHCPOption{Name: c.name, Value: c.value, IPVersion: 4}.Encode()
		switch {
		case c.wrong && c.want == "no such DHCP option":
			if !errors.Is(err, config.ErrDHCPOption) {
				t.Errorf("%s: %v", c.name, err)
			}
		case c.wrong:
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s=%s: %v, want %s", c.name, c.value, err, c.want)
			}
		case err != nil || code != c.code || hex.EncodeToString(value) != c.want:
			t.Errorf("%s=%s: %d %x, %v; want %d %s", c.name, c.value, code, value, err, c.code, c.want)
		}
	}
}

func TestPortWithDHCPOptions(t *testing.T) {
	d := lab()
	d.Put(&config.Port{Meta: meta("vm"), Network: id("in"), FixedIPs: []config.FixedIP{{}}, Extra: &config.PortExtra{
		DHCPOptions: []config.DHCPOption{{Name: "mtu", Value: "1400", IPVersion: 4}, {Name: "mtoo", Value: "1",
			IPVersion: 4},
			{Name: "26", Value: "1300", IPVersion: 4}, {Name: "whatever", Value: "x", IPVersion: 6},
			{Name: "ntp-server", Value: "x", IPVersion: 4}}}})
	_, faults := d.Check()
	var fields []string
	for _, f := range faults.Errors() {
		fields = append(fields, f.Field)
	}
	if got := strings.Join(fields,
		" "); got != "extra_dhcp_opts[1].name extra_dhcp_opts[2].name extra_dhcp_opts[4].value" {
		t.Errorf("faults of %s: %v", got, faults)
	}
}
