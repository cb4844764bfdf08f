// Package load is the traffic of the benchmarks: small senders, receivers and
// servers that run in the network namespaces of the endpoints, as processes of
// their own. Each prints what it has measured as one line of numbers.
package load

import (
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A tool is one of the programs.
type tool struct {
	run  func(o *options, out io.Writer) error
	help string
}

var tools = map[string]tool{
	"udp-send":    {udpSend, "send small datagrams as fast as possible"},
	"udp-receive": {udpReceive, "count datagrams at a socket"},
	"frames":      {sendFrames, "send small UDP packets of many connections from a packet socket"},
	"count":       {countFrames, "count what arrives at an interface"},
	"crc-server":  {crcServer, "answer one request a connection"},
	"crc-client":  {crcClient, "connect, request, close"},
	"echo":        {echo, "send datagrams back"},
	"ping":        {ping, "measure round trips of datagrams"},
	"tcp-echo":    {tcpEcho, "answer every byte of one TCP connection after the other"},
	"tcp-ping":    {tcpPing, "measure round trips on a TCP connection"},
	"switch":      {connect, "join cables of hosts to a trunk, each by a tag"},
	"spin":        {spin, "keep a processor busy"},
	"established": {established, "answer the packets of many connections, once each"},
}

type options struct {
	to, at  string
	dev     string
	mac     string
	src     netip.Addr
	dst     netip.Addr
	sources int
	flows   int
	ports   int
	each    int
	hosts   string
	cpu     int
	first   int
	total   int
	rate    int
	d       time.Duration
}

// Main runs one tool; args are its name and flags. It returns the exit status.
func Main(args []string) int {
	if len(args) == 0 || tools[args[0]].run == nil {
		fmt.Fprintln(os.Stderr, "usage: load TOOL [flags]; the tools:")
		var names []string
		for name := range tools {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(os.Stderr, "  %-13s %s\n", name, tools[name].help)
		}
		return 2
	}
	o := &options{}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	f.StringVar(&o.to, "to", "", "endpoint to send to")
	f.StringVar(&o.at, "at", "", "endpoint to listen at")
	f.StringVar(&o.dev, "dev", "", "interface")
	f.StringVar(&o.mac, "mac", "", "destination MAC address of frames")
	f.TextVar(&o.src, "src", netip.Addr{}, "first source address of frames")
	f.TextVar(&o.dst, "dst", netip.Addr{}, "first destination address of frames")
	f.IntVar(&o.sources, "sources", 1, "how many source addresses")
	f.IntVar(&o.flows, "flows", 1, "how many connections")
	f.IntVar(&o.first, "first", 0, "number of the first connection")
	f.IntVar(&o.total, "total", 0, "stop after so many packets; 0: never")
	f.IntVar(&o.rate, "rate", 0, "packets a second at most; 0: as many as go")
	f.IntVar(&o.ports, "ports", 1, "how many ports, from the endpoint's on")
	f.IntVar(&o.each, "each", 500, "source ports that each address of frames uses, before the next destination")
	f.StringVar(&o.hosts, "hosts", "", "interfaces that lead to hosts, and the hosts' tags: NAME=VLAN,NAME=VLAN")
	f.IntVar(&o.cpu, "cpu", -1, "processor to stay on; -1: any")
	f.DurationVar(&o.d, "for", time.Second, "how long")
	if err := f.Parse(args[1:]); err != nil {
		return 2
	}
	if o.cpu >= 0 {
		if err := pin(o.cpu); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := tools[args[0]].run(o, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", args[0], err)
		return 1
	}
	return 0
}

// spin keeps a processor as busy as a sender does, and sends nothing.
func spin(o *options, out io.Writer) error {
	for until := time.Now().Add(o.d); time.Now().Before(until); {
	}
	return nil
}

// pin keeps every thread of the process on one processor.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, e := range entries {
		var tid int
		if _, err := fmt.Sscan(e.Name(), &tid); err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("pin to processor %d: %w", cpu, err)
		}
	}
	return nil
}

// sockaddr is an IPv4 endpoint as the kernel wants it.
func sockaddr(s string) (*unix.SockaddrInet4, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, nil
}
