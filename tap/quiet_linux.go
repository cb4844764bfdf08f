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
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What is dropped at ingress keeps the host from hearing anything. The host would still
// speak by itself, though: an interface that is up has an IPv6 link-local address, and
// asks with it for routers and for duplicates. So the kernel is told to make no such
// address there (addr_gen_mode), and the one that it has made is removed. Addresses that
// somebody gives to the interface later are not affected. IPv4 says nothing without one.
//
// What the setting was is written to the interface's alias (ip link shows it) before it is
// changed: after kill -9 the next start reads it there. Unlike a file, an alias moves and
// ends with its interface, and needs no directory that the process may write to.

// generatesNone is the value of addr_gen_mode for "no link-local address"
// (IN6_ADDR_GEN_MODE_NONE); see the others in include/uapi/linux/if_link.h.
const (
	generatesEUI64  = 0
	generatesNone   = 1
	generatesStable = 2
	generatesRandom = 3
)

// maxAlias is the longest alias, in bytes (IFALIASZ less the final zero).
const maxAlias = 255

// The mark in an alias, round the former value.
const (
	markStart = "[taprouter: addr_gen_mode was "
	markEnd   = "]"
)

// cutMark returns an alias without the mark, and the value in it.
func cutMark(alias string) (rest string, was int, marked bool) {
	before, after, found := strings.Cut(alias, markStart)
	number, end, closed := strings.Cut(after, markEnd)
	was, err := strconv.Atoi(number)
	if !found || !closed || err != nil {
		return alias, 0, false
	}
	return strings.TrimSuffix(before, " ") + end, was, true
}

// withMark returns an alias with a mark for a value, in place of one that it has.
func withMark(alias string, was int) string {
	alias, _, _ = cutMark(alias)
	if alias != "" {
		alias += " "
	}
	return alias + markStart + strconv.Itoa(was) + markEnd
}

// A quietened is an interface on which the kernel makes no IPv6 address, and
// what it takes to have it make one again.
type quietened struct {
	mode  *os.File // addr_gen_mode; it stays right when the thread's namespace or the interface's name is another one
	index int
	was   int
}

// quieten has the kernel make no IPv6 link-local address on an interface; nil
// if there is nothing to change.
func quieten(h *netlink.Handle, link netlink.Link) (*quietened, error) {
	at := link.Attrs()
	mode, err := openGenMode(at.Name)
	if mode == nil || err != nil {
		return nil, err
	}
	now, err := readMode(mode)
	if err != nil {
		_ = mode.Close()
		return nil, err
	}
	_, was, marked := cutMark(at.Alias)
	if !marked || now != generatesNone {
		was = now // no mark, or one that somebody has made untrue
	}
	q := &quietened{mode: mode, index: at.Index, was: was}
	if was == generatesNone {
		_ = mode.Close()
		return nil, nil
	}
	if err = q.apply(h, link, now); err != nil {
		_ = q.restore(h)
		return nil, err
	}
	return q, nil
}

// apply writes the mark, changes the setting, and removes the addresses made by it.
func (q *quietened) apply(h *netlink.Handle, link netlink.Link, now int) error {
	alias := withMark(link.Attrs().Alias, q.was)
	if len(alias) > maxAlias {
		return errors.New("its alias has no room for a note of what the settings were")
	}
	if err := h.LinkSetAlias(link, alias); err != nil {
		return fmt.Errorf("note what the settings were in its alias: %w", err)
	}
	if now != generatesNone {
		if err := writeMode(q.mode, generatesNone); err != nil {
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
// and removes the mark. A setting that somebody else has changed meanwhile stays as it
// is; an interface that is gone has nothing to put back.
func (q *quietened) restore(h *netlink.Handle) error {
	defer q.mode.Close()
	now, err := readMode(q.mode)
	if err == nil && now == generatesNone {
		err = writeMode(q.mode, q.was)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	link, err := h.LinkByIndex(q.index)
	if err != nil {
		return nil // gone meanwhile
	}
	return unmark(h, link)
}

// unmark removes the mark from an alias.
func unmark(h *netlink.Handle, link netlink.Link) error {
	if rest, _, marked := cutMark(link.Attrs().Alias); marked {
		return h.LinkSetAlias(link, rest)
	}
	return nil
}

// heal puts back what a process that was killed has left on an interface.
func heal(h *netlink.Handle, link netlink.Link) error {
	_, was, marked := cutMark(link.Attrs().Alias)
	if !marked {
		return nil
	}
	mode, err := openGenMode(link.Attrs().Name)
	if err != nil {
		return err
	}
	if mode == nil {
		return unmark(h, link)
	}
	return (&quietened{mode: mode, index: link.Attrs().Index, was: was}).restore(h)
}

// openGenMode opens an interface's addr_gen_mode; nil where there is no IPv6.
func openGenMode(ifname string) (*os.File, error) {
	if ifname == "all" || ifname == "default" {
		return nil, nil // the kernel has other settings under these names
	}
	f, err := os.OpenFile(filepath.Join("/proc/sys/net/ipv6/conf", ifname, "addr_gen_mode"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

func readMode(f *os.File) (int, error) {
	b := make([]byte, 16)
	n, err := f.ReadAt(b, 0)
	if n == 0 {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(b[:n]))) // of so short a file, the error is io.EOF
}

func writeMode(f *os.File, mode int) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(mode)+"\n"), 0)
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
		return len(mac) == 6 && bytes.Equal(a.IP[8:], []byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	case generatesStable, generatesRandom:
		return a.Flags&unix.IFA_F_STABLE_PRIVACY != 0
	}
	return false
}
