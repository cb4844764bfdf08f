package tap

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// rawBuffer is the receive buffer asked for, in bytes: what arrives while the
// worker is busy with another device.
const rawBuffer = 8 << 20

const (
	auxLen   = int(unsafe.Sizeof(unix.TpacketAuxdata{}))
	auxSpace = unix.SizeofCmsghdr + (auxLen+7)&^7

	// rawHead is where frames are read to: a VLAN tag may have to go in, and
	// the IP header should lie on an 8-byte boundary.
	rawHead = Headroom + 8
)

// A rawDevice is an AF_PACKET socket bound to an interface.
type rawDevice struct {
	fdDevice
	ifname string
	log    *slog.Logger

	// reading is held by Read, by Close, and while the ring changes. The kernel takes
	// tens of milliseconds to change a ring, for which Read must not wait.
	reading  sync.Mutex
	changing atomic.Bool

	ring    *ring // nil where the kernel gave none, and for a while after a jam
	watcher ringWatcher
	release func() // ends the guard's care of the interface
	joiner  joiner
	control [auxSpace]byte // the reader's
	isDown  bool           // the reader's, too: it has been told so
}

// OpenRaw attaches to the existing Ethernet interface name (a veth end, a NIC,
// the TAP that a hypervisor opened), sees every frame that arrives there and
// sends through it. The interface is set up if it is down, and is promiscuous
// meanwhile; with a Guard in the options, it is closed to the host's own network stack.
// It needs CAP_NET_RAW, and CAP_NET_ADMIN for an interface that is down and for the Guard.
// Errors: ErrMissing, wrapped, while the interface does not exist.
//
// The kernel wakes a reader when the interface goes down, but not when it
// disappears after that: after ErrDown, call Read now and then (it says ErrGone
// as soon as that is so).
func OpenRaw(name string, opt Options) (Device, error) {
	return openRaw(name, opt, ringSlots)
}

// openRaw is OpenRaw with a number of slots for the ring.
func openRaw(name string, opt Options, slots int) (Device, error) {
	what := "raw:" + name
	if err := checkName("raw", name); err != nil {
		return nil, err
	}
	link, err := findLink(name)
	if errors.Is(err, ErrMissing) && !holds(unix.CAP_NET_RAW) {
		return nil, explain(what, unix.EPERM) // an interface may come, a right does not
	} else if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, explain(what, err)
	}
	d := &rawDevice{fdDevice: fdDevice{name: what, fd: fd, mtu: link.Attrs().MTU}, ifname: name, log: opt.logger()}
	// Closed to the host first: once it is up, the host would introduce itself there.
	closed := d.guard(opt.Guard, link)
	d.joiner = joiner{name: what, fd: fd, may: closed, log: d.log}
	d.joiner.start(link)
	// Up first: a socket that is bound before says that the interface is down,
	// once, later.
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(link); err != nil {
			_ = d.Close()
			return nil, explainRaw(name, fmt.Errorf("set up: %w", err))
		}
	}
	if err := d.setUp(link.Attrs().Index, slots); err != nil {
		_ = d.Close()
		return nil, explainRaw(name, err)
	}
	d.log.Info("device open", "device", what, "vnet_hdr", d.vnet, "offloads", d.features.String(), "rx", d.rx(),
		"host", hostState(closed))
	if d.ring != nil {
		d.reading.Lock()
		d.watcher.slots, d.watcher.since, d.watcher.wait = slots, time.Now(), ringWatch
		d.watcher.timer = time.AfterFunc(ringWatch, d.watch)
		d.reading.Unlock()
	}
	return d, nil
}

// findLink looks for the interface that a raw device is to be attached to.
func findLink(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return nil, missingLink(name)
	case err != nil:
		return nil, fmt.Errorf("tap: open raw:%s: look for the interface: %w", name, err)
	case link.Attrs().EncapType != "ether":
		return nil, fmt.Errorf("tap: open raw:%s: not an Ethernet interface", name)
	}
	return link, nil
}

func missingLink(name string) error {
	return fmt.Errorf("tap: open raw:%s: no such interface: %s %w: make it (a veth, a TAP), or use tap:%s, "+
		"which is made",
		name, name, ErrMissing, name)
}

// explainRaw is explain for an interface, which may have gone meanwhile.
func explainRaw(name string, err error) error {
	if isErrno(err, unix.ENODEV, unix.ENXIO) {
		return missingLink(name)
	}
	return explain("raw:"+name, err)
}

// guard puts the interface into a guard's care, and reports whether it is closed
// to the host. Without a guard, settings that a killed process has left are put back.
func (d *rawDevice) guard(g *Guard, link netlink.Link) (closed bool) {
	d.release = func() {}
	if g != nil {
		d.release, closed = g.add(d.name, link)
		return closed
	}
	mode := openGenMode(d.ifname)
	defer mode.close()
	if err := mode.heal(&netlink.Handle{}, link); err != nil { // the handle's requests open a socket each
		d.log.Warn("settings of IPv6 are not put back", "device", d.name, "err", err)
	}
	return false
}

func hostState(closed bool) string {
	if closed {
		return "closed"
	}
	return "open"
}

// setUp sets the socket's options before it is bound, so that no frame comes in
// another form.
func (d *rawDevice) setUp(index, slots int) error {
	set := func(option, value int) error {
		return unix.SetsockoptInt(d.fd, unix.SOL_PACKET, option, value)
	}
	if err := set(unix.PACKET_VNET_HDR, 1); err == nil {
		d.vnet = true
		d.features = FeatureChecksum | FeatureTSO4 | FeatureTSO6 | FeatureUSO
	}
	if err := set(unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return fmt.Errorf("ignoring our own frames: %w", err)
	}
	if err := set(unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("auxiliary data: %w", err)
	}
	// Beyond net.core.rmem_max only with CAP_NET_ADMIN; less is slower, not wrong.
	if unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, rawBuffer) != nil {
		_ = unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, rawBuffer)
	}
	// Without a ring, every frame costs a system call.
	ring, err := openRing(d.fd, slots)
	if err != nil {
		d.log.Debug("no receive ring", "device", d.name, "err", err)
	}
	d.ring = ring
	mreq := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
	if err := unix.SetsockoptPacketMreq(d.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
		return fmt.Errorf("promiscuous mode: %w", err)
	}
	all := uint16(unix.ETH_P_ALL)
	return unix.Bind(d.fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8, Ifindex: index})
}

// rx says how frames are received.
func (d *rawDevice) rx() string {
	if d.ring == nil {
		return "recvmsg"
	}
	return "ring"
}

// SetGRO says whether the kernel is to join segments before the device reads them (generic receive offload). If so,
// and if the interface has that off and can do it, it is switched on until the device is closed. That needs
// CAP_NET_ADMIN, and a Guard that had closed the interface to the host when the device was opened: an interface that
// the host itself uses stays as it is. Otherwise, what OpenRaw found to be left by a killed process is put back. Any
// goroutine may call it; the kernel may take milliseconds.
func (d *rawDevice) SetGRO(on bool) { d.joiner.set(on) }

// Close implements Device.
func (d *rawDevice) Close() error {
	d.joiner.end() // while there is a descriptor
	d.reading.Lock()
	defer d.reading.Unlock()
	err := d.fdDevice.Close()
	d.release()
	if d.watcher.timer != nil {
		d.watcher.timer.Stop()
	}
	if d.ring != nil {
		d.ring.close(-1)
		d.ring = nil
	}
	return err
}

// MTU is the largest packet that the interface takes at this moment, in bytes. It may be
// called from any goroutine.
func (d *rawDevice) MTU() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	req, err := unix.NewIfreq(d.ifname)
	if d.closed || err != nil || unix.IoctlIfreq(d.fd, unix.SIOCGIFMTU, req) != nil {
		return d.mtu // it is gone, which others will notice
	}
	return int(req.Uint32())
}

// Read implements Device. The kernel takes VLAN tags out of frames and hands
// them over beside them.
func (d *rawDevice) Read(frames []Frame) (int, error) {
	if !d.reading.TryLock() {
		if d.changing.Load() {
			return 0, fmt.Errorf("tap: read %s: %w", d.name, ErrBusy)
		}
		d.reading.Lock()
	}
	defer d.reading.Unlock()
	if d.closed {
		return 0, os.ErrClosed
	}
	bytes := 0
	for i := range frames {
		errno := d.next(&frames[i])
		switch {
		case errno == unix.EAGAIN:
			return i, d.dry() // the caller may not call Read again before there are frames
		case errno == unix.ENETDOWN:
			return i, d.downOrGone()
		case errno != 0:
			return i, d.failed("read", errno)
		}
		if i == 0 {
			d.watcher.wake()
		}
		if bytes += frames[i].Tail - frames[i].Head; bytes >= BatchBytes {
			return i + 1, nil
		}
	}
	return len(frames), nil
}

// next reads one frame.
func (d *rawDevice) next(f *Frame) unix.Errno {
	if d.ring == nil {
		return d.receive(f)
	}
	return d.fromRing(f)
}

// dry returns the reason why no frames come from an interface, nil if there is none.
func (d *rawDevice) dry() error {
	if d.ring != nil {
		switch errno := d.socketError(); errno {
		case 0:
		case unix.ENETDOWN:
			return d.downOrGone()
		default:
			return d.failed("read", errno)
		}
	}
	if d.isDown {
		return d.downStill()
	}
	return nil
}

// downOrGone tells an interface that is down from one that is not there any
// more: the socket says the same of both, and says it once.
func (d *rawDevice) downOrGone() error {
	_, err := d.bound()
	d.isDown = err == nil
	if err == nil {
		return fmt.Errorf("tap: read %s: %w", d.name, ErrDown)
	}
	return err
}

// downStill looks what has become of an interface that was down.
func (d *rawDevice) downStill() error {
	ifi, err := d.bound()
	if err == nil {
		d.isDown = ifi.Flags&net.FlagUp == 0
	}
	return err
}

// bound returns the interface that the socket is bound to, or ErrGone: the
// kernel unbinds a socket whose interface is deleted or moved away, even if
// another of the same name has come.
func (d *rawDevice) bound() (*net.Interface, error) {
	sa, err := unix.Getsockname(d.fd)
	if ll, ok := sa.(*unix.SockaddrLinklayer); err == nil && ok && ll.Ifindex > 0 {
		if ifi, err := net.InterfaceByIndex(ll.Ifindex); err == nil && ifi.Name == d.ifname {
			return ifi, nil
		}
	}
	return nil, fmt.Errorf("tap: read %s: %w", d.name, ErrGone)
}

// receive is readOne from the socket's queue, with auxiliary data. Without a
// virtio-net header, room for one is left and cleared.
func (d *rawDevice) receive(f *Frame) unix.Errno {
	at := rawHead + d.skip()
	iov := unix.Iovec{Base: &f.Buf[at]}
	iov.SetLen(SlotLen - at)
	msg := unix.Msghdr{Iov: &iov, Control: &d.control[0]}
	msg.SetIovlen(1)
	msg.SetControllen(len(d.control))
	var n uintptr
	for {
		var errno unix.Errno
		n, _, errno = unix.RawSyscall(unix.SYS_RECVMSG, uintptr(d.fd), uintptr(unsafe.Pointer(&msg)), 0)
		if errno == 0 {
			break
		}
		if errno != unix.EINTR {
			return errno
		}
	}
	if !d.vnet {
		clear(f.Buf[rawHead:at])
	}
	f.Head, f.Tail = rawHead, at+int(n)
	if aux := d.auxiliary(int(msg.Controllen)); aux != nil {
		if tpid, tci, ok := vlanTag(aux.Status, aux.Vlan_tpid, aux.Vlan_tci); ok {
			f.insertTag(tpid, tci)
		}
	}
	return 0
}

// auxiliary finds what the kernel says of a frame beside it.
func (d *rawDevice) auxiliary(n int) *unix.TpacketAuxdata {
	if n < unix.SizeofCmsghdr+auxLen {
		return nil
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&d.control[0]))
	if h.Level != unix.SOL_PACKET || h.Type != unix.PACKET_AUXDATA {
		return nil
	}
	return (*unix.TpacketAuxdata)(unsafe.Pointer(&d.control[unix.SizeofCmsghdr]))
}

// vlanTag is the tag that the kernel has taken out of a frame.
func vlanTag(status uint32, tpid, tci uint16) (uint16, uint16, bool) {
	if status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
		tpid = unix.ETH_P_8021Q
	}
	return tpid, tci, status&unix.TP_STATUS_VLAN_VALID != 0
}

// insertTag puts the tag back that the kernel has taken out of a frame.
func (f *Frame) insertTag(tpid, tci uint16) {
	if f.Tail-f.Head >= tagMoves {
		f.PushTag(tpid, tci)
	}
}

// sendBatch is how many frames one system call sends.
const sendBatch = 32

// Write implements Device. Frames go through the qdisc: without the qdisc, the kernel
// would drop super-frames that the interface cannot take.
func (d *rawDevice) Write(frames []Frame) (int, error) {
	if len(frames) < 2 {
		return d.fdDevice.Write(frames)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return 0, os.ErrClosed
	}
	taken := 0
	var first error
	for len(frames) > 0 {
		n, errno := d.send(frames[:min(len(frames), sendBatch)])
		taken += n
		frames = frames[n:]
		if errno == 0 {
			continue
		}
		frames = frames[1:]
		if first == nil {
			first = d.failed("write", errno)
		}
	}
	return taken, first
}

// send sends frames up to one that fails. It returns an error only if the first frame
// fails. The headers that it hands to the kernel lie on the stack: any goroutine may send,
// and nothing keeps hold of the frames.
func (d *rawDevice) send(frames []Frame) (int, unix.Errno) {
	var messages [sendBatch]unix.Mmsghdr
	var parts [sendBatch]unix.Iovec
	for i := range frames {
		f := &frames[i]
		b := f.Buf[f.Head+d.skip() : f.Tail]
		parts[i].Base = unsafe.SliceData(b)
		parts[i].SetLen(len(b))
		messages[i].Hdr.Iov = &parts[i]
		messages[i].Hdr.SetIovlen(1)
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(d.fd), uintptr(unsafe.Pointer(&messages[0])),
			uintptr(len(frames)), unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
