package control

import (
	"cmp"
	"io/fs"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// AllowAddress lets a port, which is called by its name or ID, use an address besides its own: an allowed address pair.
// A pair with a MAC address is for frames from that one. When the method returns, the network's port security lets such
// frames pass. If the port has the pair, nothing changes. An error wraps fs.ErrNotExist if there is no such port, or
// more than one; fs.ErrInvalid if it cannot have the pair; and os.ErrClosed after the engine's end.
func (c *Control) AllowAddress(port string, pair config.AddressPair) error {
	return c.editPort("allow %v at port %s", pair.IP, port, func(p *config.Port) error {
		if pairAt(p, pair) < 0 {
			p.AllowedAddressPairs = append(slices.Clone(p.AllowedAddressPairs), pair)
		}
		return nil
	})
}

// DisallowAddress takes back what AllowAddress allows: when it returns, such frames are dropped. An error wraps
// fs.ErrNotExist if there is no such port, or more than one, or it does not have the pair; fs.ErrPermission if a file
// has the pair; and os.ErrClosed after the engine's end.
func (c *Control) DisallowAddress(port string, pair config.AddressPair) error {
	return c.editPort("disallow %v at port %s", pair.IP, port, func(p *config.Port) error {
		at := pairAt(p, pair)
		if at < 0 {
			return refuse(fs.ErrNotExist, "port %s has no allowed address pair %v", port, pair.IP)
		}
		p.AllowedAddressPairs = slices.Delete(slices.Clone(p.AllowedAddressPairs), at, at+1)
		return nil
	})
}

// pairAt is the place of a pair at a port, -1 if it is not there. A pair without a MAC address has the port's.
func pairAt(p *config.Port, pair config.AddressPair) int {
	return slices.IndexFunc(p.AllowedAddressPairs, func(has config.AddressPair) bool {
		return has.IP == pair.IP && cmp.Or(has.MAC, p.MAC) == cmp.Or(pair.MAC, p.MAC)
	})
}

// SetPortSecurity switches port security on or off for a port, which is called by its name or ID, whatever its network
// says. When the method returns, frames are judged so. An error wraps fs.ErrNotExist if there is no such port, or more
// than one; fs.ErrPermission if a file says otherwise; and os.ErrClosed after the engine's end.
func (c *Control) SetPortSecurity(port string, on bool) error {
	return c.editPort("set port security to %v at port %s", on, port, func(p *config.Port) error {
		p.PortSecurity = &on
		return nil
	})
}

// editPort makes a change of one port. what is to be done with what is given.
func (c *Control) editPort(what string, given any, port string, edit func(*config.Port) error) error {
	return c.verb(what, []any{given, port}, func(d *config.Draft) error {
		p, err := named[*config.Port](d, config.KindPort, port)
		if err != nil {
			return err
		}
		changed := *p
		if err := edit(&changed); err != nil {
			return err
		}
		d.Put(&changed)
		return nil
	})
}
