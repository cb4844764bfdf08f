package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
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
		"wait 1.5s":        {name: "wait", pause: 1500 * time.Millisecond},
	} {
		got, err := parseCommand(line, want.name != "loadbalancer" && want.name != "floating")
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
		{"ping -x 10.0.0.1", true, "unknown option -x: there are -4, -M, -W, -c, -i, -n, -q, -s, -t, -v, -w"},
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
		{"floating ip", false, "is not understood: there are floating ip create, set, unset, delete, list"},
		{"floating ip show 10.10.10.9", false, "is not understood"},
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

func TestMatching(t *testing.T) {
	a, b := netip.MustParseAddr("10.10.10.3"), netip.MustParseAddr("10.10.10.4")
	tcp := seen{network: "ext", Tuple: packet.Tuple{Src: packet.AddrFrom(a), Dst: packet.AddrFrom(b), SrcPort: 1000,
		DstPort: 80, Proto: packet.ProtoTCP}, flags: packet.SYN}
	icmp := seen{network: "ext", Tuple: packet.Tuple{Src: packet.AddrFrom(a), Dst: packet.AddrFrom(b), SrcPort: 80,
		Proto: packet.ProtoICMP}, typ: packet.ICMPEcho, seq: 2}
	for _, c := range []struct {
		p         file.PacketPattern
		tcp, icmp bool
	}{
		{file.PacketPattern{}, true, true},
		{file.PacketPattern{Network: "ext", Src: a, Dst: b}, true, true},
		{file.PacketPattern{Network: "other"}, false, false},
		{file.PacketPattern{Src: b}, false, false},
		{file.PacketPattern{Dst: a}, false, false},
		{file.PacketPattern{Protocol: "ICMP"}, false, true},
		{file.PacketPattern{Protocol: "TCP", DstPort: 80}, true, false},
		{file.PacketPattern{DstPort: 81}, false, false},
		{file.PacketPattern{SrcPort: 80}, false, false}, // an identifier is no port
	} {
		if got := tcp.matches(&c.p); got != c.tcp {
			t.Errorf("%+v, TCP: %v", c.p, got)
		}
		if got := icmp.matches(&c.p); got != c.icmp {
			t.Errorf("%+v, ICMP: %v", c.p, got)
		}
	}
	if got, want := tcp.String(), "IP 10.10.10.3.1000 > 10.10.10.4.80: tcp, flags [S]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := icmp.String(), "IP 10.10.10.3 > 10.10.10.4: ICMP echo request, seq 2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The end of a connection that lags behind its command is not the next step's.
func TestStepSeesItsOwnConnections(t *testing.T) {
	r := newRecorder()
	see := func(lines ...string) (n int) {
		t.Helper()
		for _, line := range lines {
			eth, err := nettest.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			b := append(make([]byte, tap.HeaderLen), eth...)
			r.observe("net", tap.Frame{Buf: b, Tail: len(b)})
		}
		_, n = r.find(&file.PacketPattern{})
		r.reset()
		return n
	}
	const there, back = "tcp 10.0.0.2:1000 > 10.0.0.3:80 ", "tcp 10.0.0.3:80 > 10.0.0.2:1000 "
	for i, step := range []struct {
		lines []string
		want  int
	}{
		{[]string{there + "S", back + "S.", there + "."}, 3},
		{[]string{there + "F.", back + ".", "tcp 10.0.0.2:1001 > 10.0.0.3:80 ."}, 1},
		{[]string{"udp 10.0.0.2:1000 > 10.0.0.3:80", "udp 10.0.0.2:1000 > 10.0.0.3:80"}, 2},
		{[]string{"udp 10.0.0.2:1000 > 10.0.0.3:80", back + "F."}, 1},
		{[]string{there + "S", back + "R"}, 2}, // the ports in use again
		{[]string{there + "S", back + "R"}, 2},
	} {
		if got := see(step.lines...); got != step.want {
			t.Errorf("step %d saw %d packets, want %d", i+1, got, step.want)
		}
	}
}

const network = `
[[network]]
name = "left"
  [[network.subnet]]
  cidr = "192.0.2.0/24"

[[network]]
name = "right"
  [[network.subnet]]
  cidr = "198.51.100.0/24"

[[router]]
name = "middle"
interfaces = ["left", "right"]

[[instance]]
name = "a"
network = "left"
address = "192.0.2.10"

[[instance]]
name = "b"
network = "right"
address = "198.51.100.10"
serve = ["http:80", "echo:7"]
`

// play runs steps on the small network and returns what was told.
func play(t *testing.T, steps string) (string, error) {
	t.Helper()
	topo, err := file.Parse("lesson.toml", strings.NewReader(network+steps))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = Run(context.Background(), topo, Options{Out: &out})
	return out.String(), err
}

func TestEveryCommand(t *testing.T) {
	out, err := play(t, `
[[step]]
title = "ping"
explain = "Three echoes."
on = "a"
do = "ping 198.51.100.10"
expect = "3 packets transmitted, 3 received, 0% packet loss"
sees = [{ network = "right", src = "192.0.2.10", protocol = "ICMP" }]
never = [{ network = "right", src = "198.51.100.1" }]
[[step]]
title = "curl"
on = "a"
do = "curl -i http://198.51.100.10/"
expect = "client 192.0.2.10:"
[[step]]
title = "refused"
on = "a"
do = "curl http://198.51.100.10:81/"
fails = true
expect = "curl: (7) Failed to connect to 198.51.100.10 port 81"
[[step]]
title = "traceroute"
on = "a"
do = "traceroute -I 198.51.100.10"
expect = " 1  192.0.2.1 (192.0.2.1)"
[[step]]
title = "TCP traceroute"
on = "a"
do = "traceroute -n -T 198.51.100.10"
expect = " 2  198.51.100.10"
[[step]]
title = "connect"
on = "a"
do = "connect 198.51.100.10:80"
expect = "connected to 198.51.100.10:80 from 192.0.2.10:"
[[step]]
title = "send"
on = "a"
do = "send 198.51.100.10:7 hello there"
expect = "answer from 198.51.100.10:7: hello there"
[[step]]
title = "nobody answers"
on = "a"
do = "send -w 0.3 198.51.100.10:9 hello"
fails = true
[[step]]
title = "wait"
do = "wait 10ms"
[[step]]
title = "twice"
on = "b"
do = "ping -c 1 -s 2000 192.0.2.1"
times = 2
expect = ["2008 bytes from 192.0.2.1", "ttl=64"]
`)
	if err != nil || !strings.Contains(out, "10 steps, all as expected") {
		t.Errorf("error %v:\n%s", err, out)
	}
	for _, want := range []string{"1. ping\n    Three echoes.\n    a$ ping 198.51.100.10\n",
		"ok: on right: IP 192.0.2.10 > 198.51.100.10: ICMP echo request",
		"ok: on right: nothing from 198.51.100.1", "rtt min/avg/max/mdev"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
}

func TestEveryExpectationCanFail(t *testing.T) {
	const ping = `do = "ping -c 1 198.51.100.10"` + "\n"
	for name, c := range map[string]struct{ step, want string }{
		"output":  {ping + `expect = "nonsense"`, `FAILED: expected "nonsense"`},
		"success": {`do = "connect 198.51.100.10:81"`, "FAILED: it failed"},
		"failure": {ping + `fails = true`, "FAILED: expected to fail, but it succeeded"},
		"sees": {ping + `sees = [{ network = "right", src = "10.9.9.9" }]`,
			"FAILED: on right: nothing was seen from 10.9.9.9; seen instead:\n    IP 192.0.2.10 > 198.51.100.10"},
		"never": {ping + `never = [{ network = "right", dst = "198.51.100.10" }]`,
			"FAILED: on right, but must not be: IP 192.0.2.10"},
		"one of several times": {ping + "times = 2\n" + `expect = ["ttl=63", "ttl=62"]`, `FAILED: expected "ttl=62"`},
		"in time": {`do = "ping -c 1 -W 5 198.51.100.77"` + "\n" + `within = "300ms"`,
			"FAILED: cut short after 300ms: 1 of 1 echo requests sent, 0 answered"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := play(t, "\n[[step]]\ntitle = \"x\"\non = \"a\"\n"+c.step+"\n")
			if !errors.Is(err, ErrUnexpected) || !strings.Contains(out, c.want) ||
				!strings.Contains(out, "1 of 1 step FAILED") {
				t.Errorf("error %v, want %q in:\n%s", err, c.want, out)
			}
		})
	}
}

// A step that is cut short has failed, however far it came; a step that must fail has
// done so, unless it has already succeeded.
func TestCutShort(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ step, want, result string }{
		"ping": {`do = "ping -c 60 198.51.100.10"`, "FAILED: cut short after 1.5s: ", "FAILED"},
		"ping, fails": {`do = "ping -c 60 198.51.100.10"` + "\nfails = true",
			"FAILED: expected to fail, but it succeeded", "FAILED"},
		"silence, fails": {`do = "ping -c 60 198.51.100.77"` + "\nfails = true",
			"ok: it fails, as expected, cut short after 1.5s: ", "as expected"},
		"curl": {`do = "curl http://198.51.100.77/"`, "FAILED: cut short after 1.5s: no answer yet", "FAILED"},
		"curl, fails": {`do = "curl http://198.51.100.77/"` + "\nfails = true", "ok: it fails, as expected, cut short",
			"as expected"},
		"curl -m":    {`do = "curl -m 0.1 http://198.51.100.77/"`, "FAILED: it failed", "FAILED"},
		"browse":     {`do = "browse http://198.51.100.77/"`, "FAILED: cut short after 1.5s: no answer yet", "FAILED"},
		"traceroute": {`do = "traceroute 198.51.100.77"`, "FAILED: cut short after 1.5s: ", "FAILED"},
		"connect":    {`do = "connect 198.51.100.77:1"`, "FAILED: cut short after 1.5s: no answer yet", "FAILED"},
		"connect -w": {`do = "connect -w 0.1 198.51.100.77:1"`, "FAILED: it failed", "FAILED"},
		"send":       {`do = "send -w 3 198.51.100.77:1 x"`, "FAILED: cut short after 1.5s: no answer yet", "FAILED"},
		"send -w":    {`do = "send -w 0.1 198.51.100.77:1 x"`, "FAILED: it failed", "FAILED"},
		"wait":       {`do = "wait 2s"`, "FAILED: cut short after 1.5s: it waits for 2s", "FAILED"},
		"twice": {`do = "wait 2s"` + "\ntimes = 2\nexpect = []",
			"FAILED: cut short after 1.5s: it waits for 2s", "FAILED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := play(t, "\n[[step]]\ntitle = \"x\"\non = \"a\"\nwithin = \"1500ms\"\n"+
				strings.ReplaceAll(c.step, "\nexpect = []", "")+"\n")
			if (err != nil) != (c.result == "FAILED") || !strings.Contains(out, c.want) {
				t.Errorf("error %v, want %q in:\n%s", err, c.want, out)
			}
			sent := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(out)
			if name == "ping" && (sent == nil || sent[1] == "60" || sent[2] == "0") {
				t.Errorf("the statistics do not say what was sent: %q", sent)
			}
		})
	}
}

// A neighbor that does not answer is given up after three seconds, by the host or by
// the router. Three echoes in the time that every step has are enough to see it.
func TestPingWaitsForUnreachable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ to, from string }{{"192.0.2.77", "192.0.2.10"}, {"198.51.100.77", "192.0.2.1"}} {
		t.Run(c.to, func(t *testing.T) {
			t.Parallel()
			out, err := play(t,
				"\n[[step]]\non = \"a\"\ndo = \"ping "+c.to+"\"\nfails = true\n"+
					"expect = \"From "+c.from+" icmp_seq=1 Destination Host Unreachable\"\n")
			if err != nil || !strings.Contains(out, "3 packets transmitted, 0 received, +3 errors") {
				t.Errorf("error %v:\n%s", err, out)
			}
		})
	}
}

// Lines come in the order of sending, whatever comes first.
func TestPingOrder(t *testing.T) {
	var out bytes.Buffer
	p := &pinger{command: &command{}, out: &out, sent: make([]request, 4)}
	end := func(seq int) {
		p.sent[seq-1].over, p.sent[seq-1].echo = true, echo{seq: seq}
		p.flush(false)
	}
	end(3)
	end(2)
	if out.Len() > 0 {
		t.Errorf("out of order: %q", out.String())
	}
	p.sent[0].over = true // given up
	p.flush(false)
	end(4)
	got := regexp.MustCompile(`icmp_seq=\d`).FindAllString(out.String(), -1)
	if strings.Join(got, " ") != "icmp_seq=2 icmp_seq=3 icmp_seq=4" {
		t.Errorf("got %q", got)
	}
}

func TestPingDeadline(t *testing.T) {
	t.Parallel()
	out, err := play(t, `
[[step]]
on = "a"
do = "ping -q -i 0.05 -w 0.3 198.51.100.10"
expect = ", 0% packet loss"
[[step]]
on = "a"
do = "ping -c 100 -w 0.3 198.51.100.10"
fails = true
`)
	if err != nil || strings.Contains(strings.SplitN(out, "2. ", 2)[0], "icmp_seq") ||
		strings.Contains(out, "cut short") {
		t.Errorf("error %v:\n%s", err, out)
	}
}

// A page without its body, and what curl says about it.
func TestCurlOptions(t *testing.T) {
	t.Parallel()
	out, err := play(t, `
[[step]]
on = "a"
do = "curl -sI http://198.51.100.10/"
expect = "HTTP/1.1 200 OK"
[[step]]
on = "a"
do = 'curl -so /dev/null -w "%{http_code} %{size_download}\n" http://198.51.100.10/'
expect = "200 "
[[step]]
on = "a"
do = 'curl -so /dev/null -w "%{http_code}" http://198.51.100.10:81/'
expect = "000"
fails = true
`)
	if err != nil || strings.Contains(out, "client 192.0.2.10") {
		t.Errorf("error %v:\n%s", err, out)
	}
}

// The output shows of a failure: the place in the file, the drops of the step, the ARP requests
// without an answer, the packets that came instead, and at the end the steps that failed.
func TestFailureLeadsToItsCause(t *testing.T) {
	t.Parallel()
	const lesson = `
[[step]]
title = "goes"
on = "a"
do = "ping -c1 198.51.100.10"
[[step]]
title = "nobody there"
on = "a"
do = "ping -c 1 198.51.100.77"
expect = ["bytes from"]
sees = [
  { network = "right", dst = "198.51.100.77" },
]
[[step]]
title = "quiet"
do = "wait 1ms"
sees = [{ network = "left", protocol = "TCP" }]
[[step]]
title = "expired"
on = "a"
do = "ping -c 2 -t 1 198.51.100.10"
times = 2
expect = [
  "Time to live exceeded",
  "bytes from",
]
[[step]]
title = "many"
on = "a"
do = "ping -c 3 198.51.100.10"
never = [{ network = "right", dst = "198.51.100.10" }]
`
	first := 1 + strings.Count(network, "\n")
	line := func(text string) string {
		t.Helper()
		i := strings.Index(lesson, text)
		if i < 0 {
			t.Fatalf("%q is not there", text)
		}
		return fmt.Sprintf("lesson.toml:%d", first+strings.Count(lesson[:i], "\n"))
	}
	out, err := play(t, lesson)
	if !errors.Is(err, ErrUnexpected) {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{
		"FAILED: it failed\n    at " + line(`do = "ping -c 1 198.51.100.77"`) + "\n",
		"FAILED: expected \"bytes from\", which is not in the output\n    at " + line(`expect = ["bytes from"]`) + "\n",
		"    ARP who-has 198.51.100.77 tell 198.51.100.1, 3 times, no answer\n",
		"    at " + line(`  { network = "right", dst = "198.51.100.77" }`) + "\n",
		"    dropped in this step: neighbor-failed 1\n" +
			"    on right: ARP who-has 198.51.100.77 tell 198.51.100.1, 3 times, no answer\n",
		"    at " + line(`sees = [{ network = "left"`) + "\n    dropped in this step: nothing\n",
		"at " + line(`  "bytes from",`) + "\n    dropped in this step: ttl 4\n",
		"seq 1 (the first of 3)\n    at " + line("never ="),
		"\n4 of 5 steps FAILED\n" +
			"    2. nobody there (" + line("[[step]]\ntitle = \"nobody") + ")\n" +
			"    3. quiet (" + line("[[step]]\ntitle = \"quiet") + ")\n" +
			"    4. expired (" + line("[[step]]\ntitle = \"expired") + ")\n" +
			"    5. many (" + line("[[step]]\ntitle = \"many") + ")\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in it", want)
		}
	}
	if strings.Contains(out, "seen instead:\n    at ") {
		t.Error("nothing is seen instead")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// Beside packets, a network has seen ARP: requests, and their answers.
func TestRecorderKeepsARP(t *testing.T) {
	r := newRecorder()
	look := func(want ...string) {
		t.Helper()
		if got := r.on("net", 2); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	see := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			eth, err := nettest.Parse(line)
			if err != nil {
				t.Fatal(err)
			}
			b := append(make([]byte, tap.HeaderLen), eth...)
			r.observe("net", tap.Frame{Buf: b, Tail: len(b)})
		}
	}
	look("nothing at all")
	const lost, found = "arp who-has 10.10.10.3 tell 10.10.10.1", "arp who-has 10.10.10.4 tell 10.10.10.1"
	see(lost, found, lost, "arp reply 10.10.10.4 is-at 02:00:00:00:00:04 for 10.10.10.1", lost)
	look("ARP who-has 10.10.10.3 tell 10.10.10.1, 3 times, no answer",
		"ARP who-has 10.10.10.4 tell 10.10.10.1, answered")
	want := []string{"on net: ARP who-has 10.10.10.3 tell 10.10.10.1, 3 times, no answer"}
	if got := r.unanswered(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, n := r.find(&file.PacketPattern{Network: "net"}); n > 0 {
		t.Error("ARP is no packet that a step sees")
	}
	r.reset()
	look("nothing at all")
	see("arp who-has 10.10.10.3 tell 10.10.10.3")
	look("ARP announcement of 10.10.10.3")
	if got := r.unanswered(); len(got) > 0 {
		t.Errorf("an announcement asks nothing: %q", got)
	}
	r.reset()
	for range 3 {
		see("udp 10.0.0.2:1000 > 10.0.0.3:80", lost)
	}
	look("IP 10.0.0.2.1000 > 10.0.0.3.80: udp", "ARP who-has 10.10.10.3 tell 10.10.10.1, 3 times, no answer")
}

func TestFailFast(t *testing.T) {
	topo, err := file.Parse("lesson.toml",
		strings.NewReader(network+strings.Repeat("[[step]]\ndo = \"wait 1s\"\nwithin = \"1ms\"\n", 3)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = Run(context.Background(), topo, Options{Out: &out, FailFast: true})
	if got := out.String(); !errors.Is(err, ErrUnexpected) || strings.Contains(got, "2. ") ||
		!strings.Contains(got, "1 of 1 step FAILED") || !strings.Contains(got, "not played: 2 more") {
		t.Errorf("error %v:\n%s", err, got)
	}
}

// The lines of a command are there before its step has ended.
func TestOutputStreams(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ do, line, later string }{
		"ping":       {"ping -c 2 -i 3000 198.51.100.10", "icmp_seq=1 ", "icmp_seq=2 "},
		"traceroute": {"traceroute 198.51.100.77", " 1  192.0.2.1", " 2  "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topo, err := file.Parse("lesson.toml",
				strings.NewReader(network+"[[step]]\non = \"a\"\ndo = \""+c.do+"\"\nwithin = \"1h\"\n"+
					"[[step]]\ndo = \"wait 1h\"\nwithin = \"1h\"\n"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r, w := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				ended <- Run(ctx, topo, Options{Out: w})
				w.Close()
			}()
			lines, found := bufio.NewScanner(r), false
			for lines.Scan() {
				if strings.Contains(lines.Text(), c.later) {
					t.Errorf("it came with the rest: %q", lines.Text())
				}
				if strings.Contains(lines.Text(), c.line) && !found {
					found = true
					cancel()
				}
			}
			if err := <-ended; !found || !errors.Is(err, context.Canceled) {
				t.Errorf("found %v, error %v", found, err)
			}
		})
	}
}

func TestFaultsAreFoundBeforeAnythingRuns(t *testing.T) {
	out, err := play(t, "\n[[step]]\ntitle = \"first\"\non = \"a\"\ndo = \"ping 198.51.100.10\"\n[[step]]\n"+
		"title = \"second\"\non = \"a\"\ndo = \"ping -x 198.51.100.10\"\n")
	var faults file.Faults
	if !errors.As(err, &faults) || len(faults) != 1 || !strings.HasPrefix(faults.Error(), "lesson.toml:") || out != "" {
		t.Errorf("error %v, output %q", err, out)
	}
	if _, err := play(t, ""); err == nil || !strings.Contains(err.Error(), "nothing to play") {
		t.Errorf("without steps: %v", err)
	}
}

func TestInterruption(t *testing.T) {
	topo, err := file.Parse("lesson.toml", strings.NewReader(network+"\n[[step]]\ntitle = \"long\"\n"+
		"do = \"wait 1h\"\nwithin = \"2h\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Run(ctx, topo, Options{Out: new(bytes.Buffer)}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestColor(t *testing.T) {
	var out bytes.Buffer
	p := printer{&out, true}
	p.failed("x")
	p.summary(1, 1)
	if !strings.Contains(out.String(), "\x1b[31mFAILED:\x1b[0m") {
		t.Errorf("%q", out.String())
	}
}
