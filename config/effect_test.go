package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
)

// TestEffects has what the policies of a pool say, and what goes as a whole.
func TestEffects(t *testing.T) {
	for name, c := range map[string]struct {
		prepare, edit func(d *config.Draft)
		want          []string
	}{
		"reset": {
			func(d *config.Draft) {
				change(d, "web", func(p *config.Pool) { p.OnMemberDown, p.OnMemberRemoved = "reset", "reset" })
			},
			func(d *config.Draft) {
				change(d, "WEB1", func(m *config.Member) { m.AdminStateUp = false })
				drop(d, config.KindMember, "WEB2")
			},
			[]string{
				`ended: TCP connections of member "WEB1" of pool "web" end, with a RST to both sides`,
				"re-pinned: TCP connections without an answer yet try another member with their next SYN",
				`ended: TCP connections of member 172.16.100.10:80 of pool "web" end, with a RST to both sides`,
				"re-pinned: TCP connections without an answer yet try another member with their next SYN"},
		},
		"UDP": {
			func(d *config.Draft) {
				change(d, "web", func(p *config.Pool) { p.Protocol = config.UDP })
				change(d, "web-vip", func(l *config.Listener) { l.Protocol = config.UDP })
			},
			func(d *config.Draft) {
				drop(d, config.KindMember, "WEB2")
				change(d, "web-vip", func(l *config.Listener) { l.Port = 81 })
			},
			[]string{`ended: UDP connections through VIP "web-vip" end`,
				`re-pinned: UDP connections of member 172.16.100.10:80 of pool "web" ` +
					"go to another member with their next packet"},
		},
		"a port out of use": {
			func(*config.Draft) {},
			func(d *config.Draft) {
				change(d, "vm3", func(p *config.Port) { p.AdminStateUp = false })
				change(d, "i101", func(p *config.Port) { p.AdminStateUp = false }) // of a router
			},
			[]string{`kept: connections stay in the tables; frames of port "vm3" are dropped`},
		},
		"SNAT addresses": {
			func(*config.Draft) {},
			func(d *config.Draft) {
				change(d, "r1", func(r *config.Router) {
					r.Gateway = &config.Gateway{Network: r.Gateway.Network,
						SNAT: true}
				})
			},
			[]string{"ended: connections end that show 10.10.10.30 or another address that is gone, " +
				"TCP with a RST to both sides"},
		},
		"no SNAT": {
			func(d *config.Draft) {
				change(d, "r1", func(r *config.Router) {
					r.Gateway = &config.Gateway{Network: r.Gateway.Network,
						SNAT: true}
				})
			},
			func(d *config.Draft) {
				change(d, "r1", func(r *config.Router) { r.Gateway = &config.Gateway{Network: r.Gateway.Network} })
			},
			[]string{"kept: connections with the outside go on with the addresses that they show; new ones obey"},
		},
		"a router": {
			func(d *config.Draft) {
				drop(d, config.KindFloatingIP, "3")
				drop(d, config.KindFloatingIP, "5")
				drop(d, config.KindLoadBalancer, "11")
			},
			func(d *config.Draft) {
				for _, p := range []string{"i100", "i101", "gw"} {
					drop(d, config.KindPort, p)
				}
				drop(d, config.KindRouter, "r1")
			},
			[]string{`ended: all connections of router "r1" end`},
		},
		"what is new concerns no connection": {
			func(d *config.Draft) { d.Delete(refs(d)...) },
			func(d *config.Draft) {
				d.Put(cloud()...)
				drop(d, config.KindFloatingIP, "3")
			},
			nil,
		},
	} {
		d := cloudState(t).Edit()
		c.prepare(d)
		from := mustCheck(t, d)
		c.edit(d)
		to := mustCheck(t, d)
		var got []string
		for _, change := range config.Diff(from, to) {
			for _, e := range config.Effects(from, to, change) {
				got = append(got, fmt.Sprintf("%v: %s", e.Fate, e.Text))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got:\n%s\nwant:\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// refs lists all objects of a draft.
func refs(d *config.Draft) []config.Ref {
	var list []config.Ref
	for o := range d.All() {
		list = append(list, o.Ref())
	}
	return list
}
