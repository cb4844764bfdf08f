package tap_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/tap"
)

func frame(text string) tap.Frame {
	b := append(make([]byte, tap.HeaderLen), text...)
	return tap.Frame{Buf: b, Tail: len(b)}
}

func slots(n int) []tap.Frame {
	var s []tap.Frame
	for range n {
		s = append(s, tap.Frame{Buf: make([]byte, tap.SlotLen)})
	}
	return s
}

// read returns the texts that can be read at once.
func read(t testing.TB, dev tap.Device) []string {
	t.Helper()
	var texts []string
	s := slots(4)
	for {
		n, err := dev.Read(s)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return texts
		}
		for i := range s[:n] {
			if s[i].Head < tap.Headroom {
				t.Fatalf("headroom %d", s[i].Head)
			}
			texts = append(texts, string(s[i].Ethernet()))
		}
	}
}

func write(t testing.TB, dev tap.Device, texts ...string) {
	t.Helper()
	var f []tap.Frame
	for _, x := range texts {
		f = append(f, frame(x))
	}
	if n, err := dev.Write(f); n != len(f) || err != nil {
		t.Fatalf("%d of %d taken, %v", n, len(f), err)
	}
}

func TestPipeKeepsOrderAndCopies(t *testing.T) {
	a, b := tap.Pipe("a", "b", tap.PipeOptions{A: tap.FeatureChecksum, B: tap.FeatureTSO4})
	if a.Name() != "a" || b.Name() != "b" || a.Features() != tap.FeatureTSO4 || b.Features() != tap.FeatureChecksum ||
		a.FD() != -1 {
		t.Error("the ends are mixed up")
	}
	f := frame("one")
	f.Buf[3] = 7 // metadata
	if _, err := a.Write([]tap.Frame{f}); err != nil {
		t.Fatal(err)
	}
	f.Buf[tap.HeaderLen] = 'X' // the writer's buffer is its own again
	write(t, a, "two", "three", "four", "five", "six")
	s := slots(1)
	if n, err := b.Read(s); n != 1 || err != nil || string(s[0].Ethernet()) != "one" || s[0].Header()[3] != 7 {
		t.Errorf("%d %v %q", n, err, s[0].Ethernet())
	}
	if got := read(t, b); fmt.Sprint(got) != "[two three four five six]" {
		t.Errorf("got %v", got)
	}
	write(t, b, "back")
	if got := read(t, a); fmt.Sprint(got) != "[back]" {
		t.Errorf("got %v", got)
	}
}

func TestPipeIsBounded(t *testing.T) {
	a, b := tap.Pipe("a", "b", tap.PipeOptions{Frames: 3})
	n, err := a.Write([]tap.Frame{frame("1"), frame("2"), frame("3"), frame("4"), frame("5")})
	if n != 3 || !errors.Is(err, tap.ErrFull) {
		t.Errorf("%d taken, %v", n, err)
	}
	if got := read(t, b); fmt.Sprint(got) != "[1 2 3]" {
		t.Errorf("got %v", got)
	}
	write(t, a, "6")
	a, b = tap.Pipe("a", "b", tap.PipeOptions{Bytes: 150000})
	big := frame(string(bytes.Repeat([]byte("x"), 60000)))
	if n, err := a.Write([]tap.Frame{big, big, big}); n != 2 || !errors.Is(err, tap.ErrFull) {
		t.Errorf("%d super-frames taken, %v", n, err)
	}
	s := slots(4)
	total := 0
	for range 2 { // one batch holds little more than BatchBytes
		n, _ := b.Read(s)
		total += n
	}
	if total != 2 {
		t.Errorf("%d super-frames read", total)
	}
}

// The bound is on memory, of which a frame takes more than its length.
func TestPipeCountsMemory(t *testing.T) {
	for size, want := range map[int]int{2000: 1024, 2100: 819, 9014: 819, 11000: 120, 65000: 120} {
		a, _ := tap.Pipe("a", "b", tap.PipeOptions{})
		f := frame(string(bytes.Repeat([]byte("x"), size-tap.HeaderLen)))
		n := 0
		for {
			if _, err := a.Write([]tap.Frame{f}); err != nil {
				break
			}
			n++
		}
		if n != want {
			t.Errorf("%d frames of %d bytes, want %d", n, size, want)
		}
	}
}

func TestPipeClose(t *testing.T) {
	a, b := tap.Pipe("a", "b", tap.PipeOptions{})
	woken := 0
	b.Notify(func() { woken++ })
	write(t, a, "last")
	for range 2 {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	if woken != 3 { // the frame, and each Close: idle calls are harmless
		t.Logf("woken %d times", woken)
	}
	if woken < 2 {
		t.Errorf("woken %d times: the close was not told", woken)
	}
	s := slots(1)
	if n, err := b.Read(s); n != 1 || err != nil {
		t.Errorf("what was left: %d, %v", n, err)
	}
	if _, err := b.Read(s); !errors.Is(err, tap.ErrGone) {
		t.Errorf("read from a closed far end: %v", err)
	}
	if _, err := b.Write([]tap.Frame{frame("x")}); !errors.Is(err, tap.ErrGone) {
		t.Errorf("write to a closed far end: %v", err)
	}
	if _, err := a.Read(s); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := a.Write([]tap.Frame{frame("x")}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
}

// No wake-up is lost: a reader that sleeps until it is notified, and then reads
// until there is nothing left, gets every frame.
func TestPipeNotify(t *testing.T) {
	const frames = 20000
	a, b := tap.Pipe("a", "b", tap.PipeOptions{Frames: 8})
	wake := make(chan struct{}, 1)
	b.Notify(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	space := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for sent := 0; sent < frames; {
			if n, _ := a.Write([]tap.Frame{frame(fmt.Sprint(sent))}); n == 1 {
				sent++
				continue
			}
			<-space
		}
	})
	next := 0
	s := slots(3)
	for next < frames {
		n, err := b.Read(s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range s[:n] {
			if string(s[i].Ethernet()) != fmt.Sprint(next) {
				t.Fatalf("got %q, want %d", s[i].Ethernet(), next)
			}
			next++
		}
		select {
		case space <- struct{}{}:
		default:
		}
		if n == 0 && next < frames {
			select {
			case <-wake:
			case <-time.After(10 * time.Second):
				t.Fatalf("not woken after %d frames", next)
			}
		}
	}
	wg.Wait()
}

func TestPipeInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tap.Pipe("a", "b", tap.PipeOptions{})
		wake := make(chan struct{}, 1)
		b.Notify(func() { wake <- struct{}{} })
		go func() {
			time.Sleep(time.Hour)
			write(t, a, "late")
		}()
		<-wake
		if got := read(t, b); len(got) != 1 {
			t.Errorf("got %v", got)
		}
	})
}

func TestPipeDoesNotAllocate(t *testing.T) {
	a, b := tap.Pipe("a", "b", tap.PipeOptions{})
	out, in := []tap.Frame{frame("frame")}, slots(1)
	move := func() {
		_, _ = a.Write(out)
		_, _ = b.Read(in)
	}
	for range 100 {
		move() // every slot of the ring gets its buffer
	}
	if n := testing.AllocsPerRun(1000, move); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func BenchmarkPipe(b *testing.B) {
	x, y := tap.Pipe("a", "b", tap.PipeOptions{})
	out, in := []tap.Frame{frame(string(make([]byte, 60)))}, slots(1)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = x.Write(out)
		_, _ = y.Read(in)
	}
}

// partial is a frame with an unfinished checksum of two bytes at 4, over what
// starts at 2.
func partial(b []byte) tap.Frame {
	f := frame(string(b))
	h := f.Header()
	h[0] = 1
	binary.LittleEndian.PutUint16(h[6:], 2)
	binary.LittleEndian.PutUint16(h[8:], 2)
	return f
}
