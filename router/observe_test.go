package router

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"

	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
	"github.com/taprouter/taprouter/tap/virtio"
)

// A spectator writes down what observers are told.
type spectator struct {
	lines  []string
	frames [][]byte
	stops  []func()
}

func (w *spectator) watch(t *testing.T, s *sim, networks ...string) {
	t.Helper()
	for _, name := range networks {
		stop, err := s.Observe(name, func(o Observation) {
			way := "in"
			if o.Out {
				way = "out"
			}
			if want := time.Unix(0, int64(s.now)); !o.At.Equal(want) || o.Network != name {
				t.Errorf("a frame on %s at %v, want %s and %v", o.Network, o.At, name, want)
			}
			what := packet.Summary(o.Frame.Ethernet())
			w.lines = append(w.lines, fmt.Sprintf("%s %s %s: %s", o.Network, way, what, o.Comment()))
			w.frames = append(w.frames, bytes.Clone(o.Frame.Buf[o.Frame.Head:o.Frame.Tail]))
		})
		if err != nil {
			t.Fatal(err)
		}
		w.stops = append(w.stops, stop)
	}
}

// wants compares what has been written down since the last call.
func (w *spectator) wants(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(w.lines, want) {
		t.Errorf("\n got %s\nwant %s", strings.Join(w.lines, "\n     "), strings.Join(want, "\n     "))
	}
	w.lines, w.frames = nil, nil
}

// An observer hears of every frame in the order of the wire. It sees a frame that came in as it came, with its verdict.
func TestObservedVerdicts(t *testing.T) {
	c, err := runScenario(t, "observed", traceTopology)
	if err != nil {
		t.Fatal(err)
	}
	var w spectator
	w.watch(t, c.sim, "vlan100", "vlan101", "ext")
	in := func(network, line string) []byte {
		t.Helper()
		eth, err := c.frame(network, strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		c.put(network, eth)
		return eth
	}
	in("vlan101", "udp 172.16.101.3:4000 > 10.10.10.4:53 len 1")
	w.wants(t,
		"vlan101 in 172.16.101.3:4000 > 10.10.10.4:53 udp, ttl 64, length 29: parked",
		"ext out arp who has 10.10.10.4? tell 10.10.10.2: made by a router",
		"ext in arp 10.10.10.4 is at 02:00:0a:0a:0a:04: consumed",
		"vlan101 in 172.16.101.3:4000 > 10.10.10.4:53 udp, ttl 64, length 29: waited, then forwarded",
		"ext out 10.10.10.2:4000 > 10.10.10.4:53 udp, ttl 63, length 29: sent by a router")
	c.advance(time.Second)
	sent := in("vlan101", "udp 172.16.101.3:4000 > 10.10.10.4:53 len 2")
	if !bytes.Equal(w.frames[0][tap.HeaderLen:], sent) {
		t.Errorf("observed %x\nwhat came in was %x", w.frames[0], sent)
	}
	w.wants(t,
		"vlan101 in 172.16.101.3:4000 > 10.10.10.4:53 udp, ttl 64, length 30: forwarded",
		"ext out 10.10.10.2:4000 > 10.10.10.4:53 udp, ttl 63, length 30: sent by a router")
	in("vlan101", "icmp 172.16.101.3 > 172.16.101.1 request id 1 seq 1")
	in("ext", "udp 10.10.10.4:1 > 172.16.101.3:53 len 1")
	in("vlan101", "udp 172.16.101.3:4000 > 10.10.10.4:53 len 1 ttl 1")
	c.put("ext", []byte{1, 2, 3})
	w.wants(t,
		"vlan101 in 172.16.101.3 > 172.16.101.1 icmp echo request id 1 seq 1, ttl 64, length 28: consumed",
		"vlan101 out 172.16.101.1 > 172.16.101.3 icmp echo reply id 1 seq 1, ttl 64, length 28: made by a router",
		"ext in 10.10.10.4:1 > 172.16.101.3:53 udp, ttl 64, length 29: dropped at route: policy",
		"vlan101 in 172.16.101.3:4000 > 10.10.10.4:53 udp, ttl 1, length 29: dropped at ttl: ttl",
		"vlan101 out 172.16.101.1 > 172.16.101.3 icmp time exceeded code 0 about "+
			"[172.16.101.3:4000 > 10.10.10.4:53 udp, ttl 1, length 29], ttl 64, length 57: made by a router",
		"ext in a runt of 3 bytes: dropped at switch: runt")
	for _, stop := range w.stops {
		stop()
	}
	in("vlan101", "udp 172.16.101.3:4000 > 10.10.10.4:53 len 1")
	w.wants(t)
	if n := c.w.Arena.Used; n > 1<<16 {
		t.Errorf("%d bytes of the arena are in use", n)
	}
}

// A network that another worker's router is on: only the worker that judges a frame tells its verdict.
func TestObservedByTheOtherWorker(t *testing.T) {
	s := newSim(t, manyRouters(t, 2, 1, 2))
	if s.nets["net0"].Home == s.nets["net1"].Home {
		t.Fatal("one worker has both routers")
	}
	var w spectator
	w.watch(t, s, "ext_net")
	outside := s.host("ext_net", "10.255.0.9")
	for k := range 2 {
		s.host(fmt.Sprintf("net%d", k), "192.168.1.2")
	}
	for k := range 2 {
		s.put("ext_net", arpRequest(outside.mac, "10.255.0.9", fmt.Sprintf("10.%d.0.1", k)))
	}
	w.lines = nil
	for k := range 2 {
		eth, err := nettest.Parse(fmt.Sprintf("udp 10.255.0.9:1 > 10.%d.0.1:53 len 1", k))
		if err != nil {
			t.Fatal(err)
		}
		nettest.SetMACs(eth, outside.mac, s.nets["ext_net"].Routers[k].MAC)
		s.put("ext_net", eth)
		w.wants(t, fmt.Sprintf("ext_net in 10.255.0.9:1 > 10.%d.0.1:53 udp, ttl 64, length 29: dropped at local: "+
			"refused", k),
			fmt.Sprintf("ext_net out 10.%d.0.1 > 10.255.0.9 icmp unreachable code 3 about "+
				"[10.255.0.9:1 > 10.%[1]d.0.1:53 udp, ttl 64, length 29], ttl 64, length 57: made by a router", k))
	}
	// From one router to the other: it crosses once, as it goes out.
	eth, err := nettest.Parse("udp 192.168.1.2:1 > 10.1.0.2:53 len 1")
	if err != nil {
		t.Fatal(err)
	}
	nettest.SetMACs(eth, s.hosts[hostKey{"net0", prefix("192.168.1.2/32").Addr()}].mac, s.routerMAC("net0"))
	s.put("net0", eth)
	var ip []string
	for _, line := range w.lines {
		if !strings.Contains(line, "arp") {
			ip = append(ip, line)
		}
	}
	w.lines = ip
	w.wants(t, "ext_net out 10.0.0.2:1 > 10.1.0.2:53 udp, ttl 63, length 29: sent by a router")
}

func arpRequest(mac packet.MAC, from, target string) []byte {
	b := make([]byte, packet.ARPLen)
	packet.PutARP(b, mac, packet.Broadcast, packet.ARP{Request: true, SenderMAC: mac,
		Sender: packet.AddrFrom(addr(from)), Target: packet.AddrFrom(addr(target))})
	return b
}

// TestGoldenCapture holds a capture with verdicts to testdata/capture/verdicts.pcapng, byte for byte, and
// reads it back.
func TestGoldenCapture(t *testing.T) {
	c, err := runScenario(t, "capture", traceTopology)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	w, err := tap.NewCaptureWriter(&file, 64)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := c.Capture(w)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"> vlan101 udp 172.16.101.3:4000 > 10.10.10.4:53 len 100",
		"tick 1s",
		"> ext udp 10.10.10.4:4000 > 172.16.101.3:53 len 1",
		"> vlan101 udp 172.16.101.3:4000 > 172.16.100.77:53 len 1",
		"tick 4s",
	} {
		if words := strings.Fields(line); c.step(words[0], words[1:]) != nil {
			t.Fatal(line)
		}
	}
	// A datagram whose checksum is left to the device: the sum of the pseudo header stands for it.
	eth, err := c.frame("vlan101", strings.Fields("udp 172.16.101.3:4001 > 10.10.10.4:53 len 1"))
	if err != nil {
		t.Fatal(err)
	}
	frame := append(make([]byte, tap.HeaderLen), eth...)
	unfinish(frame, virtio.GSONone, 0)
	c.putFrame("vlan101", frame)
	stop()
	size := file.Len()
	if c.put("ext", arpRequest(packet.MAC{2, 9}, "10.10.10.9", "10.10.10.2")); file.Len() != size || w.Err() != nil {
		t.Errorf("after stop %d bytes more are written, error %v", file.Len()-size, w.Err())
	}
	path := filepath.Join("testdata", "capture", "verdicts.pcapng")
	if *update {
		if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file.Bytes(), want) {
		t.Errorf("%s is not what is captured now.\nIf this is meant to be: make golden, and explain it in the commit.",
			path)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(file.Bytes()), pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for {
		data, ci, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		i, err := r.Interface(ci.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		if ci.CaptureLength == ci.Length {
			if err := nettest.Verify(data); err != nil {
				t.Errorf("%s: %v", packet.Summary(data), err)
			}
		}
		at := ci.Timestamp.Sub(time.Unix(0, 0))
		lines = append(lines, fmt.Sprintf("%v %s %d/%d %s", at, i.Name, len(data), ci.Length, packet.Summary(data)))
	}
	blocks := packetBlocks(t, file.Bytes())
	if len(blocks) != len(lines) {
		t.Fatalf("%d blocks, but %d packets", len(blocks), len(lines))
	}
	for k := range lines {
		lines[k] += blocks[k]
	}
	if got := strings.Join(lines, "\n") + "\n"; got != wantCapture {
		t.Errorf("\n%s\nwant\n%s", got, wantCapture)
	}
	checkTshark(t, file.Bytes(), blocks)
}

const wantCapture = `0s vlan101 64/142 172.16.101.3:4000 > 10.10.10.4:53 udp, ttl 64, length 128 in: parked
0s ext 42/42 arp who has 10.10.10.4? tell 10.10.10.2 out: made by a router
0s ext 42/42 arp 10.10.10.4 is at 02:00:0a:0a:0a:04 in: consumed
0s ext 64/142 10.10.10.2:4000 > 10.10.10.4:53 udp, ttl 63, length 128 out: sent by a router
1s ext 43/43 10.10.10.4:4000 > 172.16.101.3:53 udp, ttl 64, length 29 in: dropped at route: policy
1s vlan101 43/43 172.16.101.3:4000 > 172.16.100.77:53 udp, ttl 64, length 29 in: parked
1s vlan100 42/42 arp who has 172.16.100.77? tell 172.16.100.1 out: made by a router
2s vlan100 42/42 arp who has 172.16.100.77? tell 172.16.100.1 out: made by a router
3s vlan100 42/42 arp who has 172.16.100.77? tell 172.16.100.1 out: made by a router
4s vlan101 43/43 172.16.101.3:4000 > 172.16.100.77:53 udp, ttl 64, length 29 in: waited, then dropped at neighbor: neighbor-failed
4s vlan101 64/71 172.16.101.1 > 172.16.101.3 icmp unreachable code 1 about [172.16.101.3 > 172.16.100.77 udp, ttl 64, length 29], ttl 64, length 57 out: made by a router
5s vlan101 43/43 172.16.101.3:4001 > 10.10.10.4:53 udp, ttl 64, length 29 in: forwarded
5s ext 43/43 10.10.10.2:4001 > 10.10.10.4:53 udp, ttl 63, length 29 out: sent by a router
`

// packetBlocks are direction and comment of each enhanced packet block of a little-endian capture.
func packetBlocks(t *testing.T, b []byte) []string {
	t.Helper()
	var all []string
	for len(b) > 0 {
		kind, n := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		block := b[8 : n-4]
		if binary.LittleEndian.Uint32(b[n-4:]) != n {
			t.Fatal("a block has two lengths")
		}
		b = b[n:]
		if kind != 6 {
			continue
		}
		s := ""
		options := block[20+(binary.LittleEndian.Uint32(block[12:])+3)&^3:]
		for len(options) > 0 {
			code, n := binary.LittleEndian.Uint16(options), int(binary.LittleEndian.Uint16(options[2:]))
			value := options[4 : 4+n]
			options = options[4+(n+3)&^3:]
			switch code {
			case 1:
				s += ": " + string(value)
			case 2:
				s += map[byte]string{1: " in", 2: " out"}[value[0]]
			}
		}
		all = append(all, s)
	}
	return all
}

// checkTshark has tshark read comments and directions.
func checkTshark(t *testing.T, file []byte, want []string) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("missing: tshark (make test-deps installs it)")
		}
		t.Skip("missing: tshark (make test-deps installs it); gopacket has read it back")
	}
	path := filepath.Join(t.TempDir(), "x.pcapng")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tshark", "-r", path, "-T", "fields",
		"-e", "frame.packet_flags_direction", "-e", "frame.comment").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		direction, comment, _ := strings.Cut(strings.TrimSpace(line), "\t")
		way := map[string]string{"0x00000001": " in", "0x00000002": " out", "1": " in", "2": " out"}[direction]
		got = append(got, way+": "+comment)
	}
	if !slices.Equal(got, want) {
		t.Errorf("tshark reads\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
