package load

import (
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch   = 64
	payload = 18 // the smallest frame that Ethernet carries without padding
)

// A mmsghdr is a message of sendmmsg and recvmmsg.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// messages are a batch of messages with a buffer of n bytes each.
func messages(n int) ([]mmsghdr, [][]byte) {
	m, b, v := make([]mmsghdr, batch), make([][]byte, batch), make([]unix.Iovec, batch)
	for i := range m {
		b[i] = make([]byte, n)
		v[i].Base = &b[i][0]
		v[i].SetLen(n)
		m[i].hdr.Iov = &v[i]
		m[i].hdr.SetIovlen(1)
	}
	return m, b
}

func mmsg(call uintptr, fd int, m []mmsghdr, flags int) (int, error) {
	n, _, errno := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(flags), 0,
		0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// udpSend prints packets sent and seconds.
func udpSend(o *options, out io.Writer) error {
	to, err := sockaddr(o.to)
	if err != nil {
		return err
	}
	var fds []int
	for range o.flows {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, to); err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	m, _ := messages(payload)
	start, sent := time.Now(), 0
	for i := 0; time.Since(start) < o.d; i++ {
		n, err := mmsg(unix.SYS_SENDMMSG, fds[i%len(fds)], m, 0)
		if err != nil && err != unix.ENOBUFS && err != unix.ECONNREFUSED && err != unix.EINTR {
			return err
		}
		sent += n
	}
	_, err = fmt.Fprintln(out, sent, time.Since(start).Seconds())
	return err
}

// listenUDP opens a bound socket with a large buffer.
func listenUDP(at string) (int, error) {
	sa, err := sockaddr(at)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) // best effort
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
	return fd, unix.Bind(fd, sa)
}

// udpReceive prints the packets received and the seconds, over a time that
// starts a moment after the first packet.
func udpReceive(o *options, out io.Writer) error {
	fd, err := listenUDP(o.at)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "ready")
	const settle = 300 * time.Millisecond
	m, _ := messages(64)
	var first, start time.Time
	packets, waited := 0, time.Now()
	for {
		n, err := mmsg(unix.SYS_RECVMMSG, fd, m, unix.MSG_WAITFORONE)
		now := time.Now()
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return err
		}
		switch {
		case first.IsZero() && n == 0:
			if now.Sub(waited) > 10*time.Second {
				return fmt.Errorf("nothing arrives at %s", o.at)
			}
		case first.IsZero():
			first = now
		case start.IsZero():
			if now.Sub(first) >= settle {
				start = now
			}
		default:
			packets += n
			if d := now.Sub(start); d >= o.d {
				_, err := fmt.Fprintln(out, packets, d.Seconds())
				return err
			}
		}
	}
}

// echo sends every datagram back, from the address that it was sent to, until it
// is ended.
func echo(o *options, _ io.Writer) error {
	fd, err := listenUDP(o.at)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "ready")
	b, info := make([]byte, 2048), make([]byte, 64)
	for {
		n, m, _, from, err := unix.Recvmsg(fd, b, info, 0)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		clear(info[unix.SizeofCmsghdr : unix.SizeofCmsghdr+4]) // by whichever interface
		_ = unix.Sendmsg(fd, b[:n], info[:m], from, 0)         // the client notices a lost answer
	}
}

// ping prints the median and the 99th percentile of the round trips, in microseconds.
func ping(o *options, out io.Writer) error {
	to, err := sockaddr(o.to)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 500_000})
	if err := unix.Connect(fd, to); err != nil {
		return err
	}
	b := make([]byte, payload)
	var trips []time.Duration
	for start := time.Now(); goesOn(start, o.d, len(trips)); {
		t := time.Now()
		if _, err := unix.Write(fd, b); err != nil {
			return err
		}
		if _, err := unix.Read(fd, b); err != nil {
			continue // lost
		}
		trips = append(trips, time.Since(t))
	}
	return printTrips(out, trips, o.to)
}
