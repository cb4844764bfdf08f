package ip

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/arena"
)

// churnVariable makes the test binary the process that is killed.
const churnVariable = "TAPROUTER_TEST_CHURN"

const killExt = 0xc6336401 // 198.51.100.1

// churn begins and ends connections through SNAT for ever, as fast as it can. In each, everything follows from the
// sender's address and port. It tells where its arena is, and then of every hundred steps.
func churn(seed uint64) {
	a, err := NewArena("router")
	if err != nil {
		fmt.Println("error", err)
		return
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	tables := (&TableParams{}).keepIn(a)
	conns := conntrack.NewTable(tables.Conns, rng)
	mappings := nat.NewTable(tables.NAT, conns, rng)
	a.Begin(arena.Header{Layout: Layout(), Router: "router", Boot: arena.Boot(), Started: arena.Monotonic()})
	fmt.Println(a.File().Fd())
	var live []packet.Tuple
	for i := 1; ; i++ {
		if len(live) > 3000 || len(live) > 0 && rng.IntN(3) == 0 {
			k := rng.IntN(len(live))
			if c, _ := conns.Lookup(&live[k], 0); c != nil {
				conns.Remove(c)
			}
			live[k] = live[len(live)-1]
			live = live[:len(live)-1]
		} else {
			tuple := killTuple(0x0a000000+packet.Addr(rng.IntN(20)), uint16(2000+rng.IntN(2000)))
			if commitKilled(conns, mappings, tuple) {
				live = append(live, tuple)
			}
		}
		if i%100 == 0 {
			fmt.Println(i)
		}
	}
}

// killTuple is the Original tuple of a connection.
func killTuple(src packet.Addr, port uint16) packet.Tuple {
	return packet.Tuple{Src: src, SrcPort: port, Dst: src + 0x08000000, DstPort: port ^ 0x5555, Proto: packet.ProtoTCP}
}

func commitKilled(conns *conntrack.Table, mappings *nat.Table, tuple packet.Tuple) bool {
	var b nat.Binding
	port, r := mappings.Bind(&b, killExt, tuple, tuple)
	if r != conntrack.None {
		return false
	}
	to := tuple
	to.Src, to.SrcPort = killExt, port
	in := uint16(tuple.Src.Number())
	c, r := mappings.Commit(&conntrack.NewConn{
		Original: tuple, Reply: to.Reverse(), In: [2]uint16{in, ^in}, Backend: conntrack.Backend(tuple.SrcPort),
		Segment: packet.Segment{Flags: packet.SYN, Seq: uint32(tuple.SrcPort), Len: 1},
	}, &b, 0)
	if r == conntrack.None {
		for d, flags := range []uint8{packet.ACK, packet.SYN | packet.ACK, packet.ACK} {
			if d > 0 {
				conns.TouchTCP(c, conntrack.Direction(d%2), &packet.Segment{Flags: flags, Seq: 1, Ack: 2}, 0)
			}
		}
	}
	return r == conntrack.None
}

// keptNumbers implements conntrack.Renumbering: numbers are what they were.
type keptNumbers struct{}

func (keptNumbers) Interface(i uint16) (uint16, bool) { return i, true }

func (keptNumbers) Backend(c *conntrack.Conn) (conntrack.Backend, conntrack.Class, bool) {
	return c.Backend, 0, true
}

// Wherever a process is killed, the next one finds whole connections only, each with its mapping.
func TestKill(t *testing.T) {
	if seed := os.Getenv(churnVariable); seed != "" {
		var n uint64
		_, _ = fmt.Sscan(seed, &n)
		churn(n)
		return
	}
	kills := 100
	if testing.Short() {
		kills = 10
	}
	most := 0
	for n := range kills {
		most = max(most, killOnce(t, n))
	}
	if most < 1000 {
		t.Errorf("%d connections at most: that is not what is meant", most)
	}
}

// killOnce kills a process after a number of steps, and returns how many connections are there.
func killOnce(t *testing.T, n int) int {
	cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", churnVariable, n+1))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	fd := 0
	if _, err := fmt.Fscan(lines, &fd); err != nil {
		t.Skipf("the process has no arena: %v", err)
	}
	file, err := os.Open(fmt.Sprintf("/proc/%d/fd/%d", cmd.Process.Pid, fd))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.CopyN(io.Discard, lines, int64(n*97%4000)); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it has been killed, which is an error

	f, err := ReadArena(file)
	if err != nil || !f.Whole || f.Layout != Layout() || f.Router != "router" {
		t.Fatalf("%+v, %v", f, err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	conns := conntrack.NewTable(conntrack.Config{}, rng)
	mappings := nat.NewTable(nat.Config{}, conns, rng)
	mc, cc := new(nat.MappingChunk), new(conntrack.ConnChunk)
	r := &conntrack.Restoration{Numbers: keptNumbers{}, Former: time.Second}
	for k := range f.Chunks() {
		records, column := mc.Bytes()
		if ok, err := f.ReadChunk(mappingSlab, k, records, column); err != nil {
			t.Fatal(err)
		} else if ok {
			mappings.RestoreMappings(mc)
		}
	}
	for k := range f.Chunks() {
		records, column := cc.Bytes()
		if ok, err := f.ReadChunk(connSlab, k, records, column); err != nil {
			t.Fatal(err)
		} else if ok {
			mappings.Restore(cc, r, time.Second)
		}
	}
	mappings.EndRestore(r, time.Second)
	if r.Refused > 0 || r.Expired > 0 {
		t.Errorf("kill %d: %d connections are refused, %d have expired", n, r.Refused, r.Expired)
	}
	conns.Walk(0, math.MaxInt, time.Second, func(c *conntrack.Conn) bool {
		o := c.Tuple(conntrack.Original)
		in := uint16(o.Src.Number())
		if reply := c.Tuple(conntrack.Reply); o != killTuple(o.Src, o.SrcPort) || reply.Src != o.Dst ||
			reply.SrcPort != o.DstPort || reply.Dst != killExt || c.In != [2]uint16{in, ^in} ||
			c.Backend != conntrack.Backend(o.SrcPort) || !nat.Mapped(c.Marks()) {
			t.Errorf("kill %d: half a connection: %v, %v, from %v to %d", n, o, reply, c.In, c.Backend)
		}
		if mappings.Export(c, anyNames{}, time.Second).Source == (nat.Mapping{}) {
			t.Errorf("kill %d: %v has no mapping", n, o)
		}
		return true
	})
	return r.Restored
}

// anyNames implements conntrack.Names.
type anyNames struct{}

func (anyNames) InterfaceID(uint16) string           { return "i" }
func (anyNames) BackendID(conntrack.Backend) string  { return "b" }
func (anyNames) ClassID(*conntrack.Conn) (id string) { return id }
