package router

import (
	"cmp"
	"slices"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
)

// subjects are the kinds of objects that endings are about.
var subjects = [...]config.Kind{
	ip.AboutRouter: config.KindRouter, ip.AboutPort: config.KindPort, ip.AboutFloatingIP: config.KindFloatingIP,
	ip.AboutListener: config.KindListener, ip.AboutMember: config.KindMember,
}

// Report counts the connections of the changed routers that the change concerns, as they are at this moment. The
// workers go on with their packets meanwhile.
func (p *Prepared) Report() Report {
	report := p.report()
	counts := map[config.Ref]*Count{}
	for _, c := range p.routers {
		if !c.IsNew {
			c.count(counts)
		}
	}
	for ref, n := range counts {
		if ref.ID == "" {
			continue // about the interface of the checks of members, which is no object
		}
		n.Ref = ref
		report.Counts = append(report.Counts, *n)
	}
	slices.SortFunc(report.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Ref.Kind, b.Ref.Kind), cmp.Compare(a.Ref.ID, b.Ref.ID))
	})
	return report
}

// count counts the connections of a router that a change concerns.
func (c *routerPlan) count(counts map[config.Ref]*Count) {
	r, w := c.Router, c.Router.Worker
	var changes []ip.Ending
	if w.Call(func() { changes = c.Endings() }) != nil || len(changes) == 0 {
		return
	}
	judges := make([]func(*conntrack.Conn) (bool, bool), len(changes))
	for i := range changes {
		judges[i] = changes[i].Judge()
	}
	for at, more := conntrack.Cursor(0), true; more; more = at != 0 {
		if w.Call(func() {
			at = r.Conns.Walk(at, walkStep, w.Now, func(k *conntrack.Conn) bool {
				for i, judge := range judges {
					concerned, goesOn := judge(k)
					if !concerned {
						continue
					}
					ref := config.Ref{Kind: subjects[changes[i].About], ID: config.ID(changes[i].ID)}
					n := counts[ref]
					if n == nil {
						n = &Count{}
						counts[ref] = n
					}
					n.add(k, goesOn, changes[i].Repins)
					return true
				}
				return true
			})
		}) != nil {
			return
		}
	}
}

// lasts reports whether a change that lets TCP connections go on lets this one.
func lasts(c *conntrack.Conn) bool {
	return c.Protocol() == packet.ProtoTCP && c.State() != conntrack.SynSent
}

func (n *Count) add(c *conntrack.Conn, goesOn, repins bool) {
	switch {
	case goesOn:
		n.Kept++
	case repins && !lasts(c):
		n.Repinned++
	default:
		n.Ended++
	}
}
