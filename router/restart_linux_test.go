package router_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taprouter/taprouter/config"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/router"
	"github.com/taprouter/taprouter/router/host"
	"github.com/taprouter/taprouter/tap"
)

const restartTopology = `
[[network]]
name = "web"
devices = ["tap:web"]
  [[network.subnet]]
  cidr = "172.16.100.0/24"

[[network]]
name = "blue"
devices = ["tap:blue"]
  [[network.subnet]]
  cidr = "172.16.101.0/24"

[[network]]
name = "outside"
external = true
devices = ["tap:outside"]
  [[network.subnet]]
  cidr = "10.10.10.0/24"

[[router]]
name = "r"
interfaces = ["web", "blue"]
gateway = { network = "outside", address = "10.10.10.2" }

[[floating_ip]]
network = "outside"
address = "10.10.10.7"
fixed_ip = "172.16.100.11"

[[pool]]
name = "servers"
protocol = "TCP"
  [[pool.member]]
  address = "172.16.100.9"
  port = 80
  [[pool.member]]
  address = "172.16.100.10"
  port = 80

[[vip]]
name = "web"
network = "web"
address = "172.16.100.11"
protocol = "TCP"
port = 80
pool = "servers"
`

// cables are devices that outlive the engine that has them open, as TAPs do whose descriptors another process holds.
type cables map[string]tap.Device

// A cable is an engine's end of one.
type cable struct{ tap.Device }

// Close leaves the far end alone.
func (cable) Close() error { return nil }

func (c cables) open(d config.Device) (tap.Device, error) { return cable{c[d.Name]}, nil }

// A restart is a topology whose engine is replaced while its hosts go on.
type restart struct {
	t      *testing.T
	text   string
	cables cables
	engine *router.Engine
	log    *logBuffer

	client, vm *host.Host
	web        *host.Host
}

func newRestart(t *testing.T, text string) *restart {
	x := &restart{t: t, text: text, cables: cables{}, log: &logBuffer{}}
	hosts := map[string]netip.Prefix{
		"web": netip.MustParsePrefix("172.16.100.9/24"), "blue": netip.MustParsePrefix("172.16.101.4/24"),
		"outside": netip.MustParsePrefix("10.10.10.4/24"),
	}
	gateways := map[string]string{"web": "172.16.100.1", "blue": "172.16.101.1", "outside": "10.10.10.2"}
	for name, a := range hosts {
		near, far := tap.Pipe(name, name+"/far", tap.PipeOptions{B: host.Accepts})
		x.cables[name] = near
		h, err := host.New(far, host.Config{Address: a, Gateway: netip.MustParseAddr(gateways[name])})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		switch name {
		case "web":
			x.web = h
		case "blue":
			x.vm = h
		default:
			x.client = h
		}
	}
	x.start(router.Options{})
	t.Cleanup(func() { _ = x.engine.Close() })
	return x
}

// start starts the next engine.
func (x *restart) start(opt router.Options) {
	x.t.Helper()
	opt.Open, opt.KeepTables, opt.Logger = x.cables.open, true, slog.New(slog.NewTextHandler(x.log, nil))
	e, err := router.Start(parse(x.t, x.text), opt)
	if err != nil {
		x.t.Fatal(err)
	}
	x.engine = e
}

// A stream is a TCP connection that carries a known sequence of bytes one way, and can go on for long.
type stream struct {
	t        *testing.T
	from, to net.Conn
	sent     *rand.Rand
	read     *rand.Rand
}

// connect opens a connection from a host to an address, where it arrives at a listener.
func connect(t *testing.T, from *host.Host, to string, at net.Listener) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := from.DialContext(ctx, "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	s, err := at.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); _ = s.Close() })
	return &stream{t, c, s, rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(1, 2))}
}

func fillFrom(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// carry sends so many bytes and reads them at the other end, each in its place. reached is called there at half of
// them.
func (s *stream) carry(n int, reached func()) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	_, _ = s.from.SetDeadline(deadline), s.to.SetDeadline(deadline)
	sent := make(chan error, 1)
	go func() {
		b := make([]byte, 32<<10)
		for left := n; left > 0; {
			part := b[:min(len(b), left)]
			fillFrom(s.sent, part)
			if _, err := s.from.Write(part); err != nil {
				sent <- err
				return
			}
			left -= len(part)
		}
		sent <- nil
	}()
	got, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for read := 0; read < n; {
		part := got[:min(len(got), n-read)]
		k, err := io.ReadFull(s.to, part)
		if err != nil {
			s.t.Fatalf("after %d bytes of %d: %v", read+k, n, err)
		}
		fillFrom(s.read, want[:k])
		if !bytes.Equal(part[:k], want[:k]) {
			s.t.Fatalf("after %d bytes, something else arrives than was sent", read)
		}
		if read < n/2 && read+k >= n/2 && reached != nil {
			reached()
		}
		read += k
	}
	if err := <-sent; err != nil {
		s.t.Fatal(err)
	}
}

// reverse is the same connection, in the other direction.
func (s *stream) reverse() *stream {
	return &stream{s.t, s.to, s.from, rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(1, 2))}
}

func listen(t *testing.T, h *host.Host, port int) net.Listener {
	t.Helper()
	l, err := h.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// ways are how the next engine gets the connections of the one before.
var ways = map[string]func(x *restart){
	"tables": func(x *restart) { // as after a kill -9
		former := x.engine
		all, err := former.Descriptors()
		if err != nil {
			x.t.Fatal(err)
		}
		former.Halt()
		x.start(router.Options{Inherit: all})
		_ = former.Close()
	},
	"upgrade": func(x *restart) { // to a program with the same layout
		former := x.engine
		all, err := former.Descriptors()
		if err != nil {
			x.t.Fatal(err)
		}
		former.Halt()
		var saved bytes.Buffer
		if err := former.Inspect().SaveNeighbors(&saved); err != nil {
			x.t.Fatal(err)
		}
		x.start(router.Options{Inherit: all, Restore: &saved})
		_ = former.Close()
	},
	"records": func(x *restart) {
		former := x.engine
		former.Halt()
		var saved bytes.Buffer
		if err := former.SaveConnections(&saved); err != nil {
			x.t.Fatal(err)
		}
		x.start(router.Options{Restore: &saved})
		_ = former.Close()
	},
	"another layout": func(x *restart) {
		former := x.engine
		all, err := former.Descriptors()
		if err != nil {
			x.t.Fatal(err)
		}
		former.Halt()
		for _, d := range all {
			if strings.Contains(d.Name, "table") {
				if _, err := d.File.WriteAt([]byte{1, 2, 3}, 40); err != nil { // in the middle of the hash
					x.t.Fatal(err)
				}
			}
		}
		var saved bytes.Buffer
		if err := former.SaveConnections(&saved); err != nil {
			x.t.Fatal(err)
		}
		x.start(router.Options{Inherit: all, Restore: &saved})
		_ = former.Close()
		if !strings.Contains(x.log.String(), "another layout") {
			x.t.Errorf("the log does not say that the layout is another one:\n%s", x.log)
		}
	},
}

// Connections through SNAT, and through a VIP behind a floating IP, go on over a restart without a byte lost. So does
// one that has been idle since before, and whose first data comes from outside.
func TestConnectionsSurviveARestart(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			x := newRestart(t, strings.Replace(restartTopology, `
  [[pool.member]]
  address = "172.16.100.10"
  port = 80
`, "", 1))
			atClient, atWeb := listen(t, x.client, 5001), listen(t, x.web, 80)
			snat := connect(t, x.vm, "10.10.10.4:5001", atClient)
			vip := connect(t, x.client, "10.10.10.7:80", atWeb)
			idle := connect(t, x.vm, "10.10.10.4:5001", atClient)
			idle.carry(100, nil)
			before := len(x.engine.Connections())
			vip.carry(1<<20, nil)
			snat.carry(8<<20, func() { way(x) })
			if got := len(x.engine.Connections()); got != before || got < 3 {
				t.Errorf("%d connections, there were %d", got, before)
			}
			idle.reverse().carry(1000, nil)
			vip.carry(1<<20, nil)
			vip.reverse().carry(1<<20, nil)
			snat.reverse().carry(1<<20, nil)
			for _, b := range x.engine.LoadBalancers() {
				if n := b.Listeners[0].Statistics.Active; n != 1 {
					t.Errorf("the VIP has %d connections, want 1", n)
				}
			}
			if drops := x.engine.Stats().Drops; drops[router.DropTCPWindow] > 0 || drops[router.DropNotSYN] > 0 {
				t.Errorf("dropped: %v", drops)
			}
		})
	}
}

// The next engine sends to the neighbors that the one before it knew, and does not ask for them first. It asks if
// nothing has been saved.
func TestRestartKnowsNeighbors(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			x := newRestart(t, restartTopology)
			snat := connect(t, x.vm, "10.10.10.4:5001", listen(t, x.client, 5001))
			snat.carry(1000, nil)
			way(x)
			asked := make(chan string, 100)
			for _, network := range []string{"blue", "outside"} {
				stop, err := x.engine.Observe(network, func(o router.Observation) {
					m, ok := packet.DecodeARP(o.Frame.Ethernet())
					if o.Made && ok && m.Request && m.Sender != m.Target {
						asked <- m.Target.Netip().String()
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				defer stop()
			}
			snat.carry(1000, nil)
			snat.reverse().carry(1000, nil)
			var all []string
			for len(asked) > 0 {
				all = append(all, <-asked)
			}
			if want := name == "tables"; (len(all) > 0) != want {
				t.Errorf("asked for %v", all)
			}
		})
	}
}

// After a power cut, what there is may be older than the connections are by now.
func TestSnapshotIsOlderThanItsConnections(t *testing.T) {
	x := newRestart(t, restartTopology)
	atClient := listen(t, x.client, 5001)
	s := connect(t, x.vm, "10.10.10.4:5001", atClient)
	var saved bytes.Buffer
	if err := x.engine.SaveConnections(&saved); err != nil {
		t.Fatal(err)
	}
	s.carry(4<<20, nil) // more than any window
	s.reverse().carry(4<<20, nil)
	former := x.engine
	former.Halt()
	x.start(router.Options{Restore: &saved})
	_ = former.Close()
	s.carry(1<<20, nil)
	if drops := x.engine.Stats().Drops; drops[router.DropTCPWindow] > 0 || drops[router.DropNotSYN] > 0 {
		t.Errorf("dropped: %v", drops)
	}
}

// What a change of the rules would end does not go on after a restart with those rules, and the rest does.
func TestRestartWithOtherRules(t *testing.T) {
	member := `address = "172.16.100.9"`
	for name, edit := range map[string][]string{
		"nothing":                   {},
		"the floating IP has moved": {`fixed_ip = "172.16.100.11"`, `fixed_ip = "172.16.101.77"`},
		"the gateway's address":     {`address = "10.10.10.2"`, `address = "10.10.10.3"`},
		"an interface is gone":      {`interfaces = ["web", "blue"]`, `interfaces = ["web"]`},
		"the VIP has another port":  {"port = 80\npool", "port = 81\npool"},
		"a member drains":           {member, `address = "172.16.100.99"`},
		"a member is removed": {member, `address = "172.16.100.99"`,
			`name = "servers"`, "name = \"servers\"\non_member_removed = \"reset\""},
		"a member is down": {member, member + "\n  admin_state_up = false"},
		"a member is down, and reset": {member, member + "\n  admin_state_up = false",
			`name = "servers"`, "name = \"servers\"\non_member_down = \"reset\""},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(restartTopology, `
  [[pool.member]]
  address = "172.16.100.10"
  port = 80
`, "", 1)
			var left [3][]string
			for k, way := range []func(x *restart){
				func(x *restart) {
					if _, err := x.engine.Apply(t.Context(), parse(t, x.text)); err != nil {
						t.Fatal(err)
					}
				}, ways["tables"], ways["records"],
			} {
				x := newRestart(t, text)
				atClient, atWeb := listen(t, x.client, 5001), listen(t, x.web, 80)
				connect(t, x.vm, "10.10.10.4:5001", atClient).carry(100, nil)
				connect(t, x.client, "10.10.10.7:80", atWeb).carry(100, nil)
				if x.text = strings.NewReplacer(edit...).Replace(text); x.text == text && len(edit) > 0 {
					t.Fatal("that is no change")
				}
				way(x)
				for _, c := range x.engine.Connections() {
					left[k] = append(left[k], fmt.Sprintf("%v %v", c.Original.Dst.Netip(), c.State))
				}
				slices.Sort(left[k])
			}
			if !slices.Equal(left[0], left[1]) || !slices.Equal(left[0], left[2]) {
				t.Errorf("after a change there are %q, after a restart %q with the tables, %q with records", left[0],
					left[1], left[2])
			}
		})
	}
}
