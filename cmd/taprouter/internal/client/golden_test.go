package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/client"
	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/control"
)

var update = flag.Bool("update", false, "record what Debian's openstack client prints")

// A cloud is an API on an engine without devices. It keeps the requests that change something, and gives new objects
// ids that depend on these requests only: two clients that ask for the same get the same ids.
type cloud struct {
	server *httptest.Server

	mu     sync.Mutex // held while a request is served
	made   uint64     // requests that may make objects
	next   uint64     // the next id
	writes []string   // since the last look
	last   string     // the id of the last object that a POST made
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	e, err := router.Start(config.Empty(), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := &cloud{}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	api := neutron.New(control.New(e, control.Options{Now: func() time.Time { return now }}),
		neutron.Options{NewID: c.newID})
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(api, w, r) }))
	t.Cleanup(c.server.Close)
	return c
}

func (c *cloud) newID() config.ID {
	var b [16]byte
	c.next++
	binary.BigEndian.PutUint64(b[8:], c.next)
	return config.NewID(b)
}

func (c *cloud) serve(api http.Handler, w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	c.next = 1 << 30
	if r.Method == http.MethodGet {
		api.ServeHTTP(w, r)
		return
	}
	c.made++
	c.next = c.made << 8
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, r)
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
	line := r.Method + " " + r.URL.RequestURI()
	if len(body) > 0 {
		line += " " + canonical(body)
	}
	c.writes = append(c.writes, line)
	if r.Method == http.MethodPost && rec.Code == http.StatusCreated {
		var made map[string]struct{ ID string }
		if err := json.Unmarshal(rec.Body.Bytes(), &made); err == nil {
			for _, o := range made {
				c.last = o.ID
			}
		}
	}
}

// canonical is a JSON text with its keys in order.
func canonical(text []byte) string {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return string(text)
	}
	orderTags(v)
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// orderTags puts tags in order, as they are a set, which Python has in none.
func orderTags(v any) {
	if o, ok := v.(map[string]any); ok {
		for _, inner := range o {
			orderTags(inner)
		}
		if tags, ok := o["tags"].([]any); ok {
			slices.SortFunc(tags, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
	}
}

// took is the requests since the last call, and the id that they made.
func (c *cloud) took() ([]string, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.writes
	c.writes = nil
	return w, c.last
}

// A said is what a command did.
type said struct {
	Out, Err string
	Status   int
}

// script is the lines of a file of commands.
func script(t testing.TB, name string) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// words splits a command line as a shell does with double quotes.
func words(line string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1) {
		all = append(all, strings.Trim(m, `"`))
	}
	return all
}

// play runs commands, and returns what each one did as text.
func play(t testing.TB, c *cloud, lines []string, run func(args []string) said) []string {
	t.Helper()
	ids := map[string]string{}
	var all []string
	for _, line := range lines {
		command := line
		name := ""
		if before, after, ok := strings.Cut(line, " = "); ok {
			name, command = before, after
		}
		for k, v := range ids {
			command = strings.ReplaceAll(command, "{"+k+"}", v)
		}
		s := run(words(command))
		writes, last := c.took()
		if name != "" {
			ids[name] = last
		}
		var b strings.Builder
		fmt.Fprintf(&b, "$ %s\n", line)
		for _, w := range writes {
			fmt.Fprintf(&b, "> %s\n", w)
		}
		for l := range strings.Lines(s.Out) {
			fmt.Fprintf(&b, "| %s\n", strings.TrimRight(l, "\n"))
		}
		for l := range strings.Lines(s.Err) {
			fmt.Fprintf(&b, "! %s\n", strings.TrimRight(l, "\n"))
		}
		if s.Status != 0 {
			fmt.Fprintf(&b, "= %d\n", s.Status)
		}
		all = append(all, anonymous(b.String(), c))
	}
	return all
}

// anonymous is a text without what differs from one run to the next.
func anonymous(text string, c *cloud) string {
	text = strings.ReplaceAll(text, c.server.URL, "http://SERVER")
	return requestID.ReplaceAllString(text, "req-ID")
}

var requestID = regexp.MustCompile(`req-[0-9a-f-]{36}`)

// openstack starts Debian's client, and returns a function that runs a command.
func openstack(t testing.TB, c *cloud) func(args []string) said {
	t.Helper()
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import openstackclient, octaviaclient").Run(); err != nil {
		t.Skip("Debian's openstack client is not installed: " +
			"apt-get install python3-openstackclient python3-octaviaclient")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, python, "testdata/commands.py")
	cmd.Env = []string{"OS_AUTH_TYPE=none", "OS_ENDPOINT=" + c.server.URL, "PATH=/usr/bin:/bin", "HOME=" + t.TempDir(),
		"LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed
	})
	lines := bufio.NewReader(out)
	return func(args []string) said {
		t.Helper()
		b, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write(append(b, '\n')); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		var s said
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("%q: %v in %s", args, err, line)
		}
		return s
	}
}

// journeys are the files of commands. The later ones need more of the API.
var journeys = []struct{ name, extension string }{{"journey", ""}, {"groups", "security-group"},
	{"extra", "security-group"}}

// journey starts a cloud for the commands of a file.
func journey(t *testing.T, name, extension string) (*cloud, []string) {
	t.Helper()
	c := newCloud(t)
	if extension != "" && c.run(t, []string{"extension", "show", extension}).Status != 0 {
		t.Skipf("the API has no %s", extension)
	}
	return c, script(t, name+".txt")
}

// Debian's client does and prints what is recorded; with -update it is recorded.
func TestOpenStackIsAsRecorded(t *testing.T) {
	for _, j := range journeys {
		t.Run(j.name, func(t *testing.T) {
			c, lines := journey(t, j.name, j.extension)
			got := play(t, c, lines, openstack(t, c))
			if !*update {
				compare(t, j.name, got)
				return
			}
			if err := os.WriteFile("testdata/"+j.name+".golden", []byte(strings.Join(got, "\n")), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// compare fails for each command that did something else than what is recorded.
func compare(t *testing.T, name string, got []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".golden")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.SplitAfter(string(text), "\n\n")
	for i := range want {
		want[i] = strings.TrimSuffix(want[i], "\n")
	}
	want[len(want)-1] += "\n"
	if len(want) != len(got) {
		t.Errorf("%d commands recorded, %d run", len(want), len(got))
	}
	for i := range min(len(want), len(got)) {
		if got[i] != want[i] {
			t.Error(difference(want[i], got[i]))
		}
	}
}

// run runs a command of ours against the cloud, as the binary does.
func (c *cloud) run(t testing.TB, args []string) said {
	t.Helper()
	t.Setenv("TAPROUTER_ENDPOINT", c.server.URL)
	return run(t, args)
}

func run(t testing.TB, args []string) said {
	t.Helper()
	var grammar struct{ client.Commands }
	var out, errs bytes.Buffer
	parser, err := kong.New(&grammar, kong.Name("taprouter"), client.Placeholders(), kong.Writers(&out, &errs),
		kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse(args)
	if err != nil {
		return said{"", err.Error() + "\n", 2}
	}
	s, err := client.NewSession(t.Context(), k, strings.NewReader(""), &out, &errs)
	if err != nil {
		return said{"", err.Error() + "\n", 1}
	}
	k.Bind(s)
	if err := k.Run(); err != nil {
		fmt.Fprintln(&errs, err)
		return said{out.String(), errs.String(), 1}
	}
	return said{out.String(), errs.String(), 0}
}

// Our commands do and print what Debian's client does and prints.
func TestAsOpenStackDoes(t *testing.T) {
	for _, j := range journeys {
		t.Run(j.name, func(t *testing.T) {
			c, lines := journey(t, j.name, j.extension)
			compare(t, j.name, play(t, c, lines, func(args []string) said { return c.run(t, args) }))
		})
	}
}

// difference is a command and the lines that it should have had (-) and has instead (+).
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", w[0])
	for i := range max(len(w), len(g)) {
		for _, side := range []struct {
			sign  string
			lines []string
			other []string
		}{{"-", w, g}, {"+", g, w}} {
			if i < len(side.lines) && (i >= len(side.other) || side.lines[i] != side.other[i]) {
				fmt.Fprintf(&b, "%s %s\n", side.sign, side.lines[i])
			}
		}
	}
	return b.String()
}

// A name that leads to another place in a URL is a name all the same. (OpenStack's client shows an empty object, and
// sends DELETE /v2.0/.)
func TestOddNames(t *testing.T) {
	c := newCloud(t)
	for _, name := range []string{"", ".", "..", "a/b", "?x", "%2e"} {
		for _, command := range []string{"show", "delete", "set --name x"} {
			args := slices.Insert(words("network "+command), 2, name)
			s := c.run(t, args)
			if s.Status != 1 || !strings.Contains(s.Err, "No Network found for "+name) {
				t.Errorf("%q: %+v", args, s)
			}
		}
		if writes, _ := c.took(); len(writes) > 0 {
			t.Errorf("%q: it sends %q", name, writes)
		}
		if name == "" {
			continue
		}
		if s := c.run(t, []string{"network", "create", name}); s.Status != 0 {
			t.Errorf("%q: %+v", name, s)
		}
		if s := c.run(t, []string{"network", "show", name, "-f", "value", "-c", "name"}); s.Out != name+"\n" {
			t.Errorf("%q: %+v", name, s)
		}
		c.took()
	}
}
