package dhcp

import (
	"net/netip"
)

// A Request is a message to UDP port 67, as it came.
type Request struct {
	Payload   []byte     // of UDP; the server does not keep it
	SourceMAC MAC        // of the frame
	Src, Dst  netip.Addr // of the packet
	Broadcast bool       // the frame was a broadcast
	Device    string     // where the frame came in
}

// An Answer is a message to send from UDP port 67.
type Answer struct {
	Payload []byte         // of UDP; the caller's
	To      netip.AddrPort // 255.255.255.255:68, a client's address and port 68, or a relay's and port 67
	ToMAC   MAC            // of the frame: broadcast, the client, or whoever has handed over the request
	From    netip.Addr     // the server's address
	Reason  Reason         // what kind of answer it is, or why there is none
	Address netip.Addr     // that was offered or acknowledged, for logs
	Client  MAC            // who has asked, for logs
}

// Send says whether there is something to send.
func (a *Answer) Send() bool { return a.Payload != nil }
