package client

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// conntrackCommand has the filters of conntrack(8).
type conntrackCommand struct {
	Protonum     string `name:"protonum" aliases:"proto" short:"p" placeholder:"PROTO" help:"Protocol: tcp, udp, icmp or a number."`
	Src          string `name:"src" aliases:"orig-src" short:"s" placeholder:"IP" help:"Source of the side that began: an address or a prefix."`
	Dst          string `name:"dst" aliases:"orig-dst" short:"d" placeholder:"IP" help:"Destination of the side that began."`
	ReplySrc     string `short:"r" placeholder:"IP" help:"Source of replies."`
	ReplyDst     string `short:"q" placeholder:"IP" help:"Destination of replies."`
	Sport        int    `name:"sport" aliases:"orig-port-src" placeholder:"PORT" help:"Source port of the side that began."`
	Dport        int    `name:"dport" aliases:"orig-port-dst" placeholder:"PORT" help:"Destination port of the side that began."`
	ReplyPortSrc int    `placeholder:"PORT" help:"Source port of replies."`
	ReplyPortDst int    `placeholder:"PORT" help:"Destination port of replies."`
	State        string `placeholder:"STATE" help:"State, such as ESTABLISHED."`
	SrcNAT       bool   `name:"src-nat" short:"n" help:"Only those whose source is translated."`
	DstNAT       bool   `name:"dst-nat" short:"g" help:"Only those whose destination is translated."`
	AnyNAT       bool   `name:"any-nat" short:"j" help:"Only those that are translated in one way or the other."`
	Limit        int    `placeholder:"N" help:"The most that are listed."`
	routerOption
	outputOption
}

func (c *conntrackCommand) filter() url.Values {
	q := url.Values{}
	for k, v := range map[string]string{"protocol": strings.ToLower(c.Protonum), "src": c.Src, "dst": c.Dst,
		"reply_src": c.ReplySrc, "reply_dst": c.ReplyDst, "state": strings.ToUpper(c.State), "router": c.Router} {
		if v != "" {
			q.Set(k, v)
		}
	}
	for k, v := range map[string]int{"sport": c.Sport, "dport": c.Dport, "reply_sport": c.ReplyPortSrc,
		"reply_dport": c.ReplyPortDst} {
		if v != 0 {
			q.Set(k, strconv.Itoa(v))
		}
	}
	if c.Limit > 0 && !c.SrcNAT && !c.DstNAT && !c.AnyNAT {
		q.Set("limit", strconv.Itoa(c.Limit))
	}
	return q
}

// Run prints connections as they come.
func (c *conntrackCommand) Run(s *Session) error {
	path := "/connections"
	if q := c.filter(); len(q) > 0 {
		path += "?" + q.Encode()
	}
	resp, err := s.request(http.MethodGet, path, "", nil, map[string]string{"Accept": "application/x-ndjson"})
	if err != nil {
		return s.failed(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	out := bufio.NewWriter(s.out)
	n := 0
	for lines.Scan() {
		v, err := decode(lines.Bytes())
		o, ok := v.(*object)
		if err != nil || !ok {
			return s.failed(fmt.Errorf("a connection is not what a router says: %.60q", lines.Text()))
		}
		if !c.wanted(o) {
			continue
		}
		text := conntrackLine(o)
		if c.Output == "json" {
			text = jsonText(o, 0)
		}
		if _, err := fmt.Fprintln(out, safe(text)); err != nil {
			return err
		}
		if n++; n == c.Limit {
			break
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := lines.Err(); err != nil {
		return s.failed(err)
	}
	if c.Output != "json" {
		s.say("%d flow entries have been shown.", n)
	}
	return nil
}

// wanted applies the filters that the router does not have.
func (c *conntrackCommand) wanted(o *object) bool {
	original, _ := o.get("original").(*object)
	reply, _ := o.get("reply").(*object)
	src := original.text("src") != reply.text("dst") || number(original.get("sport")) != number(reply.get("dport"))
	dst := original.text("dst") != reply.text("src") || number(original.get("dport")) != number(reply.get("sport"))
	if o.text("protocol") == "icmp" {
		dst = original.text("dst") != reply.text("src") // both ports are the query identifier
	}
	return (!c.SrcNAT || src) && (!c.DstNAT || dst) && (!c.AnyNAT || src || dst)
}

// The ICMP types of an echo.
const (
	echoRequest = 8
	echoReply   = 0
)

// conntrackLine is a connection as conntrack -L prints it. There are no marks, so the mark is 0.
func conntrackLine(o *object) string {
	protocol := o.text("protocol")
	seconds, _ := number(o.get("timeout")).Float64() // 0 is shown for what is no number
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s %d ", protocol, number(o.get("protocol_number")), int64(seconds))
	if protocol == "tcp" {
		fmt.Fprintf(&b, "%s ", o.text("state"))
	}
	side := func(key string, icmpType int) {
		t, _ := o.get(key).(*object)
		fmt.Fprintf(&b, "src=%s dst=%s ", t.text("src"), t.text("dst"))
		if protocol == "icmp" {
			fmt.Fprintf(&b, "type=%d code=0 id=%s ", icmpType, number(t.get("sport")))
			return
		}
		fmt.Fprintf(&b, "sport=%s dport=%s ", number(t.get("sport")), number(t.get("dport")))
	}
	side("original", echoRequest)
	if o.get("replied") == false {
		b.WriteString("[UNREPLIED] ")
	}
	side("reply", echoReply)
	if assured(o) {
		b.WriteString("[ASSURED] ")
	}
	b.WriteString("mark=0 use=1")
	return b.String()
}

// assured reports whether Linux would not give a connection up early for others: TCP from its third packet on, and
// other protocols with ports that were answered. An echo never is.
func assured(o *object) bool {
	switch o.text("protocol") {
	case "icmp":
		return false
	case "tcp":
		if state := o.text("state"); strings.HasPrefix(state, "SYN_") {
			return false
		}
	}
	return o.get("replied") == true
}
