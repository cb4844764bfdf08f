package monitor

import "testing"

func TestHealth(t *testing.T) {
	for _, tt := range []struct {
		rise, fall int
		up         bool
		checks     string // + good, - bad
		want       string // U and D: has changed; u and d: has not, and is decided; .: is not
	}{
		{3, 3, false, "+++++---+++", "..UuuuuDddU"},
		{3, 3, true, "+++++---+++", "..uuuuuDddU"},
		{2, 3, false, "+-+-++-+--+---", "....." + "UuuuuuuuD"},
		{1, 1, false, "+-+--", "UDUDd"},
		{2, 2, false, "--+-++", ".ddddU"},
		{2, 2, true, "-+--", "...D"},
	} {
		h := newHealth(tt.rise, tt.fall, tt.up)
		var got []byte
		for _, c := range tt.checks {
			changed := h.Check(c == '+')
			mark := byte('d')
			if h.Up() {
				mark = 'u'
			}
			if changed {
				mark -= 'u' - 'U'
			} else if !h.Decided() {
				mark = '.'
			}
			got = append(got, mark)
		}
		if string(got) != tt.want {
			t.Errorf("rise %d, fall %d, up %v: %s gave %s, want %s", tt.rise, tt.fall, tt.up, tt.checks, got, tt.want)
		}
	}
}
