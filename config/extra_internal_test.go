package config

import "testing"

// A proxy's timeout is shown as a file has it: not with the 1 that tells 0 s from the default.
func TestProxyTimeout(t *testing.T) {
	for plusOne, want := range map[int]string{1: "0s", 5001: "5s", 1501: "1.5s"} {
		x := ListenerExtra{MemberConnect: plusOne}
		if got := x.values()[0].items; len(got) != 1 || got[0].text != want {
			t.Errorf("%d: %v, want %s", plusOne, got, want)
		}
	}
	if got := (&ListenerExtra{}).values()[0].items; len(got) != 0 {
		t.Errorf("the default is shown as %v", got)
	}
}
