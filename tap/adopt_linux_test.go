package tap_test

import (
	"errors"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/taprouter/taprouter/tap"
)

// Of a TAP whose descriptor another process holds, the kernel's end stays as it is when the device is closed, and
// frames wait. A device that goes on with the descriptor gets them. The last descriptor takes the device away.
func TestTAPIsAdopted(t *testing.T) {
	inNamespace(t)
	dev, err := tap.OpenTAP("blue0", "", tap.Options{})
	must(t, err)
	link, err := netlink.LinkByName("blue0")
	must(t, err)
	held, err := tap.Duplicate(dev.FD(), "blue0")
	must(t, err)
	defer held.Close()
	features := dev.Features()
	must(t, dev.Close())
	if now, err := netlink.LinkByName("blue0"); err != nil || now.Attrs().Index != link.Attrs().Index {
		t.Fatalf("the kernel's end is another one, or gone: %v", err)
	}
	second, err := tap.Duplicate(int(held.Fd()), "blue0")
	must(t, err)
	if _, err := tap.AdoptTAP(second, "red0", "", tap.Options{}); err == nil {
		t.Error("the descriptor of blue0 is taken for red0's")
	}
	must(t, held.Close())
	if _, err := netlink.LinkByName("blue0"); err == nil {
		t.Error("the device is there without a descriptor")
	}

	dev, err = tap.OpenTAP("blue0", "", tap.Options{})
	must(t, err)
	held, err = tap.Duplicate(dev.FD(), "blue0")
	must(t, err)
	must(t, dev.Close())
	next, err := tap.AdoptTAP(held, "blue0", "", tap.Options{})
	must(t, err)
	defer next.Close()
	if next.Features() != features || next.Name() != "tap:blue0" {
		t.Errorf("%s takes %v, not %v", next.Name(), next.Features(), features)
	}
	if _, err := held.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the file is left open: %v", err)
	}
	must(t, next.(interface{ SetMTU(int) error }).SetMTU(1400)) // it is still the process's own
	if link, err = netlink.LinkByName("blue0"); err != nil || link.Attrs().MTU != 1400 {
		t.Errorf("the MTU is not set: %v, %v", link, err)
	}
	must(t, next.Close())
	if _, err := netlink.LinkByName("blue0"); err == nil {
		t.Error("the device is there after the last descriptor")
	}
}
