// Package serve is the front door of the control API: it listens, finds out who asks, bounds what they may use, and
// leaves a line in the log for each change. What a request asks for is the business of the http.Handler behind it.
//
// A door is a way in: a unix socket, which its permissions guard, or TCP. At a TCP door anyone may knock who reaches
// the address, and that includes the web pages that a browser on this host shows. So beyond loopback a token and TLS
// are required. On loopback without a token, a request must be meant for this host (Host), and may not come from the
// page of another one (Origin).
//
// Everything is bounded, for each door by itself: connections, the time for a header and for a body, the length of a
// body, requests in flight, streams. So a flood at the one door does not keep out who comes by the other.
//
// A refusal has the form of the API that the path belongs to: Neutron's, Octavia's, Nova's or Keystone's.
package serve
