// Package dns answers name queries of the hosts on tenant networks.
//
// Names of ports, and their reverse names, come from a View: what one asker may see. Other names are asked
// of the servers that a Forwarder has, or refused. The package has no socket and starts no goroutine: Serve is
// called with a message and returns the answer; what a Forwarder needs of the network is a function of its maker.
//
// RFC 1034 and 1035; 2308 (negative answers and their lifetime); 3597 (unknown types); 6761 (special names);
// 6891 (EDNS); 7766 (TCP); 8020 (nothing is below a name that does not exist); 8482 (ANY).
package dns
