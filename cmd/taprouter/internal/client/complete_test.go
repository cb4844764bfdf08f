package client_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/client"
)

// tools is the command line with what shells and packages use.
type tools struct {
	client.Commands
	Completion client.CompletionCommand `cmd:""`
	Man        client.ManCommand        `cmd:""`
	Complete   client.CompleteCommand   `cmd:"" name:"__complete" hidden:""`
}

// tool runs a command of tools, and returns what it prints.
func tool(t testing.TB, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	parser, err := kong.New(&tools{}, kong.Name("taprouter"), client.Placeholders(),
		kong.BindTo(t.Context(), (*context.Context)(nil)), kong.Writers(&out, &out))
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	k.Bind(&client.Output{Out: &out})
	if err := k.Run(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCompletion(t *testing.T) {
	c := newCloud(t)
	t.Setenv("TAPROUTER_ENDPOINT", c.server.URL)
	for _, line := range []string{"network create blue", "network create black hole", "network create ext --external",
		"subnet create e --network ext --subnet-range 10.10.10.0/24", "floating ip create ext",
		"subnet create s --network blue --subnet-range 10.0.0.0/24",
		"loadbalancer create --name lb --vip-subnet-id s", "loadbalancer pool create --name p --loadbalancer lb " +
			"--protocol TCP --lb-algorithm ROUND_ROBIN",
		"loadbalancer member create p --name m --address 10.0.0.9 --protocol-port 80"} {
		if line == "network create black hole" {
			c.run(t, []string{"network", "create", "black hole"})
		} else if s := c.run(t, words(line)); s.Status != 0 {
			t.Fatalf("%s: %+v", line, s)
		}
	}
	for _, x := range []struct{ line, want string }{
		{"netw", "network"},
		{"network ", "agent create delete list set show unset"},
		{"floating ip po", "port"},
		{"floating ip port forwarding s", "set show"},
		{"network show b", "black hole|blue"},
		{"network show blue ", ""},
		{"network delete blue e", "ext"},
		{"network create ", ""},
		{"subnet create --network bl", "black hole|blue"},
		{"subnet create --network blue --no-", "--no-dhcp --no-tag"},
		{"network list -f ", "csv json table value yaml"},
		{"network list --format=json -f y", "yaml"},
		{"floating ip show 10.", "10.10.10.3"},
		{"loadbalancer pool show ", "p"},
		{"loadbalancer member show p ", "m"},
		{"router add subnet r ", "e s"},
		{"apply ", ":files"},
		{"network list --cacert ", ":files"},
		{"nonsense ", ""},
		{"completion ", "bash fish zsh"},
	} {
		words := strings.Split(x.line, " ")
		want := strings.Fields(x.want)
		if strings.Contains(x.want, "|") {
			want = strings.Split(x.want, "|")
		}
		got := strings.Split(strings.TrimSuffix(tool(t, append([]string{"__complete", "--"}, words...)...), "\n"), "\n")
		if got[0] == "" {
			got = nil
		}
		if !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%q: %q, want %q", x.line, got, want)
		}
	}
}

// A shell waits for no router that does not answer, and reads nothing of its faults.
func TestCompletionIsQuickAndSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, endpoint := range []string{"http://" + l.Addr().String(), "unix:/nowhere", "nonsense"} {
		t.Setenv("TAPROUTER_ENDPOINT", endpoint)
		begin := time.Now()
		if got := tool(t, "__complete", "--", "network", "show", ""); got != "" {
			t.Errorf("%q", got)
		}
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("%s: %v", endpoint, took)
		}
	}
}

// The scripts are right for their shells, as far as these are here, and bash's offers names with blanks.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := tool(t, "completion", shell)
		if !strings.Contains(script, "taprouter __complete") {
			t.Errorf("%s: %s", shell, script)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		file := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(path, "-n", file).CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v %s", shell, err, out)
		}
		if shell != "bash" {
			continue
		}
		out, err := exec.Command(path, "-c", `source "$0"
taprouter() { printf '%s\n' "$*" 'black hole'; }
COMP_WORDS=(taprouter network show b) COMP_CWORD=3
_taprouter; printf '%s|' "${COMPREPLY[@]}"`, file).CombinedOutput()
		if want := `__complete\ --\ network\ show\ b|black\ hole|`; err != nil || string(out) != want {
			t.Errorf("bash: %s, want %s, %v", out, want, err)
		}
	}
}

// Each command that speaks to a router has its page, which man reads without a warning and which names each option.
func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	tool(t, "man", dir)
	pages, err := filepath.Glob(dir + "/*.1")
	if err != nil || len(pages) < 20 {
		t.Fatalf("%q %v", pages, err)
	}
	man, err := exec.LookPath("man")
	for _, p := range pages {
		text, e := os.ReadFile(p)
		if e != nil {
			t.Fatal(e)
		}
		if !bytes.Contains(text, []byte("\n.SH NAME\ntaprouter")) {
			t.Errorf("%s has no name:\n%.300s", p, text)
		}
		if err != nil {
			continue
		}
		cmd := exec.Command(man, "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", p)
		cmd.Env = []string{"LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=80", "PATH=/usr/bin:/bin"}
		var errs bytes.Buffer
		if cmd.Stderr = &errs; cmd.Run() != nil || errs.Len() > 0 {
			t.Errorf("man %s: %s", p, &errs)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "taprouter-port.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".SH PORT CREATE", `\-\-fixed\-ip`, "subnet=<subnet>,ip\\-address=<ip>",
		".BR taprouter (1)",
		`\-\-request\-timeout`, "TAPROUTER_ENDPOINT"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page of port has no %s", want)
		}
	}
}

// The socket, a token and a certificate's authority are used as they are given.
func TestConnections(t *testing.T) {
	var token string
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get("X-Auth-Token")
		_, _ = w.Write([]byte(`{"networks":[]}`)) // a client that has gone needs no answer
	})
	dir := t.TempDir()
	socket := filepath.Join(dir, "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	plain := &httptest.Server{Listener: l, Config: &http.Server{Handler: serve}}
	plain.Start()
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(serve)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // one client refuses its certificate
	secure.StartTLS()
	t.Cleanup(secure.Close)
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := file("ca.pem", "-----BEGIN CERTIFICATE-----\n"+
		base64.StdEncoding.EncodeToString(secure.Certificate().Raw)+"\n-----END CERTIFICATE-----\n")
	for _, x := range []struct {
		endpoint, options, environment, token, says string
	}{
		{"unix:" + socket, "", "", "", ""},
		{"unix://" + socket, "", "secret", "secret", ""},
		{"unix:" + socket, "--token-file " + file("token", "other\n"), "secret", "other", ""},
		{secure.URL, "--cacert " + authority, "", "", ""},
		{secure.URL + "/v2.0/", "--cacert " + authority, "", "", ""},
		{secure.URL, "", "", "", "certificate"},
		{secure.URL, "--cacert " + file("none.pem", "x"), "", "", "no certificate"},
		{"unix:" + socket, "--token-file " + dir + "/nothing", "", "", "no such file"},
		{"unix:" + socket, "--request-timeout 0s", "", "", "above 0"},
		{"unix:" + dir + "/nothing", "", "", "", "taprouter run"},
		{"ftp://x", "", "", "", "unix:/path"},
	} {
		t.Setenv("TAPROUTER_ENDPOINT", x.endpoint)
		t.Setenv("TAPROUTER_TOKEN", x.environment)
		token = ""
		s := run(t, append([]string{"network", "list", "--print-empty", "-f", "json"}, strings.Fields(x.options)...))
		if x.says == "" && (s.Out != "[]\n" || token != x.token) || x.says != "" && !strings.Contains(s.Err, x.says) {
			t.Errorf("%s %s: %+v, token %q", x.endpoint, x.options, s, token)
		}
	}
}
