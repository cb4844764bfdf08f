package conntrack

import "github.com/taprouter/taprouter/internal/packet"

// A State is how far a connection has come. Connections of protocols other than
// TCP are New until the first reply and Established from then on.
//
//	          SYN                SYN+ACK (reply)          ACK (original)
//	(none) --------> SynSent ------------------> SynReceived -----------> Established
//	                    |  SYN (reply): both open   ^   or SYN+ACK         |
//	                    +---------------------------+                      |
//	            FIN, either side                FIN, the other side        |
//	Established ----------------> FinOriginal / ----------------> Closed   |
//	                              FinReply                                 |
//	any state --RST--> Reset --data--> Established (RFC 7857, 2.2)
//
// One side alone cannot get the long life of Established: as long as nothing
// was open, its FIN changes nothing, and a RST leads to Closed, from where data
// does not lead back.
//
// Only segments that fit the sequence numbers and windows of both sides (see Fit) change a state. So a
// stranger that does not see a connection cannot end it.
//
// What is half open or closed lives for the opening or the closing timeout, Established and
// half closed for the established one (RFC 5382 REQ-5, RFC 6146, 3.5.2).
type State uint8

// The states.
const (
	New State = iota
	SynSent
	SynReceived
	Established
	FinOriginal // only the side that opened the connection has finished
	FinReply    // only the other side has
	Closed
	Reset
)

var states = [...]string{"NEW", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "TIME_WAIT", "CLOSE"}

// String names the state as conntrack -L does, where it has a word for it.
func (s State) String() string { return states[s] }

// A Direction says which of a connection's two tuples a packet has.
type Direction uint8

// The directions.
const (
	Original Direction = iota
	Reply
)

// step is the state after a TCP segment with these flags in direction d; data
// says whether it has a payload.
func (s State) step(flags uint8, data bool, d Direction) State {
	switch {
	case flags&packet.RST != 0:
		return s.stepRST()
	case flags&packet.SYN != 0:
		return s.stepSYN(flags, d)
	case flags&packet.FIN != 0:
		return s.stepFIN(d)
	}
	switch {
	case s == SynReceived && d == Original:
		return Established
	case s == New && d == Reply: // picked up in the middle
		return Established
	case s == Reset && data:
		return Established
	}
	return s
}

// stepSYN also takes up a closed connection whose ports are used again. Where both
// sides open at the same time, they answer each other's SYN, and are done.
func (s State) stepSYN(flags uint8, d Direction) State {
	switch {
	case d == Original && s == SynReceived && flags&packet.ACK != 0:
		return Established
	case d == Original && (s == New || s == Closed || s == Reset):
		return SynSent
	case d == Reply && (s == New || s == SynSent || s == Closed || s == Reset):
		return SynReceived
	}
	return s
}

func (s State) stepRST() State {
	switch s {
	case New, SynSent, Closed:
		return Closed
	}
	return Reset
}

func (s State) stepFIN(d Direction) State {
	switch s {
	case New:
		if d == Reply { // picked up in the middle
			return FinReply
		}
	case SynSent:
	case FinOriginal:
		if d == Reply {
			return Closed
		}
	case FinReply:
		if d == Original {
			return Closed
		}
	case Closed, Reset:
	default:
		if d == Original {
			return FinOriginal
		}
		return FinReply
	}
	return s
}

// finished reports whether only the side that sends in direction d has.
func (s State) finished(d Direction) bool {
	return s == FinOriginal && d == Original || s == FinReply && d == Reply
}

// transitory reports whether a TCP connection in this state is half open or over,
// and lives only for the opening or the closing timeout (RFC 7857, 2.1).
func (s State) transitory() bool {
	switch s {
	case Established, FinOriginal, FinReply:
		return false
	}
	return true
}
