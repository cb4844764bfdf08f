package tap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// makeTAP makes a device as another program does, with set called on its
// descriptor, and lets go of it.
func makeTAP(t *testing.T, name string, set func(fd int)) {
	t.Helper()
	fd := openTUN(t, name, 0)
	must(t, unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
	if set != nil {
		set(fd)
	}
	must(t, unix.Close(fd))
}

func openTUN(t *testing.T, name string, flags uint16) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must(t, err)
	req, err := unix.NewIfreq(name)
	must(t, err)
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | flags)
	must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, req))
	return fd
}

// namespace makes a named namespace and returns netlink in it.
func namespace(t *testing.T) (string, netns.NsHandle, *netlink.Handle) {
	t.Helper()
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	name := fmt.Sprintf("taptest-%d", os.Getpid())
	ns, err := netns.NewNamed(name)
	must(t, err)
	t.Cleanup(func() { _ = netns.DeleteNamed(name); ns.Close() })
	must(t, netns.Set(here))
	h, err := netlink.NewHandleAt(ns)
	must(t, err)
	t.Cleanup(h.Close)
	return name, ns, h
}

// A thread that enters a namespace comes back: the main thread never ends, and would
// hold on to the namespace after its name is removed.
func TestNoThreadStaysInTheNamespace(t *testing.T) {
	inNamespace(t)
	name, ns, _ := namespace(t)
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	f, err := os.Open("/run/netns/" + name)
	must(t, err)
	defer f.Close()
	inside := false
	failed := errors.New("it failed")
	err = tap.OnThread(name, f, func() error {
		there, err := netns.Get()
		must(t, err)
		defer there.Close()
		inside = there.Equal(ns)
		return failed
	})
	after, afterErr := netns.Get()
	must(t, afterErr)
	defer after.Close()
	if !inside || err != failed || !after.Equal(here) {
		t.Errorf("inside %t, error %v, back %t", inside, err, after.Equal(here))
	}
}

func TestTAPInANamedNamespace(t *testing.T) {
	inNamespace(t)
	name, ns, there := namespace(t)
	dev, err := tap.OpenTAP("tap0", name, tap.Options{})
	must(t, err)
	l, err := there.LinkByName("tap0")
	must(t, err)
	if l.Attrs().Alias == "" {
		t.Error("the device is not marked as ours")
	}
	if l.Attrs().Flags&1 == 0 || l.Attrs().TxQLen < 4096 || dev.Name() != "tap:tap0@"+name {
		t.Errorf("name %s, flags %v, queue %d", dev.Name(), l.Attrs().Flags, l.Attrs().TxQLen)
	}
	if _, err := netlink.LinkByName("tap0"); err == nil {
		t.Error("the device is here, too")
	}
	must(t, netns.Set(ns))
	both(t, dev, "tap0")
	must(t, dev.Close())
	if _, err := there.LinkByName("tap0"); err == nil {
		t.Error("the device is still there")
	}
	// One that another program made is kept there as well, one that a crash of
	// ours has left is not.
	for alias, kept := range map[string]bool{"": true, "taprouter: made by this program, removed with it": false} {
		makeTAP(t, "tap1", nil)
		must(t, netlink.LinkSetAlias(link(t, "tap1"), alias))
		dev, err := tap.OpenTAP("tap1", name, tap.Options{})
		must(t, err)
		must(t, dev.Close())
		l, err := netlink.LinkByName("tap1")
		if (err == nil) != kept {
			t.Errorf("alias %q: %v after Close, want it kept: %v", alias, err, kept)
		}
		if err == nil {
			must(t, netlink.LinkDel(l))
		}
	}
}

// moved opens tap0 here and moves the kernel's end into a new namespace.
func moved(t *testing.T) (dev tap.Device, there netns.NsHandle) {
	t.Helper()
	dev, err := tap.OpenTAP("tap0", "", tap.Options{})
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	there, err = netns.New()
	must(t, err)
	must(t, netns.Set(here))
	must(t, netlink.LinkSetNsFd(link(t, "tap0"), int(there)))
	return dev, there
}

func TestTAPIsMoved(t *testing.T) {
	inNamespace(t)
	dev, there := moved(t)
	must(t, netns.Set(there))
	must(t, there.Close())
	if _, err := dev.Write([]tap.Frame{frame("lost to a device that is down")}); !errors.Is(err, tap.ErrDown) {
		t.Errorf("moved, and not up: %v", err)
	}
	must(t, netlink.LinkSetUp(link(t, "tap0")))
	both(t, dev, "tap0")
}

func TestTAPLosesItsNamespace(t *testing.T) {
	inNamespace(t)
	dev, there := moved(t)
	must(t, there.Close()) // nothing else holds it
	s := slots(1)
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := dev.Read(s)
		if errors.Is(err, tap.ErrGone) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the namespace is gone, and Read says %v", err)
		}
		// Ends at once when the kernel lets go of the device.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(dev.FD()), Events: unix.POLLIN}}, 100)
	}
	if _, err := dev.Write([]tap.Frame{frame("lost to a device that is gone")}); !errors.Is(err, tap.ErrGone) {
		t.Errorf("write: %v", err)
	}
}

func TestTAPIsClosedUnderWay(t *testing.T) {
	inNamespace(t)
	dev, err := tap.OpenTAP("tap0", "", tap.Options{})
	must(t, err)
	hammer(t, dev, dev.Close)
	cable(t, "near", "far")
	dev, err = tap.OpenRaw("near", tap.Options{})
	must(t, err)
	hammer(t, dev, dev.Close)
}

// A queue that another program holds without headers decides for the device:
// frames are plain, and offloads that were agreed before must end.
func TestTAPThatHasNoHeaders(t *testing.T) {
	inNamespace(t)
	fd := openTUN(t, "tap0", unix.IFF_MULTI_QUEUE)
	defer unix.Close(fd)
	must(t, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4))
	if !checksumming(t, "tap0") {
		t.Fatal("the device has no offloads to end")
	}
	var logged bytes.Buffer
	dev, err := tap.OpenTAP("tap0", "", tap.Options{Logger: slog.New(slog.NewTextHandler(&logged,
		&slog.HandlerOptions{Level: slog.LevelDebug}))})
	must(t, err)
	defer dev.Close()
	if dev.Features() != 0 || checksumming(t, "tap0") {
		t.Errorf("features %v, the kernel leaves checksums unfinished: %v", dev.Features(), checksumming(t, "tap0"))
	}
	if !strings.Contains(logged.String(), "level=DEBUG msg=\"no virtio-net header") ||
		!strings.Contains(logged.String(), "vnet_hdr=false") {
		t.Errorf("logged %s", logged.String())
	}
	peer := packetSocket(t, "tap0")
	must(t, unix.SetNonblock(peer, true))
	// The kernel spreads flows over both queues: send until one comes here.
	s := slots(1)
	for i := range s[0].Buf {
		s[0].Buf[i] = 0xee // of a frame before
	}
	// For the kernel all frames that are no IP are one flow, whatever their addresses.
	b := experimental("")
	binary.BigEndian.PutUint16(b[tap.HeaderLen+12:], 0x0800)
	udp := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 0, 0, 9, 0, 8, 0, 0}
	b = append(b, udp...)
	for i := range 256 {
		b[len(b)-len(udp)+21] = byte(i) // the source port
		if _, err := unix.Write(peer, b); err != nil {
			t.Fatal(err)
		}
		// Frames that the kernel itself sends on a new interface may come first.
		for n := 1; n > 0; {
			n, err = dev.Read(s)
			must(t, err)
			if n == 1 && string(s[0].Ethernet()) == string(b[tap.HeaderLen:]) {
				if !bytes.Equal(s[0].Header(), make([]byte, tap.HeaderLen)) || s[0].Head < tap.Headroom {
					t.Errorf("header % x at %d", s[0].Header(), s[0].Head)
				}
				return
			}
		}
	}
	t.Error("no frame came to our queue")
}

// checksumming asks ethtool's interface whether the kernel leaves checksums to
// the device.
func checksumming(t *testing.T, name string) bool {
	t.Helper()
	return ethtool(t, name, unix.ETHTOOL_GTXCSUM, 0) != 0
}

// ethtool makes a request with one number of ethtool's ioctl, and returns the number in the answer.
func ethtool(t *testing.T, name string, command, number uint32) uint32 {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(s)
	value := [2]uint32{command, number}
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], name)
	req.data = unsafe.Pointer(&value)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL,
		uintptr(unsafe.Pointer(&req))); errno != 0 {
		t.Fatal(errno)
	}
	return value[1]
}

func TestTAPKeepsALongerQueue(t *testing.T) {
	inNamespace(t)
	makeTAP(t, "tap0", nil)
	must(t, netlink.LinkSetTxQLen(link(t, "tap0"), 20000))
	dev, err := tap.OpenTAP("tap0", "", tap.Options{})
	must(t, err)
	defer dev.Close()
	if n := link(t, "tap0").Attrs().TxQLen; n != 20000 {
		t.Errorf("queue of %d frames, the administrator wanted 20000", n)
	}
}

func TestNamesThatTheKernelWouldChange(t *testing.T) {
	inNamespace(t)
	for _, name := range []string{"tap%d", "a/b", "a b", "a\tb", ".", "..", "a:b"} {
		if dev, err := tap.OpenTAP(name, "", tap.Options{}); err == nil {
			dev.Close()
			t.Errorf("%q was opened", name)
		} else if !strings.Contains(err.Error(), "an interface name has no") {
			t.Errorf("%q: %v", name, err)
		}
	}
	links, err := netlink.LinkList()
	must(t, err)
	for _, l := range links {
		if l.Attrs().Name != "lo" {
			t.Errorf("left behind: %s", l.Attrs().Name)
		}
	}
}

func TestNameOfATUNDevice(t *testing.T) {
	inNamespace(t)
	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun0"}, Mode: netlink.TUNTAP_MODE_TUN}))
	_, err := tap.OpenTAP("tun0", "", tap.Options{})
	refused(t, "tap:tun0", err, "is no TAP device")
	_, err = tap.OpenRaw("tun0", tap.Options{})
	refused(t, "raw:tun0", err, "not an Ethernet interface")
}

// without takes capabilities from the test's thread, for good.
func without(t *testing.T, capabilities ...int) {
	t.Helper()
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	must(t, unix.Capget(&head, &data[0]))
	for _, c := range capabilities {
		data[c/32].Effective &^= 1 << (c % 32)
	}
	must(t, unix.Capset(&head, &data[0]))
}

// refused checks an error that a person is to read.
func refused(t *testing.T, what string, err error, texts ...string) {
	t.Helper()
	for _, text := range append(texts, what) {
		if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", what, err, text)
		}
	}
}

func TestRightsThatAreMissing(t *testing.T) {
	inNamespace(t)
	cable(t, "near", "far")
	makeTAP(t, "tap1", func(fd int) { must(t, unix.IoctlSetInt(fd, unix.TUNSETOWNER, os.Geteuid())) })
	must(t, netlink.LinkSetUp(link(t, "tap1")))
	peer := packetSocket(t, "tap1")
	without(t, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW)

	_, err := tap.OpenTAP("tap0", "", tap.Options{})
	refused(t, "tap:tap0", err, "CAP_NET_ADMIN", "`taprouter lab`")
	_, err = tap.OpenRaw("near", tap.Options{})
	refused(t, "raw:near", err, "CAP_NET_RAW", "`taprouter lab`")
	// A device that was made for the user needs no rights.
	dev, err := tap.OpenTAP("tap1", "", tap.Options{})
	must(t, err)
	b := experimental("from the user")
	if n, err := dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	receive(t, peer, func(got []byte) bool { return string(got) == string(b) })
	must(t, dev.Close())
}

// Where the file refuses, its mode is what to look at.
func TestModeOfTheDriversFile(t *testing.T) {
	inNamespace(t)
	must(t, unix.Unshare(unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""))
	must(t, unix.Mknod("/dev/net/tun", unix.S_IFCHR|0o040, int(unix.Mkdev(10, 200))))
	must(t, os.Chown("/dev/net/tun", 0, 36))
	without(t, unix.CAP_DAC_OVERRIDE)
	_, err := tap.OpenTAP("tap0", "", tap.Options{})
	refused(t, "tap:tap0", err, "/dev/net/tun has mode 0040 and belongs to user 0, group 36", "`taprouter lab`")
}

func TestNoDriver(t *testing.T) {
	inNamespace(t)
	// A view of the file system of its own, for the test's thread.
	must(t, unix.Unshare(unix.CLONE_NEWNS))
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	must(t, os.MkdirAll("/run/netns", 0o700))
	must(t, os.WriteFile("/run/netns/stale", nil, 0o600))
	_, err := tap.OpenTAP("tap0", "stale", tap.Options{})
	refused(t, "stale", err, "ip netns delete stale")
	must(t, unix.Mount("tmpfs", "/dev/net", "tmpfs", 0, ""))
	_, err = tap.OpenTAP("tap0", "", tap.Options{})
	refused(t, "tap:tap0", err, "modprobe tun", "`taprouter lab`")
	must(t, unix.Mknod("/dev/net/tun", unix.S_IFCHR|0o600, int(unix.Mkdev(10, 254)))) // no driver has this number
	_, err = tap.OpenTAP("tap0", "", tap.Options{})
	refused(t, "tap:tap0", err, "modprobe tun", "`taprouter lab`")
	// A namespace may come, a driver does not.
	_, err = tap.OpenTAP("tap0", "stale", tap.Options{})
	refused(t, "tap:tap0@stale", err, "modprobe tun")
}

// The kernel says that an interface is down, and then no more.
func TestRawIsDeletedWhileDown(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		for _, writes := range []bool{false, true} {
			cable(t, "near", "far")
			dev := open("near")
			s := slots(1)
			must(t, netlink.LinkSetDown(link(t, "near")))
			var err error
			if writes {
				_, err = dev.Write([]tap.Frame{frame("lost to a device that is down")})
			} else {
				for n := 1; n > 0 && err == nil; { // frames of the kernel's own come first
					n, err = dev.Read(s)
				}
			}
			if !errors.Is(err, tap.ErrDown) {
				t.Errorf("down: %v", err)
			}
			told := 0
			for range 5 {
				if _, err := dev.Read(s); errors.Is(err, tap.ErrDown) {
					told++
				} else {
					must(t, err)
				}
			}
			if told > 1 {
				t.Errorf("told %d times that it is down", told)
			}
			must(t, netlink.LinkDel(link(t, "near")))
			cable(t, "near", "far") // another of the same name
			if _, err := dev.Read(s); !errors.Is(err, tap.ErrGone) {
				t.Errorf("deleted while down: %v", err)
			}
			must(t, dev.Close())
			must(t, netlink.LinkDel(link(t, "near")))
		}
	})
}

// The tag goes back in, and what the header describes lies behind it.
func TestRawTaggedSuperFrame(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		cable(t, "near", "far")
		dev := open("near")
		b := super(40000)
		at := tap.HeaderLen + 12
		b = append(b[:at:at], append([]byte{0x81, 0, 0x20, 100}, b[at:]...)...)
		h := virtio.Header{Flags: virtio.NeedsChecksum, GSOType: virtio.GSOTCPv4, HdrLen: 58, GSOSize: 1400,
			CsumStart: 38, CsumOffset: 16}
		h.Put(b)
		if _, err := unix.Write(packetSocket(t, "far"), b); err != nil {
			t.Fatal(err)
		}
		f := next(t, dev, func(f *tap.Frame) bool { return f.Ethernet()[12] == 0x81 })
		var got virtio.Header
		if got.Parse(f.Header()); got != h {
			t.Errorf("header %+v, want %+v", got, h)
		}
		if !bytes.Equal(f.Ethernet(), b[tap.HeaderLen:]) || f.Head < tap.Headroom {
			t.Errorf("%d bytes at %d, want %d as they were sent", len(f.Ethernet()), f.Head, len(b)-tap.HeaderLen)
		}
	})
}

// An interface that was down and is up again costs no more than before: looking
// for it would be a conversation with the kernel for every dry Read.
func TestRawIsUpAgain(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		cable(t, "near", "far")
		dev := open("near")
		s := slots(1)
		must(t, netlink.LinkSetDown(link(t, "near")))
		var err error
		for n := 1; n > 0 && err == nil; { // frames of the kernel's own come first
			n, err = dev.Read(s)
		}
		if !errors.Is(err, tap.ErrDown) {
			t.Errorf("down: %v", err)
		}
		look := func() {
			if _, err := dev.Read(s); err != nil {
				t.Errorf("after ErrDown: %v", err)
			}
		}
		if n := testing.AllocsPerRun(10, look); n == 0 {
			t.Error("down: Read does not look what has become of the interface")
		}
		must(t, netlink.LinkSetUp(link(t, "near")))
		for n := 1; n > 0; {
			n, err = dev.Read(s)
			must(t, err)
		}
		look() // dry, and finds it up
		if n := testing.AllocsPerRun(10, look); n != 0 {
			t.Errorf("up: %v allocations", n)
		}
	})
}
