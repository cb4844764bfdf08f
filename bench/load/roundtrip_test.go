package load

import (
	"strings"
	"testing"
	"time"
)

func TestTrips(t *testing.T) {
	var trips []time.Duration
	for i := 100; i > 0; i-- {
		trips = append(trips, time.Duration(i)*time.Microsecond)
	}
	var out strings.Builder
	if err := printTrips(&out, trips, "there"); err != nil || out.String() != "51 100\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := printTrips(&out, trips[:9], "there"); err == nil || !strings.Contains(err.Error(), "there") {
		t.Errorf("of nine trips: %v", err)
	}
}
