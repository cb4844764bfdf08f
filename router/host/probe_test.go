package host_test

import (
	"context"
	"errors"
	"net/netip"
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

func TestProbeUDP(t *testing.T) {
	inBubble(t, func(t *testing.T, a, b *host.Host) {
		if err := b.ServeEcho(7); err != nil {
			t.Fatal(err)
		}
		mute, err := b.ListenPacket("udp", ":8")
		if err != nil {
			t.Fatal(err)
		}
		defer mute.Close()
		at := func(addr netip.Addr, port uint16) error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			return a.ProbeUDP(ctx, netip.AddrPortFrom(addr, port), []byte("x"))
		}
		if err := at(b.Address(), 7); err != nil {
			t.Errorf("answered: %v", err)
		}
		if err := at(b.Address(), 8); !errors.Is(err, context.DeadlineExceeded) ||
			!strings.HasPrefix(err.Error(), "host: a: probe 10.10.10.5:8: ") {
			t.Errorf("silent: %v", err)
		}
		var e *host.ICMPError
		if err := at(b.Address(), 9); !errors.As(err, &e) || e.Type != 3 || e.Code != 3 || e.From != b.Address() {
			t.Errorf("closed: %v", err)
		}
		if err := at(b.Address().Next(), 7); !errors.As(err, &e) || e.Code != 1 || e.From != a.Address() {
			t.Errorf("absent: %v", err)
		}
		if err := at(mustAddr("192.0.2.1"), 7); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("no route: %v", err)
		}
		if err := at(mustAddr("2001:db8::1"), 7); err == nil {
			t.Error("IPv6 was taken")
		}
	})
}

// Every ICMP error about the datagram ends a probe, and none about another's.
func TestProbeUDPErrors(t *testing.T) {
	to := mustAddr("192.0.2.1")
	for code := range uint8(16) {
		s := newSegment(t, host.Config{}, func(s *segment, p gopacket.Packet) {
			for _, at := range []int{14 + 20 + 1, 14 + 20 + 3, 14 + 16} { // source port, destination port, address
				other := append([]byte{}, p.Data()...)
				other[at]++
				s.refuse(gopacket.NewPacket(other, layers.LayerTypeEthernet, gopacket.Default), peerIP, 3, 0, 0)
			}
			s.sendIP(peerIP, 64, layers.IPProtocolUDP,
				&layers.UDP{SrcPort: 53, DstPort: p.TransportLayer().(*layers.UDP).SrcPort}, gopacket.Payload("x"))
			s.refuse(p, peerIP.Next(), 3, code, 0)
		})
		err := s.h.ProbeUDP(within(t), netip.AddrPortFrom(to, 53), nil)
		if e := (*host.ICMPError)(nil); !errors.As(err, &e) || e.Code != code || e.From != peerIP.Next() {
			t.Errorf("code %d: %v", code, err)
		}
	}
}

// Probes and pings that wait at once each get their own answer.
func TestProbesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSegment(t, host.Config{}, func(s *segment, p gopacket.Packet) {
			s.refuse(p, netip.AddrFrom4([4]byte(p.NetworkLayer().(*layers.IPv4).DstIP)), 3, 10, 0)
		})
		// The stack keeps 256 packets for a next hop that it has yet to find.
		_, _ = s.h.Ping(t.Context(), mustAddr("192.0.2.250"))
		var all sync.WaitGroup
		for i := range byte(200) {
			to := netip.AddrFrom4([4]byte{192, 0, 2, i})
			check := func(what string, err error) {
				if e := (*host.ICMPError)(nil); !errors.As(err, &e) || e.From != to {
					t.Errorf("%s %s: %v", what, to, err)
				}
			}
			all.Go(func() { check("probe", s.h.ProbeUDP(t.Context(), netip.AddrPortFrom(to, 53), nil)) })
			all.Go(func() {
				_, err := s.h.Ping(t.Context(), to)
				check("ping", err)
			})
		}
		all.Wait()
	})
}

func TestProbeUDPEndsWithHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSegment(t, host.Config{}, nil)
		ended := make(chan error)
		go func() { ended <- s.h.ProbeUDP(t.Context(), netip.AddrPortFrom(peerIP, 53), nil) }()
		synctest.Wait()
		s.h.Close()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "use of closed") {
			t.Errorf("got %v", err)
		}
	})
}
