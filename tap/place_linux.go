package tap

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// openPlaced opens a TAP in a named network namespace.
//
// A descriptor belongs to the namespace that it was opened in, and keeps that namespace
// alive. A descriptor opened over there would keep the namespace and the device in it
// after `ip netns delete`, without a name. So the device is made here, under another
// name, and the kernel's end is sent there. When the namespace ends, the device ends,
// too, and its reader gets an error. Only a device that was there before must be opened
// there.
func openPlaced(name, what, netns string, log *slog.Logger) (*fdDevice, error) {
	// A missing driver does not come by waiting, so it is reported even if the namespace
	// does not exist yet.
	if fd, err := openTUN(); err != nil {
		return nil, explainTAP(what, err)
	} else if err := unix.Close(fd); err != nil {
		return nil, explainTAP(what, err)
	}
	exists := false
	err := inNetns(netns, func() error {
		link, err := findTAP(&netlink.Handle{}, name)
		exists = link != nil
		return err
	})
	if err != nil {
		return nil, err
	}
	if !exists {
		return placeTAP(name, what, netns, log)
	}
	var d *fdDevice
	err = inNetns(netns, func() (err error) {
		d, err = openTAP(name, what, log)
		return err
	})
	return d, err
}

// placeTAP makes a TAP in a namespace where it does not exist.
func placeTAP(name, what, netns string, log *slog.Logger) (*fdDevice, error) {
	d, err := openTAP(interim(what), what, log)
	if err != nil {
		return nil, err
	}
	if err = moveLink(interim(what), netns, name); isErrno(err, unix.ENOENT, unix.EINVAL) {
		err = missingNetns(netns) // it has gone meanwhile
	} else if err != nil {
		err = explain(what, fmt.Errorf("move to network namespace %q: %w", netns, err))
	} else {
		err = inNetns(netns, func() error {
			h := &netlink.Handle{} // its requests open a socket each
			link, err := h.LinkByName(name)
			if err == nil {
				err = raise(h, link, what, log)
			}
			if err != nil {
				return explain(what, err)
			}
			return nil
		})
	}
	if err != nil {
		_ = d.Close() // the device ends with it
		return nil, err
	}
	return d, nil
}

// interim is the name of a device on its way to its place. It is the same each
// time, so that what a crash has left there is found by the next start.
func interim(what string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(what)) // never fails
	return fmt.Sprintf("tr%013x", h.Sum64()>>12)
}

// moveLink sends an interface to a named network namespace, under a new name.
func moveLink(name, netns, newName string) error {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(netnsDir, netns))
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	if err := unix.Sendto(s, moveRequest(ifi.Index, int(f.Fd()), newName), 0,
		&unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return acknowledged(s)
}

// moveRequest is the rtnetlink message (rtnetlink(7)) that moves and renames.
func moveRequest(index, ns int, name string) []byte {
	order := binary.NativeEndian
	info := unix.IfInfomsg{Index: int32(index)}
	b := make([]byte, unix.SizeofNlMsghdr, 128)
	b = append(b, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unix.SizeofIfInfomsg)...)
	attribute := func(kind uint16, value []byte) {
		b = order.AppendUint16(b, uint16(unix.SizeofNlAttr+len(value)))
		b = order.AppendUint16(b, kind)
		b = append(b, value...)
		for len(b)%unix.NLMSG_ALIGNTO != 0 {
			b = append(b, 0)
		}
	}
	attribute(unix.IFLA_NET_NS_FD, order.AppendUint32(nil, uint32(ns)))
	attribute(unix.IFLA_IFNAME, append([]byte(name), 0))
	order.PutUint32(b, uint32(len(b)))
	order.PutUint16(b[4:], unix.RTM_NEWLINK)
	order.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	return b
}

// acknowledged reads the kernel's answer to a request: an error number, 0 for done.
func acknowledged(s int) error {
	b := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, b, 0)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	if n < unix.SizeofNlMsghdr+4 || order.Uint16(b[4:]) != unix.NLMSG_ERROR {
		return fmt.Errorf("unexpected answer of %d bytes from the kernel", n)
	}
	if errno := -int32(order.Uint32(b[unix.SizeofNlMsghdr:])); errno != 0 {
		return unix.Errno(errno)
	}
	return nil
}
