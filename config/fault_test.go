package config_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/taprouter/taprouter/config"
)

func faultCases() []faultCase {
	return slices.Concat(syntaxCases, shapeCases, networkCases, subnetCases, routerCases, natCases,
		portCases, floatingCases, poolCases, vipCases, instanceCases, stepCases)
}

// wanted collects what a text says of itself.
func wanted(text string) []string {
	var want []string
	for i, line := range strings.Split(text, "\n") {
		for _, message := range strings.Split(line, "#!")[1:] {
			want = append(want, config.Fault{File: "f", Line: i + 1, Message: strings.TrimSpace(message)}.String())
		}
	}
	return want
}

func TestFaults(t *testing.T) {
	for _, tt := range faultCases() {
		t.Run(tt.name, func(t *testing.T) {
			topology, err := config.Parse("f", strings.NewReader(tt.text))
			if topology != nil {
				t.Error("a topology came with the faults")
			}
			if err == nil {
				t.Fatal("no fault found")
			}
			got := strings.Split(err.Error(), "\n")
			want := wanted(tt.text)
			for _, m := range got {
				if !slices.Contains(want, m) {
					t.Errorf("unexpected: %s", m)
				}
			}
			for _, m := range want {
				if !slices.Contains(got, m) {
					t.Errorf("missing:    %s", m)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d faults, want %d", len(got), len(want))
			}
		})
	}
}

// TestFaultsTogether holds the order and the form of a whole message.
func TestFaultsTogether(t *testing.T) {
	text := `[[vip]]
name = "v"
network = "blue"
address = "10.1.0.7"
protocol = "TCP"
port = 80
pool = "web"

[[network]]
name = "blue"
mtu = "big"
[[network.subnet]]
cidr = "10.1.0.0/24"
gateway = "10.0.0.1"
`
	want := `lab.toml:7: VIP "v": unknown pool "web"; no [[pool]] has that name
lab.toml:11: network "blue": mtu must be an integer, not "big"
lab.toml:14: subnet "blue": gateway 10.0.0.1 outside 10.1.0.0/24`
	_, err := config.Parse("lab.toml", strings.NewReader(text))
	// The VIP has no router either, but its line comes first.
	want = `lab.toml:3: VIP "v": there is no router to serve 10.1.0.7 on network "blue"` + "\n" + want
	if err == nil || err.Error() != want {
		t.Fatalf("got\n%v\nwant\n%s", err, want)
	}
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error is %T, not Faults", err)
	}
	last := config.Fault{
		File: "lab.toml", Line: 14, Path: "network[0].subnet[0].gateway",
		Message: `subnet "blue": gateway 10.0.0.1 outside 10.1.0.0/24`,
	}
	if faults[3] != last {
		t.Errorf("last fault is %+v, want %+v", faults[3], last)
	}
}

func TestFaultString(t *testing.T) {
	tests := []struct {
		fault config.Fault
		want  string
	}{
		{config.Fault{File: "a.toml", Line: 3, Message: "m"}, "a.toml:3: m"},
		{config.Fault{File: "a.toml", Message: "m"}, "a.toml: m"},
		{config.Fault{Line: 3, Message: "m"}, "line 3: m"},
		{config.Fault{Message: "m", Path: "p"}, "m"},
	}
	for _, tt := range tests {
		if got := tt.fault.String(); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.fault, got, tt.want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.toml")
	if _, err := config.Load(missing); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := config.Load(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
	_, err := config.Parse("x.toml", iotest.ErrReader(io.ErrUnexpectedEOF))
	if !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "config: read x.toml: unexpected EOF" {
		t.Errorf("broken reader: %v", err)
	}
}
