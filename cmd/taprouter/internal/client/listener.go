package client

var listeners = &kind{path: lbaas + "listeners", singular: "listener", plural: "listeners",
	list: columns("id default_pool_id name project_id protocol protocol_port admin_state_up"),
	show: columns(`admin_state_up connection_limit created_at default_pool_id default_tls_container_ref description id
		insert_headers!hash l7policies!ids loadbalancers!ids name operating_status project_id protocol protocol_port
		provisioning_status sni_container_refs timeout_client_data timeout_member_connect timeout_member_data
		timeout_tcp_inspect updated_at client_ca_tls_container_ref client_authentication client_crl_container_ref
		allowed_cidrs!lines tls_ciphers tls_versions alpn_protocols tags!lines`)}

type listenerCommands struct {
	Create listenerCreate `cmd:"" help:"Make a listener."`
	Delete listenerDelete `cmd:"" help:"Delete a listener."`
	List   listenerList   `cmd:"" help:"List listeners."`
	Set    listenerSet    `cmd:"" help:"Change a listener."`
	Show   listenerShow   `cmd:"" help:"Show a listener."`
	Stats  listenerStats  `cmd:"" help:"What a listener has carried."`
	Unset  listenerUnset  `cmd:"" help:"Take something from a listener."`
}

// listenerOptions are those of create and set.
type listenerOptions struct {
	Name                 *string  `api:"name" help:"Name of the listener."`
	Description          *string  `api:"description" help:"A text for people."`
	ConnectionLimit      *string  `api:"connection_limit" help:"How many connections there may be at once; -1 is no limit."`
	DefaultPool          *string  `api:"default_pool_id,pool" help:"The pool that serves it (name or id)."`
	InsertHeaders        string   `placeholder:"<header=value,...>" help:"Headers to insert into requests."`
	TimeoutClientData    *int     `api:"timeout_client_data" help:"How long a client may be silent, in milliseconds."`
	TimeoutMemberConnect *int     `api:"timeout_member_connect" help:"How long connecting to a member may take, in milliseconds."`
	TimeoutMemberData    *int     `api:"timeout_member_data" help:"How long a member may be silent, in milliseconds."`
	TimeoutTCPInspect    *int     `name:"timeout-tcp-inspect" api:"timeout_tcp_inspect" help:"How long to wait for more to look at, in milliseconds."`
	AllowedCIDR          []string `name:"allowed-cidr" sep:"none" api:"allowed_cidrs" help:"Who may connect; repeat it for more."`
}

func (c *listenerOptions) headers(body map[string]any) error {
	if c.InsertHeaders == "" {
		return nil
	}
	h, err := hash(c.InsertHeaders)
	body["insert_headers"] = h
	return err
}

type listenerCreate struct {
	Loadbalancer string `arg:"" api:"loadbalancer_id,loadbalancer" help:"Its load balancer (name or id)."`
	Protocol     string `required:"" api:"protocol" help:"TCP, UDP, HTTP or HTTPS; the last two are carried as TCP."`
	ProtocolPort int    `required:"" api:"protocol_port" help:"Its port."`
	Enable       bool   `xor:"state" help:"Serve, as without this."`
	Disable      bool   `xor:"state" help:"Serve nothing yet."`
	listenerOptions
	waitOption
	tagsCreate
	showOptions
}

// Run makes a listener.
func (c *listenerCreate) Run(s *Session) error {
	return s.create(listeners, c, &c.showOptions, func(body map[string]any) error {
		body["admin_state_up"] = !c.Disable
		return c.headers(body)
	})
}

type listenerDelete struct {
	Listener string `arg:"" help:"Name or id of the listener."`
	waitOption
}

// Run deletes a listener.
func (c *listenerDelete) Run(s *Session) error {
	return s.failed(s.removeOne(listeners, c.Listener, ""))
}

type listenerList struct {
	Name         *string `api:"name" help:"Only those of this name."`
	Loadbalancer *string `api:"loadbalancer_id,loadbalancer" help:"Only those of this load balancer (name or id)."`
	Enable       bool    `xor:"state" api:"admin_state_up=true" help:"Only those that are enabled."`
	Disable      bool    `xor:"state" api:"admin_state_up=false" help:"Only those that are disabled."`
	Project      *string `api:"project_id" help:"Only those of this project (id)."`
	tagsList
	listOptions
}

// Run lists listeners.
func (c *listenerList) Run(s *Session) error {
	return s.listAll(listeners, c, &c.listOptions, false, nil)
}

type listenerSet struct {
	Listener string `arg:"" help:"Name or id of the listener."`
	Enable   bool   `xor:"state" api:"admin_state_up=true" help:"Serve."`
	Disable  bool   `xor:"state" api:"admin_state_up=false" help:"Serve nothing."`
	listenerOptions
	waitOption
	tagsSet
}

// Run changes a listener.
func (c *listenerSet) Run(s *Session) error {
	return s.change(listeners, c.Listener, c, func(_ *object, body map[string]any) error { return c.headers(body) })
}

type (
	listenerShow struct {
		Listener string `arg:"" help:"Name or id of the listener."`
		showOptions
	}
	listenerStats struct {
		Show listenerStatsShow `cmd:"" help:"Show what a listener has carried."`
	}
	listenerStatsShow listenerShow
)

// Run shows a listener.
func (c *listenerShow) Run(s *Session) error { return s.show(listeners, c.Listener, &c.showOptions) }

// Run shows statistics.
func (c *listenerStatsShow) Run(s *Session) error {
	return s.failed(s.stats(listeners, c.Listener, &c.showOptions))
}

type listenerUnset struct {
	Listener             string `arg:"" help:"Name or id of the listener."`
	Name                 bool   `api:"name=null" help:"Forget its name."`
	Description          bool   `api:"description=null" help:"Forget its description."`
	ConnectionLimit      bool   `api:"connection_limit=null" help:"Let there be any number of connections."`
	DefaultPool          bool   `api:"default_pool_id=null" help:"Let no pool serve it."`
	InsertHeaders        bool   `api:"insert_headers=null" help:"Insert no headers."`
	TimeoutClientData    bool   `api:"timeout_client_data=null" help:"The default time."`
	TimeoutMemberConnect bool   `api:"timeout_member_connect=null" help:"The default time."`
	TimeoutMemberData    bool   `api:"timeout_member_data=null" help:"The default time."`
	TimeoutTCPInspect    bool   `name:"timeout-tcp-inspect" api:"timeout_tcp_inspect=null" help:"The default time."`
	AllowedCIDRs         bool   `name:"allowed-cidrs" api:"allowed_cidrs=null" help:"Let everybody connect."`
	waitOption
	tagsUnset
}

// Run takes something from a listener.
func (c *listenerUnset) Run(s *Session) error { return s.change(listeners, c.Listener, c, nil) }
