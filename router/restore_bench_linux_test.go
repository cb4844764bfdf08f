package router

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// manyConnections is an engine whose only router has n connections through SNAT, with a mapping each: TCP that is
// established, of 500 hosts.
func manyConnections(tb testing.TB, n int) (*Engine, *config.State) {
	tb.Helper()
	topo := tutorial()
	topo.Routers[0].NAT.MaxConnections = 2*n + 1000
	topo.Routers[0].NAT.HostShare = 1
	// An address has 64512 ports.
	last := netip.AddrFrom4([4]byte{10, 10, 10, byte(20 + n/60000)})
	topo.Routers[0].Gateway.SNATAddresses = append(topo.Routers[0].Gateway.SNATAddresses,
		file.AddressRange{First: netip.MustParseAddr("10.10.10.20"), Last: last})
	if err := topo.Validate(); err != nil {
		tb.Fatal(err)
	}
	s, err := topo.State()
	if err != nil {
		tb.Fatal(err)
	}
	e, err := Start(s, Options{KeepTables: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Close() })
	r := e.view.Load().routers[0]
	if err := r.Worker.Call(func() {
		in := r.Attached[1].Of.ID
		out := r.Gateway.Interface.ID
		const perHost = 2000
		for i := range n {
			tuple := packet.Tuple{
				Src:     packet.AddrFrom(netip.AddrFrom4([4]byte{172, 16, 101, byte(i / perHost % 250)})),
				Dst:     packet.AddrFrom(netip.AddrFrom4([4]byte{8, 8, byte(i / perHost / 250), 8})),
				SrcPort: uint16(2000 + i%perHost + i/perHost/250*perHost), DstPort: 443, Proto: packet.ProtoTCP,
			}
			ext := r.Gateway.Shared[i*len(r.Gateway.Shared)/n]
			var b nat.Binding
			port, refusal := r.NAT.Bind(&b, ext, tuple, tuple)
			to := tuple
			to.Src, to.SrcPort = ext, port
			c := &conntrack.Conn{}
			if refusal == conntrack.None {
				c, refusal = r.NAT.Commit(&conntrack.NewConn{
					Original: tuple, Reply: to.Reverse(), Owner: conntrack.OwnerSource, In: [2]uint16{in, out},
					Segment: packet.Segment{Flags: packet.SYN, Seq: 1, Len: 1, Window: 1 << 15},
				}, &b, r.Worker.Now)
			}
			if refusal != conntrack.None {
				tb.Errorf("connection %d: %v", i, refusal)
				return
			}
			for d, flags := range []uint8{packet.ACK, packet.SYN | packet.ACK, packet.ACK} {
				if d == 0 {
					continue
				}
				s := packet.Segment{Flags: flags, Seq: 1, Ack: 2, Window: 1 << 15}
				r.Conns.TouchTCP(c, conntrack.Direction(d%2), &s, r.Worker.Now)
			}
		}
	}); err != nil {
		tb.Fatal(err)
	}
	if got := r.Conns.Len(); got != n {
		tb.Fatalf("%d connections, want %d", got, n)
	}
	return e, s
}

// BenchmarkRestore is what the next process needs for its connections, from its Start on.
func BenchmarkRestore(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("tables/%d", n), func(b *testing.B) {
			e, s := manyConnections(b, n)
			e.Halt()
			for b.Loop() {
				b.StopTimer()
				all, err := e.Descriptors()
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				restored(b, s, n, Options{KeepTables: true, Inherit: all})
			}
		})
		b.Run(fmt.Sprintf("records/%d", n), func(b *testing.B) {
			e, s := manyConnections(b, n)
			var saved bytes.Buffer
			if err := e.SaveConnections(&saved); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(saved.Len())/float64(n), "B/conn")
			for b.Loop() {
				restored(b, s, n, Options{KeepTables: true, Restore: bytes.NewReader(saved.Bytes())})
			}
		})
	}
}

// restored starts an engine that takes over n connections.
func restored(b *testing.B, s *config.State, n int, opt Options) {
	b.Helper()
	var log bytes.Buffer
	opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
	before := cpuTime(b)
	e, err := Start(s, opt)
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b) - before).Milliseconds()), "cpu-ms") // of the last one
	defer b.StartTimer()
	if err != nil {
		b.Fatal(err)
	}
	if got := e.view.Load().routers[0].Conns.Len(); got != n {
		b.Fatalf("%d connections, want %d:\n%s", got, n, &log)
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what the process has used of the processors. It says more than the clock where other programs run, too.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSaveConnections writes a snapshot to nowhere.
func BenchmarkSaveConnections(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e, _ := manyConnections(b, n)
			before := cpuTime(b)
			for b.Loop() {
				if err := e.SaveConnections(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms")
		})
	}
}
