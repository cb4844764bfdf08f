package main

import (
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

// --physical-network is read as people write it: a device without a kind is an interface that exists.
func TestLabelledDevices(t *testing.T) {
	var list []labelledDevice
	for _, text := range []string{"flat1:eth1", "flat2:raw:eth2", "flat1:tap:t1@blue"} {
		var d labelledDevice
		if err := d.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	more := physicalNetworks(list)
	f, err := file.ReadWith("x.toml", strings.NewReader(`
[[network]]
name = "a"
physical_network = "flat1"
vlan = 7
[[network]]
name = "b"
physical_network = "flat2"
`), more)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for n := range f.State().Networks() {
		for _, d := range f.State().DevicesOf(n.ID) {
			got = append(got, n.Name+" "+d.String())
		}
	}
	if text := strings.Join(got, ", "); text != "a raw:eth1, a tap:t1@blue, b raw:eth2" {
		t.Error(text)
	}
	for _, wrong := range []string{"", "eth1", ":eth1", "flat1:", "flat1:usb:x", "flat1:averylongnameofaninterface"} {
		if err := new(labelledDevice).UnmarshalText([]byte(wrong)); err == nil {
			t.Errorf("%q is read", wrong)
		}
	}
	// A label that the file has as well, and a device behind two labels.
	for _, text := range []string{"[[network]]\nname = \"a\"\n[[physical_network]]\nname = \"flat1\"\n",
		"[[network]]\nname = \"a\"\n[[physical_network]]\nname = \"other\"\ndevices = [\"raw:eth2\"]\n"} {
		_, err := file.ReadWith("x.toml", strings.NewReader(text), more)
		if err == nil || !strings.Contains(err.Error(), "x.toml") {
			t.Errorf("error %v", err)
		} else {
			t.Log(err)
		}
	}
}
