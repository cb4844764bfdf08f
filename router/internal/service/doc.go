// Package service is the local services of a network, such as DHCP. A Station is where they are on the network. Its
// worker only tells their packets from others and copies them into a bounded queue; the goroutines of a Runner work out
// the answers, and give them back to the worker. So no request, and no store that is slow to write down a lease, delays
// other packets.
//
// An answer goes to the port that the request came from, and nowhere else.
package service
