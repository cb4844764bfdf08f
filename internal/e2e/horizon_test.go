//go:build linux

package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// A dashboard is Horizon in front of a router, and the network of examples/horizon/tutorial.toml:
//
//	WEB1 172.16.100.9 ──┐
//	WEB2 172.16.100.10 ─┴ vlan100 ┐
//	vm3 172.16.101.3 ──── vlan101 ┼ taprouter ── ext_net ── client 10.10.10.4, switch 10.10.10.1
//	vm5 172.16.102.5 ──── vlan102 ┘
//
// The router between the networks is made by clicks, and vlan102 with its instance, too.
type dashboard struct {
	*world
	router, web1, web2, vm3, vm5, client *space
	trunk                                *space   // of the physical network's VLANs
	process                              *process // the router
	events                               *process // what taprouter events prints
	told                                 int      // how much of that was logged
	api, base                            string   // where the dashboard finds the API, and where it is itself
}

const (
	horizonFolder = "../../examples/horizon"
	vm5MAC        = "fa:16:3e:aa:bb:05"

	secondPhysical = "[[physical_network]]\nname = \"second\"\n"
)

// needHorizon wants Debian's packages. With TAPROUTER_HORIZON_ROOT they are in that folder, which has a Debian of its
// own.
func needHorizon(t *testing.T) (root string) {
	t.Helper()
	need(t, "ping", "curl", "setpriv")
	root = os.Getenv("TAPROUTER_HORIZON_ROOT")
	for name, file := range map[string]string{
		"openstack-dashboard":       "/usr/share/openstack-dashboard/manage.py",
		"python3-octavia-dashboard": "/usr/lib/python3/dist-packages/octavia_dashboard/__init__.py",
	} {
		if _, err := os.Stat(root + file); err != nil {
			missing(t, name+" (make test-deps installs it)")
		}
	}
	return root
}

// newDashboard serves a topology, and Horizon for it.
func newDashboard(t *testing.T) *dashboard {
	t.Helper()
	root := needHorizon(t)
	d := &dashboard{world: newWorld(t)}
	d.router = d.space("router")
	text, err := os.ReadFile(filepath.Join(horizonFolder, "tutorial.toml"))
	d.check(err)
	topology := string(text)
	for name, s := range map[string]**space{"web1@web1": &d.web1, "web2@web2": &d.web2, "vm3@vm3": &d.vm3,
		"client@client": &d.client, "trunk@vm5": &d.trunk} {
		device, _, _ := strings.Cut(name, "@")
		*s = d.space(device)
		topology = strings.ReplaceAll(topology, `:`+name+`"`, `:`+device+`@`+(*s).name+`"`)
	}
	d.vm5 = d.space("vm5")
	d.process = d.router.serve(d.file("tutorial.toml", topology+secondPhysical), "--listen", "127.0.0.1:9696",
		"--login-stub")
	d.web1.address("web1", "172.16.100.9/24", "172.16.100.1")
	d.web2.address("web2", "172.16.100.10/24", "172.16.100.1")
	d.vm3.address("vm3", "172.16.101.3/24", "172.16.101.1")
	d.client.address("client", "10.10.10.4/24", "")
	d.client.address("client", "10.10.10.1/24", "")
	d.events = d.router.start("env", "TAPROUTER_ENDPOINT=http://127.0.0.1:9696", program, "events")
	d.api = d.router.omits("http://127.0.0.1:9696")
	d.base = d.router.horizon(root, "--api", d.api)
	return d
}

// horizon starts Horizon for the router in the namespace, and returns its base URL.
func (s *space) horizon(root string, flags ...string) string {
	s.w.t.Helper()
	script, err := filepath.Abs(filepath.Join(horizonFolder, "run.sh"))
	s.w.check(err)
	args := []string{script}
	if root != "" {
		inside := s.w.t.TempDir()
		s.w.check(os.RemoveAll(root + inside))
		s.w.check(os.CopyFS(root+inside, os.DirFS(horizonFolder)))
		s.w.t.Cleanup(func() { os.RemoveAll(root + inside) })
		args = []string{"chroot", root, inside + "/run.sh"}
	}
	temporary := filepath.Dir(s.w.file("temporary", ""))
	if root != "" {
		temporary = "/tmp"
	}
	started := time.Now()
	p := s.start(append(append([]string{"env", "TMPDIR=" + temporary}, args...), flags...)...)
	t := s.w.t
	t.Cleanup(func() {
		if out := p.stop(); t.Failed() {
			t.Logf("the dashboard's log:\n%s", out)
		}
		if left, _ := filepath.Glob(root + temporary + "/taprouter-horizon.*"); len(left) != 0 {
			t.Errorf("the dashboard leaves %v", left)
		}
	})
	p.wait(t, "The dashboard is at ")
	t.Logf("the dashboard is there after %v", time.Since(started).Round(time.Millisecond))
	_, base, _ := strings.Cut(p.out.String(), "The dashboard is at ")
	base, _, _ = strings.Cut(base, "/.")
	return base
}

// processorTime is what a process has used, by its folder in /proc (proc_pid_stat(5), utime and stime).
func processorTime(t *testing.T, folder string) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(folder + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the name
	fields := strings.Fields(rest)
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}

// The whole topology of episode 126 is drawn from its file. What the file states, a click cannot change.
func TestHorizonShowsTheFile(t *testing.T) {
	root := needHorizon(t)
	w := newWorld(t)
	router := w.space("router")
	router.serve(lessonFile, "--listen", "127.0.0.1:9696", "--login-stub")
	f := newForms(router, router.horizon(root, "--physical-networks", "one,two"))
	f.logIn()
	f.drawn("vlan100", "vlan101", "ext_net", "router_100_101", "WEB1", "WEB2", "cirros-vm3", "cirros-vm4", "client",
		"172.16.100.1", "172.16.101.1", "10.10.10.2", "172.16.100.9", "172.16.100.10", "172.16.101.3", "172.16.101.4",
		"172.16.100.11", "10.10.10.4")
	f.sees(floatingPage, floatingIP, "cirros-vm3", "172.16.101.3", "Active")
	f.sees(floatingPage, fronted, "172.16.100.11", "Active")
	networks := words(f.get("/admin/networks/create/"))
	for _, name := range []string{"one", "two"} {
		if !strings.Contains(networks, name) {
			t.Errorf("Create Network does not offer the physical network %s:\n%s", name, networks)
		}
	}
	f.refused = true
	f.press(floatingPage, "floating_ips__release", floatingIP)
	if !strings.Contains(f.said, floatingIP) {
		t.Errorf("the file's floating IP can be released: %q", f.said)
	}
	t.Logf("the dashboard says %q", f.said)
	f.sees(floatingPage, floatingIP, "cirros-vm3", "Active")
}

// ordinary wants Horizon to be one process of a user without rights.
func (d *dashboard) ordinary(t *testing.T) {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	d.check(err)
	found := 0
	for _, name := range all {
		environ, _ := os.ReadFile(name) // processes come and go
		line, _ := os.ReadFile(filepath.Dir(name) + "/cmdline")
		here := "TAPROUTER_API=" + d.api + "\x00"
		if !strings.Contains(string(environ), here) || !strings.Contains(string(line), "manage.py") {
			continue
		}
		found++
		status, err := os.ReadFile(filepath.Dir(name) + "/status")
		d.check(err)
		if took := processorTime(t, filepath.Dir(name)); took > 10*time.Second {
			t.Errorf("the dashboard needs %v of a processor until it is there", took)
		}
		for _, want := range []string{"Uid:\t65534\t65534\t65534\t65534", "Gid:\t65534\t", "CapPrm:\t0000000000000000",
			"CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("%q is not in the dashboard's status:\n%s", want, status)
			}
		}
	}
	if found != 1 {
		t.Errorf("the dashboard is %d processes", found)
	}
}

// The script refuses what would show the dashboard to other hosts, and names what is missing.
func TestHorizonRefuses(t *testing.T) {
	need(t, "curl")
	w := newWorld(t)
	s := w.space("empty")
	for _, c := range []struct{ args, want string }{
		{"--listen 0.0.0.0:8000", "only loopback"},
		{"--listen 192.0.2.1:8000", "only loopback"},
		{"--listen [::]:8000", "only loopback"},
		{"--listen 127.0.0.1.example.org:8000", "only loopback"},
		{"--listen 127.0.0.256:8000", "only loopback"},
		{"--listen localhost.example.org:8000", "only loopback"},
		{"--listen 8000", "only loopback"},
		{"--api http://192.0.2.1:9696", "only loopback"},
		{"--api https://127.0.0.1:9696", "only loopback"},
		{"--api http://127.0.0.1:9696@192.0.2.1", "only loopback"},
		{"--listen", "needs a value"},
		{"--port 8000", "unknown argument --port"},
	} {
		out, err := s.try(append([]string{horizonFolder + "/run.sh"}, strings.Fields(c.args)...)...)
		if exitCode(err) != 2 || !strings.Contains(out, c.want) {
			t.Errorf("%s: status %d, want 2 and %q:\n%s", c.args, exitCode(err), c.want, out)
		}
	}
	needHorizon(t)
	out, err := s.try(horizonFolder+"/run.sh", "--api", "http://127.0.0.1:9696")
	if exitCode(err) != 2 || !strings.Contains(out, "--listen 127.0.0.1:9696 --login-stub") {
		t.Errorf("without a router: status %d\n%s", exitCode(err), out)
	}
}

// shows logs what a person at the router sees of a click: the events since the last one, and the rules of NAT.
func (d *dashboard) shows() {
	d.t.Helper()
	nat, err := d.router.try("env", "TAPROUTER_ENDPOINT=http://127.0.0.1:9696", program, "show", "nat")
	if err != nil {
		d.t.Errorf("show nat: %v", err)
	}
	all := d.events.out.String()
	d.t.Logf("taprouter events:\n%staprouter show nat:\n%s", all[d.told:], nat)
	d.told = len(all)
}

// reaches wants a host to answer, and logs what the ping says.
func (d *dashboard) reaches(t *testing.T, from *space, to string) {
	t.Helper()
	t.Logf("%s$ ping %s\n%s", from.name, to, from.pings(t, to))
}

// hands are a person at the dashboard. Whatever Horizon complains about fails the test. A page is the one that has the
// link to a form, a row is called by what its table shows.
type hands interface {
	logIn()
	fill(page, form string, values ...fieldValue)
	press(page, action, row string)
	id(page, row string) string
	sees(page, row string, texts ...string)
	drawn(texts ...string)                     // in Network Topology
	balance(b balancer)                        // by the wizard
	members(b balancer) map[string]string      // operating status by name
	front(b balancer, network, address string) // gives the load balancer a floating IP
	unbalance(b balancer)
	open(page string)
	look(name string) // has the picture taken of what is seen
}

// A balancer is what the wizard asks for.
type balancer struct {
	name, address, network, subnet, pool string
	instances                            []string
}

const (
	topologyPage = "/project/network_topology/"
	networksPage = "/admin/networks/"
	routersPage  = "/project/routers/"
	floatingPage = "/project/floating_ips/"
)

// The tutorial's clicks in Horizon's own forms, each with the packets that pass from then on, or no longer.
func TestHorizon(t *testing.T) {
	d := newDashboard(t)
	f := newForms(d.router, d.base)
	d.journey(f)
	d.step("physical networks are the topology's", func(t *testing.T) {
		form := words(find(f.get("/admin/networks/create/"), func(n *html.Node) bool {
			return n.Data == "select" && attribute(n, "name") == "physical_network"
		}))
		if form != "default second" {
			t.Errorf("Create Network offers %q", form)
		}
	})
	d.step("what leads nowhere is hidden", func(t *testing.T) {
		for _, page := range []string{topologyPage, floatingPage} {
			text := words(f.get(page))
			for _, hidden := range []string{"Launch Instance", "Compute", "Volumes", "Identity", "RBAC",
				"port forwarding"} {
				if strings.Contains(text, hidden) {
					t.Errorf("%s shows %s:\n%s", page, hidden, text)
				}
			}
		}
	})
}

func (d *dashboard) journey(h hands) {
	d.step("log in", func(t *testing.T) {
		d.ordinary(t)
		h.logIn()
		h.drawn("vlan100", "vlan101", "ext_net", "WEB1", "WEB2", "cirros-vm3", "client", "172.16.100.9", "172.16.101.3")
		h.look("topology-before")
	})
	d.step("Create Network, Create Port", func(t *testing.T) { d.makesNetwork(t, h) })
	d.step("episode 100: Create Router, Add Interface", func(t *testing.T) { d.makesRouter(t, h) })
	d.step("episode 105: Set Gateway", func(t *testing.T) { d.setsGateway(t, h) })
	d.step("episode 106: Allocate, Associate, Disassociate", func(t *testing.T) { d.associates(t, h) })
	d.web1.web("172.16.100.9:80", "WEB1")
	two := d.web2.web("172.16.100.10:80", "WEB2")
	d.step("episode 122: the load balancer", func(t *testing.T) { d.balances(t, h) })
	two.Close()
	d.step("episode 122: WEB2 is down", func(t *testing.T) {
		d.waitMember(t, h, "WEB2", "ERROR")
		if pages := d.vm3.curls(t, webURL, 4); strings.Join(pages, "") != "WEB1WEB1WEB1WEB1" {
			t.Errorf("after WEB2 is down: %q", pages)
		}
		d.shows()
	})
	d.web2.web("172.16.100.10:80", "WEB2")
	d.step("episode 122: WEB2 is back", func(t *testing.T) {
		d.waitMember(t, h, "WEB2", "ONLINE")
		alternate(t, d.vm3.curls(t, webURL, 8))
		d.shows()
	})
	d.step("episode 126: a floating IP for it", func(t *testing.T) { d.frontsBalancer(t, h) })
	d.step("everything goes", func(t *testing.T) { d.takesAway(t, h) })
	if out := d.process.out.String(); strings.Contains(out, "panic") {
		d.t.Errorf("the router has logged:\n%s", out)
	}
}

// makesNetwork has an administrator make a VLAN on a physical network of the topology, and an instance's port there.
func (d *dashboard) makesNetwork(t *testing.T, h hands) {
	h.fill(networksPage, "/admin/networks/create/", fieldValue{"name", "vlan102"}, fieldValue{"tenant_id", "admin"},
		fieldValue{"network_type", "VLAN"}, fieldValue{"physical_network", "default"},
		fieldValue{"segmentation_id", "102"}, fieldValue{"subnet_name", "subnet_172_16_102_0"},
		fieldValue{"cidr", "172.16.102.0/24"})
	h.sees(networksPage, "vlan102", "172.16.102.0/24", "Active")
	h.look("networks")
	h.fill(d.portsPage(h), "/project/networks/"+h.id(networksPage, "vlan102")+"/ports/create",
		fieldValue{"name", "cirros-vm5"}, fieldValue{"device_id", "cirros-vm5"},
		fieldValue{"device_owner", "compute:nova"}, fieldValue{"specify_ip", "Fixed IP Address"},
		fieldValue{"fixed_ip", "172.16.102.5"}, fieldValue{"mac_address", vm5MAC})
	h.sees(d.portsPage(h), "cirros-vm5", "172.16.102.5", vm5MAC)
	h.drawn("vlan102", "cirros-vm5", "172.16.102.5")
	d.check(d.trunk.LinkSetUp(d.trunk.link("trunk")))
	t.Logf("tags by %s", (&tagger{at: d.trunk, trunk: "trunk", port: "port"}).connect(t, map[uint16]*space{102: d.vm5}))
	d.vm5.run("ip", "link", "set", "eth0", "address", vm5MAC)
	d.vm5.address("eth0", "172.16.102.5/24", "172.16.102.1")
	d.shows()
}

func (d *dashboard) portsPage(h hands) string {
	d.t.Helper()
	return "/project/networks/" + h.id(networksPage, "vlan102") + "/detail?tab=network_tabs__ports_tab"
}

func (d *dashboard) makesRouter(t *testing.T, h hands) {
	d.vm3.dead(t, "172.16.100.9")
	h.fill(routersPage, "/project/routers/create/", fieldValue{"name", "router_100_101"})
	h.sees(routersPage, "router_100_101", "Active")
	id := h.id(routersPage, "router_100_101")
	interfaces := routersPage + id + "/?tab=router_details__interfaces"
	for _, network := range []string{"vlan100", "vlan101", "vlan102"} {
		h.fill(interfaces, routersPage+id+"/addinterface", fieldValue{"subnet_id", network})
	}
	h.open(interfaces)
	h.look("interfaces")
	h.drawn("router_100_101")
	h.look("topology-router")
	d.shows()
	d.reaches(t, d.vm3, "172.16.100.9")
	d.reaches(t, d.vm5, "172.16.101.3")
}

func (d *dashboard) setsGateway(t *testing.T, h hands) {
	d.vm3.dead(t, "10.10.10.1")
	h.fill(routersPage, routersPage+h.id(routersPage, "router_100_101")+"/setgateway",
		fieldValue{"network_id", "ext_net"})
	h.sees(routersPage, "router_100_101", "ext_net")
	h.look("gateway")
	d.shows()
	d.reaches(t, d.vm3, "10.10.10.1")
	d.client.dead(t, "172.16.101.3")
}

// associates has an address of the outside lead to an instance: from the click on Associate to that on Disassociate.
func (d *dashboard) associates(t *testing.T, h hands) {
	h.fill(floatingPage, "/project/floating_ips/allocate/", fieldValue{"pool", "ext_net"})
	h.sees(floatingPage, floatingIP, "ext_net", "Down")
	h.look("allocated")
	d.client.dead(t, floatingIP)
	form := "/project/floating_ips/associate/?ip_id=" + h.id(floatingPage, floatingIP)
	for range 2 {
		ping := d.client.watch(floatingIP)
		before := time.Now()
		h.fill(floatingPage, form, fieldValue{"port_id", "cirros-vm3"})
		d.reaches(t, d.client, floatingIP)
		h.sees(floatingPage, floatingIP, "cirros-vm3", "172.16.101.3", "Active")
		h.look("associated")
		d.shows()
		h.press(floatingPage, "floating_ips__disassociate", floatingIP)
		after := time.Now()
		d.client.dead(t, floatingIP)
		ping.stop()
		if all := ping.answers(); len(all) == 0 || all[0].Before(before) || all[len(all)-1].After(after) {
			t.Errorf("between the clicks of %v and %v came %d answers", before, after, len(all))
		}
	}
	d.shows()
	h.fill(floatingPage, form, fieldValue{"port_id", "cirros-vm3"})
	d.reaches(t, d.client, floatingIP)
}

var webBalancer = balancer{name: "web-lb", address: "172.16.100.11", network: "vlan100", subnet: "172.16.100.0/24",
	pool: "web servers", instances: []string{"WEB1", "WEB2"}}

const (
	webURL  = "http://172.16.100.11/"
	fronted = "10.10.10.7"
)

func (d *dashboard) balances(t *testing.T, h hands) {
	if out, err := d.vm3.try("curl", "-sS", "-m", "1", webURL); err == nil {
		t.Errorf("the VIP answers already: %s", out)
	}
	h.balance(webBalancer)
	d.shows()
	alternate(t, d.vm3.curls(t, webURL, 8))
}

// waitMember waits until the dashboard shows a status of a member, which a monitor finds out.
func (d *dashboard) waitMember(t *testing.T, h hands, name, status string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		got := h.members(webBalancer)
		if got[name] == status {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("members are %v, want %s %s", got, name, status)
		}
	}
}

func (d *dashboard) frontsBalancer(t *testing.T, h hands) {
	h.front(webBalancer, "ext_net", fronted)
	h.sees(floatingPage, fronted, webBalancer.address, "Active")
	h.look("fronted")
	d.shows()
	alternate(t, d.client.curls(t, "http://"+fronted+"/", 8))
	h.drawn("router_100_101")
	h.look("topology-after")
}

// takesAway takes everything away by the dashboard, and the packets with it.
func (d *dashboard) takesAway(t *testing.T, h hands) {
	h.unbalance(webBalancer)
	if out, err := d.client.try("curl", "-sS", "-m", "1", "http://"+fronted+"/"); err == nil {
		t.Errorf("the load balancer still answers: %s", out)
	}
	h.sees(floatingPage, fronted, "Down")
	h.press(floatingPage, "floating_ips__release", fronted)
	h.press(floatingPage, "floating_ips__disassociate", floatingIP)
	h.press(floatingPage, "floating_ips__release", floatingIP)
	d.client.dead(t, floatingIP)
	d.reaches(t, d.vm3, "10.10.10.1")
	h.press(routersPage, "routers__clear", "router_100_101")
	d.vm3.dead(t, "10.10.10.1")
	d.reaches(t, d.vm3, "172.16.100.9")
	h.press(routersPage, "routers__delete", "router_100_101")
	d.vm3.dead(t, "172.16.100.9")
	h.press(d.portsPage(h), "ports__delete", "cirros-vm5")
	h.press(networksPage, "networks__delete", "vlan102")
	d.shows()
}

// drawn wants names and addresses in what the picture is drawn from.
func (f *forms) drawn(texts ...string) {
	f.t.Helper()
	f.get(topologyPage) // whose script asks for it
	topology, _ := f.call(http.MethodGet, topologyPage+"json", nil).(map[string]any)
	shown := map[any]bool{}
	for _, kind := range []string{"servers", "networks", "routers", "ports"} {
		list, is := topology[kind].([]any)
		if !is {
			f.t.Errorf("no %s in the topology: %v", kind, topology)
		}
		for _, each := range list {
			o, _ := each.(map[string]any)
			shown[o["name"]] = true
			addresses, _ := o["fixed_ips"].([]any)
			for _, a := range addresses {
				fixed, _ := a.(map[string]any)
				shown[fixed["ip_address"]] = true
			}
		}
	}
	for _, text := range texts {
		if !shown[text] {
			f.t.Errorf("%s is not in the topology: %v", text, shown)
		}
	}
}

func (f *forms) open(page string) {
	f.t.Helper()
	f.get(page)
}

// look has nothing to see.
func (*forms) look(string) {}
