package router_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

// A machine has devices that come one by one.
type machine struct {
	opener
	mu     sync.Mutex
	faults map[string]error // why a device cannot be opened
	tries  map[string]int
}

func newMachine() *machine {
	return &machine{opener: opener{far: map[string]tap.Device{}, opened: map[string]int{}},
		faults: map[string]error{}, tries: map[string]int{}}
}

func (m *machine) open(d file.Device) (tap.Device, error) {
	m.mu.Lock()
	m.tries[d.Name]++
	err := m.faults[d.Name]
	m.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d, err)
	}
	return m.opener.open(d)
}

func (m *machine) set(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults[name] = err
}

func (m *machine) tried(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tries[name]
}

func (m *machine) wire(t *testing.T, name string) *wire {
	m.opener.mu.Lock()
	defer m.opener.mu.Unlock()
	return newWire(t, m.far[name])
}

// until waits for something that another goroutine does.
func until(t *testing.T, what string, fn func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !fn(); {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come true: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// A device that does not exist at the start is named, and taken into use when it comes. So
// is one that is lost afterwards. Each reason why it cannot be opened is logged once.
func TestStartWithoutADevice(t *testing.T) {
	m := newMachine()
	m.set("right", tap.ErrMissing)
	told := make(chan []string, 100)
	var log logBuffer
	e, err := router.Start(parse(t, twoNetworks), router.Options{
		Open: m.open, Logger: slog.New(slog.NewTextHandler(&log, nil)), OnMissing: func(d []string) { told <- d },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if got := e.Missing(); !slices.Equal(got, []string{"tap:right"}) {
		t.Errorf("missing %v", got)
	}
	if got := <-told; !slices.Equal(got, []string{"tap:right"}) {
		t.Errorf("told that %v is missing", got)
	}
	if s := e.Stats().Devices; len(s) != 2 || !s[0].Present || s[1].Present || s[1].Device != "tap:right" {
		t.Errorf("devices %+v", s)
	}
	left := m.wire(t, "left")
	left.arp(leftMAC, "192.0.2.7", "192.0.2.1") // the rest works
	routerMAC, _ := packet.DecodeARP(left.next(t))
	left.send(udpFrame(leftMAC, routerMAC.SenderMAC, "192.0.2.7:1000", "198.51.100.7:2000")) // lost, whatever else

	// What waiting does not cure does not end a router that runs: it is logged, and tried again.
	m.set("right", errors.New("taken"))
	until(t, "two attempts more", func() bool { return m.tried("right") >= 4 })
	m.set("right", nil)
	if got := <-told; got != nil {
		t.Errorf("told that %v is missing", got)
	}
	until(t, "nothing is missing", func() bool {
		return e.Missing() == nil && strings.Contains(log.String(), "device is there")
	})
	right := m.wire(t, "right")
	right.arp(rightMAC, "198.51.100.7", "198.51.100.1")
	if a, ok := packet.DecodeARP(right.next(t)); !ok ||
		a.Target != packet.AddrFrom(netip.MustParseAddr("198.51.100.7")) {
		t.Error("no answer on the device that has come")
	}
	for text, times := range map[string]int{"device is missing": 1, "cannot be opened yet": 1, "taken": 1,
		"device is there": 1, "device is back": 0} {
		if n := strings.Count(log.String(), text); n != times {
			t.Errorf("%q was logged %d times, want %d:\n%s", text, n, times, &log)
		}
	}

	m.set("right", tap.ErrMissing)
	right.dev.Close()
	if got := <-told; !slices.Equal(got, []string{"tap:right"}) {
		t.Errorf("told that %v is missing after it is lost", got)
	}
	if err := e.Close(); err != nil || e.Missing() != nil {
		t.Errorf("closed: %v, missing %v", err, e.Missing())
	}
}

func TestStartRefusesWhatWaitingDoesNotCure(t *testing.T) {
	for _, c := range []struct {
		name, want string
		fault      error
		require    bool
	}{
		{"missing, required", "does not exist", tap.ErrMissing, true},
		{"taken", "taken", errors.New("taken"), false},
	} {
		m := newMachine()
		m.set("right", c.fault)
		gone := make(chan struct{})
		_, err := router.Start(parse(t, twoNetworks), router.Options{RequireDevices: c.require,
			Open: func(d file.Device) (tap.Device, error) {
				dev, err := m.open(d)
				if err == nil {
					m.far[d.Name].Notify(func() { close(gone) })
				}
				return dev, err
			}})
		if err == nil || !strings.Contains(err.Error(), `network "right": open tap:right: `+c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		<-gone // the other device is closed
	}
}

// A lost device and its return are told.
func TestEventsOfDevices(t *testing.T) {
	m := newMachine()
	m.set("right", tap.ErrMissing)
	e, err := router.Start(parse(t, twoNetworks), router.Options{Open: m.open})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	heard := make(chan string, 10)
	defer e.Events(func(ev router.Event) { heard <- fmt.Sprint(ev.Kind, " ", ev.Device, " ", ev.Network) })()
	next := func(want string) {
		t.Helper()
		if got := <-heard; got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	m.set("right", nil)
	next("device-back tap:right right")
	m.wire(t, "right").dev.Close()
	next("device-lost tap:right right")
	next("device-back tap:right right")
	far, err := e.Attach("left", 0)
	if err != nil {
		t.Fatal(err)
	}
	far.Close() // what a program attaches is its own affair
	select {
	case got := <-heard:
		t.Errorf("heard %q", got)
	case <-time.After(50 * time.Millisecond):
	}
}
