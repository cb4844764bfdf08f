package main

import (
	"fmt"
	"testing"
)

// The status names the missing devices, and stays one line.
func TestRoutingStatus(t *testing.T) {
	var many []string
	for i := range 12 {
		many = append(many, fmt.Sprint("raw:", i))
	}
	for want, missing := range map[string][]string{
		"STATUS=routing":                       nil,
		"STATUS=routing; missing: raw:0 raw:1": many[:2],
		"STATUS=routing; missing: raw:0 raw:1 raw:2 raw:3 raw:4 raw:5 raw:6 raw:7 raw:8 raw:9":            many[:10],
		"STATUS=routing; missing: raw:0 raw:1 raw:2 raw:3 raw:4 raw:5 raw:6 raw:7 raw:8 raw:9 and 2 more": many,
	} {
		if got := routingStatus(missing); got != want {
			t.Errorf("%d missing: %q, want %q", len(missing), got, want)
		}
	}
}
