package lab

import (
	"slices"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
)

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, nil},
		{"one two  three\n four", 9, []string{"one two", "three", "four"}},
		{"a-very-long-word and 10.10.10.0/24", 10, []string{"a-very-long-word", "and", "10.10.10.0/24"}},
		{"浮动IP是静态的地址转换", 10, []string{"浮动IP是静", "态的地址转", "换"}},
		// Not before a full stop, and not behind an opening bracket of any kind.
		{"一二三四五。六七", 10, []string{"一二三四", "五。六七"}},
		{"一二三四(五)六", 9, []string{"一二三四", "(五)六"}},
		{"一二三四「五」六", 10, []string{"一二三四", "「五」六"}},
		// Addresses stay whole.
		{"路由器 10.10.10.7 收到", 12, []string{"路由器", "10.10.10.7", "收到"}},
		{"实例经\n路由器\nping 外网", 40, []string{"实例经路由器 ping 外网"}},
		{"사람이\n읽는", 40, []string{"사람이 읽는"}},
		{"e\u0301e\u0301e\u0301 x", 5, []string{"e\u0301e\u0301e\u0301 x"}}, // combining marks take no column
	} {
		got := wrap(c.text, c.width)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

// Nothing is lost, and no line is wider than it may be.
func TestWrapKeepsText(t *testing.T) {
	const text = "浮动 IP 由路由器（而不是实例）持有，并回答 ARP；" +
		"外面只看到 10.10.10.3，里面只看到 172.16.101.3。The router owns it, 不是实例。"
	for width := 14; width < 80; width++ {
		lines := wrap(text, width)
		for _, line := range lines {
			if uniseg.StringWidth(line) > width {
				t.Errorf("width %d: %q has %d columns", width, line, uniseg.StringWidth(line))
			}
			if strings.ContainsAny(line[:1], ",.") || strings.HasPrefix(line, "，") || strings.HasPrefix(line, "。") ||
				strings.HasSuffix(line, "（") {
				t.Errorf("width %d: %q", width, line)
			}
		}
		if got, want := strings.ReplaceAll(strings.Join(lines, ""), " ", ""),
			strings.ReplaceAll(text, " ", ""); got != want {
			t.Errorf("width %d: got %q", width, got)
		}
	}
}
