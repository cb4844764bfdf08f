package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// invoke runs the program and returns its exit status and output.
func invoke(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var o, e bytes.Buffer
	status = run(ctx, args, streams{strings.NewReader(""), &o, &e})
	return status, o.String(), e.String()
}

// write makes a file for a test.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const examples = "../../examples/"

func TestExitStatus(t *testing.T) {
	bad := write(t, "[[network]]\nnmae = \"x\"\n[[router]]\nname = \"r\"\ninterfaces = [\"y\"]\n")
	six := write(t, "[[network]]\nname = \"x\"\n[[network.subnet]]\ncidr = \"2001:db8::/64\"\n")
	groups := write(t, "[[network]]\nname = \"x\"\n[[network.subnet]]\ncidr = \"192.0.2.0/24\"\n"+
		"[[security_group]]\nname = \"web\"\n")
	plain := write(t, "[[network]]\nname = \"x\"\n[[network.subnet]]\ncidr = \"192.0.2.0/24\"\n")
	unwise := write(t,
		"[[network]]\nname = \"x\"\n[[network.subnet]]\ncidr = \"192.0.2.0/24\"\n[nat.timeouts]\nudp = \"1s\"\n")
	for _, c := range []struct {
		args   []string
		status int
		want   []string // in either output
	}{
		{nil, 0, []string{"Usage: taprouter", "lab examples/126"}},
		{[]string{"--help"}, 0, []string{"run", "check", "lab", "version"}},
		{[]string{"run", "--help"}, 0, []string{"Topology file"}},
		{[]string{"version"}, 0, []string{"taprouter ", "go1."}},
		{[]string{"serve", "x"}, 2, []string{"serve", "--help"}},
		{[]string{"run"}, 2, []string{"<file>", "Try `taprouter run --help`."}},
		{[]string{"floating", "ip", "create"}, 2, []string{"<network>", "Try `taprouter floating ip create --help`."}},
		{[]string{"netwrk"}, 2, []string{"Try `taprouter --help`."}},
		{[]string{"--log-level", "loud", "version"}, 2, []string{"loud"}},
		{[]string{"check", "nowhere.toml"}, 1, []string{"nowhere.toml", "no such file"}},
		{[]string{"check", bad}, 2, []string{bad + ":2: ", `did you mean "name"`, bad + ":5: ", `"y"`}},
		{[]string{"run", bad}, 2, []string{bad + ":2: ", bad + ":5: "}},
		{[]string{"lab", bad}, 2, []string{bad + ":2: "}},
		{[]string{"run", six}, 2, []string{"IPv6 is not supported yet"}},
		{[]string{"check", six}, 2, []string{six + ":4: ", "IPv6 is not supported yet"}},
		{[]string{"check", groups}, 0, []string{groups + ":5: ", "filtering by its rules is not supported yet"}},
		{[]string{"lab", groups}, 2, []string{"nothing to play"}},
		{[]string{"--version"}, 0, []string{"taprouter ", "go1."}},
		{[]string{"run", "--version"}, 0, []string{"taprouter ", "go1."}},
		{[]string{"--help"}, 0, []string{"Default: info.", "Default: text."}},
		{[]string{"conform", "--help"}, 0, []string{"--format=FORMAT", "Default: text."}},
		{[]string{"--log-format", "json", "check", bad}, 2,
			[]string{`"level":"ERROR"`, `"file":"` + bad + `","line":2}`, `"line":5}`}},
		{[]string{"--log-format", "json", "check", "nowhere.toml"}, 1, []string{`"level":"ERROR"`, "no such file"}},
		{[]string{"--log-format", "json", "run"}, 2, []string{`"level":"ERROR"`, "<file>"}},
		{[]string{"--log-format", "json", "check", unwise}, 0, []string{`"level":"WARN"`, `"line":6}`}},
		{[]string{"check", unwise}, 0, []string{"warning: " + unwise + ":6: "}},
		{[]string{"lab", plain}, 2, []string{"nothing to play"}},
		{[]string{"check", examples + "126-vip-behind-floating-ip.toml"}, 0, []string{
			"external network ext_net: 10.10.10.0/24; devices tap:tap-ext",
			"router router_100_101: vlan100 172.16.100.1/24; vlan101 172.16.101.1/24; gateway ext_net 10.10.10.2/24, " +
				"SNAT;",
			"floating IP 10.10.10.3 <-> 172.16.101.3", "VIP web-vip 172.16.100.11:80/tcp -> pool \"web servers\"",
			"is valid"}},
	} {
		status, out, errs := invoke(t, c.args...)
		if status != c.status {
			t.Errorf("%v: status %d, want %d\n%s%s", c.args, status, c.status, out, errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%v: %q is not in:\n%s%s", c.args, want, out, errs)
			}
		}
	}
}

// Every lesson goes as its file expects.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(examples + "[0-9]*.toml")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if status, out, errs := invoke(t, "lab", file); status != 0 || !strings.Contains(out, "all as expected") {
				t.Errorf("status %d\n%s%s", status, out, errs)
			}
		})
	}
}

func TestLessonThatFails(t *testing.T) {
	for _, c := range []struct{ file, expect, other, want string }{
		{"122-pool-and-vip.toml", `"WEB1", "WEB2", "WEB1"`, `"WEB1", "WEB1", "WEB1"`, "1 of 6 steps FAILED"},
		{"122-weights-and-persistence.toml", `"WEB1", "WEB1", "WEB2"`, `"WEB1", "WEB2", "WEB1"`,
			"1 of 14 steps FAILED"},
		{"122-weights-and-persistence.toml", `session_persistence = { type = "SOURCE_IP", timeout = "10m" }`, "",
			"2 of 14 steps FAILED"},
		{"087-flat.toml", `physical_network = "default"`, "physical_network = \"default\"\nvlan = 5",
			"2 of 17 steps FAILED"}, // what crosses the interface has a tag
		{"087-flat.toml", `"172.16.1.2-172.16.1.99"`, `"172.16.1.6-172.16.1.99"`, "6 of 17 steps FAILED"},
		{"100-vlan-trunk.toml", `vlan             = 101`, `vlan             = 102`, "6 of 13 steps FAILED"},
		{"100-vlan-trunk.toml", `"openstack router add subnet router_100_101 172.16.101.0/24"`, `"wait 1ms"`,
			"7 of 13 steps FAILED"},
		{"157-static-ip.toml", "port_security = true", "port_security = false", "10 of 29 steps FAILED"},
		{"157-static-ip.toml", `"openstack port set --allowed-address ip-address=172.16.101.9 cirros-vm3"`,
			`"wait 1ms"`, "2 of 29 steps FAILED"},
	} {
		lesson, err := os.ReadFile(examples + c.file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(lesson), c.expect, c.other, 1)
		if changed == string(lesson) {
			t.Errorf("%s: %s is not in it", c.file, c.expect)
		}
		if status, out, _ := invoke(t, "lab", write(t, changed)); status != 1 || !strings.Contains(out, c.want) {
			t.Errorf("%s: status %d\n%s", c.file, status, out)
		}
	}
}

// Several lessons, and whole directories, in one call.
func TestLessons(t *testing.T) {
	const net = "[[network]]\nname = \"x\"\n[[network.subnet]]\ncidr = \"192.0.2.0/24\"\n"
	const good = net + "[[step]]\ndo = \"wait 1ms\"\n"
	const bad = net + "[[step]]\ndo = \"wait 1s\"\nwithin = \"1ms\"\n[[step]]\ndo = \"wait 2ms\"\n"
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, b := file("good/b.toml", good), file("good/a.toml", good)
	file("good/topology.toml", net)
	file("good/notes.txt", "nothing")
	file("good/later.toml", net+"[[security_group]]\nname = \"web\"\n[[step]]\ndo = \"wait 1ms\"\n")
	fails := file("bad/fails.toml", bad)
	faulty := file("faulty.toml", net+"[[step]]\ndo = \"pign\"\n")
	plain := file("plain.toml", net)
	empty := filepath.Dir(file("empty/topology.toml", net))
	for _, c := range []struct {
		args   []string
		status int
		want   []string // in this order
		never  string
	}{
		{[]string{filepath.Dir(a)}, 0, []string{"== " + b, "1 step, all as expected", "== " + a,
			"2 lessons, all as expected; 1 not played", "filtering by its rules is not supported yet"},
			"topology.toml"},
		{[]string{fails, a, b}, 1, []string{"== " + fails, "1 of 2 steps FAILED", "== " + a, "== " + b,
			"1 of 3 lessons FAILED: " + fails}, ""},
		{[]string{"--fail-fast", fails, a}, 1, []string{"== " + fails, "1 of 1 step FAILED", "1 of 1 lessons FAILED"},
			"== " + a},
		{[]string{a, faulty, plain}, 2, []string{faulty + ":5: ", plain + ": no [[step]]"}, "=="},
		{[]string{empty}, 1, []string{empty + ": no lesson is in it"}, "=="},
		{[]string{a, filepath.Join(dir, "nowhere")}, 1, []string{"no such file"}, "=="},
	} {
		status, out, errs := invoke(t, append([]string{"lab"}, c.args...)...)
		rest := out + errs
		for _, want := range c.want {
			_, after, found := strings.Cut(rest, want)
			if !found {
				t.Errorf("%v: %q is not in, or not in order:\n%s%s", c.args, want, out, errs)
				break
			}
			rest = after
		}
		if status != c.status || c.never != "" && strings.Contains(out+errs, c.never) {
			t.Errorf("%v: status %d, want %d\n%s%s", c.args, status, c.status, out, errs)
		}
	}
}

// run serves until it is told to stop; a topology without devices needs no rights.
func TestRunUntilStopped(t *testing.T) {
	dir, err := os.MkdirTemp("", "notify") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/s", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", dir+"/s")
	file := write(t, "[[network]]\nname = \"x\"\n[[network.subnet]]\ncidr = \"192.0.2.0/24\"\n[[instance]]\n"+
		"name = \"i\"\nnetwork = \"x\"\n")
	ctx, stop := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{"run", "--socket", "none", file}, streams{strings.NewReader(""), &out, &errs})
	}()
	told := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		_ = socket.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := socket.Read(b)
		if err != nil || !strings.HasPrefix(string(b[:n]), want) {
			t.Errorf("the service manager is told %q, %v; want %q", b[:n], err, want)
		}
	}
	told("READY=1")
	stop()
	told("STOPPING=1")
	if status := <-done; status != 0 {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{" ready networks=1 routers=0 floating_ips=0 vips=0 devices=0\n",
		"instances and steps are for `taprouter lab`", " stopping "} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, errs.String())
		}
	}
}

func TestHumanLog(t *testing.T) {
	var b bytes.Buffer
	log := newLogger(&b, slog.LevelDebug, "text").With("router", "r 1").WithGroup("g")
	log.Warn("trouble", "err", "it is\nbroken", slog.Group("in", "n", 1))
	log.Debug("detail", "sent", "a\x1b[2J\u009bm\r")
	log.Info("removed network a\n2026 ready\x1b[2J\u202e\xff é")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	const warning = `warning: trouble router="r 1" g.err="it is\nbroken" g.in.n=1`
	if len(lines) != 3 || !strings.HasSuffix(lines[0], warning) ||
		!strings.HasSuffix(lines[1], `debug: detail router="r 1" g.sent="a\x1b[2J\u009bm\r"`) ||
		!strings.Contains(lines[2], ` removed network a\n2026 ready\x1b[2J\u202e� é router=`) {
		t.Errorf("%q", lines)
	}
	b.Reset()
	newLogger(&b, slog.LevelInfo, "json").Debug("detail")
	newLogger(&b, slog.LevelInfo, "json").Info("fact", "n", 1)
	if !strings.HasPrefix(b.String(), `{"time":`) || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("%q", b.String())
	}
}
