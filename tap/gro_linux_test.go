package tap_test

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

const groNote = "[taprouter: gro was 0]"

// groIs checks whether an interface joins segments, and whether its alias notes that it did not.
func groIs(t *testing.T, when, name string, on, noted bool) {
	t.Helper()
	if got := ethtool(t, name, unix.ETHTOOL_GGRO, 0) != 0; got != on {
		t.Errorf("%s: GRO of %s is on: %v, want %v", when, name, got, on)
	}
	if alias := link(t, name).Attrs().Alias; strings.Contains(alias, groNote) != noted {
		t.Errorf("%s: the alias of %s is %q, want a note: %v", when, name, alias, noted)
	}
}

// setGRO tells a raw device whether segments are to be joined.
func setGRO(dev tap.Device, on bool) { dev.(interface{ SetGRO(bool) }).SetGRO(on) }

// An interface whose GRO is off has it on for as long as a device wants that.
func TestRawJoinsSegments(t *testing.T) {
	inNamespace(t)
	cable(t, "near", "far")
	must(t, netlink.LinkSetAlias(link(t, "near"), "an uplink"))
	guard := tap.NewGuard(nil)
	open := func() tap.Device {
		d, err := tap.OpenRaw("near", tap.Options{Guard: guard})
		must(t, err)
		return d
	}
	groIs(t, "before", "near", false, false)
	files := openFiles(t)
	d := open()
	groIs(t, "not told", "near", false, false)
	for range 2 {
		setGRO(d, true)
		groIs(t, "told", "near", true, true)
		groIs(t, "told", "far", false, false)
	}
	setGRO(d, false)
	groIs(t, "told not to", "near", false, false)
	setGRO(d, true)
	groIs(t, "told again", "near", true, true)
	var elsewhere sync.WaitGroup
	elsewhere.Go(func() { _ = d.Close() }) // by a thread of another namespace
	elsewhere.Wait()
	groIs(t, "closed", "near", false, false)
	setGRO(d, true)
	groIs(t, "told when it is closed", "near", false, false)
	if alias := link(t, "near").Attrs().Alias; alias != "an uplink" {
		t.Errorf("the alias is %q", alias)
	}
	if after := openFiles(t); after != files {
		t.Errorf("%d files are open, %d before", after, files)
	}

	// A killed process has left it so. The next one puts it back, at once or in the end.
	for _, joins := range []bool{true, false} {
		ethtool(t, "near", unix.ETHTOOL_SGRO, 1)
		must(t, netlink.LinkSetAlias(link(t, "near"), "an uplink "+groNote))
		d = open()
		groIs(t, "taken over", "near", true, true)
		setGRO(d, joins)
		groIs(t, "taken over and told", "near", joins, joins)
		must(t, d.Close())
		groIs(t, "taken over and closed", "near", false, false)
	}
	// Without a guard, too.
	ethtool(t, "near", unix.ETHTOOL_SGRO, 1)
	must(t, netlink.LinkSetAlias(link(t, "near"), groNote))
	d, err := tap.OpenRaw("near", tap.Options{})
	must(t, err)
	must(t, d.Close())
	groIs(t, "taken over without a guard", "near", false, false)
}

// What an administrator has decided stays: GRO that is on, and GRO that is switched meanwhile.
func TestRawLeavesGRO(t *testing.T) {
	inNamespace(t)
	cable(t, "near", "far")
	guard := tap.NewGuard(nil)
	open := func() tap.Device {
		d, err := tap.OpenRaw("near", tap.Options{Guard: guard})
		must(t, err)
		return d
	}
	ethtool(t, "near", unix.ETHTOOL_SGRO, 1)
	for _, joins := range []bool{true, false} {
		d := open()
		setGRO(d, joins)
		groIs(t, "on before", "near", true, false)
		must(t, d.Close())
		groIs(t, "on before, and closed", "near", true, false)
	}
	ethtool(t, "near", unix.ETHTOOL_SGRO, 0)
	d := open()
	setGRO(d, true)
	ethtool(t, "near", unix.ETHTOOL_SGRO, 0)
	setGRO(d, true)
	groIs(t, "switched off by another", "near", false, true)
	must(t, d.Close())
	groIs(t, "switched off by another, and closed", "near", false, false)

	must(t, netlink.LinkSetAlias(link(t, "near"), groNote))
	d = open()
	groIs(t, "left by a killed process, and switched off", "near", false, false)
	ethtool(t, "near", unix.ETHTOOL_SGRO, 1)
	setGRO(d, true)
	must(t, d.Close())
	groIs(t, "switched on by another", "near", true, false)
}

// An interface that the host uses stays as it is, and so does one that the process has no right to change or whose
// alias has no room for a note. None of that is worth a warning of its own.
func TestRawMayNotSwitchGRO(t *testing.T) {
	inNamespace(t)
	cable(t, "near", "far")
	try := func(what string, opt tap.Options) {
		t.Helper()
		var log bytes.Buffer
		opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
		d, err := tap.OpenRaw("near", opt)
		must(t, err)
		setGRO(d, true)
		groIs(t, what, "near", false, false)
		must(t, d.Close())
		if strings.Contains(log.String(), "GRO") || strings.Contains(log.String(), "WARN") {
			t.Errorf("%s: the log says\n%s", what, log.String())
		}
	}
	try("host = open", tap.Options{})
	must(t, netlink.LinkSetAlias(link(t, "near"), strings.Repeat("x", 200)))
	try("no room", tap.Options{Guard: tap.NewGuard(nil)})
	must(t, netlink.LinkSetAlias(link(t, "near"), ""))
	address, err := netlink.ParseAddr("192.0.2.1/24")
	must(t, err)
	must(t, netlink.AddrAdd(link(t, "near"), address))
	try("an address of the host", tap.Options{Guard: tap.NewGuard(nil)})
	must(t, netlink.AddrDel(link(t, "near"), address))
	without(t, unix.CAP_NET_ADMIN)
	try("no right", tap.Options{Guard: tap.NewGuard(nil)})
}

// An interface that disappears takes its settings with it.
func TestRawWithGROIsDeleted(t *testing.T) {
	inNamespace(t)
	cable(t, "near", "far")
	var log bytes.Buffer
	guard := tap.NewGuard(nil)
	d, err := tap.OpenRaw("near", tap.Options{Guard: guard, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	setGRO(d, true)
	must(t, netlink.LinkDel(link(t, "near")))
	must(t, d.Close())
	if strings.Contains(log.String(), "WARN") {
		t.Errorf("the log says\n%s", log.String())
	}
}

// A sender that cuts its segments itself gets them joined by the kernel, with a header that says how to cut them again.
func TestRawReadsJoinedSegments(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		cable(t, "near", "far")
		ethtool(t, "far", unix.ETHTOOL_STSO, 0)
		ethtool(t, "near", unix.ETHTOOL_SGRO, 1)
		dev := open("near")
		peer := packetSocket(t, "far")
		b := super(8 * 1400)
		copy(b[len(b)-8*1400:], bytes.Repeat([]byte("segments"), 1400))
		ip := b[tap.HeaderLen+14:]
		binary.BigEndian.PutUint16(ip[36:], 0xafde) // addresses, protocol and length, folded
		sendTo(t, peer, b)
		var got []byte
		joined := 0
		for want := b[tap.HeaderLen+54:]; len(got) < len(want); {
			f := next(t, dev, ours)
			got = append(got, f.Ethernet()[54:]...)
			var h virtio.Header
			if h.Parse(f.Header()); h.GSOType == virtio.GSOTCPv4 && h.GSOSize == 1400 && h.CsumStart == 34 {
				joined++
			}
			if !bytes.HasPrefix(want, got) {
				t.Fatalf("other bytes than were sent arrive, with the header %+v", h)
			}
		}
		if joined == 0 {
			t.Error("nothing was joined")
		}
	})
}
