package configtest

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Effort returns the processor time that the function takes on its thread. Other work on the machine does not count.
func Effort(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	from := threadTime()
	f()
	return threadTime() - from
}

// threadTime is the time that this thread has worked.
func threadTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		panic(err) // Linux has had this clock since 2.6.12
	}
	return time.Duration(now.Nano())
}

// Grows measures a job with few objects and with many, up to five times, until many take less than times as long as
// few. It compares the slowest run with few to the fastest with many, because a short time is measured badly. It
// returns the times of these two runs. If many never took less, grows is true.
func Grows(times int, few, many func() time.Duration) (slowest, fastest time.Duration, grows bool) {
	const runs = 5
	for run := range runs {
		small, large := few(), many()
		slowest = max(slowest, small)
		if run == 0 || large < fastest {
			fastest = large
		}
		if fastest < time.Duration(times)*slowest {
			return slowest, fastest, false
		}
	}
	return slowest, fastest, true
}
