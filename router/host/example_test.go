package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/netip"
	"syscall"

	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

// twoHosts puts two hosts on one cable.
func twoHosts() (client, web *host.Host) {
	left, right := tap.Pipe("left", "right", tap.PipeOptions{})
	client, err := host.New(left, host.Config{Name: "client", Address: netip.MustParsePrefix("10.10.10.4/24")})
	if err != nil {
		log.Fatal(err)
	}
	web, err = host.New(right, host.Config{Name: "WEB1", Address: netip.MustParsePrefix("10.10.10.5/24")})
	if err != nil {
		log.Fatal(err)
	}
	return client, web
}

func ExampleNew() {
	client, web := twoHosts()
	defer client.Close()
	defer web.Close()

	if err := web.ServeEcho(7); err != nil {
		log.Fatal(err)
	}
	conn, err := client.Dial("tcp", "10.10.10.5:7")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "hello")
	var line string
	fmt.Fscanln(conn, &line)
	fmt.Println(line, "from", conn.RemoteAddr())
	// Output: hello from 10.10.10.5:7
}

func ExampleHost_HTTPClient() {
	client, web := twoHosts()
	defer client.Close()
	defer web.Close()

	if err := web.ServeName(80); err != nil {
		log.Fatal(err)
	}
	res, err := client.HTTPClient().Get("http://10.10.10.5/")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	var name, word, address string
	page, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Sscan(string(page), &name, &word, &address)
	fmt.Println(name, word, netip.MustParseAddrPort(address).Addr())
	// Output: WEB1 client 10.10.10.4
}

func ExampleHost_Ping() {
	client, web := twoHosts()
	defer client.Close()
	defer web.Close()

	reply, err := client.Ping(context.Background(), web.Address())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes from %s: ttl=%d\n", reply.Bytes, reply.From, reply.TTL)

	_, err = client.PingWith(context.Background(), web.Address(), host.PingOptions{Bytes: 1473, DontFragment: true})
	fmt.Println("too large:", errors.Is(err, syscall.EMSGSIZE))
	// Output:
	// 64 bytes from 10.10.10.5: ttl=64
	// too large: true
}

func ExampleHost_Traceroute() {
	client, web := twoHosts()
	defer client.Close()
	defer web.Close()

	hops, err := client.Traceroute(context.Background(), web.Address(),
		host.TracerouteOptions{Mode: host.TracerouteICMP})
	if err != nil {
		log.Fatal(err)
	}
	for _, hop := range hops {
		fmt.Println(hop.TTL, hop.From)
	}
	// Output: 1 10.10.10.5
}

func ExampleICMPError() {
	var err error = &host.ICMPError{From: netip.MustParseAddr("10.10.10.2"), Type: 3, Code: 1}
	if e := (*host.ICMPError)(nil); errors.As(err, &e) {
		fmt.Println(e)
		fmt.Println(e.Reason())
	}
	// Output:
	// From 10.10.10.2: Destination Host Unreachable
	// Destination Host Unreachable
}
