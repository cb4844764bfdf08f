//go:build linux

package e2e_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostileFrames is how many broken frames go into each device.
const hostileFrames = 10000

// Thousands of random and broken frames into every device: each is counted with
// a verdict, none ends the router, and traffic goes on.
func TestHostileFrames(t *testing.T) {
	t.Parallel()
	need(t, "ping", "arping")
	p := newPair(t, services)
	p.process.hostile = true
	rng := rand.New(rand.NewPCG(1, 2))
	for _, side := range []struct {
		host          *space
		name, gateway string
		targets       []string
	}{
		{p.internal, "tap100", "172.16.100.1",
			[]string{externalAddress, "172.16.100.11", "10.10.10.3", "10.10.10.7", "172.16.100.1"}},
		{p.external, "tap-ext", "10.10.10.2", []string{"10.10.10.2", "10.10.10.3", "10.10.10.7", internalAddress}},
	} {
		var seeds [][]byte
		for _, to := range side.targets {
			seeds = append(seeds, p.seeds(t, side.host, side.name, side.gateway, to)...)
		}
		send := p.packetSocket(side.host, side.name)
		for range hostileFrames {
			_ = send(mutate(rng, seeds)) // the kernel refuses the shortest
		}
	}
	// Some of the frames were good ARP with a wrong MAC: announce the right one again.
	p.internal.run("arping", "-c", "1", "-U", "-I", "tap100", internalAddress)
	p.external.run("arping", "-c", "1", "-U", "-I", "tap-ext", externalAddress)
	p.internal.pings(t, externalAddress)
	p.external.pings(t, "10.10.10.3")
	p.process.stop()
	out := p.process.out.String()
	if p.process.err != nil || strings.Contains(out, "panic") || strings.Contains(out, "error:") {
		t.Errorf("exit %v:\n%s", p.process.err, out)
	}
	counts := map[string]int{}
	for _, m := range regexp.MustCompile(`(received|forwarded|dropped)=(\d+)`).FindAllStringSubmatch(out, -1) {
		counts[m[1]], _ = strconv.Atoi(m[2]) // the pattern has digits only
	}
	t.Logf("of %d hostile frames and a few pings: %v", 2*hostileFrames, counts)
	if counts["received"] < hostileFrames || counts["dropped"] < hostileFrames/4 ||
		counts["forwarded"] < hostileFrames/100 {
		t.Error("the frames did not get far enough to try anything")
	}
}

// mutate is a seed with bytes changed, cut off or replaced. Half of them get a
// right IP checksum, without which nothing but the checksum would be tried.
func mutate(rng *rand.Rand, seeds [][]byte) []byte {
	f := append([]byte(nil), seeds[rng.IntN(len(seeds))]...)
	for range rng.IntN(6) {
		// The MACs are left alone mostly: a wrong one ends the journey.
		f[min(len(f)-1, 12+rng.IntN(len(f))-rng.IntN(13))] = byte(rng.Uint32())
	}
	if rng.IntN(4) == 0 {
		f = f[:rng.IntN(len(f)+1)]
	}
	if rng.IntN(8) == 0 {
		for i := 14; i < len(f); i++ {
			f[i] = byte(rng.Uint32())
		}
	}
	if len(f) >= 34 && rng.IntN(2) == 0 {
		binary.BigEndian.PutUint16(f[24:], 0)
		binary.BigEndian.PutUint16(f[24:], checksum(f[14:34]))
	}
	return f
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// seeds is a few good frames from a host to an address, through its gateway.
func (p *pair) seeds(t *testing.T, host *space, name, gateway, to string) [][]byte {
	t.Helper()
	mac := host.neighbor(t, name, gateway)
	from := host.link(name).Attrs().HardwareAddr
	own := internalAddress
	if host == p.external {
		own = externalAddress
	}
	src, dst := netip.MustParseAddr(own).AsSlice(), netip.MustParseAddr(to).AsSlice()
	eth := func(kind uint16, rest ...byte) []byte {
		f := append(append(append([]byte{}, mac...), from...), byte(kind>>8), byte(kind))
		return append(f, rest...)
	}
	ip := func(proto, fragment byte, src, dst []byte, rest ...byte) []byte {
		h := []byte{0x45, 0, 0, byte(20 + len(rest)), 0, 1, fragment, 0, 64, proto, 0, 0}
		h = append(append(append(h, src...), dst...), rest...)
		binary.BigEndian.PutUint16(h[10:], checksum(h[:20]))
		return h
	}
	arp := append(append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, from...), src...)
	arp = append(append(arp, 0, 0, 0, 0, 0, 0), netip.MustParseAddr(gateway).AsSlice()...)
	udp := []byte{0x10, 0, 0x13, 0x88, 0, 12, 0, 0, 1, 2, 3, 4}
	syn := []byte{0x10, 1, 0x13, 0x88, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0}
	quoted := append([]byte{11, 0, 0, 0, 0, 0, 0, 0}, ip(17, 0, dst, src, 0x13, 0x88, 0x10, 0, 0, 12, 0, 0)...)
	binary.BigEndian.PutUint16(quoted[2:], checksum(quoted))
	return [][]byte{
		eth(0x0806, arp...),
		eth(0x0800, ip(17, 0, src, dst, udp...)...),
		eth(0x0800, ip(17, 0x20, src, dst, udp...)...), // the first of several fragments
		eth(0x0800, ip(6, 0x40, src, dst, syn...)...),
		eth(0x0800, ip(1, 0, src, dst, 8, 0, 0xf7, 0xff, 0, 0, 0, 0)...),
		eth(0x0800, ip(1, 0, src, dst, quoted...)...),
		eth(0x0800, ip(47, 0, src, dst, 0, 0, 8, 0)...),
		eth(0x8100, append([]byte{0, 100, 8, 0}, ip(17, 0, src, dst, udp...)...)...),
	}
}

// neighbor is the MAC of a neighbor, as the kernel has found it out.
func (s *space) neighbor(t *testing.T, name, address string) []byte {
	t.Helper()
	s.pings(t, address)
	neighbors, err := s.NeighList(s.link(name).Attrs().Index, netlink.FAMILY_V4)
	s.w.check(err)
	for _, n := range neighbors {
		if n.IP.String() == address && len(n.HardwareAddr) == 6 {
			return n.HardwareAddr
		}
	}
	t.Fatalf("%s has no MAC", address)
	return nil
}

// packetSocket returns a function that sends frames out of an interface.
func (p *pair) packetSocket(s *space, name string) func([]byte) error {
	p.t.Helper()
	fd := -1
	p.check(s.within(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	p.t.Cleanup(func() { unix.Close(fd) })
	to := &unix.SockaddrLinklayer{Ifindex: s.link(name).Attrs().Index, Halen: 6}
	return func(b []byte) error { return unix.Sendto(fd, b, 0, to) }
}
