package tap_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/tap"
)

// watch watches the interfaces of the test's namespace.
func watch(t *testing.T) (until func(what string, fits func(tap.Link) bool)) {
	t.Helper()
	told := make(chan tap.Link, 10_000)
	stop, err := tap.WatchLinks(func(l tap.Link) { told <- l })
	must(t, err)
	t.Cleanup(stop)
	return func(what string, fits func(tap.Link) bool) {
		t.Helper()
		timeout := time.After(20 * time.Second)
		for {
			select {
			case l := <-told:
				if fits(l) {
					return
				}
			case <-timeout:
				t.Fatalf("not told: %s", what)
			}
		}
	}
}

func TestWatchLinks(t *testing.T) {
	inNamespace(t)
	cable(t, "near", "far")
	until := watch(t)
	until("that there is near", func(l tap.Link) bool { return l == tap.Link{Name: "near", MTU: 1500} })
	must(t, netlink.LinkSetMTU(link(t, "near"), 1400))
	until("its MTU", func(l tap.Link) bool { return l == tap.Link{Name: "near", MTU: 1400} })
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "late", MTU: 1300}, PeerName: "late2"}))
	until("that late has come", func(l tap.Link) bool { return l == tap.Link{Name: "late", MTU: 1300} })
	must(t, netlink.LinkDel(link(t, "late")))
	until("that late has gone", func(l tap.Link) bool { return l.Name == "late" && l.Gone })
}

// More news than the socket holds ends with all interfaces as they are.
func TestWatchLinksTellsAgainWhatWasLost(t *testing.T) {
	inNamespace(t)
	cable(t, "near", "far")
	begin := make(chan struct{})
	told := make(chan tap.Link, 10_000)
	stop, err := tap.WatchLinks(func(l tap.Link) {
		<-begin
		told <- l
	})
	must(t, err)
	defer stop()
	far := link(t, "far")
	for i := range 2000 {
		must(t, netlink.LinkSetMTU(far, 1000+i%500))
	}
	must(t, netlink.LinkSetMTU(link(t, "near"), 1234))
	close(begin)
	timeout := time.After(20 * time.Second)
	for {
		select {
		case l := <-told:
			if l == (tap.Link{Name: "near", MTU: 1234}) {
				return
			}
		case <-timeout:
			t.Fatal("not told")
		}
	}
}

// An error wraps ErrMissing only if waiting can help: an interface or a namespace may come later.
func TestMissing(t *testing.T) {
	inNamespace(t)
	name, _, _ := namespace(t)
	makeTAP(t, "busy", nil)
	holder := openTUN(t, "busy", 0)
	defer unix.Close(holder)
	for _, c := range []struct {
		what    string
		open    func() (tap.Device, error)
		missing bool
	}{
		{"no interface", func() (tap.Device, error) { return tap.OpenRaw("nothere", tap.Options{}) }, true},
		{"no namespace", func() (tap.Device, error) { return tap.OpenTAP("tap0", name+"-not", tap.Options{}) }, true},
		{"no Ethernet", func() (tap.Device, error) { return tap.OpenRaw("lo", tap.Options{}) }, false},
		{"no TAP", func() (tap.Device, error) { return tap.OpenTAP("lo", "", tap.Options{}) }, false},
		{"busy", func() (tap.Device, error) { return tap.OpenTAP("busy", "", tap.Options{}) }, false},
		{"no name", func() (tap.Device, error) { return tap.OpenRaw("a/b", tap.Options{}) }, false},
	} {
		dev, err := c.open()
		if err == nil {
			dev.Close()
			t.Errorf("%s: opened", c.what)
		} else if errors.Is(err, tap.ErrMissing) != c.missing {
			t.Errorf("%s: missing %t, want %t: %v", c.what, !c.missing, c.missing, err)
		}
	}
}

// A namespace whose name is there before the namespace itself is missing, too.
func TestNameWithoutANamespaceIsMissing(t *testing.T) {
	inNamespace(t)
	name, _, _ := namespace(t)
	must(t, unix.Unmount("/run/netns/"+name, unix.MNT_DETACH))
	defer os.Remove("/run/netns/" + name) // the namespace's own cleanup wants it mounted
	if _, err := tap.OpenTAP("tap0", name, tap.Options{}); !errors.Is(err, tap.ErrMissing) {
		t.Errorf("%s: %v", name, err)
	}
}
