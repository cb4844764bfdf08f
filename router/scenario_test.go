package router

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/nettest"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/ip"
	"github.com/taprouter/taprouter/router/internal/wire"
)

// A scenario is a file of testdata: a topology, a line of three dashes, and what
// happens, a line each (internal/nettest has the words of a FRAME):
//
//	host NETWORK ADDRESS [MAC]           answers ARP, from now on
//	> NETWORK [from A] [via A] FRAME     goes in: from host A, to the router's address A
//	< NETWORK [to A] FRAME               must have come out, in this order per network: to host A
//	nothing NETWORK                      nothing more has come out
//	tick DURATION                        time passes
//	drops REASON=N ... | none            the drops since the last such line
//	connections N                        connections in all tables
//	arp                                  ARP frames count as coming out, too
//	announce NETWORK                     its device is up: addresses are announced
//	trace                                frames are traced from now on
//	golden                               NAME.pcap holds every frame of it (TestGolden)
//	# ...
//
// A frame that no host has the source of is sent by its network's first host, the
// upstream. What comes out and is not expected, and drops that are not, fail.
type scenario struct {
	*sim
	file   string
	line   int
	first  map[string]*simHost
	drops  map[DropReason]uint64
	arp    bool
	golden bool
	frames map[string][]nettest.Captured
	all    []nettest.Captured
	trace  strings.Builder // of what came in after "trace"
}

func TestScenarios(t *testing.T) {
	for _, file := range scenarioFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := runScenario(t, file, string(text))
			if err != nil {
				t.Error(err)
				c.save()
			}
		})
	}
}

func scenarioFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios: ", err)
	}
	return files
}

// runScenario plays a file's text, up to the first thing that is not as it says.
func runScenario(t testing.TB, file, text string) (*scenario, error) {
	return runScenarioIn(t, file, text, newSim)
}

// runScenarioIn is runScenario with a simulation of another kind.
func runScenarioIn(t testing.TB, name, text string, start func(testing.TB, *file.Topology) *sim) (*scenario, error) {
	c := &scenario{file: name, first: map[string]*simHost{}, frames: map[string][]nettest.Captured{}}
	topo, top, rest, err := readScenario(name, text)
	if err != nil {
		return c, err
	}
	c.sim = start(t, topo)
	c.watch()
	c.run()
	c.line = strings.Count(top, "\n") + 2
	for line := range strings.Lines(rest) {
		c.line++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := c.step(words[0], words[1:]); err != nil {
			return c, fmt.Errorf("%s:%d: %w", name, c.line, err)
		}
	}
	if err := c.end(); err != nil {
		return c, fmt.Errorf("%s:%d: at the end: %w", name, c.line, err)
	}
	return c, nil
}

// readScenario parts a file's text into its topology and what happens.
func readScenario(name, text string) (topo *file.Topology, top, rest string, err error) {
	top, rest, ok := strings.Cut(text, "\n---\n")
	if !ok {
		return nil, "", "", fmt.Errorf("%s: no line --- behind the topology", name)
	}
	topo, err = file.Parse(name, strings.NewReader(top+"\n"))
	return topo, top, rest, err
}

// watch records every frame of every network.
func (c *scenario) watch() {
	for _, name := range c.names {
		n := c.nets[name]
		n.Watchers.Store(&[]*wire.Watcher{{Fn: func(o Observation) {
			if o.Later {
				return
			}
			seen := nettest.Captured{At: c.now, Frame: bytes.Clone(o.Frame.Ethernet())}
			c.frames[name] = append(c.frames[name], seen)
			c.all = append(c.all, seen)
		}}})
	}
}

// save leaves a pcap of each network, for the search for a failure's cause.
func (c *scenario) save() {
	if c.sim == nil {
		return
	}
	t, ok := c.t.(*testing.T)
	if !ok {
		return
	}
	for _, name := range c.names {
		path := filepath.Join(t.ArtifactDir(), name+".pcap")
		if err := writePcap(path, c.frames[name]); err != nil {
			t.Error(err)
		}
	}
	t.Logf("the frames are in %s (go test -artifacts keeps it)", t.ArtifactDir())
}

func writePcap(path string, frames []nettest.Captured) error {
	var file bytes.Buffer
	if err := nettest.WritePcap(&file, frames); err != nil {
		return err
	}
	return os.WriteFile(path, file.Bytes(), 0o644)
}

// step plays one line.
func (c *scenario) step(verb string, args []string) error {
	switch verb {
	case "arp":
		c.arp = true
		return nil
	case "golden":
		c.golden = true
		return nil
	case "trace":
		c.Trace(&c.trace)
		return nil
	case "drops":
		return c.wantDrops(args)
	}
	if len(args) == 0 {
		return fmt.Errorf("%s needs more", verb)
	}
	switch verb {
	case "tick":
		d, err := time.ParseDuration(args[0])
		c.advance(d)
		return err
	case "connections":
		return c.wantConnections(args[0])
	}
	name, args := args[0], args[1:]
	if c.nets[name] == nil {
		return fmt.Errorf("no network %q", name)
	}
	switch verb {
	case "host":
		return c.addHost(name, args)
	case ">":
		return c.in(name, args)
	case "<":
		return c.out(name, args)
	case "nothing":
		return c.nothing(name)
	case "announce":
		c.nets[name].Announce()
		c.run()
		return nil
	}
	return fmt.Errorf("what is %q?", verb)
}

// end: whatever the scenario says nothing about must not have happened.
func (c *scenario) end() error {
	for _, name := range c.names {
		if err := c.nothing(name); err != nil {
			return err
		}
	}
	return c.wantDrops([]string{"none"})
}

func (c *scenario) addHost(network string, args []string) error {
	if len(args) == 0 {
		return errors.New("host needs an address")
	}
	a, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	h := c.host(network, a.String())
	if c.first[network] == nil {
		c.first[network] = h
	}
	if len(args) > 1 {
		mac, err := net.ParseMAC(args[1])
		if err != nil {
			return err
		}
		h.mac = packet.MAC(mac)
	}
	return nil
}

// option takes a pair of words off the front, such as "to 10.0.0.5".
func option(args []string, word string) (netip.Addr, []string, error) {
	if len(args) < 2 || args[0] != word {
		return netip.Addr{}, args, nil
	}
	a, err := netip.ParseAddr(args[1])
	return a, args[2:], err
}

// in puts a frame in.
func (c *scenario) in(network string, args []string) error {
	eth, err := c.frame(network, args)
	if err == nil {
		c.put(network, eth)
	}
	return err
}

// frame builds what a line puts in.
func (c *scenario) frame(network string, args []string) ([]byte, error) {
	from, args, err := option(args, "from")
	if err != nil {
		return nil, err
	}
	via, args, err := option(args, "via")
	if err != nil {
		return nil, err
	}
	eth, err := nettest.Parse(strings.Join(args, " "))
	if err != nil {
		return nil, err
	}
	src, dst := addresses(eth)
	if from.IsValid() {
		src = from
	}
	h := c.hosts[hostKey{network, src}]
	if h == nil {
		h = c.first[network]
	}
	if h == nil {
		return nil, fmt.Errorf("nobody on %s sends it: no host", network)
	}
	if via.IsValid() {
		dst = via
	}
	c.address(h, eth, dst)
	return eth, nil
}

// addresses are where a frame's packet or ARP message comes from and goes.
func addresses(eth []byte) (src, dst netip.Addr) {
	if m, ok := packet.DecodeARP(eth); ok {
		return m.Sender.Netip(), m.Target.Netip()
	}
	if len(eth) < packet.EthernetLen+packet.IPv4Len {
		return netip.IPv4Unspecified(), netip.IPv4Unspecified()
	}
	return netip.AddrFrom4([4]byte(eth[26:30])), netip.AddrFrom4([4]byte(eth[30:34]))
}

// address fills in the MAC addresses that the line has left out.
func (c *scenario) address(h *simHost, eth []byte, dst netip.Addr) {
	to := c.routerFor(h.net, packet.AddrFrom(dst))
	if m, ok := packet.DecodeARP(eth); ok {
		if m.SenderMAC.IsZero() {
			m.SenderMAC = h.mac
		}
		if m.Request {
			to = packet.Broadcast
		} else if m.TargetMAC.IsZero() {
			m.TargetMAC = to
		}
		packet.PutARP(eth[:packet.ARPLen], m.SenderMAC, to, m)
		return
	}
	nettest.SetMACs(eth, h.mac, to)
}

// routerFor is the router on a network that owns an address, else its first.
func (c *scenario) routerFor(network string, dst packet.Addr) packet.MAC {
	for _, i := range interfaces(c.nets[network]) {
		if i.Owns(dst) {
			return i.MAC
		}
	}
	return c.routerMAC(network)
}

// next looks at the first frame that has come out, past ARP unless it counts.
func (c *scenario) next(network string) []byte {
	d := c.devs[network]
	for len(d.out) > 0 {
		eth := d.out[0].Ethernet()
		if _, isARP := packet.DecodeARP(eth); c.arp || !isARP {
			return eth
		}
		d.out = d.out[1:]
	}
	return nil
}

// out wants a frame.
func (c *scenario) out(network string, args []string) error {
	to, args, err := option(args, "to")
	if err != nil {
		return err
	}
	want := strings.Join(args, " ")
	eth := c.next(network)
	if eth == nil {
		return fmt.Errorf("\n got nothing on %s; %s\nwant %s", network, c.happened(), want)
	}
	c.devs[network].out = c.devs[network].out[1:]
	if err := nettest.Match(want, eth); err != nil {
		return err
	}
	return c.checkMACs(network, eth, to)
}

// happened says what the drops since the last look at them are.
func (c *scenario) happened() string { return "drops " + dropString(c.newDrops()) }

// checkMACs: a frame comes from a router of the network. It goes to the host of
// its destination, or else to some host, which forwards it; an ARP message may go anywhere.
func (c *scenario) checkMACs(network string, eth []byte, to netip.Addr) error {
	src, dst := packet.MAC(eth[6:12]), packet.MAC(eth[0:6])
	if !slices.ContainsFunc(interfaces(c.nets[network]), func(i *ip.Interface) bool { return i.MAC == src }) {
		return fmt.Errorf("it comes from %s, which is no router's", src)
	}
	if m, isARP := packet.DecodeARP(eth); isARP {
		if m.SenderMAC != src {
			return fmt.Errorf("it says %s, but comes from %s", m.SenderMAC, src)
		}
		return nil
	}
	if !to.IsValid() {
		_, to = addresses(eth)
	}
	if h := c.hosts[hostKey{network, to}]; h != nil && h.mac != dst {
		return fmt.Errorf("it goes to %s, want %s, which is %s", dst, h.mac, to)
	}
	for k, h := range c.hosts {
		if k.net == network && h.mac == dst {
			return nil
		}
	}
	return fmt.Errorf("it goes to %s, which is no host's", dst)
}

func (c *scenario) nothing(network string) error {
	if eth := c.next(network); eth != nil {
		return fmt.Errorf("\n got %s\nwant nothing on %s", nettest.Describe(eth), network)
	}
	return nil
}

// newDrops are the drops since the last line about them.
func (c *scenario) newDrops() map[DropReason]uint64 {
	st := c.stats()
	fresh := map[DropReason]uint64{}
	for r, n := range st.Drops {
		if n != c.drops[r] {
			fresh[r] = n - c.drops[r]
		}
	}
	return fresh
}

func dropString(drops map[DropReason]uint64) string {
	if len(drops) == 0 {
		return "none"
	}
	var s []string
	for _, r := range slices.Sorted(maps.Keys(drops)) {
		s = append(s, fmt.Sprintf("%s=%d", r, drops[r]))
	}
	return strings.Join(s, " ")
}

func (c *scenario) wantDrops(args []string) error {
	want := map[DropReason]uint64{}
	for _, arg := range args {
		if arg == "none" {
			continue
		}
		name, count, _ := strings.Cut(arg, "=")
		n, err := strconv.ParseUint(count, 10, 32)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(DropReasons(), func(r DropReason) bool { return r.String() == name })
		if i < 0 {
			return fmt.Errorf("no drop reason %q", name)
		}
		want[DropReason(i)] = n
	}
	got := c.newDrops()
	if !maps.Equal(got, want) {
		return fmt.Errorf("\n got drops %s\nwant drops %s", dropString(got), dropString(want))
	}
	st := c.stats()
	c.drops = st.Drops
	return nil
}

func (c *scenario) wantConnections(arg string) error {
	want, err := strconv.Atoi(arg)
	if err != nil {
		return err
	}
	got := 0
	for _, r := range c.stats().Routers {
		got += r.Connections
	}
	if got != want {
		return fmt.Errorf("\n got %d connections\nwant %d", got, want)
	}
	return nil
}
