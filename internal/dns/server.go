package dns

import (
	"context"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	// plainSize is how long a message over UDP may be for an asker without EDNS, in bytes (RFC 1035, 2.3.4).
	plainSize = 512
	// largest is how long a message over UDP may be at most, in bytes: it passes every network without being
	// fragmented (DNS flag day 2020).
	largest = 1232
	// localTTL is how long an asker may remember the name of a port, in seconds. It is short, as a port may come, go
	// or get another name at any time.
	localTTL = 60
)

// A Query is a message from an asker.
type Query struct {
	Message []byte
	TCP     bool       // the message came over TCP, so its answer may have any length
	From    netip.Addr // the asker's address
}

// A Server answers queries. Several goroutines may use it.
type Server struct {
	// Forward asks other servers for names that no View has. nil: such a query is refused, so that the
	// asker tries its next server.
	Forward *Forwarder
}

// Serve returns the answer to a query, as the View of the asker has it. nil: there is none, because the message is an
// answer itself, or has no header. A query for another server waits for that server, as long as ctx lasts.
func (s *Server) Serve(ctx context.Context, q Query, v View) []byte {
	in := new(dns.Msg)
	err := in.Unpack(q.Message)
	if len(q.Message) < headerLen || in.Response {
		return nil // an answer to an answer might be answered, too
	}
	out := new(dns.Msg)
	out.SetReply(in)
	out.RecursionAvailable = s.Forward != nil
	opt := in.IsEdns0()
	switch {
	case err != nil, len(in.Question) != 1 && in.Opcode == dns.OpcodeQuery:
		out.Rcode = dns.RcodeFormatError
		out.Question = nil
	case in.Opcode != dns.OpcodeQuery:
		out.Rcode = dns.RcodeNotImplemented
	case opt != nil && opt.Version() != 0:
		out.Rcode = dns.RcodeBadVers
	default:
		out = s.answer(ctx, q, in, out, v)
	}
	return pack(q, opt, out)
}

// headerLen is the length of a message without questions and records, in bytes.
const headerLen = 12

// pack writes an answer in a length that the asker takes. If that is not possible, the answer says so (TC), and the
// asker comes again over TCP.
func pack(q Query, opt *dns.OPT, out *dns.Msg) []byte {
	size := plainSize
	if opt != nil {
		if out.IsEdns0() == nil {
			out.SetEdns0(largest, opt.Do())
		}
		size = max(size, min(int(opt.UDPSize()), largest))
	}
	if q.TCP {
		size = dns.MaxMsgSize
	}
	out.Compress = true
	out.Truncate(size)
	b, err := out.Pack()
	if err != nil {
		failed := new(dns.Msg)
		failed.MsgHdr, failed.Question = out.MsgHdr, out.Question
		failed.Rcode, failed.Truncated = dns.RcodeServerFailure, false
		if b, err = failed.Pack(); err != nil {
			return nil
		}
	}
	return b
}

// answer finds who knows the answer to the one question of a message: the View, or another server.
func (s *Server) answer(ctx context.Context, q Query, in, out *dns.Msg, v View) *dns.Msg {
	ask := in.Question[0]
	name := strings.TrimSuffix(strings.ToLower(ask.Name), ".")
	switch {
	case ask.Qtype == dns.TypeAXFR, ask.Qtype == dns.TypeIXFR,
		ask.Qclass != dns.ClassINET && ask.Qclass != dns.ClassANY:
		out.Rcode = dns.RcodeRefused
		return out
	case s.local(out, ask, name, v):
		return out
	case s.Forward == nil, !in.RecursionDesired:
		out.Rcode = dns.RcodeRefused
		return out
	}
	if got := s.Forward.Ask(ctx, q.From, in); got != nil {
		return got
	}
	out.Rcode = dns.RcodeServerFailure
	return out
}

// local answers what no other server is asked, and reports whether the question is of that kind.
func (s *Server) local(out *dns.Msg, ask dns.Question, name string, v View) bool {
	if zone, addr, ok := reversed(name); ok {
		if !v.Inside(addr) && !addr.IsLoopback() {
			return false
		}
		s.reverse(out, ask, zone, addr, v)
		return true
	}
	if underLocalhost(name) {
		s.records(out, ask, name, []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()})
		return true
	}
	zone := v.Domain(name)
	if zone == "" && !isHost(ask, name) && !under(name, "invalid") && !under(name, "onion") {
		return false
	}
	addrs := v.Addresses(name)
	switch {
	case len(addrs) > 0:
		s.records(out, ask, name, addrs)
	case name == zone: // the domain itself exists, and has no address
		out.Authoritative = true
		out.Ns = []dns.RR{authority(zone)}
	case zone == "":
		out.Rcode = dns.RcodeNameError // RFC 6761, 6.4; RFC 7686, 2; a host of one label that nobody here has
		out.Ns = []dns.RR{authority("")}
	default:
		out.Authoritative, out.Rcode = true, dns.RcodeNameError
		out.Ns = []dns.RR{authority(zone)}
	}
	return true
}

// records answers with the addresses of a name that are of the type that was asked for.
func (s *Server) records(out *dns.Msg, ask dns.Question, name string, addrs []netip.Addr) {
	out.Authoritative = true
	head := func(typ uint16) dns.RR_Header {
		return dns.RR_Header{Name: ask.Name, Rrtype: typ, Class: dns.ClassINET, Ttl: localTTL}
	}
	for _, a := range addrs {
		switch {
		case a.Is4() && ask.Qtype == dns.TypeA:
			out.Answer = append(out.Answer, &dns.A{Hdr: head(dns.TypeA), A: a.AsSlice()})
		case a.Is6() && ask.Qtype == dns.TypeAAAA:
			out.Answer = append(out.Answer, &dns.AAAA{Hdr: head(dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	switch {
	case ask.Qtype == dns.TypeANY:
		out.Answer = []dns.RR{&dns.HINFO{Hdr: head(dns.TypeHINFO), Cpu: "RFC8482"}} // RFC 8482, 4.2
	case len(out.Answer) == 0:
		_, zone, _ := strings.Cut(name, ".")
		out.Ns = []dns.RR{authority(zone)}
	}
}

// reverse answers for the name of an address.
func (s *Server) reverse(out *dns.Msg, ask dns.Question, zone string, addr netip.Addr, v View) {
	out.Authoritative = true
	name := ""
	if addr.IsLoopback() {
		name = "localhost"
	} else {
		name = v.Name(addr)
	}
	switch {
	case name == "":
		out.Rcode = dns.RcodeNameError
		out.Ns = []dns.RR{authority(zone)}
	case ask.Qtype == dns.TypePTR:
		out.Answer = []dns.RR{&dns.PTR{
			Hdr: dns.RR_Header{Name: ask.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: localTTL},
			Ptr: dns.Fqdn(name),
		}}
	default:
		out.Ns = []dns.RR{authority(zone)}
	}
}

// authority is the SOA record of a zone here. An asker remembers for its last number of seconds that a name does not
// exist (RFC 2308, 5).
func authority(zone string) dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: dns.Fqdn(zone), Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  "taprouter.invalid.", Mbox: "nobody.invalid.",
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negativeTTL,
	}
}

// negativeTTL is how long an asker may remember that there is no such name, in seconds: a few, because an instance that
// is looked for may be about to come.
const negativeTTL = 5

// under reports whether a name is a domain or in it.
func under(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }

// isHost reports whether a question is for the address of a name of one label. That is a host nearby, and other servers
// are not asked for it. Questions of other kinds about such a name are about a top-level domain.
func isHost(ask dns.Question, name string) bool {
	return name != "" && !strings.Contains(name, ".") && (ask.Qtype == dns.TypeA || ask.Qtype == dns.TypeAAAA)
}

func underLocalhost(name string) bool { return under(name, "localhost") } // RFC 6761, 6.3

// reversed reads the name of an address's reverse record, such as 3.101.16.172.in-addr.arpa. zone is the domain that
// answers for it: of an IPv4 address that of its three first bytes, of an IPv6 address that of its first 64 bits.
func reversed(name string) (zone string, addr netip.Addr, ok bool) {
	if rest, found := strings.CutSuffix(name, ".in-addr.arpa"); found {
		labels := strings.Split(rest, ".")
		if len(labels) != 4 {
			return "", netip.Addr{}, false
		}
		addr, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
		return strings.Join(labels[1:], ".") + ".in-addr.arpa", addr, err == nil
	}
	rest, found := strings.CutSuffix(name, ".ip6.arpa")
	labels := strings.Split(rest, ".")
	if !found || len(labels) != 32 {
		return "", netip.Addr{}, false
	}
	var b [16]byte
	for k, l := range labels {
		digit := strings.Index("0123456789abcdef", l)
		if len(l) != 1 || digit < 0 {
			return "", netip.Addr{}, false
		}
		b[15-k/2] |= byte(digit) << (4 * (k % 2))
	}
	return strings.Join(labels[16:], ".") + ".ip6.arpa", netip.AddrFrom16(b), true
}
