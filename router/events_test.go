package router

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/packet"
)

// claim has a host say that an address is its own.
func (l *lesson) claim(h *simHost, address string) {
	a := packet.AddrFrom(addr(address))
	l.put(h.net, packet.PutARP(make([]byte, packet.ARPLen), h.mac, packet.Broadcast,
		packet.ARP{Request: true, SenderMAC: h.mac, Sender: a, Target: a}))
}

// What happens is told once, with the names and the object: changes, conflicts, members.
func TestEvents(t *testing.T) {
	l, b := simChecked(t, nil)
	var got []string
	var last Event
	stop := l.Events(func(ev Event) {
		last = ev
		words := []string{string(ev.Kind), ev.Network, ev.Router, ev.Pool, ev.Member, ev.Address, ev.MAC}
		got = append(got, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", "))
	})
	heard := func(want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("heard\n%q, want\n%q", got, want)
		}
		got = nil
	}
	l.until("ONLINE ONLINE", time.Minute)
	heard("member-up, router_100_101, web servers, WEB1", "member-up, router_100_101, web servers, WEB2")
	if m := last.Ref; m.Kind != config.KindMember || l.State().Member(m.ID).Name != "WEB2" || last.Reason != "WEB2" {
		t.Errorf("the last one is of %v, for the reason %q", m, last.Reason)
	}
	if want := simStart.Add(l.now).UTC(); !last.At.Equal(want) {
		t.Errorf("at %v, want %v", last.At, want)
	}

	l.claim(l.client, "10.10.10.2")
	l.claim(l.client, "10.10.10.2")
	heard("address-conflict, ext_net, router_100_101, 10.10.10.2, " + l.client.mac.String())

	b.bad["WEB1"] = true
	l.until("ERROR ONLINE", time.Minute)
	heard("member-down, router_100_101, web servers, WEB1")

	before := l.State()
	l.change(func(d *config.Draft) {
		r := theRouter(d)
		r.Name = "other"
		d.Put(&r)
	})
	heard("applied")
	if last.State != l.State() || last.State == before {
		t.Error("the State of the event is not the one that is served")
	}

	stop()
	l.claim(l.client, "10.10.10.3")
	heard()
}

// A function that is slow does not keep the engine from its work: it hears how much it has missed.
func TestEventsOfASlowFunction(t *testing.T) {
	e, err := Start(stateOf(t, tutorial()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	begun, goOn := make(chan bool), make(chan bool)
	var got []Event
	first := true
	stop := e.Events(func(ev Event) {
		if first {
			first = false
			begun <- true
			<-goOn
		}
		got = append(got, ev)
	})
	e.events.tell(Event{Kind: Applied})
	<-begun
	for range maxEvents + 7 {
		e.events.tell(Event{Kind: MemberUp})
	}
	close(goOn)
	ended := make(chan bool)
	last := e.Events(func(ev Event) {
		if ev.Kind == MemberDown {
			close(ended)
		}
	})
	e.events.tell(Event{Kind: MemberDown})
	<-ended
	last()
	for done := false; !done; { // until the slow one has got to its end
		all := e.events.all.Load()
		l := (*all)[0]
		l.mu.Lock()
		done = len(l.waiting) == 0 && !l.running
		l.mu.Unlock()
	}
	stop()
	kinds := map[EventKind]int{}
	lost := 0
	for _, ev := range got {
		kinds[ev.Kind]++
		lost += ev.Lost
	}
	if kinds[Applied] != 1 || kinds[MemberUp]+kinds[MemberDown]+lost != maxEvents+7+1 || lost < 7 || lost > 8 ||
		kinds[MemberUp] != maxEvents {
		t.Errorf("heard %v, lost %d", kinds, lost)
	}
	e.events.tell(Event{Kind: Applied})
	if n := len(got); n != kinds[Applied]+kinds[MemberUp]+kinds[MemberDown]+kinds[EventsLost] {
		t.Errorf("%d events after stop", n)
	}
}

// Close ends the calls, after what has happened before.
func TestEventsEndWithTheEngine(t *testing.T) {
	e, err := Start(stateOf(t, tutorial()), Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	stop := e.Events(func(Event) { n++ })
	for range 100 {
		e.events.tell(Event{Kind: Applied})
	}
	e.Close()
	if n != 100 {
		t.Errorf("%d calls before Close returns, want 100", n)
	}
	e.events.tell(Event{Kind: Applied})
	stop()
	if n != 100 {
		t.Errorf("%d calls", n)
	}
}
