package loop

import (
	"testing"

	"github.com/taprouter/taprouter/tap"
)

// A numberedReceiver is a receiver that can be told from others.
type numberedReceiver int

func (numberedReceiver) Accept(*Turn, uint8, *tap.Frame) {}

// A receiver is found by its number as long as it is there. Its place is used again late, and then by another number:
// a frame for a receiver that is gone finds none.
func TestReceiverNumbers(t *testing.T) {
	var all ReceiverNumbers
	numbers := map[uint32]bool{}
	var kept, gone []uint32
	for k := range 300 {
		n := all.Add(numberedReceiver(k))
		if numbers[n] {
			t.Fatalf("number %d is given twice", n)
		}
		numbers[n] = true
		if k%3 == 0 {
			all.Remove(n)
			gone = append(gone, n)
		} else {
			kept = append(kept, n)
		}
	}
	list := all.List()
	if len(list) >= 300 {
		t.Errorf("no place was used again: %d", len(list))
	}
	seen := map[Receiver]bool{}
	for _, n := range kept {
		r := list.find(n)
		if r == nil || seen[r] {
			t.Errorf("%d finds %v", n, r)
		}
		seen[r] = true
	}
	for _, n := range gone {
		if r := list.find(n); r != nil {
			t.Errorf("%d, which is gone, finds %v", n, r)
		}
	}
	if r := list.find(1<<31 | 1<<19); r != nil {
		t.Errorf("a number that no receiver has finds %v", r)
	}
}
