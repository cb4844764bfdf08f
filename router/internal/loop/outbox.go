package loop

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// An Outbox is the frames that one worker has for one device, until the end of the batch. A link has
// one for its own worker. Another worker that sends to the link has an outbox of its own. An outbox
// belongs to the worker that sends by it.
type Outbox struct {
	Link  *Link        // the device's
	Dev   tap.Device   // nil while the device is away
	Takes tap.Features // which offloaded frames the device takes
	out   []tap.Frame
	Stats LinkStats // of frames sent; of a link's own outbox, also of frames received

	// Of another worker's outbox: the device as it was when a frame was last sent, nil before the first one,
	// and how the last write went.
	Seen  *openDevice
	wrote writeClass
}

// LinkStats count the frames of a link and their bytes: Ethernet frames without the virtio-net header.
type LinkStats struct {
	RxFrames, RxBytes uint64 // received from the device
	TxFrames, TxBytes uint64 // sent to the device
	Lost              uint64 // frames that the device did not take
}

// SendOrLose is Send for a frame that has its verdict: where Send reports false, the frame counts as lost.
func (b *Outbox) SendOrLose(t *Turn, f *tap.Frame, p *packet.Packet, tag uint16) {
	if !b.Send(t, f, p, tag) {
		b.Stats.Lost++
	}
}

// Send queues a frame for a device, in a form that the device takes. p is the frame's parsed form, nil if there
// is none. Send reports false if there is no such form: a super-frame of a protocol that only the device could
// cut. The frame's buffer must stay as it is until the next flush. A frame for a device that is away is lost.
//
// tag is what the frame's IEEE 802.1Q tag holds on the device: priority, drop eligible bit and VLAN; 0: it gets no
// tag. The tag is the last thing that the frame gets, before its addresses in the buffer: so whatever is done in
// software is done to a frame without a tag, and each segment has one. The caller's f has no meaning after that.
func (b *Outbox) Send(t *Turn, f *tap.Frame, p *packet.Packet, tag uint16) bool {
	if b.Dev == nil {
		b.Stats.Lost++
		return true
	}
	h := f.Header()
	if h[0]&virtio.NeedsChecksum == 0 && h[1] == virtio.GSONone || b.carries(h) {
		if tag != 0 {
			f.PushTag(packet.EtherTypeVLAN, tag)
		}
		b.enqueue(t, *f)
		return true
	}
	return b.sendPlain(t, f, p, tag)
}

// carries reports whether the device takes a frame with this header as it is.
func (b *Outbox) carries(h []byte) bool {
	need := tap.FeatureChecksum
	switch h[1] &^ virtio.GSOECN {
	case virtio.GSONone:
	case virtio.GSOTCPv4:
		need |= tap.FeatureTSO4
	case virtio.GSOUDP:
		need |= tap.FeatureUSO
	default:
		need |= tap.FeatureTSO6
	}
	return b.Takes&need == need
}

// sendPlain does in software the work that the device does not do: segments, checksums.
func (b *Outbox) sendPlain(t *Turn, f *tap.Frame, p *packet.Packet, tag uint16) bool {
	eth := f.Ethernet()
	if p == nil {
		p = &t.switched
		if binary.BigEndian.Uint16(eth[12:]) != packet.EtherTypeIPv4 ||
			t.Parser.Parse(p, eth, f.Header()) != packet.FaultNone {
			return b.completeAny(t, f, tag)
		}
	}
	if p.GSOSize == 0 {
		c := *f
		if p.VNet == nil || !p.Partial {
			return b.completeAny(t, f, tag)
		}
		p.CompleteChecksum()
		b.enqueueTagged(t, c, tag)
		return true
	}
	if t.merger != nil {
		t.merger.Cut(f)
	}
	t.segments = t.segments[:0]
	p.Segment(func(n int) []byte {
		s := t.Alloc(n)
		t.segments = append(t.segments, s)
		return s.Ethernet()
	})
	for _, s := range t.segments {
		t.Stats.Made++
		b.enqueueTagged(t, s, tag)
	}
	return true
}

// completeAny finishes the checksum of a frame of any protocol, as its
// virtio-net header describes it; a super-frame that is not IPv4 cannot be cut.
func (b *Outbox) completeAny(t *Turn, f *tap.Frame, tag uint16) bool {
	var h virtio.Header
	if h.Parse(f.Header()); h.GSOType != virtio.GSONone || !h.Complete(f.Ethernet()) {
		return false
	}
	clear(f.Header())
	b.enqueueTagged(t, *f, tag)
	return true
}

// enqueueTagged adds a frame to the batch, with its tag.
func (b *Outbox) enqueueTagged(t *Turn, f tap.Frame, tag uint16) {
	if tag != 0 {
		f.PushTag(packet.EtherTypeVLAN, tag)
	}
	b.enqueue(t, f)
}

// enqueue adds a frame to the batch. It is so short that the compiler puts it into its callers, which saves a copy of
// the frame.
func (b *Outbox) enqueue(t *Turn, f tap.Frame) {
	if len(b.out) == 0 {
		t.dirty = append(t.dirty, b)
	}
	b.out = append(b.out, f)
}

// Write gives the device the frames of the batch, and empties the outbox. Frames that the device does not take are
// lost.
func (b *Outbox) Write(t *Turn) {
	if len(b.out) == 0 {
		return
	}
	if b.Dev == nil {
		b.Stats.Lost += uint64(len(b.out))
		b.out = b.out[:0]
		return
	}
	n, err := b.Dev.Write(b.out)
	b.Stats.TxFrames += uint64(n)
	b.Stats.Lost += uint64(len(b.out) - n)
	narrow := false
	if n == len(b.out) {
		for i := range b.out {
			b.Stats.TxBytes += uint64(b.out[i].Tail - b.out[i].Head - tap.HeaderLen)
		}
	} else if errors.Is(err, syscall.EMSGSIZE) {
		narrow = tagTooLong(b.out, MTUOf(b.Dev))
	}
	b.out = b.out[:0]
	switch {
	case b.Seen != nil:
		b.reportWrite(err, narrow)
	case err != nil:
		b.Link.writeTrouble(t, err, narrow)
	case b.Link.IsDown:
		b.Link.cameUp(t)
	}
}

// Refresh makes another worker's outbox go by the device as it is now (Link.Open), which may be another one.
func (b *Outbox) Refresh(t *Turn, now *openDevice) {
	b.Write(t) // the frames that wait are in a form that the former device takes
	if b.Link != now.link {
		b.Stats = LinkStats{}
	}
	if b.Dev != now.dev {
		b.wrote = wroteWell
	}
	b.Link, b.Seen, b.Dev, b.Takes = now.link, now, now.dev, now.dev.Features()
}

// A writeClass is what a write has shown of another worker's device.
type writeClass uint8

const (
	wroteWell writeClass = iota
	wroteDown
	wroteGone
	wroteElse
	wroteTooLong // some frames with a tag are too long by the tag
)

func classify(err error) writeClass {
	switch {
	case err == nil, errors.Is(err, tap.ErrFull):
		return wroteWell
	case errors.Is(err, tap.ErrDown):
		return wroteDown
	case errors.Is(err, tap.ErrGone), errors.Is(err, os.ErrClosed):
		return wroteGone
	}
	return wroteElse
}

// reportWrite tells the link's own worker what a write by another worker has shown, if that differs from the write
// before.
func (b *Outbox) reportWrite(err error, narrow bool) {
	class, seen := classify(err), b.Seen
	if narrow {
		class = wroteTooLong
	}
	if class == b.wrote && !(class == wroteWell && seen.down) {
		return
	}
	over := class == wroteWell && b.wrote == wroteElse && !seen.down
	b.wrote = class
	if over {
		return // that some frames are refused is logged once
	}
	l := seen.link
	home := l.home
	home.Post(func() {
		switch {
		case l.Dev != seen.dev: // it has been noticed
		case class != wroteWell:
			l.writeTrouble(&home.Turn, err, narrow)
		case l.IsDown:
			l.cameUp(&home.Turn)
		}
	})
}
