package host_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/router/host"
)

var modes = map[string]host.TracerouteMode{"UDP": host.TracerouteUDP, "ICMP": host.TracerouteICMP,
	"TCP": host.TracerouteTCP}

// A way is a path of three routers to destination, and what it answers.
type way struct {
	mu      sync.Mutex
	sent    []gopacket.Packet // what the host sent
	silent  int               // a TTL to which no answer is given
	late    int               // a TTL whose first probe is answered when the next probe comes
	stopAt  int               // a TTL from which on 3/1 is answered
	tcpOpen bool
}

var destination = mustAddr("192.0.2.1")

func router(ttl int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(ttl), 1}) }

func (w *way) forward(s *segment, p gopacket.Packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, p)
	ip := p.NetworkLayer().(*layers.IPv4)
	ttl := int(ip.TTL)
	if w.late > 0 && len(w.sent) == w.late+1 {
		s.refuse(w.sent[w.late-1], router(w.late), 11, 0, 0)
	}
	switch {
	case ttl == w.silent:
	case ttl == w.late && len(w.sent) == w.late:
	case w.stopAt > 0 && ttl >= w.stopAt:
		s.refuse(p, router(w.stopAt), 3, 1, 0)
	case ttl <= 3:
		s.refuse(p, router(ttl), 11, 0, 0)
	default:
		w.arrive(s, p)
	}
}

// arrive answers as the destination.
func (w *way) arrive(s *segment, p gopacket.Packet) {
	if echo, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		s.sendIP(destination, 60, layers.IPProtocolICMPv4,
			&layers.ICMPv4{TypeCode: 0, Id: echo.Id, Seq: echo.Seq}, gopacket.Payload(echo.Payload))
		return
	}
	syn, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if !ok {
		s.refuse(p, destination, 3, 3, 0)
		return
	}
	if !syn.RST {
		s.sendIP(destination, 60, layers.IPProtocolTCP, &layers.TCP{
			SrcPort: syn.DstPort, DstPort: syn.SrcPort, Ack: syn.Seq + 1, ACK: true, SYN: w.tcpOpen, RST: !w.tcpOpen,
			Window: 1000,
		})
	}
}

func froms(hops []host.Hop) string {
	var s []string
	for i, h := range hops {
		if h.TTL != hops[0].TTL+i {
			s = append(s, "out of order")
		}
		if h.From.IsValid() {
			s = append(s, h.From.String())
		} else {
			s = append(s, "*")
		}
	}
	return strings.Join(s, " ")
}

func TestTraceroute(t *testing.T) {
	const whole = "10.0.1.1 10.0.2.1 10.0.3.1 192.0.2.1"
	for _, tt := range []struct {
		name string
		way  *way
		opt  host.TracerouteOptions
		want string
		err  string
	}{
		{"all", &way{}, host.TracerouteOptions{}, whole, ""},
		{"open port", &way{tcpOpen: true}, host.TracerouteOptions{}, whole, ""},
		{"silent router", &way{silent: 2}, host.TracerouteOptions{}, "10.0.1.1 * 10.0.3.1 192.0.2.1", ""},
		{"late answer", &way{late: 2, silent: 2}, host.TracerouteOptions{}, "10.0.1.1 * 10.0.3.1 192.0.2.1", ""},
		{"answer to the second", &way{late: 2}, host.TracerouteOptions{}, whole, ""},
		{"from the second", &way{}, host.TracerouteOptions{FirstTTL: 2}, "10.0.2.1 10.0.3.1 192.0.2.1", ""},
		{"two hops", &way{}, host.TracerouteOptions{MaxHops: 2}, "10.0.1.1 10.0.2.1", ""},
		{"unreachable", &way{stopAt: 2}, host.TracerouteOptions{}, "10.0.1.1 10.0.2.1",
			"From 10.0.2.1: Destination Host Unreachable"},
	} {
		for name, mode := range modes {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &way{silent: tt.way.silent, late: tt.way.late, stopAt: tt.way.stopAt, tcpOpen: tt.way.tcpOpen}
					s := newSegment(t, host.Config{}, w.forward)
					tt.opt.Mode = mode
					var told []host.Hop
					tt.opt.Progress = func(h host.Hop) { told = append(told, h) }
					hops, err := s.h.Traceroute(t.Context(), destination, tt.opt)
					if !slices.Equal(told, hops) {
						t.Errorf("told of %v on the way, in the end %v", told, hops)
					}
					if got := froms(hops); got != tt.want {
						t.Errorf("hops %s, want %s", got, tt.want)
					}
					if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
						t.Errorf("error %v, want %q", err, tt.err)
					}
				})
			})
		}
	}
}

func TestTracerouteGivesUpWithContext(t *testing.T) {
	for name, mode := range modes {
		synctest.Test(t, func(t *testing.T) {
			s := newSegment(t, host.Config{}, (&way{silent: 2}).forward)
			ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer cancel()
			hops, err := s.h.Traceroute(ctx, destination, host.TracerouteOptions{Mode: mode})
			if !errors.Is(err, context.DeadlineExceeded) || froms(hops) != "10.0.1.1" {
				t.Errorf("%s: %s, %v", name, froms(hops), err)
			}
		})
	}
}

func TestTracerouteProbes(t *testing.T) {
	for name, want := range map[string][]string{
		"UDP": {"ttl 1 UDP 33434", "ttl 2 UDP 33435", "ttl 2 UDP 33436", "ttl 2 UDP 33437", "ttl 3 UDP 33438",
			"ttl 4 UDP 33439"},
		"ICMP": {"ttl 1 echo 1", "ttl 2 echo 2", "ttl 2 echo 3", "ttl 2 echo 4", "ttl 3 echo 5", "ttl 4 echo 6"},
		"TCP":  {"ttl 1 SYN 80", "ttl 2 SYN 80", "ttl 2 SYN 80", "ttl 2 SYN 80", "ttl 3 SYN 80", "ttl 4 SYN 80", "RST"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &way{tcpOpen: true, silent: 2}
				s := newSegment(t, host.Config{}, w.forward)
				if _, err := s.h.Traceroute(t.Context(), destination,
					host.TracerouteOptions{Mode: modes[name], Tries: 3}); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				w.mu.Lock()
				defer w.mu.Unlock()
				var got []string
				for _, p := range w.sent {
					got = append(got, probeText(t, p))
				}
				if !slices.Equal(got, want) {
					t.Errorf("sent %q, want %q", got, want)
				}
			})
		})
	}
}

// probeText describes a probe, and checks its checksum.
func probeText(t *testing.T, p gopacket.Packet) string {
	t.Helper()
	ip := p.NetworkLayer().(*layers.IPv4)
	checkFrame(t, vnet{}, p.Data(), p)
	ttl := "ttl " + string('0'+ip.TTL) + " "
	switch l := p.Layers()[2].(type) {
	case *layers.UDP:
		return ttl + "UDP " + strconv.Itoa(int(l.DstPort))
	case *layers.ICMPv4:
		return ttl + "echo " + string(rune('0'+l.Seq))
	case *layers.TCP:
		if l.RST {
			return "RST"
		}
		return ttl + "SYN " + strconv.Itoa(int(l.DstPort))
	}
	return p.String()
}

func TestTracerouteOnLink(t *testing.T) {
	a, b := pair(t, false)
	for name, mode := range modes {
		hops, err := a.Traceroute(within(t), b.Address(), host.TracerouteOptions{Mode: mode})
		if err != nil || froms(hops) != addrB {
			t.Errorf("%s: %s, %v", name, froms(hops), err)
		}
		if len(hops) == 1 && !strings.HasPrefix(hops[0].String(), " 1  10.10.10.5  ") {
			t.Errorf("reads %q", hops[0])
		}
	}
	if got := (host.Hop{TTL: 12}).String(); got != "12  *" {
		t.Errorf("reads %q", got)
	}
}

func TestTracerouteErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, false)
		hops, err := a.Traceroute(t.Context(), b.Address().Next(), host.TracerouteOptions{})
		if e := (*host.ICMPError)(nil); !errors.As(err, &e) || e.From != a.Address() || froms(hops) != addrA {
			t.Errorf("absent neighbor: %s, %v", froms(hops), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Traceroute(ctx, b.Address().Next(), host.TracerouteOptions{}); !errors.Is(err,
			context.DeadlineExceeded) {
			t.Errorf("absent neighbor, short of time: %v", err)
		}
		if _, err := a.Traceroute(t.Context(), mustAddr("192.0.2.1"), host.TracerouteOptions{}); !errors.Is(err,
			syscall.ENETUNREACH) {
			t.Errorf("no route: %v", err)
		}
		for _, opt := range []host.TracerouteOptions{
			{Mode: 9}, {MaxHops: 256}, {FirstTTL: 5, MaxHops: 4}, {FirstTTL: -1}, {Port: 65535}, {Port: -1},
			{Tries: -1},
		} {
			if _, err := a.Traceroute(t.Context(), b.Address(), opt); err == nil {
				t.Errorf("%+v is accepted", opt)
			}
		}
	})
}
