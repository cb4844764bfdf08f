package loop

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A runDelay is how long a thread had to wait for a processor, as the kernel's scheduler
// counts it. Where the kernel has no such file, a thread counts as one that never waits.
type runDelay struct {
	asked   bool          // the file has been looked for
	file    int           // the descriptor of the thread's file, if asked; -1: there is none
	at      time.Duration // when the file was last read
	waited  time.Duration // how long the thread had waited until then
	starves bool
}

const (
	// delayEvery is how often the file is read at most.
	delayEvery = 10 * time.Millisecond
	// delayShare is the part of the time from which on a thread that waits so long is starved.
	delayShare = 0.1
)

// starved reports whether the calling thread is starved. No other thread may call it: the file is the caller's.
func (d *runDelay) starved(now time.Duration) bool {
	switch {
	case !d.asked:
		var err error
		d.asked = true
		d.file, err = unix.Open("/proc/thread-self/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			d.file = -1
			return false
		}
	case d.file < 0, now-d.at < delayEvery:
		return d.starves
	}
	var b [64]byte
	n, err := unix.Pread(d.file, b[:], 0)
	if err != nil {
		return d.starves
	}
	waited, ok := parseRunDelay(b[:n])
	if !ok {
		return d.starves
	}
	if d.at > 0 {
		d.starves = float64(waited-d.waited) > delayShare*float64(now-d.at)
	}
	d.at, d.waited = now, waited
	return d.starves
}

// parseRunDelay reads the second of three numbers: nanoseconds on a processor, nanoseconds of
// waiting for one, and turns (proc_pid_schedstat(5)).
func parseRunDelay(line []byte) (time.Duration, bool) {
	f := bytes.Fields(line)
	if len(f) < 2 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(f[1]), 10, 64)
	return time.Duration(n), err == nil
}

func (d *runDelay) close() {
	if d.asked && d.file >= 0 {
		_ = unix.Close(d.file)
	}
	d.asked, d.file = true, -1
}
