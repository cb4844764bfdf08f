package tap

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/taprouter/taprouter/tap/virtio"
)

// A CaptureWriter writes frames of any number of devices into one pcapng file
// (draft-ietf-opsawg-pcapng), which Wireshark and tcpdump read. It is safe for
// concurrent use.
type CaptureWriter struct {
	mu         sync.Mutex
	w          io.Writer
	err        error
	interfaces uint32
	snap       int
	now        func() time.Time
	block      []byte
}

// pcapng block types, options and constants.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6
	byteOrderMagic = 0x1a2b3c4d
	linkEthernet   = 1

	optEnd         = 0
	optComment     = 1
	optIfName      = 2
	optIfTSResol   = 9
	optPacketFlags = 2

	maxOption = 0xfffc // what a length field can say, and a multiple of four

	flagInbound  = "\x01\x00\x00\x00"
	flagOutbound = "\x02\x00\x00\x00"
)

// NewCaptureWriter starts a capture file. Frames are cut after snap bytes; 0
// keeps them whole. It does not buffer: give it a bufio.Writer for speed, and
// flush that at the end.
func NewCaptureWriter(w io.Writer, snap int) (*CaptureWriter, error) {
	if snap <= 0 {
		snap = SlotLen
	}
	c := &CaptureWriter{w: w, snap: snap, now: time.Now}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin(blockSection)
	c.u32(byteOrderMagic)
	c.u32(1)          // version 1.0
	c.u32(0xffffffff) // the section's length is not known ...
	c.u32(0xffffffff) // ... which 64 bits say
	c.end()
	return c, c.err
}

// Interface adds an interface and returns its number for Packet.
func (c *CaptureWriter) Interface(name string) uint32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin(blockInterface)
	c.u32(linkEthernet)
	c.u32(uint32(c.snap))
	c.option(optIfName, name)
	c.option(optIfTSResol, "\x09") // nanoseconds
	c.option(optEnd, "")
	c.end()
	c.interfaces++
	return c.interfaces - 1
}

// Packet adds a frame as it is, with a comment if there is one.
func (c *CaptureWriter) Packet(iface uint32, at time.Time, outbound bool, eth []byte, comment string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := eth[:min(len(eth), c.snap)]
	ns := uint64(at.UnixNano())
	c.begin(blockPacket)
	c.u32(iface)
	c.u32(uint32(ns >> 32))
	c.u32(uint32(ns))
	c.u32(uint32(len(kept)))
	c.u32(uint32(len(eth)))
	c.block = append(c.block, kept...)
	c.pad()
	if outbound {
		c.option(optPacketFlags, flagOutbound)
	} else {
		c.option(optPacketFlags, flagInbound)
	}
	if comment != "" {
		c.option(optComment, comment)
	}
	c.option(optEnd, "")
	c.end()
}

// Frame is Packet for a frame with its virtio-net header, which is not written. An unfinished checksum is finished in
// the capture; the frame is not changed.
func (c *CaptureWriter) Frame(iface uint32, at time.Time, outbound bool, f *Frame, comment string) {
	c.Packet(iface, at, outbound, finished(f), comment)
}

// Err returns the first error of the underlying writer; nothing is written after it.
func (c *CaptureWriter) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// begin starts a block with its type and room for its length. The block is
// built in one buffer that is used again: nothing is allocated for a frame.
func (c *CaptureWriter) begin(kind uint32) {
	c.block = c.block[:0]
	c.u32(kind)
	c.u32(0)
}

// end enters the length, before and behind, and writes the block out.
func (c *CaptureWriter) end() {
	n := uint32(len(c.block) + 4)
	binary.LittleEndian.PutUint32(c.block[4:], n)
	c.u32(n)
	if c.err != nil {
		return
	}
	if _, err := c.w.Write(c.block); err != nil {
		c.err = fmt.Errorf("tap: write capture: %w", err)
	}
}

func (c *CaptureWriter) u32(v uint32) { c.block = binary.LittleEndian.AppendUint32(c.block, v) }

// option adds an option, cut to what its length field can say.
func (c *CaptureWriter) option(code uint16, value string) {
	value = value[:min(len(value), maxOption)]
	c.u32(uint32(code) | uint32(len(value))<<16)
	c.block = append(c.block, value...)
	c.pad()
}

// pad fills up to a multiple of four bytes.
func (c *CaptureWriter) pad() {
	for len(c.block)%4 != 0 {
		c.block = append(c.block, 0)
	}
}

// Capture returns dev with every frame that is read from it or taken by it
// written to w, under the device's name. An unfinished checksum is finished in
// the captured copy; a super-frame is captured whole, as it crosses. Everything
// else is dev's, its Features, descriptor and errors included.
func Capture(dev Device, w *CaptureWriter) Device {
	return &captured{wrapped: wrapped{dev}, w: w, iface: w.Interface(dev.Name())}
}

type captured struct {
	wrapped
	w     *CaptureWriter
	iface uint32
}

// Read implements Device.
func (c *captured) Read(frames []Frame) (int, error) {
	n, err := c.Device.Read(frames)
	now := c.w.now()
	for i := range frames[:n] {
		c.w.Packet(c.iface, now, false, finished(&frames[i]), "")
	}
	return n, err
}

// Write implements Device. The frames are offered one by one, so that only frames
// that the device has taken are captured.
func (c *captured) Write(frames []Frame) (int, error) {
	taken, first := 0, error(nil)
	now := c.w.now()
	for i := range frames {
		n, err := c.Device.Write(frames[i : i+1])
		if n == 1 {
			taken++
			c.w.Packet(c.iface, now, true, finished(&frames[i]), "")
		}
		if err != nil && first == nil {
			first = err
		}
	}
	return taken, first
}

// finished is a frame's bytes, copied and completed if its checksum is not
// finished. The frame itself is not changed: it goes on as it is.
func finished(f *Frame) []byte {
	var h virtio.Header
	h.Parse(f.Header())
	eth := f.Ethernet()
	if h.Flags&virtio.NeedsChecksum == 0 {
		return eth
	}
	eth = append([]byte(nil), eth...)
	h.Complete(eth)
	return eth
}
