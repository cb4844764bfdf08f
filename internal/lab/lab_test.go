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

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/tap"
)

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
		{[]string{there + "S seq 1", back + "R"}, 2}, // the ports in use again
		{[]string{there + "S seq 2", back + "R"}, 2},
		{[]string{there + "S seq 2", back + "R."}, 0}, // sent again, for want of an answer
		{[]string{there + "S seq 2", there + "S seq 3"}, 1},
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
