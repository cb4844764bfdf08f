package tap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The filter at ingress keeps the host from hearing anything on the interface. The host would
// still send by itself: an interface that is up has an IPv6 link-local address, and the host
// asks with it for routers and for duplicates. So the kernel is told to make no such address
// there (addr_gen_mode), and the address that it has made is removed. Addresses that the
// administrator adds later are not affected. IPv4 sends nothing without an address.
//
// The former setting is noted in the interface's alias (see mark) before the setting changes.

// generatesNone is the value of addr_gen_mode for "no link-local address"
// (IN6_ADDR_GEN_MODE_NONE); see the others in include/uapi/linux/if_link.h.
const (
	generatesEUI64  = 0
	generatesNone   = 1
	generatesStable = 2
	generatesRandom = 3
)

// A quietened is an interface on which the kernel makes no IPv6 address, and
// what it takes to have it make one again.
type quietened struct {
	mode  genMode // its owner keeps it open
	index int
	was   int
}

// quieten has the kernel make no IPv6 link-local address on an interface; nil
// if there is nothing to change.
func (g genMode) quieten(h *netlink.Handle, link netlink.Link) (*quietened, error) {
	if g.file == nil {
		return nil, g.err
	}
	now, err := g.read()
	if err != nil {
		return nil, err
	}
	_, was, marked := modeMark.cut(link.Attrs().Alias)
	if !marked || now != generatesNone {
		was = now // no mark, or the setting has been changed since
	}
	if was == generatesNone {
		return nil, nil
	}
	q := &quietened{mode: g, index: link.Attrs().Index, was: was}
	if err = q.apply(h, link, now); err != nil {
		_ = q.restore(h)
		return nil, err
	}
	return q, nil
}

// apply writes the mark, changes the setting, and removes the addresses made by it.
func (q *quietened) apply(h *netlink.Handle, link netlink.Link, now int) error {
	if err := modeMark.put(h, q.index, q.was); err != nil {
		return err
	}
	if now != generatesNone {
		if err := q.mode.write(generatesNone); err != nil {
			return err
		}
	}
	addresses, err := h.AddrList(link, netlink.FAMILY_V6)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list its addresses: %w", err)
	}
	for i := range addresses {
		if a := &addresses[i]; madeByKernel(a, link.Attrs().HardwareAddr, q.was) {
			if err := h.AddrDel(link, a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("remove %v: %w", a.IPNet, err)
			}
		}
	}
	return nil
}

// restore puts the setting back, which has the kernel make the address again,
// and removes the mark. A setting that another process has changed meanwhile stays
// as it is. An interface that is gone has nothing to put back.
func (q *quietened) restore(h *netlink.Handle) error {
	now, err := q.mode.read()
	if err == nil && now == generatesNone {
		err = q.mode.write(q.was)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return modeMark.remove(h, q.index)
}

// heal puts back what a process that was killed has left on an interface.
func (g genMode) heal(h *netlink.Handle, link netlink.Link) error {
	_, was, marked := modeMark.cut(link.Attrs().Alias)
	switch {
	case !marked:
		return nil
	case g.err != nil:
		return g.err
	case g.file == nil:
		return modeMark.remove(h, link.Attrs().Index)
	}
	return (&quietened{mode: g, index: link.Attrs().Index, was: was}).restore(h)
}

// A genMode is an interface's addr_gen_mode, an open file: it stays the right one on
// threads of other network namespaces, too.
type genMode struct {
	file *os.File // nil: there is no IPv6, or an error
	err  error
}

// openGenMode looks an interface's file up in the network namespace of the calling thread.
func openGenMode(ifname string) genMode {
	if ifname == "all" || ifname == "default" {
		return genMode{} // the kernel has other settings under these names
	}
	f, err := os.OpenFile(filepath.Join("/proc/sys/net/ipv6/conf", ifname, "addr_gen_mode"), os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return genMode{}
	case err != nil:
		return genMode{err: err}
	}
	return genMode{file: f}
}

func (g genMode) close() {
	if g.file != nil {
		_ = g.file.Close()
	}
}

func (g genMode) read() (int, error) {
	b := make([]byte, 16)
	n, err := g.file.ReadAt(b, 0)
	if n == 0 {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(b[:n]))) // of so short a file, the error is io.EOF
}

func (g genMode) write(mode int) error {
	_, err := g.file.WriteAt([]byte(strconv.Itoa(mode)+"\n"), 0)
	return err
}

// madeByKernel reports whether the kernel has made an address by the given mode,
// and so would make it again.
func madeByKernel(a *netlink.Addr, mac net.HardwareAddr, mode int) bool {
	if !a.IP.IsLinkLocalUnicast() {
		return false
	}
	switch mode {
	case generatesEUI64:
		return len(mac) == 6 && bytes.Equal(a.IP[8:],
			[]byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	case generatesStable, generatesRandom:
		return a.Flags&unix.IFA_F_STABLE_PRIVACY != 0
	}
	return false
}
