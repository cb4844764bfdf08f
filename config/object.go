package config

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// An ID names an object: a UUID in lower case with dashes. It never changes, and no two objects of a
// State have the same one. An object of a file has the ID that NameID makes of its key (version 5, RFC 9562,
// 5.5), so that the same file gives the same IDs. An object of a program has the ID that NewID makes
// of 16 random bytes (version 4).
type ID string

// namespace is where NameID's names live. It is taprouter's own.
var namespace = uuid.MustParse("6c0a7b0e-57a4-5f0e-9c7e-7461700a0001")

// NameID makes the ID of an object from its kind and the parts of its key. Parts may hold any bytes: each
// is preceded by its length, so that two lists of parts never run into each other.
func NameID(k Kind, parts ...string) ID {
	name := []byte(k.String())
	for _, p := range parts {
		name = append(name, 0)
		name = appendLength(name, len(p))
		name = append(name, p...)
	}
	return ID(uuid.NewSHA1(namespace, name).String())
}

func appendLength(b []byte, n int) []byte {
	return append(b, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// NewID makes an ID of 16 random bytes.
func NewID(random [16]byte) ID {
	u := uuid.UUID(random)
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return ID(u.String())
}

// ParseID reads an ID as people write it: any UUID, in upper or lower case, with dashes.
func ParseID(s string) (ID, error) {
	u, err := uuid.Parse(s)
	if err != nil {
		return "", err
	}
	return ID(u.String()), nil
}

// A Kind is what an object is. The order of the kinds is the one in which changes are made: an object
// refers to objects of its own and of earlier kinds only, but for an address that an
// object shows, which is no reference.
type Kind uint8

// The kinds.
const (
	KindSettings Kind = iota
	KindPhysicalNetwork
	KindNetwork
	KindSubnet
	KindRouter
	KindAddressGroup
	KindSecurityGroup
	KindSecurityGroupRule
	KindPort
	KindFloatingIP
	KindPortForwarding
	KindPool
	KindMonitor
	KindMember
	KindLoadBalancer
	KindListener
	KindQuota
	NumKinds
)

var kindNames = [NumKinds]string{
	"settings", "physical network", "network", "subnet", "router", "address group", "security group",
	"security group rule", "port", "floating IP", "port forwarding", "pool", "monitor", "member", "load balancer",
	"listener", "quota",
}

// String returns the kind's name, as messages write it.
func (k Kind) String() string {
	if k < NumKinds {
		return kindNames[k]
	}
	return "unknown"
}

// A Ref refers to an object.
type Ref struct {
	Kind Kind
	ID   ID
}

// A Source is where an object, or one attribute of it, came from: a line of a file, or a request. The
// zero value says nothing.
type Source struct {
	File    string
	Line    int
	Request string
}

// Meta is what all objects have. Only ID is required.
type Meta struct {
	ID          ID
	Name        string // may be empty, and may be another object's name, too
	Description string
	Tags        []string
	Revision    int64 // 1 for a new object, and one more with every change; Draft.Check sets it
	Position    int64 // place among the objects of its kind, from 1; Draft.Put sets it if it is 0, and it stays
	Created     time.Time
	Updated     time.Time
	Source      Source
}

// An Object is one of the types below, by pointer. Once it has been given to a Draft it is never changed:
// State values share it. To change an object, change a copy and Put the copy.
type Object interface {
	Ref() Ref
	About() *Meta // of the object itself, not a copy
}

// Settings are the [nat], [nat.timeouts], [dns], [metadata] and [engine] tables. There is one such object.
type Settings struct {
	Meta
	NAT      NAT
	Engine   Engine
	DNS      DNS
	Metadata Metadata
}

// Values of Via: the way to servers that local services ask.
const (
	ViaRouter = "router" // out of the gateway of the asker's router, with the router's address
	ViaHost   = "host"   // by the sockets of the machine that the process is on
)

// DNS says where names are asked that no port has.
type DNS struct {
	Forward []netip.AddrPort // name servers, in the order in which they are asked; empty: such names are refused
	Via     string           // ViaRouter or ViaHost
}

// Metadata says where metadata comes from.
type Metadata struct {
	Forward string // the URL of a metadata service, such as Nova's, that requests are passed on to; empty: none is
	Secret  string // signs the IDs of instances for that service; empty: nothing is signed
	Via     string // ViaRouter or ViaHost
}

// Engine holds the settings of the process.
type Engine struct {
	Workers  int           // 0: by CPU count
	BusyPoll time.Duration // how long to look for frames before going to sleep
}

// NAT holds the translation's settings. In a Router a zero value (nil) means the value in Settings; there
// it means the default, which Draft.Put fills in.
type NAT struct {
	Mapping        string // endpoint-independent, address-dependent, address-and-port-dependent
	Filtering      string // the same words
	MaxConnections int    // entries of a router's connection table
	// above 0, at most 1: the most that one internal host may keep of the table and of an address's ports
	HostShare float64
	Lend      *bool  // a host may hold more for UDP, ICMP and unanswered TCP while no other host needs it
	PortMin   uint16 // external ports for sources from 1024 up
	PortMax   uint16
	NoSNAT    []netip.Prefix // destinations outside that see internal addresses; empty, yet not nil: none
	MSSClamp  *bool
	Timeouts  Timeouts
}

// Timeouts are how long idle state lives.
type Timeouts struct {
	UDP            time.Duration
	ICMP           time.Duration
	TCPEstablished time.Duration
	TCPTransitory  time.Duration
	TCPOpening     time.Duration
	TCPClosing     time.Duration
	Fragment       time.Duration
}

// DeviceKind is the part of a device before the colon.
type DeviceKind string

// The device kinds of the topology file.
const (
	DeviceTAP  DeviceKind = "tap"
	DeviceRaw  DeviceKind = "raw"
	DeviceUnix DeviceKind = "unix"
)

// A Device names one attachment of a network: tap:NAME, tap:NAME@NETNS, raw:NAME or unix:PATH.
type Device struct {
	Kind  DeviceKind
	Name  string // interface name, at most 15 bytes; empty for unix
	Netns string // tap only: named network namespace of the kernel's end
	Path  string // unix only

	// HostOpen is for the opener of a raw device: its network's Host is open. The engine sets it; a
	// State's devices do not have it.
	HostOpen bool
}

// A MAC is a 48-bit Ethernet address; the zero value means none.
type MAC [6]byte

// A PhysicalNetwork is a label for devices. One called default exists without being declared.
type PhysicalNetwork struct {
	Meta
	Devices []Device
}

// Values of a network's Host.
const (
	HostClosed = "closed" // the host's own stack hears nothing from the interface
	HostOpen   = "open"   // it does, as if the interface were not open
)

// Values of Network.GRO.
const (
	GROAuto = "auto" // segments that come in one by one are joined to super-frames, where receivers take these
	GROOff  = "off"  // frames go on as they came in, and the interfaces of raw devices stay as they are
)

// A Network is one Ethernet segment.
type Network struct {
	Meta
	AdminStateUp    bool
	External        bool // floating IPs and router gateways live here
	MTU             int  // IP MTU in bytes
	VLAN            int  // 802.1Q tag on its devices; 0: untagged
	Devices         []Device
	PhysicalNetwork ID     // whose devices it has, instead of Devices; empty: none
	Host            string // HostClosed or HostOpen: the host's own stack on interfaces of raw devices
	GRO             string // GROAuto or GROOff: whether segments from its devices are joined
	PortSecurity    bool   // drop frames whose source is none of the network's ports
	// broadcast, multicast and unknown unicast frames a second that each device may send; 0: any number, nil:
	// DefaultStormLimit
	StormLimit *int
	Extra      *NetworkExtra
}

// Storm is StormLimit with its default.
func (n *Network) Storm() int {
	if n.StormLimit == nil {
		return DefaultStormLimit
	}
	return *n.StormLimit
}

// A Subnet is one IP prefix on a network.
type Subnet struct {
	Meta
	Network ID
	CIDR    netip.Prefix
	// zero: none. Tenant network: the router's address; external network: the upstream next hop
	Gateway         netip.Addr
	AllocationPools []AddressRange
	DHCP            bool
	LeaseTime       time.Duration
	DNSNameservers  []netip.Addr
	HostRoutes      []Route
	Extra           *SubnetExtra
}

// An AddressRange is an inclusive range of addresses.
type AddressRange struct{ First, Last netip.Addr }

// A Route is one static route.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr
	Source      Source
}

// A Router is one virtual router with its own address space. Its interfaces are Ports.
type Router struct {
	Meta
	AdminStateUp bool
	Gateway      *Gateway // nil: no external gateway
	Routes       []Route
	RPFilter     string // off, loose or strict
	NAT          NAT    // a field that is not zero goes before the Settings
	Extra        *RouterExtra
}

// A Gateway joins a router to an external network. The Port with the owner OwnerGateway has its address.
type Gateway struct {
	Network ID
	SNAT    bool

	// SNATAddresses are what internal hosts show outside: each host one of them, always
	// the same (RFC 4787, REQ-2). Empty: the gateway's address.
	SNATAddresses []AddressRange
	Source        Source
}

// Owners of ports that the router has a meaning for, in Neutron's words. Any other owner is the
// user's affair.
const (
	OwnerInterface = "network:router_interface" // DeviceID is the router
	OwnerGateway   = "network:router_gateway"   // likewise
	OwnerDHCP      = "network:dhcp"
	OwnerCompute   = "compute:nova" // an instance of a lab; DeviceID is its ID
)

// A Port is an address pair on a network: an instance's, or the interface of a router. A router has one MAC
// address for each network, so all its ports there have the same.
type Port struct {
	Meta
	Network             ID
	AdminStateUp        bool
	MAC                 MAC // zero: any (never for a router's)
	FixedIPs            []FixedIP
	Device              string // the device the port is tied to, as Device.String writes it; empty: any
	DeviceID            string
	DeviceOwner         string
	PortSecurity        *bool // nil: its network's
	AllowedAddressPairs []AddressPair
	SecurityGroups      []ID
	Extra               *PortExtra
}

// A FixedIP is one address of a port. A Port that is given to a Draft with a FixedIP without address gets the next
// free one of the subnet; without a subnet the one that contains the address, or else the network's first.
type FixedIP struct {
	Subnet  ID
	Address netip.Addr
}

// An AddressPair is an IP prefix and a MAC that a port may also use.
type AddressPair struct {
	IP  netip.Prefix
	MAC MAC // zero: the port's
}

// A FloatingIP maps one external address to one fixed address. Without FixedIP and without
// forwarded ports it is reserved, but not owned by any router.
type FloatingIP struct {
	Meta
	Network ID
	Address netip.Addr // zero in a Draft: the next free one of the network's pools
	FixedIP netip.Addr // zero: not associated
	Router  ID         // empty in a Draft: the one that reaches FixedIP and the network
	Extra   *FloatingIPExtra
}

// A PortForwarding maps one port of a floating IP.
type PortForwarding struct {
	Meta
	FloatingIP   ID
	Protocol     Protocol
	ExternalPort uint16
	FixedIP      netip.Addr
	Port         uint16
}

// Protocol is TCP or UDP.
type Protocol string

// The protocols.
const (
	TCP Protocol = "TCP"
	UDP Protocol = "UDP"
)

// A Pool is a set of members that share connections.
type Pool struct {
	Meta
	AdminStateUp       bool
	Protocol           Protocol
	Algorithm          string // ROUND_ROBIN, LEAST_CONNECTIONS, SOURCE_IP, SOURCE_IP_PORT
	SessionPersistence *SessionPersistence
	OnMemberDown       string // keep, reset
	OnMemberRemoved    string // drain, reset
	LoadBalancer       ID     // whose pool it is, if a program made it for one; else empty
	Application        string // as in a Listener
}

// SessionPersistence keeps a client on its member.
type SessionPersistence struct {
	Type    string // SOURCE_IP
	Timeout time.Duration
}

// A Monitor decides whether the members of a pool are up. A pool has at most one.
type Monitor struct {
	Meta
	Pool           ID
	AdminStateUp   bool
	Type           string        // TCP, HTTP, HTTPS, TLS-HELLO, PING, UDP-CONNECT
	Delay          time.Duration // from check to check
	Timeout        time.Duration // of one check; at most Delay
	MaxRetries     int           // good checks until a member is up
	MaxRetriesDown int           // bad checks until it is down
	InitialState   string        // of a new member until its checks have decided: down, up
	HTTPMethod     string        // this and what follows: HTTP and HTTPS only
	URLPath        string
	ExpectedCodes  string // one status, a list with commas, or a range with a hyphen
	HTTPVersion    string // of requests: 1.0, 1.1; empty: 1.1
	DomainName     string // the host that requests name, and TLS; empty: the member's address
}

// A Member is one backend endpoint of a pool.
type Member struct {
	Meta
	Pool         ID
	Address      netip.Addr
	Port         uint16
	Weight       int  // 0: no new connections
	Backup       bool // used only when no other member is up
	Subnet       ID   // that a request has named for the address; nothing follows from it
	AdminStateUp bool

	MonitorAddress netip.Addr // that the pool's monitor checks; zero: Address
	MonitorPort    uint16     // that the pool's monitor checks; 0: Port
}

// Checked is the endpoint that the checks of a pool's monitor go to: the member's own where it names no other.
func (m *Member) Checked() netip.AddrPort {
	address, port := m.Address, m.Port
	if m.MonitorAddress.IsValid() {
		address = m.MonitorAddress
	}
	if m.MonitorPort != 0 {
		port = m.MonitorPort
	}
	return netip.AddrPortFrom(address, port)
}

// A LoadBalancer is an address with listeners.
type LoadBalancer struct {
	Meta
	Network      ID
	Address      netip.Addr // zero in a Draft: the next free one of the network's first subnet
	Router       ID         // empty in a Draft: the one that has an interface on the network. Empty for good: none has
	AdminStateUp bool
	Port         ID // that a user has made for the address, and that stays without the load balancer; empty: none

	SecurityGroups []ID // of the address's port, if that is not Port
}

// A Listener is one port of a load balancer, a [[vip]] of the file.
type Listener struct {
	Meta
	LoadBalancer    ID
	Protocol        Protocol
	Port            uint16
	Pool            ID            // empty: no member serves the listener
	ConnectionLimit int           // 0: none
	IdleTimeout     time.Duration // 0: as the connection table has it
	AllowedCIDRs    []netip.Prefix
	AdminStateUp    bool
	// HTTP or HTTPS: what a program has said that TCP carries. It is served as TCP; empty: not said
	Application string
	Extra       *ListenerExtra
}

// SettingsID is the ID of the one Settings object.
var SettingsID = NameID(KindSettings)

// About returns the object's Meta.
func (m *Meta) About() *Meta { return m }

// Ref refers to the object.
func (o *Settings) Ref() Ref { return Ref{KindSettings, o.ID} }

// Ref refers to the object.
func (o *PhysicalNetwork) Ref() Ref { return Ref{KindPhysicalNetwork, o.ID} }

// Ref refers to the object.
func (o *Network) Ref() Ref { return Ref{KindNetwork, o.ID} }

// Ref refers to the object.
func (o *Subnet) Ref() Ref { return Ref{KindSubnet, o.ID} }

// Ref refers to the object.
func (o *Router) Ref() Ref { return Ref{KindRouter, o.ID} }

// Ref refers to the object.
func (o *Port) Ref() Ref { return Ref{KindPort, o.ID} }

// Ref refers to the object.
func (o *FloatingIP) Ref() Ref { return Ref{KindFloatingIP, o.ID} }

// Ref refers to the object.
func (o *PortForwarding) Ref() Ref { return Ref{KindPortForwarding, o.ID} }

// Ref refers to the object.
func (o *Pool) Ref() Ref { return Ref{KindPool, o.ID} }

// Ref refers to the object.
func (o *Monitor) Ref() Ref { return Ref{KindMonitor, o.ID} }

// Ref refers to the object.
func (o *Member) Ref() Ref { return Ref{KindMember, o.ID} }

// Ref refers to the object.
func (o *LoadBalancer) Ref() Ref { return Ref{KindLoadBalancer, o.ID} }

// Ref refers to the object.
func (o *Listener) Ref() Ref { return Ref{KindListener, o.ID} }
