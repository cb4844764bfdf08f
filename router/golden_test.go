package router

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/internal/nettest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden holds the bytes on the wire to those of testdata/NAME.pcap, for the
// scenarios with a line "golden": every frame in and out, in order, with the time.
func TestGolden(t *testing.T) {
	any := false
	for _, file := range scenarioFiles(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\ngolden\n") {
			continue
		}
		any = true
		path := strings.TrimSuffix(file, ".txt") + ".pcap"
		t.Run(path, func(t *testing.T) {
			c, err := runScenario(t, file, string(text))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := writePcap(path, c.all); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err := compareGolden(path, c.all); err != nil {
				c.save()
				t.Errorf("%v\nIf this is meant to be: make golden, and explain it in the commit.", err)
			}
		})
	}
	if !any {
		t.Error("no golden scenarios")
	}
}

// compareGolden names the first frame that is not as it was.
func compareGolden(path string, got []nettest.Captured) error {
	golden, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var now bytes.Buffer
	if err := nettest.WritePcap(&now, got); err != nil {
		return err
	}
	if bytes.Equal(now.Bytes(), golden) {
		return nil
	}
	want, err := nettest.ReadPcap(bytes.NewReader(golden))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for i := range min(len(got), len(want)) {
		if g, w := got[i], want[i]; g.At != w.At || !bytes.Equal(g.Frame, w.Frame) {
			return fmt.Errorf("%s: frame %d\n got %v %s\n     %x\nwant %v %s\n     %x", path, i+1,
				g.At, nettest.Describe(g.Frame), g.Frame, w.At, nettest.Describe(w.Frame), w.Frame)
		}
	}
	return fmt.Errorf("%s: got %d frames, want %d", path, len(got), len(want))
}

// tcpdump, which knows nothing of us, finds the same checksums wrong as we do:
// those that a scenario breaks on purpose.
func TestGoldenByTcpdump(t *testing.T) {
	needTool(t, "tcpdump")
	files, err := filepath.Glob("testdata/*.pcap")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files: ", err)
	}
	complaint := regexp.MustCompile(`bad cksum|bad udp cksum|wrong icmp cksum|\(incorrect`)
	for _, path := range files {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		frames, err := nettest.ReadPcap(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		broken := 0
		for _, f := range frames {
			if err := nettest.Verify(f.Frame); err != nil && strings.Contains(err.Error(), "checksum") {
				broken++
			}
		}
		cmd := exec.Command("tcpdump", "-nvvr", "-")
		cmd.Stdin = bytes.NewReader(file)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tcpdump: %v", err)
		}
		if got := len(complaint.FindAll(out, -1)); got != broken {
			t.Errorf("%s: tcpdump finds %d wrong checksums, want %d:\n%s", path, got, broken, out)
		}
	}
}

// needTool skips a test where a program is missing, but not in CI, where
// everything must run.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: make test-deps", name)
	}
	t.Skipf("%s is missing: make test-deps installs it", name)
}

// A golden file that differs in one byte, one instant or one frame is found.
func TestGoldenDiffers(t *testing.T) {
	frame := func(line string) []byte {
		b, err := nettest.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	base := []nettest.Captured{{At: 1, Frame: frame("udp 1.2.3.4:5 > 6.7.8.9:10 len 20")}}
	path := t.TempDir() + "/golden.pcap"
	if err := writePcap(path, base); err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string][]nettest.Captured{
		"":                     base,
		"ttl 63":               {{At: 1, Frame: frame("udp 1.2.3.4:5 > 6.7.8.9:10 ttl 63 len 20")}},
		"got 2ns":              {{At: 2, Frame: base[0].Frame}},
		"got 0 frames":         nil,
		"got 2 frames, want 1": append(base[:1:1], base[0]),
	} {
		err := compareGolden(path, got)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A frame that is not as the scenario says is reported with its line, want and got.
func TestScenarioFails(t *testing.T) {
	top := `[[network]]
name = "a"
  [[network.subnet]]
  cidr = "10.0.0.0/24"
[[network]]
name = "b"
  [[network.subnet]]
  cidr = "10.0.1.0/24"
[[router]]
name = "r"
interfaces = ["a", "b"]
---
host a 10.0.0.5
host b 10.0.1.5
`
	in := "> a udp 10.0.0.5:1 > 10.0.1.5:2 len 3\n"
	for _, c := range []struct{ text, want string }{
		{in + "< b udp 10.0.0.5:1 > 10.0.1.5:2 len 3 ttl 63", ""},
		{in + "< b udp 10.0.0.5:1 > 10.0.1.5:2 ttl 64",
			"x.txt:16: nettest: another frame\n got udp 10.0.0.5:1 > 10.0.1.5:2 ttl 63 id 7 len 3\nwant udp"},
		{in, "x.txt:15: at the end: \n got udp 10.0.0.5:1 > 10.0.1.5:2 ttl 63 id 7 len 3\nwant nothing on b"},
		{in + "nothing b", "x.txt:16: \n got udp"},
		{in + "< a udp 10.0.0.5:1 > 10.0.1.5:2", "got nothing on a; drops none"},
		{in + "< b to 10.0.1.6 udp 10.0.0.5:1 > 10.0.1.5:2", ""}, // no host is 10.0.1.6
		{"host b 10.0.1.6\n" + in + "< b to 10.0.1.6 udp 10.0.0.5:1 > 10.0.1.5:2",
			"it goes to 02:00:0a:00:01:05, want 02:00:0a:00:01:06"},
		{"> a udp 10.0.0.5:1 > 10.9.9.9:2", "want nothing on a"},
		{"> a udp 10.0.1.7:1 > 10.0.1.5:2", "at the end: \n got drops martian-source=1\nwant drops none"},
		{"drops martian-source=1", "got drops none\nwant drops martian-source=1"},
		{"drops bogus=1", "no drop reason \"bogus\""},
		{"connections 1", "got 0 connections\nwant 1"},
		{"connections x", "invalid syntax"},
		{"tick x", "invalid duration"},
		{"tick", "tick needs more"},
		{"< c udp", "no network \"c\""},
		{"jump a", "what is \"jump\"?"},
		{"> a udp", "nettest: "},
		{"host a", "needs an address"},
		{"host a x", "unable to parse"},
	} {
		_, err := runScenario(t, "x.txt", top+c.text)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s\n got %v\nwant %q", c.text, err, c.want)
		}
	}
	for text, want := range map[string]string{"": "no line ---", "[[x]]\n---\n": "x.txt:1"} {
		if _, err := runScenario(t, "x.txt", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
