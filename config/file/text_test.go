package file_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

func TestParseDevice(t *testing.T) {
	long := "unix:/" + strings.Repeat("x", 106)
	tests := []struct {
		text string
		want file.Device
	}{
		{"tap:tap100", file.Device{Kind: file.DeviceTAP, Name: "tap100"}},
		{"tap:tap100@red", file.Device{Kind: file.DeviceTAP, Name: "tap100", Netns: "red"}},
		{"tap:a@b@c", file.Device{Kind: file.DeviceTAP, Name: "a", Netns: "b@c"}},
		{"raw:enp0s31f6", file.Device{Kind: file.DeviceRaw, Name: "enp0s31f6"}},
		{"raw:qg-b8b32a88-03", file.Device{Kind: file.DeviceRaw, Name: "qg-b8b32a88-03"}},
		{"unix:/run/vm 1:0@x", file.Device{Kind: file.DeviceUnix, Path: "/run/vm 1:0@x"}},
		{long, file.Device{Kind: file.DeviceUnix, Path: long[5:]}},
	}
	for _, tt := range tests {
		got, err := file.ParseDevice(tt.text)
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

func TestBadDevice(t *testing.T) {
	tests := []struct {
		device file.Device
		want   string
	}{
		{file.Device{}, `unknown device kind ""; known: tap, raw, unix`},
		{file.Device{Kind: file.DeviceTAP, Name: "a", Path: "/x"}, `device "tap:a": only a unix device has a path`},
		{file.Device{Kind: file.DeviceRaw, Name: "a", Netns: "x"}, `device "raw:a@x": only a tap device can be placed in a network namespace`},
		{file.Device{Kind: file.DeviceTAP, Name: "a", Netns: ".."}, `device "tap:a@..": ".." cannot be the name of a network namespace`},
		{file.Device{Kind: file.DeviceUnix, Name: "a", Path: "/x"}, `device "unix:/x": a unix device has a path and nothing else`},
		{file.Device{Kind: file.DeviceUnix, Path: "/\x00"}, `device "unix:/\x00": a path cannot hold a zero byte`},
		{file.Device{Kind: file.DeviceUnix, Path: strings.Repeat("x", 108)}, `device "unix:` + strings.Repeat("x", 108) + `": the path of a socket has at most 107 bytes, this one has 108`},
		{file.Device{Kind: file.DeviceTAP, Name: "a\tb"}, `device "tap:a\tb": an interface name cannot hold '\t'`},
		{file.Device{Kind: file.DeviceTAP, Name: "a:0"}, `device "tap:a:0": an interface name cannot hold ':'`},
	}
	for _, tt := range tests {
		topology := file.Topology{Networks: []file.Network{{Name: "n", Devices: []file.Device{tt.device}}}}
		want := `network "n": ` + tt.want
		if err := topology.Validate(); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if text, err := tt.device.MarshalText(); err == nil {
			t.Errorf("%+v is written as %q", tt.device, text)
		}
	}
	var d file.Device
	if err := d.UnmarshalText([]byte("tap")); err == nil || d != (file.Device{}) {
		t.Errorf("device is %+v, %v", d, err)
	}
}

func TestParseMAC(t *testing.T) {
	want := file.MAC{0xfa, 0x16, 0x3e, 0xaa, 0xbb, 0x03}
	for _, text := range []string{"fa:16:3e:aa:bb:03", "FA-16-3E-AA-BB-03", "fa16.3eaa.bb03"} {
		got, err := file.ParseMAC(text)
		if err != nil || got != want {
			t.Errorf("ParseMAC(%q) = %v, %v", text, got, err)
		}
	}
	if want.String() != "fa:16:3e:aa:bb:03" || want.IsZero() {
		t.Errorf("written as %q", want)
	}
	roundTrip(t, want)
	roundTrip(t, file.MAC{})
	if text := (file.MAC{}).String(); text != "" {
		t.Errorf("no address is written as %q", text)
	}
	for _, text := range []string{"", "fa:16:3e:aa:bb", "fa:16:3e:aa:bb:03:04:05", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"} {
		if got, err := file.ParseMAC(text); err == nil {
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
	r := file.AddressRange{First: netip.MustParseAddr("10.0.0.2"), Last: netip.MustParseAddr("10.0.0.4")}
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

func TestServiceString(t *testing.T) {
	if got := (file.Service{Kind: "http", Port: 8080}).String(); got != "http:8080" {
		t.Errorf("written as %q", got)
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
		if got := file.Nearest(tt.got, known); got != tt.want {
			t.Errorf("nearest to %q is %q, want %q", tt.got, got, tt.want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := file.Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance of %q and %q is %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
