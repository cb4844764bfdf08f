package router

import (
	"slices"
	"testing"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/tap"
)

// An engine hears of the interfaces of its devices from its start on, and of those of devices that come later. Without
// that, a device that comes is found some seconds later, and a smaller MTU not at all.
func TestAStartHearsOfInterfaces(t *testing.T) {
	topo := tutorial()
	topo.Networks[0].Devices = []config.Device{{Kind: config.DeviceRaw, Name: "eth-first"}}
	open := func(d config.Device) (tap.Device, error) {
		near, _ := tap.Pipe(d.Name, d.Name+"/far", tap.PipeOptions{})
		return near, nil
	}
	e, err := Start(stateOf(t, topo), Options{Open: open})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	hears := func(name, network string) {
		t.Helper()
		on := (*e.linkWatch.on.Load())[name]
		if e.linkWatch.stop == nil || on == nil || !slices.Equal(on.Owner.Networks(), []string{network}) {
			t.Errorf("of %s hears %+v", name, on)
		}
	}
	hears("eth-first", topo.Networks[0].Name)

	topo.Networks[1].Devices = []config.Device{{Kind: config.DeviceRaw, Name: "eth-second"}}
	if _, err := e.Apply(t.Context(), stateOf(t, topo)); err != nil {
		t.Fatal(err)
	}
	hears("eth-first", topo.Networks[0].Name)
	hears("eth-second", topo.Networks[1].Name)
}

// What happens to an interface of the machine is nothing to a device in memory that is called like it.
func TestDevicesInMemoryAreNoInterfaces(t *testing.T) {
	topo := tutorial()
	topo.Networks[0].Devices = []config.Device{{Kind: config.DeviceRaw, Name: "lo"}}
	open := func(d config.Device) (tap.Device, error) {
		near, _ := tap.Pipe(d.Name, d.Name+"/far", tap.PipeOptions{})
		return near, nil
	}
	e, err := Start(stateOf(t, topo), Options{Open: open, InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if on := e.linkWatch.on.Load(); on != nil || e.linkWatch.stop != nil || e.waits {
		t.Errorf("it hears of %v, and waits for the operating system: %v", on, e.waits)
	}
}
