package main

import (
	"runtime/debug"
	"testing"
)

// Garbage is collected seldom, unless the administrator has set GOGC.
func TestCollectRarely(t *testing.T) {
	was := debug.SetGCPercent(100)
	defer debug.SetGCPercent(was)
	for _, c := range []struct {
		env  string
		want int
	}{{"", garbagePercent}, {"70", 70}} {
		t.Setenv("GOGC", c.env)
		debug.SetGCPercent(70) // as Go has read it from the environment
		collectRarely()
		if got := debug.SetGCPercent(100); got != c.want {
			t.Errorf("GOGC=%q: %d percent, want %d", c.env, got, c.want)
		}
	}
}
