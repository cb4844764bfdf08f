package monitor_test

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/router/internal/monitor"
	"github.com/taprouter/taprouter/tap"
)

var (
	addrA = netip.MustParseAddr("10.10.10.4")
	addrB = netip.MustParseAddr("10.10.10.5")
)

func plug(t testing.TB, dev tap.Device, a netip.Addr) *host.Host {
	t.Helper()
	h, err := host.New(dev, host.Config{Address: netip.PrefixFrom(a, 24), Gateway: netip.MustParseAddr("10.10.10.1")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// pair starts the monitor's host and a member's on one cable.
func pair(t testing.TB) (a, b *host.Host) {
	t.Helper()
	devA, devB := tap.Pipe("a", "b", tap.PipeOptions{})
	return plug(t, devA, addrA), plug(t, devB, addrB)
}

// watch starts a monitor that ends with the test, and writes down its changes.
func watch(t testing.TB, h *host.Host, spec monitor.Spec) (real, <-chan change) {
	t.Helper()
	changes := make(chan change, 1000)
	m := start(h, spec, func(id uint32, up bool, r monitor.Result) { changes <- change{id, up, time.Now(), r} })
	t.Cleanup(m.Close)
	return m, changes
}

// A real monitor has a host and workers.
type real struct {
	*monitor.Monitor
	workers *monitor.Workers
}

func start(h *host.Host, spec monitor.Spec, changed func(uint32, bool, monitor.Result)) real {
	w := monitor.NewWorkers()
	return real{monitor.New(monitor.Options{Spec: spec, Prober: monitor.FromHost(h), Schedule: w, Changed: changed}), w}
}

// Close returns when nothing is left.
func (m real) Close() {
	m.Monitor.Close()
	m.workers.Close()
}

type change struct {
	id   uint32
	up   bool
	at   time.Time
	last monitor.Result
}

// Modes: what a world does with TCP.
const (
	accepts = iota
	refuses
	isSilent
	isUnreachable // ICMP 3/1 from the router
)

// A world is the far end of a host's cable, frame by frame: it answers ARP for
// every address there is, and the first packet of a connection as it is told.
type world struct {
	dev    tap.Device
	mode   atomic.Int32
	syns   atomic.Int64
	resets atomic.Int64
	// seen, if set, gets each SYN's time.
	seen func(to netip.Addr)
}

var worldMAC = [6]byte{2, 0, 0, 0, 0, 1}

func newWorld(t testing.TB) (*host.Host, *world) {
	t.Helper()
	dev, far := tap.Pipe("host", "world", tap.PipeOptions{Frames: 1 << 15, Bytes: 256 << 20})
	w := &world{dev: far}
	woken := make(chan struct{}, 1)
	far.Notify(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		frames := make([]tap.Frame, 16)
		for i := range frames {
			frames[i].Buf = make([]byte, tap.SlotLen)
		}
		for range woken {
			for {
				n, err := far.Read(frames)
				if err != nil {
					return
				}
				if n == 0 {
					break
				}
				for i := range n {
					w.answer(frames[i])
				}
			}
		}
	}()
	t.Cleanup(func() {
		if err := far.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return plug(t, dev, addrA), w
}

// answer turns a frame into its answer, in place, and sends it back.
func (w *world) answer(f tap.Frame) {
	b := f.Ethernet()
	switch {
	case len(b) >= 42 && b[12] == 8 && b[13] == 6 && b[21] == 1: // an ARP request
		if [4]byte(b[38:42]) == addrA.As4() {
			return // the announcement
		}
		target := [4]byte(b[38:42])
		copy(b[32:42], b[22:32])
		copy(b[22:28], worldMAC[:])
		copy(b[28:32], target[:])
		b[21] = 2
	case len(b) >= 54 && b[12] == 8 && b[13] == 0 && b[23] == 6:
		if b[47]&4 != 0 {
			w.resets.Add(1)
		}
		if b[47] != 2 {
			return // not a SYN
		}
		w.syns.Add(1)
		if w.seen != nil {
			w.seen(netip.AddrFrom4([4]byte(b[30:34])))
		}
		switch w.mode.Load() {
		case isSilent:
			return
		case isUnreachable:
			f.Tail = f.Head + tap.HeaderLen + unreachable(b, f.Buf[f.Head+tap.HeaderLen:])
			b = f.Ethernet()
		case accepts:
			answerSYN(b, 0x12)
		case refuses:
			answerSYN(b, 0x14)
		}
	default:
		return
	}
	copy(b[0:6], b[6:12])
	copy(b[6:12], worldMAC[:])
	_, _ = w.dev.Write([]tap.Frame{f}) // a host that has closed takes no more
}

// answerSYN makes an answer with the given flags of a SYN.
func answerSYN(b []byte, flags byte) {
	ip, tcp := b[14:34], b[34:]
	swap(ip[12:16], ip[16:20])
	swap(tcp[0:2], tcp[2:4])
	binary.BigEndian.PutUint32(tcp[8:], binary.BigEndian.Uint32(tcp[4:])+1)
	binary.BigEndian.PutUint32(tcp[4:], 1)
	tcp[13] = flags
	tcp[16], tcp[17] = 0, 0
	var pseudo [12]byte
	copy(pseudo[:], ip[12:20])
	pseudo[9] = 6
	n := int(binary.BigEndian.Uint16(ip[2:])) - 20
	binary.BigEndian.PutUint16(pseudo[10:], uint16(n))
	binary.BigEndian.PutUint16(tcp[16:], ^sum(pseudo[:], tcp[:n]))
}

// unreachable writes an ICMP error about a frame's packet in its place.
func unreachable(b, buf []byte) int {
	quote := append([]byte{}, b[14:42]...)
	icmp := append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, quote...)
	binary.BigEndian.PutUint16(icmp[2:], ^sum(icmp))
	ip := append([]byte{}, quote[:20]...)
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(icmp)))
	ip[9] = 1
	copy(ip[16:20], ip[12:16])
	copy(ip[12:16], []byte{10, 10, 10, 1})
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	n := 14 + copy(buf[14:], ip)
	return n + copy(buf[n:], icmp)
}

func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

// sum is the Internet checksum's, not complemented.
func sum(parts ...[]byte) uint16 {
	var s uint32
	for _, b := range parts {
		for i := 0; i+1 < len(b); i += 2 {
			s += uint32(b[i])<<8 | uint32(b[i+1])
		}
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}
