package tap

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// ringSlot is the size of a slot: a full frame of 1500 bytes with its
	// headers, and the kernel's own before it. Larger ones take another way.
	ringSlot = 2048
	// ringSlots is how many frames the kernel may be ahead of the reader, 8 MB.
	ringSlots = 4096
	ringBlock = 64 << 10

	// The parts of a slot's header (struct tpacket2_hdr), in bytes.
	ringLen, ringSnapLen, ringMAC, ringTCI, ringTPID = 4, 8, 12, 24, 26
)

// A packetRing is memory that the kernel and the reader of a packet socket share
// (TPACKET_V2): the kernel puts each small frame into the next slot as it arrives,
// in the sender's time, and the reader takes it without a system call. TPACKET_V3 is
// faster still, but shows frames a millisecond late.
//
// A frame that is larger than a slot, as super-frames are, is queued at the socket
// besides (PACKET_COPY_THRESH); its slot says so, and keeps its place in the order.
type packetRing struct {
	mem  []byte
	next int
}

// newPacketRing gives a socket a ring. It must have its virtio-net header by now.
func newPacketRing(fd int) (*packetRing, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_COPY_THRESH, 1); err != nil {
		return nil, fmt.Errorf("copies of large frames: %w", err)
	}
	req := unix.TpacketReq{Block_size: ringBlock, Block_nr: ringSlots * ringSlot / ringBlock, Frame_size: ringSlot, Frame_nr: ringSlots}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	mem, err := unix.Mmap(fd, 0, ringSlots*ringSlot, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		// The socket must not go on filling what nobody reads.
		_ = unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{})
		return nil, fmt.Errorf("mapping: %w", err)
	}
	return &packetRing{mem: mem}, nil
}

// slot returns the next slot and its status word.
func (r *packetRing) slot() ([]byte, *uint32) {
	s := r.mem[r.next*ringSlot : (r.next+1)*ringSlot : (r.next+1)*ringSlot]
	return s, (*uint32)(unsafe.Pointer(&s[0]))
}

// release gives the next slot back to the kernel and goes on to the one after it.
func (r *packetRing) release(status *uint32) {
	atomic.StoreUint32(status, unix.TP_STATUS_KERNEL)
	r.next = (r.next + 1) % ringSlots
}

func (r *packetRing) close() { _ = unix.Munmap(r.mem) }

// receiveRing is receive by way of the ring. EAGAIN says that it is empty.
func (d *rawDevice) receiveRing(f *Frame) unix.Errno {
	for {
		slot, status := d.ring.slot()
		is := atomic.LoadUint32(status)
		if is&unix.TP_STATUS_USER == 0 {
			return unix.EAGAIN
		}
		length, snapped := binary.NativeEndian.Uint32(slot[ringLen:]), binary.NativeEndian.Uint32(slot[ringSnapLen:])
		switch {
		case is&unix.TP_STATUS_COPY != 0:
			errno := d.receive(f)
			if errno != 0 && errno != unix.EAGAIN {
				return errno // about the interface; the frame can wait
			}
			d.ring.release(status)
			if errno == 0 {
				return 0
			}
		case snapped < length:
			d.ring.release(status) // there was no room for the whole: it is lost
		default:
			d.take(f, slot, int(snapped), is)
			d.ring.release(status)
			return 0
		}
	}
}

// take copies a small frame out of its slot.
func (d *rawDevice) take(f *Frame, slot []byte, n int, status uint32) {
	mac := int(binary.NativeEndian.Uint16(slot[ringMAC:]))
	at := rawHead + d.skip()
	clear(f.Buf[rawHead:at])
	f.Head = rawHead
	f.Tail = at + copy(f.Buf[at:SlotLen], slot[mac-HeaderLen+d.skip():mac+n])
	if status&unix.TP_STATUS_VLAN_VALID != 0 {
		tpid := uint16(unix.ETH_P_8021Q)
		if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = binary.NativeEndian.Uint16(slot[ringTPID:])
		}
		f.insertTag(tpid, binary.NativeEndian.Uint16(slot[ringTCI:]))
	}
}

// socketError takes the error that the socket keeps, as its interface goes down.
func (d *rawDevice) socketError() unix.Errno {
	n, err := unix.GetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || n == 0 {
		return unix.EAGAIN
	}
	return unix.Errno(n)
}

// A sendBatch is what sendmmsg needs for a batch of frames.
type sendBatch struct {
	messages [sendMax]mmsghdr
	vectors  [sendMax]unix.Iovec
}

const sendMax = 64

// A mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// Write implements Device. A batch is one system call.
func (d *rawDevice) Write(frames []Frame) (int, error) {
	if len(frames) < 2 {
		return d.fdDevice.Write(frames)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return 0, os.ErrClosed
	}
	d.sendMu.Lock()
	defer d.sendMu.Unlock()
	taken := 0
	var first error
	for len(frames) > 0 {
		n, errno := d.sendSome(frames[:min(len(frames), sendMax)])
		taken += n
		frames = frames[n:]
		if errno != 0 { // the frame that comes next now
			if first == nil {
				first = d.failed("write", errno)
			}
			frames = frames[1:]
		}
	}
	return taken, first
}

// sendSome sends frames up to the first that is refused.
func (d *rawDevice) sendSome(frames []Frame) (int, unix.Errno) {
	for i := range frames {
		f := &frames[i]
		b := f.Buf[f.Head+d.skip() : f.Tail]
		d.send.vectors[i].Base = unsafe.SliceData(b)
		d.send.vectors[i].SetLen(len(b))
		m := &d.send.messages[i].hdr
		m.Iov = &d.send.vectors[i]
		m.SetIovlen(1)
	}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(d.fd), uintptr(unsafe.Pointer(&d.send.messages[0])),
			uintptr(len(frames)), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return 0, errno
		default:
			// What was refused after others is told by the next call.
			return int(n), 0
		}
	}
}
