package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/taprouter/taprouter/router/host"
)

// A digCommand is what dig is to ask.
type digCommand struct {
	server netip.Addr // @SERVER; the zero value: the lease's
	name   string     // fully qualified
	typ    uint16
	short  bool // +short
	tcp    bool // +tcp
}

// digWait is how long dig waits for each of digTries answers.
const (
	digWait  = time.Second
	digTries = 3
)

// parseDig takes the arguments that are no options: @SERVER, +short, +tcp, a name and a type. c.text is the address of
// -x.
func (c *command) parseDig(args []string) error {
	d := &c.dig
	d.typ = dns.TypeA
	if c.text != "" {
		name, err := dns.ReverseAddr(c.text)
		if err != nil {
			return fmt.Errorf("option -x: %q is not an address", c.text)
		}
		c.text, d.name, d.typ = "", name, dns.TypePTR
	}
	for _, a := range args {
		typ, isType := dns.StringToType[strings.ToUpper(a)]
		_, isName := dns.IsDomainName(a)
		switch {
		case strings.HasPrefix(a, "@"):
			server, err := anAddress(a[1:])
			if err != nil {
				return err
			}
			d.server = server
		case a == "+short":
			d.short = true
		case a == "+tcp":
			d.tcp = true
		case strings.HasPrefix(a, "+"):
			return fmt.Errorf("unknown option %s: there are +short, +tcp", a)
		case isType && d.name != "":
			d.typ = typ
		case d.name == "" && isName:
			d.name = dns.Fqdn(a)
		default:
			return fmt.Errorf("%q is neither a name nor a type", a)
		}
	}
	if d.name == "" {
		return errors.New("takes a name, such as cirros-vm1.openstacklocal, or -x ADDRESS; also @SERVER, a type, " +
			"+short, +tcp")
	}
	return nil
}

// askDNS asks a name server. As dig it succeeds with any answer, also with NXDOMAIN.
func (c *command) askDNS(step context.Context, h *host.Host, out io.Writer) result {
	d := &c.dig
	server := d.server
	if l, ok := h.Interface().Lease(); !server.IsValid() && ok && len(l.DNS) > 0 {
		server = l.DNS[0]
	}
	if !server.IsValid() {
		fmt.Fprintln(out, ";; no servers could be reached: the instance has been told none by DHCP; write @SERVER")
		return done(false)
	}
	m := new(dns.Msg).SetQuestion(d.name, d.typ)
	in, err := d.exchange(step, h, m, server)
	if err != nil {
		if text := reason(err); !isTimeout(err) {
			fmt.Fprintf(out, ";; communications error to %v#53: %s\n", server, strings.ToLower(text))
		}
		fmt.Fprintln(out, ";; no servers could be reached")
		if isOver(step) {
			return result{cut: "no answer yet"}
		}
		return done(false)
	}
	if d.short {
		for _, rr := range in.Answer {
			fmt.Fprintln(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		return done(true)
	}
	fmt.Fprintf(out, ";; ->>HEADER<<- opcode: %s, status: %s, id: %d\n", dns.OpcodeToString[in.Opcode],
		dns.RcodeToString[in.Rcode], in.Id)
	for _, section := range []struct {
		name string
		all  []dns.RR
	}{{"ANSWER", in.Answer}, {"AUTHORITY", in.Ns}} {
		if len(section.all) > 0 {
			fmt.Fprintf(out, ";; %s SECTION:\n", section.name)
		}
		for _, rr := range section.all {
			fmt.Fprintln(out, strings.Join(strings.Fields(rr.String()), " "))
		}
	}
	fmt.Fprintf(out, ";; SERVER: %v#53(%v) (%s)\n", server, server, strings.ToUpper(d.network()))
	return done(true)
}

func (d *digCommand) network() string {
	if d.tcp {
		return "tcp"
	}
	return "udp"
}

// exchange asks until there is an answer.
func (d *digCommand) exchange(
	ctx context.Context, h *host.Host, m *dns.Msg, server netip.Addr,
) (in *dns.Msg, err error) {
	for range digTries {
		if in, err = d.once(ctx, h, m, server); err == nil || isOver(ctx) || !isTimeout(err) {
			return in, err
		}
	}
	return in, err
}

// isOver says whether the time of a context is over. A socket with its deadline may see that first.
func isOver(ctx context.Context) bool {
	d, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(d)
}

func (d *digCommand) once(ctx context.Context, h *host.Host, m *dns.Msg, server netip.Addr) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, digWait)
	defer cancel()
	conn, err := h.DialContext(ctx, d.network(), net.JoinHostPort(server.String(), "53"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := dns.Client{Net: d.network(), Timeout: digWait}
	in, _, err := client.ExchangeWithConnContext(ctx, m, &dns.Conn{Conn: conn})
	return in, err
}
