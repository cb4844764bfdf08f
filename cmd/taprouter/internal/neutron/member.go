package neutron

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// members are below their pool, whose id is in the path: membersOf adds what depends on it.
var members = resource[*config.Member]{
	singular: "member", plural: "members", title: "Member", linked: true,
	attributes: memberAttributes,
	fresh:      func(m config.Meta) *config.Member { return &config.Member{Meta: m, Weight: 1, AdminStateUp: true} },
	copied:     copied[config.Member],
	create: func(e *edit, m *config.Member, _ map[string]any) error {
		if e.Pool(m.Pool) == nil {
			return notFound("Pool", m.Pool)
		}
		if m.Subnet != "" && e.Subnet(m.Subnet) == nil {
			return malformed("Subnet %s not found.", m.Subnet)
		}
		e.Put(m)
		return nil
	},
	update: func(e *edit, _, m *config.Member, _ map[string]any) error {
		e.Put(m)
		return nil
	},
	remove: func(e *edit, m *config.Member) error {
		e.Delete(m.Ref())
		return nil
	},
}

func memberAttributes(project string) []attribute[*config.Member] {
	type member = *config.Member
	const maxWeight = 256
	list := append(balanced[member](project, func(m member) *bool { return &m.AdminStateUp },
		func(r reader, m member) any { return memberStatus(r, m) }),
		attribute[member]{name: "address", format: address, may: onCreate | required,
			get: func(_ reader, m member) any { return addressText(m.Address) },
			set: func(_ *edit, m member, v any) error {
				m.Address = v.(netip.Addr)
				return nil
			}},
		attribute[member]{name: "protocol_port", format: number, may: onCreate | required,
			get: func(_ reader, m member) any { return int(m.Port) },
			set: func(_ *edit, m member, v any) (err error) {
				m.Port, err = portNumber("protocol_port", v)
				return err
			}},
		attribute[member]{name: "weight", format: number.or(1), may: always, field: "weight",
			get: func(_ reader, m member) any { return m.Weight },
			set: func(_ *edit, m member, v any) error {
				if m.Weight = v.(int); m.Weight < 0 || m.Weight > maxWeight {
					return invalid("weight", "%d is not from 0 to %d.", m.Weight, maxWeight)
				}
				return nil
			}},
		field("backup", flag.or(false), always, "backup", func(m member) *bool { return &m.Backup }),
		field("subnet_id", identifier, onCreate, "", func(m member) *config.ID { return &m.Subnet }),
		attribute[member]{name: "monitor_address", format: address, may: always | mayBeNull,
			field: "monitor_address",
			get:   func(_ reader, m member) any { return addressText(m.MonitorAddress) },
			set: func(_ *edit, m member, v any) error {
				m.MonitorAddress, _ = v.(netip.Addr)
				return nil
			}},
		attribute[member]{name: "monitor_port", format: number, may: always | mayBeNull, field: "monitor_port",
			get: func(_ reader, m member) any {
				if m.MonitorPort == 0 {
					return nil
				}
				return int(m.MonitorPort)
			},
			set: func(_ *edit, m member, v any) (err error) {
				if m.MonitorPort = 0; v != nil {
					m.MonitorPort, err = portNumber("monitor_port", v)
				}
				return err
			}},
	)
	return slices.DeleteFunc(list, func(a attribute[member]) bool { return a.name == "description" })
}

// mountMembers serves the members of each pool.
func (a *API) mountMembers() {
	type served = *mounted[*config.Member]
	serve := func(fn func(m served, r *request) (reply, error)) func(r *request) (reply, error) {
		return func(r *request) (reply, error) {
			id := config.ID(r.PathValue("pool"))
			if a.control.State().Pool(id) == nil {
				return reply{}, notFound("Pool", id)
			}
			return fn(a.membersOf(id), r)
		}
	}
	at := lbaas + "/pools/{pool}/members"
	a.handle(at, methods{http.MethodGet: serve(served.index), http.MethodPost: serve(served.post),
		http.MethodPut: serve(putMembers)})
	a.handle(at+"/{id}", methods{http.MethodGet: serve(served.show), http.MethodPut: serve(served.put),
		http.MethodDelete: serve(served.delete)})
}

func (a *API) membersOf(pool config.ID) *mounted[*config.Member] {
	m := *a.balancing.members
	m.all = func(s *config.State) iter.Seq[*config.Member] { return s.MembersOf(pool) }
	m.get = func(in reader, id config.ID) (*config.Member, bool) {
		o := in.Member(id)
		return o, o != nil && o.Pool == pool
	}
	m.belongs = func(o *config.Member) bool { return o.Pool == pool }
	fresh := m.fresh
	m.fresh = func(meta config.Meta) *config.Member {
		o := fresh(meta)
		o.Pool = pool
		return o
	}
	return &m
}

// putMembers makes a list the members of a pool. Members with the address and port of an entry become as the entry
// says; what it leaves out stays. The others go, unless the list is only to add some.
func putMembers(m *mounted[*config.Member], r *request) (reply, error) {
	body, err := readBody(r)
	if err != nil {
		return reply{}, err
	}
	given, ok := body["members"].([]any)
	if !ok {
		return reply{}, malformed("Unable to find 'members' in request body")
	}
	if err := onlyKey(body, "members"); err != nil {
		return reply{}, err
	}
	keeps := false
	if text := r.URL.Query().Get("additive_only"); text != "" {
		v, err := flag.read(text)
		if err != nil {
			return reply{}, invalid("additive_only", "%v.", err)
		}
		keeps = v.(bool)
	}
	_, err = r.change(func(e *edit) error {
		there := map[netip.AddrPort]*config.Member{}
		pool := config.ID(r.PathValue("pool"))
		old := slices.Collect(e.MembersOf(pool))
		for _, o := range old {
			there[netip.AddrPortFrom(o.Address, o.Port)] = o
		}
		listed := map[netip.AddrPort]bool{}
		for _, x := range given {
			at, err := m.putEntry(e, x, there)
			if err != nil {
				return err
			}
			if listed[at] {
				return malformed("Member %v is in the list twice.", at)
			}
			listed[at] = true
		}
		for _, o := range old {
			if keeps || listed[netip.AddrPortFrom(o.Address, o.Port)] {
				continue
			}
			if err := e.own(o, ""); err != nil {
				return err
			}
			e.Delete(o.Ref())
		}
		return nil
	})
	if err != nil {
		return reply{}, err
	}
	r.tellsChanged(config.KindMember)
	return reply{status: http.StatusAccepted}, nil
}

// putEntry changes or makes the member of one entry of a list.
func (m *mounted[T]) putEntry(e *edit, x any, there map[netip.AddrPort]T) (netip.AddrPort, error) {
	var at netip.AddrPort
	body, ok := x.(map[string]any)
	if !ok {
		return at, malformed("Invalid input for members. Reason: %s is not a dictionary.", show(x))
	}
	var a netip.Addr
	var port uint16
	v, err := address.read(body["address"])
	if err == nil {
		a = v.(netip.Addr)
		v, err = number.read(body["protocol_port"])
	}
	if err == nil {
		port, err = portNumber("protocol_port", v)
	}
	if err != nil {
		return at, malformed("Invalid input for members. Reason: %v.", err)
	}
	at = netip.AddrPortFrom(a, port)
	was, known := there[at]
	if !known {
		_, err := makeOf(e, m, x, func(T) {})
		return at, err
	}
	o := m.copied(was)
	rest := map[string]any{}
	for k, v := range body {
		switch k {
		case "address", "protocol_port", "subnet_id":
		case "project_id", "tenant_id": // which an entry may name, whether it is of a new member or not
			if a, ok := find(m.list, k); ok && v != nil {
				if err := a.write(e, o, v); err != nil {
					return at, err
				}
			}
		default:
			rest[k] = v
		}
	}
	if err := fillUpdate(e, m.list, was, o, rest); err != nil {
		return at, err
	}
	if err := m.update(e, was, o, rest); err != nil {
		return at, err
	}
	return at, m.keepEntries(e, was, in(rest))
}
