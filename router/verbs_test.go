package router

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// The tests of this package change what an engine serves by these verbs. They are those of router/control, which
// imports this package, so its tests cannot use them. Only what an edit means to the engine is tested here.

func (e *Engine) edit(edit func(d *config.Draft) error) error {
	d := e.State().Edit()
	if err := edit(d); err != nil {
		return err
	}
	to, faults := d.Check()
	if err := faults.Err(); err != nil {
		return errors.Join(err, map[config.Code]error{
			config.Unknown: fs.ErrNotExist, config.Unreached: fs.ErrNotExist, config.Taken: fs.ErrExist,
			config.InUse: fs.ErrExist, config.Exhausted: fs.ErrExist, config.Invalid: fs.ErrInvalid,
		}[faults.Errors()[0].Code])
	}
	_, err := e.Apply(context.Background(), to)
	return err
}

var newIDs byte

func newID() config.ID {
	newIDs++
	return config.NewID([16]byte{newIDs, 1})
}

// AssociateFloatingIP associates a floating IP, which is made if need be.
func (e *Engine) AssociateFloatingIP(floating, fixed netip.Addr) error {
	return e.AssociateFloatingIPAt("", floating, fixed)
}

// AssociateFloatingIPAt is AssociateFloatingIP at a router.
func (e *Engine) AssociateFloatingIPAt(router string, floating, fixed netip.Addr) error {
	return e.edit(func(d *config.Draft) error {
		f := config.FloatingIP{Meta: config.Meta{ID: newID()}, Address: floating}
		for n := range d.Networks() {
			if n.External && d.SubnetAt(n.ID, floating) != nil {
				f.Network = n.ID
			}
		}
		for o := range d.FloatingIPsAt(floating) {
			f = *o
		}
		if f.Network == "" {
			return fmt.Errorf("no network has %v: %w", floating, fs.ErrNotExist)
		}
		if f.FixedIP != fixed {
			f.Router = ""
		}
		f.FixedIP = fixed
		for r := range d.Routers() {
			if r.Name == router {
				f.Router = r.ID
			}
		}
		d.Put(&f)
		return nil
	})
}

// DisassociateFloatingIP takes a floating IP away.
func (e *Engine) DisassociateFloatingIP(floating netip.Addr) error {
	return e.DisassociateFloatingIPAt("", floating)
}

// DisassociateFloatingIPAt is DisassociateFloatingIP at a router.
func (e *Engine) DisassociateFloatingIPAt(router string, floating netip.Addr) error {
	return e.edit(func(d *config.Draft) error {
		for f := range d.FloatingIPsAt(floating) {
			if !f.FixedIP.IsValid() || router != "" && d.Router(f.Router).Name != router {
				continue
			}
			g := *f
			g.FixedIP, g.Router = netip.Addr{}, ""
			d.Put(&g)
			return nil
		}
		return fmt.Errorf("%v is not associated: %w", floating, fs.ErrNotExist)
	})
}

func poolNamed(d *config.Draft, name string) *config.Pool {
	for p := range d.Pools() {
		if p.Name == name {
			return p
		}
	}
	return nil
}

func (e *Engine) editMember(pool, name string, edit func(d *config.Draft, m *config.Member)) error {
	return e.edit(func(d *config.Draft) error {
		if p := poolNamed(d, pool); p != nil {
			for m := range d.MembersOf(p.ID) {
				if m.Name == name {
					c := *m
					edit(d, &c)
					return nil
				}
			}
		}
		return fmt.Errorf("no member %q of pool %q: %w", name, pool, fs.ErrNotExist)
	})
}

// SetMember says by hand whether a member is up.
func (e *Engine) SetMember(pool, member string, up bool) error {
	return e.editMember(pool, member, func(d *config.Draft, m *config.Member) {
		m.AdminStateUp = up
		d.Put(m)
	})
}

// SetMemberWeight changes a member's weight.
func (e *Engine) SetMemberWeight(pool, member string, weight int) error {
	return e.editMember(pool, member, func(d *config.Draft, m *config.Member) {
		m.Weight = weight
		d.Put(m)
	})
}

// RemoveMember takes a member out of a pool.
func (e *Engine) RemoveMember(pool, member string) error {
	return e.editMember(pool, member, func(d *config.Draft, m *config.Member) { d.Delete(m.Ref()) })
}

// AddMember adds a member to a pool.
func (e *Engine) AddMember(pool string, m file.Member) error {
	return e.edit(func(d *config.Draft) error {
		p := poolNamed(d, pool)
		if p == nil {
			return fmt.Errorf("no pool %q: %w", pool, fs.ErrNotExist)
		}
		if m.Name == "" {
			m.Name = netip.AddrPortFrom(m.Address, m.Port).String()
		}
		d.Put(&config.Member{
			Meta: config.Meta{ID: newID(), Name: m.Name}, Pool: p.ID, Address: m.Address, Port: m.Port,
			Weight: m.Weight, Backup: m.Backup, AdminStateUp: m.AdminStateUp,
		})
		return nil
	})
}
