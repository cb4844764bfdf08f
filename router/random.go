package router

import (
	"crypto/hmac"

	"github.com/taprouter/taprouter/router/internal/wire"

	crand "crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// A randomness is where all that an engine chooses at random comes from. Each object has a generator of its own, made
// of the engine's key and the object's id. So an object that is added or removed changes no choice of another.
type randomness struct{ key [32]byte }

// newRandomness takes the key from the operating system's randomness, or from a seed. A host that sees ports and
// identifiers must not be able to foretell the next ones (RFC 6056, 3.3), so the generators are cryptographic ones.
func newRandomness(seed uint64) *randomness {
	r := &randomness{}
	if seed == 0 {
		_, _ = crand.Read(r.key[:]) // never fails
	} else {
		binary.LittleEndian.PutUint64(r.key[:], seed)
	}
	return r
}

// of returns the generator for one use of an object.
func (r *randomness) of(use string, object wire.ID) *rand.Rand {
	h := hmac.New(sha256.New, r.key[:])
	h.Write([]byte(use))
	h.Write([]byte{0})
	h.Write([]byte(object))
	return rand.New(rand.NewChaCha8([32]byte(h.Sum(nil))))
}
