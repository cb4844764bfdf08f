package tap_test

import (
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/tap"
)

// A name is checked twice: config checks a file's, and this package what any caller gives it, since neither package
// imports the other. Config refuses more, and nothing that this package refuses passes there.
func TestNamesAreCheckedAlike(t *testing.T) {
	for _, c := range []struct {
		name        string
		config, tap bool // whether it passes
	}{
		{"tap0", true, true},
		{"qg-b8b32a88-03", true, true},
		{"a.b_c+d", true, true},
		{"...", true, true},
		{"é", true, true},
		{"0123456789abcde", true, true},
		{"0123456789abcdef", false, false},
		{"01234567890123é", false, false}, // 16 bytes, 15 characters
		{"", false, false},
		{".", false, false},
		{"..", false, false},
		{"a/b", false, false},
		{"a:b", false, false},
		{"tap%d", false, false},
		{"a b", false, false},
		{"a\tb", false, false},
		{"a\nb", false, false},
		{"a\vb", false, false},
		{"a\fb", false, false},
		{"a\rb", false, false},
		{"a\x00b", false, false}, // the kernel would make a device "a"

		// The kernel takes these. Of a name with @, a file means what stands before it; the others cannot be seen.
		{"a@b", false, true},
		{"a\x01b", false, true},
		{"a\u2003b", false, true},
	} {
		_, err := config.ParseDevice("raw:" + c.name)
		if got := err == nil; got != c.config {
			t.Errorf("config, %q: %v", c.name, err)
		}
		err = tap.CheckName("raw", c.name)
		if got := err == nil; got != c.tap {
			t.Errorf("tap, %q: %v", c.name, err)
		}
	}
}
