package file_test

import (
	"fmt"
	"strings"
)

// A growth is a kind of file that can have any number of entries of one sort.
type growth struct {
	name  string
	valid bool
	text  func(n int) string
}

// many joins what f gives for 0 to n-1.
func many(n int, sep string, f func(i int) string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = f(i)
	}
	return strings.Join(parts, sep)
}

// tables writes n tables, each by a format with the number as its one argument.
func tables(format string) func(i int) string {
	return func(i int) string { return fmt.Sprintf(format, i) }
}

// nth is the i-th address after 10.0.0.0, and net29 the i-th prefix of 8 addresses there.
func nth(i int) string   { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }
func net29(i int) string { return nth(8*i) + "/29" }

// Parts of files.
const (
	wide    = "[[network]]\nname = \"wide\"\n[[network.subnet]]\ncidr = \"10.0.0.0/8\"\n"
	outside = "[[network]]\nname = \"outside\"\nexternal = true\n[[network.subnet]]\ncidr = \"11.0.0.0/8\"\n"
	both    = wide + outside + "[[router]]\nname = \"r\"\ninterfaces = [\"wide\"]\n" +
		"gateway = { network = \"outside\", address = \"11.0.0.2\" }\n"
	onePool = "[[pool]]\nname = \"p\"\nprotocol = \"TCP\"\nmember = [{ address = \"10.9.9.9\", port = 80 }]\n"
)

// small are n networks of one subnet each, in prefixes of their own.
func small(n int) string {
	return many(n, "", func(i int) string {
		return fmt.Sprintf("[[network]]\nname = \"n%d\"\n[[network.subnet]]\ncidr = %q\n", i, net29(i))
	})
}

// same are n networks of the same prefix.
func same(n int) string {
	return many(n, "", tables("[[network]]\nname = \"n%d\"\n[[network.subnet]]\ncidr = \"10.0.0.0/24\"\n"))
}

// subnets is a network with n subnets.
func subnets(n int, header, keys string) string {
	return header + many(n, "", func(i int) string {
		return fmt.Sprintf("[[network.subnet]]\ncidr = %q\n%s", net29(i), keys)
	})
}

const (
	bare     = "[[network]]\nname = \"a\"\n"
	bareOut  = bare + "external = true\n"
	labelled = "[[physical_network]]\nname = \"l\"\ndevices = [\"tap:a\", \"tap:b\"]\n"
)

// routers are n routers, each on a network of its own and all on the external one.
func routers(n int) string {
	return outside + many(n, "", func(i int) string {
		return fmt.Sprintf("[[router]]\nname = \"r%d\"\ninterfaces = [\"n%d\"]\n"+
			"gateway = { network = \"outside\", address = \"11%s\" }\n", i, i, nth(i + 2)[2:])
	})
}

// joined is a router on n networks.
func joined(n int) string {
	return "[[router]]\nname = \"r\"\ninterfaces = [" + many(n, ", ", tables(`"n%d"`)) + "]\n"
}

// chain are VIPs of n routers, each of which has the next one as its only member. The last one's is at address last.
func chain(n int, last string) string {
	return small(n) + routers(n) + many(n, "", func(i int) string {
		to := "11" + nth(1<<20 + i + 1)[2:]
		if i == n-1 {
			to = last
		}
		return fmt.Sprintf("[[vip]]\nname = \"v%d\"\nnetwork = \"outside\"\naddress = \"11%s\"\nprotocol = \"TCP\"\n"+
			"port = 80\npool = \"p%d\"\nrouter = \"r%d\"\n"+
			"[[pool]]\nname = \"p%d\"\nprotocol = \"TCP\"\nmember = [{ address = %q, port = 80 }]\n", i,
			nth(1<<20 + i)[2:], i, i, i, to)
	})
}

const firstOfChain = "11.16.0.0"

// growths are the tables and lists that a file may have many of: valid, and in conflict with each other.
func growths() []growth {
	list := func(key string, f func(i int) string) func(int) string {
		return func(n int) string { return key + " = [" + many(n, ", ", f) + "]\n" }
	}
	after := func(head string, f func(int) string) func(int) string {
		return func(n int) string { return head + f(n) }
	}
	each := func(head, format string, args ...func(i int) string) func(int) string {
		return func(n int) string {
			return head + many(n, "", func(i int) string {
				var a []any
				for _, f := range args {
					a = append(a, f(i))
				}
				return fmt.Sprintf(format, a...)
			})
		}
	}
	num := tables("%d")
	zero := func(int) string { return "0" }
	host := func(i int) string { return nth(i + 2) }
	out := func(i int) string { return "11" + nth(i + 300)[2:] }
	at := func(a string) func(int) string { return func(int) string { return a } }
	tap := tables(`"tap:d%d"`)
	route := func(dst, via func(int) string) func(int) string {
		return func(i int) string { return fmt.Sprintf("{ destination = %q, nexthop = %q }", dst(i), via(i)) }
	}
	far := func(i int) string { return "12" + net29(i)[2:] }
	member := func(a func(int) string) func(int) string {
		return func(i int) string { return fmt.Sprintf("{ address = %q, port = 80 }", a(i)) }
	}
	port := func(i int) string { return fmt.Sprint(1 + i) }
	vlan := func(i int) string { return fmt.Sprint(1 + i%100) }
	fip := "[[floating_ip]]\nnetwork = \"outside\"\n"
	vip := "[[vip]]\nname = \"v%s\"\nnetwork = \"wide\"\naddress = %q\nprotocol = \"TCP\"\nport = %s\npool = \"p\"\n"
	forward := "[[floating_ip.port_forwarding]]\nprotocol = \"TCP\"\nexternal_port = %s\nfixed_ip = %q\nport = 80\n"
	instance := "[[instance]]\nname = \"i%s\"\nnetwork = %q\n"
	name := tables("n%d")
	pool := "[[pool]]\nname = \"p\"\nprotocol = \"TCP\"\n"
	step := "[[step]]\ndo = \"ping 10.0.0.1\"\non = %q\n"
	sub := wide[strings.Index(wide, "[[network.subnet"):]
	return []growth{
		{"subnets", true, func(n int) string { return subnets(n, bare, "") }},
		{"subnets, all the same", false, each(bare, "%s", at(sub))},
		{"subnets, inside each other", false,
			each(bare, "[[network.subnet]]\ncidr = \"10.0.0.%s\"\n", func(i int) string {
				return []string{"0/24", "0/25", "0/26", "128/25", "192/26", "0/27", "64/26"}[i%7]
			})},
		{"subnets in one", false, func(n int) string { return subnets(n, bare+sub, "") }},
		{"subnets, the last around all", false, func(n int) string { return subnets(n, bare, "") + sub }},
		{"networks", true, small},
		{"networks of one name", false, each("", "%s", at(wide))},
		{"networks on one device", false, each("", "[[network]]\nname = \"n%s\"\ndevices = [\"tap:a\"]\n", num)},
		{"VLANs", false, each("", "[[network]]\nname = \"n%s\"\ndevices = [\"tap:a\"]\nvlan = %s\n", num, vlan)},
		{"networks with a label", false, each(labelled,
			"[[network]]\nname = \"n%s\"\nphysical_network = \"l\"\nvlan = %s\n", num, vlan)},
		{"devices", true, after(bare, list("devices", tap))},
		{"devices, all the same", false, after(bare, list("devices", at(`"tap:a"`)))},
		{"physical networks", true, each("", "[[physical_network]]\nname = \"l%s\"\ndevices = [%s]\n", num, tap)},
		{"physical networks on one device", false,
			each("", "[[physical_network]]\nname = \"l%s\"\ndevices = [\"tap:a\"]\n", num)},
		{"devices of a label", true, func(n int) string {
			return "[[physical_network]]\nname = \"l\"\n" + list("devices",
				tap)(n) + bare + "physical_network = \"l\"\n"
		}},
		{"devices of a label, all the same", false, func(n int) string {
			return "[[physical_network]]\nname = \"l\"\n" + list("devices", at(`"tap:a"`))(n) + bare +
				"physical_network = \"l\"\n"
		}},
		{"allocation pools", true, after(wide,
			list("allocation_pools", func(i int) string { return fmt.Sprintf("\"%s-%s\"", host(2*i), host(2*i)) }))},
		{"allocation pools, the last first", true, func(n int) string {
			return wide + list("allocation_pools",
				func(i int) string { return fmt.Sprintf("\"%s-%s\"", host(2*(n-i)), host(2*(n-i))) })(n)
		}},
		{"allocation pools, all the same", false, after(wide, list("allocation_pools", at(`"10.0.0.2-10.0.0.9"`)))},
		{"allocation pools around others", false, func(n int) string {
			return wide + list("allocation_pools", func(i int) string {
				if i < n/2 {
					return fmt.Sprintf("\"%s-%s\"", host(2*i), host(2*i))
				}
				return `"10.0.0.2-10.200.0.9"`
			})(n)
		}},
		{"dns_nameservers", true, after(wide, list("dns_nameservers", func(i int) string {
			return fmt.Sprintf("%q", host(i))
		}))},
		{"host_routes", true, after(wide, list("host_routes", route(far, host)))},
		{"host_routes, all the same", false, after(wide, list("host_routes", route(at("12.0.0.0/8"), host)))},
		{"interfaces", true, func(n int) string { return small(n) + joined(n) }},
		{"interfaces that overlap", false, func(n int) string { return same(n) + joined(n) }},
		{"interfaces, all the same", false, func(n int) string {
			return wide + "[[router]]\nname = \"r\"\n" +
				list("interfaces", at(`"wide"`))(n)
		}},
		{"an interface in subnets", true, func(n int) string {
			return subnets(n, bare,
				"") + "[[router]]\nname = \"r\"\ninterfaces = [\"a\"]\n"
		}},
		{"a gateway in subnets", true, func(n int) string {
			return subnets(n, bareOut, "") + "[[router]]\nname = \"r\"\ninterfaces = []\n" +
				"gateway = { network = \"a\" }\n"
		}},
		{"a gateway in subnets, all the same", false, func(n int) string {
			return each(bareOut, "%s", at(sub))(n) +
				"[[router]]\nname = \"r\"\ninterfaces = []\ngateway = { network = \"a\", address = \"10.0.0.2\" }\n"
		}},
		{"routers", true, func(n int) string { return small(n) + routers(n) }},
		{"routers without gateways", true, func(n int) string {
			return small(n) + routers(n/2) + many(n/2, "", func(i int) string {
				return fmt.Sprintf("[[router]]\nname = \"s%d\"\ninterfaces = [\"n%d\"]\n", i, n/2+i)
			})
		}},
		{"routers, all the same", false, each(wide, "[[router]]\nname = \"r\"\ninterfaces = [\"wide\"]\n")},
		{"gateways, all the same", false, each(outside,
			"[[router]]\nname = \"r%s\"\ninterfaces = []\n"+
				"gateway = { network = \"outside\", address = \"11.0.0.2\" }\n", num)},
		{"gateways to choose", true, each(outside,
			"[[router]]\nname = \"r%s\"\ninterfaces = []\ngateway = { network = \"outside\" }\n", num)},
		{"routes", true, after(both, list("routes", route(far, host)))},
		{"routes, all the same", false, after(both, list("routes", route(at("12.0.0.0/24"), host)))},
		{"routes from many networks", true, func(n int) string {
			return small(n) + joined(n) + list("routes", route(far, func(i int) string { return nth(8*i + 2) }))(n)
		}},
		{"routes to nowhere", false, func(n int) string {
			return small(n) + joined(n) + list("routes",
				route(far, at("13.0.0.1")))(n)
		}},
		{"routes to networks", false, func(n int) string {
			return small(n) + joined(n) + list("routes",
				route(net29, host))(n)
		}},
		{"snat_addresses", false, func(n int) string {
			return outside + "[[router]]\nname = \"r\"\ninterfaces = []\n[router.gateway]\nnetwork = \"outside\"\n" +
				list("snat_addresses", func(i int) string { return fmt.Sprintf("\"%s-11.200.0.0\"", out(i)) })(n)
		}},
		{"no_snat", true, after(both+"[nat]\n", list("no_snat", func(i int) string { return `"` + far(i) + `"` }))},
		{"ports", true, each(wide, "[[port]]\nname = \"p%s\"\nnetwork = \"wide\"\nfixed_ip = %q\n", num, host)},
		{"ports, all the same", false, each(wide,
			"[[port]]\nname = \"p\"\nnetwork = \"wide\"\nfixed_ip = \"10.0.0.2\"\nmac = \"02:00:00:00:00:01\"\n")},
		{"ports in subnets", true, func(n int) string {
			return subnets(n, bare, "") + each("", "[[port]]\nname = \"p%s\"\nnetwork = \"a\"\nfixed_ip = %q\n", num,
				func(i int) string { return nth(8*i + 2) })(n)
		}},
		{"ports outside", false, func(n int) string {
			return subnets(n, bare, "") + each("",
				"[[port]]\nname = \"p%s\"\nnetwork = \"a\"\nfixed_ip = \"13.0.0.1\"\n", num)(n)
		}},
		{"ports on devices", true, func(n int) string {
			return bare + list("devices", tap)(n) + sub + each("",
				"[[port]]\nname = \"p%s\"\nnetwork = \"a\"\nfixed_ip = %q\ndevice = %s\n", num, host, tap)(n)
		}},
		{"ports on no device", false, func(n int) string {
			return bare + list("devices", tap)(n) + sub + each("",
				"[[port]]\nname = \"p%s\"\nnetwork = \"a\"\nfixed_ip = %q\ndevice = \"raw:d%s\"\n", num, host, num)(n)
		}},
		{"allowed_address_pairs", true, after(wide+"[[port]]\nname = \"p\"\nnetwork = \"wide\"\n"+
			"fixed_ip = \"10.0.0.2\"\n",
			list("allowed_address_pairs", func(i int) string { return fmt.Sprintf("{ ip = %q }", host(i)) }))},
		{"floating IPs", true, each(both, fip+"address = %q\nfixed_ip = %q\n", out, host)},
		{"floating IPs to choose", true, each(both, fip+"fixed_ip = %q\n", host)},
		{"floating IPs, all the same", false, each(both, fip+"address = \"11.0.1.0\"\nfixed_ip = \"10.0.0.2\"\n")},
		{"floating IPs of many routers", true, func(n int) string {
			return small(n) + routers(n) + each("", fip+"address = %q\nfixed_ip = %q\n",
				func(i int) string { return "11" + nth(1<<20 + i)[2:] },
				func(i int) string { return nth(8*i + 2) })(n)
		}},
		{"floating IPs of any router", false, func(n int) string {
			return same(n) + routers(n) + each("", fip+"address = %q\nfixed_ip = \"10.0.0.3\"\n",
				func(i int) string { return "11" + nth(1<<20 + i)[2:] })(n)
		}},
		{"idle floating IPs of many routers", true, func(n int) string {
			return small(n) + routers(n) + each("", fip+"address = %q\nrouter = \"r%s\"\n",
				func(i int) string { return "11" + nth(1<<20 + i)[2:] }, num)(n)
		}},
		{"floating IPs from small subnets", true, func(n int) string {
			return subnets(n, bareOut, "") + each("", "[[floating_ip]]\nnetwork = \"a\"\n")(n)
		}},
		{"floating IPs without addresses", false, func(n int) string {
			return subnets(n, bareOut, "") + each("", "[[floating_ip]]\nnetwork = \"a\"\n")(7*n)
		}},
		{"port forwardings", true, func(n int) string {
			return each(both+fip, forward, port, host)(n)
		}},
		{"port forwardings, all the same", false, each(both+fip, forward, at("80"), host)},
		{"port forwardings in many networks", true, func(n int) string {
			gateway := "gateway = { network = \"outside\" }\n"
			return outside + small(n) + joined(n) + gateway + each(fip, forward, port,
				func(i int) string { return nth(8*i + 2) })(n)
		}},
		{"members", true, after(both+pool, list("member", member(host)))},
		{"members, all the same", false, after(both+pool, list("member", member(at("10.0.0.2"))))},
		{"members of a VIP", true, func(n int) string {
			return both + pool + list("member", member(host))(n) + fmt.Sprintf(vip, "0", "10.200.0.0", "80")
		}},
		{"members of a VIP in many networks", true, func(n int) string {
			return small(n) + joined(n) + pool + list("member", member(func(i int) string { return nth(8*i + 2) }))(n) +
				"[[vip]]\nname = \"v\"\nnetwork = \"n0\"\naddress = \"10.0.0.3\"\nprotocol = \"TCP\"\nport = 80\n" +
				"pool = \"p\"\n"
		}},
		{"members that are VIPs", false, func(n int) string {
			return each(both, vip, num, at("10.200.0.0"), port)(n) + pool + list("member", func(i int) string {
				return fmt.Sprintf("{ address = \"10.200.0.0\", port = %d }", i+1)
			})(n)
		}},
		{"members that are floating ports", true, func(n int) string {
			return small(2) + routers(2) + each(fip+"router = \"r0\"\naddress = \"11.1.0.0\"\n", forward, port,
				at("10.0.0.2"))(n) +
				pool + list("member", func(i int) string {
				return fmt.Sprintf("{ address = \"11.1.0.0\", port = %d }",
					i+1)
			})(n) +
				"[[vip]]\nname = \"v\"\nnetwork = \"n1\"\naddress = \"10.0.0.11\"\nprotocol = \"TCP\"\nport = 80\n" +
				"pool = \"p\"\n"
		}},
		{"pools", true, each(wide, "[[pool]]\nname = \"p%s\"\nprotocol = \"TCP\"\n"+
			"member = [{ address = \"10.0.0.2\", port = 80 }]\n", num)},
		{"pools of one name", false, each(wide, onePool)},
		{"VIPs", true, each(both+onePool, vip, num, host, at("80"))},
		{"VIPs at one address", true, each(both+onePool, vip, num, at("10.200.0.0"), port)},
		{"VIPs, all the same", false, each(both+onePool, vip, zero, at("10.200.0.0"), at("80"))},
		{"VIPs of many routers", true, func(n int) string {
			return small(n) + routers(n) + onePool + each("",
				"[[vip]]\nname = \"v%s\"\nnetwork = \"n%s\"\naddress = %q\nprotocol = \"TCP\"\nport = 80\n"+
					"pool = \"p\"\n",
				num, num, func(i int) string { return nth(8*i + 2) })(n)
		}},
		{"VIPs of any router", false, func(n int) string {
			return small(n) + routers(n) + onePool + each("",
				"[[vip]]\nname = \"v%s\"\nnetwork = \"outside\"\naddress = %q\nprotocol = \"TCP\"\nport = 80\n"+
					"pool = \"p\"\n",
				num, func(i int) string { return "11" + nth(1<<20 + i)[2:] })(n)
		}},
		{"VIPs in a row", true, func(n int) string { return chain(n, "12.0.0.1") }},
		{"VIPs in a circle", false, func(n int) string { return chain(n, firstOfChain) }},
		{"allowed_cidrs", true, after(both+onePool+fmt.Sprintf(vip, "0", "10.200.0.0", "80"), list("allowed_cidrs",
			func(i int) string { return `"` + far(i) + `"` }))},
		{"instances", true, each(wide, instance+"address = %q\n", num, at("wide"), host)},
		{"instances to place", true, each(wide, instance, num, at("wide"))},
		{"instances, all the same", false, each(wide, instance+"address = \"10.0.0.2\"\n", zero, at("wide"))},
		{"instances in many networks", true, func(n int) string {
			return small(n) + joined(n) + each("", instance, num,
				name)(n)
		}},
		{"instances of many routers, without a gateway", true, func(n int) string {
			return wide + each("", "[[router]]\nname = \"r%s\"\ninterfaces = [{ network = \"wide\", address = %q }]\n",
				num, host)(n) +
				each("", instance+"address = %q\ngateway = \"10.201.0.0\"\n", num, at("wide"),
					func(i int) string { return nth(100<<16 + i) })(n)
		}},
		{"services", true, after(wide+fmt.Sprintf(instance, "0", "wide"), list("serve",
			func(i int) string { return `"http:` + port(i) + `"` }))},
		{"services, all the same", false, after(wide+fmt.Sprintf(instance, "0", "wide"), list("serve",
			at(`"http:80"`)))},
		{"steps", true, each(wide+fmt.Sprintf(instance, "0", "wide"), step, at("i0"))},
		{"steps of nobody", false, func(n int) string {
			return wide + each("", instance, num, at("wide"))(n) + each("", step, tables("h%d"))(n)
		}},
		{"a long name", false, func(n int) string {
			return "[[router]]\nname = \"" + strings.Repeat("x", 100*n) + "\"\n" + list("interfaces",
				tables(`"m%d"`))(n)
		}},
		{"a long name in messages", false, func(n int) string {
			return "[[network]]\nname = \"" + strings.Repeat("x",
				100*n) + "\"\nexternal = true\n[[network]]\nname = \"a\"\n" +
				each("", "[[router]]\nname = \"r%s\"\ninterfaces = [\"a\"]\n", num)(n)
		}},
		{"unknown keys", false, func(n int) string { return wide + many(n, "", tables("k%d = 1\n")) }},
		{"long unknown names", false, func(n int) string {
			long := strings.Repeat("y", 200)
			return each("", "[[network]]\nname = \"%s"+long+"\"\n", num)(n/8) + "[[router]]\nname = \"r\"\n" +
				list("interfaces", tables(`"%d`+strings.Replace(long, "y", "z", 100)+`"`))(n/8)
		}},
	}
}
