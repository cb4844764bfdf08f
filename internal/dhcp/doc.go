// Package dhcp answers DHCPv4 (RFC 2131). A Server has the leases of one network and says what to answer to a message.
// It moves no packets: its caller hands it what came to UDP port 67, and sends what it returns.
//
// A static lease is a port's: its address is the port's, and nothing is remembered of it but for lists. A dynamic lease
// is an address of a subnet's pools. It is an entry of the Server's table, has an end, and is given to a Keeper before
// it is acknowledged.
//
// The package has no clock and no goroutine: now is an argument, and a Keeper may block. Any number of goroutines may
// use Leases and Servers. What a network is like, a Config, is given with each message, so a change of it needs no
// call.
package dhcp
