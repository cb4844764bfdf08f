package host

import (
	"bytes"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A query names what an ICMP message may be about: an echo by its identifier, a
// datagram by its source port.
type query struct {
	proto uint8
	id    uint16
}

// answers hands each ICMP message to the call that waits for it. One raw endpoint
// serves the whole host, because every raw endpoint gets a copy of every message:
// thousands of checks that wait for absent members would each read all messages.
type answers struct {
	mu      sync.Mutex
	ep      tcpip.Endpoint // nil until a caller waits for an answer
	queue   waiter.Queue
	entry   waiter.Entry
	buf     bytes.Buffer
	waiting map[query]func(packet)
}

// await has fn called with each message about a query until forget; the caller
// holds Host.open. It is called on the goroutine that delivers packets and must
// not block; the packet is valid until it returns.
func (h *Host) await(q query, fn func(packet)) error {
	a := &h.answers
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ep == nil {
		if err := h.openAnswers(); err != nil {
			return err
		}
	}
	a.waiting[q] = fn
	return nil
}

func (h *Host) forget(q query) {
	h.answers.mu.Lock()
	delete(h.answers.waiting, q)
	h.answers.mu.Unlock()
}

// openAnswers makes the endpoint; it stays until the host closes.
func (h *Host) openAnswers() error {
	a := &h.answers
	a.waiting = map[query]func(packet){}
	// Registered first: the endpoint tells of a packet only if none waits before it.
	a.entry = waiter.NewFunctionEntry(waiter.ReadableEvents, func(waiter.EventMask) { a.drain() })
	a.queue.EventRegister(&a.entry)
	ep, err := h.stack.NewRawEndpoint(icmp.ProtocolNumber4, ipv4.ProtocolNumber, &a.queue, true)
	if err != nil {
		a.queue.EventUnregister(&a.entry)
		return callError("socket", errno(err))
	}
	ep.SocketOptions().SetReceiveBufferSize(sniffBuffer, false)
	a.ep = ep
	return nil
}

// drain hands out the packets that have arrived.
func (a *answers) drain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		a.buf.Reset()
		if _, err := a.ep.Read(&a.buf, tcpip.ReadOptions{}); err != nil {
			return // none is left
		}
		p, ok := parsePacket(a.buf.Bytes())
		if !ok {
			continue
		}
		if fn := a.waiting[p.query()]; fn != nil {
			fn(p)
		}
	}
}

// query returns what an ICMP message is about; the zero query belongs to no call.
func (p packet) query() query {
	if q, _, ok := p.quoted(); ok {
		switch q.proto {
		case protoICMP:
			return query{protoICMP, header.ICMPv4(q.body).Ident()}
		case protoUDP:
			return query{protoUDP, header.UDP(q.body).SourcePort()}
		}
		return query{}
	}
	if h := header.ICMPv4(p.body); p.proto == protoICMP && len(h) >= header.ICMPv4MinimumSize &&
		h.Type() == header.ICMPv4EchoReply {
		return query{protoICMP, h.Ident()}
	}
	return query{}
}

// close ends the endpoint. That wakes its listener, which then reads no more.
func (a *answers) close() {
	a.mu.Lock()
	ep := a.ep
	a.mu.Unlock()
	if ep != nil {
		a.queue.EventUnregister(&a.entry)
		ep.Close()
	}
}
