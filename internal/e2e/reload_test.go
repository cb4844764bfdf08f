//go:build linux

package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/nettest"
)

// A reloaded is a pair whose router reloads its file. The internal host has a second address, 172.16.100.10, which goes
// out by SNAT; the first one has the floating IP 10.10.10.3.
type reloaded struct {
	*pair
	file, text string
	times      int // the file was reloaded, or refused
}

const (
	snatAddress = "172.16.100.10"
	floatingIP  = "10.10.10.3"
)

func newReloaded(t *testing.T, internal wiring, flags ...string) *reloaded {
	t.Helper()
	p := &pair{world: newWorld(t)}
	p.router, p.internal, p.external = p.space("router"), p.space("internal"), p.space("external")
	r := &reloaded{pair: p}
	r.text = p.prepare(p.internal, internal, "tap100", pairTopology+nettest.FloatingIP(floatingIP, internalAddress))
	r.file = p.world.file("reloaded.toml", r.text)
	p.process = p.router.serve(r.file, flags...)
	p.connect(p.internal, internal, "tap100", internalAddress+"/24", "172.16.100.1")
	p.connect(p.external, movedTAP, "tap-ext", externalAddress+"/24", "")
	p.internal.address("tap100", snatAddress+"/24", "")
	return r
}

// reload gives the file another text and the router a SIGHUP, and returns what the router logs until it is done.
func (r *reloaded) reload(t *testing.T, text string) string {
	t.Helper()
	r.check(os.WriteFile(r.file, []byte(text), 0o644))
	return r.hangUp(t)
}

func (r *reloaded) hangUp(t *testing.T) string {
	t.Helper()
	start := len(r.process.out.String())
	r.check(r.process.cmd.Process.Signal(syscall.SIGHUP))
	r.times++
	r.process.waitTimes(t, " reloaded", r.times)
	return r.process.out.String()[start:]
}

// serves is reload for a text that is right.
func (r *reloaded) serves(t *testing.T, text string) string {
	t.Helper()
	log := r.reload(t, text)
	if strings.Contains(log, "not reloaded") {
		t.Fatalf("it is refused:\n%s", log)
	}
	return log
}

// with is the first text with texts replaced, in pairs, and more behind it.
func (r *reloaded) with(more string, pairs ...string) string {
	r.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(r.text, pairs[i]) != 1 {
			r.t.Fatalf("%q is not once in the file", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(r.text) + more
}

// A download is a long answer of a web server that curl fetches slowly. The server keeps the end of it back.
type download struct {
	name string
	curl *process
}

// downloads begins one through SNAT and one through the floating IP.
func (r *reloaded) downloads(size int, end <-chan struct{}) []download {
	r.t.Helper()
	answer := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for _, s := range []*space{r.internal, r.external} {
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			if req.Method == http.MethodHead {
				return
			}
			_, _ = w.Write(answer[:size-size/8]) // curl tells if it fails
			<-end
			_, _ = w.Write(answer[size-size/8:])
		})}
		l := s.listen(":8000")
		go func() { _ = server.Serve(l) }()
		r.t.Cleanup(func() { server.Close() })
	}
	const format = "%{size_download} bytes, exit %{exitcode}\n"
	curl := []string{"curl", "-sS", "--limit-rate", "400k", "-o", "/dev/null", "-w", format}
	return []download{
		{"through SNAT",
			r.internal.start(append(curl, "--interface", snatAddress, "http://"+externalAddress+":8000/")...)},
		{"through a floating IP", r.external.start(append(curl, "http://"+floatingIP+":8000/")...)},
	}
}

// complete wants all bytes to have arrived.
func (d download) complete(t *testing.T, size int) {
	t.Helper()
	select {
	case <-d.curl.ended:
	case <-time.After(20 * time.Second):
	}
	if out := d.curl.out.String(); out != fmt.Sprintf("%d bytes, exit 0\n", size) {
		t.Errorf("%s: of %d bytes: %s", d.name, size, out)
	}
}

// answered is the number of an answer in the output of ping.
var answered = regexp.MustCompile(` bytes from .* icmp_seq=(\d+) `)

// pinging pings all the time, from an address. The result wants an answer to each but the last one, which may be on
// its way.
func (s *space) pinging(t *testing.T, from, to string) (check func(t *testing.T)) {
	t.Helper()
	p := s.start("ping", "-n", "-i", "0.05", "-W", "1", "-w", "60", "-I", from, to)
	p.wait(t, "icmp_seq=2")
	return func(t *testing.T) {
		t.Helper()
		_ = p.cmd.Process.Signal(os.Interrupt)
		select {
		case <-p.ended:
		case <-time.After(5 * time.Second):
		}
		out, n := p.out.String(), 0
		for _, m := range answered.FindAllStringSubmatch(out, -1) {
			if n++; m[1] != strconv.Itoa(n) {
				t.Fatalf("ping from %s to %s: the answer %d is that to %s", from, to, n, m[1])
			}
		}
		if !strings.Contains(out, fmt.Sprintf("\n%d packets transmitted, %d received", n, n)) &&
			!strings.Contains(out, fmt.Sprintf("\n%d packets transmitted, %d received", n+1, n)) {
			t.Errorf("ping from %s to %s, %d answers:\n%s", from, to, n, out[max(0, len(out)-300):])
		}
	}
}

const moreNetwork = `
[[network]]
name = "more"
devices = ["tap:tap-more"]
  [[network.subnet]]
  cidr = "192.0.2.0/24"
`

// The file gets and loses an object of each kind, by one SIGHUP each. A ping and a download, through SNAT and through a
// floating IP, go on meanwhile. Only what was taken away ends.
func TestReload(t *testing.T) {
	t.Parallel()
	need(t, "ping", "curl")
	r := newReloaded(t, movedTAP)
	third := r.space("third")
	checks := []func(*testing.T){
		r.internal.pinging(t, snatAddress, externalAddress),
		r.external.pinging(t, externalAddress, floatingIP),
	}
	const size = 4 << 20
	end := make(chan struct{})
	downloads := r.downloads(size, end)

	r.step("a network, and a router's interface", func(t *testing.T) {
		log := r.serves(t, r.with(moreNetwork))
		for _, want := range []string{`added network "more" (`, "added subnet 192.0.2.0/24",
			"added=2 changed=0 removed=0"} {
			if !strings.Contains(log, want) {
				t.Errorf("%q is not in the log:\n%s", want, log)
			}
		}
		r.connect(third, movedTAP, "tap-more", thirdAddress+"/24", "192.0.2.1")
		third.dead(t, "192.0.2.1")
		both := []string{`interfaces = ["tenant"]`, `interfaces = ["tenant", "more"]`}
		r.serves(t, r.with(moreNetwork, both...))
		third.pings(t, externalAddress)
		third.pings(t, internalAddress)
		c, _ := r.join(third, r.external, externalAddress+":0", externalAddress+":")
		if log := r.serves(t, r.with(moreNetwork)); !strings.Contains(log, "removed interface 192.0.2.1") ||
			!strings.Contains(log, " ended=") {
			t.Errorf("the end of an interface:\n%s", log)
		}
		third.dead(t, "192.0.2.1")
		_ = c.Close()
		r.serves(t, r.text)
		if _, err := third.LinkByName("tap-more"); err == nil {
			t.Error("the TAP of the network that is gone is still there")
		}
	})

	r.step("a floating IP", func(t *testing.T) {
		r.serves(t, r.with(nettest.FloatingIP("10.10.10.8", snatAddress)))
		client, server := r.join(r.external, r.internal, ":0", "10.10.10.8:")
		kept, _ := r.join(r.external, r.internal, ":0", floatingIP+":")
		log := r.serves(t, r.text)
		if !strings.Contains(log, "removed floating IP 10.10.10.8") || !strings.Contains(log, "ended=1\n") {
			t.Errorf("the end of a floating IP:\n%s", log)
		}
		for name, c := range map[string]net.Conn{"client": client, "server": server} {
			_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the %s of a connection through it: %v", name, err)
			}
		}
		_ = kept.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := kept.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection through another one: %v", err)
		}
		r.external.dead(t, "10.10.10.8")
	})

	r.step("a forwarded port", func(t *testing.T) {
		const forwarded = `
[[floating_ip]]
network = "ext_net"
address = "10.10.10.8"
  [[floating_ip.port_forwarding]]
  protocol = "TCP"
  external_port = 2222
  fixed_ip = "` + snatAddress + `"
  port = 22
`
		r.serves(t, r.with(forwarded))
		client, _ := r.join(r.external, r.internal, ":22", "10.10.10.8:2222")
		r.serves(t, r.text)
		_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a connection through a port that is forwarded no more: %v", err)
		}
	})

	r.step("a VIP with its pool and monitor", func(t *testing.T) {
		vip := nettest.Balanced("web", "TCP", 80,
			`monitor = { type = "TCP", delay = "1s", timeout = "1s", max_retries = 1 }`,
			nettest.Member{Name: "only", Address: internalAddress, Port: 8000}) +
			nettest.FloatingIP("10.10.10.7", "172.16.100.11")
		r.serves(t, r.with(vip))
		r.process.wait(t, "member is up")
		fetch := []string{"curl", "-sS", "-m", "2", "-o", "/dev/null", "-I", "http://10.10.10.7/"}
		if out, err := r.external.try(fetch...); err != nil {
			t.Errorf("the VIP: %v\n%s", err, out)
		}
		r.serves(t, r.text)
		if log := r.process.out.String(); strings.Contains(log, "concerned") {
			t.Errorf("connections that are nobody's are counted:\n%s", log)
		}
		if out, err := r.external.try(fetch...); err == nil {
			t.Errorf("the VIP is there though it was removed:\n%s", out)
		}
	})

	r.step("another router", func(t *testing.T) {
		r.serves(t, r.with(moreNetwork+`
[[router]]
name = "second"
interfaces = ["more"]
gateway = { network = "ext_net", address = "10.10.10.20" }
`))
		r.connect(third, movedTAP, "tap-more", thirdAddress+"/24", "192.0.2.1")
		third.pings(t, externalAddress)
		r.external.pings(t, "10.10.10.20")
		if log := r.serves(t, r.text); !strings.Contains(log, `removed router "second"`) {
			t.Errorf("the end of a router:\n%s", log)
		}
		r.external.dead(t, "10.10.10.20")
		if _, err := third.LinkByName("tap-more"); err == nil {
			t.Error("the TAP of the network that is gone is still there")
		}
	})

	r.step("a fault", func(t *testing.T) {
		log := r.reload(t, r.with(nettest.FloatingIP("10.10.11.8", snatAddress)+moreNetwork))
		line := strings.Count(r.text, "\n") + 4
		if want := fmt.Sprintf("error: %s:%d: floating IP 10.10.11.8", r.file, line); !strings.Contains(log, want) ||
			!strings.Contains(log, "not reloaded: the router goes on as before") {
			t.Errorf("%q is not in the log:\n%s", want, log)
		}
		if _, err := r.router.LinkByName("tap-more"); err == nil {
			t.Error("a file with a fault has changed something")
		}
		if log := r.serves(t, r.text); !strings.Contains(log, "reloaded: nothing differs") {
			t.Errorf("the file as it was:\n%s", log)
		}
	})

	close(end)
	for _, d := range downloads {
		d.complete(t, size)
	}
	for _, check := range checks {
		check(t)
	}
}

// A device moves to another network, and stays the same device. Its MTU follows its network's.
func TestReloadMovesDevice(t *testing.T) {
	t.Parallel()
	need(t, "ping")
	r := newReloaded(t, placedTAP)
	moved := r.space("moved")
	first := `devices = ["tap:tap100@` + r.internal.name + `"]`
	device := `"tap:tap9@` + moved.name + `"`
	r.serves(t, r.with("", first, strings.Replace(first, "]", ", "+device+"]", 1)))
	moved.address("tap9", "172.16.100.20/24", "172.16.100.1")
	moved.pings(t, externalAddress)
	before := moved.link("tap9").Attrs()

	other := strings.Replace(moreNetwork, `"tap:tap-more"`, device, 1)
	both := []string{`interfaces = ["tenant"]`, `interfaces = ["tenant", "more"]`}
	check := r.internal.pinging(t, snatAddress, externalAddress)
	r.serves(t, r.with(other, both...))
	moved.dead(t, "172.16.100.1")
	moved.run("ip", "addr", "flush", "dev", "tap9")
	moved.address("tap9", thirdAddress+"/24", "192.0.2.1")
	moved.pings(t, externalAddress)
	if after := moved.link("tap9").Attrs(); after.Index != before.Index || after.MTU != 1500 {
		t.Errorf("it is another interface: %d with an MTU of %d, before %d", after.Index, after.MTU, before.Index)
	}
	log := r.serves(t, r.with(strings.Replace(other, "devices", "mtu = 1400\ndevices", 1), both...))
	if mtu := moved.link("tap9").Attrs().MTU; mtu != 1400 || !strings.Contains(log, "mtu 1500 -> 1400") {
		t.Errorf("the interface has an MTU of %d:\n%s", mtu, log)
	}
	moved.pings(t, externalAddress, "-s", "1372", "-M", "do")
	check(t)
}

// A router that has given up the right to enter namespaces says so, and how to get it; one that has kept it makes the
// TAP there.
func TestReloadRights(t *testing.T) {
	t.Parallel()
	need(t, "ping")
	for _, flags := range [][]string{nil, {"--allow-netns"}} {
		r := newReloaded(t, movedTAP, flags...)
		there := r.space("there")
		text := r.with(strings.Replace(moreNetwork, "tap:tap-more", "tap:tap9@"+there.name, 1),
			`interfaces = ["tenant"]`, `interfaces = ["tenant", "more"]`)
		log := r.reload(t, text)
		_, err := there.LinkByName("tap9")
		if flags != nil {
			if err != nil || strings.Contains(log, "not reloaded") {
				t.Fatalf("with %v: %v\n%s", flags, err, log)
			}
			there.address("tap9", thirdAddress+"/24", "192.0.2.1")
			there.pings(t, externalAddress)
			r.process.threadsHave(t, netnsRights, netnsRights)
			continue
		}
		if err == nil {
			t.Error("the TAP is there")
		}
		for _, want := range []string{"tap:tap9@" + there.name, "CAP_SYS_ADMIN, which the process has given up",
			"restart it with --allow-netns", "not reloaded: the router goes on as before"} {
			if !strings.Contains(log, want) {
				t.Errorf("%q is not in the log:\n%s", want, log)
			}
		}
		r.check(os.Chown(r.file, 65534, 65534))
		r.check(os.Chmod(r.file, 0o600))
		if log := r.hangUp(t); !strings.Contains(log, "let that user read the file") {
			t.Errorf("a file that root may not read without its rights:\n%s", log)
		}
		r.internal.pings(t, externalAddress)
		r.process.threadsHave(t, netRights, netRights)
	}
}
