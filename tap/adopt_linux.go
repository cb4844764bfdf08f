package tap

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// AdoptTAP goes on with a TAP that a former process has opened by OpenTAP, by a descriptor of it. The kernel's end
// stays as it is, up and with its addresses, and frames that wait are read. The file is AdoptTAP's, and is closed if
// it fails. name and netns are those that the device was opened with. No right is needed.
func AdoptTAP(f *os.File, name, netns string, opt Options) (Device, error) {
	defer f.Close()
	what := "tap:" + name
	if netns != "" {
		what += "@" + netns
	}
	d, err := adoptTAP(f, name, what)
	if err != nil {
		return nil, fmt.Errorf("tap: adopt %s: %w", what, err)
	}
	find := func() error {
		h := &netlink.Handle{} // its requests open a socket each
		link, err := findTAP(h, name)
		if err == nil && link != nil {
			d.mtu = link.MTU
			err = raise(h, link, what, opt.logger())
		}
		return err
	}
	if netns != "" {
		err = inNetns(netns, find)
	} else {
		err = find()
	}
	if err != nil { // the kernel's end may have been moved, or the right to look be gone: the device works
		opt.logger().Debug("the kernel's end of the device is not seen", "device", what, "err", err)
	}
	opt.logger().Info("device taken over", "device", what, "vnet_hdr", d.vnet, "offloads", d.features.String())
	return &tapDevice{fdDevice: d, ifname: name, netns: netns}, nil
}

func adoptTAP(f *os.File, name, what string) (*fdDevice, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	d, err := queueOf(fd, name, what)
	if err == nil && d.vnet {
		// It was agreed before. To agree again says what the device can do.
		err = d.negotiate(Options{}.logger())
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return d, nil
}

// queueOf looks at a descriptor of a TAP.
func queueOf(fd int, name, what string) (*fdDevice, error) {
	req, err := unix.NewIfreq("")
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, req); err != nil {
		return nil, fmt.Errorf("ask what the descriptor is of: %w", err)
	}
	flags := req.Uint16()
	if flags&unix.IFF_TAP == 0 || req.Name() != name {
		return nil, fmt.Errorf("the descriptor is of %q", req.Name())
	}
	d := &fdDevice{name: what, fd: fd, vnet: flags&unix.IFF_VNET_HDR != 0, ours: flags&unix.IFF_PERSIST == 0}
	d.restore = d.vnet && !d.ours
	return d, nil
}

// Duplicate duplicates a descriptor, which is open meanwhile. The caller closes the file. It is closed in a program
// that is executed, unless the caller changes that.
func Duplicate(fd int, name string) (*os.File, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), name), nil
}
