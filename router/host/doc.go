// Package host puts hosts into the process: each has a MAC address, an IPv4
// address, a TCP/IP stack of its own (gVisor's netstack), a loopback interface,
// and one network interface, which is any [tap.Device] in memory. A program
// talks through it with plain [net.Conn], [net.Listener] and [http.Client]
// values, so a test or a lab needs neither root nor a device of the operating
// system.
//
// # What a host does by itself
//
// It answers ARP requests and pings for its address, announces itself once when
// it starts (RFC 5227, section 2.3), refuses TCP connections to closed ports
// with RST and UDP datagrams to closed ports with port unreachable (RFC 1122,
// 3.2.2.1), reassembles fragments, and forwards nothing. Packets that it sends to
// its own address, or to one of 127.0.0.0/8, stay inside. Frames for other MAC
// addresses are ignored. There is no DNS and no IPv6: addresses are written as
// numbers.
//
// [Host.DHCP] has it ask for an address. [Host.Interface] shows and changes what an
// administrator of a guest does: addresses, routes, the MAC address, the ARP table.
//
// # TCP
//
// CUBIC congestion control, SACK, RACK, window scaling and timestamps are on;
// send and receive buffers start at 1 MB and grow to 8 MB. Nagle's algorithm is
// off, as in package net. Unlike there, keepalive probes are off until a
// connection's SetKeepAlive is called: a host of a network simulator should
// send only what a test asks for. Otherwise a NAT's idle timeout could not be
// seen. Path MTU discovery is done for TCP; UDP and echo packets are sent
// without the DF bit, so that they may be fragmented on the way.
//
// When all that a connection has in flight is lost, gVisor's RACK sends it again
// at two segments each 200 ms, so 130 segments take 12 seconds. A test that cuts
// a link off gives its connections that time. Without RACK the same takes 0.3
// seconds, but a loss of one packet in 100 makes a transfer 20 times as long.
//
// # Errors
//
// Errors are as in package net: a [net.OpError] around a system call's error
// number, such as syscall.ECONNREFUSED, syscall.EHOSTUNREACH for a neighbor
// that does not answer ARP (after three seconds), [os.ErrDeadlineExceeded],
// [net.ErrClosed]. An ICMP error that answers a ping or a traceroute is an
// [*ICMPError]. Of the ICMP errors that answer its datagrams a connected UDP
// socket reports port unreachable only, as connection refused; ProbeUDP reports
// all of them.
//
// While the stack waits for a neighbor's MAC address, a datagram may overtake
// one that was sent before it: UDP promises no order, and here it shows.
//
// # Logs
//
// gVisor has one log for the whole process, which goes to standard error. The
// first New changes that global setting for good, unless the program has changed
// it before: gVisor's messages become debug lines of every logger that an open
// host was given, and are lost where no host has one.
//
// # Simulated time
//
// Hosts work inside a testing/synctest bubble: New notices the bubble by its
// clock and runs the stack in steps, which lets time in the bubble go on while
// all is quiet. Two idle hours pass in no time. A host belongs to the bubble that
// it is made in; its calls fail anywhere else.
package host
