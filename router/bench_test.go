package router

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/wire"
	"github.com/taprouter/taprouter/tap"
)

// A nullDevice takes every frame and keeps none.
type nullDevice struct {
	simDevice
	taken int
}

func (d *nullDevice) Write(frames []tap.Frame) (int, error) {
	d.taken += len(frames)
	return len(frames), nil
}

// established is a lesson with one UDP connection and a frame of it, as it
// arrives: from a host behind SNAT. establishedTCP is the same with TCP.
func established(t testing.TB) (w *shard, in *wire.Port, frame []byte, out *nullDevice) {
	return establishedOf(t, func(l *lesson) []byte {
		return l.build(l.vm4, "10.10.10.4", 17, nil, udpLayer(), payload(18))
	})
}

func establishedTCP(t testing.TB) (w *shard, in *wire.Port, frame []byte, out *nullDevice) {
	return establishedOf(t, func(l *lesson) []byte {
		l.tcp(l.vm4, 4000, "10.10.10.4", 80, "S")
		l.tcp(l.client, 80, "10.10.10.2", 4000, "S.")
		l.tcp(l.vm4, 4000, "10.10.10.4", 80, ".")
		return l.build(l.vm4, "10.10.10.4", 6, []ipOpt{df},
			&layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 1001, Ack: 1001, ACK: true, Window: 65535}, payload(6))
	})
}

// establishedVIP is what a member sends to a client of its VIP's floating IP, which counts for the
// VIP as well.
func establishedVIP(t testing.TB) (w *shard, in *wire.Port, frame []byte, out *nullDevice) {
	w, _, frame, out = establishedOf(t, func(l *lesson) []byte {
		l.tcp(l.client, 4000, "10.10.10.7", 80, "S")
		l.tcp(l.web1, 80, "10.10.10.4", 4000, "S.")
		l.tcp(l.client, 4000, "10.10.10.7", 80, ".")
		return l.build(l.web1, "10.10.10.4", 6, []ipOpt{df},
			&layers.TCP{SrcPort: 80, DstPort: 4000, Seq: 1001, Ack: 1001, ACK: true, Window: 65535}, payload(6))
	})
	return w, lessonPort(w, "vlan100"), frame, out
}

func establishedOf(t testing.TB, open func(*lesson) []byte) (w *shard, in *wire.Port, frame []byte, out *nullDevice) {
	t.Helper()
	return establishedOn(t, newLesson(t), open)
}

// establishedGuarded is established where the host's network has port security.
func establishedGuarded(t testing.TB) (w *shard, in *wire.Port, frame []byte, out *nullDevice) {
	topo := tutorial()
	topo.Networks[1].PortSecurity = true
	for k := range byte(2) {
		topo.Ports = append(topo.Ports, file.Port{Name: fmt.Sprint("vm", 3+k), Network: "vlan101",
			FixedIP: netip.AddrFrom4([4]byte{172, 16, 101, 3 + k}), MAC: file.MAC{2, 0, 172, 16, 101, 3 + k}})
	}
	return establishedOn(t, newLessonOf(t, topo), func(l *lesson) []byte {
		return l.build(l.vm4, "10.10.10.4", 17, nil, udpLayer(), payload(18))
	})
}

func establishedOn(
	t testing.TB, l *lesson, open func(*lesson) []byte,
) (w *shard, in *wire.Port, frame []byte, out *nullDevice) {
	t.Helper()
	l.udp(l.vm4, 4000, "10.10.10.4", 53, "x")
	l.udp(l.client, 53, "10.10.10.2", 4000, "x")
	l.udp(l.vm4, 4000, "8.8.8.8", 53, "x") // so that the next hop is known
	eth := open(l)
	out = &nullDevice{}
	lessonPort(l.w, "ext_net").Link.Dev = out
	frame = append(make([]byte, tap.HeaderLen), eth...)
	return l.w, lessonPort(l.w, "vlan101"), frame, out
}

// lessonPort is the only port of a network.
func lessonPort(w *shard, name string) *wire.Port {
	i := slices.IndexFunc(w.networks, func(n *wire.Network) bool { return n.Name() == name })
	return w.networks[i].Ports[0]
}

// BenchmarkForward is one small packet of an established connection through
// everything but a device: switch, stages, translation, output batch.
func BenchmarkForward(b *testing.B) { benchmarkForward(b, established) }

// BenchmarkForwardGuarded is the same from a network with port security.
func BenchmarkForwardGuarded(b *testing.B) { benchmarkForward(b, establishedGuarded) }

// BenchmarkForwardTCP is the same with a segment, whose place is looked at.
func BenchmarkForwardTCP(b *testing.B) { benchmarkForward(b, establishedTCP) }

// BenchmarkForwardVIP is the same through a VIP and its floating IP.
func BenchmarkForwardVIP(b *testing.B) { benchmarkForward(b, establishedVIP) }

func benchmarkForward(b *testing.B, established func(testing.TB) (*shard, *wire.Port, []byte, *nullDevice)) {
	w, in, frame, out := established(b)
	f := &w.Frames[0]
	f.Head = tap.Headroom
	f.Tail = f.Head + len(frame)
	b.ReportAllocs()
	for b.Loop() {
		copy(f.Buf[f.Head:], frame)
		in.Take(&w.Turn, f)
		w.Flush()
	}
	if out.taken == 0 {
		b.Fatal("nothing was forwarded")
	}
}

// A packet of an established connection allocates nothing.
func TestForwardDoesNotAllocate(t *testing.T) {
	for name, established := range map[string]func(testing.TB) (*shard, *wire.Port, []byte, *nullDevice){
		"udp": established, "tcp": establishedTCP, "vip": establishedVIP, "port security": establishedGuarded,
	} {
		t.Run(name, func(t *testing.T) {
			w, in, frame, out := established(t)
			f := &w.Frames[0]
			f.Head = tap.Headroom
			f.Tail = f.Head + len(frame)
			n := testing.AllocsPerRun(1000, func() {
				copy(f.Buf[f.Head:], frame)
				in.Take(&w.Turn, f)
				w.Flush()
			})
			if n != 0 || out.taken < 1000 {
				t.Errorf("%v allocations a packet, %d packets", n, out.taken)
			}
		})
	}
}

// BenchmarkNewConnection is the first packet of a UDP connection through SNAT, of
// many hosts to many destinations, as a table of a million fills up.
func BenchmarkNewConnection(b *testing.B) {
	w, in, frame, _ := established(b)
	f := &w.Frames[0]
	f.Head = tap.Headroom
	f.Tail = f.Head + len(frame)
	ip := frame[tap.HeaderLen+packet.EthernetLen:]
	base := binary.BigEndian.Uint32(ip[12:]) &^ 255
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		if i%(1<<20) == 0 {
			b.StopTimer()
			w, in, _, _ = established(b)
			f = &w.Frames[0]
			f.Head = tap.Headroom
			f.Tail = f.Head + len(frame)
			b.StartTimer()
		}
		src, port, dst := i%200, i/200%4000, i/200/4000
		binary.BigEndian.PutUint32(ip[12:], base+20+src)
		binary.BigEndian.PutUint16(ip[20:], uint16(1024+port))
		binary.BigEndian.PutUint32(ip[16:], 0x08080800+dst)
		binary.BigEndian.PutUint16(ip[26:], 0) // no checksum
		packet.SetIPv4Checksum(ip)
		i++
		copy(f.Buf[f.Head:], frame)
		in.Take(&w.Turn, f)
		w.Flush()
	}
}

// BenchmarkNewConnectionVIP is the first packet of a TCP connection to a VIP, of many clients by many ports,
// as a table of a million fills up. One of the members of "unreachable" does not answer ARP.
func BenchmarkNewConnectionVIP(b *testing.B) {
	for _, algorithm := range []string{"ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP"} {
		b.Run(algorithm, func(b *testing.B) { newConnectionVIP(b, algorithm, false) })
	}
	b.Run("unreachable", func(b *testing.B) { newConnectionVIP(b, "ROUND_ROBIN", true) })
}

func newConnectionVIP(b *testing.B, algorithm string, mute bool) {
	begin := func() (l *lesson, in *wire.Port, f *tap.Frame, frame []byte) {
		topo := tutorial()
		topo.Pools[0].Algorithm = algorithm
		topo.Routers[0].NAT.MaxConnections = 1 << 20
		l = newLessonOf(b, topo)
		l.web2.mute = mute
		for i := range 4 {
			l.tcp(l.client, 4000+i, "10.10.10.7", 80, "S")
			l.udp(l.vm4, 4000, []string{"172.16.100.9", "172.16.100.10"}[i%2], 53, "x") // so that both are known
			l.advance(4 * time.Second)
		}
		lessonPort(l.w, "vlan100").Link.Dev = &nullDevice{}
		in = lessonPort(l.w, "ext_net")
		frame = append(make([]byte, tap.HeaderLen), l.build(l.client, "10.10.10.7", 6, nil,
			&layers.TCP{SrcPort: 4000, DstPort: 80, Seq: 1000, SYN: true, Window: 65535})...)
		f = &l.w.Frames[0]
		f.Head = tap.Headroom
		f.Tail = f.Head + len(frame)
		return l, in, f, frame
	}
	l, in, f, frame := begin()
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		if i%(1<<19) == 1<<19-1 {
			b.StopTimer()
			l, in, f, frame = begin()
			b.StartTimer()
		}
		ip := frame[tap.HeaderLen+packet.EthernetLen:]
		binary.BigEndian.PutUint32(ip[12:], 0x08080800+i%4000)
		packet.SetIPv4Checksum(ip)
		binary.BigEndian.PutUint16(ip[20:], uint16(1024+i/4000))
		copy(f.Buf[f.Head:], frame)
		i++
		in.Take(&l.w.Turn, f)
		l.w.Flush()
	}
	if st := l.stats(); st.Dropped() > uint64(b.N)/10+10 {
		b.Fatalf("%v", st.Drops)
	}
}

// BenchmarkForwardAmong is a packet of one of many established connections
// through SNAT, in an order that no prefetcher guesses, while the garbage is
// collected again and again. It reports the memory of a connection, the longest
// pause, and the longest time in which no batch was read, for whatever reason.
// TAPROUTER_BENCH_MOST raises the most connections from a million.
func BenchmarkForwardAmong(b *testing.B) {
	most := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("TAPROUTER_BENCH_MOST")); err == nil {
		most = n
	}
	for _, n := range []int{1_000, 100_000, 1_000_000, 10_000_000} {
		if n <= most {
			b.Run(strconv.Itoa(n), func(b *testing.B) { forwardAmong(b, n) })
		}
	}
}

func forwardAmong(b *testing.B, n int) {
	topo := tutorial()
	topo.Routers[0].NAT.MaxConnections = 2*n + 1000 // half may be half-open
	l := newLessonOf(b, topo)
	l.udp(l.vm4, 4000, "8.8.8.8", 53, "x")
	l.one("ext_net")
	frame := append(make([]byte, tap.HeaderLen), l.build(l.vm4, "8.8.8.8", 17, nil, udpLayer(), payload(18))...)
	source := &generator{frame: frame, n: n}
	lessonPort(l.w, "ext_net").Link.Dev = &nullDevice{}
	in := lessonPort(l.w, "vlan101").Link
	in.Dev = source
	send := func(packets, step int) {
		for source.left, source.step = packets, step; source.left > 0; {
			in.Read(&l.w.Turn)
		}
	}
	heap := heapInUse()
	send(n, 1)
	router := l.w.routers[0]
	if got := router.Conns.Len(); got < n {
		b.Fatalf("%d connections, want %d; drops %v", got, n, l.stats().Drops)
	}
	memory := float64(heapInUse()-heap) / float64(n)
	pauses := gcPauses()
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			runtime.GC()
			time.Sleep(100 * time.Millisecond)
		}
	}()
	step := n*382/1000 | 1
	for step%5 == 0 { // n is a power of ten
		step += 2
	}
	runtime.LockOSThread() // as a worker does
	defer runtime.UnlockOSThread()
	b.ReportAllocs()
	b.ResetTimer()
	source.last, source.stall = time.Now(), 0
	send(b.N, step)
	b.StopTimer()
	b.ReportMetric(memory, "B/conn")
	b.ReportMetric(source.stall.Seconds()*1e3, "ms-stall")
	b.ReportMetric(longestSince(pauses)*1e3, "ms-pause")
	stop.Store(true)
	<-done
	if got := router.Conns.Len(); got != n+1 {
		b.Errorf("%d connections afterwards", got)
	}
}

// A generator is a device that always has a packet: of connection i, then of
// i + step, and so on.
type generator struct {
	simDevice
	frame      []byte
	n, i       int
	step, left int
	last       time.Time
	stall      time.Duration // the longest time between reads
}

func (g *generator) Read(frames []tap.Frame) (int, error) {
	now := time.Now()
	g.stall = max(g.stall, now.Sub(g.last))
	g.last = now
	const hosts, ports = 200, 200
	ip := g.frame[tap.HeaderLen+packet.EthernetLen:]
	k := 0
	for ; k < len(frames) && g.left > 0; k++ {
		binary.BigEndian.PutUint32(ip[12:], 0xac106514+uint32(g.i%hosts)) // 172.16.101.20 and so on
		binary.BigEndian.PutUint16(ip[20:], uint16(1024+g.i/hosts%ports))
		binary.BigEndian.PutUint32(ip[16:], 0x08080800+uint32(g.i/hosts/ports))
		binary.BigEndian.PutUint16(ip[26:], 0) // no checksum
		packet.SetIPv4Checksum(ip)
		f := &frames[k]
		f.Head, f.Tail = tap.Headroom, tap.Headroom+copy(f.Buf[tap.Headroom:], g.frame)
		g.left--
		if g.i += g.step; g.i >= g.n {
			g.i -= g.n
		}
	}
	return k, nil
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// gcPauses is how often the collector has stopped everything, by duration.
func gcPauses() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	h := s[0].Value.Float64Histogram()
	return &metrics.Float64Histogram{Counts: append([]uint64(nil), h.Counts...), Buckets: h.Buckets}
}

// longestSince is the longest pause since then, in seconds.
func longestSince(before *metrics.Float64Histogram) float64 {
	now := gcPauses()
	for i := len(now.Counts) - 1; i >= 0; i-- {
		if now.Counts[i] > before.Counts[i] {
			if up := now.Buckets[i+1]; !math.IsInf(up, 1) {
				return up
			}
			return now.Buckets[i]
		}
	}
	return 0
}

// A scan of an external network asks for one address after the other. What it costs does not grow with the
// routers there.
func BenchmarkScan(b *testing.B) {
	for _, routers := range []int{1, 10, 100} {
		b.Run(strconv.Itoa(routers), func(b *testing.B) {
			s := newSim(b, manyRouters(b, routers, 10, 1))
			w, in := s.w, s.nets["ext_net"].Ports[0]
			out := &nullDevice{}
			in.Link.Dev = out
			h := s.host("ext_net", "10.255.0.9")
			frame := append(make([]byte, tap.HeaderLen), make([]byte, packet.ARPLen)...)
			f := &w.Frames[0]
			f.Head = tap.Headroom
			f.Tail = f.Head + len(frame)
			b.ReportAllocs()
			for target := packet.Addr(0x0a640001); b.Loop(); target++ {
				packet.PutARP(frame[tap.HeaderLen:], h.mac, packet.Broadcast,
					packet.ARP{Request: true, SenderMAC: h.mac, Sender: packet.AddrFrom(h.addr), Target: target})
				copy(f.Buf[f.Head:], frame)
				in.Take(&w.Turn, f)
				w.Flush()
			}
		})
	}
}
