package file_test

import (
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

func TestBadDevice(t *testing.T) {
	tests := []struct {
		device file.Device
		want   string
	}{
		{file.Device{}, `unknown device kind ""; known: tap, raw, unix`},
		{file.Device{Kind: file.DeviceTAP, Name: "a", Path: "/x"}, `device "tap:a": only a unix device has a path`},
		{file.Device{Kind: file.DeviceRaw, Name: "a", Netns: "x"},
			`device "raw:a@x": only a tap device can be placed in a network namespace`},
		{file.Device{Kind: file.DeviceTAP, Name: "a", Netns: ".."},
			`device "tap:a@..": ".." cannot be the name of a network namespace`},
		{file.Device{Kind: file.DeviceUnix, Name: "a", Path: "/x"},
			`device "unix:/x": a unix device has a path and nothing else`},
		{file.Device{Kind: file.DeviceUnix, Path: "/\x00"}, `device "unix:/\x00": a path cannot hold a zero byte`},
		{file.Device{Kind: file.DeviceUnix, Path: strings.Repeat("x", 108)},
			`device "unix:` + strings.Repeat("x", 108) +
				`": the path of a socket has at most 107 bytes, this one has 108`},
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

func TestServiceString(t *testing.T) {
	if got := (file.Service{Kind: "http", Port: 8080}).String(); got != "http:8080" {
		t.Errorf("written as %q", got)
	}
}
