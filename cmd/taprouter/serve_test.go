//go:build linux

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// socketIn is a path for a socket that is short enough.
func socketIn(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "api.sock")
}

// curl asks the program, and returns the answer with its status behind it.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("missing: curl")
	}
	out, err := exec.CommandContext(t.Context(), "curl", append([]string{"-sS", "-m", "30", "-w", " %{http_code}"},
		args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %q: %v: %s", args, err, out)
	}
	return string(out)
}

// listening is where the program says that its API is.
var listening = regexp.MustCompile(`API at=(127\.0\.0\.1:\d+)`)

// The program answers over its socket and TCP as soon as it says that it is ready, logs each change with its user, and
// takes a new token at SIGHUP. When it has ended, its socket is gone.
func TestRunServesTheAPI(t *testing.T) {
	t.Parallel()
	socket, token := socketIn(t), filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, "run", "--socket", socket, "--listen", "127.0.0.1:0", "--token-file", token, "--login-stub",
		write(t, quietTopology))
	at := listening.FindStringSubmatch(p.reads(t, "API at=127.0.0.1:"))
	if at == nil {
		t.Fatal("it does not say where it listens")
	}
	url := "http://" + at[1]
	p.reads(t, "ready ")
	bySocket := func(args ...string) string { return curl(t, append([]string{"--unix-socket", socket}, args...)...) }

	if out := bySocket("http://x/v2.0/networks?name=x"); !strings.Contains(out, `"name":"x"`) ||
		!strings.HasSuffix(out, " 200") {
		t.Errorf("the file's network: %s", out)
	}
	if out := bySocket("-d", `{"router":{"name":"made"}}`, "http://x/v2.0/routers"); !strings.HasSuffix(out, " 201") {
		t.Errorf("%s", out)
	}
	line := p.reads(t, "request served")
	for _, want := range []string{"request=req-", "method=POST", "path=/v2.0/routers", "status=201", "uid=", "pid=",
		"revision=1"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is not in %s", want, line)
		}
	}
	if out := curl(t, url+"/v2.0/networks"); !strings.Contains(out, "NeutronError") || !strings.HasSuffix(out, " 401") {
		t.Errorf("without the token: %s", out)
	}
	if out := curl(t, url); !strings.Contains(out, `"versions"`) {
		t.Errorf("the root: %s", out)
	}
	given := func(token, want string) {
		t.Helper()
		if out := curl(t, "-H", "X-Auth-Token: "+token, url+"/v2.0/networks?name=made"); !strings.HasSuffix(out, want) {
			t.Errorf("with the token %s: %s, want%s", token, out, want)
		}
	}
	given("0123456789abcdef", " 200")
	login := func(password string) string {
		return curl(t, "-i", "-d", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"anna",
			"password":"`+password+`"}}}}}`, url+"/identity/v3/auth/tokens")
	}
	if out := login("wrong"); !strings.HasSuffix(out, " 401") {
		t.Errorf("a wrong password: %s", out)
	}
	subject := regexp.MustCompile(`X-Subject-Token: (\S+)`).FindStringSubmatch(login("0123456789abcdef"))
	if subject == nil {
		t.Fatal("the login has no token")
	}
	given(subject[1], " 200")
	if out := curl(t, "-u", "x:0123456789abcdef", url+"/load-balancer/v2.0/lbaas/pools"); !strings.HasSuffix(out,
		" 200") {
		t.Errorf("the load-balancing API of the catalog: %s", out)
	}
	if out := bySocket("http://x/compute/v2.1/servers"); !strings.Contains(out, `"servers":[]`) {
		t.Errorf("%s", out)
	}

	if err := os.WriteFile(token, []byte("fedcba9876543210"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	p.reads(t, " reloaded")
	given("fedcba9876543210", " 200")
	given("0123456789abcdef", " 401")
	given(subject[1], " 401")
	if err := os.WriteFile(token, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGHUP)
	p.reads(t, "the token and the certificate of the API stay as they were")
	given("fedcba9876543210", " 200")

	p.signal(t, syscall.SIGTERM)
	if status := p.ends(t); status != 0 {
		t.Errorf("it ends with status %d", status)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is left")
	}
}

// A socket that was asked for must open, and so must an address. The router has not opened a device then.
func TestRunWithoutItsDoors(t *testing.T) {
	t.Parallel()
	socket := socketIn(t)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, args := range [][]string{{"--socket", socket}, {"--socket", "none", "--listen", "0.0.0.0:0"}} {
		status, _, errs := invoke(t, append([]string{"run", write(t, quietTopology)}, args...)...)
		if status != 1 || !strings.Contains(errs, args[len(args)-1]) || strings.Contains(errs, "ready") {
			t.Errorf("%v: status %d\n%s", args, status, errs)
		}
	}
}

// ownRun is how root runs a command with a /run that is not the host's, whose default socket is not a test's to take.
func ownRun(t *testing.T) []string {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	holder := startCommand(t, "unshare", "--mount", "sh", "-c",
		"mount -t tmpfs none /run && echo held >&2 && exec sleep 60") // the end of the test ends it
	if line, err := holder.log.ReadString('\n'); err != nil || line != "held\n" {
		t.Skipf("missing: the right to have mounts of one's own (CAP_SYS_ADMIN): %s %v", line, err)
	}
	return []string{"nsenter", "--mount", "--target", strconv.Itoa(holder.Process.Pid)}
}

// A router that cannot have the default socket says so, and goes on. A socket that a killed one has left is replaced.
func TestRunWithoutTheDefaultSocket(t *testing.T) {
	t.Parallel()
	socket := socketIn(t)
	killed := startProgram(t, "run", "--socket", socket, write(t, quietTopology))
	killed.reads(t, "ready ")
	killed.signal(t, syscall.SIGKILL)
	killed.ends(t)
	if _, err := os.Stat(socket); err != nil {
		t.Fatal(err)
	}
	p := startProgram(t, "run", "--socket", socket, write(t, quietTopology))
	p.reads(t, "ready ")
	if out := curl(t, "--unix-socket", socket, "http://x/"); !strings.HasSuffix(out, " 200") {
		t.Errorf("%s", out)
	}
	p.signal(t, syscall.SIGTERM)
	p.ends(t)

	command := append(ownRun(t), os.Args[0], "run", write(t, quietTopology))
	var two []*program
	for range 2 { // one of them at most has it
		q := startCommand(t, command...)
		two = append(two, q)
		if len(two) == 2 {
			q.reads(t, "the API has no socket")
		}
		q.reads(t, "ready ")
	}
	for _, q := range two {
		q.signal(t, syscall.SIGTERM)
		if status := q.ends(t); status != 0 {
			t.Errorf("status %d", status)
		}
	}
}

// What the API has made and the file has no room for is shown with the reason after a start. It cannot be changed, and
// a client that deletes it has it forgotten.
func TestSetAsideAtStart(t *testing.T) {
	t.Parallel()
	socket, state := socketIn(t), t.TempDir()
	path := write(t, quietTopology)
	start := func(path string) *program {
		t.Helper()
		p := startProgram(t, "run", "--socket", socket, "--state-dir", state, path)
		p.reads(t, " ready ")
		return p
	}
	stop := func(p *program) {
		t.Helper()
		p.signal(t, syscall.SIGTERM)
		if status := p.ends(t); status != 0 {
			t.Errorf("status %d", status)
		}
	}
	ask := func(want string, args ...string) string {
		t.Helper()
		out := curl(t, append([]string{"--unix-socket", socket}, args...)...)
		if !strings.HasSuffix(out, want) {
			t.Errorf("%q: %s, want%s", args, out, want)
		}
		return out
	}
	p := start(path)
	network := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(ask(" 200", "http://x/v2.0/networks?fields=id"))
	if network == nil {
		t.Fatal("no network")
	}
	made := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(ask(" 201", "-d",
		`{"port":{"network_id":"`+network[1]+`","name":"lost","fixed_ips":[{"ip_address":"192.0.2.9"}]}}`,
		"http://x/v2.0/ports"))
	if made == nil {
		t.Fatal("the port has no id")
	}
	stop(p)

	at := "http://x/v2.0/ports/" + made[1]
	taken := write(t, quietTopology+"[[port]]\nname = \"mine\"\nnetwork = \"x\"\nfixed_ip = \"192.0.2.9\"\n")
	p = start(taken)
	for _, path := range []string{at, "http://x/v2.0/ports?name=lost"} {
		out := ask(" 200", path)
		for _, want := range []string{`"status":"ERROR"`, `"status_reason":"`, "192.0.2.9", "mine"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s is not in %s", want, out)
			}
		}
	}
	if out := ask(" 409", "-X", "PUT", "-d", `{"port":{"name":"x"}}`, at); !strings.Contains(out, "set aside") {
		t.Errorf("%s", out)
	}
	stop(p)
	p = start(path) // there is room again
	if out := ask(" 200", at); !strings.Contains(out, `"status":"ACTIVE"`) {
		t.Errorf("%s", out)
	}
	stop(p)
	p = start(taken)
	ask(" 204", "-X", "DELETE", at)
	ask(" 404", at)
	stop(p)
	p = start(path)
	ask(" 404", at)
	stop(p)
}
