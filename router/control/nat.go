package control

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// A NATRule is one rule of a router's NAT, as people think of them. A floating IP is two rules, one for each direction.
type NATRule struct {
	Router    string          // its name, or its ID if it has none
	Translate string          // DNAT: what comes in; SNAT: what goes out; NoSNAT: what goes out as it is
	Protocol  config.Protocol // of a forwarded port; empty: all

	// What the packet has: for DNAT the destination, for SNAT the source, and for none the destination. Zero: any other
	// packet from inside.
	Match netip.Prefix
	Port  uint16 // 0: all

	To     []config.AddressRange // what it has afterwards; each host has always the same one of several
	ToPort uint16                // of a forwarded port

	From config.Ref // the object that the rule follows from
}

// The words of a NATRule.
const (
	DNAT   = "DNAT"
	SNAT   = "SNAT"
	NoSNAT = "none"
)

// String writes the rule as a line, such as:
//
//	router_100_101 inbound DNAT to 10.10.10.3 -> 172.16.101.3
//	router_100_101 outbound SNAT from 172.16.101.3 -> 10.10.10.3
//	router_100_101 outbound SNAT from any other -> 10.10.10.2
func (r NATRule) String() string {
	way, word := "outbound", "from"
	if r.Translate == DNAT {
		way = "inbound"
	}
	if r.Translate != SNAT {
		word = "to"
	}
	match := "any other"
	if r.Match.IsValid() {
		match = r.Match.String()
		if r.Match.IsSingleIP() {
			match = r.Match.Addr().String()
		}
	}
	text := fmt.Sprintf("%s %s %s %s %s%s", r.Router, way, r.Translate, word, match, portText(r.Protocol, r.Port))
	for i, x := range r.To {
		sign := ","
		if i == 0 {
			sign = " ->"
		}
		to := x.String()
		if x.First == x.Last {
			to = x.First.String()
		}
		text += sign + " " + to + portText("", r.ToPort)
	}
	return text
}

func portText(p config.Protocol, port uint16) string {
	if port == 0 {
		return ""
	}
	text := fmt.Sprintf(" port %d", port)
	if p != "" {
		text = fmt.Sprintf(" %s%s", p, text)
	}
	return text
}

// NATRules lists the rules of a router's NAT: those of floating IPs and forwarded ports, in the order in which they
// were created, and then what holds for all other packets. VIPs are none of them. A router without a gateway has no
// rules, nor has one that is down.
func NATRules(s *config.State, r *config.Router) []NATRule {
	if r.Gateway == nil || !r.AdminStateUp {
		return nil
	}
	all := []NATRule{}
	add := func(n NATRule, from config.Ref) {
		n.Router, n.From = nameOf(r), from
		all = append(all, n)
	}
	for f := range s.FloatingIPsOf(r.ID) {
		if f.FixedIP.IsValid() {
			add(NATRule{Translate: DNAT, Match: host(f.Address), To: one(f.FixedIP)}, f.Ref())
			add(NATRule{Translate: SNAT, Match: host(f.FixedIP), To: one(f.Address)}, f.Ref())
		}
		for p := range s.ForwardingsOf(f.ID) {
			add(NATRule{Translate: DNAT, Protocol: p.Protocol, Match: host(f.Address), Port: p.ExternalPort,
				To: one(p.FixedIP), ToPort: p.Port}, p.Ref())
		}
	}
	if !r.Gateway.SNAT {
		return append(all, NATRule{Router: nameOf(r), Translate: NoSNAT, From: r.Ref()})
	}
	for _, p := range s.NATOf(r.ID).NoSNAT {
		add(NATRule{Translate: NoSNAT, Match: p}, r.Ref())
	}
	if to := sharedAddresses(s, r); len(to) > 0 {
		add(NATRule{Translate: SNAT, To: to}, r.Ref())
	}
	return all
}

// sharedAddresses are the addresses that the hosts behind a router share.
func sharedAddresses(s *config.State, r *config.Router) []config.AddressRange {
	if list := r.Gateway.SNATAddresses; len(list) > 0 {
		return slices.Clone(list)
	}
	if p := s.GatewayPort(r.ID); p != nil {
		for _, f := range p.FixedIPs {
			if f.Address.Is4() {
				return one(f.Address)
			}
		}
	}
	return nil
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func one(a netip.Addr) []config.AddressRange { return []config.AddressRange{{First: a, Last: a}} }
