package wire

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// A macTable is what a switch has learned: which port each MAC address was last
// seen at. It has open addressing with linear probing, because every frame asks it twice. To forget
// addresses, the table is made anew. The zero value is empty.
type macTable struct {
	Seed  uint64 // secret, so that no host can choose addresses that collide
	slots []seenAt
	used  int
}

// seenAt is where a MAC address was last seen.
type seenAt struct {
	mac  uint64 // of macKey; 0: the slot is free
	port *Port
	at   time.Duration // by Turn.Now
}

// macKey is a MAC address, its bytes read as a big-endian number, with the top bit set, so that it is never 0.
func macKey(mac []byte) uint64 {
	return 1<<63 | uint64(binary.BigEndian.Uint16(mac))<<32 | uint64(binary.BigEndian.Uint32(mac[2:]))
}

// macHash spreads keys in a way that depends on a secret.
func macHash(key, seed uint64) uint64 {
	hi, lo := bits.Mul64(key^seed, 0x9e3779b97f4a7c15)
	return hi ^ lo
}

// find returns the slot of an address, or the free slot where it would go; nil if
// the table has no slots yet.
func (t *macTable) find(key uint64) *seenAt {
	if len(t.slots) == 0 {
		return nil
	}
	mask := uint64(len(t.slots) - 1)
	for i := macHash(key, t.Seed) & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.mac == key || s.mac == 0 {
			return s
		}
	}
}

// lookup returns where an address was seen; nil: nowhere.
func (t *macTable) lookup(mac []byte) *seenAt {
	if s := t.find(macKey(mac)); s != nil && s.mac != 0 {
		return s
	}
	return nil
}

// add notes an address that is not there yet.
func (t *macTable) add(mac []byte, p *Port, at time.Duration) {
	if 2*(t.used+1) > len(t.slots) {
		t.rebuild(max(32, 2*len(t.slots)), func(*seenAt) bool { return true })
	}
	*t.find(macKey(mac)) = seenAt{macKey(mac), p, at}
	t.used++
}

// forget drops the addresses for which match is true.
func (t *macTable) forget(match func(*seenAt) bool) {
	t.rebuild(len(t.slots), func(s *seenAt) bool { return !match(s) })
}

// rebuild makes the table anew, with n slots, of the addresses for which keep is true. n is a power of two.
func (t *macTable) rebuild(n int, keep func(*seenAt) bool) {
	old := t.slots
	t.slots, t.used = make([]seenAt, n), 0
	for i := range old {
		if old[i].mac != 0 && keep(&old[i]) {
			*t.find(old[i].mac) = old[i]
			t.used++
		}
	}
}

const (
	// maxMACs bounds the addresses that a network learns. Frames to others are flooded.
	maxMACs = 8192
	// MACAge is how long an address is remembered (IEEE 802.1Q, 8.8.3).
	MACAge = 300 * time.Second
	// macSearch is the least time between two searches for addresses to forget.
	macSearch = 10 * time.Second
)
