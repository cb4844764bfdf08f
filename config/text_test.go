package config_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
)

func TestParseDevice(t *testing.T) {
	long := "unix:/" + strings.Repeat("x", 106)
	tests := []struct {
		text string
		want config.Device
	}{
		{"tap:tap100", config.Device{Kind: config.DeviceTAP, Name: "tap100"}},
		{"tap:tap100@red", config.Device{Kind: config.DeviceTAP, Name: "tap100", Netns: "red"}},
		{"tap:a@b@c", config.Device{Kind: config.DeviceTAP, Name: "a", Netns: "b@c"}},
		{"raw:enp0s31f6", config.Device{Kind: config.DeviceRaw, Name: "enp0s31f6"}},
		{"raw:qg-b8b32a88-03", config.Device{Kind: config.DeviceRaw, Name: "qg-b8b32a88-03"}},
		{"unix:/run/vm 1:0@x", config.Device{Kind: config.DeviceUnix, Path: "/run/vm 1:0@x"}},
		{long, config.Device{Kind: config.DeviceUnix, Path: long[5:]}},
	}
	for _, tt := range tests {
		got, err := config.ParseDevice(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("ParseDevice(%q) = %+v, %v; want %+v", tt.text, got, err, tt.want)
		}
		if got.String() != tt.text {
			t.Errorf("%+v is written as %q, want %q", got, got, tt.text)
		}
		roundTrip(t, got)
	}
}

// roundTrip writes a value as JSON and reads it back.
func roundTrip[T comparable](t *testing.T, want T) {
	t.Helper()
	text, err := json.Marshal(want)
	if err != nil {
		t.Errorf("marshal %v: %v", want, err)
		return
	}
	var got T
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("%s is read as %v, %v; want %v", text, got, err, want)
	}
}

func TestParseMAC(t *testing.T) {
	want := config.MAC{0xfa, 0x16, 0x3e, 0xaa, 0xbb, 0x03}
	for _, text := range []string{"fa:16:3e:aa:bb:03", "FA-16-3E-AA-BB-03", "fa16.3eaa.bb03"} {
		got, err := config.ParseMAC(text)
		if err != nil || got != want {
			t.Errorf("ParseMAC(%q) = %v, %v", text, got, err)
		}
	}
	if want.String() != "fa:16:3e:aa:bb:03" || want.IsZero() {
		t.Errorf("written as %q", want)
	}
	roundTrip(t, want)
	roundTrip(t, config.MAC{})
	if text := (config.MAC{}).String(); text != "" {
		t.Errorf("no address is written as %q", text)
	}
	for _, text := range []string{"", "fa:16:3e:aa:bb", "fa:16:3e:aa:bb:03:04:05", "00:00:00:00:00:00",
		"ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"} {
		if got, err := config.ParseMAC(text); err == nil {
			t.Errorf("ParseMAC(%q) = %v", text, got)
		}
	}
	m := want
	if err := m.UnmarshalText([]byte("x")); err == nil || m != want {
		t.Errorf("address is %v, %v", m, err)
	}
	if err := m.UnmarshalText(nil); err != nil || !m.IsZero() {
		t.Errorf("address is %v, %v", m, err)
	}
}

func TestAddressRange(t *testing.T) {
	r := config.AddressRange{First: netip.MustParseAddr("10.0.0.2"), Last: netip.MustParseAddr("10.0.0.4")}
	if r.String() != "10.0.0.2-10.0.0.4" {
		t.Errorf("written as %q", r)
	}
	for text, want := range map[string]bool{
		"10.0.0.1": false, "10.0.0.2": true, "10.0.0.4": true, "10.0.0.5": false,
		"::ffff:10.0.0.3": false, "fd00::3": false,
	} {
		if got := r.Contains(netip.MustParseAddr(text)); got != want {
			t.Errorf("contains %s: %v", text, got)
		}
	}
	if r.Contains(netip.Addr{}) {
		t.Error("contains no address")
	}
}

func TestNearest(t *testing.T) {
	known := []string{"name", "gateway", "allocation_pools", "mtu", "TCP", "UDP"}
	tests := []struct{ got, want string }{
		{"gatway", "gateway"}, // left out
		{"gatewayy", "gateway"},
		{"getaway", "gateway"}, // swapped
		{"Name", "name"},
		{"mut", "mtu"},
		{"tcp", "TCP"},
		{"TPC", "TCP"},
		{"pools", "allocation_pools"},
		{"x", ""},
		{"ga", ""},
		{"completely", ""},
		{"", ""},
		{"näme", "name"},
	}
	for _, tt := range tests {
		if got := config.Nearest(tt.got, known); got != tt.want {
			t.Errorf("nearest to %q is %q, want %q", tt.got, got, tt.want)
		}
	}
}
