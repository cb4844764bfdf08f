//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An office is the router of the lesson 105-set-gateway.toml, with hosts in the places of the lesson's instances, and
// taprouter's own commands to change it:
//
//	vm3 172.16.101.3 ── tap101 ── taprouter ── tap-ext ── outside 10.10.10.1
type office struct {
	*world
	router, vm3, outside *space
	socket               string
}

const (
	officeVM      = "172.16.101.3"
	officeOutside = "10.10.10.1"
)

func newOffice(t *testing.T, flags ...string) *office {
	t.Helper()
	need(t, "ping", "curl")
	o := &office{world: newWorld(t)}
	o.router, o.vm3, o.outside = o.space("router"), o.space("vm3"), o.space("outside")
	o.socket = o.socketPath()
	o.router.serve("../../examples/105-set-gateway.toml", append([]string{"--socket", o.socket}, flags...)...)
	o.vm3.adopt(o.router, "tap101")
	o.vm3.address("tap101", officeVM+"/24", "172.16.101.1")
	o.outside.adopt(o.router, "tap-ext")
	o.outside.address("tap-ext", officeOutside+"/24", "")
	o.outside.run("ip", "route", "add", "172.16.101.0/24", "via", "10.10.10.2")
	return o
}

// tries runs a command of taprouter's, and returns what it prints.
func (o *office) tries(command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, program, strings.Fields(command)...)
	c.Env = append(os.Environ(), "TAPROUTER_ENDPOINT=unix:"+o.socket)
	out, err := c.CombinedOutput()
	return string(out), err
}

// does runs commands that must succeed, one a line. What stands behind " => " has to be printed.
func (o *office) does(t *testing.T, commands string) (out string) {
	t.Helper()
	for line := range strings.Lines(commands) {
		command, want, _ := strings.Cut(strings.TrimSpace(line), " => ")
		if command == "" {
			continue
		}
		var err error
		if out, err = o.tries(strings.TrimPrefix(command, "taprouter ")); err != nil || !strings.Contains(out, want) {
			t.Fatalf("%s: %v; want %q:\n%s", command, err, want, out)
		}
	}
	return out
}

// A watch is a ping that goes on, and knows when answers came.
type watch struct{ *process }

func (s *space) watch(to string) watch {
	return watch{s.start("ping", "-n", "-D", "-i", "0.01", "-W", "1", to)}
}

var answerLine = regexp.MustCompile(`\[(\d+\.\d+)\] \d+ bytes from`)

// answers are the times at which answers came.
func (w watch) answers() (all []time.Time) {
	for _, m := range answerLine.FindAllStringSubmatch(w.out.String(), -1) {
		seconds, fraction, _ := strings.Cut(m[1], ".")
		s, _ := strconv.ParseInt(seconds, 10, 64)                    // digits
		us, _ := strconv.ParseInt((fraction + "000000")[:6], 10, 64) // digits
		all = append(all, time.Unix(s, us*1000))
	}
	return all
}

// A meeting is a TCP connection that both ends use all the time.
type meeting struct{ ends chan error }

// meet begins one. It ends with an error for each end.
func (w *world) meet(from, to *space, listen, dial string) *meeting {
	w.t.Helper()
	client, server := w.join(from, to, listen, dial)
	m := &meeting{make(chan error, 2)}
	for _, c := range []net.Conn{client, server} {
		go func() {
			b := make([]byte, 64)
			for {
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				if _, err := c.Write([]byte("x")); err != nil {
					m.ends <- err
					return
				}
				if _, err := c.Read(b); err != nil {
					m.ends <- err
					return
				}
			}
		}()
	}
	return m
}

// goesOn fails the test if the connection has ended.
func (m *meeting) goesOn(t *testing.T) {
	t.Helper()
	select {
	case err := <-m.ends:
		t.Errorf("the connection has ended: %v", err)
	default:
	}
}

// isCut waits until both ends have learned that the connection is over, without waiting for a timeout.
func (m *meeting) isCut(t *testing.T) {
	t.Helper()
	for range 2 {
		if err := <-m.ends; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an end of the connection waits for ever: %v", err)
		}
	}
}

// web serves a page with a name over HTTP.
func (s *space) web(address, name string) net.Listener {
	s.w.t.Helper()
	l := s.listen(address)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name)
	})}
	go func() { _ = server.Serve(l) }() // until the test ends, and the listener with it
	return l
}

// curls gets a page several times, each on a connection of its own, and returns the answers.
func (s *space) curls(t *testing.T, url string, n int) (pages []string) {
	t.Helper()
	for range n {
		out, err := s.try("curl", "-sS", "-m", "3", url)
		if err != nil {
			t.Errorf("curl %s: %v\n%s", url, err, out)
		}
		pages = append(pages, out)
	}
	return pages
}

// alternate fails the test unless the pages come in turn.
func alternate(t *testing.T, pages []string) {
	t.Helper()
	t.Logf("curl: %s", strings.Join(pages, " "))
	seen := slices.Compact(slices.Clone(pages))
	if len(seen) != len(pages) || len(slices.Compact(slices.Sorted(slices.Values(pages)))) != 2 {
		t.Errorf("two members do not take turns: %q", pages)
	}
}

// documented are the commands of a column of the document's table, by what they do, in their order.
func documented(t *testing.T) (names []string, commands map[string]string) {
	t.Helper()
	text, err := os.ReadFile("../../examples/105-106-openstack.md")
	if err != nil {
		t.Fatal(err)
	}
	commands = map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		if command := strings.Trim(strings.TrimSpace(cells[3]), "`"); strings.HasPrefix(command, "taprouter ") {
			names = append(names, strings.TrimSpace(cells[1]))
			commands[names[len(names)-1]] = command
		}
	}
	return names, commands
}

// The commands of the document about episodes 105 and 106 do what it says, while packets flow.
func TestDocumentedCommands(t *testing.T) {
	o := newOffice(t)
	seen := func(from string) { // by the outside
		t.Helper()
		_, server := o.join(o.vm3, o.outside, officeOutside+":0", officeOutside+":")
		if got, _, _ := net.SplitHostPort(server.RemoteAddr().String()); got != from {
			t.Errorf("the outside sees %s, want %s", got, from)
		}
	}
	o.vm3.dead(t, officeOutside)
	var ping watch
	var call *meeting
	var associated time.Time
	names, commands := documented(t)
	after := map[string]func(out string){
		"set the gateway": func(string) { o.vm3.pings(t, officeOutside); seen("10.10.10.2") },
		"show it": func(out string) {
			if !strings.Contains(out, `"external_fixed_ips": [{"ip_address": "10.10.10.2"`) {
				t.Error(out)
			}
		},
		"SNAT off": func(string) { seen(officeVM) },
		"SNAT on":  func(string) { seen("10.10.10.2") },
		"reserve an address": func(out string) {
			if !strings.Contains(out, floatingIP) || !strings.Contains(out, "DOWN") {
				t.Error(out)
			}
			o.outside.dead(t, floatingIP)
			ping = o.outside.watch(floatingIP)
			<-time.After(300 * time.Millisecond)
			if n := len(ping.answers()); n != 0 {
				t.Errorf("%d answers before it is associated", n)
			}
			associated = time.Now()
		},
		"associate it": func(string) {
			took := time.Since(associated)
			ping.wait(t, "bytes from")
			first := ping.answers()[0]
			t.Logf("associated: the command took %v; the first answer came %v after its beginning",
				took.Round(time.Millisecond), first.Sub(associated).Round(time.Millisecond))
			o.outside.pings(t, floatingIP)
			call = o.meet(o.outside, o.vm3, officeVM+":0", floatingIP+":")
			call.goesOn(t)
		},
		"list": func(out string) {
			if !strings.Contains(out, "| "+floatingIP+" ") || !strings.Contains(out, "| "+officeVM+" ") {
				t.Error(out)
			}
		},
		"the rules of NAT": func(out string) {
			for _, want := range []string{
				"router_100_101 inbound DNAT to 10.10.10.3 -> 172.16.101.3\n",
				"router_100_101 outbound SNAT from 172.16.101.3 -> 10.10.10.3\n",
				"router_100_101 outbound SNAT from any other -> 10.10.10.2\n",
			} {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in:\n%s", want, out)
				}
			}
			call.goesOn(t)
		},
		"take it away": func(string) {
			gone := time.Now()
			call.isCut(t)
			cut := time.Since(gone)
			o.outside.dead(t, floatingIP)
			ping.stop()
			all := ping.answers()
			last := all[len(all)-1]
			t.Logf("taken away: %d answers, the last %v before the command's end; the connection was cut %v after it",
				len(all), gone.Sub(last).Round(time.Millisecond), cut.Round(time.Millisecond))
			if last.Sub(gone) > time.Second { // a packet may be on its way
				t.Errorf("an answer came %v after the command", last.Sub(gone))
			}
			seen("10.10.10.2")
		},
		"give it back": func(string) {},
		"clear the gateway": func(string) {
			o.vm3.dead(t, officeOutside)
			o.outside.dead(t, "10.10.10.2")
		},
	}
	for _, name := range names {
		out, err := o.tries(strings.TrimPrefix(commands[name], "taprouter "))
		if err != nil {
			t.Fatalf("%s: %v\n%s", commands[name], err, out)
		}
		check := after[name]
		if check == nil {
			t.Fatalf("the test does not know %q", name)
		}
		check(out)
		delete(after, name)
	}
	for name := range after {
		t.Errorf("the document does not have %q", name)
	}
}

// taprouter's own commands make a load balancer behind a floating IP, see a member go and come, and look into the
// router. Events tell of all that.
func TestOwnCommands(t *testing.T) {
	o := newOffice(t)
	one := o.vm3.web(officeVM+":8081", "ONE")
	o.vm3.web(officeVM+":8082", "TWO")
	subnet := strings.TrimSpace(o.does(t, "subnet list --network vlan101 -f value -c ID")) // a file's has no name
	told := o.router.start(program, "events", "--since", "1", "--endpoint", "unix:"+o.socket)
	o.does(t, `
		router set --external-gateway ext_net router_100_101
		loadbalancer create --name lb --vip-subnet-id `+subnet+` --vip-address 172.16.101.50
		loadbalancer listener create --name li --protocol TCP --protocol-port 80 lb
		loadbalancer pool create --name p --protocol TCP --listener li --lb-algorithm ROUND_ROBIN
		loadbalancer member create --name m1 --address 172.16.101.3 --protocol-port 8081 p
		loadbalancer member create --name m2 --address 172.16.101.3 --protocol-port 8082 p`)
	port := strings.TrimSpace(o.does(t, "loadbalancer show -f value -c vip_port_id lb"))
	o.does(t, "floating ip create --floating-ip-address 10.10.10.7 --port "+port+" ext_net => 172.16.101.50")
	alternate(t, o.outside.curls(t, "http://10.10.10.7/", 6))
	o.does(t, "loadbalancer healthmonitor create --name h --type TCP --delay 1 --timeout 1 --max-retries 1 "+
		"--max-retries-down 1 p => TCP")
	one.Close()
	told.wait(t, "member-down")
	o.does(t, `
		status => member down: m1 of pool p, VIP li
		loadbalancer member show -f value -c operating_status p m1 => ERROR
		loadbalancer show -f value -c operating_status lb => DEGRADED`)
	if pages := o.outside.curls(t, "http://10.10.10.7/", 4); len(slices.Compact(pages)) != 1 || pages[0] != "TWO" {
		t.Errorf("while a member is down: %q", pages)
	}
	o.vm3.web(officeVM+":8081", "ONE")
	told.wait(t, "member-up")
	alternate(t, o.outside.curls(t, "http://10.10.10.7/", 6))
	o.step("look", func(t *testing.T) { o.looks(t) })
	o.step("what is kept and not obeyed", func(t *testing.T) { o.unserved(t) })
	o.step("a file", func(t *testing.T) { o.applies(t) })
	o.does(t, `
		floating ip delete 10.10.10.7
		loadbalancer delete --cascade lb
		router unset --external-gateway router_100_101
		status => objects:`)
	o.outside.dead(t, "10.10.10.7")
	for _, want := range []string{`+ floating IP 10.10.10.7`, `+ load balancer "lb"`, `- load balancer "lb"`,
		"member-down", "member-up"} {
		told.wait(t, want)
	}
}

// looks reads everything that there is to see of a router with traffic.
func (o *office) looks(t *testing.T) {
	o.vm3.pings(t, officeOutside)
	o.outside.curls(t, "http://10.10.10.7/", 1)
	o.does(t, `
		show conntrack => [ASSURED]
		show conntrack -p icmp => icmp     1
		show conntrack -p tcp -g --limit 1 => src=172.16.101.3 dst=10.10.10.1 sport=808
		show conntrack -o json -p tcp -d 10.10.10.7 => "listener_id"
		show nat => router_100_101 VIP 172.16.101.50 TCP port 80 -> pool p of 2 members
		show nat --router router_100_101 => router_100_101 inbound DNAT to 10.10.10.7 -> 172.16.101.50
		show neighbors => 172.16.101.3 dev vlan101 lladdr
		show neighbors -o json => "REACHABLE"
		show routes => default via 10.10.10.1 dev ext_net proto static src 10.10.10.2
		show floating-ips => | 10.10.10.7 | ext_net | 172.16.101.50 | router_100_101 | ACTIVE |
		show vips => 172.16.101.50:80
		show drops => Reason
		show stats => tap:tap101
		show devices => tap:tap-ext
		show devices -o json => "rx_packets"
		status -o json => "revision"
		log => info
		log debug
		log => debug
		log info`)
	if out, err := o.tries("show conntrack --state NONSENSE"); err == nil || !strings.Contains(out, "ESTABLISHED") {
		t.Errorf("%v %s", err, out)
	}
	for _, path := range []string{"healthz", "readyz"} {
		out, err := exec.Command("curl", "-sS", "-m", "3", "--unix-socket", o.socket,
			"http://x/taprouter/v1/"+path).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte(`"status":"ok"`)) {
			t.Errorf("%s: %v %s", path, err, out)
		}
	}
}

// unserved asks for what is kept and not obeyed yet: status lists it.
func (o *office) unserved(t *testing.T) {
	o.does(t, `
		network create --provider-network-type vlan --provider-physical-network default --provider-segment 77 tagged
		subnet create --network tagged --subnet-range 172.16.77.0/24 --dhcp served
		security group create closed
		port create --network tagged --security-group closed guarded`)
	out := o.does(t, "status")
	t.Logf("status:\n%s", out)
	for _, want := range []string{"security group"} {
		if !strings.Contains(out, want) {
			t.Errorf("status does not tell of %s", want)
		}
	}
	o.does(t, `
		port delete guarded
		network delete tagged
		security group delete closed`)
	if out := o.does(t, "status"); strings.Contains(out, "tagged") {
		t.Errorf("still there:\n%s", out)
	}
}

// applies has what is exported change nothing, and another file what it says.
func (o *office) applies(t *testing.T) {
	file := o.file("exported.toml", o.does(t, "export => [[network]]"))
	o.does(t, "apply --plan "+file+" => no changes")
	text, err := os.ReadFile("../../examples/105-set-gateway.toml")
	o.check(err)
	more := o.file("more.toml", string(text)+"\n[[network]]\nname = \"third\"\n")
	o.does(t, "apply --plan "+more+` => + network "third"`+`
		network list -f value -c Name => vlan101
		apply `+more+` => 1 change made`+`
		network show third => ACTIVE`)
	wrong := o.file("wrong.toml", string(text)+"\n[[network]]\nnam = \"third\"\n")
	if out, err := o.tries("apply " + wrong); exitCode(err) != 2 || !strings.Contains(out, "wrong.toml:") {
		t.Errorf("%v %s", err, out)
	}
	if out, err := o.tries("apply --revision 1 " + more); err == nil || !strings.Contains(out, "another revision") {
		t.Errorf("%v %s", err, out)
	}
}
