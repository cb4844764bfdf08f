package packet

import "encoding/binary"

// The IP options that a router takes part in (RFC 791, 3.1).
const (
	optionEnd         = 0
	optionNop         = 1
	optionRoute       = 7   // record route
	optionStamp       = 68  // Internet timestamp
	optionLooseRoute  = 131 // loose source and record route
	optionStrictRoute = 137 // strict source and record route
)

// What a timestamp option records (its flags).
const (
	stampOnly    = 0 // the time
	stampAddress = 1 // address and time
	stampAsked   = 3 // the time, where the next address is the router's own
)

// IPOptions is what the options of one packet ask of a router (RFC 791, 3.1; RFC 1812,
// 5.3.13). Offsets are bytes from the start of the Ethernet header; 0 means that the packet does
// not ask for that. The zero value asks for nothing.
type IPOptions struct {
	// SourceRoute: the packet wants to go by a way of its sender's choice.
	SourceRoute bool
	// Malformed is the octet that is wrong, counted from the start of the IP header, as
	// the pointer of an ICMP parameter problem is.
	Malformed uint8

	route    int   // a record route option with room for an address
	stamp    int   // a timestamp option with room
	stamps   uint8 // the flags of the option at stamp
	overflow int   // a timestamp option without room
}

// ReadOptions fills o from the options of a packet whose header has been parsed. It stops
// at the first malformed one, since the next option cannot be found then.
func (p *Packet) ReadOptions(o *IPOptions) {
	*o = IPOptions{}
	var route, stamp bool
	for at := EthernetLen + IPv4Len; at < p.L4 && p.Eth[at] != optionEnd; {
		kind, rest := p.Eth[at], p.Eth[at:p.L4]
		if kind == optionNop {
			at++
			continue
		}
		if kind == optionLooseRoute || kind == optionStrictRoute {
			o.SourceRoute = true
		}
		if len(rest) < 2 || rest[1] < 2 || int(rest[1]) > len(rest) {
			o.Malformed = uint8(at - EthernetLen)
			return
		}
		wrong, option := -1, rest[:rest[1]]
		switch kind {
		case optionRoute:
			wrong = o.readRoute(option, at, route)
			route = true
		case optionStamp:
			wrong = o.readStamp(option, at, stamp)
			stamp = true
		}
		if wrong >= 0 {
			o.Malformed = uint8(at - EthernetLen + wrong)
			return
		}
		at += len(option)
	}
}

// readRoute looks at a record route option, and returns the octet of it that is wrong, or
// -1. There may be one in a packet.
func (o *IPOptions) readRoute(option []byte, at int, again bool) (wrong int) {
	const least, addrLen = 4, 4
	switch {
	case again:
		return 0
	case len(option) < 3:
		return 1
	case option[2] < least:
		return 2
	case int(option[2]) > len(option):
		return -1 // full: it goes on as it is
	case int(option[2])-1+addrLen > len(option):
		return 2 // some room, but not enough
	}
	o.route = at
	return -1
}

// readStamp does the same for a timestamp option. Flags that no RFC knows ask nothing.
func (o *IPOptions) readStamp(option []byte, at int, again bool) (wrong int) {
	const least, overflow = 5, 3
	switch {
	case again:
		return 0
	case len(option) < 4:
		return 1
	case option[2] < least:
		return 2
	}
	flags := option[overflow] & 15
	need := entryLen(flags)
	switch {
	case need == 0:
		return -1
	case int(option[2])-1+need <= len(option):
		o.stamp, o.stamps = at, flags
	case int(option[2]) <= len(option):
		return 2 // some room, but not enough
	case flags == stampAsked:
		// All that were asked have answered.
	case option[overflow]>>4 == 15:
		return overflow // the counter of routers without room is full, too
	default:
		o.overflow = at
	}
	return -1
}

// entryLen is the length of an entry of a timestamp option with these flags, 0: unknown.
func entryLen(flags uint8) int {
	switch flags {
	case stampOnly:
		return 4
	case stampAddress, stampAsked:
		return 8
	}
	return 0
}

// Asked is the address in a timestamp option whose owner is to fill in the time, 0: none.
func (p *Packet) Asked(o *IPOptions) Addr {
	if o.stamp == 0 || o.stamps != stampAsked {
		return 0
	}
	return ReadAddr(p.slot(o.stamp))
}

// Record enters a router into the options that ask for it: addr, its address on the network that
// the packet leaves to (RFC 1812, 4.2.2.2), and stamp, the time. stamp is in milliseconds since
// midnight UT, or has its highest bit set (RFC 791, 3.1). mine says that the address that Asked
// returned is the router's own. It corrects the header checksum. It does not check the
// options again: the header must be as ReadOptions has seen it.
func (p *Packet) Record(o *IPOptions, addr Addr, stamp uint32, mine bool) {
	if o.route != 0 {
		addr.Put(p.slot(o.route))
		p.Eth[o.route+2] += 4
	}
	if o.stamp != 0 && (o.stamps != stampAsked || mine) {
		slot := p.slot(o.stamp)
		if o.stamps == stampAddress {
			addr.Put(slot)
		}
		n := entryLen(o.stamps)
		binary.BigEndian.PutUint32(slot[n-4:], stamp)
		p.Eth[o.stamp+2] += uint8(n)
	}
	if o.overflow != 0 {
		p.Eth[o.overflow+3] += 1 << 4
	}
	SetIPv4Checksum(p.Eth[EthernetLen:])
}

// slot is where the next entry of an option goes, and what follows it.
func (p *Packet) slot(option int) []byte { return p.Eth[option+int(p.Eth[option+2])-1:] }
