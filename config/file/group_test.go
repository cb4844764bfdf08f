package file_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

const grouped = `
[[network]]
name = "blue"
[[network.subnet]]
cidr = "10.1.0.0/24"
[[address_group]]
name = "offices"
addresses = ["192.0.2.1"]
[[security_group]]
name = "web"
`

// The rules that a group has by itself, and those that its tables stand for.
func TestRules(t *testing.T) {
	f := read(t, grouped+`
[[security_group.rule]]
protocol = "TCP"
ports = "80"
[[security_group.rule]]
protocol = "udp"
ports = "8000-8100"
remote = "2001:db8::/32"
[[security_group.rule]]
protocol = "icmp"
icmp_type = 8
remote_group = "web"
[[security_group.rule]]
protocol = "ipv6-icmp"
[[security_group.rule]]
direction = "egress"
protocol = "47"
ethertype = "IPv4"
remote_address_group = "offices"
[[security_group]]
name = "quiet"
egress = "none"
stateful = false
`)
	s := f.State()
	var got []string
	for r := range s.SecurityGroupRules() {
		text := s.Call(r)
		for _, id := range []config.ID{r.RemoteGroup, r.RemoteAddressGroup} {
			if id != "" {
				text += " of " + string(id)
			}
		}
		if r.RemotePrefix.IsValid() {
			text += " of " + r.RemotePrefix.String()
		}
		got = append(got, text)
	}
	web, offices := config.NameID(config.KindSecurityGroup, "web"), config.NameID(config.KindAddressGroup, "offices")
	want := []string{
		`rule egress IPv4 of security group "web"`,
		`rule egress IPv6 of security group "web"`,
		`rule ingress IPv4 tcp 80 of security group "web"`,
		`rule ingress IPv6 tcp 80 of security group "web"`,
		`rule ingress IPv6 udp 8000-8100 of security group "web" of 2001:db8::/32`,
		`rule ingress IPv4 icmp 8 of security group "web" of ` + string(web),
		`rule ingress IPv6 ipv6-icmp of security group "web"`,
		`rule egress IPv4 47 of security group "web" of ` + string(offices),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if g := s.SecurityGroup(config.NameID(config.KindSecurityGroup, "quiet")); g.Stateful {
		t.Error("quiet is stateful")
	}
}

// What a file can say wrong of groups, with the line.
func TestGroupFaults(t *testing.T) {
	port := "[[port]]\nname = \"vm\"\nnetwork = \"blue\"\nfixed_ip = \"10.1.0.5\"\n"
	for text, want := range map[string]string{
		"egress = " +
			"\"all\"\n": `:11: security group "web": egress "all" is not "none"`,
		"[[security_group.rule]]\nports = " +
			"\"80\"\n": `:11: security group "web": rule #1: ports need a protocol`,
		"[[security_group.rule]]\nprotocol = \"icmp\"\nports = " +
			"\"80\"\n": `:13: security group "web": rule #1: protocol icmp has no ports`,
		"[[security_group.rule]]\nprotocol = \"tcp\"\nicmp_type = " +
			"8\n": `icmp_type and icmp_code need protocol = "icmp"`,
		"[[security_group.rule]]\nprotocol = \"icmp\"\nicmp_code = " +
			"8\n": `:13: security group "web": rule #1: a code needs a type`,
		"[[security_group.rule]]\nprotocol = \"icmp\"\nicmp_type = " +
			"256\n": `:13: security group "web": rule #1: icmp_type must be from 0 to 255`,
		"[[security_group.rule]]\nprotocol = \"tcp\"\nports = " +
			"\"90-80\"\n": `:13: security group "web": rule #1: port_range_min`,
		"[[security_group.rule]]\nremote_group = " +
			"\"wep\"\n": `:12: security group "web": rule #1: unknown security group "wep"`,
		"[[security_group.rule]]\nremote_address_group = " +
			"\"x\"\n": `unknown address group "x"`,
		"[[security_group.rule]]\nremote = \"192.0.2.0/24\"\nethertype = " +
			"\"IPv6\"\n": `:12: security group "web": rule #1: remote_ip_prefix 192.0.2.0/24 is not one of IPv6`,
		"[[security_group.rule]]\nremote = \"192.0.2.0/24\"\nremote_group = " +
			"\"web\"\n": `exclude each other`,
		"[[security_group.rule]]\ndirection = " +
			"\"egress\"\n": `the group has this rule already`,
		"[[security_group.rule]]\nid = " +
			"\"00000000-0000-4000-8000-000000000001\"\n": `:12: security group "web": rule #1: id is for one rule`,
		port + "security_groups = [\"web\", " +
			"\"x\"]\n": `:15: port "vm": unknown security group "x"`,
		port + "security_groups = [\"web\"]\nport_security = " +
			"false\n": `port_security cannot be off for a port with security groups`,
		"[[security_group]]\nname = \"s\"\nstateful = false\n" + port +
			"security_groups = [\"web\", \"s\"]\n": `:18: port "vm": security groups "web" and "s" cannot be together`,
		port + "[[port.extra_dhcp_opts]]\nip_version = " +
			"5\n": `ip_version is 4 or 6, not 5`,
		"[quota]\nport = -2\n": `:12: quota: the limit -2 of port`,
		"[quota]\nports = 2\n": `:12: quota: unknown key "ports"; did you mean "port"`,
		"[[loadbalancer]]\nname = \"b\"\nnetwork = \"blue\"\nport = " +
			"\"x\"\n": `:14: load balancer "b": unknown port "x"`,
		port + "[[loadbalancer]]\nname = \"b\"\nnetwork = \"blue\"\nport = \"vm\"\naddress = " +
			"\"10.1.0.9\"\n": `:18: load balancer "b": port "vm" does not have the address 10.1.0.9`,
	} {
		_, err := file.Read("lab.toml", strings.NewReader(grouped+text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v\nwant  %s", text, err, want)
		}
	}
}

// What programs have put into a group, and what they have made on a port, is told of when the file lets go of it.
func TestGroupsVanish(t *testing.T) {
	vm := "[[port]]\nname = \"vm\"\nnetwork = \"blue\"\nfixed_ip = \"10.1.0.5\"\n"
	rest := "[[network]]\nname = \"ext\"\nexternal = true\n[[network.subnet]]\ncidr = \"192.0.2.0/24\"\n" +
		"[[router]]\nname = \"r\"\ninterfaces = [\"blue\"]\ngateway = { network = \"ext\" }\n" +
		"[[floating_ip]]\nnetwork = \"ext\"\naddress = \"192.0.2.5\"\n[[port]]\nname = \"in\"\nnetwork = \"blue\"\n" +
		"fixed_ip = \"10.1.0.6\"\n"
	web, offices := config.NameID(config.KindSecurityGroup, "web"), config.NameID(config.KindAddressGroup, "offices")
	before := read(t, grouped+rest+"security_groups = [\"web\"]\n"+vm)
	d := before.State().Edit()
	own := func(name string) config.Meta {
		return config.Meta{ID: config.NameID(config.KindPort, "api", name), Name: name,
			Source: config.Source{Request: "req-1"}}
	}
	d.Put(&config.Port{Meta: own("api"), Network: config.NameID(config.KindNetwork, "blue"), AdminStateUp: true,
		SecurityGroups: []config.ID{web}, FixedIPs: make([]config.FixedIP, 1)},
		&config.SecurityGroup{Meta: own("other"), Stateful: true},
		&config.SecurityGroupRule{Meta: own("from"), Group: own("other").ID, Direction: "ingress", RemoteGroup: web},
		&config.SecurityGroupRule{Meta: own("to"), Group: own("other").ID, Direction: "ingress",
			RemoteAddressGroup: offices},
		&config.SecurityGroupRule{Meta: own("more"), Group: web, Direction: "ingress"})
	for f := range d.FloatingIPs() {
		d.Put(&config.PortForwarding{Meta: own("ssh"), FloatingIP: f.ID, Protocol: config.TCP, ExternalPort: 22,
			Port:    22,
			FixedIP: before.State().Port(config.NameID(config.KindPort, "vm")).FixedIPs[0].Address})
	}
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults)
	}
	after := read(t, grouped[:strings.Index(grouped, "[[address_group]]")]+rest)
	_, err := after.Edit(s.Edit(), file.Over{Previous: before})
	for _, want := range []string{
		`port "api", which the API has made, needs security group "web"`, "clear its security_groups",
		`rule ingress IPv4 of security group "other", which the API has made, needs security group "web"`,
		`rule ingress IPv4 of security group "other", which the API has made, needs address group "offices"`,
		`rule ingress IPv4 of security group "web", which the API has made, needs security group "web"`,
		`port forwarding TCP 22 of floating IP 192.0.2.5, which the API has made, needs port "vm"`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in:\n%v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), `port "in"`) {
		t.Errorf("the file's port is in no group any more: %v", err)
	}
	e := s.Edit()
	notices, err := after.Edit(e, file.Over{Previous: before, Cascade: true})
	if err != nil {
		t.Fatal(err)
	}
	next, faults := e.Check()
	if next == nil {
		t.Fatal(faults)
	}
	text := fmt.Sprint(notices)
	if p := next.Port(own("api").ID); p == nil || len(p.SecurityGroups) > 0 || next.SecurityGroup(web) != nil ||
		next.Count(config.KindSecurityGroupRule) != 0 || next.Count(config.KindPortForwarding) != 0 ||
		!strings.Contains(text, `port "api": security_groups is cleared`) ||
		!strings.Contains(text, "port forwarding TCP 22") {
		t.Errorf("%+v, told %s", p, text)
	}
}

// A quota's limits have owners one by one.
func TestQuotaLimits(t *testing.T) {
	before := read(t, grouped+"[quota]\nport = 5\nrouter = 1\n")
	s := before.State()
	limits := func(s *config.State) string {
		if q := s.Quota(); q != nil {
			return fmt.Sprint(q.Limits)
		}
		return "none"
	}
	apply := func(s *config.State, f, previous *file.File) (*config.State, string) {
		t.Helper()
		d := s.Edit()
		notices, err := f.Edit(d, file.Over{Previous: previous})
		next, faults := d.Check()
		if err != nil || next == nil {
			t.Fatal(err, faults)
		}
		return next, fmt.Sprint(notices)
	}
	d := s.Edit()
	q := *s.Quota()
	q.Limits = append(q.Limits[:2:2], config.Limit{Resource: "network", Most: 7})
	d.Put(&q)
	s, _ = d.Check()
	if s, _ := apply(s, before, before); limits(s) != "[{network 7} {port 5} {router 1}]" {
		t.Errorf("the same file: %s", limits(s))
	}
	taken := read(t, grouped+"[quota]\nnetwork = 8\n")
	if s, told := apply(s, taken, before); limits(s) != "[{network 8}]" ||
		!strings.Contains(told, "network was set to 7 by the API") {
		t.Errorf("taken: %s, told %s", limits(s), told)
	}
	without := read(t, grouped)
	s, _ = apply(s, without, before)
	if limits(s) != "[{network 7}]" {
		t.Errorf("without: %s", limits(s))
	}
	if s, _ = apply(s, without, without); limits(s) != "[{network 7}]" {
		t.Errorf("the second time: %s", limits(s))
	}
}
