package monitor_test

import (
	"testing"

	"github.com/taprouter/taprouter/router/internal/monitor"
)

func TestCodes(t *testing.T) {
	for _, tt := range []struct {
		text    string
		in, out []int
	}{
		{"200", []int{200}, []int{100, 199, 201, 302}},
		{"200,202", []int{200, 202}, []int{201, 203}},
		{" 200 , 302 ", []int{200, 302}, []int{201}},
		{"200-204", []int{200, 202, 204}, []int{199, 205}},
		{"200, 204-206,301 - 302", []int{200, 204, 206, 301, 302}, []int{201, 203, 207, 300, 303}},
		{"100-599", []int{100, 599}, []int{99, 600}},
	} {
		c, err := monitor.ParseCodes(tt.text)
		if err != nil || c.String() != tt.text {
			t.Errorf("%q: %q, %v", tt.text, c, err)
		}
		for _, n := range tt.in {
			if !c.Contain(n) {
				t.Errorf("%q does not contain %d", tt.text, n)
			}
		}
		for _, n := range tt.out {
			if c.Contain(n) {
				t.Errorf("%q contains %d", tt.text, n)
			}
		}
	}
	for _, text := range []string{"", "ok", "20", "2000", "099", "600", "204-200", "200-", "-200", "200-204-206",
		"200,,202", "200;202", "+20", "2 0"} {
		c, err := monitor.ParseCodes(text)
		if err == nil {
			t.Errorf("%q was taken for codes", text)
		}
		for n := range 1000 {
			if c.Contain(n) {
				t.Errorf("%q contains %d", text, n)
			}
		}
	}
}
