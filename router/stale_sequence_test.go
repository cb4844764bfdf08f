package router

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/taprouter/taprouter/internal/packet"
)

// comingBack is few clients that come back by few ports to the VIPs of a profile, all the time, while their
// members come, drain and go: the bytes of a sequence.
func comingBack(p *profile, number byte, to []byte, r *rand.Rand) []byte {
	any := func(n int) byte { return byte(r.IntN(n)) }
	seed := []byte{number, any(9), any(16)<<4 | any(2)*9, byte(decodedToo) * any(2)}
	froms := []byte{any(len(p.places)), any(len(p.places))}
	for range 150 + r.IntN(100) {
		from, dst := froms[any(2)], to[any(len(to))]
		ports := any(2) | 2<<3
		flags := func(kind, seq, ack byte) byte { return kind | seq<<3 | ack<<5 }
		send := func(how, f byte) { seed = append(seed, opTCP, from, dst, how, ports, 0, f) }
		switch r.IntN(10) {
		case 0, 1, 2: // opens, as a whole or in part
			send(answerIt, flags(0, 3*any(2), 0))
			if any(4) > 0 {
				send(answerIt*any(2), flags(2, 1, 1))
			}
		case 3:
			send(0, flags(any(8), any(4), any(4)))
		case 4, 5: // a member's weight, or whether it is up
			seed = append(seed, opDevice, 0, 3, 0, any(2), any(4))
		case 6, 7:
			seed = append(seed, opReply, any(8), any(4))
		case 8:
			seed = append(seed, opAdvance)
			ms := []uint32{1000, 20_000, 200_000, 241_000, 7_450_000}[any(5)]
			seed = append(seed, binary.BigEndian.AppendUint32(nil, ms)[1:]...)
		case 9:
			seed = append(seed, opMute, any(len(p.places)))
		}
	}
	return seed
}

// vipTargets is where packets go to a profile's VIPs, by themselves and by floating IPs.
func vipTargets(t *testing.T, p *profile) []byte {
	q := &sequence{profile: p, sim: newSim(t, p.topo)}
	q.observe()
	var all []byte
	for i, addr := range q.addresses() {
		for _, v := range p.topo.VIPs {
			if addr == packet.AddrFrom(v.Address) {
				all = append(all, byte(i))
			}
		}
		for _, f := range p.topo.FloatingIPs {
			if addr == packet.AddrFrom(f.Address) {
				all = append(all, byte(i))
			}
		}
	}
	return all
}

// Clients come back by the ports of connections whose members may have no new ones any more, in any
// order: what holds in every sequence holds in these, which chance alone hardly ever makes up.
func TestClientsComeBack(t *testing.T) {
	profiles := loadProfiles(t)
	for i, p := range profiles {
		if len(p.topo.VIPs) == 0 {
			continue
		}
		to := vipTargets(t, p)
		for seed := range uint64(80) {
			data := comingBack(p, byte(i), to, rand.New(rand.NewPCG(seed, uint64(i))))
			t.Run(fmt.Sprint(p.name, " ", seed), func(t *testing.T) { playSequence(t, profiles, data, 0) })
		}
	}
}
