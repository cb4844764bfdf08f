package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/tap"
)

// CAP_SYS_ADMIN stays while a device names a namespace, also one of a physical network, or
// where --allow-netns asks for it. Otherwise a device that needs it is refused in these words.
func TestRights(t *testing.T) {
	for _, c := range []struct {
		name, text string
		allow      bool
		admin      bool
	}{
		{"no namespace", "[[network]]\nname = \"a\"\ndevices = [\"tap:x\", \"raw:y\"]\n", false, false},
		{"a namespace", "[[network]]\nname = \"a\"\ndevices = [\"tap:x\", \"tap:y@there\"]\n", false, true},
		{"a physical network's",
			"[[physical_network]]\nname = \"p\"\ndevices = [\"tap:y@there\"]\n" +
				"[[network]]\nname = \"a\"\nphysical_network = \"p\"\n", false, true},
		{"asked for", "[[network]]\nname = \"a\"\ndevices = [\"tap:x\"]\n", true, true},
	} {
		topo, err := file.Parse("f", strings.NewReader(c.text))
		if err != nil {
			t.Fatal(err)
		}
		r := newRights(topo, c.allow)
		if got := slices.Contains(r.keep, "CAP_SYS_ADMIN"); got != c.admin ||
			!slices.Contains(r.keep, "CAP_NET_ADMIN") ||
			!slices.Contains(r.keep, "CAP_NET_RAW") {
			t.Errorf("%s: keeps %v", c.name, r.keep)
		}
		opened := 0
		open := r.opener(func(file.Device) (tap.Device, error) { opened++; return nil, nil })
		device := file.Device{Kind: file.DeviceTAP, Name: "z", Netns: "later"}
		if _, err := open(device); err != nil {
			t.Errorf("%s: refused during the start: %v", c.name, err)
		}
		if err := r.giveUp(slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		_, err = open(device)
		if (err == nil) != c.admin || opened != 1+map[bool]int{true: 1}[c.admin] {
			t.Errorf("%s: after the start: %v", c.name, err)
		}
		if err != nil && (!errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "tap:z@later") ||
			!strings.Contains(err.Error(), "CAP_SYS_ADMIN, which the process has given up") ||
			!strings.Contains(err.Error(), "--allow-netns")) {
			t.Errorf("%s: refused with %q", c.name, err)
		}
		if _, err := open(file.Device{Kind: file.DeviceTAP, Name: "z"}); err != nil {
			t.Errorf("%s: a TAP in the own namespace is refused: %v", c.name, err)
		}
	}
}

// A start that cannot give up rights ends.
func TestRightsStay(t *testing.T) {
	former := dropRights
	defer func() { dropRights = former }()
	dropRights = func([]string) error { return fs.ErrInvalid }
	r := newRights(&file.Topology{}, false)
	if err := r.giveUp(slog.New(slog.DiscardHandler)); !errors.Is(err, fs.ErrInvalid) || r.done.Load() {
		t.Errorf("%v", err)
	}
}
