package file_test

// The cases of TestFaults: ports, floating IPs, load balancing, labs.

var portCases = []faultCase{
	{"names", blue + `
[[port]] #! port #1: name is missing #! port #1: network is missing #! port #1: fixed_ip is missing
[[port]]
name = "p"
network = "bleu" #! port "p": unknown network "bleu"; did you mean "blue"?
fixed_ip = "10.1.0.3"
[[port]]
name = "p" #! port "p": name is taken by port "p" (line 9)
network = "blue"
fixed_ip = "10.1.0.4"`},
	{"addresses", routed + `
[[port]]
name = "a"
network = "blue"
fixed_ip = "10.2.0.3" #! port "a": fixed_ip 10.2.0.3 outside 10.1.0.0/24
[[port]]
name = "b"
network = "blue"
fixed_ip = "10.1.0.1" #! port "b": 10.1.0.1 is already the address of router "r1" (line 19)
[[port]]
name = "c"
network = "blue"
fixed_ip = "10.1.0.3"
mac = "fa:16:3e:aa:bb:03"
[[port]]
name = "d"
network = "blue"
fixed_ip = "10.1.0.3" #! port "d": 10.1.0.3 is already the address of port "c" (line 32)
mac = "FA-16-3E-AA-BB-03" #! port "d": mac fa:16:3e:aa:bb:03 is already that of port "c" (line 32)`},
	{"MACs", blue + `
[[port]]
name = "a"
network = "blue"
fixed_ip = "10.1.0.3"
mac = "fa:16:3e:aa:bb" #! port "a": mac: "fa:16:3e:aa:bb" is not a MAC address such as fa:16:3e:aa:bb:03
[[port]]
name = "b"
network = "blue"
fixed_ip = "10.1.0.4"
mac = "00:00:00:00:00:00" #! port "b": mac: MAC address 00:00:00:00:00:00 is nobody's: it is all zeros
[[port]]
name = "c"
network = "blue"
fixed_ip = "10.1.0.5"
mac = "01:00:5e:00:00:01" #! port "c": mac: MAC address 01:00:5e:00:00:01 is a group's, not a host's: the first byte is odd`},
	{"device", blue + `
[[port]]
name = "a"
network = "blue"
fixed_ip = "10.1.0.3"
device = "tap:bleu" #! port "a": unknown device "tap:bleu"; did you mean "tap:blue"? It must be one of the devices of network "blue"
[[port]]
name = "b"
network = "blue"
fixed_ip = "10.1.0.4"
device = "" #! port "b": unknown device "". It must be one of the devices of network "blue"
[[network]]
name = "wrong"
devices = ["tap:"] #! network "wrong": devices[0]: device "tap:" names no interface
[[network]]
name = "list"
devices = "tap:x" #! network "list": devices must be a list, not "tap:x"
[[port]]
name = "c"
network = "wrong"
device = "tap:x"
fixed_ip = "10.1.0.5" #! port "c": fixed_ip 10.1.0.5 outside network "wrong", which has no subnet
[[port]]
name = "d"
network = "list"
device = "tap:x"
fixed_ip = "10.1.0.5" #! port "d": fixed_ip 10.1.0.5 outside network "list", which has no subnet`},
	{"address pairs", blue + `
[[port]]
name = "a"
network = "blue"
fixed_ip = "10.1.0.3"
allowed_address_pairs = [
  { mac = "fa:16:3e:aa:bb:03" }, #! port "a": allowed address pair #1: ip is missing
  { ip = "10.1.0.1/24" },        #! port "a": allowed address pair 10.1.0.1/24: ip 10.1.0.1/24 has host bits set; write 10.1.0.0/24
  { ip = "blue" },               #! port "a": allowed address pair "blue": ip: "blue" is not a prefix such as 10.1.0.0/24
]`},
}

var floatingCases = []faultCase{
	{"network and address", routed + `
[[floating_ip]] #! floating IP #1: network is missing
[[floating_ip]]
network = "blue" #! floating IP #2: network "blue" is not external; a floating IP needs one with external = true
[[floating_ip]]
network = "ext"
address = "198.51.100.9" #! floating IP 198.51.100.9: address 198.51.100.9 outside 203.0.113.0/24
[[floating_ip]]
network = "ext"
address = "203.0.113.1" #! floating IP 203.0.113.1: address 203.0.113.1 is the gateway of its subnet
[[floating_ip]]
network = "ext"
address = "203.0.113.2" #! floating IP 203.0.113.2: 203.0.113.2 is already the address of router "r1" (line 19)
[[floating_ip]]
network = "ext"
address = "203.0.113.9"
[[floating_ip]]
network = "ext"
address = "203.0.113.9" #! floating IP 203.0.113.9: 203.0.113.9 is already the address of floating IP 203.0.113.9 (line 36)`},
	{"none left", `
[[network]]
name = "ext"
external = true
[[network.subnet]]
cidr = "203.0.113.0/29"
allocation_pools = ["203.0.113.2-203.0.113.2"]
[[floating_ip]]
network = "ext"
[[floating_ip]] #! floating IP #2: no free address is left in the allocation pools of network "ext" (203.0.113.0/29)
network = "ext"`},
	{"fixed address", routed + `
[[floating_ip]]
network = "ext"
fixed_ip = "10.9.0.3" #! floating IP #1: there is no router to reach 10.9.0.3 and have a gateway on network "ext"
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.1" #! floating IP #2: fixed_ip 10.1.0.1 is the router's own address on network "blue"
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.0" #! floating IP #3: fixed_ip 10.1.0.0 is the network address of 10.1.0.0/24
[[floating_ip]]
network = "ext"
address = "203.0.113.20"
fixed_ip = "fd00::5" #! floating IP 203.0.113.20: fixed_ip fd00::5 is IPv6, but 203.0.113.20 is IPv4
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.3"
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.3" #! floating IP #6: fixed_ip 10.1.0.3 already has floating IP #5 (line 37)`},
	{"router", routed + `
[[network]]
name = "blue2"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[router]]
name = "r2"
interfaces = ["blue2"]
gateway = { network = "ext" }
[[router]]
name = "r3"
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.3" #! floating IP #1: routers "r1", "r2" all reach 10.1.0.3 and have a gateway on network "ext"; say which with router = "r1"
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.3"
router = "r2"
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.4"
router = "r4" #! floating IP #3: unknown router "r4"; did you mean "r1"?
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.4"
router = "r3" #! floating IP #4: router "r3" does not reach 10.1.0.4 and have a gateway on network "ext"
[[floating_ip]]
network = "ext"
router = "r3" #! floating IP #5: router "r3" does not have a gateway on network "ext"
[[floating_ip]]
network = "ext"
router = "" #! floating IP #6: router is empty`},
	{"port forwarding", routed + `
[[floating_ip]]
network = "ext"
fixed_ip = "10.1.0.3"
port_forwarding = [ #! floating IP #1: fixed_ip and port_forwarding exclude each other: all of the address is mapped, or some ports are
  { protocol = "TCP", external_port = 80, fixed_ip = "10.1.0.3", port = 8080 },
]
[[floating_ip]]
network = "ext"
port_forwarding = [
  { protocol = "TCP", external_port = 80, fixed_ip = "10.1.0.3", port = 8080 },
  { protocol = "UDP", external_port = 80, fixed_ip = "10.1.0.3", port = 8080 },
  { protocol = "TCP", external_port = 80, fixed_ip = "10.1.0.4", port = 8080 }, #! floating IP #2: port forwarding #3: TCP port 80 is already taken by floating IP #2: port forwarding #1 (line 33)
  { protocol = "tcq", external_port = 81, fixed_ip = "10.1.0.4", port = 8080 }, #! floating IP #2: port forwarding #4: unknown protocol "tcq"; did you mean "TCP"?
  { external_port = 0, fixed_ip = "10.1.0.1", port = 70000 }, #! floating IP #2: port forwarding #5: external_port must be a port from 1 to 65535, not 0 #! floating IP #2: port forwarding #5: port must be a port from 1 to 65535, not 70000 #! floating IP #2: port forwarding #5: protocol is missing #! floating IP #2: fixed_ip 10.1.0.1 is the router's own address on network "blue"
  {}, #! floating IP #2: port forwarding #6: protocol is missing #! floating IP #2: port forwarding #6: external_port is missing #! floating IP #2: port forwarding #6: port is missing #! floating IP #2: port forwarding #6: fixed_ip is missing
]
[[floating_ip]]
network = "ext"
port_forwarding = [ #! floating IP #3: there is no router to reach 10.1.0.3, 10.9.0.3 and have a gateway on network "ext"
  { protocol = "TCP", external_port = 80, fixed_ip = "10.1.0.3", port = 8080 },
  { protocol = "TCP", external_port = 81, fixed_ip = "10.9.0.3", port = 8080 },
  { protocol = "TCP", external_port = 82, fixed_ip = "10.1.0.3", port = 8080 },
]`},
}

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
type = "TLS"              #! pool "c": monitor: unknown type "TLS"; known: TCP, HTTP, HTTPS, PING, UDP-CONNECT
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
[[pool]]
name = "e"
protocol = "TCP"
[pool.monitor]
type = "HTTPS"
url_path = "/a b"         #! pool "e": monitor: url_path "/a b" must begin with / and hold no blanks
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

var instanceCases = []faultCase{
	{"names", blue + `
[[instance]] #! instance #1: name is missing #! instance #1: network is missing
[[instance]]
name = "a"
network = "bleu" #! instance "a": unknown network "bleu"; did you mean "blue"?
[[instance]]
name = "a" #! instance "a": name is taken by instance "a" (line 9)
network = "blue"`},
	{"addresses", routed + `
[[port]]
name = "p"
network = "blue"
fixed_ip = "10.1.0.3"
mac = "fa:16:3e:aa:bb:03"
[[instance]]
name = "a"
network = "blue"
address = "10.2.0.3" #! instance "a": address 10.2.0.3 outside 10.1.0.0/24
[[instance]]
name = "b"
network = "blue"
address = "10.1.0.3" #! instance "b": 10.1.0.3 is already the address of port "p" (line 24)
mac = "fa:16:3e:aa:bb:03" #! instance "b": mac fa:16:3e:aa:bb:03 is already that of port "p" (line 24)
[[instance]]
name = "c"
network = "blue"
address = "10.1.0.1" #! instance "c": 10.1.0.1 is already the address of router "r1" (line 19)
[[instance]]
name = "d"
network = "blue"
address = "10.1.0.4"
[[instance]]
name = "e"
network = "blue"
address = "10.1.0.4" #! instance "e": 10.1.0.4 is already the address of instance "d" (line 42)
mac = "02-" #! instance "e": mac: "02-" is not a MAC address such as fa:16:3e:aa:bb:03`},
	{"gateway", blue + `
[[instance]]
name = "a"
network = "blue"
address = "10.1.0.3"
gateway = "10.1.0.3" #! instance "a": gateway 10.1.0.3 is the instance itself
[[instance]]
name = "b"
network = "blue"
gateway = "10.2.0.1" #! instance "b": gateway 10.2.0.1 outside 10.1.0.0/24`},
	{"none left", `
[[network]]
name = "tiny"
[[network.subnet]]
cidr = "10.1.0.0/31"
[[instance]]
name = "a"
network = "tiny"
[[instance]] #! instance "b": no free address is left in the allocation pools of network "tiny" (10.1.0.0/31)
name = "b"
network = "tiny"`},
	{"services", blue + `
[[instance]]
name = "a"
network = "blue"
serve = ["http:80", "https:443", "ftp:21", "echo:80", "echo", "echo:0", "echo:7"] #! instance "a": serve[4]: "echo" is not a service such as http:80 or echo:7 #! instance "a": serve[5]: "echo:0" is not a service such as http:80 or echo:7 #! instance "a": unknown service "https"; did you mean "http"? #! instance "a": unknown service "ftp"; known: http, echo #! instance "a": port 80 is served already`},
}

var stepCases = []faultCase{
	{"steps", blue + `
[[instance]]
name = "vm"
network = "blue"
[[step]] #! step #1: do is missing
[[step]]
title = "t"
on = "mv"     #! step "t": unknown instance "mv"; did you mean "vm"?
do = "pong x" #! step "t": unknown verb "pong"; did you mean "ping"?
times = 0     #! step "t": times must be at least 1, not 0
within = "0s" #! step "t": within must be more than 0s, not 0s
expect = 5    #! step "t": expect must be a string or a list of strings, not 5
[[step]]
do = "ping 10.1.0.1" #! step #3: ping needs an instance to run on; write on = NAME
times = 3
expect = ["a", "b"] #! step #3: expect has 2 texts for 3 times; give one for all or one for each
[[step]]
on = ""       #! step #4: on is empty
do = " "      #! step #4: do is empty
expect = ""   #! step #4: expect is empty, which every output holds
[[step]]
on = "vm"
do = "show conntrack" #! step #5: unknown verb "show"; known: ping, curl, browse, connect, send, traceroute, start, stop, wait
times = 2
expect = ["a",
  ""] #! step #5: expect is empty, which every output holds`},
	{"one time", blue + `
[[step]]
do = "wait"
expect = ["a", "b"] #! step #1: expect has 2 texts for 1 times; give one for all or one for each`},
	{"packets", blue + `
[[step]]
do = "wait"
sees = [
  { src = "10.1.0.1" },   #! step #1: sees #1: network is missing
  { network = "bleu" },   #! step #1: sees #2: unknown network "bleu"; did you mean "blue"?
]
never = [
  { network = "blue", src = "10.1.0.1", dst = "fd00::1" }, #! step #1: never #1: dst fd00::1 is IPv6, src 10.1.0.1 is IPv4
  { network = "blue", protocol = "ICMP", dst_port = 80 },  #! step #1: never #2: ICMP has no ports
  { network = "blue", protocol = "SCTP", src_port = 0 },   #! step #1: never #3: src_port must be a port from 1 to 65535, not 0 #! step #1: never #3: unknown protocol "SCTP"; known: TCP, UDP, ICMP
  5,                                                       #! step #1: never[3] must be a table, not 5
]`},
}
