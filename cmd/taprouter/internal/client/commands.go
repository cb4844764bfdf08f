package client

// Commands are the commands that speak to a running router, for the command line to embed.
type Commands struct {
	OwnCommands

	Network      networkCommands      `cmd:"" group:"Networks of a running router:" help:"Networks, and the agents that OpenStack's client asks for."`
	Subnet       subnetCommands       `cmd:"" group:"Networks of a running router:" help:"Subnets of networks."`
	Port         portCommands         `cmd:"" group:"Networks of a running router:" help:"Ports: addresses on a network."`
	Router       routerCommands       `cmd:"" group:"Networks of a running router:" help:"Routers, their interfaces, gateways and routes."`
	Floating     floatingCommands     `cmd:"" group:"Networks of a running router:" help:"Floating IPs and their port forwardings: floating ip ..."`
	Loadbalancer balancerCommands     `cmd:"" group:"Networks of a running router:" help:"Load balancers, listeners, pools, members, health monitors."`
	Security     securityCommands     `cmd:"" group:"Networks of a running router:" help:"Security groups and rules: security group ..."`
	Address      addressCommands      `cmd:"" group:"Networks of a running router:" help:"Address groups: address group ..."`
	Quota        quotaCommands        `cmd:"" group:"Networks of a running router:" help:"How many objects there may be."`
	Extension    extensionCommands    `cmd:"" group:"Networks of a running router:" help:"What the API can do."`
	Availability availabilityCommands `cmd:"" group:"Networks of a running router:" help:"Availability zones: availability zone list."`
	IP           ipCommands           `cmd:"" name:"ip" group:"Networks of a running router:" help:"Addresses in use: ip availability ..."`
}

// kinds are the resources, by the names that tags use.
var kinds = map[string]*kind{
	"network": networks, "subnet": subnets, "port": ports, "router": routers, "floatingip": floatingIPs,
	"group": securityGroups, "addressgroup": addressGroups,
	"loadbalancer": loadBalancers, "listener": listeners, "pool": pools,
	"lbsubnet": lbSubnets, "lbnetwork": lbNetworks, "lbport": lbPorts,
}
