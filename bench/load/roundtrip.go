package load

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Client and server of TCP round trips wait in calls of which Go's scheduler knows nothing. Else it would take the
// processor away from the thread during each wait, and give it back: two more wake-ups for each round trip.

// tcpEcho answers every byte that comes, one connection after the other, until it is ended.
func tcpEcho(o *options, _ io.Writer) error {
	sa, err := sockaddr(o.at)
	if err != nil {
		return err
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(listener, sa); err != nil {
		return err
	}
	if err := unix.Listen(listener, 16); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "ready")
	b := make([]byte, 2048)
	for {
		fd, errno := raw(unix.SYS_ACCEPT, uintptr(listener), 0, 0)
		if errno == unix.ECONNABORTED {
			continue
		}
		if errno != 0 {
			return errno
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		for {
			n, errno := readSome(fd, b)
			if errno != 0 || n == 0 {
				break // the client counts what it gets
			}
			if _, errno := writeSome(fd, b[:n]); errno != 0 {
				break
			}
		}
		closeFD(fd)
	}
}

// tcpPing prints the median and the 99th percentile of the round trips on one connection, in microseconds.
func tcpPing(o *options, out io.Writer) error {
	to, err := sockaddr(o.to)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer closeFD(fd)
	for _, what := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, what, &unix.Timeval{Sec: 2}) // best effort
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.Connect(fd, to); err != nil {
		return fmt.Errorf("connect to %s: %w", o.to, err)
	}
	b := make([]byte, payload)
	trips := make([]time.Duration, 0, 1<<16)
	for start := time.Now(); goesOn(start, o.d, len(trips)); {
		t := time.Now()
		if _, errno := writeSome(fd, b); errno != 0 {
			return fmt.Errorf("write: %w", errno)
		}
		for left := len(b); left > 0; {
			n, errno := readSome(fd, b[:left])
			if errno != 0 || n == 0 {
				return fmt.Errorf("no answer from %s: %d bytes, %w", o.to, n, errno)
			}
			left -= n
		}
		trips = append(trips, time.Since(t))
	}
	return printTrips(out, trips, o.to)
}

// enoughTrips say something of a median. On a busy machine they may take longer than the time given.
const enoughTrips = 10

// goesOn reports whether a client makes another round trip: until its time is over, and until there are enough or they
// take far too long.
func goesOn(start time.Time, d time.Duration, trips int) bool {
	since := time.Since(start)
	return since < d || trips < enoughTrips && since < d+3*time.Second
}

// printTrips prints the median and the 99th percentile, in microseconds.
func printTrips(out io.Writer, trips []time.Duration, to string) error {
	if len(trips) < enoughTrips {
		return fmt.Errorf("only %d answers from %s", len(trips), to)
	}
	slices.Sort(trips)
	us := func(k int) float64 { return float64(trips[k].Nanoseconds()) / 1000 }
	_, err := fmt.Fprintln(out, us(len(trips)/2), us(len(trips)*99/100))
	return err
}
