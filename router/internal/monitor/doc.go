// Package monitor checks the members of load balancer pools, as Octavia's health
// monitors do. It knows nothing of the router: it is given members, and says which
// are up.
//
// # Parts
//
// A Monitor has the schedule and the thresholds of a pool's checks. It has no clock
// and no timer of its own, but goes by a Schedule, which its owner gives it: Workers
// in an engine, the simulated clock in a simulation. A Prober makes the checks. The
// real one, FromHost, sends them from an in-process host, whose packets the router
// forwards; in a simulation the test says what they find.
//
// # When
//
// A member is checked first after a random part of a second, so that ten
// thousand are not checked in one instant, and then every second, or Delay if
// that is less, until Rise good checks in a row or Fall bad ones have decided
// about it. From then on a check begins every Delay, counted from beginning to
// beginning and from a random moment of the first, so a member that dies is down
// within Delay x Fall + Timeout. A member is never checked twice at one time.
//
// With another Spec checks begin anew in the same way. The state that a member has
// stays until they have decided.
//
// # What
//
// TCP: the handshake completes; the connection is then reset, which leaves no
// TIME-WAIT on either side. HTTP and HTTPS: one request on a connection of its
// own, judged by its status alone; redirects are not followed, certificates not
// verified, which Octavia does not do either. TLS is offered in all forms that crypto/tls
// has; a member that refuses the first offer gets a second one with hybrid key
// exchanges and without ALPN. TLS-HELLO: such a handshake, and no request. PING: an echo. UDP-CONNECT: one
// byte, as nc -uz sends it; an ICMP error fails the check, an answer passes it,
// and so does silence.
package monitor
