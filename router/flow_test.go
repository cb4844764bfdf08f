package router

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/internal/packet"
)

// A flow is a live TCP connection between two hosts, with the addresses and ports that each of them sees.
type flow struct {
	l              *lesson
	client, server *simHost
	port, sport    int    // of the client, of the server
	to             string // the server's address as the client sees it
	toPort         int
	from           string // the client's address as the server sees it
	fromPort       int
	seq, sseq      uint32 // the next sequence numbers of the client, of the server
}

func (l *lesson) segment(h *simHost, sport int, dst string, dport int, flags uint8, seq, ack uint32, data int) {
	l.t.Helper()
	t := &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: seq, Ack: ack, Window: 65535}
	t.SYN, t.ACK, t.RST, t.FIN = flags&packet.SYN != 0, flags&packet.ACK != 0, flags&packet.RST != 0,
		flags&packet.FIN != 0
	l.put(h.net, l.build(h, dst, layers.IPProtocolTCP, nil, t, payload(data)))
}

// syn sends a SYN and notes how it arrives.
func (l *lesson) syn(client *simHost, port int, to string, toPort int, server *simHost) *flow {
	l.t.Helper()
	f := &flow{l: l, client: client, server: server, port: port, to: to, toPort: toPort, seq: 1000, sseq: 5000}
	l.segment(client, port, to, toPort, packet.SYN, f.seq, 0, 0)
	f.seq++
	got := l.one(server.net)
	if got.ip.DstIP.String() != server.addr.String() {
		l.t.Fatalf("%v has arrived, not at %v", got, server.addr)
	}
	f.from, f.fromPort, f.sport = got.ip.SrcIP.String(), int(got.tcp.SrcPort), int(got.tcp.DstPort)
	return f
}

// tcpFlow opens a TCP connection and sends something both ways.
func (l *lesson) tcpFlow(client *simHost, port int, to string, toPort int, server *simHost) *flow {
	l.t.Helper()
	f := l.syn(client, port, to, toPort, server)
	l.segment(server, f.sport, f.from, f.fromPort, packet.SYN|packet.ACK, f.sseq, f.seq, 0)
	f.sseq++
	l.one(client.net)
	l.segment(client, port, to, toPort, packet.ACK, f.seq, f.sseq, 0)
	l.one(server.net)
	f.lives()
	return f
}

// lives fails unless data arrives in both directions as it did before.
func (f *flow) lives() {
	l := f.l
	l.t.Helper()
	l.segment(f.client, f.port, f.to, f.toPort, packet.ACK, f.seq, f.sseq, 10)
	f.seq += 10
	l.want(l.one(f.server.net), fmt.Sprintf("tcp %s:%d > %v:%d .", f.from, f.fromPort, f.server.addr, f.sport))
	l.segment(f.server, f.sport, f.from, f.fromPort, packet.ACK, f.sseq, f.seq, 20)
	f.sseq += 20
	l.want(l.one(f.client.net), fmt.Sprintf("tcp %s:%d > %v:%d .", f.to, f.toPort, f.client.addr, f.port))
}

// rst is a RST as a test compares it.
func rst(src string, sport int, dst netip.Addr, dport int, seq, ack uint32) string {
	return fmt.Sprintf("tcp %s:%d > %v:%d R. seq %d ack %d", src, sport, dst, dport, seq, ack)
}

// resets are the RSTs that both ends of flows must get, by network.
func resets(flows ...*flow) map[string][]string {
	want := map[string][]string{}
	for _, f := range flows {
		want[f.client.net] = append(want[f.client.net], rst(f.to, f.toPort, f.client.addr, f.port, f.sseq, f.seq))
		want[f.server.net] = append(want[f.server.net], rst(f.from, f.fromPort, f.server.addr, f.sport, f.seq, f.sseq))
	}
	return want
}

// wantResets fails unless exactly these have come out, and nothing else but ARP.
func (l *lesson) wantResets(want map[string][]string) {
	l.t.Helper()
	l.run()
	for _, n := range l.names {
		var got []string
		for _, f := range l.take(n) {
			if f.tcp == nil {
				l.t.Errorf("on %s: %v", n, f)
				continue
			}
			got = append(got, fmt.Sprintf("%v seq %d ack %d", f, f.tcp.Seq, f.tcp.Ack))
		}
		slices.Sort(got)
		slices.Sort(want[n])
		if !slices.Equal(got, want[n]) {
			l.t.Errorf("on %s:\n got %q\nwant %q", n, got, want[n])
		}
	}
}

// exchange sends a datagram both ways; it must arrive as from and be answered.
func (l *lesson) exchange(client *simHost, port int, to string, toPort int, server *simHost, from string) {
	l.t.Helper()
	l.udp(client, port, to, toPort, "question")
	got := l.one(server.net)
	if s, d := got.ip.SrcIP.String(), got.ip.DstIP.String(); s != from || d != server.addr.String() {
		l.t.Errorf("%v has arrived, not from %s to %v", got, from, server.addr)
	}
	l.udp(server, int(got.udp.DstPort), from, int(got.udp.SrcPort), "answer")
	l.want(l.one(client.net), fmt.Sprintf("udp %s:%d > %v:%d", to, toPort, client.addr, port))
}
