package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router/internal/loop"
	"github.com/taprouter/taprouter/tap"
	"golang.org/x/sys/unix"
)

// A meter measures the turns of a worker: the processor time of its thread from one wait to the next.
type meter struct {
	loop.Waiter
	began time.Duration
	turns []time.Duration
}

func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

func (m *meter) Locked() bool { return true }

func (m *meter) Wait(d time.Duration) {
	m.end()
	m.Waiter.Wait(d)
	m.began = threadTime()
}

func (m *meter) Look() {
	m.end()
	m.Waiter.Look()
	m.began = threadTime()
}

func (m *meter) end() {
	if m.began != 0 {
		m.turns = append(m.turns, threadTime()-m.began)
	}
}

// histogram says how many turns took up to 10 us, 20 us, 50 us and so on.
func (m *meter) histogram() string {
	var b strings.Builder
	slices.Sort(m.turns)
	from := 0
	for _, most := range []time.Duration{10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e9} {
		to, _ := slices.BinarySearch(m.turns, most*time.Microsecond)
		if to > from {
			fmt.Fprintf(&b, " %v: %d", most*time.Microsecond, to-from)
		}
		from = to
	}
	return fmt.Sprintf("%d turns, the longest %v:%s", len(m.turns), m.turns[len(m.turns)-1], b.String())
}

// started runs an engine of a State, whose first worker has its turns measured.
func started(t *testing.T, s *config.State) (*Engine, *meter) {
	t.Helper()
	e := newEngine(Options{Logger: slog.New(slog.DiscardHandler), Seed: 1})
	if _, err := e.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	m := &meter{Waiter: e.workers[0].Waiter}
	e.workers[0].Waiter = m
	e.running = true
	for _, w := range e.workers {
		w.Direct = false
		go w.Run()
	}
	t.Cleanup(func() { e.Close() })
	return e, m
}

// dumpLive is dump for an engine that runs: its workers stand still meanwhile.
func dumpLive(e *Engine) string {
	release := make(chan struct{})
	for _, w := range e.workers {
		holds := make(chan struct{})
		w.Post(func() {
			close(holds)
			<-release
		})
		<-holds
	}
	defer close(release)
	return dump(e)
}

// A stream sends datagrams from one network to another, one after the other, and counts those that arrive.
type stream struct {
	in, out       tap.Device
	frame         []byte
	host          packet.Addr // to which they go
	mac           packet.MAC
	arrived, lost int
	stop          chan struct{}
	done          sync.WaitGroup
}

func (s *stream) run() {
	defer s.done.Done()
	heard := make(chan struct{}, 1)
	s.out.Notify(func() {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	slots := []tap.Frame{{Buf: make([]byte, tap.SlotLen)}}
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		if _, err := s.in.Write([]tap.Frame{{Buf: slices.Clone(s.frame), Tail: len(s.frame)}}); err != nil {
			s.lost++
		}
		for got, over := false, time.After(10*time.Second); !got; {
			n, _ := s.out.Read(slots)
			for _, f := range slots[:n] {
				eth := f.Ethernet()
				if len(eth) > 14 && eth[12] == 8 && eth[13] == 0 {
					got = true
					s.arrived++
				} else if a, ok := packet.DecodeARP(eth); ok && a.Request && a.Target == s.host {
					reply := make([]byte, tap.HeaderLen+packet.ARPLen)
					packet.PutARP(reply[tap.HeaderLen:], s.mac, a.SenderMAC,
						packet.ARP{SenderMAC: s.mac, Sender: s.host, TargetMAC: a.SenderMAC, Target: a.Sender})
					_, _ = s.out.Write([]tap.Frame{{Buf: reply, Tail: len(reply)}}) // a loss shows
				}
			}
			if n > 0 {
				continue
			}
			select {
			case <-heard:
			case <-over:
				s.lost, got = s.lost+1, true
			}
		}
	}
}

// Many routers, each with a network, a gateway, a floating IP and a VIP, come one by one and go again, while packets of
// another router flow: none of these packets is lost. The histogram is for the reader. TAPROUTER_ROUTERS sets the
// number of routers, such as a thousand.
func TestManyRoutersUnderTraffic(t *testing.T) {
	many := 300
	if n, err := strconv.Atoi(os.Getenv("TAPROUTER_ROUTERS")); err == nil {
		many = n
	} else if testing.Short() || raceDetector {
		many = 50
	}
	topo := tutorial()
	topo.Networks[2].Subnets[0].CIDR = prefix("10.10.0.0/16")
	topo.Networks[2].Subnets[0].Gateway = addr("10.10.0.1")
	topo.Routers[0].Gateway.Prefix, topo.Routers[0].Gateway.NextHop = prefix("10.10.10.2/16"), addr("10.10.0.1")
	e, m := started(t, stateOf(t, topo))
	in, err := e.Attach("vlan100", 0)
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Attach("vlan101", 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{in: in, out: out, stop: make(chan struct{})}
	l := &lesson{sim: newSim(t, topo)}
	from, to := l.host("vlan100", "172.16.100.9"), l.host("vlan101", "172.16.101.4")
	hello := make([]byte, packet.ARPLen)
	packet.PutARP(hello, to.mac, packet.Broadcast, packet.ARP{
		Request: true, SenderMAC: to.mac, Sender: packet.AddrFrom(to.addr),
		Target: packet.AddrFrom(addr("172.16.101.1")),
	})
	hello = append(make([]byte, tap.HeaderLen), hello...)
	if _, err := out.Write([]tap.Frame{{Buf: hello, Tail: len(hello)}}); err != nil {
		t.Fatal(err)
	}
	s.host, s.mac = packet.AddrFrom(to.addr), to.mac
	s.frame = append(make([]byte, tap.HeaderLen),
		l.build(from, "172.16.101.4", layers.IPProtocolUDP, nil, udpLayer(), payload(18))...)
	s.done.Add(1)
	go s.run()

	before := dumpLive(e)
	for k := range many {
		if err := e.edit(func(d *config.Draft) error { addTenant(d, k); return nil }); err != nil {
			t.Fatalf("router %d: %v", k, err)
		}
	}
	if n := len(e.view.Load().routers); n != many+1 {
		t.Errorf("%d routers", n)
	}
	for k := range many {
		if err := e.edit(func(d *config.Draft) error { removeTenant(d, k); return nil }); err != nil {
			t.Fatalf("router %d: %v", k, err)
		}
	}
	close(s.stop)
	s.done.Wait()
	if s.lost > 0 || s.arrived == 0 {
		t.Errorf("%d packets have arrived, %d are lost", s.arrived, s.lost)
	}
	if where := firstDifference(dumpLive(e), before); where != "" {
		t.Errorf("afterwards, %s", where)
	}
	e.Close()
	t.Logf("%d packets; %s", s.arrived, m.histogram())
}

func removeTenant(d *config.Draft, k int) {
	for _, o := range []config.Ref{
		{Kind: config.KindListener, ID: tenantID(k, "listener")},
		{Kind: config.KindLoadBalancer, ID: tenantID(k, "balancer")},
		{Kind: config.KindMember, ID: tenantID(k, "member")},
		{Kind: config.KindPool, ID: tenantID(k, "pool")},
		{Kind: config.KindFloatingIP, ID: tenantID(k, "floating")},
		{Kind: config.KindPort, ID: tenantID(k, "gateway")},
		{Kind: config.KindPort, ID: tenantID(k, "interface")},
		{Kind: config.KindRouter, ID: tenantID(k, "router")},
		{Kind: config.KindSubnet, ID: tenantID(k, "subnet")},
		{Kind: config.KindNetwork, ID: tenantID(k, "net")},
	} {
		d.Delete(o)
	}
}

// devices opens devices in memory, and fails when it is told to.
type devices struct {
	mu    sync.Mutex
	open  map[string]bool
	tries int
	fail  int // the try that fails, from 1; 0: none
	err   error
}

type tracked struct {
	tap.Device
	of   *devices
	name string
}

func (d *devices) Open(spec config.Device) (tap.Device, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tries++; d.tries == d.fail {
		return nil, fmt.Errorf("open %v: %w", spec, d.err)
	}
	if d.open[spec.Name] {
		return nil, fmt.Errorf("open %v: %w", spec, unix.EBUSY)
	}
	d.open[spec.Name] = true
	near, _ := tap.Pipe(spec.String(), "far", tap.PipeOptions{})
	return &tracked{near, d, spec.Name}, nil
}

func (t *tracked) Close() error {
	t.of.mu.Lock()
	delete(t.of.open, t.name)
	t.of.mu.Unlock()
	return t.Device.Close()
}

func (d *devices) names() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for n := range d.open {
		all = append(all, n)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// withDevices gives the lesson's networks devices.
func withDevices(t *testing.T, names ...string) *config.State {
	t.Helper()
	d := stateOf(t, tutorial()).Edit()
	k := 0
	for n := range d.Networks() {
		c := *n
		for range len(names) / 3 {
			c.Devices = append(c.Devices, config.Device{Kind: config.DeviceTAP, Name: names[k]})
			k++
		}
		d.Put(&c)
	}
	s, faults := d.Check()
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

// Whatever fails while another State is prepared, everything is as it was, and nothing that was opened is left.
func TestFaultsInPrepare(t *testing.T) {
	a, b := withDevices(t, "a", "b", "c"), withDevices(t, "a", "x", "b", "y", "z", "c")
	for _, fault := range []error{os.ErrPermission, unix.EBUSY, os.ErrNotExist} {
		for fail := 1; fail <= 3; fail++ {
			d := &devices{open: map[string]bool{}}
			e, err := Start(a, Options{Open: d.Open})
			if err != nil {
				t.Fatal(err)
			}
			before, first := dumpLive(e), e.State()
			d.tries, d.fail, d.err = 0, fail, fault
			if _, err := e.Apply(t.Context(), b); !errors.Is(err, fault) {
				t.Errorf("the opening %d fails with %v: %v", fail, fault, err)
			}
			if got := d.names(); got != "a b c" || e.State() != first {
				t.Errorf("the opening %d fails with %v: open are %s", fail, fault, got)
			}
			if where := firstDifference(dumpLive(e), before); where != "" {
				t.Errorf("the opening %d fails with %v: %s", fail, fault, where)
			}
			// A store that refuses comes after that: Discard.
			d.fail = 0
			p, err := e.Prepare(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			waits, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if _, err := e.Prepare(waits, a); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("two at a time: %v", err)
			}
			cancel()
			if got := d.names(); got != "a b c x y z" {
				t.Errorf("prepared: open are %s", got)
			}
			p.Discard()
			if where := firstDifference(dumpLive(e), before); where != "" || d.names() != "a b c" {
				t.Errorf("discarded: open are %s; %s", d.names(), where)
			}
			// Without a fault it goes through, and back.
			for _, s := range []*config.State{b, a} {
				if _, err := e.Apply(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			if where := firstDifference(dumpLive(e), before); where != "" || d.names() != "a b c" {
				t.Errorf("there and back: open are %s; %s", d.names(), where)
			}
			e.Close()
			if _, err := e.Apply(t.Context(), b); !errors.Is(err, os.ErrClosed) || d.names() != "" {
				t.Errorf("after Close: %v, open are %s", err, d.names())
			}
		}
	}
}

// A device that moves from one network to another stays open: what is in it is not lost.
func TestDeviceIsHandedOver(t *testing.T) {
	d := &devices{open: map[string]bool{}}
	e, err := Start(withDevices(t, "a", "b", "c"), Options{Open: d.Open})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	d.fail, d.err = d.tries+1, unix.EBUSY // nothing may be opened
	if _, err := e.Apply(t.Context(), withDevices(t, "b", "a", "c")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range e.Stats().Devices {
		if !s.Present {
			t.Errorf("%s is away", s.Device)
		}
		got = append(got, s.Network+" "+s.Device)
	}
	slices.Sort(got)
	if want := []string{"ext_net tap:c", "vlan100 tap:b", "vlan101 tap:a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
