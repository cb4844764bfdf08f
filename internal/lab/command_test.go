package lab

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
)

func TestParseCommand(t *testing.T) {
	for line, want := range map[string]command{
		"ping 10.10.10.4": {name: "ping", addr: netip.MustParseAddr("10.10.10.4"), count: 3,
			size: 56, ttl: 64},
		"ping -c 5 -s 1000 -t 3 10.0.0.1": {name: "ping", addr: netip.MustParseAddr("10.0.0.1"), count: 5,
			size: 1000, ttl: 3},
		"ping 10.0.0.1 -W 0.5 -M do": {name: "ping", addr: netip.MustParseAddr("10.0.0.1"), count: 3, size: 56, ttl: 64,
			timeout: 500 * time.Millisecond, df: true},
		"ping -c1 -W2 -nq 10.10.10.4": {name: "ping", addr: netip.MustParseAddr("10.10.10.4"), count: 1, size: 56,
			ttl: 64, timeout: 2 * time.Second, quiet: true},
		"ping -i0.2 -w 3 -c 5 10.10.10.4": {name: "ping", addr: netip.MustParseAddr("10.10.10.4"), count: 5, size: 56,
			ttl: 64, interval: 200 * time.Millisecond, deadline: 3 * time.Second},
		"curl -sI http://10.10.10.7/": {name: "curl", url: "http://10.10.10.7/",
			to: netip.MustParseAddrPort("10.10.10.7:80"), headers: true, head: true},
		"curl -sSm2 --max-time=3 10.10.10.7": {name: "curl", url: "http://10.10.10.7",
			to: netip.MustParseAddrPort("10.10.10.7:80"), timeout: 3 * time.Second},
		"curl -so /dev/null -fw '%{http_code} %{size_download}\\n' \"10.10.10.7\"": {
			name: "curl", url: "http://10.10.10.7", to: netip.MustParseAddrPort("10.10.10.7:80"),
			discard: true, strict: true, writeOut: "%{http_code} %{size_download}\n"},
		"traceroute -nIm5 -q 1 10.0.0.1": {name: "traceroute", addr: netip.MustParseAddr("10.0.0.1"), numeric: true,
			mode: "-I", maxHops: 5},
		"curl http://10.10.10.7/": {name: "curl", url: "http://10.10.10.7/",
			to: netip.MustParseAddrPort("10.10.10.7:80")},
		"curl -s -m 2 10.10.10.7:8080/x?y=1": {name: "curl", url: "http://10.10.10.7:8080/x?y=1",
			to: netip.MustParseAddrPort("10.10.10.7:8080"), timeout: 2 * time.Second},
		"traceroute -n -I -m 5 10.0.0.1": {name: "traceroute", addr: netip.MustParseAddr("10.0.0.1"), numeric: true,
			mode: "-I", maxHops: 5},
		"connect -u 10.0.0.1:53": {name: "connect", to: netip.MustParseAddrPort("10.0.0.1:53"), udp: true},
		"send 10.0.0.1:7 hello -n world": {name: "send", to: netip.MustParseAddrPort("10.0.0.1:7"),
			text: "hello -n world"},
		"browse 10.10.10.7": {name: "browse", url: "http://10.10.10.7",
			to: netip.MustParseAddrPort("10.10.10.7:80")},
		"stop http:80":        {name: "stop", service: file.Service{Kind: "http", Port: 80}},
		"start echo:7":        {name: "start", service: file.Service{Kind: "echo", Port: 7}},
		"loadbalancer status": {name: "loadbalancer", verb: "status"},
		"loadbalancer stats":  {name: "loadbalancer", verb: "stats"},
		"loadbalancer member set --weight 0 'web servers' \"WEB 1\"": {
			name: "loadbalancer", verb: "member set", pool: "web servers", member: "WEB 1", weighs: true},
		"loadbalancer member set web WEB1 --disable --weight=256": {
			name: "loadbalancer", verb: "member set", pool: "web", member: "WEB1", weight: 256, weighs: true,
			admin: "--disable"},
		"loadbalancer  member set web --enable WEB1": {
			name: "loadbalancer", verb: "member set", pool: "web", member: "WEB1", admin: "--enable"},
		"floating ip create ext_net": {name: "floating", verb: "create", network: "ext_net"},
		"floating ip create --floating-ip-address 10.10.10.9 --port vm3 'ext net'": {
			name: "floating", verb: "create", network: "ext net", addr: netip.MustParseAddr("10.10.10.9"), port: "vm3"},
		"floating ip set 10.10.10.9 --fixed-ip-address=172.16.101.3": {
			name: "floating", verb: "set", floating: netip.MustParseAddr("10.10.10.9"),
			fixed: netip.MustParseAddr("172.16.101.3")},
		"floating ip set --port vm3 10.10.10.9": {
			name: "floating", verb: "set", floating: netip.MustParseAddr("10.10.10.9"), port: "vm3"},
		"floating ip unset --port 10.10.10.9": {name: "floating", verb: "unset",
			floating: netip.MustParseAddr("10.10.10.9")},
		"floating ip delete 10.10.10.9": {name: "floating", verb: "delete",
			floating: netip.MustParseAddr("10.10.10.9")},
		"floating ip list": {name: "floating", verb: "list"},
		"floating ip show 10.10.10.9": {name: "floating", verb: "show",
			floating: netip.MustParseAddr("10.10.10.9")},
		"router set --external-gateway ext_net r1": {name: "router", verb: "set",
			router: routerCommand{router: "r1", network: "ext_net"}},
		"openstack router set r1 --external-gateway='ext net' --fixed-ip ip-address=10.10.10.2 --disable-snat": {
			name: "router", verb: "set", router: routerCommand{router: "r1", network: "ext net",
				address: netip.MustParseAddr("10.10.10.2"), snat: "--disable-snat"}},
		"router unset --external-gateway 'r 1'": {name: "router", verb: "unset",
			router: routerCommand{router: "r 1", clears: true}},
		"  taprouter  router add subnet r1 172.16.101.0/24": {name: "router", verb: "add subnet",
			router: routerCommand{router: "r1", subnet: "172.16.101.0/24"}},
		"router remove subnet r1 172.16.101.0/24": {name: "router", verb: "remove subnet",
			router: routerCommand{router: "r1", subnet: "172.16.101.0/24"}},
		"router add route --route destination=10.0.0.0/8,gateway=172.16.101.3 r1": {name: "router", verb: "add route",
			router: routerCommand{router: "r1", to: netip.MustParsePrefix("10.0.0.0/8"),
				via: netip.MustParseAddr("172.16.101.3")}},
		"router remove route r1 --route gateway=172.16.101.3,destination=10.0.0.0/8": {
			name: "router", verb: "remove route", router: routerCommand{router: "r1",
				to: netip.MustParsePrefix("10.0.0.0/8"), via: netip.MustParseAddr("172.16.101.3")}},
		"router show r1":             {name: "router", verb: "show", router: routerCommand{router: "r1"}},
		"show nat":                   {name: "show", verb: "nat"},
		"taprouter show nat":         {name: "show", verb: "nat"},
		"openstack floating ip list": {name: "floating", verb: "list"},
		"taprouter floating ip list": {name: "floating", verb: "list"},
		"wait 1.5s":                  {name: "wait", pause: 1500 * time.Millisecond},
	} {
		isOwn := slices.ContainsFunc(ownCommands, func(o ownCommand) bool { return o.name == want.name })
		got, err := parseCommand(line, !isOwn)
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		defaults := command{count: 3, size: 56, ttl: 64, maxHops: 30, mode: "-U"}
		fill := func(c *command) {
			if c.count == 0 {
				c.count, c.size, c.ttl = defaults.count, defaults.size, defaults.ttl
			}
			if c.maxHops == 0 {
				c.maxHops = defaults.maxHops
			}
			if c.mode == "" {
				c.mode = defaults.mode
			}
		}
		fill(&want)
		if *got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", line, *got, want)
		}
	}
}

func TestParseCommandFaults(t *testing.T) {
	for _, c := range []struct {
		line string
		on   bool
		want string
	}{
		{"", true, "do is empty"},
		{"pign 10.0.0.1", true, `unknown command "pign"`},
		{"network list", false, `"network" is not supported yet`},
		{"ping 10.0.0.1", false, `needs an instance`},
		{"ping", true, "takes an address"},
		{"ping WEB1", true, "not an IPv4 address"},
		{"ping ::1", true, "not an IPv4 address"},
		{"ping -c many 10.0.0.1", true, "not a number from 1 to 1000"},
		{"ping -c", true, "needs a value"},
		{"ping -x 10.0.0.1", true, "unknown option -x: there are -4, -I, -M, -W, -c, -i, -n, -q, -s, -t, -v, -w"},
		{"ping -nx 10.0.0.1", true, "unknown option -x"},
		{"ping -cx 10.0.0.1", true, `option -c: "x" is not a number from 1 to 1000`},
		{"ping -nc", true, "option -c needs a value"},
		{"ping -i 0.001 10.0.0.1", true, "less than 0.01 seconds"},
		{"curl -sH x http://10.0.0.1/", true, "unknown option -H: there are --connect-timeout,"},
		{"curl --silent=yes http://10.0.0.1/", true, "option --silent takes no value"},
		{"curl -o page.html http://10.0.0.1/", true, "write /dev/null"},
		{"curl -w '%{speed}' http://10.0.0.1/", true, "no variable %{speed}: there are %{http_code}"},
		{"curl 'http://10.0.0.1/", true, "is not closed"},
		{"traceroute -q 3 10.0.0.1", true, "-q 1"},
		{"ping -M maybe 10.0.0.1", true, "none of do, dont, want"},
		{"curl https://10.0.0.1/", true, "only http"},
		{"curl http://example.com/", true, "must be an IPv4 address"},
		{"curl -m never http://10.0.0.1/", true, "not a number of seconds"},
		{"connect 10.0.0.1", true, "not an IPv4 address and port"},
		{"send 10.0.0.1:7", true, "ADDRESS:PORT TEXT"},
		{"stop", true, "takes a service"},
		{"stop http", true, `"http" is not a service`},
		{"start http:0", true, `"http:0" is not a service`},
		{"stop http:80", false, "needs an instance"},
		{"loadbalancer status", true, "leave on out"},
		{"loadbalancer", false, "is not understood"},
		{"loadbalancer status show", false, "is not understood"},
		{"loadbalancer member set web WEB1", false, "nothing to set"},
		{"loadbalancer member set --weight 1 WEB1", false, "takes a pool and a member"},
		{"loadbalancer member set --weight 1 web servers WEB1", false, "names with blanks are quoted"},
		{"loadbalancer member set web WEB1 --weight", false, "needs a value"},
		{"loadbalancer member set --weight 257 web WEB1", false, "not a number from 0 to 256"},
		{"loadbalancer member set --weight= web WEB1", false, "not a number from 0 to 256"},
		{"loadbalancer member set --enable --disable web WEB1", false, "not both"},
		{"loadbalancer member set --name x web WEB1", false, "unknown option --name"},
		{"loadbalancer member set --weight 1 \"web WEB1", false, "is not closed"},
		{"floating ip list", true, "leave on out"},
		{"floating", false, "is not understood"},
		{"floating ip", false, "is not understood: there are floating ip create, set, unset, delete, list, show"},
		{"floating ip move 10.10.10.9", false, "is not understood"},
		{"floating ip show", false, "takes the address of a floating IP; usage: floating ip show"},
		{"router show r1", true, "leave on out"},
		{"router", false, "is not understood: there are router set, unset, add subnet, remove subnet, add route"},
		{"router add port r1 p1", false, "is not understood"},
		{"router show", false, "it takes a router; names with blanks are quoted; usage: router show ROUTER"},
		{"router show r1 r2", false, "it takes a router"},
		{"router show 'r1", false, "is not closed"},
		{"router set r1", false, "nothing to set"},
		{"router set --disable-snat r1", false, "you must specify --external-gateway in order to specify SNAT"},
		{"router set --fixed-ip ip-address=10.10.10.2 r1", false, "you must specify --external-gateway"},
		{"router set --external-gateway ext_net --enable-snat --disable-snat r1", false, "not both"},
		{"router set --external-gateway ext_net --enable-snat=yes r1", false, "takes no value"},
		{"router set r1 --external-gateway", false, "needs a value"},
		{"router set --external-gateway ext_net --fixed-ip 10.10.10.2 r1", false, "not of the form ip-address=VALUE"},
		{"router set --external-gateway e --fixed-ip ip-address=x r1", false, `"x" is not an IPv4 address`},
		{"router set --name x r1", false, "unknown option --name"},
		{"router unset r1", false, "nothing to unset"},
		{"router unset --external-gateway", false, "it takes a router"},
		{"router unset --external-gateway=ext_net r1", false, "takes no value"},
		{"router unset --enable-snat r1", false, "unknown option --enable-snat"},
		{"router add subnet r1", false, "it takes a router and a subnet"},
		{"router add subnet --external-gateway x r1 s1", false, "unknown option"},
		{"router add route r1", false, "there is no route"},
		{"router add route --route destination=10.0.0.0/8 r1", false, "the form destination=VALUE,gateway=VALUE"},
		{"router add route --route destination=x,gateway=10.0.0.1 r1", false, `"x" is not a CIDR`},
		{"router add route --route destination=10.0.0.0/8,gateway=x r1", false, `"x" is not an IPv4 address`},
		{"router add route --route gateway=10.0.0.1,gateway=10.0.0.1 r1", false, "not of the form"},
		{"show nat", true, "leave on out"},
		{"show", false, `"show" is not understood: there are show nat, show drops`},
		{"show nat all", false, "there are show nat, show drops"},
		{"openstack router show r1", true, "openstack is the router's own: leave on out"},
		{"openstack", false, `"openstack" is not understood: with openstack there are loadbalancer, floating ip`},
		{"openstack server list", false, `"openstack server list" is not understood`},
		{"taprouter wait 1s", false, `"taprouter wait 1s" is not understood`},
		{"openstack taprouter router show r1", false, "is not understood"},
		{"openstack show nat", false, "the openstack client has no show nat"},
		{"openstack loadbalancer status", false, "write it without openstack"},
		{"taprouter loadbalancer stats", false, "write it without taprouter"},
		{"openstack router show", false, "it takes a router"},
		{"floating ip list all", false, "takes no argument"},
		{"floating ip create", false, "takes a network"},
		{"floating ip create ext net", false, "takes a network"},
		{"floating ip create --qos-policy x ext_net", false, "unknown option --qos-policy"},
		{"floating ip create --floating-ip-address ext_net", false, `"ext_net" is not an IPv4 address`},
		{"floating ip set 10.10.10.9", false, "nothing to set"},
		{"floating ip set --port", false, "needs a value"},
		{"floating ip set --port a", false, "takes the address of a floating IP; usage: floating ip set"},
		{"floating ip set --port a --fixed-ip-address 10.0.0.1 10.10.10.9", false, "not both"},
		{"floating ip unset --fixed-ip-address 10.0.0.1 10.10.10.9", false, "unknown option"},
		{"floating ip delete the-one", false, `"the-one" is not an IPv4 address`},
		{"floating ip delete 10.10.10.9 10.10.10.8", false, "takes the address"},
		{"wait", true, "takes a duration"},
		{"wait long", false, "not a duration"},
		{"traceroute -m 300 10.0.0.1", true, "not a number from 1 to 255"},
	} {
		if _, err := parseCommand(c.line, c.on); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.line, err, c.want)
		}
	}
}
