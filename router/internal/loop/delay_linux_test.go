package loop

import (
	"runtime"
	"testing"
	"time"
)

func TestRunDelay(t *testing.T) {
	for line, want := range map[string]time.Duration{"100593 23825 2\n": 23825, "1 0 1": 0, "": -1, "7": -1,
		"1 x 3": -1} {
		got, ok := parseRunDelay([]byte(line))
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v, %t", line, got, ok)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var d runDelay
	defer d.close()
	if d.starved(time.Second) {
		t.Error("starved before anything is known")
	}
	d.waited -= 5 * time.Millisecond // of the next twenty
	if d.file < 0 {
		t.Skip("the kernel does not tell")
	}
	if d.starved(time.Second+delayEvery/2) || !d.starved(time.Second+2*delayEvery) {
		t.Error("a quarter of the time waiting is not starved, or it is asked for too often")
	}
}
