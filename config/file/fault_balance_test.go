package file_test

// The cases of TestFaults: pools, load balancers.

var poolCases = []faultCase{
	{"names", blue + `
[[pool]] #! pool #1: name is missing #! pool #1: protocol is missing
[[pool]]
name = "web"
protocol = "HTTP" #! pool "web": unknown protocol "HTTP"; known: TCP, UDP
[[pool]]
name = "web" #! pool "web": name is taken by pool "web" (line 9)
protocol = "ICMP" #! pool "web": unknown protocol "ICMP"; known: TCP, UDP`},
	{"words", web + `
[[pool]]
name = "p"
protocol = "TCP"
algorithm = "ROUNDROBIN"   #! pool "p": unknown algorithm "ROUNDROBIN"; did you mean "ROUND_ROBIN"?
on_member_down = "drain"   #! pool "p": unknown on_member_down "drain"; known: keep, reset
on_member_removed = "keep" #! pool "p": unknown on_member_removed "keep"; known: drain, reset
session_persistence = { type = "HTTP_COOKIE", timeout = "0s" } #! pool "p": session_persistence: unknown type "HTTP_COOKIE"; known: SOURCE_IP #! pool "p": session_persistence: timeout must be more than 0s, not 0s`},
	{"members", web + `
[[pool.member]]
name = "w1" #! pool "web": member "w1": name is taken by pool "web": member "w1" (line 27)
address = "10.1.0.10"
port = 80
[[pool.member]]
address = "10.1.0.9" #! pool "web": member "10.1.0.9:80": 10.1.0.9:80 is already pool "web": member "w1" (line 27)
port = 80
[[pool.member]]
address = "fd00::9" #! pool "web": member "[fd00::9]:80": address fd00::9 is IPv6, the pool's first member is IPv4
port = 80
[[pool.member]]
name = "w5"
weight = 257 #! pool "web": member "w5": weight 257 is not from 0 to 256
port = 80
address = "255.255.255.255" #! pool "web": member "w5": address 255.255.255.255 cannot be the address of a host
[[pool.member]] #! pool "web": member #6: address is missing #! pool "web": member #6: port is missing
weight = -1 #! pool "web": member #6: weight -1 is not from 0 to 256`},
	{"where members are checked", web + `
[[pool.member]]
name = "w2"
address = "10.1.0.10"
port = 80
monitor_address = "fd00::9" #! pool "web": member "w2": monitor_address fd00::9 is IPv6, the member's address is IPv4
monitor_port = 0 #! pool "web": member "w2": monitor_port must be a port from 1 to 65535, not 0
[[pool.member]]
name = "w3"
address = "10.1.0.11"
port = 80
monitor_address = "127.0.0.1" #! pool "web": member "w3": monitor_address 127.0.0.1 cannot be the address of a host
[[pool.member]]
name = "w4"
address = "10.1.0.12"
port = 80
monitor_address = "169.254.1.1" #! pool "web": member "w4": monitor_address 169.254.1.1 is link-local: no router forwards from or to it (RFC 3927, 2.7)
monitor_port = 8081`},
	{"monitor", blue + `
[[pool]]
name = "a"
protocol = "TCP"
monitor = {} #! pool "a": monitor: type is missing
[[pool]]
name = "b"
protocol = "TCP"
monitor = { type = "UDP-CONNECT", delay = "5s", timeout = "6s", url_path = "/" } #! pool "b": monitor: type UDP-CONNECT cannot tell whether a TCP service is up; use TCP, HTTP, HTTPS or PING #! pool "b": monitor: timeout 6s is more than the delay of 5s; a check must end before the next begins #! pool "b": monitor: url_path is for HTTP and HTTPS, not for UDP-CONNECT
[[pool]]
name = "c"
protocol = "TCP"
[pool.monitor]
type = "SMTP"             #! pool "c": monitor: unknown type "SMTP"; known: TCP, HTTP, HTTPS, TLS-HELLO, PING, UDP-CONNECT
delay = "0s"              #! pool "c": monitor: delay must be more than 0s, not 0s
max_retries = 0           #! pool "c": monitor: max_retries 0 is not from 1 to 10
max_retries_down = 11     #! pool "c": monitor: max_retries_down 11 is not from 1 to 10
[[pool]]
name = "d"
protocol = "TCP"
[pool.monitor]
type = "HTTP"
timeout = "-1s"           #! pool "d": monitor: timeout must be more than 0s, not -1s
http_method = "get"       #! pool "d": monitor: unknown http_method "get"; did you mean "GET"?
url_path = "index.html"   #! pool "d": monitor: url_path "index.html" must begin with / and hold no blanks
expected_codes = "200-"   #! pool "d": monitor: expected_codes "200-" is none of the forms "200", "200,202" and "200-204"
http_version = "2"        #! pool "d": monitor: unknown http_version "2"; known: 1.0, 1.1
domain_name = "a b"       #! pool "d": monitor: domain_name "a b" is no name of a host, such as www.example.com
[[pool]]
name = "e"
protocol = "TCP"
[pool.monitor]
type = "HTTPS"
url_path = "/a b"         #! pool "e": monitor: url_path "/a b" must begin with / and hold no blanks
http_version = "1.0"
domain_name = "a.example" #! pool "e": monitor: requests of HTTP 1.0 name no host; take http_version 1.1 for domain_name
expected_codes = "204-200" #! pool "e": monitor: expected_codes "204-200" is none of the forms "200", "200,202" and "200-204"
[[pool]]
name = "f"
protocol = "UDP"
[pool.monitor]
type = "HTTP"
expected_codes = "200,,202" #! pool "f": monitor: expected_codes "200,,202" is none of the forms "200", "200,202" and "200-204"
[[pool]]
name = "g"
protocol = "TCP"
[pool.monitor]
type = "PING"
http_method = "GET" #! pool "g": monitor: http_method is for HTTP and HTTPS, not for PING
expected_codes = "600" #! pool "g": monitor: expected_codes is for HTTP and HTTPS, not for PING`},
	{"status codes", blue + `
[[pool]]
name = "a"
protocol = "TCP"
[pool.monitor]
type = "HTTP"
expected_codes = "600" #! pool "a": monitor: expected_codes "600" is none of the forms "200", "200,202" and "200-204"
[[pool]]
name = "b"
protocol = "TCP"
[pool.monitor]
type = "HTTP"
expected_codes = "+20" #! pool "b": monitor: expected_codes "+20" is none of the forms "200", "200,202" and "200-204"`},
}

var vipCases = []faultCase{
	{"missing", web + `
[[vip]] #! VIP #1: name is missing #! VIP #1: protocol is missing #! VIP #1: port is missing #! VIP #1: pool is missing #! VIP #1: network is missing #! VIP #1: address is missing`},
	{"references", web + `
[[vip]]
name = "v"
network = "grean" #! VIP "v": unknown network "grean"; did you mean "green"?
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "wbe" #! VIP "v": unknown pool "wbe"; did you mean "web"?
router = "r2" #! VIP "v": unknown router "r2"; did you mean "r1"?
[[vip]]
name = "v" #! VIP "v": name is taken by VIP "v" (line 32)
network = "green"
address = "10.2.0.11"
protocol = "UDP"
port = 80
pool = "web" #! VIP "v": pool "web" is for TCP, the VIP for UDP`},
	{"addresses", web + `
[[port]]
name = "p"
network = "blue"
fixed_ip = "10.1.0.3"
[[vip]]
name = "a"
network = "blue"
address = "10.2.0.11" #! VIP "a": address 10.2.0.11 outside 10.1.0.0/24
protocol = "TCP"
port = 80
pool = "web"
[[vip]]
name = "b"
network = "blue"
address = "10.1.0.1" #! VIP "b": address 10.1.0.1 is the gateway of its subnet
protocol = "TCP"
port = 80
pool = "web"
[[vip]]
name = "c"
network = "blue"
address = "10.1.0.3" #! VIP "c": 10.1.0.3 is already the address of port "p" (line 32)
protocol = "TCP"
port = 80
pool = "web"
[[vip]]
name = "d"
network = "ext"
address = "203.0.113.2" #! VIP "d": 203.0.113.2 is already the address of router "r1" (line 19)
protocol = "TCP"
port = 80
pool = "web"
[[vip]]
name = "e"
network = "blue"
address = "10.1.0.9"
protocol = "TCP"
port = 80
pool = "web" #! VIP "e": pool "web" has the VIP itself as a member`},
	{"listeners", web + `
[[vip]]
name = "a"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "web"
[[vip]]
name = "b"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 80 #! VIP "b": TCP port 80 of 10.1.0.11 is already that of VIP "a" (line 32)
pool = "web"`},
	{"limits", web + `
[[vip]]
name = "a"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "web"
connection_limit = 0 #! VIP "a": connection_limit must be at least 1, not 0; leave it out for none
idle_timeout = "0s" #! VIP "a": idle_timeout must be more than 0s, not 0s
allowed_cidrs = [
  "10.0.0.0/8",
  "10.0.0.1/8", #! VIP "a": allowed_cidrs[1] 10.0.0.1/8 has host bits set; write 10.0.0.0/8
  "fd00::/8",   #! VIP "a": allowed_cidrs[2] fd00::/8 is IPv6, the VIP is IPv4
  "all",        #! VIP "a": allowed_cidrs[3]: "all" is not a prefix such as 10.1.0.0/24
]`},
	{"family", web + `
[[network]]
name = "six"
[[network.subnet]]
cidr = "fd00::/64"
[[router]]
name = "r2"
interfaces = ["six"]
[[vip]]
name = "a"
network = "six"
address = "fd00::11"
protocol = "TCP"
port = 80
pool = "web" #! VIP "a": pool "web" has IPv4 members, the VIP is IPv6`},
	{"members that are the router", blue + green + ext + `
[[router]]
name = "r1"
interfaces = ["blue", "green"]
gateway = { network = "ext", address = "203.0.113.2", snat_addresses = ["203.0.113.30-203.0.113.31"] }
[[floating_ip]]
network = "ext"
address = "203.0.113.3"
fixed_ip = "10.1.0.9"
[[floating_ip]]
network = "ext"
address = "203.0.113.4"
fixed_ip = "10.1.0.12"
[[floating_ip]]
network = "ext"
address = "203.0.113.5"
port_forwarding = [{ protocol = "TCP", external_port = 80, fixed_ip = "10.1.0.9", port = 8080 }]
[[floating_ip]]
network = "ext"
address = "203.0.113.6" # nobody has it: whoever gets it may be another router's
[[pool]]
name = "a"
protocol = "TCP"
[[pool.member]]
address = "203.0.113.3" #! pool "a": member "203.0.113.3:80": address 203.0.113.3 belongs to router "r1" itself, which serves VIP "va": it is floating IP 203.0.113.3 (line 23); name the host behind it, 10.1.0.9
port = 80
[[pool.member]]
address = "203.0.113.4" #! pool "a": member "203.0.113.4:80": address 203.0.113.4 belongs to router "r1" itself, which serves VIP "va": it is floating IP 203.0.113.4 (line 27) of VIP "vb" (line 101); name the members of its pool "b"
port = 80
[[pool.member]]
address = "203.0.113.5" #! pool "a": member "203.0.113.5:80": address 203.0.113.5 belongs to router "r1" itself, which serves VIP "va": it is floating IP 203.0.113.5 (line 31); name the host behind the port
port = 80
[[pool.member]]
address = "203.0.113.6"
port = 80
[[pool.member]]
address = "10.2.0.1" #! pool "a": member "10.2.0.1:80": address 10.2.0.1 belongs to router "r1" itself, which serves VIP "va": it is the router's address on network "green"; name the host that has the service
port = 80
[[pool.member]]
address = "203.0.113.2" #! pool "a": member "203.0.113.2:80": address 203.0.113.2 belongs to router "r1" itself, which serves VIP "va": it is the router's address on network "ext"; name the host that has the service
port = 80
[[pool.member]]
address = "203.0.113.31" #! pool "a": member "203.0.113.31:80": address 203.0.113.31 belongs to router "r1" itself, which serves VIP "va": it is one of its snat_addresses; name the host that has the service
port = 80
[[pool.member]]
address = "10.1.0.12" #! pool "a": member "10.1.0.12:80": address 10.1.0.12 belongs to router "r1" itself, which serves VIP "va": it is VIP "vb" (line 101); name the members of its pool "b"
port = 80
[[pool.member]]
name = "another port"
address = "10.1.0.12" #! pool "a": member "another port": address 10.1.0.12 belongs to router "r1" itself, which serves VIP "va": it is VIP "vb" (line 101); name the members of its pool "b"
port = 81
[[pool.member]]
address = "10.1.0.11" #! pool "a": member "10.1.0.11:8080": address 10.1.0.11 belongs to router "r1" itself, which serves VIP "va": it is VIP "va" (line 87); name the host that has the service
port = 8080
[[pool.member]]
address = "10.2.0.255" #! pool "a": member "10.2.0.255:80": address 10.2.0.255 is the broadcast address of 10.2.0.0/24
port = 80
[[pool]]
name = "b"
protocol = "TCP"
[[pool.member]]
address = "10.1.0.9"
port = 8080
[[pool]]
name = "unused"
protocol = "TCP"
[[pool.member]]
address = "10.2.0.1"
port = 80
[[vip]]
name = "va"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "a"
[[vip]]
name = "va2"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 81
pool = "a"
[[vip]]
name = "vb"
network = "blue"
address = "10.1.0.12"
protocol = "TCP"
port = 80
pool = "b"
[[pool]]
name = "c"
protocol = "TCP"
[[pool.member]]
address = "203.0.113.7" #! pool "c": member "203.0.113.7:80": address 203.0.113.7 belongs to router "r1" itself, which serves VIP "vc": it is floating IP 203.0.113.7 (line 121) of VIP "vc" (line 114); name the host that has the service
port = 80
[[vip]]
name = "vc"
network = "green"
address = "10.2.0.12"
protocol = "TCP"
port = 80
pool = "c"
[[floating_ip]]
network = "ext"
address = "203.0.113.7"
fixed_ip = "10.2.0.12"`},
	{"loops", shared + `
[[pool]]
name = "a"
protocol = "TCP"
[[pool.member]]
address = "10.1.0.12"
port = 80
[[pool]]
name = "b"
protocol = "TCP"
[[pool.member]]
address = "203.0.113.7"
port = 8080
[[pool.member]]
address = "10.1.0.11"
port = 81 # no VIP's
[[floating_ip]]
network = "ext"
address = "203.0.113.7"
router = "r1"
port_forwarding = [{ protocol = "TCP", external_port = 8080, fixed_ip = "10.1.0.11", port = 80 }]
[[vip]]
name = "va"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "a"
router = "r1"
[[vip]]
name = "vb"
network = "blue"
address = "10.1.0.12"
protocol = "TCP"
port = 80
pool = "b" #! VIP "vb": pool "b" leads back to the VIP that its connections come from: "va", "vb", "va"
router = "r2"`},
	{"a loop at one router", routed + `
[[pool]]
name = "a"
protocol = "TCP"
[[pool.member]]
address = "10.1.0.12" #! pool "a": member "10.1.0.12:80": address 10.1.0.12 belongs to router "r1" itself, which serves VIP "va": it is VIP "vb" (line 43); name the members of its pool "b"
port = 80
[[pool]]
name = "b"
protocol = "TCP"
[[pool.member]]
address = "10.1.0.11" #! pool "b": member "10.1.0.11:80": address 10.1.0.11 belongs to router "r1" itself, which serves VIP "vb": it is VIP "va" (line 36); name the members of its pool "a"
port = 80
[[vip]]
name = "va"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "a"
[[vip]]
name = "vb"
network = "blue"
address = "10.1.0.12"
protocol = "TCP"
port = 80
pool = "b"`},
	{"next hops and ports that are the router", web + `
[[floating_ip]]
network = "ext"
address = "203.0.113.3"
fixed_ip = "10.1.0.9"
[[floating_ip]]
network = "ext"
address = "203.0.113.5"
port_forwarding = [
  { protocol = "TCP", external_port = 80, fixed_ip = "10.1.0.11", port = 80 },
  { protocol = "TCP", external_port = 81, fixed_ip = "10.1.0.11", port = 81 }, #! floating IP 203.0.113.5: port forwarding #2: fixed_ip 10.1.0.11 is VIP "v" (line 44), where no VIP has TCP port 81
  { protocol = "UDP", external_port = 80, fixed_ip = "10.1.0.11", port = 80 }, #! floating IP 203.0.113.5: port forwarding #3: fixed_ip 10.1.0.11 is VIP "v" (line 44), where no VIP has UDP port 80
]
[[vip]]
name = "v"
network = "blue"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "web"
router = "r1"
[[router]]
name = "r2"
interfaces = [{ network = "blue", address = "10.1.0.2" }]
routes = [{ destination = "192.168.1.0/24", nexthop = "10.1.0.11" }] # another router's VIP
[[router]]
name = "r3"
interfaces = [{ network = "green", address = "10.2.0.3" }]
gateway = { network = "ext", address = "203.0.113.33", snat_addresses = ["203.0.113.40-203.0.113.41"] }
routes = [
  { destination = "192.168.1.0/24", nexthop = "203.0.113.41" }, #! router "r3": route 192.168.1.0/24: nexthop 203.0.113.41 is the router itself: it is one of its snat_addresses
  { destination = "192.168.2.0/24", nexthop = "10.2.0.13" }, #! router "r3": route 192.168.2.0/24: nexthop 10.2.0.13 is the router itself: it is VIP "v3" (line 64)
]
[[vip]]
name = "v3"
network = "green"
address = "10.2.0.13"
protocol = "TCP"
port = 80
pool = "web"
router = "r3"`},
	{"router", blue + green + `
[[router]]
name = "r1"
interfaces = ["blue"]
[[router]]
name = "r2"
interfaces = [{ network = "blue", address = "10.1.0.2" }]
[[pool]]
name = "p"
protocol = "TCP"
[[vip]]
name = "a"
network = "green" #! VIP "a": there is no router to serve 10.2.0.11 on network "green"
address = "10.2.0.11"
protocol = "TCP"
port = 80
pool = "p"
[[vip]]
name = "b"
network = "blue" #! VIP "b": routers "r1", "r2" all serve 10.1.0.11 on network "blue"; say which with router = "r1"
address = "10.1.0.11"
protocol = "TCP"
port = 80
pool = "p"
[[vip]]
name = "c"
network = "blue"
address = "10.1.0.12"
protocol = "TCP"
port = 80
pool = "p"
router = "r1"
[[vip]]
name = "d"
network = "blue"
address = "10.1.0.12"
protocol = "TCP"
port = 81
pool = "p"
router = "r2" #! VIP "d": router "r2" is another than that of VIP "c" at the same address, "r1"
[[vip]]
name = "e"
network = "green"
address = "10.2.0.12"
protocol = "TCP"
port = 81
pool = "p"
router = "r2" #! VIP "e": router "r2" does not serve 10.2.0.12 on network "green"`},
}
