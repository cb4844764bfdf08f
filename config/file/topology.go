package file

import (
	"net/netip"
	"time"

	"github.com/taprouter/taprouter/config"
)

// A Topology is everything one process serves. Parse fills it from a file; a
// harness may fill one in by hand and call Validate. After either, every
// default is resolved: gateways, pools, MTUs, floating addresses, the router of
// each floating IP and VIP.
//
// A Topology is plain data: nothing in it is shared with the package, and it is
// safe for concurrent use as long as no goroutine changes it. The Line fields are lines
// of the file; they are 0 in a table made by hand. An ID field holds the table's key id. Without that key, the field is
// empty until validation makes an ID of the table's name.
type Topology struct {
	File string // name given to Parse, used in messages; may be empty

	Networks         []Network
	PhysicalNetworks []PhysicalNetwork
	Routers          []Router
	AddressGroups    []AddressGroup
	SecurityGroups   []SecurityGroup
	Ports            []Port
	FloatingIPs      []FloatingIP
	Pools            []Pool
	LoadBalancers    []LoadBalancer
	VIPs             []VIP
	Quota            Quota
	NAT              NAT
	DNS              DNS
	Metadata         Metadata
	Engine           Engine

	// Labs only; run ignores them.
	Instances []Instance
	Steps     []Step

	// Warnings has faults that are allowed but unwise, sorted by line. Parse and Validate
	// set it; warnings that it had before are lost.
	Warnings []Fault

	lines lineIndex // of the file; nil for a topology made by hand
}

// Types that are the same in a State.
type (
	DeviceKind   = config.DeviceKind
	Device       = config.Device
	MAC          = config.MAC
	AddressRange = config.AddressRange
	AddressPair  = config.AddressPair
	Protocol     = config.Protocol
	Timeouts     = config.Timeouts
	DHCPOption   = config.DHCPOption
)

// The words of these types.
const (
	DeviceTAP  = config.DeviceTAP
	DeviceRaw  = config.DeviceRaw
	DeviceUnix = config.DeviceUnix

	HostClosed = config.HostClosed
	HostOpen   = config.HostOpen

	TCP           = config.TCP
	UDP           = config.UDP
	ICMP Protocol = "ICMP" // in a step's packet patterns only
)

// About is what the API shows of any object beside its name.
type About struct {
	Description string
	Tags        []string
}

// A Network is one Ethernet segment.
type Network struct {
	Line            int // line in the file, 0 when made by hand
	ID              config.ID
	Name            string
	Devices         []Device // after validation, the devices of PhysicalNetwork if that is set
	VLAN            int      // 0: untagged
	MTU             int      // IP MTU in bytes, 1500 by default
	External        bool     // floating IPs and router gateways live here
	PhysicalNetwork string   // instead of Devices; empty: none
	Host            string   // HostClosed, by default, or HostOpen: the host's own stack on interfaces of raw devices
	GRO             string   // GROAuto, by default, or GROOff: whether segments are joined
	PortSecurity    bool     // drop frames whose source is none of the network's ports
	StormLimit      *int     // as config.Network
	AdminStateDown  bool     // out of use; so in other tables
	Subnets         []Subnet
	Extra           config.NetworkExtra
	About

	filled bool // Devices were taken from PhysicalNetwork
}

// A PhysicalNetwork is a label for devices. One called default exists without
// being declared.
type PhysicalNetwork struct {
	Line    int
	ID      config.ID
	Name    string
	Devices []Device
	About
}

// A Subnet is one IP prefix on a network. After validation Gateway,
// AllocationPools and LeaseTime are set: the first host, the whole prefix less
// the gateway, and a day.
type Subnet struct {
	Line int
	ID   config.ID
	Name string // may be empty
	CIDR netip.Prefix
	// zero: none. Tenant network: the router's address; external network: the upstream next hop
	Gateway         netip.Addr
	NoGateway       bool           // set by hand with a zero Gateway: "none" instead of the first host address
	AllocationPools []AddressRange // none only where the gateway is the one address there is, or with Extra.NoPools
	DHCP            bool
	LeaseTime       time.Duration
	DNSNameservers  []netip.Addr
	HostRoutes      []Route
	Extra           config.SubnetExtra
	About
}

// A Route is one static route.
type Route struct {
	Line        int
	Destination netip.Prefix
	NextHop     netip.Addr
}

// A Router is one virtual router with its own address space: no two networks
// that it joins overlap. Networks of different routers may.
type Router struct {
	Line       int
	ID         config.ID
	Name       string
	Interfaces []RouterInterface
	Gateway    *RouterGateway // nil: no external gateway
	Routes     []Route
	RPFilter   string // off, loose or strict
	NAT        *NAT   // nil: a copy of Topology.NAT; a zero field is as in Topology.NAT

	AdminStateDown bool
	Extra          config.RouterExtra
	About
}

// A RouterInterface joins a router to a tenant network. After validation
// Addresses holds one address with its subnet's prefix length for each subnet it serves there.
type RouterInterface struct {
	Line      int
	ID        config.ID // as given, else empty: an interface has an ID for each address
	Network   string
	Address   netip.Addr // as given; zero: each subnet's gateway
	MAC       MAC        // zero: chosen. A router has one on each network
	Addresses []netip.Prefix
}

// A RouterGateway joins a router to an external network.
type RouterGateway struct {
	Line    int
	ID      config.ID
	Network string
	Address netip.Addr   // after validation always set
	Prefix  netip.Prefix // Address with its subnet's prefix length; set by validation
	NextHop netip.Addr   // the subnet's gateway, zero when it has none; set by validation
	MAC     MAC          // zero: chosen
	SNAT    bool         // the file's default is true

	// SNATAddresses are what internal hosts show outside: each host one of them, always
	// the same (RFC 4787, REQ-2). Empty: Address.
	SNATAddresses []AddressRange
}

// A Port is an instance's static address pair. An [Instance] of the same name on
// the same network is what has it.
type Port struct {
	Line                int
	ID                  config.ID
	Name                string
	Network             string
	FixedIP             netip.Addr
	MAC                 MAC    // zero: any
	Device              string // the device the port is tied to, as Device.String writes it; empty: any
	AllowedAddressPairs []AddressPair

	// FixedIPs are instead of FixedIP. Empty, yet not nil: the port has no address.
	FixedIPs []netip.Addr

	// DeviceID and DeviceOwner are Neutron's. With the owner config.OwnerInterface or config.OwnerGateway, the port is
	// a router's, and DeviceID is the router's ID. Such a port takes the place of the table's own in Router.
	DeviceID, DeviceOwner string

	// SecurityGroups are the names or IDs of the groups that the port is in. Nil: none was said. Empty, yet not nil:
	// none.
	SecurityGroups []string

	PortSecurity   *bool // nil: its network's
	AdminStateDown bool
	Extra          config.PortExtra // a file's user_data_file is in UserData
	About
}

// A FloatingIP maps one external address to one fixed address, or some of its
// ports to ports of fixed addresses; it never has both FixedIP and PortForwarding.
type FloatingIP struct {
	Line           int
	ID             config.ID
	Name           string // may be empty
	Network        string
	Address        netip.Addr // after validation always set
	FixedIP        netip.Addr // zero: allocated, not associated
	Router         string     // after validation set when FixedIP or PortForwarding is
	PortForwarding []PortForward
	Extra          config.FloatingIPExtra
	About
}

// A PortForward maps one port of a floating IP.
type PortForward struct {
	Line         int
	ID           config.ID
	Protocol     Protocol
	ExternalPort uint16
	FixedIP      netip.Addr
	Port         uint16
	Name         string // may be empty
	About
}

// A Pool is a set of members that share connections.
type Pool struct {
	Line               int
	ID                 config.ID
	Name               string
	Protocol           Protocol
	Application        string // as in a VIP
	Algorithm          string // ROUND_ROBIN, LEAST_CONNECTIONS, SOURCE_IP, SOURCE_IP_PORT
	SessionPersistence *SessionPersistence
	Monitor            *Monitor
	OnMemberDown       string // keep, reset
	OnMemberRemoved    string // drain, reset
	Members            []Member
	LoadBalancer       string // whose pool it is alone; empty: any listener may use it
	AdminStateDown     bool
	About
}

// SessionPersistence keeps a client on its member.
type SessionPersistence struct {
	Line    int
	Type    string        // SOURCE_IP
	Timeout time.Duration // since the last connection; 10 minutes by default
}

// A Monitor decides whether a member is up.
//
// HTTPS verifies nothing, and offers all that crypto/tls has, from TLS 1.0 on. Some weak
// certificates and signatures only a main package can allow, by //go:debug lines. cmd/taprouter has
// these lines. An embedding program has to write them in its own main package, a test in one of its
// test files: x509negativeserial=1 (certificates with a negative serial number), tlssha1=1 (members
// that sign with SHA-1), rsa1024min=0 and tlsmaxrsasize=16384 (RSA keys below 1024 and above 8192
// bits). Members that have neither ECDHE nor RSA key exchange (DHE, SSL 3) cannot be checked by
// HTTPS; use the type TCP for them.
type Monitor struct {
	Line           int
	ID             config.ID
	Type           string        // TCP, HTTP, HTTPS, TLS-HELLO, PING, UDP-CONNECT
	Delay          time.Duration // from check to check
	Timeout        time.Duration // of one check; at most Delay
	MaxRetries     int           // good checks until a member is up
	MaxRetriesDown int           // bad checks until it is down
	InitialState   string        // of a new member until its checks have decided: down, up
	HTTPMethod     string        // this and what follows: HTTP and HTTPS only
	URLPath        string
	ExpectedCodes  string // one status, a list with commas, or a range with a hyphen
	HTTPVersion    string // 1.0, 1.1; empty: 1.1
	DomainName     string // the host that requests name; empty: the member's address
	Name           string // may be empty
	AdminStateDown bool
	About
}

// A Member is one backend endpoint of a pool. Its address must not belong to the router that
// balances: to an interface, a floating IP or a VIP of it. Another router's address is allowed.
type Member struct {
	Line         int
	ID           config.ID
	Name         string // after validation ADDRESS:PORT if it has none
	NoName       bool   // set with an empty Name: none instead of ADDRESS:PORT
	Address      netip.Addr
	Port         uint16
	Weight       int       // 0: no new connections; the file's default is 1
	Backup       bool      // used only when no other member is up
	AdminStateUp bool      // the file's default is true
	Subnet       config.ID // that the API was told of; nothing follows from it

	MonitorAddress netip.Addr // that the checks go to; zero: Address
	MonitorPort    uint16     // that the checks go to; 0: Port
	About
}

// A LoadBalancer is an address that VIPs may share. A VIP that names none makes one of its network and address.
type LoadBalancer struct {
	Line           int
	ID             config.ID
	Name           string
	Network        string
	Address        netip.Addr // after validation always set
	Router         string     // after validation set if a router is on the network
	Port           string     // the name or ID of a Port whose address it is; empty: it has one of its own
	SecurityGroups []string   // of its own port: names or IDs
	AdminStateDown bool
	About
}

// A VIP is a load balancer address and port.
type VIP struct {
	Line            int
	ID              config.ID
	Name            string
	Network         string
	Address         netip.Addr
	Protocol        Protocol
	Application     string // HTTP or HTTPS: what TCP carries. It is served as TCP; empty: not said
	Port            uint16
	Pool            string
	ConnectionLimit int            // 0: none
	IdleTimeout     time.Duration  // 0: as the connection table has it
	AllowedCIDRs    []netip.Prefix // empty: any client
	Router          string         // after validation always set
	LoadBalancer    string         // instead of Network, Address and Router, which validation sets
	AdminStateDown  bool
	Extra           config.ListenerExtra
	About
}

// NAT holds the translation's settings. Zero values are replaced by defaults in
// validation.
type NAT struct {
	Line           int
	Mapping        string // endpoint-independent, address-dependent, address-and-port-dependent
	Filtering      string // the same words
	MaxConnections int
	// above 0, at most 1: the most that one internal host may keep of the table and of an address's ports
	HostShare float64
	Lend      *bool  // a host may hold more for UDP, ICMP and unanswered TCP while no other needs it; nil: the default
	PortMin   uint16 // external ports for sources from 1024 up
	PortMax   uint16
	NoSNAT    []netip.Prefix // destinations outside that see internal addresses; may be empty
	MSSClamp  bool
	Timeouts  Timeouts
}

// DNS says where names are asked that no port has.
type DNS struct {
	Line int
	config.DNS
}

// Metadata says where metadata comes from.
type Metadata struct {
	Line int
	config.Metadata
}

// Engine holds the settings of the process.
type Engine struct {
	Line     int
	Workers  int           // 0: by CPU count
	BusyPoll time.Duration // how long to look for frames before going to sleep
}

// An Instance is a host of a lab.
type Instance struct {
	Line    int
	ID      config.ID
	Name    string
	Network string
	Address netip.Addr   // after validation always set
	Prefix  netip.Prefix // Address with its subnet's prefix length; set by validation
	MAC     MAC          // zero: its port's, or else chosen by the lab; with DHCP set by validation
	Gateway netip.Addr   // after validation set, unless the subnet has none or it is the instance itself
	Device  string       // of the network, that it is behind; empty: its port's, or else it has a port of its own
	DHCP    bool         // it is told Address and the rest by DHCP
	Serve   []Service
}

// A Service is one entry of an instance's serve list.
type Service struct {
	Kind string // http or echo
	Port uint16
}

// A Step is one step of a lesson.
type Step struct {
	Line    int
	Title   string
	Explain string
	On      string
	Do      string
	Times   int           // the file's default is 1
	Within  time.Duration // the file's default is 5s
	Expect  []string      // empty, one for all times, or one for each
	Fails   bool
	Sees    []PacketPattern
	Never   []PacketPattern
}

// A PacketPattern describes packets seen on a network, or on a device; zero fields match all, except VLAN.
type PacketPattern struct {
	Line     int
	Network  string
	Device   string // instead of Network: what crosses it, with its tags
	VLAN     int    // of the tag on Device; 0: packets without a tag
	Src      netip.Addr
	Dst      netip.Addr
	Protocol Protocol
	SrcPort  uint16
	DstPort  uint16
}
