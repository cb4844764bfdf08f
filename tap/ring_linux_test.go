package tap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// fewSlots is a ring that is soon full.
const fewSlots = 64

// eachWay runs a test with a ring, and with none for each reason that there is:
// the kernel allocates none of half a block, and maps none of no slots.
func eachWay(t *testing.T, test func(t *testing.T, open func(name string) tap.Device)) {
	for name, slots := range map[string]int{"ring": 2048, "few slots": fewSlots, "not allocated": 16, "not mapped": 0} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			test(t, func(name string) tap.Device { return openRing(t, name, slots) })
		})
	}
}

// openRing opens a raw device and checks that it says how it receives.
func openRing(t *testing.T, name string, slots int) tap.Device {
	t.Helper()
	var logged bytes.Buffer
	dev, err := tap.OpenRawRing(name, tap.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))}, slots)
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	want := "rx=ring"
	if slots < fewSlots {
		want = "rx=recvmsg"
	}
	if !strings.Contains(logged.String(), want) {
		t.Errorf("logged %s, want %s", logged.String(), want)
	}
	return dev
}

// wide is a cable for jumbo frames.
func wide(t *testing.T) (peer int) {
	t.Helper()
	cable(t, "near", "far")
	for _, name := range []string{"near", "far"} {
		must(t, netlink.LinkSetMTU(link(t, name), 9000))
	}
	return packetSocket(t, "far")
}

// numbered is a frame of a kind, whose number shows in every byte.
func numbered(i int, kind string) []byte {
	n := map[string]int{"tiny": 20, "full": 1500, "jumbo": 8900, "super": 60000, "tag": 20, "service tag": 20}[kind]
	text := make([]byte, n)
	for k := range text {
		text[k] = byte(i + k + k>>8)
	}
	binary.BigEndian.PutUint32(text, uint32(i))
	b := experimental(string(text))
	tag := []byte{0x81, 0, 0x20, byte(i)}
	switch kind {
	case "super":
		b = super(n)
		copy(b[len(b)-n:], text)
	case "service tag":
		tag[0], tag[1] = 0x88, 0xa8
		fallthrough
	case "tag":
		b = slices.Insert(b, tap.HeaderLen+12, tag...)
	}
	return b
}

// ours tells frames of the test from the kernel's own.
func ours(f *tap.Frame) bool {
	return f.Tail-f.Head > tap.HeaderLen+14 &&
		string(f.Ethernet()[:12]) == string(experimental("")[tap.HeaderLen:][:12])
}

// sendTo sends frames from the far end.
func sendTo(t *testing.T, fd int, frames ...[]byte) {
	t.Helper()
	for _, b := range frames {
		if _, err := unix.Write(fd, b); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads the test's frames until the device is dry.
func readAll(t *testing.T, dev tap.Device, batch []tap.Frame) (got []tap.Frame) {
	t.Helper()
	for {
		n, err := dev.Read(batch)
		if errors.Is(err, tap.ErrBusy) {
			continue
		}
		must(t, err)
		if n == 0 {
			return got
		}
		for i := range n {
			if f := &batch[i]; ours(f) {
				got = append(got, tap.Frame{Buf: bytes.Clone(f.Buf[:f.Tail]), Head: f.Head, Tail: f.Tail})
			}
		}
	}
}

// same checks that frames arrived as they were sent, in that order.
func same(t *testing.T, got []tap.Frame, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i := range got {
		f, b := &got[i], want[i]
		if !bytes.Equal(f.Ethernet(), b[tap.HeaderLen:]) {
			t.Fatalf("frame %d: %d bytes % x, want %d bytes % x", i, len(f.Ethernet()), f.Ethernet()[:30],
				len(b)-tap.HeaderLen, b[tap.HeaderLen:][:30])
		}
		var h, w virtio.Header
		h.Parse(f.Header())
		w.Parse(b)
		if h.Flags&^virtio.DataValid != w.Flags || h.GSOType != w.GSOType || h.GSOSize != w.GSOSize ||
			h.CsumStart != w.CsumStart {
			t.Fatalf("frame %d: header %+v, want %+v", i, h, w)
		}
		if f.Head < tap.Headroom {
			t.Fatalf("frame %d: head %d", i, f.Head)
		}
	}
}

// Small frames lie in the ring, large ones in the socket's queue: together they
// stay in order, round and round.
func TestRawKeepsFramesOfAllSizesInOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		peer := wide(t)
		dev := open("near")
		batch := slots(7)
		for i := range batch {
			for k := range batch[i].Buf {
				batch[i].Buf[k] = 0xee // of a frame before
			}
		}
		kinds := []string{"tiny", "super", "full", "tag", "jumbo", "jumbo", "tiny", "service tag", "super", "super",
			"tiny"}
		i := 0
		for range 3 * fewSlots / 10 {
			var sent [][]byte
			for range 10 {
				sent = append(sent, numbered(i, kinds[i%len(kinds)]))
				i++
			}
			sendTo(t, peer, sent...)
			same(t, readAll(t, dev, batch), sent)
		}
	})
}

func TestRawFullRingLosesTheLatest(t *testing.T) {
	inNamespace(t)
	peer := wide(t)
	dev := openRing(t, "near", fewSlots)
	batch := slots(16)
	for round := range 3 {
		readAll(t, dev, batch) // what the kernel itself has sent
		var sent [][]byte
		for i := range 3 * fewSlots {
			sent = append(sent, numbered(round*1000+i, []string{"tiny", "full", "jumbo"}[i%3]))
		}
		sendTo(t, peer, sent...)
		got := readAll(t, dev, batch)
		// The kernel may have sent one or two again.
		if len(got) < fewSlots-4 || len(got) > fewSlots {
			t.Fatalf("%d frames in %d slots", len(got), fewSlots)
		}
		same(t, got, sent[:len(got)])
		again := [][]byte{numbered(1, "tiny"), numbered(2, "super")}
		sendTo(t, peer, again...)
		same(t, readAll(t, dev, batch), again)
	}
}

// A frame that neither fits into its slot nor into the queue is lost, whole.
func TestRawFullQueueLosesLargeFrames(t *testing.T) {
	inNamespace(t)
	peer := wide(t)
	dev := openRing(t, "near", fewSlots)
	must(t, unix.SetsockoptInt(dev.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10))
	batch := slots(16)
	for range 3 {
		readAll(t, dev, batch)
		var small [][]byte
		for i := range 18 { // and room for a few of the kernel's own
			small = append(small, numbered(i, "tiny"))
			sendTo(t, peer, small[i], numbered(i, "jumbo"), numbered(i, "jumbo"))
		}
		var kept []tap.Frame
		large := 0
		for _, f := range readAll(t, dev, batch) {
			if len(f.Ethernet()) < 100 {
				kept = append(kept, f)
			} else if large++; !bytes.Equal(f.Ethernet(), numbered(len(kept)-1, "jumbo")[tap.HeaderLen:]) {
				t.Fatalf("%d bytes after small frame %d", len(f.Ethernet()), len(kept))
			}
		}
		same(t, kept, small)
		if large == 0 || large == 36 {
			t.Errorf("%d of 36 large frames", large)
		}
	}
}

// That the interface went down is said once, and costs no frame that came before.
func TestRawDeliversWhatCameBeforeItWentDown(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		peer := wide(t)
		dev := open("near")
		sent := [][]byte{numbered(1, "tiny"), numbered(2, "jumbo"), numbered(3, "jumbo"), numbered(4, "tiny")}
		sendTo(t, peer, sent...)
		must(t, netlink.LinkSetDown(link(t, "near")))
		var got []tap.Frame
		batch := slots(3)
		told := 0
		for range 6 {
			n, err := dev.Read(batch)
			if errors.Is(err, tap.ErrDown) {
				told++
			} else {
				must(t, err)
			}
			for i := range n {
				if f := &batch[i]; ours(f) {
					got = append(got, tap.Frame{Buf: bytes.Clone(f.Buf[:f.Tail]), Head: f.Head, Tail: f.Tail})
				}
			}
		}
		same(t, got, sent)
		if told != 1 {
			t.Errorf("told %d times that it is down", told)
		}
	})
}

// A poller that hears only of news must hear of every frame that comes after a
// Read that found nothing.
func TestRawWakesAnEdgeTriggeredPoller(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		peer := wide(t)
		dev := open("near")
		ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		must(t, err)
		defer unix.Close(ep)
		must(t, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, dev.FD(),
			&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff}))
		batch := slots(4)
		events := make([]unix.EpollEvent, 4)
		readAll(t, dev, batch)
		for i := range 2 * fewSlots {
			b := numbered(i, []string{"tiny", "jumbo"}[i%2])
			sendTo(t, peer, b)
			if n, err := unix.EpollWait(ep, events, 5000); n != 1 {
				t.Fatalf("frame %d: %d events, %v", i, n, err)
			}
			same(t, readAll(t, dev, batch), [][]byte{b})
		}
		// Frames that were read do not make the descriptor readable again.
		poll := []unix.PollFd{{Fd: int32(dev.FD()), Events: unix.POLLIN}}
		if n, _ := unix.Poll(poll, 0); n != 0 && len(readAll(t, dev, batch)) > 0 {
			t.Errorf("dry, and poll says %x", poll[0].Revents)
		}
	})
}

func TestRawDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		peer := wide(t)
		dev := open("near")
		batch := slots(3)
		in := [][]byte{numbered(1, "tiny"), numbered(2, "jumbo"), numbered(3, "tag")}
		out := []tap.Frame{{Buf: in[0], Tail: len(in[0])}, {Buf: in[1], Tail: len(in[1])}}
		frames := 0
		if n := testing.AllocsPerRun(100, func() {
			for _, b := range in {
				_, _ = unix.Write(peer, b)
			}
			for n := 1; n > 0; frames += n {
				n, _ = dev.Read(batch)
			}
			_, _ = dev.Write(out[:1])
			_, _ = dev.Write(out)
		}); n != 0 || frames < 300 {
			t.Errorf("%v allocations, %d frames", n, frames)
		}
	})
}

// One system call sends many frames. One that fails must not keep the others
// back, nor be counted.
func TestRawSendsBatches(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		peer := wide(t)
		dev := open("near")
		for _, bad := range [][]int{{}, {0}, {5}, {69}, {31, 32}, {0, 1, 2, 40, 69}} {
			var frames []tap.Frame
			var want []int
			for i := range 70 {
				b := numbered(i, []string{"tiny", "full", "tag"}[i%3])
				f := tap.Frame{Buf: append(make([]byte, 7), b...), Head: 7, Tail: 7 + len(b)}
				want = append(want, len(b))
				frames = append(frames, f)
			}
			for k, i := range bad {
				frames[i] = frame(strings.Repeat("longer than the MTU", 500))
				if k > 0 { // the first error is the one to report
					frames[i].Header()[1] = 77 // no kind of super-frame
				}
				want[i] = 0
			}
			n, err := dev.Write(frames)
			if n != 70-len(bad) || (err == nil) != (len(bad) == 0) || err != nil && !errors.Is(err, unix.EMSGSIZE) {
				t.Fatalf("%v fail: %d taken, %v", bad, n, err)
			}
			for i := range frames {
				if want[i] == 0 {
					continue
				}
				f := &frames[i]
				got := receive(t, peer, func(b []byte) bool { return ours(&tap.Frame{Buf: b, Tail: len(b)}) })
				if i%3 == 2 { // its tag travels beside it
					continue
				}
				if !bytes.Equal(got[tap.HeaderLen:], f.Ethernet()) {
					t.Fatalf("%v fail: frame %d is % x", bad, i, got)
				}
			}
		}
	})
}

func TestRawBatchToAnInterfaceThatIsDown(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		wide(t)
		dev := open("near")
		must(t, netlink.LinkSetDown(link(t, "near")))
		b := experimental("lost")
		f := tap.Frame{Buf: b, Tail: len(b)}
		if n, err := dev.Write([]tap.Frame{f, f, f}); n != 0 || !errors.Is(err, tap.ErrDown) {
			t.Errorf("%d taken, %v", n, err)
		}
		must(t, dev.Close())
		if n, err := dev.Write([]tap.Frame{f, f, f}); n != 0 || !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed: %d taken, %v", n, err)
		}
	})
}

// mapped counts the process's maps of sockets.
func mapped(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	must(t, err)
	return strings.Count(string(b), "socket:[")
}

func TestRawUnmapsItsRing(t *testing.T) {
	inNamespace(t)
	wide(t)
	before := mapped(t)
	dev := openRing(t, "near", fewSlots)
	if mapped(t) != before+1 {
		t.Errorf("%d maps, want %d", mapped(t), before+1)
	}
	must(t, dev.Close())
	if mapped(t) != before {
		t.Errorf("closed: %d maps, want %d", mapped(t), before)
	}
}

// A guest behind a TAP may send a super-frame of a kind that has no
// virtio-net header. The frame may be lost, the device may not.
func TestRawSurvivesAFrameThatJamsTheRing(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		guest := openTUN(t, "tap0", unix.IFF_VNET_HDR)
		defer unix.Close(guest)
		must(t, netlink.LinkSetUp(link(t, "tap0")))
		dev := open("tap0")
		bad := ufo()
		batch := slots(16)
		for range 2 {
			sendTo(t, guest, bad)
			_, _ = dev.Read(batch) // may say so
			arrived := false
			for deadline := time.Now().Add(5 * time.Second); !arrived && time.Now().Before(deadline); {
				sendTo(t, guest, experimental("after"))
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(dev.FD()), Events: unix.POLLIN}}, 20)
				arrived = len(readAll(t, dev, batch)) > 0
			}
			if !arrived {
				t.Fatal("nothing arrives any more")
			}
		}
	})
}

// A ring that was full is no jammed ring, however long that lasts.
func TestRawKeepsARingThatWasFull(t *testing.T) {
	inNamespace(t)
	peer := wide(t)
	dev := openRing(t, "near", fewSlots)
	batch := slots(16)
	for range 8 {
		for i := range 2 * fewSlots {
			sendTo(t, peer, numbered(i, "tiny"))
		}
		time.Sleep(50 * time.Millisecond)
		for i := range 2 * fewSlots {
			sendTo(t, peer, numbered(i, "tiny"))
		}
		readAll(t, dev, batch)
		time.Sleep(50 * time.Millisecond)
	}
	if mapped(t) == 0 {
		t.Error("the ring was given up")
	}
}

// A jam costs the ring for a while only, and for longer the next time. A sender that jams it
// again and again must not silence the device.
func TestRawTakesItsRingUpAgain(t *testing.T) {
	inNamespace(t)
	guest := openTUN(t, "tap0", unix.IFF_VNET_HDR)
	defer unix.Close(guest)
	must(t, netlink.LinkSetUp(link(t, "tap0")))
	before := mapped(t)
	var log logged
	dev, err := tap.OpenRawRing("tap0", tap.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, fewSlots)
	must(t, err)
	defer dev.Close()
	bad := ufo()
	batch := slots(16)
	until := func(what string, fn func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !fn(); {
			if time.Now().After(deadline) {
				t.Fatalf("it does not come true: %s; logged:\n%s", what, log.String())
			}
			sendTo(t, guest, experimental("meanwhile"))
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(dev.FD()), Events: unix.POLLIN}}, 20)
			readAll(t, dev, batch)
		}
	}
	for i, pause := range []string{"1s", "2s"} {
		sendTo(t, guest, bad)
		until("the ring is given up", func() bool { return strings.Count(log.String(), "jammed") == i+1 })
		if mapped(t) != before || !strings.Contains(log.String(), "again_in="+pause) {
			t.Errorf("jam %d: %d rings, want none for %s; logged:\n%s", i+1, mapped(t)-before, pause, log.String())
		}
		until("there is a ring again", func() bool { return mapped(t) == before+1 })
		readAll(t, dev, batch)
		var sent [][]byte
		for k := range 3 * fewSlots {
			sent = append(sent, numbered(k, []string{"tiny", "full", "super"}[k%3]))
			sendTo(t, guest, sent[k])
			same(t, readAll(t, dev, batch), sent[k:])
		}
	}
}

// A ring that is jammed at once, again and again, is there for a small part of the time only;
// one that has worked for long starts anew.
func TestRingPauses(t *testing.T) {
	s := time.Second
	got := tap.RingPauses(0, 0, 0, 100*s, 0, 0, 0, 0, 0, 0, 255*s, 256*s, s)
	want := []time.Duration{1 * s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s, 128 * s, 256 * s, 256 * s, 256 * s,
		1 * s, 2 * s}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// An idle ring is looked at seldom: each look costs a timer.
func TestRingWaits(t *testing.T) {
	ms := time.Millisecond
	got := tap.RingWaits(true, false, false, false, false, true, false)
	want := []time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 1600 * ms, 200 * ms, 400 * ms}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// While frames come, a ring is looked at often, however long the silence before was. The first frame after a silence
// may jam it: the device then does without.
func TestRawIsJammedAfterASilence(t *testing.T) {
	inNamespace(t)
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)) // its router solicitations
	guest := openTUN(t, "tap0", unix.IFF_VNET_HDR)
	defer unix.Close(guest)
	must(t, netlink.LinkSetUp(link(t, "tap0")))
	var log logged
	dev, err := tap.OpenRawRing("tap0", tap.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, fewSlots)
	must(t, err)
	defer dev.Close()
	batch := slots(16)
	silence := func() {
		t.Helper()
		before := tap.RingWait(dev)
		for deadline := time.Now().Add(20 * time.Second); tap.RingWait(dev) <= before; {
			if time.Now().After(deadline) {
				t.Fatalf("it is looked at every %v", before)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	readAll(t, dev, batch)
	silence()
	sendTo(t, guest, experimental("hello"))
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(dev.FD()), Events: unix.POLLIN}}, 1000)
	readAll(t, dev, batch)
	if wait := tap.RingWait(dev); wait != 200*time.Millisecond {
		t.Errorf("a frame has come, and it is looked at every %v", wait)
	}
	silence()
	sendTo(t, guest, ufo())
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), "jammed"); {
		if time.Now().After(deadline) {
			t.Fatalf("it stays jammed; logged:\n%s", log.String())
		}
		sendTo(t, guest, experimental("meanwhile"))
		time.Sleep(10 * time.Millisecond)
	}
}

// ufo is a frame that jams a ring: a fragmentation super-frame of UDP, which Linux still takes.
func ufo() []byte {
	bad := super(3000)
	bad[1], bad[tap.HeaderLen+14+9] = 3, unix.IPPROTO_UDP
	binary.LittleEndian.PutUint16(bad[8:], 6)
	return bad
}

// While the kernel changes the ring, Read does not wait, and Write goes on. What came
// meanwhile is read afterwards.
func TestRawReadDoesNotWaitForTheRing(t *testing.T) {
	eachWay(t, func(t *testing.T, open func(string) tap.Device) {
		peer := wide(t)
		dev := open("near")
		readAll(t, dev, slots(4))
		sent := [][]byte{numbered(1, "tiny"), numbered(2, "jumbo")}
		tap.ChangeRing(dev, func() {
			sendTo(t, peer, sent...)
			if n, err := dev.Read(slots(4)); n != 0 || !errors.Is(err, tap.ErrBusy) {
				t.Errorf("%d frames, %v", n, err)
			}
			b := experimental("meanwhile")
			if n, err := dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}}); n != 1 || err != nil {
				t.Errorf("%d taken, %v", n, err)
			}
		})
		same(t, readAll(t, dev, slots(4)), sent)
	})
}

// logged is a log that other goroutines write.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
