package lab

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config/file"
)

const (
	tour       = "../../examples/105-106-openstack.md"
	tourLesson = "../../examples/105-set-gateway.toml"
)

// The commands of the walk-through are played, in their order, with each of the two clients. Apart from its name, both
// get the same words.
func TestCommandsOfTheWalkThrough(t *testing.T) {
	text, err := os.ReadFile(tour)
	if err != nil {
		t.Fatal(err)
	}
	lesson, err := os.ReadFile(tourLesson)
	if err != nil {
		t.Fatal(err)
	}
	network, _, ok := strings.Cut(string(lesson), "[[step]]")
	if !ok {
		t.Fatal("the lesson has no steps")
	}
	column := regexp.MustCompile("(?m)^\\| [^|]+ \\| (?:`(openstack) ([^`]+)`)? ?\\| `(taprouter) ([^`]+)` \\|$")
	steps := map[string]string{}
	rows := column.FindAllStringSubmatch(string(text), -1)
	for _, m := range rows {
		if m[2] != "" && m[2] != m[4] {
			t.Errorf("%q and %q differ", m[2], m[4])
		}
		for i := 1; i < len(m); i += 2 {
			if m[i] != "" {
				steps[m[i]] += fmt.Sprintf("[[step]]\ndo = %q\n", m[i]+" "+m[i+1])
			}
		}
	}
	if len(rows) < 10 {
		t.Fatalf("%d rows found", len(rows))
	}
	for client, list := range steps {
		if out, err := play(t, network+list); err != nil {
			t.Errorf("with %s: %v\n%s", client, err, out)
		}
	}
}

// What the walk-through types at its router is a command that a lesson understands, too, apart from the options that
// say how the output looks.
func TestShellOfTheWalkThrough(t *testing.T) {
	text, err := os.ReadFile(tour)
	if err != nil {
		t.Fatal(err)
	}
	topo, err := file.Load(tourLesson)
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(` -[cf] ("[^"]*"|\S+)`)
	lines := regexp.MustCompile(`(?m)^    router\$ (.+)$`).FindAllStringSubmatch(string(text), -1)
	for _, m := range lines {
		c, err := parseCommand(form.ReplaceAllString(m[1], ""), false)
		if err == nil {
			err = c.check(topo, &file.Step{})
		}
		if err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
	if len(lines) < 7 {
		t.Errorf("%d commands found", len(lines))
	}
}
