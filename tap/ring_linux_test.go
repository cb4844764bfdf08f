package tap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/tap"
)

// openRaw opens one end of a cable, with or without a ring, and the kernel's side of
// the other.
func openRaw(t *testing.T, ring bool, mtu int) (tap.Device, int) {
	t.Helper()
	inNamespace(t)
	cable(t, "near", "far")
	for _, name := range []string{"near", "far"} {
		must(t, setMTU(name, mtu))
	}
	if !ring {
		defer tap.WithoutRing()()
	}
	dev, err := tap.OpenRaw("near", tap.Options{})
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	if tap.HasRing(dev) != ring {
		t.Fatalf("ring %t", !ring)
	}
	return dev, packetSocket(t, "far")
}

func eachWay(t *testing.T, test func(t *testing.T, ring bool)) {
	for _, ring := range []bool{true, false} {
		t.Run(fmt.Sprintf("ring=%t", ring), func(t *testing.T) { test(t, ring) })
	}
}

// numbered is frame k of a sequence, of a kind and size that depend on k.
func numbered(k uint32) []byte {
	var b []byte
	switch k % 7 {
	case 0, 1, 2:
		b = experimental("small....")
	case 3:
		b = append(experimental("full....."), make([]byte, 1491)...)
	case 4:
		b = append(experimental("jumbo...."), make([]byte, 8900)...)
	default:
		b = super(20000 + int(k%5)*10000)
	}
	// In the last bytes of the Ethernet addresses, which nobody rewrites.
	binary.BigEndian.PutUint32(b[tap.HeaderLen+8:], k)
	return b
}

func numberOf(f *tap.Frame) uint32 { return binary.BigEndian.Uint32(f.Ethernet()[8:]) }

// readAll reads frames of the sequence until the device is dry.
func readAll(t *testing.T, dev tap.Device, frames []tap.Frame, got func(f *tap.Frame)) {
	t.Helper()
	for {
		n, err := dev.Read(frames)
		must(t, err)
		size := 0
		for i := range frames[:n] {
			size += frames[i].Tail - frames[i].Head
			if eth := frames[i].Ethernet(); eth[6] == 2 && eth[0] == 2 { // not the kernel's own chatter
				got(&frames[i])
			}
		}
		if n < len(frames) && size < tap.BatchBytes {
			return
		}
	}
}

// Frames of all sizes come whole and in order, many times round the ring.
func TestRawKeepsTheOrder(t *testing.T) {
	eachWay(t, func(t *testing.T, ring bool) {
		dev, fd := openRaw(t, ring, 9216)
		frames := slots(16)
		want := uint32(0)
		for sent := uint32(0); sent < 3*4096; {
			for range 20 {
				if _, err := unix.Write(fd, numbered(sent)); err != nil {
					t.Fatal(err)
				}
				sent++
			}
			readAll(t, dev, frames, func(f *tap.Frame) {
				b := numbered(want)
				if numberOf(f) != want || !bytes.Equal(f.Ethernet()[14:], b[tap.HeaderLen+14:]) || f.Header()[1] != b[1] {
					t.Fatalf("frame %d of %d bytes, want %d of %d, or it has changed", numberOf(f), len(f.Ethernet()), want, len(b)-tap.HeaderLen)
				}
				want++
			})
			if want != sent {
				t.Fatalf("%d frames sent, %d read", sent, want)
			}
		}
	})
}

// A reader that comes too late loses frames: none is torn, none comes twice or out
// of order, and those that are sent afterwards come.
func TestRawOverflow(t *testing.T) {
	eachWay(t, func(t *testing.T, ring bool) {
		dev, fd := openRaw(t, ring, 9216)
		const sent = 30000
		for k := range uint32(sent) {
			if _, err := unix.Write(fd, numbered(k)); err != nil {
				t.Fatal(err)
			}
		}
		frames := slots(16)
		read, next := 0, uint32(0)
		readAll(t, dev, frames, func(f *tap.Frame) {
			k := numberOf(f)
			if b := numbered(k); k < next || k >= sent || !bytes.Equal(f.Ethernet()[14:], b[tap.HeaderLen+14:]) {
				t.Fatalf("frame %d of %d bytes after %d", k, len(f.Ethernet()), next)
			}
			read, next = read+1, k+1
		})
		if read == 0 || read == sent {
			t.Errorf("%d of %d frames read; the test misses its point", read, sent)
		}
		for k := uint32(sent); k < sent+100; k++ {
			if _, err := unix.Write(fd, numbered(k)); err != nil {
				t.Fatal(err)
			}
		}
		next = sent
		readAll(t, dev, frames, func(f *tap.Frame) {
			if numberOf(f) != next {
				t.Fatalf("frame %d, want %d", numberOf(f), next)
			}
			next++
		})
		if next != sent+100 {
			t.Errorf("after the overflow %d of 100 frames came", next-sent)
		}
	})
}

// Tags that the kernel takes out of small frames are put back.
func TestRawTags(t *testing.T) {
	eachWay(t, func(t *testing.T, ring bool) {
		dev, fd := openRaw(t, ring, 1500)
		for _, tag := range []string{"\x81\x00\x20\x64", "\x88\xa8\x00\x07", "\x81\x00\x00\x00"} {
			b := append(make([]byte, tap.HeaderLen), 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)
			b = append(append(b, tag...), testType>>8, testType&0xff, 'x', 'y', 'z')
			if _, err := unix.Write(fd, b); err != nil {
				t.Fatal(err)
			}
			f := next(t, dev, func(f *tap.Frame) bool { return f.Ethernet()[0] == 2 })
			if !bytes.Equal(f.Ethernet(), b[tap.HeaderLen:]) || f.Head < tap.Headroom {
				t.Errorf("% x, want % x", f.Ethernet(), b[tap.HeaderLen:])
			}
		}
	})
}

// A batch is sent in order, and one frame that the kernel refuses costs only itself.
func TestRawBatch(t *testing.T) {
	dev, fd := openRaw(t, true, 1500)
	var batch []tap.Frame
	for k := range uint32(150) {
		b := experimental("batch....")
		binary.BigEndian.PutUint32(b[tap.HeaderLen+8:], k)
		if k == 70 || k == 71 || k == 149 {
			b = append(b, make([]byte, 3000)...) // larger than the MTU
		}
		batch = append(batch, tap.Frame{Buf: b, Tail: len(b)})
	}
	n, err := dev.Write(batch)
	if n != 147 || err == nil {
		t.Fatalf("%d of 150 taken, %v", n, err)
	}
	for k := range uint32(149) {
		if k == 70 || k == 71 {
			continue
		}
		b := receive(t, fd, func(b []byte) bool { return len(b) > 24 && b[10] == 2 && b[16] == 2 })
		if got := binary.BigEndian.Uint32(b[tap.HeaderLen+8:]); got != k {
			t.Fatalf("frame %d, want %d", got, k)
		}
	}
}

// Several goroutines may write at the same time, and one may close.
func TestRawWritersAtTheSameTime(t *testing.T) {
	dev, _ := openRaw(t, true, 1500)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			b := experimental("x")
			f := []tap.Frame{{Buf: b, Tail: len(b)}, {Buf: b, Tail: len(b)}}
			for {
				if _, err := dev.Write(f); errors.Is(err, os.ErrClosed) {
					return
				}
			}
		})
	}
	wg.Go(func() {
		frames := slots(16)
		for {
			if _, err := dev.Read(frames); errors.Is(err, os.ErrClosed) {
				return
			}
		}
	})
	time.Sleep(100 * time.Millisecond)
	must(t, dev.Close())
	wg.Wait()
}

func TestRawDoesNotAllocate(t *testing.T) {
	eachWay(t, func(t *testing.T, ring bool) {
		dev, fd := openRaw(t, ring, 1500)
		frames := slots(16)
		small, large := experimental("x"), super(30000)
		out := []tap.Frame{{Buf: small, Tail: len(small)}, {Buf: small, Tail: len(small)}}
		n := testing.AllocsPerRun(200, func() {
			_, _ = unix.Write(fd, small)
			_, _ = unix.Write(fd, large)
			if _, err := dev.Read(frames); err != nil {
				t.Fatal(err)
			}
			if _, err := dev.Write(out); err != nil {
				t.Fatal(err)
			}
		})
		if !raceDetector && n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
