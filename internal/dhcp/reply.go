package dhcp

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Sizes in bytes. A client takes an IP packet of 576 bytes; with option 57 it says that it takes more (RFC 2132, 9.10).
const (
	leastPacket  = 576
	packetHeader = 28  // of IP and UDP
	leastMessage = 300 // of BOOTP (RFC 1542, 2.1), which some relays and clients insist on
	headerSize   = 240 // with the cookie
	fileSize     = 128
	snameSize    = 64
)

// An optionValue is an option of a message that is being written.
type optionValue struct {
	code  uint8
	value []byte
}

// size is how many bytes the option takes. One of more than 255 bytes is written in parts (RFC 3396).
func (o optionValue) size() int {
	parts := max(1, (len(o.value)+254)/255)
	return 2*parts + len(o.value)
}

// appendTo writes the option.
func (o optionValue) appendTo(b []byte) []byte {
	rest := o.value
	for {
		n := min(len(rest), 255)
		b = append(append(b, o.code, byte(n)), rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			return b
		}
	}
}

// A reply is an answer that is being made.
type reply struct {
	m       *message
	kind    dhcpv4.MessageType
	server  netip.Addr // option 54
	address netip.Addr // yiaddr
	values  map[uint8][]byte
	lease   time.Duration // 0: the answer gives no address
	text    string        // option 56
	limit   int           // of the payload, in bytes
}

// encode writes the payload of an answer.
func (r *reply) encode() []byte {
	q := r.m.packet
	p := dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootReply, HWType: q.HWType, TransactionID: q.TransactionID, Flags: q.Flags,
		YourIPAddr: ip(r.address), GatewayIPAddr: q.GatewayIPAddr, ClientHWAddr: q.ClientHWAddr,
	}
	switch r.kind {
	case dhcpv4.MessageTypeAck:
		p.ClientIPAddr = q.ClientIPAddr
	case dhcpv4.MessageTypeNak:
		if r.m.relayed() {
			p.Flags |= 0x8000 // RFC 2131, 4.3.2
		}
	}
	r.boot(&p)
	options, last := r.options()
	room := r.limit - headerSize - 1
	for _, o := range last {
		room -= o.size()
	}
	main, file, sname := place(options, room, p.BootFileName == "", p.ServerHostName == "")
	b := p.ToBytes()[:headerSize]
	copy(b[fileStart:], file)
	copy(b[snameStart:], sname)
	b = append(b, main...)
	for _, o := range last {
		b = o.appendTo(b)
	}
	b = append(b, dhcpv4.OptionEnd.Code())
	if len(b) < leastMessage {
		b = append(b, make([]byte, leastMessage-len(b))...)
	}
	return b
}

// boot fills in the fields for clients that boot from the network. They are for clients without the options of the same
// meaning.
func (r *reply) boot(p *dhcpv4.DHCPv4) {
	if len(r.values) == 0 {
		return
	}
	server := r.values[dhcpv4.OptionTFTPServerName.Code()]
	if v := r.values[OptionNextServer]; len(v) == net.IPv4len {
		p.ServerIPAddr = v
	} else if a, err := netip.ParseAddr(string(server)); err == nil && a.Is4() {
		p.ServerIPAddr = a.AsSlice()
	}
	if len(server) < snameSize {
		p.ServerHostName = string(server)
	}
	if file := r.values[dhcpv4.OptionBootfileName.Code()]; len(file) < fileSize {
		p.BootFileName = string(file)
	}
}

// options lists the options of the answer in the order in which they are written. The last ones have to find room.
func (r *reply) options() (list, last []optionValue) {
	add := func(code dhcpv4.OptionCode, v []byte) { list = append(list, optionValue{code.Code(), v}) }
	add(dhcpv4.OptionDHCPMessageType, []byte{byte(r.kind)})
	add(dhcpv4.OptionServerIdentifier, r.server.AsSlice())
	if r.lease > 0 {
		add(dhcpv4.OptionIPAddressLeaseTime, seconds(r.lease))
		add(dhcpv4.OptionRenewTimeValue, seconds(r.lease/2))
		add(dhcpv4.OptionRebindingTimeValue, seconds(r.lease*7/8))
	}
	if r.text != "" {
		add(dhcpv4.OptionMessage, []byte(r.text))
	}
	done := map[uint8]bool{OptionNextServer: true}
	for _, o := range list {
		done[o.code] = true
	}
	for _, code := range r.order() {
		if v, ok := r.values[code]; ok && v != nil && !done[code] {
			list, done[code] = append(list, optionValue{code, v}), true
		}
	}
	// RFC 6842, and RFC 3046, 2.2.
	for _, code := range []dhcpv4.OptionCode{dhcpv4.OptionClientIdentifier, dhcpv4.OptionRelayAgentInformation} {
		if v := r.m.packet.Options.Get(code); v != nil {
			last = append(last, optionValue{code.Code(), v})
		}
	}
	return list, last
}

// order is the order of the options that the client has asked for (RFC 2132, 9.8): a client that asks for
// nothing gets all. The routes come before the router, because clients that know both go by the routes (RFC 3442).
func (r *reply) order() []uint8 {
	mask, router := dhcpv4.OptionSubnetMask.Code(), dhcpv4.OptionRouter.Code()
	routes := dhcpv4.OptionClasslessStaticRoute.Code()
	asked := r.m.packet.Options.Get(dhcpv4.OptionParameterRequestList)
	order := []uint8{mask}
	if len(asked) == 0 {
		order = append(order, routes, router)
		all := make([]uint8, 0, len(r.values))
		for code := range r.values {
			all = append(all, code)
		}
		slices.Sort(all)
		return append(order, all...)
	}
	for _, code := range asked {
		if code == router && bytes.IndexByte(asked, routes) >= 0 {
			order = append(order, routes)
		}
		order = append(order, code)
	}
	return order
}

// place puts options into a message with room for so many bytes of them, the first ones first. What does not fit goes
// into the fields of names where they are free (RFC 2131, 4.1), or else is left out.
func place(options []optionValue, room int, fileFree, snameFree bool) (main, file, sname []byte) {
	whole := 0
	for _, o := range options {
		whole += o.size()
	}
	if whole <= room {
		for _, o := range options {
			main = o.appendTo(main)
		}
		return main, nil, nil
	}
	const overload = 3 // the size of the option that says where the others are
	fields := []struct {
		b    []byte
		room int
	}{{nil, 0}, {nil, 0}}
	if fileFree {
		fields[0].room = fileSize - 1 // and the end option
	}
	if snameFree {
		fields[1].room = snameSize - 1
	}
	room -= overload
	for _, o := range options {
		n := o.size()
		switch {
		case n <= room:
			main, room = o.appendTo(main), room-n
		case n <= fields[0].room:
			fields[0].b, fields[0].room = o.appendTo(fields[0].b), fields[0].room-n
		case n <= fields[1].room:
			fields[1].b, fields[1].room = o.appendTo(fields[1].b), fields[1].room-n
		}
	}
	used := byte(0)
	for i := range fields {
		if f := &fields[i]; f.b != nil {
			f.b = append(f.b, dhcpv4.OptionEnd.Code())
			used |= 1 << i
		}
	}
	if used != 0 {
		main = append(main, dhcpv4.OptionOptionOverload.Code(), 1, used)
	}
	return main, fields[0].b, fields[1].b
}

// seconds writes a duration as options have it: whole seconds, and not the number that means for ever.
func seconds(d time.Duration) []byte {
	n := min(d/time.Second, 1<<32-2)
	return binary.BigEndian.AppendUint32(nil, uint32(n))
}

// ip is an address as the library has it.
func ip(a netip.Addr) net.IP {
	if !a.IsValid() {
		return nil
	}
	return a.AsSlice()
}

// room is how long a payload may be for a client: what it says, but not more than the network carries in one packet.
func room(m *message, mtu int) int {
	size := leastPacket
	if n, err := m.packet.MaxMessageSize(); err == nil {
		size = int(n)
	}
	if mtu > 0 {
		size = min(size, mtu)
	}
	return max(size, leastPacket) - packetHeader
}
