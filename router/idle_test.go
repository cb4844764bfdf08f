package router_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/routertest"
	"github.com/taprouter/taprouter/tap"
)

// A method of an engine waits for its worker only, and an idle worker begins at once. In a bubble,
// time passes only while all goroutines wait, so none passes here. The same goes for Close, which ends
// hosts, and checks that wait for a silent member.
func TestAnIdleEngineIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := routertest.Parse(t, checkedTopology(`{ type = "HTTP", delay = "10s", timeout = "9s" }`))
		e := lab.Engine
		addr := netip.MustParseAddr
		var dev tap.Device
		var stop func()
		var err error
		lab.Host("tenant", "172.16.100.9") // refuses its checks; the other member is silent
		time.Sleep(3*time.Second + 17*time.Millisecond)
		for _, step := range []struct {
			what string
			do   func()
		}{
			{"Attach", func() { dev, err = e.Attach("tenant", 0) }},
			{"Observe", func() { stop, err = e.Observe("tenant", func(router.Observation) {}) }},
			{"Stats", func() { e.Stats() }},
			{"Connections", func() { e.Connections() }},
			{"LoadBalancers", func() { e.LoadBalancers() }},
			{"SetMember", func() { err = lab.Control.SetMember("web", "one", false) }},
			{"SetMemberWeight", func() { err = lab.Control.SetMemberWeight("web", "one", 7) }},
			{"RemoveMember", func() { err = lab.Control.RemoveMember("web", "one") }},
			{"AddMember", func() { err = lab.Control.AddMember("web", someMember("one", "172.16.100.9")) }},
			{"AssociateFloatingIP", func() {
				err = lab.Control.AssociateFloatingIP(addr("10.10.10.9"),
					addr("172.16.100.19"))
			}},
			{"DisassociateFloatingIP", func() { err = lab.Control.DisassociateFloatingIP(addr("10.10.10.9")) }},
			{"the end of Observe", func() { stop() }},
			{"Close of a device", func() { err = dev.Close() }},
			{"Close", func() { err = e.Close() }},
		} {
			began := time.Now()
			if step.do(); err != nil {
				t.Errorf("%s: %v", step.what, err)
			}
			if took := time.Since(began); took > inBubbles {
				t.Errorf("%s takes %v of an idle engine", step.what, took)
			}
		}
	})
}

// inBubbles is what in-process hosts may take in a bubble, where their stacks are paused and resumed
// with sleeps of a nanosecond.
const inBubbles = 100 * time.Nanosecond

// The same without hosts: the end of a host would wake the worker.
func TestCloseIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := routertest.Parse(t, checkedTopology(`{ type = "TCP" }`)).Engine
		time.Sleep(time.Second) // announcements and checks have gone out
		e.Stats()
		began := time.Now()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > inBubbles {
			t.Errorf("Close takes %v", took)
		}
		e = routertest.Parse(t, twoNetworks).Engine
		e.Stats()
		began = time.Now()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close takes %v where there are no hosts", took)
		}
	})
}
