package nat

import (
	"math/bits"
	"math/rand/v2"
)

// A portSet is the free ports of one external address and protocol. Even and odd ports lie apart. So the
// next free one of a parity is found by looking at a word, a summary of 64 words, and one more word. The
// time does not depend on how many are taken.
type portSet struct {
	half [2]halfSet // by parity
}

// A halfSet is a set of 32768 numbers.
type halfSet struct {
	words   [512]uint64
	summary [8]uint64 // bit i: words[i] is not empty
}

func newPortSet() (s portSet) {
	for h := range s.half {
		for i := range s.half[h].words {
			s.half[h].words[i] = ^uint64(0)
		}
		for i := range s.half[h].summary {
			s.half[h].summary[i] = ^uint64(0)
		}
	}
	return s
}

func (s *portSet) free(port uint16) bool {
	k := port >> 1
	return s.half[port&1].words[k>>6]>>(k&63)&1 != 0
}

func (s *portSet) take(port uint16) {
	h, k := &s.half[port&1], port>>1
	h.words[k>>6] &^= 1 << (k & 63)
	if h.words[k>>6] == 0 {
		h.summary[k>>12] &^= 1 << (k >> 6 & 63)
	}
}

func (s *portSet) put(port uint16) {
	h, k := &s.half[port&1], port>>1
	h.words[k>>6] |= 1 << (k & 63)
	h.summary[k>>12] |= 1 << (k >> 6 & 63)
}

// next returns the smallest member from k up, or -1.
func (h *halfSet) next(k int) int {
	if k >= 1<<15 {
		return -1
	}
	w := k >> 6
	if word := h.words[w] >> (k & 63); word != 0 {
		return k + bits.TrailingZeros64(word)
	}
	w++
	for i := w >> 6; i < len(h.summary); i++ {
		sum := h.summary[i]
		if i == w>>6 {
			sum &= ^uint64(0) << (w & 63)
		}
		if sum != 0 {
			w = i<<6 + bits.TrailingZeros64(sum)
			return w<<6 + bits.TrailingZeros64(h.words[w])
		}
	}
	return -1
}

// find returns a free port of the given parity between lo and hi, starting at a
// random place.
func (s *portSet) find(parity, lo, hi int, rng *rand.Rand) (uint16, bool) {
	first, last := (lo+1-parity)>>1, (hi-parity)>>1 // numbers within the half
	if last < first {
		return 0, false
	}
	k := s.half[parity].next(first + rng.IntN(last-first+1))
	if k < 0 || k > last {
		k = s.half[parity].next(first)
	}
	if k < 0 || k > last {
		return 0, false
	}
	return uint16(k<<1 | parity), true
}

// choose picks the external port for an internal one: the same if it is free,
// else one of the same parity (RFC 4787 REQ-4), else any of the range,
// unpredictably (RFC 6056).
func (s *portSet) choose(port uint16, lo, hi int, rng *rand.Rand) (uint16, bool) {
	if int(port) >= lo && int(port) <= hi && s.free(port) {
		return port, true
	}
	return s.another(port, lo, hi, rng)
}

// another is choose where the port itself does not serve. It may still return it, by chance.
func (s *portSet) another(port uint16, lo, hi int, rng *rand.Rand) (uint16, bool) {
	parity := int(port & 1)
	if p, ok := s.find(parity, lo, hi, rng); ok {
		return p, true
	}
	return s.find(1-parity, lo, hi, rng)
}
