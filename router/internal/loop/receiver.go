package loop

import (
	"slices"

	"github.com/taprouter/taprouter/tap"
)

// A Receiver takes the frames that another worker hands over. It is called by its own worker.
type Receiver interface {
	// Accept takes a frame. kind is one of the kinds of records. The frame's buffer is the turn's, until the batch is
	// flushed.
	Accept(t *Turn, kind uint8, f *tap.Frame)
}

// ReceiverNumbers numbers the receivers of an engine. A frame that one worker hands to another names its receiver by
// that number. The number of a receiver that is gone does not come again before frames for it are long gone: its upper
// part counts how often the lower part has been used. The zero value is empty. Callers serialize: a change of the State
// adds and removes.
type ReceiverNumbers struct {
	slots ReceiverList // by the lower part of the numbers
	uses  []uint32
	free  []uint32 // the one that has been free for longest comes first
}

// A receiverAt is a receiver with its number.
type receiverAt struct {
	number uint32
	to     Receiver
}

const slotBits = 20

// Add gives a receiver a number.
func (g *ReceiverNumbers) Add(to Receiver) uint32 {
	var k uint32
	if len(g.free) > 0 && (len(g.free) > 64 || len(g.slots) == 1<<slotBits) {
		k, g.free = g.free[0], g.free[1:]
	} else {
		k = uint32(len(g.slots))
		g.slots, g.uses = append(g.slots, receiverAt{}), append(g.uses, 0)
	}
	g.uses[k]++
	number := g.uses[k]<<slotBits | k
	g.slots[k] = receiverAt{number, to}
	return number
}

// Remove takes a number back. Workers find its receiver until they have a new List.
func (g *ReceiverNumbers) Remove(number uint32) {
	k := number & (1<<slotBits - 1)
	g.slots[k] = receiverAt{}
	g.free = append(g.free, k)
}

// List is a copy of the receivers as they are now, for the workers.
func (g *ReceiverNumbers) List() ReceiverList { return slices.Clone(g.slots) }

// A ReceiverList finds receivers by their numbers. It is never changed, so all workers may have the same one.
type ReceiverList []receiverAt

// find returns the receiver with a number, or nil.
func (all ReceiverList) find(number uint32) Receiver {
	if k := number & (1<<slotBits - 1); k < uint32(len(all)) && all[k].number == number {
		return all[k].to
	}
	return nil
}
