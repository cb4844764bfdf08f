package file_test

// The cases of TestFaults: the file's shape, networks, routers.

// Texts that cases begin with, so that each shows only what it is about.
const (
	// blue is a tenant network.
	blue = `
[[network]]
name = "blue"
devices = ["tap:blue"]
[[network.subnet]]
cidr = "10.1.0.0/24"
`
	// green is another one.
	green = `
[[network]]
name = "green"
[[network.subnet]]
cidr = "10.2.0.0/24"
`
	// ext is an external network.
	ext = `
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/24"
`
	// routed has two tenant networks behind one router.
	routed = blue + green + ext + `
[[router]]
name = "r1"
interfaces = ["blue", "green"]
gateway = { network = "ext", address = "203.0.113.2" }
`
	// shared has two routers on each network.
	shared = blue + ext + `
[[router]]
name = "r1"
interfaces = ["blue"]
gateway = { network = "ext", address = "203.0.113.2" }
[[router]]
name = "r2"
interfaces = [{ network = "blue", address = "10.1.0.2" }]
gateway = { network = "ext", address = "203.0.113.22" }
`
	// web has a pool, too.
	web = routed + `
[[pool]]
name = "web"
protocol = "TCP"
[[pool.member]]
name = "w1"
address = "10.1.0.9"
port = 80
`
)

// A faultCase is a file that names its own faults: the text that follows
// #! is the message of a fault of that line. There may be several.
type faultCase struct{ name, text string }

var syntaxCases = []faultCase{
	{"empty", `#! nothing to serve: there is no [[network]]`},
	{"only settings", `[engine] #! nothing to serve: there is no [[network]]
workers = 2`},
	{"no value", "\n\nmtu = #! expected value but found '#' instead"},
	{"unquoted", `
name = fast #! expected value but found "fast" instead`},
	{"key twice", `
[[network]]
name = "a"
name = "b" #! Key 'network.name' has already been defined`},
	{"ends early", `[[network #! expected '.' or ']' to end table name, but got '#' instead`},
	{"number too large", `
[engine]
workers = 99999999999999999999 #! 99999999999999999999 is out of range for int64`},
	{"control character", "\x7f #! TOML files cannot contain control characters: '0x7f'"},
	{"not UTF-8", "\n\na = \"\xff\" #! invalid UTF-8 byte: 0xff"},
}

var shapeCases = []faultCase{
	{"unknown key", blue + `
mtu = 1500       #! subnet "blue": unknown key "mtu"; it belongs to [[network]]
gatway = "none"  #! subnet "blue": unknown key "gatway"; did you mean "gateway"?
frobs = 1        #! subnet "blue": unknown key "frobs"; known here: name, cidr, gateway, allocation_pools, dhcp, lease_time, dns_nameservers, dns_search, service_types, dns_publish_fixed_ip, host_routes, id, description, tags`},
	{"unknown table", blue + `
[[subnet]]  #! unknown key "subnet"; it belongs to [[network]]
cidr = "10.0.0.0/8"
[[netwrok]] #! unknown key "netwrok"; did you mean "network"?
[nat.timeout] #! nat: unknown key "timeout"; did you mean "timeouts"?`},
	{"part of a key", blue + `
pools = ["10.1.0.5-10.1.0.9"] #! subnet "blue": unknown key "pools"; did you mean "allocation_pools"?`},
	{"quoted key", blue + `
"a.b c" = 1 #! subnet "blue": unknown key "a.b c"; known here: name, cidr, gateway, allocation_pools, dhcp, lease_time, dns_nameservers, dns_search, service_types, dns_publish_fixed_ip, host_routes, id, description, tags`},
	{"unknown key in an inline table", routed + `
routes = [
  { destination = "192.168.0.0/24", nexthop = "10.1.0.254" },
  { destination = "192.168.1.0/24",
    nexthop = "10.1.0.254",
    metrics = 5 }, #! router "r1": route 192.168.1.0/24: unknown key "metrics"; known here: destination, nexthop
]`},
	{"single table", `
[network] #! network is a list of tables; write [[network]], not [network]
name = "blue"
vlan = 5000 #! network "blue": vlan 5000 is not from 1 to 4094
[network.subnet] #! network "blue": subnet is a list of tables; write [[network.subnet]], not [network.subnet]
cidr = "10.1.0.0/33" #! subnet "blue": cidr: "10.1.0.0/33" is not a prefix such as 10.1.0.0/24
`},
	{"list of tables", blue + `
[[nat]] #! nat is one table; write [nat], not [[nat]]
mapping = "symmetric"
[[nat.timeouts]]`},
	{"not a table", blue + `
[[router]]
name = "r"
gateway = "ext" #! router "r": gateway must be a table, not "ext"
routes = "none" #! router "r": routes must be a list, not "none"
nat = 5         #! router "r": nat must be a table, not 5
interfaces = [5, "blue", true] #! router "r": interfaces[0] must be a network's name or { network, address }, not 5 #! router "r": interfaces[2] must be a network's name or { network, address }, not true`},
	{"list of the wrong things", blue + `
[[pool]]
name = "p"
protocol = "TCP"
member = [1, { address = "10.1.0.9", port = "80" }] #! pool "p": member[0] must be a table, not 1 #! pool "p": member #2: port must be an integer, not "80"`},
	{"wrong types", `
[[network]]
name = 5            #! network #1: name must be a string, not 5
devices = "tap:a"   #! network #1: devices must be a list, not "tap:a"
vlan = "12"         #! network #1: vlan must be an integer, not "12"
mtu = 1500.0        #! network #1: mtu must be an integer, not 1500
external = "yes"    #! network #1: external must be true or false, not "yes"
port_security = 2020-01-01 #! network #1: port_security must be true or false, not a date
[[network.subnet]]
cidr = {}           #! subnet #1: cidr must be a string, not a table
gateway = false     #! subnet #1: gateway must be a string, not false
dns_nameservers = [1, "8.8.8.8", "x"] #! subnet #1: dns_nameservers[0] must be a string, not 1 #! subnet #1: dns_nameservers[2]: "x" is not an IP address
lease_time = 86400  #! subnet #1: lease_time must be a duration with its unit, such as "5s" or "10m", not 86400
[nat]
host_share = "half" #! nat: host_share must be a number, not "half"
[nat.timeouts]
udp = "5 min"       #! nat: timeouts: udp: "5 min" is not a duration such as 5s, 10m or 2h4m
icmp = []           #! nat: timeouts: icmp must be a string, not a list`},
	{"number out of bounds", blue + `
[engine]
workers = 123456789012 #! engine: workers 123456789012 is out of all bounds`},
	{"what could not be read has no consequences", ext + `
[[network]]
name = "blue"
[[network.subnet]]
cidr = "10.1.0.0/24"
gateway = "x" #! subnet "blue": gateway: "x" is not an IP address
[[network]]
name = "green"
subnet = "10.2.0.0/24" #! network "green": subnet must be a list, not "10.2.0.0/24"
[[network]]
name = "white"
[[network.subnet]]
cidr = "10.3.0/24" #! subnet "white": cidr: "10.3.0/24" is not a prefix such as 10.1.0.0/24
[[router]]
name = "a"
interfaces = ["blue", "green", "white"]
routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.9" }]
[[router]]
name = "b"
interfaces = "blue" #! router "b": interfaces must be a list, not "blue"
routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.9" }]
[[router]]
name = "c"
gateway = { network = "ext", address = 5 } #! router "c": gateway: address must be a string, not 5
routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.9" }]
[[router]]
name = "d"
gateway = 5 #! router "d": gateway must be a table, not 5
routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.9" }]
[[router]]
name = "e"
nat = 5 #! router "e": nat must be a table, not 5
routes = [{ destination = "10.9.0.0/16", nexthop = "10.1.0.9" }] #! router "e": route 10.9.0.0/16: nexthop 10.1.0.9 is in none of the router's subnets
[[floating_ip]]
network = "ext"
fixed_ip = "10.3.0.3"
[[instance]]
name = "i"
network = "white"
[[instance]]
name = "j"
network = "green"
address = "10.2.0.3"
vip = 5 #! instance "j": unknown key "vip"; it belongs to the top of the file`},
	{"lists that are none", `
network = 1  #! network must be a list, not 1
router = "r" #! router must be a list, not "r"
[[floating_ip]]
network = "ext"
router = "r"
`},
	{"a bad value is reported once", blue + `
[[router]]
name = "r"
interfaces = [{ network = "blue", address = "10.1.0.300" }] #! router "r": interface "blue": address: "10.1.0.300" is not an IP address
routes = [{ destination = "10.9.0.0/16", nexthop = "10.8.0.1" }]
[[floating_ip]]
network = "blue" #! floating IP #1: network "blue" is not external; a floating IP needs one with external = true
address = "x"    #! floating IP "x": address: "x" is not an IP address
[[vip]]
name = "v"
network = "blue"
address = "10.1.0.7"
protocol = 6 #! VIP "v": protocol must be a string, not 6
port = 0     #! VIP "v": port must be a port from 1 to 65535, not 0
pool = "p"   #! VIP "v": unknown pool "p"; no [[pool]] has that name`},
}

var networkCases = []faultCase{
	{"no name", `
[[network]] #! network #1: name is missing
[[network]]
name = "" #! network #2: name is empty`},
	{"odd name", `
[[network]]
name = " blue" #! network " blue": name " blue" begins or ends with a blank or holds characters that cannot be printed
[[network]]
name = "b\u0007" #! network "b\a": name "b\a" begins or ends with a blank or holds characters that cannot be printed`},
	{"name taken", blue + `
[[network]]
name = "blue" #! network "blue": name is taken by network "blue" (line 2)`},
	{"vlan", `
[[network]]
name = "a"
vlan = 0 #! network "a": vlan 0 is not from 1 to 4094
[[network]]
name = "b"
vlan = 4095 #! network "b": vlan 4095 is not from 1 to 4094`},
	{"mtu", `
[[network]]
name = "a"
mtu = 575 #! network "a": mtu 575 is not from 576 to 9216
[[network]]
name = "b"
mtu = 9217 #! network "b": mtu 9217 is not from 576 to 9216
[[network]]
name = "c"
mtu = 1279 #! network "c": mtu 1279 is less than the 1280 that IPv6 needs
[[network.subnet]]
cidr = "fd00::/64"
[[network.subnet]]
cidr = "fd01::/64"`},
	{"device names", `
[[network]]
name = "a"
devices = [
  "blue",                 #! network "a": devices[0]: device "blue" has no kind; write tap:NAME, tap:NAME@NETNS, raw:NAME or unix:PATH
  "tun:blue",             #! network "a": devices[1]: unknown device kind "tun"; known: tap, raw, unix
  "tap:",                 #! network "a": devices[2]: device "tap:" names no interface
  "tap:0123456789abcdef", #! network "a": devices[3]: device "tap:0123456789abcdef": an interface name has at most 15 bytes, this one has 16
  "tap:0123456789abcde",
  "raw:a/b",              #! network "a": devices[5]: device "raw:a/b": an interface name cannot hold '/'
  "raw:a b",              #! network "a": devices[6]: device "raw:a b": an interface name cannot hold ' '
  "tap:tap%d",            #! network "a": devices[7]: device "tap:tap%d": an interface name cannot hold '%'
  "tap:..",               #! network "a": devices[8]: device "tap:..": an interface cannot be called that
  "tap:a@",               #! network "a": devices[9]: device "tap:a@" names no network namespace after the @
  "tap:a@b/c",            #! network "a": devices[10]: device "tap:a@b/c": "b/c" cannot be the name of a network namespace
  "raw:a@b",              #! network "a": devices[11]: device "raw:a@b": an interface name cannot hold '@'
  "unix:",                #! network "a": devices[12]: device "unix:" names no path
]`},
	{"device twice", `
[[network]]
name = "a"
devices = ["tap:x", "tap:x"] #! network "a": device tap:x is listed twice
[[network]]
name = "b"
devices = ["tap:x"] #! network "b": device tap:x already carries network "a" (line 2) without a tag; give one of them a vlan
[[network]]
name = "c"
vlan = 5
devices = ["tap:x"]
[[network]]
name = "d"
vlan = 5
devices = ["tap:x"] #! network "d": device tap:x already carries network "c" (line 8) with vlan 5; give one of them another vlan
[[network]]
name = "e"
vlan = 6
devices = ["raw:x"] #! network "e": device raw:x is the one that network "a" (line 2) opens as tap:x`},
	{"physical networks", `
[[physical_network]]
name = "one"
devices = ["raw:eth1", "raw:eth1"] #! physical network "one": device raw:eth1 is listed twice
[[physical_network]]
name = "two"
devices = [
  "raw:eth2",
  "raw:eth1", #! physical network "two": device raw:eth1 already belongs to physical network "one" (line 2); a device carries one physical network, and its networks differ by vlan
  "raw:",     #! physical network "two": devices[2]: device "raw:" names no interface
]
[[physical_network]]
name = "two" #! physical network "two": name is taken by physical network "two" (line 5)
[[network]]
name = "a"
physical_network = "on" #! network "a": unknown physical network "on"; did you mean "one"?
[[network]]
name = "b"
physical_network = "zebra" #! network "b": unknown physical network "zebra"; no [[physical_network]] has that name
[[network]]
name = "c"
devices = ["tap:c"]
physical_network = "one" #! network "c": physical_network and devices exclude each other: the devices are those of [[physical_network]] "one"
[[network]]
name = "d"
physical_network = "one"
[[network]]
name = "e"
physical_network = "one" #! network "e": device raw:eth1 already carries network "d" (line 24) without a tag; give one of them a vlan
[[network]]
name = "f"
physical_network = "" #! network "f": physical_network is empty`},
	{"host", `
[[network]]
name = "a"
host = "opne" #! network "a": unknown host "opne"; did you mean "open"?
[[network]]
name = "b"
vlan = 5
devices = ["raw:x"]
[[network]]
name = "c"
vlan = 6
host = "open" #! network "c": device raw:x is closed to the host in network "b" (line 5), and open here; write the same in both
devices = ["raw:x"]
[[network]]
name = "d"
vlan = 5
devices = ["tap:y"]
[[network]]
name = "e"
vlan = 6
host = "open"
devices = ["tap:y"]
[[network]]
name = "f"
host = true #! network "f": host must be a string, not true`},
}

var subnetCases = []faultCase{
	{"cidr", `
[[network]]
name = "a"
[[network.subnet]] #! subnet "a" #1: cidr is missing
[[network.subnet]]
cidr = "10.1.0.1/24" #! subnet "a" #2: cidr 10.1.0.1/24 has host bits set; write 10.1.0.0/24
[[network.subnet]]
cidr = "10.1.2.0" #! subnet "a" #3: cidr: 10.1.2.0 has no prefix length; write 10.1.2.0/32 for this one address
[[network.subnet]]
cidr = "::ffff:10.0.0.0/120" #! subnet "a" #4: cidr: "::ffff:10.0.0.0/120" is not a prefix such as 10.1.0.0/24
[[network.subnet]]
cidr = "224.1.0.0/16" #! subnet "a" #5: cidr 224.1.0.0/16 overlaps 224.0.0.0/4, where no host can be
[[network.subnet]]
cidr = "0.0.0.0/0" #! subnet "a" #6: cidr 0.0.0.0/0 overlaps 0.0.0.0/8, where no host can be
[[network.subnet]]
cidr = "ff02::/16" #! subnet "a" #7: cidr ff02::/16 overlaps ff00::/8, where no host can be`},
	{"overlap in a network", blue + `
[[network.subnet]]
cidr = "10.1.0.128/25" #! subnet "blue" #2: cidr 10.1.0.128/25 overlaps 10.1.0.0/24 of the same network`},
	{"gateway outside", blue + `gateway = "10.0.0.1" #! subnet "blue": gateway 10.0.0.1 outside 10.1.0.0/24`},
	{"gateway is the network", blue +
		`gateway = "10.1.0.0" #! subnet "blue": gateway 10.1.0.0 is the network address of 10.1.0.0/24`},
	{"gateway is the broadcast", blue +
		`gateway = "10.1.0.255" #! subnet "blue": gateway 10.1.0.255 is the broadcast address of 10.1.0.0/24`},
	{"gateway of the other family", blue +
		`gateway = "fd00::1" #! subnet "blue": gateway fd00::1 is IPv6, but 10.1.0.0/24 is IPv4`},
	{"gateway is anycast", `
[[network]]
name = "six"
[[network.subnet]]
cidr = "fd00::/64"
gateway = "fd00::" #! subnet "six": gateway fd00:: is the subnet-router anycast address of fd00::/64`},
	{"gateway in disguise", blue + `gateway = "::ffff:10.1.0.1" #! subnet "blue": gateway: ::ffff:10.1.0.1 is an ` +
		`IPv4 address in IPv6 notation; write 10.1.0.1`},
	{"gateway with a zone", blue +
		`gateway = "fe80::1%eth0" #! subnet "blue": gateway: "fe80::1%eth0" is not an IP address`},
	{"pools", blue + `allocation_pools = [
  "10.1.0.20-10.1.0.10",  #! subnet "blue": allocation pool 10.1.0.20-10.1.0.10 is reversed; write 10.1.0.10-10.1.0.20
  "10.1.0.30-10.1.1.30",  #! subnet "blue": allocation pool 10.1.0.30-10.1.1.30: 10.1.1.30 outside 10.1.0.0/24
  "10.1.0.40-10.1.0.49",
  "10.1.0.49-10.1.0.50",  #! subnet "blue": allocation pool 10.1.0.49-10.1.0.50 overlaps 10.1.0.40-10.1.0.49
  "10.1.0.35-10.1.0.45",  #! subnet "blue": allocation pool 10.1.0.35-10.1.0.45 overlaps 10.1.0.40-10.1.0.49
  "10.1.0.0-10.1.0.9",    #! subnet "blue": allocation pool 10.1.0.0-10.1.0.9: 10.1.0.0 is the network address of 10.1.0.0/24
  "10.1.0.60-10.1.0.255", #! subnet "blue": allocation pool 10.1.0.60-10.1.0.255: 10.1.0.255 is the broadcast address of 10.1.0.0/24
  "10.1.0.1-10.1.0.1",    #! subnet "blue": allocation pool 10.1.0.1-10.1.0.1 holds nothing but the gateway
  "10.1.0.70",            #! subnet "blue": allocation_pools[8]: "10.1.0.70" is not a range such as 10.10.10.2-10.10.10.21
  "fd00::1-fd00::2",      #! subnet "blue": allocation pool fd00::1-fd00::2: fd00::1 is IPv6, but 10.1.0.0/24 is IPv4
]`},
	{"lease", blue + `lease_time = "10ms" #! subnet "blue": lease_time must be at least 1s, not 10ms`},
	{"name servers", blue + `dns_nameservers = ["10.1.0.53", "224.0.0.1"] #! subnet "blue": dns_nameservers: ` +
		`224.0.0.1 cannot be the address of a host`},
	{"host routes", blue + `host_routes = [
  { destination = "10.9.0.0/16", nexthop = "10.1.0.254" },
  { destination = "10.9.0.1/16", nexthop = "10.1.0.254" }, #! subnet "blue": host route 10.9.0.1/16: destination 10.9.0.1/16 has host bits set; write 10.9.0.0/16 #! subnet "blue": host route 10.9.0.1/16: destination 10.9.0.0/16 is there already
  { destination = "10.8.0.0/16" },                         #! subnet "blue": host route 10.8.0.0/16: nexthop is missing
  { nexthop = "10.1.0.254" },                              #! subnet "blue": host route #4: destination is missing
  { destination = "fd00::/64", nexthop = "10.1.0.254" },   #! subnet "blue": host route fd00::/64: nexthop 10.1.0.254 is IPv4; destination, nexthop and subnet must be of one family
  { destination = "10.7.0.0/16", nexthop = "127.0.0.1" },  #! subnet "blue": host route 10.7.0.0/16: nexthop 127.0.0.1 cannot be the address of a host
]`},
}

var routerCases = []faultCase{
	{"names", routed + `
[[router]]
name = "r1" #! router "r1": name is taken by router "r1" (line 19)
[[router]] #! router #3: name is missing`},
	{"unknown network", blue + `
[[router]]
name = "r"
interfaces = [
  "bleu", #! router "r": interface "bleu": unknown network "bleu"; did you mean "blue"?
  "white", #! router "r": interface "white": unknown network "white"; no [[network]] has that name
  { address = "10.1.0.1" }, #! router "r": interface #3: network is missing
]
gateway = { network = "outside" } #! router "r": gateway: unknown network "outside"; no [[network]] has that name`},
	{"interface on an external network", ext + `
[[router]]
name = "r"
interfaces = ["ext"] #! router "r": interface "ext": network "ext" is external; a router joins it with gateway = { network = "ext" }`},
	{"gateway on a tenant network", blue + `
[[router]]
name = "r"
gateway = { network = "blue" } #! router "r": gateway: network "blue" is not external; a gateway needs one with external = true`},
	{"no address to take", `
[[network]]
name = "bare"
[[network]]
name = "closed"
[[network.subnet]]
cidr = "10.1.0.0/24"
gateway = "none"
[[router]]
name = "r"
interfaces = [
  "bare",   #! router "r": interface "bare": network "bare" has no gateway address for the router to take; write { network = "bare", address = ... }
  "closed", #! router "r": interface "closed": network "closed" has no gateway address for the router to take; write { network = "closed", address = ... }
  { network = "bare", address = "10.1.0.1" }, #! router "r": interface "bare": address 10.1.0.1 outside network "bare", which has no subnet
]`},
	{"interface address", blue + `
[[router]]
name = "r"
interfaces = [{ network = "blue", address = "10.2.0.1" }] #! router "r": interface "blue": address 10.2.0.1 outside 10.1.0.0/24
[[router]]
name = "s"
interfaces = [{ network = "blue", address = "10.1.0.255" }] #! router "s": interface "blue": address 10.1.0.255 is the broadcast address of 10.1.0.0/24`},
	{"interface twice", blue + `
[[router]]
name = "r"
interfaces = [
  "blue",
  { network = "blue", address = "10.1.0.2" }, #! router "r": interface "blue": the router has an interface in 10.1.0.0/24 of network "blue" already
]`},
	{"two routers with one address", blue + `
[[router]]
name = "r"
interfaces = ["blue"]
[[router]]
name = "s"
interfaces = ["blue"] #! router "s": interface "blue": 10.1.0.1 is already the address of router "r" (line 8)`},
	{"gateway address", ext + `
[[router]]
name = "r"
gateway = { network = "ext", address = "203.0.113.1" } #! router "r": gateway: address 203.0.113.1 is the subnet's own gateway, the router's next hop
[[router]]
name = "s"
gateway = { network = "ext", address = "198.51.100.1" } #! router "s": gateway: address 198.51.100.1 outside 203.0.113.0/24
[[router]]
name = "t"
gateway = { network = "ext", address = "203.0.113.9" }
[[router]]
name = "u"
gateway = { network = "ext", address = "203.0.113.9" } #! router "u": gateway: 203.0.113.9 is already the address of router "t" (line 14)`},
	{"addresses for SNAT", ext + `
[[floating_ip]]
network = "ext"
address = "203.0.113.50" #! floating IP 203.0.113.50: 203.0.113.50 is already the address of router "many" (line 30)
[[router]]
name = "r"
gateway = { network = "ext", snat = false, snat_addresses = ["203.0.113.9"] } #! router "r": gateway: snat_addresses are of no use with snat = false
[[router]]
name = "s"
gateway = { network = "ext", snat_addresses = [] } #! router "s": gateway: snat_addresses is empty; leave it out for the gateway's own address
[[router]]
name = "t"
[router.gateway]
network = "ext"
snat_addresses = [
  "203.0.113.1",               #! router "t": gateway: 203.0.113.1 is the gateway of its subnet
  "198.51.100.1",              #! router "t": gateway: 198.51.100.1 outside 203.0.113.0/24
  "203.0.113.21-203.0.113.20", #! router "t": gateway: range 203.0.113.21-203.0.113.20 is reversed; write 203.0.113.20-203.0.113.21
  "fd00::1",                   #! router "t": gateway: fd00::1-fd00::1 is not IPv4; there is no SNAT for IPv6
  "some",                      #! router "t": gateway: snat_addresses[4]: "some" is neither an address nor a range such as 10.10.10.2-10.10.10.21
  "203.0.113.30", "203.0.113.30", #! router "t": gateway: 203.0.113.30 is already the address of router "t" (line 17)
  "203.0.113.255",             #! router "t": gateway: 203.0.113.255 is the broadcast address of 203.0.113.0/24
]
[[router]]
name = "many"
gateway = { network = "ext", address = "203.0.113.49", snat_addresses = ["203.0.113.49-203.0.113.60"] }
[[router]]
name = "slip"
gateway = { network = "ext", snat_addresses = ["10.0.0.0-10.255.255.255"] } #! router "slip": gateway: 10.0.0.0 outside 203.0.113.0/24`},
	{"too many addresses for SNAT", `
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "10.0.0.0/8"
[[router]]
name = "r"
gateway = { network = "ext", snat_addresses = ["10.1.0.0-10.1.0.255"] }
[[router]]
name = "slip"
gateway = { network = "ext", snat_addresses = ["10.2.0.0-10.255.255.254"] } #! router "slip": gateway: more than 256 addresses for SNAT`},
	{"overlap", `
[[network]]
name = "a"
[[network.subnet]]
cidr = "10.1.0.0/16"
[[network]]
name = "b"
[[network.subnet]]
cidr = "10.1.2.0/24"
[[network]]
name = "x"
external = true
[[network.subnet]]
cidr = "10.0.0.0/8"
[[router]]
name = "r"
interfaces = ["a",
  "b"] #! router "r": interface "b": 10.1.2.0/24 of network "b" overlaps 10.1.0.0/16 of network "a"; one router cannot tell them apart (RFC 4787, REQ-7)
[router.gateway]
network = "x" #! router "r": gateway: 10.0.0.0/8 of network "x" overlaps 10.1.0.0/16 of network "a"; one router cannot tell them apart (RFC 4787, REQ-7) #! router "r": gateway: 10.0.0.0/8 of network "x" overlaps 10.1.2.0/24 of network "b"; one router cannot tell them apart (RFC 4787, REQ-7)`},
	{"static routes", routed + `routes = [
  { destination = "192.168.0.0/24", nexthop = "10.1.0.254" },
  { destination = "192.168.0.0/24", nexthop = "10.1.0.253" }, #! router "r1": route 192.168.0.0/24: destination 192.168.0.0/24 has a route already: router "r1": route 192.168.0.0/24 (line 24)
  { destination = "192.168.1.1/24", nexthop = "10.1.0.254" }, #! router "r1": route 192.168.1.1/24: destination 192.168.1.1/24 has host bits set; write 192.168.1.0/24
  { destination = "192.168.2.0/24", nexthop = "10.3.0.254" }, #! router "r1": route 192.168.2.0/24: nexthop 10.3.0.254 is in none of the router's subnets (10.1.0.0/24, 10.2.0.0/24, 203.0.113.0/24)
  { destination = "192.168.3.0/24", nexthop = "10.1.0.1" },   #! router "r1": route 192.168.3.0/24: nexthop 10.1.0.1 is the router itself
  { destination = "192.168.4.0/24", nexthop = "10.1.0.255" }, #! router "r1": route 192.168.4.0/24: nexthop 10.1.0.255 is the broadcast address of 10.1.0.0/24
  { destination = "192.168.5.0/24" },                         #! router "r1": route 192.168.5.0/24: nexthop is missing
  { destination = "192.168.6.0/24", nexthop = "fd00::1" },    #! router "r1": route 192.168.6.0/24: nexthop fd00::1 is IPv6, but 192.168.6.0/24 is IPv4
  { destination = "10.1.0.0/24", nexthop = "10.1.0.254" },    #! router "r1": route 10.1.0.0/24: destination 10.1.0.0/24 is connected: it is a subnet of network "blue"
  { destination = "203.0.114.0/24", nexthop = "203.0.113.2" },#! router "r1": route 203.0.114.0/24: nexthop 203.0.113.2 is the router itself
]`},
	{"routes of a router without links", blue + `
[[router]]
name = "r"
[[router.routes]]
destination = "0.0.0.0/0"
nexthop = "10.1.0.1" #! router "r": route 0.0.0.0/0: nexthop 10.1.0.1 is in none of the router's subnets`},
	{"no address left", `
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/30"
[[network]]
name = "void"
external = true
[[router]]
name = "r"
gateway = { network = "ext" }
[[router]]
name = "s"
gateway = { network = "ext" } #! router "s": gateway: no free address is left in the allocation pools of network "ext" (203.0.113.0/30)
[[router]]
name = "t"
gateway = { network = "void" } #! router "t": gateway: network "void" has no subnet to take an address from`},
}

var natCases = []faultCase{
	{"behaviors", blue + `
[nat]
mapping = "endpoint-dependent"     #! nat: unknown mapping "endpoint-dependent"; did you mean "endpoint-independent"?
filtering = "none"                 #! nat: unknown filtering "none"; known: endpoint-independent, address-dependent, address-and-port-dependent
max_connections = 0                #! nat: max_connections 0 is not from 1 to 268435456
host_share = 0                     #! nat: host_share 0 is not above 0 and at most 1
lend = "no"                        #! nat: lend must be true or false, not "no"
port_range = "2000-1000"           #! nat: port_range 2000-1000 is reversed; write 1000-2000
no_snat = ["10.0.0.1/8"]           #! nat: no_snat[0] 10.0.0.1/8 has host bits set; write 10.0.0.0/8
mss_clamp = 1                      #! nat: mss_clamp must be true or false, not 1
[nat.timeouts]
udp = "0s"                         #! nat: timeouts.udp must be more than 0s, not 0s
icmp = "-1s"                       #! nat: timeouts.icmp must be more than 0s, not -1s
tcp_established = "0s"             #! nat: timeouts.tcp_established must be more than 0s, not 0s
tcp_transitory = "0s"              #! nat: timeouts.tcp_transitory must be more than 0s, not 0s
tcp_opening = "-2s"                #! nat: timeouts.tcp_opening must be more than 0s, not -2s
tcp_closing = "-3s"                #! nat: timeouts.tcp_closing must be more than 0s, not -3s
fragment = "0s"                    #! nat: timeouts.fragment must be more than 0s, not 0s`},
	{"of a router", blue + `
[[router]]
name = "r"
rp_filter = "stict"                #! router "r": unknown rp_filter "stict"; did you mean "strict"?
[router.nat]
host_share = 1.5                   #! router "r": nat: host_share 1.5 is not above 0 and at most 1
port_range = "80-65535"            #! router "r": nat: port_range 80-65535 begins below 1024; sources below that keep to ports below it anyway
timeouts = { udp = "0s" }          #! router "r": nat: timeouts.udp must be more than 0s, not 0s
[[router]]
name = "s"
nat = { host_share = nan, port_range = "1024-all" } #! router "s": nat: port_range: "1024-all" is not a range of ports such as 1024-65535 #! router "s": nat: host_share NaN is not above 0 and at most 1`},
	{"port range", blue + `
[nat]
port_range = "all-2000" #! nat: port_range: "all-2000" is not a range of ports such as 1024-65535`},
	{"engine", blue + `
[engine]
workers = -1      #! engine: workers -1 is not from 0 to 1024
busy_poll = "-5s" #! engine: busy_poll -5s is negative`},
}
