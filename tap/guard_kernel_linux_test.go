package tap_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/taprouter/taprouter/tap"
)

// While devices come and go, something changes the host's addresses all the time; and all
// this in a namespace that only the test's thread is in. At the end everything is as before,
// and what the guard held is closed.
func TestGuardUnderChange(t *testing.T) {
	inNamespace(t)
	var names []string
	settings := func() (all string) {
		for _, name := range names {
			b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/addr_gen_mode")
			must(t, err)
			all += fmt.Sprintf("%s: mode %q, alias %q\n", name, strings.TrimSpace(string(b)),
				link(t, name).Attrs().Alias)
		}
		return all
	}
	for i := range 3 {
		name := fmt.Sprintf("guard%d", i)
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "far"}))
		must(t, netlink.LinkSetUp(link(t, name+"far")))
		names = append(names, name)
	}
	before, files := settings(), openFiles(t)
	here, err := netns.Get()
	must(t, err)
	h, err := netlink.NewHandleAt(here)
	must(t, err)
	must(t, here.Close())
	address, err := netlink.ParseAddr("192.0.2.5/24")
	must(t, err)
	stop := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if l, err := h.LinkByName(names[i%len(names)]); err == nil {
				_ = h.AddrAdd(l, address) // whether it is there already does not matter
				_ = h.AddrDel(l, address)
			}
		}
	})
	var log bytes.Buffer
	guard := tap.NewGuard(slog.New(slog.NewTextHandler(&log, nil)))
	for range 8 {
		var open []tap.Device
		for _, name := range names {
			d, err := tap.OpenRaw(name, tap.Options{Guard: guard})
			must(t, err)
			open = append(open, d)
		}
		var closing sync.WaitGroup
		for _, d := range open {
			closing.Go(func() { _ = d.Close() })
		}
		closing.Wait()
	}
	close(stop)
	changes.Wait()
	h.Close()
	if after := settings(); after != before {
		t.Errorf("the settings are\n%swant\n%s", after, before)
	}
	if after := openFiles(t); after != files {
		t.Errorf("%d files are open, %d before", after, files)
	}
	if text := log.String(); strings.Contains(text, "not put back") || strings.Contains(text, "ERROR") {
		t.Errorf("%.3000s", text)
	}
}

// A closed device takes its own chain with it, and leaves the chains of others.
func TestGuardOfSeveral(t *testing.T) {
	inNamespace(t)
	for _, name := range []string{"one", "two"} {
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "far"}))
		must(t, netlink.LinkSetUp(link(t, name)))
		must(t, netlink.LinkSetUp(link(t, name+"far")))
	}
	guard := tap.NewGuard(nil)
	open := func(name string) tap.Device {
		d, err := tap.OpenRaw(name, tap.Options{Guard: guard})
		must(t, err)
		return d
	}
	closed := func(want ...string) {
		t.Helper()
		for _, name := range []string{"one", "two"} {
			is := strings.Contains(link(t, name).Attrs().Alias, "[taprouter: ")
			should := strings.Contains(strings.Join(want, " "), name)
			if is != should {
				t.Errorf("%s is closed: %v, want %v", name, is, should)
			}
		}
	}
	one, two, again := open("one"), open("two"), open("one")
	closed("one", "two")
	must(t, two.Close())
	closed("one")
	must(t, one.Close())
	must(t, one.Close()) // a second time does nothing
	closed("one")
	must(t, again.Close())
	closed()
	must(t, open("two").Close())
	closed()
}

// openFiles counts the process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(files)
}
