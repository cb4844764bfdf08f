package client

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
)

var extensions = &kind{path: "/v2.0/extensions", singular: "extension", plural: "extensions", title: "Extension",
	list: columns("Name=name Alias=alias Description=description"),
	long: columns("Name=name Alias=alias Description=description Namespace=-!blank Updated=-!blank Links=links"),
	show: columns("alias description id=alias links name updated_at=updated")}

type (
	extensionCommands struct {
		Connection
		List extensionList `cmd:"" help:"List extensions."`
		Show extensionShow `cmd:"" help:"Show an extension."`
	}
	extensionList struct {
		Network bool `help:"Those of networks; there are no others."`
		Long    bool `help:"Show more columns."`
		listOptions
	}
	extensionShow struct {
		Extension string `arg:"" help:"Alias of the extension."`
		showOptions
	}
)

// Run lists extensions.
func (c *extensionList) Run(s *Session) error {
	return s.listAll(extensions, c, &c.listOptions, c.Long, nil)
}

// Run shows an extension.
func (c *extensionShow) Run(s *Session) error { return s.show(extensions, c.Extension, &c.showOptions) }

var zones = &kind{path: "/v2.0/availability_zones", singular: "availability_zone", plural: "availability_zones",
	list: columns("Zone_Name=name Zone_Status=state"),
	long: columns(`Zone_Name=name Zone_Status=state Zone_Resource=resource Host_Name=-!blank Service_Name=-!blank
		Service_Status=-!blank`)}

type (
	availabilityCommands struct {
		Connection
		Zone zoneCommands `cmd:"" help:"Availability zones."`
	}
	zoneCommands struct {
		List zoneList `cmd:"" help:"List availability zones."`
	}
	zoneList struct {
		Network bool `help:"Those of networks; there are no others."`
		Long    bool `help:"Show more columns."`
		listOptions
	}
)

// Run lists availability zones.
func (c *zoneList) Run(s *Session) error { return s.listAll(zones, c, &c.listOptions, c.Long, nil) }

var availabilities = &kind{path: "/v2.0/network-ip-availabilities", singular: "network_ip_availability",
	plural: "network_ip_availabilities", title: "NetworkIPAvailability",
	list: columns("Network_ID=network_id Network_Name=network_name Total_IPs=total_ips Used_IPs=used_ips"),
	show: columns("network_id network_name project_id subnet_ip_availability!dicts total_ips used_ips")}

type (
	ipCommands struct {
		Connection
		Availability ipAvailability `cmd:"" help:"How many addresses are in use."`
	}
	ipAvailability struct {
		List ipAvailabilityList `cmd:"" help:"List networks with how many addresses they have and use."`
		Show ipAvailabilityShow `cmd:"" help:"Show how many addresses a network has and uses."`
	}
	ipAvailabilityList struct {
		IPVersion int     `name:"ip-version" default:"4" enum:"4,6" api:"ip_version" help:"4 or 6."`
		Project   *string `api:"project_id" help:"Only those of this project (id)."`
		listOptions
	}
	ipAvailabilityShow struct {
		Network string `arg:"" help:"Name or id of the network."`
		showOptions
	}
)

// Run lists networks with their addresses.
func (c *ipAvailabilityList) Run(s *Session) error {
	return s.listAll(availabilities, c, &c.listOptions, false, nil)
}

// Run shows a network's addresses.
func (c *ipAvailabilityShow) Run(s *Session) error {
	n, err := s.find(networks, c.Network)
	if err != nil {
		return s.failed(err)
	}
	o, err := s.get(availabilities, n.text("id"))
	if err != nil {
		return s.failed(err)
	}
	return s.print(o, availabilities.show, &c.showOptions)
}

var quotaColumns = columns(`networks=network subnets=subnet ports=port routers=router floating-ips=floatingip
	secgroups=security_group secgroup-rules=security_group_rule rbac-policies=rbac_policy subnetpools=subnetpool`)

type (
	quotaCommands struct {
		Connection
		List quotaList `cmd:"" help:"List quotas that were set."`
		Set  quotaSet  `cmd:"" help:"Set quotas."`
		Show quotaShow `cmd:"" help:"Show quotas."`
	}
	quotaList struct {
		Network bool `help:"Those of networks; there are no others here."`
		listOptions
	}
	quotaShow struct {
		Project string `arg:"" optional:"" default:"00000000000000000000000000000001" help:"Id of the project."`
		Default bool   `help:"Show what holds where nothing was set."`
		showOptions
	}
	quotaSet struct {
		Project       string `arg:"" help:"Id of the project."`
		FloatingIPs   *int   `name:"floating-ips" api:"floatingip" help:"How many floating IPs; -1 is no limit."`
		SecgroupRules *int   `api:"security_group_rule" help:"How many rules of security groups."`
		Secgroups     *int   `api:"security_group" help:"How many security groups."`
		Networks      *int   `api:"network" help:"How many networks."`
		Subnets       *int   `api:"subnet" help:"How many subnets."`
		Ports         *int   `api:"port" help:"How many ports."`
		Routers       *int   `api:"router" help:"How many routers."`
		RbacPolicies  *int   `api:"rbac_policy" help:"How many RBAC policies."`
		Subnetpools   *int   `api:"subnetpool" help:"How many subnet pools."`
		Force         bool   `help:"Set it though more is in use, as always."`
		CheckLimit    bool   `help:"Refuse what is less than what is in use." api:"check_limit=true"`
	}
)

// Run lists quotas.
func (c *quotaList) Run(s *Session) error {
	k := &kind{path: "/v2.0/quotas", singular: "quota", plural: "quotas", list: columns(`Project_ID=project_id
		Floating_IPs=floatingip Networks=network Ports=port RBAC_Policies=rbac_policy Routers=router
		Security_Groups=security_group Security_Group_Rules=security_group_rule Subnets=subnet
		Subnet_Pools=subnetpool`)}
	return s.listAll(k, c, &c.listOptions, false, nil)
}

// Run shows quotas.
func (c *quotaShow) Run(s *Session) error {
	path := "/v2.0/quotas/" + url.PathEscape(c.Project)
	if c.Default {
		path += "/default"
	}
	return s.failed(s.quota(path, quotaColumns, &c.showOptions))
}

func (s *Session) quota(path string, columns []column, out *showOptions) error {
	v, err := s.router.call(s.ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	o, err := wrapped(v, "quota")
	if err != nil {
		return err
	}
	return printOne(s.out, &sheet{columns, [][]cell{row(o, columns)}}, out)
}

// Run sets quotas.
func (c *quotaSet) Run(s *Session) error {
	return s.failed(s.setQuota("/v2.0/quotas/"+url.PathEscape(c.Project), c))
}

func (s *Session) setQuota(path string, command any) error {
	body, err := s.body(command)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return fmt.Errorf("nothing to set: name a quota, such as --%s 10", firstFlag(command))
	}
	_, err = s.router.call(s.ctx, http.MethodPut, path, map[string]any{"quota": body})
	return err
}

// firstFlag is an option of a command, as an example.
func firstFlag(command any) string {
	t := reflect.TypeOf(command).Elem()
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("name"); name != "" {
			return name
		}
	}
	return "pool"
}

var lbQuotaColumns = columns(`load_balancer=loadbalancer listener pool health_monitor=healthmonitor member
	l7policy l7rule`)

type (
	lbQuotaCommands struct {
		Defaults lbQuotaDefaults `cmd:"" help:"What holds where nothing was set."`
		List     lbQuotaList     `cmd:"" help:"List quotas that were set."`
		Reset    lbQuotaReset    `cmd:"" help:"Set a project's quotas back to the defaults."`
		Set      lbQuotaSet      `cmd:"" help:"Set quotas."`
		Show     lbQuotaShow     `cmd:"" help:"Show quotas."`
	}
	lbQuotaDefaults struct {
		Show lbQuotaDefaultsShow `cmd:"" help:"Show the defaults."`
	}
	lbQuotaDefaultsShow struct{ showOptions }
	lbQuotaList         struct {
		Project *string `api:"project_id" help:"Only that of this project (id)."`
		listOptions
	}
	lbQuotaReset struct {
		Project string `arg:"" help:"Id of the project."`
	}
	lbQuotaShow struct {
		Project string `arg:"" help:"Id of the project."`
		showOptions
	}
	lbQuotaSet struct {
		Project       string `arg:"" help:"Id of the project."`
		Loadbalancer  *int   `name:"loadbalancer" api:"loadbalancer" help:"How many load balancers; -1 is no limit."`
		Listener      *int   `api:"listener" help:"How many listeners."`
		Pool          *int   `api:"pool" help:"How many pools."`
		Member        *int   `api:"member" help:"How many members."`
		Healthmonitor *int   `api:"healthmonitor" help:"How many health monitors."`
		L7policy      *int   `api:"l7policy" help:"How many L7 policies."`
		L7rule        *int   `api:"l7rule" help:"How many L7 rules."`
		showOptions
	}
)

// Run shows the defaults.
func (c *lbQuotaDefaultsShow) Run(s *Session) error {
	return s.failed(s.quota(lbaas+"quotas/defaults", lbQuotaColumns, &c.showOptions))
}

// Run lists quotas.
func (c *lbQuotaList) Run(s *Session) error {
	k := &kind{path: lbaas + "quotas", singular: "quota", plural: "quotas",
		list: append([]column{{"project_id", "project_id", asValue}}, lbQuotaColumns...)}
	return s.listAll(k, c, &c.listOptions, false, nil)
}

// Run sets a project's quotas back.
func (c *lbQuotaReset) Run(s *Session) error {
	_, err := s.router.call(s.ctx, http.MethodDelete, lbaas+"quotas/"+url.PathEscape(c.Project), nil)
	return s.failed(err)
}

// Run shows quotas.
func (c *lbQuotaShow) Run(s *Session) error {
	return s.failed(s.quota(lbaas+"quotas/"+url.PathEscape(c.Project), lbQuotaColumns, &c.showOptions))
}

// Run sets quotas and shows them.
func (c *lbQuotaSet) Run(s *Session) error {
	path := lbaas + "quotas/" + url.PathEscape(c.Project)
	if err := s.setQuota(path, c); err != nil {
		return s.failed(err)
	}
	return s.failed(s.quota(path, lbQuotaColumns, &c.showOptions))
}
