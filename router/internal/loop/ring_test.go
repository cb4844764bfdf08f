package loop

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taprouter/taprouter/tap"
)

// numbered is a frame of n bytes that can be told from others.
func numbered(k uint64, n int) tap.Frame {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(k>>(i&7)) + byte(i)
	}
	binary.NativeEndian.PutUint64(b, k)
	return tap.Frame{Buf: b, Tail: n}
}

// The sizes of frames: small, full, jumbo, super.
var frameSizes = []int{tap.HeaderLen + 14, 70, 1524, 9024, 65 << 10}

// Frames come out of a handover as they went in, and in that order, whatever
// their sizes; what finds no room is refused, and only that.
func TestHandoverAgainstQueue(t *testing.T) {
	w, err := NewWorker(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	h := NewHandover(w, 1<<20)
	var queue []uint64
	var hidden, k, refused, freed int
	size := func(k uint64) int { return frameSizes[int(k*k/3)%len(frameSizes)] }
	for range 30000 {
		switch op := r.IntN(10); {
		case op < 4:
			f := numbered(uint64(k), size(uint64(k)))
			if h.push(RecordReceived, uint32(k), &f) {
				queue = append(queue, uint64(k))
				hidden++
			} else {
				refused++
			}
			k++
		case op < 6:
			h.show()
			hidden = 0
		case op < 9:
			got, ok := h.pop()
			if ok != (len(queue) > hidden) {
				t.Fatalf("pop: %t with %d frames shown", ok, len(queue)-hidden)
			}
			if !ok {
				continue
			}
			want := numbered(queue[0], size(queue[0]))
			if got.kind != RecordReceived || got.to != uint32(queue[0]) || got.frame.Head != tap.Headroom ||
				!bytes.Equal(got.frame.Buf[got.frame.Head:got.frame.Tail], want.Buf) {
				t.Fatalf("frame %d came out as another", queue[0])
			}
			queue = queue[1:]
		default:
			h.free()
			freed++
		}
	}
	if refused == 0 || freed == 0 || h.written < 10<<20 {
		t.Errorf("%d refused, %d bytes written; the test misses its point", refused, h.written)
	}
}

// A handover's two sides run at the same time.
func TestHandoverConcurrently(t *testing.T) {
	w, err := NewWorker(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	h := NewHandover(w, 1<<20)
	const n = 20000
	go func() {
		for k := uint64(0); k < n; {
			f := numbered(k, 70+int(k%3)*700)
			if h.push(RecordReceived, 0, &f) {
				k++
			}
			h.show()
		}
	}()
	deadline := time.Now().Add(30 * time.Second)
	for k := uint64(0); k < n; {
		got, ok := h.pop()
		if !ok {
			if time.Now().After(deadline) {
				t.Fatalf("only %d frames came", k)
			}
			w.Waiter.Wait(time.Millisecond)
			continue
		}
		want := numbered(k, 70+int(k%3)*700)
		if !bytes.Equal(got.frame.Buf[got.frame.Head:got.frame.Tail], want.Buf) {
			t.Fatalf("frame %d came out as another", k)
		}
		h.free()
		k++
	}
}

// However many workers there are, the rings stay within their budget.
func TestHandoverLen(t *testing.T) {
	for rings, want := range map[int]int{2: HandoverMost, 16: HandoverMost, 30: HandoverMost / 2, 1000: handoverLeast} {
		if got := HandoverLen(rings); got != want {
			t.Errorf("%d rings of %d bytes, want %d", rings, got, want)
		}
	}
}
