package client

import (
	"net/http"
	"net/url"
)

type leaseCommands struct {
	Connection
	List    leaseList    `cmd:"" help:"List the addresses that hosts have by DHCP for a while. Those of ports are not among them."`
	Release leaseRelease `cmd:"" help:"Take an address back, so that an object can have it. Its host goes on to use it until it renews the lease."`
}

// networkOption limits a list to one network.
type networkOption struct {
	Network string `placeholder:"<network>" help:"Of this network only (name or id)."`
}

func (o networkOption) query() url.Values {
	if o.Network == "" {
		return url.Values{}
	}
	return url.Values{"network": {o.Network}}
}

// leaseColumns are what is shown of a lease.
var leaseColumns = columns(`Address=address MAC=mac Hostname=hostname Network=network Ends=ends Client_ID=client_id`)

type leaseList struct {
	networkOption
	outputOption
}

// Run prints leases.
func (c *leaseList) Run(s *Session) error {
	return s.showList("/leases", "leases", c.Output, c.query(), func(list []*object) string {
		return tableOf(list, leaseColumns)
	})
}

type leaseRelease struct {
	Address string `arg:"" help:"The address."`
	networkOption
	outputOption
}

// Run ends a lease.
func (c *leaseRelease) Run(s *Session) error {
	query := c.query()
	query.Set("address", c.Address)
	o, _, err := s.read(http.MethodDelete, "/leases", query)
	if err != nil {
		return s.failed(err)
	}
	if c.Output == "json" {
		return s.write(jsonText(o, 2) + "\n")
	}
	return s.write(o.text("address") + " was leased to " + o.text("mac") + " on network " + o.text("network") + "\n")
}
