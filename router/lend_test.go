package router

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/packet"
)

// One host gets every port. Another one takes what is beyond the share of the first, which the log and the statistics
// tell, once.
func TestIdlePortsAreLent(t *testing.T) {
	for _, lend := range []bool{true, false} {
		topo := tutorial()
		c := topo.Routers[0].NAT
		c.PortMin, c.PortMax, c.Lend = 2000, 2009, &lend
		l := newLessonOf(t, topo)
		var log bytes.Buffer
		l.w.Log = slog.New(slog.NewTextHandler(&log, nil))
		for i := range 10 {
			l.udp(l.vm4, 2000+i, "10.10.10.4", 53, "question")
			if !lend && i >= 5 {
				l.want(l.one("vlan101"), fmt.Sprintf("icmp 172.16.101.1 > 172.16.101.4 type 3 code 13 about "+
					"udp 172.16.101.4:%d > 10.10.10.4:53", 2000+i))
				l.none("ext_net")
				continue
			}
			l.want(l.one("ext_net"), fmt.Sprintf("udp 10.10.10.2:%d > 10.10.10.4:53", 2000+i))
			l.udp(l.client, 53, "10.10.10.2", 2000+i, "answer")
			l.want(l.one("vlan101"), fmt.Sprintf("udp 10.10.10.4:53 > 172.16.101.4:%d", 2000+i))
			l.advance(time.Second)
		}
		for i := range map[bool]int{true: 5, false: 2}[lend] {
			l.udp(l.web1, 3000+i, "10.10.10.4", 53, "question")
			if out := l.one("ext_net"); lend && int(out.udp.SrcPort) != 2000+i {
				t.Errorf("port %d, want %d, which is idle longest", out.udp.SrcPort, 2000+i)
			}
		}
		got := l.stats().Routers[0]
		if lend && (got.Recalled != 5 || got.Evicted != 0 || got.Connections != 10) || !lend && got.Recalled != 0 {
			t.Errorf("lend %t: %+v", lend, got)
		}
		if n := strings.Count(log.String(), RecallRemedy); n > 1 || (n == 1) != lend ||
			lend && !strings.Contains(log.String(), "host=172.16.101.4") {
			t.Errorf("lend %t: the log says:\n%s", lend, &log)
		}
	}
}

// A connection that is established beyond the share of its host is reset on both sides, and its port is free again.
func TestEstablishedBeyondTheShareIsReset(t *testing.T) {
	topo := tutorial()
	c := topo.Routers[0].NAT
	c.PortMin, c.PortMax = 2000, 2003
	l := newLessonOf(t, topo)
	var begun []*flow
	for i := range 4 {
		f := l.syn(l.vm4, 2000+i, "10.10.10.4", 80, l.client)
		l.segment(l.client, f.sport, f.from, f.fromPort, packet.SYN|packet.ACK, f.sseq, f.seq, 0)
		f.sseq++
		l.one("vlan101")
		begun = append(begun, f)
	}
	for i, f := range begun {
		l.segment(l.vm4, f.port, f.to, f.toPort, packet.ACK, f.seq, f.sseq, 0)
		out := l.one("ext_net")
		if out.tcp.RST != (i >= 2) {
			t.Errorf("connection %d: %v", i, out)
		}
		if i < 2 {
			f.lives()
			continue
		}
		if back := l.one("vlan101"); !back.tcp.RST || int(back.tcp.DstPort) != f.port {
			t.Errorf("connection %d: %v", i, back)
		}
	}
	l.dropped(DropHostShare, 2)
	for _, f := range begun[:2] {
		f.lives()
	}
	for i := range 2 {
		l.syn(l.web1, 3000+i, "10.10.10.4", 81, l.client)
	}
	if got := l.stats().Routers[0]; got.Connections != 4 {
		t.Errorf("%+v", got)
	}
}
