package native

import (
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

var networkParam = param{"network", "string", "Name or id of a network; all of them without it."}

// A leaseEntry is a dynamic lease of DHCP.
type leaseEntry struct {
	Address   string `json:"address"`
	MAC       string `json:"mac"`
	ClientID  string `json:"client_id,omitempty" doc:"DHCP's option 61 in hexadecimal, if the host sends one."`
	Hostname  string `json:"hostname,omitempty" doc:"What the host says it is called."`
	Network   string `json:"network"`
	NetworkID string `json:"network_id"`
	Device    string `json:"device,omitempty" doc:"Where the host has asked."`
	Began     string `json:"began" doc:"When the host got the address (RFC 3339)."`
	Ends      string `json:"ends" doc:"Until when it has the address, if it does not renew the lease (RFC 3339)."`
}

func leaseEntryOf(l *router.Lease, network string) leaseEntry {
	return leaseEntry{Address: l.Address.String(), MAC: net.HardwareAddr(l.MAC[:]).String(),
		ClientID: hex.EncodeToString(l.ClientID), Hostname: l.Hostname, Network: network, NetworkID: l.Network,
		Device: l.Device, Began: l.Began.UTC().Format(time.RFC3339), Ends: l.Ends.UTC().Format(time.RFC3339)}
}

// leasesOf lists the leases of the networks that a request names.
func (a *API) leasesOf(r *http.Request) (leases []router.Lease, name func(id string) string, err error) {
	s := a.opt.Engine.State()
	name = func(id string) string {
		if n := s.Network(config.ID(id)); n != nil {
			return n.Name
		}
		return ""
	}
	want := r.URL.Query().Get("network")
	known := want == ""
	for n := range s.Networks() {
		known = known || want == string(n.ID) || want == n.Name
	}
	if !known {
		return nil, nil, notFound("There is no network %q.", want)
	}
	for _, l := range a.opt.Engine.Leases() {
		if want == "" || want == l.Network || want == name(l.Network) {
			leases = append(leases, l)
		}
	}
	return leases, name, nil
}

func (a *API) listLeases(w http.ResponseWriter, r *http.Request) error {
	leases, name, err := a.leasesOf(r)
	if err != nil {
		return err
	}
	return a.stream(w, r, "leases", false, func(put func(any) error) error {
		for i := range leases {
			if err := put(leaseEntryOf(&leases[i], name(leases[i].Network))); err != nil {
				return err
			}
		}
		return nil
	})
}

// releaseLease ends the lease of one address.
func (a *API) releaseLease(w http.ResponseWriter, r *http.Request) error {
	address, err := netip.ParseAddr(r.URL.Query().Get("address"))
	if err != nil {
		return badRequest("address=%s: it is not an IP address.", r.URL.Query().Get("address"))
	}
	leases, name, err := a.leasesOf(r)
	if err != nil {
		return err
	}
	var found []router.Lease
	for _, l := range leases {
		if l.Address == address {
			found = append(found, l)
		}
	}
	switch len(found) {
	case 0:
		return notFound("%v is not leased.", address)
	case 1:
	default:
		return problemf(http.StatusConflict, "%v is leased on %d networks: say which one.", address, len(found))
	}
	l, ok, err := a.opt.Engine.ReleaseLease(config.ID(found[0].Network), address)
	switch {
	case err != nil:
		return problemf(http.StatusServiceUnavailable, "%v", err)
	case !ok:
		return notFound("%v is not leased.", address)
	}
	a.opt.Note(r.Context(), "network", l.Network, "address", address, "mac", net.HardwareAddr(l.MAC[:]).String())
	return a.answer(w, r, http.StatusOK, leaseEntryOf(&l, name(l.Network)))
}
