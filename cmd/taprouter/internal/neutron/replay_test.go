package neutron_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
)

// TestReplays plays the requests that clients send, and looks at what they read of the answers. In testdata/replay a
// request is a line with ">" and its body behind the path. A line with "<" is the status of the answer, perhaps a name
// for the id of its object, and what the answer has to have: objects may have more, lists may not.
func TestReplays(t *testing.T) {
	files, err := filepath.Glob("testdata/replay/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			e, err := router.Start(config.Empty(), router.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { e.Close() })
			c := cloudOn(t, e, neutron.Options{Balancers: e.Inspect()})
			c.ids["P"] = neutron.DefaultProject
			replay(c, string(text))
			for o := range c.control.State().All() {
				if o.Ref().Kind != config.KindSecurityGroup && o.Ref().Kind != config.KindSecurityGroupRule {
					t.Errorf("%v %s is left", o.Ref().Kind, o.About().Name)
				}
			}
		})
	}
}

func replay(c *cloud, text string) {
	c.t.Helper()
	request := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, ">"):
			request = strings.TrimSpace(line[1:])
		case strings.HasPrefix(line, "<"):
			method, rest, _ := strings.Cut(request, " ")
			path, body, _ := strings.Cut(rest, " ")
			a := c.ask(method, path, body)
			c.judge(fmt.Sprintf("line %d: %s", i+1, request), a, strings.TrimSpace(line[1:]))
		case line != "" && line[0] != '#':
			c.t.Fatalf("line %d: %q is no request and no answer", i+1, line)
		}
	}
}

// judge compares an answer with a line of a replay.
func (c *cloud) judge(at string, a answer, line string) {
	c.t.Helper()
	head, want, has := strings.Cut(line, "{")
	f := strings.Fields(head)
	if status, err := strconv.Atoi(f[0]); err != nil || a.status != status {
		c.t.Fatalf("%s: %d, want %s: %s", at, a.status, f[0], a.text)
	}
	if len(f) > 1 {
		for _, v := range a.body {
			o, ok := v.(map[string]any)
			if list, many := v.([]any); many && len(list) > 0 {
				o, ok = list[0].(map[string]any)
			}
			if id, has := o["id"].(string); ok && has {
				c.ids[f[1]] = id
			}
		}
		if c.ids[f[1]] == "" {
			c.t.Fatalf("%s: there is no id in %s", at, a.text)
		}
	}
	if !has {
		return
	}
	var w any
	if err := json.Unmarshal([]byte(c.fill("{"+want)), &w); err != nil {
		c.t.Fatalf("%s: %v", at, err)
	}
	if what := lacks(w, a.body, ""); what != "" {
		c.t.Errorf("%s: %s in %s", at, what, a.text)
	}
}

// lacks says what a value does not have of what it should. "*" is anything but null.
func lacks(want, got any, at string) string {
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s is %v, no object", at, got)
		}
		for k, v := range want {
			x, there := g[k]
			if !there {
				return fmt.Sprintf("%s.%s is missing", at, k)
			}
			if what := lacks(v, x, at+"."+k); what != "" {
				return what
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			return fmt.Sprintf("%s is %v, want %v", at, got, want)
		}
		for i, v := range want {
			if what := lacks(v, g[i], fmt.Sprintf("%s[%d]", at, i)); what != "" {
				return what
			}
		}
	default:
		if want == "*" && got != nil {
			return ""
		}
		if !reflect.DeepEqual(want, got) {
			return fmt.Sprintf("%s is %v, want %v", at, got, want)
		}
	}
	return ""
}
