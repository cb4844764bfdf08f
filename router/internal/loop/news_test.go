package loop

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/taprouter/taprouter/tap"
)

// A deafOwner is an owner of a link that does not care.
type deafOwner struct{}

func (deafOwner) Networks() []string         { return []string{"net"} }
func (deafOwner) Receive(*Turn, []tap.Frame) {}
func (deafOwner) LinkChanged(*Turn)          {}
func (deafOwner) LinkUp(*Turn)               {}
func (deafOwner) LinkLost(*Turn, bool)       {}

// That a device is down, and up again, is told once each. Of a device in memory nothing is told.
func TestNewsOfADevice(t *testing.T) {
	w, err := NewWorker(slog.New(slog.DiscardHandler), false)
	if err != nil {
		t.Fatal(err)
	}
	var got []News
	w.Tell = func(n News) { got = append(got, n) }
	l := &Link{Name: "tap:x", Owner: deafOwner{}}
	w.AddLink(l)
	l.wentDown(&w.Turn)
	l.wentDown(&w.Turn)
	l.cameUp(&w.Turn)
	want := []News{
		{Kind: DeviceDown, Network: "net", Device: "tap:x"}, {Kind: DeviceUp, Network: "net", Device: "tap:x"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %+v, want %+v", got, want)
	}
	l.Memory = true
	l.wentDown(&w.Turn)
	if len(got) != 2 {
		t.Errorf("told %+v of a device in memory", got[2])
	}
}
