//go:build !race

package file_test

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taprouter/taprouter/config/file"
)

// cpu is the time that this thread has worked. Other work on the machine does not count.
func cpu(t *testing.T) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}

// effort is what the check of a text takes: processor time, and bytes allocated.
func (g growth) effort(t *testing.T, n int) (time.Duration, uint64) {
	check, err := file.Decoded(g.text(n))
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	from := cpu(t)
	err = check()
	took := cpu(t) - from
	runtime.ReadMemStats(&after)
	if g.valid != (err == nil) {
		t.Fatalf("%d: %.300v", n, err)
	}
	return took, after.TotalAlloc - before.TotalAlloc
}

// The effort of a check grows with the file, not with its square: for four times the entries
// it is less than ten times as high, where a square makes it sixteen times.
func TestGrowth(t *testing.T) {
	const n, times, tries = 400, 10, 5
	for _, g := range growths() {
		t.Run(g.name, func(t *testing.T) {
			var least, most time.Duration
			for try := range tries {
				small, bytes := g.effort(t, n)
				large, moreBytes := g.effort(t, 4*n)
				if moreBytes > times*bytes+1<<20 {
					t.Fatalf("%d entries allocate %d KB, %d entries %d KB", n, bytes>>10, 4*n, moreBytes>>10)
				}
				if try == 0 || small > least {
					least = small // the slowest: a short time is measured badly
				}
				if try == 0 || large < most {
					most = large
				}
				if most < times*least {
					return
				}
			}
			t.Errorf("%d entries take %v, %d entries %v", n, least, 4*n, most)
		})
	}
}
