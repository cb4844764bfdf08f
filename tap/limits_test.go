package tap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/gopacket/pcapgo"

	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// sized is a frame of n bytes, header included.
func sized(n int) tap.Frame { return tap.Frame{Buf: make([]byte, n), Tail: n} }

func TestPipeRefusesWhatNoSlotHolds(t *testing.T) {
	a, b := tap.Pipe("a", "b", tap.PipeOptions{Bytes: 2 * tap.SlotLen})
	longest := tap.SlotLen - tap.Headroom
	for range 10 { // the count of bytes stays right
		if n, err := a.Write([]tap.Frame{sized(longest)}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		s := slots(1)
		if _, err := b.Read(s); err != nil || s[0].Tail-s[0].Head != longest {
			t.Fatalf("%d bytes, %v", s[0].Tail-s[0].Head, err)
		}
	}
	for _, n := range []int{longest + 1, tap.SlotLen, tap.HeaderLen - 1, 0} {
		taken, err := a.Write([]tap.Frame{sized(n), sized(64)})
		if taken != 1 || err == nil || errors.Is(err, tap.ErrFull) {
			t.Errorf("%d bytes: %d taken, %v", n, taken, err)
		}
	}
}

// Long and short frames take turns, so that every slot of the ring gets both.
func TestPipeOfMixedSizesDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has sync.Pool forget on purpose")
	}
	a, b := tap.Pipe("a", "b", tap.PipeOptions{})
	sizes := [][]tap.Frame{{sized(64000)}, {sized(64)}, {sized(1514)}}
	in := slots(4)
	i := 0
	move := func() {
		_, _ = a.Write(sizes[i%3])
		_, _ = b.Read(in)
		i++
	}
	for range 300 {
		move()
	}
	// Fewer than one in a hundred: a collection may empty the pool.
	total := testing.AllocsPerRun(30, func() {
		for range 100 {
			move()
		}
	})
	if total >= 1 {
		t.Errorf("%v allocations in 100 frames", total)
	}
}

func TestPipeIsClosedUnderWay(t *testing.T) {
	for range 10 {
		a, b := tap.Pipe("a", "b", tap.PipeOptions{Frames: 4})
		hammer(t, a, b.Close)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// hammer reads and writes dev from two goroutines until both fail, after end has
// been called in between.
func hammer(t *testing.T, dev tap.Device, end func() error) {
	t.Helper()
	var wg sync.WaitGroup
	started := make(chan struct{}, 2)
	until := func(do func() error) {
		for i := 0; ; i++ {
			if err := do(); errors.Is(err, os.ErrClosed) || errors.Is(err, tap.ErrGone) {
				return
			}
			if i == 10 {
				started <- struct{}{}
			}
		}
	}
	in, out := slots(2), []tap.Frame{frame("enough bytes for an Ethernet header")}
	wg.Go(func() { until(func() error { _, err := dev.Read(in); return err }) })
	wg.Go(func() { until(func() error { _, err := dev.Write(out); return err }) })
	<-started
	<-started
	if err := end(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// A failsOnce returns an error beside frames, once, as a raw device does.
type failsOnce struct {
	tap.Device
	err error
}

func (o *failsOnce) Read(f []tap.Frame) (int, error) {
	n, err := o.Device.Read(f)
	if n > 0 && err == nil {
		err, o.err = o.err, nil
	}
	return n, err
}

func TestFaultKeepsAnErrorBesideFrames(t *testing.T) {
	near, far := tap.Pipe("a", "b", tap.PipeOptions{})
	dev := tap.Fault(&failsOnce{near, tap.ErrDown}, tap.FaultOptions{})
	write(t, far, "x")
	// With the last frame: a reader that gets fewer frames than it asked for may not read again.
	s := slots(2)
	if n, err := dev.Read(s); n != 1 || !errors.Is(err, tap.ErrDown) {
		t.Errorf("%d frames, %v", n, err)
	}
	if n, err := dev.Read(s); n != 0 || err != nil {
		t.Errorf("%d frames, %v", n, err)
	}
}

func TestFaultCorruptsSoThatItIsSeen(t *testing.T) {
	near, far := tap.Pipe("a", "b", tap.PipeOptions{})
	dev := tap.Fault(near, tap.FaultOptions{Corrupt: 1})
	sum := []byte{9, 9, 0x12, 0x34, 0, 5, 7, 8, 9, 0}
	segments := partial(sum)
	segments.Header()[1] = virtio.GSOTCPv4
	if _, err := far.Write([]tap.Frame{partial(sum), segments}); err != nil {
		t.Fatal(err)
	}
	s := slots(2)
	n, err := dev.Read(s)
	if n != 1 || err != nil {
		t.Fatalf("%d frames, %v: want the one that is no super-frame", n, err)
	}
	if h := s[0].Header(); h[0] != 0 {
		t.Errorf("flags %d: the receiver will not check", h[0])
	}
	want := append([]byte(nil), sum...)
	binary.BigEndian.PutUint16(want[4:], ^uint16(0x1234+5+0x0708+0x0900))
	flipped := 0
	for i, b := range s[0].Ethernet() {
		for x := b ^ want[i]; x != 0; x &= x - 1 {
			flipped++
		}
	}
	if flipped != 1 {
		t.Errorf("%d bits differ from the finished frame", flipped)
	}
}

func TestFaultReordersFramesWrittenOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := tap.Pipe("a", "b", tap.PipeOptions{})
		dev := tap.Fault(near, tap.FaultOptions{Reorder: 0.5, Seed: 1})
		const sent = "abcdefghijklmnopqrst"
		for _, c := range sent {
			write(t, dev, string(c))
		}
		time.Sleep(time.Second)
		got := strings.Join(read(t, far), "")
		if got == sent || len(got) != len(sent) {
			t.Errorf("sent %s, got %s", sent, got)
		}
	})
}

func TestCaptureOfOddThings(t *testing.T) {
	var file bytes.Buffer
	w, err := tap.NewCaptureWriter(&file, 0)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 70000) // more than a length field holds
	id := w.Interface(long)
	w.Packet(id, time.Unix(1, 0), false, []byte("one"), long)
	near, _ := tap.Pipe("a", "b", tap.PipeOptions{})
	dev := tap.Capture(near, w)
	beyond := partial([]byte{1, 2, 3})              // the field is not in the frame
	zero := partial([]byte{0, 0, 0xff, 0xff, 0, 0}) // sums up to 0xffff
	if n, err := dev.Write([]tap.Frame{beyond, zero}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if zero.Ethernet()[4] != 0 {
		t.Error("the frame itself was changed")
	}
	r, err := pcapgo.NewNgReader(&file, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "\x01\x02\x03", "\x00\x00\xff\xff\xff\xff"} {
		if data, _, err := r.ReadPacketData(); err != nil || string(data) != want {
			t.Errorf("read back %q, %v, want %q", data, err, want)
		}
	}
	if _, _, err := r.ReadPacketData(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}
