package lb_test

import (
	"testing"

	"github.com/taprouter/taprouter/lb"
)

// Each check is + or -, what comes of it u (up), d (down), and in capitals if it has
// changed; before the first decision in brackets.
func TestHealth(t *testing.T) {
	for _, c := range []struct {
		name       string
		rise, fall int
		up         bool
		checks     string
		want       string
	}{
		{"new, good", 2, 3, false, "+++", "(d)Uu"},
		{"new, bad", 2, 3, false, "---+", "(d)(d)dd"},
		{"new, undecided", 2, 3, false, "+--+-", "(d)(d)(d)(d)(d)"},
		{"taken to be up, good", 2, 2, true, "++", "(u)u"},
		{"taken to be up, bad", 2, 2, true, "--", "(u)D"},
		{"goes and comes", 2, 3, false, "++---++", "(d)UuuDdU"},
		{"in a row only", 2, 3, false, "++--+--+-+", "(d)Uuuuuuuuu"},
		{"rise in a row only", 3, 1, false, "++-++-+++", "(d)(d)dddd" + "ddU"},
		{"at once", 1, 1, false, "+-+", "UDU"},
		{"less than once is once", 0, -1, false, "+-", "UD"},
		{"long runs are no credit", 3, 2, true, "++++++++--++-+++", "(u)(u)uuuuuuuDdddddU"},
	} {
		h := lb.NewHealth(c.rise, c.fall, c.up)
		if h.Up() != c.up || h.Decided() {
			t.Errorf("%s: at first up %t, decided %t", c.name, h.Up(), h.Decided())
		}
		got := ""
		for _, r := range c.checks {
			changed := h.Check(r == '+')
			s := map[bool]string{true: "u", false: "d"}[h.Up()]
			if changed {
				s = map[bool]string{true: "U", false: "D"}[h.Up()]
			}
			if !h.Decided() {
				s = "(" + s + ")"
			}
			got += s
		}
		if got != c.want {
			t.Errorf("%s: %s gives %s, want %s", c.name, c.checks, got, c.want)
		}
	}
}

// Other checks leave the state as it is until they have decided. What was in a row before is not.
func TestHealthRestarts(t *testing.T) {
	h := lb.NewHealth(2, 2, false)
	for _, c := range []struct {
		check             string // + or -, or the numbers of checks from now on
		up, decided, sure bool
	}{
		{"+", false, false, false}, {"22", false, false, false}, {"+", false, false, false}, {"+", true, true, true},
		{"-", true, true, true}, {"32", true, true, false}, {"-", true, true, false}, {"+", true, true, false},
		{"-", true, true, false}, {"-", false, true, true}, {"11", false, true, false}, {"-", false, true, true},
		{"11", false, true, false}, {"+", true, true, true},
	} {
		changed, was := false, h.Up()
		switch c.check {
		case "+", "-":
			changed = h.Check(c.check == "+")
		default:
			h.Restart(int(c.check[0]-'0'), int(c.check[1]-'0'))
		}
		if h.Up() != c.up || h.Decided() != c.decided || h.Sure() != c.sure || changed != (was != c.up) {
			t.Errorf("after %s: up %t, decided %t, sure %t, changed %t; want %+v",
				c.check, h.Up(), h.Decided(), h.Sure(), changed, c)
		}
	}
}
