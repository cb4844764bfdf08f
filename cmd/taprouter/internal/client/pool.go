package client

var pools = &kind{path: lbaas + "pools", singular: "pool", plural: "pools",
	list: columns("id name project_id provisioning_status protocol lb_algorithm admin_state_up"),
	show: columns(`admin_state_up created_at description healthmonitor_id id lb_algorithm listeners!ids
		loadbalancers!ids members!ids name operating_status project_id protocol provisioning_status
		session_persistence!hash updated_at tls_container_ref ca_tls_container_ref crl_container_ref tls_enabled
		tls_ciphers tls_versions tags!lines alpn_protocols`)}

type poolCommands struct {
	Create poolCreate `cmd:"" help:"Make a pool."`
	Delete poolDelete `cmd:"" help:"Delete a pool."`
	List   poolList   `cmd:"" help:"List pools."`
	Set    poolSet    `cmd:"" help:"Change a pool."`
	Show   poolShow   `cmd:"" help:"Show a pool."`
	Unset  poolUnset  `cmd:"" help:"Take something from a pool."`
}

// poolOptions are those of create and set.
type poolOptions struct {
	Name               *string `api:"name" help:"Name of the pool."`
	Description        *string `api:"description" help:"A text for people."`
	SessionPersistence string  `placeholder:"<type=SOURCE_IP,...>" help:"Lead a client to the same member each time."`
}

func (c *poolOptions) persistence(body map[string]any) error {
	if c.SessionPersistence == "" {
		return nil
	}
	h, err := hash(c.SessionPersistence)
	body["session_persistence"] = h
	return err
}

type poolCreate struct {
	Protocol     string  `required:"" api:"protocol" help:"TCP, UDP, HTTP, HTTPS or PROXY."`
	Listener     *string `xor:"of" required:"" api:"listener_id,listener" help:"The listener that it serves (name or id)."`
	Loadbalancer *string `xor:"of" required:"" api:"loadbalancer_id,loadbalancer" help:"The load balancer that it belongs to (name or id)."`
	LbAlgorithm  string  `required:"" api:"lb_algorithm" help:"ROUND_ROBIN, LEAST_CONNECTIONS, SOURCE_IP or SOURCE_IP_PORT."`
	Enable       bool    `xor:"state" help:"Serve, as without this."`
	Disable      bool    `xor:"state" help:"Serve nothing yet."`
	poolOptions
	waitOption
	tagsCreate
	showOptions
}

// Run makes a pool.
func (c *poolCreate) Run(s *Session) error {
	return s.create(pools, c, &c.showOptions, func(body map[string]any) error {
		body["admin_state_up"] = !c.Disable
		return c.persistence(body)
	})
}

type poolDelete struct {
	Pool string `arg:"" help:"Name or id of the pool."`
	waitOption
}

// Run deletes a pool.
func (c *poolDelete) Run(s *Session) error { return s.failed(s.removeOne(pools, c.Pool, "")) }

type poolList struct {
	Loadbalancer *string `api:"loadbalancer_id,loadbalancer" help:"Only those of this load balancer (name or id)."`
	tagsList
	listOptions
}

// Run lists pools.
func (c *poolList) Run(s *Session) error { return s.listAll(pools, c, &c.listOptions, false, nil) }

type poolSet struct {
	Pool        string  `arg:"" help:"Name or id of the pool."`
	LbAlgorithm *string `api:"lb_algorithm" help:"ROUND_ROBIN, LEAST_CONNECTIONS, SOURCE_IP or SOURCE_IP_PORT."`
	Enable      bool    `xor:"state" api:"admin_state_up=true" help:"Serve."`
	Disable     bool    `xor:"state" api:"admin_state_up=false" help:"Serve nothing."`
	poolOptions
	waitOption
	tagsSet
}

// Run changes a pool.
func (c *poolSet) Run(s *Session) error {
	return s.change(pools, c.Pool, c, func(_ *object, body map[string]any) error { return c.persistence(body) })
}

type poolShow struct {
	Pool string `arg:"" help:"Name or id of the pool."`
	showOptions
}

// Run shows a pool.
func (c *poolShow) Run(s *Session) error { return s.show(pools, c.Pool, &c.showOptions) }

type poolUnset struct {
	Pool               string `arg:"" help:"Name or id of the pool."`
	Name               bool   `api:"name=null" help:"Forget its name."`
	Description        bool   `api:"description=null" help:"Forget its description."`
	SessionPersistence bool   `api:"session_persistence=null" help:"Lead clients to any member."`
	waitOption
	tagsUnset
}

// Run takes something from a pool.
func (c *poolUnset) Run(s *Session) error { return s.change(pools, c.Pool, c, nil) }

var members = &kind{singular: "member", plural: "members",
	list: columns("id name project_id provisioning_status address protocol_port operating_status weight"),
	show: columns(`address admin_state_up created_at id name operating_status project_id protocol_port
		provisioning_status subnet_id updated_at weight monitor_port monitor_address backup tags!lines`)}

// membersOf is the members of a pool.
func (s *Session) membersOf(pool string) (*kind, error) {
	o, err := s.find(pools, pool)
	if err != nil {
		return nil, s.failed(err)
	}
	k := *members
	k.path = pools.path + "/" + o.text("id") + "/members"
	return &k, nil
}

type memberCommands struct {
	Create memberCreate `cmd:"" help:"Add a member to a pool."`
	Delete memberDelete `cmd:"" help:"Take a member out of a pool."`
	List   memberList   `cmd:"" help:"List a pool's members."`
	Set    memberSet    `cmd:"" help:"Change a member."`
	Show   memberShow   `cmd:"" help:"Show a member."`
	Unset  memberUnset  `cmd:"" help:"Take something from a member."`
}

// memberOptions are those of create and set.
type memberOptions struct {
	Name           *string `api:"name" help:"Name of the member."`
	DisableBackup  bool    `xor:"backup" api:"backup=false" help:"Serve always, as without this."`
	EnableBackup   bool    `xor:"backup" api:"backup=true" help:"Serve only while no other member does."`
	Weight         *int    `api:"weight" help:"Its share of connections, from 0 to 256."`
	MonitorPort    *int    `api:"monitor_port" help:"The port that is checked."`
	MonitorAddress *string `api:"monitor_address" placeholder:"<ip>" help:"The address that is checked."`
}

type memberCreate struct {
	Pool         string  `arg:"" help:"Name or id of the pool."`
	Address      string  `required:"" api:"address" placeholder:"<ip>" help:"Its address."`
	ProtocolPort int     `required:"" api:"protocol_port" help:"Its port."`
	SubnetID     *string `name:"subnet-id" api:"subnet_id,lbsubnet" placeholder:"<subnet>" help:"Its subnet (name or id)."`
	Enable       bool    `xor:"state" api:"admin_state_up=true" help:"Serve, as without this."`
	Disable      bool    `xor:"state" api:"admin_state_up=false" help:"Serve nothing yet."`
	memberOptions
	waitOption
	tagsCreate
	showOptions
}

// Run adds a member.
func (c *memberCreate) Run(s *Session) error {
	k, err := s.membersOf(c.Pool)
	if err != nil {
		return err
	}
	return s.create(k, c, &c.showOptions, nil)
}

type memberDelete struct {
	Pool   string `arg:"" help:"Name or id of the pool."`
	Member string `arg:"" help:"Name or id of the member."`
	waitOption
}

// Run takes a member out of a pool.
func (c *memberDelete) Run(s *Session) error {
	k, err := s.membersOf(c.Pool)
	if err != nil {
		return err
	}
	return s.failed(s.removeOne(k, c.Member, ""))
}

type memberList struct {
	Pool string `arg:"" help:"Name or id of the pool."`
	tagsList
	listOptions
}

// Run lists members.
func (c *memberList) Run(s *Session) error {
	k, err := s.membersOf(c.Pool)
	if err != nil {
		return err
	}
	return s.listAll(k, c, &c.listOptions, false, nil)
}

type memberSet struct {
	Pool    string `arg:"" help:"Name or id of the pool."`
	Member  string `arg:"" help:"Name or id of the member."`
	Enable  bool   `xor:"state" api:"admin_state_up=true" help:"Serve."`
	Disable bool   `xor:"state" api:"admin_state_up=false" help:"Serve nothing."`
	memberOptions
	waitOption
	tagsSet
}

// Run changes a member.
func (c *memberSet) Run(s *Session) error {
	k, err := s.membersOf(c.Pool)
	if err != nil {
		return err
	}
	return s.change(k, c.Member, c, nil)
}

type memberShow struct {
	Pool   string `arg:"" help:"Name or id of the pool."`
	Member string `arg:"" help:"Name or id of the member."`
	showOptions
}

// Run shows a member.
func (c *memberShow) Run(s *Session) error {
	k, err := s.membersOf(c.Pool)
	if err != nil {
		return err
	}
	return s.show(k, c.Member, &c.showOptions)
}

type memberUnset struct {
	Pool           string `arg:"" help:"Name or id of the pool."`
	Member         string `arg:"" help:"Name or id of the member."`
	Backup         bool   `api:"backup=null" help:"Serve always."`
	MonitorAddress bool   `api:"monitor_address=null" help:"Check its own address."`
	MonitorPort    bool   `api:"monitor_port=null" help:"Check its own port."`
	Name           bool   `api:"name=null" help:"Forget its name."`
	Weight         bool   `api:"weight=null" help:"The weight 1."`
	waitOption
	tagsUnset
}

// Run takes something from a member.
func (c *memberUnset) Run(s *Session) error {
	k, err := s.membersOf(c.Pool)
	if err != nil {
		return err
	}
	return s.change(k, c.Member, c, nil)
}

var monitors = &kind{path: lbaas + "healthmonitors", singular: "healthmonitor", plural: "healthmonitors",
	list: columns("id name project_id type admin_state_up"),
	show: columns(`project_id name admin_state_up pools!ids created_at provisioning_status updated_at delay
		expected_codes max_retries http_method timeout max_retries_down url_path type id operating_status http_version
		domain_name tags!lines`)}

type monitorCommands struct {
	Create monitorCreate `cmd:"" help:"Make a health monitor."`
	Delete monitorDelete `cmd:"" help:"Delete a health monitor."`
	List   monitorList   `cmd:"" help:"List health monitors."`
	Set    monitorSet    `cmd:"" help:"Change a health monitor."`
	Show   monitorShow   `cmd:"" help:"Show a health monitor."`
	Unset  monitorUnset  `cmd:"" help:"Take something from a health monitor."`
}

// monitorOptions are those of create and set.
type monitorOptions struct {
	Name           *string  `api:"name" help:"Name of the health monitor."`
	DomainName     *string  `api:"domain_name" help:"The host that HTTP requests name."`
	ExpectedCodes  *string  `api:"expected_codes" help:"The HTTP statuses that are well, such as 200 or 200-204."`
	HTTPMethod     *string  `name:"http-method" api:"http_method" help:"The HTTP method: GET, HEAD and others."`
	HTTPVersion    *float64 `name:"http-version" api:"http_version" help:"The HTTP version: 1.0 or 1.1."`
	URLPath        *string  `name:"url-path" api:"url_path" help:"The path that HTTP requests ask for."`
	MaxRetriesDown *int     `api:"max_retries_down" help:"After so many failed checks a member is down."`
}

type monitorCreate struct {
	Pool       string `arg:"" api:"pool_id,pool" help:"Its pool (name or id)."`
	Type       string `required:"" api:"type" help:"HTTP, TCP, PING, HTTPS, TLS-HELLO or UDP-CONNECT."`
	Delay      int    `required:"" api:"delay" help:"Seconds from one check to the next."`
	Timeout    int    `required:"" api:"timeout" help:"Seconds that a check may take."`
	MaxRetries int    `required:"" api:"max_retries" help:"After so many good checks a member is up."`
	Enable     bool   `xor:"state" help:"Check, as without this."`
	Disable    bool   `xor:"state" help:"Check nothing yet."`
	monitorOptions
	waitOption
	tagsCreate
	showOptions
}

// Run makes a health monitor.
func (c *monitorCreate) Run(s *Session) error {
	return s.create(monitors, c, &c.showOptions, up(c.Disable))
}

type monitorDelete struct {
	HealthMonitor string `arg:"" help:"Name or id of the health monitor."`
	waitOption
}

// Run deletes a health monitor.
func (c *monitorDelete) Run(s *Session) error {
	return s.failed(s.removeOne(monitors, c.HealthMonitor, ""))
}

type monitorList struct {
	tagsList
	listOptions
}

// Run lists health monitors.
func (c *monitorList) Run(s *Session) error {
	return s.listAll(monitors, c, &c.listOptions, false, nil)
}

type monitorSet struct {
	HealthMonitor string `arg:"" help:"Name or id of the health monitor."`
	Delay         *int   `api:"delay" help:"Seconds from one check to the next."`
	Timeout       *int   `api:"timeout" help:"Seconds that a check may take."`
	MaxRetries    *int   `api:"max_retries" help:"After so many good checks a member is up."`
	Enable        bool   `xor:"state" api:"admin_state_up=true" help:"Check."`
	Disable       bool   `xor:"state" api:"admin_state_up=false" help:"Check nothing."`
	monitorOptions
	waitOption
	tagsSet
}

// Run changes a health monitor.
func (c *monitorSet) Run(s *Session) error { return s.change(monitors, c.HealthMonitor, c, nil) }

type monitorShow struct {
	HealthMonitor string `arg:"" help:"Name or id of the health monitor."`
	showOptions
}

// Run shows a health monitor.
func (c *monitorShow) Run(s *Session) error { return s.show(monitors, c.HealthMonitor, &c.showOptions) }

type monitorUnset struct {
	HealthMonitor  string `arg:"" help:"Name or id of the health monitor."`
	DomainName     bool   `api:"domain_name=null" help:"Name no host."`
	ExpectedCodes  bool   `api:"expected_codes=null" help:"The status 200."`
	HTTPMethod     bool   `name:"http-method" api:"http_method=null" help:"The method GET."`
	HTTPVersion    bool   `name:"http-version" api:"http_version=null" help:"The default version."`
	MaxRetriesDown bool   `api:"max_retries_down=null" help:"Three checks."`
	Name           bool   `api:"name=null" help:"Forget its name."`
	URLPath        bool   `name:"url-path" api:"url_path=null" help:"The path /."`
	waitOption
	tagsUnset
}

// Run takes something from a health monitor.
func (c *monitorUnset) Run(s *Session) error { return s.change(monitors, c.HealthMonitor, c, nil) }
