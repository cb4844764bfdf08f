package file_test

// The cases of TestFaults: instances, steps.

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

// DHCP knows an instance by its MAC address, and tells it where the gateway is.
var clientCases = []faultCase{
	{"clients", blue + `
[[port]]
name = "p"
network = "blue"
fixed_ip = "10.1.0.3"
[[instance]]
name = "p"
network = "blue"
dhcp = true #! instance "p": dhcp needs the MAC address of port "p": write mac = "fa:16:3e:d1:4d:8f" there
[[instance]]
name = "a"
network = "blue"
gateway = "10.1.0.1" #! instance "a": gateway: with dhcp the server says it; take the key out, or write dhcp = false
dhcp = true
[[instance]]
name = "b"
network = "blue"
dhcp = 1 #! instance "b": dhcp must be true or false, not 1`},
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
do = "show conntrack" #! step #5: unknown verb "show"; known: ping, curl, browse, connect, send, traceroute, start, stop, dhcp, dig, arping, ip, nc, echo, wait
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
  { device = "tap:blue", network = "blue" },               #! step #1: never #4: it is network or device, not both
  { network = "blue", vlan = 100 },                        #! step #1: never #5: vlan: packets of a network have no tags; name a device instead of the network
  { device = "tap:blue", vlan = 4095 },                    #! step #1: never #6: vlan 4095 is not from 1 to 4094
  { device = "tap:blue", vlan = 0 },                       #! step #1: never #7: vlan 0 is not from 1 to 4094
  { device = "tap:blue", vlan = 4094, src = "10.1.0.1" },
  5,                                                       #! step #1: never[8] must be a table, not 5
]`},
}
