package lab

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/router"
)

// The router's own commands on load balancers, in the openstack client's words:
//
//	loadbalancer status
//	loadbalancer stats
//	loadbalancer member set [--weight N] [--enable | --disable] POOL MEMBER

const (
	balancer       = "loadbalancer"
	maxWeight      = 256 // Octavia's
	memberSetUsage = balancer + " member set [--weight N] [--enable | --disable] POOL MEMBER"
)

// parseBalancer understands a line that begins with loadbalancer.
func (c *command) parseBalancer(line string) error {
	words, err := split(line)
	if err != nil {
		return err
	}
	switch {
	case len(words) == 2 && (words[1] == "status" || words[1] == "stats"):
		c.verb = words[1]
		return nil
	case len(words) >= 3 && words[1] == "member" && words[2] == "set":
		c.verb = "member set"
		if err := c.parseMemberSet(words[3:]); err != nil {
			return fmt.Errorf("%s %s: %w", balancer, c.verb, err)
		}
		return nil
	}
	return fmt.Errorf("%q is not understood: there are %q, %q and %q", line, balancer+" status", balancer+" stats",
		memberSetUsage)
}

// parseMemberSet takes options before and after the names.
func (c *command) parseMemberSet(words []string) error {
	var names []string
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		option, value, joined := strings.Cut(w, "=") // --weight=2 is as good as --weight 2
		switch {
		case w == "--enable" || w == "--disable":
			if c.admin != "" && c.admin != w {
				return errors.New("it is --enable or --disable, not both")
			}
			c.admin = w
		case option == "--weight":
			if !joined {
				if len(words) == 0 {
					return errors.New("option --weight needs a value")
				}
				value, words = words[0], words[1:]
			}
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 || n > maxWeight {
				return fmt.Errorf("option --weight: %q is not a number from 0 to %d", value, maxWeight)
			}
			c.weight, c.weighs = n, true
		case strings.HasPrefix(w, "-"):
			return fmt.Errorf("unknown option %s", w)
		default:
			names = append(names, w)
		}
	}
	if len(names) != 2 {
		return errors.New("takes a pool and a member; names with blanks are quoted")
	}
	if !c.weighs && c.admin == "" {
		return errors.New("there is nothing to set: add --weight N, --enable or --disable")
	}
	c.pool, c.member = names[0], names[1]
	return nil
}

// split takes a line apart as a shell does: a text in quotes is one word.
func split(line string) ([]string, error) {
	var words []string
	word, inWord, quote := "", false, rune(0)
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inWord = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if inWord {
				words = append(words, word)
			}
			word, inWord = "", false
		default:
			word += string(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%s is not closed in %s", string(quote), line)
	}
	if inWord {
		words = append(words, word)
	}
	return words, nil
}

// checkMember says whether the topology has the pool and the member.
func (c *command) checkMember(topo *file.Topology) error {
	var pools, members []string
	for i := range topo.Pools {
		p := &topo.Pools[i]
		pools = append(pools, strconv.Quote(p.Name))
		if p.Name != c.pool {
			continue
		}
		if slices.ContainsFunc(p.Members, func(m file.Member) bool { return m.Name == c.member }) {
			return nil
		}
		for k := range p.Members {
			members = append(members, strconv.Quote(p.Members[k].Name))
		}
		return fmt.Errorf("%s: pool %q has no member %q: there are %s", balancer, c.pool, c.member, listed(members))
	}
	return fmt.Errorf("%s: no such pool %q: there are %s", balancer, c.pool, listed(pools))
}

// repeats reports whether the command shows what changes by itself. A step with an
// expect then waits for it.
func (c *command) repeats() bool { return c.name == balancer && c.verb != "member set" }

// balance carries a loadbalancer command out.
func (l *lab) balance(c *command, out io.Writer) bool {
	switch c.verb {
	case "status":
		printStatus(l.engine.LoadBalancers(), out)
	case "stats":
		printStatistics(l.engine.LoadBalancers(), out)
	default:
		return l.setMember(c, out)
	}
	return true
}

// setMember changes a member. As the openstack client, it says nothing when it is done.
func (l *lab) setMember(c *command, out io.Writer) bool {
	var errs []error
	if c.weighs {
		errs = append(errs, l.control.SetMemberWeight(c.pool, c.member, c.weight))
	}
	if c.admin != "" {
		errs = append(errs, l.control.SetMember(c.pool, c.member, c.admin == "--enable"))
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(out, err)
		return false
	}
	return true
}

// printStatus prints the tree of load balancers, listeners, pools and members. Name and
// status come first in each line, so that steps can expect them.
func printStatus(all []router.LoadBalancer, out io.Writer) {
	for i := range all {
		b := &all[i]
		fmt.Fprintf(out, "load balancer %v: %s (at %s)\n", b.Address, b.OperatingStatus, b.Router)
		for k := range b.Listeners {
			n := &b.Listeners[k]
			fmt.Fprintf(out, "  listener %s: %s (%s port %d)\n", n.Name, n.OperatingStatus, n.Protocol, n.Port)
			p := &n.Pool
			up, members := up(p.Members)
			fmt.Fprintf(out, "    pool %s: %s (%s, %d of %d members up)\n", p.Name, p.OperatingStatus, p.Algorithm, up,
				members)
			for j := range p.Members {
				fmt.Fprintf(out, "      %s\n", memberLine(&p.Members[j]))
			}
		}
	}
}

// up counts the members that are not down, be it by hand or by their checks, and all that have not
// been removed.
func up(members []router.MemberStatus) (n, all int) {
	for i := range members {
		if members[i].Removed {
			continue
		}
		all++
		if s := members[i].OperatingStatus; s != router.Error && s != router.Offline {
			n++
		}
	}
	return n, all
}

// memberLine is a member's line in the tree.
func memberLine(m *router.MemberStatus) string {
	role := ""
	if m.Backup {
		role = ", backup"
	}
	line := fmt.Sprintf("member %s: %s (%v, weight %d%s)", m.Name, m.OperatingStatus, m.Address, m.Weight, role)
	switch {
	case m.Removed:
		return line + fmt.Sprintf(" removed, %d connections left", m.Statistics.Active)
	case m.OperatingStatus == router.Offline && !m.AdminStateUp:
		return line + " disabled"
	case m.OperatingStatus == router.Offline:
		return line + " its checks have not decided yet"
	case m.OperatingStatus == router.Error && m.Check != nil:
		return line + fmt.Sprintf(" %s, got %s: %s", m.Check.Sent, m.Check.Received, m.Check.Why)
	}
	return line
}

// printStatistics prints what listeners and members have had to do.
func printStatistics(all []router.LoadBalancer, out io.Writer) {
	for i := range all {
		fmt.Fprintf(out, "load balancer %v\n", all[i].Address)
		for k := range all[i].Listeners {
			n := &all[i].Listeners[k]
			fmt.Fprintf(out, "  listener %s: %s, refused %d\n", n.Name, counts(n.Statistics), n.Refused)
			for j := range n.Pool.Members {
				m := &n.Pool.Members[j]
				name := m.Name
				if m.Removed {
					name += ", removed"
				}
				fmt.Fprintf(out, "    member %s: %s\n", name, counts(m.Statistics))
			}
		}
	}
}

func counts(s router.Statistics) string {
	return fmt.Sprintf("active %d, total %d, bytes in %d, out %d", s.Active, s.Total, s.BytesIn, s.BytesOut)
}
