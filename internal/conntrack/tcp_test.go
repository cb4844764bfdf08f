package conntrack_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
)

// A segment of a script is direction, flags and an asterisk if it has data:
// "oS" is a SYN of the side that opens, "rA*" data from the other side.
type segment struct {
	dir   conntrack.Direction
	flags uint8
	data  bool
}

func parseScript(t *testing.T, script string) []segment {
	t.Helper()
	bits := map[rune]uint8{'S': packet.SYN, 'A': packet.ACK, 'F': packet.FIN, 'R': packet.RST, 'P': packet.PSH}
	var all []segment
	for word := range strings.FieldsSeq(script) {
		s := segment{}
		switch word[0] {
		case 'o':
		case 'r':
			s.dir = conntrack.Reply
		default:
			t.Fatalf("%q: direction is o or r", word)
		}
		for _, r := range word[1:] {
			if r == '*' {
				s.data = true
			} else if bits[r] == 0 {
				t.Fatalf("%q: unknown flag", word)
			}
			s.flags |= bits[r]
		}
		all = append(all, s)
	}
	return all
}

// play commits a TCP connection with the first segment and touches it with the
// others.
func play(t *testing.T, table *conntrack.Table, script string) *conntrack.Conn {
	t.Helper()
	segments := parseScript(t, script)
	n := conntrack.NewConn{Original: tcpTuple(1), Reply: tcpTuple(1).Reverse(),
		Segment: packet.Segment{Flags: segments[0].flags}}
	c, r := table.Commit(&n, 0)
	if c == nil {
		t.Fatalf("Commit: %v", r)
	}
	for _, s := range segments[1:] {
		table.Touch(c, s.dir, s.flags, s.data, 0)
	}
	return c
}

func tcpTuple(k uint16) packet.Tuple {
	return packet.Tuple{Src: 0x0a000001, Dst: 0x08080808, SrcPort: 1000 + k, DstPort: 80, Proto: packet.ProtoTCP}
}

func TestTCPStates(t *testing.T) {
	const open = "oS rSA oA "
	for _, c := range []struct {
		name, script string
		want         conntrack.State
	}{
		{"SYN", "oS", conntrack.SynSent},
		{"SYN again", "oS oS", conntrack.SynSent},
		{"no answer is not open", "oS oA oA*", conntrack.SynSent},
		{"SYN+ACK", "oS rSA", conntrack.SynReceived},
		{"SYN+ACK again", "oS rSA rSA", conntrack.SynReceived},
		{"SYN again after SYN+ACK", "oS rSA oS", conntrack.SynReceived},
		{"an ACK of the other side does not open", "oS rSA rA*", conntrack.SynReceived},
		{"open", open, conntrack.Established},
		{"opened by data", "oS rSA oPA*", conntrack.Established},
		{"data", open + "oPA* rA rPA* oA", conntrack.Established},
		{"SYN when open changes nothing", open + "oS rSA", conntrack.Established},

		{"both open", "oS rS", conntrack.SynReceived},
		{"both open, answers crossed", "oS rS oSA rSA", conntrack.Established},
		{"both open, then data", "oS rS oSA rSA oA*", conntrack.Established},

		{"original finishes", open + "oFA", conntrack.FinOriginal},
		{"original finishes twice", open + "oFA oFA", conntrack.FinOriginal},
		{"half closed, other side sends on", open + "oFA rA rPA* oA rPA*", conntrack.FinOriginal},
		{"reply finishes", open + "rFA", conntrack.FinReply},
		{"reply finishes twice", open + "rFA rFA", conntrack.FinReply},
		{"half closed, original sends on", open + "rFA oA oPA* rA", conntrack.FinReply},
		{"both finish", open + "oFA rFA oA", conntrack.Closed},
		{"both finish, reply first", open + "rFA oFA rA", conntrack.Closed},
		{"last data after both have finished", open + "oFA rFA oA* rA*", conntrack.Closed},
		{"FIN again after both have finished", open + "oFA rFA oA oFA rFA", conntrack.Closed},
		{"FIN right after SYN+ACK", "oS rSA oFA", conntrack.FinOriginal},
		{"refused by FIN after SYN+ACK", "oS rSA rFA", conntrack.FinReply},

		{"port reuse after close", open + "oFA rFA oS", conntrack.SynSent},
		{"port reuse after close, opened", open + "oFA rFA oS rSA oA", conntrack.Established},
		{"port reuse by the other side", open + "oFA rFA rS", conntrack.SynReceived},
		{"port reuse after reset", open + "rR oS", conntrack.SynSent},
		{"no port reuse when half closed", open + "oFA oS", conntrack.FinOriginal},

		{"reset by original", open + "oR", conntrack.Reset},
		{"reset by reply", open + "rRA", conntrack.Reset},
		{"reset when half closed", open + "oFA rR", conntrack.Reset},
		{"reset before it is open", "oS rSA oR", conntrack.Reset},
		{"RST beats FIN and SYN", open + "oRFS", conntrack.Reset},
		{"an ACK does not revive", open + "oR rA oA", conntrack.Reset},
		{"FIN does not revive", open + "oR rFA", conntrack.Reset},
		{"data revives (RFC 7857, 2.2)", open + "oR rPA*", conntrack.Established},
		{"own data revives", open + "oR oPA*", conntrack.Established},

		{"taken up in the middle, one side", "oA oA*", conntrack.New},
		{"taken up in the middle, both", "oA rA", conntrack.Established},
		{"taken up in the middle, data", "oPA* rPA*", conntrack.Established},
		{"taken up at the end", "oFA rFA", conntrack.FinReply},
		{"taken up with a SYN+ACK", "oSA rA", conntrack.SynSent},

		// What one side alone sends, from an invented address maybe, must not
		// get the long life of an open connection.
		{"lone FIN", "oF", conntrack.New},
		{"lone FIN with data", "oFA oA* oFA", conntrack.New},
		{"SYN and FIN", "oS oF oA*", conntrack.SynSent},
		{"SYN+FIN", "oSF oF", conntrack.SynSent},
		{"FIN in answer to SYN", "oS rF", conntrack.SynSent},
		{"lone RST", "oR", conntrack.Closed},
		{"lone RST and data", "oR oA*", conntrack.Closed},
		{"SYN, RST and data", "oS oR oA*", conntrack.Closed},
		{"SYN, RST twice and data", "oS oR oR oA*", conntrack.Closed},
		{"refused, then data", "oS rRA oA*", conntrack.Closed},
		{"refused, tried again", "oS rRA oS", conntrack.SynSent},
		{"reset after close is no way back", open + "oFA rFA rR oA*", conntrack.Closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := play(t, newTable(conntrack.Config{}), c.script)
			if got := conn.State(); got != c.want {
				t.Errorf("%s: %v, want %v", c.script, got, c.want)
			}
			if want := c.want == conntrack.Closed || c.want == conntrack.Reset; conn.Ended() != want {
				t.Errorf("Ended() = %t", conn.Ended())
			}
		})
	}
}

// RFC 5382 REQ-5: half-open and closed connections may live shorter than open and half-closed ones. RFC 7857, 2.1:
// each of the two has a time of its own.
func TestTCPTimeouts(t *testing.T) {
	const open, opening, closing = "oS rSA oA ", 5 * time.Minute, 6 * time.Minute
	for script, want := range map[string]time.Duration{
		"oA":              opening,
		"oS":              opening,
		"oS rSA":          opening,
		open:              conntrack.TCPEstablishedTimeout,
		open + "oF":       conntrack.TCPEstablishedTimeout,
		open + "rF":       conntrack.TCPEstablishedTimeout,
		open + "oF rF":    closing,
		open + "oR":       closing,
		open + "oR rA*":   conntrack.TCPEstablishedTimeout,
		open + "oF rF oS": opening,
	} {
		table := newTable(conntrack.Config{TCPOpening: opening, TCPClosing: closing})
		play(t, table, script)
		tuple := tcpTuple(1)
		if c, _ := table.Lookup(&tuple, want-time.Millisecond); c == nil {
			t.Errorf("%s: gone before %v", script, want)
		}
		if c, _ := table.Lookup(&tuple, want); c != nil {
			t.Errorf("%s: still there after %v", script, want)
		}
	}
}

func TestOtherProtocolsAreEstablishedByReply(t *testing.T) {
	for _, proto := range []uint8{packet.ProtoUDP, packet.ProtoICMP, 47} {
		table := newTable(conntrack.Config{})
		tuple := packet.Tuple{Src: 1, Dst: 2, Proto: proto}
		c, _ := table.Commit(&conntrack.NewConn{Original: tuple, Reply: tuple.Reverse(),
			Segment: packet.Segment{Flags: packet.SYN}}, 0)
		for _, s := range []struct {
			dir  conntrack.Direction
			want conntrack.State
		}{{conntrack.Original, conntrack.New}, {conntrack.Reply, conntrack.Established},
			{conntrack.Original, conntrack.Established}} {
			table.Touch(c, s.dir, packet.RST, true, 0)
			if replied := table.Show(c, 0).Replied; c.State() != s.want ||
				replied != (s.want == conntrack.Established) {
				t.Errorf("protocol %d: %v, replied %t", proto, c.State(), replied)
			}
		}
	}
}

func newTable(cfg conntrack.Config) *conntrack.Table {
	return conntrack.NewTable(cfg, rand.New(rand.NewPCG(1, 2)))
}
