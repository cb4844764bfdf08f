package tap_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/tap"
)

// A TAP that is made gets the MTU that it is given, wherever it is; one that was there
// before keeps its own, and it is said if that is smaller.
func TestTAPGetsAnMTU(t *testing.T) {
	inNamespace(t)
	name, _, there := namespace(t)
	set := func(dev tap.Device, mtu int) error { return dev.(interface{ SetMTU(int) error }).SetMTU(mtu) }
	here, err := tap.OpenTAP("tap0", "", tap.Options{})
	must(t, err)
	defer here.Close()
	placed, err := tap.OpenTAP("tap0", name, tap.Options{})
	must(t, err)
	defer placed.Close()
	must(t, set(here, 9000))
	must(t, set(placed, 576))
	l, err := there.LinkByName("tap0")
	must(t, err)
	if got := link(t, "tap0").Attrs().MTU; got != 9000 || l.Attrs().MTU != 576 {
		t.Errorf("MTU %d and %d, want 9000 and 576", got, l.Attrs().MTU)
	}
	makeTAP(t, "tap1", nil)
	must(t, netlink.LinkSetMTU(link(t, "tap1"), 1400))
	old, err := tap.OpenTAP("tap1", "", tap.Options{})
	must(t, err)
	defer old.Close()
	for mtu, fits := range map[int]bool{1300: true, 1400: true, 1500: false} {
		if err := set(old, mtu); (err == nil) != fits || err != nil && !strings.Contains(err.Error(), "MTU of 1400") {
			t.Errorf("a device with 1400 is to have %d: %v", mtu, err)
		}
	}
	if got := link(t, "tap1").Attrs().MTU; got != 1400 {
		t.Errorf("MTU %d, want 1400 as before", got)
	}
	must(t, netns.DeleteNamed(name))
	if err := set(placed, 1500); err == nil {
		t.Error("its namespace is gone, and nothing fails")
	}
}

// A TAP takes frames longer than its MTU. The MTU bounds the frames that its host sends.
func TestTAPTakesMoreThanItsMTU(t *testing.T) {
	inNamespace(t)
	dev, err := tap.OpenTAP("tap0", "", tap.Options{})
	must(t, err)
	defer dev.Close()
	must(t, netlink.LinkSetMTU(link(t, "tap0"), 576))
	peer := packetSocket(t, "tap0")
	for _, b := range [][]byte{numbered(1, "full"), numbered(2, "jumbo"), numbered(3, "super")} {
		if n, err := dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); n != 1 || err != nil {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		got := receive(t, peer, func(b []byte) bool { return ours(&tap.Frame{Buf: b, Tail: len(b)}) })
		if len(got) != len(b) {
			t.Errorf("%d bytes arrive, want %d", len(got), len(b))
		}
	}
}

// A raw device knows its interface's present MTU, and refuses larger packets.
func TestRawKnowsItsMTU(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		cable(t, "near", "far")
		dev := open("near")
		for _, mtu := range []int{1500, 1000, 9000} {
			must(t, netlink.LinkSetMTU(link(t, "near"), mtu))
			must(t, netlink.LinkSetMTU(link(t, "far"), mtu))
			if got := dev.(interface{ MTU() int }).MTU(); got != mtu {
				t.Errorf("MTU %d, want %d", got, mtu)
			}
			b := experimental(strings.Repeat("x", mtu))
			if _, err := dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); err != nil {
				t.Errorf("MTU %d: %v", mtu, err)
			}
			b = experimental(strings.Repeat("x", mtu+5)) // a tag's worth is let through
			if _, err := dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); !errors.Is(err, unix.EMSGSIZE) {
				t.Errorf("MTU %d, larger: %v", mtu, err)
			}
		}
		must(t, dev.Close())
		if got := dev.(interface{ MTU() int }).MTU(); got != 1500 {
			t.Errorf("closed: MTU %d, want the one it was opened with", got)
		}
	})
}
