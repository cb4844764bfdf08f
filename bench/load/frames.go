package load

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	frameLen  = 14 + 20 + 8 + payload
	firstPort = 1024
)

// all is ETH_P_ALL in network byte order.
const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8

// packetSocket opens a packet socket on an interface.
func packetSocket(dev string, proto int) (int, error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	return fd, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(proto), Ifindex: ifi.Index})
}

// template is one small UDP packet without checksum in its frame.
func template(dev, mac string) ([]byte, error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return nil, err
	}
	to, err := net.ParseMAC(mac)
	if err != nil {
		return nil, err
	}
	b := make([]byte, frameLen)
	copy(b, to)
	copy(b[6:], ifi.HardwareAddr)
	b[12] = 8
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], 28+payload)
	binary.BigEndian.PutUint16(ip[24:], 8+payload)
	binary.BigEndian.PutUint16(ip[22:], 7000)
	return b, nil
}

// A flow is one of the many connections: addresses in host byte order.
type flow struct {
	src, dst uint32
	port     uint16
}

// flowAt numbers the connections so that consecutive ones differ in address and
// port, as connections of many hosts do.
func (o *options) flowAt(i int) flow {
	host, k := i%o.sources, i/o.sources
	return flow{
		src:  ip4(o.src.As4()) + uint32(host),
		dst:  ip4(o.dst.As4()) + uint32(k/o.each),
		port: uint16(firstPort + k%o.each),
	}
}

func ip4(a [4]byte) uint32 { return binary.BigEndian.Uint32(a[:]) }

// put makes a template a packet of the connection.
func (f flow) put(frame []byte) {
	ip := frame[14:]
	binary.BigEndian.PutUint32(ip[12:], f.src)
	binary.BigEndian.PutUint32(ip[16:], f.dst)
	binary.BigEndian.PutUint16(ip[20:], f.port)
	binary.BigEndian.PutUint16(ip[10:], 0)
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
}

// sendFrames sends one packet of each connection, again and again, and prints
// packets sent and seconds. The connections come in an order that no prefetcher
// guesses.
func sendFrames(o *options, out io.Writer) error {
	fd, err := packetSocket(o.dev, 0)
	if err != nil {
		return err
	}
	// The queueing discipline would be another's cost.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return err
	}
	frame, err := template(o.dev, o.mac)
	if err != nil {
		return err
	}
	m, b := messages(frameLen)
	for i := range b {
		copy(b[i], frame)
	}
	step := stride(o.flows)
	start, sent, i := time.Now(), 0, 0
	for time.Since(start) < o.d && (o.total == 0 || sent < o.total) {
		for k := range b {
			o.flowAt(o.first + i).put(b[k])
			if i += step; i >= o.flows {
				i -= o.flows
			}
		}
		n, err := mmsg(unix.SYS_SENDMMSG, fd, m, 0)
		if err != nil && err != unix.ENOBUFS && err != unix.EINTR {
			return err
		}
		sent += n
		if o.rate > 0 {
			time.Sleep(time.Duration(sent)*time.Second/time.Duration(o.rate) - time.Since(start))
		}
	}
	_, err = fmt.Fprintln(out, sent, time.Since(start).Seconds())
	return err
}

// stride is a step that visits n places in a scattered order, each once.
func stride(n int) int {
	gcd := func(a, b int) int {
		for b != 0 {
			a, b = b, a%b
		}
		return a
	}
	s := n*382/1000 + 1
	for gcd(s, n) != 1 {
		s++
	}
	return s % max(n, 2)
}

// countFrames prints how many packets have arrived at the interface, and the
// seconds between the first and the last of them; it ends when nothing has
// arrived for a while, or after its time.
func countFrames(o *options, out io.Writer) error {
	path := "/sys/class/net/" + o.dev + "/statistics/rx_packets"
	read := func() (int, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(strings.TrimSpace(string(b)))
	}
	base, err := read()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "ready")
	const quiet = 50 * time.Millisecond
	began := time.Now()
	var first, last time.Time
	before, firstCount := base, 0
	for {
		time.Sleep(500 * time.Microsecond)
		n, err := read()
		if err != nil {
			return err
		}
		now := time.Now()
		if n != before {
			if first.IsZero() && n-base > 100 { // not some stray packet
				first, firstCount = now, n
			}
			before, last = n, now
		}
		idle := !first.IsZero() && now.Sub(last) > quiet
		if idle || !first.IsZero() && now.Sub(first) > o.d {
			_, err := fmt.Fprintln(out, before-firstCount, last.Sub(first).Seconds())
			return err
		}
		if now.Sub(began) > 10*time.Second+o.d {
			return fmt.Errorf("nothing arrives at %s", o.dev)
		}
	}
}

// established answers every packet that reaches the interface, so that the
// connections through the router are established, until nothing more comes. It
// prints how many it has answered.
func established(o *options, out io.Writer) error {
	fd, err := packetSocket(o.dev, all)
	if err != nil {
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 500_000})
	fmt.Fprintln(os.Stderr, "ready")
	b := make([]byte, 2048)
	n := 0
	for began := time.Now(); ; {
		size, err := unix.Read(fd, b)
		if err == unix.EAGAIN {
			if n > 0 || time.Since(began) > 10*time.Second {
				_, err := fmt.Fprintln(out, n)
				return err
			}
			continue
		}
		if err != nil && err != unix.EINTR {
			return err
		}
		if size < frameLen || b[12] != 8 || b[13] != 0 || b[23] != 17 {
			continue
		}
		swap(b[0:6], b[6:12])
		swap(b[26:30], b[30:34])
		swap(b[34:36], b[36:38])
		b[40], b[41] = 0, 0 // no checksum
		if _, err := unix.Write(fd, b[:size]); err == nil {
			n++
		}
	}
}

func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}
