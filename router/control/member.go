package control

import (
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"unicode"

	"github.com/taprouter/taprouter/config"
)

// SetMember says by hand whether a pool's member is up. Both are called by their names or IDs. One that comes up has
// its turns from now on. One that is down gets no new connections; its UDP connections, and the TCP ones that it has
// not answered, go to another member with their next packet, and the pool's on_member_down says whether the other TCP
// connections go on (keep) or end with a RST to both sides (reset). An error wraps fs.ErrNotExist if there is no such
// pool or member, and os.ErrClosed after the engine's end.
func (c *Control) SetMember(pool, member string, up bool) error {
	return c.changeMember("set member %q of pool %q", pool, member, func(m *config.Member) { m.AdminStateUp = up })
}

// SetMemberWeight changes a member's part of the connections, from 0 to 256. With 0 the member drains: it gets no new
// connections, and its own go on until they end; the engine's LoadBalancers tells how many there are. Errors are
// as for SetMember; another weight gives one that wraps fs.ErrInvalid.
func (c *Control) SetMemberWeight(pool, member string, weight int) error {
	return c.changeMember("set the weight of member %q of pool %q", pool, member,
		func(m *config.Member) { m.Weight = weight })
}

// AddMember adds a member to a pool, as the last in the order. Its address must be one that the router can route to,
// and none of the router's own. Its name is ADDRESS:PORT if it has none, its ID a new one, and its Pool need not be
// set. It takes connections if it has a Weight and AdminStateUp, and if the pool's monitor finds it to be up.
//
// An error wraps fs.ErrNotExist if there is no such pool, fs.ErrExist if it has a member of that name or endpoint,
// fs.ErrInvalid if the member can be none, and os.ErrClosed after the engine's end.
func (c *Control) AddMember(pool string, m config.Member) error {
	if m.Name == "" {
		m.Name = netip.AddrPortFrom(m.Address, m.Port).String()
	}
	if m.ID == "" {
		m.ID = c.opt.NewID()
	}
	return c.verb("add member %q to pool %q", []any{m.Name, pool}, func(d *config.Draft) error {
		p, err := named[*config.Pool](d, config.KindPool, pool)
		if err != nil {
			return err
		}
		if strings.TrimSpace(m.Name) != m.Name || strings.ContainsFunc(m.Name,
			func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("its name begins or ends with a blank or holds characters that cannot be printed: %w",
				fs.ErrInvalid)
		}
		if _, ok := d.Get(m.Ref()); ok {
			return fmt.Errorf("a member with the id %s is there already: %w", m.ID, fs.ErrExist)
		}
		for other := range d.MembersOf(p.ID) {
			if other.Name == m.Name {
				return fmt.Errorf("a member of that name is there already: %w", fs.ErrExist)
			}
		}
		m.Pool, m.Position = p.ID, 0
		d.Put(&m)
		return nil
	})
}

// RemoveMember takes a member out of a pool. It gets no new connections; its UDP connections, and the TCP ones that
// it has not answered, go to another member with their next packet, and the pool's on_member_removed says whether the
// other TCP connections go on until they end (drain) or end with a RST to both sides (reset). The engine's
// LoadBalancers lists the member until then. It returns the same errors as SetMember.
func (c *Control) RemoveMember(pool, member string) error {
	return c.verb("remove member %q of pool %q", []any{member, pool}, func(d *config.Draft) error {
		m, err := memberOf(d, pool, member)
		if err == nil {
			d.Delete(m.Ref())
		}
		return err
	})
}

func (c *Control) changeMember(what, pool, member string, change func(*config.Member)) error {
	return c.verb(what, []any{member, pool}, func(d *config.Draft) error {
		m, err := memberOf(d, pool, member)
		if err != nil {
			return err
		}
		changed := *m
		change(&changed)
		d.Put(&changed)
		return nil
	})
}

// memberOf finds the one member of a pool with a name, an ID or, if it has no name, an endpoint.
func memberOf(d *config.Draft, pool, name string) (*config.Member, error) {
	p, err := named[*config.Pool](d, config.KindPool, pool)
	if err != nil {
		return nil, err
	}
	var found *config.Member
	for m := range d.MembersOf(p.ID) {
		switch {
		case string(m.ID) == name:
			return m, nil
		case m.Name != name && (m.Name != "" || netip.AddrPortFrom(m.Address, m.Port).String() != name):
		case found != nil:
			return nil, fmt.Errorf("several members are called that, say which by its id: %w", fs.ErrNotExist)
		default:
			found = m
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no such member: %w", fs.ErrNotExist)
	}
	return found, nil
}
