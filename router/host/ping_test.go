package host_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/taprouter/taprouter/router/host"
)

func TestPing(t *testing.T) {
	a, b := pair(t, false)
	for _, tt := range []struct {
		name  string
		opt   host.PingOptions
		bytes int
	}{
		{"default", host.PingOptions{Seq: 1}, 64},
		{"empty", host.PingOptions{Bytes: -1, Seq: 2}, 8},
		{"full MTU", host.PingOptions{Bytes: 1472, Seq: 3, DontFragment: true}, 1480},
		{"fragmented", host.PingOptions{Bytes: 4000, Seq: 65535, ID: 7}, 4008},
		{"largest", host.PingOptions{Bytes: 65507}, 65515},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := a.PingWith(within(t), b.Address(), tt.opt)
			if err != nil {
				t.Fatal(err)
			}
			if r.From != b.Address() || r.Bytes != tt.bytes || r.Seq != tt.opt.Seq || r.TTL != 64 || r.RTT <= 0 {
				t.Errorf("reply %+v", r)
			}
			if tt.opt.ID != 0 && r.ID != tt.opt.ID {
				t.Errorf("identifier %d, want %d", r.ID, tt.opt.ID)
			}
		})
	}
	if _, err := a.Ping(within(t), a.Address()); err != nil {
		t.Errorf("pinging itself: %v", err)
	}
}

func TestPingsAtOnce(t *testing.T) {
	a, b := pair(t, false)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			r, err := a.PingWith(within(t), b.Address(), host.PingOptions{Bytes: 100 * i, Seq: 1})
			if err != nil || r.Bytes != max(100*i, 56)+8 && i != 0 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	all.Wait()
}

func TestPingRefuses(t *testing.T) {
	a, b := pair(t, false)
	for _, tt := range []struct {
		name string
		to   netip.Addr
		opt  host.PingOptions
		is   error
		text string
	}{
		{"no route", mustAddr("192.0.2.1"), host.PingOptions{}, syscall.ENETUNREACH,
			"host: a: ping 192.0.2.1: connect: network is unreachable"},
		{"IPv6", mustAddr("2001:db8::1"), host.PingOptions{}, nil, "is not an IPv4 address"},
		{"no address", netip.Addr{}, host.PingOptions{}, nil, "is not an IPv4 address"},
		{"TTL", b.Address(), host.PingOptions{TTL: 256}, nil, "TTL 256 is not in 1-255"},
		{"sequence", b.Address(), host.PingOptions{Seq: 65536}, nil, "sequence number 65536"},
		{"too large", b.Address(), host.PingOptions{Bytes: 65508}, syscall.EMSGSIZE, "at most 65507 fit"},
		{"too large for DF", b.Address(), host.PingOptions{Bytes: 1473, DontFragment: true}, syscall.EMSGSIZE,
			"a packet of 1501 bytes does not fit the MTU 1500"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := a.PingWith(within(t), tt.to, tt.opt)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Two echoes with one identifier could not be told apart by a NAT.
func TestPingIdentifierInUse(t *testing.T) {
	arrived := make(chan struct{}, 1)
	s := newSegment(t, host.Config{}, func(_ *segment, p gopacket.Packet) { arrived <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := s.h.PingWith(ctx, peerIP, host.PingOptions{ID: 77})
		first <- err
	}()
	<-arrived
	if _, err := s.h.PingWith(within(t), peerIP, host.PingOptions{ID: 77}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second: %v", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("first: %v", err)
	}
}

func TestPingICMPErrors(t *testing.T) {
	type key struct{ typ, code uint8 }
	var answer key
	from := mustAddr("10.10.10.2")
	s := newSegment(t, host.Config{}, func(s *segment, p gopacket.Packet) {
		// An error for another host's echo comes first, and has no effect.
		other := append([]byte{}, p.Data()...)
		other[14+20+5]++ // the identifier
		s.refuse(gopacket.NewPacket(other, layers.LayerTypeEthernet, gopacket.Default), peerIP, 3, 0, 0)
		s.refuse(p, from, answer.typ, answer.code, 1400)
	})
	for _, tt := range []struct {
		key
		want string
		mtu  int
	}{
		{key{3, 0}, "Destination Net Unreachable", 0},
		{key{3, 1}, "Destination Host Unreachable", 0},
		{key{3, 2}, "Destination Protocol Unreachable", 0},
		{key{3, 3}, "Destination Port Unreachable", 0},
		{key{3, 4}, "Frag needed and DF set (mtu = 1400)", 1400},
		{key{3, 9}, "Destination Net Prohibited", 0},
		{key{3, 10}, "Destination Host Prohibited", 0},
		{key{3, 13}, "Packet filtered", 0},
		{key{3, 16}, "ICMP type 3 code 16", 0},
		{key{4, 0}, "Source Quench", 0},
		{key{11, 0}, "Time to live exceeded", 0},
		{key{11, 1}, "Frag reassembly time exceeded", 0},
		{key{12, 0}, "Parameter problem", 0},
	} {
		answer = tt.key
		_, err := s.h.Ping(within(t), mustAddr("192.0.2.1"))
		var e *host.ICMPError
		if !errors.As(err, &e) || e.From != from || e.Type != tt.typ || e.Code != tt.code || e.MTU != tt.mtu {
			t.Errorf("type %d code %d: got %+v, %v", tt.typ, tt.code, e, err)
			continue
		}
		if want := "From 10.10.10.2: " + tt.want; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

// Answers that the network may give to an echo, and the results of Ping.
func TestPingReplies(t *testing.T) {
	to := mustAddr("192.0.2.1")
	reply := func(s *segment, p gopacket.Packet, change func(*layers.ICMPv4, []byte)) {
		echo := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		answer := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(0, 0), Id: echo.Id, Seq: echo.Seq}
		data := append([]byte{}, echo.Payload...)
		change(answer, data)
		s.sendIP(to, 57, layers.IPProtocolICMPv4, answer, gopacket.Payload(data))
	}
	var change func(*layers.ICMPv4, []byte)
	var sent *layers.IPv4
	s := newSegment(t, host.Config{}, func(s *segment, p gopacket.Packet) {
		sent = p.NetworkLayer().(*layers.IPv4)
		reply(s, p, change)
		reply(s, p, func(i *layers.ICMPv4, _ []byte) { i.Seq += 1000 }) // never ours
	})
	change = func(*layers.ICMPv4, []byte) {}
	r, err := s.h.PingWith(within(t), to, host.PingOptions{ID: 9, Seq: 3, TTL: 5, DontFragment: true})
	if err != nil || r.From != to || r.TTL != 57 || r.Seq != 3 || r.ID != 9 {
		t.Errorf("got %+v, %v", r, err)
	}
	if !strings.HasPrefix(r.String(), "64 bytes from 192.0.2.1: icmp_seq=3 ttl=57 time=") {
		t.Errorf("reads %q", r)
	}
	if sent.TTL != 5 || sent.Flags != layers.IPv4DontFragment {
		t.Errorf("sent with TTL %d, flags %s", sent.TTL, sent.Flags)
	}
	change = func(_ *layers.ICMPv4, data []byte) { data[17]++ }
	if _, err := s.h.Ping(within(t), to); err == nil || !strings.Contains(err.Error(), "does not hold the data") {
		t.Errorf("changed data: %v", err)
	}
	for name, fn := range map[string]func(*layers.ICMPv4, []byte){
		"identifier": func(i *layers.ICMPv4, _ []byte) { i.Id++ },
		"sequence":   func(i *layers.ICMPv4, _ []byte) { i.Seq++ },
		"code":       func(i *layers.ICMPv4, _ []byte) { i.TypeCode++ },
	} {
		change = fn
		ctx, cancel := context.WithTimeout(t.Context(), 50*1e6)
		if r, err := s.h.Ping(ctx, to); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another's %s was taken: %+v, %v", name, r, err)
		}
		cancel()
	}
}
