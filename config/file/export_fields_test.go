package file_test

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
)

// notExported are the fields of objects that a topology file does not have, with the reasons. A star stands for all
// kinds. All other fields are held against the export; see leaves.complete.
var notExported = map[string]string{
	"*.Revision":                        "it counts the changes of the one State",
	"*.Position":                        "the order of tables has it",
	"*.Created":                         "a file is no record of times",
	"*.Updated":                         "a file is no record of times",
	"*.Source.File":                     "it is the file itself",
	"*.Source.Line":                     "it is the file itself",
	"*.Source.Request":                  "it is the file itself",
	"settings.Name":                     "there is one, and no API to name it",
	"quota.Name":                        "there is one, and no API to name it",
	"settings.Tags":                     "there is one, and no API to tag it",
	"quota.Tags":                        "there is one, and no API to tag it",
	"quota.Description":                 "there is one, and no API to describe it",
	"router.Routes.Source.File":         "it is the file itself",
	"router.Routes.Source.Line":         "it is the file itself",
	"router.Routes.Source.Request":      "it is the file itself",
	"router.Gateway.Source.File":        "it is the file itself",
	"router.Gateway.Source.Line":        "it is the file itself",
	"router.Gateway.Source.Request":     "it is the file itself",
	"subnet.HostRoutes.Source.File":     "it is the file itself",
	"subnet.HostRoutes.Source.Line":     "it is the file itself",
	"subnet.HostRoutes.Source.Request":  "it is the file itself",
	"settings.Description":              "there is one, and no API to describe it",
	"network.Devices.HostOpen":          "the engine sets it for the opener",
	"physical network.Devices.HostOpen": "the engine sets it for the opener",
}

// anyKind is the path of a field with a star for the kind.
func anyKind(path string) string {
	_, field, _ := strings.Cut(path, ".")
	return "*." + field
}

// eachLeaf calls f with all fields of an object that have no fields themselves: kind.Field.Field.
func eachLeaf(o config.Object, f func(path string, v reflect.Value)) {
	leavesOf(reflect.ValueOf(o).Elem(), o.Ref().Kind.String(), f)
}

func leavesOf(v reflect.Value, path string, f func(path string, v reflect.Value)) {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
	case v.Kind() == reflect.Pointer:
		leavesOf(v.Elem(), path, f)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			leavesOf(v.Index(i), path, f)
		}
	case hasFields(v.Type()):
		for i := range v.NumField() {
			leavesOf(v.Field(i), fieldPath(path, v.Type().Field(i)), f)
		}
	default:
		f(path, v)
	}
}

// hasFields says whether a type is a struct of this module: others, such as addresses, are values.
func hasFields(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.NumField() > 0 && t.Field(0).IsExported()
}

func fieldPath(path string, f reflect.StructField) string {
	if f.Anonymous {
		return path
	}
	return path + "." + f.Name
}

// typeLeaves calls f with the paths that objects of a type may have.
func typeLeaves(t reflect.Type, path string, f func(path string, t reflect.Type)) {
	switch {
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice:
		typeLeaves(t.Elem(), path, f)
	case hasFields(t):
		for i := range t.NumField() {
			typeLeaves(t.Field(i).Type, fieldPath(path, t.Field(i)), f)
		}
	default:
		f(path, t)
	}
}

// leaves are the values that exported States had: whether a field was not zero, and whether it was.
type leaves map[string]struct{ zero, set bool }

func (l leaves) add(s *config.State) {
	for o := range s.All() {
		eachLeaf(o, func(path string, v reflect.Value) {
			x := l[path]
			x.zero, x.set = x.zero || v.IsZero(), x.set || !v.IsZero()
			l[path] = x
		})
	}
}

// complete fails unless every field of every kind of object has been exported with a value, a flag with both, or is
// known not to be in a file.
func (l leaves) complete(t *testing.T) {
	t.Helper()
	known := map[string]bool{}
	kinds := map[config.Kind]bool{}
	for _, o := range []config.Object{
		&config.Settings{}, &config.PhysicalNetwork{}, &config.Network{}, &config.Subnet{}, &config.Router{},
		&config.AddressGroup{}, &config.SecurityGroup{}, &config.SecurityGroupRule{}, &config.Port{},
		&config.FloatingIP{}, &config.PortForwarding{}, &config.Pool{}, &config.Monitor{}, &config.Member{},
		&config.LoadBalancer{}, &config.Listener{}, &config.Quota{},
	} {
		kinds[o.Ref().Kind] = true
		typeLeaves(reflect.TypeOf(o).Elem(), o.Ref().Kind.String(), func(path string, typ reflect.Type) {
			known[path], known[anyKind(path)] = true, true
			switch x := l[path]; {
			case notExported[path] != "" || notExported[anyKind(path)] != "":
			case !x.set:
				t.Errorf("%s was never exported with a value: it needs a key, or a reason in notExported", path)
			case typ.Kind() == reflect.Bool && !x.zero:
				t.Errorf("%s was never false", path)
			}
		})
	}
	for k := range config.NumKinds {
		if !kinds[k] {
			t.Errorf("there is a kind that this test does not know: %v", k)
		}
	}
	for path := range notExported {
		if !known[path] {
			t.Errorf("notExported has %s, which there is not", path)
		}
	}
}

// decorate gives objects what only an API or a program gives them, one after the other, as far as that is valid.
func decorate(rng *rand.Rand, s *config.State) *config.State {
	d := s.Edit()
	d.Put(s.Settings())
	s, _ = d.Check()
	for o := range s.All() {
		c := reflect.New(reflect.TypeOf(o).Elem())
		c.Elem().Set(reflect.ValueOf(o).Elem())
		x := c.Interface().(config.Object)
		adorn(rng, s, x)
		d := s.Edit()
		d.Put(x)
		if next, _ := d.Check(); next != nil {
			s = next
		}
	}
	return s
}

// texts are names and descriptions.
var texts = []string{"", "a", "two words", " blank ", "a\nline \"quoted\" \\ \x7f é", "\u202eturned", "a"}

func oneOf[T any](rng *rand.Rand, all ...T) T { return all[rng.IntN(len(all))] }

// adorn changes some fields of an object.
func adorn(rng *rand.Rand, s *config.State, x config.Object) {
	flag := func() bool { return rng.IntN(2) == 0 }
	if k := x.Ref().Kind; k != config.KindSettings && k != config.KindQuota && flag() {
		m := x.About()
		m.Name, m.Description = oneOf(rng, texts...), oneOf(rng, texts...)
		m.Tags = texts[1 : 1+rng.IntN(3)]
	}
	zones := oneOf(rng, nil, []string{"nova", "other"})
	some := func(kind config.Kind) config.ID {
		for o := range s.Of(kind) {
			if flag() {
				return o.About().ID
			}
		}
		return ""
	}
	switch x := x.(type) {
	case *config.Settings:
		x.NAT = nat(rng)
		x.Engine = config.Engine{Workers: rng.IntN(3), BusyPoll: time.Duration(rng.IntN(2)) * time.Millisecond}
		adornForwards(rng, x)
	case *config.PhysicalNetwork:
		x.Devices = append(slices.Clip(x.Devices),
			config.Device{Kind: config.DeviceTAP, Name: "d" + string(x.ID[:8]), Netns: "ns"})
	case *config.Network:
		x.AdminStateUp, x.StormLimit = flag(), oneOf(rng, nil, new(0), new(500))
		x.Extra = &config.NetworkExtra{Shared: flag(), Default: flag(), DNSDomain: oneOf(rng, texts...),
			ZoneHints: zones}
		if len(x.Devices) > 0 && flag() {
			x.Devices = append(x.Devices[:1:1], config.Device{Kind: config.DeviceTAP, Name: "d" + string(x.ID[:8]),
				Netns: "ns"})
		}
	case *config.Subnet:
		x.LeaseTime = time.Hour
		x.DNSNameservers = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
		if x.CIDR.Addr().Is4() {
			x.HostRoutes = []config.Route{{Destination: netip.MustParsePrefix("172.20.0.0/16"),
				NextHop: x.CIDR.Addr().Next()}}
		}
		x.Extra = &config.SubnetExtra{ServiceTypes: zones, DNSPublishFixedIP: flag(), NoPools: flag(),
			DNSSearch: oneOf(rng, nil, []string{"lab.example", "example."})}
		if x.Extra.NoPools {
			x.AllocationPools = nil
		}
	case *config.Router:
		x.AdminStateUp, x.Extra = flag(), &config.RouterExtra{ZoneHints: zones}
		x.NAT = nat(rng)
	case *config.AddressGroup:
		x.Addresses = append(slices.Clip(x.Addresses), netip.MustParsePrefix("198.51.100.0/24"))
	case *config.SecurityGroupRule:
		adornRule(rng, x)
	case *config.Port:
		adornPort(rng, x)
	case *config.FloatingIP:
		x.Extra = &config.FloatingIPExtra{DNSName: oneOf(rng, texts...), DNSDomain: oneOf(rng, texts...)}
	case *config.Pool:
		x.AdminStateUp, x.Application = flag(), oneOf(rng, "", "HTTP", "HTTPS")
		x.OnMemberDown, x.OnMemberRemoved = oneOf(rng, "keep", "reset"), oneOf(rng, "drain", "reset")
		x.SessionPersistence = oneOf(rng, nil, &config.SessionPersistence{Type: "SOURCE_IP", Timeout: time.Minute})
		x.LoadBalancer = some(config.KindLoadBalancer)
	case *config.Monitor:
		x.AdminStateUp = flag()
		x.Type, x.HTTPMethod, x.URLPath, x.ExpectedCodes = "HTTP", "HEAD", "/health", "200-204"
		x.Delay, x.Timeout, x.MaxRetries, x.MaxRetriesDown = 9*time.Second, 2*time.Second, 2, 4
	case *config.Member:
		x.Subnet, x.Weight = some(config.KindSubnet), rng.IntN(3)
		x.Backup, x.AdminStateUp = flag(), flag()
		if x.Address.IsValid() {
			x.MonitorAddress, x.MonitorPort = oneOf(rng, netip.Addr{}, x.Address.Next()), oneOf[uint16](rng, 0, 8081)
		}
	case *config.LoadBalancer:
		x.AdminStateUp = flag()
		if g := some(config.KindSecurityGroup); g != "" && x.Port == "" && x.SecurityGroups == nil {
			x.SecurityGroups = []config.ID{g}
		}
	case *config.Listener:
		x.AdminStateUp, x.Application = flag(), oneOf(rng, "", "HTTP", "HTTPS")
		x.ConnectionLimit, x.IdleTimeout = rng.IntN(3), time.Duration(rng.IntN(2))*time.Minute
		x.Extra = &config.ListenerExtra{MemberConnect: rng.IntN(3), MemberData: oneOf(rng, 0, 1501),
			TCPInspect: oneOf(rng, 0, 1, 1<<31-1)}
		x.AllowedCIDRs = oneOf(rng, nil, []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")})
	case *config.Quota:
		x.Limits = append(slices.Clip(x.Limits), config.Limit{Resource: "router", Most: -1},
			config.Limit{Resource: "floatingip", Most: rng.IntN(9)})
	}
}

// nat are settings, some of which are not set.
func nat(rng *rand.Rand) config.NAT {
	n := config.NAT{
		Mapping:        oneOf(rng, "", "address-dependent"),
		Filtering:      oneOf(rng, "", "endpoint-independent"),
		MaxConnections: oneOf(rng, 0, 2000),
		HostShare:      oneOf(rng, 0, 0.25),
		NoSNAT:         oneOf(rng, nil, []netip.Prefix{}, []netip.Prefix{netip.MustParsePrefix("172.21.0.0/16")}),
		MSSClamp:       oneOf(rng, nil, new(true), new(false)),
	}
	switch { // no draw of its own: what the others draw from here on stays the same
	case n.NoSNAT == nil:
	case len(n.NoSNAT) == 0:
		n.Lend = new(true)
	default:
		n.Lend = new(false)
	}
	if rng.IntN(2) == 0 {
		n.PortMin, n.PortMax = 2000, 3000
	}
	for t := range reflect.ValueOf(&n.Timeouts).Elem().NumField() {
		reflect.ValueOf(&n.Timeouts).Elem().Field(t).SetInt(int64(oneOf(rng, 0, time.Duration(300+t)*time.Second)))
	}
	return n
}

// sshKey is a line of authorized_keys.
const sshKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB1bnUyLuaF0yF0LpFzZ5rX5o1K6n9qE2lW0K8bX0Z3a me@example"

// adornForwards has other servers asked, in one way or the other.
func adornForwards(rng *rand.Rand, s *config.Settings) {
	via := func() string { return oneOf(rng, "", config.ViaRouter, config.ViaHost) }
	s.DNS = config.DNS{Via: via(), Forward: oneOf(rng, nil, []netip.AddrPort{netip.MustParseAddrPort("9.9.9.9:53"),
		netip.MustParseAddrPort("9.9.9.9:5353")})}
	if s.DNS.Via == config.ViaHost {
		s.DNS.Forward = append(slices.Clip(s.DNS.Forward), netip.MustParseAddrPort("[2620:fe::fe]:53"))
	}
	if s.Metadata.Via = via(); rng.IntN(2) == 0 {
		s.Metadata = config.Metadata{Forward: "http://192.0.2.5:8775/nova", Via: via(),
			Secret: oneOf(rng, "", "a \"secret\"\n")}
	}
}

func adornRule(rng *rand.Rand, r *config.SecurityGroupRule) {
	switch rng.IntN(5) {
	case 0:
		r.EtherType, r.RemotePrefix = config.IPv6, netip.MustParsePrefix("2001:db8::1/32") // with host bits
	case 1:
		r.Protocol, r.PortMin, r.PortMax = "icmp", new(uint16(8)), new(uint16(0))
	case 2:
		r.Protocol, r.PortMin, r.PortMax = "1", new(uint16(3)), nil
	case 3:
		r.Protocol, r.PortMin, r.PortMax = "47", nil, nil
	}
	if r.EtherType == config.IPv6 {
		r.RemoteGroup, r.RemoteAddressGroup = "", ""
	}
}

func adornPort(rng *rand.Rand, p *config.Port) {
	p.AdminStateUp, p.PortSecurity = rng.IntN(2) == 0, oneOf(rng, nil, new(true), new(false))
	if p.DeviceOwner == "" && rng.IntN(2) == 0 {
		p.DeviceID, p.DeviceOwner = "some machine", config.OwnerCompute
	}
	switch rng.IntN(3) {
	case 0:
		p.SecurityGroups = []config.ID{}
	case 1:
		p.Extra = &config.PortExtra{HostID: oneOf(rng, texts...), VNICType: "direct", Profile: `{"a":"b"}`,
			DNSName: oneOf(rng, texts...), DNSDomain: "lab.",
			DHCPOptions: []config.DHCPOption{{Name: "mtu", Value: "1400", IPVersion: 4}, {Name: "23", IPVersion: 6}},
			Hostname:    oneOf(rng, "", "vm-1"), SSHKeys: oneOf(rng, nil, []string{sshKey, "no-pty " + sshKey}),
			UserData: oneOf(rng, "", "I2Nsb3VkLWNvbmZpZwo=", "AP8=")} // the last one is no text
	}
	if p.DeviceOwner != config.OwnerInterface && p.DeviceOwner != config.OwnerGateway && rng.IntN(2) == 0 {
		p.AllowedAddressPairs = []config.AddressPair{{IP: netip.MustParsePrefix("10.99.0.0/24"),
			MAC: config.MAC{2, 0, 0, 0, 0, 9}}}
	}
}
