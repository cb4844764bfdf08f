package config_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func cpuNow() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now)
	return time.Duration(now.Nano())
}

func reportCPU(b *testing.B, from time.Duration) {
	b.ReportMetric(float64(cpuNow()-from)/float64(b.N), "cpu-ns/op")
}
