// Package nettest is what the tests of packets share: a text language for frames,
// in both directions, and a checker of every length and checksum in one.
//
// A frame is a line, much as tcpdump writes it:
//
//	udp 172.16.101.3:4000 > 8.8.8.8:53 ttl 64 id 7 len 20
//	tcp 10.0.0.5:4000 > 10.0.0.9:80 S seq 1000 win 65535 mss 1460
//	icmp 10.0.0.5 > 8.8.8.8 request id 5 seq 1 len 10
//	icmp 10.0.0.1 > 10.0.0.5 type 3 code 4 mtu 1400 about [udp 10.0.0.5:1 > 8.8.8.8:53 len 1500 df cut 548]
//	icmp 10.0.0.1 > 10.0.0.5 type 12 pointer 20 about [udp 10.0.0.5:1 > 8.8.8.8:53 ipopts 5e000000]
//	udp 10.0.0.5:4000 > 8.8.8.8:53 off 0 more len 16 of 24
//	udp 10.0.0.5 > 8.8.8.8 off 24 len 8
//	ip 10.0.0.5 > 8.8.8.8 proto 47 len 20
//	arp who-has 10.0.0.1 tell 10.0.0.5
//	arp reply 10.0.0.1 is-at 02:00:0a:00:00:01 for 10.0.0.5
//
// A property that a line leaves out has a default when a frame is built. When a frame is
// compared (Match), such a property may have any value, and so may a MAC address "any".
//
// len counts the bytes after the transport header, in this packet. In a first fragment,
// "of" is the len of the whole packet. The payload is a fixed pattern: each byte follows
// from its position in the IP payload, so a lost or displaced byte is found. Other payload
// is written as data and hexadecimal digits. A cut packet, as ICMP errors quote it, is
// built in full and then cut to so many bytes.
//
// Further words: tos, df, ipopts and opts (hexadecimal), ipid (an echo's id is its own), pad
// (zero bytes behind the packet); of ARP from and to, the MAC addresses inside the message.
//
// Lengths and checksums follow from the rest, so they are not written. Wrong checksums are
// written, as sum and ipsum, and so is the checksum of a first fragment. A frame that the
// language has no words for is written as raw and hexadecimal digits. So Parse undoes
// Describe for every frame.
package nettest
