package router_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/config/file"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/tap"
)

const twoNetworks = `
[[network]]
name = "left"
devices = ["tap:left"]
  [[network.subnet]]
  cidr = "192.0.2.0/24"

[[network]]
name = "right"
devices = ["tap:right"]
  [[network.subnet]]
  cidr = "198.51.100.0/24"

[[router]]
name = "middle"
interfaces = ["left", "right"]
`

func parse(t testing.TB, text string) *config.State {
	t.Helper()
	f, err := file.Read("test.toml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f.State()
}

// A wire is the far end of a port, driven by hand.
type wire struct {
	dev    tap.Device
	frames chan []byte // every frame that comes out
}

func attach(t testing.TB, e *router.Engine, network string) *wire {
	t.Helper()
	dev, err := e.Attach(network, 0)
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, dev)
}

func newWire(t testing.TB, dev tap.Device) *wire {
	w := &wire{dev: dev, frames: make(chan []byte, 1000)}
	wake := make(chan struct{}, 1)
	dev.Notify(func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	go func() {
		defer close(w.frames)
		f := []tap.Frame{{Buf: make([]byte, tap.SlotLen)}}
		for {
			n, err := dev.Read(f)
			if n > 0 {
				w.frames <- bytes.Clone(f[0].Ethernet())
			} else if err != nil {
				return
			} else {
				<-wake
			}
		}
	}()
	t.Cleanup(func() {
		dev.Close()
		for range w.frames {
		}
	})
	return w
}

func (w *wire) send(eth []byte) {
	b := append(make([]byte, tap.HeaderLen), eth...)
	_, _ = w.dev.Write([]tap.Frame{{Buf: b, Tail: len(b)}})
}

// arp sends a request and is the host that asks.
func (w *wire) arp(mac packet.MAC, sender, target string) {
	b := make([]byte, packet.ARPLen)
	packet.PutARP(b, mac, packet.Broadcast, packet.ARP{Request: true, SenderMAC: mac,
		Sender: packet.AddrFrom(netip.MustParseAddr(sender)), Target: packet.AddrFrom(netip.MustParseAddr(target))})
	w.send(b)
}

// next returns the next frame that is no announcement.
func (w *wire) next(t testing.TB) []byte {
	t.Helper()
	for eth := range w.frames {
		if m, ok := packet.DecodeARP(eth); !ok || m.Sender != m.Target {
			return eth
		}
	}
	t.Fatal("the port is closed")
	return nil
}

// udpFrame is a UDP packet without a payload.
func udpFrame(src, dst packet.MAC, from, to string) []byte {
	b := make([]byte, 42)
	copy(b, dst[:])
	copy(b[6:], src[:])
	binary.BigEndian.PutUint16(b[12:], packet.EtherTypeIPv4)
	ip := b[14:]
	ip[0], ip[3], ip[8], ip[9] = 0x45, 28, 64, packet.ProtoUDP
	a, z := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	packet.AddrFrom(a.Addr()).Put(ip[12:])
	packet.AddrFrom(z.Addr()).Put(ip[16:])
	binary.BigEndian.PutUint16(ip[20:], a.Port())
	binary.BigEndian.PutUint16(ip[22:], z.Port())
	ip[25] = 8
	packet.SetIPv4Checksum(ip)
	packet.SetTransportChecksum(ip)
	return b
}

var leftMAC, rightMAC = packet.MAC{2, 0, 0, 0, 0, 1}, packet.MAC{2, 0, 0, 0, 0, 2}

func TestEngineForwardsBetweenPorts(t *testing.T) {
	e, err := router.Start(parse(t, twoNetworks), router.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	left, right := attach(t, e, "left"), attach(t, e, "right")
	left.arp(leftMAC, "192.0.2.7", "192.0.2.1")
	m, ok := packet.DecodeARP(left.next(t))
	if !ok || m.Request || m.TargetMAC != leftMAC {
		t.Fatalf("not an answer: %+v", m)
	}
	seen := make(chan string, 10)
	stop, err := e.Observe("right", func(o router.Observation) {
		if eth := o.Frame.Ethernet(); eth[12] == 8 && eth[13] == 0 {
			seen <- "ip"
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	left.send(udpFrame(leftMAC, m.SenderMAC, "192.0.2.7:1000", "198.51.100.7:2000"))
	ask, ok := packet.DecodeARP(right.next(t))
	if !ok || !ask.Request || ask.Target.Netip().String() != "198.51.100.7" {
		t.Fatalf("not asked for the receiver: %+v", ask)
	}
	right.arp(rightMAC, "198.51.100.7", "198.51.100.1")
	right.next(t) // the answer
	var p packet.Packet
	if f := p.Parse(right.next(t), nil); f != packet.FaultNone ||
		p.Tuple.String() != "udp 192.0.2.7:1000 > 198.51.100.7:2000" {
		t.Errorf("fault %d, %v", f, p.Tuple)
	}
	<-seen
	stop()
	if c := e.Connections(); len(c) != 1 || c[0].Router != "middle" ||
		c[0].Original.String() != "udp 192.0.2.7:1000 > 198.51.100.7:2000" {
		t.Errorf("connections: %v", c)
	}
	s := e.Stats()
	if s.Received != s.Forwarded+s.Consumed+s.Dropped()+s.Parked || s.Forwarded != 1 || len(s.Devices) != 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestEnginesAreIndependent(t *testing.T) {
	topo := parse(t, twoNetworks)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			e, err := router.Start(topo, router.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			left := attach(t, e, "left")
			left.arp(leftMAC, "192.0.2.7", "192.0.2.1")
			if m, ok := packet.DecodeARP(left.next(t)); !ok || m.Request {
				t.Error("no answer")
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			if err := e.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
			if _, err := e.Attach("left", 0); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Attach after Close: %v", err)
			}
			if s := e.Stats(); s.Received != 0 {
				t.Errorf("stats after Close: %+v", s)
			}
		})
	}
	wg.Wait()
}

// A bubble ends only when every goroutine in it has: nothing may be left behind,
// and all the waiting takes no time.
func TestSimulatedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := router.Start(parse(t, twoNetworks), router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		left, right := attach(t, e, "left"), attach(t, e, "right")
		left.arp(leftMAC, "192.0.2.7", "192.0.2.1")
		m, _ := packet.DecodeARP(left.next(t))
		start := time.Now()
		left.send(udpFrame(leftMAC, m.SenderMAC, "192.0.2.7:1000", "198.51.100.99:2000"))
		var p packet.Packet
		icmp := left.next(t) // host unreachable, after three requests
		if f := new(packet.Decoder).Decode(&p, icmp, nil); f != packet.FaultNone || p.Type != packet.ICMPUnreachable ||
			p.Code != 1 {
			t.Errorf("fault %d, type %d code %d", f, p.Type, p.Code)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("host unreachable after %v, want 3s", d)
		}
		for range 3 {
			if m, ok := packet.DecodeARP(right.next(t)); !ok || m.Target.Netip().String() != "198.51.100.99" {
				t.Error("not a request for the receiver")
			}
		}
		time.Sleep(24 * time.Hour) // an idle engine has nothing to do
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A failing device is opened by the opener that Start was given.
type opener struct {
	mu     sync.Mutex
	far    map[string]tap.Device
	opened map[string]int
	refuse error
}

func (o *opener) open(d file.Device) (tap.Device, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse != nil {
		return nil, o.refuse
	}
	o.opened[d.Name]++
	near, far := tap.Pipe(d.String(), "far", tap.PipeOptions{})
	o.far[d.Name] = far
	return near, nil
}

func TestDeviceThatDisappearsIsReopened(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a real second")
	}
	o := &opener{far: map[string]tap.Device{}, opened: map[string]int{}}
	var log logBuffer
	e, err := router.Start(parse(t, twoNetworks),
		router.Options{Open: o.open, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	left := newWire(t, o.far["left"])
	left.arp(leftMAC, "192.0.2.7", "192.0.2.1")
	left.next(t)
	o.far["right"].Close()
	left.arp(leftMAC, "192.0.2.7", "192.0.2.1") // the rest goes on
	left.next(t)
	for deadline := time.Now().Add(10 * time.Second); ; {
		if s := log.String(); strings.Contains(s, "device is back") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not reopened; log:\n%s", &log)
		}
		e.Stats()
	}
	o.mu.Lock()
	right := newWire(t, o.far["right"])
	o.mu.Unlock()
	right.arp(rightMAC, "198.51.100.7", "198.51.100.1")
	if m, ok := packet.DecodeARP(right.next(t)); !ok || m.Request {
		t.Error("no answer on the reopened device")
	}
	if n := strings.Count(log.String(), "trying to open it"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, &log)
	}
}

// A busy device cannot be read for a moment, and tells of nothing that comes meanwhile.
type busy struct {
	tap.Device
	left *atomic.Int32
}

func (d busy) Read(frames []tap.Frame) (int, error) {
	if d.left.Add(-1) >= 0 {
		return 0, fmt.Errorf("read: %w", tap.ErrBusy)
	}
	return d.Device.Read(frames)
}

func TestBusyDeviceIsReadAgain(t *testing.T) {
	o := &opener{far: map[string]tap.Device{}, opened: map[string]int{}}
	var log logBuffer
	var left atomic.Int32
	e, err := router.Start(parse(t, twoNetworks), router.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Open: func(d file.Device) (tap.Device, error) {
			dev, err := o.open(d)
			return busy{dev, &left}, err
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	host := newWire(t, o.far["left"])
	for range 3 {
		left.Store(10)
		host.arp(leftMAC, "192.0.2.7", "192.0.2.1")
		host.next(t)
	}
	if log.String() != "" {
		t.Errorf("logged:\n%s", &log)
	}
}

// However many devices vanish while another one is being opened, no worker waits for
// that: the networks that are left go on.
func TestManyDevicesThatVanishBlockNoWorker(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a real second")
	}
	const devices = 200
	text := twoNetworks
	for i := range devices {
		text += fmt.Sprintf("[[network]]\nname = \"n%d\"\ndevices = [\"tap:t%d\"]\n", i, i)
	}
	o := &opener{far: map[string]tap.Device{}, opened: map[string]int{}}
	opening, release := make(chan struct{}), make(chan struct{})
	var again atomic.Bool
	var first, let sync.Once
	defer let.Do(func() { close(release) })
	e, err := router.Start(parse(t, text), router.Options{Open: func(d file.Device) (tap.Device, error) {
		if again.Load() {
			first.Do(func() { close(opening) })
			<-release
		}
		return o.open(d)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	defer let.Do(func() { close(release) }) // a failed test ends, too
	again.Store(true)
	lose := func(i int) {
		o.mu.Lock()
		far := o.far[fmt.Sprint("t", i)]
		o.mu.Unlock()
		far.Close()
	}
	present := func() (n int) {
		for _, d := range e.Stats().Devices {
			if d.Present {
				n++
			}
		}
		return n
	}
	lose(0)
	<-opening
	for i := 1; i < devices; i++ {
		lose(i)
	}
	left := newWire(t, o.far["left"])
	answered := make(chan struct{})
	go func() {
		for present() > 2 {
		}
		left.arp(leftMAC, "192.0.2.7", "192.0.2.1")
		left.next(t)
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(10 * time.Second):
		t.Fatal("the worker waits for the device that is being opened")
	}
	let.Do(func() { close(release) })
	for deadline := time.Now().Add(10 * time.Second); present() < devices+2; {
		if time.Now().After(deadline) {
			t.Fatalf("%d devices are back, want %d", present(), devices+2)
		}
	}
}

// logBuffer is a buffer that a logger may write to while a test reads it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestStartReportsEveryDeviceThatFails(t *testing.T) {
	o := &opener{refuse: errors.New("no such thing"), opened: map[string]int{}}
	_, err := router.Start(parse(t, twoNetworks), router.Options{Open: o.open})
	if err == nil {
		t.Fatal("started without devices")
	}
	for _, want := range []string{`network "left": no such thing`, `network "right": no such thing`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
}

// A narrow device takes smaller packets than its network has.
type narrow struct{ tap.Device }

func (narrow) MTU() int { return 1400 }

func TestStartRefusesADeviceThatIsTooNarrow(t *testing.T) {
	var closed atomic.Int32 // devices are closed at the same time
	_, err := router.Start(parse(t, twoNetworks), router.Options{Open: func(d file.Device) (tap.Device, error) {
		a, b := tap.Pipe("raw:eth0", "", tap.PipeOptions{})
		b.Notify(func() { closed.Add(1) })
		return narrow{a}, nil
	}})
	want := `network "left": raw:eth0 has an MTU of 1400, the network one of 1500: ` +
		"set mtu = 1400 for the network, or enlarge the interface's with `ip link set eth0 mtu 1500`"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if n := closed.Load(); n != 2 {
		t.Errorf("%d devices closed, want 2", n)
	}
}

// Attributes are kept where they ask for more than the engine can do. The log says so, with the line of a file.
func TestUnsupportedAttributesAreKept(t *testing.T) {
	var log bytes.Buffer
	e, err := router.Start(config.Empty(), router.Options{
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	edit := func(by config.Source) *config.State {
		meta := func(n byte) config.Meta {
			return config.Meta{ID: config.NewID([16]byte{n}), Name: "left", Source: by}
		}
		d := e.State().Edit()
		d.Put(&config.Network{Meta: meta(2), PortSecurity: true},
			&config.Subnet{Meta: meta(3), Network: meta(2).ID, CIDR: netip.MustParsePrefix("192.0.2.0/24"), DHCP: true},
			&config.SecurityGroup{Meta: meta(4)},
			&config.SecurityGroupRule{Meta: meta(5), Group: meta(4).ID, Direction: config.Ingress})
		s, faults := d.Check()
		if err := faults.Err(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, by := range []config.Source{{Request: "req-1"}, {File: "a.toml", Line: 7}} {
		log.Reset()
		if _, err := e.Apply(t.Context(), edit(by)); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"filtering by its rules"} {
			if !strings.Contains(log.String(), want+" is not supported yet") ||
				strings.Contains(log.String(), "a.toml:7: ") != (by.File != "") {
				t.Errorf("the log does not name %s:\n%s", want, &log)
			}
		}
		if _, err := e.Apply(t.Context(), config.Empty()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnsupportedIsRefusedInPlainWords(t *testing.T) {
	topo := parse(t, `
[[network]]
name = "left"
vlan = 100
port_security = true
devices = ["unix:/run/vm"]
  [[network.subnet]]
  cidr = "192.0.2.0/24"

[[network]]
name = "six"
  [[network.subnet]]
  cidr = "2001:db8::/64"

[[router]]
name = "r"
interfaces = ["left"]

[[pool]]
name = "six"
protocol = "TCP"
  [[pool.member]]
  address = "2001:db8::2"
  port = 80
`)
	_, err := router.Start(topo, router.Options{})
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error %v is not file.Faults", err)
	}
	for _, want := range []string{
		`test.toml:2: device unix:/run/vm: unix is not supported yet`,
		`subnet 2001:db8::/64: IPv6 is not supported yet`,
		`pool "six": IPv6 is not supported yet`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not refused: %s\nin:\n%v", want, err)
		}
	}
	if len(faults) != 3 {
		t.Errorf("%d faults, want 3:\n%v", len(faults), err)
	}
}

// No two ports have one name, whichever have come and gone before: names are what logs and
// statistics tell devices apart by.
func TestAttachedPortsHaveNamesOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := router.Start(parse(t, twoNetworks), router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		far := map[string]bool{}
		var devs []tap.Device
		for k := range 12 {
			dev, err := e.Attach("left", 0)
			if err != nil {
				t.Fatal(err)
			}
			if far[dev.Name()] {
				t.Errorf("a second far end is called %q", dev.Name())
			}
			far[dev.Name()] = true
			if devs = append(devs, dev); k%3 == 2 {
				devs[0].Close()
				devs = devs[1:]
				synctest.Wait()
			}
		}
		near := map[string]bool{}
		for _, d := range e.Stats().Devices {
			if near[d.Device] {
				t.Errorf("two devices are called %q", d.Device)
			}
			near[d.Device] = true
		}
		if len(near) != 8 {
			t.Errorf("%d devices: %v", len(near), near)
		}
	})
}
