package loop

// An arena hands out buffers that are all given back at once.
type arena struct {
	block []byte
	Used  int // bytes of block that are handed out
}

const arenaLen = 1 << 20

func (a *arena) alloc(n int) []byte {
	n8 := (n + 63) &^ 63
	if a.Used+n8 > len(a.block) {
		// The buffers that were handed out keep the former block alive.
		a.block, a.Used = make([]byte, max(arenaLen, n8)), 0
	}
	b := a.block[a.Used : a.Used+n : a.Used+n]
	a.Used += n8
	clear(b)
	return b
}

func (a *arena) reset() { a.Used = 0 }
