package snapshot_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/taprouter/taprouter/internal/conntrack"
	"github.com/taprouter/taprouter/internal/neighbor"
	"github.com/taprouter/taprouter/internal/packet"
	"github.com/taprouter/taprouter/nat"
	"github.com/taprouter/taprouter/router/internal/snapshot"
)

// randomRecord has something in every field that a protocol has.
func randomRecord(rng *rand.Rand) nat.Record {
	proto := []uint8{packet.ProtoTCP, packet.ProtoUDP, packet.ProtoICMP, 47}[rng.IntN(4)]
	tuple := func() packet.Tuple {
		return packet.Tuple{
			Src: packet.Addr(rng.Uint32()), Dst: packet.Addr(rng.Uint32()), SrcPort: uint16(rng.Uint32()),
			DstPort: uint16(rng.Uint32()), Proto: proto,
		}
	}
	yes := func() bool { return rng.IntN(2) == 0 }
	names := []string{"", "a", "b\x00c", "eth\u00e9r"}
	name := func() string { return names[rng.IntN(len(names))] }
	r := nat.Record{Record: conntrack.Record{
		Original: tuple(), Reply: tuple(), State: conntrack.State(rng.IntN(8)), Replied: yes(),
		Remaining: time.Duration(rng.Uint32()) * time.Millisecond, Owner: conntrack.Owner(rng.IntN(3)),
		Counted: yes(), Succeeds: yes(), Marks: conntrack.Marks(rng.IntN(4)), In: [2]string{name(), name()},
		Backend: name(), Class: name(),
	}}
	if proto == packet.ProtoTCP {
		for d := range r.Streams {
			r.Streams[d] = conntrack.Stream{
				End: rng.Uint32(), Window: uint8(rng.IntN(30)), Scale: uint8(rng.IntN(14)), Scaled: yes(),
				Seen: yes(), Opened: yes(), Loose: yes(), Raised: yes(),
			}
			if yes() {
				r.Streams[d].Later = conntrack.LaterSYN{Set: true, Next: rng.Uint32(), Data: uint16(rng.Uint32()),
					Scale: uint8(rng.IntN(14)), Scaled: yes()}
			}
		}
	}
	for _, m := range []*nat.Mapping{&r.Source, &r.Dest} {
		if yes() {
			m.Used, m.Remote = true, nat.Endpoint{Addr: packet.Addr(rng.Uint32()), Port: uint16(rng.Uint32())}
		}
	}
	return r
}

func randomNeighbor(rng *rand.Rand) neighbor.Record {
	n := neighbor.Record{
		Network: []string{"", "blue", "eth\u00e9r"}[rng.IntN(3)], Addr: packet.Addr(rng.Uint32()),
		Age: time.Duration(rng.Uint32()) * time.Millisecond,
	}
	for i := range n.MAC {
		n.MAC[i] = byte(rng.Uint32())
	}
	return n
}

// write writes blocks of so many records each, and behind them one of as many neighbors as the first of them.
func write(t testing.TB, sizes ...int) ([]snapshot.Block, []byte) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	w, err := snapshot.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	var all []snapshot.Block
	for i, n := range sizes {
		k := snapshot.Block{
			Router: string(rune('a' + i)), Flowing: i%2 == 0,
			Written: snapshot.Moment{Boot: [16]byte{1, byte(i)}, SinceBoot: time.Duration(i), Wall: time.Unix(0, 1e18)},
		}
		for range n {
			k.Records = append(k.Records, randomRecord(rng))
		}
		if err := w.Write(&k); err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	k := snapshot.Block{Router: "n", Written: snapshot.Moment{Wall: time.Unix(0, 2e18)}}
	for range sizes[0] {
		k.Neighbors = append(k.Neighbors, randomNeighbor(rng))
	}
	if err := w.WriteNeighbors(&k); err != nil {
		t.Fatal(err)
	}
	all = append(all, k)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return all, b.Bytes()
}

// read reads until there is an error. The blocks are copies.
func read(raw []byte) (all []snapshot.Block, err error) {
	r, err := snapshot.NewReader(bytes.NewReader(raw))
	for err == nil {
		var b *snapshot.Block
		if b, err = r.Next(); err == nil {
			k := *b
			k.Records, k.Neighbors = nil, nil
			k.Records = append(k.Records, b.Records...)
			k.Neighbors = append(k.Neighbors, b.Neighbors...)
			all = append(all, k)
		}
	}
	return all, err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want, raw := write(t, 3, snapshot.MaxRecords, 1)
	got, err := read(raw)
	if !errors.Is(err, io.EOF) || !reflect.DeepEqual(got, want) {
		t.Errorf("%v; %d blocks, not equal", err, len(got))
	}
}

// The records of a router that is not wanted are counted, and not read. Its neighbors are read.
func TestWants(t *testing.T) {
	all, raw := write(t, 3, 2)
	r, err := snapshot.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r.Wants = func(router string) bool { return router == "b" }
	for i, want := range []int{0, 2, 0} {
		b, err := r.Next()
		if err != nil || b.Router != all[i].Router || b.Written != all[i].Written || len(b.Records) != want ||
			len(b.Neighbors) != len(all[i].Neighbors) {
			t.Errorf("%v; %+v", err, b)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// Whatever part is missing or changed, the reader says so, and what it has returned before is what was written.
func TestDamage(t *testing.T) {
	want, raw := write(t, 3, 2)
	check := func(what string, at int, raw []byte) {
		got, err := read(raw)
		if !errors.Is(err, snapshot.ErrDamaged) && !errors.Is(err, snapshot.ErrFormat) {
			t.Fatalf("%s at %d: %v", what, at, err)
		}
		if len(got) > len(want) || !reflect.DeepEqual(got, append([]snapshot.Block(nil), want[:len(got)]...)) {
			t.Fatalf("%s at %d: something else than was written", what, at)
		}
	}
	for i := range raw {
		check("the end", i, raw[:i])
		changed := slices.Clone(raw)
		changed[i] ^= 0x41
		check("a change", i, changed)
	}
}

func TestSince(t *testing.T) {
	noon := time.Unix(1e9, 0)
	here := func(boot byte, up, wall time.Duration) snapshot.Moment {
		return snapshot.Moment{Boot: [16]byte{boot}, SinceBoot: up, Wall: noon.Add(wall)}
	}
	for _, c := range []struct {
		what     string
		from, to snapshot.Moment
		want     time.Duration
	}{
		{"the same boot", here(1, 10, 0), here(1, 30, time.Hour), 20},
		{"the same boot, the wall clock set back", here(1, 10, 0), here(1, 30, -time.Hour), 20},
		{"another boot", here(1, 10, 0), here(2, 3, time.Hour), time.Hour},
		{"another boot, the wall clock set back", here(1, 10, 0), here(2, 3, -time.Hour), 0},
		{"boots unknown", here(0, 10, 0), here(0, 3, time.Minute), time.Minute},
	} {
		if got := c.to.Since(c.from); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func FuzzReader(f *testing.F) {
	_, raw := write(f, 3, 2)
	f.Add(raw)
	f.Add(raw[:60])
	f.Fuzz(func(t *testing.T, raw []byte) {
		all, err := read(raw)
		if err == nil {
			t.Fatal("a stream without an end")
		}
		var b bytes.Buffer
		w, _ := snapshot.NewWriter(&b)
		for i := range all {
			write := w.Write
			if len(all[i].Neighbors) > 0 {
				write = w.WriteNeighbors
			}
			if err := write(&all[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if again, err := read(b.Bytes()); !errors.Is(err, io.EOF) || len(again) != len(all) {
			t.Fatalf("%d blocks, %d after they have been written: %v", len(all), len(again), err)
		}
	})
}
