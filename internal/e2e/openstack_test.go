//go:build linux

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A cloud is a router whose API people reach with the openstack command, in the router's namespace.
type cloud struct {
	*pair
	guarded *space // of another router, whose API has a token and TLS
	clouds  string // the file that says where the APIs are
}

const cloudToken = "0123456789abcdef0123456789abcdef"

// newCloud serves a pair with the API on loopback, and a router without hosts whose API has a token and TLS.
func newCloud(t *testing.T) *cloud {
	t.Helper()
	need(t, "ping", "curl", "openstack", "openssl")
	if err := exec.Command("openstack", "help", "loadbalancer", "provider", "list").Run(); err != nil {
		missing(t, "the load-balancing plug-in of openstack (make test-deps installs it)")
	}
	c := &cloud{pair: &pair{world: newWorld(t)}}
	c.router, c.internal, c.external = c.space("router"), c.space("internal"), c.space("external")
	token := c.file("token", cloudToken+"\n")
	cert := filepath.Join(filepath.Dir(token), "cert.pem")
	key := filepath.Join(filepath.Dir(token), "key.pem")
	c.router.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
		"-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
		"-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
	c.process = c.router.serve(c.file("pair.toml", pairTopology), "--listen", "127.0.0.1:9696", "--login-stub")
	c.guarded = c.space("guarded")
	c.guarded.serve(c.file("quiet.toml", "[[network]]\nname = \"x\"\n"), "--listen", "0.0.0.0:9697", "--login-stub",
		"--token-file", token, "--tls-cert", cert, "--tls-key", key)
	c.connect(c.internal, movedTAP, "tap100", internalAddress+"/24", "172.16.100.1")
	c.connect(c.external, movedTAP, "tap-ext", externalAddress+"/24", "")
	const login = `username: admin, password: %s, project_name: admin, user_domain_name: Default,
      project_domain_name: Default`
	c.clouds = c.file("clouds.yaml", fmt.Sprintf(`clouds:
  none:
    auth_type: none
    auth: {endpoint: "http://127.0.0.1:9696"}
  login:
    auth: {auth_url: "http://127.0.0.1:9696/identity", `+login+`}
  token:
    auth_type: admin_token
    auth: {endpoint: "https://127.0.0.1:9697", token: %s}
    cacert: %s
  basic:
    auth_type: http_basic
    auth: {endpoint: "https://127.0.0.1:9697", username: u, password: %[2]s}
    cacert: %[3]s
  guarded:
    auth: {auth_url: "https://127.0.0.1:9697/identity", `+strings.Replace(login, "%s", "%[2]s", 1)+`}
    cacert: %[3]s
`, "x", cloudToken, cert))
	return c
}

// plays has one openstack process do commands, one a line. What stands behind " => " has to be in the command's
// answer, which is JSON. Commands without it print nothing.
func (c *cloud) plays(t *testing.T, s *space, cloud, script string) {
	t.Helper()
	var input strings.Builder
	type step struct{ command, want string }
	var answered []step
	for line := range strings.Lines(script) {
		command, want, answers := strings.Cut(strings.TrimSpace(line), " => ")
		if command == "" {
			continue
		}
		if answers {
			answered = append(answered, step{command, want})
			if !strings.Contains(command, "status show") { // which is JSON anyway
				command += " -f json"
			}
		}
		fmt.Fprintln(&input, command)
	}
	out, err := s.try("env", "OS_CLIENT_CONFIG_FILE="+c.clouds, "OS_CLOUD="+cloud, "PYTHONWARNINGS=ignore", "sh", "-c",
		`exec openstack < "$1"`, "sh", c.file("commands", input.String()))
	if err != nil {
		t.Fatalf("openstack: %v\n%s", err, out)
	}
	d := json.NewDecoder(strings.NewReader(out))
	for _, a := range answered {
		var value any
		if err := d.Decode(&value); err != nil {
			at := d.InputOffset()
			t.Fatalf("%s: %s: no answer: %v:\n%.2000s", cloud, a.command, err, out[at:])
		}
		text, _ := json.Marshal(value)
		if !strings.Contains(string(text), a.want) {
			t.Errorf("%s: %s: %q is not in %s", cloud, a.command, a.want, text)
		}
	}
	var more any
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		t.Errorf("%s: after the last answer: %v %v:\n%.2000s", cloud, more, err, out[d.InputOffset():])
	}
}

// subnet is the id of a subnet of the file, which has no name.
func (c *cloud) subnet(t *testing.T, cidr string) string {
	t.Helper()
	out, err := c.router.try("curl", "-sS", "-m", "5", "http://127.0.0.1:9696/v2.0/subnets?fields=id&cidr="+cidr)
	_, id, found := strings.Cut(out, `"id":"`)
	if err != nil || !found {
		t.Fatalf("%v %s", err, out)
	}
	return id[:36]
}

// The journey through what Debian's clients can do, as far as it is there: each command is done, and what it makes is
// seen afterwards.
const journey = `
network create --external --provider-network-type flat --provider-physical-network default ext => "router:external":true
network create --internal --mtu 1400 --tag blue net => "mtu":1400
network create --provider-network-type vlan --provider-physical-network default --provider-segment 100 v100 => 100
network list => "Name":"v100"
network list --external --long => "Name":"ext"
network list --provider-segment 100 => "v100"
network list --tags blue => "net"
network set --name net1 --description hello --mtu 1450 --tag red --disable net
network show net1 => "description":"hello"
network set --enable --no-tag net1
network list --any-tags blue,red => []
subnet create --network ext --subnet-range 10.20.0.0/24 --gateway 10.20.0.1 --allocation-pool start=10.20.0.10,end=10.20.0.99 --no-dhcp extsub => "10.20.0.99"
subnet create --network net1 --subnet-range 172.16.1.0/24 --gateway auto --dhcp --dns-nameserver 192.0.2.8 --host-route destination=10.9.0.0/16,gateway=172.16.1.7 sub => "172.16.1.1"
subnet create --network v100 --subnet-range 172.16.2.0/24 --gateway none sub2 => "gateway_ip":null
subnet list --no-dhcp => "extsub"
subnet set --name sub1 --dns-nameserver 192.0.2.9 --host-route destination=10.8.0.0/16,gateway=172.16.1.8 sub
subnet show sub1 => ["192.0.2.9","192.0.2.8"]
subnet set --no-host-route --no-dhcp sub1
subnet unset --dns-nameserver 192.0.2.9 sub1
subnet show sub1 => "host_routes":[]
port create --network net1 --fixed-ip subnet=sub1,ip-address=172.16.1.5 --mac-address 02:00:00:00:00:05 --device-owner compute:nova --device vm5 p5 => "02:00:00:00:00:05"
port create --network net1 --no-fixed-ip p6 => "fixed_ips":[]
port list --fixed-ip ip-address=172.16.1.5 => "p5"
port list --device-owner compute:nova --long => "compute:nova"
port set --name p55 --allowed-address ip-address=172.16.1.77 p5
port set --fixed-ip subnet=sub1,ip-address=172.16.1.6 p6
port show p55 => "mac_address":"02:00:00:00:00:05"
port set --no-allowed-address p55
router create --external-gateway ext --enable-snat r2 => "enable_snat":true
router create r1 => "external_gateway_info":null
router set --external-gateway ext --fixed-ip subnet=extsub,ip-address=10.20.0.20 --disable-snat --name r11 r1
router show r11 => "10.20.0.20"
router set --enable-snat --external-gateway ext r11
router set --disable r11
router list --long => "State":false
router set --enable r11
router add subnet r11 sub1
port create --network v100 --fixed-ip subnet=sub2,ip-address=172.16.2.11 if2 => "172.16.2.11"
router add port r11 if2
port list --router r11 => "172.16.2.11"
router remove port r11 if2
router set --route destination=10.50.0.0/16,gateway=172.16.1.9 r11
router add route --route destination=10.51.0.0/16,gateway=172.16.1.9 r11 => 10.51.0.0/16
router remove route --route destination=10.51.0.0/16,gateway=172.16.1.9 r11 => 10.50.0.0/16
router unset --route destination=10.50.0.0/16,gateway=172.16.1.9 r11
router show r11 => "routes":[]
router unset --external-gateway r2
floating ip create --floating-ip-address 10.20.0.60 --description fip ext => "DOWN"
floating ip create --floating-ip-address 10.20.0.61 --port p55 --fixed-ip-address 172.16.1.5 --subnet extsub ext => "ACTIVE"
floating ip list --router r11 => "10.20.0.61"
floating ip set --port p6 10.20.0.60
floating ip show 10.20.0.60 => "172.16.1.6"
floating ip unset --port 10.20.0.60
floating ip list --status DOWN => "10.20.0.60"
floating ip port forwarding create --internal-ip-address 172.16.1.5 --port p55 --internal-protocol-port 22 --external-protocol-port 2222 --protocol tcp 10.20.0.60 => 2222
floating ip port forwarding list 10.20.0.60 => "External Port":2222
extension list --network => "router"
extension show router => "router"
availability zone list --network => "nova"
loadbalancer provider list => "taprouter"
loadbalancer create --vip-subnet-id sub1 --vip-address 172.16.1.100 --name lb1 => "provisioning_status":"ACTIVE"
loadbalancer set --name lb11 --description d --tag q lb1
loadbalancer unset --description lb11
loadbalancer listener create --protocol HTTP --protocol-port 80 --connection-limit 10 --name li lb11 => "connection_limit":10
loadbalancer listener set --connection-limit 20 --name li1 li
loadbalancer listener show li1 => "connection_limit":20
loadbalancer pool create --protocol HTTP --listener li1 --lb-algorithm ROUND_ROBIN --name p1 => "ROUND_ROBIN"
loadbalancer pool create --protocol TCP --loadbalancer lb11 --lb-algorithm SOURCE_IP --session-persistence type=SOURCE_IP --name p2 => SOURCE_IP
loadbalancer pool unset --session-persistence p2
loadbalancer pool set --lb-algorithm LEAST_CONNECTIONS p1
loadbalancer pool list --loadbalancer lb11 => "LEAST_CONNECTIONS"
loadbalancer member create --address 172.16.1.5 --protocol-port 8080 --weight 2 --subnet-id sub1 --name m1 p1 => "weight":2
loadbalancer member create --address 172.16.1.6 --protocol-port 8080 --enable-backup --name m2 p1 => "backup":true
loadbalancer member set --weight 5 --disable p1 m1
loadbalancer member show p1 m1 => "OFFLINE"
loadbalancer member unset --weight p1 m1
loadbalancer member list p1 => "weight":1
loadbalancer healthmonitor create --type HTTP --delay 5 --timeout 3 --max-retries 2 --url-path /x --name h1 p1 => "/x"
loadbalancer healthmonitor set --delay 10 h1
loadbalancer healthmonitor show h1 => "delay":10
loadbalancer status show lb11 => "li1"
loadbalancer stats show lb11 => "total_connections":0
loadbalancer listener stats show li1 => "active_connections":0
loadbalancer healthmonitor delete h1
loadbalancer member delete p1 m2
loadbalancer pool delete p2
loadbalancer delete --cascade lb11
loadbalancer list => []
floating ip delete 10.20.0.60 10.20.0.61
router remove subnet r11 sub1
router unset --external-gateway r11
router delete r11 r2
port delete p55 p6
network delete net1 v100 ext
subnet list --gateway 10.20.0.1 => []
`

// Debian's openstack command does the journey: without a token, with one, by Basic credentials and through the login
// stub, over TLS and without. While it changes a router with hosts, a floating IP answers from the command that
// associates it to the one that takes it away.
func TestOpenStackClient(t *testing.T) {
	c := newCloud(t)
	c.step("the journey, without a token", func(t *testing.T) { c.plays(t, c.router, "none", journey) })
	c.step("the journey, by a login over TLS", func(t *testing.T) { c.plays(t, c.guarded, "guarded", journey) })
	for _, name := range []string{"token", "basic"} {
		c.step(name, func(t *testing.T) {
			c.plays(t, c.guarded, name, `
				network create a => "ACTIVE"
				loadbalancer list => []
				network delete a
				network list => "Name":"x"`)
		})
	}
	c.step("a login, with a project", func(t *testing.T) {
		c.plays(t, c.router, "login", `
			project list => "admin"
			network create --project admin theirs => "theirs"
			loadbalancer provider list => "taprouter"
			network delete theirs`)
	})
	c.step("a floating IP", func(t *testing.T) {
		c.plays(t, c.router, "none", `
			port create --network tenant --fixed-ip ip-address=`+internalAddress+` host => "`+internalAddress+`"
			floating ip create --floating-ip-address `+floatingIP+` ext_net => "DOWN"`)
		c.external.dead(t, floatingIP)
		ping := c.external.watch(floatingIP)
		c.plays(t, c.router, "none", "floating ip set --port host "+floatingIP)
		c.external.pings(t, floatingIP)
		call := c.meet(c.external, c.internal, internalAddress+":0", floatingIP+":")
		c.plays(t, c.router, "none", "floating ip unset --port "+floatingIP)
		ended := time.Now() // the client takes its time to end
		call.isCut(t)
		c.external.dead(t, floatingIP)
		ping.stop()
		if all := ping.answers(); len(all) == 0 || all[len(all)-1].After(ended) {
			t.Errorf("%d answers, the last after the command has ended", len(all))
		}
	})
	c.step("a load balancer", func(t *testing.T) {
		c.internal.web(internalAddress+":8081", "ONE")
		c.internal.web(internalAddress+":8082", "TWO")
		c.plays(t, c.router, "none", `
			subnet set --name tenantsub `+c.subnet(t, "172.16.100.0/24")+`
			loadbalancer create --name lb --vip-subnet-id tenantsub --vip-address 172.16.100.50 => "ACTIVE"
			loadbalancer listener create --name li --protocol HTTP --protocol-port 80 lb => "li"
			loadbalancer pool create --name p --protocol HTTP --listener li --lb-algorithm ROUND_ROBIN => "p"
			loadbalancer member create --name m1 --address `+internalAddress+` --protocol-port 8081 p => "m1"
			loadbalancer member create --name m2 --address `+internalAddress+` --protocol-port 8082 p => "m2"`)
		alternate(t, c.internal.curls(t, "http://172.16.100.50/", 6))
		c.plays(t, c.router, "none", `
			loadbalancer stats show lb => "total_connections":6
			loadbalancer delete --cascade lb`)
		if out, err := c.internal.try("curl", "-sS", "-m", "1", "http://172.16.100.50/"); err == nil {
			t.Errorf("the VIP still answers: %s", out)
		}
	})
	c.step("the gateway", func(t *testing.T) {
		c.plays(t, c.router, "login", `
			router create own => "ACTIVE"
			router set --external-gateway ext_net --fixed-ip ip-address=10.10.10.30 own`)
		c.external.pings(t, "10.10.10.30")
		c.plays(t, c.router, "login", "router unset --external-gateway own")
		c.external.dead(t, "10.10.10.30")
	})
}

// The tutorial's commands, by Debian's openstack: two VLANs on the physical network "default", their router, the
// gateway and a floating IP. Captured frames carry each network's tag.
func TestOpenStackTrunk(t *testing.T) {
	need(t, "openstack", "ping", "tcpdump")
	c := &cloud{pair: &pair{world: newWorld(t)}}
	p := newTrunkIn(c.world, "[[physical_network]]\nname = \"default\"\ndevices = [\"raw:trunk\"]\n", "--listen",
		"127.0.0.1:9696")
	c.router = p.router
	c.clouds = c.file("clouds.yaml", "clouds:\n  none:\n    auth_type: none\n    auth: {endpoint: "+
		"\"http://127.0.0.1:9696\"}\n")
	c.plays(t, c.router, "none", `
network create --provider-network-type vlan --provider-physical-network default --provider-segment 100 vlan100 => 100
subnet create --network vlan100 --subnet-range 172.16.100.0/24 --gateway 172.16.100.1 subnet_172_16_100_0 => "172.16.100.1"
network create --provider-network-type vlan --provider-physical-network default --provider-segment 101 vlan101 => 101
subnet create --network vlan101 --subnet-range 172.16.101.0/24 --gateway 172.16.101.1 subnet_172_16_101_0 => "172.16.101.1"
network create --external --provider-network-type flat --provider-physical-network default ext_net => "router:external":true
subnet create --network ext_net --subnet-range 10.10.10.0/24 --gateway 10.10.10.1 --no-dhcp ext_subnet => "10.10.10.1"
port create --network vlan100 --fixed-ip ip-address=172.16.100.9 --mac-address `+p.h100.mac("eth0")+` vm1 => "172.16.100.9"
port create --network vlan101 --fixed-ip ip-address=172.16.101.9 --mac-address `+p.h101.mac("eth0")+` cirros-vm3 => "172.16.101.9"
router create router_100_101 => "ACTIVE"
router add subnet router_100_101 subnet_172_16_100_0
router add subnet router_100_101 subnet_172_16_101_0
router set --external-gateway ext_net --fixed-ip ip-address=10.10.10.2 router_100_101
floating ip create --floating-ip-address 10.10.10.3 --port cirros-vm3 ext_net => "10.10.10.3"
`)
	p.h100.pings(t, "172.16.101.9") // neighbors are known from here on
	p.h100.pings(t, "10.10.10.1")
	p.outside.pings(t, "10.10.10.3")
	text := p.outside.taggedCapture(t, "up", func() {
		p.h100.run("ping", "-n", "-c", "1", "-W", "2", "172.16.101.9")
		p.h100.run("ping", "-n", "-c", "1", "-W", "2", "10.10.10.1")
		p.outside.run("ping", "-n", "-c", "1", "-W", "2", "10.10.10.3")
	})
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, echoLine(line)...)
	}
	want := []string{"vlan 100 172.16.100.9 > 172.16.101.9", "vlan 101 172.16.100.9 > 172.16.101.9",
		"vlan 101 172.16.101.9 > 172.16.100.9", "vlan 100 172.16.101.9 > 172.16.100.9",
		"vlan 100 172.16.100.9 > 10.10.10.1", "10.10.10.2 > 10.10.10.1", "10.10.10.1 > 10.10.10.2",
		"vlan 100 10.10.10.1 > 172.16.100.9",
		"10.10.10.1 > 10.10.10.3", "vlan 101 10.10.10.1 > 172.16.101.9", "vlan 101 172.16.101.9 > 10.10.10.1",
		"10.10.10.3 > 10.10.10.1"}
	if !slices.Equal(lines, want) {
		t.Errorf("at the end of the trunk:\n%q, want\n%q\n%s", lines, want, text)
	}
}

// mac is the MAC address of an interface.
func (s *space) mac(name string) string { return s.link(name).Attrs().HardwareAddr.String() }
