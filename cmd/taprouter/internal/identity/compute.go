package identity

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/serve"
	"github.com/taprouter/taprouter/config"
)

// A server is what has the ports with one device_id.
type server struct {
	id    string
	ports []*config.Port
}

// serversOf finds the servers of a State, in the order of their first ports. Ports of the cloud itself are no server's.
func serversOf(s *config.State) []*server {
	var list []*server
	by := map[string]*server{}
	for p := range s.Ports() {
		if p.DeviceID == "" || strings.HasPrefix(p.DeviceOwner, "network:") || p.DeviceOwner == "Octavia" {
			continue
		}
		v := by[p.DeviceID]
		if v == nil {
			v = &server{id: p.DeviceID}
			by[p.DeviceID] = v
			list = append(list, v)
		}
		v.ports = append(v.ports, p)
	}
	return list
}

// name is the name of its first port that has one.
func (v *server) name() string {
	for _, p := range v.ports {
		if p.Name != "" {
			return p.Name
		}
	}
	return v.id
}

// addresses lists the fixed and floating IPs of a server, by network.
func (v *server) addresses(s *config.State) object {
	all := object{}
	for _, p := range v.ports {
		name := string(p.Network)
		if n := s.Network(p.Network); n != nil && n.Name != "" {
			name = n.Name
		}
		list, _ := all[name].([]any)
		add := func(a netip.Addr, kind string) {
			version := 4
			if a.Is6() {
				version = 6
			}
			list = append(list, object{"version": version, "addr": a.String(), "OS-EXT-IPS:type": kind,
				"OS-EXT-IPS-MAC:mac_addr": p.MAC.String()})
		}
		for _, f := range p.FixedIPs {
			add(f.Address, "fixed")
			for i := range s.InterfacesOn(p.Network) {
				if fip := s.FloatingIPTo(config.ID(i.DeviceID), f.Address); fip != nil {
					add(fip.Address, "floating")
				}
			}
		}
		if list == nil {
			list = []any{}
		}
		all[name] = list
	}
	return all
}

// detail is a server with all its attributes.
func (a *API) detail(r *http.Request, s *config.State, v *server) object {
	first := v.ports[0]
	o := object{
		"status": "ACTIVE", "tenant_id": a.opt.Project, "user_id": userID, "addresses": v.addresses(s),
		"flavor": object{"id": "port", "links": []any{}}, "image": "", "metadata": object{}, "key_name": nil,
		"created": novaTime(first.Created), "updated": novaTime(first.Updated),
		"accessIPv4": "", "accessIPv6": "", "config_drive": "", "hostId": "", "progress": 100,
		"security_groups": []any{}, "os-extended-volumes:volumes_attached": []any{},
		"OS-DCF:diskConfig": "MANUAL", "OS-EXT-AZ:availability_zone": "nova", "OS-EXT-STS:power_state": 1,
		"OS-EXT-STS:task_state": nil, "OS-EXT-STS:vm_state": "active", "OS-SRV-USG:launched_at": nil,
		"OS-SRV-USG:terminated_at": nil,
	}
	maps.Copy(o, a.brief(r, v))
	return o
}

func (a *API) brief(r *http.Request, v *server) object {
	return object{"id": v.id, "name": v.name(), "links": self(base(r) + "/compute/v2.1/servers/" + v.id)}
}

func novaTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func (a *API) servers(w http.ResponseWriter, r *http.Request) {
	a.list(w, r, func(_ *config.State, v *server) object { return a.brief(r, v) })
}

func (a *API) serversInDetail(w http.ResponseWriter, r *http.Request) {
	a.list(w, r, func(s *config.State, v *server) object { return a.detail(r, s, v) })
}

// list answers with the servers that a query asks for. As in Nova, unknown keys are passed over.
func (a *API) list(w http.ResponseWriter, r *http.Request, show func(s *config.State, v *server) object) {
	q := r.URL.Query()
	s := a.opt.State()
	found := serversOf(s)
	if marker := q.Get("marker"); marker != "" {
		at := slices.IndexFunc(found, func(v *server) bool { return v.id == marker })
		if at < 0 {
			serve.Fail(w, r, http.StatusBadRequest, fmt.Sprintf("marker [%s] not found", marker))
			return
		}
		found = found[at+1:]
	}
	found = slices.DeleteFunc(found, func(v *server) bool {
		for _, key := range []string{"project_id", "tenant_id"} {
			if q.Has(key) && q.Get(key) != a.opt.Project {
				return true
			}
		}
		return q.Has("name") && !strings.Contains(v.name(), q.Get("name")) || q.Has("uuid") && q.Get("uuid") != v.id ||
			q.Has("status") && !strings.EqualFold(q.Get("status"), "ACTIVE")
	})
	body := object{}
	if text := q.Get("limit"); text != "" {
		limit, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			serve.Fail(w, r, http.StatusBadRequest, fmt.Sprintf("Invalid input for query parameters limit. Value: %s. "+
				"%q is no number.", text, text))
			return
		}
		if n := int(limit); n < len(found) && n > 0 {
			found = found[:n]
			q.Set("marker", found[n-1].id)
			body["servers_links"] = []any{object{"rel": "next", "href": base(r) + r.URL.Path + "?" + q.Encode()}}
		}
	}
	list := []any{}
	for _, v := range found {
		list = append(list, show(s, v))
	}
	body["servers"] = list
	answer(w, r, body)
}

// limits says that nothing is limited, in the words of Nova.
func (a *API) limits(w http.ResponseWriter, r *http.Request) {
	absolute := object{}
	for _, name := range []string{"maxTotalInstances", "maxTotalCores", "maxTotalRAMSize", "maxServerMeta",
		"maxTotalKeypairs", "maxServerGroups", "maxServerGroupMembers", "maxTotalFloatingIps", "maxSecurityGroups",
		"maxSecurityGroupRules", "maxImageMeta", "maxPersonality", "maxPersonalitySize"} {
		absolute[name] = -1
	}
	for _, name := range []string{"totalInstancesUsed", "totalCoresUsed", "totalRAMUsed", "totalServerGroupsUsed",
		"totalFloatingIpsUsed", "totalSecurityGroupsUsed"} {
		absolute[name] = 0
	}
	answer(w, r, object{"limits": object{"rate": []any{}, "absolute": absolute}})
}
