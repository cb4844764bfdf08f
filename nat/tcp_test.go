package nat_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
)

// A segment of a script is direction, flags and an asterisk if it has data:
// "oS" is a SYN of the side that opens, "rA*" data from the other side.
type segment struct {
	dir   nat.Direction
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
			s.dir = nat.Reply
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
func play(t *testing.T, table *nat.Table, script string) *nat.Conn {
	t.Helper()
	segments := parseScript(t, script)
	n := nat.NewConn{Original: tcpTuple(1), Reply: tcpTuple(1).Reverse(), Segment: packet.Segment{Flags: segments[0].flags}}
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
		want         nat.State
	}{
		{"SYN", "oS", nat.SynSent},
		{"SYN again", "oS oS", nat.SynSent},
		{"no answer is not open", "oS oA oA*", nat.SynSent},
		{"SYN+ACK", "oS rSA", nat.SynReceived},
		{"SYN+ACK again", "oS rSA rSA", nat.SynReceived},
		{"SYN again after SYN+ACK", "oS rSA oS", nat.SynReceived},
		{"an ACK of the other side does not open", "oS rSA rA*", nat.SynReceived},
		{"open", open, nat.Established},
		{"opened by data", "oS rSA oPA*", nat.Established},
		{"data", open + "oPA* rA rPA* oA", nat.Established},
		{"SYN when open changes nothing", open + "oS rSA", nat.Established},

		{"both open", "oS rS", nat.SynReceived},
		{"both open, answers crossed", "oS rS oSA rSA", nat.Established},
		{"both open, then data", "oS rS oSA rSA oA*", nat.Established},

		{"original finishes", open + "oFA", nat.FinOriginal},
		{"original finishes twice", open + "oFA oFA", nat.FinOriginal},
		{"half closed, other side sends on", open + "oFA rA rPA* oA rPA*", nat.FinOriginal},
		{"reply finishes", open + "rFA", nat.FinReply},
		{"reply finishes twice", open + "rFA rFA", nat.FinReply},
		{"half closed, original sends on", open + "rFA oA oPA* rA", nat.FinReply},
		{"both finish", open + "oFA rFA oA", nat.Closed},
		{"both finish, reply first", open + "rFA oFA rA", nat.Closed},
		{"last data after both have finished", open + "oFA rFA oA* rA*", nat.Closed},
		{"FIN again after both have finished", open + "oFA rFA oA oFA rFA", nat.Closed},
		{"FIN right after SYN+ACK", "oS rSA oFA", nat.FinOriginal},
		{"refused by FIN after SYN+ACK", "oS rSA rFA", nat.FinReply},

		{"port reuse after close", open + "oFA rFA oS", nat.SynSent},
		{"port reuse after close, opened", open + "oFA rFA oS rSA oA", nat.Established},
		{"port reuse by the other side", open + "oFA rFA rS", nat.SynReceived},
		{"port reuse after reset", open + "rR oS", nat.SynSent},
		{"no port reuse when half closed", open + "oFA oS", nat.FinOriginal},

		{"reset by original", open + "oR", nat.Reset},
		{"reset by reply", open + "rRA", nat.Reset},
		{"reset when half closed", open + "oFA rR", nat.Reset},
		{"reset before it is open", "oS rSA oR", nat.Reset},
		{"RST beats FIN and SYN", open + "oRFS", nat.Reset},
		{"an ACK does not revive", open + "oR rA oA", nat.Reset},
		{"FIN does not revive", open + "oR rFA", nat.Reset},
		{"data revives (RFC 7857, 2.2)", open + "oR rPA*", nat.Established},
		{"own data revives", open + "oR oPA*", nat.Established},

		{"taken up in the middle, one side", "oA oA*", nat.New},
		{"taken up in the middle, both", "oA rA", nat.Established},
		{"taken up in the middle, data", "oPA* rPA*", nat.Established},
		{"taken up at the end", "oFA rFA", nat.FinReply},
		{"taken up with a SYN+ACK", "oSA rA", nat.SynSent},

		// What one side alone sends, from an invented address maybe, must not
		// get the long life of an open connection.
		{"lone FIN", "oF", nat.New},
		{"lone FIN with data", "oFA oA* oFA", nat.New},
		{"SYN and FIN", "oS oF oA*", nat.SynSent},
		{"SYN+FIN", "oSF oF", nat.SynSent},
		{"FIN in answer to SYN", "oS rF", nat.SynSent},
		{"lone RST", "oR", nat.Closed},
		{"lone RST and data", "oR oA*", nat.Closed},
		{"SYN, RST and data", "oS oR oA*", nat.Closed},
		{"SYN, RST twice and data", "oS oR oR oA*", nat.Closed},
		{"refused, then data", "oS rRA oA*", nat.Closed},
		{"refused, tried again", "oS rRA oS", nat.SynSent},
		{"reset after close is no way back", open + "oFA rFA rR oA*", nat.Closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := play(t, newTable(nat.Config{}), c.script)
			if got := conn.State(); got != c.want {
				t.Errorf("%s: %v, want %v", c.script, got, c.want)
			}
			if want := c.want == nat.Closed || c.want == nat.Reset; conn.Ended() != want {
				t.Errorf("Ended() = %t", conn.Ended())
			}
		})
	}
}

// RFC 5382 REQ-5: what is half open or closed may live shorter than what is open
// or half closed; RFC 7857, 2.1: each its own time.
func TestTCPTimeouts(t *testing.T) {
	const open, opening, closing = "oS rSA oA ", 5 * time.Minute, 6 * time.Minute
	for script, want := range map[string]time.Duration{
		"oA":              opening,
		"oS":              opening,
		"oS rSA":          opening,
		open:              nat.TCPEstablishedTimeout,
		open + "oF":       nat.TCPEstablishedTimeout,
		open + "rF":       nat.TCPEstablishedTimeout,
		open + "oF rF":    closing,
		open + "oR":       closing,
		open + "oR rA*":   nat.TCPEstablishedTimeout,
		open + "oF rF oS": opening,
	} {
		table := newTable(nat.Config{TCPOpening: opening, TCPClosing: closing})
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
		table := newTable(nat.Config{})
		tuple := packet.Tuple{Src: 1, Dst: 2, Proto: proto}
		c, _ := table.Commit(&nat.NewConn{Original: tuple, Reply: tuple.Reverse(), Segment: packet.Segment{Flags: packet.SYN}}, 0)
		for _, s := range []struct {
			dir  nat.Direction
			want nat.State
		}{{nat.Original, nat.New}, {nat.Reply, nat.Established}, {nat.Original, nat.Established}} {
			table.Touch(c, s.dir, packet.RST, true, 0)
			if c.State() != s.want || c.Replied() != (s.want == nat.Established) {
				t.Errorf("protocol %d: %v, replied %t", proto, c.State(), c.Replied())
			}
		}
	}
}

func newTable(cfg nat.Config) *nat.Table {
	return nat.NewTable(cfg, rand.New(rand.NewPCG(1, 2)), nil)
}
