package neutron

import (
	"crypto/sha1"
	"net/http"

	"github.com/google/uuid"

	"github.com/taprouter/taprouter/config"
)

// This file is about the ports that follow from other objects: the port of a floating IP, and the port of a load
// balancer's address.

// Owners of ports that follow from other objects.
const (
	ownerFloatingIP = "network:floatingip"
	ownerBalancer   = "Octavia"
)

// A twist makes the id of one object into that of another one, and back. So the object that a port follows from is
// found without a search.
type twist [16]byte

// newTwist makes the twist for an owner. It leaves the bits of the UUID's version and variant (RFC 9562, 4).
func newTwist(owner string) twist {
	sum := sha1.Sum([]byte("taprouter port of " + owner))
	t := twist(sum[:16])
	t[6] &= 0x0f
	t[8] &= 0x3f
	return t
}

var (
	floatingTwist = newTwist(ownerFloatingIP)
	balancerTwist = newTwist(ownerBalancer)
)

// of is the other id, empty for what is no UUID.
func (t twist) of(id config.ID) config.ID {
	u, err := uuid.Parse(string(id))
	if err != nil {
		return ""
	}
	for i := range u {
		u[i] ^= t[i]
	}
	return config.ID(u.String())
}

func floatingPortID(f *config.FloatingIP) config.ID { return floatingTwist.of(f.ID) }

// balancerPortID is the port of a load balancer's address: the one that a user has made for it, or its own.
func balancerPortID(b *config.LoadBalancer) config.ID {
	if b.Port != "" {
		return b.Port
	}
	return balancerTwist.of(b.ID)
}

// balancerOfPort finds the load balancer that has a port of its own, nil if it is none's.
func balancerOfPort(r reader, id config.ID) *config.LoadBalancer {
	if b := r.LoadBalancer(balancerTwist.of(id)); b != nil && b.Port == "" {
		return b
	}
	return nil
}

// floatingPort is the port that a floating IP has on its external network.
func floatingPort(r reader, f *config.FloatingIP) *config.Port {
	m := config.Meta{ID: floatingPortID(f), Revision: f.Revision, Created: f.Created, Updated: f.Updated}
	return servicePort(r, m, f.Network, f.Router, f.Address, string(f.ID), ownerFloatingIP)
}

// balancerPort is the port that has a load balancer's address.
func balancerPort(r reader, b *config.LoadBalancer) *config.Port {
	if p := r.Port(b.Port); p != nil {
		return p
	}
	m := config.Meta{ID: balancerPortID(b), Name: "octavia-lb-" + string(b.ID), Revision: b.Revision,
		Created: b.Created, Updated: b.Updated}
	p := servicePort(r, m, b.Network, b.Router, b.Address, "lb-"+string(b.ID), ownerBalancer)
	p.AdminStateUp, p.SecurityGroups = b.AdminStateUp, b.SecurityGroups
	return p
}

// balancerGroups is the list of a load balancer's groups, which are its port's.
var balancerGroups = attribute[*config.LoadBalancer]{name: "security_groups", field: "security_groups",
	entries: func(b *config.LoadBalancer) []string { return groupTexts(b.SecurityGroups) }}

// putServicePort answers PUT of a load balancer's own port, of which only the security groups can be set.
func putServicePort(m *mounted[*config.Port], r *request) (reply, bool, error) {
	id := config.ID(r.PathValue("id"))
	if balancerOfPort(m.api.control.State(), id) == nil {
		return reply{}, false, nil
	}
	body, err := readOne(r, m.singular)
	if err != nil {
		return reply{}, true, err
	}
	given, ok := body["security_groups"]
	s, err := r.change(func(e *edit) error {
		b := balancerOfPort(e, id)
		if b == nil {
			return notFound(m.title, id)
		}
		if len(body) != 1 || !ok {
			return servicePortInUse(balancerPort(e, b))
		}
		if err := m.mayMatch(r, b); err != nil {
			return err
		}
		ids := any([]config.ID{})
		if given != nil {
			if ids, err = groupList.read(given); err != nil {
				return invalid("security_groups", "%v.", err)
			}
		}
		was := b
		b = copied(b)
		if b.SecurityGroups, err = chooseGroups(e, ids.([]config.ID)); err != nil {
			return err
		}
		e.Put(b)
		return keepIn(e, balancerGroups, was, b)
	})
	if err != nil {
		return reply{}, true, err
	}
	p, _ := findPort(s, id)
	r.tells(p)
	return m.one(s, p, http.StatusOK), true, nil
}
