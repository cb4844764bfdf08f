package neutron

import (
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/taprouter/taprouter/config"
)

var addressGroups = resource[*config.AddressGroup]{
	singular: "address_group", plural: "address_groups", path: "address-groups", title: "Address Group",
	attributes: addressGroupAttributes,
	all:        func(s *config.State) iter.Seq[*config.AddressGroup] { return s.AddressGroups() },
	get: func(r reader, id config.ID) (*config.AddressGroup, bool) {
		g := r.AddressGroup(id)
		return g, g != nil
	},
	fresh:  func(m config.Meta) *config.AddressGroup { return &config.AddressGroup{Meta: m} },
	copied: copied[config.AddressGroup],
	create: func(e *edit, g *config.AddressGroup, _ map[string]any) error {
		e.Put(g)
		return nil
	},
	update: func(e *edit, _, g *config.AddressGroup, _ map[string]any) error {
		e.Put(g)
		return nil
	},
	remove: func(e *edit, g *config.AddressGroup) error {
		for range e.RulesFromAddresses(g.ID) {
			return conflict("AddressGroupInUse", "Address group %s is in use on one or more security group rules.",
				g.ID)
		}
		e.Delete(g.Ref())
		return nil
	},
}

// memberPrefix reads an address of an address group.
var memberPrefix = format{read: func(v any) (any, error) {
	p, err := remotePrefix.read(v)
	if err != nil {
		return nil, err
	}
	return p.(netip.Prefix).Masked(), nil
}}

var addressList = listOf[netip.Prefix](memberPrefix)

func addressGroupAttributes(project string) []attribute[*config.AddressGroup] {
	type group = *config.AddressGroup
	return append(common[group](project),
		named[group](),
		constant[group]("shared", flag, false),
		attribute[group]{name: "addresses", format: addressList, may: onCreate,
			get: func(_ reader, g group) any { return prefixTexts(g.Addresses) },
			set: func(_ *edit, g group, v any) error {
				g.Addresses = nil
				for _, p := range v.([]netip.Prefix) {
					if !slices.Contains(g.Addresses, p) {
						g.Addresses = append(g.Addresses, p)
					}
				}
				return nil
			}})
}

func prefixTexts(list []netip.Prefix) []string {
	texts := []string{}
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return texts
}

// mountAddressActions serves what adds addresses to a group, and what takes some out.
func (a *API) mountAddressActions(m *mounted[*config.AddressGroup]) {
	put := func(action string, fn func(is, given []netip.Prefix, id config.ID) ([]netip.Prefix, error)) {
		a.handle("/v2.0/address-groups/{id}/"+action, methods{http.MethodPut: func(r *request) (reply, error) {
			given, err := readAddresses(r)
			if err != nil {
				return reply{}, err
			}
			return m.edit(r, func(e *edit, was *config.AddressGroup) error {
				g := copied(was)
				var err error
				if g.Addresses, err = fn(was.Addresses, given, g.ID); err != nil {
					return err
				}
				if err := e.own(was, "addresses"); err != nil {
					return err
				}
				e.Put(g)
				return nil
			}, func(s *config.State, g *config.AddressGroup) reply { return m.one(s, g, http.StatusOK) })
		}})
	}
	put("add_addresses", func(is, given []netip.Prefix, id config.ID) ([]netip.Prefix, error) {
		if both := slices.DeleteFunc(slices.Clone(given),
			func(p netip.Prefix) bool { return !slices.Contains(is, p) }); len(both) > 0 {
			return nil, failure(http.StatusBadRequest, "AddressesAlreadyExist",
				"Addresses %s already exist in the address group %s.", joined(both), id)
		}
		return slices.Concat(is, given), nil
	})
	put("remove_addresses", func(is, given []netip.Prefix, id config.ID) ([]netip.Prefix, error) {
		if none := slices.DeleteFunc(slices.Clone(given),
			func(p netip.Prefix) bool { return slices.Contains(is, p) }); len(none) > 0 {
			return nil, failure(http.StatusNotFound, "AddressesNotFound",
				"Addresses %s not found in the address group %s.", joined(none), id)
		}
		return orNone(slices.DeleteFunc(slices.Clone(is),
			func(p netip.Prefix) bool { return slices.Contains(given, p) })), nil
	})
}

func joined(list []netip.Prefix) string {
	return fmt.Sprintf("[%s]", strings.Join(prefixTexts(list), ", "))
}

// readAddresses reads addresses, each once. Clients wrap them in the group's name or not.
func readAddresses(r *request) ([]netip.Prefix, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if inner, ok := body["address_group"].(map[string]any); ok {
		if err := onlyKey(body, "address_group"); err != nil {
			return nil, err
		}
		body = inner
	}
	v, err := addressList.read(body["addresses"])
	if err != nil {
		return nil, invalid("addresses", "%v.", err)
	}
	if err := onlyKey(body, "addresses"); err != nil {
		return nil, err
	}
	var list []netip.Prefix
	for _, p := range v.([]netip.Prefix) {
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list, nil
}
