package tap

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// txQueueLen is how many frames the kernel keeps for the router. Its default
	// of 1000 overflows before a sender's window is full.
	txQueueLen = 8192

	netnsDir = "/run/netns" // where ip-netns keeps its names
)

// The offloads that a TAP can be asked for (TUNSETOFFLOAD), best first: each
// step leaves out what older kernels do not know.
var offloadLadder = []struct {
	flags    int
	features Features
}{
	{unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN | unix.TUN_F_USO4 | unix.TUN_F_USO6,
		FeatureChecksum | FeatureTSO4 | FeatureTSO6 | FeatureUSO},
	{unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN,
		FeatureChecksum | FeatureTSO4 | FeatureTSO6},
	{unix.TUN_F_CSUM, FeatureChecksum | FeatureTSO4 | FeatureTSO6},
	{0, FeatureChecksum | FeatureTSO4 | FeatureTSO6},
}

// OpenTAP opens the TAP device name, with the kernel's end in the network
// namespace netns if that is not empty (a name as ip-netns knows it), and sets
// it up. A device that does not exist is made, and disappears with Close or the
// process; one that was there stays. The device works on when the kernel's end
// is moved to another namespace, and is gone when the namespace that it is in is.
//
// Frames carry offload metadata if the kernel can do that; the log says what
// was agreed. It needs CAP_NET_ADMIN, and CAP_SYS_ADMIN to enter a namespace;
// only a device that is there, up, and the user's own (`ip tuntap add ... user`)
// needs neither. Errors: ErrMissing, wrapped, while the namespace does not exist.
func OpenTAP(name, netns string, opt Options) (Device, error) {
	what := "tap:" + name
	if netns != "" {
		what += "@" + netns
	}
	if err := checkName("tap", name); err != nil {
		return nil, err
	}
	open := func() (*fdDevice, error) { return openTAP(name, what, opt.logger()) }
	if netns != "" {
		open = func() (*fdDevice, error) { return openPlaced(name, what, netns, opt.logger()) }
	}
	d, err := open()
	if err != nil {
		return nil, err // not d, which would be a Device that is not nil
	}
	return &tapDevice{fdDevice: d, ifname: name, netns: netns}, nil
}

// A tapDevice is a TAP's descriptor, and where the kernel's end was when it was opened.
type tapDevice struct {
	*fdDevice
	ifname, netns string
	told          bool // SetMTU has been called
}

// SetMTU gives a TAP that the process has made an MTU, in bytes: it has the kernel's
// default until then. Call it before the kernel's end is moved. A TAP that was there
// before keeps its own; it is an error if that is smaller.
func (d *tapDevice) SetMTU(mtu int) error {
	if !d.ours {
		if d.mtu < mtu {
			return fmt.Errorf("tap: %s was there before and keeps its MTU of %d: "+
				"enlarge it with `ip link set %s mtu %d`",
				d.name, d.mtu, d.ifname, mtu)
		}
		return nil
	}
	if !d.told && d.mtu == mtu {
		d.told = true
		return nil // as it was made
	}
	d.told = true
	set := func() error {
		link, err := netlink.LinkByName(d.ifname)
		if err == nil {
			err = netlink.LinkSetMTU(link, mtu)
		}
		return err
	}
	var err error
	if d.netns != "" {
		err = inNetns(d.netns, set)
	} else {
		err = set()
	}
	if err != nil {
		return fmt.Errorf("tap: set the MTU of %s to %d: %w", d.name, mtu, err)
	}
	return nil
}

// inNetns runs fn on a thread that is in a named network namespace meanwhile.
func inNetns(name string, fn func() error) error {
	f, err := os.Open(filepath.Join(netnsDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		if !holds(unix.CAP_SYS_ADMIN) {
			return explainNetns(name, unix.EPERM)
		}
		return missingNetns(name)
	} else if err != nil {
		return fmt.Errorf("tap: network namespace %q: %w", name, err)
	}
	defer f.Close()
	done := make(chan error, 1)
	go func() { done <- onThread(name, f, fn) }()
	return <-done
}

func missingNetns(name string) error {
	return fmt.Errorf("tap: network namespace %q %w: make it with `ip netns add %s`", name, ErrMissing, name)
}

// onThread takes a thread to the namespace and back. Where there is no way back,
// the thread stays locked and ends with its goroutine; but it may be the main
// thread, which never ends, and which would hold on to the namespace after its name
// is removed.
func onThread(name string, f *os.File, fn func() error) error {
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("tap: enter network namespace %q: %w", name, err)
	}
	defer here.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return explainNetns(name, err)
	}
	err = fn()
	if unix.Setns(int(here.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// explainNetns says why a namespace cannot be entered.
func explainNetns(name string, err error) error {
	switch {
	case isErrno(err, unix.EPERM):
		return fmt.Errorf("tap: enter network namespace %q: not permitted: run as root, "+
			"or with CAP_SYS_ADMIN and CAP_NET_ADMIN, or use `taprouter lab`, which needs neither: %w", name, err)
	case isErrno(err, unix.EINVAL):
		return fmt.Errorf("tap: enter network namespace %q: only its name is there, the namespace %w: "+
			"remove the name with `ip netns delete %s` and make the namespace anew: %w", name, ErrMissing, name, err)
	}
	return fmt.Errorf("tap: enter network namespace %q: %w", name, err)
}

// openTAP is OpenTAP in the namespace of the calling thread. Everything it asks
// goes by netlink and ioctl, which answer for that namespace: /sys shows the one
// it was mounted in.
func openTAP(name, what string, log *slog.Logger) (*fdDevice, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, explainTAP(what, err)
	}
	defer h.Close()
	link, err := findTAP(h, name)
	if err != nil {
		return nil, err
	}
	made := link == nil
	if made {
		if link, err = createTAP(h, name); err != nil {
			return nil, explainTAP(what, err)
		}
	}
	d, err := attachTAP(name, what, link.Flags, log)
	if err != nil {
		if made {
			deleteTAP(name)
		}
		return nil, explainTAP(what, err)
	}
	d.ours, d.mtu = made || link.Alias == leftoverMark, link.MTU
	if d.ours {
		// It vanishes with the last descriptor, however the process ends.
		if err := unix.IoctlSetInt(d.fd, unix.TUNSETPERSIST, 0); err != nil {
			log.Warn("the device will stay behind", "device", what, "err", err)
		}
	} else {
		d.restore = d.vnet
	}
	if err := raise(h, link, what, log); err != nil {
		_ = d.Close()
		return nil, explainTAP(what, err)
	}
	log.Info("device open", "device", what, "made", made, "vnet_hdr", d.vnet, "offloads", d.features.String())
	return d, nil
}

// explainTAP is explain for what goes through /dev/net/tun, which can also be a
// file with no driver behind it.
func explainTAP(what string, err error) error {
	if isErrno(err, unix.ENOENT, unix.ENODEV, unix.ENXIO) {
		return fmt.Errorf("tap: open %s: /dev/net/tun is missing or has no driver: "+
			"load the kernel's tun module (modprobe tun), or use `taprouter lab`, which needs no device: %w", what, err)
	}
	if isErrno(err, unix.EACCES) {
		// The file refuses, not the kernel's network stack: a capability alone would not help.
		if mode := tunMode(); mode != "" {
			return fmt.Errorf("tap: open %s: not permitted: /dev/net/tun has %s: run as root, "+
				"or open it to this user (0666 is usual) and give it CAP_NET_ADMIN, "+
				"or use `taprouter lab`, which needs no device: %w", what, mode, err)
		}
	}
	return explain(what, err)
}

// tunMode is the mode and the owners of /dev/net/tun in words.
func tunMode() string {
	var st unix.Stat_t
	if unix.Stat("/dev/net/tun", &st) != nil {
		return ""
	}
	return fmt.Sprintf("mode %04o and belongs to user %d, group %d", st.Mode&0o7777, st.Uid, st.Gid)
}

// leftoverMark is the alias (ifalias) of a device that the process has made. If
// it dies between making and taking over, the device stays, and the mark tells
// the next start that it is ours to remove. If the process dies in the short time before the mark,
// the next start uses the device, but does not remove it.
const leftoverMark = "taprouter: made by this program, removed with it"

// createTAP has water make a persistent device and lets go of its descriptor:
// offloads are a matter of the first queue that attaches with a virtio-net
// header, and water's never does.
func createTAP(h *netlink.Handle, name string) (*netlink.Tuntap, error) {
	w, err := water.New(water.Config{
		DeviceType:             water.TAP,
		PlatformSpecificParams: water.PlatformSpecificParams{Name: name, Persist: true},
	})
	if err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		deleteTAP(name)
		return nil, err
	}
	link, err := findTAP(h, name)
	if err == nil && link == nil {
		err = errors.New("the device was taken away at once")
	}
	if err != nil {
		deleteTAP(name)
		return nil, err
	}
	// Best effort: without the mark, a device that a crash has left is kept.
	_ = h.LinkSetAlias(link, leftoverMark)
	return link, nil
}

// findTAP looks for the device, and returns nil if there is none. An interface that has the
// name and is no TAP is an error.
func findTAP(h *netlink.Handle, name string) (*netlink.Tuntap, error) {
	link, err := h.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("tap: open tap:%s: look for the device: %w", name, err)
	}
	t, ok := link.(*netlink.Tuntap)
	if !ok || t.Mode != netlink.TUNTAP_MODE_TAP {
		return nil, fmt.Errorf("tap: open tap:%s: an interface of that name exists and is no TAP device: "+
			"use raw:%s to attach to it, or another name", name, name)
	}
	return t, nil
}

// attachTAP opens a queue of the device, with offloads as far as the kernel goes.
// Whether it has several queues is fixed when it is made.
func attachTAP(name, what string, has netlink.TuntapFlag, log *slog.Logger) (*fdDevice, error) {
	multi := int(has & netlink.TUNTAP_MULTI_QUEUE)
	d, err := attachQueue(name, what, unix.IFF_VNET_HDR|multi)
	if err != nil && !isErrno(err, unix.EINVAL) {
		return nil, err
	}
	if err == nil {
		if err = d.negotiate(log); err == nil {
			return d, nil
		}
		_ = d.Close()
	}
	log.Debug("no virtio-net header, frames are plain", "device", what, "err", err)
	if d, err = attachQueue(name, what, multi); err != nil {
		return nil, err
	}
	// Offloads that were agreed before stay with the device. Without a header
	// they would bring super-frames and unfinished checksums that nothing tells
	// from others.
	if err := unix.IoctlSetInt(d.fd, unix.TUNSETOFFLOAD, 0); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("switch offloads off: %w", err)
	}
	return d, nil
}

// openTUN opens the driver of TUN and TAP devices.
func openTUN() (int, error) {
	return unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// attachQueue attaches a new descriptor to the device.
func attachQueue(name, what string, flags int) (*fdDevice, error) {
	fd, err := openTUN()
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(uint16(unix.IFF_TAP | unix.IFF_NO_PI | flags))
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err == nil {
		// The kernel accepts the header flag from the first queue only, and
		// ignores it silently from others.
		err = unix.IoctlIfreq(fd, unix.TUNGETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &fdDevice{name: what, fd: fd, vnet: req.Uint16()&unix.IFF_VNET_HDR != 0}, nil
}

// negotiate sets the size of the header and the offloads.
func (d *fdDevice) negotiate(log *slog.Logger) error {
	if !d.vnet {
		return errors.New("the kernel does not agree to the header")
	}
	if err := unix.IoctlSetPointerInt(d.fd, unix.TUNSETVNETHDRSZ, HeaderLen); err != nil {
		return fmt.Errorf("header size: %w", err)
	}
	little := int32(1)
	if err := ioctl(d.fd, unix.TUNSETVNETLE, unsafe.Pointer(&little)); err != nil {
		return fmt.Errorf("header byte order: %w", err)
	}
	for _, step := range offloadLadder {
		err := unix.IoctlSetInt(d.fd, unix.TUNSETOFFLOAD, step.flags)
		if err == nil {
			// Whatever the kernel sends here, it takes segments itself.
			d.features = step.features
			return nil
		}
		log.Debug("offloads refused, trying fewer", "device", d.name, "flags", fmt.Sprintf("%#x", step.flags), "err",
			err)
	}
	return errors.New("offloads: every combination refused")
}

// deleteTAP takes back a device that could not be attached.
func deleteTAP(name string) {
	d, err := attachQueue(name, name, 0)
	if err != nil {
		return
	}
	_ = unix.IoctlSetInt(d.fd, unix.TUNSETPERSIST, 0)
	_ = d.Close()
}

// raise lengthens the device's queue and sets it up. A short queue loses frames
// and no more, so it is no reason to refuse a device.
func raise(h *netlink.Handle, link netlink.Link, what string, log *slog.Logger) error {
	at := link.Attrs()
	if at.TxQLen < txQueueLen {
		if err := h.LinkSetTxQLen(link, txQueueLen); err != nil {
			log.Warn("the device keeps its short queue", "device", what, "frames", at.TxQLen, "err", err)
		}
	}
	if at.Flags&net.FlagUp != 0 {
		return nil
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return nil
}
