package dhcp

import (
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A Request is a message to UDP port 67, as it came.
type Request struct {
	Payload   []byte     // of UDP; the server does not keep it
	SourceMAC MAC        // of the frame
	Src, Dst  netip.Addr // of the packet
	Device    string     // where the frame came in
}

// An Answer is a message to send from UDP port 67.
type Answer struct {
	Payload []byte         // of UDP; the caller's. Nil: there is nothing to send
	To      netip.AddrPort // 255.255.255.255:68, a client's address and port 68, or a relay's and port 67
	ToMAC   MAC            // of the frame: broadcast, the client, or whoever has handed over the request
	From    netip.Addr     // the server's address
	Reason  Reason         // what kind of answer it is, or why there is none
	Address netip.Addr     // that was offered, acknowledged or refused, for logs
	Client  MAC            // who has asked, for logs
}

// An exchange is one message on its way to its answer.
type exchange struct {
	now    time.Time
	c      *Config
	rq     *Request
	m      message
	port   *Port
	places []*Subnet // the subnets that the client may be in
	answer *Answer
}

// serve finds the answer to one message.
func (s *Server) serve(now time.Time, c *Config, rq *Request, answer *Answer) {
	x := &exchange{now: now, c: c, rq: rq, answer: answer}
	if !s.devices.allow(now, rq.Device) {
		answer.Reason = TooMany
		return
	}
	m, why, ok := decode(rq.Payload)
	if !ok {
		answer.Reason = why
		return
	}
	x.m, answer.Client = m, m.mac
	sender := rq.SourceMAC
	if m.relayed() {
		sender = m.mac
	}
	if !s.macs.allow(now, sender) {
		answer.Reason = TooMany
		return
	}
	device := rq.Device
	if m.relayed() {
		device = ""
	}
	if c.Port != nil {
		x.port = c.Port(m.mac, device)
	}
	x.findPlaces()
	answer.Reason = s.react(x)
}

// findPlaces finds the subnets that the client may be in: that of the relay's link, that of the address with which it
// asks for itself from elsewhere, or all.
func (x *exchange) findPlaces() {
	for i := range x.c.Subnets {
		sub := &x.c.Subnets[i]
		if !sub.CIDR.Addr().Is4() || !sub.Server.Is4() {
			continue
		}
		if !x.m.relayed() || sub.CIDR.Contains(x.m.link) {
			x.places = append(x.places, sub)
		}
	}
}

// onLink says whether the sender of the frame is the client itself, on a subnet of the network.
func (x *exchange) onLink() bool {
	return !x.m.relayed() && (!given(x.rq.Src).IsValid() || subnetOf(x.places, x.rq.Src) != nil)
}

// react answers a message by its kind.
func (s *Server) react(x *exchange) Reason {
	switch x.m.kind {
	case dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline, dhcpv4.MessageTypeRelease,
		dhcpv4.MessageTypeInform:
	case dhcpv4.MessageTypeNone:
		return Malformed // BOOTP, for one, which has no kinds
	default:
		return NotRequest
	}
	if len(x.places) == 0 {
		return NoSubnet
	}
	if x.port == nil && !x.c.Unknown {
		return NoPort
	}
	switch x.m.kind {
	case dhcpv4.MessageTypeDiscover:
		return s.discover(x)
	case dhcpv4.MessageTypeRequest:
		return s.request(x)
	case dhcpv4.MessageTypeInform:
		return s.inform(x)
	}
	if x.m.server.IsValid() && !x.isServer(x.m.server) {
		return OtherServer
	}
	if x.onLink() && x.rq.SourceMAC != x.m.mac {
		return NoLease // nobody gives back the address of another one
	}
	if x.m.kind == dhcpv4.MessageTypeDecline {
		return s.decline(x)
	}
	return s.release(x)
}

// isStatic says whether the client's addresses are its port's.
func (x *exchange) isStatic() bool { return x.port != nil && len(x.port.Addresses) > 0 }

// static finds the address of the client's port: the one that it asks for, if it is one of them, or else the first
// that is in a place of the client.
func (x *exchange) static() (netip.Addr, *Subnet) {
	if a := x.m.address(); slices.Contains(x.port.Addresses, a) {
		if sub := subnetOf(x.places, a); sub != nil {
			return a, sub
		}
	}
	for _, a := range x.port.Addresses {
		if sub := subnetOf(x.places, a); sub != nil {
			return a, sub
		}
	}
	return netip.Addr{}, nil
}

// discover offers an address.
func (s *Server) discover(x *exchange) Reason {
	if x.isStatic() {
		a, sub := x.static()
		if sub == nil {
			return NoAddress
		}
		x.offer(a, sub)
		return Offered
	}
	if !x.c.Unknown {
		return NoAddress
	}
	t := s.table
	key := t.key(x.m.mac, x.m.id)
	if e := t.byKey[key]; e != nil {
		if sub := subnetOf(x.places, e.Address); sub != nil && sub.inPool(e.Address) && !s.isTaken(x.c, e.Address) {
			if e.state == offered {
				s.reserve(x, key, e.Address)
			}
			x.offer(e.Address, sub)
			return Offered
		}
	} else if s.isFull(x) {
		return Full
	}
	a := s.choose(x.c, x.places, key, x.m.requested)
	if !a.IsValid() {
		s.sayOnce("pool", "no address is left in the pools for %v", hardware(x.m.mac))
		return PoolEmpty
	}
	s.over("pool")
	s.reserve(x, key, a)
	x.offer(a, subnetOf(x.places, a))
	return Offered
}

// isFull says whether the client may not have an address, because the network, its device or its MAC address has as
// many as it may.
func (s *Server) isFull(x *exchange) bool {
	t := s.table
	limit := x.c.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	if len(t.leases) >= limit {
		s.sayOnce("limit", "the network has %d leases, which is its limit", limit)
		return true
	}
	s.over("limit")
	device := x.rq.Device
	if n := x.c.DeviceLimit; n > 0 && t.perDevice[device] >= n {
		s.sayOnce("device "+device, "the clients at device %s have %d addresses, which is its limit", device, n)
		return true
	}
	s.over("device " + device)
	return t.perMAC[x.m.mac] >= maxPerMAC
}

// reserve keeps an offered address for the client.
func (s *Server) reserve(x *exchange, key string, a netip.Addr) {
	e := &entry{Lease: x.lease(s.network, key, a), state: offered}
	e.Ends = x.now.Add(offerTime)
	s.table.put(e)
}

// lease is a lease of the client that begins now. Its end is open.
func (x *exchange) lease(network, key string, a netip.Addr) Lease {
	return Lease{Network: network, Address: a, Client: key, MAC: x.m.mac, ClientID: x.m.id, Hostname: x.m.hostname,
		Device: x.rq.Device, Began: x.now}
}

// request gives a client the address that it asks for, or says that it may not have it. A client that the server knows
// nothing of gets the address, too, if it is free: a client keeps its address when the server was started anew without
// a store. For all addresses that it serves the server is authoritative.
func (s *Server) request(x *exchange) Reason {
	if x.m.server.IsValid() && !x.isServer(x.m.server) {
		if e := s.table.byKey[s.table.key(x.m.mac, x.m.id)]; e != nil && e.state == offered {
			s.table.remove(e)
		}
		return OtherServer
	}
	a := x.m.address()
	if !a.IsValid() {
		return Malformed
	}
	sub := subnetOf(x.places, a)
	if x.isStatic() {
		if sub == nil || !slices.Contains(x.port.Addresses, a) {
			return x.refuse(a, "this is not the address of your port")
		}
		s.replaceDynamic(x)
		x.acknowledge(a, sub, sub.leaseTime())
		return Acknowledged
	}
	if !x.c.Unknown {
		return NoAddress
	}
	t := s.table
	key := t.key(x.m.mac, x.m.id)
	e := t.byAddr[a]
	switch {
	case sub == nil:
		return x.refuse(a, "this address is not of this network")
	case !sub.inPool(a) || s.isTaken(x.c, a):
		return x.refuse(a, "this address is not for clients without a port")
	case e != nil && (e.state == quarantined || e.Client != key):
		return x.refuse(a, "another client has this address")
	case t.byKey[key] == nil && s.isFull(x):
		return Full
	case s.collides(key, a):
		s.flush() // what it takes back may change the answer
		return s.request(x)
	}
	s.grant(x, key, a, sub)
	return Acknowledged
}

// grant gives a client a lease, in the place of one that it has, or has it for longer.
func (s *Server) grant(x *exchange, key string, a netip.Addr, sub *Subnet) {
	t := s.table
	d := x.leaseTime(sub)
	l := x.lease(s.network, key, a)
	l.Ends = x.now.Add(d)
	p := pending{answer: x.answer}
	if e := t.byAddr[a]; e != nil && e.state == leased {
		was := e.Lease
		l.Began = was.Began
		if l.Hostname == "" {
			l.Hostname = was.Hostname
		}
		t.extend(e, l)
		p.undo = func() { t.extend(e, was) }
	} else {
		prev := t.byKey[key]
		e := &entry{Lease: l, state: leased}
		t.put(e)
		p.undo = func() { t.remove(e) }
		if prev != nil && prev.state == leased {
			p.before = &prev.Lease
			p.undo = func() {
				t.remove(e)
				t.put(copyOf(prev))
			}
		}
	}
	p.Change = Change{l, false}
	x.acknowledge(a, sub, d)
	s.pending = append(s.pending, p)
}

// replaceDynamic ends the dynamic lease of a client that is a port by now.
func (s *Server) replaceDynamic(x *exchange) {
	if e := s.table.byKey[s.table.key(x.m.mac, x.m.id)]; e != nil {
		if e.state == leased {
			s.drop(e, nil)
		} else {
			s.table.remove(e)
		}
	}
}

// leaseTime is how long the subnet's leases last.
func (s *Subnet) leaseTime() time.Duration {
	if d := s.LeaseTime.Truncate(time.Second); d > 0 {
		return d
	}
	return DefaultLeaseTime
}

// leastLease is the shortest lease that a client can ask for.
const leastLease = time.Minute

// leaseTime is how long a lease lasts: as the subnet says, or shorter if the client asks for that.
func (x *exchange) leaseTime(sub *Subnet) time.Duration {
	d := sub.leaseTime()
	if asked := x.m.packet.IPAddressLeaseTime(0); asked > 0 {
		d = min(d, max(asked, leastLease))
	}
	return d
}

// decline takes an address that another host uses out of the pools for a while. The address of a port stays its
// address: the port would be without one.
func (s *Server) decline(x *exchange) Reason {
	a := x.m.requested
	if x.isStatic() {
		if !slices.Contains(x.port.Addresses, a) {
			return NoLease
		}
		s.sayOnce("declined "+a.String(), "%v of the port with MAC address %v is used by another host, says the port",
			a, hardware(x.m.mac))
		return Declined
	}
	e := s.own(x, a)
	if e == nil {
		return NoLease
	}
	if s.collides(e.Client, a) {
		s.flush() // what it takes back may change the answer
		return s.decline(x)
	}
	if e.state == leased {
		s.drop(e, x.answer)
	} else {
		s.table.remove(e)
	}
	s.quarantine(x, a)
	s.words = append(s.words, "address "+a.String()+" is used by another host, says the client "+hardware(x.m.mac)+
		": it is not given out for "+quarantineTime.String())
	return Declined
}

// quarantine keeps a free address from all clients for a while, also when the server is started anew. If it cannot be
// written down, it is forgotten then.
func (s *Server) quarantine(x *exchange, a netip.Addr) {
	if q := s.table.quarantine; q.Len() >= maxQuarantine {
		s.drop(q.Front().Value.(*entry), nil)
	}
	l := x.lease(s.network, declinedPrefix+a.String(), a)
	l.Ends, l.Declined = x.now.Add(quarantineTime), true
	s.table.put(&entry{Lease: l, state: quarantined})
	s.pending = append(s.pending, pending{Change: Change{l, false}, undo: func() {}})
}

// release takes back the address of a client.
func (s *Server) release(x *exchange) Reason {
	a := x.m.current
	if x.isStatic() {
		if !slices.Contains(x.port.Addresses, a) {
			return NoLease
		}
		return Released
	}
	e := s.own(x, a)
	if e == nil || e.state != leased {
		return NoLease
	}
	s.drop(e, x.answer)
	return Released
}

// own finds the client's entry of an address, nil if there is none.
func (s *Server) own(x *exchange, a netip.Addr) *entry {
	e := s.table.byAddr[a]
	if e == nil || e.state == quarantined || e.MAC != x.m.mac || e.Client != s.table.key(x.m.mac, x.m.id) {
		return nil
	}
	return e
}

// inform tells a client that has an address by other means what it asks for (RFC 2131, 4.3.5).
func (s *Server) inform(x *exchange) Reason {
	a := x.m.current
	if !a.IsValid() {
		a = given(x.rq.Src)
	}
	sub := subnetOf(x.places, a)
	if sub == nil {
		return NoSubnet
	}
	x.m.current = a
	x.acknowledge(netip.Addr{}, sub, 0)
	return Informed
}
