package main

import (
	"bytes"
	"strings"
	"testing"
)

const planned = `
[[network]]
name = "vlan101"
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[[network]]
name = "ext_net"
external = true
  [[network.subnet]]
  cidr = "10.10.10.0/24"

[[router]]
name = "r1"
interfaces = ["vlan101"]
gateway = { network = "ext_net" }

[[floating_ip]]
network = "ext_net"
fixed_ip = "172.16.101.3"

[[floating_ip]]
network = "ext_net"
fixed_ip = "172.16.101.4"
`

// plan is what check --diff prints about the file and one with a text in place of another one.
func plan(t *testing.T, old, new string) (status int, out, errs string) {
	t.Helper()
	if strings.Count(planned, old) != 1 {
		t.Fatalf("%q is not once in the file", old)
	}
	return invoke(t, "check", "--diff", write(t, planned), write(t, strings.Replace(planned, old, new, 1)))
}

func TestDiff(t *testing.T) {
	const first = "[[floating_ip]]\nnetwork = \"ext_net\"\nfixed_ip = \"172.16.101.3\"\n"
	for name, c := range map[string]struct {
		old, new string
		want     []string // all lines, less the name of the file in front of a line's number
	}{
		"nothing": {"r1", "r1", []string{"nothing changes"}},
		"added": {"[[router]]", "[[network]]\nname = \"vlan102\"\n[[router]]", []string{
			`+ network "vlan102" (:13)`, "1 added, 0 changed, 0 removed"}},
		"changed": {"[[router]]", "[engine]\nworkers = 2\n[[router]]", []string{
			"~ settings: engine.workers 0 -> 2, at the next start (:13)", "0 added, 1 changed, 0 removed"}},
		"removed": {first, "", []string{
			"- floating IP 10.10.10.3",
			"    connections through 10.10.10.3 end, TCP with a RST to both sides",
			"0 added, 0 changed, 1 removed",
			"after a restart: ~ floating IP 10.10.10.3: address 10.10.10.4 -> 10.10.10.3 (:19)",
			"A restart chooses anew what the file leaves open. State it in the file to keep it."}},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, errs := plan(t, c.old, c.new)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if last := lines[len(lines)-1]; status != 0 || errs != "" || !strings.HasSuffix(last, " are valid") {
				t.Fatalf("status %d\n%s%s", status, out, errs)
			}
			for i, line := range lines[:len(lines)-1] {
				file, rest, ok := strings.Cut(line, ".toml:")
				if ok {
					line = file[:strings.LastIndex(file, "(")+1] + ":" + rest
				}
				lines[i] = line
			}
			if got, want := strings.Join(lines[:len(lines)-1], "\n"), strings.Join(c.want, "\n"); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// Either file may have faults, and all of them are told.
func TestDiffOfFaultyFiles(t *testing.T) {
	bad, worse := write(t, "[[netwrok]]\n"), write(t, "\n[[network]]\nname = 1\n")
	good := write(t, planned)
	six := write(t, strings.Replace(planned, "cidr", "cidr = \"2001:db8::/64\"\n[[network.subnet]]\ncidr", 1))
	step := write(t, planned+"[[step]]\ndo = \"pign\"\n")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{bad, worse}, []string{bad + ":1: ", worse + ":3: "}},
		{[]string{good, bad}, []string{bad + ":1: "}},
		{[]string{bad, good}, []string{bad + ":1: "}},
		{[]string{good, six}, []string{six + ":5: ", "IPv6 is not supported yet"}},
		{[]string{good, step}, []string{step + ":25: ", "pign"}},
		{[]string{good}, []string{"--diff takes two files: OLD NEW"}},
		{[]string{"-", "-"}, []string{"only one of the two files can be standard input"}},
	} {
		status, out, errs := invoke(t, append([]string{"check", "--diff"}, c.args...)...)
		if status != 2 || out != "" {
			t.Errorf("%v: status %d, %s", c.args, status, out)
		}
		for _, want := range c.want {
			if !strings.Contains(errs, want) {
				t.Errorf("%v: %q is not in:\n%s", c.args, want, errs)
			}
		}
	}
	if status, _, errs := invoke(t, "check", good, good); status != 2 ||
		!strings.Contains(errs, "did you mean check --diff") {
		t.Errorf("two files without --diff: status %d, %s", status, errs)
	}
}

// A warning about the new file is told, and no fault.
func TestDiffWarns(t *testing.T) {
	status, out, errs := plan(t, "[[router]]", "[nat.timeouts]\nudp = \"1s\"\n[[router]]")
	if status != 0 || strings.Count(errs, "warning: ") != 1 || !strings.Contains(errs, ":14: ") ||
		!strings.Contains(out, "nat.timeouts.udp 5m -> 1s") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
}

// One of the files may be standard input, which has lines, too.
func TestStandardInput(t *testing.T) {
	file := write(t, planned)
	for _, c := range []struct {
		args   []string
		input  string
		status int
		want   string
	}{
		{[]string{"check", "-"}, planned, 0, "<stdin> is valid"},
		{[]string{"check", "-"}, "x = 1\n", 2, "<stdin>:1: "},
		{[]string{"check", "--diff", file, "-"}, planned + "[engine]\nworkers = 1\n", 0, "(<stdin>:25)"},
		{[]string{"check", "--diff", "-", file}, planned + "[engine]\nworkers = 1\n", 0, "engine.workers 1 -> 0"},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), c.args, streams{strings.NewReader(c.input), &out, &errs})
		if text := out.String() + errs.String(); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%v: status %d\n%s", c.args, status, text)
		}
	}
}
