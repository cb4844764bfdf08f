//go:build !race

package file_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/configtest"
	"github.com/taprouter/taprouter/config/file"
)

// effort is what the check of a text takes: processor time, and bytes allocated.
func (g growth) effort(t *testing.T, n int) (time.Duration, uint64) {
	check, err := file.Decoded(g.text(n))
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	took := configtest.Effort(func() { err = check() })
	runtime.ReadMemStats(&after)
	if g.valid != (err == nil) {
		t.Fatalf("%d: %.300v", n, err)
	}
	return took, after.TotalAlloc - before.TotalAlloc
}

// The effort of a check grows with the file, not with its square: for four times the entries
// it is less than ten times as high, where a square makes it sixteen times.
func TestGrowth(t *testing.T) {
	const n, times = 400, 10
	for _, g := range growths() {
		t.Run(g.name, func(t *testing.T) {
			var bytes uint64
			few, many, grows := configtest.Grows(times, func() (took time.Duration) {
				took, bytes = g.effort(t, n)
				return took
			}, func() time.Duration {
				took, more := g.effort(t, 4*n)
				if more > times*bytes+1<<20 {
					t.Fatalf("%d entries allocate %d KB, %d entries %d KB", n, bytes>>10, 4*n, more>>10)
				}
				return took
			})
			if grows {
				t.Errorf("%d entries take %v, %d entries %v", n, few, 4*n, many)
			}
		})
	}
}
