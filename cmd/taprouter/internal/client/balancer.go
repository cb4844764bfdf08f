package client

import (
	"fmt"
	"net/http"
	"strings"
)

const lbaas = "/v2.0/lbaas/"

var loadBalancers = &kind{path: lbaas + "loadbalancers", singular: "loadbalancer", plural: "loadbalancers",
	list: columns("id name project_id vip_address provisioning_status operating_status provider"),
	show: columns(`admin_state_up availability_zone created_at description flavor_id id listeners!ids name
		operating_status pools!ids project_id provider provisioning_status updated_at vip_address vip_network_id
		vip_port_id vip_qos_policy_id vip_subnet_id tags!lines additional_vips`)}

// What load balancers name of networks is looked up the way that their client does.
var (
	lbSubnets  = &kind{path: subnets.path, singular: "subnet", plural: "subnets"}
	lbNetworks = &kind{path: networks.path, singular: "network", plural: "networks"}
	lbPorts    = &kind{path: ports.path, singular: "port", plural: "ports"}
)

// statistics are the columns of stats show.
var statistics = columns("active_connections bytes_in bytes_out request_errors total_connections")

type balancerCommands struct {
	Connection
	Create        balancerCreate   `cmd:"" help:"Make a load balancer."`
	Delete        balancerDelete   `cmd:"" help:"Delete a load balancer."`
	Failover      balancerFailover `cmd:"" help:"Ask for another copy of a load balancer; there is one only."`
	List          balancerList     `cmd:"" help:"List load balancers."`
	Set           balancerSet      `cmd:"" help:"Change a load balancer."`
	Show          balancerShow     `cmd:"" help:"Show a load balancer."`
	Unset         balancerUnset    `cmd:"" help:"Take something from a load balancer."`
	Stats         balancerStats    `cmd:"" help:"What a load balancer has carried."`
	Status        balancerStatus   `cmd:"" help:"A load balancer's tree of statuses."`
	Listener      listenerCommands `cmd:"" help:"Listeners: ports of load balancers."`
	Pool          poolCommands     `cmd:"" help:"Pools of members."`
	Member        memberCommands   `cmd:"" help:"Members of pools."`
	Healthmonitor monitorCommands  `cmd:"" help:"Health monitors of pools."`
	Provider      providerCommands `cmd:"" help:"What provides load balancers."`
	Quota         lbQuotaCommands  `cmd:"" help:"How many objects there may be."`
}

// waitOption is there for scripts: changes are done when they are answered.
type waitOption struct {
	Wait bool `help:"Wait until it is done, as always."`
}

type balancerCreate struct {
	Name         *string `api:"name" help:"Name of the load balancer."`
	Description  *string `api:"description" help:"A text for people."`
	VIPAddress   *string `name:"vip-address" api:"vip_address" placeholder:"<ip>" help:"Its address."`
	VIPSubnetID  *string `name:"vip-subnet-id" api:"vip_subnet_id,lbsubnet" placeholder:"<subnet>" help:"The subnet of its address (name or id)."`
	VIPNetworkID *string `name:"vip-network-id" api:"vip_network_id,lbnetwork" placeholder:"<network>" help:"The network of its address (name or id)."`
	VIPPortID    *string `name:"vip-port-id" api:"vip_port_id,lbport" placeholder:"<port>" help:"The port that has its address (name or id)."`
	Project      *string `api:"project_id" help:"Id of the project that owns it."`
	Provider     *string `api:"provider" help:"What provides it."`
	Enable       bool    `xor:"state" help:"Serve, as without this."`
	Disable      bool    `xor:"state" help:"Serve nothing yet."`
	waitOption
	tagsCreate
	showOptions
}

// Run makes a load balancer.
func (c *balancerCreate) Run(s *Session) error {
	if c.VIPSubnetID == nil && c.VIPNetworkID == nil && c.VIPPortID == nil {
		return s.failed(inItsWords("Missing required argument: Requires one of --vip-subnet-id, --vip-network-id or " +
			"--vip-port-id"))
	}
	return s.create(loadBalancers, c, &c.showOptions, up(c.Disable))
}

type balancerDelete struct {
	Loadbalancer string `arg:"" help:"Name or id of the load balancer."`
	Cascade      bool   `help:"Delete what belongs to it, too."`
	waitOption
}

// Run deletes a load balancer.
func (c *balancerDelete) Run(s *Session) error {
	query := ""
	if c.Cascade {
		query = "?cascade=True"
	}
	return s.failed(s.removeOne(loadBalancers, c.Loadbalancer, query))
}

func (s *Session) removeOne(k *kind, name, query string) error {
	o, err := s.find(k, name)
	if err != nil {
		return err
	}
	_, err = s.router.call(s.ctx, http.MethodDelete, k.path+"/"+o.text("id")+query, nil)
	return err
}

type balancerFailover struct {
	Loadbalancer string `arg:"" help:"Name or id of the load balancer."`
	waitOption
}

// Run asks for a failover.
func (c *balancerFailover) Run(s *Session) error {
	o, err := s.find(loadBalancers, c.Loadbalancer)
	if err != nil {
		return s.failed(err)
	}
	_, err = s.router.call(s.ctx, http.MethodPut, loadBalancers.path+"/"+o.text("id")+"/failover", nil)
	return s.failed(err)
}

type balancerList struct {
	Name               *string `api:"name" help:"Only those of this name."`
	Enable             bool    `xor:"state" api:"admin_state_up=true" help:"Only those that are enabled."`
	Disable            bool    `xor:"state" api:"admin_state_up=false" help:"Only those that are disabled."`
	Project            *string `api:"project_id" help:"Only those of this project (id)."`
	VIPNetworkID       *string `name:"vip-network-id" api:"vip_network_id,lbnetwork" placeholder:"<network>" help:"Only those on this network (name or id)."`
	VIPSubnetID        *string `name:"vip-subnet-id" api:"vip_subnet_id,lbsubnet" placeholder:"<subnet>" help:"Only those on this subnet (name or id)."`
	VIPPortID          *string `name:"vip-port-id" api:"vip_port_id,lbport" placeholder:"<port>" help:"Only the one of this port (name or id)."`
	ProvisioningStatus *string `api:"provisioning_status" help:"Only those of this status: ACTIVE, ERROR and others."`
	OperatingStatus    *string `api:"operating_status" help:"Only those of this status: ONLINE, OFFLINE and others."`
	Provider           *string `api:"provider" help:"Only those that this provides."`
	tagsList
	listOptions
}

// Run lists load balancers.
func (c *balancerList) Run(s *Session) error {
	return s.listAll(loadBalancers, c, &c.listOptions, false, nil)
}

type balancerSet struct {
	Loadbalancer string  `arg:"" help:"Name or id of the load balancer."`
	Name         *string `api:"name" help:"A new name."`
	Description  *string `api:"description" help:"A text for people."`
	Enable       bool    `xor:"state" api:"admin_state_up=true" help:"Serve."`
	Disable      bool    `xor:"state" api:"admin_state_up=false" help:"Serve nothing."`
	waitOption
	tagsSet
}

// Run changes a load balancer.
func (c *balancerSet) Run(s *Session) error { return s.change(loadBalancers, c.Loadbalancer, c, nil) }

type balancerShow struct {
	Loadbalancer string `arg:"" help:"Name or id of the load balancer."`
	showOptions
}

// Run shows a load balancer.
func (c *balancerShow) Run(s *Session) error {
	return s.show(loadBalancers, c.Loadbalancer, &c.showOptions)
}

type balancerUnset struct {
	Loadbalancer string `arg:"" help:"Name or id of the load balancer."`
	Name         bool   `api:"name=null" help:"Forget its name."`
	Description  bool   `api:"description=null" help:"Forget its description."`
	waitOption
	tagsUnset
}

// Run takes something from a load balancer.
func (c *balancerUnset) Run(s *Session) error { return s.change(loadBalancers, c.Loadbalancer, c, nil) }

type (
	balancerStats struct {
		Show balancerStatsShow `cmd:"" help:"Show what a load balancer has carried."`
	}
	balancerStatsShow struct {
		Loadbalancer string `arg:"" help:"Name or id of the load balancer."`
		showOptions
	}
	balancerStatus struct {
		Show balancerStatusShow `cmd:"" help:"Print the tree as JSON."`
	}
	balancerStatusShow struct {
		Loadbalancer string `arg:"" help:"Name or id of the load balancer."`
	}
)

// Run shows statistics.
func (c *balancerStatsShow) Run(s *Session) error {
	return s.failed(s.stats(loadBalancers, c.Loadbalancer, &c.showOptions))
}

func (s *Session) stats(k *kind, name string, out *showOptions) error {
	o, err := s.find(k, name)
	if err != nil {
		return err
	}
	v, err := s.router.call(s.ctx, http.MethodGet, k.path+"/"+o.text("id")+"/stats", nil)
	if err != nil {
		return err
	}
	if o, err = wrapped(v, "stats"); err != nil {
		return err
	}
	return printOne(s.out, &sheet{statistics, [][]cell{row(o, statistics)}}, out)
}

// Run prints the tree of statuses.
func (c *balancerStatusShow) Run(s *Session) error {
	o, err := s.find(loadBalancers, c.Loadbalancer)
	if err != nil {
		return s.failed(err)
	}
	v, err := s.router.call(s.ctx, http.MethodGet, loadBalancers.path+"/"+o.text("id")+"/status", nil)
	if err != nil {
		return s.failed(err)
	}
	if o, err = wrapped(v, "statuses"); err != nil {
		return s.failed(err)
	}
	const indent = 4
	_, err = fmt.Fprintln(s.out, jsonText(o, indent))
	return s.failed(err)
}

type (
	providerCommands struct {
		List providerList `cmd:"" help:"List providers."`
	}
	providerList struct{ listOptions }
)

// Run lists providers.
func (c *providerList) Run(s *Session) error {
	k := &kind{path: lbaas + "providers", singular: "provider", plural: "providers", list: columns("name description")}
	return s.listAll(k, c, &c.listOptions, false, nil)
}

// hash reads "key=value,key=value".
func hash(text string) (map[string]string, error) {
	all := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%s: want key=value,key=value", text)
		}
		all[key] = value
	}
	return all, nil
}
