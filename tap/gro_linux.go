package tap

import (
	"log/slog"
	"runtime"
	"sync"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A sender without segmentation offload sends TCP in packets of the MTU. The kernel can join them before the device
// reads them (generic receive offload, GRO), cheaper than the router can. Drivers have that on, except veth's. So it is
// switched on where it is off, for as long as the device is open. A mark in the interface's alias has the next start
// put it back after kill -9.
//
// One feature is read and written by two old requests of ethtool's ioctl. x/sys has the numbers of these only;
// netlink has less. A package for all features (safchain/ethtool) would be a dependency for these few lines.

// A joiner is the GRO of a raw device's interface.
type joiner struct {
	name  string // of the device, in messages
	fd    int    // a socket in the namespace of the interface; its owner ends the joiner before closing it
	index int
	may   bool // switch it on: nobody else has use of the interface
	log   *slog.Logger

	mu     sync.Mutex
	handle *netlink.Handle // nil: there is nothing to switch
	ours   bool            // it is on, and was off before this process or a former one switched it
}

// start looks what there is to switch. A socket for netlink is open from then on if there is something: others may
// call from a thread in another namespace later.
func (j *joiner) start(link netlink.Link) {
	j.index = link.Attrs().Index
	on, err := j.read()
	if err != nil {
		j.log.Debug("the interface does not say whether it joins segments", "device", j.name, "err", err)
		return
	}
	_, _, marked := groMark.cut(link.Attrs().Alias)
	if on && !marked || !marked && !j.may {
		return
	}
	if j.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		j.log.Debug("segments are not joined by the interface", "device", j.name, "err", err)
		return
	}
	if j.ours = on; marked && !on {
		j.unmark() // somebody has switched it off since
	}
}

// set switches it on, or puts it back. Where that fails, segments come one by one, as they would have before.
func (j *joiner) set(on bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.handle == nil:
	case !on || !j.may:
		j.restore()
	case !j.ours:
		j.begin()
	}
}

// begin switches it on, unless somebody else has done that meanwhile.
func (j *joiner) begin() {
	on, err := j.read()
	if on {
		return
	}
	if err == nil {
		err = groMark.put(j.handle, j.index, 0)
	}
	if err == nil {
		if err = j.write(1); err != nil {
			j.unmark()
		}
	}
	if err != nil {
		j.log.Debug("segments are not joined by the interface", "device", j.name, "err", err)
		return
	}
	j.ours = true
	j.log.Info("the interface joins segments while the device is open (GRO is on, and was off)", "device", j.name)
}

// restore switches it off if this process or a former one has switched it on. If somebody else has switched it off
// since, it stays off.
func (j *joiner) restore() {
	if !j.ours {
		return
	}
	j.ours = false
	on, err := j.read()
	if err == nil && on {
		err = j.write(0)
	}
	if isErrno(err, unix.ENODEV, unix.ENXIO) {
		return // it is gone, and its alias, too
	}
	if err != nil {
		j.log.Warn("GRO of the interface is not put back", "device", j.name, "err", err)
		return
	}
	j.unmark()
}

func (j *joiner) unmark() {
	if err := groMark.remove(j.handle, j.index); err != nil {
		j.log.Warn("the alias of the interface is not put back", "device", j.name, "err", err)
	}
}

// end puts it back, and lets go of the socket. Further calls do nothing.
func (j *joiner) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.handle != nil {
		j.restore()
		j.handle.Close()
		j.handle = nil
	}
}

func (j *joiner) read() (on bool, err error) {
	v := ethtoolValue{cmd: unix.ETHTOOL_GGRO}
	err = j.ethtool(&v)
	return v.data != 0, err
}

func (j *joiner) write(data uint32) error { return j.ethtool(&ethtoolValue{unix.ETHTOOL_SGRO, data}) }

// An ethtoolValue is a request about one number (struct ethtool_value in include/uapi/linux/ethtool.h).
type ethtoolValue struct{ cmd, data uint32 }

// ethtool makes a request about the interface, by the name that it has at this moment. EOPNOTSUPP: its driver cannot.
func (j *joiner) ethtool(v *ethtoolValue) error {
	name, err := unix.NewIfreq("")
	if err != nil {
		return err
	}
	name.SetUint32(uint32(j.index))
	if err := unix.IoctlIfreq(j.fd, unix.SIOCGIFNAME, name); err != nil {
		return err
	}
	req := struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(v)}
	copy(req.name[:], name.Name())
	err = ioctl(j.fd, unix.SIOCETHTOOL, unsafe.Pointer(&req))
	runtime.KeepAlive(v)
	return err
}
