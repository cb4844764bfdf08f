//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// keptTopology has no devices: all that its router does is to keep what programs change.
const keptTopology = `
[[network]]
name = "tenant"
id = "00000000-0000-4000-8000-0000000000a1"
  [[network.subnet]]
  id = "00000000-0000-4000-8000-0000000000a2"
  cidr = "172.16.0.0/16"

[[network]]
name = "ext"
id = "00000000-0000-4000-8000-0000000000a3"
external = true
  [[network.subnet]]
  cidr = "10.10.0.0/16"
  gateway = "10.10.0.1"

[[router]]
name = "router"
interfaces = ["tenant"]
gateway = { network = "ext" }
`

const (
	keptTenant, keptSubnet = "00000000-0000-4000-8000-0000000000a1", "00000000-0000-4000-8000-0000000000a2"
	keptExternal           = "00000000-0000-4000-8000-0000000000a3"
)

// keptKinds are the collections that the clients change, and the attribute of each that they change.
var keptKinds = map[string]struct{ path, name, attribute string }{
	"port":         {"/v2.0/ports", "ports", "description"},
	"floatingip":   {"/v2.0/floatingips", "floatingips", "port_id"},
	"loadbalancer": {"/v2.0/lbaas/loadbalancers", "loadbalancers", "description"},
}

// A kept object is what a client has been told of one.
type kept struct {
	kind  string
	value string // of the attribute that is changed
}

// A doubt is the one request of a client that got no answer.
type doubt struct {
	method string // POST, PUT or DELETE
	kind   string
	id     string // of PUT and DELETE
	label  string // of POST: the object's description
	value  string // of PUT
}

// A keeper is a client that changes objects of its own, and notes what was acknowledged.
type keeper struct {
	number int
	random *rand.Rand
	seq    int
	have   map[string]kept // by id
	gone   map[string]bool // acknowledged as deleted
	doubts *doubt
	acks   int
}

// work changes things until an answer does not come. Any answer that refuses is an error of the test.
func (k *keeper) work(c *apiClient) error {
	for {
		d, body := k.next()
		path := keptKinds[d.kind].path
		if d.id != "" {
			path += "/" + d.id
		}
		if d.kind == "loadbalancer" && d.method == "DELETE" {
			path += "?cascade=true"
		}
		status, text, err := c.do(d.method, path, body)
		if err != nil {
			k.doubts = d
			return nil
		}
		if status/100 != 2 {
			return fmt.Errorf("%s %s %s: %d %s", d.method, path, body, status, text)
		}
		if err := k.note(d, text); err != nil {
			return err
		}
	}
}

// next chooses a change.
func (k *keeper) next() (d *doubt, body string) {
	k.seq++
	label := fmt.Sprintf("c%d-%d", k.number, k.seq)
	ids := k.of("")
	choice := k.random.IntN(10)
	if len(ids) < 4 {
		choice = 0
	} else if len(ids) > 16 {
		choice = 9
	}
	switch {
	case choice < 4:
		kind := []string{"port", "port", "floatingip", "loadbalancer"}[k.random.IntN(4)]
		d = &doubt{method: "POST", kind: kind, label: label}
		switch kind {
		case "port":
			body = fmt.Sprintf(`{"port":{"network_id":%q,"description":%q,"name":%[2]q}}`, keptTenant, label)
		case "floatingip":
			body = fmt.Sprintf(`{"floatingip":{"floating_network_id":%q,"description":%q}}`, keptExternal, label)
		case "loadbalancer": // a whole tree, which is there or not
			body = fmt.Sprintf(`{"loadbalancer":{"vip_subnet_id":%q,"name":%q,"description":%[2]q,"listeners":[
				{"name":%[2]q,"protocol":"TCP","protocol_port":80,"default_pool":{"name":%[2]q,"protocol":"TCP",
				"lb_algorithm":"ROUND_ROBIN","members":[{"address":"172.16.200.2","protocol_port":80},
				{"address":"172.16.200.3","protocol_port":80}]}}]}}`, keptSubnet, label)
		}
	case choice < 7:
		id := ids[k.random.IntN(len(ids))]
		d = &doubt{method: "PUT", kind: k.have[id].kind, id: id, value: label}
		body = fmt.Sprintf(`{%q:{"description":%q}}`, d.kind, label)
		if d.kind == "floatingip" {
			d.value, body = k.associate()
		}
	default:
		id := ids[k.random.IntN(len(ids))]
		d = &doubt{method: "DELETE", kind: k.have[id].kind, id: id}
	}
	return d, body
}

// associate chooses a port without a floating IP, or none.
func (k *keeper) associate() (port, body string) {
	used := map[string]bool{}
	for _, o := range k.have {
		used[o.value] = true
	}
	for _, id := range k.of("port") {
		if !used[id] {
			return id, fmt.Sprintf(`{"floatingip":{"port_id":%q}}`, id)
		}
	}
	return "", `{"floatingip":{"port_id":null}}`
}

// of lists the ids of a kind; all of them for an empty one. They have no order.
func (k *keeper) of(kind string) (ids []string) {
	for id, o := range k.have {
		if kind == "" || o.kind == kind {
			ids = append(ids, id)
		}
	}
	return ids
}

// note takes an acknowledged change down.
func (k *keeper) note(d *doubt, text []byte) error {
	k.acks++
	switch d.method {
	case "POST":
		var answer map[string]apiObject
		if err := json.Unmarshal(text, &answer); err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		id := answer[d.kind].text("id")
		value := d.label
		if d.kind == "floatingip" {
			value = ""
		}
		k.have[id] = kept{d.kind, value}
	case "PUT":
		k.have[d.id] = kept{d.kind, d.value}
	case "DELETE":
		delete(k.have, d.id)
		k.gone[d.id] = true
		for id, o := range k.have { // a floating IP is let go by the port that goes
			if o.kind == "floatingip" && o.value == d.id {
				k.have[id] = kept{o.kind, ""}
			}
		}
	}
	return nil
}

// A picture is what the API shows after a start.
type picture map[string]map[string]apiObject // by collection and id

func takePicture(c *apiClient) (picture, error) {
	p := picture{}
	for name, path := range map[string]string{"ports": "/v2.0/ports", "floatingips": "/v2.0/floatingips",
		"loadbalancers": "/v2.0/lbaas/loadbalancers", "listeners": "/v2.0/lbaas/listeners",
		"pools": "/v2.0/lbaas/pools"} {
		var err error
		if p[name], err = c.list(path, name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// compare finds what is not as the client was told, and then takes the doubt for what has come of it.
func (k *keeper) compare(t *testing.T, p picture) {
	t.Helper()
	d := k.doubts
	if d == nil {
		d = &doubt{}
	}
	k.doubts = nil
	for id, o := range k.have {
		now, there := p[keptKinds[o.kind].name][id]
		value := now.text(keptKinds[o.kind].attribute)
		portInDoubt := d.method == "DELETE" && d.kind == "port" && o.kind == "floatingip" && o.value == d.id
		switch {
		case !there && d.method == "DELETE" && d.id == id:
			delete(k.have, id)
		case !there:
			t.Errorf("lost: %s %s, which client %d has", o.kind, id, k.number)
			delete(k.have, id)
		case value == o.value:
		case d.method == "PUT" && d.id == id && value == d.value, portInDoubt && value == "":
			k.have[id] = kept{o.kind, value}
		default:
			t.Errorf("lost: %s %s is %q, and client %d was told %q", o.kind, id, value, k.number, o.value)
			k.have[id] = kept{o.kind, value}
		}
	}
	for kind, of := range keptKinds {
		for id, now := range p[of.name] {
			label := now.text("description")
			if _, known := k.have[id]; known || !strings.HasPrefix(label, fmt.Sprintf("c%d-", k.number)) {
				continue
			}
			if d.method != "POST" || d.label != label {
				t.Errorf("%s %s, %q, is there; deleted: %v", kind, id, label, k.gone[id])
				continue
			}
			value := label
			if kind == "floatingip" {
				value = now.text("port_id")
			}
			k.have[id] = kept{kind, value}
		}
	}
}

// whole finds objects that are half made.
func (p picture) whole(t *testing.T) {
	t.Helper()
	for id, o := range p["ports"] {
		spare := o.text("device_owner") == "network:floatingip" // no router has it yet, and so no MAC
		if fixed, _ := o["fixed_ips"].([]any); len(fixed) != 1 || o.text("mac_address") == "" && !spare {
			t.Errorf("half a port: %s %v", id, o)
		}
		if lb, ok := strings.CutPrefix(o.text("name"), "octavia-lb-"); ok && p["loadbalancers"][lb] == nil {
			t.Errorf("the port of a VIP is there, and not its load balancer: %v", o)
		}
	}
	for id, o := range p["floatingips"] {
		port := o.text("port_id")
		if o.text("floating_ip_address") == "" || port != "" && (p["ports"][port] == nil || o.text("router_id") == "") {
			t.Errorf("half a floating IP: %s %v", id, o)
		}
	}
	for id, o := range p["loadbalancers"] {
		listeners, _ := o["listeners"].([]any)
		pools, _ := o["pools"].([]any)
		if len(listeners) != 1 || len(pools) != 1 || p["ports"][o.text("vip_port_id")] == nil {
			t.Errorf("half a load balancer: %s %v", id, o)
		}
	}
	n := len(p["loadbalancers"])
	if len(p["listeners"]) != n || len(p["pools"]) != n {
		t.Errorf("%d load balancers, %d listeners, %d pools", n, len(p["listeners"]), len(p["pools"]))
	}
	for id, o := range p["pools"] {
		if members, _ := o["members"].([]any); len(members) != 2 {
			t.Errorf("half a pool: %s %v", id, o)
		}
	}
}

// killRounds is how often the router is killed; TAPROUTER_KILLS says another number.
const killRounds = 30

// Killed at any instant while programs change things, the router has after the next start all that it has acknowledged,
// nothing that it has acknowledged as deleted, and nothing half made.
func TestKilledWhileChanging(t *testing.T) {
	need(t)
	rounds := killRounds
	if v := os.Getenv("TAPROUTER_KILLS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	w := newWorld(t)
	s, file, socket := w.space("router"), w.file("kept.toml", keptTopology), w.socketPath()
	dir := filepath.Join(filepath.Dir(file), "state")
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	keepers := make([]*keeper, 4)
	for i := range keepers {
		keepers[i] = &keeper{number: i, random: rand.New(rand.NewPCG(seed, uint64(i)+1)), have: map[string]kept{},
			gone: map[string]bool{}}
	}
	began, doubts := time.Now(), 0
	var slowest time.Duration
	for round := range rounds + 1 {
		start := time.Now()
		p := s.start(program, "run", file, "--socket", socket, "--state-dir", dir)
		if round%10 == 9 { // at an instant of the start
			<-time.After(time.Duration(random.IntN(40)) * time.Millisecond)
			p.kill(t)
			start = time.Now()
			p = s.start(program, "run", file, "--socket", socket, "--state-dir", dir)
		}
		p.wait(t, " ready ")
		slowest = max(slowest, time.Since(start))
		c := newAPIClient(socket)
		now, err := takePicture(c)
		c.close()
		w.check(err)
		now.whole(t)
		for _, k := range keepers {
			k.compare(t, now)
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d; the log:\n%s", seed, round, p.stop())
		}
		if round == rounds {
			p.stop()
			break
		}
		var all sync.WaitGroup
		for _, k := range keepers {
			all.Go(func() {
				c := newAPIClient(socket)
				defer c.close()
				if err := k.work(c); err != nil {
					t.Error(err)
				}
			})
		}
		<-time.After(time.Duration(random.IntN(150_000)) * time.Microsecond)
		p.kill(t)
		all.Wait()
		for _, k := range keepers {
			if k.doubts != nil {
				doubts++
			}
		}
	}
	acks, have, gone := 0, 0, 0
	for _, k := range keepers {
		acks, have, gone = acks+k.acks, have+len(k.have), gone+len(k.gone)
	}
	t.Logf("%d kills in %v: %d changes acknowledged, %d requests cut off, %d objects there, %d deleted; "+
		"slowest start %v", rounds, time.Since(began).Round(time.Millisecond), acks, doubts, have, gone,
		slowest.Round(time.Millisecond))
	if acks < rounds {
		t.Errorf("%d changes in %d rounds: the test tests little", acks, rounds)
	}
}

// Two routers cannot have one state: the second one ends within a second, and says what to do.
func TestTwoOnOneState(t *testing.T) {
	need(t)
	w := newWorld(t)
	s, file := w.space("router"), w.file("kept.toml", keptTopology)
	dir := filepath.Join(filepath.Dir(file), "state")
	s.serve(file, "--state-dir", dir)
	began := time.Now()
	out, err := s.try(program, "run", file, "--socket", "none", "--state-dir", dir)
	took := time.Since(began)
	t.Logf("it ends after %v: %s", took.Round(time.Millisecond), strings.TrimSpace(out))
	if exitCode(err) != 1 || !strings.Contains(out, "state.db") || !strings.Contains(out, "end that one") {
		t.Errorf("%v:\n%s", err, out)
	}
	if took > 10*time.Second { // the machine may be busy
		t.Errorf("it takes %v", took)
	}
}

// A full disk refuses changes in the API's words, and loses none. With room again, all goes on.
func TestFullStateDisk(t *testing.T) {
	need(t, "unshare", "nsenter")
	w := newWorld(t)
	s, file, socket := w.space("router"), w.file("kept.toml", keptTopology), w.socketPath()
	dir := filepath.Join(filepath.Dir(file), "disk")
	w.check(os.Mkdir(dir, 0o755))
	disk := s.start("unshare", "--mount", "sh", "-c",
		`mount -t tmpfs -o size=1m none "$0" && echo mounted && exec sleep 600`, dir)
	disk.wait(t, "mounted")
	pid := strconv.Itoa(disk.cmd.Process.Pid)
	run := func() *process {
		p := s.start("nsenter", "--mount", "--target", pid, program, "run", file, "--socket", socket, "--state-dir",
			filepath.Join(dir, "state"))
		p.wait(t, " ready ")
		return p
	}
	p := run()
	c := newAPIClient(socket)
	made := map[string]string{}
	change := func(n int) (refused string) {
		t.Helper()
		label := fmt.Sprintf("%d-%s", n, strings.Repeat("x", 200))
		status, text, err := c.do("POST", "/v2.0/ports",
			fmt.Sprintf(`{"port":{"network_id":%q,"description":%q}}`, keptTenant, label))
		w.check(err)
		var answer struct {
			Port         apiObject
			NeutronError apiObject
		}
		w.check(json.Unmarshal(text, &answer))
		if status/100 == 2 {
			made[answer.Port.text("id")] = label
			return ""
		}
		if answer.NeutronError.text("message") == "" || answer.NeutronError.text("type") == "" {
			t.Errorf("refused, and not in the API's form: %d %s", status, text)
		}
		return fmt.Sprint(status, " ", answer.NeutronError.text("type"), ": ", answer.NeutronError.text("message"))
	}
	same := func(when string) {
		t.Helper()
		now, err := c.list("/v2.0/ports", "ports")
		w.check(err)
		n := 0
		for id, o := range now {
			if o.text("description") == "" {
				continue // the router's own
			}
			if n++; made[id] != o.text("description") {
				t.Errorf("%s: %s is there, and was refused", when, id)
			}
		}
		if n != len(made) {
			t.Errorf("%s: %d ports, %d were acknowledged", when, n, len(made))
		}
	}
	if refused := change(0); refused != "" {
		t.Fatal(refused)
	}
	s.try("nsenter", "--mount", "--target", pid, "dd", "if=/dev/zero", "of="+dir+"/filler", "bs=4k") // until it is full
	first, refusals := "", 0
	for i := range 400 {
		if refused := change(i + 1); refused != "" {
			if refusals++; first == "" {
				first = refused
			}
		}
	}
	t.Logf("%d made, %d refused: %s", len(made), refusals, first)
	if refusals < 100 || !strings.Contains(first, "no space left") {
		t.Errorf("%d refusals; the first: %s", refusals, first)
	}
	same("while it is full")
	p.kill(t)
	p = run()
	c.close()
	same("after kill -9 on a full disk")
	s.run("nsenter", "--mount", "--target", pid, "rm", dir+"/filler")
	for i := range 20 {
		if refused := change(1000 + i); refused != "" {
			t.Errorf("with room again: %s", refused)
		}
	}
	p.kill(t)
	p = run()
	c.close()
	same("with room again")
	c.close()
	p.stop()
}
