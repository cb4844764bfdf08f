package neutron_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/neutron"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

// opener is a machine without rights: it notes which devices are asked for, and has none.
type opener struct {
	mu    sync.Mutex
	asked []string
	err   error
}

func (o *opener) open(d config.Device) (tap.Device, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, d.String())
	return nil, o.err
}

// randomID is for tests in which the first digits of an id matter.
func randomID() config.ID { return config.NewID(uuid.New()) }

// A network without a physical network has a TAP of its own, named by its id. Any other one has the devices of its
// physical network, and a VLAN has none yet.
func TestNetworkHasATAP(t *testing.T) {
	d := config.Empty().Edit()
	d.Put(&config.PhysicalNetwork{Meta: config.Meta{ID: config.NameID(config.KindPhysicalNetwork, "lab"), Name: "lab"},
		Devices: []config.Device{{Kind: config.DeviceRaw, Name: "eth9"}}})
	s, faults := d.Check()
	if s == nil {
		t.Fatal(faults.Err())
	}
	machine := &opener{err: tap.ErrMissing}
	e, err := router.Start(s, router.Options{Open: machine.open})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	var noted []string
	c := cloudOn(t, e, neutron.Options{TAPs: true, NewID: randomID, Note: note(&noted)})
	for _, x := range []struct{ name, body, typ, devices, noted string }{
		{"plain", ``, "local", "[tap:tap{id}]", ""},
		{"local", `,"provider:network_type":"local"`, "local", "[tap:tap{id}]", ""},
		{"lab", `,"provider:network_type":"flat","provider:physical_network":"lab"`, "flat", "[raw:eth9]", ""},
		{"tagged", `,"provider:network_type":"vlan","provider:physical_network":"lab","provider:segmentation_id":7`,
			"vlan", "[raw:eth9]", ""},
		{"bare", `,"provider:network_type":"flat","provider:physical_network":"default"`, "flat", "[]",
			"provider:physical_network"},
	} {
		noted = nil
		n := c.make(x.name, "/v2.0/networks", `{"network":{"name":"`+x.name+`"`+x.body+`}}`)
		id := n["id"].(string)
		has := fmt.Sprint(c.control.State().DevicesOf(config.ID(id)))
		if has != strings.ReplaceAll(x.devices, "{id}", id[:11]) || n["provider:network_type"] != x.typ {
			t.Errorf("%s: %s, %v", x.name, has, n["provider:network_type"])
		}
		if got := strings.Join(noted, " "); strings.Contains(got, "unserved") != (x.noted != "") ||
			!strings.Contains(got, x.noted) {
			t.Errorf("%s: the log says %q, want %q", x.name, got, x.noted)
		}
		machine.mu.Lock()
		opened := slices.Contains(machine.asked, "tap:tap"+id[:11])
		machine.mu.Unlock()
		if opened != (x.typ == "local") {
			t.Errorf("%s: its own TAP is opened: %v", x.name, opened)
		}
	}
	c.do(204, "DELETE", "/v2.0/networks/{plain}", "")
	if missing := e.Missing(); slices.Contains(missing, "tap:tap"+c.ids["plain"][:11]) || len(missing) != 2 {
		t.Errorf("waited for: %v", missing)
	}
}

// note gathers what a server would log.
func note(to *[]string) func(_ context.Context, keysAndValues ...any) {
	return func(_ context.Context, keysAndValues ...any) { *to = append(*to, fmt.Sprint(keysAndValues...)) }
}

// A network whose TAP cannot be opened is refused with the way out, and nothing of the request is left.
func TestNetworkWithoutRights(t *testing.T) {
	machine := &opener{}
	e, err := router.Start(config.Empty(), router.Options{Open: machine.open})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c := cloudOn(t, e, neutron.Options{TAPs: true, NewID: randomID})
	for _, x := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("run as root: %w", fs.ErrPermission), `network "a": run as root`},
		{fmt.Errorf("open: %w", syscall.EMFILE), "LimitNOFILE="},
		{errors.New("another process has it"), "another process has it"},
	} {
		machine.err = x.err
		said := c.refuse(503, "DeviceNotOpened", "POST", "/v2.0/networks", `{"networks":[{"name":"a"},{"name":"b"}]}`)
		if !strings.Contains(said, x.want) {
			t.Errorf("%q does not say %q", said, x.want)
		}
		c.list("/v2.0/networks")
	}
}

// Without TAPs a network has no device: nothing would open it.
func TestNetworkWithoutTAPs(t *testing.T) {
	c := newCloud(t)
	c.make("net", "/v2.0/networks", `{"network":{}}`)
	if n := c.control.State().Network(config.ID(c.ids["net"])); len(n.Devices) != 0 {
		t.Errorf("%v", n.Devices)
	}
}
