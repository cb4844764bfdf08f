package file_test

// The cases of TestFaults: ports, floating IPs.

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
