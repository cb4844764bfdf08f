// Package tap moves Ethernet frames between the router and the world: TAP
// devices, raw (AF_PACKET) attachments and in-memory pipes, all behind one
// batched interface, and wrappers round any of them (capture, faults).
//
// It knows nothing of IP. A frame carries its offload metadata in front of it,
// as a virtio-net header (package virtio), so that a 64 KB super-frame with
// an unfinished checksum crosses the process as one frame.
package tap

import (
	"errors"

	"github.com/taprouter/taprouter/tap/virtio"
)

const (
	// HeaderLen is the size of the virtio-net header before every frame, in bytes.
	HeaderLen = virtio.HeaderLen
	// Headroom is the room that Read leaves before the header, in bytes.
	Headroom = 64
	// SlotLen is the size of a buffer that holds any frame: headroom, header,
	// Ethernet header with a VLAN tag, 65535 bytes of payload.
	SlotLen = 68 << 10
	// BatchBytes bounds what one Read returns, in bytes: a super-frame is to be
	// written while it is warm in the cache.
	BatchBytes = 64 << 10
)

var (
	// ErrDown says that the device exists but is down: frames written to it are lost,
	// and it works again when it is up.
	ErrDown = errors.New("device is down")
	// ErrGone says that the device does not exist any more: close and reopen it.
	ErrGone = errors.New("device is gone")
	// ErrMissing says that the network interface or the network namespace does not exist on
	// which a device is to be opened. Opening it may succeed once that exists.
	ErrMissing = errors.New("does not exist")
	// ErrBusy says that the device is being changed, which takes some milliseconds: call
	// Read again then, whether or not frames are announced.
	ErrBusy = errors.New("device is being changed")
	// ErrFull says that a frame was lost because the far end does not keep up.
	ErrFull = errors.New("device queue is full")
)

// Features says what frames a device takes on Write, as bits.
type Features uint8

// The bits of Features.
const (
	FeatureChecksum Features = 1 << iota // unfinished TCP and UDP checksums
	FeatureTSO4                          // TCP over IPv4 super-frames
	FeatureTSO6                          // TCP over IPv6 super-frames
	FeatureUSO                           // UDP super-frames
)

// A Frame is one Ethernet frame with its metadata, in a slot of the
// caller's buffer: Buf[Head:Head+HeaderLen] is the virtio-net header (little-endian),
// Buf[Head+HeaderLen:Tail] the frame without its frame check sequence.
type Frame struct {
	Buf        []byte
	Head, Tail int
}

// Header returns the virtio-net header's bytes.
func (f *Frame) Header() []byte { return f.Buf[f.Head : f.Head+HeaderLen] }

// Ethernet returns the frame's bytes.
func (f *Frame) Ethernet() []byte { return f.Buf[f.Head+HeaderLen : f.Tail] }

// A Device sends and receives frames in batches. Read and Write never block.
// One goroutine reads; any may write or close, at any time.
type Device interface {
	// Name is what messages call the device, such as tap:tap100.
	Name() string
	// Features says what Write takes. Frames that use anything else must be
	// segmented and have their checksums completed first.
	Features() Features
	// Read fills frames in order and returns how many: 0 and nil when nothing
	// waits. Every Buf must be at least SlotLen long; Read sets Head (at least
	// Headroom) and Tail. It stops early once BatchBytes are read (headers
	// included); if it returns fewer frames and fewer bytes than that, there was
	// nothing more, and a descriptor becomes readable again when there is. The
	// caller owns the buffers. Errors: os.ErrClosed after Close; ErrDown, ErrGone and
	// ErrBusy, wrapped.
	Read(frames []Frame) (int, error)
	// Write sends every frame and returns how many were taken, with the first
	// error. It keeps no reference to the buffers and does not change them.
	Write(frames []Frame) (int, error)
	// FD is the descriptor to poll for reading, or -1 for a device in memory.
	FD() int
	// Notify sets what a device in memory calls, from any goroutine, when a
	// frame arrives at an empty queue or the far end closes. A device with a
	// descriptor ignores it. Set it before the first Read.
	Notify(func())
	// Close ends the device: Read and Write return os.ErrClosed from then on.
	// A TAP that the process made goes with it. Several devices are closed at
	// the same time: a lock guards what they share.
	Close() error
}

// String names the features, joined by "+", or "none".
func (f Features) String() string {
	s := ""
	for i, name := range []string{"csum", "tso4", "tso6", "uso"} {
		if f&(1<<i) != 0 {
			s += "+" + name
		}
	}
	if s == "" {
		return "none"
	}
	return s[1:]
}

// wrapped is a device in a wrapper, with the methods that only some devices have.
type wrapped struct{ Device }

// MTU is the largest packet that the device takes, in bytes; 0 if it does not say.
func (d wrapped) MTU() int {
	if m, ok := d.Device.(interface{ MTU() int }); ok {
		return m.MTU()
	}
	return 0
}

// SetGRO tells the device whether the kernel is to join segments, if it wants to know.
func (d wrapped) SetGRO(on bool) {
	if g, ok := d.Device.(interface{ SetGRO(bool) }); ok {
		g.SetGRO(on)
	}
}

// SetMTU tells the device its MTU, if it wants to know.
func (d wrapped) SetMTU(mtu int) error {
	if m, ok := d.Device.(interface{ SetMTU(int) error }); ok {
		return m.SetMTU(mtu)
	}
	return nil
}
