//go:build unix

package monitor_test

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/taprouter/taprouter/router/internal/monitor"
)

// Ten thousand members every 5 s. The reported values include the work of the test's world, a
// few microseconds.
func BenchmarkTCP(b *testing.B) {
	for _, bb := range []struct {
		name string
		mode int32
	}{{"alive", accepts}, {"dead", isSilent}, {"unreachable", isUnreachable}} {
		b.Run(bb.name, func(b *testing.B) { benchmarkTCP(b, bb.mode) })
	}
}

func benchmarkTCP(b *testing.B, mode int32) {
	const members = 10_000
	h, w := newWorld(b)
	w.mode.Store(mode)
	m := start(h, monitor.Spec{Type: "TCP"}, nil)
	b.Cleanup(m.Close)
	for i := range uint32(members) {
		a := netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)})
		m.Add(monitor.Target{ID: i, Addr: netip.AddrPortFrom(a, 80)})
	}
	<-time.After(30 * time.Second) // all are decided about, and spread out
	const span = 10 * time.Second
	before, began := w.syns.Load(), cpu()
	<-time.After(span)
	used, n := cpu()-began, w.syns.Load()-before
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-us/SYN") // the dead get three a check
	b.ReportMetric(float64(n)/span.Seconds(), "SYN/s")
	b.ReportMetric(100*used.Seconds()/span.Seconds(), "%core")
}

// cpu is the processor time of the process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
