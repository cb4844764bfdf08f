package native

import (
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/router"
)

// A connection is one entry of a router's connection table.
type connection struct {
	Router     string  `json:"router"`
	RouterID   string  `json:"router_id"`
	Protocol   string  `json:"protocol" doc:"tcp, udp or icmp; else the number."`
	Number     uint8   `json:"protocol_number"`
	State      string  `json:"state" doc:"As conntrack calls it."`
	Timeout    float64 `json:"timeout" doc:"Seconds until it ends, if no packet comes."`
	Idle       float64 `json:"idle" doc:"Seconds since the last packet."`
	Replied    bool    `json:"replied" doc:"The other side has answered."`
	Mapped     bool    `json:"mapped" doc:"It has a port of a shared address."`
	Succeeds   bool    `json:"succeeds" doc:"It is to take the place of another one with the same original tuple."`
	Original   tuple   `json:"original"`
	Reply      tuple   `json:"reply"`
	ListenerID string  `json:"listener_id,omitempty" doc:"Of a connection of a VIP."`
	MemberID   string  `json:"member_id,omitempty"`
}

// A tuple is one direction of a connection, as its packets arrive at the router.
type tuple struct {
	Source      string `json:"src"`
	Destination string `json:"dst"`
	SourcePort  uint16 `json:"sport" doc:"Of ICMP the query identifier."`
	DestPort    uint16 `json:"dport" doc:"Of ICMP the query identifier."`
}

func connectionOf(v *router.ConnectionView) connection {
	o, r := &v.Original, &v.Reply
	c := connection{
		Router: v.Router, RouterID: string(v.RouterID), Protocol: protocolName(o.Proto), Number: o.Proto,
		State: v.State.String(), Timeout: v.Remaining.Seconds(), Idle: v.Idle.Seconds(),
		Replied: v.Replied, Mapped: v.Mapped, Succeeds: v.Succeeds,
		Original:   tuple{o.Src.Netip().String(), o.Dst.Netip().String(), o.SrcPort, o.DstPort},
		Reply:      tuple{r.Src.Netip().String(), r.Dst.Netip().String(), r.SrcPort, r.DstPort},
		ListenerID: string(v.Listener), MemberID: string(v.Member),
	}
	if o.Proto == protocols["icmp"] { // the router keeps the identifier as the port of the side that began
		c.Original.DestPort, c.Reply.SourcePort = c.Original.SourcePort, c.Reply.DestPort
	}
	return c
}

// protocols are the names of protocols with connections.
var protocols = map[string]uint8{"icmp": 1, "tcp": 6, "udp": 17}

func protocolName(number uint8) string {
	switch number {
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	}
	return strconv.Itoa(int(number))
}

// filterParams are the parameters that say which connections are meant.
var filterParams = []param{
	{"router", "string", "Name or id of the router."},
	{"protocol", "string", "tcp, udp, icmp or a number."},
	{"state", "string", "As conntrack calls it, such as ESTABLISHED."},
	{"src", "string", "Address or prefix: source of the side that began."},
	{"dst", "string", "Address or prefix: destination of the side that began."},
	{"reply_src", "string", "Address or prefix: source of replies."},
	{"reply_dst", "string", "Address or prefix: destination of replies."},
	{"address", "string", "Address or prefix that any of the four is in."},
	{"sport", "integer", "Source port of the side that began."},
	{"dport", "integer", "Destination port of the side that began."},
	{"reply_sport", "integer", "Source port of replies."},
	{"reply_dport", "integer", "Destination port of replies."},
	{"port", "integer", "Port that any of the four is."},
}

// filterOf reads the filter of a request.
func filterOf(q url.Values) (f router.ConnectionFilter, err error) {
	f.Router, f.State = q.Get("router"), q.Get("state")
	if f.State != "" && !isState(f.State) {
		return f, badRequest("No connection has the state %q. The states are %s.", f.State,
			strings.Join(router.ConnectionStates(), ", "))
	}
	if p := q.Get("protocol"); p != "" {
		number, known := protocols[strings.ToLower(p)]
		if !known {
			n, err := strconv.ParseUint(p, 10, 8)
			if err != nil || n == 0 {
				return f, badRequest("protocol=%s: it is tcp, udp, icmp or a number from 1 to 255.", p)
			}
			number = uint8(n)
		}
		f.Protocol = number
	}
	for name, to := range map[string]*netip.Prefix{"src": &f.Src, "dst": &f.Dst, "reply_src": &f.ReplySrc,
		"reply_dst": &f.ReplyDst, "address": &f.Address} {
		if *to, err = prefixOf(name, q.Get(name)); err != nil {
			return f, err
		}
	}
	for name, to := range map[string]*uint16{"sport": &f.SrcPort, "dport": &f.DstPort,
		"reply_sport": &f.ReplySrcPort, "reply_dport": &f.ReplyDstPort, "port": &f.Port} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return f, badRequest("%s=%s: a port is a number from 1 to 65535.", name, text)
		}
		*to = uint16(n)
	}
	return f, nil
}

func isState(text string) bool {
	for _, s := range router.ConnectionStates() {
		if strings.EqualFold(s, text) {
			return true
		}
	}
	return false
}

// prefixOf reads an address or a prefix; zero if the text is empty.
func prefixOf(name, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, badRequest("%s=%s: it is an address such as 10.0.0.1, or a prefix such as 10.0.0.0/24.", name, text)
	}
	return p.Masked(), nil
}

// listConnections streams the connections that are meant: a JSON document, or a line for each.
func (a *API) listConnections(w http.ResponseWriter, r *http.Request) error {
	f, err := filterOf(r.URL.Query())
	if err != nil {
		return err
	}
	limit, err := limitOf(r)
	if err != nil {
		return err
	}
	lines := strings.Contains(r.Header.Get("Accept"), ndjson)
	return a.stream(w, r, "connections", lines, func(put func(any) error) error {
		var failed error
		left := limit
		err := a.inspect.Connections(r.Context(), f, func(v *router.ConnectionView) bool {
			failed = put(connectionOf(v))
			left--
			return failed == nil && left != 0
		})
		if failed != nil {
			return failed
		}
		return err
	})
}

// ndjson is the type of JSON with one value a line.
const ndjson = "application/x-ndjson"

// limitOf is how many entries a client wants, 0 for all.
func limitOf(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		return 0, badRequest("limit=%s: it is a number from 1 on.", text)
	}
	return int(n), nil
}

// stream writes a list as it comes: as the one member of a JSON object, or as lines.
func (a *API) stream(w http.ResponseWriter, r *http.Request, name string, lines bool,
	list func(put func(any) error) error) error {
	if w.Header().Set("Content-Type", "application/json"); lines {
		w.Header().Set("Content-Type", ndjson)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	s := newStream(w)
	if !lines {
		_, _ = s.WriteString(`{"` + name + `":[`) // a bufio.Writer keeps its error
	}
	first := true
	err := list(func(v any) error {
		if !lines && !first {
			_ = s.WriteByte(',')
		}
		first = false
		return s.encode.Encode(v)
	})
	if !lines && err == nil {
		_, _ = s.WriteString("]}\n")
	}
	return s.end(err)
}

// An endedCount is the answer to DELETE of connections.
type endedCount struct {
	Ended int `json:"ended" doc:"How many connections were ended."`
}

// endConnections ends the connections that are meant.
func (a *API) endConnections(w http.ResponseWriter, r *http.Request) error {
	f, err := filterOf(r.URL.Query())
	if err != nil {
		return err
	}
	all, err := flag(r, "all")
	if err != nil {
		return err
	}
	if none := (router.ConnectionFilter{}); f == none && !all {
		return badRequest("Say which connections are to end, such as src=10.0.0.1, or all=true.")
	}
	n, err := a.inspect.EndConnections(r.Context(), f)
	a.opt.Note(r.Context(), "ended", n)
	if err != nil {
		return err
	}
	return a.answer(w, r, http.StatusOK, endedCount{n})
}
