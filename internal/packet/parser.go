package packet

// A Parser fills a Packet from any IPv4 frame: plain frames by Packet.Parse, the
// others by a Decoder. The zero value is ready. It is reused for every frame and
// not safe for concurrent use.
type Parser struct {
	// DecodeAll sends plain frames through the Decoder, too. It is slow, and the
	// answer is the same: tests compare the two.
	DecodeAll bool

	decoder Decoder
}

// Parse fills p from the frame in eth, whose virtio-net header is vnet (nil: none).
// Fields of an earlier frame are overwritten. The Ethernet type must have been
// checked to be IPv4. If the fault is not FaultNone, p is only partly filled.
func (r *Parser) Parse(p *Packet, eth, vnet []byte) Fault {
	return r.GoOn(p, eth, vnet, p.Parse(eth, vnet))
}

// GoOn is the rest of Parse for a caller that has called Packet.Parse itself: fault is the result of that call. A
// plain frame does not need it.
func (r *Parser) GoOn(p *Packet, eth, vnet []byte, fault Fault) Fault {
	if fault == NeedsDecoder || r.DecodeAll {
		return r.decoder.Decode(p, eth, vnet)
	}
	return fault
}
