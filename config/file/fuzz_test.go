package file_test

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

// FuzzParse: no text makes the parser panic; a refused one has faults with lines that it has; an accepted one is
// accepted again, unchanged, and has a State, which the same file does not change.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/vip.toml", "testdata/lab.toml", "../../examples/reference.toml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, tt := range faultCases() {
		f.Add(tt.text)
	}
	for _, c := range excessive() {
		if len(c.text) < 10_000 { // larger ones make the fuzzer slow, and say the same
			f.Add(c.text)
		}
	}
	f.Add(routed)
	f.Add(web)
	f.Add("nat.timeouts.udp = '1s'\nnetwork = [{ name = \"blue\", subnet = [{ cidr = \"fd00::/64\" }] }]")
	f.Fuzz(checkText)
}

// checkText checks the properties that every text has.
func checkText(t *testing.T, text string) {
	topology, err := file.Parse("f", strings.NewReader(text))
	if err != nil {
		checkFaults(t, text, err)
		return
	}
	again, err := file.Parse("f", strings.NewReader(text))
	if err != nil {
		t.Fatalf("accepted only once: %v", err)
	}
	if err := again.Validate(); err != nil {
		t.Fatalf("refused the second time: %v\n%s", err, text)
	}
	if !reflect.DeepEqual(topology, again) {
		t.Fatalf("changed by validating again:\n%s\n%s", dump(t, topology), dump(t, again))
	}
	f, err := file.Read("f", strings.NewReader(text))
	if err != nil {
		t.Fatalf("accepted only twice: %v", err)
	}
	sameWhenEdited(t, f)
}

// TestMutilated leaves out each line of an example in turn, writes it twice, and
// swaps it with the next: files as people have them while they edit.
func TestMutilated(t *testing.T) {
	text, err := os.ReadFile("testdata/lab.toml")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i := range len(lines) - 1 {
		before, line, next, after := lines[:i], lines[i], lines[i+1], lines[i+2:]
		for _, middle := range [][]string{{next}, {line, line, next}, {next, line}} {
			checkText(t, strings.Join(slices.Concat(before, middle, after), "\n"))
		}
	}
}

// checkFaults checks that an error is a list of faults as it should be.
func checkFaults(t *testing.T, text string, err error) {
	t.Helper()
	var faults file.Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("error is %T: %v", err, err)
	}
	line := 1
	for _, fault := range faults {
		if fault.Line < line || fault.Line > 1+strings.Count(text, "\n") {
			t.Errorf("after line %d of %d: %v", line, 1+strings.Count(text, "\n"), fault)
		}
		line = fault.Line
		if fault.Message == "" || fault.File != "f" {
			t.Errorf("bare fault %+v", fault)
		}
	}
}
