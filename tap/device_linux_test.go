package tap_test

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/tap"
)

// inNamespace puts the test into a network namespace of its own, for good: the
// thread ends with the test's goroutine.
func inNamespace(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); os.Geteuid() != 0 || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("missing: root and /dev/net/tun, for real devices")
		}
		t.Skip("missing: root and /dev/net/tun, for real devices")
	}
	runtime.LockOSThread()
	ns, err := netns.New()
	must(t, err)
	t.Cleanup(func() { ns.Close() })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

// packetSocket is the kernel's side of a device: a frame sent to the socket arrives at
// the device's reader, and the other way round.
func packetSocket(t *testing.T, name string) int {
	t.Helper()
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	must(t, unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}))
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link(t, name).Attrs().Index}))
	return fd
}

// testType is an EtherType for experiments, which nothing else here uses.
const testType = 0x88b5

// super is a TCP super-frame of n payload bytes with an unfinished checksum.
func super(n int) []byte {
	b := make([]byte, tap.HeaderLen+54+n)
	b[0], b[1] = 1, 1
	for at, v := range map[int]uint16{2: 54, 4: 1400, 6: 34, 8: 16} {
		binary.LittleEndian.PutUint16(b[at:], v)
	}
	eth := b[tap.HeaderLen:]
	copy(eth, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0})
	ip := eth[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	ip[32] = 5 << 4
	return b
}

// experimental is a small frame that only these tests send.
func experimental(text string) []byte {
	b := make([]byte, tap.HeaderLen+14, tap.HeaderLen+60)
	eth := b[tap.HeaderLen:]
	copy(eth, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2})
	binary.BigEndian.PutUint16(eth[12:], testType)
	return append(b, text...)
}

// next reads from a device until a frame fits.
func next(t *testing.T, dev tap.Device, fits func(f *tap.Frame) bool) tap.Frame {
	t.Helper()
	s := slots(1)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		n, err := dev.Read(s)
		must(t, err)
		if n == 1 && fits(&s[0]) {
			return s[0]
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(dev.FD()), Events: unix.POLLIN}}, 100)
	}
	t.Fatal("the frame did not arrive")
	return tap.Frame{}
}

// receive reads from a packet socket until a frame fits.
func receive(t *testing.T, fd int, fits func(b []byte) bool) []byte {
	t.Helper()
	b := make([]byte, tap.SlotLen)
	for {
		n, err := unix.Read(fd, b)
		must(t, err)
		if fits(b[:n]) {
			return b[:n]
		}
	}
}

// both checks a device in both directions, with small and with super-frames.
func both(t *testing.T, dev tap.Device, peer string) {
	t.Helper()
	fd := packetSocket(t, peer)
	for name, b := range map[string][]byte{"small": experimental("small"), "super": super(60000)} {
		is := func(b2 []byte) bool { return len(b2) == len(b) && string(b2[10:24]) == string(b[10:24]) }
		if _, err := unix.Write(fd, b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f := next(t, dev, func(f *tap.Frame) bool { return is(f.Buf[f.Head:f.Tail]) })
		if f.Head < tap.Headroom || f.Header()[0] != b[0] || f.Header()[1] != b[1] {
			t.Errorf("%s: head %d, header % x, want % x", name, f.Head, f.Header(), b[:10])
		}
		out := append(make([]byte, 7), b...)
		if n, err := dev.Write([]tap.Frame{{Buf: out, Head: 7, Tail: len(out)}}); n != 1 || err != nil {
			t.Fatalf("%s: %d taken, %v", name, n, err)
		}
		if got := receive(t, fd, is); got[0]&1 != b[0]&1 || got[1] != b[1] {
			t.Errorf("%s: the kernel sees header % x, want % x", name, got[:10], b[:10])
		}
	}
}

func TestTAPMadeHere(t *testing.T) {
	inNamespace(t)
	dev, err := tap.OpenTAP("tap0", "", tap.Options{})
	must(t, err)
	l := link(t, "tap0")
	if dev.Name() != "tap:tap0" || l.Attrs().Flags&1 == 0 || l.Attrs().TxQLen < 4096 {
		t.Errorf("name %s, flags %v, queue %d", dev.Name(), l.Attrs().Flags, l.Attrs().TxQLen)
	}
	both(t, dev, "tap0")
	if _, err := tap.OpenTAP("tap0", "", tap.Options{}); err == nil ||
		!strings.Contains(err.Error(), "another process has this device open") {
		t.Errorf("opened twice: %v", err)
	}
	must(t, netlink.LinkSetDown(l))
	if n, err := dev.Write([]tap.Frame{frame("lost to a device that is down")}); n != 0 ||
		!errors.Is(err, tap.ErrDown) {
		t.Errorf("down: %d taken, %v", n, err)
	}
	must(t, netlink.LinkSetUp(l))
	both(t, dev, "tap0")
	for range 2 {
		must(t, dev.Close())
	}
	if _, err := netlink.LinkByName("tap0"); err == nil {
		t.Error("the device is still there")
	}
	if _, err := dev.Read(slots(1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := dev.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
}

func TestTAPThatWasThere(t *testing.T) {
	inNamespace(t)
	for _, multi := range []bool{false, true} {
		made := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap1"}, Mode: netlink.TUNTAP_MODE_TAP}
		if multi {
			made.Flags = netlink.TUNTAP_MULTI_QUEUE_DEFAULTS
		}
		must(t, netlink.LinkAdd(made))
		for _, f := range made.Fds {
			must(t, f.Close())
		}
		dev, err := tap.OpenTAP("tap1", "", tap.Options{})
		must(t, err)
		both(t, dev, "tap1")
		if !checksumming(t, "tap1") {
			t.Error("no offloads")
		}
		must(t, dev.Close())
		if checksumming(t, "tap1") {
			t.Error("whoever opens the device next gets unfinished checksums")
		}
		must(t, netlink.LinkDel(link(t, "tap1"))) // it was kept
	}
}

func TestTAPThatIsDeleted(t *testing.T) {
	inNamespace(t)
	dev, err := tap.OpenTAP("tap2", "", tap.Options{})
	must(t, err)
	defer dev.Close()
	must(t, netlink.LinkDel(link(t, "tap2")))
	if _, err := dev.Read(slots(1)); !errors.Is(err, tap.ErrGone) {
		t.Errorf("read: %v", err)
	}
	if _, err := dev.Write([]tap.Frame{frame("lost to a device that is gone")}); !errors.Is(err, tap.ErrGone) {
		t.Errorf("write: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	inNamespace(t)
	cable(t, "cable0", "cable1")
	open := func(what string) error {
		var dev tap.Device
		var err error
		kind, name, _ := strings.Cut(what, ":")
		name, ns, _ := strings.Cut(name, "@")
		if kind == "tap" {
			dev, err = tap.OpenTAP(name, ns, tap.Options{})
		} else {
			dev, err = tap.OpenRaw(name, tap.Options{})
		}
		if err == nil {
			dev.Close()
		}
		return err
	}
	for what, want := range map[string]string{
		"tap:cable0":                 "is no TAP device: use raw:cable0",
		"tap:longer-than-fifteen":    "1 to 15 bytes",
		"tap:":                       "1 to 15 bytes",
		"tap:tap3@no-such-namespace": "ip netns add no-such-namespace",
		"raw:nothere":                "no such interface",
		"raw:lo":                     "not an Ethernet interface",
	} {
		if err := open(what); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", what, err, want)
		}
	}
}

// cable is a pair of veth ends.
func cable(t *testing.T, a, b string) {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a}, PeerName: b}))
	must(t, netlink.LinkSetUp(link(t, a)))
	must(t, netlink.LinkSetUp(link(t, b)))
}

func TestRaw(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		cable(t, "near", "far")
		dev := open("near")
		both(t, dev, "far")
		// The device does not read the frames that it sends itself.
		b := experimental("our own")
		if _, err := dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); err != nil {
			t.Fatal(err)
		}
		fd := packetSocket(t, "far")
		if _, err := unix.Write(fd, experimental("theirs")); err != nil {
			t.Fatal(err)
		}
		f := next(t, dev, func(f *tap.Frame) bool { return binary.BigEndian.Uint16(f.Ethernet()[12:]) == testType })
		if got := string(f.Ethernet()[14:]); got != "theirs" {
			t.Errorf("read %q", got)
		}
		// The kernel takes VLAN tags out; they are put back.
		tagged := append(make([]byte, tap.HeaderLen), 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0x20, 100,
			testType>>8, testType&0xff)
		tagged = append(tagged, "behind a tag"...)
		if _, err := unix.Write(fd, tagged); err != nil {
			t.Fatal(err)
		}
		f = next(t, dev, func(f *tap.Frame) bool { return f.Ethernet()[12] == 0x81 })
		if string(f.Ethernet()) != string(tagged[tap.HeaderLen:]) || f.Head < tap.Headroom {
			t.Errorf("tagged: % x, head %d", f.Ethernet(), f.Head)
		}
	})
}

// An interface that is down is set up, and nothing is heard of it later.
func TestRawThatWasDown(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		cable(t, "near", "far")
		must(t, netlink.LinkSetDown(link(t, "near")))
		must(t, netlink.LinkSetMTU(link(t, "near"), 1400))
		dev := open("near")
		b := experimental("first")
		if n, err := dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); n != 1 || err != nil {
			t.Errorf("first write: %d, %v", n, err)
		}
		if _, err := dev.Read([]tap.Frame{{Buf: make([]byte, tap.SlotLen)}}); err != nil {
			t.Errorf("first read: %v", err)
		}
		if mtu := dev.(interface{ MTU() int }).MTU(); mtu != 1400 {
			t.Errorf("MTU %d", mtu)
		}
	})
}

func TestRawGoesDownAndAway(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		cable(t, "near", "far")
		dev := open("near")
		fails := func(want error) {
			t.Helper()
			for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
				if _, err := dev.Read(slots(1)); err != nil {
					if !errors.Is(err, want) {
						t.Errorf("error %v, want %v", err, want)
					}
					return
				}
			}
			t.Errorf("no error, want %v", want)
		}
		must(t, netlink.LinkSetDown(link(t, "near")))
		fails(tap.ErrDown)
		if _, err := dev.Write([]tap.Frame{frame("lost to a device that is down")}); !errors.Is(err, tap.ErrDown) {
			t.Errorf("write: %v", err)
		}
		must(t, netlink.LinkSetUp(link(t, "near")))
		both(t, dev, "far")
		must(t, netlink.LinkDel(link(t, "near")))
		fails(tap.ErrGone)
	})
}
