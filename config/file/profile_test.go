package file_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
)

// The binding profile of a port is a JSON object. Anything else is a fault with its line.
func TestBindingProfile(t *testing.T) {
	text := func(profile string) string {
		return "[[network]]\nname = \"blue\"\n[[port]]\nname = \"vm\"\nnetwork = \"blue\"\n" +
			"mac = \"02:00:00:00:00:01\"\nfixed_ips = []\n" +
			fmt.Sprintf("binding_profile = %q\n", profile)
	}
	for _, good := range []string{"{}", `{ "a" : [1, null] }`, " {\"é\":{}}\n"} {
		f, err := file.Read("lab.toml", strings.NewReader(text(good)))
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		for p := range f.State().Ports() {
			if p.Extra == nil || p.Extra.Profile != good {
				t.Errorf("%s: %+v", good, p.Extra)
			}
		}
	}
	long := `{"a":"` + strings.Repeat("x", config.MaxProfile-8) + `"}`
	if _, err := file.Read("lab.toml", strings.NewReader(text(long))); err != nil {
		t.Errorf("%d bytes: %v", len(long), err)
	}
	for bad, want := range map[string]string{
		"x": "must be a JSON object", "[1]": "must be a JSON object", `"a"`: "must be a JSON object",
		"null": "not null", `{"a":1} {}`: "must be a JSON object", `{"a":`: "must be a JSON object",
		long + " ": fmt.Sprintf("has %d bytes; it may have %d", config.MaxProfile+1, config.MaxProfile),
	} {
		_, err := file.Read("lab.toml", strings.NewReader(text(bad)))
		if err == nil || !strings.Contains(err.Error(), `lab.toml:8: port "vm": binding_profile `) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %s", bad, err, want)
		}
	}
}
