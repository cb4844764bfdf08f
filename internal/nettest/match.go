package nettest

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/taprouter/taprouter/internal/packet"
)

// Match compares a frame with a line, and verifies it. The frame must have every
// property of the line, and right lengths, checksums and payload. A property that the
// line leaves out (ttl, id, tos, seq, options, len, ...) may have any value; df, more
// and off are always compared.
func Match(line string, eth []byte) error {
	if err := Verify(eth); err != nil {
		return fmt.Errorf("%w\n got %s\nwant %s", err, Describe(eth), line)
	}
	want, err := expected(line, eth)
	if err != nil {
		return err
	}
	if bytes.Equal(want[12:], eth[12:]) {
		return nil
	}
	return fmt.Errorf("nettest: another frame\n got %s\nwant %s", Describe(eth), Describe(want))
}

// expected builds the frame of a line, with what it leaves out taken from another.
func expected(line string, eth []byte) ([]byte, error) {
	want, err := Parse(line)
	if err != nil {
		return nil, err
	}
	w := &words{list: splitLine(line)}
	switch typ := binary.BigEndian.Uint16(eth[12:]); {
	case w.peek() == "raw", typ != binary.BigEndian.Uint16(want[12:]):
		return want, nil
	case typ == packet.EtherTypeARP:
		return expectedARP(want, eth), nil
	case typ != packet.EtherTypeIPv4:
		return want, nil
	}
	got := decode(eth[packet.EthernetLen:], false)
	if got == nil {
		return want, nil
	}
	p := w.packet()
	p.fill(got)
	return ethernet(packet.EtherTypeIPv4, p.bytes()), nil
}

// expectedARP takes over the MAC addresses that a line leaves out.
func expectedARP(want, eth []byte) []byte {
	for _, at := range []int{packet.EthernetLen + 8, packet.EthernetLen + 18} {
		if bytes.Equal(want[at:at+6], make([]byte, 6)) && len(eth) >= at+6 {
			copy(want[at:], eth[at:at+6])
		}
	}
	return append(want, eth[min(len(eth), packet.ARPLen):]...) // padding
}

// fill takes over from another packet what p's line leaves out.
func (p *ipPacket) fill(got *ipPacket) {
	if p.proto != got.proto {
		return
	}
	take(p, got, hasTTL, &p.ttl, got.ttl)
	take(p, got, hasTOS, &p.tos, got.tos)
	take(p, got, hasID, &p.id, got.id)
	take(p, got, hasFlags, &p.flags, got.flags)
	take(p, got, hasSeq, &p.seq, got.seq)
	take(p, got, hasAck, &p.ack, got.ack)
	take(p, got, hasWin, &p.window, got.window)
	take(p, got, hasOptions, &p.options, got.options)
	take(p, got, hasIPOptions, &p.ipOptions, got.ipOptions)
	take(p, got, hasEchoID, &p.echoID, got.echoID)
	take(p, got, hasEchoSeq, &p.echoSeq, got.echoSeq)
	take(p, got, hasMTU, &p.mtu, got.mtu)
	take(p, got, hasPointer, &p.pointer, got.pointer)
	take(p, got, hasCut, &p.cut, got.cut)
	take(p, got, hasPad, &p.pad, got.pad)
	p.fillPayload(got)
}

// fillPayload takes over the payload. The checksum of a first fragment is that
// of the whole, which only a line with "of" knows.
func (p *ipPacket) fillPayload(got *ipPacket) {
	noSum := p.proto == packet.ProtoUDP && got.has(hasSum) && got.sum == 0
	if p.more && !p.has(hasOf) || got.has(hasCut) || noSum {
		take(p, got, hasOf, &p.of, got.of)
		take(p, got, hasSum, &p.sum, got.sum)
	}
	switch {
	case p.quote != nil && got.quote != nil:
		p.quote.fill(got.quote)
	case p.quote == nil && got.quote != nil:
		p.quote = got.quote
	case !p.has(hasLen):
		p.length = got.length
		take(p, got, hasData, &p.data, got.data)
	}
}

// take sets *to to from, unless the line gives it.
func take[T any](p, got *ipPacket, f field, to *T, from T) {
	if !p.has(f) {
		*to = from
		p.given |= got.given & f
	}
}
