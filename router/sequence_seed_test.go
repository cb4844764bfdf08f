package router

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/nettest"
)

// loadProfiles reads the scenarios' topologies and hosts.
func loadProfiles(f testing.TB) []*profile {
	var all []*profile
	for _, name := range profiled {
		file := filepath.Join("testdata", name+".txt")
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		topo, _, events, err := readScenario(file, string(text))
		if err != nil {
			f.Fatal(err)
		}
		p := &profile{name: name, topo: topo, events: events}
		for line := range strings.Lines(events) {
			if w := strings.Fields(line); len(w) > 2 && w[0] == "host" {
				p.places = append(p.places, place{w[1], netip.MustParseAddr(w[2]), true})
			}
		}
		p.addSenders()
		all = append(all, p)
	}
	return all
}

// addSenders adds one host to each network that answers, one that does not, and one
// from far away.
func (p *profile) addSenders() {
	for i := range p.topo.Networks {
		n := &p.topo.Networks[i]
		b := n.Subnets[0].CIDR.Addr().As4()
		for _, last := range []byte{77, 200} {
			b[3] = last
			p.places = append(p.places, place{n.Name, netip.AddrFrom4(b), last == 77})
		}
		p.places = append(p.places, place{n.Name, netip.MustParseAddr("8.8.8.8"), false})
	}
}

// sequenceSeeds is every scenario as a sequence, and each kind of operation in every
// kind of router.
func sequenceSeeds(f *testing.F, profiles []*profile) [][]byte {
	var all [][]byte
	for i, p := range profiles {
		all = append(all, scenarioSeed(f, p, i))
	}
	variants := []variant{clamped | smallOutside, switched, routedOnly | clamped, shortTime | offloaded,
		switched | offloaded | smallOutside}
	for i, p := range profiles {
		n, v := byte(i), variants[i%len(variants)]
		all = append(all, meetings(p, n, 0, 0, 0), meetings(p, n, n+1, n&3, v))
		all = append(all, everything(n, 0, 0, 0), everything(n, n+1, 1+n, v))
		all = append(all, bursts(p, n, 0, 0), bursts(p, n, 15, v))
	}
	held := []byte{0, 0, 0, 0}
	for k := range profiles[0].places { // more bytes of fragments than are held, of each and of all
		held = append(held, opBurst, burstLater, byte(k), 0, 100, opBurst, burstPieces, byte(k), 0, 40)
	}
	all = append(all, held)
	return all
}

// scenarioSeed is the frames and the time of a scenario.
func scenarioSeed(f *testing.F, p *profile, number int) []byte {
	c := &scenario{sim: newSim(f, p.topo), first: map[string]*simHost{}}
	seed := []byte{byte(number), 0, 0, byte(decodedToo)}
	for line := range strings.Lines(p.events) {
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		switch w[0] {
		case "host":
			if err := c.addHost(w[1], w[2:]); err != nil {
				f.Fatal(err)
			}
		case "tick":
			d, err := time.ParseDuration(w[1])
			if err != nil {
				f.Fatal(err)
			}
			seed = append(seed, opAdvance)
			seed = append(seed, binary.BigEndian.AppendUint32(nil, uint32(d.Milliseconds()))[1:]...)
		case ">":
			eth, err := c.frame(w[1], w[2:])
			if err != nil {
				f.Fatal(err)
			}
			for i, name := range c.names {
				if name == w[1] {
					seed = append(seed, rawSeed(byte(i), eth)...)
				}
			}
		}
	}
	return seed
}

// rawSeed puts in a frame; a right one is to stay right when the fuzzer changes it.
func rawSeed(network byte, eth []byte) []byte {
	flags := byte(rawToRouter)
	if eth[0]&1 != 0 {
		flags = 0
	}
	if nettest.Verify(eth) == nil {
		flags |= rawFix
	}
	b := binary.BigEndian.AppendUint16([]byte{opRaw, network, flags}, uint16(len(eth)))
	return append(b, eth...)
}

// meetings is every host sending to every address, in every protocol, from two ports, with
// answers and with errors.
func meetings(p *profile, number, behaviors, limits byte, v variant) []byte {
	seed := []byte{number, behaviors, limits, byte(decodedToo | v)}
	dests := 12 + 3*len(p.places)
	for to := range byte(dests) {
		// In pieces, in each order, most often a ping.
		seed = append(seed, opFragments, 2+to%3/2, to%byte(len(p.places)), to, 0, 7, 0, to&8|to&3)
		for from := range byte(len(p.places)) {
			kind := opUDP + (from+to)%4
			ports := from&1 | []byte{2, 3, 4, 5}[to&3]<<3
			seed = append(seed, kind, from, to, answerIt|from<<5, ports, from+to, to&3)
		}
	}
	return seed
}

// everything is each operation with several arguments.
func everything(number, behaviors, limits byte, v variant) []byte {
	seed := []byte{number, behaviors, limits, byte(decodedToo | v)}
	arg := limits
	next := func(n byte) byte {
		arg = arg*5 + 3
		return arg >> 2 % n
	}
	for round := range byte(10) {
		for op := range byte(numOps) {
			seed = append(seed, op)
			switch op {
			case opRaw:
				seed = append(seed, next(4), 0, 0, 3, 1, 2, 3)
			case opUDP, opTCP, opEcho, opOther:
				seed = append(seed, next(8), next(32), answerIt|next(255), next(64), next(8), next(8))
			case opFragments, opSuper:
				seed = append(seed, next(4), next(8), next(32), next(64), next(8), next(8), next(64))
			case opError:
				seed = append(seed, next(8), next(255), next(8))
			case opReply, opDevice:
				seed = append(seed, next(8), next(6))
			case opAgain:
				seed = append(seed, next(8), 8|1, 0, next(60), next(255))
			case opAdvance:
				seed = append(seed, round/9, next(32), 100)
			case opMute:
				seed = append(seed, next(8))
			case opBurst:
				seed = append(seed, round, next(8), next(32), 10+next(32))
			case opARP:
				seed = append(seed, next(8), next(8), next(32), next(16))
			}
		}
	}
	return seed
}

// bursts is each kind of burst, to the router itself and to another address.
func bursts(p *profile, number, limits byte, v variant) []byte {
	seed := []byte{number, 0, limits, byte(decodedToo | v)}
	for what := range byte(numBursts) {
		for k, dst := range []int{6 + len(p.places), 0} {
			seed = append(seed, opBurst, what, byte(len(p.places)-3*k-3), byte(dst), 120-byte(k)*40)
			seed = append(seed, opAdvance, 0, what, 0)
		}
	}
	return seed
}
